"""The forms of tournament staff on mappools."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.site.forms_kit import at_once, migrated_rows, token_field
from tests.site.kit import a_browser
from tests.wire.kit import Server
from tests.wire.rows import NORMAL, RESTRICTED, Rows
from tests.wire.world import a_map

from kiai.osu.privileges import DEVELOPER, MODERATOR, TOURNEY_MANAGER
from kiai.storage.tables import audit_log, pool_picks, pools

ANNA, TINA, TOM, MOD, HIDDEN, OWNER = 3, 4, 5, 6, 7, 8
HOSTILE: Final = '"><script>alert(1)</script>'
pytestmark = pytest.mark.usefixtures("new_address")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """A player, two members of tournament staff, staff without that right, and two maps."""
    with migrated_rows(tmp_path_factory) as rows:
        rows.player(ANNA, "anna")
        rows.player(TINA, "tina", priv=NORMAL | TOURNEY_MANAGER)
        rows.player(TOM, "tom", priv=NORMAL | TOURNEY_MANAGER)
        rows.player(MOD, "mod", priv=NORMAL | MODERATOR)
        rows.player(OWNER, "owner", priv=NORMAL | TOURNEY_MANAGER | DEVELOPER)
        rows.player(HIDDEN, "ghost", priv=RESTRICTED | TOURNEY_MANAGER)
        for number in (1, 2):
            rows.map(a_map(number, set_id=number))
        yield rows


def a_pool(rows: Rows, pool_id: int, *, by: int = TINA, published: int = 1) -> str:
    """Write a pool with the pick NM1, and return its path."""
    row = {"id": pool_id, "name": f"pool{pool_id}", "created_at_ms": 0, "created_by": by, "published": published}
    rows.put(pools, row)
    rows.put(pool_picks, {"pool_id": pool_id, "mods": "NM", "slot": 1, "map_id": 1})
    return f"/mappools/{pool_id}"


def acts(rows: Rows, pool_id: int) -> list[tuple[str, str, Any, Any]]:
    found = [row for row in rows.look(audit_log) if (row.target_kind, row.target_id) == ("pool", pool_id)]
    details = [json.loads(row.details) for row in found]
    return [(row.action, row.source, it["before"], it["after"]) for row, it in zip(found, details, strict=True)]


def picks(rows: Rows, pool_id: int) -> list[tuple[str, int, int]]:
    return sorted((row.mods, row.slot, row.map_id) for row in rows.look(pool_picks) if row.pool_id == pool_id)


def test_pool_is_created_filled_published_and_renamed(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=TINA)

    created = browser.get("/mappools").form("New mappool").fill(Name="cup").press("Create mappool")
    assert created.message == "The mappool is created. Only tournament staff sees it until it is published."
    pool_id = int(created.path.partition("?")[0].rpartition("/")[2])
    assert a_browser(server).get(f"/mappools/{pool_id}").status == 404
    added = created.form("Add a map").fill(Pick="hd2", Beatmap_id="2").press("Add map")
    assert added.message == "The pick is added."
    assert picks(rows, pool_id) == [("HD", 2, 2)]
    published = added.button("Publish").press()
    assert published.message == "The mappool is public now."
    assert a_browser(server).get(f"/mappools/{pool_id}").h1 == "cup"
    renamed = published.form("Rename mappool").fill(New_name="grand_cup").press("Rename")
    assert (renamed.message, renamed.h1) == ("The mappool is renamed.", "grand_cup")
    removed = renamed.button("Remove HD2").press()
    assert removed.message == "The pick is removed."
    hidden = removed.button("Hide").press()
    assert hidden.message == "The mappool is hidden now."

    assert "grand_cup" in browser.get("/mappools").text
    assert "grand_cup" not in a_browser(server).get("/mappools").text
    assert [act[:2] for act in acts(rows, pool_id)] == [("pool_create", "web"), *[("pool_edit", "web")] * 5]
    assert acts(rows, pool_id)[3][2:] == ({"name": "cup"}, {"name": "grand_cup"})


def test_deletion_asks_and_names_the_pool(server: Server, rows: Rows) -> None:
    path = a_pool(rows, 50)
    browser = a_browser(server, user_id=TINA)

    question = browser.get(path).button("Delete mappool").press()
    assert (question.h1, question.link("Cancel")) == ("Delete the mappool pool50?", path)
    assert "It has 1 picks." in question.text
    assert browser.get(path).status == 200
    done = question.button("Confirm").press()

    assert (done.path.partition("?")[0], done.message) == ("/mappools", "The mappool is deleted.")
    assert browser.get(path).status == 404
    assert question.button("Confirm").press().status == 404
    assert [act[0] for act in acts(rows, 50)] == ["pool_delete"]


def test_only_the_creator_and_developers_delete(server: Server, rows: Rows) -> None:
    path = a_pool(rows, 51)

    refused = a_browser(server, user_id=TOM).get(path).button("Delete mappool").press()
    assert (refused.status, refused.alert) == (422, "Only the creator of the mappool can do that.")
    by_owner = a_browser(server, user_id=OWNER).get(path).button("Delete mappool").press().button("Confirm").press()

    assert by_owner.message == "The mappool is deleted."


def test_names_and_picks_that_exist_are_refused_at_the_field(server: Server, rows: Rows) -> None:
    a_pool(rows, 52)
    path = a_pool(rows, 53)
    browser = a_browser(server, user_id=TINA)

    created = browser.get("/mappools").form("New mappool").fill(Name="pool52").press("Create mappool")
    assert created.status == 422
    assert (created.form("New mappool").error("Name") or "").startswith("This name is already taken.")
    renamed = browser.get(path).form("Rename mappool").fill(New_name="pool52").press("Rename")
    assert (renamed.form("Rename mappool").error("New name") or "").startswith("This name is already taken.")
    same = browser.get(path).form("Rename mappool").press("Rename")
    assert (same.status, same.alert) == (422, "This is the present name of the mappool.")
    for pick, map_id in (("NM1", "2"), ("NM2", "1")):
        added = browser.get(path).form("Add a map").fill(Pick=pick, Beatmap_id=map_id).press("Add map")
        assert added.status == 422
        assert "has this pick or this map already" in (added.form("Add a map").error("Pick") or "")
    assert acts(rows, 53) == []


@pytest.mark.parametrize(
    ("pick", "map_id", "label"),
    [
        ("X", "1", "Pick"),
        ("NM0", "1", "Pick"),
        (HOSTILE, "1", "Pick"),
        ("NM3", "0", "Beatmap id"),
        ("NM3", "x", "Beatmap id"),
        ("NM3", "99999999999", "Beatmap id"),
        ("NM3", "", "Beatmap id"),
    ],
)
def test_wrong_picks_are_explained(server: Server, rows: Rows, pick: str, map_id: str, label: str) -> None:
    path = a_pool(rows, 54)

    page = a_browser(server, user_id=TINA).get(path).form("Add a map").fill(Pick=pick, Beatmap_id=map_id).press()

    assert page.status == 422
    assert page.form("Add a map").error(label)
    assert b"<script>alert" not in page.body
    assert len(picks(rows, 54)) == 1


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "a\tb"])
def test_wrong_names_are_explained(server: Server, name: str) -> None:
    page = a_browser(server, user_id=TINA).get("/mappools").form("New mappool").fill(Name=name).press()

    assert page.status == 422
    assert (page.form("New mappool").error("Name") or "").startswith("Must be 1 to 64 characters without spaces.")


def test_pick_that_is_gone_and_a_second_publication_are_refused_in_words(server: Server, rows: Rows) -> None:
    path = a_pool(rows, 55)
    browser = a_browser(server, user_id=TINA)
    page = browser.get(path)
    page.button("Remove NM1").press()

    gone = page.button("Remove NM1").press()
    assert (gone.status, gone.alert) == (422, "The mappool has no such pick.")
    page.button("Hide").press()
    hidden = page.button("Hide").press()
    assert (hidden.status, hidden.alert) == (422, "The mappool is already hidden.")


def test_pick_added_at_once_is_added_once(server: Server, rows: Rows) -> None:
    path = a_pool(rows, 56)
    forms = [
        a_browser(server, user_id=user_id).get(path).form("Add a map").fill(Pick="DT1", Beatmap_id="2")
        for user_id in (TINA, TOM, TINA, TOM)
    ]

    statuses = at_once(forms)

    assert statuses == [303, 422, 422, 422]
    assert len(acts(rows, 56)) == 1


@pytest.mark.parametrize("user_id", [ANNA, MOD, HIDDEN])
def test_others_have_no_forms(server: Server, rows: Rows, user_id: int) -> None:
    path, hidden = a_pool(rows, 57), a_pool(rows, 58, published=0)
    browser = a_browser(server, user_id=user_id)

    for page in (browser.get(path), browser.get("/mappools")):
        assert page.css('main form[method="post"]') == []
    assert browser.get(hidden).status == 404
    assert "pool58" not in browser.get("/mappools").text
    fields = {**token_field(browser), "name": "mine", "pick": "NM1", "map": "2", "published": "0", "confirmed": "1"}
    for form in ("", "/57/name", "/57/picks", "/57/picks/remove", "/57/published", "/57/delete"):
        assert browser.post(f"/mappools{form}", fields).status in (403, 404)
    assert acts(rows, 57) == []
