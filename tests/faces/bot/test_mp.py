"""`!mp` and `!pool`: what leads a room, who may, and what the room reads."""

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
from kiai.osu.mods import DT, HD, HR
from kiai.osu.privileges import TOURNEY_MANAGER
from kiai.storage.port import Database


class Table:
    """A hall with a bot in it, and a room of anna's in which boris sits."""

    def __init__(self, database: Database, run: Run, folder: Path) -> None:
        self.hall = Hall(World(database, run, folder))
        self.world = self.hall.world
        for name in ("anna", "boris", "carla"):
            self.hall.log_in(name)
        pools = Pools(database, self.world.clock)
        self.bot = Bot(self.world.accounts, self.world.realtime, self.world.clock, SequenceIds(), limited=False)
        leading = MatchCommands(
            self.hall.rooms, self.world.realtime, self.world.beatmaps, pools, lambda path: f"https://osu.x/{path}"
        )
        playing = NowPlaying(self.world.beatmaps, self.world.performance, self.world.realtime)  # type: ignore[arg-type]
        self.bot.learn(leading.commands())
        self.bot.learn(PoolCommands(pools, playing, self.world.clock).commands())
        self.room = self.hall.create("anna")
        self.hall.join("boris", self.room)

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
    assert table.say("!mp name another name") == ("The match is called another name now.",)
    assert table.say("!mp name mine", by="boris") == ()
    assert table.match.name == "another name"


def test_a_referee_leads_too_until_it_is_none_any_more(table: Table) -> None:
    table.say("!mp addref boris")
    assert table.say("!mp size 4", by="boris") == ("The match has 4 slots.",)
    assert table.say("!mp listrefs") == ("Referees: anna, boris",)

    table.say("!mp removeref boris")

    assert table.say("!mp size 8", by="boris") == ()


def test_the_room_is_set_as_asked(table: Table) -> None:
    song = table.world.add_map(a_map())
    table.say("!mp set 2 3 8")
    table.say("!mp team boris red")
    table.say(f"!mp map https://osu.x/b/{song.id}")
    table.say("!mp mods HDHR DT freemod")
    table.say("!mp host boris")
    table.say("!mp password a secret")

    match = table.match
    assert (match.team_type, match.win_condition) == (2, 3)
    assert match.slots[1].team == 2
    assert (match.map_id, match.map_md5) == (song.id, song.md5)
    assert (match.free_mods, match.mods, match.slots[0].mods) == (True, DT, HD | HR)
    assert match.host_name == "boris"
    assert match.password == "a secret"
    assert "a room: [https://osu.x/b/" in table.say("!mp settings")[0]


def test_a_start_can_be_counted_down_and_called_off(table: Table) -> None:
    table.say("!mp start 10")
    table.world.clock.advance(5)
    table.world.run(table.hall.rooms.ring())
    assert table.hall.said == ["The match starts in 5 seconds."]
    table.say("!mp aborttimer")
    table.world.clock.advance(6)
    table.world.run(table.hall.rooms.ring())
    assert not table.match.in_progress


def test_a_play_can_be_called_off(table: Table) -> None:
    assert table.say("!mp start force") == ("Good luck, have fun!",)
    assert table.say("!mp abort") == ()
    assert table.hall.said == ["The match was aborted."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!mp size 17", "size is a whole number from 1 to 16. Usage: !mp size <size>"),
        ("!mp start 999", "seconds are a whole number from 1 to 300. Usage: !mp start [when]"),
        ("!mp map nonsense", "map is an id or a link. Usage: !mp map <beatmap> [mode]"),
        ("!mp map 999999", "Map not found."),
        ("!mp mods nonsense", "mods are written like HDHR, freemod or none. Usage: !mp mods <mods>"),
        ("!mp move boris 1", "That slot is not open."),
        ("!mp pick NM1", "No mappool is loaded. Usage: !mp pick <pick> [force]"),
    ],
)
def test_what_cannot_be_gets_a_reason(table: Table, text: str, said: str) -> None:
    before = table.match

    assert [line.lower() for line in table.say(text)] == [said.lower()]

    assert table.match == before


def test_a_room_by_command_stays_when_it_is_empty_and_is_closed_by_its_creator(table: Table) -> None:
    [line] = table.say("!mp make a tournament room", by="carla", where="")
    made = table.hall.session("carla").room_id
    table.room = made
    assert line.startswith("Created the match a tournament room: osump://")
    assert (table.match.by_command, table.match.host_id, bool(table.match.password)) == (True, 0, True)

    assert table.say("!mp close", by="anna") == ()
    table.say("!mp close", by="carla")

    assert table.hall.match(made) is None
    assert table.hall.session("carla").room_id == 0


def test_the_fifth_room_by_command_is_one_too_many(table: Table) -> None:
    for _ in range(4):
        table.say("!mp make room", by="carla", where="")

    assert table.say("!mp make room", by="carla", where="") == ("You have 4 rooms already.",)


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
    assert table.say("!mp pick hd2") == ("Picked HD2.",)
    assert (table.match.map_id, table.match.mods) == (song.id, HD)
    table.say("!mp banpick hd2")
    assert table.say("!mp pick hd2 force")[0].lower() == "that pick is banned."
    assert [row.action for row in table.world.audit(1, "pool")] == ["pool_edit", "pool_create"]


def test_pools_are_for_those_who_manage_tournaments(table: Table) -> None:
    assert "do not know" in table.say("!pool create P1", by="boris", where="")[0]
