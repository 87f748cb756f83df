"""The server: counters, versions, switches, outbox, tasks, audit log, claim codes, reports, progress and runs of jobs.

Also the blocked addresses and the certificates that machines share.
"""

from sqlalchemy import (
    DDL,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    event,
    text,
)

from kiai.storage.tables.columns import Big, count_column, flag_column, metadata, partial_index, text_column

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Big, nullable=False),
)

versions = Table(
    "versions",  # stamps of caches, and the position up to which the journal of matches is written
    metadata,
    Column("name", String(32), primary_key=True),
    count_column("value"),
)

switches = Table(
    "switches",  # what staff switches on and off for all workers; one row a name in staff/switches.py
    metadata,
    Column("name", String(32), primary_key=True),
    count_column("value"),
    count_column("changed_at_ms"),
    count_column("ends_at_ms"),  # 0: no end
    text_column("reason"),
)

site_texts = Table(
    "site_texts",  # news and pages that staff writes in the panel; see documents/stored.py
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("slug", String(100), nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("published_at_ms", Big),  # NULL: a draft
    flag_column("withdrawn"),
    Column("created_at_ms", Big, nullable=False),
    Column("changed_at_ms", Big, nullable=False),
    count_column("stamp"),  # the audit row of the last change
    Index("uq_site_texts_slug", "kind", "slug", unique=True),
    Index("ix_site_texts_list", "kind", "id"),
    Index("ix_site_texts_stamp", "kind", "stamp"),
    Index("ix_site_texts_shown", "kind", "withdrawn", "published_at_ms"),
    sqlite_autoincrement=True,
)

address_blocks = Table(
    "address_blocks",  # networks whose requests are refused; see staff/address_blocks.py
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("network", String(64), nullable=False),  # in CIDR notation
    Column("at_ms", Big, nullable=False),
    count_column("ends_at_ms"),  # 0: no end
    Column("actor_id", Integer, nullable=False),  # 0: the operator
    text_column("reason"),
    Index("uq_address_blocks_network", "network", unique=True),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",  # consequences of commits that are not delivered yet: ranks, caches, announcements
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    Column("tries", Integer, nullable=False, server_default=text("0")),  # failed deliveries
    count_column("retry_at_ms"),
    sqlite_autoincrement=True,
)
partial_index("ix_outbox_kind", "tries < 8", outbox.c.kind, outbox.c.id)  # the next row of a kind
partial_index("ix_outbox_parked", "tries >= 8", outbox.c.kind)  # parked rows

tasks = Table(
    "tasks",  # see storage/tasks.py; a finished task has no row
    metadata,
    Column("kind", String(32), nullable=False),
    Column("subject", Big, nullable=False),  # id of the map or player
    Column("round", Integer, nullable=False),  # increments each time the task begins again
    Column("place", Text, nullable=False, server_default=text("''")),  # where the next step starts
    count_column("done"),
    count_column("total"),
    Column("begun_at_ms", Big, nullable=False),
    Column("moved_at_ms", Big, nullable=False),
    PrimaryKeyConstraint("kind", "subject"),
    Index("ix_tasks_begun", "begun_at_ms"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("actor_id", Integer, nullable=False),  # 0: the server itself or the operator on the command line
    Column("source", String(8), nullable=False),
    Column("action", String(32), nullable=False),
    Column("target_kind", String(16), nullable=False),
    Column("target_id", Big, nullable=False),
    text_column("reason"),
    Column("details", Text, nullable=False, server_default=text("'{}'")),
    Column(
        "hash", String(64), nullable=False, server_default=text("''")
    ),  # see staff/audit.py; triggers refuse changes
    Index("ix_audit_log_target", "target_kind", "target_id", "id"),
    Index("ix_audit_log_actor", "actor_id", "id"),
    Index("ix_audit_log_action", "action", "id"),
    Index("ix_audit_log_at", "at_ms", "id"),
    sqlite_autoincrement=True,
)

# Rows can only be appended, whatever program writes to the database.
for _act in ("update", "delete"):
    event.listen(
        audit_log,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER audit_log_no_{_act} BEFORE {_act.upper()} ON audit_log "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        ).execute_if(dialect="sqlite"),
    )
for _statement in (
    "CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
    "FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only()",
):
    event.listen(audit_log, "after_create", DDL(_statement).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]

audit_head = Table(
    "audit_head",  # one row: the newest row of the audit log, and the lock of those who append to it
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_id", Big, nullable=False),
    Column("hash", String(64), nullable=False),
)

claim_codes = Table(
    "claim_codes",  # codes with which the first owner claims the server; only a few rows
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256
    Column("expires_at_ms", Big, nullable=False),
)

shared_certificates = Table(
    "shared_certificates",  # one row a domain; see shared_certificate.py
    metadata,
    Column("domain", String(253), primary_key=True),
    Column("revision", Big, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # certificate, key and account, encrypted with secret.key
)

reports = Table(
    "reports",  # by players about players
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("by_id", ForeignKey("users.id"), nullable=False),
    Column("target_id", ForeignKey("users.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    text_column("text"),
    Column("lines", Text, nullable=False, server_default=text("'[]'")),  # JSON: the target's last public chat lines
    Column("closed_at_ms", Big),  # null: open
    Column("closed_by", Integer),
    text_column("verdict"),
    Index("ix_reports_about", "target_id", "id"),
    Index("ix_reports_by", "by_id", "id"),
    sqlite_autoincrement=True,
)
partial_index("uq_reports_open", "closed_at_ms IS NULL", reports.c.by_id, reports.c.target_id, unique=True)
partial_index("ix_reports_open", "closed_at_ms IS NULL", reports.c.id)  # open reports, oldest first

progress = Table(
    "progress",  # the position of resumable jobs
    metadata,
    Column("job", String(64), primary_key=True),
    Column("state", Text, nullable=False),
    Column("at_ms", Big, nullable=False),
)

job_runs = Table(
    "job_runs",  # jobs that staff starts, the newest 500; see staff/job_runs.py
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("params", Text, nullable=False),  # JSON
    Column("state", Integer, nullable=False),
    Column("actor_id", Integer, nullable=False),  # 0: the operator
    Column("source", String(8), nullable=False),
    text_column("reason"),
    Column("requested_at_ms", Big, nullable=False),
    count_column("started_at_ms"),
    count_column("ended_at_ms"),
    flag_column("cancelled"),
    count_column("done"),
    count_column("total"),
    count_column("position"),
    text_column("lines"),
    sqlite_autoincrement=True,
)
partial_index("ix_job_runs_active", "state < 2", job_runs.c.kind, job_runs.c.id)  # those that wait or run

uptime_days = Table(
    "uptime_days",  # the minutes of a day in which the server was up; see uptime.py
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since 1970-01-01, UTC
    Column("first_minute", Integer, nullable=False),  # minutes since 1970-01-01, as the next column
    Column("last_minute", Integer, nullable=False),
    Column("up", Integer, nullable=False),
    Column("impaired", Integer, nullable=False),
)

samples = Table(
    "samples",  # the server's figures, one row a minute and server for a day, then one for 15 minutes; see samples.py
    metadata,
    Column("minute", Integer, nullable=False),  # minutes since 1970-01-01
    Column("server", String(64), nullable=False),  # empty: all servers together
    Column("minutes", Integer, nullable=False),  # that the row stands for: 1 or 15
    Column("seconds", Integer, nullable=False),  # of them, in which the server was up
    Column("requests", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("submissions", Integer, nullable=False),
    Column("p99_ms", Double),  # null: no request
    Column("lag_ms", Double),
    Column("online", Integer),
    PrimaryKeyConstraint("minute", "server"),
)
partial_index("ix_samples_whole", "minutes = 1", samples.c.minute)  # rows that are combined after a day
