"""Raw packets against a real server, judged by chio: what a client receives is what chio would have sent."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chio
import pytest
from chio.clients.b20250306 import b20250306 as judge
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho, a_form

from kiai.faces.bancho.packets import ChangeAction, Client, JoinMatch, Message


def theirs(packet: str, *args: Any) -> bytes:
    """What chio sends for it."""
    written: bytes = judge.write_packet_to_bytes(chio.PacketType[packet], *args)
    return written


def split(body: bytes) -> list[bytes]:
    """A reply's packets."""
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


def test_a_story_in_raw_packets(bancho: Bancho) -> None:
    # they log in
    welcome = bancho.login("anna")
    anna, boris = str(welcome.headers["cho-token"]), bancho.fresh("boris")
    said = split(welcome.body)
    assert said[:3] == [
        theirs("BanchoProtocolNegotiation", 19),
        theirs("BanchoLoginReply", 3),
        theirs("BanchoLoginPermissions", chio.Permissions(5)),
    ]
    channel = chio.Channel(name="#osu", topic="General discussion.", user_count=1)
    assert theirs("BanchoChannelAvailableAutojoin", channel) in said
    assert theirs("BanchoChannelJoinSuccess", "#osu") in said
    assert theirs("BanchoFriendsList", [1]) in said
    bancho.post(b"", anna)

    # they talk
    line = whole(Client.SEND_PUBLIC_MESSAGE, Message("", "hello", "#osu", 0))
    assert bancho.post(line, anna).body == b""
    assert theirs("BanchoMessage", chio.Message("anna", "hello", "#osu", 3)) in split(bancho.post(b"", boris).body)

    # one does something
    bancho.post(whole(Client.CHANGE_ACTION, ChangeAction(2, "a map", "", 72, 1, 75)), anna)
    status = chio.UserStatus(
        action=chio.Status.Playing, text="a map", mods=chio.Mods(72), mode=chio.Mode.Taiko, beatmap_id=75
    )
    shown = chio.UserInfo(id=3, name="anna", status=status, stats=chio.UserStats())
    assert theirs("BanchoUserStats", shown) in split(bancho.post(b"", boris).body)
    doing = bancho.server.get("/get_player_status?id=3").json["player_status"]["status"]
    assert (doing["action"], doing["info_text"], doing["mods"], doing["mode"]) == (2, "a map", 72, 1)

    # one watches
    bancho.post(whole(Client.START_SPECTATING, 3), boris)
    assert theirs("BanchoSpectatorJoined", 4) in split(bancho.post(b"", anna).body)
    bancho.post(whole(Client.STOP_SPECTATING, None), boris)
    assert theirs("BanchoSpectatorLeft", 4) in split(bancho.post(b"", anna).body)

    # they play together
    assert theirs("BanchoChannelJoinSuccess", "#multiplayer") in split(
        bancho.post(whole(Client.CREATE_MATCH, a_form(password="secret")), anna).body
    )
    assert split(bancho.post(whole(Client.JOIN_MATCH, JoinMatch(1, "wrong")), boris).body) == [
        theirs("BanchoMatchJoinFail")
    ]
    bancho.post(whole(Client.JOIN_MATCH, JoinMatch(1, "secret")), boris)
    bancho.post(whole(Client.MATCH_START, None), anna)
    assert bancho.server.get("/get_match?id=1").json["match"]["in_progress"] is True
    for step, told in (
        (Client.MATCH_LOAD_COMPLETE, "BanchoMatchAllPlayersLoaded"),
        (Client.MATCH_SKIP_REQUEST, "BanchoMatchSkip"),
        (Client.MATCH_COMPLETE, "BanchoMatchComplete"),
    ):
        bancho.post(whole(step, None), anna)
        assert theirs(told) in split(bancho.post(whole(step, None), boris).body)
    assert bancho.server.get("/get_match?id=1").json["match"]["in_progress"] is False
    bancho.post(whole(Client.PART_MATCH, None), anna)
    assert theirs("BanchoMatchTransferHost") in split(bancho.post(b"", boris).body)
    assert theirs("BanchoMatchDisband", 1) in split(bancho.post(whole(Client.PART_MATCH, None), boris).body)
    assert bancho.server.get("/get_match?id=1").status == 404
