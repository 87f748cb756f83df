"""Reads of shared state with a default for the time when it does not answer.

Requests that need only rows of the database work without Redis. They call these functions, which never raise
StateUnavailable.
"""

import contextlib
from collections.abc import Sequence

from kiai.realtime.port import Realtime, Session, StateUnavailable


async def online_or_nobody(realtime: Realtime, user_ids: Sequence[int]) -> set[int]:
    """Return those of the users who are online, or an empty set while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return await realtime.online_among(user_ids)
    return set()


async def may_be_playing(realtime: Realtime, user_id: int) -> bool:
    """Return whether the player is in the game, or True while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return any(not session.irc for session in await realtime.sessions_of(user_id))
    return True  # these endpoints need only rows: they serve everybody rather than nobody while Redis is down


async def sessions_of(realtime: Realtime, user_id: int) -> list[Session]:
    """Return the player's sessions, or none while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return await realtime.sessions_of(user_id)
    return []


async def first_time(realtime: Realtime, key: str, for_s: float, *, otherwise: bool) -> bool:
    """Call `Realtime.once`. Return `otherwise` while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return await realtime.once(key, for_s)
    return otherwise
