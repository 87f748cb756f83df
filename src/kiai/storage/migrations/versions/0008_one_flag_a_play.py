"""One flag of a kind for each play, however often the play is sent."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute(
        "DELETE FROM integrity_flags WHERE checksum IS NOT NULL AND id NOT IN ("
        "SELECT MIN(id) FROM integrity_flags WHERE checksum IS NOT NULL GROUP BY checksum, user_id, kind)"
    )
    where = sa.text("checksum IS NOT NULL")
    op.create_index(
        "uq_integrity_flags_play",
        "integrity_flags",
        ["checksum", "user_id", "kind"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
