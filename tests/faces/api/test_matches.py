"""The match endpoints of version 2, for open and past matches with real events and scores."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests import stores
from tests.in_process import asgi
from tests.wire.kit import API, Reply
from tests.wire.rows import RESTRICTED, Rows

from kiai.app import Services, open_services
from kiai.logs import AccessLog
from kiai.multiplayer import commands
from kiai.multiplayer.commands import SERVER, Issuer
from kiai.multiplayer.history import HistoryEntry, MatchHistory
from kiai.multiplayer.match import apply, new_match
from kiai.multiplayer.model import Match
from kiai.realtime.port import HISTORY, Entry
from kiai.server import HttpServer
from kiai.storage.tables import users

NOW = 1_700_000_000_000
UTC = "2023-11-14T22:13:20"
HOST, GUEST, HIDDEN, OUTSIDER, STAFF = 3, 4, 5, 6, 7
NAMES = {HOST: "Host", GUEST: "Guest", HIDDEN: "Hidden One", OUTSIDER: "Outsider", STAFF: "Staff Person"}


class World:
    """A server in which tests open matches."""

    def __init__(self, services: Services, client: httpx.AsyncClient) -> None:
        self.services = services
        self.history: MatchHistory = services.match_history
        self._client = client

    async def open(self, name: str = "a match", by: int = HOST, at_ms: int = NOW, **settings: Any) -> "OpenMatch":
        match = new_match(
            by=actor(by), at_ms=at_ms, name=name, map_id=75, map_md5="a" * 32, map_name="A map", **settings
        )
        match = match_with(match, await self.history.open(match))
        number = await self.services.realtime.open_match(match)
        await self.history.record_opened(match, number)
        await self.history.flush()
        return OpenMatch(self, number, match)

    async def get(self, path: str, by: int | None = None) -> Reply:
        headers = {} if by is None else {"Authorization": f"key of {by}"}
        answer = await self._client.get(path, headers=headers)
        return Reply(answer.status_code, dict(answer.headers), answer.content)

    async def data(self, path: str, by: int | None = None) -> Any:
        reply = await self.get(path, by)
        assert reply.status == 200, reply.body
        return reply.json["data"]


class OpenMatch:
    """An open match. The methods run commands in it."""

    def __init__(self, world: World, number: int, match: Match) -> None:
        self._world = world
        self.number = number
        self.match = match
        self.id = match.history_id

    async def run(self, command: commands.MatchCommand) -> None:
        """Run a command and write its events to the history."""

        def rule(match: Match) -> tuple[Match | None, Sequence[Entry]]:
            after, changes = apply(match, command)
            self.match, entries = self._world.history.record_events(after, command, changes)
            return (None if self.match.closed else self.match), entries

        await self._world.services.realtime.change_match(self.number, Match, rule)
        await self._world.history.flush()

    async def join(self, user_id: int) -> None:
        await self.run(commands.Join(by=actor(user_id), at_ms=NOW, password=self.match.password))

    async def play(self, *scores: tuple[int, int]) -> None:
        """Play a map from start to end, with (user, score) for each player."""
        await self.run(commands.Start(by=actor(HOST), at_ms=NOW))
        for user_id, score in scores:
            frame = struct.pack("<iBHHHHHHiHHBB", 0, 0, 90, 8, 1, 20, 5, 1, score, 150, 3, 0, 200)
            await self._world.history.stash_frame(self.match, user_id, frame)
        for user_id, _ in scores:
            await self.run(commands.Complete(by=actor(user_id), at_ms=NOW + 90_000))

    async def close(self) -> None:
        await self.run(commands.Close(by=SERVER, at_ms=NOW + 100_000))


def actor(user_id: int) -> Issuer:
    return Issuer(user_id, NAMES[user_id])


def match_with(match: Match, history_id: int) -> Match:
    applied, _ = apply(match, commands.SetHistoryIds(by=SERVER, at_ms=NOW, history_id=history_id))
    return applied


def play(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    rows = Rows(folder / "data")
    for user_id, name in NAMES.items():
        priv = {HIDDEN: RESTRICTED, STAFF: 3 | 4096}.get(user_id, 3)
        rows.player(user_id, name, priv=priv)
        rows.api_key(user_id, f"key of {user_id}")
    rows.close()

    settings = stores.settings(folder / "data", rate_limits=False)

    async def main() -> None:
        async with open_services(settings) as services:
            log = AccessLog("json")
            transport = httpx.ASGITransport(asgi(HttpServer(services, log).front))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{API}") as client:
                await scenario(World(services, client))
            log.close()

    asyncio.run(main())


# --- lists


def test_open_matches_are_listed_newest_first_with_their_current_state(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        first = await world.open("first")
        second = await world.open("second", by=GUEST)
        await first.join(GUEST)

        reply = await world.get("/v2/matches")

        [newer, older] = reply.json["data"]
        assert (newer["id"], older["id"]) == (second.id, first.id)
        assert older | {"match": None} == {
            "id": first.id,
            "room": first.number,
            "name": "first",
            "private": False,
            "by_command": False,
            "created_by": {"id": HOST, "name": "Host"},
            "created_at": UTC,
            "ended_at": None,
            "match": None,
        }
        assert [slot["player"]["id"] for slot in older["match"]["active_slots"].values()] == [HOST, GUEST]
        assert reply.json["meta"] == {"total": 2, "page": 1, "page_size": 50, "cursor": None}

    play(tmp_path, scenario)


def test_past_matches_are_listed_newest_first_and_paged_by_cursor(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        matches = [await world.open(f"match {number}") for number in range(5)]
        for match in matches[:4]:
            await match.close()

        whole = await world.get("/v2/matches?state=past")
        first = (await world.get("/v2/matches?state=past&page_size=3")).json
        second = (await world.get(f"/v2/matches?state=past&page_size=3&cursor={first['meta']['cursor']}")).json

        names = [one["name"] for one in whole.json["data"]]
        assert names == ["match 3", "match 2", "match 1", "match 0"]
        assert [one["name"] for one in first["data"] + second["data"]] == names
        assert (first["meta"]["cursor"], second["meta"]["cursor"]) == (matches[1].id, None)
        assert whole.json["meta"]["total"] is None
        assert {one["match"] for one in whole.json["data"]} == {one["room"] for one in whole.json["data"]} == {None}
        assert {one["ended_at"] for one in whole.json["data"]} == {"2023-11-14T22:15:00"}
        assert [one["name"] for one in await world.data("/v2/matches")] == ["match 4"]

    play(tmp_path, scenario)


@pytest.mark.parametrize("query", ["state=now", "state=", "page=0", "page_size=101", "cursor=-1", "cursor=x"])
def test_invalid_parameter_of_the_list_is_rejected_by_name(tmp_path: Path, query: str) -> None:
    async def scenario(world: World) -> None:
        reply = await world.get(f"/v2/matches?{query}")

        assert reply.status == 422
        assert reply.json["error"].startswith(query.partition("=")[0])

    play(tmp_path, scenario)


# --- one match


def test_match_contains_its_games_with_scores(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open()
        await match.join(GUEST)
        await match.play((HOST, 500_000), (GUEST, 900_000))
        await match.close()

        found = await world.data(f"/v2/matches/{match.id}")

        [game] = found["games"]
        scores = game.pop("scores")
        assert {name: game[name] for name in game if name != "id"} == {
            "map": {"id": 75, "md5": "a" * 32, "name": "A map"},
            "mode": 0,
            "mods": 0,
            "win_condition": 0,
            "team_type": 0,
            "free_mods": False,
            "started_at": UTC,
            "ended_at": "2023-11-14T22:14:50",
            "aborted": False,
        }
        assert [(one["player"]["name"], one["slot"], one["score"]) for one in scores] == [
            ("Host", 0, 500_000),
            ("Guest", 1, 900_000),
        ]
        assert (scores[0]["n300"], scores[0]["nmiss"], scores[0]["max_combo"]) == (90, 1, 150)
        assert (scores[0]["passed"], scores[0]["perfect"]) == (True, False)
        assert (found["match"], found["room"], found["ended_at"]) == (None, None, "2023-11-14T22:15:00")

    play(tmp_path, scenario)


def test_match_contains_its_events_oldest_first(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open()
        await match.join(GUEST)
        await match.play((HOST, 1), (GUEST, 2))
        await match.close()

        events = (await world.data(f"/v2/matches/{match.id}"))["events"]

        kinds = [one["kind"] for one in events]
        assert kinds[:3] == ["created", "joined", "started"]
        assert {"finished", "closed"} <= set(kinds)
        assert events[0]["user"] == {"id": HOST, "name": "Host"}
        assert events[1]["user"] == {"id": GUEST, "name": "Guest"}
        assert (events[1]["at"], events[1]["details"]["slot"]) == (UTC, 1)
        assert [player["name"] for player in events[2]["details"]["players"]] == ["Host", "Guest"]

    play(tmp_path, scenario)


def test_open_match_contains_its_current_state_and_the_running_game(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open()
        await match.run(commands.Start(by=actor(HOST), at_ms=NOW))

        found = await world.data(f"/v2/matches/{match.id}")

        assert (found["room"], found["ended_at"], found["match"]["in_progress"]) == (match.number, None, True)
        assert [(one["ended_at"], one["scores"]) for one in found["games"]] == [(None, [])]

    play(tmp_path, scenario)


def test_past_match_does_not_show_the_state_of_a_match_with_the_same_number(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        lost = await world.open("lost with its server")
        await world.services.realtime.close_match(lost.number)
        again = await world.open("another")
        assert again.number == lost.number

        found = await world.data(f"/v2/matches/{lost.id}")

        assert (found["name"], found["match"], found["room"]) == ("lost with its server", None, None)

    play(tmp_path, scenario)


def test_events_of_a_match_are_paged_by_cursor(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open()
        for _ in range(4):
            await match.join(GUEST)
            await match.run(commands.Leave(by=actor(GUEST), at_ms=NOW))
        found: list[int] = []
        cursor: int | None = 0

        while cursor is not None:
            reply = await world.get(f"/v2/matches/{match.id}?page_size=4&cursor={cursor}")
            found += [one["id"] for one in reply.json["data"]["events"]]
            cursor = reply.json["meta"]["cursor"]

        assert found == sorted(set(found))
        assert len(found) == 9
        assert len((await world.data(f"/v2/matches/{match.id}"))["events"]) == 9

    play(tmp_path, scenario)


@pytest.mark.parametrize("path", ["/v2/matches/99", "/v2/matches/2147483647"])
def test_unknown_match_is_not_found(tmp_path: Path, path: str) -> None:
    async def scenario(world: World) -> None:
        reply = await world.get(path)

        assert (reply.status, reply.json["error"], reply.json["code"]) == (404, "Match not found.", "not_found")

    play(tmp_path, scenario)


# --- visibility


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("by", "status"), [(None, 404), (OUTSIDER, 404), (HOST, 200), (GUEST, 200), (STAFF, 200)])
def test_private_match_is_visible_only_to_its_players_and_staff(
    tmp_path: Path, by: int | None, status: int, closed: bool
) -> None:
    async def scenario(world: World) -> None:
        match = await world.open(private=True, by_command=True, password="open sesame")
        await match.join(GUEST)
        if closed:
            await match.close()

        reply = await world.get(f"/v2/matches/{match.id}", by)
        listed = [one["id"] for one in await world.data("/v2/matches", by)]

        assert reply.status == status
        assert b"sesame" not in reply.body
        assert listed == ([match.id] if status == 200 and not closed else [])
        assert await world.data("/v2/matches?state=past", by) == []

    play(tmp_path, scenario)


def test_hidden_player_is_absent_from_a_match(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open(by=HIDDEN)
        await match.join(HOST)
        await match.join(GUEST)
        await match.run(commands.TransferHost(by=actor(HIDDEN), at_ms=NOW, slot=1))
        await match.play((HIDDEN, 1), (HOST, 2), (GUEST, 3))
        kinds = ("joined", "left", "host_passed", "referee_added", "referee_removed")
        await record_events(world, match.id, {kind: {"name": "Hidden One"} for kind in kinds}, HIDDEN)
        live = [await world.get(path) for path in ("/v2/matches", f"/v2/matches/{match.id}")]
        await match.run(commands.Leave(by=actor(HIDDEN), at_ms=NOW))
        await match.close()

        past = [await world.get(path) for path in ("/v2/matches?state=past", f"/v2/matches/{match.id}")]

        for reply in (*live, *past):
            assert reply.status == 200
            assert b"Hidden" not in reply.body
        data = past[1].json["data"]
        assert data["created_by"] is None
        players = [score["player"] for score in data["games"][0]["scores"]]
        assert [player and player["id"] for player in players] == [None, HOST, GUEST]
        [started] = [one for one in data["events"] if one["kind"] == "started"]
        assert [player["user_id"] for player in started["details"]["players"]] == [None, HOST, GUEST]

    play(tmp_path, scenario)


def test_points_of_a_hidden_player_are_absent_from_scrim_events(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open()
        details = {
            "point_won": {"side": HIDDEN, "name": "Hidden One", "points": 1, "values": [[HIDDEN, 5.0], [HOST, 4.0]]},
            "scrim_won": {"side": HOST, "name": "Host", "points": [[HIDDEN, 1], [HOST, 2]]},
            "point_taken": {"side": 1, "name": "Blue", "points": 0},
        }
        await record_events(world, match.id, details)

        events = {one["kind"]: one["details"] for one in (await world.data(f"/v2/matches/{match.id}"))["events"]}

        assert events["point_won"] == {"side": None, "name": None, "points": 1, "values": [[HOST, 4.0]]}
        assert events["scrim_won"] == {"side": HOST, "name": "Host", "points": [[HOST, 2]]}
        assert events["point_taken"] == details["point_taken"]

    play(tmp_path, scenario)


async def record_events(world: World, match_id: int, details: dict[str, dict[str, Any]], user_id: int = HOST) -> None:
    """Write events that would need many commands."""
    for kind, of_kind in details.items():
        note = HistoryEntry(match_id, NOW, kind, user_id, of_kind)
        await world.services.realtime.append([Entry(HISTORY, msgspec.msgpack.encode(note))])
    await world.history.flush()


def test_renamed_player_is_shown_with_the_new_name(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        match = await world.open()
        await match.play((HOST, 1))
        rows = Rows(tmp_path / "data")
        with rows._engine.begin() as connection:
            connection.execute(users.update().where(users.c.id == HOST).values(name="Renamed", safe_name="renamed"))
        rows.close()

        found = await world.data(f"/v2/matches/{match.id}")

        assert found["created_by"]["name"] == "Renamed"
        assert found["games"][0]["scores"][0]["player"]["name"] == "Renamed"

    play(tmp_path, scenario)
