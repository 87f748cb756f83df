"""The checksum in a replay's header: the forms that are in use (docs/spec/replays.md#checksum).

A checksum of a known form shows that nobody edited what it covers. A checksum of no known form shows nothing: exports
of stable clients, which are most of the files on players' disks, have one that only the game can compute.
"""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Final

from kiai.osu.grades import GRADES
from kiai.osu.replay_file import ReplayFile


class ChecksumForm(StrEnum):
    """Who computed a replay's checksum."""

    SERVER = "server"
    """A server, for a download. Covers the whole result."""
    SITE = "site"
    """The osu! site, for a download. Covers combo, player, map, score and grade."""
    LAZER = "lazer"
    """Lazer, for an export. Covers player and time, nothing of the result."""
    UNKNOWN = "unknown"


COVERS_THE_RESULT: Final = (ChecksumForm.SERVER, ChecksumForm.SITE)

_SERVER_GRADES: Final = (*GRADES, "0")
_SITE_GRADES: Final = (*GRADES, "SS", "SSH")
_OFFSETS: Final = [timedelta(minutes=minutes) for minutes in (0, *range(-12 * 60, 14 * 60 + 1, 15))]
"""What a time zone can be away from UTC: lazer writes the time of the player's machine."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def replay_md5(replay: ReplayFile, grade: str) -> str:
    """The checksum that a server writes; the game refuses a download without it. `grade` is that of a pass."""
    return _server_md5(replay, grade, "True" if replay.perfect else "False", "True")


def checksum_form(replay: ReplayFile) -> ChecksumForm:
    """The form that the header's checksum fits.

    Servers differ in the grade (some write none, "0") and in the case of booleans; all of these are `SERVER`.
    """
    claimed = replay.replay_md5.lower()
    if any(claimed == _site_md5(replay, grade) for grade in _SITE_GRADES):
        return ChecksumForm.SITE
    perfect = "True" if replay.perfect else "False"
    if any(
        claimed == _server_md5(replay, grade, flag, last)
        for grade, flag, last in itertools.product(_SERVER_GRADES, (perfect, perfect.lower()), ("True", "true"))
    ):
        return ChecksumForm.SERVER
    if any(claimed == _lazer_md5(replay.player_name, local) for local in _local_times(replay.played_at_ms)):
        return ChecksumForm.LAZER
    return ChecksumForm.UNKNOWN


def _server_md5(replay: ReplayFile, grade: str, perfect: str, last: str) -> str:
    counts = replay.counts
    return _md5(
        f"{counts.n100 + counts.n300}p{counts.n50}o{counts.ngeki}o{counts.nkatu}t{counts.nmiss}a{replay.beatmap_md5}"
        f"r{replay.max_combo}e{perfect}y{replay.player_name}o{replay.score}u{grade}{replay.mods}{last}"
    )


def _site_md5(replay: ReplayFile, grade: str) -> str:
    return _md5(f"{replay.max_combo}osu{replay.player_name}{replay.beatmap_md5}{replay.score}{grade}")


def _lazer_md5(player_name: str, local: datetime) -> str:
    offset = local.strftime("%z")
    # Not %Y: it does not pad years below 1000 everywhere.
    date = f"{local.month:02}/{local.day:02}/{local.year:04} {local:%H:%M:%S} {offset[:3]}:{offset[3:5]}"
    return _md5(f"lazer-{player_name}-{date}")


def _local_times(at_ms: int) -> list[datetime]:
    """A moment as the clocks of all time zones show it; those that leave the years 1 to 9999 are left out."""
    times = []
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    for offset in _OFFSETS:
        try:
            times.append(moment.astimezone(timezone(offset)))
        except OverflowError:
            continue
    return times


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
