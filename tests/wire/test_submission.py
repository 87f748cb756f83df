"""Submission of valid and invalid plays to a real server."""

import base64
import concurrent.futures
import hashlib
import itertools
import lzma
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import rosu_pp_py as rosu
from py3rijndael import Pkcs7Padding, RijndaelCbc
from tests.builders import a_map
from tests.patience import Deadline, patiently
from tests.wire.kit import Reply, Server, eventually
from tests.wire.submitting import (
    CLIENT_HASH,
    OSU,
    PASSWORD,
    SUBMIT,
    Played,
    frames,
    log_in,
    multipart,
    password_md5,
    poll,
    polled,
    prepare,
    read_rows,
    submit,
    web,
)

from kiai.presence.model import IDLE_MAX_S

NAMES = ["alice", "bob", "carla", "dora", "eve", "fred", "gina", "hugo", "iris"]
SONG = a_map(100, objects=100, title="Song|one", version="Hard [x]")
TAIKO = a_map(200, mode=1, objects=100, title="Drums")
LONE = a_map(300, objects=100, title="Lone")
FAIL = {"passed": False, "grade": "F", "n300": 20, "score": 5_000, "combo": 15}

_score = itertools.count(200_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("submission") / "data"
    ids = prepare(data, NAMES, vector_maps=False)
    assert ids["alice"] == 3
    folder = data.parent / "maps"
    folder.mkdir()
    for song in (SONG, TAIKO, LONE):
        (folder / f"{song.id}.osu").write_bytes(song.data)
    # Limits off: the tests together submit more plays per player than the limit of one minute.
    server = Server(data, RATE_LIMITS="off").start()
    server.cli("beatmaps", "import", str(folder))
    try:
        # On a busy machine the tests take longer than a session lives without polls. Rare ones, because a player cannot
        # log in again right after a poll.
        with polled(server, [log_in(server, name) for name in NAMES[:-1]], every_s=IDLE_MAX_S / 5):
            yield server
        # The last test may have left work, e.g. after the end of a restriction, and doctor counts it as problems.
        eventually(lambda: is_settled(server))
        server.stop()
        assert '"unhandled"' not in server.stderr
        assert server.cli("doctor")["problems"] == []
    finally:
        server.kill()


def is_settled(server: Server) -> bool:
    """Return whether nothing waits to be computed again."""
    waiting = "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM stale_totals)"
    return read_rows(server, waiting) == [(0,)]


def a_pass(name: str = "alice", **fields: Any) -> Played:
    """Return a pass that was not submitted before."""
    return Played(fields.pop("md5", SONG.md5), name, score=fields.pop("score", next(_score)), **fields).sealed()


def score_id_of(body: bytes) -> int:
    return int(body.split(b"onlineScoreId:")[1].split(b"|")[0])


def chart_of(body: bytes) -> dict[str, str]:
    """Return the items of the last line of the panel."""
    last = body.decode().rsplit("\n", 1)[1]
    return dict(item.split(":", 1) for item in last.split("|") if ":" in item)


def map_chart_of(body: bytes) -> dict[str, str]:
    """Return the items of the panel's line about the map."""
    line = body.decode().split("\n")[1]
    return dict(item.split(":", 1) for item in line.split("|") if ":" in item)


def scores_of(server: Server, played: Played) -> list[Any]:
    return read_rows(server, "SELECT id FROM scores WHERE score = ?", played.score)


def flags_of(server: Server, name: str) -> list[str]:
    sql = "SELECT kind FROM integrity_flags JOIN users ON users.id = user_id WHERE users.name = ? ORDER BY 1"
    return [kind for (kind,) in read_rows(server, sql, name)]


# --- what a pass changes


def test_first_pass_has_only_new_values_in_the_panel(server: Server) -> None:
    played = a_pass("alice", score=150_000, perfect=True, mods=8, grade="XH")

    body = submit(server, played).body

    lines = body.decode().split("\n")
    assert len(lines) == 3
    assert lines[0].startswith("beatmapId:100|beatmapSetId:100|beatmapPlaycount:1|beatmapPasscount:1|approvedDate:2")
    assert lines[0].endswith("|")
    assert lines[1].startswith("|chartId:beatmap|chartUrl:https://osu.localhost/s/100|chartName:Beatmap Ranking|")
    assert lines[2].startswith("|chartId:overall|chartUrl:https://localhost/u/3|chartName:Overall Ranking|")
    on_map, overall = map_chart_of(body), chart_of(body)
    assert (on_map["rankBefore"], on_map["rankAfter"]) == ("", "1")
    assert (on_map["totalScoreBefore"], on_map["totalScoreAfter"]) == ("", "150000")
    assert on_map["accuracyAfter"] == "100.00"
    assert (overall["rankBefore"], overall["rankAfter"]) == ("", "1")
    assert (overall["rankedScoreBefore"], overall["rankedScoreAfter"]) == ("0", "150000")
    expected = rosu.Performance(
        n300=100, n100=0, n50=0, misses=0, combo=100, mods=8, lazer=False, legacy_total_score=150_000
    ).calculate(rosu.Beatmap(bytes=SONG.data))
    assert on_map["ppAfter"] == str(round(expected.pp))
    medals = {text.split("+")[0] for text in overall["achievements-new"].split("/")}
    assert medals == {"all-secret-quickdraw", "all-intro-hidden"}
    assert server.get("/get_player_info?id=3&scope=stats").json["player"]["stats"]["0"]["rscore"] == 150_000


def test_better_pass_has_both_values_and_replaces_the_best(server: Server) -> None:
    submit(server, a_pass("bob", score=160_000))

    body = submit(server, a_pass("bob", score=170_000)).body

    assert map_chart_of(body)["totalScoreBefore"] == "160000"
    assert map_chart_of(body)["totalScoreAfter"] == "170000"
    assert map_chart_of(body)["rankAfter"] == "1"
    assert "all-secret-quickdraw" not in chart_of(body)["achievements-new"], "a medal is given once"


def test_worse_pass_shows_the_rank_that_it_would_have(server: Server) -> None:
    submit(server, a_pass("carla", score=2_000))
    submit(server, a_pass("bob", score=180_000))

    body = submit(server, a_pass("bob", score=1_000)).body

    assert map_chart_of(body)["totalScoreBefore"] == "180000"
    assert map_chart_of(body)["totalScoreAfter"] == "1000"
    assert int(map_chart_of(body)["rankAfter"]) > 1
    board = web(server, "/web/osu-osz2-getscores.php", us="bob", ha=password_md5(), c=SONG.md5, m=0, v=1, s=0)
    assert board.body.decode().split("\n")[4].split("|")[2] == "180000"


@pytest.mark.parametrize(("mods", "mode", "counted"), [(128, 0, 4), (8192, 0, 8), (128, 1, 5), (128, 2, 6), (0, 3, 3)])
def test_relax_and_autopilot_count_in_their_own_modes(server: Server, mods: int, mode: int, counted: int) -> None:
    played = a_pass("carla", mods=mods, mode=mode, ngeki=100 if mode == 3 else 0, n300=0 if mode == 3 else 100)

    body = submit(server, played).body

    assert server.get(f"/get_score_info?id={score_id_of(body)}").json["score"]["mode"] == counted


def test_taiko_map_accepts_only_taiko_plays(server: Server) -> None:
    assert submit(server, a_pass("carla", md5=TAIKO.md5, mode=1)).body.startswith(b"beatmapId:200|")
    assert submit(server, a_pass("carla", md5=TAIKO.md5, mode=0)).body == b"error: no"


def test_first_place_taken_from_another_player_is_announced(server: Server) -> None:
    token = log_in_again(server, "dora")
    submit(server, a_pass("alice", md5=LONE.md5, score=10_000))
    poll(server, token)

    submit(server, a_pass("dora", md5=LONE.md5, score=20_000, mods=8, grade="XH"))

    seen = b""

    def announced() -> bool:
        nonlocal seen
        seen += poll(server, token)
        return b"#1 on this map" in seen

    eventually(announced)
    other = log_in_again(server, "eve")
    submit(server, a_pass("alice", md5=LONE.md5, score=30_000))
    received = b""

    def is_announced() -> bool:
        nonlocal received
        received += poll(server, other)
        return b"taken from [https://osu.localhost/u/6 dora]" in received

    eventually(is_announced)
    assert b"\x01ACTION achieved #1 on [" in received
    assert b"#announce" in received


def log_in_again(server: Server, name: str) -> str:
    """Log in a player who may have logged in a moment ago, and return the token."""
    deadline = Deadline(20)
    while True:
        try:
            return log_in(server, name)
        except AssertionError:
            assert not deadline.passed()
            time.sleep(0.5)


# --- retries


def test_retry_gets_the_same_answer_even_after_a_restart(server: Server) -> None:
    played = a_pass("eve")
    first = submit(server, played)

    again = submit(server, played)
    time.sleep(0.6)  # written behind
    server.stop()
    server.start()

    assert first.body.startswith(b"beatmapId:")
    assert again.body == first.body
    assert submit(server, played).body == first.body
    assert len(scores_of(server, played)) == 1


def test_fifty_concurrent_copies_are_one_play(server: Server) -> None:
    played = a_pass("fred")
    parts = played.parts()

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: submit(server, parts), range(50)))

    bodies = {one.body for one in answers if one.status == 200}
    assert {one.status for one in answers} <= {200, 503}
    assert len(bodies) == 1
    assert submit(server, parts).body == bodies.pop(), "whoever was turned away gets the answer when it asks again"
    assert len(scores_of(server, played)) == 1
    plays = read_rows(server, "SELECT sum(plays) FROM stats JOIN users ON id = user_id WHERE name = 'fred'")
    assert plays == [(1,)]


def test_concurrent_plays_of_one_player_are_all_stored_and_counted(server: Server) -> None:
    plays = [a_pass("gina") for _ in range(20)]

    def stubborn(played: Played) -> None:
        parts = played.parts()
        for _ in range(100):
            if submit(server, parts).status == 200:
                return
            time.sleep(0.1)
        raise AssertionError("never taken")

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(stubborn, plays))

    stats = read_rows(server, "SELECT plays, tscore FROM stats JOIN users ON id = user_id WHERE name = 'gina'")
    assert stats == [(20, sum(one.score for one in plays))]
    best = read_rows(
        server, "SELECT score FROM scores JOIN users ON users.id = user_id WHERE name = 'gina' AND best_score = 1"
    )
    assert best == [(max(one.score for one in plays),)]


def test_copied_replay_is_refused_and_flagged(server: Server) -> None:
    played = a_pass("alice")
    submit(server, played)
    same_frames = a_pass("bob", replay=played.replay)

    assert submit(server, same_frames).body == b"error: no"
    assert "copied replay" in flags_of(server, "bob")


def test_same_replay_with_another_checksum_is_the_same_play(server: Server) -> None:
    played = a_pass("alice")
    first = submit(server, played).body

    assert submit(server, msgspec.structs.replace(played, score=played.score + 1)).body == first


# --- bad input


def form(**replaced: bytes | None) -> list[tuple[str, str | None, bytes]]:
    """Return a valid form with some text parts replaced, or omitted for None."""
    return [
        (name, filename, data if filename or name not in replaced else replaced[name] or b"")
        for name, filename, data in a_pass().parts()
        if filename or name not in replaced or replaced[name] is not None
    ]


def test_malformed_form_is_refused(server: Server) -> None:
    headers = {"User-Agent": "osu!"}

    assert server.ask("GET", SUBMIT, host=OSU, headers=headers).status == 405
    for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain"):
        reply = server.ask("POST", SUBMIT, host=OSU, headers=headers | {"Content-Type": kind}, body=b'{"a": 1}')
        assert (reply.status, reply.body) == (200, b"error: no"), kind


@pytest.mark.parametrize("name", ["score", "iv", "s", "osuver"])
def test_form_without_a_required_part_is_refused(server: Server, name: str) -> None:
    assert submit(server, form(**{name: None})).body == b"error: no"


def test_replay_without_a_file_name_is_found_by_its_position(server: Server) -> None:
    parts: list[tuple[str, str | None, bytes]] = [(name, None, data) for name, _, data in a_pass().parts()]

    assert submit(server, parts).body.startswith(b"beatmapId:")
    assert submit(server, [*parts, ("score", None, b"x")]).body == b"error: no"


def broken(field: str, spoil: Callable[[bytes], bytes]) -> list[tuple[str, str | None, bytes]]:
    parts = a_pass().parts()
    return [(n, f, spoil(d) if n == field and f is None else d) for n, f, d in parts]


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("iv", lambda d: base64.b64encode(base64.b64decode(d)[:31])),
        ("iv", lambda d: base64.b64encode(base64.b64decode(d) + b"x")),
        ("iv", lambda d: b"%%%%"),
        ("score", lambda d: b""),
        ("score", lambda d: base64.b64encode(base64.b64decode(d)[:31])),
        ("score", lambda d: base64.b64encode(base64.b64decode(d) + b"x")),
        ("score", lambda d: base64.b64encode(bytes(64))),
        ("score", lambda d: d + b"\xff"),
        ("osuver", lambda d: b"2026071"),
        ("osuver", lambda d: "２０２６０７１１".encode()),
        ("osuver", lambda d: b"20260711\0"),
        ("osuver", lambda d: b"20260712"),
        ("st", lambda d: b"soon"),
        ("ft", lambda d: b"1e3"),
    ],
)
def test_every_malformed_part_gets_the_same_answer(server: Server, field: str, spoil: Callable[[bytes], bytes]) -> None:
    reply = submit(server, broken(field, spoil))

    assert (reply.status, reply.body) == (200, b"error: no")


@pytest.mark.parametrize(
    ("token", "value"),
    [
        (3, "-1"),
        (3, "65536"),
        (3, "1e3"),
        (3, "1_000"),
        (3, " 5"),
        (3, "٣"),
        (3, "NaN"),
        (9, "2147483648"),
        (15, "4"),
        (12, "Z"),
        (16, "991399000000x"),
        (0, "0" * 31),
        (2, "G" * 32),
        (11, "true"),
        (14, "1"),
    ],
)
def test_part_of_the_score_string_outside_its_range_is_refused(server: Server, token: int, value: str) -> None:
    played = a_pass()
    parts = played.parts()
    plain = (
        f"{played.md5}:alice:{'0' * 32}:100:0:0:0:0:0:{played.score}:100:False:X:0:True:0:{played.at}:20260711:1"
    ).split(":")
    plain[token] = value
    sealed = played.encrypted(":".join(plain))

    reply = submit(server, [(n, f, sealed if n == "score" and f is None else d) for n, f, d in parts])

    assert (reply.status, reply.body) == (200, b"error: no")


def test_score_string_of_seventeen_parts_is_refused(server: Server) -> None:
    played = a_pass()
    sealed = played.encrypted(":".join(["x"] * 17))

    parts = [(n, f, sealed if n == "score" and f is None else d) for n, f, d in played.parts()]

    assert submit(server, parts).body == b"error: no"


@pytest.mark.parametrize(
    "played",
    [
        Played(SONG.md5, "nobody"),
        Played(SONG.md5, "alice", password="wrong horse 7"),
        Played(SONG.md5, "x" * 80),
        Played(SONG.md5, "alice\x00"),
    ],
)
def test_wrong_name_or_password_gets_error_pass(server: Server, played: Played) -> None:
    assert submit(server, played).body == b"error: pass"


def test_player_without_a_session_gets_503_and_can_retry(server: Server) -> None:
    played = a_pass("iris")

    reply = submit(server, played)

    assert (reply.status, reply.body, reply.headers["retry-after"]) == (503, b"", "5")
    log_in(server, "iris")
    assert submit(server, played).body.startswith(b"beatmapId:")


def test_wrong_checksum_and_changed_map_are_refused_and_flagged(server: Server) -> None:
    wrong = a_pass("hugo", spoil_checksum=True)
    changed = a_pass("hugo", on_disk="f" * 32)

    assert submit(server, wrong).body == b"error: no"
    assert submit(server, changed).body == b"error: no"

    assert scores_of(server, wrong) == scores_of(server, changed) == []
    assert {"checksum", "beatmap hash"} <= set(flags_of(server, "hugo"))


def cut_frames() -> bytes:
    text = b"0|256|-500|0,16|1|2|5,16|1|2,"
    return lzma.compress(text * 20, format=lzma.FORMAT_ALONE)


@pytest.mark.parametrize(
    "replay",
    [b"", b"x" * 23, hashlib.sha256(b"noise").digest() * 3_000, lzma.compress(b"hello " * 50, lzma.FORMAT_ALONE)],
    ids=["none", "23 bytes", "noise", "words"],
)
def test_pass_with_an_unreadable_replay_is_refused(server: Server, replay: bytes) -> None:
    played = a_pass("hugo", replay=replay)

    assert submit(server, played).body == b"error: no"
    assert scores_of(server, played) == []
    assert "replay" in flags_of(server, "hugo")


def test_frames_with_three_fields_are_refused(server: Server) -> None:
    assert submit(server, a_pass("hugo", replay=cut_frames())).body == b"error: no"


def test_decompression_bomb_is_refused_while_others_are_served(server: Server) -> None:
    bomb = lzma.compress(b"16|1|2|5," * 9_000_000, format=lzma.FORMAT_ALONE)

    def submit_until_answered() -> Reply:
        """Submit it again after a 503, as the game does: the process that reads replays has a low priority."""
        deadline = Deadline(60.0)
        while (reply := submit(server, a_pass("hugo", replay=bomb))).status == 503 and not deadline.passed():
            pass
        return reply

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(submit_until_answered)
        waits = []
        while not answer.done():
            started = time.monotonic()
            assert server.get("/get_player_count").status == 200
            waits.append(time.monotonic() - started)
            time.sleep(0.02)  # leaves processor time to the process that reads the replay, which has a low priority

    assert answer.result().body == b"error: no"
    assert max(waits) < patiently(2.0)


@pytest.mark.parametrize(
    ("mods", "mode"), [(2 | 16, 0), (64 | 256, 0), (128 | 8192, 0), (2048, 0), (32768, 0), (512, 0), (1 | 32, 0)]
)
def test_impossible_mods_are_refused_and_flagged(server: Server, mods: int, mode: int) -> None:
    before = len(flags_of(server, "gina"))
    played = a_pass("gina", mods=mods, mode=mode)

    assert submit(server, played).body == b"error: no"
    assert scores_of(server, played) == []
    assert len(flags_of(server, "gina")) == before + 1


@pytest.mark.parametrize("mods", [8388608, 536870912])
def test_unranked_mods_are_refused_without_a_flag(server: Server, mods: int) -> None:
    before = flags_of(server, "gina")

    assert submit(server, a_pass("gina", mods=mods)).body == b"error: no"
    assert flags_of(server, "gina") == before


def test_impossible_counts_are_refused_and_an_odd_combo_is_flagged(server: Server) -> None:
    assert submit(server, a_pass("gina", n300=0, score=1)).body == b"error: no"
    assert submit(server, a_pass("gina", n300=101)).body == b"error: no"

    assert submit(server, a_pass("gina", combo=101)).body.startswith(b"beatmapId:")
    assert {"empty pass", "counts", "combo"} <= set(flags_of(server, "gina"))


def test_unknown_map_gets_error_beatmap(server: Server) -> None:
    assert submit(server, a_pass("gina", md5="a" * 32)).body == b"error: beatmap"


def test_times_out_of_range_are_clamped(server: Server) -> None:
    played = a_pass("gina", seconds=10**9)

    submit(server, played)

    [(elapsed,)] = read_rows(server, "SELECT time_elapsed FROM scores WHERE score = ?", played.score)
    assert elapsed <= (51 + 60) * 1000


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_disconnect_stores_the_whole_play_or_nothing(server: Server, share: float) -> None:
    played = a_pass("gina")
    body, kind = multipart(played.parts())
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: {OSU}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + body[: int(len(body) * share)])

    if share == 1.0:
        eventually(lambda: len(scores_of(server, played)) == 1)
    else:
        time.sleep(0.5)
        assert scores_of(server, played) == []
    assert '"error"' not in server.stderr.replace('"level":"error"', "")[-200:]


def test_scores_of_a_restricted_player_are_visible_only_to_that_player(server: Server) -> None:
    server.cli("users", "restrict", "hugo", "--reason", "test")
    try:
        eventually(lambda: len(poll(server, log_in_again(server, "hugo"))) >= 0)
        plays = read_rows(server, "SELECT plays, passes FROM maps WHERE md5 = ?", SONG.md5)
        played = a_pass("hugo", score=900_000)

        body = submit(server, played).body

        assert body.startswith(b"beatmapId:")
        assert read_rows(server, "SELECT plays, passes FROM maps WHERE md5 = ?", SONG.md5) == plays
        assert server.get(f"/get_score_info?id={score_id_of(body)}").status == 404
        for name, sees in (("alice", False), ("hugo", True)):
            board = web(server, "/web/osu-osz2-getscores.php", us=name, ha=password_md5(), c=SONG.md5, m=0, v=1, s=0)
            assert (b"|hugo|900000|" in board.body) == sees
    finally:
        server.cli("users", "unrestrict", "hugo")
    board = web(server, "/web/osu-osz2-getscores.php", us="alice", ha=password_md5(), c=SONG.md5, m=0, v=1, s=0)
    assert b"|hugo|900000|" in board.body, "scores of the restriction are visible after it"


def test_parts_above_their_limits_are_413(server: Server) -> None:
    for name, size in (("score", 49 * 1024), ("bmk", 9 * 1024), ("i", 4 * 1024 * 1024 + 1)):
        parts = [(n, f, b"A" * size if n == name and f is None else d) for n, f, d in a_pass().parts()]
        assert submit(server, parts).status == 413, name
    assert submit(server, a_pass(replay=bytes(10 * 1024 * 1024 + 1))).status == 413


def test_form_of_a_thousand_parts_is_refused_quickly(server: Server) -> None:
    parts: list[tuple[str, str | None, bytes]] = [("x", None, b"0")] * 1_000
    started = time.monotonic()

    assert submit(server, parts).body == b"error: no"
    assert time.monotonic() - started < patiently(2.0)
    assert submit(server, [("x" * 65_536, None, b"0")]).body == b"error: no"


def test_play_on_a_map_that_lost_its_status_has_no_rank(server: Server) -> None:
    submit(server, a_pass("bob", md5=LONE.md5, score=77_000))
    server.cli("beatmaps", "status", "--map", "300", "pending")
    try:
        body = submit(server, a_pass("bob", md5=LONE.md5, score=88_000)).body

        assert body.startswith(b"beatmapId:300|")
        assert map_chart_of(body)["rankAfter"] == ""
        assert web(server, "/web/osu-osz2-getscores.php", us="bob", ha=password_md5(), c=LONE.md5).body == b"0|false"
    finally:
        server.cli("beatmaps", "status", "--map", "300", "ranked")


def test_old_endpoint_answers_with_two_lines(server: Server) -> None:
    played = a_pass("bob", version="")
    key = b"h89f2-890h2h89b34g-h80g134n90133"

    def sealed(text: str) -> bytes:
        return base64.b64encode(RijndaelCbc(key, played.iv, Pkcs7Padding(32), 32).encrypt(text.encode()))

    text = (
        f"chickenmcnuggets100o1500smustard00uu{played.md5}100Falsebob"
        + f"{played.score}X0QTrue0{played.at}{CLIENT_HASH}"
    )
    checksum = hashlib.md5(text.encode()).hexdigest()
    plain = f"{played.md5}:bob:{checksum}:100:0:0:0:0:0:{played.score}:100:False:X:0:True:0:{played.at}:x"
    parts: list[tuple[str, str | None, bytes]] = [
        ("score", None, sealed(plain)),
        ("bmk", None, played.md5.encode()),
        ("iv", None, base64.b64encode(played.iv)),
        ("pass", None, hashlib.md5(PASSWORD.encode()).hexdigest().encode()),
        ("s", None, sealed(CLIENT_HASH)),
        ("st", None, b"50000"),
        ("score", "replay", frames()),
    ]

    reply = submit(server, parts, "/web/osu-submit-modular.php")

    lines = reply.body.decode().split("\n")
    assert len(lines) == 2, reply
    assert lines[0].startswith("beatmapId:100|")
    assert "|accuracyAfter:1.0000|" in lines[1]
    assert "|toNextRank:" in lines[1]
