"""Version 2: what players and staff do in clans."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Viewer
from kiai.accounts.model import ID_MAX
from kiai.clans import ClanActs, Clans
from kiai.clans.history import ID_END, ClanHistory
from kiai.clans.icons import ClanIcons
from kiai.clans.model import CODE_LENGTH, DESCRIPTION_MAX, FORMS, HistoryKind, JoinForm, Role
from kiai.errors import Invalid
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.paging import (
    ID_IN_PATH,
    LongCursor,
    NoMeta,
    PageMeta,
    PageSize,
    Success,
    get,
    number_in_path,
    post,
    post_picture,
)
from kiai.faces.rate_limit import RateLimit
from kiai.osu.privileges import STAFF
from kiai.staff import Actor
from kiai.staff.clans import ClanStaff

SOURCE: Final = "api"
BOTH_IDS: Final = {"id": ID_IN_PATH, "player_id": ID_IN_PATH}
_STAFF: Final = Viewer(priv=STAFF)

JoinWord = Literal["closed", "open", "invite", "request"]
Tag = Annotated[str, Meta(max_length=32, description="1 to 6 characters out of A-Z, 0-9 and - _ !")]
Name = Annotated[str, Meta(max_length=64, description="2 to 16 characters.")]


class PlayerData(msgspec.Struct, frozen=True):
    """A player."""

    id: int
    name: str


class ChangedClan(msgspec.Struct, frozen=True):
    """A clan after it was founded or changed. `join` says how players become members, `members` is their number.

    `icon_url` is the address of the icon, null without one.
    """

    id: int
    tag: str
    name: str
    join: JoinWord
    owner: PlayerData
    members: int
    created_at: str
    description: str
    icon_url: str | None


class ChangedClanPage(msgspec.Struct, frozen=True):
    """The response of requests that found or change a clan."""

    status: Success
    data: ChangedClan
    meta: NoMeta = NoMeta()


class Nothing(msgspec.Struct, frozen=True):
    """No data: the request was carried out."""


class NothingPage(msgspec.Struct, frozen=True):
    """The response of requests whose result is known to the caller."""

    status: Success = "success"
    data: Nothing = Nothing()
    meta: NoMeta = NoMeta()


class JoinData(msgspec.Struct, frozen=True):
    """The new state: the player is a member, or the officers have a request."""

    state: Literal["joined", "requested"]


class JoinPage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}/join."""

    status: Success
    data: JoinData
    meta: NoMeta = NoMeta()


class CodeData(msgspec.Struct, frozen=True):
    """The code with which players can join."""

    code: str


class CodePage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}/code."""

    status: Success
    data: CodeData
    meta: NoMeta = NoMeta()


class RequestsPage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}/requests: the players who want to join, the oldest request first."""

    status: Success
    data: list[PlayerData]
    meta: PageMeta


class HistoryQuery(msgspec.Struct, frozen=True):
    """The parameters of /clans/{id}/history."""

    page_size: PageSize = 50
    cursor: LongCursor | None = None


class HistoryData(msgspec.Struct, frozen=True):
    """An act in a clan. `before` and `after` are a name, tag or form of joining that changed."""

    id: int
    at: str
    kind: HistoryKind
    player: PlayerData | None
    actor: PlayerData | None
    before: str | None
    after: str | None


class ClanHistoryPage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}/history, the newest act first."""

    status: Success
    data: list[HistoryData]
    meta: PageMeta


class NewClan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clan to found."""

    tag: Tag
    name: Name


class ClanChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The changes of a clan: at least one field."""

    tag: Tag | None = None
    name: Name | None = None
    join: JoinWord | None = None
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX, description="Empty to remove it.")] | None = None


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tag of the clan, as a confirmation."""

    confirm: Tag


class JoinBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code of the clan, if the player has one."""

    code: Annotated[str, Meta(max_length=64, description=f"{CODE_LENGTH} characters out of 0-9 and a-z.")] | None = None


class NoFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No fields."""


class RequestAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the request is accepted."""

    accept: bool


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The player to invite."""

    player_id: Annotated[int, Meta(ge=1, le=ID_MAX)]


class CodeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`reset` replaces the code by a new one."""

    reset: bool = False


class RoleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new role. With `owner` the present owner becomes an officer."""

    role: Literal["member", "officer", "owner"]


class ClanActsV2:
    """The endpoints that change clans. The first line of a handler's docstring is the summary in the document."""

    def __init__(
        self,
        accounts: Accounts,
        clans: Clans,
        acts: ClanActs,
        history: ClanHistory,
        icons: ClanIcons,
        staff: ClanStaff,
        uploads: RateLimit,
        site_url: str,
    ) -> None:
        self._accounts = accounts
        self._clans = clans
        self._acts = acts
        self._history = history
        self._icons = icons
        self._staff = staff
        self._uploads = uploads
        self._site_url = site_url

    async def found(self, caller: Caller, query: NoParameters, body: NewClan) -> ChangedClanPage:
        """Found a clan. The key's account becomes its owner."""
        clan_id = await self._acts.found(caller.viewer.user_id, body.tag, body.name)
        return await self._page(clan_id)

    async def change(self, caller: Caller, query: NoParameters, body: ClanChanges, id: str) -> ChangedClanPage:  # noqa: A002
        """Change a clan's tag, name, form of joining or description. For its owner and administrators."""
        clan_id = await self._existing(id)
        form = None if body.join is None else FORMS[body.join]
        changes: dict[str, Any] = {
            "tag": body.tag,
            "name": body.name,
            "form": form,
            "description": body.description,
        }
        if all(value is None for value in changes.values()):
            raise Invalid("tag", "given, or name, join or description", None)
        if await self._staff.acts_as_staff(_actor(caller), clan_id):
            await self._staff.edit(_actor(caller), clan_id, **changes)
        else:
            await self._acts.edit(caller.viewer.user_id, clan_id, **changes)
        return await self._page(clan_id)

    async def set_icon(self, caller: Caller, query: NoParameters, body: bytes, id: str) -> ChangedClanPage:  # noqa: A002
        """Set a clan's icon: PNG, JPEG, GIF or WebP, as the field `icon` or as the body."""
        clan_id = await self._existing(id)
        if await self._staff.acts_as_staff(_actor(caller), clan_id):
            await self._staff.change_icon(_actor(caller), clan_id, body)
        else:
            await self._icons.change(caller.viewer.user_id, clan_id, body)
        return await self._page(clan_id)

    async def remove_icon(self, caller: Caller, query: NoParameters, body: NoFields, id: str) -> ChangedClanPage:  # noqa: A002
        """Remove a clan's icon. For its owner and administrators."""
        clan_id = await self._existing(id)
        if await self._staff.acts_as_staff(_actor(caller), clan_id):
            await self._staff.remove_icon(_actor(caller), clan_id)
        else:
            await self._icons.remove(caller.viewer.user_id, clan_id)
        return await self._page(clan_id)

    async def disband(self, caller: Caller, query: NoParameters, body: Confirmation, id: str) -> NothingPage:  # noqa: A002
        """Disband a clan. For its owner and administrators; `confirm` is the clan's tag."""
        clan = await self._clans.clan(number_in_path("id", id))
        as_staff = await self._staff.acts_as_staff(_actor(caller), clan.id)
        if body.confirm.upper() != clan.tag:
            raise Invalid("confirm", f"the tag of the clan, {clan.tag}", body.confirm)
        if as_staff:
            await self._staff.disband(_actor(caller), clan.id)
        else:
            await self._acts.disband(caller.viewer.user_id, clan.id)
        return NothingPage()

    async def join(self, caller: Caller, query: NoParameters, body: JoinBody, id: str) -> JoinPage:  # noqa: A002
        """Join a clan, or ask to join it. A clan by invitation needs an invitation or its code."""
        found = await self._acts.join(caller.viewer.user_id, await self._existing(id), code=body.code)
        return JoinPage("success", JoinData(found.state))

    async def leave(self, caller: Caller, query: NoParameters, body: NoFields, id: str) -> NothingPage:  # noqa: A002
        """Leave a clan. Its owner cannot."""
        await self._acts.leave(caller.viewer.user_id, await self._existing(id))
        return NothingPage()

    async def requests(self, caller: Caller, query: NoParameters, id: str) -> RequestsPage:  # noqa: A002
        """The players who want to join. For officers and the owner."""
        found = await self._acts.requests(caller.viewer.user_id, await self._existing(id))
        data = [PlayerData(one.id, one.name) for one in found]
        return RequestsPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def answer(
        self, caller: Caller, query: NoParameters, body: RequestAnswer, id: str, player_id: str  # noqa: A002
    ) -> NothingPage:  # fmt: skip
        """Accept or deny a request. For officers and the owner."""
        player = number_in_path("player_id", player_id)
        await self._acts.answer(caller.viewer.user_id, await self._existing(id), player, accept=body.accept)
        return NothingPage()

    async def invite(self, caller: Caller, query: NoParameters, body: Invitation, id: str) -> NothingPage:  # noqa: A002
        """Invite a player. For officers and the owner."""
        clan_id = await self._existing(id)
        player = await self._accounts.user(caller.viewer, id=body.player_id)
        await self._acts.invite(caller.viewer.user_id, clan_id, player.id)
        return NothingPage()

    async def code(self, caller: Caller, query: NoParameters, body: CodeBody, id: str) -> CodePage:  # noqa: A002
        """The code with which players can join; `reset` replaces it. For officers and the owner."""
        code = await self._acts.code(caller.viewer.user_id, await self._existing(id), reset=body.reset)
        return CodePage("success", CodeData(code))

    async def set_role(
        self, caller: Caller, query: NoParameters, body: RoleBody, id: str, player_id: str  # noqa: A002
    ) -> NothingPage:  # fmt: skip
        """Give a member another role. For the owner."""
        by, clan_id, member = await self._member(caller, id, player_id)
        match body.role:
            case "owner":
                if await self._staff.acts_as_staff(_actor(caller), clan_id):
                    await self._staff.transfer(_actor(caller), clan_id, member)
                else:
                    await self._acts.transfer(by, clan_id, member)
            case "officer":
                await self._acts.promote(by, clan_id, member)
            case "member":
                await self._acts.demote(by, clan_id, member)
        return NothingPage()

    async def kick(
        self, caller: Caller, query: NoParameters, body: NoFields, id: str, player_id: str  # noqa: A002
    ) -> NothingPage:  # fmt: skip
        """Remove a member. For officers and the owner."""
        by, clan_id, member = await self._member(caller, id, player_id)
        if await self._staff.acts_as_staff(_actor(caller), clan_id, Role.OFFICER):
            await self._staff.kick(_actor(caller), clan_id, member)
        else:
            await self._acts.kick(by, clan_id, member)
        return NothingPage()

    async def history(self, caller: Caller, query: HistoryQuery, id: str) -> ClanHistoryPage:  # noqa: A002
        """The history of a clan, the newest act first. A disbanded clan keeps its history for 90 days."""
        clan_id = number_in_path("id", id)
        before = ID_END if query.cursor is None else query.cursor
        found, following, total = await self._history.page(clan_id, before=before, limit=query.page_size)
        if not total:
            await self._clans.clan(clan_id)
        data = [
            HistoryData(
                row.id,
                utc(row.at_ms),
                _kind(row.kind),
                None if row.player is None else PlayerData(*row.player),
                None if row.actor is None else PlayerData(*row.actor),
                row.before or None,
                row.after or None,
            )
            for row in found
        ]
        return ClanHistoryPage("success", data, PageMeta(total, 1, query.page_size, following or None))

    async def _existing(self, text: str) -> int:
        """Return the id of a clan that exists. Raises Invalid, NotFound."""
        return (await self._clans.clan(number_in_path("id", text))).id

    async def _member(self, caller: Caller, clan_text: str, player_text: str) -> tuple[int, int, int]:
        clan_id = await self._existing(clan_text)
        # Hidden players are not found, also not in the caller's clan.
        player = await self._accounts.user(caller.viewer, id=number_in_path("player_id", player_text))
        return caller.viewer.user_id, clan_id, player.id

    async def _page(self, clan_id: int) -> ChangedClanPage:
        clan = await self._clans.clan(clan_id)
        owner = await self._accounts.user(_STAFF, id=clan.owner_id)
        join: Any = JoinForm(clan.joining).name.lower()
        data = ChangedClan(
            clan.id,
            clan.tag,
            clan.name,
            join,
            PlayerData(owner.id, owner.name),
            await self._clans.size(clan.id),
            utc(clan.created_at_ms),
            clan.description,
            f"{self._site_url}{clan.icon_path}" if clan.icon_path else None,
        )
        return ChangedClanPage("success", data)

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        tag, one = "clans", {"id": ID_IN_PATH}
        member = "/clans/{id}/members/{player_id}"
        return [
            post("/clans", self.found, ChangedClanPage, NewClan, tag=tag, creates=True),
            post("/clans/{id}", self.change, ChangedClanPage, ClanChanges, tag=tag, in_path=one, method="PATCH"),
            post("/clans/{id}", self.disband, NothingPage, Confirmation, tag=tag, in_path=one, method="DELETE"),
            post_picture(
                "/clans/{id}/icon", self.set_icon, ChangedClanPage, "icon", tag=tag, in_path=one, limit=self._uploads
            ),
            post(
                "/clans/{id}/icon",
                self.remove_icon,
                ChangedClanPage,
                NoFields,
                tag=tag,
                in_path=one,
                method="DELETE",
                optional=True,
            ),
            get("/clans/{id}/history", self.history, ClanHistoryPage, tag=tag, query=HistoryQuery, in_path=one),
            post("/clans/{id}/join", self.join, JoinPage, JoinBody, tag=tag, in_path=one, optional=True),
            post("/clans/{id}/leave", self.leave, NothingPage, NoFields, tag=tag, in_path=one, optional=True),
            get("/clans/{id}/requests", self.requests, RequestsPage, tag=tag, in_path=one, permission=""),
            post(
                "/clans/{id}/requests/{player_id}", self.answer, NothingPage, RequestAnswer, tag=tag, in_path=BOTH_IDS
            ),
            post("/clans/{id}/invites", self.invite, NothingPage, Invitation, tag=tag, in_path=one, creates=True),
            post("/clans/{id}/code", self.code, CodePage, CodeBody, tag=tag, in_path=one, optional=True),
            post(member, self.set_role, NothingPage, RoleBody, tag=tag, in_path=BOTH_IDS, method="PATCH"),
            post(member, self.kick, NothingPage, NoFields, tag=tag, in_path=BOTH_IDS, method="DELETE", optional=True),
        ]


def _actor(caller: Caller) -> Actor:
    return Actor(user_id=caller.viewer.user_id, source=SOURCE)


def _kind(kind: Any) -> HistoryKind:
    found: HistoryKind = kind
    return found
