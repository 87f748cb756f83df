"""Logs: one line per event on stderr, as JSON or as text, without secrets.

`get_logger` returns a structlog logger for occasional events. Messages of other libraries get the same format. The line
of each request goes through `AccessLog`, which is ten times faster: it collects Structs and encodes them together.

Text from clients is cut to 200 characters. Control characters are escaped, so it cannot forge a line or send commands
to a terminal. Values under the keys of `REDACTED` are never written, whether as a field, a header or a parameter of a
query string.
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

TEXT_MAX: Final = 200  # characters of one value
ITEMS_MAX: Final = 50  # elements of a list or mapping
DEPTH_MAX: Final = 4  # levels of nested lists and mappings
STACK_MAX: Final = 8_192  # characters of a traceback; only the end, because it names the cause
FLUSH_S: Final = 0.2
STALE_S: Final = 600.0
QUIET_S: Final = 5.0
"""An outage ends with the first success at least this many seconds after the last failure."""
SLOW_POLL_MS: Final = 250.0
"""The duration from which each poll of a game client has a line."""
LINES_MAX: Final = 300
"""The number of access lines after which they are written, about 64 KiB."""

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
    """Set up logging for this process. `kind` is json or text; `level` is debug, info, warning or error."""
    structlog.configure(
        processors=[_json_line if kind == "json" else _text_line],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,  # loggers of modules that were imported earlier must follow this call
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _Bridge)] + [_Bridge()]
    root.setLevel(logging.WARNING)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines have the field `part=name`. Keyword arguments become fields."""
    return cast(FilteringBoundLogger, structlog.get_logger(part=name))


def follow_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Log what goes wrong in the event loop itself, without writes to a connection with TLS that is closed already.

    uvloop reports these as errors when Redis ends while a connection to it opens. The user of the connection learns of
    it and logs why Redis is unavailable.
    """
    loop.set_exception_handler(_log_loop_error)


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error, message = context.get("exception"), str(context.get("message"))
    if isinstance(error, RuntimeError) and _CLOSED in str(error) and message == _OF_TLS:
        get_logger("serve").debug("connection with TLS was closed before a write")
    else:
        loop.default_exception_handler(context)


_OF_TLS: Final = "Fatal error on SSL protocol"
_CLOSED: Final = "the handler is closed"  # both are texts of uvloop


class Outage:
    """Logs repeated failures of one operation as two lines: at the first failure, and when it works again.

    An error of another type in between gets a line of its own, because it may have another cause. `name` is the name
    of the logger, `event` and `fields` are those of the first line, and `over` is the event of the last line, which
    also has `failures` and `seconds`. A failure more than `stale_s` seconds after the last one begins a new outage:
    another worker may have succeeded in between.
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
        self._logged: set[type[BaseException]] = set()

    def failed(self, error: BaseException, *, trace: bool = False, **fields: Any) -> None:
        """Record a failure. With `trace` it is logged as an error with its traceback, else as a warning."""
        now = time.monotonic()
        if self._failures and now - self._last > self._stale_s:
            self._failures = 0
            self._logged.clear()
        if not self._failures:
            self._began = now
        self._last = now
        self._failures += 1
        if type(error) in self._logged:
            return
        self._logged.add(type(error))
        log = get_logger(self._name)
        if trace:
            log.error(self._event, **self._fields, **fields, exc_info=error)
        else:
            log.warning(self._event, **self._fields, **fields, why=str(error))

    def worked(self) -> None:
        """Record a success. It ends the outage unless the last failure is less than `QUIET_S` ago.

        Without the delay, an operation that fails and works alternately would log each change.
        """
        if not self._failures or time.monotonic() - self._last < QUIET_S:
            return
        seconds = round(time.monotonic() - self._began, 1)
        get_logger(self._name).warning(self._over, **self._fields, failures=self._failures, seconds=seconds)
        self._failures = 0
        self._logged.clear()


class _Access(msgspec.Struct, omit_defaults=True, gc=False):
    """A line of the access log; its fields are those of the written line."""

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
    """The access log. Lines are written after `FLUSH_S` seconds or `LINES_MAX` lines; `close` writes the last ones.

    One of `poll_every` answered polls has a line, none with 0. Polls are nearly all requests, and their lines would
    hide the others.
    """

    def __init__(self, kind: str = "json", level: str = "info", poll_every: int = 0) -> None:
        self._poll_every = poll_every
        self._polls = 0
        self._left_out = 0
        self._text = kind == "text"
        self._quiet = _LEVELS[level] > logging.INFO
        self._lines: list[_Access] = []
        self._timer: asyncio.TimerHandle | None = None
        self._now_ms = self._second = 0
        self._until_second = self._stamp = ""

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
        """Log a request. Must be called on the event loop.

        An answer of 500 and above, or one that the server did not finish, has the level error. `ms` is the duration in
        milliseconds. `route` is the pattern, not the path. `cut` is the side that ended the answer in the middle,
        `client` or `server`.
        """
        # PERF: takes 1 us, where structlog takes 15. Encoding many lines at once in `flush` costs a third for each.
        failed = status >= 500 or cut == "server"
        if self._quiet and not failed:
            return
        # PERF: the text of the time changes only once a millisecond; formatting it costs more than the rest.
        now_ms = int(time.time() * 1000)
        if now_ms != self._now_ms:
            self._now_ms = now_ms
            second, ms_of_second = divmod(now_ms, 1000)
            if second != self._second:
                self._second = second
                self._until_second = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._stamp = f"{self._until_second}{ms_of_second:03}Z"
        lines = self._lines
        lines.append(
            _Access(
                self._stamp,
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

    def leaves_out_poll(self, ms: float) -> bool:
        """Return whether an answered poll that took `ms` milliseconds gets no line, and count it."""
        # PERF: runs for nearly each request
        self._polls += 1
        if ms >= SLOW_POLL_MS or (self._poll_every and self._polls % self._poll_every == 0):
            return False
        self._left_out += 1
        return True

    async def write_left_out(self) -> None:
        """Write how many polls have got no line since the last call. A job calls this."""
        left_out, self._left_out = self._left_out, 0
        if left_out:
            get_logger("front").info("polls without a line", count=left_out)

    def flush(self) -> None:
        """Write the collected lines."""
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
        """Write the last lines. Call it when the server stops."""
        self.flush()


# --- lines ----------------------------------------------------------------------------------------------------------


def _json_line(_: WrappedLogger, level: str, event: EventDict) -> bytes:
    return _escaped(_ENCODER.encode(_fields(level, event)) + b"\n")


def _text_line(_: WrappedLogger, level: str, event: EventDict) -> bytes:
    return _as_text(_fields(level, event))


def _fields(level: str, event: EventDict) -> dict[str, Any]:
    """Return the fields of a line in order, without secrets."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    fields: dict[str, Any] = {"ts": now, "level": level, "event": _cut(str(event.pop("event", "")))}
    error = _error_of(event.pop("exc_info", None))
    for key, value in event.items():
        fields.setdefault(key, _loggable(key, value, DEPTH_MAX))
    if error is not None:
        fields["error"] = _cut(f"{type(error).__name__}: {error}")
        # Cut before the redaction, to bound its cost, and again behind it.
        stack = "".join(traceback.format_exception(error))[-4 * STACK_MAX :]
        fields["stack"] = _without_secrets(stack)[-STACK_MAX:]
    return fields


def _error_of(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return cast(BaseException | None, exc_info[1])
    return sys.exc_info()[1] if exc_info else None


def _loggable(key: object, value: object, depth: int) -> object:
    """Return the value as JSON types, cut, and redacted if the key is secret."""
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    if isinstance(key, str) and key.lower() in REDACTED:
        return REDACTION
    match value:
        case None | bool() | float():
            return value
        case int():
            # Converting a huge integer to text takes quadratic time.
            return value if value.bit_length() < 64 else f"a number of {value.bit_length()} bits"
        case str():
            return _cut(value)
        case bytes() | bytearray() | memoryview():
            return _cut(bytes(value[: TEXT_MAX + 1]).decode("latin-1"))
        case _ if depth == 0:
            return "..."
        case Mapping():
            shortened = {}
            for inner, item in list(value.items())[:ITEMS_MAX]:
                shortened[_cut(inner.decode("latin-1") if isinstance(inner, bytes) else str(inner))] = _loggable(
                    inner, item, depth - 1
                )
            return shortened
        case (str() | bytes() as header, content):  # a header of ASGI: its name decides whether it is secret
            return [_loggable("", header, 1), _loggable(header, content, depth - 1)]
        case list() | tuple() | set() | frozenset():
            return [_loggable("", item, depth - 1) for item in list(value)[:ITEMS_MAX]]
    return _cut(str(value))


def _cut(text: str) -> str:
    """Return at most TEXT_MAX characters of a text, without secrets and without lone surrogates."""
    shortened = _without_secrets(text[: 4 * TEXT_MAX])
    return shortened if len(shortened) <= TEXT_MAX else shortened[: TEXT_MAX - 3] + "..."


def _without_secrets(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return _IN_QUERY.sub(rf"\1={REDACTION}", text) if "=" in text else text


def _escaped(line: bytes) -> bytes:
    """Escape all invisible characters in JSON lines; the encoder escapes only those of ASCII."""
    if line.isascii() and b"\x7f" not in line:
        return line
    text = line.decode()
    return "\n".join(map(visible_json, text.split("\n"))).encode()


def _as_text(fields: dict[str, Any]) -> bytes:
    """Return `2026-01-31T12:00:00.123Z info    request face=api ...`, and the traceback in indented lines."""
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


# --- output ---------------------------------------------------------------------------------------------------------


def _write(lines: bytes) -> None:
    # A closed stderr or a full disk must not stop the server.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(lines)
        sys.stderr.buffer.flush()


class _Stderr:
    """The output of structlog: writes finished lines to stderr."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: bytes) -> None:
        _write(line)

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Passes messages of the standard library's `logging` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10, 1), 5) * 10
        get_logger(record.name).log(level, record.getMessage(), exc_info=record.exc_info)
