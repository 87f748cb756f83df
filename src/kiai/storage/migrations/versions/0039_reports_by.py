"""An index for the reports that a player has sent."""

from alembic import op

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    op.create_index("ix_reports_by", "reports", ["by_id", "id"])
