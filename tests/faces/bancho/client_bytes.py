"""The client's side of the codec, for tests: the bytes of what a client says (docs/spec/protocol.md)."""

import struct
from collections.abc import Mapping
from typing import Any

from kiai.faces.bancho import wire
from kiai.faces.bancho.packets import (
    READERS,
    BeatmapInfoRequest,
    ChangeAction,
    JoinMatch,
    MatchForm,
    Message,
    read,
)
from kiai.multiplayer.match import HAS_PLAYER


def payload(packet_id: int, said: object) -> bytes:
    """What `read(packet_id, ...)` turns into `said` again."""
    match said:
        case None:
            return b""
        case bytes():
            return said
        case str():
            return wire.string(said)
        case int():
            return struct.pack("<I" if packet_id == 51 else "<i", said)
        case ChangeAction():
            texts = wire.string(said.info_text) + wire.string(said.map_md5)
            return struct.pack("<B", said.action) + texts + struct.pack("<IBi", said.mods, said.mode, said.map_id)
        case Message():
            texts = b"".join(map(wire.string, (said.sender, said.text, said.recipient)))
            return texts + struct.pack("<i", said.sender_id)
        case JoinMatch():
            return struct.pack("<i", said.match_id) + wire.string(said.password)
        case MatchForm():
            return _match(said)
        case BeatmapInfoRequest():
            names = b"".join(map(wire.string, said.filenames))
            ids = struct.pack(f"<i{len(said.ids)}i", len(said.ids), *said.ids)
            return struct.pack("<i", len(said.filenames)) + names + ids
        case tuple():
            return struct.pack(f"<H{len(said)}i", len(said), *said)
    raise TypeError(type(said))


def whole(packet_id: int, said: object) -> bytes:
    """The packet, header included."""
    return wire.packet(packet_id, payload(packet_id, said))


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
    """A score frame (docs/spec/protocol.md#score-frame)."""
    counts = (fields[name] for name in ("n300", "n100", "n50", "geki", "katu", "miss"))
    frame = struct.pack("<iB6H", fields["time"], fields["id"], *counts)
    frame += struct.pack("<iHH", fields["total_score"], fields["max_combo"], fields["current_combo"])
    frame += bytes((fields["perfect"], fields["hp"], fields["tag"], fields["score_v2"]))
    if fields["score_v2"]:
        frame += struct.pack("<dd", fields["combo_portion"], fields["bonus_portion"])
    return frame


def bundle(fields: Mapping[str, Any]) -> bytes:
    """A bundle of replay frames (docs/spec/protocol.md#replay-bundle)."""
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
    """Whatever a body holds, each packet is read or refused, nothing is beyond its bounds, and what was read is what
    a client would say to mean it."""
    found = wire.packets_in(body)
    assert len(found) <= wire.PACKETS_MAX
    for packet_id, content in found:
        most = wire.BEATMAP_INFO_MAX_BYTES if packet_id == 68 else wire.PACKET_MAX_BYTES
        assert len(content) <= most
        if packet_id not in READERS:
            continue
        try:
            said = read(packet_id, content)
        except wire.Malformed:
            continue
        assert read(packet_id, payload(packet_id, said)) == said
