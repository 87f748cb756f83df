"""The search of accounts for staff: filters, cursors, and searches by private data, on both databases."""

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from tests.builders import NORMAL, NOW_MS, World, a_player

from kiai.errors import NotAllowed
from kiai.osu.privileges import ADMINISTRATOR, MODERATOR, NOMINATOR
from kiai.staff import OPERATOR, Actor
from kiai.staff.devices import Devices
from kiai.staff.user_filters import ORDERS, ROLE_BITS, STATES, Order, UserFilter
from kiai.staff.user_search import PAGE, FoundUsers, UserSearch, private_kind
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import account_events, audit_log, client_hashes, logins, users

DAY_MS = 86_400_000
HASH = "5d41402abc4b2a76b9719d911017c592"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "restricted": {"priv": 2},
    "banned": {"priv": 2, "banned_at_ms": 5},
    "silenced": {"silenced_until_ms": NOW_MS + 1_000},
    "silent before": {"silenced_until_ms": NOW_MS - 1_000},
    "frozen": {"freeze_until_ms": NOW_MS + 1_000},
    "deleted": {"priv": 0, "deleted_at_ms": 5, "banned_at_ms": 5},
    "supporter": {"priv": NORMAL | 16},
    "nominator": {"priv": NORMAL | NOMINATOR, "country": "de"},
    "hidden german": {"country": "xx", "home_country": "de"},
    "old": {"created_at_ms": NOW_MS - 400 * DAY_MS, "active_at_ms": NOW_MS - 300 * DAY_MS},
    "restricted german": {"priv": 2, "country": "de"},
}
FILTERS = [
    *[UserFilter(state=state) for state in STATES],
    *[UserFilter(role=role) for role in ("supporter", "nominator", "developer")],
    UserFilter(country="de"),
    UserFilter(country="de", role="nominator"),
    UserFilter(country="de", state="restricted"),
    UserFilter(joined_until_ms=NOW_MS - DAY_MS),
    UserFilter(joined_since_ms=NOW_MS - DAY_MS),
    UserFilter(seen_until_ms=NOW_MS - DAY_MS),
    UserFilter(seen_since_ms=NOW_MS - DAY_MS, role="supporter"),
    UserFilter(state="restricted", role="supporter"),
]


def write(world: World, statement: Any, **values: Any) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(Command(statement), **values)

    world.run(world.database.transaction(body))


def accounts(world: World) -> dict[str, int]:
    """Register the accounts, in the order of the table. Return their ids."""
    found = {}
    for number, (name, values) in enumerate(ACCOUNTS.items()):
        found[name] = world.add_player(a_player(f"player {number}"))
        if values:
            write(world, update(users).where(users.c.id == found[name]).values(**values))
    return found


def search_of(world: World) -> UserSearch:
    return UserSearch(world.database, world.authority, world.clock)


def ids(found: FoundUsers) -> list[int]:
    return [user.id for user in found.users]


@pytest.mark.parametrize("wanted", FILTERS, ids=repr)
def test_filtered_list_has_all_accounts_that_fit_in_each_order(world: World, wanted: UserFilter) -> None:
    created = {user_id: world.user(user_id) for user_id in accounts(world).values()}
    created[1] = world.user(1)  # the bot
    fitting = [user for user in created.values() if wanted.fits(user, world.clock.now_ms())]
    fitting.sort(key=lambda user: (user.created_at_ms, user.id) if wanted.lead == "joined" else (user.id,))
    oldest = [user.id for user in fitting]
    by_name = [user.id for user in sorted(fitting, key=lambda user: user.safe_name)]

    found = {order: ids(world.run(search_of(world).listed(OPERATOR, wanted, order))) for order in ORDERS}

    assert found == {"newest": oldest[::-1], "oldest": oldest, "name": by_name}


def test_states_exclude_each_other_and_a_silence_that_is_over_is_none(world: World) -> None:
    by_name = accounts(world)

    def of(state: str = "", country: str = "") -> list[int]:
        return ids(world.run(search_of(world).listed(OPERATOR, UserFilter(state=state, country=country))))

    assert of(state="restricted") == [by_name["restricted german"], by_name["restricted"]]
    assert of(state="banned") == [by_name["banned"]]
    assert of(state="silenced") == [by_name["silenced"]]
    assert of(state="deleted") == [by_name["deleted"]]
    assert of(country="de") == [by_name[name] for name in ("restricted german", "hidden german", "nominator")]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "wanted",
    [UserFilter(country="nl"), UserFilter(joined_since_ms=5), UserFilter(), UserFilter(role="supporter")],
    ids=["country", "time", "all", "role"],
)
def test_pages_follow_each_other_without_gaps(world: World, wanted: UserFilter, order: Order) -> None:
    created = [world.add_player(a_player(f"player {number}")) for number in range(PAGE + 2)]
    # The newest id has joined first: an import can do that.
    write(world, update(users).where(users.c.id == created[-1]).values(created_at_ms=NOW_MS - DAY_MS))
    write(world, update(users).values(priv=NORMAL | 16))
    search = search_of(world)

    first = world.run(search.listed(OPERATOR, wanted, order))
    second = world.run(search.listed(OPERATOR, wanted, order, after=first.after))

    assert len(first.users) == PAGE
    assert second.after is None
    shown = [user_id for user_id in ids(first) + ids(second) if user_id != 1]
    assert sorted(shown) == created
    assert len(set(shown)) == len(shown)


def test_bits_of_the_roles_are_those_of_the_index() -> None:
    assert ROLE_BITS == 31924


@pytest.mark.parametrize("order", ORDERS)
def test_export_has_the_first_accounts_of_the_list_and_one_audit_row(world: World, order: Order) -> None:
    created = [world.add_player(a_player(f"player {number}")) for number in range(7)]
    write(world, update(users).where(users.c.id.in_(created)).values(country="de", home_country=None))
    wanted, actor = UserFilter(country="de", seen_until_ms=NOW_MS), staff(world, MODERATOR)
    in_order = created[::-1] if order == "newest" else created

    found = world.run(search_of(world).export(actor, wanted, order, most=5, at_once=2))

    assert [user.id for user in found] == in_order[:5]
    everything = world.run(search_of(world).export(actor, wanted, order, most=50, at_once=7))
    assert [user.id for user in everything] == in_order
    columns = [audit_log.c[name] for name in ("actor_id", "target_kind", "target_id", "details")]
    rows = world.look(select(*columns).where(audit_log.c.action == "user_export").order_by(audit_log.c.id))
    assert [row[:3] for row in rows] == [(actor.user_id, "server", 0)] * 2
    filters = {"country": "de", "seen_until_ms": NOW_MS}
    assert [json.loads(row[3]) for row in rows] == [
        {"filters": filters, "order": order, "accounts": 5},
        {"filters": filters, "order": order, "accounts": 7},
    ]


def test_export_needs_the_permission_and_records_nothing_without_it(world: World) -> None:
    player = Actor(world.add_player(a_player("player")), "web")

    with pytest.raises(NotAllowed):
        world.run(search_of(world).export(player, UserFilter(), "newest", most=5, at_once=5))

    assert world.look(select(audit_log.c.id).where(audit_log.c.action == "user_export")) == []


def test_matches_of_a_text_have_the_order_that_is_asked_for(world: World) -> None:
    inside, beginning = world.add_player(a_player("big anna")), world.add_player(a_player("annabel"))
    search = search_of(world)

    def found(order: Order | None) -> list[int]:
        return ids(world.run(search.named(OPERATOR, "anna", order)))

    assert found(None) == [beginning, inside]
    assert found("oldest") == [inside, beginning]
    assert found("newest") == [beginning, inside]
    assert found("name") == [beginning, inside]


def staff(world: World, priv: int) -> Actor:
    return Actor(world.add_player(a_player(f"staff{priv}", priv=NORMAL | priv)), "web")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Alice@Example.org", "email"),
        ("203.0.113.7", "address"),
        ("2001:db8::1", "address"),
        ("::ffff:203.0.113.7", "address"),
        (HASH.upper(), "hardware"),
        ("alice", None),
        ("12", None),
        ("#12", None),
        (HASH[:31], None),
    ],
)
def test_text_says_what_is_private_about_it(text: str, kind: str | None) -> None:
    assert private_kind(text) == kind


def with_private_data(world: World) -> dict[str, int]:
    found = {name: world.add_player(a_player(name)) for name in ("alice", "bob", "carol")}
    login = {"at_ms": 5, "build": 20260101, "stream": "stable40"}
    write(world, insert(logins).values(user_id=found["alice"], address="203.0.113.7", **login))
    event = {"at_ms": 5, "failed": 0, "source": "web", "agent": ""}
    write(world, insert(account_events).values(user_id=found["bob"], address="203.0.113.7", kind="register", **event))
    device = {"exe": "x", "first_at_ms": 5, "last_at_ms": 5, "uses": 1, "wine": 0}
    hashes = {"adapters": "a" * 32, "uninstall": "b" * 32, "disk": HASH}
    write(world, insert(client_hashes).values(user_id=found["carol"], **hashes, **device))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALICE@example.org", ["alice"]),
        ("203.0.113.7", ["bob", "alice"]),
        ("::ffff:203.0.113.7", ["bob", "alice"]),
        (HASH.upper(), ["carol"]),
        ("a" * 32, ["carol"]),
        ("203.0.113.70", []),
        ("nobody@example.org", []),
    ],
)
def test_private_search_finds_exact_values_and_the_log_does_not_contain_them(
    world: World, text: str, expected: list[str]
) -> None:
    by_name = with_private_data(world)
    actor = staff(world, ADMINISTRATOR)

    found = world.run(search_of(world).private(actor, text))

    assert ids(found) == [by_name[name] for name in expected]
    orders: dict[Order, list[str]] = {"oldest": expected[::-1], "name": sorted(expected)}
    for order, in_order in orders.items():
        assert ids(world.run(search_of(world).private(OPERATOR, text, order))) == [by_name[name] for name in in_order]
    columns = [audit_log.c[name] for name in ("actor_id", "target_kind", "target_id", "reason", "details")]
    row, *_ = world.look(select(*columns).where(audit_log.c.action == "user_search").order_by(audit_log.c.id))
    assert row[:4] == (actor.user_id, "server", 0, "")
    assert json.loads(row[4]) == {"by": private_kind(text), "found": ids(found)}


def test_private_search_needs_the_permission_and_records_nothing_without_it(world: World) -> None:
    with_private_data(world)

    with pytest.raises(NotAllowed):
        world.run(search_of(world).private(staff(world, MODERATOR), "203.0.113.7"))

    assert world.look(select(audit_log.c.id).where(audit_log.c.action == "user_search")) == []


def test_moderator_reads_filtered_lists_and_a_player_does_not(world: World) -> None:
    player = Actor(world.add_player(a_player("player")), "web")

    assert ids(world.run(search_of(world).listed(staff(world, MODERATOR), UserFilter(country="nl"))))
    with pytest.raises(NotAllowed):
        world.run(search_of(world).listed(player, UserFilter(country="nl")))


def test_address_of_the_registration_links_accounts(world: World) -> None:
    by_name = with_private_data(world)
    devices = Devices(world.database, world.authority, world.clock)

    from_login = world.run(devices.matches(OPERATOR, world.user(by_name["alice"])))
    from_registration = world.run(devices.matches(OPERATOR, world.user(by_name["bob"])))

    assert [(match.player.id, match.kinds) for match in from_login] == [(by_name["bob"], ["address"])]
    assert [(match.player.id, match.kinds) for match in from_registration] == [(by_name["alice"], ["address"])]
