"""Ends of restrictions, freezes, and notes of staff."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("restricted_until_ms", "freeze_until_ms"):
        op.add_column("users", sa.Column(name, _big, nullable=False, server_default=sa.text("0")))
    for name in ("restricted_until", "freeze_until", "donor_until"):
        where = sa.text(f"{name}_ms > 0")
        op.create_index(f"ix_users_{name}", "users", [f"{name}_ms", "id"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "notes",
        sa.Column("id", _big, sa.Identity(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("text", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notes_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notes_about", "notes", ["user_id", "id"])
