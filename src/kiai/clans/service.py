"""Clans, their members and their totals, for lists, profiles and the board of clans.

The totals are rows of `clan_totals`. The outbox keeps them equal to the committed profiles, like the ranks of players:
after a play, and after a change of visibility or members, it computes the clan again.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Double, bindparam, cast, exists, func, insert, literal_column, select

from kiai.accounts.visibility import visible
from kiai.clans.model import CLANS_CHANGED, PRIVATE, icon_path, notice_of
from kiai.clans.statements import CLAN_TO_CHANGE, REMOVE_TOTALS
from kiai.errors import NotFound
from kiai.osu.modes import MODES
from kiai.storage.outbox import Outbox
from kiai.storage.port import Command, Database, Lane, Query, Transaction, columns_for, scalar
from kiai.storage.tables import clan_totals, clans, stats, users
from kiai.together import in_pieces

MEMBERS_MAX: Final = 500
LISTED_MAX: Final = 10_000  # totals are counted up to this number
JOINING: Final = {0: "closed", 1: "open", 2: "invite", 3: "request"}
ROLES: Final = {1: "Member", 2: "Officer", 3: "Owner"}


class Clan(msgspec.Struct, frozen=True):
    """A clan. `created_at_ms` is in unix ms, `joining` a key of `JOINING`."""

    id: int
    name: str
    tag: str
    owner_id: int
    created_at_ms: int
    joining: int
    description: str
    icon: str | None = None
    """The key of the picture in the file store."""

    @property
    def icon_path(self) -> str:
        """The path of the icon on the website; empty without one."""
        return icon_path(self.id, self.icon)


class Member(msgspec.Struct, frozen=True):
    """A visible member of a clan. `clan_priv` is a key of `ROLES`."""

    id: int
    name: str
    country: str
    clan_priv: int


class ClanLine(msgspec.Struct, frozen=True):
    """The totals of a clan in a mode: sums over its visible members with pp. `acc` is their average, in percent."""

    id: int
    name: str
    tag: str
    members: int
    pp: int
    rscore: int
    tscore: int
    plays: int
    acc: float
    icon: str | None = None
    """The key of the picture in the file store."""

    @property
    def icon_path(self) -> str:
        """The path of the icon on the website; empty without one."""
        return icon_path(self.id, self.icon)


_clan = select(*columns_for(Clan, clans))
_BY_ID = Query(_clan.where(clans.c.id == bindparam("id")), Clan)
_LISTED = Query(
    _clan.where(clans.c.id > bindparam("after"))
    .order_by(clans.c.id)
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    Clan,
    lane=Lane.SLOW,
    scans="it reads the ids up to the end of the page",
)
_first_clans = select(clans.c.id).limit(literal_column(str(LISTED_MAX))).subquery()
_COUNT = Query(
    select(func.count()).select_from(_first_clans), scalar, lane=Lane.SLOW, scans="it counts the first 10,000 clans"
)
# `clan_id > 0` as a literal is the condition of the partial index on `users.clan_id`.
_MEMBERS = Query(
    select(*columns_for(Member, users))
    .where(users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"), visible())
    .order_by(users.c.clan_priv.desc(), users.c.id)
    .limit(MEMBERS_MAX),
    Member,
)
_some_members = (
    select(users.c.id)
    .where(users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"), visible())
    .limit(literal_column(str(MEMBERS_MAX)))
    .subquery()
)
_SIZE = Query(select(func.count()).select_from(_some_members), scalar)
PLACES_MAX: Final = 100
"""Members that count in the weighted sum. The weight of the next one would be below 10 to the power of -9."""
WEIGHT: Final = 0.8

CHECKED_AT_ONCE: Final = 20
"""Clans whose totals one statement of the job compares. Its cost does not grow with the server."""

PpFormula = Literal["akatsuki", "weighted"]
"""How the pp of a clan follows from that of its members; the values of the setting `clan_pp`."""


def _sum(column: Any) -> Any:
    return cast(func.sum(column), BigInteger)


_weights = " ".join(f"WHEN {n + 1} THEN {WEIGHT**n!r}" for n in range(PLACES_MAX))


def _figures(formula: PpFormula, *conditions: Any, lane: Lane = Lane.LOOP) -> Query[dict[str, Any]]:
    """Return the sums over the ranked members of clans, for each mode and clan.

    The members come by `ix_users_clan`, then the primary key of `stats` for each.
    """
    columns: list[Any] = [
        stats.c.mode,
        users.c.clan_id,
        stats.c.pp,
        stats.c.rscore,
        stats.c.tscore,
        stats.c.plays,
        stats.c.acc,
    ]
    if formula == "weighted":
        place = func.row_number().over(partition_by=(stats.c.mode, users.c.clan_id), order_by=stats.c.pp.desc())
        columns.append(place.label("place"))
    # `clan_id > 0` as a literal is the condition of the partial index on `users.clan_id`.
    ranked = (
        select(*columns)
        .select_from(users.join(clans, clans.c.id == users.c.clan_id).join(stats, stats.c.user_id == users.c.id))
        .where(users.c.clan_id > literal_column("0"), stats.c.pp > literal_column("0"), visible(), *conditions)
        .subquery("ranked")
    )
    pp: Any
    if formula == "weighted":
        # PERF: as text, because 100 pairs of parameters take 150 KB in each of three statements.
        weight = cast(literal_column(f"CASE ranked.place {_weights} ELSE 0.0 END"), Double)
        pp = func.sum(ranked.c.pp * weight)
    else:
        pp = _sum(ranked.c.pp)
    return Query(
        select(
            ranked.c.mode,
            ranked.c.clan_id,
            func.count(),
            pp,
            _sum(ranked.c.rscore),
            _sum(ranked.c.tscore),
            _sum(ranked.c.plays),
            func.avg(ranked.c.acc),
        )
        .group_by(ranked.c.mode, ranked.c.clan_id)
        .order_by(ranked.c.mode, ranked.c.clan_id),
        # PostgreSQL returns sums as Decimal.
        lambda mode, clan_id, members, pp, rscore, tscore, plays, acc: {
            "mode": mode,
            "clan_id": clan_id,
            "members": members,
            "pp": round(float(pp)) if formula == "weighted" else _shared_pp(int(pp), members),
            "rscore": int(rscore),
            "tscore": int(tscore),
            "plays": int(plays),
            "acc": round(float(acc), 3),
        },
        lane=lane,
    )


class _Sums(NamedTuple):
    """The statements that compute totals with one formula: of some clans, of one clan, and of one clan in a mode."""

    between: Query[dict[str, Any]]
    of_clan: Query[dict[str, Any]]
    standing: Query[dict[str, Any]]


def _sums(formula: PpFormula) -> _Sums:
    of_clan = users.c.clan_id == bindparam("clan_id")
    between = (users.c.clan_id >= bindparam("first"), users.c.clan_id <= bindparam("last"))
    return _Sums(
        _figures(formula, *between, lane=Lane.JOB),
        _figures(formula, of_clan),
        _figures(formula, of_clan, stats.c.mode == bindparam("mode")),
    )


_SUMS: Final[dict[PpFormula, _Sums]] = {"akatsuki": _sums("akatsuki"), "weighted": _sums("weighted")}
_CLAN_OF = Query(select(users.c.clan_id).where(users.c.id == bindparam("user_id")), scalar)
_TOTALS: Final = ("mode", "clan_id", "members", "pp", "rscore", "tscore", "plays", "acc")
_NEXT_CLANS = Query(
    select(clans.c.id).where(clans.c.id > bindparam("after")).order_by(clans.c.id).limit(bindparam("limit")),
    scalar,
    lane=Lane.JOB,
    scans="a job reads the next clans in order",
)
_STORED_TOTALS = Query(
    select(*[clan_totals.c[name] for name in _TOTALS])
    .where(
        clan_totals.c.mode.in_([literal_column(str(mode)) for mode in MODES]),
        clan_totals.c.clan_id >= bindparam("first"),
        clan_totals.c.clan_id <= bindparam("last"),
    )
    .order_by(clan_totals.c.mode, clan_totals.c.clan_id),
    lambda *row: dict(zip(_TOTALS, row, strict=True)),
    lane=Lane.JOB,
)
_WRITE_TOTALS = Command(insert(clan_totals).values({name: bindparam(name) for name in _TOTALS}))
# By `ix_clan_totals_pp`.
_BOARD = Query(
    select(
        clans.c.id,
        clans.c.name,
        clans.c.tag,
        *[clan_totals.c[name] for name in ("members", "pp", "rscore", "tscore", "plays", "acc")],
        clans.c.icon,
    )
    .select_from(clan_totals.join(clans, clans.c.id == clan_totals.c.clan_id))
    .where(clan_totals.c.mode == bindparam("mode"))
    .order_by(clan_totals.c.pp.desc(), clan_totals.c.clan_id)
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    ClanLine,
    lane=Lane.BOUNDED,
)
_on_board = (
    select(clan_totals.c.clan_id)
    .where(clan_totals.c.mode == bindparam("mode"))
    .limit(literal_column(str(LISTED_MAX)))
    .subquery()
)
# The clans without a ranked member, by their ids; each is looked up in the primary key of the totals.
_NOT_ON_BOARD = Query(
    select(clans.c.id)
    .where(
        ~exists(clan_totals.c.clan_id)
        .where(clan_totals.c.mode == bindparam("mode"), clan_totals.c.clan_id == clans.c.id)
        .correlate(clans)
    )
    .order_by(clans.c.id.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    scalar,
    lane=Lane.BOUNDED,
    scans="it reads the ids of clans up to the end of the page",
)
_BOARD_COUNT = Query(select(func.count()).select_from(_on_board), scalar, lane=Lane.BOUNDED)


class Clans:
    """Reads clans, and keeps the totals by which their board is sorted."""

    def __init__(self, database: Database, outbox: Outbox | None = None, *, formula: PpFormula = "akatsuki") -> None:
        self._database = database
        self._sums = _SUMS[formula]
        if outbox is not None:
            outbox.subscribe("ranks", self._on_ranks)
            outbox.subscribe("ranks_all", self._on_all_ranks)
            outbox.subscribe(CLANS_CHANGED, self._on_members)

    async def board(self, mode: int, *, limit: int, offset: int = 0) -> tuple[list[ClanLine], int]:
        """Return clans with ranked members by pp (docs/spec/game-rules.md#clans), and their number up to 10,000.

        The totals are at most a second old.
        """
        rows = await self._database.all(_BOARD, mode=mode, limit=limit, offset=offset)
        return rows, await self._database.one(_BOARD_COUNT, mode=mode) or 0

    async def refresh_totals(self) -> None:
        """Compute the totals of all clans, and write those that have changed."""
        after = 0
        while (last := await self.refresh_next(after)) is not None:
            after = last

    async def refresh_next(self, after: int) -> int | None:
        """Do the same for the first `CHECKED_AT_ONCE` clans with a larger id. Return the last of them, or None."""
        ids = await self._database.all(_NEXT_CLANS, after=after, limit=CHECKED_AT_ONCE)
        if not ids:
            return None
        found = {"first": ids[0], "last": ids[-1]}
        totals = _by_clan(await self._database.all(self._sums.between, **found))
        stored = _by_clan(await self._database.all(_STORED_TOTALS, **found))
        for clan_id in ids:
            if totals.get(clan_id) != stored.get(clan_id):
                await self.refresh(clan_id)
        return int(ids[-1])

    async def by_pp(self, mode: int, *, limit: int, offset: int = 0) -> tuple[list[int], int, int]:
        """Return ids of clans: those on the board of a mode by pp, then the others, newest first.

        Also return the number of the former and that of all clans, each counted up to 10,000.
        """
        board, ranked = await self.board(mode, limit=limit, offset=offset)
        ids = [line.id for line in board]
        if len(ids) < limit:
            behind = max(0, offset - ranked)
            ids += await self._database.all(_NOT_ON_BOARD, mode=mode, limit=limit - len(ids), offset=behind)
        return ids, ranked, max(ranked, await self._database.one(_COUNT) or 0)

    async def refresh(self, clan_id: int) -> None:
        """Compute and write the totals of a clan. Repeating it does no harm."""

        async def body(tx: Transaction) -> None:
            # Locks the clan, so that it is neither disbanded in between nor computed twice at the same time.
            if await tx.one(CLAN_TO_CHANGE, id=clan_id) is None:
                return
            rows = await tx.all(self._sums.of_clan, clan_id=clan_id)
            await tx.run_many(REMOVE_TOTALS, [{"in_mode": mode, "of_clan": clan_id} for mode in MODES])
            await tx.run_many(_WRITE_TOTALS, rows)

        await self._database.transaction(body)

    async def _on_ranks(self, user_ids: Sequence[str]) -> None:
        """Refresh the clans of players whose profiles or visibility have changed. The outbox calls this."""
        found: set[int | None] = set()
        for ids in in_pieces(user_ids):
            rows = await self._database.several(*[(_CLAN_OF, {"user_id": int(user_id)}) for user_id in ids])
            found.update(itertools.chain.from_iterable(rows))
        for clan_id in sorted(clan_id for clan_id in found if clan_id):
            await self.refresh(clan_id)

    async def _on_all_ranks(self, _: Sequence[str]) -> None:
        await self.refresh_totals()

    async def _on_members(self, payloads: Sequence[str]) -> None:
        """Refresh clans whose members have changed. The outbox calls this."""
        notices = [notice_of(payload) for payload in payloads]
        for clan_id in sorted({notice.clan_id for notice in notices if notice.kind not in PRIVATE}):
            await self.refresh(clan_id)

    async def clan(self, clan_id: int) -> Clan:
        """Return a clan by its id. Raises NotFound("clan")."""
        found = await self._database.one(_BY_ID, id=clan_id)
        if found is None:
            raise NotFound("clan")
        return found

    async def size(self, clan_id: int) -> int:
        """Return the number of visible members of a clan, at most 500."""
        return await self._database.one(_SIZE, clan_id=clan_id) or 0

    async def members(self, clan_id: int) -> list[Member]:
        """Return the visible members of a clan, highest role first, then by id; at most 500."""
        return await self._database.all(_MEMBERS, clan_id=clan_id)

    async def listed(self, *, limit: int, offset: int = 0, after: int = 0) -> tuple[list[Clan], int]:
        """Return clans with ids above `after`, by id, and the number of all clans, counted up to 10,000."""
        rows = await self._database.all(_LISTED, limit=limit, offset=offset, after=after)
        return rows, await self._database.one(_COUNT) or 0

    async def standing(self, clan: Clan, mode: int) -> ClanLine:
        """Return the totals of a clan in a mode (docs/spec/game-rules.md#clans)."""
        row = await self._database.one(self._sums.standing, clan_id=clan.id, mode=mode)
        if row is None:
            return ClanLine(clan.id, clan.name, clan.tag, 0, 0, 0, 0, 0, 0.0, clan.icon)
        return ClanLine(clan.id, clan.name, clan.tag, *[*(row[name] for name in _TOTALS[2:]), clan.icon])


def _by_clan(rows: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["clan_id"], []).append(row)
    return found


def _shared_pp(pp: int, members: int) -> int:
    """Return the pp of a clan: the sum over its members, divided by their number plus one."""
    return round(pp / (members + 1)) if members else 0
