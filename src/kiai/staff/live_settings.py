"""Settings that a running server reads again: `!reload settings`.

Only the settings in `RELOADED` apply without a restart. A process of its own reads kiai.toml and the environment,
because the declaration of the settings needs megabytes that the server does not have. Every worker reads them when the
value of the switch `settings` has changed.
"""

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from kiai.clock import Clock
from kiai.errors import KiaiError, Refused
from kiai.logs import get_logger
from kiai.server_settings import MASK, SETTING_NAMES, SettingOrigin, Settings, masked
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import Switches, locked, store
from kiai.storage.port import Transaction

PERMISSION: Final = "settings.write"
RELOADED: Final = ("welcome", "menu_icon", "menu_link", "oldest_build", "build_age_days")
FLAGS: Final = frozenset(
    {"host", "port", "domain", "data", "database", "database_replica", "files", "state", "workers"}
    | {"trusted_proxy", "irc", "irc_tls"}
)
"""Settings with a flag of `kiai serve`, which the file does not show. They are never compared."""
READ_WITHIN_S: Final = 20.0
RETRY_S: Final = 10
"""After a failure a worker reads the settings again, this long after the begin of the last attempt."""
SERVER: Final = "server"
_LOGIN: Final = re.compile(r"(?<=:)//[^/?#\s]*@")


class Reload(msgspec.Struct, frozen=True):
    """The names of the settings that have changed, and of those that differ but need a restart."""

    changed: tuple[str, ...]
    need_restart: tuple[str, ...]


class SettingInForce(msgspec.Struct, frozen=True):
    """A setting with the value that applies now, as text; its secrets are masked. `reloads`: without a restart."""

    value: str
    origin: SettingOrigin
    reloads: bool


async def read_settings_again() -> Settings:
    """Read kiai.toml and the environment in a process of its own. Raises Refused with the reason."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "kiai.cli.settings_json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            out, complaint = await process.communicate()
    except TimeoutError as error:
        raise Refused("the settings could not be read in time") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Refused(complaint.decode(errors="replace").strip()[-300:] or "the settings cannot be read")
    return Settings.from_json(out)


class LiveSettings:
    """The settings that apply now. `current` differs from those of the start only in `RELOADED`.

    `texts` are the texts of the panel by the names of the settings that they override.
    """

    def __init__(
        self,
        settings: Settings,
        authority: Authority,
        switches: Switches,
        clock: Clock,
        read: Callable[[], Awaitable[Settings]] = read_settings_again,
    ) -> None:
        self.current = settings
        self.texts: Mapping[str, str] = {}
        self._settings = settings
        self._authority = authority
        self._switches = switches
        self._clock = clock
        self._read = read
        self._followed: int | None = None
        self._retry_at_ms = 0

    async def in_force(self, actor: Actor) -> list[SettingInForce]:
        """Return all settings of this worker, in the order of their declaration. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return [
            SettingInForce(_shown(origin.name, getattr(self.current, origin.name)), origin, origin.name in RELOADED)
            for origin in self.current.origins
        ]

    async def reload(self, actor: Actor, reason: str = "") -> Reload:
        """Read the settings again and apply those of `RELOADED` on every worker.

        Raises NotAllowed, Invalid, and Refused for settings that cannot be read; nothing changes then.
        """
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        found = await self._read()
        before = _differing(self._settings, found, RELOADED)
        others = [name for name in SETTING_NAMES if name not in RELOADED and name not in FLAGS]
        need_restart = tuple(_differing(self._settings, found, others))
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            switch = await locked(tx, "settings")
            stamp = switch.value + 1
            await store(tx, msgspec.structs.replace(switch, value=stamp, changed_at_ms=now))
            await audit.write(
                tx,
                actor,
                "reload",
                at_ms=now,
                target_kind=SERVER,
                target_id=0,
                reason=reason,
                details={"before": before, "after": {name: getattr(found, name) for name in before}},
            )
            return stamp

        self._followed = await self._authority.transaction(Requirement(actor, PERMISSION), body)
        self._apply(found)
        return Reload(tuple(before), need_restart)

    async def follow(self) -> None:
        """Read the settings again if another worker did. A job calls this after it has read the switches."""
        stamp = self._switches.now("settings").value
        if self._followed is None:
            # The start does not wait for the process that reads. The next run reads the settings if they were ever
            # reloaded: a worker that is started again has those from the start of its supervisor.
            self._followed = 0
            return
        now = self._clock.now_ms()
        # Not before `RETRY_S` have passed, because each attempt starts a process. A clock that was set back does not
        # delay it further.
        if stamp <= self._followed or 0 < self._retry_at_ms - now <= RETRY_S * 1000:
            return
        self._retry_at_ms = now + RETRY_S * 1000
        try:
            found = await self._read()
        except (KiaiError, OSError) as error:
            get_logger("settings").error("settings not read", why=str(error))
            return
        self._retry_at_ms = 0
        if stamp > self._followed:  # this worker may have reloaded newer ones in the meantime
            self._apply(found)
            self._followed = stamp

    def _apply(self, found: Settings) -> None:
        new = {origin.name: origin for origin in found.origins if origin.name in RELOADED}
        self._settings = msgspec.structs.replace(
            self._settings,
            **{name: getattr(found, name) for name in RELOADED},
            origins=tuple(new.get(origin.name, origin) for origin in self._settings.origins),
        )
        self.override(self.texts)

    def override(self, texts: Mapping[str, str]) -> None:
        """Let texts of the panel apply in place of the settings with these names, and the settings for all others."""
        self.texts = texts
        origins = [
            msgspec.structs.replace(origin, source="panel", place="") if origin.name in texts else origin
            for origin in self._settings.origins
        ]
        self.current = msgspec.structs.replace(self._settings, **texts, origins=tuple(origins))


def _shown(name: str, value: object) -> str:
    """Return a value as text, without secrets: an empty text for a setting that is not set."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(str(_without_login(item)) for item in value)
    return "" if value is None else str(_without_login(masked(name, value)))


def _without_login(value: object) -> object:
    """Return a value without the user and password of a URL: any URL may have them."""
    return _LOGIN.sub(f"//{MASK}@", value) if isinstance(value, str) else value


def _differing(before: Settings, after: Settings, names: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Return the values before of the settings whose values differ."""
    return {name: getattr(before, name) for name in names if getattr(before, name) != getattr(after, name)}
