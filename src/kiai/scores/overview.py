"""The overview of a profile in a few statements: the head with its figures, the first rows of lists, the graphs."""

import asyncio
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, literal_column, select, union_all

from kiai.accounts import User, Viewer, can_see
from kiai.accounts.model import OldName
from kiai.accounts.service import Accounts
from kiai.accounts.visibility import visible
from kiai.beatmaps.model import MapSummary
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.scores.activity import ActivityEntry
from kiai.scores.history import DAY_MS, DAYS, Day
from kiai.scores.listing_parts import NOT_HIDDEN, SCORES_AND_MAPS, mapped, score_columns
from kiai.scores.model import MappedScore, PlayedMap, Stats
from kiai.scores.months import MONTHS_SHOWN, month_of
from kiai.scores.peaks import Peak
from kiai.scores.pins import PINS_MAX
from kiai.scores.profiles import Profiles
from kiai.scores.rules import MAP_GIVES_PP
from kiai.scores.showcase import Showcase
from kiai.storage.port import Database, Query, columns_for
from kiai.storage.tables import (
    clans,
    first_places,
    maps,
    month_plays,
    peak_ranks,
    pinned_scores,
    rank_history,
    relationships,
    scores,
    stats,
    users,
)

SHOWN: Final = 5
"""Rows of each list on the overview; one more is read to know whether there are more."""
ACTIVITY_SHOWN: Final = 10
FOLLOWERS_MAX: Final = 10_000
PREFERRED: Final = -1
"""In place of a mode: the player's preferred mode."""
_FRIEND: Final[ColumnElement[Any]] = literal_column("1")
_BLOCK: Final[ColumnElement[Any]] = literal_column("2")

_wanted: Final = bindparam("mode", type_=stats.c.mode.type)
_mode: Final = case((_wanted == PREFERRED, users.c.preferred_mode), else_=_wanted)
_follower = users.alias("follower")
_following = relationships.alias("following")
_own = relationships.alias("own")
_back = relationships.alias("back")


def _count(found: Select[Any]) -> ColumnElement[Any]:
    return select(func.count()).select_from(found.subquery()).scalar_subquery()


_followers = _count(
    select(literal_column("1"))
    .select_from(_following.join(_follower, _follower.c.id == _following.c.user_id))
    .where(_following.c.target_id == bindparam("user_id"), _following.c.kind == _FRIEND, visible(_follower))
    .limit(literal_column(str(FOLLOWERS_MAX)))
)
_is_friend = (
    select(func.count())
    .select_from(_own)
    .where(_own.c.user_id == bindparam("viewer_id"), _own.c.target_id == bindparam("user_id"), _own.c.kind == _FRIEND)
    .scalar_subquery()
)
_is_blocked = (
    select(func.count())
    .select_from(_own)
    .where(_own.c.user_id == bindparam("viewer_id"), _own.c.target_id == bindparam("user_id"), _own.c.kind == _BLOCK)
    .scalar_subquery()
)
_is_followed_back = (
    select(func.count())
    .select_from(_back)
    .where(
        _back.c.user_id == bindparam("user_id"), _back.c.target_id == bindparam("viewer_id"), _back.c.kind == _FRIEND
    )
    .scalar_subquery()
)
_USER_WIDTH: Final = len(User.__struct_fields__)
_STATS_WIDTH: Final = len(Stats.__struct_fields__)


class ProfileHead(msgspec.Struct, frozen=True):
    """The account, the figures in one mode, and the relation to the viewer. `stats` is None without a play."""

    user: User
    clan_name: str | None
    clan_tag: str | None
    followers: int
    is_friend: bool
    is_blocked: bool
    is_followed_back: bool
    stats: Stats | None
    peak: Peak | None

    @property
    def is_mutual(self) -> bool:
        """Whether the viewer and the player are friends of each other."""
        return self.is_friend and self.is_followed_back


def _head(*row: Any) -> ProfileHead:
    user, rest = User(*row[:_USER_WIDTH]), row[_USER_WIDTH:]
    figures, (rank, at_ms) = rest[6 : 6 + _STATS_WIDTH], rest[6 + _STATS_WIDTH :]
    return ProfileHead(
        user,
        rest[0],
        rest[1],
        rest[2],
        bool(rest[3]),
        bool(rest[4]),
        bool(rest[5]),
        None if figures[0] is None else Stats(*figures),
        None if rank is None else Peak(rank, at_ms),
    )


# Lookups of primary keys, and the followers by `ix_relationships_target`.
HEAD = Query(
    select(
        *columns_for(User, users),
        clans.c.name,
        clans.c.tag,
        _followers,
        _is_friend,
        _is_blocked,
        _is_followed_back,
        *columns_for(Stats, stats),
        peak_ranks.c.rank,
        peak_ranks.c.at_ms,
    )
    .select_from(
        users.outerjoin(clans, clans.c.id == users.c.clan_id)
        .outerjoin(stats, and_(stats.c.user_id == users.c.id, stats.c.mode == _mode))
        .outerjoin(peak_ranks, and_(peak_ranks.c.user_id == users.c.id, peak_ranks.c.mode == _mode))
    )
    .where(users.c.id == bindparam("user_id")),
    _head,
)


def _ids(list_: str, place: ColumnElement[Any], found: Select[Any]) -> Select[Any]:
    rows = found.with_only_columns(scores.c.id.label("id"), place.label("place")).subquery()
    return select(literal_column(list_).label("list"), rows.c.id, rows.c.place)


_PINNED, _BEST, _FIRSTS, _RECENT = "0", "1", "2", "3"
_zero: Final[ColumnElement[Any]] = literal_column("0")
_of_player: Final = and_(scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"), NOT_HIDDEN)
_more: Final[ColumnElement[Any]] = literal_column(str(SHOWN + 1))
# The same orders and conditions as the lists of `profiles.py` and `pins.py`; the ids first, then their rows.
_lists = union_all(
    _ids(
        _PINNED,
        pinned_scores.c.position,
        select(scores.c.id)
        .select_from(pinned_scores.join(scores, scores.c.id == pinned_scores.c.score_id))
        .where(pinned_scores.c.user_id == bindparam("user_id"), pinned_scores.c.mode == bindparam("mode"), NOT_HIDDEN)
        .order_by(pinned_scores.c.position, pinned_scores.c.score_id)
        .limit(literal_column(str(PINS_MAX))),
    ),
    _ids(
        _BEST,
        _zero,
        select(scores.c.id)
        .select_from(SCORES_AND_MAPS)
        .where(_of_player, scores.c.best_pp == 1, MAP_GIVES_PP)
        .order_by(scores.c.pp.desc(), scores.c.id.desc())
        .limit(_more),
    ),
    _ids(
        _FIRSTS,
        _zero,
        select(scores.c.id)
        .select_from(first_places.join(scores, scores.c.id == first_places.c.score_id))
        .where(first_places.c.user_id == bindparam("user_id"), first_places.c.mode == bindparam("mode"))
        .order_by(first_places.c.score_id.desc())
        .limit(_more),
    ),
    _ids(_RECENT, _zero, select(scores.c.id).where(_of_player).order_by(scores.c.id.desc()).limit(_more)),
).subquery("lists")
LISTS = Query(
    select(_lists.c.list, _lists.c.place, *score_columns(), *columns_for(MapSummary, maps)).select_from(
        _lists.join(scores, scores.c.id == _lists.c.id).join(maps, maps.c.key == scores.c.map_key)
    ),
    lambda list_, place, *row: (list_, place, mapped(*row)),
)
_days: Select[Any] = (
    select(
        literal_column("0").label("graph"),
        rank_history.c.day.label("at"),
        rank_history.c.rank,
        rank_history.c.country_rank,
        rank_history.c.pp,
    )
    .where(
        rank_history.c.user_id == bindparam("user_id"),
        rank_history.c.mode == bindparam("mode"),
        rank_history.c.day >= bindparam("since_day"),
    )
    .limit(literal_column(str(DAYS)))
)
_months: Select[Any] = (
    select(
        literal_column("1").label("graph"),
        month_plays.c.month.label("at"),
        month_plays.c.plays,
        _zero.label("a"),
        _zero.label("b"),
    )
    .where(
        month_plays.c.user_id == bindparam("user_id"),
        month_plays.c.mode == bindparam("mode"),
        month_plays.c.month >= bindparam("since_month"),
    )
    .limit(literal_column(str(MONTHS_SHOWN)))
)
GRAPHS = Query(union_all(select(_days.subquery()), select(_months.subquery())), lambda *row: row)


class Overview(msgspec.Struct, frozen=True):
    """The overview of a profile in a mode. Lists have one row more than `SHOWN` if there are more."""

    pinned: list[MappedScore]
    best: list[MappedScore]
    firsts: list[MappedScore]
    recent: list[MappedScore]
    most_played: list[PlayedMap]
    days: list[Day]
    months: list[tuple[int, int]]
    medals: list[tuple[int, int, int | None]]
    activity: list[ActivityEntry]
    old_names: list[OldName]


class Overviews:
    """Reads overviews of profiles."""

    def __init__(
        self, database: Database, accounts: Accounts, profiles: Profiles, showcase: Showcase, clock: Clock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._profiles = profiles
        self._showcase = showcase
        self._clock = clock

    async def head(self, user_id: int, mode: int, viewer: Viewer) -> ProfileHead:
        """Return the head of a profile. `mode` may be `PREFERRED`. Raises NotFound("player")."""
        found = await self._database.one(HEAD, user_id=user_id, mode=mode, viewer_id=viewer.user_id)
        if found is None or not can_see(viewer, found.user):
            raise NotFound("player")
        return found

    async def overview(self, user: User, mode: int) -> Overview:
        """Return the lists and graphs of a player whom the caller may see."""
        now_ms = self._clock.now_ms()
        month = month_of(now_ms)
        where = {"user_id": user.id, "mode": mode}
        lists, graphs, most_played, medals, activity, old_names = await asyncio.gather(
            self._database.all(LISTS, **where),
            self._database.all(
                GRAPHS, since_day=now_ms // DAY_MS - DAYS + 1, since_month=month - MONTHS_SHOWN + 1, **where
            ),
            self._profiles.most_played(user.id, mode, limit=SHOWN + 1),
            self._showcase.history.medals(user.id),
            self._showcase.activity.of(user.id, limit=ACTIVITY_SHOWN),
            self._old_names(user),
        )
        plays = {at: count for graph, at, count, *_ in graphs if graph == 1}
        rows: list[list[tuple[Any, ...]]] = [[] for _ in range(4)]
        for list_, place, row in lists:
            rows[list_].append((place, -row.score.pp if list_ == int(_BEST) else 0, -row.score.id, row))
        pinned, best, firsts, recent = ([row[-1] for row in sorted(found, key=lambda r: r[:3])] for found in rows)
        return Overview(
            pinned,
            best,
            firsts,
            recent,
            most_played,
            sorted((Day(*row[1:]) for row in graphs if row[0] == 0), key=lambda day: day.day),
            [(at, plays.get(at, 0)) for at in range(month - MONTHS_SHOWN + 1, month + 1)] if plays else [],
            medals,
            activity,
            old_names,
        )

    async def _old_names(self, user: User) -> list[OldName]:
        # Most players have never had another name.
        return [] if user.renamed_at_ms is None else await self._accounts.old_names(user.id)
