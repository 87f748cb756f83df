"""Other accounts on the devices and addresses of an account, for staff (docs/spec/sessions.md#shared-devices).

Answers contain the kinds of matches, and never a hash or an address.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, func, literal_column, select

from kiai.accounts import Account, User
from kiai.accounts.login_records import MEANINGLESS
from kiai.clock import Clock
from kiai.networks import is_loopback
from kiai.osu.privileges import UNRESTRICTED
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Database, Query, Transaction
from kiai.storage.tables import account_events, client_hashes, logins, shared_devices, users

PERMISSION: Final = "users.devices"
MATCHES_MAX: Final = 100
"""Matching accounts of each kind, those with a sanction first."""
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


_own, _other = client_hashes.alias("own"), client_hashes.alias("other")
_SANCTIONED_FIRST: Final = (users.c.priv.op("&")(UNRESTRICTED), users.c.id)


def _same_hash(kind: str) -> Query[_Seen]:
    shared = select(shared_devices.c.hash).where(shared_devices.c.hash == _own.c[kind])
    statement = (
        select(users.c.id, users.c.name, users.c.priv, func.min(_other.c.first_at_ms), func.max(_other.c.last_at_ms))
        .select_from(_own.join(_other, _other.c[kind] == _own.c[kind]).join(users, users.c.id == _other.c.user_id))
        .where(
            _own.c.user_id == bindparam("user_id"),
            _other.c.user_id != bindparam("user_id"),
            _own.c[kind].not_in(sorted(MEANINGLESS)),
            ~shared.exists(),
        )
        .group_by(users.c.id, users.c.name, users.c.priv)
        .order_by(*_SANCTIONED_FIRST)
        .limit(MATCHES_MAX)
    )
    if kind != "uninstall":  # under wine, the others are the same on many devices
        statement = statement.where(_own.c.wine == 0, _other.c.wine == 0)
    return Query(statement, _Seen)


_BY_HASH: Final = {kind: _same_hash(kind) for kind in HASH_KINDS}
_ADDRESSES = Query(
    select(logins.c.address)
    .where(logins.c.user_id == bindparam("user_id"))
    .order_by(logins.c.id.desc())
    .limit(LOGINS_READ),
    lambda address: str(address),
)
# An account with many events has lost the row of its registration. Then only its logins count.
_REGISTERED: Final[Any] = account_events.c.kind == literal_column("'register'")
_OWN_REGISTRATION = Query(
    select(account_events.c.address)
    .where(account_events.c.user_id == bindparam("user_id"), account_events.c.failed == 0, _REGISTERED)
    .order_by(account_events.c.id)
    .limit(1),
    lambda address: str(address),
)
_BY_REGISTRATION = Query(
    select(users.c.id, users.c.name, users.c.priv, func.min(account_events.c.at_ms), func.max(account_events.c.at_ms))
    .select_from(account_events.join(users, users.c.id == account_events.c.user_id))
    .where(
        account_events.c.address == bindparam("address"),
        account_events.c.user_id != bindparam("user_id"),
        _REGISTERED,
    )
    .group_by(users.c.id, users.c.name, users.c.priv)
    .order_by(*_SANCTIONED_FIRST)
    .limit(MATCHES_MAX),
    _Seen,
)
_BY_ADDRESS = Query(
    select(users.c.id, users.c.name, users.c.priv, func.min(logins.c.at_ms), func.max(logins.c.at_ms))
    .select_from(logins.join(users, users.c.id == logins.c.user_id))
    .where(logins.c.address == bindparam("address"), logins.c.user_id != bindparam("user_id"))
    .group_by(users.c.id, users.c.name, users.c.priv)
    .order_by(*_SANCTIONED_FIRST)
    .limit(MATCHES_MAX),
    _Seen,
)


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
        for kind, query in _BY_HASH.items():
            for seen in await self._database.all(query, user_id=player.id):
                found.setdefault(seen.user_id, {})[kind] = seen
        registered = await self._database.all(_OWN_REGISTRATION, user_id=player.id)
        addresses = dict.fromkeys([*registered, *await self._database.all(_ADDRESSES, user_id=player.id)])
        for address in [one for one in addresses if one and not is_loopback(one)][:ADDRESSES_MAX]:
            by_address = [
                seen
                for query in (_BY_ADDRESS, _BY_REGISTRATION)
                for seen in await self._database.all(query, user_id=player.id, address=address)
            ]
            for seen in by_address:
                earlier = found.setdefault(seen.user_id, {}).get("address", seen)
                found[seen.user_id]["address"] = _both(earlier, seen)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(tx, actor, "multi_check", at_ms=now, target_kind="user", target_id=player.id)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        matches = [_match(kinds) for kinds in found.values()]
        return sorted(matches, key=lambda match: (not match.player.restricted, match.player.id))


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
