"""Pure rules of statuses."""

from typing import Final

from kiai.osu.modes import mode_of, vanilla
from kiai.osu.mods import AP, RX
from kiai.realtime.port import Status

IDLE_MAX_S: Final = 300.0  # clients poll about once a second, but pause on a bad connection
STATS_REQUEST_S: Final = 60
ACTIONS_MAX: Final = 13  # the last action that clients know
ACTION_UNKNOWN: Final = 7  # the client's own action "unknown"
INFO_TEXT_MAX: Final = 255


def status_of(*, action: int, info_text: str, map_md5: str, map_id: int, mods: int, mode: int) -> Status:
    """Return the status that a client reports (docs/spec/sessions.md#status). `mode` is the game's, 0-3.

    An unknown action becomes 7. Relax and autopilot bits without meaning in the mode are removed. An md5 that does not
    have 32 characters becomes "".
    """
    assert 0 <= mode <= 3
    # Mania has no relax, only osu! has autopilot, and relax wins over autopilot.
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
    """Return the mode for packets, 0-3. Clients show an unknown mode as osu!."""
    return 0 if status.mode is None else vanilla(status.mode)
