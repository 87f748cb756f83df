"""Chromium for tests of the website, and what every page must fulfil in it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright
from tests import runs
from tests.patience import patiently

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
LOAD_S: Final = 15.0
WIDTHS: Final = (390, 768, 1280)
# Only violations: a page has hundreds of elements that pass, and their description takes most of the time.
_AXE: Final = "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
AXE_TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


def program() -> str:
    """Return the path of Chromium. Without one, fail in CI and skip elsewhere."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        missing = "Chromium is not installed; scripts/test installs it as root on Debian"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window."""
    # The sandbox needs privileges that containers do not have; the tests open only pages of their own server.
    return playwright.chromium.launch(executable_path=program(), args=["--no-sandbox", "--disable-dev-shm-usage"])


def visit(browser: Browser, url: str, **options: Any) -> tuple[BrowserContext, Page]:
    """Open a page as a new visitor. `options` are those of a Playwright context."""
    context = browser.new_context(**{"locale": "en", "viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(patiently(LOAD_S) * 1_000)
    page = context.new_page()
    page.goto(url)
    return context, page


def axe_script() -> str:
    """Return the script of axe-core, which finds violations of accessibility rules."""

    def install(target: Path) -> None:
        done = subprocess.run([ROOT / "scripts/web", "tools"], capture_output=True, text=True, check=True)
        shutil.copy(Path(done.stdout.strip()) / "axe-core" / "axe.min.js", target)

    return runs.once("axe.js", install).read_text("utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """Return the violations of WCAG A and AA on a page: the rule, its help, and the first elements."""
    # By the protocol of the developer tools, because the page's policy forbids scripts of others.
    page.evaluate(axe)
    result = page.evaluate(_AXE, list(AXE_TAGS))
    return [
        f"{found['id']}: {found['help']}: {[node['target'] for node in found['nodes'][:3]]}"
        for found in result["violations"]
    ]


def overflows(page: Page) -> bool:
    """Return whether the page is wider than its window, so that it scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
