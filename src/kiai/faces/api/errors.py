"""Errors of the domain as answers of the API: one table."""

import math

import msgspec

from kiai import errors
from kiai.accounts.avatars import NotAPicture


class Problem(msgspec.Struct, frozen=True):
    """What an error answer says."""

    code: int
    status: str
    headers: tuple[tuple[str, str], ...] = ()


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
            return Problem(404, f"{what.capitalize()} not found.")
        case errors.Invalid():
            return Problem(400 if version == 1 else 422, _sentence(error))
        case errors.NotAuthenticated():
            return Problem(401, "Invalid API key.", (("WWW-Authenticate", "Bearer"),))
        case errors.NotAllowed(right=right):
            return Problem(403, f"The holder of this key needs the privilege {right}.")
        case BadRequest():
            return Problem(400, str(error))
        case errors.Refused():
            return Problem(400, _sentence(error))
        case errors.Conflict():
            return Problem(409, _sentence(error))
        case TooMany(after_s=after_s):
            return Problem(429, str(error), (("Retry-After", str(max(1, math.ceil(after_s)))),))
        case NotSupported() | NotAPicture():
            return Problem(415, _sentence(error))
        case TooLarge():
            return Problem(413, _sentence(error))
        case errors.Unavailable(part=part):
            return Problem(503, f"The {part} cannot answer now; try again in a moment.", (("Retry-After", "5"),))
    raise error


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith((".", "!")) else text + "."
