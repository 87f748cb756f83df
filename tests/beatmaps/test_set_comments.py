"""Comments on sets: who may write, see and remove them, on both databases."""

import pytest
from sqlalchemy import update
from tests.builders import World, a_map, a_player

from kiai.accounts.visibility import EVERYBODY, Viewer
from kiai.beatmaps.set_comments import OF_PLAYER_MAX, SetComments, clean
from kiai.errors import Invalid, NotAllowed, NotFound, Refused
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR
from kiai.storage.tables import set_comments, users


@pytest.fixture
def comments(world: World) -> SetComments:
    world.add_map(a_map(1, set_id=7))
    return SetComments(world.database, world.clock)


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def texts(world: World, comments: SetComments, viewer: Viewer = EVERYBODY) -> list[str]:
    return [comment.text for comment in world.run(comments.on(7, viewer))]


def test_comments_are_listed_newest_first_in_pages(world: World, comments: SetComments, alice: int) -> None:
    ids = [world.run(comments.add(world.user(alice), 7, f"line {n}")) for n in range(25)]

    first = world.run(comments.on(7))
    second = world.run(comments.on(7, before=first[-1].id))

    assert [comment.id for comment in first + second] == ids[::-1]
    assert (first[0].player.name, first[0].text, first[0].at_ms) == ("alice", "line 24", world.clock.now_ms())


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("  hello  ", "hello"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("one\n\n \n\ntwo", "one\ntwo"),
        ("a\x00b\x1bc\u202ed", "abcd"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("x" * 1_000, "x" * 1_000),
    ],
)
def test_text_is_stored_without_control_characters(text: str, stored: str) -> None:
    assert clean(text) == stored


@pytest.mark.parametrize("text", ["", "  \n ", "\x00", "x" * 1_001])
def test_empty_and_long_texts_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="comment must be a text of 1 to 1000 characters"):
        clean(text)


def test_comments_of_restricted_players_are_seen_by_themselves_and_staff(
    world: World, comments: SetComments, alice: int
) -> None:
    world.run(comments.add(world.user(alice), 7, "hidden soon"))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "x"))

    assert texts(world, comments) == []
    assert texts(world, comments, Viewer(alice)) == ["hidden soon"]
    assert texts(world, comments, Viewer(99, int(Privilege.MODERATOR))) == ["hidden soon"]
    with pytest.raises(NotAllowed):
        world.run(comments.add(world.user(alice), 7, "more"))


def test_silenced_and_unverified_players_cannot_write(world: World, comments: SetComments, alice: int) -> None:
    import msgspec

    silenced = msgspec.structs.replace(world.user(alice), silenced_until_ms=world.clock.now_ms() + 1)
    unverified = msgspec.structs.replace(world.user(alice), priv=int(Privilege.UNRESTRICTED))

    with pytest.raises(Refused, match="silenced"):
        world.run(comments.add(silenced, 7, "x"))
    with pytest.raises(NotAllowed):
        world.run(comments.add(unverified, 7, "x"))
    assert texts(world, comments) == []


@pytest.mark.parametrize("set_id", [8, 0, -1, 2**31, 2**63])
def test_unknown_set_is_not_found(world: World, comments: SetComments, alice: int, set_id: int) -> None:
    with pytest.raises(NotFound):
        world.run(comments.add(world.user(alice), set_id, "x"))


def test_authors_remove_only_their_own_comments(world: World, comments: SetComments, alice: int) -> None:
    bob = world.add_player(a_player("bob"))
    comment = world.run(comments.add(world.user(alice), 7, "mine"))

    for stranger, wrong in ((bob, comment), (alice, comment + 1), (alice, 0), (alice, 2**63)):
        with pytest.raises(NotFound):
            world.run(comments.remove_own(world.user(stranger), wrong))
    assert texts(world, comments) == ["mine"]

    world.run(comments.remove_own(world.user(alice), comment))
    assert texts(world, comments) == []


def test_comment_that_staff_removes_stays_in_the_audit_log(world: World, comments: SetComments, alice: int) -> None:
    comment = world.run(comments.add(world.user(alice), 7, "rude"))
    found = world.run(comments.one(comment, EVERYBODY))

    world.run(world.staff.remove_comment(OPERATOR, found, reason="rude"))

    assert texts(world, comments) == []
    [row] = world.audit(alice)
    assert (row.action, row.reason) == ("comment_delete", "rude")
    assert "rude" in row.details


def test_player_has_a_bounded_number_of_comments(world: World, comments: SetComments, alice: int) -> None:
    for n in range(OF_PLAYER_MAX):
        world.change(set_comments.insert().values(set_id=7, user_id=alice, text=str(n), at_ms=0))

    with pytest.raises(Refused, match="500 comments"):
        world.run(comments.add(world.user(alice), 7, "one more"))


def test_comment_needs_a_confirmed_address_where_the_operator_asks_for_it(world: World, alice: int) -> None:
    world.add_map(a_map(1, set_id=7))
    comments = SetComments(world.database, world.clock, verifies_email=True)
    with pytest.raises(Refused, match="confirm your e-mail address"):
        world.run(comments.add(world.user(alice), 7, "hello"))

    world.change(update(users).where(users.c.id == alice).values(email_verified_at_ms=1))
    world.run(comments.add(world.user(alice), 7, "hello"))
    assert texts(world, comments) == ["hello"]
