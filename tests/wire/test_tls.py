"""A real server with TLS: what clients see, plain http next to it, changed certificates, several workers."""

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import requests
import trustme
from osu.game import Game
from requests.adapters import HTTPAdapter
from tests.clients.test_osu_py import PASSWORD, VERSION
from tests.patience import patiently
from tests.tls.certificates import write_certificate
from tests.tls.pebble import free_port, running_pebble
from tests.wire.kit import Server, cli, environment, eventually, run_kiai

from kiai.errors import Unavailable
from kiai.listening import listen_for_players
from kiai.settings import load_settings
from kiai.tls.names import server_names

pytestmark = pytest.mark.any_store

PLAYER: Final = "anna"
HANDSHAKE_S: Final = 10.0
TAKEN_OVER_S: Final = 10.0


class Answer(msgspec.Struct, frozen=True):
    """An answer over TLS; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class TlsClient:
    """Connects to a server on this machine, and trusts only one root."""

    def __init__(self, port: int, root: str) -> None:
        self._port = port
        self.context = ssl.create_default_context(cadata=root)
        self.context.verify_flags |= ssl.VERIFY_X509_STRICT

    def connect(self, name: str = "localhost") -> ssl.SSLSocket:
        """Connect as a client that asks for `name`."""
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=patiently(20))
        return self.context.wrap_socket(plain, server_hostname=name)

    def get(self, path: str, host: str = "localhost") -> Answer:
        """Send a GET request on a new connection."""
        connection = http.client.HTTPConnection(host)
        connection.sock = self.connect(host)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": f"{host}:{self._port}", "Connection": "close"})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())

    def serial(self, host: str = "localhost") -> str:
        """Return the serial number of the certificate that a new connection gets."""
        with self.connect(host) as connected:
            found: Any = connected.getpeercert()
        return str(found["serialNumber"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("tls") / "data", TLS="self", HTTP_PORT="0").start()
    try:
        cli(started.data, "users", "add", PLAYER, "--email", "anna@e.example", "--password", PASSWORD.format(PLAYER))
        yield started
        started.stop()
    finally:
        started.kill()


@pytest.fixture(scope="module")
def client(server: Server) -> TlsClient:
    return TlsClient(server.port, cli(server.data, "tls", "export")["pem"])


def plain(server: Server, target: str, host: str | None = "play.example:8080", method: str = "GET") -> Answer:
    """Send a request to the port for plain http."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=patiently(20))
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())


def figures(client: TlsClient, name: str) -> dict[str, float]:
    """Return the series of a metric by their labels."""
    lines = client.get("/metrics").body.decode().splitlines()
    return {line.split()[0].removeprefix(name): float(line.split()[1]) for line in lines if line.startswith(name)}


# --- https


def test_every_name_is_served_with_a_certificate_that_clients_accept(client: TlsClient) -> None:
    assert {client.get("/healthz", name).status for name in server_names("localhost")} == {200}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_without_sni_and_alpn_are_served(server: Server, client: TlsClient, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=cli(server.data, "tls", "export")["pem"])
    context.minimum_version = context.maximum_version = version

    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port))) as connected:
        connected.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connected.recv(4096), b""))

        assert connected.version() == version.name.replace("_", ".").replace("v", "v")
    assert received.endswith(b"ok")


def test_alpn_is_http_1_1(client: TlsClient) -> None:
    client.context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with client.connect() as connected:
            assert connected.selected_alpn_protocol() == "http/1.1"
    finally:
        client.context.set_alpn_protocols(["http/1.1"])


def test_tls_1_1_is_rejected(server: Server) -> None:
    done = subprocess.run(
        ["curl", "-sk", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", f"https://localhost:{server.port}/"],
        capture_output=True,
        check=False,
        timeout=patiently(120),
    )

    assert done.returncode != 0


def test_curl_with_the_exported_root_accepts_the_server(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    cli(server.data, "tls", "export", str(root))

    done = subprocess.run(
        [
            "curl",
            "-sS",
            "--cacert",
            str(root),
            "--resolve",
            f"c.localhost:{server.port}:127.0.0.1",
            f"https://c.localhost:{server.port}/healthz",
        ],
        capture_output=True,
        check=False,
        timeout=patiently(120),
    )

    assert (done.stdout, done.stderr) == (b"ok", b"")


def test_pages_have_secure_cookies_and_no_hsts_and_links_are_https(server: Server, client: TlsClient) -> None:
    page = client.get("/login")
    feed = client.get("/news.atom")

    assert page.status == 200
    assert "secure" in page.headers["set-cookie"].lower()
    assert "strict-transport-security" not in page.headers
    assert f"https://localhost:{server.port}/".encode() in feed.body
    assert b"http://localhost" not in feed.body
    assert b"http://localhost" not in page.body


def test_addresses_of_the_api_are_https(server: Server, client: TlsClient) -> None:
    page = client.get("/docs", "api.localhost").body

    assert f"https://api.localhost:{server.port}".encode() in page
    assert f"http://api.localhost:{server.port}".encode() not in page


def test_refusal_of_a_large_body_reaches_the_client(client: TlsClient) -> None:
    with client.connect("osu.localhost") as connected:
        connected.sendall(b"POST /web/x HTTP/1.1\r\nHost: osu.localhost\r\nContent-Length: 90000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(150):
                connected.sendall(bytes(65_536))
        answer = connected.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_long_answer_to_a_slow_client_is_complete(server: Server, client: TlsClient) -> None:
    with client.connect("api.localhost") as connected:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connected.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: api.localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := connected.recv(16_384):
            received += piece
            time.sleep(0.02)

    head, _, body = received.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert len(body) > 100_000


def test_slow_handshake_ends_after_its_time(server: Server, client: TlsClient) -> None:
    before = figures(client, "kiai_guard_refused_total")['{reason="handshake_slow"}']
    with socket.create_connection(("127.0.0.1", server.port), timeout=patiently(HANDSHAKE_S + 10)) as silent:
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - began >= HANDSHAKE_S - 1

    eventually(lambda: figures(client, "kiai_guard_refused_total")['{reason="handshake_slow"}'] == before + 1)


def test_plain_http_on_the_port_of_tls_is_closed(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=patiently(20)) as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in connected.recv(4096)


def test_metric_says_when_the_certificate_ends(server: Server, client: TlsClient) -> None:
    [ends_at] = figures(client, "kiai_tls_not_after_timestamp_seconds").values()

    assert ends_at == cli(server.data, "tls", "status")["not_after"]


def test_osu_py_logs_in_over_https(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    cli(server.data, "tls", "export", str(root))

    class LocalAdapter(HTTPAdapter):
        """Sends requests for https://*.localhost to the server, over TLS with the exported root."""

        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            host = (request.url or "").partition("://")[2].partition("/")[0]
            request.headers["Host"] = host
            request.url = (request.url or "").replace(f"://{host}", f"://127.0.0.1:{server.port}", 1)
            return super().send(request, *args, **{**kwargs, "verify": str(root)})

    game = Game(
        PLAYER,
        PASSWORD.format(PLAYER),
        "localhost",
        version=VERSION,
        executable_hash="0" * 32,
        disable_logging=True,
    )
    game.client.hash.adapters = "runningunderwine"
    for session in (game.session, game.api.session, game.bancho.connector.session):  # type: ignore[attr-defined]
        session.mount("https://", LocalAdapter())

    game.bancho.connect()
    game.bancho.dequeue()

    assert game.bancho.connected
    assert game.bancho.user_id == 3


def test_links_that_commands_print_are_those_of_the_running_server(server: Server) -> None:
    link = cli(server.data, "users", "reset-link", PLAYER)["url"]

    assert link.startswith(f"https://localhost:{server.port}/")


# --- plain http


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_plain_http_redirects_to_the_same_host_path_and_query(server: Server, method: str) -> None:
    answer = plain(server, "/u/3?mode=1&x=%2F", method=method)

    assert answer.status == 308
    assert answer.headers["location"] == f"https://play.example:{server.port}/u/3?mode=1&x=%2F"
    assert answer.body == b""


@pytest.mark.parametrize(
    ("host", "target", "place"),
    [
        ("bad host", "/", "localhost:{port}/"),
        ("a@b.example", "/", "localhost:{port}/"),
        ("[::1]:80", "/a", "[::1]:{port}/a"),
        ("play.example", "//evil.example/x", "play.example:{port}/evil.example/x"),
        ("play.example", "http://evil.example/x", "play.example:{port}/x"),
    ],
)
def test_redirects_lead_to_no_other_host(server: Server, host: str, target: str, place: str) -> None:
    answer = plain(server, target, host)

    assert answer.status == 308
    assert answer.headers["location"] == "https://" + place.format(port=server.port)


def test_plain_http_answers_health_checks_and_no_metrics(server: Server) -> None:
    assert plain(server, "/healthz").status == 200
    assert plain(server, "/metrics").status == 308
    assert plain(server, "/readyz").status == 308


def test_challenges_are_answered_and_other_files_are_not(server: Server) -> None:
    folder = server.data / "tls" / "challenges"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "token-1").write_text("token-1.thumb")

    assert plain(server, "/.well-known/acme-challenge/token-1").body == b"token-1.thumb"
    for token in ("token-2", "", "..%2fkey.pem", "token-1/x"):
        assert plain(server, f"/.well-known/acme-challenge/{token}").status in (400, 404)


def test_requests_of_plain_http_are_in_the_access_log(server: Server) -> None:
    plain(server, "/logged")

    def lines() -> list[dict[str, Any]]:
        text = server.data.with_suffix(".stderr").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines() if '"face":"plain"' in line]

    eventually(lambda: any(line["route"] == "redirect" and line["status"] == 308 for line in lines()))


# --- commands


def test_status_shows_the_certificate(server: Server) -> None:
    status = cli(server.data, "tls", "status")

    assert status["mode"] == "self"
    assert status["names"] == list(server_names("localhost"))
    assert 390 <= status["days_left"] <= 397
    assert status["last_error"] is None


def test_exported_root_is_a_file_or_stdout(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "root.pem"
    exported = cli(server.data, "tls", "export", str(file))

    assert file.read_text() == exported["pem"]
    assert run_kiai(server.data, "tls", "export").stdout == exported["pem"]


def test_data_folder_without_tls_has_no_root_and_its_status_is_off(tmp_path: Path) -> None:
    started = Server(tmp_path / "data").start()
    try:
        started.stop()
    finally:
        started.kill()

    assert run_kiai(started.data, "tls", "export").returncode == 1
    assert cli(started.data, "tls", "status")["mode"] == "off"
    assert run_kiai(started.data, "tls", "renew").returncode == 1
    assert not (started.data / "tls").exists()


def test_forced_renewal_is_served_without_closing_connections(server: Server, client: TlsClient) -> None:
    before = client.serial()
    connection = http.client.HTTPConnection("localhost")
    connection.sock = client.connect()

    def is_open() -> bool:
        """Use the connection. On a busy machine a command takes so long that an unused one would be closed."""
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b"ok"

    assert is_open()
    cli(server.data, "tls", "renew")  # nothing is due
    assert is_open()
    assert client.serial() == before
    cli(server.data, "tls", "renew", "--force")

    eventually(lambda: is_open() and client.serial() != before, within_s=TAKEN_OVER_S)
    assert is_open()
    connection.close()


# --- the operator's files


def test_changed_files_are_served_after_sighup_and_damaged_ones_are_not(tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = write_certificate(authority, tmp_path, "localhost", "*.localhost")
    server = Server(tmp_path / "data", TLS=str(chain), TLS_KEY=str(key), HTTP_PORT="off").start()
    try:
        client = TlsClient(server.port, authority.cert_pem.bytes().decode())
        first = client.serial()

        whole = chain.read_bytes()
        chain.write_bytes(whole[:400])
        os.kill(server.process_id, signal.SIGHUP)
        eventually(lambda: cli(server.data, "tls", "status")["last_error"] is not None, within_s=TAKEN_OVER_S)
        assert client.serial() == first
        assert "certificate not read; the old one stays" in server.stderr
        diagnosis = json.loads(run_kiai(server.data, "doctor", "--json").stdout)
        assert [problem["invariant"] for problem in diagnosis["problems"]] == ["I15", "I15"]

        write_certificate(authority, tmp_path, "localhost", "*.localhost")
        os.kill(server.process_id, signal.SIGHUP)
        eventually(lambda: client.serial() != first, within_s=TAKEN_OVER_S)
        assert cli(server.data, "doctor")["ok"]
        assert client.get("/healthz").status == 200
        server.stop()
    finally:
        server.kill()


def test_default_port_for_plain_http_is_not_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[int] = []
    bind = socket.socket.bind

    def refuse_80(self: socket.socket, address: tuple[str, int]) -> None:
        bound.append(address[1])
        if address[1] == 80:
            raise PermissionError(errno.EACCES, "Permission denied")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", refuse_80)
    settings = load_settings(tls="self", port=0)
    sockets = listen_for_players(settings)
    sockets.main.close()
    assert sockets.plain is None
    assert bound == [0, 80]

    # An authority sends its challenges there.
    with pytest.raises(Unavailable, match="80 is not available"):
        listen_for_players(load_settings(tls="auto", port=0, domain="play.example"))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"TLS": "missing.pem"}, "missing.pem cannot be read: No such file"),
        ({"TLS": "self", "TLS_KEY": "key.pem"}, "tls_key must be a path, and tls the path of its certificate"),
        ({"TLS": "auto"}, "tls auto needs a public domain"),
        ({"TLS": "auto", "DOMAIN": "play.example", "HTTP_PORT": "off"}, "http-01 needs http_port"),
        ({"TLS": "auto", "DOMAIN": "play.example", "ACME_CHALLENGE": "dns-01"}, "dns-01 needs acme_dns_hook"),
    ],
)
def test_bad_settings_are_one_line(tmp_path: Path, settings: dict[str, str], why: str) -> None:
    done = run_kiai(tmp_path / "data", "serve", "--port", "0", settings={"HTTP_PORT": "0", **settings})

    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_taken_port_for_plain_http_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = {"TLS": "self", "HTTP_PORT": str(port)}

        done = run_kiai(tmp_path / "data", "serve", "--port", "0", settings=settings)

    assert done.returncode == 1
    assert f"address 127.0.0.1:{port} is not available" in done.stderr
    assert "--http-port" in done.stderr


# --- an authority, and several workers


def test_auto_is_ready_at_once_and_serves_the_certificate_of_the_authority(tmp_path: Path) -> None:
    port = free_port()
    with running_pebble(tmp_path, port) as pebble:
        server = Server(
            tmp_path / "data",
            TLS="auto",
            DOMAIN="play.example",
            HTTP_PORT=str(port),
            ACME_DIRECTORY=pebble.directory,
            ACME_CA=str(pebble.authority_pem),
        ).start()
        try:
            client = TlsClient(server.port, pebble.root())

            def is_trusted() -> bool:
                with contextlib.suppress(ssl.SSLError):
                    return client.get("/healthz", "c.play.example").status == 200
                return False

            eventually(is_trusted, within_s=60)
            status = cli(server.data, "tls", "status")
            assert status["issuer"].startswith("Pebble")
            assert set(status["names"]) == set(server_names("play.example"))
            server.stop()
        finally:
            server.kill()


# --- ports


def test_sockets_of_systemd_replace_the_ports(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as https, socket.create_server(("127.0.0.1", 0)) as http_socket:
        ports = [opened.getsockname()[1] for opened in (https, http_socket)]
        descriptors = (https.fileno(), http_socket.fileno())
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                'exec 13<&"$1" 14<&"$2" 3<&13 4<&14; LISTEN_PID=$$ LISTEN_FDS=2 exec "${@:3}"',
                "bash",
                *map(str, descriptors),
                *(sys.executable, "-m", "kiai", "serve", "--tls", "self", "--port", "1", "--http-port", "2"),
                *("--data", str(tmp_path / "data")),
            ],
            env=environment({}),
            pass_fds=descriptors,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]

            assert lines == [f"ready https://127.0.0.1:{ports[0]}\n", f"http 127.0.0.1:{ports[1]}\n"]
            client = TlsClient(ports[0], cli(tmp_path / "data", "tls", "export")["pem"])
            assert client.get("/healthz").status == 200
        finally:
            process.terminate()
            process.communicate(timeout=patiently(20))


def test_port_without_permission_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)

    with pytest.raises(Unavailable, match=r"443 is not available: Permission denied; .*kiai\.socket.*CAP_NET_BIND"):
        listen_for_players(load_settings(tls="self"))
