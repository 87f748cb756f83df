"""The documents cover every endpoint, parameter, command, option and metric, and have no dead link."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.repository.headings import anchors

from kiai.app import open_services
from kiai.cli.main import command_tree
from kiai.faces.api.operation import Operation
from kiai.logs import AccessLog
from kiai.server import HttpServer
from kiai.settings import load_settings
from kiai.storage.tables import metadata

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/api/README.md").read_text("utf-8")
COMMANDS = (ROOT / "docs/operate/commands.md").read_text("utf-8")
AGREEING = ("scaling", "operate/cluster", "operate/health")
HEALTH = (ROOT / "docs/operate/health.md").read_text("utf-8")
SETTINGS = (ROOT / "docs/operate/settings.md").read_text("utf-8")
DOCUMENTS = [path for folder in ("*", ".github/**/*", "docs/**/*") for path in sorted(ROOT.glob(f"{folder}.md"))]

BUILD_FOLDERS = ("work", "workspace", "home", "root", "tmp", "Users", "builds")


Served = tuple[list[Operation], dict[str, tuple[str, ...]]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The operations of the API, and the names of the metrics with their labels."""

    async def look() -> Served:
        async with open_services(load_settings(data=tmp_path_factory.mktemp("data"))) as services:
            server = HttpServer(services, AccessLog())
            return server.operations, server.metrics.labels

    return asyncio.run(look())


def test_every_v1_endpoint_has_its_section_with_an_example_and_each_parameter(
    served: Served,
) -> None:
    operations = [one for one in served[0] if one.version == 1]
    assert operations

    for one in operations:
        section = _section(API, one.path.removeprefix("/"))
        assert "curl " in section, one.path
        assert f"localhost:8080{one.path}" in section, one.path
        for parameter in (*_fields(one.query), *_fields(one.body_type)):
            assert f"`{parameter}`" in section, f"{one.path} {parameter}"


def test_every_v2_endpoint_has_its_line_with_each_parameter(served: Served) -> None:
    operations = [one for one in served[0] if one.version == 2]
    assert operations

    for one in operations:
        [line] = [line for line in API.splitlines() if line.startswith(f"| `{one.path}` |")]
        for parameter in _fields(one.query):
            assert f"`{parameter}`" in line, f"{one.path} {parameter}"


def test_no_endpoint_is_documented_that_does_not_exist(served: Served) -> None:
    paths = {one.path for one in served[0]}

    documented = {f"/{name}" for name in re.findall(r"(?m)^### (\w+)$", API)}
    documented |= set(re.findall(r"(?m)^\| `(/v2/[^`]+)` \|", API))

    assert documented == paths


def test_every_command_has_its_section_with_an_example_and_each_option() -> None:
    common = COMMANDS.partition("\n## ")[0]
    commands = dict(_commands(command_tree(), "kiai"))
    assert commands

    for name, options in commands.items():
        section = _section(COMMANDS, name)
        assert f"\n{name} " in section, f"{name} has no example"
        for option in options:
            assert re.search(rf"{option}\b", section + common), f"{name} {option}"


def test_no_command_is_documented_that_does_not_exist() -> None:
    commands = dict(_commands(command_tree(), "kiai"))

    documented = set(re.findall(r"(?m)^## (kiai .+)$", COMMANDS))

    assert documented == set(commands)


def test_the_metrics_are_those_that_are_documented(served: Served) -> None:
    documented = re.findall(r"(?m)^\| `((?:kiai|process)_\w+)` \| (\w+) \|([^|]*)\|", HEALTH)

    found = {(name, *re.findall(r"`(\w+)`", labels)) for name, _, labels in documented}
    assert len(found) == len(documented)
    assert found == {(name, *labels) for name, labels in served[1].items()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_that_a_document_names_exists(document: Path) -> None:
    for variable in re.findall(r"\bKIAI_[A-Z_]+", document.read_text("utf-8")):
        assert f"`{variable}`" in SETTINGS or variable == "KIAI_CONFIG", variable


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_decision_is_in_their_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")

    listed = re.findall(r"(?m)^\| (\d{3}) \| \[.+\]\((.+)\) \|", index)

    files = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert listed == [(name[:3], name) for name in files]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_folder_of_the_machine_it_was_written_on(document: Path) -> None:
    found = re.search(rf"(?<![\w.~-])/({'|'.join(BUILD_FOLDERS)})/", document.read_text("utf-8"))

    assert found is None, found


def _section(document: str, title: str) -> str:
    """Return the text under a heading, up to the next heading of any level."""
    found = re.search(rf"(?ms)^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", document)
    assert found is not None, f"no section {title}"
    return found[1]


def _fields(struct: type[msgspec.Struct] | None) -> tuple[str, ...]:
    return () if struct is None else struct.__struct_fields__


def _commands(command: object, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the full name of each subcommand, with its long options."""
    below: dict[str, object] = getattr(command, "commands", {})
    for word, one in below.items():
        yield from _commands(one, f"{name} {word}")
    if not below:
        parameters = getattr(command, "params", [])
        yield name, [option for one in parameters for option in one.opts if option.startswith("--")]


def test_every_table_has_a_bound_in_the_limits() -> None:
    rows = (ROOT / "docs/operate/limits.md").read_text("utf-8").partition("## Rows")[2]

    listed = set(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", rows, re.MULTILINE))
    named = {name for line in listed for name in re.findall(r"`(\w+)`", line)}

    assert named == set(metadata.tables)


def test_the_pages_agree_on_polls_per_player_and_players_per_core() -> None:
    pages = [" ".join((ROOT / f"docs/{page}.md").read_text("utf-8").split()) for page in AGREEING]

    for page in pages:
        assert "n online player sends 0.5 polls per second" in page
        assert "ne core serves about 10,000 players online in a single process, and about 4,500 in a worker" in page
