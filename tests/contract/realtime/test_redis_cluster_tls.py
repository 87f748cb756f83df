"""Redis Cluster over TLS: the certificates of the nodes must be for the names that they announce."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.realtime.test_redis_cluster import failure, fill, use
from tests.redis_clusters import NodeTls, RedisClusterServers
from tests.redises import program_with_tls

from kiai.realtime.key_groups import GROUPS
from kiai.realtime.redis import RedisRealtime

NAME = "redis.example"
BY_NAME = ("--cluster-announce-hostname", NAME, "--cluster-preferred-endpoint-type", "hostname")


@contextlib.contextmanager
def running(*hosts: str, options: tuple[str, ...] = ()) -> Iterator[RedisClusterServers]:
    """Run nodes whose certificate is for these hosts."""
    servers = RedisClusterServers(program=program_with_tls(), tls=NodeTls(*hosts), options=options)
    with contextlib.closing(servers):
        yield servers


async def is_used(realtime: RedisRealtime) -> None:
    await fill(realtime)
    assert await realtime.online_count() == 1


def test_all_nodes_are_reached_by_their_addresses_and_the_certificate_is_verified() -> None:
    with running("127.0.0.1") as servers:
        use(servers.url, is_used)

        assert [node.asked("DBSIZE") > 0 for node in servers.nodes] == [True] * len(GROUPS)
        refused = failure(servers.named("127.0.0.1", query=""))
        assert refused.startswith("the certificate of Redis is rejected: self-signed certificate in certificate chain")
        assert refused.endswith(
            "; name its authority in ssl_ca_certs and a host of the certificate in the URL of the setting state"
        )
        servers.empty()
        use(servers.named("127.0.0.1", query="ssl_cert_reqs=none"), is_used)


def test_certificate_must_be_for_the_names_that_the_nodes_announce(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def on_this_machine(host: str, *arguments: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host == NAME else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", on_this_machine)
    with running(NAME, options=BY_NAME) as servers:
        use(servers.named(NAME), is_used)

        slots = servers.nodes[0].asked("CLUSTER", "SLOTS")
        assert {row[2][0] for row in slots} == {NAME.encode()}
        for node in servers.nodes:
            node.asked("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
        assert failure(servers.named(NAME)).startswith(
            "the certificate of Redis is rejected: IP address mismatch, certificate is not valid for '127.0.0.1'"
        )
