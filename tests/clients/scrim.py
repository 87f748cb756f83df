"""A scrim of two teams, led wholly from IRC, with players in osu.py. Runs against one process and against workers."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from osu.objects.replays import ScoreFrame
from tests.clients.test_osu_py import Player, poll_all
from tests.patience import Deadline, wait_until
from tests.wire.irc import IrcClient

OWLS: Final = ("anna", "boris")
WOLVES: Final = ("carla", "dora")
REFEREE: Final = "ref"
NAMES: Final = (*OWLS, *WOLVES, REFEREE)
MAP: Final = 100
NAME: Final = "KC: (Owls) vs (Wolves)"
SCORED_WITHIN_S: Final = 25.0
"""A play waits 10 s for the submissions of its scores. These players submit none, so their last frames count."""


class Referee:
    """A referee who has only IRC. `connect` opens a connection and logs in."""

    def __init__(self, connect: Callable[[], IrcClient]) -> None:
        self._connect = connect
        self._irc = connect()
        self.connections = 1
        self.channel = ""
        self.room = 0

    def make(self, name: str) -> None:
        """Create the match."""
        self._irc.send(f"PRIVMSG BanchoBot :!mp make {name}")
        lines = self._irc.until(" 366 ") + self._until_made()
        [made] = [found for line in lines if (found := re.search(r"Created the tournament match \S+/mp/(\d+) ", line))]
        self.channel = f"#mp_{made[1]}"
        self._irc.send(f"TOPIC {self.channel}")
        self.room = int(self._irc.wait("multiplayer game #").rpartition("#")[2])

    def _until_made(self) -> list[str]:
        # The answer comes before or after the lines of the channel.
        self._irc.send("PING :made")
        return self._irc.until(":made")

    def says(self, text: str, *answers: str) -> None:
        """Write a line in the match, and wait for these lines of the bot, in order."""
        self._irc.send(f"PRIVMSG {self.channel} :{text}")
        for answer in answers:
            self.hears(answer)

    def hears(self, text: str, within_s: float = 10.0) -> None:
        """Wait for a line of the bot in the match that begins with this text."""
        deadline, wanted = Deadline(within_s), f":BanchoBot!cho@ppy.sh PRIVMSG {self.channel} :{text}"
        while True:
            try:
                self._irc.wait(lambda line: line.startswith(wanted))
                return
            except AssertionError:
                if deadline.passed() or self._irc.ended:
                    raise

    def comes_back(self) -> None:
        """Connect again if the connection has ended. The server joins the channel of the match by itself."""
        self._irc.send("PING :alive")
        try:
            self._irc.wait(":alive")
        except (AssertionError, OSError):
            self._irc.close()
            self._irc = self._again()
            self.connections += 1
            self._irc.wait(f" 366 {REFEREE} {self.channel} ")

    def _again(self) -> IrcClient:
        found: list[IrcClient] = []

        def connects() -> bool:
            try:
                found.append(self._connect())
            except (OSError, AssertionError):
                return False
            return True

        wait_until(connects, within_s=30.0)
        return found[0]

    def close(self) -> None:
        """Close the match, and the connection."""
        self._irc.send(f"PRIVMSG {self.channel} :!mp close")
        self._irc.wait(f"PART :{self.channel}")
        self._irc.close()


def play(referee: Referee, players: Sequence[Player], scores: Sequence[int], *, meanwhile: Callable[[], None]) -> None:
    """Play the map to its end, with these scores. `meanwhile` runs in the middle of the play."""
    for player in players:
        player.bancho.match.ready()
    referee.hears("All players are ready")
    referee.says("!mp start", "The match has started!", "Started the match")
    poll_all(list(players))
    for player in players:
        player.bancho.match.load_complete()
    poll_all(list(players))
    for player, score in zip(players, scores, strict=True):
        player.bancho.match.send_score(ScoreFrame(1_000, 0, 9, 1, 0, 0, 0, 0, score, 10, 10, True, 200, 0))
    poll_all(list(players))
    meanwhile()
    for player in players:
        player.bancho.match.complete()
    for player, score in zip(players, scores, strict=True):
        referee.hears(f"{player.game.username} finished playing (Score: {score}, PASSED).")
    referee.hears("The match has finished!")
    poll_all(list(players))


def referee_a_scrim(
    connect: Callable[[], IrcClient], players: Sequence[Player], *, during_each_play: Callable[[], None]
) -> int:
    """Lead a best of three that the owls win by 2:0, and close the match. `players` are owls, then wolves.

    Return the number of connections that the referee needed.
    """
    referee = Referee(connect)
    referee.make(NAME)
    referee.says("!mp password", "Removed the match password")
    referee.says("!mp set 2 0 4", "Changed match settings to 4 slots, TeamVs, Score")
    for player in players:
        player.bancho.join_lobby()
        player.bancho.join_match(referee.room, "")
        player.poll()
        referee.hears(f"{player.game.username} joined in slot ")
    for name in OWLS:
        referee.says(f"!mp team {name} blue", f"Moved {name} to team Blue")
    for name in WOLVES:
        referee.says(f"!mp team {name} red", f"Moved {name} to team Red")
    referee.says(f"!mp map {MAP} 0", "Changed beatmap to ", "Changed match mode to Osu")
    referee.says("!mp mods HD", "Enabled Hidden, disabled FreeMod")
    referee.says("!mp scrim bo3", "The scrim has started: best of 3.")
    poll_all(list(players))

    def disturbed() -> None:
        during_each_play()
        referee.comes_back()

    play(referee, players, (300_000, 200_000, 250_000, 100_000), meanwhile=disturbed)
    referee.hears("Owls wins the point (Owls 500,000, Wolves 350,000) and now has 1 point.", SCORED_WITHIN_S)
    referee.hears("Score: Owls 1, Wolves 0 (best of 3).")
    play(referee, players, (300_000, 200_000, 250_000, 100_000), meanwhile=disturbed)
    referee.hears("Owls wins the point (Owls 500,000, Wolves 350,000) and now has 2 points.", SCORED_WITHIN_S)
    referee.hears("Owls wins the match!")
    referee.hears("The scrim has ended: Owls 2.")
    referee.close()
    poll_all(list(players))
    assert [player.bancho.match for player in players] == [None] * len(players)
    return referee.connections
