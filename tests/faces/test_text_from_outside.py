"""Text from players and mappers in bot lines and web answers: it must not add links, lines or fields."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import bindparam, update
from tests.builders import Run, World, a_play
from tests.faces.bot.test_commands import BotChat
from tests.osu.test_texts import HOSTILE
from tests.scores.test_first_place_lines import FakeChat

from kiai.beatmaps.comments import Comment
from kiai.beatmaps.model import Beatmap
from kiai.beatmaps.searching import FoundSet
from kiai.chat.bot import CommandContext
from kiai.chat.model import split_lines
from kiai.chat.service import Chat
from kiai.clock import ManualClock
from kiai.faces.bancho.announce import match as match_packets
from kiai.faces.bot import mp_lines
from kiai.faces.bot.server import ServerCommands
from kiai.faces.client import comments, direct, scoreboard
from kiai.multiplayer import commands, events
from kiai.multiplayer.events import PlayerInvited
from kiai.multiplayer.lines import event_lines
from kiai.multiplayer.model import BLUE, READY, Match, Slot
from kiai.osu.texts import UNSEEN
from kiai.realtime.port import Realtime, Session
from kiai.scores.announcing import FirstPlaceLines
from kiai.scores.boards import BoardLine
from kiai.storage.port import Command, Database, Transaction
from kiai.storage.tables import maps

OWN_LINKS = ("https://osu.kiai.example/", "https://osu.ppy.sh/beatmapsets/", "osump://4/")
RENAME = Command(update(maps).values(title=bindparam("to"), version=bindparam("to"), artist=bindparam("to")))


def link(path: str) -> str:
    return f"https://osu.kiai.example/{path}"


def links_of(line: str) -> Iterator[str]:
    """Yield the parts of a line that a client turns into links."""
    for found in re.finditer(r"[a-z]+://[^\s\])]*", line):
        yield found[0]
    for found in re.finditer(r"\[\[[^\[\]]+\]\]", line):
        yield found[0]


def assert_only_own_links(lines: Sequence[str]) -> None:
    for line in lines:
        inner = line.removeprefix("\x01ACTION ").removesuffix("\x01")
        assert not UNSEEN.search(inner), line
        assert [one for one in links_of(line) if not one.startswith(OWN_LINKS)] == [], line
        assert "](" not in line, line


def who(text: str) -> str:
    """Return the text as a player's name. Single brackets stay, because names can contain them."""
    return text.replace("[[", "[").replace("]]", "]")


def a_match(text: str) -> Match:
    seats = (Slot(READY, player_id=3, player_name=who(text)), *(Slot() for _ in range(15)))
    return Match(
        name=text,
        host_id=3,
        host_name=who(text),
        map_id=7,
        map_name=text,
        slots=seats,
        password="a] pass",
        pool_name=text,
    )


def event_lines_with(text: str, *happened: events.Event) -> list[str]:
    command = commands.ChangeSettings(
        by=commands.Issuer(3, text),
        at_ms=0,
        name=text,
        mods=0,
        map_id=7,
        map_md5="",
        map_name=text,
        mode=0,
        win_condition=0,
        team_type=0,
        free_mods=False,
        seed=0,
    )
    return event_lines(command, a_match(text), happened, scores={}, link=link)


@pytest.mark.parametrize("text", HOSTILE)
def test_lines_about_a_match_contain_only_links_of_the_server(text: str) -> None:
    lines = event_lines_with(
        text,
        events.Joined(3, who(text), 0, BLUE),
        events.Left(3, who(text), 0, "left"),
        events.SlotMoved(3, 1, 0),
        events.HostPassed(3, who(text)),
        events.TeamChanged(3, 0, BLUE),
        events.MapChanged(7, "", text),
        events.PlayerCompleted(3, 0),
        events.CouldNotStart(text),
        events.PointWon(3, text, 1, ((3, 1.0),), 0),
        events.RoundTied(((3, 1.0),), 0),
        events.PointTaken(3, text, 0),
        events.ScrimWon(3, text, ((3, 1),)),
        events.ScrimEnded(1, ((3, 1),)),
    )

    assert len(lines) == 13
    assert_only_own_links(lines)
    assert_only_own_links(mp_lines.settings(a_match(text), link))


@pytest.mark.parametrize("text", HOSTILE)
def test_invitation_contains_only_the_link_to_the_match(text: str) -> None:
    entries = match_packets.TABLE[PlayerInvited](PlayerInvited(4, a_match(text), 3, "anna", 5, "boris"))
    packet = entries[0].body.decode(errors="replace")

    start = packet.index("Come join my game: ")
    line = packet[start : packet.index("].", start)]
    assert_only_own_links([line])
    assert line.startswith("Come join my game: [osump://4/a__pass ")


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\ud800" not in one])
def test_lines_about_a_map_contain_only_links_of_the_server(
    text: str, database: Database, run: Run, tmp_path: Path
) -> None:
    chat = BotChat(World(database, run, tmp_path))
    world = chat.world
    world.record(a_play(by=chat.anna, on=chat.song, score=100))
    heard = FakeChat()
    first = FirstPlaceLines(world.score_lookup, world.beatmaps, world.accounts, cast(Chat, heard), link, world.outbox)
    stored = text.replace("\0", "\1")  # PostgreSQL stores no NUL

    async def rename(tx: Transaction) -> None:
        await tx.run(RENAME, to=stored)

    run(world.database.transaction(rename))
    world.record(a_play(by=chat.boris, on=chat.song, score=200))
    run(world.outbox.deliver())
    run(first.say())

    said = [line for _, _, _, line in heard.lines]
    assert len(said) == 1
    assert len(chat.now_playing()) == 3
    for command in ("!with 95%", "!maplink", "!recent", "!top"):
        answer = chat.ask(command)
        assert answer, command
        said += answer
    assert_only_own_links([*said, *chat.now_playing()])
    assert_only_own_links(chat.ask(f"!with {text}"))
    assert_only_own_links(chat.ask(f"!help {text}"))


async def nobody() -> int:
    return 0


@pytest.mark.parametrize("text", HOSTILE)
def test_map_of_a_match_is_one_link(text: str) -> None:
    class Rooms:
        async def match(self, *_: object) -> Match:
            return a_match(text)

    server = ServerCommands(cast(Realtime, Rooms()), ManualClock(0), "kiai", link, nobody)
    asker = CommandContext(Session(token="a", user_id=3, name="anna", priv=3, login_time_ms=0), "#multi_4")

    lines = asyncio.run(server.current(asker))

    assert_only_own_links(lines)
    assert lines[0].startswith("[https://osu.kiai.example/b/7 ")


@pytest.mark.parametrize("text", HOSTILE)
def test_outside_text_adds_no_line_to_the_answer_of_the_bot(text: str) -> None:
    for piece in split_lines(f"first\n{text.replace(chr(10), '')}\nlast"):
        assert not UNSEEN.search(piece)


def a_beatmap(text: str) -> Beatmap:
    numbers = dict.fromkeys(
        ("key", "id", "set_id", "current", "status", "frozen", "mode", "last_update_ms", "total_length", "hit_length",
         "max_combo", "objects", "bpm", "cs", "od", "ar", "hp", "diff", "plays", "passes"),
        1,
    )  # fmt: skip
    texts = dict.fromkeys(("md5", "artist", "title", "version", "creator", "filename"), text)
    return Beatmap(**numbers, **texts)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\ud800" not in one])
def test_outside_text_adds_no_line_or_field_to_web_answers(text: str) -> None:
    plain, nasty = "plain", text
    counted = {}
    for words in (plain, nasty):
        board = scoreboard._header(a_beatmap(words), 1)
        numbers = dict.fromkeys(BoardLine.__struct_fields__, 1) | {"name": words, "tag": words}
        score = scoreboard._line(BoardLine(**numbers), 1, 0)  # type: ignore[arg-type]
        found = FoundSet(1, words, words, words, 0, 0, 0, 1, 0, (a_beatmap(words),))
        listed = direct._own_line(found).encode()
        comment = comments._line(Comment(1, 1, "map", words, "", 3, "anna", 3), 4, "boris").encode()
        answers = (board, score, listed, comment)
        counted[words] = [(len(one.decode().splitlines()), one.count(b"|"), one.count(b"\t")) for one in answers]
        for answer in answers:
            assert not UNSEEN.search(answer.decode().replace("\n", "").replace("\t", ""))
    assert counted[plain] == counted[nasty]
