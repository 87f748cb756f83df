"""Renews certificates: when one is due, who does it, and what a failure leaves behind."""

import asyncio
import contextlib
import sys
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import KiaiError, Refused
from kiai.logs import get_logger
from kiai.tls.authority import issue_locally, local_key_id
from kiai.tls.folder import TlsFolder
from kiai.tls.names import missing_names, server_names
from kiai.tls.plan import HOOK_S, TlsPlan
from kiai.tls.serving import read_fitting
from kiai.tls.sharing import Sharing

CHECK_EVERY_S: Final = 10.0
DEADLINE_S: Final = 300.0
"""An authority that has not issued a certificate by then counts as failed."""
ANSWERS_MS: Final = int(DEADLINE_S + 120) * 1000
"""All machines that share a certificate answer challenges for this time after an order has begun."""
PROCESS_S: Final = DEADLINE_S + 4 * HOOK_S + 60
"""The longest time of the process of a renewal: the hook sets and removes a record for each of two names."""
DELAYS_S: Final = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600)
"""The waits after failures in a row; the last one repeats. Authorities allow about five failures per name and hour."""
AFTER_SUCCESS_MS: Final = 3_600_000
"""A certificate that seems due again so soon shows a mistake, which must not use up what the authority allows."""
ERROR_MAX: Final = 500  # characters of an error that is recorded


def is_due(plan: TlsPlan, folder: TlsFolder, now_ms: int) -> bool:
    """Return whether the certificate should be renewed."""
    if plan.mode not in ("self", "auto"):
        return False
    try:
        certificate, _ = read_fitting(plan, folder, now_ms)
    except KiaiError:
        return True
    is_local = certificate.issuer_key_id is not None and certificate.issuer_key_id == local_key_id(folder)
    return (
        is_local != (plan.mode == "self")
        or now_ms >= certificate.renewal_ms
        or bool(missing_names(server_names(plan.domain), certificate.names))
    )


def obtain(plan: TlsPlan, folder: TlsFolder, now_ms: int, *, force: bool = False) -> None:
    """Obtain a certificate if it is due, or with `force`, and record the result.

    Raises Refused and Unavailable; the old certificate then stays. This blocks for the time that the authority takes.
    """
    if plan.mode not in ("self", "auto"):
        raise Refused("the server obtains no certificates; start it with --tls auto or --tls self")
    with folder.lock("renewal"):
        folder.recover()  # a process that was ended while it replaced the files
        # Another process may have obtained one while this one waited for the lock.
        if not force and not is_due(plan, folder, now_ms):
            return
        try:
            if plan.mode == "self":
                issue_locally(folder, plan.domain, now_ms)
            else:
                from kiai.tls.acme import issue_by_acme  # its libraries take 20 MB

                issue_by_acme(plan, folder, now_ms, DEADLINE_S)
        except KiaiError as error:
            with contextlib.suppress(KiaiError):  # e.g. because the disk is full, which may be the error itself
                _record_failure(plan, folder, now_ms, str(error))
            raise
        folder.change_state(
            plan,
            lambda state: msgspec.structs.replace(
                state,
                plan=plan,
                reading_error=None,
                renewal_error=None,
                failures=0,
                next_try_ms=now_ms + AFTER_SUCCESS_MS,
            ),
        )


def open_account(plan: TlsPlan, folder: TlsFolder, now_ms: int) -> None:
    """Store an account at the authority unless one is stored, and record a failure. Blocks. Raises Unavailable."""
    from kiai.tls.acme import open_acme_account  # its libraries take 20 MB

    with folder.lock("renewal"):
        try:
            open_acme_account(plan, folder)
        except KiaiError as error:
            with contextlib.suppress(KiaiError):
                _record_failure(plan, folder, now_ms, str(error))
            raise


async def obtain_for_all(
    plan: TlsPlan, folder: TlsFolder, now_ms: int, sharing: Sharing, *, force: bool = False
) -> None:
    """Do the same as `obtain` for all machines that share the certificate. Raises Refused and Unavailable."""
    await sharing.take_over()
    if not force and not is_due(plan, folder, now_ms):
        return
    try:
        await asyncio.to_thread(open_account, plan, folder, now_ms)
        await sharing.publish(answers_until_ms=now_ms + ANSWERS_MS)
        await asyncio.to_thread(obtain, plan, folder, now_ms, force=force)
    finally:
        await sharing.publish()


def _record_failure(plan: TlsPlan, folder: TlsFolder, now_ms: int, why: str) -> None:
    folder.change_state(
        plan,
        lambda state: msgspec.structs.replace(
            state,
            plan=plan,
            renewal_error=why[:ERROR_MAX],
            failures=state.failures + 1,
            next_try_ms=now_ms + _delay_ms(state.failures),
        ),
    )


class Renewal:
    """The periodic renewal of a server. One worker runs it at a time, of all machines that share the certificate."""

    def __init__(self, plan: TlsPlan, folder: TlsFolder, clock: Clock, sharing: Sharing | None = None) -> None:
        self._plan = plan
        self._folder = folder
        self._clock = clock
        self._sharing = sharing
        self._log = get_logger("tls")
        self._failures = 0
        self._next_try_ms = 0  # as in the state, which cannot be recorded while the disk is full

    async def run(self) -> None:
        """Obtain a certificate if one is due, and the wait after the last failure has passed. A job calls this.

        Raises Unavailable if machines share the certificate and the database does not answer.
        """
        if self._sharing is not None:
            await self._sharing.take_over()
        now_ms = self._clock.now_ms()
        if not is_due(self._plan, self._folder, now_ms):
            if self._sharing is not None:
                await self._sharing.publish_if_newer()
            return
        state = self._folder.state()
        if now_ms < max(self._next_try_ms, 0 if state is None else state.next_try_ms):
            return
        if self._sharing is None:
            why = await self._work("certificate", now_ms)
        else:
            why = await self._work("account", now_ms)
            if why is None:
                await self._sharing.publish(answers_until_ms=now_ms + ANSWERS_MS)
                why = await self._work("certificate", now_ms)
        if why is None:
            self._failures = 0
            self._log.info("certificate obtained", mode=self._plan.mode)
        else:
            self._record(why, now_ms)
        if self._sharing is not None:
            await self._sharing.publish()

    async def _work(self, work: str, now_ms: int) -> str | None:
        """Run a process for `account` or `certificate`. Return why it failed, or None."""
        # A process of its own: the libraries of ACME wait in threads, take 20 MB, and a hanging authority can be ended.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "kiai.tls.renewal_process",
            work,
            str(self._folder.path.parent.absolute()),
            str(now_ms),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PROCESS_S):
                answer, _ = await process.communicate(msgspec.json.encode(self._plan))
            why = answer.decode(errors="replace").strip()
        except TimeoutError:
            why = f"the authority did not answer within {DEADLINE_S:.0f} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return None if process.returncode == 0 else why or "the process ended without an answer"

    def _record(self, why: str, now_ms: int) -> None:
        self._next_try_ms = now_ms + _delay_ms(self._failures)
        self._failures += 1
        state = self._folder.state()
        if state is None or state.next_try_ms <= now_ms:  # the process was killed before it could record the failure
            with contextlib.suppress(KiaiError):
                _record_failure(self._plan, self._folder, now_ms, why)
        wait_s = (self._next_try_ms - now_ms) // 1000
        self._log.warning("certificate not obtained; the old one stays", why=why, next_try_s=wait_s)


def _delay_ms(failures: int) -> int:
    return DELAYS_S[min(failures, len(DELAYS_S) - 1)] * 1000
