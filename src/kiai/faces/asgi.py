"""The shapes of ASGI and Falcon that the faces share."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import falcon.asgi
from falcon.constants import COMBINED_METHODS

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
FalconApp = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]

GET_ONLY: Final = "GET, HEAD"


class ClientGone(OSError):
    """Raised by `send` to end an answer in pieces that nobody receives any more."""


class Wire(Protocol):
    """What the server knows of the answer to one request; the server puts it into the scope as `kiai.wire`."""

    status_sent: int | None
    """The status in the head that left for the client; None while no head has left."""
    response_complete: bool
    """The whole answer has left."""
    disconnected: bool
    """The client is gone, or was refused meanwhile: nothing leaves any more."""
    open_ended: bool
    """The answer has no declared length and goes on for as long as the client listens."""

    def cut(self) -> None:
        """Closes the connection on an answer that will not be finished."""


def falcon_app(allow: Mapping[str, str] | None = None) -> FalconApp:
    """A Falcon application that refuses with an empty body and leaves what is our own fault to the front.

    `allow` is the Allow header of each route's 405; a route that it does not name has GET and HEAD.
    """
    app: FalconApp = falcon.asgi.App()
    allowed = allow or {}

    async def refused(
        req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, params: dict[str, str]
    ) -> None:
        template = req.uri_template or "other"
        req.scope.setdefault("kiai.route", template)
        resp.status = status_of(req, error)
        resp.content_type = "text/plain; charset=utf-8"
        if resp.status == falcon.HTTP_405:
            resp.set_header("Allow", allowed.get(template, GET_ONLY))

    async def failed(
        req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, str]
    ) -> None:
        raise error

    app.add_error_handler(Exception, failed)
    app.add_error_handler(falcon.HTTPError, refused)
    return app


def status_of(req: falcon.asgi.Request, error: falcon.HTTPError) -> str:
    """The status of what Falcon refuses: 405 for a method it does not know, too, which it would answer with 400."""
    return falcon.HTTP_405 if req.method not in COMBINED_METHODS else falcon.code_to_http_status(error.status_code)


async def no_options(req: falcon.asgi.Request, resp: falcon.asgi.Response, **_: str) -> None:
    """`on_options` of a resource that is not for other sites: refused like any other method it does not have."""
    raise falcon.HTTPMethodNotAllowed([])
