"""A damaged SQLite file: each command reports it in one line, `serve` does not start, and the file is unchanged."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.wire.kit import run_kiai
from typer.testing import CliRunner

from kiai.cli.main import app

PAGE = 4096
SCHEMA_TABLES = ("users", "scores", "maps")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few thousand rows."""
    data = tmp_path_factory.mktemp("whole") / "data"
    done = run(data, "demo", "--players", "40", "--maps", "5", "--scores", "1500")
    assert done.code == 0, done.stderr
    return data


class Done(msgspec.Struct):
    """The exit code and output of a command."""

    code: int
    stdout: str
    stderr: str


def run(data: Path, *arguments: str) -> Done:
    """Run a command: `serve` in its own process, the others in this one, which is faster."""
    if arguments[0] == "serve":
        served = run_kiai(data, *arguments)
        return Done(served.returncode, served.stdout, served.stderr)
    nobodys = dict.fromkeys((one for one in os.environ if one.startswith("KIAI_")), None)
    done = CliRunner().invoke(app, [*arguments, "--data", str(data)], env=nobodys)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def truncated(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def cut_to_half_a_page(database: Path) -> None:
    os.truncate(database, PAGE // 2)


def without_header(database: Path) -> None:
    with open(database, "rb+") as file:
        file.write(b"\xa5" * 100)


def garbage(database: Path) -> None:
    database.write_bytes(b"this is no database" * 1_000)


def of_no_bytes(database: Path) -> None:
    os.truncate(database, 0)


def with_damaged_pages(database: Path) -> None:
    """Damage the table of scores from its second page on. The header and the schema remain intact."""
    connection = sqlite3.connect(database)
    root, pages = connection.execute("SELECT rootpage, (SELECT * FROM pragma_page_count) FROM sqlite_master"
                                     " WHERE name = 'scores'").fetchone()  # fmt: skip
    connection.close()
    with open(database, "rb+") as file:
        for page in (root, pages // 2, pages // 2 + 1):
            file.seek((page - 1) * PAGE)
            file.write(b"\xa5" * PAGE)


def without_the_table(name: str) -> Callable[[Path], None]:
    def drop(database: Path) -> None:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute(f"DROP TABLE {name}")
        connection.close()

    drop.__name__ = f"without {name}"
    return drop


def without_a_column(database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("ALTER TABLE users RENAME COLUMN email TO mail")
    connection.close()


def with_garbage_for_a_log(database: Path) -> None:
    database.with_name("kiai.db-wal").write_bytes(b"\xa5" * 50_000)


def with_a_log_of_a_wrong_checksum(database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("UPDATE users SET country = 'nl'")
    log = database.with_name("kiai.db-wal")
    log_bytes = bytearray(log.read_bytes())
    connection.close()
    log_bytes[17] ^= 1
    log.write_bytes(log_bytes)


DAMAGES = [
    truncated,
    cut_to_half_a_page,
    without_header,
    garbage,
    of_no_bytes,
    with_damaged_pages,
    *(without_the_table(name) for name in (*SCHEMA_TABLES, "alembic_version")),
    without_a_column,
    with_garbage_for_a_log,
    with_a_log_of_a_wrong_checksum,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_reported_in_one_line_and_the_server_does_not_start(
    damage: Callable[[Path], None], world: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world, data)
    damage(data / "kiai.db")
    files = {path: path.read_bytes() for path in data.glob("kiai.db*") if path.suffix != ".db-shm"}

    examined = run(data, "doctor")
    doctor = run(data, "doctor", "--json")
    served = run(data, "serve", "--port", "0")
    backed_up = run(data, "backup", str(tmp_path / "copy"))
    computed = run(data, "recalc")
    moved = run(data, "migrate")

    done = [examined, doctor, served, backed_up]
    if damage is not with_damaged_pages:  # what needs no damaged page does its work
        done += [computed, moved]
    for one in done:
        assert one.code == 1, one
        [line] = one.stderr.splitlines()
        assert line.startswith("kiai: ")
        assert " is damaged: " in line
        assert "kiai restore" in line
        assert ".recover" in line
    assert examined.stdout == served.stdout == ""
    found = json.loads(doctor.stdout)
    assert (found["ok"], found["repaired"]) == (False, False)
    [problem] = found["problems"]
    assert " is damaged: " in problem["what"]
    assert not (tmp_path / "copy" / "manifest.json").exists()
    for path, content in files.items():
        assert path.read_bytes() == content, f"{path.name} was written to"


def test_doctor_reports_the_damaged_page(world: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(world, data)
    database = data / "kiai.db"
    connection = sqlite3.connect(database)
    [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_audit_log_actor'").fetchone()
    connection.close()
    with open(database, "rb+") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xa5" * PAGE)

    examined = run(data, "doctor")
    doctor = run(data, "doctor", "--json")

    assert examined.code == doctor.code == 1
    assert f"{database} is damaged: " in examined.stderr
    assert f"age {page}" in examined.stderr
    [problem] = json.loads(doctor.stdout)["problems"]
    assert f"age {page}" in problem["what"]


def test_every_command_reports_a_garbled_file_in_one_line(world: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(world, data)
    garbage(data / "kiai.db")

    for command in (["users", "list"], ["users", "show", "x"], ["beatmaps", "import", "."], ["replays", "import", "."],
                    ["demo"], ["recalc"]):  # fmt: skip
        done = run(data, *command)

        assert (done.code, done.stdout) == (1, ""), command
        [line] = done.stderr.splitlines()
        assert "is damaged" in line, command


def test_newer_schema_is_rejected_with_instructions(world: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(world, data)
    connection = sqlite3.connect(data / "kiai.db", isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    for command in (["doctor"], ["serve", "--port", "0"], ["migrate"], ["users", "list"]):
        done = run(data, *command)

        assert (done.code, done.stdout) == (1, ""), command
        [line] = done.stderr.splitlines()
        assert "has schema 9999" in line
        assert "use the kiai that made it" in line


def test_database_of_another_program_is_rejected_and_unchanged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    connection = sqlite3.connect(data / "kiai.db")
    connection.execute("CREATE TABLE cakes (name TEXT)")
    connection.close()
    before = (data / "kiai.db").read_bytes()

    for command in (["doctor"], ["serve", "--port", "0"], ["migrate"], ["users", "list"]):
        done = run(data, *command)

        assert (done.code, done.stdout) == (1, ""), command
        [line] = done.stderr.splitlines()
        assert "is not a database of kiai" in line
        assert "cakes" in line
    assert (data / "kiai.db").read_bytes() == before


def test_doctor_finds_nothing_in_the_folder_of_a_stopped_server(world: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(world, data)
    connection = sqlite3.connect(data / "kiai.db", isolation_level=None)
    connection.execute("INSERT INTO outbox (at_ms, kind, payload) VALUES (0, 'privileges', '3')")
    connection.close()

    done = run(data, "doctor")

    assert (done.code, done.stderr) == (0, ""), done
