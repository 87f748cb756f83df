"""Lighthouse over the main pages of a demo server. See `scripts/lighthouse`."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from scripts.lib.screenshots import PLAYER, PROGRAMS, SET, demo_server
from scripts.lib.web import Failed, node, npm

PAGES: Final[Mapping[str, str]] = {
    "home": "/",
    "leaderboard": "/leaderboard",
    "profile": f"/users/{PLAYER}",
    "set": f"/beatmapsets/{SET}",
}
CATEGORIES: Final = ("performance", "accessibility", "best-practices", "seo")
RATING_MIN: Final = 95
TRIES: Final = 3
FLAGS: Final = "--headless=new --no-sandbox --disable-dev-shm-usage"


def rate(program: str, url: str, folder: Path) -> dict[str, Any]:
    """Return the report of Lighthouse about a page."""
    report = folder / "report.json"
    options = ("--quiet", "--output=json", f"--output-path={report}", f"--chrome-flags={FLAGS}")
    categories = f"--only-categories={','.join(CATEGORIES)}"
    cli = npm("lighthouse") / "node_modules" / "lighthouse" / "cli" / "index.js"
    for _ in range(TRIES):  # on a busy machine, Chromium sometimes records no trace
        done = node(cli, url, *options, categories, environment={"CHROME_PATH": program})
        if not done.returncode and report.exists():
            break
    else:
        raise Failed(f"Lighthouse failed at {url}:\n{done.stdout}")
    found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    report.unlink()
    return found


def ratings(report: Mapping[str, Any]) -> dict[str, int]:
    """Return the rating of each category, 0 to 100."""
    return {name: round(100 * (report["categories"][name]["score"] or 0)) for name in CATEGORIES}


def faults(report: Mapping[str, Any]) -> list[str]:
    """Return the audits that lower a rating."""
    counted = {
        reference["id"]
        for name in CATEGORIES
        for reference in report["categories"][name]["auditRefs"]
        if reference["weight"]
    }
    return [
        f"{audit['id']}: {audit['title']} {audit.get('displayValue', '')}".rstrip()
        for name, audit in report["audits"].items()
        if name in counted and audit["score"] is not None and audit["score"] < 1
    ]


def main() -> int:
    """Rate the pages and print the table. Return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/lighthouse", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="page", help=f"some of: {', '.join(PAGES)}; default all")
    parser.add_argument("--runs", type=int, default=1, help="runs of each page; the best counts, default %(default)s")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="also write the reports to this folder")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in PAGES]:
        parser.error(f"unknown: {', '.join(unknown)}")
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        print("scripts/lighthouse: Chromium is not installed", file=sys.stderr)
        return 1
    table, low = Table("page", *CATEGORIES, title="Lighthouse"), False
    console = Console()
    with tempfile.TemporaryDirectory() as folder, demo_server() as address:
        for name in options.names or PAGES:
            url = address.rstrip("/") + PAGES[name]
            # A busy machine only lowers the rating of performance.
            reports = [rate(program, url, Path(folder)) for _ in range(options.runs)]
            report = max(reports, key=lambda one: ratings(one)["performance"])
            if options.report:
                options.report.mkdir(parents=True, exist_ok=True)
                (options.report / f"{name}.json").write_text(json.dumps(report), "utf-8")
            rated = ratings(report)
            low = low or min(rated.values()) < RATING_MIN
            table.add_row(name, *(str(value) for value in rated.values()))
            for fault in faults(report):
                console.print(f"{name}: {fault}", highlight=False)
    console.print(table)
    return int(low)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"scripts/lighthouse: {failure}", file=sys.stderr)
        sys.exit(1)
