"""The first page of the panel: what waits, what happened today, and what is wrong."""

import time
from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import delete, insert, update
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, MODERATOR, NOMINATOR, OTHER, PLAYER, World

from kiai.faces.site.admin.start import oddities
from kiai.samples import SampleTotals
from kiai.staff.backup_model import LastBackUp
from kiai.staff.server_health import CertificateState, Disk, HealthReport, LastCheck, ParkedRows, Queues
from kiai.staff.start_page import DAY_MS, WAITING_MAX, StaffDay, StaffStart, Upto
from kiai.storage.tables import integrity_flags, logins, reports, users

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def flags(world: World) -> Iterator[None]:
    now = int(time.time() * 1000)
    rows = [{"user_id": PLAYER, "at_ms": now, "kind": "mods", "state": 0} for _ in range(WAITING_MAX + 3)]
    world.write(insert(integrity_flags).values(rows))
    world.write(insert(reports).values(at_ms=now, by_id=OTHER, target_id=PLAYER, kind="Cheating", text=HOSTILE))
    world.write(update(users).where(users.c.id == OTHER).values(deletes_at_ms=now + DAY_MS))
    yield
    world.write(delete(integrity_flags).where(integrity_flags.c.kind == "mods"))
    world.write(delete(reports).where(reports.c.by_id == OTHER))
    world.write(update(users).where(users.c.id == OTHER).values(deletes_at_ms=None))


@pytest.mark.usefixtures("flags")
def test_work_waits_for_those_who_may_do_it_and_its_count_stops(world: World) -> None:
    moderator = world.browser(MODERATOR).get("/admin")
    developer = world.browser(DEVELOPER).get("/admin")

    assert moderator.h1 == "Admin"
    assert moderator.stat("flags") == str(WAITING_MAX)
    assert f"{WAITING_MAX}+" in moderator.text
    assert moderator.stat("reports") == "1"
    assert moderator.stat("deletions") is None
    assert developer.stat("deletions") == "1"
    assert developer.stat("map requests") is not None


def test_logins_and_registrations_of_today_are_counted(world: World) -> None:
    before = int(world.browser(MODERATOR).get("/admin").stat("logins") or 0)
    now = int(time.time() * 1000)
    row = {"user_id": PLAYER, "address": "198.51.100.7", "build": 20260101, "stream": "stable"}
    world.write(insert(logins).values([{**row, "at_ms": now}, {**row, "at_ms": now - 2 * DAY_MS}]))

    page = world.browser(MODERATOR).get("/admin")

    assert page.stat("logins") == str(before + 1)
    assert page.stat("registrations") is not None
    assert page.stat("plays_today") is not None


def test_moderators_see_their_own_acts_and_administrators_all(world: World) -> None:
    world.browser(MODERATOR).get(f"/admin/users/{PLAYER}").form("Note").fill(Note=HOSTILE).press().button(
        "Confirm"
    ).press()

    own = world.browser(MODERATOR).get("/admin")
    everything = world.browser(ADMINISTRATOR).get("/admin")
    nobody = world.browser(DEVELOPER).get("/admin")

    assert "note" in own.one("table.rows").text()
    assert "note" in everything.one("table.rows").text()
    assert nobody.status == 200
    assert HOSTILE.encode() not in everything.body


def test_every_link_of_the_page_can_be_followed(world: World) -> None:
    for user_id in (MODERATOR, ADMINISTRATOR, DEVELOPER):
        browser = world.browser(user_id)
        for target in {link.attributes["href"] for link in browser.get("/admin").css("main a")}:
            assert browser.get(str(target)).status == 200, target


def test_only_developers_see_checks_of_the_server(world: World) -> None:
    assert "Checks" in world.browser(DEVELOPER).get("/admin").headings()
    assert "Checks" not in world.browser(ADMINISTRATOR).get("/admin").headings()
    assert world.browser(NOMINATOR).get("/admin").status == 404


# --- what is wrong

NOW_MS = 1_700_000_000_000
FINE = HealthReport(
    parts=[],
    started_at_ms=0,
    uptime=1.0,
    versions=[],
    disks=[Disk("data", 50, 100)],
    database_bytes=1,
    pools=[],
    slow_statements=[],
    queues=Queues(0, None, [], 0, None, 0, 0),
    certificates=[CertificateState("IRC", NOW_MS + 30 * DAY_MS, 30)],
    backup=LastBackUp(NOW_MS - DAY_MS, 1),
    check=LastCheck(NOW_MS, 0, []),
)
START = StaffStart(
    waiting=[],
    day=StaffDay(Upto(0, False), Upto(0, False), SampleTotals(5, 0, 0)),
    acts=[],
    parts={"database": "ok"},
    health=FINE,
    sees_health=True,
    under_maintenance=False,
    switched_registration=None,
)


def test_nothing_is_wrong_on_a_server_that_works() -> None:
    assert list(oddities(START, NOW_MS)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"disks": [Disk("files", 9 << 20, 100 << 20)]}, "The disk of the folder files has 9 MiB left."),
        ({"queues": Queues(1, 400, [], 0, None, 0, 0)}, "The oldest delivery has waited for 6 minutes."),
        (
            {"queues": Queues(0, None, [ParkedRows("mail", 2)], 0, None, 0, 0)},
            "2 deliveries of the kind mail have failed permanently.",
        ),
        ({"backup": None}, "There is no backup."),
        ({"backup": LastBackUp(NOW_MS - 3 * DAY_MS, 1)}, "The last backup is 3 days old."),
        ({"check": LastCheck(NOW_MS, 4, [])}, "The last run of kiai doctor found 4 problems."),
        ({"certificates": [CertificateState("IRC", None, None)]}, "The certificate of IRC cannot be read."),
        ({"certificates": [CertificateState("IRC", 0, 3)]}, "The certificate of IRC ends in 3 days."),
    ],
)
def test_health_that_needs_a_look_is_named(changes: dict[str, object], said: str) -> None:
    health = msgspec.structs.replace(FINE, **changes)

    assert [one.text for one in oddities(msgspec.structs.replace(START, health=health), NOW_MS)] == [said]


def test_reason_of_a_store_that_is_down_is_for_developers() -> None:
    down = msgspec.structs.replace(START, parts={"state": "redis://10.0.0.5 refused"})

    [developer] = oddities(down, NOW_MS)
    [moderator] = oddities(msgspec.structs.replace(down, health=None, sees_health=False), NOW_MS)

    assert developer.text == "state does not work: redis://10.0.0.5 refused"
    assert moderator.text == "state does not work."


def test_maintenance_registration_and_errors_are_named() -> None:
    day = msgspec.structs.replace(START.day, totals=SampleTotals(5, 2, 0))
    odd = msgspec.structs.replace(START, under_maintenance=True, switched_registration="off", day=day)

    assert [one.text for one in oddities(odd, NOW_MS)] == [
        "The server is under maintenance.",
        "Registration is closed, by a decision of staff against the setting.",
        "2 requests of today ended with an error of the server.",
    ]
