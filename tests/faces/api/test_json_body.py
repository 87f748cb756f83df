"""JSON objects in the bodies of requests: how deeply they may be nested."""

import pytest

from kiai.errors import Invalid
from kiai.faces.api.errors import BadRequest
from kiai.faces.api.json_body import DEPTH_MAX, json_object


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"value": ' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"x": ', b"}"), (b'[1, {"x": 2, "y": ', b"}]")])
def test_the_depth_is_limited(opening: bytes, closing: bytes) -> None:
    levels = len(opening.translate(None, b' 12,:xy"'))
    deepest = (DEPTH_MAX - 1) // levels + 1

    assert list(json_object(nested(opening, closing, deepest))) == ["value"]
    with pytest.raises(BadRequest, match="nested too deeply"):
        json_object(nested(opening, closing, deepest + 1))


# The decoder of Python 3.12 and newer goes deeper than the stack of the code that reads the value.
@pytest.mark.parametrize("depth", [500, 1_000, 3_000, 9_000, 30_000])
def test_a_deep_body_is_refused_on_every_version_of_python(depth: int) -> None:
    with pytest.raises(BadRequest):
        json_object(nested(b"[", b"]", depth))


def test_nul_is_found_at_the_deepest_level() -> None:
    body = nested(b"[", b"]", DEPTH_MAX).replace(b"1", b'"\\u0000"')

    with pytest.raises(Invalid, match="NUL"):
        json_object(body)
