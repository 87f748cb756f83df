"""Logging in and out on the website, with second factors, and the settings of security (over a real socket)."""

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from tests.entry.software_passkey import SoftwarePasskey
from tests.mail_server import MailServer, link_in
from tests.patience import wait_until
from tests.site.kit import Browser, FormOnPage, PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli
from tests.wire.test_bancho_bad_input import Bancho

from kiai.osu.names import password_md5

NAME = "alice"
PASSWORD = "correct horse alice"


@pytest.fixture(scope="module")
def mail_server() -> Iterator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mail_server: MailServer) -> Iterator[Server]:
    """A server that sends mail."""
    data: Path = tmp_path_factory.mktemp("entry") / "data"
    cli(data, "migrate")
    server = Server(data, **BEHIND_PROXY, SMTP=mail_server.url).start()
    yield server
    server.stop()


_players = iter(range(1, 1000))


class Player:
    """A new player with a browser at an address of its own."""

    def __init__(self, server: Server) -> None:
        number = next(_players)
        self.server = server
        self.name, self.email, self.password = f"p{number}x", f"p{number}@example.org", f"correct horse p{number}"
        server.address = f"198.51.100.{number % 250}"
        form = a_browser(server).get("/register").form("Register")
        page = form.fill(Username=self.name, E_mail=self.email, Password=self.password).press("Create account")
        self.id = int(page.one("body").attributes["data-user-id"] or 0)

    def browser(self) -> Browser:
        return a_browser(self.server)

    def log_in(
        self,
        browser: Browser | None = None,
        *,
        password: str | None = None,
        name: str | None = None,
        follow: bool = True,
        path: str = "/login",
    ) -> PageReply:
        form = (browser or self.browser()).get(path).form("Log in")
        return form.fill(Username=name or self.name, Password=password or self.password).press("Log in", follow=follow)

    def logged_in(self) -> Browser:
        browser = self.browser()
        page = self.log_in(browser)
        assert page.one("body").attributes.get("data-user-id") == str(self.id), page.text
        return browser


@pytest.fixture
def player(site: Server) -> Player:
    return Player(site)


def visitor_id(browser: Browser) -> str | None:
    return browser.get("/").one("body").attributes.get("data-user-id")


# --- the login


def test_player_logs_in_and_out(player: Player) -> None:
    browser = player.browser()

    reply = player.log_in(browser, follow=False)
    assert (reply.status, reply.location) == (303, "/")
    cookie = reply.headers["set-cookie"].lower()
    assert "kiai=" in cookie
    for attribute in ("httponly", "samesite=lax", "path=/", "max-age=2592000"):
        assert attribute in cookie
    assert visitor_id(browser) == str(player.id)

    out = browser.get("/").button("Log out").press(follow=False)
    assert out.status == 303
    assert visitor_id(browser) is None


def test_ended_session_does_not_return_with_its_cookie(player: Player) -> None:
    browser = player.logged_in()
    token = browser.cookies["kiai"]
    browser.get("/").button("Log out").press()

    browser.cookies["kiai"] = token
    assert visitor_id(browser) is None


@pytest.mark.parametrize("secure", [False, True])
def test_cookie_has_the_host_prefix_with_tls(player: Player, secure: bool) -> None:
    browser = player.browser()
    if secure:
        browser.headers["X-Forwarded-Proto"] = "https"

    cookie = player.log_in(browser, follow=False).headers["set-cookie"]

    assert cookie.startswith("__Host-kiai=" if secure else "kiai=")
    assert ("Secure" in cookie) == secure
    assert visitor_id(browser) == str(player.id)


def test_wrong_name_and_wrong_password_look_the_same(player: Player) -> None:
    wrong = player.log_in(password="wrong horse 1")
    unknown = player.log_in(name="nobody here")
    by_mail = player.log_in(name="nobody@example.org")

    assert [page.status for page in (wrong, unknown, by_mail)] == [401] * 3
    assert wrong.alert == unknown.alert == by_mail.alert == "Wrong username or password."
    assert wrong.form("Log in").values["username"] == player.name
    assert "password" in wrong.form("Log in").values


def test_player_logs_in_with_the_address(player: Player) -> None:
    browser = player.browser()
    player.log_in(browser, name=player.email.upper())

    assert visitor_id(browser) == str(player.id)


@pytest.mark.parametrize(
    ("target", "arrives"),
    [
        ("/settings/security", "/settings/security"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_login_leads_only_to_own_paths(player: Player, target: str, arrives: str) -> None:
    browser = player.browser()
    reply = browser.get(f"/login?next={target}").form("Log in")
    done = reply.fill(Username=player.name, Password=player.password).press("Log in", follow=False)

    assert (done.status, done.location) == (303, arrives)
    assert browser.get(f"/login?next={target}", follow=False).location == arrives


def test_login_opens_a_new_session_id(player: Player) -> None:
    browser = player.logged_in()
    first = browser.cookies["kiai"]
    browser.cookies = {"kiai": "attacker-chose-this-token-0123456789abcdef0"}
    player.log_in(browser)

    assert browser.cookies["kiai"] not in (first, "attacker-chose-this-token-0123456789abcdef0")
    assert visitor_id(browser) == str(player.id)


def test_form_without_the_token_of_the_visitor_is_refused(player: Player) -> None:
    fields = {"username": player.name, "password": player.password}
    other = player.browser().get("/login").form("Log in").values["csrf_token"]

    for given in ({}, {"csrf_token": "x"}, {"csrf_token": str(other)}):
        browser = player.browser()
        browser.get("/login")
        assert browser.post("/login", fields | given).status == 403
        assert visitor_id(browser) is None
    browser = player.logged_in()
    assert browser.post("/logout", {}).status == 403
    assert browser.get("/logout").status == 405
    assert visitor_id(browser) == str(player.id)


def test_too_many_wrong_passwords_are_refused_with_a_message(player: Player) -> None:
    browser = player.browser()
    statuses = [player.log_in(browser, password=f"wrong horse {n}").status for n in range(11)]

    assert statuses == [401] * 10 + [429]


def test_restricted_player_logs_in_and_sees_a_banner(player: Player) -> None:
    cli(player.server.data, "users", "restrict", player.name, "--reason", "test")
    browser = player.logged_in()

    assert "Your account is restricted" in browser.get("/").text
    assert browser.get("/settings/security").status == 200


# --- second factors


def code_at(secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(time.time() + 30 * steps)


def turn_on(browser: Browser) -> tuple[str, list[str]]:
    """Turn on the authenticator in the settings."""
    page = browser.get("/settings/security").button("Set up authenticator").press()
    secret = page.one("[data-totp-secret]").text()
    assert page.css(".qr-code svg")
    # The code of the step before, so that the tests can use the others.
    done = page.form("Authenticator").fill(Authentication_code=code_at(secret, -1)).press("Turn on")
    assert done.message is not None, done.text
    codes = [node.text() for node in done.css("[data-recovery-code]")]
    assert len(codes) == 10
    assert not browser.get("/settings/security").css("[data-recovery-code], [data-totp-secret]")
    return secret, codes


def test_login_with_an_authenticator_needs_a_code(player: Player) -> None:
    secret, _ = turn_on(player.logged_in())
    browser = player.browser()

    step = player.log_in(browser, path="/login?next=/settings/security")
    assert step.h1 == "Second factor"
    assert visitor_id(browser) is None
    wrong = step.form("Second factor").fill(Authentication_code="000000").press("Continue")
    assert wrong.status == 401
    error = wrong.form("Second factor").error("Authentication code")
    assert error is not None
    assert error.startswith("This code is wrong, or it was used before.")
    done = wrong.form("Second factor").fill(Authentication_code=code_at(secret)).press("Continue", follow=False)
    assert (done.status, done.location) == (303, "/settings/security")
    assert visitor_id(browser) == str(player.id)


def test_code_and_step_are_used_once(player: Player) -> None:
    secret, _ = turn_on(player.logged_in())
    code = code_at(secret)
    first, second = player.browser(), player.browser()

    assert player.log_in(first).form("Second factor").fill(Authentication_code=code).press("Continue").status == 200
    page = player.log_in(second).form("Second factor").fill(Authentication_code=code).press("Continue")
    assert page.status == 401
    assert page.form("Second factor").fill(Authentication_code=code_at(secret, 1)).press("Continue").status == 200
    assert "kiai-step" not in second.cookies


def test_form_for_new_recovery_codes_replaces_the_codes_once(player: Player) -> None:
    browser = player.logged_in()
    turn_on(browser)
    form = browser.get("/settings/security").form("New recovery codes").fill(Current_password=player.password)

    first, second = form.press("Create recovery codes"), form.press("Create recovery codes")

    codes = [node.text() for node in first.css("[data-recovery-code]")]
    assert len(codes) == 10
    assert second.status == 422
    assert second.css("[data-recovery-code]") == []
    assert "The recovery codes have changed since this page was opened" in (second.alert or "")
    login = player.browser()
    player.log_in(login).form("Second factor").fill(Authentication_code=codes[0]).press("Continue")
    assert visitor_id(login) == str(player.id)


def test_recovery_code_logs_in_once(player: Player) -> None:
    _, codes = turn_on(player.logged_in())

    for expected in (str(player.id), None):
        browser = player.browser()
        player.log_in(browser).form("Second factor").fill(Authentication_code=codes[0]).press("Continue")
        assert visitor_id(browser) == expected


def test_second_step_without_a_login_starts_again(player: Player) -> None:
    browser = player.browser()

    assert browser.get("/login/second-factor", follow=False).location == "/login"
    browser.cookies["kiai-step"] = "x" * 43
    assert browser.get("/login/second-factor?next=/rules", follow=False).location == "/login?next=%2Frules"


def test_authenticator_is_turned_off_with_the_password(player: Player) -> None:
    browser = player.logged_in()
    turn_on(browser)

    form = browser.get("/settings/security").form("Authenticator")
    wrong = form.fill(Current_password="wrong horse 1").press("Turn off authenticator")
    assert wrong.status == 422
    assert wrong.form("Authenticator").error("Current password") == "This is not your current password."
    page = wrong.form("Authenticator").fill(Current_password=player.password).press("Turn off authenticator")
    assert page.message == "The authenticator is off."
    assert visitor_id(player.logged_in()) == str(player.id)


def test_operator_resets_the_second_factor(player: Player) -> None:
    turn_on(player.logged_in())
    cli(player.server.data, "users", "reset-second-factor", player.name)

    player.logged_in()


# --- settings of security


def test_password_is_changed_and_other_sessions_end(player: Player) -> None:
    mine, other = player.logged_in(), player.logged_in()
    before = mine.cookies["kiai"]

    form = mine.get("/settings/security").form("Change password")
    wrong = form.fill(Current_password="wrong horse 1", New_password="another horse 1").press("Change password")
    assert wrong.status == 422
    weak = form.fill(Current_password=player.password, New_password="short").press("Change password")
    assert weak.form("Change password").error("New password") is not None
    done = form.fill(Current_password=player.password, New_password="another horse 1").press("Change password")

    assert done.message == "Your password was changed. All other sessions have ended."
    assert mine.cookies["kiai"] != before
    assert visitor_id(mine) == str(player.id)
    assert visitor_id(other) is None
    assert player.log_in().status == 401
    player.password = "another horse 1"
    player.logged_in()


def test_sessions_are_listed_and_ended(player: Player) -> None:
    mine, other, third = player.logged_in(), player.browser(), player.logged_in()
    other.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    player.log_in(other)

    page = mine.get("/settings/security")
    rows = page.css("#sessions li")
    assert len(rows) == 4  # one is of the registration
    assert len([row for row in rows if "This device" in row.text()]) == 1
    row = next(row for row in rows if "Firefox on Linux" in row.text())
    session = row.css('input[name="session"]')[0].attributes["value"]
    token = page.form("Change password").values["csrf_token"]
    done = mine.post("/settings/security/sessions/end", {"csrf_token": token, "session": session or ""})
    assert done.message == "The session has ended."
    assert visitor_id(other) is None
    assert visitor_id(third) == str(player.id)
    done = done.button("End all other sessions").press()
    assert visitor_id(third) is None
    assert visitor_id(mine) == str(player.id)


def test_session_of_another_player_cannot_be_ended(player: Player) -> None:
    victim = Player(player.server)
    session = victim.logged_in().get("/settings/security")
    mine = player.logged_in()
    token = mine.get("/settings/security").form("Change password").values["csrf_token"]
    other = victim.browser()
    victim.log_in(other)
    foreign = next(
        str(node.attributes["value"]) for node in other.get("/settings/security").css('input[name="session"]')
    )

    assert session.status == 200
    assert mine.post("/settings/security/sessions/end", {"csrf_token": token, "session": foreign}).status == 404
    assert visitor_id(other) == str(victim.id)


def login_list(browser: Browser, *wanted: str) -> str:
    """Return the text of the list of logins, when it has these parts. A job writes them a moment after the login."""

    def text() -> str:
        return " ".join(browser.get("/settings/security").one("#logins").text().split())

    wait_until(lambda: all(part in text() for part in wanted), within_s=20.0, what=text)
    return text()


def test_last_logins_show_good_and_bad_ones_of_the_site_and_the_game(player: Player) -> None:
    game = Bancho(player.server)
    right, wrong = password_md5(player.password), password_md5("wrong horse 1")
    assert game.login(player.name, password=wrong).headers["cho-token"] == "incorrect-credentials"
    assert len(game.login(player.name, password=right).headers["cho-token"]) == 36
    player.log_in(password="wrong horse 1")
    browser = player.logged_in()

    text = login_list(browser, "Wrong password Website", "Wrong password Game", "Logged in Website", "Logged in Game")

    assert "Account created Website" in text


@pytest.mark.parametrize("path", ["/settings/security"])
def test_settings_need_a_login(player: Player, path: str) -> None:
    reply = player.browser().get(path, follow=False)

    assert (reply.status, reply.location) == (303, "/login?next=%2Fsettings%2Fsecurity")


def test_e_mail_is_changed_with_a_link_to_the_new_address(player: Player, mail_server: MailServer) -> None:
    browser = player.logged_in()
    new = f"new-{player.email}"

    form = browser.get("/settings/security").form("Change e-mail")
    taken = form.fill(New_e_mail=Player(player.server).email, Current_password=player.password).press("Change e-mail")
    assert taken.status == 422
    assert taken.form("Change e-mail").error("New e-mail") is not None
    sent = form.fill(New_e_mail=new, Current_password=player.password).press("Change e-mail")
    assert sent.message == "Open the link that was sent to the new address to confirm the change."
    mail_server.wait_for(player.email, "Change of your e-mail address")
    link = link_in(mail_server.wait_for(new, "Confirm your e-mail address"))
    assert link.startswith(f"http://localhost:{player.server.port}/verify/")

    page = player.browser().get(link.partition(str(player.server.port))[2])
    assert page.message == "Your e-mail address is confirmed."
    assert new in browser.get("/settings/security").text


# --- reset links


def test_reset_link_sets_a_new_password(player: Player, mail_server: MailServer) -> None:
    session = player.logged_in()
    page = player.browser().get("/login").follow("Forgot your password?")
    sent = page.form("Reset password").fill(E_mail=player.email.upper()).press("Send reset link")
    unknown = page.form("Reset password").fill(E_mail="nobody@example.org").press("Send reset link")
    assert (sent.status, sent.message) == (unknown.status, unknown.message)
    assert sent.message is not None

    link = link_in(mail_server.wait_for(player.email, "Set a new password"))
    browser, path = player.browser(), link.partition(str(player.server.port))[2]
    weak = browser.get(path).form("New password").fill(New_password="password").press("Set new password")
    assert weak.status == 422
    assert "less common" in (weak.form("New password").error("New password") or "")
    done = weak.form("New password").fill(New_password="another horse 1").press("Set new password")
    assert done.path == "/login?reset=1"
    assert visitor_id(session) is None
    player.password = "another horse 1"
    player.logged_in()
    dead = browser.get(path)
    assert dead.status == 404
    assert dead.alert is not None


def test_operator_creates_a_reset_link(player: Player) -> None:
    url = cli(player.server.data, "users", "reset-link", player.name)["url"]
    assert url.startswith(f"http://localhost:{player.server.port}/reset/")

    page = player.browser().get(url.partition(str(player.server.port))[2])
    page.form("New password").fill(New_password="another horse 1").press("Set new password")
    player.password = "another horse 1"
    player.logged_in()


@pytest.mark.parametrize("path", ["/reset/x", f"/reset/{'0' * 43}", "/verify/x", f"/verify/{'x' * 2000}"])
def test_dead_link_says_so(player: Player, path: str) -> None:
    page = player.browser().get(path)

    assert page.status == 404
    assert page.alert == "This link has expired or was used before. Ask for a new one."


def test_without_mail_the_page_says_whom_to_ask(server: Server) -> None:
    page = a_browser(server).get("/reset")

    assert "Ask the staff" in page.text
    assert not page.css('form[action="/reset"]')


# --- passkeys


def passkey_form(browser: Browser, page: PageReply, button: str, passkey: SoftwarePasskey, kind: str) -> FormOnPage:
    """Return the form with the answer of a passkey, as the script fills it in."""
    form = page.button(button)
    token = str(form.values["csrf_token"])
    path = str(form.node.attributes["data-options"])
    reply = browser.request("POST", path, headers={"X-CSRF-Token": token}, body=b"")
    assert reply.status == 200, reply.body
    answer = (passkey.create if kind == "create" else passkey.get)(reply.json["options"])
    form.values |= {"state": reply.json["state"], "response": json.dumps(answer)}
    return form


def test_passkey_is_added_used_and_removed(player: Player) -> None:
    browser, passkey = player.logged_in(), SoftwarePasskey(f"http://localhost:{player.server.port}")
    form = passkey_form(browser, browser.get("/settings/security"), "Add passkey", passkey, "create")
    added = form.fill(Passkey_name="Phone & key").press()
    assert len(added.css("[data-recovery-code]")) == 10

    other = player.browser()
    page = other.get("/login?next=/settings/security")
    done = passkey_form(other, page, "Log in with a passkey", passkey, "get").press(follow=False)
    assert (done.status, done.location) == (303, "/settings/security")
    assert visitor_id(other) == str(player.id)

    third = player.browser()
    step = player.log_in(third)
    assert step.h1 == "Second factor"
    passkey_form(third, step, "Use a passkey", passkey, "get").press()
    assert visitor_id(third) == str(player.id)

    removed = other.get("/settings/security").button("Remove passkey Phone & key").press()
    assert removed.message == "The passkey was removed."
    page = player.browser().get("/login")
    gone = passkey_form(page.browser, page, "Log in with a passkey", passkey, "get").press()
    assert gone.status == 401
    assert visitor_id(player.logged_in()) == str(player.id)


def test_passkey_buttons_without_script_explain_themselves(player: Player) -> None:
    page = player.browser().get("/login").button("Log in with a passkey").press()
    assert page.status == 401
    assert "username and password" in (page.alert or "")

    form = player.logged_in().get("/settings/security").button("Add passkey")
    added = form.fill(Passkey_name="Phone").press()
    assert added.status == 422
    assert added.alert is not None


def test_wrong_name_takes_as_long_as_a_wrong_password(player: Player) -> None:
    def seconds(name: str, turn: int) -> float:
        player.server.address = f"203.0.113.{turn}"
        form = player.browser().get("/login").form("Log in").fill(Username=name, Password=f"wrong horse {turn}")
        start = time.perf_counter()
        assert form.press("Log in").status == 401
        return time.perf_counter() - start

    # In pairs, so that a slow moment of the machine hits both.
    pairs = [(seconds(player.email, n), seconds("nobody@example.org", 100 + n)) for n in range(1, 22)]

    known, unknown = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    assert 0.6 < known / unknown < 1.6, (known, unknown)
