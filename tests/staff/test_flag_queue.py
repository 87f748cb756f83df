"""The queue of flags: who may read and close, the audit row, and `!flags`."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from sqlalchemy import select
from tests.builders import World, a_player

from kiai.chat.bot import Bot
from kiai.errors import Invalid, NotAllowed, NotFound, WrongState
from kiai.faces.bot.flags import FlagCommands
from kiai.ids import SequenceIds
from kiai.osu.privileges import MODERATOR
from kiai.realtime.port import Session, Status
from kiai.scores.evidence import Examiner
from kiai.scores.flags import Finding, Flags
from kiai.staff import OPERATOR, Actor
from kiai.staff.authority import Authority
from kiai.staff.flag_queue import FlagQueue
from kiai.storage.port import Transaction
from kiai.storage.tables import audit_log


class Queue:
    """A moderator, a player with flags, and the bot."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moder = world.add_player(a_player("moder", priv=3 | MODERATOR))
        self.alice = world.add_player(a_player("alice"))
        self.flags = Flags(world.database, world.clock)
        authority = Authority(world.database, world.accounts, world.clock)
        self.queue = FlagQueue(authority, self.flags, cast(Examiner, None), world.clock)
        self.bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=False)
        self.bot.register(FlagCommands(self.bot, self.queue).commands())
        self.actor = Actor(user_id=self.moder, source="game")

    def add(self, count: int = 1) -> None:
        first = 1 + len(self.world.run(self.flags.page(limit=1_000)))

        async def body(tx: Transaction) -> None:
            findings = [
                Finding(self.alice, number, "timewarp", f"play {number}", {"average_frametime_ms": 9, "threshold": 12})
                for number in range(first, first + count)
            ]
            await self.flags.raise_within(tx, findings)

        self.world.run(self.world.database.transaction(body))

    def ask(self, text: str, *, priv: int = 3 | MODERATOR) -> Sequence[str]:
        session = Session(token="a", user_id=self.moder, name="moder", priv=priv, login_time_ms=0, status=Status())
        answer = self.world.run(self.bot.on_message(session, "", text))
        return () if answer is None else tuple(answer.lines)

    def audit(self) -> list[Any]:
        of = audit_log.c
        return self.world.look(select(of.actor_id, of.source, of.target_id, of.reason).where(of.action == "flag_close"))


@pytest.fixture
def queue(world: World) -> Queue:
    return Queue(world)


def test_closing_writes_one_audit_row_and_works_once(queue: Queue) -> None:
    queue.add()
    world = queue.world

    closed = world.run(queue.queue.close(queue.actor, 1, "clean", " a slow computer "))

    assert (closed.state, closed.verdict, closed.text) == ("closed", "clean", "a slow computer")
    assert closed.closed_by is not None
    assert closed.closed_by.name == "moder"
    assert queue.audit() == [(queue.moder, "game", queue.alice, "a slow computer")]
    with pytest.raises(WrongState):
        world.run(queue.queue.close(OPERATOR, 1, "cheating"))
    assert len(queue.audit()) == 1
    assert world.run(queue.queue.count(OPERATOR, state="open")) == 0
    assert world.run(queue.queue.count(OPERATOR, state="closed")) == 1
    assert world.run(queue.queue.count(OPERATOR, state="all", kind="timewarp", user_id=queue.alice)) == 1


def test_operator_closes_as_the_operator(queue: Queue) -> None:
    queue.add()

    closed = queue.world.run(queue.queue.close(OPERATOR, 1, "unclear"))

    assert closed.closed_by is not None
    assert (closed.closed_by.id, closed.closed_by.name) == (0, "operator")


def test_wrong_arguments_change_nothing(queue: Queue) -> None:
    queue.add()
    close = queue.queue.close

    for error, verdict, flag_id, text in (
        (Invalid, "guilty", 1, ""),
        (Invalid, "clean", 1, "x" * 501),
        (Invalid, "clean", 1, "a\nb"),
        (NotFound, "clean", 99, ""),
    ):
        with pytest.raises(error):
            queue.world.run(close(queue.actor, flag_id, verdict, text))
    assert queue.audit() == []


def test_players_may_neither_read_nor_close_nor_scan(queue: Queue) -> None:
    queue.add()
    world, player = queue.world, Actor(user_id=queue.alice, source="api")

    for act in (
        queue.queue.close(player, 1, "clean"),
        queue.queue.page(player, limit=5),
        queue.queue.count(player),
        queue.queue.scan(player),
        queue.queue.scan(queue.actor),  # developers only
    ):
        with pytest.raises(NotAllowed):
            world.run(cast(Any, act))
    assert queue.audit() == []


def test_bot_lists_open_flags_by_page(queue: Queue) -> None:
    assert queue.ask("!flags") == ("There are no open flags.",)
    assert queue.ask("!flags alice") == ("alice has no flags.",)
    queue.add(6)

    first, second = queue.ask("!flags"), queue.ask("!flags 2")

    assert len(first) == 6
    assert first[0].startswith("6: ")
    assert "alice" in first[0]
    assert "timewarp: play 6" in first[0]
    assert first[-1] == "Page 1 of 2, 6 open."
    assert second[0].startswith("1: ")
    assert queue.ask("!flags alice 2")[-1] == "Page 2 of 2, 6 in total."
    assert queue.ask("!flags 9") == ("This page does not exist.",)


def test_bot_closes_a_flag(queue: Queue) -> None:
    queue.add()

    assert queue.ask("!flags close 1 Cheating seen on video") == ("Flag 1 of alice is closed: cheating.",)

    assert queue.audit() == [(queue.moder, "game", queue.alice, "seen on video")]
    [again] = queue.ask("!flags close 1 clean")
    assert "already closed" in again
    assert "(cheating)" in queue.ask("!flags alice")[0]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("!flags close", "Usage: !flags [user] [page]"),
        ("!flags close 1", "!flags close <id> <cheating|clean|unclear> [text]"),
        ("!flags close x clean", "Usage: !flags"),
        ("!flags close 1 guilty", "Usage: !flags"),
        ("!flags close 99 clean", "Flag not found"),
        ("!flags nobody", "User not found"),
        ("!flags alice none", "Usage: !flags"),
        ("!flags alice 0", "Usage: !flags"),
    ],
)
def test_bot_refuses_wrong_arguments(queue: Queue, line: str, answer: str) -> None:
    queue.add()

    assert answer in " ".join(queue.ask(line))
    assert queue.audit() == []


def test_command_does_not_exist_without_the_right(queue: Queue) -> None:
    queue.add()

    assert queue.ask("!flags", priv=3)[0].startswith("Unknown command")
    assert queue.ask("!flags close 1 clean", priv=2 | MODERATOR)[0].startswith("Unknown command")
    assert queue.audit() == []
