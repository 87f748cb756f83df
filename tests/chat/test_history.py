"""The latest lines of a channel: which ones a player who joins gets, on both databases."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.chat.talking import Talk

from kiai.chat import queries
from kiai.chat.history import DAY_MS, LINES_MAX
from kiai.chat.journal import RETENTION_DAYS
from kiai.errors import NotAllowed, NotATarget, Refused
from kiai.osu.privileges import VERIFIED, Privilege
from kiai.staff import OPERATOR, Actor
from kiai.staff.chat_desk import ChatDesk
from kiai.storage.tables import chat_erasures, users


class Past:
    """A talk with its history, and the acts that erase lines."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.desk = ChatDesk(talk.world.authority, talk.chat, talk.history, talk.clock)

    def says(self, name: str, *texts: str, channel: str = "#osu") -> int:
        """Let a player write lines, one second after the other. Return the id."""
        user_id = self.talk.account(name)
        for text in texts:
            self.write(user_id, text, channel)
        return user_id

    def write(self, user_id: int, text: str, channel: str = "#osu") -> None:
        self.talk.clock.advance(1)
        self.talk.journal.add(channel, user_id, text)

    def texts(self, channel: str = "#osu", count: int = LINES_MAX, **options: Any) -> list[str]:
        """Return the texts of the history."""
        self.talk.clock.advance(1)
        found = self.talk.run(self.talk.history.latest(channel, count, **options))
        assert [line.at_ms for line in found] == sorted(line.at_ms for line in found)
        return [line.text for line in found]


@pytest.fixture
def past(engine_talk: Talk) -> Past:
    return Past(engine_talk)


def test_history_has_the_latest_lines_of_the_channel_oldest_first(past: Past) -> None:
    past.says("alice", *map(str, range(30)))
    past.says("bob", "elsewhere", channel="#lobby")

    assert past.texts() == [str(number) for number in range(5, 30)]
    assert past.texts(count=2) == ["28", "29"]
    assert past.texts("#lobby") == ["elsewhere"]
    assert past.texts("#nowhere") == []


def test_lines_name_their_author_and_time(past: Past) -> None:
    alice = past.says("alice", "hi")
    past.talk.journal.add("#osu", 1, "from the bot")

    first, second = past.talk.run(past.talk.history.latest("#osu", 2))

    assert (first.user_id, first.name, first.text, first.at_ms) == (alice, "alice", "hi", past.talk.clock.now_ms())
    assert (second.user_id, second.text) == (1, "from the bot")


def test_lines_of_blocked_and_hidden_players_are_left_out(past: Past) -> None:
    past.says("alice", "from alice")
    bob = past.says("bob", "from bob")
    carla = past.says("carla", "from carla")
    past.talk.world.change(update(users).where(users.c.id == carla).values(priv=VERIFIED))

    assert past.texts() == ["from alice", "from bob"]
    assert past.texts(but_of={bob}) == ["from alice"]


def test_lines_from_before_a_silence_do_not_come_back(past: Past) -> None:
    talk = past.talk
    bob = past.says("bob", "before", "and elsewhere")
    past.write(bob, "in the lobby", "#lobby")
    past.says("alice", "kept")

    talk.run(talk.silences.silence(OPERATOR, bob, 60, "rude"))
    silenced = past.texts()
    talk.clock.advance(61)
    past.write(bob, "after")
    talk.run(talk.silences.silence(OPERATOR, past.says("carla", "from carla"), 60, "rude"))

    assert silenced == ["kept"]
    assert past.texts() == ["kept", "after"]
    assert past.texts("#lobby") == []
    talk.run(talk.silences.silence(OPERATOR, bob, 60, "rude again"))
    talk.clock.advance(61)
    assert past.texts() == ["kept"]


def test_lines_of_a_player_who_is_silenced_at_the_moment_are_left_out(past: Past) -> None:
    bob = past.says("bob", "while silenced")
    past.talk.world.change(
        update(users).where(users.c.id == bob).values(silenced_until_ms=past.talk.clock.now_ms() + 60_000)
    )

    assert past.texts() == []
    past.talk.clock.advance(61)
    assert past.texts() == ["while silenced"]


def test_cleared_lines_do_not_come_back_in_that_channel(past: Past) -> None:
    talk = past.talk
    bob = past.says("bob", "before")
    past.write(bob, "in the lobby", "#lobby")

    talk.run(past.desk.clear(OPERATOR, "#osu", talk.world.user(bob)))
    past.write(bob, "between")
    talk.run(past.desk.clear(OPERATOR, "#osu", talk.world.user(bob)))
    past.write(bob, "after")

    assert past.texts() == ["after"]
    assert past.texts("#lobby") == ["in the lobby"]
    assert [row.action for row in talk.world.audit(bob)] == ["clear_messages"] * 2
    assert "before" in [text for _, _, text in talk.lines()], "reports still have the lines"


def test_moderators_who_clear_at_once_both_succeed(past: Past) -> None:
    talk = past.talk
    mods = [talk.account(name, priv=3 | int(Privilege.MODERATOR)) for name in ("mod", "other mod")]
    bob = past.says("bob", "before")

    acts = [(mods[0], mods[1]), (mods[1], mods[0]), (mods[0], bob), (mods[1], bob)]
    targets = {user_id: talk.world.user(user_id) for user_id in (*mods, bob)}

    async def clear_all() -> None:
        await asyncio.gather(*(past.desk.clear(Actor(by, "game"), "#osu", targets[of]) for by, of in acts))

    talk.run(clear_all())

    assert past.texts() == []
    assert [len(talk.world.audit(user_id)) for user_id in (*mods, bob)] == [1, 1, 2]


def test_clearing_has_its_refusals(past: Past) -> None:
    talk = past.talk
    bob, mod = talk.account("bob"), talk.account("mod", priv=3 | int(Privilege.MODERATOR))

    for actor, channel, target, error in (
        (Actor(bob, "game"), "#osu", mod, NotAllowed),
        (Actor(mod, "game"), "#osu", 1, NotATarget),
        (Actor(mod, "game"), "", bob, Refused),
    ):
        with pytest.raises(error):
            talk.run(past.desk.clear(actor, channel, talk.world.user(target)))
    talk.run(past.desk.clear(Actor(mod, "game"), "#multi_1", talk.world.user(bob)))

    assert talk.world.look(select(chat_erasures)) == [], "channels of matches have no history"
    assert talk.world.audit(1) == []


def test_only_the_last_lines_of_the_channel_are_read(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = past.says("bob", "old")
    for number in range(queries.HISTORY_READ):
        past.talk.journal.add("#osu", bob, str(number))
    carla = past.says("carla", "new")

    assert past.texts(but_of={bob}) == ["new"]
    assert past.texts(but_of={carla}) == [str(number) for number in range(175, 200)]


def test_old_erasures_are_deleted_after_their_lines(past: Past) -> None:
    talk = past.talk
    bob, carla = past.says("bob", "x"), past.says("carla", "y")
    talk.run(talk.silences.silence(OPERATOR, bob, 60, "rude"))
    talk.clock.advance(RETENTION_DAYS * DAY_MS // 1000)
    talk.run(past.desk.clear(OPERATOR, "#osu", talk.world.user(carla)))

    assert talk.run(talk.history.delete_older()) == 0
    talk.clock.advance(DAY_MS // 1000 + 10)

    assert talk.run(talk.history.delete_older()) == 1
    assert [row[:2] for row in talk.world.look(select(chat_erasures))] == [(carla, "#osu")]
