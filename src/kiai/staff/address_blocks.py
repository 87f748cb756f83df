"""Blocked addresses: the server refuses their requests and connections. Owns the table `address_blocks`.

Each worker holds all blocks in memory, so a request needs no statement. The value of the switch `address_blocks` counts
the changes; a worker reads the blocks again when it has changed (docs/spec/security.md#blocked-addresses).

Audit rows name a block by its id: administrators read the audit log, and only developers see addresses.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select

from kiai.callers import CALLER
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound, Refused, WrongState
from kiai.networks import Network, NetworkSet, parse_network
from kiai.osu.durations import YEAR_S
from kiai.staff import audit
from kiai.staff.audit import JOB, Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import Switch, Switches, locked, store
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import address_blocks

PERMISSION: Final = "addresses.block"
BLOCKS_MAX: Final = 1_000
PAGE: Final = 50
NEWEST: Final = 2**62
SHORTEST_PREFIX: Final = {4: 8, 6: 16}
"""By IP version. A shorter prefix would block a large part of the internet."""
LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
TEXT_MAX: Final = 64


class AddressBlock(msgspec.Struct, frozen=True):
    """A blocked network in CIDR notation. `ends_at_ms` is 0 without an end."""

    id: int
    network: str
    at_ms: int
    ends_at_ms: int
    actor_id: int
    reason: str


_COLUMNS: Final = [address_blocks.c[name] for name in AddressBlock.__struct_fields__]
_ALL = Query(select(*_COLUMNS).order_by(address_blocks.c.id).limit(BLOCKS_MAX), AddressBlock)
_DUE = Query(
    select(address_blocks.c.network)
    .where(address_blocks.c.ends_at_ms > 0, address_blocks.c.ends_at_ms <= bindparam("now_ms"))
    .order_by(address_blocks.c.id)
    .limit(BLOCKS_MAX),
    scalar,
)
_ONE = Query(select(*_COLUMNS).where(address_blocks.c.network == bindparam("in_network")), AddressBlock)
_BY_ID = Query(select(*_COLUMNS).where(address_blocks.c.id == bindparam("id")), AddressBlock)
_PAGE = Query(
    select(*_COLUMNS)
    .where(address_blocks.c.id < bindparam("before"))
    .order_by(address_blocks.c.id.desc())
    .limit(PAGE + 1),
    AddressBlock,
)
_COUNT = Query(select(func.count()).select_from(address_blocks), scalar)
_ADD = Query(
    insert(address_blocks)
    .values({name: bindparam(name) for name in AddressBlock.__struct_fields__ if name != "id"})
    .returning(*_COLUMNS),
    AddressBlock,
)
_REMOVE = Command(delete(address_blocks).where(address_blocks.c.id == bindparam("block_id")))


class AddressBlocks:
    """Blocks addresses, ends blocks, and says which addresses are blocked. `trusted`: the networks of proxies."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        switches: Switches,
        clock: Clock,
        trusted: tuple[Network, ...] = (),
    ) -> None:
        self._database = database
        self._authority = authority
        self._switches = switches
        self._clock = clock
        self._never_blocked = (*LOOPBACK, *trusted)
        self._blocked = NetworkSet()
        self._stamp = 0

    # --- requests

    def is_blocked(self, address: str) -> bool:
        """Return whether an address is blocked."""
        return self._blocked.contains(address)

    async def follow(self) -> None:
        """Read the blocks if they have changed. A job calls this after it has read the switches."""
        stamp = self._switches.now("address_blocks").value
        if stamp != self._stamp:
            found = await self._database.all(_ALL)
            self._blocked = NetworkSet(ip_network(block.network) for block in found)
            self._stamp = stamp

    # --- acts

    async def all(self, actor: Actor) -> list[AddressBlock]:
        """Return all blocks, oldest first. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return await self._database.all(_ALL)

    async def page(self, actor: Actor, before: int | None = None) -> tuple[list[AddressBlock], int | None]:
        """Return the newest blocks with ids below `before`, and the value of `before` for the next page or None.

        Raises NotAllowed.
        """
        await self._authority.require(actor, PERMISSION)
        found = await self._database.all(_PAGE, before=NEWEST if before is None else before)
        return found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None

    async def one(self, actor: Actor, block_id: int) -> AddressBlock:
        """Return a block. Raises NotAllowed and NotFound("block")."""
        await self._authority.require(actor, PERMISSION)
        found = await self._database.one(_BY_ID, id=block_id)
        if found is None:
            raise NotFound("block")
        return found

    async def block(self, actor: Actor, address: str, reason: str, *, seconds: int | None = None) -> AddressBlock:
        """Block an address or a network, for `seconds` or without an end.

        Raises NotAllowed, Invalid, WrongState if the network is blocked already, and Refused for loopback, for a
        trusted proxy, for the address of the caller, and at the limit of blocks.
        """
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason)
        network = _network(address)
        if network.prefixlen < SHORTEST_PREFIX[network.version]:
            raise Invalid(
                "address", "a network of at least /8 for IPv4 or /16 for IPv6, so that it is not too large", address
            )
        if seconds is not None and not 1 <= seconds <= YEAR_S:
            raise Invalid("duration", "1 second to 1 year", f"{seconds} s")
        self._check_allowed(network)
        now = self._clock.now_ms()
        ends_at_ms = 0 if seconds is None else now + seconds * 1000

        async def body(tx: Transaction) -> AddressBlock:
            stamp = await locked(tx, "address_blocks")
            if await tx.one(_ONE, in_network=str(network)) is not None:
                raise WrongState(f"{network} is already blocked")
            if (await tx.one(_COUNT) or 0) >= BLOCKS_MAX:
                raise Refused(f"there are {BLOCKS_MAX} blocks; end one first")
            block = await tx.one(
                _ADD,
                network=str(network),
                at_ms=now,
                ends_at_ms=ends_at_ms,
                actor_id=actor.user_id,
                reason=reason,
            )
            assert block is not None
            await _bump(tx, stamp, now)
            await _write(tx, actor, "ip_block", block, reason, now)
            return block

        block = await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._reload()
        return block

    async def unblock(self, actor: Actor, address: str, reason: str = "") -> AddressBlock:
        """End a block. Raises NotAllowed, Invalid, and WrongState if exactly this network is not blocked."""
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        network = _network(address)

        async def body(tx: Transaction) -> AddressBlock:
            stamp = await locked(tx, "address_blocks")
            block = await tx.one(_ONE, in_network=str(network))
            if block is None:
                wider = [one.network for one in await tx.all(_ALL) if _contains(ip_network(one.network), network)]
                also = f"; the block of {wider[0]} contains it" if wider else ""
                raise WrongState(f"{network} is not blocked{also}")
            await self._end(tx, actor, stamp, block, reason)
            return block

        block = await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._reload()
        return block

    async def end_due(self) -> int:
        """End the blocks that have run out. Return their number. A job calls this."""
        now = self._clock.now_ms()
        ended = 0
        for due in await self._database.all(_DUE, now_ms=now):

            async def body(tx: Transaction, network: str = due) -> bool:
                stamp = await locked(tx, "address_blocks")
                found = await tx.one(_ONE, in_network=network)
                if found is None or not 0 < found.ends_at_ms <= now:  # changed in the meantime
                    return False
                await self._end(tx, JOB, stamp, found, "The block has run out")
                return True

            ended += await self._database.transaction(body)
        if ended:
            await self._reload()
        return ended

    async def _end(self, tx: Transaction, actor: Actor, stamp: Switch, block: AddressBlock, reason: str) -> None:
        now = self._clock.now_ms()
        await tx.run(_REMOVE, block_id=block.id)
        await _bump(tx, stamp, now)
        await _write(tx, actor, "ip_unblock", block, reason, now)

    async def _reload(self) -> None:
        await self._switches.reload()
        await self.follow()

    def _check_allowed(self, network: Network) -> None:
        for never in self._never_blocked:
            if _overlap(never, network):
                raise Refused(f"{network} contains addresses of this server or of its proxies")
        caller = parse_network(CALLER.get())
        if caller is not None and _overlap(caller, network):
            raise Refused(f"{network} contains your own address")


async def _bump(tx: Transaction, stamp: Switch, now: int) -> None:
    await store(tx, msgspec.structs.replace(stamp, value=stamp.value + 1, changed_at_ms=now))


async def _write(tx: Transaction, actor: Actor, action: str, block: AddressBlock, reason: str, now: int) -> None:
    state = {"blocked": True, "until_ms": block.ends_at_ms}
    none = {"blocked": False, "until_ms": 0}
    before, after = (none, state) if action == "ip_block" else (state, none)
    await audit.write(
        tx,
        actor,
        action,
        at_ms=now,
        target_kind="server",
        target_id=block.id,
        reason=reason,
        details={"block": block.id, "before": before, "after": after},
    )


def _network(text: str) -> Network:
    network = parse_network(text) if len(text) <= TEXT_MAX else None
    if network is None:
        raise Invalid("address", "an IP address or a network such as 203.0.113.0/24", text)
    return network


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def _contains(outer: Network, inner: Network) -> bool:
    return _overlap(outer, inner) and outer.prefixlen <= inner.prefixlen
