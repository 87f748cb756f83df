"""Eight players act on one room through two workers at once, and some legal order explains all that happened.

Each notes when it asked and when it was answered. The journal of the room says what happened, in order; the search asks
the pure match machine whether those who acted could have made it happen, each act between its question and its answer.
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
from kiai.faces.bancho.packets import Client, JoinMatch, MatchForm, SlotForm
from kiai.multiplayer import commands as ask
from kiai.multiplayer.commands import Actor, Command
from kiai.multiplayer.history import PASSING, _noted
from kiai.multiplayer.match import Match, apply, opened

KEEPER: Final = "keeper"
NAMES: Final = [f"bot{number}x" for number in range(8)]
ACTS: Final = 25
TRIED_MAX: Final = 300_000
ROOM: Final = "linear"

Act = tuple[bytes, tuple[Callable[[Actor], Command], ...]]
"""What a client sends, and the commands that the server makes of it, one after the other."""


class Done(msgspec.Struct, frozen=True):
    """One command that somebody asked for, and between which moments it took effect, if it did."""

    command: Command
    asked: float
    answered: float


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    # Limits off: the few players ask and play as fast as they can.
    with running(tmp_path, [KEEPER, *NAMES], [a_map(100, objects=10)], RATE_LIMITS="off") as cluster:
        yield cluster


def test_a_legal_order_explains_what_eight_players_did_at_once(
    cluster: Cluster, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(1 << 32)
    ids = dict(rows(cluster, "SELECT name, id FROM users"))
    actors = {name: Actor(ids[name], name) for name in (KEEPER, *NAMES)}
    bots: list[Bot] = [Bot(cluster, actors[name], random.Random(f"{seed} {name}")) for name in NAMES]
    keeper = Keeper(cluster, actors[KEEPER], random.Random(f"{seed} {KEEPER}"))
    bots.append(keeper)
    match_id = keeper.makes_a_room()
    for bot in bots:
        bot.match_id = match_id

    for bot in bots:
        bot.start()
    for bot in bots:
        bot.join(patiently(60))

    assert [bot.failure for bot in bots] == [None] * len(bots)
    asked = [bot.done for bot in bots]
    written = settled(cluster)
    first = opened(by=actors[KEEPER], at_ms=0, name=ROOM, map_id=100, map_md5="0" * 32, map_name="Song", seed=0)
    assert len(written) > len(NAMES) * 2, f"seed {seed}: something happened"
    search = Search(asked, written)
    legal = search.explains(first)
    acts = sum(len(one) for one in asked)
    record_property("counts", f"linearity: {acts} commands, {len(written)} events, {search.tried} states tried")
    assert not Search(asked, [written[0], *written]).explains(first), "nobody can sit down twice"
    assert legal, f"seed {seed}: no legal order explains\n{asked}\n{written}"


class Bot(threading.Thread):
    """A player who acts at random, each request on a connection of its own, so to either worker."""

    acts = ACTS

    def __init__(self, cluster: Cluster, actor: Actor, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.match_id = 0
        self.done: list[Done] = []
        self.failure: BaseException | None = None
        self._cluster = cluster
        self._actor = actor
        self._chance = chance
        self._token = log_in_again(cluster, actor.name)

    def run(self) -> None:
        try:
            for number in range(self.acts):
                packet, commands = self._first() if number == 0 else self._something()
                asked = time.monotonic()
                poll(self._cluster, self._token, packet)
                answered = time.monotonic()
                self.done += [Done(command(self._actor), asked, answered) for command in commands]
        except BaseException as error:
            self.failure = error

    def _first(self) -> Act:
        return self._join()

    def _join(self) -> Act:
        leaves = lambda by: ask.Leave(by=by, at_ms=0)  # noqa: E731
        joins = lambda by: ask.Join(by=by, at_ms=0)  # noqa: E731
        return whole(Client.JOIN_MATCH, JoinMatch(self.match_id, "")), (leaves, leaves, joins)

    def _something(self) -> Act:
        slot = self._chance.randrange(10)
        acts: list[tuple[int, Callable[[], Act]]] = [
            (5, self._join),
            (3, lambda: (whole(Client.PART_MATCH, None), (lambda by: ask.Leave(by=by, at_ms=0),))),
            (
                4,
                lambda: (
                    whole(Client.MATCH_CHANGE_SLOT, slot),
                    (lambda by: ask.ChangeSlot(by=by, at_ms=0, slot=slot),),
                ),
            ),
            (3, lambda: (whole(Client.MATCH_LOCK, slot), (lambda by: ask.LockSlot(by=by, at_ms=0, slot=slot),))),
            (
                3,
                lambda: (
                    whole(Client.MATCH_TRANSFER_HOST, slot),
                    (lambda by: ask.TransferHost(by=by, at_ms=0, slot=slot),),
                ),
            ),
            (2, lambda: (whole(Client.MATCH_READY, None), (lambda by: ask.Ready(by=by, at_ms=0),))),
            (2, lambda: (whole(Client.MATCH_START, None), (lambda by: ask.Start(by=by, at_ms=0),))),
            (2, lambda: (whole(Client.MATCH_LOAD_COMPLETE, None), (lambda by: ask.LoadComplete(by=by, at_ms=0),))),
            (3, lambda: (whole(Client.MATCH_COMPLETE, None), (lambda by: ask.Complete(by=by, at_ms=0),))),
        ]
        [chosen] = self._chance.choices([act for _, act in acts], [weight for weight, _ in acts])
        return chosen()


class Keeper(Bot):
    """Who made the room and stays, so that it lasts: without the map, and eager to give the lead away."""

    acts = 12

    def makes_a_room(self) -> int:
        """The room's number."""
        slots, host_id = (SlotForm(1, 0, 0, 0),) * 16, self._actor.user_id
        form = MatchForm(0, False, 0, ROOM, "", "Song", 100, "0" * 32, slots, host_id, 0, 0, 0, False, 0)
        poll(self._cluster, self._token, whole(Client.CREATE_MATCH, form))
        [one] = self._cluster.get("/v2/matches").json["data"]
        return int(one["room"])

    def _first(self) -> Act:
        return whole(Client.MATCH_NO_BEATMAP, None), (lambda by: ask.NoMap(by=by, at_ms=0),)

    def _something(self) -> Act:
        slot = self._chance.randrange(6)
        return whole(Client.MATCH_TRANSFER_HOST, slot), (lambda by: ask.TransferHost(by=by, at_ms=0, slot=slot),)


Event = tuple[str, int, str]


class Search:
    """Looks for an order of what was asked in which the machine says what was written."""

    def __init__(self, asked: list[list[Done]], written: list[Event]) -> None:
        self._asked = asked
        self._written = written
        self._tried: set[tuple[object, ...]] = set()

    @property
    def tried(self) -> int:
        """How many states were looked at."""
        return len(self._tried)

    def explains(self, match: Match) -> bool:
        """Whether there is one, from this match on."""
        stack = [(match, (0,) * len(self._asked), 0)]
        while stack:
            match, at, read = stack.pop()
            if read == len(self._written) and all(n == len(one) for n, one in zip(at, self._asked, strict=True)):
                return True
            key = (at, read, msgspec.msgpack.encode(match))
            if key in self._tried:
                continue
            self._tried.add(key)
            assert len(self._tried) < TRIED_MAX, f"too many orders, {read} of {len(self._written)} events explained"
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
                after, told = apply(match, done.command)
            except Refused:
                after, told = match, ()
            events = [event_of(after, done.command, fact) for fact in told if not isinstance(fact, PASSING)]
            if events == self._written[read : read + len(events)]:
                moved = (*at[:bot], at[bot] + 1, *at[bot + 1 :])
                found.append((after, moved, read + len(events)))
        return found


def event_of(match: Match, command: Command, fact: Any) -> Event:
    """The event that a fact becomes in the journal, without its times."""
    note = _noted(match, command, fact)
    return plain(note.kind, note.user_id, msgspec.json.decode(msgspec.json.encode(note.details)))


def plain(kind: str, user_id: int, details: dict[str, Any]) -> Event:
    details.pop("at_ms", None)
    details.pop("started_at_ms", None)
    return kind, user_id, json.dumps(details, sort_keys=True)


def settled(cluster: Cluster) -> list[Event]:
    """What the journal holds once nothing more comes; without the opening of the room."""
    sql = "SELECT kind, user_id, details FROM match_events ORDER BY id"
    seen: list[Any] = []

    def still() -> bool:
        nonlocal seen
        before, seen = seen, rows(cluster, sql)
        time.sleep(0.7)
        return bool(seen) and before == seen

    eventually(still, within_s=15)
    return [plain(kind, user_id, json.loads(details)) for kind, user_id, details in seen if kind != "created"]


def rows(cluster: Cluster, sql: str) -> list[Any]:
    engine = create_engine(make_url(cluster.database).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]
