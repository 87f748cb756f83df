"""The documentation that the API serves: the OpenAPI document at /openapi.json, and a page for people at /docs."""

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
from kiai.faces.api.cors import allow_origin, answer_options, origin_of
from kiai.faces.api.errors import ErrorCode
from kiai.faces.api.examples import Example, Examples, load_examples
from kiai.faces.api.openapi import EVENTS, PROBLEMS, servers, words_of
from kiai.faces.api.operation import Operation
from kiai.faces.api.snippets import curl, javascript, python
from kiai.faces.api.urls import OwnHosts
from kiai.faces.api.v1.common import LIMIT_MAX, OFFSET_MAX
from kiai.faces.api.v2.events import CLIENTS_MAX, CLIENTS_OF_ONE_MAX
from kiai.faces.api.v2.paging import COUNTED_MAX, PAGE_MAX, PAGE_SIZE_MAX
from kiai.faces.compression import accepts_gzip, gzipped
from kiai.faces.rate_limit import RateLimit
from kiai.osu.modes import MODES, mode_text, vanilla
from kiai.osu.mods import Mods, mods_text

HTML: Final = "text/html; charset=utf-8"
BASE: Final = "http://api.kiai.invalid"
"""Placeholder for the API's address in the rendered page. Each response replaces it by the address of the request."""
SITE: Final = "http://site.kiai.invalid"
"""Placeholder for the website's address, as `BASE`."""
SITE_PAGES: Final = (
    ("/leaderboard", "Leaderboard"),
    ("/beatmapsets", "Beatmaps"),
    ("/multiplayer", "Multiplayer"),
    ("/clans", "Clans"),
)
ABOUT_PAGES: Final = (
    ("/rules", "Rules"),
    ("/privacy", "Privacy"),
    ("/about", "About"),
    ("/docs", "API"),
    ("/status", "Status"),
)
"""The links of the website's header and footer."""
VARIANTS_CACHED: Final = 8
"""Number of addresses for which a page is cached. A server has a few; a client can send any subdomain or port."""
ALLOW: Final = "GET, HEAD, OPTIONS"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
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
"""The chapters of guide.html with their anchors."""
_ADVICE: Final[Mapping[int, str]] = {
    400: "Correct the request. Retrying it unchanged fails again.",
    401: "Ask the operator for a new key.",
    403: "Use the key of an account that has the privilege.",
    404: "Restricted and deleted players get the same response as unknown ones.",
    409: "Choose another value.",
    413: "Send a smaller body.",
    415: "Send one of the types that the operation lists.",
    416: "Request a range within the file, or the whole file.",
    422: "Correct the request. Retrying it unchanged fails again.",
    429: "Wait that long before you retry.",
    503: "Retry after that time.",
}
_MODE_NAMES: Final = ("osu!", "taiko", "catch", "mania")


class Documentation:
    """The OpenAPI document and the page for people.

    Both are built at the first request for them, so that they do not delay the start of the server. `everything` is the
    limit on all requests of a caller together, or None if rate limits are off.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        everything: RateLimit | None,
        *,
        title: str,
        hosts: OwnHosts,
        failure_v2: type[msgspec.Struct],
    ) -> None:
        self._operations = operations
        self._everything = everything
        self._hosts = hosts
        self._title = title
        self._failure_v2 = failure_v2
        self._folder = resources.files("kiai.faces.api").joinpath("templates")

    @cached_property
    def examples(self) -> Examples:
        """The examples that ship with this version of kiai."""
        return load_examples()

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document without `servers`, which depend on the host of the request."""
        return openapi.document(
            self._operations, title=self._title, failure_v2=self._failure_v2, examples=self.examples
        )

    @cached_property
    def html(self) -> str:
        """The page for people, with `BASE` as the API's address."""
        templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: self._folder.joinpath(name).read_text(encoding="utf-8")),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        templates.filters |= {"with_code": _with_code, "query_text": _query_text}
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
            site=SITE,
            server=self._title,
            pages=SITE_PAGES,
            about=ABOUT_PAGES,
        )

    def pages(self) -> dict[str, "DocsPage"]:
        """Return the pages by path."""

        def file(name: str) -> Callable[[str], bytes]:
            return lambda _: self._folder.joinpath(name).read_bytes()

        return {
            # Its variants depend only on the prefix of the path, so they are few. Those of /docs depend on the host.
            "/openapi.json": DocsPage(
                "application/json; charset=utf-8",
                lambda root: msgspec.json.encode({**self.document, "servers": servers(root)}),
                _root,
            ),
            "/docs": DocsPage(
                HTML,
                lambda address: self.html.replace(BASE, address).replace(SITE, site_of(address)).encode(),
                self._address,
            ),
            "/docs.css": DocsPage("text/css; charset=utf-8", file("docs.css")),
            "/docs.js": DocsPage("text/javascript; charset=utf-8", file("docs.js")),
        }

    def _address(self, req: falcon.asgi.Request) -> str:
        """Return the API's address as the client of the request knows it."""
        return self._hosts.api_address(req.scope, _root(req))


def _root(req: falcon.asgi.Request) -> str:
    return str(req.scope.get("kiai.api_root", ""))


def site_of(address: str) -> str:
    """Return the address of the website, given that of the API: the host without `api.`, or without the path `/api`."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.removesuffix('/api').removeprefix('api.')}"


def _groups(document: Mapping[str, Any], examples: Examples) -> list[dict[str, Any]]:
    """Return the operations grouped by tag, version 1 first, in the form that the template needs."""
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(
                _described(path, method.upper(), operation, document, examples)
            )
    return [
        {"id": tag.replace(" ", "-"), "title": _title(tag), "operations": operations}
        for tag, operations in sorted(by_tag.items(), key=lambda group: group[0].startswith("v2 "))
    ]


def _title(tag: str) -> str:
    return f"{tag[3:].capitalize()}, version 2" if tag.startswith("v2 ") else tag.capitalize()


def _described(
    path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any], examples: Examples
) -> dict[str, Any]:
    content = next(iter(operation["responses"].values()))["content"]  # the success comes first
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
        "response": None if example is None else _example_response(example),
    }


def _example_response(example: Example) -> dict[str, Any]:
    """Return the headers and the text of an example response. The text is None for a file."""
    text = example.answer if isinstance(example.answer, str) else pretty(example.answer)
    return {
        "headers": list(example.answer_headers.items()),
        "text": None if example.answer is None else text,
    }


def pretty(value: Any) -> str:
    """Format a value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _fields(operation: Mapping[str, Any], document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return name, allowed values and description of each field of an operation's JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return []
    schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return [
        {"name": name, "allowed": words_of(shape), "about": _description(shape)}
        for name, shape in schema["properties"].items()
    ]


def _description(shape: Mapping[str, Any]) -> str:
    """Return a field's description, or "" without one."""
    # In a schema of a field that may be null, the description is part of the option that is not null.
    options = (shape, *shape.get("anyOf", ()))
    return next((str(option["description"]) for option in options if "description" in option), "")


def _problem(code: int, text: str, examples: Examples) -> dict[str, Any]:
    with_texts = [
        (example.line, pretty(example.answer))
        for version in ("v1", "v2")
        for example in examples.errors.get(version, {}).get(str(code), ())
    ]
    return {
        "code": code,
        "name": HTTPStatus(code).phrase,
        "text": text,
        "advice": _ADVICE[code],
        "examples": with_texts,
    }


def _with_code(text: str) -> Markup:
    """Return plain text as HTML, with text between backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped)


def _query_text(value: Any) -> str:
    """Return a default value as a query string contains it: `true` instead of `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(operations: Sequence[Operation], everything: RateLimit | None) -> list[tuple[str, str]]:
    """Return the rate limits as pairs of paths and limit; empty if rate limits are off."""
    if everything is None:
        return []
    by_limit: dict[RateLimit, dict[str, None]] = {}  # a dict as an ordered set: POST and PUT share a path
    for operation in operations:
        if operation.limit is not None:
            by_limit.setdefault(operation.limit, {})[operation.path] = None
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
    """Return a schema as an indented outline of the JSON that it describes."""
    pad = "  " * (depth + 1)
    if "$ref" in schema:
        return _outline(named[schema["$ref"].rpartition("/")[2]], named, depth)
    if "anyOf" in schema:
        # As keys of a dict: options that differ only in their bounds have the same outline.
        return " or ".join(dict.fromkeys(_outline(option, named, depth) for option in schema["anyOf"]))
    if schema.get("type") == "object" and "properties" in schema:
        lines = [f'{pad}"{name}": {_outline(shape, named, depth + 1)}' for name, shape in schema["properties"].items()]
        return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
    if schema.get("type") == "object":
        return '{"...": ' + _outline(schema.get("additionalProperties", {}), named, depth) + "}"
    if schema.get("type") == "array":
        return "[" + _outline(schema.get("items", {}), named, depth) + ", ...]"
    if "enum" in schema:
        return " or ".join(msgspec.json.encode(value).decode() for value in schema["enum"])
    return str(schema.get("type", "anything"))


def _no_variant(req: falcon.asgi.Request) -> str:
    return ""


class DocsPage:
    """A page of which each variant is rendered once and then cached.

    `variant` returns the part of a request on which the page depends, e.g. its address. `make` renders the page for it.
    """

    def __init__(
        self,
        content_type: str,
        make: Callable[[str], bytes],
        variant: Callable[[falcon.asgi.Request], str] = _no_variant,
    ) -> None:
        self._content_type = content_type
        self._make = make
        self._variant = variant
        self._rendered: dict[str, tuple[bytes, bytes, str]] = {}

    async def on_options(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with the methods of the page."""
        req.scope["kiai.route"] = req.uri_template
        allow_origin(origin_of(req), resp)
        answer_options(resp, ALLOW)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with the page, or with 304 if the client has the current one."""
        req.scope["kiai.route"] = req.uri_template
        allow_origin(origin_of(req), resp)
        body, zipped, etag = await self._render(self._variant(req))
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

    async def _render(self, variant: str) -> tuple[bytes, bytes, str]:
        """Return the page, the page as gzip, and its ETag."""
        rendered = self._rendered.get(variant)
        if rendered is None:
            # PERF: the first /docs takes 100 ms. In a thread it does not delay the packets of players.
            rendered = await asyncio.to_thread(self._render_now, variant)
            # A client that invents subdomains or ports costs CPU time, but must not fill the memory.
            if len(self._rendered) >= VARIANTS_CACHED:
                self._rendered.clear()
            self._rendered[variant] = rendered
        return rendered

    def _render_now(self, variant: str) -> tuple[bytes, bytes, str]:
        body = self._make(variant)
        return body, gzipped(body), f'W/"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
