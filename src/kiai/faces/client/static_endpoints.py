"""Endpoints with fixed answers: probes, updates, older builds and functions that kiai does not have.

docs/spec/web.md#fixed-answers lists them. Those without a rate limit use neither the database nor shared state.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.faces.client.gateway import JSON, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit

CACHED: Final = (("Cache-Control", "public, max-age=600"),)
SHARED: Final = (*CACHED, ("Access-Control-Allow-Origin", "*"))
EMPTY: Final = ClientResponse()
LOG_INS: Final = RateLimit("osu-login", 10, 60.0)

# By path: the answer that older builds understand as "nothing".
ALWAYS: Final[dict[str, ClientResponse]] = {
    "/web/bancho_connect.php": EMPTY,
    "/web/bancho-connect.php": EMPTY,
    "/web/osu-checktweets.php": EMPTY,
    "/web/osu-getcharts.php": EMPTY,
    "/web/osu-gethelp.php": EMPTY,
    "/web/osu-gethashes.php": ClientResponse(b"0"),
    "/web/osu-magnet.php": ClientResponse(status=501),
    "/release/update.php": ClientResponse(b"0"),
    "/release/update2.php": EMPTY,
    "/release/update": EMPTY,
    "/release/patches.php": EMPTY,
    "/release/filter.txt": EMPTY,
    "/p/doyoureallywanttoaskpeppy": ClientResponse(b"This player reads no private messages."),
}
NO_UPLOADS: Final = ClientResponse(b"5\nBeatmap submission is disabled on this server.")
ChannelOf = Callable[[int], Awaitable[int]]
Menu = Callable[[], tuple[str, str]]


class StaticEndpoints:
    """The handlers.

    `seasonal` are the URLs of background pictures. `menu` returns the present URL of the menu's picture and the target
    of its link, each empty without one.
    """

    def __init__(self, *, seasonal: Sequence[str], menu: Menu, channel_of: ChannelOf) -> None:
        self._seasonal = ClientResponse(msgspec.json.encode(list(seasonal)), content_type=JSON, headers=CACHED)
        self._menu = menu
        self._channel_of = channel_of

    async def seasonal(self, request: ClientRequest) -> ClientResponse:
        """Return the seasonal backgrounds."""
        return self._seasonal

    async def menu(self, request: ClientRequest) -> ClientResponse:
        """Return the picture of the main menu."""
        icon, link = self._menu()
        images = [_image(icon, link)] if icon else []
        return ClientResponse(msgspec.json.encode({"images": images}), content_type=JSON, headers=SHARED)

    async def updates(self, request: ClientRequest) -> ClientResponse:
        """Answer that no update is available: this server distributes no clients."""
        if request.query.get("action") == "put":
            return ClientResponse(b"nope")
        return ClientResponse(b"[]", content_type=JSON)

    async def title_image(self, request: ClientRequest) -> ClientResponse:
        """Redirect a click on the title picture of older builds (`l=1`) to the menu's link."""
        _, link = self._menu()
        if request.query.get("l") == "1" and link:
            return ClientResponse(status=302, headers=(("Location", link),))
        return EMPTY

    async def log_in(self, request: ClientRequest) -> ClientResponse:
        """Confirm the password to older builds. The gateway answers `0` to a wrong one."""
        return ClientResponse(b"1")

    async def channel_id(self, request: ClientRequest) -> ClientResponse:
        """Return the number of a match's channel to a tournament client, or 0 for an unknown match."""
        return ClientResponse(str(await self._channel_of(request.whole("mp"))).encode())

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        fixed = [Endpoint("GET", path, _always(answer), rate_limit=None) for path, answer in ALWAYS.items()]
        return [
            *fixed,
            Endpoint("GET", "/web/osu-getseasonal.php", self.seasonal, rate_limit=None),
            Endpoint("GET", "/menu-content.json", self.menu, rate_limit=None),
            Endpoint("GET", "/web/check-updates.php", self.updates, rate_limit=None),
            Endpoint("GET", "/web/osu-title-image.php", self.title_image, rate_limit=None),
            Endpoint(
                "GET",
                "/web/osu-login.php",
                self.log_in,
                credentials=("username", "password"),
                unauthorized=ClientResponse(b"0"),
                rate_limit=LOG_INS,
            ),
            Endpoint("GET", "/web/osu-getchannelid.php", self.channel_id, credentials=("u", "h")),
            Endpoint("GET", "/web/osu-osz2-bmsubmit-getid.php", _always(NO_UPLOADS), rate_limit=None),
            Endpoint(
                "POST",
                "/web/osu-osz2-bmsubmit-upload.php",
                _always(NO_UPLOADS),
                rate_limit=None,
                bad_request=NO_UPLOADS,
            ),
            Endpoint("POST", "/web/osu-osz2-bmsubmit-post.php", _always(ClientResponse(status=403)), rate_limit=None),
            Endpoint("GET", "/web/osu-get-beatmap-topic.php", _always(ClientResponse(b"1\n")), rate_limit=None),
        ]


def _always(answer: ClientResponse) -> Callable[[ClientRequest], Awaitable[ClientResponse]]:
    async def handler(request: ClientRequest) -> ClientResponse:
        return answer

    return handler


def _image(picture: str, link: str) -> dict[str, object]:
    return {"image": picture, "url": link, "IsCurrent": True, "begins": None, "expires": None}
