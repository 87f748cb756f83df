"""The gateway of the game's web endpoints: reads the form, checks the password and enforces the rate limits.

    request -> limit by address -> small parts of the form -> password -> limit by account -> files of the form
            -> the endpoint's handler -> ClientResponse

An `Endpoint` declares what it needs. Its handler gets a `ClientRequest` and returns a `ClientResponse` or raises. An
error becomes a status with an empty body, because the client would take a text for an answer of the protocol
(docs/spec/web.md#common-rules).

Two modules call it: `short_way.py` for reads and submissions, straight from ASGI, and `resource.py` for all others,
through Falcon.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Literal
from urllib.parse import unquote

import msgspec

from kiai.accounts import Credentials, TooManyGuesses, User, Viewer
from kiai.errors import Conflict, Invalid, KiaiError, NotAllowed, NotAuthenticated, NotFound, Refused, Unavailable
from kiai.faces.asgi import Scope
from kiai.faces.forms import Form, FormReader
from kiai.faces.rate_limit import RateLimit
from kiai.faces.request_body import BodyTooLarge, RequestWithBody, read_body
from kiai.logs import Outage
from kiai.networks import network_of
from kiai.osu.privileges import effective
from kiai.realtime.port import Realtime
from kiai.realtime.rate_limiter import RateLimiter
from kiai.realtime.while_unavailable import may_be_playing

TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
JSON: Final = "application/json"
RETRY_AFTER_S: Final = 5
BODY_MAX: Final = 8 * 1024
PARTS_MAX: Final = 40  # a submission has fewer than 20
NAME_BYTES_MAX: Final = 64  # longer names cannot exist, so they cost no lookup

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class ClientResponse(msgspec.Struct, frozen=True):
    """The answer of an endpoint."""

    body: bytes = b""
    status: int = 200
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    chunks: AsyncIterator[bytes] | None = None  # replaces `body` for content that is too large for memory
    length: int | None = None  # of the chunks, in bytes


PRIVATE: Final = "private, no-store"
"""The Cache-Control of answers that depend on the account."""
BROWSING: Final = RateLimit("web", 10, 1.0, 30)
"""The shared limit of an account for all endpoints without a limit of their own."""


class RateLimited(KiaiError):
    """The caller has exceeded a rate limit."""


class Banned(NotAuthenticated):
    """The password is right, but the account is banned."""


class Received(msgspec.Struct, frozen=True):
    """A request before it passes the gateway.

    `params` is the query as Falcon parses it. `request` has the body of a POST. The gateway appends to `spent`
    the limits that the request has consumed, with their buckets.
    """

    scope: Scope
    params: Mapping[str, str | list[str]]
    path: Mapping[str, str] = {}
    request: RequestWithBody | None = None
    spent: list[tuple[RateLimit, str]] | None = None


class ClientRequest(msgspec.Struct, frozen=True):
    """A request that passed the gateway. `user` is None on endpoints without credentials."""

    query: Mapping[str, str]
    form: Form
    path: Mapping[str, str]
    scope: Scope
    user: User | None = None
    body: bytes = b""
    reader: FormReader | None = None  # only on endpoints with `streamed_body`

    @property
    def player(self) -> User:
        """The authenticated account. Only for endpoints with credentials."""
        assert self.user is not None
        return self.user

    @property
    def viewer(self) -> Viewer:
        """The caller as a viewer of other players, for the rules of visibility."""
        return Viewer() if self.user is None else Viewer(self.user.id, effective(self.user.priv))

    @property
    def address(self) -> str:
        """The address of the client."""
        address: str = self.scope["kiai.address"]
        return address

    def header(self, name: bytes) -> str:
        """Return the value of a header, "" without it; of a repeated one all values with commas between them.

        `name` is in lower case.
        """
        return b",".join(value for other, value in self.scope["headers"] if other == name).decode("latin-1")

    def whole(self, name: str, otherwise: int = 0) -> int:
        """Return an integer from the query, or `otherwise` if it is missing or invalid."""
        text = self.query.get(name, "")
        return int(text) if _WHOLE.fullmatch(text) else otherwise


Handler = Callable[[ClientRequest], Awaitable[ClientResponse]]
Method = Literal["GET", "POST"]


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint: its route, its requirements and its handler.

    - `credentials`: the fields of query or form with the name and the password; None for a public endpoint.
    - `online`: the account must also have a session with the game.
    - `unauthorized`, `bad_request`, `rate_limited`: replace the answers 401, 400 and 429 where the client expects a
      text.
    - `rate_limit`: for each account, or for each network if the endpoint has no credentials.
    - `body_max`, `part_max`: the maximum size of a form and of each part, in bytes.
    - `raw_body`: the handler gets the body as bytes instead of a form.
    - `streamed_body`: the handler reads the form and checks the credentials itself.
    - `reads`: the handler of this GET endpoint changes nothing before its first wait that may not be changed twice, and
      its answers have no `chunks`. Then the short way may serve it (`short_way.py`).
    """

    method: Method
    path: str
    handler: Handler
    credentials: tuple[str, str] | None = None
    online: bool = False
    unauthorized: ClientResponse | None = None
    bad_request: ClientResponse | None = None
    rate_limited: ClientResponse | None = None
    rate_limit: RateLimit | None = BROWSING
    body_max: int = BODY_MAX
    part_max: int = BODY_MAX
    raw_body: bool = False
    streamed_body: bool = False
    reads: bool = False


class ClientGateway:
    """Authenticates requests, enforces rate limits and turns errors into answers."""

    def __init__(self, credentials: Credentials, realtime: Realtime, limiter: RateLimiter, *, limited: bool) -> None:
        self._credentials = credentials
        self._realtime = realtime
        self._limiter = limiter
        self._limited = limited
        self._outages: dict[str, Outage] = {}

    async def respond(self, endpoint: Endpoint, received: Received) -> ClientResponse:
        """Answer one request. Raises only errors that are bugs of the server."""
        try:
            answer = await self._handle(endpoint, received)
        except KiaiError as error:
            if isinstance(error, Unavailable):
                self._outage_of(endpoint).failed(error)
            return _error_response(error, endpoint)
        if endpoint.path in self._outages:
            self._outages[endpoint.path].worked()
        return answer

    def _outage_of(self, endpoint: Endpoint) -> Outage:
        """Return the outage of an endpoint. Each has its own, because only some of them need the unavailable store."""
        if endpoint.path not in self._outages:
            self._outages[endpoint.path] = Outage("client", "unavailable", "available again", endpoint=endpoint.path)
        return self._outages[endpoint.path]

    async def check_rate_limit(self, rate_limit: RateLimit, bucket: str) -> None:
        """Consume one request from the bucket. Raises RateLimited if the bucket is empty."""
        if not self._limited:
            return
        result = await self._limiter.consume(
            f"{rate_limit.name}:{bucket}", limit=rate_limit.count, period_s=rate_limit.period_s, burst=rate_limit.burst
        )
        if not result.granted:
            raise RateLimited

    async def _spend(self, received: Received, rate_limit: RateLimit, bucket: str) -> None:
        await self.check_rate_limit(rate_limit, bucket)
        if received.spent is not None:
            received.spent.append((rate_limit, bucket))

    async def refund(self, rate_limit: RateLimit, bucket: str) -> None:
        """Return what a request has consumed that is served again from its beginning."""
        if self._limited:
            await self._limiter.refund(
                f"{rate_limit.name}:{bucket}", limit=rate_limit.count, period_s=rate_limit.period_s
            )

    async def _handle(self, endpoint: Endpoint, received: Received) -> ClientResponse:
        scope, path, req = received.scope, received.path, received.request
        # With credentials the limit counts the account, so that players behind one address do not share it. Guesses of
        # passwords have a price of their own (`Credentials.check`).
        if endpoint.credentials is None and endpoint.rate_limit is not None:
            await self._spend(received, endpoint.rate_limit, network_of(scope["kiai.address"]))
        query = {name: value if isinstance(value, str) else value[-1] for name, value in received.params.items()}
        form, body, reader, user = Form(), b"", None, None
        if endpoint.method == "POST":
            assert req is not None
            if endpoint.raw_body:
                body = await read_body(req, endpoint.body_max)
            else:
                reader = FormReader(req, endpoint.body_max, endpoint.part_max, parts_max=PARTS_MAX)
                if endpoint.streamed_body:
                    return await endpoint.handler(ClientRequest(query, form, path, scope, reader=reader))
                form = await reader.read_small()
                # Authenticate before reading files, so that a stranger cannot make the server store megabytes.
                if endpoint.credentials is not None and all(
                    query.get(field) or form.text(field) for field in endpoint.credentials
                ):
                    user = await self._authenticate(endpoint, query, form, received)
                form = await reader.read_all()
        # The credentials may also follow the files.
        if endpoint.credentials is not None and user is None:
            user = await self._authenticate(endpoint, query, form, received)
        return await endpoint.handler(ClientRequest(query, form, path, scope, user, body))

    async def _authenticate(self, endpoint: Endpoint, query: Mapping[str, str], form: Form, received: Received) -> User:
        """Return the account of the request. Raises NotAuthenticated and RateLimited."""
        assert endpoint.credentials is not None
        name, password = (query.get(field) or form.text(field) or "" for field in endpoint.credentials)
        user = await self.log_in(name, password, address=received.scope["kiai.address"])
        if endpoint.rate_limit is not None:
            await self._spend(received, endpoint.rate_limit, f"user:{user.id}")
        if endpoint.online and not await may_be_playing(self._realtime, user.id):
            raise NotAuthenticated
        return user

    async def log_in(self, name: str, password: str, *, address: str) -> User:
        """Return the account of these credentials.

        Some builds encode names twice (docs/spec/web.md#names-and-passwords), so a name that no account has is decoded
        once more. Raises NotAuthenticated, Banned, TooManyGuesses and Unavailable.
        """
        if len(name.encode(errors="replace")) > NAME_BYTES_MAX:
            raise NotAuthenticated
        try:
            user = await self._credentials.check(name, password, address)
        except NotAuthenticated:
            if "%" not in name:
                raise
            user = await self._credentials.check(unquote(name), password, address)
        if user.banned_at_ms is not None:
            raise Banned
        return user


def _error_response(error: KiaiError, endpoint: Endpoint) -> ClientResponse:
    if isinstance(error, NotAuthenticated):
        return endpoint.unauthorized or ClientResponse(status=401)
    if isinstance(error, Refused | Invalid) and endpoint.bad_request is not None:
        return endpoint.bad_request
    if isinstance(error, RateLimited | TooManyGuesses) and endpoint.rate_limited is not None:
        return endpoint.rate_limited
    if isinstance(error, Unavailable):
        return ClientResponse(status=503, headers=(("Retry-After", str(RETRY_AFTER_S)),))
    # By isinstance, because faces raise subclasses, e.g. BodyCutShort of Refused.
    for kind, status in (
        (RateLimited, 429),
        (TooManyGuesses, 429),
        (BodyTooLarge, 413),
        (NotFound, 404),
        (NotAllowed, 403),
        (Invalid, 400),
        (Refused, 400),
        (Conflict, 409),
    ):
        if isinstance(error, kind):
            return ClientResponse(status=status)
    raise error
