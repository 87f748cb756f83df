"""Journeys with script: accounts with second factors, pictures, keys, and pages that follow the game."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyotp
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.browser.kit import open_live, visit
from tests.builders import a_map
from tests.mail_server import MailServer, link_in
from tests.patience import patiently
from tests.wire.kit import Server, cli, eventually
from tests.wire.submitting import Played, log_in, prepare, submit

PASSWORD: Final = "brave lemon 42"
SONG: Final = a_map(701, objects=108)


@pytest.fixture(scope="module")
def mails() -> Iterator[MailServer]:
    with MailServer().running() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mails: MailServer) -> Iterator[Server]:
    """A server with mail, three players and a map. The limits are off: all journeys come from one address."""
    data: Path = tmp_path_factory.mktemp("journeys") / "data"
    prepare(data, ["alice", "bob", "celia"], vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    (folder / "701.osu").write_bytes(SONG.data)
    cli(data, "beatmaps", "import", str(folder))
    server = Server(data, RATE_LIMITS="off", SMTP=mails.url, MAIL_VERIFICATION="on").start()
    yield server
    server.stop()


@pytest.fixture
def page(server: Server, chromium: Browser) -> Iterator[Page]:
    context, page = visit(chromium, address(server))
    yield page
    context.close()


def address(server: Server, path: str = "/") -> str:
    return f"http://localhost:{server.port}{path}"


def register(page: Page, server: Server, name: str) -> None:
    page.goto(address(server, "/register"))
    page.get_by_label("Username").fill(name)
    page.get_by_label("E-mail").fill(f"{name}@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url("**/connect*")


def fill_in_login(page: Page, server: Server, name: str, password: str = PASSWORD) -> None:
    page.goto(address(server, "/login"))
    form = page.get_by_role("form", name="Log in")
    form.get_by_label("Username").fill(name)
    form.get_by_label("Password").fill(password)
    form.get_by_role("button", name="Log in", exact=True).click()


def log_out(page: Page) -> None:
    account = page.get_by_role("button", name="Account")
    if account.is_visible():
        account.click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def test_registration_with_a_verified_address(page: Page, server: Server, mails: MailServer) -> None:
    page.goto(address(server, "/register"))
    page.get_by_label("Username").fill("a")
    page.get_by_label("E-mail").focus()
    expect(page.get_by_label("Username")).to_have_attribute("aria-invalid", "true")

    register(page, server, "carol")
    expect(page.locator("body")).to_have_attribute("data-user-id", re.compile(r"\d+"))

    page.goto(link_in(mails.wait_for("carol@example.org", "onfirm")))
    button = page.get_by_role("button", name=re.compile("Confirm"))
    if button.count():
        button.click()
    expect(page.get_by_role("status")).to_be_visible()


def test_login_with_an_authenticator_and_with_a_recovery_code(page: Page, server: Server) -> None:
    register(page, server, "dora")
    page.goto(address(server, "/settings/security"))
    page.get_by_role("button", name="Set up authenticator").click()
    secret = page.locator("[data-totp-secret]").inner_text().replace(" ", "")
    page.get_by_label("Authentication code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator("[data-recovery-code]")).to_have_count(10)
    codes = page.locator("[data-recovery-code]").all_inner_texts()

    log_out(page)
    fill_in_login(page, server, "dora")
    second = page.get_by_role("form", name="Second factor")
    second.get_by_label("Authentication code").fill("000000")
    second.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_be_visible()
    second.get_by_label("Authentication code").fill(codes[0])
    second.get_by_role("button", name="Continue").click()
    expect(page.locator("body")).to_have_attribute("data-user-id", re.compile(r"\d+"))

    log_out(page)
    fill_in_login(page, server, "dora")
    second.get_by_label("Authentication code").fill(codes[0])
    second.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_be_visible()


def test_login_with_a_passkey(page: Page, server: Server) -> None:
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    register(page, server, "erin")
    page.goto(address(server, "/settings/security"))
    page.get_by_label("Passkey name").fill("laptop")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("button", name="Remove passkey laptop")).to_be_visible()

    log_out(page)
    page.goto(address(server, "/login"))
    page.get_by_role("button", name="Log in with a passkey").click()

    expect(page.locator("body")).to_have_attribute("data-user-id", re.compile(r"\d+"))


def test_avatar_is_cropped_in_the_page_and_shown_at_once(page: Page, server: Server, tmp_path: Path) -> None:
    fill_in_login(page, server, "alice", "correct horse 7")
    expect(page.locator("body")).to_have_attribute("data-user-id", re.compile(r"\d+"))
    user_id = page.locator("body").get_attribute("data-user-id")
    picture = tmp_path / "wide.png"
    Image.new("RGB", (600, 300), (200, 40, 40)).save(picture)

    page.goto(address(server, "/settings/avatar"))
    form = page.get_by_role("form", name="Avatar")
    form.get_by_label("Avatar", exact=True).set_input_files(picture)
    form.get_by_role("button", name="Upload avatar").click()

    expect(page.get_by_role("status")).to_be_visible()
    shown = server.get(f"/{user_id}", host="a.localhost")
    with Image.open(io.BytesIO(shown.body)) as avatar:
        assert avatar.width == avatar.height
        pixel = avatar.convert("RGB").getpixel((avatar.width // 2, avatar.height // 2))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 150 > pixel[1]


def test_part_of_a_picture_becomes_the_icon_of_a_clan(page: Page, server: Server, tmp_path: Path) -> None:
    register(page, server, "olga")
    server.cli("users", "grant", "olga", "verified")  # as the first login of the game does
    clan = server.cli("clans", "create", "OWL", "Night Owls", "--owner", "olga")
    picture = tmp_path / "wide.png"
    halves = Image.new("RGB", (800, 200), (30, 40, 200))
    halves.paste((200, 40, 30), (0, 0, 300, 200))
    halves.save(picture)

    page.goto(address(server, f"/clans/{clan['id']}/manage"))
    form = page.get_by_role("form", name="Icon")
    form.get_by_label("Icon", exact=True).set_input_files(picture)
    editor = form.get_by_role("img", name="Part of the icon")
    for _ in range(60):
        editor.press("ArrowLeft")
    form.get_by_role("button", name="Upload icon").click()

    expect(page.get_by_role("status")).to_be_visible()
    shown = server.get(f"/pictures/clans/{clan['id']}", host="localhost")
    with Image.open(io.BytesIO(shown.body)) as icon:
        pixel = icon.convert("RGB").getpixel((icon.width // 2, icon.height // 2))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 150 > pixel[2], "the middle of the picture is blue, its left end is red"


def test_api_key_works_until_it_is_revoked(page: Page, server: Server) -> None:
    register(page, server, "gail")
    user_id = page.locator("body").get_attribute("data-user-id")
    page.goto(address(server, "/settings/api-keys"))
    page.get_by_label("Label").fill("my bot")
    page.get_by_role("button", name="Create API key").click()
    key = page.locator("[data-api-key]").inner_text().strip()

    answer = server.get("/v2/me", key=f"Bearer {key}")
    assert answer.status == 200
    assert f'"id":{user_id}' in json.dumps(answer.json, separators=(",", ":"))

    page.goto(address(server, "/settings/api-keys"))
    assert key not in page.content()
    with page.expect_navigation():
        page.get_by_role("button", name="Revoke my bot").click()
    confirm = page.get_by_role("button", name="Confirm")
    if confirm.count():
        with page.expect_navigation():
            confirm.click()
    expect(page.get_by_role("button", name="Revoke my bot")).to_have_count(0)
    assert server.get("/v2/me", key=f"Bearer {key}").status == 401


def test_play_appears_on_the_home_page_without_a_reload(page: Page, server: Server) -> None:
    open_live(page, address(server), "plays")
    page.evaluate("window.notReloaded = true")
    assert page.locator("[data-score-id]").count() == 0

    log_in(server, "alice")
    assert submit(server, Played(SONG.md5, name="alice", score=900_000)).body.startswith(b"beatmapId:701")

    expect(page.locator("[data-score-id]").first).to_be_visible(timeout=patiently(5.0) * 1_000)
    assert page.evaluate("window.notReloaded")


def test_connect_page_sees_the_login_of_the_game(page: Page, server: Server) -> None:
    fill_in_login(page, server, "bob", "correct horse 7")
    page.goto(address(server, "/connect"))
    expect(page.locator('[data-client="waiting"]')).to_be_visible()

    log_in(server, "bob")

    expect(page.locator('[data-client="connected"]')).to_be_visible(timeout=patiently(5.0) * 1_000)


def test_restricted_player_vanishes_from_pages_and_the_api_at_once(page: Page, server: Server) -> None:
    log_in(server, "celia")
    submit(server, Played(SONG.md5, name="celia", score=950_000))
    eventually(lambda: b"celia" in server.get("/leaderboard", host="localhost").body)
    found = server.get("/get_player_info?name=celia&scope=info").json["player"]["info"]
    celia = found["id"]
    pages = ("/", "/leaderboard", "/search?q=celia", "/beatmapsets/1")

    cli(server.data, "users", "restrict", "celia", "--reason", "test")

    assert server.get(f"/get_player_info?id={celia}&scope=info").status == 404
    response = page.goto(address(server, f"/users/{celia}"))
    assert response is not None
    assert response.status == 404
    for path in pages:
        page.goto(address(server, path))
        assert page.locator(f'[data-user-id="{celia}"]').count() == 0, path
