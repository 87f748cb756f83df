"""Opening what the settings name: whether a server runs on the data, and databases that cannot be opened."""

import asyncio
import os
import socket
import sqlite3
from pathlib import Path

import asyncpg
import pytest
from tests import engines
from tests.conftest import Run

from kiai import opening
from kiai.errors import Damaged, Refused, Unavailable
from kiai.settings import Settings, load_settings
from kiai.storage import sqlite_file
from kiai.storage.dumping import SQLITE_FILE


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of an embedded server that was made and does not run."""
    made = load_settings(data=tmp_path / "data")
    asyncio.run(opening.migrate_database(made))
    return made


def test_an_embedded_server_is_known_by_its_lock(settings: Settings, run: Run) -> None:
    database = run(opening.open_database(settings))
    try:
        assert not run(opening.is_served(settings, database))
        lock = opening.lock_data_folder(settings.data)
        try:
            assert run(opening.is_served(settings, database))
            with pytest.raises(BlockingIOError):
                opening.lock_data_folder(settings.data)
        finally:
            os.close(lock)
        assert not run(opening.is_served(settings, database)), "the file is still there, and nobody holds it"
    finally:
        run(database.close())


def test_a_server_on_postgresql_is_known_by_its_connections(tmp_path: Path, run: Run) -> None:
    with engines.postgres_database() as url:
        shared = load_settings(data=tmp_path, database=url)
        command, server = run(opening.open_database(shared)), run(opening.open_database(shared, serving=True))

        assert run(opening.is_served(shared, command))
        run(server.close())
        assert not run(opening.is_served(shared, command))
        run(command.close())


def test_data_are_required_where_the_settings_keep_them(tmp_path: Path) -> None:
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
            opening.require_data(lacking)

    for enough in (
        load_settings(data=somewhere, database=url),
        load_settings(data=nowhere, database=url, files=str(somewhere)),
        load_settings(data=nowhere, database=url, files="s3://bucket"),
    ):
        opening.require_data(enough)
    assert list(tmp_path.iterdir()) == [somewhere]


def test_a_postgresql_of_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path, run: Run) -> None:
    with engines.postgres_database() as url:

        async def age() -> None:
            connection = await asyncpg.connect(url)
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
            await connection.close()

        run(age())
        with pytest.raises(Unavailable, match="9999"):
            run(opening.migrate_database(load_settings(data=tmp_path, database=url)))


def test_a_postgresql_that_does_not_answer_cannot_be_migrated(tmp_path: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(Unavailable, match="cannot connect"):
        run(opening.migrate_database(load_settings(data=tmp_path, database=f"postgresql://x@127.0.0.1:{port}/x")))


def test_a_check_that_takes_too_long_is_given_up_and_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settings.data / SQLITE_FILE
    assert sqlite_file.check_pages(path)

    monkeypatch.setattr(sqlite_file, "INSTRUCTIONS", 1)

    assert not sqlite_file.check_pages(path, within_s=-1.0)


def test_a_log_that_was_cut_before_its_first_commit_is_no_damage(settings: Settings) -> None:
    log = settings.data / f"{SQLITE_FILE}-wal"
    for content in (b"", b"\0" * 4_096, b"\x37\x7f"):
        log.write_bytes(content)
        sqlite_file.check_files(settings.data / SQLITE_FILE)


def test_a_log_that_holds_transactions_is_whole_in_both_byte_orders(settings: Settings, tmp_path: Path) -> None:
    path = settings.data / SQLITE_FILE
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE users SET country = 'nl'")
    log = settings.data / f"{SQLITE_FILE}-wal"
    assert log.stat().st_size > 4_096
    sqlite_file.check_files(path)

    header = bytearray(log.read_bytes()[:32])
    header[3] ^= 1  # says that the other byte order was used, which the checksum then does not fit
    other = tmp_path / SQLITE_FILE
    other.write_bytes(b"x")
    other.with_name(f"{SQLITE_FILE}-wal").write_bytes(header)
    with pytest.raises(Damaged):
        sqlite_file.check_files(other)
    connection.close()
