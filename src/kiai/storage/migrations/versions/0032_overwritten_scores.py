"""Scores over which their player has chosen a later one (`!overwrite`)."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.add_column("scores", sa.Column("overwritten", sa.Integer(), nullable=False, server_default=sa.text("0")))
