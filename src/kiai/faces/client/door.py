"""What every request of a game client passes: its form is read, its password checked, its haste bounded.

    request -> limit by address -> small parts of the form -> password -> limit by account -> files of the form
            -> the page's handler -> Answer

A page declares what it needs (`Page`); its handler gets an `Ask` and returns an `Answer` or raises. What went wrong
becomes a status with an empty body, because the client reads words only where the protocol has some
(docs/spec/web.md#common-rules).
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal
from urllib.parse import unquote

import falcon
import falcon.asgi
import msgspec
from falcon.media.multipart import MultipartParseOptions

from kiai.accounts import Credentials, TooManyGuesses, User, Viewer
from kiai.errors import Conflict, Invalid, KiaiError, NotAllowed, NotAuthenticated, NotFound, Refused, Unavailable
from kiai.faces.asgi import FalconApp, falcon_app, no_options
from kiai.logs import Outage
from kiai.networks import network_of
from kiai.osu.privileges import effective
from kiai.realtime.port import Realtime
from kiai.realtime.rate_limiter import RateLimiter
from kiai.realtime.reading import may_be_playing

TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
JSON: Final = "application/json"
RETRY_AFTER_S: Final = 5
BODY_MAX: Final = 8 * 1024
TEXTS_MAX: Final = 256 * 1024  # of a form that cannot hold files
SMALL_MAX: Final = 64 * 1024  # of a form: read before the caller is known
PARTS_MAX: Final = 40
PART_HEADERS_MAX: Final = 8 * 1024
NAME_BYTES_MAX: Final = 64

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class Answer(msgspec.Struct, frozen=True):
    """What a client is told."""

    body: bytes = b""
    status: int = 200
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    chunks: AsyncIterator[bytes] | None = None  # in place of `body`, for what does not fit into memory
    length: int | None = None  # of the chunks, in bytes


class Haste(msgspec.Struct, frozen=True):
    """How often one caller may ask: `count` in `period_s` seconds on the long run, `burst` at once (None: `count`)."""

    name: str
    count: int
    period_s: float
    burst: int | None = None


OWNERS_ALONE: Final = "private, no-store"
"""Cache-Control of what nobody but the owner of an account may see."""
BROWSING: Final = Haste("web", 10, 1.0, 30)
"""What an account may ask for in all, but for what has a limit of its own."""


class TooLarge(KiaiError):
    """The body, or a part of it, is above its bound."""


class Hasty(KiaiError):
    """The caller has asked too often."""


class Banned(NotAuthenticated):
    """The password is right, but the account is closed."""


class FilePart(msgspec.Struct, frozen=True):
    """A part of a form: `filename` is None for a text."""

    name: str
    filename: str | None
    data: bytes


class Form(msgspec.Struct, frozen=True):
    """The parts of a body in their order."""

    parts: tuple[FilePart, ...] = ()

    def text(self, name: str) -> str | None:
        """The first part of this name without file name, if it is UTF-8."""
        for part in self.parts:
            if part.name == name and part.filename is None:
                try:
                    return part.data.decode()
                except UnicodeDecodeError:
                    return None
        return None

    def file(self, name: str) -> bytes | None:
        """The first part of this name with a file name; without one, the last part of this name."""
        named = [part for part in self.parts if part.name == name]
        return next((part.data for part in named if part.filename is not None), named[-1].data if named else None)


class Ask(msgspec.Struct, frozen=True):
    """A request that was let in. `user` is None on pages that ask for no password."""

    query: Mapping[str, str]
    form: Form
    path: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    address: str
    user: User | None = None
    body: bytes = b""
    reader: "FormReader | None" = None  # of pages that read their form themselves

    @property
    def player(self) -> User:
        """The account that asks; only on pages that ask for a password."""
        assert self.user is not None
        return self.user

    @property
    def viewer(self) -> Viewer:
        """As whom the caller sees others."""
        return Viewer() if self.user is None else Viewer(self.user.id, effective(self.user.priv))

    def whole(self, name: str, otherwise: int = 0) -> int:
        """A whole number of the query; `otherwise` for one that is missing or none."""
        text = self.query.get(name, "")
        return int(text) if _WHOLE.fullmatch(text) else otherwise


Handler = Callable[[Ask], Awaitable[Answer]]
Method = Literal["GET", "POST"]


class Page(msgspec.Struct, frozen=True):
    """An endpoint: where it is, what it needs, who answers.

    `credentials` are the names of the query's or form's fields for name and password; None lets everybody in.
    `online` also wants a live session with the game. `refusal` answers a wrong password in place of 401, `fault` what a
    rule or a bad value refuses in place of 400, `hasty` who asks too often in place of 429. `haste` bounds an account,
    or an address where nobody logs in. A body is read as a form up to `body_max` bytes, each part up to `part_max`;
    `raw` leaves it as bytes, `streamed` leaves it to the handler, which has its own way to see who asks.
    """

    method: Method
    path: str
    handler: Handler
    credentials: tuple[str, str] | None = None
    online: bool = False
    refusal: Answer | None = None
    fault: Answer | None = None
    hasty: Answer | None = None
    haste: Haste | None = BROWSING
    body_max: int = BODY_MAX
    part_max: int = BODY_MAX
    raw: bool = False
    streamed: bool = False


class Door:
    """Lets requests in."""

    def __init__(self, credentials: Credentials, realtime: Realtime, limiter: RateLimiter, *, limited: bool) -> None:
        self._credentials = credentials
        self._realtime = realtime
        self._limiter = limiter
        self._limited = limited
        self._outages: dict[str, Outage] = {}

    def app(self, pages: list[Page]) -> FalconApp:
        """The application that serves these pages; what none of them is, is 404 with an empty body."""
        by_path: dict[str, dict[str, Page]] = {}
        for page in pages:
            by_path.setdefault(page.path, {})[page.method] = page
        app = falcon_app({path: _allow(methods) for path, methods in by_path.items()})
        options = MultipartParseOptions()
        options.max_body_part_count = PARTS_MAX
        options.max_body_part_headers_size = PART_HEADERS_MAX
        handler = falcon.media.MultipartFormHandler(options)
        app.req_options.media_handlers[falcon.MEDIA_MULTIPART] = handler
        for path, methods in by_path.items():
            app.add_route(path, _Resource(self, methods))
        app.add_sink(_nothing)
        return app

    async def ask(self, page: Page, req: falcon.asgi.Request, path: Mapping[str, str]) -> Answer:
        """Answers one request. Raises nothing but what is our own fault."""
        try:
            answer = await self._let_in(page, req, path)
        except KiaiError as error:
            if isinstance(error, Unavailable):
                self._outage_of(page).failed(error)
            return _told(error, page)
        if page.path in self._outages:
            self._outages[page.path].worked()
        return answer

    def _outage_of(self, page: Page) -> Outage:
        """Each page has its own: while one store is away, pages that do not need it go on."""
        if page.path not in self._outages:
            self._outages[page.path] = Outage("client", "unavailable", "available again", page=page.path)
        return self._outages[page.path]

    async def take(self, haste: Haste, bucket: str) -> None:
        """Counts one request. Raises Hasty."""
        if not self._limited:
            return
        taken = await self._limiter.take(
            f"{haste.name}:{bucket}", limit=haste.count, period_s=haste.period_s, burst=haste.burst
        )
        if not taken.granted:
            raise Hasty

    async def _let_in(self, page: Page, req: falcon.asgi.Request, path: Mapping[str, str]) -> Answer:
        address: str = req.scope["kiai.address"]
        if page.credentials is None and page.haste is not None:
            await self.take(page.haste, network_of(address))
        query = {name: value if isinstance(value, str) else value[-1] for name, value in req.params.items()}
        form, body, reader, user = Form(), b"", None, None
        if page.method == "POST" and page.raw:
            body = await read_body(req, page.body_max)
        elif page.method == "POST":
            reader = FormReader(req, page.body_max, page.part_max)
            if page.streamed:
                return await page.handler(Ask(query, form, path, req.headers_lower, address, reader=reader))
            form = await reader.small()
            if page.credentials is not None and all(query.get(one) or form.text(one) for one in page.credentials):
                user = await self._known(page, query, form, address)
            form = await reader.whole()
        if page.credentials is not None and user is None:
            user = await self._known(page, query, form, address)
        return await page.handler(Ask(query, form, path, req.headers_lower, address, user, body))

    async def _known(self, page: Page, query: Mapping[str, str], form: Form, address: str) -> User:
        """Who asks, if the page lets them in."""
        assert page.credentials is not None
        user = await self.log_in(
            *(query.get(name) or form.text(name) or "" for name in page.credentials), address=address
        )
        if page.haste is not None:
            await self.take(page.haste, f"user:{user.id}")
        if page.online and not await may_be_playing(self._realtime, user.id):
            raise NotAuthenticated
        return user

    async def log_in(self, name: str, password: str, *, address: str) -> User:
        """The account of these credentials. Raises NotAuthenticated, TooManyGuesses and Unavailable.

        Some builds encode names twice (docs/spec/web.md#names-and-passwords): one that nobody has is decoded once more.
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


class _Resource:
    """The Falcon resource of one path."""

    def __init__(self, door: Door, pages: Mapping[str, Page]) -> None:
        self._door = door
        self._pages = pages

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """GET, and HEAD by way of the front."""
        await self._serve(req, resp, path)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """POST."""
        await self._serve(req, resp, path)

    on_options = staticmethod(no_options)

    async def _serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, path: Mapping[str, str]) -> None:
        req.scope["kiai.route"] = req.uri_template
        page = self._pages.get(req.method)
        if page is None:
            raise falcon.HTTPMethodNotAllowed([])
        answer = await self._door.ask(page, req, path)
        resp.status = answer.status
        resp.content_type = answer.content_type
        if answer.chunks is None:
            resp.data = answer.body
        else:
            resp.set_stream(answer.chunks, answer.length or 0)
        if page.credentials is not None:  # what one account is shown; also what it is told in place of an answer
            resp.set_header("Cache-Control", OWNERS_ALONE)
        for name, value in answer.headers:
            resp.set_header(name, value)


def _allow(methods: Mapping[str, Page]) -> str:
    return ", ".join(name for method in sorted(methods) for name in (("GET", "HEAD") if method == "GET" else (method,)))


async def _nothing(req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
    assert resp is not None  # None is for web sockets
    resp.status = 404
    resp.content_type = TEXT


def _told(error: KiaiError, page: Page) -> Answer:
    if isinstance(error, NotAuthenticated):
        return page.refusal or Answer(status=401)
    if isinstance(error, Refused | Invalid) and page.fault is not None:
        return page.fault
    if isinstance(error, Hasty | TooManyGuesses) and page.hasty is not None:
        return page.hasty
    if isinstance(error, Unavailable):
        return Answer(status=503, headers=(("Retry-After", str(RETRY_AFTER_S)),))
    for kind, status in (
        (Hasty, 429),
        (TooManyGuesses, 429),
        (TooLarge, 413),
        (NotFound, 404),
        (NotAllowed, 403),
        (Invalid, 400),
        (Refused, 400),
        (Conflict, 409),
    ):
        if isinstance(error, kind):
            return Answer(status=status)
    raise error


async def read_body(req: falcon.asgi.Request, most: int) -> bytes:
    """The whole body. Raises TooLarge, before reading when the length is declared, and Refused for one cut short."""
    if req.content_length is not None and req.content_length > most:
        raise TooLarge
    data = await req.stream.read(most + 1)
    if len(data) > most:
        raise TooLarge
    if req.content_length is not None and len(data) != req.content_length:
        raise Refused("the body was cut short")  # whoever sent it is gone
    return bytes(data)


class FormReader:
    """The parts of a multipart or urlencoded body, read in two steps; another body has none.

    The first step reads no more than `SMALL_MAX` bytes, so that a caller is known before a file is taken in. Raises
    TooLarge when the body is above `most` bytes or a part above `part_max`, Refused for a damaged one.
    """

    def __init__(self, req: falcon.asgi.Request, most: int, part_max: int) -> None:
        if req.content_length is not None and req.content_length > most:
            raise TooLarge
        self._req = req
        self._most = most
        self._part_max = part_max
        self._parts: list[FilePart] = []
        self._total = 0
        self._rest: AsyncIterator[falcon.asgi.multipart.BodyPart] | None = None
        self._begun: tuple[falcon.asgi.multipart.BodyPart, bytes] | None = None

    async def small(self) -> Form:
        """The parts that are whole within the first `SMALL_MAX` bytes. What follows them waits unread."""
        kind = (self._req.content_type or "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            with _damaged_is_refused():
                self._rest = aiter(await self._req.get_media())
                await self._read_parts(SMALL_MAX)
        elif kind == "application/x-www-form-urlencoded":
            data = await read_body(self._req, min(self._most, TEXTS_MAX))
            fields = falcon.uri.parse_query_string(data.decode("latin-1"), keep_blank=True, csv=False)
            values = {name: value if isinstance(value, str) else value[0] for name, value in fields.items()}
            self._parts = [FilePart(name, None, value.encode()) for name, value in values.items()]
        else:
            await read_body(self._req, min(self._most, TEXTS_MAX))
        return Form(tuple(self._parts))

    async def whole(self) -> Form:
        """All parts, after `small`."""
        if self._rest is not None:
            with _damaged_is_refused():
                if self._begun is not None:
                    part, data = self._begun
                    self._add(part, data + await part.stream.read(self._part_max - len(data) + 1))
                await self._read_parts(self._most)
        return Form(tuple(self._parts))

    async def _read_parts(self, until: int) -> None:
        """Reads on while at most `until` bytes came."""
        assert self._rest is not None
        async for part in self._rest:
            data = await part.stream.read(min(self._part_max, until - self._total) + 1)
            if self._total + len(data) > until and until < self._most:
                self._begun = part, data
                self._total += len(data)
                return
            self._total += len(data)
            self._add(part, data)

    def _add(self, part: falcon.asgi.multipart.BodyPart, data: bytes) -> None:
        if self._begun is not None:
            self._total += len(data) - len(self._begun[1])
            self._begun = None
        if len(data) > self._part_max or self._total > self._most:
            raise TooLarge
        self._parts.append(FilePart(part.name or "", part.filename, data))


@contextmanager
def _damaged_is_refused() -> Iterator[None]:
    try:
        yield
    except falcon.HTTPError as error:
        raise Refused(f"the form is damaged: {error.description or error.title}") from error
