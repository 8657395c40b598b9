"""The proxy of macOS, which each network service has for itself (Wi-Fi, Ethernet, ...), by way of `networksetup`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import DesktopError
from .supervisor import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .address import Address
    from .desktop import Values

_PROXIES = ("webproxy", "securewebproxy", "socksfirewallproxy")
_URL, _DISCOVERY, _DOMAINS = "autoproxyurl", "proxyautodiscovery", "proxybypassdomains"
_ONLY_LOOPBACK = "localhost\n127.0.0.0/8\n::1"
#: `networksetup` has no way to make a list empty but this word.
_EMPTY = "Empty"


class MacOS:
    """Names are SERVICE/SETTING; a proxy is "on HOST PORT", "off HOST PORT" or "off", a PAC file "on URL" and so on."""

    name = "macOS"

    def read(self) -> dict[str, str | None]:
        return {f"{service}/{part}": _READ[part](service, part) for service in _services() for part in _ORDER}

    def wanted(self, place: Address) -> dict[str, str | None]:
        proxy = f"on {place.host} {place.port}"
        values = {_DOMAINS: _ONLY_LOOPBACK, _URL: "off", _DISCOVERY: "off"} | dict.fromkeys(_PROXIES, proxy)
        return {f"{service}/{part}": values[part] for service in _services() for part in _ORDER}

    def write(self, values: Values) -> None:
        there = _services()
        for key, value in values.items():
            service, _, part = key.rpartition("/")
            if service in there:  # one that was there before may be gone
                _WRITE[part](service, part, value or "")

    def leads_to(self, place: Address, found: Values) -> bool:
        proxy = f"on {place.host} {place.port}"
        return any(value == proxy for key, value in found.items() if key.rpartition("/")[2] in _PROXIES)

    def agree(self, wanted: str | None, found: str | None) -> bool:
        """What is off is off: there is no way to forget its host. A service that has gone has nothing to agree to."""
        if found is None or wanted == found:
            return True
        return (wanted or "off").startswith("off") and found.startswith("off")


def _services() -> list[str]:
    """Without those that are switched off, which have a star."""
    lines = tell("networksetup", "-listallnetworkservices").splitlines()[1:]  # the first one explains the star
    return [line for line in lines if line and not line.startswith("*")]


def _fields(service: str, part: str) -> dict[str, str]:
    text = tell("networksetup", f"-get{part}", service)
    return dict(re.findall(r"^([^:\n]+): ?(.*)$", text, re.MULTILINE))


def _proxy(service: str, part: str) -> str:
    fields = _fields(service, part)
    if fields.get("Authenticated Proxy Enabled") == "1":
        text = "has a proxy with a password, which could not be brought back; set the proxy by hand"
        raise DesktopError(f"the network service {service} {text}")
    place = f" {fields['Server']} {fields.get('Port', '0')}" if fields.get("Server") else ""
    return ("on" if fields.get("Enabled") == "Yes" else "off") + place


def _url(service: str, part: str) -> str:
    fields = _fields(service, part)
    url = fields.get("URL", "")
    return ("on" if fields.get("Enabled") == "Yes" else "off") + (f" {url}" if url and url != "(null)" else "")


def _discovery(service: str, part: str) -> str:
    return "on" if _fields(service, part).get("Auto Proxy Discovery") == "On" else "off"


def _domains(service: str, part: str) -> str:
    text = tell("networksetup", f"-get{part}", service).strip()
    return "" if text.startswith("There aren't any bypass domains") else text


def _set_proxy(service: str, part: str, value: str) -> None:
    state, _, place = value.partition(" ")
    if place:
        tell("networksetup", f"-set{part}", service, *place.rsplit(" ", 1))
    tell("networksetup", f"-set{part}state", service, state or "off")


def _set_url(service: str, part: str, value: str) -> None:
    state, _, url = value.partition(" ")
    if url:
        tell("networksetup", f"-set{part}", service, url)
    tell("networksetup", "-setautoproxystate", service, state or "off")


def _set_discovery(service: str, part: str, value: str) -> None:
    tell("networksetup", f"-set{part}", service, value or "off")


def _set_domains(service: str, part: str, value: str) -> None:
    tell("networksetup", f"-set{part}", service, *(value.splitlines() or [_EMPTY]))


_READ: Mapping[str, Callable[[str, str], str]] = {
    _DOMAINS: _domains,
    _URL: _url,
    _DISCOVERY: _discovery,
} | dict.fromkeys(_PROXIES, _proxy)
_WRITE: Mapping[str, Callable[[str, str, str], None]] = {
    _DOMAINS: _set_domains,
    _URL: _set_url,
    _DISCOVERY: _set_discovery,
} | dict.fromkeys(_PROXIES, _set_proxy)
_ORDER = tuple(_READ)
