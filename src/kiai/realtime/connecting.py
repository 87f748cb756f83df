"""Opens the connections to Redis: to one server, to the primary that Sentinels name, or to a cluster."""

import asyncio
import contextlib
import functools
import re
import ssl
from collections.abc import Sequence
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio import (
    ConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError

from kiai.errors import Refused
from kiai.realtime.redis_connection import Done, RedisConnection
from kiai.redis_url import RedisAddress, parse_redis_url

TIMEOUT_S: Final = 5.0
CONNECT_S: Final = 2.0
CONNECTIONS_MAX: Final = 64
CLUSTER_PIPELINES: Final = 3
"""Pipelines that may have the same node of a cluster (key_groups.py), each with CONNECTIONS_MAX connections."""
# Sentinels are asked one after another for each new connection, so a dead one must not take the time of a request.
SENTINEL_S: Final = 0.5
# An answer that took this long may come from a server that has hung while another one became the primary.
SUSPICIOUS_S: Final = 0.25
_REJECTED: Final = re.compile(r"certificate verify failed: (.*?)\.?(?: \(_ssl\.c:\d+\)|$)", re.DOTALL)


class _PrimaryPool(SentinelConnectionPool):
    """Closes connections to a former primary. The library's pool would keep those that are in use at the change."""

    async def release(self, connection: Any) -> None:
        if (connection.host, connection.port) != self.master_address:
            connection.mark_for_reconnect()
        await super().release(connection)


def connect(url: str) -> Redis | RedisCluster:
    """Return a client for a URL of the setting `state`. The first command connects.

    A command is never sent twice: after a lost connection, nobody knows whether the server has run it. The caller
    limits the time of a call. Raises Refused for a file of the URL that cannot be used.
    """
    address = parse_redis_url(url)
    tls = _tls(address)
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": CONNECT_S,
    }
    if address.cluster:
        return RedisCluster(
            socket_timeout=TIMEOUT_S,
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS_MAX * CLUSTER_PIPELINES,
            ssl=address.tls,
            **options,
            **tls,
        )
    options |= {"db": address.database, "max_connections": CONNECTIONS_MAX}
    if address.service is not None:
        sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts,
            sentinel_kwargs={
                "username": address.sentinel_username,
                "password": address.sentinel_password,
                "socket_timeout": SENTINEL_S,
                "socket_connect_timeout": SENTINEL_S,
                "retry": Retry(NoBackoff(), 0),  # the next Sentinel answers sooner
                **({"ssl": True, **tls} if address.tls else {}),
            },
        )
        encrypted = {"ssl": True, **tls} if address.tls else {}
        primary: Redis = sentinels.master_for(
            address.service, connection_pool_class=_PrimaryPool, **options, **encrypted
        )
        return primary
    if address.path is not None:
        return Redis.from_pool(ConnectionPool(UnixDomainSocketConnection, path=address.path, **options))
    [(host, port)] = address.hosts
    if address.tls:
        return Redis.from_pool(ConnectionPool(SSLConnection, host=host, port=port, **options, **tls))
    return Redis.from_pool(ConnectionPool(host=host, port=port, **options))


def _tls(address: RedisAddress) -> dict[str, Any]:
    """Return the options for TLS. Reads the files once, because the library would report an error without a name."""
    if not address.tls:
        return {}
    context = ssl.create_default_context()
    try:
        if "ssl_ca_certs" in address.files:
            context.load_verify_locations(address.files["ssl_ca_certs"])
        if "ssl_certfile" in address.files:
            context.load_cert_chain(address.files["ssl_certfile"], address.files.get("ssl_keyfile"))
    except OSError as error:
        reason = "they are not the PEM files that it needs" if isinstance(error, ssl.SSLError) else error.strerror
        names = ", ".join(f"{name} {path}" for name, path in sorted(address.files.items()))
        raise Refused(f"the setting state cannot use {names}: {reason}; correct the paths") from error
    return {
        "ssl_cert_reqs": "required" if address.verified else "none",
        "ssl_check_hostname": address.verified and address.checks_name,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        **address.files,
    }


class ServerRoute:
    """The way to one Redis, or to the primary that Sentinels name. Without Sentinels the primary never changes.

    A primary that hangs and continues still answers the calls that it has received. Sentinel makes it a replica seconds
    later, and what it has stored until then is lost. So its answers must not count.
    """

    def __init__(self, redis: Redis) -> None:
        self._connections: Any = redis.connection_pool
        self._primary_pool = self._connections if isinstance(self._connections, _PrimaryPool) else None
        self._unused: list[RedisConnection] = []  # they have answered; the last one is at the end

    async def primary(self, *, after_failure: bool) -> object:
        """Return the primary that new connections lead to. Asks Sentinel after a failure. Raises as a call does."""
        if self._primary_pool is None:
            return None
        return await self._ask() if after_failure else self._primary_pool.master_address

    def send_at_once(self, commands: Sequence[tuple[Any, ...]], done: Done) -> RedisConnection | None:
        """Send the commands over a connection that has answered before. Return it, or None without one.

        `done` gets the answers, or an exception, in a later turn of the event loop.
        """
        if self._primary_pool is not None or not self._unused or not self._unused[-1].is_open:
            return None
        packed = b"".join(map(pack_command, commands))
        connection = self._unused.pop()

        def answered(outcome: list[Any] | Exception) -> None:
            self._unused.append(connection)  # also a closed one: `_connection` gives it back to the library
            done(outcome)

        connection.send(packed, len(commands), answered)
        return connection

    async def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send the commands together. Return the answer of each, which may be an exception."""
        packed = b"".join(map(pack_command, commands))
        connection = await self._connection()
        answers: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        try:
            connection.send(packed, len(commands), functools.partial(_resolve, answers))
            found = await answers
        except BaseException:
            connection.close(RedisConnectionError("the call has ended"))
            await self._give_back(connection)
            raise
        if self._leads_to_primary(connection):
            self._unused.append(connection)
        else:
            await self._give_back(connection)
        return found

    async def _connection(self) -> RedisConnection:
        while self._unused:
            connection = self._unused.pop()
            if self._leads_to_primary(connection) and connection.is_open:
                return connection
            await self._give_back(connection)
        return RedisConnection(await self._connections.get_connection())

    async def _give_back(self, connection: RedisConnection) -> None:
        connection.opened.mark_for_reconnect()
        await self._connections.release(connection.opened)

    def _leads_to_primary(self, connection: RedisConnection) -> bool:
        if self._primary_pool is None:
            return True
        opened = connection.opened
        return bool((opened.host, opened.port) == self._primary_pool.master_address)

    async def _ask(self) -> object:
        """Return the primary that Sentinel names. The pool closes its unused connections if it is another one."""
        assert self._primary_pool is not None
        return await self._primary_pool.get_master_address()  # type: ignore[no-untyped-call]

    async def has_changed(self, primary: object, seconds: float) -> bool:
        """Return whether an answer after this time may come from a server that is no longer the primary."""
        if self._primary_pool is None or primary is None:
            return False
        if seconds >= SUSPICIOUS_S:
            try:
                await self._ask()
            except (RedisError, OSError, TimeoutError):
                return True
        return bool(self._primary_pool.master_address != primary)

    def is_demoted(self, error: Exception) -> bool:
        """Return whether the server is not the primary. Redis 6 puts this code into the text of the script's error."""
        return "READONLY" in str(error) or "NOREPLICAS" in str(error)

    async def drop_idle(self) -> None:
        """Close the unused connections, so that the next calls connect to the server that is the primary then."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            while self._unused:
                await self._give_back(self._unused.pop())
            await self._connections.disconnect(inuse_connections=False)


def _resolve(answers: "asyncio.Future[list[Any]]", outcome: list[Any] | Exception) -> None:
    if answers.done():  # the call was cancelled
        return
    if isinstance(outcome, Exception):
        answers.set_exception(outcome)
    else:
        answers.set_result(outcome)


def reason_of(error: BaseException) -> str:
    """Return why a call of Redis has failed, with what the operator can do if the certificate is the reason."""
    text = str(error)
    if isinstance(error, MovedError) or "non local key" in text:
        return "this Redis is part of a cluster; begin the setting state with redis+cluster:// or rediss+cluster://"
    if "Cluster mode is not enabled" in text:
        return "this Redis is not part of a cluster; begin the setting state with redis:// or rediss://"
    if rejected := _REJECTED.search(text):
        return (
            f"the certificate of Redis is rejected: {rejected[1]}; name its authority in ssl_ca_certs and a host of "
            "the certificate in the URL of the setting state"
        )
    return text or "no answer"
