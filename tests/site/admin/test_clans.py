"""The page of clans in the panel."""

from sqlalchemy import insert, select
from tests.site.admin.kit import ADMINISTRATOR, OTHER, World

from kiai.storage.tables import clans

HOSTILE = "<b>Owls</b>"


def test_search_finds_a_clan_and_leads_to_the_page_on_which_staff_manages_it(world: World) -> None:
    values = {"name": HOSTILE, "safe_name": "<b>owls</b>", "tag": "OWLS", "owner_id": OTHER, "created_at_ms": 1}
    world.write(insert(clans).values(**values, description=""))
    clan_id = world.row(select(clans.c.id).where(clans.c.tag == "OWLS"))[0]
    browser = world.browser(ADMINISTRATOR)

    newest = browser.get("/admin/clans")
    page = newest.form("Search clans").set("Search clans", f"#{clan_id}").press()

    for shown in (newest, page):
        row = shown.one(f'tr[data-clan-id="{clan_id}"]')
        assert HOSTILE in row.text()
        assert world.name(OTHER) in row.text()
        assert HOSTILE.encode() not in shown.body
    assert len(page.css("tr[data-clan-id]")) == 1
    manage = page.follow(f"Manage {HOSTILE}")
    assert manage.path == f"/clans/{clan_id}/manage"
    assert "as staff" in manage.text
    assert browser.get("/admin/clans?q=nobody-has-this").css("tr[data-clan-id]") == []
