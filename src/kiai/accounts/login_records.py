"""Records of logins, and the search for accounts that share a device (docs/spec/sessions.md#shared-devices).

After a restart, all players log in at the same time. Records therefore wait in memory and are written in batches a few
times a second, so that no login waits for the disk.
"""

import re
from collections import deque
from typing import Final

import msgspec

from kiai.accounts import queries
from kiai.accounts.model import GameLogin, RecordedLogin
from kiai.errors import Unavailable
from kiai.storage.port import Database, Transaction, UniqueViolation, Value

WAITING_MAX: Final = 10_000
ADDRESS_MAX: Final = 64
STREAM_MAX: Final = 16
EXE_MAX: Final = 64

MEANINGLESS: Final = frozenset(
    {
        "b4ec3c4334a0249dae95c284ec5983df",  # md5("runningunderwine")
        "ad921d60486366258809553a3db49a4a",  # md5("unknown")
        "cfcd208495d565ef66e7dff9f98764da",  # md5("0")
        "dcfcd07e645d245babe887e5e2daa016",  # md5(md5("0"))
        "ffae06fb022871fe9beb58b005c5e21d",  # a disk under wine
        "d41d8cd98f00b204e9800998ecf8427e",  # md5("")
        "",
    }
)
"""Hashes that many clients send because they cannot read the value, so they identify no device.

See docs/spec/sessions.md#client-hashes.
"""

_MD5: Final = re.compile(r"[0-9a-f]{32}")


class LoginRecord(msgspec.Struct, frozen=True):
    """One login. `build` is yyyymmdd; the hashes are md5 in hex, as the client sends them."""

    user_id: int
    at_ms: int
    address: str
    build: int
    stream: str
    exe: str
    adapters: str
    uninstall: str
    disk: str
    wine: bool


class HardwareMatch(msgspec.Struct, frozen=True):
    """Another account on the same device. `kinds` are the equal hashes: `adapters`, `uninstall`, `disk`."""

    user_id: int
    name: str
    priv: int
    banned: bool
    kinds: tuple[str, ...]


class Logins:
    """Records logins and finds accounts that share a device. `dropped` counts records that were never written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[LoginRecord] = deque()
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """The number of records that are not written yet."""
        return len(self._waiting)

    def record(self, record: LoginRecord) -> None:
        """Queue a login; `flush` writes it. When more than 10,000 wait, the oldest is dropped."""
        self._waiting.append(
            msgspec.structs.replace(
                record,
                address=_text(record.address, ADDRESS_MAX),
                stream=_text(record.stream, STREAM_MAX),
                exe=_text(record.exe, EXE_MAX),
                adapters=_hash(record.adapters),
                uninstall=_hash(record.uninstall),
                disk=_hash(record.disk),
            )
        )
        self._shorten()

    async def flush(self) -> None:
        """Write all queued records in one transaction. Raises Unavailable; the records then stay in the queue.

        Deletes all but the newest 1,000 logins and 200 devices of each account.
        """
        if not self._waiting:
            return
        records, self._waiting = self._waiting, deque()
        devices = _devices(records)
        users: list[dict[str, Value]] = [
            {"of_user": user_id} for user_id in sorted({record.user_id for record in records})
        ]

        async def body(tx: Transaction) -> None:
            await tx.run_many(
                queries.ADD_LOGIN,
                [
                    {
                        "user_id": record.user_id,
                        "at_ms": record.at_ms,
                        "address": record.address,
                        "build": record.build,
                        "stream": record.stream,
                    }
                    for record in records
                ],
            )
            await tx.run_many(queries.NEW_DEVICE, devices)
            await tx.run_many(queries.COUNT_DEVICE, devices)
            await tx.run_many(queries.DELETE_OLD_LOGINS, users)
            await tx.run_many(queries.DELETE_OLD_DEVICES, users)

        try:
            await self._database.transaction(body)
        except (Unavailable, UniqueViolation) as error:
            # UniqueViolation: another process has inserted one of these devices at the same time. The next call finds
            # its row.
            records.extend(self._waiting)
            self._waiting = records
            self._shorten()
            if isinstance(error, UniqueViolation):
                raise Unavailable("logins", str(error)) from error
            raise
        except Exception:  # a fault of ours, e.g. in a statement: the same records would fail forever
            self.dropped += len(records)
            raise

    async def recent(self, user_id: int) -> list[GameLogin]:
        """Return the newest 20 logins of an account with the game, newest first."""
        return await self._database.all(queries.RECENT_LOGINS, user_id=user_id)

    async def page(self, user_id: int, before: int | None = None) -> tuple[list[RecordedLogin], int | None]:
        """Return up to 50 logins with ids below `before`, newest first, and the `before` of the next page."""
        found = await self._database.all(
            queries.LOGINS_BEFORE, user_id=user_id, before=2**62 if before is None else before
        )
        shown = found[: queries.LOGINS_PAGE_MAX]
        return shown, shown[-1].id if len(found) > len(shown) else None

    def _shorten(self) -> None:
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1

    async def shared_with(
        self, user_id: int, *, adapters: str, uninstall: str, disk: str, wine: bool
    ) -> list[HardwareMatch]:
        """Return at most 100 other accounts that were used on this device, those with a sanction first.

        `MEANINGLESS` hashes and those of known shared devices match no account.
        """
        # Under wine, the adapters and the disk have the same hashes on many devices.
        hashes: dict[str, Value] = {
            "adapters": None if wine else _identifying(adapters),
            "uninstall": _identifying(uninstall),
            "disk": None if wine else _identifying(disk),
        }
        if not any(hashes.values()):
            return []
        rows = await self._database.all(queries.DEVICE_SHARED_WITH, user_id=user_id, **hashes)
        return [
            HardwareMatch(
                user_id=other,
                name=name,
                priv=priv,
                banned=banned_at_ms is not None,
                kinds=tuple(kind for kind, same in zip(queries.DEVICE_KINDS, equal, strict=True) if same),
            )
            for other, name, priv, banned_at_ms, *equal in rows
        ]


def _devices(records: deque[LoginRecord]) -> list[dict[str, Value]]:
    """Return one row for each account and device, with the number of its logins."""
    found: dict[tuple[int, str, str, str, bool], dict[str, Value]] = {}
    uses: dict[tuple[int, str, str, str, bool], int] = {}
    for record in records:
        key = (record.user_id, record.adapters, record.uninstall, record.disk, record.wine)
        uses[key] = uses.get(key, 0) + 1
        row = found.setdefault(
            key,
            {
                "this_user_id": record.user_id,
                "this_adapters": record.adapters,
                "this_uninstall": record.uninstall,
                "this_disk": record.disk,
                "this_wine": int(record.wine),
                "first_ms": record.at_ms,
            },
        )
        row |= {"with_exe": record.exe, "last_ms": record.at_ms}
    # Sorted: two processes that lock the same rows in different orders would deadlock.
    return [found[key] | {"by": uses[key]} for key in sorted(found)]


def _identifying(hash_: str) -> str | None:
    found = _hash(hash_)
    return None if found in MEANINGLESS else found


def _hash(text: str) -> str:
    """Return a hash as it is stored: in lower case, or "" for a text that is not md5 in hex."""
    lowered = text.lower()
    return lowered if _MD5.fullmatch(lowered) else ""


def _text(text: str, longest: int) -> str:
    # PostgreSQL cannot store NUL.
    return text.replace("\x00", "")[:longest]
