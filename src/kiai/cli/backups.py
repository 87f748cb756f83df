"""The commands `kiai backup`, `kiai backups`, `kiai backup-key` and `kiai restore`."""

import asyncio
import contextlib
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
from kiai.errors import Damaged, Invalid, KiaiError, Refused, Unavailable
from kiai.server_settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kiai.app import Services
    from kiai.staff.backup_folder import BackupFolder
    from kiai.staff.backup_model import Manifest
    from kiai.staff.backup_reading import BackupReader

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
        from kiai.backup_stores import back_up, open_key, open_place

        target, key = folder.absolute(), open_key(services.settings.backup_key_file)
        place = open_place(str(target.parent))
        async with _recorded(services, target):
            return await back_up(services.settings, services.stores.files, services.clock, place, target.name, key=key)

    def settings() -> Settings:
        from kiai.backup_stores import check_outside

        loaded = settings_of(data, database=database, files=files)
        if str(folder).startswith("s3:"):
            raise Refused("DIR must be a folder; for a bucket, set backup_to and run `kiai jobs start backup`")
        check_outside(loaded, str(folder))
        return loaded

    # Settings are loaded inside, so that an invalid one is an error of one line as well.
    manifest = with_services(out, settings, work)
    out.result(
        msgspec.to_builtins(manifest),
        f"Backed up schema {manifest.schema} and {pluralized(manifest.files, 'file')} ({manifest.bytes / 1e6:.1f} MB).",
    )


@contextlib.asynccontextmanager
async def _recorded(services: "Services", target: Path) -> "AsyncIterator[None]":
    """Record the backup that the block makes, or its failure, among the runs that `/admin/jobs` shows."""
    from kiai.staff.audit import OPERATOR
    from kiai.staff.backup_runs import COMMAND_KIND
    from kiai.staff.job_runs import JobState

    desk, started_at_ms = services.community.job_desk, services.clock.now_ms()
    try:
        yield
    except Damaged:  # of the database, where nothing may be written before the operator has saved it
        raise
    except KiaiError as error:
        with contextlib.suppress(KiaiError):  # the command reports the first error
            await desk.record(OPERATOR, COMMAND_KIND, started_at_ms, JobState.FAILED, f"{error}.")
        raise
    await desk.record(OPERATOR, COMMAND_KIND, started_at_ms, JobState.DONE, f"Written to {target}.")


def restore(
    backup: Annotated[
        str, typer.Argument(metavar="BACKUP", help="Folder or URL (s3://...) of the backup.", show_default=False)
    ],
    data: DataOption = None,
    database: DatabaseOption = None,
    files: FilesOption = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DATA", help="Restore into this folder only, which must be new or empty."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Verify checksums, database and references, and write nothing.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Key of an encrypted backup.", show_default="backup_key_file"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a new data folder or database."""
    out = Output(as_json)
    # Without services, which require a database: `restore` needs a place without one.
    with errors_as_exit(out):
        from kiai.backup_stores import open_backup, open_key
        from kiai.backup_stores import restore as restore_stores

        settings = settings_of(data, database=database, files=files, backup_key_file=key)
        with open_backup(backup, open_key(settings.backup_key_file)) as reader:
            if check:
                _check(out, reader)
                return
            if into is not None:
                settings = _inside(settings, into, database or files)
            restored = asyncio.run(restore_stores(settings, reader))
    lines = [f"Restored the database and {pluralized(restored.files, 'file')}. Check it with `kiai doctor`."]
    if restored.kept:
        lines.append(f"Not replaced, because they exist with other content: {', '.join(restored.kept)}.")
    out.result(msgspec.to_builtins(restored), *lines)


def _inside(settings: Settings, into: Path, elsewhere: str | None) -> Settings:
    """Return settings whose database and files are in the folder `into`. Raises Refused, Unavailable."""
    if elsewhere:
        raise Refused("--into restores everything into one folder; leave out --database and --files")
    try:
        if into.exists() and any(into.iterdir()):
            raise Refused(f"{into} is not empty; choose a new folder")
    except OSError as error:
        raise Unavailable(f"folder {into}", error.strerror or str(error)) from error
    # Not the places of the running server that kiai.toml names.
    return msgspec.structs.replace(settings, data=into, database=None, files=None)


def _check(out: Output, reader: "BackupReader") -> None:
    from kiai.backup_stores import examine_backup

    report = asyncio.run(examine_backup(reader))
    size = (report.bytes or 0) / 1e6
    good = f"The backup is good: schema {report.schema}, {pluralized(report.files or 0, 'file')}, {size:.1f} MB."
    out.result(msgspec.to_builtins(report), *(report.problems or [good]))
    if not report.ok:
        raise typer.Exit(1)


def backups(
    act: Annotated[
        str | None,
        typer.Argument(metavar="[rehearse]", help="Restore the newest good one into a temporary place and check it."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the backups in the place of the setting backup_to, the newest first, and when the next one is due.

    `kiai backups rehearse` restores the newest good one into a temporary place and checks it.
    """
    out = Output(as_json)
    with errors_as_exit(out):
        from kiai.backup_stores import backup_folder
        from kiai.clock import SystemClock
        from kiai.staff.audit import utc_text
        from kiai.stores import require_data

        settings = settings_of(data)
        require_data(settings)
        folder = backup_folder(settings, SystemClock())
        if folder is None:
            raise Refused("the setting backup_to names no place for backups")
        if act is not None:
            _rehearse(out, act, settings, folder)
            return
        found = asyncio.run(folder.backups())
    next_at_ms = folder.next_at_ms(found)
    listed = [
        {
            "path": folder.place.shown_as(one.name),
            "at": one.at_ms // 1000,
            "bytes": one.bytes,
            "files": one.files,
            "new_bytes": one.new_bytes,
            "ok": one.ok,
        }
        for one in found
    ]
    lines = [
        f"{one.name}  {pluralized(one.files, 'file')}, {one.bytes / 1e6:.1f} MB, {one.new_bytes / 1e6:.1f} MB new"
        if one.ok
        else f"{one.name}  incomplete"
        for one in found
    ] or [f"{folder.place.shown} contains no backup."]
    after = "No backup starts by itself." if next_at_ms is None else f"Next backup: {utc_text(next_at_ms)}."
    next_at = None if next_at_ms is None else next_at_ms // 1000
    out.result({"backups": listed, "next_at": next_at}, *lines, after)


def _rehearse(out: Output, act: str, settings: Settings, folder: "BackupFolder") -> None:
    from kiai.backup_stores import rehearse
    from kiai.clock import SystemClock
    from kiai.staff.backup_retention import newest_good

    if act != "rehearse":
        raise Invalid("the argument", "absent or `rehearse`", act)
    clock = SystemClock()
    newest = newest_good(asyncio.run(folder.backups()), clock.now_ms())
    if newest is None:
        raise Refused(f"{folder.place.shown} contains no good backup")
    result = asyncio.run(rehearse(settings, folder.place, newest.name, folder.key, clock))
    out.result({"backup": newest.name, "result": result}, result)


def backup_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New file for the key.", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the key that encrypts backups, for the setting backup_key_file."""
    out = Output(as_json)
    with errors_as_exit(out):
        from kiai.staff.backup_keys import make_key

        backup_to = settings_of(data).backup_to
        if backup_to is not None and Path(backup_to).resolve() in file.resolve().parents:
            raise Refused(f"{file} is in {backup_to}, with the backups that it must protect; choose another folder")
        made = make_key(file)
    out.result(
        {"file": str(file), "id": made.id},
        f"Wrote the key {made.id} to {file}. Keep a copy on another machine: without it, no backup can be restored.",
    )
