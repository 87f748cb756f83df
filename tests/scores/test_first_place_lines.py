"""First places in #announce: each names the previous holder, and several become one line."""

from typing import cast

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.beatmaps import Beatmap
from kiai.chat.service import Chat
from kiai.osu.mods import HD, RX
from kiai.scores.announcing import FirstPlaceLines
from kiai.staff import OPERATOR

ALICE, BOB = 3, 4


class FakeChat:
    """A chat that records the lines and their authors."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, str, str]] = []

    async def act(self, channel: str, user_id: int, name: str, text: str) -> None:
        self.lines.append((channel, user_id, name, text))


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat()


@pytest.fixture
def announcer(world: World, chat: FakeChat) -> FirstPlaceLines:
    return FirstPlaceLines(
        world.score_lookup,
        world.beatmaps,
        world.accounts,
        cast(Chat, chat),
        lambda path: f"https://osu.example.org/{path}",
        world.outbox,
    )


@pytest.fixture
def song(world: World) -> Beatmap:
    for name in ("alice", "bob"):
        world.add_player(a_player(name))
    return world.add_map(a_map(7))


def announce(world: World, announcer: FirstPlaceLines) -> None:
    world.run(world.outbox.deliver())
    world.run(announcer.say())


def test_new_first_place_names_the_previous_holder(
    world: World, announcer: FirstPlaceLines, chat: FakeChat, song: Beatmap
) -> None:
    world.record(a_play(by=BOB, on=song, score=100))
    announce(world, announcer)
    assert chat.lines == [], "the board was empty"

    world.record(a_play(by=ALICE, on=song, score=200, pp=1_234.5, mods=HD, acc=98.7654))
    announce(world, announcer)

    assert chat.lines == [
        (
            "#announce",
            ALICE,
            "alice",
            "achieved #1 on [https://osu.example.org/b/7 Artist - Song [Normal]] +HD with 98.77% for 1,234.50pp, "
            "taken from [https://osu.example.org/u/4 bob]",
        )
    ]


def test_improved_first_place_is_not_announced(
    world: World, announcer: FirstPlaceLines, chat: FakeChat, song: Beatmap
) -> None:
    world.record(a_play(by=BOB, on=song, score=50))
    world.record(a_play(by=ALICE, on=song, score=100))
    announce(world, announcer)
    chat.lines.clear()

    world.record(a_play(by=ALICE, on=song, score=200))
    announce(world, announcer)

    assert chat.lines == []


def test_several_first_places_become_one_line(
    world: World, announcer: FirstPlaceLines, chat: FakeChat, song: Beatmap
) -> None:
    others = [world.add_map(a_map(number)) for number in (8, 9)]
    for one in (song, *others):
        world.record(a_play(by=BOB, on=one, score=100))
        world.record(a_play(by=ALICE, on=one, score=200))

    announce(world, announcer)

    assert len(chat.lines) == 1
    assert chat.lines[0][3].endswith(" (and 2 more)")


def test_only_the_map_of_the_line_that_is_sent_is_read(
    world: World, announcer: FirstPlaceLines, chat: FakeChat, song: Beatmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [world.add_map(a_map(number)) for number in (8, 9)]
    for one in (song, *others):
        world.record(a_play(by=BOB, on=one, score=100))
        world.record(a_play(by=ALICE, on=one, score=200))
    world.run(world.outbox.deliver())
    read: list[str | None] = []
    find = world.beatmaps.find

    async def counted(*, md5: str | None = None) -> Beatmap:
        read.append(md5)
        return await find(md5=md5)

    monkeypatch.setattr(world.beatmaps, "find", counted)
    world.run(announcer.say())

    assert len(chat.lines) == 1
    assert read == [others[-1].md5]


def test_first_place_of_a_player_restricted_in_the_meantime_is_not_announced(
    world: World, announcer: FirstPlaceLines, chat: FakeChat, song: Beatmap
) -> None:
    world.record(a_play(by=BOB, on=song, score=100))
    world.record(a_play(by=ALICE, on=song, score=200, mods=RX))
    world.record(a_play(by=ALICE, on=song, score=300))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "test"))

    announce(world, announcer)

    assert chat.lines == []
