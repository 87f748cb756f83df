"""The part of `.ci/run` on PostgreSQL and Redis leaves out only modules whose subject does not depend on the stores."""

import re
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
SHARED: Final = 'STORES=shared scripts/test tests/wire tests/clients tests/faults/test_backups.py -m "not any_store"\n'
MARKED: Final = re.compile(r"^pytestmark = pytest\.mark\.any_store$", re.MULTILINE)
ANY_STORE: Final = {
    "generated_clients": "the document of the API, on a server of its own with SQLite",
    "heavy_replays": "the processes that decode replays",
    "kit": "the servers of the tests",
    "memory_of_uploads": "the bodies of requests, before anything is read or stored",
    "parameters": "the parameters of requests, which are checked before anything is read",
    "profile": "the profiler of a process",
    "schemathesis": "the document of the API",
    "tls": "TLS, ports, redirects and certificates in the data folder",
}
"""Modules of `tests/wire` and their subjects."""


def test_only_listed_modules_are_left_out_on_shared_stores() -> None:
    marked = {
        str(path.relative_to(REPOSITORY / "tests"))
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if "any_store" in path.read_text("utf-8") and path != Path(__file__)
    }

    assert marked == {f"wire/test_{name}.py" for name in ANY_STORE}
    for name in ANY_STORE:
        assert MARKED.search((REPOSITORY / "tests" / "wire" / f"test_{name}.py").read_text("utf-8")), "the whole module"


def test_everything_else_runs_on_shared_stores_and_all_of_it_on_one_machine() -> None:
    commands = (REPOSITORY / ".ci" / "run").read_text("utf-8")

    assert commands.endswith(SHARED)
    assert commands.splitlines().count("scripts/test") == 1, "all tests, without a selection"
