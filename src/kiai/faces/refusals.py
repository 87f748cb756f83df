"""The answers of the guard to requests that it refuses, by reason."""

import secrets
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from kiai.faces.answer_budget import REFUSED as ANSWER_REFUSED
from kiai.faces.asgi import Headers
from kiai.faces.guard_limits import GuardLimits

# By reason (the label of `kiai_guard_refused`): the status, and the text with fields of GuardLimits.
REFUSALS: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "This is not a well-formed HTTP/1.1 request."),
    "host": (400, "A request has exactly one Host header."),
    "path": (400, "A path has no '..' segment, encoded slash, backslash or NUL, and is UTF-8 once decoded."),
    "upgrade": (400, "A request with a body cannot ask for an Upgrade."),
    "head_slow": (408, "The head of the request was not complete within {head_s:g} s."),
    "body_slow": (408, "The body of the request came slower than {body_bytes_per_s} bytes/s."),
    "upload_slow": (408, "A body above {free_body_bytes} bytes came slower than {reserved_bytes_per_s} bytes/s."),
    "body_contended": (
        408,
        "Other requests wait for memory, and this body came slower than {contended_bytes_per_s} bytes/s.",
    ),
    "body_late": (408, "The body was not complete within {body_s:g} s (above {upload_bytes} bytes: {upload_s:g} s)."),
    "body_large": (413, "The body of the request is larger than {body_bytes} bytes."),
    "target_large": (414, "The target of the request is longer than {target_bytes} bytes."),
    "head_large": (431, "The head of the request is larger than {head_bytes} bytes."),
    "fields": (431, "The request has more than {fields} header fields."),
    "body_budget": (503, "No memory for the body of the request was free within {budget_wait_s:g} s."),
    "pipelined": (503, "More than {pipelined} requests are waiting on this connection."),
    "address": (503, "There are already {connections_per_address} connections from this address."),
    "connections": (503, "There are already {connections} connections."),
}
UNREAD: Final = "unread"
HANDSHAKE_SLOW: Final = "handshake_slow"
HANDSHAKES: Final = "handshakes"
UNANSWERED: Final = (UNREAD, HANDSHAKE_SLOW, HANDSHAKES, ANSWER_REFUSED)
"""Reasons without an answer of the guard: the connection is closed, or the cycle answers."""
RETRY_AFTER_S: Final = 5


class RequestRejected(Exception):
    """Raised inside a callback to stop the parser. `reason` is a key of REFUSALS."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def refusal(reason: str, limits: GuardLimits, target: bytes, default_headers: Headers) -> bytes:
    """Return the whole answer to a request that the guard refuses, after which the connection closes.

    `reason` is a key of REFUSALS. `target` is that of the request, b"" if it is unknown.
    """
    status, sentence = REFUSALS[reason]
    request_id = f"guard-{secrets.token_hex(6)}"
    text = sentence.format_map(msgspec.structs.asdict(limits))
    answer: dict[str, str | None] = {"status": text}
    # The v2 API has its own error format.
    if target.startswith(_V2_PATHS):
        answer = {
            "status": "error",
            "error": text,
            "code": _V2_CODES[status],
            "param": None,
            "request_id": request_id,
        }
    body = msgspec.json.encode(answer)
    headers = [
        *default_headers,
        (b"x-request-id", request_id.encode()),
        (b"access-control-allow-origin", b"*"),  # lets a web page that uses the API read the reason
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *([(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 503 else ()),
    ]
    return b"%b%b\r\n%b" % (STATUS_LINE[status], b"".join(b"%b: %b\r\n" % header for header in headers), body)


_V2_PATHS: Final = (b"/v2/", b"/api/v2/")
_V2_CODES: Final = {
    400: "bad_request",
    408: "bad_request",
    413: "too_large",
    414: "too_large",
    431: "too_large",
    503: "unavailable",
}
