"""Ratings, favourites, comments, screenshots and map infos of the game's song list."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from PIL import Image
from sqlalchemy import select, update
from tests.builders import NORMAL, NOW_MS, SUPPORTER, Run, World, a_map, a_play
from tests.decoders import DECODER
from tests.faces.client.kit import PASSWORD_MD5, Site, a_gateway, sqlite_world

from kiai.beatmaps import Beatmap, MapStatus
from kiai.beatmaps.comments import Comments
from kiai.beatmaps.favourites import Favourites
from kiai.beatmaps.info import MapInfos
from kiai.beatmaps.ratings import Ratings
from kiai.faces.client.beatmap_info import BeatmapInfoEndpoints
from kiai.faces.client.comments import CommentEndpoints
from kiai.faces.client.favourites import FavouriteEndpoints
from kiai.faces.client.ratings import RatingEndpoints
from kiai.faces.client.screenshots import ScreenshotEndpoints
from kiai.ids import SystemIds
from kiai.osu.privileges import Privilege
from kiai.scores.grades import Grades
from kiai.screenshots import SIZE_MAX, Screenshots
from kiai.storage.tables import comments, ratings, screenshots, users

RESTRICTED: Final = int(Privilege.VERIFIED)
NAMES: Final = ("alice", "bob")
MOST: Final = 3


class Players(Site):
    """A site with requests of named players, who all have the same password."""

    def __init__(self, world: World, *, limited: bool = False, verifies_email: bool = False) -> None:
        gateway = a_gateway(world, limited=limited)
        super().__init__(
            world,
            [
                RatingEndpoints(world.beatmaps, Ratings(world.database, world.clock)),
                FavouriteEndpoints(Favourites(world.database, world.clock, MOST)),
                CommentEndpoints(
                    gateway,
                    Comments(world.database, world.clock),
                    world.beatmaps,
                    world.score_lookup,
                    world.realtime,
                    world.clock,
                    verifies_email=verifies_email,
                ),
                ScreenshotEndpoints(
                    gateway, Screenshots(world.database, world.files, DECODER, world.clock, SystemIds()), world.clock
                ),
                BeatmapInfoEndpoints(MapInfos(world.database), Grades(world.database)),
            ],
            gateway=gateway,
        )
        self.ids: dict[str, int] = {}

    def join(self, name: str, *, priv: int = NORMAL, online: bool = True) -> int:
        user_id = self.ids[name] = super().join(name, priv=priv, online=online)
        return user_id

    def rate(self, name: str, md5: str, **query: Any) -> str:
        answer = self.get("/web/osu-rate.php", u=name, p=PASSWORD_MD5, c=md5, **query)
        assert answer.status_code == 200
        return answer.text

    def add_favourite(self, name: str, set_id: object) -> httpx.Response:
        return self.get("/web/osu-addfavourite.php", u=name, h=PASSWORD_MD5, a=set_id)

    def favourites(self, name: str) -> str:
        return self.get("/web/osu-getfavourites.php", u=name, h=PASSWORD_MD5).text

    def comment(self, name: str, **fields: Any) -> httpx.Response:
        """Post a comment on map 1 at 1000 ms. `fields` override fields of the form."""
        form = {"u": name, "p": PASSWORD_MD5, "a": "post", "b": 1, "s": 1, "r": 0, "m": 0}
        form |= {"target": "map", "starttime": 1000, "comment": "hello"}
        return self.post("/web/osu-comment.php", {k: v for k, v in (form | fields).items() if v is not None})

    def comments(self, name: str, *, b: object = 1, s: object = 1, r: object = 0) -> list[str]:
        form = {"u": name, "p": PASSWORD_MD5, "a": "get", "b": b, "s": s, "r": r, "m": 0}
        answer = self.post("/web/osu-comment.php", form)
        assert answer.status_code == 200
        return answer.text.splitlines()

    def screenshot(self, name: str, picture: bytes, password_md5: str = PASSWORD_MD5) -> httpx.Response:
        form = {"u": name, "p": password_md5, "v": 1}
        return self.post("/web/osu-screenshot.php", form, files={"ss": ("ss", picture)})

    def info(self, name: str, **options: Any) -> httpx.Response:
        return self.post("/web/osu-getbeatmapinfo.php", query={"u": name, "h": PASSWORD_MD5}, **options)

    def change(self, name: str, **values: Any) -> None:
        self.world.change(update(users).where(users.c.id == self.ids[name]).values(**values))


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as opened:
        yield opened


@pytest.fixture
def site(world: World) -> Players:
    opened = Players(world)
    for name in NAMES:
        opened.join(name)
    return opened


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map(1))


def a_picture(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (250, 90, 150)).save(out, kind)
    return out.getvalue()


# --- osu-rate.php


def test_player_can_rate_a_map_once(site: Players, song: Beatmap) -> None:
    before = site.rate("alice", song.md5)
    voted = site.rate("alice", song.md5, v=10)
    after = site.rate("alice", song.md5)
    again = site.rate("alice", song.md5, v=1)

    assert (before, voted, after, again) == ("ok", *["alreadyvoted\n10.00"] * 3)


def test_average_has_two_decimals(site: Players, song: Beatmap) -> None:
    site.join("carol")

    answers = [site.rate(name, song.md5, v=vote) for name, vote in (("alice", 10), ("bob", 9), ("carol", 9))]

    assert answers == ["alreadyvoted\n10.00", "alreadyvoted\n9.50", "alreadyvoted\n9.33"]


@pytest.mark.parametrize("vote", ["0", "11", "NaN", "", "-1", "5.5", "٥", "1_0", "9" * 30])
def test_vote_out_of_range_gets_the_answer_no(site: Players, song: Beatmap, vote: str) -> None:
    assert site.rate("alice", song.md5, v=vote) == "no"
    assert site.rate("alice", song.md5) == "ok"


@pytest.mark.parametrize("md5", ["0" * 32, "", "x", "A" * 32, "0" * 5000])
def test_vote_for_an_unknown_map_is_refused(site: Players, md5: str) -> None:
    assert site.rate("alice", md5, v=5) == "no exist"


def test_unranked_map_cannot_be_rated(site: Players, world: World) -> None:
    pending = world.add_map(a_map(1), MapStatus.PENDING)
    loved = world.add_map(a_map(2, title="Loved"), MapStatus.LOVED)

    assert site.rate("alice", pending.md5, v=5) == "not ranked"
    assert site.rate("alice", loved.md5) == "ok"


def test_mapper_cannot_rate_their_own_map(site: Players, song: Beatmap) -> None:
    site.join("mapper")  # the builder's maps are by "Mapper"

    assert site.rate("mapper", song.md5) == "owner"
    assert site.rate("mapper", song.md5, v=10) == "owner"


def test_wrong_password_is_reported_in_the_body(site: Players, song: Beatmap) -> None:
    answer = site.get("/web/osu-rate.php", u="alice", p="0" * 32, c=song.md5)

    assert (answer.status_code, answer.text) == (200, "auth fail")


def test_offline_player_cannot_vote(site: Players, world: World, song: Beatmap) -> None:
    site.join("away", online=False)

    assert site.rate("away", song.md5, v=5) == "auth fail"
    assert world.look(select(ratings)) == []


def test_vote_of_a_restricted_player_is_not_counted(site: Players, song: Beatmap) -> None:
    site.join("hidden", priv=RESTRICTED)
    site.rate("alice", song.md5, v=8)

    assert site.rate("hidden", song.md5, v=1) == "alreadyvoted\n8.00"
    assert site.rate("hidden", song.md5) == "alreadyvoted\n8.00"


# --- favourites


def test_favourites_are_counted_and_listed_newest_first(site: Players, world: World) -> None:
    for set_id in (4, 9):
        world.add_map(a_map(set_id, title=f"Song {set_id}"))
        added = site.add_favourite("alice", set_id)
        world.clock.advance(1)

    assert (added.status_code, added.text) == (200, "Added to your favourites! You now have 2.")
    assert site.favourites("alice") == "9\n4"
    assert site.favourites("bob") == ""


def test_second_favourite_of_a_set_has_its_own_answer(site: Players, song: Beatmap) -> None:
    first, second = site.add_favourite("alice", song.set_id), site.add_favourite("alice", song.set_id)

    assert second.status_code == 200
    assert second.text
    assert second.text != first.text
    assert site.favourites("alice") == str(song.set_id)


def test_favourite_above_the_limit_is_refused_with_a_text(site: Players, world: World) -> None:
    for set_id in range(1, MOST + 2):
        world.add_map(a_map(set_id, title=f"Song {set_id}"))
        last = site.add_favourite("alice", set_id)

    assert last.status_code == 200
    assert f"at most {MOST}" in last.text
    assert len(site.favourites("alice").splitlines()) == MOST


@pytest.mark.parametrize("set_id", ["-1", "0", "99", "", "x", "1e3", str(2**40), "9" * 40])
def test_favourite_of_an_unknown_set_is_404(site: Players, song: Beatmap, set_id: str) -> None:
    answer = site.add_favourite("alice", set_id)

    assert (answer.status_code, answer.content) == (404, b"")


def test_favourites_require_the_password(site: Players, song: Beatmap) -> None:
    for path in ("/web/osu-addfavourite.php", "/web/osu-getfavourites.php"):
        assert site.get(path, u="alice", h="0" * 32, a=1).status_code == 401


# --- comments


def test_comments_are_listed_by_time_with_their_target(site: Players, world: World, song: Beatmap) -> None:
    score_id = world.record(a_play(by=site.ids["bob"], on=song)).score_id

    posted = [
        site.comment("alice", target="replay", r=score_id, starttime=300, comment="nice"),
        site.comment("alice", target="song", starttime=-20, comment="love it"),
        site.comment("alice", target="map", starttime=100, comment="hard"),
    ]

    assert [(one.status_code, one.content) for one in posted] == [(200, b"")] * 3
    assert site.comments("bob", r=score_id) == ["-20\tsong\t\tlove it", "100\tmap\t\thard", "300\treplay\t\tnice"]
    assert site.comments("bob") == ["-20\tsong\t\tlove it", "100\tmap\t\thard"]
    assert site.comments("bob", b=7, s=7, r=7) == []


def test_kind_of_a_comment_describes_its_author(site: Players, world: World, song: Beatmap) -> None:
    site.join("mapper", priv=SUPPORTER)
    site.join("nominator", priv=SUPPORTER | int(Privilege.NOMINATOR))
    site.join("supporter", priv=SUPPORTER)
    score_id = world.record(a_play(by=site.ids["supporter"], on=song)).score_id
    for time, name in enumerate(("mapper", "nominator", "supporter", "alice")):
        site.comment(name, starttime=time, comment=name)

    classes = ["0\tmap\tcreator\tmapper", "1\tmap\tbat\tnominator", "2\tmap\tsubscriber\tsupporter", "3\tmap\t\talice"]

    assert site.comments("bob") == classes
    assert site.comments("bob", r=score_id)[2] == "2\tmap\tplayer\tsupporter"


def test_only_supporters_can_choose_a_colour(site: Players, song: Beatmap) -> None:
    site.join("supporter", priv=SUPPORTER)
    site.comment("supporter", f="ff00aa", comment="pink")
    site.comment("supporter", f="<script>", comment="plain")
    site.comment("alice", f="ff00aa", comment="poor")

    assert site.comments("bob") == [
        "1000\tmap\tsubscriber|FF00AA\tpink",
        "1000\tmap\tsubscriber\tplain",
        "1000\tmap\t\tpoor",
    ]


def test_text_of_a_comment_cannot_add_a_line_or_field(site: Players, song: Beatmap) -> None:
    site.comment("alice", comment="a\tb\r\nc|d\x00e ünï")

    assert site.comments("bob") == ["1000\tmap\t\tabcde ünï"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": "delete"},
        {"a": None},
        {"comment": None},
        {"comment": ""},
        {"comment": "\t|"},
        {"comment": "x" * 81},
        {"target": None},
        {"target": "user"},
        {"starttime": None},
        {"starttime": "soon"},
        {"starttime": "1e3"},
        {"starttime": 10**17},
    ],
)
def test_invalid_comment_is_400(site: Players, world: World, song: Beatmap, wrong: dict[str, Any]) -> None:
    answer = site.comment("alice", **wrong)

    assert (answer.status_code, answer.content) == (400, b"")
    assert world.look(select(comments.c.id)) == []


@pytest.mark.parametrize(
    "missing", [{"b": 99}, {"b": None}, {"target": "song", "s": 99}, {"target": "replay", "r": 99}, {"b": 10**17}]
)
def test_comment_on_an_unknown_target_is_404(
    site: Players, world: World, song: Beatmap, missing: dict[str, Any]
) -> None:
    assert site.comment("alice", **missing).status_code == 404
    assert world.look(select(comments.c.id)) == []


def test_comments_of_silenced_and_restricted_players_are_not_stored(site: Players, world: World, song: Beatmap) -> None:
    site.join("hidden", priv=RESTRICTED)
    site.change("alice", silenced_until_ms=NOW_MS + 1)

    assert site.comment("alice").status_code == site.comment("hidden").status_code == 200
    assert world.look(select(comments.c.id)) == []


def test_comment_needs_a_confirmed_address_where_the_operator_asks_for_it(world: World, song: Beatmap) -> None:
    site = Players(world, verifies_email=True)
    site.join("alice")
    site.comment("alice")
    assert world.look(select(comments.c.id)) == []

    site.change("alice", email_verified_at_ms=NOW_MS)
    site.comment("alice")
    assert len(world.look(select(comments.c.id))) == 1


def test_comments_of_a_player_restricted_later_are_visible_only_to_that_player(site: Players, song: Beatmap) -> None:
    site.comment("alice")
    site.change("alice", priv=RESTRICTED)

    assert site.comments("bob") == []
    assert site.comments("alice") == ["1000\tmap\t\thello"]


def test_comment_on_a_hidden_replay_is_404(site: Players, world: World, song: Beatmap) -> None:
    score_id = world.record(a_play(by=site.ids["bob"], on=song)).score_id
    site.comment("alice", target="replay", r=score_id)
    site.change("bob", priv=RESTRICTED)

    assert site.comment("alice", target="replay", r=score_id).status_code == 404
    assert site.comments("alice", r=score_id) == []
    assert site.comments("bob", r=score_id) == ["1000\treplay\t\thello"]


def test_only_writing_a_comment_requires_a_session(site: Players, song: Beatmap) -> None:
    site.join("away", online=False)
    site.comment("alice")

    assert site.comment("away").status_code == 401
    assert site.comments("away") == ["1000\tmap\t\thello"]


def test_comments_are_limited_to_one_in_five_seconds_but_reading_is_not(world: World, song: Beatmap) -> None:
    site = Players(world, limited=True)
    site.join("alice")

    statuses = [site.comment("alice").status_code, site.comment("alice").status_code]
    read = [len(site.comments("alice")) for _ in range(5)]
    world.clock.advance(5)
    statuses.append(site.comment("alice").status_code)

    assert statuses == [200, 429, 200]
    assert read == [1] * 5


# --- screenshots


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_screenshot_is_served_under_the_returned_name(site: Players, kind: str) -> None:
    name = site.screenshot("alice", a_picture(kind.upper())).text
    reply = site.get(f"/ss/{name}")

    assert len(name) == len("12345678.") + len(kind)
    assert name.endswith(f".{kind}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, f"image/{kind}")
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert (picture.format, picture.size) == (kind.upper(), (64, 48))


def test_jpg_is_an_alias_of_jpeg_but_not_of_png(site: Players) -> None:
    stem = site.screenshot("alice", a_picture("JPEG")).text.removesuffix(".jpeg")

    assert site.get(f"/ss/{stem}.jpg").content == site.get(f"/ss/{stem}.jpeg").content != b""
    assert site.get(f"/ss/{stem}.png").status_code == 404


def test_credentials_can_be_in_the_query(site: Players) -> None:
    query = {"u": "alice", "p": PASSWORD_MD5, "v": 1}
    answer = site.post("/web/osu-screenshot.php", query=query, files={"ss": ("png", a_picture(), "image/png")})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"<svg/>", b"PK\x03\x04", a_picture() + b"<script>", a_picture()[:-20], b"\xff\xd8\xff\xff\xd9"],
)
def test_invalid_picture_is_400_with_the_reason(site: Players, world: World, data: bytes) -> None:
    answer = site.screenshot("alice", data)

    assert answer.status_code == 400
    assert answer.text.startswith("The screenshot must be ")
    assert world.look(select(screenshots.c.id)) == []


def test_missing_picture_is_400(site: Players) -> None:
    answer = site.post("/web/osu-screenshot.php", {"u": "alice", "p": PASSWORD_MD5})

    assert answer.status_code == 400


def test_picture_above_4_mib_is_413(site: Players, world: World) -> None:
    assert site.screenshot("alice", b"x" * (SIZE_MAX + 1)).status_code == 413
    assert site.screenshot("alice", b"x" * SIZE_MAX).status_code == 400
    assert world.look(select(screenshots.c.id)) == []


def test_screenshot_requires_password_session_and_no_silence(site: Players, world: World) -> None:
    site.join("away", online=False)
    site.change("bob", silenced_until_ms=NOW_MS + 1)

    wrong = site.screenshot("alice", a_picture(), "0" * 32)

    assert wrong.status_code == site.screenshot("away", a_picture()).status_code == 401
    assert site.screenshot("bob", a_picture()).status_code == 400
    assert world.look(select(screenshots.c.id)) == []


def test_screenshots_are_limited_to_one_in_ten_seconds(world: World) -> None:
    site = Players(world, limited=True)
    site.join("alice")

    statuses = [site.screenshot("alice", a_picture()).status_code for _ in range(2)]
    world.clock.advance(10)
    statuses.append(site.screenshot("alice", a_picture()).status_code)

    assert statuses == [200, 429, 200]


@pytest.mark.parametrize(
    "path",
    [
        "/ss/../../x",
        "/ss/aaaaaaaa.html",
        "/ss/aaaaaaaaa.png",
        "/ss/aaaaaaa.png",
        "/ss/%2e%2e%2faaaa.png",
        "/ss/aaaaaaaa.png%0a",
        "/ss/aaaaaaaa.png%00",
        "/ss/aaaaaaaa",
        "/ss/aaaaaaaa.png",
        "/ss/aaaaaaaa.png/x",
        "/ss/%c3%a9aaaaaaa.png",
        "/ss/",
    ],
)
def test_unknown_screenshot_is_404(site: Players, path: str) -> None:
    answer = site.get(path)

    assert (answer.status_code, answer.content) == (404, b"")


# --- osu-getbeatmapinfo.php


def line(index: int, beatmap: Beatmap, status: int, grades: str = "N|N|N|N") -> str:
    return f"{index}|{beatmap.id}|{beatmap.set_id}|{beatmap.md5}|{status}|{grades}"


def test_map_infos_are_found_by_file_name_and_by_id(site: Players, world: World) -> None:
    one, two, three = (world.add_map(a_map(n, set_id=50, version=f"V{n}")) for n in (1, 2, 3))

    answer = site.info("alice", json={"Filenames": ["unknown.osu", two.filename, one.filename], "Ids": [3, 99]})

    assert answer.status_code == 200
    assert answer.text.split("\n") == [line(1, two, 1), line(2, one, 1), line(-1, three, 1)]


def test_file_names_match_by_exact_text_then_regardless_of_case(site: Players, world: World) -> None:
    lower = world.add_map(a_map(1, title="song"))
    upper = world.add_map(a_map(2, title="SONG"))

    answer = site.info("alice", json={"Filenames": [upper.filename, lower.filename, lower.filename.upper()]})

    assert answer.text.split("\n") == [line(0, upper, 1), line(1, lower, 1), line(2, lower, 1)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (MapStatus.PENDING, 0),
        (MapStatus.RANKED, 1),
        (MapStatus.APPROVED, 2),
        (MapStatus.QUALIFIED, 3),
        (MapStatus.LOVED, 4),
    ],
)
def test_status_has_the_number_of_the_official_api(
    site: Players, world: World, status: MapStatus, expected: int
) -> None:
    beatmap = world.add_map(a_map(1), status)

    assert site.info("alice", json={"Ids": [1]}).text == line(-1, beatmap, expected)


def test_grades_are_the_best_of_the_player_in_each_mode(site: Players, world: World, song: Beatmap) -> None:
    alice, bob = site.ids["alice"], site.ids["bob"]
    world.record(a_play(by=alice, on=song, score=500_000, grade_="A"))
    world.record(a_play(by=alice, on=song, score=900_000, grade_="XH", mods=8))
    world.record(a_play(by=alice, on=song, score=950_000, grade_="F", passed=False))
    world.record(a_play(by=alice, on=song, score=990_000, grade_="B", mods=128))  # relax has a mode of its own
    world.record(a_play(by=bob, on=song, score=800_000, grade_="S"))

    answers = [site.info(name, json={"Ids": [song.id]}).text for name in NAMES]

    assert answers == [line(-1, song, 1, "XH|N|N|N"), line(-1, song, 1, "S|N|N|N")]


def test_grades_of_other_modes_have_their_own_fields(site: Players, world: World) -> None:
    maps = [world.add_map(a_map(mode + 1, mode=mode, title=f"Mode {mode}")) for mode in (1, 2, 3)]
    for one, grade in zip(maps, "ABC", strict=True):
        world.record(a_play(by=site.ids["alice"], on=one, grade_=grade))

    answer = site.info("alice", json={"Ids": [one.id for one in maps]})

    assert [text.split("|", 5)[5] for text in answer.text.split("\n")] == ["N|A|N|N", "N|N|B|N", "N|N|N|C"]


def test_more_than_100_maps_get_an_empty_answer(site: Players, world: World) -> None:
    maps = [world.add_map(a_map(n, set_id=1, objects=3, version=f"V{n}")) for n in range(1, 61)]
    names = [one.filename for one in maps]

    assert len(site.info("alice", json={"Filenames": names, "Ids": list(range(1, 41))}).text.split("\n")) == 100
    too_many = site.info("alice", json={"Filenames": names, "Ids": list(range(1, 42))})
    assert (too_many.status_code, too_many.content) == (200, b"")


@pytest.mark.parametrize("content", [b"{}", b'{"Filenames":[],"Ids":[]}', b'{"Filenames":null,"Ids":null,"More":1}'])
def test_empty_request_gets_an_empty_answer(site: Players, content: bytes) -> None:
    answer = site.info("alice", content=content)

    assert (answer.status_code, answer.content) == (200, b"")


def test_elements_of_a_wrong_type_are_skipped(site: Players, song: Beatmap) -> None:
    wanted = {
        "Filenames": [1, None, {}, ["x"], "\x00", "", "x" * 1000, song.filename],
        "Ids": [None, "1", True, 1.0, -1, 0, 2**31, 2**80, song.id],
    }

    answer = site.info("alice", json=wanted)

    assert answer.text.split("\n") == [line(7, song, 1), line(-1, song, 1)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"[]",
        b"null",
        b'{"Filenames":"a"}',
        b'{"Filenames":["\xff"]}',
        b'{"Filenames":["\\ud800"]}',
        b'{"Filenames":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"More":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    ],
)
def test_malformed_json_is_400(site: Players, content: bytes) -> None:
    answer = site.info("alice", content=content)

    assert (answer.status_code, answer.content) == (400, b"")


def test_body_above_256_kib_is_413(site: Players) -> None:
    assert site.info("alice", content=b" " * (256 * 1024 + 1)).status_code == 413


def test_map_infos_require_the_password(site: Players) -> None:
    answer = site.post("/web/osu-getbeatmapinfo.php", query={"u": "alice", "h": "0" * 32}, content=b"{}")

    assert (answer.status_code, answer.content) == (401, b"")
