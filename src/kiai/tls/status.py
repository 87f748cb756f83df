"""The state of the certificate, for `kiai tls status` and `kiai doctor`."""

from typing import Final

import msgspec

from kiai.errors import KiaiError
from kiai.tls.certificate import ServerCertificate, parse_chain, read_certificate_file
from kiai.tls.folder import TlsFolder
from kiai.tls.names import missing_names, server_names
from kiai.tls.plan import Mode, TlsPlan
from kiai.tls.serving import certificate_files

DAY_MS: Final = 86_400_000
SOON_MS: Final = 14 * DAY_MS
SOON_SHARE: Final = 6  # of a life shorter than 84 days, a sixth is soon: it is renewed at a third


class TlsStatus(msgspec.Struct, frozen=True):
    """The certificate and the last error. Times are unix seconds; None where there is no readable certificate."""

    mode: Mode
    names: list[str]
    issuer: str | None
    not_before: int | None
    not_after: int | None
    days_left: int | None
    last_error: str | None


def current_plan(settings_plan: TlsPlan, folder: TlsFolder) -> TlsPlan:
    """Return the plan of the settings or, if they say `off`, that of the server that was last started here.

    A server may be started with flags, which a command does not know.
    """
    state = folder.state()
    return settings_plan if settings_plan.mode != "off" or state is None else state.plan


def read_status(plan: TlsPlan, folder: TlsFolder, now_ms: int) -> TlsStatus:
    """Return the state of the certificate."""
    state = folder.state()
    error = None if state is None else state.reading_error or state.renewal_error
    if plan.mode == "off":
        return TlsStatus("off", [], None, None, None, None, None)
    try:
        certificate = _read(plan, folder)
    except KiaiError as unreadable:
        return TlsStatus(plan.mode, [], None, None, None, None, error or str(unreadable))
    return TlsStatus(
        plan.mode,
        list(certificate.names),
        certificate.issuer,
        certificate.not_before_ms // 1000,
        certificate.not_after_ms // 1000,
        (certificate.not_after_ms - now_ms) // DAY_MS,
        error,
    )


def find_faults(folder: TlsFolder, now_ms: int) -> list[str]:
    """Return what is wrong with the certificate of the server that was last started here, as sentences."""
    state = folder.state()
    if state is None:
        return []
    plan, faults = state.plan, []
    if state.reading_error:
        faults.append(f"a changed certificate is not served: {state.reading_error}")
    if state.renewal_error:
        faults.append(f"the renewal of the certificate failed: {state.renewal_error}")
    try:
        certificate = _read(plan, folder)
    except KiaiError as error:
        return [*faults, str(error)]
    left_ms = certificate.not_after_ms - now_ms
    life_ms = certificate.not_after_ms - certificate.not_before_ms
    where = certificate_files(plan, folder)[0]
    if left_ms <= 0:
        faults.append(f"the certificate in {where} has expired; {_remedy(plan)}")
    elif left_ms < min(SOON_MS, life_ms // SOON_SHARE):
        faults.append(f"the certificate in {where} ends in {left_ms // DAY_MS} days; {_remedy(plan)}")
    if missing := missing_names(server_names(plan.domain), certificate.names):
        faults.append(f"the certificate in {where} is not for {', '.join(missing)}")
    return faults


def _remedy(plan: TlsPlan) -> str:
    return "replace the file" if plan.mode == "file" else "run `kiai tls renew`"


def _read(plan: TlsPlan, folder: TlsFolder) -> ServerCertificate:
    chain = certificate_files(plan, folder)[0]
    return parse_chain(read_certificate_file(chain), str(chain))
