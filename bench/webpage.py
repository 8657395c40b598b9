"""A page with 100 resources of 20 KB from ten hosts, as nginx serves them over HTTP/2: each host has an address and a certificate of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from network import add_addresses

from tests.e2e.machine import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.hosts import Host

HOSTS, RESOURCES, SIZE = 10, 100, 20_000
#: The exit has 443, on every address.
PORT = 8443
ADDRESSES = [f"10.77.0.{10 + number}" for number in range(HOSTS)]
#: A name for each of the resolver's guests: who loads the page under names that nobody has used comes there for the first time.
_NAME = "v{visit}.h{host}.test"
#: In turn: a third of what pages name blocks them, the rest is images.
_KINDS = {
    "js": ("<script defer src='{url}'></script>", "window.ran = (window.ran || 0) + 1; // {filler}"),
    "css": ("<link rel=stylesheet href='{url}'>", "#none {{ color: red }} /* {filler} */"),
    "svg": (
        "<img src='{url}'>",
        "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><circle r='18'/><!-- {filler} --></svg>",
    ),
}
_ORDER = ("css", "js", "svg", "svg", "svg")

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    types {{ text/html html; image/svg+xml svg; text/css css; text/javascript js; }}
    sendfile on;
    http2_max_concurrent_streams 128;
    add_header Timing-Allow-Origin *;
    {servers}
}}
"""
_SERVER = """
    server {{
        listen {address}:{port} ssl http2 backlog=2048;
        ssl_certificate {folder}/{host}.pem;
        ssl_certificate_key {folder}/{host}.pem;
        root {folder}/site;
    }}
"""


@dataclass(frozen=True)
class Webpage:
    visits: int

    @property
    def names(self) -> str:
        """For /etc/hosts, of so many visits."""
        return "".join(
            f"{address} {_NAME.format(visit=visit, host=host)}\n"
            for visit in range(self.visits)
            for host, address in enumerate(ADDRESSES)
        )

    def url(self, visit: int) -> str:
        return url(visit, 0, f"{visit}.html")

    def serve(self, host: Host, folder: Path) -> None:
        """Raises AssertionError where nginx does not start."""
        add_addresses(host, *ADDRESSES)
        self._write(folder)
        config = folder / "nginx.conf"
        servers = [
            _SERVER.format(address=address, port=PORT, folder=folder, host=k) for k, address in enumerate(ADDRESSES)
        ]
        config.write_text(_NGINX.format(folder=folder, servers="".join(servers)))
        host.start("nginx", [program("nginx"), "-e", folder / "error.log", "-c", config]).wait_for_port(PORT)

    def _write(self, folder: Path) -> None:
        authority, site = trustme.CA(), folder / "site"
        site.mkdir()
        for host in range(HOSTS):
            # A certificate for all of them would let a browser use one connection for several (RFC 9113, section 9.1.1).
            issued = authority.issue_cert(f"*.h{host}.test")
            issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{host}.pem")
        for number in range(RESOURCES):
            kind = kind_of(number)
            (site / f"{number}.{kind}").write_text(filled(_KINDS[kind][1]))
        for visit in range(self.visits):
            (site / f"{visit}.html").write_text(page(visit))


def url(visit: int, host: int, path: str) -> str:
    return f"https://{_NAME.format(visit=visit, host=host)}:{PORT}/{path}"


def kind_of(number: int) -> str:
    return _ORDER[number % len(_ORDER)]


def filled(template: str) -> str:
    """It has SIZE bytes, which are new each time."""
    filler = os.urandom(SIZE // 2).hex()
    return template.format(filler=filler[: SIZE - len(template.format(filler=""))])


def page(visit: int) -> str:
    """Its head is small; each host has as many of the resources, of all kinds."""
    parts = ["<!doctype html><html><head><meta charset=utf-8><title>A hundred</title>"]
    for number in range(RESOURCES):
        kind, host = kind_of(number), number // len(_ORDER) % HOSTS
        parts.append(_KINDS[kind][0].format(url=url(visit, host, f"{number}.{kind}")))
    return "\n".join(parts)
