"""What browsers need of every answer of the API: CORS.

No cookie has a meaning here: a request is authorised by its `Authorization` header alone. So any origin may read any
answer, and may send its request with credentials, which `fetch` and axios do for some pages whether they mean it or
not. A browser accepts that only from an answer that names the origin; `*` is for everybody else.
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
PREFLIGHT_S: Final = "86400"
VARY: Final = "Accept-Encoding, Authorization, Origin"
"""Sent with every answer, also to requests without these headers: a cache must not hand it to those that have them."""

_ORIGIN: Final = re.compile(rb"null|[a-z][a-z0-9+.-]{0,31}://[A-Za-z0-9._:\[\]-]{1,255}")


def allow_origin(origin: bytes | None, resp: falcon.asgi.Response) -> None:
    """Lets the page of this origin read the answer and those of its headers that scripts may want."""
    # PERF: header by header, which takes half as long as set_headers.
    resp.set_header("Vary", VARY)
    if origin is None or not _ORIGIN.fullmatch(origin):
        resp.set_header("Access-Control-Allow-Origin", "*")
        return
    resp.set_header("Access-Control-Allow-Origin", origin.decode("ascii"))
    resp.set_header("Access-Control-Allow-Credentials", "true")
    resp.set_header("Access-Control-Expose-Headers", EXPOSED)


def origin_of(req: falcon.asgi.Request) -> bytes | None:
    """The origin of the page that asks, None for a request of no page."""
    for name, value in req.scope["headers"]:
        if name == b"origin":
            found: bytes = value
            return found
    return None


def answer_options(resp: falcon.asgi.Response, allow: str) -> None:
    """Answers OPTIONS, which browsers ask before a request that is not simple. `allow` lists the path's methods."""
    resp.set_headers(
        (
            ("Allow", allow),
            ("Access-Control-Allow-Methods", allow),
            ("Access-Control-Allow-Headers", ALLOWED),
            ("Access-Control-Max-Age", PREFLIGHT_S),
        )
    )
    resp.status = falcon.HTTP_204
