"""The settings of a map as a player feels them with mods (osu!wiki: Beatmap/Approach rate, Overall difficulty)."""

from typing import Final, NamedTuple

from kiai.osu.mods import EZ, HR, clock_rate

_APPROACH_MS: Final = 1_200.0  # at AR 5
_MANIA: Final = 3
_TAIKO: Final = 1


class MapSettings(NamedTuple):
    """Settings 0-11 (AR and OD exceed 10 with Double Time), tempo in beats per minute, length in seconds."""

    cs: float
    ar: float
    od: float
    hp: float
    bpm: float
    length_s: float


def with_mods(settings: MapSettings, vanilla_mode: int, mods: int) -> MapSettings:
    """Return the settings with these mods.

    Speed mods change times, not values: AR and OD are converted to ms, divided by the rate and converted back. In mania
    `cs` is the number of keys, which Hard Rock and Easy do not change, and OD does not depend on the speed.
    """
    rate = clock_rate(mods)
    ar, od, hp = (_harder(value, mods, 1.4) for value in (settings.ar, settings.od, settings.hp))
    return MapSettings(
        cs=settings.cs if vanilla_mode == _MANIA else _harder(settings.cs, mods, 1.3),
        ar=_approach_rate(ar, rate),
        od=od if vanilla_mode == _MANIA else _overall_difficulty(od, rate, vanilla_mode),
        hp=hp,
        bpm=settings.bpm * rate,
        length_s=settings.length_s / rate,
    )


def _harder(value: float, mods: int, factor: float) -> float:
    return min(10.0, value * (factor if mods & HR else 0.5 if mods & EZ else 1.0))


def _approach_rate(ar: float, rate: float) -> float:
    preempt_ms = (_APPROACH_MS - 150 * (ar - 5) if ar > 5 else _APPROACH_MS + 120 * (5 - ar)) / rate
    return 5 + (_APPROACH_MS - preempt_ms) / (150 if preempt_ms < _APPROACH_MS else 120)


def _overall_difficulty(od: float, rate: float, vanilla_mode: int) -> float:
    widest_ms, step_ms = (50.0, 3.0) if vanilla_mode == _TAIKO else (80.0, 6.0)
    return (widest_ms - (widest_ms - step_ms * od) / rate) / step_ms
