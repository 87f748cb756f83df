"""Redis Cluster: the way to the node that has a group of keys.

A group has one hash tag, so one hash slot and one node, because scripts must be atomic (decision 016). Each group has
a `SlotRoute` of its own: a node that fails takes only its groups with it.

While an operator moves a slot to another node, each of the two has some of its keys, and a script would end half-way
at a key that the node no longer has. Redis looks only for the declared keys of a script before it runs it. The one that
kiai declares, the prefix, never exists: so the node refuses all scripts from the begin of the move. Such calls raise
StateUnavailable until the slot has moved, as do commands for keys that have moved already (ASK).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import RedisCluster
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiai.realtime.connecting import SUSPICIOUS_S
from kiai.realtime.redis_connection import Done

# A node that has lost a slot names the new owner at once. A second answer of this kind means that the nodes disagree.
REDIRECTIONS_MAX: Final = 2
# Nodes are asked for the owner of a slot together. One that does not answer must not take the time of a request.
ASK_NODE_S: Final = 0.5


class SlotRoute:
    """The way to the primary that serves the slot of a key. The routes of a cluster share its client."""

    def __init__(self, cluster: RedisCluster, key: str) -> None:
        self._cluster = cluster
        self._slot = key_slot(key.encode())
        # The hosts of the URL. They may be names that lead to new nodes after all known ones have gone.
        self._first_hosts = [(node.host, int(node.port)) for node in cluster.startup_nodes]
        self._stale = False  # whether the nodes may have changed since they were read

    async def primary(self, *, after_failure: bool) -> object:
        """Return the address of the primary. Reads the nodes of the cluster at first and after a failure."""
        await self._cluster.initialize()  # does nothing from the second time on
        if after_failure or self._stale:
            await self._read_nodes()
        return self._owner()

    async def _read_nodes(self) -> None:
        # The primary is asked last: it may be the one that hangs.
        await self._cluster.nodes_manager.initialize(self._first_hosts, last_failed_node_name=self._owner())
        self._stale = False

    def _owner(self) -> str | None:
        served_by = self._cluster.nodes_manager.slots_cache.get(self._slot)
        return str(served_by[0].name) if served_by else None

    def send_at_once(self, commands: Sequence[tuple[Any, ...]], done: Done) -> None:
        """Return None: the library has the connections of a cluster."""

    async def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send the commands together. Return the answer of each, which may be an exception.

        Commands that the node has refused with MOVED are sent again, to the node that it named.
        """
        answers: list[Any] = [None] * len(commands)
        places = list(range(len(commands)))
        for _ in range(1 + REDIRECTIONS_MAX):
            pipeline = self._cluster.pipeline()
            for place in places:
                pipeline.execute_command(*commands[place])
            # Without the redirections of the library: it would send each refused command by itself, many times.
            for place, answer in zip(
                places, await pipeline.execute(raise_on_error=False, allow_redirections=False), strict=True
            ):
                # Nobody knows whether the node has carried out the commands, as after any lost connection.
                if isinstance(answer, RedisConnectionError | RedisTimeoutError):
                    raise answer
                answers[place] = answer
            places = [place for place in places if isinstance(answers[place], MovedError)]
            if not places:
                break
            moved = answers[places[0]]
            if moved.host:
                await self._cluster.nodes_manager.move_slot(moved)
            else:  # the node does not know the address of the other
                await self._read_nodes()
        return [_refusal(answer) if isinstance(answer, AskError | TryAgainError) else answer for answer in answers]

    async def has_changed(self, primary: object, seconds: float) -> bool:
        """Return whether an answer after this time may come from a node that is no longer the primary.

        A primary that hangs and continues still answers the calls that it has received, although a replica has taken
        over meanwhile. So all other nodes are asked after a slow answer.
        """
        if seconds < SUSPICIOUS_S:
            return False
        others = [node for node in self._cluster.get_nodes() if node.name != primary]
        owners = [owner for owner in await asyncio.gather(*map(self._owner_by, others)) if owner is not None]
        changed = bool(others) and (not owners or any(owner != self._owner() for owner in owners))
        self._stale = self._stale or changed
        return changed

    async def _owner_by(self, node: Any) -> str | None:
        """Return the address of the slot's primary as the node knows it, None if it does not answer."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(ASK_NODE_S):
                for first, last, primary, *_ in await node.execute_command("CLUSTER SLOTS"):
                    if first <= self._slot <= last:
                        host = (primary[0] or b"").decode()
                        return f"{host or node.host}:{primary[1]}"
        return None

    def is_demoted(self, error: Exception) -> bool:
        """Return whether the nodes of the cluster may have changed."""
        return isinstance(error, ClusterDownError | _Moving)

    async def drop_idle(self) -> None:
        """Close the unused connections to the primary, and read the nodes again before the next call."""
        self._stale = True
        node = self._cluster.nodes_manager.nodes_cache.get(self._owner() or "")
        if node is not None:
            await node.disconnect_free_connections()


class _Moving(RedisError):
    """The slot is being moved, or the nodes disagree about its owner."""


def _refusal(error: Exception) -> Exception:
    return _Moving(f"the keys are being moved to another node of the cluster ({type(error).__name__})")
