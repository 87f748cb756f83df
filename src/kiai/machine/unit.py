"""The systemd unit of the server: the one of `deploy/systemd`, and the one that `kiai init` writes for a folder.

Both have the same restrictions. `check_unit` lets systemd check a unit.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

OPEN_FILES: Final = 20_000
CHECK_S: Final = 30
HOMES: Final = ("/home", "/root", "/run/user")
TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 (compared, not written to)
LOW_PORTS: Final = "CAP_NET_BIND_SERVICE"

HEADER: Final = """\
# kiai as a systemd service. Copy this file to /etc/systemd/system/ and replace kiai.example with your domain. Then run:
#   useradd --system --home-dir /opt/kiai kiai
#   systemctl daemon-reload && systemctl enable --now kiai
#
# The checkout is in /opt/kiai and belongs to root. Run `scripts/serve --help` there once to create .venv.
# The data folder is /var/lib/kiai, which systemd creates (StateDirectory=).
# Put secrets and settings into /etc/kiai.env (owner root, mode 0600), with lines such as KIAI_UPSTREAM_KEY=...
"""
WRITTEN: Final = """\
# kiai as a systemd service, written by `kiai init`. Settings are in kiai.toml of the working directory.
# Secrets can be in /etc/kiai.env (owner root, mode 0600), with lines such as KIAI_UPSTREAM_KEY=...
"""

_UNIT: Final = """\
{header}
[Unit]
Description=kiai, an osu! private server
{documentation}Wants=network-online.target
After=network-online.target postgresql.service redis-server.service

[Service]
User={user}
Group={group}
WorkingDirectory={folder}
{environment}EnvironmentFile=-/etc/kiai.env
ExecStart={command}
# SIGHUP replaces the workers of `--workers N` one after another. A single process reads its
# certificate again, if it has one.
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
KillMode=mixed
TimeoutStopSec=20
# 10,000 connections need as many open files.
LimitNOFILE={open_files}

# Only this account can read the data.
UMask=0077
{data}
ProtectSystem=strict
ProtectHome={home}
PrivateTmp={tmp}
PrivateDevices=yes
PrivateUsers={private_users}
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
"""


class UnitPlan(msgspec.Struct, frozen=True):
    """The server that a unit starts. It writes to `writable`; with `low_ports` it needs a port below 1024."""

    user: str
    group: str
    folder: Path
    command: Sequence[str]
    writable: Sequence[Path]
    low_ports: bool
    open_files: int = OPEN_FILES


def unit_text(plan: UnitPlan) -> str:
    """Return the unit for a folder with `kiai.toml`."""
    used = [plan.folder, *plan.writable, Path(plan.command[0]), Path(plan.command[0]).resolve()]
    writable = " ".join(map(_quoted, map(str, plan.writable)))
    return _UNIT.format(
        header=WRITTEN,
        documentation="",
        user=plan.user,
        group=plan.group,
        folder=str(plan.folder).replace("%", "%%"),
        environment="",
        command=" ".join(_quoted(word).replace("$", "$$") for word in plan.command),
        open_files=max(OPEN_FILES, plan.open_files),
        data=f"\n# kiai writes only to these folders.\nReadWritePaths={writable}",
        # Folders that the unit needs must not be hidden from it.
        home="read-only" if _any_below(used, HOMES) else "yes",
        tmp="no" if _any_below(used, TEMPORARY) else "yes",
        # In a user namespace of its own, a process has no permission for ports of the host.
        private_users="no" if plan.low_ports else "yes",
        capabilities=LOW_PORTS if plan.low_ports else "",
    )


def deployed_unit() -> str:
    """Return the file `deploy/systemd/kiai.service`, for a checkout in /opt/kiai behind a proxy."""
    return _UNIT.format(
        header=HEADER,
        documentation="Documentation=file:///opt/kiai/docs/operate/start.md\n",
        user="kiai",
        group="kiai",
        folder="/var/lib/kiai",
        environment="Environment=KIAI_DATA=/var/lib/kiai KIAI_DOMAIN=kiai.example KIAI_TRUSTED_PROXY=127.0.0.1/32\n",
        command="/opt/kiai/.venv/bin/kiai serve",
        open_files=OPEN_FILES,
        data="StateDirectory=kiai\nStateDirectoryMode=0700\n\n"
        "# kiai needs only its state directory and sockets. If backups or files are in another folder, add\n"
        "# ReadWritePaths=/backups with that folder.",
        home="yes",
        tmp="yes",
        private_users="yes",
        capabilities="",
    )


def check_unit(file: Path) -> list[str]:
    """Return what systemd finds wrong with a unit, in lines. Without systemd-analyze, nothing."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 (the program of the system)
            [analyze, "verify", "--man=no", str(file)],
            capture_output=True,
            text=True,
            timeout=CHECK_S,
            env=os.environ | {"LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"systemd-analyze did not end: {error}"]
    # systemd-analyze also loads other units, and complains about those.
    lines = [line for line in done.stderr.splitlines() if file.name in line]
    return lines or ([f"systemd-analyze verify ended with {done.returncode}"] if done.returncode else [])


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(mark in word for mark in " \t'\"\\;") else escaped


def _any_below(paths: Sequence[Path], folders: Sequence[str]) -> bool:
    return any(path.is_relative_to(folder) for path in paths for folder in folders)
