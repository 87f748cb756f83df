"""Errors of the domain as answers of the API: one table."""

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from kiai import errors
from kiai.accounts.avatars import NotAPicture
from kiai.errors import shown

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
"""What went wrong, for programs. Codes are added, never changed."""


class Problem(msgspec.Struct, frozen=True):
    """What an error answer says. `code` is the HTTP status, `param` the name of the parameter at fault."""

    code: int
    status: str
    kind: ErrorCode
    headers: tuple[tuple[str, str], ...] = ()
    param: str | None = None


class Missing(errors.Invalid):
    """A required parameter was not given."""

    def __init__(self, field: str, allowed: str) -> None:
        super().__init__(field, allowed, None)
        self.args = (f"{field} is required: {allowed}",)


class Unknown(errors.Invalid):
    """A parameter that the endpoint does not have."""

    def __init__(self, field: str, known: Iterable[str]) -> None:
        allowed = ", ".join(known) or "none"
        super().__init__(field, allowed, None)
        self.args = (f"{shown(field)} is not a parameter of this endpoint; it has {allowed}",)


class BadRequest(errors.KiaiError):
    """A request whose words the documentation fixes."""


class TooMany(errors.KiaiError):
    """A rate limit; `after_s` says when to come back."""

    def __init__(self, limit: int, period: str, after_s: float) -> None:
        super().__init__(f"Too many requests: {limit} a {period} are allowed.")
        self.after_s = after_s


class NotSupported(errors.KiaiError):
    """The body is of a kind that cannot be used."""


class TooLarge(errors.KiaiError):
    """The body is larger than allowed."""


def problem_of(error: errors.KiaiError, version: int = 1) -> Problem:
    """Status code, words and headers for an error of the domain."""
    match error:
        case errors.NotFound(what=what):
            return Problem(404, f"{what.capitalize()} not found.", "not_found")
        case errors.Invalid(field=field):
            return Problem(400 if version == 1 else 422, _sentence(error), _kind(error), param=field)
        case errors.NotAuthenticated():
            return Problem(401, "Invalid API key.", "invalid_key", (("WWW-Authenticate", "Bearer"),))
        case errors.NotAllowed(right=right):
            return Problem(403, f"The holder of this key needs the privilege {right}.", "forbidden")
        case BadRequest():
            return Problem(400, str(error), "bad_request")
        case errors.Refused():
            return Problem(400, _sentence(error), "refused")
        case errors.Conflict():
            return Problem(409, _sentence(error), "conflict")
        case TooMany(after_s=after_s):
            retry = (("Retry-After", str(max(1, math.ceil(after_s)))),)
            return Problem(429, str(error), "too_many_requests", retry)
        case NotSupported() | NotAPicture():
            return Problem(415, _sentence(error), "unsupported_media_type")
        case TooLarge():
            return Problem(413, _sentence(error), "too_large")
        case errors.TooSlow():
            words = "This takes too long to find; narrow it with a filter, ask for less, or try again in a moment."
            return Problem(503, words, "unavailable", (("Retry-After", "5"),))
        case errors.Unavailable(part=part):
            words = f"The {part} cannot answer now; try again in a moment."
            return Problem(503, words, "unavailable", (("Retry-After", "5"),))
    raise error


def _kind(error: errors.Invalid) -> ErrorCode:
    match error:
        case Missing():
            return "missing_parameter"
        case Unknown():
            return "unknown_parameter"
    return "invalid_parameter"


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith((".", "!")) else text + "."
