"""Import of beatmaps from folders, .osz and .olz archives and .osu files.

What is given is treated as hostile: only .osu files are ever read, into memory, with every size counted while an
archive inflates (`archives.py`). A file that cannot be used is skipped with its reason and never stops the rest.
Importing the same file again changes nothing; another file for a known beatmap id becomes its current revision, and
the old one keeps its scores. Where a file is taken otherwise than it asks to be, a note in the report says so.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from kiai.beatmaps import queries
from kiai.beatmaps.model import MAP_STATUS, OWN_ID_FIRST, Beatmap, MapStatus, osu_key
from kiai.beatmaps.words import index_words
from kiai.clock import Clock
from kiai.decoding.archives import ARCHIVE_MAX, OSU_MAX, Archive, BadArchive, BadEntry, is_shadow, leaves
from kiai.errors import KiaiError
from kiai.files.port import Files
from kiai.osu.beatmap_file import BadBeatmap, BeatmapFile, file_name, parse_beatmap
from kiai.storage import tasks
from kiai.storage.port import Database, Taken, Transaction, Value

AT_ONCE: Final = 8
TRIES: Final = 20  # of a transaction; each time, one of those that collide gets through
SETS_KEPT_MAX: Final = 8
"""An archive is kept once for each set in it, up to so many."""
_ARCHIVES: Final = (".osz", ".olz")


def archive_key(set_id: int) -> str:
    """Where the archive of a set lies in the files store."""
    return f"osz/{set_id}.osz"


class Skipped(msgspec.Struct, frozen=True):
    """A file that was not imported, and why."""

    path: str
    why: str


class Note(msgspec.Struct, frozen=True):
    """A file that was imported, and what became of it that its reader would not expect."""

    path: str
    what: str


class ImportReport(msgspec.Struct):
    """What an import did. `maps` counts files that differ.

    `changed` are the keys of known revisions that count otherwise now than before: they were replaced, came back, or
    have another status. First places and the totals of their players follow as tasks.
    """

    sets: int = 0
    maps: int = 0
    skipped: list[Skipped] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)
    changed: list[int] = msgspec.field(default_factory=list)


class Rater(Protocol):
    """Who computes a map's stars and maximum combo from its stored .osu file."""

    async def rate(self, md5: str, mode: int) -> tuple[float, int]: ...


class _OsuFile(msgspec.Struct, frozen=True):
    path: str
    data: bytes
    modified_s: int
    ids: tuple[int, int] | None = None
    """Of the map and of its set, where they are known better than by the file; it may name none."""


class _Group(msgspec.Struct):
    """Files that belong together: those of an archive, or of a folder. `archive` is None for a folder."""

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
        """The official id that the file claims."""
        return _official(self.source.ids[0] if self.source.ids else self.file.beatmap_id)

    @property
    def set_id(self) -> int | None:
        """The official id of the set that the file claims."""
        return _official(self.source.ids[1] if self.source.ids else self.file.beatmap_set_id)


class _Stored(msgspec.Struct, frozen=True):
    """One file in the database, and the keys of known revisions that count otherwise now."""

    one: _Parsed
    map_id: int
    set_id: int
    changed: list[int]


class _Run:
    """One import: its report, and the paths of what has come so far, by md5, map and set."""

    def __init__(self) -> None:
        self.report = ImportReport()
        self.paths: dict[str, str] = {}
        self.maps: dict[int, str] = {}
        self.archives: dict[int, tuple[str, bytes]] = {}

    def note(self, path: str, what: str) -> None:
        self.report.notes.append(Note(path, what))

    def count(self, stored: _Stored) -> None:
        """Counts a file, and notes what it has in common with others of this import."""
        one, md5, path = stored.one, stored.one.file.md5, stored.one.source.path
        self.report.changed += stored.changed
        if md5 in self.paths:
            self.note(path, f"the same file as {self.paths[md5]}")
            return
        self.paths[md5] = path
        self.report.maps += 1
        former = self.maps.get(stored.map_id)
        if former is not None:
            self.note(
                former,
                f"is no longer the current file of map {stored.map_id}: {path} has the same id and came later",
            )
        if one.map_id is not None and one.map_id != stored.map_id:
            self.note(
                path, f"map {stored.map_id} here: another file of its set has the id {one.map_id} that it claims, too"
            )
        self.maps[stored.map_id] = path


Progress = Callable[[int, int], None]  # done, in all


class Importer:
    """Turns .osu files into maps and sets."""

    def __init__(self, database: Database, files: Files, rater: Rater, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._rater = rater
        self._clock = clock

    async def import_paths(
        self, paths: Iterable[Path], *, status: MapStatus | None = None, progress: Progress = lambda done, total: None
    ) -> ImportReport:
        """Imports everything under `paths`: a folder's files at any depth, archives, single files.

        New maps get `status`, ranked when it is None; known ones keep theirs when it is None.
        """
        run = _Run()
        sources = list(_sources(paths, run.report))
        touched: set[int] = set()
        for done, source in enumerate(sources):
            progress(done, len(sources))
            group = await asyncio.to_thread(_read, source, run.report)
            sets = await self._import_group(group.files, status, run)
            touched |= sets.keys()
            await self._keep_archive(group, sets, run)
        progress(len(sources), len(sources))
        run.report.sets = len(touched)
        return run.report

    async def import_file(
        self,
        data: bytes,
        *,
        name: str,
        status: MapStatus | None,
        upstream: MapStatus | None = None,
        ids: tuple[int, int] | None = None,
    ) -> ImportReport:
        """Imports one .osu file that is in memory already (from upstream, or composed).

        `upstream` is the status that upstream gives it: a map whose status the staff has set keeps that, but for one
        whose file changed, which is pending until the staff has seen it (docs/spec/beatmaps.md#status-set-by-staff).
        `ids` are those of the map and its set where they are known: they go before what the file says, as old files
        name none.
        """
        run = _Run()
        files = [_OsuFile(name, data, self._clock.now_ms() // 1000, ids)]
        run.report.sets = len(await self._import_group(files, status, run, upstream))
        return run.report

    async def _import_group(
        self, files: list[_OsuFile], status: MapStatus | None, run: _Run, upstream: MapStatus | None = None
    ) -> dict[int, list[_Parsed]]:
        """The files that were imported, by set."""
        parsed = [one async for one in self._parse_all(files, run.report)]
        if not parsed:
            return {}
        now = self._clock.now_ms()
        results: list[_Stored] = []

        async def body(tx: Transaction) -> None:
            results.clear()  # a body may be run again
            holders = await _holders(tx, parsed)
            set_id_of_group = next((one.set_id for one in parsed if one.set_id is not None), None)
            for one in parsed:
                set_id = await _set_id(tx, one, set_id_of_group)
                set_id_of_group = set_id_of_group or set_id
                await _store_set(tx, set_id, one, now)
                map_id = await _map_id(tx, one, holders)
                changed = await _store_map(tx, map_id, set_id, one, status, upstream)
                for key in changed:
                    await tasks.begin(tx, MAP_STATUS, key, now)
                results.append(_Stored(one, map_id, set_id, changed))

        await self._store(body)
        sets: dict[int, list[_Parsed]] = {}
        for stored in results:
            run.count(stored)
            sets.setdefault(stored.set_id, []).append(stored.one)
        return sets

    async def _store(self, body: Callable[[Transaction], Awaitable[None]]) -> None:
        """Runs it again where another import has made the same set or map meanwhile, or has taken the same new id."""
        for left in reversed(range(TRIES)):
            try:
                await self._database.transaction(body)
            except Taken:
                if not left:
                    raise
            else:
                return

    async def _keep_archive(self, group: _Group, sets: dict[int, list[_Parsed]], run: _Run) -> None:
        """Keeps the archive that sets came in, to hand it out whole under the id of each."""
        data = group.archive
        if data is None or not sets:
            return
        if len(sets) > SETS_KEPT_MAX:
            run.note(group.path, f"not kept for downloads: it holds {len(sets)} sets; {SETS_KEPT_MAX} are allowed")
            return
        if len(sets) > 1:
            run.note(group.path, f"the download of {len(sets)} sets: {', '.join(map(str, sorted(sets)))}")
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        for set_id, files in sets.items():
            former, digest_before = run.archives.get(set_id, ("", digest))
            if digest_before != digest:
                run.note(former, f"no longer the download of set {set_id}: {group.path} holds it, too, and came later")
            run.archives[set_id] = group.path, digest
            await self._files.put(archive_key(set_id), data)
            await self._describe_archive(set_id, group, files, len(data))

    async def _describe_archive(self, set_id: int, group: _Group, files: list[_Parsed], size: int) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(
                queries.SET_ARCHIVE,
                of_set=set_id,
                osz_size=size,
                has_video=int(any(one.file.has_video for one in files)),
                has_storyboard=int(group.has_storyboard or any(one.file.has_storyboard for one in files)),
            )

        await self._database.transaction(body)

    async def _parse_all(self, files: list[_OsuFile], report: ImportReport) -> AsyncIterator[_Parsed]:
        for start in range(0, len(files), AT_ONCE):
            batch = files[start : start + AT_ONCE]
            for result in await asyncio.gather(*(self._parse(one) for one in batch)):
                if isinstance(result, Skipped):
                    report.skipped.append(result)
                else:
                    yield result

    async def _parse(self, source: _OsuFile) -> _Parsed | Skipped:
        try:
            file = await asyncio.to_thread(parse_beatmap, source.data)
        except BadBeatmap as error:
            return Skipped(source.path, str(error))
        known = await self._database.one(queries.BY_MD5, md5=file.md5)
        await self._files.put(osu_key(file.md5), source.data)
        try:
            stars, max_combo = await self._rater.rate(file.md5, file.mode)
        except KiaiError as error:
            if known is None:
                await self._files.delete(osu_key(file.md5))
            return Skipped(source.path, f"its stars cannot be computed: {error}")
        return _Parsed(source, file, round(stars, 3), max_combo)


def _official(claimed: int) -> int | None:
    return claimed if 0 < claimed < OWN_ID_FIRST else None


async def _set_id(tx: Transaction, one: _Parsed, of_group: int | None) -> int:
    """The file's own set id; else its neighbours', else that of the map's known revision, else a new one of ours."""
    if one.set_id is not None:
        return one.set_id
    if of_group is not None:
        return of_group
    known = await tx.one(queries.BY_MD5, md5=one.file.md5)
    if known is not None:
        return known.set_id
    return max(OWN_ID_FIRST - 1, await tx.one(queries.OWN_SET_LAST, first=OWN_ID_FIRST) or 0) + 1


async def _holders(tx: Transaction, parsed: list[_Parsed]) -> dict[int, str]:
    """Which file of a group has an official id, by md5: the one that has it already, else the first that claims it.

    A copied difficulty often keeps the id of its original. Both stay playable: the other one gets an id of ours.
    """
    holders: dict[int, str] = {}
    for one in parsed:
        map_id, md5 = one.map_id, one.file.md5
        if map_id is None or holders.get(map_id) == md5:
            continue
        if map_id in holders:
            current = await tx.one(queries.BY_ID, id=map_id)
            if current is None or current.md5 != md5:
                continue
        holders[map_id] = md5
    return holders


async def _map_id(tx: Transaction, one: _Parsed, holders: dict[int, str]) -> int:
    """The id of the file's map: the one it claims, else the one it is known under, else a new one of ours."""
    claimed = one.map_id
    if claimed is not None and holders[claimed] == one.file.md5:
        return claimed
    known = await tx.one(queries.BY_MD5, md5=one.file.md5)
    if known is not None and known.id != claimed:
        return known.id
    return max(OWN_ID_FIRST - 1, await tx.one(queries.OWN_ID_LAST, first=OWN_ID_FIRST) or 0) + 1


async def _store_set(tx: Transaction, set_id: int, one: _Parsed, now_ms: int) -> None:
    values: dict[str, Value] = {
        "artist": one.file.artist,
        "title": one.file.title,
        "creator": one.file.creator,
        "source": one.file.source,
        "tags": one.file.tags,
        "last_update_ms": one.source.modified_s * 1000,
    }
    if await tx.one(queries.SET_EXISTS, id=set_id) is None:
        await tx.run(queries.INSERT_SET, id=set_id, added_at_ms=now_ms, **values)
    else:
        await tx.run(queries.UPDATE_SET, set_id=set_id, **values)


async def _store_map(
    tx: Transaction, map_id: int, set_id: int, one: _Parsed, status: MapStatus | None, upstream: MapStatus | None
) -> list[int]:
    """Stores one revision as the current one; the keys of known revisions that count otherwise now."""
    file = one.file
    fields: dict[str, Value] = {
        "set_id": set_id,
        "artist": file.artist,
        "title": file.title,
        "version": file.version,
        "creator": file.creator,
        "filename": file_name(file.artist, file.title, file.creator, file.version),
        "total_length": file.total_length_s,
        "hit_length": file.hit_length_s,
        "max_combo": one.max_combo,
        "objects": file.objects,
        "bpm": file.bpm,
        "cs": file.cs,
        "od": file.od,
        "ar": file.ar,
        "hp": file.hp,
        "diff": one.stars,
    }
    same = await tx.one(queries.BY_MD5, md5=file.md5)
    current = await tx.one(queries.BY_ID, id=map_id)
    replaced = current if current is not None and (same is None or current.key != same.key) else None
    changed = [replaced.key] if replaced is not None else []
    if replaced is not None:
        await tx.run(queries.REPLACE, map_id=map_id)
    new_status, frozen = _status(current, status, upstream, other_file=replaced is not None)
    if same is None:
        key = await tx.one(
            queries.INSERT_MAP,
            id=map_id,
            md5=file.md5,
            current=1,
            mode=file.mode,
            status=new_status,
            frozen=frozen,
            last_update_ms=one.source.modified_s * 1000,
            **fields,
        )
    else:
        await tx.run(queries.REFRESH, map_key=same.key, **fields)
        judged = (same.status, same.current) != (new_status, 1)
        await tx.run(
            queries.REVIVE, map_key=same.key, id=map_id, status=new_status, frozen=frozen, by_version=int(judged)
        )
        if judged:
            changed.append(same.key)
        key = same.key
    await index_words(tx, int(key or 0), file.artist, file.title, file.version, file.creator)
    return changed


def _status(
    current: Beatmap | None, wanted: MapStatus | None, upstream: MapStatus | None, *, other_file: bool
) -> tuple[int, int]:
    """The status a map has after an import, and whether it is frozen: upstream may not change it."""
    if wanted is not None:
        return int(wanted), 1
    if upstream is not None:
        if current is None or not current.frozen:
            return int(upstream), 0
        return (int(MapStatus.PENDING) if other_file else current.status), 1
    return (current.status, current.frozen) if current is not None else (int(MapStatus.RANKED), 0)


# --- reading files and archives


def _sources(paths: Iterable[Path], report: ImportReport) -> Iterator[list[Path]]:
    """Groups of files that belong together: an archive alone, the .osu files of one folder together."""
    for path in paths:
        try:
            if path.is_dir():
                yield from _in_folder(path, report)
            elif not path.exists():
                report.skipped.append(Skipped(_shown(path), "there is no such file or folder"))
            elif path.suffix.lower() not in (".osu", *_ARCHIVES):
                report.skipped.append(Skipped(_shown(path), "neither a folder nor an .osz, .olz or .osu file"))
            elif not path.is_file():
                report.skipped.append(Skipped(_shown(path), "not a regular file"))
            else:
                yield [path]
        except OSError as error:
            report.skipped.append(Skipped(_shown(path), f"cannot be read: {error.strerror}"))


def _in_folder(top: Path, report: ImportReport) -> Iterator[list[Path]]:
    def failed(error: OSError) -> None:
        report.skipped.append(Skipped(_shown(error.filename), f"cannot be read: {error.strerror}"))

    any_found = False
    skipped = len(report.skipped)
    for folder, folders, names in os.walk(top, onerror=failed):
        folders.sort()
        found = [Path(folder, name) for name in sorted(names)]
        found = [path for path in found if path.suffix.lower() in (".osu", *_ARCHIVES)]
        found = [path for path in found if not is_shadow(path.relative_to(top).as_posix())]
        any_found = any_found or bool(found)
        files = []
        for path in found:
            if not path.is_file():
                report.skipped.append(Skipped(_shown(path), "not a regular file"))
            elif path.suffix.lower() == ".osu":
                files.append(path)
            else:
                yield [path]
        if files:
            yield files
    if not any_found and len(report.skipped) == skipped:
        report.skipped.append(Skipped(_shown(top), "the folder holds no .osz, .olz or .osu file"))


def _read(paths: list[Path], report: ImportReport) -> _Group:
    """What is given, in memory; what is wrong with it goes to the report."""
    group = _Group(_shown(paths[0]))
    for path in paths:
        is_archive = path.suffix.lower() in _ARCHIVES
        largest, what = (ARCHIVE_MAX, "the archive is ") if is_archive else (OSU_MAX, "")
        try:
            if path.stat().st_size > largest:
                report.skipped.append(Skipped(_shown(path), f"{what}larger than {largest // 1024**2} MiB"))
                continue
            data = path.read_bytes()
            if is_archive:
                _unpack(group, data, report)
            else:
                group.files.append(_OsuFile(_shown(path), data, int(path.stat().st_mtime)))
        except OSError as error:
            report.skipped.append(Skipped(_shown(path), f"cannot be read: {error.strerror}"))
    return group


def _unpack(group: _Group, data: bytes, report: ImportReport) -> None:
    try:
        archive = Archive(data)
    except BadArchive as error:
        report.skipped.append(Skipped(group.path, str(error)))
        return
    maps = archive.with_ending(".osu")
    if not maps:
        report.skipped.append(Skipped(group.path, "the archive holds no .osu file"))
        return
    group.archive = data
    group.has_storyboard = bool(archive.with_ending(".osb"))
    for entry in maps:
        path = f"{group.path}:{entry.name}"
        try:
            if leaves(entry.name):
                raise BadEntry("the entry's path leaves the archive")
            group.files.append(_OsuFile(path, archive.read(entry, OSU_MAX), entry.modified_s))
        except BadEntry as error:
            report.skipped.append(Skipped(path, str(error)))


def _shown(path: Path | str) -> str:
    """A path as text that can be stored and shown, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")
