"""A real ACME authority: Debian's `pebble`, with its DNS server, on loopback."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import requests
import trustme
from tests import programs
from tests.patience import patiently, wait_until

READY_S: Final = 20.0


class Pebble:
    """A running authority. It sends challenges of http-01 to `http_port` on this machine."""

    def __init__(self, folder: Path, http_port: int, *, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.http_port = http_port
        self.authority_pem = folder / "pebble-root.pem"  # of its own https
        self._environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"} | dict(environment or {})
        self._port, self._management, self._dns, self._dns_management = (free_port() for _ in range(4))
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def directory(self) -> str:
        """The address of its directory."""
        return f"https://localhost:{self._port}/dir"

    def start(self) -> None:
        """Start the authority and its DNS server, which answers 127.0.0.1 for every name."""
        for program in ("pebble", "pebble-challtestsrv"):
            assert shutil.which(program), f"{program} is missing; as root, install Debian's package pebble"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority_pem)
        own = authority.issue_cert("localhost", "127.0.0.1")
        (self.folder / "own.pem").write_bytes(b"".join(one.bytes() for one in own.cert_chain_pems))
        (self.folder / "own.key").write_bytes(own.private_key_pem.bytes())
        config = self.folder / "pebble.json"
        config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{self._port}",
                        "managementListenAddress": f"127.0.0.1:{self._management}",
                        "certificate": str(self.folder / "own.pem"),
                        "privateKey": str(self.folder / "own.key"),
                        "httpPort": self.http_port,
                        "tlsPort": 5001,
                        "ocspResponderURL": "",
                        "externalAccountBindingRequired": False,
                    }
                }
            )
        )
        # fmt: off
        self._run(
            "pebble-challtestsrv", "-dns01", f"127.0.0.1:{self._dns}", "-management",
            f"127.0.0.1:{self._dns_management}", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "",
            "-https01", "", "-tlsalpn01", "",
        )
        # fmt: on
        self._run("pebble", "-strict", "-config", str(config), "-dnsserver", f"127.0.0.1:{self._dns}")
        wait_until(lambda: _accepts(self._port) and _accepts(self._dns_management), within_s=READY_S)

    def stop(self) -> None:
        """Stop both processes."""
        for process in self._processes:
            programs.end(process)
        self._processes.clear()

    def root(self) -> str:
        """Return the root of the certificates that it issues, as PEM. It is another one at each start."""
        found = requests.get(
            f"https://localhost:{self._management}/roots/0", verify=str(self.authority_pem), timeout=patiently(10)
        )
        return found.text

    def dns_hook(self) -> Path:
        """Return a hook for dns-01 that sets the records of its DNS server, and writes its calls to `hook.log`."""
        hook = self.folder / "hook"
        hook.write_text(
            f"""#!/bin/sh
echo "$1 $2 $3" >> {self.folder}/hook.log
[ "$1" = set ] && exec curl -sS -o /dev/null -d "{{\\"host\\":\\"$2.\\",\\"value\\":\\"$3\\"}}" \\
  http://127.0.0.1:{self._dns_management}/set-txt
exit 0
"""
        )
        hook.chmod(0o700)
        return hook

    def _run(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            self._processes.append(
                programs.start(command, stdout=log, stderr=log, env={**os.environ, **self._environment})
            )


@contextlib.contextmanager
def running_pebble(folder: Path, http_port: int, *, environment: Mapping[str, str] | None = None) -> Iterator[Pebble]:
    """Run an authority for the duration of the block."""
    pebble = Pebble(folder, http_port, environment=environment)
    try:
        pebble.start()
        yield pebble
    finally:
        pebble.stop()


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
