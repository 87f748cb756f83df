"""What happens to sessions, as facts, and the pure rules of statuses."""

from typing import Final

import msgspec

from kiai.osu.modes import mode_of, vanilla
from kiai.osu.mods import AP, RX
from kiai.realtime.port import Session, Status

IDLE_MAX_S: Final = 300.0
WATCHED_S: Final = 60
ACTIONS_MAX: Final = 13
ACTION_UNKNOWN: Final = 7
INFO_TEXT_MAX: Final = 255


class Arrived(msgspec.Struct, frozen=True):
    """A player came online. `many`: it is announced by its id alone."""

    session: Session
    many: bool
    at_ms: int


class Left(msgspec.Struct, frozen=True):
    """A player's last session ended."""

    user_id: int
    at_ms: int


class StatsChanged(msgspec.Struct, frozen=True):
    """A player's status or figures changed. `many` as in `Arrived`: its room is told separately then."""

    session: Session
    many: bool
    at_ms: int


class OwnFigures(msgspec.Struct, frozen=True):
    """A player's own figures changed without the client's doing: it must be told them."""

    session: Session


class Alerted(msgspec.Struct, frozen=True):
    """A text that pops up: for one player, or for everybody (0)."""

    text: str
    user_id: int = 0


class PresenceChanged(msgspec.Struct, frozen=True):
    """Who a player is changed: privileges, name."""

    session: Session


def status_of(*, action: int, info_text: str, map_md5: str, map_id: int, mods: int, mode: int) -> Status:
    """The status behind what a client sent (docs/spec/sessions.md#status). `mode` is the game's own, 0-3.

    An unknown action is 7; relax and autopilot bits that mean nothing in the mode are taken out; a map is named by an
    md5 of 32 hex digits or not at all.
    """
    assert 0 <= mode <= 3
    if mode == 3:
        mods &= ~int(RX)
    if mode != 0 or mods & RX:
        mods &= ~int(AP)
    if len(map_md5) != 32 or not map_md5.isalnum() or not map_md5.isascii():
        map_md5 = ""
    return Status(
        action=action if 0 <= action <= ACTIONS_MAX else ACTION_UNKNOWN,
        info_text=info_text[:INFO_TEXT_MAX],
        map_md5=map_md5.lower(),
        map_id=max(0, map_id),
        mods=mods,
        mode=mode_of(mode, mods),
    )


def client_mode(status: Status) -> int:
    """The mode as packets carry it, 0-3; an unknown one shows as osu!."""
    return 0 if status.mode is None else vanilla(status.mode)
