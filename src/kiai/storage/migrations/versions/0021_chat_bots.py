"""Accounts of chat bots, which may send more lines by IRC."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("users", sa.Column("chat_bot", sa.Integer(), server_default=sa.text("0"), nullable=False))
