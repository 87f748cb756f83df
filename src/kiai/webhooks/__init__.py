"""Webhooks: messages about events on this server, sent to URLs that the operator has added.

Owns the tables `webhooks` and `webhook_deliveries`. The transaction of an act inserts one row for each webhook that
wants its event (`enqueue`). A job on each worker sends the rows, one webhook's rows in order.

See docs/operate/webhooks.md.
"""

from kiai.webhooks.model import EVENTS, Format, Webhook
from kiai.webhooks.queue import enqueue, enqueue_each
from kiai.webhooks.service import Webhooks

__all__ = ["EVENTS", "Format", "Webhook", "Webhooks", "enqueue", "enqueue_each"]
