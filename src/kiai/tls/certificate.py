"""A certificate with its key: read from PEM, checked, and loaded for a server."""

import contextlib
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kiai.errors import Refused

BYTES_MAX: Final = 1024 * 1024
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_ALPN: Final = ["http/1.1"]
TIME_MS: Final = 1000
SKEW_MS: Final = 300_000
"""The clock of an authority may be ahead by this much: many certificates are valid from the second of their issue."""


class ServerCertificate(msgspec.Struct, frozen=True):
    """A certificate chain without its root, as PEM, leaf first, and what the leaf says. Times are unix ms."""

    chain: bytes
    names: tuple[str, ...]
    issuer: str
    not_before_ms: int
    not_after_ms: int
    spki: bytes
    """The public key."""
    issuer_key_id: bytes | None
    """The key identifier of the issuer, if the certificate says it."""

    @property
    def renewal_ms(self) -> int:
        """The time at which a third of its life is left."""
        return self.not_after_ms - (self.not_after_ms - self.not_before_ms) // 3


def read_certificate_file(path: Path) -> bytes:
    """Return the content of a PEM file. Raises Refused."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise Refused(
            f"{path} cannot be read: {error.strerror}; correct the path, or let the account of the server read it"
        ) from error
    if len(content) > BYTES_MAX:
        raise Refused(f"{path} is larger than {BYTES_MAX} bytes, so it is not a certificate")
    return content


def parse_chain(pem: bytes, where: str) -> ServerCertificate:
    """Return the certificates of a PEM text, without a root at the end. `where` names the text in errors.

    Raises Refused if the text contains no certificate, or an incomplete one.
    """
    begun, ended = pem.count(_BEGIN), pem.count(_END)
    if not begun:
        raise Refused(f"{where} contains no certificate in PEM form; name the file with the chain")
    if begun != ended:
        raise Refused(f"{where} is incomplete: a certificate has no end; copy the whole file again")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        leaf = certificates[0]
        names = _names_of(leaf)
    except ValueError as error:
        raise Refused(f"{where} contains a damaged certificate; copy the whole file again") from error
    while len(certificates) > 1 and certificates[-1].issuer == certificates[-1].subject:
        certificates.pop()  # clients have the root themselves
    return ServerCertificate(
        b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates),
        names,
        _text_of(leaf.issuer),
        int(leaf.not_valid_before_utc.timestamp()) * TIME_MS,
        int(leaf.not_valid_after_utc.timestamp()) * TIME_MS,
        leaf.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        _authority_key(leaf),
    )


def find_key(pem: bytes, where: str) -> bytes:
    """Return the private key in a PEM text, as PEM. Raises Refused if the text contains no complete key."""
    found = _KEY.search(pem)
    if found is None:
        incomplete = b"PRIVATE KEY-----" in pem
        raise Refused(
            f"{where} is incomplete: the private key has no end; copy the whole file again"
            if incomplete
            else f"{where} contains no private key in PEM form; name its file with --tls-key"
        )
    return found[0] + b"\n"


def check_key(certificate: ServerCertificate, key: bytes, where: str) -> None:
    """Raise Refused unless the private key belongs to the certificate."""
    try:
        public = serialization.load_pem_private_key(key, password=None).public_key()
    except TypeError as error:
        raise Refused(f"the private key in {where} has a password; remove it with `openssl pkey`") from error
    except ValueError as error:
        raise Refused(f"the private key in {where} is damaged; copy the whole file again") from error
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if spki != certificate.spki:
        raise Refused(f"the private key in {where} does not belong to the certificate; name the file with its key")


def check_time(certificate: ServerCertificate, now_ms: int, where: str) -> None:
    """Raise Refused if the certificate has expired or is not valid yet."""
    if now_ms >= certificate.not_after_ms:
        raise Refused(f"the certificate in {where} has expired; renew it, or check the clock of this machine")
    if now_ms < certificate.not_before_ms - SKEW_MS:
        raise Refused(f"the certificate in {where} is not valid yet; check the clock of this machine")


def server_context(certificate: ServerCertificate, key: bytes) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and 1.3 that sends this certificate. Clients without SNI or ALPN are served."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # also the default since OpenSSL 3
    context.set_alpn_protocols(_ALPN)
    # `ssl` reads certificates only from files. This one contains a key, so it is in memory where that is possible.
    with _file_of(certificate.chain + key) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("kiai-tls", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb", closefd=True) as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile() as file:  # mode 0600
            file.write(content)
            file.flush()
            yield file.name


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in found.value.get_values_for_type(x509.DNSName))


def _authority_key(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return found.value.key_identifier


def _text_of(name: x509.Name) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return str(attribute.value)
    return name.rfc4514_string()
