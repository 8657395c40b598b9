"""`ropeway exit certificate`: what the exit shows, and one that a public authority signs."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ConfigError
from .terminal import ExitConfigOption, exit_config_path, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .authority import Account
    from .settings import ExitSettings

#: Beside the certificate: what is needed to renew.
_ACCOUNT = "acme-account.json"

AcmeOption = Annotated[
    str | None,
    typer.Option(
        "--acme", metavar="DOMAIN", help="Let a public authority sign it. The exit has to run, at port 443 of DOMAIN."
    ),
]
RenewOption = Annotated[bool, typer.Option("--renew", help="Renew such a one if it is time to: to be run every day.")]
AgreeOption = Annotated[bool, typer.Option("--agree", help="You agree to the terms of the authority.")]
EmailOption = Annotated[
    str | None, typer.Option("--email", metavar="ADDRESS", help="Where the authority may write to you.")
]
DirectoryOption = Annotated[
    str | None,
    typer.Option("--directory", metavar="URL", help="Another authority that speaks ACME.  [default: Let's Encrypt]"),
]


def show_certificate(  # over the budget of parameters: each is an option of the command line
    acme: AcmeOption = None,
    renew: RenewOption = False,
    agree: AgreeOption = False,
    email: EmailOption = None,
    directory: DirectoryOption = None,
    config: ExitConfigOption = None,
) -> None:
    """Show the exit's certificate, or get another one. A public authority signs it for your domain; the key stays, and so do all links."""
    from .config import load

    settings = load(exit_config_path(config)).exit
    account = settings.certificate.with_name(_ACCOUNT)
    der_in(settings.certificate)  # an exit has to be there: nothing is asked for one that is not
    if acme is not None:
        from .authority import LETS_ENCRYPT, register

        domain = _domain(acme)
        made = register(directory or LETS_ENCRYPT, domain, email or "", agreed=agree)
        _obtain(settings, made)
        _keep(account, made)
    elif renew:
        _renew(settings, account)
    for line in _described(settings):
        print(line)


def _domain(text: str) -> str:
    from .share import check_server_name

    try:
        check_server_name(text.lower())
    except ValueError as error:
        raise ConfigError("--acme", str(error)) from None
    return text.lower()


def _renew(settings: ExitSettings, path: Path) -> None:
    from .authority import Account, is_due

    try:
        account = Account.parse(path.read_text())
    except (OSError, ValueError):
        text = f"there is no account in {path}: `ropeway exit certificate --acme DOMAIN` makes one"
        raise ConfigError("--renew", text) from None
    if is_due(account, settings.certificate.read_bytes()):
        _obtain(settings, account)
    else:
        say("It is not yet time to renew.")


def _obtain(settings: ExitSettings, account: Account) -> None:
    from .authority import obtain
    from .config_file import replace_file
    from .keys import check_pair

    say(f"The authority looks at port 443 of {account.domain}; that may take a minute.")
    key = settings.key.read_bytes()
    signed = obtain(account, key, lambda domain, proof: _proof(settings.certificate, domain, proof))
    try:
        check_pair(signed, key)
    except ValueError as error:
        raise ConfigError("exit.key", f"the authority signed another key than asked for: {error}") from None
    replace_file(settings.certificate, signed)
    say("A new certificate is there. An exit that is running takes it within seconds, and all links go on working.")


@contextlib.contextmanager
def _proof(beside: Path, domain: str, proof: str) -> Iterator[None]:
    """In a file from which the exit answers, whoever runs it."""
    from .challenge import FILE_NAME, answer_to

    path = beside.with_name(FILE_NAME)
    try:
        _keep_for_owner_of(beside, path, answer_to(domain, proof))
        yield
    finally:
        path.unlink(missing_ok=True)


def _keep(path: Path, account: Account) -> None:
    from .config_file import replace_file

    replace_file(path, account.encode().encode())


def _keep_for_owner_of(other: Path, path: Path, content: bytes) -> None:
    from .config_file import replace_file

    replace_file(path, content)
    if sys.platform != "win32" and os.geteuid() == 0:  # the exit may run as the user to whom its certificate belongs
        status = other.stat()
        os.chown(path, status.st_uid, status.st_gid)


def der_in(path: Path) -> bytes:
    """The certificate of the exit. Raises ConfigError."""
    from .keys import der_of

    try:
        return der_of(path.read_bytes())
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}; `ropeway exit init` makes one"
        raise ConfigError("exit.certificate", text) from None
    except ValueError:
        raise ConfigError("exit.certificate", f"there is no certificate in {path}") from None


def _described(settings: ExitSettings) -> Iterator[str]:
    from cryptography import x509

    found = x509.load_der_x509_certificate(der_in(settings.certificate))
    issuer = "by itself" if found.issuer == found.subject else f"by {found.issuer.rfc4514_string()}"
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        shown = ", ".join(str(name.value) for name in names)
    except x509.ExtensionNotFound:
        shown = found.subject.rfc4514_string()
    yield f"For {shown}, signed {issuer}"
    yield f"From {found.not_valid_before_utc:%Y-%m-%d} until {found.not_valid_after_utc:%Y-%m-%d}"
