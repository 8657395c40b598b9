"""A public authority that signs certificates by ACME (RFC 8555). The client is certbot's, with the extra `ropeway[acme]`; all of this blocks."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from .errors import AuthorityError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from acme import messages
    from acme.client import ClientV2

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

# Our choices; seconds.
_REQUEST_TIMEOUT = 45
_ORDER_TIMEOUT = 120  # authorities look from several places, and take their time when they are busy

#: Puts what proves it where the authority will look, from the domain and the key authorization; takes it away at the end.
Prove: TypeAlias = "Callable[[str, str], contextlib.AbstractContextManager[None]]"


@dataclass(frozen=True, slots=True)
class Account:
    """With one authority, for one domain: what has to be kept to renew. `key` is a JWK as JSON, and secret."""

    directory: str
    domain: str
    uri: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError where it is not what `encode` gives."""
        try:
            found = json.loads(text)
            account = cls(*(found[name] for name in cls.__slots__))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"it is no account: {error}") from None
        if not all(isinstance(getattr(account, name), str) for name in cls.__slots__):
            raise ValueError("it is no account: something is no text")
        return account

    def encode(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, indent=1) + "\n"

    def __repr__(self) -> str:
        return f"<Account for {self.domain} with {self.directory}>"


def register(directory: str, domain: str, email: str, *, agreed: bool) -> Account:
    """A new account. Raises AuthorityError, also where its terms were not agreed to; ConfigError without the extra."""
    with _translated(directory):
        from acme import messages
        from josepy.jwk import JWKEC

        key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        client = _client(directory, key)
        terms = getattr(getattr(client.directory, "meta", None), "terms_of_service", None)
        if terms and not agreed:
            raise AuthorityError(f"the authority has terms: read {terms} and say --agree")
        wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
        found = client.new_account(wanted)
        return Account(directory, domain, found.uri, key.json_dumps())


def obtain(account: Account, key_pem: bytes, prove: Prove) -> bytes:
    """A certificate of the account's domain for this key, PEM with its chain. Raises AuthorityError, and ConfigError without the extra."""
    with _translated(account.directory):
        from josepy.jwk import JWK

        key = JWK.json_loads(account.key)
        client = _client(account.directory, key, account)
        order = client.new_order(_request(account.domain, key_pem))
        with contextlib.ExitStack() as proofs:
            for authorization in order.authorizations:
                _answer(client, authorization, key, prove, proofs)
            # The client compares with a clock that knows no zone.
            deadline = dt.datetime.now() + dt.timedelta(seconds=_ORDER_TIMEOUT)
            return client.poll_and_finalize(order, deadline).fullchain_pem.encode()


def is_due(account: Account, certificate_pem: bytes) -> bool:
    """Whether it is time to renew: when a third of the certificate's life is left, or when the authority says so (RFC 9773)."""
    certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end - dt.datetime.now(dt.UTC) < (end - begin) / 3:
        return True
    with contextlib.suppress(AuthorityError), _translated(account.directory):
        from josepy.jwk import JWK

        client = _client(account.directory, JWK.json_loads(account.key), account)
        when, _ = client.renewal_time(certificate.public_bytes(Encoding.PEM))
        return when is not None and when.astimezone(dt.UTC) <= dt.datetime.now(dt.UTC)
    return False


def _client(directory: str, key: Any, account: Account | None = None) -> ClientV2:
    from acme import client, messages
    from josepy.jwa import ES256

    known = None
    if account is not None:
        known = messages.RegistrationResource(uri=account.uri, body=messages.Registration())
    net = client.ClientNetwork(key, account=known, alg=ES256, user_agent="ropeway", timeout=_REQUEST_TIMEOUT)
    return client.ClientV2(client.ClientV2.get_directory(directory, net), net)


def _request(domain: str, key_pem: bytes) -> bytes:
    """A signing request (RFC 2986) for the exit's own key: links depend on it, so it stays when the certificate is renewed."""
    key: Any = load_pem_private_key(key_pem, None)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(domain)])
    return request.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _answer(
    client: ClientV2,
    authorization: messages.AuthorizationResource,
    key: Any,
    prove: Prove,
    proofs: contextlib.ExitStack,
) -> None:
    from acme import challenges, messages

    if authorization.body.status == messages.STATUS_VALID:  # it has not forgotten that we proved it lately
        return
    for body in authorization.body.challenges:
        # The client has no class for it, and no opinion about its answer.
        said = getattr(body.chall, "jobj", {})
        if said.get("type") == "tls-alpn-01":
            proof = f"{said['token']}.{_thumbprint(key)}"  # RFC 8555, section 8.1
            proofs.enter_context(prove(authorization.body.identifier.value, proof))
            # What is sent is {}, as for every kind of challenge; a response without a field would be sent as nothing, which only asks.
            client.answer_challenge(body, challenges.HTTP01Response(key_authorization=proof))
            return
    raise AuthorityError("the authority does not offer to look at the exit's own port (TLS-ALPN-01)")


def _thumbprint(key: Any) -> str:
    from josepy.b64 import b64encode

    return b64encode(key.thumbprint(hash_function=hashes.SHA256)).decode()


@contextlib.contextmanager
def _translated(directory: str) -> Iterator[None]:
    """What the client raises, as one line."""
    try:
        import requests
        from acme import errors, messages
    except ImportError:
        text = "asking an authority needs more packages: pip install 'ropeway[acme]'; or give --cert and --key to `exit init`"
        raise ConfigError("--acme", text) from None
    try:
        yield
    except errors.ValidationError as error:
        raise AuthorityError(f"the authority could not see that the name is yours: {_details(error)}") from None
    except messages.Error as error:
        raise AuthorityError(f"the authority refuses: {error.detail or error.typ}") from None
    except errors.TimeoutError:
        raise AuthorityError("the authority has not decided within its time; try again later") from None
    except requests.RequestException:
        text = f"{directory} cannot be reached, or is no authority that speaks ACME"
        raise AuthorityError(text) from None
    except (errors.Error, ValueError, KeyError) as error:
        raise AuthorityError(f"the authority at {directory} answers what makes no sense: {error}") from None


def _details(error: Any) -> str:
    found = [
        challenge.error.detail or challenge.error.typ
        for authorization in error.failed_authzrs
        for challenge in authorization.body.challenges
        if challenge.error is not None
    ]
    return "; ".join(found) or "it does not say why"
