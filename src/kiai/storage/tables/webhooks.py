"""Webhooks and what waits to be sent to them."""

from sqlalchemy import Column, Identity, Index, Integer, LargeBinary, String, Table, Text, text

from kiai.storage.tables.columns import Big, count_column, flag_column, metadata, text_column

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("url", Text, nullable=False),
    Column("format", String(8), nullable=False),
    Column("events", Integer, nullable=False),  # a bit for each wanted event
    Column("secret", LargeBinary, nullable=False),  # encrypted; signs the messages
    Column("created_at_ms", Big, nullable=False),
    count_column("failures"),  # in a row
    text_column("last_error"),
    count_column("retry_at_ms"),
    flag_column("parked"),
    count_column("dropped"),  # deliveries, because too many waited
    # Of the worker that delivers, until the time in the next column.
    Column("claim", String(32), nullable=False, server_default=text("''")),
    count_column("claimed_until_ms"),
    sqlite_autoincrement=True,
)

webhook_deliveries = Table(
    "webhook_deliveries",  # deleted when they are delivered
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    # Without a foreign key: an act must not fail because its webhook is being removed.
    Column("webhook_id", Big, nullable=False),
    Column("event", String(16), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Index("ix_webhook_deliveries_of", "webhook_id", "id"),  # the next one of a webhook
    sqlite_autoincrement=True,
)
