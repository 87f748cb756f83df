"""Every form of the setting `state` reaches a real Redis, and a connection that cannot be made says why."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError
from tests.certificates import CertificateAuthority
from tests.contract.realtime.builders import a_session
from tests.redises import RedisServer, a_redis
from tests.tls_front import tls_front

from kiai.clock import ManualClock
from kiai.errors import Refused
from kiai.realtime.connecting import ServerRoute, connect
from kiai.realtime.port import StateUnavailable
from kiai.realtime.redis import RedisRealtime

ACL = ("ACL", "SETUSER", "kiai", "on", ">secret", "~kiai:*", "+@all", "-@dangerous", "-@admin")
"""The rights that docs/operate/stores.md names."""


@pytest.fixture
def redis() -> RedisServer:
    server = a_redis()
    with Redis(port=server.port) as client:
        client.flushall()
    return server


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def encrypted(redis: RedisServer, authority: CertificateAuthority) -> Iterator[int]:
    """The port of a front with TLS, whose certificate is for `localhost`."""
    with tls_front(authority.server_context("localhost"), redis.port) as port:
        yield port


@pytest.fixture
def ca(tmp_path: Path, authority: CertificateAuthority) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return path


def databases_after_use(url: str, redis: RedisServer) -> list[int]:
    """Open a session through the URL. Return the databases that have keys then."""

    async def use() -> None:
        realtime = RedisRealtime.connect(url, ManualClock())
        try:
            await realtime.open_session(a_session("token", 3))
            assert (await realtime.session("token")).user_id == 3
        finally:
            await realtime.close()

    asyncio.run(use())
    with Redis(port=redis.port) as client:
        return [int(name.removeprefix("db")) for name in client.info("keyspace")]


def failure(url: str) -> str:
    """Return the error of the first call through the URL."""

    async def use() -> str:
        realtime = RedisRealtime.connect(url, ManualClock())
        try:
            with pytest.raises(StateUnavailable) as failed:
                await realtime.online_count()
        finally:
            await realtime.close()
        return failed.value.reason

    return asyncio.run(use())


def test_number_of_the_database_is_used(redis: RedisServer) -> None:
    assert databases_after_use(redis.numbered(3), redis) == [3]


def test_unix_socket_is_used(redis: RedisServer) -> None:
    assert databases_after_use(f"unix://{redis.socket}?db=2", redis) == [2]


def test_user_with_the_documented_rights_is_enough(redis: RedisServer) -> None:
    with Redis(port=redis.port) as client:
        client.execute_command(*ACL)
    try:
        assert databases_after_use(f"redis://kiai:secret@127.0.0.1:{redis.port}/0", redis) == [0]
        assert "invalid username-password pair" in failure(f"redis://kiai:wrong@127.0.0.1:{redis.port}/0")
    finally:
        with Redis(port=redis.port) as client:
            client.execute_command("ACL", "DELUSER", "kiai")


def test_certificate_of_the_named_authority_is_accepted(redis: RedisServer, encrypted: int, ca: Path) -> None:
    assert databases_after_use(f"rediss://localhost:{encrypted}/1?ssl_ca_certs={ca}", redis) == [1]


def test_certificate_is_verified_unless_the_url_says_otherwise(redis: RedisServer, encrypted: int) -> None:
    assert failure(f"rediss://localhost:{encrypted}/0") == (
        "the certificate of Redis is rejected: unable to get local issuer certificate; name its authority in "
        "ssl_ca_certs and a host of the certificate in the URL of the setting state"
    )
    assert databases_after_use(f"rediss://localhost:{encrypted}/0?ssl_cert_reqs=none", redis) == [0]


def test_certificate_for_another_name_is_rejected(encrypted: int, ca: Path) -> None:
    reason = failure(f"rediss://127.0.0.1:{encrypted}/0?ssl_ca_certs={ca}")

    assert reason.startswith("the certificate of Redis is rejected: IP address mismatch, certificate is not valid for")


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "No such file or directory"), ("text", "they are not the PEM files that it needs")]
)
def test_file_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)

    with pytest.raises(Refused) as refused:
        RedisRealtime.connect(f"rediss://localhost/0?ssl_ca_certs={path}", ManualClock())

    assert str(refused.value) == f"the setting state cannot use ssl_ca_certs {path}: {reason}; correct the paths"


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that are set."""

    timers = 0

    def call_at(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        self.timers += 1
        return super().call_at(*arguments, **options)


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
def test_sending_sets_no_timers(way: str, redis: RedisServer, encrypted: int, ca: Path) -> None:
    urls = {
        "tcp": redis.url,
        "unix": f"unix://{redis.socket}",
        "tls": f"rediss://localhost:{encrypted}?ssl_ca_certs={ca}",
    }

    async def use() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        client = connect(urls[way])
        assert isinstance(client, AsyncRedis)
        route = ServerRoute(client)
        try:
            await route.send([("PING",)])
            before = loop.timers
            assert await route.send([("ECHO", "1"), ("ECHO", "2")]) == [b"1", b"2"]
            return loop.timers - before
        finally:
            await client.aclose()

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        assert runner.run(use()) == 0


def test_connection_that_redis_has_closed_is_not_used_again(redis: RedisServer) -> None:
    async def use() -> None:
        realtime = RedisRealtime.connect(redis.url, ManualClock())
        try:
            await realtime.online_count()
            with Redis(port=redis.port) as client:
                client.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.1)  # until the loop has read the end of the connection
            assert await realtime.online_count() == 0
        finally:
            await realtime.close()

    asyncio.run(use())


def test_answer_of_a_cancelled_call_goes_to_nobody(redis: RedisServer) -> None:
    async def use() -> list[object]:
        client = connect(redis.url)
        assert isinstance(client, AsyncRedis)
        route = ServerRoute(client)
        try:
            await route.send([("SET", "kiai:a", "1")])
            asking = asyncio.create_task(route.send([("BLPOP", "kiai:nothing", 0.05)]))
            await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.wait([asking])
            await asyncio.sleep(0.1)
            return await route.send([("GET", "kiai:a"), ("HGET", "kiai:a", "x"), ("GET", "kiai:a")])
        finally:
            await client.aclose()

    first, failure, last = asyncio.run(use())
    assert (first, last) == (b"1", b"1")
    assert isinstance(failure, ResponseError)
