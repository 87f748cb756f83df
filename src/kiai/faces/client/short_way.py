"""The short way of the game's web endpoints: those that declare `reads` or `streamed_body`, straight from ASGI.

Requests that it does not serve go to the Falcon application: other endpoints and methods, reads with a body, and
unknown paths. Both ways use the gateway, and `tests/faces/client/test_short_way.py` compares their answers byte for
byte. `faces/api/short_way.py` is the same for the API (docs/decisions/015).

PERF: the client requests a board for each map that the player scrolls past. The short way takes a fifth less CPU time.
"""

from collections.abc import Iterable
from typing import Final

from falcon.util.uri import parse_query_string

from kiai.at_once import ends_at_once
from kiai.faces.asgi import App, Receive, Scope, Send
from kiai.faces.client.gateway import PRIVATE, ClientGateway, ClientResponse, Endpoint, Received
from kiai.faces.quick import QuickAnswer, QuickHead
from kiai.faces.rate_limit import RateLimit
from kiai.faces.request_body import AsgiRequest
from kiai.faces.single_write import JOINED_MAX
from kiai.logs import get_logger

_WAITS: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
"""Headers of a request with a body, or with a client that waits for `100 Continue`."""


class ClientShortWay:
    """An ASGI application in front of the Falcon application `others`."""

    def __init__(self, gateway: ClientGateway, endpoints: Iterable[Endpoint], others: App) -> None:
        self._gateway = gateway
        self._endpoints = {one.path: one for one in endpoints if one.reads or one.streamed_body}
        self._others = others
        self._heads: dict[tuple[str, int, str], QuickHead] = {}

    def answer_at_once(self, scope: Scope, body: bytes) -> QuickAnswer | None:
        """Answer a read whose handler does not wait, if the answer is small. See `kiai.faces.quick`."""
        endpoint = self._endpoint(scope)
        if endpoint is None or not endpoint.reads or body:
            return None
        scope["kiai.route"] = endpoint.path
        spent: list[tuple[RateLimit, str]] = []
        answers: list[ClientResponse] = []

        async def answer() -> None:
            answers.append(await self._gateway.respond(endpoint, _received(scope, spent)))

        try:
            # The ordinary way counts large answers until their clients have read them (`answer_budget.py`).
            if ends_at_once(answer()) and len(answers[0].body) <= JOINED_MAX:
                return QuickAnswer(self._head(endpoint, answers[0]), answers[0].body)
        except Exception:  # the ordinary way meets the same error, and reports it
            get_logger("client").debug("no quick answer", route=endpoint.path, exc_info=True)
        # The ordinary way begins again, with the rate limits.
        for rate_limit, bucket in spent:
            if not ends_at_once(self._gateway.refund(rate_limit, bucket)):
                get_logger("client").warning("a request was counted twice", route=endpoint.path)
        return None

    def _head(self, endpoint: Endpoint, answer: ClientResponse) -> QuickHead:
        """Return status and headers. PERF: making them takes 7 us, so those without values of their own are kept."""
        if answer.headers:
            return QuickHead(answer.status, _headers(endpoint, answer))
        key = endpoint.path, answer.status, answer.content_type
        head = self._heads.get(key)
        if head is None:
            # Each endpoint has few statuses and types, so these are no more than the endpoints times a few.
            head = self._heads[key] = QuickHead(answer.status, _headers(endpoint, answer))
        return head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        endpoint = self._endpoint(scope)
        if endpoint is None:
            await self._others(scope, receive, send)
            return
        scope["kiai.route"] = endpoint.path
        request = AsgiRequest(scope, receive) if endpoint.streamed_body else None
        answer = await self._gateway.respond(endpoint, _received(scope, request=request))
        await send({"type": "http.response.start", "status": answer.status, "headers": _headers(endpoint, answer)})
        await send({"type": "http.response.body", "body": answer.body})

    def _endpoint(self, scope: Scope) -> Endpoint | None:
        """Return the endpoint of a request that the short way serves, else None."""
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None or scope["method"] != endpoint.method or not scope["query_string"].isascii():
            return None
        if endpoint.streamed_body:
            return endpoint
        return None if any(name in _WAITS for name, _ in scope["headers"]) else endpoint


def _received(
    scope: Scope, spent: list[tuple[RateLimit, str]] | None = None, request: AsgiRequest | None = None
) -> Received:
    query: str = scope["query_string"].decode()
    return Received(scope, parse_query_string(query, keep_blank=True) if query else {}, request=request, spent=spent)


def _headers(endpoint: Endpoint, answer: ClientResponse) -> list[tuple[bytes, bytes]]:
    """Return the headers that `resource.py` sets, in the same order."""
    headers = {"content-type": answer.content_type}
    if endpoint.credentials is not None:
        headers["cache-control"] = PRIVATE
    headers |= {name.lower(): value for name, value in answer.headers}
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
