"""Accounts: names, keys, relationships, logins, devices and screenshots."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    func,
    text,
)

from kiai.storage.tables.columns import Big, count_column, flag_column, metadata, partial_index, text_column

users = Table(
    "users",
    metadata,
    Column("id", Integer, Identity(start=3), primary_key=True),
    Column("name", String(32), nullable=False),
    Column("safe_name", String(32), nullable=False, unique=True),
    Column("email", String(254), nullable=False, unique=True),  # lower case; the id for accounts without an address
    Column("password_hash", Text),  # null: cannot log in (the bot)
    Column("priv", Integer, nullable=False, server_default=text("1")),
    Column("country", String(2), nullable=False, server_default=text("'xx'")),
    Column("created_at_ms", Big, nullable=False),
    Column("active_at_ms", Big, nullable=False),
    count_column("silenced_until_ms"),
    count_column("donor_until_ms"),
    Column("banned_at_ms", Big),
    count_column("restricted_until_ms"),  # 0: not restricted, or without an end
    count_column("freeze_until_ms"),  # 0: not frozen
    Column("renamed_at_ms", Big),
    Column("preferred_mode", Integer, nullable=False, server_default=text("0")),
    Column("play_style", Integer, nullable=False, server_default=text("0")),
    Column("clan_id", Integer, nullable=False, server_default=text("0")),
    Column("clan_priv", Integer, nullable=False, server_default=text("0")),
    Column("clan_joined_at_ms", Big),
    Column("clan_left_at_ms", Big),  # when the player last left a clan; null: never
    Column("custom_badge_name", Text),
    Column("custom_badge_icon", Text),
    Column("userpage_content", Text),
    Column("avatar", String(64)),  # key of the picture in the file store; null: the default picture
    Column("cover", String(64)),  # key of the cover in the file store; null: a generated one
    flag_column("friends_only_dms"),  # set by the game
    flag_column("chat_bot"),  # IRC lets the account send as much as a bot
    Column("privacy", Integer, nullable=False, server_default=text("0")),  # bits of `accounts.model.Privacy`
    # The country while the player hides it; `country` is xx then, so that no list shows it. Null: not hidden.
    Column("home_country", String(2)),
    Column("country_changed_at_ms", Big),  # by the player
    Column("deletes_at_ms", Big),  # when a requested deletion is executed
    Column("deleted_at_ms", Big),
    Column(
        "language", String(2), nullable=False, server_default=text("''")
    ),  # of mails; empty: no login on the website
    Column("email_verified_at_ms", Big),  # null: nobody has opened the link that was mailed to the address
    sqlite_autoincrement=True,  # the id of a deleted account is never given out again
)
partial_index("ix_users_clan", "clan_id > 0", users.c.clan_id, users.c.id)  # members of a clan
# API v2: players by one filter, ordered by id. The columns after the id are the other filters: the engine checks them
# in the index and reads only the rows that match all of them.
partial_index("ix_users_clan_priv", "clan_priv > 0", users.c.clan_priv, users.c.id, users.c.priv)
Index("ix_users_country", users.c.country, users.c.id, users.c.priv, users.c.preferred_mode, users.c.play_style)
Index("ix_users_play_style", users.c.play_style, users.c.id, users.c.priv, users.c.preferred_mode)
Index("ix_users_preferred_mode", users.c.preferred_mode, users.c.id, users.c.priv)
Index("ix_users_priv", users.c.priv, users.c.id)
partial_index("ix_users_developers", "(priv & 16384) != 0", users.c.priv, users.c.id)  # the privilege DEVELOPER
partial_index("ix_users_deletes", "deletes_at_ms IS NOT NULL", users.c.deletes_at_ms, users.c.id)  # due deletions
# Restrictions, freezes and donor times that have run out.
partial_index("ix_users_restricted_until", "restricted_until_ms > 0", users.c.restricted_until_ms, users.c.id)
partial_index("ix_users_freeze_until", "freeze_until_ms > 0", users.c.freeze_until_ms, users.c.id)
partial_index("ix_users_donor_until", "donor_until_ms > 0", users.c.donor_until_ms, users.c.id)
# Lists of staff by state, role, country and time of joining (`staff/user_filters.py`), newest first.
partial_index("ix_users_restricted", "(priv & 1) = 0", users.c.id)
partial_index("ix_users_banned", "banned_at_ms IS NOT NULL", users.c.id)
partial_index("ix_users_deleted", "deleted_at_ms IS NOT NULL", users.c.id)
partial_index("ix_users_silenced", "silenced_until_ms > 0", users.c.silenced_until_ms, users.c.id)
partial_index("ix_users_roles", "(priv & 31924) <> 0", users.c.id)  # `user_filters.ROLE_BITS`
Index("ix_users_own_country", func.coalesce(users.c.home_country, users.c.country), users.c.id)
Index("ix_users_own_country_names", func.coalesce(users.c.home_country, users.c.country), users.c.safe_name)
Index("ix_users_joined", users.c.created_at_ms, users.c.id)
Index("ix_users_names", users.c.id, users.c.safe_name, users.c.priv)  # search by a part of the name: a covering index

notes = Table(
    "notes",  # of staff about a player
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("author_id", Integer, nullable=False),  # 0: the operator on the command line
    Column("at_ms", Big, nullable=False),
    text_column("text"),
    Index("ix_notes_about", "user_id", "id"),
    sqlite_autoincrement=True,
)

old_names = Table(
    "old_names",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(32), nullable=False),
    Column("safe_name", String(32), nullable=False, index=True),  # a released name is reserved
    Column("released_at_ms", Big, nullable=False),
    sqlite_autoincrement=True,
)

name_parts = Table(
    "name_parts",  # the search for a part of a name: each name, and what is left of it from each later character on
    metadata,
    Column("kind", Integer, nullable=False),  # see accounts/name_index.py
    # Collation C compares bytes, as SQLite does: the names with a prefix are a range.
    Column("part", String(32).with_variant(String(32, collation="C"), "postgresql"), nullable=False),
    Column("subject", Big, nullable=False),  # id of an account, a former name or a clan, as `kind` says
    PrimaryKeyConstraint("kind", "part", "subject"),
    sqlite_with_rowid=False,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the key
    Column("label", String(64), nullable=False, server_default=text("''")),
    Column("created_at_ms", Big, nullable=False),
    Column("used_at_ms", Big),
    Column("revoked_at_ms", Big),
    sqlite_autoincrement=True,
)

irc_passwords = Table(
    "irc_passwords",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),  # SHA-256: the password is random
    Column("created_at_ms", Big, nullable=False),
    Column("used_at_ms", Big),
)

exports = Table(
    "exports",  # the newest export of each player
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("state", Integer, nullable=False),  # 0 waiting or running, 1 ready, 2 failed
    flag_column("with_replays"),
    Column("requested_at_ms", Big, nullable=False),
    count_column("done"),  # scores
    count_column("total"),
    Column("key", String(64)),  # of the ZIP in the file store
    count_column("size"),  # bytes
    Column("expires_at_ms", Big),
)
partial_index("ix_exports_waiting", "state = 0", exports.c.requested_at_ms, exports.c.user_id)
partial_index("ix_exports_expiry", "expires_at_ms IS NOT NULL", exports.c.expires_at_ms, exports.c.user_id)

relationships = Table(
    "relationships",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("target_id", ForeignKey("users.id"), nullable=False),
    Column("kind", Integer, nullable=False),  # 1 friend, 2 block
    Column("added_at_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "target_id"),
    Index("ix_relationships_target", "target_id", "kind", "user_id"),  # which friendships are mutual
    CheckConstraint("kind IN (1, 2)", name="kind"),
)

logins = Table(
    "logins",  # with the game client
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("address", String(64), nullable=False),
    Column("build", Integer, nullable=False),  # yyyymmdd
    Column("stream", String(16), nullable=False),
    Index("ix_logins_of", "user_id", "id"),
    Index("ix_logins_address", "address", "user_id"),  # accounts that log in from an address
    sqlite_autoincrement=True,
)

client_hashes = Table(
    "client_hashes",  # the devices on which an account was used, as hashes that the client sends
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("adapters", String(32), nullable=False),
    Column("uninstall", String(32), nullable=False),
    Column("disk", String(32), nullable=False),
    flag_column("wine"),
    Column("exe", String(64), nullable=False),  # hash of the client's executable at the last login
    Column("first_at_ms", Big, nullable=False),
    Column("last_at_ms", Big, nullable=False),
    Column("uses", Integer, nullable=False),
    PrimaryKeyConstraint("user_id", "adapters", "uninstall", "disk", "wine"),
    # Other accounts with the same device, by one index for each hash.
    Index("ix_client_hashes_adapters", "adapters"),
    Index("ix_client_hashes_uninstall", "uninstall"),
    Index("ix_client_hashes_disk", "disk"),
    sqlite_with_rowid=False,
)

shared_devices = Table(
    "shared_devices",  # hashes that unrelated people share, e.g. in an internet cafe: not evidence of a second account
    metadata,
    Column("hash", String(32), primary_key=True),
    text_column("note"),
    Column("added_by", Integer, nullable=False),  # 0: the operator on the command line
    Column("added_at_ms", Big, nullable=False),
)

web_sessions = Table(
    "web_sessions",  # of browsers on the website
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of the token in the cookie
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("created_at_ms", Big, nullable=False),
    Column("seen_at_ms", Big, nullable=False),
    Column("expires_at_ms", Big, nullable=False, index=True),  # the job that deletes expired sessions
    Column("second_factor_at_ms", Big),  # null: the player has not used a second factor in this session
    Column("address", String(64), nullable=False),
    Column("agent", String(256), nullable=False),  # the User-Agent header
    Index("ix_web_sessions_of", "user_id", "created_at_ms"),
)

screenshots = Table(
    "screenshots",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("kind", String(4), nullable=False),  # png or jpeg
    Column("size", Integer, nullable=False),  # bytes
    Column("at_ms", Big, nullable=False),
    Index("ix_screenshots_by", "user_id", "id"),
)
