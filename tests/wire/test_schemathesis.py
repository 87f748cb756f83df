"""The API held against its own OpenAPI document by Schemathesis: what the document promises, and nothing else.

`positive_data_acceptance` is left out: that a player is named by id or by name, never both, cannot be said in OpenAPI.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.patience import patiently
from tests.wire.kit import API, Server, environment
from tests.wire.world import World, small_world

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
    """What a run against the server found, or None."""
    base = f"http://127.0.0.1:{server.port}"
    command = [sys.executable, "-c", MAIN, "run", f"{base}/openapi.json", "--url", base, "--header", f"Host: {API}"]
    command += ["--checks", ",".join(CHECKS), "--max-examples", "3", "--generation-deterministic", "--no-color"]
    command += ["--continue-on-failure", "--exclude-path", "/v2/events", *options]  # a stream never ends
    done = subprocess.run(
        command, cwd=folder, env=environment({}), capture_output=True, text=True, timeout=patiently(RUN_S)
    )
    assert re.search(r"[1-9][0-9]* generated", done.stdout), done.stdout + done.stderr
    return None if done.returncode == 0 else done.stdout


def test_every_operation_keeps_its_promises_to_the_holder_of_a_key(tmp_path: Path) -> None:
    # So many requests are generated that most would be refused; those without a key meet the usual limit below.
    server = Server(tmp_path / "data", API_RATE_PER_MINUTE="1000000")
    made = small_world(server)
    try:
        server.start()

        found = problems(
            server, tmp_path, "--header", f"Authorization: Bearer {made.key}", "--phases", "coverage,fuzzing"
        )

        assert found is None, found
        assert '"unhandled"' not in server.stderr
        server.stop()
    finally:
        server.kill()
        made.rows.close()


def test_every_operation_keeps_its_promises_to_everybody(world: World, tmp_path: Path) -> None:
    found = problems(world.server, tmp_path, "--phases", "fuzzing")

    assert found is None, found
    assert '"unhandled"' not in world.server.stderr


def test_the_document_describes_every_operation_once(world: World) -> None:
    document = json.loads(world.server.get("/openapi.json").body)

    named = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(named) == len(set(named))
    for path in document["paths"].values():
        for operation in path.values():
            assert {"200", "400", "401", "404", "429", "503"} <= set(operation["responses"])
            assert all("schema" in parameter for parameter in operation["parameters"])
