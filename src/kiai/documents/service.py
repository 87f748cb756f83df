"""Reads the texts of the operator and caches them until their files change."""

import asyncio
import datetime
import os
import re
import stat
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.documents.stored import NEWS, PAGE, StoredText, StoredTexts
from kiai.errors import NotFound, Unavailable
from kiai.logs import get_logger

PAGES: Final = ("rules", "privacy", "about")
LOOK_EVERY_S: Final = 1.0
BYTES_MAX: Final = 65_536
"""The longest file. A longer one is ignored and logged."""
FILES_MAX: Final = 1_000
"""Files of one folder. Of more, those with the latest dates are read."""
TITLE_MAX: Final = 200
SUMMARY_MAX: Final = 300

SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){0,31}", re.ASCII)
SLUG_MAX: Final = 100
"""Characters of the slug of a stored text. File systems bound those of files."""

_DATED: Final = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}})-({SLUG.pattern})\.md", re.ASCII)
_KINDS: Final = {"pages": PAGE, "news": NEWS}
"""The kind of the stored texts of a folder."""
_TITLE: Final = re.compile(r"^# +(.+?)(?: +#+)? *$", re.MULTILINE)
_LINK: Final = re.compile(r"!?\[([^\]]{0,200})\]\([^)]{0,500}\)")
_MARKS: Final = re.compile(r"[*_`~#>]+")


class Document(msgspec.Struct, frozen=True):
    """A text. `text` is Markdown without the title, `summary` its first paragraph without marks.

    `date` is a day such as `2026-05-02`, or "" for a page. `changed_at_ms` is the time of the last change, 0 for a
    default. A stored text has its time of publication in `published_ms` and its id in `stored_id`; a file has 0 there.
    """

    slug: str
    title: str
    text: str
    summary: str
    date: str = ""
    changed_at_ms: int = 0
    published_ms: int = 0
    stored_id: int = 0

    @property
    def at_ms(self) -> int:
        """The time of publication in unix ms, for a file the beginning of its day, 0 for a page."""
        return self.published_ms or (_ms_of(self.date) if self.date else 0)

    @property
    def name(self) -> str:
        """The name of the file without its extension."""
        return f"{self.date}-{self.slug}" if self.date else self.slug


class _Seen(msgspec.Struct, frozen=True):
    """A file that was read. `document` is None for one that is ignored."""

    mtime_ns: int
    size: int
    document: Document | None


class _Folder:
    """The texts of one folder."""

    def __init__(self, path: Path, *, dated: bool) -> None:
        self._path = path
        self._dated = dated
        self._seen: dict[str, _Seen] = {}

    def look(self) -> list[Document]:
        """Return all texts, the latest first. Reads the files that have changed. A missing folder has no texts."""
        found: dict[str, _Seen] = {}
        for name in self._names():
            try:
                state = os.stat(self._path / name)
            except OSError:  # removed meanwhile
                continue
            if not stat.S_ISREG(state.st_mode):
                continue
            seen = self._seen.get(name)
            if seen is None or (seen.mtime_ns, seen.size) != (state.st_mtime_ns, state.st_size):
                seen = _Seen(state.st_mtime_ns, state.st_size, self._read(name, state))
            found[name] = seen
        self._seen = found
        return [seen.document for seen in found.values() if seen.document is not None]

    def _names(self) -> Iterable[str]:
        try:
            names = os.listdir(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        if not self._dated:
            return [f"{page}.md" for page in PAGES if f"{page}.md" in names]
        return sorted((name for name in names if _DATED.fullmatch(name)), reverse=True)[:FILES_MAX]

    def _read(self, name: str, state: os.stat_result) -> Document | None:
        log = get_logger("documents")
        if state.st_size > BYTES_MAX:
            log.warning("text too long", file=str(self._path / name), size=state.st_size, most=BYTES_MAX)
            return None
        try:
            text = (self._path / name).read_bytes()[:BYTES_MAX].decode("utf-8-sig", errors="replace")
        except OSError as error:
            log.warning("text unreadable", file=str(self._path / name), reason=error.strerror)
            return None
        date, slug = "", name.removesuffix(".md")
        if match := _DATED.fullmatch(name):
            date, slug = match.groups()
            if not _is_date(date):
                log.warning("no such date", file=str(self._path / name))
                return None
        return parse(slug, text, date=date, changed_at_ms=state.st_mtime_ns // 1_000_000)


class Documents:
    """The texts of the operator and of staff. `title` is the server's name; default texts contain it.

    A stored text hides a file with the same name. Without `stored` there are only files.
    """

    def __init__(self, data: Path, title: str, clock: Clock, stored: StoredTexts | None = None) -> None:
        self._folders = {name: _Folder(data / name, dated=name != "pages") for name in ("pages", "news", "incidents")}
        self._title = title
        self._clock = clock
        self._stored = stored
        self._stored_texts: dict[str, list[StoredText]] = {}
        self._found: dict[str, list[Document]] = {}
        self._looked_at: dict[str, float] = {}
        self._looking = asyncio.Lock()

    async def page(self, slug: str) -> Document:
        """Return a page of `PAGES`. Raises NotFound("page")."""
        if slug not in PAGES:
            raise NotFound("page")
        for document in await self._all("pages"):
            if document.slug == slug:
                return document
        text = resources.files("kiai.documents").joinpath(f"{slug}.md").read_text(encoding="utf-8")
        return parse(slug, text.replace("{title}", self._title))

    async def news(self) -> list[Document]:
        """Return the published news, the latest first; at most 1,000."""
        return await self._published("news")

    async def news_item(self, slug: str) -> Document:
        """Return a published text of the news by its slug, or by its date and slug. Raises NotFound("news").

        Of several texts with one slug, the slug alone finds the latest.
        """
        for document in await self._published("news"):
            if slug in (document.slug, document.name):
                return document
        raise NotFound("news")

    async def file_news(self) -> list[Document]:
        """Return the texts of the news that are files, also those of the future, the latest first; at most 1,000."""
        return [document for document in await self._all("news") if not document.stored_id]

    def forget(self) -> None:
        """Read the texts again when one is asked for next. Called after a change in this process."""
        self._looked_at.clear()

    async def incidents(self) -> list[Document]:
        """Return the incidents, the latest first; at most 1,000."""
        return await self._published("incidents")

    async def _published(self, folder: str) -> list[Document]:
        now_ms = self._clock.now_ms()
        return [document for document in await self._all(folder) if document.at_ms <= now_ms]

    async def _all(self, folder: str) -> list[Document]:
        now = self._clock.monotonic()
        if now - self._looked_at.get(folder, float("-inf")) < LOOK_EVERY_S:
            return self._found.get(folder, [])
        async with self._looking:
            if now - self._looked_at.get(folder, float("-inf")) >= LOOK_EVERY_S:
                # In a thread: the folder may be on a slow disk.
                files = await asyncio.to_thread(self._folders[folder].look)
                stored = {document.name: document for document in await self._stored_in(folder)}
                found = [*stored.values(), *(one for one in files if one.name not in stored)]
                found.sort(key=lambda one: (one.at_ms, one.name), reverse=True)
                self._found[folder] = found[:FILES_MAX]
                self._looked_at[folder] = now
        return self._found[folder]

    async def _stored_in(self, folder: str) -> list[Document]:
        kind = _KINDS.get(folder)
        if self._stored is None or kind is None:
            return []
        try:
            self._stored_texts[folder] = await self._stored.shown(kind)
        except Unavailable:
            # Files and cached texts need no database.
            get_logger("documents").warning("stored texts unreadable", folder=folder)
        return [_document(one) for one in self._stored_texts.get(folder, [])]


def _document(stored: StoredText) -> Document:
    """Return a stored text as a document."""
    published_ms = stored.published_at_ms or 0
    day = datetime.datetime.fromtimestamp(published_ms / 1000, datetime.UTC).date().isoformat()
    return Document(
        stored.slug,
        stored.title,
        stored.text,
        _summary(stored.text),
        date=day if stored.kind == NEWS else "",
        changed_at_ms=stored.changed_at_ms,
        published_ms=published_ms if stored.kind == NEWS else 0,
        stored_id=stored.id,
    )


def parse(slug: str, text: str, *, date: str = "", changed_at_ms: int = 0) -> Document:
    """Return the document in a Markdown text. Without a title line, the slug is the title."""
    text = "".join(c for c in text.replace("\r\n", "\n") if c.isprintable() or c in "\n\t")
    match = _TITLE.search(text)
    title = slug.replace("-", " ").capitalize()
    if match is not None:
        title = match[1][:TITLE_MAX]
        text = text[: match.start()] + text[match.end() :]
    text = text.strip()
    return Document(slug, title, text, _summary(text), date, changed_at_ms)


def _summary(text: str) -> str:
    """Return the first paragraph of a Markdown text without marks."""
    paragraph = next((part for part in text.split("\n\n") if part.strip() and not part.startswith("#")), "")
    summary = " ".join(_MARKS.sub("", _LINK.sub(r"\1", paragraph)).split())
    if len(summary) > SUMMARY_MAX:
        summary = summary[: SUMMARY_MAX - 1].rsplit(" ", 1)[0] + "…"
    return summary


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _ms_of(date: str) -> int:
    begin = datetime.datetime.combine(datetime.date.fromisoformat(date), datetime.time(), datetime.UTC)
    return round(begin.timestamp()) * 1000
