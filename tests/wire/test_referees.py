"""A refereed match over real connections: every line of the bot in its channel, exact to the letter, with limits on."""

import re
import shutil
import struct
import time
from collections.abc import Iterator

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.patience import Deadline
from tests.wire.kit import Server, cli
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho
from tests.wire.test_bot import FILES, TITLE, Player, form, lines, match_id_of, user_id_of

from kiai.faces.bancho import packets, wire
from kiai.faces.bancho.packets import ClientMessage, ClientPacket, JoinMatch

NAMES = ("anna", "boris", "Plum Harbor", "staff")
MAP = 4200011
SLOT_LINES = (
    r"^Slot (\d+) +(Not Ready|Ready|No Map) +L/u/(\d+) (.+)$",
    r"^Slot (\d+)\s+(.+) L/u/(\d+) (.{15})\s*(\[(.+)\])?$",
    r"^Slot (\d+) +(Not Ready|Ready|No Map) +L/u/(\d+) (.{16,}?) *(?:\[(.+)\])?$",
)
"""The expressions of known referee tools for the lines of `!mp settings`. `L` is the base of links."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("referees")
    data, maps = folder / "data", folder / "maps"
    maps.mkdir()
    cli(data, "migrate")
    shutil.copy(FILES / "title-with-mod-words.osu", maps)
    for name in NAMES:
        address = f"{name.replace(' ', '.')}@example.org"
        cli(data, "users", "add", name, "--email", address, "--password", PASSWORD.format(name))
    cli(data, "users", "grant", "staff", "tournament")
    # The flood rule does not apply to staff: anna sends more than 20 lines in 10 seconds.
    cli(data, "users", "grant", "anna", "moderator")
    cli(data, "beatmaps", "import", str(maps))
    server = Server(data).start()
    try:
        yield server
        for fault in ("unhandled", "packet failed", "command failed"):
            assert f'"{fault}"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def players(server: Server) -> dict[str, Player]:
    bancho = Bancho(server)
    return {name: Player(bancho, name) for name in NAMES}


def said(body: bytes, channel: str = "#multiplayer") -> list[str]:
    """Return the lines of the bot in a channel."""
    return [text for sender, text, to in lines(body) if (sender, to) == ("BanchoBot", channel)]


def frame(score: int) -> bytes:
    """Return a score frame with a total score."""
    counts = (10, 0, 0, 0, 0, 0)
    return struct.pack("<iB6HiHHBBBB", 1, 0, *counts, score, 10, 10, 1, 200, 0, 0)


def heard_within(player: Player, last: str, channel: str = "#multiplayer") -> list[str]:
    """Return the lines that a player hears until the line `last`."""
    deadline, found = Deadline(20), list[str]()
    while last not in found:
        assert not deadline.passed(), found
        time.sleep(0.1)
        found += said(player.send(), channel)
    return found


def test_lines_of_a_whole_match(server: Server, players: dict[str, Player]) -> None:
    anna, boris, plum = (players[name] for name in ("anna", "boris", "Plum Harbor"))
    link = "https://osu.localhost"
    by_id = {name: user_id_of(server, name) for name in NAMES}

    make = ClientMessage("", "!mp make OWC: (Red Pandas) vs (Blue)", "BanchoBot", 0)
    seated = anna.send(whole(ClientPacket.SEND_PRIVATE_MESSAGE, make))
    [made] = [text for _, text, to in lines(seated) if to == "anna"]
    found = re.fullmatch(rf"Created the tournament match {link}/mp/(\d+) OWC: \(Red Pandas\) vs \(Blue\)", made)
    assert found is not None, made
    history_id = int(found[1])
    match_id = match_id_of(seated)
    assert packets.channel_join_success("#multiplayer") in seated
    assert server.get(f"/mp/{history_id}", host="osu.localhost").status in (200, 301, 302, 303, 307, 308)

    def line(text: str, channel: str = "#multiplayer") -> bytes:
        return whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", text, channel, 0))

    def command(text: str, *expected: str) -> tuple[Player, bytes, list[str]]:
        return anna, line(text), list(expected)

    def act(by: Player, packet_id: ClientPacket, value: object, *expected: str) -> tuple[Player, bytes, list[str]]:
        return by, whole(packet_id, value), list(expected)

    def score(by: Player, total: int) -> tuple[Player, bytes, list[str]]:
        return by, wire.packet(ClientPacket.MATCH_SCORE_UPDATE, frame(total)), []

    join = JoinMatch(match_id, "")
    title = f"Kit - {TITLE}"
    # who acts, what they send, and the lines of the bot that anna hears
    steps = [
        command("!mp password", "Removed the match password"),
        act(boris, ClientPacket.JOIN_MATCH, join, "boris joined in slot 2."),
        command("!mp set 2 0 8 zz", "Changed match settings to 8 slots, TeamVs, Score"),
        act(plum, ClientPacket.JOIN_MATCH, join, "Plum Harbor joined in slot 3 for team red."),
        act(plum, ClientPacket.MATCH_CHANGE_SLOT, 5, "Plum Harbor moved to slot 6"),
        act(plum, ClientPacket.MATCH_CHANGE_TEAM, None, "Plum Harbor changed to Blue"),
        command("!mp team plum_harbor red x7", "Plum Harbor changed to Red", "Moved Plum Harbor to team Red"),
        command("!mp team plum_harbor RED", "Moved Plum Harbor to team Red"),
        command("!mp host boris q1", "boris became the host.", "Changed match host to boris"),
        act(boris, ClientPacket.MATCH_TRANSFER_HOST, 5, "Plum Harbor became the host."),
        command("!mp clearhost x", "Cleared match host"),
        command(f"!mp map {MAP} 0 h4x", f"Changed beatmap to {link}/b/{MAP} {title}", "Changed match mode to Osu"),
        command("!mp mods HDHR", "Enabled Hidden, HardRock, disabled FreeMod"),
        command("!mp mods 64 Freemod a1b2", "Enabled DoubleTime, enabled FreeMod"),
        command("!mp mods None", "Disabled all mods, disabled FreeMod"),
        command("!mp lock ab12", "Locked the match"),
        act(boris, ClientPacket.MATCH_CHANGE_SLOT, 6),
        command("!mp unlock ab12", "Unlocked the match"),
        command(f"!mp move #{by_id['boris']} 4 zz", "boris moved to slot 4", "Moved boris into slot 4"),
        command("!mp move boris 6", "Failed to move player to slot 6"),
        command("!mp move staff 6", "User is not in the match room"),
        command("!mp kick staff", "User is not in the match!"),
        command("!mp host nobody", "User not found"),
        act(anna, ClientPacket.MATCH_READY, None),
        act(boris, ClientPacket.MATCH_READY, None),
        act(plum, ClientPacket.MATCH_READY, None, "All players are ready"),
        act(plum, ClientPacket.MATCH_NOT_READY, None),
        act(plum, ClientPacket.MATCH_READY, None, "All players are ready"),
        command("!mp start x7f3", "The match has started!", "Started the match"),
        command("!mp start", "The match has already been started"),
        command("!mp abort x", "Aborted the match"),
        command("!mp abort", "The match is not in progress"),
        command("!mp host anna", "anna became the host.", "Changed match host to anna"),
        act(anna, ClientPacket.MATCH_START, None, "The match has started!"),
        *(act(by, ClientPacket.MATCH_LOAD_COMPLETE, None) for by in (anna, boris, plum)),
        score(boris, 1_000),
        score(boris, 1_234_567),
        act(boris, ClientPacket.MATCH_COMPLETE, None, "boris finished playing (Score: 1234567, PASSED)."),
        act(plum, ClientPacket.MATCH_FAILED, None),
        act(plum, ClientPacket.MATCH_COMPLETE, None, "Plum Harbor finished playing (Score: 0, FAILED)."),
        act(
            anna,
            ClientPacket.MATCH_COMPLETE,
            None,
            "anna finished playing (Score: 0, PASSED).",
            "The match has finished!",
        ),
        act(anna, ClientPacket.MATCH_LOCK, 5, "Plum Harbor left the game."),
        command("!mp addref boris, staff", *(f"Added {name} to the match referees" for name in ("boris", "staff"))),
        command("!mp listrefs x", "Match referees:", "anna", "boris", "staff"),
        command("!mp removeref boris, nobody", "Removed boris from the match referees", "User not found: nobody"),
        command("!mp removeref boris", "boris is not a match referee"),
        command("!mp kick boris zz", "boris left the game.", "Kicked boris from the match"),
        command("!mp invite boris zz", "Invited boris to the room"),
        act(boris, ClientPacket.JOIN_MATCH, join, "boris joined in slot 2 for team blue."),
        command("!mp invite boris", "User is already in the room"),
        command("!mp timer 90 zz", "Countdown ends in 1 minute and 30 seconds"),
        command("!mp start 9 zz", "Queued the match to start in 9 seconds"),
        command("!mp aborttimer x", "Aborted the match start timer", "Countdown aborted"),
        command("!mp ban boris zz", "boris left the game.", "Banned boris from the match"),
        act(boris, ClientPacket.JOIN_MATCH, join),
        command("!mp name OWC final", 'Room name updated to "OWC final"'),
        command("!mp size 99", "Invalid or no size provided", "Usage: !mp size <size>"),
        command("!mp map 75", "Invalid map ID provided"),
    ]
    anna.send()
    for number, (by, packet, expected) in enumerate(steps):
        answer = by.send(packet)
        heard = said(answer if by is anna else anna.send())
        assert heard == expected, (number, by.name, expected)

    settings = said(anna.send(line("!mp settings q1")))
    assert settings[:4] == [
        f"Room name: OWC final, History: {link}/mp/{history_id}",
        f"Beatmap: {link}/b/{MAP} {title} [Hard]",
        "Team mode: TeamVs, Win condition: Score",
        "Players: 1",
    ]
    assert settings[4:] == [f"Slot 1  Not Ready {link}/u/{by_id['anna']} anna            [Host / Team Red ]"]
    for expression in SLOT_LINES:
        assert re.match(expression.replace("L", re.escape(link)), settings[4]), expression

    countdown = said(anna.send(line("!mp timer 1")))
    assert countdown + heard_within(anna, "Countdown finished") == ["Countdown ends in 1 second", "Countdown finished"]
    queued = said(anna.send(line("!mp start 2")))
    assert queued + heard_within(anna, "The match has started!") == [
        "Queued the match to start in 2 seconds",
        "Match starts in 1 second",
        "Good luck, have fun!",
        "The match has started!",
    ]
    assert said(anna.send(whole(ClientPacket.PART_MATCH, None))) == []
    # The creator has left the seat and still leads the match, from the channel by its own name.
    anna.send()
    channel = f"#multi_{match_id}"
    assert said(anna.send(line("!mp settings", channel)), channel)[-1] == "Players: 0"
    assert said(anna.send(line("!mp close zz", channel)), channel) == ["Closed the match"]


def test_eighteen_commands_in_one_request_are_answered_in_order(server: Server, players: dict[str, Player]) -> None:
    boris, staff = players["boris"], players["staff"]
    match_id = match_id_of(boris.send(whole(ClientPacket.CREATE_MATCH, form("burst", user_id_of(server, "boris")))))
    commands = [f"!mp size {number % 15 + 2}" for number in range(18)]
    answers = [f"Changed match to size {number % 15 + 2}" for number in range(18)]

    def burst(channel: str) -> bytes:
        return b"".join(
            whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", text, channel, 0)) for text in commands
        )

    assert said(boris.send(burst("#multiplayer"))) + said(boris.send()) == answers, "the creator, in the game"
    channel = f"#multi_{match_id}"
    assert packets.channel_join_success(channel) in staff.send(whole(ClientPacket.CHANNEL_JOIN, channel))
    staff.send()
    assert said(staff.send(burst(channel)), channel) + said(staff.send(), channel) == answers, "without a seat"
    boris.send(whole(ClientPacket.PART_MATCH, None))


def test_rolls_and_statistics_have_the_official_lines(server: Server, players: dict[str, Player]) -> None:
    anna, boris = players["anna"], players["boris"]
    match_id = match_id_of(anna.send(whole(ClientPacket.CREATE_MATCH, form("who", user_id_of(server, "anna")))))
    boris.send(whole(ClientPacket.JOIN_MATCH, JoinMatch(match_id, "")))
    anna.send()

    assert anna.write_in_match("#multiplayer", "!mp roll x7")[0].startswith("anna rolls ")
    assert anna.write_in_match("#multiplayer", "!roll x7")[0].startswith("anna rolls ")
    assert anna.write_to_bot("!stats boris") == [
        f"Stats for (boris)[https://osu.localhost/u/{user_id_of(server, 'boris')}] is Idle:",
        "Score:    0 (#0)",
        "Plays:    0 (lv1)",
        "Accuracy: 0.00%",
    ]
    for player in (anna, boris):
        player.send(whole(ClientPacket.PART_MATCH, None))


def test_staff_seat_a_player_whose_client_opens_the_match(server: Server, players: dict[str, Player]) -> None:
    anna, boris, staff = players["anna"], players["boris"], players["staff"]
    secret = form("secret", user_id_of(server, "anna"), "tea party")
    match_id = match_id_of(anna.send(whole(ClientPacket.CREATE_MATCH, secret)))
    channel = f"#multi_{match_id}"
    staff.send(whole(ClientPacket.CHANNEL_JOIN, channel))
    boris.send()

    assert staff.write_in_match(channel, "!mp force boris") == ["boris joined in slot 2.", "Seated boris in the match"]

    assert match_id_of(boris.send()) == match_id
    assert boris.write_in_match("#multiplayer", "!mp link")[0].startswith("https://osu.localhost/community/matches/")
    for player in (anna, boris):
        player.send(whole(ClientPacket.PART_MATCH, None))
