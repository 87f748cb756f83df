"""Sentences about places of backups that fail, and a backup in a real bucket."""

import errno
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.buckets import an_s3

from kiai.backup_stores import check_outside, open_backup, open_place, work_folder
from kiai.errors import KiaiError, Refused, Unavailable
from kiai.files.folder_place import FolderPlace
from kiai.settings import load_settings
from kiai.staff.backup_data import data_files, restore_data_file


class _Refusing(http.server.BaseHTTPRequestHandler):
    """An S3 service that knows no such credentials, or has no space."""

    status = 403

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD = _answer

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    url, environment = an_s3().bucket()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return url


def sentence(act: object) -> str:
    with pytest.raises(KiaiError) as raised:
        act()  # type: ignore[operator]
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_missing_bucket_says_what_to_do(bucket: str) -> None:
    place = open_place("s3://absent-bucket/kiai")
    for act in (place.entries, lambda: place.write("kiai-x/a", b"1"), lambda: place.read("kiai-x/a")):
        assert sentence(act) == (
            "backup bucket s3://absent-bucket/kiai is not available: the bucket does not exist; create it, or name "
            "another with backup_to"
        )


def test_wrong_credentials_say_what_to_do(refusing: str, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
    place = open_place("s3://bucket/kiai")
    for act in (place.entries, lambda: place.write("kiai-x/a", b"1"), lambda: place.read("kiai-x/a")):
        assert "the service refuses the credentials; check AWS_ACCESS_KEY_ID" in sentence(act)


def test_bucket_without_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    assert "need credentials; set AWS_ACCESS_KEY_ID" in sentence(lambda: open_place("s3://bucket/kiai"))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "No space left on device; free space there, or name another place with backup_to"),
        (errno.EACCES, "Permission denied; let the account of the server write there"),
        (errno.EROFS, "Read-only file system; let the account of the server write there"),
    ],
)
def test_folder_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    place = FolderPlace(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    assert advice in sentence(lambda: place.write("kiai-x/files/a", b"1"))
    with monkeypatch.context() as linking:
        linking.setattr(os, "link", fail)
        assert advice in sentence(lambda: place.link("kiai-x/files/b", "kiai-x/files/a"))


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    place = FolderPlace(tmp_path / "file" / "to")
    assert "Not a directory" in sentence(lambda: place.prepare("kiai-x"))


def test_file_system_without_hard_links_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    place = FolderPlace(tmp_path)
    place.write("kiai-x/files/a", b"1")
    monkeypatch.setattr(os, "link", fail)
    assert not place.link("kiai-y/files/a", "kiai-x/files/a")


def test_objects_of_a_real_bucket_are_written_read_listed_and_deleted(bucket: str, tmp_path: Path) -> None:
    place = open_place(bucket)
    assert place.entries() == {}
    (tmp_path / "large").write_bytes(bytes(11 * 1024 * 1024))
    place.prepare("kiai-x")
    place.write("kiai-x/files/a/b", b"1")
    place.upload("kiai-x/kiai.db", tmp_path / "large")
    place.write("kiai-y/manifest.json", b"2")

    assert set(place.entries()) == {"kiai-x", "kiai-y"}
    assert place.size("kiai-x/kiai.db") == sum(map(len, place.chunks("kiai-x/kiai.db"))) == 11 * 1024 * 1024
    assert (place.read("kiai-x/files/a/b"), place.size("kiai-x/absent")) == (b"1", None)
    with pytest.raises(Refused, match="is not empty"):
        place.prepare("kiai-x")
    place.delete(iter(["kiai-y/manifest.json", "kiai-y/absent"]))
    place.remove("kiai-x", but="files/")
    assert place.size("kiai-x/kiai.db") is None
    assert place.read("kiai-x/files/a/b") == b"1"
    place.remove("kiai-x")
    assert place.entries() == {}


def test_bucket_inside_the_bucket_of_the_files_is_refused() -> None:
    settings = load_settings(files="s3://bucket/kiai")
    with pytest.raises(Refused, match="is inside s3://bucket/kiai, which is backed up"):
        check_outside(settings, "s3://bucket/kiai/backups")
    check_outside(settings, "s3://bucket/kiai-backups")


@pytest.mark.parametrize("text", ["s3://bucket", "s3://bucket/"])
def test_bucket_is_not_a_backup(text: str, bucket: str) -> None:
    with pytest.raises(Refused, match="is not a backup"):
        open_backup(text, None)


def test_data_files_are_those_that_a_restored_server_needs(tmp_path: Path) -> None:
    data, config = tmp_path / "data", tmp_path / "kiai.toml"
    wanted = {
        "secret.key", "tls/cert.pem", "tls/key.pem", "tls/ca.pem", "tls/ca.key", "tls/account.json",
        "pages/rules.md", "news/2026-05-02-hello.md", "incidents/2026-05-02-fire.md",
    }  # fmt: skip
    others = {"kiai.db", "kiai.lock", "sessions.snapshot", "claim.code", "last-backup.json", "tls/state.json",
              "tls/challenges/token", "files/osu/a.osu", "pages/Not A Key.md"}  # fmt: skip
    for key in wanted | others:
        (data / key).parent.mkdir(parents=True, exist_ok=True)
        (data / key).write_bytes(key.encode())
    config.write_bytes(b"title = 1")

    found = dict(data_files(data, config))

    assert found == {key: key.encode() for key in wanted} | {"kiai.toml": b"title = 1"}
    new = tmp_path / "new"
    new.mkdir()
    (new / "secret.key").write_bytes(b"other")
    kept = [key for key, content in found.items() if not restore_data_file(new, key, content)]
    assert kept == ["secret.key"]
    assert (new / "secret.key").read_bytes() == b"other"
    assert (new / "tls/key.pem").read_bytes() == b"tls/key.pem"
    assert {path.stat().st_mode & 0o777 for path in (new / "tls").iterdir()} == {0o600}


def test_unreadable_data_file_fails_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.key").write_bytes(b"x")

    def fail(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(Unavailable, match=r"secret\.key: Permission denied"):
        list(data_files(tmp_path, tmp_path / "absent"))


def test_temporary_files_of_dead_processes_go_and_folders_of_the_operator_stay(tmp_path: Path) -> None:
    for name in (".backup-work-dead", ".backup-work-young", "backup-2025"):
        (tmp_path / name).mkdir()
        if name != ".backup-work-young":
            os.utime(tmp_path / name, (0, 0))

    with work_folder(tmp_path) as made:
        assert made.parent == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {".backup-work-young", "backup-2025"}
