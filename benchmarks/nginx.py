"""nginx in front of a server, with the example of `deploy/nginx/kiai.conf`, for benchmarks."""

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trustme

from benchmarks.__main__ import free_port

EXAMPLE: Final = Path(__file__).parents[1] / "deploy/nginx/kiai.conf"
CONNECTIONS: Final = 40_000
START_S: Final = 20.0


@contextlib.contextmanager
def nginx_before(port: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Run nginx for the server on this port. Yield its port for https and the id of its only process.

    Raises SystemExit if it is not installed or does not start.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise SystemExit("nginx is not installed; on Debian, apt-get install nginx")
    https, configuration = free_port(), folder / "nginx.conf"
    configuration.write_text(configured(EXAMPLE.read_text("utf-8"), port, https, folder), "utf-8")
    certificate = trustme.CA().issue_cert("localhost", "*.localhost")
    (folder / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    with subprocess.Popen([program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "log")]) as nginx:
        try:
            wait_until_it_listens(nginx, folder / "pid")
            yield https, nginx.pid
        finally:
            nginx.terminate()


def configured(example: str, port: int, https: int, folder: Path) -> str:
    """Return a whole configuration from the example, with these ports and with its files in a folder."""
    replaced = {
        r"127\.0\.0\.1:8080": f"127.0.0.1:{port}",
        r"listen 443 ssl": f"listen 127.0.0.1:{https} ssl backlog=4096",
        r"listen 80": f"listen 127.0.0.1:{free_port()}",
        r"kiai\.example\b(?!\.)": "localhost",
        r"/etc/ssl/\S+\.pem": str(folder / "chain.pem"),
        r"/etc/ssl/\S+\.key": str(folder / "key.pem"),
        r"/var/log/nginx/": f"{folder}/",
    }
    # The file first: its name has the domain in it.
    example = re.sub(r"/etc/ssl/kiai\.example\.", "/etc/ssl/files.", example)
    for pattern, by in replaced.items():
        example = re.sub(pattern, by, example)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nworker_rlimit_nofile {2 * CONNECTIONS};\n"
        f"events {{ worker_connections {CONNECTIONS}; }}\nhttp {{\n{places}{example}\n}}\n"
    )


def wait_until_it_listens(nginx: "subprocess.Popen[bytes]", pid: Path) -> None:
    """Wait until nginx has written its process id, which it does when it listens. Raises SystemExit."""
    until = time.monotonic() + START_S
    while not (pid.exists() and pid.read_text()):
        if nginx.poll() is not None or time.monotonic() > until:
            raise SystemExit("nginx does not start; its error is above")
        time.sleep(0.05)
