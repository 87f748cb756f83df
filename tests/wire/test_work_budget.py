"""A player who sends thousands of packets neither ends the sessions of others nor delays them."""

import struct
from collections.abc import Callable, Iterator

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import PASSWORD, RESTART, Bancho, a_form, ids

from kiai.faces.bancho.packets import BeatmapInfoRequest, ClientMessage, ClientPacket, JoinMatch

NOTICE = "too much"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("work") / "data"
    cli(data, "migrate")
    for name in ("victim", *(attack.__name__[:15] for attack in ATTACKS)):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    server = Server(data).start()
    try:
        yield server
        assert '"packet failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture
def bancho(server: Server) -> Bancho:
    return Bancho(server)


def id_of(reply: bytes) -> int:
    """Return the player's id from the reply to a login."""
    at = 0
    while at < len(reply):
        packet_id, _, size = struct.unpack_from("<HBI", reply, at)
        if packet_id == 5:
            return int(struct.unpack_from("<i", reply, at + 7)[0])
        at += 7 + size
    raise AssertionError("no login reply")


Attack = Callable[[int], bytes]


def spectating(victim_id: int) -> bytes:
    return (whole(ClientPacket.START_SPECTATING, victim_id) + whole(ClientPacket.STOP_SPECTATING, None)) * 9_000


def joining_the_lobby(victim_id: int) -> bytes:
    return (whole(ClientPacket.JOIN_LOBBY, None) + whole(ClientPacket.PART_LOBBY, None)) * 10_000


def joining_a_channel(victim_id: int) -> bytes:
    return (whole(ClientPacket.CHANNEL_JOIN, "#lobby") + whole(ClientPacket.CHANNEL_PART, "#lobby")) * 10_000


def commands(victim_id: int) -> bytes:
    return whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "!help", "BanchoBot", 0)) * 20_000


def wrong_passwords(victim_id: int) -> bytes:
    return whole(ClientPacket.JOIN_MATCH, JoinMatch(1, "wrong")) * 20_000


def private_messages(victim_id: int) -> bytes:
    return whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "hello", "victim", 0)) * 10_000


ATTACKS: tuple[Attack, ...] = (
    spectating,
    joining_the_lobby,
    joining_a_channel,
    commands,
    wrong_passwords,
    private_messages,
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_flood_of_packets_does_not_affect_other_players(bancho: Bancho, attack: Attack) -> None:
    login = bancho.login("victim")
    victim = login.headers["cho-token"]
    if attack is wrong_passwords:
        bancho.post(whole(ClientPacket.CREATE_MATCH, a_form(password="secret")), victim)
    attacker = bancho.new_session(attack.__name__[:15])  # a separate player, so that its budget is full
    body = attack(id_of(login.body))

    replies = [bancho.post(body[: 1 << 20], attacker) for _ in range(3)]
    poll = bancho.post(b"", victim)

    assert {reply.status for reply in replies} <= {200, 429}
    assert any(NOTICE.encode() in reply.body for reply in replies)
    assert poll.status == 200
    assert not poll.body.startswith(RESTART[:2])
    assert len(ids(poll.body)) < 1_000


def test_too_long_file_names_are_not_looked_up(bancho: Bancho) -> None:
    attacker = bancho.new_session("victim")
    names = ("_" * 60_000,) * 8  # as many as fit into the packet

    reply = bancho.post(whole(ClientPacket.BEATMAP_INFO_REQUEST, BeatmapInfoRequest(names, ())), attacker)

    assert reply.status == 200
    assert 69 in ids(reply.body)


def test_one_poll_gets_the_matches_of_the_lobby_once(bancho: Bancho) -> None:
    bancho.post(whole(ClientPacket.CREATE_MATCH, a_form()), bancho.new_session("victim"))
    attacker = bancho.new_session("commands")

    reply = bancho.post(joining_the_lobby(0)[:140], attacker)
    again = bancho.post(whole(ClientPacket.JOIN_LOBBY, None), attacker)

    assert ids(reply.body).count(27) == ids(again.body).count(27) >= 1
