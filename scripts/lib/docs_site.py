"""Hook for mkdocs: adds files from outside `docs/`, and expands `FOLDER/*` in the navigation.

The pages link to each other by their paths in the repository, so that the links also work on the forge. mkdocs reads
`docs/` only. This hook adds the Markdown files in the root of the repository as `project/NAME.md`, the licence as a
page, and the examples in `deploy/` as plain files. A link to any other file outside `docs/` is a warning, which fails a
strict build.
"""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
CELL = re.compile(r"(?s)<t([dh])\b.*?</t\1>")
CODE = re.compile(r"(?ms)(^```.*?^```$)")

log = logging.getLogger("mkdocs.hooks.docs_site")


def _added() -> dict[Path, str]:
    """Return the files from outside `docs/`, each with its path on the website."""
    pages = {path: f"project/{path.stem.lower()}.md" for path in ROOT.glob("*.md") if path.name != "README.md"}
    examples = {path: str(path.relative_to(ROOT)) for path in (ROOT / "deploy").rglob("*") if path.is_file()}
    return {**pages, **examples, ROOT / "LICENSE": "project/license.md"}


def on_config(config: Any) -> Any:
    """Replace `FOLDER/*` in the navigation with the pages of this folder that the navigation does not list."""
    listed = set(_pages(config.nav))
    config.nav = _expanded(config.nav, listed)
    return config


def _pages(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for target in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [target] if isinstance(target, str) else _pages(target)


def _expanded(nav: list[Any], listed: set[str]) -> list[Any]:
    expanded: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            expanded.append(
                {title: below if isinstance(below, str) else _expanded(below, listed) for title, below in entry.items()}
            )
        elif entry.endswith("/*"):
            found = (str(path.relative_to(DOCS)) for path in sorted(DOCS.glob(f"{entry}.md")))
            expanded.extend(page for page in found if page not in listed)
        else:
            expanded.append(entry)
    return expanded


def on_files(files: Any, config: Any) -> Any:
    """Add the files from outside `docs/`."""
    for path, uri in _added().items():
        if path.name == "LICENSE":
            text = f"# Licence\n\n```text\n{path.read_text('utf-8')}```\n"
            files.append(File.generated(config, uri, content=text))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links from or to files outside `docs/` with links of the website."""
    if page.file.abs_src_path is None:
        return markdown
    source = Path(page.file.abs_src_path)
    added = _added()

    def replace(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / found[1]))
        if target.is_relative_to(DOCS):
            uri = str(target.relative_to(DOCS))
        elif target in added:
            uri = added[target]
        else:
            log.warning("%s links to %s, which is not on the website", source.relative_to(ROOT), found[1])
            return found[0]
        return os.path.relpath(uri, os.path.dirname(page.file.src_uri) or ".")

    parts = CODE.split(markdown)
    return "".join(part if index % 2 else LINK.sub(replace, part) for index, part in enumerate(parts))


def on_page_content(html: str, **_: Any) -> str:
    """Show `|` for `\\|` in the code of a table cell, as the forge does. Python-Markdown keeps the backslash."""
    return CELL.sub(lambda cell: cell[0].replace("\\|", "|"), html)
