"""The OpenAPI 3.1 document, generated from the Structs that validate requests and encode answers.

operations + examples -> document()      everything but the servers
                         servers(root)   where the paths are, seen from the host that was asked
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kiai import __version__
from kiai.faces.api.examples import Example, Examples
from kiai.faces.api.operation import Operation, Raw, Stream
from kiai.faces.api.params import allowed_words, shown_schema
from kiai.faces.api.replies import Failure

REF: Final = "#/components/schemas/{name}"
OCTETS: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"
_KEY: Final[list[dict[str, list[str]]]] = [{"apiKey": []}]
_RAW: Final = (Raw, Stream)
_VERBS: Final = frozenset({"get", "set", "search", "calculate"})
"""A path that begins with one of these is a verb already; its operationId needs no other."""
_DESCRIPTION: Final = (
    "Bancho.PY API v4.3.2 with additions (v1), and version 2 below `/v2`. All times are UTC. On the host `api.` the "
    "paths are as shown, with `/v1` in front or not; on the bare host they start with `/api`."
)
_LAST_EVENT_ID: Final = {
    "type": "integer",
    "minimum": 0,
    "maximum": 10**18 - 1,
    "description": "The id of the last event that arrived. The stream continues after it.",
    "x-allowed": "the id of an event",
}

_LIMITS: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_HEADERS: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "X-Request-Id": ({"type": "string"}, "The id of this request. Quote it when you report a fault."),
    "X-RateLimit-Limit": (
        {"type": "integer", "minimum": 1},
        "How many requests the tightest limit allows in its period. Absent where the operator turned limits off.",
    ),
    "X-RateLimit-Remaining": ({"type": "integer", "minimum": 0}, "How many requests of that limit are left."),
    "X-RateLimit-Reset": ({"type": "integer", "minimum": 0}, "In how many seconds that limit is full again."),
    "Cache-Control": ({"type": "string"}, "How the answer may be cached."),
    "ETag": ({"type": "string"}, "A validator of this answer. Send it back in If-None-Match to get 304 if unchanged."),
    "Retry-After": ({"type": "integer", "minimum": 1}, "After how many seconds to try again."),
    "WWW-Authenticate": ({"type": "string"}, "`Bearer`: the request needs an API key."),
    "Content-Disposition": ({"type": "string"}, "The name of the file (RFC 6266). Absent for bare frames."),
    "Accept-Ranges": ({"type": "string"}, "`bytes`: parts of the file can be requested with Range."),
    "Content-Range": ({"type": "string"}, "Which part of the file this is (RFC 9110)."),
    "Link": ({"type": "string"}, 'The next page as `<address>; rel="next"` (RFC 8288). Absent on the last page.'),
}

PROBLEMS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BadRequest", "A parameter is missing, repeated or outside what is allowed. The sentence names it."),
    401: ("Unauthorized", "The API key is missing, wrong or revoked."),
    403: ("Forbidden", "The holder of the key lacks the privilege that the sentence names."),
    404: ("NotFound", "There is no such player, map, score and so on, or it is not public."),
    409: ("Conflict", "The value is already taken."),
    413: ("ContentTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body has a type that cannot be used."),
    416: ("RangeNotSatisfiable", "The file has no such part."),
    422: ("UnprocessableContent", "A parameter is outside what is allowed. The sentence names it."),
    429: ("TooManyRequests", "Too many requests. Retry-After says when to try again."),
    503: ("ServiceUnavailable", "A part of the server cannot answer now. Nothing was changed."),
}
_ONLY_HERE: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    416: ("Content-Range", "Accept-Ranges", "ETag"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_ONLY_WITH_BODY: Final = (409, 413, 415)


def servers(root: str) -> list[dict[str, str]]:
    """Where the paths are, most direct first. `root` is "" on the host `api.` and "/api" on all other hosts."""
    if root:
        return [{"url": root, "description": "This host."}]
    return [{"url": "/", "description": "This host."}, {"url": "/api", "description": "The same, as on other hosts."}]


def operation_id(operation: Operation) -> str:
    """The name of an operation for generated clients: `get_player_info`, `get_v2_players_id`."""
    name = re.sub(r"[{}]", "", operation.path).strip("/").replace("/", "_")
    method = operation.method.lower()
    if name.partition("_")[0] not in _VERBS:
        return f"{method}_{name}"
    # A path that changes something takes POST and PUT alike; POST is what most clients send.
    return f"{name}_with_put" if method == "put" else name


def document(
    operations: Sequence[Operation], *, title: str, failure_v2: type[msgspec.Struct], examples: Examples
) -> dict[str, Any]:
    """The document as plain data, without `servers`."""
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
        example = examples.operations.get(operation_id(one))
        described: dict[str, Any] = {
            "operationId": operation_id(one),
            "summary": one.summary,
            "tags": [one.tag],
            "parameters": list(_parameters(one, components[names[one.query]], example)),
            "responses": _responses(one, reply_shapes.get(id(one)), example),
            "security": _KEY if one.permission is not None else [{}, *_KEY],
        }
        if one.description:
            described["description"] = one.description
        body = _body(one, body_shapes.get(id(one)), example)
        if body is not None:
            described["requestBody"] = body
        paths.setdefault(one.path, {})[one.method.lower()] = described
    for name in {*names.values()}:
        components.pop(name, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{title}: public API", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _problems({one.version for one in operations}, failures, examples),
            "headers": {
                name: {"description": text, "schema": schema, "required": False}
                for name, (schema, text) in _HEADERS.items()
            },
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key in the Authorization header, as `Bearer <key>` or alone.",
                }
            },
        },
    }


def _parameters(operation: Operation, query: Mapping[str, Any], example: Example | None) -> Iterator[dict[str, Any]]:
    sent = {}
    if example is not None:
        sent = example.parameters(operation.path) | {name: [text] for name, text in example.headers.items()}
    for name, shape in operation.path_params.items():
        yield _parameter("path", name, dict(shape), required=True, sent=sent)
    shown = shown_schema(operation.query)
    allowed = allowed_words(operation.query)
    required = query.get("required", ())
    for name, shape in query.get("properties", {}).items():
        schema = _without_null(dict(shape)) | shown.get(name, {}) | {"x-allowed": allowed[name]}
        if schema.get("default", 0) is None:
            del schema["default"]
        yield _parameter("query", name, schema, required=name in required, sent=sent)
    if operation.reply is Stream:
        yield _parameter("header", "Last-Event-ID", dict(_LAST_EVENT_ID), required=False, sent=sent)


def _parameter(
    place: str, name: str, schema: dict[str, Any], *, required: bool, sent: Mapping[str, list[str]]
) -> dict[str, Any]:
    """One parameter. `x-allowed` says in words what its schema says in keywords and patterns."""
    about = schema.pop("description", "")
    allowed = schema.pop("x-allowed", "") or words_of(schema)
    described: dict[str, Any] = {
        "name": name,
        "in": place,
        "required": required,
        "description": f"{about} Allowed: {allowed}.".strip(),
        "schema": schema,
        "x-about": about,
        "x-allowed": allowed,
    }
    if name in sent:
        values = [_typed(text, schema.get("items", schema)) for text in sent[name]]
        described["example"] = values if schema.get("type") == "array" else values[0]
    return described


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """A parameter's text as the JSON value that its schema describes."""
    match schema.get("type"):
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "boolean":
            return text == "true"
    return text


def words_of(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words."""
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if options:
        words = " or ".join(words_of(one) for one in options)
        return words + (" or null" if len(options) < len(schema["anyOf"]) else "")
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    match schema.get("type"):
        case "integer":
            return f"a whole number from {schema['minimum']} to {schema['maximum']}"
        case "number":
            return f"a number from {schema['minimum']} to {schema['maximum']}"
        case "boolean":
            return "true or false"
        case "string":
            least, most = schema.get("minLength", 0), schema.get("maxLength")
            return "a text" if most is None else f"a text of {least} to {most} characters"
        case "array":
            return f"a list, each {words_of(schema['items'])}"
    return "any value"


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional parameter is left out, never null."""
    options = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    if len(options) == 1:
        schema = options[0] | schema
    elif options:
        schema["anyOf"] = options
    return schema


def _body(operation: Operation, shape: Any, example: Example | None) -> dict[str, Any] | None:
    """The body of a request, in one type: clients that are generated for several send all of them at once."""
    if operation.body_content is not None:
        return {"required": True, "content": operation.body_content}
    if shape is None:
        return None
    shown = {} if example is None or example.json is None else {"example": example.json}
    return {
        "required": True,
        "description": "A form (application/x-www-form-urlencoded) with the same fields is accepted as well.",
        "content": {"application/json": {"schema": shape, **shown}},
    }


def _responses(operation: Operation, shape: Any, example: Example | None) -> dict[str, Any]:
    always = ("X-Request-Id", *_LIMITS)
    cached = ("ETag",) if operation.cached else ()
    file = ("Accept-Ranges", "Content-Disposition") if operation.reply is Raw else ()
    linked = ("Link",) if operation.following is not None else ()
    if operation.reply is Raw:
        content: dict[str, Any] = {OCTETS: {"schema": {"type": "string", "format": "binary"}}}
    elif operation.reply is Stream:
        content = {EVENTS: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": shape}}
    if example is not None and example.answer is not None:
        shown = {"summary": example.line, "value": example.answer}
        [kind] = content
        content = {kind: content[kind] | {"examples": {"demo": shown}}}
    responses: dict[str, Any] = {
        "200": {
            "description": "Success.",
            "headers": _refs(*always, "Cache-Control", *cached, *file, *linked),
            "content": content,
        }
    }
    if operation.cached:
        responses["304"] = {
            "description": "The answer that If-None-Match names is still current.",
            "headers": _refs(*always, *cached),
        }
    if operation.reply is Raw:
        responses["206"] = {
            "description": "The part that Range requested.",
            "headers": _refs(*always, "Content-Range", *cached, *file),
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    for code in _codes(operation):
        responses[str(code)] = {"$ref": f"#/components/responses/{_problem_name(code, operation.version)}"}
    return responses


def _codes(operation: Operation) -> Iterator[int]:
    for code in PROBLEMS:
        if code in _ONLY_WITH_BODY and operation.body is None:
            continue
        if code == 403 and operation.permission is None:
            continue
        if code == 416 and operation.reply is not Raw:
            continue
        if code == 422 and operation.version == 1:
            continue
        yield code


def _problem_name(code: int, version: int) -> str:
    return PROBLEMS[code][0] + ("" if version == 1 else f"V{version}")


def _problems(versions: set[int], failures: Mapping[int, Any], examples: Examples) -> dict[str, Any]:
    found = {}
    for version in sorted(versions):
        for code, (_, text) in PROBLEMS.items():
            limits = () if code == 401 else _LIMITS  # a wrong key has no limit of its own
            headers = ("X-Request-Id", *limits, "Cache-Control", *_ONLY_HERE.get(code, ()))
            content: dict[str, Any] = {"schema": failures[version]}
            shown = examples.errors.get(f"v{version}", {}).get(str(code), [])
            if shown:
                content["examples"] = {
                    f"example{number}": {"summary": one.line, "value": one.answer}
                    for number, one in enumerate(shown, 1)
                }
            found[_problem_name(code, version)] = {
                "description": text,
                "headers": _refs(*headers),
                "content": {"application/json": content},
            }
    return found


def _refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
