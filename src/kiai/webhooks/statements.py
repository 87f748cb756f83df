"""The statements of both tables.

A worker that delivers for a webhook holds a claim on its row: a random text and a time. Nobody else delivers for this
webhook until the time has passed. So the deliveries of one webhook are sent in order, and once, by any of the workers.
"""

from typing import Final

from sqlalchemy import Integer, Text, bindparam, delete, exists, func, insert, literal_column, select, update

from kiai.storage.port import Command, Lane, Query, scalar
from kiai.storage.tables import Big, webhook_deliveries, webhooks
from kiai.webhooks.model import WAITING_MAX, Delivery, Webhook

LISTED_MAX: Final = 100
DELETED_AT_ONCE: Final = 1_000

_COLUMNS: Final = [webhooks.c[name] for name in Webhook.__struct_fields__]
_mine = (webhooks.c.id == bindparam("webhook"), webhooks.c.claim == bindparam("mine"))

ENQUEUE = Command(
    insert(webhook_deliveries).from_select(
        ("webhook_id", "event", "at_ms", "data"),
        select(
            webhooks.c.id,
            bindparam("event", type_=Text()),
            bindparam("at_ms", type_=Big),
            bindparam("data", type_=Text()),
        ).where(webhooks.c.events.bitwise_and(bindparam("bit", type_=Integer())) != 0),
    )
)

WANTED = Query(
    select(webhooks.c.id).where(webhooks.c.events.bitwise_and(bindparam("bit", type_=Integer())) != 0).limit(1), scalar
)

ALL = Query(select(*_COLUMNS).order_by(webhooks.c.id).limit(LISTED_MAX), Webhook)
BY_ID = Query(select(*_COLUMNS).where(webhooks.c.id == bindparam("id")), Webhook)
COUNT = Query(select(func.count()).select_from(webhooks), scalar)
ADD = Query(
    insert(webhooks)
    .values({name: bindparam(name) for name in ("url", "format", "events", "secret", "created_at_ms")})
    .returning(webhooks.c.id),
    scalar,
)
REMOVE = Command(delete(webhooks).where(webhooks.c.id == bindparam("webhook")))
RESUME = Command(
    update(webhooks)
    .where(webhooks.c.id == bindparam("webhook"))
    .values(parked=0, failures=0, last_error="", retry_at_ms=0)
)

# With a LIMIT, so that PostgreSQL looks into the index for each webhook, and does not join the tables.
_first = (
    select(webhook_deliveries.c.id)
    .where(webhook_deliveries.c.webhook_id == webhooks.c.id)
    .order_by(webhook_deliveries.c.id)
    .limit(1)
    .scalar_subquery()
)
DUE = Query(
    select(webhooks.c.id)
    .where(
        webhooks.c.parked == 0,
        webhooks.c.retry_at_ms <= bindparam("now_ms"),
        webhooks.c.claimed_until_ms <= bindparam("now_ms"),
        _first.is_not(None),
    )
    .order_by(webhooks.c.id)
    .limit(LISTED_MAX),
    scalar,
)
# The conditions again: another worker may have tried since `DUE` was read.
CLAIM = Command(
    update(webhooks)
    .where(
        webhooks.c.id == bindparam("webhook"),
        webhooks.c.parked == 0,
        webhooks.c.retry_at_ms <= bindparam("now_ms"),
        webhooks.c.claimed_until_ms <= bindparam("now_ms"),
    )
    .values(claim=bindparam("mine"), claimed_until_ms=bindparam("until_ms"))
)
RELEASE = Command(update(webhooks).where(*_mine).values(claim="", claimed_until_ms=0))
# A range and both columns in the order, so that PostgreSQL does not walk the primary key past other webhooks' rows.
NEXT = Query(
    select(*[webhook_deliveries.c[name] for name in Delivery.__struct_fields__])
    .where(webhook_deliveries.c.webhook_id.between(bindparam("webhook"), bindparam("webhook")))
    .order_by(webhook_deliveries.c.webhook_id, webhook_deliveries.c.id)
    .limit(1),
    Delivery,
)
DONE = Command(delete(webhook_deliveries).where(webhook_deliveries.c.id == bindparam("row")))
WORKED = Command(
    update(webhooks)
    .where(*_mine)
    .values(failures=0, last_error="", retry_at_ms=0, claimed_until_ms=bindparam("until_ms"))
)
FAILED = Command(
    update(webhooks)
    .where(*_mine)
    .values(
        failures=bindparam("new_failures"),
        last_error=bindparam("new_error"),
        retry_at_ms=bindparam("again_ms"),
        parked=bindparam("now_parked"),
        claim="",
        claimed_until_ms=0,
    )
)

# --- bounds

# The oldest row that stays. Walks the index past `WAITING_MAX` rows.
OLDEST_WAITING = Query(
    select(webhook_deliveries.c.id)
    .where(webhook_deliveries.c.webhook_id == bindparam("webhook"))
    .order_by(webhook_deliveries.c.id.desc())
    .limit(1)
    .offset(literal_column(str(WAITING_MAX - 1))),
    scalar,
    lane=Lane.BOUNDED,
)
_too_old = (
    select(webhook_deliveries.c.id)
    .where(webhook_deliveries.c.webhook_id == bindparam("webhook"), webhook_deliveries.c.id < bindparam("oldest"))
    .order_by(webhook_deliveries.c.id)
    .limit(DELETED_AT_ONCE)
)
DROP = Command(delete(webhook_deliveries).where(webhook_deliveries.c.id.in_(_too_old)))
COUNT_DROPPED = Command(
    update(webhooks).where(webhooks.c.id == bindparam("webhook")).values(dropped=webhooks.c.dropped + bindparam("by"))
)
# Deliveries of a removed webhook: those that an act enqueued while it was being removed.
_orphans = (
    select(webhook_deliveries.c.id)
    .where(~exists(select(webhooks.c.id).where(webhooks.c.id == webhook_deliveries.c.webhook_id)))
    .limit(DELETED_AT_ONCE)
)
DROP_ORPHANS = Command(
    delete(webhook_deliveries).where(webhook_deliveries.c.id.in_(_orphans)),
    scans="the table is bounded by WEBHOOKS_MAX times WAITING_MAX, and the job has no deadline",
)
_waiting = (
    select(literal_column("1"))
    .select_from(webhook_deliveries)
    .where(webhook_deliveries.c.webhook_id == bindparam("webhook"))
    .limit(WAITING_MAX)
    .subquery()
)
WAITING = Query(select(func.count()).select_from(_waiting), scalar, lane=Lane.BOUNDED)
PARKED = Query(
    select(webhooks.c.id, webhooks.c.failures, webhooks.c.last_error)
    .where(webhooks.c.parked == 1)
    .order_by(webhooks.c.id)
    .limit(LISTED_MAX),
    lambda *row: row,
)
