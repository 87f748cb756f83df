"""Live parts of pages: a stream of server-sent events with the HTML of the parts that have changed.

    feed -> FeedFollower -> parts concerned are marked -> rendered once per language -> all pages that show them

A page names its parts in the address of the stream, `/live?parts=plays.all,online`. The stream sends each of them once
when it opens, so a page that was loaded a second ago, or whose connection was interrupted, misses nothing. Of a part
that changes faster than a page reads, the page gets the newest version only. So a stream holds at most one version of
each of its parts, whatever happens.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

import msgspec

from kiai.errors import NotFound, Unavailable
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.gateway import TooManyPages
from kiai.faces.site.locale import Locale, locale_of
from kiai.faces.site.page import BadParameter, Page, Response, SiteRequest, Stream
from kiai.faces.streams import StreamPlaces
from kiai.logs import Outage
from kiai.networks import network_of
from kiai.realtime.following import FeedFollower, FeedPart, LiveEvent

OPENING: Final = RateLimit("live", 60, 60.0)
PARTS_MAX: Final = 4
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 3_000
BUSY_ABOVE: Final = 2  # changes within a second
JUST_NOW_S: Final = 2.0  # a new stream gets a version of this age
AFTER_FAILURE_S: Final = 2.0
_NAME: Final = re.compile(r"([a-z]{1,16})(?:\.([a-z0-9]{1,16}))?")
_HEARTBEAT: Final = b": heartbeat\n\n"
_OPENING: Final = b"retry: %d\n\n" % RETRY_MS


class Fragment(msgspec.Struct, frozen=True):
    """A rendered part. `summary` is a sentence for screen readers about what is new, empty if nothing needs saying."""

    html: str
    summary: str = ""


class LivePart(msgspec.Struct, frozen=True):
    """A kind of live part.

    - `keys_of`: the keys of the parts that an event changes. A kind without keys has the key "".
    - `render`: the fragment of one part; `changes` is the number of events since the last one.
    - `allow`: raises NotFound if the visitor may not see the part, and returns its key, which it may complete.
    - `pause_s`: the shortest time between two versions; `busy_s`: the same while it changes more than twice a second.
    - `again_s`: renders it once more after a change, for rows that are written a moment later. 0 does not.
    - `every_s`: renders it also without events. 0 does not.
    """

    name: str
    keys_of: Callable[[LiveEvent], Sequence[str]]
    render: Callable[[str, Locale, int], Awaitable[Fragment]]
    allow: Callable[[SiteRequest, str], Awaitable[str]]
    pause_s: float = 0.5
    busy_s: float = 0.0
    again_s: float = 0.0
    every_s: float = 0.0


class _Listener:
    """One open stream. `waiting` has the newest unsent version of each part."""

    def __init__(self, counted_as: frozenset[str]) -> None:
        self.counted_as = counted_as
        self.waiting: dict[str, bytes] = {}
        self.wakeup = asyncio.Event()
        self.closed = False

    def push(self, name: str, message: bytes) -> None:
        self.waiting[name] = message
        self.wakeup.set()


class _Channel:
    """A part in one language, with the streams that show it."""

    def __init__(self, part: LivePart, key: str, language: str) -> None:
        self.part = part
        self.key = key
        self.name = f"{part.name}.{key}" if key else part.name
        self.language = language
        self.listeners: set[_Listener] = set()
        self.message = b""
        self.html: str | None = None
        self.changes = 0
        self.times: list[float] = []
        self.due_at: float | None = None
        self.rendered_at = 0.0

    def mark(self, count: int, now: float) -> None:
        """Note `count` changes, and when to render the part."""
        self.changes += count
        self.times = [at for at in self.times if at > now - 1.0][-BUSY_ABOVE:] + [now] * min(count, BUSY_ABOVE + 1)
        pause = max(self.part.pause_s, self.part.busy_s if len(self.times) > BUSY_ABOVE else 0.0)
        due_at = max(now, self.rendered_at + pause)
        self.due_at = due_at if self.due_at is None or self.due_at > due_at else self.due_at


class LiveParts:
    """The streams of this process."""

    def __init__(self, follower: FeedFollower, parts: Sequence[LivePart]) -> None:
        self._parts = {part.name: part for part in parts}
        self._channels: dict[tuple[str, str], dict[str, _Channel]] = {}  # by part and key, by language
        self._listeners: set[_Listener] = set()
        self._places = StreamPlaces()
        self._closed = False
        self._outage = Outage("live", "a live part was not rendered", "live parts are rendered again")
        follower.subscribe(self._on_events)

    @property
    def streams(self) -> int:
        """Number of open streams."""
        return len(self._listeners)

    def close(self) -> None:
        """End all streams and reject new ones, because the server stops."""
        self._closed = True
        for listener in self._listeners:
            listener.closed = True
            listener.wakeup.set()

    def pages(self) -> list[Page]:
        """Return the stream."""
        return [Page("GET", "/live", self._open, rate_limit=OPENING)]

    async def _open(self, request: SiteRequest) -> Response:
        names = request.query.text("parts", 120).split(",")
        if not 1 <= len(names) <= PARTS_MAX:
            allowed = f"1 to {PARTS_MAX} names of live parts, with commas between them"
            raise BadParameter("parts", allowed, ",".join(names))
        wanted: list[tuple[LivePart, str]] = []
        for name in names:
            found = _NAME.fullmatch(name)
            if found is None or found[1] not in self._parts:
                raise BadParameter("parts", f"out of {', '.join(self._parts)}", name)
            part = self._parts[found[1]]
            wanted.append((part, await part.allow(request, found[2] or "")))
        user = request.visitor.user
        counted_as = frozenset((network_of(request.address), *(() if user is None else (f"user:{user.id}",))))
        if self._closed or self._places.is_full:
            raise Unavailable("live parts", "the server stops" if self._closed else "all streams are in use")
        if not self._places.has_place(counted_as):
            raise TooManyPages(HEARTBEAT_S)  # a network or an account has too many
        listener = _Listener(counted_as)
        self._places.enter(counted_as)
        self._listeners.add(listener)
        now = monotonic()
        channels = [self._join(part, key, request.locale.language, listener, now) for part, key in wanted]
        return Stream(self._chunks(listener), "text/event-stream", lambda: self._leave(listener, channels))

    def _join(self, part: LivePart, key: str, language: str, listener: _Listener, now: float) -> _Channel:
        by_language = self._channels.setdefault((part.name, key), {})
        channel = by_language.setdefault(language, _Channel(part, key, language))
        channel.listeners.add(listener)
        if channel.message and channel.due_at is None and now - channel.rendered_at < JUST_NOW_S:
            listener.push(channel.name, channel.message)
        else:
            channel.html = None  # sent even if it equals the last version, because the new page has not got that
            channel.due_at = channel.due_at or now
        return channel

    def _leave(self, listener: _Listener, channels: Sequence[_Channel]) -> None:
        if listener not in self._listeners:  # a second call must not free the place of another stream
            return
        self._listeners.discard(listener)
        self._places.leave(listener.counted_as)
        listener.closed = True
        listener.wakeup.set()
        for channel in channels:
            channel.listeners.discard(listener)
            by_language = self._channels.get((channel.part.name, channel.key), {})
            if not channel.listeners and by_language.get(channel.language) is channel:
                del by_language[channel.language]
                if not by_language:
                    del self._channels[channel.part.name, channel.key]

    async def _chunks(self, listener: _Listener) -> AsyncIterator[bytes]:
        yield _OPENING
        while not listener.closed:
            if not listener.waiting:
                listener.wakeup.clear()
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await listener.wakeup.wait()
                except TimeoutError:
                    yield _HEARTBEAT
                continue
            message = b"".join(listener.waiting.values())
            listener.waiting.clear()
            yield message

    # --- changes

    async def _on_events(self, feed: FeedPart) -> None:
        if not self._channels:
            return
        now = monotonic()
        counts: dict[tuple[str, str], int] = {}
        for event in feed.events:
            for part in self._parts.values():
                for key in part.keys_of(event):
                    counts[part.name, key] = counts.get((part.name, key), 0) + 1
        if feed.gap:
            counts = {place: counts.get(place, 0) for place in self._channels}
        for place, count in counts.items():
            for channel in self._channels.get(place, {}).values():
                channel.mark(count, now)

    async def push(self) -> None:
        """Render the parts that are due and send them. A job calls this several times a second."""
        now = monotonic()
        for channel in [one for by_language in self._channels.values() for one in by_language.values()]:
            if channel.due_at is None and channel.part.every_s and now - channel.rendered_at >= channel.part.every_s:
                channel.due_at = now
            if channel.due_at is not None and channel.due_at <= now:
                await self._render(channel)

    async def _render(self, channel: _Channel) -> None:
        # Before the first await: a change during the rendering marks the part again.
        changes, channel.changes, channel.due_at = channel.changes, 0, None
        channel.rendered_at = monotonic()
        if changes and channel.part.again_s:
            channel.due_at = channel.rendered_at + channel.part.again_s
        try:
            fragment = await channel.part.render(channel.key, locale_of(channel.language), changes)
        except NotFound:  # e.g. the match of the page was hidden: the page stays as it is
            return
        except Exception as error:
            self._outage.failed(error, trace=not isinstance(error, Unavailable))
            channel.due_at = monotonic() + AFTER_FAILURE_S
            channel.changes += changes
            return
        self._outage.worked()
        if fragment.html == channel.html:
            return
        channel.html = fragment.html
        data = msgspec.json.encode({"part": channel.name, "html": fragment.html, "summary": fragment.summary})
        channel.message = b"event: part\ndata: %b\n\n" % data
        for listener in channel.listeners:
            listener.push(channel.name, channel.message)


async def for_everybody(request: SiteRequest, key: str) -> str:
    """Return the key of a part without keys that everybody may see."""
    if key:
        raise BadParameter("parts", "a part without a key", key)
    return key
