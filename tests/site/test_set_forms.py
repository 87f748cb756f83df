"""The forms of players on the page of a set: comments, ratings and requests."""

import time
from collections.abc import Iterator
from typing import Final

import pytest
from sqlalchemy import select, update
from tests import stores
from tests.site.forms_kit import at_once, migrated_rows, token_field
from tests.site.kit import a_browser
from tests.wire.kit import Server
from tests.wire.rows import RESTRICTED, Rows
from tests.wire.world import a_map

from kiai.beatmaps import MapStatus
from kiai.staff.map_requests import OPEN_MAX
from kiai.storage import tables

ANNA, BORIS, HIDDEN, MAPPER, SILENCED, NEW, EAGER = 3, 4, 5, 6, 7, 8, 9
RANKED, PENDING, MANY = 1, 2, 100
HOUR_MS: Final = 3_600_000
PAGE: Final = f"/beatmapsets/{RANKED}"
pytestmark = pytest.mark.usefixtures("new_address")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """A ranked set, pending ones, and players of each state."""
    with migrated_rows(tmp_path_factory) as rows:
        for user_id, name in ((ANNA, "anna"), (BORIS, "boris"), (MAPPER, "Map per"), (EAGER, "eager")):
            rows.player(user_id, name)
        rows.player(HIDDEN, "ghost", priv=RESTRICTED)
        rows.player(NEW, "new", priv=1)
        rows.player(SILENCED, "silent", silenced_until_ms=time.time_ns() // 1_000_000 + 5 * HOUR_MS // 2)
        rows.map(a_map(RANKED, set_id=RANKED, creator="map_PER"))
        for number in (PENDING, *range(MANY, MANY + OPEN_MAX)):
            rows.map(a_map(number, set_id=number, status=0))
        yield rows


def test_form_sent_twice_posts_one_comment(server: Server, rows: Rows) -> None:
    forms = [a_browser(server, user_id=ANNA).get(PAGE).form("Comment").fill(Comment="Once.") for _ in range(4)]

    assert at_once(forms) == [303] * 4
    assert [row.text for row in rows.look(tables.set_comments) if row.user_id == ANNA] == ["Once."]
    a_browser(server, user_id=ANNA).get(PAGE).form("Comment").fill(Comment="Twice.").press("Post comment")
    assert [row.text for row in rows.look(tables.set_comments) if row.user_id == ANNA] == ["Once.", "Twice."]


def test_silenced_visitor_sees_the_forms_disabled_with_the_reason_and_the_end(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=SILENCED)
    page = browser.get(PAGE)

    form = page.one('form[aria-label="Comment"]')
    assert "disabled" in form.css("textarea")[0].attributes
    button = form.css("button")[0]
    assert "disabled" in button.attributes
    reason = page.one(f"#{button.attributes['aria-describedby']}")
    assert reason.text().strip() == "You are silenced and cannot comment. The silence ends in 2 hours."
    assert reason.css("time")
    requested = browser.get(f"/beatmapsets/{PENDING}").one('form[aria-label="Request ranking"] button')
    assert ("disabled" in requested.attributes, requested.attributes["title"]) == (True, "You are silenced.")
    refused = browser.post(f"{PAGE}/comments", {**token_field(browser), "comment": "x"})
    assert refused.status == 422
    assert (refused.form("Comment").error("Comment") or "").startswith("You are silenced.")
    assert browser.post(f"/beatmapsets/{PENDING}/request", {**token_field(browser), "map": str(PENDING)}).status == 422
    assert not [row for row in rows.look(tables.set_comments) if row.user_id == SILENCED]
    assert not [row for row in rows.look(tables.map_requests) if row.user_id == SILENCED]


def test_rating_is_given_once_and_shown(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=ANNA)

    empty = browser.get(PAGE).form("Rate").press("Rate")
    assert empty.status == 422
    assert "Choose a number from 1 to 10." in (empty.form("Rate").error("Your rating") or "")
    page = empty.form("Rate").set("Your rating", "8").press("Rate")

    assert page.message == "Your rating is saved."
    assert page.stat("own_rating") == "8"
    assert "(1 vote)" in page.text
    assert page.css('form[aria-label="Rate"]') == []
    again = browser.post(f"{PAGE}/rating", {**token_field(browser), "map": str(RANKED), "rating": "1"})
    assert again.stat("own_rating") == "8"
    assert at_once([a_browser(server, user_id=BORIS).get(PAGE).form("Rate").fill(Your_rating="4") for _ in range(4)])
    assert [(row.user_id, row.rating) for row in rows.look(tables.ratings)] == [(ANNA, 8), (BORIS, 4)]
    [votes] = [(row.rating_sum, row.rating_count) for row in rows.look(tables.maps) if row.id == RANKED]
    assert votes == (12, 2)


@pytest.mark.parametrize("rating", ["0", "11", "-1", "1.5", "x", "٣", ""])
def test_wrong_rating_is_explained(server: Server, rating: str) -> None:
    browser = a_browser(server, user_id=EAGER)

    page = browser.post(f"{PAGE}/rating", {**token_field(browser), "map": str(RANKED), "rating": rating})

    assert page.status == 422
    assert page.form("Rate").error("Your rating")


@pytest.mark.parametrize(
    ("user_id", "number", "reason"),
    [
        (MAPPER, RANKED, "You cannot rate your own map."),
        (NEW, RANKED, "Log in to the game once to rate maps."),
        (ANNA, PENDING, "Only maps with a leaderboard can be rated."),
    ],
)
def test_rating_is_refused_in_words(server: Server, user_id: int, number: int, reason: str) -> None:
    browser = a_browser(server, user_id=user_id)
    path = f"/beatmapsets/{number}"

    assert browser.get(path).css('form[aria-label="Rate"]') == []
    page = browser.post(f"{path}/rating", {**token_field(browser), "map": str(number), "rating": "5"})

    assert (page.status, page.alert) == (422, reason)


def test_map_of_another_set_is_not_found(server: Server) -> None:
    browser = a_browser(server, user_id=ANNA)

    for act in ("rating", "request"):
        for number in (str(PENDING), "x", "", "99999999999"):
            fields = {**token_field(browser), "map": number, "rating": "5"}
            assert browser.post(f"{PAGE}/{act}", fields).status == 404


def test_request_has_the_state_of_the_visitor(server: Server, rows: Rows) -> None:
    path = f"/beatmapsets/{PENDING}"
    browser = a_browser(server, user_id=ANNA)

    assert at_once([browser.get(path).button("Request ranking") for _ in range(4)]) == [303] * 4
    page = browser.get(path)

    assert page.css('form[aria-label="Request ranking"]') == []
    assert "Ranking requested" in page.text
    assert len([row for row in rows.look(tables.map_requests) if row.user_id == ANNA]) == 1
    assert a_browser(server, user_id=BORIS).get(path).button("Request ranking")
    assert a_browser(server).get(path).css('form[aria-label="Request ranking"]') == []
    assert browser.get(PAGE).css('form[aria-label="Request ranking"]') == []


def test_more_requests_than_allowed_are_refused_with_the_reason(server: Server) -> None:
    browser = a_browser(server, user_id=EAGER)
    for number in range(MANY, MANY + OPEN_MAX):
        page = browser.get(f"/beatmapsets/{number}").button("Request ranking").press()
        assert page.message == "Your request has been sent to the nominators."

    refused = browser.get(f"/beatmapsets/{PENDING}").button("Request ranking").press()

    assert (refused.status, refused.alert) == (422, f"You have {OPEN_MAX} open requests; wait until one is answered.")


def test_request_for_a_set_that_got_a_status_is_refused_with_the_reason(server: Server, rows: Rows) -> None:
    form = a_browser(server, user_id=BORIS).get(f"/beatmapsets/{MANY}").button("Request ranking")
    with stores.engine(rows.data).begin() as connection:
        connection.execute(update(tables.maps).where(tables.maps.c.id == MANY).values(status=int(MapStatus.LOVED)))
        assert connection.execute(select(tables.maps.c.status).where(tables.maps.c.id == MANY)).scalar() == 5

    refused = form.press()

    assert (refused.status, refused.alert) == (422, "Only pending beatmaps can be requested.")


def test_restricted_visitor_has_no_form(server: Server) -> None:
    browser = a_browser(server, user_id=HIDDEN)

    for number in (RANKED, PENDING):
        page = browser.get(f"/beatmapsets/{number}")
        assert page.css('main form[method="post"]') == []
        assert "Your account is restricted." in page.text
    for act in ("rating", "request", "favourite", "comments"):
        assert browser.post(f"{PAGE}/{act}", {**token_field(browser), "map": str(RANKED)}).status == 403
