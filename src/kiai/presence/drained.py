"""The sessions that maintenance has ended, for an hour: plays that were under way then are still accepted."""

from typing import Final

import msgspec

from kiai.realtime.port import Realtime, Session

STORED_S: Final = 3_600.0
"""Longer than any beatmap lasts, and than the game tries to submit a play again."""


async def store(realtime: Realtime, session: Session) -> None:
    """Store a session that is about to be ended."""
    await realtime.stash(_key(session.user_id), session.token, msgspec.json.encode(session), STORED_S)


async def stored(realtime: Realtime, user_id: int) -> list[Session]:
    """Return the sessions of a player that maintenance has ended within the last hour."""
    found = await realtime.stashed(_key(user_id))
    return [msgspec.json.decode(session, type=Session) for session in found.values()]


def _key(user_id: int) -> str:
    return f"drained:{user_id}"
