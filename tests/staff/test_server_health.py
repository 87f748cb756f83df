"""The files that the health of the server reads: certificates, and the last run of the doctor."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kiai.staff.doctor import Diagnosis, Problem
from kiai.staff.server_health import PROBLEMS_MAX, CertificateState, last_check, read_certificate, record_check

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def a_certificate(folder: Path, ends_at_ms: int) -> Path:
    """Write a certificate that ends at this time."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "irc")])
    ends_at = datetime.datetime.fromtimestamp(ends_at_ms / 1000, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(ends_at - datetime.timedelta(days=90)).not_valid_after(ends_at)
    path = folder / "chain.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(("left_ms", "days"), [(30 * DAY_MS, 30), (DAY_MS - 1000, 0), (-1000, -1)])
def test_days_of_a_certificate_are_rounded_down(tmp_path: Path, left_ms: int, days: int) -> None:
    path = a_certificate(tmp_path, NOW_MS + left_ms)

    assert read_certificate("IRC", path, NOW_MS) == CertificateState("IRC", NOW_MS + left_ms, days)


def test_file_that_is_no_certificate_has_no_end(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate", "utf-8")

    for path in (broken, tmp_path / "missing.pem"):
        assert read_certificate("IRC", path, NOW_MS) == CertificateState("IRC", None, None)


def test_last_check_keeps_a_bounded_number_of_problems(tmp_path: Path) -> None:
    problems = [Problem("I3", f"the replay of score {n} is missing", repairable=False) for n in range(PROBLEMS_MAX + 5)]

    record_check(tmp_path, Diagnosis(problems), NOW_MS)

    found = last_check(tmp_path)
    assert found is not None
    assert (found.at_ms, found.total, len(found.problems)) == (NOW_MS, PROBLEMS_MAX + 5, PROBLEMS_MAX)
    assert found.problems[0].what == "the replay of score 0 is missing"
    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0]


def test_folder_without_a_check_or_with_a_broken_one_has_none(tmp_path: Path) -> None:
    assert last_check(tmp_path) is None

    (tmp_path / "last-doctor.json").write_text("{", "utf-8")

    assert last_check(tmp_path) is None


def test_check_that_cannot_be_recorded_does_not_fail(tmp_path: Path) -> None:
    record_check(tmp_path / "missing", Diagnosis(), NOW_MS)
