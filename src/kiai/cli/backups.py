"""`kiai backup` and `kiai restore`"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Out, counted, failing, settings_of, with_services

if TYPE_CHECKING:
    from kiai.app import Services
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

    manifest = with_services(out, lambda: settings_of(data, database=database, files=files), work)
    out.result(
        msgspec.to_builtins(manifest),
        f"Backed up schema {manifest.schema} and {counted(manifest.files, 'file')} ({manifest.bytes / 1e6:.1f} MB).",
    )


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
