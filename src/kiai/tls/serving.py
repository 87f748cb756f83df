"""The certificate that the server sends. It is read again when its files change; open connections stay as they are."""

import ssl
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import KiaiError, Refused
from kiai.logs import get_logger
from kiai.tls.authority import issue_locally, local_key_id
from kiai.tls.certificate import (
    ServerCertificate,
    check_key,
    check_time,
    find_key,
    parse_chain,
    read_certificate_file,
    server_context,
)
from kiai.tls.folder import TlsFolder, TlsState
from kiai.tls.names import missing_names, server_names
from kiai.tls.plan import TlsPlan
from kiai.tls.sharing import Sharing

RELOAD_EVERY_S: Final = 4.0
_Stamp = tuple[tuple[int, int, int], ...]


def certificate_files(plan: TlsPlan, folder: TlsFolder) -> tuple[Path, Path]:
    """Return the files of the certificate and its key."""
    if plan.mode == "file":
        assert plan.chain is not None
        return Path(plan.chain), Path(plan.key or plan.chain)
    return folder.chain, folder.key


def read_fitting(plan: TlsPlan, folder: TlsFolder, now_ms: int) -> tuple[ServerCertificate, bytes]:
    """Return the certificate and the key of the files. Raises Refused if they cannot be served."""
    chain, key = certificate_files(plan, folder)
    certificate = parse_chain(read_certificate_file(chain), str(chain))
    private = find_key(read_certificate_file(key), str(key))
    check_key(certificate, private, str(key))
    check_time(certificate, now_ms, str(chain))
    if len(missing_names(server_names(plan.domain), certificate.names)) == len(server_names(plan.domain)):
        raise Refused(
            f"the certificate in {chain} is for {', '.join(certificate.names[:5]) or 'no name'}, "
            f"not for {plan.domain}; choose another, or another --domain"
        )
    return certificate, private


def prepare_certificate(plan: TlsPlan, folder: TlsFolder, now_ms: int) -> None:
    """Prepare the certificate that the server starts with, and record the plan.

    `self` and `auto` without a certificate that fits get one of the local authority. Raises Unavailable.
    """
    # Not the lock of renewals: a start does not wait for an authority that hangs.
    with folder.lock("start"):
        # The errors and the waiting of another authority or domain say nothing about this one.
        folder.change_state(plan, lambda state: state if state.plan == plan else TlsState(plan))
        if plan.mode == "file":
            return
        folder.recover()
        try:
            certificate, _ = read_fitting(plan, folder, now_ms)
            fits = not missing_names(server_names(plan.domain), certificate.names)
        except KiaiError:
            fits = False
        if fits and plan.mode == "self":
            fits = certificate.issuer_key_id == local_key_id(folder) and now_ms < certificate.renewal_ms
        if not fits:
            issue_locally(folder, plan.domain, now_ms)


class ServedCertificate:
    """The certificate of one server process. Raises Refused if its files do not fit.

    `sharing` is None unless several machines share the certificate.
    """

    def __init__(self, plan: TlsPlan, folder: TlsFolder, clock: Clock, sharing: Sharing | None = None) -> None:
        self.plan: Final = plan
        self.folder: Final = folder
        self.sharing: Final = sharing
        self._clock = clock
        self._log = get_logger("tls")
        self._files = certificate_files(plan, folder)
        self._stamp = self._stamps()
        self._error: str | None = None  # why the changed files are not served
        self.certificate, key = read_fitting(plan, folder, clock.now_ms())
        self.context: ssl.SSLContext = server_context(self.certificate, key)
        """For new connections. Another object after a change, because OpenSSL would keep the old certificate, too."""
        if missing := missing_names(server_names(plan.domain), self.certificate.names):
            self._log.warning("certificate without names that clients use", missing=missing)

    @property
    def not_after_s(self) -> float:
        """The end of the certificate in unix seconds."""
        return self.certificate.not_after_ms / 1000

    async def follow(self) -> None:
        """Serve the certificate of the files if they have changed. A job calls this on every worker.

        First the files get what another machine has published. Raises Unavailable if that fails.
        """
        try:
            if self.sharing is not None:
                await self.sharing.take_over()
        finally:
            self._follow_files()

    async def challenge(self, token: str) -> bytes | None:
        """Return the answer to an ACME challenge that runs, or None."""
        answer = self.folder.challenge(token)
        if answer is None and self.sharing is not None:
            answer = await self.sharing.answer(token)
        return answer

    def _follow_files(self) -> None:
        stamp = self._stamps()
        if stamp != self._stamp or self._error is not None:  # the reason may have gone without a change of the files
            self._stamp = stamp
            self.reload()

    def reload(self) -> None:
        """Serve the certificate of the files. If it does not fit, the present one stays, and log and state say why."""
        try:
            certificate, key = read_fitting(self.plan, self.folder, self._clock.now_ms())
            wanted = server_names(self.plan.domain)
            lost = set(missing_names(wanted, certificate.names)) - set(missing_names(wanted, self.certificate.names))
            if lost:
                raise Refused(f"the certificate in {self._files[0]} is not for {', '.join(sorted(lost))}")
            context = server_context(certificate, key)
        except (KiaiError, ssl.SSLError) as error:
            if str(error) != self._error:
                self._log.warning("certificate not read; the old one stays", why=str(error))
            self._error = str(error)
            self._record(self._error)
            return
        self._error = None
        if certificate != self.certificate:
            self._log.info("certificate changed", issuer=certificate.issuer, not_after_ms=certificate.not_after_ms)
        self.certificate, self.context = certificate, context
        self._record(None)

    def _record(self, error: str | None) -> None:
        state = self.folder.state() or TlsState(self.plan)
        if state.reading_error != error:
            try:
                self.folder.change_state(
                    self.plan, lambda recorded: msgspec.structs.replace(recorded, reading_error=error)
                )
            except KiaiError as failed:
                self._log.warning("state of TLS not recorded", why=str(failed))

    def _stamps(self) -> _Stamp:
        """Return what changes with the files. A file that is missing has zeros."""
        stamps = []
        for path in self._files:
            try:
                found = path.stat()  # follows links: certbot replaces links
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)
