"""What lazer's replay files say beyond a stable one, and what of it stable can express.

Lazer counts in standardised points: 1,000,000 and bonuses, whatever the map. Boards here compare classic points, which
grow with the map. Lazer shows its own scores in classic points by a formula that takes the number of objects, and
`classic_score` is that formula.

See docs/spec/replays.md#files-of-lazer.
"""

from typing import Any, Final

import msgspec

from kiai.osu.accuracy import Counts, judged
from kiai.osu.mods import bit_of, refused_mods
from kiai.osu.replay_file import BadReplay, decompress_block

BLOCK_MAX_BYTES: Final = 1024 * 1024
STANDARDISED_MAX: Final = 4_000_000
"""More than any mods and bonuses make of the 1,000,000."""
OBJECTS_MAX: Final = 1_000_000

_POINTS: Final = 1_000_000
_BASIC: Final = frozenset({"miss", "meh", "ok", "good", "great", "perfect"})
"""The judgements that each object has one of; ticks, tails and bonuses have others."""
_CLASSIC: Final = "CL"
_LIKE: Final = {"DC": "HT", "DS": "CO", "SV2": "V2"}
"""Lazer's names of mods that stable has under another one."""
_HARMLESS: Final = frozenset({"adjust_pitch", "restart"})
"""Settings that change nothing about the score."""
_SPEEDS: Final = {"DT": 1.5, "NC": 1.5, "HT": 0.75, "DC": 0.75}


class LazerMod(msgspec.Struct, frozen=True):
    """A mod; `settings` holds those that differ from the mod's own."""

    acronym: str
    settings: dict[str, Any] | None = None


class LazerScore(msgspec.Struct, frozen=True):
    """The part of lazer's block that matters here."""

    mods: list[LazerMod] | None = None
    maximum_statistics: dict[str, int] | None = None
    """The judgements of a perfect play by kind."""
    rank: str | int | None = None

    @property
    def failed(self) -> bool:
        """Whether the block says so; older versions do not say."""
        return self.rank in ("F", "f", -1)


def read_lazer_score(block: bytes) -> LazerScore:
    """Reads the block of a file of lazer; an empty one says nothing. Raises BadReplay."""
    if not block:
        return LazerScore()
    content = decompress_block(block, "lazer's block", max_bytes=BLOCK_MAX_BYTES)
    try:
        return msgspec.json.decode(content, type=LazerScore)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadReplay(f"lazer's block cannot be read: {error}") from None
    except RecursionError:
        raise BadReplay("lazer's block cannot be read: it is nested too deeply") from None


def lazer_mods(score: LazerScore) -> int:
    """The bits of the mods in the block."""
    mods = 0
    for mod in score.mods or ():
        mods |= bit_of(_LIKE.get(mod.acronym.upper(), mod.acronym)) or 0
    return mods


def lazer_mods_fault(score: LazerScore, mode: int) -> str | None:
    """Which of its mods stable cannot express; None if it has all. Classic is what stable does anyway."""
    for mod in score.mods or ():
        acronym = mod.acronym.upper()
        if acronym == _CLASSIC:
            continue
        shown = ascii(mod.acronym[:16])[1:-1]
        bit = bit_of(_LIKE.get(acronym, acronym))
        if bit is None or _not_in_mode(bit, mode):
            return f"its mod {shown} exists in lazer only"
        for name, value in (mod.settings or {}).items():
            if name not in _HARMLESS and not (name == "speed_change" and value == _SPEEDS.get(acronym)):
                return f"its mod {shown} has a setting that exists in lazer only ({ascii(name[:32])[1:-1]})"
    return None


def _not_in_mode(bit: int, mode: int) -> bool:
    why = refused_mods(bit, mode)
    return why is not None and "outside" in why


def classic_score(standardised: int, mode: int, objects: int) -> int:
    """A standardised score as lazer shows it in classic points. `mode` 0-3; `objects` as of `objects_judged`."""
    share = standardised / _POINTS
    match mode:
        case 0:
            return round((objects**2 * 32.57 + 100_000) * share)
        case 1:
            return round((objects * 1109 + 100_000) * share)
        case 2:
            return round((share * objects) ** 2 * 21.62 + standardised / 10)
        case _:
            return standardised


def objects_judged(score: LazerScore, mode: int, counts: Counts) -> int | None:
    """How many objects a whole play of lazer's has; None if the file does not say.

    The counts of the header say it, too, but for misses in catch, which may be of fruits or of droplets.
    """
    told = sum(number for kind, number in (score.maximum_statistics or {}).items() if kind in _BASIC)
    if 0 < told <= OBJECTS_MAX:
        return told
    if mode != 2:
        return judged(counts, mode)
    return counts.n300 if counts.nmiss == 0 else None
