"""Plain http next to https: redirects, and the answers to ACME challenges."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from kiai.faces.asgi import App, Receive, Scope, Send

CHALLENGES: Final = "/.well-known/acme-challenge/"
TLS_PORT: Final = 443
# The host without its port. Everything else could send a browser elsewhere than to the host that it asked for.
_HOST: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def plain_http(domain: str, port: int, challenge: Callable[[str], Awaitable[bytes | None]]) -> App:
    """Return the application: 308 to the same host, path and query under https at `port`.

    `challenge` returns the answer for the token of a challenge, or None. A request without a valid host is redirected
    to `domain`.
    """
    suffix = b"" if port == TLS_PORT else b":%d" % port

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(CHALLENGES):
            scope["kiai.route"] = "challenge"
            answer = await challenge(path.removeprefix(CHALLENGES))
            status, headers, body = 200 if answer is not None else 404, [_TEXT], answer or b""
        else:
            scope["kiai.route"] = "redirect"
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            found = _HOST.fullmatch(host)
            target = scope["raw_path"].partition(b"?")[0]
            # An absolute target (http://host/path) has a host of its own, and `//` would begin one.
            target = b"/" + target.lstrip(b"/") if target.startswith(b"/") else b"/"
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            place = b"https://" + (found[1] if found else domain.encode()) + suffix + target + query
            status, headers, body = 308, [(b"location", place)], b""
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})

    return serve


_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
