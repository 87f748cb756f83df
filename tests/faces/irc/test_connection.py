"""A connection of the IRC gateway whose client is gone."""

import asyncio
import time

import uvloop
from tests.patience import patiently

from kiai.faces.irc.connection import Connection
from kiai.faces.irc.names import IrcNames

NAMES = IrcNames("ppy.sh", "https://osu.ppy.sh/", "https://osu.ppy.sh/", "BanchoBot")
WAIT_S = 10.0


def test_nothing_is_sent_to_a_client_that_is_gone() -> None:
    async def scenario() -> None:
        opened: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = Connection(reader, writer, NAMES, address="127.0.0.1", network="127.0.0.1", now=time.time)
            await reader.read()  # until the client has closed the connection
            writer.transport.abort()
            await asyncio.sleep(0.01)
            opened.set_result(connection)

        async with asyncio.timeout(patiently(WAIT_S)):
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.close()
            connection = await opened
            server.close()
        connection.send("NOTICE anna :hello")
        connection.close("Server restarting")

        assert connection.is_closing()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
