"""Other accounts on the devices and addresses of an account, for staff (docs/spec/sessions.md#shared-devices).

Answers contain the kinds of matches, and never a hash or an address.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, FromClause, Table, bindparam, func, literal, select

from kiai.accounts import Account, User
from kiai.accounts.login_records import MEANINGLESS
from kiai.accounts.queries import DEVICE_ROWS_MAX
from kiai.clock import Clock
from kiai.networks import is_loopback
from kiai.osu.privileges import UNRESTRICTED
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Database, Query, Transaction, scalar
from kiai.storage.tables import account_events, client_hashes, logins, shared_devices, users

PERMISSION: Final = "users.devices"
MATCHES_MAX: Final = 100
"""Matching accounts of one hash or address, those with a sanction first."""
HASHES_MAX: Final = 200
"""Hashes of each kind that are compared, as many as an account has."""
ADDRESS_ROWS_MAX: Final = 50_000
"""Logins from one address that are read. An account has up to 1,000."""
LOGINS_READ: Final = 200
ADDRESSES_MAX: Final = 20
HASH_KINDS: Final = ("uninstall", "disk", "adapters")
KINDS: Final = (*HASH_KINDS, "address")


class MatchedPlayer(msgspec.Struct, frozen=True):
    """Another account. `restricted` is also true for banned accounts."""

    id: int
    name: str
    restricted: bool


class DeviceMatch(msgspec.Struct, frozen=True):
    """Another account on a device or address of the player.

    `kinds` are the equal parts, out of `KINDS`. `first_at` and `last_at` are the first and last time that the other
    account was seen there, in unix seconds.
    """

    player: MatchedPlayer
    kinds: list[str]
    first_at: int
    last_at: int


class _Seen(msgspec.Struct, frozen=True):
    """An account with an equal hash or address, and when it was seen with it."""

    user_id: int
    name: str
    priv: int
    first_at_ms: int
    last_at_ms: int


# Under wine, the hashes except `uninstall` are the same on many devices.
_without_wine: Final = client_hashes.c.wine == 0
_SANCTIONED_FIRST: Final = (users.c.priv.op("&")(UNRESTRICTED), users.c.id)


def _own_hashes(kind: str) -> Query[str]:
    own = client_hashes.c[kind]
    shared = select(shared_devices.c.hash).where(shared_devices.c.hash == own)
    statement = (
        select(own)
        .distinct()
        .where(client_hashes.c.user_id == bindparam("user_id"), own.not_in(sorted(MEANINGLESS)), ~shared.exists())
        .limit(HASHES_MAX)
    )
    return Query(statement if kind == "uninstall" else statement.where(_without_wine), scalar)


def _with_hash(kind: str) -> Query[_Seen]:
    equal = select(client_hashes).where(
        client_hashes.c[kind] == bindparam("hash"), client_hashes.c.user_id != bindparam("user_id")
    )
    if kind != "uninstall":
        equal = equal.where(_without_wine)
    other = equal.limit(DEVICE_ROWS_MAX).subquery("other")
    return Query(
        select(users.c.id, users.c.name, users.c.priv, func.min(other.c.first_at_ms), func.max(other.c.last_at_ms))
        .select_from(other.join(users, users.c.id == other.c.user_id))
        .group_by(users.c.id, users.c.name, users.c.priv)
        .order_by(*_SANCTIONED_FIRST)
        .limit(MATCHES_MAX),
        _Seen,
    )


def _with_address(table: Table, kind: str | None = None) -> Query[_Seen]:
    """Return the query of the accounts in the rows of a table with an address, and with a kind unless it is None."""
    here = table.c.address == bindparam("address")
    # In the order of the index, so that neither engine reads or sorts more than these rows.
    rows = (
        select(table)
        .where(here, table.c.user_id != bindparam("user_id"))
        .order_by(table.c.user_id)
        .limit(ADDRESS_ROWS_MAX)
        .subquery("at_address")
    )

    def of_kind(source: FromClause) -> list[ColumnElement[bool]]:
        return [] if kind is None else [source.c.kind == literal(kind)]

    accounts = select(rows.c.user_id).where(*of_kind(rows)).distinct().subquery("accounts")
    found = (
        select(users.c.id, users.c.name, users.c.priv)
        .select_from(accounts.join(users, users.c.id == accounts.c.user_id))
        .order_by(*_SANCTIONED_FIRST)
        .limit(MATCHES_MAX)
        .subquery("found")
    )
    first, last = (
        select(chosen(table.c.at_ms)).where(here, table.c.user_id == found.c.id, *of_kind(table)).scalar_subquery()
        for chosen in (func.min, func.max)
    )
    return Query(select(found.c.id, found.c.name, found.c.priv, first, last).limit(MATCHES_MAX), _Seen)


_OWN_HASHES: Final = {kind: _own_hashes(kind) for kind in HASH_KINDS}
_BY_HASH: Final = {kind: _with_hash(kind) for kind in HASH_KINDS}
_ADDRESSES = Query(
    select(logins.c.address)
    .where(logins.c.user_id == bindparam("user_id"))
    .order_by(logins.c.id.desc())
    .limit(LOGINS_READ),
    lambda address: str(address),
)
# An account with many events has lost the row of its registration. Then only its logins count.
_REGISTERED: Final = "register"
_OWN_REGISTRATION = Query(
    select(account_events.c.address)
    .where(
        account_events.c.user_id == bindparam("user_id"),
        account_events.c.failed == 0,
        account_events.c.kind == literal(_REGISTERED),
    )
    .order_by(account_events.c.id)
    .limit(1),
    lambda address: str(address),
)
_BY_REGISTRATION = _with_address(account_events, _REGISTERED)
_BY_ADDRESS = _with_address(logins)


class Devices:
    """Finds accounts that share devices or addresses with an account."""

    def __init__(self, database: Database, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock

    async def matches(self, actor: Actor, player: User | Account) -> list[DeviceMatch]:
        """Return the matching accounts, those with a sanction first. Writes an audit row. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        found: dict[int, dict[str, _Seen]] = {}
        for kind in HASH_KINDS:
            for one in await self._database.all(_OWN_HASHES[kind], user_id=player.id):
                for seen in await self._database.all(_BY_HASH[kind], user_id=player.id, hash=one):
                    _add(found, kind, seen)
        registered = await self._database.all(_OWN_REGISTRATION, user_id=player.id)
        addresses = dict.fromkeys([*registered, *await self._database.all(_ADDRESSES, user_id=player.id)])
        for address in [one for one in addresses if one and not is_loopback(one)][:ADDRESSES_MAX]:
            by_address = [
                seen
                for query in (_BY_ADDRESS, _BY_REGISTRATION)
                for seen in await self._database.all(query, user_id=player.id, address=address)
            ]
            for seen in by_address:
                _add(found, "address", seen)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(tx, actor, "multi_check", at_ms=now, target_kind="user", target_id=player.id)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        matches = [_match(kinds) for kinds in found.values()]
        return sorted(matches, key=lambda match: (not match.player.restricted, match.player.id))


def _add(found: dict[int, dict[str, _Seen]], kind: str, seen: _Seen) -> None:
    kinds = found.setdefault(seen.user_id, {})
    kinds[kind] = _both(kinds.get(kind, seen), seen)


def _both(one: _Seen, other: _Seen) -> _Seen:
    first, last = min(one.first_at_ms, other.first_at_ms), max(one.last_at_ms, other.last_at_ms)
    return msgspec.structs.replace(one, first_at_ms=first, last_at_ms=last)


def _match(kinds: dict[str, Any]) -> DeviceMatch:
    seen: list[_Seen] = list(kinds.values())
    one = seen[0]
    return DeviceMatch(
        MatchedPlayer(one.user_id, one.name, not one.priv & UNRESTRICTED),
        [kind for kind in KINDS if kind in kinds],
        min(other.first_at_ms for other in seen) // 1000,
        max(other.last_at_ms for other in seen) // 1000,
    )
