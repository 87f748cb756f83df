"""The events for webhooks that follow from rows of the audit log: sanctions and statuses of maps."""

from collections.abc import Mapping
from typing import Final

from kiai import webhooks
from kiai.storage.port import Transaction

SANCTIONS: Final = frozenset(
    {
        "silence",
        "unsilence",
        "kick",
        "restrict",
        "unrestrict",
        "ban",
        "unban",
        "freeze",
        "unfreeze",
        "donor_give",
        "donor_take",
        "donor_end",
        "privileges",
    }
)
# Details that are the end of an act, in unix milliseconds. The end of a silence is its new value.
_ENDS: Final = ("until_ms", "until", "end_ms")


async def enqueue_act(
    tx: Transaction,
    actor_id: int,
    action: str,
    *,
    at_ms: int,
    target_kind: str,
    target_id: int,
    reason: str,
    details: Mapping[str, object],
) -> None:
    """Enqueue the event of an act, if it has one, in the transaction of the act."""
    if action in SANCTIONS and target_kind == "user":
        await webhooks.enqueue(tx, "sanction", sanction_data(actor_id, action, target_id, reason, details), at_ms)
    elif action == "beatmap_status" and details.get("before") != details.get("after"):
        data: dict[str, object] = {
            "map_id": target_id,
            "status": details.get("after"),
            "previous": details.get("before"),
            "actor": actor_id,
            "reason": reason,
        }
        await webhooks.enqueue(tx, "map_status", data, at_ms)


def sanction_data(
    actor_id: int, action: str, target_id: int, reason: str, details: Mapping[str, object]
) -> dict[str, object]:
    """Return the data of the event of an act in `SANCTIONS`."""
    return {
        "action": action,
        "actor": actor_id,
        "target": target_id,
        "reason": reason,
        "until": until_of(action, details),
    }


def until_of(action: str, details: Mapping[str, object]) -> int | None:
    """Return the end of an act in unix seconds, or None without end."""
    ends = [details.get(key) for key in _ENDS]
    if action == "silence":
        ends.append(details.get("after"))
    return next((end // 1000 for end in ends if isinstance(end, int) and end > 0), None)
