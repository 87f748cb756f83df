"""Reads JSON objects in the bodies of requests, and validates them as `params` validates query strings."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import falcon.asgi
import msgspec

from kiai.errors import Invalid
from kiai.faces.api.errors import BadRequest, UnsupportedMediaType
from kiai.faces.api.params import QueryReader
from kiai.faces.request_body import read_body

B = TypeVar("B", bound=msgspec.Struct)

BODY_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 64  # of lists and objects in each other


def json_body(
    struct: type[B], max_bytes: int = BODY_MAX, *, optional: bool = False
) -> Callable[[falcon.asgi.Request], Awaitable[B]]:
    """Return a function that reads a body as `struct`. With `optional` an empty body is an object without fields.

    It raises Invalid, MissingParameter and UnknownParameter, which name the field, and BadRequest,
    UnsupportedMediaType and BodyTooLarge.
    """
    reader = QueryReader(struct, strict=True)

    async def read(req: falcon.asgi.Request) -> B:
        data = await read_body(req, max_bytes)
        if optional and not data:
            return reader.convert({})
        # Without a Content-Type the body is JSON, as many scripts send it.
        kind = (req.content_type or "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMediaType("The body must be a JSON object (application/json)")
        return reader.convert(json_object(data))

    return read


def json_object(data: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object. Raises BadRequest, and Invalid for a repeated field."""
    # `json` instead of msgspec: msgspec accepts repeated keys and uses the last one, which hides a client's mistake.
    try:
        found: Any = json.loads(data, object_pairs_hook=_unique_fields, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object.")
    # How deeply the decoder goes depends on the version of Python. The code that reads the value has less stack.
    if _is_deeper(found, DEPTH_MAX):
        raise BadRequest("The body is nested too deeply.")
    # `json` accepts "\ud800", which neither database can store, and NUL, which PostgreSQL cannot store.
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest("The body contains a lone surrogate, which is not a valid character.") from error
    for name, value in found.items():
        if "\0" in name:
            raise BadRequest("The name of a field contains the character NUL.")
        if _has_nul(value):
            raise Invalid(name[:64], "without the character NUL", value)
    return found


def _is_deeper(value: object, depth_max: int) -> bool:
    """Return whether lists and objects are nested more than `depth_max` times. It does not recurse itself."""
    level = [value]
    for _ in range(depth_max):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, dict | list) for inner in level)


def _has_nul(value: object) -> bool:
    """Return whether a text in the value contains NUL. The caller has limited the depth."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(name) or _has_nul(one) for name, one in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


def _unique_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            shown = name[:64].encode("ascii", "backslashreplace").decode()
            raise Invalid(shown, "given once", "several values")
        fields[name] = value
    return fields


def _reject_constant(word: str) -> object:
    raise ValueError(word)  # `json` accepts NaN and Infinity, which are not JSON
