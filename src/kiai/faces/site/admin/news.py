"""`/admin/news`: the texts of the news that staff writes, with their editor, and those that are files."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.documents import SLUG_MAX, Documents
from kiai.documents.stored import LISTED, NEWS, StoredText
from kiai.errors import Invalid, NotFound
from kiai.faces.site.admin.acts import REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.text_editing import FORM_BYTES, TEXT, TITLE, previewed
from kiai.faces.site.page import Page, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.osu.numbers import is_id
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.site_texts import TARGET, WRITES_NEWS, SiteTexts

PATH: Final = "/admin/news"
ID_MAX: Final = 2**53
FILES_SHOWN: Final = 20
FORMS_OF_TIME: Final = "empty, the word now or a time in UTC like 2026-05-02 18:00"
MINUTE_MS: Final = 60_000
SLUG: Final = Field(
    "slug", "Slug", most=SLUG_MAX, help="Its address is /news/slug. Lower-case letters, digits and single hyphens."
)
PUBLISHED: Final = Field(
    "published",
    "Published",
    required=False,
    most=40,
    help="A time in UTC like 2026-05-02 18:00, or the word now. The text appears at that time. Empty: a draft.",
)


class NewText(msgspec.Struct, frozen=True):
    """The text that a form adds. It has no row yet, so its id is 0."""

    name: str
    id: int = 0


class AdminNewsPages:
    """The pages of the news in the panel."""

    def __init__(self, audit: AuditReading, texts: SiteTexts, documents: Documents, clock: Clock) -> None:
        self._clock = clock
        self._texts = texts
        self._documents = documents
        self._add_form = ActForms(
            PATH,
            [
                Act("add", "Add news", WRITES_NEWS, "The text is added.",
                    "The text is public from its time on. A draft has no time and is not public.", self._add,
                    (SLUG, TITLE, TEXT, PUBLISHED, REASON)),
            ],
            audit,
            kind=TARGET,
            load=self._new,
            show=self._list_view,
            path_of=lambda new: PATH,
            most=FORM_BYTES,
        )  # fmt: skip
        self._forms = ActForms(
            f"{PATH}/{{text}}",
            self._acts(),
            audit,
            kind=TARGET,
            load=self._load,
            show=self._view,
            path_of=lambda text: f"{PATH}/{text.id}",
            possible=_possible,
            most=FORM_BYTES,
        )

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._add_form.page, WRITES_NEWS),
            staff_page(f"{PATH}/{{text}}", self._forms.page, WRITES_NEWS),
            *self._add_form.pages(),
            *self._forms.pages(),
        ]

    async def _new(self, request: SiteRequest) -> NewText:
        return NewText((request.form.text("title") or "").strip()[: TITLE.most] or "new text")

    async def _list_view(self, request: SiteRequest, new: NewText, forms: ShownForms) -> View:
        before = request.query.whole("before", ID_MAX, at_least=1, at_most=ID_MAX)
        found = await self._texts.news(staff_actor(request), before)
        files = await self._documents.file_news()
        values = {
            "texts": found[:LISTED],
            "next": url(PATH, before=found[LISTED - 1].id) if len(found) > LISTED else None,
            "files": files[:FILES_SHOWN],
            "more_files": max(0, len(files) - FILES_SHOWN),
            "now_ms": request.now_ms,
            "forms": forms,
            "preview": await previewed(forms),
        }
        return admin_view(request, "news.html", "News", values)

    async def _load(self, request: SiteRequest) -> StoredText:
        text_id = request.id("text") or 0
        if not is_id(text_id):
            raise NotFound("page")
        return await self._texts.one_of_news(staff_actor(request), text_id)

    async def _view(self, request: SiteRequest, text: StoredText, forms: ShownForms) -> View:
        values = {
            "text": text,
            "is_public": _is_public(text, request.now_ms),
            "current": {"title": text.title, "text": text.text, "published": _words(text.published_at_ms)},
            "now_ms": request.now_ms,
            "forms": forms,
            "preview": await previewed(forms),
        }
        return admin_view(request, "news_text.html", text.title, values, crumbs=((PATH, "News"),))

    # --- acts

    def _acts(self) -> list[Act[StoredText]]:
        return [
            Act("edit", "Edit", WRITES_NEWS, "{name} is changed.",
                "Readers see the new text, and the feed, too. Without a time it becomes a draft.", self._edit,
                (TITLE, TEXT, PUBLISHED, REASON), button="Save changes"),
            Act("withdraw", "Withdraw", WRITES_NEWS, "{name} is withdrawn.",
                "The text is no longer public. Its address answers as one that does not exist.", self._withdraw,
                undo="restore", danger=True),
            Act("restore", "Restore", WRITES_NEWS, "{name} is restored.",
                "The text is public again, from its time on.", self._restore, undo="withdraw"),
        ]  # fmt: skip

    async def _add(self, actor: Actor, new: NewText, values: Values) -> None:
        published = _published(values["published"], self._clock.now_ms())
        await self._texts.add_news(
            actor, values["slug"], values["title"], values["text"], published, reason=values["reason"]
        )

    async def _edit(self, actor: Actor, text: StoredText, values: Values) -> None:
        published = _published(values["published"], self._clock.now_ms())
        await self._texts.edit_news(actor, text.id, values["title"], values["text"], published, reason=values["reason"])

    async def _withdraw(self, actor: Actor, text: StoredText, values: Values) -> None:
        await self._texts.set_withdrawn(actor, NEWS, text.id, True, reason=values["reason"])

    async def _restore(self, actor: Actor, text: StoredText, values: Values) -> None:
        await self._texts.set_withdrawn(actor, NEWS, text.id, False, reason=values["reason"])


def _possible(text: StoredText, now_ms: int) -> frozenset[str]:
    return frozenset({"edit", "restore" if text.withdrawn else "withdraw"})


def _is_public(text: StoredText, now_ms: int) -> bool:
    return not text.withdrawn and text.published_at_ms is not None and text.published_at_ms <= now_ms


def _words(published_at_ms: int | None) -> str:
    """Return a time as the field has it."""
    if published_at_ms is None:
        return ""
    return f"{datetime.fromtimestamp(published_at_ms // 1000, UTC):%Y-%m-%d %H:%M}"


def _published(text: str, now_ms: int) -> int | None:
    """Return the time of the field in unix ms, None for a draft. Raises Invalid."""
    if not text:
        return None
    if text.lower() == "now":
        # Whole minutes, as the field shows them: saving the form again changes nothing.
        return now_ms // MINUTE_MS * MINUTE_MS
    try:
        moment = datetime.strptime(text.replace("T", " "), "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid("published", FORMS_OF_TIME, text) from error
    return round(moment.timestamp()) * 1000
