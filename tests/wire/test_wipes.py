"""Wiped and hidden scores on a running server: nothing public shows them, and they come back."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import stores
from tests.builders import a_map, a_play, a_stored_replay, frames
from tests.wire.kit import Reply, Server, cli, eventually, run_kiai
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho
from tests.wire.test_bot import Player

from kiai.app import open_services
from kiai.beatmaps import MapStatus
from kiai.osu.mods import DT
from kiai.osu.privileges import Privilege
from kiai.scores.model import replay_key

NORMAL = 3
SITE = "localhost"
OSU = "osu.localhost"
PEOPLE = {
    "root": NORMAL | int(Privilege.DEVELOPER),
    "boss": NORMAL | int(Privilege.ADMINISTRATOR),
    "boss2": NORMAL | int(Privilege.ADMINISTRATOR),
    "alice": NORMAL,
    "bob": NORMAL,
}


class Wiping(msgspec.Struct):
    """A server with plays of alice (two on the map) and bob (one)."""

    server: Server
    bancho: Bancho
    ids: dict[str, int]
    best: int
    other: int
    bobs: int
    md5: str
    people: dict[str, Player]

    def says(self, name: str, line: str) -> str:
        """Send the bot a line, and return its answer."""
        if name not in self.people:
            self.people[name] = Player(self.bancho, name)
        return "\n".join(self.people[name].write_to_bot(line))

    def confirmed(self, name: str, line: str) -> str:
        """Send the bot a line that needs a confirmation, and return the answer to it."""
        asked = self.says(name, line)
        assert "!confirm " in asked, asked
        return self.says(name, f"!confirm {asked.partition('!confirm ')[2][:6]}")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, which may fail."""
        return run_kiai(self.server.data, *arguments, "--json")

    def json(self, path: str) -> Any:
        reply = self.server.get(path)
        return reply.json if reply.status == 200 else None

    def board(self) -> list[int]:
        """Return the players on the board of the map, first one first."""
        found = self.json(f"/v2/maps/{self.md5}/scores") or self.json(f"/get_map_scores?md5={self.md5}&scope=best")
        rows = found.get("data") or found.get("scores") or []
        return [row.get("player", {}).get("id", row.get("userid")) for row in rows]

    def has(self, score_id: int) -> dict[str, int]:
        """Return the status of each public answer about a score."""
        return {
            "v2": self.server.get(f"/v2/scores/{score_id}").status,
            "v1": self.server.get(f"/get_score_info?id={score_id}").status,
            "analysis": self.server.get(f"/v2/scores/{score_id}/analysis").status,
            "performance": self.server.get(f"/v2/scores/{score_id}/performance").status,
            "replay": self.server.get(f"/v2/scores/{score_id}/replay").status,
            "replay v1": self.server.get(f"/get_replay?id={score_id}").status,
            "page": self.server.get(f"/scores/{score_id}", host=SITE).status,
            "card": self.server.get(f"/scores/{score_id}/card.png", host=SITE).status,
            "replay of the page": self.server.get(f"/scores/{score_id}/replay", host=SITE).status,
        }

    def stats(self, name: str) -> dict[str, Any]:
        """Return the stats of a player in osu!, apart from the views of replays, which these tests download."""
        found = self.json(f"/get_player_info?scope=all&id={self.ids[name]}")
        played = found["player"]["stats"].get("0", {})
        return {key: value for key, value in played.items() if key != "replay_views"}

    def plays(self, name: str) -> int:
        return int(self.stats(name).get("plays", 0))


async def seeded(data: Path) -> tuple[dict[str, int], tuple[int, int, int], str]:
    async with open_services(stores.settings(data)) as services:
        ids = {
            name: await services.accounts.register(
                name=name, email=f"{name}@example.org", password=PASSWORD.format(name), country="nl", priv=priv
            )
            for name, priv in PEOPLE.items()
        }
        new = a_map(75, set_id=7)
        await services.importer.import_file(new.data, name="map.osu", status=MapStatus.RANKED)
        song = await services.beatmaps.find(md5=new.md5)
        recorded = []
        for n, (name, score, mods) in enumerate((("alice", 900_000, 0), ("alice", 100_000, DT), ("bob", 500_000, 0))):
            replay = a_stored_replay(frames(n + 1))
            await services.files.put(replay_key(replay.md5), frames(n + 1))
            play = a_play(by=ids[name], on=song, score=score, mods=mods, replay=replay)
            recorded.append((await services.recorder.record(play)).score_id)
        best, other, bobs = recorded
        return ids, (best, other, bobs), new.md5


@pytest.fixture(scope="module")
def wiping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiping]:
    data = tmp_path_factory.mktemp("wipes") / "data"
    cli(data, "migrate")
    ids, recorded, md5 = asyncio.run(seeded(data))
    server = Server(data, RATE_LIMITS="off").start()
    try:
        yield Wiping(server, Bancho(server), ids, *recorded, md5, {})
        for fault in ('"unhandled"', '"packet failed"', '"command failed"'):
            assert fault not in server.stderr
        server.stop()
    finally:
        server.kill()


def state(wiping: Wiping) -> dict[str, Any]:
    """Return everything public about the players and the map."""
    return {
        "board": wiping.board(),
        "alice": wiping.stats("alice"),
        "bob": wiping.stats("bob"),
        "best": wiping.has(wiping.best),
        "other": wiping.has(wiping.other),
        "map": wiping.json(f"/get_map_info?md5={wiping.md5}")["map"],
        "latest": [row["id"] for row in wiping.json("/v2/scores")["data"]],
        "firsts": wiping.json(f"/v2/players/{wiping.ids['alice']}/scores/firsts"),
    }


def test_a_wiped_player_has_no_public_score_and_a_restoration_brings_all_back(wiping: Wiping) -> None:
    eventually(lambda: wiping.stats("alice").get("rank") == 1)
    before = state(wiping)
    assert set(before["best"].values()) <= {200, 429, 503}, before["best"]

    asked = wiping.says("root", "!wipeuser alice rx")
    assert "hides all scores of alice" in asked
    assert state(wiping) == before, "nothing happens without a confirmation"
    assert "alice is wiped: 2 scores hidden" in wiping.says("root", f"!confirm {asked.partition('!confirm ')[2][:6]}")

    eventually(lambda: wiping.plays("alice") == 0 and wiping.stats("bob").get("rank") == 1)
    assert wiping.board() == [wiping.ids["bob"]]
    assert set(wiping.has(wiping.best).values()) == set(wiping.has(wiping.other).values()) == {404}
    assert [row["id"] for row in wiping.json("/v2/scores")["data"]] == [wiping.bobs]
    page = wiping.server.get(f"/users/{wiping.ids['alice']}", host=SITE)
    assert page.status == 200
    assert f"/scores/{wiping.best}" not in page.body.decode()
    assert "already" in wiping.confirmed("root", "!wipeuser alice rx")

    assert wiping.server.cli("users", "restore", "alice", "--reason", "aa") == {"scores": 2}
    eventually(lambda: wiping.stats("alice") == before["alice"])
    assert state(wiping) == before
    refused = wiping.command("users", "restore", "alice", "--reason", "aa")
    assert refused.returncode == 1
    assert "is not wiped" in refused.stderr


def test_the_command_line_wipes_one_mode_after_yes(wiping: Wiping) -> None:
    assert wiping.command("users", "wipe", "alice", "--reason", "rx").returncode == 1
    assert wiping.command("users", "wipe", "alice", "--reason", "rx", "--mode", "9", "--yes").returncode == 1
    assert wiping.command("users", "wipe", "alice", "--reason", "rx", "--mode", "3", "--yes").returncode == 1
    assert wiping.command("users", "wipe", "BanchoBot", "--reason", "rx", "--yes").returncode == 1
    before = wiping.stats("alice")
    assert before["plays"] == 2

    assert wiping.server.cli("users", "wipe", "alice", "--reason", "rx", "--mode", "vn!std", "--yes") == {"scores": 2}
    eventually(lambda: wiping.plays("alice") == 0)
    assert "alice is restored: 2 scores in vn!std visible again" in wiping.says("root", "!restorescores alice 0 aa")
    eventually(lambda: wiping.stats("alice") == before)


def test_a_hidden_score_gives_its_place_to_the_next_best_at_once(wiping: Wiping) -> None:
    before = state(wiping)
    assert f"Score {wiping.best} of alice is hidden" in wiping.says("boss", f"!hidescore {wiping.best} tw")
    assert wiping.board() == [wiping.ids["bob"], wiping.ids["alice"]]
    assert set(wiping.has(wiping.best).values()) == {404}
    assert 404 not in wiping.has(wiping.other).values()
    assert "already hidden" in wiping.says("boss", f"!hidescore {wiping.best} tw")

    assert "visible again" in wiping.says("boss", f"!unhidescore {wiping.best} aa")
    eventually(lambda: wiping.stats("alice") == before["alice"])
    assert state(wiping) == before


@pytest.mark.parametrize(
    ("name", "line", "answer"),
    [
        ("bob", "!hidescore 1 tw", "Unknown command"),
        ("boss", "!wipeuser alice rx", "Unknown command"),
        ("boss", "!wipemap broken", "Unknown command"),
        ("boss", "!hidescore", "Usage: !hidescore <score id> <reason>"),
        ("boss", "!hidescore x tw", "Usage: !hidescore <score id> <reason>"),
        ("boss", "!hidescore 1", "Usage: !hidescore <score id> <reason>"),
        ("boss", "!hidescore 999999999999 tw", "Score not found"),
        ("root", "!wipeuser", "Usage: !wipeuser <user> [mode] <reason>"),
        ("root", "!wipeuser alice", "Usage: !wipeuser <user> [mode] <reason>"),
        ("root", "!wipeuser nobodyhere rx", "User not found"),
        ("root", "!wipeuser BanchoBot rx", "You can't do that to the bot"),
        ("root", "!wipeuser root rx", "You can't do that to yourself"),
        ("root", "!restorescores alice aa", "is not wiped"),
        ("root", "!wipemap broken", "with /np first"),
        ("root", "!wipeuser bob 0", "Usage: !wipeuser <user> [mode] <reason>"),  # a mode is never the reason
        ("root", "!wipeuser bob 0 rx", "This hides all scores of bob in vn!std."),
    ],
)
def test_refusals(wiping: Wiping, name: str, line: str, answer: str) -> None:
    assert answer in wiping.says(name, line)


def test_the_score_of_an_equal_role_is_refused_with_a_row(wiping: Wiping) -> None:
    async def record() -> int:
        async with open_services(stores.settings(wiping.server.data)) as services:
            song = await services.beatmaps.find(md5=wiping.md5)
            return (await services.recorder.record(a_play(by=wiping.ids["boss2"], on=song, score=5))).score_id

    score_id = asyncio.run(record())
    assert "Only a higher role can act on this user" in wiping.says("boss", f"!hidescore {score_id} tw")
    [row] = wiping.server.cli("audit", "--action", "denied", "--target", "boss2")["rows"]
    assert (row["actor"], row["details"]) == ("boss", {"action": "score_hide"})
    assert "is hidden" in wiping.says("root", f"!hidescore {score_id} tw")


def test_score_is_hidden_and_shown_by_the_api_and_the_command_line(wiping: Wiping) -> None:
    server, score = wiping.server, wiping.bobs
    keys = {name: server.cli("users", "apikey", name)["key"] for name in ("boss", "alice")}

    def ask(name: str, hidden: bool, score_id: int = score) -> Reply:
        return sent({"hidden": hidden, "reason": "tw"}, keys[name], score_id)

    def sent(body: dict[str, object], key: str | None, score_id: int = score) -> Reply:
        headers = {"Content-Type": "application/json"}
        return server.ask(
            "POST", f"/v2/scores/{score_id}/hidden", key=key, headers=headers, body=json.dumps(body).encode()
        )

    assert sent({"hidden": True, "reason": "tw"}, None).status == 401
    assert (ask("alice", True).status, ask("boss", False).status, ask("boss", True, 999_999).status) == (403, 409, 404)
    assert sent({"hidden": True}, keys["boss"]).status == 422
    hidden = ask("boss", True)
    assert (hidden.status, hidden.json["data"]) == (
        200,
        {"score_id": score, "player": {"id": wiping.ids["bob"], "name": "bob"}, "hidden": True},
    )
    assert ask("boss", True).status == 409
    assert server.get(f"/v2/scores/{score}").status == 404

    shown = server.cli("scores", "unhide", str(score), "--reason", "aa")

    assert shown == hidden.json["data"] | {"hidden": False}
    assert server.get(f"/v2/scores/{score}").status == 200
    assert run_kiai(server.data, "scores", "unhide", str(score), "--reason", "aa").returncode == 1
    rows = server.cli("audit", "--target", "bob")["rows"]
    assert [(row["action"], row["source"]) for row in server.cli("audit", "--limit", "2")["rows"]] == [
        ("score_unhide", "cli"),
        ("score_hide", "api"),
    ], rows


def test_each_act_has_one_row_with_the_values_before_and_after(wiping: Wiping) -> None:
    rows = wiping.server.cli("audit", "--target", "alice")["rows"]
    wipes = [row for row in rows if row["action"] in ("user_wipe", "user_restore")]
    assert [(row["action"], row["source"], row["reason"], row["details"]) for row in wipes[::-1]] == [
        ("user_wipe", "game", "Relax cheat", {"mode": None, "before": 2, "after": 0, "scores": 2}),
        ("user_restore", "cli", "Appeal accepted", {"mode": None, "before": 0, "after": 2, "scores": 2}),
        ("user_wipe", "cli", "Relax cheat", {"mode": 0, "before": 2, "after": 0, "scores": 2}),
        ("user_restore", "game", "Appeal accepted", {"mode": 0, "before": 0, "after": 2, "scores": 2}),
    ]
    hidden = wiping.server.cli("audit", "--action", "score_hide")["rows"]
    assert json.dumps(hidden[-1]["details"]) == json.dumps(
        {"user_id": wiping.ids["alice"], "before": False, "after": True}
    )
    assert hidden[-1]["target_id"] == wiping.best


def test_a_wiped_map_loses_its_board_and_gets_it_back(wiping: Wiping) -> None:
    # The ranks follow the plays of the tests before.
    eventually(lambda: [wiping.stats(name).get("rank") for name in ("alice", "bob")] == [1, 2])
    before = state(wiping)
    link = "https://osu.ppy.sh/beatmapsets/7#/75"
    wiping.people["root"].write("#osu", f"\x01ACTION is playing [{link} Artist - Song [Normal]]\x01")

    assert "is wiped: 3 scores hidden" in wiping.confirmed("root", "!wipemap broken")
    eventually(lambda: wiping.board() == [] and wiping.plays("bob") == 0)
    eventually(lambda: wiping.json(f"/get_map_info?md5={wiping.md5}")["map"]["plays"] == 0)
    assert set(wiping.has(wiping.bobs).values()) == {404}

    assert "is restored: 3 scores visible again" in wiping.says("root", "!restoremap repaired")
    eventually(lambda: wiping.stats("alice") == before["alice"] and wiping.stats("bob") == before["bob"])
    eventually(lambda: state(wiping) == before)


def test_a_map_is_wiped_and_restored_from_the_command_line(wiping: Wiping) -> None:
    before = state(wiping)
    asked = run_kiai(wiping.server.data, "beatmaps", "wipe", "75", "--reason", "broken")
    assert (asked.returncode, "add --yes to do it" in asked.stderr) == (1, True)
    assert run_kiai(wiping.server.data, "beatmaps", "restore", "75", "--reason", "x").returncode == 1

    assert wiping.server.cli("beatmaps", "wipe", "75", "--reason", "broken", "--yes") == {"scores": 3}
    eventually(lambda: wiping.board() == [])
    assert wiping.server.cli("beatmaps", "restore", "75", "--reason", "repaired") == {"scores": 3}

    eventually(lambda: state(wiping) == before)
    assert [(row["action"], row["source"]) for row in wiping.server.cli("audit", "--limit", "2")["rows"]] == [
        ("map_restore", "cli"),
        ("map_wipe", "cli"),
    ]


def test_an_unrestricted_player_comes_back_without_scores(wiping: Wiping) -> None:
    wiping.server.cli("users", "restrict", "bob", "--reason", "rx")
    assert "bob is unrestricted and wiped: 1 score hidden" in wiping.says("boss", "!unrestrict bob wipe aa")
    assert wiping.board() == [wiping.ids["alice"]]
    assert wiping.plays("bob") == 0
    assert wiping.server.cli("users", "restore", "bob", "--reason", "aa") == {"scores": 1}
    eventually(lambda: wiping.board() == [wiping.ids["alice"], wiping.ids["bob"]])
