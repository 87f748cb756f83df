"""Connections from blocked addresses are closed: new ones at once, open ones by the sweep."""

import asyncio
import contextlib
import socket
from typing import Any, cast

from tests.patience import patiently

from kiai.clock import SystemClock
from kiai.faces.irc.gateway import IrcGateway, IrcLimits
from kiai.faces.irc.hub import BLOCKED, Hub
from kiai.faces.irc.names import names_of
from kiai.presence import Presence
from kiai.realtime.memory import MemoryRealtime
from kiai.settings import load_settings


class Silent:
    """Answers no command."""

    async def handle(self, *_: Any) -> float:
        """Do nothing. Return the price of the command."""
        return 1.0


async def gateway_has(hub: Hub, count: int) -> None:
    """Wait until this number of connections is open."""
    for _ in range(500):
        if sum(not connection.closing for connection in hub.connections) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(hub.connections)


async def everything(reader: asyncio.StreamReader) -> str:
    """Return what arrives until the end, which may be a reset."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1_000):
            found += data
    return found.decode()


def test_connections_of_blocked_addresses_are_closed() -> None:
    async def scenario() -> None:
        blocked: set[str] = set()
        clock = SystemClock()
        hub = Hub(MemoryRealtime(clock), cast(Presence, None), blocked.__contains__)
        gateway = IrcGateway(hub, cast(Any, Silent()), names_of(load_settings()), clock, IrcLimits(10, 10, ()), None)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        await gateway.listen(listening, None)
        place = listening.getsockname()
        reader, writer = await asyncio.open_connection(*place)
        writer.write(b"PING x\r\n")
        await gateway_has(hub, 1)
        await hub.sweep()
        assert not any(connection.closing for connection in hub.connections)

        blocked.add("127.0.0.1")
        await hub.sweep()
        assert BLOCKED in await everything(reader)
        second, other = await asyncio.open_connection(*place)
        assert BLOCKED in await everything(second)

        blocked.clear()
        third, last = await asyncio.open_connection(*place)
        last.write(b"PING x\r\n")
        await gateway_has(hub, 1)
        assert not third.at_eof()
        for one in (writer, other, last):
            one.close()
        await gateway.stop()

    async def in_time() -> None:
        async with asyncio.timeout(patiently(20)):
            await scenario()

    asyncio.run(in_time())
