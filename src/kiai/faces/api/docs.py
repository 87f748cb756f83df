"""The API's own pages: the OpenAPI document, and the same for people at /docs."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from importlib import resources
from typing import Any, Final, get_args

import falcon
import falcon.asgi
import jinja2
import msgspec
from markupsafe import Markup, escape

from kiai.faces.api import openapi
from kiai.faces.api.addresses import origin
from kiai.faces.api.browsers import allow_origin, answer_options, origin_of
from kiai.faces.api.compressing import accepts_gzip, gzipped
from kiai.faces.api.errors import ErrorCode
from kiai.faces.api.examples import Example, Examples, load_examples
from kiai.faces.api.openapi import EVENTS, PROBLEMS, servers, words_of
from kiai.faces.api.operation import Limit, Operation
from kiai.faces.api.snippets import curl, javascript, python
from kiai.faces.api.v1.common import LIMIT_MAX, OFFSET_MAX
from kiai.faces.api.v2.events import CLIENTS_MAX, CLIENTS_OF_ONE_MAX
from kiai.faces.api.v2.pages import COUNTED_MAX, PAGE_MAX, PAGE_SIZE_MAX
from kiai.osu.modes import MODES, mode_text, vanilla
from kiai.osu.mods import Mods, mods_text

HTML: Final = "text/html; charset=utf-8"
BASE: Final = "http://api.kiai.invalid"
"""Stands for the API's address in the rendered page; each answer has the address that was asked instead."""
VARIANTS_KEPT: Final = 8
ALLOW: Final = "GET, HEAD, OPTIONS"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
UNKNOWN_HOST: Final = "http://localhost"
CHAPTERS: Final = (
    ("start", "Start here"),
    ("versions", "Addresses and versions"),
    ("keys", "Keys"),
    ("errors", "Errors"),
    ("limits", "Limits"),
    ("paging", "Paging"),
    ("modes", "Modes and mods"),
    ("values", "Values"),
)
"""The chapters of guide.html by their anchors."""
_ADVICE: Final[Mapping[int, str]] = {
    400: "Correct the request; sent again unchanged, it fails again.",
    401: "Ask the operator for a new key.",
    403: "Use the key of somebody who may do this.",
    404: "A player who is restricted or was deleted looks like one that never was.",
    409: "Choose another.",
    413: "Send less.",
    415: "Send one of the types that the operation lists.",
    416: "Request a part that lies within the file, or all of it.",
    422: "Correct the request; sent again unchanged, it fails again.",
    429: "Wait that long. Do not retry in a loop.",
    503: "Try again when Retry-After has passed.",
}
_MODE_NAMES: Final = ("osu!", "taiko", "catch", "mania")


class Documentation:
    """What describes an API, made when it is first asked for: a server starts without it.

    `everything` is the limit on all requests, None where limits are off.
    """

    def __init__(
        self, operations: Sequence[Operation], everything: Limit | None, *, title: str, failure_v2: type[msgspec.Struct]
    ) -> None:
        self._operations = operations
        self._everything = everything
        self._title = title
        self._failure_v2 = failure_v2
        self._folder = resources.files("kiai.faces.api").joinpath("templates")

    @cached_property
    def examples(self) -> Examples:
        """The examples that ship with this version."""
        return load_examples()

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document without its servers."""
        return openapi.document(
            self._operations, title=self._title, failure_v2=self._failure_v2, examples=self.examples
        )

    @cached_property
    def html(self) -> str:
        """The page for people; `BASE` stands for the API's address."""
        templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: self._folder.joinpath(name).read_text(encoding="utf-8")),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        templates.filters |= {"marked": _marked, "word": _word}
        return templates.get_template("docs.html").render(
            document=self.document,
            chapters=CHAPTERS,
            groups=_groups(self.document, self.examples),
            problems=[_problem(code, text, self.examples) for code, (_, text) in PROBLEMS.items()],
            limits=_limits(self._operations, self._everything),
            limit_max=LIMIT_MAX,
            offset_max=OFFSET_MAX,
            page_max=PAGE_MAX,
            page_size_max=PAGE_SIZE_MAX,
            counted_max=COUNTED_MAX,
            streams_of_one=CLIENTS_OF_ONE_MAX,
            streams=CLIENTS_MAX,
            modes=[_mode(number) for number in MODES],
            mods=[(mods_text(int(mod)), int(mod)) for mod in Mods],
            error_codes=get_args(ErrorCode),
            base=BASE,
        )

    def pages(self) -> dict[str, "Page"]:
        """What is served at which path."""

        def file(name: str) -> Callable[[str], bytes]:
            return lambda _: self._folder.joinpath(name).read_bytes()

        return {
            "/openapi.json": Page(
                "application/json; charset=utf-8",
                lambda root: msgspec.json.encode({**self.document, "servers": servers(root)}),
                _root,
            ),
            "/docs": Page(HTML, lambda address: self.html.replace(BASE, address).encode(), _address),
            "/docs.css": Page("text/css; charset=utf-8", file("docs.css")),
            "/docs.js": Page("text/javascript; charset=utf-8", file("docs.js")),
        }


def _root(req: falcon.asgi.Request) -> str:
    return str(req.scope.get("kiai.api_root", ""))


def _address(req: falcon.asgi.Request) -> str:
    """Where the API is, for whoever asked."""
    return (origin(req.scope) or UNKNOWN_HOST) + _root(req)


def _groups(document: Mapping[str, Any], examples: Examples) -> list[dict[str, Any]]:
    """The operations by tag, version 1 first, with everything that the page shows of each."""
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(
                _described(path, method.upper(), operation, document, examples)
            )
    return [
        {"id": tag.replace(" ", "-"), "title": _title(tag), "operations": operations}
        for tag, operations in sorted(by_tag.items(), key=lambda one: one[0].startswith("v2 "))
    ]


def _title(tag: str) -> str:
    return f"{tag[3:].capitalize()}, version 2" if tag.startswith("v2 ") else tag.capitalize()


def _described(
    path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any], examples: Examples
) -> dict[str, Any]:
    content = operation["responses"]["200"]["content"]
    example = examples.operations.get(operation["operationId"])
    return {
        "description": "",
        **operation,
        "path": path,
        "short": path.removeprefix("/v2").removeprefix("/"),
        "method": method,
        "needs_key": {} not in operation["security"],
        "fields": _fields(operation, document),
        "kind": next(iter(content)),
        "reply": _shape(content, document),
        "problems": [code for code in operation["responses"] if int(code) >= 400],
        "snippets": ()
        if example is None
        else (
            ("curl", curl(example, BASE)),
            ("Python", python(example, BASE)),
            ("JavaScript", javascript(example, BASE)),
        ),
        "shown": None if example is None else _shown(example),
    }


def _shown(example: Example) -> dict[str, Any]:
    """An answer as text. A file has none; its headers say what it is."""
    text = example.answer if isinstance(example.answer, str) else pretty(example.answer)
    return {
        "headers": list(example.answer_headers.items()),
        "text": None if example.answer is None else text,
    }


def pretty(value: Any) -> str:
    """JSON for people."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _fields(operation: Mapping[str, Any], document: Mapping[str, Any]) -> list[dict[str, str]]:
    """The fields of a JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return []
    schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return [
        {"name": name, "allowed": words_of(shape), "about": _about(shape)}
        for name, shape in schema["properties"].items()
    ]


def _about(shape: Mapping[str, Any]) -> str:
    """A field's description, which stands with its type where the field may be null as well."""
    return next((str(one["description"]) for one in (shape, *shape.get("anyOf", ())) if "description" in one), "")


def _problem(code: int, text: str, examples: Examples) -> dict[str, Any]:
    found = [
        (one.line, pretty(one.answer))
        for version in ("v1", "v2")
        for one in examples.errors.get(version, {}).get(str(code), ())
    ]
    return {"code": code, "name": HTTPStatus(code).phrase, "text": text, "advice": _ADVICE[code], "examples": found}


def _marked(text: str) -> Markup:
    """Plain text with code between backticks."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped)


def _word(value: Any) -> str:
    """A default as it is written in a query string."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(operations: Sequence[Operation], everything: Limit | None) -> list[tuple[str, str]]:
    """What is limited, and how often it may be done; empty where limits are off."""
    if everything is None:
        return []
    by_limit: dict[Limit, dict[str, None]] = {}
    for one in operations:
        if one.limit is not None:
            by_limit.setdefault(one.limit, {})[one.path] = None
    return [
        ("all requests together", f"{everything.count:,} per {everything.period}"),
        *((", ".join(paths), f"{limit.count:,} per {limit.period}") for limit, paths in by_limit.items()),
    ]


def _mode(number: int) -> dict[str, Any]:
    variant = {"vn": "", "rx": "relax ", "ap": "autopilot "}[mode_text(number).partition("!")[0]]
    return {"number": number, "text": mode_text(number), "name": variant + _MODE_NAMES[vanilla(number)]}


def _shape(content: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    if "application/json" not in content:
        [kind] = content
        return f"a stream ({kind})" if kind == EVENTS else f"a file ({kind})"
    return _outline(content["application/json"]["schema"], document["components"]["schemas"], 0)


def _outline(schema: Mapping[str, Any], named: Mapping[str, Any], depth: int) -> str:
    """A schema as an indented sketch of the JSON it stands for."""
    pad = "  " * (depth + 1)
    if "$ref" in schema:
        return _outline(named[schema["$ref"].rpartition("/")[2]], named, depth)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_outline(one, named, depth) for one in schema["anyOf"]))
    if schema.get("type") == "object" and "properties" in schema:
        lines = [f'{pad}"{name}": {_outline(one, named, depth + 1)}' for name, one in schema["properties"].items()]
        return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
    if schema.get("type") == "object":
        return '{"...": ' + _outline(schema.get("additionalProperties", {}), named, depth) + "}"
    if schema.get("type") == "array":
        return "[" + _outline(schema.get("items", {}), named, depth) + ", ...]"
    if "enum" in schema:
        return " or ".join(msgspec.json.encode(one).decode() for one in schema["enum"])
    return str(schema.get("type", "anything"))


def _same(req: falcon.asgi.Request) -> str:
    return ""


class Page:
    """A page that is the same for everybody who asked at the same address.

    `make` gets what `variant` finds in a request: "" where all requests get the same.
    """

    def __init__(
        self,
        content_type: str,
        make: Callable[[str], bytes],
        variant: Callable[[falcon.asgi.Request], str] = _same,
    ) -> None:
        self._content_type = content_type
        self._make = make
        self._variant = variant
        self._made: dict[str, tuple[bytes, bytes, str]] = {}

    async def on_options(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The methods of a page."""
        req.scope["kiai.route"] = req.uri_template
        allow_origin(origin_of(req), resp)
        answer_options(resp, ALLOW)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page."""
        req.scope["kiai.route"] = req.uri_template
        allow_origin(origin_of(req), resp)
        body, zipped, etag = await self._made_for(self._variant(req))
        resp.set_headers(
            (
                ("ETag", etag),
                ("Cache-Control", "no-cache"),
                ("Content-Security-Policy", _POLICY),
                ("Referrer-Policy", "same-origin"),
            )
        )
        if etag in (req.get_header("If-None-Match") or ""):
            resp.status = 304
            return
        resp.content_type = self._content_type
        resp.data = body
        if accepts_gzip(req.get_header("Accept-Encoding")):
            resp.data = zipped
            resp.set_header("Content-Encoding", "gzip")

    async def _made_for(self, variant: str) -> tuple[bytes, bytes, str]:
        found = self._made.get(variant)
        if found is None:
            # PERF: the first /docs takes 100 ms; players must not wait for it.
            found = await asyncio.to_thread(self._both_forms, variant)
            if len(self._made) >= VARIANTS_KEPT:  # whoever invents hosts makes us work, but not remember
                self._made.clear()
            self._made[variant] = found
        return found

    def _both_forms(self, variant: str) -> tuple[bytes, bytes, str]:
        """The page plain and as gzip, and its ETag."""
        body = self._make(variant)
        return body, gzipped(body), f'W/"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
