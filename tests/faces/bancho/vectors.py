"""Encoded examples of packets: their fields and their bytes."""

import json
from pathlib import Path
from typing import Any

import msgspec


class Vector(msgspec.Struct, frozen=True):
    """One example: its fields, and its bytes with the header. `id` is None for a whole body."""

    direction: str
    id: int | None
    name: str
    fields: dict[str, Any]
    encoded: bytes
    note: str


def _load() -> tuple[Vector, ...]:
    entries = json.loads(Path(__file__).with_name("packet-vectors.json").read_text("utf-8"))
    return tuple(
        Vector(
            entry["direction"],
            entry["id"],
            entry["name"],
            entry["fields"],
            bytes.fromhex(entry["hex"]),
            entry.get("note", ""),
        )
        for entry in entries
    )


VECTORS = _load()
CLIENT_VECTORS = tuple(vector for vector in VECTORS if vector.direction == "c2s" and vector.id is not None)
"""Examples of single client packets."""
SERVER_VECTORS = tuple(vector for vector in VECTORS if vector.direction == "s2c" and vector.id is not None)
"""Examples of single server packets."""
BODIES = {vector.name: vector for vector in VECTORS if vector.id is None}
