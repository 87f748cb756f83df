"""Secrets at rest."""

from pathlib import Path

import pytest

from kiai.clock import ManualClock
from kiai.errors import Damaged
from kiai.secret_box import FILE, SecretBox


def test_secret_is_opened_with_the_same_key_and_purpose_only(tmp_path: Path) -> None:
    clock = ManualClock()
    sealed = SecretBox(tmp_path, clock).seal(b"secret\0value", "totp")

    assert b"secret" not in sealed
    assert SecretBox(tmp_path, clock).open(sealed, "totp") == b"secret\0value"
    assert SecretBox(tmp_path, clock).open(sealed, "mail") is None
    assert SecretBox(tmp_path, clock).open(sealed[:-4] + b"AAA=", "totp") is None
    (tmp_path / FILE).unlink()
    assert SecretBox(tmp_path, clock).open(sealed, "totp") is None


def test_secret_expires(tmp_path: Path) -> None:
    clock = ManualClock()
    box = SecretBox(tmp_path, clock)
    sealed = box.seal(b"x", "login")

    clock.advance(300)
    assert box.open(sealed, "login", max_age_s=300) == b"x"
    clock.advance(1)
    assert box.open(sealed, "login", max_age_s=300) is None


def test_only_the_user_of_the_server_can_read_the_key(tmp_path: Path) -> None:
    SecretBox(tmp_path, ManualClock()).seal(b"x", "totp")

    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_damaged_key_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a key")

    with pytest.raises(Damaged):
        SecretBox(tmp_path, ManualClock()).seal(b"x", "totp")
