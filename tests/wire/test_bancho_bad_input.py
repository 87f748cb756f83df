"""Answers of the bancho face to bad input, on a real server."""

import gzip
import hashlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.patience import Deadline, join, patiently, wait_until
from tests.wire.kit import Server, cli

from kiai.faces.bancho import packets
from kiai.faces.bancho.handlers.presence import STALE_LOGOUT_MS
from kiai.faces.bancho.packets import ClientMessage, ClientPacket, JoinMatch, MatchForm, SlotForm

HOST = "c.localhost"
PASSWORD = "correct horse {}"
REFUSED = bytes.fromhex("05000004000000ffffffff")
RESTART = packets.restart(0)
NAMES = ("anna", "boris", "carla", "tourist", "lister97", "lister85")


class Bancho:
    """A client that sends raw bytes."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def post(self, body: bytes, token: str | None = None, **headers: str) -> Any:
        sent = {"User-Agent": "osu!", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if token is not None:
            sent["osu-token"] = token
        return self.server.ask("POST", "/", host=HOST, headers=sent, body=body)

    def login(self, name: str = "anna", *, password: str | None = None, **fields: str) -> Any:
        given = {"version": "b20250415.2", "offset": "2"} | fields
        md5 = hashlib.md5(PASSWORD.format(name).encode()).hexdigest() if password is None else password
        device = hashlib.md5(name.encode()).hexdigest()
        hashes = given.get("hashes", f"{device}:0A1B2C.:{device}:{device}:{device}:")
        return self.post(f"{name}\n{md5}\n{given['version']}|{given['offset']}|0|{hashes}|0\n".encode())

    def new_session(self, name: str) -> str:
        """Open a new session and return its token. Waits until the old session can be replaced."""
        deadline = Deadline(15)
        while True:
            reply = self.login(name)
            token = str(reply.headers["cho-token"])
            if len(token) == 36:
                return token
            assert not deadline.passed(), reply
            time.sleep(0.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("bancho") / "data"
    cli(data, "migrate")
    for name in NAMES:
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    server = Server(data).start()
    try:
        yield server
        assert '"unhandled"' not in server.stderr
        assert '"packet failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def bancho(server: Server) -> Bancho:
    return Bancho(server)


@pytest.fixture(scope="module")
def anna(bancho: Bancho) -> str:
    """The token of a session that no test ends."""
    return bancho.new_session("anna")


@pytest.fixture(scope="module")
def boris(bancho: Bancho) -> str:
    return bancho.new_session("boris")


def ids(body: bytes) -> list[int]:
    """Return the ids of the packets in a reply."""
    found, at = [], 0
    while at < len(body):
        packet_id, _, size = struct.unpack_from("<HBI", body, at)
        found.append(packet_id)
        at += 7 + size
    return found


@pytest.mark.parametrize(
    "body", [b"", os.urandom(200), b"one\ntwo", b"\xff\xfe\n\xff\n\xff", b"a\nb\nb20250415|0|0|hashes"]
)
def test_invalid_login_request_is_refused(bancho: Bancho, body: bytes) -> None:
    reply = bancho.post(body)

    assert (reply.status, reply.headers["cho-token"]) == (200, "invalid-request")
    assert reply.body.startswith(REFUSED)
    assert ids(reply.body) == [5, 24]


def test_unknown_name_and_wrong_password_get_the_same_answer(bancho: Bancho) -> None:
    wrong = [
        bancho.login("nobody at all"),
        bancho.login(password="0" * 32),
        bancho.login(password="0" * 31),
        bancho.login(password="A" * 32),
        bancho.login("a\0b"),
        bancho.login("x" * 10_000),
        bancho.login("%"),
        bancho.login("' OR 1=1--"),
    ]

    assert {(reply.status, reply.headers["cho-token"], reply.body) for reply in wrong} == {
        (200, "incorrect-credentials", wrong[0].body)
    }


@pytest.mark.parametrize("version", ["b20269999", "b1", "b" + "1" * 5_000])
def test_invalid_client_version_is_refused(bancho: Bancho, version: str) -> None:
    assert bancho.login(version=version).headers["cho-token"] == "invalid-request"


def test_wrong_number_of_hashes_and_a_too_long_login_are_refused(bancho: Bancho) -> None:
    assert bancho.login(hashes="a:b:c").body.startswith(REFUSED)
    assert bancho.login(hashes=":".join("x" * 10_000)).body.startswith(REFUSED)
    assert bancho.login(hashes="x" * 1_000_000).status == 413


@pytest.mark.parametrize("token", ["../x", "", "x" * 8_000, "12", "00000000-0000-0000-0000-000000000000"])
def test_unknown_token_gets_restart(bancho: Bancho, token: str) -> None:
    reply = bancho.post(b"", token)

    assert reply.status == 200
    assert reply.body.endswith(RESTART)


def test_other_user_agent_is_refused(bancho: Bancho) -> None:
    reply = bancho.post(b"", None, User_Agent="Mozilla/5.0")

    assert (reply.status, reply.body) == (403, b"")


def test_body_above_the_bound_is_refused_and_the_session_stays(bancho: Bancho, anna: str) -> None:
    reply = bancho.post(b"\0" * 1_048_577, anna)

    assert (reply.status, reply.body) == (413, b"")
    assert bancho.post(b"", anna).body == b""


def test_truncated_and_unknown_packets_are_skipped(bancho: Bancho, anna: str) -> None:
    join = whole(ClientPacket.CHANNEL_JOIN, "#osu")
    wrong_length = struct.pack("<HBI", 63, 0, 4_294_967_295) + b"abc"

    assert 64 in ids(bancho.post(join + wrong_length, anna).body)
    assert bancho.post(b"123456", anna).body == b""
    assert bancho.post(struct.pack("<HBI", 63, 0, 1), anna).body == b""
    assert 64 in ids(bancho.post(struct.pack("<HBI", 65_535, 0, 10) + b"0" * 10 + join, anna).body)


def test_ten_thousand_pongs_are_handled_quickly(bancho: Bancho, anna: str) -> None:
    started = time.perf_counter()

    reply = bancho.post(b"\x04\0\0\0\0\0\0" * 10_000, anna)

    assert (reply.status, reply.body) == (200, b"")
    assert time.perf_counter() - started < patiently(1.0)


def test_lines_reach_only_joined_channels_under_the_sessions_name(bancho: Bancho, anna: str, boris: str) -> None:
    bancho.post(b"", boris)
    for channel in ("#staff", "#multi_1", "#spec_3", "#nope", "#highlight"):
        bancho.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "text", channel, 0)), anna)
    bancho.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "   ", "#osu", 0)), anna)
    cut = bancho.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("boris", "x" * 33_000, "#osu", 1)), anna)

    assert ids(cut.body) == [24]
    assert bancho.post(b"", boris).body == packets.message("anna", "x" * 2_000 + "... (truncated)", "#osu", 3)


@pytest.mark.parametrize("match_id", [-1, 0, 99_999])
def test_join_of_an_unknown_match_fails(bancho: Bancho, anna: str, match_id: int) -> None:
    reply = bancho.post(whole(ClientPacket.JOIN_MATCH, JoinMatch(match_id, "")), anna)

    assert bytes.fromhex("25000000000000") in reply.body


def a_form(**fields: Any) -> MatchForm:
    given: dict[str, Any] = {
        "id": 0,
        "in_progress": False,
        "mods": 0,
        "name": "a match",
        "password": "",
        "map_name": "A - B [C]",
        "map_id": 75,
        "map_md5": "0" * 32,
        "slots": tuple(SlotForm(1, 0, 0, 0) for _ in range(16)),
        "host_id": 3,
        "mode": 0,
        "win_condition": 0,
        "team_type": 0,
        "free_mods": False,
        "seed": 0,
    }
    return MatchForm(**(given | fields))


def test_only_the_host_can_change_a_match(bancho: Bancho, anna: str, boris: str) -> None:
    assert 37 in ids(bancho.post(whole(ClientPacket.CREATE_MATCH, a_form(host_id=4)), anna).body)
    created = bancho.post(whole(ClientPacket.CREATE_MATCH, a_form(name="n" * 10_000)), anna)
    assert 36 in ids(created.body)
    match_id = bancho.server.get("/v2/matches").json["data"][0]["room"]
    bancho.post(whole(ClientPacket.JOIN_MATCH, JoinMatch(match_id, "")), boris)

    def match() -> Any:
        return bancho.server.get(f"/get_match?id={match_id}").json["match"]

    before = match()
    assert before["name"] == "n" * 50
    for packet, value in (
        (ClientPacket.MATCH_LOCK, 0),
        (ClientPacket.MATCH_CHANGE_SETTINGS, a_form(host_id=4, name="mine")),
        (ClientPacket.MATCH_START, None),
        (ClientPacket.MATCH_TRANSFER_HOST, 1),
        (ClientPacket.MATCH_CHANGE_PASSWORD, a_form(password="mine")),
        (ClientPacket.MATCH_CHANGE_MODS, 64),
        (ClientPacket.MATCH_CHANGE_SLOT, 0),
        (ClientPacket.MATCH_COMPLETE, None),
        (ClientPacket.MATCH_FAILED, None),
        (ClientPacket.MATCH_LOAD_COMPLETE, None),
        (ClientPacket.MATCH_SKIP_REQUEST, None),
    ):
        bancho.post(whole(packet, value), boris)
    for slot in (-1, 16, 255, 2**31 - 1):
        for packet in (ClientPacket.MATCH_CHANGE_SLOT, ClientPacket.MATCH_LOCK, ClientPacket.MATCH_TRANSFER_HOST):
            bancho.post(whole(packet, slot), anna)
    bancho.post(struct.pack("<HBI", 47, 0, 1) + b"x" + struct.pack("<HBI", 47, 0, 60_000) + b"x" * 60_000, anna)

    assert match() == before
    for token in (anna, boris):
        bancho.post(whole(ClientPacket.PART_MATCH, None), token)
    assert bancho.server.get(f"/get_match?id={match_id}").status == 404


@pytest.mark.parametrize("host", [3, -1, 0, 99, 1])
def test_watching_an_invalid_host_is_refused(bancho: Bancho, anna: str, host: int) -> None:
    reply = bancho.post(whole(ClientPacket.START_SPECTATING, host), anna)

    assert not {13, 64} & set(ids(reply.body))


@pytest.mark.parametrize(("packet", "most"), [(97, 256), (85, 32)])
def test_long_and_negative_lists_of_ids_get_bounded_answers(bancho: Bancho, packet: int, most: int) -> None:
    lister = bancho.new_session(f"lister{packet}")  # a separate player, so that its budget is full
    request = struct.pack("<HBIH", packet, 0, 2 + 4 * 600, 65_535) + struct.pack("<600i", *range(-300, 0), *range(300))

    assert bancho.post(struct.pack("<HBIh", packet, 0, 2, -1), lister).status == 200
    assert 0 < len(ids(bancho.post(request, lister).body)) <= most + 2


def test_logout_right_after_login_is_ignored_and_a_later_one_ends_the_session(bancho: Bancho) -> None:
    logout = whole(ClientPacket.LOGOUT, 0)
    deadline = Deadline(15)
    while True:  # a busy machine may need more than a second from the login to the packet
        began = time.monotonic()
        token = bancho.new_session("carla")
        bancho.post(logout, token)
        if time.monotonic() - began < STALE_LOGOUT_MS / 1000:
            break
        assert not deadline.passed()

    assert bancho.post(b"", token).body != RESTART
    time.sleep(1.05)
    assert bancho.post(logout, token).body == b""
    assert bancho.post(logout, token).body.endswith(RESTART)


def test_concurrent_requests_of_a_session_are_handled_one_by_one(bancho: Bancho, anna: str, boris: str) -> None:
    bancho.post(b"", boris)
    lines = [whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", f"line {n}", "#osu", 0)) for n in range(8)]
    threads = [threading.Thread(target=bancho.post, args=(line, anna)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)

    body = bancho.post(b"", boris).body

    assert sorted(body.count(f"line {n}".encode()) for n in range(8)) == [1] * 8
    assert bancho.post(b"", boris).body == b""


def test_wrong_password_does_not_end_the_session(bancho: Bancho, boris: str) -> None:
    assert bancho.login("boris", password="0" * 32).body.startswith(REFUSED)
    assert bancho.login("boris").headers["cho-token"] == "user-already-logged-in"
    assert bancho.post(b"", boris).status == 200
    assert not bancho.post(b"", boris).body.endswith(RESTART)


def test_tournament_client_without_permission_is_refused(bancho: Bancho) -> None:
    assert bancho.login("tourist", version="b20250415.2tourney").body.startswith(packets.login_reply(-6))


def test_compressed_packet_is_read_and_a_damaged_one_is_dropped(bancho: Bancho, anna: str) -> None:
    packed = gzip.compress(whole(ClientPacket.CHANNEL_JOIN, "#osu")[7:])
    broken = packed[:-6] + b"123456"

    assert 64 in ids(bancho.post(struct.pack("<HBI", 63, 1, len(packed)) + packed, anna).body)
    assert bancho.post(struct.pack("<HBI", 63, 1, len(broken)) + broken, anna).body == b""


def test_packet_truncated_at_any_byte_does_not_affect_the_session(bancho: Bancho, anna: str) -> None:
    join = whole(ClientPacket.CHANNEL_JOIN, "#osu")
    for packet in (
        whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "hello", "#nope", 0)),
        whole(ClientPacket.JOIN_LOBBY, None),
    ):
        for size in range(len(packet)):
            assert bancho.post(packet[:size], anna).status == 200
    bancho.post(whole(ClientPacket.PART_LOBBY, None), anna)
    assert 64 in ids(bancho.post(join, anna).body)


def test_large_reply_is_compressed_for_clients_that_accept_gzip(bancho: Bancho, anna: str) -> None:
    request = struct.pack("<HBIH", 97, 0, 2 + 4 * 200, 200)
    request += struct.pack("<200i", *range(1_000, 1_200))

    plain, packed = bancho.post(request, anna), bancho.post(request, anna, Accept_Encoding="gzip, deflate")

    assert "content-encoding" not in plain.headers
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize("host", ["c.localhost", "ce.localhost", "c4.localhost", "c5.localhost", "c6.localhost"])
def test_all_hosts_of_the_game_serve_bancho(server: Server, host: str) -> None:
    assert server.ask("GET", "/", host=host).body.startswith(b"<!doctype html>")
    assert server.ask("HEAD", "/", host=host).body == b""
    assert server.ask("OPTIONS", "/", host=host).status == 204
    assert server.ask("PUT", "/", host=host).status == 405
    assert server.ask("GET", "/ws/", host=host).status == 404


def test_client_can_log_in_by_address_without_a_host_name(server: Server) -> None:
    assert server.ask("POST", "/", host="127.0.0.1", headers={"User-Agent": "osu!"}, body=b"").body.startswith(REFUSED)


def test_sessions_and_unread_entries_survive_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    cli(data, "migrate")
    for name in ("anna", "boris"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    server = Server(data)
    bancho = Bancho(server.start())
    try:
        anna, boris = bancho.new_session("anna"), bancho.new_session("boris")
        bancho.post(b"", boris)
        bancho.post(whole(ClientPacket.CREATE_MATCH, a_form()), anna)
        bancho.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "before", "#osu", 0)), anna)
        server.stop()
        server.start()

        assert b"before" in bancho.post(b"", boris).body
        assert server.get("/get_player_count").json["counts"]["online"] == 2
        assert server.get("/get_match?id=1").json["match"]["host"]["name"] == "anna"
        bancho.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "after", "#osu", 0)), anna)
        assert b"after" in bancho.post(b"", boris).body
        server.cli("users", "restrict", "boris", "--reason", "a test")
        wait_until(
            lambda: bancho.post(b"", boris).body.endswith(RESTART),
            within_s=10,
            what="a restricted player stays logged in",
        )
        server.stop()
    finally:
        server.kill()
