"""Requests of web front ends to version 2, as their code sends them, and the headers that browsers need."""

import gzip
import hashlib
import io
import json
import re
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest
from PIL import Image
from tests.patience import patiently
from tests.wire.kit import API, Reply, Server, eventually
from tests.wire.rows import Rows
from tests.wire.world import (
    BEST,
    BRACKETS,
    FAILED,
    FRAMES,
    HIDDEN,
    LOVED,
    PLAYER,
    RANKED,
    RELAXED,
    SPACED,
    TAIKO,
    World,
    a_map,
    a_score,
    small_world,
)

from kiai.storage.tables import ratings

PASSWORD: Final = "correct horse 7"
ORIGIN: Final = "https://osu.kiai.example"
PRIVATE: Final = 1_000_000_001
MANY: Final = 120


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with the small world, ratings, a map with a private id, and three players online (one restricted)."""
    # Without a trusted proxy all requests come from one address, which exceeds the usual limit.
    server = Server(tmp_path_factory.mktemp("web") / "data", API_RATE_PER_MINUTE="1000000")
    created = small_world(server)
    created.rows.map(a_map(PRIVATE, set_id=PRIVATE, mode=3), rating_sum=15, rating_count=2)
    created.rows.map(a_map(RANKED), rating_sum=25, rating_count=3)
    created.rows.put(ratings, {"map_key": RANKED, "user_id": PLAYER, "rating": 10, "at_ms": 0})
    for name in ("Player", "Spaced Name", "Hidden One"):
        server.cli("users", "password", name, "--password", PASSWORD)
    # A new password revokes the keys.
    created.key, created.hidden_key = (
        created.rows.api_key(user_id, f"a newer key of {user_id}") for user_id in (PLAYER, HIDDEN)
    )
    add_map_with_many_scores(created.rows)
    try:
        server.start()
        eventually(created.rows.is_outbox_empty)  # a new password ends existing sessions
        for name in ("Player", "Spaced Name", "Hidden One"):
            log_in(server, name)
        yield created
        assert '"unhandled"' not in server.stderr
        server.stop()
    finally:
        server.kill()
        created.rows.close()


def add_map_with_many_scores(rows: Rows) -> None:
    """Add a map with the scores of many players. Their country and mode keep them out of the small world's lists."""
    rows.map(a_map(3_000, set_id=300))
    for n in range(MANY):
        rows.player(1_000 + n, f"Crowd {n}", country="jp")
        rows.score(10_000 + n, 1_000 + n, 3_000, a_score(score=1_000 + n))
        rows.profile(1_000 + n, 3, "jp", pp=1 + n, plays=1 + n)


def log_in(server: Server, name: str) -> None:
    """Log in with the request of the game client."""
    md5, device = hashlib.md5(PASSWORD.encode()).hexdigest(), hashlib.md5(name.encode()).hexdigest()
    hashes = f"{device}:0A1B2C.:{device}:{device}:{device}:"
    reply = server.ask(
        "POST",
        "/",
        host="c.localhost",
        headers={"User-Agent": "osu!"},
        body=f"{name}\n{md5}\nb20250415.2|0|0|{hashes}|0\n".encode(),
    )
    assert len(reply.headers["cho-token"]) == 36, reply


def data(reply: Reply) -> Any:
    """Return the data of a success."""
    assert reply.status == 200, reply.body
    assert reply.json["status"] == "success"
    return reply.json["data"]


# --- the requests of bancho-web.ts: path, and the fields that it reads (`[]` for every entry of a list)

REQUESTS: Final[list[tuple[str, list[str]]]] = [
    ("/v2/server/stats", ["online_players", "total_players"]),
    ("/v2/players/3", ["id", "name", "country", "priv", "clan_id", "creation_time", "latest_activity"]),
    ("/v2/players/Player", ["id", "name", "userpage_content", "preferred_mode"]),
    ("/v2/players/Player?key=username", ["id", "name"]),
    ("/v2/players/3?key=id", ["id", "name"]),
    ("/v2/players/search?q=play", ["[].id", "[].name", "[].country"]),
    ("/v2/players/3/status", ["login_time", "action", "info_text", "mode", "mods", "beatmap_id"]),
    ("/v2/players/3/stats", ["[].mode", "[].rank", "[].country_rank", "[].pp", "[].acc", "[].level"]),
    ("/v2/players/3/stats/0", ["rank", "country_rank", "rscore", "tscore", "plays", "playtime", "total_hits"]),
    *(
        (f"/v2/players/3/scores?scope={scope}&mode=0&limit=5&page=1", ["[].id", "[].pp", "[].perfect", *beatmap])
        for beatmap in [[f"[].beatmap.{name}" for name in ("artist", "title", "version", "set_id", "id", "server")]]
        for scope in ("best", "recent", "firsts")
    ),
    ("/v2/players/3/most_played?mode=0", ["[].plays", "[].set_id", "[].title", "[].covers.list"]),
    ("/v2/maps/1001", ["id", "set_id", "server", "status", "covers.cover", "max_combo", "total_length"]),
    ("/v2/maps/1001/scores?mode=0&mods=HDDT", ["[].player.name", "[].player.country", "[].score", "[].mods"]),
    ("/v2/maps/1001/scores?mode=0", ["[].player.id", "[].player.clan_tag", "[].grade", "[].has_replay"]),
    ("/v2/maps/1001/rating", ["average", "count"]),
    ("/v2/scores/501", ["beatmap.id", "beatmap.covers.card", "player.id", "player.clan_name", "perfect"]),
    ("/v2/leaderboards/0?page=1&page_size=50", ["[].rank", "[].player_id", "[].name", "[].pp", "[].clan_tag"]),
    ("/v2/players?online=true", ["[].id", "[].name"]),
    ("/v2/clans/1", ["id", "name", "tag", "owner"]),
]


def values_at(found: Any, path: str) -> list[Any]:
    """Return the values at a dotted path of a response. `[]` stands for every entry of a list."""
    values = [found]
    for name in path.split("."):
        values = [inner for value in values for inner in (value if name == "[]" else [value[name]])]
    return values


@pytest.mark.parametrize("host", [API, "localhost"])
@pytest.mark.parametrize(("path", "names"), REQUESTS)
def test_every_request_of_a_front_end_returns_the_fields_that_it_reads(
    web: World, host: str, path: str, names: list[str]
) -> None:
    reply = web.server.get(f"/api{path}", host=host, Origin=ORIGIN, Cookie="session=1")

    found = data(reply)
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    for name in names:
        assert values_at(found, name) or found == [], name


def test_server_stats_count_players_online_and_registered(web: World) -> None:
    stats = data(web.server.get("/v2/server/stats"))

    assert (stats["online_players"], stats["total_players"]) == (2, 6)
    assert stats.keys() == {"online_players", "total_players", "total_plays", "maps_with_leaderboard"}


def test_visible_players_online_are_listed(web: World) -> None:
    ids = [one["id"] for one in data(web.server.get("/v2/players?online=true"))]
    v1 = web.server.get("/online").json

    assert ids == [PLAYER, SPACED]
    assert v1 == {
        "status": "success",
        "players": [{"id": PLAYER, "name": "Player"}, {"id": SPACED, "name": "Spaced Name"}],
        "bots": [{"id": 1, "name": "BanchoBot"}],
        "total": 2,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("online=true&country=nl", [PLAYER]),
        ("online=1&ids=4,5,6", [SPACED]),
        ("online=true&ids=5", []),
        ("online=true&page_size=1&page=2", [SPACED]),
        ("online=true&cursor=3", [SPACED]),
        ("online=true&clan_priv=3", [PLAYER]),
        ("online=false&country=de", [SPACED]),
    ],
)
def test_players_online_can_be_filtered_and_paged(web: World, query: str, expected: list[int]) -> None:
    assert [one["id"] for one in data(web.server.get(f"/v2/players?{query}"))] == expected


def test_online_of_version_1_is_paged(web: World) -> None:
    first = web.server.get("/online?limit=1")
    second = web.server.get("/online?limit=1&offset=1")

    assert [one["id"] for one in first.json["players"] + second.json["players"]] == [PLAYER, SPACED]
    assert (first.json["total"], second.json["total"]) == (2, 2)
    assert "offset=1" in first.headers["link"]
    assert "link" not in second.headers


def test_status_has_login_time_in_whole_seconds_in_version_2(web: World) -> None:
    found = data(web.server.get("/v2/players/3/status"))

    assert isinstance(found["login_time"], int)
    assert isinstance(web.server.get("/get_player_status?id=3").json["player_status"]["login_time"], float)


def test_missing_rank_is_null_in_version_2_and_0_in_version_1(web: World) -> None:
    new = data(web.server.get(f"/v2/players/{BRACKETS}/stats"))
    old = web.server.get(f"/get_player_info?id={BRACKETS}&scope=stats").json["player"]["stats"]

    assert [(one["mode"], one["rank"], one["country_rank"]) for one in new[:2]] == [(0, 3, 2), (1, None, None)]
    assert (old["0"]["rank"], old["1"]["rank"], old["1"]["country_rank"]) == (3, 0, 0)


def test_ranks_of_a_leaderboard_continue_across_pages(web: World) -> None:
    pages = [data(web.server.get(f"/v2/leaderboards/3?page_size=50&page={page}")) for page in (1, 2, 3)]

    assert [one["rank"] for page in pages for one in page] == list(range(1, MANY + 1))


def test_rating_is_the_average_and_number_of_votes(web: World) -> None:
    assert data(web.server.get(f"/v2/maps/{RANKED}/rating")) == {"average": 8.333, "count": 3}
    assert data(web.server.get(f"/v2/maps/{LOVED}/rating")) == {"average": 0.0, "count": 0}


def test_maps_have_the_origin_of_their_ids(web: World) -> None:
    found = data(web.server.get(f"/v2/maps?ids={RANKED},{PRIVATE}"))

    assert [one["server"] for one in found] == ["osu!", "private"]


@pytest.mark.parametrize(
    ("path", "with_player", "with_beatmap"),
    [
        ("/v2/scores?page_size=1", False, False),
        ("/v2/scores?page_size=1&include=player", True, False),
        ("/v2/scores?page_size=1&include=beatmap", False, True),
        ("/v2/scores?page_size=1&include=player,beatmap", True, True),
        ("/v2/scores?page_size=1&include=beatmap,player", True, True),
        ("/v2/players/3/scores?limit=1", False, True),
        ("/v2/players/3/scores?limit=1&include=player", True, True),
        ("/v2/players/3/scores/best?include=player", True, True),
        (f"/v2/maps/{RANKED}/scores?limit=1", True, False),
        (f"/v2/maps/{RANKED}/scores?limit=1&include=beatmap", True, True),
    ],
)
def test_scores_contain_the_included_objects(web: World, path: str, with_player: bool, with_beatmap: bool) -> None:
    [score] = data(web.server.get(path))

    assert ("player" in score, "beatmap" in score) == (with_player, with_beatmap)
    assert not with_player or score["player"]["id"] == score["userid"]
    assert not with_beatmap or score["beatmap"]["md5"] == score["map_md5"]


def test_scores_have_a_flag_for_a_stored_replay(web: World) -> None:
    found = {one["id"]: one["has_replay"] for one in data(web.server.get("/v2/scores?user_id=3"))}

    assert found == {RELAXED: False, 506: False, 505: False, FAILED: False, BEST: True}


def test_replay_equals_version_1(web: World) -> None:
    new, old = web.server.get(f"/v2/scores/{BEST}/replay"), web.server.get(f"/get_replay?id={BEST}")
    part = web.server.get(f"/v2/scores/{BEST}/replay", Range="bytes=0-9")

    assert new.status == 200
    assert new.body == old.body
    assert FRAMES in new.body
    assert new.headers["content-disposition"] == old.headers["content-disposition"]
    assert (part.status, part.body) == (206, old.body[:10])


@pytest.mark.parametrize(
    ("host", "pictures"), [(API, "assets.localhost"), ("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")]
)
def test_pictures_of_a_map_are_served_at_the_given_addresses(web: World, host: str, pictures: str) -> None:
    sizes = {"cover": (900, 250), "card": (400, 140), "list": (150, 150), "slimcover": (1920, 360)}
    authority = f"{host}:{web.server.port}"

    covers = data(web.server.get(f"/api/v2/maps/{RANKED}", host=authority))["covers"]

    assert list(covers) == list(sizes)
    for kind, url in covers.items():
        base = f"http://{pictures}:{web.server.port}"
        assert url.startswith(base)
        reply = web.server.get(url.removeprefix(base), host=f"{pictures}:{web.server.port}")
        assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(io.BytesIO(reply.body)) as picture:
            assert picture.size == sizes[kind]


@pytest.mark.parametrize(
    "path",
    [
        "/covers/999/cover.jpg",
        "/covers/100/huge.jpg",
        "/covers/100/cover.png",
        "/covers/x/card.jpg",
        "/covers/0/card.jpg",
    ],
)
def test_picture_of_an_unknown_set_or_size_is_not_found(web: World, path: str) -> None:
    assert web.server.get(path, host="assets.localhost").status == 404


# --- keys


def test_me_returns_the_keys_account_even_if_restricted(web: World) -> None:
    me, hidden = (web.server.get("/v2/me", key=key) for key in (web.key, web.hidden_key))

    assert (data(me)["id"], data(hidden)["id"]) == (PLAYER, HIDDEN)
    assert me.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("path", ["/v2/me", "/get_friends", "/calculate_pp?id=75"])
@pytest.mark.parametrize("key", [None, "wrong", "Bearer wrong", "Bearer", ""])
def test_missing_or_wrong_key_gets_401_with_www_authenticate(web: World, path: str, key: str | None) -> None:
    reply = web.server.get(path, key=key)

    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    if path.startswith("/v2"):
        assert (reply.json["code"], reply.json["param"]) == ("invalid_key", None)
    else:
        assert reply.said == "Invalid API key."


HIDDEN_PLAYERS_PATHS: Final = (
    f"/v2/players/{HIDDEN}",
    "/v2/players/hidden_one",
    "/v2/players/Hidden%20One?key=username",
    f"/v2/players/{HIDDEN}/status",
    f"/v2/players/{HIDDEN}/stats",
    f"/v2/players/{HIDDEN}/scores",
    f"/v2/players/{HIDDEN}/most_played",
    "/v2/scores/508",
    "/v2/scores/508/replay",
)


@pytest.mark.parametrize("path", HIDDEN_PLAYERS_PATHS)
def test_restricted_player_is_visible_only_with_their_own_key_or_a_key_of_staff(web: World, path: str) -> None:
    statuses = [web.server.get(path, key=key).status for key in (None, web.key, web.hidden_key, web.staff_key)]

    expected = 404 if path.endswith("/status") else 200  # restricted players do not appear online
    assert statuses[:2] == [404, 404]
    assert statuses[2:] in ([200, 200], [expected, expected])


@pytest.mark.parametrize(
    "path",
    [
        "/v2/players?ids=6",
        "/v2/players?ids=6&online=true",
        "/v2/players?online=true",
        "/v2/players/search?q=hidden",
        "/v2/scores?user_id=6&include=player",
        f"/v2/maps/{RANKED}/scores",
        "/v2/leaderboards/0",
        "/online",
    ],
)
@pytest.mark.parametrize("with_key", [False, True])
def test_restricted_player_is_in_no_list(web: World, path: str, with_key: bool) -> None:
    reply = web.server.get(path, key=web.hidden_key if with_key else None)

    assert reply.status == 200
    assert b"Hidden" not in reply.body


# --- errors of version 2


@pytest.mark.parametrize(
    ("path", "status", "code", "param"),
    [
        ("/v2/players?countrry=nl", 422, "unknown_parameter", "countrry"),
        ("/v2/players?page=0", 422, "invalid_parameter", "page"),
        ("/v2/players?page=1&page=1", 422, "invalid_parameter", "page"),
        ("/v2/players/search", 422, "missing_parameter", "q"),
        ("/v2/players/x", 422, "invalid_parameter", "id"),
        ("/v2/players/3/stats/9", 422, "invalid_parameter", "mode"),
        ("/v2/players/999", 404, "not_found", None),
        ("/v2/nothing", 404, "no_such_endpoint", None),
        ("/v2/me", 401, "invalid_key", None),
    ],
)
def test_error_has_code_parameter_and_request_id(
    web: World, path: str, status: int, code: str, param: str | None
) -> None:
    reply = web.server.get(path)

    assert reply.status == status
    assert (reply.json["code"], reply.json["param"]) == (code, param)
    assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_unsupported_method_and_range_have_error_codes(web: World) -> None:
    method = web.server.ask("DELETE", "/v2/players")
    part = web.server.get(f"/v2/scores/{BEST}/replay", Range="bytes=999999999-")

    assert (method.status, method.json["code"]) == (405, "method_not_allowed")
    assert (part.status, part.json["code"], part.json["param"]) == (416, "range_not_satisfiable", "Range")


# --- links to the next page

LISTS: Final = (
    "/v2/players?page_size=2",
    "/v2/players?ids=3,4,5,7&page_size=1",
    "/v2/players?online=true&page_size=1",
    "/v2/players/search?q=er&limit=1",
    "/v2/players/3/scores?scope=recent&limit=1",
    "/v2/players/3/scores/recent?page_size=1",
    "/v2/players/3/most_played?limit=1",
    "/v2/maps?page_size=2",
    "/v2/maps?page_size=2&sort=-id",
    "/v2/maps?page_size=2&sort=-diff",
    "/v2/maps?page_size=2&q=normal",
    "/v2/maps/3000/scores?page_size=50",
    "/v2/scores?page_size=7&include=player",
    "/v2/leaderboards/0?page_size=1",
    "/v2/leaderboards/3?sort=plays&page_size=50",
    "/v2/clans?page_size=1",
    "/get_player_scores?id=3&scope=recent&limit=1",
    "/get_player_most_played?id=3&limit=1",
    "/get_map_scores?id=3000&scope=best&limit=50",
    "/get_map_scores?id=3000&scope=recent&limit=50",
    "/get_leaderboard?limit=1",
    "/get_leaderboard?mode=3&sort=plays&limit=50&country=jp",
)


def entries(reply: Reply) -> list[Any]:
    """Return the list in a response of either version."""
    assert reply.status == 200, reply.body
    [found] = [value for name, value in reply.json.items() if isinstance(value, list) and name != "bots"]
    return found


@pytest.mark.parametrize("path", LISTS)
def test_links_lead_through_every_entry_once(web: World, path: str) -> None:
    on_one_page = re.sub(r"(page_size|limit)=\d+", r"\1=100", path)
    everything = entries(web.server.get(on_one_page))
    if "3000" in path or "/3?" in path or "mode=3" in path:
        assert len(everything) == 100  # the list continues

    found: list[Any] = []
    following: str | None = path
    while following is not None:
        reply = web.server.get(following)
        found += entries(reply)
        link = reply.headers.get("link")
        match = re.fullmatch(r'<http://api\.localhost(/[!-;=?-~]*)>; rel="next"', link) if link else None
        assert (match is None) == (link is None), link
        following = match[1] if match else None

    assert found[: len(everything)] == everything
    identities = [entry.get("player_id") or entry.get("id") or entry for entry in found]
    assert len(identities) == len({json.dumps(identity) for identity in identities})


@pytest.mark.parametrize(
    ("host", "path", "headers", "expected"),
    [
        (API, "/v2/clans?page_size=1", {}, "http://api.localhost/v2/clans"),
        ("api.localhost:8080", "//api//v2/clans/?page_size=1", {}, "http://api.localhost:8080//api//v2/clans/"),
        ("[::1]:8080", "/api/v2/clans?page_size=1", {}, "http://[::1]:8080/api/v2/clans"),
        ("127.0.0.1", "/api/v1/get_leaderboard?limit=1", {}, "http://127.0.0.1/api/v1/get_leaderboard"),
        (API, "/v2/clans?page_size=1", {"X-Forwarded-Proto": "https"}, "http://api.localhost/v2/clans"),
        ('a"<>b', "/api/v2/clans?page_size=1", {}, "/api/v2/clans"),
    ],
)
def test_link_has_the_host_of_the_request(
    web: World, host: str, path: str, headers: dict[str, str], expected: str
) -> None:
    reply = web.server.ask("GET", path, host=host, headers=headers)

    assert reply.headers["link"].startswith(f"<{expected}?")


def test_link_contains_the_escaped_filters(web: World) -> None:
    reply = web.server.get("/v2/maps?q=normal%20%3E%22%0d&page_size=1")

    assert reply.headers["link"] == (
        f'<http://api.localhost/v2/maps?q=normal+%3E%22%0D&page_size=1&cursor={RANKED}>; rel="next"'
    )


def test_links_and_pictures_have_the_scheme_and_host_named_by_a_trusted_proxy(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = Server(tmp_path_factory.mktemp("proxied") / "data", TRUSTED_PROXY="127.0.0.0/8")
    small_world(server).rows.close()
    try:
        server.start()
        forwarded = {
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "api.kiai.example",
        }
        both_named = server.ask("GET", "/v2/maps?page_size=1", host=API, headers=forwarded)
        none_named = server.ask(
            "GET", "/v2/maps?page_size=1", host="api.kiai.example", headers={"X-Forwarded-For": "203.0.113.9"}
        )
        scheme_named = server.ask(
            "GET", "/v2/maps?page_size=1", host="api.kiai.example", headers={"X-Forwarded-Proto": "https"}
        )
        wrong = server.ask(
            "GET", "/v2/maps?page_size=1", host=API, headers={"X-Forwarded-Proto": "ftp", "X-Forwarded-Host": "<x>"}
        )
        server.stop()
    finally:
        server.kill()

    for reply in (both_named, scheme_named, none_named):
        assert reply.headers["link"].startswith("<https://api.kiai.example/v2/maps?")
        assert reply.json["data"][0]["covers"]["cover"].startswith("https://assets.kiai.example/covers/")
    assert wrong.headers["link"].startswith("<https://api.localhost/v2/maps?")


# --- totals of version 1


@pytest.mark.parametrize(
    ("path", "total"),
    [
        ("/get_map_scores?id=3000&scope=best", MANY),
        ("/get_map_scores?id=3000&scope=recent", MANY),
        ("/get_map_scores?id=3000&scope=best&limit=100&offset=100", MANY),
        ("/get_map_scores?id=3000&scope=best&offset=500", MANY),
        ("/get_map_scores?id=3000&scope=best&mods=HD", 0),
        (f"/get_map_scores?id={RANKED}&scope=best", 3),
        (f"/get_map_scores?id={RANKED}&scope=best&limit=1", 3),
        (f"/get_map_scores?id={RANKED}&scope=best&mods=HD&limit=1", 1),
        (f"/get_map_scores?id={RANKED}&scope=best&mode=4&limit=1", 1),
        ("/get_leaderboard?mode=3", MANY),
        ("/get_leaderboard?mode=3&sort=plays", MANY),
        ("/get_leaderboard?mode=3&sort=plays&country=nl", 0),
        ("/get_leaderboard?limit=1", 3),
        ("/get_leaderboard?limit=1&country=nl", 2),
        ("/get_leaderboard?sort=plays&limit=1&country=nl", 2),
        ("/get_player_most_played?id=3&limit=1", 3),
        ("/get_player_most_played?id=3&mode=1", 0),
    ],
)
def test_lists_of_version_1_have_a_total(web: World, path: str, total: int) -> None:
    assert web.server.get(path).json["total"] == total


def test_total_is_updated_with_the_board(web: World) -> None:
    path = f"/get_map_scores?id={TAIKO}&scope=best&mode=1&limit=1"
    before = web.server.get(path).json["total"]

    for n in range(2):
        web.rows.score(9_000 + n, SPACED + n, TAIKO, a_score(mode=1, score=5 + n))
        web.rows.map(a_map(TAIKO, mode=1, set_id=101, artist="Drummer"), board_version=n + 1)

    eventually(lambda: bool(web.server.get(path).json["total"] == 2))
    assert before == 0


# --- gzip

LONG: Final = "/v2/maps/3000/scores?page_size=50"


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("gzip;q=1.000", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("br, deflate", False),
        ("gzipped", False),
        ("gzip;q=2", False),
        ("gzip;q=-1", False),
        ("gzip;q=x", False),
        ("", False),
        (",;,", False),
        (", ".join(["gzip"] * 400), False),
    ],
)
def test_gzip_is_used_if_preferred(web: World, accepted: str, compressed: bool) -> None:
    plain = web.server.get(LONG)

    reply = web.server.get(LONG, Accept_Encoding=accepted)

    assert ("content-encoding" in reply.headers) == compressed
    assert (gzip.decompress(reply.body) if compressed else reply.body) == plain.body
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert not compressed or len(reply.body) < len(plain.body) / 3


@pytest.mark.parametrize(
    "path",
    [
        LONG,
        "/get_map_scores?id=3000&scope=best",
        "/get_player_info?id=3&scope=all",
        "/get_leaderboard?mode=3&limit=100",
    ],
)
def test_responses_of_both_versions_are_compressed(web: World, path: str) -> None:
    reply = web.server.get(path, Accept_Encoding="gzip")

    assert reply.headers["content-encoding"] == "gzip"
    assert gzip.decompress(reply.body) == web.server.get(path).body


@pytest.mark.parametrize(
    "path",
    [
        "/get_player_count",  # short
        "/get_player_info?id=999&scope=all",  # an error
        f"/get_replay?id={BEST}",
        f"/v2/scores/{BEST}/replay",
    ],
)
def test_short_bodies_errors_and_files_are_not_compressed(web: World, path: str) -> None:
    reply = web.server.get(path, Accept_Encoding="gzip")

    assert "content-encoding" not in reply.headers
    assert reply.body == web.server.get(path).body or "request_id" in reply.json


def test_etag_is_the_same_for_plain_and_compressed_bodies(web: World) -> None:
    path = "/get_map_scores?id=3000&scope=best"
    plain = web.server.get(path)
    compressed = web.server.get(path, Accept_Encoding="gzip")
    again = web.server.get(path, Accept_Encoding="gzip", If_None_Match=plain.headers["etag"])
    crossed = web.server.get(path, If_None_Match=compressed.headers["etag"])

    assert compressed.headers["etag"] == plain.headers["etag"]
    assert plain.headers["etag"].startswith("W/")
    for reply in (again, crossed):
        assert (reply.status, reply.body) == (304, b"")
        assert "content-encoding" not in reply.headers
        assert "Accept-Encoding" in reply.headers["vary"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs.css"])
@pytest.mark.parametrize("host", [API, "localhost"])
def test_documentation_is_compressed(web: World, path: str, host: str) -> None:
    plain, reply = web.server.get(path, host=host), web.server.get(path, host=host, Accept_Encoding="gzip")
    again = web.server.get(path, host=host, Accept_Encoding="gzip", If_None_Match=reply.headers["etag"])

    assert reply.headers["content-encoding"] == "gzip"
    assert gzip.decompress(reply.body) == plain.body
    assert (again.status, again.body) == (304, b"")


def test_head_has_the_length_of_the_compressed_body(web: World) -> None:
    got = web.server.get(LONG, Accept_Encoding="gzip")
    with socket.create_connection(("127.0.0.1", web.server.port), timeout=patiently(10)) as connection:
        head = f"HEAD {LONG} HTTP/1.1\r\nHost: {API}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        raw = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert raw.endswith(b"\r\n\r\n")
    assert f"content-length: {len(got.body)}\r\n".encode() in raw.lower()
    assert b"content-encoding: gzip" in raw.lower()


def test_event_stream_is_not_compressed(web: World) -> None:
    with socket.create_connection(("127.0.0.1", web.server.port), timeout=patiently(10)) as connection:
        connection.sendall(f"GET /v2/events HTTP/1.1\r\nHost: {API}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        raw = b""
        while b"retry:" not in raw:
            received = connection.recv(65_536)
            assert received, raw
            raw += received

    assert b"text/event-stream" in raw
    assert b"content-encoding" not in raw.lower()


# --- browsers

EXPOSED: Final = {
    "etag",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
    "content-disposition",
    "x-request-id",
    "link",
}
ALLOWED_HEADERS: Final = {
    "authorization",
    "content-type",
    "if-none-match",
    "last-event-id",
    "x-requested-with",
    "cache-control",
}
EVERYWHERE: Final = (
    "/get_player_count",
    "/get_map_info?id=1001",
    "/get_player_info",
    "/get_friends",
    "/nothing",
    "/v2/players",
    "/v2/players?unknown=1",
    "/v2/me",
    "/v2/nothing",
    f"/get_replay?id={BEST}",
    "/openapi.json",
    "/docs",
)


def words(header: str) -> set[str]:
    """Return the items of a header's list in lower case."""
    return {item.strip() for item in header.lower().split(",")}


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173", "null", "https://[::1]:8443"])
def test_pages_of_any_origin_may_read_any_response_with_credentials(web: World, path: str, origin: str) -> None:
    reply = web.server.get(path, Origin=origin)

    assert reply.headers["access-control-allow-origin"] == origin
    assert reply.headers["access-control-allow-credentials"] == "true"
    assert words(reply.headers["access-control-expose-headers"]) == EXPOSED
    assert {"origin", "accept-encoding"} <= words(reply.headers["vary"])
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "a, b"}, {"Origin": "https://" + "x" * 400}, {"Origin": "<script>"}]
)
def test_request_without_a_valid_origin_gets_the_wildcard(web: World, path: str, headers: dict[str, str]) -> None:
    reply = web.server.ask("GET", path, headers=headers)

    assert reply.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in reply.headers
    assert {"origin", "accept-encoding"} <= words(reply.headers["vary"])


def paths(web: World) -> list[tuple[str, str]]:
    """Return every path of the document with its methods."""
    found = []
    for path, methods in web.server.get("/openapi.json").json["paths"].items():
        found.append((path.replace("{id}", "3").replace("{mode}", "0").replace("{scope}", "best"), ", ".join(methods)))
    return found


def test_every_path_answers_preflights_with_its_methods(web: World) -> None:
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,if-none-match",
    }
    routes = [*paths(web), ("/docs", "get"), ("/docs.css", "get"), ("/openapi.json", "get"), ("/nothing", "get")]
    assert len(routes) > 40

    for path, methods in routes:
        reply = web.server.ask("OPTIONS", path, headers=preflight)

        assert (reply.status, reply.body) == (204, b""), path
        assert words(reply.headers["access-control-allow-headers"]) == ALLOWED_HEADERS, path
        expected = set(methods.split(", ")) | {"options"} | ({"head"} if "get" in methods else set())
        assert words(reply.headers["allow"]) == words(reply.headers["access-control-allow-methods"]) == expected, path
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert int(reply.headers["access-control-max-age"]) > 0


def test_options_needs_no_key_and_has_no_rate_limit(web: World) -> None:
    reply = web.server.ask("OPTIONS", "/v2/me", headers={"Authorization": "wrong"})

    assert reply.status == 204
    assert "x-ratelimit-limit" not in reply.headers


# --- slashes


@pytest.mark.parametrize("host", [API, "localhost"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/get_player_count/",
        "/api//get_player_count",
        "//api/get_player_count",
        "//api//v1//get_player_count//",
        "/api/v1/get_player_count/",
        "/api/v2/server/stats/",
        "/api//v2//server//stats//",
    ],
)
def test_extra_slashes_are_ignored(web: World, host: str, path: str) -> None:
    reply = web.server.get(path, host=host)

    assert (reply.status, reply.json["status"]) == (200, "success")


@pytest.mark.parametrize(
    "path", ["//get_player_count", "/get_player_count/?x=1", "/v1//get_player_count", "//v1/online", "/docs/", "//docs"]
)
def test_extra_slashes_are_ignored_on_the_api_host(web: World, path: str) -> None:
    assert web.server.get(path).status == 200


@pytest.mark.parametrize("path", ["/docs/", "/openapi.json/", "//docs"])
def test_extra_slashes_are_ignored_in_the_documentation(web: World, path: str) -> None:
    assert web.server.get(path, host="localhost").status == 200
