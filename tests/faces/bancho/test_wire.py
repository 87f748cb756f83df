"""Primitive types and framing (docs/spec/protocol.md#framing)."""

import gzip
import os
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.faces.bancho import wire
from kiai.faces.bancho.wire import Layout, Malformed, Reader, i32_list, packet, packets_in, string

CHANNEL_JOIN = packet(63, string("#osu"))
JOINED = (63, string("#osu"))


def compressed(packet_id: int, payload: bytes) -> bytes:
    return struct.pack("<HBI", packet_id, 1, len(payload)) + payload


# Texts


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
def test_a_string_is_its_length_and_utf8(text: str, encoded: bytes) -> None:
    assert string(text) == encoded
    assert Reader(encoded).string() == text


@given(st.text(max_size=400))
def test_every_text_comes_back(text: str) -> None:
    assert Reader(string(text)).string() == text


def test_half_a_surrogate_pair_is_written_as_a_question_mark() -> None:
    assert string("\ud800") == b"\x0b\x01?"


@pytest.mark.parametrize("first", [0x00, 0x01, 0x05, 0x0A, 0x0C, 0xFF])
def test_any_first_byte_but_0b_is_an_absent_string(first: int) -> None:
    reader = Reader(bytes((first, 7)))
    assert reader.string() == ""
    assert reader.u8() == 7


def test_a_hidden_password_reads_as_empty() -> None:
    assert Reader(b"\x0b\x00").string() == ""


def test_what_is_no_utf8_becomes_replacement_characters() -> None:
    assert Reader(b"\x0b\x04a\xff\xc3b").string() == "a\ufffd\ufffdb"


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
def test_a_string_that_its_payload_does_not_hold_is_malformed(encoded: bytes) -> None:
    with pytest.raises(Malformed):
        Reader(encoded).string()


def test_a_length_of_five_bytes_is_read() -> None:
    assert Reader(b"\x0b\x81\x80\x80\x80\x00a").string() == "a"


# Numbers


def test_numbers_are_little_endian() -> None:
    reader = Reader(struct.pack("<BHhIiqfd", 255, 65535, -2, 2**32 - 1, -3, -4, 0.5, -0.25))
    assert (reader.u8(), reader.u16(), reader.i16(), reader.u32()) == (255, 65535, -2, 2**32 - 1)
    assert (reader.i32(), reader.i64(), reader.f32(), reader.f64()) == (-3, -4, 0.5, -0.25)


@pytest.mark.parametrize("name", ["u8", "u16", "i16", "u32", "i32", "i64", "f32", "f64"])
def test_a_number_that_is_cut_is_malformed(name: str) -> None:
    size = {"8": 1, "16": 2, "32": 4, "64": 8}[name[1:]]
    with pytest.raises(Malformed):
        getattr(Reader(bytes(size - 1)), name)()


def test_raw_bytes_beyond_the_payload_are_malformed() -> None:
    with pytest.raises(Malformed):
        Reader(b"abc").raw(4)


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
def test_a_number_too_large_for_its_field_becomes_the_largest_it_holds(
    field: str, number: float, written: float
) -> None:
    assert struct.unpack(f"<{field}", Layout(field).pack(number)) == (written,)


# Lists


def test_a_list_is_each_id_once_in_order_and_no_more_than_wanted() -> None:
    encoded = struct.pack("<H6i", 6, 5, 1, 5, -2, 1, 9)
    assert Reader(encoded).i32_list(10) == (5, 1, -2, 9)
    assert Reader(encoded).i32_list(2) == (5, 1)


@pytest.mark.parametrize("count", [3, 65_535])
def test_a_list_that_counts_more_than_there_is_is_what_there_is(count: int) -> None:
    assert Reader(struct.pack("<H2ib", count, 7, 8, 9)).i32_list(10) == (7, 8)


def test_a_list_without_a_count_is_malformed() -> None:
    with pytest.raises(Malformed):
        Reader(b"\x01").i32_list(10)


def test_a_negative_count_is_no_ids() -> None:
    assert Reader(struct.pack("<2i", 7, 8)).i32s(-1, 10) == ()


def test_after_a_list_the_reader_stands_behind_it() -> None:
    reader = Reader(struct.pack("<H2iB", 2, 7, 7, 9))
    assert reader.i32_list(1) == (7,)
    assert reader.u8() == 9


def test_a_written_list_is_cut_where_its_count_ends() -> None:
    written = i32_list(tuple(range(40_000)))
    assert written[:2] == struct.pack("<H", 32_767)
    assert len(written) == 2 + 4 * 32_767


def test_a_written_list_clamps_its_numbers() -> None:
    assert i32_list((1, 2**40)) == struct.pack("<H2i", 2, 1, 2**31 - 1)


# Framing


def test_packets_come_in_their_order() -> None:
    assert packets_in(packet(30) + CHANNEL_JOIN + packet(29)) == [(30, b""), JOINED, (29, b"")]


def test_pongs_say_nothing() -> None:
    assert packets_in(packet(4) + CHANNEL_JOIN + packet(4, b"abc") + packet(30)) == [JOINED, (30, b"")]


def test_ten_thousand_pongs_take_no_time() -> None:
    body = packet(4) * 10_000
    start = time.process_time()
    assert packets_in(body) == []
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(bytes(6), id="six bytes"),
        pytest.param(struct.pack("<HBI", 63, 0, 1), id="a length of one and nothing"),
        pytest.param(struct.pack("<HBI", 63, 0, 2**32 - 1) + b"abc", id="4 GiB announced"),
        pytest.param(struct.pack("<HBI", 4, 0, 1), id="a cut pong"),
    ],
)
def test_a_tail_that_is_no_whole_packet_is_ignored(tail: bytes) -> None:
    assert packets_in(tail) == []
    assert packets_in(CHANNEL_JOIN + tail) == [JOINED]


def test_an_unknown_packet_is_stepped_over() -> None:
    assert packets_in(packet(65_535, bytes(10)) + CHANNEL_JOIN) == [(65_535, bytes(10)), JOINED]


def test_an_overlong_packet_is_dropped_and_the_others_stay() -> None:
    longest = packet(1, bytes(wire.PACKET_MAX_BYTES))
    longer = packet(1, bytes(wire.PACKET_MAX_BYTES + 1))
    assert [len(payload) for _, payload in packets_in(longest + longer + CHANNEL_JOIN)] == [65_536, len(JOINED[1])]


def test_a_beatmap_info_request_may_be_longer() -> None:
    longest = packet(68, bytes(wire.BEATMAP_INFO_MAX_BYTES))
    longer = packet(68, bytes(wire.BEATMAP_INFO_MAX_BYTES + 1))
    assert [packet_id for packet_id, _ in packets_in(longest + longer + CHANNEL_JOIN)] == [68, 63]


def test_no_more_packets_are_taken_than_the_bound() -> None:
    assert len(packets_in(packet(30) * (wire.PACKETS_MAX + 1))) == wire.PACKETS_MAX


# Compression


def test_a_compressed_packet_is_inflated() -> None:
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
def test_a_damaged_compressed_packet_is_dropped_and_the_others_stay(payload: bytes) -> None:
    assert packets_in(compressed(1, payload) + CHANNEL_JOIN) == [JOINED]


def test_the_longest_payload_may_come_compressed() -> None:
    longest = bytes(wire.PACKET_MAX_BYTES)
    assert packets_in(compressed(1, gzip.compress(longest))) == [(1, longest)]


def test_a_body_of_bombs_inflates_to_no_more_than_a_body_may_hold() -> None:
    bomb = compressed(68, gzip.compress(bytes(wire.BEATMAP_INFO_MAX_BYTES)))
    found = packets_in(bomb * 100 + CHANNEL_JOIN)
    assert sum(len(payload) for _, payload in found) <= wire.INFLATED_MAX_BYTES
    assert found[-1] == JOINED


def test_damaged_packets_count_as_work_too() -> None:
    damaged = compressed(1, b"no gzip at all")
    whole = compressed(1, gzip.compress(b"a"))
    assert packets_in(damaged * 2 + whole) == [(1, b"a")]
    assert packets_in(damaged * 20 + whole + CHANNEL_JOIN) == [JOINED]


def test_any_other_compression_byte_is_ignored() -> None:
    assert packets_in(struct.pack("<HBI", 63, 2, len(JOINED[1])) + JOINED[1]) == [JOINED]
