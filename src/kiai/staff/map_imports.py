"""Acts of staff that get files of maps: from upstream, and from an archive that staff uploads.

    archive -> .osu files, read in a process that can be killed -> files store, until the actor confirms -> import

An account has one archive that waits for its confirmation. A job deletes those that nobody confirms.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps, Importer, ImportReport
from kiai.beatmaps.importing import ImportedMap
from kiai.beatmaps.upstream import Upstream
from kiai.clock import Clock
from kiai.decoding.archives import BadArchive, UnpackedMaps
from kiai.decoding.decoder import Decoder
from kiai.errors import Invalid, Refused, WrongState
from kiai.files.port import Files
from kiai.osu.beatmap_file import BadBeatmap, parse_beatmap
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.map_requests import SETS_STATUS, MapRequests
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Transaction

UPLOAD_MAX: Final = 19 * 1024 * 1024
"""Bytes of an uploaded archive. The guard refuses request bodies of more than 20 MiB."""
FOLDER: Final = "uploads/"
KEPT_MS: Final = 3_600_000
NOTED_MAX: Final = 50
"""Maps that the audit row of an upload names."""
ACTION: Final = "beatmap_upload"


class ReceivedArchive(msgspec.Struct, frozen=True):
    """An archive that waits for its confirmation. `sha256` is that of its bytes, in hex.

    `name` is artist and title of its first map. `maps` is the number of its .osu files, `skipped` that of files that
    cannot be used.
    """

    sha256: str
    name: str
    maps: int
    skipped: int


class UploadReport(msgspec.Struct, frozen=True):
    """The result of an upload: the report of the import, and the maps that were stored."""

    report: ImportReport
    maps: Sequence[ImportedMap]


class _Upload:
    """The part of staff in the transaction of an import. `maps` are those that it has stored."""

    def __init__(self, authority: Authority, actor: Actor, reason: str, sha256: str, now_ms: int) -> None:
        self._authority = authority
        self._actor = actor
        self._reason = reason
        self._sha256 = sha256
        self._now_ms = now_ms
        self.maps: Sequence[ImportedMap] = ()

    async def begin(self, tx: Transaction) -> None:
        """See `beatmaps.importing.UploadAct`."""
        await self._authority.recheck(tx, Requirement(self._actor, SETS_STATUS))

    async def record(self, tx: Transaction, maps: Sequence[ImportedMap]) -> None:
        """See `beatmaps.importing.UploadAct`."""
        noted = maps[:NOTED_MAX]
        await audit.write(
            tx,
            self._actor,
            ACTION,
            at_ms=self._now_ms,
            target_kind="beatmap",
            target_id=maps[0].map_id,
            reason=self._reason,
            details={
                "sets": sorted({one.set_id for one in noted}),
                "maps": len(maps),
                "new_files": sum(one.is_new_file for one in maps),
                "sha256": self._sha256,
                "before": {str(one.map_id): one.before for one in noted},
                "after": {str(one.map_id): one.status for one in noted},
            },
        )
        self.maps = maps


class MapImports:
    """Gets sets from upstream again, and imports uploaded archives.

    Without an `upstream`, every request for it is refused.
    """

    def __init__(
        self,
        authority: Authority,
        beatmaps: Beatmaps,
        requests: MapRequests,
        importer: Importer,
        decoder: Decoder,
        files: Files,
        upstream: Upstream | None,
        clock: Clock,
    ) -> None:
        self._authority = authority
        self._beatmaps = beatmaps
        self._requests = requests
        self._importer = importer
        self._decoder = decoder
        self._files = files
        self._upstream = upstream
        self._clock = clock

    @property
    def has_upstream(self) -> bool:
        """Whether the server has an upstream."""
        return self._upstream is not None

    async def refresh(self, actor: Actor, beatmap: Beatmap) -> None:
        """Update the statuses and files of the set of a map from upstream.

        The audit row is written before the request. Raises NotAllowed, Refused without an upstream, and Unavailable if
        upstream fails.
        """
        if self._upstream is None:
            raise Refused("this server has no upstream for beatmaps")
        await self._requests.record_refresh(actor, beatmap)
        await self._upstream.refresh(await self._beatmaps.of_set(beatmap.set_id))

    async def receive(self, actor: Actor, archive: bytes) -> ReceivedArchive:
        """Keep an archive for `import_received`, in place of an earlier one of the same account. Nothing is imported.

        Raises NotAllowed, Invalid for an archive that cannot be read or has no map, and Unavailable.
        """
        await self._authority.require(actor, SETS_STATUS)
        if not 0 < len(archive) <= UPLOAD_MAX:
            raise Invalid("archive", f"a file of up to {UPLOAD_MAX // 1024**2} MiB", f"{len(archive)} bytes")
        unpacked = await self._unpacked(actor, archive)
        name = await asyncio.to_thread(_name_of, unpacked)
        if name is None:
            raise Invalid("archive", "an archive with a beatmap that can be read", "one without")
        await self._files.put(_key(actor), archive)
        return ReceivedArchive(_digest(archive), name, len(unpacked.files), len(unpacked.skipped))

    async def import_received(self, actor: Actor, sha256: str, *, reason: str) -> UploadReport:
        """Import the archive that the account has sent before, if it is the one with this hash.

        The audit row is part of the transaction of the import; an archive of which no map can be imported leaves none.
        Raises NotAllowed, Invalid, WrongState without such an archive, ChangedMeanwhile, and Unavailable.
        """
        await self._authority.require(actor, SETS_STATUS)
        reason = checked_reason(reason)
        archive = await self._files.get(_key(actor))
        if archive is None or _digest(archive) != sha256:
            raise WrongState("the archive was imported or replaced; upload it again")
        unpacked = await self._unpacked(actor, archive)
        act = _Upload(self._authority, actor, reason, sha256, self._clock.now_ms())
        report = await self._importer.import_upload(archive, unpacked, act)
        await self._files.delete(_key(actor))
        return UploadReport(report, act.maps)

    async def sweep(self) -> None:
        """Delete the archives that have waited for an hour. A job calls this."""
        before_ms = self._clock.now_ms() - KEPT_MS
        async for file in self._files.keys(FOLDER):
            if file.modified_ms < before_ms:
                await self._files.delete(file.key)

    async def _unpacked(self, actor: Actor, archive: bytes) -> UnpackedMaps:
        try:
            return await self._decoder.unpack(archive, caller=f"user:{actor.user_id}")
        except BadArchive as error:
            raise Invalid("archive", "an .osz or .olz archive with beatmaps", str(error)) from error


def _key(actor: Actor) -> str:
    return f"{FOLDER}{actor.user_id}.osz"


def _digest(archive: bytes) -> str:
    return hashlib.sha256(archive).hexdigest()


def _name_of(unpacked: UnpackedMaps) -> str | None:
    """Return artist and title of the first file that can be read, or None."""
    for file in unpacked.files:
        try:
            beatmap = parse_beatmap(file.data)
        except BadBeatmap:
            continue
        return f"{beatmap.artist} - {beatmap.title}"
    return None
