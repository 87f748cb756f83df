"""A search for a text finds what holds the text: the same on SQLite and PostgreSQL, whatever is typed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, select
from tests.builders import Run, World, a_map, a_player

from kiai.beatmaps.searching import Search, Searching
from kiai.storage.patterns import containing, holds
from kiai.storage.port import Database, Query, only
from kiai.storage.tables import channels

# Any column of text without a rule of its own will do.
_TYPED = bindparam("typed", type_=channels.c.topic.type)
_HOLDS = Query(select(holds(_TYPED, bindparam("pattern"))), only)

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
def test_a_pattern_matches_what_holds_its_term_and_nothing_else(
    database: Database, run: Run, text: str, term: str
) -> None:
    pattern = containing(term)

    found = pattern is not None and bool(run(database.one(_HOLDS, typed=text, pattern=pattern)))

    assert found == (term != "" and lowered(term) in lowered(text))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything)
def test_every_term_without_a_nul_is_found_in_itself(database: Database, run: Run, term: str) -> None:
    pattern = containing(term)

    if pattern is None:
        assert not term or "\0" in term or any("\ud800" <= one <= "\udfff" for one in term)
    else:
        assert run(database.one(_HOLDS, typed=term, pattern=pattern))


@pytest.mark.parametrize("term", ["", "\0", "a\0b", "alice\0", "\ud800", "x" * 201])
def test_what_no_text_can_hold_has_no_pattern(term: str) -> None:
    assert containing(term) is None


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    return World(database, run, tmp_path)


@pytest.mark.parametrize("text", ["al\0", "\0", "al\0%", "\ud800al", "", "%", "%%", "__", "\\", "x" * 100_000])
def test_a_search_for_players_finds_nobody_by_what_is_in_no_name(world: World, text: str) -> None:
    world.add_player(a_player("alice"))
    world.add_player(a_player("alina"))

    assert world.run(world.accounts.search(text)) == []


def test_a_difficulty_without_a_name_is_in_no_search_for_something_else(world: World) -> None:
    world.add_map(a_map(version=""))
    searching = Searching(world.database)

    def found(*words: str) -> int:
        sets, _ = world.run(searching.sets(Search(words=words)))
        return len(sets)

    title = world.run(searching.sets(Search()))[0][0].title
    assert found(title) == 1
    assert found("nothing", "like", "it") == 0
    assert found("nothing") == 0
    assert found(title, "nothing") == 0
    assert [found(word) for word in ("%", "_", "\\", "\0", f"{title}\0", f"\0{title}")] == [0] * 6
