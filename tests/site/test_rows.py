"""Rows of leaderboards, which visitors share."""

import msgspec
import pytest
from markupsafe import Markup

from kiai.faces.site.locale import locale_of
from kiai.faces.site.rows import BOARDS_MAX, Drawings, Rows
from kiai.faces.site.set_boards import BoardRow
from kiai.scores.boards import BoardLine

NOW_MS = 1_700_000_000_000
LINE = BoardLine(
    id=1, user_id=3, name="P", tag=None, score=1, pp=1.0, max_combo=1, n50=0, n100=0, n300=1, nmiss=0, nkatu=0, ngeki=0,
    perfect=1, mods=0, play_time_ms=0, has_replay=0,
)  # fmt: skip


@pytest.fixture
def rows() -> Rows:
    return Rows(locale_of("en"), Drawings(nothing, nothing, nothing, nothing))


def nothing(*what: object) -> Markup:
    return Markup("")


def board(*user_ids: int) -> list[BoardRow]:
    return [
        BoardRow(place, msgspec.structs.replace(LINE, id=place, user_id=user_id, name=f"P{user_id}"), 99.0, "A")
        for place, user_id in enumerate(user_ids, 1)
    ]


def drawn(rows: Rows, shown: list[BoardRow], visitor_id: int = 0, now_ms: int = NOW_MS) -> str:
    return rows.of_board(shown, 0, True, visitor_id, now_ms)


def test_visitors_who_are_not_on_a_board_share_its_rows(rows: Rows) -> None:
    shown = board(3, 4)

    assert drawn(rows, shown, visitor_id=9) is drawn(rows, shown)
    assert "data-self" not in drawn(rows, shown, visitor_id=9)


def test_row_of_the_visitor_is_marked_for_that_visitor_only(rows: Rows) -> None:
    shown = board(3, 4)

    assert drawn(rows, shown, visitor_id=4).count("data-self") == 1
    assert "data-self" not in drawn(rows, shown, visitor_id=5)


def test_another_board_has_its_own_rows_at_once(rows: Rows) -> None:
    assert "P3" in drawn(rows, board(3, 4))
    assert "P3" not in drawn(rows, board(4))


def test_times_in_words_are_at_most_a_minute_old(rows: Rows) -> None:
    shown = board(3)

    assert drawn(rows, shown, now_ms=NOW_MS) is not drawn(rows, shown, now_ms=NOW_MS + 60_000)


def test_number_of_remembered_boards_is_bounded(rows: Rows) -> None:
    boards = [board(3) for _ in range(BOARDS_MAX + 10)]
    for shown in boards:
        drawn(rows, shown)

    assert len(rows._boards) <= BOARDS_MAX
