"""Chromium, and a server with the demo data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests import runs, stores
from tests.browser import kit
from tests.patience import patiently
from tests.wire.kit import Server, cli

from kiai.server_process import DEMO


@pytest.fixture(autouse=True)
def patient_expectations() -> None:
    """Let expectations wait as long as a slow machine needs."""
    expect.set_options(timeout=patiently(kit.LOAD_S) * 1_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for all tests of a file."""
    with sync_playwright() as playwright:
        browser = kit.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo data. The rate limits are off: the browser loads pages as fast as it can."""

    def build(target: Path) -> None:
        cli(target, "demo", *(str(part) for name, value in DEMO.items() for part in (f"--{name}", value)))

    data = stores.copied(runs.once("demo-site", build), tmp_path_factory.mktemp("browser") / "data")
    server = Server(data, RATE_LIMITS="off").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    return kit.axe_script()
