import asyncio
from typing import Any

import pytest
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import select
from tests.builders import NORMAL, PASSWORD, SUPPORTER, World, a_player

from kiai.accounts import BOT_ID, Viewer, can_see, visible
from kiai.accounts.service import NAME_RESERVED_MS, RENAME_EVERY_MS
from kiai.errors import Conflict, Invalid, NotAllowed, NotFound, Refused
from kiai.osu.names import password_md5
from kiai.osu.privileges import Privilege
from kiai.storage.tables import users


def total(world: World) -> int:
    return int(world.run(world.accounts.total()))


def as_(world: World, user_id: int) -> Viewer:
    return Viewer(user_id=user_id, priv=world.user(user_id).priv)


def rename(world: World, user_id: int, name: str) -> None:
    world.run(world.accounts.set_profile(as_(world, user_id), {"name": name}))


# --- registering


def test_ids_start_at_three_and_increase_by_one(world: World) -> None:
    ids = [world.add_player(a_player(name)) for name in ("alice", "bob", "carol")]

    assert ids == [3, 4, 5]
    assert total(world) == 3


def test_rejected_registration_does_not_change_the_total(world: World) -> None:
    world.add_player(a_player())

    with pytest.raises(Conflict):
        world.add_player(a_player())

    assert total(world) == 1
    assert world.problems() == []


@pytest.mark.parametrize("name", ["Some Player", "some player", "some_player", "SOME_PLAYER"])
def test_names_are_unique_by_their_safe_form(world: World, name: str) -> None:
    world.add_player(a_player("some player", email="first@example.org"))

    with pytest.raises(Conflict, match="name is already taken"):
        world.add_player(a_player(name, email="second@example.org"))


@pytest.mark.parametrize("email", ["a@example.org", "A@Example.ORG"])
def test_e_mail_addresses_are_unique_regardless_of_case(world: World, email: str) -> None:
    world.add_player(a_player("alice", email="A@example.org"))

    with pytest.raises(Conflict, match="email is already taken"):
        world.add_player(a_player("bob", email=email))

    assert world.run(world.accounts.account("alice")).email == "a@example.org"


@pytest.mark.parametrize("name", ["a", "x" * 16, "żółw", " alice", "a  b", "a_b c", "12345", "BanchoBot", "gone_old"])
def test_name_outside_the_rules_is_rejected(world: World, name: str) -> None:
    with pytest.raises(Invalid, match=r"^name must be"):
        world.add_player(a_player(name, email="a@example.org"))

    assert total(world) == 0


@pytest.mark.parametrize("email", ["", "a", "a@b", "a b@c.de", "a@b@c.de", "a" * 250 + "@c.de"])
def test_e_mail_address_outside_the_rules_is_rejected(world: World, email: str) -> None:
    with pytest.raises(Invalid, match=r"^email must be"):
        world.run(world.accounts.register(name="alice", email=email, password=None))


@pytest.mark.parametrize("country", ["", "x", "zz", "NL", "nld"])
def test_unknown_country_is_rejected(world: World, country: str) -> None:
    with pytest.raises(Invalid, match=r"^country must be"):
        world.add_player(a_player(country=country))


@pytest.mark.parametrize(
    "password", ["", "short", "aaaaaaaaaa", "alicealice", "ALICE@example.org", "password1", "x" * 33]
)
def test_weak_password_is_rejected_and_not_in_the_error(world: World, password: str) -> None:
    with pytest.raises(Invalid, match=r"^password must be") as raised:
        world.add_player(a_player("alicealice", email="alice@example.org", password=password))

    assert len(password) < 6 or password not in str(raised.value)


def test_one_of_twenty_simultaneous_registrations_of_a_name_succeeds(world: World) -> None:
    async def at_once() -> list[Any]:
        tries = (
            world.accounts.register(name=("Al B", "al_b")[n % 2], email=f"n{n}@example.org", password=None)
            for n in range(20)
        )
        return await asyncio.gather(*tries, return_exceptions=True)

    results = world.run(at_once())

    assert [one for one in results if not isinstance(one, Conflict)] == [world.run(world.accounts.account("al b")).id]
    assert total(world) == 1
    assert world.problems() == []


# --- passwords


def test_password_is_stored_as_argon2_of_its_md5(real_hashes: None, world: World) -> None:
    alice = world.add_player(a_player(password=PASSWORD))
    [(stored,)] = world.look(select(users.c.password_hash).where(users.c.id == alice))

    right = world.run(world.passwords.verify(password_md5(PASSWORD), stored))
    wrong = world.run(world.passwords.verify(password_md5("correct horse 8"), stored))
    plain = world.run(world.passwords.verify(PASSWORD, stored))

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (right, wrong[0], plain[0]) == ((True, None), False, False)


def test_bcrypt_hash_is_accepted_and_replaced(world: World) -> None:
    old = BcryptHasher(rounds=4).hash(password_md5(PASSWORD))

    right, new = world.run(world.passwords.verify(password_md5(PASSWORD), old))
    wrong, _ = world.run(world.passwords.verify(password_md5("wrong horse 7"), old))

    assert (right, wrong) == (True, False)
    assert new is not None
    assert new.startswith("$argon2id$")
    assert world.run(world.passwords.verify(password_md5(PASSWORD), new)) == (True, None)


def test_new_password_revokes_only_the_keys_of_its_account(world: World) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    for user_id in (alice, bob):
        world.run(world.api_keys.issue(user_id))

    world.run(world.accounts.set_password(alice, password=PASSWORD, name="alice", email="alice@example.org"))

    assert world.run(world.api_keys.of(alice)) == []
    assert len(world.run(world.api_keys.of(bob))) == 1


# --- profiles


def test_all_fields_of_a_profile_change_together(world: World) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))
    changes = {
        "preferred_mode": 8,
        "play_style": 5,
        "userpage_content": "hello",
        "custom_badge_name": "Best",
        "custom_badge_icon": "fa-star",
    }

    changed = world.run(world.accounts.set_profile(as_(world, alice), changes))

    assert {name: getattr(changed, name) for name in changes} == changes


@pytest.mark.parametrize(
    "bad",
    [
        {"preferred_mode": 7},
        {"preferred_mode": True},
        {"preferred_mode": "0"},
        {"play_style": 16},
        {"play_style": -1},
        {"userpage_content": "x" * 10_001},
        {"userpage_content": "\x00"},
        {"custom_badge_name": 5},
        {"name": "x"},
        {"name": None, "priv": 31},
        {"email": "a@b.cd"},
    ],
    ids=str,
)
def test_one_invalid_value_changes_nothing(world: World, bad: dict[str, object]) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))
    before = world.user(alice)

    with pytest.raises(Invalid):
        world.run(world.accounts.set_profile(as_(world, alice), {"play_style": 3} | bad))

    assert world.user(alice) == before


@pytest.mark.parametrize("field", ["name", "custom_badge_name", "custom_badge_icon"])
def test_badges_and_renames_need_supporter(world: World, field: str) -> None:
    plain, donor = world.add_player(a_player()), world.add_player(a_player("bob", priv=SUPPORTER))
    before = world.user(plain)

    world.run(world.accounts.set_profile(as_(world, donor), {field: "newname"}))
    with pytest.raises(NotAllowed, match=field):
        world.run(world.accounts.set_profile(as_(world, plain), {field: "another", "play_style": 1}))

    assert getattr(world.user(donor), field) == "newname"
    assert world.user(plain) == before


def test_player_cannot_change_their_own_country(world: World) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))

    with pytest.raises(NotAllowed, match="country"):
        world.run(world.accounts.set_profile(as_(world, alice), {"country": "de"}))


def test_taken_name_rolls_back_the_whole_change(world: World) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))
    world.add_player(a_player("bob"))
    before = world.user(alice)

    with pytest.raises(Conflict, match="name"):
        world.run(world.accounts.set_profile(as_(world, alice), {"name": "Bob", "play_style": 9}))

    assert world.user(alice) == before


# --- renaming


def test_old_name_finds_the_renamed_player(world: World) -> None:
    alice = world.add_player(a_player("al ice", priv=SUPPORTER))

    rename(world, alice, "bob")

    assert (world.user(alice).name, world.user(alice).safe_name) == ("bob", "bob")
    assert world.run(world.accounts.user(name="AL_ICE")).id == alice
    assert world.run(world.accounts.player(name="al ice")).name == "bob"


def test_released_name_is_reserved_for_ninety_days(world: World) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))
    rename(world, alice, "bob")

    world.clock.advance(NAME_RESERVED_MS / 1000 - 1)
    with pytest.raises(Conflict, match="name"):
        world.add_player(a_player("Alice", email="other@example.org"))
    world.clock.advance(1)
    newcomer = world.add_player(a_player("Alice", email="other@example.org"))

    assert world.run(world.accounts.user(name="alice")).id == newcomer


def test_former_owner_may_take_a_released_name_again(world: World) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))
    rename(world, alice, "bob")
    world.clock.advance(RENAME_EVERY_MS / 1000)

    rename(world, alice, "alice")

    assert world.user(alice).name == "alice"


def test_name_can_be_changed_once_a_week(world: World) -> None:
    alice = world.add_player(a_player(priv=SUPPORTER))
    rename(world, alice, "second")

    world.clock.advance(RENAME_EVERY_MS / 1000 - 1)
    with pytest.raises(Refused, match="once a week"):
        rename(world, alice, "third")
    world.clock.advance(1)
    rename(world, alice, "third")

    assert world.user(alice).name == "third"


def test_one_of_two_simultaneous_renames_to_a_name_succeeds(world: World) -> None:
    players = [world.add_player(a_player(f"player{n}", priv=SUPPORTER)) for n in range(5)]
    viewers = [as_(world, player) for player in players]

    async def at_once() -> list[Any]:
        wishes = (world.accounts.set_profile(viewer, {"name": "wanted"}) for viewer in viewers)
        return await asyncio.gather(*wishes, return_exceptions=True)

    results = world.run(at_once())

    assert sum(isinstance(one, Conflict) for one in results) == 4
    assert [world.user(player).name for player in players].count("wanted") == 1


# --- finding and visibility

BITS = [0, *(int(bit) for bit in Privilege)]


def test_hidden_and_unknown_players_raise_the_same_error(world: World) -> None:
    hidden = world.add_player(a_player(priv=0))

    answers = []
    for who in ({"id": hidden}, {"name": "alice"}, {"id": 99}, {"name": "nobody"}):
        with pytest.raises(NotFound) as raised:
            world.run(world.accounts.user(**who))
        answers.append(str(raised.value))

    assert set(answers) == {"player not found"}


def test_can_see_and_the_sql_condition_agree(world: World) -> None:
    everybody = Viewer()
    privs = sorted({a | b | c for a in BITS for b in (0, 1, 2, 3) for c in BITS})
    ids = {world.add_player(a_player(f"p{n}x")): priv for n, priv in enumerate(privs)}
    for user_id, priv in ids.items():
        world.change(users.update().where(users.c.id == user_id).values(priv=priv))

    listed = {row[0] for row in world.look(select(users.c.id).where(visible()))}

    expected = {user_id for user_id in ids if can_see(everybody, world.user(user_id))}
    assert listed == expected == {user_id for user_id, priv in ids.items() if priv & 3 == 3}


def test_hidden_player_is_visible_to_themselves_and_staff_and_the_bot_is_in_no_list(world: World) -> None:
    alice = world.add_player(a_player(priv=0))

    for viewer in (Viewer(user_id=alice), *(Viewer(99, bit) for bit in (4096, 8192, 16384))):
        assert world.run(world.accounts.user(viewer, id=alice)).id == alice
    for viewer in (Viewer(user_id=99, priv=NORMAL), Viewer(user_id=99, priv=2048)):
        with pytest.raises(NotFound):
            world.run(world.accounts.user(viewer, id=alice))
    assert world.run(world.accounts.search("bancho")) == []
    assert world.run(world.accounts.names_of([BOT_ID, alice])) == {}


def test_search_matches_signs_literally_and_omits_hidden_players(world: World) -> None:
    players = {
        name: world.add_player(a_player(name, email=f"{name[0]}@example.org")) for name in ("a_b", "bab", "[ab]")
    }
    world.add_player(a_player("cab", priv=0))

    assert world.run(world.accounts.search("AB")) == [(players["bab"], "bab"), (players["[ab]"], "[ab]")]
    assert world.run(world.accounts.search("a b")) == [(players["a_b"], "a_b")]
    assert world.run(world.accounts.search("%")) == []
