"""The honest players of `scripts/bench attack`: they poll, open song select, search, submit plays and log in.

Each kind of request is sent at a fixed rate, whether or not earlier requests were answered, because real players do not
wait for each other. Each player has a separate address.
"""

import asyncio
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
from tests.faces.bancho.client_bytes import whole
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, PASSWORD, SUBMIT, Played, multipart, password_md5

from benchmarks.http_client import Connections, request
from kiai.faces.bancho.packets import ChangeAction, ClientPacket

BANCHO: Final = "c.localhost"
API: Final = "api.localhost"
SITE: Final = "localhost"
RATES: Final = {
    "polls": 60.0,
    "song select": 10.0,
    "search": 4.0,
    "profiles": 6.0,
    "submissions": 1.0,
    "logins": 1.0,
}
"""Requests per second of all players together."""
STATUS_EVERY: Final = 10  # every tenth poll changes the status
RESTART: Final = 86  # the packet that ends a session
TOKEN_CHARACTERS: Final = 36
_STATUS: Final = whole(ClientPacket.CHANGE_ACTION, ChangeAction(2, "Artist - Song [Normal]", "0" * 32, 0, 0, 0))


class Figures(msgspec.Struct, frozen=True):
    """The durations of one kind of request in ms, and its wrong answers by reason."""

    count: int
    p50_ms: float
    p99_ms: float
    wrong: dict[str, int] = {}


def figures(times: list[float], wrong: dict[str, int]) -> Figures:
    """Return the figures of requests; `times` are in seconds."""
    times = sorted(times) or [0.0]
    p99 = times[math.ceil(0.99 * len(times)) - 1]
    return Figures(len(times), times[len(times) // 2] * 1000, p99 * 1000, dict(wrong))


def address_of(number: int) -> str:
    """Return the address of an honest player."""
    return f"198.51.100.{number + 1}"


class Honest:
    """The honest players. `names` log in at the start. Each of `newcomers` logs in once, during the measurement."""

    def __init__(self, port: int, names: list[str], newcomers: list[str], songs: list[str]) -> None:
        self._connections = Connections(port)
        self._names = names
        self._newcomers = newcomers
        self._songs = songs
        self._tokens: list[str] = []
        self._logged_in = 0
        self._scores = itertools.count(1_000)
        self.ended = 0
        """The number of sessions that the server ended."""

    async def begin(self) -> None:
        """Log all players in, and open a page of the website, with which the server begins to compile templates."""
        assert (await self._connections.ask(request("GET", SITE, "/", address_of(0)))).status == 200
        for number, name in enumerate(self._names):
            token = await self._log_in(number, name)
            assert token is not None, f"{name} cannot log in"
            self._tokens.append(token)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    async def window(self, seconds: float) -> dict[str, Figures]:
        """Send requests for this number of seconds and return the figures of each kind."""
        # Encrypting a submission takes time, so it happens before the measurement.
        plays = self._plays(max(1, round(seconds * RATES["submissions"])))
        times: dict[str, list[float]] = defaultdict(list)
        wrong: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        until = time.perf_counter() + seconds
        kinds: dict[str, Callable[[int], Awaitable[str]]] = {
            "polls": self._poll,
            "song select": self._song_select,
            "search": self._search,
            "profiles": self._profile,
            "submissions": lambda n: self._submit(plays[n]) if n < len(plays) else _nothing(),
            "logins": self._newcomer,
        }

        async def send(kind: str, number: int) -> None:
            began = time.perf_counter()
            try:
                fault = await kinds[kind](number)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                fault = type(error).__name__
            times[kind].append(time.perf_counter() - began)
            if fault:
                wrong[kind][fault] += 1

        async def send_at_rate(kind: str) -> None:
            tasks = []
            began = time.perf_counter()
            for number in itertools.count():
                due = began + number / RATES[kind]
                if due >= until:
                    break
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.append(asyncio.create_task(send(kind, number)))
            await asyncio.gather(*tasks)

        await asyncio.gather(*map(send_at_rate, kinds))
        return {kind: figures(times[kind], wrong[kind]) for kind in kinds}

    async def count_ended_sessions(self) -> None:
        """Poll once for each player. `ended` then includes the sessions that have ended since their last poll."""
        for number in range(len(self._tokens)):
            await self._poll(number)

    # --- one request each; returns "" or what was wrong with the answer

    async def _poll(self, number: int) -> str:
        who = number % len(self._tokens)
        packets = _STATUS if number % STATUS_EVERY == 0 else b""
        headers = {"osu-token": self._tokens[who]}
        answer = await self._connections.ask(request("POST", BANCHO, "/", address_of(who), headers, packets))
        if RESTART in packet_ids(answer.body):
            self.ended += 1
            token = await self._log_in(who, self._names[who])
            if token is not None:
                self._tokens[who] = token
            return "session ended"
        return _fault(answer.status)

    async def _song_select(self, number: int) -> str:
        who = number % len(self._names)
        query = {"us": self._names[who], "ha": password_md5(), "c": self._songs[number % len(self._songs)]}
        return await self._get(who, "/web/osu-osz2-getscores.php", query | {"s": 0, "vv": 4, "v": 1, "m": 0})

    async def _search(self, number: int) -> str:
        who = number % len(self._names)
        query = {"u": self._names[who], "h": password_md5(), "q": f"Song {number % 8}", "r": 4, "m": -1, "p": 0}
        return await self._get(who, "/web/osu-search.php", query)

    async def _get(self, who: int, path: str, query: dict[str, object]) -> str:
        target = f"{path}?{urlencode(query, quote_via=quote)}"
        return _fault((await self._connections.ask(request("GET", OSU, target, address_of(who)))).status)

    async def _profile(self, number: int) -> str:
        who = number % len(self._names)
        target = f"/get_player_info?name={quote(self._names[number % len(self._names)])}&scope=all"
        return _fault((await self._connections.ask(request("GET", API, target, address_of(who)))).status)

    async def _submit(self, raw: bytes) -> str:
        answer = await self._connections.ask(raw)
        return _fault(answer.status) or ("" if b"onlineScoreId:" in answer.body else "not stored")

    async def _newcomer(self, number: int) -> str:
        if self._logged_in >= len(self._newcomers):
            return "no newcomers left"
        self._logged_in += 1
        who = len(self._names) + self._logged_in
        token = await self._log_in(who, self._newcomers[self._logged_in - 1])
        return "" if token is not None else "refused"

    async def _log_in(self, who: int, name: str) -> str | None:
        body = f"{name}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
        answer = await self._connections.ask(request("POST", BANCHO, "/", address_of(who), body=body))
        token = answer.headers.get("cho-token", "")
        return token if len(token) == TOKEN_CHARACTERS else None

    def _plays(self, count: int) -> list[bytes]:
        """Return encrypted submissions."""
        requests = []
        for _ in range(count):
            score = next(self._scores)
            who = score % len(self._names)
            played = Played(self._songs[score % len(self._songs)], self._names[who], score=score * 10, combo=100)
            body, kind = multipart(played.parts())
            requests.append(request("POST", OSU, SUBMIT, address_of(who), {"Content-Type": kind, "Token": "x"}, body))
        return requests


async def _nothing() -> str:
    return ""


def _fault(status: int) -> str:
    return "" if status == 200 else str(status)


def packet_ids(body: bytes) -> list[int]:
    """Return the ids of the packets in the answer to a poll."""
    found, at = [], 0
    while at + 7 <= len(body):
        found.append(int.from_bytes(body[at : at + 2], "little"))
        at += 7 + int.from_bytes(body[at + 3 : at + 7], "little")
    return found
