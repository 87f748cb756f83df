import msgspec
import pytest
from tests.builders import DEVELOPER, NORMAL
from tests.chat.talking import BOT, Talk, line

from kiai.chat import BotReply
from kiai.errors import NotFound
from kiai.osu.privileges import Privilege
from kiai.realtime.port import BOT_ID, Entry
from kiai.staff import OPERATOR

MODERATOR = NORMAL | int(Privilege.MODERATOR)


# --- lines in a channel (docs/spec/chat.md#lines-in-a-channel)


def test_line_reaches_all_other_members_of_the_channel(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    outside = talk.online("outside", "#announce")

    answer = talk.says(alice, "#osu", "  hello ")

    assert answer == []
    assert talk.reads(bob) == [line("alice", "hello", "#osu", alice.user_id)]
    assert talk.reads(alice) == []
    assert talk.reads(outside) == []
    assert talk.active == [alice.user_id]


def test_line_is_one_entry_whatever_the_number_of_members(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_sender_in_the_packet_is_ignored(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "hello", sender="bob", sender_id=1)

    assert talk.reads(bob) == [line("alice", "hello", "#osu", alice.user_id)]


@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\x00\x02", "\x01ACTION \x01"])
def test_empty_line_is_dropped(talk: Talk, text: str) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    assert talk.says(alice, "#osu", text) == []
    assert talk.whispers(alice, "bob", text) == []
    assert talk.reads(bob) == []


@pytest.mark.parametrize("name", ["#staff", "#multi_1", "#spec_3", "#nope", "#multiplayer", "#spectator", "bob", ""])
def test_line_to_an_unknown_or_unjoined_channel_is_dropped(talk: Talk, name: str) -> None:
    alice = talk.online("alice", "#osu")
    mod = talk.online("mod", "#osu", "#staff", "#multi_1", "#spec_3", priv=MODERATOR)

    assert talk.says(alice, name, "hello") == []

    assert talk.reads(mod) == []
    assert talk.lines() == []


def test_line_of_a_player_outside_the_channel_is_dropped(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob", "#osu")

    assert talk.says(alice, "#osu", "hello") == []
    assert talk.reads(bob) == []


def test_line_without_write_privilege_is_dropped(talk: Talk) -> None:
    alice = talk.online("alice", "#announce")
    admin = talk.online("admin", "#announce", priv=DEVELOPER)

    talk.says(alice, "#announce", "hello")
    talk.says(admin, "#announce", "news")

    assert talk.reads(admin) == []
    assert talk.reads(alice) == [line("admin", "news", "#announce", admin.user_id)]


def test_only_staff_can_write_in_a_moderated_channel(talk: Talk) -> None:
    alice, mod = talk.online("alice", "#osu"), talk.online("mod", "#osu", priv=MODERATOR)
    talk.run(talk.channel_desk.set_moderated(OPERATOR, "#osu", True))

    talk.says(alice, "#osu", "hello")
    talk.says(mod, "#osu", "quiet please")
    talk.run(talk.channel_desk.set_moderated(OPERATOR, "#osu", False))
    talk.says(alice, "#osu", "hello again")

    assert talk.reads(alice) == [line("mod", "quiet please", "#osu", mod.user_id)]
    assert talk.reads(mod) == [line("alice", "hello again", "#osu", alice.user_id)]


def test_too_long_line_is_cut_and_its_author_notified(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    answer = talk.says(alice, "#osu", "x" * 33_000)

    assert answer == [(24, "Your message was cut to 2000 characters.")]
    assert talk.reads(bob) == [line("alice", "x" * 2_000 + "... (truncated)", "#osu", alice.user_id)]


def test_dropped_line_gives_no_notice_of_a_cut(talk: Talk) -> None:
    alice = talk.online("alice")

    assert talk.says(alice, "#osu", "x" * 3_000) == []


def test_me_command_becomes_an_action(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "/me waves")

    assert talk.reads(bob) == [line("alice", "\x01ACTION waves\x01", "#osu", alice.user_id)]


def test_block_hides_lines_except_in_a_match(talk: Talk) -> None:
    alice = talk.online("alice", "#osu", "#multi_1", room_id=1)
    bob = talk.online("bob", "#osu", "#multi_1", room_id=1, blocked=frozenset({alice.user_id}))

    talk.says(alice, "#osu", "in public")
    talk.says(alice, "#multiplayer", "in the match")

    assert talk.reads(bob) == [line("alice", "in the match", "#multiplayer", alice.user_id)]


def test_lines_of_a_restricted_player_are_dropped(talk: Talk) -> None:
    bob = talk.online("bob", "#osu")
    alice = talk.online("alice", "#osu", priv=int(Privilege.VERIFIED))

    assert talk.says(alice, "#osu", "hello") == []
    assert talk.whispers(alice, "bob", "hello") == []
    assert talk.whispers(alice, BOT, "!help") == []

    assert talk.reads(bob) == []
    assert (talk.letters(), talk.lines(), talk.bot_input) == ([], [], [])


def test_tournament_client_can_write_only_in_its_match(talk: Talk) -> None:
    bob = talk.online("bob", "#osu", "#multi_5", room_id=5)
    camera = talk.online("camera", "#osu", "#multi_5", room_id=5, tournament=True)

    talk.says(camera, "#osu", "one")
    talk.says(camera, "#multi_5", "two")
    talk.says(camera, "#multiplayer", "three")
    talk.whispers(camera, "bob", "four")
    talk.whispers(camera, BOT, "five")

    assert talk.reads(bob) == [line("camera", "three", "#multiplayer", camera.user_id)]
    assert talk.bot_input == [("camera", "#multi_5", "three")]


# --- silenced players


def test_silenced_player_gets_the_remaining_time_and_lines_are_dropped(talk: Talk) -> None:
    bob = talk.online("bob", "#osu")
    alice = talk.online("alice", "#osu", silenced_until_ms=talk.clock.now_ms() + 59_500)

    assert talk.says(alice, "#osu", "hello") == [(92, 60)]
    assert talk.whispers(alice, "bob", "hello") == [(92, 60)]
    assert talk.whispers(alice, BOT, "!help") == [(92, 60)]
    assert talk.says(alice, "#osu", "") == [(92, 60)]

    assert talk.reads(bob) == []
    assert (talk.letters(), talk.lines(), talk.bot_input) == ([], [], [])


def test_player_can_write_after_the_silence_ends(talk: Talk) -> None:
    alice = talk.online("alice", "#osu", silenced_until_ms=talk.clock.now_ms() + 60_000)
    bob = talk.online("bob", "#osu")

    talk.clock.advance(60)

    assert talk.says(alice, "#osu", "hello") == []
    assert talk.reads(bob) == [line("alice", "hello", "#osu", alice.user_id)]


# --- floods (docs/spec/chat.md#flood)


def test_eleventh_line_in_ten_seconds_silences(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    for number in range(10):
        assert talk.says(alice, "#osu", f"line {number}") == []
        talk.clock.advance(0.9)

    answer = talk.says(alice, "#osu", "one too many")

    assert answer == []
    assert set(talk.reads(alice)) == {(92, 300), (94, alice.user_id)}
    received = talk.reads(bob)
    assert (94, alice.user_id) in received
    assert [packet[2] for packet in received if packet[0] == 7] == [f"line {number}" for number in range(10)]
    [row] = talk.world.audit(alice.user_id)
    assert (row.action, row.actor_id, row.reason) == ("silence", 0, "flood")
    assert talk.world.user(alice.user_id).silenced_until_ms == talk.clock.now_ms() + 300_000
    assert talk.left_match == [alice.user_id]
    assert talk.says(alice, "#osu", "and another") == [(92, 300)]


def test_ten_lines_in_any_ten_seconds_are_allowed(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")

    for _ in range(50):
        talk.says(alice, "#osu", "hello")
        talk.clock.advance(1.0)

    assert talk.reads(alice) == []
    assert len(talk.lines()) == 50


def test_private_lines_count_towards_the_flood_limit(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")
    talk.online("bob")
    for _ in range(4):
        talk.says(alice, "#osu", "hello")
        talk.whispers(alice, "bob", "hello")
    talk.whispers(alice, BOT, "!help")
    talk.whispers(alice, "nobody", "hello")

    talk.whispers(alice, BOT, "!help")

    assert (92, 300) in talk.reads(alice)


def test_flood_limit_is_twice_as_high_in_a_match(talk: Talk) -> None:
    alice = talk.online("alice", "#multi_1", "#osu", room_id=1)
    for _ in range(20):
        talk.says(alice, "#multiplayer", "go")
    talk.says(alice, "#osu", "elsewhere")
    assert talk.reads(alice) == []

    talk.says(alice, "#multiplayer", "go")

    assert (92, 300) in talk.reads(alice)


def test_flood_limit_does_not_apply_to_staff(talk: Talk) -> None:
    mod, bob = talk.online("mod", "#osu", priv=MODERATOR), talk.online("bob", "#osu")

    for _ in range(30):
        talk.says(mod, "#osu", "hello")

    assert len(talk.reads(bob)) == 30


def test_flood_limit_can_be_switched_off(engine_talk: Talk) -> None:
    talk = Talk(engine_talk.world.database, engine_talk.run, engine_talk.world.folder, limits_on=False)
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    for _ in range(30):
        talk.says(alice, "#osu", "hello")

    assert len(talk.reads(bob)) == 30


def test_dropped_lines_do_not_count_towards_the_flood_limit(talk: Talk) -> None:
    alice = talk.online("alice")

    for _ in range(30):
        talk.says(alice, "#osu", "hello")

    assert talk.reads(alice) == []


# --- the bot


def test_unknown_command_in_a_channel_is_an_ordinary_line(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")

    talk.says(alice, "#osu", "!frobnicate")

    assert talk.bot_input == [("alice", "#osu", "!frobnicate")]
    assert talk.reads(bob) == [line("alice", "!frobnicate", "#osu", alice.user_id)]


def test_members_read_a_visible_command_and_then_the_answer(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    talk.answers["!roll"] = BotReply(("alice rolls 7.\nLucky!", "x" * 2_001))

    answer = talk.says(alice, "#osu", "!roll")

    bot_lines = [line(BOT, text, "#osu", BOT_ID) for text in ("alice rolls 7.", "Lucky!", "x" * 2_000, "x")]
    assert answer == []
    assert talk.reads(bob) == [line("alice", "!roll", "#osu", alice.user_id), *bot_lines]
    assert talk.reads(alice) == bot_lines
    assert [text for _, _, text in talk.lines()] == ["!roll", "alice rolls 7.", "Lucky!", "x" * 2_000, "x"]


def test_hidden_command_is_answered_in_private_and_not_stored(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu"), talk.online("bob", "#osu")
    talk.answers["!apikey"] = BotReply(("Your key: 123",), hidden=True)

    answer = talk.says(alice, "#osu", "!apikey")

    assert answer == [line(BOT, "Your key: 123", "alice", BOT_ID)]
    assert (talk.reads(alice), talk.reads(bob), talk.lines()) == ([], [], [])


def test_session_changed_by_a_command_stays_changed(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")
    bob = talk.account("bob")
    talk.answers["!block bob"] = BotReply(("Blocked.",), hidden=True)
    talk.effects["!block bob"] = lambda now: (msgspec.structs.replace(now, blocked=frozenset({bob})), ())

    talk.says(alice, "#osu", "!block bob")

    assert talk.now(alice).blocked == {bob}


def test_bot_can_post_in_any_channel(talk: Talk) -> None:
    alice = talk.online("alice", "#announce", "#multi_3")

    talk.run(talk.chat.post("#announce", "first\nsecond"))
    talk.run(talk.chat.post("#multi_3", "third"))

    assert {packet[2:4] for packet in talk.reads(alice)} == {
        ("first", "#announce"),
        ("second", "#announce"),
        ("third", "#multiplayer"),
    }
    with pytest.raises(NotFound):
        talk.run(talk.chat.post("#nope", "hello"))


def test_lines_of_the_bot_about_match_events_are_not_stored(talk: Talk) -> None:
    alice = talk.online("alice", "#multi_3")

    talk.run(talk.chat.post("#announce", "stored"))
    talk.run(talk.chat.post("#multi_3", "alice moved to slot 2"))

    assert [packet[2] for packet in talk.reads(alice)] == ["alice moved to slot 2"]
    assert [text for _, _, text in talk.lines()] == ["stored"]


def test_notify_reaches_one_player(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob")

    talk.run(talk.chat.notify(alice.user_id, "alice", "Your score is first.\nWell done."))

    assert talk.reads(alice) == [
        line(BOT, "Your score is first.", "alice", BOT_ID),
        line(BOT, "Well done.", "alice", BOT_ID),
    ]
    assert talk.reads(bob) == []
    assert talk.letters() == []
