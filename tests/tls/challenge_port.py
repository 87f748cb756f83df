"""The port that an authority of tests asks for the answers to challenges."""

import http.server
import threading

from kiai.tls.folder import TlsFolder


class ChallengePort:
    """Plain http on a port of loopback, which answers from the folder that a test sets."""

    def __init__(self) -> None:
        port = self
        self.folder: TlsFolder | None = None
        self.asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.path.rpartition("/")[2]
                port.asked.append(self.headers["Host"].partition(":")[0])
                answer = None if port.folder is None else port.folder.challenge(token)
                self.send_response(404 if answer is None else 200)
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name of the base class)
                """Print nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.number = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer nothing any more."""
        self._server.shutdown()
        self._server.server_close()
