"""Attacks on sessions of the website: cookies that an attacker has planted in the browser of a player."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyotp
import pytest
from tests.site.kit import Browser, PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli

PASSWORD: Final = "correct horse 1"
SCHEMES: Final = ("http", "https")
PLANTED: Final = "p" * 43


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind a proxy with the players victim (3), attacker (4) and stepper (5)."""
    data: Path = tmp_path_factory.mktemp("attacks") / "data"
    cli(data, "migrate")
    for name in ("victim", "attacker", "stepper"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD)
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.44"
    yield server
    server.stop()


def visitor(server: Server, scheme: str) -> Browser:
    browser = a_browser(server)
    browser.headers["X-Forwarded-Proto"] = scheme
    return browser


def name_of(cookie: str, scheme: str) -> str:
    return f"__Host-{cookie}" if scheme == "https" else cookie


def log_in(browser: Browser, name: str = "victim") -> PageReply:
    form = browser.get("/login").form("Log in").fill(Username=name, Password=PASSWORD)
    return form.press("Log in", follow=False)


def player_of(browser: Browser) -> str | None:
    return browser.get("/").one("body").attributes.get("data-user-id")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_login_does_not_adopt_a_planted_session(server: Server, scheme: str) -> None:
    browser, cookie = visitor(server, scheme), name_of("kiai", scheme)
    browser.cookies[cookie] = PLANTED

    assert log_in(browser).status == 303

    assert browser.cookies[cookie] != PLANTED
    assert player_of(browser) == "3"
    attacker = visitor(server, scheme)
    attacker.cookies[cookie] = PLANTED
    assert player_of(attacker) is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_login_replaces_and_ends_the_session_of_the_attacker(server: Server, scheme: str) -> None:
    attacker, browser, cookie = visitor(server, scheme), visitor(server, scheme), name_of("kiai", scheme)
    log_in(attacker, "attacker")
    own = attacker.cookies[cookie]
    browser.cookies[cookie] = own
    token = browser.get("/medals").one('input[name="csrf_token"]').attributes["value"] or ""

    fields = {"username": "victim", "password": PASSWORD, "csrf_token": token}
    assert browser.post("/login", fields, follow=False).status == 303

    assert browser.cookies[cookie] != own
    assert player_of(browser) == "3"
    assert player_of(attacker) is None, "the planted session has ended, so both are not logged in with one token"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_session_ends_at_the_server_with_the_logout(server: Server, scheme: str) -> None:
    browser, cookie = visitor(server, scheme), name_of("kiai", scheme)
    log_in(browser)
    stolen = visitor(server, scheme)
    stolen.cookies[cookie] = browser.cookies[cookie]
    assert player_of(stolen) == "3"

    browser.get("/").button("Log out").press()

    assert player_of(stolen) is None


def test_session_without_the_prefix_does_not_count_where_the_site_has_tls(server: Server) -> None:
    """A page of any subdomain can set a cookie of the domain, but none with the prefix `__Host-`."""
    owner, browser = visitor(server, "http"), visitor(server, "https")
    log_in(owner)
    browser.cookies["kiai"] = owner.cookies["kiai"]

    assert player_of(owner) == "3"
    assert player_of(browser) is None


@pytest.mark.parametrize(("scheme", "status"), [("http", 303), ("https", 403)])
def test_form_cookie_without_the_prefix_does_not_count_where_the_site_has_tls(
    server: Server, scheme: str, status: int
) -> None:
    """The attacker knows the token of a planted cookie. On plain http only the `Origin` protects the form."""
    browser = visitor(server, scheme)
    browser.cookies["kiai-form"] = PLANTED
    token = hashlib.sha256(b"csrf:" + PLANTED.encode()).hexdigest()[:40]
    fields = {"username": "victim", "password": PASSWORD, "csrf_token": token}

    assert browser.post("/login", fields, follow=False).status == status
    forged = browser.post("/login", fields, follow=False, headers={"Origin": "https://evil.example"})
    assert forged.status == 403


def test_step_of_a_login_without_the_prefix_does_not_count_where_the_site_has_tls(server: Server) -> None:
    owner, browser = visitor(server, "http"), visitor(server, "https")
    turn_on_second_factor(visitor(server, "http"), "stepper")
    log_in(owner, "stepper")
    browser.cookies["kiai-step"] = owner.cookies["kiai-step"]

    assert owner.get("/login/second-factor", follow=False).status == 200
    assert browser.get("/login/second-factor", follow=False).location == "/login"


def turn_on_second_factor(browser: Browser, name: str) -> None:
    log_in(browser, name)
    page = browser.get("/settings/security").button("Set up authenticator").press()
    code = pyotp.TOTP(page.one("[data-totp-secret]").text()).at(time.time())
    assert page.form("Authenticator").fill(Authentication_code=code).press("Turn on").css("[data-recovery-code]")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cookies_of_sessions_are_secret(server: Server, scheme: str) -> None:
    reply = log_in(visitor(server, scheme))

    [line] = [text for text in reply.headers["set-cookie"].split("\n") if "kiai=" in text]
    attributes = {part.strip().lower() for part in line.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    assert ("secure" in attributes) == (scheme == "https")
    assert not any(part.startswith("domain=") for part in attributes)
