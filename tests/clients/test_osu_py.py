"""Three players with osu.py, a third-party client, on a real server; the API reports the same state."""

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


class LoopbackAdapter(HTTPAdapter):
    """Sends requests for https://*.localhost to a server on this machine, without TLS."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        host = parts.hostname or ""
        assert host.endswith(".localhost"), request.url
        request.headers["Host"] = host
        request.url = parts._replace(scheme="http", netloc=f"127.0.0.1:{self._port}").geturl()
        try:
            return super().send(request, *args, **kwargs)
        except requests.ConnectionError:
            # The connection was open to a worker that has been killed since. Another one answers.
            return super().send(request, *args, **kwargs)


class Player:
    """A client that polls on demand, with the chat lines and packets that it received."""

    def __init__(self, server: Server, name: str, password: str = "") -> None:
        self.game = Game(
            name,
            password or PASSWORD.format(name),
            "localhost",
            version=VERSION,
            executable_hash="0" * 32,
            disable_logging=True,
        )
        self.game.client.hash.adapters = "runningunderwine"
        for session in (self.game.session, self.game.api.session, self.game.bancho.connector.session):  # type: ignore[attr-defined]
            session.mount("https://", LoopbackAdapter(server.port))
        self.received: list[tuple[str, str, str]] = []
        self.frames = 0
        self.events: list[str] = []

        def on_message(sender: Any, text: str, target: Any) -> None:
            self.received.append((sender.name, text, target.name))

        def on_frames(*_: Any) -> None:
            self.frames += 1

        self.game.events.register(ServerPackets.SEND_MESSAGE)(on_message)
        self.game.events.register(ServerPackets.SPECTATE_FRAMES)(on_frames)
        for packet in (
            ServerPackets.MATCH_START,
            ServerPackets.MATCH_ALL_PLAYERS_LOADED,
            ServerPackets.MATCH_SKIP,
            ServerPackets.MATCH_SCORE_UPDATE,
            ServerPackets.MATCH_COMPLETE,
            ServerPackets.MATCH_TRANSFER_HOST,
            ServerPackets.MATCH_JOIN_FAIL,
        ):
            self.game.events.register(packet)(self._record(packet.name))

    def _record(self, name: str) -> Callable[..., None]:
        return lambda *_: self.events.append(name)

    @property
    def bancho(self) -> Any:
        return self.game.bancho

    @property
    def id(self) -> int:
        return int(self.game.bancho.user_id)

    def poll(self) -> None:
        """Poll once. Packets that osu.py queues while it reads the response are sent with the next poll."""
        # By default osu.py sends them at once, in the middle of a response. It then reads the rest of that response
        # after the newer one, and old values overwrite new ones.
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
    """A separate server for each test."""
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
    """All three players, logged in."""
    players = [Player(server, name) for name in NAMES]
    for player in players:
        player.bancho.connect()
        assert player.bancho.connected
    poll_all(players)
    yield players
    for player in players:
        player.close()


def poll_all(players: list[Player]) -> None:
    for player in players:
        player.poll()


def status(server: Server, player: Player) -> Any:
    return server.get(f"/get_player_status?id={player.id}").json["player_status"]


def test_players_log_in_and_see_each_other(server: Server, players: list[Player]) -> None:
    anna, boris, carla = players

    assert [player.bancho.protocol for player in players] == [19] * 3
    assert server.get("/get_player_count").json["counts"] == {"online": 3, "total": 3}
    for player in players:
        others = {other.id for other in players}
        assert others <= {int(user.id) for user in player.bancho.players}
    assert anna.bancho.players.by_id(carla.id).name == "carla"
    assert {channel.name for channel in boris.bancho.channels if channel.joined} == {"#osu", "#announce"}
    assert status(server, anna)["online"] is True


def test_players_chat_in_channels_and_privately(players: list[Player]) -> None:
    anna, boris, carla = players
    anna.bancho.channels.get("#osu").send_message("hello everybody")
    anna.bancho.players.by_name("boris").send_message("hello boris")
    poll_all(players)

    assert ("anna", "hello everybody", "#osu") in boris.received
    assert ("anna", "hello everybody", "#osu") in carla.received
    assert anna.received == []
    assert ("anna", "hello boris", "boris") in boris.received
    assert not any("hello boris" in text for _, text, _ in carla.received)


def test_bot_answers_a_command(players: list[Player]) -> None:
    anna, *_ = players
    anna.bancho.players.by_id(1).send_message("!roll 1")
    anna.poll()

    assert ("BanchoBot", "anna rolls 1 point(s)", "anna") in anna.received


def test_status_is_visible_to_players_and_in_the_api(server: Server, players: list[Player]) -> None:
    anna, boris, _ = players
    own = anna.bancho.player.status
    own.action, own.text, own.mods = StatusAction.Playing, "a map", Mods.Hidden
    anna.bancho.update_status()
    poll_all(players)

    seen = boris.bancho.players.by_id(anna.id).status
    assert (seen.action, seen.text, seen.mods) == (StatusAction.Playing, "a map", Mods.Hidden)
    reported = status(server, anna)["status"]
    assert (reported["action"], reported["info_text"], reported["mods"], reported["mode"]) == (2, "a map", 8, 0)


def test_two_players_spectate_the_third(players: list[Player]) -> None:
    anna, boris, carla = players
    for watcher in (boris, carla):
        watcher.bancho.start_spectating(watcher.bancho.players.by_id(anna.id))
    poll_all(players)
    assert {int(one.id) for one in anna.bancho.player.spectators} == {boris.id, carla.id}

    anna.bancho.send_frames(ReplayAction.Standard, [])
    poll_all(players)

    assert (boris.frames, carla.frames, anna.frames) == (1, 1, 0)
    boris.bancho.stop_spectating()
    poll_all(players)
    assert {int(one.id) for one in anna.bancho.player.spectators} == {carla.id}


def test_players_play_a_match_from_the_lobby_to_the_end(server: Server, players: list[Player]) -> None:
    anna, boris, carla = players
    for player in (boris, carla):
        player.bancho.join_lobby()
    anna.bancho.create_match(
        Match(name="a match", password="secret", beatmap_text="A - B [C]", beatmap_id=75, host_id=anna.id)
    )
    poll_all(players)
    match_id = anna.bancho.match.id
    assert [match.name for match in carla.bancho.matches] == ["a match"]
    assert server.get(f"/get_match?id={match_id}").json["match"]["host"] == {"id": anna.id, "name": "anna"}

    carla.bancho.join_match(match_id, "wrong")
    boris.bancho.join_match(match_id, "secret")
    carla.bancho.join_match(match_id, "secret")
    poll_all(players)
    assert carla.events == ["MATCH_JOIN_FAIL"]
    assert [slot.player_id for slot in anna.bancho.match.used_slots] == [anna.id, boris.id, carla.id]

    for player in (boris, carla):
        player.bancho.match.ready()
    anna.poll()
    assert [slot.player_id for slot in anna.bancho.match.ready_slots] == [boris.id, carla.id]
    anna.bancho.match.start()
    poll_all(players)
    assert server.get(f"/get_match?id={match_id}").json["match"]["in_progress"] is True
    for step in ("load_complete", "skip"):
        for player in players:
            getattr(player.bancho.match, step)()
        poll_all(players)
    for number, player in enumerate(players, 1):
        player.bancho.match.send_score(ScoreFrame(1_000, 0, 9, 1, 0, 0, 0, 0, number * 1_000, 10, 10, True, 200, 0))
    poll_all(players)
    for player in players:
        player.bancho.match.complete()
    poll_all(players)

    for player in players:
        steps = list(dict.fromkeys(event for event in player.events if event != "MATCH_JOIN_FAIL"))
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
    poll_all(players)
    assert "MATCH_TRANSFER_HOST" in boris.events
    assert boris.bancho.match.host_id == boris.id
    assert boris.bancho.match.slots[0].status == SlotStatus.Open
    boris.bancho.leave_match()
    carla.bancho.leave_match()
    assert server.get(f"/get_match?id={match_id}").status == 404


def test_player_is_offline_after_log_out(server: Server, players: list[Player]) -> None:
    *others, carla = players
    login_s = status(server, carla)["login_time"]

    def logged_out() -> bool:
        carla.bancho.connected = (
            True  # the server ignores a log-out in the first second, which can be a late packet of the previous session
        )
        carla.bancho.exit()
        return not status(server, carla)["online"]

    eventually(logged_out)
    poll_all(others)

    eventually(lambda: status(server, carla)["last_seen"] >= int(login_s))
    assert carla.id not in {int(one.id) for one in others[0].bancho.players}
    assert server.get("/get_player_count").json["counts"]["online"] == 2
