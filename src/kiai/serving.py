"""The server's own process: everything that runs between `ready` and the last answer.

`python -m kiai.serving` is what `kiai serve` becomes once its flags and settings are read (`handing_over.py`): the
command line, its parser, its colours and the validation of settings are then no longer in memory (20 MB of 80).
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

if __name__ == "__main__":
    # Before all that takes time: the loop of the process above starts its workers with every signal at its default.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

# structlog looks for rich, to colour tracebacks that a server never shows: 3 MB of 80.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import msgspec
import uvicorn
import uvloop

from kiai import logs
from kiai.app import LOCAL, Server, Services, open_services
from kiai.errors import KiaiError, Refused, Unavailable
from kiai.handing_over import DEMO_FIRST, FIGURES_IN, LISTEN_ON, SETTINGS_FROM, SUPERVISOR, announce
from kiai.opening import check_database, lock_data_folder, make_data_folder
from kiai.slots import Slots
from kiai.supervising import Supervisor

if TYPE_CHECKING:
    from kiai.settings import Settings

GRACE_S: Final = 7  # with what is cancelled then, and with closing, a stop takes less than 10 s
LOCKED_S: Final = 0.3
CANCELLED_S: Final = 1
BACKLOG: Final = 2_048
DEMO: Final = {"players": 50, "maps": 20, "scores": 2_000, "seed": 1}


@contextlib.contextmanager
def only_server(data: Path) -> Iterator[None]:
    """Holds the data folder: two embedded servers on one folder would each keep its own ranks. Raises Refused."""
    make_data_folder(data)
    until = time.monotonic() + LOCKED_S
    while True:
        try:
            lock = lock_data_folder(data)
            break
        except BlockingIOError as error:
            # `kiai doctor` holds it for a moment to see whether somebody serves.
            if time.monotonic() > until:
                raise Refused(f"another server already runs on {data}; stop it, or choose another --data") from error
            time.sleep(0.05)
    try:
        yield
    finally:
        os.close(lock)


def _listen(settings: "Settings") -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        where = f"{settings.host}:{settings.port}"
        raise Unavailable(f"address {where}", f"{error.strerror}; choose another with --host or --port") from error
    return listening


async def _serve(
    settings: "Settings",
    *,
    demo: bool,
    listen_on: int | None = None,
    supervisor: int | None = None,
    slots: Slots | None = None,
) -> None:
    logs.configure(settings.log, settings.log_level)
    log = logs.get_logger("serve")
    try:
        lock = only_server(settings.data) if settings.database is None else contextlib.nullcontext()
        socket_of = _listen(settings) if listen_on is None else socket.socket(fileno=listen_on)
        with lock, contextlib.closing(socket_of) as listening:
            await check_database(settings)
            async with open_services(settings, serving=True) as services:
                if demo and await services.accounts.total() == 0:
                    await _make_demo(services)
                await services.begin()
                if supervisor is None:
                    await _announce_claim(services)
                access_log = logs.AccessLog(settings.log, settings.log_level)
                server = Server(services, access_log, slots)
                if not settings.rate_limits:
                    log.warning("rate limits are off", why="KIAI_RATE_LIMITS=off")
                # PERF: what was built so far lives as long as the process: the collector need not walk it again, and
                # may wait for more than the litter of a dozen requests.
                gc.collect()
                gc.freeze()
                gc.set_threshold(20_000, 20, 20)
                server.jobs.start()
                try:
                    await _run(server, listening, supervisor)
                finally:
                    await server.jobs.stop()
                    await services.keep_sessions()
                    server.metrics.leave()
                    access_log.close()
    except PermissionError as error:
        raise Unavailable(f"data folder {settings.data}", f"{error.strerror}; choose another with --data") from error


async def _make_demo(services: Services) -> None:
    from kiai.demo import build

    print("kiai: making a small world for the demo ...", file=sys.stderr)
    await build(services, progress=lambda done, total: None, **DEMO)


async def _announce_claim(services: Services) -> None:
    """Prints the code that makes an owner where logging in makes none, while there is none."""
    if services.settings.domain != LOCAL:
        with contextlib.suppress(Refused):  # there is an owner
            announce(f"claim {(await services.ownership.claim_code()).code}")


async def _run(server: Server, listening: socket.socket, supervisor: int | None) -> None:
    class Uvicorn(uvicorn.Server):
        """Says when it is ready, and ends with exit code 0 on SIGTERM."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            host, port = listening.getsockname()[:2]
            announce(f"ready http://{f'[{host}]' if ':' in host else host}:{port}")

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            yield

        def stop(self) -> None:
            server.house.stopping = True
            server.events.close()  # streams would keep the process for the whole grace
            # Told twice: at once. A supervisor may tell it again, as systemd does, and has SIGKILL for that.
            self.force_exit = self.should_exit and supervisor is None
            self.should_exit = True

        async def on_tick(self, counter: int) -> bool:
            # Ten times a second. A worker whose supervisor was killed would hold the port against the next one.
            if supervisor is not None and os.getppid() != supervisor and not self.should_exit:
                self.stop()
            return await super().on_tick(counter)

    config = uvicorn.Config(
        server.front,
        http=server.protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whose X-Forwarded-For counts is our own setting (faces/front.py)
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    running = Uvicorn(config)
    await running.serve(sockets=[listening])
    if running.server_state.tasks and not running.force_exit:
        # Requests that the stop no longer waited for were cancelled: each still has its answer and its log line.
        await asyncio.wait(running.server_state.tasks, timeout=CANCELLED_S)


def _settings(arguments: list[str]) -> "tuple[Settings, bytes]":
    """What was handed over: a plain object with the settings' names, so that pydantic (9 MB) is not imported again; and
    the JSON it was made of."""
    [source] = [one for one in arguments if one.startswith(SETTINGS_FROM)]
    with open(int(source.removeprefix(SETTINGS_FROM)), "rb") as pipe:
        settings_json = pipe.read()
    values = msgspec.json.decode(settings_json)
    return cast("Settings", SimpleNamespace(**values | {"data": Path(values["data"])})), settings_json


async def _supervise(settings: "Settings", settings_json: bytes, *, demo: bool) -> int:
    """Several workers: what all of them need is checked and made once, before the first one starts."""
    logs.configure(settings.log, settings.log_level)
    if settings.database is None or settings.state is None:
        raise Refused("several workers need --database postgresql://... and --state redis://...")
    async with open_services(settings) as services:
        if demo and await services.accounts.total() == 0:
            await _make_demo(services)
        await _announce_claim(services)
    with contextlib.closing(_listen(settings)) as listening:
        listening.listen(BACKLOG)
        return await Supervisor(settings_json, settings.workers, listening).run()


def _number(arguments: list[str], flag: str) -> int | None:
    found = [int(one.removeprefix(flag)) for one in arguments if one.startswith(flag)]
    return found[0] if found else None


def _slots(arguments: list[str]) -> Slots | None:
    found = [one.removeprefix(FIGURES_IN) for one in arguments if one.startswith(FIGURES_IN)]
    if not found:
        return None
    descriptor, mine, count = map(int, found[0].split(","))
    return Slots(descriptor, count, mine)


def main(arguments: list[str]) -> int:
    """Runs the server with the settings that were handed over; its exit code."""
    try:
        settings, settings_json = _settings(arguments)
        demo, listen_on = DEMO_FIRST in arguments, _number(arguments, LISTEN_ON)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if settings.workers > 1 and listen_on is None:
                return runner.run(_supervise(settings, settings_json, demo=demo))
            supervisor = _number(arguments, SUPERVISOR)
            slots = _slots(arguments)
            runner.run(_serve(settings, demo=demo, listen_on=listen_on, supervisor=supervisor, slots=slots))
    except KiaiError as error:
        print(f"kiai: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
