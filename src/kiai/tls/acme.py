"""Certificates of an ACME authority (RFC 8555), by the library `acme`.

Only the processes that obtain a certificate import this module: its libraries take 20 MB and do not work on an event
loop.
"""

import contextlib
import datetime
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from kiai.errors import KiaiError, Unavailable
from kiai.tls.certificate import check_key, check_time, parse_chain
from kiai.tls.folder import TlsFolder
from kiai.tls.names import missing_names, server_names
from kiai.tls.plan import HOOK_S, TlsPlan
from kiai.version import VERSION

REQUEST_S: Final = 30
SHOWN_MAX: Final = 300  # characters of a text of the authority or the hook
RESERVED: Final = 64 * 1024  # bytes that must be free for the new certificate
NO_ACCOUNT: Final = "accountDoesNotExist"


class AcmeAccount(msgspec.Struct, frozen=True):
    """The account at an authority: its address there, and its private key as a JSON Web Key."""

    directory: str
    uri: str
    key: dict[str, Any]


def issue_by_acme(plan: TlsPlan, folder: TlsFolder, now_ms: int, deadline_s: float) -> None:
    """Obtain and store a certificate. Takes at most `deadline_s` seconds, and the time of two calls of the hook.

    Raises Unavailable with the reason that the authority gives; what is stored then stays.
    """
    # Before the authority is asked: it issues only a few certificates a week for the same names.
    folder.reserve(RESERVED)
    ends_at = datetime.datetime.now() + datetime.timedelta(seconds=deadline_s)  # noqa: DTZ005 (as the library does)
    with _explained(plan, deadline_s):
        try:
            _issue(plan, folder, now_ms, ends_at)
        except messages.Error as error:
            if error.code != NO_ACCOUNT:
                raise
            # The authority has lost or closed the account.
            folder.account.unlink(missing_ok=True)
            _issue(plan, folder, now_ms, ends_at)


@contextlib.contextmanager
def _explained(plan: TlsPlan, deadline_s: float) -> Iterator[None]:
    """Raise Unavailable with the reason for an error of the library."""
    try:
        yield
    except KiaiError:
        raise
    except errors.ValidationError as error:
        first, *others = _failures(error) or ["it does not say why"]
        more = f", and {len(others)} more names" if others else ""
        raise Unavailable(
            _named(plan), f"it could not check {first}{more}; check the DNS, and that port 80 reaches this server"
        ) from error
    except errors.TimeoutError as error:
        raise Unavailable(_named(plan), f"it has not answered within {deadline_s:.0f} s") from error
    except errors.IssuanceError as error:
        raise Unavailable(_named(plan), _shown(error.error.detail or error.error)) from error
    except messages.Error as error:
        raise Unavailable(_named(plan), _shown(error.detail or error)) from error
    except requests.exceptions.SSLError as error:
        raise Unavailable(
            _named(plan), f"its certificate is not trusted; check acme_directory and acme_ca ({_shown(error)})"
        ) from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise Unavailable(
            _named(plan), f"it cannot be reached; check acme_directory and the network ({_shown(error)})"
        ) from error
    except (errors.Error, JoseError, ValueError, KeyError) as error:
        raise Unavailable(_named(plan), f"it does not answer as RFC 8555 says ({_shown(error)})") from error


def open_acme_account(plan: TlsPlan, folder: TlsFolder) -> None:
    """Store an account at the authority if none is stored. Raises Unavailable."""
    if _stored_account(plan, folder) is None:
        with _explained(plan, REQUEST_S):
            _open_account(plan, folder)


def _issue(plan: TlsPlan, folder: TlsFolder, now_ms: int, ends_at: datetime.datetime) -> None:
    authority = _open_account(plan, folder)
    key = ec.generate_private_key(ec.SECP256R1())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    order = authority.new_order(crypto_util.make_csr(key_pem, _certified_names(plan)))
    ends: list[Callable[[], None]] = []
    try:
        answers = []
        for authorization in order.authorizations:
            if authorization.body.status != messages.STATUS_VALID:  # an authority remembers names for some days
                challenge = _find_challenge(plan, authorization)
                ends.append(_begin_challenge(plan, folder, authority, authorization, challenge))
                answers.append(challenge)
        # After all of them have begun: two of dns-01 can share the name of their record.
        for challenge in answers:
            authority.answer_challenge(challenge, challenge.chall.response(authority.net.key))
        finished = authority.poll_and_finalize(order, ends_at)
    finally:
        for end in ends:
            end()
    chain = finished.fullchain_pem.encode()
    certificate = parse_chain(chain, "the answer of the ACME authority")
    check_key(certificate, key_pem, "the new key")
    check_time(certificate, now_ms, "the answer of the ACME authority")  # the clock of this machine may be wrong
    if missing := missing_names(server_names(plan.domain), certificate.names):
        raise Unavailable(_named(plan), f"its certificate is not for {', '.join(missing)}")
    folder.store(certificate.chain, key_pem)


def _certified_names(plan: TlsPlan) -> list[str]:
    # Two records in the DNS instead of twelve.
    return [plan.domain, f"*.{plan.domain}"] if plan.challenge == "dns-01" else list(server_names(plan.domain))


def _open_account(plan: TlsPlan, folder: TlsFolder) -> client.ClientV2:
    """Return a client with the stored account, or with a new one that is then stored."""
    account = _stored_account(plan, folder)
    key = JWKEC.from_json(account.key) if account else _new_account_key()
    network = client.ClientNetwork(key, alg=ES256, user_agent=f"kiai/{VERSION}", timeout=REQUEST_S)
    if plan.authority_pem:
        # `requests` accepts the path of a file, which the type of the library does not say.
        network.verify_ssl = plan.authority_pem  # type: ignore[assignment]
    directory = client.ClientV2.get_directory(plan.directory, network)
    authority = client.ClientV2(directory, network)
    if account:
        network.account = messages.RegistrationResource(uri=account.uri, body=messages.Registration())
        return authority
    registration = messages.NewRegistration.from_data(email=plan.email, terms_of_service_agreed=True)
    try:
        uri = authority.new_account(registration).uri
    except errors.ConflictError as known:
        uri = known.location
    stored = AcmeAccount(plan.directory, uri, key.to_json())
    folder.write(folder.account, msgspec.json.encode(stored))
    return authority


def _new_account_key() -> JWKEC:
    return JWKEC(key=ComparableECKey(ec.generate_private_key(ec.SECP256R1())))


def _stored_account(plan: TlsPlan, folder: TlsFolder) -> AcmeAccount | None:
    content = folder.read(folder.account)
    if content is None:
        return None
    try:
        account = msgspec.json.decode(content, type=AcmeAccount)
    except msgspec.DecodeError:
        return None
    return account if account.directory == plan.directory else None


def _find_challenge(plan: TlsPlan, authorization: messages.AuthorizationResource) -> messages.ChallengeBody:
    kind = challenges.DNS01 if plan.challenge == "dns-01" else challenges.HTTP01
    for challenge in authorization.body.challenges:
        if isinstance(challenge.chall, kind):
            return challenge
    raise Unavailable(_named(plan), f"it does not offer {plan.challenge} for {authorization.body.identifier.value}")


def _begin_challenge(
    plan: TlsPlan,
    folder: TlsFolder,
    authority: client.ClientV2,
    authorization: messages.AuthorizationResource,
    challenge: messages.ChallengeBody,
) -> Callable[[], None]:
    """Make the answer to a challenge visible, and return the function that removes it."""
    validation = challenge.chall.validation(authority.net.key)
    if plan.challenge == "http-01":
        token = challenge.chall.encode("token")
        folder.begin_challenge(token, validation)
        return lambda: folder.end_challenge(token)
    name = challenge.chall.validation_domain_name(authorization.body.identifier.value)
    _run_hook(plan, "set", name, validation)

    def unset() -> None:
        with contextlib.suppress(Unavailable):  # a record too many does no harm
            _run_hook(plan, "unset", name, validation)

    return unset


def _run_hook(plan: TlsPlan, act: str, name: str, value: str) -> None:
    assert plan.dns_hook is not None
    part = f"acme_dns_hook {plan.dns_hook}"
    try:
        done = subprocess.run(  # noqa: S603 (the operator's own program)
            [plan.dns_hook, act, name, value],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HOOK_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(part, f"it did not end within {HOOK_S} s") from error
    except OSError as error:
        raise Unavailable(part, f"it cannot be run: {error.strerror}; make it executable for the server") from error
    if done.returncode:
        raise Unavailable(part, f"exit code {done.returncode} ({_shown(done.stderr.decode(errors='replace'))})")


def _failures(error: errors.ValidationError) -> list[str]:
    return [
        f"{authorization.body.identifier.value} ({_shown(challenge.error.detail or challenge.error)})"
        for authorization in error.failed_authzrs
        for challenge in authorization.body.challenges
        if challenge.error is not None
    ]


def _named(plan: TlsPlan) -> str:
    return f"a certificate of {plan.directory}"


def _shown(text: object) -> str:
    return " ".join(str(text).split())[:SHOWN_MAX]
