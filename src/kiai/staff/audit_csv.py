"""The audit log as CSV, for `kiai audit --csv` and the admin panel."""

from collections.abc import Iterable
from typing import Final

import msgspec

from kiai.osu.texts import csv_text
from kiai.staff.audit_reading import AuditEntry

COLUMNS: Final = (
    *("id", "at", "actor_id", "actor", "source", "action", "target_kind", "target_id", "target", "reason", "details"),
    *("previous_hash", "hash"),
)


def csv_head() -> str:
    """Return the line with the names of the columns."""
    return csv_text([COLUMNS])


def csv_lines(rows: Iterable[AuditEntry]) -> str:
    """Return a line for each row."""
    return csv_text(map(_cells, rows))


def _cells(row: AuditEntry) -> list[object]:
    fields = row.fields()
    fields["details"] = msgspec.json.encode(fields["details"]).decode()
    return [fields[name] for name in COLUMNS]
