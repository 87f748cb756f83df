"""`/settings/profile`: preferred mode, play style, country, and the userpage with its preview."""

import re
from typing import Any, Final

from markupsafe import Markup

from kiai.accounts.markup import Words
from kiai.accounts.model import USERPAGE_MAX
from kiai.accounts.userpages import Userpages
from kiai.errors import Invalid, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import HTML, Content, FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.osu.countries import COUNTRIES
from kiai.own_account import ProfileSettings
from kiai.own_account.profile import CountryTooEarly

PATH: Final = "/settings/profile"
PREVIEWS: Final = RateLimit("userpage-previews", 60, 60.0)
STYLES: Final = {"mouse": 1, "tablet": 2, "keyboard": 4, "touch": 8}
MODES: Final = (
    (0, "osu!"),
    (1, "osu!taiko"),
    (2, "osu!catch"),
    (3, "osu!mania"),
    (4, "osu! relax"),
    (5, "osu!taiko relax"),
    (6, "osu!catch relax"),
    (8, "osu! autopilot"),
)
_MODE: Final = re.compile(r"[0-9]", re.ASCII)


class ProfileSettingsPages:
    """The page of the profile settings and its forms."""

    def __init__(self, settings: ProfileSettings, userpages: Userpages) -> None:
        self._settings = settings
        self._userpages = userpages

    def pages(self) -> list[Page]:
        """Return the page and its forms."""
        return [
            common.show("/settings", self._redirect),
            common.show(PATH, self._show),
            common.form(PATH, self._save),
            common.form("/settings/userpage", self._save_userpage),
            common.form("/settings/userpage/preview", self._preview, PREVIEWS),
        ]

    async def _redirect(self, request: SiteRequest) -> Response:
        return Redirect(PATH, 302)

    async def _show(self, request: SiteRequest) -> Response:
        return self._page(request)

    def _page(
        self,
        request: SiteRequest,
        *,
        profile: FormState | None = None,
        userpage: FormState | None = None,
        preview: str | None = None,
        status: int = 200,
    ) -> View:
        user, text = request.visitor.player, request.locale.text
        names = request.locale.formats.babel.territories
        countries = sorted(
            ((code, str(names.get(code.upper()) or COUNTRIES[code][1])) for code in COUNTRIES if code.isalpha()),
            key=lambda pair: (pair[0] != user.own_country, pair[1]),
        )
        values: dict[str, Any] = {
            "profile": profile,
            "userpage": userpage,
            # The renderer of the markup writes only elements that are safe.
            "preview": None if preview is None else Markup(preview),  # noqa: S704
            "modes": MODES,
            "styles": [
                ("mouse", text("Mouse")),
                ("tablet", text("Tablet")),
                ("keyboard", text("Keyboard")),
                ("touch", text("Touch screen")),
            ],
            "chosen_styles": {name for name, bit in STYLES.items() if user.play_style & bit},
            "countries": [pair for pair in countries if pair[0] != "xx" or user.own_country == "xx"],
            "country_wait_ms": self._settings.country_wait_ms(user),
            "userpage_max": USERPAGE_MAX,
            "silenced": user.silenced_until_ms > request.now_ms,
            "saved": common.message_of(
                request,
                {"profile": text("Your profile was saved."), "userpage": text("Your userpage was saved.")},
            ),
        }
        return View("settings/profile.html", values, Head(title=text("Profile settings")), status)

    async def _save(self, request: SiteRequest) -> Response:
        locale, given = request.locale, common.typed(request, "preferred_mode", "country")
        chosen = {part.data.decode(errors="replace") for part in request.form.parts if part.name == "play_style"}
        mode = given["preferred_mode"]
        try:
            await self._settings.save(
                request.visitor.player.id,
                preferred_mode=int(mode) if _MODE.fullmatch(mode) else -1,
                play_style=sum(bit for name, bit in STYLES.items() if name in chosen),
                country=given["country"],
            )
        except Invalid as error:
            return self._page(request, profile=common.invalid(locale, given, error, {}), status=422)
        except CountryTooEarly as error:
            message = locale.text("You can change it again on %(day)s.", day=locale.formats.day(error.next_ms))
            return self._page(request, profile=common.wrong(locale, given, "country", message), status=422)
        return common.saved(PATH, "profile")

    async def _save_userpage(self, request: SiteRequest) -> Response:
        locale, given = request.locale, common.typed(request, "userpage")
        try:
            await self._settings.save_userpage(request.visitor.player.id, given["userpage"])
        except Invalid as error:
            state = common.invalid(locale, given, error, {"userpage_content": "userpage"})
            return self._page(request, userpage=state, status=422)
        except Refused as error:
            return self._page(request, userpage=common.refused(request.locale, given, error.reason), status=422)
        return common.saved(PATH, "userpage")

    async def _preview(self, request: SiteRequest) -> Response:
        given = common.typed(request, "userpage")
        html = await self._userpages.html(given["userpage"][:USERPAGE_MAX], words_of(request.locale))
        if request.fragment:
            return Content(html.encode(), HTML)
        return self._page(request, userpage=FormState(given), preview=html)


def words_of(locale: Locale) -> Words:
    """Return the words that the markup adds, in the visitor's language."""
    text = locale.text
    return Words(
        spoiler=text("Spoiler"),
        quote=text("{name} wrote:"),
        picture=text("Picture on {host}"),
        video=text("Video on YouTube"),
        audio=text("Audio on {host}"),
    )
