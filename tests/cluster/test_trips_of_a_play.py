"""The round trips to Redis and PostgreSQL that a play takes in a worker, before its answer and after it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import pytest
from tests import engines
from tests.builders import NewMap, a_map
from tests.in_process import Message, asgi
from tests.redises import RedisServer
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, PASSWORD, SUBMIT, Played, multipart, password_md5, prepare

from kiai.app import open_services
from kiai.logs import AccessLog
from kiai.server import HttpServer
from kiai.settings import load_settings
from kiai.storage.postgres import POOL_MAX, PostgresDatabase

PLAYERS: Final = [f"player {number}" for number in range(8)]
SONGS: Final = [a_map(100 + number, objects=100) for number in range(8)]

ANSWER_REDIS_MAX: Final = 3
"""Session, rate limit and rank before; ranks after; the alert of a new best."""
ANSWER_DATABASE_MAX: Final = 13
"""Account, checksum, map, replay, line on the board, its place, six of the transaction, place and stats after it."""
DELIVERY_REDIS_MAX: Final = 11
"""Of eight plays together: are there lists?, first places, scores, ranks, peaks, and five for the players' sessions."""
DELIVERY_DATABASE_MAX: Final = 36
"""Of eight plays together: 12 of the outbox, 4 of stored answers, 8 for the players' sessions, and 12 of all others."""


class Worker(msgspec.Struct):
    """A worker in this process, without jobs."""

    server: HttpServer
    statements: list[str]

    @property
    def redis_calls(self) -> int:
        """The number of batches of commands that were sent to Redis."""
        counts = self.server._services.stores.timings["state"].by_op.get("call", [0.0])
        return int(sum(counts[:-1]))

    def note(self, logged: Any) -> None:
        """Add a statement, but none of those with which the library learns a type once in each connection."""
        if not any(word in logged.query for word in ("typeinfo", "set_config")):
            self.statements.append(logged.query)

    async def ask(self, host: str, path: str, body: bytes, kind: str = "") -> bytes:
        """Send a POST of a game and return the body of the answer."""
        headers = {"host": host, "user-agent": "osu!", "content-length": str(len(body)), "content-type": kind}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
            "client": ("127.0.0.1", 1),
        }
        answer: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            answer.append(message.get("body", b""))

        await asgi(self.server.front)(cast(Any, scope), receive, send)
        return b"".join(answer)

    async def log_in(self, name: str) -> None:
        """Log the game of a player in."""
        body = f"{name}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
        assert await self.ask("c.localhost", "/", body)

    async def submit(self, number: int, score: int) -> None:
        """Submit a pass of a player on the player's map."""
        parts = Played(SONGS[number].md5, PLAYERS[number], score=score).parts()
        assert (await self.ask(OSU, SUBMIT, *multipart(parts))).startswith(b"beatmapId")

    async def deliver(self) -> None:
        """Do what jobs do after a play."""
        await self.server.deliver()
        await self.server.write_buffers()

    async def trips(self, work: Awaitable[object]) -> tuple[int, list[str]]:
        """Return the round trips that some work takes: their number to Redis, and the texts sent to PostgreSQL."""
        before = self.redis_calls
        self.statements.clear()
        await work
        await asyncio.sleep(0)  # the library notes a statement in the next turn of the event loop
        return self.redis_calls - before, list(self.statements)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[dict[str, Any]]:
    redis = RedisServer()
    try:
        with engines.postgres_database() as url:
            prepare(tmp_path, PLAYERS, vector_maps=False, database=url)
            yield {"data": tmp_path, "database": url, "state": redis.url}
    finally:
        redis.close()


def in_worker(stores: dict[str, Any], songs: list[NewMap], scenario: Callable[[Worker], Awaitable[None]]) -> None:
    """Run a scenario in a worker with the players online. Each has played once, and the plays were delivered."""

    async def run() -> None:
        settings = load_settings(**stores)
        async with open_services(settings) as services:
            for song in songs:
                await services.importer.import_file(song.data, name="map", status=None)
            access_log = AccessLog(settings.log, settings.log_level, settings.poll_every)
            server = HttpServer(services, access_log)
            await server.begin()
            worker = Worker(server, [])
            pool = cast(PostgresDatabase, services.database)._pool
            connections = [await pool.acquire() for _ in range(POOL_MAX)]
            for connection in connections:
                connection.add_query_logger(worker.note)
                await pool.release(connection)
            for number, name in enumerate(PLAYERS):
                await worker.log_in(name)
                await worker.submit(number, 1_000)
            await worker.deliver()
            await scenario(worker)

    asyncio.run(run())


def test_trips_of_plays(stores: dict[str, Any]) -> None:
    async def scenario(worker: Worker) -> None:
        answers = [await worker.trips(worker.submit(number, 2_000)) for number in range(len(PLAYERS))]
        calls, statements = await worker.trips(worker.deliver())

        assert max(calls for calls, _ in answers) <= ANSWER_REDIS_MAX
        assert max(len(sent) for _, sent in answers) <= ANSWER_DATABASE_MAX, answers
        assert calls <= DELIVERY_REDIS_MAX
        assert len(statements) <= DELIVERY_DATABASE_MAX, statements

    in_worker(stores, SONGS, scenario)


def test_trips_of_a_delivery_without_a_row(stores: dict[str, Any]) -> None:
    async def scenario(worker: Worker) -> None:
        calls, statements = await worker.trips(worker.server.deliver())

        assert (calls, len(statements)) == (1, 1), statements

    in_worker(stores, SONGS, scenario)
