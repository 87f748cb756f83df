"""The mods as bits (docs/spec/game-rules.md#mods), and the rules for sets of them.

Nightcore always comes with the bit of DoubleTime, and Perfect with the bit of SuddenDeath; texts show only the former
of each pair. Signatures use plain ints because rows, packets and replays contain ints.
"""

import enum
from collections.abc import Mapping
from typing import Final


class Mods(enum.IntFlag):
    """The bit of each mod, under its two letters. Key counts are reversed to be valid names (`K4` for `4K`)."""

    NF = 1
    EZ = 1 << 1
    TD = 1 << 2
    HD = 1 << 3
    HR = 1 << 4
    SD = 1 << 5
    DT = 1 << 6
    RX = 1 << 7
    HT = 1 << 8
    NC = 1 << 9
    FL = 1 << 10
    AU = 1 << 11
    SO = 1 << 12
    AP = 1 << 13
    PF = 1 << 14
    K4 = 1 << 15
    K5 = 1 << 16
    K6 = 1 << 17
    K7 = 1 << 18
    K8 = 1 << 19
    FI = 1 << 20
    RN = 1 << 21
    CN = 1 << 22
    TP = 1 << 23
    K9 = 1 << 24
    CO = 1 << 25
    K1 = 1 << 26
    K3 = 1 << 27
    K2 = 1 << 28
    V2 = 1 << 29
    MR = 1 << 30


# PERF: plain ints below; `&` between an int and an IntFlag takes about 20 times as long.
NF: Final = int(Mods.NF)
EZ: Final = int(Mods.EZ)
TD: Final = int(Mods.TD)
HD: Final = int(Mods.HD)
HR: Final = int(Mods.HR)
SD: Final = int(Mods.SD)
DT: Final = int(Mods.DT)
RX: Final = int(Mods.RX)
HT: Final = int(Mods.HT)
NC: Final = int(Mods.NC)
FL: Final = int(Mods.FL)
SO: Final = int(Mods.SO)
AP: Final = int(Mods.AP)
PF: Final = int(Mods.PF)
FI: Final = int(Mods.FI)
TP: Final = int(Mods.TP)
CO: Final = int(Mods.CO)
V2: Final = int(Mods.V2)

ALL: Final[int] = (1 << 31) - 1
SILVER: Final[int] = HD | FL | FI
"""The mods that turn X and S into XH and SH."""
KEYS: Final[int] = int(Mods.K1 | Mods.K2 | Mods.K3 | Mods.K4 | Mods.K5 | Mods.K6 | Mods.K7 | Mods.K8 | Mods.K9)
SPEED: Final[int] = DT | NC | HT
"""The mods that change length and tempo. In a free-mod match only the host sets them."""

_MANIA_ONLY: Final = KEYS | CO | FI | int(Mods.RN | Mods.MR)
_OSU_ONLY: Final = SO | AP | TP
_UNRANKED: Final = TP | V2 | CO | int(Mods.RN | Mods.K1 | Mods.K2 | Mods.K3)
# A superset of the mods that the calculator uses. An extra bit costs a second calculation of the same map; a missing
# bit would give wrong stars.
_DIFFICULTY: Final = EZ | TD | HD | HR | DT | RX | HT | FL | AP | KEYS | FI | CO | V2

_CODES: Final[Mapping[int, str]] = {int(mod): name[::-1] if (name := str(mod.name))[0] == "K" else name for mod in Mods}
_BY_CODE: Final[Mapping[str, int]] = {code: bit for bit, code in _CODES.items()} | {
    "NM": 0,
    "TS": TD,
    "AT": int(Mods.AU),
    "RD": int(Mods.RN),
}
_NAMES: Final[Mapping[int, str]] = {
    NF: "NoFail",
    EZ: "Easy",
    TD: "TouchDevice",
    HD: "Hidden",
    HR: "HardRock",
    SD: "SuddenDeath",
    DT: "DoubleTime",
    RX: "Relax",
    HT: "HalfTime",
    NC: "Nightcore",
    FL: "Flashlight",
    int(Mods.AU): "Autoplay",
    SO: "SpunOut",
    AP: "Relax2",
    PF: "Perfect",
    FI: "FadeIn",
    int(Mods.RN): "Random",
    int(Mods.CN): "Cinema",
    TP: "Target",
    CO: "KeyCoop",
    V2: "ScoreV2",
    int(Mods.MR): "Mirror",
    **{int(Mods[f"K{keys}"]): f"Key{keys}" for keys in range(1, 10)},
}
_SEPARATORS: Final = str.maketrans("", "", "+, ")
_TEXT_MAX: Final = 256


def parse_mods(text: str) -> int:
    """Return the set that a text names: `HDDT`, `+hd,dt`, `NM` or empty (no mods), or a decimal number.

    Adds DT to NC and SD to PF. Raises ValueError, which names the part that is not a mod.
    """
    if len(text) > _TEXT_MAX:
        raise ValueError(f"more than {_TEXT_MAX} characters of mods")
    letters = text.translate(_SEPARATORS)
    if not letters.isascii():  # isdigit() and upper() below are only safe for ASCII
        raise ValueError(f"unknown mod {letters!r}")
    if letters.isdigit():
        if len(letters) > 10 or (mods := int(letters)) > ALL:
            raise ValueError(f"unknown mods {letters}")
        return completed(mods)
    mods = 0
    for start in range(0, len(letters), 2):
        code = letters[start : start + 2]
        bit = _BY_CODE.get(code.upper())
        if bit is None:
            raise ValueError(f"unknown mod {code!r}")
        mods |= bit
    return completed(mods)


def completed(mods: int) -> int:
    """Return the set with the bits that NC and PF imply: DT and SD."""
    if mods & NC:
        mods |= DT
    if mods & PF:
        mods |= SD
    return mods


def bit_of(code: str) -> int | None:
    """Return the bit of the mod with these letters, in any case, or None."""
    return _BY_CODE.get(code.upper()) or None


def mods_text(mods: int) -> str:
    """Return the letters of a set in bit order, such as `HDNC`; `NM` for the empty set."""
    if mods & NC:
        mods &= ~DT
    if mods & PF:
        mods &= ~SD
    mods &= ALL
    codes = []
    while mods:
        bit = mods & -mods  # the lowest bit
        codes.append(_CODES[bit])
        mods ^= bit
    return "".join(codes) or "NM"


def mod_names(mods: int) -> list[str]:
    """Return the long names of a set in bit order, as in the lines that referee tools read."""
    # Bancho lists both names of a pair: NC is "DoubleTime, Nightcore". The tools expect that.
    mods = completed(mods & ALL)
    return [_NAMES[int(mod)] for mod in Mods if mods & mod]


def normalise(mods: int, vanilla_mode: int) -> int:
    """Return the nearest playable set, for mods that a player typed."""
    # Where two mods exclude each other, the order of these checks decides which one stays.
    mods = completed(mods & ALL)
    if mods & DT:
        mods &= ~HT
    if mods & EZ:
        mods &= ~HR
    if mods & (NF | RX | AP):
        mods &= ~(SD | PF)
    if mods & (RX | AP):
        mods &= ~NF
    if vanilla_mode != 0:
        mods &= ~_OSU_ONLY
    elif mods & (SO | RX):
        mods &= ~AP
    if vanilla_mode != 3:
        return mods & ~_MANIA_ONLY
    mods &= ~RX
    if mods & HD:
        mods &= ~FI
    keys = mods & KEYS
    return mods & ~KEYS | keys & -keys  # only the lowest key count


def board_key(mods: int) -> int:
    """Return the set that boards filtered by mods compare: NC counts as DT, PF as SD, and TD is ignored."""
    if mods & NC:
        mods |= DT
    if mods & PF:
        mods |= SD
    return mods & ~(NC | PF | TD)


def difficulty_mods(mods: int) -> int:
    """Return the part of a set that can change the stars. It is the key under which difficulty is cached."""
    if mods & NC:
        mods |= DT
    return mods & _DIFFICULTY


def clock_rate(mods: int) -> float:
    """Return the speed of a map: 1.5 with DT or NC, 0.75 with HT, otherwise 1."""
    if mods & (DT | NC):
        return 1.5
    return 0.75 if mods & HT else 1.0


def refused_mods(mods: int, vanilla_mode: int) -> str | None:
    """Return why no unmodified client can submit this set in this mode, or None if one can.

    See docs/spec/submission.md#mods-and-modes.
    """
    for mask, other, reason in _IMPOSSIBLE:
        if mods & mask and mods & other:
            return reason
    if not 0 <= mods <= ALL:
        return "unknown mods"
    if mods & NC and not mods & DT:
        return "Nightcore without DoubleTime"
    if (mods & KEYS).bit_count() > 1:
        return "more than one key count"
    if vanilla_mode != 3 and mods & _MANIA_ONLY:
        return f"{mods_text(mods & _MANIA_ONLY)} outside mania"
    if vanilla_mode != 0 and mods & _OSU_ONLY:
        return f"{mods_text(mods & _OSU_ONLY)} outside osu!"
    return None


def unranked_mods(mods: int) -> bool:
    """Whether plays with this set are possible but not stored (docs/spec/submission.md#mods-and-modes)."""
    return bool(mods & _UNRANKED)


# The first mod of a pair excludes each mod of the second. A mod paired with itself is never submitted.
_IMPOSSIBLE: Final[tuple[tuple[int, int, str], ...]] = (
    (int(Mods.AU), int(Mods.AU), "Autoplay"),
    (int(Mods.CN), int(Mods.CN), "Cinema"),
    (EZ, HR, "Easy with HardRock"),
    (HT, DT | NC, "HalfTime with DoubleTime"),
    (NF, SD | PF, "NoFail with SuddenDeath"),
    (RX, AP, "Relax with Autopilot"),
    (SO, AP, "SpunOut with Autopilot"),
)
