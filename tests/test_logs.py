"""What the log says, what it never says, and how it cannot be forged."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import Deadline

from kiai.logs import LINES_MAX, REDACTED, TEXT_MAX, AccessLog, configure, get_logger

CANARY = "canary-7f3a"
Captured = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leaves structlog and the root logger as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def logged(capsysbinary: Captured) -> Callable[[], list[dict[str, Any]]]:
    """What was written since the last call, a dict a line."""
    return lambda: [json.loads(line) for line in capsysbinary.readouterr().err.splitlines()]


Logged = Callable[[], list[dict[str, Any]]]


# --- lines ----------------------------------------------------------------------------------------------------------


def test_a_line_is_an_object_with_time_level_and_event_first(logged: Logged) -> None:
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


def test_what_is_less_important_than_the_level_is_not_logged(logged: Logged) -> None:
    configure("json", "warning")

    for level in ("debug", "info", "warning", "error"):
        getattr(get_logger("x"), level)("event")

    assert [line["level"] for line in logged()] == ["warning", "error"]


def test_a_logger_made_before_the_configuration_follows_it(logged: Logged) -> None:
    early = get_logger("early")
    configure("json", "error")
    early.info("unseen")
    configure("json", "info")

    early.info("seen")

    assert [line["event"] for line in logged()] == ["seen"]


def test_an_exception_is_told_with_its_stack(logged: Logged) -> None:
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


def test_other_libraries_are_logged_the_same_way(logged: Logged) -> None:
    configure("json", "info")
    configure("json", "info")

    logging.getLogger("asyncio").error("task %s failed", "t1")
    logging.getLogger("uvicorn").info("chatter")

    [line] = logged()
    assert (line["level"], line["event"], line["part"]) == ("error", "task t1 failed", "asyncio")


def test_values_of_every_kind_can_be_logged(logged: Logged) -> None:
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


def test_a_line_for_people_is_readable(capsysbinary: Captured) -> None:
    configure("text", "info")

    get_logger("front").info("started", port=8080, words='two "words"', tags=["a"])

    line = capsysbinary.readouterr().err.decode()
    assert line[24:] == ' info    started part=front port=8080 words="two \\"words\\"" tags=["a"]\n'


def test_a_stack_for_people_is_set_in(capsysbinary: Captured) -> None:
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


def test_many_items_and_a_long_stack_are_cut(logged: Logged) -> None:
    configure("json", "info")

    get_logger("x").info("many", items=list(range(10_000)), exc_info=ValueError("x" * 1_000_000))

    [line] = logged()
    assert len(line["items"]) == 50
    assert len(line["stack"]) <= 8_192


@pytest.mark.parametrize("kind", ["json", "text"])
@given(text=st.text(st.characters(codec=None), max_size=300))
def test_no_text_ends_a_line_or_steers_a_terminal(kind: str, text: str) -> None:
    written = _line_of(kind, text)

    assert written.endswith("\n")
    assert not [c for c in written[:-1] if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202e"]


@given(text=st.text(max_size=TEXT_MAX).filter(lambda text: "=" not in text))
def test_text_comes_out_of_json_as_it_was(text: str) -> None:
    assert json.loads(_line_of("json", text))["text"] == text


def _line_of(kind: str, text: str) -> str:
    """The line that a logger of this kind would write."""
    written: list[bytes] = []

    class Kept:
        def __init__(self, *_: object) -> None:
            self.info = written.append

    configure(kind, "info")
    structlog.configure(logger_factory=Kept)
    get_logger("x").info("event", text=text)
    return written[0].decode()


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "text"])
@pytest.mark.parametrize("key", sorted(REDACTED))
def test_a_secret_is_never_written(kind: str, key: str, capsysbinary: Captured) -> None:
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


def test_what_stands_beside_a_secret_is_kept(logged: Logged) -> None:
    configure("json", "info")

    get_logger("x").info("query", url="/x?us=peppy&ha=abc&maps=1&user%5Bpassword%5D=abc&v=2", shape={"cs": 4, "s": 1})

    [line] = logged()
    assert line["url"] == "/x?us=peppy&ha=[redacted]&maps=1&user%5Bpassword%5D=[redacted]&v=2"
    assert line["shape"] == {"cs": 4, "s": "[redacted]"}


# --- the access log -------------------------------------------------------------------------------------------------


def noted(log: AccessLog, number: int = 1, status: int = 200, **more: Any) -> None:
    log.write(face="api", route="/get_map", method="GET", status=status, ms=1.23456, request_id=f"r{number}", **more)


def test_a_request_becomes_a_line(logged: Logged) -> None:
    async def story() -> None:
        log = AccessLog()
        noted(log, address="127.0.0.1", user_id=3)
        log.close()

    asyncio.run(story())

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


def test_who_is_unknown_is_left_out(logged: Logged) -> None:
    async def story() -> None:
        log = AccessLog()
        noted(log)
        log.close()

    asyncio.run(story())

    assert logged()[0].keys() & {"address", "user_id"} == set()


def test_lines_wait_and_are_written_together_soon(logged: Logged) -> None:
    async def story() -> tuple[int, int]:
        log = AccessLog()
        noted(log, 1)
        noted(log, 2)
        before = len(logged())
        deadline = Deadline(5)
        seen: list[dict[str, Any]] = []
        while not seen and not deadline.passed():
            await asyncio.sleep(0.01)
            seen = logged()
        return before, len(seen)

    assert asyncio.run(story()) == (0, 2)


def test_no_more_lines_wait_than_may(logged: Logged) -> None:
    async def story() -> int:
        log = AccessLog()
        for number in range(LINES_MAX + 10):
            noted(log, number)
        written = logged()
        log.close()
        assert [line["request_id"] for line in written] == [f"r{number}" for number in range(LINES_MAX)]
        return len(logged())

    assert asyncio.run(story()) == 10


def test_closing_writes_what_waits_once(logged: Logged) -> None:
    async def story() -> None:
        log = AccessLog()
        log.close()
        noted(log)
        log.close()
        log.close()

    asyncio.run(story())

    assert len(logged()) == 1


def test_a_quiet_log_holds_only_failures(logged: Logged) -> None:
    async def story() -> None:
        log = AccessLog(level="warning")
        for status in (200, 404, 499, 500, 503):
            noted(log, status=status)
        log.close()

    asyncio.run(story())

    assert [(line["status"], line["level"]) for line in logged()] == [(500, "error"), (503, "error")]


def test_a_request_becomes_a_line_for_people(capsysbinary: Captured) -> None:
    async def story() -> None:
        log = AccessLog("text")
        noted(log, address="127.0.0.1")
        log.close()

    asyncio.run(story())

    line = capsysbinary.readouterr().err.decode()
    assert line[24:] == (
        " info    request face=api route=/get_map method=GET status=200 ms=1.23 request_id=r1 address=127.0.0.1\n"
    )


@pytest.mark.parametrize("kind", ["json", "text"])
def test_an_address_cannot_forge_a_line(kind: str, capsysbinary: Captured) -> None:
    async def story() -> None:
        log = AccessLog(kind)
        noted(log, address='1.1.1.1\n{"status":200}\x1b[2J\x9b2J\x7f"')
        noted(log, 2)
        log.close()

    asyncio.run(story())

    written = capsysbinary.readouterr().err
    assert written.count(b"\n") == 2
    assert not {0x1B, 0x7F, 0x9B} & set(written)
    if kind == "json":
        assert json.loads(written.splitlines()[0])["address"].endswith('\x1b[2J\x9b2J\x7f"')


def test_a_log_nobody_reads_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        class buffer:
            @staticmethod
            def write(_: bytes) -> None:
                raise BrokenPipeError

    async def story() -> None:
        log = AccessLog()
        noted(log)
        log.close()
        get_logger("x").error("unheard")

    configure("json", "info")
    monkeypatch.setattr("sys.stderr", Closed)

    asyncio.run(story())
