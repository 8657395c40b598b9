"""The exit's answer to an authority that asks whether a name is ours: TLS-ALPN-01 (RFC 8737), at the exit's own port.

The answer is a file that a command puts there for as long as it waits for the authority. While there is none the exit does what it does for
everybody.
"""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from pathlib import Path

ALPN = "acme-tls/1"
#: In the folder of the certificate.
FILE_NAME = "acme-challenge.pem"

#: The extension of a ClientHello that offers this and nothing else, as who validates has to (RFC 8737, section 3; RFC 7301, section 3.1).
_ASKED = bytes.fromhex("0010 000d 000b 0a") + ALPN.encode()
_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier (RFC 8737, section 3)
_OCTETS = b"\x04\x20"  # DER: an OCTET STRING of 32 bytes
_VALIDITY = dt.timedelta(days=1)  # nobody looks at the dates, and an hour more or less is within any clock's error


def context_for(path: Path, hello: bytes) -> ssl.SSLContext | None:
    """What answers this ClientHello, or the beginning of one; None where it asks for no challenge, or none is under way."""
    if _ASKED not in hello:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(path)
    except OSError:
        return None
    return context


def answer_to(domain: str, key_authorization: str) -> bytes:
    """The file's content: a certificate for this name that proves who has asked for one, and a key that is used for nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key_authorization.encode())
    proof = x509.UnrecognizedExtension(_IDENTIFIER, _OCTETS + digest.finalize())
    now, name = dt.datetime.now(dt.UTC), x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _VALIDITY)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=True)
        .add_extension(proof, critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + key_pem
