"""The answer to a request for an operation, independent of how the request arrived.

A request takes this path:

query string -> QueryReader -> handler(caller, query) -> reply Struct -> JSON with the headers of every response

Two modules call it: `short_way.py` for reads, straight from ASGI, and `resource.py` for everything else, through Falcon
(docs/decisions/015).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from kiai.at_once import result_at_once
from kiai.errors import KiaiError, NotAuthenticated
from kiai.faces.api.copies import Copies, Copy, Stamp, Versioned, etag_of
from kiai.faces.api.cors import cors_headers
from kiai.faces.api.errors import ErrorResponse, error_response_of
from kiai.faces.api.gateway import ApiGateway, check_permission
from kiai.faces.api.operation import JSON, BinaryReply, Operation, StreamReply
from kiai.faces.api.params import QueryReader
from kiai.faces.api.urls import Scope, with_parameters
from kiai.faces.compression import FROM_BYTES, Compression, accepts_gzip
from kiai.faces.quick import QuickAnswer, QuickHead
from kiai.faces.single_write import checked
from kiai.networks import network_of

PRIVATE: Final = b"private, no-store"
"""Cache-Control of responses to a request with a key, because some contain data that only the key's holder may see."""
Failure = Callable[[ErrorResponse, str], bytes]
"""Returns the body of an error, from the error and the id of the request."""

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_JSON: Final = JSON.encode()
_JSON_LINE: Final = b"content-type: %b\r\n" % _JSON
_SPECIAL: Final = frozenset({b"authorization", b"origin", b"if-none-match"})
"""Headers of a request whose answer from a copy has other headers or another status."""


class Request:
    """The parts of a request that an operation uses. `sent` has the last value of each header, by name in lower case.

    `read_body` reads the body with the function of the operation; None for a request without a body.
    """

    __slots__ = ("query", "read_body", "scope", "sent")

    def __init__(
        self,
        scope: Scope,
        sent: dict[bytes, bytes],
        query: str,
        read_body: Callable[[Any], Awaitable[Any]] | None = None,
    ) -> None:
        self.scope = scope
        self.sent = sent
        self.query = query
        self.read_body = read_body

    def header(self, name: bytes) -> str | None:
        """Return the value of a header; of a repeated one all values with commas between them."""
        if name not in self.sent:
            return None
        return b",".join(value for other, value in self.scope["headers"] if other == name).decode("latin-1")


class ApiAnswer:
    """A response. The names of `headers` are in lower case. With a `stream`, the body is sent piece by piece."""

    __slots__ = ("body", "headers", "status", "stream")

    def __init__(self, origin: bytes | None) -> None:
        self.status = 200
        self.headers = cors_headers(origin)
        self.body = b""
        self.stream: StreamReply | None = None


class Served:
    """An operation with the reader of its query, the form of its errors, and the first headers of its quick answers."""

    __slots__ = ("failure", "head", "operation", "reader")

    def __init__(self, operation: Operation, failure: Failure) -> None:
        self.operation = operation
        self.reader: QueryReader[Any] = QueryReader(operation.query, strict=operation.version > 1)
        self.failure = failure
        self.head = QuickHead(operation.success, [*cors_headers(None).items()])


class Answering:
    """Authenticates requests, applies rate limits, runs handlers and encodes replies."""

    def __init__(self, gateway: ApiGateway, compression: Compression, copies: Copies) -> None:
        self.gateway = gateway
        self.copies = copies
        self._compression = compression
        self._encode = msgspec.json.Encoder().encode

    async def fill(self, answer: ApiAnswer, served: Served, request: Request, path: dict[str, str]) -> None:
        """Make `answer` the answer to a request. Raises only errors that are bugs of the server."""
        operation, gateway, sent = served.operation, self.gateway, request.sent
        try:
            key = sent.get(b"authorization")
            if operation.permission is not None and key is None:
                raise NotAuthenticated
            caller = await gateway.caller(request.scope, None if key is None else key.decode("latin-1"))
            # Before the query and the body are read, so that invalid requests count as well.
            await gateway.check_rate_limits(caller, operation.limit, answer.headers)
            if operation.permission is not None:
                check_permission(caller.viewer, operation.permission)
            gateway.check_maintenance(caller, operation.method)
            query = served.reader.read(request.query)
            # Only without a key: the holder of one may see more than the public.
            stamp = await self._stamp(operation, query) if operation.from_rows and key is None else None
            if stamp is not None:
                copy = self.copies.unchanged((operation.path, query), stamp)
                if copy is not None:
                    await self._send_copy(answer, served, request, query, copy)
                    return
            if operation.body is not None:
                assert request.read_body is not None
                reply = await operation.handler(caller, query, await request.read_body(operation.body), **path)
            elif operation.reply is StreamReply:
                reply = await operation.handler(caller, query, request.header(b"last-event-id"), **path)
            else:
                reply = await operation.handler(caller, query, **path)
            if isinstance(reply, Versioned):
                copy = await self._copy_of(served, request, query, reply, stamp)
        except KiaiError as error:
            fail(answer, error_response_of(error, operation.version), served.failure, request.scope)
            return
        if isinstance(reply, StreamReply):
            answer.stream = reply
            return
        if isinstance(reply, Versioned):
            assert copy is not None
            await self._send_copy(answer, served, request, query, copy)
        else:
            await self._reply(answer, served, request, query, reply)
        if key is not None:
            answer.headers[b"cache-control"] = PRIVATE

    def from_copy(self, served: Served, request: Request, body_max: int) -> QuickAnswer | None:
        """Return the answer of `fill` to a request of an operation with `from_rows`, if a copy of it is valid.

        Return None, and count nothing against the rate limits, for all other requests: without such a copy, over the
        limit, with a key, with a body of the answer above `body_max` bytes, and those whose answer needs a thread or
        other headers than most.
        """
        # PERF: a request for a map takes 15 us here, without a socket, and 29 by `fill`.
        operation, sent = served.operation, request.sent
        if operation.limit is not None or not _SPECIAL.isdisjoint(sent):
            return None
        key = self.copies.key_of(operation.path, request.query)
        if key is None:
            try:
                key = operation.path, served.reader.read(request.query)
            except KiaiError:
                return None
        stamp = self._stamp_at_once(operation, key[1])
        copy = None if stamp is None else self.copies.unchanged(key, stamp)
        if copy is None:
            return None
        body, encoding = copy.body, b""
        if len(body) >= FROM_BYTES and accepts_gzip(request.header(b"accept-encoding")):
            body, encoding = copy.zipped, b"content-encoding: gzip\r\n"
        if not body or len(body) > body_max:
            return None
        link = b""
        if copy.following is not None:
            target = _link_to(request, copy.following)
            link = checked([b"link: %b\r\n" % target], [(b"link", target)])
        limits = self.gateway.check_at_once(network_of(request.scope["kiai.address"]))
        if limits is None:
            return None
        caching = b"etag: %b\r\n" % copy.etag if operation.cached else b"cache-control: no-cache\r\n"
        return QuickAnswer(served.head, body, b"%b%b%b%b%b" % (limits, link, _JSON_LINE, caching, encoding))

    def _stamp_at_once(self, operation: Operation, query: Any) -> Stamp | None:
        """Return what `_stamp` returns, or None if it has to wait."""
        stamp = self.copies.stamp()
        if stamp is None or operation.besides is None:
            return None if stamp is None else (stamp, None)
        besides = result_at_once(operation.besides(query))
        return None if besides is None else (stamp, besides)

    async def _stamp(self, operation: Operation, query: Any) -> Stamp | None:
        """Return what determines the reply of an operation with `from_rows`, or None if that is unknown."""
        stamp = self.copies.stamp()
        if stamp is None or operation.besides is None:
            return None if stamp is None else (stamp, None)
        besides = await operation.besides(query)
        return None if besides is None else (stamp, besides)

    async def _copy_of(
        self, served: Served, request: Request, query: Any, reply: Versioned, stamp: Stamp | None
    ) -> Copy:
        """Return the copy with the version of the reply. Make it if it does not exist."""
        copies, key = self.copies, (served.operation.path, query)
        copy = copies.same(key, reply.version)
        if copy is None:
            made, following = await reply.make(), served.operation.following
            more = None if following is None else following(query, made)
            copy = Copy(reply.version, self._encode(made), more, request.query)
            copies.store(key, copy)
        # Everything was read from one state if its stamp is still the same.
        if stamp is not None and await self._stamp(served.operation, query) == stamp:
            copies.confirm(key, copy, stamp, reply.subjects)
        else:
            copy.stamp = copy.mark = None
        return copy

    async def _send_copy(self, answer: ApiAnswer, served: Served, request: Request, query: Any, copy: Copy) -> None:
        """Write a copy. The headers are those of `_reply`, in the same order."""
        headers = answer.headers
        if copy.following is not None:
            answer.headers[b"link"] = _link_to(request, copy.following)
        headers[b"content-type"] = _JSON
        answer.status = served.operation.success
        if served.operation.cached:
            headers[b"etag"] = copy.etag
            if _knows(request, copy.etag):
                answer.status = 304
                return
        else:
            headers[b"cache-control"] = b"no-cache"
        answer.body = copy.body
        if len(copy.body) >= FROM_BYTES and accepts_gzip(request.header(b"accept-encoding")):
            zipped = copy.zipped or await self._compression.compressed(copy.body)
            if zipped is not None:
                answer.body = zipped
                headers[b"content-encoding"] = b"gzip"
                self.copies.zip((served.operation.path, query), copy, zipped)

    async def _reply(self, answer: ApiAnswer, served: Served, request: Request, query: Any, reply: Any) -> None:
        """Write the reply, or status 304 if If-None-Match contains its ETag."""
        operation, headers = served.operation, answer.headers
        if operation.following is not None:
            changes = operation.following(query, reply)
            if changes is not None:
                answer.headers[b"link"] = _link_to(request, changes)
        if isinstance(reply, BinaryReply):
            body, headers[b"content-type"] = reply.body, reply.content_type.encode()
            headers.update((name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers)
        else:
            body, headers[b"content-type"] = self._encode(reply), _JSON
        answer.status = operation.success
        if operation.cached:
            etag = etag_of(body)
            headers[b"etag"] = etag
            if _knows(request, etag):
                answer.status = 304
                return
            if isinstance(reply, BinaryReply):
                _part(answer, body, served.failure, request)
                return
        else:
            headers[b"cache-control"] = b"no-cache"
        answer.body = body
        # Files are compressed already, and Range counts their uncompressed bytes.
        compressible = len(body) >= FROM_BYTES and not isinstance(reply, BinaryReply)
        if compressible and accepts_gzip(request.header(b"accept-encoding")):
            zipped = await self._compression.compressed(body)
            if zipped is not None:
                answer.body = zipped
                headers[b"content-encoding"] = b"gzip"


def _knows(request: Request, etag: bytes) -> bool:
    """Return whether If-None-Match contains the ETag. The comparison is weak (RFC 9110, 13.1.2)."""
    known = request.header(b"if-none-match")
    return known is not None and (known.strip() == "*" or etag.decode().removeprefix("W/") in known)


def _link_to(request: Request, changes: dict[str, int | None]) -> bytes:
    return f'<{with_parameters(request.scope, request.query, changes)}>; rel="next"'.encode("latin-1")


def _part(answer: ApiAnswer, body: bytes, failure: Failure, request: Request) -> None:
    """Write the requested range of the file (RFC 9110, 14). A Range of several parts or of another unit is ignored.

    Without a Range that is understood, write the whole file.
    """
    headers = answer.headers
    headers[b"accept-ranges"] = b"bytes"
    requested = _RANGE.fullmatch(request.header(b"range") or "")
    if requested is None or not any(requested.groups()):
        answer.body = body
        return
    first, last = requested.groups()
    # `bytes=-500` means the last 500 bytes.
    start = int(first) if first else max(0, len(body) - int(last))
    end = min(int(last), len(body) - 1) if first and last else len(body) - 1
    if start > end:
        text = f"Range must be within the {len(body)} bytes of the file."
        problem = ErrorResponse(416, text, "range_not_satisfiable", param="Range")
        fail(answer, problem, failure, request.scope)
        headers[b"content-range"] = b"bytes */%d" % len(body)
        # A browser would save the error under the replay's name.
        headers.pop(b"content-disposition", None)
        return
    answer.status = 206
    headers[b"content-range"] = b"bytes %d-%d/%d" % (start, end, len(body))
    answer.body = body[start : end + 1]


def fail(answer: ApiAnswer, problem: ErrorResponse, failure: Failure, scope: Scope) -> None:
    """Write an error response."""
    answer.status = problem.code
    answer.headers[b"content-type"] = _JSON
    answer.headers.update((name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers)
    answer.headers[b"cache-control"] = b"no-store"  # 404 and 405 are cacheable by default
    answer.body = failure(problem, scope.get("kiai.request_id", ""))
