"""What the bot answers to players: `/np`, figures, scores, blocks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from tests.builders import Run, World, a_map, a_play, a_player

from kiai.beatmaps import Beatmap
from kiai.chat.bot import BadArgument, Bot
from kiai.chat.mail import Mail
from kiai.errors import NotAuthenticated
from kiai.faces.bancho.announce import announcer, presence
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.players import PlayerCommands
from kiai.ids import SequenceIds
from kiai.presence import Presence
from kiai.realtime.port import Session, ShownStats, Status
from kiai.scores.performance import Performance
from kiai.storage.port import Database


class Bench:
    """The bot with its commands about players and maps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.song: Beatmap = world.add_map(a_map())
        self.anna = world.add_player(a_player("anna"))
        self.boris = world.add_player(a_player("boris"))

        async def stats_of(user_id: int, mode: int) -> ShownStats:
            return ShownStats()

        shown = Presence(world.realtime, world.accounts, world.clock, announcer(presence.TABLE), stats_of)
        self.bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=False)
        self.playing = NowPlaying(world.beatmaps, cast(Performance, world.performance), world.realtime)
        players = PlayerCommands(
            self.bot,
            world.accounts,
            world.api_keys,
            world.relationships,
            world.leaderboards,
            Mail(world.database, world.clock),
            shown,
            world.realtime,
            lambda path: f"https://osu.kiai.example/{path}",
        )
        self.bot.learn(players.commands())
        self.bot.learn(self.playing.commands())
        self.bot.watch(self.playing.hear)
        session = Session(token="a", user_id=self.anna, name="anna", priv=3, login_time_ms=0, status=Status(mode=0))
        world.run(shown.arrive(session))

    def ask(self, text: str, where: str = "") -> Sequence[str]:
        session = self.world.run(self.world.realtime.session("a"))
        answer = self.world.run(self.bot.hear(session, where, text))
        return () if answer is None else tuple(answer.lines)

    def now_playing(self, rest: str = "", where: str = "", link: str = "") -> Sequence[str]:
        url = link or f"https://osu.kiai.example/beatmapsets/{self.song.set_id}#/{self.song.id}"
        return self.ask(f"\x01ACTION is playing [{url} A - B [C]]{rest}\x01", where)


@pytest.fixture
def bench(database: Database, run: Run, tmp_path: Path) -> Bench:
    return Bench(World(database, run, tmp_path))


def test_now_playing_is_answered_with_pp_for_five_accuracies(bench: Bench) -> None:
    title, worth, about = bench.now_playing(" +Hidden +DoubleTime")

    assert title.endswith("HDDT")
    assert [part.split(":")[0] for part in worth.split(" | ")] == ["90%", "95%", "98%", "99%", "100%"]
    assert worth.count("pp") == 5
    assert "stars" in about


@pytest.mark.parametrize(
    "form",
    [
        "https://osu.ppy.sh/beatmapsets/{s}#/{m}",
        "https://osu.ppy.sh/beatmapsets/{s}#osu/{m}",
        "https://osu.kiai.example/beatmapsets/{s}/#/{m}",
        "https://osu.kiai.example/b/{m}",
        "https://osu.kiai.example/s/{s}",
    ],
)
def test_every_form_of_link_names_the_map(bench: Bench, form: str) -> None:
    assert len(bench.now_playing(link=form.format(s=bench.song.set_id, m=bench.song.id))) == 3


@pytest.mark.parametrize(
    ("rest", "mods"),
    [
        ("", "NM"),
        (" +Hidden +DoubleTime", "HDDT"),
        (" -NoFail -Easy +Flashlight", "NFEZFL"),
        (" +Nightcore +DoubleTime", "NC"),
        (" +SuddenDeath +Perfect", "PF"),
        (" ~Relax~", "RX"),
        (" ~Autopilot~", "AP"),
        (" -SpunOut -HalfTime", "HTSO"),
        (" Easy Hidden relax", "NM"),
        (" -Easy +HardRock", "EZ"),
        (" +DoubleTime -HalfTime", "DT"),
        (" ~Relax~ ~Autopilot~", "RX"),
        (" |4K|", "NM"),
        (" <osu!mania> |4K|", "4K"),
        (" <osu!mania> |10K|", "5KCO"),
        (" <osu!mania> |11K|", "NM"),
        (" <osu!mania> ~Relax~ +Hidden", "HD"),
        (" <Taiko> -SpunOut +HardRock", "HR"),
        (" <CatchTheBeat> ~Autopilot~", "NM"),
        (" +Hidden lol]", "HD"),
    ],
)
def test_mods_are_what_the_signs_behind_the_link_say_and_can_be_played(bench: Bench, rest: str, mods: str) -> None:
    assert bench.now_playing(rest)[0].endswith(f"] {mods}")


@pytest.mark.parametrize(
    "title",
    [
        "Kit - re[in] Easy Life [Hard]",
        "A - B] -Easy [C]",
        "A - B [[C] +Hidden",
        "A - -Easy +Hidden ~Relax~ [|4K|]",
        "A - B [Relax]",
        "] [",
        "A - B [C] +Hidden [D]",
    ],
)
@pytest.mark.parametrize(("rest", "mods"), [("", "NM"), (" +HardRock", "HR")])
def test_words_and_brackets_of_a_title_are_no_mods(bench: Bench, title: str, rest: str, mods: str) -> None:
    url = f"https://osu.kiai.example/beatmapsets/{bench.song.set_id}#/{bench.song.id}"

    assert bench.ask(f"\x01ACTION is playing [{url} {title}]{rest}\x01")[0].endswith(f"] {mods}")


@pytest.mark.parametrize("number", ["2147483648", "9999999999", "99999999999999999999", "٣", "²"])
@pytest.mark.parametrize("form", ["b/{}", "s/{}", "beatmapsets/1#/{}"])
def test_a_number_that_no_map_has_is_an_unknown_map(bench: Bench, form: str, number: str) -> None:
    link = f"https://osu.kiai.example/{form.format(number)}"

    assert bench.now_playing(link=link) == ("I do not know this map.",)


@pytest.mark.parametrize(
    ("asked", "mods"), [("+EZHR", "EZ"), ("+DTHT", "DT"), ("+NFSD", "NF"), ("+4K", "NM"), ("+HD,HR", "HDHR")]
)
def test_mods_that_cannot_be_played_together_are_settled_before_they_are_computed(
    bench: Bench, asked: str, mods: str
) -> None:
    bench.now_playing()

    assert bench.ask(f"!with {asked}")[0].endswith(f"] {mods}")


def test_in_a_channel_it_is_remembered_without_a_word(bench: Bench) -> None:
    assert bench.now_playing(where="#osu") == ()

    assert len(bench.ask("!with 98%")) == 3


def test_after_five_minutes_it_is_forgotten(bench: Bench) -> None:
    bench.now_playing()
    bench.world.clock.advance(301)

    assert bench.ask("!with 98%")[0].startswith("Tell me which map first")


def test_an_unknown_map_clears_what_was_remembered(bench: Bench) -> None:
    bench.now_playing()

    assert bench.now_playing(link="https://osu.ppy.sh/b/999999") == ("I do not know this map.",)
    with pytest.raises(BadArgument):
        bench.world.run(bench.playing.last(bench.anna))


@pytest.mark.parametrize(
    "text",
    [
        "!with 500%",
        "!with 95% 96%",
        "!with +HD +HR",
        "!with +XX",
        "!with 99999m",
        "!with nonsense",
        "!with ９5%",
        "!with ²m",
        "!with ３x",
        "!with 1m 1x 1k 99% +HD +HD",
        "!with " + "9" * 1_000,
    ],
)
def test_what_the_map_does_not_allow_gets_the_usage_line(bench: Bench, text: str) -> None:
    bench.now_playing()

    [line] = bench.ask(text)

    assert line.endswith("Usage: !with <95% 2m 429x +HDDT>")


def test_figures_and_scores_of_a_player(bench: Bench) -> None:
    bench.world.record(a_play(by=bench.boris, on=bench.song, pp=123.4))
    bench.world.run(bench.world.outbox.deliver())

    assert "boris in vn!std: #1" in bench.ask("!stats boris")[0]
    assert "123.40pp" in bench.ask("!recent boris")[0]
    assert bench.ask("!top boris")[0].startswith("1. [https://osu.kiai.example/b/")
    assert bench.ask("!stats boris vn!taiko") == ("boris has not played vn!taiko yet.",)
    assert bench.ask("!recent") == ("anna has no scores in vn!std.",)


def test_hidden_players_are_not_found(bench: Bench) -> None:
    bench.world.add_player(a_player("ghost", priv=2))

    assert bench.ask("!stats ghost") == ("User not found",)


def test_blocking_and_unblocking_changes_session_and_rows(bench: Bench) -> None:
    def state() -> Any:
        session = bench.world.run(bench.world.realtime.session("a"))
        return session.blocked, bench.world.run(bench.world.relationships.relations_of(bench.anna))[1]

    assert bench.ask("!block boris") == ("boris is blocked.",)
    assert state() == (frozenset({bench.boris}), frozenset({bench.boris}))
    assert bench.ask("!block boris") == ("boris is blocked already.",)
    assert bench.ask("!unblock boris") == ("boris is no longer blocked.",)
    assert state() == (frozenset(), frozenset())
    assert bench.ask("!unblock boris") == ("boris is not blocked.",)
    assert bench.ask("!block anna") == ("Nobody can be their own friend or enemy.",)


def test_an_api_key_replaces_the_one_before_and_works(bench: Bench) -> None:
    keys = []
    for _ in range(2):
        line = bench.ask("!apikey")[1]
        keys.append(line.removeprefix("[http://").removesuffix(" key]"))

    assert bench.world.run(bench.world.api_keys.holder(keys[1])).user_id == bench.anna
    with pytest.raises(NotAuthenticated):
        bench.world.run(bench.world.api_keys.holder(keys[0]))


def test_a_roll_is_from_one_to_what_was_asked(bench: Bench) -> None:
    assert bench.ask("!roll 1") == ("anna rolls 1 point(s)",)
    assert bench.ask("!roll hello")[0].startswith("anna rolls ")
    assert bench.ask("!roll ²") == ("most is a whole number from 1 to 1000000. Usage: !roll [most]",)
    assert all(1 <= int(bench.ask("!roll")[0].split()[2]) <= 100 for _ in range(50))


def test_help_lists_what_one_may_use_page_by_page(bench: Bench) -> None:
    pages = [bench.ask(f"!help {page}") for page in (1, 2, 99)]

    assert pages[0][-1] == "Page 1 of 2; !help <page or command>"
    assert pages[1] == pages[2]
    assert not any("changename" in line for page in pages for line in page)
    assert bench.ask("!help recent")[0] == "!recent [user] [mode]"
