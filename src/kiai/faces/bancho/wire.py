"""The bytes of bancho: primitive types and framing (docs/spec/protocol.md#framing).

Little-endian throughout. A body is packets one after the other; a packet is u16 id, u8 compression, u32 length and its
payload. Whatever a client sends, reading raises Malformed and nothing else, and never looks beyond its own payload;
writing never fails: a number too large for its field becomes the largest it can hold.
"""

import struct
import zlib
from typing import Any, Final

from kiai.logs import get_logger

HEADER_BYTES: Final = 7
PACKET_MAX_BYTES: Final = 64 * 1024
BEATMAP_INFO_MAX_BYTES: Final = 512 * 1024
"""Packet 68 names every map of a client's collection."""
PACKETS_MAX: Final = 20_000
"""In one body, PONGs included; what follows is ignored."""
INFLATED_MAX_BYTES: Final = 1024 * 1024
"""From all the compressed packets of one body: what a body may hold uncompressed."""
ULEB128_MAX_BYTES: Final = 5
LIST_MAX: Final = 32_767
"""A list's count is u16, but some clients read it as i16."""

_PONG: Final = 4
_BEATMAP_INFO_REQUEST: Final = 68
_GZIPPED: Final = 1
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS

_PRESENT: Final = 0x0B
_ABSENT: Final = b"\x00"
_SHORT: Final = tuple(bytes((_PRESENT, size)) for size in range(128))
"""How a string of up to 127 bytes begins, by its size."""

_U8: Final = struct.Struct("<B")
_U16: Final = struct.Struct("<H")
_I16: Final = struct.Struct("<h")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_I64: Final = struct.Struct("<q")
_F32: Final = struct.Struct("<f")
_F64: Final = struct.Struct("<d")
_HEADER: Final = struct.Struct("<HBI")

_F32_MAX: Final = 3.4028234663852886e38
_F64_MAX: Final = 1.7976931348623157e308
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "b": (-(2**7), 2**7 - 1),
    "B": (0, 2**8 - 1),
    "h": (-(2**15), 2**15 - 1),
    "H": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "I": (0, 2**32 - 1),
    "q": (-(2**63), 2**63 - 1),
    "f": (-_F32_MAX, _F32_MAX),
    "d": (-_F64_MAX, _F64_MAX),
}


class Malformed(ValueError):
    """A payload is too short or holds what cannot be; the message says which."""


class Reader:
    """Reads one payload from its start and never beyond its end: every method raises Malformed when it is too short."""

    __slots__ = ("_at", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def u8(self) -> int:
        """The next byte, 0-255."""
        return int(self._number(_U8))

    def u16(self) -> int:
        """The next two bytes, 0-65,535."""
        return int(self._number(_U16))

    def i16(self) -> int:
        """The next two bytes, with a sign."""
        return int(self._number(_I16))

    def u32(self) -> int:
        """The next four bytes, without a sign."""
        return int(self._number(_U32))

    def i32(self) -> int:
        """The next four bytes, with a sign."""
        return int(self._number(_I32))

    def i64(self) -> int:
        """The next eight bytes, with a sign."""
        return int(self._number(_I64))

    def f32(self) -> float:
        """The next four bytes; may be infinite or no number at all."""
        return float(self._number(_F32))

    def f64(self) -> float:
        """The next eight bytes; may be infinite or no number at all."""
        return float(self._number(_F64))

    def raw(self, size: int) -> bytes:
        """The next `size` bytes as they are."""
        after = self._at + size
        if after > len(self._payload):
            raise Malformed(f"{size} bytes were to follow")
        part = self._payload[self._at : after]
        self._at = after
        return part

    def string(self) -> str:
        """A text; absent is "". What is no UTF-8 becomes U+FFFD."""
        payload = self._payload
        at = self._at
        if at >= len(payload):
            raise Malformed("a string was to follow")
        if payload[at] != _PRESENT:
            self._at = at + 1
            return ""
        at += 1
        size = shift = 0
        for byte in payload[at : at + ULEB128_MAX_BYTES]:
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        else:
            raise Malformed("a string's length does not end")
        self._at = at
        return self.raw(size).decode("utf-8", "replace")

    def i32_list(self, most: int) -> tuple[int, ...]:
        """The numbers of a list whose count is u16: each once, in order, the first `most` of them.

        Whatever the count says, no more is read than the payload holds.
        """
        return self.i32s(self.u16(), most)

    def i32s(self, count: int, most: int) -> tuple[int, ...]:
        """As `i32_list`, when the count was read already; below 0 is none."""
        count = max(0, min(count, (len(self._payload) - self._at) // _I32.size))
        numbers: tuple[int, ...] = struct.unpack_from(f"<{count}i", self._payload, self._at)
        self._at += count * _I32.size
        return tuple(dict.fromkeys(numbers))[:most]

    def _number(self, layout: struct.Struct) -> Any:
        try:
            (number,) = layout.unpack_from(self._payload, self._at)
        except struct.error:
            raise Malformed(f"a number of {layout.size} bytes was to follow") from None
        self._at += layout.size
        return number


class Layout:
    """Numbers written one after the other. Each is brought into the range of its field, so that none ever fails."""

    __slots__ = ("_bounds", "_pack", "size")

    def __init__(self, fields: str) -> None:
        """`fields` are the letters of `struct`, one a number, without counts."""
        layout = struct.Struct(f"<{fields}")
        self._pack = layout.pack
        self._bounds = tuple(_BOUNDS[field] for field in fields)
        self.size: Final = layout.size

    def pack(self, *numbers: float) -> bytes:
        """The bytes of the numbers, one for each field."""
        try:
            return self._pack(*numbers)
        except (struct.error, OverflowError):
            pairs = zip(numbers, self._bounds, strict=True)
            return self._pack(*(min(max(number, low), high) for number, (low, high) in pairs))


def string(text: str) -> bytes:
    """A text as readers expect it: `00` when empty, else `0b`, its length as ULEB128 and UTF-8."""
    if not text:
        return _ABSENT
    encoded = text.encode("utf-8", "replace")
    size = len(encoded)
    if size < len(_SHORT):
        return _SHORT[size] + encoded
    head = bytearray((_PRESENT,))
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + encoded


def i32_list(numbers: tuple[int, ...]) -> bytes:
    """A list with a u16 count; what is beyond LIST_MAX is left out."""
    numbers = numbers[:LIST_MAX]
    count = len(numbers)
    try:
        return struct.pack(f"<H{count}i", count, *numbers)
    except struct.error:
        return struct.pack("<H", count) + Layout("i" * count).pack(*numbers)


def packet(packet_id: int, payload: bytes = b"") -> bytes:
    """A whole packet: header and payload."""
    return _HEADER.pack(packet_id, 0, len(payload)) + payload


def packets_in(body: bytes) -> list[tuple[int, bytes]]:
    """The packets of a body as (id, payload), in order; PONGs are left out, for they say nothing.

    Never raises. A tail that is no whole packet is ignored, and so is everything beyond PACKETS_MAX. A packet that is
    too long, or compressed and damaged, is dropped and the others stay. Unknown ids are kept: who handles them skips
    them.
    """
    found: list[tuple[int, bytes]] = []
    unpack = _HEADER.unpack_from
    whole = len(body)
    last = whole - HEADER_BYTES
    inflatable = INFLATED_MAX_BYTES
    too_long = damaged = start = 0
    for _ in range(PACKETS_MAX):
        if start > last:
            break
        packet_id, compression, size = unpack(body, start)
        start += HEADER_BYTES
        after = start + size
        if after > whole:
            break
        if packet_id != _PONG:
            most = BEATMAP_INFO_MAX_BYTES if packet_id == _BEATMAP_INFO_REQUEST else PACKET_MAX_BYTES
            if size > most:
                too_long += 1
            elif compression != _GZIPPED:
                found.append((packet_id, body[start:after]))
            elif inflatable <= 0:
                too_long += 1
            else:
                payload, spent = _inflated(body[start:after], min(most, inflatable))
                inflatable -= spent
                if payload is None:
                    damaged += 1
                else:
                    found.append((packet_id, payload))
        start = after
    if too_long or damaged:
        get_logger("bancho").info("packets dropped", too_long=too_long, damaged=damaged)
    return found


_INFLATING_COSTS: Final = 4_096
"""Bytes of INFLATED_MAX_BYTES that a compressed packet takes in any case: starting is most of the work."""


def _inflated(payload: bytes, most: int) -> tuple[bytes | None, int]:
    """The uncompressed payload, None when it is damaged or longer than `most`; and how much work it was, in bytes."""
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        inflated = stream.decompress(payload, most + 1)
    except zlib.error:
        return None, most
    spent = _INFLATING_COSTS + len(inflated)
    return (inflated if stream.eof and len(inflated) <= most else None), spent
