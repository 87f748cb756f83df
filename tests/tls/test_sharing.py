"""Two machines that share the certificate of a real ACME authority through the database."""

import asyncio
import base64
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWK
from sqlalchemy import select
from tests import engines
from tests.tls.challenge_port import ChallengePort
from tests.tls.pebble import Pebble
from tests.tls.test_acme import DOMAIN, plan_with

from kiai.clock import ManualClock, SystemClock
from kiai.errors import Unavailable
from kiai.secret_box import FILE, SecretBox
from kiai.shared_certificate import READ_EVERY_S, SharedCertificate
from kiai.storage.port import Database, Query, scalar
from kiai.storage.tables import shared_certificates
from kiai.tls.folder import TlsFolder
from kiai.tls.plan import TlsPlan
from kiai.tls.renewal import Renewal, is_due, obtain, obtain_for_all
from kiai.tls.serving import ServedCertificate, prepare_certificate

AWAY = TlsPlan("auto", DOMAIN, directory="https://localhost:1/dir")
SEALED = Query(select(shared_certificates.c.sealed), scalar)


class Machine:
    """A machine with a data folder of its own."""

    def __init__(self, data: Path, plan: TlsPlan, database: Database, clock: ManualClock) -> None:
        self.folder = TlsFolder(data)
        prepare_certificate(plan, self.folder, clock.now_ms())
        self.sharing = SharedCertificate(database, SecretBox(data, clock), plan, self.folder, clock)
        self.served = ServedCertificate(plan, self.folder, clock, self.sharing)
        self.renewal = Renewal(plan, self.folder, clock, self.sharing)

    @property
    def failures(self) -> int:
        state = self.folder.state()
        assert state is not None
        return state.failures


class Reached:
    """Answers challenges on the port that the authority asks as this machine does, from another thread."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self.answers: list[bytes | None] = []

    def challenge(self, token: str) -> bytes | None:
        answering = asyncio.run_coroutine_threadsafe(self._machine.served.challenge(token), self._loop)
        self.answers.append(answering.result())
        return self.answers[-1]


def issued(pebble: Pebble) -> int:
    """Return the number of certificates that the authority has issued."""
    return (pebble.folder / "pebble.log").read_text().count("Issued certificate")


def with_two(
    url: str, folder: Path, plan: TlsPlan, work: Callable[[Machine, Machine, ManualClock, Database], Awaitable[None]]
) -> None:
    """Run `work` with two machines that have the same secret.key."""

    async def main() -> None:
        clock = ManualClock(SystemClock().now_ms())
        for name in ("a", "b"):
            (folder / name).mkdir()
        SecretBox(folder / "a", clock).seal(b"", "")  # creates the key
        shutil.copy(folder / "a" / FILE, folder / "b" / FILE)
        async with engines.opened(url) as database:
            a, b = (Machine(folder / name, plan, database, clock) for name in ("a", "b"))
            await work(a, b, clock, database)

    asyncio.run(main())


def test_one_machine_obtains_and_renews_and_the_other_answers_and_takes_over(
    database_url: str, pebble: Pebble, port: ChallengePort, tmp_path: Path
) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        reached = Reached(b)
        port.folder = reached  # type: ignore[assignment]
        before, opened_before = issued(pebble), b.served.context

        await a.renewal.run()
        await a.served.follow()
        await b.served.follow()

        assert issued(pebble) == before + 1
        assert reached.answers
        assert None not in reached.answers
        assert a.served.certificate.issuer.startswith("Pebble")
        assert b.served.certificate == a.served.certificate
        assert b.served.context is not opened_before
        assert [m.folder.key.read_bytes() for m in (a, b)] == [a.folder.key.read_bytes()] * 2
        assert b.folder.account.read_bytes() == a.folder.account.read_bytes()
        assert b.folder.key.stat().st_mode & 0o077 == 0
        [sealed] = await database.all(SEALED)
        assert b"PRIVATE KEY" not in sealed

        first = a.served.certificate
        clock.set_now_ms(first.renewal_ms)
        await b.renewal.run()
        await a.renewal.run()
        await a.served.follow()

        assert issued(pebble) == before + 2, "the second machine has taken over what the first one obtained"
        await b.served.follow()
        assert a.served.certificate == b.served.certificate != first
        # A start without the database serves the last certificate.
        prepare_certificate(plan, a.folder, clock.now_ms())
        assert ServedCertificate(plan, a.folder, clock).certificate == a.served.certificate

    plan = plan_with(pebble)
    with_two(database_url, tmp_path, plan, work)


def test_command_renews_for_all_machines(
    database_url: str, pebble: Pebble, port: ChallengePort, tmp_path: Path
) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        port.folder = Reached(a)  # type: ignore[assignment]
        before = issued(pebble)

        await obtain_for_all(plan, b.folder, clock.now_ms(), b.sharing)
        await obtain_for_all(plan, a.folder, clock.now_ms(), a.sharing)

        assert issued(pebble) == before + 1
        assert a.folder.chain.read_bytes() == b.folder.chain.read_bytes()
        await obtain_for_all(plan, a.folder, clock.now_ms(), a.sharing, force=True)
        await b.sharing.take_over()
        assert issued(pebble) == before + 2
        assert a.folder.chain.read_bytes() == b.folder.chain.read_bytes()

    plan = plan_with(pebble)
    with_two(database_url, tmp_path, plan, work)


def test_certificate_of_a_machine_that_was_alone_is_published(
    database_url: str, pebble: Pebble, port: ChallengePort, tmp_path: Path
) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        port.folder = a.folder
        await asyncio.to_thread(obtain, plan, a.folder, clock.now_ms())

        await a.renewal.run()
        await b.renewal.run()

        assert b.folder.chain.read_bytes() == a.folder.chain.read_bytes()
        assert not is_due(plan, b.folder, clock.now_ms())

    plan = plan_with(pebble)
    with_two(database_url, tmp_path, plan, work)


def test_machines_wait_together_after_a_failure(database_url: str, tmp_path: Path) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        await a.renewal.run()
        await b.renewal.run()
        assert (a.failures, b.failures) == (1, 1)

        state = b.folder.state()
        assert state is not None
        clock.set_now_ms(state.next_try_ms)
        await b.renewal.run()
        await a.renewal.run()
        assert (a.failures, b.failures) == (2, 2)

    with_two(database_url, tmp_path, AWAY, work)


def test_machine_with_another_secret_key_takes_nothing_over_and_asks_no_authority(
    database_url: str, tmp_path: Path
) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        await a.sharing.publish()
        before = b.folder.chain.read_bytes()
        (tmp_path / "b" / FILE).unlink()

        with pytest.raises(Unavailable, match="copy that of the other machines"):
            await b.renewal.run()

        assert b.folder.chain.read_bytes() == before
        assert b.failures == 0

    with_two(database_url, tmp_path, AWAY, work)


def test_of_two_publications_at_once_the_first_wins(database_url: str, tmp_path: Path) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        for machine in (a, b):  # without its authority, the certificate is not a local one
            machine.folder.authority.unlink()
            machine.folder.authority_key.unlink()
        assert a.folder.chain.read_bytes() != b.folder.chain.read_bytes()

        await a.sharing.publish()
        await b.sharing.publish()

        assert a.folder.chain.read_bytes() == b.folder.chain.read_bytes()
        assert a.folder.key.read_bytes() == b.folder.key.read_bytes()

    with_two(database_url, tmp_path, AWAY, work)


def test_challenges_are_answered_only_while_an_order_runs(database_url: str, tmp_path: Path) -> None:
    key: Any = JWK.load(a_key())

    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        a.folder.write(a.folder.account, account(key))
        await a.sharing.publish()
        assert await b.served.challenge("token-1") is None

        await a.sharing.publish(answers_until_ms=clock.now_ms() + 1)
        answers = await asyncio.gather(*(b.served.challenge(f"token-{n}") for n in range(5)))
        assert answers == [b"token-%d.%b" % (n, thumbprint(key)) for n in range(5)]
        assert await b.served.challenge("../key.pem") is None

        clock.advance(1)
        assert await b.served.challenge("token-1") is None

    with_two(database_url, tmp_path, AWAY, work)


def test_challenges_are_answered_while_the_database_is_away(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key: Any = JWK.load(a_key())

    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        a.folder.write(a.folder.account, account(key))
        await a.sharing.publish(answers_until_ms=clock.now_ms() + 1)
        await b.served.follow()

        async def unavailable() -> None:
            raise Unavailable("database", "it does not answer")

        monkeypatch.setattr(b.sharing, "take_over", unavailable)
        assert await b.served.challenge("token-1") == b"token-1." + thumbprint(key)
        clock.advance(1)
        assert await b.served.challenge("token-1") is None

    with_two(database_url, tmp_path, AWAY, work)


def test_challenges_of_strangers_read_the_database_a_few_times_a_second(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(a: Machine, b: Machine, clock: ManualClock, database: Database) -> None:
        reads = 0
        take_over = b.sharing.take_over

        async def counted() -> None:
            nonlocal reads
            reads += 1
            await take_over()

        monkeypatch.setattr(b.sharing, "take_over", counted)
        assert await b.served.challenge("not a token") is None
        assert reads == 0

        began = time.monotonic()

        async def stranger() -> None:
            for number in range(5):
                assert await b.served.challenge(f"guess-{number}") is None

        await asyncio.gather(*(stranger() for _ in range(20)))
        assert reads <= 2 + (time.monotonic() - began) / READ_EVERY_S
        assert reads < 20

    with_two(database_url, tmp_path, AWAY, work)


def a_key() -> bytes:
    """Return a private key as PEM."""
    made = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def account(key: Any) -> bytes:
    """Return the content of `account.json` for a key of josepy."""
    return json.dumps({"directory": AWAY.directory, "uri": "x", "key": key.to_json()}).encode()


def thumbprint(key: Any) -> bytes:
    """Return the thumbprint as josepy computes it."""
    return base64.urlsafe_b64encode(key.thumbprint()).rstrip(b"=")
