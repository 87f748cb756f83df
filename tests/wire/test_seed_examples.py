"""Every success example of the Bancho.PY API documentation v4.3.2, reproduced key by key from rows with its values."""

import asyncio
import json
import lzma
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import osrparse
import pytest
from tests import stores
from tests.in_process import asgi
from tests.wire.kit import API, Reply, Server
from tests.wire.rows import Rows

from kiai.app import Services, open_services
from kiai.logs import AccessLog
from kiai.multiplayer.match import Match, Slot
from kiai.realtime.port import Session, Status
from kiai.server import HttpServer
from kiai.storage.tables import matches

EXAMPLES: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "seed.json").read_text("utf-8"))
LOGIN: Final = 1_619_577_679_848  # the document's 1619577679.8482022, to the millisecond


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """The empty database of `server`."""
    created = Rows(tmp_path_factory.mktemp("seed") / "data")
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(rows: Rows) -> Iterator[Server]:
    """A server with player 3 of the document, with the ranks of the document."""
    add_ranked_player_3(rows)
    started = Server(rows.data)
    try:
        yield started.start()
        started.stop()
    finally:
        started.kill()


def add_ranked_player_3(rows: Rows) -> None:
    """Add the document's player with its statistics, and as many better players as its ranks require."""
    shown = EXAMPLES["get_player_info all"]["player"]
    add_player_3(rows)
    for mode, profile in shown["stats"].items():
        if mode == "8":
            continue  # has pp and no rank in the document: this profile arrives when the ranks are loaded
        values = {name: value for name, value in profile.items() if name not in ("rank", "country_rank")}
        rows.profile(3, int(mode), "nl", **values)
        for better in range(1, profile["rank"]):
            at_home = better < profile["country_rank"]
            country, other = ("nl", 100 + better) if at_home else ("de", 200 + better)
            rows.player(other, f"Better {other}", country=country)
            rows.profile(other, int(mode), country, pp=profile["pp"] + better)


def add_player_3(rows: Rows, name: str = "User") -> None:
    """Add the document's player."""
    rows.clan(1, "Clan Name", "ClanTag", 3)
    rows.player(3, name, safe_name=name, country="nl", clan_id=1, clan_priv=3, active_at_ms=1_653_680_340_000)


def assert_contains(expected: Any, actual: Any, where: str = "$") -> None:
    """Check that every documented key exists with the same JSON type and value. Further keys are allowed."""
    assert type(actual) is type(expected), f"{where}: {actual!r} is no {type(expected).__name__}"
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert name in actual, f"{where}.{name} is missing"
            assert_contains(value, actual[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), where
        for at, value in enumerate(expected):
            assert_contains(value, actual[at], f"{where}[{at}]")
    else:
        assert actual == expected, f"{where}: {actual!r} is not {expected!r}"


def assert_equals_example(reply: Reply, example: str) -> None:
    """Check that the response contains the document's example."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert_contains(EXAMPLES[example], reply.json)


# --- responses that depend only on the database: a real server


def test_get_player_info_returns_the_account(server: Server) -> None:
    reply = server.get("/get_player_info?id=3&scope=info")

    assert_equals_example(reply, "get_player_info info")
    assert "stats" not in reply.json["player"]


def test_get_player_info_returns_the_stats_of_eight_modes_with_ranks(server: Server, rows: Rows) -> None:
    shown = EXAMPLES["get_player_info all"]["player"]["stats"]["8"]
    rows.profile(3, 8, "nl", **{name: shown[name] for name in shown if name not in ("rank", "country_rank")})

    everything = server.get("/get_player_info?id=3&scope=all")
    stats = server.get("/get_player_info?id=3&scope=stats")

    assert_equals_example(everything, "get_player_info all")
    assert list(everything.json["player"]["stats"]) == ["0", "1", "2", "3", "4", "5", "6", "8"]
    assert list(stats.json["player"]) == ["stats"]
    assert stats.json["player"]["stats"] == everything.json["player"]["stats"]


def test_get_player_status_of_an_offline_player_returns_the_time_last_seen(server: Server) -> None:
    assert_equals_example(server.get("/get_player_status?id=3"), "get_player_status offline")


@pytest.mark.parametrize(
    "query", ["id=3&scope=recent", "id=3&scope=recent&mods=vn&mode=0", "id=3&scope=recent&limit=1"]
)
def test_get_player_scores_returns_scores_with_their_maps_and_player(server: Server, rows: Rows, query: str) -> None:
    [score] = EXAMPLES["get_player_scores"]["scores"]
    rows.map(score["beatmap"])
    rows.score(47, 3, score["beatmap"]["id"], score)
    add_player_3(rows, "User 1")

    reply = server.get(f"/get_player_scores?{query}")
    add_player_3(rows)

    assert_equals_example(reply, "get_player_scores")


def test_documented_request_for_scores_selects_mania(server: Server) -> None:
    reply = server.get("/get_player_scores?id=3&scope=recent&mods=vn&mode=3")

    assert (reply.status, reply.json["scores"]) == (200, [])


def test_get_player_most_played_returns_maps(server: Server, rows: Rows) -> None:
    [shown] = EXAMPLES["get_player_most_played"]["maps"]
    played_map = EXAMPLES["get_map_info"]["map"] | {name: shown[name] for name in shown if name != "plays"}
    rows.map(played_map, mode=3)
    rows.played(3, 3, shown["id"], shown["plays"])

    reply = server.get("/get_player_most_played?id=3&mods=vn&mode=3&limit=6")

    assert_equals_example(reply, "get_player_most_played")


@pytest.mark.parametrize("query", ["id=1172819", "md5=4a4bc3bdb6d951512db592994b08cfc7"])
def test_get_map_info_returns_a_map(server: Server, rows: Rows, query: str) -> None:
    rows.map(EXAMPLES["get_map_info"]["map"])

    assert_equals_example(server.get(f"/get_map_info?{query}"), "get_map_info")


@pytest.mark.parametrize("scope", ["best", "recent"])
def test_get_map_scores_returns_scores_with_their_players(server: Server, rows: Rows, scope: str) -> None:
    [shown] = EXAMPLES["get_map_scores"]["scores"]
    rows.map(EXAMPLES["get_map_info"]["map"] | {"id": 2_000_001, "md5": shown["map_md5"]})
    rows.player(shown["userid"], shown["player_name"])
    rows.score(9001, shown["userid"], 2_000_001, shown)

    reply = server.get(f"/get_map_scores?id=2000001&scope={scope}")

    assert_equals_example(reply, "get_map_scores")


def test_get_map_scores_returns_the_clans_of_players(server: Server, rows: Rows) -> None:
    [shown] = EXAMPLES["get_map_scores"]["scores"]
    rows.map(EXAMPLES["get_map_info"]["map"] | {"id": 2_000_002, "md5": "2" * 32})
    rows.score(9002, 3, 2_000_002, shown)

    [line] = server.get("/get_map_scores?id=2000002&scope=best").json["scores"]

    assert (line["clan_id"], line["clan_name"], line["clan_tag"]) == (1, "Clan Name", "ClanTag")


def test_get_score_info_returns_a_score(server: Server, rows: Rows) -> None:
    shown = EXAMPLES["get_score_info"]["score"]
    rows.map(EXAMPLES["get_map_info"]["map"] | {"id": 2_000_003, "md5": shown["map_md5"]})
    rows.score(1731, 3, 2_000_003, shown)

    assert_equals_example(server.get("/get_score_info?id=1731"), "get_score_info")


def test_get_replay_returns_the_file_or_only_its_frames(server: Server, rows: Rows) -> None:
    shown = EXAMPLES["get_score_info"]["score"]
    rows.map(EXAMPLES["get_map_info"]["map"] | {"id": 2_000_004, "md5": "4" * 32})
    rows.score(1732, 3, 2_000_004, shown, client_version=20220324)
    frames = lzma.compress(b"0|256|192|0,16|300|200|1,-12345|0|0|7,", format=lzma.FORMAT_ALONE)
    rows.replay(1732, frames)

    whole = server.get("/get_replay?id=1732")
    bare = server.get("/get_replay?id=1732&include_headers=false")

    assert (whole.status, bare.status) == (200, 200)
    assert whole.headers["content-type"] == bare.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-disposition"].startswith("attachment; filename=")
    assert bare.body == frames
    replay = osrparse.Replay.from_string(whole.body)
    judged = (replay.count_300, replay.count_100, replay.count_50, replay.count_geki, replay.count_katu)
    assert (replay.username, replay.beatmap_hash, judged) == ("User", "4" * 32, (14, 1, 0, 6, 1))
    assert (replay.score, replay.max_combo, replay.count_miss) == (29168, 48, 0)
    assert (replay.game_version, replay.replay_id) == (20220324, 1732)
    life_bar = whole.body.index(frames) - 14
    assert whole.body[life_bar : life_bar + 2] == b"\x0b\0"  # an empty string, not the null string


@pytest.mark.parametrize(
    ("score_id", "version", "written", "written_id"),
    [
        (1740, 30000016, 20220324, 1740),
        (1741, 0, 20220324, 1741),
        (1742, 20130319, 20130319, 1742),
        (3_070_000_000_000_000_005, 20130319, 20130319, 0),
        (3_070_000_000_000_000_006, 20220324, 20220324, 3_070_000_000_000_000_006),
    ],
)
def test_get_replay_uses_the_layout_of_the_version_in_the_file(
    server: Server, rows: Rows, score_id: int, version: int, written: int, written_id: int
) -> None:
    shown = EXAMPLES["get_score_info"]["score"]
    map_key = 2_000_010 + score_id % 10
    rows.map(EXAMPLES["get_map_info"]["map"] | {"id": map_key, "md5": f"{map_key:032x}"})
    rows.score(score_id, 3, map_key, shown, client_version=version, play_time_ms=1_648_080_000_000)
    frames = lzma.compress(b"0|256|192|0,16|300|200|1,-12345|0|0|%d," % (score_id % 10), format=lzma.FORMAT_ALONE)
    rows.replay(score_id, frames)

    reply = server.get(f"/get_replay?id={score_id}")

    assert reply.status == 200
    replay = osrparse.Replay.from_string(reply.body)
    assert (replay.game_version, replay.replay_id, len(replay.replay_data)) == (written, written_id, 2)
    assert len(reply.body) == reply.body.index(frames) + len(frames) + (4 if written == 20130319 else 8)


def test_get_match_without_an_open_match_is_not_found(server: Server) -> None:
    reply = server.get("/get_match?id=1")

    assert (reply.status, reply.json) == (404, EXAMPLES["get_match not found"])


# --- responses that depend on sessions and matches: the same application in this process

Act = Callable[[Services], Awaitable[None]]


def response_after(folder: Path, path: str, act: Act) -> Reply:
    """Return the response of a server in this process, after `act` has prepared its state."""

    settings = stores.settings(folder, rate_limits=False)

    async def main() -> Reply:
        async with open_services(settings) as services:
            log = AccessLog("json")
            front = asgi(HttpServer(services, log).front)
            await act(services)
            transport = httpx.ASGITransport(front)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{API}") as client:
                answer = await client.get(path)
            log.close()
            return Reply(answer.status_code, dict(answer.headers), answer.content)

    return asyncio.run(main())


def session(
    user_id: int, status: Status, *, token: str = "", hidden: bool = False, tournament: bool = False
) -> Session:
    """Return a session with the login time of the document."""
    return Session(
        token=token or f"token of {user_id}",
        user_id=user_id,
        login_time_ms=LOGIN,
        status=status,
        hidden=hidden,
        tournament=tournament,
    )


def test_get_player_count_returns_players_online_and_registered(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "data")
    add_player_3(rows)
    rows.registered(12)
    rows.close()

    async def act(services: Services) -> None:
        await services.realtime.open_session(session(3, Status()))
        await services.realtime.open_session(session(3, Status(), token="tournament", tournament=True))
        await services.realtime.open_session(session(4, Status(), hidden=True))

    assert_equals_example(response_after(tmp_path / "data", "/get_player_count", act), "get_player_count")


@pytest.mark.parametrize("example", ["get_player_status online", "get_player_status watching"])
def test_get_player_status_returns_the_status(tmp_path: Path, example: str) -> None:
    shown = EXAMPLES[example]["player_status"]["status"]
    beatmap = shown["beatmap"]
    rows = Rows(tmp_path / "data")
    add_player_3(rows)
    if beatmap is not None:
        rows.map(beatmap)
    rows.close()
    status = Status(
        action=shown["action"],
        info_text=shown["info_text"],
        map_md5="" if beatmap is None else beatmap["md5"],
        map_id=0 if beatmap is None else beatmap["id"],
        mods=shown["mods"],
        mode=shown["mode"],
    )

    reply = response_after(
        tmp_path / "data", "/get_player_status?id=3", lambda s: s.realtime.open_session(session(3, status))
    )

    answered = reply.json["player_status"]
    example_status = EXAMPLES[example]["player_status"]
    assert isinstance(answered["login_time"], float)
    assert answered["login_time"] == pytest.approx(example_status["login_time"], abs=0.001)
    assert_contains({name: example_status[name] for name in example_status if name != "login_time"}, answered)
    assert (reply.status, reply.json["status"], "last_seen" in answered) == (200, "success", False)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status(map_md5="f" * 32, map_id=1_172_819), 1_172_819),
        (Status(map_id=1_172_819), 1_172_819),
        (Status(map_md5="4a4bc3bdb6d951512db592994b08cfc7"), 1_172_819),
        (Status(map_md5="f" * 32, map_id=99), None),
        (Status(map_md5="f" * 32), None),
    ],
)
def test_get_player_status_finds_the_map_by_md5_or_id_or_is_null(
    tmp_path: Path, status: Status, shown: int | None
) -> None:
    rows = Rows(tmp_path / "data")
    add_player_3(rows)
    rows.map(EXAMPLES["get_map_info"]["map"])
    rows.close()

    reply = response_after(
        tmp_path / "data", "/get_player_status?id=3", lambda s: s.realtime.open_session(session(3, status))
    )

    beatmap = reply.json["player_status"]["status"]["beatmap"]
    assert (beatmap and beatmap["id"]) == shown


@pytest.mark.parametrize("mode", [0, 3, 6, 8])
def test_get_player_status_returns_mode_and_mods_of_the_game_client(tmp_path: Path, mode: int) -> None:
    rows = Rows(tmp_path / "data")
    add_player_3(rows)
    rows.close()

    async def act(services: Services) -> None:
        await services.realtime.open_session(session(3, Status(mode=0, mods=4), token="tournament", tournament=True))
        await services.realtime.open_session(session(3, Status(action=2, mode=mode, mods=72), token="game"))

    reply = response_after(tmp_path / "data", "/get_player_status?id=3", act)

    status = reply.json["player_status"]["status"]
    assert (status["action"], status["mode"], status["mods"]) == (2, mode, 72)


def test_get_player_status_returns_mode_4_for_an_unknown_mode(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "data")
    add_player_3(rows)
    rows.close()
    playing = session(3, Status(mode=None))

    reply = response_after(tmp_path / "data", "/get_player_status?id=3", lambda s: s.realtime.open_session(playing))

    assert reply.json["player_status"]["status"]["mode"] == 4


def document_match(**values: Any) -> Match:
    """Return the document's match."""
    shown = EXAMPLES["get_match"]["match"]
    slots = [Slot()] * 16
    for seat, slot in shown["active_slots"].items():
        person = slot["player"]
        slots[int(seat)] = Slot(status=slot["status"], player_id=person["id"], player_name=person["name"])
    match = {
        "name": shown["name"],
        "mode": shown["mode"],
        "mods": shown["mods"],
        "seed": shown["seed"],
        "host_id": shown["host"]["id"],
        "host_name": shown["host"]["name"],
        "referees": tuple((ref["id"], ref["name"]) for ref in shown["refs"]),
        "map_id": shown["map"]["id"],
        "map_md5": shown["map"]["md5"],
        "map_name": shown["map"]["name"],
        "slots": tuple(slots),
        "history_id": 1,
    }
    return Match(**match | values)


def response_with_match(folder: Path, match: Match, path: str = "/get_match?id=1", **other: Any) -> Reply:
    """Return the response while `match` is open and player 5 has the values `other`."""
    rows = Rows(folder)
    add_player_3(rows)
    rows.player(5, "User 2", **other)
    row = {"name": match.name, "private": 0, "by_command": 0, "created_by": 3, "created_at_ms": LOGIN}
    rows.put(matches, {"id": match.history_id, "room": 1} | row)
    rows.close()

    async def act(services: Services) -> None:
        assert await services.realtime.open_match(match) == 1

    return response_after(folder, path, act)


def test_get_match_returns_an_open_match(tmp_path: Path) -> None:
    reply = response_with_match(tmp_path / "data", document_match())

    assert_equals_example(reply, "get_match")
    assert list(reply.json["match"]["active_slots"]) == ["0", "1"]


def test_get_match_names_all_of_many_referees(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "data")
    for user_id in range(5, 65):
        rows.player(user_id, f"Ref {user_id}")
    rows.close()
    referees = tuple((user_id, f"Ref {user_id}") for user_id in range(5, 65))

    reply = response_with_match(tmp_path / "data", document_match(referees=referees))

    assert reply.json["match"]["host"] == {"id": 3, "name": "User"}
    assert [ref["id"] for ref in reply.json["match"]["refs"]] == list(range(5, 65))
    assert reply.json["match"]["active_slots"]["1"]["player"] is not None


def test_get_match_never_contains_a_password(tmp_path: Path) -> None:
    reply = response_with_match(tmp_path / "data", document_match(password="open sesame"))

    assert reply.json["match"]["has_password"] is True
    assert b"sesame" not in reply.body


@pytest.mark.parametrize("path", ["/get_match?id=1", "/v2/matches/1", "/v2/matches"])
def test_hidden_player_has_no_name_in_a_match(tmp_path: Path, path: str) -> None:
    match = document_match(referees=((5, "User 2"),), host_id=5, host_name="User 2")

    reply = response_with_match(tmp_path / "data", match, path, priv=2)

    assert b"User 2" not in reply.body
    found = reply.json.get("data", reply.json)
    found = (found[0] if isinstance(found, list) else found)["match"]
    assert (found["host"], found["refs"]) == (None, [])
    assert found["active_slots"]["1"] | {"player": None} == found["active_slots"]["1"]
    assert found["active_slots"]["1"]["status"] == 16
