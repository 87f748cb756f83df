"""The commands `kiai demo`, `recalc`, `doctor` and `migrate`."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Output,
    errors_as_exit,
    pluralized,
    progress_bar,
    run_with_services,
    settings_of,
    with_services,
)
from kiai.errors import Damaged, Invalid
from kiai.machine.checks import MachineCheck, all_ok
from kiai.osu.modes import parse_mode
from kiai.osu.texts import visible
from kiai.server_settings import Settings

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.demo import DemoReport
    from kiai.machine.facts import RunningServer
    from kiai.scores.recalculation import RecalculationReport
    from kiai.staff.doctor import Diagnosis


def demo(
    players: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Number of players.")] = 50,
    maps: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Number of beatmaps.")] = 20,
    scores: Annotated[int, typer.Option(min=0, max=100_000_000, metavar="N", help="Number of scores.")] = 2_000,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Random seed; the same seed creates the same data.")
    ] = 1,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill an empty data folder with demo data."""
    out = Output(as_json)

    async def work(services: "Services") -> "DemoReport":
        from kiai.demo import build

        with progress_bar(out, "Creating demo data") as progress:
            return await build(services, players=players, maps=maps, scores=scores, seed=seed, progress=progress)

    # All cores, because the pp of each score is computed. `create`, because the data folder need not exist.
    report = with_services(
        out, lambda: settings_of(data, database=database, workers_pp=os.cpu_count()), work, create=True
    )
    out.result(
        msgspec.to_builtins(report),
        f"Created {pluralized(report.players, 'player')}, {pluralized(report.maps, 'map')} "
        f"and {pluralized(report.scores, 'score')}.",
    )


def recalc(
    mode: Annotated[str | None, typer.Option("--mode", metavar="M", help="Only this mode.")] = None,
    map_id: Annotated[int | None, typer.Option("--map", metavar="ID", help="Only this beatmap.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Only this player.")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, max=64, help="Number of worker processes.")
    ] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recalculate pp and stats. An interrupted run is resumed."""
    from kiai.scores.replay_import import STAFF

    out = Output(as_json)

    async def work(services: "Services") -> "RecalculationReport":
        number = None if mode is None else parse_mode(mode)
        if mode is not None and number is None:  # None would recalculate all modes
            raise Invalid("mode", "0 to 6 or 8", mode)
        beatmap = await services.beatmaps.find(id=map_id) if map_id is not None else None
        player = await services.accounts.user(STAFF, name=user) if user is not None else None
        with progress_bar(out, "Computing pp") as progress:
            return await services.recalculation.run(mode=number, beatmap=beatmap, user=player, progress=progress)

    report = with_services(out, lambda: settings_of(data, database=database, workers_pp=jobs), work)
    lines = [
        f"Recalculated {pluralized(report.scores, 'score')} ({report.changed} changed) "
        f"and the stats of {pluralized(report.players, 'player')}{' (resumed)' if report.resumed else ''}.",
        *report.failed,
    ]
    out.result(msgspec.to_builtins(report), *lines)


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Recompute everything that is derived from the scores.")
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Check also the DNS, ports, clock, disk, open files and certificate.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the database and the files for problems."""
    out = Output(as_json)
    running: list[RunningServer] = []
    checks: list[MachineCheck] = []
    lines_of_checks: list[str] = []

    async def work(services: "Services") -> "Diagnosis":
        from kiai.staff.server_health import record_check

        if network and await services.is_served():
            from kiai.cli.machine import running_server

            running.append(running_server(services.settings))
        found = await services.community.doctor.examine()
        if repair and any(problem.repairable for problem in found.problems):
            with progress_bar(out, "Repairing") as progress:
                await services.community.doctor.repair(progress)
            # Problems that a repair cannot solve remain, e.g. lost files.
            found = await services.community.doctor.examine()
            found.repaired = True
        record_check(services.settings.data, found, services.clock.now_ms())
        return found

    with errors_as_exit(out):
        found = _run_diagnosis(out, lambda: settings_of(data, database=database), work)
        if network:
            from kiai.cli.machine import check_line, examine_machine

            checks = examine_machine(settings_of(data, database=database), next(iter(running), None))
            lines_of_checks = ["Network and machine:", *map(check_line, checks)]
    lines = [f"{problem.invariant}: {problem.what}" for problem in found.problems] or ["No problems found."]
    if found.waiting:
        lines.append(
            f"{found.waiting} totals, maps and scores wait to be recomputed. This may resolve some of the problems."
        )
    newer = _newer_release(settings_of(data, database=database).data)
    if newer is not None:
        lines.append(f"kiai {newer} is available.")
    if found.repaired:
        lines.insert(0, "Repaired. Remaining problems:" if found.problems else "Repaired.")
    out.result(
        {
            "ok": found.ok,
            "problems": msgspec.to_builtins(found.problems),
            "repaired": found.repaired,
            "waiting": found.waiting,
        }
        | ({} if newer is None else {"upgrade": newer})
        | ({"checks": msgspec.to_builtins(checks)} if network else {}),
        *lines,
        *lines_of_checks,
    )
    # A repair succeeds if it solved everything repairable, so that scripts can retry until then.
    repair_succeeded = found.repaired and not any(problem.repairable for problem in found.problems)
    if (not found.ok and not repair_succeeded) or not all_ok(checks):
        raise typer.Exit(1)


def _newer_release(data: Path) -> str | None:
    """Return the release that the last look for one found, if it is newer than this version."""
    from kiai.staff.upgrades import last_upgrade_check

    last = last_upgrade_check(data)
    return last.latest if last is not None and last.is_newer else None


def _run_diagnosis(
    out: Output, settings: Callable[[], Settings], work: "Callable[[Services], Awaitable[Diagnosis]]"
) -> "Diagnosis":
    """Return the result of `work`, or the damage as the only problem if the database is too damaged to examine."""
    try:
        return run_with_services(settings, work)
    except Damaged as met:
        damage = _with_location(settings, met)
        if not out.as_json:
            raise damage from met
        from kiai.staff.doctor import Diagnosis, Problem

        # Scripts read problems from the same place, however severe they are. I10: the database is intact.
        print(visible(f"kiai: {damage}"), file=sys.stderr)
        return Diagnosis([Problem("I10", str(damage), repairable=False)])


def _with_location(settings: Callable[[], Settings], met: Damaged) -> Damaged:
    """Return the result of a check of the whole file, because SQLite names no page when a statement fails."""
    from kiai.stores import check_database

    try:
        asyncio.run(check_database(settings()))
    except Damaged as found:
        return found
    return met


def migrate(data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Migrate the database to the current schema."""
    out = Output(as_json)
    # Without services, which require the current schema.
    with errors_as_exit(out):
        from kiai.stores import migrate_database

        revision = asyncio.run(migrate_database(settings_of(data, database=database)))
    out.result({"schema": revision}, f"The schema is at {revision}.")
