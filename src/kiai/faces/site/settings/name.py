"""`/settings/name`: the change of the name, with its rules while typing, and the past names."""

from typing import Final

import msgspec

from kiai.accounts import TooManyGuesses
from kiai.entry import EntryServices
from kiai.entry.security import WrongPassword
from kiai.errors import Conflict, Invalid, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.locale import Locale
from kiai.faces.site.login import origin_of
from kiai.faces.site.page import Content, FormState, Head, Page, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.own_account import NameChanges
from kiai.own_account.names import TooEarly

PATH: Final = "/settings/name"
CHECKS: Final = RateLimit("name-checks", 60, 60.0)
NAME_TEXT_MAX: Final = 64
JSON: Final = "application/json"


class NamePages:
    """The page of the name and its form."""

    def __init__(self, names: NameChanges, entry: EntryServices) -> None:
        self._names = names
        self._entry = entry

    def pages(self) -> list[Page]:
        """Return the page, its form, and the check while typing."""
        check = common.show(f"{PATH}/check", self._check)
        return [
            common.show(PATH, self._show),
            common.form(PATH, self._change),
            msgspec.structs.replace(check, rate_limit=CHECKS),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        return await self._page(request, None)

    async def _page(self, request: SiteRequest, form: FormState | None, status: int = 200) -> View:
        text = request.locale.text
        values = {
            "form": form,
            "user": request.visitor.player,
            "state": await self._names.state(request.visitor.player),
            "saved": common.message_of(
                request, {"name": text("Your name was changed. Log in to the game again with the new name.")}
            ),
        }
        return View("settings/name.html", values, Head(title=text("Change name")), status)

    async def _check(self, request: SiteRequest) -> Response:
        """Answer whether the player could have a name, for the script of the form."""
        name = request.query.values.get("value", "")[:NAME_TEXT_MAX]
        message = ""
        try:
            await self._names.check(request.visitor.player, name)
        except (Invalid, Conflict) as error:
            message = fault_of(request.locale, error)
        return Content(msgspec.json.encode({"ok": not message, "message": message}), JSON)

    async def _change(self, request: SiteRequest) -> Response:
        locale, user = request.locale, request.visitor.player
        given = common.typed(request, "username", "current_password")
        name = given["username"][:NAME_TEXT_MAX]
        shown = {"username": name}
        try:
            # The name first: a wrong one needs no hash of the password.
            await self._names.check(user, name)
            await self._entry.security.check_password(user, given["current_password"], origin_of(request))
            await self._names.change(user.id, name)
        except WrongPassword:
            return await self._page(request, common.wrong_password(locale, shown), 422)
        except TooManyGuesses as error:
            return await self._page(
                request, common.refused(request.locale, shown, common.wait_message(locale, error.retry_s)), 429
            )
        except (Invalid, Conflict) as error:
            return await self._page(request, common.wrong(locale, shown, "username", fault_of(locale, error)), 422)
        except TooEarly as error:
            message = locale.text("You can change it again on %(day)s.", day=locale.formats.day(error.next_ms))
            return await self._page(request, common.wrong(locale, shown, "username", message), 422)
        except Refused as error:
            return await self._page(request, common.refused(request.locale, shown, error.reason), 422)
        return common.saved(PATH, "name")


def fault_of(locale: Locale, error: Invalid | Conflict) -> str:
    """Return why a name cannot be used."""
    if isinstance(error, Conflict):
        return locale.text("This name is already taken.")
    return locale.text("Must be %(allowed)s.", allowed=locale.phrase(error.allowed))
