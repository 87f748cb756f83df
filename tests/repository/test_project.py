"""The project's front: metadata of the package, the changelog, and the forms for issues."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from kiai.version import NEWEST_RELEASE

ROOT = Path(__file__).parents[2]
CONFIGURATION: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT: dict[str, Any] = CONFIGURATION["project"]
WANTED = [
    *PROJECT["dependencies"],
    *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def test_the_package_has_the_licence_and_is_typed() -> None:
    assert PROJECT["license"] == "MIT"
    assert PROJECT["license-files"] == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")
    assert (ROOT / "src/kiai/py.typed").exists()


def test_the_changelog_begins_with_what_is_unreleased_and_has_every_version_newest_first() -> None:
    headings = re.findall(r"(?m)^## (.+)$", CHANGELOG)

    assert headings[0] == "[Unreleased]"
    versions = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    found = [(Version(one[1]), one[2]) for one in versions if one]
    assert len(found) == len(versions)
    assert found == sorted(found, reverse=True)
    assert found[0][0] == Version(NEWEST_RELEASE)
    assert CONFIGURATION["tool"]["hatch"]["version"]["fallback-version"] == NEWEST_RELEASE


def test_a_version_in_the_changelog_has_each_kind_of_change_once() -> None:
    for section in re.split(r"(?m)^## ", CHANGELOG)[1:]:
        kinds = re.findall(r"(?m)^### (.+)$", section)
        assert len(set(kinds)) == len(kinds), section.splitlines()[0]
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("wanted", WANTED)
def test_a_dependency_is_a_range_that_the_lock_file_is_in(wanted: str) -> None:
    requirement = Requirement(wanted)
    lock = (ROOT / "requirements/test.lock").read_text("utf-8")

    locked = re.search(rf"(?m)^{re.escape(requirement.name)}(?:\[.+\])?==(\S+)", lock)

    assert locked is not None
    assert locked[1] in requirement.specifier
    assert {one.operator for one in requirement.specifier} == {">=", "<"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_the_form_of_an_issue_is_one_that_the_forge_accepts(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))

    assert {"name", "description", "body"} <= set(form)
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    assert all(one["type"] in ("input", "textarea", "dropdown") and one["attributes"]["label"] for one in fields)
    names = [one["id"] for one in fields]
    assert len(set(names)) == len(names)
    assert any(one.get("validations", {}).get("required") for one in fields)
