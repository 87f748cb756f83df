"""What the client reports: signs of cheats (`lastfm.php`), crashes, its session (docs/spec/web.md#reports)."""

import re
from typing import Final

from kiai.faces.client.door import Answer, Ask, Haste, Page, TooLarge
from kiai.logs import get_logger
from kiai.realtime.port import Realtime
from kiai.realtime.reading import first_time
from kiai.scores.flags import Flags

STOP: Final = b"-3"
FLAG_EVERY_S: Final = 3_600.0
FLAGS: Final = Haste("lastfm", 20, 3_600.0)  # a client stops at the first answer; more are somebody who fills the table
CRASHES: Final = Haste("osu-error", 5, 60.0)
CRASH_MAX: Final = 256 * 1024  # without the screenshot
CRASH_EVERY_S: Final = 1.0
SCREENSHOT_MAX: Final = 4 * 1024 * 1024  # read past, and dropped
CRASH_KEPT: Final = (
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
TEXT_KEPT: Final = 2_000
SHORT_KEPT: Final = 100

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


class Reports:
    """The handlers. A sign of a cheat becomes a flag for the staff, and nothing else."""

    def __init__(self, flags: Flags, realtime: Realtime) -> None:
        self._flags = flags
        self._realtime = realtime

    async def last_fm(self, ask: Ask) -> Answer:
        """A map for last.fm, which is not passed on, or `a` and the client's flags. The client stops asking."""
        if found := _FLAGS.fullmatch(ask.query.get("b", "")):
            bits = int(found[1]) & ~4  # set for reasons that concern no player
            told = await first_time(self._realtime, f"lastfm:{ask.player.id}:{bits}", FLAG_EVERY_S, otherwise=True)
            if bits and told:
                names = [name for bit, name in _NAMES.items() if bits & bit]
                await self._flags.raise_(ask.player.id, "lastfm", details=f"{bits}: {', '.join(names)}")
        return Answer(STOP)

    async def crash(self, ask: Ask) -> Answer:
        """A crash of the client becomes a line of the log, without its settings and without whose it is.

        One line a second at most, whoever sends how many: nobody logs in for this. Raises TooLarge.
        """
        if sum(len(part.data) for part in ask.form.parts if part.name != "ss") > CRASH_MAX:
            raise TooLarge
        kept = {name: (ask.form.text(name) or "")[:SHORT_KEPT] for name in CRASH_KEPT}
        text = (ask.form.text("exception") or ask.form.text("feedback") or "")[:TEXT_KEPT]
        trace = (ask.form.text("stacktrace") or ask.form.text("iltrace") or "")[:TEXT_KEPT]
        if (text or trace) and await first_time(self._realtime, "client-crash", CRASH_EVERY_S, otherwise=False):
            given = {name: value for name, value in kept.items() if value}
            get_logger("client").info("client crashed", exception=text, trace=trace, **given)
        return Answer()

    async def session(self, ask: Ask) -> Answer:
        """What the client measured of itself; nobody wants to know."""
        return Answer()

    def pages(self) -> list[Page]:
        """What this module serves. A report that comes too often is dropped, but never refused."""
        return [
            Page(
                "GET",
                "/web/lastfm.php",
                self.last_fm,
                credentials=("us", "ha"),
                online=True,
                haste=FLAGS,
                hasty=Answer(STOP),
            ),
            Page(
                "POST",
                "/web/osu-error.php",
                self.crash,
                haste=CRASHES,
                hasty=Answer(),
                fault=Answer(),
                body_max=CRASH_MAX + SCREENSHOT_MAX,
                part_max=SCREENSHOT_MAX,
            ),
            Page(
                "POST",
                "/web/osu-session.php",
                self.session,
                haste=CRASHES,
                hasty=Answer(),
                fault=Answer(),
                body_max=CRASH_MAX,
                part_max=CRASH_MAX,
            ),
        ]
