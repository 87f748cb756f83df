"""Raw packets to a real server: the answers are byte for byte those that chio writes."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chio
import pytest
from chio.clients.b20250306 import b20250306 as encoder
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho, a_form

from kiai.faces.bancho.packets import ChangeAction, ClientMessage, ClientPacket, JoinMatch


def chio_packet(packet: str, *args: Any) -> bytes:
    """Return the packet as chio writes it."""
    written: bytes = encoder.write_packet_to_bytes(chio.PacketType[packet], *args)
    return written


def packets_of(body: bytes) -> list[bytes]:
    """Return the packets in the body of a response."""
    found, at = [], 0
    while at < len(body):
        size = 7 + struct.unpack_from("<I", body, at + 3)[0]
        found.append(body[at : at + size])
        at += size
    return found


@pytest.fixture(scope="module")
def bancho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bancho]:
    data: Path = tmp_path_factory.mktemp("chio") / "data"
    cli(data, "migrate")
    for name in ("anna", "boris"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    server = Server(data).start()
    try:
        yield Bancho(server)
        server.stop()
    finally:
        server.kill()


def test_session_in_raw_packets(bancho: Bancho) -> None:
    # Both log in.
    welcome = bancho.login("anna")
    anna, boris = str(welcome.headers["cho-token"]), bancho.new_session("boris")
    welcome_packets = packets_of(welcome.body)
    assert welcome_packets[:3] == [
        chio_packet("BanchoProtocolNegotiation", 19),
        chio_packet("BanchoLoginReply", 3),
        chio_packet("BanchoLoginPermissions", chio.Permissions(5)),
    ]
    channel = chio.Channel(name="#osu", topic="General discussion.", user_count=1)
    assert chio_packet("BanchoChannelAvailableAutojoin", channel) in welcome_packets
    assert chio_packet("BanchoChannelJoinSuccess", "#osu") in welcome_packets
    assert chio_packet("BanchoFriendsList", [1]) in welcome_packets
    bancho.post(b"", anna)

    # Anna writes in a channel.
    line = whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "hello", "#osu", 0))
    assert bancho.post(line, anna).body == b""
    assert chio_packet("BanchoMessage", chio.Message("anna", "hello", "#osu", 3)) in packets_of(
        bancho.post(b"", boris).body
    )

    # Anna changes her status.
    bancho.post(whole(ClientPacket.CHANGE_ACTION, ChangeAction(2, "a map", "", 72, 1, 75)), anna)
    status = chio.UserStatus(
        action=chio.Status.Playing, text="a map", mods=chio.Mods(72), mode=chio.Mode.Taiko, beatmap_id=75
    )
    info = chio.UserInfo(id=3, name="anna", status=status, stats=chio.UserStats())
    assert chio_packet("BanchoUserStats", info) in packets_of(bancho.post(b"", boris).body)
    reported = bancho.server.get("/get_player_status?id=3").json["player_status"]["status"]
    assert (reported["action"], reported["info_text"], reported["mods"], reported["mode"]) == (2, "a map", 72, 1)

    # Boris spectates Anna.
    bancho.post(whole(ClientPacket.START_SPECTATING, 3), boris)
    assert chio_packet("BanchoSpectatorJoined", 4) in packets_of(bancho.post(b"", anna).body)
    bancho.post(whole(ClientPacket.STOP_SPECTATING, None), boris)
    assert chio_packet("BanchoSpectatorLeft", 4) in packets_of(bancho.post(b"", anna).body)

    # They play a match.
    assert chio_packet("BanchoChannelJoinSuccess", "#multiplayer") in packets_of(
        bancho.post(whole(ClientPacket.CREATE_MATCH, a_form(password="secret")), anna).body
    )
    assert packets_of(bancho.post(whole(ClientPacket.JOIN_MATCH, JoinMatch(1, "wrong")), boris).body) == [
        chio_packet("BanchoMatchJoinFail")
    ]
    bancho.post(whole(ClientPacket.JOIN_MATCH, JoinMatch(1, "secret")), boris)
    bancho.post(whole(ClientPacket.MATCH_START, None), anna)
    assert bancho.server.get("/get_match?id=1").json["match"]["in_progress"] is True
    for step, expected in (
        (ClientPacket.MATCH_LOAD_COMPLETE, "BanchoMatchAllPlayersLoaded"),
        (ClientPacket.MATCH_SKIP_REQUEST, "BanchoMatchSkip"),
        (ClientPacket.MATCH_COMPLETE, "BanchoMatchComplete"),
    ):
        bancho.post(whole(step, None), anna)
        assert chio_packet(expected) in packets_of(bancho.post(whole(step, None), boris).body)
    assert bancho.server.get("/get_match?id=1").json["match"]["in_progress"] is False
    bancho.post(whole(ClientPacket.PART_MATCH, None), anna)
    assert chio_packet("BanchoMatchTransferHost") in packets_of(bancho.post(b"", boris).body)
    assert chio_packet("BanchoMatchDisband", 1) in packets_of(
        bancho.post(whole(ClientPacket.PART_MATCH, None), boris).body
    )
    assert bancho.server.get("/get_match?id=1").status == 404
