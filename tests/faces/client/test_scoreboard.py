"""getscores: the status and board of a map in song select (docs/spec/web.md#boards-in-song-select)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.builders import PASSWORD, Run, World, a_map, a_play, a_player
from tests.faces.client.kit import PASSWORD_MD5, Site, a_gateway, sqlite_world

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.beatmaps import Beatmap, MapStatus
from kiai.faces.client.scoreboard import ScoreboardEndpoints
from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import HD, RX
from kiai.presence import Presence
from kiai.realtime.port import SessionStats
from kiai.scores.boards import PAGE_MAX, BoardLine, BoardRequest, Boards
from kiai.staff import OPERATOR
from kiai.storage.tables import clans, maps, users

NOW_S = 1_767_268_000
ALICE, BOB = 3, 4


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as world:
        for name in ("alice", "bob"):
            world.add_player(a_player(name, password=PASSWORD))
        yield world


@pytest.fixture
def site(world: World) -> Site:
    async def stats_of(user_id: int, mode: int) -> SessionStats:
        return SessionStats(pp=mode)

    presence = Presence(world.realtime, world.accounts, world.clock, lambda fact: [], stats_of)
    gateway = a_gateway(world, limited=False)
    return Site(
        world, [ScoreboardEndpoints(gateway, world.beatmaps, Boards(world.database), presence)], gateway=gateway
    )


def board(site: Site, md5: str, *, name: str = "bob", **query: Any) -> str:
    asked = {"us": name, "ha": PASSWORD_MD5, "s": 0, "vv": 4, "v": 1, "c": md5, "f": "", "m": 0, "i": -1, "mods": 0}
    reply = site.get("/web/osu-osz2-getscores.php", **(asked | query))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    return reply.text


def test_board_with_two_players(world: World, site: Site) -> None:
    song = world.add_map(a_map(315, set_id=141, objects=108, title="Vivid"))
    world.change(update(maps).where(maps.c.id == 315).values(artist="FAIRY FORE", rating_sum=17, rating_count=2))
    world.record(
        a_play(by=ALICE, on=song, score=90_000, combo=150, counts=HitCounts(100, 0, 0, 25, 0, 0), at_ms=NOW_S * 1_000)
    )
    stream = world.put_replay(b"frames")
    world.record(
        a_play(
            by=BOB,
            on=song,
            score=26_810,
            combo=52,
            mods=HD,
            counts=HitCounts(83, 14, 5, 23, 6, 6),
            at_ms=(NOW_S + 800) * 1_000,
            replay=stream,
        )
    )

    assert board(site, song.md5) == (
        "2|false|315|141|2|0|\n"
        "0\n"
        "[bold:0,size:20]FAIRY FORE|Vivid\n"
        "8.50\n"
        f"2|bob|26810|52|5|14|83|6|6|23|0|8|4|2|{NOW_S + 800}|1\n"
        f"1|alice|90000|150|0|0|100|0|0|25|0|0|3|1|{NOW_S}|0\n"
        f"2|bob|26810|52|5|14|83|6|6|23|0|8|4|2|{NOW_S + 800}|1"
    )


def test_board_without_scores_has_an_empty_best_and_no_lines(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))

    assert board(site, song.md5).split("\n")[3:] == ["0.0", "", ""]


def test_header_without_scores(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    world.record(a_play(by=BOB, on=song))

    assert board(site, song.md5, s=1).split("\n") == ["2|false|1|1|0|0|", "0", "[bold:0,size:20]Artist|Song", "0.0"]


@pytest.mark.parametrize(
    ("status", "first"),
    [(MapStatus.RANKED, "2"), (MapStatus.APPROVED, "3"), (MapStatus.QUALIFIED, "4"), (MapStatus.LOVED, "5")],
)
def test_status_in_the_header(world: World, site: Site, status: MapStatus, first: str) -> None:
    song = world.add_map(a_map(1), status)

    assert board(site, song.md5).partition("|")[0] == first


def test_map_without_a_board_has_only_its_status(world: World, site: Site) -> None:
    assert board(site, world.add_map(a_map(1), MapStatus.PENDING).md5) == "0|false"


def test_unknown_map_is_not_submitted(site: Site) -> None:
    assert board(site, "a" * 32) == "-1|false"


def test_old_revision_of_a_known_map_needs_an_update(world: World, site: Site) -> None:
    old = world.add_map(a_map(1, objects=10))
    new = world.add_map(a_map(1, objects=20))

    assert board(site, old.md5) == "1|false", "a revision that was replaced"
    assert board(site, "b" * 32, f=new.filename) == "1|false", "by its file name"
    assert board(site, "b" * 32, i=1) == "1|false", "by its set"
    assert board(site, "b" * 32, i=2, f="another.osu") == "-1|false"


@pytest.mark.parametrize("md5", ["a" * 31, "'" * 32, "A" * 32, "", "%00"])
def test_invalid_md5_is_an_unknown_map(site: Site, md5: str) -> None:
    assert board(site, md5) == "-1|false"


def test_invalid_numbers_count_as_their_defaults(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    world.record(a_play(by=BOB, on=song))

    assert board(site, song.md5, m=9, v=99, mods="abc", i=2**63) == board(site, song.md5)


def test_wrong_password_is_401(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))

    for query in ({}, {"us": "bob"}, {"us": "bob", "ha": "0" * 32}, {"us": "nobody", "ha": PASSWORD_MD5}):
        reply = site.get("/web/osu-osz2-getscores.php", c=song.md5, **query)
        assert (reply.status_code, reply.content) == (401, b"")


def test_name_that_is_encoded_twice_is_accepted(world: World, site: Site) -> None:
    world.add_player(a_player("bob the builder", password=PASSWORD))
    song = world.add_map(a_map(1))

    assert board(site, song.md5, name="bob%20the%20builder").startswith("2|false|")


def test_names_and_titles_cannot_add_a_line_or_field(world: World, site: Site) -> None:
    song = world.add_map(a_map(1, title="One|Two"))
    world.record(a_play(by=ALICE, on=song))
    world.change(update(users).where(users.c.id == ALICE).values(name="al|ice"))

    lines = board(site, song.md5).split("\n")

    assert lines[2] == "[bold:0,size:20]Artist|OneITwo"
    assert lines[5].split("|")[1] == "alIice"
    assert len(lines[5].split("|")) == 16


def test_clan_tag_precedes_the_name(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    world.record(a_play(by=ALICE, on=song))
    clan = clans.insert().values(name="Clan", safe_name="clan", tag="CLN", owner_id=ALICE, created_at_ms=0)
    world.change(clan)
    world.change(update(users).where(users.c.id == ALICE).values(clan_id=1, clan_priv=3))

    assert board(site, song.md5).split("\n")[5].split("|")[1] == "[CLN] alice"


def test_relax_board_has_pp_in_the_score_field(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    world.record(a_play(by=ALICE, on=song, score=900_000, pp=10.4, mods=RX))
    world.record(a_play(by=BOB, on=song, score=1_000, pp=99.6, mods=RX))

    lines = board(site, song.md5, mods=RX).split("\n")

    assert [line.split("|")[1:3] for line in lines[5:]] == [["bob", "100"], ["alice", "10"]]
    assert board(site, song.md5).split("\n")[5:] == [""], "they are on no other board"


def test_cached_board_follows_every_change(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    world.record(a_play(by=ALICE, on=song, score=1_000))
    assert "|alice|1000|" in board(site, song.md5)

    world.record(a_play(by=ALICE, on=song, score=2_000))
    assert "|alice|2000|" in board(site, song.md5)

    world.run(world.restrictions.restrict(OPERATOR, "alice", "test"))
    assert "alice" not in board(site, song.md5)
    assert "|alice|2000|" in board(site, song.md5, name="alice"), "a restricted player sees their own score"

    world.run(world.restrictions.unrestrict(OPERATOR, "alice"))
    assert "|alice|2000|" in board(site, song.md5)

    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.PENDING))
    assert board(site, song.md5) == "0|false"


def test_line_below_the_page_is_read_once_and_follows_every_change(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = world.add_map(a_map(1))
    for number in range(PAGE_MAX):
        world.record(a_play(by=world.add_player(a_player(f"player {number}")), on=song, score=50_000))
    world.record(a_play(by=BOB, on=song, score=200))
    world.record(a_play(by=ALICE, on=song, score=100))
    read: list[int] = []
    original = Boards.own

    async def counted(self: Boards, beatmap: Beatmap, request: BoardRequest) -> BoardLine | None:
        read.append(request.user_id)
        return await original(self, beatmap, request)

    def own(name: str) -> tuple[str, str]:
        """Return the player's score and place."""
        fields = board(site, song.md5, name=name).split("\n")[4].split("|")
        return fields[2], fields[13]

    monkeypatch.setattr(Boards, "own", counted)

    assert [own(name) for name in ("alice", "bob", "alice", "bob")] == [("100", "52"), ("200", "51")] * 2
    assert read == [ALICE, BOB]

    world.record(a_play(by=ALICE, on=song, score=300))
    assert [own("alice"), own("bob")] == [("300", "51"), ("200", "52")]

    world.change(update(users).where(users.c.id == ALICE).values(name="alicia"))
    world.change(BOARDS_LOOK_CHANGED.statement)
    assert board(site, song.md5, name="alice").split("\n")[4].split("|")[1] == "alicia"


def test_request_for_a_board_sets_the_mode_of_the_presence(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    session = site.online(BOB)

    board(site, song.md5, mods=RX)

    shown = world.run(world.realtime.session(session.token))
    assert (shown.status.mode, shown.stats.pp) == (4, 4)


def test_friends_and_country_boards(world: World, site: Site) -> None:
    song = world.add_map(a_map(1))
    carla = world.add_player(a_player("carla", country="de"))
    for by, score in ((ALICE, 3_000), (BOB, 2_000), (carla, 1_000)):
        world.record(a_play(by=by, on=song, score=score))
    world.run(world.relationships.befriend(BOB, carla))

    def names(**query: Any) -> list[str]:
        return [line.split("|")[1] for line in board(site, song.md5, **query).split("\n")[5:]]

    assert names(v=3) == ["bob", "carla"]
    assert names(v=4) == ["alice", "bob"]
    assert names(v=2) == ["alice", "bob", "carla"]
