"""Two workers with TLS: both send the same certificate, one of them renews it, and both take it over."""

import contextlib
import signal
import ssl
from pathlib import Path

from tests.builders import a_map
from tests.cluster.kit import running
from tests.cluster.test_rolling_restart import are_replaced
from tests.tls.pebble import free_port, running_pebble
from tests.wire.kit import eventually
from tests.wire.test_tls import TlsClient

NAME = "c.play.example"
CONNECTIONS = 30


def test_workers_answer_challenges_and_take_over_what_one_of_them_obtains(tmp_path: Path) -> None:
    port = free_port()
    with (
        running_pebble(tmp_path, port) as pebble,
        running(
            tmp_path,
            ["alice"],
            [a_map(100)],
            TLS="auto",
            DOMAIN="play.example",
            HTTP_PORT=str(port),
            ACME_DIRECTORY=pebble.directory,
            ACME_CA=str(pebble.authority_pem),
        ) as cluster,
    ):
        client = TlsClient(cluster.port, pebble.root())

        def is_trusted() -> bool:
            with contextlib.suppress(ssl.SSLError):
                return len({client.serial(NAME) for _ in range(CONNECTIONS)}) == 1
            return False

        eventually(is_trusted, within_s=60)
        first = client.serial(NAME)
        assert (tmp_path / "pebble.log").read_text().count("Issued certificate") == 1

        cluster.cli("tls", "renew", "--force")
        eventually(lambda: first not in {client.serial(NAME) for _ in range(CONNECTIONS)}, within_s=20)

        before = set(cluster.workers())
        cluster.signal(signal.SIGHUP)
        eventually(lambda: are_replaced(cluster, before), within_s=60)
        assert client.get("/healthz", NAME).status == 200
        cluster.stop()
