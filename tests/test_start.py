"""A starting server imports no package that few servers need, and no file of its folder. Figures cannot stop it."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests import stores
from tests.patience import patiently

import kiai
from kiai.app import open_services
from kiai.errors import Unavailable
from kiai.logs import AccessLog
from kiai.server import HttpServer

UNUSED: Final = {
    "babel": "1 MB, only for pages",
    "PIL": "pictures are decoded in processes of their own",
    "cryptography": "16 MB, only for TLS in the process",
    "kiai.faces.irc": "only for servers with IRC",
    "markdown_it": "only for pages with texts",
    "multiprocessing": "only for uvicorn's command line",
    "pydantic": "7 MB: `kiai serve` reads the settings and hands them over",
    "pydantic_settings": "as pydantic",
    "redis": "only with a URL of Redis",
    "rich": "only for commands",
    "typer": "only for commands",
    "xml.sax": "pages escape texts with `html`",
}


NOT_OF_A_SUPERVISOR: Final = ("kiai.app", "kiai.storage", "sqlalchemy", "falcon", "jinja2", "uvicorn", "rich")


def imported_by(module: str) -> set[str]:
    """The packages that a process has imported before it opens anything. It ends for want of settings."""
    code = """if True:
        import json, runpy, sys
        try:
            runpy.run_module(sys.argv.pop(), run_name="__main__")
        except ValueError:
            print(json.dumps([name for name, module in sys.modules.items() if module]))
    """
    done = subprocess.run(
        [sys.executable, "-c", code, module], capture_output=True, check=True, text=True, timeout=patiently(120)
    )
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def imported() -> set[str]:
    return imported_by("kiai.server_process")


@pytest.mark.parametrize("package", UNUSED)
def test_server_starts_without_a_package_that_it_may_not_need(imported: set[str], package: str) -> None:
    assert package not in imported, UNUSED[package]
    assert "kiai.app" in imported


def test_supervisor_of_workers_has_imported_neither_services_nor_stores() -> None:
    found = imported_by("kiai.supervisor_process")

    assert "kiai.supervisor" in found
    assert found.isdisjoint(NOT_OF_A_SUPERVISOR), found & set(NOT_OF_A_SUPERVISOR)


def test_no_process_of_the_server_imports_files_of_the_present_folder(tmp_path: Path) -> None:
    for name in ("kiai", "uvloop", "secrets"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the folder')")
    command = [sys.executable, "-P", "-m", "kiai", "serve", "--port", "0", "--data", "data"]

    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline().startswith("ready ")
        finally:
            server.kill()


def test_every_command_of_python_leaves_out_the_present_folder() -> None:
    texts = [path.read_text("utf-8") for path in Path(kiai.__file__).parent.rglob("*.py")]

    commands = [found[1] for text in texts for found in re.finditer(r'("-P",\s*)?"-m"', text)]

    assert len(commands) >= 8
    assert all(commands)


def test_server_starts_although_a_figure_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def backlog() -> None:
        raise Unavailable("database", "it is busy")

    async def main() -> str:
        async with open_services(stores.settings(tmp_path / "data")) as services:
            monkeypatch.setattr(services.outbox, "backlog", backlog)
            log = AccessLog("json")
            server = HttpServer(services, log)
            await server.begin()
            log.close()
            return server.metrics.text().decode()

    assert "kiai_players_online 0.0" in asyncio.run(main())
