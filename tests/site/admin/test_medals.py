"""The page of medals in the panel."""

from sqlalchemy import select
from tests.patience import wait_until
from tests.site.admin.acts.medals import PATH, nothing_queued
from tests.site.admin.kit import ADMINISTRATOR, MODERATOR, World, confirmed

from kiai.scores.medals import MEDALS
from kiai.storage.tables import medal_holders

FIRST_PASS = 110
HOSTILE = "<b>nobody</b>"


def test_list_has_every_medal_with_its_holders(world: World) -> None:
    holders = dict(world.rows(select(medal_holders.c.medal_id, medal_holders.c.holders)))

    page = world.browser(ADMINISTRATOR).get(PATH)

    assert len(page.css("tr[data-medal-id]")) == len(MEDALS)
    for medal in MEDALS:
        figure = f'tr[data-medal-id="{medal.id}"] data[data-stat="players"]'
        assert page.one(figure).attributes["value"] == str(holders[medal.id]), medal.name
    assert world.browser(MODERATOR).get(PATH).status == 404


def test_missing_medals_of_all_players_are_awarded_in_the_background(world: World) -> None:
    nothing_queued(world)
    statement = select(medal_holders.c.holders).where(medal_holders.c.medal_id == FIRST_PASS)
    assert world.row(statement)[0] == 0, "the plays of the demo were stored without medals"

    form = world.browser(ADMINISTRATOR).get(PATH).form("Award missing medals").fill(Reason="lost rows")
    question = form.press()
    assert question.h1 == "Award missing medals: all players?"
    page = question.form(question.h1).press("Confirm")

    assert page.message == "The award is queued."
    wait_until(lambda: world.row(statement)[0] > 0, within_s=20, what="a player has the medal")


def test_unknown_player_is_refused_and_shown_as_text(world: World) -> None:
    form = world.browser(ADMINISTRATOR).get(PATH).form("Award missing medals").fill(Player=HOSTILE, Reason="test")
    before = len(world.audit())

    page = confirmed(form)

    assert (page.status, page.alert) == (422, "The user does not exist.")
    assert page.form("Award missing medals").values["player"] == HOSTILE
    assert HOSTILE.encode() not in page.body
    assert len(world.audit()) == before
