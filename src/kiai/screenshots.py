"""Screenshots from the game. Each one is decoded and encoded again, so that no other data of the upload is served."""

import re
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.accounts.visibility import visible
from kiai.clock import Clock
from kiai.decoding import signatures
from kiai.decoding.decoder import Decoder
from kiai.errors import Invalid, Unavailable
from kiai.files.port import Files
from kiai.ids import Ids
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import screenshots, users

SIZE_MAX: Final = 4 * 1024**2
ID_BYTES: Final = 6  # 8 characters: the address is public, but cannot be guessed
TRIES: Final = 3  # a second collision of random ids does not happen in practice

_ID: Final = re.compile(r"[A-Za-z0-9_-]{8}", re.ASCII)
_ENDS: Final = {
    "png": (signatures.PNG, signatures.PNG_END),
    "jpeg": (signatures.JPEG, signatures.JPEG_END),
}

ADD = Command(insert(screenshots).values({n: bindparam(n) for n in ("id", "user_id", "kind", "size", "at_ms")}))
REMOVE = Command(delete(screenshots).where(screenshots.c.id == bindparam("screenshot_id")))
KIND = Query(
    select(screenshots.c.kind)
    .select_from(screenshots.join(users, users.c.id == screenshots.c.user_id))
    .where(screenshots.c.id == bindparam("id"), visible()),
    scalar,
)


class FoundScreenshot(msgspec.Struct, frozen=True):
    """The kind (`png` or `jpeg`) of a screenshot, its size in bytes and its data, which is read when it is sent."""

    kind: str
    size: int
    chunks: AsyncIterator[bytes]


class Screenshots:
    """Stores and finds screenshots."""

    def __init__(self, database: Database, files: Files, decoder: Decoder, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._files = files
        self._clock = clock
        self._ids = ids
        self._decoder = decoder

    async def save(self, user_id: int, data: bytes) -> str:
        """Store a PNG or JPEG of at most 4 MiB and 7680 x 4320 pixels. Return its name, `{id}.png` or `{id}.jpeg`.

        Raises Invalid for other data, and Unavailable. Nothing is stored then (docs/spec/web.md#screenshots).
        """
        kind = kind_of(data)
        encoded = await self._decoder.screenshot(data, kind, caller=f"user:{user_id}")
        # The row before the file: a collision of ids fails here and does not overwrite another picture.
        screenshot_id = await self._reserve(user_id, kind, len(encoded))
        try:
            await self._files.put(screenshot_key(screenshot_id, kind), encoded)
        except Unavailable:
            await self._remove(screenshot_id)
            raise
        return f"{screenshot_id}.{kind}"

    async def find(self, screenshot_id: str) -> FoundScreenshot | None:
        """Return a screenshot whose author is public, else None."""
        if not _ID.fullmatch(screenshot_id):
            return None
        kind = await self._database.one(KIND, id=screenshot_id)
        if kind is None:
            return None
        key = screenshot_key(screenshot_id, kind)
        size = await self._files.size(key)
        chunks = None if size is None else await self._files.stream(key, 0, size)
        return None if size is None or chunks is None else FoundScreenshot(kind, size, chunks)

    async def _reserve(self, user_id: int, kind: str, size: int) -> str:
        """Insert a row with a new id. Return the id."""
        now = self._clock.now_ms()
        for _ in range(TRIES):
            screenshot_id = self._ids.token(ID_BYTES)

            async def body(tx: Transaction, screenshot_id: str = screenshot_id) -> None:
                await tx.run(ADD, id=screenshot_id, user_id=user_id, kind=kind, size=size, at_ms=now)

            try:
                await self._database.transaction(body)
            except UniqueViolation:
                continue
            return screenshot_id
        raise Unavailable("screenshots", "no free id was found")

    async def _remove(self, screenshot_id: str) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(REMOVE, screenshot_id=screenshot_id)

        await self._database.transaction(body)


def screenshot_key(screenshot_id: str, kind: str) -> str:
    """Return the key of a screenshot in the file store."""
    # Ids are case-sensitive, but some stores do not distinguish `A` from `a`, so the key has the id in hex.
    return f"screenshots/{screenshot_id.encode().hex()}.{kind}"


def kind_of(data: bytes) -> str:
    """Return `png` or `jpeg` by the first and last bytes. Raises Invalid for other data and above 4 MiB."""
    if len(data) > SIZE_MAX:
        raise Invalid("screenshot", f"at most {SIZE_MAX} bytes", len(data))
    # The end too: a truncated upload must not be stored.
    for kind, (head, tail) in _ENDS.items():
        if data.startswith(head) and data.endswith(tail):
            return kind
    raise Invalid("screenshot", "a whole PNG or JPEG file", "something else")
