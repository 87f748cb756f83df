"""The server installs only from wheels, and it needs no package that is only for tests.

`scripts/lock` looks for the wheels of each Python and platform, and `scripts/package` installs them. Both need a
package index, which these tests do not.
"""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONFIGURATION: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DEPENDENCIES: list[str] = CONFIGURATION["project"]["dependencies"]
SERVE = (ROOT / "requirements/serve.lock").read_text("utf-8")
IMPORT = re.compile(r"(?m)^ *(?:from (\w+)[.\w]* import |import (\w+)[.\w]*(?: as \w+)?$)")
ABSENT_HERE = {"colorama", "async-timeout"}  # for Windows and for Python before 3.11.3


def locked(text: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"(?m)^([a-zA-Z0-9._-]+)(?:\[.+\])?==", text)}


def needed(wanted: list[str]) -> set[str]:
    """The packages that these requirements bring, as the installed packages declare it."""
    found: set[str] = set()
    waiting = [Requirement(one) for one in wanted]
    done: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        key = f"{requirement.name}[{sorted(requirement.extras)}]"
        if key in done:
            continue
        done.add(key)
        found.add(canonicalize_name(requirement.name))
        for line in importlib.metadata.requires(requirement.name) or []:
            one = Requirement(line)
            extras = ["", *requirement.extras]
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(one)
    return found


def imported() -> Iterator[tuple[str, str]]:
    """Each module outside of kiai that a module of kiai imports, and where."""
    for path in sorted((ROOT / "src/kiai").rglob("*.py")):
        for found in IMPORT.finditer(path.read_text("utf-8")):
            top = found[1] or found[2]
            if top != "kiai" and top not in sys.stdlib_module_names:
                yield top, str(path.relative_to(ROOT))


def test_pip_refuses_a_package_of_the_server_that_is_no_wheel() -> None:
    assert SERVE.startswith("--only-binary :all:\n")


def test_the_lock_of_the_server_has_what_the_package_requires_and_nothing_else() -> None:
    assert locked(SERVE) - ABSENT_HERE == needed(DEPENDENCIES) - ABSENT_HERE


def test_the_server_imports_only_what_the_package_requires() -> None:
    required = needed(DEPENDENCIES)
    optional = {"src/kiai/tracing.py": needed(CONFIGURATION["project"]["optional-dependencies"]["otlp"])}
    packages = importlib.metadata.packages_distributions()

    foreign = [
        (top, path)
        for top, path in imported()
        if not any(canonicalize_name(name) in required | optional.get(path, set()) for name in packages.get(top, []))
    ]
    assert foreign == []


def test_the_tools_that_build_the_wheel_are_pinned() -> None:
    pinned = CONFIGURATION["build-system"]["requires"]

    assert [one.partition("==")[0] for one in pinned] == ["hatchling", "hatch-vcs"]
    assert (ROOT / "requirements/build.in").read_text("utf-8").split() == pinned
    lock = (ROOT / "requirements/build.lock").read_text("utf-8")
    for one in pinned:
        assert re.fullmatch(r"[a-z-]+==[0-9.]+", one)
        assert re.search(rf"(?m)^{re.escape(one)} ", lock)
