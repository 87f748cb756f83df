"""Commands where there are no data: those that make a data folder, and all others, which refuse and make nothing.

The commands are those of the application, so one that is added is tested, too. What it must be given is guessed from
its parameters, or named in `MORE`.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.builders import PASSWORD
from typer.testing import CliRunner, Result

import kiai.app  # noqa: F401 (imported before the rights of this process are given up)
from kiai.cli.main import app

MAKING = {"serve", "demo", "init", "migrate", "restore", "import"}
"""Commands, or groups of them, that may make a data folder."""

MORE = {
    "users add": ["--password", PASSWORD],
    "users password": ["--password", PASSWORD],
    "beatmaps status": ["--map=1"],
}
NOBODY = 65_534


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
        return
    for word, one in below.items():
        yield from commands(one, (*words, word))


ALL = dict(commands(typer.main.get_command(app)))
OTHERS = [name for name in ALL if name.split()[0] not in MAKING]


def arguments(name: str) -> list[str]:
    """A call of the command that is right in itself."""
    given = name.split()
    for one in ALL[name].params:
        if one.required:
            value = "ranked" if one.metavar == "STATUS" else "1"
            given += [one.opts[0], value] if one.opts[0].startswith("-") else [value]
    return [*given, *MORE.get(name, [])]


def run(name: str, data: Path, **environment: str) -> Result:
    nobodys = dict.fromkeys((one for one in os.environ if one.startswith("KIAI_")), None)
    return CliRunner().invoke(app, [*arguments(name), "--data", str(data)], env=nobodys | environment)


def missing(folder: Path) -> Path:
    return folder / "nope"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def without_database(folder: Path) -> Path:
    (folder / "files" / "files").mkdir(parents=True)
    (folder / "files" / "notes.txt").write_text("not kiai's")
    return folder / "files"


def a_file(folder: Path) -> Path:
    (folder / "file").write_text("not a folder")
    return folder / "file"


def below_a_file(folder: Path) -> Path:
    return a_file(folder) / "data"


def unreadable(folder: Path) -> Path:
    (folder / "closed").mkdir(mode=0)
    return folder / "closed"


def below_an_unreadable_one(folder: Path) -> Path:
    return unreadable(folder) / "data"


PLACES = [missing, empty, without_database, a_file, below_a_file, unreadable, below_an_unreadable_one]


@contextlib.contextmanager
def without_the_rights_of_root(folder: Path) -> Iterator[None]:
    """Root may read everything; as nobody, this process may read what the test lets it."""
    if os.geteuid() != 0:
        yield
        return
    folder.chmod(0o711)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_the_table_of_commands_is_not_empty() -> None:
    assert {"doctor", "backup", "recalc", "users list", "beatmaps import", "replays import"} <= set(OTHERS)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_a_command_refuses_where_there_is_no_data_and_makes_nothing(
    name: str, place: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative path leads nowhere above, where nobody may look
    data = place(tmp_path).relative_to(tmp_path)
    before = tree(tmp_path)

    with without_the_rights_of_root(tmp_path):
        done = run(name, data)

    assert (done.exit_code, done.stdout) == (1, ""), done.output
    [line] = done.stderr.splitlines()
    assert line.startswith("kiai: ")
    assert str(data) in line
    assert "--data" in line or "run the command as" in line
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", OTHERS)
def test_a_command_refuses_where_the_folder_of_the_files_is_missing(name: str, tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["migrate", "--data", str(tmp_path / "data")])
    assert made.exit_code == 0

    done = run(name, tmp_path / "data", KIAI_FILES=str(tmp_path / "not mounted"))

    assert (done.exit_code, done.stdout) == (1, ""), done.output
    [line] = done.stderr.splitlines()
    assert str(tmp_path / "not mounted") in line
    assert not (tmp_path / "not mounted").exists()


def test_migrate_and_demo_make_what_is_missing(tmp_path: Path) -> None:
    for name in ("migrate", "demo"):
        data = tmp_path / name / "data"
        done = CliRunner().invoke(app, [name, "--data", str(data), *(["--scores", "0"] if name == "demo" else [])])

        assert done.exit_code == 0, done.output
        assert run("doctor", data).exit_code == 0
