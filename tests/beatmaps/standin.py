"""A fake of the official API and of mirrors, over HTTP on this machine: real answers, and every fault on demand."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.builders import NewMap
from tests.patience import patiently


class StandIn:
    """The maps and sets of the fake server, its recorded requests, and its fault, a name in `_Handler._fail`."""

    def __init__(self) -> None:
        self.maps: dict[int, tuple[NewMap, int, int]] = {}  # id -> file, set id, the official API's status
        self.files: dict[int, bytes] = {}  # in place of the files that are listed
        self.sets: list[dict[str, Any]] = []  # for searches
        self.asked: list[str] = []
        self.fault = ""
        self.delay_s = 0.0
        self.url = ""

    def has(self, new: NewMap, *, set_id: int = 1, approved: int = 1) -> None:
        """Add a map."""
        self.maps[new.id] = (new, set_id, approved)

    def rows(self, query: dict[str, list[str]]) -> list[dict[str, str]]:
        """Return the answer to get_beatmaps. As in the official API, numbers are text."""
        found = []
        for map_id, (new, set_id, approved) in self.maps.items():
            if query.get("b") == [str(map_id)] or query.get("s") == [str(set_id)] or query.get("h") == [new.md5]:
                found.append(
                    {
                        "beatmapset_id": str(set_id),
                        "beatmap_id": str(map_id),
                        "approved": str(approved),
                        "file_md5": new.md5,
                        "version": "Normal",
                        "max_combo": "100",
                        "difficultyrating": "4.2",
                    }
                )
        return found


class _Handler(BaseHTTPRequestHandler):
    standin: StandIn

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.standin.asked.append(self.path)
        time.sleep(self.standin.delay_s)
        if self.standin.fault and not self._fail(self.standin.fault):
            return
        query = parse_qs(parts.query)
        if parts.path == "/api/get_beatmaps":
            self._send(json.dumps(self.standin.rows(query)).encode())
        elif parts.path.startswith("/osu/"):
            map_id = int(parts.path.removeprefix("/osu/"))
            if map_id in self.standin.files:
                self._send(self.standin.files[map_id])
            elif map_id in self.standin.maps:
                self._send(self.standin.maps[map_id][0].data)
            else:
                self._send(b"", 404)
        elif parts.path == "/api/search":
            self._send(json.dumps(self.standin.sets).encode())
        elif parts.path.startswith("/api/s/"):
            wanted = int(parts.path.removeprefix("/api/s/"))
            self._send(json.dumps(next((one for one in self.standin.sets if one["SetID"] == wanted), None)).encode())
        else:
            self._send(b"", 404)

    def _fail(self, fault: str) -> bool:
        """Simulate the fault. Return whether the normal answer follows."""
        if fault == "500":
            self._send(b"", 500)
        elif fault == "451":
            self._send(b"", 451)
        elif fault == "hang":
            time.sleep(patiently(1.5))
        elif fault == "slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(15):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(patiently(0.1))
        elif fault == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(2_000):
                    self.wfile.write(b"x" * 65_536)
        elif fault == "html":
            self._send(b"<html>Please log in</html>")
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "away":
            self.close_connection = True
        elif fault == "once":
            self.standin.fault = ""
            self._send(b"", 500)
        else:
            return True
        return False

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def running() -> Iterator[StandIn]:
    """Run a server until the end of the block."""
    standin = StandIn()
    handler = type("Handler", (_Handler,), {"standin": standin})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    standin.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join(patiently(5))
