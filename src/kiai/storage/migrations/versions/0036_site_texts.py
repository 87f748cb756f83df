"""Texts of the website that staff writes in the admin panel."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"


Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "site_texts",
        sa.Column("id", Big, sa.Identity(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("slug", sa.String(100), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("published_at_ms", Big),
        sa.Column("withdrawn", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("changed_at_ms", Big, nullable=False),
        sa.Column("stamp", Big, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_site_texts"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_site_texts_slug", "site_texts", ["kind", "slug"], unique=True)
    op.create_index("ix_site_texts_list", "site_texts", ["kind", "id"])
    op.create_index("ix_site_texts_stamp", "site_texts", ["kind", "stamp"])
    op.create_index("ix_site_texts_shown", "site_texts", ["kind", "withdrawn", "published_at_ms"])
