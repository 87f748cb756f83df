"""Certificates that several machines share."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "shared_certificates",
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("revision", big, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("domain", name="pk_shared_certificates"),
    )
