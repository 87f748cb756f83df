"""The table from domain errors to API responses."""

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from kiai import errors
from kiai.accounts.avatars import NotAPicture
from kiai.errors import quoted
from kiai.faces.request_body import BodyCutShort, BodyTooLarge

ErrorCode = Literal[
    "bad_request",
    "conflict",
    "forbidden",
    "internal_error",
    "invalid_key",
    "invalid_parameter",
    "method_not_allowed",
    "missing_parameter",
    "no_such_endpoint",
    "not_found",
    "range_not_satisfiable",
    "refused",
    "too_large",
    "too_many_requests",
    "unavailable",
    "unknown_parameter",
    "unsupported_media_type",
]
"""The machine-readable reason of an error. Codes may be added but never change their meaning."""


class ErrorResponse(msgspec.Struct, frozen=True):
    """An error as both versions send it.

    `code` is the HTTP status, `status` the sentence, `kind` the code for programs, `param` the parameter at fault.
    """

    code: int
    status: str
    kind: ErrorCode
    headers: tuple[tuple[str, str], ...] = ()
    param: str | None = None


class MissingParameter(errors.Invalid):
    """A required parameter is missing."""

    def __init__(self, field: str, allowed: str) -> None:
        super().__init__(field, allowed, None)
        self.args = (f"{field} is required: {allowed}",)  # instead of "must be ..., got None"


class UnknownParameter(errors.Invalid):
    """The endpoint does not have this parameter."""

    def __init__(self, field: str, known: Iterable[str]) -> None:
        allowed = ", ".join(known) or "none"
        super().__init__(field, allowed, None)
        self.args = (f"{quoted(field)} is not a parameter of this endpoint. Allowed: {allowed}",)


class BadRequest(errors.KiaiError):
    """A request that is invalid as a whole. The texts of version 1 are documented, so they must not change."""


class TooManyRequests(errors.KiaiError):
    """A rate limit is exhausted. The next request is allowed in `after_s` seconds."""

    def __init__(self, limit: int, period: str, after_s: float) -> None:
        super().__init__(f"Too many requests: the limit is {limit} per {period}.")
        self.after_s = after_s


class UnsupportedMediaType(errors.KiaiError):
    """The body has a content type that the endpoint does not accept."""


def error_response_of(error: errors.KiaiError, version: int = 1) -> ErrorResponse:
    """Return status code, text and headers for a domain error. Raises `error` again if the type is not in the table."""
    match error:
        case errors.NotFound(what=what):
            return ErrorResponse(404, f"{what.capitalize()} not found.", "not_found")
        case errors.Invalid(field=field):
            # Version 1 is frozen at the 400 of Bancho.PY; version 2 uses 422 for a well-formed but invalid request.
            return ErrorResponse(400 if version == 1 else 422, _sentence(error), _kind(error), param=field)
        case errors.NotAuthenticated():
            return ErrorResponse(401, "Invalid API key.", "invalid_key", (("WWW-Authenticate", "Bearer"),))
        case errors.LacksRole():
            return ErrorResponse(403, _sentence(error), "forbidden")
        case errors.NotAllowed(right=right):
            return ErrorResponse(403, f"The holder of this key needs the privilege {right}.", "forbidden")
        case BadRequest() | BodyCutShort():
            return ErrorResponse(400, _sentence(error), "bad_request")
        case errors.OutRanked() | errors.NotATarget():
            return ErrorResponse(403, _sentence(error), "forbidden")
        case errors.WrongState():
            return ErrorResponse(409, _sentence(error), "conflict")
        case errors.TooOften(after_s=after_s):
            return ErrorResponse(429, _sentence(error), "too_many_requests", _retry_after(after_s))
        case errors.Refused():
            return ErrorResponse(400, _sentence(error), "refused")
        case errors.Conflict():
            return ErrorResponse(409, _sentence(error), "conflict")
        case TooManyRequests(after_s=after_s):
            return ErrorResponse(429, str(error), "too_many_requests", _retry_after(after_s))
        case UnsupportedMediaType() | NotAPicture():
            return ErrorResponse(415, _sentence(error), "unsupported_media_type")
        case BodyTooLarge():
            return ErrorResponse(413, _sentence(error), "too_large")
        case errors.UnderMaintenance():
            text = "The server is under maintenance. Until it ends, only staff can change something."
            return ErrorResponse(503, text, "unavailable", (("Retry-After", "300"),))
        case errors.TooSlow():
            text = "The query takes too long. Add a filter, request fewer entries, or try again in a moment."
            return ErrorResponse(503, text, "unavailable", (("Retry-After", "5"),))
        case errors.Unavailable(part=part):
            text = f"The {part} is unavailable. Try again in a moment."
            return ErrorResponse(503, text, "unavailable", (("Retry-After", "5"),))
    raise error  # the handler of Exception logs it and answers 500


def _retry_after(after_s: float) -> tuple[tuple[str, str], ...]:
    # Round up, and at least 1: a client that retries after the header's seconds must not retry too early.
    return (("Retry-After", str(max(1, math.ceil(after_s)))),)


def _kind(error: errors.Invalid) -> ErrorCode:
    match error:
        case MissingParameter():
            return "missing_parameter"
        case UnknownParameter():
            return "unknown_parameter"
    return "invalid_parameter"


def _sentence(error: Exception) -> str:
    text = str(error)
    if isinstance(error, errors.LacksRole | errors.WrongState | errors.TooOften):
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!")) else text + "."
