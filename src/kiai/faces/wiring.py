"""Builds the faces over the services: the bancho protocol, the game's web endpoints, the API and the bot.

Services do not depend on faces. `kiai.app` builds the services; this module passes each face the ones that it uses.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from kiai.beatmaps.info import MapInfos
from kiai.clans import ClanDirectory
from kiai.faces.admin_wiring import build_admin_pages
from kiai.faces.api import announce as feed_entries
from kiai.faces.api.operation import Operation
from kiai.faces.api.v1.account import AccountV1
from kiai.faces.api.v1.maps import MapsV1
from kiai.faces.api.v1.matches import MatchesV1
from kiai.faces.api.v1.players import PlayersV1
from kiai.faces.api.v1.scores import ScoresV1
from kiai.faces.api.v2.clan_acts import ClanActsV2
from kiai.faces.api.v2.clans import ClansV2
from kiai.faces.api.v2.flags import FlagsV2
from kiai.faces.api.v2.health import HealthV2
from kiai.faces.api.v2.highlights import HighlightsV2
from kiai.faces.api.v2.maps import MapsV2
from kiai.faces.api.v2.matches import MatchesV2
from kiai.faces.api.v2.moderation import ModerationV2
from kiai.faces.api.v2.nominations import NominationsV2
from kiai.faces.api.v2.players import PlayersV2
from kiai.faces.api.v2.profiles import ProfilesV2
from kiai.faces.api.v2.rankings import RankingsV2
from kiai.faces.api.v2.samples import SamplesV2
from kiai.faces.api.v2.scores import ScoresV2
from kiai.faces.api.v2.server import ServerV2
from kiai.faces.api.v2.sets import SetsV2
from kiai.faces.api.v2.staff import StaffV2
from kiai.faces.bancho.announce import announcer
from kiai.faces.bancho.announce import chat as chat_packets
from kiai.faces.bancho.announce import match as match_packets
from kiai.faces.bancho.announce import presence as presence_packets
from kiai.faces.bancho.announce import spectate as spectating_packets
from kiai.faces.bancho.app import Bancho
from kiai.faces.bancho.handlers.chat import ChatHandlers
from kiai.faces.bancho.handlers.maps import MapHandlers
from kiai.faces.bancho.handlers.match import MatchHandlers
from kiai.faces.bancho.handlers.presence import PresenceHandlers
from kiai.faces.bancho.handlers.spectate import SpectateHandlers
from kiai.faces.bancho.login import Login, LoginTexts
from kiai.faces.bot.clans import ClanCommands
from kiai.faces.bot.community import CommunityCommands
from kiai.faces.bot.devices import DeviceCommands
from kiai.faces.bot.flags import FlagCommands
from kiai.faces.bot.help import HelpCommands
from kiai.faces.bot.inspection import InspectionCommands
from kiai.faces.bot.map_links import MapLinks
from kiai.faces.bot.maps import MapCommands
from kiai.faces.bot.moderation import ModerationCommands
from kiai.faces.bot.mp import MatchCommands
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.overwriting import OverwriteCommands
from kiai.faces.bot.ownership import OwnershipCommands
from kiai.faces.bot.players import PlayerCommands
from kiai.faces.bot.pools import PoolCommands
from kiai.faces.bot.recalculations import RecalculationCommands
from kiai.faces.bot.reports import ReportCommands
from kiai.faces.bot.sanctions import SanctionCommands
from kiai.faces.bot.server import ServerCommands
from kiai.faces.bot.server_acts import ServerActCommands
from kiai.faces.bot.sessions import SessionCommands
from kiai.faces.bot.wipes import WipeCommands
from kiai.faces.client import app as client_app
from kiai.faces.client.beatmap_info import BeatmapInfoEndpoints
from kiai.faces.client.client_signals import ReportEndpoints
from kiai.faces.client.comments import CommentEndpoints
from kiai.faces.client.direct import DirectEndpoints
from kiai.faces.client.favourites import FavouriteEndpoints
from kiai.faces.client.friends import FriendEndpoints
from kiai.faces.client.gateway import ClientGateway
from kiai.faces.client.map_pictures import MapPictureEndpoints
from kiai.faces.client.medal_pictures import MedalPictureEndpoints
from kiai.faces.client.osu_files import OsuFileEndpoints
from kiai.faces.client.ratings import RatingEndpoints
from kiai.faces.client.registration import RegistrationEndpoints
from kiai.faces.client.replays import ReplayEndpoints
from kiai.faces.client.scoreboard import ScoreboardEndpoints
from kiai.faces.client.screenshots import ScreenshotEndpoints
from kiai.faces.client.short_way import ClientShortWay
from kiai.faces.client.stars import StarEndpoints
from kiai.faces.client.static_endpoints import StaticEndpoints
from kiai.faces.client.submit import SubmissionEndpoints
from kiai.faces.metrics import Metrics
from kiai.faces.polled_metrics import PolledMetrics, disks
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.account_security import AccountSecurityPages
from kiai.faces.site.app import PageGroup, Site
from kiai.faces.site.assets import Assets
from kiai.faces.site.beatmapsets import SetPages
from kiai.faces.site.clan_desk import ClanDeskPages
from kiai.faces.site.clans import ClanPages
from kiai.faces.site.connect import ConnectPages
from kiai.faces.site.documents import DocumentPages
from kiai.faces.site.failure import FailurePages
from kiai.faces.site.friends import FriendPages
from kiai.faces.site.gateway import SiteGateway
from kiai.faces.site.home import HomePages
from kiai.faces.site.indexing import IndexingPages
from kiai.faces.site.leaderboards import LeaderboardPages
from kiai.faces.site.live import LiveParts
from kiai.faces.site.login import LoginPages
from kiai.faces.site.mail import MailPages
from kiai.faces.site.map_requests import RequestPages
from kiai.faces.site.mappools import MappoolPages
from kiai.faces.site.medals import MedalPages
from kiai.faces.site.multiplayer import MultiplayerPages
from kiai.faces.site.news import NewsPages
from kiai.faces.site.password_reset import PasswordResetPages
from kiai.faces.site.pictures import PicturePages
from kiai.faces.site.preferences import PreferencePages
from kiai.faces.site.profiles import ProfilePages
from kiai.faces.site.redirects import Redirects
from kiai.faces.site.registration import RegistrationPages
from kiai.faces.site.reporting import ReportPages
from kiai.faces.site.scores import ScorePages
from kiai.faces.site.search import SearchPages
from kiai.faces.site.set_boards import SetBoards
from kiai.faces.site.set_search import SetSearchPages
from kiai.faces.site.settings.data import DataPages
from kiai.faces.site.settings.keys import KeyPages
from kiai.faces.site.settings.name import NamePages
from kiai.faces.site.settings.pictures import PictureSettingsPages
from kiai.faces.site.settings.privacy import PrivacyPages
from kiai.faces.site.settings.profile import ProfileSettingsPages
from kiai.faces.site.start_page import StartPages
from kiai.faces.site.static_files import StaticFiles
from kiai.faces.site.status import StatusPages
from kiai.faces.site.templating import Templates
from kiai.faces.streams import StreamSender
from kiai.osu.durations import parse_duration
from kiai.realtime.port import Announce
from kiai.scores.grades import Grades
from kiai.scores.medals import MEDALS
from kiai.scores.overview import Overviews
from kiai.staff.clients import Clients
from kiai.staff.match_acts import MatchActs
from kiai.staff.pool_acts import PoolActs
from kiai.staff.status_history import StatusHistory

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.server_settings import Settings


def announcer_of_faces(*, irc: bool) -> Announce:
    """Return the function that encodes events of the services as entries of the topics that clients follow.

    `irc`: whether the server accepts IRC connections, which read a topic of their own.
    """
    tables = [
        presence_packets.TABLE,
        spectating_packets.TABLE,
        chat_packets.TABLE,
        match_packets.TABLE,
        feed_entries.TABLE,
    ]
    if irc:
        # PERF: imported only when needed, as `irc_wiring`.
        from kiai.faces.irc import records

        tables.append(records.TABLE)
    return announcer(*tables)


def register_bot_commands(services: "Services") -> None:
    """Register all commands with the bot."""
    now_playing = NowPlaying(services.beatmaps, services.performance, services.realtime)
    services.bot.set_action_handler(now_playing.on_action)
    players = PlayerCommands(
        services.bot,
        services.accounts,
        services.site.own_keys,
        services.relationships,
        services.profiles,
        services.mail,
        services.presence,
        services.realtime,
        services.link,
    )
    community = services.community
    moderation = ModerationCommands(services.staff, community.announcements, community.channel_desk)
    online = services.live.online.public.count
    server = ServerCommands(services.realtime, services.clock, services.settings.title, services.link, online)
    ownership = OwnershipCommands(services.ownership, services.realtime, limited=services.settings.rate_limits)
    matches = MatchCommands(
        services.matches,
        MatchActs(services.matches, services.realtime, services.authority, services.clock),
        services.realtime,
        services.beatmaps,
        services.pools,
        services.link,
        player=services.bot.player,
        post=services.chat.post,
        notify=services.chat.notify,
    )
    pools = PoolCommands(services.pools, PoolActs(services.pools, services.authority, services.clock), now_playing)
    clans = ClanCommands(
        services.bot,
        services.clans,
        ClanDirectory(services.database),
        services.community.clans,
        services.community.clan_staff,
        services.link,
    )
    reports = ReportCommands(services.bot, services.community.reports, services.chat.post)
    flags = FlagCommands(services.bot, services.community.flag_queue)
    sanctions = SanctionCommands(
        community.restrictions,
        services.silences,
        community.kicks,
        community.wipes,
        community.donors,
        community.notes,
        community.naming,
        services.site.deletion_by_staff,
        community.audit,
        services.clock,
    )
    devices = DeviceCommands(community.devices)
    maps = MapCommands(
        now_playing,
        services.beatmaps,
        community.map_requests,
        community.nominations,
        StatusHistory(services.database),
        services.mirrors,
        community.map_imports,
        services.link,
    )
    community_commands = CommunityCommands(
        services.authority, community.faq, community.chat_desk, community.filter_desk, services.realtime
    )
    sessions = SessionCommands(services.presence, community.kicks, Clients(services.authority, services.realtime))
    map_links = MapLinks(now_playing, services.beatmaps, services.mirrors, services.realtime, services.link)
    wipes = WipeCommands(community.wipes, now_playing, services.realtime, services.link)
    overwrite = OverwriteCommands(services.site.overwriting, services.realtime, services.link)
    basics = (HelpCommands(services.bot), players, sessions, overwrite)
    of_players = (*basics, now_playing, map_links, server, ownership, community_commands, maps)
    of_staff = (moderation, sanctions, wipes, _inspection(services, now_playing), _server_acts(services))
    recalculations = RecalculationCommands(services.bot, now_playing, community.recalculations)
    for group in (*of_players, reports, devices, flags, *of_staff, recalculations, matches, pools, clans):
        services.bot.register(group.commands())


def _server_acts(services: "Services") -> ServerActCommands:
    community = services.community
    return ServerActCommands(
        community.maintenance,
        community.registration_switch,
        community.address_blocks,
        community.shutdown,
        community.debug_log,
        community.live_settings,
    )


def _inspection(services: "Services", now_playing: NowPlaying) -> InspectionCommands:
    return InspectionCommands(
        services.community.inspections,
        services.community.content_removal,
        services.profiles,
        now_playing,
        services.realtime,
        services.clock,
    )


def build_bancho(services: "Services") -> Bancho:
    """Build the face of the game's realtime protocol."""
    settings = services.settings
    live = services.community.live_settings

    def login_texts() -> LoginTexts:
        current = live.current
        return LoginTexts(
            title=current.title,
            bot_name=current.bot_name,
            welcome=current.welcome,
            menu_icon=current.menu_icon or "",
            menu_link=current.menu_link or "",
            oldest_build=current.oldest_build,
            build_age_days=current.build_age_days,
        )

    login = Login(
        login_texts,
        credentials=services.credentials,
        limiter=services.limiter,
        relationships=services.relationships,
        logins=services.logins,
        history=services.site.entry.history,
        presence=services.presence,
        chat=services.chat,
        mail=services.mail,
        realtime=services.realtime,
        clock=services.clock,
        ids=services.ids,
        onboarding=services.onboarding,
        hardware=services.hardware,
        deletion=services.site.deletion,
        ownership=services.ownership,
        faq=services.community.faq,
        under_maintenance=services.switches.under_maintenance,
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
        MatchHandlers(services.matches, services.clock).table(),
        SpectateHandlers(services.spectating).table(),
        MapHandlers(services.beatmaps, Grades(services.database), services.realtime).table(),
        presence=services.presence,
        realtime=services.realtime,
        clock=services.clock,
        title=settings.title,
        players=services.live.online.public.count,
        matches=services.matches.count,
        limited=settings.rate_limits,
    )


def build_client(services: "Services") -> ClientShortWay:
    """Build the face of the game's web endpoints."""
    settings, live = services.settings, services.community.live_settings
    gateway = ClientGateway(services.credentials, services.realtime, services.limiter, limited=settings.rate_limits)
    return client_app.build(
        gateway,
        [
            SubmissionEndpoints(
                gateway,
                services.submissions,
                services.hardware,
                services.clock,
                settings.domain,
                limited=settings.rate_limits,
            ),
            ScoreboardEndpoints(gateway, services.beatmaps, services.boards, services.presence),
            ReplayEndpoints(services.replays),
            FriendEndpoints(services.accounts, services.relationships, services.mail),
            DirectEndpoints(services.beatmaps, services.searching, services.mirrors, services.files),
            OsuFileEndpoints(services.beatmaps),
            RatingEndpoints(services.beatmaps, services.ratings),
            FavouriteEndpoints(services.favourites),
            CommentEndpoints(
                gateway,
                services.comments,
                services.beatmaps,
                services.score_lookup,
                services.realtime,
                services.clock,
                verifies_email=settings.mail_verification,
            ),
            ScreenshotEndpoints(gateway, services.screenshots, services.clock),
            BeatmapInfoEndpoints(MapInfos(services.database), Grades(services.database)),
            RegistrationEndpoints(services.site.entry.registration, f"{settings.site_url}/register"),
            StarEndpoints(services.beatmaps, services.difficulties),
            ReportEndpoints(services.flags, services.realtime),
            MapPictureEndpoints(services.map_pictures, settings.map_pictures_url),
            MedalPictureEndpoints([medal.file for medal in MEDALS]),
            StaticEndpoints(
                seasonal=settings.seasonal_backgrounds,
                menu=lambda: (live.current.menu_icon or "", live.current.menu_link or ""),
                channel_of=services.matches.channel_id,
            ),
        ],
    )


def build_site(services: "Services", streams: StreamSender) -> Site:
    """Build the website."""
    settings, entry = services.settings, services.site.entry
    assets = Assets()
    templates = Templates(
        assets,
        {
            "title": settings.title,
            "domain": settings.domain,
            "registration": services.switches.registration,
            "mail_verification": settings.mail_verification,
            "base_url": settings.site_url,
        },
    )
    gateway = SiteGateway(
        templates,
        services.site.web_sessions,
        services.limiter,
        services.clock,
        services.ids,
        services.switches.under_maintenance,
        streams,
        limited=settings.rate_limits,
        hosts_tls=settings.has_tls or not settings.is_local,
        sends_hsts=settings.may_send_hsts,
        staff_second_factor=settings.demands_second_factor_of_staff,
    )
    live_groups = _build_live_groups(services, templates)
    return Site(
        gateway,
        [
            *live_groups,
            MappoolPages(
                services.pools,
                PoolActs(services.pools, services.authority, services.clock),
                services.difficulties,
                services.accounts,
            ),
            LoginPages(entry, services.site.web_sessions),
            RegistrationPages(entry),
            PasswordResetPages(entry),
            AccountSecurityPages(entry, services.site.web_sessions, services.logins),
            LeaderboardPages(services.rankings, services.ranks, services.showcase, services.clans, services.clock),
            ProfilePages(
                Overviews(services.database, services.accounts, services.profiles, services.showcase, services.clock),
                services.accounts,
                services.site.friendships,
                services.profiles,
                services.ranks,
                services.showcase,
                services.match_history,
                services.realtime,
                services.site.userpages,
                bonus=settings.bonus_pp,
            ),
            PreferencePages(),
            *_server_groups(services),
            StaticFiles(assets),
            ScorePages(
                services.site.score_reader,
                services.site.pp_tables,
                services.site.replay_analyses,
                services.site.score_cards,
                services.replays,
                services.showcase.pins,
                templates,
                replays_per_minute=settings.api_replays_per_minute,
            ),
            ReportPages(
                services.community.reports, services.accounts, services.site.score_reader, services.site.set_comments
            ),
            *_set_groups(services),
            PicturePages(
                services.avatars,
                services.site.covers,
                services.community.clan_icons,
                services.beatmaps,
                services.map_pictures,
            ),
            *_build_own_account_pages(services),
            *build_admin_pages(services),
            Redirects(settings.forum_url),
        ],
        LiveParts(services.live.follower, [part for group in live_groups for part in group.live_parts()]),
        FailurePages(templates),
        templates,
    )


def _set_groups(services: "Services") -> list[PageGroup]:
    """Return the pages about sets of beatmaps."""
    site = services.site
    return [
        SetSearchPages(site.set_searches, services.mirrors, upstream=services.upstream is not None),
        SetPages(
            site.set_searches,
            SetBoards(services.boards),
            services.beatmaps,
            services.accounts,
            services.favourites,
            services.ratings,
            site.set_comments,
            site.status_history,
            services.community.map_requests,
            services.community.nominations,
            site.analyses,
            services.difficulties,
            site.what_ifs,
            services.staff,
            services.mirrors,
        ),
    ]


def _server_groups(services: "Services") -> list[PageGroup]:
    """Build the pages of clans, medals and search, and those about the server."""
    settings, site = services.settings, services.site
    community = services.community
    clan_pages = ClanPages(services.clans, site.clans, services.ranks, community.clans, site.userpages)
    return [
        clan_pages,
        ClanDeskPages(
            clan_pages,
            site.clans,
            community.clans,
            community.clan_icons,
            community.clan_staff,
            services.accounts,
            _uploads(settings),
            staff_second_factor=settings.demands_second_factor_of_staff,
        ),
        MedalPages(services.showcase.history, services.accounts),
        SearchPages(site.names, services.beatmaps, site.clans, services.match_history),
        NewsPages(site.documents, settings.site_url, settings.title),
        DocumentPages(site.documents),
        StatusPages(site.uptime, site.documents),
        IndexingPages(services.realtime, site.set_index, settings.site_url),
    ]


def _build_live_groups(services: "Services", templates: Templates) -> tuple[HomePages, ConnectPages, MultiplayerPages]:
    """Build the groups of pages with live parts."""
    live, realtime = services.live, services.realtime
    home = HomePages(
        live,
        StartPages(live, services.accounts, services.site.documents),
        templates,
        services.ranks,
        services.profiles,
        services.showcase.history,
        services.mail,
        services.relationships,
        realtime,
    )
    connect = ConnectPages(services.settings.domain, live, realtime, templates)
    return home, connect, MultiplayerPages(live, services.match_history, services.accounts, templates)


def _build_own_account_pages(services: "Services") -> list[PageGroup]:
    """Build the pages on which players manage their own accounts."""
    site, settings = services.site, services.settings
    uploads = _uploads(settings)
    return [
        ProfileSettingsPages(site.profile_settings, site.userpages),
        PictureSettingsPages(services.avatars, site.covers, uploads),
        NamePages(site.name_changes, site.entry),
        PrivacyPages(site.profile_settings, site.friendships),
        KeyPages(site.own_keys, domain=settings.domain),
        DataPages(site.exports, site.deletion, site.entry),
        FriendPages(site.friendships, services.realtime),
        MailPages(site.conversations, services.accounts),
        RequestPages(services.community.map_requests, services.community.nominations, services.beatmaps, site.what_ifs),
    ]


def _uploads(settings: "Settings") -> RateLimit:
    """Return the limit of an account for pictures by all ways together."""
    return RateLimit("avatars", settings.avatar_uploads_per_hour, 3600.0)


def _clan_operations(services: "Services") -> tuple[ClansV2, ClanActsV2]:
    """Build the endpoints about clans."""
    community, settings = services.community, services.settings
    return (
        ClansV2(services.clans, services.site.clans, services.ranks, settings.site_url),
        ClanActsV2(
            services.accounts,
            services.clans,
            community.clans,
            community.clan_history,
            community.clan_icons,
            community.clan_staff,
            _uploads(settings),
            settings.site_url,
        ),
    )


def build_operations(services: "Services") -> list[Operation]:
    """Return the operations of the API, except those of the event stream."""
    settings = services.settings
    players = PlayersV1(
        services.accounts,
        services.profiles,
        services.rankings,
        services.ranks,
        services.beatmaps,
        services.realtime,
        services.live.online.public,
        settings.bot_name,
    )
    pp_limit = RateLimit("pp", settings.api_pp_per_minute, 60.0)
    maps = MapsV1(services.beatmaps, services.boards, services.site.what_ifs, pp_limit)
    replay_limit = RateLimit("replays", settings.api_replays_per_minute, 60.0)
    scores = ScoresV1(services.score_lookup, services.replays, replay_limit)
    live = services.live
    matches = MatchesV1(
        services.realtime, live.rooms, services.accounts, services.clans, services.pools, services.beatmaps
    )
    account = AccountV1(
        services.accounts,
        services.relationships,
        services.avatars,
        services.realtime,
        _uploads(settings),
    )
    players_v2 = PlayersV2(
        services.accounts,
        services.profiles,
        services.score_lookup,
        services.ranks,
        services.showcase,
        services.realtime,
        services.live.online.public,
        services.live.highlights,
    )
    profiles_v2 = ProfilesV2(
        services.accounts,
        services.relationships,
        services.profiles,
        services.showcase,
        services.score_lookup,
        services.match_history,
        services.clock,
    )
    rankings_v2 = RankingsV2(
        services.rankings,
        services.ranks,
        services.showcase,
        services.clans,
        services.score_lookup,
        services.clock,
    )
    maps_v2 = MapsV2(services.accounts, services.beatmaps, services.boards, services.score_lookup)
    scores_v2 = ScoresV2(
        services.accounts,
        services.score_lookup,
        services.site.score_reader,
        services.site.pp_tables,
        services.site.replay_analyses,
        services.replays,
        replay_limit,
        pp_limit,
    )
    site = services.site
    server_v2 = ServerV2(site.documents, site.uptime, services.showcase.history, services.accounts)
    matches_v2 = MatchesV2(live.rooms, live.archive, services.match_history, services.accounts, matches)
    sets_v2 = SetsV2(
        services.beatmaps,
        site.set_searches,
        site.set_comments,
        services.favourites,
        site.status_history,
        site.analyses,
        pp_limit,
    )
    v1 = (players, maps, scores, matches, account)
    highlights_v2 = HighlightsV2(live, services.accounts, services.score_lookup)
    v2 = (
        players_v2,
        profiles_v2,
        rankings_v2,
        *_clan_operations(services),
        maps_v2,
        sets_v2,
        scores_v2,
        matches_v2,
        server_v2,
        highlights_v2,
    )
    groups = (*v1, *v2)
    return [*(operation for group in groups for operation in group.operations()), *_staff_operations(services)]


def _staff_operations(services: "Services") -> list[Operation]:
    """Return the operations of the API for staff."""
    community = services.community
    groups = (
        FlagsV2(community.flag_queue),
        ModerationV2(services.accounts, community.reports, community.devices, community.wipes),
        StaffV2(community.sanctions, community.notes, community.audit, services.clock),
        NominationsV2(services.beatmaps, community.nominations),
        SamplesV2(services.site.server_charts),
        HealthV2(services.site.server_health),
    )
    return [operation for group in groups for operation in group.operations()]


def build_polled_metrics(metrics: Metrics, services: "Services") -> PolledMetrics:
    """Declare the metrics that a job reads from the stores every few seconds."""
    settings = services.settings
    # An object store has a URL and no disk to watch.
    files = None if settings.files is None or "://" in settings.files else Path(settings.files)
    return PolledMetrics(
        metrics,
        services.realtime,
        services.matches.count,
        services.outbox,
        services.reconciler,
        services.clock,
        settings.data,
        disks(settings.data, files),
        None if settings.backup_every is None else parse_duration(settings.backup_every),
    )
