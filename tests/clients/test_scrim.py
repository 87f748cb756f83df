"""A scrim that is refereed wholly from IRC, on one process with rate limits."""

from pathlib import Path

from tests.builders import a_map
from tests.clients.scrim import MAP, NAME, NAMES, OWLS, REFEREE, WOLVES, referee_a_scrim
from tests.clients.test_osu_py import Player
from tests.wire.irc import add_players, connect
from tests.wire.kit import Server, eventually


def test_scrim_is_refereed_from_irc(tmp_path: Path) -> None:
    data = tmp_path / "data"
    passwords = add_players(data, NAMES)
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "map.osu").write_bytes(a_map(MAP).data)
    server = Server(data, IRC="127.0.0.1:0")
    server.cli("beatmaps", "import", str(maps))
    server.start()
    players = [Player(server, name) for name in (*OWLS, *WOLVES)]
    try:
        for player in players:
            player.bancho.connect()
        referee_a_scrim(lambda: connect(server, REFEREE, passwords[REFEREE]), players, during_each_play=lambda: None)
        # The history of matches is written in batches.
        eventually(lambda: [match["name"] for match in server.get("/v2/matches?state=past").json["data"]] == [NAME])
        for fault in ('"unhandled"', '"packet failed"', '"command failed"'):
            assert fault not in server.stderr
        for player in players:
            player.close()
        server.stop()
    finally:
        server.kill()
