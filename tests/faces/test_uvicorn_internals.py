"""The internals of uvicorn and httptools that guard.py, single_write.py and server_process.py depend on.

They are not public API (docs/decisions/013). A test that fails after an upgrade names the change: read it, adapt
guard.py and single_write.py, then update this module. pyproject.toml limits the version of uvicorn, so every upgrade is
deliberate.
"""

import asyncio
import hashlib
import inspect
import logging
import re
import tomllib
from collections import deque
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from kiai.faces.guard import GuardedProtocol
from kiai.faces.single_write import SingleWriteCycle

ADVICE: Final = f"uvicorn {version('uvicorn')} is not the uvicorn that guard.py and single_write.py were written for: "

# Methods that kiai replaces without calling them, and methods around them. The value is a hash of the source:
# `hashlib.blake2b(inspect.getsource(method).encode(), digest_size=6).hexdigest()`.
REPLACED_METHODS: Final[dict[tuple[type, str], str]] = {
    (HttpToolsProtocol, "connection_made"): "d9ed9c485ae8",
    (HttpToolsProtocol, "connection_lost"): "c3647fa0a015",
    (HttpToolsProtocol, "data_received"): "bf0865fea4e5",
    (HttpToolsProtocol, "on_message_begin"): "4e304570ca6f",
    (HttpToolsProtocol, "on_url"): "a37ddb2cf435",
    (HttpToolsProtocol, "on_header"): "73031641a682",
    (HttpToolsProtocol, "on_headers_complete"): "7e7aa1fb0190",
    (HttpToolsProtocol, "on_body"): "9c582e8bbffe",
    (HttpToolsProtocol, "on_message_complete"): "3b75fbf23d8b",
    (HttpToolsProtocol, "_start_asgi_task"): "265f70e40397",
    (HttpToolsProtocol, "shutdown"): "55d7c6f3a90c",
    (HttpToolsProtocol, "on_response_complete"): "e3c46b5318db",
    (RequestResponseCycle, "run_asgi"): "37667811848a",
    (RequestResponseCycle, "send"): "795476960d55",
    (RequestResponseCycle, "receive"): "096378cc3eab",
    (uvicorn.Server, "shutdown"): "c7f0712094a4",
}

PROTOCOL_ATTRIBUTES: Final = {
    "access_logger": logging.Logger,
    "app": object,
    "client": type(None),
    "config": uvicorn.Config,
    "connections": set,
    "cycle": type(None),
    "expect_100_continue": bool,
    "flow": type(None),
    "headers": type(None),
    "logger": logging.Logger,
    "loop": asyncio.AbstractEventLoop,
    "parser": httptools.HttpRequestParser,
    "pipeline": deque,
    "scheme": type(None),
    "server": type(None),
    "server_state": ServerState,
    "tasks": set,
    "transport": type(None),
}
CYCLE_ATTRIBUTES: Final = {
    "body": bytearray,
    "default_headers": list,
    "disconnected": bool,
    "flow": object,
    "keep_alive": bool,
    "message_event": asyncio.Event,
    "more_body": bool,
    "on_response": object,
    "response_complete": bool,
    "response_started": bool,
    "scope": dict,
    "transport": object,
    "waiting_for_100_continue": bool,
}


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def _protocol() -> HttpToolsProtocol:
    config = uvicorn.Config(_nothing, lifespan="off", log_config=None)
    return HttpToolsProtocol(config, ServerState(), {})


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def _protocol_with_requests(*requests: bytes) -> HttpToolsProtocol:
    """Return a protocol of uvicorn that has received these requests and answered none."""
    protocol = await _protocol()
    protocol.connection_made(Transport())
    for request in requests:
        protocol.data_received(request)
    return protocol


GET: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("name", PROTOCOL_ATTRIBUTES)
def test_protocol_has_the_attributes_that_the_guard_reads(name: str) -> None:
    protocol = asyncio.run(_protocol())

    assert hasattr(protocol, name), f"{ADVICE}HttpToolsProtocol has no {name}"
    assert isinstance(getattr(protocol, name), PROTOCOL_ATTRIBUTES[name]), f"{ADVICE}HttpToolsProtocol.{name} changed"


@pytest.mark.parametrize("name", CYCLE_ATTRIBUTES)
def test_cycle_has_the_attributes_that_an_answer_needs(name: str) -> None:
    async def scenario() -> RequestResponseCycle:
        return (await _protocol_with_requests(GET)).cycle

    cycle = asyncio.run(scenario())

    assert hasattr(cycle, name), f"{ADVICE}RequestResponseCycle has no {name}"
    assert isinstance(getattr(cycle, name), CYCLE_ATTRIBUTES[name]), f"{ADVICE}RequestResponseCycle.{name} changed"


def test_cycle_is_made_from_the_arguments_that_the_guard_passes() -> None:
    assert list(inspect.signature(RequestResponseCycle.__init__).parameters) == [
        "self", "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers",
        "message_event", "expect_100_continue", "keep_alive", "on_response",
    ], f"{ADVICE}the arguments of RequestResponseCycle changed"  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), REPLACED_METHODS)
def test_replaced_method_of_uvicorn_is_unchanged(owner: type, name: str) -> None:
    method = getattr(owner, name, None)

    assert method is not None, f"{ADVICE}{owner.__name__} has no {name}"
    digest = hashlib.blake2b(inspect.getsource(method).encode(), digest_size=6).hexdigest()
    assert digest == REPLACED_METHODS[owner, name], (
        f"{ADVICE}{owner.__name__}.{name} changed, which kiai replaces or depends on"
    )


def test_every_overridden_method_exists_in_uvicorn() -> None:
    ours = {name for name, one in vars(GuardedProtocol).items() if inspect.isfunction(one)}
    of_uvicorn = ours & {name for name, _ in inspect.getmembers(HttpToolsProtocol, inspect.isfunction)}

    assert of_uvicorn == {
        "_should_upgrade", "_start_asgi_task", "connection_lost", "connection_made", "data_received", "on_body",
        "on_header", "on_headers_complete", "on_message_begin", "on_message_complete", "on_response_complete", "on_url",
        "shutdown",
    }, f"{ADVICE}a method was renamed, or a method of kiai overrides another one by accident"  # fmt: skip
    for name in of_uvicorn:
        theirs, mine = (
            list(inspect.signature(getattr(one, name)).parameters) for one in (HttpToolsProtocol, GuardedProtocol)
        )
        assert theirs == mine, f"{ADVICE}{name} takes {theirs}"


def test_new_names_do_not_override_names_of_uvicorn() -> None:
    async def scenario() -> tuple[set[str], set[str]]:
        protocol = await _protocol_with_requests(GET)
        return {*vars(protocol), *dir(HttpToolsProtocol)}, {*vars(protocol.cycle), *dir(RequestResponseCycle)}

    of_the_protocol, of_a_cycle = asyncio.run(scenario())
    own = {name for name in vars(SingleWriteCycle) if not name.startswith("__")}

    assert not set(GuardedProtocol.__slots__) & of_the_protocol, f"{ADVICE}it has a name that the guard adds"
    assert own & of_a_cycle == {"send"}, f"{ADVICE}its cycle has a name that kiai adds"


def test_pipeline_has_the_newest_request_first() -> None:
    async def scenario() -> list[bytes]:
        protocol = await _protocol_with_requests(*(GET.replace(b"/ ", b"/%d " % number) for number in range(3)))
        assert protocol.flow.read_paused, f"{ADVICE}reading continues while requests wait"
        return [cycle.scope["raw_path"] for cycle, _ in protocol.pipeline]

    assert asyncio.run(scenario()) == [b"/2", b"/1"], f"{ADVICE}the newest request no longer is the first of `pipeline`"


def test_flow_control_reports_paused_reads_and_writes() -> None:
    flow = FlowControl(Transport())
    flow.pause_writing()
    flow.pause_reading()

    assert (flow.write_paused, flow.read_paused) == (True, True), ADVICE + "FlowControl changed"
    assert inspect.iscoroutinefunction(flow.drain), ADVICE + "FlowControl.drain changed"


def test_status_lines_end_with_a_line_end() -> None:
    assert STATUS_LINE[404] == b"HTTP/1.1 404 Not Found\r\n", ADVICE + "STATUS_LINE changed"
    assert set(STATUS_LINE) == set(range(100, 600)), ADVICE + "STATUS_LINE changed"


@pytest.mark.parametrize("name", ["startup", "capture_signals", "on_tick", "serve", "shutdown"])
def test_server_has_the_methods_that_kiai_overrides(name: str) -> None:
    assert callable(getattr(uvicorn.Server, name, None)), f"{ADVICE}Server has no {name}"


def test_server_has_the_shutdown_flags_and_its_tasks() -> None:
    server = uvicorn.Server(uvicorn.Config(_nothing, log_config=None))

    assert (server.should_exit, server.force_exit) == (False, False), ADVICE + "Server's flags changed"
    assert server.server_state.tasks == set(), ADVICE + "Server has no server_state.tasks"


# --- httptools


class RecordingCallbacks:
    """The callbacks of a parser. `on_header` raises `fault` if there is one."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.bodies: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.fault is not None:
            raise self.fault

    def on_body(self, body: bytes) -> None:
        self.bodies.append(body)


def test_error_of_a_callback_is_the_context_of_the_parser_error() -> None:
    fault = LookupError("ours")

    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(RecordingCallbacks(fault)).feed_data(GET)

    assert raised.value.__context__ is fault, "httptools no longer reports the error of a callback"


def test_parser_error_for_malformed_input_has_no_other_context() -> None:
    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(RecordingCallbacks()).feed_data(b"nonsense\r\n\r\n")

    context = raised.value.__context__
    assert context is None or isinstance(context, httptools.HttpParserError), "httptools reports errors differently"


def test_upgrade_error_has_the_offset_of_the_rest() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    parser = httptools.HttpRequestParser(RecordingCallbacks())

    with pytest.raises(httptools.HttpParserUpgrade) as raised:
        parser.feed_data(request + GET)

    assert raised.value.args[0] == len(request), "httptools no longer reports the end of an upgrade request"
    assert parser.should_upgrade()
    assert parser.get_http_version() == "1.1"


def test_target_of_connect_has_no_path() -> None:
    assert httptools.parse_url(b"http://localhost/a?b").path == b"/a"
    assert httptools.parse_url(b"http://localhost").path is None, "httptools returns a path for a URL without one"


# --- the bound


def test_pyproject_allows_only_the_minor_version_of_uvicorn_that_is_locked() -> None:
    root = Path(__file__).parents[2]
    wanted = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    [bound] = [one for one in wanted if re.match(r"uvicorn\b", one)]
    locked = re.search(r"^uvicorn==(\d+)\.(\d+)\.", (root / "requirements" / "serve.lock").read_text("utf-8"), re.M)
    assert locked is not None

    assert bound == f"uvicorn>={locked[1]}.{locked[2]},<{locked[1]}.{int(locked[2]) + 1}"
