"""`kiai init` and `kiai doctor --network`: the files, the owner, what is checked and what is printed."""

import contextlib
import http.server
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from tests.builders import PASSWORD
from tests.patience import join, patiently
from tests.tls.certificates import write_certificate
from typer.testing import CliRunner, Result

from kiai.cli.main import app
from kiai.machine import facts
from kiai.tls.names import server_names

SHAPE: Final = {"config", "data", "domain", "address", "players", "dns", "claim_code", "unit", "problems"}
ELSEWHERE: Final = "203.0.113.9"
OWNER: Final = ("--owner", "anna", "--email", "anna@example.org", "--password", PASSWORD)
READY_S: Final = 40

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a bare folder, without settings in the environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: str = "", **environment: str) -> Result:
        unset = dict.fromkeys((name for name in os.environ if name.startswith("KIAI_")), None)
        return CliRunner().invoke(app, [*map(str, arguments)], input=stdin, env=unset | environment)

    return run


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The addresses that the resolver returns. A name that is not in it has no record."""
    addresses: dict[str, str] = {}

    original = socket.getaddrinfo

    def answer(host: str, *arguments: Any, **named: Any) -> list[Any]:
        if host == "127.0.0.1":
            return original(host, *arguments, **named)
        if host not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return addresses


class Authority:
    """The directory of an ACME authority, whose clock is ahead of that of this machine."""

    def __init__(self, folder: Path) -> None:
        self.ahead_s = 0
        self.root = folder / "root.pem"
        signed = trustme.CA()
        signed.cert_pem.write_to_path(str(self.root))
        authority = self

        class Directory(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + authority.ahead_s)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Log nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        signed.issue_cert("127.0.0.1").configure_cert(context)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/dir"


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    found = Authority(tmp_path_factory.mktemp("authority"))
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    join(thread)
    found.server.server_close()


def made(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    [line] = done.stdout.splitlines()
    found = json.loads(line)
    assert set(found) == SHAPE
    return found


def failed(done: Result) -> str:
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    [line] = done.stderr.splitlines()
    assert line.startswith("kiai: ")
    return str(line)


def checks(done: Result) -> dict[str, dict[str, Any]]:
    found = json.loads(done.stdout)
    assert set(found) == {"ok", "problems", "repaired", "waiting", "checks"}
    assert all(set(one) == {"name", "ok", "detail"} for one in found["checks"])
    return {one["name"]: one for one in found["checks"]}


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[list[str]]:
    """Run `kiai serve` in the folder. Yield its lines up to `ready`."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("KIAI_")}
    server = subprocess.Popen(
        [sys.executable, "-m", "kiai", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=others,
        cwd=folder,
    )
    timeout = threading.Timer(patiently(READY_S), server.kill)
    timeout.start()
    try:
        assert server.stdout is not None
        lines: list[str] = []
        for line in server.stdout:
            lines.append(line.strip())
            if line.startswith("ready "):
                break
        yield lines
    finally:
        timeout.cancel()
        server.kill()
        server.communicate(timeout=patiently(60))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


# --- a bare folder


def test_server_that_init_has_set_up_answers_over_https(run: Run, tmp_path: Path) -> None:
    port = free_port()

    found = made(run("init", "--yes", "--domain", "localhost", "--tls", "self", "--port", str(port), "--json"))

    assert found["address"] == f"https://localhost:{port}"
    assert found["players"] == "osu!.exe -devserver localhost"
    assert found["problems"] == []
    assert found["claim_code"] is None
    assert [one["name"] for one in found["dns"]] == list(server_names("localhost"))
    assert {one["ok"] for one in found["dns"]} == {None}
    with serving(tmp_path, "--http-port", "off") as lines:
        assert lines == [f"ready https://127.0.0.1:{port}"]
        root = json.loads(run("tls", "export", "--json").stdout)["pem"]
        context = ssl.create_default_context(cadata=root)
        with urllib.request.urlopen(f"https://localhost:{port}/healthz", context=context) as answer:
            assert answer.status == 200

        found_by_doctor = run("doctor", "--network", "--json")
        assert found_by_doctor.exit_code == 0, found_by_doctor.output
        assert checks(found_by_doctor)[f"port:{port}"]["detail"] == "the server listens on it"
        assert checks(found_by_doctor)["tls"]["ok"] is True
        assert checks(found_by_doctor)["files"]["ok"] is True


def test_files_of_init_are_for_its_account_only(run: Run, tmp_path: Path) -> None:
    made(run("init", "--yes", "--registration", "invite", "--data", "here", "--json"))

    assert stat.S_IMODE((tmp_path / "kiai.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o700
    written = tomllib.loads((tmp_path / "kiai.toml").read_text("utf-8"))
    assert written == {"domain": "localhost", "tls": "off", "data": "here", "registration": "invite"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "kiai.toml"]
    assert run("users", "list").exit_code == 0


def test_owner_is_created_and_no_claim_code_is_shown(run: Run) -> None:
    found = made(run("init", "--yes", "--domain", "play.example", "--tls", "self", *OWNER, "--json"))

    assert found["claim_code"] is None
    account = json.loads(run("users", "show", "anna", "--json").stdout)
    assert account["priv"] & 1 << 14  # developer
    assert PASSWORD not in json.dumps(found)


def test_claim_code_of_a_public_server_is_the_one_that_serve_prints(run: Run) -> None:
    done = run("init", "--yes", "--domain", "play.example", "--tls", "self", "--json")

    code = made(done)["claim_code"]
    assert re.fullmatch(r"\w{4}(-\w{4}){3}", code)
    assert json.loads(run("users", "claim-code", "--json").stdout)["code"] == code


def test_public_server_listens_on_all_addresses_and_one_behind_a_proxy_on_loopback(run: Run, tmp_path: Path) -> None:
    made(run("init", "--yes", "--domain", "play.example", "--tls", "self", "--json"))
    direct = tomllib.loads((tmp_path / "kiai.toml").read_text("utf-8"))
    made(run("init", "--yes", "--domain", "play.example", "--tls", "off", "--force", "--json"))
    behind = tomllib.loads((tmp_path / "kiai.toml").read_text("utf-8"))

    assert (direct["host"], direct.get("trusted_proxy")) == ("0.0.0.0", None)
    assert (behind.get("host"), behind["trusted_proxy"]) == (None, ["127.0.0.1/32"])


def test_text_says_the_address_the_line_of_players_and_the_records(run: Run, resolver: dict[str, str]) -> None:
    resolver["play.example"] = "127.0.0.1"

    done = run("init", "--yes", "--domain", "play.example", "--tls", "self")

    assert done.exit_code == 0, done.output
    assert "https://play.example\n" in done.stdout
    assert "osu!.exe -devserver play.example\n" in done.stdout
    assert "!claim " in done.stdout
    assert re.search(r"c\.play\.example +A +127\.0\.0\.1 +wrong: has no record", done.stdout)
    assert re.search(r" play\.example +A +127\.0\.0\.1 +ok: ", done.stdout)


# --- questions


def test_questions_are_asked_for_what_is_not_given_and_again_after_a_bad_answer(run: Run, tmp_path: Path) -> None:
    answers = [
        "https://play.example/",
        "Play.Example.",
        "self",
        "kept",
        "sometimes",
        "invite",
        "",
        "1234",
        "anna",
        "nonsense",
        "a@b.example",
    ]

    done = run("init", "--json", "--password", PASSWORD, stdin="\n".join([*answers, ""]))

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["domain"] == "play.example"  # the runner echoes the answers
    written = tomllib.loads((tmp_path / "kiai.toml").read_text("utf-8"))
    assert (written["tls"], written["registration"], written["data"]) == ("self", "invite", "kept")
    assert "one of on, off, invite" in done.stderr
    assert "must be more than digits" in done.stderr
    assert "must be an address like" in done.stderr
    assert run("users", "show", "anna").exit_code == 0


def test_an_end_of_the_answers_writes_nothing(run: Run, tmp_path: Path) -> None:
    assert run("init", stdin="play.example\n").exit_code == 1
    assert list(tmp_path.iterdir()) == []


# --- what is refused


def test_existing_file_is_overwritten_only_with_force(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kiai.toml").write_text("not TOML at all")

    assert "--force" in failed(run("init", "--yes"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kiai.toml"]
    assert (tmp_path / "kiai.toml").read_text() == "not TOML at all"
    assert made(run("init", "--yes", "--force", "--json"))["domain"] == "localhost"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--domain", "https://play.example/"],
        ["--domain", "127.0.0.1"],
        ["--domain", "a..example"],
        ["--domain", "Play.example"],
        ["--domain", "localhost", "--tls", "auto"],
        ["--registration", "maybe"],
        ["--tls", "missing.pem"],
        ["--systemd", "kiai.txt"],
        ["--systemd", "missing/kiai.service"],
    ],
    ids=" ".join,
)
def test_bad_option_is_named_and_nothing_is_written(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    line = failed(run("init", "--yes", *arguments))

    assert arguments[-1] in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--owner", "anna"], ["--email", "a@b.example"], ["--password", PASSWORD]], ids=" ".join
)
def test_incomplete_owner_is_a_wrong_usage(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    assert run("init", "--yes", *arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_owner_whose_account_cannot_be_created_leaves_no_configuration(run: Run, tmp_path: Path) -> None:
    done = run("init", "--yes", "--owner", "anna", "--email", "nonsense", "--password", PASSWORD)

    assert "e-mail" in failed(done) or "email" in failed(done)
    assert not (tmp_path / "kiai.toml").exists()
    assert not list(tmp_path.glob(".kiai*"))


@pytest.mark.parametrize(("name", "email", "error"), [("a", "a@b.example", "name"), ("anna", "nonsense", "email")])
def test_owner_who_cannot_exist_is_refused_before_the_password_is_read(
    run: Run, tmp_path: Path, name: str, email: str, error: str
) -> None:
    assert f"{error} must be" in failed(run("init", "--yes", "--owner", name, "--email", email))
    assert list(tmp_path.iterdir()) == []


def test_certificate_for_another_domain_is_refused(run: Run, tmp_path: Path) -> None:
    chain, key = write_certificate(trustme.CA(), tmp_path, "other.example")

    line = failed(run("init", "--yes", "--domain", "play.example", "--tls", chain, "--tls-key", key))

    assert "not for play.example" in line
    assert not (tmp_path / "kiai.toml").exists()


def test_configuration_that_serve_would_not_read_is_refused_or_told(run: Run, tmp_path: Path) -> None:
    assert "KIAI_CONFIG" in failed(run("init", "--yes", KIAI_CONFIG="other.toml"))

    found = made(run("init", "--yes", "--json", "--domain", "play.example", "--tls", "self", KIAI_DOMAIN="localhost"))
    assert any("KIAI_DOMAIN overrides domain" in problem for problem in found["problems"])


# --- what is found wrong


def test_port_that_another_program_has_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        found = made(run("init", "--yes", "--port", str(port), "--json"))
        [problem] = found["problems"]
        done = run("doctor", "--network", "--json", KIAI_PORT=str(port))

    assert problem.startswith(f"port:{port}: another program listens")
    assert done.exit_code == 1
    assert checks(done)[f"port:{port}"]["ok"] is False


def test_low_port_without_permission_is_told_with_the_way_to_allow_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(facts, "probe_port", lambda host, port: "forbidden" if port < 1024 else "free")

    public = made(run("init", "--yes", "--domain", "play.example", "--tls", "self", "--json"))
    assert any("port:443" in one and "CAP_NET_BIND_SERVICE" in one for one in public["problems"])
    with_unit = made(
        run("init", "--yes", "--domain", "play.example", "--tls", "self", "--systemd", "k.service", "--force", "--json")
    )
    assert not any("port:443" in one for one in with_unit["problems"])
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in (tmp_path / "k.service").read_text()
    with_port = made(run("init", "--yes", "--tls", "self", "--systemd", "k.service", "--force", "--json"))
    assert with_port["address"] == "https://localhost"
    local = made(run("init", "--yes", "--tls", "self", "--force", "--json"))
    assert local["address"] == "https://localhost:8443"
    assert local["problems"] == []


def test_wrong_and_missing_dns_records_are_told(run: Run, resolver: dict[str, str]) -> None:
    resolver |= dict.fromkeys(server_names("play.example"), "127.0.0.1") | {"osu.play.example": ELSEWHERE}
    del resolver["c.play.example"]

    found = made(run("init", "--yes", "--domain", "play.example", "--tls", "self", "--json"))
    done = run("doctor", "--network", "--json")

    wrong = {one["name"]: one for one in found["dns"] if one["ok"] is False}
    assert set(wrong) == {"osu.play.example", "c.play.example"}
    assert all(set(one) == {"name", "type", "value", "ok"} for one in found["dns"])
    assert {one["type"] for one in found["dns"]} == {"A"}
    assert any(problem.startswith("dns:osu.play.example:") and ELSEWHERE in problem for problem in found["problems"])
    assert done.exit_code == 1
    assert checks(done)["dns:osu.play.example"]["ok"] is False
    assert checks(done)["dns:play.example"]["ok"] is True

    resolver |= {"osu.play.example": "127.0.0.1", "c.play.example": "127.0.0.1"}
    names = checks(run("doctor", "--network", "--json"))
    assert all(names[f"dns:{name}"]["ok"] for name in server_names("play.example"))
    assert {"port:443", "port:80", "clock", "disk", "files", "tls"} <= set(names)


def test_authority_that_does_not_answer_is_told(run: Run, resolver: dict[str, str]) -> None:
    done = run(
        "init", "--yes", "--domain", "play.example", "--json",
        KIAI_ACME_DIRECTORY=f"https://127.0.0.1:{free_port()}/dir",
    )  # fmt: skip

    assert any("tls: the ACME authority does not answer" in problem for problem in made(done)["problems"])


def test_clock_is_compared_with_the_date_of_the_authority(
    run: Run, resolver: dict[str, str], tmp_path: Path, authority: Authority
) -> None:
    settings = {"KIAI_ACME_DIRECTORY": authority.url, "KIAI_ACME_CA": str(authority.root)}
    authority.ahead_s = 120

    wrong = made(run("init", "--yes", "--domain", "play.example", "--json", **settings))["problems"]
    authority.ahead_s = 0
    right = checks(run("doctor", "--network", "--json", **settings))

    assert any(re.fullmatch(r"clock: 1\d\d seconds behind that of the ACME authority.*", one) for one in wrong), wrong
    assert right["clock"]["ok"] is True
    assert right["tls"]["ok"] is None


def test_doctor_checks_domain_and_port_of_a_server_that_was_started_with_flags(
    run: Run, resolver: dict[str, str], tmp_path: Path
) -> None:
    resolver |= dict.fromkeys(server_names("play.example"), "127.0.0.1")
    flags = ("--domain", "play.example", "--tls", "self", "--port", "0", "--http-port", "off")
    with serving(tmp_path, *flags) as lines:
        port = lines[-1].rpartition(":")[2]
        found = checks(run("doctor", "--network", "--json"))

    assert found[f"port:{port}"]["detail"] == "the server listens on it"
    assert found["dns:c.play.example"]["ok"] is True
    assert found["tls"]["ok"] is True


def test_doctor_without_network_has_no_checks(run: Run) -> None:
    made(run("init", "--yes", "--json"))

    assert set(json.loads(run("doctor", "--json").stdout)) == {"ok", "problems", "repaired", "waiting"}


# --- systemd


def test_unit_is_written_and_checked(run: Run, tmp_path: Path) -> None:
    found = made(run("init", "--yes", "--systemd", "kiai.service", "--json"))

    assert found["unit"] == str(tmp_path / "kiai.service")
    text = (tmp_path / "kiai.service").read_text("utf-8")
    assert "\nUMask=0077\n" in text
    assert f"\nWorkingDirectory={tmp_path}\n" in text
    assert f"\nReadWritePaths={tmp_path}/data\n" in text
    assert [one for one in found["problems"] if "as root" not in one] == []
    assert "--force" in failed(run("init", "--yes", "--systemd", "kiai.service"))
