"""`kiai beatmaps ...`"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.beatmaps import ImportReport
from kiai.beatmaps.model import WORDS, MapStatus
from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Out,
    counted,
    progress_bar,
    settings_of,
    settle,
    with_services,
)
from kiai.errors import NotFound, Refused
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services

app = typer.Typer(help="Beatmaps: importing, statuses.", no_args_is_help=True)

Status = StrEnum("Status", {word: word for word in WORDS})  # type: ignore[misc]


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Folders, .osz and .olz archives, .osu files.")
    ],
    status: Annotated[
        Status | None, typer.Option("--status", help="For all of them; new maps are ranked without it.")
    ] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Imports beatmaps; a known one is updated. Example: kiai beatmaps import ~/osu/Songs --status ranked"""
    out = Out(as_json)

    async def work(services: "Services") -> ImportReport:
        with progress_bar(out, "Importing beatmaps") as progress:
            report = await services.importer.import_paths(
                paths, status=WORDS[status.value] if status else None, progress=progress
            )
        if report.changed:
            await services.staff.note_import(OPERATOR, report.changed)
            await settle(out, services)
        return report

    report = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [f"Imported {counted(report.maps, 'map')} in {counted(report.sets, 'set')}."]
    lines += [f"Note {one.path}: {one.what}" for one in report.notes]
    lines += [f"Skipped {one.path}: {one.why}" for one in report.skipped]
    found = {
        "sets": report.sets,
        "maps": report.maps,
        "skipped": msgspec.to_builtins(report.skipped),
        "notes": msgspec.to_builtins(report.notes),
    }
    out.result(found, *lines)
    if report.skipped and not report.maps:
        raise typer.Exit(1)


@app.command("status")
def status_(
    status: Annotated[Status, typer.Argument(metavar="STATUS", help="pending, ranked, approved, qualified, loved.")],
    map_id: Annotated[int | None, typer.Option("--map", metavar="ID", help="One difficulty.")] = None,
    set_id: Annotated[int | None, typer.Option("--set", metavar="ID", help="All difficulties of a set.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until first places and totals have followed.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sets the status of a map or set at once; first places and everybody's totals follow in the background."""
    out = Out(as_json)
    if (map_id is None) == (set_id is None):
        raise typer.BadParameter("give either --map ID or --set ID")
    wanted: MapStatus = WORDS[status.value]

    async def work(services: "Services") -> tuple[list[int], int, int]:
        if map_id is not None:
            beatmaps = [await services.beatmaps.find(id=map_id)]
        else:
            beatmaps = await services.beatmaps.of_set(set_id or 0)
        if not beatmaps:
            raise NotFound("set")
        await services.staff.set_map_status(OPERATOR, beatmaps, wanted)
        players = await services.settling.players_on([one.key for one in beatmaps])
        if not no_wait:
            await settle(out, services)
        return [one.id for one in beatmaps], players, (await services.settling.waiting()).left

    ids, players, waiting = with_services(out, lambda: settings_of(data, database=database), work)
    done = f"Set {len(ids)} maps to {wanted.name.lower()}; the totals of {players} players "
    if waiting:
        done += "follow while the server runs. `kiai doctor` and the metric kiai_settling_left show what is left."
    else:
        done += "were computed again."
    out.result({"maps": ids, "status": int(wanted), "players": players, "waiting": waiting}, done)


@app.command("fetch")
def fetch(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Ids of beatmaps.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Imports maps from upstream (settings upstream_url and upstream_key)."""
    out = Out(as_json)

    async def work(services: "Services") -> list[dict[str, object]]:
        if services.upstream is None:
            raise Refused("no upstream is set; set KIAI_UPSTREAM_URL, or import files with `kiai beatmaps import`")
        skipped: list[dict[str, object]] = []
        with progress_bar(out, "Fetching beatmaps") as progress:
            for done, map_id in enumerate(ids):
                progress(done, len(ids))
                why = await services.upstream.why_not(map_id)
                if why is not None:
                    skipped.append({"id": map_id, "why": why})
        return skipped

    skipped = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [f"Fetched {len(ids) - len(skipped)} maps.", *[f"Skipped {one['id']}: {one['why']}" for one in skipped]]
    out.result({"maps": len(ids) - len(skipped), "skipped": skipped}, *lines)
    if len(skipped) == len(ids):
        raise typer.Exit(1)
