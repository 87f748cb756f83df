"""The list of clans, the form that founds one, and the page of a clan with the forms to join and leave it."""

import asyncio
import re
from typing import Final

import msgspec
from markupsafe import Markup

from kiai.accounts.userpages import Userpages
from kiai.clans import Clan, ClanActs, ClanDirectory, Clans
from kiai.clans.model import CODE_LENGTH, JoinForm, Role
from kiai.clans.service import JOINING
from kiai.errors import KiaiError, NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site import clan_forms
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import Access, FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.faces.site.settings.profile import words_of
from kiai.faces.site.templating import url
from kiai.osu.privileges import may
from kiai.scores.ranks import Ranks
from kiai.staff.clans import PERMISSION

PAGE: Final = 50
PAGES_MAX: Final = 200
TEXT_MAX: Final = 32
SEARCHING: Final = RateLimit("site-clans", 120, 60.0)

_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


class Choices(msgspec.Struct, frozen=True):
    """The acts that the page of a clan offers to a visitor.

    - `log_in`: after a login the visitor may be able to join.
    - `join`, `accept`, `ask`: joins an open clan, accepts an invitation, asks to join.
    - `withdraw`: has an open request.
    - `use_code`: can join with the code.
    - `full`: could do one of these if the clan had a free seat.
    - `leave`: is a member, and not the owner.
    - `manage`: has an office in the clan, or is staff who manages all clans.
    - `requests`: the number of open requests, for officers.
    """

    log_in: bool = False
    join: bool = False
    accept: bool = False
    ask: bool = False
    withdraw: bool = False
    use_code: bool = False
    full: bool = False
    leave: bool = False
    manage: bool = False
    requests: int = 0


class ClanPages:
    """The pages `/clans`, `/clans/new` and `/clans/{clan}`, and the forms of players without an office."""

    def __init__(
        self, clans: Clans, directory: ClanDirectory, ranks: Ranks, acts: ClanActs, userpages: Userpages
    ) -> None:
        self._clans = clans
        self._directory = directory
        self._ranks = ranks
        self._acts = acts
        self._userpages = userpages

    def pages(self) -> list[Page]:
        """Return the pages and their forms."""
        player = Access.PLAYER
        return [
            Page("GET", "/clans", self._list, rate_limit=SEARCHING),
            Page("GET", "/clans/new", self._new, player),
            Page("POST", "/clans/new", self._found, player),
            Page("GET", "/clans/{clan}", self._clan),
            Page("POST", "/clans/{clan}/join", self._join, player),
            Page("POST", "/clans/{clan}/withdraw", self._withdraw, player),
            Page("POST", "/clans/{clan}/leave", self._leave, player),
        ]

    async def of_path(self, request: SiteRequest) -> Clan:
        """Return the clan whose id the path has. Raises NotFound("clan")."""
        clan_id = request.id("clan")
        if clan_id is None:
            raise NotFound("clan")
        return await self._clans.clan(clan_id)

    async def _list(self, request: SiteRequest) -> Response:
        user = request.visitor.user
        mode = request.query.mode(user.preferred_mode if user else 0)
        text = request.query.text("q", TEXT_MAX)
        number = request.query.whole("page", 1, at_least=1, at_most=PAGES_MAX)
        if text:
            found = await self._directory.search(text)
            lines = await self._directory.lines([clan.id for clan in found], mode)
            last, ranked = 1, 0
        else:
            ids, ranked, total = await self._clans.by_pp(mode, limit=PAGE, offset=(number - 1) * PAGE)
            lines = await self._directory.lines(ids, mode)
            last = max(1, -(-total // PAGE))
        if number > last:
            raise NotFound("page")
        values = {
            "lines": lines,
            "joining": JOINING,
            "q": text,
            "mode": mode,
            "page": number,
            "last": last,
            "first_place": 0 if text else (number - 1) * PAGE + 1,
            "ranked": ranked,
            "list_url": url("/clans", mode=mode),
            "own_clan": user.clan_id if user else 0,
            "saved": common.message_of(request, {"disbanded": request.locale.text("The clan is disbanded.")}),
        }
        locale = request.locale
        path = None if text else url("/clans", mode=mode or None, page=number)
        return View(
            "clans.html", values, Head(locale.text("Clans"), locale.text("The clans of this server by pp."), path)
        )

    async def _clan(self, request: SiteRequest) -> Response:
        text = request.path["clan"]
        if not _ID.fullmatch(text):
            clan = await self._directory.with_tag(text[:TEXT_MAX])
            return Redirect(f"/clans/{clan.id}", 301)
        return await self.show(request, await self.of_path(request))

    async def show(self, request: SiteRequest, clan: Clan, form: FormState | None = None, status: int = 200) -> View:
        """Return the page of a clan. `form` is the state of a form that was refused."""
        user, text = request.visitor.user, request.locale.text
        mode = request.query.mode(user.preferred_mode if user else 0)
        members, standing, place = await asyncio.gather(
            self._directory.members(clan.id, mode),
            self._clans.standing(clan, mode),
            self._directory.place(clan.id, mode),
        )
        firsts, ranks = await asyncio.gather(
            self._directory.first_places(members, mode),
            self._ranks.of_many([member.player.id for member in members], mode),
        )
        owner = next((member.player for member in members if member.player.id == clan.owner_id), None)
        about = await self._about(clan, request.locale)
        values = {
            "clan": clan,
            "about": about,
            "mode": mode,
            "members": list(zip(members, [rank.rank for rank in ranks], strict=True)),
            "room": self._acts.rules.members_max,
            "standing": standing,
            "place": place,
            "firsts": firsts,
            "owner": owner,
            "joining": JOINING[clan.joining],
            "choices": await self._choices(request, clan),
            "code": request.query.text("code", clan_forms.TEXT_MAX),
            "code_length": CODE_LENGTH,
            "form": form,
            "saved": common.message_of(
                request,
                {
                    "founded": text("You have founded this clan."),
                    "joined": text("You are now a member of this clan."),
                    "requested": text("You have asked to join. An officer can accept you."),
                    "withdrawn": text("Your request is withdrawn."),
                    "left": text("You have left this clan."),
                },
            ),
        }
        description = about.striptags()[:200] or text(
            "The clan %(name)s with %(members)s members.", name=clan.name, members=len(members)
        )
        path = url(f"/clans/{clan.id}", mode=mode or None)
        return View("clan.html", values, Head(clan_forms.titled(clan), description, path), status)

    async def _about(self, clan: Clan, locale: Locale) -> Markup:
        """Return the description as HTML; empty without one."""
        if not clan.description:
            return Markup("")
        html = await self._userpages.html(clan.description, words_of(locale), pictures=False)
        return Markup(html)  # noqa: S704  # the renderer escapes

    async def _choices(self, request: SiteRequest, clan: Clan) -> Choices:
        user, joining = request.visitor.user, JoinForm(clan.joining)
        if user is None:
            return Choices(log_in=joining is not JoinForm.CLOSED)
        if request.visitor.restricted:
            return Choices()
        manages_any = may(user.priv, PERMISSION)
        if user.clan_id == clan.id:
            is_officer = user.clan_priv >= Role.OFFICER
            requests = len((await self._directory.desk(clan.id)).requests) if is_officer else 0
            return Choices(leave=user.clan_priv != Role.OWNER, manage=is_officer or manages_any, requests=requests)
        if user.clan_id:
            return Choices(manage=manages_any)
        found = await self._directory.approach(clan.id, user.id)
        is_invited = found.invited_until_ms is not None and found.invited_until_ms > request.now_ms
        has_asked = found.requested_at_ms is not None
        if joining is JoinForm.CLOSED or found.seats >= self._acts.rules.members_max:
            return Choices(withdraw=has_asked, full=joining is not JoinForm.CLOSED, manage=manages_any)
        return Choices(
            join=joining is JoinForm.OPEN and not is_invited,
            accept=is_invited,
            ask=joining is JoinForm.REQUEST and not is_invited and not has_asked,
            withdraw=has_asked,
            use_code=joining in (JoinForm.INVITE, JoinForm.REQUEST) and not is_invited,
            manage=manages_any,
        )

    # --- founding

    async def _new(self, request: SiteRequest) -> Response:
        return await self._new_page(request, None)

    async def _new_page(self, request: SiteRequest, form: FormState | None, status: int = 200) -> View:
        problem = ""
        try:
            await self._acts.check_may_enter(request.visitor.player.id)
        except clan_forms.REFUSALS as error:
            problem = clan_forms.refusal(request, error).message
        values = {
            "form": form,
            "problem": problem,
            "rules": self._acts.rules,
            "own_clan": await self._acts.seat(request.visitor.player.id),
        }
        return View("clan_new.html", values, Head(title=request.locale.text("Found a clan")), status)

    async def _found(self, request: SiteRequest) -> Response:
        given = {
            name: value.strip()[: clan_forms.TEXT_MAX] for name, value in common.typed(request, "tag", "name").items()
        }
        try:
            clan_id = await self._acts.found(request.visitor.player.id, given["tag"], given["name"])
        except clan_forms.REFUSALS as error:
            return await self._new_page(request, clan_forms.refusal(request, error, given), 422)
        return common.saved(f"/clans/{clan_id}", "founded")

    # --- joining and leaving

    async def _join(self, request: SiteRequest) -> Response:
        clan = await self.of_path(request)
        code = request.form.text("code")
        code = None if code is None else code.strip()[: clan_forms.TEXT_MAX]
        try:
            joined = await self._acts.join(request.visitor.player.id, clan.id, code=code)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, clan, error, {"code": code or ""})
        return common.saved(f"/clans/{clan.id}", joined.state)

    async def _withdraw(self, request: SiteRequest) -> Response:
        clan = await self.of_path(request)
        try:
            await self._acts.withdraw(request.visitor.player.id, clan.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, clan, error)
        return common.saved(f"/clans/{clan.id}", "withdrawn")

    async def _leave(self, request: SiteRequest) -> Response:
        clan, user, text = await self.of_path(request), request.visitor.player, request.locale.text
        # The act itself explains why others cannot leave.
        if user.clan_id == clan.id and user.clan_priv != Role.OWNER:
            question = clan_forms.Question(
                text("Leave the clan %(name)s?", name=clan_forms.titled(clan)),
                self._cooldown(request),
                f"/clans/{clan.id}/leave",
                f"/clans/{clan.id}",
            )
            if (page := clan_forms.unanswered(request, question)) is not None:
                return page
        try:
            await self._acts.leave(user.id, clan.id)
        except clan_forms.REFUSALS as error:
            return await self._refused(request, clan, error)
        return common.saved(f"/clans/{clan.id}", "left")

    def _cooldown(self, request: SiteRequest) -> str:
        hours = self._acts.rules.cooldown_hours
        if not hours:
            return request.locale.text("You can join another clan at once.")
        return request.locale.plural(
            "You can found or join another clan after %(num)s hour.",
            "You can found or join another clan after %(num)s hours.",
            hours,
        )

    async def _refused(
        self, request: SiteRequest, clan: Clan, error: KiaiError, values: dict[str, str] | None = None
    ) -> View:
        # The clan may have changed, or be gone, since the act was refused.
        return await self.show(
            request, await self._clans.clan(clan.id), clan_forms.refusal(request, error, values or {}), 422
        )
