"""The folder of the certificate: the errors of files that cannot be written."""

import errno
import os
from pathlib import Path

import pytest

from kiai.errors import Unavailable
from kiai.tls.folder import TlsFolder


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "No space left on device; free space there"),
        (errno.EDQUOT, "Disk quota exceeded; free space there"),
        (errno.EACCES, "Permission denied; make it readable and writable for the server"),
    ],
)
def test_file_that_cannot_be_written_has_a_remedy_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    folder = TlsFolder(tmp_path)

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unavailable) as raised:
        folder.write(folder.key, b"key")

    assert str(raised.value) == f"file {folder.key} is not available: {remedy}"
    assert list(folder.path.iterdir()) == []
