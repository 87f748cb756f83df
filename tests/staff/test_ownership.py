"""Who becomes the owner of a server that has none: the first player on this machine, elsewhere who knows the code."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select
from tests.builders import World, a_player

from kiai.errors import NotFound, Refused
from kiai.osu.privileges import DEVELOPER, OWNER, UNRESTRICTED, VERIFIED
from kiai.staff.audit import OPERATOR
from kiai.staff.ownership import ALPHABET, CODE_MS, CODES_MAX, FILE, Ownership
from kiai.storage.port import Query, only
from kiai.storage.tables import claim_codes

PLAYER = UNRESTRICTED | VERIFIED
HASHES = Query(select(claim_codes.c.hash), only)


def ownership(world: World, folder: str = "host", *, first_player_owns: bool = False) -> Ownership:
    """That of a host with a data folder of this name."""
    data = world.folder / folder
    data.mkdir(exist_ok=True)
    return Ownership(world.database, world.accounts, world.clock, data, first_player_owns=first_player_owns)


def login(world: World, user_id: int, *, first_player_owns: bool = True) -> int:
    here = ownership(world, first_player_owns=first_player_owns)
    priv = world.run(here.settle_first_player(user_id, world.user(user_id).priv))
    assert world.user(user_id).priv == priv
    return priv


# --- the first player


@pytest.mark.parametrize("priv", [UNRESTRICTED, PLAYER], ids=["made in the game", "made by users add"])
def test_the_first_player_becomes_the_owner_at_a_login_and_the_log_says_so(world: World, priv: int) -> None:
    first = world.add_player(a_player(priv=priv))

    assert login(world, first) == OWNER

    [row] = world.audit(first)
    assert (row.action, row.actor_id, row.source) == ("bootstrap_owner", 0, "game")


def test_nobody_else_does(world: World) -> None:
    world.add_player(a_player())
    second = world.add_player(a_player("bob"))

    assert login(world, second) == PLAYER
    assert world.audit(second) == []


def test_nobody_does_on_a_domain_that_others_can_reach(world: World) -> None:
    first = world.add_player(a_player())

    assert login(world, first, first_player_owns=False) == PLAYER


@pytest.mark.parametrize("other", [DEVELOPER, DEVELOPER | PLAYER], ids=["restricted", "active"])
def test_the_first_player_does_not_where_somebody_else_is_a_developer(world: World, other: int) -> None:
    first = world.add_player(a_player())
    world.add_player(a_player("bob", priv=other))

    assert login(world, first) == PLAYER


def test_a_restricted_first_player_does_not(world: World) -> None:
    first = world.add_player(a_player(priv=VERIFIED))

    assert login(world, first) == VERIFIED


# --- codes


def test_a_code_makes_an_owner_once(world: World) -> None:
    anna, boris = world.add_player(a_player()), world.add_player(a_player("boris"))
    here = ownership(world)
    code = world.run(here.claim_code()).code

    world.run(here.claim(boris, code))

    assert world.user(boris).priv == OWNER
    assert not (world.folder / "host" / FILE).exists()
    [row] = world.audit(boris)
    assert (row.action, row.actor_id, row.source) == ("claim_owner", boris, "game")
    assert code not in row.details
    with pytest.raises(NotFound):
        world.run(here.claim(anna, code))
    with pytest.raises(Refused):
        world.run(here.claim_code())
    with pytest.raises(Refused):
        world.run(here.claim_code(new=True))
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
def test_a_code_may_be_typed_as_people_do(world: World, typed: str) -> None:
    anna = world.add_player(a_player())
    here = ownership(world)
    code = world.run(here.claim_code()).code
    similar = code.replace("0", "o").replace("1", "l")

    world.run(
        here.claim(
            anna,
            typed.format(
                code, lower=code.lower(), bare=code.replace("-", ""), spaced=code.replace("-", " "), similar=similar
            ),
        )
    )

    assert world.user(anna).priv == OWNER


@pytest.mark.parametrize("wrong", ["", "0000-0000-0000-0000", "\0", "\ud800", "'; --", "%", "x" * 64])
def test_a_wrong_code_makes_nobody_owner_and_the_right_one_stays(world: World, wrong: str) -> None:
    anna = world.add_player(a_player())
    here = ownership(world)
    code = world.run(here.claim_code()).code

    with pytest.raises(NotFound):
        world.run(here.claim(anna, wrong))

    assert world.user(anna).priv == PLAYER
    world.run(here.claim(anna, code))


def test_a_restricted_player_cannot_claim_and_the_code_stays(world: World) -> None:
    anna, boris = world.add_player(a_player(priv=VERIFIED)), world.add_player(a_player("boris"))
    here = ownership(world)
    code = world.run(here.claim_code()).code

    with pytest.raises(NotFound):
        world.run(here.claim(anna, code))

    world.run(here.claim(boris, code))
    assert world.user(anna).priv == VERIFIED


def test_a_code_is_of_no_use_once_the_operator_has_made_an_owner(world: World) -> None:
    anna, boris = world.add_player(a_player()), world.add_player(a_player("boris"))
    here = ownership(world)
    code = world.run(here.claim_code()).code
    world.run(world.staff.grant(OPERATOR, "boris", ["owner"]))

    with pytest.raises(Refused, match="has an owner already"):
        world.run(here.claim(anna, code))

    assert (world.user(anna).priv, world.user(boris).priv) == (PLAYER, OWNER)


def test_a_code_has_80_random_bits_and_the_database_does_not_hold_it(world: World) -> None:
    here = ownership(world)
    codes = [world.run(here.claim_code(new=True)).code for _ in range(20)]

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


def test_a_code_is_shown_again_until_it_expires(world: World) -> None:
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


def test_a_new_code_ends_all_others(world: World) -> None:
    anna = world.add_player(a_player())
    old = [world.run(ownership(world, name).claim_code()).code for name in ("one", "two")]

    new = world.run(ownership(world, "one").claim_code(new=True)).code

    for code in old:
        with pytest.raises(NotFound):
            world.run(ownership(world).claim(anna, code))
    world.run(ownership(world, "two").claim(anna, new))


def test_every_host_shows_a_code_that_is_valid_everywhere(world: World) -> None:
    anna = world.add_player(a_player())
    codes = [world.run(ownership(world, name).claim_code()).code for name in ("one", "two")]

    assert len(set(codes)) == 2
    assert [world.run(ownership(world, name).claim_code()).code for name in ("one", "two")] == codes
    world.run(ownership(world, "three").claim(anna, codes[0]))
    with pytest.raises(NotFound):
        world.run(ownership(world, "three").claim(anna, codes[1]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a code", b"0000-0000-0000-0000\n"])
def test_a_file_that_holds_no_valid_code_gives_way_to_a_new_one(world: World, content: bytes) -> None:
    anna = world.add_player(a_player())
    here = ownership(world)
    (world.folder / "host" / FILE).write_bytes(content)

    code = world.run(here.claim_code()).code

    world.run(here.claim(anna, code))


def test_the_codes_of_hosts_that_forget_are_bounded(world: World) -> None:
    for number in range(CODES_MAX + 5):
        world.run(ownership(world, f"host{number}").claim_code())
        world.clock.advance(1)

    assert len(world.run(world.database.all(HASHES))) == CODES_MAX


@pytest.mark.parametrize("codes", [1, 2], ids=["one code", "a code each"])
def test_of_many_who_claim_at_once_one_becomes_the_owner(world: World, codes: int) -> None:
    players = [world.add_player(a_player(f"player{number}x")) for number in range(8)]
    known = [world.run(ownership(world, f"host{number}").claim_code()).code for number in range(codes)]

    async def storm() -> Sequence[BaseException | None]:
        claims = [ownership(world).claim(one, known[number % codes]) for number, one in enumerate(players)]
        return await asyncio.gather(*claims, return_exceptions=True)

    failures = [one for one in world.run(storm()) if one is not None]

    assert [type(one) for one in failures] == [NotFound] * 7
    assert sorted(world.user(one).priv for one in players) == [PLAYER] * 7 + [OWNER]
