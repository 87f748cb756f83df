"""Players with osu.py submit plays in all modes. getscores, packets, API and database match independent computations.

The expected pp come directly from rosu-pp-py, and the expected totals from a simple recount in this module. The maps
are generated ones, and real ones if this machine has them.
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
from tests.clients.test_osu_py import NAMES, PASSWORD, LoopbackAdapter, Player
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
    """A map with its parsed file."""

    data: bytes
    file: BeatmapFile

    @property
    def md5(self) -> str:
        return self.file.md5


class ExpectedScore(msgspec.Struct, frozen=True):
    """A submitted play with its expected values."""

    name: str
    song: Song
    mode: int
    played: Played
    pp: float
    acc: float
    score_id: int | None


def songs() -> list[Song]:
    """Return maps of every mode."""
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
    # Without limits, because each player submits more plays within seconds than the limits allow in a minute.
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
        player.game.api.session.mount("https://osu.ppy.sh", OfficialHostAdapter(server.port))
        player.bancho.connect()
        assert player.bancho.connected
    yield players
    for player in players.values():
        player.close()


class OfficialHostAdapter(LoopbackAdapter):
    """Also redirects osu.ppy.sh, which osu.py uses for some requests on every server."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = (request.url or "").replace("osu.ppy.sh", "osu.localhost")
        return super().send(request, *args, **kwargs)


def pass_on(rng: random.Random, player: Player, song: Song, *, mode: int | None = None, mods: int = 0) -> Played:
    """Return a valid pass on a map, by default in the mode of the map."""
    vanilla = song.file.mode if mode is None else mode
    objects = song.file.objects
    worse = rng.randint(0, objects // 4)
    misses = rng.randint(0, objects // 20)
    counts: dict[str, int]
    if vanilla == 3:
        counts = {"ngeki": objects - worse - misses, "nkatu": worse, "nmiss": misses, "n300": 0, "n100": 0}
    else:
        counts = {"n300": objects - worse - misses, "n100": worse, "nmiss": misses}
    play = Played(
        song.md5,
        str(player.game.username),
        score=next(_score) + rng.randint(0, 500_000),
        combo=max(1, (objects - misses) // 2),
        grade="A",
        mods=mods,
        mode=vanilla,
        version=BUILD,
        client_hash=str(player.game.client.hash),
        password=PASSWORD.format(player.game.username),
    )
    return msgspec.structs.replace(play, **counts).sealed()


def send(player: Player, played: Played) -> bytes:
    """Submit a play with the HTTP session of osu.py."""
    parts = [(name, (filename, data)) for name, filename, data in played.parts()]
    reply = player.game.api.session.post(f"{player.game.api.url}{SUBMIT}", files=parts, headers={"Token": "x"})
    assert reply.status_code == 200, reply.text
    return bytes(reply.content)


def rosu_pp(song: Song, played: Played) -> float:
    """Return the pp according to rosu-pp-py."""
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
    """Return the accuracy in percent."""
    p = played
    if p.mode == 0:
        return 100 * (300 * p.n300 + 100 * p.n100 + 50 * p.n50) / (300 * (p.n300 + p.n100 + p.n50 + p.nmiss))
    if p.mode == 1:
        return 100 * (p.n300 + p.n100 / 2) / (p.n300 + p.n100 + p.nmiss)
    if p.mode == 2:
        return 100 * (p.n300 + p.n100 + p.n50) / (p.n300 + p.n100 + p.n50 + p.nkatu + p.nmiss)
    total = p.ngeki + p.n300 + p.nkatu + p.n100 + p.n50 + p.nmiss
    return 100 * (300 * (p.ngeki + p.n300) + 200 * p.nkatu + 100 * p.n100 + 50 * p.n50) / (300 * total)


def mode_of_play(mode: int, mods: int) -> int:
    if mods & RX and mode != 3:
        return mode + 4
    return 8 if mods & AP and mode == 0 else mode


@pytest.fixture(scope="module")
def submitted(server: Server, players: dict[str, Player]) -> list[ExpectedScore]:
    """All submitted plays: passes, fails, quits and retries in every mode."""
    rng = random.Random(11)
    scores = []
    for player in players.values():
        name = str(player.game.username)
        for number in range(PLAYS_EACH):
            song = rng.choice(SONGS)
            mods = rng.choice((0, HD, HR | HD, DT, RX, RX | HD, AP))
            mode = rng.choice((0, 1, 2, 3)) if song.file.mode == 0 else song.file.mode
            if mods & AP and mode != 0:
                mods = 0
            played = pass_on(rng, player, song, mode=mode, mods=mods)
            if number % 6 == 5:
                played = msgspec.structs.replace(
                    played, passed=False, grade="F", quit=number % 12 == 5, replay=b"", n300=3, n100=1, ngeki=0, nkatu=0
                ).sealed()
            body = send(player, played)
            if number % 4 == 0:
                assert send(player, played) == body, "a retry"
            if not played.passed:
                assert body == b"error: no"
                scores.append(ExpectedScore(name, song, mode_of_play(mode, mods), played, 0.0, 0.0, None))
                continue
            score_id = int(body.split(b"onlineScoreId:")[1].split(b"|")[0])
            pp = rosu_pp(song, played)
            scores.append(ExpectedScore(name, song, mode_of_play(mode, mods), played, pp, accuracy(played), score_id))
    return scores


def bests(submitted: list[ExpectedScore], name: str, mode: int) -> list[ExpectedScore]:
    """Return a player's best plays by pp on each map, in descending order of pp."""
    best: dict[str, ExpectedScore] = {}
    for submission in submitted:
        if submission.name == name and submission.mode == mode and submission.score_id is not None:
            current = best.get(submission.song.md5)
            if current is None or (submission.pp, submission.played.score) > (current.pp, current.played.score):
                best[submission.song.md5] = submission
    return sorted(best.values(), key=lambda submission: -submission.pp)


def test_submitted_plays_cover_every_mode(submitted: list[ExpectedScore]) -> None:
    assert {submission.mode for submission in submitted} == {0, 1, 2, 3, 4, 5, 6, 8}


def test_scores_have_the_pp_of_rosu_pp(server: Server, submitted: list[ExpectedScore]) -> None:
    for submission in submitted:
        if submission.score_id is None:
            continue
        score = server.get(f"/get_score_info?id={submission.score_id}").json["score"]
        assert score["mode"] == submission.mode
        assert score["pp"] == pytest.approx(submission.pp, abs=1e-3), submission.played
        assert score["acc"] == pytest.approx(submission.acc, abs=1e-3)
        assert score["map_md5"] == submission.song.md5


def test_profiles_equal_the_recount(server: Server, players: dict[str, Player], submitted: list[ExpectedScore]) -> None:
    for name, player in players.items():
        stats = server.get(f"/get_player_info?id={player.id}&scope=stats").json["player"]["stats"]
        for mode in (0, 1, 2, 3, 4, 5, 6, 8):
            own = [submission for submission in submitted if submission.name == name and submission.mode == mode]
            best = bests(submitted, name, mode)
            actual = stats[str(mode)]
            pp = sum(submission.pp * 0.95**n for n, submission in enumerate(best))
            bonus = 416.6667 * (1 - 0.995 ** len(best)) if best else 0.0
            assert actual["pp"] == round(pp + bonus), (name, mode)
            assert actual["plays"] == len(own)
            assert actual["tscore"] == sum(submission.played.score for submission in own)
            assert actual["rscore"] == sum(submission.played.score for submission in best)
            weights = [0.95**n for n in range(len(best))]
            acc = (
                sum(w * submission.acc for w, submission in zip(weights, best, strict=True)) / sum(weights)
                if best
                else 0.0
            )
            assert actual["acc"] == pytest.approx(acc, abs=1e-2)


def test_boards_equal_the_recount(players: dict[str, Player], submitted: list[ExpectedScore]) -> None:
    boris = players["boris"]
    for song in SONGS:
        reply = boris.game.api.get_scores(song.md5, "x.osu", 1, mode=Mode(song.file.mode), rank_type=RankingType.Top)
        assert reply is not None
        assert reply.status is SubmissionStatus.Ranked
        highest: dict[str, int] = {}
        for submission in submitted:
            if submission.song is song and submission.mode == song.file.mode and submission.score_id is not None:
                highest[submission.name] = max(highest.get(submission.name, 0), submission.played.score)
        expected = sorted(highest.items(), key=lambda item: -item[1])
        assert [(row.username, row.total_score) for row in reply.scores] == expected
        assert reply.total_scores == len(expected)
        own = highest.get("boris")
        assert (reply.personal_best.total_score if reply.personal_best else None) == own
        assert all(row.has_replay for row in reply.scores)


def test_relax_boards_are_sorted_by_pp(players: dict[str, Player], submitted: list[ExpectedScore]) -> None:
    anna = players["anna"]
    song = next(submission.song for submission in submitted if submission.mode == 4 and submission.score_id is not None)

    reply = anna.game.api.get_scores(song.md5, "x.osu", 1, mods=Mods.Relax, rank_type=RankingType.Top)

    assert reply is not None
    expected = sorted(
        (round(best.pp), name) for name in NAMES for best in bests(submitted, name, 4) if best.song is song
    )[::-1]
    assert [(row.total_score, row.username) for row in reply.scores] == expected


def test_downloaded_replays_equal_the_submitted_ones(
    players: dict[str, Player], submitted: list[ExpectedScore]
) -> None:
    for submission in submitted[:10]:
        if submission.score_id is None:
            continue
        data = players["carla"].game.api.get_replay(submission.score_id)
        assert data is not None
        assert data == submission.played.replay
        assert check_frames(data).frames >= 100


def test_own_stats_are_updated_with_the_next_poll(
    server: Server, players: dict[str, Player], submitted: list[ExpectedScore]
) -> None:
    anna = players["anna"]
    song = SONGS[0]
    rng = random.Random(3)
    played = msgspec.structs.replace(pass_on(rng, anna, song, mods=HD), score=2_000_000)
    anna.game.api.get_scores(song.md5, "x.osu", 1, mode=Mode(song.file.mode))
    send(anna, played)
    expected = server.get(f"/get_player_info?id={anna.id}&scope=stats").json["player"]["stats"][str(song.file.mode)]

    def seen() -> bool:
        anna.poll()
        actual = anna.bancho.players.by_id(anna.id)
        return bool((actual.pp, actual.playcount) == (expected["pp"], expected["plays"]))

    eventually(seen)
    submitted.append(ExpectedScore("anna", song, song.file.mode, played, rosu_pp(song, played), accuracy(played), 0))


def test_database_contains_each_play_once(server: Server, submitted: list[ExpectedScore]) -> None:
    rows = read_rows(server, "SELECT checksum FROM scores")

    assert sorted(row[0].hex() for row in rows) == sorted(submission.played.checksum for submission in submitted)


def test_other_web_endpoints_answer_the_client(
    server: Server, players: dict[str, Player], tmp_path_factory: pytest.TempPathFactory
) -> None:
    anna = players["anna"]
    api = anna.game.api
    song = next(candidate for candidate in SONGS if candidate.file.mode == 0)
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
    assert set_id in {beatmap_set.set_id for beatmap_set in found}
    assert (api.get_avatar(anna.id) or b"").startswith(b"\x89PNG")
    assert hashlib.md5(get_web(server, f"/osu/{map_id}")).hexdigest() == song.md5
    folder = tmp_path_factory.mktemp("osz")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("a.osu", song.data)
    (folder / "a.osz").write_bytes(archive.getvalue())
    server.cli("beatmaps", "import", str(folder / "a.osz"))
    downloaded = api.download_osz(set_id)
    assert downloaded is not None
    assert b"".join(downloaded) == archive.getvalue()


def get_web(server: Server, path: str) -> bytes:
    return server.ask("GET", path, host="osu.localhost").body
