"""Invitations, links in mails, second factors, the history of an account's security, waiting mails."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "invites",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("expires_at_ms", Big, nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invites"),
        sa.UniqueConstraint("hash", name="uq_invites_hash"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_invites_expires_at_ms", "invites", ["expires_at_ms"])
    op.create_table(
        "account_tokens",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        _user_id("account_tokens"),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("expires_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_account_tokens"),
    )
    op.create_index("ix_account_tokens_expires_at_ms", "account_tokens", ["expires_at_ms"])
    op.create_index("ix_account_tokens_of", "account_tokens", ["user_id", "kind", "created_at_ms"])
    _create_second_factors()
    op.create_table(
        "account_events",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        _user_id("account_events"),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_account_events_of", "account_events", ["user_id", "failed", "id"])
    op.create_table(
        "outgoing_mails",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outgoing_mails"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outgoing_mails_retry_at_ms", "outgoing_mails", ["retry_at_ms"])
    op.add_column("users", sa.Column("email_verified_at_ms", Big, nullable=True))


def _create_second_factors() -> None:
    op.create_table(
        "authenticators",
        _user_id("authenticators"),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("enabled_at_ms", Big, nullable=True),
        sa.Column("last_step", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("used_steps", Big, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_authenticators"),
    )
    op.create_table(
        "recovery_codes",
        _user_id("recovery_codes"),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "hash", name="pk_recovery_codes"),
    )
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        _user_id("passkeys"),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("used_at_ms", Big, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_passkeys"),
        sa.UniqueConstraint("credential_id", name="uq_passkeys_credential_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_passkeys_user_id", "passkeys", ["user_id"])


def _user_id(table: str) -> sa.Column[int]:
    return sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id", name=f"fk_{table}_user_id"), nullable=False)
