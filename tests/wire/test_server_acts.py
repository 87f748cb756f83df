"""Maintenance, blocked addresses, planned stops and the acts of administrators on content, against a running server."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests import stores
from tests.builders import a_map
from tests.faces.bancho.client_bytes import whole
from tests.patience import Deadline, patiently
from tests.site.live_kit import LiveStream
from tests.wire.irc import IrcClient
from tests.wire.kit import BEHIND_PROXY, Reply, Server, cli, eventually, run_kiai
from tests.wire.submitting import PASSWORD, Played, log_in, password_md5, poll, polled, prepare, submit
from tests.wire.test_bot import lines

from kiai.accounts.model import Privacy
from kiai.app import open_services
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket
from kiai.staff import OPERATOR
from kiai.staff.shutdown import DELAY_LEAST_S
from kiai.storage.tables import users

ROLES = {
    "root": "developer",
    "root2": "developer",
    "boss": "administrator",
    "mod": "moderator",
    "mod2": "moderator",
    "fallen": "developer",
}
NAMES = ["anna", "boris", "carla", "dora", "eve", *ROLES]
SONG = a_map(100, objects=100)
SITE = "localhost"
OUTSIDE = "203.0.113.9"
HTML = {"Accept": "text/html"}


class Acting:
    """A running server behind a proxy, its keys and IRC passwords, and the sessions of staff."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        cli(self.data, "migrate")
        self.ids = prepare(self.data, NAMES, vector_maps=False)
        maps = folder / "maps"
        maps.mkdir()
        (maps / "100.osu").write_bytes(SONG.data)
        cli(self.data, "beatmaps", "import", str(maps))
        self.keys, self.irc = asyncio.run(self._seed())
        # Without limits: the tests log in more often than a player may.
        self.server = Server(self.data, RATE_LIMITS="off", IRC="127.0.0.1:0", **BEHIND_PROXY).start()
        self.server.address = "198.51.100.7"
        self.tokens: dict[str, str] = {}

    async def _seed(self) -> tuple[dict[str, str], dict[str, str]]:
        async with open_services(stores.settings(self.data)) as services:
            for name, role in ROLES.items():
                await services.staff.grant(OPERATOR, name, [role])
            await services.community.restrictions.restrict(OPERATOR, "fallen", "because")
            keys = {name: await services.api_keys.issue(self.ids[name]) for name in ("anna", "root", "boss")}
            return keys, {name: await services.site.irc_passwords.create(self.ids[name]) for name in ("anna", "root")}

    def token(self, name: str) -> str:
        """Return the token of a session that stays open."""
        if name not in self.tokens:
            self.tokens[name] = log_in(self.server, name)
        return self.tokens[name]

    def says(self, name: str, text: str) -> list[str]:
        """Send the bot a line, and return its answer."""
        line = whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", text, "BanchoBot", 0))
        answer = poll(self.server, self.token(name), line)
        return [text for sender, text, to in lines(answer) if (sender, to) == ("BanchoBot", name)]

    def confirmed(self, name: str, text: str) -> list[str]:
        """Send the bot a line, and the code that it asks for."""
        [asked] = self.says(name, text)
        return self.says(name, "!" + asked.split("Type !")[1].split(" within")[0])

    def login(self, name: str, address: str | None = None) -> Reply:
        """Try to log in with the game."""
        body = f"{name}\n{password_md5()}\nb20260711|0|0|{'x' * 32}:1.:{'y' * 32}:{name}:{name}:|0\n".encode()
        return self.server.ask(
            "POST", "/", host="c.localhost", headers={"User-Agent": "osu!"}, body=body, address=address
        )

    def page(self, path: str, *, cookie: str = "", address: str | None = None) -> Reply:
        """Open a page of the website."""
        headers = {**HTML, **({"Cookie": cookie} if cookie else {})}
        return self.server.ask("GET", path, host=SITE, headers=headers, address=address)

    def web_login(self, name: str) -> tuple[Reply, str]:
        """Log in on the website. Return the answer and the cookie of the session."""
        form = self.page("/login")
        cookie = form.headers["set-cookie"].split(";")[0]
        csrf = form.body.decode().split('name="csrf_token" value="')[1].split('"')[0]
        body = f"username={name}&password={PASSWORD.replace(' ', '+')}&csrf_token={csrf}".encode()
        headers = {**HTML, "Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        reply = self.server.ask("POST", "/login", host=SITE, headers=headers, body=body)
        return reply, reply.headers.get("set-cookie", "").split(";")[0]

    def rows(self, action: str) -> list[dict[str, Any]]:
        """Return the audit rows of an action, oldest first."""
        found: list[dict[str, Any]] = self.server.cli("audit", "--action", action)["rows"]
        return found[::-1]


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acting]:
    acting = Acting(tmp_path_factory.mktemp("acts"))
    try:
        yield acting
        for fault in ('"unhandled"', '"packet failed"', '"command failed"', '"job failed"'):
            assert fault not in acting.server.stderr
    finally:
        acting.server.kill()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!maintenance maybe", "Usage: !maintenance [on|off]"),
        ("!maintenance on now", "Usage: !maintenance [on|off]"),
        ("!shutdown 5s", "Usage: !shutdown [delay|cancel] [reason]"),
        ("!shutdown 90000", "Usage: !shutdown [delay|cancel] [reason]"),
        ("!shutdown 2d", "Usage: !shutdown [delay|cancel] [reason]"),
        ("!blockip", "Usage: !blockip <address> [duration] <reason>"),
        ("!blockip 203.0.113.9", "Usage: !blockip <address> [duration] <reason>"),
        ("!blockip 203.0.113.9 1h", "Usage: !blockip <address> [duration] <reason>"),
        ("!blockip nonsense spam", "Usage: !blockip <address> [duration] <reason>"),
        ("!blockip 0.0.0.0/0 spam", "Usage: !blockip <address> [duration] <reason>"),
        ("!blockip 127.0.0.1 spam", "contains addresses of this server or of its proxies"),
        ("!blockip 198.51.100.0/24 spam", "contains your own address"),
        ("!unblockip 203.0.113.9 sorry", "is not blocked"),
        ("!unblockip 203.0.113.9", "Usage: !unblockip <address> <reason>"),
        ("!debug maybe", "Usage: !debug [on|off]"),
        ("!user anna boris", "Usage: !user [user]"),
        ("!user nobody", "User not found"),
        ("!user BanchoBot", "You can't do that to the bot"),
        ("!delavatar anna", "Usage: !delavatar <user> <reason>"),
        ("!delavatar anna rude", "Anna has no avatar"),
        ("!deluserpage nobody rude", "User not found"),
        ("!confirm 123456", "Nothing to confirm"),
    ],
)
def test_wrong_commands_change_nothing(acting: Acting, text: str, said: str) -> None:
    before = acting.server.cli("audit")["total"]

    [answer] = acting.says("root", text)

    assert said in answer
    assert acting.server.cli("audit")["total"] == before


@pytest.mark.parametrize("name", ["anna", "mod", "fallen"])
@pytest.mark.parametrize(
    "text",
    [
        "!maintenance on", "!panic on", "!shutdown", "!restart", "!blockip 203.0.113.9 x", "!unblockip 203.0.113.9 x",
        "!debug on", "!registration off",
        "!user", "!u anna", "!delavatar anna x", "!deluserpage anna x", "!help maintenance", "!help user",
    ],
)  # fmt: skip
def test_commands_do_not_exist_without_the_right(acting: Acting, name: str, text: str) -> None:
    before = acting.server.cli("audit")["total"]

    answer = acting.says(name, text)

    # The bot does not answer restricted players.
    assert answer == [] if name == "fallen" else "Unknown command" in answer[0]
    assert acting.server.cli("audit")["total"] == before


@pytest.mark.parametrize(
    "text", ["!maintenance on", "!shutdown", "!blockip 203.0.113.9 x", "!debug on", "!registration off"]
)
def test_administrators_may_not_act_on_the_server(acting: Acting, text: str) -> None:
    assert "Unknown command" in acting.says("boss", text)[0]


# --- registration


def test_registration_follows_the_switch_in_the_game_and_on_the_website(acting: Acting) -> None:
    assert acting.says("root", "!registration") == ["Registration is open to everybody."]
    for path in ("/", "/login", "/connect"):
        assert b'href="/register"' in acting.page(path).body

    assert acting.says("root", "!registration off") == ["Registration is closed."]

    assert acting.says("root", "!registration off") == ["Registration is already closed."]
    for path in ("/", "/login", "/connect"):
        assert b'href="/register"' not in acting.page(path).body
    assert b"Registration is closed" in acting.page("/connect").body
    assert b"Registration is closed" in acting.page("/register").body
    refused = registered_in_game(acting, "tooLate")
    assert (refused.status, b"disabled" in refused.body) == (400, True)

    assert acting.server.cli("registration", "invite") == {"registration": "invite"}
    eventually(lambda: b"nvite code" in acting.page("/register").body)
    assert b"invite code" in registered_in_game(acting, "tooLate").body
    assert acting.server.cli("registration", "setting") == {"registration": "on"}
    eventually(lambda: registered_in_game(acting, "inTime").body == b"ok")

    found = [(row["actor_id"], row["source"], row["details"]) for row in acting.rows("registration")]
    assert found == [
        (acting.ids["root"], "game", {"before": "on", "after": "off", "setting": "on"}),
        (0, "cli", {"before": "off", "after": "invite", "setting": "on"}),
        (0, "cli", {"before": "invite", "after": "on", "setting": "on"}),
    ]


def registered_in_game(acting: Acting, name: str) -> Reply:
    """Send the form of the game."""
    form = f"user%5Busername%5D={name}&user%5Buser_email%5D={name}%40example.org&user%5Bpassword%5D=good+password+9"
    return acting.server.ask(
        "POST", "/users", host="osu.localhost", body=f"{form}&check=0".encode(),
        headers={"User-Agent": "osu!", "Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip


# --- maintenance


def test_maintenance_from_the_game_and_its_end(acting: Acting) -> None:
    server = acting.server
    token = acting.token("anna")
    _, staff_cookie = acting.web_login("boss")
    _, own_cookie = acting.web_login("anna")
    assert acting.page("/", cookie=own_cookie).status == 200
    assert acting.says("root", "!maintenance") == ["Maintenance is off."]
    with IrcClient(server.irc_ports["irc"]) as irc, polled(server, [token], every_s=0.1) as seen:
        irc.log_in("anna", acting.irc["anna"])

        assert "only staff can log in" in acting.says("root", "!maintenance on")[0]

        assert "already on" in acting.says("root", "!maintenance on")[0]
        assert acting.says("root2", "!maintenance") == ["Maintenance is on."]
        eventually(lambda: packets.restart(0) in seen[token])
        assert b"is under maintenance now" in seen[token]
        irc.wait("is under maintenance now")
        irc.until_end()
    del acting.tokens["anna"]

    refused = acting.login("boris")
    assert packets.login_reply(-5) in refused.body
    assert b"under maintenance" in refused.body
    assert packets.login_reply(acting.ids["mod2"]) in acting.login("mod2").body
    with IrcClient(server.irc_ports["irc"]) as irc:
        irc.send(f"PASS {acting.irc['anna']}", "NICK anna", "USER anna 0 * :anna")
        assert "maintenance" in irc.wait(" 465 ")
    with IrcClient(server.irc_ports["irc"]) as irc:
        assert irc.log_in("root", acting.irc["root"])

    for path in ("/", "/leaderboard", f"/users/{acting.ids['anna']}", "/nowhere", "/register"):
        for cookie in ("", own_cookie):
            page = acting.page(path, cookie=cookie)
            assert (page.status, page.headers["retry-after"]) == (503, "300"), path
            assert b"Maintenance" in page.body
    assert acting.page("/", cookie=staff_cookie).status == 200
    assert acting.page("/login").status == 200
    assert acting.web_login("carla")[0].status == 503
    assert acting.web_login("mod")[0].status in (302, 303)
    style = acting.page("/").body.decode().split('<link rel="stylesheet" href="')[1].split('"')[0]
    assert acting.page(style).status == 200
    assert server.get("/healthz").status == 200

    sheet = {"player_id": acting.ids["carla"], "kind": "Spamming", "text": "x"}
    body, headers = json.dumps(sheet).encode(), {"Content-Type": "application/json"}
    assert server.get(f"/get_player_info?scope=info&id={acting.ids['anna']}").status == 200
    assert server.get("/v2/players", key=acting.keys["anna"]).status == 200
    paused = server.ask("POST", "/v2/reports", key=acting.keys["anna"], body=body, headers=headers)
    assert (paused.status, paused.headers["retry-after"]) == (503, "300")
    assert "under maintenance" in paused.body.decode()
    assert server.ask("POST", "/v2/reports", key=acting.keys["boss"], body=body, headers=headers).status == 201

    in_game = registered_in_game(acting, "newbie")
    assert (in_game.status, b"under maintenance" in in_game.body) == (400, True)

    played = submit(server, Played(SONG.md5, "anna"))
    assert (played.status, b"onlineScoreId:" in played.body) == (200, True), played
    never_online = submit(server, Played(SONG.md5, "carla"))
    assert b"onlineScoreId:" not in never_online.body

    assert acting.says("root", "!panic off") == ["Maintenance is off: everybody can log in."]
    assert "already off" in acting.says("root", "!maintenance off")[0]
    assert acting.page("/").status == 200
    assert packets.login_reply(acting.ids["boris"]) in acting.login("boris").body
    switched = [(row["actor_id"], row["source"], row["details"]) for row in acting.rows("maintenance")]
    root = acting.ids["root"]
    assert switched == [
        (root, "game", {"before": False, "after": True}),
        (root, "game", {"before": True, "after": False}),
    ]


def test_maintenance_ends_the_live_parts_of_pages_except_for_staff(acting: Acting) -> None:
    _, cookie = acting.web_login("boss")
    with LiveStream(acting.server, "figures") as visitor, LiveStream(acting.server, "figures", cookie=cookie) as staff:
        assert (visitor.status, staff.status) == (200, 200)
        acting.server.cli("maintenance", "on")
        try:
            assert visitor.ends()
            with LiveStream(acting.server, "figures") as again:
                assert again.status == 503
            with LiveStream(acting.server, "figures", cookie=cookie) as other:
                assert other.status == 200
            assert not staff.ends(within_s=2.0)
        finally:
            acting.server.cli("maintenance", "off")
    eventually(lambda: acting.page("/").status == 200)


def test_maintenance_from_the_command_line(acting: Acting) -> None:
    server = acting.server
    assert server.cli("maintenance") == {"maintenance": False}
    assert server.cli("maintenance", "on", "--reason", "moving") == {"maintenance": True}
    eventually(lambda: acting.page("/").status == 503, within_s=3)
    again = run_kiai(acting.data, "maintenance", "on")
    assert (again.returncode, "already on" in again.stderr) == (1, True)
    assert run_kiai(acting.data, "maintenance", "maybe").returncode == 1
    assert server.cli("maintenance", "off") == {"maintenance": False}
    eventually(lambda: acting.page("/").status == 200, within_s=3)
    assert [(row["source"], row["reason"]) for row in acting.rows("maintenance")][-2:] == [
        ("cli", "moving"),
        ("cli", ""),
    ]


# --- blocked addresses


def test_a_blocked_address_is_refused_everywhere_until_the_block_ends(acting: Acting) -> None:
    server = acting.server
    assert acting.page("/", address=OUTSIDE).status == 200

    assert acting.says("root", "!blockip 203.0.113.9 1h brute force") == [
        "203.0.113.9/32 is blocked for 1 hour: brute force"
    ]

    assert "already blocked" in acting.says("root", "!blockip 203.0.113.9 again")[0]
    refused = acting.login("carla", OUTSIDE)
    assert (refused.status, refused.body, "cho-token" in refused.headers) == (403, b"", False)
    page = acting.page("/login", address=OUTSIDE)
    assert (page.status, b"Your address is blocked" in page.body) == (403, True)
    for path, version in (("/v2/players", 2), ("/get_player_count", 1)):
        answer = server.ask("GET", path, address=OUTSIDE, key=acting.keys["anna"])
        assert answer.status == 403
        said = answer.json["error"] if version == 2 and "error" in answer.json else answer.json["status"]
        assert "blocked" in str(answer.json), said
    assert server.ask("POST", "/users", host="osu.localhost", body=b"", address=OUTSIDE).status == 403
    assert server.ask("GET", "/1", host="a.localhost", address=f"::ffff:{OUTSIDE}").status == 403
    assert server.ask("GET", "/healthz", address=OUTSIDE).status == 200
    assert acting.page("/", address="203.0.113.8").status == 200
    assert acting.page("/").status == 200

    assert acting.says("root2", "!unblockip 203.0.113.9 sorry") == ["203.0.113.9/32 is unblocked."]
    assert acting.page("/", address=OUTSIDE).status == 200
    assert [row["action"] for row in acting.rows("ip_block") + acting.rows("ip_unblock")] == ["ip_block", "ip_unblock"]
    assert OUTSIDE not in json.dumps(acting.server.cli("audit"))


def test_block_ends_the_open_streams_of_the_address(acting: Acting) -> None:
    blocked, free = "203.0.113.77", "203.0.113.78"
    with (
        LiveStream(acting.server, "figures", address=blocked) as page,
        LiveStream(acting.server, "figures", address=free) as other,
        LiveStream(acting.server, "", address=blocked, path="/v2/events", host="api.localhost") as events,
    ):
        assert (page.status, other.status, events.status) == (200, 200, 200)
        acting.server.cli("addresses", "block", blocked, "--reason", "spam")
        try:
            assert page.ends()
            assert events.ends()
            assert not other.ends(within_s=2.0)
        finally:
            acting.server.cli("addresses", "unblock", blocked)
    eventually(lambda: acting.page("/", address=blocked).status == 200)


def test_a_timed_block_from_the_command_line_ends_by_itself(acting: Acting) -> None:
    server = acting.server
    made = server.cli("addresses", "block", "2001:db8:7::1", "--reason", "spam", "--for", "5s")
    assert (made["network"], made["reason"], made["actor_id"]) == ("2001:db8:7::/64", "spam", 0)
    assert made["until"] == made["at"] + 5
    eventually(lambda: acting.page("/", address="2001:db8:7::99").status == 403, within_s=4)
    assert [block["network"] for block in server.cli("addresses", "list")["blocks"]] == ["2001:db8:7::/64"]

    eventually(lambda: acting.page("/", address="2001:db8:7::99").status == 200, within_s=10)

    assert server.cli("addresses", "list") == {"blocks": []}
    row = acting.rows("ip_unblock")[-1]
    assert (row["actor_id"], row["source"]) == (0, "job")
    for arguments in (("block", "::1", "--reason", "x"), ("block", "nonsense", "--reason", "x"), ("unblock", OUTSIDE)):
        assert run_kiai(acting.data, "addresses", *arguments).returncode == 1


# --- debug lines


def test_debug_lines_are_switched_on_and_off(acting: Acting) -> None:
    assert acting.says("root", "!debug") == ["Debug lines are off."]
    assert "1 hour" in acting.says("root", "!debug on")[0]
    outside_a_match = whole(ClientPacket.MATCH_CHANGE_TEAM, None)
    deadline = Deadline(10)
    while '"level":"debug"' not in acting.server.stderr:
        assert not deadline.passed(), acting.server.stderr
        poll(acting.server, acting.token("root"), outside_a_match)
        time.sleep(0.2)
    assert "already on" in acting.says("root", "!debug on")[0]
    assert acting.says("root", "!debug off") == ["Debug lines are off."]
    assert [row["details"]["after"] for row in acting.rows("debug")] == [True, False]


# --- settings


def test_settings_are_read_again(acting: Acting) -> None:
    assert "Usage: !reload <settings>" in acting.says("root", "!reload modules")[0]
    file = acting.data.parent / "kiai.toml"
    menu = 'menu_icon = "https://example.org/menu.png"\nmenu_link = "https://example.org"\n'
    file.write_text(f'title = "Another"\nwelcome = "Hello from the file"\n{menu}', "utf-8")
    assert acting.says("root", "!reload settings") == [
        "The settings were read again. Changed: welcome, menu_icon, menu_link.",
        "These changes need a restart: title.",
    ]
    assert b"Hello from the file" in acting.login("eve").body
    shown = acting.server.ask("GET", "/menu-content.json", host="assets.localhost", headers={"User-Agent": "osu!"})
    assert b"https://example.org/menu.png" in shown.body
    clicked = acting.server.ask("GET", "/web/osu-title-image.php?l=1", host="osu.localhost")
    assert clicked.headers["location"] == "https://example.org"
    file.write_text("title = 7", "utf-8")
    [refused] = acting.says("root", "!reload settings")
    assert "itle must be 1 to 64 characters" in refused
    file.unlink()
    assert "Changed: welcome, menu_icon, menu_link" in acting.says("root", "!reload settings")[0]
    assert [row["details"]["after"] for row in acting.rows("reload")] == [
        {
            "welcome": "Hello from the file",
            "menu_icon": "https://example.org/menu.png",
            "menu_link": "https://example.org",
        },
        {"welcome": "", "menu_icon": None, "menu_link": None},
    ]


# --- recalculation


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!recalc", "Usage: !recalc <map|user|mode|all> [value]"),
        ("!recalc everything", "Usage: !recalc <map|user|mode|all> [value]"),
        ("!recalc user", "Usage: !recalc <map|user|mode|all> [value]"),
        ("!recalc all now", "Usage: !recalc <map|user|mode|all> [value]"),
        ("!recalc mode drums", "Usage: !recalc <map|user|mode|all> [value]"),
        ("!recalc user nobody", "User not found"),
        ("!recalc map", "Choose a beatmap with /np first"),
    ],
)
def test_wrong_recalculations_are_refused(acting: Acting, text: str, said: str) -> None:
    assert said in acting.says("root", text)[0]
    assert "Unknown command" in acting.says("boss", text)[0]


def test_a_recalculation_is_queued_and_reported(acting: Acting) -> None:
    [queued] = acting.says("root", "!recalc all")
    number = queued.split()[1]
    assert queued.startswith(f"Recalculation {number} is queued.")
    heard: list[str] = []

    def reported() -> bool:
        heard.extend(text for _, text, _ in lines(poll(acting.server, acting.token("root"))))
        return any(f"Recalculation {number}: " in text and "scores computed" in text for text in heard)

    eventually(reported, within_s=30)
    [row] = acting.rows("recalc")
    assert (row["details"]["run"], row["actor"], row["source"]) == (int(number), "root", "game")


# --- inspection and removal of content


def test_staff_inspects_a_player_and_only_developers_see_addresses(acting: Acting) -> None:
    server = acting.server
    sheet = {"player_id": acting.ids["dora"], "kind": "Spamming", "text": "x"}
    headers = {"Content-Type": "application/json"}
    body = json.dumps(sheet).encode()
    assert server.ask("POST", "/v2/reports", key=acting.keys["anna"], body=body, headers=headers).status == 201
    acting.token("dora")

    def shown() -> bool:  # logins are written after a moment
        return any("198.51.100.7" in line for line in acting.says("root", "!user dora"))

    eventually(shown)
    by_developer, by_administrator = acting.says("root", "!u dora"), acting.says("boss", "!u dora")
    text = "\n".join(by_administrator)
    assert f"dora (#{acting.ids['dora']}), nl" in text
    for part in (
        "verified",
        "Game b20260711",
        "#osu",
        "no match",
        "watches nobody",
        "Last /np: none",
        "Open reports: 1.",
    ):
        assert part in text, part
    assert "198.51.100.7" not in text
    assert len(by_developer) == len(by_administrator) + 1
    assert "(#" in acting.says("boss", "!user")[0]
    rows = acting.rows("user_inspect")
    assert {row["target"] for row in rows} == {"dora", "boss"}
    assert "198.51.100.7" not in json.dumps(rows)


def test_staff_removes_userpage_and_avatar(acting: Acting) -> None:
    server = acting.server
    asyncio.run(_write_page(acting, "boris"))
    assert b"secret words" in acting.page(f"/users/{acting.ids['boris']}").body

    assert acting.says("boss", "!deluserpage boris rude") == ["Removed the userpage of boris."]

    assert b"secret words" not in acting.page(f"/users/{acting.ids['boris']}").body
    assert "has no userpage" in acting.says("boss", "!deluserpage boris rude")[0]
    assert "Only a higher role can act on this user" in acting.says("boss", "!deluserpage root rude")[0]
    again = run_kiai(acting.data, "users", "deluserpage", "boris", "--reason", "rude")
    assert (again.returncode, "has no userpage" in again.stderr) == (1, True)
    assert [(row["target"], row["source"]) for row in acting.rows("content_remove")] == [("boris", "game")]
    assert [row["target"] for row in acting.rows("denied")] == ["root"]
    picture = (Path(__file__).parents[2] / "src/kiai/faces/client/default-avatar.png").read_bytes()
    url = f"/{acting.ids['boris']}"
    before = server.ask("GET", url, host="a.localhost").body
    asyncio.run(_set_avatar(acting, "boris", picture))
    assert server.ask("GET", url, host="a.localhost").body != before
    assert server.cli("users", "delavatar", "boris", "--reason", "rude")["name"] == "boris"
    assert server.ask("GET", url, host="a.localhost").body == before


async def _write_page(acting: Acting, name: str) -> None:
    async with open_services(stores.settings(acting.data)) as services:
        await services.site.profile_settings.save_userpage(acting.ids[name], "secret words")


async def _set_avatar(acting: Acting, name: str, picture: bytes) -> None:
    async with open_services(stores.settings(acting.data)) as services:
        await services.avatars.change(acting.ids[name], picture)


def test_number_of_players_online_is_the_same_in_the_game_and_by_irc(acting: Acting) -> None:
    with stores.engine(acting.data).begin() as connection:
        connection.execute(update(users).where(users.c.name == "boris").values(privacy=int(Privacy.HIDE_ONLINE)))
    for name in ("root", "boris", "dora"):
        acting.token(name)
    counted = acting.server.ask("GET", "/get_player_count", host="api.localhost").json["counts"]["online"]

    [said] = acting.says("root", "!server")
    with IrcClient(acting.server.irc_ports["irc"]) as irc:
        irc.log_in("anna", acting.irc["anna"])
        irc.send("LUSERS")
        line = irc.wait(" 255 ")

    assert f" {counted} players online" in said
    assert line.endswith(f"I have {counted + 1} clients and 0 servers")


# --- a planned stop, last: the server is gone afterwards


def test_a_planned_stop_is_cancelled(acting: Acting) -> None:
    assert acting.says("root", "!shutdown cancel") == ["No stop is planned."]
    acting.confirmed("root", "!shutdown 1h new version")
    assert "!shutdown cancel cancels it" in acting.says("root", "!shutdown 1m")[0]
    token = acting.token("dora")

    assert acting.confirmed("root", "!shutdown cancel fixed")[0].startswith("The planned stop is cancelled.")

    assert b"does not stop: fixed" in poll(acting.server, token)
    assert acting.says("root", "!shutdown cancel") == ["No stop is planned."]
    assert [row["reason"] for row in acting.rows("shutdown")] == ["new version", "fixed"]


def test_a_stop_from_the_command_line_is_announced_and_cancelled(acting: Acting) -> None:
    token, seen = acting.token("dora"), b""

    def reads(text: bytes) -> bool:
        nonlocal seen
        seen += poll(acting.server, token)
        return text in seen

    assert acting.server.cli("shutdown", "--in", "1h", "--reason", "from a shell") == {"stops_in": 3_600}
    eventually(lambda: reads(b"stops in 1 hour: from a shell"))
    again = run_kiai(acting.data, "shutdown")
    assert (again.returncode, "already planned" in again.stderr) == (1, True)
    assert acting.server.cli("shutdown", "--cancel") == {"stops_in": None}
    eventually(lambda: reads(b"does not stop."))

    assert seen.count(b"from a shell") == 1
    assert [row["source"] for row in acting.rows("shutdown")][-2:] == ["cli", "cli"]


def test_a_planned_stop_is_confirmed_announced_and_clean(acting: Acting) -> None:
    server = acting.server
    token = acting.token("dora")
    [asked] = acting.says("root", "!shutdown 15s new version")
    assert "This stops the server with all its workers in 15 seconds. Type !confirm " in asked
    before = len(acting.rows("shutdown"))
    assert acting.says("root2", "!" + asked.split("Type !")[1].split(" within")[0]) == ["Nothing to confirm."]

    began = time.monotonic()
    assert "stops in 15 seconds" in acting.confirmed("root", "!restart 15s new version")[0]

    [row] = acting.rows("shutdown")[before:]
    assert (row["actor_id"], row["source"], row["reason"]) == (acting.ids["root"], "game", "new version")
    assert "already planned" in acting.says("root2", "!shutdown")[0]
    assert b"stops in 15 seconds: new version" in poll(server, token)
    process = server._process
    assert process is not None
    assert process.wait(patiently(60)) == 0, server.stderr
    assert time.monotonic() - began >= DELAY_LEAST_S - 1
    server.kill()  # closes its pipes
    server.start()
    time.sleep(2)
    assert server.get("/healthz").status == 200, "the stop is over after the restart"
    server.stop()
