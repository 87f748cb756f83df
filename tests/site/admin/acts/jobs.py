"""The acts on jobs."""

from sqlalchemy import delete, insert
from tests.site.admin.kit import DEVELOPER, PLAYER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.own_account.exports import ExportState
from kiai.staff.job_runs import JobState
from kiai.storage.tables import exports, job_runs

PATH = "/admin/jobs"
WAITING = 1_000_000
HOSTILE = "<script>alert(1)</script>"


def to_start(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form that starts a job."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(PATH).form(form).fill(Reason="a test", **fields)

    return filled_in


def without_runs(world: World) -> None:
    """Remove all runs, and make the folder that the import reads."""
    (world.server.data / "import").mkdir(exist_ok=True)
    world.write(delete(job_runs))


def a_run(world: World, run_id: int, **values: object) -> None:
    """Add a run of a kind that no worker carries out, unless these values name another."""
    row = {
        "id": run_id,
        "kind": "none",
        "params": "{}",
        "state": int(JobState.RUNNING),
        "actor_id": DEVELOPER,
        "source": "web",
        "reason": HOSTILE,
        "requested_at_ms": 1,
        "lines": HOSTILE,
        **values,
    }
    world.write(insert(job_runs).values(row))


def with_a_run(world: World) -> None:
    """Let one run wait."""
    without_runs(world)
    a_run(world, WAITING, state=int(JobState.WAITING))


def an_export(world: World) -> None:
    """Let the player wait for an export. Its file cannot be stored, so that it waits until the act."""
    folder = world.server.data / "files" / "exports"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        folder.touch()
    world.write(delete(exports))
    row = {"user_id": PLAYER, "state": int(ExportState.WAITING), "with_replays": 1, "requested_at_ms": 1}
    world.write(insert(exports).values(row))


def new_run(world: World) -> str:
    """Return the name of the target of a start."""
    return "a new run"


CASES = {
    f"{PATH}/exports/{{user}}/cancel": Case(
        "export_cancel",
        DEVELOPER,
        lambda world, browser: (
            browser.get(PATH).follow(world.name(PLAYER)).form("Cancel export").fill(Reason="the disk is full")
        ),
        an_export,
    ),
    f"{PATH}/recalc": Case("recalc", DEVELOPER, to_start("Recalculate pp", Map="900001"), without_runs, new_run),
    f"{PATH}/rehearsal": Case("job_start", DEVELOPER, to_start("Rehearse now"), without_runs, new_run),
    f"{PATH}/backup": Case("job_start", DEVELOPER, to_start("Back up"), without_runs, new_run),
    f"{PATH}/import": Case("job_start", DEVELOPER, to_start("Import maps", Status="loved"), without_runs, new_run),
    f"{PATH}/refresh": Case("job_start", DEVELOPER, to_start("Refresh from upstream"), without_runs, new_run),
    f"{PATH}/{{run}}/cancel": Case(
        "job_cancel",
        DEVELOPER,
        lambda world, browser: browser.get(f"{PATH}/{WAITING}").form("Cancel").fill(Reason="not needed"),
        with_a_run,
        lambda world: f"none {WAITING}",
    ),
}
