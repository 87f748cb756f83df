"""Reading .osz and .olz archives, which are ZIP files of a set's folder (docs/spec/beatmaps.md#archives).

An archive is hostile: entries are read into memory only, with every size counted while it inflates, and no name from
an archive becomes a path. Entries that macOS adds beside the real ones (`__MACOSX/`, `._name`) are left out.
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
OLDEST_UPDATE_S: Final = 1_167_609_600  # 2007: before the game there was nothing to update

_UTF_8_FLAG: Final = 0x800
_ENCRYPTED_FLAG: Final = 1
_DRIVE: Final = re.compile(r"[A-Za-z]:/")
_DIRECTORY_END: Final = b"PK\x05\x06"
_DIRECTORY_END_64: Final = b"PK\x06\x06"
_DIRECTORY_ENTRY: Final = b"PK\x01\x02"
_FILE_HEADER: Final = b"PK\x03\x04"
_DIRECTORY: Final = struct.Struct("<8xH18xHHH8xI")
"""Of an entry of the directory: flags, sizes of name, extra field and comment, and where its file header lies."""
_NO_32_BITS: Final = 0xFFFFFFFF


class BadArchive(ValueError):
    """The archive cannot be used; the message says why."""


class BadEntry(ValueError):
    """One entry cannot be used; the message says why."""


class Entry(msgspec.Struct, frozen=True):
    """A file of an archive. `name` is its path with slashes; `modified_s` is unix time, at the earliest 2007."""

    name: str
    modified_s: int
    info: zipfile.ZipInfo

    @property
    def folder(self) -> str:
        """The folder that it lies in, with a slash at the end; empty for the archive's root."""
        return self.name[: self.name.rfind("/") + 1]


class Archive:
    """The entries of an archive that is in memory. Raises BadArchive."""

    def __init__(self, data: bytes) -> None:
        self._zip = _opened(data)
        infos = self._zip.infolist()
        if len(infos) > ENTRIES_MAX:
            raise BadArchive(f"the archive has {len(infos)} entries; {ENTRIES_MAX} are allowed")
        if sum(info.file_size for info in infos) > INFLATED_MAX:
            raise BadArchive(f"the archive inflates to more than {INFLATED_MAX // 1024**2} MiB")
        entries = (Entry(_name(info), _modified_s(info), info) for info in infos if not info.is_dir())
        self.entries = [entry for entry in entries if not is_shadow(entry.name)]

    def with_ending(self, ending: str) -> list[Entry]:
        """The entries whose names end so, in upper or lower case."""
        return [entry for entry in self.entries if entry.name.lower().endswith(ending)]

    def find(self, name: str) -> Entry | None:
        """An entry by its name, as Windows compares names."""
        wanted = str(PurePosixPath(name.replace("\\", "/"))).lower()
        return next((entry for entry in self.entries if entry.name.lower().removeprefix("./") == wanted), None)

    def read(self, entry: Entry, most: int) -> bytes:
        """What an entry holds; raises BadEntry for one larger than `most` bytes and for one that cannot be read."""
        if stat.S_ISLNK(entry.info.external_attr >> 16):
            raise BadEntry("the entry is a symbolic link")
        if entry.info.flag_bits & _ENCRYPTED_FLAG:
            raise BadEntry("the entry is encrypted")
        too_large = f"the entry is larger than {most // 1024**2} MiB"
        if entry.info.file_size > most:
            raise BadEntry(too_large)
        try:
            with self._zip.open(entry.info) as stream:
                data = stream.read(most + 1)  # counts what really inflates, whatever the header claims
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise BadEntry(f"the entry is damaged: {error}") from None
        if len(data) > most:
            raise BadEntry(too_large)
        return data


def leaves(name: str) -> bool:
    """Whether a name, as a path, would lead out of the archive's folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or _DRIVE.match(name) is not None


def is_shadow(name: str) -> bool:
    """Whether a path is what macOS writes beside a real file: AppleDouble data, never the file itself."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._")


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        try:
            return zipfile.ZipFile(io.BytesIO(data))
        except UnicodeDecodeError:
            return zipfile.ZipFile(io.BytesIO(_without_false_flags(data)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, RuntimeError, OverflowError, struct.error):
        raise BadArchive("not a ZIP archive, or a damaged one") from None


def _without_false_flags(data: bytes) -> bytes:
    """The archive without the UTF-8 flag of names that are none: `zipfile` refuses all of it for one such name."""
    mended = bytearray(data)
    end = data.rfind(_DIRECTORY_END)
    size, offset = struct.unpack_from("<II", data, end + 12)
    if _NO_32_BITS in (size, offset):
        end = data.rfind(_DIRECTORY_END_64, 0, end)
        size, offset = struct.unpack_from("<QQ", data, end + 40)
    at = end - size
    before = at - offset  # bytes in front of the archive
    while data.startswith(_DIRECTORY_ENTRY, at):
        flags, name_size, extra_size, comment_size, local = _DIRECTORY.unpack_from(data, at)
        if flags & _UTF_8_FLAG and not _is_utf_8(data[at + 46 : at + 46 + name_size]):
            struct.pack_into("<H", mended, at + 8, flags & ~_UTF_8_FLAG)
            if data.startswith(_FILE_HEADER, before + local):
                struct.pack_into("<H", mended, before + local + 6, flags & ~_UTF_8_FLAG)
        at += 46 + name_size + extra_size + comment_size
    return bytes(mended)


def _is_utf_8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name(info: zipfile.ZipInfo) -> str:
    """The path of an entry. One without the UTF-8 flag is UTF-8 or Shift-JIS all the same, as archives of the game are.

    What is neither stays in the code page of ZIP.
    """
    name = info.filename
    if not info.flag_bits & _UTF_8_FLAG and not name.isascii():
        written = name.encode("cp437")
        for encoding in ("utf-8", "cp932"):
            try:
                name = written.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _modified_s(info: zipfile.ZipInfo) -> int:
    """An archive states no time zone; its times are taken as UTC, so that every server tells the same one."""
    try:
        return max(OLDEST_UPDATE_S, calendar.timegm((*info.date_time, 0, 0, 0)))
    except (ValueError, OverflowError):
        return OLDEST_UPDATE_S
