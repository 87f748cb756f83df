"""Ways into an account: invitations, links in mails, second factors, and the history of its security."""

from sqlalchemy import (
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from kiai.storage.tables.columns import Big, count_column, flag_column, metadata

invites = Table(
    "invites",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the code
    Column("uses_left", Integer, nullable=False),
    Column("expires_at_ms", Big, nullable=False, index=True),  # the job that deletes expired invitations
    Column("created_by", Integer, nullable=False),  # 0: the operator on the command line
    Column("created_at_ms", Big, nullable=False),
    sqlite_autoincrement=True,
)

account_tokens = Table(
    "account_tokens",  # links in mails, and logins that wait for a second factor; a token is deleted when it is used
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of the token
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("kind", String(16), nullable=False),  # reset, verify, email, login
    Column("email", String(254)),  # the address that the token confirms
    Column("created_at_ms", Big, nullable=False),
    Column("expires_at_ms", Big, nullable=False, index=True),  # the job that deletes expired tokens
    Index("ix_account_tokens_of", "user_id", "kind", "created_at_ms"),
)

authenticators = Table(
    "authenticators",  # one-time codes of an app (TOTP)
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("secret", LargeBinary, nullable=False),  # encrypted with the key of the data folder
    Column("created_at_ms", Big, nullable=False),
    Column("enabled_at_ms", Big),  # null: set up, but not turned on yet
    count_column("last_step"),  # the newest time step whose code was accepted
    count_column("used_steps"),  # bit n: the code of last_step - n was accepted. Each step counts once
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of the code
    PrimaryKeyConstraint("user_id", "hash"),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("credential", LargeBinary, nullable=False),  # WebAuthn's attested credential data, with the public key
    Column("sign_count", Big, nullable=False, server_default=text("0")),
    Column("name", String(64), nullable=False),
    Column("created_at_ms", Big, nullable=False),
    Column("used_at_ms", Big),
    sqlite_autoincrement=True,
)

account_events = Table(
    "account_events",  # logins on the site, wrong passwords everywhere, and changes of security
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("kind", String(32), nullable=False),
    flag_column("failed"),
    Column("source", String(8), nullable=False),  # web, game, api, cli
    Column("address", String(64), nullable=False),
    Column("agent", String(256), nullable=False),
    Index("ix_account_events_of", "user_id", "failed", "id"),
    Index("ix_account_events_address", "address", "user_id"),  # staff searches accounts by address
    sqlite_autoincrement=True,
)

outgoing_mails = Table(
    "outgoing_mails",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("message", LargeBinary, nullable=False),  # encrypted: it contains an address and may contain a link
    Column("created_at_ms", Big, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("retry_at_ms", Big, nullable=False, index=True),
    sqlite_autoincrement=True,
)
