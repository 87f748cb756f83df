"""The declaration of an API operation.

The same declaration drives routing, authentication, rate limits and the OpenAPI document. `answering.py` follows the
path of a request.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, Literal

import msgspec

from kiai.accounts import Viewer
from kiai.faces.api.copies import Besides
from kiai.faces.api.urls import Scope
from kiai.faces.rate_limit import RateLimit
from kiai.networks import network_of

JSON: Final = "application/json; charset=utf-8"
OWN: Final = "own"
"""The permission for data about the key's holder, which restricted players may read, too."""
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Caller(msgspec.Struct, frozen=True):
    """The sender of a request: the holder of a key, or an address. `bucket` names its rate limits.

    `key_id`: the id of the key, 0 without one.
    """

    viewer: Viewer
    bucket: str
    scope: Scope = {}  # the ASGI scope of the request, for links to this server
    key_id: int = 0

    @property
    def network(self) -> str:
        """The network of the request's address, also for requests with a key."""
        return network_of(self.scope["kiai.address"])


class BinaryReply(msgspec.Struct, frozen=True):
    """A response that is not JSON."""

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


class StreamReply(msgspec.Struct, frozen=True):
    """A response that lasts until the client disconnects. `end` is called at that moment."""

    chunks: AsyncIterator[bytes]
    content_type: str
    end: Callable[[], None]


class Operation(msgspec.Struct, frozen=True):
    """The declaration of an endpoint.

    `handler` gets (caller, query); with a body it gets (caller, query, body); with `StreamReply` as reply it gets
    (caller, query, Last-Event-ID or None).
    An operation with a `permission` requires a key: a name in osu.privileges.PERMISSIONS, "" for every unrestricted
    holder, or `OWN` for every holder.
    `from_rows`: for a caller without a key, the query and the rows of the database determine the reply, so a copy of it
    is sent as long as nothing is committed (`copies.py`). Its handler only reads.
    `besides` gets the query of such an operation and returns what the reply depends on in addition, e.g. a number in
    shared state; None if the rows and this do not determine the reply.
    `success` is the status of a successful response: 200, or 201 for a new object.
    `following` gets (query, reply) of a list and returns the parameters that change for the next page, or None at the
    end of the list.
    """

    path: str
    method: Method
    summary: str
    query: type[msgspec.Struct]
    reply: Any
    handler: Callable[..., Awaitable[Any]]
    tag: str
    description: str = ""
    permission: str | None = None
    cached: bool = False
    from_rows: bool = False
    besides: Callable[[Any], Coroutine[Any, Any, Besides]] | None = None
    limit: RateLimit | None = None
    body: Any = None  # a coroutine function that reads the request's body
    body_type: Any = None  # the body's Struct in the OpenAPI document, if the body is JSON
    body_optional: bool = False  # whether the body may be empty
    body_content: dict[str, Any] | None = None  # otherwise the body's OpenAPI content by media type
    path_params: dict[str, dict[str, Any]] = {}  # the JSON schema of each {name} in the path
    version: int = 1
    following: Callable[[Any, Any], dict[str, int | None] | None] | None = None
    success: Literal[200, 201] = 200
