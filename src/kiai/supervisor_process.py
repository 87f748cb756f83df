"""The process of the supervisor: runs `Supervisor` with the sockets that `server_process.py` has opened.

It lives as long as the server and answers no request, so it imports neither the services nor the stores.
"""

import asyncio
import contextlib
import sys
from typing import Final

# PERF: structlog imports rich, if it is installed, to colour tracebacks. The supervisor never does.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import uvloop

from kiai import logs
from kiai.exec_server import HTTP_ON, IRC_ON, IRC_TLS_ON, TOP_ON, read_settings
from kiai.listening import announce_irc, announce_ready, inherited_irc, inherited_sockets
from kiai.served_figures import opened_figures_socket
from kiai.server_settings import Settings
from kiai.stopping import StopBudget, end_process
from kiai.supervisor import Supervisor

STOP_S: Final = 9.6  # longer than the wait for the workers


async def _supervise(settings: Settings, settings_json: bytes, arguments: list[str]) -> int:
    logs.configure(settings.log, settings.log_level)
    sockets, irc = inherited_sockets(arguments), inherited_irc(arguments)
    assert sockets is not None
    with contextlib.closing(sockets.main), opened_figures_socket(settings.data) as top:
        others = ((HTTP_ON, sockets.plain), (IRC_ON, irc.plain), (IRC_TLS_ON, irc.encrypted), (TOP_ON, top))

        def announce_all() -> None:
            announce_ready("https" if settings.has_tls else "http", sockets)
            announce_irc(irc)

        supervised = Supervisor(
            settings_json,
            settings.workers,
            sockets.main,
            {flag: opened for flag, opened in others if opened is not None},
            on_ready=announce_all,
            on_stop=StopBudget(STOP_S).begin,
        )
        return await supervised.run()


def main(arguments: list[str]) -> int:
    """Run the workers with the arguments from `exec_supervisor`, and return the exit code."""
    settings, settings_json = read_settings(arguments)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return runner.run(_supervise(settings, settings_json, arguments))


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
