"""Reader of `.osz` and `.olz` archives, which are ZIP files of a set's folder (docs/spec/beatmaps.md#archives).

Archives are untrusted. Entries are read only into memory, sizes are counted during decompression, and no name from an
archive is used as a path. Entries that macOS adds (`__MACOSX/`, `._name`) are skipped.
"""

import calendar
import io
import lzma
import re
import stat
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Final

import msgspec

ARCHIVE_MAX: Final = 100 * 1024 * 1024
ENTRIES_MAX: Final = 500
INFLATED_MAX: Final = 300 * 1024 * 1024
OSU_MAX: Final = 10 * 1024 * 1024
OLDEST_UPDATE_S: Final = 1_167_609_600  # 2007-01-01: the game did not exist before

_UTF_8_FLAG: Final = 0x800
_ENCRYPTED_FLAG: Final = 1
_DRIVE: Final = re.compile(r"[A-Za-z]:/")
_DIRECTORY_END: Final = b"PK\x05\x06"
_DIRECTORY_END_64: Final = b"PK\x06\x06"
_DIRECTORY_ENTRY: Final = b"PK\x01\x02"
_FILE_HEADER: Final = b"PK\x03\x04"
_DIRECTORY: Final = struct.Struct("<8xH18xHHH8xI")
"""Fields of a directory entry: flags, sizes of name, extra field and comment, and the offset of its file header."""
_NO_32_BITS: Final = 0xFFFFFFFF  # the value is in the ZIP64 record instead


class BadArchive(ValueError):
    """The archive cannot be used. The message has the reason."""


class BadEntry(ValueError):
    """One entry cannot be used. The message has the reason."""


class ArchiveEntry(msgspec.Struct, frozen=True):
    """A file in an archive. `name` is its path with slashes; `modified_s` is unix time in seconds, 2007 or later."""

    name: str
    modified_s: int
    info: zipfile.ZipInfo

    @property
    def folder(self) -> str:
        """The folder of the file with a slash at the end, or "" for the root of the archive."""
        return self.name[: self.name.rfind("/") + 1]


class Archive:
    """The entries of an archive in memory. The constructor raises BadArchive."""

    def __init__(self, data: bytes) -> None:
        self._zip = _opened(data)
        infos = self._zip.infolist()
        # The sizes in the directory can be false; `read` counts the real ones. This check rejects most bombs early.
        if len(infos) > ENTRIES_MAX:
            raise BadArchive(f"the archive has {len(infos)} entries; {ENTRIES_MAX} are allowed")
        if sum(info.file_size for info in infos) > INFLATED_MAX:
            raise BadArchive(f"the archive inflates to more than {INFLATED_MAX // 1024**2} MiB")
        entries = (ArchiveEntry(_name(info), _modified_s(info), info) for info in infos if not info.is_dir())
        self.entries = [entry for entry in entries if not is_shadow(entry.name)]

    def with_ending(self, ending: str) -> list[ArchiveEntry]:
        """Return the entries whose names end with `ending`, in lower or upper case."""
        return [entry for entry in self.entries if entry.name.lower().endswith(ending)]

    def find(self, name: str) -> ArchiveEntry | None:
        """Return the entry with this name, or None. Case and kind of slash are ignored, as on Windows."""
        wanted = str(PurePosixPath(name.replace("\\", "/"))).lower()
        return next((entry for entry in self.entries if entry.name.lower().removeprefix("./") == wanted), None)

    def read(self, entry: ArchiveEntry, size_max: int) -> bytes:
        """Return the data of an entry. Raises BadEntry when it exceeds `size_max` bytes or cannot be read."""
        if stat.S_ISLNK(entry.info.external_attr >> 16):
            raise BadEntry("the entry is a symbolic link")
        if entry.info.flag_bits & _ENCRYPTED_FLAG:
            raise BadEntry("the entry is encrypted")
        too_large = f"the entry is larger than {size_max // 1024**2} MiB"
        if entry.info.file_size > size_max:
            raise BadEntry(too_large)
        try:
            with self._zip.open(entry.info) as stream:
                data = stream.read(size_max + 1)  # the header may state a smaller size than the real one
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise BadEntry(f"the entry is damaged: {error}") from None
        if len(data) > size_max:
            raise BadEntry(too_large)
        return data


class UnpackedFile(msgspec.Struct, frozen=True):
    """A file of an archive. `modified_s` is unix time in seconds."""

    name: str
    data: bytes
    modified_s: int


class UnpackedMaps(msgspec.Struct, frozen=True):
    """The .osu files of an archive, and those that cannot be used: name and reason."""

    files: list[UnpackedFile]
    skipped: list[tuple[str, str]]
    has_storyboard: bool


def unpack_maps(data: bytes, most: int = INFLATED_MAX) -> UnpackedMaps:
    """Return the .osu files of an archive, of at most `most` bytes together. Raises BadArchive."""
    archive = Archive(data)
    maps = archive.with_ending(".osu")
    if not maps:
        raise BadArchive("the archive has no .osu file")
    found = UnpackedMaps([], [], bool(archive.with_ending(".osb")))
    left = most
    for entry in maps:
        try:
            # Nothing is extracted to disk. Such a name is still a sign of an attack, so the entry is skipped.
            if leaves(entry.name):
                raise BadEntry("the entry's path leaves the archive")
            content = archive.read(entry, OSU_MAX)
            left -= len(content)
            if left < 0:
                raise BadEntry(f"the .osu files have more than {most // 1024**2} MiB together")
            found.files.append(UnpackedFile(entry.name, content, entry.modified_s))
        except BadEntry as error:
            found.skipped.append((entry.name, str(error)))
    return found


def leaves(name: str) -> bool:
    """Return whether a name, as a path, would lead out of the archive's folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or _DRIVE.match(name) is not None


def is_shadow(name: str) -> bool:
    """Return whether a path is metadata that macOS adds for a real file (AppleDouble)."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._")


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        try:
            return zipfile.ZipFile(io.BytesIO(data))
        except UnicodeDecodeError:
            # One name with a false UTF-8 flag makes `zipfile` reject the whole archive.
            return zipfile.ZipFile(io.BytesIO(_without_false_flags(data)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, RuntimeError, OverflowError, struct.error):
        raise BadArchive("not a ZIP archive, or a damaged one") from None


def _without_false_flags(data: bytes) -> bytes:
    """Return the archive without the UTF-8 flags of names that are not UTF-8."""
    fixed = bytearray(data)
    # The directory is found as `zipfile` finds it, from the record at the end. APPNOTE.TXT of PKWARE has the offsets.
    end = data.rfind(_DIRECTORY_END)
    size, offset = struct.unpack_from("<II", data, end + 12)
    if _NO_32_BITS in (size, offset):
        end = data.rfind(_DIRECTORY_END_64, 0, end)
        size, offset = struct.unpack_from("<QQ", data, end + 40)
    at = end - size
    before = at - offset  # bytes before the archive, e.g. of a self-extracting one
    while data.startswith(_DIRECTORY_ENTRY, at):
        flags, name_size, extra_size, comment_size, local = _DIRECTORY.unpack_from(data, at)
        if flags & _UTF_8_FLAG and not _is_utf_8(data[at + 46 : at + 46 + name_size]):
            struct.pack_into("<H", fixed, at + 8, flags & ~_UTF_8_FLAG)
            # `zipfile` compares the name in the file header with the one in the directory: both lose the flag.
            if data.startswith(_FILE_HEADER, before + local):
                struct.pack_into("<H", fixed, before + local + 6, flags & ~_UTF_8_FLAG)
        at += 46 + name_size + extra_size + comment_size
    return bytes(fixed)


def _is_utf_8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name(info: zipfile.ZipInfo) -> str:
    """Return the path of an entry.

    Archives of the game have names in UTF-8 or Shift-JIS without the UTF-8 flag. Other names are in code page 437, the
    default of ZIP.
    """
    name = info.filename
    if not info.flag_bits & _UTF_8_FLAG and not name.isascii():
        raw = name.encode("cp437")  # undo the decoding of `zipfile`; code page 437 maps all 256 bytes
        for encoding in ("utf-8", "cp932"):
            try:
                name = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _modified_s(info: zipfile.ZipInfo) -> int:
    """Return the time of an entry as unix time in seconds, OLDEST_UPDATE_S or later."""
    # ZIP times have no time zone. Reading them as UTC gives the same time on each server.
    try:
        return max(OLDEST_UPDATE_S, calendar.timegm((*info.date_time, 0, 0, 0)))
    except (ValueError, OverflowError):
        return OLDEST_UPDATE_S
