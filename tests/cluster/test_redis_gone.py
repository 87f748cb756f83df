"""Without Redis, the API, boards and submissions still answer, and guesses at passwords are still counted.

See docs/operate/cluster.md. Only online players, matches and chat get 503.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.demo_server import DemoServer, demo_server
from tests.faces.api.openapi_examples import API_HOST, PICTURE, REQUESTS, ExampleRequest
from tests.patience import patiently
from tests.redises import RedisServer
from tests.wire.kit import BEHIND_PROXY, Reply, eventually
from tests.wire.submitting import OSU, Played, log_in, password_md5, submit, try_to_log_in

from kiai.accounts.credentials import ADDRESS_GUESSES_PER_MINUTE, NAME_GUESSES_PER_MINUTE

WHO_IS_ONLINE: Final = {
    "get_player_count",
    "get_player_status",
    "get_online",
    "get_match",
    "get_v2_server_stats",
    "get_v2_players_id_status",
}
"""The operations that need Redis."""
WRITES: Final = {
    "post_v2_players_id_notes": 201,
    "post_v2_players_id_sanctions": 201,
    "post_v2_reports": 503,  # their limit is not known
    "post_v2_reports_id_close": 404,  # so there is no report
    "post_v2_clans": 201,
    "post_v2_clans_id_invites": 201,
    "post_v2_maps_id_nominations": 201,
}
"""The other operations that do not answer with 200."""

NAMES: Final = ["alice", "bob", "carla", "dora"]
SONG: Final = a_map(100, objects=100, title="Song")
HOME: Final = "198.51.100.1"
GUESSER: Final = "203.0.113.7"
LISTER: Final = "203.0.113.8"
ELSEWHERE: Final = "192.0.2.9"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A server with the demo world whose Redis was stopped."""
    redis = RedisServer()
    try:
        with demo_server(tmp_path_factory.mktemp("gone") / "data", state=redis.url) as server:
            redis.stop()
            yield server
    finally:
        redis.close()


def request(server: DemoServer, ask: ExampleRequest) -> tuple[int, httpx.Headers]:
    headers = dict(ask.headers)
    if ask.by:
        headers["Authorization"] = f"Bearer {server.keys[ask.by]}"
    files = None if ask.upload is None else {ask.upload_as: (ask.upload, PICTURE.read_bytes(), "image/png")}
    with (
        # The address is http. The settings for https would take longer than the request.
        httpx.Client(base_url=server.url, headers={"Host": API_HOST}, timeout=patiently(60), verify=False) as client,
        client.stream(ask.method, ask.target, headers=headers, json=ask.json, files=files) as answer,
    ):
        return answer.status_code, answer.headers


# --- the API


@pytest.mark.parametrize("name", REQUESTS)
def test_every_operation_except_online_players_answers_without_redis(api: DemoServer, name: str) -> None:
    status, headers = request(api, REQUESTS[name])

    assert status == (503 if name in WHO_IS_ONLINE else WRITES.get(name, 200))
    assert int(headers["X-RateLimit-Remaining"]) < int(headers["X-RateLimit-Limit"])


def test_api_rate_limit_applies_without_redis(api: DemoServer) -> None:
    limit = api.services.settings.api_replays_per_minute
    ask = REQUESTS["get_replay"]

    statuses = [request(api, ask)[0] for _ in range(limit)]
    refused = any(request(api, ask)[0] == 429 for _ in range(100 * limit))

    assert set(statuses) <= {200, 429}
    assert refused


def test_start_page_without_redis_shows_registered_players_only(api: DemoServer) -> None:
    page = httpx.get(f"{api.url}/", headers={"Host": "osu.localhost"}, timeout=patiently(60))

    assert page.status_code == 200
    assert 'data-stat="registered"' in page.text
    assert '<data value="" data-stat="online">' in page.text


# --- game clients


class Game(msgspec.Struct):
    """A server behind a proxy on this machine, whose Redis was stopped after the players had logged in."""

    server: Cluster
    tokens: dict[str, str]
    score_id: int

    def page(self, path: str, query: Mapping[str, object], address: str = HOME) -> Reply:
        return self.server.ask("GET", f"{path}?{urlencode(query)}", host=OSU, address=address)

    def friends(self, name: str, password: str, address: str = HOME) -> int:
        """Return the status of a request with this password: 401 for a wrong one."""
        return self.page("/web/osu-getfriends.php", {"u": name, "h": password}, address).status


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    with running(tmp_path_factory.mktemp("game"), NAMES, [SONG], workers=1, **BEHIND_PROXY) as server:
        tokens = {name: log_in(server, name) for name in NAMES}
        stored = submit(server, Played(SONG.md5, "alice", score=1_000))
        server.redis.stop()
        yield Game(server, tokens, int(stored.body.split(b"onlineScoreId:")[1].split(b"|")[0]))
        assert '"unhandled"' not in server.stderr


ME: Final[Mapping[str, object]] = {"u": "bob", "h": password_md5()}
PAGES: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "a board": ("/web/osu-osz2-getscores.php", {"us": "bob", "ha": password_md5(), "c": SONG.md5, "m": 0, "v": 1}),
    "a search": ("/web/osu-search.php", {**ME, "r": 4, "q": "Song", "p": 0, "m": -1}),
    "a set": ("/web/osu-search-set.php", {**ME, "b": SONG.id}),
    "friends": ("/web/osu-getfriends.php", ME),
    "a rating": ("/web/osu-rate.php", {"u": "bob", "p": password_md5(), "c": SONG.md5}),
    "favourites": ("/web/osu-getfavourites.php", ME),
    "last.fm": ("/web/lastfm.php", {"us": "bob", "ha": password_md5(), "b": "a8", "action": "np"}),
}


@pytest.mark.parametrize("name", PAGES)
def test_every_web_request_of_the_game_answers_without_redis(game: Game, name: str) -> None:
    path, query = PAGES[name]

    reply = game.page(path, query)

    assert reply.status == 200
    assert reply.body != b"auth fail"


def test_song_select_shows_scores_without_redis(game: Game) -> None:
    path, query = PAGES["a board"]

    reply = game.page(path, query)

    assert f"{game.score_id}|alice|1000|".encode() in reply.body


def test_replay_without_redis_is_sent_and_not_counted_as_a_view(game: Game) -> None:
    reply = game.page("/web/osu-getreplay.php", {**ME, "m": 0, "c": game.score_id})

    assert (reply.status, reply.body[:1]) == (200, b"]")  # the first byte of LZMA


def test_play_with_a_remembered_password_is_stored_without_redis(game: Game) -> None:
    reply = submit(game.server, Played(SONG.md5, "carla", score=2_000))

    assert reply.status == 200
    assert b"onlineScoreId:" in reply.body


def test_polls_get_503_and_logins_are_rejected_without_redis(game: Game) -> None:
    headers = {"User-Agent": "osu!", "osu-token": game.tokens["alice"]}

    reply = game.server.ask("POST", "/", host="c.localhost", headers=headers, body=b"")
    token = try_to_log_in(game.server, "dora")

    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert token is None


def test_guesses_for_a_name_are_counted_without_redis(game: Game) -> None:
    guesses = [f"{n:032x}" for n in range(4 * NAME_GUESSES_PER_MINUTE)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda guess: game.friends("dora", guess, GUESSER), guesses))

    assert NAME_GUESSES_PER_MINUTE <= statuses.count(401) < len(guesses)
    assert statuses.count(401) + statuses.count(429) == len(guesses)
    assert game.friends("dora", password_md5(), ELSEWHERE) == 200


def test_guesses_from_an_address_are_counted_without_redis(game: Game) -> None:
    guesses = [f"nobody{n}" for n in range(3 * ADDRESS_GUESSES_PER_MINUTE)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda name: game.friends(name, "0" * 32, LISTER), guesses))

    assert ADDRESS_GUESSES_PER_MINUTE <= statuses.count(401) < len(guesses)
    assert statuses.count(401) + statuses.count(429) == len(guesses)


def test_searches_are_rate_limited_without_redis(game: Game) -> None:
    path, query = PAGES["a search"]

    refused = any(game.page(path, query).status == 429 for _ in range(2_000))

    assert refused


def test_everything_works_again_when_redis_is_back(game: Game) -> None:
    game.server.redis.start()

    eventually(lambda: try_to_log_in(game.server, "dora") is not None)

    assert game.server.get("/get_player_count").status == 200
