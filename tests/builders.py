"""Test data: players, maps and plays with defaults, and a world with every domain service.

A test passes only the values that matter to it (`a_play(by=alice, on=song, misses=3)`). `World` connects the real
services to a database, with a fixed clock and a simple pp formula, so that domain tests are fast and exact.
"""

import hashlib
import itertools
import lzma
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec
from sqlalchemy import select

from kiai.accounts import Accounts, ApiKeys, Passwords, Relationships, User, Viewer
from kiai.accounts.web_sessions import WebSessions
from kiai.beatmaps import Beatmap, Beatmaps, Importer, MapStatus, osu_key
from kiai.clock import ManualClock
from kiai.files.store import FileStore
from kiai.ids import SequenceIds
from kiai.osu.accuracy import HitCounts, accuracy
from kiai.osu.beatmap_file import parse_beatmap
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.privileges import Privilege
from kiai.osu.replay_checksum import replay_md5
from kiai.osu.replay_file import ReplayFile, write_replay
from kiai.realtime.memory import MemoryRealtime
from kiai.scores import calculator
from kiai.scores.boards import Boards
from kiai.scores.feed import ScoreFeed
from kiai.scores.flags import Flags
from kiai.scores.hiding import MAP_WIPE, USER_WIPE, Hiding
from kiai.scores.lookup import ScoreLookup
from kiai.scores.model import Play, Recorded, Stats, StoredReplay, replay_key
from kiai.scores.performance import CannotCalculate, Performance
from kiai.scores.profiles import Profiles
from kiai.scores.rankings import Rankings
from kiai.scores.ranks import Ranks
from kiai.scores.rebuilding import Rebuilder
from kiai.scores.reconciling import Reconciler
from kiai.scores.recording import Recorder, TotalsOptions
from kiai.scores.replay_import import ReplayImport
from kiai.scores.replays import Replays
from kiai.scores.showcase import Showcase
from kiai.scores.visibility_changes import Standing
from kiai.staff import Staff
from kiai.staff.audit import ABOUT, AuditRow
from kiai.staff.authority import Authority
from kiai.staff.doctor import Doctor
from kiai.staff.restrictions import Restrictions
from kiai.staff.timed_ends import TimedEnds
from kiai.staff.wipes import Wipes
from kiai.storage.outbox import Outbox
from kiai.storage.port import Command, Database, Query, Transaction
from kiai.storage.tables import scores

T = TypeVar("T")

NORMAL: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
SUPPORTER: Final = NORMAL | int(Privilege.SUPPORTER)
DEVELOPER: Final = NORMAL | int(Privilege.DEVELOPER)
ALL_SEEING: Final = Viewer(priv=int(Privilege.DEVELOPER))
NOW_MS: Final = 1_700_000_000_000
PASSWORD: Final = "correct horse 7"

_serial = itertools.count(1)


class NewPlayer(msgspec.Struct, frozen=True):
    """Valid input for a registration."""

    name: str
    email: str
    country: str
    priv: int
    password: str | None


def a_player(
    name: str = "alice",
    *,
    email: str | None = None,
    country: str = "nl",
    priv: int = NORMAL,
    password: str | None = None,
) -> NewPlayer:
    """A player. Without a password it cannot log in: hashing one is slow on purpose."""
    return NewPlayer(name, email or f"{name.replace(' ', '.')}@example.org", country, priv, password)


class NewMap(msgspec.Struct, frozen=True):
    """An .osu file in memory."""

    id: int
    data: bytes

    @property
    def md5(self) -> str:
        """The md5 that the game uses for the file."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


def a_map(
    id: int = 1,  # noqa: A002
    *,
    set_id: int | None = None,
    objects: int = 100,
    mode: int = 0,
    title: str = "Song",
    version: str = "Normal",
) -> NewMap:
    """A map of circles, one each half second. Ids of 0 are left out of the file."""
    lines = [
        "osu file format v14",
        "[General]",
        "AudioFilename: audio.mp3",
        f"Mode: {mode}",
        "[Metadata]",
        f"Title:{title}",
        "Artist:Artist",
        "Creator:Mapper",
        f"Version:{version}",
        *([f"BeatmapID:{id}"] if id else []),
        *([f"BeatmapSetID:{id if set_id is None else set_id}"] if (id if set_id is None else set_id) else []),
        "[Difficulty]",
        "HPDrainRate:5",
        "CircleSize:4",
        "OverallDifficulty:8",
        "ApproachRate:9",
        "SliderMultiplier:1.4",
        "SliderTickRate:1",
        "[TimingPoints]",
        "0,500,4,1,0,100,1,0",
        "[HitObjects]",
        *[f"256,192,{1000 + 500 * n},1,0,0:0:0:0:" for n in range(objects)],
    ]
    return NewMap(id, "\r\n".join(lines).encode())


def a_play(
    *,
    by: int,
    on: Beatmap,
    score: int = 100_000,
    pp: float = 50.0,
    mods: int = 0,
    misses: int = 0,
    n100: int = 0,
    counts: HitCounts | None = None,
    combo: int | None = None,
    passed: bool = True,
    acc: float | None = None,
    grade_: str | None = None,
    seconds: float = 100,
    at_ms: int = NOW_MS,
    checksum: bytes | None = None,
    replay: StoredReplay | None = None,
) -> Play:
    """A play of `on.objects` judgements: `n100`, `misses` and 300s. Each call returns a different play."""
    counts = counts or HitCounts(on.objects - n100 - misses, n100, 0, 0, 0, misses)
    return Play(
        user_id=by,
        beatmap=on,
        mode=mode_of(on.mode, mods),
        mods=mods,
        counts=counts,
        score=score,
        max_combo=on.max_combo if combo is None else combo,
        acc=accuracy(counts, on.mode, mods) if acc is None else acc,
        pp=pp if passed else 0.0,
        grade=grade_ or grade(counts, on.mode, mods, passed=passed),
        passed=passed,
        perfect=False,
        play_time_ms=at_ms,
        time_elapsed=round(seconds * 1000),
        checksum=checksum or hashlib.md5(b"%d" % next(_serial), usedforsecurity=False).digest(),
        calculator=1,
        replay=replay,
    )


def frames(seed: int = 1, count: int = 40) -> bytes:
    """An LZMA stream of valid frames, different for each seed."""
    text = ",".join(f"{16 + n % 3}|{seed % 500}.5|{n}.25|{n % 2}" for n in range(count))
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    return lzma.compress(f"{text},-12345|0|0|{seed},".encode(), lzma.FORMAT_ALONE, filters=filters)


def a_stored_replay(stream: bytes) -> StoredReplay:
    """The replay columns of a score with these frames."""
    return StoredReplay(
        md5=hashlib.md5(stream, usedforsecurity=False).digest(),
        sha256=hashlib.sha256(stream).digest(),
        size=len(stream),
    )


def a_replay(
    *,
    of: Beatmap,
    player: str = "alice",
    mode: int = 0,
    mods: int = 0,
    counts: HitCounts | None = None,
    score: int = 900_000,
    combo: int | None = None,
    stream: bytes | None = None,
    seed: int = 1,
    at_ms: int = NOW_MS - 86_400_000,
) -> ReplayFile:
    """A replay as the game writes it, with the right checksum."""
    counts = counts or HitCounts(of.objects - 2, 2, 0, 10, 1, 0)
    unsigned = ReplayFile(
        mode=mode,
        game_version=20240101,
        beatmap_md5=of.md5,
        player_name=player,
        replay_md5="",
        counts=counts,
        score=score,
        max_combo=of.max_combo if combo is None else combo,
        perfect=False,
        mods=mods,
        life_bar="0|1,1000|0.5",
        played_at_ms=at_ms,
        frames=frames(seed) if stream is None else stream,
        score_id=0,
        target_accuracy=None,
    )
    letter = grade(counts, mode, mods, passed=True)
    return msgspec.structs.replace(unsigned, replay_md5=replay_md5(unsigned, letter))


class FakePerformance:
    """Stars and pp by simple formulas. `cannot` has the md5s of maps that raise an error."""

    calculator_id: Final = 7

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self.cannot: set[str] = set()

    async def rate(self, md5: str, mode: int) -> tuple[float, int]:
        """One star for every hundred objects. The maximum combo is the number of objects."""
        if md5 in self.cannot:
            raise CannotCalculate("the fake was told so")
        objects = parse_beatmap(await self._files.get(osu_key(md5)) or b"").objects
        return objects / 100, objects

    async def plays(
        self, md5: str, mode: int, plays: list[calculator.CalculatorPlay], *, caller: str = ""
    ) -> list["FakeResult"]:
        """See `pp_of`."""
        if md5 in self.cannot:
            raise CannotCalculate("the fake was told so")
        return [FakeResult(pp_of(p.n300 or 0, p.n100 or 0)) for p in plays]


class FakeResult(msgspec.Struct, frozen=True):
    """The fields of a calculation that recording and the bot read."""

    pp: float
    stars: float = 1.0


class FakeDifficulties:
    """The same stars for every map, or an error."""

    def __init__(self, stars: float | None = 1.5) -> None:
        self.stars = stars

    async def of(self, map_key: int, md5: str, mode: int, mods: int) -> "FakeDifficulties":
        """Return something with stars."""
        if self.stars is None:
            raise CannotCalculate("the fake was told so")
        return self


def pp_of(n300: int, n100: int) -> float:
    """The pp that `FakePerformance` computes."""
    return n300 * 0.5 + n100 * 0.25


_ALL_SCORES: Final = Query(select(scores).order_by(scores.c.id), lambda *row: row)


class Run(Protocol):
    """Runs a coroutine until it ends."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Return its result."""
        ...


async def _served() -> bool:
    """Tells the doctor that a server is running."""
    return True


class World:
    """Every domain service, on one database and one folder. `run` runs a coroutine until it ends."""

    def __init__(self, database: Database, run: Run, folder: Path, rules: TotalsOptions | None = None) -> None:
        rules = rules or TotalsOptions()
        self.database = database
        self.run = run
        self.folder = folder
        self.clock = ManualClock(NOW_MS)
        self.files = FileStore.local(folder / "files")
        self.passwords = Passwords(threads=1)
        self.accounts = Accounts(database, self.passwords, self.clock)
        self.api_keys = ApiKeys(database, self.clock, SequenceIds())
        self.relationships = Relationships(database, self.clock)
        self.performance = FakePerformance(self.files)
        self.importer = Importer(database, self.files, self.performance, self.clock)
        self.beatmaps = Beatmaps(database, self.files, None)
        self.recorder = Recorder(database, self.beatmaps, self.clock, rules, Flags(database, self.clock))
        self.rebuilder = Rebuilder(database, rules)
        self.boards = Boards(database)
        self.profiles = Profiles(database)
        self.rankings = Rankings(database)
        self.score_lookup = ScoreLookup(database)
        self.realtime = MemoryRealtime(self.clock)
        self.outbox = Outbox(database, self.clock)
        self.ranks = Ranks(database, self.realtime, self.outbox)
        self.showcase = Showcase(database, self.realtime, self.clock, self.outbox)
        self.score_feed = ScoreFeed(self.score_lookup, self.beatmaps, self.realtime, self.clock, self.outbox)
        self.standing = Standing(self.clock)
        self.reconciler = Reconciler(database, rules, self.clock)
        self.hiding = Hiding(database, self.clock)
        self.reconciler.include(USER_WIPE, self.hiding.user_step)
        self.reconciler.include(MAP_WIPE, self.hiding.map_step)
        self.replays = Replays(database, self.files, self.score_lookup, self.realtime, self.clock)
        self.replay_import = ReplayImport(
            self.files,
            self.accounts,
            self.beatmaps,
            cast(Performance, self.performance),
            self.recorder,
            self.clock,
        )
        self.authority = Authority(database, self.accounts, self.clock)
        self.staff = Staff(database, self.accounts, self.authority, self.beatmaps, self.standing, self.clock)
        web_sessions = WebSessions(database, self.clock, SequenceIds())
        self.restrictions = Restrictions(self.accounts, self.authority, self.standing, web_sessions, self.clock)
        self.timed_ends = TimedEnds(database, self.accounts, self.standing, self.clock)
        self.wipes = Wipes(self.authority, self.hiding, self.restrictions, self.clock)
        self.doctor = Doctor(
            database, self.files, self.beatmaps, self.rebuilder, self.reconciler, self.clock, _served, self.folder
        )

    def with_rules(self, rules: TotalsOptions) -> "World":
        """Return a world on the same database with other rules."""
        return World(self.database, self.run, self.folder, rules)

    def add_player(self, player: NewPlayer) -> int:
        """Register a player; return the id of the account."""
        return self.run(
            self.accounts.register(
                name=player.name,
                email=player.email,
                password=player.password,
                country=player.country,
                priv=player.priv,
            )
        )

    def add_map(self, new: NewMap, status: MapStatus = MapStatus.RANKED) -> Beatmap:
        """Import a map; return the stored map."""
        report = self.run(self.importer.import_file(new.data, name="map.osu", status=status))
        assert not report.skipped, report.skipped
        return self.map(new.md5)

    def map(self, md5: str) -> Beatmap:
        """Return the current row of a revision."""
        return self.run(self.beatmaps.find(md5=md5))

    def user(self, user_id: int) -> User:
        """Return an account, also a hidden one."""
        return self.run(self.accounts.user(ALL_SEEING, id=user_id))

    def record(self, play: Play) -> Recorded:
        """Record a play."""
        return self.run(self.recorder.record(play))

    def reconcile(self) -> None:
        """Run the tasks that follow a change of a status, a restriction or a country."""
        self.run(self.reconciler.finish())

    def put_replay(self, stream: bytes) -> StoredReplay:
        """Store frames as the submission does before it records the play."""
        stored = a_stored_replay(stream)
        self.run(self.files.put(replay_key(stored.md5), stream))
        return stored

    def put_osr(self, replay: ReplayFile, name: str = "replay.osr") -> Path:
        """Write an .osr file into the folder of the world."""
        path = self.folder / name
        path.write_bytes(write_replay(replay))
        return path

    def stats(self, user_id: int, mode: int = 0) -> Stats:
        """Return a profile."""
        found = self.run(self.profiles.stats_in(user_id, mode))
        assert found is not None, f"user {user_id} never played mode {mode}"
        return found

    def board(self, beatmap: Beatmap, mode: int = 0) -> list[int]:
        """Return the ids of the scores on the board of a map, best first."""
        rows = self.run(self.boards.best_on(beatmap.key, mode, limit=100))
        return [row.score.id for row in rows]

    def problems(self) -> list[str]:
        """Return the findings of the doctor, one line each."""
        found = self.run(self.doctor.examine())
        return [f"{problem.invariant}: {problem.what}" for problem in found.problems]

    def score_rows(self) -> list[tuple[Any, ...]]:
        """Return every row of `scores`."""
        return self.run(self.database.all(_ALL_SCORES))

    def audit(self, target_id: int, kind: str = "user") -> list[AuditRow]:
        """Return the entries of the audit log about a target, newest first."""
        return self.run(self.database.all(ABOUT, kind=kind, target_id=target_id))

    def change(self, statement: Any, **params: Any) -> int:
        """Write to the database directly, e.g. to damage rows."""
        command = Command(statement)

        async def body(tx: Transaction) -> int:
            return await tx.run(command, **params)

        return self.run(self.database.transaction(body))

    def look(self, statement: Any, **params: Any) -> list[tuple[Any, ...]]:
        """Return rows of the database."""
        query = Query(statement, lambda *row: row)
        return self.run(self.database.all(query, **params))
