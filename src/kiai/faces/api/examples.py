"""Example requests, with the responses of a server that has the demo data.

`tests/faces/api/openapi_examples.py` writes `examples.json`. A test compares the file with the current responses. The
OpenAPI document and `/docs` show the examples.
"""

from functools import cached_property
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

FILE: Final = "examples.json"


# `dict=True` makes place for the cached property.
class Example(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """A request and its response. `answer` is JSON as data, the text of a stream, or None for a file."""

    method: str
    target: str
    """Path and query string."""
    status: int
    answer: Any = None
    needs_key: bool = False
    headers: dict[str, str] = {}
    """Request headers, without those for the key and the type of the body."""
    json: dict[str, Any] | None = None
    upload: str | None = None
    """File name of a picture that is sent as the multipart field `upload_as`."""
    upload_as: str = "avatar"
    answer_headers: dict[str, str] = {}
    """Response headers worth showing, e.g. the type and name of a file."""

    @property
    def kind(self) -> str:
        """The kind of the response: `json`, `file` or `stream`."""
        return "file" if self.answer is None else "stream" if isinstance(self.answer, str) else "json"

    @property
    def line(self) -> str:
        """The request as one line, without the host."""
        return f"{self.method} {self.target}"

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The parameters of the query string, decoded."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def parameters(self, path: str) -> dict[str, list[str]]:
        """Return the values of the parameters in the path and in the query string. `path` is the path's template."""
        values: dict[str, list[str]] = {}
        for name, text in zip(path.split("/"), self.target.partition("?")[0].split("/"), strict=True):
            if name.startswith("{"):
                values[name.strip("{}")] = [text]
        for name, text in self.query:
            values.setdefault(name, []).append(text)
        return values


class Examples(msgspec.Struct, frozen=True):
    """All examples: successful ones by operationId, errors by version (`v1`, `v2`) and status code."""

    operations: dict[str, Example] = {}
    errors: dict[str, dict[str, list[Example]]] = {}


def load_examples() -> Examples:
    """Return the examples that ship with this version of kiai."""
    data = resources.files("kiai.faces.api").joinpath(FILE).read_bytes()
    return msgspec.json.decode(data, type=Examples)
