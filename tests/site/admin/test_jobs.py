"""The pages of jobs in the panel."""

import json
from pathlib import Path

from sqlalchemy import delete
from tests.builders import a_map
from tests.patience import patiently, wait_until
from tests.site.admin.acts.jobs import HOSTILE, a_run, an_export, without_runs
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, PLAYER, World, confirmed
from tests.site.kit import Browser, PageReply

from kiai.staff.job_runs import PAGE, JobState
from kiai.storage.tables import exports, job_runs

PATH = "/admin/jobs"


def ended(browser: Browser) -> PageReply:
    """Wait until the newest run has ended, and return its page."""

    def newest() -> PageReply:
        return browser.get(f"{PATH}/{browser.get(PATH).css('tr[data-run]')[0].attributes['data-run']}")

    wait_until(lambda: state(newest()) in ("done", "failed", "cancelled"), within_s=patiently(30))
    return newest()


def state(page: PageReply) -> str:
    """Return the state of a run."""
    return str(page.one("[data-state]").attributes["data-state"])


def lines(page: PageReply) -> list[str]:
    """Return the last lines of a run."""
    return [line.text(strip=True) for line in page.css("[data-lines] li")]


def test_backup_is_started_and_lands_in_the_folder_of_the_setting(world: World) -> None:
    without_runs(world)
    browser = world.browser(DEVELOPER)

    page = confirmed(browser.get(PATH).form("Back up").fill(Reason="before the update"))
    assert page.message == "The backup is queued."
    run = ended(browser)

    assert state(run) == "done", lines(run)
    assert "before the update" in run.one("main").text()
    assert world.name(DEVELOPER) in run.one("main").text()
    name = lines(run)[0].removeprefix("Writing ").removesuffix(".")
    folder = world.server.data.with_name("backups")
    assert [path.name for path in folder.iterdir() if path.name == name] == [name]
    manifest = json.loads((folder / name / "manifest.json").read_text())
    assert run.stat("done") == run.stat("total") == str(manifest["files"])


def test_rehearsal_is_started_and_restores_the_newest_backup(world: World) -> None:
    without_runs(world)
    browser = world.browser(DEVELOPER)
    confirmed(browser.get(PATH).form("Back up").fill(Reason="for the rehearsal"))
    backup = lines(ended(browser))[0].removeprefix("Writing ").removesuffix(".")
    without_runs(world)

    page = confirmed(browser.get(PATH).form("Rehearse now").fill(Reason="before the season"))
    assert page.message == "The rehearsal is queued."
    run = ended(browser)

    assert state(run) == "done", lines(run)
    assert lines(run)[0] == f"Restoring {backup}."
    assert "before the season" in run.one("main").text()


def test_import_reads_the_folder_of_the_data_folder_and_needs_it(world: World) -> None:
    without_runs(world)
    folder = Path(world.server.data, "import")
    folder.rmdir()
    browser = world.browser(DEVELOPER)

    refused = confirmed(browser.get(PATH).form("Import maps").fill(Reason="new maps"))
    assert (refused.status, refused.alert) == (
        422,
        "The data folder has no folder 'import' with files to import.",
    )

    folder.mkdir()
    new = a_map(424_242, title=HOSTILE)
    (folder / "new.osu").write_bytes(new.data)
    (folder / "broken.osz").write_bytes(b"no archive")
    confirmed(browser.get(PATH).form("Import maps").fill(Reason="new maps", Status="loved"))
    run = ended(browser)
    for path in folder.iterdir():
        path.unlink()

    assert state(run) == "done"
    assert lines(run)[-1] == "1 maps in 1 sets imported, 1 files skipped."
    assert any("broken.osz" in line for line in lines(run))
    assert run.stat("done") == run.stat("total") == "2"


def test_refresh_asks_upstream_for_every_official_set(world: World) -> None:
    without_runs(world)
    browser = world.browser(DEVELOPER)

    confirmed(browser.get(PATH).form("Refresh from upstream").fill(Reason="old statuses"))
    run = ended(browser)

    assert state(run) == "done", lines(run)
    assert lines(run)[-1].endswith("sets checked, 0 failed.")


def test_running_job_shows_its_progress_and_last_lines(world: World) -> None:
    without_runs(world)
    a_run(world, 2_000_002, done=3, total=9, params='{"colour":"red"}')

    page = world.browser(DEVELOPER).get(f"{PATH}/2000002")

    assert (state(page), page.stat("done"), page.stat("total")) == ("running", "3", "9")
    assert page.one("progress").attributes["value"] == str(3 / 9)
    assert lines(page) == [HOSTILE]
    assert HOSTILE.encode() not in page.body
    assert "red" in page.one("main").text()
    assert page.headings(3) == ["Cancel"]


def test_exports_and_periodic_jobs_are_shown_with_their_failures(world: World) -> None:
    an_export(world)
    browser = world.browser(DEVELOPER)

    def failures(job: str) -> int:
        cells = browser.get(PATH).one(f'tr[data-periodic="{job}"]').css("td")
        return int(cells[2].text(strip=True))

    wait_until(lambda: failures("exports") > 0, within_s=patiently(30))
    page = browser.get(PATH)
    world.write(delete(exports))

    row = page.one(f'tr[data-export="{PLAYER}"]')
    assert world.name(PLAYER) in row.text()
    assert page.css("tr[data-periodic]")[0].attributes["data-periodic"] == "activity"
    assert "not yet" not in page.one('tr[data-periodic="recalc-runs"]').text()
    assert failures("recalc-runs") == 0
    assert "No player waits" in browser.get(PATH).one("main").text()
    assert browser.get(f"{PATH}/exports/{PLAYER}").status == 404


def test_wrong_parameters_are_shown_at_their_fields(world: World) -> None:
    without_runs(world)
    form = world.browser(DEVELOPER).get(PATH).form("Recalculate pp")

    wrong_map = confirmed(form.fill(Map="abc", Reason="a test"))
    assert "Must be the id of a map." in (wrong_map.form("Recalculate pp").error("Map") or "")
    unknown = confirmed(form.fill(Map="", Player="nobody at all", Reason="a test"))

    assert (unknown.status, unknown.alert) == (422, "The user does not exist.")
    assert world.rows(job_runs.select()) == []


def test_runs_are_listed_by_pages_and_empty_lists_say_so(world: World) -> None:
    without_runs(world)
    browser = world.browser(DEVELOPER)
    assert "No job was started yet." in browser.get(PATH).one("main").text()

    for at in range(PAGE + 1):
        a_run(world, 3_000_000 + at, state=int(JobState.DONE))
    first = browser.get(PATH)
    rest = first.follow("Next")
    world.write(delete(job_runs))

    assert len(first.css("tr[data-run]")) == PAGE
    assert [row.attributes["data-run"] for row in rest.css("tr[data-run]")] == ["3000000"]
    assert HOSTILE in rest.one("tr[data-run]").text()
    assert browser.get(f"{PATH}/3000000").status == 404
    assert world.browser(ADMINISTRATOR).get(PATH).status == 404
