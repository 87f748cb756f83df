"""Runs of jobs that staff starts. Recalculations that wait in `progress` become runs."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"

QUEUED = "queued recalc "


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    zero = sa.text("0")
    runs = op.create_table(
        "job_runs",
        sa.Column("id", big, sa.Identity(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("requested_at_ms", big, nullable=False),
        sa.Column("started_at_ms", big, nullable=False, server_default=zero),
        sa.Column("ended_at_ms", big, nullable=False, server_default=zero),
        sa.Column("cancelled", sa.Integer(), nullable=False, server_default=zero),
        sa.Column("done", big, nullable=False, server_default=zero),
        sa.Column("total", big, nullable=False, server_default=zero),
        sa.Column("position", big, nullable=False, server_default=zero),
        sa.Column("lines", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("id", name="pk_job_runs"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_job_runs_active",
        "job_runs",
        ["kind", "id"],
        sqlite_where=sa.text("state < 2"),
        postgresql_where=sa.text("state < 2"),
    )
    progress = sa.table("progress", sa.column("job"), sa.column("state"), sa.column("at_ms"))
    queued = progress.c.job.startswith(QUEUED)
    bind = op.get_bind()
    for state, at_ms in bind.execute(
        sa.select(progress.c.state, progress.c.at_ms).where(queued).order_by(progress.c.at_ms)
    ).all():
        job = json.loads(state)
        given = {"map": job["map_id"], "mode": job["mode"], "user": job["user_id"] and f"#{job['user_id']}"}
        params = {name: str(value) for name, value in given.items() if value is not None}
        bind.execute(
            runs.insert().values(
                kind="recalc",
                params=json.dumps(params, separators=(",", ":")),
                state=0,
                actor_id=job["actor_id"],
                source="game" if job["actor_id"] else "cli",
                requested_at_ms=at_ms,
            )
        )
    bind.execute(sa.delete(progress).where(queued))
