"""The plain format: a JSON object, signed with HMAC-SHA256."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec


def body_of(event: str, data: Mapping[str, Any], *, delivery_id: str, at_ms: int, server: str) -> bytes:
    """Return the body. `at` is the time of the event in unix seconds."""
    return msgspec.json.encode(
        {"id": delivery_id, "event": event, "at": at_ms // 1000, "server": server, "data": dict(data)}
    )


def headers_of(event: str, body: bytes, secret: str, *, delivery_id: str, now_ms: int) -> dict[str, str]:
    """Return the headers of one try, with the signature over its time and the body."""
    timestamp = str(now_ms // 1000)
    return {
        "Content-Type": "application/json",
        "X-Kiai-Event": event,
        "X-Kiai-Delivery": delivery_id,
        "X-Kiai-Timestamp": timestamp,
        "X-Kiai-Signature": f"sha256={signature(secret, timestamp, body)}",
    }


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return HMAC-SHA256 in hex over `<timestamp>.<body>` with the text of the secret as the key."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
