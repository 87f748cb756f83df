"""Example requests with the answers that a server gave them on the demo world.

`examples.json` is written by the tests (`tests/faces/api/openapi_examples.py`), which also compare it with what the
server answers now. The OpenAPI document and `/docs` show it.
"""

from functools import cached_property
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

FILE: Final = "examples.json"


class Example(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """A request and its answer. A text answer is that of a stream; a file's answer is None."""

    method: str
    target: str
    """The path and the query string."""
    status: int
    answer: Any = None
    needs_key: bool = False
    headers: dict[str, str] = {}
    """What the request needs beside the key and the type of its body."""
    json: dict[str, Any] | None = None
    upload: str | None = None
    """The name of a picture that is sent as the multipart field `avatar`."""
    answer_headers: dict[str, str] = {}
    """The headers of the answer that matter here."""

    @property
    def kind(self) -> str:
        """What the answer is: `json`, a `file` or a `stream`."""
        return "file" if self.answer is None else "stream" if isinstance(self.answer, str) else "json"

    @property
    def line(self) -> str:
        """The request in one line."""
        return f"{self.method} {self.target}"

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The parameters of the query string, decoded."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def parameters(self, path: str) -> dict[str, list[str]]:
        """The values of the parameters in the path, whose template is `path`, and of those in the query string."""
        found: dict[str, list[str]] = {}
        for name, text in zip(path.split("/"), self.target.partition("?")[0].split("/"), strict=True):
            if name.startswith("{"):
                found[name.strip("{}")] = [text]
        for name, text in self.query:
            found.setdefault(name, []).append(text)
        return found


class Examples(msgspec.Struct, frozen=True):
    """All examples: by operationId, and errors by version (`v1`) and status code."""

    operations: dict[str, Example] = {}
    errors: dict[str, dict[str, list[Example]]] = {}


def load_examples() -> Examples:
    """The examples that ship with this version."""
    data = resources.files("kiai.faces.api").joinpath(FILE).read_bytes()
    return msgspec.json.decode(data, type=Examples)
