"""What a request may take for granted about sessions while the shared state does not answer.

Whatever needs nothing but rows goes on without Redis. It asks these functions, which never raise StateUnavailable.
"""

import contextlib
from collections.abc import Sequence

from kiai.realtime.port import Realtime, StateUnavailable


async def shown_online(realtime: Realtime, user_ids: Sequence[int]) -> set[int]:
    """Who of these is online, for a mark beside rows; nobody while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return await realtime.online_among(user_ids)
    return set()


async def may_be_playing(realtime: Realtime, user_id: int) -> bool:
    """False for a player who has no session. While the shared state does not answer nobody is refused for that."""
    with contextlib.suppress(StateUnavailable):
        return bool(await realtime.sessions_of(user_id))
    return True


async def first_time(realtime: Realtime, key: str, for_s: float, *, otherwise: bool) -> bool:
    """As `Realtime.once`; `otherwise` while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return await realtime.once(key, for_s)
    return otherwise


async def online_count(realtime: Realtime) -> int | None:
    """As `Realtime.online_count`; None while the shared state does not answer."""
    with contextlib.suppress(StateUnavailable):
        return await realtime.online_count()
    return None
