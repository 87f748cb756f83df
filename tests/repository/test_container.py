"""The container file: what it copies from the checkout, its user, and its health check."""

import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from scripts.lib.healthy import problem
from tests.patience import join, patiently
from tests.wire.kit import environment

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Containerfile").read_text("utf-8").replace("\\\n", " ").splitlines()


def copied() -> list[str]:
    return [found[1] for line in LINES if (found := re.match(r"COPY --chown=10001 (\S+) ", line))]


def test_the_image_holds_what_is_ignored_by_nothing_else() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert sorted(copied()) == sorted(allowed)


def test_what_is_copied_is_a_server(tmp_path: Path) -> None:
    for name in copied():
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)

    made = subprocess.run(
        [sys.executable, "-P", "-m", "kiai", "migrate", "--data", str(tmp_path / "data")],
        cwd=tmp_path,
        env=environment({}) | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        timeout=patiently(120),
    )
    assert made.returncode == 0, made.stderr
    install = subprocess.run(
        ["bash", "-c", ". scripts/lib/environment.sh && declare -F environment && find_python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patiently(120),
    )
    assert install.returncode == 0, install.stderr


def test_settings_that_the_image_sets_exist() -> None:
    from kiai.settings_declaration import SettingsDeclaration

    [line] = [line for line in LINES if line.startswith("ENV ")]
    names = [pair.partition("=")[0] for pair in line.removeprefix("ENV ").split()]

    assert [name for name in names if name.removeprefix("KIAI_").lower() not in SettingsDeclaration.model_fields] == []


# --- user and health check


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    [user] = [line.split()[1] for line in LINES if line.startswith("USER ")]

    assert int(user) > 0
    assert f"--uid {user} " in " ".join(LINES)
    assert set(re.findall(r"--chown=(\S+)", " ".join(LINES))) == {user}


def test_the_base_image_is_a_python_that_the_package_supports() -> None:
    [base] = [line.split()[1] for line in LINES if line.startswith("FROM ")]
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)

    assert version is not None
    assert f'"Programming Language :: Python :: {version[1]}",' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_health_check_is_a_file_of_the_image() -> None:
    [check] = [line for line in LINES if line.startswith("HEALTHCHECK ")]
    found = re.search(r'CMD \["\.venv/bin/python", "(\S+)"\]$', check)

    assert found is not None
    assert (ROOT / found[1]).exists()
    assert found[1].startswith("scripts/")


class Answer(BaseHTTPRequestHandler):
    """Answers /healthz like a server."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture(params=["off", "self"])
def asked(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The variables of a container whose server answers, without TLS and with a certificate for another name."""
    server = HTTPServer(("127.0.0.1", 0), Answer)
    if request.param != "off":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("kiai.example").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield {"KIAI_PORT": str(server.server_port), "KIAI_TLS": request.param}
    server.shutdown()
    join(thread)
    server.server_close()


def test_the_health_check_asks_the_port_of_the_settings(asked: dict[str, str]) -> None:
    assert problem(asked) is None


def test_the_health_check_fails_where_no_server_is(asked: dict[str, str]) -> None:
    other = "self" if asked["KIAI_TLS"] == "off" else "off"

    assert problem(asked | {"KIAI_TLS": other}) is not None
    assert "port 1:" in str(problem({"KIAI_PORT": "1"}))
    assert "port kiai:" in str(problem({"KIAI_PORT": "kiai"}))
