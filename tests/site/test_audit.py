"""The audit log of the website: each form that changes something writes one row, or `UNRECORDED` has the reason."""

import io
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyotp
import pytest
from PIL import Image
from sqlalchemy import insert, select, update
from tests import stores
from tests.entry.software_passkey import SoftwarePasskey
from tests.site.kit import File, FormOnPage, a_browser
from tests.site.test_every_page import WRITTEN
from tests.wire.kit import Server, cli

from kiai.faces.site.page import Access
from kiai.own_account.acts import TEXT_MAX
from kiai.storage.tables import audit_log, maps, relationships, set_comments, users

PASSWORD: Final = "correct horse 8"
MODERATOR: Final = 4_096

LOGIN: Final = "the list of logins of the account has it"
OPTIONS: Final = "it returns a challenge and changes nothing"
CONTENT: Final = "the row itself has the player and the time, and no right depends on it"
HISTORY: Final = "the history of the clan has it; acts of staff have a row, which test_clan_forms.py checks"
UNRECORDED: Final = {
    **{f"/clans/{path}": HISTORY for path in ("new", "{clan}/join", "{clan}/withdraw", "{clan}/leave")},
    **{f"/clans/{{clan}}/{act}": HISTORY for act in ("manage", "requests", "invite", "code", "role", "kick")},
    **{f"/clans/{{clan}}/{act}": HISTORY for act in ("transfer", "disband", "icon", "icon/remove")},
    "/login": LOGIN,
    "/login/passkey": LOGIN,
    "/login/second-factor": LOGIN,
    "/login/second-factor/passkey": LOGIN,
    "/logout": "it ends only the session of the visitor",
    "/login/passkey/options": OPTIONS,
    "/login/second-factor/passkey/options": OPTIONS,
    "/admin/second-factor": "it opens the panel and changes nothing",
    "/admin/second-factor/passkey": "it opens the panel and changes nothing",
    "/admin/second-factor/passkey/options": OPTIONS,
    "/settings/security/passkeys/options": OPTIONS,
    "/reset": "it sends a mail and changes no account",
    "/settings/security/verification": "it sends a mail and changes no account",
    "/settings/security/authenticator": "the authenticator counts when it is turned on",
    "/settings/userpage/preview": "it changes nothing",
    "/settings/data/delete": "it asks for a confirmation",
    "/users/{user}/pins": CONTENT,
    "/mail/{user}": CONTENT,
    "/beatmapsets/{set}/rating": CONTENT,
    "/users/{user}/report": "the report has the player, the time and the reason",
    "/scores/{score}/pin": CONTENT,
    "/scores/{score}/unpin": CONTENT,
    "/beatmapsets/{set}/favourite": CONTENT,
    "/beatmapsets/{set}/comments": CONTENT,
    "/beatmapsets/{set}/request": CONTENT,
    "/scores/{score}/report": "the report has the player, the time and the reason",
    "/beatmapsets/{set}/comments/{comment}/report": "the report has the player, the time and the reason",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a few players and sets. It sends no mail and has no rate limits."""
    data: Path = tmp_path_factory.mktemp("audit") / "data"
    cli(data, "demo", "--players", "4", "--maps", "4", "--scores", "20")
    running = Server(data, RATE_LIMITS="off").start()
    yield running
    running.stop()


class Player:
    """A new player with a browser."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"a{secrets.token_hex(4)}"
        self.browser = a_browser(server)
        self.registration().press()
        self.id = int(self.browser.get("/settings").one("body").attributes["data-user-id"] or 0)
        self.write(update(users).where(users.c.id == self.id).values(priv=3))

    def registration(self, name: str = "") -> FormOnPage:
        form = self.browser.get("/register").form("Register")
        name = name or self.name
        return form.fill(Username=name, E_mail=f"{name}@example.org", Password=PASSWORD)

    def write(self, statement: Any) -> None:
        with stores.engine(self.server.data).begin() as connection:
            connection.execute(statement)

    def form(self, path: str, name: str, **fields: str | File) -> FormOnPage:
        return self.browser.get(path).form(name).fill(**fields)

    def button(self, path: str, text: str) -> FormOnPage:
        return self.browser.get(path).button(text)

    def other(self) -> "Player":
        return Player(self.server)


def a_picture(side: int = 16) -> File:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 30)).save(out, "PNG")
    return File(out.getvalue())


def new_registration(player: Player) -> FormOnPage:
    player.browser = a_browser(player.server)
    return player.registration(f"b{secrets.token_hex(4)}")


def new_password(player: Player) -> FormOnPage:
    url = cli(player.server.data, "users", "reset-link", player.name)["url"]
    path = "/reset/" + url.rpartition("/")[2]
    return a_browser(player.server).get(path).form("New password").fill(New_password="another horse 8")


def authenticator(player: Player) -> FormOnPage:
    page = player.button("/settings/security", "Set up authenticator").press()
    secret = page.one("[data-totp-secret]").text(strip=True).replace(" ", "")
    return page.form("Authenticator").fill(Authentication_code=pyotp.TOTP(secret).now())


def turned_on(player: Player, button: str) -> FormOnPage:
    assert authenticator(player).press("Turn on").css("[data-recovery-code]")
    form = player.button("/settings/security", button)
    return form.fill(Current_password=PASSWORD) if "current_password" in form.values else form


def new_passkey(player: Player) -> FormOnPage:
    form = player.button("/settings/security", "Add passkey").fill(Passkey_name="Phone")
    path = str(form.node.attributes["data-options"])
    token = str(form.values["csrf_token"])
    options = player.browser.request("POST", path, headers={"X-CSRF-Token": token}, body=b"").json
    answer = SoftwarePasskey(f"http://localhost:{player.server.port}").create(options["options"])
    form.values |= {"state": options["state"], "response": json.dumps(answer)}
    return form


def passkey_to_remove(player: Player) -> FormOnPage:
    new_passkey(player).press()
    return player.button("/settings/security", "Remove passkey Phone")


def other_session(player: Player, button: str) -> FormOnPage:
    a_browser(player.server, user_id=player.id)
    return player.button("/settings/security", button)


def related(player: Player, kind: int, path: str, button: str) -> FormOnPage:
    other = player.other()
    row = {"user_id": player.id, "target_id": other.id, "kind": kind, "added_at_ms": 1}
    player.write(insert(relationships).values(**row))
    return player.button(path, f"{button} {other.name}")


def picture(player: Player, name: str, *, stored: bool) -> FormOnPage:
    form = player.form("/settings/avatar", name).set(name, a_picture())
    if not stored:
        return form
    form.press(f"Upload {name.lower()}")
    return player.button("/settings/avatar", f"Remove {name.lower()}")


def comment_of_another(player: Player) -> FormOnPage:
    with stores.engine(player.server.data).begin() as connection:
        set_id = connection.execute(select(maps.c.set_id).limit(1)).scalar_one()
    row = {"id": 1_000 + player.id, "set_id": set_id, "user_id": player.other().id, "text": "x", "at_ms": 1}
    player.write(insert(set_comments).values(**row))
    player.write(update(users).where(users.c.id == player.id).values(priv=3 | MODERATOR))
    page = player.browser.get(f"/beatmapsets/{set_id}")
    path = f"/beatmapsets/{set_id}/comments/{row['id']}/delete"
    return FormOnPage(page, page.one(f'form[action="{path}"]'))


def api_key(player: Player) -> FormOnPage:
    player.form("/settings/api-keys", "New API key", Label="bot").press()
    return player.button("/settings/api-keys", "Revoke bot")


def irc_password(player: Player) -> FormOnPage:
    player.form("/settings/irc", "IRC password").press()
    return player.button("/settings/irc", "Remove IRC password")


def deletion(player: Player) -> FormOnPage:
    form = player.form("/settings/data", "Delete account", Current_password=PASSWORD, Type_your_username=player.name)
    return form.press().button("Confirm")


Case = tuple[str, Callable[[Player], FormOnPage], str | None]
SECURITY: Final = "/settings/security"
CASES: Final[dict[str, Case]] = {
    "/register": ("register", new_registration, None),
    "/reset/{token}": ("password_reset", new_password, None),
    f"{SECURITY}/password": (
        "password",
        lambda p: p.form(SECURITY, "Change password", Current_password=PASSWORD, New_password="another horse 8"),
        None,
    ),
    f"{SECURITY}/email": (
        "email",
        lambda p: p.form(SECURITY, "Change e-mail", Current_password=PASSWORD, New_e_mail=f"{p.name}@example.net"),
        None,
    ),
    f"{SECURITY}/authenticator/on": ("authenticator_on", authenticator, "Turn on"),
    f"{SECURITY}/authenticator/off": (
        "authenticator_off",
        lambda p: turned_on(p, "Turn off authenticator"),
        None,
    ),
    f"{SECURITY}/recovery-codes": (
        "recovery_codes",
        lambda p: turned_on(p, "Create recovery codes"),
        None,
    ),
    f"{SECURITY}/passkeys": ("passkey_added", new_passkey, None),
    f"{SECURITY}/passkeys/remove": ("passkey_removed", passkey_to_remove, None),
    f"{SECURITY}/sessions/end": ("sessions_ended", lambda p: other_session(p, "End session"), None),
    f"{SECURITY}/sessions/end-others": ("sessions_ended", lambda p: other_session(p, "End all other sessions"), None),
    "/users/{user}/friend": ("relation", lambda p: p.button(f"/users/{p.other().id}", "Add friend"), None),
    "/users/{user}/block": ("relation", lambda p: p.button(f"/users/{p.other().id}", "Block"), None),
    "/beatmapsets/{set}/comments/{comment}/delete": ("comment_delete", comment_of_another, None),
    "/settings/profile": ("profile", lambda p: p.form("/settings/profile", "Profile", Preferred_mode="3"), None),
    "/settings/userpage": (
        "userpage",
        lambda p: p.form("/settings/profile", "Userpage", Userpage="x" * 5_000),
        "Save userpage",
    ),
    "/settings/avatar": ("avatar", lambda p: picture(p, "Avatar", stored=False), "Upload avatar"),
    "/settings/avatar/remove": ("avatar", lambda p: picture(p, "Avatar", stored=True), None),
    "/settings/cover": ("cover", lambda p: picture(p, "Cover", stored=False), "Upload cover"),
    "/settings/cover/remove": ("cover", lambda p: picture(p, "Cover", stored=True), None),
    "/settings/name": (
        "rename",
        lambda p: p.form("/settings/name", "Change name", New_name=f"c{p.name[1:]}", Current_password=PASSWORD),
        None,
    ),
    "/settings/privacy": (
        "privacy",
        lambda p: p.form("/settings/privacy", "Privacy", Who_may_message_me="friends"),
        None,
    ),
    "/settings/api-keys": ("api_key_created", lambda p: p.form("/settings/api-keys", "New API key", Label="a"), None),
    "/settings/api-keys/revoke": ("api_key_revoked", api_key, None),
    "/settings/irc": ("irc_password", lambda p: p.form("/settings/irc", "IRC password"), "Create IRC password"),
    "/settings/irc/remove": ("irc_password", irc_password, None),
    "/settings/data/export": ("export", lambda p: p.form("/settings/data", "Export data"), None),
    "/settings/data/delete/confirm": ("deletion_request", deletion, None),
    "/friends/remove": ("relation", lambda p: related(p, 1, "/friends", "Remove"), None),
    "/friends/unblock": ("relation", lambda p: related(p, 2, "/friends", "Unblock"), None),
}
"""By path: the action of the row, the filled-in form, and the button if the form has several."""


def rows(server: Server) -> list[Any]:
    with stores.engine(server.data).begin() as connection:
        return list(connection.execute(select(audit_log).order_by(audit_log.c.id)))


def test_every_form_has_a_case_or_a_reason() -> None:
    paths = {page.path for page in WRITTEN if page.access is not Access.STAFF}  # tests/site/admin has those

    assert paths - CASES.keys() - UNRECORDED.keys() == set()
    assert (CASES.keys() | UNRECORDED.keys()) - paths == set()
    assert CASES.keys() & UNRECORDED.keys() == set()


@pytest.mark.parametrize("path", CASES)
def test_change_writes_one_row_without_secrets(server: Server, path: str) -> None:
    action, filled_in, button = CASES[path]
    player = Player(server)
    form = filled_in(player)
    before, started_ms = len(rows(server)), time.time_ns() // 1_000_000

    page = form.press(button)

    assert page.alert is None, page.alert
    written = rows(server)[before:]
    assert [row.action for row in written] == [action]
    row = written[0]
    assert row.source == "web"
    assert row.at_ms >= started_ms
    if path != "/register":  # its author is the new account
        assert row.actor_id == player.id
    for secret in (PASSWORD, "another horse 8", *_secrets_in(page.body.decode())):
        assert secret not in row.details
    assert len(row.details) < 3 * TEXT_MAX + 200


def _secrets_in(body: str) -> list[str]:
    found = re.findall(r"data-(?:api-key|irc-password|recovery-code|totp-secret)[^>]*>\s*([^<\s]+)", body)
    return [secret for secret in found if secret]


def test_form_without_a_change_writes_no_row(server: Server) -> None:
    player = Player(server)
    other = player.other()
    befriend = player.button(f"/users/{other.id}", "Add friend")
    befriend.press()
    before = len(rows(server))

    player.form("/settings/profile", "Profile").press()
    player.form("/settings/privacy", "Privacy").press()
    befriend.press()

    assert len(rows(server)) == before


def test_row_has_the_values_before_and_after(server: Server) -> None:
    player = Player(server)
    player.form("/settings/profile", "Profile", Preferred_mode="3").press()
    player.form("/settings/privacy", "Privacy", Who_may_message_me="friends").press()

    profile, privacy = (json.loads(row.details) for row in rows(server)[-2:])

    assert profile == {"before": {"preferred_mode": 0}, "after": {"preferred_mode": 3}}
    assert (privacy["before"]["friends_only"], privacy["after"]["friends_only"]) == (False, True)
