"""Registration, star ratings, reports, fixed answers and pictures."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import httpx
import pytest
from PIL import Image
from sqlalchemy import select
from tests.builders import PASSWORD, FakeResult, Run, World, a_map, a_player
from tests.decoders import DECODER
from tests.entry.kit import Entry
from tests.faces.client.kit import PASSWORD_MD5, Site, a_gateway, sqlite_world
from tests.osu.test_mp3 import mp3_of

from kiai.beatmaps.pictures import MapPictures
from kiai.chat.mail import Mail
from kiai.faces.client.client_signals import ReportEndpoints
from kiai.faces.client.friends import FriendEndpoints
from kiai.faces.client.map_pictures import MapPictureEndpoints
from kiai.faces.client.medal_pictures import MedalPictureEndpoints
from kiai.faces.client.registration import RegistrationEndpoints
from kiai.faces.client.stars import StarEndpoints
from kiai.faces.client.static_endpoints import StaticEndpoints
from kiai.osu.names import password_md5
from kiai.scores.flags import Flags
from kiai.scores.medals import MEDALS
from kiai.scores.performance import CannotCalculate, Difficulties
from kiai.server_settings import RegistrationState
from kiai.storage.tables import integrity_flags, users


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as world:
        world.add_player(a_player(password=PASSWORD))
        yield world


class FakeDifficulties:
    """Difficulties whose stars encode the requested mode and mods."""

    async def of(self, map_key: int, md5: str, mode: int, mods: int) -> FakeResult:
        if mods == 1024:
            raise CannotCalculate("too slow")
        return FakeResult(0.0, stars=mode + mods / 100)


def an_entry(world: World, registration: str) -> Entry:
    return Entry(world.database, world.run, world.folder, None, registration=registration)


def a_site(world: World, *, limited: bool = False, entry: Entry | None = None) -> Site:
    gateway = a_gateway(world, limited=limited)
    entry = entry or an_entry(world, "on")

    async def channel_of(match_id: int) -> int:
        return match_id if match_id == 7 else 0

    return Site(
        world,
        [
            RegistrationEndpoints(entry.services.registration, "https://kiai.example/register"),
            StarEndpoints(world.beatmaps, cast(Difficulties, FakeDifficulties())),
            ReportEndpoints(Flags(world.database, world.clock), world.realtime),
            MapPictureEndpoints(MapPictures(world.database, world.files, DECODER), "https://b.example.org/"),
            MedalPictureEndpoints([medal.file for medal in MEDALS]),
            FriendEndpoints(world.accounts, world.relationships, Mail(world.database, world.clock)),
            StaticEndpoints(
                seasonal=("https://example.org/winter.jpg",),
                menu=lambda: ("https://example.org/menu.png", "https://example.org"),
                channel_of=channel_of,
            ),
        ],
        gateway=gateway,
    )


@pytest.fixture
def site(world: World) -> Site:
    return a_site(world)


# --- accounts


def a_form(**changed: str) -> dict[str, str]:
    given = {"username": "Newcomer", "user_email": "new@example.org", "password": "correct horse 8"} | changed
    return {f"user[{name}]": value for name, value in given.items()}


def faults(reply: httpx.Response) -> dict[str, list[str]]:
    assert reply.status_code == 400
    found: dict[str, list[str]] = reply.json()["form_error"]["user"]
    return found


def test_registration_creates_an_account(world: World, site: Site) -> None:
    reply = site.post("/users", a_form() | {"check": "0"})

    assert (reply.status_code, reply.text) == (200, "ok")
    made = world.run(world.accounts.account("newcomer"))
    assert (made.name, made.email, made.country, made.priv) == ("Newcomer", "new@example.org", "xx", 1)
    assert world.run(world.accounts.authenticate("newcomer", password_md5("correct horse 8"))).id == made.id


@pytest.mark.parametrize("check", [{"check": "1"}, {}])
def test_check_of_the_form_creates_no_account(world: World, site: Site, check: dict[str, str]) -> None:
    assert site.post("/users", a_form() | check).text == "ok"
    assert len(world.look(select(users.c.id))) == 2


def test_registration_reports_the_errors_of_all_fields(site: Site) -> None:
    wrong = faults(site.post("/users", a_form(username="_x y", user_email="nobody", password="short")))

    assert set(wrong) == {"username", "user_email", "password"}
    assert all(len(texts) == 1 and texts[0] for texts in wrong.values())


def test_taken_name_is_found_by_its_safe_form(world: World, site: Site) -> None:
    world.add_player(a_player("two words"))

    assert set(faults(site.post("/users", a_form(username="Two_Words")))) == {"username"}
    assert set(faults(site.post("/users", a_form(user_email="ALICE@example.org")))) == {"user_email"}


@pytest.mark.parametrize("field", ["username", "user_email", "password"])
def test_empty_field_is_400(site: Site, field: str) -> None:
    reply = site.post("/users", a_form(**{field: ""}))

    assert (reply.status_code, reply.headers["content-type"]) == (400, "text/plain; charset=utf-8")


@pytest.mark.parametrize(("state", "text"), [("off", "disabled"), ("invite", "https://kiai.example/register")])
def test_closed_registration_is_reported_under_the_password_field(world: World, state: str, text: str) -> None:
    found = faults(a_site(world, entry=an_entry(world, state)).post("/users", a_form() | {"check": "0"}))

    assert set(found) == {"password"}
    assert text in found["password"][0]


@pytest.mark.parametrize(("state", "text"), [("off", "disabled"), ("invite", "https://kiai.example/register")])
def test_registration_that_is_switched_during_the_request_is_reported_in_the_same_way(
    world: World, monkeypatch: pytest.MonkeyPatch, state: RegistrationState, text: str
) -> None:
    entry = an_entry(world, "on")
    entry.switch_after_check(state, monkeypatch)

    found = faults(a_site(world, entry=entry).post("/users", a_form() | {"check": "0"}))

    assert set(found) == {"password"}
    assert text in found["password"][0]
    assert len(world.look(select(users.c.id))) == 2


def test_address_can_register_three_accounts_a_day(world: World) -> None:
    site = a_site(world, limited=True)
    for number in range(3):
        form = a_form(username=f"new {number}", user_email=f"n{number}@example.org") | {"check": "0"}
        assert site.post("/users", form).text == "ok"

    fourth = a_form(username="new 4", user_email="n4@example.org") | {"check": "0"}
    assert site.post("/users", fourth).status_code == 429
    site.address = "192.0.2.99"
    assert site.post("/users", fourth).text == "ok"


# --- stars


def rated(site: Site, **body: Any) -> httpx.Response:
    return site.post("/difficulty-rating", json={"beatmap_id": 1, "ruleset_id": 0, "mods": []} | body)


def test_star_rating_depends_on_mods(world: World, site: Site) -> None:
    world.add_map(a_map(1))

    assert rated(site).text == "0.0000"
    assert rated(site, mods=[{"acronym": "HD"}, {"acronym": "HR"}]).text == "0.2400"
    assert rated(site, mods=[{"acronym": "CL"}, {"acronym": "HD"}]).text == "0.0800", "other clients' mods"
    assert rated(site, ruleset_id=2).text == "2.0000"


def test_star_rating_of_an_unknown_map_or_mode_is_404(world: World, site: Site) -> None:
    world.add_map(a_map(1))
    world.add_map(a_map(2, mode=1))

    for body in (
        {"beatmap_id": 9},
        {"beatmap_id": -1},
        {"beatmap_id": 2**40},
        {"ruleset_id": 4},
        {"beatmap_id": 2, "ruleset_id": 0},
        {"mods": [{"acronym": "FL"}]},
        {"mods": [{"acronym": "HD"}] * 40},
    ):
        reply = rated(site, **body)
        assert (reply.status_code, reply.content) == (404, b""), body


@pytest.mark.parametrize("content", [b"", b"x", b"[1]", b'{"beatmap_id": "1"}', b"[" * 5_000, b"\xff"])
def test_malformed_star_rating_request_is_400(site: Site, content: bytes) -> None:
    assert site.post("/difficulty-rating", content=content).status_code in (400, 413)


# --- reports


def last_fm(site: Site, flags: str) -> bytes:
    return site.get("/web/lastfm.php", us="alice", ha=PASSWORD_MD5, b=flags, action="np").content


def test_client_flags_become_one_flag_an_hour(world: World, site: Site) -> None:
    site.online(3)

    for _ in range(3):
        assert last_fm(site, "a24") == b"-3"
    assert last_fm(site, "a4") == b"-3"
    assert last_fm(site, "129891") == b"-3"
    assert last_fm(site, "anything") == b"-3"

    rows = world.look(select(integrity_flags.c.kind, integrity_flags.c.details))
    assert rows == [("lastfm", "24: several clients, checksum failure")]


def test_crash_is_logged_without_the_player(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    form = {"u": "alice", "p": "canary-password", "exception": "NullReference", "config": "canary-config", "ram": "1"}

    assert (site.post("/web/osu-error.php", form).status_code, site.post("/web/osu-session.php", form).text) == (
        200,
        "",
    )
    assert "canary" not in "".join(capsys.readouterr())


def test_crashes_above_the_limit_are_dropped_without_an_error(world: World) -> None:
    site = a_site(world, limited=True)

    assert {site.post("/web/osu-error.php", {"exception": "x"}).status_code for _ in range(10)} == {200}


# --- fixed answers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/web/bancho_connect.php?v=b2026&u=x&h=y&fail=z", b""),
        ("/web/bancho-connect.php", b""),
        ("/web/check-updates.php?action=check&stream=stable40", b"[]"),
        ("/web/check-updates.php?action=put", b"nope"),
        ("/web/osu-getseasonal.php", b'["https://example.org/winter.jpg"]'),
        ("/web/osu-checktweets.php", b""),
        ("/web/osu-gethashes.php?s=1", b"0"),
        ("/release/update.php", b"0"),
        ("/release/filter.txt", b""),
        ("/web/osu-osz2-bmsubmit-getid.php", b"5\nBeatmap submission is disabled on this server."),
        ("/web/osu-get-beatmap-topic.php", b"1\n"),
        (f"/web/osu-getchannelid.php?u=alice&h={PASSWORD_MD5}&mp=7", b"7"),
        (f"/web/osu-getchannelid.php?u=alice&h={PASSWORD_MD5}&mp=8", b"0"),
        (f"/web/osu-login.php?username=alice&password={PASSWORD_MD5}", b"1"),
        ("/web/osu-login.php?username=alice&password=x", b"0"),
        (f"/web/osu-getfriends.php?u=alice&h={PASSWORD_MD5}", b"1"),
        (f"/web/osu-markasread.php?u=alice&h={PASSWORD_MD5}&channel=%23osu", b""),
        (f"/web/osu-markasread.php?u=alice&h={PASSWORD_MD5}&channel=nobody", b""),
    ],
)
def test_fixed_answer(site: Site, path: str, body: bytes) -> None:
    path, _, query = path.partition("?")

    reply = site.get(path, **dict(parse_qsl(query)))

    assert (reply.status_code, reply.content) == (200, body)


def test_menu_allows_cross_origin_requests(site: Site) -> None:
    reply = site.get("/menu-content.json")

    assert reply.json()["images"][0]["image"] == "https://example.org/menu.png"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert site.get("/web/osu-title-image.php", l=1).headers["location"] == "https://example.org"


@pytest.mark.parametrize("path", ["/web/osu-getuserinfo.php", "/web/x.php", "/web/../x", "/release/other"])
def test_unknown_path_is_404_with_an_empty_body(site: Site, path: str) -> None:
    reply = site.get(path)

    assert (reply.status_code, reply.content) == (404, b"")
    assert site.post(path).status_code == 404


def test_map_upload_is_refused_with_a_text_for_the_client(site: Site) -> None:
    assert site.post("/web/osu-osz2-bmsubmit-upload.php", {"u": "x"}).content.startswith(b"5\n")
    assert site.post("/web/osu-osz2-bmsubmit-post.php", {"u": "x"}).status_code == 403


# --- pictures


def an_archive(**files: bytes) -> bytes:
    song = a_map(1, set_id=7).data.replace(
        b"AudioFilename: audio.mp3", b"AudioFilename: audio.mp3\r\nPreviewTime: 5000"
    )
    song = song.replace(b"[TimingPoints]", b'[Events]\r\n0,0,"BG.png",0,0\r\n[TimingPoints]')
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.osu", song)
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return out.getvalue()


def a_picture(width: int = 640, height: int = 480) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 90)).save(out, "PNG")
    return out.getvalue()


def import_archive(world: World, archive: bytes) -> None:
    path = world.folder / "set.osz"
    path.write_bytes(archive)
    report = world.run(world.importer.import_paths([path]))
    assert report.maps == 1, report


def test_thumbnail_is_made_from_the_background(world: World, site: Site) -> None:
    import_archive(world, an_archive(bg_png=a_picture()))

    for name, size in (("7.jpg", (80, 60)), ("7l.jpg", (160, 120))):
        for folder in ("/thumb", "/mt", "/images/map-thumb"):
            reply = site.get(f"{folder}/{name}")
            assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
            with Image.open(io.BytesIO(reply.content)) as picture:
                assert (picture.format, picture.size) == ("JPEG", size)


def test_preview_is_ten_seconds_of_the_music(world: World, site: Site) -> None:
    music = mp3_of(seconds=30)
    import_archive(world, an_archive(audio_mp3=music))

    reply = site.get("/preview/7.mp3")

    assert (reply.status_code, reply.headers["content-type"]) == (200, "audio/mpeg")
    assert reply.content in music
    assert len(reply.content) == pytest.approx(len(music) / 3, rel=0.02)
    assert site.get("/mp3/preview/7.mp3").content == reply.content


@pytest.mark.parametrize(
    "archive",
    [
        an_archive(),
        an_archive(bg_png=b"<html>", audio_mp3=b"OggS" * 100),
        an_archive(bg_png=a_picture()[:200], audio_mp3=b""),
    ],
)
def test_missing_pictures_redirect_to_the_fallback_server(world: World, site: Site, archive: bytes) -> None:
    import_archive(world, archive)

    for path in ("/thumb/7l.jpg", "/preview/7.mp3"):
        reply = site.get(path)
        assert (reply.status_code, reply.headers["location"]) == (302, f"https://b.example.org{path}")


@pytest.mark.parametrize(
    "path", ["/thumb/x.jpg", "/thumb/7.png", "/thumb/7ll.jpg", "/preview/7.ogg", "/thumb/..%2f7.jpg"]
)
def test_invalid_picture_path_is_404(site: Site, path: str) -> None:
    assert site.get(path).status_code == 404


def test_pictures_of_own_sets_do_not_redirect(site: Site) -> None:
    assert site.get("/thumb/1000000001.jpg").status_code == 404


def test_every_medal_has_a_picture(site: Site) -> None:
    for medal in MEDALS[::9]:
        reply = site.get(f"/medals/client/{medal.file}.png")
        with Image.open(io.BytesIO(reply.content)) as picture:
            assert (picture.format, picture.size) == ("PNG", (100, 100))
    large = site.get(f"/medals/client/{MEDALS[0].file}@2x.png")
    with Image.open(io.BytesIO(large.content)) as picture:
        assert picture.size == (200, 200)
    assert site.get(f"/images/achievements/{MEDALS[0].file}@2x.png").content == large.content
    assert site.get("/medals/client/osu-skill-pass-11.png").status_code == 404
    assert site.get("/medals/client/..%2fx.png").status_code == 404


def test_json_answers_have_the_content_type_json(site: Site) -> None:
    assert site.get("/web/osu-getseasonal.php").headers["content-type"] == "application/json"
    assert json.loads(site.get("/web/check-updates.php").content) == []
