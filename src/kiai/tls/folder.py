"""The folder `tls/` of the data folder: the certificate with its key, the local authority, the state of renewals.

Every file has mode 0600. A file is replaced as a whole, so that a reader finds the old or the new one. Certificate and
key are two files: `pending.pem` has both while they are replaced, and `recover` ends a replacement that a crash has
interrupted.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from kiai.errors import Unavailable
from kiai.tls.plan import TlsPlan

FOLDER: Final = "tls"
STATE: Final = "state.json"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""The form of a token of an ACME challenge."""
ANSWER_MAX: Final = 512  # bytes of the answer to a challenge


class TlsState(msgspec.Struct, frozen=True):
    """The records of servers and commands. Times are unix ms.

    `reading_error` is why a changed certificate is not served, `renewal_error` why the last renewal failed. A renewal
    is not tried before `next_try_ms`, after `failures` in a row.

    Of several machines, each has the revision `shared_revision` of the certificate that they share, and all of them
    answer challenges until `answers_until_ms`.
    """

    plan: TlsPlan
    reading_error: str | None = None
    renewal_error: str | None = None
    failures: int = 0
    next_try_ms: int = 0
    shared_revision: int = 0
    answers_until_ms: int = 0


class TlsFolder:
    """Reads and writes `tls/` in the folder `data`. Methods that write raise Unavailable if the disk refuses."""

    def __init__(self, data: Path) -> None:
        self.path: Final = data / FOLDER
        self.chain: Final = self.path / "cert.pem"
        self.key: Final = self.path / "key.pem"
        self.authority: Final = self.path / "ca.pem"
        self.authority_key: Final = self.path / "ca.key"
        self.account: Final = self.path / "account.json"
        self._pending = self.path / "pending.pem"
        self._challenges = self.path / "challenges"

    def read(self, path: Path) -> bytes | None:
        """Return the content of a file of the folder, or None if it does not exist. Raises Unavailable."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(path, error) from error

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file of the folder, durably."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.path.mkdir(mode=FOLDER_MODE, exist_ok=True)
            path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, FILE_MODE)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _unavailable(path, error) from error

    def reserve(self, size: int) -> None:
        """Raise Unavailable unless `size` bytes can be written now."""
        probe = self.path / ".space"
        self.write(probe, bytes(size))
        probe.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Exclude other processes with the same purpose. Waits for them."""
        try:
            self.path.mkdir(mode=FOLDER_MODE, exist_ok=True)
            descriptor = os.open(self.path / f".{purpose}.lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
        except OSError as error:
            raise _unavailable(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # --- the certificate

    def store(self, chain: bytes, key: bytes) -> None:
        """Replace the certificate and its key. Excludes other processes that do."""
        with self.lock("files"):
            self._replace(chain, key)

    def recover(self) -> None:
        """End a replacement that was interrupted."""
        with self.lock("files"):
            pending = self.read(self._pending)
            if pending is not None:
                at = pending.find(b"-----BEGIN CERTIFICATE-----")
                self._replace(pending[at:], pending[:at])

    def _replace(self, chain: bytes, key: bytes) -> None:
        self.write(self._pending, key + chain)
        self.write(self.key, key)
        self.write(self.chain, chain)
        self._pending.unlink(missing_ok=True)

    # --- the state

    def state(self) -> TlsState | None:
        """Return the recorded state; None before the first start with TLS, or if it is not readable."""
        with contextlib.suppress(msgspec.DecodeError, Unavailable):
            content = self.read(self.path / STATE)
            return None if content is None else msgspec.json.decode(content, type=TlsState)
        return None

    def change_state(self, plan: TlsPlan, change: Callable[[TlsState], TlsState]) -> None:
        """Store what `change` makes of the recorded state, or of a new one for `plan`.

        Excludes other processes: a worker, a renewal and a command change different fields at the same time.
        """
        with self.lock("state"):
            before = self.state()
            after = change(before or TlsState(plan))
            if after != before:
                self.write(self.path / STATE, msgspec.json.encode(after))

    def forget_plan(self) -> None:
        """Remove the state: the server runs without TLS."""
        with contextlib.suppress(OSError):
            (self.path / STATE).unlink(missing_ok=True)

    # --- challenges

    def challenge(self, token: str) -> bytes | None:
        """Return the answer to an ACME challenge that runs, or None."""
        if not TOKEN.fullmatch(token):
            return None
        try:
            with (self._challenges / token).open("rb") as file:
                return file.read(ANSWER_MAX)
        except OSError:
            return None

    def begin_challenge(self, token: str, answer: str) -> None:
        """Make every worker answer a challenge."""
        if TOKEN.fullmatch(token):
            self.write(self._challenges / token, answer.encode())

    def end_challenge(self, token: str) -> None:
        """Forget a challenge."""
        if TOKEN.fullmatch(token):
            with contextlib.suppress(OSError):
                (self._challenges / token).unlink(missing_ok=True)


def _unavailable(path: Path, error: OSError) -> Unavailable:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free space there" if is_full else "make it readable and writable for the server"
    return Unavailable(f"file {path}", f"{error.strerror}; {remedy}")
