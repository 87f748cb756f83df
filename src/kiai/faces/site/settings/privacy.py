"""`/settings/privacy`: who may write, what others see, and the blocked players."""

from typing import Final

from kiai.accounts.model import Privacy
from kiai.faces.site.page import Head, Page, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.own_account import Friendships, ProfileSettings

PATH: Final = "/settings/privacy"
EVERYBODY: Final = "everybody"
FRIENDS: Final = "friends"


class PrivacyPages:
    """The page of privacy and its form."""

    def __init__(self, settings: ProfileSettings, friendships: Friendships) -> None:
        self._settings = settings
        self._friendships = friendships

    def pages(self) -> list[Page]:
        """Return the page and its form."""
        return [common.show(PATH, self._show), common.form(PATH, self._save)]

    async def _show(self, request: SiteRequest) -> Response:
        return await self._page(request, None)

    async def _page(self, request: SiteRequest, wrong: str | None) -> View:
        user, text = request.visitor.player, request.locale.text
        values = {
            "form": None
            if wrong is None
            else common.wrong(request.locale, {}, "messages", text("Must be %(allowed)s.", allowed=wrong)),
            "messages": FRIENDS if user.privacy & Privacy.FRIENDS_ONLY else EVERYBODY,
            "by_game": bool(user.friends_only_dms),
            "shows_country": user.home_country is None,
            "shows_last_seen": not user.privacy & Privacy.HIDE_LAST_SEEN,
            "shows_online": not user.privacy & Privacy.HIDE_ONLINE,
            "blocks": await self._friendships.blocks(user.id),
            "saved": common.message_of(
                request,
                {"privacy": text("Your privacy settings were saved."), "unblocked": text("The player was unblocked.")},
            ),
        }
        return View("settings/privacy.html", values, Head(title=text("Privacy")), 200 if wrong is None else 422)

    async def _save(self, request: SiteRequest) -> Response:
        given = common.typed(request, "messages", "country", "last_seen", "online")
        if given["messages"] not in (EVERYBODY, FRIENDS):
            return await self._page(request, f"{EVERYBODY}, {FRIENDS}")
        privacy = Privacy(0)
        if given["messages"] == FRIENDS:
            privacy |= Privacy.FRIENDS_ONLY
        if not given["last_seen"]:
            privacy |= Privacy.HIDE_LAST_SEEN
        if not given["online"]:
            privacy |= Privacy.HIDE_ONLINE
        await self._settings.save_privacy(request.visitor.player.id, privacy, hide_country=not given["country"])
        return common.saved(PATH, "privacy")
