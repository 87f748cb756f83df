"""The audit log becomes a chain of hashes, to which rows can only be appended."""

import hashlib

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_COLUMNS = ("id", "at_ms", "actor_id", "source", "action", "target_kind", "target_id", "reason", "details")
_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_id", _big, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.add_column("audit_log", sa.Column("hash", sa.String(64), nullable=False, server_default=sa.text("''")))
    last_id, hash_ = _hash_rows()
    op.bulk_insert(
        sa.table("audit_head", *(sa.column(name) for name in ("id", "last_id", "hash"))),
        [{"id": 1, "last_id": last_id, "hash": hash_}],
    )
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{act.lower()} BEFORE {act} ON audit_log "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only()"
    )


def _hash_rows() -> tuple[int, str]:
    """Hash the rows that exist, a thousand at a time, and return the id and hash of the last one."""
    connection = op.get_bind()
    log = sa.table("audit_log", *(sa.column(name) for name in (*_COLUMNS, "hash")))
    page = sa.select(*(log.c[name] for name in _COLUMNS)).order_by(log.c.id).limit(1_000)
    last_id, hash_ = 0, "0" * 64
    while rows := connection.execute(page.where(log.c.id > last_id)).all():
        for row in rows:
            hash_ = hashlib.sha256(msgspec.json.encode([hash_, *row])).hexdigest()
            connection.execute(sa.update(log).where(log.c.id == row.id).values(hash=hash_))
            last_id = row.id
    return last_id, hash_
