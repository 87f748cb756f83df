"""The command line as scripts see it: exit codes, one line for an error, the fields of `--json`."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests import stores
from tests.builders import PASSWORD, a_map
from tests.patience import patiently
from typer.testing import CliRunner, Result

from kiai.cli.main import app

TIMEOUT_S: Final = 30
READY_S: Final = 30
USER_FIELDS: Final = {
    *("id", "name", "safe_name", "email", "priv", "country", "restricted", "created_at"),
    *("banned", "silence_end", "restricted_until", "freeze_until", "donor_end", "clan_id"),
}


class Kiai:
    """The command line on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the tests without settings of kiai, except for the data folder."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("KIAI_")}
        return others | {"KIAI_DATA": str(self.data)} | more

    def __call__(self, *arguments: str | Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "kiai", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=patiently(TIMEOUT_S),
            env=self.environment(**environment),
            cwd=self.data.parent,
            check=False,
        )

    def inside(self, *arguments: str | Path, stdin: str = "", **environment: str) -> Result:
        """Run a command in this process, which takes a tenth of the time."""
        unset = dict.fromkeys((name for name in os.environ if name.startswith("KIAI_")), None)
        return CliRunner().invoke(
            app, [*map(str, arguments)], input=stdin, env=unset | {"KIAI_DATA": str(self.data)} | environment
        )

    def json(self, *arguments: str | Path, exit_code: int = 0, stdin: str = "") -> Any:
        """Run a command with `--json` and return the object that it prints."""
        done = self.inside(*arguments, "--json", stdin=stdin)
        assert done.exit_code == exit_code, done.output
        [line] = done.stdout.splitlines()
        return json.loads(line)

    def failure(self, *arguments: str | Path, stdin: str = "", **environment: str) -> str:
        """Run a command that fails and return its error line."""
        done = self.inside(*arguments, stdin=stdin, **environment)
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        [line] = done.stderr.splitlines()
        assert line.startswith("kiai: ")
        return str(line)

    @contextlib.contextmanager
    def serving(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """Run a server. Yield its process and its ready line."""
        server = subprocess.Popen(
            [sys.executable, "-m", "kiai", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment(),
            cwd=self.data.parent,
        )
        timeout = threading.Timer(patiently(READY_S), server.kill)
        timeout.start()
        try:
            assert server.stdout is not None
            yield server, server.stdout.readline()
        finally:
            timeout.cancel()
            server.kill()
            server.communicate(timeout=patiently(60))


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kiai:
    """A command line whose data folder does not exist yet."""
    monkeypatch.chdir(tmp_path)
    return Kiai(tmp_path / "data")


@pytest.fixture
def kiai(new: Kiai) -> Kiai:
    """A command line on a data folder without accounts."""
    stores.of(new.data)
    return new


def add(kiai: Kiai, name: str = "alice") -> Any:
    return kiai.json("users", "add", name, "--email", f"{name.replace(' ', '')}@example.org", "--password", PASSWORD)


# --- accounts


def test_account_is_added_granted_restricted_and_listed(kiai: Kiai) -> None:
    added = kiai.json("users", "add", "Some One", "--email", "One@example.org", "--country", "NL", stdin=PASSWORD)
    shown = kiai.json("users", "show", "some_one")
    granted = kiai.json("users", "grant", "some one", "nominator", "supporter")
    revoked = kiai.json("users", "revoke", "some one", "nominator")
    restricted = kiai.json("users", "restrict", "some one", "--reason", "because")
    lifted = kiai.json("users", "unrestrict", "some one")
    key = kiai.json("users", "apikey", "some one", "--label", "bot")
    listed = kiai.json("users", "list")

    assert added == {"id": 3, "name": "Some One"}
    assert set(shown) == USER_FIELDS
    assert (shown["safe_name"], shown["email"], shown["country"]) == ("some_one", "one@example.org", "nl")
    assert (shown["priv"], shown["restricted"]) == (3, False)
    assert (granted["priv"], revoked["priv"]) == (3 + 2048 + 16, 3 + 16)
    assert (restricted["restricted"], restricted["priv"]) == (True, 2 + 16)
    assert (lifted["restricted"], lifted["priv"]) == (False, 3 + 16)
    assert (set(key), len(key["key"])) == ({"key"}, 36)
    assert (set(listed), listed["total"]) == ({"users", "total"}, 2)
    bot, player = listed["users"]
    assert (bot["id"], bot["bot"], set(bot)) == (1, True, USER_FIELDS | {"bot"})
    assert player == lifted


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["users", "show", "nobody"], "user not found"),
        (["users", "add", "x", "--email", "x@example.org", "--password", PASSWORD], "name must be 2 to 15 characters"),
        (["users", "add", "bob", "--email", "bob", "--password", PASSWORD], "email must be an address like"),
        (["users", "add", "bob", "--email", "bob@example.org"], "password must be given"),
        # Without a password: it is asked for when everything else is right.
        (["users", "add", "x", "--email", "x@example.org"], "name must be 2 to 15 characters"),
        (["users", "add", "bob", "--email", "bob"], "email must be an address like"),
        (["users", "add", "bob", "--email", "bob@example.org", "--country", "zzz"], "country must be two letters"),
        (["users", "add", "bob", "--email", "bob@example.org", "--password", "short"], "password must be 8 to 32"),
        (["users", "grant", "BanchoBot", "supporter"], "you can't do that to the bot"),
        (["beatmaps", "status", "ranked", "--map", "1"], "map not found"),
        (["beatmaps", "status", "ranked", "--set", "1"], "set not found"),
        (["beatmaps", "fetch", "75"], "no upstream is configured"),
        (["recalc", "--mode", "9"], "mode must be 0 to 6 or 8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_failure_prints_one_line_and_exits_with_1(kiai: Kiai, arguments: list[str], error: str) -> None:
    assert error in kiai.failure(*arguments)


def test_exit_code_is_0_for_success_1_for_failure_and_2_for_wrong_usage(kiai: Kiai) -> None:
    added = kiai("users", "add", "alice", "--email", "a@example.org", "--password", PASSWORD, "--json")
    refused = kiai("users", "show", "nobody", "--json")
    misused = kiai("users", "show")

    assert (added.returncode, added.stdout, added.stderr) == (0, '{"id":3,"name":"alice"}\n', "")
    assert (refused.returncode, refused.stderr) == (1, "kiai: user not found\n")
    assert json.loads(refused.stdout) == {"error": "user not found"}
    assert (misused.returncode, misused.stdout) == (2, "")


def test_failure_with_json_prints_an_object_with_the_error(kiai: Kiai) -> None:
    assert kiai.json("users", "show", "nobody", exit_code=1) == {"error": "user not found"}


def test_adding_a_name_in_use_fails(kiai: Kiai) -> None:
    add(kiai)

    line = kiai.failure("users", "add", "ALICE", "--email", "other@example.org", "--password", PASSWORD)

    assert "name is already taken" in line


def test_name_and_address_in_use_are_refused_before_the_password_is_asked_for(kiai: Kiai) -> None:
    add(kiai)

    assert "name is already taken" in kiai.failure("users", "add", "ALICE", "--email", "other@example.org")
    assert "email is already taken" in kiai.failure("users", "add", "bob", "--email", "ALICE@example.org")


def test_new_password_is_read_from_stdin(kiai: Kiai) -> None:
    add(kiai)

    changed = kiai.json("users", "password", "alice", stdin="another horse 8\n")

    assert set(changed) == USER_FIELDS
    assert "password" in kiai.failure("users", "password", "alice", stdin="")


@pytest.mark.parametrize(
    "arguments",
    [
        ["wizard"],
        ["users", "wizard"],
        ["users", "add", "alice"],
        ["users", "list", "--wizard"],
        ["beatmaps", "status", "splendid", "--map", "1"],
        ["beatmaps", "status", "ranked"],
        ["beatmaps", "status", "ranked", "--map", "1", "--set", "1"],
        ["serve", "--port", "99999"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(kiai: Kiai, arguments: list[str]) -> None:
    done = kiai.inside(*arguments)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage:" in done.stderr


# --- beatmaps and replays


def test_beatmaps_are_imported_and_get_a_status(kiai: Kiai, tmp_path: Path) -> None:
    (tmp_path / "good.osu").write_bytes(a_map(id=75, set_id=7).data)
    (tmp_path / "bad.osu").write_bytes(b"hello")

    imported = kiai.json("beatmaps", "import", tmp_path / "good.osu", tmp_path / "bad.osu")
    changed = kiai.json("beatmaps", "status", "loved", "--map", "75")
    failed = kiai.json("beatmaps", "import", tmp_path / "bad.osu", exit_code=1)

    assert (imported["sets"], imported["maps"], set(imported)) == (1, 1, {"sets", "maps", "skipped", "notes"})
    [skipped] = imported["skipped"]
    assert (set(skipped), skipped["path"]) == ({"path", "why"}, str(tmp_path / "bad.osu"))
    assert changed == {"maps": [75], "status": 5, "players": 0, "waiting": 0}
    assert (failed["maps"], len(failed["skipped"])) == (0, 1)


def test_import_of_replays_lists_skipped_files(kiai: Kiai, tmp_path: Path) -> None:
    (tmp_path / "bad.osr").write_bytes(b"hello")

    failed = kiai.json("replays", "import", tmp_path / "bad.osr", exit_code=1)

    assert failed["scores"] == 0
    [skipped] = failed["skipped"]
    assert (set(skipped), skipped["path"]) == ({"path", "why"}, str(tmp_path / "bad.osr"))


def test_replay_with_unknown_checksum_is_flagged_or_with_strict_skipped(kiai: Kiai) -> None:
    files = Path(__file__).parents[1] / "osu" / "files"
    add(kiai, "clerk")
    kiai.json("beatmaps", "import", files / "replayed.osu")

    strict = kiai.json("replays", "import", files, "--user", "clerk", "--strict")
    again = kiai.inside("replays", "import", files, "--user", "clerk")

    lazer, site = str(files / "lazer.osr"), str(files / "site.osr")
    assert strict == {
        "scores": 1,
        "skipped": [{"path": lazer, "why": "its checksum has an unknown form"}],
        "doubts": [],
        "checksums": {"site": 1},
    }
    assert again.exit_code == 0
    assert again.stdout.splitlines() == [
        "Imported 1 score (checksums: unknown 1).",
        f"Flagged {lazer}: replay checksum: unknown form",
        f"Skipped {site}: this replay is stored already",
    ]
    [flag] = kiai.json("users", "flags", "clerk")["flags"]
    assert (flag["kind"], flag["details"]) == ("replay checksum", "unknown form")


# --- maintenance


def test_demo_data_passes_recalc_doctor_and_migrate(kiai: Kiai) -> None:
    created = kiai.json("demo", "--players", "3", "--maps", "2", "--scores", "10")
    recalculated = kiai.json("recalc")
    examined = kiai.json("doctor")
    migrated = kiai.json("migrate")

    assert (created["players"], created["maps"], created["scores"]) == (3, 2, 10)
    assert (recalculated["failed"], recalculated["resumed"]) == ([], False)
    assert examined == {"ok": True, "problems": [], "repaired": False, "waiting": 0}
    assert set(migrated) == {"schema"}


def test_doctor_exits_with_1_and_lists_problems_if_a_file_is_missing(kiai: Kiai, tmp_path: Path) -> None:
    (tmp_path / "good.osu").write_bytes(a_map().data)
    kiai.json("beatmaps", "import", tmp_path / "good.osu")
    [file] = (kiai.data / "files" / "osu").iterdir()
    file.unlink()

    found = kiai.json("doctor", exit_code=1)

    assert not found["ok"]
    assert [set(problem) for problem in found["problems"]] == [{"invariant", "what", "repairable"}]


def test_version_is_printed(kiai: Kiai) -> None:
    done = kiai("--version")

    assert done.returncode == 0
    assert done.stdout.startswith("kiai ")


def test_usage_lines_start_with_kiai(kiai: Kiai) -> None:
    assert " kiai users add [OPTIONS] " in kiai("users", "add", "--help").stdout
    assert "Usage: kiai [OPTIONS]" in kiai("user").stderr


@pytest.mark.parametrize("arguments", [[], ["users"], ["beatmaps"], ["replays"]], ids=" ".join)
def test_help_lists_commands_and_creates_no_data_folder(new: Kiai, arguments: list[str]) -> None:
    done = new.inside(*arguments, "--help")

    assert done.exit_code == 0
    assert "Commands" in done.stdout
    assert not new.data.exists()


# --- settings and the data folder


def test_unknown_setting_is_rejected_with_the_most_similar_name(kiai: Kiai) -> None:
    line = kiai.failure("users", "list", KIAI_PROT="80")

    assert "KIAI_PROT" in line
    assert "KIAI_PORT" in line


def test_error_of_an_invalid_value_names_settings_file_and_key(kiai: Kiai, tmp_path: Path) -> None:
    (tmp_path / "kiai.toml").write_text("port = 'eighty'\n")

    line = kiai.failure("users", "list")

    assert "kiai.toml" in line
    assert "port" in line


def test_command_fails_if_the_data_folder_is_a_file(new: Kiai) -> None:
    new.data.write_text("")

    assert str(new.data) in new.failure("users", "list")


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100], ids=["empty", "damaged"])
def test_command_fails_on_a_damaged_database_and_does_not_change_it(new: Kiai, content: bytes) -> None:
    new.data.mkdir()
    (new.data / "kiai.db").write_bytes(content)

    new.failure("users", "list")

    assert (new.data / "kiai.db").read_bytes() == content


# --- serving


def test_server_prints_a_ready_line_and_exits_with_0_on_sigterm(kiai: Kiai) -> None:
    with kiai.serving() as (server, ready):
        assert ready.startswith("ready http://127.0.0.1:")
        port = int(ready.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=patiently(5)):
            pass
        added = add(kiai)
        server.send_signal(signal.SIGTERM)

        assert server.wait(timeout=patiently(15)) == 0
        assert added["id"] == 3


def test_second_server_on_the_same_data_folder_fails(kiai: Kiai) -> None:
    with kiai.serving() as (_, ready):
        assert ready.startswith("ready")

        done = kiai("serve", "--port", "0")

    assert (done.returncode, done.stdout) == (1, "")
    assert "another server already runs on" in done.stderr.splitlines()[-1]


def test_error_of_a_port_in_use_names_the_address(kiai: Kiai) -> None:
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        port = in_use.getsockname()[1]

        done = kiai("serve", "--port", str(port))

    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("s3://", "files must be a folder, or a bucket like s3://bucket/prefix"),
        ("gs://bucket", "files must be a folder, or a bucket like s3://bucket/prefix"),
        ("s3://bucket", "files in s3://bucket need credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
@pytest.mark.parametrize("key", ["", "id"])
def test_server_does_not_start_with_an_unusable_place_for_files(kiai: Kiai, place: str, error: str, key: str) -> None:
    done = kiai("serve", "--port", "0", KIAI_FILES=place, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY="")

    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert error.replace("AWS_ACCESS_KEY_ID and ", "" if key else "AWS_ACCESS_KEY_ID and ") in line


def test_unreachable_database_is_reported(kiai: Kiai) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    line = kiai.failure("users", "list", "--database", f"postgresql://nobody@127.0.0.1:{port}/kiai")

    assert "database is not available" in line


def test_repair_exits_with_0_and_lists_the_problems_that_it_cannot_solve(kiai: Kiai) -> None:
    kiai.json("demo", "--players", "3", "--maps", "2", "--scores", "10")
    kiai.json("doctor")
    with contextlib.closing(sqlite3.connect(kiai.data / "kiai.db")) as database:
        database.execute("UPDATE stats SET plays = plays + 1")
        database.commit()
    kiai.json("doctor", exit_code=1)
    next((kiai.data / "files" / "osu").iterdir()).unlink()

    repaired = kiai.json("doctor", "--repair")
    again = kiai.json("doctor", exit_code=1)

    assert (repaired["repaired"], repaired["ok"]) == (True, False)
    assert [problem["repairable"] for problem in repaired["problems"]] == [False]
    assert again["problems"] == repaired["problems"]


def test_irc_password_and_chat_bot(kiai: Kiai) -> None:
    kiai.json("users", "add", "Some One", "--email", "one@example.org", stdin=PASSWORD)
    first = kiai.json("users", "irc-password", "some one")["irc_password"]
    second = kiai.json("users", "irc-password", "some one")["irc_password"]

    assert len(first) >= 32
    assert int(first, 16) != int(second, 16)
    assert kiai.json("users", "irc-password", "some one", "--revoke") == {"revoked": True}
    assert kiai.json("users", "chat-bot", "some one") == {"name": "Some One", "chat_bot": True}
    assert kiai.failure("users", "chat-bot", "some one").endswith("Some One is already a chat bot")
    assert kiai.json("users", "chat-bot", "some one", "--off") == {"name": "Some One", "chat_bot": False}
    assert kiai.failure("users", "irc-password", "BanchoBot").endswith("you can't do that to the bot")
