"""A page's stream of live parts, read as its script reads it."""

import http.client
import json
from collections.abc import Mapping
from types import TracebackType

import msgspec
from selectolax.lexbor import LexborHTMLParser
from tests.patience import Deadline, patiently
from tests.site.kit import HOST, Browser
from tests.wire.kit import Server

READ_S = 10.0


class ArrivedPart(msgspec.Struct, frozen=True):
    """A new version of a part."""

    part: str
    html: str
    summary: str

    def ids(self, attribute: str) -> list[int]:
        """Return the values of an attribute such as `data-score-id`, in order."""
        nodes = LexborHTMLParser(self.html).css(f"[{attribute}]")
        return [int(node.attributes[attribute] or "0") for node in nodes]


class LiveStream:
    """An open stream. `address` is where it comes from, for servers behind a proxy. `path`: of another stream."""

    def __init__(
        self,
        server: Server,
        parts: str,
        *,
        browser: Browser | None = None,
        address: str | None = None,
        cookie: str = "",
        host: str = HOST,
        path: str = "",
    ) -> None:
        headers: dict[str, str] = {"Host": host, "Accept-Language": "en", **({"Cookie": cookie} if cookie else {})}
        if (origin := address or server.address) is not None:
            headers["X-Forwarded-For"] = origin
        if browser is not None:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patiently(READ_S))
        self._connection.request("GET", path or f"/live?parts={parts}", headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in self._answer.getheaders()}

    def part(self, within_s: float = READ_S) -> ArrivedPart:
        """Return the next part that arrives."""
        deadline = Deadline(within_s)
        while not deadline.passed():
            line = self._answer.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                return msgspec.convert(json.loads(line[6:]), ArrivedPart)
        raise AssertionError(f"no part within {within_s} s")

    def ends(self, within_s: float = READ_S) -> bool:
        """Return whether the server ends the stream within a time."""
        deadline = Deadline(within_s)
        self._connection.sock.settimeout(patiently(within_s))
        while not deadline.passed():
            try:
                if not self._answer.readline():
                    return True
            except TimeoutError:
                return False
        return False

    def __enter__(self) -> "LiveStream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._answer.close()
        self._connection.close()
