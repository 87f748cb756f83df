"""Acts on mappools. Each writes one audit row in its transaction, with the values before and after it."""

from collections.abc import Mapping
from typing import Final

from kiai.clock import Clock
from kiai.errors import Refused, WrongState
from kiai.multiplayer.pools import Mappool, Mappools, WithinTransaction, pick_of
from kiai.osu.privileges import staff_rank
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import DEVELOPER_RANK, Authority, Requirement
from kiai.storage.port import Transaction

PERMISSION: Final = "pools.manage"


class PoolActs:
    """Changes mappools. Every verb raises NotAllowed without the permission."""

    def __init__(self, pools: Mappools, authority: Authority, clock: Clock) -> None:
        self._pools = pools
        self._authority = authority
        self._clock = clock

    async def create(self, actor: Actor, name: str) -> int:
        """Create an unpublished pool and return its id. Raises as `Mappools.create`."""
        await self._authority.require(actor, PERMISSION)
        return await self._pools.create(
            name, actor.user_id, also=self._row(actor, "pool_create", None, {"name": name, "published": False})
        )

    async def rename(self, actor: Actor, name: str, new_name: str) -> None:
        """Rename a pool. Raises NotFound("mappool"), WrongState for its present name, and as `Mappools.rename`."""
        await self._authority.require(actor, PERMISSION)
        pool = await self._pools.named(name)
        if new_name == pool.name:
            raise WrongState("this is the present name of the mappool")
        row = self._row(actor, "pool_edit", {"name": pool.name}, {"name": new_name})
        await self._pools.rename(pool.id, new_name, also=row)

    async def to_delete(self, actor: Actor, name: str) -> tuple[Mappool, int]:
        """Return a pool that the actor may delete, and the number of its picks.

        Raises NotFound("mappool"), and Refused unless the actor created the pool or is a developer.
        """
        priv = await self._authority.require(actor, PERMISSION)
        pool = await self._pools.named(name)
        if pool.created_by != actor.user_id and staff_rank(priv) != DEVELOPER_RANK:
            raise Refused("only the creator of the mappool can do that")
        return pool, len(await self._pools.picks(pool.id))

    async def delete(self, actor: Actor, name: str) -> Mappool:
        """Delete a pool with its picks and return it. Raises as `to_delete`."""
        pool, picks = await self.to_delete(actor, name)
        before = {"name": pool.name, "published": bool(pool.published), "picks": picks}
        await self._pools.delete(pool.id, also=self._row(actor, "pool_delete", before, None))
        return pool

    async def add(self, actor: Actor, name: str, pick: str, map_id: int) -> None:
        """Add a pick. Raises NotFound("mappool"), and as `Mappools.add`."""
        await self._authority.require(actor, PERMISSION)
        pool = await self._pools.named(name)
        after = {"name": pool.name, "pick": pick.upper(), "map": map_id}
        await self._pools.add(pool.id, pick, map_id, also=self._row(actor, "pool_edit", None, after))

    async def remove(self, actor: Actor, name: str, pick: str) -> None:
        """Remove a pick. Raises NotFound("mappool"), and as `Mappools.remove`."""
        await self._authority.require(actor, PERMISSION)
        pool = await self._pools.named(name)
        mods, slot = pick_of(pick)
        maps = {(one.mods, one.slot): one.map_id for one in await self._pools.picks(pool.id)}
        before = {"name": pool.name, "pick": pick.upper(), "map": maps.get((mods, slot))}
        await self._pools.remove(pool.id, pick, also=self._row(actor, "pool_edit", before, None))

    async def publish(self, actor: Actor, name: str, on: bool) -> None:
        """Publish a pool, or hide it. Raises NotFound("mappool"), and WrongState if it is so already."""
        await self._authority.require(actor, PERMISSION)
        pool = await self._pools.named(name)
        row = self._row(actor, "pool_edit", {"published": not on}, {"published": on})
        await self._pools.publish(pool.id, on, also=row)

    def _row(
        self, actor: Actor, action: str, before: Mapping[str, object] | None, after: Mapping[str, object] | None
    ) -> WithinTransaction:
        """Return the check of the actor and the audit row. They are part of the transaction of the change."""
        at_ms = self._clock.now_ms()

        async def write(tx: Transaction, pool_id: int) -> None:
            await self._authority.recheck(tx, Requirement(actor, PERMISSION))
            details = {"before": before, "after": after}
            await audit.write(tx, actor, action, at_ms=at_ms, target_kind="pool", target_id=pool_id, details=details)

        return write
