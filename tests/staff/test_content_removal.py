"""Removal of avatars and userpages by staff."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, cast

import pytest
from tests.builders import DEVELOPER, NORMAL, World, a_player

from kiai.accounts import Viewer
from kiai.accounts.avatars import Avatars
from kiai.accounts.covers import ProfileCovers
from kiai.decoding.decoder import Decoder
from kiai.errors import Invalid, KiaiError, NotAllowed, NotATarget, NotFound, OutRanked, WrongState
from kiai.ids import SequenceIds
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR, Actor
from kiai.staff.content_removal import ContentRemoval
from kiai.storage.tables import users

ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)
MODERATOR = int(NORMAL | Privilege.MODERATOR)
KEY = "avatars/5-0123456789abcdef-00.png"
PAGE = "[b]rude words[/b]"


class Removal:
    """The service, an administrator, and a player with an avatar and a userpage."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.avatars = Avatars(world.accounts, world.files, cast(Decoder, None), world.clock, SequenceIds())
        decoder = cast(Decoder, None)
        self.covers = ProfileCovers(world.accounts, world.files, decoder, world.clock, SequenceIds())
        self.service = ContentRemoval(world.accounts, self.avatars, self.covers, world.authority, world.clock)
        self.boss = Actor(world.add_player(a_player("boss", priv=ADMINISTRATOR)), "game")
        self.alice = self.player("alice")

    def player(self, name: str, priv: int = NORMAL) -> int:
        """Add a player with an avatar and a userpage."""
        user_id = self.world.add_player(a_player(name, priv=priv))
        key = KEY.replace("5", str(user_id), 1)
        self.world.run(self.world.files.put(key, b"picture"))
        self.world.change(
            users.update().where(users.c.id == user_id).values(avatar=key, userpage_content=PAGE, play_style=3)
        )
        return user_id


@pytest.fixture
def removal(world: World) -> Removal:
    return Removal(world)


def test_a_cover_is_gone_at_once_and_the_avatar_stays(removal: Removal, world: World) -> None:
    key = "covers/5-0123456789abcdef-00.webp"
    world.run(world.files.put(key, b"picture"))
    world.change(users.update().where(users.c.id == removal.alice).values(cover=key))

    world.run(removal.service.remove_cover(removal.boss, "alice", "rude"))

    assert world.run(removal.covers.find(removal.alice)) is None
    assert world.run(removal.avatars.find(removal.alice)) == b"picture"
    [row] = world.audit(removal.alice)
    assert (row.action, row.reason) == ("content_remove", "rude")
    with pytest.raises(WrongState, match="has no cover"):
        world.run(removal.service.remove_cover(removal.boss, "alice", "rude"))


def test_an_avatar_is_gone_at_once_and_its_file_is_retired(removal: Removal, world: World) -> None:
    key = world.user(removal.alice).avatar
    assert world.run(removal.avatars.find(removal.alice)) == b"picture"

    world.run(removal.service.remove_avatar(removal.boss, "alice", "rude"))

    assert world.run(removal.avatars.find(removal.alice)) is None
    assert world.user(removal.alice).userpage_content == PAGE
    [row] = world.audit(removal.alice)
    assert (row.action, row.actor_id, row.source, row.reason) == (
        "content_remove",
        removal.boss.user_id,
        "game",
        "rude",
    )
    assert row.details == f'{{"before":{{"avatar":"{key}"}},"after":{{"avatar":null}}}}'
    with pytest.raises(WrongState, match="alice has no avatar"):
        world.run(removal.service.remove_avatar(removal.boss, "alice", "rude"))
    assert len(world.audit(removal.alice)) == 1


def test_a_userpage_is_gone_and_its_text_is_in_no_audit_row(removal: Removal, world: World) -> None:
    world.run(removal.service.remove_userpage(OPERATOR, removal.alice, "rude"))

    user = world.user(removal.alice)
    assert (user.userpage_content, user.play_style, user.avatar is None) == (None, 3, False)
    [row] = world.audit(removal.alice)
    assert row.details == (f'{{"before":{{"userpage_content":{len(PAGE)}}},"after":{{"userpage_content":0}}}}')
    with pytest.raises(WrongState, match="alice has no userpage"):
        world.run(removal.service.remove_userpage(OPERATOR, removal.alice, "rude"))
    assert len(world.audit(removal.alice)) == 1


@pytest.mark.parametrize("what", ["avatar", "userpage"])
def test_two_removals_at_the_same_time_write_one_row(removal: Removal, world: World, what: str) -> None:
    remove: Callable[..., Awaitable[object]] = getattr(removal.service, f"remove_{what}")

    async def twice() -> Sequence[object]:
        return await asyncio.gather(
            remove(removal.boss, "alice", "one"), remove(OPERATOR, "alice", "two"), return_exceptions=True
        )

    results = world.run(twice())

    assert sum(isinstance(result, WrongState) for result in results) == 1
    assert [row.action for row in world.audit(removal.alice)] == ["content_remove"]


@pytest.mark.parametrize(
    ("by", "target", "reason", "error"),
    [
        (NORMAL, "alice", "rude", NotAllowed),
        (MODERATOR, "alice", "rude", NotAllowed),
        (ADMINISTRATOR & ~1, "alice", "rude", NotAllowed),
        (NORMAL, "nobody", "", NotAllowed),
        (ADMINISTRATOR, "nobody", "", Invalid),
        (ADMINISTRATOR, "alice", "x" * 501, Invalid),
        (ADMINISTRATOR, "nobody", "rude", NotFound),
        (ADMINISTRATOR, "BanchoBot", "rude", NotATarget),
        (ADMINISTRATOR, "equal", "rude", OutRanked),
        (ADMINISTRATOR, "above", "rude", OutRanked),
    ],
)
@pytest.mark.parametrize("what", ["avatar", "userpage"])
def test_refusals_change_nothing(
    removal: Removal, world: World, what: str, by: int, target: str, reason: str, error: type[KiaiError]
) -> None:
    actor = Actor(world.add_player(a_player("someone", priv=by)), "game")
    targets = [removal.alice, removal.player("equal", ADMINISTRATOR), removal.player("above", DEVELOPER)]

    with pytest.raises(error):
        world.run(getattr(removal.service, f"remove_{what}")(actor, target, reason))

    states = [world.run(world.accounts.user(Viewer(user_id=one), id=one)) for one in targets]
    assert all(state.avatar and state.userpage_content == PAGE for state in states)
    written = [row.action for one in targets for row in world.audit(one)]
    assert written == (["denied"] if error is OutRanked else [])


def test_a_developer_acts_on_a_developer_and_an_administrator_on_themselves(removal: Removal, world: World) -> None:
    root = Actor(removal.player("root", DEVELOPER), "game")
    removal.player("above", DEVELOPER)
    boss = Actor(removal.player("boss2", ADMINISTRATOR), "game")

    acts: list[Coroutine[Any, Any, object]] = [
        removal.service.remove_avatar(root, "above", "rude"),
        removal.service.remove_userpage(boss, boss.user_id, "own"),
    ]
    for act in acts:
        world.run(act)

    assert [row.action for row in world.audit(boss.user_id)] == ["content_remove"]
