"""The audit log as CSV (RFC 4180), for `kiai audit --csv` and the admin panel."""

import csv
import io
from collections.abc import Iterable
from typing import Final

import msgspec

from kiai.staff.audit_reading import AuditEntry

COLUMNS: Final = (
    *("id", "at", "actor_id", "actor", "source", "action", "target_kind", "target_id", "target", "reason", "details"),
    *("previous_hash", "hash"),
)
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_head() -> str:
    """Return the line with the names of the columns."""
    return _lines([COLUMNS])


def csv_lines(rows: Iterable[AuditEntry]) -> str:
    """Return a line for each row. Lines end with CR LF."""
    return _lines(map(_cells, rows))


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cells(row: AuditEntry) -> list[str]:
    fields = row.fields()
    fields["details"] = msgspec.json.encode(fields["details"]).decode()
    return [_cell(fields[name]) for name in COLUMNS]


def _cell(value: object) -> str:
    """Return a value as text. A text that a spreadsheet would execute as a formula gets an apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULAS) else text
