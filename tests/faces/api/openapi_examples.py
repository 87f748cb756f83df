"""The examples of the OpenAPI document and of `/docs`: requests, and the responses of a server with the demo data.

    .venv/bin/python -m tests.faces.api.openapi_examples

writes `src/kiai/faces/api/examples.json` again. A new operation needs a line in `REQUESTS`.
"""

import contextlib
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from tests.demo_server import (
    DEVELOPER,
    HOST,
    MAP,
    MODERATOR,
    NEWCOMER,
    PENDING_MAP,
    PLAYER,
    RESTRICTED,
    SUPPORTER,
    DemoServer,
    demo_server,
)
from tests.patience import patiently

from kiai.faces.api import examples
from kiai.faces.api.examples import Example, Examples
from kiai.realtime.port import StateUnavailable
from kiai.version import VERSION

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
TOLERANCE: Final = 1e-6  # the last digits of pp and stars depend on the processor
FIXED: Final[Mapping[str, object]] = {
    "request_id": "5f0c1b7e-2a",
    "hash": "4f6b" * 16,
    "previous_hash": "9c1e" * 16,
    "audit_id": 128,
    "versions": [{"name": "kiai", "version": "1.0.0"}, {"name": "python", "version": "3.13.1"}],
    "free_bytes": 84_544_000_000,
    "total_bytes": 107_374_000_000,
    "database_bytes": 2_781_184,
    "outbox": 3,
    "outbox_oldest": 1,
    "settling": 0,
    "settling_oldest": None,
    "pools": [{"name": "database", "in_use": 1, "capacity": 40, "waiting": 0, "refused": 0}],
    "slow_statements": [{"statement": "kiai.scores.boards.BOARD", "ms": 812.5, "times": 3}],
}
"""Values that differ from server to server, by the name of the field."""
CODE: Final = "k3v9x0q2m7ab"
VERSION_OF_ICON: Final = re.compile(r"(?<=/pictures/clans/3\?)[0-9a-f]{12}")
RELEASE: Final = "0.1.0"
"""The version in examples. That of the server that answers is another one with each commit."""
EVENTS_SHOWN: Final = 3
PICTURE: Final = Path(__file__).with_name("files") / "avatar.png"
SCORE: Final = 63
SET: Final = 300000
"""The set of the map that the examples are about."""


class ExampleRequest(msgspec.Struct, frozen=True):
    """A request. `by` is the player whose key is sent, or 0 for a request without a key."""

    target: str
    by: int = 0
    method: str = "GET"
    json: dict[str, Any] | None = None
    upload: str | None = None
    upload_as: str = "avatar"
    headers: dict[str, str] = {}
    body: bytes | None = None
    """A body that is neither JSON nor a picture. The examples do not contain it."""


SILENCED: Final = 20
_SILENCE: Final[dict[str, Any]] = {"kind": "silence", "reason": "Spam in #osu.", "duration": "30m"}
_UNSILENCE: Final[dict[str, Any]] = {"kind": "unsilence", "reason": "Enough."}
_SANCTIONS: Final = f"/v2/players/{PLAYER}/sanctions"
_REPORT: Final[dict[str, Any]] = {"player_id": HOST, "kind": "Spamming", "text": "The same line again and again."}
_CHANGES: Final[dict[str, Any]] = {"preferred_mode": 3, "play_style": 6}

REQUESTS: Final[Mapping[str, ExampleRequest]] = {
    # v1
    "get_player_count": ExampleRequest("/get_player_count"),
    "get_player_info": ExampleRequest(f"/get_player_info?id={PLAYER}&scope=all"),
    "get_player_status": ExampleRequest(f"/get_player_status?id={PLAYER}"),
    "get_player_scores": ExampleRequest(f"/get_player_scores?id={PLAYER}&scope=best&mode=0&limit=1&include_loved=true"),
    "get_player_most_played": ExampleRequest(f"/get_player_most_played?id={PLAYER}&mode=0&limit=2"),
    "search_players": ExampleRequest("/search_players?q=cri"),
    "get_leaderboard": ExampleRequest("/get_leaderboard?mode=0&sort=pp&limit=2"),
    "get_online": ExampleRequest("/online?limit=2"),
    "get_map_info": ExampleRequest(f"/get_map_info?id={MAP}"),
    "get_map_scores": ExampleRequest(f"/get_map_scores?id={MAP}&scope=best&mode=0&limit=2"),
    "calculate_pp": ExampleRequest(f"/calculate_pp?id={MAP}&mods=HDDT&acc=99.5&acc=98", by=PLAYER),
    "get_score_info": ExampleRequest(f"/get_score_info?id={SCORE}"),
    "get_replay": ExampleRequest(f"/get_replay?id={SCORE}"),
    "get_match": ExampleRequest("/get_match?id=1"),
    "get_clan": ExampleRequest("/get_clan?id=1"),
    "get_mappool": ExampleRequest("/get_mappool?id=1"),
    "get_friends": ExampleRequest("/get_friends", by=PLAYER),
    # v2
    "get_v2_highlights": ExampleRequest("/v2/highlights?limit=1"),
    "get_v2_server_stats": ExampleRequest("/v2/server/stats"),
    "get_v2_server_samples": ExampleRequest("/v2/server/samples?hours=1&step=30", by=MODERATOR),
    "get_v2_server_health": ExampleRequest("/v2/server/health", by=DEVELOPER),
    "get_v2_news": ExampleRequest("/v2/news?page_size=1"),
    "get_v2_news_slug": ExampleRequest("/v2/news/season-two"),
    "get_v2_status": ExampleRequest("/v2/status?days=1"),
    "get_v2_medals": ExampleRequest("/v2/medals?page_size=2"),
    "get_v2_me": ExampleRequest("/v2/me", by=PLAYER),
    "get_v2_me_settings": ExampleRequest("/v2/me/settings", by=PLAYER),
    "get_v2_players": ExampleRequest("/v2/players?country=us&page_size=2"),
    "get_v2_players_search": ExampleRequest("/v2/players/search?q=cri&limit=2"),
    "get_v2_players_id": ExampleRequest(f"/v2/players/{PLAYER}"),
    "get_v2_players_id_status": ExampleRequest(f"/v2/players/{PLAYER}/status"),
    "get_v2_players_id_stats": ExampleRequest(f"/v2/players/{PLAYER}/stats"),
    "get_v2_players_id_stats_mode": ExampleRequest(f"/v2/players/{PLAYER}/stats/0"),
    "get_v2_players_id_scores_scope": ExampleRequest(f"/v2/players/{PLAYER}/scores/best?mode=0&page_size=1"),
    "get_v2_players_id_scores": ExampleRequest(f"/v2/players/{PLAYER}/scores?scope=recent&mode=0&limit=1"),
    "get_v2_players_id_most_played": ExampleRequest(f"/v2/players/{PLAYER}/most_played?mode=0&limit=1"),
    "get_v2_players_id_medals": ExampleRequest(f"/v2/players/{PLAYER}/medals"),
    "get_v2_players_id_history_mode": ExampleRequest(f"/v2/players/{PLAYER}/history/0"),
    "get_v2_players_id_activity": ExampleRequest(f"/v2/players/{PLAYER}/activity?page_size=1"),
    "get_v2_players_id_names": ExampleRequest(f"/v2/players/{PLAYER}/names"),
    "get_v2_players_id_months_mode": ExampleRequest(f"/v2/players/{PLAYER}/months/0"),
    "get_v2_players_id_followers": ExampleRequest(f"/v2/players/{PLAYER}/followers"),
    "get_v2_players_id_plays": ExampleRequest(f"/v2/players/{PLAYER}/plays?mode=0&sort=pp&status=2&page_size=1"),
    "get_v2_players_id_matches": ExampleRequest(f"/v2/players/{PLAYER}/matches"),
    "get_v2_leaderboards_countries": ExampleRequest("/v2/leaderboards/countries?mode=0"),
    "get_v2_leaderboards_clans": ExampleRequest("/v2/leaderboards/clans?mode=0&page_size=2"),
    "get_v2_top_plays": ExampleRequest("/v2/top-plays?mode=0&page_size=1"),
    "get_v2_leaderboards_mode": ExampleRequest("/v2/leaderboards/0?sort=pp&page_size=2"),
    "get_v2_clans": ExampleRequest("/v2/clans"),
    "get_v2_clans_id": ExampleRequest("/v2/clans/1"),
    "get_v2_clans_id_members": ExampleRequest("/v2/clans/1/members"),
    "get_v2_clans_id_leaderboard": ExampleRequest("/v2/clans/1/leaderboard?mode=0"),
    "get_v2_maps": ExampleRequest("/v2/maps?mode=3&frozen=true&page_size=1"),
    "get_v2_maps_id": ExampleRequest(f"/v2/maps/{MAP}"),
    "get_v2_maps_id_scores": ExampleRequest(f"/v2/maps/{MAP}/scores?mode=0&limit=2"),
    "get_v2_maps_id_rating": ExampleRequest(f"/v2/maps/{MAP}/rating"),
    "get_v2_maps_search": ExampleRequest("/v2/maps/search?q=stars%3E3%20mode=osu&page_size=1"),
    "get_v2_maps_id_statuses": ExampleRequest(f"/v2/maps/{MAP}/statuses"),
    "get_v2_maps_id_nominations": ExampleRequest(f"/v2/maps/{MAP}/nominations"),
    "get_v2_maps_id_analysis": ExampleRequest(f"/v2/maps/{MAP}/analysis"),
    "get_v2_sets_id": ExampleRequest(f"/v2/sets/{SET}"),
    "get_v2_sets_id_comments": ExampleRequest(f"/v2/sets/{SET}/comments"),
    "get_v2_me_favourites": ExampleRequest("/v2/me/favourites", by=PLAYER),
    "get_v2_scores": ExampleRequest("/v2/scores?mode=0&page_size=2&include=player"),
    "get_v2_scores_id": ExampleRequest(f"/v2/scores/{SCORE}"),
    "get_v2_scores_id_performance": ExampleRequest(f"/v2/scores/{SCORE}/performance"),
    "get_v2_scores_id_analysis": ExampleRequest(f"/v2/scores/{SCORE}/analysis"),
    "get_v2_scores_id_replay": ExampleRequest(f"/v2/scores/{SCORE}/replay"),
    "get_v2_matches": ExampleRequest("/v2/matches?state=past&page_size=1"),
    "get_v2_matches_id": ExampleRequest("/v2/matches/1?page_size=4"),
    "get_v2_events": ExampleRequest("/v2/events?types=match,presence", headers={"Last-Event-ID": "0"}),
    "get_v2_flags": ExampleRequest("/v2/flags", by=MODERATOR),
    "post_v2_scores_id_hidden": ExampleRequest(
        "/v2/scores/1/hidden", by=DEVELOPER, method="POST", json={"hidden": True, "reason": "Played by someone else."}
    ),
    "post_v2_players_id_notes": ExampleRequest(
        f"/v2/players/{SILENCED}/notes", by=MODERATOR, method="POST", json={"text": "Promised to stop."}
    ),
    "get_v2_players_id_notes": ExampleRequest(f"/v2/players/{SILENCED}/notes", by=MODERATOR),
    "post_v2_players_id_sanctions": ExampleRequest(
        f"/v2/players/{SILENCED}/sanctions", by=MODERATOR, method="POST", json=_SILENCE
    ),
    "get_v2_players_id_sanctions": ExampleRequest(f"/v2/players/{SILENCED}/sanctions", by=MODERATOR),
    "get_v2_audit": ExampleRequest("/v2/audit?action=silence&page_size=1", by=MODERATOR),
    "post_v2_reports": ExampleRequest("/v2/reports", by=PLAYER, method="POST", json=_REPORT),
    "get_v2_reports": ExampleRequest("/v2/reports?page_size=1", by=MODERATOR),
    "post_v2_reports_id_close": ExampleRequest(
        "/v2/reports/1/close", by=MODERATOR, method="POST", json={"text": "Nothing found."}
    ),
    "get_v2_players_id_devices": ExampleRequest(f"/v2/players/{PLAYER}/devices", by=MODERATOR),
    # Requests that change something come last, so that no other response depends on them.
    "set_player_info": ExampleRequest("/set_player_info", by=PLAYER, method="POST", json=_CHANGES),
    "set_player_info_with_put": ExampleRequest("/set_player_info", by=PLAYER, method="PUT", json=_CHANGES),
    "set_avatar": ExampleRequest("/set_avatar", by=PLAYER, method="POST", upload="avatar.png"),
    "set_avatar_with_put": ExampleRequest("/set_avatar", by=PLAYER, method="PUT", upload="avatar.png"),
    "post_v2_flags_id_close": ExampleRequest(
        "/v2/flags/1/close", by=MODERATOR, method="POST", json={"verdict": "clean", "text": "A slow computer."}
    ),
    "post_v2_maps_id_nominations": ExampleRequest(
        f"/v2/maps/{PENDING_MAP}/nominations", by=MODERATOR, method="POST", json={"reason": "Good flow."}
    ),
    "delete_v2_maps_id_nominations": ExampleRequest(
        f"/v2/maps/{PENDING_MAP}/nominations", by=MODERATOR, method="DELETE", json={"reason": "Wrong tags."}
    ),
    "post_v2_clans": ExampleRequest("/v2/clans", by=HOST, method="POST", json={"tag": "OWL", "name": "Night Owls"}),
    "patch_v2_clans_id": ExampleRequest("/v2/clans/3", by=HOST, method="PATCH", json={"join": "request"}),
    "post_v2_clans_id_icon": ExampleRequest(
        "/v2/clans/3/icon", by=HOST, method="POST", upload="icon.png", upload_as="icon"
    ),
    "delete_v2_clans_id_icon": ExampleRequest("/v2/clans/3/icon", by=HOST, method="DELETE", json={}),
    "post_v2_clans_id_join": ExampleRequest("/v2/clans/3/join", by=NEWCOMER, method="POST", json={}),
    "get_v2_clans_id_requests": ExampleRequest("/v2/clans/3/requests", by=HOST),
    "post_v2_clans_id_requests_player_id": ExampleRequest(
        f"/v2/clans/3/requests/{NEWCOMER}", by=HOST, method="POST", json={"accept": True}
    ),
    "patch_v2_clans_id_members_player_id": ExampleRequest(
        f"/v2/clans/3/members/{NEWCOMER}", by=HOST, method="PATCH", json={"role": "officer"}
    ),
    "delete_v2_clans_id_members_player_id": ExampleRequest(
        f"/v2/clans/3/members/{NEWCOMER}", by=HOST, method="DELETE", json={}
    ),
    "post_v2_clans_id_invites": ExampleRequest("/v2/clans/3/invites", by=HOST, method="POST", json={"player_id": 12}),
    "post_v2_clans_id_code": ExampleRequest("/v2/clans/3/code", by=HOST, method="POST", json={"reset": True}),
    "post_v2_clans_id_leave": ExampleRequest("/v2/clans/2/leave", by=PLAYER, method="POST", json={}),
    "get_v2_clans_id_history": ExampleRequest("/v2/clans/3/history?page_size=2"),
    "delete_v2_clans_id": ExampleRequest("/v2/clans/3", by=HOST, method="DELETE", json={"confirm": "OWL"}),
}

ERRORS: Final[Mapping[str, Mapping[int, tuple[ExampleRequest, ...]]]] = {
    "v1": {
        400: (
            ExampleRequest(f"/get_player_info?id={PLAYER}"),
            ExampleRequest("/get_player_info?scope=all"),
            ExampleRequest(f"/get_player_scores?id={PLAYER}&scope=best&limit=500"),
            ExampleRequest(f"/get_player_scores?id={PLAYER}&scope=best&mode=9"),
        ),
        401: (ExampleRequest("/get_friends"),),
        403: (
            ExampleRequest("/get_friends", by=RESTRICTED),
            ExampleRequest("/set_player_info", by=PLAYER, method="POST", json={"name": "Another Name"}),
        ),
        404: (
            ExampleRequest("/get_player_info?id=999999&scope=all"),
            ExampleRequest("/get_map_info?id=999999"),
            ExampleRequest("/get_score_info?id=0"),
        ),
        409: (ExampleRequest("/set_player_info", by=SUPPORTER, method="POST", json={"name": "Frotol"}),),
        413: (ExampleRequest("/set_player_info", by=PLAYER, method="POST", body=b" " * (256 * 1024 + 1)),),
        415: (ExampleRequest("/set_avatar", by=PLAYER, method="POST", body=b"no picture"),),
        416: (ExampleRequest(f"/get_replay?id={SCORE}", headers={"Range": "bytes=9999999-"}),),
        429: (ExampleRequest("/get_player_count", by=HOST),),
        503: (ExampleRequest("/get_player_count"),),
    },
    "v2": {
        400: (ExampleRequest(_SANCTIONS, by=MODERATOR, method="POST", body=b'{"kind": "kick"'),),
        401: (ExampleRequest("/v2/players", headers={"Authorization": "Bearer a-revoked-key"}),),
        403: (ExampleRequest("/v2/audit", by=PLAYER),),
        404: (ExampleRequest("/v2/players/999999"), ExampleRequest("/v2/maps/999999"), ExampleRequest("/v2/scores/0")),
        409: (ExampleRequest(_SANCTIONS, by=MODERATOR, method="POST", json=_UNSILENCE),),
        413: (ExampleRequest(_SANCTIONS, by=MODERATOR, method="POST", body=b" " * (64 * 1024 + 1)),),
        415: (
            ExampleRequest(
                _SANCTIONS, by=MODERATOR, method="POST", headers={"Content-Type": "text/plain"}, body=b"kick"
            ),
        ),
        422: (
            ExampleRequest("/v2/players?page=0"),
            ExampleRequest("/v2/maps?mode=4"),
            ExampleRequest("/v2/players?contry=nl"),
        ),
        416: (ExampleRequest(f"/v2/scores/{SCORE}/replay", headers={"Range": "bytes=9999999-"}),),
        429: (ExampleRequest("/v2/players", by=HOST),),
        503: (ExampleRequest("/v2/server/stats"),),
    },
}


class SentHeader(msgspec.Struct, frozen=True):
    """A header that the server has sent, and the response of the document to which it belongs."""

    operation: str
    """The operationId, or the version of an error."""
    status: int
    header: str


class Collected(msgspec.Struct, frozen=True):
    """The responses of the server."""

    examples: Examples
    sent: set[SentHeader]


def collect(server: DemoServer) -> Collected:
    """Send every request."""
    sent: set[SentHeader] = set()
    with httpx.Client(base_url=server.url, headers={"Host": API_HOST}, timeout=patiently(60)) as client:

        def send_all(name: str, *requests: ExampleRequest) -> list[Example]:
            return [_send(client, server, request, name, sent) for request in requests]

        found = {name: send_all(name, request)[0] for name, request in REQUESTS.items()}
        failed = {name: example.answer for name, example in found.items() if example.status not in (200, 201)}
        assert not failed, failed
        server.run(_exhaust_rate_limit(server, HOST))
        errors = {
            version: {str(code): send_all(version, *requests) for code, requests in by_code.items() if code != 503}
            for version, by_code in ERRORS.items()
        }
        with _unavailable(server):
            for version, by_code in ERRORS.items():
                errors[version]["503"] = send_all(version, *by_code[503])
    for by_status in errors.values():
        for status, of_status in by_status.items():
            assert {str(example.status) for example in of_status} == {status}, of_status
    return Collected(Examples(found, errors), sent)


async def _exhaust_rate_limit(server: DemoServer, user_id: int) -> None:
    """Consume the whole limit on all requests of this player."""
    settings = server.services.settings
    limit = settings.api_rate_per_minute
    for _ in range(limit):
        await server.services.limiter.consume(f"api:user:{user_id}", limit=limit, period_s=60.0)


@contextlib.contextmanager
def _unavailable(server: DemoServer) -> Iterator[None]:
    """Make the shared state unavailable, as if Redis were down."""

    async def online_count() -> int:
        raise StateUnavailable

    realtime = server.services.realtime
    original, realtime.online_count = realtime.online_count, online_count  # type: ignore[method-assign]
    try:
        yield
    finally:
        realtime.online_count = original  # type: ignore[method-assign]


def _send(
    client: httpx.Client, server: DemoServer, request: ExampleRequest, name: str, sent: set[SentHeader]
) -> Example:
    headers = dict(request.headers)
    if request.by:
        headers["Authorization"] = f"Bearer {server.keys[request.by]}"
    files = None if request.upload is None else {request.upload_as: (request.upload, PICTURE.read_bytes(), "image/png")}
    message = client.build_request(
        request.method, request.target, headers=headers, json=request.json, files=files, content=request.body
    )
    answer = client.send(message, stream=True)
    sent.update(SentHeader(name, answer.status_code, header.lower()) for header in answer.headers)
    try:
        shown = {name: answer.headers[name] for name in SHOWN_HEADERS if name in answer.headers}
        return Example(
            method=request.method,
            target=request.target,
            status=answer.status_code,
            answer=_body(answer),
            needs_key=bool(request.by),
            headers=request.headers,
            json=request.json,
            upload=request.upload,
            upload_as=request.upload_as,
            answer_headers=shown,
        )
    finally:
        answer.close()


def _body(answer: httpx.Response) -> Any:
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if kind == "application/json":
        return _normalized(msgspec.json.decode(answer.read()))
    if kind == "text/event-stream":
        return _events(answer.iter_text())
    answer.read()
    return None


def _events(chunks: Iterator[str]) -> str:
    """Return the first events of a stream."""
    text = ""
    while text.count("\n\n") < EVENTS_SHOWN:
        text += next(chunks)
    return "\n\n".join(text.split("\n\n")[:EVENTS_SHOWN]) + "\n\n"


def _normalized(value: Any) -> Any:
    """Replace the values that differ in every response."""
    if isinstance(value, dict):
        return {
            name: FIXED[name] if name in FIXED else CODE if _is_random(name, one) else _normalized(one)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_normalized(one) for one in value]
    if isinstance(value, str):
        return RELEASE if value == VERSION else VERSION_OF_ICON.sub("5a1c0e93b7d2", value)
    return value


def _is_random(name: str, value: Any) -> bool:
    """Return whether this is the code of a clan. The codes of errors are words, none of them with twelve letters."""
    return name == "code" and isinstance(value, str) and re.fullmatch("[0-9a-z]{12}", value) is not None


def differences(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """Yield the places where two values differ. Floats are equal if they are within the relative `TOLERANCE`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in {**expected, **found}:
            if name not in found:
                yield f"{place}/{name} is gone"
            elif name not in expected:
                yield f"{place}/{name} is new"
            else:
                yield from differences(expected[name], found[name], f"{place}/{name}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (expected_item, found_item) in enumerate(zip(expected, found, strict=True)):
            yield from differences(expected_item, found_item, f"{place}/{number}")
    elif isinstance(expected, float) and isinstance(found, float | int):
        if not math.isclose(expected, found, rel_tol=TOLERANCE):
            yield f"{place} is {found!r}, not {expected!r}"
    elif expected != found or isinstance(expected, bool) != isinstance(found, bool):
        yield f"{place} is {found!r}, not {expected!r}"


def encode(found: Examples) -> bytes:
    """Return the content of the file."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def main() -> None:
    """Write the file again."""
    with tempfile.TemporaryDirectory() as folder, demo_server(Path(folder) / "data") as server:
        FILE.write_bytes(encode(collect(server).examples))
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
