"""The realtime face: `POST /` of hosts `c.`, `ce.`, `c4.`-`c6.` (docs/spec/protocol.md#transport).

A request without token logs in. One with a token is a poll: its packets are handled in order, one request of a session
at a time, and the answer is what the handlers say to the asker, then what its topics hold behind its cursors.

PERF: plain ASGI. There is one route, and at 1 request/s and player a router would cost as much as the poll itself.
"""

import asyncio
import gzip
import itertools
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Final

from kiai.clock import Clock
from kiai.errors import KiaiError
from kiai.faces.asgi import Receive, Scope, Send
from kiai.faces.bancho import packets, work
from kiai.faces.bancho.login import Login, Place
from kiai.faces.bancho.packets import Client
from kiai.faces.bancho.turn import Handlers, Turn
from kiai.faces.bancho.wire import Malformed, packets_in
from kiai.logs import get_logger
from kiai.networks import is_loopback
from kiai.osu.countries import COUNTRIES
from kiai.presence import Presence, readable
from kiai.realtime.buckets import FailureLimit
from kiai.realtime.port import Allowance, FellBehind, Realtime, Session, SessionGone, StateUnavailable, TooMany

BODY_MAX: Final = 1 << 20
LOGIN_MAX: Final = 64 * 1024
GZIP_FROM: Final = 1_024
POLLS_PER_S: Final = 50
POLLS_BURST: Final = 250
BODY_BYTES_A_POLL: Final = 2 * 1024  # a larger body counts as several requests: 18,000 packets take 10 ms to read
NOTICE_EVERY_S: Final = 30.0
JUST_STARTED_S: Final = 60.0
UNKNOWN_TOKENS_PER_MINUTE: Final = 300  # of one address; after a restart, each client behind it sends one
TOKEN_MAX: Final = 64

# What a restricted session may say (docs/spec/sessions.md#account-states). Making and joining a match is answered, with
# a refusal, by its handler.
RESTRICTED: Final = frozenset(
    {
        Client.CHANGE_ACTION,
        Client.LOGOUT,
        Client.REQUEST_STATUS_UPDATE,
        Client.CHANNEL_JOIN,
        Client.FRIEND_ADD,
        Client.FRIEND_REMOVE,
        Client.CHANNEL_PART,
        Client.RECEIVE_UPDATES,
        Client.USER_STATS_REQUEST,
        Client.USER_PRESENCE_REQUEST,
        Client.USER_PRESENCE_REQUEST_ALL,
        Client.TOGGLE_BLOCK_NON_FRIEND_DMS,
        Client.CREATE_MATCH,
        Client.JOIN_MATCH,
    }
)

_BINARY: Final = (b"content-type", b"application/octet-stream")
_RETRY: Final = (b"retry-after", b"5")
_VARY: Final = (b"vary", b"accept-encoding")
_CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"osu-token, x-mcosu-ver"),
    (b"access-control-expose-headers", b"cho-token"),
)


class Bancho:
    """The ASGI application of game clients' polls."""

    def __init__(
        self,
        login: Login,
        *handlers: Handlers,
        presence: Presence,
        realtime: Realtime,
        clock: Clock,
        title: str,
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
        self._matches = matches
        self._limited = limited
        self._started = clock.monotonic()
        self._unknown_tokens = FailureLimit(clock.monotonic, limit=UNKNOWN_TOKENS_PER_MINUTE, period_s=60.0)
        self.refused = {"malformed": 0, "refused": 0, "failed": 0, "too much": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        method, path = scope["method"], scope["path"]
        if path != "/":
            await _answer(send, 404)
        elif method == "POST":
            await self._post(scope, receive, send)
        elif method == "GET":
            scope["kiai.route"] = "front page"
            await _answer(send, 200, await self._page(), (b"content-type", b"text/html; charset=utf-8"))
        elif method == "OPTIONS":
            await _answer(send, 204, b"", *_CORS)
        else:
            await _answer(send, 405, b"", (b"allow", b"POST, GET, HEAD, OPTIONS"))

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        # PERF: one walk over the headers; clients send about eight.
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
        if agent != b"osu!" and not modded:
            await _answer(send, 403)
            return
        body = await _body(receive, LOGIN_MAX if token is None else BODY_MAX)
        if body is None:
            await _answer(send, 413)
            return
        headers = [_BINARY, *_CORS] if browser else [_BINARY]
        if token is None:
            scope["kiai.route"] = "login"
            answer = await self.login.log_in(body, self._place(scope))
            reply = answer.body
            headers.append((b"cho-token", answer.token.encode()))
        else:
            scope["kiai.route"] = "poll"
            try:
                reply = await self._poll(token.decode("latin-1"), body, scope["kiai.address"])
            except TooMany:
                await _answer(send, 429)
                return
            except StateUnavailable:  # the client asks again, and keeps its session
                await _answer(send, 503, b"", _RETRY)
                return
        if len(reply) > GZIP_FROM:
            headers.append(_VARY)
            if encodings is not None and b"gzip" in encodings:
                reply = gzip.compress(reply, compresslevel=1)
                headers.append((b"content-encoding", b"gzip"))
        await _answer(send, 200, reply, *headers)

    # --- a poll

    async def _poll(self, token: str, body: bytes, address: str) -> bytes:
        """The reply to a request with a token.

        Raises TooMany for a session that floods and for an address that sends many unknown tokens.
        """
        if self._limited and self._unknown_tokens.retry_s(address):
            raise TooMany("unknown tokens a minute", UNKNOWN_TOKENS_PER_MINUTE)
        try:
            if len(token) > TOKEN_MAX:
                raise SessionGone
            if self._limited:
                allowed = await self._realtime.take(
                    f"poll:{token}",
                    limit=POLLS_PER_S,
                    period_s=1.0,
                    burst=POLLS_BURST,
                    cost=min(POLLS_BURST, 1 + len(body) // BODY_BYTES_A_POLL),
                )
                if not allowed.granted:
                    raise TooMany("requests a second", POLLS_PER_S)
            asked = packets_in(body) if body else []
            if not asked:
                return b"".join(await self._read(token))
            async with self._realtime.turn(token):
                turn = Turn(await self._realtime.session(token))
                await self._handle(turn, await self._within_budget(turn, asked))
                if not turn.ended:
                    turn.out += await self._read(token)
                return b"".join(turn.out)
        except SessionGone:
            if self._limited and not is_loopback(address):
                self._unknown_tokens.count(address)
            return self._restart()
        except FellBehind:
            await self._presence.end(token)
            return packets.restart(0)

    async def _read(self, token: str) -> list[bytes]:
        session, entries = await self._realtime.poll(token)
        return readable(session, entries) if entries else []

    async def _within_budget(self, turn: Turn, asked: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """The packets that this face handles and the player's budget pays for (`work.py`)."""
        asked = [
            (packet_id, payload)
            for packet_id, payload in asked
            if packet_id in self._handlers and (packet_id in RESTRICTED or not turn.session.hidden)
        ]
        if not self._limited or not asked:
            return asked
        user_id = turn.session.user_id
        price = sum(itertools.starmap(work.price_of, asked))
        # The answer to a body above the whole budget says how much is left.
        paid = await self._take_work(user_id, price if price <= work.BURST else 0)
        if paid.granted and price <= work.BURST:
            return asked
        taken = work.affordable(asked, paid.remaining)
        await self._take_work(user_id, min(sum(itertools.starmap(work.price_of, taken)), paid.remaining))
        self.refused["too much"] += len(asked) - len(taken)
        if await self._realtime.once(f"work-notice:{user_id}", NOTICE_EVERY_S):
            turn.say(packets.notification("You're sending too much at once. Some of it was ignored."))
            get_logger("bancho").info("packets over budget", user_id=user_id, dropped=len(asked) - len(taken))
        return taken

    async def _take_work(self, user_id: int, units: int) -> Allowance:
        return await self._realtime.take(
            f"work:{user_id}", limit=work.UNITS_PER_S, period_s=1.0, burst=work.BURST, cost=units
        )

    async def _handle(self, turn: Turn, asked: list[tuple[int, bytes]]) -> None:
        spent = 0
        for packet_id, payload in asked:
            spent += work.price_of(packet_id, payload)
            if spent >= work.YIELD_UNITS:
                spent = 0
                await asyncio.sleep(0)
            handler = self._handlers[packet_id]
            try:
                await handler(turn, packets.read(packet_id, payload))
            except Malformed as fault:
                self.refused["malformed"] += 1
                await self._complain(turn.session, packet_id, str(fault))
            except SessionGone:
                raise
            except KiaiError as error:
                self.refused["refused"] += 1
                get_logger("bancho").debug("packet refused", packet=packet_id, why=str(error))
            except Exception as error:
                self.refused["failed"] += 1
                # Our own fault costs this packet, never the other packets nor the reply.
                get_logger("bancho").error("packet failed", packet=packet_id, exc_info=error)
            if turn.ended:
                return

    async def _complain(self, session: Session, packet_id: int, fault: str) -> None:
        if await self._realtime.once(f"malformed:{session.token}", 3600):
            get_logger("bancho").warning("malformed packet", user_id=session.user_id, packet=packet_id, fault=fault)

    def _restart(self) -> bytes:
        """For a token that is nobody's: the client logs in anew by itself. Why is said only where it is true."""
        if self._clock.monotonic() - self._started < JUST_STARTED_S:
            return packets.notification("Server has restarted.") + packets.restart(0)
        return packets.restart(0)

    # --- where from, and the page

    def _place(self, scope: Scope) -> Place:
        address = str(scope["kiai.address"])
        if "kiai.proxied" not in scope:  # only a trusted proxy knows where others are
            return Place(address)
        sent = {name: value.decode("latin-1") for name, value in scope["headers"]}
        for country, latitude, longitude in (
            (b"cf-ipcountry", b"cf-iplatitude", b"cf-iplongitude"),
            (b"x-country-code", b"x-latitude", b"x-longitude"),
        ):
            if country in sent and latitude in sent and longitude in sent:
                code = sent[country].lower()
                try:
                    place = Place(address, float(sent[latitude]), float(sent[longitude]), code)
                except ValueError:
                    continue
                if code in COUNTRIES and abs(place.latitude) <= 90 and abs(place.longitude) <= 180:
                    return place
        return Place(address)

    async def _page(self) -> bytes:
        title = escape(self._title)
        players, matches = await self._realtime.online_count(), await self._matches()
        return (
            f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>"
            f"<p>{players} players online, {matches} matches. Point your osu! client here to play.</p>\n"
        ).encode()


async def _body(receive: Receive, most: int) -> bytes | None:
    """The request's body; None when there is more than `most`, or when the client left half-way."""
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


async def _answer(send: Send, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
