"""`kiai backup` and `kiai restore`"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Out, counted, failing, settings_of, with_services
from kiai.errors import Refused

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.settings import Settings
    from kiai.staff.backups import Manifest

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder for this back-up alone.", show_default=False)]
FilesOption = Annotated[
    str | None, typer.Option("--files", metavar="PLACE", help="Where files are kept, if not in the data folder.")
]


def backup(
    folder: Folder,
    data: DataOption = None,
    database: DatabaseOption = None,
    files: FilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copies the database and the files into an empty folder, as of one moment, while the server runs."""
    out = Out(as_json)

    async def work(services: "Services") -> "Manifest":
        return await services.back_up(folder)

    def settings() -> "Settings":
        found = settings_of(data, database=database, files=files)
        _check_outside(found, folder)
        return found

    manifest = with_services(out, settings, work)
    out.result(
        msgspec.to_builtins(manifest),
        f"Backed up schema {manifest.schema} and {counted(manifest.files, 'file')} ({manifest.bytes / 1e6:.1f} MB).",
    )


def _check_outside(settings: "Settings", folder: Path) -> None:
    """Refuses a back-up where it would be lost with the data, or would be copied by the next one."""
    wanted = folder.resolve()
    for place in (settings.data, Path(settings.files or settings.data)):
        if place.resolve() in (wanted, *wanted.parents):
            raise Refused(f"{folder} is inside {place}, which it copies; keep back-ups outside of it")


def restore(
    folder: Folder,
    data: DataOption = None,
    database: DatabaseOption = None,
    files: FilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fills a new data folder, or a new PostgreSQL database, from a back-up whose checksums all fit."""
    out = Out(as_json)
    with failing(out):
        from kiai.opening import restore as restored

        count = asyncio.run(restored(settings_of(data, database=database, files=files), folder))
    out.result({"files": count}, f"Restored the database and {counted(count, 'file')}. `kiai doctor` proves it.")
