"""The client's side of the codec, for tests: encoders of client packets (docs/spec/protocol.md)."""

import struct
from collections.abc import Mapping
from typing import Any

from kiai.faces.bancho import wire
from kiai.faces.bancho.packets import (
    READERS,
    BeatmapInfoRequest,
    ChangeAction,
    ClientMessage,
    JoinMatch,
    MatchForm,
    read,
)
from kiai.multiplayer.match import HAS_PLAYER


def payload(packet_id: int, value: object) -> bytes:
    """Encode the payload that `read(packet_id, ...)` decodes as `value`."""
    match value:
        case None:
            return b""
        case bytes():
            return value
        case str():
            return wire.string(value)
        case int():
            return struct.pack("<I" if packet_id == 51 else "<i", value)
        case ChangeAction():
            texts = wire.string(value.info_text) + wire.string(value.map_md5)
            return struct.pack("<B", value.action) + texts + struct.pack("<IBi", value.mods, value.mode, value.map_id)
        case ClientMessage():
            texts = b"".join(map(wire.string, (value.sender, value.text, value.recipient)))
            return texts + struct.pack("<i", value.sender_id)
        case JoinMatch():
            return struct.pack("<i", value.match_id) + wire.string(value.password)
        case MatchForm():
            return _match(value)
        case BeatmapInfoRequest():
            names = b"".join(map(wire.string, value.filenames))
            ids = struct.pack(f"<i{len(value.ids)}i", len(value.ids), *value.ids)
            return struct.pack("<i", len(value.filenames)) + names + ids
        case tuple():
            return struct.pack(f"<H{len(value)}i", len(value), *value)
    raise TypeError(type(value))


def whole(packet_id: int, value: object) -> bytes:
    """Encode a client packet with its header."""
    return wire.packet(packet_id, payload(packet_id, value))


def _match(form: MatchForm) -> bytes:
    return b"".join(
        (
            struct.pack("<HBBI", form.id, form.in_progress, 0, form.mods),
            *map(wire.string, (form.name, form.password, form.map_name)),
            struct.pack("<i", form.map_id),
            wire.string(form.map_md5),
            bytes(slot.status for slot in form.slots),
            bytes(slot.team for slot in form.slots),
            *(struct.pack("<i", slot.user_id) for slot in form.slots if slot.status & HAS_PLAYER),
            struct.pack("<iBBB", form.host_id, form.mode, form.win_condition, form.team_type),
            struct.pack("<B", form.free_mods),
            *(struct.pack("<I", slot.mods) for slot in form.slots if form.free_mods),
            struct.pack("<i", form.seed),
        )
    )


def score_frame(fields: Mapping[str, Any]) -> bytes:
    """Encode a score frame (docs/spec/protocol.md#score-frame)."""
    counts = (fields[name] for name in ("n300", "n100", "n50", "geki", "katu", "miss"))
    frame = struct.pack("<iB6H", fields["time"], fields["id"], *counts)
    frame += struct.pack("<iHH", fields["total_score"], fields["max_combo"], fields["current_combo"])
    frame += bytes((fields["perfect"], fields["hp"], fields["tag"], fields["score_v2"]))
    if fields["score_v2"]:
        frame += struct.pack("<dd", fields["combo_portion"], fields["bonus_portion"])
    return frame


def bundle(fields: Mapping[str, Any]) -> bytes:
    """Encode a bundle of replay frames (docs/spec/protocol.md#replay-bundle)."""
    parts = [struct.pack("<iH", fields["extra"], len(fields["frames"]))]
    parts.extend(
        struct.pack("<BBffi", frame["buttons"], frame["legacy"], frame["x"], frame["y"], frame["time"])
        for frame in fields["frames"]
    )
    parts.append(bytes((fields["action"],)) + score_frame(fields["score_frame"]))
    if "sequence" in fields:
        parts.append(struct.pack("<H", fields["sequence"]))
    return b"".join(parts)


def survives(body: bytes) -> None:
    """Assert that each packet of a body is read or malformed, within its bounds, and that encoding reverses reading."""
    found = wire.packets_in(body)
    assert len(found) <= wire.PACKETS_MAX
    for packet_id, content in found:
        most = wire.BEATMAP_INFO_MAX_BYTES if packet_id == 68 else wire.PACKET_MAX_BYTES
        assert len(content) <= most
        if packet_id not in READERS:
            continue
        try:
            value = read(packet_id, content)
        except wire.MalformedPacket:
            continue
        assert read(packet_id, payload(packet_id, value)) == value
