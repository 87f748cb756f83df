"""Logs: one line an event on stderr, JSON for programs or text for people, without secrets.

`get_logger` is structlog and for what happens now and then; what other libraries log comes out the same way. A line
for every request goes through `AccessLog`, which is ten times cheaper: it keeps Structs and writes them together.

Whatever a client sent is cut to 200 characters and cannot forge a line or steer a terminal: control characters leave
here escaped. What the keys of REDACTED hold is never written, be it a field, a header or part of a query string.
"""

import asyncio
import contextlib
import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from kiai.osu.texts import visible, visible_json

TEXT_MAX: Final = 200
ITEMS_MAX: Final = 50
DEPTH_MAX: Final = 4
STACK_MAX: Final = 8_192
FLUSH_S: Final = 0.2
STALE_S: Final = 600.0
QUIET_S: Final = 5.0
"""An outage is over with the first success so long after its last failure."""
LINES_MAX: Final = 300
"""Access lines kept before they are written: about 64 KiB."""

# fmt: off
REDACTED: Final = frozenset({
    "h", "ha", "p", "pass", "password", "token", "osu-token", "cho-token", "authorization", "cookie", "key", "email",
    "s", "c1", "user[password]",
})
# fmt: on
REDACTION: Final = "[redacted]"

_IN_QUERY: Final = re.compile(
    rf"(?i)(?<![\w.%\[-])({'|'.join(sorted(map(re.escape, REDACTED), key=len, reverse=True))}|user%5Bpassword%5D)"
    r"=[^&\s;,\"']*"
)
_PLAIN: Final = re.compile(r"[^\s\"=]+")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def configure(kind: str, level: str) -> None:
    """Sets up logging for this process. `kind`: json or text; `level`: debug, info, warning or error."""
    structlog.configure(
        processors=[_json_line if kind == "json" else _text_line],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _Bridge)] + [_Bridge()]
    root.setLevel(logging.WARNING)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines say `part=name`. What is given by keyword becomes a field."""
    return cast(FilteringBoundLogger, structlog.get_logger(part=name))


class Outage:
    """Something that fails again and again is a line once, and a line when it works again.

    A failure of another kind in between is a line of its own: it may be another fault. `name` is the logger's; `event`
    and `fields` are those of the first line, `over` is the event of the last one, which has `failures` and `seconds`.
    A failure `stale_s` after the last one begins a new outage: whatever worked meanwhile worked somewhere else.
    """

    def __init__(self, name: str, event: str, over: str, *, stale_s: float = STALE_S, **fields: Any) -> None:
        self._name = name
        self._event = event
        self._over = over
        self._fields = fields
        self._stale_s = stale_s
        self._failures = 0
        self._began = 0.0
        self._last = 0.0
        self._told: set[type[BaseException]] = set()

    def failed(self, error: BaseException, *, trace: bool = False, **fields: Any) -> None:
        """Notes a failure. `trace`: it may be a bug, so it is an error and its stack is written; else a warning."""
        now = time.monotonic()
        if self._failures and now - self._last > self._stale_s:
            self._failures = 0
            self._told.clear()
        if not self._failures:
            self._began = now
        self._last = now
        self._failures += 1
        if type(error) in self._told:
            return
        self._told.add(type(error))
        log = get_logger(self._name)
        if trace:
            log.error(self._event, **self._fields, **fields, exc_info=error)
        else:
            log.warning(self._event, **self._fields, **fields, why=str(error))

    def worked(self) -> None:
        """Notes a success: whatever failed is over, unless it failed a moment ago. What comes and goes is no news."""
        if not self._failures or time.monotonic() - self._last < QUIET_S:
            return
        seconds = round(time.monotonic() - self._began, 1)
        get_logger(self._name).warning(self._over, **self._fields, failures=self._failures, seconds=seconds)
        self._failures = 0
        self._told.clear()


class _Access(msgspec.Struct, omit_defaults=True, gc=False):
    """A line of the access log, as it is written."""

    ts: str
    level: str
    event: str
    face: str
    route: str
    method: str
    status: int
    ms: float
    request_id: str
    address: str | None = None
    user_id: int | None = None
    cut: str | None = None


class AccessLog:
    """A line for every request. Lines wait at most FLUSH_S and LINES_MAX; `close` writes the last ones."""

    def __init__(self, kind: str = "json", level: str = "info") -> None:
        self._text = kind == "text"
        self._quiet = _LEVELS[level] > logging.INFO
        self._lines: list[_Access] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._stamp = ""

    def write(
        self,
        face: str,
        route: str,
        method: str,
        status: int,
        ms: float,
        request_id: str,
        address: str | None = None,
        user_id: int | None = None,
        cut: str | None = None,
    ) -> None:
        """Notes a request; an answer of 500 and above, or one that we cut off, is an error and logged at every level.

        `route` is the pattern, not the path. `cut` is `client` or `server`: who ended the answer in the middle. Must be
        called on the event loop.
        """
        # PERF: 1 us; through structlog it would be 15. Encoding waits for the flush, where it costs a third.
        failed = status >= 500 or cut == "server"
        if self._quiet and not failed:
            return
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        lines = self._lines
        lines.append(
            _Access(
                f"{self._stamp}{int((now - second) * 1000):03}Z",
                "error" if failed else "info",
                "request",
                face,
                route,
                method,
                status,
                round(ms, 2),
                request_id,
                address,
                user_id,
                cut,
            )
        )
        if len(lines) >= LINES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Writes what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._text:
            _write(b"".join(_as_text(msgspec.structs.asdict(line)) for line in lines))
        else:
            _write(_escaped(_ENCODER.encode_lines(lines)))

    def close(self) -> None:
        """Writes what waits; call it when the server stops."""
        self.flush()


# --- lines ----------------------------------------------------------------------------------------------------------


def _json_line(_: WrappedLogger, level: str, event: EventDict) -> bytes:
    return _escaped(_ENCODER.encode(_fields(level, event)) + b"\n")


def _text_line(_: WrappedLogger, level: str, event: EventDict) -> bytes:
    return _as_text(_fields(level, event))


def _fields(level: str, event: EventDict) -> dict[str, Any]:
    """The line's fields in their order, without secrets."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    fields: dict[str, Any] = {"ts": now, "level": level, "event": _cut(str(event.pop("event", "")))}
    error = _error_of(event.pop("exc_info", None))
    for key, value in event.items():
        fields.setdefault(key, _told(key, value, DEPTH_MAX))
    if error is not None:
        fields["error"] = _cut(f"{type(error).__name__}: {error}")
        stack = "".join(traceback.format_exception(error))[-4 * STACK_MAX :]
        fields["stack"] = _without_secrets(stack)[-STACK_MAX:]
    return fields


def _error_of(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return cast(BaseException | None, exc_info[1])
    return sys.exc_info()[1] if exc_info else None


def _told(key: object, value: object, depth: int) -> object:
    """A value as it may be written under this key: redacted, cut, and made of what JSON has."""
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    if isinstance(key, str) and key.lower() in REDACTED:
        return REDACTION
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if value.bit_length() < 64 else f"a number of {value.bit_length()} bits"
        case str():
            return _cut(value)
        case bytes() | bytearray() | memoryview():
            return _cut(bytes(value[: TEXT_MAX + 1]).decode("latin-1"))
        case _ if depth == 0:
            return "..."
        case Mapping():
            told = {}
            for inner, item in list(value.items())[:ITEMS_MAX]:
                told[_cut(inner.decode("latin-1") if isinstance(inner, bytes) else str(inner))] = _told(
                    inner, item, depth - 1
                )
            return told
        case (str() | bytes() as header, content):  # a header, as servers hold it
            return [_told("", header, 1), _told(header, content, depth - 1)]
        case list() | tuple() | set() | frozenset():
            return [_told("", item, depth - 1) for item in list(value)[:ITEMS_MAX]]
    return _cut(str(value))


def _cut(text: str) -> str:
    """At most TEXT_MAX characters of a text, without secrets in it and encodable."""
    told = _without_secrets(text[: 4 * TEXT_MAX])
    return told if len(told) <= TEXT_MAX else told[: TEXT_MAX - 3] + "..."


def _without_secrets(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return _IN_QUERY.sub(rf"\1={REDACTION}", text) if "=" in text else text


def _escaped(line: bytes) -> bytes:
    """JSON whose unseen characters are all escaped; the encoder leaves those above ASCII as they are."""
    if line.isascii() and b"\x7f" not in line:
        return line
    text = line.decode()
    return "\n".join(map(visible_json, text.split("\n"))).encode()


def _as_text(fields: dict[str, Any]) -> bytes:
    """`2026-01-31 12:00:00.123 info    request face=api ...`, and the stack in lines of its own, set in."""
    stack = fields.pop("stack", None)
    head = f"{fields.pop('ts')} {fields.pop('level'):<7} {visible(fields.pop('event'))}"
    rest = [f"{key}={_word(value)}" for key, value in fields.items() if value is not None]
    lines = [" ".join([head, *rest])]
    if stack:
        lines += ["    " + visible(line) for line in stack.rstrip().split("\n")]
    return "\n".join([*lines, ""]).encode()


def _word(value: object) -> str:
    text = visible(value if isinstance(value, str) else _ENCODER.encode(value).decode())
    if not isinstance(value, str) or _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- where they go --------------------------------------------------------------------------------------------------


def _write(lines: bytes) -> None:
    # A log that nobody reads any more must not take the server down with it.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(lines)
        sys.stderr.buffer.flush()


class _Stderr:
    """What structlog hands finished lines to."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: bytes) -> None:
        _write(line)

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """What other libraries log, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10, 1), 5) * 10
        get_logger(record.name).log(level, record.getMessage(), exc_info=record.exc_info)
