"""Encryption of small secrets at rest, with a key in a file of the data folder.

The database and its dumps then do not contain the secrets of authenticator apps or the links in waiting mails. Servers
that share a database must share the file, too.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiai.clock import Clock
from kiai.errors import Damaged, Unavailable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

FILE: Final = "secret.key"
KEY_BYTES: Final = 32


class SecretBox:
    """Encrypts and authenticates values (Fernet: AES-128-CBC with HMAC-SHA256). Creates its key at the first use."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._path = data / FILE
        self._clock = clock
        self._loaded: Fernet | None = None

    def seal(self, value: bytes, purpose: str) -> bytes:
        """Return the encrypted value. It can only be opened for the same purpose. Raises Unavailable."""
        now_s = self._clock.now_ms() // 1000
        return self._fernet().encrypt_at_time(purpose.encode() + b"\0" + value, now_s)

    def open(self, sealed: bytes, purpose: str, *, max_age_s: int | None = None) -> bytes | None:
        """Return the value, or None if it was not sealed with this key for this purpose, or longer ago than allowed.

        Raises Unavailable when the key cannot be read.
        """
        from cryptography.fernet import InvalidToken

        fernet = self._fernet()
        try:
            if max_age_s is None:
                plain = fernet.decrypt(sealed)
            else:
                plain = fernet.decrypt_at_time(sealed, max_age_s, self._clock.now_ms() // 1000)
        except InvalidToken:
            return None
        for_purpose, _, value = plain.partition(b"\0")
        return value if for_purpose == purpose.encode() else None

    def _fernet(self) -> "Fernet":
        # Imported at the first use: 6 MB that a server without authenticators and mail does not need.
        from cryptography.fernet import Fernet

        if self._loaded is None:
            try:
                self._loaded = Fernet(self._key())
            except OSError as error:
                raise Unavailable(f"{self._path}", error.strerror or str(error)) from error
            except (ValueError, binascii.Error) as error:
                raise Damaged(f"{self._path}", "it does not contain a key", "restore the file") from error
        return self._loaded

    def _key(self) -> bytes:
        if not self._path.exists():
            # Linked when complete: of several processes that start at once, one creates the key, and no reader sees an
            # incomplete one. Mode 600 from the start, so that no other user can read it.
            temporary = self._path.with_suffix(f".{os.getpid()}")
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(base64.urlsafe_b64encode(os.urandom(KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, self._path)
            except FileExistsError:
                pass  # another process was first
            finally:
                temporary.unlink()
        return self._path.read_bytes().strip()
