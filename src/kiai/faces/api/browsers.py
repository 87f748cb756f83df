"""What browsers need of every answer of the API: CORS (public-api 5a).

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
VARY: Final = "Accept-Encoding, Origin"
"""Sent with every answer, also to requests without these headers: a cache must not hand it to those that have them."""

_ORIGIN: Final = re.compile(r"null|[a-z][a-z0-9+.-]{0,31}://[A-Za-z0-9._:\[\]-]{1,255}")
_EVERYBODY: Final = (("Access-Control-Allow-Origin", "*"), ("Vary", VARY))


def allow_origin(req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
    """Lets the page that asks read the answer and those of its headers that scripts may want."""
    origin = req.get_header("Origin")
    if origin is None or not _ORIGIN.fullmatch(origin):
        resp.set_headers(_EVERYBODY)
        return
    resp.set_headers(
        (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", EXPOSED),
            ("Vary", VARY),
        )
    )


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
