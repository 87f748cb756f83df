"""First places in #announce: who took one from somebody says so; bursts are one line."""

from typing import cast

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.beatmaps import Beatmap
from kiai.chat.service import Chat
from kiai.osu.mods import HD, RX
from kiai.scores.announcing import FirstPlaceLines
from kiai.staff import OPERATOR

ALICE, BOB = 3, 4


class Heard:
    """In place of chat: what was said, and by whom."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, str, str]] = []

    async def act(self, channel: str, user_id: int, name: str, text: str) -> None:
        self.lines.append((channel, user_id, name, text))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def lines(world: World, heard: Heard) -> FirstPlaceLines:
    return FirstPlaceLines(
        world.leaderboards,
        world.beatmaps,
        world.accounts,
        cast(Chat, heard),
        lambda path: f"https://osu.example.org/{path}",
        world.outbox,
    )


@pytest.fixture
def song(world: World) -> Beatmap:
    for name in ("alice", "bob"):
        world.add_player(a_player(name))
    return world.add_map(a_map(7))


def say(world: World, lines: FirstPlaceLines) -> None:
    world.run(world.outbox.deliver())
    world.run(lines.say())


def test_who_takes_a_first_place_says_from_whom(
    world: World, lines: FirstPlaceLines, heard: Heard, song: Beatmap
) -> None:
    world.record(a_play(by=BOB, on=song, score=100))
    say(world, lines)
    assert heard.lines == [], "nobody else was there"

    world.record(a_play(by=ALICE, on=song, score=200, pp=1_234.5, mods=HD, acc=98.7654))
    say(world, lines)

    assert heard.lines == [
        (
            "#announce",
            ALICE,
            "alice",
            "achieved #1 on [https://osu.example.org/b/7 Artist - Song [Normal]] +HD with 98.77% for 1,234.50pp, "
            "taken from [https://osu.example.org/u/4 bob]",
        )
    ]


def test_who_improves_its_own_first_place_says_nothing(
    world: World, lines: FirstPlaceLines, heard: Heard, song: Beatmap
) -> None:
    world.record(a_play(by=BOB, on=song, score=50))
    world.record(a_play(by=ALICE, on=song, score=100))
    say(world, lines)
    heard.lines.clear()

    world.record(a_play(by=ALICE, on=song, score=200))
    say(world, lines)

    assert heard.lines == []


def test_a_burst_is_one_line(world: World, lines: FirstPlaceLines, heard: Heard, song: Beatmap) -> None:
    others = [world.add_map(a_map(number)) for number in (8, 9)]
    for one in (song, *others):
        world.record(a_play(by=BOB, on=one, score=100))
        world.record(a_play(by=ALICE, on=one, score=200))

    say(world, lines)

    assert len(heard.lines) == 1
    assert heard.lines[0][3].endswith(" (and 2 more)")


def test_who_is_hidden_meanwhile_is_not_named(
    world: World, lines: FirstPlaceLines, heard: Heard, song: Beatmap
) -> None:
    world.record(a_play(by=BOB, on=song, score=100))
    world.record(a_play(by=ALICE, on=song, score=200, mods=RX))
    world.record(a_play(by=ALICE, on=song, score=300))
    world.run(world.staff.restrict(OPERATOR, "alice", "test"))

    say(world, lines)

    assert heard.lines == []
