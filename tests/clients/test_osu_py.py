"""Three players with osu.py, a client that others wrote, against a real server; and what the API says meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from osu.bancho.constants import Mods, ReplayAction, ServerPackets, SlotStatus, StatusAction
from osu.game import Game
from osu.objects.match import Match
from osu.objects.replays import ScoreFrame
from requests.adapters import HTTPAdapter
from tests import stores
from tests.wire.kit import Server, cli, eventually

NAMES = ("anna", "boris", "carla")
PASSWORD = "correct horse {}"
VERSION = 20250415.2


class Plain(HTTPAdapter):
    """Brings what is meant for https://<anything>.localhost to a server on this machine, without TLS."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        host = parts.hostname or ""
        assert host.endswith(".localhost"), request.url
        request.headers["Host"] = host
        request.url = parts._replace(scheme="http", netloc=f"127.0.0.1:{self._port}").geturl()
        return super().send(request, *args, **kwargs)


class Player:
    """A client that polls when the test says so, and what it heard."""

    def __init__(self, server: Server, name: str) -> None:
        self.game = Game(
            name, PASSWORD.format(name), "localhost", version=VERSION, executable_hash="0" * 32, disable_logging=True
        )
        self.game.client.hash.adapters = "runningunderwine"
        for session in (self.game.session, self.game.api.session, self.game.bancho.connector.session):  # type: ignore[attr-defined]
            session.mount("https://", Plain(server.port))
        self.heard: list[tuple[str, str, str]] = []
        self.frames = 0
        self.events: list[str] = []

        def heard(sender: Any, text: str, target: Any) -> None:
            self.heard.append((sender.name, text, target.name))

        def framed(*_: Any) -> None:
            self.frames += 1

        self.game.events.register(ServerPackets.SEND_MESSAGE)(heard)
        self.game.events.register(ServerPackets.SPECTATE_FRAMES)(framed)
        for packet in (
            ServerPackets.MATCH_START,
            ServerPackets.MATCH_ALL_PLAYERS_LOADED,
            ServerPackets.MATCH_SKIP,
            ServerPackets.MATCH_SCORE_UPDATE,
            ServerPackets.MATCH_COMPLETE,
            ServerPackets.MATCH_TRANSFER_HOST,
            ServerPackets.MATCH_JOIN_FAIL,
        ):
            self.game.events.register(packet)(self._noted(packet.name))

    def _noted(self, name: str) -> Callable[..., None]:
        return lambda *_: self.events.append(name)

    @property
    def bancho(self) -> Any:
        return self.game.bancho

    @property
    def id(self) -> int:
        return int(self.game.bancho.user_id)

    def poll(self) -> None:
        """Polls once. What osu.py asks for while it reads the answer goes with the next poll.

        Left to itself it asks at once, in the midst of an answer, and reads the rest of that answer after the newer
        one: old figures over new ones.
        """
        connector = self.game.bancho.connector
        connector.dequeue_on_enqueue = False
        try:
            if connector.queue.empty():  # type: ignore[attr-defined]
                self.game.bancho.ping()
            self.game.bancho.dequeue()
        finally:
            connector.dequeue_on_enqueue = True

    def close(self) -> None:
        self.game.bancho.exit()
        self.game.events.executor.shutdown()
        self.game.tasks.executor.shutdown()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three accounts."""
    data = tmp_path_factory.mktemp("accounts") / "data"
    cli(data, "migrate")
    for name in NAMES:
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    return data


@pytest.fixture
def server(accounts: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of its own for each story."""
    server = Server(stores.copied(accounts, tmp_path / "data"))
    server.start()
    try:
        yield server
        assert '"unhandled"' not in server.stderr
        assert '"packet failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture
def players(server: Server) -> Iterator[list[Player]]:
    """All three, logged in."""
    players = [Player(server, name) for name in NAMES]
    for player in players:
        player.bancho.connect()
        assert player.bancho.connected
    everybody_polls(players)
    yield players
    for player in players:
        player.close()


def everybody_polls(players: list[Player]) -> None:
    for player in players:
        player.poll()


def status(server: Server, player: Player) -> Any:
    return server.get(f"/get_player_status?id={player.id}").json["player_status"]


def test_they_log_in_and_see_each_other(server: Server, players: list[Player]) -> None:
    anna, boris, carla = players

    assert [player.bancho.protocol for player in players] == [19] * 3
    assert server.get("/get_player_count").json["counts"] == {"online": 3, "total": 3}
    for player in players:
        others = {other.id for other in players}
        assert others <= {int(one.id) for one in player.bancho.players}
    assert anna.bancho.players.by_id(carla.id).name == "carla"
    assert {channel.name for channel in boris.bancho.channels if channel.joined} == {"#osu", "#announce"}
    assert status(server, anna)["online"] is True


def test_they_talk(players: list[Player]) -> None:
    anna, boris, carla = players
    anna.bancho.channels.get("#osu").send_message("hello everybody")
    anna.bancho.players.by_name("boris").send_message("hello boris")
    everybody_polls(players)

    assert ("anna", "hello everybody", "#osu") in boris.heard
    assert ("anna", "hello everybody", "#osu") in carla.heard
    assert anna.heard == []
    assert ("anna", "hello boris", "boris") in boris.heard
    assert not any("hello boris" in text for _, text, _ in carla.heard)


def test_the_bot_answers(players: list[Player]) -> None:
    anna, *_ = players
    anna.bancho.players.by_id(1).send_message("!roll 1")
    anna.poll()

    assert ("BanchoBot", "anna rolls 1 point(s)", "anna") in anna.heard


def test_what_they_do_is_shown_to_the_others_and_by_the_api(server: Server, players: list[Player]) -> None:
    anna, boris, _ = players
    doing = anna.bancho.player.status
    doing.action, doing.text, doing.mods = StatusAction.Playing, "a map", Mods.Hidden
    anna.bancho.update_status()
    everybody_polls(players)

    seen = boris.bancho.players.by_id(anna.id).status
    assert (seen.action, seen.text, seen.mods) == (StatusAction.Playing, "a map", Mods.Hidden)
    shown = status(server, anna)["status"]
    assert (shown["action"], shown["info_text"], shown["mods"], shown["mode"]) == (2, "a map", 8, 0)


def test_two_watch_the_third(players: list[Player]) -> None:
    anna, boris, carla = players
    for watcher in (boris, carla):
        watcher.bancho.start_spectating(watcher.bancho.players.by_id(anna.id))
    everybody_polls(players)
    assert {int(one.id) for one in anna.bancho.player.spectators} == {boris.id, carla.id}

    anna.bancho.send_frames(ReplayAction.Standard, [])
    everybody_polls(players)

    assert (boris.frames, carla.frames, anna.frames) == (1, 1, 0)
    boris.bancho.stop_spectating()
    everybody_polls(players)
    assert {int(one.id) for one in anna.bancho.player.spectators} == {carla.id}


def test_they_play_a_match_from_the_lobby_to_the_end(server: Server, players: list[Player]) -> None:
    anna, boris, carla = players
    for player in (boris, carla):
        player.bancho.join_lobby()
    anna.bancho.create_match(
        Match(name="a room", password="secret", beatmap_text="A - B [C]", beatmap_id=75, host_id=anna.id)
    )
    everybody_polls(players)
    match_id = anna.bancho.match.id
    assert [one.name for one in carla.bancho.matches] == ["a room"]
    assert server.get(f"/get_match?id={match_id}").json["match"]["host"] == {"id": anna.id, "name": "anna"}

    carla.bancho.join_match(match_id, "wrong")
    boris.bancho.join_match(match_id, "secret")
    carla.bancho.join_match(match_id, "secret")
    everybody_polls(players)
    assert carla.events == ["MATCH_JOIN_FAIL"]
    assert [slot.player_id for slot in anna.bancho.match.used_slots] == [anna.id, boris.id, carla.id]

    for player in (boris, carla):
        player.bancho.match.ready()
    anna.poll()
    assert [slot.player_id for slot in anna.bancho.match.ready_slots] == [boris.id, carla.id]
    anna.bancho.match.start()
    everybody_polls(players)
    assert server.get(f"/get_match?id={match_id}").json["match"]["in_progress"] is True
    for step in ("load_complete", "skip"):
        for player in players:
            getattr(player.bancho.match, step)()
        everybody_polls(players)
    for number, player in enumerate(players, 1):
        player.bancho.match.send_score(ScoreFrame(1_000, 0, 9, 1, 0, 0, 0, 0, number * 1_000, 10, 10, True, 200, 0))
    everybody_polls(players)
    for player in players:
        player.bancho.match.complete()
    everybody_polls(players)

    for player in players:
        steps = list(dict.fromkeys(one for one in player.events if one != "MATCH_JOIN_FAIL"))
        assert steps == [
            "MATCH_START",
            "MATCH_ALL_PLAYERS_LOADED",
            "MATCH_SKIP",
            "MATCH_SCORE_UPDATE",
            "MATCH_COMPLETE",
        ]
        assert player.events.count("MATCH_SCORE_UPDATE") == 3
    assert server.get(f"/get_match?id={match_id}").json["match"]["in_progress"] is False

    anna.bancho.leave_match()
    everybody_polls(players)
    assert "MATCH_TRANSFER_HOST" in boris.events
    assert boris.bancho.match.host_id == boris.id
    assert boris.bancho.match.slots[0].status == SlotStatus.Open
    boris.bancho.leave_match()
    carla.bancho.leave_match()
    assert server.get(f"/get_match?id={match_id}").status == 404


def test_who_logs_out_is_gone(server: Server, players: list[Player]) -> None:
    *others, carla = players
    login_s = status(server, carla)["login_time"]

    def logged_out() -> bool:
        carla.bancho.connected = True  # a log-out within the first second is taken for a stale one
        carla.bancho.exit()
        return not status(server, carla)["online"]

    eventually(logged_out)
    everybody_polls(others)

    eventually(lambda: status(server, carla)["last_seen"] >= int(login_s))
    assert carla.id not in {int(one.id) for one in others[0].bancho.players}
    assert server.get("/get_player_count").json["counts"]["online"] == 2
