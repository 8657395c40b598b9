"""Keys, certificates, pins and channel bindings; openssl's own answers are the yardstick."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from proxy.keys import UserKey, channel_binding, der_of, from_base64, new_certificate, pin_of, to_base64

# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=example.com
OPENSSL_CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBgjCCASegAwIBAgIUMn875Wr2T/Rnj0620FLb4BahCPQwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLZXhhbXBsZS5jb20wHhcNMjYxMTI0MDQwNDMxWhcNMzYxMTIx
MDQwNDMxWjAWMRQwEgYDVQQDDAtleGFtcGxlLmNvbTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABIoLaiDB4vl3fQhJhPx7JUsKSdXnjGt1mfS20puR83nLHvCwQF0+
k9JkrkSuTQpDhnvooG8EB0XK58Jy2hedTpajUzBRMB0GA1UdDgQWBBSRoYKEA45z
zQJLaIjoJ04pAmEV6DAfBgNVHSMEGDAWgBSRoYKEA45zzQJLaIjoJ04pAmEV6DAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQDe/Ezjo10xoFLzH9tX
sNQ8h1vTr9QDdJm6WMuoPAl7dgIhANkFelXhW8SRxZKxy+M8Gl6pJE1Llbutyw+I
6rfxHwWS
-----END CERTIFICATE-----
"""
# openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum
OPENSSL_PIN = "8b9afa3c6901b38ad5dab0e62b65e601187b5071a91e5177997de1c1a334598a"
# openssl x509 -outform der | sha256sum
OPENSSL_FINGERPRINT = "234471b087fb2df121e021925c6fab8b9f931d4d17201562b908581389a922cf"

# The same with -sha1.
SHA1_CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBfjCCASagAwIBAgIUSh/pwFOEbF03D8fO9r9YoxjSUmwwCQYHKoZIzj0EATAW
MRQwEgYDVQQDDAtleGFtcGxlLmNvbTAeFw0yNjExMjQwNDA0MzFaFw0zNjExMjEw
NDA0MzFaMBYxFDASBgNVBAMMC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAErUZtyAKzxp+UyTy/GhScZiXuHFKS11ne6AotIWEwqvoQ4M2jj4a0
tKlr4RNgUe5oj3b1rE7vSx+oUqRjtzwdK6NTMFEwHQYDVR0OBBYEFMmtrQC3BDVr
N1Yd3d9ySyJuBGuwMB8GA1UdIwQYMBaAFMmtrQC3BDVrN1Yd3d9ySyJuBGuwMA8G
A1UdEwEB/wQFMAMBAf8wCQYHKoZIzj0EAQNHADBEAiA+0ZBtFquZz6AzenOcQ3TF
s+5RyMgSZdpfcx0VkE3BzAIgJPXjJbysZtp3DlisK7qN3ggfIrjGHE5X1Cs5sUch
TDM=
-----END CERTIFICATE-----
"""


def test_a_user_key_hides_its_secret() -> None:
    key = UserKey(bytes(range(8)), b"\xaa" * 32)
    assert "xaa" not in repr(key)
    assert repr(key) == f"UserKey(key_id={bytes(range(8))!r})"


def test_new_user_keys_differ() -> None:
    first, second = UserKey.new(), UserKey.new()
    assert (len(first.key_id), len(first.secret)) == (8, 32)
    assert first.key_id != second.key_id
    assert first.secret != second.secret


@pytest.mark.parametrize(("key_id", "secret"), [(b"", b"s" * 32), (b"k" * 9, b"s" * 32), (b"k" * 8, b"s" * 31)])
def test_a_user_key_has_its_sizes(key_id: bytes, secret: bytes) -> None:
    with pytest.raises(ValueError, match="bytes, not"):
        UserKey(key_id, secret)


@given(st.binary(max_size=70))
def test_base64_round_trip(data: bytes) -> None:
    text = to_base64(data)
    assert set(text).isdisjoint("+/=")
    assert from_base64(text, len(data)) == data
    standard = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    assert from_base64(standard, len(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAAAAAAAA",  # 7 bytes
        "AAAAAAAAAAAA",  # 9 bytes
        "AAAAAAAAAAB",  # bits that mean nothing
        "AAAAAAAAA A",
        "AAAAAAAAAAé",
        "AAAAAAAAA\nA",
        "A",
        "====",
    ],
)
def test_damaged_base64(text: str) -> None:
    assert from_base64("AAAAAAAAAAA", 8) == bytes(8)
    with pytest.raises(ValueError, match="characters"):
        from_base64(text, 8)


@pytest.mark.parametrize(
    ("host", "alternative"),
    [
        ("exit.example.com", x509.DNSName("exit.example.com")),
        ("192.0.2.1", x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
        ("2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
    ],
)
def test_a_new_certificate(host: str, alternative: x509.GeneralName) -> None:
    certificate_pem, key_pem = new_certificate(host)
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    key = load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == host
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [alternative]


def test_a_new_certificate_looks_ordinary() -> None:
    certificates = [x509.load_pem_x509_certificate(new_certificate("example.com")[0]) for _ in range(3)]
    now = dt.datetime.now(dt.UTC)
    assert len({certificate.serial_number for certificate in certificates}) == 3
    assert len({certificate.not_valid_before_utc for certificate in certificates}) == 3
    for certificate in certificates:
        assert now - dt.timedelta(days=46) < certificate.not_valid_before_utc <= now
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == dt.timedelta(days=730)
        assert b"ropeway" not in certificate.public_bytes(Encoding.DER).lower()


@pytest.mark.parametrize("host", [f"{'a' * 60}.{'b' * 60}.example.com", "a" * 200])
def test_a_host_too_long_for_the_common_name(host: str) -> None:
    certificate = x509.load_pem_x509_certificate(new_certificate(host)[0])
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert 0 < len(name.value) <= 64
    assert host.endswith(str(name.value))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [host]


def test_pin_and_binding_as_openssl_computes_them() -> None:
    der = der_of(OPENSSL_CERTIFICATE)
    assert pin_of(der).hex() == OPENSSL_PIN
    assert channel_binding(der).hex() == OPENSSL_FINGERPRINT


def test_the_first_certificate_of_a_chain_counts() -> None:
    other, _ = new_certificate("example.net")
    assert der_of(OPENSSL_CERTIFICATE + other) == der_of(OPENSSL_CERTIFICATE)
    assert der_of(other + OPENSSL_CERTIFICATE) == der_of(other)


def signed(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.com")])
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=1))
    )
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def test_the_binding_takes_the_hash_of_the_signature() -> None:
    """RFC 5929, section 4.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    for algorithm, name in ((hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")):
        der = signed(key, algorithm)
        assert channel_binding(der) == hashlib.new(name, der).digest()


def test_the_binding_without_a_hash_or_with_a_weak_one_takes_sha256() -> None:
    for der in (
        signed(ed25519.Ed25519PrivateKey.generate(), None),
        der_of(SHA1_CERTIFICATE),
    ):
        assert channel_binding(der) == hashlib.sha256(der).digest()


def test_a_pin_outlives_the_renewal_of_the_certificate() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first, second = signed(key, hashes.SHA256()), signed(key, hashes.SHA384())
    assert first != second
    assert pin_of(first) == pin_of(second)
    assert pin_of(first) != pin_of(signed(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x01", b"not a certificate"])
def test_no_certificate(data: bytes) -> None:
    for read in (pin_of, channel_binding, der_of):
        with pytest.raises(ValueError):  # noqa: PT011  the words are those of cryptography
            read(data)
