"""The composition root: builds every domain service over the opened stores.

`kiai.server` adds the faces and the periodic jobs. No state is global: one process can run two servers.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from kiai.accounts import Accounts, ApiKeys, Credentials, Logins, Passwords, Relationships
from kiai.accounts.avatars import Avatars
from kiai.beatmaps import Beatmaps, Comments, Favourites, Importer, Ratings
from kiai.beatmaps.mirrors import Mirrors
from kiai.beatmaps.pictures import MapPictures
from kiai.beatmaps.refreshing import BeatmapRefresher
from kiai.beatmaps.searching import MapSearch
from kiai.beatmaps.upstream import Upstream
from kiai.chat import ChannelHistory, Channels, Chat, Journal, Mail, WordFilter
from kiai.chat.bot import Bot
from kiai.clans import Clans
from kiai.clock import Clock, SystemClock
from kiai.community_services import CommunityServices
from kiai.decoding.decoder import Decoder, long_replay_workers, picture_workers, replay_workers
from kiai.faces.wiring import announcer_of_faces, register_bot_commands
from kiai.failpoints import failpoints
from kiai.ids import Ids, SystemIds
from kiai.live import Live
from kiai.measuring import PoolUsage
from kiai.multiplayer.history import MatchHistory
from kiai.multiplayer.pools import Mappools
from kiai.multiplayer.service import Matches
from kiai.presence import Presence
from kiai.realtime.port import Rank, SessionStats
from kiai.realtime.rate_limiter import RateLimiter
from kiai.scores.announcing import FirstPlaceLines
from kiai.scores.boards import Boards
from kiai.scores.feed import ScoreFeed
from kiai.scores.flags import Flags
from kiai.scores.hiding import MAP_WIPE, USER_WIPE, Hiding
from kiai.scores.lookup import ScoreLookup
from kiai.scores.performance import Difficulties, Performance
from kiai.scores.profiles import Profiles
from kiai.scores.rankings import Rankings
from kiai.scores.ranks import BY_RANKED_SCORE, Ranks
from kiai.scores.rebuilding import Rebuilder
from kiai.scores.recalculation import Recalculation
from kiai.scores.reconciling import Reconciler
from kiai.scores.recording import Recorder, TotalsOptions
from kiai.scores.replay_import import ReplayImport
from kiai.scores.replays import Replays
from kiai.scores.round_scores import RoundScores
from kiai.scores.showcase import Showcase
from kiai.scores.submission import Submissions, submission_options
from kiai.scores.visibility_changes import Standing
from kiai.screenshots import Screenshots
from kiai.server_settings import Settings
from kiai.site_services import SiteServices
from kiai.spectating import Spectating
from kiai.staff import Staff
from kiai.staff.authority import Authority
from kiai.staff.hardware import HardwareWatch
from kiai.staff.onboarding import Onboarding
from kiai.staff.ownership import Ownership
from kiai.staff.silences import Silences
from kiai.staff.switches import Switches
from kiai.storage.outbox import Outbox
from kiai.stores import Stores, is_served, open_stores


class Services:
    """Every domain service of one server. Commands use it directly, and `kiai.server` adds the faces."""

    def __init__(self, settings: Settings, stores: Stores, *, clock: Clock, ids: Ids) -> None:
        database, files, realtime = stores.database, stores.files, stores.realtime
        self.settings = settings
        self.stores = stores
        self.database = database
        self.files = files
        self.realtime = realtime
        self.clock, self.ids = clock, ids
        self.rules = TotalsOptions(
            bonus_pp=settings.bonus_pp, loved_counts=settings.loved_counts, rank_medals=settings.rank_medals
        )
        self.reach = failpoints(os.environ)
        self.outbox = Outbox(database, clock, self.reach)
        self.limiter = RateLimiter(realtime, clock)
        self.decoder = Decoder(picture_workers(), replay_workers(), long_replay_workers())
        self.announce = announcer_of_faces(irc=settings.has_irc)
        # The order matters: each step uses services of the steps before it.
        self._build_accounts()
        self._build_beatmaps()
        self._build_scores()
        self._build_chat()
        self._build_submissions()
        self._build_matches()
        self._build_staff()
        self.site = SiteServices(self)
        register_bot_commands(self)

    def _build_accounts(self) -> None:
        database, clock, ids, settings = self.database, self.clock, self.ids, self.settings
        self.switches = Switches(database, clock, maintenance=settings.maintenance, registration=settings.registration)
        self.passwords = Passwords()
        self.accounts = Accounts(database, self.passwords, clock)
        self.credentials = Credentials(self.accounts, self.limiter, limited=settings.rate_limits)
        self.api_keys = ApiKeys(database, clock, ids)
        self.relationships = Relationships(database, clock)
        self.logins = Logins(database)
        self.avatars = Avatars(self.accounts, self.files, self.decoder, clock, ids)
        self.screenshots = Screenshots(database, self.files, self.decoder, clock, ids)

    def _build_beatmaps(self) -> None:
        settings, database, files, clock = self.settings, self.database, self.files, self.clock
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
                limited=settings.rate_limits,
            )
            if settings.upstream_url
            else None
        )
        self.beatmaps = Beatmaps(database, files, self.upstream)
        self.refreshing = BeatmapRefresher(database, self.upstream, clock) if self.upstream is not None else None
        self.ratings = Ratings(database, clock)
        self.favourites = Favourites(database, clock, most=settings.favourites_max)
        self.comments = Comments(database, clock)
        self.map_pictures = MapPictures(database, files, self.decoder)
        self.searching = MapSearch(database)
        self.mirrors = Mirrors(settings.mirrors, clock, allow_private=settings.allow_private_upstream)

    def _build_scores(self) -> None:
        database, files, realtime, clock = self.database, self.files, self.realtime, self.clock
        self.flags = Flags(database, clock)
        self.recorder = Recorder(database, self.beatmaps, clock, self.rules, self.flags, self.reach)
        self.rebuilder = Rebuilder(database, self.rules)
        self.profiles = Profiles(database)
        self.rankings = Rankings(database)
        self.score_lookup = ScoreLookup(database)
        self.ranks = Ranks(database, realtime, self.outbox)
        self.score_feed = ScoreFeed(self.score_lookup, self.beatmaps, realtime, clock, self.outbox)
        self.showcase = Showcase(database, realtime, clock, self.outbox)
        self.standing = Standing(clock)
        self.reconciler = Reconciler(database, self.rules, clock, self.reach)
        self.hiding = Hiding(database, clock)
        self.reconciler.include(USER_WIPE, self.hiding.user_step)
        self.reconciler.include(MAP_WIPE, self.hiding.map_step)
        self.replays = Replays(database, files, self.score_lookup, realtime, clock)
        self.boards = Boards(database)
        self.replay_import = ReplayImport(files, self.accounts, self.beatmaps, self.performance, self.recorder, clock)
        self.recalculation = Recalculation(
            database, self.beatmaps, self.performance, self.rebuilder, clock, at_once=2 * self.settings.workers_pp
        )

    def _build_chat(self) -> None:
        settings, database, realtime, clock = self.settings, self.database, self.realtime, self.clock
        self.presence = Presence(realtime, self.accounts, clock, self.announce, self._session_stats)
        self.spectating = Spectating(realtime, self.announce)
        self.channels = Channels(database)
        self.journal = Journal(database, clock)
        self.history, self.word_filter = ChannelHistory(database, self.journal, clock), WordFilter(database)
        self.mail = Mail(database, clock)
        # Silences and chat need the matches, which are built later, so they get functions that look them up.
        self.authority = Authority(database, self.accounts, clock)
        self.silences = Silences(
            self.accounts, self.authority, realtime, clock, self.announce, self._leave_match, self.history
        )
        self.bot = Bot(self.accounts, realtime, clock, self.ids, limited=settings.rate_limits)
        self.chat = Chat(
            database,
            realtime,
            self.channels,
            self.accounts,
            self.relationships,
            clock,
            self.announce,
            self.bot.on_message,
            self.silences.silence_by_server,
            settings.rate_limits,
            mail=self.mail,
            journal=self.journal,
            bot_name=settings.bot_name,
            mark_active=self.presence.last_seen.mark_active,
            may_refer=lambda session, match_id: self.matches.may_refer(session, match_id),
            is_private=self.bot.is_private,
            announces_members=settings.has_irc,
            word_filter=self.word_filter,
        )
        self.first_place_lines = FirstPlaceLines(
            self.score_lookup, self.beatmaps, self.accounts, self.chat, self.link, self.outbox
        )
        self.outbox.subscribe("privileges", self.presence.on_privileges_change)
        self.outbox.subscribe("privileges", self.chat.on_privileges_change)
        self.outbox.subscribe("sessions", self.presence.end_sessions)
        self.outbox.subscribe("ranks", self.presence.refresh_players)

    def _build_submissions(self) -> None:
        self.submissions = Submissions(
            self.database,
            self.files,
            self.realtime,
            self.limiter,
            self.beatmaps,
            self.performance,
            self.decoder,
            self.recorder,
            self.flags,
            self.ranks,
            self.boards,
            self.clock,
            submission_options(self.settings),
            alert=self.presence.alert,
            reach=self.reach,
        )

    def _build_matches(self) -> None:
        settings, database, realtime = self.settings, self.database, self.realtime
        self.match_history = MatchHistory(database, realtime)
        self.matches = Matches(
            realtime,
            self.beatmaps,
            self.clock,
            self.announce,
            self.match_history,
            self.chat,
            self.spectating.stop,
            RoundScores(self.profiles, self.performance),
            settings.domain,
            self.limiter if settings.rate_limits else None,
        )
        self.presence.subscribe_to_session_end(
            self.spectating.on_session_end, self.matches.on_session_end, self.chat.on_session_end
        )
        self.clans = Clans(database, self.outbox, formula=settings.clan_pp)
        self.pools = Mappools(database, self.clock)
        self.live = Live(database, realtime, self.accounts, self.clock)

    def _build_staff(self) -> None:
        settings, database, clock = self.settings, self.database, self.clock
        self.onboarding = Onboarding(database, self.accounts, self.standing, self.flags, clock)
        self.hardware = HardwareWatch(self.logins, self.onboarding, self.realtime, clock)
        self.ownership = Ownership(
            database, self.accounts, clock, settings.data, first_player_owns=settings.first_player_owns
        )
        self.staff = Staff(database, self.accounts, self.authority, self.beatmaps, self.standing, clock)
        self.community = CommunityServices(self)

    def link(self, path: str) -> str:
        """Return the URL of a page of the website."""
        return f"https://osu.{self.settings.domain}/{path}"

    async def _leave_match(self, user_id: int) -> None:
        await self.matches.on_silence(user_id)

    async def is_served(self) -> bool:
        """Return whether a server runs on the same data."""
        return await is_served(self.settings, self.database)

    async def _session_stats(self, user_id: int, mode: int) -> SessionStats:
        ranks = await self.realtime.ranks_of(user_id)
        stats = await self.profiles.stats_in(user_id, mode)
        if stats is None:
            return SessionStats()
        rank, by_score = ranks.get(mode, Rank()), ranks.get(BY_RANKED_SCORE + mode, Rank())
        return SessionStats(stats.rscore, stats.acc, stats.plays, stats.tscore, rank.rank, stats.pp, by_score.rank)

    def work_pools(self) -> dict[str, PoolUsage]:
        """Return the usage of all pools of threads, processes and connections, by name."""
        own = {"passwords": self.passwords.pool(), "pp": self.performance.pool(), "pages": self.site.pages.pool()}
        own["evidence"] = self.community.evidence_decoder.pool()
        return {**self.stores.pools(), **own, **self.decoder.pools()}

    async def close(self) -> None:
        """Close the connections to other servers and end the worker processes."""
        upstream = () if self.upstream is None else (self.upstream.close(),)
        community = (self.community.evidence_decoder, self.community.webhooks)
        pools = (self.performance, self.decoder, *community, self.site.pages)
        await asyncio.gather(*upstream, self.mirrors.close(), self.passwords.close(), *(pool.close() for pool in pools))


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, *, clock: Clock | None = None, create: bool = True, serving: bool = False
) -> AsyncIterator[Services]:
    """Open the stores and build the services. `kiai.stores.open_stores` describes the parameters and errors."""
    clock = clock or SystemClock()
    async with open_stores(settings, clock, create=create, serving=serving) as stores:
        services = Services(settings, stores, clock=clock, ids=SystemIds())
        try:
            yield services
        finally:
            await services.close()
