"""Lists of maps by words, filters and orders, on both databases."""

import pytest
from sqlalchemy import bindparam, insert
from tests.builders import World, a_map

from kiai.beatmaps.listing import CANDIDATES_MAX, LISTED_MAX, SORTED_MAX, Listing, Sort
from kiai.beatmaps.words import words_of
from kiai.errors import Invalid
from kiai.storage.port import Command, Transaction, Value
from kiai.storage.tables import map_words, maps, sets

MANY = 2_500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("!!! ~ _", []),
        ("One two  ONE", ["one", "two"]),
        ("a_b-c/d.e", ["a", "b", "c", "d", "e"]),
        ("Don't", ["don", "t"]),
        ("\uff26\uff35\uff2c\uff2c \uff57\uff49\uff44\uff54\uff48", ["full", "width"]),
        ("STRASSE straße", ["strasse"]),
        ("ぼくらの 世界", ["ぼくらの", "世界"]),
        ("Ünïcödé", ["ünïcödé"]),
        ("x" * 40, ["x" * 32]),
        ("180 BPM", ["180", "bpm"]),
    ],
)
def test_words_are_runs_of_letters_and_digits_without_case(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def found(world: World, **wanted: object) -> list[int]:
    """Return the ids of a listing, and check its total."""
    rows, total = world.run(world.beatmaps.listed(Listing(**wanted)))  # type: ignore[arg-type]
    assert total == len(rows)
    return [one.id for one in rows]


def test_imported_maps_are_found_by_the_beginnings_of_their_words(world: World) -> None:
    world.add_map(a_map(1, title="Blue Zenith", version="FOUR DIMENSIONS"))
    world.add_map(a_map(2, title="Zen ith", version="Another", objects=90))
    world.add_map(a_map(3, title="世界の終わり", version="Ünïcödé", objects=80))

    assert found(world, text="zenith") == [1]
    assert found(world, text="ZEN") == [1, 2]
    assert found(world, text="zen dim") == [1]
    assert found(world, text="ith") == [2]
    assert found(world, text="enith") == []
    assert found(world, text="世界") == [3]
    assert found(world, text="ÜNÏ") == [3]
    assert found(world, text="uni") == []
    assert found(world, text="mapper artist") == [1, 2, 3]
    assert found(world, text="mapper", sort="-id") == [3, 2, 1]
    assert found(world, text="zen%") == [1, 2]
    assert found(world, text="zen\x00ith") == [2]


def test_updated_map_is_found_only_by_its_new_words(world: World) -> None:
    world.add_map(a_map(1, title="Old Name"))
    world.add_map(a_map(1, title="New Name", objects=90))

    assert found(world, text="new") == [1]
    assert found(world, text="old") == []
    assert found(world, text="name") == [1]


@pytest.mark.parametrize("text", ["%", "_", "!", " ", "\x00", "a b c d e f g h i"])
def test_text_without_words_or_with_too_many_is_refused(world: World, text: str) -> None:
    with pytest.raises(Invalid, match="q must be 1 to 8 words"):
        world.run(world.beatmaps.listed(Listing(text=text)))


def fill(world: World) -> None:
    """Add many maps with a common word. One in a hundred is pending, and one has a unique word."""
    rows: list[dict[str, Value]] = [
        {
            "key": n, "id": n, "set_id": 1, "md5": f"{n:032x}", "status": 0 if n % 100 == 0 else 2, "mode": 0,
            "artist": "Common", "title": str(n), "last_update_ms": MANY - n, "total_length": 1, "hit_length": 1,
            "max_combo": 1, "objects": 1, "bpm": 1.0, "cs": 1.0, "od": 1.0, "ar": 1.0, "hp": 1.0, "diff": n / 100,
        }
        for n in range(1, MANY + 1)
    ]  # fmt: skip

    async def body(tx: Transaction) -> None:
        await tx.run(Command(insert(sets).values(id=1, added_at_ms=0, last_update_ms=0)))
        await tx.run_many(Command(insert(maps).values({name: bindparam(name) for name in rows[0]})), rows)
        words: list[dict[str, Value]] = [
            {"word": word, "map_key": n} for n in range(1, MANY + 1) for word in ("common", str(n))
        ]
        words.append({"word": "rare", "map_key": MANY})
        await tx.run_many(Command(insert(map_words).values({n: bindparam(n) for n in ("word", "map_key")})), words)

    world.run(world.database.transaction(body))


def test_search_reads_a_bounded_number_of_maps_with_the_rarest_word(world: World) -> None:
    fill(world)

    common, total = world.run(world.beatmaps.listed(Listing(text="common")))
    rare = found(world, text="common rare")

    assert (len(common), total) == (50, CANDIDATES_MAX)
    assert rare == [MANY]


def test_every_order_and_filter_pages_through_the_same_maps(world: World) -> None:
    fill(world)
    assert SORTED_MAX < MANY < LISTED_MAX
    every = list(range(1, MANY + 1))
    wanted: list[tuple[dict[str, int | str], list[int]]] = [
        ({}, every),
        ({"status": 0}, [n for n in every if n % 100 == 0]),
        ({"status": 2}, [n for n in every if n % 100]),
        ({"mode": 3}, []),
        ({"artist": "Common"}, every),
        ({"set_id": 1}, every),
    ]

    def page(filters: dict[str, int | str], sort: Sort, offset: int) -> list[int]:
        rows, _ = world.run(world.beatmaps.listed(Listing(filters=filters, sort=sort, limit=1_000, offset=offset)))
        return [one.id for one in rows]

    sorts: tuple[Sort, ...] = ("id", "-id", "-last_update", "diff", "-diff")
    for sort in sorts:
        for filters, expected in wanted:
            ids = [one for offset in (0, 1_000, 2_000) for one in page(filters, sort, offset)]

            assert ids == (expected[::-1] if sort in ("-id", "-diff") else expected), (sort, filters)
