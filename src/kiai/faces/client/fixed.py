"""Endpoints whose answer hardly depends on anything: probes, updates, old builds, what this server does not do.

docs/spec/web.md#fixed-answers has the list. None of them looks into the database, whoever asks for whatever.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.faces.client.door import JSON, Answer, Ask, Haste, Page

CACHED: Final = (("Cache-Control", "public, max-age=600"),)
SHARED: Final = (*CACHED, ("Access-Control-Allow-Origin", "*"))
EMPTY: Final = Answer()
LOG_INS: Final = Haste("osu-login", 10, 60.0)

# What builds of the past ask for, and what they take for "nothing".
ALWAYS: Final[dict[str, Answer]] = {
    "/web/bancho_connect.php": EMPTY,
    "/web/bancho-connect.php": EMPTY,
    "/web/osu-checktweets.php": EMPTY,
    "/web/osu-getcharts.php": EMPTY,
    "/web/osu-gethelp.php": EMPTY,
    "/web/osu-gethashes.php": Answer(b"0"),
    "/web/osu-magnet.php": Answer(status=501),
    "/release/update.php": Answer(b"0"),
    "/release/update2.php": EMPTY,
    "/release/update": EMPTY,
    "/release/patches.php": EMPTY,
    "/release/filter.txt": EMPTY,
    "/p/doyoureallywanttoaskpeppy": Answer(b"This player reads no private messages."),
}
NO_UPLOADS: Final = Answer(b"5\nBeatmap submission is disabled on this server.")
ChannelOf = Callable[[int], Awaitable[int]]


class Fixed:
    """The handlers. `seasonal` are addresses of pictures, `menu` of a picture and where a click on it leads."""

    def __init__(
        self, *, seasonal: Sequence[str], menu: tuple[str, str] | None, menu_link: str, channel_of: ChannelOf
    ) -> None:
        self._seasonal = Answer(msgspec.json.encode(list(seasonal)), content_type=JSON, headers=CACHED)
        images = [] if menu is None else [_image(*menu)]
        self._menu = Answer(msgspec.json.encode({"images": images}), content_type=JSON, headers=SHARED)
        self._menu_link = menu_link
        self._channel_of = channel_of

    async def seasonal(self, ask: Ask) -> Answer:
        """Backgrounds of the season."""
        return self._seasonal

    async def menu(self, ask: Ask) -> Answer:
        """The picture of the main menu."""
        return self._menu

    async def updates(self, ask: Ask) -> Answer:
        """There is never a newer client here."""
        if ask.query.get("action") == "put":
            return Answer(b"nope")
        return Answer(b"[]", content_type=JSON)

    async def title_image(self, ask: Ask) -> Answer:
        """The title picture of old builds: a click on it leads where the menu's does."""
        if ask.query.get("l") == "1" and self._menu_link:
            return Answer(status=302, headers=(("Location", self._menu_link),))
        return EMPTY

    async def log_in(self, ask: Ask) -> Answer:
        """Old builds ask whether a password is right; getting here says it is."""
        return Answer(b"1")

    async def channel_id(self, ask: Ask) -> Answer:
        """The number of a match's channel, for tournament clients; 0 for no match."""
        return Answer(str(await self._channel_of(ask.whole("mp"))).encode())

    def pages(self) -> list[Page]:
        """What this module serves."""
        fixed = [Page("GET", path, _always(answer), haste=None) for path, answer in ALWAYS.items()]
        return [
            *fixed,
            Page("GET", "/web/osu-getseasonal.php", self.seasonal, haste=None),
            Page("GET", "/menu-content.json", self.menu, haste=None),
            Page("GET", "/web/check-updates.php", self.updates, haste=None),
            Page("GET", "/web/osu-title-image.php", self.title_image, haste=None),
            Page(
                "GET",
                "/web/osu-login.php",
                self.log_in,
                credentials=("username", "password"),
                refusal=Answer(b"0"),
                haste=LOG_INS,
            ),
            Page("GET", "/web/osu-getchannelid.php", self.channel_id, credentials=("u", "h")),
            Page("GET", "/web/osu-osz2-bmsubmit-getid.php", _always(NO_UPLOADS), haste=None),
            Page("POST", "/web/osu-osz2-bmsubmit-upload.php", _always(NO_UPLOADS), haste=None, fault=NO_UPLOADS),
            Page("POST", "/web/osu-osz2-bmsubmit-post.php", _always(Answer(status=403)), haste=None),
            Page("GET", "/web/osu-get-beatmap-topic.php", _always(Answer(b"1\n")), haste=None),
        ]


def _always(answer: Answer) -> Callable[[Ask], Awaitable[Answer]]:
    async def handler(ask: Ask) -> Answer:
        return answer

    return handler


def _image(picture: str, link: str) -> dict[str, object]:
    return {"image": picture, "url": link, "IsCurrent": True, "begins": None, "expires": None}
