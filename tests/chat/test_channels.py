import msgspec
import pytest
from tests.builders import NORMAL, SUPPORTER
from tests.chat.talking import Talk, line

from kiai.chat.channels import Channel
from kiai.errors import KiaiError, NotFound, WrongState
from kiai.osu.privileges import Privilege
from kiai.realtime.port import chat_topic
from kiai.staff import OPERATOR
from kiai.storage.tables import audit_log

OSU_TOPIC = "General discussion."
MODERATOR = NORMAL | int(Privilege.MODERATOR)
ADMINISTRATOR = NORMAL | int(Privilege.ADMINISTRATOR)
DEVELOPER = NORMAL | int(Privilege.DEVELOPER)
RESTRICTED = int(Privilege.VERIFIED)


def names(channels: list[Channel]) -> list[str]:
    return [channel.name for channel in channels]


# --- rights


@pytest.mark.parametrize(
    ("priv", "readable"),
    [
        (RESTRICTED, []),
        (RESTRICTED | DEVELOPER & ~1, []),
        (NORMAL, ["#osu", "#announce", "#lobby"]),
        (SUPPORTER, ["#osu", "#announce", "#lobby", "#supporter"]),
        (MODERATOR, ["#osu", "#announce", "#lobby", "#staff"]),
        (ADMINISTRATOR, ["#osu", "#announce", "#lobby", "#staff", "#admin"]),
        (DEVELOPER, ["#osu", "#announce", "#lobby", "#staff", "#admin", "#dev"]),
    ],
)
def test_read_mask_decides_who_has_a_channel(engine_talk: Talk, priv: int, readable: list[str]) -> None:
    assert names(engine_talk.channels.readable(priv)) == readable
    assert names(engine_talk.channels.auto_join(priv)) == [
        name for name in readable if name not in ("#lobby", "#supporter")
    ]


def test_moderation_and_its_audit_row_are_one_transaction(engine_talk: Talk) -> None:
    talk = engine_talk
    set_moderated = talk.channel_desk.set_moderated

    talk.run(set_moderated(OPERATOR, "#osu", True))
    with pytest.raises(WrongState, match="already"):
        talk.run(set_moderated(OPERATOR, "#osu", True))
    with pytest.raises(NotFound, match="channel"):
        talk.run(set_moderated(OPERATOR, "#nope", True))

    assert [channel.name for channel in talk.channels.all() if channel.moderated] == ["#osu"]
    rows = talk.world.look(audit_log.select().with_only_columns(audit_log.c.action, audit_log.c.details))
    assert [action for action, _ in rows] == ["channel_moderated"]
    changed = msgspec.json.decode(rows[0][1])
    assert (changed["channel"], changed["before"]["moderated"], changed["after"]["moderated"]) == ("#osu", False, True)


# --- at login


def test_login_joins_auto_join_channels_and_lists_the_others_except_the_lobby(talk: Talk) -> None:
    bob = talk.online("bob", "#osu")
    alice = talk.log_in(talk.account("alice", priv=SUPPORTER))

    topics = talk.run(talk.chat.topics_at_login(alice))
    alice = talk.log_in(alice.user_id, *(topic.removeprefix("chat:") for topic in topics))
    joined, listed = talk.run(talk.chat.channels_at_login(alice))

    assert topics == [chat_topic("#osu"), chat_topic("#announce")]
    assert [(channel.name, users) for channel, users in joined] == [("#osu", 2), ("#announce", 1)]
    assert [(channel.name, users) for channel, users in listed] == [("#supporter", 0)]
    talk.run(talk.chat.publish_counts())
    assert talk.reads(bob) == [
        (65, "#announce", "News of the server and of its first places.", 1),
        (65, "#osu", OSU_TOPIC, 2),
    ]


def test_tournament_client_joins_no_channel_at_login(talk: Talk) -> None:
    alice = talk.online("alice", tournament=True)

    assert talk.run(talk.chat.topics_at_login(alice)) == []
    joined, listed = talk.run(talk.chat.channels_at_login(alice))
    assert joined == []
    assert names([channel for channel, _ in listed]) == ["#osu", "#announce"]


def test_restricted_player_joins_and_sees_no_channel_at_login(talk: Talk) -> None:
    alice = talk.online("alice", priv=RESTRICTED)

    assert talk.run(talk.chat.topics_at_login(alice)) == []
    assert talk.run(talk.chat.channels_at_login(alice)) == ([], [])


# --- joining


def test_join_opens_the_tab_with_the_user_count(talk: Talk) -> None:
    talk.online("bob", "#osu")
    alice = talk.online("alice")

    answer = talk.joins(alice, "#osu")

    assert answer == [(64, "#osu"), (65, "#osu", OSU_TOPIC, 2)]
    assert talk.channels_of(alice) == {"#osu"}


def test_repeated_join_repeats_the_answer_and_adds_no_member(talk: Talk) -> None:
    alice = talk.online("alice", "#osu")

    assert talk.joins(alice, "#osu") == [(64, "#osu"), (65, "#osu", OSU_TOPIC, 1)]

    talk.run(talk.chat.publish_counts())
    assert talk.reads(alice) == []


@pytest.mark.parametrize("name", ["#nope", "#staff", "#multi_1", "#spec_3", "#multiplayer", "osu", "", "#multi_0"])
def test_join_of_an_unknown_or_unreadable_channel_closes_the_tab(talk: Talk, name: str) -> None:
    alice = talk.online("alice")

    assert talk.joins(alice, name) == [(66, name)]
    assert talk.channels_of(alice) == set()


def test_too_long_channel_name_is_not_echoed(talk: Talk) -> None:
    assert talk.joins(talk.online("alice"), "#" + "x" * 33_000) == []


@pytest.mark.parametrize("name", ["#highlight", "#userlog"])
def test_tabs_of_the_client_itself_are_ignored(talk: Talk, name: str) -> None:
    alice = talk.online("alice")

    assert talk.joins(alice, name) == []
    assert talk.says(alice, name, "hello") == []
    assert talk.parts(alice, name) == []
    assert talk.channels_of(alice) == set()


def test_lobby_channel_can_be_joined_before_the_lobby(talk: Talk) -> None:
    alice = talk.online("alice", in_lobby=False)

    assert talk.joins(alice, "#lobby")[0] == (64, "#lobby")


def test_restricted_player_cannot_join_a_channel(talk: Talk) -> None:
    alice = talk.online("alice", priv=RESTRICTED)

    assert talk.joins(alice, "#osu") == [(66, "#osu")]


# --- parting


def test_part_has_no_answer(talk: Talk) -> None:
    alice = talk.online("alice", "#osu", "#announce")

    assert talk.parts(alice, "#osu") == []
    assert talk.channels_of(alice) == {"#announce"}


@pytest.mark.parametrize("name", ["bob", "#announce", "#nope", "#multi_3", "#multiplayer", "#spectator", ""])
def test_part_from_a_channel_without_membership_is_ignored(talk: Talk, name: str) -> None:
    alice = talk.online("alice", "#osu")

    assert talk.parts(alice, name) == []
    assert talk.channels_of(alice) == {"#osu"}


# --- counts


def test_counts_of_changed_channels_are_published_once_to_their_readers(talk: Talk) -> None:
    mod = talk.online("mod", "#staff", priv=MODERATOR)
    bob = talk.online("bob")
    for name in ("anna", "berta", "carla"):
        talk.joins(talk.online(name), "#osu")
    talk.parts(mod, "#staff")
    talk.joins(mod, "#staff")

    talk.run(talk.chat.publish_counts())

    assert talk.reads(bob) == [(65, "#osu", OSU_TOPIC, 3)]
    assert talk.reads(mod) == [(65, "#osu", OSU_TOPIC, 3), (65, "#staff", "For everybody on the staff.", 1)]
    talk.run(talk.chat.publish_counts())
    assert talk.reads(bob) == []


def test_logout_lowers_the_user_count(talk: Talk) -> None:
    alice, bob = talk.online("alice", "#osu", "#multi_1", room_id=1), talk.online("bob", "#osu", "#multi_1", room_id=1)
    gone = talk.run(talk.realtime.close_session(alice.token))
    assert gone is not None
    talk.run(talk.chat.on_session_end(gone))

    talk.run(talk.chat.publish_counts())

    assert talk.reads(bob) == [(65, "#osu", OSU_TOPIC, 1)]


def test_restricted_player_is_in_no_user_count(talk: Talk) -> None:
    bob = talk.online("bob", "#osu")
    alice = talk.online("alice", "#osu", priv=RESTRICTED)

    talk.run(talk.chat.on_session_end(alice))
    talk.run(talk.chat.publish_counts())

    assert talk.reads(bob) == []
    assert talk.joins(bob, "#osu") == [(64, "#osu"), (65, "#osu", OSU_TOPIC, 1)]


# --- channels of matches and spectators


def test_multiplayer_channel_is_that_of_the_sessions_match(talk: Talk) -> None:
    alice, bob = talk.online("alice", room_id=7), talk.online("bob", "#multi_7", room_id=7, match_id=7)
    carla = talk.online("carla", "#multi_8", room_id=8)

    assert talk.joins(alice, "#multiplayer") == [
        (64, "#multiplayer"),
        (65, "#multiplayer", "Players in this match.", 2),
    ]
    talk.run(talk.chat.publish_counts())
    talk.says(alice, "#multiplayer", "hello")

    assert talk.reads(bob) == [
        (65, "#multiplayer", "Players in this match.", 2),
        line("alice", "hello", "#multiplayer", alice.user_id),
    ]
    assert talk.reads(carla) == []
    assert talk.lines() == [("#multi_7", alice.user_id, "hello")]


def test_part_from_the_match_channel_keeps_the_seat(talk: Talk) -> None:
    alice = talk.online("alice", "#multi_7", room_id=7, match_id=7)

    assert talk.parts(alice, "#multiplayer") == []

    assert talk.channels_of(alice) == set()
    assert talk.now(alice).match_id == 7


def test_player_kicked_from_the_match_during_the_join_does_not_join_its_channel(talk: Talk) -> None:
    alice = talk.online("alice", room_id=7)
    outdated = talk.now(alice)
    talk.run(talk.realtime.change_session(alice.token, lambda now: (msgspec.structs.replace(now, room_id=0), ())))

    with pytest.raises(KiaiError):
        talk.run(talk.chat.join(outdated, "#multiplayer"))

    assert talk.channels_of(alice) == set()


def test_referee_without_a_seat_uses_the_servers_name_of_the_match_channel(talk: Talk) -> None:
    alice = talk.online("alice", "#multi_7", room_id=7, match_id=7)
    ref = talk.online("ref", "#multi_8", room_id=8, match_id=8)
    bob = talk.online("bob", "#multi_8", room_id=8, match_id=8)
    talk.referees[7] = {ref.user_id}

    assert talk.joins(ref, "#multi_7") == [(64, "#multi_7"), (65, "#multi_7", "Players in this match.", 1)]
    assert talk.joins(ref, "#multi_7")[0] == (64, "#multi_7")
    talk.says(ref, "#multi_7", "to the match of alice")
    talk.says(ref, "#multiplayer", "to the seated match")
    talk.says(alice, "#multiplayer", "to the referee, too")
    talk.says(alice, "#multi_7", "dropped: a seated player uses #multiplayer")

    assert talk.reads(ref) == [line("alice", "to the referee, too", "#multi_7", alice.user_id)]
    assert talk.reads(alice) == [line("ref", "to the match of alice", "#multiplayer", ref.user_id)]
    assert talk.reads(bob) == [line("ref", "to the seated match", "#multiplayer", ref.user_id)]
    assert talk.bot_input[0] == ("ref", "#multi_7", "to the match of alice")


def test_referee_without_a_seat_can_part_from_the_match_channel(talk: Talk) -> None:
    ref = talk.online("ref")
    talk.referees[7] = {ref.user_id}
    talk.joins(ref, "#multi_7")

    assert talk.parts(ref, "#multi_7") == []

    assert talk.channels_of(ref) == set()
    talk.says(ref, "#multi_7", "hello")
    assert talk.bot_input == []


@pytest.mark.parametrize(
    "name", ["#multi_7", "#multi_", "#multi_x", "#multi_²", "#multi_99999999999", "#multi_7/referees"]
)
def test_only_a_referee_without_a_seat_can_join_a_match_channel_by_its_servers_name(talk: Talk, name: str) -> None:
    ref = talk.online("ref")
    seated = talk.online("seated", "#multi_7", room_id=7, match_id=7)
    talk.referees[8] = {ref.user_id}
    talk.referees[7] = {seated.user_id}

    assert talk.joins(ref, name) == [(66, name)]
    assert talk.joins(seated, name) == [(66, name)]
    assert talk.channels_of(ref) == set()


def test_referee_removed_during_the_join_does_not_join(talk: Talk) -> None:
    ref = talk.online("ref")
    talk.referees[7] = {ref.user_id}
    talk.removed_during_check = True

    assert talk.joins(ref, "#multi_7") == [(66, "#multi_7")]

    assert talk.channels_of(ref) == set()


def test_spectators_and_host_share_a_channel(talk: Talk) -> None:
    host = talk.online("host")
    channel = f"#spec_{host.user_id}"
    host = talk.log_in(host.user_id, channel)
    alice = talk.online("alice", channel, spectating=host.user_id)
    bob = talk.online("bob", spectating=host.user_id)

    assert talk.joins(bob, "#spectator")[0] == (64, "#spectator")
    talk.says(alice, "#spectator", "nice")
    talk.says(host, "#spectator", "thanks")

    lines = [line("alice", "nice", "#spectator", alice.user_id), line("host", "thanks", "#spectator", host.user_id)]
    assert talk.reads(bob) == lines
    assert talk.reads(host) == lines[:1]
    assert talk.reads(alice) == lines[1:]


def test_spectator_channel_does_not_exist_without_spectators(talk: Talk) -> None:
    alice = talk.online("alice")

    assert talk.joins(alice, "#spectator") == [(66, "#spectator")]
    assert talk.joins(alice, f"#spec_{alice.user_id}") == [(66, f"#spec_{alice.user_id}")]


# --- privileges that change


def test_player_who_loses_the_right_stops_reading_and_the_tab_closes(talk: Talk) -> None:
    mod, other = talk.online("mod", "#staff", "#osu", priv=MODERATOR), talk.online("other", "#staff", priv=MODERATOR)
    demoted = talk.run(
        talk.realtime.change_session(mod.token, lambda now: (msgspec.structs.replace(now, priv=NORMAL), ()))
    )
    talk.says(other, "#staff", "between the two")
    assert talk.reads(mod) == []
    assert talk.says(mod, "#staff", "still here") == []

    talk.run(talk.chat.leave_unreadable(demoted))

    assert talk.channels_of(mod) == {"#osu"}
    assert talk.reads(mod) == [(66, "#staff")]
    assert talk.reads(other) == []
    assert talk.run(talk.chat.leave_unreadable(talk.now(mod))) == talk.now(mod)
