"""Logins of accounts in each state, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli, eventually
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho, ids

from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket

NAMES = ("anna", "boris", "carla", "dora", "erik", "fay", "gina")


@pytest.fixture(scope="module")
def bancho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bancho]:
    data: Path = tmp_path_factory.mktemp("logins") / "data"
    cli(data, "migrate")
    for name in NAMES:
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    server = Server(data).start()
    try:
        yield Bancho(server)
        assert '"unhandled"' not in server.stderr
        assert '"packet failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def anna(bancho: Bancho) -> str:
    return bancho.new_session("anna")


def test_login_reply_has_its_packets_in_order(bancho: Bancho) -> None:
    reply = bancho.login("fay")

    packet_ids = ids(reply.body)
    assert packet_ids[:3] == [75, 5, 71]
    order = [packet_ids.index(packet_id) for packet_id in (67, 64, 89, 76, 72, 92, 83, 11)]
    assert order == sorted(order)
    assert packets.main_menu_icon("", "") in reply.body
    assert packets.friends_list([1]) in reply.body
    assert packets.silence_end(0) in reply.body


def test_restricted_player_sees_others_and_is_invisible(bancho: Bancho, anna: str) -> None:
    bancho.server.cli("users", "restrict", "boris", "--reason", "a test")
    bancho.post(b"", anna)

    reply = bancho.login("boris")
    token = str(reply.headers["cho-token"])
    online = bancho.server.get("/get_player_count").json["counts"]["online"]

    assert packets.account_restricted() in reply.body
    assert b"anna" in reply.body
    for packet in range(121):
        if packet != ClientPacket.LOGOUT:
            assert bancho.post(whole(packet, bytes(8)) if packet not in (31, 41, 90) else b"", token).status == 200
    line = whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "can anybody hear me", "#osu", 0))
    bancho.post(line, token)
    assert b"boris" not in bancho.post(b"", anna).body
    assert bancho.server.get("/get_player_count").json["counts"]["online"] == online
    assert bancho.server.get("/get_player_status?id=4").status == 404


def test_line_to_an_offline_player_arrives_at_the_next_login(bancho: Bancho, anna: str) -> None:
    sent = bancho.post(whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "are you there", "carla", 0)), anna)

    reply = bancho.login("carla")

    assert b"carla is offline" in sent.body
    assert b"Unread messages" in reply.body
    assert b"] are you there" in reply.body


def test_silenced_player_receives_the_remaining_time_at_login(bancho: Bancho, anna: str) -> None:
    bancho.server.cli("users", "grant", "anna", "owner")
    eventually(lambda: b"\x47\x00\x00" in bancho.post(b"", anna).body)
    bancho.post(
        whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "!silence dora 1h being loud", "BanchoBot", 0)), anna
    )

    reply = bancho.login("dora")
    token = str(reply.headers["cho-token"])
    refused = bancho.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "hello", "#osu", 0)), token)

    assert packets.silence_end(0) not in reply.body
    assert ids(refused.body) == [92]


def test_tournament_clients_of_a_supporter_run_next_to_the_game(bancho: Bancho) -> None:
    game = bancho.new_session("erik")
    assert bancho.login("erik", version="b20250415.2tourney").body.startswith(packets.login_reply(-6))
    bancho.server.cli("users", "grant", "erik", "supporter")

    viewers = {bancho.login("erik", version="b20250415.2tourney").headers["cho-token"] for _ in range(3)}

    assert len(viewers) == 3
    assert all(len(token) == 36 for token in viewers)
    assert bancho.post(b"", game).status == 200
    assert not bancho.post(b"", game).body.endswith(packets.restart(0))


def test_new_password_ends_all_sessions(bancho: Bancho) -> None:
    token = bancho.new_session("gina")

    bancho.server.cli("users", "password", "gina", "--password", "another horse 7")

    eventually(lambda: bool(bancho.post(b"", token).body.endswith(packets.restart(0))))
    assert bancho.login("gina").headers["cho-token"] == "incorrect-credentials"
