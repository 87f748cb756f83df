"""Reads multipart and urlencoded forms in two steps, so that the caller is authenticated before files are read."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import falcon
import falcon.asgi
import msgspec

from kiai.errors import Refused
from kiai.faces.request_body import BodyTooLarge, check_length, read_body

TEXTS_MAX: Final = 256 * 1024  # bytes of an urlencoded form, which cannot contain files
SMALL_MAX: Final = 64 * 1024  # bytes of a form that an unauthenticated caller can make the server read


class FilePart(msgspec.Struct, frozen=True):
    """A part of a form. `filename` is None for a text part."""

    name: str
    filename: str | None
    data: bytes


class Form(msgspec.Struct, frozen=True):
    """The parts of a form, in the order in which they were sent."""

    parts: tuple[FilePart, ...] = ()

    def text(self, name: str) -> str | None:
        """Return the first text part of this name, or None if it is missing or not UTF-8."""
        for part in self.parts:
            if part.name == name and part.filename is None:
                try:
                    return part.data.decode()
                except UnicodeDecodeError:
                    return None
        return None

    def file(self, name: str) -> bytes | None:
        """Return the first part of this name with a file name, else the last part of this name, else None."""
        named = [part for part in self.parts if part.name == name]
        return next((part.data for part in named if part.filename is not None), named[-1].data if named else None)


class FormReader:
    """Reads a multipart or urlencoded body in two steps. A body of another type has no parts.

    The first step, `read_small`, reads at most `SMALL_MAX` bytes, and the second, `read_all`, the rest. Both raise
    BodyTooLarge if the body exceeds `max_bytes` bytes or a part exceeds `part_max`, and Refused for a malformed body.
    """

    def __init__(self, req: falcon.asgi.Request, max_bytes: int, part_max: int) -> None:
        check_length(req, max_bytes)
        self._req = req
        self._max_bytes = max_bytes
        self._part_max = part_max
        self._parts: list[FilePart] = []
        self._total = 0
        self._rest: AsyncIterator[falcon.asgi.multipart.BodyPart] | None = None
        self._begun: tuple[falcon.asgi.multipart.BodyPart, bytes] | None = None

    async def read_small(self) -> Form:
        """Read the first `SMALL_MAX` bytes and return the parts that they contain completely."""
        kind = (self._req.content_type or "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            with _form_errors():
                self._rest = aiter(await self._req.get_media())
                await self._read_parts(SMALL_MAX)
        elif kind == "application/x-www-form-urlencoded":
            # Such a form is only text, so it is read at once.
            data = await read_body(self._req, min(self._max_bytes, TEXTS_MAX))
            fields = falcon.uri.parse_query_string(data.decode("latin-1"), keep_blank=True, csv=False)
            values = {name: value if isinstance(value, str) else value[0] for name, value in fields.items()}
            self._parts = [FilePart(name, None, value.encode()) for name, value in values.items()]
        else:
            await read_body(self._req, min(self._max_bytes, TEXTS_MAX))
        return Form(tuple(self._parts))

    async def read_all(self) -> Form:
        """Read the rest of the body and return all parts. Call `read_small` first."""
        if self._rest is not None:
            with _form_errors():
                if self._begun is not None:
                    part, data = self._begun
                    self._add(part, data + await part.stream.read(self._part_max - len(data) + 1))
                await self._read_parts(self._max_bytes)
        return Form(tuple(self._parts))

    async def _read_parts(self, until: int) -> None:
        """Read parts until the total exceeds `until` bytes; a part that exceeds it is continued by `read_all`."""
        assert self._rest is not None
        async for part in self._rest:
            # One byte more than allowed shows that the part is longer.
            data = await part.stream.read(min(self._part_max, until - self._total) + 1)
            if self._total + len(data) > until and until < self._max_bytes:
                self._begun = part, data
                self._total += len(data)
                return
            self._total += len(data)
            self._add(part, data)

    def _add(self, part: falcon.asgi.multipart.BodyPart, data: bytes) -> None:
        if self._begun is not None:
            # `_read_parts` has already counted the beginning of this part.
            self._total += len(data) - len(self._begun[1])
            self._begun = None
        if len(data) > self._part_max or self._total > self._max_bytes:
            raise BodyTooLarge
        self._parts.append(FilePart(part.name or "", part.filename, data))


@contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except falcon.HTTPError as error:
        raise Refused(f"the form is malformed: {error.description or error.title}") from error
