"""The OpenAPI 3.1 document, generated from the Structs that validate requests and encode responses.

operations + examples -> document()      the document without `servers`
                         servers(root)   the base URLs of the paths, for the host of the request
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kiai.faces.api.examples import Example, Examples
from kiai.faces.api.operation import BinaryReply, Operation, StreamReply
from kiai.faces.api.params import allowed_words, query_schema
from kiai.faces.api.replies import Failure
from kiai.version import VERSION

REF: Final = "#/components/schemas/{name}"
OCTETS: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"
_KEY: Final[list[dict[str, list[str]]]] = [{"apiKey": []}]
_RAW: Final = (BinaryReply, StreamReply)
_VERBS: Final = frozenset({"get", "set", "search", "calculate"})
"""A path that begins with one of these contains a verb, so its operationId gets no other one."""
_DESCRIPTION: Final = (
    "Version 1 is the Bancho.PY API v4.3.2 with additions. Version 2 is below `/v2`. All times are UTC. On the host "
    "`api.` the paths are as shown, optionally with `/v1` in front. On other hosts they start with `/api`."
)
_LAST_EVENT_ID: Final = {
    "type": "integer",
    "minimum": 0,
    "maximum": 10**18 - 1,
    "description": "The id of the last event you received. The stream continues after it.",
    "x-allowed": "the id of an event",
}

_LIMITS: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_HEADERS: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "X-Request-Id": ({"type": "string"}, "The id of this request. Include it when you report a problem."),
    "X-RateLimit-Limit": (
        {"type": "integer", "minimum": 1},
        "Number of requests that the strictest limit allows in its period. Absent if the operator turned limits off.",
    ),
    "X-RateLimit-Remaining": ({"type": "integer", "minimum": 0}, "Number of requests left in that limit."),
    "X-RateLimit-Reset": ({"type": "integer", "minimum": 0}, "Seconds until that limit is full again."),
    "Cache-Control": ({"type": "string"}, "Rules for caching the response."),
    "ETag": (
        {"type": "string"},
        "A validator of this response. Send it as If-None-Match to get 304 if nothing changed.",
    ),
    "Retry-After": ({"type": "integer", "minimum": 1}, "Seconds to wait before a retry."),
    "WWW-Authenticate": ({"type": "string"}, "`Bearer`: the request needs an API key."),
    "Content-Disposition": ({"type": "string"}, "The name of the file (RFC 6266). Absent for bare frames."),
    "Accept-Ranges": ({"type": "string"}, "`bytes`: parts of the file can be requested with Range."),
    "Content-Range": ({"type": "string"}, "The part of the file in this response (RFC 9110)."),
    "Link": ({"type": "string"}, 'The next page as `<address>; rel="next"` (RFC 8288). Absent on the last page.'),
}

PROBLEMS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BadRequest", "A parameter is missing, repeated or not valid. The sentence names it."),
    401: ("Unauthorized", "The API key is missing, wrong or revoked."),
    403: ("Forbidden", "The account of the key lacks the privilege or role that the sentence names."),
    404: ("NotFound", "The resource does not exist or is not public."),
    409: ("Conflict", "The value is already in use, or the present state does not allow the request."),
    413: ("ContentTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body has an unsupported type."),
    416: ("RangeNotSatisfiable", "The range is outside the file."),
    422: ("UnprocessableContent", "A parameter is not valid. The sentence names it."),
    429: ("TooManyRequests", "Too many requests. Retry-After contains the seconds to wait."),
    503: ("ServiceUnavailable", "A part of the server is unavailable. The request changed nothing."),
}
_EXTRA_HEADERS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    416: ("Content-Range", "Accept-Ranges", "ETag"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_ONLY_WITH_BODY: Final = (409, 413, 415)


def servers(root: str) -> list[dict[str, str]]:
    """Return the base URLs of the paths, preferred one first. `root` is "" on the host `api.`, else "/api"."""
    if root:
        return [{"url": root, "description": "This host."}]
    return [
        {"url": "/", "description": "This host."},
        {"url": "/api", "description": "The same paths, as on other hosts."},
    ]


def operation_id(operation: Operation) -> str:
    """Return the name of an operation for generated clients, e.g. `get_player_info` or `get_v2_players_id`."""
    name = re.sub(r"[{}]", "", operation.path).strip("/").replace("/", "_").replace("-", "_")
    method = operation.method.lower()
    if name.partition("_")[0] not in _VERBS:
        return f"{method}_{name}"
    # Paths that change something accept POST and PUT. Most clients send POST, so it has the short name.
    return f"{name}_with_put" if method == "put" else name


def document(
    operations: Sequence[Operation], *, title: str, failure_v2: type[msgspec.Struct], examples: Examples
) -> dict[str, Any]:
    """Return the document as plain data, without `servers`."""
    replies = [operation.reply for operation in operations if operation.reply not in _RAW]
    queries = [operation.query for operation in operations]
    bodies = [operation.body_type for operation in operations if operation.body_type is not None]
    # All types in one call, because msgspec gives each Struct one name for the whole document. It returns the schemas
    # in the order of the types.
    shapes, components = msgspec.json.schema_components(
        [*replies, *queries, *bodies, Failure, failure_v2], ref_template=REF
    )
    schemas = iter(shapes)
    reply_shapes = {id(operation): next(schemas) for operation in operations if operation.reply not in _RAW}
    names = {query: next(schemas)["$ref"].rpartition("/")[2] for query in queries}
    body_shapes = {id(operation): next(schemas) for operation in operations if operation.body_type is not None}
    failures = {1: next(schemas), 2: next(schemas)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        example = examples.operations.get(operation_id(operation))
        described: dict[str, Any] = {
            "operationId": operation_id(operation),
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": list(_parameters(operation, components[names[operation.query]], example)),
            "responses": _responses(operation, reply_shapes.get(id(operation)), example),
            "security": _KEY if operation.permission is not None else [{}, *_KEY],
        }
        if operation.description:
            described["description"] = operation.description
        body = _body(operation, body_shapes.get(id(operation)), example)
        if body is not None:
            described["requestBody"] = body
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    # The parameters list each field of a query, so its Struct is not a schema of its own.
    for name in {*names.values()}:
        components.pop(name, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{title}: public API", "version": VERSION, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _problems({operation.version for operation in operations}, failures, examples),
            "headers": {
                name: {"description": text, "schema": schema, "required": False}
                for name, (schema, text) in _HEADERS.items()
            },
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key in the Authorization header, with or without `Bearer` in front.",
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
    declared = query_schema(operation.query)
    allowed = allowed_words(operation.query)
    required = query.get("required", ())
    for name, shape in query.get("properties", {}).items():
        schema = _without_null(dict(shape)) | declared.get(name, {}) | {"x-allowed": allowed[name]}
        if schema.get("default", 0) is None:  # an optional parameter without a value has no default in the document
            del schema["default"]
        yield _parameter("query", name, schema, required=name in required, sent=sent)
    if operation.reply is StreamReply:
        yield _parameter("header", "Last-Event-ID", dict(_LAST_EVENT_ID), required=False, sent=sent)


def _parameter(
    place: str, name: str, schema: dict[str, Any], *, required: bool, sent: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return a parameter. `x-allowed` describes in words what its schema declares with keywords and patterns."""
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
        values = [_json_value(text, schema.get("items", schema)) for text in sent[name]]
        described["example"] = values if schema.get("type") == "array" else values[0]
    return described


def _json_value(text: str, schema: Mapping[str, Any]) -> Any:
    """Convert a parameter's text to the JSON value that its schema describes."""
    # Examples of parameters come from query strings, where every value is text.
    match schema.get("type"):
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "boolean":
            return text == "true"
    return text


def words_of(schema: Mapping[str, Any]) -> str:
    """Describe in words what a schema allows."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if options:
        words = " or ".join(words_of(option) for option in options)
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
    """Remove null from a schema: a query string leaves an optional parameter out instead of sending null."""
    options = [option for option in schema.pop("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        schema = options[0] | schema
    elif options:
        schema["anyOf"] = options
    return schema


def _body(operation: Operation, shape: Any, example: Example | None) -> dict[str, Any] | None:
    """Return the body of a request, or None without one."""
    # Only one media type is listed: some generated clients send all listed types at once.
    if operation.body_content is not None:
        return {"required": True, "content": operation.body_content}
    if shape is None:
        return None
    with_example = {} if example is None or example.json is None else {"example": example.json}
    form = "A form (application/x-www-form-urlencoded) with the same fields is accepted as well."
    return {
        "required": not operation.body_optional,
        **({"description": form} if operation.version == 1 else {}),
        "content": {"application/json": {"schema": shape, **with_example}},
    }


def _responses(operation: Operation, shape: Any, example: Example | None) -> dict[str, Any]:
    always = ("X-Request-Id", *_LIMITS)
    cached = ("ETag",) if operation.cached else ()
    file = ("Accept-Ranges", "Content-Disposition") if operation.reply is BinaryReply else ()
    linked = ("Link",) if operation.following is not None else ()
    if operation.reply is BinaryReply:
        content: dict[str, Any] = {OCTETS: {"schema": {"type": "string", "format": "binary"}}}
    elif operation.reply is StreamReply:
        content = {EVENTS: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": shape}}
    if example is not None and example.answer is not None:
        demo = {"summary": example.line, "value": example.answer}
        [kind] = content
        content = {kind: content[kind] | {"examples": {"demo": demo}}}
    responses: dict[str, Any] = {
        str(operation.success): {
            "description": "Success.",
            "headers": _refs(*always, "Cache-Control", *cached, *file, *linked),
            "content": content,
        }
    }
    if operation.cached:
        responses["304"] = {
            "description": "The response that If-None-Match names is still current.",
            "headers": _refs(*always, *cached),
        }
    if operation.reply is BinaryReply:
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
        if code == 416 and operation.reply is not BinaryReply:
            continue
        if code == 422 and operation.version == 1:  # version 1 answers 400 instead
            continue
        yield code


def _problem_name(code: int, version: int) -> str:
    return PROBLEMS[code][0] + ("" if version == 1 else f"V{version}")


def _problems(versions: set[int], failures: Mapping[int, Any], examples: Examples) -> dict[str, Any]:
    problems = {}
    for version in sorted(versions):
        for code, (_, text) in PROBLEMS.items():
            limits = () if code == 401 else _LIMITS  # a key is checked before the limits are counted
            headers = ("X-Request-Id", *limits, "Cache-Control", *_EXTRA_HEADERS.get(code, ()))
            content: dict[str, Any] = {"schema": failures[version]}
            of_code = examples.errors.get(f"v{version}", {}).get(str(code), [])
            if of_code:
                content["examples"] = {
                    f"example{number}": {"summary": example.line, "value": example.answer}
                    for number, example in enumerate(of_code, 1)
                }
            problems[_problem_name(code, version)] = {
                "description": text,
                "headers": _refs(*headers),
                "content": {"application/json": content},
            }
    return problems


def _refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
