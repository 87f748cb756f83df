"""The CORS headers that browsers require on every response of the API.

The API uses no cookies: only the `Authorization` header authenticates a request. So every origin may read every
response, also for requests with credentials, which `fetch` and axios send for some pages by default. A browser accepts
such a response only if it names the origin. Requests without an origin get `*`.
"""

import re
from typing import Final

import falcon
import falcon.asgi

EXPOSED: Final = (
    "ETag, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Content-Disposition, "
    "X-Request-Id, Link"
)
ALLOWED: Final = "Authorization, Content-Type, If-None-Match, Last-Event-ID, X-Requested-With, Cache-Control"
PREFLIGHT_S: Final = "86400"  # one day, the maximum that Firefox honours; Chromium caps it at two hours
VARY: Final = "Accept-Encoding, Authorization, Origin"
"""Sent with every response, also if the request has none of these headers: a cache must not use it for others."""

# The origin is copied into a response header, so only characters of a URL's scheme and host are accepted.
_ORIGIN: Final = re.compile(rb"null|[a-z][a-z0-9+.-]{0,31}://[A-Za-z0-9._:\[\]-]{1,255}")


_FOR_ALL: Final = {b"vary": VARY.encode(), b"access-control-allow-origin": b"*"}


def cors_headers(origin: bytes | None) -> dict[bytes, bytes]:
    """Return the headers that allow pages of this origin to read the response and the headers in `EXPOSED`."""
    headers = _FOR_ALL.copy()
    if origin is not None and _ORIGIN.fullmatch(origin):
        headers[b"access-control-allow-origin"] = origin
        headers[b"access-control-allow-credentials"] = b"true"
        headers[b"access-control-expose-headers"] = EXPOSED.encode()
    return headers


def allow_origin(origin: bytes | None, resp: falcon.asgi.Response) -> None:
    """Set the headers of `cors_headers`."""
    for name, value in cors_headers(origin).items():
        resp.set_header(name.decode(), value.decode())


def origin_of(req: falcon.asgi.Request) -> bytes | None:
    """Return the origin of the page that sent the request, or None if no page sent it."""
    for name, value in req.scope["headers"]:
        if name == b"origin":
            found: bytes = value
            return found
    return None


def answer_options(resp: falcon.asgi.Response, allow: str) -> None:
    """Answer OPTIONS, which browsers send as a preflight of requests with a key. `allow` lists the path's methods."""
    resp.set_headers(
        (
            ("Allow", allow),
            ("Access-Control-Allow-Methods", allow),
            ("Access-Control-Allow-Headers", ALLOWED),
            ("Access-Control-Max-Age", PREFLIGHT_S),
        )
    )
    resp.status = falcon.HTTP_204
