"""The filter of entries that a session may read. It runs in each poll, so that an append does not depend on readers."""

from collections.abc import Sequence
from typing import Final

from kiai.osu.privileges import effective
from kiai.realtime.port import Entry, Session

NEW_PP_BUILD: Final = 20_250_306  # from here on, pp is unsigned (docs/spec/protocol.md#user-stats)
CHAT: Final = "chat:"
MATCH_CHAT: Final = "chat:#multi_"


def readable(session: Session, entries: Sequence[Entry]) -> list[bytes]:
    """Return the bodies that this session may read, in order.

    Omits its own user's entries, lines of players whom it blocked, and entries that need privileges it lacks. Blocks
    have no effect in channels of matches (docs/spec/game-rules.md#friends-and-blocks).
    """
    user_id = session.user_id
    old = session.build < NEW_PP_BUILD
    bodies: list[bytes] = []
    for entry in entries:
        author = entry.author
        if author == user_id:  # the client has shown its own line or status already
            continue
        # PERF: the set first; most authors are not in it, and topics need no comparison then.
        if author in session.blocked and entry.topic.startswith(CHAT) and not entry.topic.startswith(MATCH_CHAT):
            continue
        if entry.needs and not entry.needs & effective(session.priv):
            continue
        bodies.append(entry.older if old and entry.older else entry.body)
    return bodies
