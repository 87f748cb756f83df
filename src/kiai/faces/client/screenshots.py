"""`osu-screenshot.php` and `/ss/{name}` (docs/spec/web.md#screenshots)."""

import re
from typing import Final

from kiai.clock import Clock
from kiai.errors import Invalid, NotFound
from kiai.faces.client.gateway import ClientGateway, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.screenshots import SIZE_MAX, Screenshots

UPLOADING: Final = RateLimit("screenshot", 1, 10.0)
A_DAY: Final = RateLimit("screenshots-a-day", 200, 86_400.0)
BODY_MAX: Final = SIZE_MAX + 64 * 1024  # the picture and the small parts of the form

_NAME: Final = re.compile(r"(?P<id>[A-Za-z0-9_-]{8})\.(?P<extension>png|jpg|jpeg)", re.ASCII)
_HEADERS: Final = (
    ("Cache-Control", "public, max-age=31536000, immutable"),  # an id never gets another picture
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
)


class ScreenshotEndpoints:
    """The handlers of upload and display."""

    def __init__(self, gateway: ClientGateway, screenshots: Screenshots, clock: Clock) -> None:
        self._gateway = gateway
        self._screenshots = screenshots
        self._clock = clock

    async def upload(self, request: ClientRequest) -> ClientResponse:
        """Store the picture `ss` and return its name under `/ss/`.

        An invalid picture, and any picture of a silenced player, gets 400 with the reason.
        """
        if request.player.silenced_until_ms > self._clock.now_ms():
            return ClientResponse(b"You are silenced.", status=400)
        await self._gateway.check_rate_limit(A_DAY, f"user:{request.player.id}")
        try:
            return ClientResponse(
                (await self._screenshots.save(request.player.id, request.form.file("ss") or b"")).encode()
            )
        except Invalid as error:
            return ClientResponse(f"The {error}.".encode(), status=400)

    async def show(self, request: ClientRequest) -> ClientResponse:
        """Return the picture. Raises NotFound if the extension is not that of the stored format (`.jpg` is `.jpeg`)."""
        match = _NAME.fullmatch(request.path["name"])
        if match is None:
            raise NotFound("screenshot")
        found = await self._screenshots.find(match["id"])
        if found is None or found.kind != match["extension"].replace("jpg", "jpeg"):
            raise NotFound("screenshot")
        # In chunks: clients that download one on many connections would otherwise have as many copies in memory.
        return ClientResponse(
            content_type=f"image/{found.kind}", headers=_HEADERS, chunks=found.chunks, length=found.size
        )

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint(
                "POST",
                "/web/osu-screenshot.php",
                self.upload,
                credentials=("u", "p"),
                online=True,
                rate_limit=UPLOADING,
                body_max=BODY_MAX,
                part_max=SIZE_MAX,
            ),
            Endpoint("GET", "/ss/{name}", self.show),
        ]
