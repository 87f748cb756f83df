"""The files in `deploy/`: settings of the proxies and the service, and runs of the nightly backup script."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.patience import patiently
from tests.wire.kit import KIAI, cli, environment

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "systemd/kiai.service").read_text("utf-8")
NGINX = {path.name: path.read_text("utf-8") for path in sorted((DEPLOY / "nginx").glob("*.conf"))}
CADDY = (DEPLOY / "caddy/Caddyfile").read_text("utf-8")
NIGHTLY = DEPLOY / "backup/nightly.sh"
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
EXPOSURE_MAX = 3.0

HARDENED = {
    "UMask": "0077",
    "StateDirectoryMode": "0700",
    "CapabilityBoundingSet": "",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures": "native",
}


def without_comments(text: str) -> str:
    return re.sub(r"(?m)(^|\s)#.*$", "", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_is_named_by_a_page_for_operators(path: Path) -> None:
    pages = [page.read_text("utf-8") for page in sorted((ROOT / "docs").rglob("*.md"))]

    assert any(f"(../../{path.relative_to(ROOT).as_posix()})" in page for page in pages)


# --- systemd


def test_the_unit_is_hardened() -> None:
    found = dict(re.findall(r"(?m)^(\w+)=(.*)$", without_comments(UNIT)))

    assert {name: found.get(name) for name in HARDENED} == HARDENED
    assert found["User"] == "kiai"
    assert found["ExecStart"] == "/opt/kiai/.venv/bin/kiai serve"
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_systemd_finds_it_hardened_where_there_is_systemd() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert "SystemCallFilter=@system-service" in UNIT  # this machine cannot test more than the text
        return
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(DEPLOY / "systemd/kiai.service")],
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
        check=False,
        timeout=patiently(120),
    )
    if "Unknown" in done.stderr or "unrecognized option" in done.stderr:  # before systemd 250
        assert "SystemCallFilter=@system-service" in UNIT
        return

    found = re.search(r"Overall exposure level for kiai\.service: ([\d.]+)", done.stdout)

    assert found is not None, done
    assert float(found[1]) <= EXPOSURE_MAX


# --- proxies


def test_nginx_logs_neither_query_strings_nor_headers_that_let_somebody_in() -> None:
    text = without_comments(NGINX["kiai.conf"])
    [log_format] = re.findall(r"log_format kiai ([^;]*);", text)
    servers = text.split("\nserver {")[1:]
    assert len(servers) == 2

    leaks = re.findall(
        r"\$(?:request\b(?!_)|request_uri|uri|document_uri|args|query_string|arg_\w+|http_\w+|cookie_\w+)", log_format
    )
    assert leaks == []
    assert "$logged_path" in log_format
    [paths] = re.findall(r"map \$uri \$logged_path \{(.*?)\}", text, re.DOTALL)
    assert paths.split() == ["~^(?<link>/reset/|/verify/)", "$link-;", "default", "$uri;"]
    for server in servers:
        assert re.findall(r"access_log (\S+) (\w+);", server) == [("/var/log/nginx/kiai.access.log", "kiai")]
        # nginx logs the whole request line with an error, regardless of the format above.
        assert re.findall(r"error_log \S+ (\w+);", server) == ["emerg"]


def test_no_example_of_nginx_brings_a_log_of_its_own() -> None:
    for name, text in NGINX.items():
        logs = re.findall(r"(?:access_log|error_log|log_format) [^;]*;", without_comments(text))
        assert name == "kiai.conf" or logs == [], name


def test_caddy_logs_neither_query_strings_nor_headers_that_let_somebody_in() -> None:
    text = without_comments(CADDY)
    [fields] = re.findall(r"log default \{.*?fields \{(.*?)\}", text, re.DOTALL)

    rules = dict(line.split(maxsplit=1) for line in fields.strip().splitlines())

    kind, pattern, replacement = rules["request>uri"].split()
    assert (kind, replacement) == ("regexp", "$1")
    logged = {
        "/web/osu-getreplay.php?h=x": "/web/osu-getreplay.php",
        "/reset/secret?x=1": "/reset/",
        "/verify/secret": "/verify/",
        "/users/3": "/users/3",
    }
    assert {uri: re.sub(pattern, r"\1", uri) for uri in logged} == logged
    for header in ("Authorization", "Cookie", "Osu-Token", "Referer"):
        assert rules[f"request>headers>{header}"] == "delete"
    for header in ("Cho-Token", "Set-Cookie", "Location"):
        assert rules[f"resp_headers>{header}"] == "delete"
    loggers = re.findall(r"(?m)^\s*log\b(.*)$", text)
    assert [logger.strip() for logger in loggers] == ["default {", ""], "every log goes through the one that filters"


@pytest.mark.parametrize("text", [*NGINX.values(), CADDY], ids=[*NGINX, "Caddyfile"])
def test_proxies_close_idle_connections_before_kiai_does(text: str) -> None:
    assert re.search(r"keepalive(?:_timeout)? 60s", text)


# --- the nightly backup


class Nightly:
    """Runs the script on a folder of backups."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.to = folder / "backups"
        self.to.mkdir()
        command = folder / "kiai"
        command.write_text(f'#!/bin/sh\nexec {" ".join(KIAI)} "$@"\n')
        command.chmod(0o755)
        self._command = command

    def run(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        env = environment({"DATA": str(self.data)}) | {"KIAI": str(self._command)} | variables
        return subprocess.run(
            [str(NIGHTLY), str(self.to)],
            env=env,
            cwd=self.to.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=patiently(120),
        )

    def old(self, name: str, days: int) -> Path:
        """Create a folder that is `days` old."""
        folder = self.to / name
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")
        then = time.time() - days * 86_400
        os.utime(folder, (then, then))
        return folder

    def names(self) -> list[str]:
        return sorted(path.name for path in self.to.iterdir())


@pytest.fixture
def nightly(tmp_path: Path) -> Nightly:
    return Nightly(tmp_path)


def test_the_nightly_script_keeps_two_weeks_and_touches_nothing_else(nightly: Nightly) -> None:
    cli(nightly.data, "migrate")
    nightly.old("kiai-20260101T040000Z", 30)
    nightly.old("kiai-20260102T040000Z.partial", 30)
    kept = [nightly.old("kiai-20260120T040000Z", 3), nightly.old("photos", 400), nightly.old("kiai-old", 400)]

    done = nightly.run()

    assert done.returncode == 0, done
    [made] = set(nightly.names()) - {path.name for path in kept}
    assert re.fullmatch(r"kiai-\d{8}T\d{6}Z", made)
    assert (nightly.to / made).stat().st_mode & 0o777 == 0o700
    assert cli(nightly.to.parent / "restored", "restore", str(nightly.to / made))["files"] == 0


def test_a_night_that_fails_removes_nothing(nightly: Nightly) -> None:
    nightly.old("kiai-20260101T040000Z", 400)
    nightly.old("kiai-20260102T040000Z", 300)
    before = nightly.names()

    missing = nightly.run()
    nightly.data.mkdir()
    (nightly.data / "kiai.db").write_bytes(b"this is no database" * 100)
    damaged = nightly.run()
    mistyped = nightly.run(KEEP_DAYS="a week")
    shutil.rmtree(nightly.data)
    cli(nightly.data, "migrate")
    without_kiai = nightly.run(KIAI=str(nightly.to / "nothing"))
    does_nothing = nightly.run(KIAI="true")

    for done in (missing, damaged, mistyped, without_kiai, does_nothing):
        assert done.returncode != 0, done
        assert done.stderr
    assert [name for name in nightly.names() if not name.endswith(".partial")] == before


def test_a_folder_of_back_ups_that_is_not_mounted_is_told(nightly: Nightly) -> None:
    nightly.to.rmdir()

    done = nightly.run()

    assert (done.returncode, "is it mounted?" in done.stderr) == (1, True)
    assert not nightly.to.exists()
