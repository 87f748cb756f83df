"""At most one flag of a kind for each play, even when the client sends the play again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # Keep the oldest of the duplicates; the unique index cannot be created while there are any.
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
