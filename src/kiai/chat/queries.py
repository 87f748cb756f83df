"""SQL statements of chat."""

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, bindparam, case, delete, func, insert, or_, select, tuple_, update

from kiai.accounts.model import Player, Privacy
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.chat.model import FilterRule, Letter, PastLine, StoredLetter
from kiai.realtime.port import BOT_ID
from kiai.storage.port import Command, Lane, Query, columns_for, scalar
from kiai.storage.tables import channels, chat_erasures, chat_filters, chat_lines, mail, users

CHANNELS_MAX: Final = 200
LETTERS_MAX: Final = 200
"""Letters delivered at one login; the next login delivers more."""
WAITING_MAX: Final = 500
"""Undelivered letters of one recipient."""
DELETED_AT_ONCE: Final = 1_000  # a larger batch would block other writers of SQLite for longer

# --- channels

CHANNELS = Query(
    select(
        channels.c.name,
        channels.c.topic,
        channels.c.read_priv,
        channels.c.write_priv,
        channels.c.auto_join,
        channels.c.moderated,
    )
    .where(channels.c.archived == 0)
    .order_by(channels.c.id)
    .limit(CHANNELS_MAX),
    lambda *row: row,
)
READ_MASK = Query(select(channels.c.read_priv).where(channels.c.name == bindparam("channel")), scalar)

# --- lines

ADD_LINE = Command(insert(chat_lines).values({n: bindparam(n) for n in ("channel", "user_id", "at_ms", "text")}))
# Uses the index on `at_ms`.
_old_lines = select(chat_lines.c.id).where(chat_lines.c.at_ms < bindparam("before_ms")).limit(DELETED_AT_ONCE)
DELETE_LINES = Command(delete(chat_lines).where(chat_lines.c.id.in_(_old_lines)))

HISTORY_READ: Final = 200
"""Lines of a channel among which its history is. Lines that are not shown leave less than this."""


# Uses the index on channel and id.
_last = (
    select(chat_lines)
    .where(chat_lines.c.channel == bindparam("channel"))
    .order_by(chat_lines.c.id.desc())
    .limit(HISTORY_READ)
    .subquery()
)
_erased = (
    select(chat_erasures.c.user_id)
    .where(
        chat_erasures.c.user_id == _last.c.user_id,
        chat_erasures.c.channel.in_(("", _last.c.channel)),
        chat_erasures.c.at_ms >= _last.c.at_ms,
    )
    .correlate(_last)
)
# The shown ones of these lines, the newest first.
LATEST_LINES = Query(
    select(_last.c.user_id, users.c.name, _last.c.at_ms, _last.c.text)
    .select_from(_last.join(users, users.c.id == _last.c.user_id))
    .where(
        or_(visible(), users.c.id == BOT_ID),
        users.c.silenced_until_ms <= bindparam("now_ms", type_=users.c.silenced_until_ms.type),
        ~_erased.exists(),
    )
    .order_by(_last.c.id.desc())
    .limit(HISTORY_READ),
    PastLine,
    lane=Lane.BOUNDED,
)
ERASE = Command(
    insert(chat_erasures).values(user_id=bindparam("by"), channel=bindparam("where"), at_ms=bindparam("now_ms"))
)
ERASE_AGAIN = Command(
    update(chat_erasures)
    .where(chat_erasures.c.user_id == bindparam("by"), chat_erasures.c.channel == bindparam("where"))
    .values(at_ms=bindparam("now_ms"))
)
_old_erasures = (
    select(chat_erasures.c.user_id, chat_erasures.c.channel)
    .where(chat_erasures.c.at_ms < bindparam("before_ms"))
    .limit(DELETED_AT_ONCE)
)
DELETE_ERASURES = Command(
    delete(chat_erasures).where(tuple_(chat_erasures.c.user_id, chat_erasures.c.channel).in_(_old_erasures))
)

# --- the word filter

FILTER_RULES_MAX: Final = 200
FILTER_RULES = Query(
    select(chat_filters.c.pattern, chat_filters.c.replacement, chat_filters.c.silence_s)
    .order_by(chat_filters.c.pattern)
    .limit(FILTER_RULES_MAX),
    FilterRule,
)

# --- mail


class UndeliveredLetters(msgspec.Struct, frozen=True):
    """The number of undelivered letters of a recipient, and of those from one sender."""

    letters: int
    from_sender: int


# The choice in the game, or the one on the website: the stricter one holds.
CLAN_OF = Query(select(users.c.clan_id).where(users.c.id == bindparam("user_id")), scalar)
FRIENDS_ONLY = Query(
    select(users.c.friends_only_dms.op("|")(users.c.privacy.op("&")(int(Privacy.FRIENDS_ONLY)))).where(
        users.c.id == bindparam("user_id")
    ),
    scalar,
)
ADD_LETTER = Command(
    insert(mail).values({n: bindparam(n) for n in ("from_id", "to_id", "text", "sent_at_ms", "delivered_at_ms")})
)
# The partial index on undelivered letters finds these rows. The LIMIT bounds the count: 500 is all that is compared.
_waiting = (
    select(mail.c.from_id)
    .where(mail.c.to_id == bindparam("to_id"), mail.c.delivered_at_ms.is_(None))
    .limit(WAITING_MAX)
    .subquery()
)
WAITING = Query(
    select(
        func.count(),
        func.coalesce(func.sum(case((_waiting.c.from_id == bindparam("from_id"), 1), else_=0)), 0),
    ).select_from(_waiting),
    UndeliveredLetters,
)
# Letters of a restricted sender wait until the restriction is lifted. The bot is not a visible player, but writes, too.
UNDELIVERED = Query(
    select(mail.c.id, mail.c.from_id, users.c.name, mail.c.text, mail.c.sent_at_ms)
    .select_from(mail.join(users, users.c.id == mail.c.from_id))
    .where(mail.c.to_id == bindparam("to_id"), mail.c.delivered_at_ms.is_(None), visible() | (mail.c.from_id == BOT_ID))
    .order_by(mail.c.id)
    .limit(LETTERS_MAX),
    Letter,
)
# `delivered_at_ms IS NULL`: the first of two logins at once sets the time. `to_id` prevents marking others' letters.
DELIVERED = Command(
    update(mail)
    .where(
        mail.c.id == bindparam("letter_id"), mail.c.to_id == bindparam("reader_id"), mail.c.delivered_at_ms.is_(None)
    )
    .values(delivered_at_ms=bindparam("at_ms"))
)
READ = Command(
    update(mail)
    .where(
        mail.c.to_id == bindparam("reader_id"),
        mail.c.from_id == bindparam("sender_id"),
        mail.c.delivered_at_ms.is_not(None),
        mail.c.read_at_ms.is_(None),
    )
    .values(read_at_ms=bindparam("at_ms"))
)
# --- conversations on the website


def _stored_letter(*row: object) -> tuple[StoredLetter, Player]:
    return StoredLetter(*row[:6]), Player(*row[6:])  # type: ignore[arg-type]


def _newest_letters(own: ColumnElement[int], other: ColumnElement[int]) -> Query[tuple[StoredLetter, Player]]:
    """Return the statement for the newest letters with the id of the player in `own`, and the players in `other`."""
    return Query(
        select(*columns_for(StoredLetter, mail), *player_columns())
        .select_from(with_clan(mail.join(users, users.c.id == other)))
        .where(own == bindparam("user_id"), visible() | (other == BOT_ID))
        .order_by(mail.c.id.desc())
        .limit(LETTERS_MAX),
        _stored_letter,
    )


RECEIVED = _newest_letters(mail.c.to_id, mail.c.from_id)
SENT = _newest_letters(mail.c.from_id, mail.c.to_id)
# One more than a page shows: it tells whether there is a next page.
BETWEEN_MAX: Final = 51
LETTERS_BETWEEN = Query(
    select(*columns_for(StoredLetter, mail))
    .where(mail.c.from_id == bindparam("from_id"), mail.c.to_id == bindparam("to_id"), mail.c.id < bindparam("before"))
    .order_by(mail.c.id.desc())
    .limit(BETWEEN_MAX),
    StoredLetter,
)
READ_ON_SITE = Command(
    update(mail)
    .where(
        mail.c.to_id == bindparam("reader_id"),
        mail.c.from_id == bindparam("sender_id"),
        mail.c.id.between(bindparam("first"), bindparam("last")),
        mail.c.read_at_ms.is_(None),
    )
    .values(
        read_at_ms=bindparam("at_ms"),
        delivered_at_ms=func.coalesce(mail.c.delivered_at_ms, bindparam("at_ms", type_=mail.c.read_at_ms.type)),
    )
)
# Ids grow with time, so the first ids are the oldest rows, and no index on the time is needed.
_oldest = select(mail.c.id).order_by(mail.c.id).limit(DELETED_AT_ONCE)
DELETE_LETTERS = Command(
    delete(mail).where(mail.c.id.in_(_oldest), mail.c.sent_at_ms < bindparam("before_ms")),
    scans="it reads only the first ids",
)
