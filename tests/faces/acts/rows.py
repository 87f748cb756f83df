"""The requirements on an audit row, whichever interface wrote it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiai.staff.audit import StoredRow

WITHOUT_VALUES: Final = frozenset(
    {
        "alert_all",
        "alert_user",
        "announce",
        "api_key_created",
        "api_key_revoked",
        "apikey_reset",
        "backup",
        "beatmap_refresh",
        "claim_code",
        "clear_messages",
        "denied",
        "doctor_repair",
        "invite",
        "irc_password",
        "kick",
        "medals_award",
        "mp_ban",
        "mp_close",
        "mp_force",
        "mp_kick",
        "mp_make",
        "multi_check",
        "note",
        "notes_read",
        "password",
        "recalc",
        "reload",
        "report",
        "request_close",
        "reset_link",
        "second_factor_reset",
        "user_delete",
        "user_inspect",
    }
)
"""Actions that change no stored value, add something, or change a secret, which the log must not have."""


def check_row(rows: Sequence[StoredRow], action: str, *, actor_id: int, source: str, about: Sequence[int]) -> None:
    """Fail unless there is exactly one row: of this action, author and interface, and about one of these accounts.

    The row of an act that changes a value has the value before and after it.
    """
    assert [row.action for row in rows] == [action]
    [row] = rows
    assert (row.actor_id, row.source) == (actor_id, source)
    if row.target_kind == "user":
        assert row.target_id in about
    details: dict[str, Any] = msgspec.json.decode(row.details)
    if action in WITHOUT_VALUES:
        return
    assert {"before", "after"} <= details.keys(), row
    changed = {key: value for key, value in details.items() if key != "before"}
    assert details["before"] != details["after"] or changed.get("frozen") is not None, row
