"""`!pool`: mappools (docs/spec/multiplayer.md#mappools)."""

from collections.abc import Sequence
from typing import Any, Final

from kiai.chat.bot import Argument, Asker, Command, Kind
from kiai.clock import Clock
from kiai.errors import Refused
from kiai.faces.bot.now_playing import NowPlaying
from kiai.multiplayer.pools import Also, Pool, Pools
from kiai.osu.privileges import staff_rank
from kiai.osu.texts import chat_text
from kiai.staff import Actor, audit
from kiai.storage.port import Transaction

GROUP: Final = "pool"
POOL: Final = Argument("pool")
PICK: Final = Argument("pick")
DEVELOPER_RANK: Final = 3


class PoolCommands:
    """What those who manage tournaments say."""

    def __init__(self, pools: Pools, now_playing: NowPlaying, clock: Clock) -> None:
        self._pools = pools
        self._now_playing = now_playing
        self._clock = clock

    def _written(self, asker: Asker, action: str) -> Also:
        """What puts the act into the audit log, in its own transaction."""
        actor, at_ms = Actor(user_id=asker.session.user_id, source="game"), self._clock.now_ms()

        async def write(tx: Transaction, pool_id: int) -> None:
            await audit.write(tx, actor, action, at_ms=at_ms, target_kind="pool", target_id=pool_id)

        return write

    async def create(self, asker: Asker, pool: str) -> Sequence[str]:
        """`!pool create`."""
        await self._pools.create(pool, asker.session.user_id, also=self._written(asker, "pool_create"))
        return (f"The mappool {chat_text(pool)} was made.",)

    async def delete(self, asker: Asker, pool: str, really: str | None) -> Sequence[str]:
        """`!pool delete`."""
        found = await self._own(asker, pool)
        if really != "really":
            return (f"This cannot be undone: !pool delete {chat_text(pool)} really",)
        await self._pools.delete(found.id, also=self._written(asker, "pool_delete"))
        return (f"The mappool {chat_text(pool)} is gone.",)

    async def _own(self, asker: Asker, name: str) -> Pool:
        found = await self._pools.named(name)
        if found.created_by != asker.session.user_id and staff_rank(asker.session.priv) != DEVELOPER_RANK:
            raise Refused("only its creator may do that")
        return found

    async def add(self, asker: Asker, pool: str, pick: str, map_id: int | None) -> Sequence[str]:
        """`!pool add`."""
        found = await self._pools.named(pool)
        chosen = map_id or (await self._now_playing.last(asker.session.user_id)).beatmap.id
        await self._pools.add(found.id, pick, chosen, also=self._written(asker, "pool_edit"))
        return (f"{chat_text(pick.upper())} of {chat_text(pool)} is map {chosen}.",)

    async def remove(self, asker: Asker, pool: str, pick: str) -> Sequence[str]:
        """`!pool remove`."""
        found = await self._pools.named(pool)
        await self._pools.remove(found.id, pick, also=self._written(asker, "pool_edit"))
        return (f"{chat_text(pick.upper())} is no longer in {chat_text(pool)}.",)

    async def listed(self, asker: Asker, page: int | None) -> Sequence[str]:
        """`!pool list`."""
        found = await self._pools.listed(page or 1)
        return [f"{one.id}: {chat_text(one.name)}" for one in found] or ("There are no mappools.",)

    async def info(self, asker: Asker, pool: str) -> Sequence[str]:
        """`!pool info`."""
        found = await self._pools.named(pool)
        picks = [f"{one.mods}{one.slot} {one.map_id}" for one in await self._pools.picks(found.id)]
        return (f"{chat_text(found.name)}: {', '.join(picks) or 'no picks yet'}",)

    async def publish(self, asker: Asker, pool: str, on: str) -> Sequence[str]:
        """`!pool publish`."""
        found = await self._pools.named(pool)
        await self._pools.publish(found.id, on == "on", also=self._written(asker, "pool_edit"))
        return (f"{chat_text(pool)} is {'seen by everybody' if on == 'on' else 'hidden'} now.",)

    def commands(self) -> list[Command]:
        """What this page declares."""
        map_id = Argument("map_id", Kind.NUMBER, optional=True, least=1)
        page = Argument("page", Kind.NUMBER, optional=True, least=1, most=1_000)
        really = Argument("really", optional=True)
        on_off = Argument("on", Kind.CHOICE, choices=("on", "off"))
        rows: tuple[tuple[str, tuple[str, ...], Any, tuple[Argument, ...], str, str], ...] = (
            ("create", ("c",), self.create, (POOL,), "pool_create", "Makes a mappool."),
            ("delete", ("del", "d"), self.delete, (POOL, really), "pool_delete", "Takes it away."),
            ("add", ("a",), self.add, (POOL, PICK, map_id), "pool_edit", "Adds a pick: a map id, or your last /np."),
            ("remove", ("rm", "r"), self.remove, (POOL, PICK), "pool_edit", "Takes a pick out."),
            ("list", ("l",), self.listed, (page,), "", "The mappools, newest first."),
            ("info", ("i",), self.info, (POOL,), "", "The picks of a mappool."),
            ("publish", (), self.publish, (POOL, on_off), "pool_edit", "Shows it to everybody, or hides it."),
        )
        return [
            Command(
                name=name,
                aliases=aliases,
                handler=handler,
                arguments=arguments,
                permission="pools.manage",
                audit=audit,
                help=about,
                hidden=True,
                group=GROUP,
            )
            for name, aliases, handler, arguments, audit, about in rows
        ]
