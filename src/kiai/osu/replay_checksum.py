"""The forms of the checksum in a replay's header (docs/spec/replays.md#checksum).

A checksum of a known form shows that the fields it covers were not edited. A checksum of an unknown form shows nothing:
exports of stable clients, which are most of the files that players have, contain one that only the game can compute.
"""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Final

from kiai.osu.grades import GRADES
from kiai.osu.replay_file import ReplayFile


class ChecksumForm(StrEnum):
    """The program that computed a replay's checksum."""

    SERVER = "server"
    """A private server, for a download. Covers the whole result."""
    SITE = "site"
    """The osu! site, for a download. Covers combo, player, map, score and grade."""
    LAZER = "lazer"
    """Lazer, for an export. Covers player and time, but not the result."""
    UNKNOWN = "unknown"


COVERS_THE_RESULT: Final = (ChecksumForm.SERVER, ChecksumForm.SITE)

_SERVER_GRADES: Final = (*GRADES, "0")
_SITE_GRADES: Final = (*GRADES, "SS", "SSH")
_OFFSETS: Final = [timedelta(minutes=minutes) for minutes in (0, *range(-12 * 60, 14 * 60 + 1, 15))]
"""The possible offsets from UTC. Lazer writes local time, and the file does not contain the time zone."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def replay_md5(replay: ReplayFile, grade: str) -> str:
    """Return the checksum for a download; the game rejects a replay without it. `grade` is the grade of a pass."""
    return _server_md5(replay, grade, "True" if replay.perfect else "False", "True")


def checksum_form(replay: ReplayFile) -> ChecksumForm:
    """Return the form of the checksum in the header."""
    claimed = replay.replay_md5.lower()
    # The file contains neither the grade nor the time zone, so each candidate is tried: about 150 md5 at most.
    if any(claimed == _site_md5(replay, grade) for grade in _SITE_GRADES):
        return ChecksumForm.SITE
    perfect = "True" if replay.perfect else "False"
    # Private servers differ: some write "0" instead of the grade, and some write booleans in lower case.
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
    # Not %Y: some platforms do not pad years below 1000.
    date = f"{local.month:02}/{local.day:02}/{local.year:04} {local:%H:%M:%S} {offset[:3]}:{offset[3:5]}"
    return _md5(f"lazer-{player_name}-{date}")


def _local_times(at_ms: int) -> list[datetime]:
    """Return the local times of a moment in all time zones, without those outside the years 1 to 9999."""
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
