"""The pages of mappools."""

from collections.abc import Iterator

import pytest
from tests.builders import a_map
from tests.site.kit import a_browser
from tests.wire.kit import BEHIND_PROXY, Server, eventually, use_new_address
from tests.wire.rows import RESTRICTED, Rows
from tests.wire.submitting import prepare

from kiai.accounts.model import BOT_ID
from kiai.storage.tables import pool_picks, pools

SONGS = [a_map(map_id, title=f"Song {map_id}") for map_id in (100, 200, 300)]
PUBLISHED, HIDDEN, OF_RESTRICTED = 1, 2, 3
OF_BOT = 90
PICKS = (("TB", 1, 200), ("NM", 2, 999), ("DT", 1, 300), ("NM", 1, 100))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three maps and three mappools, one of which is not published."""
    data = tmp_path_factory.mktemp("mappools") / "data"
    prepare(data, ["alice", "bob"], vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    for song in SONGS:
        (folder / f"{song.id}.osu").write_bytes(song.data)
    server = Server(data, **BEHIND_PROXY)
    server.cli("beatmaps", "import", str(folder))
    rows = Rows(data)
    rows.player(4, "bob", priv=RESTRICTED)
    for pool_id, name, owner, published in (
        (PUBLISHED, "Cup_<b>", 3, 1),
        (HIDDEN, "Secret", 3, 0),
        (OF_RESTRICTED, "Theirs", 4, 1),
        (OF_BOT, "Of the server", BOT_ID, 1),
    ):
        pool = {"id": pool_id, "name": name, "created_at_ms": 0, "created_by": owner, "published": published}
        rows.put(pools, pool)
    for mods, slot, map_id in PICKS:
        rows.put(pool_picks, {"pool_id": PUBLISHED, "mods": mods, "slot": slot, "map_id": map_id})
    rows.close()
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _new_address(server: Server) -> None:
    use_new_address(server)


def test_published_mappools_are_listed_with_their_owners(server: Server) -> None:
    page = a_browser(server).get("/mappools")

    assert page.h1 == "Mappools"
    listed = [[cell.text(strip=True) for cell in row.css("td")][:3] for row in page.css("tbody tr")]
    assert listed == [["Of the server", "BanchoBot", "0"], ["Theirs", "Hidden player", "0"], ["Cup_<b>", "alice", "4"]]
    assert "Secret" not in page.text


def test_page_of_a_mappool_has_the_picks_in_order_with_stars_and_speed(server: Server) -> None:
    page = a_browser(server).get(f"/mappools/{PUBLISHED}")

    assert page.h1 == "Cup_<b>"
    assert [row.attributes["data-map-id"] for row in page.css("tbody tr")] == ["100", "999", "300", "200"]
    assert [node.text().split()[0] for node in page.css("tbody th")] == ["NM1", "NM2", "DT1", "TB1"]
    assert "This server does not have the beatmap." in page.text
    nm, dt = page.one('tbody tr[data-map-id="100"]'), page.one('tbody tr[data-map-id="300"]')
    assert nm.css("td")[2].text() != dt.css("td")[2].text(), "the songs are equally long, but one is played faster"
    assert page.one("button[data-copy]").attributes["data-copy"] == "100 999 300 200"

    def has_stars() -> bool:
        picks = a_browser(server).get(f"/mappools/{PUBLISHED}").css("tbody tr")
        return [bool(pick.css(".stars")) for pick in picks] == [True, False, True, True]

    eventually(has_stars)


def test_mappool_of_the_bot_names_the_bot(server: Server) -> None:
    assert "Owner: BanchoBot" in a_browser(server).get(f"/mappools/{OF_BOT}").text


def test_empty_mappool_says_so(server: Server) -> None:
    assert "This mappool has no maps yet." in a_browser(server).get(f"/mappools/{OF_RESTRICTED}").text


@pytest.mark.parametrize("pool", [HIDDEN, 99, "x"])
def test_other_mappools_are_not_found(server: Server, pool: object) -> None:
    assert a_browser(server).get(f"/mappools/{pool}").status == 404
