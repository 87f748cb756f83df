"""Looks for a newer release of kiai at the URL of the setting `upgrade_url`. Without it, nobody is asked.

The answer is JSON: an object with `tag_name`, as the forges GitHub, Gitea and Forgejo describe the latest release, or
with `info.version`, as package indexes describe a package.
"""

import asyncio
import re
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import Refused, Unavailable
from kiai.logs import get_logger
from kiai.staff.backup_model import write_record
from kiai.version import VERSION

LAST: Final = "last-upgrade-check.json"
"""The file in the data folder with the newest release that was seen."""
CHECK_EVERY_S: Final = 3_600.0
EVERY_MS: Final = 86_400_000
CONNECT_S: Final = 5.0
TOTAL_S: Final = 15.0
ANSWER_MAX: Final = 4 << 20  # bytes; an index lists all releases of a package
_RELEASE: Final = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_PART: Final = "the answer of upgrade_url"


class _Package(msgspec.Struct, frozen=True):
    version: str = ""


class _Answer(msgspec.Struct, frozen=True):
    tag_name: str = ""
    info: _Package = _Package()


class LastUpgradeCheck(msgspec.Struct, frozen=True):
    """The newest release, such as `0.2.0`, and when it was seen, in unix ms."""

    latest: str
    at_ms: int

    @property
    def is_newer(self) -> bool:
        """Whether it is newer than this version. A development version is older than the release of its number."""
        return is_newer(self.latest, VERSION)


def is_newer(release: str, version: str) -> bool:
    """Return whether `release` is newer than `version`, which may be a development version."""
    known = _RELEASE.match(version)
    offered = _RELEASE.fullmatch(release)
    if known is None or offered is None:
        return False
    theirs, ours = tuple(map(int, offered.groups())), tuple(map(int, known.groups()))
    return theirs > ours or (theirs == ours and known.end() < len(version))


class UpgradeCheck:
    """Asks `url`, None for nobody, and records the answer in the data folder."""

    def __init__(self, url: str | None, data: Path, clock: Clock) -> None:
        self._url = url
        self._data = data
        self._clock = clock

    async def run_due(self) -> None:
        """Look for a newer release if the last look was a day ago. A job calls this on one worker.

        Raises Refused and Unavailable.
        """
        last = last_upgrade_check(self._data)
        if last is not None and 0 <= self._clock.now_ms() - last.at_ms < EVERY_MS:
            return
        found = await self.run()
        if found.is_newer and (last is None or last.latest != found.latest):
            get_logger("upgrade").warning("a newer release is available", latest=found.latest, version=VERSION)

    async def run(self) -> LastUpgradeCheck:
        """Look for a newer release now. Takes at most 15 s.

        Raises Refused without a URL, and Unavailable if it does not answer, or with something else.
        """
        if self._url is None:
            raise Refused("the setting upgrade_url names nobody to ask for newer releases")
        found = LastUpgradeCheck(_release_in(await _get(self._url)), self._clock.now_ms())
        try:
            await asyncio.to_thread(write_record, self._data / LAST, found)
        except OSError as error:
            get_logger("upgrade").warning("cannot record the check", folder=str(self._data), why=error.strerror)
        return found


async def _get(url: str) -> bytes:
    """Return the answer of a URL. Raises Unavailable."""
    import httpx  # PERF: imported here, because only servers with the setting need it

    headers = {"User-Agent": f"kiai/{VERSION}", "Accept": "application/json", "Accept-Encoding": "identity"}
    body = bytearray()
    try:
        async with (
            asyncio.timeout(TOTAL_S),
            httpx.AsyncClient(timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S)) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                to = answer.headers.get("Location", "")
                why = f"the status is {answer.status_code}" + (f", a redirect to {to[:200]}" if to else "")
                raise Unavailable(_PART, f"{why}; correct the setting")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > ANSWER_MAX:
                    raise Unavailable(_PART, f"it is larger than {ANSWER_MAX >> 20} MiB")
    except TimeoutError as error:
        raise Unavailable(_PART, f"nobody answers within {TOTAL_S:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise Unavailable(_PART, str(error) or type(error).__name__) from error
    return bytes(body)


def _release_in(body: bytes) -> str:
    """Return the number of the release in an answer. Raises Unavailable."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Unavailable(_PART, "it is not a JSON object with tag_name or info.version") from error
    named = answer.tag_name or answer.info.version
    if _RELEASE.fullmatch(named) is None:
        raise Unavailable(_PART, f"it names no release like 1.2.3, but '{named[:50]}'")
    return named.removeprefix("v")


def last_upgrade_check(data: Path) -> LastUpgradeCheck | None:
    """Return the last check of this data folder, or None."""
    try:
        return msgspec.json.decode((data / LAST).read_bytes(), type=LastUpgradeCheck)
    except (OSError, msgspec.DecodeError):
        return None
