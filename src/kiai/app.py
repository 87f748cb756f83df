"""The composition root: settings become adapters, adapters become services, services become faces.

Reads like a table of contents. Nobody imports it but the commands. Everything hangs on the objects built here, so one
process can hold two servers.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from kiai import keeping
from kiai.accounts import Accounts, ApiKeys, Credentials, Logins, Passwords, Relationships
from kiai.accounts.avatars import Avatars
from kiai.accounts.geography import Geography
from kiai.accounts.screenshots import Screenshots
from kiai.beatmaps import Beatmaps, Importer
from kiai.beatmaps.comments import Comments
from kiai.beatmaps.favourites import Favourites
from kiai.beatmaps.info import MapInfos
from kiai.beatmaps.mirrors import Mirrors
from kiai.beatmaps.pictures import MapPictures
from kiai.beatmaps.ratings import Ratings
from kiai.beatmaps.refreshing import Refreshing
from kiai.beatmaps.searching import Searching
from kiai.beatmaps.upstream import Upstream
from kiai.chat.bot import Bot
from kiai.chat.channels import Channels
from kiai.chat.journal import Journal
from kiai.chat.mail import Mail
from kiai.chat.service import COUNTS_EVERY_S, Chat
from kiai.clans import Clans
from kiai.clock import Clock, SystemClock
from kiai.decoding.decoder import Decoder, picture_workers, replay_workers
from kiai.errors import Unavailable
from kiai.faces.api import announce as told_to_the_feed
from kiai.faces.api import app as api_app
from kiai.faces.api.operation import Gate, Limit, Operation
from kiai.faces.api.v1.account import Account
from kiai.faces.api.v1.maps import Maps
from kiai.faces.api.v1.matches import Matches
from kiai.faces.api.v1.players import Players
from kiai.faces.api.v1.scores import Scores
from kiai.faces.api.v2.clans import ClansV2
from kiai.faces.api.v2.events import Events
from kiai.faces.api.v2.maps import MapsV2
from kiai.faces.api.v2.matches import MatchesV2
from kiai.faces.api.v2.players import PlayersV2
from kiai.faces.api.v2.scores import ScoresV2
from kiai.faces.asgi import FalconApp
from kiai.faces.bancho.announce import announcer
from kiai.faces.bancho.announce import chat as told_of_chat
from kiai.faces.bancho.announce import match as told_of_matches
from kiai.faces.bancho.announce import presence as told_of_presence
from kiai.faces.bancho.announce import spectate as told_of_spectating
from kiai.faces.bancho.app import Bancho
from kiai.faces.bancho.handlers.chat import ChatHandlers
from kiai.faces.bancho.handlers.maps import MapHandlers
from kiai.faces.bancho.handlers.match import MatchHandlers
from kiai.faces.bancho.handlers.presence import PresenceHandlers
from kiai.faces.bancho.handlers.spectate import SpectateHandlers
from kiai.faces.bancho.login import Login, LoginWords
from kiai.faces.bot.moderation import ModerationCommands
from kiai.faces.bot.mp import MatchCommands
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.ownership import OwnershipCommands
from kiai.faces.bot.players import PlayerCommands
from kiai.faces.bot.pools import PoolCommands
from kiai.faces.bot.reports import ReportCommands
from kiai.faces.bot.server import ServerCommands
from kiai.faces.client import app as client_app
from kiai.faces.client.avatars import Pictures
from kiai.faces.client.beatmap_info import BeatmapInfo
from kiai.faces.client.comments import ReplayComments
from kiai.faces.client.direct import Direct
from kiai.faces.client.door import Door
from kiai.faces.client.favourites import FavouriteSets
from kiai.faces.client.fixed import Fixed
from kiai.faces.client.friends import Friends
from kiai.faces.client.map_pictures import MapPicturePages
from kiai.faces.client.medal_pictures import MedalPictures
from kiai.faces.client.osu_files import OsuFiles
from kiai.faces.client.ratings import Rating
from kiai.faces.client.registration import Registration
from kiai.faces.client.replays import ReplayFrames
from kiai.faces.client.reports import Reports as ClientReports
from kiai.faces.client.scoreboard import Scoreboard
from kiai.faces.client.screenshots import ScreenshotPages
from kiai.faces.client.stars import Stars
from kiai.faces.client.submit import Submit
from kiai.faces.front import Front
from kiai.faces.guard import GuardLimits, guarded_protocol
from kiai.faces.house import House
from kiai.faces.metrics import Across, Metrics
from kiai.faces.site.app import Site
from kiai.faces.watching import Watched, places
from kiai.failpoints import failpoints
from kiai.files.port import Files
from kiai.ids import Ids, SystemIds
from kiai.jobs import Jobs, holding
from kiai.logs import AccessLog
from kiai.measuring import Pool, Timings
from kiai.multiplayer.history import MatchHistory
from kiai.multiplayer.match import Match
from kiai.multiplayer.pools import Pools
from kiai.multiplayer.service import Matches as Rooms
from kiai.networks import Network
from kiai.opening import (
    engine_of,
    is_served,
    make_data_folder,
    open_database,
    open_files,
    open_state,
    require_data,
)
from kiai.presence import Presence
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Realtime, Session, ShownStats
from kiai.realtime.rate_limiter import RateLimiter
from kiai.scores.announcing import SAY_EVERY_S, FirstPlaceLines
from kiai.scores.boards import Boards
from kiai.scores.events import ScoreEvents
from kiai.scores.flags import Flags
from kiai.scores.grades import Grades
from kiai.scores.history import History
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.listing import ScoreLists
from kiai.scores.medals import MEDALS
from kiai.scores.performance import Difficulties, Performance
from kiai.scores.ranks import Ranks
from kiai.scores.rebuilding import Rebuilder
from kiai.scores.recalculation import Recalculation
from kiai.scores.recording import Recorder, Rules
from kiai.scores.replay_import import ReplayImport
from kiai.scores.replays import Replays
from kiai.scores.settling import Settling
from kiai.scores.standing import Standing
from kiai.scores.submission import SubmissionRules, Submissions
from kiai.slots import Slots
from kiai.spectating import Spectating
from kiai.staff import Staff
from kiai.staff.backups import Manifest, back_up, note_back_up
from kiai.staff.doctor import Doctor
from kiai.staff.joining import Joining
from kiai.staff.ownership import Ownership
from kiai.staff.reports import Reports
from kiai.staff.silences import Silences
from kiai.storage.dumping import SQLITE_FILE, dump_postgres, dump_sqlite
from kiai.storage.migrating import newest
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database

if TYPE_CHECKING:
    from kiai.realtime.redis import RedisRealtime
    from kiai.settings import Settings

DELIVER_EVERY_S: Final = 0.25
WRITE_EVERY_S: Final = 0.25
RING_EVERY_S: Final = 0.25
EXPIRE_EVERY_S: Final = 5.0
CLEAR_EVERY_S: Final = 30.0
ACTIVE_EVERY_S: Final = 60.0
COUNT_EVERY_S: Final = 5.0
FORGET_EVERY_S: Final = 3_600.0
NOTE_EVERY_S: Final = 60.0
SETTLE_EVERY_S: Final = 0.5
SWEEP_EVERY_S: Final = 300.0
CHECKPOINT_EVERY_S: Final = 10.0
RELOAD_EVERY_S: Final = 5.0
REFRESH_EVERY_S: Final = 60.0
ENLIST_EVERY_S: Final = 600.0
DELIVERING: Final = "outbox"
HANDED_ON_S: Final = 0.01
WAIT_S: Final = 0.2
WORKER_NAME_BYTES: Final = 9
LOCAL: Final = "localhost"


def first_player_owns(settings: "Settings") -> bool:
    """Whether the first player who logs in becomes the owner: on this machine's own name, and if it is wanted."""
    return settings.domain == LOCAL and settings.first_user_is_owner


class Services:
    """Every domain service, wired. Commands use these; `Server` adds the faces."""

    def __init__(
        self,
        settings: "Settings",
        *,
        database: Database,
        files: Files,
        realtime: Realtime,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.settings = settings
        self.database = database
        self.files = files
        self.realtime = realtime
        self.shared = settings.state is not None  # with other workers
        self.worker = ids.token(WORKER_NAME_BYTES)
        self.clock = clock
        self.ids = ids
        rules = Rules(bonus_pp=settings.bonus_pp, loved_counts=settings.loved_counts, rank_medals=settings.rank_medals)
        reach = failpoints(os.environ)

        self.outbox = Outbox(database, clock, reach)

        self.passwords = Passwords()
        self.accounts = Accounts(database, self.passwords, clock)
        self.limiter = RateLimiter(realtime, clock)
        self.credentials = Credentials(self.accounts, self.limiter, limited=settings.rate_limits)
        self.api_keys = ApiKeys(database, clock, ids)
        self.relationships = Relationships(database, clock)
        self.logins = Logins(database)
        self.decoder = Decoder(picture_workers(), replay_workers())
        self.avatars = Avatars(self.accounts, files, self.decoder, self.clock, self.ids)

        self.performance = Performance(files, workers=settings.workers_pp)
        self.difficulties = Difficulties(database, self.performance)
        self.importer = Importer(database, files, self.performance, clock)
        self.upstream = (
            Upstream(
                settings.upstream_url,
                settings.upstream_key,
                self.importer,
                clock,
                database,
                allow_private=settings.allow_private_upstream,
            )
            if settings.upstream_url
            else None
        )
        self.beatmaps = Beatmaps(database, files, self.upstream)

        self.flags = Flags(database, clock)
        self.recorder = Recorder(database, self.beatmaps, clock, rules, self.flags, reach)
        self.rebuilder = Rebuilder(database, rules)
        self.leaderboards = Leaderboards(database)
        self.score_lists = ScoreLists(database)
        self.ranks = Ranks(database, realtime, self.outbox)
        self.score_events = ScoreEvents(self.leaderboards, self.beatmaps, realtime, clock, self.outbox)
        self.history = History(database, realtime, clock)
        self.standing = Standing(clock)
        self.settling = Settling(database, rules, clock, reach)
        self.refreshing = Refreshing(database, self.upstream, clock) if self.upstream is not None else None
        self.replays = Replays(database, files, self.leaderboards, realtime, clock)
        self.boards = Boards(database)
        self.ratings = Ratings(database, clock)
        self.favourites = Favourites(database, clock, most=settings.favourites_max)
        self.comments = Comments(database, clock)
        self.screenshots = Screenshots(database, files, self.decoder, clock, ids)
        self.map_pictures = MapPictures(database, files, self.decoder)
        self.searching = Searching(database)
        self.mirrors = Mirrors(settings.mirrors, clock, allow_private=settings.allow_private_upstream)
        self.replay_import = ReplayImport(files, self.accounts, self.beatmaps, self.performance, self.recorder, clock)
        self.recalculation = Recalculation(
            database, self.beatmaps, self.performance, self.rebuilder, clock, at_once=2 * settings.workers_pp
        )

        self.announce = announcer(
            told_of_presence.TABLE,
            told_of_spectating.TABLE,
            told_of_chat.TABLE,
            told_of_matches.TABLE,
            told_to_the_feed.TABLE,
        )
        self.presence = Presence(realtime, self.accounts, clock, self.announce, self._shown_stats)
        self.spectating = Spectating(realtime, self.announce)
        self.channels = Channels(database)
        self.journal = Journal(database, clock)
        self.mail = Mail(database, clock)
        self.silences = Silences(database, self.accounts, realtime, clock, self.announce, self._on_silence)
        self.bot = Bot(self.accounts, realtime, clock, ids, limited=settings.rate_limits)
        self.chat = Chat(
            database,
            realtime,
            self.channels,
            self.accounts,
            self.relationships,
            clock,
            self.announce,
            self.bot.hear,
            self.silences.flooded,
            settings.rate_limits,
            mail=self.mail,
            journal=self.journal,
            bot_name=settings.bot_name,
            note_active=self.presence.note_active,
            may_refer=self._may_refer,
            is_private=self.bot.is_private,
        )
        self.first_place_lines = FirstPlaceLines(
            self.leaderboards, self.beatmaps, self.accounts, self.chat, self._link, self.outbox
        )
        self.outbox.to("privileges", self.presence.follow_privileges)
        self.outbox.to("privileges", self.chat.follow_privileges)
        self.outbox.to("sessions", self.presence.end_sessions)
        self.outbox.to("ranks", self.presence.refresh_players)

        self.submissions = Submissions(
            database,
            files,
            realtime,
            self.limiter,
            self.beatmaps,
            self.performance,
            self.decoder,
            self.recorder,
            self.flags,
            self.ranks,
            self.boards,
            clock,
            SubmissionRules(
                require_online=settings.submission_online,
                wrong_checksum=settings.submission_checksum,
                pp_cap=settings.pp_cap,
                oldest_build=settings.oldest_build,
                limited=settings.rate_limits,
            ),
            alert=self.presence.alert,
            reach=reach,
        )
        self.match_history = MatchHistory(database, realtime)
        self.rooms = Rooms(
            realtime,
            self.beatmaps,
            clock,
            self.announce,
            self.match_history,
            self.chat.post,
            self.spectating.stop,
            settings.domain,
            self.limiter if settings.rate_limits else None,
        )
        self.presence.when_somebody_left(self.spectating.depart, self.rooms.depart, self.chat.depart)
        self.clans = Clans(database)
        self.pools = Pools(database, clock)
        self.joining = Joining(database, self.accounts, self.standing, clock)
        self.ownership = Ownership(
            database, self.accounts, clock, settings.data, first_player_owns=first_player_owns(settings)
        )
        self.staff = Staff(database, self.accounts, self.beatmaps, self.standing, clock)
        self.reports = Reports(database, self.journal, realtime, clock, limited=settings.rate_limits)
        self._teach_bot()
        self.doctor = Doctor(database, files, self.beatmaps, self.rebuilder, self.settling, clock, self.is_served)

    def _link(self, path: str) -> str:
        return f"https://osu.{self.settings.domain}/{path}"

    def _teach_bot(self) -> None:
        now_playing = NowPlaying(self.beatmaps, self.performance, self.realtime)
        self.bot.watch(now_playing.hear)
        players = PlayerCommands(
            self.bot,
            self.accounts,
            self.api_keys,
            self.relationships,
            self.leaderboards,
            self.mail,
            self.presence,
            self.realtime,
            self._link,
        )
        moderation = ModerationCommands(
            self.database,
            self.staff,
            self.silences,
            self.presence,
            self.channels,
            self.beatmaps,
            now_playing,
            self.chat,
            self.flags,
            self.clock,
        )
        server = ServerCommands(self.realtime, self.clock, self.settings.title, self._link)
        ownership = OwnershipCommands(self.ownership, self.realtime, limited=self.settings.rate_limits)
        rooms = MatchCommands(
            self.rooms, self.realtime, self.beatmaps, self.pools, self._link, post=self.chat.post, tell=self.chat.tell
        )
        pools = PoolCommands(self.pools, now_playing, self.clock)
        reports = ReportCommands(self.bot, self.reports, self.chat.post)
        for page in (players, now_playing, server, ownership, reports, moderation, rooms, pools):
            self.bot.learn(page.commands())

    async def is_served(self) -> bool:
        """Whether a server runs on the same data."""
        return await is_served(self.settings, self.database)

    async def _shown_stats(self, user_id: int, mode: int) -> ShownStats:
        stats = await self.leaderboards.stats_in(user_id, mode)
        if stats is None:
            return ShownStats()
        rank = await self.realtime.rank_of(user_id, mode)
        return ShownStats(stats.rscore, stats.acc, stats.plays, stats.tscore, rank.rank, stats.pp)

    async def running_matches(self) -> int:
        """How many multiplayer rooms there are."""
        return len(await self.realtime.matches(Match))

    async def match_channel_id(self, match_id: int) -> int:
        """The number of a running match's channel, as tournament clients name it; 0 for a match that is none."""
        found = await self.realtime.match(match_id, Match)
        return 0 if found is None else match_id

    async def _may_refer(self, session: Session, match_id: int) -> bool:
        return await self.rooms.may_refer(session, match_id)

    async def _on_silence(self, user_id: int) -> None:
        await self.rooms.on_silence(user_id)

    async def begin(self) -> None:
        """Loads what a server answers from memory: ranks, channels, and the sessions of its last life."""
        if self.shared:
            await self._first_state()
        else:
            await self.ranks.rebuild()
        await self.channels.reload()
        await self._restore_sessions()

    async def hold(self, job: str, for_s: float) -> bool:
        """Whether this worker has a job for so long; no when nobody can tell whose it is: its turn comes again."""
        try:
            return await self.realtime.hold(f"job:{job}", self.worker, for_s)
        except Unavailable:
            return False

    async def deliver(self) -> None:
        """Passes on what waits in the outbox. A job's work, which one worker does at a time.

        A Redis that was restarted empty gets the ranks first: what was committed since their rows were read waits in
        the outbox until the lists are there.
        """
        if self.shared and await cast("RedisRealtime", self.realtime).is_empty():
            await self.ranks.rebuild()
        await self.outbox.deliver()

    async def _first_state(self) -> None:
        """Loads the ranks into a Redis that has none, or waits for the worker that does."""
        realtime = cast("RedisRealtime", self.realtime)
        while await realtime.is_empty():
            await realtime.hold("job:state", self.worker, HANDED_ON_S)  # says why, where nothing can be written
            async with holding(self.hold, DELIVERING, HANDED_ON_S) as mine:
                if mine and await realtime.is_empty():
                    await self.ranks.rebuild()
            if not mine:
                await asyncio.sleep(WAIT_S)

    async def _restore_sessions(self) -> None:
        """Brings back who was logged in when this embedded server was stopped, but nobody who lost the right to be."""
        if not isinstance(self.realtime, MemoryRealtime) or not keeping.restore(self.realtime, self.settings.data):
            return
        user_ids = [str(user_id) for user_id in await self.realtime.online_ids()]
        await self.presence.follow_privileges(user_ids)

    async def keep_sessions(self) -> None:
        """Writes what was buffered, and keeps who is logged in for the next start of this embedded server."""
        await self.write_buffers()
        await self.presence.write_active()
        if isinstance(self.realtime, MemoryRealtime):
            keeping.keep(self.realtime, self.settings.data)

    async def write_buffers(self) -> None:
        """Writes what came in storms and waits in memory: log-ins, chat lines. A job's work."""
        try:
            await self.logins.flush()
        finally:  # what the one cannot write is no reason to keep the others waiting
            try:
                await self.journal.flush()
            finally:
                try:
                    await self.match_history.flush()
                finally:
                    try:
                        await self.submissions.flush()
                    finally:
                        await self.presence.write_gone()

    def working(self) -> dict[str, Pool]:
        """What works at the same time, by name, and how much of it may."""
        found = {
            "database": self.database.pool(),
            "passwords": self.passwords.pool(),
            "pp": self.performance.pool(),
            **self.decoder.pools(),
        }
        files = self.files.pool()
        if files is not None:
            found["files"] = files
        if self.shared:
            found["state"] = cast("RedisRealtime", self.realtime).pool()
        return found

    @property
    def timings(self) -> dict[str, Timings]:
        """How long each store takes. The realtime state is one only where it is another process's."""
        found = {"database": self.database.timings, "files": self.files.timings}
        if self.shared:
            found["state"] = cast("RedisRealtime", self.realtime).timings
        return found

    async def back_up(self, folder: Path) -> Manifest:
        """Writes a back-up of this moment. Raises Refused, Unavailable."""
        url = self.settings.database

        async def dump(into: Path) -> None:
            if url is None:
                await dump_sqlite(self.settings.data / SQLITE_FILE, into)
            else:
                await dump_postgres(url, into)

        manifest = await back_up(
            folder,
            engine=engine_of(self.settings),
            schema=newest(),
            dump=dump,
            files=self.files,
            clock=self.clock,
        )
        await asyncio.to_thread(note_back_up, self.settings.data, manifest)
        return manifest

    async def close(self) -> None:
        """Lets go of everything, last opened first."""
        if self.upstream is not None:
            await self.upstream.close()
        await self.mirrors.close()
        await asyncio.gather(self.performance.close(), self.decoder.close())
        self.passwords.close()
        if self.shared:
            await cast("RedisRealtime", self.realtime).close()
        await self.database.close()


@contextlib.asynccontextmanager
async def open_services(
    settings: "Settings", *, clock: Clock | None = None, create: bool = True, serving: bool = False
) -> AsyncIterator[Services]:
    """Opens the database and the files and wires the services. Raises Refused and Unavailable with what to do.

    An SQLite database is brought up to date; a PostgreSQL one that is behind is refused. With `create` an SQLite
    database and its data folder are made where there are none; without it, they are refused. `serving` marks this
    process as a server, for commands that run beside it.
    """
    if create:
        make_data_folder(settings.data)
    else:
        require_data(settings)
    clock = clock or SystemClock()
    database = await open_database(settings, serving=serving)
    try:
        services = Services(
            settings,
            database=database,
            files=open_files(settings),
            realtime=open_state(settings, clock),
            clock=clock,
            ids=SystemIds(),
        )
    except BaseException:
        await database.close()
        raise
    try:
        yield services
    finally:
        await services.close()


class Server:
    """The faces over the services, as one ASGI application, and the jobs beside them."""

    def __init__(self, services: Services, access_log: AccessLog, slots: Slots | None = None) -> None:
        settings = services.settings
        trusted: tuple[Network, ...] = tuple(ip_network(cidr) for cidr in settings.trusted_proxy)
        limited = settings.rate_limits
        self.metrics = Metrics(slots)
        self.protocol = guarded_protocol(
            GuardLimits(
                connections=settings.connections_max,
                connections_per_address=settings.connections_per_address,
                trusted=trusted,
            )
        )
        ledger = self.protocol.ledger
        self.metrics.gauge("connections", "Open connections.", lambda: ledger.connections)
        self.metrics.counter("guard_refused", "What the guard refused.", "reason", lambda: ledger.refused)
        self.events = Events(services.realtime, services.accounts)
        self.operations = [*_operations(services), *self.events.operations()]
        everything = Limit("api", settings.api_rate_per_minute, 60.0) if limited else None
        gate = Gate(services.api_keys, services.limiter, services.clock, everything)
        self.house = House(
            self.metrics,
            {
                "database": services.accounts.total,
                "state": services.realtime.online_count,
                "files": services.files.check,
            },
            settings.data,
            trusted,
        )
        bancho = _bancho(services)
        self.metrics.gauge("event_streams", "Listeners to /v2/events.", lambda: self.events.clients)
        self.metrics.gauge("pp_waiting", "Calculations that are not done.", lambda: services.performance.waiting)
        self.metrics.pools(services.working)
        self.metrics.stores(services.timings)
        self.metrics.counter("logins", "Log-ins of game clients.", "outcome", lambda: bancho.login.outcomes)
        self.metrics.counter("packets_refused", "Packets that had no effect.", "reason", lambda: bancho.refused)
        self.metrics.counter("submissions", "Submitted plays.", "result", lambda: services.submissions.outcomes)
        self.metrics.counter("integrity_flags", "Doubts noted for the staff.", "kind", lambda: services.flags.raised)
        self.metrics.counter(
            "dropped",
            "What a full buffer dropped before it was written.",
            "what",
            lambda: {"logins": services.logins.dropped, "lines": services.journal.dropped},
        )
        self.front = Front(
            bancho=bancho,
            api=api_app.build(self.operations, gate, title=settings.title),
            avatars=Pictures(services.avatars).app(),
            client=_client(services),
            site=Site(settings, services.accounts, services.realtime).app(),
            house=self.house.app(),
            ids=services.ids,
            metrics=self.metrics,
            access_log=access_log,
            trusted=trusted,
        )
        cut = self.front.cut
        self.metrics.counter("http_cut", "Answers that began and were not finished.", "by", lambda: cut)
        self.jobs = Jobs(services.hold if services.shared else None)
        self.jobs.every(DELIVER_EVERY_S, DELIVERING, services.deliver, shared=True)
        self.jobs.every(WRITE_EVERY_S, "buffers", services.write_buffers)
        self.jobs.every(SAY_EVERY_S, "first-places", services.first_place_lines.say)
        self.jobs.every(RING_EVERY_S, "match-timers", services.rooms.ring, shared=True)
        self.jobs.every(CLEAR_EVERY_S, "dead-seats", services.rooms.clear_up, shared=True)
        self.jobs.every(EXPIRE_EVERY_S, "expiry", services.presence.expire, shared=True)
        self.jobs.every(COUNT_EVERY_S, "figures", _watched(self.metrics, services).look)
        self.jobs.every(ACTIVE_EVERY_S, "activity", services.presence.write_active)
        self.jobs.every(COUNTS_EVERY_S, "channel-counts", services.chat.tell_counts)
        self.jobs.every(FORGET_EVERY_S, "old-lines", services.journal.forget_older, shared=True)
        self.jobs.every(FORGET_EVERY_S, "old-mail", services.mail.forget_older, shared=True)
        self.jobs.every(FORGET_EVERY_S, "old-reports", services.reports.forget_older, shared=True)
        self.jobs.every(FORGET_EVERY_S, "old-answers", services.submissions.forget_older, shared=True)
        self.jobs.every(SWEEP_EVERY_S, "orphans", services.replays.sweep, shared=True)
        self.jobs.every(FORGET_EVERY_S, "left-overs", services.files.sweep, shared=True)
        self.jobs.every(FORGET_EVERY_S, "old-avatars", services.avatars.sweep, shared=True)
        self.jobs.every(CHECKPOINT_EVERY_S, "checkpoint", services.database.checkpoint)
        self.jobs.every(SETTLE_EVERY_S, "settling", services.settling.work, shared=True)
        self.jobs.every(NOTE_EVERY_S, "rank-history", services.history.note_day, shared=True)
        if services.refreshing is not None:
            self.jobs.every(REFRESH_EVERY_S, "refresh-sets", services.refreshing.refresh_due, shared=True)
            self.jobs.every(ENLIST_EVERY_S, "enlist-sets", services.refreshing.enlist, shared=True)
        if services.shared:
            self.jobs.every(RELOAD_EVERY_S, "channels", services.channels.reload)
        jobs = self.jobs
        self.metrics.counter("job_failures", "Turns of periodic work that failed.", "job", lambda: jobs.failures)
        self.metrics.gauges(
            "job_last_success_timestamp_seconds", "When it was last done.", "job", lambda: jobs.done_at, Across.LATEST
        )
        self.jobs.run("loop-lag", self.metrics.watch_loop)
        if slots is not None:
            self.jobs.run("shared-figures", self.metrics.leave_for_others)


def _watched(metrics: Metrics, services: Services) -> Watched:
    settings = services.settings
    files = None if settings.files is None or "://" in settings.files else Path(settings.files)
    return Watched(
        metrics,
        services.realtime,
        services.running_matches,
        services.outbox,
        services.settling,
        services.clock,
        settings.data,
        places(settings.data, files),
    )


def _bancho(services: Services) -> Bancho:
    settings = services.settings
    login = Login(
        LoginWords(
            title=settings.title,
            bot_name=settings.bot_name,
            welcome=settings.welcome,
            menu_icon=settings.menu_icon or "",
            menu_link=settings.menu_link or "",
            maintenance=settings.maintenance,
            oldest_build=settings.oldest_build,
            build_age_days=settings.build_age_days,
        ),
        credentials=services.credentials,
        limiter=services.limiter,
        relationships=services.relationships,
        logins=services.logins,
        presence=services.presence,
        chat=services.chat,
        mail=services.mail,
        realtime=services.realtime,
        clock=services.clock,
        ids=services.ids,
        joining=services.joining,
        ownership=services.ownership,
        geography=Geography(),
        limited=settings.rate_limits,
    )
    return Bancho(
        login,
        PresenceHandlers(
            services.presence,
            services.accounts,
            services.relationships,
            services.realtime,
            services.clock,
            settings.bot_name,
        ).table(),
        ChatHandlers(services.chat).table(),
        MatchHandlers(services.rooms, services.clock).table(),
        SpectateHandlers(services.spectating).table(),
        MapHandlers(services.beatmaps, services.leaderboards, services.realtime).table(),
        presence=services.presence,
        realtime=services.realtime,
        clock=services.clock,
        title=settings.title,
        matches=services.running_matches,
        limited=settings.rate_limits,
    )


def _client(services: Services) -> FalconApp:
    settings = services.settings
    door = Door(services.credentials, services.realtime, services.limiter, limited=settings.rate_limits)
    return client_app.build(
        door,
        [
            Submit(door, services.submissions, settings.domain),
            Scoreboard(door, services.beatmaps, services.boards, services.presence),
            ReplayFrames(services.replays),
            Friends(services.accounts, services.relationships, services.mail),
            Direct(services.beatmaps, services.searching, services.mirrors, services.files),
            OsuFiles(services.beatmaps),
            Rating(services.beatmaps, services.ratings),
            FavouriteSets(services.favourites),
            ReplayComments(
                door, services.comments, services.beatmaps, services.leaderboards, services.realtime, services.clock
            ),
            ScreenshotPages(door, services.screenshots, services.clock),
            BeatmapInfo(MapInfos(services.database), Grades(services.database)),
            Registration(door, services.accounts, is_open=settings.registration),
            Stars(services.beatmaps, services.difficulties),
            ClientReports(services.flags, services.realtime),
            MapPicturePages(services.map_pictures, settings.map_pictures_url),
            MedalPictures([medal.file for medal in MEDALS]),
            Fixed(
                seasonal=settings.seasonal_backgrounds,
                menu=(settings.menu_icon, settings.menu_link or "") if settings.menu_icon else None,
                menu_link=settings.menu_link or "",
                channel_of=services.match_channel_id,
            ),
        ],
    )


def _operations(services: Services) -> list[Operation]:
    settings = services.settings
    players = Players(
        services.accounts,
        services.leaderboards,
        services.ranks,
        services.beatmaps,
        services.realtime,
        settings.bot_name,
    )
    maps = Maps(
        services.beatmaps,
        services.leaderboards,
        services.performance,
        services.difficulties,
        Limit("pp", settings.api_pp_per_minute, 60.0),
    )
    replay_limit = Limit("replays", settings.api_replays_per_minute, 60.0)
    scores = Scores(services.leaderboards, services.replays, replay_limit)
    matches = Matches(services.realtime, services.accounts, services.clans, services.pools, services.beatmaps)
    account = Account(
        services.accounts,
        services.relationships,
        services.avatars,
        services.realtime,
        Limit("avatars", settings.avatar_uploads_per_hour, 3600.0),
    )
    players_v2 = PlayersV2(
        services.accounts, services.leaderboards, services.ranks, services.history, services.realtime
    )
    maps_v2 = MapsV2(services.accounts, services.beatmaps, services.leaderboards)
    scores_v2 = ScoresV2(
        services.accounts,
        services.beatmaps,
        services.leaderboards,
        services.score_lists,
        services.replays,
        replay_limit,
    )
    clans_v2 = ClansV2(services.clans)
    matches_v2 = MatchesV2(services.realtime, services.match_history, services.accounts, matches)
    pages = (players, maps, scores, matches, account, players_v2, clans_v2, maps_v2, scores_v2, matches_v2)
    return [operation for page in pages for operation in page.operations()]
