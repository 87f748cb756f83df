"""The third part of the composition root: the services of staff, clans and the community.

`kiai.app` builds the services of the game first and passes itself.
"""

from ipaddress import ip_network
from typing import TYPE_CHECKING

from kiai.accounts.covers import ProfileCovers
from kiai.accounts.web_sessions import WebSessions
from kiai.backup_stores import back_up, backup_folder, check_outside, rehearsal_every_ms, rehearse
from kiai.chat.model import CHANNELS_CHANGED
from kiai.clans import ClanActs, ClanRules
from kiai.clans.history import ClanHistory
from kiai.clans.icons import ClanIcons
from kiai.clans.notices import ClanNotices
from kiai.clans.picture_sweep import PictureSweep
from kiai.clans.upkeep import ClanUpkeep
from kiai.decoding.evidence_decoder import EvidenceDecoder, evidence_workers
from kiai.documents.stored import StoredTexts
from kiai.scores.evidence import Examiner
from kiai.scores.evidence.rules import thresholds
from kiai.scores.medal_backfill import MedalBackfill
from kiai.scores.webhook_events import FirstPlaceEvents
from kiai.secret_box import SecretBox
from kiai.staff.account_overview import AccountOverviews
from kiai.staff.address_blocks import AddressBlocks
from kiai.staff.announcements import Announcements
from kiai.staff.audit_reading import AuditReading
from kiai.staff.backup_model import Manifest
from kiai.staff.backup_rehearsals import Rehearsals
from kiai.staff.backup_retention import NextBackup
from kiai.staff.backup_runs import BackupRuns
from kiai.staff.backups import Progress
from kiai.staff.channel_desk import ChannelDesk
from kiai.staff.chat_desk import ChatDesk
from kiai.staff.clan_search import ClanSearch
from kiai.staff.clans import ClanStaff
from kiai.staff.content_removal import ContentRemoval
from kiai.staff.debug_log import DebugLog
from kiai.staff.devices import Devices
from kiai.staff.doctor import Doctor
from kiai.staff.donors import Donors
from kiai.staff.faq import Faq
from kiai.staff.filter_desk import FilterDesk
from kiai.staff.flag_queue import FlagQueue
from kiai.staff.flag_verdicts import FlagVerdicts
from kiai.staff.game_texts import GameTexts
from kiai.staff.inspection import Inspections
from kiai.staff.job_runs import JobDesk, JobWorker
from kiai.staff.kicks import Kicks
from kiai.staff.live_settings import LiveSettings
from kiai.staff.maintenance import Maintenance
from kiai.staff.map_imports import MapImports
from kiai.staff.map_jobs import MapJobs
from kiai.staff.map_news import MapNews
from kiai.staff.map_requests import MapRequests, NominationRules
from kiai.staff.medal_awards import MedalAwards
from kiai.staff.naming import Naming
from kiai.staff.nominations import NominationMode
from kiai.staff.notes import Notes
from kiai.staff.outbox_desk import OutboxDesk
from kiai.staff.player_lines import KIND as BOT_LINES
from kiai.staff.player_lines import PlayerLines
from kiai.staff.recalculations import Recalculations
from kiai.staff.registration_switch import RegistrationSwitch
from kiai.staff.reports import Reports
from kiai.staff.restrictions import Restrictions
from kiai.staff.sanctions import Sanctions
from kiai.staff.shared_devices import SharedDevices
from kiai.staff.shutdown import Shutdown
from kiai.staff.silences import OUTBOX_KIND as SILENCES
from kiai.staff.staff_feed import StaffFeed
from kiai.staff.timed_ends import TimedEnds
from kiai.staff.user_search import UserSearch
from kiai.staff.webhooks import WebhookEditor
from kiai.staff.wipes import Wipes
from kiai.webhooks import Webhooks
from kiai.webhooks.sending import Sender

if TYPE_CHECKING:
    from kiai.app import Services


class CommunityServices:
    """The services of staff and of the community, as `Services.community`."""

    def __init__(self, services: "Services") -> None:
        settings, database, clock = services.settings, services.database, services.clock
        self.reports = Reports(
            database,
            services.authority,
            services.journal,
            services.realtime,
            clock,
            limited=settings.rate_limits,
        )
        self.staff_feed = StaffFeed(database, services.realtime, self.reports, services.flags, services.outbox, clock)
        self.faq = Faq(database, services.authority, clock)
        services.outbox.subscribe(CHANNELS_CHANGED, services.chat.on_channel_change)
        self.channel_desk = ChannelDesk(database, services.authority, clock, services.channels)
        self.chat_desk = ChatDesk(services.authority, services.chat, services.history, clock)
        self.filter_desk = FilterDesk(database, services.authority, clock, services.word_filter)
        self.devices = Devices(database, services.authority, clock)
        self.shared_devices = SharedDevices(database, services.authority, clock)
        self.evidence_decoder = EvidenceDecoder(evidence_workers())
        self.examiner = Examiner(
            database,
            services.files,
            services.beatmaps,
            self.evidence_decoder,
            services.flags,
            clock,
            thresholds(settings),
        )
        self.flag_queue = FlagQueue(services.authority, services.flags, self.examiner, clock)
        self._backup_folder = backup_folder(settings, clock)
        self.doctor = Doctor(
            database,
            services.files,
            services.beatmaps,
            services.rebuilder,
            services.reconciler,
            clock,
            services.is_served,
            services.settings.data,
            self._backup_folder,
        )
        self._build_staff(services)
        self._build_ranking(services)
        self._build_clans(services)
        self._build_webhooks(services)

    def set_start(self, started_ms: int) -> None:
        """Set the start of the server, in a worker whose supervisor started earlier than the worker itself."""
        self.maintenance.started_ms = started_ms
        self.shutdown.started_ms = started_ms

    def _build_clans(self, services: "Services") -> None:
        settings, database, clock = services.settings, services.database, services.clock
        rules = ClanRules(
            members_max=settings.clan_members_max,
            cooldown_hours=settings.clan_cooldown_hours,
            invite_days=settings.clan_invite_days,
            rename_days=settings.clan_rename_days,
            verifies_email=settings.mail_verification,
        )
        limiter = services.limiter if settings.rate_limits else None
        self.clans = ClanActs(database, limiter, clock, rules)
        self.clan_history = ClanHistory(database, services.accounts)
        self.clan_upkeep = ClanUpkeep(database, self.clans, clock)
        files = services.files
        self.clan_icons = ClanIcons(
            database, services.clans, self.clans, files, services.decoder, services.outbox, clock, services.ids
        )
        self.picture_sweep = PictureSweep(database, services.accounts, files, clock)
        self.clan_staff = ClanStaff(
            services.accounts, services.authority, self.clans, self.clan_icons, services.clans, clock
        )
        self.clan_search = ClanSearch(database, services.authority)
        self.clan_notices = ClanNotices(
            services.accounts,
            services.relationships,
            services.chat,
            services.mail,
            services.realtime,
            services.outbox,
            invite_days=settings.clan_invite_days,
        )

    def _build_staff(self, services: "Services") -> None:
        """Build the acts of staff on players."""
        database, accounts, clock = services.database, services.accounts, services.clock
        authority = services.authority
        web_sessions = WebSessions(database, clock, services.ids)
        self.restrictions = Restrictions(accounts, authority, services.standing, web_sessions, clock)
        self.flag_verdicts = FlagVerdicts(authority, self.flag_queue, self.restrictions, clock)
        self.wipes = Wipes(authority, services.hiding, self.restrictions, clock)
        self.kicks = Kicks(authority, clock)
        self.announcements = Announcements(authority, services.realtime, services.presence, services.chat, clock)
        trusted = tuple(ip_network(cidr) for cidr in services.settings.trusted_proxy)
        self.address_blocks = AddressBlocks(database, authority, services.switches, clock, trusted)
        self.maintenance = Maintenance(
            authority,
            services.switches,
            services.realtime,
            services.presence,
            clock,
            title=services.settings.title,
        )
        self.shutdown = Shutdown(
            authority,
            services.switches,
            services.realtime,
            services.presence,
            clock,
            title=services.settings.title,
        )
        self.live_settings = LiveSettings(services.settings, authority, services.switches, clock)
        self.game_texts = GameTexts(authority, services.switches, StoredTexts(database), self.live_settings, clock)
        self.registration_switch = RegistrationSwitch(authority, services.switches, clock)
        self.debug_log = DebugLog(authority, services.switches, clock, level=services.settings.log_level)
        self.sanctions = Sanctions(authority, self.restrictions, services.silences, self.kicks)
        covers = ProfileCovers(accounts, services.files, services.decoder, clock, services.ids)
        self.content_removal = ContentRemoval(accounts, services.avatars, covers, authority, clock)
        self.job_desk = JobDesk(database, authority, clock)
        self.recalculations = Recalculations(authority, services.recalculation, services.beatmaps, self.job_desk)
        self._build_jobs(services)
        backfill = MedalBackfill(database, services.beatmaps, services.difficulties)
        self.medal_awards = MedalAwards(database, authority, backfill, self.job_desk, clock)
        self.inspections = Inspections(authority, accounts, services.logins, self.reports, services.realtime, clock)
        self.timed_ends = TimedEnds(database, accounts, services.standing, clock)
        self.donors = Donors(accounts, authority, clock)
        self.notes = Notes(database, accounts, authority, clock)
        self.naming = Naming(accounts, authority, services.standing, clock)
        self.audit = AuditReading(database, authority)
        self.user_search = UserSearch(database, authority, clock)
        self.account_overviews = AccountOverviews(
            authority, accounts, services.api_keys, web_sessions, services.realtime, services.profiles
        )
        services.outbox.subscribe(SILENCES, services.silences.deliver)
        self.player_lines = PlayerLines(accounts, services.realtime, services.mail, services.chat.notify)
        services.outbox.subscribe(BOT_LINES, self.player_lines.deliver)

    def _build_jobs(self, services: "Services") -> None:
        """Build the jobs that staff starts."""
        settings, clock = services.settings, services.clock
        folder = self._backup_folder

        async def write(name: str, chain: NextBackup, progress: Progress) -> Manifest:
            assert folder is not None
            return await back_up(
                settings,
                services.stores.files,
                clock,
                folder.place,
                name,
                progress,
                key=folder.key,
                chain=chain,
                verified=True,
            )

        self.backup_runs = BackupRuns(
            self.job_desk,
            folder,
            write,
            lambda: check_outside(settings, settings.backup_to or ""),
            clock,
            lambda state, reason: self.webhooks.announce("backup", {"state": state, "reason": reason}),
        )

        async def rehearse_one(name: str) -> str:
            assert folder is not None
            return await rehearse(settings, folder.place, name, folder.key, clock)

        self.rehearsals = Rehearsals(
            self.job_desk, folder, rehearsal_every_ms(settings), rehearse_one, settings.data, clock
        )
        MapJobs(
            self.job_desk,
            services.importer,
            services.refreshing,
            lambda actor, changed: services.staff.record_import(actor, changed),
            settings.data,
        )
        self.outbox_desk = OutboxDesk(services.authority, services.outbox, clock)
        self.job_worker = JobWorker(services.database, self.job_desk.kinds, clock)

    def _build_ranking(self, services: "Services") -> None:
        """Build the acts of players and nominators on statuses of maps."""
        settings, database, clock = services.settings, services.database, services.clock
        rules = NominationRules(
            on=settings.nomination_mode, needed=settings.nominations_needed, qualified_hours=settings.qualified_hours
        )
        self.map_requests = MapRequests(database, services.authority, services.beatmaps, clock, rules)
        self.map_imports = MapImports(
            services.authority,
            services.beatmaps,
            self.map_requests,
            services.importer,
            services.decoder,
            services.files,
            services.upstream,
            clock,
        )
        self.nominations = NominationMode(
            database, services.accounts, services.authority, services.beatmaps, self.map_requests, clock, rules
        )
        services.importer.subscribe(self.nominations.on_new_files)
        self.map_news = MapNews(
            services.beatmaps,
            services.accounts,
            services.chat,
            self.player_lines,
            services.link,
            services.outbox,
            announces=settings.announce_map_status,
        )

    async def end_timed(self) -> None:
        """End the restrictions, freezes, donor times and address blocks that have run out. A job calls this."""
        await self.timed_ends.run()
        await self.address_blocks.end_due()

    def _build_webhooks(self, services: "Services") -> None:
        """Build what sends events to URLs of the operator."""
        settings, database, clock = services.settings, services.database, services.clock
        self.webhooks = Webhooks(
            database,
            clock,
            services.ids,
            SecretBox(settings.data, clock),
            Sender(allow_private=settings.allow_private_webhooks),
            server=settings.title,
            link=services.link,
        )
        self.webhook_editor = WebhookEditor(services.authority, self.webhooks, clock)
        self.first_place_events = FirstPlaceEvents(
            database, services.score_lookup, services.beatmaps, clock, services.outbox
        )
