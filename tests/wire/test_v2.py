"""Version 2: the envelope, pages, cursors, filters and errors of every path."""

from typing import Any, Final
from urllib.parse import quote

import pytest
from tests.wire.kit import Reply
from tests.wire.world import (
    BEST,
    BRACKETS,
    CIRCLES,
    FAILED,
    HIDDEN,
    HIDDENS,
    LOST_REPLAY,
    LOVED,
    PENDING,
    PLAYER,
    RANKED,
    RELAXED,
    SPACED,
    TAIKO,
    World,
)

LONG: Final = "9" * 400
LISTS: Final = (
    "/v2/players",
    "/v2/clans",
    "/v2/maps",
    "/v2/scores",
    "/v2/matches",
    "/v2/leaderboards/0",
    f"/v2/players/{PLAYER}/scores/best",
    f"/v2/players/{PLAYER}/scores/recent",
    f"/v2/players/{PLAYER}/scores/firsts",
    f"/v2/players/{PLAYER}/scores",
    f"/v2/players/{PLAYER}/most_played",
    f"/v2/maps/{RANKED}/scores",
)
LISTS_WITHOUT_PAGES: Final = (
    f"/v2/players/{PLAYER}/stats",
    f"/v2/players/{PLAYER}/medals",
    f"/v2/players/{PLAYER}/history/0",
    "/v2/clans/1/members",
)
SINGLE_OBJECTS: Final = (
    f"/v2/players/{PLAYER}",
    f"/v2/players/{PLAYER}/stats/0",
    f"/v2/maps/{RANKED}",
    f"/v2/maps/{RANKED}/rating",
    f"/v2/scores/{BEST}",
    "/v2/clans/1",
    "/v2/clans/1/leaderboard",
)
WITH_CURSOR: Final = ("/v2/players", "/v2/maps", "/v2/scores")


def data(reply: Reply) -> Any:
    """Return the data of a success, and check its envelope."""
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=utf-8"), reply.body
    assert list(reply.json) == ["status", "data", "meta"]
    assert reply.json["status"] == "success"
    return reply.json["data"]


def ids(reply: Reply) -> list[int]:
    """Return the ids of a list."""
    return [one["player_id" if "player_id" in one else "id"] for one in data(reply)]


def error(reply: Reply) -> str:
    """Return the sentence of an error, and check its fields."""
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert list(reply.json) == ["status", "error", "code", "param", "request_id"], reply.body
    assert reply.json["status"] == "error"
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    return str(reply.json["error"])


def test_every_documented_path_is_served(world: World) -> None:
    documented = {path for path in world.server.get("/openapi.json").json["paths"] if path.startswith("/v2")}

    assert documented >= {
        "/v2/players",
        "/v2/players/{id}",
        "/v2/players/{id}/status",
        "/v2/players/{id}/stats",
        "/v2/players/{id}/stats/{mode}",
        "/v2/players/{id}/scores/{scope}",
        "/v2/players/{id}/medals",
        "/v2/players/{id}/history/{mode}",
        "/v2/clans",
        "/v2/clans/{id}",
        "/v2/clans/{id}/members",
        "/v2/clans/{id}/leaderboard",
        "/v2/maps",
        "/v2/maps/{id}",
        "/v2/scores",
        "/v2/scores/{id}",
        "/v2/matches",
        "/v2/matches/{id}",
        "/v2/leaderboards/{mode}",
        "/v2/server/stats",
        "/v2/me",
        "/v2/players/search",
        "/v2/players/{id}/scores",
        "/v2/players/{id}/most_played",
        "/v2/maps/{id}/scores",
        "/v2/maps/{id}/rating",
        "/v2/scores/{id}/replay",
    }


@pytest.mark.parametrize("path", LISTS)
def test_list_has_total_page_and_page_size(world: World, path: str) -> None:
    default = world.server.get(path)
    smaller = world.server.get(f"{path}?page=2&page_size=1")

    assert isinstance(data(default), list)
    assert default.json["meta"]["total"] == len(data(default))
    assert (default.json["meta"]["page"], default.json["meta"]["page_size"]) == (1, 50)
    assert (smaller.json["meta"]["page"], smaller.json["meta"]["page_size"]) == (2, 1)
    assert smaller.json["meta"]["total"] == default.json["meta"]["total"]
    assert data(smaller) == data(default)[1:2]


@pytest.mark.parametrize("path", LISTS_WITHOUT_PAGES)
def test_bounded_list_is_one_page(world: World, path: str) -> None:
    reply = world.server.get(path)

    found = data(reply)
    assert reply.json["meta"] == {"total": len(found), "page": 1, "page_size": max(1, len(found)), "cursor": None}


@pytest.mark.parametrize("path", SINGLE_OBJECTS)
def test_single_object_has_an_empty_meta(world: World, path: str) -> None:
    reply = world.server.get(path)

    assert isinstance(data(reply), dict)
    assert reply.json["meta"] == {}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_pages_contain_every_entry_once(world: World, path: str, size: int) -> None:
    total = world.server.get(path).json["meta"]["total"]

    pages = [data(world.server.get(f"{path}?page={page}&page_size={size}")) for page in range(1, -(-total // size) + 2)]

    assert [entry for page in pages for entry in page] == data(world.server.get(f"{path}?page_size=100"))
    assert pages[-1] == [] or total == 0


@pytest.mark.parametrize("path", WITH_CURSOR)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_cursors_lead_through_every_entry_once(world: World, path: str, size: int) -> None:
    everything = ids(world.server.get(f"{path}?page_size=100"))

    found: list[int] = []
    cursor = ""
    for _ in range(len(everything) + 1):
        reply = world.server.get(f"{path}?page_size={size}{cursor}")
        found += ids(reply)
        if reply.json["meta"]["cursor"] is None:
            break
        cursor = f"&cursor={reply.json['meta']['cursor']}"

    assert found == everything
    assert reply.json["meta"]["cursor"] is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/players", [PLAYER, SPACED, BRACKETS, 7, 8]),
        ("/v2/players?country=nl", [PLAYER, BRACKETS]),
        ("/v2/players?country=NL", [PLAYER, BRACKETS]),
        ("/v2/players?clan_id=1", [PLAYER, SPACED]),
        ("/v2/players?clan_priv=3", [PLAYER, 7]),
        ("/v2/players?clan_id=1&clan_priv=1", [SPACED]),
        ("/v2/players?clan_id=1&clan_priv=2", []),
        ("/v2/players?preferred_mode=4", [SPACED]),
        ("/v2/players?play_style=5", [PLAYER]),
        ("/v2/players?priv=3", [PLAYER, SPACED, BRACKETS, 8]),
        ("/v2/players?priv=2", []),
        ("/v2/players/", [PLAYER, SPACED, BRACKETS, 7, 8]),
        ("/v2/players?ids=5,3,999,6,3", [PLAYER, BRACKETS]),
        ("/v2/players?ids=3,4,5&country=nl", [PLAYER, BRACKETS]),
        ("/v2/players?ids=3,4,5&page=2&page_size=2", [BRACKETS]),
        ("/v2/players?ids=3,4,5&cursor=3", [SPACED, BRACKETS]),
        ("/v2/players?online=true", []),
        ("/v2/players?online=true&ids=3", []),
        ("/v2/players?online=false&ids=3", [PLAYER]),
        ("/v2/players/search?q=pla", [PLAYER]),
        ("/v2/players/search?q=SPACED%20n", [SPACED]),
        ("/v2/players/search?q=spaced_n", [SPACED]),
        ("/v2/players/search?q=hidden", []),
        ("/v2/players/search?q=%25%25", []),
        ("/v2/players/search?q=er&limit=1&page=2", [7]),
        ("/v2/players?cursor=5", [7, 8]),
        ("/v2/clans", [1, 2]),
        ("/v2/clans?page=2&page_size=1", [2]),
        ("/v2/clans/1/members", [PLAYER, SPACED]),
        ("/v2/maps", [CIRCLES, RANKED, LOVED, PENDING, TAIKO]),
        ("/v2/maps?set_id=101", [PENDING, TAIKO]),
        ("/v2/maps?status=5", [LOVED]),
        ("/v2/maps?status=1", []),
        ("/v2/maps?mode=1", [TAIKO]),
        ("/v2/maps?artist=Drummer", [TAIKO]),
        ("/v2/maps?artist=drum%25", []),
        ("/v2/maps?creator=Creator&set_id=100", [RANKED, LOVED]),
        ("/v2/maps?filename=1002.osu", [LOVED]),
        ("/v2/maps?frozen=true&mode=1", [TAIKO]),
        ("/v2/maps?frozen=0&mode=1", []),
        (f"/v2/maps?ids={TAIKO},999,{CIRCLES},{TAIKO}", [CIRCLES, TAIKO]),
        (f"/v2/maps?ids={TAIKO},{CIRCLES}&mode=1", [TAIKO]),
        (f"/v2/maps?ids={TAIKO},{CIRCLES}&sort=-id", [TAIKO, CIRCLES]),
        (f"/v2/maps?ids={TAIKO},{CIRCLES}&cursor={CIRCLES}", [TAIKO]),
        ("/v2/maps?sort=-id", [TAIKO, PENDING, LOVED, RANKED, CIRCLES]),
        ("/v2/maps?sort=-id&cursor=1003", [LOVED, RANKED, CIRCLES]),
        ("/v2/maps?sort=-id&status=2", [TAIKO, RANKED, CIRCLES]),
        ("/v2/maps?sort=diff", [CIRCLES, RANKED, LOVED, PENDING, TAIKO]),
        ("/v2/maps?sort=-diff", [TAIKO, PENDING, LOVED, RANKED, CIRCLES]),
        ("/v2/maps?sort=-diff&status=2&mode=0", [RANKED, CIRCLES]),
        ("/v2/maps?sort=-last_update", [CIRCLES, RANKED, LOVED, PENDING, TAIKO]),
        ("/v2/maps?sort=-last_update&creator=Creator", [RANKED, LOVED, PENDING, TAIKO]),
        ("/v2/maps?q=hundred", [CIRCLES]),
        ("/v2/maps?q=HUND%20circ", [CIRCLES]),
        ("/v2/maps?q=circles,%20(hundred)", [CIRCLES]),
        ("/v2/maps?q=circles%20normal", []),
        ("/v2/maps?q=normal", [RANKED, LOVED, PENDING, TAIKO]),
        ("/v2/maps?q=normal&sort=-diff", [TAIKO, PENDING, LOVED, RANKED]),
        ("/v2/maps?q=normal&cursor=1002", [PENDING, TAIKO]),
        ("/v2/maps?q=drum&mode=1", [TAIKO]),
        ("/v2/maps?q=drum&mode=0", []),
        ("/v2/maps?q=undred", []),
        ("/v2/maps?q=art%25", [RANKED, LOVED, PENDING]),
        ("/v2/maps?q=a_t", [RANKED, PENDING]),
        ("/v2/scores", [RELAXED, 506, 505, 504, LOST_REPLAY, FAILED, BEST]),
        ("/v2/scores?user_id=4", [LOST_REPLAY]),
        ("/v2/scores?mods=72", [LOST_REPLAY]),
        ("/v2/scores?mods=8", []),
        ("/v2/scores?mode=4", [RELAXED]),
        ("/v2/scores?status=0", [FAILED]),
        ("/v2/scores?status=1", [506]),
        (f"/v2/scores?map_md5={LOVED:032x}", [505]),
        (f"/v2/scores?map_md5={LOVED:032X}", [505]),
        (f"/v2/scores?user_id={HIDDEN}", []),
        ("/v2/scores?cursor=503", [FAILED, BEST]),
        ("/v2/leaderboards/0", [PLAYER, SPACED, BRACKETS]),
        ("/v2/leaderboards/vn!std?country=nl", [PLAYER, BRACKETS]),
        ("/v2/leaderboards/0?sort=plays", [BRACKETS, SPACED, PLAYER]),
        ("/v2/leaderboards/4", [PLAYER]),
        ("/v2/leaderboards/2", []),
        ("/v2/players/3/scores/best", [BEST]),
        ("/v2/players/3/scores/recent", [506, 505, FAILED, BEST]),
        ("/v2/players/3/scores/recent?mode=4", [RELAXED]),
        ("/v2/players/3/scores/firsts", [BEST]),
        ("/v2/players/player/scores", [BEST]),
        ("/v2/players/Player/scores?scope=recent&limit=2", [506, 505]),
        ("/v2/players/3/scores?scope=recent&limit=2&page=2", [FAILED, BEST]),
        ("/v2/players/3/scores?scope=firsts&mode=4", []),
        ("/v2/players/3/most_played", [RANKED, PENDING, LOVED]),
        ("/v2/players/3/most_played?limit=1&page=2", [PENDING]),
        ("/v2/players/3/most_played?mode=4", []),
        (f"/v2/maps/{RANKED}/scores", [BEST, 504, LOST_REPLAY]),
        (f"/v2/maps/{RANKED}/scores?mode=4", [RELAXED]),
        (f"/v2/maps/{RANKED}/scores?mods=HD", [LOST_REPLAY]),
        (f"/v2/maps/{RANKED}/scores?limit=1&page=2", [504]),
        ("/v2/players/4/scores/firsts", []),
        ("/v2/players/3/medals", [1, 2]),
        ("/v2/matches", []),
    ],
)
def test_list_contains_the_entries_that_its_filters_select(world: World, path: str, expected: list[int]) -> None:
    reply = world.server.get(path)

    assert ids(reply) == expected
    if not any(word in path for word in ("cursor", "page", "limit")):
        assert reply.json["meta"]["total"] == len(expected)


@pytest.mark.parametrize(
    "named", ["3", "0000000003", "player", "PLAYER", "3?key=id", "Player?key=username", "pLaYeR?key=username"]
)
def test_player_by_id_and_by_name_equals_version_1(world: World, named: str) -> None:
    assert (
        data(world.server.get(f"/v2/players/{named}"))
        == world.server.get(f"/get_player_info?id={PLAYER}&scope=info").json["player"]["info"]
    )


@pytest.mark.parametrize(
    "rest", ["", "/stats", "/stats/0", "/scores", "/scores/best", "/most_played", "/medals", "/history/0"]
)
@pytest.mark.parametrize(
    ("name", "user_id"),
    [("Spaced%20Name", SPACED), ("spaced_name", SPACED), ("%5BToy%5D-x", BRACKETS), ("under%20score", 8)],
)
def test_every_endpoint_of_a_player_accepts_the_name(world: World, rest: str, name: str, user_id: int) -> None:
    assert data(world.server.get(f"/v2/players/{name}{rest}")) == data(world.server.get(f"/v2/players/{user_id}{rest}"))


def test_stats_contain_those_of_version_1_with_null_as_missing_rank(world: World) -> None:
    stats = world.server.get(f"/get_player_info?id={PLAYER}&scope=stats").json["player"]["stats"]
    for profile in stats.values():  # version 1 has 0 for a missing rank
        profile |= {name: profile[name] or None for name in ("rank", "country_rank")}

    assert (stats["0"]["rank"], stats["3"]["rank"]) == (1, None)
    listed = data(world.server.get(f"/v2/players/{PLAYER}/stats"))
    assert [{name: new[name] for name in old} for new, old in zip(listed, stats.values(), strict=True)] == [
        *stats.values()
    ]
    by_mode = {str(profile["mode"]): profile for profile in listed}
    for mode, text in (("0", "vn!std"), ("4", "rx!std"), ("8", "7"), ("3", "vn!mania")):
        assert data(world.server.get(f"/v2/players/{PLAYER}/stats/{mode}")) == by_mode[mode]
        assert data(world.server.get(f"/v2/players/{PLAYER}/stats/{quote(text)}")) == by_mode[mode]


def test_score_equals_version_1_and_contains_its_map_and_player(world: World) -> None:
    old = world.server.get(f"/get_score_info?id={BEST}").json["score"]
    new = data(world.server.get(f"/v2/scores/{BEST}"))

    assert {name: new[name] for name in old} == old | {"perfect": False}
    assert new["perfect"] is False
    assert (new["map_id"], new["has_replay"]) == (RANKED, True)
    assert new["player"] == {
        "id": PLAYER, "name": "Player", "country": "nl", "clan_id": 1, "clan_name": "The Clan", "clan_tag": "CLAN",
    }  # fmt: skip
    full = data(world.server.get(f"/v2/maps/{RANKED}"))
    assert new["beatmap"] == {name: full[name] for name in full if name not in ("filename", "frozen")}
    assert new["covers"] == full["covers"]


def test_map_equals_version_1_and_contains_file_name_and_frozen(world: World) -> None:
    old = world.server.get(f"/get_map_info?id={TAIKO}").json["map"]
    new = data(world.server.get(f"/v2/maps/{TAIKO}"))

    assert {name: new[name] for name in old} == old
    assert (new["filename"], new["frozen"], new["server"]) == (f"{TAIKO}.osu", True, "osu!")


def test_clan_has_the_totals_of_its_members(world: World) -> None:
    clan = data(world.server.get("/v2/clans/1"))
    standing = data(world.server.get("/v2/clans/1/leaderboard?mode=0"))

    assert clan == {
        "id": 1, "name": "The Clan", "tag": "CLAN", "owner": PLAYER, "created_at": "2020-09-13T12:26:40",
        "description": "", "joining": "invite", "join": "invite", "icon_url": None,
    }  # fmt: skip
    assert (standing["members"], standing["pp"], standing["plays"]) == (2, round((500 + 400) / 3), 44)
    assert standing["acc"] == pytest.approx((93.5 + 94.5) / 2)


def test_members_medals_and_days_of_history_are_listed(world: World) -> None:
    members = data(world.server.get("/v2/clans/1/members"))
    medals = data(world.server.get(f"/v2/players/{PLAYER}/medals"))
    days = data(world.server.get(f"/v2/players/{PLAYER}/history/0"))

    assert members[0] == {
        "id": PLAYER, "name": "Player", "country": "nl", "clan_priv": 3,
        "acc": 93.5, "joined_at": None, "plays": 4, "pp": 500, "rank": 1,
    }  # fmt: skip
    assert medals == [{"id": n, "unlocked_at": n, "score_id": BEST} for n in (1, 2)]
    assert [(day["day"], day["rank"]) for day in days][-3:] == [
        ("9999-12-29", 3), ("9999-12-30", 2), ("9999-12-31", 1),
    ]  # fmt: skip


def test_offline_player_has_no_status(world: World) -> None:
    reply = world.server.get(f"/v2/players/{PLAYER}/status")

    assert (reply.status, error(reply)) == (404, "Status not found.")


# --- errors

Record = tuple[str, int, str]
NUMBER: Final = "must be a whole number from"

ERRORS: Final[list[Record]] = [
    *(
        (f"{path}?page={wrong}", 422, f"page {NUMBER} 1 to 10000")
        for path in LISTS
        for wrong in ("0", "-1", "x", "", LONG)
    ),
    *(
        (f"{path}?page_size={wrong}", 422, f"page_size {NUMBER} 1 to 100")
        for path in LISTS
        for wrong in ("0", "101", "x")
    ),
    *((f"{path}?page=1&page=1", 422, "page must be given once") for path in LISTS),
    *(
        (f"{path}?cursor={wrong}", 422, f"cursor {NUMBER} 0 to")
        for path in WITH_CURSOR
        for wrong in ("-1", "x", str(2**63), "")
    ),
    *(
        (f"/v2/players/{wrong}{rest}", 422, f"id {NUMBER} 3 to 2147483647")
        for wrong in ("0", "1", "2", "2147483648", LONG)
        for rest in ("", "/status", "/stats", "/stats/0", "/scores", "/scores/best", "/most_played", "/medals")
    ),
    *(
        (f"/v2/players/{wrong}{rest}", 422, "id must be a player's id, or a name of 2 to 15 characters")
        for wrong in ("x", "3.0", "%D9%A3", "a%27b", "16characterslong", "%22%3E%3Cb%3E", f"{'x' * 400}")
        for rest in ("", "/status", "/stats", "/stats/0", "/scores", "/scores/best", "/most_played", "/history/0")
    ),
    *((f"/v2/players/{wrong}?key=id", 422, f"id {NUMBER} 3 to") for wrong in ("player", "-1", "%D9%A3", "0")),
    ("/v2/players/3?key=null", 422, "key must be one of id, username"),
    ("/v2/players/3?key=", 422, "key must be one of id, username"),
    ("/v2/players/3?key=id&key=id", 422, "key must be given once"),
    ("/v2/players/3?key=name", 422, "key must be one of id, username"),
    ("/v2/players/3?key=username", 422, "id must be a player's id, or a name"),
    ("/v2/players/33?key=username", 404, "Player not found."),
    ("/v2/players/search", 422, "q is required"),
    ("/v2/players/search?q=x", 422, "q must be a text of 2 to 32 characters"),
    *(
        (f"/v2/{of}?ids={wrong}", 422, "ids must be")
        for of in ("players", "maps")
        for wrong in ("", ",", "3,", "x", "-1", "3,,4", "0", "2147483648", "99999999999", ",".join(["3"] * 101))
    ),
    *(
        (f"{path}?limit=3&page_size=3", 422, "limit must be left out with page_size")
        for path in ("/v2/players/3/scores", "/v2/players/3/most_played", f"/v2/maps/{RANKED}/scores")
    ),
    ("/v2/players/3/scores?scope=worst", 422, "scope must be one of"),
    *(
        (f"{path}?include=clan", 422, "include must be player, beatmap")
        for path in ("/v2/scores", "/v2/players/3/scores")
    ),
    *(
        (f"{path}?{unknown}=1", 422, f"'{unknown}' is not a parameter of this endpoint. Allowed:")
        for path in (*LISTS, *LISTS_WITHOUT_PAGES, *SINGLE_OBJECTS, "/v2/server/stats")
        for unknown in ("_", "sortt", "Page", "page[]")
    ),
    ("/v2/server/stats?x=1", 422, "Allowed: none"),
    (f"/v2/players?{'x' * 300}=1", 422, "is not a parameter"),
    ("/v2/players?%3Cscript%3E=1", 422, "'<script>' is not a parameter"),
    *((f"/v2/maps?q={wrong}", 422, "q must be 1 to 8 words") for wrong in ("%25", "!!", "_", "a+b+c+d+e+f+g+h+i")),
    *((f"/v2/maps?q={wrong}", 422, "q must be a text of 1 to 64 characters") for wrong in ("", "x" * 65)),
    ("/v2/maps?q=a&ids=3", 422, "ids must be left out with q"),
    ("/v2/maps?sort=plays", 422, "sort must be one of"),
    ("/v2/maps?sort=diff&cursor=3", 422, "cursor must be left out with sort=diff"),
    ("/v2/maps/999/scores", 404, "Map not found."),
    ("/v2/maps/999/rating", 404, "Map not found."),
    (f"/v2/maps/{RANKED}/scores?mods=XX", 422, "mods must be"),
    (f"/v2/maps/{RANKED}/scores?mode=9", 422, "mode"),
    (f"/v2/scores/{LOST_REPLAY}/replay", 404, "Replay not found."),
    (f"/v2/scores/{FAILED}/replay", 404, "Replay not found."),
    (f"/v2/scores/{HIDDENS}/replay", 404, "Score not found."),
    *(
        (f"/v2/players/{unknown}{rest}", 404, "Player not found.")
        for unknown in (HIDDEN, 999, 2147483647, "Nobody%20here", "hidden_one", "abc", "-1", "BanchoBot")
        for rest in (
            "",
            "/status",
            "/stats",
            "/stats/0",
            "/scores/best",
            "/scores/recent",
            "/scores/firsts",
            "/scores",
            "/most_played",
            "/medals",
            "/history/0",
        )
    ),
    *(
        (f"/v2/players/3/{of}/{wrong}", 422, "mode must be a game mode: 0 to 6 or 8")
        for of in ("stats", "history")
        for wrong in ("9", "10", "-1", "x", "rx!mania", "00")
    ),
    *(
        (f"/v2/leaderboards/{wrong}", 422, "mode must be a game mode: 0 to 6 or 8")
        for wrong in ("9", "x", "-1", "rx!mania")
    ),
    ("/v2/players/3/scores/worst", 422, "scope must be one of best, recent, firsts"),
    ("/v2/players/3/scores/best?mode=9", 422, "mode"),
    ("/v2/players/3/scores/best?mode=x", 422, "mode"),
    ("/v2/clans/1/leaderboard?mode=9", 422, "mode"),
    *(
        (f"/v2/clans/{wrong}{rest}", 422, f"id {NUMBER} 1 to 2147483647")
        for wrong in ("abc", "0", "-1", LONG)
        for rest in ("", "/members", "/leaderboard")
    ),
    *((f"/v2/clans/999{rest}", 404, "Clan not found.") for rest in ("", "/members", "/leaderboard")),
    *((f"/v2/maps/{wrong}", 422, f"id {NUMBER} 1 to 2147483647") for wrong in ("abc", "0", "-1", LONG)),
    ("/v2/maps/999", 404, "Map not found."),
    *(
        (f"/v2/scores/{wrong}", 422, f"id {NUMBER} 0 to 9223372036854775807")
        for wrong in ("abc", "-1", str(2**63), LONG)
    ),
    ("/v2/scores/0", 404, "Score not found."),
    (f"/v2/scores/{2**63 - 1}", 404, "Score not found."),
    (f"/v2/scores/{HIDDENS}", 404, "Score not found."),
    *((f"/v2/matches/{wrong}", 422, f"id {NUMBER} 1 to 2147483647") for wrong in ("abc", "0", LONG)),
    ("/v2/matches/1", 404, "Match not found."),
    ("/v2/players?country=nld", 422, "country must be a country of two letters"),
    ("/v2/players?priv=x", 422, f"priv {NUMBER}"),
    ("/v2/players?clan_priv=4", 422, f"clan_priv {NUMBER} 0 to 3"),
    ("/v2/players?preferred_mode=-1", 422, f"preferred_mode {NUMBER}"),
    ("/v2/players?play_style=16", 422, f"play_style {NUMBER} 0 to 15"),
    ("/v2/maps?status=6", 422, f"status {NUMBER} 0 to 5"),
    ("/v2/maps?mode=4", 422, f"mode {NUMBER} 0 to 3"),
    *((f"/v2/maps?frozen={wrong}", 422, "frozen must be true, false, 1 or 0") for wrong in ("maybe", "", "2", "null")),
    ("/v2/maps?artist=", 422, "artist must be a text of 1 to 255 characters"),
    (f"/v2/maps?creator={'x' * 256}", 422, "creator must be a text of 1 to 255 characters"),
    ("/v2/scores?map_md5=abc", 422, "map_md5 must be an md5 of 32 hexadecimal digits"),
    ("/v2/scores?mods=-1", 422, f"mods {NUMBER}"),
    ("/v2/scores?status=3", 422, f"status {NUMBER} 0 to 2"),
    ("/v2/scores?user_id=0", 422, f"user_id {NUMBER} 1 to 2147483647"),
    ("/v2/leaderboards/0?sort=name", 422, "sort must be one of"),
    ("/v2/leaderboards/0?country=1", 422, "country must be a country of two letters"),
    ("/v2", 404, "Unknown endpoint"),
    ("/v2/", 404, "Unknown endpoint"),
    ("/v2/nothing", 404, "Unknown endpoint"),
    ("/v2/players/3/nothing", 404, "Unknown endpoint"),
]


def problem(reply: Reply, status: int, words: str) -> str | None:
    """Describe what is wrong with an error response, or return None."""
    if reply.status != status:
        return f"is {reply.status} {reply.body[:200]!r}, not {status}"
    try:
        sentence = error(reply)
    except (AssertionError, ValueError):
        return f"is no error object of version 2: {reply.body[:200]!r}"
    return None if words in sentence and len(sentence) < 320 else f"says {sentence!r} without {words!r}"


@pytest.mark.parametrize("status", [404, 422])
def test_every_invalid_request_gets_an_error_of_version_2(world: World, status: int) -> None:
    records = [record for record in ERRORS if record[1] == status]

    problems = [(path, problem(world.server.get(path), status, words)) for path, _, words in records]

    assert [(path[:120], what) for path, what in problems if what is not None] == []


def test_wrong_key_gets_an_error_of_version_2(world: World) -> None:
    reply = world.server.get("/v2/players", key="wrong")

    assert (reply.status, error(reply)) == (401, "Invalid API key.")


def test_unsupported_method_gets_an_error_of_version_2(world: World) -> None:
    reply = world.server.ask("DELETE", f"/v2/players/{PLAYER}")

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert "DELETE" in error(reply)


def test_restricted_player_is_visible_only_to_themselves_and_staff(world: World) -> None:
    path = f"/v2/players/{HIDDEN}"

    answers = [world.server.get(path, key=key) for key in (None, world.key, world.hidden_key, world.staff_key)]

    assert [reply.status for reply in answers] == [404, 404, 200, 200]
    assert error(answers[0]) == error(answers[1]) == "Player not found."
    assert data(answers[2])["name"] == data(answers[3])["name"] == "Hidden One"
