"""Chat: channels, their latest lines, and mail to players who were offline."""

from sqlalchemy import (
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from kiai.storage.tables.columns import Big, flag_column, metadata, partial_index, text_column

channels = Table(
    "channels",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # with the #
    text_column("topic"),
    Column(
        "read_priv", Integer, nullable=False, server_default=text("0")
    ),  # one of these bits is enough; 0: all players
    Column("write_priv", Integer, nullable=False, server_default=text("0")),
    flag_column("auto_join"),
    flag_column("moderated"),
    flag_column("archived"),
    sqlite_autoincrement=True,
)

chat_lines = Table(
    "chat_lines",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("channel", String(32), nullable=False),  # no foreign key: channels of matches and spectators have no row
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_chat_lines_in", "channel", "id"),
    Index("ix_chat_lines_by", "user_id", "id"),
    Index("ix_chat_lines_at", "at_ms"),  # the lines to delete
    sqlite_autoincrement=True,
)

chat_erasures = Table(
    "chat_erasures",  # lines of a player up to this time are no longer shown
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("channel", String(32), primary_key=True),  # "": all channels
    Column("at_ms", Big, nullable=False),
    Index("ix_chat_erasures_at", "at_ms"),  # the rows to delete
)

chat_filters = Table(
    "chat_filters",  # the word filter
    metadata,
    Column("pattern", String(64), primary_key=True),
    Column("replacement", Text),  # NULL blocks the line
    Column("silence_s", Integer, nullable=False),
    Column("changed_at_ms", Big, nullable=False),
)

faq = Table(
    "faq",  # the operator's texts for the bot
    metadata,
    Column("key", String(32), primary_key=True),
    Column("text", Text, nullable=False),
    Column("changed_at_ms", Big, nullable=False),
)

mail = Table(
    "mail",  # private messages
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("from_id", ForeignKey("users.id"), nullable=False),
    Column("to_id", ForeignKey("users.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("sent_at_ms", Big, nullable=False),
    Column("delivered_at_ms", Big),
    Column("read_at_ms", Big),
    Index("ix_mail_between", "to_id", "from_id", "id"),
    Index("ix_mail_to", "to_id", "id"),  # all letters to a player, and all by a player: for exports
    Index("ix_mail_from", "from_id", "id"),
    sqlite_autoincrement=True,
)
partial_index("ix_mail_undelivered", "delivered_at_ms IS NULL", mail.c.to_id, mail.c.id)
