"""Reports of the client: suspected cheats (`lastfm.php`), crashes and measurements (docs/spec/web.md#reports)."""

import re
from typing import Final

from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.faces.request_body import BodyTooLarge
from kiai.logs import get_logger
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import first_time
from kiai.scores.flags import Flags

STOP: Final = b"-3"
FLAG_EVERY_S: Final = 3_600.0
# A real client stops after the first answer. More requests are an attempt to fill the table of flags.
FLAGS: Final = RateLimit("lastfm", 20, 3_600.0)
CRASHES: Final = RateLimit("osu-error", 5, 60.0)
CRASH_MAX: Final = 256 * 1024  # without the screenshot
CRASH_EVERY_S: Final = 1.0
SCREENSHOT_MAX: Final = 4 * 1024 * 1024  # of a crash; accepted and discarded
LOGGED_FIELDS: Final = (
    "version",
    "exehash",
    "osumode",
    "gamemode",
    "gametime",
    "audiotime",
    "culture",
    "beatmap_id",
    "ram",
)
LOGGED_TEXT_MAX: Final = 2_000
LOGGED_FIELD_MAX: Final = 100

_FLAGS: Final = re.compile(r"a([0-9]{1,10})", re.ASCII)
_NAMES: Final = {
    2: "speed",
    8: "several clients",
    16: "checksum failure",
    32: "flashlight checksum",
    64: "exe checksum",
    128: "missing processes",
    256: "flashlight image",
    512: "spinner",
    1024: "transparent window",
    2048: "fast press",
    4096: "raw mouse",
    8192: "raw keyboard",
    16384: "-ld run",
    32768: "console attached",
    65536: "foreign threads",
    131072: "hq!osu assembly",
    262144: "hq!osu file",
    524288: "relife registry",
    1048576: "SDL2 library",
    2097152: "OpenSSL library",
    4194304: "AQN menu sample",
}


class ReportEndpoints:
    """The handlers. A suspected cheat becomes a flag for staff and has no automatic consequence."""

    def __init__(self, flags: Flags, realtime: Realtime) -> None:
        self._flags = flags
        self._realtime = realtime

    async def last_fm(self, request: ClientRequest) -> ClientResponse:
        """Store the client flags (`b=a...`) for staff. Other values are maps for last.fm, which kiai ignores.

        The answer makes the client stop sending reports.
        """
        if found := _FLAGS.fullmatch(request.query.get("b", "")):
            bits = int(found[1]) & ~4  # honest clients set 4 (docs/spec/submission.md#client-flags)
            is_new = await first_time(
                self._realtime, f"lastfm:{request.player.id}:{bits}", FLAG_EVERY_S, otherwise=True
            )
            if bits and is_new:
                names = [name for bit, name in _NAMES.items() if bits & bit]
                await self._flags.add(request.player.id, "lastfm", details=f"{bits}: {', '.join(names)}")
        return ClientResponse(STOP)

    async def crash(self, request: ClientRequest) -> ClientResponse:
        """Log a crash of the client, without its settings and without the player.

        The endpoint has no credentials, so the server logs at most one crash per second for all callers. Raises
        BodyTooLarge if the texts exceed `CRASH_MAX` bytes.
        """
        if sum(len(part.data) for part in request.form.parts if part.name != "ss") > CRASH_MAX:
            raise BodyTooLarge
        fields = {name: (request.form.text(name) or "")[:LOGGED_FIELD_MAX] for name in LOGGED_FIELDS}
        text = (request.form.text("exception") or request.form.text("feedback") or "")[:LOGGED_TEXT_MAX]
        trace = (request.form.text("stacktrace") or request.form.text("iltrace") or "")[:LOGGED_TEXT_MAX]
        if (text or trace) and await first_time(self._realtime, "client-crash", CRASH_EVERY_S, otherwise=False):
            present = {name: value for name, value in fields.items() if value}
            get_logger("client").info("client crashed", exception=text, trace=trace, **present)
        return ClientResponse()

    async def session(self, request: ClientRequest) -> ClientResponse:
        """Accept and discard the measurements of the client."""
        return ClientResponse()

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints. Reports above the rate limit are dropped, with the same answer as accepted ones."""
        return [
            Endpoint(
                "GET",
                "/web/lastfm.php",
                self.last_fm,
                credentials=("us", "ha"),
                online=True,
                rate_limit=FLAGS,
                rate_limited=ClientResponse(STOP),
            ),
            Endpoint(
                "POST",
                "/web/osu-error.php",
                self.crash,
                rate_limit=CRASHES,
                rate_limited=ClientResponse(),
                bad_request=ClientResponse(),
                body_max=CRASH_MAX + SCREENSHOT_MAX,
                part_max=SCREENSHOT_MAX,
            ),
            Endpoint(
                "POST",
                "/web/osu-session.php",
                self.session,
                rate_limit=CRASHES,
                rate_limited=ClientResponse(),
                bad_request=ClientResponse(),
                body_max=CRASH_MAX,
                part_max=CRASH_MAX,
            ),
        ]
