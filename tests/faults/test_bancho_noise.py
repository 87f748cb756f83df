"""Ten thousand random and mutated bodies: other players get their answers, and memory does not grow."""

import http.client
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.patience import patiently
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho, a_form

from kiai.faces.bancho.packets import ChangeAction, ClientMessage, ClientPacket, JoinMatch

BODIES = 10_000
GROWTH_MB = 24  # topics and the journal fill up to their bounds; what grows without end grows by more


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    data = tmp_path / "data"
    cli(data, "migrate")
    for name in ("anna", "boris"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    # Limits off: the budget of the two players would drop most of the packets that are to be tried.
    server = Server(data, RATE_LIMITS="off").start()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def honest() -> list[bytes]:
    """Return one packet of each kind."""
    return [
        whole(ClientPacket.CHANGE_ACTION, ChangeAction(2, "a map", "0" * 32, 64, 0, 75)),
        whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "hello", "#osu", 0)),
        whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "!help", "BanchoBot", 0)),
        whole(ClientPacket.START_SPECTATING, 4),
        whole(ClientPacket.SPECTATE_FRAMES, bytes(60)),
        whole(ClientPacket.JOIN_LOBBY, None),
        whole(ClientPacket.CREATE_MATCH, a_form()),
        whole(ClientPacket.JOIN_MATCH, JoinMatch(1, "")),
        whole(ClientPacket.MATCH_CHANGE_SETTINGS, a_form(map_id=76)),
        whole(ClientPacket.MATCH_START, None),
        whole(ClientPacket.MATCH_SCORE_UPDATE, bytes(29)),
        whole(ClientPacket.PART_MATCH, None),
        whole(ClientPacket.CHANNEL_JOIN, "#announce"),
        whole(ClientPacket.FRIEND_ADD, 4),
        whole(ClientPacket.RECEIVE_UPDATES, 1),
    ]


def bodies(dice: random.Random) -> Iterator[bytes]:
    """Yield random bodies, and valid bodies with bytes changed, cut or repeated. None is a log-out."""
    packets = honest()
    for number in range(BODIES):
        if number % 5 == 0:
            yield dice.randbytes(dice.randrange(200))
            continue
        body = bytearray(b"".join(dice.choices(packets, k=dice.randrange(1, 4))))
        for _ in range(dice.randrange(1, 6)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        if number % 3 == 0:
            del body[dice.randrange(len(body)) :]
        yield bytes(body)


def rss_mb(server: Server) -> float:
    metrics = server.get("/metrics", host="localhost").body.decode()
    [line] = [line for line in metrics.splitlines() if line.startswith("kiai_rss_bytes ")]
    return float(line.split()[1]) / 2**20


def test_invalid_packets_of_one_player_do_not_delay_others(server: Server) -> None:
    bancho = Bancho(server)
    anna, boris = bancho.new_session("anna"), bancho.new_session("boris")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patiently(30))
    statuses: set[int] = set()
    half = 0.0

    for number, body in enumerate(bodies(random.Random(7))):
        headers = {"Host": "c.localhost", "User-Agent": "osu!", "osu-token": anna}
        if number % 50 == 0:
            headers.pop("osu-token")  # noise instead of a login
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
        if number % 500 == 0:
            assert bancho.post(b"", boris).status == 200
        if number == BODIES // 2:
            half = rss_mb(server)
    connection.close()

    assert statuses == {200}
    assert not bancho.post(b"", boris).body.endswith(b"\x56\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00")
    bancho.post(whole(ClientPacket.CHANNEL_JOIN, "#osu"), boris)
    assert rss_mb(server) - half < GROWTH_MB
    assert '"unhandled"' not in server.stderr
    assert '"packet failed"' not in server.stderr
    assert '"command failed"' not in server.stderr
