"""Chromium for tests of the website, and what every page must fulfil in it."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect
from tests import runs
from tests.patience import patiently, wait_until

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The headless shell first: it has no windows, and the tests take half of the processor time."""
LOAD_S: Final = 15.0
SETTLED_S: Final = 2.0
WIDTHS: Final = (390, 768, 1280)
HEIGHT: Final = 900
# Only violations: a page has hundreds of elements that pass, and their description takes most of the time.
_AXE: Final = "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
_MARK_LIVE_PARTS: Final = """
document.addEventListener("part", (event) => event.target.closest("[data-live]")?.setAttribute("data-arrived", ""));
"""
_STICKING_OUT: Final = """
async () => {
  await document.fonts.ready;
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const beyond = [...document.body.querySelectorAll("*")].filter(
    (element) => element.getBoundingClientRect().right > root.clientWidth + 0.5);
  const told = beyond.slice(0, 5).map((one) => one.outerHTML.slice(0, 120));
  return [`the page scrolls sideways: ${root.scrollWidth} > ${root.clientWidth} px`, ...told];
}
"""
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


def a_visitor(browser: Browser, **options: Any) -> BrowserContext:
    """Return a new visitor with a wide window, who waits for a slow machine. `options` are those of Playwright."""
    context = browser.new_context(**{"locale": "en", "viewport": {"width": WIDTHS[-1], "height": HEIGHT}, **options})
    context.set_default_timeout(patiently(LOAD_S) * 1_000)
    return context


def visit(browser: Browser, url: str, **options: Any) -> tuple[BrowserContext, Page]:
    """Open a page as a new visitor. `options` are those of a Playwright context."""
    context = a_visitor(browser, **options)
    page = context.new_page()
    page.goto(url)
    return context, page


def open_live(page: Page, url: str, part: str) -> None:
    """Open a page and wait until its stream has sent this live part."""
    page.add_init_script(_MARK_LIVE_PARTS)
    page.goto(url)
    # The attribute is set even if the stream opens before the page has loaded.
    expect(page.locator(f'[data-live^="{part}"][data-arrived]')).to_have_count(1)


def axe_script() -> str:
    """Return the script of axe-core, which finds violations of accessibility rules."""

    def install(target: Path) -> None:
        done = subprocess.run(
            [ROOT / "scripts/web", "tools"], capture_output=True, text=True, check=True, timeout=patiently(300)
        )
        shutil.copy(Path(done.stdout.strip()) / "axe-core" / "axe.min.js", target)

    return runs.once("axe.js", install).read_text("utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """Return the violations of WCAG A and AA on a page: the rule, its help, and the first elements."""
    # By the protocol of the developer tools, because the page's policy forbids scripts of others.
    page.evaluate(f"{axe}; 0")  # else Playwright serializes what the script returns
    result = page.evaluate(_AXE, list(AXE_TAGS))
    return [
        f"{found['id']}: {found['help']}: {[node['target'] for node in found['nodes'][:3]]}"
        for found in result["violations"]
    ]


def sticking_out(page: Page) -> list[str]:
    """Return the elements that make the page scroll sideways, outermost first, or nothing if it fits.

    A page that is resized under load needs a few frames before its charts and menus have the new width.
    """
    found: list[str] = []

    def fits() -> bool:
        found[:] = page.evaluate(_STICKING_OUT)
        return not found

    with contextlib.suppress(AssertionError):
        wait_until(fits, within_s=SETTLED_S)
    return found


def faults_of(page: Page, axe: str) -> dict[str, list[str]]:
    """Return what is wrong with a page in windows of three widths: violations, and whether it scrolls sideways.

    Axe takes most of the time, so it runs once in each theme: in a wide window in the dark one, and in a narrow one in
    the light one.
    """
    found: dict[str, list[str]] = {}
    judged = WIDTHS[-1] if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else WIDTHS[0]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        if wide := sticking_out(page):
            found[f"{width} px"] = wide
        if width == judged and (wrong := violations(page, axe)):
            found[f"{width} px, axe"] = wrong
    return found
