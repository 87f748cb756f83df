"""The commands `!mp` and `!pool`: rights, effects, and the lines of the bot."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.builders import Run, World, a_map, a_play, pp_of
from tests.multiplayer.test_rooms import MatchServer

from kiai.beatmaps import Beatmap
from kiai.chat.bot import Bot
from kiai.faces.bancho import packets
from kiai.faces.bot.mp import MatchCommands
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.pools import PoolCommands
from kiai.ids import SequenceIds
from kiai.multiplayer import commands
from kiai.multiplayer.match import Match, seat_of
from kiai.multiplayer.pools import Mappools
from kiai.osu.mods import DT, HD, HR, mod_names
from kiai.osu.privileges import TOURNEY_MANAGER
from kiai.staff.audit import OPERATOR
from kiai.staff.match_acts import MatchActs
from kiai.staff.pool_acts import PoolActs
from kiai.storage.port import Database


class MatchChat:
    """The bot, and a match of anna in which boris is seated. `say` writes a line in its channel."""

    def __init__(self, database: Database, run: Run, folder: Path, *, limited: bool = False) -> None:
        self.server = MatchServer(World(database, run, folder))
        self.world = self.server.world
        for name in ("anna", "boris", "carla"):
            self.server.log_in(name)
        pools = Mappools(database, self.world.clock)
        self.bot = Bot(self.world.accounts, self.world.realtime, self.world.clock, SequenceIds(), limited=limited)
        self.notifications: list[tuple[str, str]] = []

        async def post(channel: str, line: str) -> None:
            self.server.bot_lines.append(line)

        async def notify(user_id: int, name: str, line: str) -> None:
            self.notifications.append((name, line))

        match_commands = MatchCommands(
            self.server.matches,
            MatchActs(self.server.matches, self.world.realtime, self.world.authority, self.world.clock),
            self.world.realtime,
            self.world.beatmaps,
            pools,
            lambda path: f"https://osu.x/{path}",
            player=self.bot.player,
            post=post,
            notify=notify,
        )
        playing = NowPlaying(self.world.beatmaps, self.world.performance, self.world.realtime)  # type: ignore[arg-type]
        self.bot.register(match_commands.commands())
        self.bot.register(
            PoolCommands(pools, PoolActs(pools, self.world.authority, self.world.clock), playing).commands()
        )
        self.match_id = self.server.create("anna")
        self.server.join("boris", self.match_id)
        self.server.bot_lines.clear()

    def say(self, text: str, by: str = "anna", where: str | None = None) -> Sequence[str]:
        channel = f"#multi_{self.match_id}" if where is None else where
        answer = self.world.run(self.bot.on_message(self.server.session(by), channel, text))
        return () if answer is None else answer.lines

    def change_settings(self, by: str, **changed: object) -> None:
        """Send the settings of the match with some changed, as the client of the host does."""
        # The settings of the packet.
        names = "name mods map_id map_md5 map_name mode win_condition team_type free_mods seed"
        sent = {name: getattr(self.match, name) for name in names.split()} | changed
        self.world.run(self.server.matches.change_settings(self.server.session(by), **sent))

    @property
    def match(self) -> Match:
        found = self.server.match(self.match_id)
        assert found is not None
        return found


@pytest.fixture
def chat(database: Database, run: Run, tmp_path: Path) -> MatchChat:
    return MatchChat(database, run, tmp_path)


def test_creator_uses_commands_and_guest_gets_no_answer(chat: MatchChat) -> None:
    assert chat.say("!mp name another name") == ('Room name updated to "another name"',)
    for text in ("!mp name mine", "!mp size 99", "!mp kick nobody", "!mp map 75", "!mp start ²", "!mp password x"):
        assert chat.say(text, by="boris") == (), text
    assert chat.match.name == "another name"
    assert chat.server.bot_lines == []


def test_referee_uses_commands_until_removed(chat: MatchChat) -> None:
    assert chat.say("!mp addref boris") == ("Added boris to the match referees",)
    assert chat.say("!mp size 4", by="boris") == ("Changed match to size 4",)
    assert chat.say("!mp listrefs") == ("Match referees:", "anna", "boris")
    assert chat.say("!mp removeref boris") == ("Removed boris from the match referees",)

    assert chat.say("!mp size 8", by="boris") == ()


def test_several_referees_are_added_and_removed_at_once(chat: MatchChat) -> None:
    chat.server.log_in("Plum Harbor")

    assert chat.say('!mp addref boris, carla "plum harbor" nobody #99999999999') == (
        "Added boris to the match referees",
        "Added carla to the match referees",
        "Added Plum Harbor to the match referees",
        "User not found: nobody",
        "User not found: #99999999999",
    )
    assert chat.say("!mp addref carla") == ("carla: already a referee",)
    assert [name for _, name in chat.match.referees] == ["anna", "boris", "carla", "Plum Harbor"]

    assert chat.say("!mp removeref boris,Plum_Harbor nobody anna") == (
        "Removed boris from the match referees",
        "Removed Plum Harbor from the match referees",
        "User not found: nobody",
        "anna: the creator is always a referee",
    )
    assert chat.say("!mp removeref boris") == ("boris is not a match referee",)
    assert [name for _, name in chat.match.referees] == ["anna", "carla"]


def test_new_referee_without_seat_gets_join_command_once(chat: MatchChat) -> None:
    chat.say("!mp addref boris carla")

    assert chat.notifications == [("carla", f"anna made you a referee of a match: /join #multi_{chat.match_id}")]
    assert chat.say("!mp size 4", by="carla") == ("Changed match to size 4",)
    chat.say("!mp removeref carla")
    chat.say("!mp addref carla")
    assert len(chat.notifications) == 1, "at most one message an hour"


def test_command_acts_on_match_of_its_channel(chat: MatchChat) -> None:
    chat.say("!mp make Final", by="carla", where="")
    final = chat.server.session("carla").match_id
    chat.server.run(chat.server.matches.leave(chat.server.session("carla")))
    own = chat.server.create("carla", password="tea party")
    chat.server.poll_packets("anna")

    assert chat.say("!mp invite anna", by="carla", where=f"#multi_{final}") == ("Invited anna to the room",)

    made = chat.server.match(final)
    assert made is not None
    packet_bytes = chat.server.poll_packets("anna")
    assert f"osump://{final}/{made.password} Final".encode() in packet_bytes
    assert b"tea_party" not in packet_bytes
    assert own != final


def test_referee_without_seat_invites(chat: MatchChat) -> None:
    chat.say("!mp make Final", by="carla", where="")
    final = chat.server.session("carla").match_id
    chat.server.run(chat.server.matches.leave(chat.server.session("carla")))

    assert chat.say("!mp invite boris", by="carla", where=f"#multi_{final}") == ("Invited boris to the room",)

    assert f"osump://{final}/".encode() in chat.server.poll_packets("boris")
    assert chat.say("!mp invite boris") == ("User is already in the room",)
    assert chat.say("!mp invite anna") == ("You can't invite yourself.",)
    assert chat.say("!mp invite #99999999999") == ("User not found",)


def test_settings_commands_change_match_and_answer(chat: MatchChat) -> None:
    song = chat.world.add_map(a_map())
    assert chat.say("!mp set 2 3 8") == ("Changed match settings to 8 slots, TeamVs, ScoreV2",)
    assert chat.say("!mp set 2") == ("Changed match settings to TeamVs",)
    assert chat.say("!mp team boris red") == ("Moved boris to team Red",)
    title = f"{song.artist} - {song.title}"
    assert chat.say(f"!mp map https://osu.x/b/{song.id}") == (f"Changed beatmap to https://osu.x/b/{song.id} {title}",)
    assert chat.say("!mp mods HDHR DT freemod") == ("Enabled Hidden, HardRock, DoubleTime, enabled FreeMod",)
    assert chat.say("!mp host boris") == ("Changed match host to boris",)
    assert chat.say("!mp password a secret") == ()

    match = chat.match
    assert (match.team_type, match.win_condition) == (2, 3)
    assert match.slots[1].team == 2
    assert (match.map_id, match.map_md5) == (song.id, song.md5)
    assert (match.free_mods, match.mods, match.slots[0].mods) == (True, DT, HD | HR)
    assert match.host_name == "boris"
    assert match.password == "a secret"
    assert chat.server.bot_lines == ["boris changed to Red", "boris became the host.", "Changed the match password"]


@pytest.mark.parametrize(
    ("mode", "words", "answer"),
    [
        (0, "DT HT", "Enabled DoubleTime"),
        (0, "EZ HR", "Enabled Easy"),
        (0, "NF SD", "Enabled NoFail"),
        (0, "SO AP", "Enabled SpunOut"),
        (0, "RX AP", "Enabled Relax"),
        (0, "V2", "Disabled all mods"),
        (0, "AU HD", "Enabled Hidden"),
        (0, "TP", "Disabled all mods"),
        (0, "HD MR", "Enabled Hidden"),
        (3, "4K 7K", "Enabled Key4"),
        (3, "FI HD", "Enabled Hidden"),
        (3, "RX", "Disabled all mods"),
        (0, "NC", "Enabled DoubleTime, Nightcore"),
        (0, "HDHR", "Enabled Hidden, HardRock"),
        (0, "hd,hr", "Enabled Hidden, HardRock"),
        (0, "24 a1b2", "Enabled Hidden, HardRock"),
        (0, "None", "Disabled all mods"),
        (0, "", "Disabled all mods"),
        (0, "² ５ nonsense 99999999999", "Disabled all mods"),
    ],
)
def test_mods_answer_names_normalised_mods(chat: MatchChat, mode: int, words: str, answer: str) -> None:
    song = chat.world.add_map(a_map(mode=mode))
    chat.say(f"!mp map {song.id}")

    assert chat.say(f"!mp mods {words}") == (f"{answer}, disabled FreeMod",)

    mods = answer.removeprefix("Enabled ").split(", ") if answer.startswith("Enabled") else []
    assert mod_names(chat.match.mods) == mods


def test_mods_answer_with_free_mods_includes_mods_of_players(chat: MatchChat) -> None:
    assert chat.say("!mp mods DT freemod") == ("Enabled DoubleTime, enabled FreeMod",)
    assert chat.say("!mp mods freemod") == ("Disabled all mods, enabled FreeMod",)
    assert chat.say("!mp mods Freemod HD") == ("Enabled Hidden, enabled FreeMod",)
    assert chat.say("!mp freemods off") == ("Enabled Hidden, disabled FreeMod",)


def test_name_answer_has_stored_name(chat: MatchChat) -> None:
    long = "x" * 70

    assert chat.say(f"!mp name {long}") == (f'Room name updated to "{long[:50]}"',)
    assert chat.match.name == long[:50]
    [line] = chat.say(f"!mp make {long[:60]}", by="carla", where="")
    assert line.endswith(f" {long[:50]}")
    assert chat.say("!mp make", by="carla", where="") == ("No name provided",)
    assert chat.say("!mp make \u200b", by="carla", where="") == ("A match needs a name.",)


def test_too_long_password_is_refused(chat: MatchChat) -> None:
    assert chat.say(f"!mp password {'x' * 51}") == ("A password has at most 50 characters.",)
    assert chat.match.password == "secret"
    assert chat.say("!mp password") == ()
    assert chat.match.password == ""
    assert chat.server.bot_lines == ["Removed the match password"]


def test_random_password_is_sent_to_referees_only(chat: MatchChat) -> None:
    chat.say("!mp addref carla")
    chat.notifications.clear()

    [line] = chat.say("!mp randpw")

    assert line == f"The password of a match is {chat.match.password}"
    assert chat.notifications == [("carla", line)]
    assert chat.server.bot_lines == ["Changed the match password"]


@pytest.mark.parametrize(
    ("form", "own", "mode"),
    [
        ("https://osu.ppy.sh/b/{map}?m=1", 0, 1),
        ("https://osu.ppy.sh/b/{map}&m=0", 0, 0),
        ("https://osu.ppy.sh/beatmapsets/{set}#taiko/{map}", 0, 1),
        ("https://osu.ppy.sh/b/{map}?m=1", 3, 3),
        ("{map} 2", 0, 2),
        ("{map} 2 h4x", 0, 2),
    ],
)
def test_map_link_selects_map_and_mode(chat: MatchChat, form: str, own: int, mode: int) -> None:
    song = chat.world.add_map(a_map(2785319, set_id=1344871, mode=own))

    lines = chat.say("!mp map " + form.format(map=song.id, set=song.set_id))

    assert lines == (
        f"Changed beatmap to https://osu.x/b/{song.id} {song.artist} - {song.title}",
        f"Changed match mode to {('Osu', 'Taiko', 'CatchTheBeat', 'OsuMania')[mode]}",
    )
    assert (chat.match.map_id, chat.match.mode) == (song.id, mode)


def test_settings_answer_has_one_line_per_player(chat: MatchChat) -> None:
    song = chat.world.add_map(a_map())
    chat.server.log_in("ABCDEFGHIJK 123")
    chat.server.join("ABCDEFGHIJK 123", chat.match_id)
    chat.say(f"!mp map {song.id}")
    chat.server.do("boris", commands.Ready)
    chat.server.do("ABCDEFGHIJK 123", commands.NoMap)
    ids = {name: chat.server.session(name).user_id for name in ("anna", "boris", "ABCDEFGHIJK 123")}

    assert chat.say("!mp settings q1") == (
        f"Room name: a match, History: https://osu.x/mp/{chat.match.history_id}",
        f"Beatmap: https://osu.x/b/{song.id} {song.artist} - {song.title} [{song.version}]",
        "Team mode: HeadToHead, Win condition: Score",
        "Players: 3",
        f"Slot 1  Not Ready https://osu.x/u/{ids['anna']} anna            [Host]",
        f"Slot 2  Ready     https://osu.x/u/{ids['boris']} boris           ",
        f"Slot 3  No Map    https://osu.x/u/{ids['ABCDEFGHIJK 123']} ABCDEFGHIJK 123 ",
    )


def test_settings_answer_includes_teams_mods_and_pp(chat: MatchChat) -> None:
    chat.say("!mp set 2")
    chat.say("!mp mods HD DT freemod")
    chat.say("!mp scrim bo3")
    chat.say("!mp condition pp")
    chat.server.do("boris", commands.ChangeTeam)
    chat.server.do("boris", commands.ChangeMods, mods=HD | HR)
    chat.server.do("anna", commands.ChangeMods, mods=DT)
    ids = {name: chat.server.session(name).user_id for name in ("anna", "boris")}

    lines = chat.say("!mp settings")

    assert lines[2:] == (
        "Team mode: TeamVs, Win condition: pp",
        "Active mods: DoubleTime, Freemod",
        "Players: 2",
        f"Slot 1  Not Ready https://osu.x/u/{ids['anna']} anna            [Host / Team Red ]",
        f"Slot 2  Not Ready https://osu.x/u/{ids['boris']} boris           [Team Red  / Hidden, HardRock]",
    )
    for line in lines[-2:]:
        assert re.fullmatch(r"Slot (\d+) +(Not Ready|Ready|No Map) +https://osu\.x/u/(\d+) (.+)", line)
        assert re.fullmatch(r"Slot (\d+)\s+(.+) https://osu\.x/u/(\d+) (.{15})\s*(\[(.+)\])?", line)
        found = re.fullmatch(
            r"Slot (\d+) +(Not Ready|Ready|No Map) +https://osu\.x/u/(\d+) (.{16,}?) *(?:\[(.+)\])?", line
        )
        assert found is not None
        assert found[4].strip() in ids


def test_settings_answer_of_full_match_is_complete(chat: MatchChat) -> None:
    for number in range(14):
        chat.server.log_in(f"player {number}")
        chat.server.join(f"player {number}", chat.match_id)
    chat.say("!mp mods HD")

    assert len(chat.say("!mp settings")) == 21


def test_queued_start_counts_down_and_is_aborted(chat: MatchChat) -> None:
    assert chat.say("!mp start 10 x7f3") == ("Queued the match to start in 10 seconds",)
    chat.world.run(chat.server.matches.fire_timers())
    chat.world.clock.advance(5)
    chat.world.run(chat.server.matches.fire_timers())
    assert chat.server.bot_lines == ["Match starts in 5 seconds"]
    assert chat.say("!mp aborttimer") == ("Aborted the match start timer",)
    chat.world.clock.advance(6)
    chat.world.run(chat.server.matches.fire_timers())
    assert not chat.match.in_progress


def test_queued_start_starts_match(chat: MatchChat) -> None:
    chat.say("!mp start 1")
    chat.world.clock.advance(2)
    chat.world.run(chat.server.matches.fire_timers())

    assert chat.match.in_progress
    assert chat.server.bot_lines == ["Good luck, have fun!", "The match has started!"]


def test_countdown_posts_line_at_each_mark(chat: MatchChat) -> None:
    assert chat.say("!mp timer 90 zz") == ("Countdown ends in 1 minute and 30 seconds",)
    for _ in range(92):
        chat.world.run(chat.server.matches.fire_timers())
        chat.world.clock.advance(1)
    chat.world.run(chat.server.matches.fire_timers())

    left = ("1 minute", "30 seconds", "10 seconds", *(f"{n} seconds" for n in (5, 4, 3, 2)), "1 second")
    assert chat.server.bot_lines == [*(f"Countdown ends in {time_left}" for time_left in left), "Countdown finished"]
    assert chat.say("!mp timer") == ("Countdown ends in 30 seconds",)
    chat.say("!mp start 20")
    assert chat.say("!mp aborttimer") == ("Aborted the match start timer", "Countdown aborted")


@pytest.mark.parametrize("when", ["", " force", " x7", " 8k3f9", " FORCE"])
def test_match_starts_once_and_aborts_once(chat: MatchChat, when: str) -> None:
    assert chat.say(f"!mp start{when}") == ("Started the match",)
    assert chat.server.bot_lines == ["The match has started!"]
    assert chat.say("!mp start") == ("The match has already been started",)
    assert chat.say("!mp start 5") == ("The match has already been started",)
    assert chat.say("!mp abort") == ("Aborted the match",)
    assert chat.say("!mp abort") == ("The match is not in progress",)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("!mp size 17", ("Invalid or no size provided", "Usage: !mp size <size>")),
        ("!mp size", ("Invalid or no size provided", "Usage: !mp size <size>")),
        ("!mp size ５", ("Invalid or no size provided", "Usage: !mp size <size>")),
        ("!mp set 4", ("Invalid or no settings provided", "Usage: !mp set <team_mode> [score_mode] [size]")),
        ("!mp set 2 ²", ("Invalid or no settings provided", "Usage: !mp set <team_mode> [score_mode] [size]")),
        ("!mp set 2 1 99", ("Invalid or no settings provided", "Usage: !mp set <team_mode> [score_mode] [size]")),
        ("!mp start 999", ("seconds must be a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp start ²", ("seconds must be a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp start ５", ("seconds must be a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp start -5", ("seconds must be a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp timer ²", ("seconds must be a whole number from 1 to 900. Usage: !mp timer [when]",)),
        ("!mp timer 0", ("seconds must be a whole number from 1 to 900. Usage: !mp timer [when]",)),
        (
            "!mp scrim bo²",
            ("best_of must be odd, from bo1 to bo15. 0 ends the scrim. Usage: !mp scrim <best_of>",),
        ),
        ("!mp points ² 1", ("User not found",)),
        ("!mp points boris 99", ("blue must be a whole number from 0 to 15. Usage: !mp points <red> <blue>",)),
        ("!mp size 1", ("Invalid or no size provided", "The match has more players than that.")),
        ("!mp set 2 1 1", ("Invalid or no settings provided", "The match has more players than that.")),
        ("!mp ban carla", ("User is not in the match!",)),
        ("!mp ban", ("No user specified", "Usage: !mp ban <user>")),
        ("!mp ban nobody", ("User not found",)),
        ("!mp team", ("Require a <username> <colour> combo", "Usage: !mp team <user> <red|blue>")),
        ("!mp force boris", ()),
        ("!mp scorev 3", ("version must be one of 1, 2. Usage: !mp scorev <1|2>",)),
        ("!mp map nonsense", ("Invalid map ID provided", "Usage: !mp map <beatmap> [mode]")),
        ("!mp map ²", ("Invalid map ID provided", "Usage: !mp map <beatmap> [mode]")),
        ("!mp map ５", ("Invalid map ID provided", "Usage: !mp map <beatmap> [mode]")),
        ("!mp map https://osu.x/s/1", ("Invalid map ID provided", "Usage: !mp map <beatmap> [mode]")),
        ("!mp map 9999999999", ("Invalid map ID provided", "Usage: !mp map <beatmap> [mode]")),
        ("!mp map 2147483647", ("Invalid map ID provided",)),
        ("!mp move boris 1", ("Failed to move player to slot 1",)),
        ("!mp move carla 3", ("User is not in the match room",)),
        ("!mp host carla", ("User is not in the match!",)),
        ("!mp kick carla", ("User is not in the match!",)),
        ("!mp kick", ("No user specified", "Usage: !mp kick <user>")),
        ("!mp addref", ("No user specified", "Usage: !mp addref <users...>")),
        ("!mp addref ,", ("No user specified", "Usage: !mp addref <users...>")),
        ("!mp kick nobody", ("User not found",)),
        ("!mp kick #9999999999", ("User not found",)),
        ("!mp kick #²", ("User not found",)),
        ("!mp team boris green", ("Require a <username> <colour> combo", "Usage: !mp team <user> <red|blue>")),
        ("!mp team boris red", ("This match has no teams.",)),
        ("!mp pick NM1", ("No mappool is loaded. Usage: !mp pick <pick> [force]",)),
        ("!mp aborttimer", ("No timer is running.",)),
    ],
)
def test_invalid_command_gets_reason_and_changes_nothing(chat: MatchChat, text: str, answer: Sequence[str]) -> None:
    before = chat.match

    assert chat.say(text) == answer

    assert chat.match == before
    assert chat.server.bot_lines == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("!mp lock ab12", "Locked the match"),
        ("!mp unlock", "Unlocked the match"),
        ("!mp clearhost x", "Cleared match host"),
        ("!mp set 3 1  zz", "Changed match settings to TagTeamVs, Accuracy"),
        ("!MP SIZE 8 q", "Changed match to size 8"),
        ("!mp move boris 5 zz", "Moved boris into slot 5"),
        ("!mp kick boris zz", "Kicked boris from the match"),
        ("!mp ban boris zz", "Banned boris from the match"),
        ("!mp condition combo zz", "Changed win condition to Combo"),
        ("!mp scorev 2 zz", "Changed win condition to ScoreV2"),
        ("!mp host anna zz", "Changed match host to anna"),
        ("!mp start CANCEL", "No timer is running."),
    ],
)
def test_random_words_that_tools_append_are_ignored(chat: MatchChat, text: str, answer: str) -> None:
    assert chat.say(text) == (answer,)


def test_clearhost_without_host_succeeds(chat: MatchChat) -> None:
    chat.say("!mp clearhost")

    assert chat.say("!mp clearhost") == ("Cleared match host",)


def test_leader_commands_are_exempt_from_rate_limit(database: Database, run: Run, tmp_path: Path) -> None:
    chat = MatchChat(database, run, tmp_path, limited=True)

    answers = [chat.say(f"!mp size {size}") for size in range(2, 17)]

    assert answers == [(f"Changed match to size {size}",) for size in range(2, 17)]


def test_match_made_by_command_stays_open_until_creator_closes_it(chat: MatchChat) -> None:
    [line] = chat.say("!mp make a tournament match", by="carla", where="")
    made = chat.server.session("carla").match_id
    chat.match_id = made
    assert line == f"Created the tournament match https://osu.x/mp/{chat.match.history_id} a tournament match"
    assert (chat.match.by_command, chat.match.host_id, bool(chat.match.password)) == (True, 0, True)
    chat.server.run(chat.server.matches.leave(chat.server.session("carla")))

    assert chat.say("!mp close", by="anna") == ()
    assert chat.say("!mp close", by="carla") == ()

    assert chat.server.bot_lines[-1] == "Closed the match"
    assert chat.server.match(made) is None


def test_fifth_match_made_by_command_is_refused(chat: MatchChat) -> None:
    for _ in range(4):
        chat.say("!mp make match", by="carla", where="")

    assert chat.say("!mp make match", by="carla", where="") == (
        "You cannot create any more tournament matches. Please close any previous tournament matches you have open.",
    )


def test_points_of_a_player_are_set_without_teams(chat: MatchChat) -> None:
    chat.say("!mp scrim bo5")

    assert chat.say("!mp points boris 2") == ("boris 2.",)
    assert chat.say("!mp points carla 1") == ("That side does not take part in the scrim.",)
    assert chat.match.scrim is not None
    assert chat.match.scrim.points_of(chat.server.session("boris").user_id) == 2


def test_settings_in_one_line(chat: MatchChat) -> None:
    lines = chat.say("!mp settings")

    assert chat.say("!mp settings single") == (" | ".join(lines),)


def test_each_player_rolls_once_until_a_scrim_begins(chat: MatchChat) -> None:
    def roll(by: str) -> str:
        [line] = chat.say("!mp roll", by=by)
        return line

    first = roll("boris")
    number = re.fullmatch(r"boris rolls (\d{1,3}) point\(s\)", first)
    assert number is not None
    assert roll("boris") == f"boris has already rolled {number[1]} point(s)"
    assert roll("anna").startswith("anna rolls ")
    chat.say("!mp scrim bo3")
    assert roll("boris").startswith("boris rolls ")


def test_empty_match_without_map_starts_and_aborts(chat: MatchChat) -> None:
    chat.world.run(chat.server.presence.change(chat.server.session("carla"), irc=True))
    [made] = chat.say("!mp make Final", by="carla", where="")
    assert re.fullmatch(r"Created the tournament match https://osu\.x/mp/\d+ Final", made)
    carla = chat.server.session("carla")
    assert (carla.match_id, carla.room_id) == (0, 0), "an IRC connection gets no seat"
    [topic] = [topic for topic in carla.follows if "#multi_" in topic]
    where = topic.removeprefix("chat:").removesuffix("/referees")

    assert chat.say("!mp start x7", by="carla", where=where) == ("Started the match",)
    assert chat.say("!mp start 10", by="carla", where=where) == ("The match has already been started",)
    assert chat.say("!mp abort", by="carla", where=where) == ("Aborted the match",)
    assert chat.say("!mp start 2", by="carla", where=where) == ("Queued the match to start in 2 seconds",)
    chat.world.clock.advance(2)
    chat.world.run(chat.server.matches.fire_timers())
    assert chat.server.bot_lines == ["The match has started!", "Good luck, have fun!", "The match has started!"]
    chat.world.clock.advance(60)
    chat.world.run(chat.server.matches.fire_timers())
    assert chat.server.bot_lines[-1] == "The match has finished!"
    chat.say("!mp close", by="carla", where=where)
    chat.world.run(chat.server.history.flush())
    history_id = int(made.split("/mp/")[1].split()[0])
    assert chat.world.run(chat.server.history.games_of(history_id)) == [], "a play without a map is no game"


def test_host_who_picks_former_map_again_ends_the_choice(chat: MatchChat) -> None:
    song = chat.world.add_map(a_map())
    chat.say(f"!mp map {song.id}")
    now = chat.match
    for map_id, md5, name in ((-1, "", ""), (song.id, song.md5, now.map_name)):
        chat.change_settings("anna", map_id=map_id, map_md5=md5, map_name=name)

    assert chat.server.bot_lines == [
        "Host is changing map...",
        f"Beatmap changed to: {now.map_name} (https://osu.kiai.example/b/{song.id})",
    ]


def test_host_who_changes_team_type_in_scrim_gets_the_match_again(chat: MatchChat) -> None:
    chat.say("!mp scrim bo3")
    chat.server.poll_packets("anna")

    chat.change_settings("anna", team_type=2)

    assert chat.match.team_type == 0
    assert packets.match_update(chat.match_id, chat.match, hide_password=True) in chat.server.poll_packets("anna")


# --- staff in matches of others


def make_manager(chat: MatchChat, name: str) -> None:
    session = chat.server.session(name)
    chat.world.run(chat.server.presence.change(session, priv=3 | TOURNEY_MANAGER))
    chat.world.run(chat.world.staff.grant(OPERATOR, name, ["tournament"]))


def actions(chat: MatchChat, target_id: int, kind: str = "user") -> list[tuple[str, int, str]]:
    return [(row.action, row.actor_id, row.source) for row in chat.world.audit(target_id, kind)]


def test_staff_seat_consenting_player_without_password(chat: MatchChat) -> None:
    where = f"#multi_{chat.match_id}"
    carla, anna = chat.server.session("carla"), chat.server.session("anna")
    assert chat.say("!mp force carla") == (), "the creator has no right to it"
    assert "force" not in chat.say("!mp help")[0]
    make_manager(chat, "anna")
    assert "force" in chat.say("!mp help")[0]

    def refused_while(**fields: object) -> str:
        before = chat.server.session("carla")
        chat.world.run(chat.server.presence.change(before, **fields))
        [line] = chat.say("!mp force carla", where=where)
        after = chat.server.session("carla")
        chat.world.run(chat.server.presence.change(after, **{name: getattr(before, name) for name in fields}))
        return line

    assert refused_while(friends_only_dms=True) == "This player doesn't accept messages from you."
    assert refused_while(blocked=frozenset({anna.user_id})) == "This player doesn't accept messages from you."
    assert refused_while(silenced_until_ms=2**50) == "This player is silenced."
    assert refused_while(tournament=True) == "This player is not online."
    assert refused_while(match_id=99) == "This player is in another match."
    assert chat.say("!mp force boris") == ("User is already in the room",)
    assert chat.say("!mp force anna") == ("You can't invite yourself.",)
    assert actions(chat, carla.user_id) == []
    chat.server.poll_packets("carla")

    assert chat.say("!mp forceinvite CARLA x7", where=where) == ("Seated carla in the match",)

    assert chat.server.session("carla").match_id == chat.match_id
    received = chat.server.poll_packets("carla")
    assert packets.channel_join_success("#multiplayer") in received
    assert packets.match_join_success(chat.match_id, chat.match) in received
    assert chat.server.bot_lines == ["carla joined in slot 3."]
    assert actions(chat, carla.user_id) == [("mp_force", anna.user_id, "game")]


def test_acts_of_staff_in_matches_of_others_are_audited(chat: MatchChat) -> None:
    carla, boris = chat.server.session("carla"), chat.server.session("boris")
    make_manager(chat, "carla")
    history_id = chat.match.history_id

    assert chat.say("!mp kick anna", by="carla") == ("You can't remove referees or staff.",)
    assert chat.say("!mp kick boris") == ("Kicked boris from the match",)
    assert actions(chat, boris.user_id) == [], "the creator is no staff"
    chat.server.join("boris", chat.match_id)
    assert chat.say("!mp kick boris", by="carla") == ("Kicked boris from the match",)
    assert chat.say("!mp kick boris", by="carla") == ("User is not in the match!",)
    chat.server.join("boris", chat.match_id)
    assert chat.say("!mp ban boris", by="carla") == ("Banned boris from the match",)
    chat.say("!mp close", by="carla")

    assert actions(chat, boris.user_id) == [
        ("mp_ban", carla.user_id, "game"),
        ("mp_kick", carla.user_id, "game"),
    ]
    assert actions(chat, chat.server.session("anna").user_id) == []
    assert actions(chat, history_id, "match") == [("mp_close", carla.user_id, "game")]


def test_right_that_was_taken_since_the_login_is_gone(chat: MatchChat) -> None:
    session = chat.server.session("carla")
    chat.world.run(chat.server.presence.change(session, priv=3 | TOURNEY_MANAGER))

    for text in ("!mp force carla", "!mp kick boris", "!mp ban boris", "!mp close"):
        [line] = chat.say(text, by="carla")
        assert line.startswith("Unknown command"), text

    assert seat_of(chat.match, chat.server.session("boris").user_id) == 1
    assert actions(chat, chat.server.session("boris").user_id) == []


def test_creation_by_command_is_audited(chat: MatchChat) -> None:
    [made] = chat.say("!mp makeprivate Final", by="carla", where="")

    history_id = int(made.split("/mp/")[1].split()[0])
    assert actions(chat, history_id, "match") == [("mp_make", chat.server.session("carla").user_id, "game")]
    chat.say("!mp close", by="carla", where=f"#multi_{chat.server.session('carla').match_id}")
    assert len(actions(chat, history_id, "match")) == 1, "a player closes their own match"


def test_points_answer_has_points_that_end_the_scrim(chat: MatchChat) -> None:
    chat.say("!mp set 2")
    chat.say("!mp scrim bo3")

    assert chat.say("!mp points 1 0") == ("Red 1, Blue 0.",)
    assert chat.say("!mp points 2 1") == ("Red 2, Blue 1.",)
    assert chat.match.scrim is None


def test_scrim_point_follows_last_score_frames(chat: MatchChat) -> None:
    chat.say("!mp scrim bo1")
    for name in ("anna", "boris"):
        chat.server.do(name, commands.Ready)
    chat.say("!mp start force")
    for name, score in (("anna", 5_000), ("boris", 7_000)):
        frame = bytes(17) + score.to_bytes(4, "little") + bytes(8)
        chat.world.run(chat.server.matches.score_frame(chat.server.session(name), frame))
    for name in ("anna", "boris"):
        chat.server.do(name, commands.Complete)

    lines = [line for line in chat.server.bot_lines if "boris" in line]
    assert lines == [
        "boris finished playing (Score: 7000, PASSED).",
        "boris wins the point (boris 7,000, anna 5,000) and now has 1 point.",
        "boris wins the match!",
        "The scrim has ended: boris 1.",
    ]


def play_of_scrim(chat: MatchChat, condition: str, frames: dict[str, bytes]) -> Beatmap:
    """Play a map of a scrim to its end, with these last score frames."""
    song = chat.world.add_map(a_map())
    chat.say(f"!mp map {song.id}")
    chat.say("!mp scrim bo3")
    chat.say(f"!mp condition {condition}")
    chat.say("!mp start force")
    for name, frame in frames.items():
        chat.world.run(chat.server.matches.score_frame(chat.server.session(name), frame))
    for name in ("anna", "boris"):
        chat.server.do(name, commands.Complete)
    assert "The match has finished!" in chat.server.bot_lines
    chat.server.bot_lines.clear()
    return song


def score_frame(n300: int, score: int) -> bytes:
    return struct.pack("<iB6HiHHBBBB", 1, 0, n300, 0, 0, 0, 0, 0, score, n300, n300, 1, 200, 0, 0)


def submit(chat: MatchChat, name: str, song: Beatmap, *, after_s: int = 0, **fields: Any) -> None:
    ended_ms = chat.world.clock.now_ms() + 1_000 * after_s
    chat.world.record(a_play(by=chat.server.session(name).user_id, on=song, at_ms=ended_ms, **fields))


def tick(chat: MatchChat, seconds: float = 0) -> list[str]:
    """Run the job of the matches after some time. Return the new lines."""
    chat.world.clock.advance(seconds)
    chat.world.run(chat.server.matches.fire_timers())
    new = list(chat.server.bot_lines)
    chat.server.bot_lines.clear()
    return new


def test_submitted_pp_decide_scrim_by_pp(chat: MatchChat) -> None:
    song = play_of_scrim(chat, "pp", {"anna": score_frame(50, 9_000), "boris": score_frame(10, 5_000)})

    submit(chat, "anna", song, pp=300.0, after_s=-60)  # a play before the match
    submit(chat, "boris", song, pp=120.5)
    assert tick(chat, 9) == [], "the score of anna is awaited"
    submit(chat, "anna", song, pp=99.25)

    assert tick(chat) == [
        "boris wins the point (boris 120.50, anna 99.25) and now has 1 point.",
        "Score: boris 1 (best of 3).",
    ]
    assert tick(chat, 20) == []


def test_pp_of_last_frame_replace_a_missing_score(chat: MatchChat) -> None:
    song = play_of_scrim(chat, "pp", {"anna": score_frame(50, 9_000)})
    submit(chat, "boris", song, pp=20.0)

    assert tick(chat, 9) == []
    assert tick(chat, 1) == [
        f"anna wins the point (anna {pp_of(50, 0):.2f}, boris 20) and now has 1 point.".replace(".00", ""),
        "Score: anna 1 (best of 3).",
    ]


def test_player_without_any_result_counts_as_zero_after_ten_seconds(chat: MatchChat) -> None:
    play_of_scrim(chat, "pp", {"anna": score_frame(50, 9_000)})

    assert tick(chat, 9) == []
    assert tick(chat, 1) == [
        "No result from boris: this counts as 0.",
        "anna wins the point (anna 25, boris 0) and now has 1 point.",
        "Score: anna 1 (best of 3).",
    ]


@pytest.mark.parametrize(
    ("condition", "values"),
    [("score", "boris 9,500, anna 9,000"), ("combo", "boris 77, anna 50"), ("acc", "anna 100, boris 90")],
)
def test_submitted_score_replaces_a_missing_frame(chat: MatchChat, condition: str, values: str) -> None:
    song = play_of_scrim(chat, condition, {"anna": score_frame(50, 9_000)})
    assert tick(chat) == []
    submit(chat, "boris", song, score=9_500, combo=77, acc=90.0)

    [won, _] = tick(chat, 1)

    assert f"({values})" in won


def test_reset_of_scrim_drops_an_awaited_play(chat: MatchChat) -> None:
    play_of_scrim(chat, "pp", {})
    chat.world.clock.advance(1)
    chat.say("!mp teams teams")
    tick(chat)

    assert tick(chat, 11) == []
    assert chat.match.scrim is not None
    assert chat.match.scrim.points == ()


def test_pick_sets_map_and_mods_of_pool(chat: MatchChat) -> None:
    song = chat.world.add_map(a_map())
    make_manager(chat, "anna")
    for text in ("!pool create P1", f"!pool add P1 HD2 {song.id}", "!pool info P1"):
        answer = chat.say(text, where="")
    assert answer == (f"P1: HD2 {song.id}",)
    assert "already taken" in chat.say("!pool create P1", where="")[0]

    chat.say("!mp loadpool P1")
    title = f"{song.artist} - {song.title} [{song.version}]"
    assert chat.say("!mp pick hd2") == (f"Picked HD2: {title}. Enabled Hidden, disabled FreeMod",)
    assert (chat.match.map_id, chat.match.mods) == (song.id, HD)
    assert chat.say("!mp ban hd2") == ("HD2 is banned.",)
    assert chat.say("!mp unban hd2") == ("HD2 is no longer banned.",)
    assert chat.say("!mp ban boris") == ("Banned boris from the match",)
    assert chat.say("!mp unban boris") == ("Unbanned boris from the match",)
    chat.say("!mp banpick hd2")
    assert chat.say("!mp pick hd2 force")[0].lower() == "that pick is banned."
    assert [row.action for row in chat.world.audit(1, "pool")] == ["pool_edit", "pool_create"]


def test_pool_commands_are_unknown_without_permission(chat: MatchChat) -> None:
    assert "Unknown command" in chat.say("!pool create P1", by="boris", where="")[0]


def test_everybody_reads_published_pools_only(chat: MatchChat) -> None:
    make_manager(chat, "anna")
    for text in ("!pool create P1", "!pool add P1 HD2 75"):
        chat.say(text, where="")

    assert chat.say("!pool info P1", by="boris", where="") == ("Mappool not found.",)
    assert chat.say("!pool info P2", by="boris", where="") == ("Mappool not found.",)
    chat.say("!pool publish P1 on", where="")
    assert chat.say("!pool info P1", by="boris", where="") == ("P1: HD2 75",)


def test_pool_is_deleted_after_confirmation_only(chat: MatchChat) -> None:
    make_manager(chat, "anna")
    make_manager(chat, "boris")
    chat.say("!pool create P1", where="")
    assert chat.say("!pool delete P1", by="boris", where="") == ("Only the creator of the mappool can do that.",)

    [asked] = chat.say("!pool delete P1", where="")

    code = re.search(r"!confirm ([0-9a-z]{6})", asked)
    assert code is not None
    assert chat.say("!pool info P1", where="") == ("P1: no picks yet",)
    assert chat.say(f"!confirm {code[1]}", by="boris", where="") == ("Nothing to confirm.",)
    assert chat.say(f"!confirm {code[1]}", where="") == ("Deleted the mappool P1.",)
    assert chat.say("!pool info P1", where="") == ("Mappool not found.",)
    assert [row.action for row in chat.world.audit(1, "pool")] == ["pool_delete", "pool_create"]
