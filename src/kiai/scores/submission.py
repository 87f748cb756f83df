"""Submission: checks a play that the game sends and stores it as a score (docs/spec/submission.md).

    stored already? -> the same answer
    mods and mode -> map -> checksum -> plausibility -> ranks before the play -> replay -> pp
    -> replay file -> one transaction (recording.py) -> ranks after the play -> chart

Impossible plays are refused with `error: no` and flagged for staff; suspicious ones are stored with a flag. A failure
of the server raises `Unavailable`, and the client sends the same bytes again, up to ten times. No score is lost: the
replay is stored before the transaction, and everything after the transaction can be computed again.

A repeated submission gets the same answer. The chart is stored with the score, in the same transaction, without the
ranks after the play, which are not known before the commit. A job writes them later; if that write is lost, they are
computed again.
"""

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from kiai.accounts import User
from kiai.beatmaps import Beatmap, Beatmaps, osu_key
from kiai.callers import CALLER, SERVER
from kiai.clock import Clock
from kiai.decoding.decoder import Decoder
from kiai.errors import KiaiError, NotFound, Unavailable
from kiai.failpoints import Reach
from kiai.files.port import Files
from kiai.logs import Outage
from kiai.networks import is_loopback
from kiai.osu.accuracy import HitCounts, accuracy, judged
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import AP, NF, RX, clock_rate, refused_mods, unranked_mods
from kiai.osu.replay_file import BadReplay
from kiai.presence import drained
from kiai.realtime.port import Rank, Realtime, Session
from kiai.realtime.rate_limiter import RateLimiter
from kiai.scores import statements
from kiai.scores.boards import BoardKind, BoardRequest, Boards
from kiai.scores.flags import Flags, Suspicion, suspicious_length
from kiai.scores.model import Chart, Play, RanksBefore, Recorded, StoredReplay, replay_key
from kiai.scores.performance import CannotCalculate, Performance, calculator_play, stored_pp
from kiai.scores.ranks import Ranks
from kiai.scores.recording import AlreadyRecorded, Recorder
from kiai.scores.rules import has_board, sorts_by_pp
from kiai.server_settings import Settings
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Database, Read, Transaction, Value

PER_MINUTE: Final = 30  # plays of one player; a player who restarts a map each time submits fewer
BURST: Final = 10
FLAGS_PER_HOUR: Final = 60  # of one player, for plays that are not stored
UNKNOWN_MAPS_PER_MINUTE: Final = 20  # of one player; each may cause a request to upstream
PP_TRIES: Final = 2  # answered "try again"; the third submission of a play is stored without pp
PP_TRIES_IN_S: Final = 3_600.0
WAITING_MAX: Final = 10  # submissions of one player that wait for the one before
SLACK_S: Final = 60  # pauses and loading, on top of the length of the map
UNKNOWN_LENGTH_S: Final = 3_600  # longest play on a map whose length is not stored
CLIENT_TIME_MAX_MS: Final = 3_600_000  # an older time of the client is not trusted
CHART_AGE_MAX_MS: Final = 86_400_000
NO_CALCULATOR: Final = 0  # never the id of a calculator, so `kiai recalc` computes these scores
PENDING_MAX: Final = 10_000  # charts that wait to be written
NO: Final = "no"
GAME: Final = "osu!"
"""The user agent of the game. Any other one belongs to another client."""


class Submission(msgspec.Struct, frozen=True):
    """A play as the game submits it.

    Times are in ms. `grade` was computed by the client. `client_time` is the text of the form, because the checksum
    covers it. `unique_ids` are the ids of the installation and of the disk, not hashed. `replay` is empty if the form
    has none.
    """

    beatmap_md5: str
    player_name: str
    checksum: bytes
    counts: HitCounts
    score: int
    max_combo: int
    perfect: bool
    grade: str
    mods: int
    passed: bool
    mode: int
    client_time: str
    version: str
    client_flags: int
    password_md5: str
    client_hash: str
    storyboard_md5: str
    beatmap_on_disk: str
    unique_ids: tuple[str, str]
    quit: bool
    fail_time_ms: int
    play_time_ms: int
    replay: bytes
    image_sent: bool = False
    user_agent: str = GAME


class NotNow(Unavailable):
    """The player has no session or submits too much. The game retries later, so nothing is lost."""


class Rejected(KiaiError):
    """The answer to the play is `error: {word}` (docs/spec/submission.md#error-words).

    A failed play that was stored is also answered with `no`.
    """

    def __init__(self, word: str) -> None:
        super().__init__(f"error: {word}")
        self.word = word


class SubmissionOptions(msgspec.Struct, frozen=True):
    """The operator's choices. `pp_cap` 0 means no cap, `oldest_build` 0 accepts every version.

    `limited` False switches rate limits off, for load tests.
    """

    require_online: bool = True
    wrong_checksum: str = "reject"
    pp_cap: int = 0
    oldest_build: int = 0
    limited: bool = True


def submission_options(settings: Settings) -> SubmissionOptions:
    """Return the operator's choices in the settings."""
    return SubmissionOptions(
        require_online=settings.submission_online,
        wrong_checksum=settings.submission_checksum,
        pp_cap=settings.pp_cap,
        oldest_build=settings.oldest_build,
        limited=settings.rate_limits,
    )


def submission_checksum(sent: Submission, player_name: str) -> bytes:
    """Return the checksum that an honest client sends for this play by a player of this name.

    See docs/spec/submission.md#checksum.
    """
    counts = sent.counts
    text = (
        f"chickenmcnuggets{counts.n100 + counts.n300}o15{counts.n50}{counts.ngeki}smustard{counts.nkatu}{counts.nmiss}"
        f"uu{sent.beatmap_md5}{sent.max_combo}{sent.perfect}{player_name}{sent.score}{sent.grade}{sent.mods}Q"
        f"{sent.passed}{sent.mode}{sent.version}{sent.client_time}{sent.client_hash}{sent.storyboard_md5}"
    )
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


class RejectedPlay(KiaiError):
    """A play that an honest client does not send. `suspicion` is flagged for staff, None only refuses the play."""

    def __init__(self, suspicion: Suspicion | None) -> None:
        super().__init__("impossible" if suspicion is None else f"{suspicion.kind}: {suspicion.details}")
        self.suspicion = suspicion


def check_mods(sent: Submission) -> None:
    """Raise RejectedPlay for mods that are impossible or unranked (docs/spec/submission.md#mods-and-modes)."""
    if (why := refused_mods(sent.mods, sent.mode)) is not None:
        raise RejectedPlay(Suspicion("mods", why))
    if unranked_mods(sent.mods):
        raise RejectedPlay(None)


def check_play(sent: Submission, beatmap: Beatmap) -> list[Suspicion]:
    """Return the suspicious properties of a play on this map. Raise RejectedPlay for an impossible play.

    See docs/spec/submission.md#plausibility.
    """
    hits = judged(sent.counts, sent.mode)
    if beatmap.mode not in (0, sent.mode):
        raise RejectedPlay(None)
    if sent.passed and (hits == 0 or sent.score == 0 or sent.max_combo == 0 or sent.grade in ("F", "N")):
        raise RejectedPlay(Suspicion("empty pass", f"{hits} judgements, score {sent.score}, grade {sent.grade}"))
    if not sent.passed and sent.grade != "F":
        raise RejectedPlay(Suspicion("grade", f"{sent.grade} for a fail"))
    suspicions = []
    # Only in osu! does the number of judgements equal the number of objects that `beatmap.objects` counts.
    if sent.mode == 0:
        if hits > beatmap.objects:
            raise RejectedPlay(Suspicion("counts", f"{hits} judgements on {beatmap.objects} objects"))
        if sent.passed and hits < beatmap.objects:
            suspicions.append(Suspicion("counts", f"passed with {hits} of {beatmap.objects} objects"))
        if sent.max_combo > beatmap.max_combo:
            suspicions.append(Suspicion("combo", f"{sent.max_combo} on a map of {beatmap.max_combo}"))
    elif sent.perfect and beatmap.mode == sent.mode and sent.max_combo < beatmap.max_combo:
        suspicions.append(Suspicion("combo", f"perfect with {sent.max_combo} of {beatmap.max_combo}"))
    computed = grade(sent.counts, sent.mode, sent.mods, passed=sent.passed)
    if computed != sent.grade:
        suspicions.append(Suspicion("grade", f"{sent.grade} sent, {computed} by the counts"))
    if sent.perfect and sent.counts.nmiss:
        suspicions.append(Suspicion("combo", f"perfect with {sent.counts.nmiss} misses"))
    if sent.mods & (RX | AP) and sent.mods & NF:
        suspicions.append(Suspicion("mods", "No Fail with Relax or Autopilot"))
    if sent.client_flags:
        suspicions.append(Suspicion("client flags", str(sent.client_flags)))
    if sent.image_sent:
        suspicions.append(Suspicion("flashlight image", "the client sent a picture"))
    return suspicions


def check_client(sent: Submission, sessions: list[Session]) -> list[Suspicion]:
    """Return the differences between the client that submits and the client that logged in.

    If the player has several sessions, each property has to match one of them.

    See docs/spec/submission.md#client-of-the-login.
    """
    suspicions = []
    if sent.user_agent != GAME:
        suspicions.append(Suspicion("client", f"user agent {sent.user_agent[:64]!r}"))
    if not sessions:  # shared state is unavailable, or the operator does not require a session
        return suspicions
    if sent.version and not any(str(session.build) == sent.version for session in sessions):
        suspicions.append(Suspicion("version", f"{sent.version} sent, {sessions[0].build} logged in"))
    hashes = [session.client_hashes.rstrip(":") for session in sessions]
    sent_hash = sent.client_hash.rstrip(":")
    if not sent_hash or not any(logged_in.startswith(sent_hash) for logged_in in hashes):
        suspicions.append(Suspicion("client hash", "not the one that logged in"))
    # The client hashes of the login contain the md5 of these ids, in the fourth and fifth parts.
    ids = [hashlib.md5(unique_id.encode(), usedforsecurity=False).hexdigest() for unique_id in sent.unique_ids]
    if not any(logged_in.split(":")[3:5] == ids for logged_in in hashes):
        suspicions.append(Suspicion("unique ids", "not those that logged in"))
    return suspicions


def elapsed_ms(sent: Submission, beatmap: Beatmap) -> int:
    """Return the duration of the play, at most the length of its map and a minute.

    See docs/spec/submission.md#time-of-a-play.
    """
    length_s = beatmap.total_length / clock_rate(sent.mods) if beatmap.total_length else UNKNOWN_LENGTH_S - SLACK_S
    sent_ms = sent.play_time_ms if sent.passed else sent.fail_time_ms
    return min(sent_ms, round((length_s + SLACK_S) * 1000))


def ended_at_ms(sent: Submission, now_ms: int) -> int:
    """Return the end of the play in unix ms.

    A repeated submission arrives later than the play ended, so the client's time is used if it is within the last hour.
    Otherwise the result is `now_ms`.
    """
    # PERF: strptime takes 30 us. As in strptime, the years 69 to 99 are those of the last century.
    text = sent.client_time
    try:
        year, *others = (int(text[at : at + 2]) for at in range(0, 12, 2))
        sent_time = datetime(year + (1900 if year >= 69 else 2000), *others, tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return now_ms
    sent_ms = int(sent_time.timestamp()) * 1000
    return sent_ms if now_ms - CLIENT_TIME_MAX_MS <= sent_ms <= now_ms else now_ms


def _caller_of(player: str) -> str:
    """Return the network of the request. Behind a proxy without X-Forwarded-For all players have that of loopback."""
    caller = CALLER.get()
    return player if caller == SERVER or is_loopback(caller) else caller


class Submissions:
    """Handles submitted plays.

    `alert` shows a text to a player in the game. `outcomes` counts the answers of this process, for the metrics.
    """

    def __init__(
        self,
        database: Database,
        files: Files,
        realtime: Realtime,
        limiter: RateLimiter,
        beatmaps: Beatmaps,
        performance: Performance,
        decoder: Decoder,
        recorder: Recorder,
        flags: Flags,
        ranks: Ranks,
        boards: Boards,
        clock: Clock,
        rules: SubmissionOptions,
        *,
        alert: Callable[[str, int], Awaitable[None]],
        reach: Reach,
    ) -> None:
        self._database = database
        self._files = files
        self._realtime = realtime
        self._limiter = limiter
        self._beatmaps = beatmaps
        self._performance = performance
        self._decoder = decoder
        self._recorder = recorder
        self._flags = flags
        self._ranks = ranks
        self._boards = boards
        self._clock = clock
        self._rules = rules
        self._alert = alert
        self._reach = reach
        self._without_pp = Outage("submission", "stored without pp", "stored with pp again")
        self._without_ranks = Outage(
            "submission", "ranks after a play unavailable", "ranks after a play available again"
        )
        # User id -> its lock, and the number of tasks that hold or await the lock.
        self._turns: dict[int, tuple[asyncio.Lock, int]] = {}
        # Score id -> its chart with the ranks after the play, not written yet. The oldest may be dropped.
        self._complete: OrderedDict[int, Chart] = OrderedDict()
        self.outcomes: dict[str, int] = {}

    async def submit(self, user: User, sent: Submission) -> Chart:
        """Store a play of `user`, whose password the caller has checked, and return the chart of a pass.

        A play that is stored already gets its first answer again. Raises Rejected (also for a failed play that was
        stored) and Unavailable.
        """
        try:
            chart = await self._submit(user, sent)
        except Rejected as rejected:
            self._count(rejected.word if sent.passed else "fail")
            raise
        except KiaiError:
            self._count("unavailable")
            raise
        self._count("pass")
        return chart

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    async def _submit(self, user: User, sent: Submission) -> Chart:
        self._reach("submit.decoded")
        if self._rules.oldest_build and sent.version and int(sent.version) < self._rules.oldest_build:
            raise Rejected("oldver")
        # Before the session check and the rate limit: a client whose first answer was lost must get it in any case.
        known, beatmap = await self._known_and_map(user, sent)
        if known is not None:
            return known
        sessions, rank = await self._sessions_and_rank(user, sent)
        async with self._turn(user.id) as has_waited:
            # The same play may have been stored while this request waited for its turn. If another process stores it
            # at this moment, the transaction finds out.
            if has_waited:
                if (known := await self._known(user, sent)) is not None:
                    return known
                rank = await self._rank_before(user, sent)
            try:
                return await self._store(user, sent, sessions, beatmap, rank)
            except RejectedPlay as rejected_play:
                # The transaction of a stored play writes its flags; a refused play has none, so they are written here.
                if rejected_play.suspicion is not None:
                    suspicion = rejected_play.suspicion
                    await self._flag(user, sent, suspicion)
                raise Rejected(NO) from rejected_play

    async def _sessions_and_rank(self, user: User, sent: Submission) -> tuple[list[Session], int]:
        """Return the player's sessions and the overall rank before the play, which the rate limit counts.

        Raises NotNow without a session, or above the limit.
        """
        bucket = f"submit:{user.id}", PER_MINUTE, BURST
        if self._realtime.answers_at_once:
            # PERF: tasks cost more than these calls. The reads before and after stay in one turn of the event loop,
            # so that they share a snapshot of SQLite.
            await self._consume(*bucket)
            return await self._sessions(user), await self._rank_before(user, sent)
        # PERF: in one round trip to shared state.
        sessions, _, rank = await asyncio.gather(
            self._sessions(user), self._consume(*bucket), self._rank_before(user, sent)
        )
        return sessions, rank

    async def _sessions(self, user: User) -> list[Session]:
        try:
            sessions = [session for session in await self._realtime.sessions_of(user.id) if not session.irc]
        except Unavailable:  # accept the play without a session: docs/spec/security.md#when-a-store-is-unavailable
            return []
        if not sessions and self._rules.require_online:
            sessions = await drained.stored(self._realtime, user.id)
        if not sessions and self._rules.require_online:
            raise NotNow("submission", "the player has no session")
        return sessions

    async def _flag(self, user: User, sent: Submission, suspicion: Suspicion) -> None:
        """Flag a play that is not stored. At most `FLAGS_PER_HOUR` are stored for one player; the rest is dropped."""
        if self._rules.limited:
            consumed = await self._limiter.consume(f"flags:{user.id}", limit=FLAGS_PER_HOUR, period_s=3_600.0)
            if not consumed.granted:
                return
        await self._flags.add(user.id, suspicion.kind, checksum=sent.checksum, details=suspicion.details)

    async def _consume(self, bucket: str, per_minute: int, burst: int) -> None:
        if not self._rules.limited:
            return
        consumed = await self._limiter.consume(bucket, limit=per_minute, period_s=60.0, burst=burst)
        if not consumed.granted:
            raise NotNow("submission", "too many at once")

    @contextlib.asynccontextmanager
    async def _turn(self, user_id: int) -> AsyncIterator[bool]:
        """Wait until no other play of the player is in work, and return whether there was one.

        Raises Unavailable if `WAITING_MAX` plays wait.

        The chart compares the profile and ranks before and after a play, so two plays must not overlap. Plays in
        different processes may overlap; the transaction keeps their rows right.
        """
        lock, waiting = self._turns.get(user_id, (asyncio.Lock(), 0))
        if waiting >= WAITING_MAX:
            raise NotNow("submission", f"{waiting} plays of the player are waiting")
        self._turns[user_id] = (lock, waiting + 1)
        try:
            async with lock:
                yield waiting > 0
        finally:
            # Read again: others may have joined the queue. The last one deletes the entry, so the dict stays small.
            lock, waiting = self._turns[user_id]
            if waiting == 1:
                del self._turns[user_id]
            else:
                self._turns[user_id] = (lock, waiting - 1)

    # --- what is stored already

    async def _known_and_map(self, user: User, sent: Submission) -> tuple[Chart | None, Beatmap | None]:
        """Return the chart of this play if it is stored, and the map if that is stored."""
        # PERF: one round trip on PostgreSQL for both.
        scores, maps = await self._database.several(
            (statements.plays.BY_CHECKSUM, {"checksum": sent.checksum}), self._beatmaps.read_by_md5(sent.beatmap_md5)
        )
        known = await self._chart_for(user, sent, *scores[0]) if scores else None
        return known, maps[0] if maps else None

    async def _known(self, user: User, sent: Submission) -> Chart | None:
        """Return the chart of this play if it is stored."""
        found = await self._database.one(statements.plays.BY_CHECKSUM, checksum=sent.checksum)
        return None if found is None else await self._chart_for(user, sent, *found)

    async def _chart_for(self, user: User, sent: Submission, score_id: int, owner: int, passed: int) -> Chart:
        """Return the chart of the score that has the checksum of this play. Raises Rejected if it has none."""
        if owner != user.id:
            await self._flag(user, sent, Suspicion("copied play", f"score {score_id} of player {owner}"))
            raise Rejected(NO)
        if not passed:
            raise Rejected(NO)
        return await self._chart_of(score_id)

    async def _chart_of(self, score_id: int) -> Chart:
        """Return the chart of a stored pass, as it was answered first. Raise Rejected if it was deleted after a day."""
        complete = self._complete.get(score_id)
        if complete is not None:
            return complete
        stored = await self._database.one(statements.plays.CHART_OF, score_id=score_id)
        if stored is None:
            raise Rejected(NO)
        chart = msgspec.json.decode(stored, type=Chart)
        return chart if chart.rank_after is not None else await self._with_ranks(chart)

    # --- a new play

    async def _store(
        self, user: User, sent: Submission, sessions: list[Session], beatmap: Beatmap | None, rank: int
    ) -> Chart:
        # From cheap to expensive. Nothing is written before all checks have passed.
        check_mods(sent)
        if beatmap is None:
            beatmap = await self._unknown_map(user, sent)
        suspicions = self._check_integrity(user, sent)
        suspicions += check_client(sent, sessions)
        suspicions += check_play(sent, beatmap)
        ranks, replay, places = RanksBefore(), None, self._boards.count_in_transaction(beatmap)
        if sent.passed:
            # PERF: all reads come before the jobs of other processes, so that they share a snapshot of SQLite.
            replay = self._stored_replay(sent)
            mode = mode_of(sent.mode, sent.mods)
            known, ranks = await self._known_replay_and_ranks(user, replay, beatmap, mode, rank, places=not places)
            if known is not None:
                return known
            suspicions += await self._check_frames(user, sent)
        play = await self._play(user, sent, beatmap, replay, suspicions)
        # The file comes before the row: a crash in between leaves a file, which `Replays.sweep` deletes, and never a
        # score whose replay is missing.
        if replay is not None:
            await self._files.put(replay_key(replay.md5), sent.replay)
            self._reach("submit.replay_written")
        try:
            recorded = await self._recorder.record(
                play, ranks=ranks, suspicions=suspicions, answered=True, places=places
            )
        except AlreadyRecorded as already:
            known = await self._known(user, sent)  # another process has stored the same play
            if known is None:
                raise Rejected(NO) from already
            return known
        self._reach("submit.committed")
        if recorded.chart is None:
            raise Rejected(NO)
        chart = await self._with_ranks(recorded.chart, play.beatmap, recorded.map_rank)
        await self._congratulate(user, play, recorded, chart)
        self._reach("submit.before_reply")
        return chart

    async def _unknown_map(self, user: User, sent: Submission) -> Beatmap:
        """Import the map of a play. Raises Rejected and Unavailable."""
        # A price for unknown maps: otherwise a player could make the server flood upstream with invented checksums.
        try:
            await self._consume(f"submit-unknown:{user.id}", UNKNOWN_MAPS_PER_MINUTE, UNKNOWN_MAPS_PER_MINUTE)
        except Unavailable:
            raise Rejected("beatmap") from None
        try:
            return await self._beatmaps.find_or_ask(md5=sent.beatmap_md5)
        except NotFound:
            raise Rejected("beatmap") from None

    def _check_integrity(self, user: User, sent: Submission) -> list[Suspicion]:
        # The checksum covers the name as the client knows it, which may differ from the account's spelling.
        if sent.checksum != submission_checksum(sent, sent.player_name) and (
            sent.player_name == user.name or sent.checksum != submission_checksum(sent, user.name)
        ):
            suspicion = Suspicion("checksum", "does not match the play")
            if self._rules.wrong_checksum == "reject":
                raise RejectedPlay(suspicion)
            return [suspicion]
        if sent.beatmap_on_disk != sent.beatmap_md5:
            raise RejectedPlay(
                Suspicion("beatmap hash", f"{sent.beatmap_on_disk[:32]} on disk, {sent.beatmap_md5} played")
            )
        return []

    @staticmethod
    def _stored_replay(sent: Submission) -> StoredReplay:
        if not sent.replay:
            raise RejectedPlay(Suspicion("replay", "missing for a pass"))
        md5 = hashlib.md5(sent.replay, usedforsecurity=False).digest()
        return StoredReplay(md5=md5, sha256=hashlib.sha256(sent.replay).digest(), size=len(sent.replay))

    async def _known_replay_and_ranks(
        self, user: User, replay: StoredReplay, beatmap: Beatmap, mode: int, rank: int, *, places: bool
    ) -> tuple[Chart | None, RanksBefore]:
        """Return the chart of the score that has the same replay already, or None, and the ranks before the play.

        `rank` is the overall one. The place on the board of the map is read with `places`.
        """
        reads: list[Read] = [(statements.plays.BY_REPLAY, {"md5": replay.md5})]
        if places and has_board(beatmap.status):
            reads.append(self._boards.read_of_standing(beatmap, mode, user.id))
        known, *standings = await self._database.several(*reads)
        if known:
            score_id, owner = known[0]
            if owner != user.id:
                raise RejectedPlay(Suspicion("copied replay", f"that of score {score_id} of player {owner}"))
            return await self._chart_of(score_id), RanksBefore()
        if not standings or not standings[0]:
            return None, RanksBefore(overall=rank)
        pp, ahead = standings[0][0]
        return None, RanksBefore(on_map=1 + ahead, overall=rank, pp_on_map=pp)

    async def _check_frames(self, user: User, sent: Submission) -> list[Suspicion]:
        """Return what is suspicious about the frames of a pass. Raises RejectedPlay for frames that are not valid."""
        try:
            player = f"user:{user.id}"
            frames = await self._decoder.frames(sent.replay, player=player, caller=_caller_of(player))
        except BadReplay as bad:
            raise RejectedPlay(Suspicion("replay", str(bad))) from bad
        return suspicious_length(frames.frames)

    async def _play(
        self, user: User, sent: Submission, beatmap: Beatmap, replay: StoredReplay | None, suspicions: list[Suspicion]
    ) -> Play:
        pp, stars, computed_by = await self._pp(user, sent, beatmap, suspicions) if sent.passed else (0.0, 0.0, None)
        return Play(
            user_id=user.id,
            beatmap=beatmap,
            mode=mode_of(sent.mode, sent.mods),
            mods=sent.mods,
            counts=sent.counts,
            score=sent.score,
            max_combo=sent.max_combo,
            acc=accuracy(sent.counts, sent.mode, sent.mods),
            pp=pp,
            grade=grade(sent.counts, sent.mode, sent.mods, passed=sent.passed),
            passed=sent.passed,
            perfect=sent.perfect,
            play_time_ms=ended_at_ms(sent, self._clock.now_ms()),
            time_elapsed=elapsed_ms(sent, beatmap),
            checksum=sent.checksum,
            calculator=self._performance.calculator_id if computed_by is None else computed_by,
            client_version=int(sent.version or 0),
            client_flags=sent.client_flags,
            replay=replay,
            stars=stars,
        )

    async def _pp(
        self, user: User, sent: Submission, beatmap: Beatmap, suspicions: list[Suspicion]
    ) -> tuple[float, float, int]:
        """Return pp, stars and the id of the calculator.

        A map whose pp cannot be computed gives 0 pp. If its file is not stored, or no worker is free, the client is
        asked to try again. The third time, the play is stored without pp, which `kiai recalc` computes
        (docs/spec/submission.md#retries).
        """
        play = calculator_play(sent.counts, mods=sent.mods, max_combo=sent.max_combo, legacy_score=sent.score)
        computed_by = self._performance.calculator_id
        try:
            [result] = await self._performance.plays(beatmap.md5, sent.mode, [play], caller=f"user:{user.id}")
        except CannotCalculate as error:
            suspicions.append(Suspicion("pp", f"cannot be computed: {error.reason}"))
            return 0.0, 0.0, computed_by
        except Unavailable as error:
            if await self._fetched_again(beatmap):
                return await self._pp(user, sent, beatmap, suspicions)
            # A bucket counts the tries in shared state, so that it works across processes and expires automatically.
            tries = await self._limiter.consume(
                f"pp-tries:{sent.checksum.hex()}", limit=PP_TRIES, period_s=PP_TRIES_IN_S, burst=PP_TRIES
            )
            if tries.granted:
                raise
            self._without_pp.failed(error, md5=beatmap.md5)
            return 0.0, 0.0, NO_CALCULATOR
        self._without_pp.worked()
        if result.flagged:
            suspicions.append(Suspicion("pp", "out of range"))
        if self._rules.pp_cap and result.pp > self._rules.pp_cap:
            suspicions.append(Suspicion("pp", f"{result.pp:.0f} is above the cap of {self._rules.pp_cap}"))
        return stored_pp(result.pp), result.stars, computed_by

    async def _fetched_again(self, beatmap: Beatmap) -> bool:
        """Return whether the .osu file was missing and has been fetched from upstream."""
        if await self._files.size(osu_key(beatmap.md5)) is not None:
            return False
        with contextlib.suppress(Unavailable):
            await self._beatmaps.osu_file(beatmap)
        return await self._files.size(osu_key(beatmap.md5)) is not None

    # --- ranks

    async def _rank(self, user_id: int, mode: int) -> int:
        try:
            return (await self._realtime.rank_of(user_id, mode)).rank
        except Unavailable:
            return 0

    async def _rank_before(self, user: User, sent: Submission) -> int:
        """Return the overall rank before a pass. The chart of a failed play has none."""
        return await self._rank(user.id, mode_of(sent.mode, sent.mods)) if sent.passed else 0

    async def _with_ranks(
        self, chart: Chart, beatmap: Beatmap | None = None, map_rank_after: int | None = None
    ) -> Chart:
        """Return the chart with the ranks after the play, and queue it for `flush`.

        The map and the place on its board are read if they are not given. The play is committed, so a failure here does
        not fail the answer: the missing ranks are 0.
        """
        user_id, mode, visible = chart.user_id, chart.mode, chart.visible
        map_rank = map_rank_after or 0
        try:
            # Not left to the outbox, which delivers later: the panel shows the new rank.
            reads: list[Read] = []
            if chart.has_board and map_rank_after is None:
                beatmap = beatmap or await self._beatmaps.find(id=chart.map_id)
                board = BoardRequest(BoardKind.GLOBAL, mode, user_id=user_id, hidden=not visible)
                by_pp = sorts_by_pp(mode)
                measure = chart.this.pp if by_pp else chart.this.score
                reads.append(self._boards.read_of_place(beatmap, board, measure=measure, score_id=chart.score_id))
            # The ranks last: SQLite may read the place in a thread, and ranks that are set meanwhile must not be
            # replaced with older ones.
            *ahead, rows = await self._database.several(*reads, self._ranks.read_of(user_id))
            ranks = await self._ranks.set_from(user_id, rows)
            self._reach("submit.rank_set")
            rank = ranks.get(mode, Rank()).rank
            if ahead:
                map_rank = 1 + ahead[0][0]
        except KiaiError as error:
            self._without_ranks.failed(error, score_id=chart.score_id)
            rank = await self._rank(user_id, mode)
        else:
            self._without_ranks.worked()
        complete = msgspec.structs.replace(chart, map_rank_after=map_rank, rank_after=rank)
        while len(self._complete) >= PENDING_MAX:
            self._complete.popitem(last=False)
        self._complete[chart.score_id] = complete
        return complete

    async def _congratulate(self, user: User, play: Play, recorded: Recorded, chart: Chart) -> None:
        is_best = recorded.is_best_pp if sorts_by_pp(play.mode) else recorded.is_best_score
        if not is_best or not chart.has_board or not chart.map_rank_after:
            return
        with contextlib.suppress(KiaiError):  # the play is stored: an alert that fails must not fail the answer
            await self._alert(f"You are #{chart.map_rank_after} on this map ({play.pp:,.2f}pp).", user.id)

    # --- stored answers

    async def flush(self) -> None:
        """Write the completed charts to the database. A job calls this."""
        # PERF: one transaction for all charts since the last call, instead of one more for each play.
        if not self._complete:
            return
        charts = list(self._complete.items())

        async def body(tx: Transaction) -> None:
            rows: list[dict[str, Value]] = [
                {"of_score": score_id, "new_chart": msgspec.json.encode(chart).decode()} for score_id, chart in charts
            ]
            await tx.run_many(statements.plays.COMPLETE_CHART, rows)

        await self._database.transaction(body)
        # Removed after the commit: until then `_chart_of` finds them here.
        for score_id, _ in charts:
            self._complete.pop(score_id, None)

    async def delete_old_charts(self) -> int:
        """Delete charts that are more than a day old, and return their number. A job calls this."""
        before = self._clock.now_ms() - CHART_AGE_MAX_MS
        command, batch = statements.plays.DELETE_OLD_CHARTS, statements.plays.CHARTS_DELETED_AT_ONCE
        return await delete_in_batches(self._database, command, batch, before_ms=before)
