import pytest
from tests.builders import NORMAL
from tests.chat.talking import BOT, Talk, line

from kiai.chat import BotReply
from kiai.osu.privileges import Privilege
from kiai.realtime.port import BOT_ID
from kiai.storage.tables import users

MODERATOR = NORMAL | int(Privilege.MODERATOR)
RESTRICTED = int(Privilege.VERIFIED)
UNKNOWN = (24, "There is no player with this name.")


def offline_note(name: str) -> tuple[int, str]:
    return (24, f"{name} is offline, and will receive your message on their next login.")


# --- the rows of the table in docs/spec/chat.md#private-messages


def test_private_line_reaches_the_player_and_is_stored_as_delivered(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob, carla = talk.online("alice"), talk.online("Bob B"), talk.online("carla")

    answer = talk.whispers(alice, "bob_b", "hello")

    assert answer == []
    assert talk.reads(bob) == [line("alice", "hello", "Bob B", alice.user_id)]
    assert (talk.reads(alice), talk.reads(carla)) == ([], [])
    assert talk.letters() == [(alice.user_id, bob.user_id, "hello", True)]
    assert talk.lines() == []
    assert talk.active == [alice.user_id]


@pytest.mark.parametrize("name", ["nobody", "", "#osu", "x" * 33_000, "a\x00b", "%"])
def test_unknown_name_gets_a_notification(engine_talk: Talk, name: str) -> None:
    alice = engine_talk.online("alice")

    assert engine_talk.whispers(alice, name, "hello") == [UNKNOWN]
    assert engine_talk.letters() == []


def test_private_line_to_oneself_is_dropped(talk: Talk) -> None:
    alice = talk.online("alice")

    assert talk.whispers(alice, "ALICE", "hello") == []
    assert (talk.reads(alice), talk.letters()) == ([], [])


@pytest.mark.parametrize("online", [True, False])
def test_player_who_blocked_the_sender_gets_no_line(engine_talk: Talk, online: bool) -> None:
    talk = engine_talk
    alice = talk.online("alice")
    bob = talk.account("bob")
    talk.run(talk.world.relationships.block(bob, alice.user_id))
    if online:
        talk.log_in(bob)

    assert talk.whispers(alice, "bob", "hello") == [(100, "", "", "bob", 0)]
    assert talk.letters() == []


def test_player_blocked_by_the_sender_gets_no_line(talk: Talk) -> None:
    bob = talk.online("bob")
    alice = talk.online("alice", blocked=frozenset({bob.user_id}))

    assert talk.whispers(alice, "bob", "hello") == [(100, "", "", "bob", 0)]
    assert talk.reads(bob) == []


@pytest.mark.parametrize("online", [True, False])
def test_friends_only_accepts_lines_of_friends(engine_talk: Talk, online: bool) -> None:
    talk = engine_talk
    alice, carla = talk.online("alice"), talk.online("carla")
    bob = talk.account("bob")
    talk.run(talk.world.relationships.befriend(bob, alice.user_id))
    talk.world.change(users.update().where(users.c.id == bob).values(friends_only_dms=1))
    if online:
        talk.log_in(bob, friends_only_dms=True)

    of_friend, of_stranger = talk.whispers(alice, "bob", "hello"), talk.whispers(carla, "bob", "hello")

    assert of_friend == ([] if online else [offline_note("bob")])
    assert of_stranger == [(100, "", "", "bob", 0)]
    assert [letter[0] for letter in talk.letters()] == [alice.user_id]


def test_blocks_and_friends_only_do_not_apply_to_staff(talk: Talk) -> None:
    mod = talk.online("mod", priv=MODERATOR)
    bob = talk.online("bob", blocked=frozenset({mod.user_id}), friends_only_dms=True)

    assert talk.whispers(mod, "bob", "a word, please") == []
    assert talk.reads(bob) == [line("mod", "a word, please", "bob", mod.user_id)]


def test_line_to_a_silenced_player_is_refused(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.account("bob")
    talk.run(talk.silences.silence_by_server(bob, 60, "flood"))
    talk.reads(alice)

    assert talk.whispers(alice, "bob", "hello") == [(101, "", "", "bob", 0)]
    talk.clock.advance(60)
    assert talk.whispers(alice, "bob", "hello") == [offline_note("bob")]


def test_block_is_checked_before_silence(talk: Talk) -> None:
    bob = talk.online("bob")
    alice = talk.online("alice", blocked=frozenset({bob.user_id}))
    talk.run(talk.silences.silence_by_server(bob.user_id, 60, "flood"))

    assert talk.whispers(alice, "bob", "hello") == [(100, "", "", "bob", 0)]


@pytest.mark.parametrize("online", [True, False])
def test_restricted_player_is_unknown_to_all_except_staff(talk: Talk, online: bool) -> None:
    alice, mod = talk.online("alice"), talk.online("mod", priv=MODERATOR)
    bob = talk.account("bob", priv=RESTRICTED)
    session = talk.log_in(bob) if online else None

    assert talk.whispers(alice, "bob", "hello") == [UNKNOWN]
    assert talk.whispers(mod, "bob", "about your appeal") == ([] if online else [offline_note("bob")])

    assert [letter[0] for letter in talk.letters()] == [mod.user_id]
    if session is not None:
        assert talk.reads(session) == [line("mod", "about your appeal", "bob", mod.user_id)]


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize(
    "why", ["blocked by the writer", "has blocked the writer", "friends only", "silenced", "banned"]
)
def test_restricted_player_is_answered_like_an_unknown_one(talk: Talk, why: str, online: bool) -> None:
    bob = talk.account("bob", priv=RESTRICTED)
    alice = talk.online("alice", blocked=frozenset({bob} if why == "blocked by the writer" else ()))
    if why == "has blocked the writer":
        talk.run(talk.world.relationships.block(bob, alice.user_id))
    changes = {
        "friends only": {"friends_only_dms": 1},
        "silenced": {"silenced_until_ms": 2**53},
        "banned": {"banned_at_ms": 1},
    }
    if why in changes:
        talk.world.change(users.update().where(users.c.id == bob).values(**changes[why]))
    if online:
        talk.log_in(bob)

    assert talk.whispers(alice, "bob", "hello") == talk.whispers(alice, "nobody", "hello") == [UNKNOWN]
    assert talk.letters() == []


def test_player_online_only_with_tournament_clients_gets_no_line(talk: Talk) -> None:
    alice, camera = talk.online("alice"), talk.online("camera", tournament=True)

    assert talk.whispers(alice, "camera", "hello") == []
    assert (talk.reads(camera), talk.letters()) == ([], [])


def test_tournament_client_gets_no_private_lines(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob")
    camera = talk.log_in(bob.user_id, tournament=True)

    talk.whispers(alice, "bob", "hello")

    assert len(talk.reads(bob)) == 1
    assert talk.reads(camera) == []


def test_line_to_an_offline_player_is_stored_with_one_notice_per_session(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob, carla = talk.online("alice"), talk.account("bob"), talk.account("carla")

    answers = [talk.whispers(alice, name, "hello") for name in ("bob", "bob", "carla")]
    again = talk.log_in(alice.user_id)
    answers.append(talk.whispers(again, "bob", "hello"))

    assert answers == [[offline_note("bob")], [], [offline_note("carla")], [offline_note("bob")]]
    assert [(to_id, delivered) for _, to_id, _, delivered in talk.letters()] == [
        (bob, False),
        (bob, False),
        (carla, False),
        (bob, False),
    ]


def test_line_to_the_bot_is_answered_and_not_stored(talk: Talk) -> None:
    alice = talk.online("alice")
    talk.answers["!help"] = BotReply(("one\ntwo",), hidden=False)

    answer = talk.whispers(alice, "banchobot", "!help")

    assert answer == [line(BOT, "one", "alice", BOT_ID), line(BOT, "two", "alice", BOT_ID)]
    assert talk.bot_input == [("alice", "", "!help")]
    assert talk.whispers(alice, BOT, "hello bot") == []
    assert (talk.letters(), talk.lines(), talk.reads(alice)) == ([], [], [])


def test_too_long_private_line_is_cut_and_its_author_notified(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob")

    answer = talk.whispers(alice, "bob", "x" * 2_001)

    assert answer == [(24, "Your message was cut to 2000 characters.")]
    assert talk.reads(bob) == [line("alice", "x" * 2_000 + "... (truncated)", "bob", alice.user_id)]
    assert talk.whispers(alice, "nobody", "x" * 2_001) == [UNKNOWN]


# --- away


def test_setting_and_clearing_the_away_message_is_confirmed(talk: Talk) -> None:
    alice = talk.online("alice")

    assert talk.goes_away(alice, " eating\x07 ") == [line(BOT, "You are away now: eating", "alice", BOT_ID)]
    assert talk.now(alice).away == "eating"
    assert talk.goes_away(alice, "") == [line(BOT, "You are no longer away.", "alice", BOT_ID)]
    assert talk.now(alice).away == ""


def test_sender_gets_each_away_message_once(talk: Talk) -> None:
    alice, bob, carla = talk.online("alice"), talk.online("bob"), talk.online("carla")

    def away(text: str) -> list[tuple[object, ...]]:
        return [line("alice", f"\x01ACTION is away: {text}\x01", "bob", alice.user_id)]

    talk.goes_away(alice, "eating")
    assert [talk.whispers(bob, "alice", "hello") for _ in range(3)] == [away("eating"), [], []]
    assert len(talk.whispers(carla, "alice", "hello")) == 1
    talk.goes_away(alice, "sleeping")
    assert [talk.whispers(bob, "alice", "hello") for _ in range(2)] == [away("sleeping"), []]
    talk.goes_away(alice, "")
    assert talk.whispers(bob, "alice", "hello") == []
    talk.goes_away(alice, "sleeping")
    assert talk.whispers(bob, "alice", "hello") == away("sleeping")

    assert [packet[:3] for packet in talk.reads(alice)][:2] == [(7, "bob", "hello"), (7, "bob", "hello")]


def test_away_message_ends_with_the_session(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.online("bob")
    talk.goes_away(alice, "eating")
    gone = talk.run(talk.realtime.close_session(alice.token))
    assert gone is not None
    talk.run(talk.chat.on_session_end(gone))
    alice = talk.log_in(alice.user_id)

    assert talk.whispers(bob, "alice", "hello") == []
