"""The API as an ASGI application: its routes, and what is answered where there is none."""

from collections.abc import Callable
from typing import Final, Literal

import falcon
import falcon.asgi
import msgspec
from falcon.constants import COMBINED_METHODS

from kiai.faces.api.browsers import allow_origin, answer_options, origin_of
from kiai.faces.api.compressing import Compression
from kiai.faces.api.docs import ALLOW, Documentation
from kiai.faces.api.errors import ErrorCode, Problem
from kiai.faces.api.operation import JSON, Gate, Operation, Resource
from kiai.faces.api.replies import Failure
from kiai.faces.asgi import FalconApp
from kiai.logs import get_logger

_V2: Final = "/v2"


class FailureV2(msgspec.Struct, frozen=True):
    """An error of version 2: a sentence for people, a code for programs, and the parameter at fault if it is one.

    `request_id` is that of the header X-Request-Id: what to quote to the operator.
    """

    status: Literal["error"]
    error: str
    code: ErrorCode
    param: str | None
    request_id: str


def encode_failure(problem: Problem, request_id: str) -> bytes:
    """The body of a v1 error."""
    return msgspec.json.encode(Failure(problem.status))


def encode_failure_v2(problem: Problem, request_id: str) -> bytes:
    """The body of a v2 error."""
    return msgspec.json.encode(FailureV2("error", problem.status, problem.kind, problem.param, request_id))


def build(operations: list[Operation], gate: Gate, *, title: str) -> FalconApp:
    """The application that serves these operations, each at its path; hosts and prefixes are `front`'s business."""
    app: FalconApp = falcon.asgi.App()
    app.req_options.strip_url_path_trailing_slash = True
    compression = Compression()
    by_path: dict[str, list[Operation]] = {}
    allow: dict[str, str] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    for path, here in by_path.items():
        failure = encode_failure_v2 if path.startswith(_V2) else encode_failure
        resource = Resource(here, gate, failure, compression)
        allow[path] = resource.allow
        app.add_route(path, resource)
    documentation = Documentation(operations, gate.everything, title=title, failure_v2=FailureV2)
    for path, page in documentation.pages().items():
        app.add_route(path, page)
    app.add_sink(_nowhere)
    app.add_error_handler(Exception, _ours)

    async def refused(
        req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, params: dict[str, str]
    ) -> None:
        """What Falcon itself refuses: a method that is none of HTTP's, a fixed page asked otherwise than by GET."""
        req.scope.setdefault("kiai.route", req.uri_template or "other")
        words = f"{error.title}."
        kind: ErrorCode = "bad_request"
        status = 405 if req.method not in COMBINED_METHODS else error.status_code
        if status == 405:
            allowed = allow.get(req.uri_template or "", ALLOW)
            words = f"The method {req.method[:16]} is not allowed here; allowed are {allowed}."
            kind = "method_not_allowed"
            resp.set_header("Allow", allowed)
        _fail(req, resp, Problem(status, words, kind))

    app.add_error_handler(falcon.HTTPError, refused)
    return app


async def _nowhere(req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
    assert resp is not None  # None is for web sockets
    if req.method == "OPTIONS":  # the browser is to show the 404 of the request itself, not an error of CORS
        allow_origin(origin_of(req), resp)
        answer_options(resp, "GET, HEAD, OPTIONS")
        return
    words = "There is no such endpoint; the documentation at /docs lists them."
    _fail(req, resp, Problem(404, words, "no_such_endpoint"))


async def _ours(req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, str]) -> None:
    request_id = req.scope.get("kiai.request_id", "")
    get_logger("api").error("unhandled", request_id=request_id, path=req.path, exc_info=error)
    words = f"Our fault, and logged. Quote {request_id} to the operator."
    _fail(req, resp, Problem(500, words, "internal_error"))


def _fail(req: falcon.asgi.Request, resp: falcon.asgi.Response, problem: Problem) -> None:
    resp.status = problem.code
    resp.content_type = JSON
    allow_origin(origin_of(req), resp)
    resp.set_headers(problem.headers)
    resp.set_header("Cache-Control", "no-store")
    resp.data = _encoder(req)(problem, req.scope.get("kiai.request_id", ""))


def _encoder(req: falcon.asgi.Request) -> Callable[[Problem, str], bytes]:
    return encode_failure_v2 if req.path.startswith(_V2) else encode_failure
