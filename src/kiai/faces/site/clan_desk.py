"""`/clans/{clan}/manage`: the page and the forms of officers, the owner, and staff who manages all clans."""

from typing import Any, Final

import msgspec

from kiai.accounts import Accounts, User
from kiai.accounts.picture_files import UPLOAD_MAX, NotAPicture
from kiai.clans import Clan, ClanActs, ClanDirectory
from kiai.clans.directory import MemberFigures
from kiai.clans.icons import ClanIcons
from kiai.clans.model import DESCRIPTION_MAX, FORMS, JoinForm, Role, only_officers, only_owner
from kiai.errors import Invalid, KiaiError, NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site import clan_forms
from kiai.faces.site.clan_forms import Question
from kiai.faces.site.clans import ClanPages
from kiai.faces.site.gateway import NeedsSecondFactor, has_recent_second_factor
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import Access, BadParameter, FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import may
from kiai.staff import Actor
from kiai.staff.clans import PERMISSION, ClanStaff
from kiai.staff.reasons import REASON_MAX, checked_reason

SOURCE: Final = "web"
FIELDS: Final = ("tag", "name", "join", "description")
OWNERS_FORMS: Final = ("settings_form", "icon_form")
FORM_OVERHEAD: Final = 16 * 1024  # of the other parts of the form with a file
TEXT_MAX: Final = DESCRIPTION_MAX + 1
"""Characters of a field that a refused form shows again."""


class Office(msgspec.Struct, frozen=True):
    """The rights of a visitor on the page. `role` is that in the clan, 0 without one; `staff` manages all clans."""

    role: int
    staff: bool

    @property
    def is_officer(self) -> bool:
        """Whether the visitor answers requests and invites players."""
        return self.role >= Role.OFFICER

    @property
    def changes(self) -> bool:
        """Whether the visitor changes, transfers and disbands the clan."""
        return self.role == Role.OWNER or self.staff

    @property
    def as_staff(self) -> bool:
        """Whether the visitor does so as staff, with a reason."""
        return self.role != Role.OWNER and self.staff

    def removes(self, member: MemberFigures, user_id: int) -> bool:
        """Whether the visitor, with this id, may remove a member."""
        if self.is_officer:
            return member.role < self.role
        return self.staff and member.role != Role.OWNER and member.player.id != user_id


class ClanDeskPages:
    """The page on which a clan is managed, and its forms."""

    def __init__(
        self,
        clan_pages: ClanPages,
        directory: ClanDirectory,
        acts: ClanActs,
        icons: ClanIcons,
        staff: ClanStaff,
        accounts: Accounts,
        uploads: RateLimit,
        *,
        staff_second_factor: bool,
    ) -> None:
        self._clan_pages = clan_pages
        self._directory = directory
        self._acts = acts
        self._icons = icons
        self._uploads = uploads
        self._staff = staff
        self._accounts = accounts
        self._staff_second_factor = staff_second_factor

    def pages(self) -> list[Page]:
        """Return the page and its forms."""
        player = Access.PLAYER
        # The button that removes is in the form of the upload, so its request may contain a chosen file.
        most = UPLOAD_MAX + FORM_OVERHEAD
        upload: dict[str, Any] = {"rate_limit": self._uploads, "body_max": most, "part_max": most}
        return [
            Page("GET", "/clans/{clan}/manage", self._show, player),
            Page("POST", "/clans/{clan}/manage", self._edit, player),
            Page("POST", "/clans/{clan}/requests", self._answer, player),
            Page("POST", "/clans/{clan}/invite", self._invite, player),
            Page("POST", "/clans/{clan}/code", self._code, player),
            Page("POST", "/clans/{clan}/role", self._role, player),
            Page("POST", "/clans/{clan}/kick", self._kick, player),
            Page("POST", "/clans/{clan}/transfer", self._transfer, player),
            Page("POST", "/clans/{clan}/disband", self._disband, player),
            Page("POST", "/clans/{clan}/icon", self._set_icon, player, **upload),
            Page("POST", "/clans/{clan}/icon/remove", self._remove_icon, player, **upload),
        ]

    # --- the page

    async def _show(self, request: SiteRequest) -> Response:
        clan = await self._clan_pages.of_path(request)
        office = await self._office(request, clan)
        if not office.role and not office.staff:  # for strangers, the page does not exist
            raise NotFound("page")
        if request.visitor.restricted or (not office.is_officer and not office.staff):
            # The member may have lost the office a moment ago.
            return Redirect(f"/clans/{clan.id}", 302)
        return await self._page(request, clan, office)

    async def _office(self, request: SiteRequest, clan: Clan) -> Office:
        """Return the rights of the visitor. Raises NeedsSecondFactor for staff who has no other right here."""
        user = request.visitor.player
        seat = await self._acts.seat(user.id)
        role = seat.role if seat is not None and seat.clan_id == clan.id else 0
        manages_any = may(user.priv, PERMISSION)
        if manages_any and self._staff_second_factor and not has_recent_second_factor(request.visitor, request.now_ms):
            if role < Role.OFFICER:
                raise NeedsSecondFactor
            manages_any = False
        return Office(role, manages_any)

    async def _page(
        self,
        request: SiteRequest,
        clan: Clan,
        office: Office,
        forms: dict[str, FormState] | None = None,
        status: int = 200,
    ) -> View:
        text, members = request.locale.text, await self._directory.members(clan.id, 0)
        title = text("Manage the clan %(name)s", name=clan_forms.titled(clan))
        values: dict[str, Any] = {
            "clan": clan,
            "title": title,
            "office": office,
            "desk": await self._directory.desk(clan.id) if office.is_officer else None,
            "members": [(member, office.removes(member, request.visitor.player.id)) for member in members],
            "room": self._acts.rules.members_max,
            "rules": self._acts.rules,
            "description_max": DESCRIPTION_MAX,
            "join": JoinForm(clan.joining).name.lower(),
            "form": None,
            "settings_form": None,
            "icon_form": None,
            "reason_max": REASON_MAX,
            "invite_form": None,
            **(forms or {}),
            "saved": common.message_of(
                request,
                {
                    "changed": text("The clan is changed."),
                    "icon": text("The icon of the clan is changed."),
                    "icon-removed": text("The icon of the clan is removed."),
                    "accepted": text("The player is now a member of the clan."),
                    "denied": text("The request is denied."),
                    "invited": text("The player is invited."),
                    "code": text("The clan has a new code. The old one no longer works."),
                    "role": text("The member has another role."),
                    "kicked": text("The player is no longer a member of the clan."),
                    "transferred": text("The clan has another owner."),
                },
            ),
        }
        return View("clan_manage.html", values, Head(title=title), status)

    async def _refused(
        self,
        request: SiteRequest,
        error: KiaiError,
        values: dict[str, str] | None = None,
        form: str = "form",
    ) -> View:
        """Return the page with the refused form, or that of the clan if the visitor has no office any longer."""
        state = clan_forms.refusal(request, error, values or {})
        clan = await self._clan_pages.of_path(request)
        office = await self._office(request, clan)
        if not office.is_officer and not office.staff:
            return await self._clan_pages.show(request, clan, FormState(message=state.message), 403)
        if form in OWNERS_FORMS and not office.changes:  # the page does not have it any longer
            form = "form"
        if form == "form" and state.errors:
            # An act without fields of its own: the message says what is wrong.
            state = FormState(message=next(iter(state.errors.values())))
        return await self._page(request, clan, office, {form: state}, 422)

    # --- acts of officers

    async def _answer(self, request: SiteRequest) -> Response:
        clan = await self._clan_pages.of_path(request)
        answer = request.form.text("answer")
        if answer not in ("accept", "deny"):
            raise BadParameter("answer", "one of accept, deny", answer or "")
        try:
            player = await self._player(request)
            await self._acts.answer(request.visitor.player.id, clan.id, player.id, accept=answer == "accept")
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error)
        return _saved(clan, "accepted" if answer == "accept" else "denied")

    async def _invite(self, request: SiteRequest) -> Response:
        clan = await self._clan_pages.of_path(request)
        name = (request.form.text("player") or "").strip()[: clan_forms.TEXT_MAX]
        number = whole_number(name)  # names have more than digits
        viewer = request.visitor.viewer
        try:
            player = await (
                self._accounts.user(viewer, name=name) if number is None else self._accounts.user(viewer, id=number)
            )
            await self._acts.invite(request.visitor.player.id, clan.id, player.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error, {"player": name}, "invite_form")
        return _saved(clan, "invited")

    async def _code(self, request: SiteRequest) -> Response:
        clan = await self._clan_pages.of_path(request)
        seen = request.form.text("code") or ""
        try:
            await self._acts.code(request.visitor.player.id, clan.id, reset=True, seen=seen)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error)
        return _saved(clan, "code")

    async def _kick(self, request: SiteRequest) -> Response:
        clan, locale = await self._clan_pages.of_path(request), request.locale
        office = await self._office(request, clan)
        try:
            if not office.is_officer and not office.staff:
                raise only_officers()
            member = await self._member(request, clan)
            as_staff = not office.is_officer
            question = Question(
                locale.text(
                    "Remove %(player)s from the clan %(name)s?", player=member.name, name=clan_forms.titled(clan)
                ),
                locale.text("The player can ask to join again after the waiting time."),
                f"/clans/{clan.id}/kick",
                _path(clan),
                {"player": str(member.id)},
                reason=as_staff,
            )
            if (page := clan_forms.unanswered(request, question)) is not None:
                return page
            if as_staff:
                await self._staff.kick(_actor(request), clan.id, member.id, clan_forms.reason_of(request))
            else:
                await self._acts.kick(request.visitor.player.id, clan.id, member.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error)
        return _saved(clan, "kicked")

    # --- acts of the owner

    async def _role(self, request: SiteRequest) -> Response:
        clan = await self._clan_pages.of_path(request)
        role = request.form.text("role")
        if role not in ("member", "officer"):
            raise BadParameter("role", "one of member, officer", role or "")
        change = self._acts.promote if role == "officer" else self._acts.demote
        try:
            await change(request.visitor.player.id, clan.id, (await self._player(request)).id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error)
        return _saved(clan, "role")

    async def _transfer(self, request: SiteRequest) -> Response:
        clan, locale = await self._clan_pages.of_path(request), request.locale
        office = await self._office(request, clan)
        try:
            if not office.changes:
                raise only_owner()
            member = await self._member(request, clan)
            question = Question(
                locale.text(
                    "Make %(player)s the owner of the clan %(name)s?", player=member.name, name=clan_forms.titled(clan)
                ),
                locale.text("The present owner becomes an officer."),
                f"/clans/{clan.id}/transfer",
                _path(clan),
                {"player": str(member.id)},
                reason=office.as_staff,
            )
            if (page := clan_forms.unanswered(request, question)) is not None:
                return page
            if office.as_staff:
                await self._staff.transfer(_actor(request), clan.id, member.id, clan_forms.reason_of(request))
            else:
                await self._acts.transfer(request.visitor.player.id, clan.id, member.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error)
        return _saved(clan, "transferred")

    async def _disband(self, request: SiteRequest) -> Response:
        clan, locale = await self._clan_pages.of_path(request), request.locale
        office = await self._office(request, clan)
        try:
            if not office.changes:
                raise only_owner()
            question = Question(
                locale.text("Disband the clan %(name)s?", name=clan_forms.titled(clan)),
                locale.text("All members leave the clan, and its page is gone. This cannot be undone."),
                f"/clans/{clan.id}/disband",
                _path(clan),
                tag=clan.tag,
                reason=office.as_staff,
            )
            if (page := clan_forms.unanswered(request, question)) is not None:
                return page
            if office.as_staff:
                await self._staff.disband(_actor(request), clan.id, clan_forms.reason_of(request))
            else:
                await self._acts.disband(request.visitor.player.id, clan.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error)
        return common.saved("/clans", "disbanded")

    async def _edit(self, request: SiteRequest) -> Response:
        clan = await self._clan_pages.of_path(request)
        office = await self._office(request, clan)
        given = _given(request, clan)
        try:
            if not office.changes:
                raise only_owner()
            changed = {name: given[name] for name in FIELDS if given[name] != given[f"was_{name}"]}
            if not changed:
                form = FormState(given, message=request.locale.text("You have changed nothing."))
                return await self._page(request, clan, office, {"settings_form": form}, 422)
            changes = _changes(changed)
            if office.as_staff:
                question = Question(
                    request.locale.text("Change the clan %(name)s?", name=clan_forms.titled(clan)),
                    "",
                    _path(clan),
                    _path(clan),
                    given,
                    _shown(request.locale, given, changed),
                    reason=True,
                )
                if (page := clan_forms.unanswered(request, question)) is not None:
                    return page
                await self._staff.edit(_actor(request), clan.id, **changes, reason=clan_forms.reason_of(request))
            else:
                await self._acts.edit(request.visitor.player.id, clan.id, **changes)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error, given, "settings_form")
        return _saved(clan, "changed")

    async def _set_icon(self, request: SiteRequest) -> Response:
        clan, text = await self._clan_pages.of_path(request), request.locale.text
        office = await self._office(request, clan)
        reason = (request.form.text("reason") or "").strip()[: REASON_MAX + 1]
        values = {"reason": reason}
        data = request.form.file("icon") or b""
        try:
            if not office.changes:
                raise only_owner()
            if len(data) > UPLOAD_MAX:
                return await self._wrong_icon(request, clan, office, text("The file must have at most 4 MiB."), 413)
            if not data:
                return await self._wrong_icon(request, clan, office, text("Choose a file."))
            if office.as_staff:
                await self._staff.change_icon(_actor(request), clan.id, data, checked_reason(reason))
            else:
                await self._icons.change(request.visitor.player.id, clan.id, data)
        except NotAPicture:
            message = text("The file must be a PNG, JPEG, GIF or WebP picture.")
            return await self._wrong_icon(request, clan, office, message)
        except Invalid as error:
            field = "reason" if error.field == "reason" else "icon"
            form = common.invalid(request.locale, values, error, {error.field: field})
            return await self._page(request, clan, office, {"icon_form": form}, 422)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error, values, "icon_form")
        return _saved(clan, "icon")

    async def _wrong_icon(
        self, request: SiteRequest, clan: Clan, office: Office, message: str, status: int = 422
    ) -> View:
        form = common.wrong(request.locale, {}, "icon", message)
        return await self._page(request, clan, office, {"icon_form": form}, status)

    async def _remove_icon(self, request: SiteRequest) -> Response:
        clan, locale = await self._clan_pages.of_path(request), request.locale
        office = await self._office(request, clan)
        try:
            if not office.changes:
                raise only_owner()
            if office.as_staff:
                question = Question(
                    locale.text("Remove the icon of the clan %(name)s?", name=clan_forms.titled(clan)),
                    locale.text("The owner can set another one."),
                    f"/clans/{clan.id}/icon/remove",
                    _path(clan),
                    reason=True,
                )
                if (page := clan_forms.unanswered(request, question)) is not None:
                    return page
                await self._staff.remove_icon(_actor(request), clan.id, clan_forms.reason_of(request))
            else:
                await self._icons.remove(request.visitor.player.id, clan.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, error, {}, "icon_form")
        return _saved(clan, "icon-removed")

    # --- players

    async def _player(self, request: SiteRequest) -> User:
        """Return the player whom a form names. Raises NotFound("player"), also for a hidden one."""
        return await self._accounts.user(
            request.visitor.viewer, id=whole_number(request.form.text("player") or "") or 0
        )

    async def _member(self, request: SiteRequest, clan: Clan) -> User:
        """Return the member whom a form names. Raises NotFound."""
        player = await self._player(request)
        if player.clan_id != clan.id:
            raise NotFound("member")
        return player


def _actor(request: SiteRequest) -> Actor:
    return Actor(request.visitor.player.id, SOURCE)


def _path(clan: Clan) -> str:
    return f"/clans/{clan.id}/manage"


def _saved(clan: Clan, what: str) -> Redirect:
    return common.saved(_path(clan), what)


def _given(request: SiteRequest, clan: Clan) -> dict[str, str]:
    """Return the settings that were typed, and as `was_...` those that the form showed.

    Only what the visitor has changed is changed: the owner or staff may have changed the rest meanwhile.
    """
    present = {
        "tag": clan.tag,
        "name": clan.name,
        "join": JoinForm(clan.joining).name.lower(),
        "description": clan.description,
    }
    given: dict[str, str] = {}
    for name, value in present.items():
        was, typed = request.form.text(f"was_{name}"), request.form.text(name)
        given[f"was_{name}"] = value if was is None else _typed(was)
        given[name] = given[f"was_{name}"] if typed is None else _typed(typed)
    return given


def _typed(text: str) -> str:
    """Return the text of a field. Browsers send line breaks as CR LF."""
    return text.replace("\r\n", "\n").strip()[:TEXT_MAX]


def _changes(changed: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of the act. Raises Invalid for an unknown form of joining."""
    changes: dict[str, Any] = {name: value for name, value in changed.items() if name != "join"}
    if "join" in changed:
        if changed["join"] not in FORMS:
            raise Invalid("join", f"one of {', '.join(FORMS)}", changed["join"])
        changes["form"] = FORMS[changed["join"]]
    return changes


def _shown(locale: Locale, given: dict[str, str], changed: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return the changes for the page that asks."""
    labels = {
        "tag": locale.text("Tag"),
        "name": locale.text("Name"),
        "join": locale.text("Who may join"),
        "description": locale.text("Description"),
    }
    words = {
        "closed": locale.text_in("clan", "Closed"),
        "open": locale.text_in("clan", "Open"),
        "invite": locale.text("By invitation"),
        "request": locale.text("On request"),
    }

    def shown(name: str, value: str) -> str:
        return words.get(value, value) if name == "join" else value

    return [(labels[name], shown(name, given[f"was_{name}"]), shown(name, value)) for name, value in changed.items()]
