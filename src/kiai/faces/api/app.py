"""The API as an ASGI application: routes, and the responses to unknown paths, unknown methods and server errors."""

from collections.abc import Callable
from typing import Final, Literal

import falcon
import falcon.asgi
import msgspec
from falcon.constants import COMBINED_METHODS

from kiai.faces.api.answering import Answering, ApiAnswer, Served, fail
from kiai.faces.api.copies import Copies
from kiai.faces.api.cors import allow_origin, answer_options, origin_of
from kiai.faces.api.docs import ALLOW, Documentation
from kiai.faces.api.errors import ErrorCode, ErrorResponse
from kiai.faces.api.gateway import ApiGateway
from kiai.faces.api.operation import JSON, Operation
from kiai.faces.api.replies import Failure
from kiai.faces.api.resource import Resource, method_not_allowed
from kiai.faces.api.short_way import ShortWay, is_short
from kiai.faces.api.urls import OwnHosts
from kiai.faces.asgi import FalconApp, Scope
from kiai.faces.compression import Compression
from kiai.logs import get_logger

_V2: Final = "/v2"


class FailureV2(msgspec.Struct, frozen=True):
    """A version 2 error.

    `error` is a sentence for people and `code` is for programs. `param` is the parameter at fault, or null.
    `request_id` is the value of the header X-Request-Id. Include it when you report a problem.
    """

    status: Literal["error"]
    error: str
    code: ErrorCode
    param: str | None
    request_id: str


def encode_failure(problem: ErrorResponse, request_id: str) -> bytes:
    """Return the body of a version 1 error, which has no field for `request_id`."""
    return msgspec.json.encode(Failure(problem.status))


def encode_failure_v2(problem: ErrorResponse, request_id: str) -> bytes:
    """Return the body of a version 2 error."""
    return msgspec.json.encode(FailureV2("error", problem.status, problem.kind, problem.param, request_id))


def failure_of(path: str) -> Callable[[ErrorResponse, str], bytes]:
    """Return the function that encodes the errors of a path, in the form of its version."""
    return encode_failure_v2 if path.startswith(_V2) else encode_failure


def build(operations: list[Operation], gateway: ApiGateway, copies: Copies, *, title: str, hosts: OwnHosts) -> ShortWay:
    """Build the application that serves these operations, each at its path. `front` maps hosts and prefixes to it."""
    answering = Answering(gateway, Compression(), copies)
    served = {
        operation.path: Served(operation, failure_of(operation.path)) for operation in operations if is_short(operation)
    }
    return ShortWay(served, answering, build_falcon(operations, answering, title=title, hosts=hosts), _failed)


def build_falcon(operations: list[Operation], answering: Answering, *, title: str, hosts: OwnHosts) -> FalconApp:
    """Build the Falcon application that serves all operations and the documentation."""
    gateway = answering.gateway
    app: FalconApp = falcon.asgi.App()
    app.req_options.strip_url_path_trailing_slash = True
    by_path: dict[str, list[Operation]] = {}
    allow: dict[str, str] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    for path, of_path in by_path.items():
        resource = Resource(of_path, answering, failure_of(path))
        allow[path] = resource.allow
        app.add_route(path, resource)
    documentation = Documentation(operations, gateway.everything, title=title, hosts=hosts, failure_v2=FailureV2)
    for path, page in documentation.pages().items():
        app.add_route(path, page)
    app.add_sink(_not_found)
    app.add_error_handler(Exception, _internal_error)

    async def falcon_error(
        req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, params: dict[str, str]
    ) -> None:
        """Answer the errors that Falcon itself raises: unknown methods, and methods that a fixed page does not have."""
        req.scope.setdefault("kiai.route", req.uri_template or "other")
        text = f"{error.title}."
        kind: ErrorCode = "bad_request"
        # Falcon answers 400 to a method that it does not know. 405 tells the client which methods it can use.
        status = 405 if req.method not in COMBINED_METHODS else error.status_code
        if status == 405:
            allowed = allow.get(req.uri_template or "", ALLOW)
            text = method_not_allowed(req.method, allowed)
            kind = "method_not_allowed"
            resp.set_header("Allow", allowed)
        _send_error(req, resp, ErrorResponse(status, text, kind))

    # Falcon's own handlers would answer with its JSON form of an error instead of the form of this API.
    app.add_error_handler(falcon.HTTPError, falcon_error)
    return app


async def _not_found(req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
    assert resp is not None  # None is for web sockets
    if req.method == "OPTIONS":
        # A failed preflight would hide the 404 of the request itself behind a CORS error in the browser.
        allow_origin(origin_of(req), resp)
        answer_options(resp, "GET, HEAD, OPTIONS")
        return
    text = "Unknown endpoint. The documentation at /docs lists all endpoints."
    _send_error(req, resp, ErrorResponse(404, text, "no_such_endpoint"))


async def _internal_error(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, str]
) -> None:
    _send_error(req, resp, _internal_problem(req.scope, req.path, error))


def _failed(answer: ApiAnswer, served: Served, scope: Scope, error: Exception) -> None:
    """Make `answer` the answer to a request whose handler failed."""
    fail(answer, _internal_problem(scope, scope["path"], error), served.failure, scope)


def _internal_problem(scope: Scope, path: str, error: Exception) -> ErrorResponse:
    """Log the error and return the response."""
    request_id = scope.get("kiai.request_id", "")
    get_logger("api").error("unhandled", request_id=request_id, path=path, exc_info=error)
    text = f"Internal server error. Report the request id {request_id} to the operator."
    return ErrorResponse(500, text, "internal_error")


def _send_error(req: falcon.asgi.Request, resp: falcon.asgi.Response, problem: ErrorResponse) -> None:
    resp.status = problem.code
    resp.content_type = JSON
    allow_origin(origin_of(req), resp)
    resp.set_headers(problem.headers)
    resp.set_header("Cache-Control", "no-store")  # 404 and 405 are cacheable by default
    resp.data = failure_of(req.path)(problem, req.scope.get("kiai.request_id", ""))


def blocked_answer(scope: Scope) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of the answer to a blocked address."""
    encode = failure_of(scope["path"])
    problem = ErrorResponse(403, "Your address is blocked on this server.", "forbidden")
    headers = [(b"content-type", JSON.encode()), (b"cache-control", b"no-store")]
    return headers, encode(problem, scope.get("kiai.request_id", ""))
