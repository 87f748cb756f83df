"""osu!direct: search, lines of sets, downloads and .osu files, of the server's own sets and of a mirror."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.beatmaps import standin
from tests.beatmaps.standin import StandIn
from tests.beatmaps.test_mirrors import A_SET
from tests.builders import PASSWORD, NewMap, Run, World, a_map, a_player
from tests.faces.client.kit import PASSWORD_MD5, Site, sqlite_world

from kiai.beatmaps import MapStatus
from kiai.beatmaps.mirrors import Mirrors
from kiai.beatmaps.searching import MapSearch
from kiai.faces.client.direct import DirectEndpoints
from kiai.faces.client.osu_files import OsuFileEndpoints
from kiai.storage.tables import maps, sets


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as world:
        world.add_player(a_player(password=PASSWORD))
        yield world


@pytest.fixture
def mirror() -> Iterator[StandIn]:
    with standin.running() as found:
        yield found


def a_site(world: World, *urls: str) -> Site:
    mirrors = Mirrors(urls, world.clock, allow_private=True, total_s=0.4)
    direct = DirectEndpoints(world.beatmaps, MapSearch(world.database), mirrors, world.files)
    return Site(world, [direct, OsuFileEndpoints(world.beatmaps)])


@pytest.fixture
def site(world: World) -> Site:
    return a_site(world)


def search(site: Site, **query: Any) -> list[str]:
    asked = {"u": "alice", "h": PASSWORD_MD5, "r": 4, "q": "Newest", "m": -1, "p": 0}
    reply = site.get("/web/osu-search.php", **(asked | query))
    assert reply.status_code == 200
    return reply.text.split("\n")


def ids(lines: list[str]) -> list[str]:
    return [line.split("|")[7] for line in lines[1:]]


def an_archive(*files: NewMap, more: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for one in files:
            archive.writestr(f"{one.id}.osu", one.data)
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return out.getvalue()


def test_line_of_a_set_has_the_fields_of_the_protocol(world: World, site: Site) -> None:
    world.add_map(a_map(1, set_id=7, title="A|Song", version="Hard, very@hard", objects=120))
    world.add_map(a_map(2, set_id=7, title="A|Song", version="Easy", objects=20))
    world.change(update(sets).values(last_update_ms=1_400_427_708_000, has_video=1))
    world.change(update(maps).where(maps.c.id == 1).values(rating_sum=15, rating_count=2))

    count, line = search(site)

    assert count == "1"
    assert line == (
        "7.osz|Artist|AISong|Mapper|1|7.50|2014-05-18 15:41:48|7|0|1|0|0||"
        "[0.20⭐] Easy {cs: 4 / od: 8 / ar: 9 / hp: 5}@0,[1.20⭐] Hard  very hard {cs: 4 / od: 8 / ar: 9 / hp: 5}@0"
    )


def test_search_matches_words_in_every_field(world: World, site: Site) -> None:
    world.add_map(a_map(1, set_id=1, title="Freedom Dive", version="Four Dimensions"))
    world.add_map(a_map(2, set_id=2, title="Blue Zenith"))

    assert ids(search(site, q="freedom")) == ["1"]
    assert ids(search(site, q="DIVE artist")) == ["1"]
    assert ids(search(site, q="dimensions")) == ["1"], "the name of a difficulty"
    assert ids(search(site, q="zenith mapper")) == ["2"]
    assert search(site, q="nothing like it") == ["0"]


@pytest.mark.parametrize("text", ["%%", "__", "' --", "[.*]", "\\\\", "⭐⭐", "x" * 5_000])
def test_special_characters_of_sql_are_literal(world: World, site: Site, text: str) -> None:
    world.add_map(a_map(1))

    assert search(site, q=text) == ["0"]


def test_search_filters_by_status_and_mode(world: World, site: Site) -> None:
    for number, status in enumerate((MapStatus.RANKED, MapStatus.LOVED, MapStatus.PENDING, MapStatus.QUALIFIED), 1):
        world.add_map(a_map(number, set_id=number), status)
    world.add_map(a_map(5, set_id=5, mode=3))

    assert sorted(ids(search(site, r=0))) == ["1", "5"]
    assert ids(search(site, r=8)) == ["2"]
    assert ids(search(site, r=2)) == ["3"]
    assert ids(search(site, r=3)) == ["4"]
    assert len(ids(search(site, r=4))) == 5
    assert ids(search(site, m=3)) == ["5"]


def test_newest_top_rated_and_most_played_are_lists(world: World, site: Site) -> None:
    for number in (1, 2, 3):
        world.add_map(a_map(number, set_id=number))
        world.change(update(sets).where(sets.c.id == number).values(last_update_ms=number))
    world.change(update(maps).where(maps.c.id == 1).values(plays=100))
    world.change(update(maps).where(maps.c.id == 2).values(rating_sum=10, rating_count=1))

    assert ids(search(site, q="Newest")) == ["3", "2", "1"]
    assert ids(search(site, q="Most Played"))[0] == "1"
    assert ids(search(site, q="Top Rated"))[0] == "2"
    assert ids(search(site, q="Top+Rated"))[0] == "2"


def test_full_page_reports_that_more_sets_exist(world: World, site: Site) -> None:
    for number in range(1, 103):
        world.add_map(a_map(number, set_id=number, objects=2))

    first, second = search(site), search(site, p=1)

    assert (first[0], len(first)) == ("101", 101)
    assert (second[0], len(second)) == ("2", 3)
    assert not set(ids(first)) & set(ids(second))
    assert search(site, p=40) == ["0"]
    assert search(site, p=-1)[0] == "101"


def test_search_without_own_sets_uses_the_mirror(world: World, mirror: StandIn) -> None:
    site = a_site(world, mirror.url)
    mirror.sets = [A_SET]

    assert search(site, q="title", r=0) == [
        "1",
        "41.osz|Artist|Title|Mapper|1|0.00|2014-05-18 15:41:48|41|0|1|0|0||"
        "[5.40⭐] Hard {cs: 4 / od: 8.5 / ar: 9 / hp: 6}@0",
    ]
    world.add_map(a_map(1, title="Title of ours"))
    assert ids(search(site, q="title")) == ["1"], "own maps first"


def test_unreachable_mirror_is_an_error_text(world: World, mirror: StandIn) -> None:
    mirror.fault = "500"

    assert search(a_site(world, mirror.url), q="title") == ["-1", "Failed to reach the beatmap mirror."]


def test_set_is_found_by_set_id_map_id_or_md5(world: World, site: Site) -> None:
    song = a_map(5, set_id=7)
    world.add_map(song)

    def one(**query: Any) -> str:
        return site.get("/web/osu-search-set.php", u="alice", h=PASSWORD_MD5, **query).text

    assert one(s=7).startswith("7.osz|Artist|")
    assert one(s=7) == one(b=5) == one(c=song.md5)
    assert one(s=8) == one(b=6) == one(c="a" * 32) == one(s="x") == one() == ""


# --- downloads


def test_stored_archive_is_downloaded_whole_or_as_a_range(world: World, site: Site) -> None:
    archive = an_archive(a_map(1, set_id=7, title="Sóng"), more={"video.osb": b"x"})
    path = world.folder / "set.osz"
    path.write_bytes(archive)
    world.run(world.importer.import_paths([path]))

    whole = site.get("/d/7", u="alice", h="x", vv=2)
    part = site.ask("GET", "/d/7n", headers={"Range": "bytes=10-19"})
    rest = site.ask("GET", "/d/7", headers={"Range": f"bytes={len(archive) - 3}-"})
    beyond = site.ask("GET", "/d/7", headers={"Range": f"bytes={len(archive)}-"})

    assert (whole.status_code, whole.content) == (200, archive)
    assert whole.headers["content-type"] == "application/x-osu-beatmap-archive"
    assert whole.headers["content-length"] == str(len(archive))
    assert 'filename="7 Artist - S_ng.osz"' in whole.headers["content-disposition"]
    assert (part.status_code, part.content) == (206, archive[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(archive)}"
    assert rest.content == archive[-3:]
    assert beyond.status_code == 416
    line = search(site)[1].split("|")
    assert line[10:12] == ["1", str(len(archive))]


def test_download_of_a_missing_archive_redirects_to_the_mirror(world: World, mirror: StandIn) -> None:
    site = a_site(world, mirror.url)

    assert site.get("/d/123").headers["location"] == f"{mirror.url}/d/123"
    assert site.get("/d/123n").headers["location"] == f"{mirror.url}/d/123n"
    assert site.get("/d/123 Artist - Title.osz").headers["location"] == f"{mirror.url}/d/123"
    assert site.get("/d/123").status_code == 302


@pytest.mark.parametrize("name", ["abc", "1n2", "-1", "0", "99999999999", "1%0d%0aX:y", "..%2f1", "2000000000"])
def test_download_of_an_invalid_name_is_404(world: World, mirror: StandIn, name: str) -> None:
    reply = a_site(world, mirror.url).get(f"/d/{name}")

    assert reply.status_code == 404
    assert "location" not in reply.headers


def test_download_of_a_missing_archive_without_a_mirror_is_404(site: Site) -> None:
    assert site.get("/d/123").status_code == 404


# --- .osu files


def test_current_osu_file_is_found_by_name_id_or_md5(world: World, site: Site) -> None:
    old, new = a_map(5, objects=10), a_map(5, objects=20)
    world.add_map(old)
    found = world.add_map(new)

    for name in (found.filename, "5", old.md5, new.md5):
        for folder in ("/web/maps", "/osu"):
            reply = site.get(f"{folder}/{name}")
            assert (reply.status_code, reply.content) == (200, new.data), name
            assert reply.headers["content-type"] == "application/octet-stream"
            assert reply.headers["last-modified"].endswith("GMT")


@pytest.mark.parametrize("name", ["6", "a" * 32, "other.osu", "..", "kiai.db", "%00", "99999999999999", "x" * 300])
def test_unknown_osu_file_is_404(world: World, site: Site, name: str) -> None:
    world.add_map(a_map(5))

    assert site.get(f"/osu/{name}").status_code == 404


def test_older_builds_get_the_status_of_each_md5(world: World, site: Site) -> None:
    ranked, loved = world.add_map(a_map(5)), world.add_map(a_map(6), MapStatus.LOVED)

    reply = site.get("/web/osu-getstatus.php", c=f"{ranked.md5},x,{loved.md5},{hashlib.md5(b'').hexdigest()}")

    assert reply.text == f"{ranked.md5},1,5,5,0\n{loved.md5},0,6,6,0"
