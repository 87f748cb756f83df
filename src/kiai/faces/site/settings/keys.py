"""`/settings/api-keys` and `/settings/irc`: keys for programs and the password for IRC, each shown once."""

from typing import Final

from kiai.errors import Invalid, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.login import origin_of
from kiai.faces.site.page import FormState, Head, Page, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.osu.numbers import whole_number
from kiai.own_account import OwnKeys

API_PATH: Final = "/settings/api-keys"
IRC_PATH: Final = "/settings/irc"
NEW_KEYS: Final = RateLimit("new-keys", 20, 3600.0)
LABEL_TEXT_MAX: Final = 200


class KeyPages:
    """The pages of API keys and of the IRC password."""

    def __init__(self, keys: OwnKeys, *, domain: str) -> None:
        self._keys = keys
        self._domain = domain

    def pages(self) -> list[Page]:
        """Return the pages and their forms."""
        return [
            common.show(API_PATH, self._show_api_keys),
            common.form(API_PATH, self._create_api_key, NEW_KEYS),
            common.form(f"{API_PATH}/revoke", self._revoke_api_key),
            common.show(IRC_PATH, self._show_irc),
            common.form(IRC_PATH, self._create_irc_password, NEW_KEYS),
            common.form(f"{IRC_PATH}/remove", self._remove_irc_password),
        ]

    # --- API keys

    async def _show_api_keys(self, request: SiteRequest) -> Response:
        return await self._api_page(request)

    async def _api_page(
        self, request: SiteRequest, form: FormState | None = None, key: str = "", status: int = 200
    ) -> View:
        text = request.locale.text
        values = {
            "form": form,
            "keys": await self._keys.api_keys(request.visitor.player.id),
            "key": key,
            "saved": text("The key was created. Copy it now: it is shown only once.")
            if key
            else common.message_of(request, {"revoked": text("The key was revoked.")}),
        }
        return View("settings/api_keys.html", values, Head(title=text("API keys")), status)

    async def _create_api_key(self, request: SiteRequest) -> Response:
        given = {"label": common.typed(request, "label")["label"][:LABEL_TEXT_MAX]}
        try:
            key = await self._keys.create_api_key(request.visitor.player.id, given["label"], origin_of(request))
        except Invalid as error:
            return await self._api_page(request, common.invalid(request.locale, given, error, {}), status=422)
        except Refused as error:
            return await self._api_page(request, common.refused(request.locale, given, error.reason), status=422)
        return await self._api_page(request, key=key)

    async def _revoke_api_key(self, request: SiteRequest) -> Response:
        key_id = whole_number(common.typed(request, "key")["key"]) or 0
        await self._keys.revoke_api_key(request.visitor.player.id, key_id, origin_of(request))
        return common.saved(API_PATH, "revoked")

    # --- IRC

    async def _show_irc(self, request: SiteRequest) -> Response:
        return await self._irc_page(request)

    async def _irc_page(self, request: SiteRequest, password: str = "") -> View:
        text = request.locale.text
        values = {
            "times": await self._keys.irc_password(request.visitor.player.id),
            "password": password,
            "name": request.visitor.player.name.replace(" ", "_"),
            "domain": self._domain,
            "saved": text("The password was created. Copy it now: it is shown only once.")
            if password
            else common.message_of(request, {"removed": text("The IRC password was removed.")}),
        }
        return View("settings/irc.html", values, Head(title=text("IRC password")))

    async def _create_irc_password(self, request: SiteRequest) -> Response:
        password = await self._keys.create_irc_password(request.visitor.player.id, origin_of(request))
        return await self._irc_page(request, password)

    async def _remove_irc_password(self, request: SiteRequest) -> Response:
        await self._keys.remove_irc_password(request.visitor.player.id, origin_of(request))
        return common.saved(IRC_PATH, "removed")
