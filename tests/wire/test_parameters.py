"""Parameters of every version 1 endpoint: a table of requests, status codes and texts, and the selected entries."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.patience import patiently
from tests.wire.kit import Reply, Server
from tests.wire.rows import Rows
from tests.wire.world import (
    BEST,
    BRACKETS,
    CIRCLES,
    FAILED,
    FRAMES,
    HIDDEN,
    HIDDENS,
    LOST_REPLAY,
    LOVED,
    PENDING,
    PLAYER,
    RANKED,
    RELAXED,
    REPLACED_MD5,
    SPACED,
    TAIKO,
    World,
)

pytestmark = pytest.mark.any_store

LONG: Final = "9" * 400
JSON: Final = "application/json; charset=utf-8"
EMOJI: Final = "%F0%9F%98%80"

OF_A_PLAYER: Final = {
    "/get_player_info": "scope=all",
    "/get_player_status": "",
    "/get_player_scores": "scope=best",
    "/get_player_most_played": "mode=0",
}
OF_A_MAP: Final = {"/get_map_info": "", "/get_map_scores": "scope=best"}
WITH_MODE: Final = ("/get_player_scores?id=3&scope=best", "/get_player_most_played?id=3", "/get_leaderboard?sort=pp")
WITH_LIMIT: Final = (*WITH_MODE, f"/get_map_scores?id={RANKED}&scope=best")

Record = tuple[str, int, str]


def of_players() -> Iterator[Record]:
    """Requests with ids and names of players."""
    either = "Must provide either id OR name!"
    for path, rest in OF_A_PLAYER.items():
        start = f"{path}?{rest}&" if rest else f"{path}?"
        yield start + "x=1", 400, either
        yield start + "id=3&name=Player", 400, either
        yield start + "id=", 400, "id must be a whole number from 3 to 2147483647"
        yield start + "id=3&id=3", 400, "id must be given once"
        yield start + "name=Player&name=Player", 400, "name must be given once"
        for wrong in (
            "abc",
            "-1",
            "3.0",
            "1e3",
            "%2B3",
            "%203",
            "0x3",
            "2147483648",
            str(2**63),
            LONG,
            "%00",
            "%D9%A3",
        ):
            yield start + f"id={wrong}", 400, "id must be a whole number from 3 to 2147483647"
        yield start + "id=0", 400, "id must be a whole number from 3 to 2147483647"
        yield start + "id=2", 400, "id must be a whole number from 3 to 2147483647"
        yield start + "id=1", 404, "Player not found."  # the bot
        yield start + "name=BanchoBot", 404, "Player not found."
        yield start + "id=2147483647", 404, "Player not found."
        yield start + "id=0000000003", 200, "success"
        for name in ("16characterslong", "%25", "x", "", "a%27b", "%22%3E%3Cscript%3E", EMOJI, "a%00b", "pl%ff", "a*"):
            yield start + f"name={name}", 400, "name must be a name of 2 to 15 characters"
        for name in ("Player", "player", "PLAYER", "Spaced%20Name", "spaced_name", "Spaced+Name", "under_score",
                     "under%20score", "%5BToy%5D-x", "[toy]-x"):  # fmt: skip
            yield start + f"name={name}", 200, "success"
        for name in ("__", "pla_er", "Nobody%20here", "null"):
            yield start + f"name={name}", 404, "Player not found."


def of_maps() -> Iterator[Record]:
    """Requests with ids and md5s of maps."""
    either = "Must provide either id or md5!"
    for path, rest in OF_A_MAP.items():
        start = f"{path}?{rest}&" if rest else f"{path}?"
        yield start + "x=1", 400, either
        for wrong in ("", "abc", "-1", "0", "1.0", "+1", "2147483648", LONG):
            yield start + f"id={wrong}", 400, "id must be a whole number from 1 to 2147483647"
        yield start + "id=1&id=1", 400, "id must be given once"
        for wrong in ("", "abc", "g" * 32, "0" * 31, "0" * 33, "%00" * 32):
            yield start + f"md5={wrong}", 400, "md5 must be an md5 of 32 hexadecimal digits"
        yield start + f"md5={RANKED:032x}&md5={RANKED:032x}", 400, "md5 must be given once"
        yield start + f"md5={RANKED:032X}", 200, "success"
        yield start + f"id={RANKED}&md5={'f' * 32}", 200, "success"  # the id wins
        yield start + f"id=999&md5={RANKED:032x}", 404, "Map not found."
        yield start + "id=2147483647", 404, "Map not found."
        yield start + f"md5={'f' * 32}", 404, "Map not found."
        yield start + f"md5={REPLACED_MD5}", 200, "success"  # a replaced revision is still known by its md5


def scopes_modes_limits() -> Iterator[Record]:
    """Requests with scopes, limits, modes, mods and offsets."""
    yield "/get_player_info?id=3", 400, "scope is required: one of"
    yield "/get_player_info?id=3&scope=foo", 400, "scope must be one of"
    yield "/get_player_info?id=3&scope=all&scope=all", 400, "scope must be given once"
    for path in ("/get_player_scores?id=3", f"/get_map_scores?id={RANKED}"):
        yield path, 400, "scope is required: one of best, recent"
        for wrong in ("foo", "", "BEST", "all"):
            yield f"{path}&scope={wrong}", 400, "scope must be one of best, recent"
    for path in (*WITH_MODE, f"/get_map_scores?id={RANKED}&scope=recent"):
        for wrong in ("9", "10", "11", "12", "-1", "x", "", "00", "+1", "rx!mania", "ap!taiko", "%00", "%D9%A3", "1.0"):
            yield f"{path}&mode={wrong}", 400, "Invalid gamemode."
        yield f"{path}&mode={'x' * 99}", 400, ""
        yield f"{path}&mode=0&mode=0", 400, "mode must be given once"
        for mode in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "vn!std", "vn!taiko", "vn!catch", "vn!mania",
                     "rx!std", "rx!taiko", "rx!catch", "ap!std", "VN!STD"):  # fmt: skip
            yield f"{path}&mode={mode}", 200, "success"
        for mode, mods in (("0", "vn"), ("3", "vn"), ("0", "rx"), ("2", "rx"), ("0", "ap"), ("4", "rx"), ("8", "ap")):
            yield f"{path}&mode={mode}&mods={mods}", 200, "success"
        for mode, mods in (("3", "rx"), ("1", "ap"), ("2", "ap"), ("3", "ap")):
            yield f"{path}&mode={mode}&mods={mods}", 400, "Invalid gamemode."
    for path in WITH_LIMIT:
        for wrong in ("0", "101", "1e9", "-1", "", "abc", "1.0", LONG):
            yield f"{path}&limit={wrong}", 400, "limit must be a whole number from 1 to 100"
        for wrong in ("-1", "1000001", "x", LONG):
            yield f"{path}&offset={wrong}", 400, "offset must be a whole number from 0 to 1000000"
        for right in ("1", "100"):
            yield f"{path}&limit={right}", 200, "success"
        for right in ("0", "1000000"):
            yield f"{path}&offset={right}", 200, "success"
        yield f"{path}&limit=1&limit=1", 400, "limit must be given once"
    for path in ("/get_player_scores?id=3&scope=best", f"/get_map_scores?id={RANKED}&scope=best"):
        for right in ("HDDT", "hddt", "~HDHR", "%3D72", "72", "0", "NM", "~0"):
            yield f"{path}&mods={right}", 200, "success"
        for wrong in ("HDX", "XX", "-1", "99999999999", "H", EMOJI, "vn!std", "%3D~72", "~~8"):
            yield f"{path}&mods={wrong}", 400, "mods must be vn, rx, ap, a number, or mods in letters"
        yield f"{path}&mods=HD&mods=DT", 400, "mods must be given once"
    for flag in ("include_loved", "include_failed"):
        for right in ("true", "false", "1", "0", "True", "FALSE"):
            yield f"/get_player_scores?id=3&scope=best&{flag}={right}", 200, "success"
        for wrong in ("maybe", "2", "", "yes", "null"):
            yield f"/get_player_scores?id=3&scope=best&{flag}={wrong}", 400, f"{flag} must be true, false, 1 or 0"


def by_id() -> Iterator[Record]:
    """Requests to endpoints that need only an id."""
    for path, what, known in (
        ("/get_match", "Match", None),
        ("/get_clan", "Clan", 1),
        ("/get_mappool", "Mappool", 1),
    ):
        yield path, 400, "id is required: a whole number from 1 to 2147483647"
        for wrong in ("", "0", "-1", "abc", "2147483648", "1.0", LONG, "%00"):
            yield f"{path}?id={wrong}", 400, "id must be a whole number from 1 to 2147483647"
        yield f"{path}?id=1&id=1", 400, "id must be given once"
        yield f"{path}?id=2147483647", 404, f"{what} not found."
        if known is not None:
            yield f"{path}?id={known}", 200, "success"
    yield "/get_mappool?id=2", 404, "Mappool not found."  # not published
    for path in ("/get_score_info", "/get_replay"):
        yield path, 400, "id is required: a whole number from 0 to 9223372036854775807"
        for wrong in ("", "-1", "abc", "1.0", str(2**63), LONG, "%00"):
            yield f"{path}?id={wrong}", 400, "id must be a whole number from 0 to 9223372036854775807"
        for unknown in ("0", str(2**63 - 1), "999999"):
            yield f"{path}?id={unknown}", 404, "Score not found."
        yield f"{path}?id={HIDDENS}", 404, "Score not found."
        yield f"{path}?id={BEST}&id={BEST}", 400, "id must be given once"
    yield f"/get_score_info?id={FAILED}", 200, "success"
    yield f"/get_replay?id={BEST}&include_headers=maybe", 400, "include_headers must be true, false, 1 or 0"
    yield f"/get_replay?id={FAILED}", 404, "Replay not found."
    yield f"/get_replay?id={LOST_REPLAY}", 404, "Replay not found."
    yield f"/get_replay?id={LOST_REPLAY}&include_headers=0", 404, "Replay not found."
    yield f"/get_replay?id={HIDDENS}&include_headers=false", 404, "Score not found."


def lists() -> Iterator[Record]:
    """Requests to search_players, get_leaderboard and unknown endpoints."""
    yield "/search_players", 400, "q is required: a text of 2 to 32 characters"
    for wrong in ("", "a", "a" * 33):
        yield f"/search_players?q={wrong}", 400, "q must be a text of 2 to 32 characters"
    yield "/search_players?q=ab&q=cd", 400, "q must be given once"
    for right in ("pl", "%25%25", "__", "%27--", EMOJI * 2, "a%00b"):
        yield f"/search_players?q={right}", 200, "success"
    for sort in ("pp", "tscore", "rscore", "acc", "plays", "playtime"):
        yield f"/get_leaderboard?sort={sort}", 200, "success"
    for wrong in ("", "id", "pp;drop", "PP"):
        yield f"/get_leaderboard?sort={wrong}", 400, "sort must be one of acc, plays, playtime, pp, rscore, tscore"
    for wrong in ("", "n", "nld", "n1", EMOJI):
        yield f"/get_leaderboard?country={wrong}", 400, "country must be a country of two letters"
    for right in ("nl", "NL", "zz"):
        yield f"/get_leaderboard?country={right}", 200, "success"
    yield "/get_player_count", 200, "success"
    yield "/get_player_count?id=abc&id=2", 200, "success"  # unknown parameters are ignored
    yield "/get_map_info?id=1001&_=1700000000&foo=bar&foo=bar", 200, "success"
    yield "/get_player_info?id=3&scope=info&limit=9999&%00=1", 200, "success"
    for path in ("/", "/nothing", "/get_player_infos", "/get_player_info/3", "/v3/players", "/GET_PLAYER_COUNT"):
        yield path, 404, "Unknown endpoint"


TABLE: Final = [*of_players(), *of_maps(), *scopes_modes_limits(), *by_id(), *lists()]
GROUPS: Final = sorted({re.split(r"[?]", path)[0] for path, _, _ in TABLE})


def problem(reply: Reply, status: int, words: str) -> str | None:
    """Describe what is wrong with a response of version 1, or return None."""
    if reply.status != status:
        return f"is {reply.status} {reply.body[:200]!r}, not {status}"
    if status == 200:
        is_success = reply.headers.get("content-type") == JSON and reply.json["status"] == "success"
        return None if is_success else f"is no success: {reply.headers.get('content-type')} {reply.body[:200]!r}"
    if reply.headers.get("content-type") != JSON or list(reply.json) != ["status"]:
        return f"is no error object: {reply.headers.get('content-type')} {reply.body[:200]!r}"
    sentence = reply.json["status"]
    if words not in sentence:
        return f"says {sentence!r} without {words!r}"
    if not sentence.endswith((".", "!")) or len(sentence) > 300:
        return f"is no sentence: {sentence!r}"
    return None


@pytest.mark.parametrize("group", GROUPS)
def test_every_request_of_the_table_gets_the_expected_response(world: World, group: str) -> None:
    records = [record for record in TABLE if record[0].split("?")[0] == group]

    found = [(path, problem(world.server.get(path), status, words)) for path, status, words in records]

    assert [(path[:120], what) for path, what in found if what is not None] == []


CALCULATE: Final[list[Record]] = [
    ("", 400, "Must provide either id or md5!"),
    ("id=75&acc=101", 400, "acc must be a number from 0 to 100"),
    ("id=75&acc=-1", 400, "acc must be a number from 0 to 100"),
    ("id=75&acc=nan", 400, "acc must be a number from 0 to 100"),
    ("id=75&acc=1e1", 400, "acc must be a number from 0 to 100"),
    ("id=75&acc=", 400, "acc must be a number from 0 to 100"),
    ("id=75&" + "acc=99&" * 21, 400, "acc"),
    ("id=75&misses=101", 400, "misses must be a whole number from 0 to 100"),
    ("id=75&nmiss=101", 400, "miss"),
    ("id=75&misses=1&nmiss=1", 400, "Give either misses or nmiss"),
    ("id=75&misses=-1", 400, "misses must be a whole number from 0 to"),
    ("id=75&mods=XX", 400, "mods must be a number, or mods in letters"),
    ("id=75&mods=rx!", 400, "mods must be a number, or mods in letters"),
    ("id=999", 404, "Map not found."),
    (f"md5={'f' * 32}", 404, "Map not found."),
    ("id=75&acc=99&n300=100", 400, "Give either acc or hit counts, not both."),
    ("id=75&n300=101", 400, "the map has 100 objects"),
    ("id=75&n300=99&nmiss=2", 400, "the map has 100 objects"),
    ("id=75&n300=x", 400, "n300 must be a whole number"),
    ("id=75&combo=101", 400, "combo must be a whole number from 0 to 100"),
    ("id=75&combo=x", 400, "combo must be a whole number"),
    ("id=75&mode=9", 400, "Invalid gamemode."),
    ("id=75&mode=rx!mania", 400, "Invalid gamemode."),
    ("id=75&id=75", 400, "id must be given once"),
    ("id=75&combo=1&combo=2", 400, "combo must be given once"),
    (f"id={TAIKO}&mode=0", 400, "mode must be 1, the mode of the map"),
    (f"id={RANKED}", 503, "is unavailable"),  # its file is not stored
]


@pytest.mark.parametrize(("query", "status", "words"), CALCULATE, ids=[record[0][:40] for record in CALCULATE])
def test_calculate_pp_rejects_impossible_plays(world: World, query: str, status: int, words: str) -> None:
    reply = world.server.get(f"/calculate_pp?{query}", key=world.key)

    assert problem(reply, status, words) is None


def test_calculate_pp_returns_four_accuracies_or_the_requested_ones(world: World) -> None:
    default = world.server.get(f"/calculate_pp?id={CIRCLES}", key=world.key).json
    two = world.server.get(
        f"/calculate_pp?id={CIRCLES}&acc=97.5&acc=90&mods=HDDT&combo=90&misses=1", key=world.key
    ).json
    counts = world.server.get(f"/calculate_pp?id={CIRCLES}&n300=99&n100=1", key=world.key).json

    assert (len(default), len(two)) == (4, 2)
    assert [one["performance"]["pp"] for one in default] == sorted(
        (one["performance"]["pp"] for one in default), reverse=True
    )
    assert [one["accuracy"] for one in default] == pytest.approx([100, 99, 98, 95], abs=0.5)
    assert list(counts) == ["performance", "difficulty", "accuracy"]
    assert list(counts["performance"]) == [
        "pp", "pp_acc", "pp_aim", "pp_speed", "pp_flashlight", "effective_miss_count", "pp_difficulty",
    ]  # fmt: skip
    assert list(counts["difficulty"]) == [
        "stars",
        "aim",
        "speed",
        "flashlight",
        "slider_factor",
        "speed_note_count",
        "stamina",
        "color",
        "rhythm",
        "peak",
    ]
    assert counts["accuracy"] == pytest.approx(100 * (99 * 300 + 100) / 30000, abs=0.001)
    assert (counts["difficulty"]["stamina"], counts["difficulty"]["stars"] > 0) == (None, True)


def test_calculate_pp_converts_an_osu_map_to_the_requested_mode(world: World) -> None:
    taiko = world.server.get(f"/calculate_pp?id={CIRCLES}&mode=1&acc=100", key=world.key).json
    relax = world.server.get(f"/calculate_pp?id={CIRCLES}&mode=4&acc=100", key=world.key)

    assert taiko[0]["difficulty"]["aim"] is None
    assert taiko[0]["difficulty"]["stamina"] is not None
    assert relax.status == 200


# --- selection


def ids(reply: Reply, of: str = "scores") -> list[int]:
    """Return the ids in a list of the response."""
    assert reply.status == 200, reply.body
    return [one["id"] for one in reply.json[of]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("scope=best", [BEST]),
        ("scope=best&include_loved=true", [505, BEST]),
        ("scope=best&include_loved=TRUE&limit=1", [505]),
        ("scope=best&include_loved=1&offset=1", [BEST]),
        ("scope=best&offset=5", []),
        ("scope=recent", [506, 505, FAILED, BEST]),
        ("scope=recent&include_failed=false", [506, 505, BEST]),
        ("scope=recent&limit=2&offset=1", [505, FAILED]),
        ("scope=recent&mode=4", [RELAXED]),
        ("scope=recent&mode=0&mods=rx", [RELAXED]),
        ("scope=recent&mode=rx!std", [RELAXED]),
        ("scope=best&mode=4", [RELAXED]),
        ("scope=recent&mode=7", []),
    ],
)
def test_get_player_scores_returns_the_selected_scores(world: World, query: str, expected: list[int]) -> None:
    assert ids(world.server.get(f"/get_player_scores?id=3&{query}")) == expected


@pytest.mark.parametrize(
    ("query", "total"),
    [("scope=best", 1), ("scope=best&include_loved=true&limit=1", 2), ("scope=recent&include_failed=false&limit=1", 3)],
)
def test_get_player_scores_returns_the_total(world: World, query: str, total: int) -> None:
    assert world.server.get(f"/get_player_scores?id=3&{query}").json["total"] == total


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("scope=best", [BEST, 504, LOST_REPLAY]),
        ("scope=best&limit=1&offset=1", [504]),
        ("scope=best&mods=HDDT", [LOST_REPLAY]),
        ("scope=best&mods=%3D72", [LOST_REPLAY]),
        ("scope=best&mods=72", [LOST_REPLAY]),
        ("scope=best&mods=HD", [LOST_REPLAY]),
        ("scope=best&mods=~HDHR", [504, LOST_REPLAY]),
        ("scope=best&mods=~24", [504, LOST_REPLAY]),
        ("scope=best&mods=HDHR", []),
        ("scope=recent&mods=hr", [504]),
        ("scope=best&mode=4", [RELAXED]),
        ("scope=best&mods=rx", [RELAXED]),
        ("scope=best&mode=8", []),
    ],
)
def test_get_map_scores_returns_the_selected_scores(world: World, query: str, expected: list[int]) -> None:
    assert ids(world.server.get(f"/get_map_scores?id={RANKED}&{query}")) == expected


def test_mode_7_is_read_as_8(world: World) -> None:
    world.rows.profile(8, 8, "us", pp=7, plays=1)

    answers = [world.server.get(f"/get_leaderboard?mode={mode}").json for mode in ("7", "8", "ap!std", "0&mods=ap")]

    assert [[line["player_id"] for line in answer["leaderboard"]] for answer in answers] == [[8]] * 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", [RANKED, PENDING, LOVED]), ("limit=1", [RANKED]), ("limit=1&offset=1", [PENDING]), ("mode=4", [])],
)
def test_get_player_most_played_is_sorted_by_plays_then_by_the_latest_play(
    world: World, query: str, expected: list[int]
) -> None:
    assert ids(world.server.get(f"/get_player_most_played?id=3&{query}"), "maps") == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [PLAYER, SPACED, BRACKETS]),
        ("country=nl", [PLAYER, BRACKETS]),
        ("country=NL&limit=1&offset=1", [BRACKETS]),
        ("sort=plays", [BRACKETS, SPACED, PLAYER]),
        ("sort=acc&limit=1", [BRACKETS]),
        ("sort=tscore&mode=1", [BRACKETS]),
        ("mode=1", []),
    ],
)
def test_get_leaderboard_returns_the_selected_players(world: World, query: str, expected: list[int]) -> None:
    reply = world.server.get(f"/get_leaderboard?{query}")

    assert [line["player_id"] for line in reply.json["leaderboard"]] == expected


def test_get_leaderboard_has_the_keys_that_front_ends_read(world: World) -> None:
    [line] = world.server.get("/get_leaderboard?limit=1").json["leaderboard"]

    assert list(line) == [
        "player_id", "name", "country", "tscore", "rscore", "pp", "plays", "playtime", "acc", "max_combo", "xh_count",
        "x_count", "sh_count", "s_count", "a_count", "clan_id", "clan_name", "clan_tag",
    ]  # fmt: skip
    assert (line["name"], line["country"], line["pp"], line["clan_tag"]) == ("Player", "nl", 500, "CLAN")


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("player", [PLAYER]),
        ("PLAY", [PLAYER]),
        ("spaced%20n", [SPACED]),
        ("spaced_n", [SPACED]),
        ("%5Btoy", [BRACKETS]),
        ("r_score", [8]),
        ("%25%25", []),
        ("a_e", []),
        ("hidden", []),
        ("bancho", []),
    ],
)
def test_search_players_finds_parts_of_names_without_wildcards(world: World, q: str, expected: list[int]) -> None:
    found = world.server.get(f"/search_players?q={q}").json

    assert [one["id"] for one in found["result"]] == expected
    assert found["results"] == len(expected)


def test_get_clan_returns_visible_members(world: World) -> None:
    clan = world.server.get("/get_clan?id=1").json

    owner = {"id": PLAYER, "name": "Player", "country": "nl", "rank": "Owner"}
    member = {"id": SPACED, "name": "Spaced Name", "country": "de", "rank": "Member"}
    assert clan == {
        "status": "success", "id": 1, "name": "The Clan", "tag": "CLAN", "members": [owner, member], "owner": owner,
    }  # fmt: skip


def test_get_mappool_returns_maps_by_pick(world: World) -> None:
    pool = world.server.get("/get_mappool?id=1").json

    clan = {"id": 1, "name": "The Clan", "tag": "CLAN"}
    assert pool["created_by"] == {"id": 3, "name": "Player", "country": "nl", "clan": clan, "online": False}
    assert (pool["id"], pool["name"], pool["created_at"]) == (1, "Cup", "2020-01-02T03:04:05")
    assert {pick: found and found["id"] for pick, found in pool["maps"].items()} == {
        "NM1": RANKED, "HD1": TAIKO, "TB1": None,
    }  # fmt: skip


def test_whole_numbers_have_no_decimal_point(world: World) -> None:
    whole = world.server.get(f"/get_map_info?id={RANKED}").body
    broken = world.server.get(f"/get_map_info?id={LOVED}").body

    assert b'"bpm":180,"cs":4,"od":8.5,"ar":9,"hp":6,"diff":5.25}' in whole
    assert b'"bpm":182.5,' in broken


# --- methods, hosts, headers

READ: Final = ("/get_player_count", "/get_map_info?id=1001", "/v2/players", "/get_replay?id=501")


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_unsupported_method_gets_405_with_the_allowed_methods(world: World, path: str, method: str) -> None:
    reply = world.server.ask(method, path)

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert method in (reply.json["error"] if path.startswith("/v2") else reply.said)


@pytest.mark.parametrize("path", ["/docs", "/docs.css", "/openapi.json"])
def test_documentation_accepts_only_get(world: World, path: str) -> None:
    reply = world.server.ask("POST", path)

    assert reply.status == 405
    assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize(
    ("path", "allowed"), [("/set_avatar", "POST, PUT, OPTIONS"), ("/set_player_info", "POST, PUT, OPTIONS")]
)
def test_endpoints_that_write_reject_get(world: World, path: str, allowed: str) -> None:
    reply = world.server.get(path, key=world.key)

    assert (reply.status, reply.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["BREW", "get", "TRACE", "PROPFIND"])
def test_unknown_method_is_rejected(world: World, method: str) -> None:
    reply = world.server.ask(method, "/get_player_count")

    assert reply.status in (400, 405, 501)
    assert reply.status != 405 or reply.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", READ)
def test_head_returns_the_headers_of_get_without_a_body(world: World, path: str) -> None:
    got = world.server.get(path)
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=patiently(10)) as connection:
        request = f"HEAD {path} HTTP/1.1\r\nHost: api.localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        raw = b"".join(iter(lambda: connection.recv(65_536), b""))

    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"content-length: {len(got.body)}".encode() in head.lower()
    assert f"content-type: {got.headers['content-type']}".encode() in head.lower()
    assert body == b""


@pytest.mark.parametrize("host", ["api.localhost", "API.LOCALHOST:8080", "api.kiai.example"])
@pytest.mark.parametrize("path", ["/get_map_info", "/v1/get_map_info", "/api/get_map_info", "/api/v1/get_map_info"])
def test_api_host_serves_every_prefix(world: World, host: str, path: str) -> None:
    assert world.server.get(f"{path}?id={RANKED}", host=host).json["map"]["id"] == RANKED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "192.168.7.9:8080", "[::1]:8080", "unknown.example"])
@pytest.mark.parametrize("path", ["/api/get_map_info", "/api/v1/get_map_info"])
def test_other_hosts_serve_the_api_below_a_path(world: World, host: str, path: str) -> None:
    assert world.server.get(f"{path}?id={RANKED}", host=host).json["map"]["id"] == RANKED


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("api.localhost", "/v2/maps/1001"),
        ("api.localhost", "/api/v2/maps/1001"),
        ("localhost", "/api/v2/maps/1001"),
        ("127.0.0.1", "/api/v2/maps/1001"),
    ],
)
def test_version_2_has_its_own_prefix_on_every_host(world: World, host: str, path: str) -> None:
    assert world.server.get(path, host=host).json["data"]["id"] == RANKED


@pytest.mark.parametrize(("host", "path"), [("localhost", "/get_map_info"), ("a.localhost", "/api/get_map_info")])
def test_other_paths_of_other_hosts_do_not_reach_the_api(world: World, host: str, path: str) -> None:
    assert b'"map"' not in world.server.get(f"{path}?id={RANKED}", host=host).body


CACHED: Final = (
    f"/get_map_info?id={RANKED}",
    f"/get_map_scores?id={RANKED}&scope=best",
    f"/get_score_info?id={BEST}",
    f"/get_replay?id={BEST}",
    f"/get_replay?id={BEST}&include_headers=false",
)


@pytest.mark.parametrize("path", CACHED)
def test_unchanged_response_is_304_for_its_etag(world: World, path: str) -> None:
    first = world.server.get(path)
    etag = first.headers["etag"]

    again = world.server.get(path, If_None_Match=etag)
    listed = world.server.get(path, If_None_Match=f'"other", {etag}')
    any_etag = world.server.get(path, If_None_Match="*")
    other = world.server.get(path, If_None_Match='W/"other"')

    assert re.fullmatch(r'W/"[!#-~]+"', etag)
    for unchanged in (again, listed, any_etag):
        assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)
    assert (other.status, other.body) == (200, first.body)


@pytest.mark.parametrize("path", ["/get_player_count", "/get_player_info?id=3&scope=all", "/get_leaderboard"])
def test_uncacheable_responses_have_no_etag(world: World, path: str) -> None:
    reply = world.server.get(path)

    assert reply.headers["cache-control"] == "no-cache"
    assert "etag" not in reply.headers


def test_range_selects_a_part_of_a_replay(world: World) -> None:
    path = f"/get_replay?id={BEST}&include_headers=false"

    first = world.server.get(path, Range="bytes=0-9")
    last = world.server.get(path, Range="bytes=-4")
    rest = world.server.get(path, Range="bytes=5-")
    beyond = world.server.get(path, Range=f"bytes={len(FRAMES)}-")
    wrong_unit = world.server.get(path, Range="lines=1-2")
    several = world.server.get(path, Range="bytes=0-1,3-4")

    assert (first.status, first.body) == (206, FRAMES[:10])
    assert first.headers["content-range"] == f"bytes 0-9/{len(FRAMES)}"
    assert (last.status, last.body) == (206, FRAMES[-4:])
    assert (rest.status, rest.body) == (206, FRAMES[5:])
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(FRAMES)}")
    assert (wrong_unit.status, wrong_unit.body) == (several.status, several.body) == (200, FRAMES)


@pytest.mark.parametrize("last", ["bytes=3-1", "bytes=-0", "bytes=-"])
def test_malformed_range_is_ignored_or_rejected(world: World, last: str) -> None:
    reply = world.server.get(f"/get_replay?id={BEST}&include_headers=false", Range=last)

    assert (reply.status, reply.body) == (200, FRAMES) or reply.status == 416


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "application/xml"},
        {"Accept": "text/*;q=0"},
        {"Accept-Encoding": ", ".join(["gzip;q=0.001"] * 500)},
        {"Accept-Encoding": "identity;q=0, *;q=0"},
        {"Accept-Language": "x" * 2000},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "yesterday"},
        {"Range": "bytes=0-1"},
        {"Content-Type": "\xff\xfe"},
        {"Cookie": "a=b; " * 200},
        {"Forwarded": "for=1.2.3.4", "X-Forwarded-For": "<script>"},
        {"Expect": "100-continue"},
    ],
)
def test_other_headers_do_not_change_the_response(world: World, headers: dict[str, str]) -> None:
    path = "/get_player_info?id=3&scope=info"

    reply = world.server.ask("GET", path, headers=headers)

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert reply.json == world.server.get(path).json


@pytest.mark.parametrize("path", ["/get_score_info?id=501", "/get_map_info?id=1001", "/get_player_count"])
def test_every_response_has_a_request_id_of_its_own(world: World, path: str) -> None:
    seen = {world.server.get(path).headers["x-request-id"] for _ in range(3)}

    assert len(seen) == 3


def test_document_and_documentation_are_served_on_both_hosts(world: World) -> None:
    for host in ("api.localhost", "localhost"):
        document = world.server.get("/openapi.json", host=host)
        page = world.server.get("/docs", host=host)

        assert document.json["openapi"].startswith("3.1")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert set(document.json["paths"]) >= {"/get_player_info", "/v2/players/{id}", "/set_avatar"}
        for path in document.json["paths"]:
            assert path in page.body.decode()


# --- limits


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a limit of five requests per minute."""
    data: Path = tmp_path_factory.mktemp("limited") / "data"
    rows = Rows(data)
    for user_id in (3, 4):
        rows.player(user_id, f"Player {user_id}")
        rows.api_key(user_id, f"key of {user_id}")
    rows.close()
    server = Server(data, API_RATE_PER_MINUTE="5")
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()


def test_request_above_the_limit_gets_429_with_retry_after(limited: Server) -> None:
    granted = [limited.get("/get_player_count", key="key of 3") for _ in range(5)]
    rejected = limited.get("/get_player_count", key="Bearer key of 3")
    other = limited.get("/get_player_count", key="key of 4")

    assert [reply.status for reply in granted] == [200] * 5
    assert [reply.headers["x-ratelimit-limit"] for reply in granted] == ["5"] * 5
    assert [int(reply.headers["x-ratelimit-remaining"]) for reply in granted] == [4, 3, 2, 1, 0]
    assert all(int(reply.headers["x-ratelimit-reset"]) <= 60 for reply in granted)
    assert (rejected.status, rejected.said) == (429, "Too many requests: the limit is 5 per minute.")
    assert 1 <= int(rejected.headers["retry-after"]) <= 12
    assert rejected.headers["x-ratelimit-remaining"] == "0"
    assert other.status == 200


def test_requests_without_a_key_are_counted_by_address(limited: Server) -> None:
    answers = [limited.get(path) for path in ("/get_player_count", "/v2/players") * 3]

    assert [reply.status for reply in answers] == [200] * 5 + [429]
    assert answers[-1].json["error"] == "Too many requests: the limit is 5 per minute."
    assert (answers[-1].json["code"], answers[-1].json["param"]) == ("too_many_requests", None)


def test_no_request_of_these_tests_caused_a_server_error(world: World) -> None:
    assert "unhandled" not in world.server.stderr
    assert world.server.get("/readyz", host="localhost").status == 200
    assert json.loads(world.server.get("/get_player_count").body)["counts"] == {"online": 0, "total": 6}
    assert HIDDEN not in [one["id"] for one in world.server.get("/v2/players").json["data"]]


def test_map_object_has_the_documented_keys(world: World) -> None:
    found: dict[str, Any] = world.server.get(f"/get_map_info?id={PENDING}").json["map"]

    assert list(found) == [
        "md5", "id", "set_id", "artist", "title", "version", "creator", "last_update", "total_length", "max_combo",
        "status", "plays", "passes", "mode", "bpm", "cs", "od", "ar", "hp", "diff",
    ]  # fmt: skip
