"""The commands `kiai backup` and `kiai restore`."""

import asyncio
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
    settings_of,
    with_services,
)
from kiai.server_settings import Settings

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.backups import Manifest

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the backup.", show_default=False)]
FilesOption = Annotated[
    str | None,
    typer.Option(
        "--files", metavar="PLACE", help="Folder or S3 bucket (s3://...) with the files, if not in the data folder."
    ),
]


def backup(
    folder: Folder,
    data: DataOption = None,
    database: DatabaseOption = None,
    files: FilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the database and the files.

    The server may be running. DIR must be an empty or new folder.
    """
    out = Output(as_json)

    async def work(services: "Services") -> "Manifest":
        from kiai.stores import back_up

        return await back_up(services.settings, services.stores.files, services.clock, folder)

    def settings() -> Settings:
        from kiai.stores import check_outside

        loaded = settings_of(data, database=database, files=files)
        check_outside(loaded, folder)
        return loaded

    # Settings are loaded inside, so that an invalid one is an error of one line as well.
    manifest = with_services(out, settings, work)
    out.result(
        msgspec.to_builtins(manifest),
        f"Backed up schema {manifest.schema} and {pluralized(manifest.files, 'file')} ({manifest.bytes / 1e6:.1f} MB).",
    )


def restore(
    folder: Folder,
    data: DataOption = None,
    database: DatabaseOption = None,
    files: FilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a new data folder or database."""
    out = Output(as_json)
    # Without services, which require a database: `restore` needs a place without one.
    with errors_as_exit(out):
        from kiai.stores import restore as restore_stores

        count = asyncio.run(restore_stores(settings_of(data, database=database, files=files), folder))
    out.result({"files": count}, f"Restored the database and {pluralized(count, 'file')}. Check it with `kiai doctor`.")
