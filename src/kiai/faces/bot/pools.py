"""`!pool`: mappools (docs/spec/multiplayer.md#mappools)."""

from collections.abc import Sequence
from typing import Any, Final

from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.errors import NotFound
from kiai.faces.bot.acting import actor_of
from kiai.faces.bot.now_playing import NowPlaying
from kiai.multiplayer.pools import Mappools
from kiai.osu.privileges import may
from kiai.osu.texts import chat_text
from kiai.staff.pool_acts import PERMISSION, PoolActs

GROUP: Final = "pool"
POOL: Final = Argument("pool")
PICK: Final = Argument("pick")


class PoolCommands:
    """Handlers of the `!pool` commands. All but `info` need the permission `pools.manage`."""

    def __init__(self, pools: Mappools, acts: PoolActs, now_playing: NowPlaying) -> None:
        self._pools = pools
        self._acts = acts
        self._now_playing = now_playing

    async def create(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!pool create`."""
        await self._acts.create(actor_of(context), pool)
        return (f"Created the mappool {chat_text(pool)}.",)

    async def about_deletion(self, context: CommandContext, pool: str) -> str:
        """Return what `!pool delete` will do."""
        found, picks = await self._acts.to_delete(actor_of(context), pool)
        return f"This deletes the mappool {chat_text(found.name)} with its {picks} picks and can't be undone."

    async def delete(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!pool delete`."""
        deleted = await self._acts.delete(actor_of(context), pool)
        return (f"Deleted the mappool {chat_text(deleted.name)}.",)

    async def add(self, context: CommandContext, pool: str, pick: str, map_id: int | None) -> Sequence[str]:
        """`!pool add`."""
        chosen = map_id or (await self._now_playing.last_map(context.session.user_id)).beatmap.id
        await self._acts.add(actor_of(context), pool, pick, chosen)
        return (f"{chat_text(pick.upper())} of {chat_text(pool)} is now map {chosen}.",)

    async def remove(self, context: CommandContext, pool: str, pick: str) -> Sequence[str]:
        """`!pool remove`."""
        await self._acts.remove(actor_of(context), pool, pick)
        return (f"{chat_text(pick.upper())} is no longer in {chat_text(pool)}.",)

    async def listed(self, context: CommandContext, page: int | None) -> Sequence[str]:
        """`!pool list`."""
        found = await self._pools.listed(page or 1)
        return [f"{pool.id}: {chat_text(pool.name)}" for pool in found] or ("There are no mappools.",)

    async def info(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!pool info`. Everybody may read a published pool."""
        found = await self._pools.named(pool)
        if not found.published and not may(context.session.priv, PERMISSION):
            raise NotFound("mappool")
        picks = [f"{pick.mods}{pick.slot} {pick.map_id}" for pick in await self._pools.picks(found.id)]
        return (f"{chat_text(found.name)}: {', '.join(picks) or 'no picks yet'}",)

    async def publish(self, context: CommandContext, pool: str, on: str) -> Sequence[str]:
        """`!pool publish`."""
        await self._acts.publish(actor_of(context), pool, on == "on")
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
                permission="" if name == "info" else PERMISSION,
                confirm=self.about_deletion if name == "delete" else None,
                audit=audit,
                help=about,
                hidden=True,
                group=GROUP,
            )
            for name, aliases, handler, arguments, audit, about in rows
        ]
