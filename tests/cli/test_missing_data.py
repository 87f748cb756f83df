"""Commands without a data folder: a few create one; all others fail and create nothing.

The tests read the list of commands from the application, so a new command is covered. The arguments of a command are
derived from its parameters and from `EXTRA_ARGUMENTS`.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import PASSWORD
from typer.testing import CliRunner, Result

import kiai.app  # noqa: F401 (imported before the rights of this process are given up)
from kiai.cli import main as kiai_cli
from kiai.cli.main import app, command_tree

CREATING = {"serve", "demo", "init", "migrate", "restore", "import"}
"""Commands and groups that may create a data folder."""

WITHOUT_DATA = {"backup-key"}
"""Commands that use no data folder."""

EXTRA_ARGUMENTS = {
    "users add": ["--password", PASSWORD],
    "users password": ["--password", PASSWORD],
    "beatmaps status": ["--map=1"],
    "users donor": ["7d"],
}
NOBODY = 65_534


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield " ".join(words), command
        return
    for word, subcommand in subcommands.items():
        yield from commands(subcommand, (*words, word))


ALL = dict(commands(command_tree()))
OTHERS = [name for name in ALL if name.split()[0] not in CREATING | WITHOUT_DATA]


@pytest.fixture(autouse=True, scope="module")
def commands_built_once() -> Iterator[None]:
    """To build a group of commands again takes half of the time of a test here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kiai_cli, "_imported", functools.cache(kiai_cli._imported))
        yield


def arguments(name: str) -> list[str]:
    """Valid arguments for the command."""
    words = name.split()
    for parameter in ALL[name].params:
        if parameter.required:
            value = {"STATUS": "ranked", "on|off": "on"}.get(parameter.metavar, "1")
            words += [parameter.opts[0], value] if parameter.opts[0].startswith("-") else [value]
    return [*words, *EXTRA_ARGUMENTS.get(name, [])]


def run(name: str, data: Path, **environment: str) -> Result:
    unset = dict.fromkeys((variable for variable in os.environ if variable.startswith("KIAI_")), None)
    return CliRunner().invoke(app, [*arguments(name), "--data", str(data)], env=unset | environment)


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


def below_an_unreadable_folder(folder: Path) -> Path:
    return unreadable(folder) / "data"


PLACES = [missing, empty, without_database, a_file, below_a_file, unreadable, below_an_unreadable_folder]


@contextlib.contextmanager
def without_root_rights(folder: Path) -> Iterator[None]:
    """Run as the user nobody if the tests run as root, because root can read every file."""
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


def test_command_list_contains_known_commands() -> None:
    assert {"doctor", "backup", "recalc", "users list", "beatmaps import", "replays import"} <= set(OTHERS)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_command_fails_without_data_and_creates_nothing(
    name: str, place: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative path, because the user nobody cannot read the folders above
    data = place(tmp_path).relative_to(tmp_path)
    before = tree(tmp_path)

    with without_root_rights(tmp_path):
        done = run(name, data)

    assert (done.exit_code, done.stdout) == (1, ""), done.output
    [line] = done.stderr.splitlines()
    assert line.startswith("kiai: ")
    assert str(data) in line
    assert "--data" in line or "run the command as" in line
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", OTHERS)
def test_command_fails_if_the_folder_of_the_files_is_missing(name: str, tmp_path: Path) -> None:
    migrated = CliRunner().invoke(app, ["migrate", "--data", str(tmp_path / "data")])
    assert migrated.exit_code == 0

    done = run(name, tmp_path / "data", KIAI_FILES=str(tmp_path / "not mounted"))

    assert (done.exit_code, done.stdout) == (1, ""), done.output
    [line] = done.stderr.splitlines()
    assert str(tmp_path / "not mounted") in line
    assert not (tmp_path / "not mounted").exists()


def test_migrate_and_demo_create_a_missing_data_folder(tmp_path: Path) -> None:
    for name in ("migrate", "demo"):
        data = tmp_path / name / "data"
        done = CliRunner().invoke(app, [name, "--data", str(data), *(["--scores", "0"] if name == "demo" else [])])

        assert done.exit_code == 0, done.output
        assert run("doctor", data).exit_code == 0
