"""Random and mutated bodies: only MalformedPacket is raised, and all bounds hold."""

import gzip
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faces.bancho.client_bytes import survives
from tests.faces.bancho.vectors import CLIENT_VECTORS, VECTORS, Vector

from kiai.faces.bancho import wire
from kiai.faces.bancho.packets import READERS

IDS = st.sampled_from(sorted(READERS)) | st.integers(0, 2**16 - 1)
PAYLOADS = st.binary(max_size=300)
CHANNEL_JOIN = wire.packet(63, wire.string("#osu"))
EDGES = (
    b"\x00",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff",
    b"\x1f\x8b",
)


@st.composite
def framed(draw: st.DrawFn) -> bytes:
    """Build a packet whose length may be wrong, and which may be compressed or only be marked as compressed."""
    payload = draw(PAYLOADS)
    compression = draw(st.sampled_from((0, 0, 1, 1, 2, 255)))
    if compression == 1 and draw(st.booleans()):
        payload = gzip.compress(payload)
    size = draw(st.just(len(payload)) | st.integers(0, 2**32 - 1))
    return struct.pack("<HBI", draw(IDS), compression, size) + payload


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Join some of the examples and mutate the result."""
    body = bytearray(b"".join(vector.encoded for vector in draw(st.lists(st.sampled_from(VECTORS), max_size=6))))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(("set", "insert", "delete", "double"))):
            case "set":
                edge = draw(st.sampled_from(EDGES) | st.binary(min_size=1, max_size=4))
                body[at : at + len(edge)] = edge
            case "insert":
                body[at:at] = draw(st.sampled_from(EDGES) | st.binary(min_size=1, max_size=16))
            case "delete":
                del body[at : at + draw(st.integers(1, 32))]
            case "double":
                body[at:at] = body[at : at + draw(st.integers(1, 64))]
    return bytes(body)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=2_000))
def test_random_bodies_raise_nothing(body: bytes) -> None:
    survives(body)


@settings(deadline=None, max_examples=300)
@given(st.lists(framed(), max_size=10).map(b"".join))
def test_framed_random_payloads_raise_nothing(body: bytes) -> None:
    survives(body)


@settings(deadline=None, max_examples=500)
@given(mutated())
def test_mutated_example_packets_raise_nothing(body: bytes) -> None:
    survives(body)


@settings(deadline=None, max_examples=500)
@given(IDS, PAYLOADS)
def test_malformed_payload_does_not_affect_other_packets(packet_id: int, payload: bytes) -> None:
    body = CHANNEL_JOIN + wire.packet(packet_id, payload) + CHANNEL_JOIN
    survives(body)
    joined = (63, wire.string("#osu"))
    between = [] if packet_id == 4 else [(packet_id, payload)]
    assert wire.packets_in(body) == [joined, *between, joined]


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(CLIENT_VECTORS),
    st.data(),
)
def test_mutated_payload_is_read_or_malformed(vector: Vector, data: st.DataObject) -> None:
    # Given the payload of an example, so that most of it is valid
    encoded = vector.encoded
    payload = bytearray(encoded[wire.HEADER_BYTES :])
    # When some of its bytes change
    for _ in range(data.draw(st.integers(1, 4))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    # Then it is read or refused
    survives(encoded[:3] + struct.pack("<I", len(payload)) + bytes(payload))
