"""The settings: each form with right and wrong input, what it changes in API and game, and who may use it."""

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select
from tests import stores
from tests.patience import wait_until
from tests.site.kit import Browser, File, PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli
from tests.wire.rows import Rows
from tests.wire.submitting import log_in

from kiai.storage.tables import (
    api_keys,
    exports,
    irc_passwords,
    old_names,
    relationships,
    users,
    web_sessions,
)

PASSWORD = "correct horse alice"
PAGES = ("profile", "avatar", "name", "privacy", "api-keys", "irc", "data")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with alice (3) and bob (4)."""
    data = tmp_path_factory.mktemp("settings") / "data"
    cli(data, "migrate")
    for name in ("alice", "bob"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", f"correct horse {name}")
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.7"
    yield server
    server.stop()


@pytest.fixture(scope="module")
def accounts(running: Server) -> list[Any]:
    """The accounts as they were registered."""
    with stores.engine(running.data).begin() as connection:
        return [dict(found._mapping) for found in connection.execute(select(users).where(users.c.id >= 3))]


@pytest.fixture
def server(running: Server, accounts: list[Any]) -> Server:
    """The server, with the accounts as they were registered.

    The changes of the former test are delivered: a late one would end the sessions of this test.
    """
    wait_until(lambda: Rows(running.data).is_outbox_empty(), within_s=10)
    with stores.engine(running.data).begin() as connection:
        for table in (old_names, relationships, exports, api_keys, irc_passwords, web_sessions):
            connection.execute(table.delete())
        for account in accounts:
            connection.execute(users.update().where(users.c.id == account["id"]).values(**account))
    return running


@pytest.fixture
def alice(server: Server) -> Browser:
    return a_browser(server, user_id=3)


def row(server: Server, user_id: int = 3) -> Any:
    with stores.engine(server.data).begin() as connection:
        return connection.execute(select(users).where(users.c.id == user_id)).one()


def change(server: Server, user_id: int = 3, **values: Any) -> None:
    with stores.engine(server.data).begin() as connection:
        connection.execute(users.update().where(users.c.id == user_id).values(**values))


def a_picture(width: int = 300, height: int = 200) -> File:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "PNG")
    return File(out.getvalue())


def api(server: Server, path: str, key: str | None = None) -> Any:
    return json.loads(server.ask("GET", path, host="api.localhost", key=key).body)


# --- all pages


def test_settings_lead_to_the_profile_page_with_a_navigation(alice: Browser) -> None:
    page = alice.get("/settings")

    assert page.path == "/settings/profile"
    links = [node.attributes["href"] for node in page.css('nav[aria-label="Settings"] a')]
    assert links == [f"/settings/{name}" for name in (*PAGES[:3], "security", *PAGES[3:])]


@pytest.mark.parametrize("name", PAGES)
def test_page_needs_a_session_and_is_whole(server: Server, alice: Browser, name: str) -> None:
    nobody = a_browser(server).get(f"/settings/{name}", follow=False)
    page = alice.get(f"/settings/{name}")

    assert nobody.status == 303
    assert nobody.location == f"/login?next=%2Fsettings%2F{name}"
    assert page.status == 200
    assert page.h1
    assert page.css('meta[name="robots"]')
    assert [node.attributes["href"] for node in page.css("nav.settings-nav a[aria-current]")] == [f"/settings/{name}"]


# --- profile and userpage


def test_profile_is_saved_and_the_api_shows_it(server: Server, alice: Browser) -> None:
    page = alice.get("/settings/profile").form("Profile").fill(Preferred_mode="8", Country="fi").press("Save profile")

    assert page.message == "Your profile was saved."
    info = api(server, "/get_player_info?id=3&scope=info")["player"]["info"]
    assert (info["preferred_mode"], info["country"]) == (8, "fi")


def test_second_country_is_refused_with_the_day_and_the_typed_values_stay(alice: Browser) -> None:
    alice.get("/settings/profile").form("Profile").fill(Country="fi").press("Save profile")

    page = alice.get("/settings/profile").form("Profile").fill(Preferred_mode="3", Country="de").press("Save profile")

    assert page.status == 422
    form = page.form("Profile")
    assert "You can change it again on" in (form.error("Country") or "")
    assert form.values["preferred_mode"] == "3"
    assert page.alert == "Nothing was changed. Check the marked field."


@pytest.mark.parametrize(("label", "value"), [("Preferred mode", "7"), ("Preferred mode", "x"), ("Country", "qq")])
def test_wrong_value_of_the_profile_is_refused(server: Server, alice: Browser, label: str, value: str) -> None:
    page = alice.get("/settings/profile").form("Profile").set(label, value).press("Save profile")

    assert page.status == 422
    assert page.form("Profile").error(label)


def test_userpage_is_saved_previewed_and_shown_as_text_where_it_is_not_markup(server: Server, alice: Browser) -> None:
    source = "[b]hi[/b] <script>alert(1)</script> [url=javascript:x]y[/url] [profile]bob[/profile]"
    change(server, 4, priv=3)

    preview = alice.get("/settings/profile").form("Userpage").fill(Userpage=source).press("Preview")
    unsaved = row(server).userpage_content
    saved = preview.form("Userpage").press("Save userpage")

    shown = preview.one("[data-preview-into]")
    assert [node.text() for node in shown.css("strong")] == ["hi"]
    assert [node.attributes["href"] for node in shown.css("a")] == ["/users/4"]
    assert shown.css("script") == []
    assert unsaved is None
    assert saved.message == "Your userpage was saved."
    assert row(server).userpage_content == source
    info = api(server, "/get_player_info?id=3&scope=info")["player"]["info"]
    assert info["userpage_content"] == source


def test_script_gets_only_the_fragment_of_the_preview(alice: Browser) -> None:
    token = str(alice.get("/settings/profile").form("Userpage").values["csrf_token"])

    page = alice.post(
        "/settings/userpage/preview",
        {"userpage": "[i]x[/i]"},
        headers={"X-Fragment": "1", "X-CSRF-Token": token},
    )

    assert page.body == b"<p><em>x</em></p>"


def test_too_long_userpage_is_refused_and_not_lost(alice: Browser) -> None:
    page = alice.get("/settings/profile").form("Userpage").fill(Userpage="x" * 10_001).press("Save userpage")

    assert page.status == 422
    assert "10000 characters" in (page.form("Userpage").error("Userpage") or "")
    assert len(str(page.form("Userpage").values["userpage"]).strip()) == 10_001


# --- avatar and cover


def test_avatar_is_shown_at_once_and_can_be_removed(server: Server, alice: Browser) -> None:
    change(server, priv=3)
    default = server.ask("GET", "/3", host="a.localhost").body

    page = alice.get("/settings/avatar").form("Avatar").fill(Avatar=a_picture()).press("Upload avatar")
    shown = server.ask("GET", "/3", host="a.localhost").body
    removed = page.form("Avatar").press("Remove avatar")

    assert page.message == "Your avatar was changed."
    with Image.open(io.BytesIO(shown)) as image:
        assert image.size == (200, 200)
    assert removed.message == "Your avatar was removed."
    assert server.ask("GET", "/3", host="a.localhost").body == default


def test_cover_is_a_webp_in_the_place_of_the_generated_one(server: Server, alice: Browser) -> None:
    change(server, priv=3)

    page = alice.get("/settings/avatar").form("Cover").fill(Cover=a_picture(900, 300)).press("Upload cover")
    shown = a_browser(server).get("/pictures/players/3-A")

    assert page.message == "Your cover was changed."
    assert shown.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(shown.body)) as image:
        assert image.size == (1920, 640)
    change(server, priv=2)
    assert a_browser(server).get("/pictures/players/3-A").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 422, "Choose a file."),
        (b"not a picture", 422, "The file must be a PNG, JPEG, GIF or WebP picture."),
        (b"\x89PNG\r\n\x1a\n broken", 422, "Must be a whole picture."),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 4 * 1024 * 1024, 413, "The file must have at most 4 MiB."),
    ],
)
@pytest.mark.parametrize("name", ["Avatar", "Cover"])
def test_bad_picture_is_refused(
    server: Server, alice: Browser, name: str, content: bytes, status: int, message: str
) -> None:
    page = alice.get("/settings/avatar").form(name).set(name, File(content)).press(f"Upload {name.lower()}")

    assert page.status == status
    assert (page.form(name).error(name) or "").startswith(message)
    assert (row(server).avatar, row(server).cover) == (None, None)


def test_silenced_player_cannot_change_avatar_and_userpage(server: Server, alice: Browser) -> None:
    change(server, silenced_until_ms=time.time_ns() // 1_000_000 + 600_000)
    token = str(alice.get("/settings/privacy").form("Privacy").values["csrf_token"])

    avatar = alice.post("/settings/avatar", {"csrf_token": token, "avatar": a_picture()})
    userpage = alice.post("/settings/userpage", {"csrf_token": token, "userpage": "x"})

    assert (avatar.status, avatar.alert) == (422, "You are silenced and cannot change the avatar.")
    assert (userpage.status, userpage.alert) == (422, "You are silenced and cannot change the userpage.")


# --- name


def change_name(browser: Browser, name: str, password: str = PASSWORD) -> PageReply:
    form = browser.get("/settings/name").form("Change name")
    return form.fill(New_name=name, Current_password=password).press("Change name")


def test_name_changes_and_old_links_keep_working(server: Server, alice: Browser) -> None:
    change(server, priv=3)

    page = change_name(alice, "Alice B")

    assert page.message == "Your name was changed. Log in to the game again with the new name."
    assert "alice" in page.one("main table").text()
    assert api(server, "/get_player_info?name=alice&scope=info")["player"]["info"]["name"] == "Alice B"
    with stores.engine(server.data).begin() as connection:
        assert connection.execute(select(old_names.c.name)).scalars().all() == ["alice"]


@pytest.mark.parametrize(
    ("name", "password", "field", "message"),
    [
        ("Alice B", "wrong password", "Current password", "This is not your current password."),
        ("a_b c", PASSWORD, "New name", "Must be written with spaces or with underscores, not both."),
        ("bob", PASSWORD, "New name", "This name is already taken."),
        ("", PASSWORD, "New name", "Must be 2 to 15 characters long."),
    ],
)
def test_refused_name_changes_nothing_and_forgets_only_the_password(
    server: Server, alice: Browser, name: str, password: str, field: str, message: str
) -> None:
    page = change_name(alice, name, password)

    assert page.status == 422
    form = page.form("Change name")
    assert (form.error(field) or "").startswith(message)
    assert form.values["username"] == name
    assert not form.values["current_password"]
    assert row(server).name == "alice"


def test_second_change_is_refused_with_the_day_and_a_past_name_is_not(alice: Browser) -> None:
    change_name(alice, "first")

    assert "You can change it again on" in (change_name(alice, "second").form("Change name").error("New name") or "")
    assert change_name(alice, "alice").message


def test_name_is_checked_while_typing(alice: Browser) -> None:
    def check(name: str) -> Any:
        return json.loads(alice.get(f"/settings/name/check?field=username&value={name}").body)

    assert check("bob") == {"ok": False, "message": "This name is already taken."}
    assert check("x") == {"ok": False, "message": "Must be 2 to 15 characters long."}
    assert check("free") == {"ok": True, "message": ""}
    assert check("ALICE") == {"ok": True, "message": ""}


# --- privacy and friends


def test_privacy_is_saved(server: Server, alice: Browser) -> None:
    change(server, country="fi")

    page = alice.get("/settings/privacy").form("Privacy").fill(Who_may_message_me="friends").press("Save privacy")
    only_messages = row(server)
    form = page.form("Privacy")
    del form.values["country"], form.values["online"]
    page = form.press("Save privacy")

    assert page.message == "Your privacy settings were saved."
    assert (only_messages.privacy, only_messages.country) == (1, "fi")
    assert (row(server).privacy, row(server).country, row(server).home_country) == (5, "xx", "fi")
    assert page.form("Privacy").values["messages"] == "friends"
    refused = page.form("Privacy").fill(Who_may_message_me="nobody").press("Save privacy")
    assert (refused.status, row(server).privacy) == (422, 5)


def test_api_and_start_page_do_not_show_a_player_who_hides_being_online(server: Server, alice: Browser) -> None:
    change(server, priv=3)
    log_in(server, "alice", password=PASSWORD)
    key = alice.get("/settings/api-keys").form("New API key").press("Create API key").one("[data-api-key]").text()

    def online() -> tuple[bool, int, bool]:
        status = api(server, "/get_player_status?id=3")["player_status"]["online"]
        listed = [player["id"] for player in api(server, "/online")["players"]]
        return status, server.ask("GET", "/v2/players/3/status", host="api.localhost").status, 3 in listed

    assert online() == (True, 200, True)
    form = alice.get("/settings/privacy").form("Privacy")
    del form.values["online"]
    form.press("Save privacy")

    assert online() == (False, 404, False)
    assert api(server, "/get_player_info?id=3&scope=info")["player"]["info"]["latest_activity"] == 0
    assert a_browser(server).get("/").css('[data-user-id="3"]') == []
    assert api(server, "/get_player_status?id=3", key)["player_status"]["online"] is True
    settings = api(server, "/v2/me/settings", key)["data"]
    assert (settings["shows_online"], settings["messages_from"]) == (False, "everybody")


def test_friends_are_listed_and_removed_and_blocks_lifted(server: Server, alice: Browser) -> None:
    with stores.engine(server.data).begin() as connection:
        connection.exec_driver_sql("UPDATE users SET priv = 3 WHERE id IN (3, 4)")
        connection.exec_driver_sql(
            "INSERT INTO relationships (user_id, target_id, kind, added_at_ms) VALUES (3, 4, 1, 1), (4, 3, 1, 1)"
        )
    page = alice.get("/friends")
    assert page.h1 == "Friends"
    assert [node.attributes["data-user-id"] for node in page.css("main tr[data-user-id]")] == ["4"]
    assert "Mutual" in page.one('main tr[data-user-id="4"]').text()

    empty = page.button("Remove bob").press()
    assert empty.message == "The friend was removed."
    assert "You have no friends here yet." in empty.text
    with stores.engine(server.data).begin() as connection:
        connection.exec_driver_sql("INSERT INTO relationships VALUES (3, 4, 2, 1)")
    unblocked = alice.get("/settings/privacy").button("Unblock bob").press()
    assert (unblocked.path, unblocked.message) == ("/settings/privacy?saved=unblocked", "The player was unblocked.")


# --- keys


def test_api_key_is_shown_once_works_and_is_revoked(server: Server, alice: Browser) -> None:
    page = alice.get("/settings/api-keys").form("New API key").fill(Label="my bot").press("Create API key")
    key = page.one("[data-api-key]").text()

    assert api(server, "/get_friends", key)["status"] == "success"
    again = alice.get("/settings/api-keys")
    assert again.css("[data-api-key]") == []
    assert key not in again.text
    revoked = again.button("Revoke my bot").press()
    assert revoked.message == "The key was revoked."
    assert server.ask("GET", "/get_friends", host="api.localhost", key=key).status == 401


def test_too_long_label_is_refused(alice: Browser) -> None:
    page = alice.get("/settings/api-keys").form("New API key").fill(Label="x" * 65).press("Create API key")

    assert page.status == 422
    assert "Must be at most 64 printable characters." in (page.form("New API key").error("Label") or "")


def test_irc_password_is_shown_once_replaced_and_removed(alice: Browser) -> None:
    first = alice.get("/settings/irc").form("IRC password").press("Create IRC password")
    second = first.form("IRC password").press("Create IRC password")

    assert first.one("[data-irc-password]").text() != second.one("[data-irc-password]").text()
    assert alice.get("/settings/irc").css("[data-irc-password]") == []
    removed = second.form("IRC password").press("Remove IRC password")
    assert removed.message == "The IRC password was removed."
    assert "You have no IRC password." in removed.text


# --- export and deletion


def test_export_can_be_downloaded_by_its_player_only(server: Server, alice: Browser) -> None:
    asked = alice.get("/settings/data").form("Export data").press("Export my data")
    wait_until(lambda: alice.get("/settings/data").link("Download export") is not None, within_s=20)

    download = alice.get("/settings/data").follow("Download export")

    assert asked.message == "Your data is being collected. Reload this page in a moment."
    assert download.headers["content-type"] == "application/zip"
    assert download.headers["content-disposition"] == 'attachment; filename="export-3.zip"'
    assert download.headers["cache-control"] == "private, no-store"
    with zipfile.ZipFile(io.BytesIO(download.body)) as archive:
        assert json.loads(archive.read("account.json"))["email"] == "alice@example.org"
    assert a_browser(server, user_id=4).get("/settings/data/export.zip").status == 404
    assert a_browser(server).get("/settings/data/export.zip", follow=False).status == 303


def test_deletion_asks_once_more_ends_the_sessions_and_a_login_cancels_it(server: Server, alice: Browser) -> None:
    form = alice.get("/settings/data").form("Delete account")
    asked = form.fill(Current_password=PASSWORD, Type_your_username="alice").press("Delete account")
    unasked = row(server).deletes_at_ms

    done = asked.button("Confirm").press()

    assert asked.h1 == "Delete the account alice?"
    assert asked.link("Cancel") == "/settings/data"
    assert unasked is None
    assert "The account will be deleted on" in (done.message or ""), (done.path, done.status, done.text)
    assert alice.get("/settings/data", follow=False).status == 303
    with stores.engine(server.data).begin() as connection:
        assert connection.execute(select(web_sessions.c.user_id)).all() == []
    assert row(server).deletes_at_ms > time.time_ns() // 1_000_000 + 13 * 86_400_000
    assert server.ask("GET", "/", host="localhost").status == 200


@pytest.mark.parametrize(
    ("password", "name", "field"),
    [("wrong", "alice", "Current password"), (PASSWORD, "bob", "Type your username"), ("", "", "Current password")],
)
def test_wrong_password_or_name_deletes_nothing(
    server: Server, alice: Browser, password: str, name: str, field: str
) -> None:
    form = alice.get("/settings/data").form("Delete account")
    page = form.fill(Current_password=password, Type_your_username=name).press("Delete account")

    assert page.status == 422
    assert page.form("Delete account").error(field)
    assert row(server).deletes_at_ms is None


def test_confirmation_without_its_proof_deletes_nothing(server: Server, alice: Browser) -> None:
    token = str(alice.get("/settings/data").form("Delete account").values["csrf_token"])

    page = alice.post("/settings/data/delete/confirm", {"csrf_token": token, "proof": "x"})

    assert page.status == 422
    assert row(server).deletes_at_ms is None


def test_deletion_without_a_wait_is_executed_by_the_job(tmp_path: Path) -> None:
    data = tmp_path / "data"
    cli(data, "migrate")
    cli(data, "users", "add", "alice", "--email", "alice@example.org", "--password", PASSWORD)
    server = Server(data, DELETION_GRACE_DAYS="0", **BEHIND_PROXY).start()
    try:
        browser = a_browser(server, user_id=3)
        form = browser.get("/settings/data").form("Delete account")
        asked = form.fill(Current_password=PASSWORD, Type_your_username="alice").press("Delete account")
        asked.button("Confirm").press()

        wait_until(lambda: row(server).name == "deleteduser_3", within_s=30)
    finally:
        server.stop()


# --- who may do what


def test_restricted_player_can_use_the_settings(server: Server, alice: Browser) -> None:
    change(server, priv=2)

    for name in PAGES:
        assert alice.get(f"/settings/{name}").status == 200
    assert alice.get("/settings/profile").form("Profile").press("Save profile").message
    assert alice.get("/settings/privacy").form("Privacy").press("Save privacy").message
    assert alice.get("/settings/data").form("Export data").press("Export my data").message
    form = alice.get("/settings/data").form("Delete account")
    asked = form.fill(Current_password=PASSWORD, Type_your_username="alice").press("Delete account")
    assert asked.button("Confirm").press().message


def test_key_of_another_player_is_not_found(server: Server, alice: Browser) -> None:
    alice.get("/settings/api-keys").form("New API key").fill(Label="mine").press("Create API key")
    bob = a_browser(server, user_id=4)
    token = str(bob.get("/settings/api-keys").form("New API key").values["csrf_token"])

    stolen = bob.post("/settings/api-keys/revoke", {"csrf_token": token, "key": "1"})

    assert stolen.status == 404
    assert alice.get("/settings/api-keys").button("Revoke mine")


@pytest.mark.parametrize(
    "path",
    [
        "/settings/profile",
        "/settings/userpage",
        "/settings/userpage/preview",
        "/settings/avatar",
        "/settings/avatar/remove",
        "/settings/cover",
        "/settings/cover/remove",
        "/settings/name",
        "/settings/privacy",
        "/settings/api-keys",
        "/settings/api-keys/revoke",
        "/settings/irc",
        "/settings/irc/remove",
        "/settings/data/export",
        "/settings/data/delete",
        "/settings/data/delete/confirm",
        "/friends/remove",
        "/friends/unblock",
    ],
)
def test_form_without_the_token_or_a_session_changes_nothing(server: Server, alice: Browser, path: str) -> None:
    before = row(server)

    forged = alice.post(path, {"username": "other", "country": "de"}, follow=False)
    nobody = a_browser(server).post(path, {"username": "other"}, follow=False)

    assert forged.status == 403
    assert (nobody.status, (nobody.location or "")[:6]) == (303, "/login")
    assert row(server) == before
