"""What a submitted play must fulfil, and the way it becomes a score (docs/spec/submission.md).

    known already? -> the same answer
    mods and mode -> map -> checksum -> plausible? -> replay read through -> pp
    -> replay file -> one transaction (recording.py) -> ranks after -> chart

What cannot be an honest play is refused with `error: no` and a flag; what is merely odd is stored with a flag. Whatever
fails for a reason of ours raises `Unavailable`: the client sends the same bytes again, up to ten times, and a score is
never lost. The replay is on the disk before the transaction, everything after the transaction can be derived again.

A repeat gets the same answer: the chart is stored with the score, without the ranks after, which nobody knows before
the commit; they are added once and kept, in a second, later write that may be lost without harm.
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
from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmap, Beatmaps, osu_key
from kiai.beatmaps.model import has_board
from kiai.clock import Clock
from kiai.decoding.decoder import Decoder
from kiai.errors import KiaiError, NotFound, Unavailable
from kiai.failpoints import Reach
from kiai.files.port import Files
from kiai.logs import Outage
from kiai.osu.accuracy import Counts, accuracy, judged
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import AP, NF, RX, clock_rate, refused_mods, unranked_mods
from kiai.osu.replay_file import BadReplay
from kiai.realtime.port import Realtime, Session
from kiai.realtime.rate_limiter import RateLimiter
from kiai.scores import calculator, statements
from kiai.scores.boards import Boards, Kind, Wanted, sorts_by_pp
from kiai.scores.flags import Doubt, Flags
from kiai.scores.model import Chart, Play, RanksBefore, Recorded, StoredReplay, replay_key
from kiai.scores.performance import CannotCalculate, Performance, stored_pp
from kiai.scores.ranks import Ranks
from kiai.scores.recording import AlreadyRecorded, Recorder
from kiai.storage.port import Database, Transaction, Value

PER_MINUTE: Final = 30
BURST: Final = 10
FLAGS_PER_HOUR: Final = 60
UNKNOWN_MAPS_PER_MINUTE: Final = 20
PP_TRIES: Final = 2
PP_TRIES_IN_S: Final = 3_600.0
WAITING_MAX: Final = 10
FRAMES_EXPECTED: Final = 100
SLACK_S: Final = 60
UNKNOWN_LENGTH_S: Final = 3_600
CLIENT_TIME_MAX_MS: Final = 3_600_000  # how far back the client's own clock is believed
KEPT_MS: Final = 86_400_000
NO_CALCULATOR: Final = 0  # `recalc` computes what carries another number than its own
PENDING_MAX: Final = 10_000
NO: Final = "no"
GAME: Final = "osu!"
"""The user agent of the game; another one is another client."""


class Submission(msgspec.Struct, frozen=True):
    """A play as the game's form tells of it. Times in ms; `grade` is the client's, `client_time` verbatim.

    `unique_ids` are the installation's and the disk's ids in clear; `replay` is empty when there was none.
    """

    beatmap_md5: str
    player_name: str
    checksum: bytes
    counts: Counts
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


class Rejected(KiaiError):
    """The play is answered with an error word (docs/spec/submission.md#error-words); a stored fail too, with `no`."""

    def __init__(self, word: str) -> None:
        super().__init__(f"error: {word}")
        self.word = word


class SubmissionRules(msgspec.Struct, frozen=True):
    """What an operator may choose. `pp_cap` 0 is none, `oldest_build` 0 lets every version in."""

    require_online: bool = True
    wrong_checksum: str = "reject"
    pp_cap: int = 0
    oldest_build: int = 0
    limited: bool = True


def submission_checksum(sent: Submission, player_name: str) -> bytes:
    """The checksum that an honest client sends with this play of a player of this name.

    See docs/spec/submission.md#checksum.
    """
    counts = sent.counts
    text = (
        f"chickenmcnuggets{counts.n100 + counts.n300}o15{counts.n50}{counts.ngeki}smustard{counts.nkatu}{counts.nmiss}"
        f"uu{sent.beatmap_md5}{sent.max_combo}{sent.perfect}{player_name}{sent.score}{sent.grade}{sent.mods}Q"
        f"{sent.passed}{sent.mode}{sent.version}{sent.client_time}{sent.client_hash}{sent.storyboard_md5}"
    )
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


class Impossible(KiaiError):
    """No honest client sends this: refused, and noted for the staff as `doubt` unless that is None."""

    def __init__(self, doubt: Doubt | None) -> None:
        super().__init__("impossible" if doubt is None else f"{doubt.kind}: {doubt.details}")
        self.doubt = doubt


def check_mods(sent: Submission) -> None:
    """Raises Impossible for mods that are refused or never stored (docs/spec/submission.md#mods-and-modes)."""
    if (why := refused_mods(sent.mods, sent.mode)) is not None:
        raise Impossible(Doubt("mods", why))
    if unranked_mods(sent.mods):
        raise Impossible(None)


def check_play(sent: Submission, beatmap: Beatmap) -> list[Doubt]:
    """What is odd about a play on this map. Raises Impossible for what cannot be.

    See docs/spec/submission.md#plausibility.
    """
    hits = judged(sent.counts, sent.mode)
    if beatmap.mode not in (0, sent.mode):
        raise Impossible(None)
    if sent.passed and (hits == 0 or sent.score == 0 or sent.max_combo == 0 or sent.grade in ("F", "N")):
        raise Impossible(Doubt("empty pass", f"{hits} judgements, score {sent.score}, grade {sent.grade}"))
    if not sent.passed and sent.grade != "F":
        raise Impossible(Doubt("grade", f"{sent.grade} for a fail"))
    doubts = []
    if sent.mode == 0:
        if hits > beatmap.objects:
            raise Impossible(Doubt("counts", f"{hits} judgements on {beatmap.objects} objects"))
        if sent.passed and hits < beatmap.objects:
            doubts.append(Doubt("counts", f"passed with {hits} of {beatmap.objects} objects"))
        if sent.max_combo > beatmap.max_combo:
            doubts.append(Doubt("combo", f"{sent.max_combo} on a map of {beatmap.max_combo}"))
    elif sent.perfect and beatmap.mode == sent.mode and sent.max_combo < beatmap.max_combo:
        doubts.append(Doubt("combo", f"perfect with {sent.max_combo} of {beatmap.max_combo}"))
    ours = grade(sent.counts, sent.mode, sent.mods, passed=sent.passed)
    if ours != sent.grade:
        doubts.append(Doubt("grade", f"{sent.grade} sent, {ours} by the counts"))
    if sent.perfect and sent.counts.nmiss:
        doubts.append(Doubt("combo", f"perfect with {sent.counts.nmiss} misses"))
    if sent.mods & (RX | AP) and sent.mods & NF:
        doubts.append(Doubt("mods", "No Fail with Relax or Autopilot"))
    if sent.client_flags:
        doubts.append(Doubt("client flags", str(sent.client_flags)))
    if sent.image_sent:
        doubts.append(Doubt("flashlight image", "the client sent a picture"))
    return doubts


def check_client(sent: Submission, sessions: list[Session]) -> list[Doubt]:
    """What differs from the client that logged in; of several sessions one has to fit.

    See docs/spec/submission.md#client-of-the-log-in.
    """
    doubts = []
    if sent.user_agent != GAME:
        doubts.append(Doubt("client", f"user agent {sent.user_agent[:64]!r}"))
    if not sessions:
        return doubts
    if sent.version and not any(str(one.build) == sent.version for one in sessions):
        doubts.append(Doubt("version", f"{sent.version} sent, {sessions[0].build} logged in"))
    hashes = [one.client_hashes.rstrip(":") for one in sessions]
    sent_hash = sent.client_hash.rstrip(":")
    if not sent_hash or not any(one.startswith(sent_hash) for one in hashes):
        doubts.append(Doubt("client hash", "not the one that logged in"))
    ids = [hashlib.md5(one.encode(), usedforsecurity=False).hexdigest() for one in sent.unique_ids]
    if not any(one.split(":")[3:5] == ids for one in hashes):
        doubts.append(Doubt("unique ids", "not those that logged in"))
    return doubts


def elapsed_ms(sent: Submission, beatmap: Beatmap) -> int:
    """How long the play took, within what its map allows (docs/spec/submission.md#time-of-a-play)."""
    length_s = beatmap.total_length / clock_rate(sent.mods) if beatmap.total_length else UNKNOWN_LENGTH_S - SLACK_S
    told = sent.play_time_ms if sent.passed else sent.fail_time_ms
    return min(told, round((length_s + SLACK_S) * 1000))


def ended_at_ms(sent: Submission, now_ms: int) -> int:
    """When the play ended: by the client's clock if that can be right, which a retry makes useful, else now."""
    try:
        told = datetime.strptime(sent.client_time, "%y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return now_ms
    told_ms = int(told.timestamp()) * 1000
    return told_ms if now_ms - CLIENT_TIME_MAX_MS <= told_ms <= now_ms else now_ms


class Submissions:
    """The verbs of submission."""

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
        rules: SubmissionRules,
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
        self._without_ranks = Outage("submission", "ranks after are not known", "ranks after are known again")
        self._turns: dict[int, tuple[asyncio.Lock, int]] = {}  # user id -> whose turn it is, and how many want one
        # score id -> its chart with the ranks after, not written yet; the oldest may be forgotten
        self._complete: OrderedDict[int, Chart] = OrderedDict()
        self.outcomes: dict[str, int] = {}

    async def submit(self, user: User, sent: Submission) -> Chart:
        """Stores a play of `user`, whose password was right; the chart of a pass.

        A play that is stored already is answered as it was. Raises Rejected, for a stored fail too, and Unavailable.
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
        if (known := await self._known(user, sent)) is not None:
            return known
        sessions = await self._sessions(user)
        await self._take(f"submit:{user.id}", PER_MINUTE, BURST)
        async with self._turn(user.id):
            if (known := await self._known(user, sent)) is not None:  # a twin was faster
                return known
            try:
                return await self._store(user, sent, sessions)
            except Impossible as impossible:
                if impossible.doubt is not None:
                    doubt = impossible.doubt
                    await self._flag(user, sent, doubt)
                raise Rejected(NO) from impossible

    async def _sessions(self, user: User) -> list[Session]:
        try:
            sessions = await self._realtime.sessions_of(user.id)
        except Unavailable:  # nobody is refused meanwhile: docs/spec/security.md#when-shared-state-is-away
            return []
        if not sessions and self._rules.require_online:
            raise Unavailable("submission", "the player has no session")
        return sessions

    async def _flag(self, user: User, sent: Submission, doubt: Doubt) -> None:
        """Flags a play that is not stored. Past `FLAGS_PER_HOUR` of one player there is nothing new to say."""
        if self._rules.limited:
            taken = await self._limiter.take(f"flags:{user.id}", limit=FLAGS_PER_HOUR, period_s=3_600.0)
            if not taken.granted:
                return
        await self._flags.raise_(user.id, doubt.kind, checksum=sent.checksum, details=doubt.details)

    async def _take(self, bucket: str, per_minute: int, burst: int) -> None:
        if not self._rules.limited:
            return
        taken = await self._limiter.take(bucket, limit=per_minute, period_s=60.0, burst=burst)
        if not taken.granted:
            raise Unavailable("submission", "too many at once")

    @contextlib.asynccontextmanager
    async def _turn(self, user_id: int) -> AsyncIterator[None]:
        """One play of a player after another: what a chart calls "before" is what the one before it left."""
        lock, waiting = self._turns.get(user_id, (asyncio.Lock(), 0))
        if waiting >= WAITING_MAX:
            raise Unavailable("submission", f"{waiting} plays of the player are waiting")
        self._turns[user_id] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns[user_id]
            if waiting == 1:
                del self._turns[user_id]
            else:
                self._turns[user_id] = (lock, waiting - 1)

    # --- what is stored already

    async def _known(self, user: User, sent: Submission) -> Chart | None:
        found = await self._database.one(statements.BY_CHECKSUM, checksum=sent.checksum)
        if found is None:
            return None
        score_id, owner, passed = found
        if owner != user.id:
            await self._flag(user, sent, Doubt("copied play", f"score {score_id} of player {owner}"))
            raise Rejected(NO)
        if not passed:
            raise Rejected(NO)
        return await self._chart_of(score_id)

    async def _chart_of(self, score_id: int) -> Chart:
        """The chart of a stored pass, as it was. Raises Rejected for one that nothing is known of any more."""
        complete = self._complete.get(score_id)
        if complete is not None:
            return complete
        kept = await self._database.one(statements.CHART_OF, score_id=score_id)
        if kept is None:
            raise Rejected(NO)
        chart = msgspec.json.decode(kept, type=Chart)
        return chart if chart.rank_after is not None else await self._with_ranks(chart)

    # --- a new play

    async def _store(self, user: User, sent: Submission, sessions: list[Session]) -> Chart:
        check_mods(sent)
        beatmap = await self._beatmap(user, sent)
        doubts = self._check_integrity(user, sent)
        doubts += check_client(sent, sessions)
        doubts += check_play(sent, beatmap)
        replay = await self._replay(user, sent, doubts) if sent.passed else None
        if isinstance(replay, Chart):
            return replay
        play = await self._play(user, sent, beatmap, replay, doubts)
        ranks = await self._ranks_before(user, play) if play.passed else RanksBefore()
        if replay is not None:
            await self._files.put(replay_key(replay.md5), sent.replay)
            self._reach("submit.replay_written")
        try:
            recorded = await self._recorder.record(play, ranks=ranks, doubts=doubts, answered=True)
        except AlreadyRecorded as already:
            known = await self._known(user, sent)  # a twin in another process
            if known is None:
                raise Rejected(NO) from already
            return known
        self._reach("submit.committed")
        if recorded.chart is None:
            raise Rejected(NO)
        chart = await self._with_ranks(recorded.chart, user, play)
        await self._congratulate(user, play, recorded, chart)
        self._reach("submit.before_reply")
        return chart

    async def _beatmap(self, user: User, sent: Submission) -> Beatmap:
        try:
            return await self._beatmaps.find(md5=sent.beatmap_md5)
        except NotFound:
            pass
        try:
            await self._take(f"submit-unknown:{user.id}", UNKNOWN_MAPS_PER_MINUTE, UNKNOWN_MAPS_PER_MINUTE)
        except Unavailable:
            raise Rejected("beatmap") from None
        try:
            return await self._beatmaps.find_or_ask(md5=sent.beatmap_md5)
        except NotFound:
            raise Rejected("beatmap") from None

    def _check_integrity(self, user: User, sent: Submission) -> list[Doubt]:
        if sent.checksum not in (submission_checksum(sent, sent.player_name), submission_checksum(sent, user.name)):
            doubt = Doubt("checksum", "it does not fit the play")
            if self._rules.wrong_checksum == "reject":
                raise Impossible(doubt)
            return [doubt]
        if sent.beatmap_on_disk != sent.beatmap_md5:
            raise Impossible(Doubt("beatmap hash", f"{sent.beatmap_on_disk[:32]} on disk, {sent.beatmap_md5} played"))
        return []

    async def _replay(self, user: User, sent: Submission, doubts: list[Doubt]) -> StoredReplay | Chart:
        """The replay of a pass, read through; the chart of the score that has this very replay already."""
        if not sent.replay:
            raise Impossible(Doubt("replay", "a pass without one"))
        try:
            frames = await self._decoder.frames(sent.replay, caller=f"user:{user.id}")
        except BadReplay as bad:
            raise Impossible(Doubt("replay", str(bad))) from bad
        if frames.frames < FRAMES_EXPECTED:
            doubts.append(Doubt("replay", f"only {frames.frames} frames"))
        md5 = hashlib.md5(sent.replay, usedforsecurity=False).digest()
        known = await self._database.one(statements.BY_REPLAY, md5=md5)
        if known is not None:
            score_id, owner = known
            if owner != user.id:
                raise Impossible(Doubt("copied replay", f"that of score {score_id} of player {owner}"))
            return await self._chart_of(score_id)
        return StoredReplay(md5=md5, sha256=hashlib.sha256(sent.replay).digest(), size=len(sent.replay))

    async def _play(
        self, user: User, sent: Submission, beatmap: Beatmap, replay: StoredReplay | None, doubts: list[Doubt]
    ) -> Play:
        pp, stars, computed_by = await self._pp(user, sent, beatmap, doubts) if sent.passed else (0.0, 0.0, None)
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
        self, user: User, sent: Submission, beatmap: Beatmap, doubts: list[Doubt]
    ) -> tuple[float, float, int]:
        """pp, stars, and what computed them. A map that gives no pp gives 0; without its file the client tries again,
        and the third time the play is stored without pp, for `recalc` to compute (docs/spec/submission.md#retries)."""
        counts = sent.counts
        asked = calculator.Play(
            mods=sent.mods,
            n300=counts.n300,
            n100=counts.n100,
            n50=counts.n50,
            ngeki=counts.ngeki,
            nkatu=counts.nkatu,
            nmiss=counts.nmiss,
            combo=sent.max_combo,
            legacy_score=sent.score,
        )
        computed_by = self._performance.calculator_id
        try:
            [result] = await self._performance.plays(beatmap.md5, sent.mode, [asked], caller=f"user:{user.id}")
        except CannotCalculate as error:
            doubts.append(Doubt("pp", f"cannot be computed: {error.reason}"))
            return 0.0, 0.0, computed_by
        except Unavailable as error:
            if await self._fetched_again(beatmap):
                return await self._pp(user, sent, beatmap, doubts)
            tries = await self._limiter.take(
                f"pp-tries:{sent.checksum.hex()}", limit=PP_TRIES, period_s=PP_TRIES_IN_S, burst=PP_TRIES
            )
            if tries.granted:
                raise
            self._without_pp.failed(error, md5=beatmap.md5)
            return 0.0, 0.0, NO_CALCULATOR
        self._without_pp.worked()
        if result.flagged:
            doubts.append(Doubt("pp", "out of all reason"))
        if self._rules.pp_cap and result.pp > self._rules.pp_cap:
            doubts.append(Doubt("pp", f"{result.pp:.0f} is above the cap of {self._rules.pp_cap}"))
        return stored_pp(result.pp), result.stars, computed_by

    async def _fetched_again(self, beatmap: Beatmap) -> bool:
        """Whether the .osu file was lost, and is back from upstream."""
        if await self._files.size(osu_key(beatmap.md5)) is not None:
            return False
        with contextlib.suppress(Unavailable):
            await self._beatmaps.osu_file(beatmap)
        return await self._files.size(osu_key(beatmap.md5)) is not None

    # --- where the play stands

    async def _ranks_before(self, user: User, play: Play) -> RanksBefore:
        overall = await self._rank(user.id, play.mode)
        if not has_board(play.beatmap.status):
            return RanksBefore(overall=overall)
        wanted = _board_of(user, play.mode)
        own = await self._boards.own(play.beatmap, wanted)
        if own is None:
            return RanksBefore(overall=overall)
        measure = own.pp if sorts_by_pp(play.mode) else own.score
        place = await self._boards.place(play.beatmap, wanted, measure=measure, score_id=own.id)
        return RanksBefore(on_map=place, overall=overall)

    async def _rank(self, user_id: int, mode: int) -> int:
        try:
            return (await self._realtime.rank_of(user_id, mode)).rank
        except Unavailable:
            return 0

    async def _with_ranks(self, chart: Chart, user: User | None = None, play: Play | None = None) -> Chart:
        """The chart with the ranks after, kept from now on. What fails here is no reason to lose the answer."""
        user_id, mode, visible = chart.user_id, chart.mode, chart.visible
        map_rank = 0
        try:
            await self._ranks.refresh(user_id)
            self._reach("submit.rank_set")
            if chart.has_board:
                beatmap = play.beatmap if play is not None else await self._beatmaps.find(id=chart.map_id)
                wanted = Wanted(Kind.GLOBAL, mode, user_id=user_id, hidden=not visible)
                by_pp = sorts_by_pp(mode)
                measure = chart.this.pp if by_pp else chart.this.score
                map_rank = await self._boards.place(beatmap, wanted, measure=measure, score_id=chart.score_id)
        except KiaiError as error:
            self._without_ranks.failed(error, score_id=chart.score_id)
        else:
            self._without_ranks.worked()
        rank = await self._rank(user_id, mode)
        complete = msgspec.structs.replace(chart, map_rank_after=map_rank, rank_after=rank)
        while len(self._complete) >= PENDING_MAX:
            self._complete.popitem(last=False)
        self._complete[chart.score_id] = complete
        return complete

    async def _congratulate(self, user: User, play: Play, recorded: Recorded, chart: Chart) -> None:
        is_best = recorded.is_best_pp if sorts_by_pp(play.mode) else recorded.is_best_score
        if not is_best or not chart.has_board or not chart.map_rank_after:
            return
        with contextlib.suppress(KiaiError):
            await self._alert(f"You are #{chart.map_rank_after} on this map ({play.pp:,.2f}pp).", user.id)

    # --- keeping answers

    async def flush(self) -> None:
        """Writes the charts that are complete now. A job's work."""
        if not self._complete:
            return
        charts = list(self._complete.items())

        async def body(tx: Transaction) -> None:
            rows: list[dict[str, Value]] = [
                {"of_score": score_id, "new_chart": msgspec.json.encode(chart).decode()} for score_id, chart in charts
            ]
            await tx.many(statements.COMPLETE_CHART, rows)

        await self._database.transaction(body)
        for score_id, _ in charts:
            self._complete.pop(score_id, None)

    async def forget_older(self) -> int:
        """Drops the charts of more than a day ago; how many."""
        before = self._clock.now_ms() - KEPT_MS

        async def body(tx: Transaction) -> int:
            return await tx.run(statements.FORGET_CHARTS, before_ms=before)

        return await self._database.transaction(body)


def _board_of(user: User, mode: int) -> Wanted:
    return Wanted(Kind.GLOBAL, mode, user_id=user.id, hidden=not is_public(user.priv))
