"""Registration on the website (over a real socket)."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.mail_server import MailServer, link_in
from tests.site.kit import Browser, PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli

_numbers = itertools.count(1)


@pytest.fixture
def site(server: Server) -> Server:
    """The server of the folder, at a new address."""
    server.address = f"192.0.2.{next(_numbers) % 250}"
    return server


@pytest.fixture(scope="module", params=["off", "invite"])
def closed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data: Path = tmp_path_factory.mktemp(request.param) / "data"
    cli(data, "migrate")
    server = Server(data, **BEHIND_PROXY, REGISTRATION=request.param).start()
    server.address = "192.0.2.251"
    yield server
    server.stop()


def register(browser: Browser, *, follow: bool = True, path: str = "/register", **changed: str) -> PageReply:
    number = next(_numbers)
    values = {"Username": f"r{number}x", "E_mail": f"r{number}@example.org", "Password": "correct horse 8"} | changed
    return browser.get(path).form("Register").fill(**values).press("Create account", follow=follow)


def test_new_player_is_logged_in_and_learns_how_to_connect(site: Server) -> None:
    browser = a_browser(site)

    reply = register(browser, follow=False)

    assert (reply.status, reply.location) == (303, "/connect")
    assert "HttpOnly" in reply.headers["set-cookie"]
    assert browser.get("/").css("body[data-user-id]")


def test_new_player_is_not_public_before_the_first_login_with_the_game(site: Server) -> None:
    browser = a_browser(site)
    register(browser, Username="Shy One")
    user_id = browser.get("/").one("body").attributes["data-user-id"]

    assert a_browser(site).get(f"/users/{user_id}").status == 404


@pytest.mark.parametrize(
    ("changed", "label", "text"),
    [
        ({"Username": "a"}, "Username", "2 to 15 characters"),
        ({"Username": "bad!name"}, "Username", '"!"'),
        ({"Username": "ALICE"}, "Username", "taken"),
        ({"E_mail": "alice@EXAMPLE.org"}, "E-mail", "This e-mail address cannot be used."),
        ({"E_mail": "x"}, "E-mail", "name@example.com"),
        ({"Password": "password"}, "Password", "less common"),
        ({"Username": "<script>"}, "Username", '"<"'),
    ],
)
def test_wrong_field_is_marked_and_the_others_are_kept(
    site: Server, changed: dict[str, str], label: str, text: str
) -> None:
    typed = {"Username": "Someone New", "E_mail": "someone@example.org", "Password": "correct horse 8"} | changed
    page = a_browser(site).get("/register").form("Register").fill(**typed).press("Create account")

    assert page.status == 422
    assert page.alert is not None
    form = page.form("Register")
    assert text in (form.error(label) or "")
    assert form.values["username"] == changed.get("Username", "Someone New")
    assert form.values["email"] == changed.get("E_mail", "someone@example.org")
    assert form.values["password"] == ""


def test_one_of_two_registrations_at_once_gets_the_error_of_the_field(site: Server) -> None:
    forms = []
    for n in range(2):
        browser = a_browser(site)
        form = browser.get("/register").form("Register")
        forms.append(form.fill(Username="Twin", E_mail=f"twin{n}@example.org", Password="correct horse 8"))

    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda form: form.press("Create account", follow=False), forms))

    refused = next(reply for reply in replies if reply.status != 303)
    assert sorted(reply.status for reply in replies) == [303, 422]
    assert refused.form("Register").error("Username") is not None


def test_decoy_field_stops_simple_bots(site: Server) -> None:
    form = a_browser(site).get("/register").form("Register")
    form.fill(Username="Robot", E_mail="robot@example.org", Password="correct horse 8", Website="https://spam.example")

    page = form.press("Create account")

    assert page.status == 422
    assert a_browser(site).get("/register/check?field=username&value=Robot").body == b'{"ok":true,"message":""}'


@pytest.mark.parametrize(
    ("query", "ok", "text"),
    [
        ("field=username&value=Fresh+Name", True, ""),
        ("field=username&value=alice", False, "taken"),
        ("field=username&value=a_b c", False, "not both"),
        ("field=email&value=ALICE@example.org", False, "This e-mail address cannot be used."),
        ("field=password&value=12345678", False, "less common"),
    ],
)
def test_field_is_checked_while_the_visitor_types(site: Server, query: str, ok: bool, text: str) -> None:
    reply = a_browser(site).request("GET", f"/register/check?{query.replace(' ', '%20')}")

    assert reply.headers["content-type"] == "application/json"
    assert reply.json["ok"] is ok
    assert text in reply.json["message"]


@pytest.mark.parametrize("query", ["", "field=priv&value=1"])
def test_unknown_field_is_an_error(site: Server, query: str) -> None:
    assert a_browser(site).get(f"/register/check?{query}").status == 400


def test_checks_and_accounts_of_an_address_are_limited(site: Server) -> None:
    browser = a_browser(site)
    statuses = [browser.request("GET", "/register/check?field=username&value=x1").status for _ in range(62)]
    assert (statuses[0], statuses[-1]) == (200, 429)

    statuses = [register(a_browser(site), follow=False).status for _ in range(4)]
    assert statuses == [303, 303, 303, 429]


def test_form_without_the_token_creates_no_account(site: Server) -> None:
    browser = a_browser(site)
    fields = {"username": "Forged", "email": "forged@example.org", "password": "correct horse 8"}

    assert browser.post("/register", fields).status == 403
    assert b'"ok":true' in a_browser(site).get("/register/check?field=username&value=Forged").body


def test_closed_registration_says_so(closed: Server) -> None:
    browser = a_browser(closed)
    page = browser.get("/register")
    if page.css('form[action="/register"]'):
        assert "invite code" in page.text
        refused = register(browser, Invite_code="0000-0000-0000-0000")
        assert refused.status == 422
        assert refused.form("Register").error("Invite code") == "This invite code is wrong, used up or expired."
    else:
        assert "closed" in page.text
        token = browser.get("/login").form("Log in").values["csrf_token"]
        assert browser.post("/register", {"csrf_token": token, "username": "x"}).status == 403


def test_invite_link_fills_the_code_in(closed: Server) -> None:
    made = cli(closed.data, "users", "invite", "--uses", "1", "--expires", "1h")
    assert made["url"] == f"http://localhost:{closed.port}/register?invite={made['code']}"
    path = made["url"].partition(str(closed.port))[2]
    browser = a_browser(closed)
    if not browser.get(path).css('form[action="/register"]'):
        return  # registration is off

    assert browser.get(path).form("Register").values["invite"] == made["code"]
    assert register(browser, follow=False, path=path).status == 303
    assert register(a_browser(closed), path=path).status == 422


def test_address_is_confirmed_with_the_link_of_a_mail(tmp_path: Path) -> None:
    with MailServer().running() as mails:
        data = tmp_path / "data"
        cli(data, "migrate")
        server = Server(data, SMTP=mails.url, MAIL_VERIFICATION="on").start()
        try:
            browser = a_browser(server)
            page = register(browser, E_mail="verify@example.org")
            page = browser.get("/")
            assert "Confirm your e-mail address" in page.text
            link = link_in(mails.wait_for("verify@example.org", "Confirm your e-mail address"))
            assert a_browser(server).get(link.partition(str(server.port))[2]).message is not None
            assert "Confirm your e-mail address" not in browser.get("/").text
        finally:
            server.stop()
