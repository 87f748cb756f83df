"""The local authority of `--tls self`: its root, which players import, and the certificates that it signs."""

import datetime
import hashlib
import ipaddress
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kiai.errors import NotFound
from kiai.tls.certificate import TIME_MS
from kiai.tls.folder import TlsFolder
from kiai.tls.names import server_names

ROOT_DAYS: Final = 3_650
LEAF_DAYS: Final = 397  # the longest that browsers accept
BACKDATED: Final = datetime.timedelta(hours=1)  # for players whose clock is slow
LOOPBACK: Final = ("127.0.0.1", "::1")


class RootCertificate(msgspec.Struct, frozen=True):
    """The root as PEM, the SHA-256 of its DER in hex, and the unix time of its end in seconds."""

    pem: str
    sha256: str
    not_after: int


def export_root(folder: TlsFolder) -> RootCertificate:
    """Return the root of the local authority. Raises NotFound if it does not exist."""
    pem = folder.read(folder.authority)
    if pem is None:
        raise NotFound("the local authority; start the server with --tls self")
    root = x509.load_pem_x509_certificate(pem)
    der = root.public_bytes(serialization.Encoding.DER)
    return RootCertificate(pem.decode(), hashlib.sha256(der).hexdigest(), int(root.not_valid_after_utc.timestamp()))


def issue_locally(folder: TlsFolder, domain: str, now_ms: int) -> None:
    """Store a new certificate for the names of the domain, and first a root if no stored root can sign it."""
    now = datetime.datetime.fromtimestamp(now_ms / TIME_MS, datetime.UTC)
    root, root_key = _load_root(folder, domain, now) or _make_root(folder, domain, now)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(name) for name in server_names(domain)]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in LOOPBACK]
    ends_at = min(now + datetime.timedelta(days=LEAF_DAYS), root.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(domain))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends_at)
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issued_by(root), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    folder.store(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def local_key_id(folder: TlsFolder) -> bytes | None:
    """Return the key identifier of the root, or None if it does not exist."""
    pem = folder.read(folder.authority)
    return None if pem is None else _key_id(x509.load_pem_x509_certificate(pem))


def _load_root(
    folder: TlsFolder, domain: str, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """Return the root, unless it is missing, for another domain, or ends before a certificate that it would sign."""
    pem, key_pem = folder.read(folder.authority), folder.read(folder.authority_key)
    if pem is None or key_pem is None:
        return None
    try:
        root, key = x509.load_pem_x509_certificate(pem), serialization.load_pem_private_key(key_pem, None)
        allowed = root.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except (ValueError, x509.ExtensionNotFound):
        return None
    signs = isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == root.public_key()
    lasts = root.not_valid_after_utc - now > datetime.timedelta(days=1)
    if not signs or not lasts or x509.DNSName(domain) not in allowed:
        return None
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return root, key


def _make_root(
    folder: TlsFolder, domain: str, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"kiai test authority for {domain}"[:64])
    # A player who imports the root trusts it for this domain and for this machine only, even if its key is stolen.
    networks = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    allowed: list[x509.GeneralName] = [x509.DNSName(domain), *(x509.IPAddress(network) for network in networks)]
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.write(folder.authority_key, _pem(key))
    folder.write(folder.authority, root.public_bytes(serialization.Encoding.PEM))
    return root, key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _key_id(root: x509.Certificate) -> bytes:
    return root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _issued_by(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
