"""The operator's texts are read without a restart; files of a wrong form are ignored."""

import asyncio
import os
from pathlib import Path

import pytest

from kiai.clock import ManualClock
from kiai.documents import PAGES, Document, Documents
from kiai.documents import service as documents
from kiai.errors import NotFound

MAY_2026_MS = 1_777_680_000_000  # 2 May 2026, 00:00 UTC


class Operator:
    """A data folder and the documents over it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.clock = ManualClock(MAY_2026_MS)
        self.documents = Documents(data, "kiai club", self.clock)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.clock.advance(documents.LOOK_EVERY_S)
        return path

    def news(self) -> list[str]:
        return [item.name for item in asyncio.run(self.documents.news())]

    def item(self, slug: str) -> Document:
        return asyncio.run(self.documents.news_item(slug))

    def page(self, slug: str) -> Document:
        return asyncio.run(self.documents.page(slug))


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.mark.parametrize("slug", PAGES)
def test_page_without_a_file_has_a_default_text_with_the_name_of_the_server(operator: Operator, slug: str) -> None:
    page = operator.page(slug)

    assert page.title == slug.capitalize()
    assert "kiai club" in page.text
    assert "{" not in page.text


def test_page_of_the_operator_replaces_the_default_and_changes_without_a_restart(operator: Operator) -> None:
    operator.write("pages/rules.md", "# House rules\n\nBe **nice**.\n")
    first = operator.page("rules")
    path = operator.write("pages/rules.md", "No title line\n")
    second = operator.page("rules")
    path.unlink()
    operator.clock.advance(documents.LOOK_EVERY_S)

    assert (first.title, first.text, first.summary) == ("House rules", "Be **nice**.", "Be nice.")
    assert (second.title, second.text) == ("Rules", "No title line")
    assert operator.page("rules").title == "Rules"
    assert "kiai club" in operator.page("rules").text


def test_folder_is_looked_at_once_a_second(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    listdir = os.listdir

    def counted(path: Path) -> list[str]:
        nonlocal looks
        looks += 1
        return listdir(path)

    monkeypatch.setattr(os, "listdir", counted)
    for _ in range(50):
        operator.news()
    operator.clock.advance(documents.LOOK_EVERY_S)
    operator.news()

    assert looks == 2


def test_unchanged_files_are_not_read_again(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.write("news/2026-05-01-one.md", "# One\n\nText")
    before = operator.news()
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read again"))
    operator.clock.advance(documents.LOOK_EVERY_S)

    assert operator.news() == before == ["2026-05-01-one"]


def test_news_are_sorted_by_date_and_hidden_until_their_day(operator: Operator) -> None:
    operator.write("news/2026-04-30-first.md", "# First")
    operator.write("news/2026-05-02-second.md", "# Second")
    operator.write("news/2026-05-03-third.md", "# Third")
    today = operator.news()
    with pytest.raises(NotFound):
        operator.item("third")
    operator.clock.advance(86_400)

    assert today == ["2026-05-02-second", "2026-04-30-first"]
    assert operator.news()[0] == "2026-05-03-third"
    assert operator.item("third").title == "Third"


def test_text_is_found_by_its_slug_and_by_its_whole_name(operator: Operator) -> None:
    operator.write("news/2026-01-01-season.md", "# Old season")
    operator.write("news/2026-02-01-season.md", "# New season")

    assert operator.item("season").title == "New season"
    assert operator.item("2026-01-01-season").title == "Old season"
    for slug in ("", "seas", "2026-01-01", "../pages/rules", "season.md", "SEASON"):
        with pytest.raises(NotFound):
            operator.item(slug)


@pytest.mark.parametrize(
    "name",
    ["note.md", "2026-13-01-x.md", "2026-02-30-x.md", "2026-05-01-Upper.md", "2026-05-01-x.txt", "2026-05-01-.md"],
)
def test_files_with_other_names_are_ignored(operator: Operator, name: str) -> None:
    operator.write(f"news/{name}", "# Title")

    assert operator.news() == []


def test_folders_long_files_and_dangling_links_are_ignored(operator: Operator) -> None:
    operator.write("news/2026-05-01-long.md", b"x" * (documents.BYTES_MAX + 1))
    operator.write("news/2026-05-01-good.md", b"x" * documents.BYTES_MAX)
    (operator.data / "news" / "2026-05-01-folder.md").mkdir()
    (operator.data / "news" / "2026-05-01-link.md").symlink_to("nowhere")

    assert operator.news() == ["2026-05-01-good"]


def test_bytes_that_are_no_text_are_replaced(operator: Operator) -> None:
    operator.write("news/2026-05-01-x.md", b"\xef\xbb\xbf# T\x00it\x1ble \xff\r\n\r\nline one\r\nline two\r\n\r\nmore")

    item = operator.item("x")

    assert (item.title, item.summary) == ("Title \ufffd", "line one line two")


def test_summary_has_no_marks_and_a_bound(operator: Operator) -> None:
    operator.write("news/2026-05-01-x.md", "# T\n\n## Part\n\nSee [the *rules*](/rules) and `!help`. " + "word " * 200)

    summary = operator.item("x").summary

    assert summary.startswith("See the rules and !help. word")
    assert len(summary) <= documents.SUMMARY_MAX
    assert summary.endswith("word…")


def test_only_the_latest_files_of_a_large_folder_are_read(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "FILES_MAX", 3)
    for day in range(1, 6):
        operator.write(f"news/2026-04-0{day}-x.md", "# T")

    assert operator.news() == ["2026-04-05-x", "2026-04-04-x", "2026-04-03-x"]


def test_incidents_are_texts_of_their_own(operator: Operator) -> None:
    operator.write("incidents/2026-05-01-disk.md", "# Disk full\n\nScores were refused for an hour.")

    incidents = asyncio.run(operator.documents.incidents())

    assert [(item.date, item.title) for item in incidents] == [("2026-05-01", "Disk full")]
    assert operator.news() == []
