"""Schemathesis checks the API against its OpenAPI document.

The check `positive_data_acceptance` is not used, because OpenAPI cannot express that a request names a player either by
id or by name.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.patience import patiently
from tests.wire.kit import API, Server, environment
from tests.wire.world import LOVED, OSU_FILE, PENDING, RANKED, TAIKO, World, small_world

pytestmark = pytest.mark.any_store

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
RUN_S: Final = 120.0
MAIN: Final = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


def problems(server: Server, folder: Path, *options: str) -> str | None:
    """Run Schemathesis. Return its output if it found a problem, otherwise None."""
    base = f"http://127.0.0.1:{server.port}"
    command = [sys.executable, "-c", MAIN, "run", f"{base}/openapi.json", "--url", base, "--header", f"Host: {API}"]
    command += ["--checks", ",".join(CHECKS), "--max-examples", "3", "--generation-deterministic", "--no-color"]
    command += ["--continue-on-failure", "--exclude-path", "/v2/events", *options]  # a stream does not end
    done = subprocess.run(
        command, cwd=folder, env=environment({}), capture_output=True, text=True, timeout=patiently(RUN_S)
    )
    assert re.search(r"[1-9][0-9]* generated", done.stdout), done.stdout + done.stderr
    return None if done.returncode == 0 else done.stdout


def test_every_operation_conforms_to_the_document_with_a_key(tmp_path: Path) -> None:
    # Most of the generated requests would exceed the usual limit. The test without a key keeps it.
    server = Server(tmp_path / "data", API_RATE_PER_MINUTE="1000000")
    world = small_world(server)
    # Requests find ids in other answers. The pp of a map without its file is a 503, which the check takes for a fault.
    for map_id in (RANKED, LOVED, PENDING, TAIKO):
        world.rows.osu_file(map_id, OSU_FILE)
    try:
        server.start()

        found = problems(
            server, tmp_path, "--header", f"Authorization: Bearer {world.key}", "--phases", "coverage,fuzzing"
        )

        assert found is None, found
        assert '"unhandled"' not in server.stderr
        server.stop()
    finally:
        server.kill()
        world.rows.close()


def test_every_operation_conforms_to_the_document_without_a_key(world: World, tmp_path: Path) -> None:
    found = problems(world.server, tmp_path, "--phases", "fuzzing")

    assert found is None, found
    assert '"unhandled"' not in world.server.stderr


def test_document_describes_every_operation_once(world: World) -> None:
    document = json.loads(world.server.get("/openapi.json").body)

    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    for path in document["paths"].values():
        for operation in path.values():
            responses = set(operation["responses"])
            assert {"400", "401", "404", "429", "503"} <= responses
            assert {"200", "201"} & responses
            assert all("schema" in parameter for parameter in operation["parameters"])
