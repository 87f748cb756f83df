"""`kiai demo`, `recalc`, `doctor`, `migrate`"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Out,
    counted,
    failing,
    progress_bar,
    run_with_services,
    settings_of,
    with_services,
)
from kiai.errors import Damaged, Invalid
from kiai.osu.modes import parse_mode
from kiai.osu.texts import visible

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.demo import DemoReport
    from kiai.scores.recalculation import RecalculationReport
    from kiai.settings import Settings
    from kiai.staff.doctor import Diagnosis


def demo(
    players: Annotated[int, typer.Option(min=1, max=1_000_000)] = 50,
    maps: Annotated[int, typer.Option(min=1, max=100_000)] = 20,
    scores: Annotated[int, typer.Option(min=0, max=100_000_000)] = 2_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same world.")] = 1,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fills an empty data folder with a made-up world, so that every page and endpoint shows something."""
    out = Out(as_json)

    async def work(services: "Services") -> "DemoReport":
        from kiai.demo import build

        with progress_bar(out, "Making a world") as progress:
            return await build(services, players=players, maps=maps, scores=scores, seed=seed, progress=progress)

    report = with_services(
        out, lambda: settings_of(data, database=database, workers_pp=os.cpu_count()), work, create=True
    )
    out.result(
        msgspec.to_builtins(report),
        f"Made {counted(report.players, 'player')}, {counted(report.maps, 'map')} "
        f"and {counted(report.scores, 'score')}.",
    )


def recalc(
    mode: Annotated[str | None, typer.Option("--mode", metavar="M", help="Only this mode.")] = None,
    map_id: Annotated[int | None, typer.Option("--map", metavar="ID", help="Only this beatmap.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Only this player.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, max=64, help="Worker processes.")] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Computes pp and stats again. A run that was stopped goes on where it stood."""
    from kiai.scores.replay_import import STAFF

    out = Out(as_json)

    async def work(services: "Services") -> "RecalculationReport":
        number = None if mode is None else parse_mode(mode)
        if mode is not None and number is None:
            raise Invalid("mode", "0 to 6 or 8", mode)
        beatmap = await services.beatmaps.find(id=map_id) if map_id is not None else None
        player = await services.accounts.user(STAFF, name=user) if user is not None else None
        with progress_bar(out, "Computing pp") as progress:
            return await services.recalculation.run(mode=number, beatmap=beatmap, user=player, progress=progress)

    report = with_services(out, lambda: settings_of(data, database=database, workers_pp=jobs), work)
    lines = [
        f"Computed {counted(report.scores, 'score')}, {report.changed} changed; "
        f"rebuilt {counted(report.players, 'player')}{' (continued)' if report.resumed else ''}.",
        *report.failed,
    ]
    out.result(msgspec.to_builtins(report), *lines)


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Rewrites what follows from the scores.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Checks the set-up, the database and the files against each other."""
    out = Out(as_json)

    async def work(services: "Services") -> "Diagnosis":
        found = await services.doctor.examine()
        if repair and any(problem.repairable for problem in found.problems):
            with progress_bar(out, "Repairing") as progress:
                await services.doctor.repair(progress)
            found = await services.doctor.examine()
            found.repaired = True
        return found

    with failing(out):
        found = _diagnosed(out, lambda: settings_of(data, database=database), work)
    lines = [f"{problem.invariant}: {problem.what}" for problem in found.problems] or ["Everything is in order."]
    if found.waiting:
        lines.append(
            f"{found.waiting} totals, maps and scores wait to be computed again; "
            "what they will correct may be among the problems."
        )
    if found.repaired:
        lines.insert(0, "Repaired. What is left:" if found.problems else "Repaired.")
    out.result(
        {
            "ok": found.ok,
            "problems": msgspec.to_builtins(found.problems),
            "repaired": found.repaired,
            "waiting": found.waiting,
        },
        *lines,
    )
    settled = found.repaired and not any(problem.repairable for problem in found.problems)
    if not found.ok and not settled:
        raise typer.Exit(1)


def _diagnosed(
    out: Out, settings: "Callable[[], Settings]", work: "Callable[[Services], Awaitable[Diagnosis]]"
) -> "Diagnosis":
    """What `work` finds. A database too damaged to be looked at is a finding, too, and the only one."""
    try:
        return run_with_services(settings, work)
    except Damaged as met:
        damage = _located(settings, met)
        if not out.as_json:
            raise damage from met
        from kiai.staff.doctor import Diagnosis, Problem

        print(visible(f"kiai: {damage}"), file=sys.stderr)
        return Diagnosis([Problem("I10", str(damage), repairable=False)])


def _located(settings: "Callable[[], Settings]", met: Damaged) -> Damaged:
    """What a look at the whole file says about damage that a statement met: SQLite names no page there."""
    from kiai.opening import check_database

    try:
        asyncio.run(check_database(settings()))
    except Damaged as found:
        return found
    return met


def migrate(data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Brings the database's schema up to date. Safe to run twice, or by two at once."""
    out = Out(as_json)
    with failing(out):
        from kiai.opening import migrate_database

        revision = asyncio.run(migrate_database(settings_of(data, database=database)))
    out.result({"schema": revision}, f"The schema is at {revision}.")
