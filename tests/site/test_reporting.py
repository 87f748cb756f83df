"""The forms that report a player, a score or a comment."""

from collections.abc import Iterator
from typing import Final

import pytest
from tests.site.forms_kit import at_once, migrated_rows
from tests.site.kit import Browser, PageReply, a_browser
from tests.wire.kit import Server
from tests.wire.rows import RESTRICTED, Rows
from tests.wire.world import a_map, a_score

from kiai.accounts.model import BOT_ID
from kiai.storage.tables import reports, set_comments

ALICE, HIDDEN, FIRST = 3, 4, 10
SCORE, SET, COMMENT = 8_000_001, 100, 7
HOSTILE: Final = "<script>alert(1)</script> \u202e [url=//evil.example]x[/url] \0"
PLAYER_FORM: Final = f"/users/{ALICE}/report"
SCORE_FORM: Final = f"/scores/{SCORE}/report"
COMMENT_FORM: Final = f"/beatmapsets/{SET}/comments/{COMMENT}/report"
pytestmark = pytest.mark.usefixtures("new_address")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """Alice with a score and a comment, a restricted player with both, and players who report."""
    with migrated_rows(tmp_path_factory) as rows:
        rows.player(ALICE, "alice")
        rows.player(HIDDEN, "ghost", priv=RESTRICTED)
        for number in range(FIRST, FIRST + 30):
            rows.player(number, f"reporter {number}")
        rows.map(a_map(1, title="Odd <b>song</b>"))
        for at, user_id in enumerate((ALICE, HIDDEN)):
            rows.score(SCORE + at, user_id, 1, a_score())
            rows.put(
                set_comments,
                {"id": COMMENT + at, "set_id": SET, "user_id": user_id, "text": "You are <b>bad</b>", "at_ms": 1},
            )
        yield rows


def stored(rows: Rows, by: int) -> list[tuple[int, str, str]]:
    return [(row.target_id, row.kind, row.text) for row in rows.look(reports) if row.by_id == by]


def send(browser: Browser, path: str, kind: str = "Cheating", text: str = "") -> PageReply:
    return browser.get(path).form("Report").fill(Kind=kind, Text=text).press("Report")


@pytest.mark.parametrize(
    ("at", "reporter", "path"),
    [
        (f"/users/{ALICE}", FIRST, PLAYER_FORM),
        (f"/scores/{SCORE}", FIRST + 1, SCORE_FORM),
        (f"/beatmapsets/{SET}", FIRST + 2, COMMENT_FORM),
    ],
)
def test_report_is_sent_from_the_page_of_its_subject(
    server: Server, rows: Rows, at: str, reporter: int, path: str
) -> None:
    page = a_browser(server, user_id=reporter).get(at).follow("Report")
    assert (page.path, page.status) == (path, 200)
    assert "alice" in page.h1

    sent = page.form("Report").fill(Kind="Insults", Text="It was rude.").press("Report")

    assert sent.path.partition("?")[0] == at
    assert (sent.message or "").startswith("Thank you.")
    [(target, kind, text)] = stored(rows, reporter)
    assert (target, kind) == (ALICE, "Insults")
    assert text.endswith("It was rude.")


def test_stored_text_names_the_score_and_quotes_the_comment(server: Server, rows: Rows) -> None:
    by_score, by_comment = FIRST + 3, FIRST + 4

    send(a_browser(server, user_id=by_score), SCORE_FORM)
    send(a_browser(server, user_id=by_comment), COMMENT_FORM, text="Look.")

    assert stored(rows, by_score) == [(ALICE, "Cheating", f"Score {SCORE}")]
    assert stored(rows, by_comment) == [
        (ALICE, "Cheating", f'Comment {COMMENT} on set {SET}, "You are <b>bad</b>": Look.')
    ]


def test_second_report_about_a_player_is_refused_in_words(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=FIRST + 5)
    send(browser, PLAYER_FORM)

    for path in (PLAYER_FORM, SCORE_FORM, COMMENT_FORM):
        again = send(browser, path, text="Again.")
        assert (again.status, again.alert) == (422, "You have reported this player already. Staff will look at it.")
        assert again.form("Report").values["text"] == "Again."
    assert len(stored(rows, FIRST + 5)) == 1


def test_two_reports_at_once_are_stored_once(server: Server, rows: Rows) -> None:
    forms = [a_browser(server, user_id=FIRST + 6).get(PLAYER_FORM).form("Report") for _ in range(4)]

    statuses = at_once(forms, "Report")

    assert statuses == [303, 422, 422, 422]
    assert len(stored(rows, FIRST + 6)) == 1


def test_report_after_five_in_an_hour_is_refused_in_words(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=FIRST + 7)

    sent = [send(browser, f"/users/{FIRST + other}/report") for other in range(10, 16)]

    assert [page.status for page in sent] == [200] * 5 + [422]
    assert sent[-1].alert == "You can send 5 reports per hour."
    assert len(stored(rows, FIRST + 7)) == 5


@pytest.mark.parametrize("path", [PLAYER_FORM, SCORE_FORM, COMMENT_FORM])
def test_wrong_fields_are_explained_and_nothing_is_stored(server: Server, rows: Rows, path: str) -> None:
    browser = a_browser(server, user_id=FIRST + 8)

    wordless = send(browser, path, "Other", "  ")
    assert wordless.status == 422
    assert (wordless.form("Report").error("Text") or "").startswith("Say what happened, in 1 to")
    long = send(browser, path, text="x" * 501)
    assert (long.form("Report").error("Text") or "").startswith("Say what happened, in 1 to")
    unknown = send(browser, path, "x" * 40)
    assert (unknown.form("Report").error("Kind") or "").startswith("Choose what the report is about.")
    empty = browser.post(path, {"csrf_token": str(unknown.form("Report").values["csrf_token"])})
    assert empty.status == 422
    assert stored(rows, FIRST + 8) == []


def test_hostile_texts_are_shown_as_text(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=FIRST + 9)

    page = send(browser, PLAYER_FORM, "Wrong", HOSTILE)
    assert page.status == 422
    assert b"<script>alert" not in page.body
    assert page.css("blockquote b") == browser.get(COMMENT_FORM).css("blockquote b") == []
    assert "<b>song</b>" in browser.get(SCORE_FORM).one("blockquote").text()
    assert send(browser, PLAYER_FORM, "Other", HOSTILE).message
    [(_, _, text)] = stored(rows, FIRST + 9)
    assert text.startswith("<script>alert(1)</script>")


@pytest.mark.parametrize(
    "path",
    [
        f"/users/{HIDDEN}/report",
        f"/scores/{SCORE + 1}/report",
        f"/beatmapsets/{SET}/comments/{COMMENT + 1}/report",
        f"/beatmapsets/{SET + 1}/comments/{COMMENT}/report",
        "/users/999999/report",
        "/users/2147483648/report",
        "/users/x/report",
        "/scores/0/report",
        f"/scores/{2**63}/report",
    ],
)
def test_restricted_target_is_like_nobody(server: Server, path: str) -> None:
    browser = a_browser(server, user_id=FIRST + 16)
    token = str(browser.get(PLAYER_FORM).form("Report").values["csrf_token"])

    assert browser.get(path).status == 404
    assert browser.post(path, {"csrf_token": token, "kind": "Cheating", "text": "x"}).status == 404


@pytest.mark.parametrize(("path", "reason"), [(f"/users/{BOT_ID}/report", "the bot"), (PLAYER_FORM, "yourself")])
def test_the_bot_and_oneself_cannot_be_reported(server: Server, path: str, reason: str) -> None:
    browser = a_browser(server, user_id=ALICE)
    token = str(browser.get(f"/users/{FIRST}/report").form("Report").values["csrf_token"])

    assert browser.get(path).status == 404
    page = browser.post(path, {"csrf_token": token, "kind": "Cheating"})
    assert (page.status, f"you can't do that to {reason}" in page.text) == (422, True)
    assert browser.get(f"/users/{ALICE}").link("Report") is None
    assert browser.get(f"/scores/{SCORE}").link("Report") is None
    assert browser.get(f"/beatmapsets/{SET}").link("Report") is None


def test_restricted_visitor_has_no_form(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=HIDDEN)

    page = browser.get(PLAYER_FORM)
    assert "Your account is restricted." in page.text
    assert page.css("main form") == []
    assert browser.get(f"/users/{ALICE}").link("Report") is None
    token = str(page.one('input[name="csrf_token"]').attributes["value"])
    assert browser.post(PLAYER_FORM, {"csrf_token": token, "kind": "Cheating"}).status == 403
    assert stored(rows, HIDDEN) == []


def test_visitor_without_an_account_logs_in_first(server: Server) -> None:
    nobody = a_browser(server)

    assert nobody.get(f"/users/{ALICE}").link("Report") is None
    reply = nobody.get(PLAYER_FORM, follow=False)
    assert (reply.status, reply.location) == (303, "/login?next=%2Fusers%2F3%2Freport")
