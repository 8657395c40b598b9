"""What a certificate says of whoever shows it, where it is not the exit's: who made it, and what that means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID, NameOID

from .finding import Finding, Text

if TYPE_CHECKING:
    import datetime as dt

    from .share import Link

CHECK = "certificate"

#: A name of another kind of string than it may be is a TypeError of the library.
_UNREADABLE = (
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    TypeError,
)
_MAX_NAME = 64  # characters of a name that somebody else wrote


@dataclass(frozen=True, slots=True)
class Certificate:
    """`issuer` is the organisation or name of who signed it, and as short as its names are, for a line. The dates are in UTC."""

    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    begin: dt.datetime
    end: dt.datetime

    @classmethod
    def read(cls, der: bytes) -> Self:
        """Raises ValueError where it cannot be read."""
        try:
            with warnings.catch_warnings():
                # The library warns of what later versions of it will not read, and of odd lengths; that is not for people.
                warnings.simplefilter("ignore", UserWarning)
                found = x509.load_der_x509_certificate(der)
                return cls(
                    _names(found),
                    _name_of(found.issuer),
                    found.issuer == found.subject,
                    found.not_valid_before_utc,
                    found.not_valid_after_utc,
                )
        except _UNREADABLE as error:
            raise ValueError(f"the certificate cannot be read: {error}") from error

    @property
    def described(self) -> Text:
        """For a line."""
        name = self.names[0] if self.names else Text("nobody")
        by = Text("itself") if self.self_signed else self.issuer or Text("somebody without a name")
        if len(self.names) > 1:
            return Text("for {name} and {n} more, signed by {issuer}", name=name, n=len(self.names) - 1, issuer=by)
        return Text("for {name}, signed by {issuer}", name=name, issuer=by)

    def is_for(self, name: str) -> bool:
        """Whether one of its names is this one, as RFC 9525, section 6.3, has it: a star stands for one label."""
        rest = name.partition(".")[2]
        return any(each in (name, f"*.{rest}" if rest else name) for each in self.names)


def judge_other(shown: Certificate, link: Link) -> Finding:
    """Of a certificate that is not the one of the link."""
    what = Text(
        "{place} shows another certificate than the link says: {certificate}",
        place=link.address,
        certificate=shown.described,
    )
    if shown.self_signed and shown.is_for(link.server_name or link.host):
        why = Text("it looks as one that Ropeway makes, so the exit was probably set up again; nothing was sent to it")
        mend = Text(
            "ask whoever runs the exit whether that is so, and then for a new link (`ropeway exit link` there), and `ropeway join` it"
        )
        return Finding.fault(CHECK, what, why, mend)
    if shown.self_signed:
        why = Text(
            "another device answers in the exit's place: a login page of this network, a router, or another server; nothing was sent to it"
        )
        mend = Text(
            "open any http:// page in a browser and log in if the network asks for it, then try again; or try another network, or ask whether the exit moved"
        )
        return Finding.fault(CHECK, what, why, mend)
    why = Text(
        "an antivirus program, a company's network or somebody on the way opens TLS connections and shows certificates of its own ({issuer}), "
        "or another web server stands at that address now; nothing was sent to it",
        issuer=shown.issuer,
    )
    mend = Text(
        "turn off the inspection of HTTPS in that program or use another network; if the exit moved or has a new certificate, ask for a new link"
    )
    return Finding.fault(CHECK, what, why, mend)


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        alternative = found.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        alternative = None
    names = []
    if isinstance(alternative, x509.SubjectAlternativeName):
        names = [str(each.value) for each in alternative if isinstance(each, x509.DNSName | x509.IPAddress)]
    return tuple(_shown(name).lower() for name in names) or tuple(filter(None, [_name_of(found.subject)]))


def _name_of(name: x509.Name) -> str:
    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if values := name.get_attributes_for_oid(kind):
            return _shown(values[0].value)
    return ""


def _shown(text: str | bytes) -> str:
    """Short and printable: it may come from anybody."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(c if c.isprintable() else "?" for c in text)[:_MAX_NAME]
