"""Whether somebody else answers in the exit's place in plain HTTP: the page of a hotel or a mobile network where people log in or pay."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |\r|\n|$)")
_LOCATION = re.compile(rb"^location:[ \t]*(\S{1,2048})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_REFRESH = re.compile(rb"http-equiv=[\"']?refresh", re.IGNORECASE)
_REDIRECTS = {301, 302, 303, 307, 308}
#: RFC 6585, section 6: made for this.
_LOGIN_NEEDED = 511


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """What was said to a plain HTTP request. `leads_to` is the host of a redirect, empty where there is none."""

    status: int
    leads_to: str = ""
    refreshes: bool = False

    def is_portal(self, host: str) -> bool:
        """Whether it is the answer of somebody who stands in the way to `host`: servers redirect to themselves, and portals to another host."""
        if self.status == _LOGIN_NEEDED:
            return True
        return (bool(self.leads_to) and self.leads_to != host) or (not self.leads_to and self.refreshes)


def request(host: str) -> bytes:
    """As small as it can be. `host` is as in a Host field."""
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()


def read_plain(data: bytes) -> PlainAnswer | None:
    """From the first bytes that came; None where it is not HTTP."""
    status = _STATUS.match(data)
    if status is None:
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    code = int(status[1])
    location = _LOCATION.search(head)
    leads_to = _host_of(location[1]) if location is not None and code in _REDIRECTS else ""
    return PlainAnswer(code, leads_to, code == 200 and _REFRESH.search(body) is not None)


def _host_of(location: bytes) -> str:
    """In small letters; what it cannot be is left out, since it may be written by anybody and is shown to people."""
    try:
        host = urlsplit(location.decode("ascii")).hostname or ""
    except ValueError:
        return ""
    return host if all(unicodedata.category(c)[0] != "C" for c in host) else ""


def read_date_field(data: bytes) -> str:
    """The field Date of an answer's head, or nothing."""
    head = data.partition(b"\r\n\r\n")[0]
    found = re.search(rb"^date:[ \t]*([ -~]{1,64}?)[ \t]*\r?$", head, re.IGNORECASE | re.MULTILINE)
    return found[1].decode("ascii") if found is not None else ""
