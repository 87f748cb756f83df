"""`/admin/audit`: the audit log with filters, the values before and after each act, pages, and the CSV file."""

import csv
import io

import msgspec
from sqlalchemy import insert, select, update
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, MODERATOR, OTHER, PLAYER, World, confirmed
from tests.site.kit import PageReply

from kiai.staff.audit import StoredRow, chained_hash
from kiai.staff.server_health import CHECKED, CheckFinding, LastCheck
from kiai.storage.tables import audit_head, audit_log

HOSTILE = "<script>alert(1)</script>"
REASON = f"=cmd {HOSTILE}"


def acts(page: PageReply) -> list[list[str]]:
    """Return the cells of the rows of the table, without the details."""
    return [[cell.text(strip=True) for cell in row.css("td")][:5] for row in page.css("tr[data-audit-id]")]


def silence(world: World, *, by: int = MODERATOR, user_id: int = PLAYER, reason: str = REASON) -> None:
    """Silence and unsilence a player."""
    browser = world.browser(by)
    done = confirmed(browser.get(f"/admin/users/{user_id}").form("Silence").fill(Duration="10m", Reason=reason))
    assert done.status == 200, done.alert
    confirmed(done.form("Lift silence"))


def write_rows(world: World, count: int) -> None:
    """Append rows directly, as the server would."""
    last_id, previous = world.row(select(audit_head.c.last_id, audit_head.c.hash))
    rows = []
    for row_id in range(last_id + 1, last_id + 1 + count):
        row = StoredRow(row_id, 1_000, 0, "job", "test_row", "server", 0, "", "{}", "")
        previous = chained_hash(previous, row)
        rows.append({**msgspec.structs.asdict(row), "hash": previous})
    world.write(insert(audit_log).values(rows))
    world.write(update(audit_head).values(last_id=last_id + count, hash=previous))


def test_row_has_who_did_what_to_whom_and_the_values_before_and_after(world: World) -> None:
    silence(world)

    page = world.browser(ADMINISTRATOR).get("/admin/audit?action=silence")

    assert [head.text(strip=True) for head in page.css("thead th")][:5] == [
        *("Time", "Actor", "Action", "Target", "Reason")
    ]
    [_, actor, action, target, reason] = acts(page)[0]
    assert (actor, action, target, reason) == (world.name(MODERATOR), "silence", world.name(PLAYER), REASON)
    assert HOSTILE.encode() not in page.body
    links = [link.attributes["href"] for link in page.css("tr[data-audit-id]")[0].css("a")]
    assert links == [f"/admin/users/{MODERATOR}", f"/admin/users/{PLAYER}"]
    change = page.css("tr[data-audit-id]")[0].css("[data-change]")
    assert change
    assert change[0].css("del")
    assert change[0].css("ins")


def test_filters_are_part_of_the_address_and_each_narrows_the_list(world: World) -> None:
    silence(world)
    silence(world, by=ADMINISTRATOR, user_id=OTHER, reason="another reason")
    browser = world.browser(ADMINISTRATOR)
    form = browser.get("/admin/audit").form("Filter the audit log")

    page = form.fill(Actor=world.name(ADMINISTRATOR), Target=f"#{OTHER}", Text="another").press()

    assert {tuple(row[1:]) for row in acts(page)} == {
        (world.name(ADMINISTRATOR), "silence", world.name(OTHER), "another reason")
    }
    assert page.form("Filter the audit log").values["actor"] == world.name(ADMINISTRATOR)
    for query in ("since=2100-01-01", "until=2001-01-01", "source=cli&action=silence", "target=%230", "until=5"):
        page = browser.get(f"/admin/audit?{query}")
        assert (page.status, acts(page)) == (200, []), query
        assert "No act fits." in page.text
    assert acts(browser.get("/admin/audit?since=2001-01-01&until=2100-01-01&source=web"))


def test_unknown_names_give_a_sentence_and_wrong_times_a_refusal(world: World) -> None:
    browser = world.browser(ADMINISTRATOR)

    assert "There is no account for this actor." in browser.get("/admin/audit?actor=nobody+at+all").text
    assert "There is no account for this target." in browser.get("/admin/audit?target=nobody+at+all").text
    assert len(browser.get("/admin/audit.csv?target=nobody+at+all").body.splitlines()) == 1
    for query in ("since=2026-02-30", "since=yesterday", "before=x", "q=" + "a" * 101):
        assert browser.get(f"/admin/audit?{query}").status == 400, query


def test_moderator_sees_only_own_acts(world: World) -> None:
    silence(world)
    silence(world, by=ADMINISTRATOR)
    browser = world.browser(MODERATOR)

    assert {row[1] for row in acts(browser.get("/admin/audit"))} == {world.name(MODERATOR)}
    page = browser.get(f"/admin/audit?actor=%23{ADMINISTRATOR}")
    assert (page.status, acts(page)) == (200, [])
    assert "You see only your own acts." in page.text
    assert world.name(ADMINISTRATOR) not in browser.get("/admin/audit.csv").body.decode()


def test_pages_follow_each_other_without_gaps(world: World) -> None:
    write_rows(world, 120)
    page = world.browser(ADMINISTRATOR).get("/admin/audit?action=test_row")
    found: list[int] = []
    while True:
        found += [int(row.attributes["data-audit-id"] or 0) for row in page.css("tr[data-audit-id]")]
        if page.link("Next") is None:
            break
        page = page.follow("Next")

    assert len(found) == 120
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] == 119


def test_file_has_the_filtered_rows_and_no_formulas(world: World) -> None:
    silence(world)

    reply = world.browser(ADMINISTRATOR).get("/admin/audit?action=silence").follow("CSV")

    assert reply.headers["content-type"].startswith("text/csv")
    assert "audit.csv" in reply.headers["content-disposition"]
    assert "no-store" in reply.headers["cache-control"]
    rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
    assert rows[0]["reason"] == f"'{REASON}"
    assert rows[0]["actor"] == world.name(MODERATOR)
    assert {row["action"] for row in rows} == {"silence"}


def test_page_tells_what_the_last_check_of_the_chain_has_found(world: World) -> None:
    record = world.server.data / CHECKED
    broken = CheckFinding("I14", "audit row 5 does not follow", repairable=False)
    other = CheckFinding("I1", "a counter", repairable=True)

    def state(*problems: CheckFinding, total: int | None = None) -> str | None:
        check = LastCheck(1_000, len(problems) if total is None else total, list(problems))
        record.write_bytes(msgspec.json.encode(check))
        return world.browser(ADMINISTRATOR).get("/admin/audit").one("[data-chain]").attributes["data-chain"]

    try:
        assert state() == "intact"
        assert state(other) == "intact"
        assert state(other, broken) == "faults"
        assert state(other, total=200) == "faults"
    finally:
        record.unlink()
    assert "kiai doctor" in world.browser(ADMINISTRATOR).get("/admin/audit").one('[data-chain="unknown"]').text()


def test_page_of_an_account_lists_its_newest_acts(world: World) -> None:
    silence(world)

    page = world.browser(ADMINISTRATOR).get(f"/admin/users/{PLAYER}")
    assert "Acts on this account" in page.headings()
    assert acts(page.follow(f"All acts on {world.name(PLAYER)}"))[0][3] == world.name(PLAYER)
    page = world.browser(ADMINISTRATOR).get(f"/admin/users/{MODERATOR}")
    assert acts(page.follow(f"All acts of {world.name(MODERATOR)}"))[0][1] == world.name(MODERATOR)

    seen = world.browser(MODERATOR).get(f"/admin/users/{PLAYER}")
    assert acts(seen)[0][2] == "unsilence"
    assert seen.css("[data-change]") == [], "details can be private"
    assert "Acts of this account" not in world.browser(MODERATOR).get(f"/admin/users/{ADMINISTRATOR}").headings()
    assert "Acts of this account" in world.browser(DEVELOPER).get(f"/admin/users/{ADMINISTRATOR}").headings()
