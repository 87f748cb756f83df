"""`!pool`: mappools (docs/spec/multiplayer.md#mappools)."""

from collections.abc import Sequence
from typing import Any, Final

from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.faces.bot.now_playing import NowPlaying
from kiai.multiplayer.pools import Mappool, Mappools, WithinTransaction
from kiai.osu.privileges import may, staff_rank
from kiai.osu.texts import chat_text
from kiai.staff import Actor, audit
from kiai.staff.authority import DEVELOPER_RANK
from kiai.storage.port import Transaction

GROUP: Final = "pool"
MANAGE: Final = "pools.manage"
POOL: Final = Argument("pool")
PICK: Final = Argument("pick")


class PoolCommands:
    """Handlers of the `!pool` commands. All but `info` need the permission `pools.manage`."""

    def __init__(self, pools: Mappools, now_playing: NowPlaying, clock: Clock) -> None:
        self._pools = pools
        self._now_playing = now_playing
        self._clock = clock

    def _audit_row(self, context: CommandContext, action: str) -> WithinTransaction:
        """Return the write of the audit row. It runs in the transaction of the change."""
        actor, at_ms = Actor(context.session.user_id, context.source), self._clock.now_ms()

        async def write(tx: Transaction, pool_id: int) -> None:
            await audit.write(tx, actor, action, at_ms=at_ms, target_kind="pool", target_id=pool_id)

        return write

    async def create(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!pool create`."""
        await self._pools.create(pool, context.session.user_id, also=self._audit_row(context, "pool_create"))
        return (f"Created the mappool {chat_text(pool)}.",)

    async def about_deletion(self, context: CommandContext, pool: str) -> str:
        """Return what `!pool delete` will do."""
        found = await self._own(context, pool)
        picks = len(await self._pools.picks(found.id))
        return f"This deletes the mappool {chat_text(found.name)} with its {picks} picks and can't be undone."

    async def delete(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!pool delete`."""
        found = await self._own(context, pool)
        await self._pools.delete(found.id, also=self._audit_row(context, "pool_delete"))
        return (f"Deleted the mappool {chat_text(pool)}.",)

    async def _own(self, context: CommandContext, name: str) -> Mappool:
        """Return a pool that the player created, or any pool for a developer. Raises NotFound, Refused."""
        found = await self._pools.named(name)
        if found.created_by != context.session.user_id and staff_rank(context.session.priv) != DEVELOPER_RANK:
            raise Refused("only the creator of the mappool can do that")
        return found

    async def add(self, context: CommandContext, pool: str, pick: str, map_id: int | None) -> Sequence[str]:
        """`!pool add`."""
        found = await self._pools.named(pool)
        chosen = map_id or (await self._now_playing.last_map(context.session.user_id)).beatmap.id
        await self._pools.add(found.id, pick, chosen, also=self._audit_row(context, "pool_edit"))
        return (f"{chat_text(pick.upper())} of {chat_text(pool)} is now map {chosen}.",)

    async def remove(self, context: CommandContext, pool: str, pick: str) -> Sequence[str]:
        """`!pool remove`."""
        found = await self._pools.named(pool)
        await self._pools.remove(found.id, pick, also=self._audit_row(context, "pool_edit"))
        return (f"{chat_text(pick.upper())} is no longer in {chat_text(pool)}.",)

    async def listed(self, context: CommandContext, page: int | None) -> Sequence[str]:
        """`!pool list`."""
        found = await self._pools.listed(page or 1)
        return [f"{pool.id}: {chat_text(pool.name)}" for pool in found] or ("There are no mappools.",)

    async def info(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!pool info`. Everybody may read a published pool."""
        found = await self._pools.named(pool)
        if not found.published and not may(context.session.priv, MANAGE):
            raise NotFound("mappool")
        picks = [f"{pick.mods}{pick.slot} {pick.map_id}" for pick in await self._pools.picks(found.id)]
        return (f"{chat_text(found.name)}: {', '.join(picks) or 'no picks yet'}",)

    async def publish(self, context: CommandContext, pool: str, on: str) -> Sequence[str]:
        """`!pool publish`."""
        found = await self._pools.named(pool)
        await self._pools.publish(found.id, on == "on", also=self._audit_row(context, "pool_edit"))
        return (f"The mappool {chat_text(pool)} is now {'public' if on == 'on' else 'hidden'}.",)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the `!pool` commands."""
        map_id = Argument("map_id", ArgumentKind.NUMBER, optional=True, least=1)
        page = Argument("page", ArgumentKind.NUMBER, optional=True, least=1, most=1_000)
        on_off = Argument("on", ArgumentKind.CHOICE, choices=("on", "off"))
        rows: tuple[tuple[str, tuple[str, ...], Any, tuple[Argument, ...], str, str], ...] = (
            ("create", ("c",), self.create, (POOL,), "pool_create", "Creates a mappool."),
            ("delete", ("del", "d"), self.delete, (POOL,), "pool_delete", "Deletes a mappool."),
            (
                "add",
                ("a",),
                self.add,
                (POOL, PICK, map_id),
                "pool_edit",
                "Adds a pick: a map id, or the map of your last /np.",
            ),
            ("remove", ("rm", "r"), self.remove, (POOL, PICK), "pool_edit", "Removes a pick."),
            ("list", ("l",), self.listed, (page,), "", "Lists the mappools, newest first."),
            ("info", ("i",), self.info, (POOL,), "", "Lists the picks of a mappool."),
            ("publish", (), self.publish, (POOL, on_off), "pool_edit", "Publishes or hides a mappool."),
        )
        return [
            BotCommand(
                name=name,
                aliases=aliases,
                handler=handler,
                arguments=arguments,
                permission="" if name == "info" else MANAGE,
                confirm=self.about_deletion if name == "delete" else None,
                audit=audit,
                help=about,
                hidden=True,
                group=GROUP,
            )
            for name, aliases, handler, arguments, audit, about in rows
        ]
