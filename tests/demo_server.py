"""A server on the demo data with a fixed clock, players online and a match in progress.

It serves on a real socket in its own thread. The data is the same in every run, so tests can compare whole answers.
A run composes the demo data once; each server has a copy of it.
"""

import asyncio
import contextlib
import shutil
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import uvicorn
from tests import runs
from tests.patience import patiently

from kiai.app import Services, open_services
from kiai.beatmaps import MapStatus
from kiai.clock import ManualClock
from kiai.demo import build
from kiai.faces.api.copies import Copies
from kiai.logs import AccessLog
from kiai.multiplayer import commands
from kiai.realtime.port import Session, Status
from kiai.samples import MINUTE_MS, SETTLED_MS, Sample
from kiai.scores.flags import Finding
from kiai.server import HttpServer
from kiai.server_process import DEMO
from kiai.server_settings import Settings
from kiai.settings import load_settings
from kiai.staff import OPERATOR
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import medals

T = TypeVar("T")

NOW_MS: Final = 1_800_000_000_000  # 2027-01-15T08:00:00Z, after every event in the demo data
DAY_S: Final = 86_400
BEGIN_MS: Final = NOW_MS - 3 * DAY_S * 1000
START_S: Final = 20.0  # on an idle machine
PLAYER: Final = 8  # in a clan, online, in the match
SUPPORTER: Final = 4
NEWCOMER: Final = 11  # without a clan, as HOST is
RESTRICTED: Final = 43
HOST: Final = 13  # online, plays the match against PLAYER
MODERATOR: Final = 44
DEVELOPER: Final = 45
MAP: Final = 900_003
PENDING_MAP: Final = 900_019
FLAGGED_SCORE: Final = 63
_SCORE: Final = 654_321
_MEDALS: Final = Command(medals.insert())


class DemoServer:
    """The address of the server, API keys, and a way to run code inside it."""

    def __init__(
        self, port: int, keys: dict[int, str], services: Services, copies: Copies, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.keys = keys
        self.services = services
        self.copies = copies
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop of the server."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(patiently(START_S))


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the test runner handles signals


@contextlib.contextmanager
def demo_server(data: Path, state: str | None = None) -> Iterator[DemoServer]:
    """Run the server on a new data folder. `state` is the URL of an empty Redis."""
    shutil.copytree(runs.once("demo-world", _compose), data)
    started = threading.Event()
    found: list[DemoServer | BaseException] = []
    stopping = asyncio.Event()

    def main() -> None:
        try:
            asyncio.run(
                _serve(
                    load_settings(data=data, log_level="error", state=state, nomination_mode=True),
                    found,
                    started,
                    stopping,
                )
            )
        except BaseException as error:
            found.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=main, name="demo server")
    thread.start()
    try:
        assert started.wait(patiently(START_S)), "the demo server does not start"
        server = found[0]
        if isinstance(server, BaseException):
            raise server
        yield server
    finally:
        if found and isinstance(found[0], DemoServer):
            with contextlib.suppress(RuntimeError):  # it has ended already
                found[0]._loop.call_soon_threadsafe(stopping.set)
        thread.join(patiently(START_S))
    if len(found) > 1:
        raise cast("BaseException", found[1])


def _compose(data: Path) -> None:
    """Write the demo data into a new data folder."""

    async def compose() -> None:
        settings = load_settings(data=data, log_level="error")
        async with open_services(settings, clock=ManualClock(BEGIN_MS)) as services:
            await build(services, progress=lambda done, total: None, **DEMO)

    with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop
        thread.submit(asyncio.run, compose()).result()


async def _serve(
    settings: Settings, found: list[DemoServer | BaseException], started: threading.Event, stopping: asyncio.Event
) -> None:
    clock = ManualClock(BEGIN_MS)
    async with open_services(settings, clock=clock) as services:
        log = AccessLog(settings.log, settings.log_level)
        server = HttpServer(services, log)
        await server.begin()
        await services.outbox.deliver()
        keys = {
            user_id: await services.api_keys.issue(user_id)
            for user_id in (PLAYER, SUPPORTER, RESTRICTED, HOST, NEWCOMER)
        }
        await _add_staff(services, keys)
        await _live(services, clock)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            config = uvicorn.Config(
                server.front,
                http=server.protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
            )
            runner = _Uvicorn(config)
            serving = asyncio.create_task(runner.serve(sockets=[listening]))
            while not runner.started:
                assert not serving.done()
                await asyncio.sleep(0.01)
            loop = asyncio.get_running_loop()
            found.append(DemoServer(listening.getsockname()[1], keys, services, server.copies, loop))
            started.set()
            await stopping.wait()
            server.health.stopping = True
            server.events.close()
            runner.should_exit = True
            await serving
        log.close()


async def _add_staff(services: Services, keys: dict[int, str]) -> None:
    """Make a player a moderator and nominator, with a key, a flag to close and a pending map, and one a developer."""
    moderator = await services.accounts.user(id=MODERATOR)
    await services.staff.grant(OPERATOR, moderator.name, ["moderator", "nominator"])
    developer = await services.accounts.user(id=DEVELOPER)
    await services.staff.grant(OPERATOR, developer.name, ["developer"])
    keys[DEVELOPER] = await services.api_keys.issue(DEVELOPER)
    pending = await services.beatmaps.find(id=PENDING_MAP)
    await services.staff.set_map_status(OPERATOR, [pending], MapStatus.PENDING)
    keys[MODERATOR] = await services.api_keys.issue(MODERATOR)
    figures = {"average_frametime_ms": 10.7, "upper_frametime_ms": 11.3, "frames": 5_120, "threshold": 12}
    details = "10.7 ms from frame to frame; the game records one each 16 ms"
    flag = Finding(PLAYER, FLAGGED_SCORE, "timewarp", details, figures)

    async def add(tx: Transaction) -> None:
        await services.flags.raise_within(tx, [flag])

    await services.database.transaction(add)


async def _live(services: Services, clock: ManualClock) -> None:
    """Create data that the demo lacks: ranks of several days, a medal, sessions, a finished and a running match."""
    for _ in range(3):
        await services.showcase.history.save_day()
        clock.advance(DAY_S)
    await services.site.uptime.sample()
    last_minute = (clock.now_ms() - SETTLED_MS) // MINUTE_MS - 1
    for minute, requests in ((last_minute - 2, 620), (last_minute, 580)):  # the server was down for a minute
        sample = Sample(minute, 60, requests, errors=0, submissions=4, p99_ms=38.25, lag_ms=2.1, online=3)
        await services.site.samples.add("demo", sample)
    news = services.settings.data / "news"
    news.mkdir()
    (news / "2027-01-10-season-two.md").write_text("# Season two\n\nThe second **season** begins today.\n", "utf-8")
    await services.showcase.history.save_day()
    await services.showcase.countries.refresh()
    await services.clans.refresh_totals()

    best = (await services.profiles.best_of(PLAYER, 0, limit=1))[0].score

    async def unlock(tx: Transaction) -> None:
        await tx.run(_MEDALS, user_id=PLAYER, medal_id=1, unlocked_at_ms=best.play_time_ms, score_id=best.id)

    await services.database.transaction(unlock)
    sessions = {user_id: await log_in(services, user_id) for user_id in (HOST, PLAYER)}
    clock.advance(60)
    played = await services.beatmaps.find(id=MAP)
    name = f"{played.artist} - {played.title} [{played.version}]"
    for title in ("Friday scrim", "Open room"):
        seated = await services.matches.create(
            sessions[HOST], name=title, map_id=MAP, map_md5=played.md5, map_name=name
        )
        sessions[HOST] = seated.session
        joined = await services.matches.join(sessions[PLAYER], seated.match_id, "")
        sessions[PLAYER] = joined.session
        await _play_once(services, clock, sessions)
        if title == "Friday scrim":
            for user_id in (PLAYER, HOST):
                sessions[user_id] = await services.matches.leave(sessions[user_id])
    await services.match_history.flush()
    status = Status(action=5, info_text=name, map_md5=played.md5, map_id=MAP, mode=0)
    await services.presence.set_status(sessions[PLAYER], status)


async def log_in(services: Services, user_id: int) -> Session:
    """Open a session of a player as the game does."""
    user = await services.accounts.user(id=user_id)
    session = Session(
        token=services.ids.session_token(),
        user_id=user.id,
        name=user.name,
        priv=user.priv,
        country=user.country,
        login_time_ms=services.clock.now_ms(),
    )
    return await services.presence.open_session(session)


async def _play_once(services: Services, clock: ManualClock, sessions: dict[int, Session]) -> None:
    """Play the map of the match from start to end."""
    await services.matches.act(sessions[HOST], commands.Start)
    for user_id, score in ((HOST, _SCORE), (PLAYER, _SCORE - 12_345)):
        frame = struct.pack("<iBHHHHHHiHHBB", 0, 0, 90, 8, 1, 20, 5, 1, score, 150, 3, 0, 200)
        await services.matches.score_frame(sessions[user_id], frame)
    clock.advance(90)
    for user_id in (PLAYER, HOST):
        await services.matches.act(sessions[user_id], commands.Complete)
