"""The pages of sets in the panel: search, requests, and the status of maps."""

from sqlalchemy import select
from tests.site.admin.acts.beatmaps import SET, map_of_set, name_of_set, requested, state
from tests.site.admin.kit import ADMINISTRATOR, NOMINATOR, OWNER, PLAYER, World, confirmed
from tests.site.kit import PageReply

from kiai.storage.tables import maps

PAGE = f"/admin/beatmaps?set={SET}"
HOSTILE = "<script>alert(1)</script>"


def sets_of(page: PageReply) -> list[str | None]:
    """Return the ids of the found sets."""
    return [
        row.attributes["data-set-id"] for row in page.css('section[aria-labelledby="sets-heading"] tr[data-set-id]')
    ]


def statuses(world: World) -> set[tuple[int, int]]:
    """Return status and frozen mark of the maps of the set."""
    query = select(maps.c.status, maps.c.frozen).where(maps.c.set_id == SET, maps.c.current == 1)
    return {(row.status, row.frozen) for row in world.rows(query)}


def test_search_finds_sets_by_words_and_by_the_ids_of_set_and_map(world: World) -> None:
    state(status=0)(world)
    browser = world.browser(NOMINATOR)
    word = name_of_set(world).partition(" - ")[2].split()[0]

    for text in (word, str(SET), str(map_of_set(world))):
        page = browser.get("/admin/beatmaps").form("Search beatmaps").set("Search beatmaps", text).press()
        assert str(SET) in sets_of(page), text

    assert str(SET) in sets_of(browser.get("/admin/beatmaps")), "all sets, the newest first"
    assert sets_of(browser.get("/admin/beatmaps?q=nothinghasthisname")) == []
    assert "The search must be" in (browser.get("/admin/beatmaps?q=%21%21").alert or "")
    assert browser.get("/admin/beatmaps?set=77").status == 404


def test_whole_set_gets_a_status_with_the_reason_and_the_public_page_and_the_history_follow(world: World) -> None:
    state()(world)
    browser = world.browser(NOMINATOR)

    page = confirmed(browser.get(PAGE).form("Map status").fill(Status="5", Reason=HOSTILE), "Set status")

    assert page.message == "The status is set."
    assert statuses(world) == {(5, 1)}
    assert (world.audit()[-1].action, world.audit()[-1].reason) == ("beatmap_status", HOSTILE)
    assert {node.attributes["value"] for node in page.css('data[data-stat="status"]')} == {"5"}
    history = page.one('section[aria-labelledby="history-heading"] tbody tr').text()
    assert world.name(NOMINATOR) in history
    assert "Loved" in history
    assert browser.get(f"/beatmapsets/{SET}").stat("status") == "5"


def test_map_of_another_set_and_an_unknown_status_are_marked(world: World) -> None:
    state()(world)
    form = world.browser(NOMINATOR).get(PAGE).form("Map status").fill(Status="5", Reason="x")
    form.values["map"] = "900002"

    page = confirmed(form)

    assert page.status == 422
    assert page.form("Map status").error("Map") == "Must be a map of this set."
    form.values |= {"map": "all", "status": "77"}
    assert form.press().form("Map status").error("Status") == "Must be one of the choices."
    assert statuses(world) == {(2, 0)}


def test_second_of_two_nominators_changes_nothing(world: World) -> None:
    state()(world)
    first, second = (
        world.browser(user_id).get(PAGE).form("Map status").fill(Status=status, Reason="x")
        for user_id, status in ((NOMINATOR, "5"), (OWNER, "0"))
    )
    confirmed(first)

    late = confirmed(second)

    assert late.status == 409
    assert f"Changed by {world.name(NOMINATOR)} a moment ago (beatmap_status)" in (late.alert or "")
    assert statuses(world) == {(5, 1)}


def test_status_that_the_maps_have_is_refused(world: World) -> None:
    state()(world)
    page = confirmed(world.browser(OWNER).get(PAGE).form("Map status").fill(Status="2", Reason="x"))

    assert page.status == 422
    assert page.alert == "The status is already ranked."


def test_queue_leads_to_the_set_and_a_new_status_answers_the_request(world: World) -> None:
    requested(world)
    browser = world.browser(NOMINATOR)
    queue = browser.get("/admin/beatmaps").one('section[aria-labelledby="requests-heading"]')
    assert world.name(PLAYER) in queue.text()

    page = browser.get(f"/admin/beatmaps/{SET}")
    assert page.form("Close requests")
    assert page.link(world.name(PLAYER)) == f"/users/{PLAYER}"
    page = confirmed(page.form("Map status").fill(Status="5", Reason="good"))

    assert page.alert is None
    assert "Close requests" not in page.headings(3)
    assert world.name(PLAYER) not in browser.get("/admin/beatmaps").text


def test_two_nominators_qualify_a_set_and_one_resets_it(world: World) -> None:
    state(status=0)(world)
    first, second = (world.browser(user_id) for user_id in (NOMINATOR, OWNER))

    page = confirmed(first.get(f"/beatmapsets/{SET}").follow("Nominate or set status").form("Nominate"))
    assert (page.message, page.stat("nominations")) == ("The set is nominated.", "1")
    assert page.link(world.name(NOMINATOR)) == f"/users/{NOMINATOR}"
    again = confirmed(first.get(PAGE).form("Nominate"))
    assert (again.status, again.alert) == (422, "You have already nominated this beatmap set.")
    page = confirmed(second.get(PAGE).form("Nominate").fill(Reason="fine"))
    assert {status for status, _ in statuses(world)} == {4}
    assert "It will be ranked on" in page.text

    page = confirmed(first.get(PAGE).form("Reset nominations").fill(Reason="wrong"))

    assert page.message == "The nominations are reset."
    assert {status for status, _ in statuses(world)} == {0}


def test_nominator_alone_does_not_rank_in_the_nomination_mode(world: World) -> None:
    state(status=0)(world)

    page = confirmed(world.browser(NOMINATOR).get(PAGE).form("Map status").fill(Status="2", Reason="x"))

    assert page.status == 422
    assert "nomination mode" in (page.alert or "")
    assert statuses(world) == {(0, 0)}


def test_administrator_sees_sets_without_requests_and_acts(world: World) -> None:
    requested(world)
    browser = world.browser(ADMINISTRATOR)

    page = browser.get("/admin/beatmaps")
    assert str(SET) in sets_of(page)
    assert "Requests" not in page.headings(2)
    page = browser.get(PAGE)

    assert page.headings(3) == []
    assert "Status history of" in page.text
    assert world.name(PLAYER) not in page.text
    sent = {"map": "all", "status": "5", "reason": "x", "confirmed": "1", "seen": "0"}
    token = str(page.one('input[name="csrf_token"]').attributes["value"])
    assert browser.post(f"/admin/beatmaps/{SET}/status", {**sent, "csrf_token": token}).status == 404
    assert statuses(world) == {(0, 0)}
