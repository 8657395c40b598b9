"""A user's key, the exit's certificate, and what both sides compute from that certificate (docs/protocol.md, 2 and 3)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import secrets
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

# Wire constants.
KEY_ID_SIZE, SECRET_SIZE, PIN_SIZE = 8, 32, 32

# Our choices. The pin is what the local side checks, never the dates, so these only decide what a visitor sees. Two years is
# what people give a certificate that they sign themselves; ten years is a sign of a device, and less expires on an exit that
# is in use. Nobody's certificate begins at the second at which its server appeared, so ours begins some days earlier.
_VALIDITY = dt.timedelta(days=730)
_EARLIEST_BEGIN = 45 * 24 * 3600

_MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name


@dataclass(frozen=True, slots=True)
class UserKey:
    """What one user and the exit share. Raises ValueError where a size is wrong."""

    key_id: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key_id) != KEY_ID_SIZE:
            raise ValueError(f"a key id has {KEY_ID_SIZE} bytes, not {len(self.key_id)}")
        if len(self.secret) != SECRET_SIZE:
            raise ValueError(f"a key has {SECRET_SIZE} bytes, not {len(self.secret)}")

    @classmethod
    def new(cls) -> Self:
        return cls(secrets.token_bytes(KEY_ID_SIZE), secrets.token_bytes(SECRET_SIZE))


def to_base64(data: bytes) -> str:
    """The URL-safe alphabet without padding (RFC 4648, section 5): nothing in it needs quoting in a link or in TOML."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64(text: str, size: int) -> bytes:
    """Exactly `size` bytes, from either alphabet of RFC 4648, padded or not. Raises ValueError with a text for people."""
    bare = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise ValueError("it has characters that do not belong there, or some are missing") from None
    if (
        len(data) != size or to_base64(data) != bare
    ):  # the last character may hold bits that mean nothing: a typing error
        raise ValueError("characters are missing, added or changed")
    return data


def new_certificate(host: str) -> tuple[bytes, bytes]:
    """A certificate for a name or an IP address, signed by itself, and its private key (ECDSA P-256), both as PEM.

    It has the extensions that `openssl req -x509` writes: what is usual does not stand out.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=secrets.randbelow(_EARLIEST_BEGIN))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _common_name(host))])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + _VALIDITY)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), key_pem


def _common_name(host: str) -> str:
    """The host, or where it is too long its last labels that fit; clients read the alternative name anyway."""
    if len(host) <= _MAX_COMMON_NAME:
        return host
    tail = host[-_MAX_COMMON_NAME:]
    return tail.partition(".")[2] or tail


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def der_of(certificate_pem: bytes) -> bytes:
    """The server's own certificate, the first of the chain in the file. Raises ValueError where there is none."""
    return x509.load_pem_x509_certificates(certificate_pem)[0].public_bytes(Encoding.DER)


def check_pair(certificate_pem: bytes, key_pem: bytes) -> None:
    """Raises ValueError, with a text for people, where the exit could not use these, or the key is not that of the certificate."""
    try:
        pin = pin_of(der_of(certificate_pem))
    except ValueError:
        raise ValueError("there is no certificate in the first, as PEM") from None
    try:
        key = load_pem_private_key(key_pem, None)
    except TypeError:
        raise ValueError("the key has a password, and nobody is there to type it when the exit starts") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("there is no private key in the second, as PEM") from None
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if hashlib.sha256(public).digest() != pin:
        raise ValueError("they do not belong together")


def pin_of(certificate_der: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo: it stays when a certificate is renewed with the same key.

    Raises ValueError where this is no certificate, or its key is of a kind that nobody uses.
    """
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    except (UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ValueError(f"the certificate cannot be read: {error}") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def channel_binding(certificate_der: bytes) -> bytes:
    """`tls-server-end-point` (RFC 5929, section 4.1), with SHA-256 where the signature's hash is weak, unknown or none.

    Raises ValueError where this is no certificate.
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate_der).signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    if algorithm is None or algorithm.name in ("md5", "sha1"):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate_der)
    return digest.finalize()
