"""A real Redis Cluster: three primaries, each with a third of the slots, and replicas where a test wants some."""

import atexit
import os
import signal
import socket
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from tests import runs
from tests.certificates import CertificateAuthority
from tests.patience import wait_until
from tests.redises import CLIENT_S, PROGRAM, RedisServer

SLOTS: Final = 16_384
PRIMARIES: Final = 3
# A node that is silent for so long counts as failed. Longer than a busy machine lets a process wait.
NODE_TIMEOUT_MS: Final = 3_000
READY_S: Final = 60.0
BUS: Final = 10_000
"""Number that Redis adds to the port of a node for its connections to the others."""


class NodeTls:
    """A certificate for the nodes of a cluster. They encrypt all connections, also those to each other."""

    def __init__(self, *hosts: str) -> None:
        authority = CertificateAuthority()
        self.folder = tempfile.TemporaryDirectory(prefix="kiai-redis-tls-")
        self.ca = Path(self.folder.name, "ca.pem")
        self.ca.write_bytes(authority.pem)
        self.chain = Path(self.folder.name, "chain.pem")
        self.chain.write_bytes(authority.issue(*hosts))

    @property
    def options(self) -> list[str]:
        """The arguments of a server."""
        return [
            *(
                "--tls-cert-file",
                str(self.chain),
                "--tls-key-file",
                str(self.chain),
                "--tls-ca-cert-file",
                str(self.ca),
            ),
            *("--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes"),
        ]


class ClusterNodeServer(RedisServer):
    """A node on a free port, next to which the port of its bus is free too."""

    def __init__(
        self, node_timeout_ms: int, program: str | Path, tls: NodeTls | None, options: Sequence[str] = ()
    ) -> None:
        self._tls = tls
        super().__init__(
            1,
            program=program,
            options=[
                *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
                *("--cluster-node-timeout", str(node_timeout_ms), "--cluster-replica-validity-factor", "0"),
                *("--repl-diskless-sync-delay", "0"),  # Redis 7 and Valkey wait five seconds for more replicas
                *([] if tls is None else tls.options),
                *options,
            ],
            port=_port_with_bus(),
        )

    def _listening(self) -> list[str]:
        return super()._listening() if self._tls is None else ["--port", "0", "--tls-port", str(self.port)]

    def client(self, timeout_s: float = CLIENT_S) -> Redis:
        """Return a client of the node, by its Unix socket, which is never encrypted."""
        return Redis(unix_socket_path=str(self.socket), socket_timeout=timeout_s)

    def asked(self, *command: Any) -> Any:
        """Send a command and return its answer."""
        with self.client() as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        """The name by which the nodes know it."""
        return str(self.asked("CLUSTER", "MYID").decode())


class RedisClusterServers:
    """The nodes of a cluster. `replicated`: a key whose primary has a replica, which takes over when it fails.

    `program` is that of the nodes, with `tls` one that speaks it. `options` are further arguments.
    """

    def __init__(
        self,
        *,
        replicated: str | None = None,
        node_timeout_ms: int = NODE_TIMEOUT_MS,
        program: str | Path = PROGRAM,
        tls: NodeTls | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._new_node = partial(ClusterNodeServer, node_timeout_ms, program, tls, options)
        self._tls = tls
        self.nodes: list[ClusterNodeServer] = []
        self._replicated = replicated
        self._former: ClusterNodeServer | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        for number in range(PRIMARIES if self._replicated is None else PRIMARIES + 1):
            node = self._new_node()
            self.nodes.append(node)
            if number < PRIMARIES:
                node.asked("CLUSTER", "ADDSLOTS", *range(*_share(number)))
            # Nodes with the same epoch would have to agree on another one first.
            node.asked("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.asked("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(self._is_whole, within_s=READY_S, what="the nodes do not find each other")
        if self._replicated is not None:
            self.nodes[-1].asked("CLUSTER", "REPLICATE", self.primary.id)
            wait_until(self.has_replica, within_s=READY_S, what="the replica does not follow")

    @property
    def url(self) -> str:
        """The URL for the setting `state`."""
        return self.named("127.0.0.1")

    def named(self, host: str, *, query: str | None = None) -> str:
        """Return the URL with this host for all nodes. With TLS the query names the authority, unless it is given."""
        hosts = ",".join(f"{host}:{node.port}" for node in self.nodes)
        if self._tls is None:
            return f"redis+cluster://{hosts}"
        return f"rediss+cluster://{hosts}?{f'ssl_ca_certs={self._tls.ca}' if query is None else query}"

    @property
    def running(self) -> list[ClusterNodeServer]:
        """The nodes whose process runs."""
        return [node for node in self.nodes if node.process is not None]

    def _is_whole(self) -> bool:
        return all(
            b"cluster_state:ok" in (state := node.asked("CLUSTER", "INFO"))
            and f"cluster_known_nodes:{len(self.nodes)}".encode() in state
            for node in self.nodes
        )

    def primary_of(self, key: str, *, apart_from: ClusterNodeServer | None = None) -> ClusterNodeServer:
        """Return the node that serves the key, as the first node that answers knows it; one is not asked."""
        slot = key_slot(key.encode())
        for node in self.running:
            if node is apart_from:
                continue
            try:
                ranges = node.asked("CLUSTER", "SLOTS")
            except RedisError:
                continue
            [port] = [row[2][1] for row in ranges if row[0] <= slot <= row[1]]
            return next(node for node in self.nodes if node.port == port)
        raise AssertionError("no node answers")

    def has_replica(self) -> bool:
        """Return whether a replica follows the primary of the replicated key, and all nodes know it."""
        assert self._replicated is not None
        try:
            primary = self.primary
            state = primary.asked("INFO", "replication")
            # A replica that is connected may still wait for its first copy, and would take over without any key.
            return bool(state["connected_slaves"] == 1 and state["slave0"]["state"] == "online" and self._is_whole())
        except RedisError:
            return False

    @property
    def primary(self) -> ClusterNodeServer:
        """The primary of the replicated key."""
        assert self._replicated is not None
        return self.primary_of(self._replicated, apart_from=self._former)

    @property
    def replica(self) -> ClusterNodeServer:
        """The former primary, which was killed or stopped."""
        assert self._former is not None
        return self._former

    def kill_primary(self) -> None:
        """Kill the primary of the replicated key with SIGKILL. Its replica takes over."""
        former = self.primary
        former.stop()
        self._former = former

    def freeze_primary(self) -> None:
        """Stop the primary of the replicated key with SIGSTOP. Its replica takes over."""
        former = self.primary
        assert former.process is not None
        os.kill(former.process.pid, signal.SIGSTOP)
        self._former = former

    def bring_back(self) -> None:
        """Start or continue the former primary, and wait until it follows the new one."""
        if self.replica.process is None:
            self.replica.start()
        else:
            assert self.replica.process is not None
            os.kill(self.replica.process.pid, signal.SIGCONT)
        wait_until(self.has_replica, within_s=READY_S, what="the former primary does not follow")

    def empty(self) -> None:
        """Delete all keys."""
        for node in self.nodes:
            node.asked("FLUSHALL")

    def close(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.close()
        if self._tls is not None:
            self._tls.folder.cleanup()


def _share(number: int) -> tuple[int, int]:
    return number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES


def _port_with_bus() -> int:
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port + BUS >= 1 << 16:
                continue
            try:
                bus.bind(("127.0.0.1", port + BUS))
            except OSError:
                continue
            return port


@runs.remembered
def a_redis_cluster() -> RedisClusterServers:
    """Return the cluster that all tests of a process share. Each test empties it first."""
    cluster = RedisClusterServers()
    atexit.register(cluster.close)
    return cluster
