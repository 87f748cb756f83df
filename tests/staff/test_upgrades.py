"""The look for a newer release: what URLs answer, and the record of it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.patience import join, patiently
from typer.testing import CliRunner

from kiai.cli.main import app
from kiai.clock import ManualClock
from kiai.errors import Refused, Unavailable
from kiai.staff import upgrades
from kiai.staff.upgrades import EVERY_MS, LastUpgradeCheck, UpgradeCheck, is_newer, last_upgrade_check
from kiai.version import VERSION

NOW_MS = 1_700_000_000_000


class Forge:
    """A server on this machine that answers with `status`, `headers` and `body`, and never if `hangs` is set."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"tag_name": "v99.0.0"}'
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.url = ""
        self.hangs = False
        self.ended = threading.Event()


@pytest.fixture
def forge() -> Iterator[Forge]:
    found = Forge()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.headers["User-Agent"])
            if found.hangs:
                found.ended.wait(patiently(60))
                return
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/latest"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    found.ended.set()
    server.shutdown()
    join(thread)
    server.server_close()


def look(url: str | None, data: Path) -> LastUpgradeCheck:
    return asyncio.run(UpgradeCheck(url, data, ManualClock(NOW_MS)).run())


@pytest.mark.parametrize(
    "answer", [{"tag_name": "v99.1.2", "draft": False}, {"info": {"version": "99.1.2", "name": "kiai"}, "releases": {}}]
)
def test_release_is_read_from_forges_and_indexes_and_recorded(
    forge: Forge, tmp_path: Path, answer: dict[str, object]
) -> None:
    forge.body = json.dumps(answer).encode()

    found = look(forge.url, tmp_path)

    assert (found, found.is_newer) == (LastUpgradeCheck("99.1.2", NOW_MS), True)
    assert last_upgrade_check(tmp_path) == found
    assert forge.asked == [f"kiai/{VERSION}"]


@pytest.mark.parametrize(
    ("release", "version", "newer"),
    [
        ("0.2.0", "0.1.0", True),
        ("0.10.0", "0.9.9", True),
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.2.0", False),
        ("0.1.1", "0.1.1.dev12+g1a2b3c4d5", True),
        ("0.1.0", "0.1.1.dev12+g1a2b3c4d5", False),
        ("0.2.0", "unknown", False),
    ],
)
def test_numbers_are_compared_as_numbers(release: str, version: str, newer: bool) -> None:
    assert is_newer(release, version) is newer


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (404, b"", "the status is 404; correct the setting"),
        (200, b"<html>", "it is not a JSON object with tag_name or info.version"),
        (200, b"[]", "it is not a JSON object"),
        (200, b'{"tag_name": 7}', "it is not a JSON object"),
        (200, b"\xff", "it is not a JSON object"),
        (200, b"{}", "it names no release like 1.2.3, but ''"),
        (200, b'{"tag_name": "v2.0.0-rc.1"}', "it names no release like 1.2.3, but 'v2.0.0-rc.1'"),
        (200, b'{"tag_name": "' + b"9" * 200 + b'"}', "but '" + "9" * 50 + "'"),
    ],
)
def test_other_answers_are_errors_that_say_what_was_wrong(
    forge: Forge, tmp_path: Path, status: int, body: bytes, why: str
) -> None:
    forge.status, forge.body = status, body

    with pytest.raises(Unavailable) as error:
        look(forge.url, tmp_path)

    assert str(error.value).startswith("the answer of upgrade_url")
    assert why in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_redirect_is_told_and_not_followed(forge: Forge, tmp_path: Path) -> None:
    forge.status, forge.headers = 301, {"Location": "https://elsewhere.example/latest"}

    with pytest.raises(Unavailable, match=r"the status is 301, a redirect to https://elsewhere\.example/latest"):
        look(forge.url, tmp_path)

    assert len(forge.asked) == 1


def test_large_answer_is_not_read_to_its_end(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "ANSWER_MAX", 1 << 20)
    forge.body = b'{"tag_name": "' + b" " * (1 << 20)

    with pytest.raises(Unavailable, match="it is larger than 1 MiB"):
        look(forge.url, tmp_path)


def test_server_that_never_answers_is_given_up(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "TOTAL_S", 0.2)
    forge.hangs = True

    with pytest.raises(Unavailable, match=r"nobody answers within 0\.2 s"):
        look(forge.url, tmp_path)


def test_nobody_at_the_url_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the answer of upgrade_url"):
        look("http://127.0.0.1:1/latest", tmp_path)


def test_without_the_setting_nobody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the setting upgrade_url names nobody to ask"):
        look(None, tmp_path)


def test_server_asks_once_a_day(forge: Forge, tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    check = UpgradeCheck(forge.url, tmp_path, clock)

    for passed_ms, asked in ((0, 1), (EVERY_MS - 1, 1), (1, 2), (-2 * EVERY_MS, 3)):  # the last one: a corrected clock
        clock.set_now_ms(clock.now_ms() + passed_ms)
        asyncio.run(check.run_due())
        assert len(forge.asked) == asked


def test_command_tells_the_release_and_doctor_repeats_it(forge: Forge, tmp_path: Path) -> None:
    def run(command: str) -> dict[str, object]:
        done = CliRunner().invoke(
            app, [command, "--json", "--data", str(tmp_path)], env={"KIAI_UPGRADE_URL": forge.url}
        )
        assert done.exit_code == 0, done.output
        found: dict[str, object] = json.loads(done.stdout)
        return found

    run("migrate")
    assert "upgrade" not in run("doctor")

    assert run("upgrade-check") == {"version": VERSION, "latest": "99.0.0", "newer": True}
    assert run("doctor")["upgrade"] == "99.0.0"


def test_command_without_the_setting_says_that_it_is_off(tmp_path: Path) -> None:
    (tmp_path / "kiai.db").touch()
    done = CliRunner().invoke(app, ["upgrade-check", "--data", str(tmp_path)], env={"KIAI_UPGRADE_URL": None})

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "kiai: the setting upgrade_url names nobody to ask for newer releases\n"


def test_broken_record_is_none(tmp_path: Path) -> None:
    assert last_upgrade_check(tmp_path) is None
    (tmp_path / upgrades.LAST).write_text("{", "utf-8")

    assert last_upgrade_check(tmp_path) is None
