"""The documentation website builds without a warning and loads nothing from other hosts."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.patience import patiently

ROOT = Path(__file__).parents[2]
INSTALL_S = 300.0  # the first run installs 40 MB
BUILT_FROM = ("docs", "deploy", "scripts", "requirements", "mkdocs.yml", "LICENSE")


def build(top: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [top / "scripts" / "docs", "build", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patiently(INSTALL_S),
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def checkout(site: Path, tmp_path: Path) -> Path:
    """A copy of the sources of the website, with the installed tools."""
    for name in BUILT_FROM:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    for path in ROOT.glob("*.md"):
        shutil.copy(path, tmp_path)
    (tmp_path / ".docs").symlink_to(ROOT / ".docs")
    return tmp_path


def test_the_site_has_four_shelves_and_the_pages_of_the_project(site: Path) -> None:
    start = (site / "index.html").read_text("utf-8")

    for page in ("operate/start", "api/index", "engineer/index", "decisions/index", "project/changelog"):
        assert f'href="{page}.html"' in start, page
        assert (site / f"{page}.html").exists()


@pytest.mark.parametrize("folder", ["decisions", "spec", "engineer", "operate"])
def test_every_page_of_a_shelf_is_in_the_navigation(site: Path, folder: str) -> None:
    start = (site / "index.html").read_text("utf-8")
    pages = [path.stem for path in (ROOT / "docs" / folder).glob("*.md") if path.stem != "README"]
    assert pages

    assert [page for page in pages if f'href="{folder}/{page}.html"' not in start] == []


def test_links_to_files_outside_of_the_documentation_work_on_the_site(site: Path) -> None:
    start, security = (site / f"{page}.html" for page in ("operate/start", "project/security"))

    assert 'href="../deploy/systemd/kiai.service"' in start.read_text("utf-8")
    assert (site / "deploy/systemd/kiai.service").read_bytes() == (ROOT / "deploy/systemd/kiai.service").read_bytes()
    assert 'href="../operate/limits.html"' in security.read_text("utf-8")


def test_a_bar_in_the_code_of_a_table_has_no_backslash(site: Path) -> None:
    bot = (site / "operate/bot.html").read_text("utf-8")

    assert "<code>!moderated [on|off]</code>" in bot
    assert "\\|" not in re.sub(r"(?s)<pre.*?</pre>", "", bot)


def test_a_page_loads_nothing_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert pages

    for page in pages:
        text = page.read_text("utf-8")
        assert re.findall(r'<(?:script|img|iframe)[^>]* src="?(?:https?:)?//[^> ]+', text) == [], page
        assert re.findall(r'<link[^>]* rel="?(?:stylesheet|preconnect|icon)[^>]*href="?(?:https?:)?//[^>]+', text) == []


def test_a_dead_link_or_a_page_in_no_shelf_fails_the_build(checkout: Path) -> None:
    wrong = ("start.md#no-such-heading", "no-such-page.md", "../../src/kiai/app.py", "/operate/start.md")
    with (checkout / "docs/operate/bot.md").open("a", encoding="utf-8") as page:
        page.writelines(f"\n[x]({link})\n" for link in wrong)
    (checkout / "docs/operate/lost.md").write_text("# Lost\n", "utf-8")

    done = build(checkout, checkout / "site")

    assert done.returncode != 0
    for complaint in (*wrong, "operate/lost.md"):
        assert complaint in done.stdout, done.stdout
