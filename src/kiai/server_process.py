"""The server process: opens the stores, listens, serves and shuts down.

`kiai serve` reads flags and settings and then replaces itself with this module (`exec_server.py`). The command line,
its parser and the validation of settings are then no longer in memory, which saves 20 MB of 80.
"""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

if __name__ == "__main__":
    # Before the slow imports: the supervisor's event loop starts workers with default signal handlers, and a SIGHUP
    # during the imports would kill this process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # it waits for `log_on_signal`
    # PERF: garbage collections find nothing in what is imported, and took a quarter of the time of the start.
    gc.disable()
    # PERF: the package uvicorn imports its command line with multiprocessing, which takes 1.4 MB. Nothing calls it.
    sys.modules["uvicorn.main"] = cast(ModuleType, SimpleNamespace(Server=None, main=None, run=None))

# PERF: structlog imports rich, if it is installed, to colour tracebacks. The server never does, and saves 3 MB of 80.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import msgspec
import uvloop
from uvicorn.config import Config
from uvicorn.server import Server

from kiai import logs
from kiai.app import Services, open_services
from kiai.clock import SystemClock
from kiai.errors import KiaiError, Refused
from kiai.exec_server import (
    DEMO_FIRST,
    FIGURES_IN,
    STARTED_AT,
    SUPERVISOR,
    TOP_ON,
    announce,
    exec_supervisor,
    number_after,
    read_settings,
)
from kiai.faces.guard import GuardedProtocol
from kiai.faces.handshakes import TlsListener
from kiai.listening import (
    BACKLOG,
    HttpSockets,
    IrcSockets,
    announce_irc,
    announce_ready,
    detached,
    inherited_irc,
    inherited_sockets,
    listen_for_irc,
    listen_for_players,
)
from kiai.machine.open_files import allow_open_files, needed_files
from kiai.secret_box import SecretBox
from kiai.served_figures import FiguresSender, opened_figures_socket
from kiai.served_port import write_port
from kiai.served_profile import ProfileSender, opened_profile_socket
from kiai.server import HttpServer
from kiai.server_settings import Settings
from kiai.shared_memory import SharedMemory
from kiai.stacks import log_on_signal
from kiai.stopping import StopBudget, end_process
from kiai.stores import check_database, lock_data_folder, make_data_folder, unusable_data_folder
from kiai.tls.folder import TlsFolder
from kiai.tls.plan import plan_of
from kiai.version import VERSION

if TYPE_CHECKING:
    from kiai.tls.serving import ServedCertificate

LOCK_WAIT_S: Final = 0.3
# Shares of the budget of a stop (`stopping.py`). The time that a part does not use is for the parts after it.
SHUTDOWN_GRACE_S: Final = 6  # for running requests; IRC and its sessions end meanwhile
CANCEL_WAIT_S: Final = 0.7  # for the answers of cancelled requests
AFTER_REQUESTS_S: Final = 2.1  # reserved for everything after the requests
AFTER_JOBS_S: Final = 1.4  # reserved for saving, and for closing the stores
CLOSING_S: Final = 0.5  # reserved for closing the stores
DEMO: Final = {"players": 50, "maps": 20, "scores": 2_000, "seed": 1}


@contextlib.contextmanager
def locked_data_folder(data: Path) -> Iterator[None]:
    """Lock the data folder for the duration of the block. Raises Refused if another server has it.

    Two embedded servers on one folder would each have their own sessions and ranks in memory.
    """
    make_data_folder(data)
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            lock = lock_data_folder(data)
            break
        except BlockingIOError as error:
            # `kiai doctor` takes a shared lock for a moment to see whether a server runs.
            if time.monotonic() > until:
                raise Refused(f"another server already runs on {data}; stop it, or choose another --data") from error
            time.sleep(0.05)
    try:
        yield
    finally:
        os.close(lock)


def _prepare_tls(settings: Settings) -> None:
    """Prepare the certificate. Raises Refused and Unavailable if no certificate fits."""
    # PERF: with TLS only: `cryptography` takes 16 MB.
    if settings.has_tls:
        from kiai.tls.serving import prepare_certificate, read_fitting

        make_data_folder(settings.data)  # with PostgreSQL and Redis nothing else has made it yet
        plan, folder, now_ms = plan_of(settings), TlsFolder(settings.data), SystemClock().now_ms()
        prepare_certificate(plan, folder, now_ms)
        read_fitting(plan, folder, now_ms)
    else:
        TlsFolder(settings.data).forget_plan()  # `kiai doctor` would report on a certificate that is not used


async def _serve_certificate(services: Services) -> "ServedCertificate | None":
    settings = services.settings
    if not settings.has_tls:
        return None
    from kiai.tls.serving import ServedCertificate

    plan, folder, clock = plan_of(settings), TlsFolder(settings.data), services.clock
    if settings.database is None or plan.mode != "auto":
        return ServedCertificate(plan, folder, clock)
    from kiai.shared_certificate import SharedCertificate

    sharing = SharedCertificate(services.database, SecretBox(settings.data, clock), plan, folder, clock)
    with contextlib.suppress(KiaiError):  # the job that follows it reports why
        await sharing.take_over()
    return ServedCertificate(plan, folder, clock, sharing)


async def _serve(
    settings: Settings,
    *,
    demo: bool,
    listen_on: HttpSockets | None = None,
    supervisor: int | None = None,
    started_ms: int | None = None,
    slots: SharedMemory | None = None,
    irc: IrcSockets | None = None,
    top: socket.socket | None = None,
) -> None:
    logs.configure(settings.log, settings.log_level)
    logs.follow_loop(asyncio.get_running_loop())
    log_on_signal(asyncio.get_running_loop())
    log = logs.get_logger("serve")
    budget = StopBudget()
    announces = asyncio.Event()
    if supervisor is None:
        announces.set()
    else:  # of several workers the supervisor chooses one
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, announces.set)
    try:
        lock = locked_data_folder(settings.data) if settings.database is None else contextlib.nullcontext()
        sockets = listen_for_players(settings) if listen_on is None else listen_on
        irc = listen_for_irc(settings) if irc is None else irc
        with lock, contextlib.closing(sockets.main) as listening, contextlib.ExitStack() as opened:
            if supervisor is None:
                _prepare_tls(settings)
            # The port that the system has chosen for port 0, for links to this server.
            settings = msgspec.structs.replace(settings, port=listening.getsockname()[1])
            if settings.is_local or settings.has_tls:
                write_port(settings.data, settings.port)
            await check_database(settings)
            async with budget.closing(open_services(settings, serving=True)) as services:
                if demo and await services.accounts.total() == 0:
                    await _make_demo(services)
                if supervisor is None:
                    await _announce_claim(services)
                if started_ms is not None:
                    services.community.set_start(started_ms)
                access_log = logs.AccessLog(settings.log, settings.log_level, settings.poll_every)
                server = HttpServer(services, access_log, slots, await _serve_certificate(services))
                server.stop_server = functools.partial(_stop_server, supervisor)
                await server.begin()
                if not settings.rate_limits:
                    log.warning("rate limits are off", why="KIAI_RATE_LIMITS=off")
                # PERF: the objects built so far live as long as the process. `freeze` takes them out of garbage
                # collections. The higher thresholds make collections rarer: a dozen requests reach the default ones.
                gc.collect()
                gc.freeze()
                gc.set_threshold(20_000, 20, 20)
                server.jobs.start()
                if supervisor is None:
                    await _announce_start(services)
                if supervisor is None:
                    top = opened.enter_context(opened_figures_socket(settings.data))
                asked = opened.enter_context(opened_profile_socket(settings.data))
                senders: list[FiguresSender | ProfileSender] = []
                if top is not None:
                    senders.append(FiguresSender(top, server.figures))
                if asked is not None:
                    senders.append(ProfileSender(asked))
                try:
                    for sender in senders:
                        sender.start()
                    if server.irc is not None:
                        await server.irc.listen(irc.plain, irc.encrypted)
                    await _run(server, sockets, supervisor, irc, budget)
                finally:
                    for sender in senders:
                        sender.stop()
                    await _stop(server, services, budget, announces=announces.is_set())
                    await access_log.write_left_out()
                    access_log.close()
    except PermissionError as error:
        raise unusable_data_folder(settings.data, error) from error


async def _stop(server: HttpServer, services: Services, budget: StopBudget, *, announces: bool) -> None:
    """Do what a stop does after the requests have ended and before the stores are closed."""
    if server.irc is not None:
        await budget.run("IRC", server.irc.stop(), reserve_s=AFTER_REQUESTS_S)
    # Before saving: a job that still runs could change what is saved.
    within_s = budget.left_s(reserve_s=AFTER_JOBS_S)
    await budget.run("jobs", server.jobs.stop(within_s), reserve_s=AFTER_JOBS_S)
    saving = [budget.run("saving", server.save_sessions(), reserve_s=CLOSING_S)]
    if announces:
        saving.append(budget.run("webhooks", _announce_stop(services), reserve_s=CLOSING_S))
    await asyncio.gather(*saving)
    server.metrics.publish_once()
    if server.tracing is not None:
        await budget.run("traces", server.tracing.close(), reserve_s=CLOSING_S)


async def _make_demo(services: Services) -> None:
    from kiai.demo import build

    print("kiai: creating demo data ...", file=sys.stderr)
    await build(services, progress=lambda done, total: None, **DEMO)


def _stop_server(supervisor: int | None) -> None:
    """Stop this server as SIGTERM does. A worker asks its supervisor, so that all workers stop and none is replaced."""
    if supervisor is None:
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGUSR2)


async def _announce_claim(services: Services) -> None:
    """Print the claim code with which the first owner is made, on a public domain without an owner."""
    if not services.settings.is_local:
        with contextlib.suppress(Refused):  # the server has an owner
            announce(f"claim {(await services.ownership.claim_code()).code}")


async def _announce_start(services: Services) -> None:
    """Tell webhooks that the server runs. With several workers the supervisor calls this, and a worker delivers."""
    with contextlib.suppress(KiaiError):  # a server starts without its webhooks
        await services.community.webhooks.announce("server_start", {"version": VERSION})


async def _announce_stop(services: Services) -> None:
    """Tell webhooks that the server stops."""
    with contextlib.suppress(KiaiError):
        await services.community.webhooks.deliver_stop()


async def _run(
    server: HttpServer, sockets: HttpSockets, supervisor: int | None, irc: IrcSockets, budget: StopBudget
) -> None:
    certificate, listening = server.certificate, sockets
    encrypted: list[TlsListener] = []
    plain = [one for one in (sockets.main if certificate is None else None, sockets.plain) if one is not None]
    ended: set[asyncio.Task[None]] = set()  # the event loop has only weak references to tasks

    class Uvicorn(Server):
        """Announces when it is ready, and returns on SIGTERM (docs/decisions/013).

        uvicorn raises the signal again after its shutdown, so the process would end with a signal instead of 0.
        """

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if certificate is not None:
                listener = TlsListener(
                    listening.main, self.make_protocol, lambda: certificate.context, server.protocol.ledger
                )
                listener.start(BACKLOG)
                encrypted.append(listener)
            if supervisor is None:
                announce_ready("http" if certificate is None else "https", listening)
                announce_irc(irc)
            else:
                announce("ready ")

        def make_protocol(self) -> GuardedProtocol:
            return server.protocol(config=config, server_state=self.server_state, app_state={})

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await asyncio.gather(*(listener.stop() for listener in encrypted))
            await super().shutdown(sockets)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            if certificate is not None and supervisor is None:  # a supervisor replaces its workers at SIGHUP
                loop.add_signal_handler(signal.SIGHUP, certificate.reload)
            yield

        def stop(self) -> None:
            # A second signal from a user ends the process at once. A worker ignores it: systemd also sends the signal
            # to workers, and the supervisor has SIGKILL.
            if self.should_exit:
                if supervisor is None:
                    self.force_exit = True
                    budget.hurry()
                return
            self.should_exit = True
            budget.begin()
            server.health.stopping = True
            server.site.live.close()
            server.events.close()  # open streams would delay the stop by the whole grace period
            if server.irc is not None:
                ended.add(asyncio.get_running_loop().create_task(server.irc.stop()))

        async def on_tick(self, counter: int) -> bool:
            # Runs ten times a second. A worker whose supervisor was killed must end, or it would occupy the port.
            if supervisor is not None and os.getppid() != supervisor and not self.should_exit:
                self.stop()
            return await super().on_tick(counter)

    config = Config(
        server.app,
        http=server.protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # faces/front.py evaluates X-Forwarded-For with the setting trusted_proxy
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        backlog=BACKLOG,
    )
    running = Uvicorn(config)
    await running.serve(sockets=plain)
    if running.server_state.tasks and not running.force_exit:
        # uvicorn has cancelled the requests that exceeded the grace period. Each still sends its 503 and logs its line.
        within_s = budget.left_s(reserve_s=AFTER_REQUESTS_S, most_s=CANCEL_WAIT_S)
        await asyncio.wait(running.server_state.tasks, timeout=within_s)


async def _prepare_cluster(settings: Settings, *, demo: bool) -> dict[str, int]:
    """Do what several workers need once, before the first one starts: demo data, the claim code, sockets, TLS.

    Return the file descriptors of the listening sockets, by the flag with which the supervisor inherits each.
    """
    logs.configure(settings.log, settings.log_level)
    if settings.database is None or settings.state is None:
        raise Refused("several workers need --database postgresql://... and --state redis://...")
    async with open_services(settings) as services:
        if demo and await services.accounts.total() == 0:
            await _make_demo(services)
        await _announce_claim(services)
        await _announce_start(services)
    sockets = listen_for_players(settings)
    sockets.main.listen(BACKLOG)
    _prepare_tls(settings)
    return detached(sockets, listen_for_irc(settings))


def _slots(arguments: list[str]) -> SharedMemory | None:
    found = [argument.removeprefix(FIGURES_IN) for argument in arguments if argument.startswith(FIGURES_IN)]
    if not found:
        return None
    descriptor, mine, count = map(int, found[0].split(","))
    return SharedMemory(descriptor, count, mine)


def main(arguments: list[str]) -> int:
    """Run the server with the arguments from `exec_server.py` and return its exit code."""
    # PERF: what is imported stays. Without `freeze`, two collections of 600,000 objects took 0.3 s of the start.
    gc.freeze()
    gc.enable()
    try:
        settings, settings_json = read_settings(arguments)
        allow_open_files(needed_files(settings.connections_max))
        demo, listen_on = DEMO_FIRST in arguments, inherited_sockets(arguments)
        # Never closed, and it stays the loop of this thread: closing it waits for threads, e.g. one that resolves a
        # name, and the process ends now anyway.
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        asyncio.set_event_loop(runner.get_loop())
        if settings.workers > 1 and listen_on is None:
            exec_supervisor(settings_json, runner.run(_prepare_cluster(settings, demo=demo)))
        supervisor, top = number_after(SUPERVISOR, arguments), number_after(TOP_ON, arguments)
        runner.run(
            _serve(
                settings,
                demo=demo,
                listen_on=listen_on,
                supervisor=supervisor,
                started_ms=number_after(STARTED_AT, arguments),
                slots=_slots(arguments),
                irc=None if supervisor is None else inherited_irc(arguments),
                top=None if top is None else socket.socket(fileno=top),
            )
        )
    except KiaiError as error:
        print(f"kiai: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
