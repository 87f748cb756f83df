"""The page of a set for nominators, and its forms."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.site.kit import Browser, PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli, use_new_address
from tests.wire.rows import NORMAL, RESTRICTED, Rows
from tests.wire.world import a_map

from kiai.osu.privileges import ADMINISTRATOR, MODERATOR, NOMINATOR
from kiai.storage import tables

ANNA, NORA, BORIS, MOD, HIDDEN, ADMIN = 3, 4, 5, 6, 7, 8
FIRST: Final = 100
HOSTILE: Final = '"><script>alert(1)</script> \u202e \0'
ACTS: Final = ("nominate", "denominate", "status", "close")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """A player, two nominators, staff without that right, and pending sets of two maps."""
    data = tmp_path_factory.mktemp("ranking") / "data"
    cli(data, "migrate")
    rows = Rows(data)
    rows.player(ANNA, "anna")
    rows.player(NORA, "nora", priv=NORMAL | NOMINATOR)
    rows.player(BORIS, "boris", priv=NORMAL | NOMINATOR)
    rows.player(MOD, "mod", priv=NORMAL | MODERATOR)
    rows.player(ADMIN, "admin", priv=NORMAL | NOMINATOR | ADMINISTRATOR)
    rows.player(HIDDEN, "ghost", priv=RESTRICTED | NOMINATOR)
    for number in range(FIRST, FIRST + 12):
        for at, version in enumerate(("Easy", "<b>Hard</b>")):
            rows.map(a_map(2 * number + at, set_id=number, status=0, version=version, title=f"Song <i>{number}</i>"))
    yield rows
    rows.close()


@pytest.fixture(scope="module")
def server(rows: Rows) -> Iterator[Server]:
    """A server in the simple mode."""
    server = Server(rows.data, **BEHIND_PROXY).start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _new_address(server: Server) -> None:
    use_new_address(server)


def audited(rows: Rows, actor: int, target: int) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [
        (row.action, row.source, row.reason, json.loads(row.details))
        for row in rows.look(tables.audit_log)
        if (row.actor_id, row.target_id) == (actor, target)
    ]


def statuses(rows: Rows, set_id: int) -> list[int]:
    return [row.status for row in rows.look(tables.maps) if row.set_id == set_id]


def token_of(browser: Browser) -> dict[str, str]:
    return {"csrf_token": str(browser.get("/medals").one('input[name="csrf_token"]').attributes["value"])}


def opened(browser: Browser, set_id: int) -> PageReply:
    page = browser.get(f"/beatmapsets/{set_id}?map={2 * set_id}").follow("Nominate or set status")
    assert (page.status, page.path) == (200, f"/beatmapsets/{set_id}/ranking?map={2 * set_id}")
    return page


def test_status_of_a_set_is_set_after_a_confirmation_with_one_row_for_each_map(server: Server, rows: Rows) -> None:
    set_id = FIRST
    browser = a_browser(server, user_id=NORA)

    question = opened(browser, set_id).form("Map status").fill(Status="2", Reason="Good.").press("Set status")
    assert question.h1 == f"Set the status of Artist - Song <i>{set_id}</i>?"
    assert "Good." in question.text
    assert question.link("Cancel") == f"/beatmapsets/{set_id}/ranking?map={2 * set_id}"
    assert statuses(rows, set_id) == [0, 0]
    done = question.button("Confirm").press()

    assert (done.status, done.message) == (200, "The status is set.")
    assert done.stats("status") == ["2", "2"]
    assert statuses(rows, set_id) == [2, 2]
    for map_id in (2 * set_id, 2 * set_id + 1):
        assert audited(rows, NORA, map_id) == [("beatmap_status", "web", "Good.", {"before": 0, "after": 2})]
    again = question.button("Confirm").press()
    assert (again.status, again.alert) == (422, "The status is already ranked.")
    assert len(audited(rows, NORA, 2 * set_id)) == 1


def test_status_of_one_map_leaves_the_others(server: Server, rows: Rows) -> None:
    set_id = FIRST + 1
    page = opened(a_browser(server, user_id=NORA), set_id).follow("<b>Hard</b>")

    form = page.form("Map status").fill(Status="5", Maps="map", Reason="Fun.")
    question = form.press("Set status")
    assert question.h1 == f"Set the status of Artist - Song <i>{set_id}</i> [<b>Hard</b>]?"
    question.button("Confirm").press()

    assert statuses(rows, set_id) == [0, 5]


def test_requests_are_closed_from_the_list_with_a_reason(server: Server, rows: Rows) -> None:
    set_id = FIRST + 2
    a_browser(server, user_id=ANNA).get(f"/beatmapsets/{set_id}?map={2 * set_id}").button("Request ranking").press()
    browser = a_browser(server, user_id=NORA)

    page = browser.get("/requests").follow("Decide")
    assert page.path.startswith(f"/beatmapsets/{set_id}/ranking")
    assert page.link("anna") == f"/users/{ANNA}"
    wordless = page.form("Close requests").press("Close requests")
    assert wordless.status == 422
    assert "Must be a text of 1 to 500 characters." in (wordless.form("Close requests").error("Reason") or "")
    question = wordless.form("Close requests").fill(Reason="Not yet.").press("Close requests")
    done = question.button("Confirm").press()

    assert done.message == "The requests are closed. The players get the reason."
    assert not [row for row in rows.look(tables.map_requests) if row.set_id == set_id]
    assert [row[:3] for row in audited(rows, NORA, 2 * set_id)] == [("request_close", "web", "Not yet.")]
    again = question.button("Confirm").press()
    assert (again.status, again.alert) == (422, "There are no open requests.")


def test_simple_mode_has_no_nominations(server: Server) -> None:
    browser = a_browser(server, user_id=NORA)
    page = opened(browser, FIRST + 3)

    assert page.css('form[aria-labelledby="nominate-title"]') == []
    fields = {**token_of(browser), "map": str(2 * (FIRST + 3)), "confirmed": "1"}
    refused = browser.post(f"/beatmapsets/{FIRST + 3}/ranking/nominate", fields)
    assert refused.status == 422


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "2", "scope": "set", "reason": ""},
        {"status": "2", "scope": "set", "reason": "x" * 501},
        {"status": "2", "scope": "all", "reason": "x"},
        {"status": "1", "scope": "set", "reason": "x"},
        {"status": "-1", "scope": "set", "reason": "x"},
        {"status": HOSTILE, "scope": HOSTILE, "reason": HOSTILE},
        {},
    ],
)
def test_wrong_fields_are_explained_before_the_question(server: Server, rows: Rows, fields: dict[str, str]) -> None:
    browser, set_id = a_browser(server, user_id=NORA), FIRST + 4
    sent = {**token_of(browser), "map": str(2 * set_id), "confirmed": "1", **fields}

    page = browser.post(f"/beatmapsets/{set_id}/ranking/status", sent)

    assert page.status == 422
    assert page.css('form [aria-invalid="true"]')
    assert b"<script>alert" not in page.body
    assert statuses(rows, set_id) == [0, 0]


def test_hostile_reason_is_shown_as_text(server: Server) -> None:
    page = opened(a_browser(server, user_id=NORA), FIRST + 4)
    form = page.form("Map status").fill(Status="2", Reason=HOSTILE.replace("\0", ""))

    question = form.press("Set status")

    assert question.status == 200
    assert b"<script>alert" not in question.body
    assert "<script>alert(1)</script>" in question.text


@pytest.mark.parametrize("user_id", [ANNA, MOD, HIDDEN])
def test_page_does_not_exist_for_others(server: Server, rows: Rows, user_id: int) -> None:
    browser, path = a_browser(server, user_id=user_id), f"/beatmapsets/{FIRST + 5}"

    assert browser.get(path).link("Nominate or set status") is None
    assert browser.get(f"{path}/ranking").status == 404
    for act in ACTS:
        fields = {**token_of(browser), "map": str(2 * (FIRST + 5)), "status": "2", "scope": "set", "reason": "x"}
        assert browser.post(f"{path}/ranking/{act}", {**fields, "confirmed": "1"}).status in (403, 404)
    assert statuses(rows, FIRST + 5) == [0, 0]


def test_visitor_without_an_account_logs_in_first(server: Server) -> None:
    reply = a_browser(server).get(f"/beatmapsets/{FIRST}/ranking", follow=False)

    assert (reply.location or "").startswith("/login")


@pytest.mark.parametrize("path", ["999999/ranking", "x/ranking", f"{FIRST}/ranking?map=1"])
def test_unknown_sets_and_maps_are_not_found(server: Server, path: str) -> None:
    assert a_browser(server, user_id=NORA).get(f"/beatmapsets/{path}").status == 404


def test_two_nominators_qualify_a_set_and_one_resets_it(rows: Rows, server: Server) -> None:
    server.stop()
    mode = Server(rows.data, **BEHIND_PROXY, NOMINATION_MODE="on").start()
    try:
        use_new_address(mode)
        set_id = FIRST + 6
        nora, boris = (a_browser(mode, user_id=user_id) for user_id in (NORA, BORIS))

        page = opened(nora, set_id)
        assert [value for value, _ in options(page)] == ["0", "5"]
        assert [value for value, _ in options(opened(a_browser(mode, user_id=ADMIN), set_id))] == list("02345")
        question = page.form("Nominate").press("Nominate")
        assert question.h1 == f"Nominate Artist - Song <i>{set_id}</i>?"
        first = question.button("Confirm").press()
        assert (first.message, first.stat("nominations")) == ("The set is nominated.", "1")
        again = question.button("Confirm").press()
        assert (again.status, again.alert) == (422, "You have already nominated this beatmap set.")
        opened(boris, set_id).form("Nominate").fill(Reason="Fine.").press("Nominate").button("Confirm").press()
        assert statuses(rows, set_id) == [4, 4]

        question = opened(nora, set_id).form("Reset nominations").fill(Reason="Wrong.").press("Reset nominations")
        assert question.h1 == f"Reset the nominations of Artist - Song <i>{set_id}</i>?"
        reset = question.button("Confirm").press()

        assert reset.message == "The nominations are reset."
        assert statuses(rows, set_id) == [0, 0]
        again = question.button("Confirm").press()
        assert (again.status, again.alert) == (422, "This beatmap set has no nominations.")
        rows_of_nora = audited(rows, NORA, 2 * set_id)
        assert [row[:3] for row in rows_of_nora if row[0].startswith("nominate")] == [
            ("nominate", "web", ""),
            ("nominate_reset", "web", "Wrong."),
        ]
    finally:
        mode.stop()
        server.start()


def options(page: PageReply) -> list[tuple[str, str]]:
    return [
        (node.attributes["value"] or "", node.text(strip=True))
        for node in page.css('form[aria-labelledby="status-title"] select[name="status"] option')
    ]
