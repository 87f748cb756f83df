"""Texts of the game that developers write in the admin panel: the welcome, the menu's picture and its link.

Such a text overrides the setting of the same name until it is withdrawn. Every worker reads the texts when the value of
the switch `game_texts` has changed.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from kiai.accounts.markup.links import is_web_url
from kiai.clock import Clock
from kiai.documents.stored import GAME, StoredText, StoredTexts
from kiai.errors import Invalid, WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.live_settings import PERMISSION, LiveSettings
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import Switches, locked, store
from kiai.storage.port import Transaction

NAMES: Final = ("welcome", "menu_icon", "menu_link")
TEXT_MAX: Final = 500
ACTION: Final = "game_text"

_Change = Callable[[Transaction, StoredText | None, int], Awaitable[StoredText]]
"""Writes a text, and returns it as it is then: the transaction, the text before, the time in unix ms."""


class GameTexts:
    """Writes the texts, and gives them to the settings in force."""

    def __init__(
        self, authority: Authority, switches: Switches, stored: StoredTexts, live: LiveSettings, clock: Clock
    ) -> None:
        self._authority = authority
        self._switches = switches
        self._stored = stored
        self._live = live
        self._clock = clock
        self._followed = 0

    @property
    def written(self) -> frozenset[str]:
        """The names of the settings that texts override."""
        return frozenset(self._live.texts)

    async def set(self, actor: Actor, name: str, text: str, *, reason: str) -> None:
        """Override a setting of `NAMES`; an empty text means no welcome, picture or link.

        Raises NotAllowed, Invalid, and WrongState if the text is in force already.
        """
        await self._authority.require(actor, PERMISSION)
        text = _checked(name, text)

        async def change(tx: Transaction, before: StoredText | None, now: int) -> StoredText:
            if before is None:
                text_id = await self._stored.add(tx, GAME, name, name, text, now, now)
                return await self._stored.one(GAME, text_id, tx)
            after = msgspec.structs.replace(before, text=text, withdrawn=0)
            if after == before:
                raise WrongState(f"{name} is already so")
            await self._stored.set(tx, after, now)
            return after

        await self._change(actor, name, change, reason)

    async def withdraw(self, actor: Actor, name: str, *, reason: str) -> None:
        """Let a setting of `NAMES` apply again. Raises NotAllowed, Invalid, and WrongState without a text."""
        await self._authority.require(actor, PERMISSION)
        _check_name(name)

        async def change(tx: Transaction, before: StoredText | None, now: int) -> StoredText:
            if before is None or before.withdrawn:
                raise WrongState(f"{name} already follows the setting")
            after = msgspec.structs.replace(before, withdrawn=1)
            await self._stored.set(tx, after, now)
            return after

        await self._change(actor, name, change, reason)

    async def follow(self) -> None:
        """Read the texts if they have changed. A job calls this after it has read the switches. Raises Unavailable."""
        stamp = self._switches.now("game_texts").value
        if stamp != self._followed:
            found = await self._stored.shown(GAME)
            self._live.override({text.slug: text.text for text in found if text.slug in NAMES})
            self._followed = stamp

    async def _change(self, actor: Actor, name: str, change: _Change, reason: str) -> None:
        reason = checked_reason(reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Locks out other writers of these texts.
            switch = await locked(tx, "game_texts")
            before = await self._stored.by_slug(GAME, name, tx)
            after = await change(tx, before, now)
            await store(tx, msgspec.structs.replace(switch, value=switch.value + 1, changed_at_ms=now))
            audit_id = await audit.write(
                tx,
                actor,
                ACTION,
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": {name: _in_force(before)}, "after": {name: _in_force(after)}},
            )
            await self._stored.stamp(tx, after.id, audit_id)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._switches.reload()
        await self.follow()


def _in_force(text: StoredText | None) -> str | None:
    """Return a text for the audit log, None if the setting applies."""
    return None if text is None or text.withdrawn else text.text


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise Invalid("setting", f"one of {', '.join(NAMES)}", name)


def _checked(name: str, text: str) -> str:
    """Return a text as it is stored. Raises Invalid, with the limits of the settings."""
    _check_name(name)
    text = text.replace("\r\n", "\n").strip()
    if len(text) > TEXT_MAX:
        raise Invalid("text", f"a text of at most {TEXT_MAX} characters", text)
    if name == "welcome":
        if any(ord(character) < 32 or ord(character) == 127 for character in text.replace("\n", "")):
            raise Invalid("text", "a text without control characters", text)
    elif text and not is_web_url(text):
        raise Invalid("text", "a URL that begins with http:// or https://", text)
    return text
