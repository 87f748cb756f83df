"""One player who sends thousands of packets neither ends another's session nor keeps the others waiting."""

import struct
from collections.abc import Callable, Iterator

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import PASSWORD, RESTART, Bancho, a_form, ids

from kiai.faces.bancho.packets import Client, JoinMatch, Message

TOLD = "too much"


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
    """The player's id, from the answer to a log-in."""
    at = 0
    while at < len(reply):
        packet_id, _, size = struct.unpack_from("<HBI", reply, at)
        if packet_id == 5:
            return int(struct.unpack_from("<i", reply, at + 7)[0])
        at += 7 + size
    raise AssertionError("no log-in reply")


Attack = Callable[[int], bytes]


def spectating(victim_id: int) -> bytes:
    return (whole(Client.START_SPECTATING, victim_id) + whole(Client.STOP_SPECTATING, None)) * 9_000


def joining_the_lobby(victim_id: int) -> bytes:
    return (whole(Client.JOIN_LOBBY, None) + whole(Client.PART_LOBBY, None)) * 10_000


def joining_a_channel(victim_id: int) -> bytes:
    return (whole(Client.CHANNEL_JOIN, "#lobby") + whole(Client.CHANNEL_PART, "#lobby")) * 10_000


def commands(victim_id: int) -> bytes:
    return whole(Client.SEND_PRIVATE_MESSAGE, Message("", "!help", "BanchoBot", 0)) * 20_000


def wrong_passwords(victim_id: int) -> bytes:
    return whole(Client.JOIN_MATCH, JoinMatch(1, "wrong")) * 20_000


def private_messages(victim_id: int) -> bytes:
    return whole(Client.SEND_PRIVATE_MESSAGE, Message("", "hello", "victim", 0)) * 10_000


ATTACKS: tuple[Attack, ...] = (
    spectating,
    joining_the_lobby,
    joining_a_channel,
    commands,
    wrong_passwords,
    private_messages,
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_flood_of_packets_leaves_the_others_alone(bancho: Bancho, attack: Attack) -> None:
    login = bancho.login("victim")
    victim = login.headers["cho-token"]
    if attack is wrong_passwords:
        bancho.post(whole(Client.CREATE_MATCH, a_form(password="secret")), victim)
    attacker = bancho.fresh(attack.__name__[:15])  # a player of its own, whose budget is full
    body = attack(id_of(login.body))

    replies = [bancho.post(body[: 1 << 20], attacker) for _ in range(3)]
    seen = bancho.post(b"", victim)

    assert {one.status for one in replies} <= {200, 429}
    assert any(TOLD.encode() in one.body for one in replies)
    assert seen.status == 200
    assert not seen.body.startswith(RESTART[:2])
    assert len(ids(seen.body)) < 1_000
