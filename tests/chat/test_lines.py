import msgspec
import pytest
from tests.builders import DEVELOPER, NORMAL
from tests.chat.talking import BOT, Talk, line

from kiai.chat import Answer
from kiai.errors import NotFound
from kiai.osu.privileges import Privilege
from kiai.realtime.port import BOT_ID, Entry

MODERATOR = NORMAL | int(Privilege.MODERATOR)


# --- lines in a channel (docs/spec/chat.md#lines-in-a-channel)


def test_a_line_goes_to_everybody_else_in_the_channel(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    outside = talk.online("outside", "#announce")

    answer = talk.says(alice, "#osu", "  hello ")

    assert answer == []
    assert talk.reads(bob) == [line("alice", "hello", "#osu", alice.user_id)]
    assert talk.reads(alice) == []
    assert talk.reads(outside) == []
    assert talk.active == [alice.user_id]


def test_a_line_costs_one_entry_however_many_are_in_the_channel(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        talk.online(f"listener {number}", "#osu")
    alice = talk.online("alice", "#osu")
    appended: list[Entry] = []
    append = talk.world.realtime.append

    async def counted(entries: list[Entry]) -> None:
        appended.extend(entries)
        await append(entries)

    monkeypatch.setattr(talk.world.realtime, "append", counted)

    talk.says(alice, "#osu", "hello")

    assert [(entry.topic, entry.author) for entry in appended] == [("chat:#osu", alice.user_id)]


def test_whom_a_client_claims_to_be_does_not_matter(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "hello", sender="bob", sender_id=1)

    assert talk.reads(bob) == [line("alice", "hello", "#osu", alice.user_id)]


@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\x00\x02", "\x01ACTION \x01"])
def test_a_line_of_nothing_is_dropped(talk: Talk, text: str) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    assert talk.says(alice, "#osu", text) == []
    assert talk.whispers(alice, "bob", text) == []
    assert talk.reads(bob) == []


@pytest.mark.parametrize("name", ["#staff", "#multi_1", "#spec_3", "#nope", "#multiplayer", "#spectator", "bob", ""])
def test_a_line_to_where_one_is_not_is_dropped(talk: Talk, name: str) -> None:
    alice = talk.online("alice", "#osu")
    mod = talk.online("mod", "#osu", "#staff", "#multi_1", "#spec_3", priv=MODERATOR)

    assert talk.says(alice, name, "hello") == []

    assert talk.reads(mod) == []
    assert talk.lines() == []


def test_one_must_be_in_a_channel_to_speak_there(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob", "#osu")

    assert talk.says(alice, "#osu", "hello") == []
    assert talk.reads(bob) == []


def test_who_may_only_read_says_nothing(talk: Talk) -> None:
    alice = talk.online("alice", "#announce")
    admin = talk.online("admin", "#announce", priv=DEVELOPER)

    talk.says(alice, "#announce", "hello")
    talk.says(admin, "#announce", "news")

    assert talk.reads(admin) == []
    assert talk.reads(alice) == [line("admin", "news", "#announce", admin.user_id)]


def test_in_a_moderated_channel_only_staff_speaks(talk: Talk) -> None:
    alice, mod = talk.online("alice", "#osu"), talk.online("mod", "#osu", priv=MODERATOR)
    talk.run(talk.channels.set_moderated("#osu", True))

    talk.says(alice, "#osu", "hello")
    talk.says(mod, "#osu", "quiet please")
    talk.run(talk.channels.set_moderated("#osu", False))
    talk.says(alice, "#osu", "hello again")

    assert talk.reads(alice) == [line("mod", "quiet please", "#osu", mod.user_id)]
    assert talk.reads(mod) == [line("alice", "hello again", "#osu", alice.user_id)]


def test_a_line_that_is_too_long_is_cut_and_its_speaker_told(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    answer = talk.says(alice, "#osu", "x" * 33_000)

    assert answer == [(24, "Your message was cut to 2000 characters.")]
    assert talk.reads(bob) == [line("alice", "x" * 2_000 + "... (truncated)", "#osu", alice.user_id)]


def test_what_is_not_said_is_not_called_cut(talk: Talk) -> None:
    alice = talk.online("alice")

    assert talk.says(alice, "#osu", "x" * 3_000) == []


def test_a_raw_action_becomes_one(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "/me waves")

    assert talk.reads(bob) == [line("alice", "\x01ACTION waves\x01", "#osu", alice.user_id)]


def test_who_has_blocked_the_speaker_does_not_read_it_except_in_a_match(talk: Talk) -> None:
    alice = talk.online("alice", "#osu", "#multi_1", room_id=1)
    bob = talk.online("bob", "#osu", "#multi_1", room_id=1, blocked=frozenset({alice.user_id}))

    talk.says(alice, "#osu", "in public")
    talk.says(alice, "#multiplayer", "in the match")

    assert talk.reads(bob) == [line("alice", "in the match", "#multiplayer", alice.user_id)]


def test_a_restricted_player_says_nothing_anywhere(talk: Talk) -> None:
    bob = talk.online("bob", "#osu")
    alice = talk.online("alice", "#osu", priv=int(Privilege.VERIFIED))

    assert talk.says(alice, "#osu", "hello") == []
    assert talk.whispers(alice, "bob", "hello") == []
    assert talk.whispers(alice, BOT, "!help") == []

    assert talk.reads(bob) == []
    assert (talk.letters(), talk.lines(), talk.heard) == ([], [], [])


def test_a_tournament_client_speaks_in_its_room_alone(talk: Talk) -> None:
    bob = talk.online("bob", "#osu", "#multi_5", room_id=5)
    camera = talk.online("camera", "#osu", "#multi_5", room_id=5, tournament=True)

    talk.says(camera, "#osu", "one")
    talk.says(camera, "#multi_5", "two")
    talk.says(camera, "#multiplayer", "three")
    talk.whispers(camera, "bob", "four")
    talk.whispers(camera, BOT, "five")

    assert talk.reads(bob) == [line("camera", "three", "#multiplayer", camera.user_id)]
    assert talk.heard == [("camera", "#multi_5", "three")]


# --- silenced players


def test_a_silenced_player_is_told_for_how_long_and_says_nothing(talk: Talk) -> None:
    bob = talk.online("bob", "#osu")
    alice = talk.online("alice", "#osu", silenced_until_ms=talk.clock.now_ms() + 59_500)

    assert talk.says(alice, "#osu", "hello") == [(92, 60)]
    assert talk.whispers(alice, "bob", "hello") == [(92, 60)]
    assert talk.whispers(alice, BOT, "!help") == [(92, 60)]
    assert talk.says(alice, "#osu", "") == [(92, 60)]

    assert talk.reads(bob) == []
    assert (talk.letters(), talk.lines(), talk.heard) == ([], [], [])


def test_a_silence_that_is_over_is_over(talk: Talk) -> None:
    alice = talk.online("alice", "#osu", silenced_until_ms=talk.clock.now_ms() + 60_000)
    bob = talk.online("bob", "#osu")

    talk.clock.advance(60)

    assert talk.says(alice, "#osu", "hello") == []
    assert talk.reads(bob) == [line("alice", "hello", "#osu", alice.user_id)]


# --- floods (docs/spec/chat.md#flood)


def test_the_eleventh_line_in_ten_seconds_silences(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    for number in range(10):
        assert talk.says(alice, "#osu", f"line {number}") == []
        talk.clock.advance(0.9)

    answer = talk.says(alice, "#osu", "one too many")

    assert answer == []
    assert set(talk.reads(alice)) == {(92, 300), (94, alice.user_id)}
    heard = talk.reads(bob)
    assert (94, alice.user_id) in heard
    assert [told[2] for told in heard if told[0] == 7] == [f"line {number}" for number in range(10)]
    [row] = talk.world.audit(alice.user_id)
    assert (row.action, row.actor_id, row.reason) == ("silence", 0, "flood")
    assert talk.world.user(alice.user_id).silenced_until_ms == talk.clock.now_ms() + 300_000
    assert talk.left_match == [alice.user_id]
    assert talk.says(alice, "#osu", "and another") == [(92, 300)]


def test_ten_lines_in_any_ten_seconds_are_fine(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")

    for _ in range(50):
        talk.says(alice, "#osu", "hello")
        talk.clock.advance(1.0)

    assert talk.reads(alice) == []
    assert len(talk.lines()) == 50


def test_lines_to_players_and_to_the_bot_count_with_those_in_channels(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")
    talk.online("bob")
    for _ in range(4):
        talk.says(alice, "#osu", "hello")
        talk.whispers(alice, "bob", "hello")
    talk.whispers(alice, BOT, "!help")
    talk.whispers(alice, "nobody", "hello")

    talk.whispers(alice, BOT, "!help")

    assert (92, 300) in talk.reads(alice)


def test_in_a_match_twice_as_many_lines_are_fine(talk: Talk) -> None:
    alice = talk.online("alice", "#multi_1", "#osu", room_id=1)
    for _ in range(20):
        talk.says(alice, "#multiplayer", "go")
    talk.says(alice, "#osu", "elsewhere")
    assert talk.reads(alice) == []

    talk.says(alice, "#multiplayer", "go")

    assert (92, 300) in talk.reads(alice)


def test_staff_may_speak_as_often_as_it_likes(talk: Talk) -> None:
    mod, bob = talk.online("mod", "#osu", priv=MODERATOR), talk.online("bob", "#osu")

    for _ in range(30):
        talk.says(mod, "#osu", "hello")

    assert len(talk.reads(bob)) == 30


def test_without_limits_there_is_no_flood(kept_talk: Talk) -> None:
    talk = Talk(kept_talk.world.database, kept_talk.run, kept_talk.world.folder, limits_on=False)
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    for _ in range(30):
        talk.says(alice, "#osu", "hello")

    assert len(talk.reads(bob)) == 30


def test_lines_that_reach_nobody_are_no_flood(talk: Talk) -> None:
    alice = talk.online("alice")

    for _ in range(30):
        talk.says(alice, "#osu", "hello")

    assert talk.reads(alice) == []


# --- the bot


def test_a_line_that_means_nothing_to_the_bot_is_a_line(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "!frobnicate")

    assert talk.heard == [("alice", "#osu", "!frobnicate")]
    assert talk.reads(bob) == [line("alice", "!frobnicate", "#osu", alice.user_id)]


def test_a_visible_command_is_followed_by_what_the_bot_says(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    talk.answers["!roll"] = Answer(("alice rolls 7.\nLucky!", "x" * 2_001))

    answer = talk.says(alice, "#osu", "!roll")

    bots = [line(BOT, text, "#osu", BOT_ID) for text in ("alice rolls 7.", "Lucky!", "x" * 2_000, "x")]
    assert answer == []
    assert talk.reads(bob) == [line("alice", "!roll", "#osu", alice.user_id), *bots]
    assert talk.reads(alice) == bots
    assert [text for _, _, text in talk.lines()] == ["!roll", "alice rolls 7.", "Lucky!", "x" * 2_000, "x"]


def test_a_hidden_command_is_its_askers_business_and_is_not_written_down(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    talk.answers["!apikey"] = Answer(("Your key: 123",), hidden=True)

    answer = talk.says(alice, "#osu", "!apikey")

    assert answer == [line(BOT, "Your key: 123", "alice", BOT_ID)]
    assert (talk.reads(alice), talk.reads(bob), talk.lines()) == ([], [], [])


def test_what_a_command_did_to_the_session_is_not_undone(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")
    bob = talk.account("bob")
    talk.answers["!block bob"] = Answer(("Blocked.",), hidden=True)
    talk.does["!block bob"] = lambda now: (msgspec.structs.replace(now, blocked=frozenset({bob})), ())

    talk.says(alice, "#osu", "!block bob")

    assert talk.now(alice).blocked == {bob}


def test_the_bot_posts_in_channels_that_nobody_else_may_write_in(talk: Talk) -> None:
    alice = talk.online("alice", "#announce", "#multi_3")

    talk.run(talk.chat.post("#announce", "first\nsecond"))
    talk.run(talk.chat.post("#multi_3", "third"))

    assert {told[2:4] for told in talk.reads(alice)} == {
        ("first", "#announce"),
        ("second", "#announce"),
        ("third", "#multiplayer"),
    }
    with pytest.raises(NotFound):
        talk.run(talk.chat.post("#nope", "hello"))


def test_the_bot_tells_one_player(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob")

    talk.run(talk.chat.tell(alice.user_id, "alice", "Your score is first.\nWell done."))

    assert talk.reads(alice) == [
        line(BOT, "Your score is first.", "alice", BOT_ID),
        line(BOT, "Well done.", "alice", BOT_ID),
    ]
    assert talk.reads(bob) == []
    assert talk.letters() == []
