"""Endpoints about the account of an API key, and the visibility of a restricted player in the whole API."""

import io
import itertools
import json
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest
from PIL import Image
from tests.patience import Deadline, patiently
from tests.wire.kit import BEHIND_PROXY, Reply, Server, eventually
from tests.wire.rows import RESTRICTED, Rows
from tests.wire.world import a_map, a_score

from kiai.storage.tables import first_places, relationships

SUPPORTER: Final = 3 | 16
MODERATOR: Final = 3 | 4096
FRIEND: Final = 1
BLOCK: Final = 2
RANKED: Final = 1001
NOBODY: Final = 999_999
MANY_FIELDS_S: Final = 4.0  # a tenth of a second, or forty if the time is quadratic
JSON: Final = {"Content-Type": "application/json"}
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class World:
    """A server to which each test adds its own players."""

    def __init__(self, server: Server, rows: Rows) -> None:
        self.server = server
        self.rows = rows
        self._ids = itertools.count(3)

    def player(self, name: str = "", **values: Any) -> tuple[int, str]:
        """Add a player and return the id and an API key."""
        user_id = next(self._ids)
        self.rows.player(user_id, name or f"Player {user_id}", **values)
        return user_id, self.rows.api_key(user_id, f"key-of-{user_id}")

    def info(self, user_id: int, key: str | None = None) -> dict[str, Any]:
        """Return the account as `get_player_info` shows it."""
        found: dict[str, Any] = self.server.get(f"/get_player_info?id={user_id}&scope=info", key=key).json["player"][
            "info"
        ]
        return found

    def change(self, key: str | None, changes: object, method: str = "POST") -> Reply:
        """Send changes to set_player_info as JSON."""
        return self.send(key, json.dumps(changes).encode(), method=method)

    def send(
        self, key: str | None, body: bytes, headers: dict[str, str] = JSON, method: str = "POST"
    ) -> Reply:  # fmt: skip
        """Send a body to set_player_info."""
        return self.server.ask(method, "/set_player_info", key=key, headers=headers, body=body)

    def upload(self, key: str | None, body: bytes, content_type: str = "", method: str = "POST") -> Reply:
        """Send a body to set_avatar."""
        headers = {"Content-Type": content_type} if content_type else {}
        return self.server.ask(method, "/set_avatar", key=key, headers=headers, body=body)

    def avatar(self, user_id: int | str) -> bytes:
        """Return the picture that the avatar host serves."""
        reply = self.server.get(f"/{user_id}", host="a.localhost")
        assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
        return reply.body


@pytest.fixture(scope="module")
def world(server: Server) -> Iterator[World]:
    """The running server and its rows."""
    rows = Rows(server.data)
    yield World(server, rows)
    rows.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without players."""
    started = Server(tmp_path_factory.mktemp("account") / "data", **BEHIND_PROXY)
    try:
        yield started.start()
        started.stop()
    finally:
        started.kill()


# --- keys

WITH_KEY: Final = (
    ("GET", "/get_friends"),
    ("GET", "/calculate_pp?id=1001"),
    ("POST", "/set_avatar"),
    ("PUT", "/set_avatar"),
    ("POST", "/set_player_info"),
    ("PUT", "/set_player_info"),
)


@pytest.mark.parametrize("written", ["{}", "Bearer {}", "bearer {}", "BEARER   {}"])
def test_key_is_accepted_with_and_without_bearer(world: World, written: str) -> None:
    _, key = world.player()

    assert world.server.get("/get_friends", key=written.format(key)).json == {"status": "success", "friends": []}


def test_key_of_the_command_line_is_valid_until_the_password_changes(world: World) -> None:
    added = world.server.cli("users", "add", "New One", "--email", "new@example.org", "--password", "correct horse 9")
    key = world.server.cli("users", "apikey", "New One", "--label", "bot")["key"]

    before = world.server.get("/get_friends", key=key)
    world.server.cli("users", "password", "New One", "--password", "battery staple 9")
    after = world.server.get("/get_friends", key=key)

    assert before.status == 200
    assert (after.status, after.said) == (401, "Invalid API key.")
    assert world.info(added["id"])["name"] == "New One"


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "wrong",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic dXNlcjpwYXNz",
        "x" * 200,
        "x" * 10_240,
        "\xe9\xff",
        "' OR 1=1 --",
    ],
    ids=lambda key: repr(key)[:20],
)
@pytest.mark.parametrize(("method", "path"), WITH_KEY)
def test_request_without_a_valid_key_gets_401(world: World, method: str, path: str, key: str | None) -> None:
    reply = world.server.ask(method, path, key=key)

    assert (reply.status, reply.said) == (401, "Invalid API key.")
    assert "www-authenticate" in reply.headers


def test_revoked_key_and_key_of_a_banned_account_are_invalid(world: World) -> None:
    user_id, _ = world.player()
    revoked = world.rows.api_key(user_id, "revoked key", revoked_at_ms=1)
    _, banned = world.player(priv=0, banned_at_ms=1)

    answers = [world.server.get("/get_friends", key=key) for key in (revoked, banned)]

    assert [(reply.status, reply.said) for reply in answers] == [(401, "Invalid API key.")] * 2


@pytest.mark.parametrize("name", ["key", "api_key", "Authorization", "token", "access_token"])
def test_key_in_the_query_is_ignored_and_not_logged(world: World, name: str) -> None:
    user_id, _ = world.player()
    key = world.rows.api_key(user_id, f"a-secret-in-a-query-{name}")

    reply = world.server.get(f"/get_friends?{name}={key}")

    assert (reply.status, reply.said) == (401, "Invalid API key.")
    assert "a-secret-in-a-query" not in world.server.stderr


@pytest.mark.parametrize(("method", "path"), WITH_KEY)
def test_key_of_a_restricted_player_gets_403(world: World, method: str, path: str) -> None:
    _, key = world.player(priv=RESTRICTED)

    reply = world.server.ask(method, path, key=key)

    assert (reply.status, reply.said) == (403, "The holder of this key needs the privilege unrestricted.")


def test_wrong_key_gets_401_where_no_key_is_needed(world: World) -> None:
    assert world.server.get("/get_player_count", key="wrong").status == 401


# --- get_friends


def test_get_friends_returns_the_visible_friends_of_the_keys_account_by_name(world: World) -> None:
    me, key = world.player("Myself")
    zed, zeds_key = world.player("zed", country="nl")
    anna, _ = world.player("Anna", country="de")
    enemy, _ = world.player("Enemy")
    gone, _ = world.player("Gone", priv=RESTRICTED)
    for one, other, kind in (
        (me, zed, FRIEND),
        (me, anna, FRIEND),
        (me, enemy, BLOCK),
        (me, gone, FRIEND),
        (zed, me, FRIEND),
        (enemy, me, FRIEND),
    ):
        world.rows.put(relationships, {"user_id": one, "target_id": other, "kind": kind, "added_at_ms": 0})

    mine = world.server.get("/get_friends", key=key).json["friends"]
    zeds = world.server.get(f"/get_friends?id={me}", key=zeds_key).json["friends"]

    assert mine == [
        {"id": anna, "name": "Anna", "country": "de", "online": False, "mutual": False},
        {"id": zed, "name": "zed", "country": "nl", "online": False, "mutual": True},
    ]
    assert [one["id"] for one in zeds] == [me]


# --- set_player_info


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_set_player_info_changes_the_given_fields_and_returns_the_account(world: World, method: str) -> None:
    user_id, key = world.player(play_style=1)

    reply = world.change(key, {"preferred_mode": 8, "userpage_content": "hé <b>"}, method)

    assert reply.status == 200
    assert reply.json["player"]["info"] == world.info(user_id)
    shown = world.info(user_id)
    assert (shown["preferred_mode"], shown["userpage_content"], shown["play_style"]) == (8, "hé <b>", 1)


def test_set_player_info_accepts_forms(world: World) -> None:
    user_id, key = world.player()

    reply = world.send(key, b"preferred_mode=3&play_style=5&userpage_content=a+b%C3%A9&_=", FORM)
    good = world.send(key, b"preferred_mode=3&play_style=5&userpage_content=a+b%C3%A9", FORM)

    assert (reply.status, good.status) == (400, 200)
    shown = world.info(user_id)
    assert (shown["preferred_mode"], shown["play_style"], shown["userpage_content"]) == (3, 5, "a bé")


@pytest.mark.parametrize(
    "field", ["priv", "id", "pp", "donor_end", "clan_id", "safe_name", "email", "avatar", "", "__class__"]
)
def test_set_player_info_rejects_unknown_and_foreign_fields(world: World, field: str) -> None:
    user_id, key = world.player()
    before = world.info(user_id)

    reply = world.change(key, {"preferred_mode": 3, field: 31, "other": 1})

    assert reply.status == 400
    assert reply.said.startswith(f"{field} must be left out")
    assert world.info(user_id) == before


@pytest.mark.parametrize("field", ["country", "custom_badge_name", "custom_badge_icon", "name"])
def test_set_player_info_names_a_field_that_needs_a_privilege(world: World, field: str) -> None:
    user_id, key = world.player()
    before = world.info(user_id)

    reply = world.change(key, {"preferred_mode": 3, field: "nl"})

    assert reply.status in (400, 403)
    assert field in reply.said
    assert world.info(user_id) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("preferred_mode", 7),
        ("preferred_mode", 9),
        ("preferred_mode", -1),
        ("preferred_mode", "3"),
        ("preferred_mode", True),
        ("preferred_mode", None),
        ("preferred_mode", [0]),
        ("preferred_mode", 10**30),
        ("preferred_mode", 0.5),
        ("play_style", 16),
        ("play_style", -1),
        ("play_style", False),
        ("play_style", "x"),
        ("play_style", 1.5),
        ("play_style", 10**30),
        ("userpage_content", "x" * 10_001),
        ("userpage_content", "nul\x00"),
        ("userpage_content", 5),
        ("userpage_content", {"a": "b"}),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_set_player_info_changes_nothing_if_one_field_is_invalid(world: World, field: str, value: object) -> None:
    user_id, key = world.player(preferred_mode=1, play_style=2, userpage_content="old")
    before = world.info(user_id)
    good = {"preferred_mode": 3, "play_style": 4, "userpage_content": "new"}

    reply = world.change(key, good | {field: value})

    assert reply.status == 400
    assert reply.said.startswith(f"{field} must be ")
    assert world.info(user_id) == before


def test_userpage_can_have_the_maximum_length_or_be_null(world: World) -> None:
    user_id, key = world.player()

    long = world.change(key, {"userpage_content": "é" * 10_000})
    stored = world.info(user_id)["userpage_content"]
    none = world.change(key, {"userpage_content": None})

    assert (long.status, none.status) == (200, 200)
    assert stored == "é" * 10_000
    assert world.info(user_id)["userpage_content"] is None


def test_supporter_changes_badge_and_name_and_is_still_found_by_the_old_name(world: World) -> None:
    user_id, key = world.player("Before", priv=SUPPORTER)

    badge = world.change(key, {"custom_badge_name": "Best", "custom_badge_icon": "star"})
    renamed = world.change(key, {"name": "After all"})
    again = world.change(key, {"name": "Once more"})

    assert (badge.status, renamed.status, again.status) == (200, 200, 400)
    assert "once a week" in again.said
    shown = world.info(user_id)
    assert (shown["name"], shown["safe_name"]) == ("After all", "after_all")
    assert (shown["custom_badge_name"], shown["custom_badge_icon"]) == ("Best", "star")
    old = world.server.get("/get_player_info?name=Before&scope=info")
    assert old.json["player"]["info"]["id"] == user_id


@pytest.mark.parametrize("name", ["x", "a" * 16, "two  spaces", " edge", "both _ of", "123456", "BanchoBot", "<b>", 5])
def test_invalid_new_name_is_rejected(world: World, name: object) -> None:
    user_id, key = world.player(priv=SUPPORTER)
    before = world.info(user_id)

    reply = world.change(key, {"name": name, "preferred_mode": 2})

    assert reply.status == 400
    assert reply.said.startswith("name must be ")
    assert world.info(user_id) == before


def test_new_name_in_use_gets_409(world: World) -> None:
    owner, _ = world.player("Taken Name")
    user_id, key = world.player(priv=SUPPORTER)

    reply = world.change(key, {"name": "taken_name", "preferred_mode": 2})

    assert (reply.status, reply.said) == (409, "name is already taken.")
    assert world.info(user_id)["preferred_mode"] == 0
    assert world.info(owner)["name"] == "Taken Name"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", JSON, 400),
        (b"{}", JSON, 400),
        (b"", FORM, 400),
        (b"[]", JSON, 400),
        (b'"preferred_mode"', JSON, 400),
        (b"null", JSON, 400),
        (b"{", JSON, 400),
        (b'{"play_style": 3} x', JSON, 400),
        (b'{"play_style": 3, "play_style": 4}', JSON, 400),
        (b"play_style=3&play_style=4", FORM, 400),
        (b'{"play_style": NaN}', JSON, 400),
        (b'{"play_style": Infinity}', JSON, 400),
        (b'{"play_style": 1e999}', JSON, 400),
        (b'{"userpage_content": "\xe9"}', JSON, 400),
        (b'{"userpage_content": "\\ud800"}', JSON, 400),
        (b"userpage_content=%ff%fe", FORM, 400),
        (b"\xff\xfe{\x00}\x00", {"Content-Type": "application/json; charset=utf-16"}, 400),
        (b'{"userpage_content": ' + b"[" * 1_000 + b"]" * 1_000 + b"}", JSON, 400),
        (b'{"userpage_content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, 400),
        (b'{"userpage_content": "' + b"x" * 10_000_000 + b'"}', JSON, 413),
        (b"userpage_content=" + b"x" * 300_000, FORM, 413),
        (b'{"play_style": 3}', {"Content-Type": "text/plain"}, 415),
        (b'{"play_style": 3}', {"Content-Type": "application/xml"}, 415),
        (b'{"play_style": 3}', {"Content-Type": "\xff"}, 415),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_body_changes_nothing(world: World, body: bytes, headers: dict[str, str], status: int) -> None:
    user_id, key = world.player(play_style=1)
    before = world.info(user_id)

    reply = world.send(key, body, headers)

    assert reply.status == status
    assert len(reply.said) < 300
    assert world.info(user_id) == before


def test_a_body_of_many_fields_of_which_one_is_repeated_is_refused_at_once(world: World) -> None:
    _, key = world.player()
    fields = [f'"{number:x}":0' for number in range(29_000)]  # about as many as a body may hold
    body = ("{" + ",".join([*fields, fields[-1]]) + "}").encode()

    deadline = Deadline(MANY_FIELDS_S)
    reply = world.send(key, body)

    assert (reply.status, reply.said.partition(" must")[0]) == (400, f"{28_999:x}")
    assert not deadline.passed()


# --- set_avatar


def picture(kind: str, size: tuple[int, int] = (300, 400), mode: str = "RGB", **options: Any) -> bytes:
    """A picture, red with a green upper left corner."""
    colours = ("red", "green") if mode == "RGB" else ((0, 255, 255, 0), (255, 0, 255, 0))
    image = Image.new(mode, size, colours[0])
    image.paste(Image.new(mode, (size[0] // 2, size[1] // 2), colours[1]), (0, 0))
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def form(*pictures: bytes, field: str = "avatar") -> tuple[bytes, str]:
    """A multipart form of these files, with its content type."""
    parts = b"".join(
        b'--limit\r\nContent-Disposition: form-data; name="' + field.encode() + b'"; filename="../../x.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + one + b"\r\n"
        for one in pictures
    )
    return parts + b"--limit--\r\n", "multipart/form-data; boundary=limit"


def decoded(data: bytes) -> Image.Image:
    """Decode a picture."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def corner_colours(data: bytes) -> tuple[str, str]:
    """Return the colours of the upper left and the lower right corner."""
    image = decoded(data).convert("RGB")
    corners = [image.getpixel((20, 20)), image.getpixel((image.width - 20, image.height - 20))]
    names = []
    for corner in corners:
        assert isinstance(corner, tuple)
        names.append("red" if corner[0] > corner[1] else "green")
    return names[0], names[1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_uploaded_avatar_is_served_at_once_as_a_square_png(world: World, kind: str, method: str) -> None:
    user_id, key = world.player()
    default = world.avatar(user_id)

    sent = world.upload(key, *form(picture(kind)), method)
    from_form = world.avatar(user_id)
    raw = world.upload(key, picture(kind, (600, 256)), f"image/{kind.lower()}", method)
    from_body = world.avatar(user_id)

    assert (sent.status, sent.json) == (raw.status, raw.json) == (200, {"status": "success"})
    assert from_form != default
    for shown in (from_form, from_body):
        assert (decoded(shown).format, decoded(shown).size) == ("PNG", (256, 256))
        assert corner_colours(shown) == ("green", "red")


def test_avatar_is_rotated_upright_and_loses_its_metadata(world: World) -> None:
    user_id, key = world.player()
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    exif[0x010E] = "taken at home"

    world.upload(key, picture("JPEG", exif=exif.tobytes()), "image/jpeg")

    shown = world.avatar(user_id)
    assert b"taken at home" not in shown
    assert (dict(decoded(shown).getexif()), decoded(shown).info) == ({}, {})
    assert corner_colours(shown) == ("red", "green")


def test_avatar_is_the_first_frame_of_an_animation_and_cmyk_is_converted(world: World) -> None:
    user_id, key = world.player()
    second = Image.new("RGB", (300, 400), "blue")
    animated = picture("GIF", save_all=True, append_images=[second], duration=100)

    moving = world.upload(key, animated, "image/gif")
    first = world.avatar(user_id)
    printed = world.upload(key, picture("JPEG", mode="CMYK"), "image/jpeg")

    assert (moving.status, printed.status) == (200, 200)
    assert getattr(decoded(first), "n_frames", 1) == 1
    assert corner_colours(first) == ("green", "red")
    assert decoded(world.avatar(user_id)).mode in ("RGB", "RGBA")


def test_small_avatar_is_not_enlarged(world: World) -> None:
    user_id, key = world.player()

    world.upload(key, picture("PNG", (64, 100)), "image/png")

    assert decoded(world.avatar(user_id)).size == (64, 64)


PNG: Final = picture("PNG")
SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
BOMB: Final = picture("PNG", (4097, 16))


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (*form(), 400),
        (*form(PNG, field="file"), 400),
        (*form(PNG, PNG), 400),
        (form(PNG)[0], "multipart/form-data", 400),
        (form(PNG)[0], "multipart/form-data; boundary=other", 400),
        (form(PNG)[0][:-30], form()[1], 400),
        (*form(PNG[: len(PNG) // 2]), 400),
        (PNG[: len(PNG) // 2], "image/png", 400),
        (PNG[:8], "image/png", 400),
        (BOMB, "image/png", 400),
        (*form(SVG), 415),
        (SVG, "image/svg+xml", 415),
        (SVG, "image/png", 415),
        (b"<html>", "text/html", 415),
        (picture("BMP"), "image/bmp", 415),
        (picture("TIFF"), "image/png", 415),
        (b"", "image/png", 415),
        (b"", "", 415),
        (PNG + b"\x00" * (4 * 1024**2 + 1 - len(PNG)), "image/png", 413),
        (*form(PNG + b"\x00" * (4 * 1024**2 + 1 - len(PNG))), 413),
        (*form(b"\x00" * 6_000_000), 413),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_incomplete_unsupported_or_large_picture_changes_nothing(
    world: World, body: bytes, content_type: str, status: int
) -> None:
    user_id, key = world.player()
    assert world.upload(key, picture("PNG", (80, 80)), "image/png").status == 200
    before = world.avatar(user_id)

    reply = world.upload(key, body, content_type)

    assert reply.status == status
    assert len(reply.said) < 300
    assert world.avatar(user_id) == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_damaged_picture_is_never_a_server_error(world: World, kind: str) -> None:
    _, key = world.player()
    whole = picture(kind, (64, 64))
    cut = [whole[: len(whole) * part // 12] for part in range(1, 12)]
    flipped = [
        whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(4, len(whole), len(whole) // 30)
    ]

    statuses = {world.upload(key, data, f"image/{kind.lower()}").status for data in cut + flipped}

    assert statuses <= {200, 400, 415}


def test_body_shorter_than_its_content_length_changes_nothing(world: World) -> None:
    user_id, key = world.player()
    before = world.avatar(user_id)
    head = f"POST /set_avatar HTTP/1.1\r\nHost: api.localhost\r\nAuthorization: {key}\r\nContent-Type: image/png\r\n"

    with socket.create_connection(("127.0.0.1", world.server.port), timeout=patiently(10)) as connection:
        connection.sendall(head.encode() + f"Content-Length: {len(PNG)}\r\n\r\n".encode() + PNG[:-20])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)

    assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    assert world.avatar(user_id) == before


@pytest.mark.parametrize("path", ["999999", "1", "0", "abc", "99999999999999", "-1"])
def test_unknown_player_has_the_default_avatar(world: World, path: str) -> None:
    user_id, _ = world.player()

    assert world.avatar(path) == world.avatar(user_id)


@pytest.mark.parametrize("written", ["{}", "{}.png", "{}.jpg", "{}_1700000000", "{}_1700000000.png"])
def test_avatar_is_served_under_all_names_that_clients_request(world: World, written: str) -> None:
    user_id, key = world.player()
    world.upload(key, PNG, "image/png")

    assert world.avatar(written.format(user_id)) == world.avatar(user_id) != world.avatar(NOBODY)


# --- restricted players


def comparable(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    """Return a response without the parts that differ between any two responses."""
    differing = ("date", "x-request-id", "content-length", "x-ratelimit-remaining", "x-ratelimit-reset")
    body = reply.body.replace(reply.headers["x-request-id"].encode(), b"")
    return reply.status, {name: text for name, text in reply.headers.items() if name not in differing}, body


def test_restricted_player_is_indistinguishable_from_an_unknown_one_until_lifted(world: World) -> None:
    server, rows = world.server, world.rows
    me, key = world.player("Restricted Me", country="is")
    below, _ = world.player("Below", country="is")
    _, staff_key = world.player("Watcher", priv=MODERATOR)
    _, others_key = world.player("Bystander")
    rows.map(a_map(RANKED))
    rows.clan(7, "Their Clan", "THEIR", me)
    rows.player(me, "Restricted Me", country="is", clan_id=7, clan_priv=3)
    for user_id, pp in ((me, 900), (below, 800)):
        rows.profile(user_id, 2, "is", pp=pp, plays=1, tscore=pp)
        rows.score(7_000 + user_id, user_id, RANKED, a_score(mode=2, score=pp, pp=float(pp)))
        rows.queue_rank_update(user_id)
    rows.put(first_places, {"map_key": RANKED, "mode": 2, "score_id": 7_000 + me, "user_id": me, "since_ms": 0})
    rows.replay(7_000 + me, b"frames of the restricted")
    assert world.upload(key, PNG, "image/png").status == 200
    public = [
        f"/get_player_info?id={me}&scope=all",
        "/get_player_info?name=Restricted+Me&scope=info",
        f"/get_player_status?id={me}",
        f"/get_player_scores?id={me}&scope=best&mode=2",
        "/get_player_scores?name=restricted_me&scope=recent&mode=2",
        f"/get_player_most_played?id={me}&mode=2",
        f"/get_score_info?id={7_000 + me}",
        f"/get_replay?id={7_000 + me}",
        f"/get_replay?id={7_000 + me}&include_headers=false",
        f"/v2/players/{me}",
        f"/v2/players/{me}/stats",
        f"/v2/players/{me}/stats/2",
        f"/v2/players/{me}/status",
        f"/v2/players/{me}/scores/best?mode=2",
        f"/v2/players/{me}/scores/firsts?mode=2",
        f"/v2/players/{me}/medals",
        f"/v2/players/{me}/history/2",
        f"/v2/scores/{7_000 + me}",
        f"/v2/scores/{7_000 + me}/replay",
        f"/v2/players/{me}/scores?scope=recent&mode=2",
        f"/v2/players/{me}/most_played?mode=2",
        "/v2/players/restricted_me",
        "/v2/players/restricted_me/stats?key=username",
    ]
    lists = [
        "/search_players?q=restricted",
        "/get_leaderboard?mode=2&country=is",
        "/get_leaderboard?mode=2&sort=tscore&country=is",
        f"/get_map_scores?id={RANKED}&scope=best&mode=2",
        f"/get_map_scores?id={RANKED}&scope=recent&mode=2",
        f"/get_map_scores?id={RANKED}&scope=best&mode=2&mods=~0",
        "/get_clan?id=7",
        "/v2/clans/7/members",
        "/v2/players?country=is",
        "/v2/leaderboards/2?country=is",
        f"/v2/scores?mode=2&user_id={me}",
        f"/v2/players?ids={me}",
        "/v2/players/search?q=restricted",
        f"/v2/maps/{RANKED}/scores?mode=2",
        f"/v2/scores?mode=2&user_id={me}&include=player",
    ]

    def rank(user_id: int, key: str | None = None) -> tuple[int, int]:
        stats = server.get(f"/get_player_info?id={user_id}&scope=stats", key=key).json["player"]["stats"]["2"]
        return stats["rank"], stats["country_rank"]

    eventually(lambda: rank(below) == (2, 2))
    server.cli("users", "restrict", "Restricted Me", "--reason", "a test")
    eventually(lambda: rank(below) == (1, 1))
    hidden = {path: server.get(path) for path in (*public, *lists)}
    as_other = {path: server.get(path, key=others_key) for path in public}
    as_self = {path: server.get(path, key=key).status for path in public if "status" not in path}
    as_staff = {path: server.get(path, key=staff_key).status for path in public if "status" not in path}
    unknown = {path: server.get(_for_unknown_player(path, me)) for path in public}
    picture_hidden = world.avatar(me)
    mine = world.info(me, key)
    server.cli("users", "unrestrict", "Restricted Me")
    eventually(lambda: rank(me) == (1, 1) and rank(below) == (2, 2))
    back = {path: server.get(path) for path in (*public, *lists)}

    for path in public:
        assert hidden[path].status == 404
        assert comparable(hidden[path]) == comparable(unknown[path]) == comparable(as_other[path]), path
    for path in lists:
        assert f'"{me}"'.encode() not in hidden[path].body
        assert b"Restricted" not in hidden[path].body
        assert f":{me},".encode() not in hidden[path].body.replace(b'"owner":', b""), path
    assert hidden["/v2/leaderboards/2?country=is"].json["meta"]["total"] == 1
    assert picture_hidden == world.avatar(NOBODY)
    assert mine["name"] == "Restricted Me"
    assert set(as_self.values()) == set(as_staff.values()) == {200}
    for path in (*public, *lists):
        assert back[path].status == (404 if path.endswith(f"{me}/status") else 200), path
    for path in lists:
        assert str(me).encode() in back[path].body, path
    assert world.avatar(me) != world.avatar(NOBODY)


def _for_unknown_player(path: str, user_id: int) -> str:
    """Return the same path for a player, or a score, that does not exist."""
    return (
        path.replace(f"id={7_000 + user_id}", "id=7999999")
        .replace(f"scores/{7_000 + user_id}", "scores/7999999")
        .replace(f"id={user_id}", f"id={NOBODY}")
        .replace(f"players/{user_id}", f"players/{NOBODY}")
        .replace("Restricted+Me", "Never+Was")
        .replace("restricted_me", "never_was")
    )


def test_no_request_of_these_tests_caused_a_server_error(world: World) -> None:
    assert '"unhandled"' not in world.server.stderr
    assert world.server.get("/readyz", host="localhost").status == 200
