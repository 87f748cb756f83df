"""Reads multipart and urlencoded forms in two steps, so that the caller is authenticated before files are read."""

from typing import Final

import falcon
import msgspec

from kiai.faces.multipart import MultipartParser
from kiai.faces.request_body import BodyTooLarge, RequestWithBody, check_length, read_body

TEXTS_MAX: Final = 256 * 1024  # bytes of an urlencoded form, which cannot contain files
SMALL_MAX: Final = 64 * 1024  # bytes of a form that an unauthenticated caller can make the server read
READ_BYTES: Final = 256 * 1024


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
    BodyTooLarge if the body exceeds `max_bytes` bytes or a part exceeds `part_max`, and Refused for a malformed body or
    one with more than `parts_max` parts.
    """

    def __init__(self, req: RequestWithBody, max_bytes: int, part_max: int, *, parts_max: int) -> None:
        check_length(req, max_bytes)
        self._req = req
        self._max_bytes = max_bytes
        self._part_max = part_max
        self._parts_max = parts_max
        self._parts: list[FilePart] = []
        self._total = 0
        self._multipart: MultipartParser | None = None

    async def read_small(self) -> Form:
        """Read the first `SMALL_MAX` bytes and return the parts that they contain completely."""
        content_type = self._req.content_type or ""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            self._multipart = MultipartParser(content_type, parts_max=self._parts_max, part_max=self._part_max)
            await self._read(self._multipart, SMALL_MAX)
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
        if self._multipart is not None:
            while await self._read(self._multipart, READ_BYTES):
                pass
            self._multipart.finish()
        return Form(tuple(self._parts))

    async def _read(self, multipart: MultipartParser, most: int) -> bool:
        """Read and parse at most `most` bytes. Return whether there were any."""
        data = await self._req.stream.read(most)
        self._total += len(data)
        if self._total > self._max_bytes:  # a chunked body declares no length
            raise BodyTooLarge(f"The body has more than {self._max_bytes} bytes.")
        multipart.feed(data)
        self._parts += [FilePart(*part) for part in multipart.parts[len(self._parts) :]]
        return bool(data)
