"""The forms about clans: founding, joining, leaving, and the page on which a clan is managed."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, Final

import pytest
from PIL import Image
from sqlalchemy import func, select, update
from tests import stores
from tests.patience import join, patiently
from tests.site.kit import Browser, File, FormOnPage, PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli
from tests.wire.rows import NORMAL, RESTRICTED, Rows

from kiai.clans.model import JoinForm
from kiai.osu.privileges import Privilege
from kiai.storage.tables import (
    audit_log,
    clan_history,
    clan_invitations,
    clan_requests,
    clan_reservations,
    clan_totals,
    clans,
    users,
)

OLGA, OTTO, MIA, NINA, NIKO, RESI, NEWCOMER, ADMIN = range(11, 19)
NAMES: Final = {
    OLGA: "olga", OTTO: "otto", MIA: "mia", NINA: "nina", NIKO: "niko", RESI: "resi", NEWCOMER: "newcomer",
    ADMIN: "the_admin",
}  # fmt: skip
PRIV: Final = {RESI: RESTRICTED, NEWCOMER: 1, ADMIN: NORMAL | int(Privilege.ADMINISTRATOR)}
ROLES: Final = {OLGA: 3, OTTO: 2, MIA: 1}
OWLS: Final = 7
CODE: Final = "abcdefgh1234"
MARKUP: Final = "[b]We[/b]\r\nsee <b>you</b>. [img]/ss/abcdefgh[/img] [url=javascript:x]y[/url]"
HOSTILE: Final = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the players."""
    data: Path = tmp_path_factory.mktemp("clan-forms") / "data"
    cli(data, "migrate")
    rows = Rows(data)
    for user_id, name in NAMES.items():
        rows.player(user_id, name)
    rows.close()
    server = Server(data, **BEHIND_PROXY, RATE_LIMITS="off", STAFF_SECOND_FACTOR="on").start()
    server.address = "198.51.100.21"
    yield server
    server.stop()


@pytest.fixture
def server(running: Server) -> Server:
    """The server with one clan: [OWL] Night Owls of olga (owner), otto (officer) and mia (member)."""
    owls = {"id": OWLS, "name": "Night Owls", "safe_name": "night_owls", "tag": "OWL", "owner_id": OLGA, "code": CODE}
    alone = {"clan_id": 0, "clan_priv": 0, "clan_left_at_ms": None, "silenced_until_ms": 0, "priv": NORMAL}
    run(
        running,
        *(table.delete() for table in (clan_history, clan_invitations, clan_requests, clan_reservations, clans)),
        clans.insert().values(owls | {"created_at_ms": now_ms(), "joining": int(JoinForm.INVITE)}),
        update(users).where(users.c.id.in_(NAMES)).values(alone),
        *(update(users).where(users.c.id == user_id).values(priv=priv) for user_id, priv in PRIV.items()),
        *(update(users).where(users.c.id == id_).values(clan_id=OWLS, clan_priv=role) for id_, role in ROLES.items()),
    )
    return running


def run(server: Server, *statements: Any) -> Any:
    """Run statements in one transaction, and return the rows of the last one."""
    with stores.engine(server.data).begin() as connection:
        results = [connection.execute(statement) for statement in statements]
        return results[-1].all() if results[-1].returns_rows else None


def change_clan(server: Server, **values: Any) -> None:
    run(server, update(clans).where(clans.c.id == OWLS).values(**values))


def change_player(server: Server, user_id: int, **values: Any) -> None:
    run(server, update(users).where(users.c.id == user_id).values(**values))


def members(server: Server) -> dict[int, int]:
    found = run(server, select(users.c.id, users.c.clan_priv).where(users.c.clan_id == OWLS))
    return {row.id: row.clan_priv for row in found}


def history(server: Server) -> list[str]:
    return [row.kind for row in run(server, select(clan_history.c.kind).order_by(clan_history.c.id))]


def audited(server: Server, after: int = 0) -> list[tuple[str, int, str, str]]:
    columns = (audit_log.c.action, audit_log.c.actor_id, audit_log.c.source, audit_log.c.reason)
    rows = select(*columns).where(audit_log.c.target_kind == "clan", audit_log.c.id > after)
    return [tuple(row) for row in run(server, rows.order_by(audit_log.c.id))]


def last_row(server: Server) -> int:
    """Return the id of the newest row of the audit log, which keeps its rows over all tests."""
    [(newest,)] = run(server, select(func.coalesce(func.max(audit_log.c.id), 0)))
    return int(newest)


def buttons(page: PageReply) -> list[str]:
    main = page.one("main")
    return [(node.attributes.get("aria-label") or node.text(strip=True)) for node in main.css("button[type=submit]")]


def as_(server: Server, user_id: int) -> Browser:
    return a_browser(server, user_id=user_id, second_factor_h=0 if user_id == ADMIN else None)


def the_clan(server: Server, user_id: int, query: str = "") -> PageReply:
    return as_(server, user_id).get(f"/clans/{OWLS}{query}")


def desk(server: Server, user_id: int) -> PageReply:
    page = as_(server, user_id).get(f"/clans/{OWLS}/manage")
    assert page.status == 200, page.text
    return page


def ask_to_join(server: Server, user_id: int) -> None:
    values = {"clan_id": OWLS, "user_id": user_id, "at_ms": now_ms()}
    run(server, clan_requests.insert().values(**values))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- founding


def found(browser: Browser, tag: str, name: str) -> PageReply:
    return browser.get("/clans/new").form("Found a clan").fill(Tag=tag, Name=name).press("Found clan")


def test_founder_is_the_owner_and_the_page_and_the_api_show_the_clan(server: Server) -> None:
    page = found(as_(server, NINA), "cat", "Cats of Oz")

    assert (page.status, page.h1, page.message) == (200, "[CAT] Cats of Oz", "You have founded this clan.")
    clan = server.ask("GET", f"/v2{page.path.partition('?')[0]}", host="api.localhost").json["data"]
    assert (clan["tag"], clan["name"]) == ("CAT", "Cats of Oz")
    assert [row.attributes["data-user-id"] for row in page.css("tr[data-user-id]")] == [str(NINA)]
    assert "[CAT] Cats of Oz" in as_(server, NIKO).get("/clans?q=cats").text


@pytest.mark.parametrize(
    ("tag", "name", "label", "message"),
    [
        ("owl", "Others", "Tag", "This tag is already taken."),
        ("X", "night_owls", "Name", "This name is already taken."),
        ("A B", "Others", "Tag", "Must be 1 to 6 characters out of A-Z, 0-9 and - _ !."),
        ("", "Others", "Tag", "Must be 1 to 6 characters out of A-Z, 0-9 and - _ !."),
        ("X", "O", "Name", "Must be 2 to 16 characters long."),
        (HOSTILE, "Others", "Tag", "Must be 1 to 6 characters out of A-Z, 0-9 and - _ !."),
        ("X", HOSTILE, "Name", "Must be 2 to 16 characters long."),
        ("X", "\x01\u202e", "Name", "Must be made of only A-Z, a-z, 0-9, spaces and _ ' [ ] -."),
    ],
)
def test_wrong_tag_or_name_is_explained_at_its_field(
    server: Server, tag: str, name: str, label: str, message: str
) -> None:
    page = found(as_(server, NINA), tag, name)

    form = page.form("Found a clan")
    assert (page.status, page.alert) == (422, "Nothing was changed. Check the marked field.")
    assert (form.error(label) or "").startswith(message)
    assert (form.values["tag"], form.values["name"]) == (tag, name)
    assert page.css("main script") == []
    assert len(run(server, select(clans.c.id))) == 1


def test_form_is_pressed_twice_and_one_clan_exists(server: Server) -> None:
    form = as_(server, NINA).get("/clans/new").form("Found a clan").fill(Tag="CAT", Name="Cats")

    form.press("Found clan")
    again = form.press("Found clan")

    assert (again.status, again.alert) == (422, "You are already in a clan.")
    assert again.link("[CAT] Cats")
    assert len(run(server, select(clans.c.id))) == 2


@pytest.mark.parametrize(
    ("user_id", "sentence"),
    [
        (MIA, "You are already in a clan."),
        (RESI, "Restricted players cannot found or join clans."),
        (NEWCOMER, "Log in to the game once. Then you can found and join clans."),
    ],
)
def test_player_who_cannot_found_a_clan_reads_why(server: Server, user_id: int, sentence: str) -> None:
    page = as_(server, user_id).get("/clans/new")

    assert page.status == 200
    assert sentence in page.text
    assert buttons(page) == []


def test_silence_and_waiting_time_are_explained(server: Server) -> None:
    change_player(server, NINA, silenced_until_ms=now_ms() + 600_000)
    change_player(server, NIKO, clan_left_at_ms=now_ms() - 3_600_000)

    silenced = as_(server, NINA).get("/clans/new")
    waiting = as_(server, NIKO).get("/clans/new")

    assert "You are silenced." in silenced.one("main").text()
    assert "You have left a clan recently. You can found or join one in 22 hours." in waiting.text


def test_links_lead_to_the_form_and_to_the_own_clan(server: Server) -> None:
    nina, mia = as_(server, NINA), as_(server, MIA)

    assert nina.get("/clans").link("Found a clan") == "/clans/new"
    assert mia.get("/clans").link("My clan") == mia.get("/medals").link("My clan") == f"/clans/{OWLS}"
    assert a_browser(server).get("/clans/new", follow=False).location == "/login?next=%2Fclans%2Fnew"


# --- joining


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (JoinForm.CLOSED, []),
        (JoinForm.OPEN, ["Join"]),
        (JoinForm.INVITE, ["Join with an invitation code"]),
        (JoinForm.REQUEST, ["Request to join", "Join with an invitation code"]),
    ],
)
def test_buttons_follow_the_form_of_joining(server: Server, form: JoinForm, expected: list[str]) -> None:
    change_clan(server, joining=int(form))

    assert buttons(the_clan(server, NINA)) == expected
    for other in (OLGA, RESI):
        assert buttons(the_clan(server, other)) == []
    nobody = a_browser(server).get(f"/clans/{OWLS}?code={CODE}")
    login = None if form is JoinForm.CLOSED else f"/login?next=/clans/{OWLS}%3Fcode%3D{CODE}"
    assert nobody.link("Log in to join") == login


def test_open_clan_is_joined_once_and_the_members_follow_at_once(server: Server) -> None:
    change_clan(server, joining=int(JoinForm.OPEN))
    form = the_clan(server, NINA).button("Join")

    page = form.press()
    again = form.press()

    assert page.message == "You are now a member of this clan."
    assert str(NINA) in [row.attributes["data-user-id"] for row in page.css("tr[data-user-id]")]
    assert (again.status, again.alert) == (422, "You are already in a clan.")
    assert history(server) == ["join"]
    api = server.ask("GET", f"/v2/clans/{OWLS}/members", host="api.localhost").json["data"]
    assert NINA in [member["id"] for member in api]


def test_request_is_made_withdrawn_and_made_again(server: Server) -> None:
    change_clan(server, joining=int(JoinForm.REQUEST))
    form = the_clan(server, NINA).button("Request to join")

    asked = form.press()
    again = form.press()
    withdrawn = asked.button("Withdraw request").press()
    late = asked.button("Withdraw request").press()

    assert asked.message == "You have asked to join. An officer can accept you."
    assert (again.status, again.alert) == (422, "You have already asked to join this clan.")
    assert withdrawn.message == "Your request is withdrawn."
    assert (late.status, late.alert) == (422, "This request no longer exists.")
    assert "Request to join" in buttons(late)


def test_link_with_the_code_fills_the_form_and_a_wrong_or_old_code_is_explained(server: Server) -> None:
    page = the_clan(server, NINA, f"?code={CODE}")
    form = page.form("Join with an invitation code")
    assert form.values["code"] == CODE
    change_clan(server, code="z" * 12)

    for code in (CODE, "", HOSTILE):
        wrong = form.fill(Invitation_code=code).press().form("Join with an invitation code")
        assert wrong.page.status == 422
        assert (wrong.error("Invitation code") or "").startswith("This code is wrong.")
        assert wrong.page.css("main script") == []
    joined = form.fill(Invitation_code="z" * 12).press()

    assert joined.message == "You are now a member of this clan."
    assert NINA in members(server)


def test_invitation_is_accepted_with_a_button(server: Server) -> None:
    invited = desk(server, OTTO).form("Invite").fill(Player="Nina").press("Invite")
    page = the_clan(server, NINA)

    assert invited.message == "The player is invited."
    assert buttons(page) == ["Accept invitation"]
    assert page.button("Accept invitation").press().message == "You are now a member of this clan."


def test_of_two_players_who_press_for_the_last_seat_one_gets_it(server: Server) -> None:
    change_clan(server, joining=int(JoinForm.OPEN))
    rows = Rows(server.data)
    for number in range(25 - 3 - 1):
        rows.player(200 + number, f"seat {number}", clan_id=OWLS, clan_priv=1)
    rows.close()
    forms = [the_clan(server, user_id).button("Join") for user_id in (NINA, NIKO)]
    replies: list[PageReply] = []
    barrier = Barrier(2)

    def press(form: FormOnPage) -> None:
        barrier.wait(patiently(60))
        replies.append(form.press())

    threads = [Thread(target=press, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)

    assert sorted(reply.status for reply in replies) == [200, 422]
    assert next(reply.alert for reply in replies if reply.status == 422) == "The clan is full."
    assert len(members(server)) == 25
    assert "This clan is full." in the_clan(server, NIKO if NINA in members(server) else NINA).text
    run(server, users.delete().where(users.c.id >= 200))


# --- leaving


def test_leaving_asks_and_names_the_clan(server: Server) -> None:
    question = the_clan(server, MIA).button("Leave clan").press()
    assert (question.status, question.h1) == (200, "Leave the clan [OWL] Night Owls?")
    assert question.link("Cancel") == f"/clans/{OWLS}"
    assert MIA in members(server)

    left = question.button("Confirm").press()
    again = question.button("Confirm").press()

    assert left.message == "You have left this clan."
    assert (again.status, again.alert) == (422, "You are not in a clan.")
    assert history(server) == ["leave"]


def test_owner_does_not_leave(server: Server) -> None:
    mia = as_(server, MIA)
    question = mia.get(f"/clans/{OWLS}").button("Leave clan").press()
    change_player(server, MIA, clan_priv=NORMAL)

    page = question.button("Confirm").press()

    assert (page.status, page.alert) == (422, "The owner can't leave: transfer or disband the clan first.")


# --- officers


def test_officer_accepts_and_denies_requests_by_name(server: Server) -> None:
    ask_to_join(server, NINA)
    ask_to_join(server, NIKO)
    assert the_clan(server, OTTO).link("2 open requests") == f"/clans/{OWLS}/manage"
    page = desk(server, OTTO)

    accepted = page.button("Accept nina").press("Accept nina")
    again = page.button("Accept nina").press("Accept nina")
    denied = page.button("Deny niko").press("Deny niko")

    assert accepted.message == "The player is now a member of the clan."
    assert (again.status, again.alert) == (422, "This request no longer exists.")
    assert denied.message == "The request is denied."
    assert "There are no open requests." in denied.text
    assert (NINA in members(server), NIKO in members(server)) == (True, False)


@pytest.mark.parametrize(
    ("name", "error"),
    [("nobody at all", "No player has this name."), ("resi", "No player has this name."), (HOSTILE, "No player")],
)
def test_unknown_and_hidden_players_cannot_be_invited(server: Server, name: str, error: str) -> None:
    page = desk(server, OTTO).form("Invite").fill(Player=name).press("Invite")

    assert page.status == 422
    assert (page.form("Invite").error("Player") or "").startswith(error)
    assert page.css("main script") == []


def test_invitation_of_a_member_or_a_second_one_is_explained(server: Server) -> None:
    form = desk(server, OTTO).form("Invite")

    assert form.fill(Player="mia").press("Invite").alert == "mia is already in a clan."
    form.fill(Player=str(NINA)).press("Invite")
    assert form.fill(Player="nina").press("Invite").alert == "nina is already invited."


def test_new_code_makes_the_old_one_worthless(server: Server) -> None:
    page = desk(server, OTTO)
    assert page.one("[data-clan-code]").text() == CODE
    assert f"http://localhost:{server.port}/clans/{OWLS}?code={CODE}" in page.text

    button = page.button("Make a new code")
    shown = button.press()

    new = shown.one("[data-clan-code]").text()
    assert button.press().one("[data-clan-code]").text() == new, "a second press makes no other code"
    assert new != CODE
    old = the_clan(server, NINA).form("Join with an invitation code").fill(Invitation_code=CODE).press()
    assert old.status == 422


def test_officer_removes_a_member_after_a_question(server: Server) -> None:
    audit_before = last_row(server)
    page = desk(server, OTTO)
    assert [label for label in buttons(page) if label.startswith(("Remove", "Promote", "Demote", "Transfer"))] == [
        "Remove mia",
    ]

    question = page.button("Remove mia").press()
    assert question.h1 == "Remove mia from the clan [OWL] Night Owls?"
    removed = question.button("Confirm").press()
    again = question.button("Confirm").press()

    assert removed.message == "The player is no longer a member of the clan."
    assert (again.status, again.alert) == (422, "This player is not a member of the clan.")
    assert history(server) == ["kick"]
    assert audited(server, audit_before) == []


def test_officer_who_was_demoted_meanwhile_reads_it_on_the_page_of_the_clan(server: Server) -> None:
    ask_to_join(server, NINA)
    page = desk(server, OTTO)
    change_player(server, OTTO, clan_priv=1)

    for refused in (
        page.button("Accept nina").press("Accept nina"),
        page.form("Invite").fill(Player="niko").press("Invite"),
        page.button("Make a new code").press(),
        page.button("Remove mia").press(),
    ):
        assert (refused.status, refused.alert) == (403, "Only officers can do that.")
        assert refused.h1 == "[OWL] Night Owls"
        assert CODE not in refused.text
    assert page.browser.get(f"/clans/{OWLS}/manage").path == f"/clans/{OWLS}"
    assert set(members(server)) == {OLGA, OTTO, MIA}


@pytest.mark.parametrize(
    ("user_id", "status", "target"), [(NINA, 404, None), (MIA, 302, f"/clans/{OWLS}"), (RESI, 302, f"/clans/{OWLS}")]
)
def test_others_do_not_see_the_page_of_management(
    server: Server, user_id: int, status: int, target: str | None
) -> None:
    change_player(server, RESI, clan_id=OWLS, clan_priv=2)
    page = as_(server, user_id).get(f"/clans/{OWLS}/manage", follow=False)

    assert (page.status, page.location) == (status, target)
    assert CODE not in page.text


@pytest.mark.parametrize("act", ["manage", "requests", "invite", "code", "role", "kick", "transfer", "disband"])
def test_forms_of_management_refuse_strangers_and_members(server: Server, act: str) -> None:
    fields = {
        "name": "Stolen", "tag": "ST", "join": "open", "player": str(OTTO), "answer": "accept", "role": "member",
        "sure": "1", "tag_typed": "OWL", "reason": "because",
    }  # fmt: skip
    before = run(server, select(clans)), members(server), last_row(server)

    for user_id in (NINA, MIA):
        browser = as_(server, user_id)
        token = str(browser.get("/medals").one('input[name="csrf_token"]').attributes["value"])
        reply = browser.post(f"/clans/{OWLS}/{act}", {**fields, "csrf_token": token})
        assert (reply.status, reply.alert) == (
            403,
            "Only the owner can do that."
            if act in ("manage", "role", "transfer", "disband")
            else "Only officers can do that.",
        )

    assert (run(server, select(clans)), members(server), last_row(server)) == before
    assert history(server) == []


# --- the owner


def test_owner_changes_roles(server: Server) -> None:
    page = desk(server, OLGA)

    assert page.button("Promote mia").press().message == "The member has another role."
    again = page.button("Promote mia").press()
    page.button("Demote otto").press()

    assert (again.status, again.alert) == (422, "mia is already an officer.")
    assert members(server) == {OLGA: 3, OTTO: 1, MIA: 2}


def test_owner_gives_the_clan_away_after_a_question(server: Server) -> None:
    question = desk(server, OLGA).button("Transfer to mia").press()
    assert question.h1 == "Make mia the owner of the clan [OWL] Night Owls?"

    page = question.button("Confirm").press()

    assert page.message == "The clan has another owner."
    assert members(server) == {OLGA: 2, OTTO: 2, MIA: 3}
    refused = question.button("Confirm").press()
    assert (refused.status, refused.alert) == (422, "Only the owner can do that.")


def test_owner_changes_tag_name_form_and_description(server: Server) -> None:
    form = desk(server, OLGA).form("Clan settings")

    page = form.fill(
        Tag="day", Name="Day Owls", Who_may_join="open", Description=MARKUP
    ).press("Save clan")  # fmt: skip
    again = form.press("Save clan")

    assert page.message == "The clan is changed."
    assert (again.status, again.alert) == (422, "The tag is already DAY.")
    assert sorted(history(server)) == ["form", "rename", "tag"]
    shown = the_clan(server, NINA)
    assert shown.h1 == "[DAY] Day Owls"
    about = shown.one(".clan-description")
    assert [bold.text() for bold in about.css("strong")] == ["We"]
    assert (len(about.css("br")), about.css("img")) == (1, [])
    assert "see <b>you</b>." in about.text()
    assert "[url=javascript:x]y[/url]" in about.text()
    assert [link.attributes["href"] for link in about.css("a")] == ["/ss/abcdefgh"]
    assert str(shown.one('meta[name="description"]').attributes["content"]).startswith("We see <b>you</b>.")
    assert buttons(shown) == ["Join"]
    assert a_browser(server).get("/clans/DAY", follow=False).location == f"/clans/{OWLS}"


def test_change_of_one_setting_keeps_what_another_has_changed_meanwhile(server: Server) -> None:
    form = desk(server, OLGA).form("Clan settings")
    change_clan(server, tag="NEW")

    form.fill(Description="Hello").press("Save clan")

    [clan] = run(server, select(clans))
    assert (clan.tag, clan.description) == ("NEW", "Hello")


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("Tag", "A B", "Must be 1 to 6 characters out of A-Z, 0-9 and - _ !."),
        ("Name", HOSTILE, "Must be 2 to 16 characters long."),
        ("Who may join", "everybody", "Must be one of closed, open, invite, request."),
        ("Description", "x" * 501, "Must be at most 500 printable characters."),
        ("Description", "\u202e", "Must be at most 500 printable characters."),
    ],
)
def test_wrong_setting_is_explained_at_its_field(server: Server, label: str, value: str, message: str) -> None:
    page = desk(server, OLGA).form("Clan settings").set(label, value).press("Save clan")

    assert page.status == 422
    assert (page.form("Clan settings").error(label) or "").startswith(message)
    assert page.css("main script") == []
    assert history(server) == []


def test_unchanged_settings_and_a_second_name_are_explained(server: Server) -> None:
    unchanged = desk(server, OLGA).form("Clan settings").press("Save clan")
    desk(server, OLGA).form("Clan settings").fill(Name="First").press("Save clan")
    second = desk(server, OLGA).form("Clan settings").fill(Name="Second").press("Save clan")

    assert (unchanged.status, unchanged.alert) == (422, "You have changed nothing.")
    assert (second.status, second.alert) == (
        422,
        "The clan was renamed recently. It can have another name in 29 days.",
    )
    assert second.form("Clan settings").values["name"] == "Second"


def test_clan_is_disbanded_only_with_its_tag(server: Server) -> None:
    question = desk(server, OLGA).form("Disband clan").press("Disband clan")
    assert question.h1 == "Disband the clan [OWL] Night Owls?"

    wrong = question.button("Confirm").set("Type the tag of the clan", "CAT").press()
    assert (wrong.status, wrong.button("Confirm").error("Type the tag of the clan")) == (422, "Type the tag OWL. OWL")
    assert members(server)
    gone = question.button("Confirm").set("Type the tag of the clan", "owl").press()
    again = question.button("Confirm").set("Type the tag of the clan", "owl").press()

    assert (gone.path, gone.message) == ("/clans?saved=disbanded", "The clan is disbanded.")
    assert again.status == 404
    assert the_clan(server, MIA).status == 404
    assert (members(server), history(server)) == ({}, ["disband"])


# --- staff


def confirmed(question: PageReply, reason: str) -> PageReply:
    return question.button("Confirm").set("Reason", reason).press()


def test_staff_changes_a_clan_of_others_with_a_reason_and_one_row_of_the_audit_log(server: Server) -> None:
    before, page = last_row(server), desk(server, ADMIN)
    assert "You change this clan as staff." in page.text
    assert CODE not in page.text
    form = page.form("Clan settings").fill(Name="Nice Owls", Description="<i>x</i>")

    question = form.press("Save clan")
    assert question.h1 == "Change the clan [OWL] Night Owls?"
    assert "Night Owls" in question.text
    assert "<i>x</i>" in question.text
    empty = confirmed(question, " ")
    assert (empty.status, bool(empty.button("Confirm").error("Reason"))) == (422, True)
    done = confirmed(question, "offensive name")
    again = confirmed(question, "offensive name")

    assert done.message == "The clan is changed."
    assert (again.status, again.alert) == (422, "The name is already Nice Owls.")
    assert audited(server, before) == [("clan_edit", ADMIN, "web", "offensive name")]


def test_staff_needs_a_recent_second_factor(server: Server) -> None:
    question = desk(server, ADMIN).button("Remove mia").press()
    question.browser.cookies = a_browser(server, user_id=ADMIN, second_factor_h=13).cookies
    page = question.browser.get("/medals")
    token = str(page.one('input[name="csrf_token"]').attributes["value"])
    form = question.button("Confirm").set("Reason", "a")
    form.values["csrf_token"] = token

    shown = question.browser.get(f"/clans/{OWLS}/manage", follow=False)
    refused = form.press(follow=False)

    assert shown.location == f"/admin/second-factor?next=%2Fclans%2F{OWLS}%2Fmanage"
    assert refused.location == "/admin/second-factor?next=%2Fadmin"
    assert MIA in members(server)


def test_staff_removes_transfers_and_disbands(server: Server) -> None:
    before, page = last_row(server), desk(server, ADMIN)

    confirmed(page.button("Remove otto").press(), "a")
    confirmed(page.button("Transfer to mia").press(), "b")
    assert members(server) == {OLGA: 2, MIA: 3}
    question = page.form("Disband clan").press("Disband clan")
    disbanded = question.button("Confirm").set("Type the tag of the clan", "OWL").set("Reason", "c").press()

    assert disbanded.message == "The clan is disbanded."
    assert audited(server, before) == [
        ("clan_edit", ADMIN, "web", "a"),
        ("clan_edit", ADMIN, "web", "b"),
        ("clan_disband", ADMIN, "web", "c"),
    ]


def a_picture(colour: tuple[int, int, int] = (200, 30, 30)) -> File:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(out, "PNG")
    return File(out.getvalue())


def icon_of(server: Server) -> str | None:
    [(key,)] = run(server, select(clans.c.icon).where(clans.c.id == OWLS))
    return str(key) if key else None


def test_owner_uploads_and_removes_an_icon_that_pages_show(server: Server) -> None:
    browser = as_(server, OLGA)
    page = browser.get(f"/clans/{OWLS}/manage")
    assert not page.css('main img[src^="/pictures/clans/"]')
    assert browser.get(f"/pictures/clans/{OWLS}").status == 404

    page = page.form("Icon").set("Icon", a_picture()).press("Upload icon")

    assert page.message == "The icon of the clan is changed."
    [shown] = page.css('main img[src^="/pictures/clans/"]')
    picture = browser.get(str(shown.attributes["src"]))
    with Image.open(io.BytesIO(picture.body)) as image:
        assert (image.format, image.size) == ("PNG", (200, 200))
    assert picture.headers["content-type"] == "image/png"
    assert "sandbox" in picture.headers["content-security-policy"]
    run(server, clan_totals.insert().values(mode=0, clan_id=OWLS, members=1, pp=5))
    for path in (f"/clans/{OWLS}", "/clans", "/leaderboard/clans"):
        assert browser.get(path).css(f'main img[src="{shown.attributes["src"]}"]'), path
    run(server, clan_totals.delete())
    assert history(server) == ["icon"]

    page = page.form("Icon").press("Remove icon")

    assert page.message == "The icon of the clan is removed."
    assert icon_of(server) is None
    assert not page.css('main img[src^="/pictures/clans/"]')
    assert history(server) == ["icon", "icon"]
    assert audited(server, last_row(server)) == []


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 422, "Choose a file."),
        (b"<svg/>", 422, "The file must be a PNG, JPEG, GIF or WebP picture."),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 422, "Must be"),
        (bytes(4 * 1024**2 + 1), 413, "The file must have at most 4 MiB."),
    ],
)
def test_wrong_icon_is_explained_and_changes_nothing(server: Server, content: bytes, status: int, message: str) -> None:
    page = desk(server, OLGA).form("Icon").set("Icon", File(content)).press("Upload icon")

    assert page.status == status
    assert message in (page.form("Icon").error("Icon") or "")
    assert icon_of(server) is None


def test_only_the_owner_and_staff_reach_the_forms_of_the_icon(server: Server) -> None:
    form = desk(server, OLGA).form("Icon").set("Icon", a_picture())
    assert "Upload icon" not in buttons(desk(server, OTTO))
    change_player(server, OLGA, clan_priv=2)

    page = form.press("Upload icon")

    assert (page.status, page.alert) == (422, "Only the owner can do that.")
    assert icon_of(server) is None


def test_settings_of_a_former_owner_are_refused_with_a_message(server: Server) -> None:
    form = desk(server, OLGA).form("Clan settings").fill(Description="We")
    change_player(server, OLGA, clan_priv=2)

    page = form.press("Save clan")

    assert (page.status, page.alert) == (422, "Only the owner can do that.")


def test_staff_sets_and_removes_an_icon_with_a_reason(server: Server) -> None:
    before, page = last_row(server), desk(server, ADMIN)
    form = page.form("Icon").set("Icon", a_picture())

    refused = form.press("Upload icon")
    assert (refused.status, bool(refused.form("Icon").error("Reason"))) == (422, True)
    page = form.set("Reason", "asked for it").press("Upload icon")
    assert page.message == "The icon of the clan is changed."
    question = page.form("Icon").press("Remove icon")
    assert question.h1 == "Remove the icon of the clan [OWL] Night Owls?"
    assert icon_of(server) is not None
    done = confirmed(question, "hateful")

    assert done.message == "The icon of the clan is removed."
    assert icon_of(server) is None
    assert audited(server, before) == [
        ("clan_edit", ADMIN, "web", "asked for it"),
        ("clan_edit", ADMIN, "web", "hateful"),
    ]


def test_staff_does_not_act_on_the_clan_of_an_equal(server: Server) -> None:
    question = desk(server, ADMIN).button("Transfer to mia").press()
    change_player(server, OLGA, priv=PRIV[ADMIN])

    page = confirmed(question, "a")

    assert (page.status, page.alert) == (422, "Only a higher role can act on this user.")
    assert members(server)[OLGA] == 3


def test_former_staff_reaches_nothing(server: Server) -> None:
    question = desk(server, ADMIN).button("Remove mia").press()
    change_player(server, ADMIN, priv=NORMAL)

    page = confirmed(question, "a")

    assert (page.status, page.alert) == (403, "Only officers can do that.")
    assert MIA in members(server)
    assert question.browser.get(f"/clans/{OWLS}/manage").status == 404
