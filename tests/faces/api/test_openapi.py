"""The OpenAPI document agrees with the responses of a server, and describes everything in words."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from tests.demo_server import DemoServer, demo_server
from tests.faces.api.openapi_examples import API_HOST, FILE, MAKE, REQUESTS, Collected, collect, differences, encode

from kiai.faces.api.examples import Example, Examples

EVERY_ANSWER_HAS = {
    "date",
    "content-type",
    "content-length",
    "content-encoding",
    "connection",
    "transfer-encoding",
    "vary",
}
BROWSERS_RULES = {"x-content-type-options", "x-accel-buffering"}
"""Headers without a description: those of HTTP, and those for browsers and proxies."""


class Found(msgspec.Struct):
    """The document as both kinds of host serve it, and the responses of a server with the demo data."""

    document: dict[str, Any]
    on_bare_host: dict[str, Any]
    collected: Collected
    empty: dict[str, int]
    """The status of a request without a body, for an object that does not exist, by the id of each operation whose body
    is JSON."""

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield path, method and operation."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield path, method, operation

    def resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the target of a `$ref`, or the value itself without one."""
        while "$ref" in value:
            found: Any = self.document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    with demo_server(tmp_path_factory.mktemp("demo") / "data") as server:
        served, on_bare_host = (
            httpx.get(f"{server.url}/openapi.json", headers={"Host": host}).json()
            for host in ("api.example.org", "example.org")
        )
        return Found(served, on_bare_host, collect(server), dict(without_body(server, served)))


def without_body(server: DemoServer, document: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                target = re.sub(r"{[a-z_]+}", "999999", path)
                name = operation["operationId"]
                status = 0
                for key in (server.keys[REQUESTS[name].by], *server.keys.values()):
                    headers = {"Host": API_HOST, "Authorization": f"Bearer {key}"}
                    status = httpx.request(method, f"{server.url}{target}", headers=headers).status_code
                    if status not in (403, 429):  # not this key's permission, or its limit
                        break
                yield name, status


def test_examples_equal_the_current_responses(found: Found) -> None:
    committed = msgspec.json.decode(FILE.read_bytes())
    answered = msgspec.json.decode(encode(found.collected.examples))

    changed = list(differences(committed, answered))

    assert not changed, f"write {FILE.name} again with {MAKE}:\n" + "\n".join(changed[:20])


def test_every_operation_has_an_example(found: Found) -> None:
    ids = {operation["operationId"] for _, _, operation in found.operations()}

    assert ids - set(REQUESTS) == set(), "add them to REQUESTS in tests/faces/api/openapi_examples.py"
    assert set(REQUESTS) - ids == set(), "there are no such operations"
    for _, _, operation in found.operations():
        [content] = next(iter(operation["responses"].values()))["content"].values()
        assert "examples" in content or content["schema"].get("format") == "binary", operation["operationId"]


def test_every_example_response_is_valid_for_its_schema(found: Found) -> None:
    for _, _, operation in found.operations():
        for status, response in operation["responses"].items():
            for kind, content in found.resolved(response).get("content", {}).items():
                schema = {**content["schema"], "components": found.document["components"]}
                for example in content.get("examples", {}).values():
                    assert kind == "text/event-stream" or example["value"], (operation["operationId"], status)
                    jsonschema.Draft202012Validator(schema).validate(example["value"])


def test_every_example_request_is_valid_for_its_parameters(found: Found) -> None:
    for path, _, operation in found.operations():
        example = found.collected.examples.operations[operation["operationId"]]
        parameters = {one["name"]: one for one in operation["parameters"]}
        for name in example.parameters(path):
            parameter = parameters[name]
            jsonschema.Draft202012Validator(parameter["schema"]).validate(parameter["example"])


def test_a_body_is_required_where_an_empty_one_is_refused(found: Found) -> None:
    required = {
        operation["operationId"]: operation["requestBody"]["required"]
        for _, _, operation in found.operations()
        if operation["operationId"] in found.empty
    }

    assert {name: status == 400 for name, status in found.empty.items()} == required
    assert len(set(required.values())) == 2


def test_every_error_has_an_example_of_its_version(found: Found) -> None:
    for path, _, operation in found.operations():
        key = "error" if path.startswith("/v2") else "status"
        for status, response in operation["responses"].items():
            if int(status) < 400 or (path.startswith("/v2") and status in ("400", "403")):
                continue  # no request to the demo data gets these from version 2
            [content] = found.resolved(response)["content"].values()
            assert all(one["value"][key].endswith((".", "!")) for one in content["examples"].values()), (path, status)
            assert content["examples"], (path, status)


def test_every_response_header_is_described(found: Found) -> None:
    described: dict[tuple[str, int], set[str]] = {}
    for path, _, operation in found.operations():
        version = "v2" if path.startswith("/v2") else "v1"
        for status, response in operation["responses"].items():
            headers = {name.lower() for name in found.resolved(response).get("headers", {})}
            described[operation["operationId"], int(status)] = headers
            described.setdefault((version, int(status)), set()).update(headers)

    for one in found.collected.sent:
        if one.header in EVERY_ANSWER_HAS | BROWSERS_RULES or one.header.startswith("access-control-"):
            continue
        if (one.operation, one.status) in described:
            assert one.header in described[one.operation, one.status], one


def test_headers_for_keys_limits_ranges_and_caching_are_described(found: Found) -> None:
    expected = {
        "200": {"X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
        "401": {"X-Request-Id", "WWW-Authenticate"},
        "416": {"Content-Range"},
        "429": {"Retry-After"},
        "503": {"Retry-After"},
    }
    for path, _, operation in found.operations():
        for status, response in operation["responses"].items():
            resolved = found.resolved(response)
            headers = resolved.get("headers", {})
            assert expected.get(status, set()) <= set(headers), (path, status)
            assert all(found.resolved(one)["description"] for one in headers.values()), (path, status)
        answers = operation["responses"]
        success = next(iter(answers.values()))
        assert ("ETag" in success["headers"]) == ("304" in answers), path
        file = "application/octet-stream" in success["content"]
        assert ("Content-Disposition" in success["headers"]) == file, path
    listed = found.document["paths"]["/v2/players"]["get"]["responses"]["200"]
    assert "Link" in listed["headers"]
    assert "Link" in found.document["paths"]["/get_leaderboard"]["get"]["responses"]["200"]["headers"]
    assert "Link" not in found.document["paths"]["/v2/me"]["get"]["responses"]["200"]["headers"]


def test_boolean_parameters_have_the_type_boolean(found: Found) -> None:
    booleans = [
        (path, parameter["name"])
        for path, _, operation in found.operations()
        for parameter in operation["parameters"]
        if parameter["schema"].get("type") == "boolean"
    ]

    assert {
        ("/get_player_scores", "include_loved"),
        ("/get_player_scores", "include_failed"),
        ("/get_replay", "include_headers"),
        ("/v2/maps", "frozen"),
    } <= set(booleans)
    for path, _, operation in found.operations():
        for parameter in operation["parameters"]:
            kinds = {type(value) for value in parameter["schema"].get("enum", ())}
            assert len(kinds) <= 1, (path, parameter["name"])


def test_servers_are_the_base_urls_of_the_requested_host(found: Found) -> None:
    assert [one["url"] for one in found.document["servers"]] == ["/", "/api"]
    assert [one["url"] for one in found.on_bare_host["servers"]] == ["/api"]
    assert {**found.document, "servers": None} == {**found.on_bare_host, "servers": None}


def test_operation_ids_are_unique_and_have_one_verb(found: Found) -> None:
    ids = [operation["operationId"] for _, _, operation in found.operations()]

    assert len(ids) == len(set(ids))
    assert {"get_player_info", "calculate_pp", "search_players", "set_avatar", "get_v2_players_id"} <= set(ids)
    for one in ids:
        verb, _, rest = one.partition("_")
        assert verb in ("get", "set", "search", "calculate", "post", "put", "patch", "delete"), one
        assert rest.partition("_")[0] not in ("get", "set", "search", "calculate"), one


def test_every_parameter_describes_allowed_values_in_words(found: Found) -> None:
    for path, _, operation in found.operations():
        for parameter in operation["parameters"]:
            allowed = parameter["x-allowed"]
            assert parameter["x-about"].endswith("."), (path, parameter["name"])
            assert parameter["description"].endswith(f"Allowed: {allowed}."), (path, parameter["name"])
            assert allowed not in ("", "a text", "any value"), (path, parameter["name"])
            assert not set(allowed) & set("^$\\|*"), (path, parameter["name"])


def test_error_text_contains_the_allowed_values_of_the_document(found: Found) -> None:
    [limit] = [
        one for one in found.document["paths"]["/get_player_scores"]["get"]["parameters"] if one["name"] == "limit"
    ]

    errors = found.collected.examples.errors["v1"]["400"]

    [rejected] = [one.answer["status"] for one in errors if "limit=500" in one.target]
    assert rejected == f"limit must be {limit['x-allowed']}, got 500."


@pytest.mark.parametrize(
    ("committed", "answered", "expected"),
    [
        ({"pp": 100.0}, {"pp": 100.00001}, []),
        ({"pp": 100.0}, {"pp": 101.0}, ["/pp is 101.0, not 100.0"]),
        ({"a": 1}, {"b": 1}, ["/a is gone", "/b is new"]),
        ([1, 2], [1, 3], ["/1 is 3, not 2"]),
        ([1], [1, 2], [" is [1, 2], not [1]"]),
        (1, True, [" is True, not 1"]),
    ],
)
def test_differences_name_the_place_of_each_change(committed: object, answered: object, expected: list[str]) -> None:
    assert list(differences(committed, answered)) == expected


def test_parameters_of_an_example_are_read_from_path_and_query() -> None:
    example = Example(method="GET", target="/v2/players/8/stats/0?acc=99.5&acc=98&q=a%20b", status=200)

    assert example.parameters("/v2/players/{id}/stats/{mode}") == {
        "id": ["8"],
        "mode": ["0"],
        "acc": ["99.5", "98"],
        "q": ["a b"],
    }


def test_empty_examples_file_is_valid() -> None:
    assert msgspec.json.decode(b"{}", type=Examples) == Examples()
