"""`kiai doctor`: checks derived data against the rows that it is computed from, and repairs it.

`examine` only reads and can run while a server runs. `repair` rewrites derived rows, but never scores. The keys such as
I1 are those of docs/spec/security.md#consistency.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import ScalarSelect, bindparam, func, literal_column, or_, select, update

from kiai.accounts.visibility import visible
from kiai.beatmaps import Beatmaps, catalogue, osu_key
from kiai.beatmaps.importing import archive_key
from kiai.clock import Clock
from kiai.files.port import Files
from kiai.scores import statements
from kiai.scores.model import Stats, replay_key
from kiai.scores.months import month_text
from kiai.scores.rebuilding import Rebuilder
from kiai.scores.reconciling import Reconciler
from kiai.screenshots import screenshot_key
from kiai.staff import audit
from kiai.staff.audit import OPERATOR
from kiai.staff.backup_folder import BackupFolder
from kiai.storage.outbox import TRIES_MAX, enqueue, retry_parked
from kiai.storage.port import Command, Database, Lane, Query, Transaction, scalar
from kiai.storage.tables import (
    clans,
    counters,
    favourites,
    first_places,
    maps,
    medal_holders,
    medals,
    outbox,
    ratings,
    replays,
    scores,
    screenshots,
    sets,
    users,
)
from kiai.tls.folder import TlsFolder
from kiai.webhooks.queue import parked

USERS_AT_ONCE: Final = 200
LISTED_MAX: Final = 50  # problems per check; the rest is a number
ORPHAN_MS: Final = 86_400_000  # age of a file without a row: a replay is stored before its score
STUCK_MS: Final = 30_000  # age of a row of the outbox; a server delivers within seconds
STUCK_TASK_MS: Final = 600_000  # time without progress of a task
UPLOAD_MS: Final = 60_000  # age of a row without a file: the row of a screenshot is stored before its file


class Problem(msgspec.Struct, frozen=True):
    """A violated invariant."""

    invariant: str
    """Its key, such as `I1`."""
    what: str
    repairable: bool = True
    """Whether `repair` fixes it."""


class Diagnosis(msgspec.Struct):
    """The result of an examination."""

    problems: list[Problem] = msgspec.field(default_factory=list)
    waiting: int = 0
    """Totals, maps and scores that wait to be computed again. They can be the cause of some problems."""
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


_USER_IDS = Query(
    select(users.c.id).where(users.c.id > bindparam("after")).order_by(users.c.id).limit(USERS_AT_ONCE),
    scalar,
    scans="reads every account, one page at a time",
)
_EVERY_ROW: Final = "a check reads every row once"
# Lane.JOB: these statements read whole tables and must not occupy the connections of requests.
_USERS = Query(select(func.count()).select_from(users).where(users.c.id != 1), scalar, lane=Lane.JOB, scans=_EVERY_ROW)
_COUNTER = Query(select(counters.c.value).where(counters.c.name == "users"), scalar)
_FLAGS_WRONG = Query(statements.checking.WRONG_FLAGS, lambda id_: id_, lane=Lane.JOB)
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
_PROFILE_PICTURES = Query(
    select(users.c.id, users.c.avatar, users.c.cover)
    .where(users.c.id > bindparam("after"), or_(users.c.avatar.is_not(None), users.c.cover.is_not(None)))
    .order_by(users.c.id)
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_CLAN_ICONS = Query(
    select(clans.c.id, clans.c.icon)
    .where(clans.c.id > bindparam("after"), clans.c.icon.is_not(None))
    .order_by(clans.c.id)
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
    scalar,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
# Votes of restricted players have a row but are not counted, so only a counter above the rows is wrong.
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
_holders: ScalarSelect[int] = (
    select(func.count())
    .select_from(medals.join(users, users.c.id == medals.c.user_id))
    .where(medals.c.medal_id == medal_holders.c.medal_id, visible())
    .scalar_subquery()
)
_HOLDERS_WRONG = Query(
    select(medal_holders.c.medal_id, medal_holders.c.holders, _holders)
    .where(medal_holders.c.holders != _holders)
    .limit(1_000),
    lambda *row: row,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_RECOUNT_HOLDERS = Command(update(medal_holders).values(holders=_holders), scans=_EVERY_ROW)
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
_RECOUNT_FAVOURITES = Command(
    update(sets).values(
        favourites=select(func.count())
        .select_from(favourites)
        .where(favourites.c.set_id == sets.c.id)
        .scalar_subquery()
    ),
    scans="recounts every set",
)
# Scores carry a copy of the player's country, so that the index of a country board needs no join.
_WRONG_COUNTRY = Query(
    select(scores.c.id)
    .select_from(scores.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.country != users.c.country)
    .order_by(scores.c.id)
    .limit(1_000),
    scalar,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_UNDELIVERED = Query(
    select(func.count())
    .select_from(outbox)
    .where(outbox.c.at_ms < bindparam("before"), outbox.c.tries == literal_column("0")),
    scalar,
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
    scalar,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)
_CLANLESS = Query(
    select(users.c.id)
    .select_from(users.outerjoin(clans, clans.c.id == users.c.clan_id))
    .where(users.c.clan_id > 0, clans.c.id.is_(None)),
    scalar,
    lane=Lane.JOB,
    scans=_EVERY_ROW,
)


class Doctor:
    """Finds violated invariants and repairs derived rows."""

    def __init__(
        self,
        database: Database,
        files: Files,
        beatmaps: Beatmaps,
        rebuilder: Rebuilder,
        reconciler: Reconciler,
        clock: Clock,
        is_served: Callable[[], Awaitable[bool]],
        data: Path,
        backup_folder: BackupFolder | None = None,
    ) -> None:
        self._backup_folder = backup_folder
        self._database = database
        self._files = files
        self._beatmaps = beatmaps
        self._rebuilder = rebuilder
        self._reconciler = reconciler
        self._clock = clock
        self._is_served = is_served
        self._tls = TlsFolder(data)

    async def examine(self, progress: Callable[[str], None] = lambda step: None) -> Diagnosis:
        """Run all checks. Raises Damaged if the database cannot be read."""
        diagnosis = Diagnosis()
        # The check of the database file comes first: in a damaged one the other checks could report nonsense.
        for step, check in (
            ("database", self._database_faults),
            ("stats", self._stats),
            ("best flags", self._flags),
            ("map counters and first places", self._maps),
            ("most played counters", self._play_counts),
            ("files", self._stored_files),
            ("votes and favourites", self._votes_and_favourites),
            ("medals", self._medals),
            ("catalogue", self._catalogue),
            ("clans", self._clans),
            ("counters and outbox", self._counters_and_outbox),
            ("audit log", self._audit_log),
            ("certificate", self._certificate),
            ("backups", self._backups),
        ):
            progress(step)
            problems = await check()
            diagnosis.problems += problems[:LISTED_MAX]
            if len(problems) > LISTED_MAX:
                diagnosis.problems.append(
                    Problem(problems[0].invariant, f"and {len(problems) - LISTED_MAX} more like these")
                )
        diagnosis.waiting = (await self._reconciler.pending()).left
        return diagnosis

    async def repair(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Rewrite every derived row from the scores, and the counter of accounts. Writes an audit row.

        Finishes pending tasks first, and retries parked rows of the outbox.
        """
        # Pending tasks would change derived rows behind the rebuilder.
        await self._reconciler.finish()
        await self._rebuilder.everything(progress)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await enqueue(tx, "ranks_all", 0, now)
            await retry_parked(tx)
            await tx.run(_RECOUNT_FAVOURITES)
            await tx.run(_RECOUNT_HOLDERS)
            await tx.run(statements.checking.SET_USER_COUNTER, value=await tx.one(_USERS))
            await audit.write(tx, OPERATOR, "doctor_repair", at_ms=now, target_kind="server", target_id=0)

        await self._database.transaction(body)
        # After the recount of favourites, and after the plays of maps.
        await catalogue.rebuild(self._database, now)

    async def _database_faults(self) -> list[Problem]:
        return [Problem("I10", fault, repairable=False) for fault in await self._database.faults()]

    async def _audit_log(self) -> list[Problem]:
        return [Problem("I14", what, repairable=False) for what in await audit.broken_links(self._database)]

    async def _certificate(self) -> list[Problem]:
        if self._tls.state() is None:
            return []
        from kiai.tls.status import find_faults  # it takes 16 MB, and many servers have no certificate

        return [Problem("I15", fault, repairable=False) for fault in find_faults(self._tls, self._clock.now_ms())]

    async def _backups(self) -> list[Problem]:
        fault = None if self._backup_folder is None else await self._backup_folder.fault()
        return [] if fault is None else [Problem("I16", fault, repairable=False)]

    async def _ranges(self) -> AsyncIterator[tuple[int, int]]:
        """Yield the first and last id of ranges of 200 accounts that together cover every account."""
        # The ranges have no gaps between them, so rows of ids without an account are checked, too.
        after = 0
        while ids := await self._database.all(_USER_IDS, after=after):
            yield after + 1, ids[-1]
            after = ids[-1]

    async def _stats(self) -> list[Problem]:
        problems = []
        async for first, last in self._ranges():
            stored = {
                (stats.user_id, stats.mode): stats
                for stats in await self._database.all(statements.rebuilding.STATS_BETWEEN, first=first, last=last)
            }
            computed = {
                (stats.user_id, stats.mode): stats
                for stats in await self._rebuilder.recount(self._database, first, last)
            }
            for key in sorted(stored.keys() | computed.keys()):
                actual, expected = stored.get(key), computed.get(key)
                if actual == expected:
                    continue
                wrong = [
                    f"{name} is {getattr(actual, name, None)}, the scores give {getattr(expected, name, None)}"
                    for name in Stats.__struct_fields__
                    if getattr(actual, name, None) != getattr(expected, name, None)
                ]
                problems.append(Problem("I1", f"user {key[0]} mode {key[1]}: {'; '.join(wrong)}"))
        return problems

    async def _flags(self) -> list[Problem]:
        wrong: list[int] = []
        async for first, last in self._ranges():
            wrong += await self._database.all(_FLAGS_WRONG, first=first, last=last)
        problems = [Problem("I2", f"score {score_id} has wrong best flags") for score_id in sorted(wrong)]
        abroad = await self._database.all(_WRONG_COUNTRY)
        return problems + [Problem("I2", f"score {score_id} is on another country's boards") for score_id in abroad]

    async def _maps(self) -> list[Problem]:
        counted = {
            key: (plays, passes)
            for key, plays, passes in await self._database.all(
                statements.rebuilding.MAP_COUNTERS, first=0, last=2**31 - 1
            )
        }
        problems = [
            Problem(
                "I6", f"map {map_id}: {plays} plays and {passes} passes, the scores give {counted.get(key, (0, 0))}"
            )
            for key, map_id, plays, passes in await self._database.all(_MAP_COUNTERS)
            if (plays, passes) != counted.get(key, (0, 0))
        ]
        stored = dict(await self._database.all(_FIRST_PLACES))
        computed = {
            (key, mode): score
            for key, mode, score in await self._database.all(
                statements.checking.TRUE_FIRST_PLACES, first=0, last=2**31 - 1
            )
        }
        problems += [
            Problem(
                "I5",
                f"map key {key} mode {mode}: the first place is {stored.get((key, mode))}, "
                f"the board gives {computed.get((key, mode))}",
            )
            for key, mode in sorted(stored.keys() | computed.keys())
            if stored.get((key, mode)) != computed.get((key, mode))
        ]
        return problems

    async def _play_counts(self) -> list[Problem]:
        wrong = set()
        async for first, last in self._ranges():
            for query in (statements.checking.PLAY_COUNTS_MISSING, statements.checking.PLAY_COUNTS_INVENTED):
                wrong |= {row[:3] for row in await self._database.all(query, first=first, last=last)}
        return await self._months() + [
            Problem("I6", f"user {user_id} mode {mode} map key {key}: the most played counter is wrong")
            for user_id, mode, key in sorted(wrong)
        ]

    async def _months(self) -> list[Problem]:
        problems = []
        async for first, last in self._ranges():
            computed = await self._rebuilder.count_months(self._database, first, last)
            stored = {
                (user_id, mode, month): plays
                for user_id, mode, month, plays in await self._database.all(
                    statements.rebuilding.MONTHS_BETWEEN, first=first, last=last
                )
            }
            problems += [
                Problem("I6", f"user {key[0]} mode {key[1]}: the plays of {month_text(key[2])} are wrong")
                for key in sorted(stored.keys() | computed.keys())
                if stored.get(key, 0) != computed.get(key, 0)
            ]
        return problems

    async def _stored_files(self) -> list[Problem]:
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
        """Return the missing files of avatars, covers, icons, screenshots and archives."""
        # The rows are read before the files, because a file is stored before its row. A screenshot is the exception;
        # rows whose upload may still be running are skipped.
        before = self._clock.now_ms() - UPLOAD_MS
        named: dict[str, str] = {}
        after = 0
        while pictures := await self._database.all(_PROFILE_PICTURES, after=after):
            after = pictures[-1][0]
            named |= {key: f"the avatar of user {user_id}" for user_id, key, _ in pictures if key is not None}
            named |= {key: f"the cover of user {user_id}" for user_id, _, key in pictures if key is not None}
        after = 0
        while icons := await self._database.all(_CLAN_ICONS, after=after):
            after = icons[-1][0]
            named |= {key: f"the icon of clan {clan_id}" for clan_id, key in icons}
        last = ""
        while shots := await self._database.all(_SCREENSHOTS, after=last, before=before):
            last = shots[-1][0]
            named |= {screenshot_key(id_, kind): f"the screenshot {id_}.{kind}" for id_, kind in shots}
        after = 0
        while archived := await self._database.all(_ARCHIVES, after=after):
            after = archived[-1]
            named |= {
                archive_key(set_id): f"the archive of set {set_id}, the source of its covers," for set_id in archived
            }
        # One listing per folder instead of a request per file, which would take hours on S3.
        for prefix in ("avatars/", "covers/", "clan-icons/", "screenshots/", "osz/"):
            async for stored in self._files.keys(prefix):
                named.pop(stored.key, None)
        return [Problem("I3", f"{what} is missing", repairable=False) for what in named.values()]

    async def _votes_and_favourites(self) -> list[Problem]:
        return [
            *[
                Problem("I6", f"map {map_id}: the counter of votes is {count}, the rows give {rows}", repairable=False)
                for map_id, count, rows in await self._database.all(_VOTES_WRONG)
            ],
            *[
                Problem("I6", f"set {set_id}: the counter of favourites is {count}, the rows give {rows}")
                for set_id, count, rows in await self._database.all(_FAVOURITES_WRONG)
            ],
        ]

    async def _medals(self) -> list[Problem]:
        return [
            Problem("I6", f"medal {medal_id}: the counter of players is {count}, the rows give {rows}")
            for medal_id, count, rows in await self._database.all(_HOLDERS_WRONG)
        ]

    async def _catalogue(self) -> list[Problem]:
        return [
            Problem("I6", f"set {set_id}: its row in the catalogue differs from its maps")
            for set_id in await catalogue.wrong_sets(self._database)
        ]

    async def _clans(self) -> list[Problem]:
        return [
            *[
                Problem("I9", f"clan {clan_id} has no owner", repairable=False)
                for clan_id in await self._database.all(_OWNERLESS)
            ],
            *[
                Problem("I9", f"the clan of user {user_id} does not exist", repairable=False)
                for user_id in await self._database.all(_CLANLESS)
            ],
        ]

    async def _counters_and_outbox(self) -> list[Problem]:
        problems = []
        counter, rows = await self._database.one(_COUNTER), await self._database.one(_USERS)
        if counter != rows:
            problems.append(Problem("totals", f"the counter of accounts is {counter}, the rows give {rows}"))
        stuck = await self._database.one(_UNDELIVERED, before=self._clock.now_ms() - STUCK_MS)
        if stuck and await self._is_served():  # while no server runs, nobody delivers the rows, which is correct
            what = f"{stuck} rows wait in the outbox; the server does not deliver them"
            problems.append(Problem("I8", what, repairable=False))
        problems += [
            Problem("I8", f"{parked} rows of the kind {kind} are parked after {TRIES_MAX} failed deliveries")
            for kind, parked in await self._database.all(_PARKED)
        ]
        problems += [
            Problem("I8", f"webhook {id_} is parked after {failures} failed tries: {error}", repairable=False)
            for id_, failures, error in await parked(self._database)
        ]
        return problems + await self._stuck_tasks()

    async def _stuck_tasks(self) -> list[Problem]:
        """Return the tasks and totals that make no progress although a server runs."""
        waiting = await self._reconciler.pending()
        before = self._clock.now_ms() - STUCK_TASK_MS
        problems = [
            Problem("I8", f"the task {task.kind} of {task.subject} makes no progress at {task.done} of {task.total}")
            for task in waiting.tasks
            if task.moved_at_ms < before and await self._is_served()
        ]
        if waiting.totals and not waiting.tasks and (waiting.since_ms or 0) < before and await self._is_served():
            problems.append(Problem("I8", f"{waiting.totals} totals wait to be computed again; the server does not"))
        return problems
