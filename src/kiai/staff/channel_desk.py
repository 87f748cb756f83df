"""The operator's acts on channels: adding, changing and removing them. A running server applies them within a second.

Each act enqueues a row `channels` in the outbox; `Chat.on_channel_change` tells the clients.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from kiai.chat import queries
from kiai.chat.channels import Channel, Channels
from kiai.chat.model import CHANNEL_NAME_MAX, CHANNELS_CHANGED, CLIENT_ONLY, MATCH, SPECTATOR, is_instance
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotFound, Refused, WrongState
from kiai.osu.privileges import ROLES
from kiai.osu.texts import one_line
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import channels

WRITES: Final = "channels.write"
MODERATES: Final = "chat.moderate"
TOPIC_MAX: Final = 200
READ: Final = ("normal",)
WRITE: Final = ("verified",)

_NAME: Final = re.compile(rf"#[a-z0-9_-]{{1,{CHANNEL_NAME_MAX - 1}}}")
_COLUMNS: Final = ("topic", "read_priv", "write_priv", "auto_join", "moderated")
_ROW = Query(
    select(channels.c.id, channels.c.archived, *[channels.c[name] for name in _COLUMNS]).where(
        channels.c.name == bindparam("channel")
    ),
    lambda *row: row,
)
_listed = select(channels.c.id, channels.c.name, *[channels.c[name] for name in _COLUMNS]).where(
    channels.c.archived == 0
)


class StoredChannel(msgspec.Struct, frozen=True):
    """A channel with the id of its row, which the audit log has."""

    id: int
    channel: Channel

    @property
    def name(self) -> str:
        """The name with its `#`."""
        return self.channel.name


def _stored(row_id: int, name: str, topic: str, read: int, write: int, auto: int, moderated: int) -> StoredChannel:
    return StoredChannel(row_id, Channel(name, topic, read, write, bool(auto), bool(moderated)))


_STORED = Query(_listed.order_by(channels.c.id).limit(queries.CHANNELS_MAX), _stored)
_BY_ID = Query(_listed.where(channels.c.id == bindparam("id")), _stored)
_COUNT = Query(select(func.count()).select_from(channels).where(channels.c.archived == 0), scalar)
_ADD = Command(insert(channels).values({name: bindparam(name) for name in ("name", *_COLUMNS)} | {"archived": 0}))
_SET = Command(
    update(channels)
    .where(channels.c.name == bindparam("channel"))
    .values({name: bindparam(f"new_{name}") for name in (*_COLUMNS, "archived")})
)


class ChannelDesk:
    """Changes channels, each time with an audit row. The roles of `add` are those of `ROLES`.

    `rows` are the channels of this worker, which see a change at once. Other workers reload theirs every few seconds.
    """

    def __init__(self, database: Database, authority: Authority, clock: Clock, rows: Channels) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock
        self._rows = rows

    async def all(self, actor: Actor) -> list[Channel]:
        """Return all channels, the oldest first. Raises NotAllowed."""
        await self._authority.require(actor, MODERATES)
        rows = await self._database.all(queries.CHANNELS)
        return [Channel(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5])) for row in rows]

    async def stored(self, actor: Actor) -> list[StoredChannel]:
        """Return all channels with their ids, the oldest first. Raises NotAllowed."""
        await self._authority.require(actor, MODERATES)
        return await self._database.all(_STORED)

    async def one(self, actor: Actor, channel_id: int) -> StoredChannel:
        """Return a channel by the id of its row. Raises NotAllowed, NotFound("channel")."""
        await self._authority.require(actor, MODERATES)
        found = await self._database.one(_BY_ID, id=channel_id)
        if found is None:
            raise NotFound("channel")
        return found

    async def add(
        self,
        actor: Actor,
        name: str,
        topic: str = "",
        *,
        read: tuple[str, ...] = READ,
        write: tuple[str, ...] = WRITE,
        auto: bool = False,
    ) -> Channel:
        """Add a channel, readable and writable for players with one of these roles.

        Raises NotAllowed, Invalid, Conflict for a name that exists, and Refused at the limit of channels.
        """
        name, topic = _name(name), _topic(topic)
        channel = Channel(name, topic, _mask("read", read), _mask("write", write), auto, moderated=False)

        async def change(tx: Transaction, before: Channel | None, row_exists: bool) -> Channel:
            if before is not None:
                raise Conflict("channel")
            if (await tx.one(_COUNT) or 0) >= queries.CHANNELS_MAX:
                raise Refused(f"a server has at most {queries.CHANNELS_MAX} channels")
            if not row_exists:
                await tx.run(_ADD, name=name, **_values(channel))
            return channel

        return await self._change(actor, WRITES, name, "channel_edit", change)

    async def set_topic(self, actor: Actor, name: str, topic: str) -> Channel:
        """Change the topic. Raises NotAllowed, Invalid, NotFound."""
        topic = _topic(topic)
        return await self._edit(actor, WRITES, name, "channel_edit", lambda channel: _with(channel, topic=topic))

    async def set_moderated(self, actor: Actor, name: str, on: bool | None) -> Channel:
        """Allow only staff to write in the channel, or everybody again; None changes to the other of both.

        Raises NotAllowed, NotFound, WrongState.
        """

        def edit(channel: Channel) -> Channel:
            if channel.moderated == on:
                raise WrongState(f"the channel is already {'moderated' if on else 'open to everybody'}")
            return _with(channel, moderated=not channel.moderated if on is None else on)

        return await self._edit(actor, MODERATES, name, "channel_moderated", edit)

    async def remove(self, actor: Actor, name: str) -> Channel:
        """Remove a channel; its stored lines stay until they are old. Raises NotAllowed, NotFound."""
        return await self._edit(actor, WRITES, name, "channel_edit", lambda channel: channel, removes=True)

    async def _edit(
        self,
        actor: Actor,
        permission: str,
        name: str,
        action: str,
        edit: Callable[[Channel], Channel],
        *,
        removes: bool = False,
    ) -> Channel:
        async def change(tx: Transaction, before: Channel | None, row_exists: bool) -> Channel:
            if before is None:
                raise NotFound("channel")
            return edit(before)

        return await self._change(actor, permission, _prefixed(name), action, change, removes=removes)

    async def _change(
        self,
        actor: Actor,
        permission: str,
        name: str,
        action: str,
        change: Callable[[Transaction, Channel | None, bool], Awaitable[Channel]],
        *,
        removes: bool = False,
    ) -> Channel:
        await self._authority.require(actor, permission)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> Channel:
            await audit.lock(tx)
            row = await tx.one(_ROW, channel=name)
            before = (
                None if row is None or row[1] else Channel(name, row[2], row[3], row[4], bool(row[5]), bool(row[6]))
            )
            after = await change(tx, before, row is not None)
            values = {f"new_{key}": value for key, value in _values(after).items()}
            await tx.run(_SET, channel=name, new_archived=int(removes), **values)
            stored = await tx.one(_ROW, channel=name)
            assert stored is not None
            await enqueue(tx, CHANNELS_CHANGED, name, now)
            await audit.write(
                tx,
                actor,
                action,
                at_ms=now,
                target_kind="channel",
                target_id=stored[0],
                details={
                    "channel": name,
                    "before": None if before is None else channel_object(before),
                    "after": None if removes else channel_object(after),
                },
            )
            return after

        after = await self._authority.transaction(Requirement(actor, permission), body)
        await self._rows.reload()
        return after


def channel_object(channel: Channel) -> dict[str, object]:
    """Return a channel as the command line and the audit log show it; `read` and `write` are masks of privileges."""
    return {
        "name": channel.name,
        "topic": channel.topic,
        "read": channel.read_priv,
        "write": channel.write_priv,
        "auto": channel.auto_join,
        "moderated": channel.moderated,
    }


def _values(channel: Channel) -> dict[str, str | int]:
    return {
        "topic": channel.topic,
        "read_priv": channel.read_priv,
        "write_priv": channel.write_priv,
        "auto_join": int(channel.auto_join),
        "moderated": int(channel.moderated),
    }


def _with(channel: Channel, *, topic: str | None = None, moderated: bool | None = None) -> Channel:
    return Channel(
        channel.name,
        channel.topic if topic is None else topic,
        channel.read_priv,
        channel.write_priv,
        channel.auto_join,
        channel.moderated if moderated is None else moderated,
    )


def _prefixed(name: str) -> str:
    return name if name.startswith("#") else f"#{name}"


def _name(text: str) -> str:
    name = _prefixed(text)
    if not _NAME.fullmatch(name) or is_instance(name) or name in CLIENT_ONLY or name in (MATCH, SPECTATOR):
        allowed = f"# and 1 to {CHANNEL_NAME_MAX - 1} of a-z, 0-9, _ and -, and no name of the game's own channels"
        raise Invalid("name", allowed, text)
    return name


def _topic(text: str) -> str:
    topic = one_line(text).strip()
    if len(topic) > TOPIC_MAX:
        raise Invalid("topic", f"at most {TOPIC_MAX} characters", text)
    return topic


def _mask(field: str, roles: tuple[str, ...]) -> int:
    mask = 0
    for role in roles:
        if role.lower() not in ROLES:
            raise Invalid(field, "one of " + ", ".join(sorted(ROLES)), role)
        mask |= ROLES[role.lower()]
    return mask
