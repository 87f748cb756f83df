"""Clans over a real server: the API, the bot and the command line, with every refusal."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests import stores
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Reply, Server, eventually, run_kiai
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho
from tests.wire.test_bot import Player, lines

from kiai.app import open_services
from kiai.clans.model import ACTS_BURST
from kiai.faces.bancho.packets import ClientPacket, ServerPacket
from kiai.faces.bancho.wire import PayloadReader, packets_in
from kiai.osu.privileges import Privilege
from kiai.storage.port import Query
from kiai.storage.tables import audit_log

NORMAL = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
ADMIN = NORMAL | int(Privilege.ADMINISTRATOR)
NAMES = ("olga", "otto", "mira", "nils", "nora", "rosa", "hana", "adam", "ivan", "igor", "lena", "saul")
OWLS = {"tag": "owl", "name": "Night Owls"}


class ClanServer:
    """A server with players, each with an API key."""

    def __init__(self, server: Server, ids: dict[str, int], keys: dict[str, str]) -> None:
        self.server = server
        self.ids = ids
        self.keys = keys

    def ask(self, by: str, method: str, path: str, body: object = None) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self.server.ask(method, f"/v2{path}", key=self.keys.get(by), headers=headers, body=data)

    def status(self, by: str, method: str, path: str, body: object = None) -> tuple[int, str]:
        reply = self.ask(by, method, path, body)
        return reply.status, str(reply.json.get("error", reply.json))

    def found(self, by: str, tag: str, name: str) -> int:
        reply = self.ask(by, "POST", "/clans", {"tag": tag, "name": name})
        assert reply.status == 201, reply.body
        return int(reply.json["data"]["id"])

    def audit(self) -> list[tuple[str, str, int]]:
        return asyncio.run(_audit(self.server.data))

    def refused(self, *arguments: str) -> str:
        """Run a command that fails, and return its stderr."""
        done = run_kiai(self.server.data, "clans", *arguments)
        assert done.returncode == 1, done
        return done.stderr


async def _audit(data: Path) -> list[tuple[str, str, int]]:
    rows = select(audit_log.c.action, audit_log.c.source, audit_log.c.target_id).where(
        audit_log.c.action.in_(("clan_edit", "clan_disband", "denied"))
    )
    async with open_services(stores.settings(data)) as services:
        return await services.database.all(
            Query(rows.order_by(audit_log.c.id), lambda action, source, target: (action, source, target))
        )


async def _prepare(data: Path) -> tuple[dict[str, int], dict[str, str]]:
    ids: dict[str, int] = {}
    keys: dict[str, str] = {}
    async with open_services(stores.settings(data)) as services:
        for name in NAMES:
            ids[name] = await services.accounts.register(
                name=name,
                email=f"{name}@example.org",
                password=PASSWORD.format(name),
                priv=ADMIN if name == "adam" else NORMAL,
                country="nl",
            )
            keys[name] = await services.api_keys.issue(ids[name])
    return ids, keys


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClanServer]:
    data = tmp_path_factory.mktemp("clans") / "data"
    ids, keys = asyncio.run(_prepare(data))
    # Without the wait and the limits of commands: one player leaves and joins often, and sends many lines.
    server = Server(data, RATE_LIMITS="off", CLAN_COOLDOWN_HOURS="0", CLAN_MEMBERS_MAX="3").start()
    try:
        yield ClanServer(server, ids, keys)
        assert '"unhandled"' not in server.stderr
        assert '"packet failed"' not in server.stderr
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


def test_the_api_founds_leads_and_disbands_a_clan(world: ClanServer) -> None:
    ids = world.ids
    founded = world.ask("olga", "POST", "/clans", OWLS)
    assert founded.status == 201
    clan = founded.json["data"]
    assert (clan["tag"], clan["name"], clan["join"], clan["members"]) == ("OWL", "Night Owls", "invite", 1)
    assert clan["owner"] == {"id": ids["olga"], "name": "olga"}
    at = f"/clans/{clan['id']}"

    for about, by, method, path, body, status in (
        ("no key", "", "POST", "/clans", OWLS, 401),
        ("a field is missing", "otto", "POST", "/clans", {"tag": "X"}, 422),
        ("an unknown field", "otto", "POST", "/clans", {**OWLS, "x": 1}, 422),
        ("a wrong tag", "otto", "POST", "/clans", {"tag": "too long", "name": "Others"}, 422),
        ("a taken tag", "otto", "POST", "/clans", {"tag": "OWL", "name": "Others"}, 409),
        ("a taken name", "otto", "POST", "/clans", {"tag": "X", "name": "night_owls"}, 409),
        ("a second clan", "olga", "POST", "/clans", {"tag": "X", "name": "Others"}, 409),
        ("no such clan", "otto", "POST", "/clans/999/join", {}, 404),
        ("no invitation", "otto", "POST", f"{at}/join", None, 403),
        ("a wrong code", "otto", "POST", f"{at}/join", {"code": "0" * 12}, 403),
        ("a number as code", "otto", "POST", f"{at}/join", {"code": 5}, 422),
        ("not a member", "otto", "POST", f"{at}/leave", None, 409),
        ("the owner leaves", "olga", "POST", f"{at}/leave", None, 409),
        ("requests for a stranger", "otto", "GET", f"{at}/requests", None, 403),
        ("the code for a stranger", "otto", "POST", f"{at}/code", None, 403),
        ("an invitation by a stranger", "otto", "POST", f"{at}/invites", {"player_id": ids["mira"]}, 403),
        ("an invitation of nobody", "olga", "POST", f"{at}/invites", {"player_id": 999_999}, 404),
        ("no player", "olga", "POST", f"{at}/invites", {}, 422),
        ("no request", "olga", "POST", f"{at}/requests/{ids['mira']}", {"accept": True}, 404),
        ("no answer", "olga", "POST", f"{at}/requests/{ids['mira']}", {}, 422),
        ("a change by a stranger", "otto", "PATCH", at, {"name": "Mine"}, 403),
        ("no change", "olga", "PATCH", at, {}, 422),
        ("an unknown form", "olga", "PATCH", at, {"join": "nobody"}, 422),
        ("a description by a stranger", "otto", "PATCH", at, {"description": "Mine"}, 403),
        ("a description that is too long", "olga", "PATCH", at, {"description": "x" * 501}, 422),
        ("a control character", "olga", "PATCH", at, {"description": "a\x07b"}, 422),
        ("the same description", "olga", "PATCH", at, {"description": ""}, 409),
        ("the same form", "olga", "PATCH", at, {"join": "invite"}, 409),
        ("a role of a stranger", "olga", "PATCH", f"{at}/members/{ids['otto']}", {"role": "officer"}, 404),
        ("an unknown role", "olga", "PATCH", f"{at}/members/{ids['olga']}", {"role": "king"}, 422),
        ("removing a stranger", "olga", "DELETE", f"{at}/members/{ids['otto']}", None, 404),
        ("disbanding by a stranger", "otto", "DELETE", at, {"confirm": "OWL"}, 403),
        ("no confirmation", "olga", "DELETE", at, {}, 422),
        ("a wrong confirmation", "olga", "DELETE", at, {"confirm": "CAT"}, 422),
        ("the history of nothing", "", "GET", "/clans/999/history", None, 404),
    ):
        assert world.status(by, method, path, body)[0] == status, (about, world.status(by, method, path, body))

    code = world.ask("olga", "POST", f"{at}/code").json["data"]["code"]
    assert re.fullmatch("[0-9a-z]{12,}", code)
    assert world.ask("otto", "POST", f"{at}/join", {"code": code}).json["data"] == {"state": "joined"}
    assert world.ask("olga", "POST", f"{at}/invites", {"player_id": ids["mira"]}).status == 201
    assert world.status("olga", "POST", f"{at}/invites", {"player_id": ids["mira"]})[0] == 409
    assert world.ask("mira", "POST", f"{at}/join", {}).json["data"] == {"state": "joined"}
    assert world.status("nils", "POST", f"{at}/join", {"code": code})[0] == 409  # full
    assert world.ask("olga", "PATCH", f"{at}/members/{ids['otto']}", {"role": "officer"}).json["data"] == {}
    assert world.status("otto", "DELETE", f"{at}/members/{ids['olga']}")[0] == 403
    assert world.ask("otto", "DELETE", f"{at}/members/{ids['mira']}").json["data"] == {}
    assert world.ask("olga", "PATCH", at, {"join": "request"}).json["data"]["join"] == "request"
    awake = world.ask("olga", "PATCH", at, {"description": "Awake <script>alert(1)</script>"}).json["data"]
    assert awake["description"] == "Awake <script>alert(1)</script>"
    page = world.server.ask("GET", at, host="localhost").body.decode()
    assert "Awake &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert world.ask("nils", "POST", f"{at}/join").json["data"] == {"state": "requested"}
    assert world.status("nils", "POST", f"{at}/join")[0] == 409
    assert world.ask("otto", "GET", f"{at}/requests").json["data"] == [{"id": ids["nils"], "name": "nils"}]
    assert world.ask("otto", "POST", f"{at}/requests/{ids['nils']}", {"accept": True}).json["data"] == {}
    assert world.ask("olga", "PATCH", f"{at}/members/{ids['nils']}", {"role": "owner"}).json["data"] == {}
    assert world.status("olga", "DELETE", at, {"confirm": "OWL"})[0] == 403
    assert world.ask("nils", "DELETE", at, {"confirm": "owl"}).json["data"] == {}

    assert world.ask("", "GET", at).status == 404
    kinds = [row["kind"] for row in world.ask("", "GET", f"{at}/history").json["data"]]
    assert kinds == ["disband", "transfer", "join", "form", "kick", "promote", "join", "join", "found"]
    assert world.status("olga", "POST", "/clans", OWLS)[0] == 409  # reserved


def test_the_bot_answers_each_command_and_refusal(world: ClanServer) -> None:
    bancho = Bancho(world.server)
    nora, rosa, hana, adam = (Player(bancho, name) for name in ("nora", "rosa", "hana", "adam"))

    def says(by: Player, line: str, *parts: str) -> str:
        answer = "\n".join(by.write_to_bot(line))
        assert all(part in answer for part in parts), (line, answer)
        return answer

    says(nora, "!clan", "!clan help | create")
    says(nora, "!clan create", "Usage: !clan create <tag> <name>")
    says(nora, "!clan create BAT", "Usage: !clan create <tag> <name>")
    says(nora, "!clan info", "You are not in a clan")
    says(nora, "!clan info ZZZ", "Clan not found")
    says(nora, "!clan leave", "You are not in a clan")
    says(nora, "!clan disband", "You are not in a clan")
    says(nora, "!clan create bat Fruit Bats", "You have founded [BAT]", "Fruit Bats")
    says(nora, "!clan create cow Cows", "You are already in a clan")
    says(rosa, "!clan create bat Others", "already taken")
    says(rosa, "!clan create cow fruit_bats", "already taken")
    says(nora, "!clan info", "[BAT]", "Fruit Bats", "Owner: nora", "1 of 3 members")
    says(rosa, "!clan join BAT", "No invitation")
    says(rosa, "!clan join 000000000000", "No invitation")
    says(rosa, "!clan kick nora", "You are not in a clan")
    says(nora, "!clan invite nobody-here", "User not found")
    assert "rosa is invited" in says(nora, "!clan invite rosa")
    eventually(lambda: "nora invites you to the clan [BAT]" in str(lines(rosa.send())))
    says(rosa, "!clan join bat", "You are now a member of [BAT] Fruit Bats")
    says(rosa, "!clan invite hana", "Only officers")
    says(rosa, "!clan promote nora", "Only the owner")
    says(rosa, "!clan disband", "Only the owner")
    code = re.search("[0-9a-z]{12}", says(nora, "!clan invite code"))
    assert code is not None
    says(nora, "!clan invite code", code[0])
    assert code[0] not in says(nora, "!clan invite code reset")
    says(nora, "!clan status closed", "The clan is now closed")
    says(hana, "!clan join BAT", "The clan is closed")
    says(nora, "!clan status sideways", "Usage: !clan status")
    says(nora, "!clan status request", "by request")
    says(hana, "!clan join BAT", "You have asked to join [BAT]")
    says(nora, "!clan requests", "hana")
    says(nora, "!clan deny hana", "denied")
    says(nora, "!clan accept hana", "has not asked")
    says(hana, "!clan join BAT", "You have asked to join")
    says(nora, "!clan accept", "hana is now a member")
    says(adam, "!clan join BAT", "You have asked to join")
    says(nora, "!clan accept adam", "The clan is full")
    says(nora, "!clan promote rosa", "officer")
    says(nora, "!clan promote rosa", "already")
    says(rosa, "!clan kick nora", "Only the owner")
    says(rosa, "!clan kick rosa", "You can't do that to yourself")
    says(rosa, "!clan kick hana", "no longer a member")
    says(nora, "!clan demote rosa", "without an office")
    says(nora, "!clan leave", "The owner can't leave")
    says(nora, "!clan tag vam", "VAM")
    says(nora, "!clan rename Vampires", "Vampires")
    says(nora, "!clan list", "no ranked clans")
    # Staff name the clan first; others are not told apart from the owner's form.
    says(adam, "!clan rename VAM Vampire Bats", "Vampire Bats")
    says(adam, "!clan status VAM open", "open to everybody")
    says(adam, "!clan disband", "You are not in a clan")
    says(hana, "!clan disband VAM", "Only the owner")
    says(nora, "!clan transfer rosa", "rosa is now the owner")
    confirm = re.search("!confirm ([0-9a-z]{6})", says(adam, "!clan disband VAM", "[VAM] Vampire Bats"))
    assert confirm is not None
    says(nora, "!clan info VAM", "Vampire Bats")  # nothing has happened yet
    says(rosa, f"!confirm {confirm[1]}", "Nothing to confirm")
    says(adam, f"!confirm {confirm[1]}", "is disbanded")
    says(adam, f"!confirm {confirm[1]}", "Nothing to confirm")
    says(nora, "!clan info VAM", "Clan not found")

    acts = [(action, source) for action, source, _ in world.audit()]
    assert acts == [("clan_edit", "game"), ("clan_edit", "game"), ("clan_disband", "game")]


def test_founding_and_disbanding_are_announced_and_told_as_events(world: ClanServer) -> None:
    ivan = Player(Bancho(world.server), "ivan")
    heard: list[tuple[str, str, str]] = []

    clan_id = world.found("igor", "FOX", "Foxes")
    world.ask("igor", "DELETE", f"/clans/{clan_id}", {"confirm": "FOX"})

    def announced() -> bool:
        heard.extend(lines(ivan.send()))
        texts = [text for sender, text, to in heard if (sender, to) == ("igor", "#announce")]
        return texts == ["\x01ACTION founded [FOX] Foxes\x01", "\x01ACTION disbanded [FOX] Foxes\x01"]

    eventually(announced)


def test_commands_of_the_operator_answer_as_documented(world: ClanServer) -> None:
    def cli(*arguments: str) -> Any:
        return world.server.cli("clans", *arguments)

    before = len(world.audit())
    created = cli("create", "elk", "Elks", "--owner", "lena")
    owner = {"id": world.ids["lena"], "name": "lena"}
    assert {key: created[key] for key in ("tag", "name", "join", "owner", "members")} == {
        "tag": "ELK", "name": "Elks", "join": "invite", "owner": owner, "members": 1,
    }  # fmt: skip
    assert cli("status", "elk", "open")["join"] == "open"
    world.ask("saul", "POST", f"/clans/{created['id']}/join")
    assert cli("show", "ELK")["members"] == [
        {**owner, "role": "owner"},
        {"id": world.ids["saul"], "name": "saul", "role": "member"},
    ]
    assert cli("transfer", "ELK", "saul")["owner"]["name"] == "saul"
    assert cli("kick", "ELK", "lena")["members"] == 1
    assert cli("rename", "ELK", "Moose")["name"] == "Moose"
    assert cli("tag", "ELK", "mse")["tag"] == "MSE"
    listed = cli("list")
    assert created["id"] in [clan["id"] for clan in listed["clans"]]
    assert listed["total"] == len(listed["clans"])
    assert "already taken" in world.refused("create", "MSE", "Others", "--owner", "lena")
    assert "--yes" in world.refused("disband", "MSE", "--reason", "because")
    assert "not found" in world.refused("show", "NONE")
    assert "must be one of" in world.refused("status", "MSE", "sideways")
    assert cli("disband", "MSE", "--reason", "because", "--yes")["id"] == created["id"]
    assert [row[:2] for row in world.audit()[before:]] == [("clan_edit", "cli")] * 6 + [("clan_disband", "cli")]


def opened_and_closed(body: bytes) -> list[tuple[int, str]]:
    """Return the channels that an answer opens or closes."""
    wanted = (ServerPacket.CHANNEL_JOIN_SUCCESS, ServerPacket.CHANNEL_KICK)
    return [(id_, PayloadReader(payload).string()) for id_, payload in packets_in(body) if id_ in wanted]


def test_owner_cannot_flood_a_member_with_lines(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ids, keys = asyncio.run(_prepare(data))
    server = Server(data).start()
    try:
        world = ClanServer(server, ids, keys)
        at = f"/clans/{world.found('olga', 'OWL', 'Night Owls')}"
        code = world.ask("olga", "POST", f"{at}/code").json["data"]["code"]
        assert world.ask("otto", "POST", f"{at}/join", {"code": code}).status == 200
        otto = Player(Bancho(server), "otto")

        roles = ("officer", "member") * ACTS_BURST
        answers = [world.ask("olga", "PATCH", f"{at}/members/{ids['otto']}", {"role": role}) for role in roles]
        assert world.ask("olga", "POST", f"{at}/invites", {"player_id": ids["mira"]}).status == 429
        assert (
            world.ask("nils", "POST", "/clans", {"tag": "ELK", "name": "Elks"}).status == 201
        )  # others are not limited

        refused = [answer for answer in answers if answer.status == 429]
        carried_out = sum(answer.status == 200 for answer in answers)
        assert carried_out >= ACTS_BURST - 1  # with the founding
        assert len(refused) >= ACTS_BURST / 2
        assert int(refused[0].headers["retry-after"]) > 0
        assert refused[0].json["error"] == "You do too much in clans: try again in a minute."
        told: list[str] = []

        def all_told() -> bool:
            told.extend(
                text for sender, text, _ in lines(otto.send()) if sender == "BanchoBot" and "You are now" in text
            )
            return len(told) >= carried_out

        eventually(all_told)
        assert len(told) == carried_out
        server.stop()
    finally:
        server.kill()


def test_members_talk_in_a_channel_of_their_own(world: ClanServer) -> None:
    bancho = Bancho(world.server)
    ivan, igor, saul = (Player(bancho, name) for name in ("ivan", "igor", "saul"))
    clan_id = world.found("ivan", "EEL", "Eels")
    world.ask("ivan", "PATCH", f"/clans/{clan_id}", {"join": "open"})
    assert world.ask("igor", "POST", f"/clans/{clan_id}/join").status == 200
    opened = (int(ServerPacket.CHANNEL_JOIN_SUCCESS), "#clan")
    closed = (int(ServerPacket.CHANNEL_KICK), "#clan")

    eventually(lambda: opened in opened_and_closed(ivan.send()))
    eventually(lambda: opened in opened_and_closed(igor.send()))
    ivan.write("#clan", "to the eels")
    eventually(lambda: ("ivan", "to the eels", "#clan") in lines(igor.send()))
    # A stranger can neither read nor write, whatever name it uses.
    for name in ("#clan", f"#clan_{clan_id}"):
        assert (int(ServerPacket.CHANNEL_KICK), name) in opened_and_closed(
            saul.send(whole(ClientPacket.CHANNEL_JOIN, name))
        )
        saul.write(name, "from outside")
    igor.write("#clan", "from inside")
    heard: list[str] = []

    def hears_igor() -> bool:
        heard.extend(text for _, text, _ in lines(ivan.send()))
        return "from inside" in heard

    eventually(hears_igor)
    assert "from outside" not in heard
    assert "#clan" not in str(lines(saul.send()))

    # A new session of a member is in the channel from the login on.
    eventually(lambda: opened in opened_and_closed(bancho.login("ivan").body), within_s=20.0)
    world.ask("ivan", "DELETE", f"/clans/{clan_id}/members/{world.ids['igor']}")
    eventually(lambda: closed in opened_and_closed(igor.send()))
    igor.write("#clan", "from outside")
    assert "from outside" not in str(lines(Player(bancho, "ivan").send()))
