"""Icons of clans."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    op.add_column("clans", sa.Column("icon", sa.String(64)))
