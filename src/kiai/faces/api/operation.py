"""One operation of the API: declared once, served, limited, and described in the OpenAPI document.

query string -> QueryReader -> handler(caller, query) -> reply Struct -> JSON, with the headers every answer has
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal

import falcon.asgi
import msgspec

from kiai.accounts import EVERYBODY, ApiKeys, Viewer
from kiai.clock import Clock
from kiai.errors import KiaiError, NotAllowed, NotAuthenticated
from kiai.faces.api.addresses import Scope, with_parameters
from kiai.faces.api.browsers import allow_origin, answer_options
from kiai.faces.api.compressing import FROM_BYTES, Compression
from kiai.faces.api.errors import Problem, TooMany, problem_of
from kiai.faces.api.params import QueryReader
from kiai.networks import network_of
from kiai.osu.privileges import may
from kiai.realtime.buckets import FailureLimit
from kiai.realtime.rate_limiter import RateLimiter

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
JSON: Final = "application/json; charset=utf-8"
OWNERS_ALONE: Final = "private, no-store"
"""Cache-Control of answers to a request with a key: some of them show what nobody else may see."""
OWN: Final = "own"
"""The permission of what is about the key holder alone: restricted ones may read it, too."""
Method = Literal["GET", "POST", "PUT"]


class Limit(msgspec.Struct, frozen=True):
    """How often one caller may do something."""

    name: str
    count: int
    period_s: float

    @property
    def period(self) -> str:
        """The period in words."""
        return {1.0: "second", 60.0: "minute", 3600.0: "hour"}.get(self.period_s, f"{self.period_s:g} s")


WRONG_KEYS: Final = Limit("wrong-keys", 60, 60.0)
"""How many requests with a wrong API key one address may send: each costs a look-up in the database."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the holder of a key, or an address."""

    viewer: Viewer
    bucket: str
    scope: Scope = {}  # of the request: from where this server is reached

    @property
    def network(self) -> str:
        """From where the request came, whoever holds its key."""
        return network_of(self.scope["kiai.address"])


class Raw(msgspec.Struct, frozen=True):
    """An answer that is not JSON."""

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


class Stream(msgspec.Struct, frozen=True):
    """An answer that goes on for as long as the client listens. `end` is called once nobody does any more."""

    chunks: AsyncIterator[bytes]
    content_type: str
    end: Callable[[], None]


class Operation(msgspec.Struct, frozen=True):
    """What an endpoint is. `handler` gets (caller, query) or, with a body, (caller, query, body).

    One whose reply is `Stream` gets (caller, query, Last-Event-ID or None).
    `permission` (a name of osu.privileges.PERMISSIONS, "" for any unrestricted holder, or `OWN` for any holder) makes
    it need a key. `following` gets (query, reply) of a list and names the parameters of the next page, None at the end.
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
    limit: Limit | None = None
    body: Any = None  # reads the request's body
    body_type: Any = None  # its JSON shape, for the document
    body_content: dict[str, Any] | None = None  # or its content by media type
    path_params: dict[str, dict[str, Any]] = {}  # the JSON schema of each {name} in the path
    version: int = 1
    following: Callable[[Any, Any], dict[str, int | None] | None] | None = None


class Gate:
    """What every request passes: whose key it is, and whether its caller has asked too often.

    `everything` is the limit on all requests together, None where limits are off.
    """

    def __init__(self, api_keys: ApiKeys, limiter: RateLimiter, clock: Clock, everything: Limit | None) -> None:
        self._api_keys = api_keys
        self._limiter = limiter
        self.everything = everything
        self._wrong_keys = FailureLimit(clock.monotonic, limit=WRONG_KEYS.count, period_s=WRONG_KEYS.period_s)

    async def caller(self, req: falcon.asgi.Request, authorization: str | None) -> Caller:
        """Who asks. Raises NotAuthenticated for a wrong key, and TooMany after too many wrong keys of an address."""
        address = req.scope["kiai.address"]
        if authorization is None:
            return Caller(EVERYBODY, network_of(address), req.scope)
        scheme, _, rest = authorization.partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" and rest else authorization
        if self.everything is not None and (retry_s := self._wrong_keys.retry_s(address)):
            raise TooMany(WRONG_KEYS.count, WRONG_KEYS.period, retry_s)
        try:
            viewer = await self._api_keys.holder(key)
        except NotAuthenticated:
            self._wrong_keys.count(address)
            raise
        return Caller(viewer, f"user:{viewer.user_id}", req.scope)

    async def admit(self, caller: Caller, own: Limit | None, resp: falcon.asgi.Response) -> None:
        """Counts the request against the limits. Raises TooMany."""
        if self.everything is None:
            return
        for limit in (self.everything,) if own is None else (self.everything, own):
            taken = await self._limiter.take(
                f"{limit.name}:{caller.bucket}", limit=limit.count, period_s=limit.period_s
            )
            resp.set_header("X-RateLimit-Limit", str(limit.count))
            resp.set_header("X-RateLimit-Remaining", str(taken.remaining))
            resp.set_header("X-RateLimit-Reset", str(int(taken.reset_s + 0.999)))
            if not taken.granted:
                raise TooMany(limit.count, limit.period, taken.reset_s)


class Resource:
    """The Falcon resource of one path: its operations by method."""

    def __init__(
        self,
        operations: list[Operation],
        gate: Gate,
        failure: Callable[[Problem, str], bytes],
        compression: Compression,
    ) -> None:
        self._gate = gate
        self._failure = failure
        self._compression = compression
        self._encode = msgspec.json.Encoder().encode
        self._by_method: dict[str, tuple[Operation, QueryReader[Any]]] = {
            one.method: (one, QueryReader(one.query, strict=one.version > 1)) for one in operations
        }
        self.allow = ", ".join([*self._by_method, *(["HEAD"] if "GET" in self._by_method else []), "OPTIONS"])
        self._watchers: set[asyncio.Task[None]] = set()  # one a stream; the event loop alone would lose them

    async def serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Any method that the path has."""
        req.scope["kiai.route"] = req.uri_template
        found = self._by_method.get(req.method)
        # PERF: falcon's get_header takes 0.8 us to say that there is none, and most requests have none of these.
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
            caller = await self._gate.caller(req, None if key is None else key.decode("latin-1"))
            await self._gate.admit(caller, operation.limit, resp)
            if operation.permission is not None:
                _check_permission(caller.viewer, operation.permission)
            query = reader.read(req.query_string)
            if operation.body is not None:
                reply = await operation.handler(caller, query, await operation.body(req), **path)
            elif operation.reply is Stream:
                reply = await operation.handler(caller, query, req.get_header("Last-Event-ID"), **path)
            else:
                reply = await operation.handler(caller, query, **path)
        except KiaiError as error:
            self.fail(req, resp, problem_of(error, operation.version))
            return
        if isinstance(reply, Stream):
            self._flow(reply, req, resp)
            if key is not None:
                resp.set_header("Cache-Control", OWNERS_ALONE)
            return
        if operation.following is not None:
            self._link(operation.following(query, reply), req, resp)
        self._answer(operation, reply, req, resp, sent.get(b"if-none-match"))
        if key is not None:
            resp.set_header("Cache-Control", OWNERS_ALONE)
        body = resp.data
        if body is not None and len(body) >= FROM_BYTES and not isinstance(reply, Raw):
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
        """Writes the reply, or that it is one the client has: `known` is its If-None-Match."""
        if isinstance(reply, Raw):
            body, resp.content_type = reply.body, reply.content_type
            resp.set_headers(reply.headers)
        else:
            body, resp.content_type = self._encode(reply), JSON
        if not operation.cached:
            resp.set_header("Cache-Control", "no-cache")
            resp.data = body
            return
        etag = f'W/"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
        resp.set_header("ETag", etag)
        if known is not None and (known.strip() == b"*" or etag.encode() in known):
            resp.status = falcon.HTTP_304
            return
        if isinstance(reply, Raw):
            self._part(body, req, resp)
        else:
            resp.data = body

    def _flow(self, reply: Stream, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = reply.content_type
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Accel-Buffering", "no")  # nginx would collect 4 KiB before it passes anything on
        resp.stream = reply.chunks  # for HEAD, too: an answer without any would declare a length of 0
        if req.scope.get("kiai.head", False):
            reply.end()
            return
        req.scope["kiai.stream"] = True
        watcher = asyncio.create_task(_watch(req, reply))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    def _part(self, body: bytes, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The whole file, or the one range that is asked for (RFC 9110, 14); any other Range is ignored."""
        resp.set_header("Accept-Ranges", "bytes")
        asked = _RANGE.fullmatch(req.get_header("Range") or "")
        if asked is None or not any(asked.groups()):
            resp.data = body
            return
        first, last = asked.groups()
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if start > end:
            words = f"Range must lie within the {len(body)} bytes of the file."
            self.fail(req, resp, Problem(416, words, "range_not_satisfiable", param="Range"))
            resp.set_header("Content-Range", f"bytes */{len(body)}")
            resp.delete_header("Content-Disposition")  # the error is no file
            return
        resp.status = falcon.HTTP_206
        resp.set_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
        resp.data = body[start : end + 1]

    def _refuse_method(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if req.method == "OPTIONS":
            answer_options(resp, self.allow)
            return
        resp.set_header("Allow", self.allow)
        words = f"The method {req.method[:16]} is not allowed here; allowed are {self.allow}."
        self.fail(req, resp, Problem(405, words, "method_not_allowed"))

    def fail(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, problem: Problem) -> None:
        """Answers with an error."""
        resp.status = problem.code
        resp.content_type = JSON
        resp.set_headers(problem.headers)
        resp.set_header("Cache-Control", "no-store")
        resp.data = self._failure(problem, req.scope.get("kiai.request_id", ""))


async def _watch(req: falcon.asgi.Request, reply: Stream) -> None:
    """Ends the stream when the client is gone, which who sends is not told, or when everything is said."""
    # Falcon shows what is received in no other way; its own streams of events are heard of only as they send.
    while (await req._receive())["type"] != "http.disconnect":
        pass
    reply.end()


def _check_permission(viewer: Viewer, permission: str) -> None:
    if permission == OWN:
        return
    if not viewer.priv:
        raise NotAllowed("unrestricted")
    if permission and not may(viewer.priv, permission):
        raise NotAllowed(permission)
