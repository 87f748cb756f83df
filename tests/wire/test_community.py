"""Reports, shared devices, channels and FAQ from the game, the API, the command line and the event stream."""

import asyncio
import hashlib
import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from tests import stores
from tests.faces.bancho.client_bytes import whole
from tests.patience import patiently
from tests.wire.kit import API, Server, cli, eventually
from tests.wire.rows import NORMAL, Rows
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho
from tests.wire.test_bot import FILES, Player, lines

from kiai.app import open_services
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket
from kiai.faces.bancho.wire import PayloadReader, packets_in
from kiai.staff import OPERATOR
from kiai.storage.tables import audit_log, integrity_flags, map_requests, maps, reports

INFO: Final = packets.ServerPacket.CHANNEL_INFO
JOINED: Final = packets.ServerPacket.CHANNEL_JOIN_SUCCESS
KICK: Final = packets.ServerPacket.CHANNEL_KICK
NAMES: Final = ("anna", "boris", "carla", "dora", "mod", "Plum Harbor", "smurf", "wine")


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


async def populate(data: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Create the players; return their ids, and the keys of two of them."""
    async with open_services(stores.settings(data)) as services:
        ids = {
            name: await services.accounts.register(
                name=name,
                email=f"{name.replace(' ', '.')}@example.org",
                password=PASSWORD.format(name),
                priv=NORMAL,
            )
            for name in NAMES
        }
        await services.staff.grant(OPERATOR, "mod", ["moderator"])
        return ids, {name: await services.api_keys.issue(ids[name]) for name in ("anna", "mod")}


class Community:
    """A running server with players, a moderator, and their keys."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.ids, self.keys = asyncio.run(populate(self.data))
        # Without rate limits, because the tables below have more lines than a player may write.
        self.server = Server(self.data, RATE_LIMITS="off").start()
        self.bancho = Bancho(self.server)
        self.rows = Rows(self.data)

    def ask(self, method: str, path: str, by: str | None, **fields: Any) -> tuple[int, Any]:
        body = json.dumps(fields).encode() if fields else b"{}" if method != "GET" else None
        reply = self.server.ask(method, path, body=body, key=self.keys.get(by or ""))
        return reply.status, reply.json

    def refusal(self, *arguments: str) -> str:
        """Run a command that must fail, and return its error."""
        with pytest.raises(AssertionError) as failed:
            cli(self.data, *arguments)
        assert "exit code 1" in str(failed.value)
        return str(failed.value)

    def actions(self) -> list[tuple[str, int, str]]:
        return [(row.action, row.actor_id, row.source) for row in self.rows.look(audit_log)]


@pytest.fixture(scope="module")
def community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    community = Community(tmp_path_factory.mktemp("community"))
    try:
        yield community
        for fault in ('"unhandled"', '"packet failed"', '"command failed"'):
            assert fault not in community.server.stderr
        community.server.stop()
    finally:
        community.rows.close()
        community.server.kill()


@pytest.fixture(scope="module")
def anna(community: Community) -> Player:
    return Player(community.bancho, "anna")


@pytest.fixture(scope="module")
def mod(community: Community) -> Player:
    return Player(community.bancho, "mod")


def test_a_report_reaches_staff_and_nobody_else_wherever_it_is_written(
    community: Community, anna: Player, mod: Player
) -> None:
    plum = Player(community.bancho, "Plum Harbor")
    plum.write("#osu", "something rude")
    anna.send()
    private = whole(
        ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "!report Plum Harbor (Spamming) loud", "Plum Harbor", 0)
    )

    answer = lines(anna.send(private))

    assert "Your report has been sent" in answer[0][1]
    assert "already" in anna.write("#osu", "!report Plum Harbor (Spamming) loud")[0][1]
    assert "already" in anna.write("#nowhere", "!report plum_harbor loud")[0][1]
    assert not [line for line in lines(plum.send()) if "report" in line[1].lower()]
    status, found = community.ask("GET", "/v2/reports", "mod")
    assert (status, found["meta"]["total"]) == (200, 1)
    [report] = found["data"]
    assert report["reporter"] == {"id": community.ids["anna"], "name": "anna"}
    assert report["target"] == {"id": community.ids["Plum Harbor"], "name": "Plum Harbor"}
    assert (report["kind"], report["text"], report["state"]) == ("Spamming", "loud", "open")
    assert [line["text"] for line in report["lines"]] == ["something rude"]
    assert (report["closed_by"], report["verdict"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!report", "Usage: !report <user> <text>"),
        ("!report boris", "Usage: !report <user> <text>"),
        ("!report boris (Other)", "Usage: !report <user> <text>"),
        ("!report nobody loud", "User not found"),
        ("!report anna loud", "You can't do that to yourself"),
        ("!report BanchoBot loud", "You can't do that to the bot"),
        ("!reports", "Unknown command"),
        ("!multi boris", "Unknown command"),
        ("!help reports", "Unknown command"),
    ],
)
def test_refused_command_changes_nothing(community: Community, anna: Player, text: str, said: str) -> None:
    before = community.actions()

    [answer] = anna.write_to_bot(text)[:1]

    assert said in answer
    assert community.actions() == before


@pytest.mark.parametrize(
    ("by", "fields", "status", "param"),
    [
        (None, {"player_id": 4, "kind": "Spamming", "text": "x"}, 401, None),
        ("anna", {"player_id": 4, "kind": "Spamming"}, 422, "text"),
        ("anna", {"player_id": 4, "kind": "Spamming", "text": "x", "more": 1}, 422, "more"),
        ("anna", {"player_id": "4", "kind": "Spamming", "text": "x"}, 422, "player_id"),
        ("anna", {"player_id": 4, "kind": "Other", "text": ""}, 422, "text"),
        ("anna", {"player_id": 99, "kind": "Spamming", "text": "x"}, 404, None),
        ("anna", {"player_id": 3, "kind": "Spamming", "text": "x"}, 403, None),
    ],
)
def test_api_refuses_a_report_with_the_field_at_fault(
    community: Community, by: str | None, fields: dict[str, Any], status: int, param: str | None
) -> None:
    found, answer = community.ask("POST", "/v2/reports", by, **fields)

    assert (found, answer["param"]) == (status, param), answer


def test_a_report_is_made_and_closed_by_api_bot_and_command_line(community: Community, mod: Player) -> None:
    made: list[int] = []
    for name in ("boris", "carla", "dora"):
        status, answer = community.ask(
            "POST", "/v2/reports", "anna", player_id=community.ids[name], kind="Cheating", text=""
        )
        assert status == 201, answer
        made.append(answer["data"]["id"])
    by_api, by_bot, by_cli = made
    again = {"player_id": community.ids["boris"], "kind": "Cheating", "text": ""}
    assert community.ask("POST", "/v2/reports", "anna", **again)[0] == 409
    close = f"/v2/reports/{by_api}/close"

    assert community.ask("POST", close, "anna", text="no")[0] == 403
    assert community.ask("POST", close, None, text="no")[0] == 401
    assert community.ask("POST", close, "mod")[0] == 422
    assert community.ask("POST", "/v2/reports/999/close", "mod", text="no")[0] == 404
    status, answer = community.ask("POST", close, "mod", text="Nothing found")
    assert (status, answer["data"]["state"], answer["data"]["verdict"]) == (200, "closed", "Nothing found")
    assert answer["data"]["closed_by"] == {"id": community.ids["mod"], "name": "mod"}
    assert community.ask("POST", close, "mod", text="Twice")[0] == 409
    assert "Usage: !reports" in mod.write_to_bot("!reports close")[0]
    assert "is closed" in mod.write_to_bot(f"!reports close {by_bot} Warned")[0]
    assert "already" in mod.write_to_bot(f"!reports close {by_bot} Warned")[0]
    assert community.server.cli("reports", "close", str(by_cli), "Talked to")["closed_by"]["name"] == "operator"
    assert "already" in community.refusal("reports", "close", str(by_cli), "Again")
    assert "not found" in community.refusal("reports", "close", "999", "Again")

    listed = community.server.cli("reports", "list", "--state", "closed")
    assert [one["id"] for one in listed["reports"]] == made[::-1]
    assert listed["total"] == 3
    about = community.ask("GET", f"/v2/reports?state=all&player_id={community.ids['carla']}", "mod")[1]
    assert [one["id"] for one in about["data"]] == [by_bot]
    closings = [one for one in community.actions() if one[0] == "report_close"]
    moderator = community.ids["mod"]
    assert closings == [
        ("report_close", moderator, "api"), ("report_close", moderator, "game"), ("report_close", 0, "cli")
    ]  # fmt: skip
    assert len(community.rows.look(reports)) == 4


def test_devices_name_kinds_of_matches_and_never_values(community: Community, mod: Player) -> None:
    shared, rare = md5("shared machine"), md5("rare disk")
    constant = "b4ec3c4334a0249dae95c284ec5983df"  # md5("runningunderwine")

    def log_in(name: str, uninstall: str, disk: str, adapters: str = "0A1B2C.") -> None:
        hashes = f"{md5(name)}:{adapters}:{md5(adapters)}:{uninstall}:{disk}:"
        assert len(community.bancho.login(name, hashes=hashes).headers["cho-token"]) == 36

    log_in("carla", shared, rare, "AA.")
    log_in("dora", shared, rare, "BB.")
    log_in("smurf", shared, md5("another disk"), "CC.")
    log_in("wine", constant, rare, "runningunderwine")

    def matches() -> list[dict[str, Any]]:
        return list(community.server.cli("users", "devices", "carla")["matches"])

    eventually(lambda: {one["player"]["name"] for one in matches()} >= {"dora", "smurf"})
    kinds = {one["player"]["name"]: one["kinds"] for one in matches()}
    assert kinds == {"dora": ["uninstall", "disk"], "smurf": ["uninstall"]}
    status, answer = community.ask("GET", f"/v2/players/{community.ids['carla']}/devices", "mod")
    assert (status, answer["data"]) == (200, matches())
    assert shared not in json.dumps(answer)
    assert set(answer["data"][0]) == {"player", "kinds", "first_at", "last_at"}
    assert community.ask("GET", f"/v2/players/{community.ids['carla']}/devices", "anna")[0] == 403
    assert community.ask("GET", "/v2/players/999/devices", "mod")[0] == 404
    assert "Usage: !multi <user>" in mod.write_to_bot("!multi")[0]
    assert "User not found" in mod.write_to_bot("!multi nobody")[0]
    assert [line.split(",")[0] for line in mod.write_to_bot("!hardware carla")[1:]] == [
        "dora: uninstall",
        "smurf: uninstall",
    ]
    assert {one[2] for one in community.actions() if one[0] == "multi_check"} == {"cli", "api", "game"}


def test_hardware_of_a_restricted_player_raises_one_flag_and_an_event_for_staff(
    community: Community, mod: Player
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", community.server.port, timeout=patiently(10))
    with closing(connection):
        path = "/v2/events?types=sanction,report"
        connection.request("GET", path, headers={"Host": API, "Authorization": community.keys["mod"]})
        stream = connection.getresponse()
        assert stream.status == 200
        assert community.ask("GET", path, "anna")[0] == 403
        assert community.ask("GET", path, None)[0] == 401
        cli(community.data, "users", "restrict", "smurf", "--reason", "third-party program")
        while not (line := stream.readline()).startswith(b"data: {"):
            pass
    event = json.loads(line.removeprefix(b"data: "))
    assert event["type"] == "sanction"
    assert event["data"]["action"] == "restrict"
    assert event["data"]["target"] == {"id": community.ids["smurf"], "name": "smurf"}
    assert (event["data"]["actor"], event["data"]["reason"]) == (None, "third-party program")

    shared = md5("shared machine")
    for uninstall in (shared, shared):
        community.bancho.login("boris", hashes=f"x:0A1B2C.:{md5('DD.')}:{uninstall}:{md5('disk of boris')}:")

    def flagged() -> list[Any]:
        return [row for row in community.rows.look(integrity_flags) if row.kind == "restricted_hardware"]

    eventually(lambda: len(flagged()) == 1)
    assert flagged()[0].user_id == community.ids["boris"]
    assert [one for one in community.actions() if one[0] == "hardware_match"] == [("hardware_match", 0, "game")]


def channels_in(body: bytes, packet: packets.ServerPacket) -> list[str]:
    return [PayloadReader(payload).string() for packet_id, payload in packets_in(body) if packet_id == packet]


def test_a_running_server_offers_a_new_channel_and_takes_it_away(
    community: Community, anna: Player, mod: Player
) -> None:
    join = whole(ClientPacket.CHANNEL_JOIN, "#team")
    server = community.server
    anna.send()
    mod.send()

    added = server.cli("channels", "add", "team", "--topic", "For the team", "--read", "moderator")

    assert added == {
        "name": "#team", "topic": "For the team", "read": 4096, "write": 4096, "auto": False, "moderated": False
    }  # fmt: skip
    eventually(lambda: "#team" in channels_in(mod.send(), INFO))
    assert "#team" not in channels_in(anna.send(), INFO)
    assert channels_in(anna.send(join), KICK) == ["#team"]
    assert channels_in(mod.send(join), JOINED) == ["#team"]
    assert "already taken" in community.refusal("channels", "add", "#team")
    assert "name must be" in community.refusal("channels", "add", "#multi_3")
    assert "read must be" in community.refusal("channels", "add", "#other", "--read", "king")
    assert server.cli("channels", "topic", "#team", "Changed")["topic"] == "Changed"
    assert server.cli("channels", "moderated", "#team", "on")["moderated"] is True
    assert "already" in community.refusal("channels", "moderated", "#team", "on")
    assert "#team" in [one["name"] for one in server.cli("channels", "list")["channels"]]
    server.cli("channels", "remove", "#team")
    eventually(lambda: "#team" in channels_in(mod.send(), KICK))
    assert channels_in(anna.send(), KICK) == []
    assert "not found" in community.refusal("channels", "topic", "#team", "Gone")
    assert [one[0] for one in community.actions() if one[0].startswith("channel_")] == [
        "channel_edit", "channel_edit", "channel_moderated", "channel_edit"
    ]  # fmt: skip


def test_faq_and_greeting_are_the_texts_of_the_operator(community: Community, anna: Player) -> None:
    server = community.server
    assert "No FAQ entry" in anna.write_to_bot("!faq rules")[0]
    assert "Usage: !faq <key>" in anna.write_to_bot("!faq")[0]

    assert server.cli("faq", "set", "rules", "Be nice.\nBe honest.") == {"key": "rules", "text": "Be nice.\nBe honest."}
    server.cli("faq", "set", "welcome", "Hello!")

    assert anna.write_to_bot("!faq rules") == ["Be nice.", "Be honest."]
    assert anna.write_to_bot("!faq list") == ["FAQ: rules, welcome"]
    assert server.cli("faq", "list")["faq"][0] == {"key": "rules", "text": "Be nice.\nBe honest."}
    assert "key must be" in community.refusal("faq", "set", "Not A Key", "x")
    server.cli("faq", "remove", "rules")
    assert "not found" in community.refusal("faq", "remove", "rules")
    assert [one[0] for one in community.actions() if one[0] == "faq_edit"] == ["faq_edit"] * 3


def test_moderators_erase_lines_without_a_silence(community: Community, anna: Player, mod: Player) -> None:
    anna.send()

    answer = mod.write("#osu", "!clearchat anna")

    assert ("BanchoBot", "Removed the lines of anna.", "#osu") in answer
    erased = [
        PayloadReader(payload).i32() for packet_id, payload in packets_in(anna.send())
        if packet_id == packets.ServerPacket.USER_SILENCED
    ]  # fmt: skip
    assert erased == [community.ids["anna"]]
    assert "Write this command in the channel" in mod.write_to_bot("!clearchat anna")[0]
    assert anna.write("#osu", "!clearchat mod") == []
    assert mod.write_to_bot("!spectators anna") == ["Nobody watches anna."]
    assert [one[0] for one in community.actions() if one[0] == "clear_messages"] == ["clear_messages"]


NP: Final = "\x01ACTION is playing [https://osu.localhost/beatmapsets/{set_id}#/{map_id} A - B [C]]\x01"


def test_players_request_sets_and_nominators_answer(community: Community, anna: Player, mod: Player) -> None:
    shutil.copy(FILES / "title-with-mod-words.osu", community.data.parent)
    cli(
        community.data,
        "beatmaps",
        "import",
        str(community.data.parent / "title-with-mod-words.osu"),
        "--status",
        "pending",
    )
    [beatmap] = community.rows.look(maps)
    playing = NP.format(set_id=beatmap.set_id, map_id=beatmap.id)
    cli(community.data, "users", "grant", "mod", "nominator")
    assert "Choose a beatmap with /np first" in anna.write_to_bot("!request")[0]
    for player in (anna, mod):
        player.write_to_bot(playing)

    assert "has been sent" in anna.write_to_bot("!request")[0]
    assert "already" in anna.write_to_bot("!req")[0]
    assert "Unknown command" in anna.write_to_bot("!requests")[0]
    assert "Unknown command" in anna.write_to_bot("!map rank")[0]
    eventually(lambda: "1 since" in mod.write_to_bot("!requests")[0])  # the session gets the new privilege
    queue = mod.write_to_bot("!requests")
    assert "1 since" in queue[0]
    assert "by anna" in queue[0]
    assert queue[1] == "Page 1 of 1, 1 set."
    assert "Usage: !close <reason>" in mod.write_to_bot("!close")[0]
    assert "closed 1 request" in mod.write_to_bot("!close not yet")[0]
    eventually(lambda: "was closed: not yet" in str(lines(anna.send())))
    assert "not found" in mod.write_to_bot("!close not yet")[0]
    anna.write_to_bot("!request")
    assert "to ranked" in mod.write_to_bot("!map rank set")[0]
    eventually(lambda: "was answered: it is ranked now." in str(lines(anna.send())))
    assert "already ranked" in mod.write_to_bot("!mrs")[0]
    assert "only pending" in anna.write_to_bot("!request")[0].lower()
    assert "is ranked since" in anna.write_to_bot("!whoranked")[0]
    assert "by mod" in anna.write_to_bot("!whoranked")[0]
    assert "unfroze" in mod.write_to_bot("!map unfreeze")[0]
    assert "already not frozen" in mod.write_to_bot("!map unfreeze")[0]
    assert "Usage: !map" in mod.write_to_bot("!map king")[0]
    assert community.rows.look(map_requests) == []
    acts = [one[0] for one in community.actions() if one[0] in ("request_close", "beatmap_status")]
    assert acts == ["request_close", "beatmap_status", "beatmap_status"]
