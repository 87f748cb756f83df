"""`!mp` and `!pool`: what leads a room, who may, and what the room reads."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.builders import Run, World, a_map
from tests.multiplayer.test_rooms import Hall

from kiai.chat.bot import Bot
from kiai.faces.bot.mp import MatchCommands
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.pools import PoolCommands
from kiai.ids import SequenceIds
from kiai.multiplayer import commands
from kiai.multiplayer.match import Match
from kiai.multiplayer.pools import Pools
from kiai.osu.mods import DT, HD, HR, mod_names
from kiai.osu.privileges import TOURNEY_MANAGER
from kiai.storage.port import Database


class Table:
    """A hall with a bot in it, and a room of anna's in which boris sits."""

    def __init__(self, database: Database, run: Run, folder: Path, *, limited: bool = False) -> None:
        self.hall = Hall(World(database, run, folder))
        self.world = self.hall.world
        for name in ("anna", "boris", "carla"):
            self.hall.log_in(name)
        pools = Pools(database, self.world.clock)
        self.bot = Bot(self.world.accounts, self.world.realtime, self.world.clock, SequenceIds(), limited=limited)
        self.told: list[tuple[str, str]] = []

        async def post(channel: str, line: str) -> None:
            self.hall.said.append(line)

        async def tell(user_id: int, name: str, line: str) -> None:
            self.told.append((name, line))

        leading = MatchCommands(
            self.hall.rooms,
            self.world.realtime,
            self.world.beatmaps,
            pools,
            lambda path: f"https://osu.x/{path}",
            post=post,
            tell=tell,
        )
        playing = NowPlaying(self.world.beatmaps, self.world.performance, self.world.realtime)  # type: ignore[arg-type]
        self.bot.learn(leading.commands())
        self.bot.learn(PoolCommands(pools, playing, self.world.clock).commands())
        self.room = self.hall.create("anna")
        self.hall.join("boris", self.room)
        self.hall.said.clear()

    def say(self, text: str, by: str = "anna", where: str | None = None) -> Sequence[str]:
        place = f"#multi_{self.room}" if where is None else where
        answer = self.world.run(self.bot.hear(self.hall.session(by), place, text))
        return () if answer is None else answer.lines

    @property
    def match(self) -> Match:
        found = self.hall.match(self.room)
        assert found is not None
        return found


@pytest.fixture
def table(database: Database, run: Run, tmp_path: Path) -> Table:
    return Table(database, run, tmp_path)


def test_the_creator_leads_and_a_guest_gets_no_answer(table: Table) -> None:
    assert table.say("!mp name another name") == ('Room name updated to "another name"',)
    for text in ("!mp name mine", "!mp size 99", "!mp kick nobody", "!mp map 75", "!mp start ²", "!mp password x"):
        assert table.say(text, by="boris") == (), text
    assert table.match.name == "another name"
    assert table.hall.said == []


def test_a_referee_leads_too_until_it_is_none_any_more(table: Table) -> None:
    assert table.say("!mp addref boris") == ("Added boris to the match referees",)
    assert table.say("!mp size 4", by="boris") == ("Changed match to size 4",)
    assert table.say("!mp listrefs") == ("Match referees:", "anna", "boris")
    assert table.say("!mp removeref boris") == ("Removed boris from the match referees",)

    assert table.say("!mp size 8", by="boris") == ()


def test_several_referees_are_named_at_once(table: Table) -> None:
    table.hall.log_in("Plum Harbor")

    assert table.say('!mp addref boris, carla "plum harbor" nobody #99999999999') == (
        "Added boris to the match referees",
        "Added carla to the match referees",
        "Added Plum Harbor to the match referees",
        "User not found: nobody",
        "User not found: #99999999999",
    )
    assert table.say("!mp addref carla") == ("carla: already a referee",)
    assert [name for _, name in table.match.referees] == ["anna", "boris", "carla", "Plum Harbor"]

    assert table.say("!mp removeref boris,Plum_Harbor nobody anna") == (
        "Removed boris from the match referees",
        "Removed Plum Harbor from the match referees",
        "User not found: nobody",
        "anna: the creator stays a referee",
    )
    assert table.say("!mp removeref boris") == ("boris is not a match referee",)
    assert [name for _, name in table.match.referees] == ["anna", "carla"]


def test_a_referee_without_a_seat_is_told_how_to_get_in_and_leads_from_there(table: Table) -> None:
    table.say("!mp addref boris carla")

    assert table.told == [("carla", f"anna made you a referee of a room: /join #multi_{table.room}")]
    assert table.say("!mp size 4", by="carla") == ("Changed match to size 4",)
    table.say("!mp removeref carla")
    table.say("!mp addref carla")
    assert len(table.told) == 1, "once an hour"


def test_a_command_acts_on_the_room_it_is_said_in(table: Table) -> None:
    table.say("!mp make Final", by="carla", where="")
    final = table.hall.session("carla").match_id
    table.hall.run(table.hall.rooms.leave(table.hall.session("carla")))
    own = table.hall.create("carla", password="tea party")
    table.hall.reads("anna")

    assert table.say("!mp invite anna", by="carla", where=f"#multi_{final}") == ("Invited anna to the room",)

    made = table.hall.match(final)
    assert made is not None
    told = table.hall.reads("anna")
    assert f"osump://{final}/{made.password} Final".encode() in told
    assert b"tea_party" not in told
    assert own != final


def test_a_referee_without_any_seat_invites(table: Table) -> None:
    table.say("!mp make Final", by="carla", where="")
    final = table.hall.session("carla").match_id
    table.hall.run(table.hall.rooms.leave(table.hall.session("carla")))

    assert table.say("!mp invite boris", by="carla", where=f"#multi_{final}") == ("Invited boris to the room",)

    assert f"osump://{final}/".encode() in table.hall.reads("boris")
    assert table.say("!mp invite boris") == ("User is already in the room",)
    assert table.say("!mp invite anna") == ("Nobody invites themselves.",)
    assert table.say("!mp invite #99999999999") == ("User not found",)


def test_the_room_is_set_as_asked(table: Table) -> None:
    song = table.world.add_map(a_map())
    assert table.say("!mp set 2 3 8") == ("Changed match settings to 8 slots, TeamVs, ScoreV2",)
    assert table.say("!mp set 2") == ("Changed match settings to TeamVs",)
    assert table.say("!mp team boris red") == ("Moved boris to team Red",)
    title = f"{song.artist} - {song.title}"
    assert table.say(f"!mp map https://osu.x/b/{song.id}") == (f"Changed beatmap to https://osu.x/b/{song.id} {title}",)
    assert table.say("!mp mods HDHR DT freemod") == ("Enabled Hidden, HardRock, DoubleTime, enabled FreeMod",)
    assert table.say("!mp host boris") == ("Changed match host to boris",)
    assert table.say("!mp password a secret") == ()

    match = table.match
    assert (match.team_type, match.win_condition) == (2, 3)
    assert match.slots[1].team == 2
    assert (match.map_id, match.map_md5) == (song.id, song.md5)
    assert (match.free_mods, match.mods, match.slots[0].mods) == (True, DT, HD | HR)
    assert match.host_name == "boris"
    assert match.password == "a secret"
    assert table.hall.said == ["boris changed to Red", "boris became the host.", "Changed the match password"]


@pytest.mark.parametrize(
    ("mode", "asked", "said"),
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
def test_the_answer_names_the_mods_that_the_room_has(table: Table, mode: int, asked: str, said: str) -> None:
    song = table.world.add_map(a_map(mode=mode))
    table.say(f"!mp map {song.id}")

    assert table.say(f"!mp mods {asked}") == (f"{said}, disabled FreeMod",)

    named = said.removeprefix("Enabled ").split(", ") if said.startswith("Enabled") else []
    assert mod_names(table.match.mods) == named


def test_mods_that_everybody_chooses_from_are_named_with_the_rooms(table: Table) -> None:
    assert table.say("!mp mods DT freemod") == ("Enabled DoubleTime, enabled FreeMod",)
    assert table.say("!mp mods freemod") == ("Disabled all mods, enabled FreeMod",)
    assert table.say("!mp mods Freemod HD") == ("Enabled Hidden, enabled FreeMod",)
    assert table.say("!mp freemods off") == ("Enabled Hidden, disabled FreeMod",)


def test_a_name_is_told_as_it_was_kept(table: Table) -> None:
    long = "x" * 70

    assert table.say(f"!mp name {long}") == (f'Room name updated to "{long[:50]}"',)
    assert table.match.name == long[:50]
    [line] = table.say(f"!mp make {long[:60]}", by="carla", where="")
    assert line.endswith(f" {long[:50]}")
    assert table.say("!mp make", by="carla", where="") == ("No name provided",)
    assert table.say("!mp make \u200b", by="carla", where="") == ("A match needs a name.",)


def test_a_password_that_would_be_cut_is_refused(table: Table) -> None:
    assert table.say(f"!mp password {'x' * 51}") == ("A password has at most 50 characters.",)
    assert table.match.password == "secret"
    assert table.say("!mp password") == ()
    assert table.match.password == ""
    assert table.hall.said == ["Removed the match password"]


def test_a_made_up_password_is_for_referees_alone(table: Table) -> None:
    table.say("!mp addref carla")
    table.told.clear()

    [line] = table.say("!mp randpw")

    assert line == f"The password of a room is {table.match.password}"
    assert table.told == [("carla", line)]
    assert table.hall.said == ["Changed the match password"]


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
def test_a_link_names_the_map_and_perhaps_its_mode(table: Table, form: str, own: int, mode: int) -> None:
    song = table.world.add_map(a_map(2785319, set_id=1344871, mode=own))

    lines = table.say("!mp map " + form.format(map=song.id, set=song.set_id))

    assert lines == (
        f"Changed beatmap to https://osu.x/b/{song.id} {song.artist} - {song.title}",
        f"Changed match mode to {('Osu', 'Taiko', 'CatchTheBeat', 'OsuMania')[mode]}",
    )
    assert (table.match.map_id, table.match.mode) == (song.id, mode)


def test_settings_are_told_line_by_line(table: Table) -> None:
    song = table.world.add_map(a_map())
    table.hall.log_in("ABCDEFGHIJK 123")
    table.hall.join("ABCDEFGHIJK 123", table.room)
    table.say(f"!mp map {song.id}")
    table.hall.do("boris", commands.Ready)
    table.hall.do("ABCDEFGHIJK 123", commands.NoMap)
    ids = {name: table.hall.session(name).user_id for name in ("anna", "boris", "ABCDEFGHIJK 123")}

    assert table.say("!mp settings q1") == (
        f"Room name: a room, History: https://osu.x/mp/{table.match.history_id}",
        f"Beatmap: https://osu.x/b/{song.id} {song.artist} - {song.title} [{song.version}]",
        "Team mode: HeadToHead, Win condition: Score",
        "Players: 3",
        f"Slot 1  Not Ready https://osu.x/u/{ids['anna']} anna            [Host]",
        f"Slot 2  Ready     https://osu.x/u/{ids['boris']} boris           ",
        f"Slot 3  No Map    https://osu.x/u/{ids['ABCDEFGHIJK 123']} ABCDEFGHIJK 123 ",
    )


def test_settings_tell_teams_mods_and_a_scrims_condition(table: Table) -> None:
    table.say("!mp set 2")
    table.say("!mp mods HD DT freemod")
    table.say("!mp scrim bo3")
    table.say("!mp condition pp")
    table.hall.do("boris", commands.ChangeTeam)
    table.hall.do("boris", commands.ChangeMods, mods=HD | HR)
    table.hall.do("anna", commands.ChangeMods, mods=DT)
    ids = {name: table.hall.session(name).user_id for name in ("anna", "boris")}

    lines = table.say("!mp settings")

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


def test_a_full_room_is_told_whole(table: Table) -> None:
    for number in range(14):
        table.hall.log_in(f"player {number}")
        table.hall.join(f"player {number}", table.room)
    table.say("!mp mods HD")

    assert len(table.say("!mp settings")) == 21


def test_a_start_can_be_counted_down_and_called_off(table: Table) -> None:
    assert table.say("!mp start 10 x7f3") == ("Queued the match to start in 10 seconds",)
    table.world.run(table.hall.rooms.ring())
    table.world.clock.advance(5)
    table.world.run(table.hall.rooms.ring())
    assert table.hall.said == ["Match starts in 5 seconds"]
    assert table.say("!mp aborttimer") == ("Aborted the match start timer",)
    table.world.clock.advance(6)
    table.world.run(table.hall.rooms.ring())
    assert not table.match.in_progress


def test_a_start_that_was_queued_happens(table: Table) -> None:
    table.say("!mp start 1")
    table.world.clock.advance(2)
    table.world.run(table.hall.rooms.ring())

    assert table.match.in_progress
    assert table.hall.said == ["Good luck, have fun!", "The match has started!"]


def test_a_countdown_is_told_at_once_and_at_its_marks(table: Table) -> None:
    assert table.say("!mp timer 90 zz") == ("Countdown ends in 1 minute and 30 seconds",)
    for _ in range(92):
        table.world.run(table.hall.rooms.ring())
        table.world.clock.advance(1)
    table.world.run(table.hall.rooms.ring())

    left = ("1 minute", "30 seconds", "10 seconds", *(f"{n} seconds" for n in (5, 4, 3, 2)), "1 second")
    assert table.hall.said == [*(f"Countdown ends in {one}" for one in left), "Countdown finished"]
    assert table.say("!mp timer") == ("Countdown ends in 30 seconds",)
    table.say("!mp start 20")
    assert table.say("!mp aborttimer") == ("Aborted the match start timer", "Countdown aborted")


@pytest.mark.parametrize("when", ["", " force", " x7", " FORCE"])
def test_a_play_is_started_once_and_called_off_once(table: Table, when: str) -> None:
    assert table.say(f"!mp start{when}") == ("Started the match",)
    assert table.hall.said == ["The match has started!"]
    assert table.say("!mp start") == ("The match has already been started",)
    assert table.say("!mp start 5") == ("The match has already been started",)
    assert table.say("!mp abort") == ("Aborted the match",)
    assert table.say("!mp abort") == ("The match is not in progress",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!mp size 17", ("Invalid or no size provided", "Usage: !mp size <size>")),
        ("!mp size", ("Invalid or no size provided", "Usage: !mp size <size>")),
        ("!mp size ５", ("Invalid or no size provided", "Usage: !mp size <size>")),
        ("!mp set 4", ("Invalid or no settings provided", "Usage: !mp set <team_mode> [score_mode] [size]")),
        ("!mp set 2 ²", ("Invalid or no settings provided", "Usage: !mp set <team_mode> [score_mode] [size]")),
        ("!mp set 2 1 99", ("Invalid or no settings provided", "Usage: !mp set <team_mode> [score_mode] [size]")),
        ("!mp start 999", ("seconds are a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp start ²", ("seconds are a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp start ５", ("seconds are a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp start -5", ("seconds are a whole number from 1 to 300. Usage: !mp start [when]",)),
        ("!mp timer ²", ("seconds are a whole number from 1 to 900. Usage: !mp timer [when]",)),
        ("!mp timer 0", ("seconds are a whole number from 1 to 900. Usage: !mp timer [when]",)),
        ("!mp scrim bo²", ("A scrim is bo1 to bo15, odd; 0 ends it. Usage: !mp scrim <best_of>",)),
        ("!mp points ² 1", ("red is a whole number from 0 to 15. Usage: !mp points <red> <blue>",)),
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
        ("!mp team boris red", ("There are no teams.",)),
        ("!mp pick NM1", ("No mappool is loaded. Usage: !mp pick <pick> [force]",)),
        ("!mp aborttimer", ("No timer runs.",)),
    ],
)
def test_what_cannot_be_gets_a_reason(table: Table, text: str, said: Sequence[str]) -> None:
    before = table.match

    assert table.say(text) == said

    assert table.match == before
    assert table.hall.said == []


@pytest.mark.parametrize(
    ("text", "said"),
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
    ],
)
def test_random_words_that_tools_append_are_ignored(table: Table, text: str, said: str) -> None:
    assert table.say(text) == (said,)


def test_clearing_the_host_of_a_room_without_one_is_no_mistake(table: Table) -> None:
    table.say("!mp clearhost")

    assert table.say("!mp clearhost") == ("Cleared match host",)


def test_tools_set_a_room_with_many_lines_at_once(database: Database, run: Run, tmp_path: Path) -> None:
    table = Table(database, run, tmp_path, limited=True)

    said = [table.say(f"!mp size {size}") for size in range(2, 17)]

    assert said == [(f"Changed match to size {size}",) for size in range(2, 17)]


def test_a_room_by_command_stays_when_it_is_empty_and_is_closed_by_its_creator(table: Table) -> None:
    [line] = table.say("!mp make a tournament room", by="carla", where="")
    made = table.hall.session("carla").match_id
    table.room = made
    assert line == f"Created the tournament match https://osu.x/mp/{table.match.history_id} a tournament room"
    assert (table.match.by_command, table.match.host_id, bool(table.match.password)) == (True, 0, True)
    table.hall.run(table.hall.rooms.leave(table.hall.session("carla")))

    assert table.say("!mp close", by="anna") == ()
    assert table.say("!mp close", by="carla") == ()

    assert table.hall.said[-1] == "Closed the match"
    assert table.hall.match(made) is None


def test_the_fifth_room_by_command_is_one_too_many(table: Table) -> None:
    for _ in range(4):
        table.say("!mp make room", by="carla", where="")

    assert table.say("!mp make room", by="carla", where="") == (
        "You cannot create any more tournament matches. Please close any previous tournament matches you have open.",
    )


def test_points_are_told_as_they_are_even_when_they_end_the_scrim(table: Table) -> None:
    table.say("!mp set 2")
    table.say("!mp scrim bo3")

    assert table.say("!mp points 1 0") == ("Red 1, Blue 0.",)
    assert table.say("!mp points 2 1") == ("Red 2, Blue 1.",)
    assert table.match.scrim is None


def test_a_scrim_counts_points_by_the_last_frames(table: Table) -> None:
    table.say("!mp scrim bo1")
    for name in ("anna", "boris"):
        table.hall.do(name, commands.Ready)
    table.say("!mp start force")
    for name, score in (("anna", 5_000), ("boris", 7_000)):
        frame = bytes(17) + score.to_bytes(4, "little") + bytes(8)
        table.world.run(table.hall.rooms.score_frame(table.hall.session(name), frame))
    for name in ("anna", "boris"):
        table.hall.do(name, commands.Complete)

    said = [line for line in table.hall.said if "boris" in line]
    assert said == [
        "boris finished playing (Score: 7000, PASSED).",
        "boris wins the point (boris 7,000, anna 5,000) and has 1.",
        "boris wins the match!",
        "The scrim is over: boris 1.",
    ]


def test_picks_come_from_the_pool_with_their_mods(table: Table) -> None:
    song = table.world.add_map(a_map())
    manager = table.hall.session("anna")
    table.world.run(table.hall.presence.change(manager, priv=3 | TOURNEY_MANAGER))
    for text in ("!pool create P1", f"!pool add P1 HD2 {song.id}", "!pool info P1"):
        said = table.say(text, where="")
    assert said == (f"P1: HD2 {song.id}",)
    assert "already taken" in table.say("!pool create P1", where="")[0]

    table.say("!mp loadpool P1")
    title = f"{song.artist} - {song.title} [{song.version}]"
    assert table.say("!mp pick hd2") == (f"Picked HD2: {title}. Enabled Hidden, disabled FreeMod",)
    assert (table.match.map_id, table.match.mods) == (song.id, HD)
    table.say("!mp banpick hd2")
    assert table.say("!mp pick hd2 force")[0].lower() == "that pick is banned."
    assert [row.action for row in table.world.audit(1, "pool")] == ["pool_edit", "pool_create"]


def test_pools_are_for_those_who_manage_tournaments(table: Table) -> None:
    assert "do not know" in table.say("!pool create P1", by="boris", where="")[0]
