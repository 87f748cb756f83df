"""docs/engineer/README.md shows every module of the package in its tree, and the layers of the import contract."""

import re
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "kiai"
GUIDE: Final = (ROOT / "docs" / "engineer" / "README.md").read_text("utf-8")
UNLISTED: Final = frozenset(("__init__.py", "__main__.py", "__pycache__", "py.typed"))
"""Names that every package has; they explain nothing."""


def block(heading: str) -> str:
    """Return the first code block under a heading of the guide."""
    found = re.search(rf"(?ms)^## {re.escape(heading)}\n.*?^```\n(.*?)^```", GUIDE)
    assert found is not None, heading
    return found[1]


def names_in(folder: Path) -> set[str]:
    """Return the modules and packages in a folder, as the tree writes them: `jobs.py`, `scores/`."""
    return {
        f"{path.name}/" if path.is_dir() else path.name
        for path in folder.iterdir()
        if path.name not in UNLISTED and (path.is_dir() or path.suffix == ".py")
    }


def test_the_tree_lists_every_module_of_the_package_and_of_the_faces() -> None:
    listed = set(re.findall(r"(?<![\w/.])(\w+(?:\.py|/))(?![\w/])", block("The tree")))

    expected = names_in(PACKAGE) | names_in(PACKAGE / "faces")
    assert sorted(expected - listed) == []


def test_the_tree_lists_nothing_that_does_not_exist() -> None:
    lines = [line.split("  ")[1:] for line in block("The tree").splitlines() if line.startswith("  ")]
    named = {name for parts in lines for name in re.findall(r"(?<![\w/.])\w+\.py", " ".join(parts))}

    files = {path.name for path in PACKAGE.rglob("*.py")}
    assert sorted(named - files) == []


def test_the_layers_are_those_of_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]

    drawn = [re.split(r"\s{2,}", line)[0].split(" | ") for line in block("Who may import whom").splitlines()]
    contract = [layer.replace("kiai.", "").split(" | ") for layer in layers]
    assert drawn == [layer for layer in contract if layer != ["__main__"]]
