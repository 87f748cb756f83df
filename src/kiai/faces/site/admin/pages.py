"""`/admin/pages`: the pages with rules, privacy and about, with their editor, and the texts of the bot."""

from typing import Final

import msgspec

from kiai.documents import PAGES, Document, Documents
from kiai.documents.stored import PAGE, StoredText
from kiai.errors import NotFound
from kiai.faces.site.admin.acts import REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.text_editing import FORM_BYTES, TEXT, TITLE, previewed
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.faq import PERMISSION as WRITES_FAQ
from kiai.staff.faq import TEXT_MAX as FAQ_MAX
from kiai.staff.faq import Faq
from kiai.staff.site_texts import TARGET, WRITES_PAGES, SiteTexts

PATH: Final = "/admin/pages"
KEY_MAX: Final = 32
KEY: Final = Field("key", "Key", most=KEY_MAX, help="a-z, 0-9, _ and -. The key welcome greets new players.")
ANSWER: Final = Field("text", "Text", "textarea", most=FAQ_MAX, help="One line of chat for each line.")


class EditedPage(msgspec.Struct, frozen=True):
    """A page of `PAGES`: the text that is shown now, and the stored text, None without one."""

    slug: str
    shown: Document
    stored: StoredText | None

    @property
    def id(self) -> int:
        """The id of the stored text in the audit log, 0 without one."""
        return 0 if self.stored is None else self.stored.id

    @property
    def name(self) -> str:
        """The address of the page."""
        return f"/{self.slug}"

    @property
    def source(self) -> str:
        """Where the text that is shown now comes from."""
        if self.shown.stored_id:
            return "the panel"
        return f"the file pages/{self.slug}.md" if self.shown.changed_at_ms else "the default text"


class BotText(msgspec.Struct, frozen=True):
    """A text of the bot as the target of an act. The audit log has its key in the details, so its id is 0."""

    name: str
    id: int = 0


class AdminDocumentPages:
    """The pages of texts in the panel."""

    def __init__(self, audit: AuditReading, texts: SiteTexts, documents: Documents, faq: Faq) -> None:
        self._texts = texts
        self._documents = documents
        self._faq = faq
        self._bot_forms = ActForms(
            f"{PATH}/bot",
            [
                Act("set", "Set a text of the bot", WRITES_FAQ, "The text is set.",
                    "The bot answers !faq with the text. A text with the same key is replaced.", self._set_answer,
                    (KEY, ANSWER), button="Set text"),
                Act("remove", "Remove a text of the bot", WRITES_FAQ, "The text is removed.",
                    "The bot no longer has an answer for the key.", self._remove_answer, (KEY,), danger=True,
                    button="Remove text"),
            ],
            audit,
            kind="setting",
            load=self._bot_text,
            show=self._list_view,
            path_of=lambda text: f"{PATH}/bot",
        )  # fmt: skip
        self._forms = ActForms(
            f"{PATH}/{{document}}",
            self._acts(),
            audit,
            kind=TARGET,
            load=self._load,
            show=self._view,
            path_of=lambda page: f"{PATH}/{page.slug}",
            possible=_possible,
            most=FORM_BYTES,
        )

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._list, WRITES_PAGES),
            staff_page(f"{PATH}/bot", self._bot_forms.page, WRITES_FAQ),
            staff_page(f"{PATH}/{{document}}", self._forms.page, WRITES_PAGES),
            *self._bot_forms.pages(),
            *self._forms.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        found = [await self._page(request, slug) for slug in PAGES]
        values = {"pages": found, "writes_faq": request.visitor.may(WRITES_FAQ)}
        return admin_view(request, "pages.html", "Pages", values)

    async def _bot_text(self, request: SiteRequest) -> BotText:
        return BotText((request.form.text("key") or "").strip()[:KEY_MAX] or "texts of the bot")

    async def _list_view(self, request: SiteRequest, text: BotText, forms: ShownForms) -> View:
        values = {"entries": await self._faq.all(), "forms": forms}
        return admin_view(request, "bot_texts.html", "Texts of the bot", values, crumbs=((PATH, "Pages"),))

    async def _load(self, request: SiteRequest) -> EditedPage:
        return await self._page(request, request.path["document"])

    async def _page(self, request: SiteRequest, slug: str) -> EditedPage:
        if slug not in PAGES:
            raise NotFound("page")
        stored = await self._texts.page(staff_actor(request), slug)
        return EditedPage(slug, await self._documents.page(slug), stored)

    async def _view(self, request: SiteRequest, page: EditedPage, forms: ShownForms) -> View:
        values = {
            "edited": page,
            "current": {"title": page.shown.title, "text": page.shown.text},
            "forms": forms,
            "preview": await previewed(forms),
        }
        return admin_view(request, "page.html", page.shown.title, values, crumbs=((PATH, "Pages"),))

    # --- acts

    def _acts(self) -> list[Act[EditedPage]]:
        return [
            Act("edit", "Edit", WRITES_PAGES, "{name} has the new text.",
                "Readers see the new text. It hides the file of the operator and the default text.", self._edit,
                (TITLE, TEXT, REASON), button="Save changes"),
            Act("withdraw", "Withdraw", WRITES_PAGES, "The text of {name} is withdrawn.",
                "The page shows the file of the operator or, without one, the default text.", self._withdraw,
                undo="restore", danger=True),
            Act("restore", "Restore", WRITES_PAGES, "The text of {name} is restored.",
                "The page shows the text of the panel again.", self._restore, undo="withdraw"),
        ]  # fmt: skip

    async def _edit(self, actor: Actor, page: EditedPage, values: Values) -> None:
        await self._texts.set_page(actor, page.slug, values["title"], values["text"], reason=values["reason"])

    async def _withdraw(self, actor: Actor, page: EditedPage, values: Values) -> None:
        await self._texts.set_withdrawn(actor, PAGE, page.id, True, reason=values["reason"])

    async def _restore(self, actor: Actor, page: EditedPage, values: Values) -> None:
        await self._texts.set_withdrawn(actor, PAGE, page.id, False, reason=values["reason"])

    async def _set_answer(self, actor: Actor, text: BotText, values: Values) -> None:
        await self._faq.set(actor, values["key"], values["text"])

    async def _remove_answer(self, actor: Actor, text: BotText, values: Values) -> None:
        await self._faq.remove(actor, values["key"])


def _possible(page: EditedPage, now_ms: int) -> frozenset[str]:
    if page.stored is None:
        return frozenset({"edit"})
    return frozenset({"edit", "restore" if page.stored.withdrawn else "withdraw"})
