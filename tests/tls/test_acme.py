"""Certificates of a real ACME authority (Debian's pebble): issue, renewal, failures."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tls.challenge_port import ChallengePort
from tests.tls.pebble import Pebble

from kiai.clock import ManualClock, SystemClock
from kiai.errors import Unavailable
from kiai.tls import renewal
from kiai.tls.certificate import parse_chain
from kiai.tls.folder import TlsFolder
from kiai.tls.names import server_names
from kiai.tls.plan import TlsPlan
from kiai.tls.renewal import DELAYS_S, Renewal, is_due, obtain
from kiai.tls.serving import ServedCertificate, prepare_certificate
from kiai.tls.status import find_faults, read_status

DOMAIN = "play.example"


@pytest.fixture
def folder(tmp_path: Path, port: ChallengePort) -> Iterator[TlsFolder]:
    port.folder = TlsFolder(tmp_path)
    port.asked.clear()
    yield port.folder
    port.folder = None


def plan_with(pebble: Pebble, **changes: str | None) -> TlsPlan:
    wanted = {"directory": pebble.directory, "authority_pem": str(pebble.authority_pem), "email": "a@play.example"}
    return TlsPlan("auto", DOMAIN, **{**wanted, **changes})  # type: ignore[arg-type]


def issuer(folder: TlsFolder) -> str:
    return parse_chain(folder.chain.read_bytes(), "it").issuer


def test_authority_issues_one_certificate_for_all_names(pebble: Pebble, port: ChallengePort, folder: TlsFolder) -> None:
    now_ms = SystemClock().now_ms()

    obtain(plan_with(pebble), folder, now_ms)

    certificate = parse_chain(folder.chain.read_bytes(), "it")
    assert set(certificate.names) == set(server_names(DOMAIN))
    assert set(port.asked) == set(server_names(DOMAIN))
    assert certificate.issuer.startswith("Pebble")
    # The leaf and the intermediate, without the root.
    assert certificate.chain.count(b"BEGIN CERTIFICATE") == 2
    assert list((folder.path / "challenges").iterdir()) == []
    assert {stat.S_IMODE((folder.path / name).stat().st_mode) for name in ("key.pem", "account.json")} == {0o600}
    assert not is_due(plan_with(pebble), folder, now_ms)


def test_server_starts_with_a_local_certificate_and_serves_the_issued_one(pebble: Pebble, folder: TlsFolder) -> None:
    clock = ManualClock(SystemClock().now_ms())
    plan = plan_with(pebble)
    prepare_certificate(plan, folder, clock.now_ms())
    served = ServedCertificate(plan, folder, clock)
    assert "test authority" in served.certificate.issuer
    clock.set_now_ms(SystemClock().now_ms())

    async def renew_and_follow() -> None:
        await Renewal(plan, folder, clock).run()
        clock.set_now_ms(SystemClock().now_ms())
        await served.follow()

    asyncio.run(renew_and_follow())

    assert served.certificate.issuer.startswith("Pebble")
    assert find_faults(folder, clock.now_ms()) == []
    # A restart keeps it.
    issued = folder.chain.read_bytes()
    prepare_certificate(plan, folder, clock.now_ms())
    assert folder.chain.read_bytes() == issued


def test_certificate_is_renewed_with_the_same_account_when_a_third_of_its_life_is_left(
    pebble: Pebble, folder: TlsFolder
) -> None:
    plan, clock = plan_with(pebble), ManualClock(SystemClock().now_ms())
    obtain(plan, folder, clock.now_ms())
    first, account = parse_chain(folder.chain.read_bytes(), "it"), folder.account.read_bytes()
    clock.set_now_ms(first.renewal_ms - 1)
    asyncio.run(Renewal(plan, folder, clock).run())
    assert parse_chain(folder.chain.read_bytes(), "it") == first

    clock.advance(1)
    asyncio.run(Renewal(plan, folder, clock).run())

    assert parse_chain(folder.chain.read_bytes(), "it").spki != first.spki
    assert folder.account.read_bytes() == account


def test_account_that_the_authority_does_not_know_is_replaced(pebble: Pebble, folder: TlsFolder) -> None:
    plan = plan_with(pebble)
    obtain(plan, folder, SystemClock().now_ms())
    account = json.loads(folder.account.read_bytes())
    folder.write(folder.account, json.dumps({**account, "uri": f"{account['uri']}0000"}).encode())

    obtain(plan, folder, SystemClock().now_ms(), force=True)

    assert json.loads(folder.account.read_bytes())["key"] != account["key"]


def test_dns_01_asks_the_hook_for_records_and_certifies_a_wildcard(pebble: Pebble, folder: TlsFolder) -> None:
    domain = "dns.example"  # the authority remembers names that it has checked
    plan = TlsPlan(
        "auto",
        domain,
        directory=pebble.directory,
        authority_pem=str(pebble.authority_pem),
        challenge="dns-01",
        dns_hook=str(pebble.dns_hook()),
    )

    obtain(plan, folder, SystemClock().now_ms())

    assert set(parse_chain(folder.chain.read_bytes(), "it").names) == {domain, f"*.{domain}"}
    calls = (pebble.folder / "hook.log").read_text().splitlines()
    named = {call.rpartition(" ")[0] for call in calls}
    assert named == {f"set _acme-challenge.{domain}", f"unset _acme-challenge.{domain}"}
    assert not is_due(plan, folder, SystemClock().now_ms())


# --- failures


def test_names_that_do_not_reach_the_server_are_reported(
    pebble: Pebble, port: ChallengePort, folder: TlsFolder, tmp_path: Path
) -> None:
    plan = TlsPlan("auto", "away.example", directory=pebble.directory, authority_pem=str(pebble.authority_pem))
    now_ms = SystemClock().now_ms()
    prepare_certificate(plan, folder, now_ms)
    before = folder.chain.read_bytes()
    port.folder = None

    with pytest.raises(Unavailable, match=r"could not check .*away\.example.* and 11 more names; check the DNS"):
        obtain(plan, folder, now_ms)

    assert folder.chain.read_bytes() == before
    status = read_status(plan, folder, now_ms)
    assert status.last_error is not None
    assert "away.example" in status.last_error
    assert any("the renewal of the certificate failed" in fault for fault in find_faults(folder, now_ms))
    assert list((folder.path / "challenges").iterdir()) == []


def test_authority_that_is_away_is_tried_again_after_growing_waits(folder: TlsFolder, tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now_ms())
    plan = TlsPlan("auto", DOMAIN, directory="https://localhost:1/dir")
    prepare_certificate(plan, folder, clock.now_ms())
    before = folder.chain.read_bytes()
    job = Renewal(plan, folder, clock)

    tries = []
    for _ in range(3):
        asyncio.run(job.run())
        state = folder.state()
        assert state is not None
        tries.append((state.failures, (state.next_try_ms - clock.now_ms()) // 1000))
        asyncio.run(job.run())  # too early: nothing happens
        assert folder.state() == state
        clock.set_now_ms(state.next_try_ms)

    assert tries == [(1, DELAYS_S[0]), (2, DELAYS_S[1]), (3, DELAYS_S[2])]
    assert folder.chain.read_bytes() == before
    error = read_status(plan, folder, clock.now_ms()).last_error
    assert error is not None
    assert "cannot be reached" in error


def test_waits_survive_a_restart(folder: TlsFolder) -> None:
    clock = ManualClock(SystemClock().now_ms())
    plan = TlsPlan("auto", DOMAIN, directory="https://localhost:1/dir")
    prepare_certificate(plan, folder, clock.now_ms())
    asyncio.run(Renewal(plan, folder, clock).run())
    state = folder.state()

    prepare_certificate(plan, folder, clock.now_ms())
    asyncio.run(Renewal(plan, folder, clock).run())

    assert state is not None
    assert folder.state() == state
    assert state.failures == 1


def test_untrusted_authority_is_reported(pebble: Pebble, folder: TlsFolder) -> None:
    plan = plan_with(pebble, authority_pem=None)

    with pytest.raises(Unavailable, match="its certificate is not trusted; check acme_directory and acme_ca"):
        obtain(plan, folder, SystemClock().now_ms())


def test_failing_hook_is_reported(pebble: Pebble, folder: TlsFolder, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho no such zone >&2\nexit 3\n")
    hook.chmod(0o700)
    plan = TlsPlan(
        "auto",
        "hook.example",
        directory=pebble.directory,
        authority_pem=str(pebble.authority_pem),
        challenge="dns-01",
        dns_hook=str(hook),
    )

    with pytest.raises(Unavailable, match=r"exit code 3 \(no such zone\)"):
        obtain(plan, folder, SystemClock().now_ms())


def test_authority_is_not_asked_while_the_disk_is_full(
    pebble: Pebble, port: ChallengePort, folder: TlsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: TlsFolder, size: int) -> None:
        raise Unavailable("file .space", "No space left on device")

    monkeypatch.setattr(TlsFolder, "reserve", full)

    with pytest.raises(Unavailable, match="No space left"):
        obtain(plan_with(pebble), folder, SystemClock().now_ms())

    assert not folder.account.exists()
    assert port.asked == []


def test_wrong_clock_of_this_machine_is_reported_and_the_authority_is_not_asked_again_at_once(
    pebble: Pebble, folder: TlsFolder
) -> None:
    plan, clock = plan_with(pebble), ManualClock(SystemClock().now_ms() - 86_400_000)
    prepare_certificate(plan, folder, clock.now_ms())
    before = folder.chain.read_bytes()

    asyncio.run(Renewal(plan, folder, clock).run())

    state = folder.state()
    assert state is not None
    assert state.renewal_error is not None
    assert "check the clock of this machine" in state.renewal_error
    assert state.next_try_ms == clock.now_ms() + DELAYS_S[0] * 1000
    assert folder.chain.read_bytes() == before


def test_hanging_authority_ends_after_the_deadline(
    pebble: Pebble, folder: TlsFolder, monkeypatch: pytest.MonkeyPatch, port: ChallengePort
) -> None:
    monkeypatch.setattr(renewal, "DEADLINE_S", 0.0)

    with pytest.raises(Unavailable, match="has not answered within 0 s"):
        obtain(plan_with(pebble), folder, SystemClock().now_ms())
