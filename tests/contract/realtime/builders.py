"""Sessions and entries of which a test says only what matters to it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kiai.realtime.port import Entry, Realtime, Session, SessionRule


def a_session(token: str = "token-a", user_id: int = 3, *follows: str, **fields: Any) -> Session:
    """A client that logged in at 1,000 ms, unless `fields` say otherwise."""
    given: dict[str, Any] = {"login_time_ms": 1_000, "follows": frozenset(follows)}
    return Session(token=token, user_id=user_id, **(given | fields))


def an_entry(topic: str, body: bytes | str | int = b"", author: int = 9) -> Entry:
    """An entry with that body; numbers and texts as bytes."""
    return Entry(topic, body if isinstance(body, bytes) else str(body).encode(), author)


def entries(topic: str, bodies: Sequence[bytes | str | int]) -> list[Entry]:
    """One entry for each body."""
    return [an_entry(topic, body) for body in bodies]


def becomes(*said: Entry, **fields: Any) -> SessionRule:
    """The rule that sets fields of a session and says these entries."""
    return lambda session: (msgspec.structs.replace(session, **fields), said)


async def read(realtime: Realtime, token: str) -> list[bytes]:
    """The bodies of a session's next poll."""
    _, found = await realtime.poll(token)
    return [entry.body for entry in found]
