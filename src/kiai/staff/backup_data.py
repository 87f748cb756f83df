"""The files of the data folder that a backup contains, besides the database and the files store.

A restored server needs them: the key of the secrets in the database, the certificate and the local authority, the texts
of the operator. `kiai.toml` is a copy for the operator, who may have lost the machine; no server reads it there.

Not in a backup: locks, sockets, sessions, records of past runs, uploads, and paths outside the data folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kiai.errors import Unavailable
from kiai.files.port import is_key
from kiai.logs import get_logger
from kiai.secret_box import FILE as SECRET_KEY
from kiai.tls.folder import FOLDER as TLS
from kiai.tls.folder import TlsFolder

CONFIG: Final = "kiai.toml"
TEXTS: Final = ("pages", "news", "incidents")
TEXTS_MAX: Final = 1_000  # of each folder
TLS_FILES: Final = ("cert.pem", "key.pem", "ca.pem", "ca.key", "account.json")


def data_files(data: Path, config: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the keys and contents of these files, as far as they exist. `config` is `kiai.toml`. Raises Unavailable."""
    try:
        yield from _existing((SECRET_KEY, data / SECRET_KEY), (CONFIG, config))
        if (data / TLS).is_dir():
            with TlsFolder(data).lock("files"):  # a certificate and its key are two files
                yield from _existing(*((f"{TLS}/{name}", data / TLS / name) for name in TLS_FILES))
        for folder in TEXTS:
            found = sorted((data / folder).glob("*.md"))[:TEXTS_MAX]
            yield from _existing(*((f"{folder}/{path.name}", path) for path in found))
    except OSError as error:
        raise Unavailable(f"data folder {data}", f"{error.filename}: {error.strerror}") from error


def _existing(*files: tuple[str, Path]) -> Iterator[tuple[str, bytes]]:
    for key, path in files:
        if not is_key(key):
            get_logger("backup").warning("not backed up, because of its name", file=str(path))
        elif path.is_file():
            yield key, path.read_bytes()


def restore_data_file(data: Path, key: str, content: bytes) -> bool:
    """Write a file into the data folder, mode 0600. Return False if it exists: it stays. Raises Unavailable."""
    path = data / key
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return path.read_bytes() == content
    except OSError as error:
        raise Unavailable(f"data folder {data}", f"{path}: {error.strerror}") from error
    return True
