"""Acts of staff from chat, the command line and the API, on one server with limits on.

Each test uses players of its own. It reads replies, packets, states and the audit log.
"""

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import stores
from tests.patience import join, patiently
from tests.wire.kit import Reply, Server, cli, eventually, run_kiai
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho
from tests.wire.test_bot import Player

from kiai.app import open_services
from kiai.faces.bancho import packets
from kiai.osu.privileges import Privilege

NORMAL = 3
STAFF = {
    "root": NORMAL | int(Privilege.DEVELOPER),
    "boss": NORMAL | int(Privilege.ADMINISTRATOR),
    "boss2": NORMAL | int(Privilege.ADMINISTRATOR),
    "mod": NORMAL | int(Privilege.MODERATOR),
    "mod2": NORMAL | int(Privilege.MODERATOR),
    "fallen": int(Privilege.MODERATOR | Privilege.VERIFIED),
    "nobody": NORMAL,
}
TARGETS = 48


class Staffed(msgspec.Struct):
    """The server, the ids and keys of staff, and players that no test has used yet."""

    server: Server
    bancho: Bancho
    ids: dict[str, int]
    keys: dict[str, str]
    players: dict[str, Player]
    unused: list[str]

    def target(self) -> str:
        """Return the name of a player that no test has used."""
        return self.unused.pop()

    def says(self, name: str, line: str) -> list[str]:
        """Send the bot a line, and return its answer."""
        if name not in self.players:
            self.players[name] = Player(self.bancho, name)
        return self.players[name].write_to_bot(line)

    def post(self, name: str, path: str, body: object) -> Reply:
        """Send a POST with the key of a member of staff."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.server.ask(
            "POST", path, key=f"Bearer {self.keys[name]}", body=sent, headers={"Content-Type": "application/json"}
        )

    def get(self, name: str, path: str) -> Any:
        """Return the data of a GET with the key of a member of staff."""
        reply = self.server.get(path, key=f"Bearer {self.keys[name]}")
        assert reply.status == 200, reply
        return reply.json["data"]

    def sanction(self, name: str, target: str, kind: str, reason: str = "because", **more: str) -> Reply:
        """Carry out a sanction by the API."""
        body = {"kind": kind, "reason": reason, **more}
        return self.post(name, f"/v2/players/{self.ids[target]}/sanctions", body)

    def state(self, target: str) -> dict[str, Any]:
        """Return the sanctions of a player."""
        found: dict[str, Any] = self.get("root", f"/v2/players/{self.ids[target]}/sanctions")
        return found

    def rows(self, target: str) -> list[dict[str, Any]]:
        """Return the audit rows about a player, oldest first."""
        rows: list[dict[str, Any]] = self.get("root", f"/v2/audit?target_id={self.ids[target]}")
        return rows[::-1]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, which may fail."""
        return run_kiai(self.server.data, *arguments, "--json")


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staffed]:
    data = tmp_path_factory.mktemp("staff") / "data"
    cli(data, "migrate")
    targets = [f"target{n}" for n in range(TARGETS)]
    ids, keys = asyncio.run(_seeded(data, targets))
    server = Server(data).start()
    try:
        yield Staffed(server, Bancho(server), ids, keys, {}, targets)
        assert '"unhandled"' not in server.stderr
        assert '"packet failed"' not in server.stderr
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


async def _seeded(data: Path, targets: list[str]) -> tuple[dict[str, int], dict[str, str]]:
    ids: dict[str, int] = {}
    async with open_services(stores.settings(data)) as services:
        for name, priv in {**STAFF, **dict.fromkeys(targets, NORMAL)}.items():
            ids[name] = await services.accounts.register(
                name=name, email=f"{name}@example.org", password=PASSWORD.format(name), country="nl", priv=priv
            )
        keys = {name: await services.api_keys.issue(ids[name]) for name in STAFF}
    return ids, keys


# kind, the act that must come before it, words of the chat line, duration
KINDS = [
    ("silence", None, "10m", "10m"),
    ("unsilence", "silence", "", None),
    ("kick", None, "", None),
    ("restrict", None, "7d", "7d"),
    ("unrestrict", "restrict", "", None),
    ("ban", None, "", None),
    ("unban", "ban", "", None),
    ("freeze", None, "2w", "2w"),
    ("unfreeze", "freeze", "", None),
]
DONE = {
    "silence": "silenced for 10 minutes",
    "unsilence": "unsilenced",
    "kick": "kicked",
    "restrict": "restricted",
    "unrestrict": "unrestricted",
    "ban": "banned",
    "unban": "unbanned",
    "freeze": "frozen",
    "unfreeze": "unfrozen",
}


@pytest.mark.parametrize("face", ["chat", "api", "cli"])
@pytest.mark.parametrize(("kind", "before", "words", "duration"), KINDS)
def test_each_act_from_each_face_has_one_row(
    staffed: Staffed, kind: str, before: str | None, words: str, duration: str | None, face: str
) -> None:
    target = staffed.target()
    if before is not None:
        more = {"duration": "1h"} if before == "silence" else {}
        assert staffed.sanction("root", target, before, **more).status == 201
    rows = len(staffed.rows(target))

    actor, source = "boss", face
    if face == "chat":
        [line] = staffed.says("boss", f"!{kind} {target} {words} rx".replace("  ", " "))
        assert target in line
        assert DONE[kind] in line
        source = "game"
    elif face == "api":
        reply = staffed.sanction("boss", target, kind, "rx", **({"duration": duration} if duration else {}))
        assert reply.status == 201, reply
        data = reply.json["data"]
        assert data["player"] == {"id": staffed.ids[target], "name": target}
        assert (data["kind"], data["reason"], data["until"] is None) == (kind, "Relax cheat", duration is None)
        assert data["audit_id"] == staffed.rows(target)[-1]["id"]
    else:
        length = [] if duration is None else [duration] if kind == "silence" else ["--for", duration]
        user = staffed.server.cli("users", kind, target, *length, "--reason", "rx")
        assert user["banned"] == (kind == "ban")
        actor = None  # type: ignore[assignment]

    [row] = staffed.rows(target)[rows:]
    assert (row["action"], row["source"], row["actor"], row["target"], row["reason"]) == (
        kind,
        source,
        actor,
        target,
        "Relax cheat",
    )


@pytest.mark.parametrize(
    ("asker", "line", "answer"),
    [
        ("nobody", "!silence {t} 10m rude", "Unknown command"),
        ("mod", "!restrict {t} rude", "Unknown command"),
        ("boss", "!givedonator {t} 30d", "Unknown command"),
        ("mod", "!silence {t} 10m", "Usage: !silence <user> <duration> <reason>"),
        ("mod", "!silence {t} 10 rude", "Usage: !silence <user> <duration> <reason>"),
        ("mod", "!silence {t} 0s rude", "Usage: !silence <user> <duration> <reason>"),
        ("mod", "!silence {t} 366d rude", "Usage: !silence <user> <duration> <reason>"),
        ("mod", "!silence {t} ١٠m rude", "Usage: !silence <user> <duration> <reason>"),
        ("mod", "!kick", "Usage: !kick <user> <reason>"),
        ("boss", "!restrict {t} 7d", "Usage: !restrict <user> [duration|perma] <reason>"),
        ("boss", "!restrict {t} 7 days", "Usage: !restrict <user> [duration|perma] <reason>"),
        ("boss", "!freeze {t} 900d proof", "Usage: !freeze <user> [duration] <reason>"),
        ("mod", "!silence nobodyhere 10m rude", "User not found"),
        ("mod", "!silence #999 10m rude", "User not found"),
        ("mod", "!silence BanchoBot 10m rude", "You can't do that to the bot"),
        ("mod", "!silence mod 10m rude", "You can't do that to yourself"),
        ("mod", "!silence mod2 10m rude", "Only a higher role can act on this user"),
        ("mod", "!silence boss 10m rude", "Only a higher role can act on this user"),
        ("boss", "!ban boss2 rude", "Only a higher role can act on this user"),
        ("mod", "!unsilence {t} fine", "is not silenced"),
        ("boss", "!unrestrict {t} fine", "is not restricted"),
        ("boss", "!unban {t} fine", "is not banned"),
        ("boss", "!unfreeze {t} fine", "is not frozen"),
        ("root", "!removedonator {t} fine", "is no donor"),
    ],
)
def test_refusals_in_chat(staffed: Staffed, asker: str, line: str, answer: str) -> None:
    target = "nobody"
    before = len(staffed.rows(target))

    [reply] = staffed.says(asker, line.format(t=target))

    assert answer.replace("is no donor", "is not a donor") in reply
    assert len(staffed.rows(target)) == before


@pytest.mark.parametrize(
    ("asker", "target", "body", "status", "param"),
    [
        ("nobody", "target0", {"kind": "silence", "reason": "x", "duration": "10m"}, 403, None),
        ("fallen", "target0", {"kind": "silence", "reason": "x", "duration": "10m"}, 403, None),
        ("mod", "target0", {"kind": "ban"}, 403, None),
        ("mod", "mod2", {"kind": "kick", "reason": "x"}, 403, None),
        ("mod", "mod", {"kind": "kick", "reason": "x"}, 403, None),
        ("mod", None, {"kind": "kick", "reason": "x"}, 404, None),
        ("mod", "target0", {"kind": "kick"}, 422, "reason"),
        ("mod", "target0", {"kind": "kick", "reason": "   "}, 422, "reason"),
        ("mod", "target0", {"kind": "kick", "reason": "x" * 501}, 422, "reason"),
        ("mod", "target0", {"kind": "kick", "reason": 5}, 422, "reason"),
        ("mod", "target0", {"reason": "x"}, 422, "kind"),
        ("mod", "target0", {"kind": "hug", "reason": "x"}, 422, "kind"),
        ("mod", "target0", {"kind": "kick", "reason": "x", "why": "y"}, 422, "why"),
        ("mod", "target0", {"kind": "kick", "reason": "x", "duration": "10m"}, 422, "duration"),
        ("mod", "target0", {"kind": "silence", "reason": "x"}, 422, "duration"),
        ("mod", "target0", {"kind": "silence", "reason": "x", "duration": "10"}, 422, "duration"),
        ("boss", "nobody", {"kind": "unban", "reason": "x"}, 409, None),
        ("boss", "nobody", {"kind": "unfreeze", "reason": "x"}, 409, None),
    ],
)
def test_refusals_of_the_api(
    staffed: Staffed, asker: str, target: str | None, body: dict[str, Any], status: int, param: str | None
) -> None:
    number = 999_999 if target is None else staffed.ids[target]

    reply = staffed.post(asker, f"/v2/players/{number}/sanctions", body)

    assert reply.status == status, reply
    assert param is None or reply.json["param"] == param, reply.json


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("ban", "nobodyhere", "--reason", "x"), 1, "user not found"),
        (("ban", "BanchoBot", "--reason", "x"), 1, "you can't do that to the bot"),
        (("ban", "root", "--reason", "x"), 1, "last developer"),
        (("unban", "nobody"), 1, "nobody is not banned"),
        (("silence", "nobody", "10", "--reason", "x"), 1, "duration must be"),
        (("restrict", "nobody", "--reason", " "), 1, "reason must be"),
        (("restrict", "nobody"), 2, "--reason"),
    ],
)
def test_refusals_of_the_command_line(staffed: Staffed, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = staffed.command("users", *arguments)

    assert done.returncode == code, done
    assert sentence in done.stderr
    assert code == 2 or len(done.stderr.strip().splitlines()) == 1


def test_a_ban_closes_the_sessions_and_locks_the_account(staffed: Staffed) -> None:
    target = staffed.target()
    token = staffed.bancho.new_session(target)

    assert staffed.sanction("boss", target, "ban").status == 201

    begun = time.monotonic()
    # The answer to a request after the end of the session: a notification, then the request to reconnect.
    eventually(lambda: packets.restart(0) in bytes(staffed.bancho.post(b"", token).body), within_s=2.0)
    assert time.monotonic() - begun < patiently(2.0)
    assert bytes(staffed.bancho.login(target).body) == packets.login_reply(-3)
    assert staffed.state(target)["banned"]
    assert staffed.server.get(f"/v2/players/{staffed.ids[target]}").status == 404


def test_a_timed_restriction_ends_by_itself(staffed: Staffed) -> None:
    target = staffed.target()
    until = staffed.sanction("boss", target, "restrict", duration="2s").json["data"]["until"]
    assert staffed.state(target) == {
        "restricted": True,
        "banned": False,
        "restricted_until": until,
        "silence_end": 0,
        "freeze_until": 0,
        "donor_end": 0,
    }

    eventually(lambda: not staffed.state(target)["restricted"], within_s=7.0)

    row = staffed.rows(target)[-1]
    assert (row["action"], row["actor_id"], row["source"]) == ("unrestrict", 0, "job")
    assert until <= row["at"] <= until + patiently(5)


def test_of_two_at_once_one_is_refused(staffed: Staffed) -> None:
    target = staffed.target()
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(staffed.sanction("boss", target, "ban").status)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)

    assert sorted(codes) == [201, 409, 409, 409]
    assert [row["action"] for row in staffed.rows(target)] == ["ban"]


def test_staff_loses_its_commands_with_the_right(staffed: Staffed) -> None:
    target = staffed.target()
    staffed.server.cli("users", "grant", target, "moderator")
    assert "unsilenced" not in staffed.says(target, "!silence nobody 10m")[0]
    staffed.server.cli("users", "revoke", target, "moderator")

    [line] = staffed.says(target, "!kick nobody rude")

    assert "Unknown command" in line


def test_a_silence_from_the_command_line_reaches_the_client(staffed: Staffed) -> None:
    target = staffed.target()
    token = staffed.bancho.new_session(target)
    staffed.server.cli("users", "silence", target, "10m", "--reason", "rude")

    told = bytearray()

    def is_told() -> bool:
        told.extend(staffed.bancho.post(b"", token).body)
        return packets.silence_end(600) in told or packets.silence_end(599) in told

    eventually(is_told, within_s=3.0)


def test_donor_time_from_chat_and_command_line(staffed: Staffed) -> None:
    target = staffed.target()
    [line] = staffed.says("root", f"!givedonator {target} 30d premium")
    assert f"{target} is premium for 30 days" in line

    user = staffed.server.cli("users", "donor", target, "30d")

    assert user["donor_end"] > time.time() + 59 * 86_400
    assert user["priv"] & int(Privilege.SUPPORTER | Privilege.PREMIUM) == int(Privilege.SUPPORTER | Privilege.PREMIUM)
    assert staffed.server.cli("users", "donor", target, "--end")["donor_end"] == 0
    assert [row["action"] for row in staffed.rows(target)] == ["donor_give", "donor_give", "donor_take"]


def test_notes_from_all_faces(staffed: Staffed) -> None:
    target = staffed.target()
    path = f"/v2/players/{staffed.ids[target]}/notes"
    assert "Added note" in staffed.says("mod", f"!addnote {target} first")[0]
    assert staffed.post("mod", path, {"text": "second"}).status == 201
    assert staffed.server.cli("users", "note", target, "third")["id"] > 0
    assert staffed.server.get(path, key=f"Bearer {staffed.keys['nobody']}").status == 403

    assert [note["text"] for note in staffed.get("mod", path)] == ["third", "second", "first"]
    assert [note["actor"] for note in staffed.server.cli("users", "notes", target)["notes"]] == [None, "mod", "mod"]
    lines = staffed.says("mod", f"!notes {target}")
    assert [line.partition(" UTC ")[2] for line in lines[1:]] == [
        "note by the server: third",
        "note by mod: second",
        "note by mod: first",
    ]


def test_the_audit_log_is_searched_by_every_filter(staffed: Staffed) -> None:
    target = staffed.target()
    staffed.sanction("mod", target, "silence", "a very special reason", duration="1h")
    staffed.sanction("boss", target, "ban", "another reason")
    actor_id = staffed.ids["mod"]

    def found(query: str, by: str = "boss") -> list[str]:
        return [row["action"] for row in staffed.get(by, f"/v2/audit?target_id={staffed.ids[target]}{query}")]

    assert found("") == ["ban", "silence"]
    assert found("&action=ban") == ["ban"]
    assert found(f"&actor_id={actor_id}") == ["silence"]
    assert found("&text=VERY%20special") == ["silence"]
    assert found("&source=cli") == []
    assert found("&until=1000") == []
    assert found("", by="mod") == ["silence"], "a moderator reads its own acts"
    page = staffed.server.get("/v2/audit?page_size=1", key=f"Bearer {staffed.keys['boss']}").json
    next_page = staffed.server.get(
        f"/v2/audit?page_size=1&cursor={page['meta']['cursor']}", key=f"Bearer {staffed.keys['boss']}"
    ).json
    assert page["data"][0]["previous_hash"] == next_page["data"][0]["hash"]
    for by, query, status in (("mod", f"?actor_id={staffed.ids['boss']}", 403), ("nobody", "", 403)):
        assert staffed.server.get(f"/v2/audit{query}", key=f"Bearer {staffed.keys[by]}").status == status

    rows = staffed.server.cli("audit", "--target", target, "--limit", "1")
    assert ([row["reason"] for row in rows["rows"]], rows["total"]) == (["another reason"], 2)


def test_a_table_of_the_audit_log_contains_no_formula(staffed: Staffed) -> None:
    target = staffed.target()
    staffed.sanction("mod", target, "kick", '=HYPERLINK("x")')

    done = staffed.command("audit", "--target", target, "--csv")

    assert done.stdout.startswith("id,at,actor_id,actor,source,action")
    assert '"\'=HYPERLINK(""x"")"' in done.stdout


def test_names_and_countries_from_chat_and_command_line(staffed: Staffed) -> None:
    target = staffed.target()
    [line] = staffed.says("boss", f"!rename {target} Willow Tree")
    assert "renamed to Willow Tree" in line
    [line] = staffed.says("boss", "!setcountry Willow_Tree de")
    assert "Willow Tree" in line
    assert "Usage: !rename <user> <name>" in staffed.says("boss", f"!rename {target}")[0]

    assert staffed.server.cli("users", "country", "Willow Tree", "FR")["country"] == "fr"
    assert staffed.server.cli("users", "rename", "Willow Tree", target)["name"] == target

    assert [row["action"] for row in staffed.rows(target)] == ["rename", "country", "country", "rename"]
    assert staffed.server.get("/v2/players/willow_tree").json["data"]["name"] == target


def test_a_deletion_is_confirmed_and_frees_the_name(staffed: Staffed) -> None:
    target = staffed.target()
    [line] = staffed.says("root", f"!deleteuser {target}")
    code = line.partition("!confirm ")[2][:6]
    assert target in line
    assert "Nothing to confirm" in staffed.says("boss", f"!confirm {code}")[0]
    [line] = staffed.says("root", f"!confirm {code}")
    assert "is deleted" in line
    assert "Nothing to confirm" in staffed.says("root", f"!confirm {code}")[0]
    assert "User not found" in staffed.says("root", f"!kick {target} rude")[0]

    other = staffed.target()
    assert staffed.command("users", "delete", other).returncode == 1
    assert staffed.server.cli("users", "delete", other, "--yes") == {"id": staffed.ids[other], "deleted": True}
    assert staffed.command("users", "delete", other, "--yes").returncode == 1
    rows = staffed.get("root", f"/v2/audit?action=user_delete&target_id={staffed.ids[target]}")
    assert [(row["actor"], row["source"], row["target"]) for row in rows] == [
        ("root", "game", f"deleteduser_{staffed.ids[target]}")
    ]
