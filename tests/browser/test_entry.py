"""Ways into an account in Chromium: registration, a virtual passkey, an authenticator."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.browser.kit import faults_of, visit
from tests.mail_server import MailServer
from tests.wire.kit import Server, cli


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty server that sends mail."""
    with MailServer().running() as mails:
        data: Path = tmp_path_factory.mktemp("entry") / "data"
        cli(data, "migrate")
        server = Server(data, SMTP=mails.url).start()
        yield server
        server.stop()


def registered(chromium: Browser, server: Server, name: str) -> tuple[BrowserContext, Page]:
    """Register a player and open the settings of security."""
    context, page = visit(chromium, f"http://localhost:{server.port}/register")
    page.get_by_label("Username").fill(name)
    page.get_by_label("E-mail").fill(f"{name.replace(' ', '.')}@example.org")
    page.get_by_label("Password").fill("correct horse 8")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("body[data-user-id]")).to_have_count(1)
    page.goto(f"http://localhost:{server.port}/settings/security")
    return context, page


def with_virtual_passkeys(context: BrowserContext, page: Page) -> None:
    """Give the browser a device that stores passkeys and verifies its user."""
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def log_out(page: Page) -> None:
    """Log out with the button of the header."""
    if page.get_by_role("button", name="Account").is_visible():
        page.get_by_role("button", name="Account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("body[data-user-id]")).to_have_count(0)


def test_name_is_checked_while_the_visitor_types(chromium: Browser, server: Server) -> None:
    context, page = visit(chromium, f"http://localhost:{server.port}/register")

    page.get_by_label("Username").press_sequentially("bad!name")
    field = page.get_by_label("Username")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text('without "!"')).to_be_visible()
    field.fill("good name")
    expect(field).not_to_have_attribute("aria-invalid", "true")
    context.close()


def test_player_logs_in_with_a_passkey(chromium: Browser, server: Server) -> None:
    context, page = registered(chromium, server, "keyholder")
    with_virtual_passkeys(context, page)
    page.get_by_label("Passkey name").fill("Phone")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.locator("[data-recovery-code]")).to_have_count(10)
    log_out(page)

    page.goto(f"http://localhost:{server.port}/login?next=/settings/security")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Security")

    log_out(page)
    page.goto(f"http://localhost:{server.port}/login")
    page.get_by_label("Username").fill("keyholder")
    page.get_by_label("Password").fill("correct horse 8")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("body[data-user-id]")).to_have_count(1)
    context.close()


def test_failed_passkey_leaves_a_message(chromium: Browser, server: Server) -> None:
    context, page = visit(chromium, f"http://localhost:{server.port}/login")
    with_virtual_passkeys(context, page)  # a device without passkeys

    page.get_by_role("button", name="Log in with a passkey").click()

    expect(page.locator("[data-failed]")).to_be_visible()
    context.close()


def test_player_logs_in_with_an_authenticator(chromium: Browser, server: Server) -> None:
    context, page = registered(chromium, server, "codeholder")
    page.get_by_role("button", name="Set up authenticator").click()
    secret = page.locator("[data-totp-secret]").inner_text()
    code = page.get_by_label("Authentication code")
    code.fill(pyotp.TOTP(secret).at(time.time() - 30))
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator("[data-recovery-code]")).to_have_count(10)
    log_out(page)

    page.goto(f"http://localhost:{server.port}/login")
    page.get_by_label("Username").fill("codeholder")
    page.get_by_label("Password").fill("correct horse 8")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_label("Authentication code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("body[data-user-id]")).to_have_count(1)
    context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pages_are_accessible_and_fit(chromium: Browser, server: Server, axe: str, theme: Any) -> None:
    context, page = registered(chromium, server, f"reader {theme}")
    page.emulate_media(color_scheme=theme)
    page.get_by_role("button", name="Set up authenticator").click()
    faults = {}
    for path in ("/settings/security", "/login", "/register", "/reset", "/login/second-factor"):
        if path == "/login":
            log_out(page)
        page.goto(f"http://localhost:{server.port}{path}")
        if found := faults_of(page, axe):
            faults[path] = found
    context.close()

    assert faults == {}
