"""`/admin/audit`: the audit log with filters, and `/admin/audit.csv`, the same rows as CSV."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from kiai.errors import NotAllowed, NotFound, TooSlow
from kiai.faces.site.admin.audit_details import Details, details_of
from kiai.faces.site.admin.exports import EXPORTED_MAX, EXPORTS, READ_AT_ONCE, csv_file
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.named_accounts import account_id
from kiai.faces.site.admin.times import time_of
from kiai.faces.site.page import Page, Response, SiteRequest
from kiai.faces.site.templating import url
from kiai.staff.audit_csv import csv_head, csv_lines
from kiai.staff.audit_reading import NO_END_MS, AuditEntry, AuditFilter, AuditReading
from kiai.staff.authority import Authority
from kiai.staff.server_health import last_check

PATH: Final = "/admin/audit"
CSV_PATH: Final = "/admin/audit.csv"
PERMISSION: Final = "audit.read_own"
ALL_ROWS: Final = "audit.read"
PAGE: Final = 50
SOURCES: Final = ("game", "irc", "web", "api", "cli", "job")
INVARIANT: Final = "I14"
"""The key of the chain of hashes in the results of `kiai doctor`."""
TOO_SLOW: Final = "The search takes too long. Give an actor, a target or a shorter time."
ID_MAX: Final = 2**62


class ShownAct(msgspec.Struct, frozen=True):
    """A row of the log with its details in words."""

    row: AuditEntry
    details: Details


class Chain(msgspec.Struct, frozen=True):
    """The chain of hashes as the last `kiai doctor` has found it. Without a run, `at_ms` is None."""

    at_ms: int | None
    intact: bool


class _Unknown(Exception):
    """A filter names an account that does not exist. The text is a sentence about it."""


def shown(rows: list[AuditEntry]) -> list[ShownAct]:
    """Return rows for the macros of `admin/audit_rows.html`."""
    return [ShownAct(row, details_of(row.details)) for row in rows]


class AuditPages:
    """The pages of the audit log. `data` is the data folder."""

    def __init__(self, authority: Authority, audit: AuditReading, data: Path) -> None:
        self._authority = authority
        self._audit = audit
        self._data = data

    def pages(self) -> list[Page]:
        """Return the page and the export."""
        export = staff_page(CSV_PATH, self._export, PERMISSION)
        return [staff_page(PATH, self._show, PERMISSION), msgspec.structs.replace(export, rate_limit=EXPORTS)]

    async def _show(self, request: SiteRequest) -> Response:
        typed = _typed(request)
        rows: list[AuditEntry] = []
        sentence = "No act fits."
        try:
            wanted = await self._wanted(request)
            before = request.query.whole("before", 0, at_most=ID_MAX) or None
            rows = await self._audit.rows(staff_actor(request), wanted, limit=PAGE + 1, before=before)
        except _Unknown as error:
            sentence = str(error)
        except NotAllowed:
            sentence = "You see only your own acts."
        except TooSlow:
            sentence = TOO_SLOW
        values = {
            "rows": shown(rows[:PAGE]),
            "typed": typed,
            "filtered": any(typed.values()),
            "sources": SOURCES,
            "sentence": sentence,
            "own_only": not request.visitor.may(ALL_ROWS),
            "next": url(PATH, **typed, before=rows[PAGE - 1].id) if len(rows) > PAGE else None,
            "export": url(CSV_PATH, **typed) if rows else None,
            "exported_max": EXPORTED_MAX,
            "chain": await asyncio.to_thread(_chain, self._data),
        }
        return admin_view(request, "audit.html", "Audit log", values)

    async def _export(self, request: SiteRequest) -> Response:
        parts = [csv_head()]
        try:
            wanted = await self._wanted(request)
            before: int | None = None
            while len(parts) <= EXPORTED_MAX // READ_AT_ONCE:
                page = await self._audit.rows(staff_actor(request), wanted, limit=READ_AT_ONCE, before=before)
                parts.append(await asyncio.to_thread(csv_lines, page))
                if len(page) < READ_AT_ONCE:
                    break
                before = page[-1].id
        except (_Unknown, NotAllowed):
            pass  # a list without rows, as on the page
        return csv_file("audit.csv", "".join(parts))

    async def _wanted(self, request: SiteRequest) -> AuditFilter:
        """Return the filters of the address. Raises BadParameter for a wrong time, and _Unknown."""
        query = request.query
        return AuditFilter(
            actor_id=await self._account(request, "actor"),
            target_id=await self._account(request, "target"),
            action=query.text("action"),
            source=query.text("source"),
            text=query.text("q"),
            since_ms=time_of(request, "since") or 0,
            until_ms=time_of(request, "until", end=True) or NO_END_MS,
        )

    async def _account(self, request: SiteRequest, name: str) -> int | None:
        try:
            return await account_id(self._authority, request.query.text(name))
        except NotFound as error:
            raise _Unknown(f"There is no account for this {name}.") from error


def _typed(request: SiteRequest) -> dict[str, str]:
    return {name: request.query.text(name) for name in ("actor", "target", "action", "source", "since", "until", "q")}


def _chain(data: Path) -> Chain:
    """Return what is known about the chain of hashes. Reads a file."""
    check = last_check(data)
    if check is None:
        return Chain(None, intact=False)
    # Only the first problems are recorded. With more, the chain may be among the others.
    complete = check.total <= len(check.problems)
    return Chain(check.at_ms, complete and all(one.invariant != INVARIANT for one in check.problems))
