"""Audit rows of acts of players on their own accounts."""

from collections.abc import Mapping
from typing import Final

from kiai.accounts.api_keys import Also
from kiai.accounts.changes import Record
from kiai.clock import Clock
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Transaction

TEXT_MAX: Final = 200
"""Characters of a text in an audit row. Longer texts are cut."""
USERPAGE: Final = "userpage_content"


def by_player(user_id: int) -> Actor:
    """Return the player as the author of an act on the website."""
    return Actor(user_id=user_id, source="web")


def own_act(clock: Clock, user_id: int, action: str, details: Mapping[str, object] | None = None) -> Also:
    """Return a step of a transaction that writes the audit row of a player's act on their account."""
    now = clock.now_ms()

    async def write(tx: Transaction) -> None:
        await audit.write(
            tx, by_player(user_id), action, at_ms=now, target_kind="user", target_id=user_id, details=details
        )

    return write


def own_change(user_id: int, action: str, source: str = "web") -> Record:
    """Return a record that writes the audit row of a player's change of their account, with long texts cut."""

    async def write(tx: Transaction, at_ms: int, before: Mapping[str, object], after: Mapping[str, object]) -> None:
        await audit.write(
            tx,
            Actor(user_id=user_id, source=source),
            action,
            at_ms=at_ms,
            target_kind="user",
            target_id=user_id,
            details={"before": _brief(before), "after": _brief(after)},
        )

    return write


def _brief(values: Mapping[str, object]) -> dict[str, object]:
    # The row stays when the account is deleted, and the text of a userpage must not.
    return {name: len(str(value or "")) if name == USERPAGE else _cut(value) for name, value in values.items()}


def _cut(value: object) -> object:
    return f"{value[:TEXT_MAX]}..." if isinstance(value, str) and len(value) > TEXT_MAX else value
