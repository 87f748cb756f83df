"""Backups that the server starts by itself: when, how often, what a failure leaves, and what is removed."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.builders import DEVELOPER, World, a_player

from kiai.backup_stores import rehearse
from kiai.errors import Refused
from kiai.files.folder_place import LOCK, FolderPlace
from kiai.settings import load_settings
from kiai.staff import OPERATOR, Actor
from kiai.staff.backup_folder import BackupFolder
from kiai.staff.backup_model import MANIFEST, Manifest
from kiai.staff.backup_rehearsals import KIND as REHEARSAL
from kiai.staff.backup_rehearsals import LastRehearsal, Rehearsals, record_rehearsal
from kiai.staff.backup_retention import PARTIAL, PARTIAL_KEPT_MS, NextBackup, Retention, backup_name
from kiai.staff.backup_runs import KIND, RETRY_MS, BackupRuns
from kiai.staff.backups import BackupSource, BackupWriter, Progress
from kiai.staff.doctor import Doctor
from kiai.staff.job_runs import JobDesk, JobRun, JobState, JobWorker
from kiai.storage.tables import audit_log

DAY_S = 86_400


class Schedule:
    """Two workers of a server with `backup_every = "1d"`, each with its own desk."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self.written: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.spoil: Callable[[Path], object] = lambda folder: None
        self.folder = BackupFolder(FolderPlace(path), DAY_S, Retention(last=2), world.clock)
        self.workers = [self._worker(self.folder) for _ in range(2)]

    def _worker(self, folder: BackupFolder) -> tuple[BackupRuns, JobDesk, JobWorker]:
        world = self.world
        desk = JobDesk(world.database, world.authority, world.clock)
        runs = BackupRuns(desk, folder, self._back_up, lambda: None, world.clock, self._tell)
        return runs, desk, JobWorker(world.database, desk.kinds, world.clock)

    async def _tell(self, state: str, reason: str) -> None:
        self.told.append((state, reason))

    async def _back_up(self, name: str, chain: NextBackup, progress: Progress) -> Manifest:
        self.written.append(name)

        async def dump(into: Path) -> None:
            (into / "kiai.db").write_bytes(b"the database")

        def spoiling(done: int) -> None:
            self.spoil(self.path / name)
            progress(done)

        source = BackupSource("sqlite", "1", dump, self.world.files)
        work = self.path.with_name("work")
        work.mkdir()
        try:
            writer = BackupWriter(
                self.folder.place, name, source, work, self.world.clock, chain=chain, progress=spoiling
            )
            made = await writer.write(lambda path: None)
        finally:
            shutil.rmtree(work)
        return made

    def tick(self, worker: int = 0) -> None:
        """Let a worker look for due backups and carry out what is queued."""
        runs, _, jobs = self.workers[worker]
        self.world.run(runs.start_due())
        while self.world.run(jobs.work(KIND)):
            pass

    def newest(self) -> JobRun:
        found = self.world.run(self.workers[0][1].newest(KIND))
        assert found is not None
        return found

    def names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.path) if name != LOCK)

    def doctor(self) -> list[str]:
        world = self.world

        async def served() -> bool:
            return False

        doctor = Doctor(
            world.database,
            world.files,
            world.beatmaps,
            world.rebuilder,
            world.reconciler,
            world.clock,
            served,
            world.folder,
            self.folder,
        )
        return [one.what for one in world.run(doctor.examine()).problems if one.invariant == "I16"]


@pytest.fixture
def schedule(world: World, tmp_path: Path) -> Schedule:
    return Schedule(world, tmp_path / "backups")


def test_server_starts_a_backup_each_day_and_keeps_the_last_two(schedule: Schedule) -> None:
    clock, names = schedule.world.clock, []
    for _ in range(4):
        schedule.tick()
        names.append(backup_name(clock.now_ms()))
        clock.advance(DAY_S - 60)
        schedule.tick()  # not yet
        clock.advance(60)

    assert schedule.written == [name + PARTIAL for name in names]
    assert schedule.names() == names[2:]
    run = schedule.newest()
    assert (run.state, run.source, run.actor_id) == (JobState.DONE, "job", 0)
    assert f"Removed {names[1]}." in run.lines
    rows = schedule.world.look(select(audit_log.c.action, audit_log.c.source))
    assert [tuple(row) for row in rows] == [("job_start", "job")] * 4


def test_restarted_server_continues_the_schedule(schedule: Schedule) -> None:
    schedule.tick()
    schedule.world.clock.advance(DAY_S // 2)

    again = Schedule(schedule.world, schedule.path)
    again.tick()
    assert again.written == []
    schedule.world.clock.advance(DAY_S // 2)
    again.tick()
    assert len(again.written) == 1


def test_two_workers_start_one_backup(schedule: Schedule) -> None:
    async def both() -> None:
        await asyncio.gather(*(runs.start_due() for runs, _, _ in schedule.workers))

    schedule.world.run(both())
    schedule.tick(1)
    schedule.tick(0)

    assert len(schedule.written) == len(schedule.names()) == 1


def test_run_that_was_queued_too_late_writes_nothing(schedule: Schedule) -> None:
    schedule.world.run(schedule.workers[0][0].start_due())
    schedule.world.run(schedule._back_up(backup_name(schedule.world.clock.now_ms()), NextBackup(), lambda done: None))
    schedule.written.clear()

    schedule.world.run(schedule.workers[0][2].work(KIND))

    assert schedule.written == []
    assert schedule.newest().lines == "a newer backup exists."


def test_backup_of_staff_counts_and_is_written_in_any_case(schedule: Schedule) -> None:
    root = Actor(schedule.world.add_player(a_player("root", priv=DEVELOPER)), "web")
    _, desk, worker = schedule.workers[0]
    for _ in range(2):
        schedule.world.run(desk.start(root, KIND, {"by": "someone"}))
        schedule.world.run(worker.work(KIND))
        schedule.world.clock.advance(60)

    schedule.tick()

    assert len(schedule.written) == 2
    assert schedule.newest().params == "{}"


def test_damaged_copy_fails_the_run_and_the_last_good_one_stays(schedule: Schedule) -> None:
    schedule.tick()
    good = schedule.names()
    schedule.spoil = lambda folder: (folder / "kiai.db").write_bytes(b"the databasf")
    schedule.world.clock.advance(DAY_S)
    schedule.tick()

    assert schedule.newest().state == JobState.FAILED
    assert "kiai.db of the backup is damaged" in schedule.newest().lines
    assert schedule.names() == good
    schedule.tick()
    schedule.world.clock.advance(RETRY_MS // 1000 - 1)
    schedule.tick()
    assert len(schedule.written) == 2  # none for an hour
    schedule.spoil = lambda folder: None
    schedule.world.clock.advance(1)
    schedule.tick()
    assert schedule.newest().state == JobState.DONE
    assert [state for state, _ in schedule.told] == ["failed", "ok"]
    assert schedule.told[0][1] == "kiai.db of the backup is damaged."


def test_backup_that_a_wrong_clock_dated_in_the_future_stops_nothing(schedule: Schedule) -> None:
    clock = schedule.world.clock
    now_ms = clock.now_ms()
    clock.set_now_ms(now_ms + 3_650 * DAY_S * 1000)
    schedule.tick()
    clock.set_now_ms(now_ms)
    assert schedule.doctor() == [f"{schedule.path} contains no good backup"]

    for _ in range(3):
        schedule.tick()
        clock.advance(DAY_S)

    assert len(schedule.written) == 4
    assert schedule.written[-1].removesuffix(PARTIAL) in schedule.names(), "the newest one is not removed"


def test_interval_may_be_shorter_than_the_wait_after_a_failure(schedule: Schedule) -> None:
    folder = BackupFolder(FolderPlace(schedule.path), 600, Retention(last=2), schedule.world.clock)
    schedule.workers = [schedule._worker(folder)]

    for _ in range(3):
        schedule.tick()
        schedule.world.clock.advance(600)

    assert len(schedule.written) == 3


def test_worker_that_lost_its_lease_keeps_its_folder_to_itself(schedule: Schedule) -> None:
    with schedule.folder.writing():
        schedule.tick()
        assert "another process writes a backup" in schedule.newest().lines
    assert schedule.written == []


def test_doctor_reports_when_two_times_have_passed(schedule: Schedule) -> None:
    assert schedule.doctor() == [f"{schedule.path} contains no good backup"]
    schedule.tick()
    schedule.world.clock.advance(2 * DAY_S)
    assert schedule.doctor() == []
    schedule.world.clock.advance(1)
    [problem] = schedule.doctor()
    assert "but backup_every is 1 day" in problem


def test_damaged_backup_is_not_good_and_is_not_removed(schedule: Schedule) -> None:
    schedule.tick()
    [damaged] = schedule.names()
    (schedule.path / damaged / MANIFEST).write_text("{")

    for _ in range(3):
        schedule.world.clock.advance(DAY_S)
        schedule.tick()

    assert len(schedule.written) == 4
    assert damaged in schedule.names()
    assert len(schedule.names()) == 3  # and the last two


def test_foreign_folders_links_and_young_partial_ones_stay(schedule: Schedule, tmp_path: Path) -> None:
    clock = schedule.world.clock
    schedule.path.mkdir()
    old, young = (backup_name(clock.now_ms() - ago) + PARTIAL for ago in (PARTIAL_KEPT_MS + 1000, PARTIAL_KEPT_MS))
    for name in (old, young, "notes", f"{backup_name(0)}.old"):
        (schedule.path / name).mkdir()
        os.utime(schedule.path / name, (0, 0))
    (tmp_path / "elsewhere").mkdir()
    (schedule.path / (backup_name(0) + PARTIAL)).symlink_to(tmp_path / "elsewhere")
    before = set(schedule.names())

    schedule.tick()

    assert before - set(schedule.names()) == {old}
    assert (tmp_path / "elsewhere").is_dir()


def test_without_backup_every_nothing_starts(world: World, tmp_path: Path) -> None:
    schedule = Schedule(world, tmp_path)
    schedule.folder = BackupFolder(FolderPlace(tmp_path / "b"), None, Retention(last=1), world.clock)
    schedule.workers = [schedule._worker(schedule.folder)]
    schedule.tick()
    assert schedule.written == []
    assert schedule.doctor() == []


def test_unsafe_folder_is_refused(schedule: Schedule) -> None:
    def refuse() -> None:
        raise Refused("the folder is inside the data")

    desk = schedule.workers[0][1]
    runs = BackupRuns(desk, schedule.folder, schedule._back_up, refuse, schedule.world.clock, schedule._tell)
    with pytest.raises(Refused, match="inside the data"):
        schedule.world.run(runs.start_due())
    with pytest.raises(Refused, match="inside the data"):
        schedule.world.run(desk.start(OPERATOR, KIND, {}))


def test_operator_is_told_once_that_backups_are_old(schedule: Schedule) -> None:
    schedule.tick()
    schedule.spoil = lambda folder: (folder / "kiai.db").write_bytes(b"the databasf")
    for _ in range(4):
        schedule.world.clock.advance(DAY_S)
        schedule.tick()
    assert [state for state, _ in schedule.told] == ["failed", "old"]
    assert "but backup_every is 1 day." in schedule.told[1][1]
    schedule.spoil = lambda folder: None
    schedule.world.clock.advance(DAY_S)
    schedule.tick()
    assert [state for state, _ in schedule.told] == ["failed", "old", "ok"]


def test_rehearsal_runs_each_month_and_a_failed_one_each_day(schedule: Schedule, tmp_path: Path) -> None:
    world, rehearsed, fails = schedule.world, [], [False]

    async def rehearse(name: str) -> str:
        rehearsed.append(name)
        if fails[0]:
            raise Refused("it is damaged")
        return "good."

    desk = JobDesk(world.database, world.authority, world.clock)
    rehearsals = Rehearsals(desk, schedule.folder, 30 * DAY_S * 1000, rehearse, tmp_path, world.clock)
    worker = JobWorker(world.database, desk.kinds, world.clock)

    def pass_days(days: int) -> int:
        before = len(rehearsed)
        for _ in range(days):
            world.run(rehearsals.start_due())
            world.run(worker.work(REHEARSAL))
            world.clock.advance(DAY_S)
        return len(rehearsed) - before

    assert pass_days(1) == 0  # there is no backup
    schedule.tick()
    assert pass_days(60) == 2
    assert rehearsed[0] == schedule.names()[0]
    fails[0] = True
    assert pass_days(3) == 3
    record_rehearsal(tmp_path, LastRehearsal(world.clock.now_ms(), "x"))  # `kiai backups rehearse`
    assert pass_days(3) == 0


def test_rehearsal_on_a_small_disk_is_refused(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule.tick()
    free = shutil.disk_usage("/")._replace(free=500_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    settings = load_settings(data=schedule.world.folder)
    with pytest.raises(Refused, match=r"needs 0\.5 GB in .* but 0\.5 GB are free; free some, or set"):
        schedule.world.run(rehearse(settings, schedule.folder.place, schedule.names()[0], None, schedule.world.clock))
