import pytest
from tests.builders import DEVELOPER, NORMAL
from tests.chat.talking import Talk

from kiai.errors import Invalid, KiaiError, NotAllowed, NotFound, Refused
from kiai.osu.privileges import Privilege
from kiai.realtime.port import BOT_ID
from kiai.staff import Actor
from kiai.staff.silences import SYSTEM

MODERATOR = NORMAL | int(Privilege.MODERATOR)
ADMINISTRATOR = NORMAL | int(Privilege.ADMINISTRATOR)
YEAR_S = 365 * 86_400


def by(user_id: int) -> Actor:
    return Actor(user_id=user_id, source="game")


def test_silence_is_announced_to_all_and_recorded(engine_talk: Talk) -> None:
    talk = engine_talk
    mod, bob, carla = talk.account("mod", priv=MODERATOR), talk.online("bob", "#osu"), talk.online("carla")
    now = talk.clock.now_ms()

    until = talk.run(talk.silences.silence(by(mod), bob.user_id, 90, "rude")).until_ms

    assert until == now + 90_000
    assert talk.world.user(bob.user_id).silenced_until_ms == until
    assert talk.now(bob).silenced_until_ms == until
    assert set(talk.reads(bob)) == {(92, 90), (94, bob.user_id)}
    assert talk.reads(carla) == [(94, bob.user_id)]
    assert talk.left_match == [bob.user_id]
    [row] = talk.world.audit(bob.user_id)
    assert (row.action, row.actor_id, row.source, row.reason) == ("silence", mod, "game", "rude")
    assert row.details == f'{{"seconds":90,"before":0,"after":{until}}}'
    assert talk.says(bob, "#osu", "hello") == [(92, 90)]


def test_silence_applies_to_all_sessions_of_the_player(talk: Talk) -> None:
    bob = talk.online("bob")
    camera = talk.log_in(bob.user_id, tournament=True)

    until = talk.run(talk.silences.silence(SYSTEM, bob.user_id, 90, "rude")).until_ms

    assert [talk.now(session).silenced_until_ms for session in (bob, camera)] == [until, until]


def test_later_end_of_two_silences_counts(engine_talk: Talk) -> None:
    talk = engine_talk
    bob = talk.online("bob")
    first = talk.run(talk.silences.silence(SYSTEM, bob.user_id, 600, "rude")).until_ms
    talk.clock.advance(60)

    second = talk.run(talk.silences.silence(SYSTEM, bob.user_id, 60, "rude again")).until_ms
    third = talk.run(talk.silences.silence(SYSTEM, bob.user_id, 900, "and again")).until_ms

    assert (second, third) == (first, talk.clock.now_ms() + 900_000)
    assert [packet for packet in talk.reads(bob) if packet[0] == 92] == [(92, 600), (92, 540), (92, 900)]
    assert len(talk.world.audit(bob.user_id)) == 3


def test_silence_of_a_restricted_player_is_not_announced(talk: Talk) -> None:
    bob, carla = talk.online("bob", priv=int(Privilege.VERIFIED)), talk.online("carla")

    talk.run(talk.silences.silence(SYSTEM, bob.user_id, 60, "rude"))

    assert talk.reads(bob) == [(92, 60)]
    assert talk.reads(carla) == []


def test_offline_player_can_be_silenced(talk: Talk) -> None:
    bob = talk.account("bob")

    talk.run(talk.silences.silence(SYSTEM, bob, 60, "rude"))

    assert talk.world.user(bob).silenced_until_ms == talk.clock.now_ms() + 60_000


def test_unsilenced_player_can_write_at_once(engine_talk: Talk) -> None:
    talk = engine_talk
    mod, bob, carla = talk.account("mod", priv=MODERATOR), talk.online("bob", "#osu"), talk.online("carla", "#osu")
    talk.run(talk.silences.silence(by(mod), bob.user_id, 90, "rude"))
    talk.reads(bob), talk.reads(carla)

    talk.run(talk.silences.unsilence(by(mod), bob.user_id, "sorry"))

    assert talk.world.user(bob.user_id).silenced_until_ms == 0
    assert (talk.reads(bob), talk.reads(carla)) == ([(92, 0)], [])
    assert talk.says(bob, "#osu", "sorry") == []
    assert len(talk.reads(carla)) == 1
    assert [row.action for row in talk.world.audit(bob.user_id)] == ["unsilence", "silence"]


def test_unsilence_of_a_player_without_silence_is_refused(talk: Talk) -> None:
    bob = talk.account("bob")
    talk.run(talk.silences.silence(SYSTEM, bob, 60, "rude"))
    talk.clock.advance(60)

    with pytest.raises(Refused, match="bob is not silenced"):
        talk.run(talk.silences.unsilence(SYSTEM, bob, "done"))

    assert [row.action for row in talk.world.audit(bob)] == ["silence"]


@pytest.mark.parametrize(
    ("actor", "target", "allowed"),
    [
        (MODERATOR, NORMAL, True),
        (MODERATOR, NORMAL | int(Privilege.NOMINATOR), True),
        (MODERATOR, MODERATOR, False),
        (MODERATOR, ADMINISTRATOR, False),
        (ADMINISTRATOR, MODERATOR, True),
        (ADMINISTRATOR, DEVELOPER, False),
        (DEVELOPER, DEVELOPER, True),
        (MODERATOR, MODERATOR & ~1, True),
    ],
)
def test_only_a_higher_role_can_silence(engine_talk: Talk, actor: int, target: int, allowed: bool) -> None:
    talk = engine_talk
    mod, bob = talk.account("mod", priv=actor), talk.account("bob", priv=target)

    if allowed:
        talk.run(talk.silences.silence(by(mod), bob, 60, "rude"))
        talk.run(talk.silences.unsilence(by(mod), bob, "sorry"))
    else:
        for attempt in (
            talk.silences.silence(by(mod), bob, 60, "rude"),
            talk.silences.unsilence(by(mod), bob, "sorry"),
        ):
            with pytest.raises(Refused, match="only a higher role can act on this user"):
                talk.run(attempt)

    assert talk.world.user(bob).silenced_until_ms == 0
    actions = [row.action for row in talk.world.audit(bob)]
    assert actions == (["unsilence", "silence"] if allowed else ["denied", "denied"])


@pytest.mark.parametrize("priv", [NORMAL, NORMAL | int(Privilege.NOMINATOR), MODERATOR & ~1])
def test_silence_without_permission_is_refused(talk: Talk, priv: int) -> None:
    alice, bob = talk.account("alice", priv=priv), talk.account("bob")

    with pytest.raises(NotAllowed, match=r"users\.silence"):
        talk.run(talk.silences.silence(by(alice), bob, 60, "rude"))

    assert (talk.world.user(bob).silenced_until_ms, talk.world.audit(bob)) == (0, [])


def test_silence_of_oneself_the_bot_or_an_unknown_user_is_refused(talk: Talk) -> None:
    owner = talk.account("owner", priv=DEVELOPER)

    for user_id, error in ((owner, Refused), (BOT_ID, Refused), (999, NotFound)):
        with pytest.raises(error):
            talk.run(talk.silences.silence(by(owner), user_id, 60, "rude"))


@pytest.mark.parametrize(
    ("seconds", "reason", "field"),
    [
        (0, "rude", "duration"),
        (-5, "rude", "duration"),
        (YEAR_S + 1, "rude", "duration"),
        (60, "", "reason"),
        (60, "  ", "reason"),
        (60, "x" * 501, "reason"),
    ],
)
def test_silence_needs_a_valid_duration_and_reason(talk: Talk, seconds: int, reason: str, field: str) -> None:
    bob = talk.account("bob")

    with pytest.raises(Invalid, match=field):
        talk.run(talk.silences.silence(SYSTEM, bob, seconds, reason))
    with pytest.raises(KiaiError):
        talk.run(talk.silences.unsilence(SYSTEM, bob, reason))

    assert talk.world.audit(bob) == []


def test_silence_can_last_a_year(talk: Talk) -> None:
    bob = talk.online("bob")

    talk.run(talk.silences.silence(SYSTEM, bob.user_id, YEAR_S, "rude"))

    assert (92, YEAR_S) in talk.reads(bob)
