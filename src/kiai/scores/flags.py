"""Integrity flags: signs of cheating in a play or a client, stored for staff to review.

A flag has no automatic consequence. The flags of a stored play that need no replay are written in the transaction of
the play; `evidence` raises the others within seconds. A flag exists once for a score, its kind and the other score, and
stays when it is closed, so it is not raised again. Each new flag adds a row `flag` with its id to the outbox.

`kiai.staff.flag_queue` decides who may read and close flags.

See docs/spec/submission.md#plausibility.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, bindparam, func, insert, literal, select, update

from kiai import webhooks
from kiai.clock import Clock
from kiai.storage.outbox import enqueue
from kiai.storage.patterns import unindexed
from kiai.storage.port import Command, Database, Lane, Query, Transaction, Value, scalar
from kiai.storage.tables import integrity_flags, users

DETAILS_MAX: Final = 500  # characters; the details may contain text that a client sent
COUNTED_MAX: Final = 10_000
OUTBOX_KIND: Final = "flag"
OPERATOR_NAME: Final = "operator"

EVIDENCE_KINDS: Final = (
    "replay_similarity",
    "timewarp",
    "key_timing",
    "relax_snap",
    "score_counts",
    "combo_counts",
    "impossible_speed",
    "restricted_hardware",
)
KINDS: Final = (
    "beatmap hash",
    "checksum",
    "client",
    "client flags",
    "client hash",
    "combo",
    "copied play",
    "copied replay",
    "counts",
    "empty pass",
    "flashlight image",
    "grade",
    "lastfm",
    "mods",
    "pp",
    "replay",
    "replay checksum",
    "unique ids",
    "version",
    *EVIDENCE_KINDS,
)
"""All kinds of flags."""
VERDICTS: Final = ("cheating", "clean", "unclear")
STATES: Final = ("open", "closed", "all")
State = Literal["open", "closed", "all"]

_c = integrity_flags.c
_FIELDS: Final = ("user_id", "at_ms", "kind", "checksum", "details", "score_id")
# The client sends a rejected play up to ten times. INSERT ... WHERE NOT EXISTS stores the flag once, and works on both
# engines. Two at the same moment meet in `uq_integrity_flags_play`. Without a checksum, every flag is stored.
_ADD = Query(
    insert(integrity_flags)
    .from_select(
        _FIELDS,
        select(*[bindparam(name, type_=_c[name].type) for name in _FIELDS]).where(
            ~select(_c.id)
            .where(
                _c.checksum == bindparam("checksum", type_=_c.checksum.type),
                _c.user_id == bindparam("user_id", type_=_c.user_id.type),
                _c.kind == bindparam("kind", type_=_c.kind.type),
            )
            .exists()
        ),
    )
    .returning(_c.id),
    scalar,
)
_OF_SCORE: Final = ("user_id", "at_ms", "kind", "details", "score_id", "other_score_id", "figures")
_RAISE = Query(
    insert(integrity_flags)
    .from_select(
        _OF_SCORE,
        select(*[bindparam(name, type_=_c[name].type) for name in _OF_SCORE]).where(
            ~select(_c.id)
            .where(
                _c.score_id == bindparam("score_id", type_=_c.score_id.type),
                _c.kind == bindparam("kind", type_=_c.kind.type),
                _c.other_score_id == bindparam("other_score_id", type_=_c.other_score_id.type),
            )
            .exists()
        ),
    )
    .returning(_c.id),
    scalar,
)


FRAMES_EXPECTED: Final = 100  # of any real play; fewer are flagged
FRAMES_USUAL_MAX: Final = 500_000  # two hours; more are flagged


class Suspicion(msgspec.Struct, frozen=True):
    """A suspicious property of a play: `kind` is one of a few short words, `details` a text for staff."""

    kind: str
    details: str = ""


def suspicious_length(frames: int) -> list[Suspicion]:
    """Return the suspicion of a replay with too few or too many frames, or nothing. Evidence skips the latter."""
    if FRAMES_EXPECTED <= frames <= FRAMES_USUAL_MAX:
        return []
    return [Suspicion("replay", f"only {frames} frames" if frames < FRAMES_EXPECTED else f"{frames} frames")]


class Finding(msgspec.Struct, frozen=True):
    """A sign of cheating in a stored play of `user_id`. `figures` has the measured numbers and the threshold.

    `other_score_id` is the score that the play resembles, or 0.
    """

    user_id: int
    score_id: int
    kind: str
    details: str
    figures: Mapping[str, Any]
    other_score_id: int = 0


class IntegrityFlag(msgspec.Struct, frozen=True):
    """A stored flag.

    `checksum` identifies the play, and is None for a flag of an account or of evidence. `score_id` is None for a play
    that is not stored, `other_score_id` 0 without another score. `figures` is JSON, or "". `state` is 1 for a closed
    flag; then `closed_by` is the id of its staff member, or 0 for the operator.
    """

    id: int
    user_id: int
    at_ms: int
    kind: str
    checksum: bytes | None
    details: str
    score_id: int | None
    other_score_id: int
    figures: str
    state: int
    verdict: str
    closed_by: int | None
    closed_at_ms: int | None
    text: str
    player_name: str
    closer_name: str | None


class FlaggedPerson(msgspec.Struct, frozen=True):
    """A player or a member of staff in a flag."""

    id: int
    name: str


class FlagObject(msgspec.Struct, frozen=True):
    """A flag as the API, the command line and events show it. Times are in unix seconds.

    `figures` has the measured numbers and the threshold; its keys depend on `kind`. `closed_by` is null while the flag
    is open; id 0 is the operator.
    """

    id: int
    at: int
    player: FlaggedPerson
    kind: str
    score_id: int | None
    other_score_id: int | None
    figures: dict[str, Any]
    details: str
    state: Literal["open", "closed"]
    verdict: Literal["cheating", "clean", "unclear"] | None
    closed_by: FlaggedPerson | None
    closed_at: int | None
    text: str


def flag_object(flag: IntegrityFlag) -> FlagObject:
    """Return a flag as the API, the command line and events show it."""
    closed = bool(flag.state)
    return FlagObject(
        id=flag.id,
        at=flag.at_ms // 1000,
        player=FlaggedPerson(flag.user_id, flag.player_name),
        kind=flag.kind,
        score_id=flag.score_id,
        other_score_id=flag.other_score_id or None,
        figures=msgspec.json.decode(flag.figures, type=dict[str, Any]) if flag.figures else {},
        details=flag.details,
        state="closed" if closed else "open",
        verdict=flag.verdict or None,  # type: ignore[arg-type]  # only values of VERDICTS are stored
        closed_by=FlaggedPerson(flag.closed_by or 0, flag.closer_name or OPERATOR_NAME) if closed else None,
        closed_at=None if flag.closed_at_ms is None else flag.closed_at_ms // 1000,
        text=flag.text,
    )


FILTERS: Final = ("user_id", "kind", "state")
"""The filters of a list. The first one that is given leads."""
_closer = users.alias("closer")
_STORED: Final = [name for name in IntegrityFlag.__struct_fields__ if name not in ("player_name", "closer_name")]
_flag = select(*[_c[name] for name in _STORED], users.c.name, _closer.c.name).select_from(
    integrity_flags.join(users, users.c.id == _c.user_id).outerjoin(_closer, _closer.c.id == _c.closed_by)
)


def _where(given: frozenset[str]) -> list[ColumnElement[bool]]:
    leading = next((name for name in FILTERS if name in given), None)
    return [
        (_c[name] if name == leading else unindexed(_c[name])) == bindparam(name, type_=_c[name].type)
        for name in FILTERS
        if name in given
    ]


def _page(given: frozenset[str]) -> Query[IntegrityFlag]:
    rows = _flag.where(*_where(given), _c.id < bindparam("before")).order_by(_c.id.desc())
    scans = None if given else "it reads the ids up to the end of the page"
    return Query(rows.limit(bindparam("limit")).offset(bindparam("offset")), IntegrityFlag, lane=Lane.SLOW, scans=scans)


def _count(given: frozenset[str]) -> Query[int]:
    counted = select(literal(1)).select_from(integrity_flags).where(*_where(given)).limit(COUNTED_MAX).subquery()
    scans = None if given else "it counts at most 10,000 rows"
    return Query(select(func.count()).select_from(counted), scalar, lane=Lane.SLOW, scans=scans)


_CHOICES: Final = [
    frozenset(chosen) for chosen in chain.from_iterable(combinations(FILTERS, n) for n in range(len(FILTERS) + 1))
]
PAGES: Final = {given: _page(given) for given in _CHOICES}
COUNTS: Final = {given: _count(given) for given in _CHOICES}
_BY_ID = Query(_flag.where(_c.id == bindparam("flag_id")), IntegrityFlag)
_CLOSE = Command(
    update(integrity_flags)
    .where(_c.id == bindparam("flag_id"), _c.state == 0)
    .values(
        state=1,
        verdict=bindparam("verdict"),
        closed_by=bindparam("closed_by"),
        closed_at_ms=bindparam("closed_at_ms"),
        text=bindparam("text"),
    )
)


class Flags:
    """Writes and lists integrity flags. `kiai.staff` decides who may read them.

    `raised` counts the flags stored by this process, by kind, for the metrics.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.raised: dict[str, int] = {}

    async def add(self, user_id: int, kind: str, *, checksum: bytes | None = None, details: str = "") -> None:
        """Store a flag in a new transaction. The flag of a play with this `checksum` and kind is stored once."""

        async def body(tx: Transaction) -> None:
            await self.add_within(tx, user_id, [Suspicion(kind, details)], checksum)

        await self._database.transaction(body)

    async def add_within(
        self,
        tx: Transaction,
        user_id: int,
        suspicions: list[Suspicion],
        checksum: bytes | None,
        score_id: int | None = None,
    ) -> None:
        """Store flags in the caller's transaction. Each kind is stored once for a play."""
        now = self._clock.now_ms()
        for suspicion in suspicions:
            flag_id = await tx.one(
                _ADD,
                user_id=user_id,
                at_ms=now,
                kind=suspicion.kind,
                checksum=checksum,
                details=suspicion.details[:DETAILS_MAX],
                score_id=score_id,
            )
            await self._announce(tx, flag_id, suspicion.kind, now)

    async def raise_within(self, tx: Transaction, findings: Sequence[Finding]) -> int:
        """Store findings as flags in the caller's transaction, and return how many are new."""
        now = self._clock.now_ms()
        new = 0
        for finding in findings:
            flag_id = await tx.one(
                _RAISE,
                user_id=finding.user_id,
                at_ms=now,
                kind=finding.kind,
                details=finding.details[:DETAILS_MAX],
                score_id=finding.score_id,
                other_score_id=finding.other_score_id,
                figures=msgspec.json.encode(finding.figures).decode(),
            )
            new += await self._announce(tx, flag_id, finding.kind, now)
        return new

    async def _announce(self, tx: Transaction, flag_id: int | None, kind: str, now_ms: int) -> bool:
        if flag_id is None:
            return False
        await enqueue(tx, OUTBOX_KIND, flag_id, now_ms)
        if (flag := await self.find(flag_id, tx)) is not None:
            await webhooks.enqueue(tx, "flag", msgspec.to_builtins(flag_object(flag)), now_ms)
        self.raised[kind] = self.raised.get(kind, 0) + 1
        return True

    async def find(self, flag_id: int, tx: Transaction | None = None) -> IntegrityFlag | None:
        """Return a flag, or None for an unknown id."""
        return await (self._database if tx is None else tx).one(_BY_ID, flag_id=flag_id)

    async def page(
        self,
        *,
        user_id: int | None = None,
        kind: str | None = None,
        state: State = "all",
        limit: int,
        offset: int = 0,
        before: int | None = None,
    ) -> list[IntegrityFlag]:
        """Return flags with ids below `before`, newest first."""
        given = _given(user_id, kind, state)
        page = PAGES[frozenset(given)]
        before = 2**63 - 1 if before is None else before
        return await self._database.all(page, **given, limit=limit, offset=offset, before=before)

    async def count(self, *, user_id: int | None = None, kind: str | None = None, state: State = "all") -> int:
        """Return the number of flags, at most 10,000."""
        given = _given(user_id, kind, state)
        return await self._database.one(COUNTS[frozenset(given)], **given) or 0

    async def close_within(
        self, tx: Transaction, flag_id: int, *, verdict: str, text: str, closed_by: int, now_ms: int
    ) -> bool:
        """Close an open flag in the caller's transaction. Return False if it is closed already, or unknown."""
        return bool(
            await tx.run(_CLOSE, flag_id=flag_id, verdict=verdict, text=text, closed_by=closed_by, closed_at_ms=now_ms)
        )


def _given(user_id: int | None, kind: str | None, state: State) -> dict[str, Value]:
    closed = None if state == "all" else int(state == "closed")
    filters = {"user_id": user_id, "kind": kind, "state": closed}
    return {name: value for name, value in filters.items() if value is not None}
