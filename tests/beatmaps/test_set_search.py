"""The search of sets: words, filters of maps, orders and pages, on both databases."""

import asyncio

import pytest
from sqlalchemy import bindparam, insert, select
from tests.builders import NewMap, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.beatmaps.catalogue import rebuild
from kiai.beatmaps.favourites import Favourites
from kiai.beatmaps.ratings import Ratings
from kiai.beatmaps.set_query import SetQuery, parse
from kiai.beatmaps.set_search import (
    SORTS,
    Cursor,
    FoundSets,
    SetSearch,
    SetSearches,
    read_cursor,
    write_cursor,
)
from kiai.errors import Invalid
from kiai.staff import OPERATOR
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import catalogue, set_words, sets


def a_song(
    id: int,  # noqa: A002
    *,
    set_id: int | None = None,
    objects: int = 300,
    mode: int = 0,
    version: str = "Normal",
    **texts: str | float,
) -> NewMap:
    """A map with other texts and settings: `title`, `artist`, `creator`, `tags`, `ar`, `cs`, `beat_ms`, ..."""
    data = a_map(id, set_id=set_id, objects=objects, mode=mode, version=version).data.decode()
    changes = {
        "title": ("Title:Song", "Title:{}"),
        "artist": ("Artist:Artist", "Artist:{}"),
        "creator": ("Creator:Mapper", "Creator:{}"),
        "tags": ("Version:", "Tags:{}\r\nVersion:"),
        "source": ("Version:", "Source:{}\r\nVersion:"),
        "title_unicode": ("Version:", "TitleUnicode:{}\r\nVersion:"),
        "artist_unicode": ("Version:", "ArtistUnicode:{}\r\nVersion:"),
        "ar": ("ApproachRate:9", "ApproachRate:{}"),
        "cs": ("CircleSize:4", "CircleSize:{}"),
        "beat_ms": ("0,500,4", "0,{},4"),
    }
    for name, value in texts.items():
        old, new = changes[name]
        assert old in data
        data = data.replace(old, new.format(value), 1)
    return NewMap(id, data.encode())


def find(world: World, text: str = "", **wanted: object) -> FoundSets:
    """Return a page of a search for a text."""
    query, wrong = parse(text)
    assert wrong == []
    searches = SetSearches(world.database, world.clock)
    return world.run(searches.find(SetSearch(query, **wanted)))  # type: ignore[arg-type]


def ids(found: FoundSets) -> list[int]:
    return [one.figures.id for one in found.sets]


def found(world: World, text: str = "", **wanted: object) -> list[int]:
    """Return the ids of a search in ascending order, and check its total."""
    page = find(world, text, **wanted)
    assert page.total == len(page.sets)
    return sorted(ids(page))


# --- words


def test_sets_are_found_by_words_of_all_their_texts(world: World) -> None:
    world.add_map(a_song(1, title="Blue Zenith", artist="xi", creator="Asphyxia", version="FOUR DIMENSIONS"))
    world.add_map(a_song(2, title="Other", tags="touhou remix", source="Lotus Land Story", objects=310))
    world.add_map(a_song(3, title="Sekai no Owari", title_unicode="世界の終わり", artist_unicode="ぼくら", objects=320))

    assert found(world, "zen") == [1]
    assert found(world, "four dim xi asphyxia") == [1]
    assert found(world, "touhou") == found(world, "lotus") == [2]
    assert found(world, "世界") == found(world, "終わ") == found(world, "ぼく") == found(world, "sekai") == [3]
    assert found(world, "enith") == []


def test_texts_of_a_field_are_whole_words_of_this_field(world: World) -> None:
    world.add_map(a_song(1, creator="Ada", title="Bee"))
    world.add_map(a_song(2, creator="Adam", title="Ada", objects=310))

    assert found(world, "creator=ada") == [1]
    assert found(world, "title=ada") == [2]
    assert found(world, "ada") == [1, 2]
    assert found(world, 'title="bee" creator=ada') == [1]


def test_more_relevant_sets_come_first(world: World) -> None:
    world.add_map(a_song(1, tags="night", title="A"))
    world.add_map(a_song(2, artist="Night", title="B", objects=310))
    world.add_map(a_song(3, title="Night", objects=320))
    world.add_map(a_song(4, title="Nightfall", objects=330))

    assert ids(find(world, "night")) == [3, 4, 2, 1]
    assert ids(find(world, "night", reverse=True)) == [1, 2, 4, 3]


def test_new_words_of_a_set_replace_the_old_ones(world: World) -> None:
    world.add_map(a_song(1, title="Before"))
    world.add_map(a_song(1, title="After"))

    assert (found(world, "before"), found(world, "after")) == ([], [1])


@pytest.mark.parametrize("text", ["!", "a b c d e f g h i", '"%"'])
def test_text_without_words_or_with_too_many_is_refused(world: World, text: str) -> None:
    with pytest.raises(Invalid, match="q must be"):
        find(world, text)


# --- filters


def test_one_map_must_match_all_filters_of_maps(world: World) -> None:
    world.add_map(a_song(1, set_id=1, objects=200, mode=0))
    world.add_map(a_song(2, set_id=1, objects=600, mode=1, version="Hard"))

    assert found(world, "stars>5 mode=taiko") == [1]
    assert found(world, "stars>5 mode=osu") == []
    assert found(world, "stars>3 stars<5") == []
    assert found(world, "stars=2") == [1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stars>=3", [2, 3]),
        ("stars>3", [3]),
        ("stars=3", [2]),
        ("ar=9", [1, 3]),
        ("ar<9", [2]),
        ("bpm=240", [3]),
        ("bpm<200", [1, 2]),
        ("length<2:00", [1]),
        ("key=7", [3]),
        ("key>=4 mode=mania", [3]),
        ("mode=mania", [3]),
        ("status=pending", []),
        ("year=2024", []),
        ("", [1, 2, 3]),
    ],
)
def test_filters_select_sets(world: World, text: str, expected: list[int]) -> None:
    world.add_map(a_song(1, objects=200))
    world.add_map(a_song(2, objects=300, ar=8.5))
    world.add_map(a_song(3, objects=400, mode=3, cs=7, beat_ms=250))

    assert found(world, text) == expected


def test_statuses_are_filters_and_boards_the_default(world: World) -> None:
    for number, status in enumerate((MapStatus.PENDING, MapStatus.RANKED, MapStatus.LOVED, MapStatus.APPROVED), 1):
        world.add_map(a_song(number, objects=300 + number), status)

    assert found(world) == [2, 3, 4]
    assert found(world, "status=any") == [1, 2, 3, 4]
    assert found(world, "status=ranked") == [2, 4]
    assert found(world, "status=loved") == [3]
    assert found(world, "status=pending") == [1]


def test_changed_status_moves_a_set_and_dates_its_board(world: World) -> None:
    song = world.add_map(a_song(1), MapStatus.PENDING)
    world.clock.advance(3_600)
    assert found(world) == []

    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED))

    [one] = find(world).sets
    assert one.figures.ranked_at_ms == world.clock.now_ms()
    assert found(world, "status=pending") == []


def test_favourites_and_played_sets_of_a_player(world: World) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    songs = [world.add_map(a_song(n, objects=300 + n)) for n in range(1, 5)]
    service = Favourites(world.database, world.clock)
    world.run(service.add(alice, 2))
    world.run(service.add(bob, 3))
    world.record(a_play(by=alice, on=songs[0]))

    assert found(world, mine="favourites", viewer_id=alice) == [2]
    assert found(world, mine="played", viewer_id=alice) == [1]
    assert found(world, mine="unplayed", viewer_id=alice) == [2, 3, 4]
    assert found(world, "song", mine="favourites", viewer_id=alice) == [2]
    assert found(world, "song", mine="unplayed", viewer_id=bob) == [1, 2, 3, 4]


# --- orders and pages


def values(world: World, order: str) -> dict[int, object]:
    """Return the value of each set by which an order sorts."""
    column = {"ranked": "ranked_at_ms", "updated": "updated_ms", "stars": "stars_max"}.get(order, order)
    return dict(world.look(select(catalogue.c.set_id, catalogue.c[column])))


def filled(world: World) -> None:
    """Add 25 sets, with several of each value."""
    alice = world.add_player(a_player())
    favourites, ratings = Favourites(world.database, world.clock), Ratings(world.database, world.clock)
    for number in range(1, 26):
        world.clock.advance(number % 3)
        song = world.add_map(
            a_song(number, objects=200 + number % 4 * 50, title=f"Song {number % 5}", artist=f"Ünit {number % 2}")
        )
        if number % 3 == 0:
            world.run(favourites.add(alice, number))
        if number % 4 == 0:
            world.run(ratings.vote(alice, song, 1 + number % 10))
        if number % 6 == 0:
            world.record(a_play(by=alice, on=song))
    world.run(world.outbox.deliver())


@pytest.mark.parametrize("text", ["", "song"])
def test_pages_contain_each_set_once_in_every_order(world: World, text: str) -> None:
    filled(world)

    for order in SORTS:
        for reverse in (False, True):
            pages: list[list[int]] = []
            cursor: Cursor | None = None
            while True:
                page = find(world, text, sort=order, reverse=reverse, cursor=cursor, limit=7)
                pages.append(ids(page))
                assert page.total == 25
                if page.after is None:
                    break
                cursor = read_cursor(write_cursor(page.after))
            seen = [set_id for one in pages for set_id in one]
            assert sorted(seen) == list(range(1, 26)), (order, reverse)
            assert [len(one) for one in pages] == [7, 7, 7, 4]
            if order != "relevance":
                by = values(world, order)
                descending = (order not in ("title", "artist")) != reverse
                assert seen == sorted(seen, key=lambda one: (by[one], one), reverse=descending), order
            # The pages before, from the last one back to the first.
            back: list[list[int]] = []
            while page.before is not None:
                page = find(world, text, sort=order, reverse=reverse, cursor=page.before, limit=7)
                back.insert(0, ids(page))
            assert back == pages[:-1]


def test_cursor_of_a_set_that_is_gone_continues_behind_it(world: World) -> None:
    filled(world)
    page = find(world, sort="title", limit=5)
    assert page.after is not None
    world.change(catalogue.delete().where(catalogue.c.set_id == page.after.set_id))

    following = find(world, sort="title", limit=5, cursor=page.after)

    assert not set(ids(following)) & set(ids(page))


@pytest.mark.parametrize("text", ["", "x", "!!!!", "e30", "WzEsMl0", "WyJhXHUwMDAwIiwxLDBd", "WzFlOTksMSwwXQ", "é"])
def test_invented_cursor_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        read_cursor(text)


def test_cursor_of_another_order_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="cursor"):
        find(world, sort="title", cursor=Cursor(3, 1))
    with pytest.raises(Invalid, match="cursor"):
        find(world, sort="plays", cursor=Cursor("a", 1))


def test_total_is_counted_up_to_a_thousand(world: World) -> None:
    world.add_map(a_song(1))
    [row] = world.look(select(catalogue))
    columns = list(catalogue.columns)
    one = {column.name: value for column, value in zip(columns, row, strict=True)}
    more = range(2, 1_003)

    async def body(tx: Transaction) -> None:
        add_set = insert(sets).values(
            id=bindparam("id"), artist="a", title="t", creator="c", added_at_ms=0, last_update_ms=0
        )
        await tx.run_many(Command(add_set), [{"id": set_id} for set_id in more])
        add_row = insert(catalogue).values({column.name: bindparam(column.name) for column in columns})
        await tx.run_many(Command(add_row), [one | {"set_id": set_id} for set_id in more])

    world.run(world.database.transaction(body))

    page = find(world)
    assert (page.total, len(page.sets)) == (None, 20)


# --- the rows


def test_plays_of_the_catalogue_follow_plays(world: World) -> None:
    alice = world.add_player(a_player())
    song = world.add_map(a_song(1))

    world.record(a_play(by=alice, on=song))
    world.record(a_play(by=alice, on=song))
    world.run(world.outbox.deliver())

    assert values(world, "plays") == {1: 2}

    world.run(world.restrictions.restrict(OPERATOR, "alice", "x"))
    world.reconcile()

    assert values(world, "plays") == {1: 0}


def test_rebuilt_catalogue_is_the_same(world: World) -> None:
    filled(world)
    before = world.look(select(catalogue).order_by(catalogue.c.set_id))
    words = world.look(select(set_words).order_by(set_words.c.set_id, set_words.c.word))
    world.change(set_words.delete())
    world.change(catalogue.update().values(plays=7, rating=1.0, stars_max=0.0))

    assert world.run(rebuild(world.database, world.clock.now_ms())) == 25

    assert world.look(select(catalogue).order_by(catalogue.c.set_id)) == before
    assert world.look(select(set_words).order_by(set_words.c.set_id, set_words.c.word)) == words


def test_map_that_moves_to_another_set_leaves_the_first_one(world: World) -> None:
    world.add_map(a_song(1, set_id=10))
    world.add_map(a_song(2, set_id=10, objects=400, version="Hard"))
    world.add_map(a_song(2, set_id=20, objects=400, version="Hard", ar=8))

    [ten] = find(world, "stars<3.5").sets
    assert (ten.figures.id, [one.id for one in ten.maps]) == (10, [1])
    assert found(world, "stars=4") == [20]


def test_sets_are_searched_by_many_at_once(world: World) -> None:
    filled(world)
    searches = SetSearches(world.database, world.clock)

    async def scenario() -> list[FoundSets]:
        return await asyncio.gather(*(searches.find(SetSearch(SetQuery(words=("song",)))) for _ in range(8)))

    assert {tuple(ids(page)) for page in world.run(scenario())} == {tuple(ids(find(world, "song")))}


def test_doctor_finds_and_repairs_wrong_rows(world: World) -> None:
    world.add_map(a_song(1))
    world.add_map(a_song(2, objects=310))
    assert world.problems() == []

    world.change(catalogue.update().where(catalogue.c.set_id == 1).values(stars_max=7.0))
    world.change(catalogue.delete().where(catalogue.c.set_id == 2))

    assert world.problems() == [
        "I6: set 1: its row in the catalogue differs from its maps",
        "I6: set 2: its row in the catalogue differs from its maps",
    ]
    world.run(world.doctor.repair())
    assert world.problems() == []
