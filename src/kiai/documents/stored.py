"""The texts that staff writes in the admin panel. Owns the table `site_texts`.

A row is never deleted. A text of the news is a draft without a time, waits until its time, or is withdrawn. `stamp` is
the id of the audit row of the last change, so the largest stamp tells a reader whether anything has changed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from kiai.errors import Conflict, NotFound
from kiai.storage.port import Command, Database, Query, RowReader, Transaction, columns_for, new_values, scalar
from kiai.storage.tables import site_texts

NEWS: Final = "news"
PAGE: Final = "page"
GAME: Final = "game"
"""Texts of the game in place of settings; the slug is the name of the setting (`staff/game_texts.py`)."""
STORED_MAX: Final = 1_000
"""Texts of one kind."""
LISTED: Final = 20
"""Texts on a page of the list of staff."""


class TextHead(msgspec.Struct, frozen=True):
    """A stored text without its content. Times are unix ms; `published_at_ms` is None for a draft."""

    id: int
    kind: str
    slug: str
    title: str
    published_at_ms: int | None
    withdrawn: int
    changed_at_ms: int


class StoredText(msgspec.Struct, frozen=True):
    """A stored text. `text` is Markdown without the title. Times are unix ms; `published_at_ms` is None for a draft."""

    id: int
    kind: str
    slug: str
    title: str
    text: str
    published_at_ms: int | None
    withdrawn: int
    changed_at_ms: int

    @property
    def name(self) -> str:
        """The title."""
        return self.title


_of_kind = site_texts.c.kind == bindparam("kind")
_STAMP = Query(select(site_texts.c.stamp).where(_of_kind).order_by(site_texts.c.stamp.desc()).limit(1), scalar)
_SHOWN = Query(
    select(*columns_for(StoredText, site_texts))
    .where(_of_kind, site_texts.c.withdrawn == 0, site_texts.c.published_at_ms > 0)
    .order_by(site_texts.c.published_at_ms.desc())
    .limit(STORED_MAX),
    StoredText,
)
_LIST = Query(
    select(*columns_for(TextHead, site_texts))
    .where(_of_kind, site_texts.c.id < bindparam("before"))
    .order_by(site_texts.c.id.desc())
    .limit(LISTED + 1),
    TextHead,
)
_ONE = Query(
    select(*columns_for(StoredText, site_texts)).where(site_texts.c.id == bindparam("text_id"), _of_kind), StoredText
)
_BY_SLUG = Query(
    select(*columns_for(StoredText, site_texts)).where(_of_kind, site_texts.c.slug == bindparam("slug")), StoredText
)
_COUNT = Query(select(func.count()).select_from(site_texts).where(_of_kind), scalar)
_ADD = Query(
    insert(site_texts)
    .values(
        {
            name: bindparam(name)
            for name in ("kind", "slug", "title", "text", "published_at_ms", "created_at_ms", "changed_at_ms")
        }
    )
    .returning(site_texts.c.id),
    scalar,
)
_SET = Command(
    update(site_texts)
    .where(site_texts.c.id == bindparam("text_id"))
    .values(new_values("title", "text", "published_at_ms", "withdrawn", "changed_at_ms"))
)
_SET_STAMP = Command(update(site_texts).where(site_texts.c.id == bindparam("text_id")).values(new_values("stamp")))


class StoredTexts:
    """Reads and writes the stored texts. The callers check rights and write the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[int | None, list[StoredText]]] = {}

    async def shown(self, kind: str) -> list[StoredText]:
        """Return the texts that are neither drafts nor withdrawn, the latest first; also those of the future.

        Reads them only if one has changed since the last call.
        """
        # Before the texts: a change in between is then read again by the next call.
        stamp = await self._database.one(_STAMP, kind=kind)
        known = self._known.get(kind)
        if known is None or known[0] != stamp:
            known = stamp, await self._database.all(_SHOWN, kind=kind)
            self._known[kind] = known
        return known[1]

    async def listed(self, kind: str, before: int) -> Sequence[TextHead]:
        """Return the newest texts with ids below `before`, one more than a page of the list has."""
        return await self._database.all(_LIST, kind=kind, before=before)

    async def one(self, kind: str, text_id: int, reader: RowReader | None = None) -> StoredText:
        """Return a text. Raises NotFound("text")."""
        found = await (reader or self._database).one(_ONE, text_id=text_id, kind=kind)
        if found is None:
            raise NotFound("text")
        return found

    async def by_slug(self, kind: str, slug: str, reader: RowReader | None = None) -> StoredText | None:
        """Return the text with this slug, or None."""
        return await (reader or self._database).one(_BY_SLUG, kind=kind, slug=slug)

    async def add(
        self, tx: Transaction, kind: str, slug: str, title: str, text: str, published_at_ms: int | None, now_ms: int
    ) -> int:
        """Add a text and return its id. The caller has locked out other writers. Raises Conflict for a known slug."""
        if await self.by_slug(kind, slug, tx) is not None:
            raise Conflict("slug")
        found = await tx.one(
            _ADD,
            kind=kind,
            slug=slug,
            title=title,
            text=text,
            published_at_ms=published_at_ms,
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
        )
        assert found is not None
        return int(found)

    async def set(self, tx: Transaction, text: StoredText, now_ms: int) -> None:
        """Write title, content, time and state of a text."""
        await tx.run(
            _SET,
            text_id=text.id,
            new_title=text.title,
            new_text=text.text,
            new_published_at_ms=text.published_at_ms,
            new_withdrawn=text.withdrawn,
            new_changed_at_ms=now_ms,
        )

    async def stamp(self, tx: Transaction, text_id: int, audit_id: int) -> None:
        """Note the audit row of the change in this transaction."""
        await tx.run(_SET_STAMP, text_id=text_id, new_stamp=audit_id)

    async def count(self, tx: Transaction, kind: str) -> int:
        """Return the number of texts of a kind."""
        return await tx.one(_COUNT, kind=kind) or 0
