"""The owner of a new server: the first player on localhost, the player with the claim code on other domains."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select
from tests.builders import World, a_player

from kiai.errors import NotFound, Refused
from kiai.osu.privileges import DEVELOPER, OWNER, UNRESTRICTED, VERIFIED
from kiai.staff.audit import OPERATOR
from kiai.staff.ownership import ALPHABET, CODE_MS, CODES_MAX, FILE, Ownership
from kiai.storage.port import Query, scalar
from kiai.storage.tables import claim_codes

PLAYER = UNRESTRICTED | VERIFIED
HASHES = Query(select(claim_codes.c.hash), scalar)


def ownership(world: World, folder: str = "host", *, first_player_owns: bool = False) -> Ownership:
    """Return the service of a host whose data folder has this name."""
    data = world.folder / folder
    data.mkdir(exist_ok=True)
    return Ownership(world.database, world.accounts, world.clock, data, first_player_owns=first_player_owns)


def login(world: World, user_id: int, *, first_player_owns: bool = True) -> int:
    service = ownership(world, first_player_owns=first_player_owns)
    priv = world.run(service.make_first_player_owner(user_id, world.user(user_id).priv))
    assert world.user(user_id).priv == priv
    return priv


# --- the first player


@pytest.mark.parametrize("priv", [UNRESTRICTED, PLAYER], ids=["registered in the game", "added by the operator"])
def test_first_player_becomes_owner_at_login_with_audit_row(world: World, priv: int) -> None:
    first = world.add_player(a_player(priv=priv))

    assert login(world, first) == OWNER

    [row] = world.audit(first)
    assert (row.action, row.actor_id, row.source) == ("bootstrap_owner", 0, "game")


def test_second_player_does_not_become_owner(world: World) -> None:
    world.add_player(a_player())
    second = world.add_player(a_player("bob"))

    assert login(world, second) == PLAYER
    assert world.audit(second) == []


def test_first_player_does_not_become_owner_on_a_public_domain(world: World) -> None:
    first = world.add_player(a_player())

    assert login(world, first, first_player_owns=False) == PLAYER


@pytest.mark.parametrize("other", [DEVELOPER, DEVELOPER | PLAYER], ids=["restricted", "active"])
def test_first_player_does_not_become_owner_if_there_is_a_developer(world: World, other: int) -> None:
    first = world.add_player(a_player())
    world.add_player(a_player("bob", priv=other))

    assert login(world, first) == PLAYER


def test_restricted_first_player_does_not_become_owner(world: World) -> None:
    first = world.add_player(a_player(priv=VERIFIED))

    assert login(world, first) == VERIFIED


# --- codes


def test_claim_code_makes_one_owner(world: World) -> None:
    anna, boris = world.add_player(a_player()), world.add_player(a_player("boris"))
    service = ownership(world)
    code = world.run(service.claim_code()).code

    world.run(service.claim(boris, code))

    assert world.user(boris).priv == OWNER
    assert not (world.folder / "host" / FILE).exists()
    [row] = world.audit(boris)
    assert (row.action, row.actor_id, row.source) == ("claim_owner", boris, "game")
    assert code not in row.details
    with pytest.raises(NotFound):
        world.run(service.claim(anna, code))
    with pytest.raises(Refused):
        world.run(service.claim_code())
    with pytest.raises(Refused):
        world.run(service.claim_code(new=True))
    assert world.user(anna).priv == PLAYER


@pytest.mark.parametrize(
    "typed",
    [
        "{}",
        " {} ",
        "{lower}",
        "{bare}",
        "{spaced}",
        "{similar}",
    ],
)
def test_claim_code_is_accepted_in_other_spellings(world: World, typed: str) -> None:
    anna = world.add_player(a_player())
    service = ownership(world)
    code = world.run(service.claim_code()).code
    similar = code.replace("0", "o").replace("1", "l")

    world.run(
        service.claim(
            anna,
            typed.format(
                code, lower=code.lower(), bare=code.replace("-", ""), spaced=code.replace("-", " "), similar=similar
            ),
        )
    )

    assert world.user(anna).priv == OWNER


@pytest.mark.parametrize("wrong", ["", "0000-0000-0000-0000", "\0", "\ud800", "'; --", "%", "x" * 64])
def test_wrong_claim_code_is_rejected_and_right_one_stays_valid(world: World, wrong: str) -> None:
    anna = world.add_player(a_player())
    service = ownership(world)
    code = world.run(service.claim_code()).code

    with pytest.raises(NotFound):
        world.run(service.claim(anna, wrong))

    assert world.user(anna).priv == PLAYER
    world.run(service.claim(anna, code))


def test_restricted_player_cannot_claim_and_code_stays_valid(world: World) -> None:
    anna, boris = world.add_player(a_player(priv=VERIFIED)), world.add_player(a_player("boris"))
    service = ownership(world)
    code = world.run(service.claim_code()).code

    with pytest.raises(NotFound):
        world.run(service.claim(anna, code))

    world.run(service.claim(boris, code))
    assert world.user(anna).priv == VERIFIED


def test_claim_code_is_refused_after_the_operator_made_an_owner(world: World) -> None:
    anna, boris = world.add_player(a_player()), world.add_player(a_player("boris"))
    service = ownership(world)
    code = world.run(service.claim_code()).code
    world.run(world.staff.grant(OPERATOR, "boris", ["owner"]))

    with pytest.raises(Refused, match="already has an owner"):
        world.run(service.claim(anna, code))

    assert (world.user(anna).priv, world.user(boris).priv) == (PLAYER, OWNER)


def test_claim_code_has_80_random_bits_and_only_its_hash_is_stored(world: World) -> None:
    service = ownership(world)
    codes = [world.run(service.claim_code(new=True)).code for _ in range(20)]

    assert len(set(codes)) == 20
    for code in codes:
        groups = code.split("-")
        assert [len(group) for group in groups] == [4, 4, 4, 4]
        assert set("".join(groups)) <= set(ALPHABET)
    [stored] = world.run(world.database.all(HASHES))
    assert codes[-1].encode() not in stored
    assert len(stored) == 32
    file = world.folder / "host" / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_claim_code_stays_the_same_until_it_expires(world: World) -> None:
    anna = world.add_player(a_player())
    first = world.run(ownership(world).claim_code())
    world.clock.advance(CODE_MS / 1000 - 1)

    assert world.run(ownership(world).claim_code()) == first

    world.clock.advance(2)
    with pytest.raises(NotFound):
        world.run(ownership(world).claim(anna, first.code))
    second = world.run(ownership(world).claim_code())
    assert second.code != first.code
    assert second.expires_at_ms == world.clock.now_ms() + CODE_MS


def test_new_claim_code_invalidates_all_others(world: World) -> None:
    anna = world.add_player(a_player())
    old = [world.run(ownership(world, name).claim_code()).code for name in ("one", "two")]

    new = world.run(ownership(world, "one").claim_code(new=True)).code

    for code in old:
        with pytest.raises(NotFound):
            world.run(ownership(world).claim(anna, code))
    world.run(ownership(world, "two").claim(anna, new))


def test_code_of_each_host_is_valid_on_all_hosts(world: World) -> None:
    anna = world.add_player(a_player())
    codes = [world.run(ownership(world, name).claim_code()).code for name in ("one", "two")]

    assert len(set(codes)) == 2
    assert [world.run(ownership(world, name).claim_code()).code for name in ("one", "two")] == codes
    world.run(ownership(world, "three").claim(anna, codes[0]))
    with pytest.raises(NotFound):
        world.run(ownership(world, "three").claim(anna, codes[1]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a code", b"0000-0000-0000-0000\n"])
def test_file_without_valid_code_is_replaced(world: World, content: bytes) -> None:
    anna = world.add_player(a_player())
    service = ownership(world)
    (world.folder / "host" / FILE).write_bytes(content)

    code = world.run(service.claim_code()).code

    world.run(service.claim(anna, code))


def test_number_of_valid_codes_is_bounded(world: World) -> None:
    for number in range(CODES_MAX + 5):
        world.run(ownership(world, f"host{number}").claim_code())
        world.clock.advance(1)

    assert len(world.run(world.database.all(HASHES))) == CODES_MAX


@pytest.mark.parametrize("codes", [1, 2], ids=["one code", "a code each"])
def test_concurrent_claims_make_one_owner(world: World, codes: int) -> None:
    players = [world.add_player(a_player(f"player{number}x")) for number in range(8)]
    valid = [world.run(ownership(world, f"host{number}").claim_code()).code for number in range(codes)]

    async def claim_all() -> Sequence[BaseException | None]:
        claims = [ownership(world).claim(player, valid[number % codes]) for number, player in enumerate(players)]
        return await asyncio.gather(*claims, return_exceptions=True)

    errors = [error for error in world.run(claim_all()) if error is not None]

    assert [type(error) for error in errors] == [NotFound] * 7
    assert sorted(world.user(player).priv for player in players) == [PLAYER] * 7 + [OWNER]
