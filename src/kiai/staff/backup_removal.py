"""Removes backups from a bucket, in which later backups share the files of earlier ones.

A file is removed with the last backup whose list names it. Each backup takes the files that it shares from the one
before it, so a file that is missing in the next older and the next newer backup is in no other one either. If the
backups are not such a chain (`backup_retention.is_linear`), all lists are read.

The manifest goes first and the list last, so that an interrupted removal is continued by the next one. Then
only files that later backups share remain, without a list.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from kiai.errors import KiaiError
from kiai.files.places import BackupPlace
from kiai.logs import get_logger
from kiai.staff.backup_index import ListIndex
from kiai.staff.backup_keys import BackupKey
from kiai.staff.backup_model import FILES, LIST, MANIFEST
from kiai.staff.backup_reading import BackupReader
from kiai.staff.backup_retention import PARTIAL, StoredBackup, is_linear


def remove_shared(
    place: BackupPlace, name: str, backups: Sequence[StoredBackup], key: BackupKey | None, work: Path | None
) -> None:
    """Remove a backup of a bucket, complete or not, and the files that only it has.

    `backups` are all of the place, none of them damaged: nobody knows which files a damaged one shares. Blocks. Raises
    Unavailable.
    """
    name = name.removesuffix(PARTIAL)
    others = [one for one in backups if one.ok and one.name != name]
    place.delete([f"{name}/{MANIFEST}"])
    if place.size(f"{name}/{LIST}") is not None:
        try:
            _remove_unshared(place, name, _neighbours(name, backups), key, work)
        except KiaiError as error:
            # Without its list, its files stay until no backup shares any of them.
            get_logger("backup").warning("files of a removed backup stay", backup=name, why=str(error))
    _remove_rest(place, name, others)


def _remove_rest(place: BackupPlace, name: str, others: Sequence[StoredBackup]) -> None:
    if any(name in one.sources for one in others):
        place.remove(name, but=f"{FILES}/")
    else:
        place.remove(name)


def _neighbours(name: str, backups: Sequence[StoredBackup]) -> list[StoredBackup]:
    """Return the good backups that can share files with this one."""
    good = sorted((one for one in backups if one.ok), key=lambda one: one.sequence)
    names = [one.name for one in good]
    if name not in names or not is_linear(good):
        return [one for one in good if one.name != name]
    at = names.index(name)
    return [*good[max(at - 1, 0) : at], *good[at + 1 : at + 2]]


def _remove_unshared(
    place: BackupPlace, name: str, others: Sequence[StoredBackup], key: BackupKey | None, work: Path | None
) -> None:
    with tempfile.TemporaryDirectory(dir=work) as folder, BackupReader(place, name, key, work) as removed:
        index = ListIndex(Path(folder, "index.db"))
        try:
            removed.unlock_by_content()
            key_id = removed.key_id
            for other in others:
                with BackupReader(place, other.name, key, work) as kept:
                    manifest = kept.described()
                    if manifest.key_id == key_id:  # backups with different keys share no files
                        kept.manifest(engine=None, schema=manifest.schema)  # verifies the list
                        index.add(kept.listed(), other.name)
            unshared = (
                removed.path_of(listed)
                for listed in removed.listed()
                if not index.contains(listed.key, listed.within or name)
            )
            place.delete(unshared)
        finally:
            index.close()
