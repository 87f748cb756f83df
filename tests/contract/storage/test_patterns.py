"""Substring search: any term finds the same texts on SQLite and PostgreSQL."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, select
from tests.builders import Run, World, a_map, a_player

from kiai.beatmaps.searching import MapSearch, Search
from kiai.storage.patterns import containing, contains_pattern
from kiai.storage.port import Database, Query, scalar
from kiai.storage.tables import channels

# Any text column without its own collation.
_TYPED = bindparam("typed", type_=channels.c.topic.type)
_CONTAINS = Query(select(contains_pattern(_TYPED, bindparam("pattern"))), scalar)

SIGNS = "%_\\[]*?^-.'\"$()aAbBéÉ\u212a "
texts = st.text(alphabet=SIGNS, max_size=12)
anything = st.text(max_size=40)


def lowered(text: str) -> str:
    return "".join(one.lower() if one.isascii() else one for one in text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, texts)
@example("a%b", "%")
@example("ab", "%")
@example("ab", "_")
@example("a\\", "\\")
@example("É", "é")
@example("", "a")
def test_pattern_matches_exactly_the_texts_that_contain_the_term(
    database: Database, run: Run, text: str, term: str
) -> None:
    pattern = containing(term)

    found = pattern is not None and bool(run(database.one(_CONTAINS, typed=text, pattern=pattern)))

    assert found == (term != "" and lowered(term) in lowered(text))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything)
def test_every_term_without_nul_is_found_in_itself(database: Database, run: Run, term: str) -> None:
    pattern = containing(term)

    if pattern is None:
        assert not term or "\0" in term or any("\ud800" <= one <= "\udfff" for one in term)
    else:
        assert run(database.one(_CONTAINS, typed=term, pattern=pattern))


@pytest.mark.parametrize("term", ["", "\0", "a\0b", "alice\0", "\ud800", "x" * 201])
def test_term_that_no_text_can_contain_has_no_pattern(term: str) -> None:
    assert containing(term) is None


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    return World(database, run, tmp_path)


@pytest.mark.parametrize("text", ["al\0", "\0", "al\0%", "\ud800al", "", "%", "%%", "__", "\\", "x" * 100_000])
def test_search_for_signs_that_are_in_no_name_finds_no_player(world: World, text: str) -> None:
    world.add_player(a_player("alice"))
    world.add_player(a_player("alina"))

    assert world.run(world.accounts.search(text)) == []


def test_map_without_a_difficulty_name_is_found_only_by_its_own_words(world: World) -> None:
    world.add_map(a_map(version=""))
    searching = MapSearch(world.database)

    def found(*words: str) -> int:
        sets, _ = world.run(searching.sets(Search(words=words)))
        return len(sets)

    title = world.run(searching.sets(Search()))[0][0].title
    assert found(title) == 1
    assert found("nothing", "like", "it") == 0
    assert found("nothing") == 0
    assert found(title, "nothing") == 0
    assert [found(word) for word in ("%", "_", "\\", "\0", f"{title}\0", f"\0{title}")] == [0] * 6
