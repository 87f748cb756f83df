"""The facts that this machine gives: addresses, ports, limits, the systemd unit."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.patience import patiently

from kiai.machine.checks import Resolution
from kiai.machine.facts import is_own_address, probe_port, read_kernel_clock, resolve
from kiai.machine.open_files import allow_open_files, open_files_limit
from kiai.machine.unit import UnitPlan, check_unit, deployed_unit, unit_text

ROOT = Path(__file__).parents[2]


def test_loopback_is_of_this_machine_and_a_documentation_address_is_not() -> None:
    assert is_own_address("127.0.0.1")
    assert not is_own_address("203.0.113.77")
    assert not is_own_address("0.0.0.0")


def test_names_are_resolved_and_errors_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, *arguments: Any, **named: Any) -> list[Any]:
        if host == "missing.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host == "silent.example":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [
            (socket.AF_INET6, 1, 6, "", ("fe80::1%eth0", 0, 0, 2)),
            (socket.AF_INET, 1, 6, "", ("8.8.4.4", 0)),
            (socket.AF_INET, 1, 6, "", ("8.8.4.4", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)

    assert resolve(["play.example", "missing.example", "silent.example"]) == {
        "play.example": Resolution(("fe80::1", "8.8.4.4")),
        "missing.example": Resolution(),
        "silent.example": Resolution(error="Temporary failure in name resolution"),
    }


def test_port_is_free_until_a_program_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert probe_port("127.0.0.1", port) == "taken"
        assert probe_port("203.0.113.77", port) == "no address"
    assert probe_port("127.0.0.1", port) == "free"


def test_the_kernel_says_whether_it_keeps_the_clock_or_nothing() -> None:
    assert read_kernel_clock() in (True, False, None)
    assert read_kernel_clock() == read_kernel_clock()


def test_limit_of_open_files_is_raised_as_far_as_the_system_allows() -> None:
    script = (
        "import resource; from kiai.machine.open_files import allow_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 500))\n"
        "allow_open_files(400); print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "allow_open_files(9_000); print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "allow_open_files(100); print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=patiently(120)
    )

    assert done.stdout.splitlines() == ["(400, 500)", "(500, 500)", "(500, 500)"]


def test_limit_is_that_of_the_running_server_if_there_is_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_open_files(0)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before

    program = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (321, 400)); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        expected = 321 if sys.platform == "linux" else open_files_limit(None)
        assert open_files_limit(server.pid) == expected
        server.communicate("\n")


# --- the unit


def plan(folder: Path, **changes: Any) -> UnitPlan:
    fields: dict[str, Any] = {
        "user": "daemon",
        "group": "daemon",
        "folder": folder,
        "command": [sys.executable, "-m", "kiai", "serve"],
        "writable": [folder / "data"],
        "low_ports": True,
    }
    return UnitPlan(**fields | changes)


def test_the_unit_of_the_checkout_has_the_same_text() -> None:
    assert (ROOT / "deploy/systemd/kiai.service").read_text("utf-8") == deployed_unit()


def test_unit_of_a_folder_opens_low_ports_only_where_it_needs_them() -> None:
    with_ports, without = unit_text(plan(Path("/srv/kiai"))), unit_text(plan(Path("/srv/kiai"), low_ports=False))

    assert "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n" in with_ports
    assert "\nPrivateUsers=no\n" in with_ports  # else the permission is void
    assert "\nAmbientCapabilities=\n" in without
    assert "\nPrivateUsers=yes\n" in without
    for text in (with_ports, without):
        assert "\nUMask=0077\n" in text
        assert "\nWorkingDirectory=/srv/kiai\n" in text
        assert "\nReadWritePaths=/srv/kiai/data\n" in text


def test_unit_does_not_hide_the_folders_that_it_uses() -> None:
    command = ["/usr/bin/python3", "-m", "kiai", "serve"]

    assert "\nProtectHome=yes\n" in unit_text(plan(Path("/srv/kiai"), command=command))
    assert "\nProtectHome=read-only\n" in unit_text(plan(Path("/home/me/kiai"), command=command))
    assert "\nPrivateTmp=yes\n" in unit_text(plan(Path("/srv/kiai"), command=command))
    assert "\nPrivateTmp=no\n" in unit_text(plan(Path("/tmp/kiai"), command=command))


def test_systemd_accepts_a_unit_with_spaces_and_signs_in_its_paths(tmp_path: Path) -> None:
    folder = tmp_path / "my 100% server"
    folder.mkdir()
    unit = tmp_path / "kiai.service"
    unit.write_text(unit_text(plan(folder)), "utf-8")

    assert check_unit(unit) == []
    assert '"' in unit.read_text("utf-8")


def test_what_systemd_finds_wrong_with_a_unit_is_told_where_there_is_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyze = tmp_path / "systemd-analyze"
    analyze.write_text('#!/bin/sh\necho "$3:9: Unknown key" >&2\necho "other.service: old" >&2\nexit 1\n')
    analyze.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert check_unit(tmp_path / "kiai.service") == [f"{tmp_path}/kiai.service:9: Unknown key"]

    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert check_unit(tmp_path / "kiai.service") == []
