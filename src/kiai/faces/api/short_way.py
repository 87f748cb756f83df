"""The short way of reads: GET operations with a fixed path, served straight from ASGI (docs/decisions/015).

Requests that it does not serve go to the Falcon application: other methods, parts of paths, streams, everything with a
body, and unknown paths. Both ways use `answering.py`, and `tests/faces/api/test_short_way.py` compares their answers
byte for byte.

PERF: Falcon's request, response, routing and headers take 17 us of a request for a map.
"""

from collections.abc import Mapping
from typing import Any, Final

from kiai.accounts import EVERYBODY
from kiai.at_once import ends_at_once
from kiai.faces.api.answering import Answering, ApiAnswer, Request, Served
from kiai.faces.api.operation import Caller, Operation, StreamReply
from kiai.faces.asgi import App, Receive, Scope, Send
from kiai.faces.quick import QuickAnswer, QuickHead
from kiai.faces.single_write import JOINED_MAX
from kiai.logs import get_logger
from kiai.networks import network_of

_WAITS: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
"""Headers of a request with a body, or with a client that waits for `100 Continue`."""


def is_short(operation: Operation) -> bool:
    """Return whether the short way can serve an operation."""
    return operation.method == "GET" and operation.reply is not StreamReply and "{" not in operation.path


class ShortWay:
    """An ASGI application in front of the Falcon application `others`.

    `failed` returns the answer to a request whose handler raised an error that is a bug of the server.
    """

    def __init__(self, served: Mapping[str, Served], answering: Answering, others: App, failed: Any) -> None:
        self._served = served
        self._answering = answering
        self._others = others
        self._failed = failed

    def answer_at_once(self, scope: Scope, body: bytes) -> QuickAnswer | None:
        """Answer a read without a key whose handler does not wait, if the answer is small. See `kiai.faces.quick`."""
        served = self._served.get(scope["path"])
        if served is None or not served.operation.from_rows or scope["method"] != "GET" or body:
            return None
        sent: dict[bytes, bytes] = dict(scope["headers"])
        if b"authorization" in sent or not _WAITS.isdisjoint(sent) or not scope["query_string"].isascii():
            return None
        scope["kiai.route"] = served.operation.path
        answering, request = self._answering, Request(scope, sent, scope["query_string"].decode())
        copied = answering.from_copy(served, request, JOINED_MAX)
        if copied is not None:
            return copied
        answer = ApiAnswer(sent.get(b"origin"))
        try:
            ended = ends_at_once(answering.fill(answer, served, request, {}))
            # The ordinary way counts large answers until their clients have read them (`answer_budget.py`).
            if ended and answer.status != 304 and len(answer.body) <= JOINED_MAX:
                return QuickAnswer(QuickHead(answer.status, [*answer.headers.items()]), answer.body)
        except Exception:  # the ordinary way meets the same error, and reports it
            get_logger("api").debug("no quick answer", route=served.operation.path, exc_info=True)
        # The ordinary way begins again, with the rate limits.
        caller = Caller(EVERYBODY, network_of(scope["kiai.address"]))
        if not ends_at_once(answering.gateway.refund(caller, served.operation.limit)):
            get_logger("api").warning("a request was counted twice", route=served.operation.path)
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        served = self._served.get(scope["path"])
        if served is None or scope["method"] != "GET" or not scope["query_string"].isascii():
            await self._others(scope, receive, send)
            return
        sent: dict[bytes, bytes] = dict(scope["headers"])
        if not _WAITS.isdisjoint(sent):
            await self._others(scope, receive, send)
            return
        scope["kiai.route"] = served.operation.path
        answer = ApiAnswer(sent.get(b"origin"))
        try:
            await self._answering.fill(answer, served, Request(scope, sent, scope["query_string"].decode()), {})
        except Exception as error:
            self._failed(answer, served, scope, error)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers.items()})
        await send({"type": "http.response.body", "body": answer.body})
