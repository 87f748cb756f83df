"""Encryption of backups with age (https://age-encryption.org): X25519, ChaCha20-Poly1305 in chunks of 64 KiB.

A key file contains one age identity, as `kiai backup-key` or `age-keygen` writes it. The program `age` opens each file
of a backup with it, too.
"""

import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiai.errors import Refused, Unavailable

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

ID_LENGTH: Final = 16
SEALED: Final = b"age-encryption.org/"
"""The first bytes of an encrypted file."""


class BackupKey:
    """A key. `id` identifies it in manifests without revealing it."""

    def __init__(self, identity: "Identity", shown: str) -> None:
        self._identity = identity
        self._recipient = identity.to_public()
        self.shown = shown
        self.id = hashlib.sha256(f"kiai backup {self._recipient}".encode()).hexdigest()[:ID_LENGTH]

    def seal(self, data: bytes) -> bytes:
        """Return the encrypted data."""
        import pyrage

        sealed: bytes = pyrage.encrypt(data, [self._recipient])
        return sealed

    def open(self, sealed: bytes) -> bytes:
        """Return the data. Raises ValueError if they were changed or have another key."""
        import pyrage

        try:
            data: bytes = pyrage.decrypt(sealed, [self._identity])
        except pyrage.DecryptError as error:
            raise ValueError(str(error)) from error
        return data

    def seal_file(self, source: Path, target: Path) -> None:
        """Write the encrypted content of a file to another. Raises OSError."""
        import pyrage

        target.touch(mode=0o600)
        pyrage.encrypt_file(str(source), str(target), [self._recipient])

    def open_file(self, source: Path, target: Path) -> None:
        """Write the decrypted content of a file to another. Raises ValueError, OSError."""
        import pyrage

        target.touch(mode=0o600)
        try:
            pyrage.decrypt_file(str(source), str(target), [self._identity])
        except pyrage.DecryptError as error:
            raise ValueError(str(error)) from error


def read_key(path: Path) -> BackupKey:
    """Read a key file. Raises Refused with what to do."""
    import pyrage

    try:
        text = path.read_text("ascii")
    except OSError as error:
        hint = "make it with `kiai backup-key FILE`" if error.errno == errno.ENOENT else "make it readable"
        raise Refused(f"backup_key_file {path}: {error.strerror}; {hint}") from error
    except ValueError as error:
        raise Refused(f"backup_key_file {path} is not a key; make one with `kiai backup-key FILE`") from error
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    try:
        [key] = keys
        return BackupKey(pyrage.x25519.Identity.from_str(key), str(path))
    except (ValueError, pyrage.IdentityError):  # the error of the library is not shown: it may contain the key
        raise Refused(
            f"backup_key_file {path} must have one line that starts with AGE-SECRET-KEY-1; make it with "
            "`kiai backup-key FILE`"
        ) from None


def make_key(path: Path) -> BackupKey:
    """Write a new key to a file that does not exist, mode 0600. Raises Refused, Unavailable."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"# key of the backups of a kiai server; without it they cannot be restored\n{identity}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise Refused(f"{path} exists; a new key would make the backups of the old one unreadable") from error
    except OSError as error:
        raise Unavailable(f"file {path}", error.strerror or str(error)) from error
    return BackupKey(identity, str(path))
