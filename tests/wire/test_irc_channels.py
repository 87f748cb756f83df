"""Channels of a real server through IRC: the word filter, old lines, the channel of a clan, and moderation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from tests.patience import wait_until
from tests.wire.irc import IrcClient, add_players, connect
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import Bancho
from tests.wire.test_bot import Player

NAMES: Final = ("anna", "boris", "carla", "mod", "dev", "loud", "gone", "robot")
FILTERED: Final = "Your message was not sent, because it contains a word that is not allowed here."
AT: Final = re.compile(r"\[[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d @ \d\d:\d\d\] ")


class Channels(msgspec.Struct):
    """A server with IRC, the IRC passwords of its players, and a client of the game's protocol."""

    server: Server
    passwords: dict[str, str]
    game: Bancho

    def connect(self, name: str) -> IrcClient:
        return connect(self.server, name, self.passwords[name])

    def history(self, name: str, channel: str) -> list[str]:
        """Join a channel and return the old lines, without their times."""
        with self.connect(name) as client:
            client.join(channel)
            lines = [line for line in client.quiet() if f" PRIVMSG {channel} :" in line]
        assert all(AT.search(line) for line in lines)
        return [AT.sub("", line) for line in lines]


@pytest.fixture(scope="module")
def irc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channels]:
    data: Path = tmp_path_factory.mktemp("channels") / "data"
    passwords = add_players(data, NAMES, bots=["robot"])
    for channel in ("#words", "#past", "#calm"):
        cli(data, "channels", "add", channel)
    # Without rate limits, because staff and players write more lines below than their limits admit.
    server = Server(data, IRC="127.0.0.1:0", IRC_HISTORY="25", RATE_LIMITS="off").start()
    try:
        server.cli("users", "grant", "mod", "moderator")
        server.cli("users", "grant", "dev", "developer")
        yield Channels(server, passwords, Bancho(server))
        assert '"unhandled"' not in server.stderr
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


def test_running_server_sees_changes_of_the_filter(irc: Channels) -> None:
    with irc.connect("anna") as anna, irc.connect("boris") as boris:
        anna.join("#words")
        boris.join("#words")
        assert irc.server.cli("filter", "set", "Darn*", "--replace", "***") == {
            "pattern": "darn*", "replacement": "***", "silence": 0
        }  # fmt: skip

        def is_replaced() -> bool:
            anna.send("PRIVMSG #words :oh darned")
            return boris.wait("oh ").endswith(" :oh ***")

        wait_until(is_replaced, within_s=5.0)
        anna.send("PRIVMSG boris :darn you")
        assert boris.wait("you") == ":anna!cho@ppy.sh PRIVMSG boris :*** you"
        game = Player(irc.game, "carla")
        game.write("#osu", "hello")
        boris.join("#osu")
        game.write("#osu", "DARN it")
        assert boris.wait("*** it") == ":carla!cho@ppy.sh PRIVMSG #osu :*** it"
    assert irc.server.cli("filter", "list") == {"filter": [{"pattern": "darn*", "replacement": "***", "silence": 0}]}
    assert irc.server.cli("filter", "remove", "darn*")["pattern"] == "darn*"


def test_blocked_line_silences_its_author(irc: Channels) -> None:
    irc.server.cli("filter", "set", "buy gold", "--silence", "10m")
    with irc.connect("dev") as dev, irc.connect("boris") as boris, irc.connect("loud") as loud:
        boris.join("#osu")
        loud.join("#osu")
        dev.send("PRIVMSG BanchoBot :!reloadfilter")
        dev.wait("The word filter has ")
        loud.send("PRIVMSG BanchoBot :!reloadfilter")
        loud.wait("Unknown command")

        loud.send("PRIVMSG #osu :Buy GOLD here")

        loud.wait(FILTERED)
        loud.wait("You are silenced for 10 minutes.")
        assert not any("GOLD" in line for line in boris.quiet())
    actions = [(row["action"], row["actor_id"], row["reason"]) for row in irc.server.cli("audit")["rows"]]
    assert ("silence", 0, "word filter: buy gold") in actions
    assert "reload" in [action for action, _, _ in actions]
    irc.server.cli("users", "unsilence", "loud")
    irc.server.cli("filter", "remove", "buy gold")


def test_history_has_the_lines_that_clients_still_show(irc: Channels) -> None:
    speakers = {name: irc.connect(name) for name in ("anna", "boris", "carla", "mod", "loud", "gone")}
    for client in speakers.values():
        client.join("#past")
    for name, client in speakers.items():
        client.send(f"PRIVMSG #past :from {name}", f"PRIVMSG #past :\x01ACTION is {name}\x01")
        client.quiet()
    mod = speakers["mod"]

    mod.send("PRIVMSG #past :!clearchat carla")
    mod.wait("Removed the lines of carla")
    irc.server.cli("users", "silence", "loud", "1s", "--reason", "a test")
    irc.server.cli("users", "restrict", "gone", "--reason", "a test")
    speakers["carla"].send("PRIVMSG #past :later")
    speakers["carla"].quiet()
    for client in speakers.values():
        client.close()

    def said(name: str, text: str) -> str:
        return f":{name}!cho@ppy.sh PRIVMSG #past :{text}"

    history = irc.history("dev", "#past")
    assert history == [
        *(said("anna", "from anna"), said("anna", "\x01ACTION is anna\x01")),
        *(said("boris", "from boris"), said("boris", "\x01ACTION is boris\x01")),
        *(said("mod", "from mod"), said("mod", "\x01ACTION is mod\x01")),
        said("mod", "!clearchat carla"),
        said("BanchoBot", "Removed the lines of carla."),
        said("carla", "later"),
    ]
    assert irc.history("robot", "#past") == []
    assert irc.history("loud", "#past") == history
    irc.server.cli("users", "unrestrict", "gone")


def test_channel_of_a_clan(irc: Channels) -> None:
    irc.server.cli("clans", "create", "KIAI", "Kiai Club", "--owner", "anna")
    irc.server.cli("clans", "status", "KIAI", "open")
    game = Player(irc.game, "boris")
    game.write_to_bot("!clan join KIAI")
    with irc.connect("anna") as anna, irc.connect("carla") as carla, irc.connect("boris") as boris:
        carla.send("JOIN #clan", "NAMES #clan")
        assert carla.wait(" 403 ") == ":cho.ppy.sh 403 carla #clan :No such channel #clan"
        assert carla.quiet() == [":cho.ppy.sh 366 carla #clan :End of /NAMES list."]

        lines = anna.join("#CLAN")
        assert lines[0] == ":anna!cho@ppy.sh JOIN :#clan"
        assert lines[2] == ":cho.ppy.sh 332 anna #clan :The members of your clan."
        boris.join("#clan")
        anna.send("NAMES #clan", "WHO #clan")
        assert sorted(anna.wait(" 353 ").partition(" :")[2].split()) == ["+anna", "+boris", "@BanchoBot"]
        assert len([line for line in anna.until(" 315 ") if " 352 anna #clan " in line]) == 3

        anna.send("PRIVMSG #clan :hello clan")
        assert boris.wait("hello") == ":anna!cho@ppy.sh PRIVMSG #clan :hello clan"
        assert any(text == "hello clan" and to == "#clan" for _, text, to in game.write("#clan", "from the game"))
        assert anna.wait("game") == ":boris!cho@ppy.sh PRIVMSG #clan :from the game"
        game.write_to_bot("!clan leave")
        boris.wait(":boris!cho@ppy.sh PART :#clan")
        anna.send("PRIVMSG #clan :after", "PART #clan")
        anna.wait(":anna!cho@ppy.sh PART :#clan")
        assert not any("after" in line for line in boris.quiet())


def test_moderation_has_one_form_from_the_chat_and_the_command_line(irc: Channels) -> None:
    with irc.connect("mod") as mod, irc.connect("anna") as anna:
        mod.join("#calm")
        anna.join("#calm")
        mod.send("PRIVMSG #calm :!moderated on")
        mod.wait("Only staff can write in this channel now.")
        mod.send("PRIVMSG #calm :!moderated on")
        mod.wait("already")
        anna.send("PRIVMSG #calm :hello")
        anna.wait(" 404 anna #calm ")
        mod.send("PRIVMSG #calm :!moderated")
        mod.wait("Everyone can write in this channel again.")
        mod.send("PRIVMSG BanchoBot :!moderated on")
        mod.wait("Only public channels can be moderated")
    rows = [row for row in irc.server.cli("audit")["rows"] if row["action"] == "channel_moderated"]
    states = [(row["details"]["before"]["moderated"], row["details"]["after"]["moderated"]) for row in rows[::-1]]
    assert states == [(False, True), (True, False)]
    assert {row["source"] for row in rows} == {"irc"}
