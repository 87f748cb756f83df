"""The visitor's language and theme, which the footer of every page offers.

A GET form, because it changes nothing on the server: the choice is stored in the cookies `lang` and `theme`.
"""

from typing import Final

from kiai.faces.site.gateway import THEMES
from kiai.faces.site.locale import LANGUAGES
from kiai.faces.site.page import Cookie, Page, Redirect, Response, SiteRequest

COOKIE_S: Final = 365 * 86_400


class PreferencePages:
    """Stores the choice of the footer."""

    def pages(self) -> list[Page]:
        """Return the page `/preferences`."""
        return [Page("GET", "/preferences", self._choose)]

    async def _choose(self, request: SiteRequest) -> Response:
        query = request.query
        cookies = []
        if "lang" in query.values:
            cookies.append(Cookie("lang", query.choice("lang", tuple(LANGUAGES), "en"), COOKIE_S))
        if "theme" in query.values:
            theme = query.choice("theme", ("system", *THEMES), "system")
            cookies.append(Cookie("theme", "" if theme == "system" else theme, 0 if theme == "system" else COOKIE_S))
        return Redirect(own_path(query.values.get("next", "")), cookies=tuple(cookies))


def own_path(target: str, otherwise: str = "/") -> str:
    """Return `target` if it is a path of this site, else `otherwise`."""
    # Browsers read `//host` and `/\\host` as another host.
    if not target.startswith("/") or target[1:2] in ("/", "\\") or len(target) > 2_000:
        return otherwise
    return target if target.isascii() and target.isprintable() and " " not in target else otherwise
