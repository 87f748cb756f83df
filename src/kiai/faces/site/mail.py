"""`/mail`: the player's conversations, and one of them with the form that continues it (docs/spec/chat.md#mail)."""

from typing import Final

import msgspec

from kiai.accounts import BOT_ID, Accounts, User
from kiai.chat.conversations import Conversations
from kiai.chat.model import LINE_MAX, StoredLetter
from kiai.errors import Invalid, NotAllowed, NotATarget, NotFound, Refused
from kiai.faces.site.page import Access, FormState, Head, Page, Response, SiteRequest, View
from kiai.faces.site.settings import common

PATH: Final = "/mail"
ID_MAX: Final = 10**15
"""Bound of the cursor of older messages."""
_ACTION: Final = "\x01ACTION "


class ShownLetter(msgspec.Struct, frozen=True):
    """A message as the page shows it. `action`: the writer sent it with `/me`."""

    own: bool
    text: str
    action: bool
    at_ms: int


class MailPages:
    """The page of all conversations, and the page of one."""

    def __init__(self, conversations: Conversations, accounts: Accounts) -> None:
        self._conversations = conversations
        self._accounts = accounts

    def pages(self) -> list[Page]:
        """Return the pages and the form."""
        return [
            Page("GET", PATH, self._list, Access.PLAYER),
            Page("GET", f"{PATH}/{{user}}", self._show, Access.PLAYER),
            Page("POST", f"{PATH}/{{user}}", self._write, Access.PLAYER),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        user_id = request.visitor.player.id
        rows = [
            (conversation, _shown(conversation.newest, user_id))
            for conversation in await self._conversations.all(user_id)
        ]
        return View("mail.html", {"rows": rows}, Head(title=request.locale.text("Messages")))

    async def _show(self, request: SiteRequest) -> Response:
        return await self._page(request, await self._other(request), None)

    async def _write(self, request: SiteRequest) -> Response:
        other = await self._other(request)
        typed, locale = common.typed(request, "message"), request.locale
        try:
            delivered = await self._conversations.write(request.visitor.player, other, typed["message"])
        except Invalid as error:
            return await self._page(request, other, common.invalid(locale, typed, error, {}))
        except NotATarget:
            raise
        except Refused as error:
            return await self._page(request, other, common.refused(locale, typed, error.reason))
        except NotAllowed:
            message = locale.text("Log in with the game once before you write messages.")
            return await self._page(request, other, FormState(typed, message=message))
        return common.saved(f"{PATH}/{other.id}", "sent" if delivered else "stored")

    async def _other(self, request: SiteRequest) -> User:
        """Return the other player of the conversation. Raises NotFound for oneself, too."""
        user_id = request.id("user")
        if user_id is None or user_id == request.visitor.player.id:
            raise NotFound("player")
        if user_id == BOT_ID:
            return await self._accounts.bot()
        return await self._accounts.user(request.visitor.viewer, id=user_id)

    async def _page(self, request: SiteRequest, other: User, form: FormState | None) -> View:
        user, text = request.visitor.player, request.locale.text
        before = request.query.whole("before", ID_MAX, at_least=1, at_most=ID_MAX)
        page = await self._conversations.read(user.id, other.id, before=before)
        saved = {
            "sent": text("The message was sent."),
            "stored": text("%(name)s is offline and gets the message at the next login.", name=other.name),
        }
        values = {
            "other": other,
            "is_bot": other.id == BOT_ID,
            "letters": [_shown(letter, user.id) for letter in page.letters],
            "older": page.older,
            "newest_page": before == ID_MAX,
            "form": form,
            "message_max": LINE_MAX,
            "silenced": user.silenced_until_ms > request.now_ms,
            "saved": common.message_of(request, saved),
        }
        title = text("Messages with %(name)s", name=other.name)
        return View("conversation.html", values, Head(title=title), 200 if form is None else 422)


def _shown(letter: StoredLetter, user_id: int) -> ShownLetter:
    action = letter.text.startswith(_ACTION)
    text = letter.text.removeprefix(_ACTION).removesuffix("\x01") if action else letter.text
    return ShownLetter(letter.from_id == user_id, text, action, letter.sent_at_ms)
