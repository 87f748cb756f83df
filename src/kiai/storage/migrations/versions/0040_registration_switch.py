"""The switch of registration."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    op.bulk_insert(sa.table("switches", sa.column("name")), [{"name": "registration"}])
