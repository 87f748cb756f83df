"""The commands `kiai beatmaps ...`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.beatmaps import ImportReport
from kiai.beatmaps.model import STATUS_BY_WORD, MapStatus, full_title
from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    Invocation,
    JsonOption,
    Output,
    pluralized,
    progress_bar,
    reconcile,
    reconcile_without_server,
    settings_of,
    with_options,
    with_services,
)
from kiai.cli.sanctions import Reason
from kiai.errors import NotFound, Refused
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services

app = typer.Typer(help="Import beatmaps, set their status, and hide their scores.", no_args_is_help=True)

Status = StrEnum("Status", {word: word for word in STATUS_BY_WORD})  # type: ignore[misc]


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Folders, .osz and .olz archives, .osu files.")],
    status: Annotated[
        Status | None,
        typer.Option(
            "--status", metavar="STATUS", help="Status of the imported maps. Without it, new maps are ranked."
        ),
    ] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import beatmaps, and update known ones.

    Example: kiai beatmaps import ~/osu/Songs --status ranked
    """
    out = Output(as_json)

    async def work(services: "Services") -> ImportReport:
        with progress_bar(out, "Importing beatmaps") as progress:
            report = await services.importer.import_paths(
                paths, status=STATUS_BY_WORD[status.value] if status else None, progress=progress
            )
        if report.changed:  # an import can change statuses, which is an act of staff and needs a row in the audit log
            await services.staff.record_import(OPERATOR, report.changed)
            await reconcile(out, services)
        return report

    report = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [f"Imported {pluralized(report.maps, 'map')} in {pluralized(report.sets, 'set')}."]
    lines += [f"Note {note.path}: {note.what}" for note in report.notes]
    lines += [f"Skipped {file.path}: {file.why}" for file in report.skipped]
    found = {
        "sets": report.sets,
        "maps": report.maps,
        "skipped": msgspec.to_builtins(report.skipped),
        "notes": msgspec.to_builtins(report.notes),
    }
    out.result(found, *lines)
    # Collections contain broken files, so an import succeeds if it imported anything.
    if report.skipped and not report.maps:
        raise typer.Exit(1)


@app.command("status")
def status_(
    status: Annotated[
        Status,
        typer.Argument(metavar="STATUS", show_choices=False, help="pending, ranked, approved, qualified or loved."),
    ],
    map_id: Annotated[int | None, typer.Option("--map", metavar="ID", help="One difficulty.")] = None,
    set_id: Annotated[int | None, typer.Option("--set", metavar="ID", help="All difficulties of a set.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until first places and totals are recomputed.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the status of a map or set.

    First places and totals are recomputed in the background.
    """
    out = Output(as_json)
    if (map_id is None) == (set_id is None):
        raise typer.BadParameter("give either --map ID or --set ID")
    new_status: MapStatus = STATUS_BY_WORD[status.value]

    async def work(services: "Services") -> tuple[list[int], int, int]:
        if map_id is not None:
            beatmaps = [await services.beatmaps.find(id=map_id)]
        else:
            beatmaps = await services.beatmaps.of_set(set_id or 0)
        if not beatmaps:
            raise NotFound("set")
        await services.staff.set_map_status(OPERATOR, beatmaps, new_status)
        # Counted before the wait, after which no player is left.
        players = await services.reconciler.players_on([beatmap.key for beatmap in beatmaps])
        if not no_wait:
            await reconcile(out, services)
        return [beatmap.id for beatmap in beatmaps], players, (await services.reconciler.pending()).left

    ids, players, waiting = with_services(out, lambda: settings_of(data, database=database), work)
    done = f"Set {pluralized(len(ids), 'map')} to {new_status.name.lower()}. "
    done += f"The totals of {pluralized(players, 'player')} "
    if waiting:
        done += "will be recomputed while the server runs. See `kiai doctor` or the metric kiai_settling_left."
    else:
        done += "were recomputed."
    out.result({"maps": ids, "status": int(new_status), "players": players, "waiting": waiting}, done)


@app.command("fetch")
def fetch(
    ids: Annotated[list[int], typer.Argument(metavar="ID", help="Beatmap ids.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch maps from the upstream (settings upstream_url and upstream_key)."""
    out = Output(as_json)

    async def work(services: "Services") -> list[dict[str, object]]:
        if services.upstream is None:
            raise Refused(
                "no upstream is configured; set KIAI_UPSTREAM_URL, or import files with `kiai beatmaps import`"
            )
        skipped: list[dict[str, object]] = []
        # One after another: upstreams limit the number of requests of a server.
        with progress_bar(out, "Fetching beatmaps") as progress:
            for done, map_id in enumerate(ids):
                progress(done, len(ids))
                why = await services.upstream.try_import(map_id)
                if why is not None:
                    skipped.append({"id": map_id, "why": why})
        return skipped

    skipped = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [
        f"Fetched {pluralized(len(ids) - len(skipped), 'map')}.",
        *[f"Skipped {map_['id']}: {map_['why']}" for map_ in skipped],
    ]
    out.result({"maps": len(ids) - len(skipped), "skipped": skipped}, *lines)
    if len(skipped) == len(ids):
        raise typer.Exit(1)


MapId = Annotated[int, typer.Argument(metavar="ID", help="The id of the map: one difficulty.")]


@app.command("wipe")
@with_options
def wipe(
    call: Invocation,
    map_id: MapId,
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm.")] = False,
) -> None:
    """Hide all scores on the present revision of a map. Later plays count; `restore` brings the scores back."""
    out = call.out

    async def work(services: "Services") -> int:
        beatmap = await services.beatmaps.find(id=map_id)
        if not yes:
            await services.community.wipes.check_map(OPERATOR, reason)
            raise Refused(f"this hides all scores on {full_title(beatmap)}; add --yes to do it")
        count = await services.community.wipes.wipe_map(OPERATOR, beatmap, reason)
        await reconcile_without_server(out, services)
        return count

    count = call.run(work)
    out.result({"scores": count}, f"The map is wiped: {pluralized(count, 'score')} hidden.")


@app.command("restore")
@with_options
def restore(call: Invocation, map_id: MapId, reason: Reason) -> None:
    """Bring back the scores that the wipe of a map hides."""
    out = call.out

    async def work(services: "Services") -> int:
        count = await services.community.wipes.restore_map(OPERATOR, await services.beatmaps.find(id=map_id), reason)
        await reconcile_without_server(out, services)
        return count

    count = call.run(work)
    out.result({"scores": count}, f"The map is restored: {pluralized(count, 'score')} visible again.")
