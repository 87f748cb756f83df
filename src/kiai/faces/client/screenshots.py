"""`osu-screenshot.php` and `/ss/{name}` (docs/spec/web.md#screenshots)."""

import re
from typing import Final

from kiai.accounts.screenshots import SIZE_MAX, Screenshots
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound
from kiai.faces.client.door import Answer, Ask, Door, Haste, Page

UPLOADING: Final = Haste("screenshot", 1, 10.0)
A_DAY: Final = Haste("screenshots-a-day", 200, 86_400.0)
BODY_MAX: Final = SIZE_MAX + 64 * 1024

_NAME: Final = re.compile(r"(?P<id>[A-Za-z0-9_-]{8})\.(?P<extension>png|jpg|jpeg)", re.ASCII)
_HEADERS: Final = (
    ("Cache-Control", "public, max-age=31536000, immutable"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
)


class ScreenshotPages:
    """The handlers."""

    def __init__(self, door: Door, screenshots: Screenshots, clock: Clock) -> None:
        self._door = door
        self._screenshots = screenshots
        self._clock = clock

    async def upload(self, ask: Ask) -> Answer:
        """Stores the picture `ss`; the body is the name under which `/ss/` shows it."""
        if ask.player.silenced_until_ms > self._clock.now_ms():
            return Answer(b"You are silenced.", status=400)
        await self._door.take(A_DAY, f"user:{ask.player.id}")
        try:
            return Answer((await self._screenshots.keep(ask.player.id, ask.form.file("ss") or b"")).encode())
        except Invalid as error:
            return Answer(f"The {error}.".encode(), status=400)

    async def show(self, ask: Ask) -> Answer:
        """The picture; `.jpg` is another word for `.jpeg`."""
        named = _NAME.fullmatch(ask.path["name"])
        if named is None:
            raise NotFound("screenshot")
        found = await self._screenshots.find(named["id"])
        if found is None or found[0] != named["extension"].replace("jpg", "jpeg"):
            raise NotFound("screenshot")
        return Answer(found[1], content_type=f"image/{found[0]}", headers=_HEADERS)

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page(
                "POST",
                "/web/osu-screenshot.php",
                self.upload,
                credentials=("u", "p"),
                online=True,
                haste=UPLOADING,
                body_max=BODY_MAX,
                part_max=SIZE_MAX,
            ),
            Page("GET", "/ss/{name}", self.show),
        ]
