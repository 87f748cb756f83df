"""The API's own pages: the OpenAPI document and the same for people."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

import falcon
import falcon.asgi
import jinja2
import msgspec

HTML: Final = "text/html; charset=utf-8"
_POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def pages(document: Mapping[str, Any]) -> dict[str, "Fixed"]:
    """What is served at which path. Rendered once: nothing here changes while the server runs."""
    folder = resources.files("kiai.faces.api").joinpath("templates")
    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            reply = operation["responses"]["200"]["content"]
            described = {**operation, "path": path, "method": method.upper(), "reply": _shape(reply, document)}
            sections.setdefault(operation["tags"][0], []).append(described)
    html = templates.get_template("docs.html").render(document=document, sections=sections)
    return {
        "/openapi.json": Fixed(msgspec.json.encode(document), "application/json; charset=utf-8"),
        "/docs": Fixed(html.encode(), HTML),
        "/docs.css": Fixed(folder.joinpath("docs.css").read_bytes(), "text/css; charset=utf-8"),
    }


def _shape(content: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    if "application/json" not in content:
        [kind] = content
        return f"a stream ({kind})" if kind == "text/event-stream" else f"a file ({kind})"
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


class Fixed:
    """A page that never changes."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self._body = body
        self._content_type = content_type
        self._etag = f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page."""
        req.scope["kiai.route"] = req.uri_template
        resp.set_headers(
            (
                ("ETag", self._etag),
                ("Cache-Control", "no-cache"),
                ("Access-Control-Allow-Origin", "*"),
                ("Content-Security-Policy", _POLICY),
                ("Referrer-Policy", "same-origin"),
            )
        )
        if self._etag in (req.get_header("If-None-Match") or ""):
            resp.status = 304
            return
        resp.content_type = self._content_type
        resp.data = self._body
