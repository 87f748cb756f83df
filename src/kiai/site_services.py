"""The second part of the composition root: the services that only the website and its API need.

`kiai.app` builds the services of the game first and passes itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from kiai.accounts.covers import ProfileCovers
from kiai.accounts.irc_passwords import REVOKED, IrcPasswords
from kiai.accounts.name_search import NameSearch
from kiai.accounts.userpages import Userpages
from kiai.accounts.web_sessions import WebSessions
from kiai.beatmaps.set_comments import SetComments
from kiai.beatmaps.set_index import SetIndex
from kiai.beatmaps.set_search import SetSearches
from kiai.chat.conversations import Conversations
from kiai.clans import ClanDirectory
from kiai.decoding.page_decoder import PageDecoder, page_workers
from kiai.documents import Documents
from kiai.documents.stored import StoredTexts
from kiai.entry import EntryServices
from kiai.entry.logins_for_staff import LoginsForStaff
from kiai.entry.recovery_by_staff import RecoveryByStaff
from kiai.faces.polled_metrics import disks
from kiai.own_account import Deletion, Exports, Friendships, NameChanges, Overwriting, OwnKeys, ProfileSettings
from kiai.own_account.deletion import DELETION, FILES
from kiai.own_account.deletion_by_staff import DeletionByStaff
from kiai.own_account.exports_by_staff import ExportsByStaff
from kiai.samples import Samples
from kiai.scores.analyses import Analyses
from kiai.scores.cards import ScoreCards
from kiai.scores.details import ScoreReader
from kiai.scores.pp_tables import PpTables
from kiai.scores.replay_analyses import ReplayAnalyses
from kiai.scores.what_if import WhatIfs
from kiai.secret_box import SecretBox
from kiai.server_settings import TLS_WORDS
from kiai.staff.chat_bots import ChatBots
from kiai.staff.server_charts import ServerCharts
from kiai.staff.server_health import ServerHealth
from kiai.staff.site_texts import SiteTexts
from kiai.staff.start_page import StartOfStaff
from kiai.staff.status_history import StatusHistory
from kiai.tls.folder import TlsFolder
from kiai.uptime import Components, Uptime, readiness_checks

if TYPE_CHECKING:
    from kiai.app import Services


class SiteServices:
    """The services of the website, as `Services.site`."""

    def __init__(self, services: "Services") -> None:
        database, clock, ids, settings = services.database, services.clock, services.ids, services.settings
        self.web_sessions = WebSessions(database, clock, ids)
        checks = readiness_checks(services.accounts, services.realtime, services.files)
        self.uptime = Uptime(database, Components(checks), clock)
        self.samples = Samples(database, clock)
        self.server_charts = ServerCharts(services.authority, self.samples)
        stored_texts = StoredTexts(database)
        self.documents = Documents(settings.data, settings.title, clock, stored_texts)
        self.site_texts = SiteTexts(services.authority, stored_texts, self.documents, clock)
        self.names = NameSearch(database)
        self.set_searches = SetSearches(database, clock)
        self.set_comments = SetComments(database, clock, verifies_email=settings.mail_verification)
        self.conversations = Conversations(database, services.chat, clock, verifies_email=settings.mail_verification)
        self.status_history = StatusHistory(database)
        self.analyses = Analyses(services.performance)
        self.what_ifs = WhatIfs(services.performance, services.difficulties)
        self.clans = ClanDirectory(database)
        self.set_index = SetIndex(database)
        self.entry = EntryServices(
            services.settings,
            database,
            services.realtime,
            services.accounts,
            services.credentials,
            self.web_sessions,
            services.limiter,
            clock,
            ids,
            services.switches.under_maintenance,
            services.switches.registration,
        )
        self.pages = PageDecoder(page_workers())
        self.score_reader = ScoreReader(database, services.boards)
        self.pp_tables = PpTables(services.performance)
        self.replay_analyses = ReplayAnalyses(services.files, self.pages, clock)
        self.score_cards = ScoreCards(
            services.files, self.pages, services.map_pictures, clock, server=services.settings.title
        )
        self._build_health(services)
        self._build_own_account(services)

    def _build_health(self, services: "Services") -> None:
        """Build what developers see of the health of the server."""
        settings = services.settings
        # An object store has a URL and no disk to watch.
        files = None if settings.files is None or "://" in settings.files else Path(settings.files)
        certificates = {} if settings.irc_tls_cert is None or not settings.irc_tls else {"IRC": settings.irc_tls_cert}
        if settings.has_tls:
            own = settings.tls in TLS_WORDS
            certificates["https"] = str(TlsFolder(settings.data).chain) if own else settings.tls
        self.server_health = ServerHealth(
            services.authority,
            self.uptime,
            services.database,
            services.outbox,
            services.reconciler,
            services.community.webhooks,
            services.clock,
            settings.data,
            disks(settings.data, files),
            certificates,
            services.work_pools,
        )
        self.start_of_staff = StartOfStaff(
            services.database,
            services.authority,
            services.community.audit,
            self.samples,
            self.uptime.components,
            self.server_health,
            services.switches,
            services.clock,
        )

    def _build_own_account(self, services: "Services") -> None:
        """Build what players do with their own accounts."""
        settings, database, accounts = services.settings, services.database, services.accounts
        files, clock, ids = services.files, services.clock, services.ids
        self.covers = ProfileCovers(accounts, files, services.decoder, clock, ids)
        self.userpages = Userpages(accounts)
        self.irc_passwords = IrcPasswords(database, clock, ids)
        services.outbox.subscribe(REVOKED, services.presence.end_irc_sessions)
        self.chat_bots = ChatBots(database, accounts, services.authority, clock)
        self.own_keys = OwnKeys(accounts, services.api_keys, self.irc_passwords, self.entry.history)
        self.overwriting = Overwriting(services.profiles, services.authority, services.realtime, clock)
        self.friendships = Friendships(services.relationships, services.presence)
        self.name_changes = NameChanges(database, accounts, clock, every_days=settings.name_change_days)
        self.profile_settings = ProfileSettings(
            database,
            accounts,
            services.standing,
            services.presence,
            clock,
            country_days=settings.country_change_days,
        )
        self.exports = Exports(database, accounts, services.replays, files, clock, ids)
        self.deletion = Deletion(
            database,
            accounts,
            services.standing,
            services.community.clans,
            self.exports,
            self.web_sessions,
            files,
            SecretBox(settings.data, clock),
            clock,
            grace_days=settings.deletion_grace_days,
        )
        self.exports_by_staff = ExportsByStaff(services.authority, self.exports, clock)
        self.deletion_by_staff = DeletionByStaff(services.authority, self.deletion)
        self.recovery_by_staff = RecoveryByStaff(services.authority, self.entry.security, self.entry.factors)
        self.logins_for_staff = LoginsForStaff(services.authority, accounts, services.logins, self.entry.history, clock)
        self.entry.web_login.subscribe(self.deletion.cancel)
        services.reconciler.include(DELETION, self.deletion.step)
        services.outbox.subscribe("profiles", services.presence.on_profile_change)
        services.outbox.subscribe(FILES, self.deletion.delete_files)
