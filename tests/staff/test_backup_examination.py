"""The examination of a backup that nobody restores: `kiai restore --check`."""

import asyncio
import sqlite3
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

from kiai.accounts.model import BOT_ID
from kiai.backup_stores import back_up
from kiai.clock import SystemClock
from kiai.files.folder_place import FolderPlace
from kiai.settings import load_settings
from kiai.staff.backup_examination import examine
from kiai.staff.backup_model import BackedUpFile, Manifest
from kiai.staff.backup_reading import BackupReader
from kiai.storage.dumping import SQLITE_FILE
from kiai.storage.migrating import newest
from kiai.stores import migrate_database, open_files

LISTED = 100_000


class LongList(BackupReader):
    """A good backup whose list is long."""

    def listed(self) -> Iterator[BackedUpFile]:
        return (BackedUpFile(f"replays/{n % 256:02x}/{n:032x}", 1, "00" * 32) for n in range(LISTED))

    def faults(self, manifest: Manifest, files: Iterable[BackedUpFile] | None = None) -> Iterator[str]:
        return iter(())


def test_examination_of_many_files_takes_little_memory(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path / "data")
    asyncio.run(migrate_database(settings))
    place = FolderPlace(tmp_path / "backups")
    asyncio.run(back_up(settings, open_files(settings), SystemClock(), place, "one", key=None))

    tracemalloc.start()
    with LongList(place, "one") as reader:
        report = examine(reader, schema=newest())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert report.problems == []
    assert most < 8 << 20


def test_pictures_that_rows_name_are_missed(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path / "data")
    asyncio.run(migrate_database(settings))
    database = sqlite3.connect(settings.data / SQLITE_FILE)
    with database:
        database.execute("UPDATE users SET avatar = 'avatars/1-0.png', cover = 'covers/1-0.webp'")
        database.execute(
            "INSERT INTO clans (id, name, safe_name, tag, owner_id, created_at_ms, icon)"
            " VALUES (7, 'Night Owls', 'night_owls', 'OWL', ?, 1, 'clan-icons/7-0.png')",
            [BOT_ID],
        )
    database.close()
    place = FolderPlace(tmp_path / "backups")
    asyncio.run(back_up(settings, open_files(settings), SystemClock(), place, "one", key=None))

    with BackupReader(place, "one") as reader:
        report = examine(reader, schema=newest())

    assert report.problems == [
        f"the avatar of user {BOT_ID} is not in the backup: avatars/1-0.png",
        f"the cover of user {BOT_ID} is not in the backup: covers/1-0.webp",
        "the icon of clan 7 is not in the backup: clan-icons/7-0.png",
    ]
