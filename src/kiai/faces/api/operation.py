"""The declaration of an API operation, and the resource that serves it.

The same declaration drives routing, authentication, rate limits and the OpenAPI document. A request takes this path:

query string -> QueryReader -> handler(caller, query) -> reply Struct -> JSON with the headers of every response
"""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal

import falcon.asgi
import msgspec

from kiai.accounts import EVERYBODY, ApiKeys, Viewer
from kiai.clock import Clock
from kiai.errors import KiaiError, NotAllowed, NotAuthenticated, UnderMaintenance
from kiai.faces.api.cors import allow_origin, answer_options
from kiai.faces.api.errors import ErrorResponse, TooManyRequests, error_response_of
from kiai.faces.api.params import QueryReader
from kiai.faces.api.urls import Scope, with_parameters
from kiai.faces.compression import FROM_BYTES, Compression
from kiai.faces.rate_limit import RateLimit
from kiai.faces.streams import StreamSender
from kiai.networks import network_of
from kiai.osu.privileges import may
from kiai.realtime.buckets import FailureLimit
from kiai.realtime.rate_limiter import RateLimiter

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
JSON: Final = "application/json; charset=utf-8"
PRIVATE: Final = "private, no-store"
"""Cache-Control of responses to a request with a key, because some contain data that only the key's holder may see."""
OWN: Final = "own"
"""The permission for data about the key's holder, which restricted players may read, too."""
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


WRONG_KEYS: Final = RateLimit("wrong-keys", 60, 60.0)
"""Number of requests with a wrong API key that an address may send. Each one costs a lookup in the database."""


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
    limit: RateLimit | None = None
    body: Any = None  # a coroutine function that reads the request's body
    body_type: Any = None  # the body's Struct in the OpenAPI document, if the body is JSON
    body_content: dict[str, Any] | None = None  # otherwise the body's OpenAPI content by media type
    path_params: dict[str, dict[str, Any]] = {}  # the JSON schema of each {name} in the path
    version: int = 1
    following: Callable[[Any, Any], dict[str, int | None] | None] | None = None
    success: Literal[200, 201] = 200


class ApiGateway:
    """Authenticates requests and applies rate limits.

    `everything` is the limit on all requests of a caller together, or None if rate limits are off.
    """

    def __init__(
        self,
        api_keys: ApiKeys,
        limiter: RateLimiter,
        clock: Clock,
        everything: RateLimit | None,
        under_maintenance: Callable[[], bool],
        streams: StreamSender,
    ) -> None:
        self._api_keys = api_keys
        self._limiter = limiter
        self.everything = everything
        self.streams = streams
        self._under_maintenance = under_maintenance
        self._wrong_keys = FailureLimit(clock.monotonic, limit=WRONG_KEYS.count, period_s=WRONG_KEYS.period_s)

    async def caller(self, req: falcon.asgi.Request, authorization: str | None) -> Caller:
        """Return the sender of a request.

        Raises NotAuthenticated for a wrong key, and TooManyRequests if the address has sent too many wrong keys.
        """
        address = req.scope["kiai.address"]
        if authorization is None:
            return Caller(EVERYBODY, network_of(address), req.scope)
        # The documented forms are `Bearer <key>` and the bare key.
        scheme, _, rest = authorization.partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" and rest else authorization
        # Before the lookup: an address that guesses keys must not reach the database.
        if self.everything is not None and (retry_s := self._wrong_keys.retry_s(address)):
            raise TooManyRequests(WRONG_KEYS.count, WRONG_KEYS.period, retry_s)
        try:
            key_id, viewer = await self._api_keys.identified(key)
        except NotAuthenticated:
            self._wrong_keys.count(address)
            raise
        return Caller(viewer, f"user:{viewer.user_id}", req.scope, key_id)

    def check_maintenance(self, caller: Caller, method: Method) -> None:
        """Raise UnderMaintenance for a request that may change something during maintenance, except from staff."""
        if method != "GET" and self._under_maintenance() and not caller.viewer.is_staff:
            raise UnderMaintenance

    async def check_rate_limits(self, caller: Caller, own: RateLimit | None, resp: falcon.asgi.Response) -> None:
        """Count the request against the limits and set the X-RateLimit headers. Raises TooManyRequests."""
        if self.everything is None:
            return
        # The operation's own limit is the stricter one. It comes last, so that the headers describe it.
        for limit in (self.everything,) if own is None else (self.everything, own):
            taken = await self._limiter.consume(
                f"{limit.name}:{caller.bucket}", limit=limit.count, period_s=limit.period_s
            )
            resp.set_header("X-RateLimit-Limit", str(limit.count))
            resp.set_header("X-RateLimit-Remaining", str(taken.remaining))
            resp.set_header("X-RateLimit-Reset", str(int(taken.reset_s + 0.999)))  # rounded up to whole seconds
            if not taken.granted:
                raise TooManyRequests(limit.count, limit.period, taken.reset_s)


class Resource:
    """The Falcon resource of one path: its operations by method."""

    def __init__(
        self,
        operations: list[Operation],
        gateway: ApiGateway,
        failure: Callable[[ErrorResponse, str], bytes],
        compression: Compression,
    ) -> None:
        self._gateway = gateway
        self._failure = failure
        self._compression = compression
        self._encode = msgspec.json.Encoder().encode
        self._by_method: dict[str, tuple[Operation, QueryReader[Any]]] = {
            operation.method: (operation, QueryReader(operation.query, strict=operation.version > 1))
            for operation in operations
        }
        self.allow = ", ".join([*self._by_method, *(["HEAD"] if "GET" in self._by_method else []), "OPTIONS"])

    async def serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Serve a request of any method: authenticate, apply rate limits, run the handler and encode the reply."""
        req.scope["kiai.route"] = req.uri_template
        found = self._by_method.get(req.method)
        # PERF: Falcon's get_header takes 0.8 us for an absent header, and most requests lack all of these.
        sent: dict[bytes, bytes] = dict(req.scope["headers"])
        allow_origin(sent.get(b"origin"), resp)
        if found is None:
            self._refuse_method(req, resp)
            return
        operation, reader = found
        try:
            key = sent.get(b"authorization")
            if operation.permission is not None and key is None:
                raise NotAuthenticated
            caller = await self._gateway.caller(req, None if key is None else key.decode("latin-1"))
            # Before the query and the body are read, so that invalid requests count as well.
            await self._gateway.check_rate_limits(caller, operation.limit, resp)
            if operation.permission is not None:
                _check_permission(caller.viewer, operation.permission)
            self._gateway.check_maintenance(caller, operation.method)
            query = reader.read(req.query_string)
            if operation.body is not None:
                reply = await operation.handler(caller, query, await operation.body(req), **path)
            elif operation.reply is StreamReply:
                reply = await operation.handler(caller, query, req.get_header("Last-Event-ID"), **path)
            else:
                reply = await operation.handler(caller, query, **path)
        except KiaiError as error:
            self.fail(req, resp, error_response_of(error, operation.version))
            return
        if isinstance(reply, StreamReply):
            self._stream(reply, req, resp)
            if key is not None:
                resp.set_header("Cache-Control", PRIVATE)
            return
        if operation.following is not None:
            self._link(operation.following(query, reply), req, resp)
        self._answer(operation, reply, req, resp, sent.get(b"if-none-match"))
        if key is not None:
            resp.set_header("Cache-Control", PRIVATE)
        body = resp.data
        # Files are compressed already, and Range counts their uncompressed bytes.
        if body is not None and len(body) >= FROM_BYTES and not isinstance(reply, BinaryReply):
            await self._compression.apply(req, resp)

    on_get = on_post = on_put = on_delete = on_patch = on_options = on_head = serve

    def _link(
        self, changes: dict[str, int | None] | None, req: falcon.asgi.Request, resp: falcon.asgi.Response
    ) -> None:
        if changes is not None:
            resp.set_header("Link", f'<{with_parameters(req.scope, req.query_string, changes)}>; rel="next"')

    def _answer(
        self,
        operation: Operation,
        reply: Any,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        known: bytes | None,
    ) -> None:
        """Write the reply, or status 304 if `known`, the value of If-None-Match, contains its ETag."""
        if isinstance(reply, BinaryReply):
            body, resp.content_type = reply.body, reply.content_type
            resp.set_headers(reply.headers)
        else:
            body, resp.content_type = self._encode(reply), JSON
        if operation.success == 201:
            resp.status = falcon.HTTP_201
        if not operation.cached:
            resp.set_header("Cache-Control", "no-cache")
            resp.data = body
            return
        # Weak, because the compressed and the plain body have the same ETag.
        etag = f'W/"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
        resp.set_header("ETag", etag)
        if known is not None and (known.strip() == b"*" or etag.encode() in known):
            resp.status = falcon.HTTP_304
            return
        if isinstance(reply, BinaryReply):
            self._part(body, req, resp)
        else:
            resp.data = body

    def _stream(self, reply: StreamReply, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        self._gateway.streams.send(req, resp, reply)

    def _part(self, body: bytes, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Write the requested range of the file (RFC 9110, 14). A Range of several parts or of another unit is ignored.

        Without a Range that is understood, write the whole file.
        """
        resp.set_header("Accept-Ranges", "bytes")
        requested = _RANGE.fullmatch(req.get_header("Range") or "")
        if requested is None or not any(requested.groups()):
            resp.data = body
            return
        first, last = requested.groups()
        # `bytes=-500` means the last 500 bytes.
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if start > end:
            text = f"Range must be within the {len(body)} bytes of the file."
            self.fail(req, resp, ErrorResponse(416, text, "range_not_satisfiable", param="Range"))
            resp.set_header("Content-Range", f"bytes */{len(body)}")
            resp.delete_header("Content-Disposition")  # a browser would save the error under the replay's name
            return
        resp.status = falcon.HTTP_206
        resp.set_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
        resp.data = body[start : end + 1]

    def _refuse_method(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if req.method == "OPTIONS":
            answer_options(resp, self.allow)
            return
        resp.set_header("Allow", self.allow)
        text = method_not_allowed(req.method, self.allow)
        self.fail(req, resp, ErrorResponse(405, text, "method_not_allowed"))

    def fail(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, problem: ErrorResponse) -> None:
        """Write an error response."""
        resp.status = problem.code
        resp.content_type = JSON
        resp.set_headers(problem.headers)
        resp.set_header("Cache-Control", "no-store")
        resp.data = self._failure(problem, req.scope.get("kiai.request_id", ""))


def method_not_allowed(method: str, allowed: str) -> str:
    """Return the text of a 405. Of a method that is not HTTP's it repeats the first 16 characters."""
    return f"The method {method[:16]} is not allowed. Allowed methods: {allowed}."


def _check_permission(viewer: Viewer, permission: str) -> None:
    if permission == OWN:
        return
    if not viewer.priv:
        raise NotAllowed("unrestricted")
    if permission and not may(viewer.priv, permission):
        raise NotAllowed(permission)
