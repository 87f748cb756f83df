"""Settings of players: covers, privacy, IRC passwords, exports and deletion of accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("users", sa.Column("cover", sa.String(64)))
    op.add_column("users", sa.Column("privacy", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("users", sa.Column("home_country", sa.String(2)))
    for name in ("country_changed_at_ms", "deletes_at_ms", "deleted_at_ms"):
        op.add_column("users", sa.Column(name, _big))
    _partial("users", "ix_users_deletes", "deletes_at_ms IS NOT NULL", "deletes_at_ms", "id")
    op.create_table(
        "irc_passwords",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("used_at_ms", _big),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_irc_passwords_user_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_irc_passwords"),
    )
    op.create_table(
        "exports",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("with_replays", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("requested_at_ms", _big, nullable=False),
        sa.Column("done", _big, nullable=False, server_default=sa.text("0")),
        sa.Column("total", _big, nullable=False, server_default=sa.text("0")),
        sa.Column("key", sa.String(64)),
        sa.Column("size", _big, nullable=False, server_default=sa.text("0")),
        sa.Column("expires_at_ms", _big),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_exports_user_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_exports"),
    )
    _partial("exports", "ix_exports_waiting", "state = 0", "requested_at_ms", "user_id")
    _partial("exports", "ix_exports_expiry", "expires_at_ms IS NOT NULL", "expires_at_ms", "user_id")
    # All rows by a player, in order: for exports and deletions.
    op.create_index("ix_mail_to", "mail", ["to_id", "id"])
    op.create_index("ix_mail_from", "mail", ["from_id", "id"])
    op.drop_index("ix_comments_user_id", "comments")
    op.create_index("ix_comments_by", "comments", ["user_id", "id"])
    op.drop_index("ix_set_comments_user_id", "set_comments")
    op.create_index("ix_set_comments_by", "set_comments", ["user_id", "id"])
    op.drop_index("ix_screenshots_user_id", "screenshots")
    op.create_index("ix_screenshots_by", "screenshots", ["user_id", "id"])


def _partial(table: str, name: str, where: str, *columns: str) -> None:
    op.create_index(name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
