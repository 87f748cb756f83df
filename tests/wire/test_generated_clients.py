"""Clients generated from the OpenAPI document: the generators give no warning, and the clients compile and work.

The code samples of `/docs` run, too. `tests/client_tools.py` installs the generators.
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
from tests.faces.api.openapi_examples import PICTURE, REQUESTS
from tests.patience import patiently

from kiai.faces.api.examples import load_examples
from kiai.faces.api.snippets import KEY, javascript, python

pytestmark = pytest.mark.any_store

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
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A second server, because the examples write, and each one follows from those before it."""
    with demo_server(tmp_path_factory.mktemp("untouched") / "data") as running:
        yield running


def key_of(server: DemoServer, name: str) -> str:
    """Return the key with which an example was made."""
    return server.keys[REQUESTS[name].by or PLAYER]


@pytest.fixture(scope="module")
def document(server: DemoServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document as a tool gets it from the bare host."""
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_bytes(httpx.get(f"{server.url}/openapi.json").content)
    return file


@pytest.fixture(scope="module")
def python_client(tools: ClientTools, document: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the package `kiai_client`, and the output of its generator."""
    folder = tmp_path_factory.mktemp("python")
    generate = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document)]
    generate += ["--output-path", "kiai_client", "--meta", "none", "--fail-on-warning"]
    return folder, tools.run(generate, cwd=folder)


def test_python_client_is_generated_completely_and_without_a_warning(
    python_client: tuple[Path, str], document: Path
) -> None:
    folder, printed = python_client

    generated = {file.stem for file in (folder / "kiai_client" / "api").glob("*/*.py")} - {"__init__"}

    assert printed.split() == ["Generating", "kiai_client"]
    paths = json.loads(document.read_bytes())["paths"].values()
    assert generated == {operation["operationId"] for methods in paths for operation in methods.values()}


def test_python_client_works(tools: ClientTools, python_client: tuple[Path, str], server: DemoServer) -> None:
    folder, _ = python_client
    program = Path(shutil.copy(NODE_PACKAGES / "use_client.py", folder))
    shutil.copy(PICTURE, folder)

    used = tools.run([sys.executable, str(program), f"{server.url}/api", server.keys[PLAYER]], cwd=folder)

    found = json.loads(used)
    assert found.pop("replay") > 500
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


def test_typescript_types_are_generated_without_a_warning_and_their_client_works(
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


# --- the snippets of /docs


class StreamRead(Exception):
    """Ends a program that would read a stream forever."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_python_example_gets_the_documented_response(
    server: DemoServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = EXAMPLES[name]
    shutil.copy(PICTURE, tmp_path / (example.upload or PICTURE.name))
    monkeypatch.chdir(tmp_path)
    # The examples use the default timeout of httpx, 5 seconds. They ask by http: the settings of https would take
    # longer than the requests.
    for method in ("get", "post", "put", "patch", "delete", "request", "stream"):
        changed = partial(getattr(httpx, method), timeout=patiently(5), verify=False)
        monkeypatch.setattr(httpx, method, changed)
    printed: list[Any] = []

    def show(value: Any) -> None:
        printed.append(value)
        if example.kind == "stream" and len(printed) == 5:
            raise StreamRead

    code = python(example, f"{server.url}/api").replace(KEY, key_of(server, name))
    with pytest.raises(StreamRead) if example.kind == "stream" else contextlib.nullcontext():
        exec(compile(code, name, "exec"), {"print": show})

    if example.kind == "file":
        assert len((tmp_path / "replay.osr").read_bytes()) > 500
    elif example.kind == "stream":
        assert "event: presence" in printed
    else:
        [answer] = printed
        assert set(answer) == set(example.answer) if isinstance(answer, dict) else len(answer) == len(example.answer)


def test_every_javascript_example_gets_the_documented_response(
    tools: ClientTools, untouched: DemoServer, tmp_path: Path
) -> None:
    base = f"{untouched.url}/api"
    codes = {
        name: javascript(example, base).replace(KEY, key_of(untouched, name)) for name, example in EXAMPLES.items()
    }
    (tmp_path / "codes.json").write_text(json.dumps(codes), "utf-8")
    shutil.copy(PICTURE, tmp_path)

    ran = json.loads(tools.run(["node", str(NODE_PACKAGES / "run_examples.mjs")], cwd=tmp_path))

    assert set(ran) == set(EXAMPLES)
    for name, example in EXAMPLES.items():
        if example.kind == "json":
            [answer] = ran[name]
            assert type(answer) is type(example.answer), name
            assert set(answer) == set(example.answer) if isinstance(answer, dict) else answer, name
