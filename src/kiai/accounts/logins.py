"""Which accounts log in from where, and which of them share a device (docs/spec/sessions.md#shared-devices).

Logins come in storms, after a restart all at once. They are noted in memory and written a few times a second, so that
nobody's login waits for the disk.
"""

import re
from collections import deque
from typing import Final

import msgspec

from kiai.accounts import queries
from kiai.errors import Unavailable
from kiai.storage.port import Database, Taken, Transaction, Value

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
"""Hashes that clients send when they know nothing: equal ones say nothing (docs/spec/sessions.md#client-hashes)."""

_MD5: Final = re.compile(r"[0-9a-f]{32}")


class LoginNote(msgspec.Struct, frozen=True):
    """One login. `build` is yyyymmdd; the hashes are md5 hex as the client sends them."""

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
    """Another account on the same device; `kinds` of `adapters`, `uninstall` and `disk` are equal."""

    user_id: int
    name: str
    priv: int
    banned: bool
    kinds: tuple[str, ...]


class Logins:
    """Notes logins, and finds who shares a device. `dropped` counts the notes that were never written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[LoginNote] = deque()
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many notes are still to be written."""
        return len(self._waiting)

    def note(self, note: LoginNote) -> None:
        """Takes note of a login; `flush` writes it. Past 10,000 that wait the oldest is dropped."""
        self._waiting.append(
            msgspec.structs.replace(
                note,
                address=_text(note.address, ADDRESS_MAX),
                stream=_text(note.stream, STREAM_MAX),
                exe=_text(note.exe, EXE_MAX),
                adapters=_hash(note.adapters),
                uninstall=_hash(note.uninstall),
                disk=_hash(note.disk),
            )
        )
        self._shorten()

    async def flush(self) -> None:
        """Writes all that waits, in one transaction. Raises Unavailable, and the notes go on waiting.

        The newest 1,000 log-ins and 200 devices of an account are stored.
        """
        if not self._waiting:
            return
        notes, self._waiting = self._waiting, deque()
        devices = _devices(notes)
        whose: list[dict[str, Value]] = [{"of_user": user_id} for user_id in sorted({note.user_id for note in notes})]

        async def body(tx: Transaction) -> None:
            await tx.many(
                queries.NOTE_LOGIN,
                [
                    {
                        "user_id": note.user_id,
                        "at_ms": note.at_ms,
                        "address": note.address,
                        "build": note.build,
                        "stream": note.stream,
                    }
                    for note in notes
                ],
            )
            await tx.many(queries.NEW_DEVICE, devices)
            await tx.many(queries.COUNT_DEVICE, devices)
            await tx.many(queries.FORGET_LOGINS, whose)
            await tx.many(queries.FORGET_DEVICES, whose)

        try:
            await self._database.transaction(body)
        except (Unavailable, Taken) as error:  # Taken: another process wrote one of these devices just now
            notes.extend(self._waiting)
            self._waiting = notes
            self._shorten()
            if isinstance(error, Taken):
                raise Unavailable("logins", str(error)) from error
            raise
        except Exception:
            self.dropped += len(notes)
            raise

    def _shorten(self) -> None:
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1

    async def shared_with(
        self, user_id: int, *, adapters: str, uninstall: str, disk: str, wine: bool
    ) -> list[HardwareMatch]:
        """Other accounts that were used on this device, those with a sanction first; at most 100.

        Hashes that mean nothing or are known to be shared match nobody; under wine only `uninstall` counts.
        """
        asked: dict[str, Value] = {
            "adapters": None if wine else _telling(adapters),
            "uninstall": _telling(uninstall),
            "disk": None if wine else _telling(disk),
        }
        if not any(asked.values()):
            return []
        rows = await self._database.all(queries.DEVICE_SHARED_WITH, user_id=user_id, **asked)
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


def _devices(notes: deque[LoginNote]) -> list[dict[str, Value]]:
    """One row for each account and device, with how often it was used."""
    found: dict[tuple[int, str, str, str, bool], dict[str, Value]] = {}
    uses: dict[tuple[int, str, str, str, bool], int] = {}
    for note in notes:
        key = (note.user_id, note.adapters, note.uninstall, note.disk, note.wine)
        uses[key] = uses.get(key, 0) + 1
        row = found.setdefault(
            key,
            {
                "this_user_id": note.user_id,
                "this_adapters": note.adapters,
                "this_uninstall": note.uninstall,
                "this_disk": note.disk,
                "this_wine": int(note.wine),
                "first_ms": note.at_ms,
            },
        )
        row |= {"with_exe": note.exe, "last_ms": note.at_ms}
    # In one order, so that two processes never wait for one another in a circle.
    return [found[key] | {"by": uses[key]} for key in sorted(found)]


def _telling(hash_: str) -> str | None:
    found = _hash(hash_)
    return None if found in MEANINGLESS else found


def _hash(text: str) -> str:
    """A hash as it is stored; what is none tells nothing."""
    lowered = text.lower()
    return lowered if _MD5.fullmatch(lowered) else ""


def _text(text: str, longest: int) -> str:
    return text.replace("\x00", "")[:longest]
