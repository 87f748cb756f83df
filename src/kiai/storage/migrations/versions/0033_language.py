"""The language in which an account reads mails."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    op.add_column("users", sa.Column("language", sa.String(2), nullable=False, server_default=sa.text("''")))
