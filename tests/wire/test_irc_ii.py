"""ii, the client of Debian that is used through files, connects, joins, talks and leaves."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.patience import patiently, wait_until
from tests.wire.irc import add_players, connect
from tests.wire.kit import Server

NAMES = ("anna", "Plum Harbor")
STOPPED_S = 10.0


class Ii:
    """A running ii. Each conversation is a folder with the file `out` and the pipe `in`."""

    def __init__(self, server: Server, nick: str, password: str, folder: Path) -> None:
        program = shutil.which("ii")
        assert program is not None, "ii is not installed: apt-get install ii"
        self._folder = folder / "127.0.0.1"
        options = ["-s", "127.0.0.1", "-p", str(server.irc_ports["irc"]), "-n", nick, "-k", "II_PASSWORD"]
        self.process = subprocess.Popen(
            [program, *options, "-i", str(folder), "-f", nick],
            env={**os.environ, "II_PASSWORD": password},
            stdout=subprocess.DEVNULL,
        )

    def write(self, text: str, conversation: str = "") -> None:
        """Write a line into a conversation, or a command to the server."""
        pipe = self._folder / conversation / "in"
        wait_until(pipe.exists, within_s=10.0)
        with pipe.open("w", encoding="utf-8") as lines:
            lines.write(f"{text}\n")

    def hears(self, text: str, conversation: str = "") -> None:
        """Wait until the file of a conversation contains a text."""
        out = self._folder / conversation / "out"
        wait_until(lambda: out.exists() and text in out.read_text("utf-8"), within_s=10.0)


@pytest.fixture
def passwords() -> dict[str, str]:
    return {}


@pytest.fixture
def server(tmp_path: Path, passwords: dict[str, str]) -> Iterator[Server]:
    data = tmp_path / "data"
    passwords |= add_players(data, NAMES)
    server = Server(data, IRC="127.0.0.1:0").start()
    try:
        yield server
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


def test_ii_chats_in_a_channel_and_privately(server: Server, passwords: dict[str, str], tmp_path: Path) -> None:
    with connect(server, "anna", passwords["anna"]) as anna:
        anna.join("#osu")
        ii = Ii(server, "Plum_Harbor", passwords["Plum Harbor"], tmp_path / "ii")
        try:
            ii.hears("Welcome to kiai")
            ii.write("/j #osu")
            anna.wait(":Plum_Harbor!cho@ppy.sh JOIN :#osu")
            anna.send("PRIVMSG #osu :hello everybody")
            ii.hears("<anna> hello everybody", "#osu")
            ii.write("hello from a file", "#osu")
            anna.wait(":Plum_Harbor!cho@ppy.sh PRIVMSG #osu :hello from a file")
            anna.send("PRIVMSG Plum_Harbor :only you")
            ii.hears("<anna> only you", "anna")
            ii.write("only you, too", "anna")
            anna.wait(":Plum_Harbor!cho@ppy.sh PRIVMSG anna :only you, too")
            ii.write("/j banchobot !roll 1")
            ii.hears("Plum Harbor rolls 1 point(s)", "banchobot")
            ii.write("/l", "#osu")
            anna.wait(":Plum_Harbor!cho@ppy.sh PART :#osu")
            ii.write("/q bye")
            assert ii.process.wait(patiently(STOPPED_S)) == 0
        finally:
            ii.process.kill()
            ii.process.wait(patiently(60))
