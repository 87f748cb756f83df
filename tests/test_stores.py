"""Opening the stores: data folders that a server uses, and databases that cannot be opened."""

import asyncio
import errno
import os
import resource
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests import engines
from tests.conftest import Run

from kiai import stores
from kiai.errors import Damaged, Refused, Unavailable
from kiai.server_settings import Settings
from kiai.settings import load_settings
from kiai.storage import sqlite_file
from kiai.storage.dumping import SQLITE_FILE, dump_sqlite


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of an embedded server that has data and does not run."""
    made = load_settings(data=tmp_path / "data")
    asyncio.run(stores.migrate_database(made))
    return made


def test_running_embedded_server_is_detected_by_its_lock(settings: Settings, run: Run) -> None:
    database = run(stores.open_database(settings))
    try:
        assert not run(stores.is_served(settings, database))
        lock = stores.lock_data_folder(settings.data)
        try:
            assert run(stores.is_served(settings, database))
            with pytest.raises(BlockingIOError):
                stores.lock_data_folder(settings.data)
        finally:
            os.close(lock)
        assert not run(stores.is_served(settings, database)), "the file is still there, and nobody holds it"
    finally:
        run(database.close())


def test_running_server_on_postgresql_is_detected_by_its_connections(tmp_path: Path, run: Run) -> None:
    with engines.postgres_database() as url:
        shared = load_settings(data=tmp_path, database=url)
        command, server = run(stores.open_database(shared)), run(stores.open_database(shared, serving=True))

        assert run(stores.is_served(shared, command))
        run(server.close())
        assert not run(stores.is_served(shared, command))
        run(command.close())


def test_missing_data_is_refused_with_its_setting(tmp_path: Path) -> None:
    nowhere, somewhere = tmp_path / "nowhere", tmp_path / "somewhere"
    somewhere.mkdir()
    url = "postgresql://kiai@db/kiai"

    for lacking in (
        load_settings(data=nowhere),
        load_settings(data=somewhere),
        load_settings(data=nowhere, database=url),
        load_settings(data=somewhere, database=url, files=str(nowhere)),
    ):
        with pytest.raises(Refused):
            stores.require_data(lacking)

    for enough in (
        load_settings(data=somewhere, database=url),
        load_settings(data=nowhere, database=url, files=str(somewhere)),
        load_settings(data=nowhere, database=url, files="s3://bucket"),
    ):
        stores.require_data(enough)
    assert list(tmp_path.iterdir()) == [somewhere]


def test_data_folder_of_another_account_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Unavailable) as raised:
        stores.make_data_folder(folder)

    assert str(raised.value) == (
        f"data folder {folder} is not available: Permission denied; give it to the account of the server with "
        f"`chown -R {os.geteuid()} {folder}`, or choose another with --data"
    )


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files of this process cannot grow beyond 64 KiB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_copy_of_the_database_on_a_full_disk_names_the_folder(
    settings: Settings, tmp_path: Path, run: Run, small_disk: None
) -> None:
    with pytest.raises(Unavailable) as raised:
        run(dump_sqlite(settings.data / SQLITE_FILE, tmp_path))

    assert str(raised.value).startswith("copy of the database is not available: ")
    assert str(raised.value).endswith(f"; the copy needs as much space in {tmp_path} as the database has")


def test_database_on_a_full_disk_is_refused_with_a_remedy(tmp_path: Path, run: Run, small_disk: None) -> None:
    with pytest.raises(Unavailable, match=r"; free space on its disk, or check the disk$"):
        run(stores.migrate_database(load_settings(data=tmp_path / "data")))


def test_newer_postgresql_schema_is_refused_with_a_remedy(tmp_path: Path, run: Run) -> None:
    with engines.postgres_database() as url:

        async def age() -> None:
            connection = await asyncpg.connect(url)
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
            await connection.close()

        run(age())
        with pytest.raises(Unavailable, match="9999"):
            run(stores.migrate_database(load_settings(data=tmp_path, database=url)))


def test_migration_of_an_unreachable_postgresql_fails(tmp_path: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(Unavailable, match="cannot connect"):
        run(stores.migrate_database(load_settings(data=tmp_path, database=f"postgresql://x@127.0.0.1:{port}/x")))


def test_slow_database_check_is_ended_and_logged(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settings.data / SQLITE_FILE
    assert sqlite_file.check_pages(path)

    monkeypatch.setattr(sqlite_file, "INSTRUCTIONS", 1)

    assert not sqlite_file.check_pages(path, within_s=-1.0)


def test_wal_cut_before_its_first_commit_is_valid(settings: Settings) -> None:
    log = settings.data / f"{SQLITE_FILE}-wal"
    for content in (b"", b"\0" * 4_096, b"\x37\x7f"):
        log.write_bytes(content)
        sqlite_file.check_files(settings.data / SQLITE_FILE)


def test_wal_with_transactions_is_valid_in_both_byte_orders(settings: Settings, tmp_path: Path) -> None:
    path = settings.data / SQLITE_FILE
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE users SET country = 'nl'")
    log = settings.data / f"{SQLITE_FILE}-wal"
    assert log.stat().st_size > 4_096
    sqlite_file.check_files(path)

    header = bytearray(log.read_bytes()[:32])
    header[3] ^= 1  # states the other byte order, for which the checksum is wrong
    other = tmp_path / SQLITE_FILE
    other.write_bytes(b"x")
    other.with_name(f"{SQLITE_FILE}-wal").write_bytes(header)
    with pytest.raises(Damaged):
        sqlite_file.check_files(other)
    connection.close()
