"""The realtime face: `POST /` of hosts `c.`, `ce.`, `c4.`-`c6.` (docs/spec/protocol.md#transport).

A request without a token is a login. A request with a token is a poll: its packets are handled in order, and requests
of one session run one after another. The reply has the packets that the handlers wrote for this session, then the
unread entries of its topics.

PERF: plain ASGI. There is one route, and with 1 request/s per player a router would cost as much as the poll itself.
"""

import asyncio
import gzip
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape
from typing import Final

from kiai.at_once import Begun
from kiai.callers import CALLER
from kiai.clock import Clock
from kiai.errors import KiaiError
from kiai.faces.asgi import Headers, Receive, Scope, Send
from kiai.faces.bancho import packets, work
from kiai.faces.bancho.login import ClientLocation, Login
from kiai.faces.bancho.packets import ClientPacket
from kiai.faces.bancho.poll_context import Handlers, PollContext
from kiai.faces.bancho.score_ranks import with_score_ranks
from kiai.faces.bancho.wire import MalformedPacket, packets_in
from kiai.faces.quick import QuickAnswer, QuickHead
from kiai.logs import get_logger
from kiai.networks import is_loopback, network_of
from kiai.osu.countries import COUNTRIES
from kiai.presence import Presence, readable
from kiai.realtime.buckets import FailureLimit
from kiai.realtime.port import FellBehind, RateLimitResult, Realtime, Session, SessionGone, StateUnavailable, TooMany

BODY_MAX: Final = 1 << 20
LOGIN_MAX: Final = 64 * 1024
GZIP_FROM: Final = 1_024  # most replies are a few hundred bytes, for which gzip saves less than it costs
# A client sends about one request per second, more while it plays in a match.
POLLS_PER_S: Final = 50
POLLS_BURST: Final = 250
BODY_BYTES_A_POLL: Final = 2 * 1024  # a larger body counts as several requests
NOTICE_EVERY_S: Final = 30.0
JUST_STARTED_S: Final = 60.0
UNKNOWN_TOKENS_PER_MINUTE: Final = 300  # per address; after a restart, each client behind it sends one
TOKEN_MAX: Final = 64

AT_ONCE: Final = frozenset(
    {
        ClientPacket.CHANGE_ACTION,
        ClientPacket.REQUEST_STATUS_UPDATE,
        ClientPacket.SPECTATE_FRAMES,
        ClientPacket.MATCH_SCORE_UPDATE,
        ClientPacket.USER_STATS_REQUEST,
        ClientPacket.USER_PRESENCE_REQUEST,
    }
)
"""Frequent packets whose handling begins without a task, and usually ends without waiting."""

# The packets that a restricted session may send (docs/spec/sessions.md#account-states). The handlers of CREATE_MATCH
# and JOIN_MATCH refuse it, because the client waits for an answer.
RESTRICTED: Final = frozenset(
    {
        ClientPacket.CHANGE_ACTION,
        ClientPacket.LOGOUT,
        ClientPacket.REQUEST_STATUS_UPDATE,
        ClientPacket.CHANNEL_JOIN,
        ClientPacket.FRIEND_ADD,
        ClientPacket.FRIEND_REMOVE,
        ClientPacket.CHANNEL_PART,
        ClientPacket.RECEIVE_UPDATES,
        ClientPacket.USER_STATS_REQUEST,
        ClientPacket.USER_PRESENCE_REQUEST,
        ClientPacket.USER_PRESENCE_REQUEST_ALL,
        ClientPacket.TOGGLE_BLOCK_NON_FRIEND_DMS,
        ClientPacket.CREATE_MATCH,
        ClientPacket.JOIN_MATCH,
    }
)

_BINARY: Final = (b"content-type", b"application/octet-stream")
_RETRY: Final = (b"retry-after", b"5")
_VARY: Final = (b"vary", b"accept-encoding")
_ENCODED: Final[tuple[Headers, ...]] = ((), (_VARY,), (_VARY, (b"content-encoding", b"gzip")))
"""Headers of a small body, of a large one, and of a compressed one."""
_CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"osu-token, x-mcosu-ver"),
    (b"access-control-expose-headers", b"cho-token"),
)


_HEADS: Final = {
    (browser, more): QuickHead(200, [_BINARY, *(_CORS if browser else ()), *more])
    for browser in (False, True)
    for more in _ENCODED
}
_EMPTY: Final = QuickAnswer(_HEADS[False, ()], b"")
_EMPTY_BROWSER: Final = QuickAnswer(_HEADS[True, ()], b"")


class Bancho:
    """The ASGI application that game clients log in to and poll.

    `matches` returns the number of open matches for the front page. `limited`: whether rate limits apply.
    `refused` counts packets that were not handled, by reason, for the metrics.
    """

    def __init__(
        self,
        login: Login,
        *handlers: Handlers,
        presence: Presence,
        realtime: Realtime,
        clock: Clock,
        title: str,
        players: Callable[[], Awaitable[int]],
        matches: Callable[[], Awaitable[int]],
        limited: bool,
    ) -> None:
        self.login = login
        self._handlers: Mapping[int, Callable[..., Awaitable[None]]] = {
            packet_id: handler for table in handlers for packet_id, handler in table.items()
        }
        self._presence = presence
        self._realtime = realtime
        self._clock = clock
        self._title = title
        self._players = players
        self._matches = matches
        self._limited = limited
        self._started = clock.monotonic()
        self._unknown_tokens = FailureLimit(clock.monotonic, limit=UNKNOWN_TOKENS_PER_MINUTE, period_s=60.0)
        self.refused = {"malformed": 0, "refused": 0, "failed": 0, "too much": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method, path = scope["method"], scope["path"]
        if path != "/":
            await _respond(send, 404)
        elif method == "POST":
            await self._post(scope, receive, send)
        elif method == "GET":
            scope["kiai.route"] = "front page"
            await _respond(send, 200, await self._page(), (b"content-type", b"text/html; charset=utf-8"))
        elif method == "OPTIONS":
            await _respond(send, 204, b"", *_CORS)
        else:
            await _respond(send, 405, b"", (b"allow", b"POST, GET, HEAD, OPTIONS"))

    def answer_at_once(self, scope: Scope, body: bytes) -> QuickAnswer | None:
        """Answer a poll, if the shared state has the answer ready. See `quick.py`.

        Packets are handled if they are all in `AT_ONCE`. If that waits, the ordinary way continues it.
        """
        # PERF: nearly all requests of game clients. 7 us instead of 25: no task, no ASGI messages, no event.
        if scope["path"] != "/" or scope["method"] != "POST":
            return None
        token, agent, encodings, modded, browser = _headers(scope)
        if token is None or (agent != b"osu!" and not modded):
            return None
        name = token.decode("latin-1")
        session = self._realtime.ready_session(name)
        # Ranks by score need a read of shared state.
        if session is None or session.ranks_by_score:
            return None
        requested = packets_in(body) if body else []
        if requested and not all(packet_id in AT_ONCE for packet_id, _ in requested):
            return None
        if self._limited and (
            self._unknown_tokens.retry_s(scope["kiai.address"])
            or not self._realtime.consume_at_once(
                f"poll:{name}", limit=POLLS_PER_S, period_s=1.0, burst=POLLS_BURST, cost=_cost(body)
            )
        ):
            return None
        scope["kiai.route"] = "poll"
        if requested:
            # PERF: a poll with a status takes 50 us instead of 87: no task, no cycle, no ASGI messages.
            CALLER.set(network_of(scope["kiai.address"]))
            begun = Begun(self._answer(name, requested, scope["kiai.address"]))
            if not begun.ended:
                scope["kiai.begun"] = begun
                return None
            reply = begun.result
        else:
            try:
                entries = self._realtime.poll_at_once(name)
            except FellBehind:  # the ordinary way finds the same
                return None
            if not entries:
                return _EMPTY_BROWSER if browser else _EMPTY
            reply = b"".join(readable(session, entries))
        reply, headers = _encoded(reply, encodings)
        return QuickAnswer(_HEADS[browser, headers], reply)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        token, agent, encodings, modded, browser = _headers(scope)
        if agent != b"osu!" and not modded:  # a browser or a scanner: refused before its body is read
            await _respond(send, 403)
            return
        body = await _read_body(receive, LOGIN_MAX if token is None else BODY_MAX)
        if body is None:
            await _respond(send, 413)
            return
        headers = [_BINARY, *_CORS] if browser else [_BINARY]
        if token is None:
            scope["kiai.route"] = "login"
            answer = await self.login.log_in(body, self._location(scope))
            reply = answer.body
            headers.append((b"cho-token", answer.token.encode()))
        else:
            scope["kiai.route"] = "poll"
            scope["kiai.unrepeatable"] = True
            begun: Begun[bytes] | None = scope.pop("kiai.begun", None)
            try:
                # The work that `answer_at_once` has begun has passed the limits already.
                reply = await (begun or self._poll(token.decode("latin-1"), body, scope["kiai.address"]))
            except TooMany:
                await _respond(send, 429)
                return
            except StateUnavailable:
                # Not RESTART: the client retries and still has its session when the state answers again.
                await _respond(send, 503, b"", _RETRY)
                return
        reply, more = _encoded(reply, encodings)
        await _respond(send, 200, reply, *headers, *more)

    # --- a poll

    async def _poll(self, token: str, body: bytes, address: str) -> bytes:
        """Handle a request with a token and return the reply.

        Raises TooMany for a session with too many requests, and for an address that sends many unknown tokens.
        """
        if self._limited and self._unknown_tokens.retry_s(address):
            raise TooMany("unknown tokens a minute", UNKNOWN_TOKENS_PER_MINUTE)
        if self._limited and len(token) <= TOKEN_MAX:
            allowed = await self._realtime.consume(
                f"poll:{token}", limit=POLLS_PER_S, period_s=1.0, burst=POLLS_BURST, cost=_cost(body)
            )
            if not allowed.granted:
                raise TooMany("requests a second", POLLS_PER_S)
        return await self._answer(token, packets_in(body) if body else [], address)

    async def _answer(self, token: str, requested: list[tuple[int, bytes]], address: str) -> bytes:
        """Handle the packets of a request that has passed the limits, and return the reply."""
        try:
            if len(token) > TOKEN_MAX:
                raise SessionGone
            if not requested:
                # PERF: most polls. One atomic call of the port, so no lock and no budget.
                return await self._poll_packets(token)
            # Handlers read and change the session in several steps, so a second request has to wait.
            async with self._realtime.session_lock(token):
                context = PollContext(await self._realtime.session(token))
                await self._handle(context, await self._within_budget(context, requested))
                # Last, so that the reply includes the entries that these packets caused.
                if context.ended:
                    return b"".join(context.out)
                return await self._poll_packets(token, context.out)
        except SessionGone:
            if self._limited and not is_loopback(address):  # behind an untrusted local proxy all players share it
                self._unknown_tokens.count(address)
            return self._restart_packets()
        except FellBehind:
            # The client's view is incomplete. A new login sends it the whole state.
            await self._presence.end(token)
            return packets.restart(0)

    async def _poll_packets(self, token: str, before: Sequence[bytes] = ()) -> bytes:
        """Return these packets and those of the session's new entries."""
        session, entries = await self._realtime.poll(token)
        reply = b"".join([*before, *(readable(session, entries) if entries else [])])
        return await with_score_ranks(self._realtime, reply) if session.ranks_by_score else reply

    async def _within_budget(self, context: PollContext, requested: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Return the packets that have a handler, that the session may send and that its budget covers (`work.py`)."""
        allowed = [
            (packet_id, payload)
            for packet_id, payload in requested
            if packet_id in self._handlers and (packet_id in RESTRICTED or not context.session.hidden)
        ]
        if not self._limited or not allowed:
            return allowed
        user_id = context.session.user_id
        price = sum(itertools.starmap(work.price_of, allowed))
        # A price above BURST is never granted and not a valid cost. A cost of 0 only reads how much remains.
        result = await self._consume_work(user_id, price if price <= work.BURST else 0)
        if result.granted and price <= work.BURST:
            return allowed
        accepted = work.affordable(allowed, result.remaining)
        # The packets of `work.LEAVING` may exceed what remains.
        await self._consume_work(user_id, min(sum(itertools.starmap(work.price_of, accepted)), result.remaining))
        dropped = len(allowed) - len(accepted)
        self.refused["too much"] += dropped
        if await self._realtime.once(f"work-notice:{user_id}", NOTICE_EVERY_S):
            context.reply(packets.notification("You're sending too much at once. Some of it was ignored."))
            get_logger("bancho").info("packets over budget", user_id=user_id, dropped=dropped)
        return accepted

    async def _consume_work(self, user_id: int, units: int) -> RateLimitResult:
        return await self._realtime.consume(
            f"work:{user_id}", limit=work.UNITS_PER_S, period_s=1.0, burst=work.BURST, cost=units
        )

    async def _handle(self, context: PollContext, accepted: list[tuple[int, bytes]]) -> None:
        spent = 0
        for packet_id, payload in accepted:
            spent += work.price_of(packet_id, payload)
            if spent >= work.YIELD_UNITS:
                spent = 0
                await asyncio.sleep(0)  # with state in memory, a handler may run without ever yielding
            handler = self._handlers[packet_id]
            try:
                await handler(context, packets.read(packet_id, payload))
            except MalformedPacket as fault:
                self.refused["malformed"] += 1
                await self._log_malformed(context.session, packet_id, str(fault))
            except SessionGone:  # a KiaiError too, but no later packet can succeed
                raise
            except KiaiError as error:
                self.refused["refused"] += 1
                get_logger("bancho").debug("packet refused", packet=packet_id, why=str(error))
            except Exception as error:
                self.refused["failed"] += 1
                # A fault of the server loses this packet, but not the others or the reply.
                get_logger("bancho").error("packet failed", packet=packet_id, exc_info=error)
            if context.ended:
                return

    async def _log_malformed(self, session: Session, packet_id: int, fault: str) -> None:
        if await self._realtime.once(f"malformed:{session.token}", 3600):
            get_logger("bancho").warning("malformed packet", user_id=session.user_id, packet=packet_id, fault=fault)

    def _restart_packets(self) -> bytes:
        """Return the reply to an unknown token: the client logs in again automatically."""
        # Later the reason is another one, usually a timeout.
        if self._clock.monotonic() - self._started < JUST_STARTED_S:
            return packets.notification("Server has restarted.") + packets.restart(0)
        return packets.restart(0)

    # --- location and front page

    def _location(self, scope: Scope) -> ClientLocation:
        address = str(scope["kiai.address"])
        if "kiai.proxied" not in scope:  # anybody could send these headers; only those of a trusted proxy count
            return ClientLocation(address)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        for country, latitude, longitude in (
            (b"cf-ipcountry", b"cf-iplatitude", b"cf-iplongitude"),
            (b"x-country-code", b"x-latitude", b"x-longitude"),
        ):
            if country in headers and latitude in headers and longitude in headers:
                code = headers[country].lower()
                try:
                    location = ClientLocation(address, float(headers[latitude]), float(headers[longitude]), code)
                except ValueError:
                    continue
                # Also rejects NaN and infinity: they fail both comparisons.
                if code in COUNTRIES and abs(location.latitude) <= 90 and abs(location.longitude) <= 180:
                    return location
        return ClientLocation(address)

    async def _page(self) -> bytes:
        title = escape(self._title)
        players, matches = await self._players(), await self._matches()
        return (
            f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>"
            f"<p>{players} players online, {matches} matches. Point your osu! client here to play.</p>\n"
        ).encode()


def _headers(scope: Scope) -> tuple[bytes | None, bytes | None, bytes | None, bool, bool]:
    """Return token, agent and accepted encodings, and whether `x-mcosu-ver` and `origin` are there."""
    # PERF: one loop over the headers, of which clients send about eight, instead of a dict.
    token = agent = encodings = None
    modded = browser = False
    for name, value in scope["headers"]:
        if name == b"osu-token":
            token = value
        elif name == b"user-agent":
            agent = value
        elif name == b"accept-encoding":
            encodings = value
        elif name == b"x-mcosu-ver":
            modded = True
        elif name == b"origin":
            browser = True
    return token, agent, encodings, modded, browser


def _cost(body: bytes) -> int:
    """Return how many requests of the rate limit a poll with this body counts as."""
    return min(POLLS_BURST, 1 + len(body) // BODY_BYTES_A_POLL)


def _encoded(reply: bytes, encodings: bytes | None) -> tuple[bytes, Headers]:
    """Return the body as it is sent, and the headers that this needs."""
    if len(reply) <= GZIP_FROM:
        return reply, _ENCODED[0]
    if encodings is None or b"gzip" not in encodings:
        return reply, _ENCODED[1]
    # PERF: level 1. Higher levels save a few percent of the bytes and take several times as long.
    return gzip.compress(reply, compresslevel=1), _ENCODED[2]


async def _read_body(receive: Receive, most: int) -> bytes | None:
    """Return the request's body, or None if it exceeds `most` bytes or the client disconnected."""
    # PERF: usually one message has the whole body; no list and no join then.
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body") and size <= most:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        body = b"".join(parts)
    return None if len(body) > most or message["type"] == "http.disconnect" else body


async def _respond(send: Send, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
