"""What guard.py, one_write.py and serving.py rely on inside uvicorn and httptools, neither of which promises it.

A test that fails here after an upgrade names what changed. Read that change, put guard.py and one_write.py right, then
this page. pyproject.toml bounds uvicorn's version, so that only a deliberate step gets here.
"""

import asyncio
import hashlib
import inspect
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
from kiai.faces.one_write import AnswerCycle

ADVICE: Final = f"uvicorn {version('uvicorn')} is not the uvicorn that guard.py and one_write.py were written for: "

# Methods that we replace without calling them, so that what they do is said again by us; and those around them.
# The number is of the source: `hashlib.blake2b(inspect.getsource(method).encode(), digest_size=6).hexdigest()`.
SAID_AGAIN: Final[dict[tuple[type, str], str]] = {
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

OF_THE_PROTOCOL: Final = {
    "client": type(None),
    "config": uvicorn.Config,
    "connections": set,
    "cycle": type(None),
    "expect_100_continue": bool,
    "flow": type(None),
    "headers": type(None),
    "loop": asyncio.AbstractEventLoop,
    "parser": httptools.HttpRequestParser,
    "pipeline": deque,
    "server_state": ServerState,
    "tasks": set,
    "transport": type(None),
}
OF_A_CYCLE: Final = {
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


async def _asked(*requests: bytes) -> HttpToolsProtocol:
    """A plain protocol that has read these requests and answered none."""
    protocol = await _protocol()
    protocol.connection_made(Transport())
    for request in requests:
        protocol.data_received(request)
    return protocol


GET: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("name", OF_THE_PROTOCOL)
def test_a_protocol_has_what_the_guard_reads(name: str) -> None:
    protocol = asyncio.run(_protocol())

    assert hasattr(protocol, name), f"{ADVICE}HttpToolsProtocol has no {name}"
    assert isinstance(getattr(protocol, name), OF_THE_PROTOCOL[name]), f"{ADVICE}HttpToolsProtocol.{name} changed"


@pytest.mark.parametrize("name", OF_A_CYCLE)
def test_a_cycle_has_what_an_answer_needs(name: str) -> None:
    async def story() -> RequestResponseCycle:
        return (await _asked(GET)).cycle

    cycle = asyncio.run(story())

    assert hasattr(cycle, name), f"{ADVICE}RequestResponseCycle has no {name}"
    assert isinstance(getattr(cycle, name), OF_A_CYCLE[name]), f"{ADVICE}RequestResponseCycle.{name} changed"


def test_a_cycle_may_become_ours() -> None:
    async def story() -> None:
        (await _asked(GET)).cycle.__class__ = AnswerCycle

    try:
        asyncio.run(story())
    except TypeError as error:
        pytest.fail(f"{ADVICE}the layouts of RequestResponseCycle and AnswerCycle differ: {error}")


@pytest.mark.parametrize(("owner", "name"), SAID_AGAIN)
def test_what_we_say_again_is_what_uvicorn_says(owner: type, name: str) -> None:
    method = getattr(owner, name, None)

    assert method is not None, f"{ADVICE}{owner.__name__} has no {name}"
    digest = hashlib.blake2b(inspect.getsource(method).encode(), digest_size=6).hexdigest()
    assert digest == SAID_AGAIN[owner, name], f"{ADVICE}{owner.__name__}.{name} changed, which we replace or reach into"


def test_every_method_that_the_guard_replaces_is_still_there() -> None:
    ours = {name for name, one in vars(GuardedProtocol).items() if inspect.isfunction(one)}
    of_uvicorn = ours & {name for name, _ in inspect.getmembers(HttpToolsProtocol, inspect.isfunction)}

    assert of_uvicorn == {
        "_should_upgrade", "_start_asgi_task", "connection_lost", "connection_made", "data_received", "on_body",
        "on_header", "on_headers_complete", "on_message_begin", "on_message_complete", "on_response_complete", "on_url",
        "shutdown",
    }, f"{ADVICE}a method was renamed, or one of ours now replaces another one by chance"  # fmt: skip
    for name in of_uvicorn:
        theirs, mine = (
            list(inspect.signature(getattr(one, name)).parameters) for one in (HttpToolsProtocol, GuardedProtocol)
        )
        assert theirs == mine, f"{ADVICE}{name} takes {theirs}"


def test_nothing_of_ours_replaces_something_of_uvicorn_by_chance() -> None:
    async def story() -> tuple[set[str], set[str]]:
        protocol = await _asked(GET)
        return {*vars(protocol), *dir(HttpToolsProtocol)}, {*vars(protocol.cycle), *dir(RequestResponseCycle)}

    of_the_protocol, of_a_cycle = asyncio.run(story())
    own = {name for name in vars(AnswerCycle) if not name.startswith("__")}

    assert not set(GuardedProtocol.__slots__) & of_the_protocol, f"{ADVICE}it has a name of the guard's own"
    assert own & of_a_cycle == {"send"}, f"{ADVICE}its cycle has a name of ours"


def test_requests_that_wait_are_taken_from_the_right_end() -> None:
    async def story() -> list[bytes]:
        protocol = await _asked(*(GET.replace(b"/ ", b"/%d " % number) for number in range(3)))
        assert protocol.flow.read_paused, f"{ADVICE}reading goes on while requests wait"
        return [cycle.scope["raw_path"] for cycle, _ in protocol.pipeline]

    assert asyncio.run(story()) == [b"/2", b"/1"], f"{ADVICE}the newest request no longer is the first of `pipeline`"


def test_a_flow_tells_whether_it_reads_and_writes() -> None:
    flow = FlowControl(Transport())
    flow.pause_writing()
    flow.pause_reading()

    assert (flow.write_paused, flow.read_paused) == (True, True), ADVICE + "FlowControl changed"
    assert inspect.iscoroutinefunction(flow.drain), ADVICE + "FlowControl.drain changed"


def test_status_lines_are_whole_lines() -> None:
    assert STATUS_LINE[404] == b"HTTP/1.1 404 Not Found\r\n", ADVICE + "STATUS_LINE changed"
    assert set(STATUS_LINE) == set(range(100, 600)), ADVICE + "STATUS_LINE changed"


@pytest.mark.parametrize("name", ["startup", "capture_signals", "on_tick", "serve", "shutdown"])
def test_the_server_has_what_serving_replaces(name: str) -> None:
    assert callable(getattr(uvicorn.Server, name, None)), f"{ADVICE}Server has no {name}"


def test_the_server_ends_by_two_flags_and_knows_its_tasks() -> None:
    server = uvicorn.Server(uvicorn.Config(_nothing, log_config=None))

    assert (server.should_exit, server.force_exit) == (False, False), ADVICE + "Server's flags changed"
    assert server.server_state.tasks == set(), ADVICE + "Server has no server_state.tasks"


# --- httptools


class Heard:
    """What a parser calls."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.bodies: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.fault is not None:
            raise self.fault

    def on_body(self, body: bytes) -> None:
        self.bodies.append(body)


def test_what_a_callback_raises_is_the_context_of_what_the_parser_raises() -> None:
    fault = LookupError("ours")

    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(Heard(fault)).feed_data(GET)

    assert raised.value.__context__ is fault, "httptools no longer tells which error of a callback stopped it"


def test_what_is_malformed_has_no_foreign_context() -> None:
    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(Heard()).feed_data(b"nonsense\r\n\r\n")

    context = raised.value.__context__
    assert context is None or isinstance(context, httptools.HttpParserError), "httptools reports errors otherwise"


def test_an_upgrade_tells_where_the_rest_begins() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    parser = httptools.HttpRequestParser(Heard())

    with pytest.raises(httptools.HttpParserUpgrade) as raised:
        parser.feed_data(request + GET)

    assert raised.value.args[0] == len(request), "httptools no longer tells where an upgrade ends"
    assert parser.should_upgrade()
    assert parser.get_http_version() == "1.1"


def test_the_target_of_connect_has_no_path() -> None:
    assert httptools.parse_url(b"http://localhost/a?b").path == b"/a"
    assert httptools.parse_url(b"http://localhost").path is None, "httptools gives a path where there is none"


# --- the bound


def test_pyproject_allows_only_the_minor_version_of_uvicorn_that_is_locked() -> None:
    root = Path(__file__).parents[2]
    wanted = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    [bound] = [one for one in wanted if re.match(r"uvicorn\b", one)]
    locked = re.search(r"^uvicorn==(\d+)\.(\d+)\.", (root / "requirements" / "serve.lock").read_text("utf-8"), re.M)
    assert locked is not None

    assert bound == f"uvicorn>={locked[1]}.{locked[2]},<{locked[1]}.{int(locked[2]) + 1}"
