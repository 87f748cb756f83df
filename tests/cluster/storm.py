"""Thousands of simulated players on a cluster whose workers die, and a checker that follows each of their views.

A player is a coroutine with a connection of its own that speaks the game's packets: it polls, changes its status, talks
in #osu, to a partner and in its room, takes a seat, plays rounds, submits, logs out and in again. It keeps what it was
told, in order. What an answer held that a kill cut off on its way is gone with it (realtime is at most once): a player
notes those moments (`cut`), and only what was said outside of them has to have arrived.
"""

import asyncio
import contextlib
import random
import re
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from tests.faces.bancho.client_bytes import score_frame, whole
from tests.patience import Deadline, patiently
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, SUBMIT, Played, multipart, password_md5

from kiai.faces.bancho.packets import ChangeAction, Client, JoinMatch, MatchForm, Message, Server, SlotForm, read
from kiai.multiplayer.model import COMPLETE, HAS_PLAYER, NOT_READY, PLAYING, READY

ANSWER_S: Final = 20.0
AGAIN_S: Final = 1.0
LOGINS_AT_ONCE: Final = 16
SETTLING_POLLS: Final = 4
FIRST_ROUND_S: Final = 60.0
SEATS: Final = 8
SAYS: Final = {"#osu": 0.006, "partner": 0.12, "#multiplayer": 0.15}
"""How likely a player says a line with a poll, by where."""
STATUS: Final = 0.05
SAID: Final = re.compile(rb"~([^~]+)~([^~]+)~(\d+)\.")
RELOGS: Final = 0.1
OPEN_SLOT: Final = SlotForm(1, 0, 0, 0)
FRAME: Final = {
    "time": 1_000, "id": 0, "n300": 10, "n100": 1, "n50": 0, "geki": 2, "katu": 1, "miss": 0, "total_score": 50_000,
    "max_combo": 11, "current_combo": 11, "perfect": 1, "hp": 200, "tag": 0, "score_v2": 0,
}  # fmt: skip


class Room:
    """What the players of a room agree on outside of the game: its host's name, and its number once there is one."""

    def __init__(self, number: int) -> None:
        self.name = f"room {number}"
        self.match_id = 0
        self.rounds = 0


class Line(msgspec.Struct):
    """A line that the server has acknowledged: when it was sent and when that was answered."""

    number: int
    sent: float
    answered: float


class Counts(msgspec.Struct):
    """What the checker found. Only the first row may be anything but zero."""

    polls: int = 0
    failed: int = 0
    refused: int = 0
    logins: int = 0
    said: int = 0
    heard: int = 0
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
        """What must not be."""
        names = self.__struct_fields__
        return {name: count for name in names[names.index("lost") :] if (count := getattr(self, name))}


class Connection:
    """A keep-alive connection that asks one thing after the other and is opened again when it breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body. Raises OSError, EOFError and TimeoutError."""
        try:
            async with asyncio.timeout(patiently(ANSWER_S)):
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
        """Lets go of it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


BROKEN: Final = (OSError, EOFError, TimeoutError, ValueError)
"""What a connection does whose other end dies: an answer may be cut anywhere."""


class Player:
    """One client."""

    def __init__(self, storm: "Storm", number: int, name: str, user_id: int) -> None:
        self.storm = storm
        self.name = name
        self.user_id = user_id
        self.partner = ""
        self.room: Room | None = None
        self.hosts = False
        self.relogs = False
        self.plays: Sequence[Played] = ()
        self.told: list[tuple[Played, int]] = []
        self.token = ""
        self.said: defaultdict[str, list[Line]] = defaultdict(list)
        self.heard: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
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
        """A session; again and again while the server refuses, as it does while the last one is a moment old."""
        body = f"{self.name}\n{password_md5()}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
        since = time.monotonic()
        while True:
            with contextlib.suppress(*BROKEN):
                _, head, answer = await self._connection.ask(_request("POST", "/", "c.localhost", body))
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
        """One poll with these packets; whether it was answered. Lines are given with their topic, others without."""
        counts = self.storm.counts
        sent = time.monotonic()
        counts.polls += 1
        body = b"".join(packet for _, packet in said)
        try:
            status, _, answer = await self._connection.ask(
                _request("POST", "/", "c.localhost", body, f"osu-token: {self.token}\r\n")
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
        self._heard_from = sent
        self._read(answer)
        return True

    def line(self, topic: str, recipient: str) -> tuple[str, bytes]:
        """The next line, to be said with a poll."""
        self._number += 1
        text = f"~{topic}~{self.name}~{self._number}."
        kind = Client.SEND_PUBLIC_MESSAGE if recipient.startswith("#") else Client.SEND_PRIVATE_MESSAGE
        return topic, whole(kind, Message("", text, recipient, 0))

    def _read(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            packet_id, _, size = struct.unpack_from("<HBI", body, at)
            payload = body[at + 7 : at + 7 + size]
            at += 7 + size
            if packet_id == Server.SEND_MESSAGE:
                self._hear(payload)
            elif packet_id in (Server.MATCH_UPDATE, Server.MATCH_JOIN_SUCCESS, Server.MATCH_START):
                self._see(read(Client.CREATE_MATCH, payload))
            elif packet_id == Server.MATCH_COMPLETE:
                self._loaded, self._played = False, 0
                if self.room is not None and self.hosts:
                    self.room.rounds += 1
            elif packet_id == Server.RESTART:
                self.storm.counts.sessions_lost += 1

    def _hear(self, payload: bytes) -> None:
        if found := SAID.search(payload):
            topic, name, number = found.groups()
            self.heard[topic.decode()].append((name.decode(), int(number)))
            self.storm.counts.heard += 1

    def _see(self, view: Any) -> None:
        if self.room is None or view.name != self.room.name:
            return
        seated = [slot.user_id for slot in view.slots if slot.status & HAS_PLAYER]
        self.storm.counts.seats_doubled += len(seated) - len(set(seated))
        if self.view is None:
            self.seated_at = time.monotonic()
        self.view = view
        if self.hosts:
            self.room.match_id = view.id

    # --- what a player does

    async def live(self, ends: asyncio.Event) -> None:
        """Until the storm is over: says and does something now and then, with the polls of a client."""
        await asyncio.sleep(self._chance.random() * self.storm.poll_s)
        while not ends.is_set():
            if self.relogs and self._chance.random() < RELOGS:
                await self._relog()
            said = [packet for packet in (*self._status(), *self._talk(), *self._play()) if packet]
            await self.poll(*said)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ends.wait(), self.storm.poll_s * self._chance.uniform(0.8, 1.2))

    async def settle(self) -> None:
        """Some quiet polls, so that everything that is on its way arrives; a seat that was not taken is taken."""
        for turn in range(SETTLING_POLLS):
            said = (
                [("", whole(Client.MATCH_READY if turn % 2 else Client.MATCH_NOT_READY, None))] if self._sits() else []
            )
            if self.room is not None and not self._sits():
                said = list(self._play())
            await self.poll(*said)
            await asyncio.sleep(AGAIN_S)

    async def _relog(self) -> None:
        gone = self._heard_from  # what waited is gone with the session
        await self.poll(("", whole(Client.LOGOUT, 0)))
        await self.log_in()
        self.away[-1] = (gone, self.away[-1][1])

    def _status(self) -> Iterable[tuple[str, bytes]]:
        if self._chance.random() < STATUS:
            action = ChangeAction(2, f"Song {self._chance.random():.3f}", "0" * 32, 0, 0, 100)
            yield "", whole(Client.CHANGE_ACTION, action)

    def _talk(self) -> Iterable[tuple[str, bytes]]:
        pick = self._chance.random()
        if pick < SAYS["#osu"]:
            yield self.line("#osu", "#osu")
        elif pick < SAYS["#osu"] + SAYS["partner"] and self.partner:
            yield self.line("partner", self.partner)
        elif self._sits() and self._chance.random() < SAYS["#multiplayer"]:
            assert self.room is not None
            yield self.line(self.room.name, "#multiplayer")

    def _sits(self) -> bool:
        return self.slot() is not None

    def slot(self) -> SlotForm | None:
        if self.view is None:
            return None
        return next((one for one in self.view.slots if one.status & HAS_PLAYER and one.user_id == self.user_id), None)

    def _play(self) -> Iterable[tuple[str, bytes]]:
        if self.room is None:
            return
        slot = self.slot()
        if slot is None:
            if self.hosts:
                yield "", whole(Client.CREATE_MATCH, self._wanted())
            elif self.room.match_id:
                yield "", whole(Client.JOIN_MATCH, JoinMatch(self.room.match_id, ""))
            return
        assert self.view is not None
        if slot.status == NOT_READY:
            yield "", whole(Client.MATCH_READY, None)
        elif slot.status == READY and self.view.host_id == self.user_id:
            here = [one for one in self.view.slots if one.status & HAS_PLAYER]
            if len(here) > 1 and all(one.status == READY for one in here):
                yield "", whole(Client.MATCH_START, None)
        elif slot.status in (PLAYING, COMPLETE):
            if not self._loaded:
                self._loaded = True
                yield "", whole(Client.MATCH_LOAD_COMPLETE, None)
            elif self._played < 2:
                self._played += 1
                yield "", whole(Client.MATCH_SCORE_UPDATE, score_frame(FRAME))
            else:
                yield "", whole(Client.MATCH_COMPLETE, None)

    def _wanted(self) -> MatchForm:
        assert self.room is not None
        return MatchForm(
            0, False, 0, self.room.name, "", "Song", 100, "0" * 32, (OPEN_SLOT,) * 16, self.user_id, 0, 0, 0, False, 0
        )

    async def submit(self, ends: asyncio.Event, every_s: float) -> None:
        """Sends one play after the other, each as the game does: the same bytes again until they are answered."""
        connection = Connection(self.storm.port)
        await asyncio.sleep(self._chance.random() * every_s)
        for played in self.plays:
            if ends.is_set():
                break
            body, kind = multipart(played.parts())
            request = _request("POST", SUBMIT, OSU, body, f"Content-Type: {kind}\r\nToken: opaque\r\n")
            while True:
                with contextlib.suppress(*BROKEN):
                    status, _, answer = await connection.ask(request)
                    if status == 200:
                        assert b"onlineScoreId:" in answer, answer
                        number = int(answer.split(b"onlineScoreId:")[1].split(b"|")[0])
                        self.told.append((played, number))
                        self.storm.counts.plays += 1
                        break
                self.storm.counts.submitted_again += 1
                await asyncio.sleep(AGAIN_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ends.wait(), every_s * self._chance.uniform(0.8, 1.2))
        connection.close()

    def missed(self, line: Line) -> bool:
        """Whether a line was said while an answer to this player was cut off, or the player was away."""
        return any(line.sent <= end and start <= line.answered for start, end in (*self.cut, *self.away))

    def close(self) -> None:
        """Lets go of the connection."""
        self._connection.close()


class Storm:
    """All players of one storm. `names`: (name, user id) of those who may play."""

    def __init__(
        self, port: int, names: Sequence[tuple[str, int]], *, rooms: int, relogging: int, poll_s: float, seed: int
    ) -> None:
        self.port = port
        self.poll_s = poll_s
        self.seed = seed
        self.counts = Counts()
        self.lost: list[str] = []
        self.refusals: Counter[tuple[int, bytes]] = Counter()
        self.players = [Player(self, number, *one) for number, one in enumerate(names)]
        for first, second in zip(self.players[::2], self.players[1::2], strict=False):
            first.partner, second.partner = second.name, first.name
        for number in range(rooms):
            room = Room(number)
            for seat, player in enumerate(self.players[number * SEATS : (number + 1) * SEATS]):
                player.room, player.hosts = room, seat == 0
        for player in self.players[-relogging:]:
            player.relogs = True

    async def run(self, seconds: float, kill: Callable[[], None], kill_every_s: float, submit_every_s: float) -> Counts:
        """Everybody logs in, lives through the storm and settles; what the views amount to so far.

        The storm goes on beyond its `seconds`, without more kills, until a first round was played.
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
        while time.monotonic() + kill_every_s <= until:
            await asyncio.sleep(kill_every_s)
            await asyncio.to_thread(kill)
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        # On a slow machine a short storm may be over before eight players have played a round.
        deadline = Deadline(FIRST_ROUND_S)
        while not any(player.room is not None and player.room.rounds for player in self.players):
            if deadline.passed():
                break
            await asyncio.sleep(0.1)
        ends.set()
        await asyncio.gather(*lives)
        await asyncio.gather(*(player.settle() for player in self.players))
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
            if player.room is not None:
                topics[player.room.name].append(player)
        for topic, readers in topics.items():
            self._check_topic(topic, readers, readers)
        for reader in self.players:
            if reader.partner:
                self._check_topic("partner", [reader], [by_name[reader.partner]])

    def _check_topic(self, topic: str, readers: Sequence[Player], writers: Sequence[Player]) -> None:
        """All heard everything, once, and in one order: that of who heard most, and that in which each writer spoke."""
        longest = max((reader.heard[topic] for reader in readers), key=len)
        order = {line: place for place, line in enumerate(longest)}
        spoken = [(writer.name, line) for writer in writers for line in writer.said[topic]]
        last: defaultdict[str, int] = defaultdict(int)
        for name, number in longest:
            self.counts.reordered += number < last[name]
            last[name] = number
        for reader in readers:
            heard = reader.heard[topic]
            arrived = set(heard)
            self.counts.doubled += len(heard) - len(arrived)
            places = [order[line] for line in heard if line in order]
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
            if player.room is None:
                continue
            host = next(one for one in self.players if one.room is player.room and one.hosts)
            if player.slot() is None:
                self.counts.seats_lost += 1
            elif seats(host.view) != seats(player.view):
                self.counts.views_apart += 1
            else:
                self.counts.seated += 1
            if player.hosts:
                self.counts.rounds += player.room.rounds


def seats(view: MatchForm | None) -> dict[int, int]:
    """Who sits where."""
    return (
        {}
        if view is None
        else {number: slot.user_id for number, slot in enumerate(view.slots) if slot.status & HAS_PLAYER}
    )


def _request(method: str, path: str, host: str, body: bytes, headers: str = "") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: osu!\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _header(head: bytes, name: bytes) -> str:
    at = head.lower().find(name + b": ")
    return "" if at < 0 else head[at + len(name) + 2 : head.index(b"\r", at)].decode()
