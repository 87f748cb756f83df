"""Thousands of simulated players on a cluster whose workers are killed, and a check of what each of them received.

A player is a coroutine with its own connection that sends packets of the game: it polls, changes its status, talks in
#osu, to a partner and in its match, takes a seat, plays, submits, logs out and in again. It records what it receives,
in order. Realtime delivery is at most once: the contents of an answer are lost when a kill cuts it off. A player
records these periods (`cut`); only lines sent outside of them must have arrived.
"""

import asyncio
import contextlib
import random
import re
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from tests.faces.bancho.client_bytes import score_frame, whole
from tests.patience import Deadline, patiently
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, SUBMIT, Played, multipart, password_md5

from kiai.faces.bancho.packets import (
    ChangeAction,
    ClientMessage,
    ClientPacket,
    JoinMatch,
    MatchForm,
    ServerPacket,
    SlotForm,
    read,
)
from kiai.multiplayer.model import COMPLETE, HAS_PLAYER, NOT_READY, PLAYING, READY
from kiai.realtime.changes import FRESH_S

TIMEOUT_S: Final = 20.0
AGAIN_S: Final = 1.0
TICK_S: Final = 0.1
LOGINS_AT_ONCE: Final = 16
DRAINING_POLLS: Final = 4
FIRST_ROUND_S: Final = 60.0
SEATS: Final = 8
SEND_CHANCE: Final = {"#osu": 0.006, "partner": 0.12, "#multiplayer": 0.15}
"""The probability that a player sends a line with a poll, by target."""
STATUS: Final = 0.05
SAID: Final = re.compile(rb"~([^~]+)~([^~]+)~(\d+)\.")
RELOGS: Final = 0.1
OPEN_SLOT: Final = SlotForm(1, 0, 0, 0)
FRAME: Final = {
    "time": 1_000, "id": 0, "n300": 10, "n100": 1, "n50": 0, "geki": 2, "katu": 1, "miss": 0, "total_score": 50_000,
    "max_combo": 11, "current_combo": 11, "perfect": 1, "hp": 200, "tag": 0, "score_v2": 0,
}  # fmt: skip


class MatchPlan:
    """A match as its players have arranged it: its name, and its id once the host has created it."""

    def __init__(self, number: int) -> None:
        self.name = f"match {number}"
        self.match_id = 0
        self.rounds = 0


class Line(msgspec.Struct):
    """A line that the server has acknowledged, with the times of the request and of the answer."""

    number: int
    sent: float
    answered: float


class Counts(msgspec.Struct):
    """The results of a run. The counts from `lost` on must be zero."""

    polls: int = 0
    failed: int = 0
    refused: int = 0
    logins: int = 0
    said: int = 0
    received: int = 0
    cut_off: int = 0
    rounds: int = 0
    seated: int = 0
    plays: int = 0
    submitted_again: int = 0

    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    sessions_lost: int = 0
    seats_lost: int = 0
    seats_doubled: int = 0
    views_apart: int = 0
    scores_lost: int = 0
    scores_doubled: int = 0

    @property
    def faults(self) -> dict[str, int]:
        """The counts that must be zero and are not."""
        names = self.__struct_fields__
        return {name: count for name in names[names.index("lost") :] if (count := getattr(self, name))}


class Connection:
    """A keep-alive connection for one request after another, opened again when it breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Send a request. Return status, head and body. Raises OSError, EOFError and TimeoutError."""
        try:
            async with asyncio.timeout(patiently(TIMEOUT_S)):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
                reader, writer = self._streams
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                lower = head.lower()
                at = lower.index(b"content-length: ") + 16
                body = await reader.readexactly(int(lower[at : lower.index(b"\r", at)]))
                if b"connection: close" in lower:
                    self.close()
                return int(head[9:12]), head, body
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


BROKEN: Final = (OSError, EOFError, TimeoutError, ValueError)
"""The exceptions of a connection whose server dies. ValueError: the answer is cut inside a number."""


class Player:
    """One client."""

    def __init__(self, storm: "Storm", number: int, name: str, user_id: int) -> None:
        self.storm = storm
        self.name = name
        self.user_id = user_id
        self.partner = ""
        self.plan: MatchPlan | None = None
        self.hosts = False
        self.relogs = False
        self.plays: Sequence[Played] = ()
        self.acknowledged: list[tuple[Played, int]] = []
        self.token = ""
        self.said: defaultdict[str, list[Line]] = defaultdict(list)
        self.received: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self.cut: list[tuple[float, float]] = []
        self.view: MatchForm | None = None
        self.away: list[tuple[float, float]] = []
        self._connection = Connection(storm.port)
        self._chance = random.Random(f"{storm.seed} {number}")
        self._number = 0
        self._heard_from = time.monotonic()  # when the last poll that came through was sent
        self.seated_at = float("inf")
        self._loaded = False
        self._played = 0

    # --- talking to the server

    async def log_in(self) -> None:
        """Log in, and retry while the server refuses because the last session is too recent."""
        body = f"{self.name}\n{password_md5()}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
        since = time.monotonic()
        while True:
            with contextlib.suppress(*BROKEN):
                _, head, answer = await self._connection.ask(request("POST", "/", "c.localhost", body))
                token = _header(head, b"cho-token")
                if len(token) == 36:
                    self.storm.counts.logins += 1
                    self.token = token
                    self._heard_from = time.monotonic()
                    self.away.append((since, self._heard_from))
                    self._read(answer)
                    return
            await asyncio.sleep(AGAIN_S)

    async def poll(self, *said: tuple[str, bytes]) -> bool:
        """Poll with these packets: lines with their topic, others with "". Return whether it was answered."""
        counts = self.storm.counts
        sent = time.monotonic()
        counts.polls += 1
        body = b"".join(packet for _, packet in said)
        try:
            status, _, answer = await self._connection.ask(
                request("POST", "/", "c.localhost", body, f"osu-token: {self.token}\r\n")
            )
        except BROKEN:
            counts.failed += 1
            self.cut.append((self._heard_from, time.monotonic()))
            return False
        if status != 200:
            counts.refused += 1
            self.storm.refusals[status, answer[:100]] += 1
            self.cut.append((self._heard_from, time.monotonic()))
            return False
        now = time.monotonic()
        for topic, _ in said:
            if topic:
                self.said[topic].append(Line(self._number, sent, now))
                counts.said += 1
        self._heard_from = sent - FRESH_S  # what another worker appended since then may come with the next poll
        self._read(answer)
        return True

    def line(self, topic: str, recipient: str) -> tuple[str, bytes]:
        """Return the next line, to be sent with a poll."""
        self._number += 1
        text = f"~{topic}~{self.name}~{self._number}."
        kind = ClientPacket.SEND_PUBLIC_MESSAGE if recipient.startswith("#") else ClientPacket.SEND_PRIVATE_MESSAGE
        return topic, whole(kind, ClientMessage("", text, recipient, 0))

    def _read(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            packet_id, _, size = struct.unpack_from("<HBI", body, at)
            payload = body[at + 7 : at + 7 + size]
            at += 7 + size
            if packet_id == ServerPacket.SEND_MESSAGE:
                self._hear(payload)
            elif packet_id in (ServerPacket.MATCH_UPDATE, ServerPacket.MATCH_JOIN_SUCCESS, ServerPacket.MATCH_START):
                self._see(read(ClientPacket.CREATE_MATCH, payload))
            elif packet_id == ServerPacket.MATCH_COMPLETE:
                self._loaded, self._played = False, 0
                if self.plan is not None and self.hosts:
                    self.plan.rounds += 1
            elif packet_id == ServerPacket.RESTART:
                self.storm.counts.sessions_lost += 1

    def _hear(self, payload: bytes) -> None:
        if found := SAID.search(payload):
            topic, name, number = found.groups()
            self.received[topic.decode()].append((name.decode(), int(number)))
            self.storm.counts.received += 1

    def _see(self, view: Any) -> None:
        if self.plan is None or view.name != self.plan.name:
            return
        seated = [slot.user_id for slot in view.slots if slot.status & HAS_PLAYER]
        self.storm.counts.seats_doubled += len(seated) - len(set(seated))
        if self.view is None:
            self.seated_at = time.monotonic()
        self.view = view
        if self.hosts:
            self.plan.match_id = view.id

    # --- what a player does

    async def live(self, ends: asyncio.Event) -> None:
        """Poll as a client until the storm ends, with random lines and actions."""
        await asyncio.sleep(self._chance.random() * self.storm.poll_s)
        while not ends.is_set():
            if self.relogs and self._chance.random() < RELOGS:
                await self._relog()
            said = [packet for packet in (*self._status(), *self._talk(), *self._play()) if packet]
            await self.poll(*said)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.storm.poll_s * self._chance.uniform(0.8, 1.2)):
                    await ends.wait()

    async def drain(self) -> None:
        """Poll a few times without actions, so that all lines arrive, and take the seat if necessary."""
        for turn in range(DRAINING_POLLS):
            said = (
                [("", whole(ClientPacket.MATCH_READY if turn % 2 else ClientPacket.MATCH_NOT_READY, None))]
                if self._sits()
                else []
            )
            if self.plan is not None and not self._sits():
                said = list(self._play())
            await self.poll(*said)
            await asyncio.sleep(AGAIN_S)

    async def _relog(self) -> None:
        gone = self._heard_from  # what waited is gone with the session
        await self.poll(("", whole(ClientPacket.LOGOUT, 0)))
        await self.log_in()
        self.away[-1] = (gone, self.away[-1][1])

    def _status(self) -> Iterable[tuple[str, bytes]]:
        if self._chance.random() < STATUS:
            action = ChangeAction(2, f"Song {self._chance.random():.3f}", "0" * 32, 0, 0, 100)
            yield "", whole(ClientPacket.CHANGE_ACTION, action)

    def _talk(self) -> Iterable[tuple[str, bytes]]:
        pick = self._chance.random()
        if pick < SEND_CHANCE["#osu"]:
            yield self.line("#osu", "#osu")
        elif pick < SEND_CHANCE["#osu"] + SEND_CHANCE["partner"] and self.partner:
            yield self.line("partner", self.partner)
        elif self._sits() and self._chance.random() < SEND_CHANCE["#multiplayer"]:
            assert self.plan is not None
            yield self.line(self.plan.name, "#multiplayer")

    def _sits(self) -> bool:
        return self.slot() is not None

    def slot(self) -> SlotForm | None:
        if self.view is None:
            return None
        return next((one for one in self.view.slots if one.status & HAS_PLAYER and one.user_id == self.user_id), None)

    def _play(self) -> Iterable[tuple[str, bytes]]:
        if self.plan is None:
            return
        slot = self.slot()
        if slot is None:
            if self.hosts:
                yield "", whole(ClientPacket.CREATE_MATCH, self._wanted())
            elif self.plan.match_id:
                yield "", whole(ClientPacket.JOIN_MATCH, JoinMatch(self.plan.match_id, ""))
            return
        assert self.view is not None
        if slot.status == NOT_READY:
            yield "", whole(ClientPacket.MATCH_READY, None)
        elif slot.status == READY and self.view.host_id == self.user_id:
            here = [one for one in self.view.slots if one.status & HAS_PLAYER]
            if len(here) > 1 and all(one.status == READY for one in here):
                yield "", whole(ClientPacket.MATCH_START, None)
        elif slot.status in (PLAYING, COMPLETE):
            if not self._loaded:
                self._loaded = True
                yield "", whole(ClientPacket.MATCH_LOAD_COMPLETE, None)
            elif self._played < 2:
                self._played += 1
                yield "", whole(ClientPacket.MATCH_SCORE_UPDATE, score_frame(FRAME))
            else:
                yield "", whole(ClientPacket.MATCH_COMPLETE, None)

    def _wanted(self) -> MatchForm:
        assert self.plan is not None
        return MatchForm(
            0, False, 0, self.plan.name, "", "Song", 100, "0" * 32, (OPEN_SLOT,) * 16, self.user_id, 0, 0, 0, False, 0
        )

    async def submit(self, ends: asyncio.Event, every_s: float) -> None:
        """Submit plays one after another as the game does: the same bytes repeatedly until they are answered."""
        connection = Connection(self.storm.port)
        await asyncio.sleep(self._chance.random() * every_s)
        for played in self.plays:
            if ends.is_set():
                break
            body, kind = multipart(played.parts())
            form = request("POST", SUBMIT, OSU, body, f"Content-Type: {kind}\r\nToken: opaque\r\n")
            while True:
                with contextlib.suppress(*BROKEN):
                    status, _, answer = await connection.ask(form)
                    if status == 200:
                        assert b"onlineScoreId:" in answer, answer
                        number = int(answer.split(b"onlineScoreId:")[1].split(b"|")[0])
                        self.acknowledged.append((played, number))
                        self.storm.counts.plays += 1
                        break
                self.storm.counts.submitted_again += 1
                await asyncio.sleep(AGAIN_S)
            if self.storm.after_play is not None:
                await self.storm.after_play(self, *self.acknowledged[-1])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s * self._chance.uniform(0.8, 1.2)):
                    await ends.wait()
        connection.close()

    def missed(self, line: Line) -> bool:
        """Return whether a line was sent while an answer to this player was cut off or the player was logged out."""
        return any(line.sent <= end and start <= line.answered for start, end in (*self.cut, *self.away))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Storm:
    """All players of one run. `names` has (name, user id) of their accounts."""

    def __init__(
        self, port: int, names: Sequence[tuple[str, int]], *, matches: int, relogging: int, poll_s: float, seed: int
    ) -> None:
        self.port = port
        self.poll_s = poll_s
        self.seed = seed
        self.counts = Counts()
        self.lost: list[str] = []
        self.after_play: Callable[[Player, Played, int], Awaitable[None]] | None = None  # with the id of the score
        self.refusals: Counter[tuple[int, bytes]] = Counter()
        self.players = [Player(self, number, *one) for number, one in enumerate(names)]
        for first, second in zip(self.players[::2], self.players[1::2], strict=False):
            first.partner, second.partner = second.name, first.name
        for number in range(matches):
            plan = MatchPlan(number)
            for seat, player in enumerate(self.players[number * SEATS : (number + 1) * SEATS]):
                player.plan, player.hosts = plan, seat == 0
        for player in self.players[len(self.players) - relogging :]:
            player.relogs = True

    async def run(self, seconds: float, kill: Callable[[], None], kill_every_s: float, submit_every_s: float) -> Counts:
        """Log all players in, run the storm, and let all lines arrive. Return the counts.

        The storm lasts longer than `seconds`, without further kills, until a first round was played.
        """
        gate = asyncio.Semaphore(LOGINS_AT_ONCE)

        async def arrive(player: Player) -> None:
            async with gate:
                await player.log_in()

        ends = asyncio.Event()
        await asyncio.gather(*(arrive(player) for player in self.players))
        lives = [asyncio.create_task(player.live(ends)) for player in self.players]
        lives += [asyncio.create_task(one.submit(ends, submit_every_s)) for one in self.players if one.plays]
        until = time.monotonic() + seconds
        while time.monotonic() + kill_every_s <= until + TICK_S:
            await asyncio.sleep(kill_every_s)
            await asyncio.to_thread(kill)
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        # On a slow machine a short storm may be over before eight players have played a round.
        deadline = Deadline(FIRST_ROUND_S)
        plans = [player.plan for player in self.players if player.plan is not None]
        while plans and not any(plan.rounds for plan in plans):
            if deadline.passed():
                break
            await asyncio.sleep(0.1)
        ends.set()
        await asyncio.gather(*lives)
        await asyncio.gather(*(player.drain() for player in self.players))
        for player in self.players:
            player.close()
        self._check_lines()
        self._check_views()
        return self.counts

    def _check_lines(self) -> None:
        by_name = {player.name: player for player in self.players}
        topics: defaultdict[str, list[Player]] = defaultdict(list)
        for player in self.players:
            topics["#osu"].append(player)
            if player.plan is not None:
                topics[player.plan.name].append(player)
        for topic, readers in topics.items():
            self._check_topic(topic, readers, readers)
        for reader in self.players:
            if reader.partner:
                self._check_topic("partner", [reader], [by_name[reader.partner]])

    def _check_topic(self, topic: str, readers: Sequence[Player], writers: Sequence[Player]) -> None:
        """Check that all readers received all lines once, in one order, and in the order of each writer."""
        longest = max((reader.received[topic] for reader in readers), key=len)
        order = {line: place for place, line in enumerate(longest)}
        spoken = [(writer.name, line) for writer in writers for line in writer.said[topic]]
        last: defaultdict[str, int] = defaultdict(int)
        for name, number in longest:
            self.counts.reordered += number < last[name]
            last[name] = number
        for reader in readers:
            received = reader.received[topic]
            arrived = set(received)
            self.counts.doubled += len(received) - len(arrived)
            places = [order[line] for line in received if line in order]
            self.counts.reordered += sum(later < before for before, later in pairwise(places))
            for name, line in spoken:
                if name != reader.name and (name, line.number) not in arrived:
                    if reader.missed(line):
                        self.counts.cut_off += 1
                    elif topic in ("#osu", "partner") or line.sent > reader.seated_at:
                        self.counts.lost += 1
                        self.lost.append(f"{name}'s {line} in {topic}, by {reader.name}, cut {reader.cut}")

    def _check_views(self) -> None:
        for player in self.players:
            if player.plan is None:
                continue
            host = next(one for one in self.players if one.plan is player.plan and one.hosts)
            if player.slot() is None:
                self.counts.seats_lost += 1
            elif seats(host.view) != seats(player.view):
                self.counts.views_apart += 1
            else:
                self.counts.seated += 1
            if player.hosts:
                self.counts.rounds += player.plan.rounds


def seats(view: MatchForm | None) -> dict[int, int]:
    """Return the ids of the players by slot."""
    return (
        {}
        if view is None
        else {number: slot.user_id for number, slot in enumerate(view.slots) if slot.status & HAS_PLAYER}
    )


def request(method: str, path: str, host: str, body: bytes, headers: str = "") -> bytes:
    """Return a request of the game. `headers` are whole lines."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: osu!\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _header(head: bytes, name: bytes) -> str:
    at = head.lower().find(name + b": ")
    return "" if at < 0 else head[at + len(name) + 2 : head.index(b"\r", at)].decode()
