import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.privileges import (
    PERMISSIONS,
    ROLES,
    Privilege,
    client_privileges,
    effective,
    may,
    privilege_names,
    staff_rank,
)

PLAYER = 3
STORED = st.integers(0, 2**31 - 1)
RANKED = {
    Privilege.MODERATOR: ("users.silence", 1),
    Privilege.ADMINISTRATOR: ("users.restrict", 2),
    Privilege.DEVELOPER: ("users.privileges", 3),
}


@given(STORED)
def test_restricted_account_has_no_permissions(priv: int) -> None:
    restricted = priv & ~1

    assert effective(restricted) == 0
    assert staff_rank(restricted) == 0
    assert client_privileges(restricted) == 0
    assert not any(may(restricted, permission) for permission in PERMISSIONS)


@pytest.mark.parametrize("role", RANKED)
def test_each_staff_rank_includes_the_permissions_below(role: Privilege) -> None:
    priv = PLAYER | int(role)

    assert staff_rank(priv) == RANKED[role][1]
    for permission, rank in RANKED.values():
        assert may(priv, permission) == (rank <= staff_rank(priv))


def test_developer_has_all_permissions_except_those_of_donors() -> None:
    donors_only = {"users.rename_self", "comments.bypass_colour", "scores.overwrite"}

    denied = {permission for permission in PERMISSIONS if not may(PLAYER | int(Privilege.DEVELOPER), permission)}

    assert denied == donors_only


def test_administrator_cannot_nominate_or_referee() -> None:
    priv = PLAYER | int(Privilege.ADMINISTRATOR)

    assert not may(priv, "beatmaps.set_status")
    assert not may(priv, "matches.referee_any")


@pytest.mark.parametrize("role", [Privilege.NOMINATOR, Privilege.TOURNEY_MANAGER, Privilege.ALUMNI])
def test_nominators_referees_and_alumni_have_no_staff_rank(role: Privilege) -> None:
    assert staff_rank(PLAYER | int(role)) == 0


@pytest.mark.parametrize("role", [Privilege.SUPPORTER, Privilege.PREMIUM, Privilege.TOURNEY_MANAGER])
def test_donors_and_tourney_managers_can_use_the_tournament_client(role: Privilege) -> None:
    assert not may(PLAYER, "client.tournament")
    assert may(PLAYER | int(role), "client.tournament")


def test_only_verified_players_can_chat() -> None:
    assert not may(1, "chat.write")
    assert may(3, "chat.write")


def test_unknown_permission_raises_key_error() -> None:
    with pytest.raises(KeyError):
        may(PLAYER, "users.bless")


def test_owner_has_every_privilege() -> None:
    assert ROLES["owner"] == 31927
    assert staff_rank(ROLES["owner"]) == 3


@given(STORED)
def test_privilege_names_are_roles_with_the_same_bits(priv: int) -> None:
    bits = sum(ROLES[name] for name in privilege_names(priv))

    assert bits == priv & ROLES["owner"]


@pytest.mark.parametrize(
    ("bits", "client"),
    [(0, 1), (2, 1), (16, 5), (32, 5), (48, 5), (4096, 3), (8192, 17), (16384, 9), (1024, 33), (2048, 1), (31926, 63)],
)
def test_client_privileges_have_the_bits_of_the_client(bits: int, client: int) -> None:
    assert client_privileges(1 | bits) == client
