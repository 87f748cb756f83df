"""The log: its lines, its secrets, and protection against forged lines."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import Deadline

from kiai.logs import LINES_MAX, REDACTED, SLOW_POLL_MS, TEXT_MAX, AccessLog, configure, follow_loop, get_logger

CANARY = "canary-7f3a"
Captured = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Restore structlog and the root logger after the test."""
    root = logging.getLogger()
    handlers, level, before = list(root.handlers), root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture
def logged(capsysbinary: Captured) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines since the last call, each as a dict."""
    return lambda: [json.loads(line) for line in capsysbinary.readouterr().err.splitlines()]


Logged = Callable[[], list[dict[str, Any]]]


# --- lines ----------------------------------------------------------------------------------------------------------


def test_json_line_starts_with_time_level_and_event(logged: Logged) -> None:
    configure("json", "info")

    get_logger("front").warning("slow answer", ms=1234.5, user_id=3, route="/x", cached=False, error=None)

    [line] = logged()
    assert list(line)[:3] == ["ts", "level", "event"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line.pop("ts"))).total_seconds()) < 60
    assert line == {
        "level": "warning",
        "event": "slow answer",
        "part": "front",
        "ms": 1234.5,
        "user_id": 3,
        "route": "/x",
        "cached": False,
        "error": None,
    }


def test_events_below_the_level_are_not_logged(logged: Logged) -> None:
    configure("json", "warning")

    for level in ("debug", "info", "warning", "error"):
        getattr(get_logger("x"), level)("event")

    assert [line["level"] for line in logged()] == ["warning", "error"]


def test_logger_created_before_the_configuration_follows_it(logged: Logged) -> None:
    early = get_logger("early")
    configure("json", "error")
    early.info("unseen")
    configure("json", "info")

    early.info("seen")

    assert [line["event"] for line in logged()] == ["seen"]


def test_exception_is_logged_with_its_traceback(logged: Logged) -> None:
    configure("json", "info")

    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        get_logger("x").error("as it is", exc_info=error)
        get_logger("x").exception("as it is handled")

    for line in logged():
        assert line["error"] == "ZeroDivisionError: division by zero"
        assert "test_logs.py" in line["stack"]
        assert "exc_info" not in line


def test_messages_of_other_libraries_have_the_same_format(logged: Logged) -> None:
    configure("json", "info")
    configure("json", "info")

    logging.getLogger("asyncio").error("task %s failed", "t1")
    logging.getLogger("uvicorn").info("chatter")

    [line] = logged()
    assert (line["level"], line["event"], line["part"]) == ("error", "task t1 failed", "asyncio")


def test_values_of_every_type_can_be_logged(logged: Logged) -> None:
    configure("json", "info")

    get_logger("x").info(
        "kinds",
        big=2**70,
        raw=b"\xffA",
        nan=float("nan"),
        items=(1, [2]),
        what=ValueError("no"),
        map={1: {2: {3: {4: {5: 6}}}}},
    )

    [line] = logged()
    assert line["big"] == "a number of 71 bits"
    assert line["raw"] == "\xffA"
    assert line["nan"] is None
    assert line["items"] == [1, [2]]
    assert line["what"] == "no"
    assert line["map"] == {"1": {"2": {"3": {"4": "..."}}}}


def test_text_line_has_time_level_event_and_fields(capsysbinary: Captured) -> None:
    configure("text", "info")

    get_logger("front").info("started", port=8080, words='two "words"', tags=["a"])

    line = capsysbinary.readouterr().err.decode()
    assert line[24:] == ' info    started part=front port=8080 words="two \\"words\\"" tags=["a"]\n'


def test_traceback_in_a_text_log_is_indented(capsysbinary: Captured) -> None:
    configure("text", "info")

    get_logger("x").error("failed", exc_info=ValueError("first\n2026-01-01T00:00:00.000Z info    forged"))

    first, *rest = capsysbinary.readouterr().err.decode().splitlines()
    assert "part=x" in first
    assert "forged" in first
    assert len(rest) >= 2
    assert all(line.startswith("    ") for line in rest)


# --- what clients send ----------------------------------------------------------------------------------------------


def test_long_text_is_cut(logged: Logged) -> None:
    configure("json", "info")

    get_logger("x").info("e" * 10_000, text="x" * 10_000, raw=b"x" * 10_000, inner={"k" * 10_000: ["x" * 10_000]})

    [line] = logged()
    assert len(line["event"]) == len(line["text"]) == len(line["raw"]) == TEXT_MAX
    assert [(len(key), len(value[0])) for key, value in line["inner"].items()] == [(TEXT_MAX, TEXT_MAX)]


def test_long_lists_and_tracebacks_are_cut(logged: Logged) -> None:
    configure("json", "info")

    get_logger("x").info("many", items=list(range(10_000)), exc_info=ValueError("x" * 1_000_000))

    [line] = logged()
    assert len(line["items"]) == 50
    assert len(line["stack"]) <= 8_192


@pytest.mark.parametrize("kind", ["json", "text"])
@given(text=st.text(st.characters(codec=None), max_size=300))
def test_text_cannot_end_a_line_or_control_a_terminal(kind: str, text: str) -> None:
    written = _line_of(kind, text)

    assert written.endswith("\n")
    assert not [c for c in written[:-1] if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202e"]


@given(text=st.text(max_size=TEXT_MAX).filter(lambda text: "=" not in text))
def test_text_survives_json_unchanged(text: str) -> None:
    assert json.loads(_line_of("json", text))["text"] == text


def _line_of(kind: str, text: str) -> str:
    """Return the line that a logger of this kind writes."""
    written: list[bytes] = []

    class ObjectWithSecret:
        def __init__(self, *_: object) -> None:
            self.info = written.append

    configure(kind, "info")
    structlog.configure(logger_factory=ObjectWithSecret)
    get_logger("x").info("event", text=text)
    return written[0].decode()


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "text"])
@pytest.mark.parametrize("key", sorted(REDACTED))
def test_secret_is_never_written(kind: str, key: str, capsysbinary: Captured) -> None:
    configure(kind, "debug")

    get_logger("x").info("field", **{key: CANARY, key.upper(): CANARY})
    get_logger("x").info("mapping", headers={key.title(): CANARY, key.encode(): [CANARY]})
    get_logger("x").info("pairs", headers=[(key.encode(), CANARY.encode()), (key.upper(), CANARY)])
    get_logger("x").info("query", url=f"/web/x.php?a=1&{key}={CANARY}&b=2", query=f"{key}={CANARY}")
    get_logger("x").info(f"event {key}={CANARY}", exc_info=ValueError(f"?{key}={CANARY}"))
    logging.getLogger("other").warning("GET /x?%s=%s", key, CANARY)

    written = capsysbinary.readouterr().err.decode()
    assert written.count("[redacted]") >= 10
    assert CANARY not in written


def test_text_next_to_a_secret_is_logged(logged: Logged) -> None:
    configure("json", "info")

    get_logger("x").info("query", url="/x?us=peppy&ha=abc&maps=1&user%5Bpassword%5D=abc&v=2", shape={"cs": 4, "s": 1})

    [line] = logged()
    assert line["url"] == "/x?us=peppy&ha=[redacted]&maps=1&user%5Bpassword%5D=[redacted]&v=2"
    assert line["shape"] == {"cs": 4, "s": "[redacted]"}


# --- the access log -------------------------------------------------------------------------------------------------


def write_request(log: AccessLog, number: int = 1, status: int = 200, **more: Any) -> None:
    log.write(face="api", route="/get_map", method="GET", status=status, ms=1.23456, request_id=f"r{number}", **more)


def test_request_is_one_json_line(logged: Logged) -> None:
    async def scenario() -> None:
        log = AccessLog()
        write_request(log, address="127.0.0.1", user_id=3)
        log.close()

    asyncio.run(scenario())

    [line] = logged()
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line.pop("ts"))).total_seconds()) < 60
    assert line == {
        "level": "info",
        "event": "request",
        "face": "api",
        "route": "/get_map",
        "method": "GET",
        "status": 200,
        "ms": 1.23,
        "request_id": "r1",
        "address": "127.0.0.1",
        "user_id": 3,
    }


def test_unknown_address_and_user_are_omitted(logged: Logged) -> None:
    async def scenario() -> None:
        log = AccessLog()
        write_request(log)
        log.close()

    asyncio.run(scenario())

    assert logged()[0].keys() & {"address", "user_id"} == set()


@pytest.mark.parametrize(("every", "lines"), [(0, 0), (1, 100), (10, 10), (1_000, 0)])
def test_share_of_the_polls_has_lines_and_the_others_are_counted(logged: Logged, every: int, lines: int) -> None:
    configure("json", "info")
    log = AccessLog(poll_every=every)

    left_out = [log.leaves_out_poll(1.0) for _ in range(100)]
    asyncio.run(log.write_left_out())
    asyncio.run(log.write_left_out())

    assert left_out.count(False) == lines
    assert [line["count"] for line in logged()] == ([100 - lines] if lines < 100 else [])


def test_slow_polls_always_have_lines(logged: Logged) -> None:
    log = AccessLog()

    assert not log.leaves_out_poll(SLOW_POLL_MS)
    assert log.leaves_out_poll(SLOW_POLL_MS - 1)


def test_access_lines_are_written_together_after_a_delay(logged: Logged) -> None:
    async def scenario() -> tuple[int, int]:
        log = AccessLog()
        write_request(log, 1)
        write_request(log, 2)
        before = len(logged())
        deadline = Deadline(5)
        seen: list[dict[str, Any]] = []
        while not seen and not deadline.passed():
            await asyncio.sleep(0.01)
            seen = logged()
        return before, len(seen)

    assert asyncio.run(scenario()) == (0, 2)


def test_access_lines_are_written_at_the_maximum_number(logged: Logged) -> None:
    async def scenario() -> int:
        log = AccessLog()
        for number in range(LINES_MAX + 10):
            write_request(log, number)
        written = logged()
        log.close()
        assert [line["request_id"] for line in written] == [f"r{number}" for number in range(LINES_MAX)]
        return len(logged())

    assert asyncio.run(scenario()) == 10


def test_close_writes_the_remaining_lines_once(logged: Logged) -> None:
    async def scenario() -> None:
        log = AccessLog()
        log.close()
        write_request(log)
        log.close()
        log.close()

    asyncio.run(scenario())

    assert len(logged()) == 1


def test_access_log_above_info_has_only_failures(logged: Logged) -> None:
    async def scenario() -> None:
        log = AccessLog(level="warning")
        for status in (200, 404, 499, 500, 503):
            write_request(log, status=status)
        log.close()

    asyncio.run(scenario())

    assert [(line["status"], line["level"]) for line in logged()] == [(500, "error"), (503, "error")]


def test_request_is_one_text_line(capsysbinary: Captured) -> None:
    async def scenario() -> None:
        log = AccessLog("text")
        write_request(log, address="127.0.0.1")
        log.close()

    asyncio.run(scenario())

    line = capsysbinary.readouterr().err.decode()
    assert line[24:] == (
        " info    request face=api route=/get_map method=GET status=200 ms=1.23 request_id=r1 address=127.0.0.1\n"
    )


@pytest.mark.parametrize("kind", ["json", "text"])
def test_address_cannot_forge_a_line(kind: str, capsysbinary: Captured) -> None:
    async def scenario() -> None:
        log = AccessLog(kind)
        write_request(log, address='1.1.1.1\n{"status":200}\x1b[2J\x9b2J\x7f"')
        write_request(log, 2)
        log.close()

    asyncio.run(scenario())

    written = capsysbinary.readouterr().err
    assert written.count(b"\n") == 2
    assert not {0x1B, 0x7F, 0x9B} & set(written)
    if kind == "json":
        assert json.loads(written.splitlines()[0])["address"].endswith('\x1b[2J\x9b2J\x7f"')


def test_closed_stderr_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        class buffer:
            @staticmethod
            def write(_: bytes) -> None:
                raise BrokenPipeError

    async def scenario() -> None:
        log = AccessLog()
        write_request(log)
        log.close()
        get_logger("x").error("unheard")

    configure("json", "info")
    monkeypatch.setattr("sys.stderr", Closed)

    asyncio.run(scenario())


@pytest.mark.parametrize("follows", [True, False])
def test_connection_with_tls_that_is_closed_already_is_no_error(logged: Logged, *, follows: bool) -> None:
    async def report() -> None:
        loop = asyncio.get_running_loop()
        configure("json", "info")
        if follows:
            follow_loop(loop)
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
        transport.abort()
        await asyncio.sleep(0.01)  # the loop closes it in its next turns
        with pytest.raises(RuntimeError) as closed:
            transport.write(b"x")
        for message in ("Fatal error on SSL protocol", "something else"):
            loop.call_exception_handler({"message": message, "exception": closed.value, "transport": transport})
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(report())

    reported = [line["event"].splitlines()[0] for line in logged()]
    assert reported == (["something else"] if follows else ["Fatal error on SSL protocol", "something else"])
