"""Builders of sessions and entries with defaults, so that a test names only the fields that it needs."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from kiai.realtime.port import Entry, RankEntry, Realtime, Session, SessionRule


def a_session(token: str = "token-a", user_id: int = 3, *follows: str, **fields: Any) -> Session:
    """Build a session that logged in at 1,000 ms, with other `fields` as given."""
    given: dict[str, Any] = {"login_time_ms": 1_000, "follows": frozenset(follows)}
    return Session(token=token, user_id=user_id, **(given | fields))


def an_entry(topic: str, body: bytes | str | int = b"", author: int = 9) -> Entry:
    """Build an entry. Numbers and texts become bytes."""
    return Entry(topic, body if isinstance(body, bytes) else str(body).encode(), author)


def entries(topic: str, bodies: Sequence[bytes | str | int]) -> list[Entry]:
    """Build one entry for each body."""
    return [an_entry(topic, body) for body in bodies]


def becomes(*appended: Entry, **fields: Any) -> SessionRule:
    """Return a rule that sets fields of a session and appends these entries."""
    return lambda session: (msgspec.structs.replace(session, **fields), appended)


async def read(realtime: Realtime, token: str) -> list[bytes]:
    """Poll, and return the bodies."""
    _, found = await realtime.poll(token)
    return [entry.body for entry in found]


async def in_pages(*pages: Sequence[RankEntry]) -> AsyncIterator[Sequence[RankEntry]]:
    """Return pages as `replace_ranks` reads them."""
    for page in pages:
        yield page
