"""Mirrors of the official catalogue, for searches and downloads of archives (docs/spec/beatmaps.md#mirrors).

Mirrors have the API of cheesegull. Each request goes to the first mirror that answers. The `Fetcher` of a failing
mirror refuses at once, so it costs no time.
"""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from kiai.beatmaps.fetching import CONNECT_S, TOTAL_S, Fetcher
from kiai.clock import Clock
from kiai.errors import Unavailable

JSON_MAX: Final = 10 * 1024 * 1024
PAGE: Final = 100


class MirrorMap(msgspec.Struct, frozen=True, rename="pascal"):
    """A difficulty as a mirror lists it."""

    diff_name: str = ""
    mode: int = 0
    difficulty_rating: float = 0.0
    CS: Annotated[float, msgspec.Meta(description="circle size")] = msgspec.field(default=0.0, name="CS")
    OD: Annotated[float, msgspec.Meta(description="overall difficulty")] = msgspec.field(default=0.0, name="OD")
    AR: Annotated[float, msgspec.Meta(description="approach rate")] = msgspec.field(default=0.0, name="AR")
    HP: Annotated[float, msgspec.Meta(description="drain rate")] = msgspec.field(default=0.0, name="HP")


class MirrorSet(msgspec.Struct, frozen=True, rename="pascal"):
    """A set as a mirror lists it."""

    set_id: int = msgspec.field(name="SetID")
    artist: str = ""
    title: str = ""
    creator: str = ""
    ranked_status: int = 0
    last_update: str = ""
    has_video: bool | int = False
    children_beatmaps: list[MirrorMap] | None = None


_sets: Final = msgspec.json.Decoder(list[MirrorSet] | None).decode


class Mirrors:
    """The mirrors of the settings, in order of preference. False without any."""

    def __init__(
        self,
        urls: Sequence[str],
        clock: Clock,
        *,
        allow_private: bool = False,
        connect_s: float = CONNECT_S,
        total_s: float = TOTAL_S,
    ) -> None:
        self._fetchers = [
            Fetcher(url, clock, allow_private=allow_private, connect_s=connect_s, total_s=total_s) for url in urls
        ]

    def __bool__(self) -> bool:
        return bool(self._fetchers)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names of the mirrors, in order of preference."""
        return tuple(urlsplit(fetcher.url).hostname or "" for fetcher in self._fetchers)

    async def search(self, query: str, *, mode: int | None, status: int | None, page: int) -> list[MirrorSet]:
        """Return a page of 100 sets, from page 0. `status` is a number of the official API. Raises Unavailable."""
        params: dict[str, str | int] = {"query": query, "amount": PAGE, "offset": page * PAGE}
        if mode is not None:
            params["mode"] = mode
        if status is not None:
            params["status"] = status
        for fetcher in self._fetchers:
            try:
                body = await fetcher.get("/api/search", params, most=JSON_MAX)
                return [] if body is None else _sets(body) or []
            # RecursionError: a mirror may send JSON that is nested too deeply.
            except (Unavailable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
        raise Unavailable("upstream", "no mirror answers")

    async def set(self, set_id: int) -> MirrorSet | None:
        """Return a set, or None if the first mirror that answers does not have it. Raises Unavailable."""
        for fetcher in self._fetchers:
            try:
                body = await fetcher.get(f"/api/s/{set_id}", most=JSON_MAX)
                return None if body is None else msgspec.json.decode(body, type=MirrorSet | None)
            except (Unavailable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
        raise Unavailable("upstream", "no mirror answers")

    def download_url(self, set_id: int, *, video: bool) -> str | None:
        """Return the URL of a set's archive, or None without mirrors."""
        if not self._fetchers:
            return None
        # The client follows this address itself. With all mirrors failing, the first one is as good as any.
        fetcher = next((fetcher for fetcher in self._fetchers if fetcher.is_open), self._fetchers[0])
        return f"{fetcher.url}/d/{set_id}{'' if video else 'n'}"

    async def close(self) -> None:
        """Close the connections."""
        for fetcher in self._fetchers:
            await fetcher.close()
