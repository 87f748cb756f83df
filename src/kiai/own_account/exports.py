"""Exports: all data of a player as a ZIP of JSON files, which a job writes into the file store.

A player has one export at a time. A new one replaces the last one. A job writes one export after another; when its
process dies, another process starts the export again. The file is deleted a day after it is ready.
"""

import asyncio
import tempfile
import zipfile
from collections.abc import AsyncIterator
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, delete, insert, literal_column, select, update

from kiai.accounts import Accounts, User, Viewer
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, Unavailable
from kiai.files.port import Files
from kiai.ids import Ids
from kiai.logs import get_logger
from kiai.osu.modes import MODES
from kiai.own_account import export_parts
from kiai.own_account.acts import own_act
from kiai.own_account.export_parts import Part
from kiai.scores.replays import Replays
from kiai.storage.port import Command, Database, Query, Transaction, columns_for
from kiai.storage.tables import exports

VALID_MS: Final = 86_400_000
REPLAY_BYTES_MAX: Final = 1024**3
PROGRESS_EVERY: Final = 10
"""Pages between two updates of the progress."""
KEY_BYTES: Final = 12
EXPIRED_AT_ONCE: Final = 100
SHOWN_MAX: Final = 20


class ExportState(IntEnum):
    """The state of an export."""

    WAITING = 0
    READY = 1
    FAILED = 2


class Export(msgspec.Struct, frozen=True):
    """The newest export of a player. `done` and `total` count scores; `total` is 0 until the export has begun."""

    user_id: int
    state: int
    with_replays: int
    requested_at_ms: int
    done: int
    total: int
    key: str | None
    size: int
    expires_at_ms: int | None


class ExportFile(msgspec.Struct, frozen=True):
    """A finished export. `chunks` are the bytes of the ZIP, `size` is their number."""

    name: str
    size: int
    chunks: AsyncIterator[bytes]


_this: Final = exports.c.user_id == bindparam("of_user")
_export: Final = select(*columns_for(Export, exports))
OF: Final = Query(_export.where(_this), Export)
NEXT: Final = Query(
    _export.where(exports.c.state == literal_column("0"))
    .order_by(exports.c.requested_at_ms, exports.c.user_id)
    .limit(1),
    Export,
)
WAITING: Final = Query(
    _export.where(exports.c.state == literal_column("0"))
    .order_by(exports.c.requested_at_ms, exports.c.user_id)
    .limit(SHOWN_MAX),
    Export,
)
EXPIRED: Final = Query(
    _export.where(exports.c.expires_at_ms.is_not(None), exports.c.expires_at_ms <= bindparam("now_ms"))
    .order_by(exports.c.expires_at_ms, exports.c.user_id)
    .limit(EXPIRED_AT_ONCE),
    Export,
)
ADD: Final = Command(
    insert(exports).values({n: bindparam(n) for n in ("user_id", "state", "with_replays", "requested_at_ms")})
)
REMOVE: Final = Command(delete(exports).where(_this))
WITHDRAW: Final = Command(delete(exports).where(_this, exports.c.state == literal_column("0")))
# Only the export that was begun: the player may have asked for another one since.
_begun: Final = (_this, exports.c.requested_at_ms == bindparam("asked_at_ms"), exports.c.state == literal_column("0"))
PROGRESS: Final = Command(
    update(exports).where(*_begun).values(done=bindparam("now_done"), total=bindparam("now_total"))
)
FINISH: Final = Command(
    update(exports)
    .where(*_begun)
    .values(
        state=bindparam("becomes"),
        key=bindparam("file_key"),
        size=bindparam("bytes"),
        done=exports.c.total,
        expires_at_ms=bindparam("until_ms"),
    )
)


class Exports:
    """Requests, writes and finds exports."""

    def __init__(
        self, database: Database, accounts: Accounts, replays: Replays, files: Files, clock: Clock, ids: Ids
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._replays = replays
        self._files = files
        self._clock = clock
        self._ids = ids

    async def of(self, user_id: int) -> Export | None:
        """Return the newest export of a player. An expired one does not count."""
        found = await self._database.one(OF, of_user=user_id)
        expired = found is not None and found.expires_at_ms is not None and found.expires_at_ms <= self._clock.now_ms()
        return None if expired else found

    async def request(self, user_id: int, *, with_replays: bool) -> None:
        """Ask for an export, which a job writes. Raises Refused while one is waiting or running."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> str | None:
            await self._accounts.to_change(tx, user_id)
            last = await tx.one(OF, of_user=user_id)
            if last is not None and last.state == ExportState.WAITING:
                raise Refused("an export is being prepared already")
            await tx.run(REMOVE, of_user=user_id)
            await tx.run(
                ADD,
                user_id=user_id,
                state=int(ExportState.WAITING),
                with_replays=int(with_replays),
                requested_at_ms=now,
            )
            await own_act(self._clock, user_id, "export", {"replays": with_replays})(tx)
            return None if last is None else last.key

        replaced = await self._database.transaction(body)
        if replaced is not None:
            await self._files.delete(replaced)

    async def waiting(self) -> list[Export]:
        """Return the exports that are not written yet, the oldest first, at most 20."""
        return await self._database.all(WAITING)

    async def withdraw(self, tx: Transaction, user_id: int) -> bool:
        """Remove the export that a player waits for. Return False without one. Its writer ends with the next page."""
        return bool(await tx.run(WITHDRAW, of_user=user_id))

    async def open(self, user_id: int) -> ExportFile:
        """Return the finished export of a player. Raises NotFound("export")."""
        found = await self.of(user_id)
        chunks = None if found is None or found.key is None else await self._files.stream(found.key)
        if found is None or chunks is None:
            raise NotFound("export")
        return ExportFile(f"export-{user_id}.zip", found.size, chunks)

    async def work(self) -> bool:
        """Write the export that waits longest. Return whether there was one. A job calls this."""
        export = await self._database.one(NEXT)
        if export is None:
            return False
        key = f"exports/{export.user_id}-{self._ids.token(KEY_BYTES).encode().hex()}.zip"
        try:
            with tempfile.TemporaryDirectory(prefix="kiai-export-") as folder:
                path = Path(folder, "export.zip")
                await self._write(export, path)
                size = (await asyncio.to_thread(path.stat)).st_size
                await self._files.put_file(key, path)
        except Unavailable:
            raise  # the next run starts again
        except _Withdrawn:
            return True
        except Exception as error:
            # A fault of ours: the export would fail forever, and others wait behind it.
            get_logger("exports").error("export failed", user_id=export.user_id, exc_info=error)
            await self._finish(export, ExportState.FAILED, None, 0)
            return True
        if not await self._finish(export, ExportState.READY, key, size):
            await self._files.delete(key)
        return True

    async def sweep(self) -> int:
        """Delete expired exports, and return their number. A job calls this."""
        expired = await self._database.all(EXPIRED, now_ms=self._clock.now_ms())
        for export in expired:
            await self.delete(export)
        return len(expired)

    async def delete(self, export: Export) -> None:
        """Delete an export and its file."""
        if export.key is not None:
            await self._files.delete(export.key)

        async def body(tx: Transaction) -> None:
            now = await tx.one(OF, of_user=export.user_id)
            if now is not None and now.requested_at_ms == export.requested_at_ms:
                await tx.run(REMOVE, of_user=export.user_id)

        await self._database.transaction(body)

    # --- writing

    async def _finish(self, export: Export, state: ExportState, key: str | None, size: int) -> bool:
        until = self._clock.now_ms() + VALID_MS

        async def body(tx: Transaction) -> bool:
            changed = await tx.run(
                FINISH,
                of_user=export.user_id,
                asked_at_ms=export.requested_at_ms,
                becomes=int(state),
                file_key=key,
                bytes=size,
                until_ms=until,
            )
            return bool(changed)

        return await self._database.transaction(body)

    async def _write(self, export: Export, path: Path) -> None:
        user_id = export.user_id
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        total = sum(await self._database.all(export_parts.PLAYS_OF, user_id=user_id))
        progress = _Progress(self._database, export, total)
        await progress.show()
        # Only this coroutine writes, one part after another; compression runs in a thread.
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            await asyncio.to_thread(archive.writestr, "account.json", await self._account(user))
            for part in export_parts.PARTS:
                await self._write_part(archive, part, user_id, progress)
            left_out = await self._write_replays(archive, user_id, progress) if export.with_replays else 0
            about = {
                "player": user.name,
                "user_id": user_id,
                "requested_at_ms": export.requested_at_ms,
                "times": "Unix time in milliseconds",
                "replays": bool(export.with_replays),
                "replays_left_out": left_out,
            }
            await asyncio.to_thread(archive.writestr, "export.json", _pretty(about))

    async def _account(self, user: User) -> bytes:
        email = await self._database.one(export_parts.EMAIL_OF, user_id=user.id)
        fields = {name: getattr(user, name) for name in user.__struct_fields__ if name not in ("avatar", "cover")}
        return _pretty({"email": email, **fields})

    async def _write_part(self, archive: zipfile.ZipFile, part: Part, user_id: int, progress: "_Progress") -> None:
        first = True
        with archive.open(part.file, "w", force_zip64=True) as file:
            await asyncio.to_thread(file.write, b"[")
            for mode in MODES if part.by_mode else (None,):
                params: dict[str, Any] = {"user_id": user_id} | ({} if mode is None else {"mode": mode})
                after: dict[str, Any] = dict(part.after)
                while rows := await self._database.all(part.query, **params, **after):
                    after = part.key_of(rows[-1])
                    lines = b",\n".join(msgspec.json.encode(part.exported(row)) for row in rows)
                    await asyncio.to_thread(file.write, (b"\n" if first else b",\n") + lines)
                    first = False
                    if part.file == "scores.json":
                        await progress.advance(len(rows))
                    if len(rows) < export_parts.PAGE_ROWS:
                        break
            await asyncio.to_thread(file.write, b"\n]\n")

    async def _write_replays(self, archive: zipfile.ZipFile, user_id: int, progress: "_Progress") -> int:
        """Write the replays up to `REPLAY_BYTES_MAX`. Return the number of those beyond it."""
        viewer = Viewer(user_id=user_id)
        written = left_out = 0
        for mode in MODES:
            after = 0
            while ids := await self._database.all(export_parts.REPLAYS_OF, user_id=user_id, mode=mode, after=after):
                after = ids[-1]
                await progress.show()
                for score_id in ids:
                    if written >= REPLAY_BYTES_MAX:
                        left_out += 1
                        continue
                    try:
                        replay = await self._replays.osr(score_id, viewer)
                    except NotFound:  # hidden by staff, or its file is lost
                        continue
                    written += len(replay.data)
                    await asyncio.to_thread(
                        archive.writestr, f"replays/{score_id}.osr", replay.data, zipfile.ZIP_STORED
                    )
                if len(ids) < export_parts.PAGE_ROWS:
                    break
        return left_out


class _Withdrawn(Exception):
    """The export is not wanted any more."""


class _Progress:
    """Stores how many scores of an export are written."""

    def __init__(self, database: Database, export: Export, total: int) -> None:
        self._database = database
        self._export = export
        self._total = total
        self._done = 0
        self._pages = 0

    async def advance(self, rows: int) -> None:
        """Count a page of scores."""
        self._done += rows
        self._pages += 1
        if self._pages % PROGRESS_EVERY == 0:
            await self.show()

    async def show(self) -> None:
        """Store the progress. Raises _Withdrawn if the player or staff has withdrawn the export."""

        async def body(tx: Transaction) -> int:
            return await tx.run(
                PROGRESS,
                of_user=self._export.user_id,
                asked_at_ms=self._export.requested_at_ms,
                now_done=self._done,
                now_total=max(self._total, self._done),
            )

        if not await self._database.transaction(body):
            raise _Withdrawn


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value))
