"""`/admin/channels`: the channels of the chat, and the acts of staff on them."""

from typing import Final

import msgspec

from kiai.chat.model import CHANNEL_NAME_MAX
from kiai.errors import NotFound
from kiai.faces.site.admin.acts import Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.osu.privileges import privilege_names
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.channel_desk import MODERATES, TOPIC_MAX, WRITES, ChannelDesk, StoredChannel

PATH: Final = "/admin/channels"
ADMITTED: Final = (
    ("normal", "All players"),
    ("verified", "Players who have logged in to the game"),
    ("supporter", "Supporters"),
    ("tournament", "Tournament staff"),
    ("nominator", "Nominators"),
    ("moderator", "Moderators"),
    ("administrator", "Administrators"),
    ("developer", "Developers"),
)
"""The roles of a channel. Higher staff passes for lower staff."""
NAME: Final = Field("name", "Name", most=CHANNEL_NAME_MAX, help="Letters a to z, digits, _ and -.")
TOPIC: Final = Field("topic", "Topic", required=False, most=TOPIC_MAX)
READ: Final = Field("read", "Who may read", "choice", options=ADMITTED, value="normal")
WRITE: Final = Field("write", "Who may write", "choice", options=ADMITTED, value="verified")
AUTO: Final = Field(
    "auto", "Joined at login", "choice", options=(("no", "No"), ("yes", "Yes, by everybody who may read")), value="no"
)


class NewChannel(msgspec.Struct, frozen=True):
    """The channel that a form adds. It has no row yet, so its id is 0."""

    name: str
    id: int = 0


class ChannelPages:
    """The pages of channels in the panel."""

    def __init__(self, audit: AuditReading, desk: ChannelDesk) -> None:
        self._desk = desk
        self._add_form = ActForms(
            PATH,
            [
                Act("add", "Add channel", WRITES, "The channel is added.",
                    "Players who may read the channel see it at once.", self._add,
                    (NAME, TOPIC, READ, WRITE, AUTO)),
            ],
            audit,
            kind="channel",
            load=self._new,
            show=self._list_view,
            path_of=lambda channel: PATH,
        )  # fmt: skip
        self._forms = ActForms(
            f"{PATH}/{{channel}}",
            self._acts(),
            audit,
            kind="channel",
            load=self._load,
            show=self._view,
            path_of=lambda channel: f"{PATH}/{channel.id}",
            possible=_possible,
        )

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._list, MODERATES),
            staff_page(f"{PATH}/{{channel}}", self._forms.page, MODERATES),
            *self._add_form.pages(),
            *self._forms.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        new = await self._new(request)
        return await self._list_view(request, new, await self._add_form.shown(request, new))

    async def _new(self, request: SiteRequest) -> NewChannel:
        name = (request.form.text("name") or "").strip().removeprefix("#")[:CHANNEL_NAME_MAX]
        return NewChannel(f"#{name}" if name else "new channel")

    async def _list_view(self, request: SiteRequest, new: NewChannel, forms: ShownForms) -> View:
        found = await self._desk.stored(staff_actor(request))
        values = {"channels": found, "admitted": {one.id: _admitted(one) for one in found}, "forms": forms}
        return admin_view(request, "channels.html", "Channels", values)

    async def _load(self, request: SiteRequest) -> StoredChannel:
        channel_id = request.id("channel")
        if channel_id is None:
            raise NotFound("page")
        return await self._desk.one(staff_actor(request), channel_id)

    async def _view(self, request: SiteRequest, found: StoredChannel, forms: ShownForms) -> View:
        values = {"channel": found.channel, "admitted": _admitted(found), "forms": forms}
        return admin_view(request, "channel.html", found.name, values, crumbs=((PATH, "Channels"),))

    # --- acts

    def _acts(self) -> list[Act[StoredChannel]]:
        return [
            Act("topic", "Change topic", WRITES, "{name} has another topic.",
                "Everybody in the channel sees the topic.", self._topic, (TOPIC,),
                present=lambda found: {"topic": found.channel.topic}),
            Act("moderate", "Moderate", MODERATES, "Only staff can write in {name}.",
                "Only staff can write in the channel. Everybody else can still read it.", self._moderate, (), "open"),
            Act("open", "Stop moderating", MODERATES, "Everybody can write in {name} again.",
                "All players who may write in the channel can do so again.", self._open, (), "moderate"),
            Act("remove", "Remove channel", WRITES, "",
                "Everybody leaves the channel. Its lines stay until they are old.", self._remove, (), danger=True,
                home=PATH),
        ]  # fmt: skip

    async def _add(self, actor: Actor, new: NewChannel, values: Values) -> None:
        await self._desk.add(
            actor,
            values["name"],
            values["topic"],
            read=(values["read"],),
            write=(values["write"],),
            auto=values["auto"] == "yes",
        )

    async def _topic(self, actor: Actor, found: StoredChannel, values: Values) -> None:
        await self._desk.set_topic(actor, found.name, values["topic"])

    async def _moderate(self, actor: Actor, found: StoredChannel, values: Values) -> None:
        await self._desk.set_moderated(actor, found.name, True)

    async def _open(self, actor: Actor, found: StoredChannel, values: Values) -> None:
        await self._desk.set_moderated(actor, found.name, False)

    async def _remove(self, actor: Actor, found: StoredChannel, values: Values) -> None:
        await self._desk.remove(actor, found.name)


def _possible(found: StoredChannel, now_ms: int) -> frozenset[str]:
    return frozenset({"topic", "remove", "open" if found.channel.moderated else "moderate"})


def _admitted(found: StoredChannel) -> tuple[str, str]:
    """Return the privileges that may read the channel, and those that may write in it; one of them is enough."""
    channel = found.channel
    read, write = (", ".join(privilege_names(mask)) for mask in (channel.read_priv, channel.write_priv))
    return read or "everybody", write or "everybody"
