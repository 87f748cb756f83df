"""The wire format of bancho: primitive types and framing (docs/spec/protocol.md#framing).

All numbers are little-endian. A body is a sequence of packets: u16 id, u8 compression, u32 length of the payload, and
the payload. Reading raises only MalformedPacket, for any input, and never reads beyond the packet's payload. Writing
never fails: a number outside the range of its field becomes the nearest number in it.
"""

import struct
import zlib
from typing import Any, Final

from kiai.logs import get_logger

HEADER_BYTES: Final = 7
PACKET_MAX_BYTES: Final = 64 * 1024
BEATMAP_INFO_MAX_BYTES: Final = 512 * 1024
"""The bound of packet 68, which names all maps of a client's folder."""
PACKETS_MAX: Final = 2_000
"""Packets of one body, PONGs included; the rest is ignored. Clients send a few, and no budget pays for 2,000."""
INFLATED_MAX_BYTES: Final = 1024 * 1024
"""Uncompressed bytes of all compressed packets of one body: as many as a body may have without compression."""
ULEB128_MAX_BYTES: Final = 5
LIST_MAX: Final = 32_767
"""Numbers in one list. The count is u16, but some clients read it as i16."""

_PONG: Final = 4
_BEATMAP_INFO_REQUEST: Final = 68
_GZIPPED: Final = 1
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS

_PRESENT: Final = 0x0B
_ABSENT: Final = b"\x00"
_SHORT: Final = tuple(bytes((_PRESENT, size)) for size in range(128))
"""PERF: the first two bytes of a string, by its size up to 127 bytes. Most strings are that short."""

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


class MalformedPacket(ValueError):
    """A payload is too short or has an invalid value; the message says which."""


class PayloadReader:
    """Reads a payload from start to end.

    Every method raises MalformedPacket if the rest of the payload is too short.
    """

    __slots__ = ("_at", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def u8(self) -> int:
        """Read an unsigned byte."""
        return int(self._number(_U8))

    def u16(self) -> int:
        """Read an unsigned 16-bit number."""
        return int(self._number(_U16))

    def i16(self) -> int:
        """Read a signed 16-bit number."""
        return int(self._number(_I16))

    def u32(self) -> int:
        """Read an unsigned 32-bit number."""
        return int(self._number(_U32))

    def i32(self) -> int:
        """Read a signed 32-bit number."""
        return int(self._number(_I32))

    def i64(self) -> int:
        """Read a signed 64-bit number."""
        return int(self._number(_I64))

    def f32(self) -> float:
        """Read a 32-bit float, which may be infinite or NaN."""
        return float(self._number(_F32))

    def f64(self) -> float:
        """Read a 64-bit float, which may be infinite or NaN."""
        return float(self._number(_F64))

    def raw(self, size: int) -> bytes:
        """Read `size` bytes."""
        after = self._at + size
        if after > len(self._payload):
            raise MalformedPacket(f"expected {size} more bytes")
        part = self._payload[self._at : after]
        self._at = after
        return part

    def string(self) -> str:
        """Read a string, "" if it is absent. Invalid UTF-8 becomes U+FFFD."""
        payload = self._payload
        at = self._at
        if at >= len(payload):
            raise MalformedPacket("expected a string")
        if payload[at] != _PRESENT:  # 00, or a byte that has no meaning
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
            raise MalformedPacket("a string's length is longer than 5 bytes")
        self._at = at
        return self.raw(size).decode("utf-8", "replace")

    def i32_list(self, most: int) -> tuple[int, ...]:
        """Read a list with a u16 count. Return the first `most` different numbers in order.

        A count larger than the payload reads the numbers that exist.
        """
        return self.i32s(self.u16(), most)

    def i32s(self, count: int, most: int) -> tuple[int, ...]:
        """Read `count` numbers like `i32_list`. A negative count reads no numbers."""
        # Bounded by the payload before anything is allocated: the count is the client's.
        count = max(0, min(count, (len(self._payload) - self._at) // _I32.size))
        numbers: tuple[int, ...] = struct.unpack_from(f"<{count}i", self._payload, self._at)
        self._at += count * _I32.size
        return tuple(dict.fromkeys(numbers))[:most]

    def _number(self, layout: struct.Struct) -> Any:
        try:
            (number,) = layout.unpack_from(self._payload, self._at)
        except struct.error:
            raise MalformedPacket(f"expected a number of {layout.size} bytes") from None
        self._at += layout.size
        return number


class PayloadLayout:
    """Packs a fixed sequence of numbers. A number outside the range of its field becomes the nearest one in it."""

    __slots__ = ("_bounds", "_pack", "size")

    def __init__(self, fields: str) -> None:
        """`fields` are format characters of `struct`, one for each number, without counts."""
        layout = struct.Struct(f"<{fields}")
        self._pack = layout.pack
        self._bounds = tuple(_BOUNDS[field] for field in fields)
        self.size: Final = layout.size

    def pack(self, *numbers: float) -> bytes:
        """Pack one number for each field."""
        # PERF: nearly all numbers fit, so the range is only checked after a failure.
        try:
            return self._pack(*numbers)
        except (struct.error, OverflowError):
            pairs = zip(numbers, self._bounds, strict=True)
            return self._pack(*(min(max(number, low), high) for number, (low, high) in pairs))


def string(text: str) -> bytes:
    """Encode a string: `00` if it is empty, else `0b`, the length in bytes as ULEB128, and UTF-8."""
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
    """Encode a list with a u16 count. Numbers beyond LIST_MAX are omitted."""
    numbers = numbers[:LIST_MAX]
    count = len(numbers)
    try:
        return struct.pack(f"<H{count}i", count, *numbers)
    except struct.error:
        return struct.pack("<H", count) + PayloadLayout("i" * count).pack(*numbers)


def packet(packet_id: int, payload: bytes = b"") -> bytes:
    """Encode a packet: header and payload."""
    return _HEADER.pack(packet_id, 0, len(payload)) + payload


def packets_in(body: bytes) -> list[tuple[int, bytes]]:
    """Split a body into packets (id, payload), in order and without PONGs, which carry nothing. Never raises.

    Ignores an incomplete packet at the end and everything beyond PACKETS_MAX. Drops packets that are too long, and
    compressed packets that are damaged. Returns packets with unknown ids.
    """
    found: list[tuple[int, bytes]] = []
    unpack = _HEADER.unpack_from
    length = len(body)
    last = length - HEADER_BYTES
    inflatable = INFLATED_MAX_BYTES
    too_long = damaged = start = 0
    for _ in range(PACKETS_MAX):
        if start > last:
            break
        packet_id, compression, size = unpack(body, start)
        start += HEADER_BYTES
        after = start + size
        if after > length:  # its length is wrong, so no later packet can be found either
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
"""Bytes of INFLATED_MAX_BYTES that each compressed packet uses. The setup of zlib is most of the work."""


def _inflated(payload: bytes, most: int) -> tuple[bytes | None, int]:
    """Return the uncompressed payload, and the work in bytes. None: it is damaged or longer than `most`."""
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        inflated = stream.decompress(payload, most + 1)  # bounds a compression bomb; one byte more shows the excess
    except zlib.error:
        return None, most
    spent = _INFLATING_COSTS + len(inflated)
    return (inflated if stream.eof and len(inflated) <= most else None), spent
