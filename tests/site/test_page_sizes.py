"""Pages with long tables have at most 60 KB, with 50 full rows and long names, in every language."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.site.kit import a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli
from tests.wire.rows import Rows
from tests.wire.world import DT, HD, a_map, a_score

from kiai.faces.site.locale import LANGUAGES

BYTES_MAX: Final = 60 * 1024
ROWS: Final = 50
SET: Final = 100
MAP: Final = 1_001
DIFFICULTIES: Final = 10
FIRST: Final = 100_000
"""Ids are as long as those of a server that has been up for years."""
COUNTRIES: Final = ("cf", "ba", "de", "us", "vc")
PAGES: Final = {
    "/leaderboard?mode=0": ROWS,
    "/leaderboard/plays?mode=0": ROWS,
    f"/beatmapsets/{SET}?map={MAP}": ROWS,
}
"""The pages with the number of their rows."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with 50 players, whose names and clan tags are as long as allowed, on one map."""
    data: Path = tmp_path_factory.mktemp("sizes") / "data"
    cli(data, "migrate")
    fill(Rows(data))
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.33"
    yield server
    server.stop()


def fill(rows: Rows) -> None:
    for number in range(DIFFICULTIES):
        rows.map(
            a_map(
                MAP + number, artist="A band with a long name", title="A song with a title of forty letters", diff=4.5,
                version="Somebody's Collaborative Expert", creator="A_mapper_of_15_", max_combo=2_345,
            )
        )  # fmt: skip
    for place in range(ROWS):
        user_id, country = FIRST + place, COUNTRIES[place % len(COUNTRIES)]
        clan_id = 1 + place // 10
        rows.player(user_id, f"Wide_Player_{place:03}", country=country, clan_id=clan_id, clan_priv=1)
        if place % 10 == 0:
            rows.clan(clan_id, f"A clan whose name is long {clan_id}", f"TAGGE{clan_id}", user_id)
        rows.profile(
            user_id, 0, country, pp=12_000 - place, tscore=98_765_432_100, rscore=12_345_678_900 - place, plays=54_321,
            acc=98.7654, playtime=1_000_000, max_combo=2_345, bests=1, xh_count=123, x_count=45, sh_count=1_234,
            s_count=567, a_count=2_345,
        )  # fmt: skip
        score_id = 8_000_000 + place
        play = a_score(
            score=98_765_432 - place, pp=812.345_678 - place, acc=98.7654, max_combo=2_345, mods=HD | DT,
            n300=1_876, n100=123, n50=12, nmiss=11, grade="SH", perfect=1,
        )  # fmt: skip
        rows.score(score_id, user_id, MAP, play, country=country)
        rows.replay(score_id, b"frames %d" % place)
    rows.close()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_page_with_full_rows_is_small(server: Server, path: str, language: str) -> None:
    page = a_browser(server, language=language).get(path)

    assert (page.status, page.one("html").attributes["lang"]) == (200, language)
    assert len(page.css("tbody tr[data-user-id]")) == PAGES[path]
    assert len(page.body) <= BYTES_MAX


def test_cells_without_end_tags_are_read_as_cells(server: Server) -> None:
    page = a_browser(server).get(f"/beatmapsets/{SET}?map={MAP}")

    columns = len(page.css("table.board thead th"))
    assert {len(row.css("td")) for row in page.css("table.board tbody tr")} == {columns}
    row = page.one(f'tr[data-user-id="{FIRST}"]')
    names = [node.attributes["data-stat"] for node in row.css("data")]
    assert names == ["place", "score", "acc", "max_combo", "nmiss", "pp"]
    assert [node.attributes["title"] for node in row.css("i[role=img]")[1:]] == ["Hidden", "DoubleTime"]
    assert [node.attributes["title"] for node in row.css(".replay")] == ["Replay"]
