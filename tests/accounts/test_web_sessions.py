"""Sessions of browsers on the website."""

from sqlalchemy import select, update
from tests.builders import World, a_player

from kiai.accounts.web_sessions import SEEN_EVERY_MS, SESSION_MS, SESSIONS_MAX, WebSessions
from kiai.ids import SystemIds
from kiai.storage.tables import users, web_sessions

ADDRESS = "198.51.100.7"


def sessions_of(world: World) -> WebSessions:
    return WebSessions(world.database, world.clock, SystemIds())


def test_token_finds_the_session_and_its_account(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())

    token = world.run(sessions.create(alice, address=ADDRESS, agent="Firefox"))

    found = world.run(sessions.find(token, ADDRESS))
    assert found is not None
    session, user = found
    assert (user.id, session.user_id, session.agent) == (alice, alice, "Firefox")
    assert session.second_factor_at_ms is None
    assert world.run(sessions.find("x" * 43, ADDRESS)) is None
    assert world.run(sessions.find("x" * 65, ADDRESS)) is None


def test_only_the_hash_of_a_token_is_stored(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())

    token = world.run(sessions.create(alice, address=ADDRESS, agent=""))

    [row] = world.look(select(web_sessions))
    assert not any(token in str(value) for value in row)


def test_session_ends_after_its_lifetime(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())
    token = world.run(sessions.create(alice, address=ADDRESS, agent=""))

    world.clock.advance(SESSION_MS / 1000 - 1)
    assert world.run(sessions.find(token, ADDRESS)) is not None
    world.clock.advance(1)
    assert world.run(sessions.find(token, ADDRESS)) is None
    assert world.run(sessions.of(alice)) == []
    world.clock.advance(1)
    assert world.run(sessions.delete_expired()) == 1
    assert world.look(select(web_sessions)) == []


def test_session_of_a_banned_account_is_not_valid(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())
    token = world.run(sessions.create(alice, address=ADDRESS, agent=""))

    world.change(update(users).where(users.c.id == alice).values(banned_at_ms=1))

    assert world.run(sessions.find(token, ADDRESS)) is None


def test_time_and_address_of_the_last_request_are_stored(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())
    token = world.run(sessions.create(alice, address=ADDRESS, agent=""))

    world.clock.advance(SEEN_EVERY_MS / 1000)
    world.run(sessions.find(token, "203.0.113.9"))

    [session] = world.run(sessions.of(alice))
    assert (session.seen_at_ms, session.address) == (world.clock.now_ms(), "203.0.113.9")


def test_login_beyond_the_limit_ends_the_oldest_session(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())
    tokens = []
    for _ in range(SESSIONS_MAX + 1):
        tokens.append(world.run(sessions.create(alice, address=ADDRESS, agent="")))
        world.clock.advance(1)

    assert world.run(sessions.find(tokens[0], ADDRESS)) is None
    assert world.run(sessions.find(tokens[1], ADDRESS)) is not None
    assert len(world.run(sessions.of(alice))) == SESSIONS_MAX


def test_player_ends_one_session_or_all_others(world: World) -> None:
    sessions, alice, bob = sessions_of(world), world.add_player(a_player()), world.add_player(a_player("bob"))
    first, second, third = (world.run(sessions.create(alice, address=ADDRESS, agent=agent)) for agent in "abc")
    of_bob = world.run(sessions.create(bob, address=ADDRESS, agent=""))
    found = world.run(sessions.find(second, ADDRESS))
    assert found is not None

    assert not world.run(sessions.end(bob, found[0].public_id)), "a session of another account"
    assert world.run(sessions.end(alice, found[0].public_id))
    assert world.run(sessions.find(second, ADDRESS)) is None
    current = world.run(sessions.find(first, ADDRESS))
    assert current is not None
    assert world.run(sessions.end_all(alice, current=current[0])) == 1
    assert world.run(sessions.find(third, ADDRESS)) is None
    assert world.run(sessions.find(of_bob, ADDRESS)) is not None


def test_second_factor_is_marked(world: World) -> None:
    sessions, alice = sessions_of(world), world.add_player(a_player())
    token = world.run(sessions.create(alice, address=ADDRESS, agent=""))
    found = world.run(sessions.find(token, ADDRESS))
    assert found is not None

    world.run(sessions.mark_second_factor(found[0]))

    [session] = world.run(sessions.of(alice))
    assert session.second_factor_at_ms == world.clock.now_ms()
