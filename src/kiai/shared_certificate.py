"""The certificate of an ACME authority that several machines share: a row of the database that only they can read.

One worker of the cluster obtains the certificate in the data folder of its machine, as on a single machine, and
publishes it. The others take it over into theirs. The row is encrypted with `secret.key`, which all machines share.
While an authority checks the names, every machine answers its challenges: the answer follows from the key of the
account.
"""

import asyncio
import contextlib
import time
from typing import Final

import msgspec
from sqlalchemy import bindparam, insert, select, update

from kiai.clock import Clock
from kiai.errors import KiaiError, Unavailable
from kiai.secret_box import SecretBox
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, new_values, scalar
from kiai.storage.tables import shared_certificates
from kiai.tls.authority import local_key_id
from kiai.tls.certificate import check_key, find_key, parse_chain
from kiai.tls.challenges import answer_of
from kiai.tls.folder import TOKEN, TlsFolder, TlsState
from kiai.tls.plan import TlsPlan

PURPOSE: Final = "certificate"
WHERE: Final = "the certificate that the machines share"
READ_EVERY_S: Final = 0.05
"""The shortest time between two reads of the database for challenges, which anybody may send."""

_OF_DOMAIN: Final = shared_certificates.c.domain == bindparam("of_domain")
_REVISION: Final[Query[int]] = Query(select(shared_certificates.c.revision).where(_OF_DOMAIN), scalar)


class _Row(msgspec.Struct, frozen=True):
    revision: int
    sealed: bytes


_ROW = Query(select(shared_certificates.c.revision, shared_certificates.c.sealed).where(_OF_DOMAIN), _Row)
_ADD = Command(
    insert(shared_certificates).values(
        domain=bindparam("domain"), revision=bindparam("revision"), sealed=bindparam("sealed")
    )
)
_CHANGE = Command(
    update(shared_certificates)
    .where(_OF_DOMAIN, shared_certificates.c.revision == bindparam("of_revision"))
    .values(new_values("revision", "sealed"))
)


class _Content(msgspec.Struct, frozen=True):
    """The decrypted row. The fields about failures and `answers_until_ms` are those of `TlsState`."""

    chain: bytes
    key: bytes
    account: bytes
    renewal_error: str | None
    failures: int
    next_try_ms: int
    answers_until_ms: int


class SharedCertificate:
    """Keeps the data folder of this machine and the row of the domain equal. Methods but `answer` raise Unavailable."""

    def __init__(self, database: Database, box: SecretBox, plan: TlsPlan, folder: TlsFolder, clock: Clock) -> None:
        self._database = database
        self._box = box
        self._plan = plan
        self._folder = folder
        self._clock = clock
        self._answering = asyncio.Lock()
        self._read_at = 0.0  # the begin of the last read for a challenge

    async def take_over(self) -> None:
        """Store what another machine has published since the last call."""
        known = self._known()
        revision = await self._database.one(_REVISION, of_domain=self._plan.domain)
        if revision is None or revision == known:
            return
        row = await self._database.one(_ROW, of_domain=self._plan.domain)
        if row is not None:
            await asyncio.to_thread(self._store, self._opened(row), known, row.revision)

    async def publish(self, *, answers_until_ms: int = 0) -> None:
        """Publish the certificate and the account of this machine.

        Every machine answers challenges until `answers_until_ms`. If another machine has published meanwhile, its
        certificate wins and is taken over.
        """
        known = self._known()
        content = await asyncio.to_thread(self._content, answers_until_ms)
        sealed = self._box.seal(msgspec.msgpack.encode(content), PURPOSE)
        domain, revision = self._plan.domain, known + 1

        async def store(tx: Transaction) -> None:
            changed = await tx.run(
                _CHANGE, of_domain=domain, of_revision=known, new_revision=revision, new_sealed=sealed
            )
            if not changed:
                await tx.run(_ADD, domain=domain, revision=revision, sealed=sealed)

        try:
            await self._database.transaction(store)
        except UniqueViolation:  # the row has another revision
            await self.take_over()
            return
        await asyncio.to_thread(self._record, content, revision)

    async def publish_if_newer(self) -> None:
        """Publish a certificate that this machine has and the row has not.

        This is the one of a machine that was alone before, or one whose publication failed.
        """
        row = await self._database.one(_ROW, of_domain=self._plan.domain)
        mine = await asyncio.to_thread(self._content, 0)
        if row is None or self._opened(row).chain != mine.chain:
            await self.publish()

    async def answer(self, token: str) -> bytes | None:
        """Return the answer to a challenge while an authority checks the names for any of the machines, else None."""
        if not TOKEN.fullmatch(token):
            return None
        asked_at = time.monotonic()
        async with self._answering:  # requests that wait here share the next read
            if self._read_at <= asked_at:
                await asyncio.sleep(self._read_at + READ_EVERY_S - time.monotonic())
                self._read_at = time.monotonic()
                # Without the database, this machine answers by what it has taken over. The job `certificate` says why.
                with contextlib.suppress(KiaiError):
                    await self.take_over()
        state = self._folder.state()
        if state is None or self._clock.now_ms() >= state.answers_until_ms:
            return None
        account = self._folder.read(self._folder.account)
        return None if account is None else answer_of(account, token)

    def _known(self) -> int:
        state = self._folder.state()
        return 0 if state is None else state.shared_revision

    def _opened(self, row: _Row) -> _Content:
        content = self._box.open(row.sealed, PURPOSE)
        if content is None:
            raise Unavailable(WHERE, "secret.key of this machine is another one; copy that of the other machines")
        return msgspec.msgpack.decode(content, type=_Content)

    def _content(self, answers_until_ms: int) -> _Content:
        folder, state = self._folder, self._folder.state() or TlsState(self._plan)
        with folder.lock("files"):
            chain, key = folder.read(folder.chain) or b"", folder.read(folder.key) or b""
        # One of the local authority is not published: other machines would take it for one of the ACME authority.
        if chain and parse_chain(chain, WHERE).issuer_key_id == local_key_id(folder):
            chain = key = b""
        return _Content(
            chain,
            key,
            folder.read(folder.account) or b"",
            state.renewal_error,
            state.failures,
            state.next_try_ms,
            answers_until_ms,
        )

    def _store(self, content: _Content, known: int, revision: int) -> None:
        folder = self._folder
        with folder.lock("shared"):
            if self._known() != known:  # another worker of this machine has stored or published meanwhile
                return
            mine = self._content(content.answers_until_ms)
            if content.chain and (content.chain, content.key) != (mine.chain, mine.key):
                check_key(parse_chain(content.chain, WHERE), find_key(content.key, WHERE), WHERE)
                folder.store(content.chain, content.key)
            if content.account and content.account != mine.account:
                folder.write(folder.account, content.account)
            self._record(content, revision)

    def _record(self, content: _Content, revision: int) -> None:
        self._folder.change_state(
            self._plan,
            lambda state: msgspec.structs.replace(
                state,
                renewal_error=content.renewal_error,
                failures=content.failures,
                next_try_ms=content.next_try_ms,
                answers_until_ms=content.answers_until_ms,
                shared_revision=revision,
            ),
        )
