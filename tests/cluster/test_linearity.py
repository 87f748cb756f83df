"""Linearizability of a match: eight players change one match through two workers at the same time.

Each player records when it sent a command and when the answer arrived. The journal of the match has the resulting
events in order. A search looks for an order of the commands, each between its request and its answer, in which the pure
match rules produce exactly these events.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.cluster.test_workers import log_in_again
from tests.faces.bancho.client_bytes import whole
from tests.patience import patiently
from tests.wire.kit import eventually
from tests.wire.submitting import poll

from kiai.errors import Refused
from kiai.faces.bancho.packets import ClientPacket, JoinMatch, MatchForm, SlotForm
from kiai.multiplayer import commands as ask
from kiai.multiplayer.commands import Issuer, MatchCommand
from kiai.multiplayer.history import NOT_RECORDED, _history_entry
from kiai.multiplayer.match import Match, apply, new_match

HOST: Final = "creator"
NAMES: Final = [f"bot{number}x" for number in range(8)]
ACTIONS: Final = 25
TRIED_MAX: Final = 300_000
MATCH_NAME: Final = "linear"

Action = tuple[bytes, tuple[Callable[[Issuer], MatchCommand], ...]]
"""A packet of a client, and the commands that the server derives from it, in order."""


class SentCommand(msgspec.Struct, frozen=True):
    """A command with the times of its request and of the answer. It took effect in between, or was refused."""

    command: MatchCommand
    asked: float
    answered: float


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    # Limits off: the few players ask and play as fast as they can.
    with running(tmp_path, [HOST, *NAMES], [a_map(100, objects=10)], RATE_LIMITS="off") as cluster:
        yield cluster


def test_simultaneous_commands_of_eight_players_are_linearizable(
    cluster: Cluster, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(1 << 32)
    ids = dict(rows(cluster, "SELECT name, id FROM users"))
    actors = {name: Issuer(ids[name], name) for name in (HOST, *NAMES)}
    bots: list[Bot] = [Bot(cluster, actors[name], random.Random(f"{seed} {name}")) for name in NAMES]
    creator = Creator(cluster, actors[HOST], random.Random(f"{seed} {HOST}"))
    bots.append(creator)
    match_id = creator.create_match()
    for bot in bots:
        bot.match_id = match_id

    for bot in bots:
        bot.start()
    for bot in bots:
        bot.join(patiently(60))

    assert [bot.failure for bot in bots] == [None] * len(bots)
    asked = [bot.done for bot in bots]
    journal = final_events(cluster)
    first = new_match(by=actors[HOST], at_ms=0, name=MATCH_NAME, map_id=100, map_md5="0" * 32, map_name="Song", seed=0)
    assert len(journal) > len(NAMES) * 2, f"seed {seed}: something happened"
    search = Search(asked, journal)
    legal = search.finds_order(first)
    acts = sum(len(one) for one in asked)
    record_property("counts", f"linearity: {acts} commands, {len(journal)} events, {search.tried} states tried")
    assert not Search(asked, [journal[0], *journal]).finds_order(first), "nobody can sit down twice"
    assert legal, f"seed {seed}: no legal order explains\n{asked}\n{journal}"


class Bot(threading.Thread):
    """A player with random commands. Each request has its own connection, so both workers get some."""

    acts = ACTIONS

    def __init__(self, cluster: Cluster, actor: Issuer, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.match_id = 0
        self.done: list[SentCommand] = []
        self.failure: BaseException | None = None
        self._cluster = cluster
        self._actor = actor
        self._chance = chance
        self._token = log_in_again(cluster, actor.name)

    def run(self) -> None:
        try:
            for number in range(self.acts):
                packet, commands = self._first_action() if number == 0 else self._random_action()
                asked = time.monotonic()
                poll(self._cluster, self._token, packet)
                answered = time.monotonic()
                self.done += [SentCommand(command(self._actor), asked, answered) for command in commands]
        except BaseException as error:
            self.failure = error

    def _first_action(self) -> Action:
        return self._join()

    def _join(self) -> Action:
        leaves = lambda by: ask.Leave(by=by, at_ms=0)  # noqa: E731
        joins = lambda by: ask.Join(by=by, at_ms=0)  # noqa: E731
        return whole(ClientPacket.JOIN_MATCH, JoinMatch(self.match_id, "")), (leaves, leaves, joins)

    def _random_action(self) -> Action:
        slot = self._chance.randrange(10)
        acts: list[tuple[int, Callable[[], Action]]] = [
            (5, self._join),
            (3, lambda: (whole(ClientPacket.PART_MATCH, None), (lambda by: ask.Leave(by=by, at_ms=0),))),
            (
                4,
                lambda: (
                    whole(ClientPacket.MATCH_CHANGE_SLOT, slot),
                    (lambda by: ask.ChangeSlot(by=by, at_ms=0, slot=slot),),
                ),
            ),
            (3, lambda: (whole(ClientPacket.MATCH_LOCK, slot), (lambda by: ask.LockSlot(by=by, at_ms=0, slot=slot),))),
            (
                3,
                lambda: (
                    whole(ClientPacket.MATCH_TRANSFER_HOST, slot),
                    (lambda by: ask.TransferHost(by=by, at_ms=0, slot=slot),),
                ),
            ),
            (2, lambda: (whole(ClientPacket.MATCH_READY, None), (lambda by: ask.Ready(by=by, at_ms=0),))),
            (2, lambda: (whole(ClientPacket.MATCH_START, None), (lambda by: ask.Start(by=by, at_ms=0),))),
            (
                2,
                lambda: (whole(ClientPacket.MATCH_LOAD_COMPLETE, None), (lambda by: ask.LoadComplete(by=by, at_ms=0),)),
            ),
            (3, lambda: (whole(ClientPacket.MATCH_COMPLETE, None), (lambda by: ask.Complete(by=by, at_ms=0),))),
        ]
        [chosen] = self._chance.choices([act for _, act in acts], [weight for weight, _ in acts])
        return chosen()


class Creator(Bot):
    """The creator of the match, who stays in it so that it remains open, has no map, and passes the host on often."""

    acts = 12

    def create_match(self) -> int:
        """Create the match. Return its id."""
        slots, host_id = (SlotForm(1, 0, 0, 0),) * 16, self._actor.user_id
        form = MatchForm(0, False, 0, MATCH_NAME, "", "Song", 100, "0" * 32, slots, host_id, 0, 0, 0, False, 0)
        poll(self._cluster, self._token, whole(ClientPacket.CREATE_MATCH, form))
        [one] = self._cluster.get("/v2/matches").json["data"]
        return int(one["room"])

    def _first_action(self) -> Action:
        return whole(ClientPacket.MATCH_NO_BEATMAP, None), (lambda by: ask.NoMap(by=by, at_ms=0),)

    def _random_action(self) -> Action:
        slot = self._chance.randrange(6)
        return whole(ClientPacket.MATCH_TRANSFER_HOST, slot), (lambda by: ask.TransferHost(by=by, at_ms=0, slot=slot),)


Event = tuple[str, int, str]


class Search:
    """A search for an order of the commands that produces the events of the journal."""

    def __init__(self, asked: list[list[SentCommand]], journal: list[Event]) -> None:
        self._asked = asked
        self._journal = journal
        self._tried: set[tuple[object, ...]] = set()

    @property
    def tried(self) -> int:
        """The number of states that were tried."""
        return len(self._tried)

    def finds_order(self, match: Match) -> bool:
        """Return whether such an order exists, starting with this match."""
        stack = [(match, (0,) * len(self._asked), 0)]
        while stack:
            match, at, read = stack.pop()
            if read == len(self._journal) and all(n == len(one) for n, one in zip(at, self._asked, strict=True)):
                return True
            key = (at, read, msgspec.msgpack.encode(match))
            if key in self._tried:
                continue
            self._tried.add(key)
            assert len(self._tried) < TRIED_MAX, f"too many orders, {read} of {len(self._journal)} events explained"
            stack += self._next(match, at, read)
        return False

    def _next(self, match: Match, at: tuple[int, ...], read: int) -> list[tuple[Match, tuple[int, ...], int]]:
        pending = [(bot, one[n]) for bot, (n, one) in enumerate(zip(at, self._asked, strict=True)) if n < len(one)]
        first_answer = min((done.answered for _, done in pending), default=0.0)
        found = []
        for bot, done in sorted(pending, key=lambda one: -one[1].answered):  # the stack takes the last first
            if done.asked > first_answer:
                continue
            try:
                after, produced = apply(match, done.command)
            except Refused:
                after, produced = match, ()
            events = [event_of(after, done.command, fact) for fact in produced if not isinstance(fact, NOT_RECORDED)]
            if events == self._journal[read : read + len(events)]:
                moved = (*at[:bot], at[bot] + 1, *at[bot + 1 :])
                found.append((after, moved, read + len(events)))
        return found


def event_of(match: Match, command: MatchCommand, fact: Any) -> Event:
    """Return the entry of the journal for an event of the rules, without times."""
    note = _history_entry(match, command, fact)
    return plain(note.kind, note.user_id, msgspec.json.decode(msgspec.json.encode(note.details)))


def plain(kind: str, user_id: int, details: dict[str, Any]) -> Event:
    details.pop("at_ms", None)
    details.pop("started_at_ms", None)
    return kind, user_id, json.dumps(details, sort_keys=True)


def final_events(cluster: Cluster) -> list[Event]:
    """Wait until the journal no longer grows. Return its events without the creation of the match."""
    sql = "SELECT kind, user_id, details FROM match_events ORDER BY id"
    seen: list[Any] = []

    def is_unchanged() -> bool:
        nonlocal seen
        before, seen = seen, rows(cluster, sql)
        time.sleep(0.7)
        return bool(seen) and before == seen

    eventually(is_unchanged, within_s=15)
    return [plain(kind, user_id, json.loads(details)) for kind, user_id, details in seen if kind != "created"]


def rows(cluster: Cluster, sql: str) -> list[Any]:
    engine = create_engine(make_url(cluster.database).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]
