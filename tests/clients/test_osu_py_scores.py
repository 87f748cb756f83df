"""Players with osu.py submit plays in all modes; getscores, packets, API and database agree with other code's oracle.

pp comes from rosu-pp-py, called here directly; totals from a recount that knows nothing of ours. The maps are real ones
where this machine has them, and composed ones.
"""

import hashlib
import io
import itertools
import random
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
import requests
import rosu_pp_py as rosu
from osu.api.constants import CommentTarget, DisplayMode, RankingType, SubmissionStatus
from osu.bancho.constants import Mode, Mods
from tests.clients.test_osu_py import NAMES, PASSWORD, Plain, Player
from tests.osu.real_files import real_files
from tests.wire.kit import Server, cli, eventually
from tests.wire.submitting import SUBMIT, Played, read_rows

from kiai.demo.composing import compose_map
from kiai.osu.beatmap_file import BeatmapFile, parse_beatmap
from kiai.osu.replay_file import check_frames

BUILD: Final = "20250415"
ROSU_MODES: Final = (rosu.GameMode.Osu, rosu.GameMode.Taiko, rosu.GameMode.Catch, rosu.GameMode.Mania)
HD, HR, DT, RX, AP = 8, 16, 64, 128, 8192
PLAYS_EACH: Final = 24

_score = itertools.count(100_000, 1_117)


class Song(msgspec.Struct, frozen=True):
    """A map of this test."""

    data: bytes
    file: BeatmapFile

    @property
    def md5(self) -> str:
        return self.file.md5


class Known(msgspec.Struct, frozen=True):
    """A play that was submitted, as the oracle sees it."""

    name: str
    song: Song
    mode: int
    played: Played
    pp: float
    acc: float
    score_id: int | None


def songs() -> list[Song]:
    """Maps of every mode."""
    files = [compose_map(5, index).osu for index in range(0, 24, 5)]
    files += [path.read_bytes() for path in real_files("beatmaps", ".osu")[:4]]
    return [Song(data, parse_beatmap(data)) for data in files]


SONGS: Final = songs()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("scores") / "data"
    cli(data, "migrate")
    for name in NAMES:
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    folder = data.parent / "maps"
    folder.mkdir()
    for number, song in enumerate(SONGS):
        (folder / f"{number}.osu").write_bytes(song.data)
    assert cli(data, "beatmaps", "import", str(folder))["maps"] == len(SONGS)
    # Limits off: each player submits more plays within seconds than the limits allow anybody to play in a minute.
    server = Server(data, RATE_LIMITS="off").start()
    try:
        yield server
        assert '"unhandled"' not in server.stderr
        server.stop()
        assert cli(data, "doctor")["problems"] == []
    finally:
        server.kill()


@pytest.fixture(scope="module")
def players(server: Server) -> Iterator[dict[str, Player]]:
    players = {name: Player(server, name) for name in NAMES}
    for player in players.values():
        player.game.api.session.mount("https://osu.ppy.sh", ToUs(server.port))
        player.bancho.connect()
        assert player.bancho.connected
    yield players
    for player in players.values():
        player.close()


class ToUs(Plain):
    """osu.py asks the official host for a few things, whatever server it plays on: here that is ours, too."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = (request.url or "").replace("osu.ppy.sh", "osu.localhost")
        return super().send(request, *args, **kwargs)


def a_play(chance: random.Random, player: Player, song: Song, *, mode: int | None = None, mods: int = 0) -> Played:
    """A pass that the map allows; the mode is the map's own, or another one for maps of osu!."""
    vanilla = song.file.mode if mode is None else mode
    objects = song.file.objects
    worse = chance.randint(0, objects // 4)
    misses = chance.randint(0, objects // 20)
    counts: dict[str, int]
    if vanilla == 3:
        counts = {"ngeki": objects - worse - misses, "nkatu": worse, "nmiss": misses, "n300": 0, "n100": 0}
    else:
        counts = {"n300": objects - worse - misses, "n100": worse, "nmiss": misses}
    made = Played(
        song.md5,
        str(player.game.username),
        score=next(_score) + chance.randint(0, 500_000),
        combo=max(1, (objects - misses) // 2),
        grade="A",
        mods=mods,
        mode=vanilla,
        version=BUILD,
        client_hash=str(player.game.client.hash),
        password=PASSWORD.format(player.game.username),
    )
    return msgspec.structs.replace(made, **counts).sealed()


def send(player: Player, played: Played) -> bytes:
    """Submits with the session of osu.py."""
    parts = [(name, (filename, data)) for name, filename, data in played.parts()]
    reply = player.game.api.session.post(f"{player.game.api.url}{SUBMIT}", files=parts, headers={"Token": "x"})
    assert reply.status_code == 200, reply.text
    return bytes(reply.content)


def worth(song: Song, played: Played) -> float:
    """pp by rosu-pp-py alone."""
    beatmap = rosu.Beatmap(bytes=song.data)
    if beatmap.mode != ROSU_MODES[played.mode]:
        beatmap.convert(ROSU_MODES[played.mode], played.mods)
    found = rosu.Performance(
        mods=played.mods,
        lazer=False,
        n300=played.n300,
        n100=played.n100,
        n50=played.n50,
        n_geki=played.ngeki,
        n_katu=played.nkatu,
        misses=played.nmiss,
        combo=played.combo,
        legacy_total_score=played.score,
    ).calculate(beatmap)
    return round(float(found.pp), 3)


def accuracy(played: Played) -> float:
    """In percent, from the counts."""
    p = played
    if p.mode == 0:
        return 100 * (300 * p.n300 + 100 * p.n100 + 50 * p.n50) / (300 * (p.n300 + p.n100 + p.n50 + p.nmiss))
    if p.mode == 1:
        return 100 * (p.n300 + p.n100 / 2) / (p.n300 + p.n100 + p.nmiss)
    if p.mode == 2:
        return 100 * (p.n300 + p.n100 + p.n50) / (p.n300 + p.n100 + p.n50 + p.nkatu + p.nmiss)
    total = p.ngeki + p.n300 + p.nkatu + p.n100 + p.n50 + p.nmiss
    return 100 * (300 * (p.ngeki + p.n300) + 200 * p.nkatu + 100 * p.n100 + 50 * p.n50) / (300 * total)


def counted_in(mode: int, mods: int) -> int:
    if mods & RX and mode != 3:
        return mode + 4
    return 8 if mods & AP and mode == 0 else mode


@pytest.fixture(scope="module")
def told(server: Server, players: dict[str, Player]) -> list[Known]:
    """Everything that was submitted: passes, fails, quits and retries in every mode there is."""
    chance = random.Random(11)
    known = []
    for player in players.values():
        name = str(player.game.username)
        for number in range(PLAYS_EACH):
            song = chance.choice(SONGS)
            mods = chance.choice((0, HD, HR | HD, DT, RX, RX | HD, AP))
            mode = chance.choice((0, 1, 2, 3)) if song.file.mode == 0 else song.file.mode
            if mods & AP and mode != 0:
                mods = 0
            played = a_play(chance, player, song, mode=mode, mods=mods)
            if number % 6 == 5:
                played = msgspec.structs.replace(
                    played, passed=False, grade="F", quit=number % 12 == 5, replay=b"", n300=3, n100=1, ngeki=0, nkatu=0
                ).sealed()
            body = send(player, played)
            if number % 4 == 0:
                assert send(player, played) == body, "a retry"
            if not played.passed:
                assert body == b"error: no"
                known.append(Known(name, song, counted_in(mode, mods), played, 0.0, 0.0, None))
                continue
            score_id = int(body.split(b"onlineScoreId:")[1].split(b"|")[0])
            pp = worth(song, played)
            known.append(Known(name, song, counted_in(mode, mods), played, pp, accuracy(played), score_id))
    return known


def bests(told: list[Known], name: str, mode: int) -> list[Known]:
    """The naive recount: the best by pp on each map, most pp first."""
    best: dict[str, Known] = {}
    for one in told:
        if one.name == name and one.mode == mode and one.score_id is not None:
            standing = best.get(one.song.md5)
            if standing is None or (one.pp, one.played.score) > (standing.pp, standing.played.score):
                best[one.song.md5] = one
    return sorted(best.values(), key=lambda one: -one.pp)


def test_every_mode_was_played(told: list[Known]) -> None:
    assert {one.mode for one in told} == {0, 1, 2, 3, 4, 5, 6, 8}


def test_each_score_is_what_rosu_says_it_is(server: Server, told: list[Known]) -> None:
    for one in told:
        if one.score_id is None:
            continue
        score = server.get(f"/get_score_info?id={one.score_id}").json["score"]
        assert score["mode"] == one.mode
        assert score["pp"] == pytest.approx(one.pp, abs=1e-3), one.played
        assert score["acc"] == pytest.approx(one.acc, abs=1e-3)
        assert score["map_md5"] == one.song.md5


def test_profiles_are_what_a_recount_gives(server: Server, players: dict[str, Player], told: list[Known]) -> None:
    for name, player in players.items():
        stats = server.get(f"/get_player_info?id={player.id}&scope=stats").json["player"]["stats"]
        for mode in (0, 1, 2, 3, 4, 5, 6, 8):
            mine = [one for one in told if one.name == name and one.mode == mode]
            best = bests(told, name, mode)
            shown = stats[str(mode)]
            pp = sum(one.pp * 0.95**n for n, one in enumerate(best))
            bonus = 416.6667 * (1 - 0.995 ** len(best)) if best else 0.0
            assert shown["pp"] == round(pp + bonus), (name, mode)
            assert shown["plays"] == len(mine)
            assert shown["tscore"] == sum(one.played.score for one in mine)
            assert shown["rscore"] == sum(one.played.score for one in best)
            weights = [0.95**n for n in range(len(best))]
            acc = sum(w * one.acc for w, one in zip(weights, best, strict=True)) / sum(weights) if best else 0.0
            assert shown["acc"] == pytest.approx(acc, abs=1e-2)


def test_song_select_shows_what_the_recount_gives(players: dict[str, Player], told: list[Known]) -> None:
    boris = players["boris"]
    for song in SONGS:
        reply = boris.game.api.get_scores(song.md5, "x.osu", 1, mode=Mode(song.file.mode), rank_type=RankingType.Top)
        assert reply is not None
        assert reply.status is SubmissionStatus.Ranked
        highest: dict[str, int] = {}
        for one in told:
            if one.song is song and one.mode == song.file.mode and one.score_id is not None:
                highest[one.name] = max(highest.get(one.name, 0), one.played.score)
        expected = sorted(highest.items(), key=lambda item: -item[1])
        assert [(one.username, one.total_score) for one in reply.scores] == expected
        assert reply.total_scores == len(expected)
        mine = highest.get("boris")
        assert (reply.personal_best.total_score if reply.personal_best else None) == mine
        assert all(one.has_replay for one in reply.scores)


def test_relax_boards_are_sorted_by_pp(players: dict[str, Player], told: list[Known]) -> None:
    anna = players["anna"]
    song = next(one.song for one in told if one.mode == 4 and one.score_id is not None)

    reply = anna.game.api.get_scores(song.md5, "x.osu", 1, mods=Mods.Relax, rank_type=RankingType.Top)

    assert reply is not None
    expected = sorted((round(best.pp), name) for name in NAMES for best in bests(told, name, 4) if best.song is song)[
        ::-1
    ]
    assert [(one.total_score, one.username) for one in reply.scores] == expected


def test_replays_come_back_as_they_were_sent(players: dict[str, Player], told: list[Known]) -> None:
    for one in told[:10]:
        if one.score_id is None:
            continue
        data = players["carla"].game.api.get_replay(one.score_id)
        assert data is not None
        assert data == one.played.replay
        assert check_frames(data).frames >= 100


def test_the_players_own_figures_come_with_the_next_poll(
    server: Server, players: dict[str, Player], told: list[Known]
) -> None:
    anna = players["anna"]
    song = SONGS[0]
    chance = random.Random(3)
    played = msgspec.structs.replace(a_play(chance, anna, song, mods=HD), score=2_000_000)
    anna.game.api.get_scores(song.md5, "x.osu", 1, mode=Mode(song.file.mode))
    send(anna, played)
    expected = server.get(f"/get_player_info?id={anna.id}&scope=stats").json["player"]["stats"][str(song.file.mode)]

    def seen() -> bool:
        anna.poll()
        shown = anna.bancho.players.by_id(anna.id)
        return bool((shown.pp, shown.playcount) == (expected["pp"], expected["plays"]))

    eventually(seen)
    told.append(Known("anna", song, song.file.mode, played, worth(song, played), accuracy(played), 0))


def test_the_database_holds_each_play_once(server: Server, told: list[Known]) -> None:
    rows = read_rows(server, "SELECT checksum FROM scores")

    assert sorted(row[0].hex() for row in rows) == sorted(one.played.checksum for one in told)


def test_the_rest_of_what_the_client_asks_for(
    server: Server, players: dict[str, Player], tmp_path_factory: pytest.TempPathFactory
) -> None:
    anna = players["anna"]
    api = anna.game.api
    song = next(one for one in SONGS if one.file.mode == 0)
    row = server.get(f"/get_map_info?md5={song.md5}").json["map"]
    map_id, set_id = row["id"], row["set_id"]

    assert api.check_updates() == []
    assert api.connect()
    assert api.get_backgrounds() == []
    assert api.get_friends() == [1]
    assert api.get_star_rating(map_id) == pytest.approx(row["diff"], abs=1e-3)
    assert api.get_star_rating(map_id, mods=Mods.DoubleTime) > row["diff"]
    assert "1" in api.add_favourite(set_id)
    assert api.get_favourites() == [set_id]
    api.post_comment("What a song", 1_500, CommentTarget.Map, beatmap_id=map_id, set_id=set_id)
    [comment] = api.get_comments(beatmap_id=map_id, set_id=set_id)
    assert (comment.text, comment.time) == ("What a song", 1_500)
    found = api.search_beatmapsets("Newest", DisplayMode.All)
    assert found is not None
    assert set_id in {one.set_id for one in found}
    assert (api.get_avatar(anna.id) or b"").startswith(b"\x89PNG")
    assert hashlib.md5(requests_get(server, f"/osu/{map_id}")).hexdigest() == song.md5
    folder = tmp_path_factory.mktemp("osz")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("a.osu", song.data)
    (folder / "a.osz").write_bytes(archive.getvalue())
    server.cli("beatmaps", "import", str(folder / "a.osz"))
    downloaded = api.download_osz(set_id)
    assert downloaded is not None
    assert b"".join(downloaded) == archive.getvalue()


def requests_get(server: Server, path: str) -> bytes:
    return server.ask("GET", path, host="osu.localhost").body
