"""Clans, their members' requests and invitations, their history, and names that are reserved for a time."""

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from kiai.storage.tables.columns import Big, count_column, metadata, partial_index, text_column

clans = Table(
    "clans",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", String(32), nullable=False),
    Column("safe_name", String(32), nullable=False, unique=True),
    Column("tag", String(8), nullable=False, unique=True),
    Column("owner_id", ForeignKey("users.id"), nullable=False),
    Column("created_at_ms", Big, nullable=False),
    Column("joining", Integer, nullable=False, server_default=text("2")),  # 0 closed, 1 open, 2 invite, 3 request
    text_column("description"),
    Column("icon", String(64)),  # key of the picture in the file store; null: none
    Column("code", String(16)),  # with which players can join; null: nobody has asked for one
    Column("renamed_at_ms", Big),  # by the owner
    Column("owner_away_since_ms", Big),  # since when a job has seen that the owner is restricted
    sqlite_autoincrement=True,  # history keeps the ids of clans that were disbanded
)
partial_index("uq_clans_code", "code IS NOT NULL", clans.c.code, unique=True)

clan_invitations = Table(
    "clan_invitations",
    metadata,
    Column("clan_id", ForeignKey("clans.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("by_id", Integer, nullable=False),
    Column("expires_at_ms", Big, nullable=False),
    PrimaryKeyConstraint("clan_id", "user_id"),
    Index("ix_clan_invitations_of", "user_id", "clan_id"),
    Index("ix_clan_invitations_expiry", "expires_at_ms"),
    sqlite_with_rowid=False,
)

clan_requests = Table(
    "clan_requests",  # by players who want to join
    metadata,
    Column("clan_id", ForeignKey("clans.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    PrimaryKeyConstraint("clan_id", "user_id"),
    Index("ix_clan_requests_of", "user_id", "clan_id"),
    sqlite_with_rowid=False,
)

clan_history = Table(
    "clan_history",  # also of clans that were disbanded, so without a foreign key
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("clan_id", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    count_column("player_id"),  # 0: the act is not about a player
    count_column("actor_id"),  # 0: the server or the operator
    text_column("before"),  # a name, tag or form that changed
    text_column("after"),
    Index("ix_clan_history_of", "clan_id", "id"),
    sqlite_autoincrement=True,
)
# When the history of a disbanded clan can be deleted.
partial_index("ix_clan_history_ended", "kind = 'disband'", clan_history.c.at_ms, clan_history.c.clan_id)

clan_reservations = Table(
    "clan_reservations",  # former names and tags, which other clans cannot take yet
    metadata,
    Column("kind", Integer, nullable=False),  # 0 name, 1 tag
    Column("key", String(32), nullable=False),  # the safe form of a name, or the tag
    Column("clan_id", Integer, nullable=False),
    Column("until_ms", Big, nullable=False),
    PrimaryKeyConstraint("kind", "key"),
    Index("ix_clan_reservations_of", "clan_id", "until_ms"),
    Index("ix_clan_reservations_end", "until_ms"),
    sqlite_with_rowid=False,
)

clan_totals = Table(
    "clan_totals",  # sums over the ranked members of a clan in a mode
    metadata,
    Column("mode", Integer, nullable=False),
    Column("clan_id", ForeignKey("clans.id"), nullable=False),
    count_column("members"),
    count_column("pp"),
    count_column("rscore"),
    count_column("tscore"),
    count_column("plays"),
    Column("acc", Double, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("mode", "clan_id"),
    sqlite_with_rowid=False,
)
Index("ix_clan_totals_pp", clan_totals.c.mode, clan_totals.c.pp.desc(), clan_totals.c.clan_id)
