"""The pages of accounts in the panel: search, state, and acts of two administrators at once."""

from urllib.parse import urlencode

from sqlalchemy import delete, insert, update
from tests.site.admin.kit import (
    ADMINISTRATOR,
    DEVELOPER,
    MODERATOR,
    NOMINATOR,
    OTHER,
    OWNER,
    PLAYER,
    PRIVILEGES,
    RESTRICTED,
    SECOND,
    World,
    confirmed,
    details,
)
from tests.site.kit import PageReply

from kiai.accounts.model import Privacy
from kiai.osu.privileges import ROLES
from kiai.storage.tables import users

HOSTILE = "<script>alert(1)</script>"


def normal(world: World) -> None:
    values = {"priv": 3, "silenced_until_ms": 0, "banned_at_ms": None}
    world.write(update(users).where(users.c.id == PLAYER).values(**values))


def test_search_finds_accounts_by_name_part_of_the_name_and_id_also_hidden_ones(world: World) -> None:
    browser = world.browser(MODERATOR)
    name = world.name(RESTRICTED)

    for text in (name, name[:3], name[1:5], str(RESTRICTED), f"#{RESTRICTED}"):
        page = browser.get("/admin/users").form("Search users").set("Search users", text).press()
        found = [row.attributes["data-user-id"] for row in page.css("tbody tr")]
        assert str(RESTRICTED) in found, text
    assert page.one("[data-state]").attributes["data-state"] == "restricted"
    assert browser.get("/admin/users?q=nobody-has-this-name").css("tbody tr") == []


def found_in(page: PageReply) -> list[int]:
    return [int(row.attributes["data-user-id"] or 0) for row in page.css("tbody tr")]


def test_filters_stand_in_the_address_and_the_form(world: World) -> None:
    normal(world)
    browser = world.browser(MODERATOR)
    form = browser.get("/admin/users").form("Search users")

    page = form.fill(State="restricted").press()

    assert RESTRICTED in found_in(page)
    assert PLAYER not in found_in(page)
    assert "state=restricted" in page.path
    assert page.form("Search users").values["state"] == "restricted"
    assert found_in(browser.get("/admin/users?role=nominator")) == [NOMINATOR, OWNER][::-1]
    assert found_in(browser.get(f"/admin/users?q={RESTRICTED}&state=banned")) == []
    assert found_in(browser.get(f"/admin/users?q={RESTRICTED}&state=restricted")) == [RESTRICTED]
    assert "No account fits" in browser.get("/admin/users?country=aq&seen_until=1971-01-01").text
    for wrong in ("state=x", "role=x", "country=xyz", "joined_since=yesterday", "seen_until=1e9", "after=-1", "sort=x"):
        assert browser.get(f"/admin/users?{wrong}").status == 400, wrong


def test_next_page_of_a_filtered_list_keeps_the_filters(world: World) -> None:
    ids = range(5_000, 5_051)
    rows = [{"id": n, "name": f"many {n}", "safe_name": f"many_{n}", "email": f"m{n}", "country": "is"} for n in ids]
    world.write(insert(users).values([{**row, "created_at_ms": 1, "active_at_ms": 1} for row in rows]))
    try:
        page = world.browser(MODERATOR).get("/admin/users?country=is&joined_until=1970-01-02")
        after = page.follow("Next")
    finally:
        world.write(delete(users).where(users.c.id.in_(ids)))

    assert found_in(page) + found_in(after) == [*ids][::-1]
    assert after.css('[rel="next"]') == []


def test_order_is_in_the_address_and_the_form(world: World) -> None:
    browser = world.browser(MODERATOR)

    page = browser.get("/admin/users").form("Search users").fill(Order="name").press()

    names = [row.text(strip=True) for row in page.css("tbody td.who")]
    assert names == sorted(names, key=str.lower)
    assert page.form("Search users").values["sort"] == "name"
    oldest = found_in(browser.get("/admin/users?sort=oldest"))
    assert oldest == sorted(oldest)
    assert found_in(browser.get("/admin/users")) == sorted(oldest, reverse=True)


def test_file_has_the_filtered_accounts_without_private_data_and_formulas(world: World) -> None:
    row = {"id": 6_000, "name": "=cmd()", "safe_name": "=cmd()", "email": "m6000", "country": "xx"}
    hidden = {"home_country": "is", "privacy": int(Privacy.HIDE_ONLINE), "priv": 3 | ROLES["nominator"]}
    shown = {**row, "id": 6_001, "name": "seen", "safe_name": "seen", "email": "m6001", "country": "is"}
    world.write(insert(users).values([{**row, **hidden, "created_at_ms": 1_000, "active_at_ms": 1_000}]))
    world.write(insert(users).values([{**shown, "priv": 2, "created_at_ms": 2_000, "active_at_ms": 3_000}]))
    before = len(world.audit())
    try:
        page = world.browser(MODERATOR).get("/admin/users?country=is&sort=oldest")
        reply = page.follow("CSV")
    finally:
        world.write(delete(users).where(users.c.id.in_([6_000, 6_001])))

    assert reply.headers["content-type"].startswith("text/csv")
    assert "users.csv" in reply.headers["content-disposition"]
    assert "no-store" in reply.headers["cache-control"]
    assert reply.body.decode().splitlines() == [
        "id,name,state,privileges,country,joined,last_seen",
        "6000,'=cmd(),normal,verified nominator,xx,1970-01-01T00:00:01Z,",
        "6001,seen,restricted,verified,is,1970-01-01T00:00:02Z,1970-01-01T00:00:03Z",
    ]
    [recorded] = world.audit()[before:]
    assert (recorded.action, recorded.actor_id) == ("user_export", MODERATOR)
    assert details(recorded) == {"filters": {"country": "is"}, "order": "oldest", "accounts": 2}
    browser = world.browser(MODERATOR)
    assert browser.get("/admin/users.csv?q=seen").status == 400
    assert not browser.get("/admin/users?q=a").css('a[href^="/admin/users.csv"]')


def test_private_search_is_for_administrators_and_is_recorded_without_the_text(world: World) -> None:
    email = world.row(users.select().where(users.c.id == PLAYER)).email
    before = len(world.audit())

    refused = world.browser(MODERATOR).get(f"/admin/users?{urlencode({'q': email})}")
    assert found_in(refused) == []
    assert len(world.audit()) == before
    assert "e-mail" not in refused.one("main").text()

    page = world.browser(ADMINISTRATOR).get(f"/admin/users?{urlencode({'q': email})}")

    assert found_in(page) == [PLAYER]
    [row] = world.audit()[before:]
    assert (row.action, row.actor_id, details(row)) == (
        "user_search",
        ADMINISTRATOR,
        {"by": "email", "found": [PLAYER]},
    )
    assert email not in row.details


def test_moderator_sees_no_private_data_and_only_own_acts(world: World) -> None:
    normal(world)
    page = world.browser(MODERATOR).get(f"/admin/users/{PLAYER}")

    assert "@" not in page.one("main").text()
    names = [node.text(strip=True) for node in page.css("form h3")]
    assert "Silence" in names
    assert "Restrict" not in names
    assert "Delete account" not in names


def test_wrong_field_is_marked_and_what_was_typed_stays(world: World) -> None:
    normal(world)
    form = world.browser(MODERATOR).get(f"/admin/users/{PLAYER}").form("Silence")

    page = form.fill(Duration="10 weeks", Reason=HOSTILE).press()

    assert page.status == 422
    again = page.form("Silence")
    assert "Must be a time" in (again.error("Duration") or "")
    assert again.values["reason"] == HOSTILE


def test_hostile_reason_is_text_in_the_question_and_in_the_log(world: World) -> None:
    normal(world)
    form = world.browser(MODERATOR).get(f"/admin/users/{PLAYER}").form("Silence")

    question = form.fill(Duration="10m", Reason=HOSTILE).press()
    question.form(question.h1).press("Confirm")

    assert HOSTILE in question.text
    assert HOSTILE.encode() not in question.body
    assert world.audit()[-1].reason == HOSTILE


def test_second_of_two_administrators_sees_who_was_first_and_nothing_is_done_twice(world: World) -> None:
    normal(world)
    first, second = (
        world.browser(user_id).get(f"/admin/users/{PLAYER}").form("Restrict").fill(Reason="cheats")
        for user_id in (ADMINISTRATOR, SECOND)
    )
    done = confirmed(first)
    before = len(world.audit())

    late = confirmed(second)

    assert "is restricted" in (done.message or "")
    assert late.status == 409
    assert f"Changed by {world.name(ADMINISTRATOR)} a moment ago (restrict)" in (late.alert or "")
    assert late.one("[data-state]").attributes["data-state"] == "restricted"
    assert len(world.audit()) == before


def test_act_is_undone_by_the_form_that_its_message_offers(world: World) -> None:
    normal(world)
    done = confirmed(
        world.browser(MODERATOR).get(f"/admin/users/{PLAYER}").form("Silence").fill(Duration="1h", Reason="x")
    )

    assert done.link("Undo: Lift silence") == "#act-unsilence"
    undone = confirmed(done.form("Lift silence"))

    assert undone.one("[data-state]").attributes["data-state"] == "normal"
    assert [row.action for row in world.audit()[-2:]] == ["silence", "unsilence"]


def test_rank_is_judged_and_the_refusal_is_recorded(world: World) -> None:
    form = world.browser(ADMINISTRATOR).get(f"/admin/users/{OWNER}").form("Restrict").fill(Reason="coup")

    page = confirmed(form)

    assert page.status == 403
    assert page.alert == "Only a higher role can act on this user."
    assert world.audit()[-1].action == "denied"
    assert "data-reset-link" not in page.body.decode()


def test_reset_link_of_a_higher_role_is_refused(world: World) -> None:
    form = world.browser(ADMINISTRATOR).get(f"/admin/users/{OWNER}").form("Reset link").fill(Reason="mine now")

    page = confirmed(form)

    assert page.status == 403
    assert page.css("[data-reset-link]") == []


def test_reset_link_is_shown_once_and_works(world: World) -> None:
    normal(world)
    form = world.browser(ADMINISTRATOR).get(f"/admin/users/{PLAYER}").form("Reset link").fill(Reason="lost it")

    page = confirmed(form)

    link = page.one("[data-reset-link]").text(strip=True)
    assert "/reset/" in link
    assert link not in " ".join(row.details for row in world.audit())


def test_privileges_are_set_as_checked_and_own_ones_cannot_be_taken(world: World) -> None:
    normal(world)
    browser = world.browser(DEVELOPER)
    form = browser.get(f"/admin/users/{PLAYER}").form("Privileges")
    assert form.values.get("privileges-verified") == "1"

    page = confirmed(form.fill(nominator="1", alumni="1", Reason="team"))
    assert page.alert is None
    stored = world.row(users.select().where(users.c.id == PLAYER)).priv
    assert stored == 3 | 2048 | 128

    own = browser.get(f"/admin/users/{DEVELOPER}").form("Privileges")
    own.values.pop("privileges-developer")
    refused = confirmed(own.fill(Reason="enough"))
    assert refused.status == 422
    assert world.row(users.select().where(users.c.id == DEVELOPER)).priv == PRIVILEGES[DEVELOPER]


def test_public_pages_and_the_api_follow_at_once(world: World) -> None:
    normal(world)
    assert world.server.get(f"/v1/get_player_info?id={PLAYER}&scope=info").status == 200

    confirmed(world.browser(ADMINISTRATOR).get(f"/admin/users/{PLAYER}").form("Restrict").fill(Reason="cheats"))

    assert world.server.get(f"/v1/get_player_info?id={PLAYER}&scope=info").status == 404
    assert world.browser(OTHER).get(f"/users/{PLAYER}").status == 404
    confirmed(world.browser(ADMINISTRATOR).get(f"/admin/users/{PLAYER}").form("Lift restriction"))
    assert world.server.get(f"/v1/get_player_info?id={PLAYER}&scope=info").status == 200


def test_deleted_account_has_a_page_without_acts(world: World) -> None:
    deleted = 18
    world.write(update(users).where(users.c.id == deleted).values(deleted_at_ms=5))

    page = world.browser(DEVELOPER).get(f"/admin/users/{deleted}")

    assert page.one("[data-state]").attributes["data-state"] == "deleted"
    assert page.css("form h3") == []
