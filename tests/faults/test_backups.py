"""Backups of a busy server, and restoring them."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests import engines, stores
from tests.buckets import an_s3
from tests.builders import a_map
from tests.faults.submitting import Bot
from tests.patience import patiently, wait_until
from tests.wire.kit import KIAI, Server, cli, environment, run_kiai
from tests.wire.submitting import Played, password_md5, prepare, submit, try_to_log_in, web

from kiai.backup_stores import open_place
from kiai.staff.backup_keys import make_key

NAMES = ["alice", "bob"]
FIRST_PART = "tables" if stores.SHARED else "kiai.db"
SONGS = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("backups") / "data"
    prepare(data, NAMES, vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    for song in SONGS:
        (folder / f"{song.id}.osu").write_bytes(song.data)
    server = Server(data).start()
    server.cli("beatmaps", "import", str(folder))
    for name in NAMES:
        try_to_log_in(server, name)
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def test_back_up_under_load_restores_to_a_consistent_server(server: Server, tmp_path: Path) -> None:
    bots = [Bot(server, name, [song.md5 for song in SONGS], seed) for seed, name in enumerate(NAMES)]
    for bot in bots:
        bot.start()
    time.sleep(1.0)
    before = [play for bot in bots for play in bot.acknowledged]

    manifest = server.cli("backup", str(tmp_path / "copy"))

    for bot in bots:
        bot.stopping.set()
    for bot in bots:
        bot.join(patiently(30))
    assert [bot.failure for bot in bots] == [None, None]
    assert manifest["engine"] == stores.ENGINE
    assert manifest["files"] > len(SONGS)
    stores.of(tmp_path / "new", empty=True)
    assert cli(tmp_path / "new", "restore", str(tmp_path / "copy"))["files"] == manifest["files"]
    problems = [one for one in cli(tmp_path / "new", "doctor", "--repair")["problems"] if "outbox" not in one["what"]]
    assert problems == []
    restored = Server(tmp_path / "new").start()
    try:
        try_to_log_in(restored, "alice")
        for one in before:
            if one.score_id is None:
                continue
            assert restored.get(f"/get_score_info?id={one.score_id}").json["score"]["score"] == one.played.score
            reply = web(restored, "/web/osu-getreplay.php", u="alice", h=password_md5(), c=one.score_id, m=0)
            assert reply.body == one.played.replay
        assert submit(restored, Played(SONGS[0].md5, "alice", score=5_000_000).sealed()).body.startswith(b"beatmapId:")
        restored.stop()
    finally:
        restored.kill()


def test_backup_by_a_command_is_among_the_runs_of_jobs_with_its_failure(server: Server, tmp_path: Path) -> None:
    cli(server.data, "backup", str(tmp_path / "copy"))
    refused = run_kiai(server.data, "backup", str(tmp_path / "copy"))
    assert refused.returncode == 1

    runs = cli(server.data, "jobs", "list")["runs"]

    runs = [run for run in runs if run["job"] == "backup-command"][:2]
    found = [(run["job"], run["state"], run["lines"]) for run in runs]
    assert [(kind, state) for kind, state, _ in found] == [("backup-command", "failed"), ("backup-command", "done")]
    assert found[1][2] == [f"Written to {tmp_path / 'copy'}."]
    assert str(tmp_path / "copy") in " ".join(found[0][2])


def test_killed_back_up_leaves_no_back_up(server: Server, tmp_path: Path) -> None:
    for number in range(300):
        (server.data / "files" / "replays" / f"{number % 256:02x}").mkdir(parents=True, exist_ok=True)
    copy = tmp_path / "copy"
    process = subprocess.Popen(
        [*KIAI, "backup", str(copy), "--data", str(server.data)],
        env=environment(stores.variables(server.data)),
        stdout=subprocess.DEVNULL,
    )
    wait_until((copy / FIRST_PART).exists, within_s=30)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(patiently(60))

    stores.of(tmp_path / "new", empty=True)
    if not (copy / "manifest.json").exists():  # else it was faster than we are
        assert "does not contain a complete backup" in refusal(tmp_path / "new", copy)
    assert not (tmp_path / "new" / "kiai.db").exists()


def refusal(data: Path, copy: Path) -> str:
    """Run a restore that fails. Return its error."""
    done = run_kiai(data, "restore", str(copy))
    assert done.returncode == 1, done
    return done.stderr


def test_damaged_back_up_is_rejected_and_nothing_is_restored(server: Server, tmp_path: Path) -> None:
    stores.of(tmp_path / "new", empty=True)
    server.cli("backup", str(tmp_path / "copy"))
    [first, *_] = sorted((tmp_path / "copy" / "files" / "osu").iterdir())
    whole = first.read_bytes()

    first.write_bytes(whole[:-1])
    assert "is damaged" in refusal(tmp_path / "new", tmp_path / "copy")
    first.unlink()
    assert "is missing or cannot be read" in refusal(tmp_path / "new", tmp_path / "copy")
    first.write_bytes(whole)
    listing = tmp_path / "copy" / "files.jsonl"
    listed = listing.read_bytes()
    listing.write_bytes(listed[:-2])
    assert "is damaged" in refusal(tmp_path / "new", tmp_path / "copy")
    listing.write_bytes(listed)
    part = tmp_path / "copy" / FIRST_PART
    database = part / "users.copy" if part.is_dir() else part
    dumped = database.read_bytes()
    database.write_bytes(dumped[:-1] + bytes([dumped[-1] ^ 1]))
    assert f"{database.name} of the backup is damaged" in refusal(tmp_path / "new", tmp_path / "copy")
    database.write_bytes(dumped)
    assert not (tmp_path / "new" / "files").exists(), "nothing was put in place"
    assert cli(tmp_path / "new", "restore", str(tmp_path / "copy"))["files"] > 0


@pytest.mark.parametrize("place", ["copy", "files/copy", "files/../copy"])
def test_back_up_inside_the_data_folder_is_rejected(server: Server, place: str) -> None:
    done = run_kiai(server.data, "backup", str(server.data / place))

    assert (done.returncode, f"is inside {server.data}, which is backed up" in done.stderr) == (1, True), done.stderr
    assert not (server.data / place).resolve().exists()
    assert list(server.data.rglob("manifest*")) == []  # the running server may write other files meanwhile


def test_back_up_inside_a_separate_file_folder_is_rejected(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"

    done = run_kiai(server.data, "backup", str(place / "copy"), "--files", str(place))

    assert (done.returncode, f"is inside {place}, which is backed up" in done.stderr) == (1, True), done.stderr
    assert not (place / "copy").exists()


def test_restore_overwrites_neither_a_used_folder_nor_a_running_server(server: Server, tmp_path: Path) -> None:
    server.cli("backup", str(tmp_path / "copy"))

    again = run_kiai(server.data, "backup", str(tmp_path / "copy"))
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    assert ("is not empty" if stores.SHARED else "already exists") in refusal(server.data, tmp_path / "copy")


def test_postgresql_database_is_backed_up_and_restored(tmp_path: Path) -> None:
    with engines.postgres_database() as old, engines.postgres_database(empty=True) as new:
        ids = prepare(tmp_path / "old", NAMES, vector_maps=True, database=old)
        manifest = cli(tmp_path / "old", "backup", str(tmp_path / "copy"), "--database", old)

        restored = cli(tmp_path / "new", "restore", str(tmp_path / "copy"), "--database", new)

        assert manifest["engine"] == "postgresql"
        assert restored["files"] == manifest["files"]
        listed = cli(tmp_path / "new", "users", "list", "--database", new)
        assert {one["name"]: one["id"] for one in listed["users"] if one["id"] > 2} == ids
        assert cli(tmp_path / "new", "doctor", "--database", new)["problems"] == []
        added = cli(tmp_path / "new", "users", "add", "carla", "--email", "c@example.org", "--password",
                    "correct horse 9", "--database", new)  # fmt: skip
        assert added["id"] == max(ids.values()) + 1, "numbers go on"
        again = run_kiai(tmp_path / "x", "restore", str(tmp_path / "copy"), "--database", new)
        assert (again.returncode, "not empty" in again.stderr) == (1, True)


def without_assertions(data: Path, copy: Path) -> subprocess.CompletedProcess[str]:
    """Run a restore with `python -O`, which skips `assert`."""
    return run_kiai(data, "restore", str(copy), optimized=True)


def relist(copy: Path, lines: list[bytes], database: list[dict[str, object]] | None = None) -> None:
    """Replace the list of files in a backup, with a matching checksum and count."""
    listing = b"".join(line + b"\n" for line in lines)
    (copy / "files.jsonl").write_bytes(listing)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest |= {"files": len(lines), "list_sha256": hashlib.sha256(listing).hexdigest()}
    if database is not None:
        manifest["database"] = database
    (copy / "manifest.json").write_text(json.dumps(manifest))


def test_list_with_paths_out_of_the_store_is_rejected_before_writing(server: Server, tmp_path: Path) -> None:
    stores.of(tmp_path / "new", empty=True)
    copy = tmp_path / "copy"
    server.cli("backup", str(copy))
    whole = (copy / "files.jsonl").read_bytes().splitlines()
    planted = tmp_path / "planted"
    planted.write_bytes(b"evil")
    sha256 = hashlib.sha256(b"evil").hexdigest()

    for key in ("../../planted", str(planted), "a/../../../planted", ".hidden", "", "osu//x.osu", "osu/X.osu", "a\nb"):
        path = copy / "files" / key
        if key and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"evil")
        relist(copy, [*whole, json.dumps({"key": key, "size": 4, "sha256": sha256}).encode()])
        done = without_assertions(tmp_path / "new", copy)
        assert (done.returncode, f"line {len(whole) + 1}" in done.stderr) == (1, True), (key, done.stderr)
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "new" / "files").exists(), key
    assert planted.read_bytes() == b"evil"

    for line in (b"{", b"[]", b'{"key": 5}', b"\xff"):
        relist(copy, [*whole, line])
        done = without_assertions(tmp_path / "new", copy)
        assert (done.returncode, "is damaged" in done.stderr, "Traceback" in done.stderr) == (1, True, False), line
        assert not (tmp_path / "new" / "files").exists(), line


def test_manifest_without_the_database_is_rejected(server: Server, tmp_path: Path) -> None:
    stores.of(tmp_path / "new", empty=True)
    copy = tmp_path / "copy"
    server.cli("backup", str(copy))
    whole = (copy / "files.jsonl").read_bytes().splitlines()

    relist(copy, whole, database=[])

    done = without_assertions(tmp_path / "new", copy)
    assert (done.returncode, "does not name the parts" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "new" / "files").exists()


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def checked(copy: Path, exit_code: int) -> dict[str, object]:
    """Check a backup; return the report. The data folder must not be created."""
    absent = copy.parent / "absent"
    before = state_of(copy.parent)
    done = run_kiai(absent, "restore", str(copy), "--check", "--json")
    assert done.returncode == exit_code, done
    assert state_of(copy.parent) == before
    found = json.loads(done.stdout)
    assert set(found) == {"ok", "problems", "files", "bytes", "schema", "made_at"}
    assert found["ok"] == (exit_code == 0)
    assert isinstance(found, dict)
    return found


def test_check_proves_a_back_up_and_names_what_is_wrong(server: Server, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    manifest = server.cli("backup", str(copy))
    report = checked(copy, 0)
    assert report["problems"] == []
    assert (report["files"], report["schema"]) == (manifest["files"], manifest["schema"])
    assert report["made_at"] == manifest["made_at_ms"] // 1000

    first, second, *_ = sorted((copy / "files" / "osu").iterdir())
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    kept = second.read_bytes()
    second.unlink()
    problems = checked(copy, 1)["problems"]
    assert isinstance(problems, list)
    assert sorted(problems) == sorted(
        [
            f"osu/{first.name} of the backup is damaged",
            f"osu/{second.name} of the backup is missing or cannot be read: No such file or directory",
        ]
    )
    second.write_bytes(kept)

    (copy / "manifest.json").unlink()
    report = checked(copy, 1)
    assert (report["files"], report["made_at"]) == (None, None)
    assert "does not contain a complete backup" in str(report["problems"])


def test_check_names_the_row_whose_file_the_back_up_does_not_have(server: Server, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    server.cli("backup", str(copy))
    listing, manifest = copy / "files.jsonl", copy / "manifest.json"
    lines = [line for line in listing.read_text().splitlines(keepends=True) if not line.startswith('{"key":"osu/')]
    listing.write_text("".join(lines))
    changed = json.loads(manifest.read_text()) | {
        "files": len(lines),
        "list_sha256": hashlib.sha256(listing.read_bytes()).hexdigest(),
    }
    manifest.write_text(json.dumps(changed))

    if stores.SHARED:  # the rows of a dump are checked when PostgreSQL loads them
        assert checked(copy, 0)["problems"] == []
        return
    problems = checked(copy, 1)["problems"]
    assert isinstance(problems, list)
    assert len(problems) == len(SONGS)
    assert problems[0].startswith(f"the .osu file of map {SONGS[0].id} is not in the backup: osu/")


def test_restore_into_needs_a_new_or_empty_folder(server: Server, tmp_path: Path) -> None:
    server.cli("backup", str(tmp_path / "copy"))
    new, full = tmp_path / "into", tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")

    refused = run_kiai(server.data, "restore", str(tmp_path / "copy"), "--into", str(full))
    assert (refused.returncode, refused.stderr) == (1, f"kiai: {full} is not empty; choose a new folder\n")
    assert [path.name for path in full.iterdir()] == ["notes.txt"]

    live = server.data / "files"
    before = state_of(live)
    if stores.SHARED:
        refused = run_kiai(server.data, "restore", str(tmp_path / "copy"), "--into", str(new))
        assert "the backup is for postgresql, but the database is sqlite" in refused.stderr
        return
    assert cli(server.data, "restore", str(tmp_path / "copy"), "--into", str(new))["files"] > 0
    assert state_of(live) == before
    assert cli(new, "doctor", "--repair")["problems"] == []


def test_list_of_back_ups_has_the_next_one(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    made = server.cli("backup", str(folder / "kiai-20260102T030405Z"))
    (folder / "kiai-20260101T030405Z").mkdir()
    (folder / "notes").mkdir()
    found = cli(server.data, "backups", BACKUP_TO=str(folder), BACKUP_EVERY="1d")
    at = made["made_at_ms"] // 1000
    assert [(Path(one["path"]).name, one["ok"]) for one in found["backups"]] == [
        ("kiai-20260102T030405Z", True),
        ("kiai-20260101T030405Z", False),
    ]
    assert (found["backups"][0]["at"], found["next_at"]) == (at, at + 86_400)
    assert found["backups"][0]["bytes"] == made["bytes"] + sum(part["size"] for part in made["database"])


def test_killed_server_continues_its_encrypted_backups_in_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, variables = an_s3().bucket()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    data, key = tmp_path / "data", make_key(tmp_path / "backup.key")
    prepare(data, ["alice"], vector_maps=False)
    for number in range(400):
        path = data / "files" / "replays" / f"{number % 256:02x}" / f"{number:032x}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"frames")
    (data / "tls").mkdir()
    (data / "tls" / "ca.key").write_bytes(b"key of the local authority")
    settings = {"BACKUP_TO": url, "BACKUP_EVERY": "1d", "BACKUP_KEY_FILE": key.shown}
    place = open_place(url)

    def written() -> list[str]:
        return [one["path"] for one in cli(data, "backups", **settings)["backups"] if one["ok"]]

    server = Server(data, **settings).start()
    try:
        wait_until(lambda: bool(place.entries()), within_s=90)
    finally:
        server.kill()
    server = Server(data, **settings).start()
    try:
        wait_until(lambda: bool(written()), within_s=90)
        server.stop()
    finally:
        server.kill()
    [backup] = written()
    new = tmp_path / "new"
    stores.of(new, empty=True)
    assert "the backup is encrypted; name its key with --key FILE" in run_kiai(new, "restore", backup).stderr
    assert cli(new, "restore", backup, "--check", "--key", key.shown)["ok"] is True
    assert cli(new, "restore", backup, "--key", key.shown)["files"] >= 400
    assert (new / "tls" / "ca.key").read_bytes() == b"key of the local authority"
    assert (new / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600


def test_first_backup_of_a_killed_server_begins_again_and_the_next_one_is_whole(tmp_path: Path) -> None:
    data, to = tmp_path / "data", tmp_path / "to"
    prepare(data, ["alice"], vector_maps=False)
    replays = [data / "files" / "replays" / f"{number % 256:02x}" / f"{number:032x}" for number in range(2_001)]
    for path in replays[:-1]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"frames")
    settings = {"BACKUP_TO": str(to), "BACKUP_EVERY": "1d"}
    server = Server(data, **settings).start()
    try:
        wait_until(lambda: any(to.glob("*.partial/files/replays/*")), within_s=90)
    finally:
        server.kill()
    [interrupted] = to.glob("kiai-*")
    assert interrupted.suffix == ".partial"
    assert not (interrupted / "manifest.json").exists()

    def good(count: int) -> list[dict[str, Any]]:
        found = [one for one in cli(data, "backups", **settings)["backups"] if one["ok"]]
        return found if len(found) == count else []

    server = Server(data, **settings).start()
    try:
        wait_until(lambda: good(1), within_s=90)
        replays[-1].parent.mkdir(exist_ok=True)
        replays[-1].write_bytes(b"new")
        cli(data, "jobs", "start", "backup", **settings)
        wait_until(lambda: good(2), within_s=90)
        server.stop()
    finally:
        server.kill()
    new, first = good(2)
    assert Path(first["path"]) == interrupted.with_suffix("")
    assert (checked(Path(first["path"]), 0)["files"], first["files"]) == (first["files"], new["files"] - 1)
    assert checked(Path(new["path"]), 0)["files"] == new["files"] >= len(replays)
    copies = [Path(one["path"], replays[0].relative_to(data)) for one in (first, new)]
    assert copies[0].samefile(copies[1]), "not copied again"


def test_rehearsal_restores_the_newest_backup_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    newest = tmp_path / "kiai-20260102T030405Z"
    server.cli("backup", str(newest))
    before = {path.name for path in server.data.iterdir()}

    found = cli(server.data, "backups", "rehearse", BACKUP_TO=str(tmp_path))

    assert found["backup"] == newest.name
    assert "restores to a good server with" in found["result"]
    assert {path.name for path in server.data.iterdir()} - before == {"last-rehearsal.json"}
    [first, *_] = sorted((newest / "files" / "osu").iterdir())
    first.write_bytes(b"rot")
    refused = run_kiai(server.data, "backups", "rehearse", settings={"BACKUP_TO": str(tmp_path)})
    assert (refused.returncode, refused.stderr) == (1, f"kiai: osu/{first.name} of the backup is damaged\n")
    # An earlier test has killed a backup, whose folder stays for a day.
    assert {path.name for path in server.data.iterdir()} - before == {"last-rehearsal.json"}


def test_rehearsal_on_postgresql_uses_a_database_of_its_own(tmp_path: Path) -> None:
    with engines.postgres_database() as url:
        prepare(tmp_path / "data", NAMES, vector_maps=True, database=url)
        cli(tmp_path / "data", "backup", str(tmp_path / "to" / "kiai-20260102T030405Z"), "--database", url)
        settings = {"DATABASE": url, "BACKUP_TO": str(tmp_path / "to")}

        found = cli(tmp_path / "data", "backups", "rehearse", **settings)

        assert "restores to a good server with" in found["result"]
        assert "kiai_rehearsal" not in asyncio.run(database_names(url))


async def database_names(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetch("SELECT datname FROM pg_database"))
    finally:
        await connection.close()
