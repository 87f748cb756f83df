"""Events of sessions. Faces encode them as packets and lines of the feed."""

import msgspec

from kiai.realtime.port import Session


class CameOnline(msgspec.Struct, frozen=True):
    """A player came online. `crowded`: clients receive only its id (more than CROWDED_ABOVE players are online)."""

    session: Session
    crowded: bool
    at_ms: int


class WentOffline(msgspec.Struct, frozen=True):
    """A player's last session ended. `hides_online` as in the session."""

    user_id: int
    at_ms: int
    hides_online: bool = False


class OnlyIrcRemains(msgspec.Struct, frozen=True):
    """A player's game ended, and the player is still connected by IRC. `session` is the one of the connection."""

    session: Session


class IrcSessionEnded(msgspec.Struct, frozen=True):
    """The session of an IRC connection ended. The worker that has the connection closes it."""

    token: str


class OnlineHidden(msgspec.Struct, frozen=True):
    """A player online began to hide it. Other players in the game still see the status."""

    user_id: int
    at_ms: int


class OnlineShown(msgspec.Struct, frozen=True):
    """A player online no longer hides it."""

    session: Session
    at_ms: int


class StatsChanged(msgspec.Struct, frozen=True):
    """A player's status or stats changed. `crowded` as in `CameOnline`: its match then receives a copy of its own."""

    session: Session
    crowded: bool
    at_ms: int


class OwnStatsChanged(msgspec.Struct, frozen=True):
    """A player's stats changed without a request of its client, which has to receive them."""

    session: Session


class AlertSent(msgspec.Struct, frozen=True):
    """A notification for one player, or for everybody online (0)."""

    text: str
    user_id: int = 0


class PresenceChanged(msgspec.Struct, frozen=True):
    """The privileges or the name of a player changed."""

    session: Session
