"""Searches and downloads from mirrors."""

from collections.abc import Iterator

import pytest
from tests.beatmaps import standin
from tests.beatmaps.standin import StandIn
from tests.builders import Run

from kiai.beatmaps.fetching import FAILURES_MAX
from kiai.beatmaps.mirrors import Mirrors
from kiai.clock import ManualClock
from kiai.errors import Unavailable

A_SET = {
    "SetID": 41,
    "ChildrenBeatmaps": [
        {"BeatmapID": 1, "DiffName": "Hard", "Mode": 0, "AR": 9, "OD": 8.5, "CS": 4, "HP": 6, "DifficultyRating": 5.4}
    ],
    "RankedStatus": 1,
    "LastUpdate": "2014-05-18T15:41:48Z",
    "Artist": "Artist",
    "Title": "Title",
    "Creator": "Mapper",
    "HasVideo": True,
    "Favourites": 3,
}


@pytest.fixture
def first() -> Iterator[StandIn]:
    with standin.running() as found:
        yield found


@pytest.fixture
def second() -> Iterator[StandIn]:
    with standin.running() as found:
        yield found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(0)


@pytest.fixture
def mirrors(run: Run, clock: ManualClock, first: StandIn, second: StandIn) -> Iterator[Mirrors]:
    mirrors = Mirrors([first.url, second.url], clock, allow_private=True, total_s=0.4)
    yield mirrors
    run(mirrors.close())


def test_search_is_sent_to_the_first_mirror(run: Run, mirrors: Mirrors, first: StandIn) -> None:
    first.sets = [A_SET]

    [found] = run(mirrors.search("some words", mode=0, status=1, page=2))

    assert first.asked == ["/api/search?query=some+words&amount=100&offset=200&mode=0&status=1"]
    assert (found.set_id, found.artist, found.has_video) == (41, "Artist", True)
    assert found.children_beatmaps is not None
    assert (found.children_beatmaps[0].diff_name, found.children_beatmaps[0].OD) == ("Hard", 8.5)


@pytest.mark.parametrize("fault", ["500", "hang", "html", "away"])
def test_next_mirror_is_used_when_one_fails(
    run: Run, mirrors: Mirrors, first: StandIn, second: StandIn, fault: str
) -> None:
    first.fault = fault
    second.sets = [A_SET]

    assert [one.set_id for one in run(mirrors.search("x", mode=None, status=None, page=0))] == [41]


def test_search_is_unavailable_if_no_mirror_answers(
    run: Run, mirrors: Mirrors, first: StandIn, second: StandIn
) -> None:
    first.fault = second.fault = "500"

    with pytest.raises(Unavailable):
        run(mirrors.search("x", mode=None, status=None, page=0))


def test_unusual_answers_of_mirrors_are_read(run: Run, mirrors: Mirrors, first: StandIn) -> None:
    first.sets = [{**A_SET, "HasVideo": 1, "ChildrenBeatmaps": None}]

    [found] = run(mirrors.search("x", mode=None, status=None, page=0))

    assert (int(found.has_video), found.children_beatmaps) == (1, None)


def test_set_of_a_mirror_is_returned(run: Run, mirrors: Mirrors, first: StandIn) -> None:
    first.sets = [A_SET]

    found = run(mirrors.set(41))

    assert found is not None
    assert found.title == "Title"
    assert run(mirrors.set(42)) is None


def test_downloads_use_the_first_mirror_that_is_not_paused(
    run: Run, mirrors: Mirrors, clock: ManualClock, first: StandIn, second: StandIn
) -> None:
    assert mirrors.download_url(41, video=True) == f"{first.url}/d/41"
    assert mirrors.download_url(41, video=False) == f"{first.url}/d/41n"

    first.fault = "500"
    for _ in range(FAILURES_MAX):
        run(mirrors.search("x", mode=None, status=None, page=0))

    assert mirrors.download_url(41, video=True) == f"{second.url}/d/41"
    clock.advance(61)
    assert mirrors.download_url(41, video=True) == f"{first.url}/d/41"


def test_mirrors_without_urls_are_false(clock: ManualClock) -> None:
    assert not Mirrors([], clock)
    assert Mirrors([], clock).download_url(1, video=True) is None
