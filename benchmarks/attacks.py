"""The attacks of `scripts/bench attack`, each from one address or a few accounts: `python -m benchmarks.attacks`.

It reads a `Plan` from the first line of standard input, prints `ready` when its payloads are made, waits for a second
line, attacks, and prints a `Report`. It speaks to loopback only; its time, connections and requests are bounded. An
attacker asks again at once, after a refusal 0.1 s later.
"""

import asyncio
import contextlib
import io
import itertools
import json
import lzma
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from urllib.parse import urlencode

import msgspec
from tests.faces.bancho.client_bytes import whole
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, SUBMIT, Played, multipart, password_md5

from benchmarks.asking import Connections, request
from benchmarks.honest import API, BANCHO, TOKEN_CHARACTERS
from kiai.faces.bancho.packets import Client, JoinMatch, MatchForm, Message, SlotForm

REQUESTS_MAX: Final = 20_000
REFUSED_S: Final = 0.1
BODY_MAX: Final = (1 << 20) - 1024  # the most that a poll may send
SUBMISSION_BYTES: Final = 10 << 20
AVATAR_BYTES: Final = 4 << 20
TRICKLE_S: Final = 0.5
PING: Final = 4
UNFOLDED_BYTES: Final = 49 << 20
SCANS: Final = 50  # with its own ten less than what is refused unread
PICTURE_SIDE: Final = 4096


class Attacker(msgspec.Struct, frozen=True):
    """An account that the attacker has."""

    name: str
    id: int
    key: str


class Plan(msgspec.Struct, frozen=True):
    """What an attack needs to know. `share` of the connections of a whole attack, 0 to 1."""

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
    """What became of an attack's requests, by status or by the name of an error."""

    answers: dict[str, int]


class Attack:
    """One attack under way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: Counter[str] = Counter()
        self._until = 0.0
        self._chance = random.Random(1)

    def connections(self, count: int) -> int:
        """The plan's share of so many connections."""
        return max(1, round(count * self.plan.share))

    def begin(self) -> None:
        """The clock runs."""
        self._until = time.perf_counter() + self.plan.seconds

    @property
    def over(self) -> bool:
        """Whether its time or its number of requests is used up."""
        return time.perf_counter() >= self._until or self.answers.total() >= REQUESTS_MAX

    async def repeat(self, count: int, requests: Iterator[bytes]) -> None:
        """Asks these on so many connections at once until it is over."""

        async def asker() -> None:
            connections = Connections(self.plan.port)
            while not self.over:
                status = await self.ask(connections, next(requests))
                if status != "200":
                    await asyncio.sleep(REFUSED_S)
            connections.close()

        with contextlib.suppress(TimeoutError):  # what is still unanswered then is counted as such
            async with asyncio.timeout(self.plan.seconds + 5.0):
                await asyncio.gather(*(asker() for _ in range(self.connections(count))))

    async def ask(self, connections: Connections, raw: bytes) -> str:
        """Sends one request; its status, or the name of the error."""
        try:
            answer = await connections.ask(raw)
            token = answer.headers.get("cho-token", "")
            status = str(answer.status) if len(token) in (0, TOKEN_CHARACTERS) else token  # a log-in that was refused
        except (OSError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        except asyncio.CancelledError:
            self.answers["unanswered"] += 1
            raise
        self.answers[status] += 1
        return status

    async def sessions(self) -> list[str]:
        """A session of each of the attacker's accounts."""
        connections = Connections(self.plan.port)
        tokens = []
        for one in self.plan.attackers:
            body = f"{one.name}\n{password_md5()}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
            answer = await connections.ask(request("POST", BANCHO, "/", self.plan.address, body=body))
            token = answer.headers["cho-token"]
            assert len(token) == TOKEN_CHARACTERS, token
            tokens.append(token)
        connections.close()
        return tokens

    async def packets(self, bodies: list[bytes]) -> None:
        """Sends these bodies in turn from every account's session."""
        tokens = await self.sessions()
        polls = [
            request("POST", BANCHO, "/", self.plan.address, {"osu-token": token}, body[:BODY_MAX])
            for body in bodies
            for token in tokens
        ]
        self.begin()
        await self.repeat(4, itertools.cycle(polls))


# --- the attacks: each gets ready, says so by calling `go`, and attacks

Go = Callable[[], Awaitable[None]]


async def wrong_passwords(attack: Attack, go: Go) -> None:
    """Guesses for names that exist and names that do not, in the game and on the web, on 90 connections."""

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
    """Filters that match little, searches in the middle of names, and deep pages, on 40 connections."""

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
    """50 uploads of which all but the end is sent; the rest trickles."""
    play, kind = multipart(Played(attack.plan.songs[0], attack.plan.attackers[0].name).parts())
    cut = play.index(b'filename="replay"')
    start = play[: play.index(b"\r\n\r\n", cut) + 4]
    junk = bytes(1 << 20)

    def head(host: str, target: str, length: int, headers: dict[str, str]) -> bytes:
        whole_head = request("POST", host, target, attack.plan.address, headers)
        return whole_head.replace(b"Content-Length: 0", b"Content-Length: %d" % length)

    async def upload(first: bytes, length: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", attack.plan.port)
        try:
            writer.write(first)
            left = length - 1024
            while left > 0 and not attack.over and not reader.at_eof():
                writer.write(junk[: min(left, len(junk))])
                left -= len(junk)
                await asyncio.wait_for(writer.drain(), 30.0)
            while not attack.over and not reader.at_eof() and not writer.is_closing():
                writer.write(b"\0")
                await asyncio.sleep(TRICKLE_S)
            told = await reader.read(16) if reader.at_eof() else b""
            attack.answers[told[9:12].decode() or ("open" if attack.over else "closed")] += 1
        except (OSError, TimeoutError) as error:
            attack.answers[type(error).__name__] += 1
        finally:
            writer.close()

    async def uploader(number: int) -> None:
        one = attack.plan.attackers[number % len(attack.plan.attackers)]
        while not attack.over:
            if number % 2:
                first = head(OSU, SUBMIT, SUBMISSION_BYTES, {"Content-Type": kind, "Token": "x"}) + start
                await upload(first, SUBMISSION_BYTES - len(start))
            else:
                headers = {"Content-Type": "image/png", "Authorization": f"Bearer {one.key}"}
                await upload(head(API, "/set_avatar", AVATAR_BYTES, headers), AVATAR_BYTES)
            await asyncio.sleep(REFUSED_S)

    await go()
    await asyncio.gather(*(uploader(number) for number in range(attack.connections(50))))


async def spectating(attack: Attack, go: Go) -> None:
    """Starting and stopping to watch the honest players, 9,000 times a body, from every account."""
    bodies = [
        (whole(Client.START_SPECTATING, victim) + whole(Client.STOP_SPECTATING, None)) * 9_000
        for victim in attack.plan.victims
    ]
    await go()
    await attack.packets(bodies)


async def cheap_packets(attack: Attack, go: Go) -> None:
    """Bodies of the packets that are cheapest to send: commands, private messages, wrong passwords of a room."""
    victim = attack.plan.victim_names[0]
    bodies = [
        whole(Client.SEND_PRIVATE_MESSAGE, Message("", "!help", "BanchoBot", 0)) * 20_000,
        whole(Client.SEND_PRIVATE_MESSAGE, Message("", "hello", "BanchoBot", 0)) * 20_000,
        whole(Client.JOIN_MATCH, JoinMatch(1, "wrong")) * 20_000,
        whole(Client.SEND_PRIVATE_MESSAGE, Message("", "hello", victim, 0)) * 20_000,
        (whole(Client.JOIN_LOBBY, None) + whole(Client.PART_LOBBY, None)) * 20_000,
        whole(PING, None) * 100_000,
    ]
    await go()
    await attack.packets(bodies)


async def rooms(attack: Attack, go: Go) -> None:
    """Opening a room and leaving it, thousands of times a body, from every account."""
    slots = tuple(SlotForm(1, 0, 0, 0) for _ in range(16))
    form = MatchForm(0, False, 0, "room", "secret", "A - B [C]", 75, "0" * 32, slots, 3, 0, 0, 0, False, 0)
    body = (whole(Client.JOIN_LOBBY, None) + whole(Client.CREATE_MATCH, form) + whole(Client.PART_MATCH, None)) * 4_000
    await go()
    await attack.packets([body])


async def pictures(attack: Attack, go: Go) -> None:
    """Avatars and screenshots that are small to send and take seconds to decode."""
    picture = a_slow_picture()

    def uploads() -> Iterator[bytes]:
        for number in itertools.count():
            one = attack.plan.attackers[number % len(attack.plan.attackers)]
            if number % 2:
                parts: list[tuple[str, str | None, bytes]] = [
                    ("u", None, one.name.encode()),
                    ("p", None, password_md5().encode()),
                    ("ss", "ss", picture),
                ]
                body, kind = multipart(parts)
                yield request("POST", OSU, "/web/osu-screenshot.php", attack.plan.address, {"Content-Type": kind}, body)
            else:
                body, kind = multipart([("avatar", "avatar.jpg", picture)])
                headers = {"Authorization": f"Bearer {one.key}", "Content-Type": kind}
                yield request("POST", API, "/set_avatar", attack.plan.address, headers, body)

    await attack.sessions()  # a screenshot wants one
    await go()
    await attack.repeat(8, uploads())


async def replays(attack: Attack, go: Go) -> None:
    """Plays whose replay is 7 KB to send and 49 MiB to read."""
    replay = lzma.compress(
        (b"0|0|0|0," * (UNFOLDED_BYTES // 8)),
        format=lzma.FORMAT_ALONE,
        filters=[{"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": 1 << 21}],
    )

    def plays() -> Iterator[bytes]:
        for number in itertools.count():
            one = attack.plan.attackers[number % len(attack.plan.attackers)]
            played = Played(attack.plan.songs[0], one.name, score=2_000_000 + number, replay=replay)
            body, kind = multipart(played.parts())
            yield request("POST", OSU, SUBMIT, attack.plan.address, {"Content-Type": kind, "Token": "x"}, body)

    ready = list(itertools.islice(plays(), 40))
    await go()
    await attack.repeat(8, itertools.cycle(ready))


async def event_streams(attack: Attack, go: Go) -> None:
    """A hundred listeners, of whom each begins anew when it is refused."""
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
                        if not await asyncio.wait_for(reader.read(65_536), TRICKLE_S):
                            break
                writer.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                attack.answers[type(error).__name__] += 1
            await asyncio.sleep(REFUSED_S)

    await go()
    await asyncio.gather(*(listener() for _ in range(attack.connections(100))))


ATTACKS: Final[dict[str, Callable[[Attack, Go], Awaitable[None]]]] = {
    "wrong passwords": wrong_passwords,
    "slow reads": slow_reads,
    "half-sent uploads": half_sent_uploads,
    "spectating": spectating,
    "cheap packets": cheap_packets,
    "rooms": rooms,
    "pictures": pictures,
    "replays": replays,
    "event streams": event_streams,
}


def a_slow_picture() -> bytes:
    """A progressive JPEG of 16 million pixels, whose last scan, a refinement, comes again and again."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    scan = data[data.rindex(b"\xff\xda") : data.rindex(b"\xff\xd9")]
    return data[: data.rindex(b"\xff\xd9")] + scan * SCANS + b"\xff\xd9"


async def run(plan: Plan) -> Report:
    """Carries out one attack."""
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
