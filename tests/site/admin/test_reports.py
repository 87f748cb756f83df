"""`/admin/reports`: the queue of reports, a report with what the player wrote, and the act that closes it."""

import json

from sqlalchemy import delete, insert
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, MODERATOR, OTHER, PLAYER, SECOND, World, confirmed
from tests.site.kit import PageReply

from kiai.storage.tables import reports

HOSTILE = "<script>alert(1)</script>"
FIRST = 88_000


def fill(world: World, *abouts: tuple[int, int], text: str = HOSTILE, lines: int = 0) -> list[int]:
    """Replace all reports by some, each from a player about another. Return their ids."""
    world.write(delete(reports))
    said = json.dumps([{"at": 5, "channel": "#osu", "text": f"{HOSTILE} {number}"} for number in range(lines)])
    rows = [
        {"id": FIRST + n, "at_ms": 1_000, "by_id": by, "target_id": about, "kind": "Spam", "text": text, "lines": said}
        for n, (by, about) in enumerate(abouts)
    ]
    world.write(insert(reports).values(rows))
    return [FIRST + n for n in range(len(rows))]


def listed(page: PageReply) -> list[int]:
    return [int(row.attributes["data-report-id"] or 0) for row in page.css("[data-report-id]")]


def test_reports_about_one_player_are_together(world: World) -> None:
    first, second, third = fill(world, (OTHER, PLAYER), (PLAYER, OTHER), (SECOND, PLAYER))

    page = world.browser(MODERATOR).get("/admin/reports")

    assert listed(page) == [first, third, second]
    assert [one.attributes["data-target-id"] for one in page.css("[data-target-id]")] == [str(PLAYER), str(OTHER)]
    assert HOSTILE.encode() not in page.body
    about = page.follow(f"All about {world.name(PLAYER)}")
    assert sorted(listed(about)) == [first, third]


def test_report_shows_who_what_and_the_lines_and_the_other_reports_about_the_player(world: World) -> None:
    first, other = fill(world, (OTHER, PLAYER), (SECOND, PLAYER), text=f"Score 63: {HOSTILE}", lines=20)

    page = world.browser(MODERATOR).get(f"/admin/reports/{first}")

    assert world.name(PLAYER) in page.h1
    assert page.link(world.name(OTHER)) == f"/admin/users/{OTHER}"
    assert len(page.css("tr[data-line]")) == 20
    assert page.link("Score 63") == "/scores/63"
    assert HOSTILE.encode() not in page.body
    assert listed(page) == [other]


def test_closed_report_leaves_the_queue_and_keeps_its_outcome(world: World) -> None:
    first, second = fill(world, (OTHER, PLAYER), (SECOND, PLAYER))
    browser = world.browser(MODERATOR)
    stale = browser.get(f"/admin/reports/{second}").form("Close report").fill(Outcome="both")

    page = confirmed(browser.get(f"/admin/reports/{first}").form("Close report").fill(Outcome=HOSTILE))

    assert "is closed" in (page.message or "")
    assert HOSTILE in page.text
    assert HOSTILE.encode() not in page.body
    assert page.css("form[aria-labelledby=act-close-heading]") == []
    row = world.audit()[-1]
    assert (row.action, row.actor_id, row.target_id, row.reason) == ("report_close", MODERATOR, PLAYER, HOSTILE)
    assert listed(browser.get("/admin/reports")) == [second]
    assert listed(browser.get("/admin/reports?state=closed")) == [first]
    assert sorted(listed(browser.get("/admin/reports?state=all"))) == [first, second]
    assert confirmed(stale).status == 200, "another report about the player does not hinder this one"


def test_second_of_two_at_once_is_told_that_the_report_is_closed(world: World) -> None:
    [report] = fill(world, (OTHER, PLAYER))
    forms = [
        world.browser(user_id).get(f"/admin/reports/{report}").form("Close report").fill(Outcome="done")
        for user_id in (MODERATOR, ADMINISTRATOR)
    ]
    confirmed(forms[0])
    before = len(world.audit())

    late = confirmed(forms[1])

    assert late.status == 422
    assert late.alert == "The report is already closed."
    assert len(world.audit()) == before


def test_outcome_is_needed_and_unknown_filters_are_answered(world: World) -> None:
    [report] = fill(world, (OTHER, PLAYER))
    browser = world.browser(MODERATOR)

    page = browser.get(f"/admin/reports/{report}").form("Close report").press()

    assert page.status == 422
    assert page.form("Close report").error("Outcome")
    assert "There is no account" in browser.get("/admin/reports?about=nobody+at+all").text
    assert browser.get("/admin/reports?state=x").status == 400
    assert browser.get("/admin/reports/99999999").status == 404
    assert browser.get("/admin/reports/0").status == 404
    world.write(delete(reports))
    assert "No report waits." in browser.get("/admin/reports").text


def test_page_of_the_account_has_its_open_reports(world: World) -> None:
    [report] = fill(world, (OTHER, PLAYER))

    for user_id in (MODERATOR, DEVELOPER):
        page = world.browser(user_id).get(f"/admin/users/{PLAYER}")
        assert listed(page) == [report]
        assert listed(page.follow("All reports")) == [report]
