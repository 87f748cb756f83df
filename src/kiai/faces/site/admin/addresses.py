"""`/admin/settings/addresses`: the blocked addresses, and the acts to block one and to end a block."""

from typing import Final

import msgspec

from kiai.errors import NotFound
from kiai.faces.site.admin.acts import DURATION, DURATION_FORMS, REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.server_settings import PATH as SETTINGS
from kiai.faces.site.page import Page, SiteRequest, View
from kiai.osu.durations import parse_duration
from kiai.staff import Actor
from kiai.staff.address_blocks import PERMISSION, TEXT_MAX, AddressBlock, AddressBlocks
from kiai.staff.audit_reading import AuditReading

PATH: Final = f"{SETTINGS}/addresses"
ADDRESS: Final = Field(
    "address",
    "Address",
    most=TEXT_MAX,
    help="An IP address, or a network such as 203.0.113.0/24. An IPv6 address means its /64.",
)
ENDS: Final = msgspec.structs.replace(DURATION, required=False, help=f"{DURATION_FORMS.capitalize()}. Empty: no end.")


class TypedAddress(msgspec.Struct, frozen=True):
    """The address that a form blocks. It has no row yet, so its id is 0."""

    name: str
    id: int = 0


class ShownBlock(msgspec.Struct, frozen=True):
    """A block, and its network as the name of the target."""

    block: AddressBlock

    @property
    def id(self) -> int:
        """The id in the audit log."""
        return self.block.id

    @property
    def name(self) -> str:
        """The network."""
        return self.block.network


class AddressPages:
    """The pages of blocked addresses."""

    def __init__(self, audit: AuditReading, blocks: AddressBlocks) -> None:
        self._audit = audit
        self._blocks = blocks
        self._add_form = ActForms(
            PATH,
            [
                Act("block", "Block an address", PERMISSION, "The address is blocked.",
                    "The server refuses its requests and connections at once.", self._block,
                    (ADDRESS, ENDS, REASON), danger=True),
            ],
            audit,
            kind="server",
            load=self._typed,
            show=self._list_view,
            path_of=lambda address: PATH,
        )  # fmt: skip
        self._forms = ActForms(
            f"{PATH}/{{block}}",
            [
                Act("end", "End the block", PERMISSION, "", "The server accepts the address again.", self._end,
                    home=PATH),
            ],
            audit,
            kind="server",
            load=self._load,
            show=self._view,
            path_of=lambda found: f"{PATH}/{found.id}",
        )  # fmt: skip

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._add_form.page, PERMISSION),
            staff_page(f"{PATH}/{{block}}", self._forms.page, PERMISSION),
            *self._add_form.pages(),
            *self._forms.pages(),
        ]

    async def _typed(self, request: SiteRequest) -> TypedAddress:
        return TypedAddress((request.form.text("address") or "").strip()[:TEXT_MAX] or "an address")

    async def _list_view(self, request: SiteRequest, address: TypedAddress, forms: ShownForms) -> View:
        before = request.query.whole("before", 0, at_most=2**31 - 1)
        found, after = await self._blocks.page(staff_actor(request), before or None)
        authors = {actor_id: await self._audit.name_of(actor_id) for actor_id in {one.actor_id for one in found}}
        values = {"blocks": found, "authors": authors, "next": after, "before": before, "forms": forms}
        return admin_view(request, "addresses.html", "Blocked addresses", values, crumbs=((SETTINGS, "Settings"),))

    async def _load(self, request: SiteRequest) -> ShownBlock:
        block_id = request.id("block")
        if block_id is None:
            raise NotFound("page")
        return ShownBlock(await self._blocks.one(staff_actor(request), block_id))

    async def _view(self, request: SiteRequest, found: ShownBlock, forms: ShownForms) -> View:
        values = {"block": found.block, "author": await self._audit.name_of(found.block.actor_id), "forms": forms}
        above = ((SETTINGS, "Settings"), (PATH, "Blocked addresses"))
        return admin_view(request, "address.html", found.name, values, crumbs=above)

    # --- acts

    async def _block(self, actor: Actor, address: TypedAddress, values: Values) -> None:
        seconds = parse_duration(values["duration"]) if values["duration"] else None
        await self._blocks.block(actor, values["address"], values["reason"], seconds=seconds)

    async def _end(self, actor: Actor, found: ShownBlock, values: Values) -> None:
        await self._blocks.unblock(actor, found.name, values["reason"])
