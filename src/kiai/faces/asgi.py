"""ASGI and Falcon types and helpers that the faces share."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import falcon.asgi
from falcon.constants import COMBINED_METHODS

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
FalconApp = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]

GET_ONLY: Final = "GET, HEAD"


class ClientGone(OSError):
    """Raised by `send` to stop a streamed answer after its client has disconnected."""


class Wire(Protocol):
    """The state of the answer to one request. The server puts it into the scope as `kiai.wire`."""

    status_sent: int | None
    """The status of the head that was written to the socket; None before that."""
    response_complete: bool
    """Whether the whole answer was written."""
    disconnected: bool
    """Whether the client has disconnected or the guard has refused the request. Nothing more is written."""
    open_ended: bool
    """Whether the answer has no declared length, as a stream that lasts until its client disconnects."""

    def cut(self) -> None:
        """Close the connection in the middle of an answer."""


def falcon_app(allow: Mapping[str, str] | None = None) -> FalconApp:
    """Return a Falcon application that answers HTTP errors with an empty body and raises all other errors.

    `allow` maps a route to the Allow header of its 405. A route without an entry allows GET and HEAD.
    """
    app: FalconApp = falcon.asgi.App()
    allowed = allow or {}

    async def on_http_error(
        req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, params: dict[str, str]
    ) -> None:
        template = req.uri_template or "other"
        req.scope.setdefault("kiai.route", template)
        resp.status = status_of(req, error)
        resp.content_type = "text/plain; charset=utf-8"
        if resp.status == falcon.HTTP_405:
            resp.set_header("Allow", allowed.get(template, GET_ONLY))

    async def on_error(
        req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, str]
    ) -> None:
        raise error

    # Falcon's default handler answers 500 itself, and the front would log no cause.
    app.add_error_handler(Exception, on_error)
    app.add_error_handler(falcon.HTTPError, on_http_error)
    return app


def status_of(req: falcon.asgi.Request, error: falcon.HTTPError) -> str:
    """Return the status line of a request that Falcon refuses.

    It is 405 for a method that Falcon does not know, for which Falcon itself has 400.
    """
    return falcon.HTTP_405 if req.method not in COMBINED_METHODS else falcon.code_to_http_status(error.status_code)


async def no_options(req: falcon.asgi.Request, resp: falcon.asgi.Response, **_: str) -> None:
    """Refuse OPTIONS with 405. As `on_options` of a resource, it replaces Falcon's answer to cross-origin requests."""
    raise falcon.HTTPMethodNotAllowed([])
