"""Acts of staff on the texts of the website: news, and the pages with rules, privacy and about."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.documents import BYTES_MAX, PAGES, SLUG, SLUG_MAX, TITLE_MAX, Documents
from kiai.documents.stored import NEWS, PAGE, STORED_MAX, StoredText, StoredTexts, TextHead
from kiai.errors import Invalid, NotFound, Refused, WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Transaction

WRITES_NEWS: Final = "news.write"
WRITES_PAGES: Final = "pages.write"
TARGET: Final = "text"
"""The kind of the target in the audit log."""
EXCERPT: Final = 1_000
"""Characters of a text that the audit log has before and after a change, with the length and the hash of the whole."""
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01

_RIGHTS: Final = {NEWS: WRITES_NEWS, PAGE: WRITES_PAGES}
_ACTIONS: Final = {NEWS: "news_edit", PAGE: "page_edit"}


class SiteTexts:
    """Writes the texts of the website. Each change writes an audit row and is public on this worker at once.

    Other workers show it after `documents.service.LOOK_EVERY_S`.
    """

    def __init__(self, authority: Authority, stored: StoredTexts, documents: Documents, clock: Clock) -> None:
        self._authority = authority
        self._stored = stored
        self._documents = documents
        self._clock = clock

    async def news(self, actor: Actor, before: int) -> Sequence[TextHead]:
        """Return the newest texts of the news with ids below `before`, also drafts, one more than `LISTED`.

        Raises NotAllowed.
        """
        await self._authority.require(actor, WRITES_NEWS)
        return await self._stored.listed(NEWS, before)

    async def one_of_news(self, actor: Actor, text_id: int) -> StoredText:
        """Return a text of the news. Raises NotAllowed, NotFound("text")."""
        await self._authority.require(actor, WRITES_NEWS)
        return await self._stored.one(NEWS, text_id)

    async def page(self, actor: Actor, slug: str) -> StoredText | None:
        """Return the stored text of a page, also a withdrawn one, or None. Raises NotAllowed, NotFound("page")."""
        await self._authority.require(actor, WRITES_PAGES)
        if slug not in PAGES:
            raise NotFound("page")
        return await self._stored.by_slug(PAGE, slug)

    async def add_news(
        self, actor: Actor, slug: str, title: str, text: str, published_at_ms: int | None, *, reason: str
    ) -> int:
        """Add a text to the news and return its id. Without a time it is a draft.

        Raises NotAllowed, Invalid, Conflict for a known slug, and Refused at the limit of texts.
        """
        await self._authority.require(actor, WRITES_NEWS)
        if not SLUG.fullmatch(slug) or len(slug) > SLUG_MAX:
            raise Invalid("slug", f"up to {SLUG_MAX} lower-case letters, digits and single hyphens", slug)
        return await self._add(actor, NEWS, slug, title, text, published_at_ms, reason)

    async def edit_news(
        self, actor: Actor, text_id: int, title: str, text: str, published_at_ms: int | None, *, reason: str
    ) -> None:
        """Change a text of the news. Without a time it becomes a draft. Raises as `add_news`, NotFound, WrongState."""
        title, text = _checked(title, text, published_at_ms)

        def change(before: StoredText) -> StoredText:
            return msgspec.structs.replace(before, title=title, text=text, published_at_ms=published_at_ms)

        await self._change(actor, NEWS, text_id, change_by=change, reason=reason)

    async def set_page(self, actor: Actor, slug: str, title: str, text: str, *, reason: str) -> None:
        """Set the text of a page of `PAGES`. It replaces the operator's file and the default text.

        Raises NotAllowed, NotFound("page"), Invalid, and WrongState if the page has this text.
        """
        stored = await self.page(actor, slug)
        if stored is None:
            await self._add(actor, PAGE, slug, title, text, self._clock.now_ms(), reason)
            return
        title, text = _checked(title, text, None)

        def change(before: StoredText) -> StoredText:
            return msgspec.structs.replace(before, title=title, text=text, withdrawn=0)

        await self._change(actor, PAGE, stored.id, change_by=change, reason=reason)

    async def set_withdrawn(self, actor: Actor, kind: str, text_id: int, withdrawn: bool, *, reason: str) -> None:
        """Withdraw a text from the public, or restore it. `kind` is `NEWS` or `PAGE`.

        Instead of a withdrawn page, the operator's file or the default text is shown. Raises NotAllowed, Invalid,
        NotFound("text"), and WrongState.
        """

        def change(before: StoredText) -> StoredText:
            if bool(before.withdrawn) == withdrawn:
                raise WrongState(f"the text is {'already' if withdrawn else 'not'} withdrawn")
            return msgspec.structs.replace(before, withdrawn=int(withdrawn))

        await self._change(actor, kind, text_id, change_by=change, reason=reason)

    async def _add(
        self, actor: Actor, kind: str, slug: str, title: str, text: str, published_at_ms: int | None, reason: str
    ) -> int:
        title, text = _checked(title, text, published_at_ms)
        reason = checked_reason(reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await audit.lock(tx)
            if await self._stored.count(tx, kind) >= STORED_MAX:
                raise Refused(f"there are {STORED_MAX} texts; edit one of them instead")
            text_id = await self._stored.add(tx, kind, slug, title, text, published_at_ms, now)
            await self._record(tx, actor, None, await self._stored.one(kind, text_id, tx), reason, now)
            return text_id

        text_id = await self._authority.transaction(Requirement(actor, _RIGHTS[kind]), body)
        self._documents.forget()
        return text_id

    async def _change(
        self, actor: Actor, kind: str, text_id: int, *, change_by: Callable[[StoredText], StoredText], reason: str
    ) -> None:
        await self._authority.require(actor, _RIGHTS[kind])
        reason = checked_reason(reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.lock(tx)
            before = await self._stored.one(kind, text_id, tx)
            after = change_by(before)
            if after == before:
                raise WrongState("the text is already so")
            await self._stored.set(tx, after, now)
            await self._record(tx, actor, before, after, reason, now)

        await self._authority.transaction(Requirement(actor, _RIGHTS[kind]), body)
        self._documents.forget()

    async def _record(
        self, tx: Transaction, actor: Actor, before: StoredText | None, after: StoredText, reason: str, now: int
    ) -> None:
        audit_id = await audit.write(
            tx,
            actor,
            _ACTIONS[after.kind],
            at_ms=now,
            target_kind=TARGET,
            target_id=after.id,
            reason=reason,
            details={"slug": after.slug, "before": None if before is None else _noted(before), "after": _noted(after)},
        )
        await self._stored.stamp(tx, after.id, audit_id)


def _checked(title: str, text: str, published_at_ms: int | None) -> tuple[str, str]:
    """Return title and text as they are stored. Raises Invalid."""
    title = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    text = text.replace("\r\n", "\n").strip()
    if not 0 < len(title) <= TITLE_MAX:
        raise Invalid("title", f"a text of 1 to {TITLE_MAX} characters", title)
    if not text or len(text.encode("utf-8", "replace")) > BYTES_MAX or "\0" in text:
        raise Invalid("text", f"a text of up to {BYTES_MAX // 1024} KiB", text)
    if published_at_ms is not None and not 0 < published_at_ms < LATEST_MS:
        raise Invalid("published", "a time between 1970 and 2100", published_at_ms)
    return title, text


def _noted(text: StoredText) -> dict[str, object]:
    """Return a text as the audit log has it."""
    return {
        "title": text.title,
        "published_at": None if text.published_at_ms is None else text.published_at_ms // 1000,
        "withdrawn": bool(text.withdrawn),
        "text": text.text[:EXCERPT],
        "characters": len(text.text),
        "sha256": hashlib.sha256(text.text.encode("utf-8", "replace")).hexdigest(),
    }
