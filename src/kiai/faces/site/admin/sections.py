"""The parts of the admin panel, for its navigation and for the link to it."""

from typing import Final

import msgspec


class Section(msgspec.Struct, frozen=True):
    """A part of the panel with its link in the navigation, for visitors with the permission. `sign` is an icon."""

    path: str
    label: str
    permission: str
    sign: str


SECTIONS: Final = (
    Section("/admin", "Start", "audit.read_own", "gauge"),
    Section("/admin/users", "Users", "users.notes", "users"),
    Section("/admin/beatmaps", "Beatmaps", "beatmaps.inspect", "music"),
    Section("/admin/clans", "Clans", "clans.manage_any", "shield"),
    Section("/admin/channels", "Channels", "chat.moderate", "message-square"),
    Section("/admin/news", "News", "news.write", "newspaper"),
    Section("/admin/pages", "Pages", "pages.write", "file-text"),
    Section("/admin/medals", "Medals", "medals.award", "medal"),
    Section("/admin/live", "Live", "users.kick", "monitor"),
    Section("/admin/health", "Health", "server.health", "activity"),
    Section("/admin/reports", "Reports", "reports.handle", "message-square"),
    Section("/admin/flags", "Flags", "flags.handle", "flag"),
    Section("/admin/jobs", "Jobs", "jobs.run", "clock"),
    Section("/admin/settings", "Settings", "settings.write", "settings"),
    Section("/admin/webhooks", "Webhooks", "webhooks.write", "link"),
    Section("/admin/audit", "Audit log", "audit.read_own", "history"),
)
"""All sections, in the order of the navigation."""
