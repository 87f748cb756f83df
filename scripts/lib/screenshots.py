"""Pictures of the website from a demo server. See `scripts/screenshots`."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = ROOT / "docs" / "images"
KIAI: Final = (sys.executable, "-m", "kiai")
PLAYER: Final = 8  # of the demo data
SET: Final = 300_000
SCORE: Final = 258
PAGES: Final = (
    "/",
    "/connect",
    "/leaderboard",
    "/leaderboard/countries",
    "/leaderboard/clans",
    "/leaderboard/plays",
    f"/users/{PLAYER}",
    f"/users/{PLAYER}/scores",
    f"/scores/{SCORE}",
    "/beatmapsets",
    f"/beatmapsets/{SET}",
    "/multiplayer",
    "/mappools/1",
    "/clans",
    "/clans/1",
    "/medals",
    "/search?q=so",
    "/news",
    "/rules",
    "/status",
    "/login",
    "/register",
    "/no-such-page",
    "/docs",
)
PICTURES: Final[tuple[tuple[str, str, Literal["dark", "light"]], ...]] = (
    ("profile", f"/users/{PLAYER}", "dark"),
    ("home", "/", "dark"),
    ("beatmap", f"/beatmapsets/{SET}", "dark"),
    ("score", f"/scores/{SCORE}", "light"),
    ("leaderboard", "/leaderboard", "light"),
)
WIDTHS: Final = (390, 768, 1280)
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")


@contextlib.contextmanager
def demo_server() -> Iterator[str]:
    """Yield the address of a server with demo data, which ends with the block."""
    with tempfile.TemporaryDirectory() as data:
        command = [*KIAI, "serve", "--demo", "--port", "0", "--data", data]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            try:
                for line in server.stdout:
                    if line.startswith("ready "):
                        yield line.split()[1].replace("127.0.0.1", "localhost")
                        break
            finally:
                server.terminate()


def take(browser: Browser, url: str, file: Path, *, theme: Literal["dark", "light"], width: int, whole: bool) -> None:
    """Write a picture of a page: the whole page, or what a window shows."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme, locale="en")
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle") if whole else page.wait_for_timeout(1_500)
    page.screenshot(path=file, full_page=whole)
    context.close()


def for_docs(browser: Browser, address: str) -> None:
    """Write the pictures of README and docs."""
    IMAGES.mkdir(exist_ok=True)
    for name, path, theme in PICTURES:
        file = IMAGES / f"{name}.png"
        take(browser, address + path, file, theme=theme, width=1280, whole=False)
        with Image.open(file) as picture:
            picture.convert("RGB").save(file.with_suffix(".webp"), lossless=True, method=6)
        file.unlink()
        print(file.with_suffix(".webp").relative_to(ROOT))


def every_page(browser: Browser, address: str, folder: Path) -> None:
    """Write pictures of every page in both themes and three widths."""
    folder.mkdir(parents=True, exist_ok=True)
    themes: tuple[Literal["dark", "light"], ...] = ("dark", "light")
    for path in PAGES:
        name = path.strip("/").replace("/", "-").replace("?", "-").replace("=", "-") or "home"
        for theme in themes:
            for width in WIDTHS:
                file = folder / f"{name}-{theme}-{width}.png"
                take(browser, address + path, file, theme=theme, width=width, whole=True)
        print(path)


def main(arguments: list[str]) -> int:
    """Take the pictures. Return the exit code."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        print("scripts/screenshots: Chromium is not installed", file=sys.stderr)
        return 1
    with sync_playwright() as playwright, demo_server() as address:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if arguments:
            every_page(browser, address.rstrip("/"), Path(arguments[0]))
        else:
            for_docs(browser, address.rstrip("/"))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
