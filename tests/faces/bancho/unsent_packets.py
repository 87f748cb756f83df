"""Server packets that kiai never sends. Tests compare them with other implementations and with recorded bytes."""

from typing import Final

from kiai.faces.bancho.packets import ServerPacket
from kiai.faces.bancho.wire import PayloadLayout, packet, string

_NUMBER: Final = PayloadLayout("HBIi")


def number(packet_id: int, value: int) -> bytes:
    """Encode a packet whose payload is one i32."""
    return _NUMBER.pack(packet_id, 0, 4, value)


def ping() -> bytes:
    """Encode a request for PONG. Never sent over HTTP, where it makes clients poll without a pause.

    See docs/spec/protocol.md#what-breaks-clients.
    """
    return packet(ServerPacket.PING)


def irc_change_username(old: str, new: str) -> bytes:
    """Encode a player's new name."""
    return packet(ServerPacket.IRC_CHANGE_USERNAME, string(f"{old}>>>>{new}"))


def get_attention() -> bytes:
    """Encode the request to flash the client's window."""
    return packet(ServerPacket.GET_ATTENTION)


def version_update_forced() -> bytes:
    """Encode the request to update the client at once."""
    return packet(ServerPacket.VERSION_UPDATE_FORCED)


def switch_server(seconds: int) -> bytes:
    """Encode the request to connect to the next host after `seconds` without activity."""
    return number(ServerPacket.SWITCH_SERVER, seconds)


def switch_tournament_server(address: str) -> bytes:
    """Encode the address to which a tournament client connects."""
    return packet(ServerPacket.SWITCH_TOURNAMENT_SERVER, string(address))
