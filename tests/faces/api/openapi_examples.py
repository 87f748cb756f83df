"""The examples of the OpenAPI document and of `/docs`: requests, and what a server on the demo world answers.

    .venv/bin/python -m tests.faces.api.openapi_examples

writes `src/kiai/faces/api/examples.json` anew. A new operation needs a line in `REQUESTS`.
"""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from tests.demo_server import HOST, MAP, PLAYER, RESTRICTED, SUPPORTER, DemoServer, demo_server
from tests.patience import patiently

from kiai.faces.api import examples
from kiai.faces.api.examples import Example, Examples
from kiai.realtime.port import StateUnavailable

FILE: Final = Path(examples.__file__).with_name(examples.FILE)
MAKE: Final = ".venv/bin/python -m tests.faces.api.openapi_examples"
API_HOST: Final = "api.localhost:8080"
SHOWN_HEADERS: Final = (
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "Link",
    "Retry-After",
    "WWW-Authenticate",
)
NEARLY: Final = 1e-6  # pp and stars may differ in their last digits from machine to machine
REQUEST_ID: Final = "5f0c1b7e-2a"
EVENTS_SHOWN: Final = 3
PICTURE: Final = Path(__file__).with_name("files") / "avatar.png"
SCORE: Final = 63


class Ask(msgspec.Struct, frozen=True):
    """A request. `by` is the player whose key is sent, 0 for none."""

    target: str
    by: int = 0
    method: str = "GET"
    json: dict[str, Any] | None = None
    upload: str | None = None
    headers: dict[str, str] = {}
    body: bytes | None = None
    """What is sent instead of JSON or a picture; not shown."""


_CHANGES: Final[dict[str, Any]] = {"preferred_mode": 3, "play_style": 6}

REQUESTS: Final[Mapping[str, Ask]] = {
    # v1
    "get_player_count": Ask("/get_player_count"),
    "get_player_info": Ask(f"/get_player_info?id={PLAYER}&scope=all"),
    "get_player_status": Ask(f"/get_player_status?id={PLAYER}"),
    "get_player_scores": Ask(f"/get_player_scores?id={PLAYER}&scope=best&mode=0&limit=1&include_loved=true"),
    "get_player_most_played": Ask(f"/get_player_most_played?id={PLAYER}&mode=0&limit=2"),
    "search_players": Ask("/search_players?q=cri"),
    "get_leaderboard": Ask("/get_leaderboard?mode=0&sort=pp&limit=2"),
    "get_online": Ask("/online?limit=2"),
    "get_map_info": Ask(f"/get_map_info?id={MAP}"),
    "get_map_scores": Ask(f"/get_map_scores?id={MAP}&scope=best&mode=0&limit=2"),
    "calculate_pp": Ask(f"/calculate_pp?id={MAP}&mods=HDDT&acc=99.5&acc=98", by=PLAYER),
    "get_score_info": Ask(f"/get_score_info?id={SCORE}"),
    "get_replay": Ask(f"/get_replay?id={SCORE}"),
    "get_match": Ask("/get_match?id=1"),
    "get_clan": Ask("/get_clan?id=1"),
    "get_mappool": Ask("/get_mappool?id=1"),
    "get_friends": Ask("/get_friends", by=PLAYER),
    # v2
    "get_v2_server_stats": Ask("/v2/server/stats"),
    "get_v2_me": Ask("/v2/me", by=PLAYER),
    "get_v2_players": Ask("/v2/players?country=us&page_size=2"),
    "get_v2_players_search": Ask("/v2/players/search?q=cri&limit=2"),
    "get_v2_players_id": Ask(f"/v2/players/{PLAYER}"),
    "get_v2_players_id_status": Ask(f"/v2/players/{PLAYER}/status"),
    "get_v2_players_id_stats": Ask(f"/v2/players/{PLAYER}/stats"),
    "get_v2_players_id_stats_mode": Ask(f"/v2/players/{PLAYER}/stats/0"),
    "get_v2_players_id_scores_scope": Ask(f"/v2/players/{PLAYER}/scores/best?mode=0&page_size=1"),
    "get_v2_players_id_scores": Ask(f"/v2/players/{PLAYER}/scores?scope=recent&mode=0&limit=1"),
    "get_v2_players_id_most_played": Ask(f"/v2/players/{PLAYER}/most_played?mode=0&limit=1"),
    "get_v2_players_id_medals": Ask(f"/v2/players/{PLAYER}/medals"),
    "get_v2_players_id_history_mode": Ask(f"/v2/players/{PLAYER}/history/0"),
    "get_v2_leaderboards_mode": Ask("/v2/leaderboards/0?sort=pp&page_size=2"),
    "get_v2_clans": Ask("/v2/clans"),
    "get_v2_clans_id": Ask("/v2/clans/1"),
    "get_v2_clans_id_members": Ask("/v2/clans/1/members"),
    "get_v2_clans_id_leaderboard": Ask("/v2/clans/1/leaderboard?mode=0"),
    "get_v2_maps": Ask("/v2/maps?mode=3&frozen=true&page_size=1"),
    "get_v2_maps_id": Ask(f"/v2/maps/{MAP}"),
    "get_v2_maps_id_scores": Ask(f"/v2/maps/{MAP}/scores?mode=0&limit=2"),
    "get_v2_maps_id_rating": Ask(f"/v2/maps/{MAP}/rating"),
    "get_v2_scores": Ask("/v2/scores?mode=0&page_size=2&include=player"),
    "get_v2_scores_id": Ask(f"/v2/scores/{SCORE}"),
    "get_v2_scores_id_replay": Ask(f"/v2/scores/{SCORE}/replay"),
    "get_v2_matches": Ask("/v2/matches?state=past&page_size=1"),
    "get_v2_matches_id": Ask("/v2/matches/1?page_size=4"),
    "get_v2_events": Ask("/v2/events?types=match,presence", headers={"Last-Event-ID": "0"}),
    # What changes something comes last, so that no other answer depends on it.
    "set_player_info": Ask("/set_player_info", by=PLAYER, method="POST", json=_CHANGES),
    "set_player_info_with_put": Ask("/set_player_info", by=PLAYER, method="PUT", json=_CHANGES),
    "set_avatar": Ask("/set_avatar", by=PLAYER, method="POST", upload="avatar.png"),
    "set_avatar_with_put": Ask("/set_avatar", by=PLAYER, method="PUT", upload="avatar.png"),
}

ERRORS: Final[Mapping[str, Mapping[int, tuple[Ask, ...]]]] = {
    "v1": {
        400: (
            Ask(f"/get_player_info?id={PLAYER}"),
            Ask("/get_player_info?scope=all"),
            Ask(f"/get_player_scores?id={PLAYER}&scope=best&limit=500"),
            Ask(f"/get_player_scores?id={PLAYER}&scope=best&mode=9"),
        ),
        401: (Ask("/get_friends"),),
        403: (
            Ask("/get_friends", by=RESTRICTED),
            Ask("/set_player_info", by=PLAYER, method="POST", json={"name": "Another Name"}),
        ),
        404: (Ask("/get_player_info?id=999999&scope=all"), Ask("/get_map_info?id=999999"), Ask("/get_score_info?id=0")),
        409: (Ask("/set_player_info", by=SUPPORTER, method="POST", json={"name": "Frotol"}),),
        413: (Ask("/set_player_info", by=PLAYER, method="POST", body=b" " * (256 * 1024 + 1)),),
        415: (Ask("/set_avatar", by=PLAYER, method="POST", body=b"no picture"),),
        416: (Ask(f"/get_replay?id={SCORE}", headers={"Range": "bytes=9999999-"}),),
        429: (Ask("/get_player_count", by=HOST),),
        503: (Ask("/get_player_count"),),
    },
    "v2": {
        401: (Ask("/v2/players", headers={"Authorization": "Bearer a-revoked-key"}),),
        404: (Ask("/v2/players/999999"), Ask("/v2/maps/999999"), Ask("/v2/scores/0")),
        422: (Ask("/v2/players?page=0"), Ask("/v2/maps?mode=4"), Ask("/v2/players?contry=nl")),
        416: (Ask(f"/v2/scores/{SCORE}/replay", headers={"Range": "bytes=9999999-"}),),
        429: (Ask("/v2/players", by=HOST),),
        503: (Ask("/v2/server/stats"),),
    },
}


class Sent(msgspec.Struct, frozen=True):
    """A header of an answer: of which response of the document."""

    operation: str
    """The operationId, or the version of an error."""
    status: int
    header: str


class Collected(msgspec.Struct, frozen=True):
    """What the server answered."""

    examples: Examples
    sent: set[Sent]


def collect(server: DemoServer) -> Collected:
    """Sends every request."""
    sent: set[Sent] = set()
    with httpx.Client(base_url=server.url, headers={"Host": API_HOST}, timeout=patiently(60)) as client:

        def answers(name: str, *asks: Ask) -> list[Example]:
            return [_send(client, server, ask, name, sent) for ask in asks]

        found = {name: answers(name, ask)[0] for name, ask in REQUESTS.items()}
        bad = {name: one.answer for name, one in found.items() if one.status != 200}
        assert not bad, bad
        server.run(_use_up(server, HOST))
        errors = {
            version: {str(code): answers(version, *asks) for code, asks in by_code.items() if code != 503}
            for version, by_code in ERRORS.items()
        }
        with _unavailable(server):
            for version, by_code in ERRORS.items():
                errors[version]["503"] = answers(version, *by_code[503])
    for answered in errors.values():
        for status, shown in answered.items():
            assert {str(one.status) for one in shown} == {status}, shown
    return Collected(Examples(found, errors), sent)


async def _use_up(server: DemoServer, user_id: int) -> None:
    """Leaves this player nothing of the limit on all requests."""
    settings = server.services.settings
    limit = settings.api_rate_per_minute
    for _ in range(limit):
        await server.services.limiter.take(f"api:user:{user_id}", limit=limit, period_s=60.0)


@contextlib.contextmanager
def _unavailable(server: DemoServer) -> Iterator[None]:
    """The store of the realtime state does not answer, as when Redis is down."""

    async def online_count() -> int:
        raise StateUnavailable

    realtime = server.services.realtime
    kept, realtime.online_count = realtime.online_count, online_count  # type: ignore[method-assign]
    try:
        yield
    finally:
        realtime.online_count = kept  # type: ignore[method-assign]


def _send(client: httpx.Client, server: DemoServer, ask: Ask, name: str, sent: set[Sent]) -> Example:
    headers = dict(ask.headers)
    if ask.by:
        headers["Authorization"] = f"Bearer {server.keys[ask.by]}"
    files = None if ask.upload is None else {"avatar": (ask.upload, PICTURE.read_bytes(), "image/png")}
    request = client.build_request(
        ask.method, ask.target, headers=headers, json=ask.json, files=files, content=ask.body
    )
    answer = client.send(request, stream=True)
    sent.update(Sent(name, answer.status_code, header.lower()) for header in answer.headers)
    try:
        shown = {name: answer.headers[name] for name in SHOWN_HEADERS if name in answer.headers}
        return Example(
            method=ask.method,
            target=ask.target,
            status=answer.status_code,
            answer=_body(answer),
            needs_key=bool(ask.by),
            headers=ask.headers,
            json=ask.json,
            upload=ask.upload,
            answer_headers=shown,
        )
    finally:
        answer.close()


def _body(answer: httpx.Response) -> Any:
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if kind == "application/json":
        return _normal(msgspec.json.decode(answer.read()))
    if kind == "text/event-stream":
        return _events(answer.iter_text())
    answer.read()
    return None


def _events(chunks: Iterator[str]) -> str:
    """The first events of a stream."""
    text = ""
    while text.count("\n\n") < EVENTS_SHOWN:
        text += next(chunks)
    return "\n\n".join(text.split("\n\n")[:EVENTS_SHOWN]) + "\n\n"


def _normal(value: Any) -> Any:
    """Without what is different in every answer."""
    if isinstance(value, dict):
        return {name: REQUEST_ID if name == "request_id" else _normal(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_normal(one) for one in value]
    return value


def differences(wanted: Any, found: Any, place: str = "") -> Iterator[str]:
    """Where two values differ. Numbers are equal when they are within `NEARLY` of each other."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in {**wanted, **found}:
            if name not in found:
                yield f"{place}/{name} is gone"
            elif name not in wanted:
                yield f"{place}/{name} is new"
            else:
                yield from differences(wanted[name], found[name], f"{place}/{name}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(one, other, f"{place}/{number}")
    elif isinstance(wanted, float) and isinstance(found, float | int):
        if not math.isclose(wanted, found, rel_tol=NEARLY):
            yield f"{place} is {found!r}, not {wanted!r}"
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield f"{place} is {found!r}, not {wanted!r}"


def encode(found: Examples) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def main() -> None:
    """Writes the file anew."""
    with tempfile.TemporaryDirectory() as folder, demo_server(Path(folder) / "data") as server:
        FILE.write_bytes(encode(collect(server).examples))
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
