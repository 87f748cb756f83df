"""Each act of the panel: the question that names the target, one audit row, and nothing twice."""

import pytest
from tests.site.admin.acts import CASES
from tests.site.admin.kit import PLAYER, World, details
from tests.site.test_every_page import WRITTEN

from kiai.faces.site.page import Access


def test_every_form_of_the_panel_has_a_case() -> None:
    forms = {page.path for page in WRITTEN if page.access is Access.STAFF and page.path.startswith("/admin")}
    assert forms == CASES.keys()


@pytest.mark.parametrize("path", CASES)
def test_act_asks_first_and_writes_one_row(world: World, path: str) -> None:
    case = CASES[path]
    if case.prepare is not None:
        case.prepare(world)
    target = case.target(world) if case.target is not None else world.name(PLAYER)
    before = len(world.audit())
    form = case.filled_in(world, world.browser(case.actor))

    question = form.press()

    assert question.status == 200, question.alert
    assert target in question.h1
    assert question.link("Cancel")
    assert len(world.audit()) == before, "the question changes nothing"

    sure = question.form(question.h1)
    page = sure.press("Confirm")

    assert page.alert is None, page.alert
    assert page.status == 200
    *further, row = world.audit()[before:]
    assert tuple(one.action for one in further) == case.also
    assert (row.action, row.actor_id, row.source) == (case.action, case.actor, "web")
    assert bool(details(row)) == case.changes
    if "reason" in form.values:
        assert row.reason or not form.values["reason"]

    again = sure.press("Confirm")

    assert again.status in (404, 409, 422), again.status
    assert len(world.audit()) == before + 1 + len(case.also), "a second press changes nothing"
