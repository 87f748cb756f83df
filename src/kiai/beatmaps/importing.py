"""Import of beatmaps from folders, .osz archives and .osu files.

What is given is treated as hostile: only .osu entries are ever read, into memory, with every size counted while it
inflates; no name from an archive becomes a path. A file that cannot be used is skipped with its reason and never stops
the rest. Importing the same file again changes nothing; another file for a known beatmap id becomes its current
revision, and the old one keeps its scores.
"""

import asyncio
import lzma
import stat
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

import msgspec

from kiai.beatmaps import queries
from kiai.beatmaps.model import OWN_ID_FIRST, Beatmap, MapStatus, osu_key
from kiai.clock import Clock
from kiai.errors import KiaiError
from kiai.files.port import Files
from kiai.osu.beatmap_file import BadBeatmap, BeatmapFile, file_name, parse_beatmap
from kiai.storage.port import Database, Transaction, Value

ARCHIVE_MAX: Final = 100 * 1024 * 1024
ENTRIES_MAX: Final = 500
INFLATED_MAX: Final = 300 * 1024 * 1024
OSU_MAX: Final = 10 * 1024 * 1024
OLDEST_UPDATE_S: Final = 1_167_609_600  # 2007: before the game there was nothing to update
AT_ONCE: Final = 8


def archive_key(set_id: int) -> str:
    """Where the archive of a set lies in the files store."""
    return f"osz/{set_id}.osz"


class Skipped(msgspec.Struct, frozen=True):
    """A file that was not imported, and why."""

    path: str
    why: str


class ImportReport(msgspec.Struct):
    """What an import did. `changed` are the keys of known revisions that count otherwise now than before.

    They were replaced, came back, or have another status; the totals of their players must follow.
    """

    sets: int = 0
    maps: int = 0
    skipped: list[Skipped] = msgspec.field(default_factory=list)
    changed: list[int] = msgspec.field(default_factory=list)


class Rater(Protocol):
    """Who computes a map's stars and maximum combo from its stored .osu file."""

    async def rate(self, md5: str, mode: int) -> tuple[float, int]: ...


class _OsuFile(msgspec.Struct, frozen=True):
    path: str
    data: bytes
    modified_s: int


class _Parsed(msgspec.Struct, frozen=True):
    source: _OsuFile
    file: BeatmapFile
    stars: float
    max_combo: int


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
        """Imports everything under `paths`: a folder's .osu and .osz files at any depth, archives, single files.

        New maps get `status`, ranked when it is None; known ones keep theirs when it is None.
        """
        report = ImportReport()
        sources = list(_sources(paths, report))
        touched: set[int] = set()
        for done, source in enumerate(sources):
            progress(done, len(sources))
            files = await asyncio.to_thread(_read, source, report)
            sets = await self._import_group(files, status, report)
            touched |= sets
            if source[0].suffix.lower() == ".osz" and len(sets) == 1:
                await self._keep_archive(sets.copy().pop(), source[0], files)
        progress(len(sources), len(sources))
        report.sets = len(touched)
        return report

    async def import_file(
        self, data: bytes, *, name: str, status: MapStatus | None, upstream: MapStatus | None = None
    ) -> ImportReport:
        """Imports one .osu file that is in memory already (from upstream, or composed).

        `upstream` is the status that upstream gives it: a map whose status the staff has set keeps that, but for one
        whose file changed, which is pending until the staff has seen it (game-rules 8.2).
        """
        report = ImportReport()
        files = [_OsuFile(name, data, self._clock.now_ms() // 1000)]
        report.sets = len(await self._import_group(files, status, report, upstream))
        return report

    async def _import_group(
        self,
        files: list[_OsuFile],
        status: MapStatus | None,
        report: ImportReport,
        upstream: MapStatus | None = None,
    ) -> set[int]:
        parsed = [one async for one in self._parse_all(files, report)]
        if not parsed:
            return set()
        now = self._clock.now_ms()
        results: list[tuple[int, list[int]]] = []

        async def body(tx: Transaction) -> None:
            results.clear()  # a body may be run again
            named = (one.file.beatmap_set_id for one in parsed if 0 < one.file.beatmap_set_id < OWN_ID_FIRST)
            set_id_of_group = next(named, None)
            for one in parsed:
                set_id = await _set_id(tx, one.file, set_id_of_group)
                set_id_of_group = set_id_of_group or set_id
                await _store_set(tx, set_id, one, now)
                results.append((set_id, await _store_map(tx, set_id, one, status, upstream)))

        await self._database.transaction(body)
        report.maps += len(parsed)
        report.changed += [key for _, changed in results for key in changed]
        return {set_id for set_id, _ in results}

    async def _keep_archive(self, set_id: int, path: Path, files: list[_OsuFile]) -> None:
        """Keeps the archive a set came in, to hand it out whole."""
        data, has_storyboard = await asyncio.to_thread(_archive, path)
        parsed = [await asyncio.to_thread(_try_parse, one.data) for one in files]
        drawn = [one for one in parsed if one is not None]
        await self._files.put(archive_key(set_id), data)

        async def body(tx: Transaction) -> None:
            await tx.run(
                queries.SET_ARCHIVE,
                of_set=set_id,
                osz_size=len(data),
                has_video=int(any(one.has_video for one in drawn)),
                has_storyboard=int(has_storyboard or any(one.has_storyboard for one in drawn)),
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
            return Skipped(source.path, str(error))
        return _Parsed(source, file, round(stars, 3), max_combo)


async def _set_id(tx: Transaction, file: BeatmapFile, of_group: int | None) -> int:
    """The file's own set id; else its neighbours', else that of the map's known revision, else a new one of ours."""
    if 0 < file.beatmap_set_id < OWN_ID_FIRST:
        return file.beatmap_set_id
    if of_group is not None:
        return of_group
    known = await tx.one(queries.BY_MD5, md5=file.md5)
    if known is not None:
        return known.set_id
    return max(OWN_ID_FIRST - 1, await tx.one(queries.OWN_SET_LAST, first=OWN_ID_FIRST) or 0) + 1


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
    tx: Transaction, set_id: int, one: _Parsed, status: MapStatus | None, upstream: MapStatus | None
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
    map_id = file.beatmap_id if 0 < file.beatmap_id < OWN_ID_FIRST else None
    if map_id is None:
        map_id = (
            same.id if same else max(OWN_ID_FIRST - 1, await tx.one(queries.OWN_ID_LAST, first=OWN_ID_FIRST) or 0) + 1
        )
    current = await tx.one(queries.BY_ID, id=map_id)
    replaced = current if current is not None and (same is None or current.key != same.key) else None
    if replaced is not None:
        await tx.run(queries.REPLACE, map_id=map_id)
    new_status, frozen = _status(current, status, upstream, other_file=replaced is not None)
    if same is None:
        await tx.one(
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
        await tx.run(queries.REVIVE, map_key=same.key, id=map_id, status=new_status, frozen=frozen)
    changed = [replaced.key] if replaced is not None else []
    if same is not None and (same.status, same.current) != (new_status, 1):
        changed.append(same.key)
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
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in (".osu", ".osz"))
            if not found:
                report.skipped.append(Skipped(str(path), "the folder holds no .osu or .osz file"))
            yield from ([p] for p in found if p.suffix.lower() == ".osz")
            folders = sorted({p.parent for p in found if p.suffix.lower() == ".osu"})
            yield from ([p for p in found if p.parent == f and p.suffix.lower() == ".osu"] for f in folders)
        elif not path.exists():
            report.skipped.append(Skipped(str(path), "there is no such file or folder"))
        elif path.suffix.lower() in (".osz", ".osu"):
            yield [path]
        else:
            report.skipped.append(Skipped(str(path), "neither a folder nor an .osz or .osu file"))


def _read(group: list[Path], report: ImportReport) -> list[_OsuFile]:
    files = []
    for path in group:
        try:
            if path.suffix.lower() == ".osz":
                files += list(_entries(path, report))
            elif path.stat().st_size > OSU_MAX:
                report.skipped.append(Skipped(str(path), f"larger than {OSU_MAX // 1024**2} MiB"))
            else:
                files.append(_OsuFile(str(path), path.read_bytes(), int(path.stat().st_mtime)))
        except OSError as error:
            report.skipped.append(Skipped(str(path), f"cannot be read: {error.strerror}"))
    return files


def _entries(path: Path, report: ImportReport) -> Iterator[_OsuFile]:
    """The .osu entries of an archive; what is wrong with it or them goes to the report."""

    def skip(why: str, name: str = "") -> None:
        report.skipped.append(Skipped(f"{path}:{name}" if name else str(path), why))

    if path.stat().st_size > ARCHIVE_MAX:
        return skip(f"the archive is larger than {ARCHIVE_MAX // 1024**2} MiB")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, RuntimeError, OverflowError):
        return skip("not a ZIP archive, or a damaged one")
    with archive:
        entries = archive.infolist()
        if len(entries) > ENTRIES_MAX:
            return skip(f"the archive has {len(entries)} entries; {ENTRIES_MAX} are allowed")
        if sum(entry.file_size for entry in entries) > INFLATED_MAX:
            return skip(f"the archive inflates to more than {INFLATED_MAX // 1024**2} MiB")
        maps = [entry for entry in entries if entry.filename.lower().endswith(".osu")]
        if not maps:
            return skip("the archive holds no .osu file")
        for entry in maps:
            if (why := _entry_fault(entry)) is not None:
                skip(why, entry.filename)
                continue
            try:
                with archive.open(entry) as stream:
                    data = stream.read(OSU_MAX + 1)  # counts what really inflates, whatever the header claims
            except (
                zipfile.BadZipFile,
                zlib.error,
                lzma.LZMAError,
                RuntimeError,
                EOFError,
                OSError,
                ValueError,
            ) as error:
                skip(f"the entry is damaged: {error}", entry.filename)
                continue
            if len(data) > OSU_MAX:
                skip(f"the entry is larger than {OSU_MAX // 1024**2} MiB", entry.filename)
                continue
            yield _OsuFile(f"{path}:{entry.filename}", data, _entry_time(entry))


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        return "the entry's path leaves the archive"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "the entry is a symbolic link"
    if entry.flag_bits & 1:
        return "the entry is encrypted"
    if entry.file_size > OSU_MAX:
        return f"the entry is larger than {OSU_MAX // 1024**2} MiB"
    return None


def _archive(path: Path) -> tuple[bytes, bool]:
    """The archive's bytes, and whether it holds a storyboard."""
    with zipfile.ZipFile(path) as archive:
        has_storyboard = any(entry.filename.lower().endswith(".osb") for entry in archive.infolist())
    return path.read_bytes(), has_storyboard


def _try_parse(data: bytes) -> BeatmapFile | None:
    try:
        return parse_beatmap(data)
    except BadBeatmap:
        return None


def _entry_time(entry: zipfile.ZipInfo) -> int:
    try:
        return max(OLDEST_UPDATE_S, int(time.mktime((*entry.date_time, 0, 0, -1))))
    except (ValueError, OverflowError):
        return OLDEST_UPDATE_S
