"""`kiai doctor`: proves that what is shown follows from the rows, and mends what does not.

Read-only and live; `repair` rewrites derived rows only, never a score.

See docs/spec/security.md#consistency.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, literal_column, select, update

from kiai.accounts.screenshots import screenshot_key
from kiai.beatmaps import Beatmaps, osu_key
from kiai.beatmaps.importing import archive_key
from kiai.clock import Clock
from kiai.files.port import Files
from kiai.scores import statements
from kiai.scores.model import Stats, replay_key
from kiai.scores.rebuilding import Rebuilder
from kiai.scores.settling import Settling
from kiai.staff import audit
from kiai.staff.audit import OPERATOR
from kiai.storage.outbox import TRIES_MAX, revive, tell
from kiai.storage.port import Command, Database, Lane, Query, Transaction, only
from kiai.storage.tables import (
    clans,
    counters,
    favourites,
    first_places,
    maps,
    outbox,
    ratings,
    replays,
    scores,
    screenshots,
    sets,
    users,
)

USERS_AT_ONCE: Final = 200
SHOWN_MAX: Final = 50  # problems of one kind that are listed one by one
ORPHAN_MS: Final = 86_400_000
STUCK_MS: Final = 30_000
STILL_MS: Final = 600_000
UPLOAD_MS: Final = 60_000


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong: what it is about, and what is the matter."""

    invariant: str
    what: str
    repairable: bool = True


class Diagnosis(msgspec.Struct):
    """What was found."""

    problems: list[Problem] = msgspec.field(default_factory=list)
    waiting: int = 0
    """Totals, maps and scores that wait to be computed again. What they will correct may be among the problems."""
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


_USER_IDS = Query(
    select(users.c.id).where(users.c.id > bindparam("after")).order_by(users.c.id).limit(USERS_AT_ONCE),
    only,
    scans="every account is wanted, a page at a time",
)
_EVERY_ROW: Final = "a proof looks at every row, once"
_USERS = Query(select(func.count()).select_from(users).where(users.c.id != 1), only, lane=Lane.JOB, scans=_EVERY_ROW)
_COUNTER = Query(select(counters.c.value).where(counters.c.name == "users"), only)
_FLAGS_WRONG = Query(statements.WRONG_FLAGS, lambda id_: id_, lane=Lane.JOB)
_MAP_COUNTERS = Query(
    select(maps.c.key, maps.c.id, maps.c.plays, maps.c.passes).order_by(maps.c.key),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_FIRST_PLACES = Query(
    select(first_places.c.map_key, first_places.c.mode, first_places.c.score_id),
    lambda key, mode, score: ((key, mode), score),
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_REPLAYS = Query(
    select(replays.c.score_id, replays.c.md5, replays.c.sha256, replays.c.size)
    .where(replays.c.score_id > bindparam("after"))
    .order_by(replays.c.score_id)
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_AVATARS = Query(
    select(users.c.id, users.c.avatar)
    .where(users.c.id > bindparam("after"), users.c.avatar.is_not(None))
    .order_by(users.c.id)
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_SCREENSHOTS = Query(
    select(screenshots.c.id, screenshots.c.kind)
    .where(screenshots.c.id > bindparam("after"), screenshots.c.at_ms < bindparam("before"))
    .order_by(screenshots.c.id)
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_ARCHIVES = Query(
    select(sets.c.id)
    .where(sets.c.id > bindparam("after"), sets.c.osz_size > literal_column("0"))
    .order_by(sets.c.id)
    .limit(1_000),
    only,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_VOTES_WRONG = Query(
    select(maps.c.id, maps.c.rating_count, func.count(ratings.c.user_id))
    .select_from(maps.outerjoin(ratings, ratings.c.map_key == maps.c.key))
    .group_by(maps.c.key, maps.c.id, maps.c.rating_count)
    .having(maps.c.rating_count > func.count(ratings.c.user_id))
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_FAVOURITES_WRONG = Query(
    select(sets.c.id, sets.c.favourites, func.count(favourites.c.user_id))
    .select_from(sets.outerjoin(favourites, favourites.c.set_id == sets.c.id))
    .group_by(sets.c.id, sets.c.favourites)
    .having(sets.c.favourites != func.count(favourites.c.user_id))
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_FAVOURITES_TRUE = Command(
    update(sets).values(
        favourites=select(func.count())
        .select_from(favourites)
        .where(favourites.c.set_id == sets.c.id)
        .scalar_subquery()
    ),
    scans="every set is counted again",
)
_ABROAD = Query(
    select(scores.c.id)
    .select_from(scores.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.country != users.c.country)
    .order_by(scores.c.id)
    .limit(1_000),
    only,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_STUCK = Query(
    select(func.count())
    .select_from(outbox)
    .where(outbox.c.at_ms < bindparam("before"), outbox.c.tries == literal_column("0")),
    only,
    lane=Lane.JOB,
)
_PARKED = Query(
    select(outbox.c.kind, func.count()).where(outbox.c.tries >= TRIES_MAX).group_by(outbox.c.kind),
    lambda kind, rows: (kind, rows),
)
_OWNERLESS = Query(
    select(clans.c.id)
    .select_from(clans.outerjoin(users, (users.c.id == clans.c.owner_id) & (users.c.clan_id == clans.c.id)))
    .where((users.c.id.is_(None)) | (users.c.clan_priv != 3)),
    only,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_CLANLESS = Query(
    select(users.c.id)
    .select_from(users.outerjoin(clans, clans.c.id == users.c.clan_id))
    .where(users.c.clan_id > 0, clans.c.id.is_(None)),
    only,
    lane=Lane.JOB,
)


class Doctor:
    """Looks, and mends."""

    def __init__(
        self,
        database: Database,
        files: Files,
        beatmaps: Beatmaps,
        rebuilder: Rebuilder,
        settling: Settling,
        clock: Clock,
        is_served: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._files = files
        self._beatmaps = beatmaps
        self._rebuilder = rebuilder
        self._settling = settling
        self._clock = clock
        self._is_served = is_served

    async def examine(self, progress: Callable[[str], None] = lambda step: None) -> Diagnosis:
        """Everything there is to prove. Raises Damaged when the database cannot be read."""
        found = Diagnosis()
        for step, check in (
            ("database", self._database_whole),
            ("stats", self._stats),
            ("best flags", self._flags),
            ("map counters and first places", self._maps),
            ("most played counters", self._play_counts),
            ("files", self._stored),
            ("votes and favourites", self._opinions),
            ("clans", self._clans),
            ("house books", self._books),
        ):
            progress(step)
            problems = await check()
            found.problems += problems[:SHOWN_MAX]
            if len(problems) > SHOWN_MAX:
                found.problems.append(
                    Problem(problems[0].invariant, f"and {len(problems) - SHOWN_MAX} more like these")
                )
        found.waiting = (await self._settling.waiting()).left
        return found

    async def repair(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Rewrites every derived row from the scores, and the counter of accounts; leaves an audit row.

        What waits to be settled is done first, and parked rows of the outbox are tried again.
        """
        await self._settling.finish()
        await self._rebuilder.everything(progress)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tell(tx, "ranks_all", 0, now)
            await revive(tx)
            await tx.run(_FAVOURITES_TRUE)
            await tx.run(statements.SET_USER_COUNTER, value=await tx.one(_USERS))
            await audit.write(tx, OPERATOR, "doctor_repair", at_ms=now, target_kind="server", target_id=0)

        await self._database.transaction(body)

    async def _database_whole(self) -> list[Problem]:
        return [Problem("I10", fault, repairable=False) for fault in await self._database.faults()]

    async def _ranges(self) -> AsyncIterator[tuple[int, int]]:
        """The first and last id of ranges that hold 200 accounts each and together cover every account."""
        after = 0
        while ids := await self._database.all(_USER_IDS, after=after):
            yield after + 1, ids[-1]
            after = ids[-1]

    async def _stats(self) -> list[Problem]:
        problems = []
        async for first, last in self._ranges():
            stored = {
                (one.user_id, one.mode): one
                for one in await self._database.all(statements.STATS_BETWEEN, first=first, last=last)
            }
            counted = {
                (one.user_id, one.mode): one for one in await self._rebuilder.recount(self._database, first, last)
            }
            for key in sorted(stored.keys() | counted.keys()):
                mine, true = stored.get(key), counted.get(key)
                if mine == true:
                    continue
                wrong = [
                    f"{name} is {getattr(mine, name, None)}, the scores give {getattr(true, name, None)}"
                    for name in Stats.__struct_fields__
                    if getattr(mine, name, None) != getattr(true, name, None)
                ]
                problems.append(Problem("I1", f"user {key[0]} mode {key[1]}: {'; '.join(wrong)}"))
        return problems

    async def _flags(self) -> list[Problem]:
        wrong: list[int] = []
        async for first, last in self._ranges():
            wrong += await self._database.all(_FLAGS_WRONG, first=first, last=last)
        problems = [Problem("I2", f"score {score_id} has wrong best flags") for score_id in sorted(wrong)]
        abroad = await self._database.all(_ABROAD)
        return problems + [Problem("I2", f"score {score_id} is on another country's boards") for score_id in abroad]

    async def _maps(self) -> list[Problem]:
        counted = {
            key: (plays, passes)
            for key, plays, passes in await self._database.all(statements.MAP_COUNTERS, first=0, last=2**31 - 1)
        }
        problems = [
            Problem(
                "I6", f"map {map_id}: {plays} plays and {passes} passes, the scores give {counted.get(key, (0, 0))}"
            )
            for key, map_id, plays, passes in await self._database.all(_MAP_COUNTERS)
            if (plays, passes) != counted.get(key, (0, 0))
        ]
        held = dict(await self._database.all(_FIRST_PLACES))
        true = {
            (key, mode): score
            for key, mode, score in await self._database.all(statements.TRUE_FIRST_PLACES, first=0, last=2**31 - 1)
        }
        problems += [
            Problem(
                "I5",
                f"map key {key} mode {mode}: held by {held.get((key, mode))}, the board says {true.get((key, mode))}",
            )
            for key, mode in sorted(held.keys() | true.keys())
            if held.get((key, mode)) != true.get((key, mode))
        ]
        return problems

    async def _play_counts(self) -> list[Problem]:
        wrong = set()
        async for first, last in self._ranges():
            for query in (statements.PLAY_COUNTS_MISSING, statements.PLAY_COUNTS_INVENTED):
                wrong |= {row[:3] for row in await self._database.all(query, first=first, last=last)}
        return [
            Problem("I6", f"user {user_id} mode {mode} map key {key}: the most played counter is wrong")
            for user_id, mode, key in sorted(wrong)
        ]

    async def _stored(self) -> list[Problem]:
        problems = []
        known: set[str] = set()
        after = 0
        while rows := await self._database.all(_REPLAYS, after=after):
            after = rows[-1][0]
            for score_id, md5, sha256, size in rows:
                key = replay_key(md5)
                known.add(key)
                data = await self._files.get(key)
                if data is None:
                    problems.append(Problem("I3", f"the replay of score {score_id} is missing", repairable=False))
                elif len(data) != size or hashlib.sha256(data).digest() != sha256:
                    problems.append(Problem("I3", f"the replay of score {score_id} is damaged", repairable=False))
        oldest = self._clock.now_ms() - ORPHAN_MS
        problems += [
            Problem("I3", f"the file {stored.key} belongs to no score", repairable=False)
            async for stored in self._files.keys("replays/")
            if stored.key not in known and stored.modified_ms < oldest
        ]
        after = 0
        while beatmaps := await self._beatmaps.revisions(after):
            after = beatmaps[-1].key
            problems += [
                Problem("I3", f"the .osu file of map {one.id} ({one.md5}) is missing", repairable=False)
                for one in beatmaps
                if await self._files.size(osu_key(one.md5)) is None
            ]
        return problems + await self._pictures_and_archives()

    async def _pictures_and_archives(self) -> list[Problem]:
        """Files that rows name and that are gone. Rows are read first: a file lies there before its row does."""
        # A screenshot's row comes before its file; one whose upload runs is no problem.
        before = self._clock.now_ms() - UPLOAD_MS
        named: dict[str, str] = {}
        after = 0
        while avatars := await self._database.all(_AVATARS, after=after):
            after = avatars[-1][0]
            named |= {key: f"the avatar of user {user_id}" for user_id, key in avatars}
        last = ""
        while pictures := await self._database.all(_SCREENSHOTS, after=last, before=before):
            last = pictures[-1][0]
            named |= {screenshot_key(id_, kind): f"the screenshot {id_}.{kind}" for id_, kind in pictures}
        after = 0
        while archived := await self._database.all(_ARCHIVES, after=after):
            after = archived[-1]
            named |= {archive_key(one): f"the archive of set {one}, which its covers are made of," for one in archived}
        for prefix in ("avatars/", "screenshots/", "osz/"):
            async for stored in self._files.keys(prefix):
                named.pop(stored.key, None)
        return [Problem("I3", f"{what} is missing", repairable=False) for what in named.values()]

    async def _opinions(self) -> list[Problem]:
        return [
            *[
                Problem("I6", f"map {one}: {count} votes are counted, there are {true}", repairable=False)
                for one, count, true in await self._database.all(_VOTES_WRONG)
            ],
            *[
                Problem("I6", f"set {one}: {count} favourites are counted, there are {true}")
                for one, count, true in await self._database.all(_FAVOURITES_WRONG)
            ],
        ]

    async def _clans(self) -> list[Problem]:
        return [
            *[
                Problem("I9", f"clan {one} has no owner", repairable=False)
                for one in await self._database.all(_OWNERLESS)
            ],
            *[
                Problem("I9", f"user {one} is in no clan that exists", repairable=False)
                for one in await self._database.all(_CLANLESS)
            ],
        ]

    async def _books(self) -> list[Problem]:
        problems = []
        counter, true = await self._database.one(_COUNTER), await self._database.one(_USERS)
        if counter != true:
            problems.append(Problem("totals", f"{counter} accounts are counted, there are {true}"))
        stuck = await self._database.one(_STUCK, before=self._clock.now_ms() - STUCK_MS)
        if stuck and await self._is_served():  # without a server they wait for the next one, as they should
            what = f"{stuck} consequences wait in the outbox; the server does not deliver them"
            problems.append(Problem("I8", what, repairable=False))
        problems += [
            Problem("I8", f"{rows} consequences of the kind {kind} were given up after {TRIES_MAX} failed deliveries")
            for kind, rows in await self._database.all(_PARKED)
        ]
        return problems + await self._settled()

    async def _settled(self) -> list[Problem]:
        """What waits to be computed again: a problem only where nothing moves."""
        waiting = await self._settling.waiting()
        before = self._clock.now_ms() - STILL_MS
        problems = [
            Problem("I8", f"the task {one.kind} of {one.subject} has stood still at {one.done} of {one.total}")
            for one in waiting.tasks
            if one.moved_at_ms < before and await self._is_served()
        ]
        if waiting.totals and not waiting.tasks and (waiting.since_ms or 0) < before and await self._is_served():
            problems.append(Problem("I8", f"{waiting.totals} totals wait to be computed again; the server does not"))
        return problems
