"""Background work: tasks in steps, stale totals, retries of failed deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", _big, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("done", _big, nullable=False, server_default=sa.text("0")),
        sa.Column("total", _big, nullable=False, server_default=sa.text("0")),
        sa.Column("begun_at_ms", _big, nullable=False),
        sa.Column("moved_at_ms", _big, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_tasks"),
    )
    op.create_index("ix_tasks_begun", "tasks", ["begun_at_ms"])
    op.create_table(
        "stale_totals",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("since_ms", _big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_stale_totals_user_id"),
        sa.PrimaryKeyConstraint("user_id", "mode", name="pk_stale_totals"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_scores_map", "scores", ["map_key", "id"])
    passed = sa.text("passed = 1")
    op.create_index(
        "ix_scores_combo_of",
        "scores",
        ["user_id", "mode", sa.text("max_combo DESC"), "map_key", "hidden"],
        sqlite_where=passed,
        postgresql_where=passed,
    )
    op.add_column("outbox", sa.Column("tries", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("outbox", sa.Column("retry_at_ms", _big, nullable=False, server_default=sa.text("0")))
    _outbox_index("ix_outbox_kind", "tries < 8", "kind", "id")
    _outbox_index("ix_outbox_parked", "tries >= 8", "kind")


def _outbox_index(name: str, where: str, *columns: str) -> None:
    op.create_index(name, "outbox", list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
