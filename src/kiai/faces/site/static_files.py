"""The static files of the website, which browsers keep forever because a changed file has another name."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Final

import brotli

from kiai.errors import NotFound
from kiai.faces.compression import FROM_BYTES, accepts_brotli, accepts_gzip, gzipped
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.assets import IMMUTABLE, Asset, Assets
from kiai.faces.site.page import Content, Page, Response, SiteRequest

FILES = RateLimit("site-files", 100, 1.0, 300)
"""The limit of an address for static files: a first visit loads about twenty, a list of players one flag a country."""
_COMPRESSED_TYPES: Final = ("text/", "image/svg+xml")


class StaticFiles:
    """Serves `/static/...`.

    Compressed forms are made once, at the highest level, and stay in memory. Their number is that of the files of the
    package: about 250 KB when all have been requested.
    """

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self._compressed: dict[tuple[str, str], asyncio.Task[bytes]] = {}

    def pages(self) -> list[Page]:
        """Return the page of all static files."""
        return [Page("GET", "/static/{path:path}", self._file, rate_limit=FILES, under_maintenance=True)]

    async def _file(self, request: SiteRequest) -> Response:
        asset = self._assets.find(f"/static/{request.path['path']}")
        if asset is None:
            raise NotFound("file")
        headers = [("Cache-Control", IMMUTABLE), ("ETag", asset.etag), ("Vary", "Accept-Encoding")]
        if asset.etag in request.headers.get("if-none-match", ""):
            return Content(b"", asset.content_type, 304, tuple(headers))
        body = asset.content
        accepted = request.headers.get("accept-encoding")
        if len(body) >= FROM_BYTES and asset.content_type.startswith(_COMPRESSED_TYPES):
            if accepts_brotli(accepted):
                body = await self._once(asset, "br", brotli.compress)
                headers.append(("Content-Encoding", "br"))
            elif accepts_gzip(accepted):
                body = await self._once(asset, "gzip", _gzip)
                headers.append(("Content-Encoding", "gzip"))
        return Content(body, asset.content_type, headers=tuple(headers))

    async def _once(self, asset: Asset, coding: str, compress: Callable[[bytes], bytes]) -> bytes:
        """Compress a file in a thread, or wait for the thread that does so already."""
        key = (asset.path, coding)
        if key not in self._compressed:
            self._compressed[key] = asyncio.create_task(asyncio.to_thread(compress, asset.content))
        return await asyncio.shield(self._compressed[key])


def _gzip(content: bytes) -> bytes:
    return gzipped(content, zlib.Z_BEST_COMPRESSION)
