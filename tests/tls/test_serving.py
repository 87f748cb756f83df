"""The certificate that a server sends: from a local authority, from files, and after changes of the files."""

import asyncio
import contextlib
import datetime
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from tests.patience import patiently
from tests.tls.certificates import DAY, write_certificate

from kiai.clock import ManualClock, SystemClock
from kiai.errors import Refused, Unavailable
from kiai.tls.authority import export_root, issue_locally
from kiai.tls.certificate import parse_chain
from kiai.tls.folder import TlsFolder, TlsState
from kiai.tls.names import missing_names, server_names
from kiai.tls.plan import TlsPlan
from kiai.tls.renewal import is_due, obtain
from kiai.tls.serving import ServedCertificate, prepare_certificate, read_fitting
from kiai.tls.status import find_faults, read_status

SELF = TlsPlan("self", "play.example")
DAY_MS = 86_400_000
WRITES = 200


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(SystemClock().now_ms())


@pytest.fixture
def folder(tmp_path: Path) -> TlsFolder:
    return TlsFolder(tmp_path)


def own(chain: Path, key: Path | None, domain: str = "play.example") -> TlsPlan:
    return TlsPlan("file", domain, str(chain), str(key or chain))


def accepts(context: ssl.SSLContext, root: str, name: str) -> bool:
    """Whether a client that trusts `root`, checks strictly and expects `name` accepts the server."""
    trusting = ssl.create_default_context(cadata=root)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(4):
            for side in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLError:
        return False
    return client.version() is not None and client.getpeercert() is not None


# --- the local authority


def test_certificate_of_the_local_authority_is_accepted_for_every_name(folder: TlsFolder, clock: ManualClock) -> None:
    prepare_certificate(SELF, folder, clock.now_ms())
    served = ServedCertificate(SELF, folder, clock)

    root = export_root(folder)
    assert all(accepts(served.context, root.pem, name) for name in server_names("play.example"))
    assert not accepts(served.context, root.pem, "other.example")
    assert len(server_names("play.example")) == 12


def test_root_is_not_trusted_for_other_domains(folder: TlsFolder, clock: ManualClock) -> None:
    prepare_certificate(SELF, folder, clock.now_ms())
    root = x509.load_pem_x509_certificate(export_root(folder).pem.encode())

    allowed = root.extensions.get_extension_for_class(x509.NameConstraints)

    assert allowed.critical
    assert x509.DNSName("play.example") in (allowed.value.permitted_subtrees or [])


def test_files_of_the_folder_are_readable_by_the_owner_only(folder: TlsFolder, clock: ManualClock) -> None:
    prepare_certificate(SELF, folder, clock.now_ms())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
    assert set(modes) >= {"cert.pem", "key.pem", "ca.pem", "ca.key"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_restart_keeps_the_certificate_and_another_domain_gets_a_new_root(
    folder: TlsFolder, clock: ManualClock
) -> None:
    prepare_certificate(SELF, folder, clock.now_ms())
    first, root = folder.chain.read_bytes(), export_root(folder)

    prepare_certificate(SELF, folder, clock.now_ms())
    assert (folder.chain.read_bytes(), export_root(folder)) == (first, root)

    prepare_certificate(TlsPlan("self", "other.example"), folder, clock.now_ms())
    assert export_root(folder) != root
    assert "c.other.example" in parse_chain(folder.chain.read_bytes(), "it").names


def test_local_certificate_is_renewed_when_a_third_of_its_life_is_left(folder: TlsFolder, clock: ManualClock) -> None:
    prepare_certificate(SELF, folder, clock.now_ms())
    first, root = parse_chain(folder.chain.read_bytes(), "it"), export_root(folder)
    clock.set_now_ms(first.not_after_ms - (first.not_after_ms - first.not_before_ms) // 3 - 1000)
    assert not is_due(SELF, folder, clock.now_ms())

    clock.advance(2)
    assert is_due(SELF, folder, clock.now_ms())
    obtain(SELF, folder, clock.now_ms())

    second = parse_chain(folder.chain.read_bytes(), "it")
    assert second.not_after_ms > first.not_after_ms
    assert export_root(folder) == root
    assert not is_due(SELF, folder, clock.now_ms())


def test_interrupted_replacement_of_certificate_and_key_is_ended_at_the_next_start(
    folder: TlsFolder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_certificate(SELF, folder, clock.now_ms())
    old = parse_chain(folder.chain.read_bytes(), "it")
    written = TlsFolder.write

    def fail_at_the_chain(self: TlsFolder, path: Path, content: bytes) -> None:
        if path == self.chain:
            raise Unavailable("disk", "full")
        written(self, path, content)

    monkeypatch.setattr(TlsFolder, "write", fail_at_the_chain)
    with pytest.raises(Unavailable):
        issue_locally(folder, "play.example", clock.now_ms())
    monkeypatch.undo()
    with pytest.raises(Refused, match="does not belong"):
        read_fitting(SELF, folder, clock.now_ms())

    prepare_certificate(SELF, folder, clock.now_ms())

    new, _ = read_fitting(SELF, folder, clock.now_ms())
    assert new.spki != old.spki
    assert not (folder.path / "pending.pem").exists()


# --- the operator's own files


def test_root_at_the_end_of_the_chain_is_not_sent(tmp_path: Path, folder: TlsFolder, clock: ManualClock) -> None:
    authority = trustme.CA()
    chain, key = write_certificate(authority, tmp_path, *server_names("play.example"))
    chain.write_bytes(chain.read_bytes() + authority.cert_pem.bytes())

    certificate, _ = read_fitting(own(chain, key), folder, clock.now_ms())

    assert certificate.chain.count(b"BEGIN CERTIFICATE") == 1


def test_one_file_can_contain_certificate_and_key(tmp_path: Path, folder: TlsFolder, clock: ManualClock) -> None:
    authority = trustme.CA()
    chain, key = write_certificate(authority, tmp_path, "play.example", "*.play.example")
    chain.write_bytes(key.read_bytes() + chain.read_bytes())

    served = ServedCertificate(own(chain, None), folder, clock)

    assert accepts(served.context, authority.cert_pem.bytes().decode(), "c4.play.example")


Change = Callable[[Path, Path, trustme.CA], None]


def _half(chain: Path, key: Path, authority: trustme.CA) -> None:
    chain.write_bytes(chain.read_bytes()[:500])


def _half_key(chain: Path, key: Path, authority: trustme.CA) -> None:
    key.write_bytes(key.read_bytes()[:100])


def _no_key(chain: Path, key: Path, authority: trustme.CA) -> None:
    key.write_bytes(chain.read_bytes())


def _damaged(chain: Path, key: Path, authority: trustme.CA) -> None:
    lines = chain.read_bytes().splitlines()
    chain.write_bytes(b"\n".join([lines[0], b"AAAA" + lines[1][4:], *lines[2:]]))


def _other_key(chain: Path, key: Path, authority: trustme.CA) -> None:
    key.write_bytes(authority.issue_cert("play.example").private_key_pem.bytes())


def _expired(chain: Path, key: Path, authority: trustme.CA) -> None:
    write_certificate(authority, chain.parent, "play.example", "*.play.example", starts=-2 * DAY, ends=-DAY)


def _future(chain: Path, key: Path, authority: trustme.CA) -> None:
    write_certificate(authority, chain.parent, "play.example", "*.play.example", starts=DAY)


def _other_names(chain: Path, key: Path, authority: trustme.CA) -> None:
    write_certificate(authority, chain.parent, "other.example", "*.other.example")


def _gone(chain: Path, key: Path, authority: trustme.CA) -> None:
    chain.unlink()


def _text(chain: Path, key: Path, authority: trustme.CA) -> None:
    chain.write_text("hello")


CHANGES = [
    (_half, "incomplete"),
    (_half_key, "the private key has no end"),
    (_no_key, "contains no private key"),
    (_damaged, "damaged"),
    (_other_key, "does not belong to the certificate; name the file with its key"),
    (_expired, "has expired"),
    (_future, "not valid yet"),
    (_other_names, r"is for other\.example"),
    (_gone, "cannot be read: No such file or directory; correct the path"),
    (_text, "contains no certificate in PEM form; name the file with the chain"),
]


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_server_does_not_start_with_files_that_do_not_fit(
    tmp_path: Path, folder: TlsFolder, clock: ManualClock, change: Change, why: str
) -> None:
    authority = trustme.CA()
    chain, key = write_certificate(authority, tmp_path, "play.example", "*.play.example")
    change(chain, key, authority)

    with pytest.raises(Refused, match=why):
        ServedCertificate(own(chain, key), folder, clock)


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_changed_files_that_do_not_fit_are_not_served_and_the_reason_is_reported(
    tmp_path: Path, folder: TlsFolder, clock: ManualClock, change: Change, why: str
) -> None:
    authority = trustme.CA()
    chain, key = write_certificate(authority, tmp_path, "play.example", "*.play.example")
    plan = own(chain, key)
    prepare_certificate(plan, folder, clock.now_ms())
    served = ServedCertificate(plan, folder, clock)
    before = served.context

    change(chain, key, authority)
    asyncio.run(served.follow())

    assert served.context is before
    status = read_status(plan, folder, clock.now_ms())
    assert status.last_error is not None
    with pytest.raises(Refused, match=why):
        raise Refused(status.last_error)
    assert any(status.last_error in fault for fault in find_faults(folder, clock.now_ms()))


def test_changed_files_are_served_to_new_connections(tmp_path: Path, folder: TlsFolder, clock: ManualClock) -> None:
    old, new = trustme.CA(), trustme.CA()
    chain, key = write_certificate(old, tmp_path, "play.example", "*.play.example")
    plan = own(chain, key)
    prepare_certificate(plan, folder, clock.now_ms())
    served = ServedCertificate(plan, folder, clock)
    root = new.cert_pem.bytes().decode()
    assert not accepts(served.context, root, "play.example")

    _half(chain, key, old)
    asyncio.run(served.follow())
    write_certificate(new, tmp_path, "play.example", "*.play.example")
    asyncio.run(served.follow())

    assert accepts(served.context, root, "play.example")
    assert read_status(plan, folder, clock.now_ms()).last_error is None
    assert find_faults(folder, clock.now_ms()) == []


def test_certificate_that_lacks_a_name_of_the_old_one_is_not_served(
    tmp_path: Path, folder: TlsFolder, clock: ManualClock
) -> None:
    authority = trustme.CA()
    chain, key = write_certificate(authority, tmp_path, "play.example", "*.play.example")
    served = ServedCertificate(own(chain, key), folder, clock)
    before = served.certificate

    write_certificate(authority, tmp_path, "play.example", "c.play.example")
    served.reload()

    assert served.certificate == before


def test_doctor_reports_a_certificate_that_ends_soon(tmp_path: Path, folder: TlsFolder, clock: ManualClock) -> None:
    chain, key = write_certificate(trustme.CA(), tmp_path, "play.example", "*.play.example", ends=15 * DAY)
    prepare_certificate(own(chain, key), folder, clock.now_ms())
    life_ms = int(datetime.timedelta(days=16).total_seconds() * 1000)
    assert find_faults(folder, clock.now_ms()) == []

    later_ms = clock.now_ms() + 15 * DAY_MS - life_ms // 6 + 60_000

    [fault] = find_faults(folder, later_ms)
    assert "ends in 2 days; replace the file" in fault


def test_doctor_reports_names_that_the_certificate_lacks(tmp_path: Path, folder: TlsFolder, clock: ManualClock) -> None:
    chain, key = write_certificate(trustme.CA(), tmp_path, "play.example")
    prepare_certificate(own(chain, key), folder, clock.now_ms())

    [fault] = find_faults(folder, clock.now_ms())

    assert "is not for c.play.example" in fault


def test_wildcard_covers_one_label() -> None:
    wanted = ("play.example", "c.play.example", "a.b.play.example")

    assert missing_names(wanted, ["*.play.example"]) == ["play.example", "a.b.play.example"]


def test_challenge_answers_only_tokens_that_run(folder: TlsFolder) -> None:
    folder.begin_challenge("token-1", "token-1.thumbprint")

    assert folder.challenge("token-1") == b"token-1.thumbprint"
    assert folder.challenge("../key.pem") is None
    assert folder.challenge("other") is None
    folder.end_challenge("token-1")
    assert folder.challenge("token-1") is None


def test_damaged_state_counts_as_none(folder: TlsFolder, clock: ManualClock) -> None:
    folder.change_state(SELF, lambda _: TlsState(SELF, renewal_error="no"))
    assert folder.state() == TlsState(SELF, renewal_error="no")

    (folder.path / "state.json").write_text("{")

    assert folder.state() is None


def test_two_processes_change_the_state_without_losing_a_change(folder: TlsFolder) -> None:
    code = (
        "import sys, msgspec\n"
        "from pathlib import Path\n"
        "from kiai.tls.folder import TlsFolder\n"
        "from kiai.tls.plan import TlsPlan\n"
        "folder = TlsFolder(Path(sys.argv[1]))\n"
        "for _ in range(WRITES):\n"
        "    folder.change_state(TlsPlan('self', 'play.example'),"
        " lambda state: msgspec.structs.replace(state, failures=state.failures + 1))\n"
    ).replace("WRITES", str(WRITES))
    writers = [subprocess.Popen([sys.executable, "-c", code, str(folder.path.parent)]) for _ in range(2)]

    assert [writer.wait(patiently(60)) for writer in writers] == [0, 0]

    state = folder.state()
    assert state is not None
    assert state.failures == 2 * WRITES
