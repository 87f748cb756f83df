"""The commands of players: `/np`, statistics, scores, blocks."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.builders import Run, World, a_map, a_play, a_player

from kiai.accounts.irc_passwords import IrcPasswords
from kiai.beatmaps import Beatmap
from kiai.beatmaps.mirrors import Mirrors
from kiai.chat.bot import BadArgument, Bot
from kiai.chat.mail import Mail
from kiai.entry.history import SecurityHistory
from kiai.entry.letters import Letters
from kiai.errors import NotAuthenticated
from kiai.faces.bancho.announce import announcer, presence
from kiai.faces.bot.help import HelpCommands
from kiai.faces.bot.map_links import MapLinks
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.players import PlayerCommands
from kiai.ids import SequenceIds
from kiai.mailing import Mailing
from kiai.multiplayer.commands import Issuer
from kiai.multiplayer.match import new_match
from kiai.osu.weights import level
from kiai.own_account import OwnKeys
from kiai.presence import Presence
from kiai.realtime.port import Session, SessionStats, Status
from kiai.scores.performance import Performance
from kiai.secret_box import SecretBox
from kiai.storage.port import Database


def link(path: str) -> str:
    return f"https://osu.kiai.example/{path}"


def a_session(token: str, user_id: int, name: str) -> Session:
    return Session(token=token, user_id=user_id, name=name, priv=3, login_time_ms=0, status=Status(mode=0))


class BotChat:
    """The bot with its commands about players and maps, and anna, who writes to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.song: Beatmap = world.add_map(a_map())
        self.anna = world.add_player(a_player("anna"))
        self.boris = world.add_player(a_player("boris"))

        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return SessionStats()

        self.online = online = Presence(
            world.realtime, world.accounts, world.clock, announcer(presence.TABLE), stats_of
        )
        ids = SequenceIds()
        self.bot = Bot(world.accounts, world.realtime, world.clock, ids, limited=False)
        self.playing = NowPlaying(world.beatmaps, cast(Performance, world.performance), world.realtime)
        players = PlayerCommands(
            self.bot,
            world.accounts,
            OwnKeys(world.accounts, world.api_keys, IrcPasswords(world.database, world.clock, ids), self.history()),
            world.relationships,
            world.profiles,
            Mail(world.database, world.clock),
            online,
            world.realtime,
            link,
        )
        mirrors = Mirrors((), world.clock)
        links = MapLinks(self.playing, world.beatmaps, mirrors, world.realtime, link)
        for group in (HelpCommands(self.bot), players, self.playing, links):
            self.bot.register(group.commands())
        self.bot.set_action_handler(self.playing.on_action)
        world.run(online.open_session(a_session("a", self.anna, "anna")))

    def history(self) -> SecurityHistory:
        world = self.world
        mailing = Mailing(
            world.database, world.clock, SecretBox(world.folder, world.clock), None, "noreply@kiai.example"
        )
        return SecurityHistory(world.database, world.accounts, mailing, Letters("kiai", "https://x"), world.clock)

    def change(self, token: str, **fields: Any) -> None:
        self.world.run(
            self.world.realtime.change_session(token, lambda now: (msgspec.structs.replace(now, **fields), ()))
        )

    def ask(self, text: str, channel: str = "") -> Sequence[str]:
        session = self.world.run(self.world.realtime.session("a"))
        answer = self.world.run(self.bot.on_message(session, channel, text))
        return () if answer is None else tuple(answer.lines)

    def now_playing(self, rest: str = "", channel: str = "", link: str = "") -> Sequence[str]:
        url = link or f"https://osu.kiai.example/beatmapsets/{self.song.set_id}#/{self.song.id}"
        return self.ask(f"\x01ACTION is playing [{url} A - B [C]]{rest}\x01", channel)


@pytest.fixture
def chat(database: Database, run: Run, tmp_path: Path) -> BotChat:
    return BotChat(World(database, run, tmp_path))


def test_np_is_answered_with_pp_for_five_accuracies(chat: BotChat) -> None:
    title, worth, about = chat.now_playing(" +Hidden +DoubleTime")

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
def test_np_accepts_each_form_of_link(chat: BotChat, form: str) -> None:
    assert len(chat.now_playing(link=form.format(s=chat.song.set_id, m=chat.song.id))) == 3


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
def test_np_mods_are_read_from_words_with_signs_and_normalised(chat: BotChat, rest: str, mods: str) -> None:
    assert chat.now_playing(rest)[0].endswith(f"] {mods}")


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
def test_words_of_title_are_not_read_as_mods(chat: BotChat, title: str, rest: str, mods: str) -> None:
    url = f"https://osu.kiai.example/beatmapsets/{chat.song.set_id}#/{chat.song.id}"

    assert chat.ask(f"\x01ACTION is playing [{url} {title}]{rest}\x01")[0].endswith(f"] {mods}")


@pytest.mark.parametrize("number", ["2147483648", "9999999999", "99999999999999999999", "٣", "²"])
@pytest.mark.parametrize("form", ["b/{}", "s/{}", "beatmapsets/1#/{}"])
def test_np_with_impossible_id_is_unknown_beatmap(chat: BotChat, form: str, number: str) -> None:
    link = f"https://osu.kiai.example/{form.format(number)}"

    assert chat.now_playing(link=link) == ("Unknown beatmap.",)


@pytest.mark.parametrize(
    ("mods_given", "mods"), [("+EZHR", "EZ"), ("+DTHT", "DT"), ("+NFSD", "NF"), ("+4K", "NM"), ("+HD,HR", "HDHR")]
)
def test_with_normalises_conflicting_mods(chat: BotChat, mods_given: str, mods: str) -> None:
    chat.now_playing()

    assert chat.ask(f"!with {mods_given}")[0].endswith(f"] {mods}")


def test_np_in_channel_is_stored_without_answer(chat: BotChat) -> None:
    assert chat.now_playing(channel="#osu") == ()

    assert len(chat.ask("!with 98%")) == 3


def test_np_expires_after_five_minutes(chat: BotChat) -> None:
    chat.now_playing()
    chat.world.clock.advance(301)

    assert chat.ask("!with 98%")[0].startswith("Choose a beatmap with /np first")


def test_np_of_unknown_map_clears_stored_map(chat: BotChat) -> None:
    chat.now_playing()

    assert chat.now_playing(link="https://osu.ppy.sh/b/999999") == ("Unknown beatmap.",)
    with pytest.raises(BadArgument):
        chat.world.run(chat.playing.last_map(chat.anna))


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
def test_with_invalid_value_gets_usage_line(chat: BotChat, text: str) -> None:
    chat.now_playing()

    [line] = chat.ask(text)

    assert line.endswith("Usage: !with <95% 2m 429x +HDDT>")


def test_stats_recent_and_top_of_a_player(chat: BotChat) -> None:
    chat.world.record(a_play(by=chat.boris, on=chat.song, pp=123.4))
    chat.world.run(chat.world.outbox.deliver())

    assert "boris in vn!std: #1" in chat.ask("!stats boris", "#osu")[0]
    assert "123.40pp" in chat.ask("!recent boris")[0]
    assert chat.ask("!top boris")[0].startswith("1. [https://osu.kiai.example/b/")
    assert chat.ask("!stats boris vn!taiko", "#osu") == ("boris has not played vn!taiko yet.",)
    assert chat.ask("!recent") == ("anna has no scores in vn!std.",)


def test_stats_in_private_are_the_lines_of_referee_tools(chat: BotChat) -> None:
    chat.world.record(a_play(by=chat.boris, on=chat.song, pp=123.4))
    chat.world.run(chat.world.outbox.deliver())
    stats = chat.world.run(chat.world.profiles.stats_in(chat.boris, 0))
    assert stats is not None

    assert chat.ask("!stats boris") == (
        f"Stats for (boris)[https://osu.kiai.example/u/{chat.boris}]:",
        f"Score:    {stats.rscore:,} (#1)",
        f"Plays:    1 (lv{level(stats.tscore)[0]})",
        "Accuracy: 100.00%",
    )
    assert chat.ask("stats boris vn!taiko")[1:] == ("Score:    0 (#0)", "Plays:    0 (lv1)", "Accuracy: 0.00%")
    assert stats.rscore > 1_000, "the commas are tested"


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (Status(), "Idle"),
        (Status(action=1), "Afk"),
        (Status(action=2), "Playing"),
        (Status(action=3), "Editing"),
        (Status(action=4), "Modding"),
        (Status(action=5), "Multiplayer"),
        (Status(action=6), "Watching"),
        (Status(action=8), "Testing"),
        (Status(action=9), "Submitting"),
        (Status(action=11), "Lobby"),
        (Status(action=12), "Multiplaying"),
        (Status(action=13), "Idle"),
    ],
)
def test_stats_of_player_in_the_game_have_status(chat: BotChat, status: Status, word: str) -> None:
    chat.change("a", status=status)

    assert chat.ask("!stats anna")[0] == f"Stats for (anna)[https://osu.kiai.example/u/{chat.anna}] is {word}:"


def test_irc_player_and_blocking_player_have_no_status(chat: BotChat) -> None:
    chat.change("a", irc=True)
    assert chat.ask("!stats anna")[0].endswith(f"/u/{chat.anna}]:")
    chat.change("a", irc=False, blocked=frozenset({chat.anna}))
    assert chat.ask("!stats anna")[0].endswith(f"/u/{chat.anna}]:")


def test_where_answers_irc_with_the_name_as_written(chat: BotChat) -> None:
    chat.world.run(
        chat.online.open_session(a_session("p", chat.world.add_player(a_player("Plum Harbor")), "Plum Harbor"))
    )

    assert chat.ask("!where plum_harbor") == ("Plum Harbor is in Netherlands",)
    chat.change("a", irc=True)
    assert chat.ask("!where plum_harbor") == ("plum_harbor is in Netherlands",)
    assert chat.ask("!where boris") == ("The user is currently not online.",)
    assert chat.ask("!where nobody") == ("User not found",)
    unknown = chat.world.add_player(a_player("carla", country="xx"))
    chat.world.run(chat.online.open_session(a_session("c", unknown, "carla")))
    assert chat.ask("!where carla") == ("The user's location could not be determined.",)


@pytest.mark.parametrize("text", ["!roll", "!roll x7", "!roll 100", "!roll 1"])
def test_roll_line_is_the_same_for_one_point(chat: BotChat, text: str) -> None:
    [line] = chat.ask(text, "#osu")

    found = re.fullmatch(r"anna rolls (\d+) point\(s\)", line)
    assert found is not None
    assert 1 <= int(found[1]) <= (1 if text == "!roll 1" else 100)


def test_hidden_player_is_not_found(chat: BotChat) -> None:
    chat.world.add_player(a_player("ghost", priv=2))

    assert chat.ask("!stats ghost") == ("User not found",)


def test_block_and_unblock_change_session_and_database(chat: BotChat) -> None:
    def state() -> Any:
        session = chat.world.run(chat.world.realtime.session("a"))
        return session.blocked, chat.world.run(chat.world.relationships.relations_of(chat.anna))[1]

    assert chat.ask("!block boris") == ("boris is blocked.",)
    assert state() == (frozenset({chat.boris}), frozenset({chat.boris}))
    assert chat.ask("!block boris") == ("boris is already blocked.",)
    assert chat.ask("!unblock boris") == ("boris is no longer blocked.",)
    assert state() == (frozenset(), frozenset())
    assert chat.ask("!unblock boris") == ("boris is not blocked.",)
    assert chat.ask("!block anna") == ("You can't do that to yourself.",)


def test_new_api_key_revokes_former_key(chat: BotChat) -> None:
    keys = []
    for _ in range(2):
        line = chat.ask("!apikey")[1]
        keys.append(line.removeprefix("[http://").removesuffix(" key]"))

    assert chat.world.run(chat.world.api_keys.holder(keys[1])).user_id == chat.anna
    with pytest.raises(NotAuthenticated):
        chat.world.run(chat.world.api_keys.holder(keys[0]))


def test_roll_is_between_one_and_given_number(chat: BotChat) -> None:
    assert chat.ask("!roll 1") == ("anna rolls 1 point(s)",)
    assert chat.ask("!roll hello")[0].startswith("anna rolls ")
    assert chat.ask("!roll ²") == ("most must be a whole number from 1 to 1000000. Usage: !roll [most]",)
    assert all(1 <= int(chat.ask("!roll")[0].split()[2]) <= 100 for _ in range(50))


def test_help_lists_usable_commands_by_page(chat: BotChat) -> None:
    pages = [chat.ask(f"!help {page}") for page in (1, 2, 99)]

    assert pages[0][-1] == "Page 1 of 2. Type !help <page or command> for more."
    assert pages[1] == pages[2]
    assert not any("changename" in line for page in pages for line in page)
    assert chat.ask("!help recent") == (
        "!recent [user] [mode]",
        "Shows a player's latest score. Also: last, r, rs. For: everybody.",
    )
    assert chat.ask("!help changename") == ("Unknown command. Type !help for a list.",)
    assert chat.ask("!help no such command") == ("Unknown command. Type !help for a list.",)
    chat.change("a", priv=3 | 16)
    assert chat.ask("!help changename")[1].endswith("Only in a message to the bot. For: supporter or premium.")


def test_maplink_is_of_the_match_then_of_the_watched_player_then_of_the_last_np(chat: BotChat) -> None:
    def set_of(answer: Sequence[str]) -> str:
        [text] = answer
        found = re.match(r"\[https://osu\.kiai\.example/beatmapsets/(\d+) ", text)
        assert found is not None, text
        return found[1]

    assert chat.ask("!maplink")[0].startswith("Choose a beatmap with /np first.")
    chat.now_playing()
    assert set_of(chat.ask("!maplink")) == str(chat.song.set_id)
    watched, played = chat.world.add_map(a_map(21, set_id=22)), chat.world.add_map(a_map(31, set_id=32))
    chat.world.run(chat.online.open_session(a_session("b", chat.boris, "boris")))
    chat.change("b", status=Status(map_id=watched.id))
    chat.change("a", spectating=chat.boris)
    for alias in ("maplink", "mirror", "mapdl", "bloodcat", "beatconnect", "chimu", "q"):
        assert set_of(chat.ask(f"!{alias}")) == "22", alias
    match = new_match(
        by=Issuer(chat.anna, "anna"), at_ms=0, name="m", map_id=played.id, map_md5=played.md5, map_name="a map"
    )
    match_id = chat.world.run(chat.world.realtime.open_match(match))
    chat.change("a", match_id=match_id)
    assert set_of(chat.ask("!maplink")) == "32"


def test_mail_is_counted_by_sender_on_pages(chat: BotChat) -> None:
    assert chat.ask("!mail") == ("No unread mail.",)
    mail = Mail(chat.world.database, chat.world.clock)
    for number in range(11):
        sender = chat.world.add_player(a_player(f"sender {number}"))
        for _ in range(1 + number % 2):
            chat.world.run(mail.store(sender, chat.anna, "hello", delivered=False))

    first, second = chat.ask("!mail"), chat.ask("!mail 2")

    assert first[:2] == ("sender 0: 1 unread", "sender 1: 2 unread")
    assert first[-1] == "Page 1 of 2. Type !mail <page> for more."
    assert second == ("sender 9: 2 unread", "sender 10: 1 unread", "Page 2 of 2. Type !mail <page> for more.")
    assert chat.ask("!mail 99") == second
