"""The link that an exit gives to a user: `ropeway://KEY@HOST:PORT?[sni=NAME&][roots=1&][also=HOST:PORT&]...pin=PIN#LABEL`.

KEY is the base64url of key id and key, PIN that of the certificate's pin, both without padding. The pin stands last, so
that a link which was cut short before its label is never taken for a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import parse_qsl, quote, unquote

from .address import Address
from .errors import ConfigError
from .keys import KEY_ID_SIZE, PIN_SIZE, SECRET_SIZE, UserKey, from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEME = "ropeway"

# Our choices: a link of the longest names has 3.6 KB, and a label has to fit on a line.
_MAX_LENGTH = 4096
MAX_LABEL = 64
#: Other addresses of one exit. Each costs an attempt to connect where nothing answers, and a link has to fit into a QR code.
MAX_ALSO = 8

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Link:
    """How to reach an exit and prove oneself to it. Raises ValueError where a value cannot be in a link.

    `host` is as in Address. `server_name` is what TLS asks for, empty where that is the host; `roots` means that the
    certificate has to please the system's roots besides the pin. `name` is a label for people. `also` has other addresses and ports of the
    same exit.
    """

    host: str
    port: int
    key: UserKey
    pin: bytes
    server_name: str = ""
    roots: bool = False
    name: str = ""
    also: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        for address in (self.address, *self.also):
            if Address.make(address.host, address.port) != address:
                raise ValueError("the host is not in its canonical form")
        if len(self.also) > MAX_ALSO:
            raise ValueError(f"an exit has at most {MAX_ALSO} addresses besides its first, not {len(self.also)}")
        if len(self.pin) != PIN_SIZE:
            raise ValueError(f"a pin has {PIN_SIZE} bytes, not {len(self.pin)}")
        if self.server_name:
            check_server_name(self.server_name)
        if self.name:
            check_label(self.name)
        if len(str(self)) > _MAX_LENGTH:
            raise ValueError(
                f"it would be longer than {_MAX_LENGTH} characters; leave out an address or use shorter names"
            )

    @property
    def address(self) -> Address:
        """The first, under which people know the exit."""
        return Address(self.host, self.port)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Each once, the first one first."""
        return tuple(dict.fromkeys((self.address, *self.also)))

    @property
    def sni(self) -> str:
        """The name for TLS, or an empty one: an IP address is no server name (RFC 6066, section 3)."""
        return self.server_name or ("" if self.address.ip else self.host)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ConfigError, field "link", with one line that never repeats a part of the link.

        White space is dropped, because terminals and chat apps break long lines. Unknown parameters are ignored.
        """
        try:
            return cls._parse("".join(text.split()))
        except ValueError as error:
            raise ConfigError("link", str(error)) from None

    @classmethod
    def _parse(cls, text: str) -> Self:
        scheme, found, rest = text.partition("://")
        if not found or scheme.lower() != SCHEME:
            raise ValueError(
                f"a link begins with {SCHEME}:// and this does not; copy the whole link that the exit printed"
            )
        if len(text) > _MAX_LENGTH:
            raise ValueError(f"it is longer than {_MAX_LENGTH} characters")
        body, _, label = rest.partition("#")
        place, _, query = body.partition("?")
        key, found, address = place.rstrip("/").rpartition("@")
        if not found:
            raise ValueError("there is no @ between key and host; copy the whole link")
        host = _part("host", Address.parse, address)
        parameters = parse_qsl(query, keep_blank_values=True)
        values = dict(parameters)
        return cls(
            host=host.host,
            port=host.port,
            key=_part("key", _read_key, key),
            pin=_part("pin", _read_pin, values.get("pin", "")),
            server_name=values.get("sni", "").lower(),
            roots=_part("roots", _read_flag, values.get("roots", "0")),
            name=unquote(label),
            also=tuple(_part("other address", Address.parse, value) for name, value in parameters if name == "also"),
        )

    def __str__(self) -> str:
        sni = f"sni={quote(self.server_name, safe='')}&" if self.server_name else ""
        roots = "roots=1&" if self.roots else ""
        also = "".join(f"also={quote(str(address), safe=':[]')}&" for address in self.also)
        label = f"#{quote(self.name, safe='')}" if self.name else ""
        key = to_base64(self.key.key_id + self.key.secret)
        return f"{SCHEME}://{key}@{self.address}?{sni}{roots}{also}pin={to_base64(self.pin)}{label}"


def check_server_name(name: str) -> None:
    """Raises ValueError where TLS cannot ask for this name."""
    address = Address.make(name, 443)
    if address.ip or address.host != name or not all(0 < len(label) < 64 for label in name.split(".")):
        raise ValueError("a server name is a name in small letters, not an IP address")


def check_label(name: str) -> None:
    """Raises ValueError where the name would not do on a line of a terminal: it may come from anybody."""
    if not 0 < len(name) <= MAX_LABEL or not name.isprintable() or name != name.strip():
        raise ValueError(f"a name has 1 to {MAX_LABEL} characters that can be printed, and no space around them")


def _part(what: str, read: Callable[[str], _Value], text: str) -> _Value:
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"its {what} cannot be used: {error}; copy the whole link") from None


def _read_key(text: str) -> UserKey:
    data = from_base64(text, KEY_ID_SIZE + SECRET_SIZE)
    return UserKey(data[:KEY_ID_SIZE], data[KEY_ID_SIZE:])


def _read_pin(text: str) -> bytes:
    if not text:
        raise ValueError("there is none")
    return from_base64(text, PIN_SIZE)


def _read_flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("it is neither 0 nor 1")
    return text == "1"
