"""Clients generated from the OpenAPI document: made without a warning, compiled, and used against a server.

The code that `/docs` shows is run too. `tests/client_tools.py` says how the generators are installed.
"""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.client_tools import NODE_PACKAGES, ClientTools, client_tools
from tests.demo_server import PLAYER, DemoServer, demo_server
from tests.faces.api.openapi_examples import PICTURE
from tests.patience import patiently

from kiai.faces.api.examples import load_examples
from kiai.faces.api.snippets import KEY, javascript, python

EXAMPLES = load_examples().operations
NAME = "Frotol"


@pytest.fixture(scope="module")
def tools() -> ClientTools:
    return client_tools()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    with demo_server(tmp_path_factory.mktemp("demo") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def document(server: DemoServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document as a tool on the bare host gets it."""
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_bytes(httpx.get(f"{server.url}/openapi.json").content)
    return file


@pytest.fixture(scope="module")
def python_client(tools: ClientTools, document: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the package `kiai_client`, and what its generator printed."""
    folder = tmp_path_factory.mktemp("python")
    generate = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document)]
    generate += ["--output-path", "kiai_client", "--meta", "none", "--fail-on-warning"]
    return folder, tools.run(generate, cwd=folder)


def test_the_python_client_is_generated_whole_and_without_a_warning(
    python_client: tuple[Path, str], document: Path
) -> None:
    folder, printed = python_client

    made = {file.stem for file in (folder / "kiai_client" / "api").glob("*/*.py")} - {"__init__"}

    assert printed.split() == ["Generating", "kiai_client"]
    paths = json.loads(document.read_bytes())["paths"].values()
    assert made == {operation["operationId"] for methods in paths for operation in methods.values()}


def test_the_python_client_works(tools: ClientTools, python_client: tuple[Path, str], server: DemoServer) -> None:
    folder, _ = python_client
    program = Path(shutil.copy(NODE_PACKAGES / "use_client.py", folder))
    shutil.copy(PICTURE, folder)

    used = tools.run([sys.executable, str(program), f"{server.url}/api", server.keys[PLAYER]], cwd=folder)

    found = json.loads(used)
    assert found.pop("replay") > 1_000
    assert found == {
        "name": NAME,
        "scores": 2,
        "refused": [400, "limit must be a whole number from 1 to 100, got 500."],
        "worth": [True, True],
        "player": NAME,
        "maps": [True, True, True],
        "style": 6,
        "pictured": "success",
    }


def test_typescript_types_are_generated_without_a_warning_and_a_client_compiles_and_works(
    tools: ClientTools, document: Path, server: DemoServer, tmp_path: Path
) -> None:
    for name in ("use_client.ts", "tsconfig.json"):
        shutil.copy(NODE_PACKAGES / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    (tmp_path / "node_modules").symlink_to(tools.node_modules)

    printed = tools.run(["openapi-typescript", str(document), "-o", "api.ts"], cwd=tmp_path)
    compiled = tools.run(["tsc", "--project", "tsconfig.json"], cwd=tmp_path)
    used = tools.run(["node", "use_client.ts", f"{server.url}/api", server.keys[PLAYER]], cwd=tmp_path)

    assert "warn" not in printed.lower(), printed
    assert compiled == ""
    found = json.loads(used)
    assert found.pop("total") > 2
    assert found == {
        "name": NAME,
        "pp": 2,
        "style": 6,
        "sentence": "limit must be a whole number from 1 to 100, got 500.",
        "code": 400,
    }


# --- the code that /docs shows


class Enough(Exception):
    """Ends a program that would read a stream for ever."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_python_example_gets_the_answer(
    server: DemoServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = EXAMPLES[name]
    shutil.copy(PICTURE, tmp_path)
    monkeypatch.chdir(tmp_path)
    for method in ("get", "post", "put"):  # the examples leave httpx its 5 seconds
        monkeypatch.setattr(httpx, method, partial(getattr(httpx, method), timeout=patiently(5)))
    printed: list[Any] = []

    def show(value: Any) -> None:
        printed.append(value)
        if example.kind == "stream" and len(printed) == 5:
            raise Enough

    code = python(example, f"{server.url}/api").replace(KEY, server.keys[PLAYER])
    with pytest.raises(Enough) if example.kind == "stream" else contextlib.nullcontext():
        exec(compile(code, name, "exec"), {"print": show})

    if example.kind == "file":
        assert len((tmp_path / "replay.osr").read_bytes()) > 1_000
    elif example.kind == "stream":
        assert "event: presence" in printed
    else:
        [answer] = printed
        assert set(answer) == set(example.answer) if isinstance(answer, dict) else len(answer) == len(example.answer)


def test_every_javascript_example_gets_its_answer(tools: ClientTools, server: DemoServer, tmp_path: Path) -> None:
    base = f"{server.url}/api"
    codes = {name: javascript(one, base).replace(KEY, server.keys[PLAYER]) for name, one in EXAMPLES.items()}
    (tmp_path / "codes.json").write_text(json.dumps(codes), "utf-8")
    shutil.copy(PICTURE, tmp_path)

    ran = json.loads(tools.run(["node", str(NODE_PACKAGES / "run_examples.mjs")], cwd=tmp_path))

    assert set(ran) == set(EXAMPLES)
    for name, example in EXAMPLES.items():
        if example.kind == "json":
            [answer] = ran[name]
            assert type(answer) is type(example.answer), name
            assert set(answer) == set(example.answer) if isinstance(answer, dict) else answer, name
