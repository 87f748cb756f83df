"""Values of this subject: events, formats, the schedule of tries, and the rows of both tables."""

import hashlib
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import msgspec

EVENTS: Final = (
    "first_place",
    "top_play",
    "map_status",
    "player_new",
    "sanction",
    "report",
    "flag",
    "server_start",
    "server_stop",
    "backup",
)
"""All events. Their order decides their bits in the column `webhooks.events`, so new ones go to the end."""

TEST: Final = "test"
"""The event of `kiai webhooks test`. No webhook can subscribe to it."""

WEBHOOKS_MAX: Final = 32
WAITING_MAX: Final = 10_000
"""Deliveries that wait for one webhook. Beyond that the oldest ones are dropped."""
RETRY_AFTER_S: Final = (5, 30, 120, 600, 3_600, 21_600)
"""Seconds until the next try, after each failure in a row. A webhook that fails once more is parked."""

ASKED_WAIT_MAX_S: Final = 3_600.0
"""The longest wait that a receiver may ask for with `Retry-After`."""

ERROR_MAX: Final = 200  # characters
ID_LENGTH: Final = 32


class Format(StrEnum):
    """The form of the body."""

    JSON = "json"
    DISCORD = "discord"


class Webhook(msgspec.Struct, frozen=True):
    """A webhook. `events` has a bit for each wanted event, and `secret` is encrypted.

    `failures` counts the failed tries in a row. A `parked` webhook is not tried until a test of it succeeds. `dropped`
    counts deliveries that were dropped because too many waited.
    """

    id: int
    url: str
    format: str
    events: int
    secret: bytes
    failures: int
    last_error: str
    parked: int
    dropped: int

    @property
    def event_names(self) -> list[str]:
        """The wanted events."""
        return [name for at, name in enumerate(EVENTS) if self.events >> at & 1]

    def delivery_id(self, row_id: int, at_ms: int) -> str:
        """Return the id of a delivery, the same for all tries."""
        # With more than the number of the row: after the restore of a backup, new rows get old numbers again.
        return hashlib.sha256(f"{self.id} {row_id} {at_ms}".encode()).hexdigest()[:ID_LENGTH]


class Delivery(msgspec.Struct, frozen=True):
    """A waiting delivery. `data` is JSON; players in it are ids, which are replaced when it is sent."""

    id: int
    event: str
    at_ms: int
    data: str


class Answer(msgspec.Struct, frozen=True):
    """The result of one try. `status` is 0 without an answer, and `error` is empty if it was delivered.

    `retry_after_s` is the wait that the receiver asked for, at most `ASKED_WAIT_MAX_S`.
    """

    status: int
    error: str = ""
    retry_after_s: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted the message."""
        return not self.error


def asked_wait_s(header: str, now_s: float) -> float:
    """Return the seconds that a header `Retry-After` asks for, between 0 and `ASKED_WAIT_MAX_S`; 0 if it is unreadable.

    Its value is a number of seconds, with a fraction at Discord, or a date.
    """
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now_s
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), ASKED_WAIT_MAX_S) if seconds == seconds else 0.0  # not for NaN


def bit_of(event: str) -> int:
    """Return the bit of an event in `Webhook.events`."""
    return 1 << EVENTS.index(event)


def bits_of(events: Iterable[str]) -> int:
    """Return the value of `Webhook.events` for these events."""
    return sum({bit_of(event) for event in events})
