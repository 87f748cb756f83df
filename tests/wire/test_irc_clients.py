"""Clients that others wrote connect by IRC: the package irc from PyPI, and bancho.js from npm."""

import datetime
import ipaddress
import shutil
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.client_tools import NODE_PACKAGES, ClientTools, client_tools
from tests.patience import join
from tests.wire.irc import IrcClient, add_players, connect
from tests.wire.kit import Server

NAMES = ("anna", "boris", "carla")


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for localhost and its key. Return their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "chain.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture(scope="module")
def tools() -> ClientTools:
    return client_tools()


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, passwords: dict[str, str]) -> Iterator[Server]:
    data: Path = tmp_path_factory.mktemp("irc") / "data"
    passwords |= add_players(data, NAMES)
    server = Server(data, IRC="127.0.0.1:0").start()
    try:
        yield server
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


def test_package_irc_chats(server: Server, passwords: dict[str, str], tools: ClientTools, tmp_path: Path) -> None:
    printed: list[str] = []
    script = [sys.executable, str(NODE_PACKAGES / "use_irc.py"), str(server.irc_ports["irc"]), "anna"]
    running = threading.Thread(target=lambda: printed.append(tools.run([*script, passwords["anna"]], cwd=tmp_path)))
    with connect(server, "boris", passwords["boris"]) as boris:
        boris.join("#osu")
        running.start()
        boris.wait(":anna!cho@ppy.sh JOIN :#osu")
        boris.send("PRIVMSG #osu :hello everybody")
        boris.wait(":anna!cho@ppy.sh PRIVMSG #osu :heard you")
        boris.send("PRIVMSG anna :hello you")
        boris.wait(":anna!cho@ppy.sh PRIVMSG boris :heard you, too")
        boris.wait(":anna!cho@ppy.sh QUIT :quit")
        join(running)

    assert printed[0].splitlines() == [
        "joined #osu",
        "staff BanchoBot",
        "public boris hello everybody",
        "private boris hello you",
    ]


def test_bancho_js_leads_a_match(server: Server, passwords: dict[str, str], tools: ClientTools, tmp_path: Path) -> None:
    # Node.js looks for packages next to the script.
    script = tmp_path / "use_bancho.cjs"
    shutil.copy(NODE_PACKAGES / script.name, script)
    (tmp_path / "node_modules").symlink_to(tools.node_modules)

    printed = tools.run(["node", str(script), str(server.irc_ports["irc"]), "carla", passwords["carla"]], cwd=tmp_path)

    assert printed.splitlines() == [
        "where Netherlands",
        "stats true",
        "whois 5",
        "room A room 16",
        "mods hd hr false",
        "mods dt true",
        "set 2 1 16",
        "closed",
    ]


def test_client_connects_with_tls(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path)
    data = tmp_path / "data"
    [password] = add_players(data, ["anna"]).values()
    server = Server(data, IRC_TLS="127.0.0.1:0", IRC_TLS_CERT=str(chain), IRC_TLS_KEY=str(key), IRC_LINKS="own").start()
    try:
        context = ssl.create_default_context(cafile=str(chain))
        with IrcClient(server.irc_ports["irc-tls"], tls=context) as anna:
            welcome = anna.log_in("anna", password)
            assert welcome[0] == ":cho.localhost 001 anna :Welcome to kiai, anna!cho@localhost"
            anna.send("WHOIS anna")
            anna.wait(" 311 anna anna https://osu.localhost/u/3 * :")
        server.stop()
    finally:
        server.kill()
