"""Primitive types and framing (docs/spec/protocol.md#framing)."""

import gzip
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import core_seconds

from kiai.faces.bancho import wire
from kiai.faces.bancho.wire import MalformedPacket, PayloadLayout, PayloadReader, i32_list, packet, packets_in, string

CHANNEL_JOIN = packet(63, string("#osu"))
JOINED = (63, string("#osu"))


def compressed(packet_id: int, payload: bytes) -> bytes:
    return struct.pack("<HBI", packet_id, 1, len(payload)) + payload


# --- texts


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", b"\x00"),
        ("a", b"\x0b\x01a"),
        ("a" * 127, b"\x0b\x7f" + b"a" * 127),
        ("a" * 128, b"\x0b\x80\x01" + b"a" * 128),
        ("a" * 300, b"\x0b\xac\x02" + b"a" * 300),
        ("あ", b"\x0b\x03\xe3\x81\x82"),
    ],
)
def test_string_is_encoded_as_length_and_utf8(text: str, encoded: bytes) -> None:
    assert string(text) == encoded
    assert PayloadReader(encoded).string() == text


@given(st.text(max_size=400))
def test_every_text_is_read_back(text: str) -> None:
    assert PayloadReader(string(text)).string() == text


def test_lone_surrogate_is_written_as_a_question_mark() -> None:
    assert string("\ud800") == b"\x0b\x01?"


@pytest.mark.parametrize("first", [0x00, 0x01, 0x05, 0x0A, 0x0C, 0xFF])
def test_string_with_another_first_byte_than_0b_is_absent(first: int) -> None:
    reader = PayloadReader(bytes((first, 7)))
    assert reader.string() == ""
    assert reader.u8() == 7


def test_hidden_password_reads_as_empty() -> None:
    assert PayloadReader(b"\x0b\x00").string() == ""


def test_invalid_utf8_becomes_replacement_characters() -> None:
    assert PayloadReader(b"\x0b\x04a\xff\xc3b").string() == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x0b", id="no length"),
        pytest.param(b"\x0b\x80", id="half a length"),
        pytest.param(b"\x0b\x05abcd", id="a byte short"),
        pytest.param(b"\x0b\xff\xff\xff\xff\x0fabcd", id="4 GiB"),
        pytest.param(b"\x0b\x80\x80\x80\x80\x80\x00", id="a length of six bytes"),
        pytest.param(b"\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="a length beyond 64 bits"),
    ],
)
def test_string_longer_than_its_payload_is_malformed(encoded: bytes) -> None:
    with pytest.raises(MalformedPacket):
        PayloadReader(encoded).string()


def test_string_length_of_five_bytes_is_read() -> None:
    assert PayloadReader(b"\x0b\x81\x80\x80\x80\x00a").string() == "a"


# --- numbers


def test_numbers_are_little_endian() -> None:
    reader = PayloadReader(struct.pack("<BHhIiqfd", 255, 65535, -2, 2**32 - 1, -3, -4, 0.5, -0.25))
    assert (reader.u8(), reader.u16(), reader.i16(), reader.u32()) == (255, 65535, -2, 2**32 - 1)
    assert (reader.i32(), reader.i64(), reader.f32(), reader.f64()) == (-3, -4, 0.5, -0.25)


@pytest.mark.parametrize("name", ["u8", "u16", "i16", "u32", "i32", "i64", "f32", "f64"])
def test_truncated_number_is_malformed(name: str) -> None:
    size = {"8": 1, "16": 2, "32": 4, "64": 8}[name[1:]]
    with pytest.raises(MalformedPacket):
        getattr(PayloadReader(bytes(size - 1)), name)()


def test_raw_bytes_beyond_the_payload_are_malformed() -> None:
    with pytest.raises(MalformedPacket):
        PayloadReader(b"abc").raw(4)


@pytest.mark.parametrize(
    ("field", "number", "written"),
    [
        ("B", 256, 255),
        ("B", -1, 0),
        ("b", -129, -128),
        ("H", 70_000, 65_535),
        ("h", 70_000, 32_767),
        ("i", 2**31, 2**31 - 1),
        ("i", -(2**40), -(2**31)),
        ("I", -1, 0),
        ("I", 2**40, 2**32 - 1),
        ("q", 2**70, 2**63 - 1),
        ("f", 1e300, 3.4028234663852886e38),
    ],
)
def test_number_is_limited_to_the_range_of_its_field(field: str, number: float, written: float) -> None:
    assert struct.unpack(f"<{field}", PayloadLayout(field).pack(number)) == (written,)


# --- lists


def test_list_is_read_unique_in_order_and_bounded() -> None:
    encoded = struct.pack("<H6i", 6, 5, 1, 5, -2, 1, 9)
    assert PayloadReader(encoded).i32_list(10) == (5, 1, -2, 9)
    assert PayloadReader(encoded).i32_list(2) == (5, 1)


@pytest.mark.parametrize("count", [3, 65_535])
def test_list_with_too_large_a_count_is_read_to_its_end(count: int) -> None:
    assert PayloadReader(struct.pack("<H2ib", count, 7, 8, 9)).i32_list(10) == (7, 8)


def test_list_without_a_count_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        PayloadReader(b"\x01").i32_list(10)


def test_negative_count_gives_no_ids() -> None:
    assert PayloadReader(struct.pack("<2i", 7, 8)).i32s(-1, 10) == ()


def test_reader_continues_after_a_list() -> None:
    reader = PayloadReader(struct.pack("<H2iB", 2, 7, 7, 9))
    assert reader.i32_list(1) == (7,)
    assert reader.u8() == 9


def test_written_list_is_bounded_by_its_count() -> None:
    written = i32_list(tuple(range(40_000)))
    assert written[:2] == struct.pack("<H", 32_767)
    assert len(written) == 2 + 4 * 32_767


def test_written_list_limits_its_numbers() -> None:
    assert i32_list((1, 2**40)) == struct.pack("<H2i", 2, 1, 2**31 - 1)


# --- framing


def test_packets_are_returned_in_order() -> None:
    assert packets_in(packet(30) + CHANNEL_JOIN + packet(29)) == [(30, b""), JOINED, (29, b"")]


def test_pongs_are_omitted() -> None:
    assert packets_in(packet(4) + CHANNEL_JOIN + packet(4, b"abc") + packet(30)) == [JOINED, (30, b"")]


def test_ten_thousand_pongs_are_cheap() -> None:
    body = packet(4) * 10_000

    took_s = core_seconds(lambda: packets_in(body), enough=0.1)

    assert packets_in(body) == []
    assert took_s < 0.1


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(bytes(6), id="six bytes"),
        pytest.param(struct.pack("<HBI", 63, 0, 1), id="a length of one and nothing"),
        pytest.param(struct.pack("<HBI", 63, 0, 2**32 - 1) + b"abc", id="4 GiB announced"),
        pytest.param(struct.pack("<HBI", 4, 0, 1), id="a cut pong"),
    ],
)
def test_incomplete_packet_at_the_end_is_ignored(tail: bytes) -> None:
    assert packets_in(tail) == []
    assert packets_in(CHANNEL_JOIN + tail) == [JOINED]


def test_unknown_packet_does_not_affect_others() -> None:
    assert packets_in(packet(65_535, bytes(10)) + CHANNEL_JOIN) == [(65_535, bytes(10)), JOINED]


def test_only_the_too_long_packet_is_dropped() -> None:
    longest = packet(1, bytes(wire.PACKET_MAX_BYTES))
    longer = packet(1, bytes(wire.PACKET_MAX_BYTES + 1))
    assert [len(payload) for _, payload in packets_in(longest + longer + CHANNEL_JOIN)] == [65_536, len(JOINED[1])]


def test_beatmap_info_request_can_be_longer() -> None:
    longest = packet(68, bytes(wire.BEATMAP_INFO_MAX_BYTES))
    longer = packet(68, bytes(wire.BEATMAP_INFO_MAX_BYTES + 1))
    assert [packet_id for packet_id, _ in packets_in(longest + longer + CHANNEL_JOIN)] == [68, 63]


def test_packets_beyond_the_bound_are_ignored() -> None:
    assert len(packets_in(packet(30) * (wire.PACKETS_MAX + 1))) == wire.PACKETS_MAX


# --- compression


def test_compressed_packet_is_inflated() -> None:
    text = string(os.urandom(512).hex())
    assert packets_in(compressed(1, gzip.compress(text)) + CHANNEL_JOIN) == [(1, text), JOINED]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no gzip at all", id="no gzip"),
        pytest.param(gzip.compress(b"a" * 1000)[:-1], id="cut"),
        pytest.param(gzip.compress(b"a" * 1000)[:-8] + bytes(8), id="wrong checksum"),
        pytest.param(gzip.compress(bytes(wire.PACKET_MAX_BYTES + 1)), id="too long inside"),
    ],
)
def test_only_the_damaged_compressed_packet_is_dropped(payload: bytes) -> None:
    assert packets_in(compressed(1, payload) + CHANNEL_JOIN) == [JOINED]


def test_longest_payload_can_be_compressed() -> None:
    longest = bytes(wire.PACKET_MAX_BYTES)
    assert packets_in(compressed(1, gzip.compress(longest))) == [(1, longest)]


def test_compression_bombs_inflate_to_at_most_one_body() -> None:
    bomb = compressed(68, gzip.compress(bytes(wire.BEATMAP_INFO_MAX_BYTES)))
    found = packets_in(bomb * 100 + CHANNEL_JOIN)
    assert sum(len(payload) for _, payload in found) <= wire.INFLATED_MAX_BYTES
    assert found[-1] == JOINED


def test_damaged_packets_count_towards_the_inflation_bound() -> None:
    damaged = compressed(1, b"no gzip at all")
    whole = compressed(1, gzip.compress(b"a"))
    assert packets_in(damaged * 2 + whole) == [(1, b"a")]
    assert packets_in(damaged * 20 + whole + CHANNEL_JOIN) == [JOINED]


def test_unknown_compression_byte_is_ignored() -> None:
    assert packets_in(struct.pack("<HBI", 63, 2, len(JOINED[1])) + JOINED[1]) == [JOINED]
