"""Evidence against cheating on a real server: copies are flagged, honest plays are not, staff closes flags."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest
from tests.builders import NewMap
from tests.osu.humans import Frame, human_frames, jumps, mirrored, noisy, shifted, stream_of, thinned
from tests.patience import patiently
from tests.wire.kit import Reply, Server, eventually, run_kiai
from tests.wire.submitting import Played, log_in, prepare, read_rows, submit

from kiai.osu.mods import HR

OBJECTS: Final = 120
PLAYERS: Final = [f"player{number}" for number in range(10)]
STAFF: Final = ["owner", "moder"]
WITHIN_S: Final = 10.0

_score = itertools.count(300_000)


def a_map_of(map_id: int, objects: Sequence[str]) -> NewMap:
    lines = [
        "osu file format v14",
        "[General]",
        "Mode: 0",
        "StackLeniency: 0.7",
        "[Metadata]",
        f"Title:Song {map_id}",
        "Artist:Artist",
        "Creator:Mapper",
        "Version:Normal",
        f"BeatmapID:{map_id}",
        f"BeatmapSetID:{map_id}",
        "[Difficulty]",
        "HPDrainRate:5",
        "CircleSize:4",
        "OverallDifficulty:7",
        "ApproachRate:9",
        "SliderMultiplier:1.4",
        "SliderTickRate:1",
        "[TimingPoints]",
        "0,500,4,1,0,100,1,0",
        "[HitObjects]",
        *objects,
    ]
    return NewMap(map_id, "\r\n".join(lines).encode())


MAPS: Final = {map_id: a_map_of(map_id, jumps(OBJECTS, map_id, far=80 + 20 * map_id)) for map_id in range(1, 8)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("flags") / "data"
    prepare(data, [*STAFF, *PLAYERS], vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    for song in MAPS.values():
        (folder / f"{song.id}.osu").write_bytes(song.data)
    # Limits off: the tests together submit more plays than the limit of one address.
    server = Server(data, RATE_LIMITS="off").start()
    try:
        server.cli("beatmaps", "import", str(folder))
        server.cli("users", "grant", "owner", "developer")
        server.cli("users", "grant", "moder", "moderator")
        for name in (*STAFF, *PLAYERS):
            log_in(server, name)
        yield server
        server.stop()
        assert '"unhandled"' not in server.stderr
        assert "cannot be examined" not in server.stderr
        assert server.cli("doctor")["problems"] == []
    finally:
        server.kill()


@pytest.fixture(scope="module")
def keys(server: Server) -> dict[str, str]:
    return {name: server.cli("users", "apikey", name)["key"] for name in (*STAFF, PLAYERS[0])}


def submitted(server: Server, name: str, song: NewMap, frames: Sequence[Frame], **fields: Any) -> int:
    """Submit a pass with these frames and return the id of its score."""
    fields = {"n300": OBJECTS, "combo": OBJECTS, "score": next(_score), **fields}
    played = Played(song.md5, name, replay=stream_of(frames), **fields).sealed()
    assert submit(server, played).status == 200
    [(score_id,)] = read_rows(server, "SELECT id FROM scores WHERE score = ?", played.score)
    return int(score_id)


def flags_of(server: Server, score_id: int) -> list[tuple[str, int]]:
    sql = "SELECT kind, other_score_id FROM integrity_flags WHERE score_id = ? ORDER BY 1, 2"
    evidence = ("replay_similarity", "timewarp", "key_timing", "relax_snap", "score_counts", "combo_counts")
    return [
        (kind, other) for kind, other in read_rows(server, sql, score_id) if kind in (*evidence, "impossible_speed")
    ]


def wait_until_examined(server: Server) -> None:
    eventually(lambda: read_rows(server, "SELECT count(*) FROM unexamined_plays") == [(0,)], within_s=WITHIN_S)


def api(server: Server, key: str, method: str, path: str, body: Any = None) -> Reply:
    headers = {"Authorization": f"Bearer {key}"}
    data = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        headers["Content-Type"] = "application/json"
    return server.ask(method, f"/v2{path}", host="api.localhost", headers=headers, body=data)


DISGUISES: Final[dict[str, tuple[Callable[[Sequence[Frame]], Sequence[Frame]], int]]] = {
    "shifted": (lambda frames: shifted(frames, ms=12, x=4, y=-3), 0),
    "thinned": (thinned, 0),
    "mirrored": (mirrored, HR),
    "all of it": (lambda frames: noisy(shifted(thinned(mirrored(frames)), ms=-15, x=5), 1.0), HR),
}


def test_disguised_copy_is_flagged_within_ten_seconds(server: Server) -> None:
    song = MAPS[1]
    frames = human_frames(song.data, 1)
    original = submitted(server, PLAYERS[0], song, frames)
    wait_until_examined(server)

    for name, (disguise, mods) in zip(PLAYERS[1:], DISGUISES.values(), strict=False):
        began = time.monotonic()
        grade = "X"
        copy = submitted(server, name, song, disguise(frames), mods=mods, grade=grade)
        eventually(lambda copy=copy: ("replay_similarity", original) in flags_of(server, copy), within_s=WITHIN_S)  # type: ignore[misc]
        assert time.monotonic() - began < patiently(WITHIN_S)

    wait_until_examined(server)
    assert flags_of(server, original) == []
    sql = "SELECT figures FROM integrity_flags WHERE other_score_id = ?"
    figures = [json.loads(text) for (text,) in read_rows(server, sql, original)]
    assert all(0.75 <= one["similarity"] <= 1 and one["threshold"] == 0.75 for one in figures)


def test_honest_plays_and_own_repeats_are_not_flagged(server: Server) -> None:
    slow, fast = MAPS[2], MAPS[7]
    scores = [
        submitted(server, name, song, human_frames(song.data, 20 + number, aim_px=4 + number), n100=0)
        for song in (slow, fast)
        for number, name in enumerate(PLAYERS[:4])
    ]
    frames = human_frames(slow.data, 99)
    scores += [submitted(server, PLAYERS[5], slow, one) for one in (frames, shifted(frames, ms=5))]

    wait_until_examined(server)

    kinds = {kind for score_id in scores for kind, _ in flags_of(server, score_id)}
    assert kinds <= {"impossible_speed"}  # the plays of one player follow each other within a second


@pytest.mark.parametrize(
    ("kind", "figure", "fields", "change"),
    [
        ("timewarp", "average_frametime_ms", {}, list),
        ("score_counts", "score", {"score": 900_000_000}, list),
        ("combo_counts", "max_combo", {"nmiss": 5, "n300": OBJECTS - 5, "grade": "A", "combo": OBJECTS}, list),
    ],
)
def test_figures_and_threshold_of_each_kind(
    server: Server, kind: str, figure: str, fields: dict[str, Any], change: Callable[[Sequence[Frame]], Sequence[Frame]]
) -> None:
    song = MAPS[3]
    frames = human_frames(song.data, 30 + sum(map(ord, kind)), frame_ms=10.0 if kind == "timewarp" else 16.0)

    score_id = submitted(server, PLAYERS[sum(map(ord, kind)) % 9], song, change(frames), **fields)

    eventually(lambda: (kind, 0) in flags_of(server, score_id), within_s=WITHIN_S)
    [(text, details)] = read_rows(
        server, "SELECT figures, details FROM integrity_flags WHERE score_id = ? AND kind = ?", score_id, kind
    )
    assert {figure, "threshold"} <= set(json.loads(text))
    assert details


def test_robot_is_flagged_for_its_timing(server: Server) -> None:
    song = MAPS[4]

    score_id = submitted(server, PLAYERS[6], song, human_frames(song.data, 60, timing_ms=0.3))

    eventually(
        lambda: {"key_timing", "relax_snap"} <= {kind for kind, _ in flags_of(server, score_id)}, within_s=WITHIN_S
    )


def test_second_play_before_the_map_could_end_is_flagged(server: Server) -> None:
    song = MAPS[5]
    submitted(server, PLAYERS[7], song, human_frames(song.data, 70))

    score_id = submitted(server, PLAYERS[7], song, human_frames(song.data, 71))

    eventually(lambda: ("impossible_speed", 0) in flags_of(server, score_id), within_s=WITHIN_S)


def test_closed_flag_is_not_raised_again_and_scan_raises_nothing_twice(server: Server, keys: dict[str, str]) -> None:
    song = MAPS[6]
    frames = human_frames(song.data, 80)
    original = submitted(server, PLAYERS[0], song, frames)
    copy = submitted(server, PLAYERS[1], song, shifted(frames, x=3))
    eventually(lambda: ("replay_similarity", original) in flags_of(server, copy), within_s=WITHIN_S)
    listed = server.cli("flags", "list", "--user", PLAYERS[1], "--kind", "replay_similarity")
    [flag] = [one for one in listed["flags"] if one["score_id"] == copy]
    assert flag["other_score_id"] == original
    assert flag["player"]["name"] == PLAYERS[1]
    assert (flag["state"], flag["verdict"], flag["closed_by"]) == ("open", None, None)

    closed = server.cli("flags", "close", str(flag["id"]), "--verdict", "clean", "--text", "a friend's replay")
    before = read_rows(server, "SELECT count(*) FROM integrity_flags")
    scanned = server.cli("flags", "scan", "--map", str(song.id))

    assert (closed["state"], closed["verdict"]) == ("closed", "clean")
    assert scanned == {"scanned": 2, "raised": 0}
    assert read_rows(server, "SELECT count(*) FROM integrity_flags") == before
    rows = read_rows(server, "SELECT actor_id, source, reason FROM audit_log WHERE action = 'flag_close' ORDER BY id")
    assert rows[-1] == (0, "cli", "a friend's replay")
    again = refused(server, "flags", "close", str(flag["id"]), "--verdict", "cheating")
    assert "already closed" in again
    assert api(server, keys["moder"], "POST", f"/flags/{flag['id']}/close", {"verdict": "clean"}).status == 409
    found = json.loads(api(server, keys["moder"], "GET", "/flags?state=closed&kind=replay_similarity").body)
    assert flag["id"] in [one["id"] for one in found["data"]]


def test_scan_finds_what_nobody_has_examined(server: Server) -> None:
    song = MAPS[6]
    frames = human_frames(song.data, 85)
    submitted(server, PLAYERS[2], song, frames)
    copy = submitted(server, PLAYERS[3], song, thinned(frames))
    wait_until_examined(server)
    flags_before = flags_of(server, copy)
    assert flags_before
    run_sql(server, f"DELETE FROM integrity_flags WHERE score_id = {copy}")

    report = server.cli("flags", "scan", "--user", PLAYERS[3])

    assert report["raised"] >= 1
    assert flags_of(server, copy) == flags_before


def refused(server: Server, *arguments: str) -> str:
    """Run a command that must be refused and return its sentence."""
    found = run_kiai(server.data, *arguments)
    assert found.returncode == 1, found
    assert found.stderr.count("\n") == 1
    return found.stderr


def run_sql(server: Server, sql: str) -> None:
    from tests import stores

    with stores.engine(server.data).begin() as connection:
        connection.exec_driver_sql(sql)


def test_wrong_arguments_are_refused_in_one_sentence(server: Server) -> None:
    assert "flag not found" in refused(server, "flags", "close", "999999", "--verdict", "clean")
    assert "verdict must be cheating, clean or unclear" in refused(server, "flags", "close", "1", "--verdict", "guilty")
    assert "state must be" in refused(server, "flags", "list", "--state", "new")
    assert "kind must be" in refused(server, "flags", "list", "--kind", "aimbot")
    assert "not found" in refused(server, "flags", "list", "--user", "nobody here")
    assert "map not found" in refused(server, "flags", "scan", "--map", "987654")


def test_api_needs_a_key_of_staff_and_names_wrong_fields(server: Server, keys: dict[str, str]) -> None:
    moder, player = keys["moder"], keys[PLAYERS[0]]
    assert server.ask("GET", "/v2/flags", host="api.localhost").status == 401
    assert api(server, player, "GET", "/flags").status == 403
    assert api(server, player, "POST", "/flags/1/close", {"verdict": "clean"}).status == 403
    assert api(server, moder, "POST", "/flags/999999/close", {"verdict": "clean"}).status == 404
    for body, field in (
        ({}, "verdict"),
        ({"verdict": "guilty"}, "verdict"),
        ({"verdict": "clean", "why": "x"}, "why"),
        ({"verdict": "clean", "text": 3}, "text"),
        ({"verdict": "clean", "text": "x" * 501}, "text"),
    ):
        reply = api(server, moder, "POST", "/flags/1/close", body)
        assert reply.status == 422, body
        assert field in reply.body.decode()
    for query in ("state=new", "kind=aimbot", "player_id=0", "color=1"):
        assert api(server, moder, "GET", f"/flags?{query}").status == 422, query
