"""Settings of a map with mods (osu!wiki: Beatmap/Approach rate, Overall difficulty)."""

import pytest

from kiai.osu.map_settings import MapSettings, with_mods
from kiai.osu.mods import DT, EZ, HR, HT

PLAIN = MapSettings(cs=4, ar=9, od=8, hp=6, bpm=180, length_s=90)


@pytest.mark.parametrize(
    ("mode", "mods", "expected"),
    [
        (0, 0, PLAIN),
        (0, HR, MapSettings(5.2, 10, 10, 8.4, 180, 90)),
        (0, EZ, MapSettings(2, 4.5, 4, 3, 180, 90)),
        (0, DT, MapSettings(4, 10.33, 9.78, 6, 270, 60)),
        (0, HT, MapSettings(4, 7.67, 6.22, 6, 135, 120)),
        (1, DT, MapSettings(4, 10.33, 10.89, 6, 270, 60)),
        (3, DT | HR, MapSettings(4, 11, 10, 8.4, 270, 60)),
    ],
)
def test_settings_with_mods(mode: int, mods: int, expected: MapSettings) -> None:
    assert with_mods(PLAIN, mode, mods) == pytest.approx(expected, abs=0.01)


def test_approach_rate_below_5_changes_by_other_steps() -> None:
    assert with_mods(PLAIN._replace(ar=0), 0, HT).ar == pytest.approx(-5)
