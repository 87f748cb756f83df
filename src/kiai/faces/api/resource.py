"""Serves operations through Falcon: all methods, bodies, parts of paths, streams."""

import falcon.asgi

from kiai.faces.api.answering import PRIVATE, Answering, ApiAnswer, Failure, Request, Served, fail
from kiai.faces.api.cors import answer_options
from kiai.faces.api.errors import ErrorResponse
from kiai.faces.api.operation import Operation


class Resource:
    """The Falcon resource of one path: its operations by method."""

    def __init__(self, operations: list[Operation], answering: Answering, failure: Failure) -> None:
        self._answering = answering
        self._failure = failure
        self._by_method = {operation.method: Served(operation, failure) for operation in operations}
        self.allow = ", ".join([*self._by_method, *(["HEAD"] if "GET" in self._by_method else []), "OPTIONS"])

    async def serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Serve a request of any method: authenticate, apply rate limits, run the handler and encode the reply."""
        req.scope["kiai.route"] = req.uri_template
        sent: dict[bytes, bytes] = dict(req.scope["headers"])
        answer = ApiAnswer(sent.get(b"origin"))
        served = self._by_method.get(req.method)  # type: ignore[call-overload]
        if served is None:
            self._refuse_method(answer, req, resp)
            return
        try:
            request = Request(req.scope, sent, req.query_string, lambda read: read(req))
            await self._answering.fill(answer, served, request, path)
        finally:
            # Also after an error: the answer of the error handler keeps the headers that are set so far.
            _copy(answer, resp)
        if answer.stream is not None:
            self._answering.gateway.streams.send(req, resp, answer.stream)
            if b"authorization" in sent:
                resp.set_header("Cache-Control", PRIVATE.decode())
        elif answer.status != 304:
            resp.data = answer.body

    on_get = on_post = on_put = on_delete = on_patch = on_options = on_head = serve

    def _refuse_method(self, answer: ApiAnswer, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if req.method == "OPTIONS":
            _copy(answer, resp)
            answer_options(resp, self.allow)
            return
        answer.headers[b"allow"] = self.allow.encode()
        text = method_not_allowed(req.method, self.allow)
        fail(answer, ErrorResponse(405, text, "method_not_allowed"), self._failure, req.scope)
        _copy(answer, resp)
        resp.data = answer.body


def _copy(answer: ApiAnswer, resp: falcon.asgi.Response) -> None:
    resp.status = answer.status
    for name, value in answer.headers.items():
        resp.set_header(name.decode(), value.decode("latin-1"))


def method_not_allowed(method: str, allowed: str) -> str:
    """Return the text of a 405. Of a method that is not HTTP's it repeats the first 16 characters."""
    return f"The method {method[:16]} is not allowed. Allowed methods: {allowed}."
