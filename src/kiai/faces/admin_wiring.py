"""Builds the pages of the admin panel over the services."""

from typing import TYPE_CHECKING

from kiai.faces.site.admin.addresses import AddressPages
from kiai.faces.site.admin.audit import AuditPages
from kiai.faces.site.admin.beatmaps import BeatmapPages
from kiai.faces.site.admin.channels import ChannelPages
from kiai.faces.site.admin.clans import AdminClanPages
from kiai.faces.site.admin.flags import FlagPages
from kiai.faces.site.admin.health import HealthPages
from kiai.faces.site.admin.jobs import JobPages
from kiai.faces.site.admin.live import LivePages
from kiai.faces.site.admin.map_uploads import MapUploadPages
from kiai.faces.site.admin.medals import AdminMedalPages
from kiai.faces.site.admin.news import AdminNewsPages
from kiai.faces.site.admin.pages import AdminDocumentPages
from kiai.faces.site.admin.reports import ReportDeskPages
from kiai.faces.site.admin.second_factor import StaffSecondFactorPages
from kiai.faces.site.admin.server_settings import ServerSettingsPages
from kiai.faces.site.admin.start import AdminStart
from kiai.faces.site.admin.user_acts import UserActs
from kiai.faces.site.admin.user_lists import UserListPages
from kiai.faces.site.admin.user_records import UserRecords
from kiai.faces.site.admin.users import UserPages
from kiai.faces.site.admin.webhooks import WebhookPages
from kiai.faces.site.app import PageGroup
from kiai.multiplayer.rooms import MatchChannels
from kiai.staff.live_desk import LiveDesk
from kiai.staff.match_acts import MatchActs

if TYPE_CHECKING:
    from kiai.app import Services


def build_admin_pages(services: "Services") -> list[PageGroup]:
    """Build the pages of the admin panel."""
    site, community = services.site, services.community
    user_acts = UserActs(
        community.sanctions,
        services.staff,
        community.donors,
        community.naming,
        community.notes,
        community.wipes,
        community.content_removal,
        site.recovery_by_staff,
        site.deletion_by_staff,
    )
    return [
        StaffSecondFactorPages(site.entry, site.web_sessions),
        AdminStart(site.start_of_staff, site.server_charts),
        LivePages(
            services.authority,
            community.audit,
            LiveDesk(services.authority, community.user_search, services.realtime),
            MatchChannels(services.realtime, services.match_history),
            services.live.rooms,
            community.sanctions,
            MatchActs(services.matches, services.realtime, services.authority, services.clock),
        ),
        UserListPages(community.user_search),
        UserPages(
            services.authority,
            community.audit,
            user_acts,
            community.reports,
            community.flag_queue,
            community.account_overviews,
            UserRecords(community.notes, site.logins_for_staff, community.devices),
        ),
        ReportDeskPages(services.authority, community.audit, community.reports),
        FlagPages(
            services.authority, community.audit, community.flag_queue, community.flag_verdicts, site.score_reader
        ),
        HealthPages(site.server_health, site.server_charts),
        AuditPages(services.authority, community.audit, services.settings.data),
        BeatmapPages(
            services.authority,
            community.audit,
            services.beatmaps,
            site.set_searches,
            community.map_requests,
            community.nominations,
            community.map_imports,
            site.status_history,
        ),
        MapUploadPages(community.audit, community.map_imports),
        ChannelPages(community.audit, community.channel_desk),
        AdminClanPages(community.clan_search),
        AdminNewsPages(community.audit, site.site_texts, site.documents, services.clock),
        AdminDocumentPages(community.audit, site.site_texts, site.documents, community.faq),
        AdminMedalPages(
            services.authority,
            community.audit,
            services.showcase.history,
            services.accounts,
            community.medal_awards,
        ),
        JobPages(community.audit, community.job_desk, site.exports_by_staff),
        ServerSettingsPages(
            community.audit,
            community.live_settings,
            services.switches,
            community.maintenance,
            community.registration_switch,
            community.game_texts,
            community.debug_log,
            community.shutdown,
            community.outbox_desk,
        ),
        AddressPages(community.audit, community.address_blocks),
        WebhookPages(community.audit, community.webhook_editor),
    ]
