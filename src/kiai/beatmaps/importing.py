"""Import of beatmaps from folders, .osz and .olz archives and .osu files.

Files are untrusted. Only .osu files are read, into memory, and sizes are counted while an archive is inflated
(`archives.py`). A file that cannot be used is skipped with a reason, and the import continues. Importing the same file
again changes nothing. A different file for a known beatmap id becomes the current revision, and the old revision keeps
its scores. If a file is stored with another id than it claims, or is replaced later, the report has a note.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from kiai.beatmaps import catalogue, queries, ranking
from kiai.beatmaps.model import MAP_STATUS, OWN_ID_FIRST, Beatmap, MapStatus, osu_key
from kiai.beatmaps.words import index_words
from kiai.clock import Clock
from kiai.decoding.archives import ARCHIVE_MAX, OSU_MAX, BadArchive, UnpackedMaps, is_shadow, unpack_maps
from kiai.errors import KiaiError, Unavailable
from kiai.files.port import Files
from kiai.osu.beatmap_file import BadBeatmap, BeatmapFile, file_name, parse_beatmap
from kiai.storage import tasks
from kiai.storage.port import Database, Transaction, UniqueViolation, Value

AT_ONCE: Final = 8  # files that are parsed and rated in parallel
TRIES: Final = 20  # of a transaction; of several imports that collide, one succeeds each time
SETS_STORED_MAX: Final = 8
"""An archive is stored once for each of its sets. One with more sets is not stored."""
_ARCHIVES: Final = (".osz", ".olz")


def archive_key(set_id: int) -> str:
    """Return the key of a set's archive in the files store."""
    return f"osz/{set_id}.osz"


class SkippedFile(msgspec.Struct, frozen=True):
    """A file that was not imported, with the reason."""

    path: str
    why: str


class ImportNote(msgspec.Struct, frozen=True):
    """An imported file, with a result that the operator may not expect."""

    path: str
    what: str


class ImportReport(msgspec.Struct):
    """The result of an import. `maps` counts different files.

    `changed` lists the known revisions that were replaced, became current again or got another status, as they were
    before. Their first places and the totals of their players are updated by tasks.
    """

    sets: int = 0
    maps: int = 0
    skipped: list[SkippedFile] = msgspec.field(default_factory=list)
    notes: list[ImportNote] = msgspec.field(default_factory=list)
    changed: list["FormerRevision"] = msgspec.field(default_factory=list)


class FormerRevision(msgspec.Struct, frozen=True):
    """A known revision before an import changed it."""

    key: int
    current: int
    status: int


class NewFile(msgspec.Struct, frozen=True):
    """A file that was not yet the current file of its map.

    `before` is the status of the map with the former file, None for a new map. `unreviewed`: staff had set that status,
    and upstream has replaced the file.
    """

    map_id: int
    set_id: int
    md5: str
    before: int | None
    status: int
    unreviewed: bool


class ImportedMap(msgspec.Struct, frozen=True):
    """A file that an upload has stored. `before` is the status of its map before, None for a new map.

    `is_new_file`: it was not yet the current file of its map.
    """

    map_id: int
    set_id: int
    before: int | None
    status: int
    is_new_file: bool


class UploadAct(Protocol):
    """The act of staff whose part an upload is. Both methods run in its transaction."""

    async def begin(self, tx: Transaction) -> None:
        """Check the rights of the actor, before anything is written."""
        ...

    async def record(self, tx: Transaction, maps: Sequence[ImportedMap]) -> None:
        """Write the audit row, after everything is written."""
        ...


OnNewFiles = Callable[[Transaction, Sequence[NewFile], int], Awaitable[None]]
"""Called in the transaction of the import, after the maps are written, with the time in unix ms."""


async def _ignored(tx: Transaction, files: Sequence[NewFile], now_ms: int) -> None:
    """Do nothing about new files."""


class Rater(Protocol):
    """Computes stars and maximum combo of a map from its stored .osu file."""

    async def rate(self, md5: str, mode: int) -> tuple[float, int]:
        """Return stars and maximum combo without mods. Raises KiaiError if they cannot be computed."""
        ...


class _OsuFile(msgspec.Struct, frozen=True):
    path: str
    data: bytes
    modified_s: int
    ids: tuple[int, int] | None = None
    """The ids of the map and its set from upstream. They override those in the file, which old files do not have."""


class _Group(msgspec.Struct):
    """The .osu files of an archive or of a folder. `archive` has the bytes of the archive, None for a folder."""

    path: str
    files: list[_OsuFile] = msgspec.field(default_factory=list)
    archive: bytes | None = None
    has_storyboard: bool = False


class _Parsed(msgspec.Struct, frozen=True):
    source: _OsuFile
    file: BeatmapFile
    stars: float
    max_combo: int

    @property
    def map_id(self) -> int | None:
        """The official id of the map that the file claims."""
        return _official(self.source.ids[0] if self.source.ids else self.file.beatmap_id)

    @property
    def set_id(self) -> int | None:
        """The official id of the set that the file claims."""
        return _official(self.source.ids[1] if self.source.ids else self.file.beatmap_set_id)


class _Change(msgspec.Struct, frozen=True):
    """The changes of a file: known revisions, the sets that they belonged to, and the status of its map."""

    revisions: list[FormerRevision]
    former_sets: set[int]
    before: int | None
    status: int
    is_new_status: bool
    new_file: NewFile | None


class _Stored(msgspec.Struct, frozen=True):
    """A stored file, with what it changed."""

    parsed: _Parsed
    map_id: int
    set_id: int
    change: _Change


class _Run:
    """The state of an import: its report, and the paths of the files so far by md5, map id and set id."""

    def __init__(self) -> None:
        self.report = ImportReport()
        self.paths: dict[str, str] = {}
        self.maps: dict[int, str] = {}
        self.archives: dict[int, tuple[str, bytes]] = {}

    def note(self, path: str, what: str) -> None:
        self.report.notes.append(ImportNote(path, what))

    def count(self, stored: _Stored) -> None:
        """Add a stored file to the report, with notes about other files with the same content or id."""
        parsed, md5, path = stored.parsed, stored.parsed.file.md5, stored.parsed.source.path
        self.report.changed += stored.change.revisions
        if md5 in self.paths:
            self.note(path, f"the same file as {self.paths[md5]}")
            return
        self.paths[md5] = path
        self.report.maps += 1
        former = self.maps.get(stored.map_id)
        if former is not None:
            self.note(
                former,
                f"is no longer the current file of map {stored.map_id}: {path} has the same id and was imported later",
            )
        if parsed.map_id is not None and parsed.map_id != stored.map_id:
            self.note(
                path, f"stored as map {stored.map_id}: another file of its set also claims the id {parsed.map_id}"
            )
        self.maps[stored.map_id] = path


Progress = Callable[[int, int], None]  # done, in all


class Importer:
    """Imports .osu files as maps and sets."""

    def __init__(self, database: Database, files: Files, rater: Rater, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._rater = rater
        self._clock = clock
        self._on_new_files: OnNewFiles = _ignored

    def subscribe(self, on_new_files: OnNewFiles) -> None:
        """Set the function that learns about new files."""
        self._on_new_files = on_new_files

    async def import_paths(
        self, paths: Iterable[Path], *, status: MapStatus | None = None, progress: Progress = lambda done, total: None
    ) -> ImportReport:
        """Import archives, .osu files, and those in folders at any depth.

        Maps get `status`. If it is None, new maps become ranked and known maps keep their status. `progress` gets
        (done, total) sources.
        """
        run = _Run()
        sources = list(sources_in(paths, run.report))
        touched: set[int] = set()
        for done, source in enumerate(sources):
            progress(done, len(sources))
            group = await asyncio.to_thread(_read, source, run.report)
            sets = await self._import_group(group.files, status, run)
            touched |= sets.keys()
            await self._store_archive(group, sets, run)
        progress(len(sources), len(sources))
        run.report.sets = len(touched)
        return run.report

    async def import_source(self, source: list[Path], *, status: MapStatus | None = None) -> ImportReport:
        """Import one source from `sources_in`: an archive, or the .osu files of a folder. `status` is as above."""
        run = _Run()
        group = await asyncio.to_thread(_read, source, run.report)
        sets = await self._import_group(group.files, status, run)
        await self._store_archive(group, sets, run)
        run.report.sets = len(sets)
        return run.report

    async def import_file(
        self,
        data: bytes,
        *,
        name: str,
        status: MapStatus | None,
        upstream: MapStatus | None = None,
        ids: tuple[int, int] | None = None,
        modified_s: int | None = None,
    ) -> ImportReport:
        """Import one .osu file from memory, e.g. from upstream. `modified_s` is its unix time, by default now.

        `upstream` is the status there. A map whose status was set by staff keeps that status; if its file changed, it
        becomes pending until staff has reviewed it (docs/spec/beatmaps.md#status-set-by-staff). `ids` are the ids of
        the map and its set, if known. They override those in the file, which old files do not have.
        """
        run = _Run()
        files = [_OsuFile(name, data, self._clock.now_ms() // 1000 if modified_s is None else modified_s, ids)]
        run.report.sets = len(await self._import_group(files, status, run, upstream))
        return run.report

    async def import_upload(self, archive: bytes, unpacked: UnpackedMaps, act: UploadAct) -> ImportReport:
        """Import an archive that staff has uploaded, with the files that were read from it.

        New maps become pending, and so does a map that has another file from now on. The others keep their status.
        Raises what `act` raises.
        """
        run, group = _Run(), _Group("the archive")
        _add_unpacked(group, archive, unpacked, "", run.report)
        sets = await self._import_group(group.files, None, run, act=act)
        await self._store_archive(group, sets, run)
        run.report.sets = len(sets)
        return run.report

    async def _import_group(
        self,
        files: list[_OsuFile],
        status: MapStatus | None,
        run: _Run,
        upstream: MapStatus | None = None,
        act: UploadAct | None = None,
    ) -> dict[int, list[_Parsed]]:
        """Import the files of a group and return those that were stored, by set id."""
        # Parsing and rating take up to seconds, so they come before the transaction.
        parsed_files = [parsed async for parsed in self._parse_all(files, run.report)]
        if not parsed_files:
            return {}
        now = self._clock.now_ms()
        results: list[_Stored] = []

        async def body(tx: Transaction) -> None:
            results.clear()  # the body is run again after a conflict
            if act is not None:
                await act.begin(tx)
            holders = await _holders(tx, parsed_files)
            set_id_of_group = next((parsed.set_id for parsed in parsed_files if parsed.set_id is not None), None)
            touched: set[int] = set()
            for parsed in parsed_files:
                set_id = await _set_id(tx, parsed, set_id_of_group)
                set_id_of_group = set_id_of_group or set_id
                await _store_set(tx, set_id, parsed, now)
                map_id = await _map_id(tx, parsed, holders)
                change = await _store_map(tx, map_id, set_id, parsed, status, upstream, uploaded=act is not None)
                touched |= {set_id, *change.former_sets}
                # In the same transaction, so that a crash cannot lose the update of first places and totals.
                for former in change.revisions:
                    await tasks.begin(tx, MAP_STATUS, former.key, now)
                results.append(_Stored(parsed, map_id, set_id, change))
            # First: it reports the nominations that it resets, and `answer` only ends them.
            new_files = [stored.change.new_file for stored in results if stored.change.new_file is not None]
            if new_files:
                await self._on_new_files(tx, new_files, now)
            statuses = {(stored.set_id, stored.change.status) for stored in results if stored.change.is_new_status}
            for set_id, new_status in sorted(statuses):
                await ranking.answer(tx, set_id, new_status, now)
            for set_id in sorted(touched):
                await catalogue.refresh(tx, set_id, now)
            if act is not None:
                await act.record(tx, [_imported(stored) for stored in results])

        await self._store(body)
        sets: dict[int, list[_Parsed]] = {}
        for stored in results:
            run.count(stored)
            sets.setdefault(stored.set_id, []).append(stored.parsed)
        return sets

    async def _store(self, body: Callable[[Transaction], Awaitable[None]]) -> None:
        """Run a transaction, again after each conflict with another import over a set, a map or a new id."""
        for left in reversed(range(TRIES)):
            try:
                await self._database.transaction(body)
            except UniqueViolation:
                if not left:
                    raise
            else:
                return

    async def _store_archive(self, group: _Group, sets: dict[int, list[_Parsed]], run: _Run) -> None:
        """Store the archive of imported sets for downloads, under the id of each set."""
        data = group.archive
        if data is None or not sets:
            return
        if len(sets) > SETS_STORED_MAX:
            run.note(
                group.path, f"not stored for downloads: it has {len(sets)} sets; at most {SETS_STORED_MAX} are allowed"
            )
            return
        if len(sets) > 1:
            run.note(group.path, f"the download of {len(sets)} sets: {', '.join(map(str, sorted(sets)))}")
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        for set_id, files in sets.items():
            former, digest_before = run.archives.get(set_id, ("", digest))
            if digest_before != digest:
                run.note(
                    former,
                    f"no longer the download of set {set_id}: {group.path} has the set, too, and was imported later",
                )
            run.archives[set_id] = group.path, digest
            await self._files.put(archive_key(set_id), data)
            await self._describe_archive(set_id, group, files, len(data))

    async def _describe_archive(self, set_id: int, group: _Group, files: list[_Parsed], size: int) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(
                queries.SET_ARCHIVE,
                of_set=set_id,
                osz_size=size,
                has_video=int(any(parsed.file.has_video for parsed in files)),
                has_storyboard=int(group.has_storyboard or any(parsed.file.has_storyboard for parsed in files)),
            )

        await self._database.transaction(body)

    async def _parse_all(self, files: list[_OsuFile], report: ImportReport) -> AsyncIterator[_Parsed]:
        for start in range(0, len(files), AT_ONCE):
            batch = files[start : start + AT_ONCE]
            for result in await asyncio.gather(*(self._parse(file) for file in batch)):
                if isinstance(result, SkippedFile):
                    report.skipped.append(result)
                else:
                    yield result

    async def _parse(self, source: _OsuFile) -> _Parsed | SkippedFile:
        try:
            file = await asyncio.to_thread(parse_beatmap, source.data)
        except BadBeatmap as error:
            return SkippedFile(source.path, str(error))
        known = await self._database.one(queries.BY_MD5, md5=file.md5)
        # The file comes before the row, and the rater reads it from the store.
        await self._files.put(osu_key(file.md5), source.data)
        try:
            stars, max_combo = await self._rater.rate(file.md5, file.mode)
        except KiaiError as error:
            # Another import of this file may be storing its row. It can fail only when the rating is unavailable to
            # one of the two, so the file stays then. A file that cannot be rated at all gets no row from either.
            if known is None and not isinstance(error, Unavailable):
                await self._files.delete(osu_key(file.md5))
            return SkippedFile(source.path, f"its stars cannot be computed: {error}")
        return _Parsed(source, file, round(stars, 3), max_combo)


def _official(claimed: int) -> int | None:
    return claimed if 0 < claimed < OWN_ID_FIRST else None


async def _set_id(tx: Transaction, parsed: _Parsed, of_group: int | None) -> int:
    """Return the set id of a file: its own, else that of its group, else that of its known revision, else a new one."""
    if parsed.set_id is not None:
        return parsed.set_id
    if of_group is not None:
        return of_group
    known = await tx.one(queries.BY_MD5, md5=parsed.file.md5)
    if known is not None:
        return known.set_id
    # Two imports may read the same last id. The primary key refuses the second one, and `_store` runs it again.
    return max(OWN_ID_FIRST - 1, await tx.one(queries.OWN_SET_LAST, first=OWN_ID_FIRST) or 0) + 1


async def _holders(tx: Transaction, parsed_files: list[_Parsed]) -> dict[int, str]:
    """Return the md5 of the file that gets each claimed official id: the one that has it already, else the first.

    A copied difficulty often keeps the id of its original. Both remain playable, because the other file gets an id of
    this server.
    """
    holders: dict[int, str] = {}
    for parsed in parsed_files:
        map_id, md5 = parsed.map_id, parsed.file.md5
        if map_id is None or holders.get(map_id) == md5:
            continue
        if map_id in holders:
            current = await tx.one(queries.BY_ID, id=map_id)
            if current is None or current.md5 != md5:
                continue
        holders[map_id] = md5
    return holders


async def _map_id(tx: Transaction, parsed: _Parsed, holders: dict[int, str]) -> int:
    """Return the map id of a file: the one that it claims, else that of its known revision, else a new one."""
    claimed = parsed.map_id
    if claimed is not None and holders[claimed] == parsed.file.md5:
        return claimed
    known = await tx.one(queries.BY_MD5, md5=parsed.file.md5)
    if known is not None and known.id != claimed:
        return known.id
    return max(OWN_ID_FIRST - 1, await tx.one(queries.OWN_ID_LAST, first=OWN_ID_FIRST) or 0) + 1


async def _store_set(tx: Transaction, set_id: int, parsed: _Parsed, now_ms: int) -> None:
    values: dict[str, Value] = {
        "artist": parsed.file.artist,
        "title": parsed.file.title,
        "artist_unicode": parsed.file.artist_unicode,
        "title_unicode": parsed.file.title_unicode,
        "creator": parsed.file.creator,
        "source": parsed.file.source,
        "tags": parsed.file.tags,
        "last_update_ms": parsed.source.modified_s * 1000,
    }
    if await tx.one(queries.SET_EXISTS, id=set_id) is None:
        await tx.run(queries.INSERT_SET, id=set_id, added_at_ms=now_ms, **values)
    else:
        await tx.run(queries.UPDATE_SET, set_id=set_id, **values)


async def _store_map(
    tx: Transaction,
    map_id: int,
    set_id: int,
    parsed: _Parsed,
    status: MapStatus | None,
    upstream: MapStatus | None,
    *,
    uploaded: bool,
) -> _Change:
    """Store a revision as the current one of its map, and return what this changes."""
    file = parsed.file
    fields: dict[str, Value] = {
        "set_id": set_id,
        "artist": file.artist,
        "title": file.title,
        "version": file.version,
        "creator": file.creator,
        "filename": file_name(file.artist, file.title, file.creator, file.version),
        "total_length": file.total_length_s,
        "hit_length": file.hit_length_s,
        "max_combo": parsed.max_combo,
        "objects": file.objects,
        "bpm": file.bpm,
        "cs": file.cs,
        "od": file.od,
        "ar": file.ar,
        "hp": file.hp,
        "diff": parsed.stars,
    }
    same = await tx.one(queries.BY_MD5, md5=file.md5)
    current = await tx.one(queries.BY_ID, id=map_id)
    replaced = current if current is not None and (same is None or current.key != same.key) else None
    changed = [] if replaced is None else [FormerRevision(replaced.key, replaced.current, replaced.status)]
    if replaced is not None:
        # Before the insert: a unique index allows one current revision of a map.
        await tx.run(queries.REPLACE, map_id=map_id)
    new_status, frozen = _status(current, status, upstream, other_file=replaced is not None, uploaded=uploaded)
    if same is None:
        key = await tx.one(
            queries.INSERT_MAP,
            id=map_id,
            md5=file.md5,
            current=1,
            mode=file.mode,
            status=new_status,
            frozen=frozen,
            last_update_ms=parsed.source.modified_s * 1000,
            **fields,
        )
    else:
        await tx.run(queries.REFRESH, map_key=same.key, **fields)
        # Importing the same file again must not invalidate cached boards or start a task.
        counts_differently = (same.status, same.current) != (new_status, 1)
        await tx.run(
            queries.RESTORE,
            map_key=same.key,
            id=map_id,
            status=new_status,
            frozen=frozen,
            by_version=int(counts_differently),
        )
        if counts_differently:
            changed.append(FormerRevision(same.key, same.current, same.status))
        key = same.key
    await index_words(tx, int(key or 0), file.artist, file.title, file.version, file.creator)
    before = None if current is None else current.status
    unreviewed = replaced is not None and (
        (upstream is not None and bool(replaced.frozen)) or (uploaded and new_status != replaced.status)
    )
    is_new_file = current is None or replaced is not None
    return _Change(
        revisions=changed,
        former_sets={known.set_id for known in (same, current) if known is not None},
        before=before,
        status=new_status,
        is_new_status=before != new_status,
        new_file=NewFile(map_id, set_id, file.md5, before, new_status, unreviewed) if is_new_file else None,
    )


def _status(
    current: Beatmap | None, wanted: MapStatus | None, upstream: MapStatus | None, *, other_file: bool, uploaded: bool
) -> tuple[int, int]:
    """Return the status of a map after an import, and 1 if it is frozen, so that upstream may not change it."""
    if wanted is not None:  # the operator has chosen it
        return int(wanted), 1
    if uploaded and (current is None or other_file):  # only an act on the status gives a board
        return int(MapStatus.PENDING), 0 if current is None else current.frozen
    if upstream is not None:
        # Staff approved the old file. The new one may be anything, so it has no board until they have reviewed it.
        if current is None or not current.frozen:
            return int(upstream), 0
        return (int(MapStatus.PENDING) if other_file else current.status), 1
    return (current.status, current.frozen) if current is not None else (int(MapStatus.RANKED), 0)


def _imported(stored: _Stored) -> ImportedMap:
    change = stored.change
    return ImportedMap(stored.map_id, stored.set_id, change.before, change.status, change.new_file is not None)


# --- reading files and archives


def sources_in(paths: Iterable[Path], report: ImportReport) -> Iterator[list[Path]]:
    """Yield groups of files: each archive separately, and the .osu files of each folder together."""
    for path in paths:
        try:
            if path.is_dir():
                yield from _in_folder(path, report)
            elif not path.exists():
                report.skipped.append(SkippedFile(_printable(path), "there is no such file or folder"))
            elif path.suffix.lower() not in (".osu", *_ARCHIVES):
                report.skipped.append(SkippedFile(_printable(path), "neither a folder nor an .osz, .olz or .osu file"))
            elif not path.is_file():
                report.skipped.append(SkippedFile(_printable(path), "not a regular file"))
            else:
                yield [path]
        except OSError as error:
            report.skipped.append(SkippedFile(_printable(path), f"cannot be read: {error.strerror}"))


def _in_folder(top: Path, report: ImportReport) -> Iterator[list[Path]]:
    def failed(error: OSError) -> None:
        report.skipped.append(SkippedFile(_printable(error.filename), f"cannot be read: {error.strerror}"))

    any_found = False
    skipped = len(report.skipped)
    for folder, folders, names in os.walk(top, onerror=failed):
        folders.sort()  # in place: `os.walk` then visits them in this order on every file system
        found = [Path(folder, name) for name in sorted(names)]
        found = [path for path in found if path.suffix.lower() in (".osu", *_ARCHIVES)]
        found = [path for path in found if not is_shadow(path.relative_to(top).as_posix())]
        any_found = any_found or bool(found)
        files = []
        for path in found:
            if not path.is_file():
                report.skipped.append(SkippedFile(_printable(path), "not a regular file"))
            elif path.suffix.lower() == ".osu":
                files.append(path)
            else:
                yield [path]
        if files:
            yield files
    if not any_found and len(report.skipped) == skipped:
        report.skipped.append(SkippedFile(_printable(top), "the folder has no .osz, .olz or .osu file"))


def _read(paths: list[Path], report: ImportReport) -> _Group:
    """Read a group of files into memory. Faults go to the report."""
    group = _Group(_printable(paths[0]))
    for path in paths:
        is_archive = path.suffix.lower() in _ARCHIVES
        largest, what = (ARCHIVE_MAX, "the archive is ") if is_archive else (OSU_MAX, "")
        try:
            if path.stat().st_size > largest:  # before reading
                report.skipped.append(SkippedFile(_printable(path), f"{what}larger than {largest // 1024**2} MiB"))
                continue
            data = path.read_bytes()
            if is_archive:
                _unpack(group, data, report)
            else:
                group.files.append(_OsuFile(_printable(path), data, int(path.stat().st_mtime)))
        except OSError as error:
            report.skipped.append(SkippedFile(_printable(path), f"cannot be read: {error.strerror}"))
    return group


def _unpack(group: _Group, data: bytes, report: ImportReport) -> None:
    try:
        unpacked = unpack_maps(data)
    except BadArchive as error:
        report.skipped.append(SkippedFile(group.path, str(error)))
        return
    _add_unpacked(group, data, unpacked, f"{group.path}:", report)


def _add_unpacked(group: _Group, data: bytes, unpacked: UnpackedMaps, before: str, report: ImportReport) -> None:
    """Add the files of an archive to its group. `before` begins their paths in the report."""
    group.archive = data
    group.has_storyboard = unpacked.has_storyboard
    group.files += [_OsuFile(f"{before}{file.name}", file.data, file.modified_s) for file in unpacked.files]
    report.skipped += [SkippedFile(f"{before}{name}", why) for name, why in unpacked.skipped]


def _printable(path: Path | str) -> str:
    """Return a path as text that can be stored and printed. Bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")
