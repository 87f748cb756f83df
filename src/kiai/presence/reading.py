"""What of its topics' entries a session may read: filters are applied when reading, never when appending."""

from collections.abc import Sequence
from typing import Final

from kiai.osu.privileges import effective
from kiai.realtime.port import Entry, Session

NEW_PP_BUILD: Final = 20_250_306  # from here on pp is read as 16 bits without sign (docs/spec/protocol.md#user-stats)
CHAT: Final = "chat:"
MATCH_CHAT: Final = "chat:#multi_"


def readable(session: Session, entries: Sequence[Entry]) -> list[bytes]:
    """The bodies for this session, in order.

    Left out are its own user's entries, lines of players it blocked, and what its privileges do not reach. Blocks do
    not count in the channels of matches: docs/spec/game-rules.md#friends-and-blocks.
    """
    me = session.user_id
    old = session.build < NEW_PP_BUILD
    bodies: list[bytes] = []
    for entry in entries:
        author = entry.author
        if author == me:
            continue
        if author in session.blocked and entry.topic.startswith(CHAT) and not entry.topic.startswith(MATCH_CHAT):
            continue
        if entry.needs and not entry.needs & effective(session.priv):
            continue
        bodies.append(entry.older if old and entry.older else entry.body)
    return bodies
