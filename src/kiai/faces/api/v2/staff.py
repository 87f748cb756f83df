"""Version 2: sanctions, notes and the audit log, for keys of staff."""

from typing import Annotated, Any, Final, Literal

import falcon.asgi
import msgspec
from msgspec import Meta

from kiai.accounts.model import ID_MAX
from kiai.clock import Clock
from kiai.errors import Invalid
from kiai.faces.api.errors import UnsupportedMediaType
from kiai.faces.api.json_body import BODY_MAX, json_object
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters, QueryReader
from kiai.faces.api.v2.paging import (
    ID_IN_PATH,
    LongCursor,
    NoMeta,
    PageMeta,
    PageNumber,
    PageSize,
    Success,
    get,
    number_in_path,
    offset_of,
    post,
)
from kiai.faces.request_body import read_body
from kiai.osu.durations import parse_duration
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditEntry, AuditFilter, AuditReading
from kiai.staff.notes import Notes
from kiai.staff.sanctions import KINDS, Sanctions, SanctionState

Kind = Literal["silence", "unsilence", "kick", "restrict", "unrestrict", "ban", "unban", "freeze", "unfreeze"]
_TEXT: Final = "A text of 1 to 500 characters."
_TIME_MAX: Final = 2**40


class SanctionBody(msgspec.Struct, frozen=True):
    """A sanction. `duration` is required for a silence, and optional for `restrict` and `freeze` (default: 7d)."""

    kind: Kind
    reason: Annotated[str, Meta(min_length=1, max_length=500, description=_TEXT)]
    duration: Annotated[str, Meta(max_length=64, description="1 second to 1 year, such as 1h30m, 7d or 2w.")] | None = (
        None
    )


class NamedId(msgspec.Struct, frozen=True):
    """A player in an answer."""

    id: int
    name: str


class SanctionData(msgspec.Struct, frozen=True):
    """A sanction that was carried out. `until` is its end in unix seconds, null without an end."""

    kind: Kind
    player: NamedId
    reason: str
    until: int | None
    audit_id: int


class SanctionPage(msgspec.Struct, frozen=True):
    """The response of POST /players/{id}/sanctions."""

    status: Success
    data: SanctionData
    meta: NoMeta


class SanctionStatePage(msgspec.Struct, frozen=True):
    """The response of GET /players/{id}/sanctions."""

    status: Success
    data: SanctionState
    meta: NoMeta


class NoteBody(msgspec.Struct, frozen=True):
    """A note."""

    text: Annotated[str, Meta(min_length=1, max_length=500, description=_TEXT)]


class NoteId(msgspec.Struct, frozen=True):
    """The id of a new note."""

    id: int


class NoteIdPage(msgspec.Struct, frozen=True):
    """The response of POST /players/{id}/notes."""

    status: Success
    data: NoteId
    meta: NoMeta


class NoteData(msgspec.Struct, frozen=True):
    """A note. `at` is in unix seconds. `actor` is null for the operator."""

    id: int
    at: int
    actor_id: int
    actor: str | None
    text: str


class NotesPage(msgspec.Struct, frozen=True):
    """The response of GET /players/{id}/notes, newest first."""

    status: Success
    data: list[NoteData]
    meta: NoMeta


_Time = Annotated[int, Meta(ge=0, le=_TIME_MAX, description="Unix seconds.")]
_Word = Annotated[str, Meta(max_length=32, description="An exact value.")]


class AuditQuery(msgspec.Struct, frozen=True):
    """The parameters of /audit. Staff below administrator gets its own acts only."""

    actor_id: Annotated[int, Meta(ge=0, le=ID_MAX, description="Only acts of this account; 0: the server.")] | None = (
        None
    )
    target_id: Annotated[int, Meta(ge=1, le=ID_MAX, description="Only acts on this account.")] | None = None
    action: _Word = ""
    source: _Word = ""
    text: Annotated[str, Meta(max_length=200, description="A part of the reason or of the details.")] = ""
    since: _Time = 0
    until: _Time = _TIME_MAX
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class AuditData(msgspec.Struct, frozen=True):
    """A row of the audit log. `at` is in unix seconds. `actor` and `target` are present names of accounts, or null.

    `hash` is SHA-256 over `previous_hash` and the other columns.
    """

    id: int
    at: int
    actor_id: int
    actor: str | None
    source: str
    action: str
    target_kind: str
    target_id: int
    target: str | None
    reason: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class AuditPage(msgspec.Struct, frozen=True):
    """The response of /audit, newest first."""

    status: Success
    data: list[AuditData]
    meta: PageMeta


_SANCTION: Final = QueryReader(SanctionBody, strict=True)


class StaffV2:
    """The endpoints of staff. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(self, sanctions: Sanctions, notes: Notes, audit: AuditReading, clock: Clock) -> None:
        self._sanctions = sanctions
        self._notes = notes
        self._audit = audit
        self._clock = clock

    async def sanction(
        self,
        caller: Caller,
        query: NoParameters,
        body: dict[str, Any],
        id: str,  # noqa: A002
    ) -> SanctionPage:
        """Silence, kick, restrict, ban or freeze a player, or lift one of these."""
        actor, kind = _actor(caller), body.get("kind")
        # The right comes first: a key without it learns nothing about the other fields.
        if isinstance(kind, str) and kind in KINDS:
            await self._sanctions.require(actor, kind)
        wanted = _SANCTION.convert(body)
        seconds = None if wanted.duration is None else parse_duration(wanted.duration)
        if wanted.duration is not None and seconds is None:
            raise Invalid("duration", "1 second to 1 year, such as 1h30m, 7d or 2w", wanted.duration)
        done = await self._sanctions.apply(actor, wanted.kind, number_in_path("id", id), wanted.reason, seconds)
        data = SanctionData(
            wanted.kind,
            NamedId(done.target.id, done.target.name),
            done.reason,
            None if done.until_ms is None else done.until_ms // 1000,
            done.audit_id,
        )
        return SanctionPage("success", data, NoMeta())

    async def sanctions(self, caller: Caller, query: NoParameters, id: str) -> SanctionStatePage:  # noqa: A002
        """The sanctions of a player that are in effect."""
        state = await self._sanctions.state(_actor(caller), number_in_path("id", id), self._clock.now_ms())
        return SanctionStatePage("success", state, NoMeta())

    async def notes(self, caller: Caller, query: NoParameters, id: str) -> NotesPage:  # noqa: A002
        """The notes of staff about a player."""
        found = await self._notes.read(_actor(caller), number_in_path("id", id))
        data = [NoteData(note.id, note.at_ms // 1000, note.author_id, note.author, note.text) for note in found]
        return NotesPage("success", data, NoMeta())

    async def add_note(self, caller: Caller, query: NoParameters, body: NoteBody, id: str) -> NoteIdPage:  # noqa: A002
        """Add a note about a player."""
        note_id = await self._notes.add(_actor(caller), number_in_path("id", id), body.text)
        return NoteIdPage("success", NoteId(note_id), NoMeta())

    async def audit(self, caller: Caller, query: AuditQuery) -> AuditPage:
        """The audit log."""
        wanted = AuditFilter(
            query.actor_id,
            query.target_id,
            query.action,
            query.source,
            query.text,
            query.since * 1000,
            query.until * 1000 + 999,
        )
        size = query.page_size
        rows, total = await self._audit.page(
            _actor(caller),
            wanted,
            limit=size + 1,  # one more shows whether there is a next page
            offset=0 if query.cursor is not None else offset_of(query),
            before=query.cursor,
        )
        cursor = rows[size - 1].id if len(rows) > size else None
        return AuditPage("success", list(map(_row, rows[:size])), PageMeta(total, query.page, size, cursor))

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        of_player = {"id": ID_IN_PATH}
        sanction = post(
            "/players/{id}/sanctions",
            self.sanction,
            SanctionPage,
            SanctionBody,
            tag="staff",
            permission="users.silence",
            in_path=of_player,
            creates=True,
        )
        return [
            msgspec.structs.replace(sanction, body=_fields),
            get(
                "/players/{id}/sanctions",
                self.sanctions,
                SanctionStatePage,
                tag="staff",
                in_path=of_player,
                permission="users.silence",
            ),
            get("/players/{id}/notes", self.notes, NotesPage, tag="staff", in_path=of_player, permission="users.notes"),
            post(
                "/players/{id}/notes",
                self.add_note,
                NoteIdPage,
                NoteBody,
                tag="staff",
                permission="users.notes",
                in_path=of_player,
                creates=True,
            ),
            get("/audit", self.audit, AuditPage, tag="staff", query=AuditQuery, permission="audit.read_own"),
        ]


async def _fields(req: falcon.asgi.Request) -> dict[str, Any]:
    """Read the fields of the body; the handler validates them.

    Raises BadRequest, UnsupportedMediaType, BodyTooLarge.
    """
    data = await read_body(req, BODY_MAX)
    if (req.content_type or "application/json").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("The body must be a JSON object (application/json)")
    return json_object(data)


def _actor(caller: Caller) -> Actor:
    return Actor(caller.viewer.user_id, "api")


def _row(entry: AuditEntry) -> AuditData:
    return msgspec.convert(entry.fields(), AuditData)
