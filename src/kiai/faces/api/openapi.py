"""The OpenAPI 3.1 document, generated from the Structs that validate requests and encode answers."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiai import __version__
from kiai.faces.api.operation import Operation, Raw, Stream
from kiai.faces.api.params import shown_schema
from kiai.faces.api.replies import Failure

REF: Final = "#/components/schemas/{name}"
_KEY: Final[list[dict[str, list[str]]]] = [{"apiKey": []}]
_RAW: Final = (Raw, Stream)
_RESUMES: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that arrived: the stream goes on behind it.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
}
_PROBLEMS: Final = {
    400: "A parameter is missing, repeated or outside what is allowed; the sentence names it.",
    401: "The API key is missing, wrong or revoked.",
    403: "The key's holder lacks the privilege that the sentence names.",
    404: "There is no such player, map, score, ... (or nobody may know of it).",
    409: "What is asked for is taken already.",
    413: "The body is too large.",
    415: "The body is of a kind that cannot be used.",
    422: "A parameter is outside what is allowed; the sentence names it.",
    429: "Too many requests; Retry-After says when to come back.",
    503: "A part of the server cannot answer now; nothing was changed.",
}


def document(operations: Sequence[Operation], *, title: str, failure_v2: type[msgspec.Struct]) -> dict[str, Any]:
    """The whole document as plain data."""
    replies = [one.reply for one in operations if one.reply not in _RAW]
    queries = [one.query for one in operations]
    bodies = [one.body_type for one in operations if one.body_type is not None]
    shapes, components = msgspec.json.schema_components(
        [*replies, *queries, *bodies, Failure, failure_v2], ref_template=REF
    )
    schemas = iter(shapes)
    reply_shapes = {id(one): next(schemas) for one in operations if one.reply not in _RAW}
    names = {query: next(schemas)["$ref"].rpartition("/")[2] for query in queries}
    body_shapes = {id(one): next(schemas) for one in operations if one.body_type is not None}
    failures = {1: next(schemas), 2: next(schemas)}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        described: dict[str, Any] = {
            "operationId": f"{one.method.lower()}{one.path.replace('/', '_').replace('{', '').replace('}', '')}",
            "summary": one.summary,
            "tags": [one.tag],
            "parameters": [
                *_in_path(one),
                *_parameters(components[names[one.query]], shown_schema(one.query)),
                *([_RESUMES] if one.reply is Stream else []),
            ],
            "responses": _responses(one, reply_shapes.get(id(one)), failures[one.version]),
            "security": _KEY if one.permission is not None else [{}, *_KEY],
        }
        if one.description:
            described["description"] = one.description
        if one.body_content is not None:
            described["requestBody"] = {"required": True, "content": one.body_content}
        elif id(one) in body_shapes:
            content = {"schema": body_shapes[id(one)]}
            described["requestBody"] = {
                "required": True,
                "content": {"application/json": content, "application/x-www-form-urlencoded": content},
            }
        paths.setdefault(one.path, {})[one.method.lower()] = described
    for query in {*names.values()}:
        components.pop(query, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{title}: public API",
            "version": __version__,
            "description": "Bancho.PY API v4.3.2, with additions. Times are UTC. On the host api. the paths are as "
            "shown, with /v1 in front or not; on the bare host they start with /api.",
        },
        "servers": [{"url": "/"}, {"url": "/api"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, bare or as `Bearer <key>`, in the Authorization header.",
                }
            },
        },
    }


def _parameters(query: dict[str, Any], shown: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    parameters = []
    for name, shape in query.get("properties", {}).items():
        schema = _without_null(dict(shape)) | shown.get(name, {})
        if schema.get("default", 0) is None:
            del schema["default"]
        described = {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": schema}
        if "description" in schema:
            described["description"] = schema.pop("description")
        parameters.append(described)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional parameter is left out, never null."""
    options = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    if len(options) == 1:
        schema.update(options[0])
    elif options:
        schema["anyOf"] = options
    if schema.get("type") == "boolean":
        # In a query string everything is text: these four words, and nothing else.
        schema.pop("type")
        schema["enum"] = [True, False, 1, 0, "true", "false", "1", "0"]
    return schema


def _in_path(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in operation.path_params.items()
    ]


def _responses(operation: Operation, shape: Any, failure: Any) -> dict[str, Any]:
    if operation.reply is Raw:
        content: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    elif operation.reply is Stream:
        content = {"text/event-stream": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": shape}}
    responses: dict[str, Any] = {"200": {"description": "Success.", "content": content}}
    if operation.cached:
        responses["304"] = {"description": "What If-None-Match names is still current."}
    if operation.reply is Raw:
        responses["206"] = {"description": "The part that Range asked for.", "content": content}
        responses["416"] = {
            "description": "The file has no such part.",
            "content": {"application/json": {"schema": failure}},
        }
    for code, why in _PROBLEMS.items():
        if code in (409, 413, 415) and operation.body is None:
            continue
        if code == 422 and operation.version == 1:
            continue
        responses[str(code)] = {"description": why, "content": {"application/json": {"schema": failure}}}
    return responses
