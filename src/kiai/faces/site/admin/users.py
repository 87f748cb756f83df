"""`/admin/users/{id}`: an account, and the acts of staff on it (`admin/user_acts.py`)."""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import User
from kiai.entry.logins_for_staff import PERMISSION as READS_LOGINS
from kiai.faces.site.admin.acts import ActForms, ShownForms
from kiai.faces.site.admin.audit import ALL_ROWS, shown
from kiai.faces.site.admin.flags import figures_of
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.user_acts import UserActs, possible_acts, roles_of
from kiai.faces.site.admin.user_records import PATH, UserRecordPages, UserRecords, user_of
from kiai.faces.site.page import Page, SiteRequest, View
from kiai.osu.modes import MODES, mode_text
from kiai.osu.privileges import UNRESTRICTED
from kiai.scores.flags import FlagObject
from kiai.staff.account_overview import COUNTS_ACCESS, COUNTS_SESSIONS, AccountOverviews
from kiai.staff.audit_reading import AuditFilter, AuditReading
from kiai.staff.authority import Authority
from kiai.staff.devices import PERMISSION as READS_DEVICES
from kiai.staff.flag_queue import HANDLE as HANDLES_FLAGS
from kiai.staff.flag_queue import FlagQueue
from kiai.staff.reports import PERMISSION as HANDLES_REPORTS
from kiai.staff.reports import Report, Reports

SEES: Final = "users.notes"
MODE_WORDS: Final = {mode: mode_text(mode) for mode in MODES}
ROWS: Final = 20
"""Acts, open reports and open flags that the page of an account lists."""


class UserPages:
    """The pages of accounts in the panel."""

    def __init__(
        self,
        authority: Authority,
        audit: AuditReading,
        acts: UserActs,
        reports: Reports,
        flags: FlagQueue,
        overviews: AccountOverviews,
        records: UserRecords,
    ) -> None:
        self._overviews = overviews
        self._reports = reports
        self._flags = flags
        self._authority = authority
        self._audit = audit
        self._forms = ActForms(
            f"{PATH}/{{user}}",
            acts.declared(),
            audit,
            kind="user",
            load=self._load,
            show=self._view,
            path_of=lambda user: f"{PATH}/{user.id}",
            possible=possible_acts,
        )
        self._records = UserRecordPages(authority, records, self._forms)

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(f"{PATH}/{{user}}", self._forms.page, SEES),
            *self._records.pages(),
            *self._forms.pages(),
        ]

    async def _load(self, request: SiteRequest) -> User:
        return await user_of(request, self._authority, SEES)

    async def _view(self, request: SiteRequest, user: User, forms: ShownForms) -> View:
        actor = staff_actor(request)
        all_rows = request.visitor.may(ALL_ROWS)
        by_it = []
        if all_rows or user.id == actor.user_id:
            by_it = await self._audit.rows(actor, AuditFilter(actor_id=user.id), limit=ROWS)
        reports: Sequence[Report] = ()
        sent: Sequence[Report] = ()
        flags: list[FlagObject] = []
        if request.visitor.may(HANDLES_REPORTS):
            reports, _ = await self._reports.listed(actor, "open", about=user.id, size=ROWS)
            sent = await self._reports.sent_by(actor, user.id, size=ROWS)
        if request.visitor.may(HANDLES_FLAGS):
            flags = await self._flags.page(actor, user_id=user.id, limit=ROWS)
        values = {
            "reports": reports,
            "sent": sent,
            "flags": flags,
            "figures": {flag.id: figures_of(flag) for flag in flags},
            "about_it": shown(await self._audit.about(actor, user.id, since_ms=0, limit=ROWS)),
            "by_it": shown(by_it),
            "all_rows": all_rows,
            "overview": await self._overviews.of(actor, user),
            "reads": {
                "logins": request.visitor.may(READS_LOGINS),
                "devices": request.visitor.may(READS_DEVICES),
                "sessions": request.visitor.may(COUNTS_SESSIONS),
                "access": request.visitor.may(COUNTS_ACCESS),
            },
            "modes": MODE_WORDS,
            "now_ms": request.now_ms,
            "user": user,
            "state": state_of(user, request.now_ms),
            "roles": roles_of(user),
            "forms": forms,
        }
        return admin_view(request, "user.html", user.name, values, crumbs=((PATH, "Users"),))


def state_of(user: User, now_ms: int) -> str:
    """Return the state of an account in one word."""
    if user.deleted_at_ms is not None:
        return "deleted"
    if user.banned_at_ms is not None:
        return "banned"
    if not user.priv & UNRESTRICTED:
        return "restricted"
    return "silenced" if user.silenced_until_ms > now_ms else "normal"
