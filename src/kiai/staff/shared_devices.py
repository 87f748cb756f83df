"""Devices that unrelated players share, e.g. in an internet cafe: the list that staff keeps of their hashes.

A hash on the list is no evidence of a second account: logins and lookups of devices ignore it. Owns the table
`shared_devices`. Answers name an entry by an id that is derived from the hash, and never show a hash: it identifies a
device.
"""

import hashlib
import re
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select

from kiai.accounts.login_records import MEANINGLESS
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound, Refused, WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who
from kiai.staff.devices import HASH_KINDS, PERMISSION
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import client_hashes, shared_devices, users

ENTRIES_MAX: Final = 1_000
NOTE_MAX: Final = 200
ID_LENGTH: Final = 12
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class SharedDevice(msgspec.Struct, frozen=True):
    """An entry of the list. `added_by` is the name of the member of staff, None for the operator; `at` unix seconds."""

    id: str
    note: str
    added_by: str | None
    at: int


class _Row(msgspec.Struct, frozen=True):
    hash: str
    note: str
    added_by: str | None
    added_at_ms: int


_ALL = Query(
    select(shared_devices.c.hash, shared_devices.c.note, users.c.name, shared_devices.c.added_at_ms)
    .select_from(shared_devices.outerjoin(users, users.c.id == shared_devices.c.added_by))
    .order_by(shared_devices.c.added_at_ms, shared_devices.c.hash)
    .limit(ENTRIES_MAX),
    _Row,
)
_COUNT = Query(select(func.count()).select_from(shared_devices), scalar)
_HAS = Query(select(shared_devices.c.hash).where(shared_devices.c.hash == bindparam("hash")), scalar)
_ADD = Command(
    insert(shared_devices).values({name: bindparam(name) for name in ("hash", "note", "added_by", "added_at_ms")})
)
_REMOVE = Command(delete(shared_devices).where(shared_devices.c.hash == bindparam("of_hash")))
_NEWEST_OF = Query(
    select(*[client_hashes.c[kind] for kind in HASH_KINDS], client_hashes.c.wine)
    .where(client_hashes.c.user_id == bindparam("user_id"))
    .order_by(client_hashes.c.last_at_ms.desc())
    .limit(1),
    lambda *row: row,
)


class SharedDevices:
    """Adds, lists and removes the hashes of shared devices. Each change writes one audit row."""

    def __init__(self, database: Database, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock

    async def all(self, actor: Actor) -> list[SharedDevice]:
        """Return the entries, the oldest first. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return [_entry(row) for row in await self._database.all(_ALL)]

    async def allow(self, actor: Actor, hash_: str, note: str = "") -> list[SharedDevice]:
        """Add a hash as the client sends it, md5 in hex. Return the new entry.

        Raises NotAllowed, Invalid, WrongState for a hash on the list, and Refused when the list is full.
        """
        hash_ = hash_.strip().lower()
        if not _MD5.fullmatch(hash_) or hash_ in MEANINGLESS:
            raise Invalid("hash", "md5 in hex, and none of the constants that many clients send", "another text")
        return await self._add(Requirement(actor, PERMISSION), [hash_], note)

    async def allow_device_of(self, actor: Actor, who: Who, note: str = "") -> list[SharedDevice]:
        """Add the hashes of the device on which an account was used last. Return the new entries.

        Raises NotAllowed, Invalid, NotFound for an account without a device or whose hashes identify none, WrongState
        if all are on the list, and Refused when the list is full.
        """
        await self._authority.require(actor, PERMISSION)
        target = await self._authority.target(who)
        found = await self._database.one(_NEWEST_OF, user_id=target.id)
        if found is None:
            raise NotFound("device")
        *hashes, wine = found
        # Under wine, the disk and the adapters have the same hashes on many devices, and are not compared.
        telling = {one for one in (hashes[:1] if wine else hashes) if one not in MEANINGLESS}
        if not telling:
            raise NotFound("device")
        return await self._add(Requirement(actor, PERMISSION), sorted(telling), note)

    async def forget(self, actor: Actor, which: str) -> SharedDevice:
        """Remove an entry by its id or by the hash. Return it. Raises NotAllowed, NotFound."""
        which = which.strip().lower()
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> SharedDevice:
            await audit.lock(tx)
            row = next((row for row in await tx.all(_ALL) if which in (row.hash, _id_of(row.hash))), None)
            if row is None:
                raise NotFound("device on the list")
            await tx.run(_REMOVE, of_hash=row.hash)
            entry = _entry(row)
            await self._record(tx, actor, now, {"device": entry.id, "note": entry.note}, None)
            return entry

        return await self._authority.transaction(Requirement(actor, PERMISSION), body)

    async def _add(self, required: Requirement, hashes: list[str], note: str) -> list[SharedDevice]:
        note = note.strip()
        if len(note) > NOTE_MAX or not note.isprintable():
            raise Invalid("note", f"at most {NOTE_MAX} printable characters", note)
        actor, now = required.actor, self._clock.now_ms()

        async def body(tx: Transaction) -> list[SharedDevice]:
            await audit.lock(tx)
            new = [hash_ for hash_ in hashes if await tx.one(_HAS, hash=hash_) is None]
            if not new:
                raise WrongState("the device is already on the list")
            if (await tx.one(_COUNT) or 0) + len(new) > ENTRIES_MAX:
                raise Refused(f"the list has at most {ENTRIES_MAX} entries; forget one first")
            for hash_ in new:
                await tx.run(_ADD, hash=hash_, note=note, added_by=actor.user_id, added_at_ms=now)
            entries = [_entry(_Row(hash_, note, None, now)) for hash_ in new]
            ids = ", ".join(entry.id for entry in entries)
            await self._record(tx, actor, now, None, {"device": ids, "note": note})
            return entries

        return await self._authority.transaction(required, body)

    async def _record(
        self, tx: Transaction, actor: Actor, now: int, before: dict[str, str] | None, after: dict[str, str] | None
    ) -> None:
        details = {"before": before, "after": after}
        await audit.write(tx, actor, "device_edit", at_ms=now, target_kind="server", target_id=0, details=details)


def _id_of(hash_: str) -> str:
    return hashlib.sha256(hash_.encode()).hexdigest()[:ID_LENGTH]


def _entry(row: _Row) -> SharedDevice:
    return SharedDevice(_id_of(row.hash), row.note, row.added_by, row.added_at_ms // 1000)
