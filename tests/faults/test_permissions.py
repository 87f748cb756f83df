"""Only the owner can read the files of kiai, with any umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import stores
from tests.builders import a_map
from tests.cluster.kit import running
from tests.wire.kit import Server, cli
from tests.wire.submitting import Played, prepare, submit, try_to_log_in

SONG = a_map(100, objects=100)


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Set the umask 0, which the started processes inherit: new files are readable by all users."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Return the files and folders in a folder, including itself, whose mode is not 0600 or 0700."""
    found = []
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode != (0o700 if path.is_dir() else 0o600):
            found.append(f"{path.relative_to(folder)} {mode:o}")
    return found


def a_folder_of_maps(folder: Path) -> str:
    folder.mkdir()
    (folder / "song.osu").write_bytes(SONG.data)
    return str(folder)


def test_data_and_back_ups_of_a_server_are_readable_only_by_their_owner(tmp_path: Path) -> None:
    data, early, late = tmp_path / "data", tmp_path / "early", tmp_path / "late"
    late.mkdir()  # as an operator makes it: 0777 here
    cli(data, "migrate")
    assert open_to_others(data) == []
    prepare(data, ["alice"], vector_maps=False)
    for path in data.rglob("*"):  # created by the test, not by the command
        path.chmod(0o700 if path.is_dir() else 0o600)
    data.chmod(0o755)  # as an older version or `mkdir` creates it
    server = Server(data).start()
    try:
        assert open_to_others(data) == []
        server.cli("beatmaps", "import", a_folder_of_maps(tmp_path / "maps"))
        try_to_log_in(server, "alice")
        assert submit(server, Played(SONG.md5, "alice", score=1_000_000).sealed()).status == 200
        server.cli("users", "apikey", "alice")
        server.cli("backup", str(early))
        assert open_to_others(data) == []
        server.stop()
    finally:
        server.kill()
    server.cli("recalc")
    server.cli("backup", str(late))
    stores.of(tmp_path / "new", empty=True)
    cli(tmp_path / "new", "restore", str(late))

    assert any((data / "files" / "replays").rglob("*"))
    assert stores.SHARED or (data / "sessions.snapshot").exists()
    for folder in (data, early, late, tmp_path / "new"):
        assert open_to_others(folder) == [], folder


def test_data_of_several_workers_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    with running(tmp_path, ["alice"], [SONG]) as cluster:
        try_to_log_in(cluster, "alice")
        assert submit(cluster, Played(SONG.md5, "alice", score=1_000_000).sealed()).status == 200

        replays = cluster.data / "files" / "replays"

        assert open_to_others(replays) == []
        assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
