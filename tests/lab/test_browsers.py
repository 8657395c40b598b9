"""What browsers send beside the tunnel: no question for a name, and no packet to anybody but the exit."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import wait_until
from tests.e2e.servers import start_nginx
from tests.e2e.visit import BROWSERS
from tests.lab.addresses import ABROAD, EXIT_PORT
from tests.lab.hosts import start_pair

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.machine import Program
    from tests.e2e.servers import Authority, Nginx
    from tests.lab.hosts import Host, Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: The page is there, names an image at the other one, and asks to look up the third and to connect to the fourth.
SITE, IMAGES, PREFETCHED, PRECONNECTED = TUNNELLED = tuple(
    f"{name}.example" for name in ("site", "images", "soon", "sooner")
)
#: Known to the resolver at home. The second one is domestic by its name.
NEAR, DIRECT = "near.example", "near.example.cn"
PAGE = """<!doctype html><title>A page</title>
<link rel=dns-prefetch href=//{prefetched}> <link rel=preconnect href=//{preconnected}:{port}>
<p>from {where} <img alt=missing src=//{images}:{port}/image.svg>
"""
#: For a browser to start on a busy machine, and to load a small page.
SECONDS = 90
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"/>'


def open_site(host: Host, folder: Path, authority: Authority, where: str) -> Nginx:
    folder.mkdir()
    nginx = start_nginx(host, folder, authority)
    words = {"prefetched": PREFETCHED, "preconnected": PRECONNECTED, "images": IMAGES, "port": nginx.http_port}
    (nginx.site / "index.html").write_text(PAGE.format(where=where, **words))
    (nginx.site / "image.svg").write_text(IMAGE)
    return nginx


def visit(lab: Lab, name: str, proxy: str, *urls: str) -> list[str]:
    """What a browser at home says of the pages."""
    folder = lab.home.folder / f"{name}-by-{proxy.partition(':')[0]}"
    folder.mkdir()
    argv: list[str | Path] = [sys.executable, "-m", "tests.e2e.visit", name, folder, proxy, *urls]
    visiting = lab.home.start("visit", argv)
    wait_until(lambda: not visiting.alive, "the end of the browser", seconds=SECONDS)
    said = visiting.lines("saw", "failed")
    assert len(said) == len(urls), visiting.text()
    return said


@pytest.fixture
def sites(lab: Lab, authority: Authority) -> tuple[Nginx, Nginx]:
    """At home and abroad. Only the resolver knows the one, and only the exit's host the other."""
    lab.home.replace("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    lab.home.replace(
        "/etc/hosts", f"127.0.0.1 localhost {socket.gethostname()}\n"
    )  # Firefox asks for the host's own name
    lab.abroad.replace("/etc/hosts", f"127.0.0.1 localhost {' '.join(TUNNELLED)}\n")
    near = open_site(lab.home, lab.home.folder / "site", authority, "home")
    return near, open_site(lab.abroad, lab.abroad.folder / "site", authority, "abroad")


@pytest.mark.parametrize("scheme", ["socks5", "http"])
@pytest.mark.parametrize("browser", BROWSERS)
def test_names_do_not_leave(lab: Lab, sites: tuple[Nginx, Nginx], browser: str, scheme: str) -> None:
    near, far = sites
    pair = start_pair(lab)
    resolver = lab.home.start_module("resolver", f"{NEAR}=127.0.0.1")
    wire = lab.home.start_module("wire", NEAR, *TUNNELLED)
    for program in (resolver, wire):
        program.wait_for("ready")

    (said,) = visit(lab, browser, pair.local.url(scheme), f"http://{SITE}:{far.http_port}/")
    assert said.startswith("saw from abroad")
    assert far.requests("/image.svg")
    assert not resolver.lines("asked")
    assert sent(wire) == {f"tcp {ABROAD}:{EXIT_PORT}"}
    assert not questions(wire)

    # Else all this would say nothing.
    (said,) = visit(lab, browser, "none", f"http://{NEAR}:{near.http_port}/")
    assert said.startswith("saw from home")
    assert resolver.lines(f"asked {NEAR}")
    assert questions(wire)


@pytest.mark.parametrize("browser", BROWSERS)
def test_each_site_goes_its_way(lab: Lab, sites: tuple[Nginx, Nginx], browser: str) -> None:
    """In the mode home-direct, in one browser with one setting."""
    near, far = sites
    pair = start_pair(lab, mode="home-direct")
    resolver = lab.home.start_module("resolver", f"{DIRECT}=127.0.0.1")
    wire = lab.home.start_module("wire", DIRECT, *TUNNELLED)
    for program in (resolver, wire):
        program.wait_for("ready")

    urls = f"http://{SITE}:{far.http_port}/?tunnelled", f"http://{DIRECT}:{near.http_port}/?direct"
    one, other = visit(lab, browser, pair.local.url("socks5"), *urls)
    assert one.startswith("saw from abroad")
    assert other.startswith("saw from home")

    # Each server saw who was to come to it, and nobody else.
    assert far.requests("/?tunnelled")
    assert far.requests("/image.svg")
    assert not far.requests("direct")
    assert near.requests("/?direct")
    assert not near.requests("tunnelled")
    assert not near.requests("/image.svg")  # the page names it at a tunnelled name

    # Whoever listens at home sees the carrier, and questions for the direct name alone.
    assert set(resolver.lines("asked")) == {f"asked {DIRECT}"}
    assert sent(wire) == {f"tcp {ABROAD}:{EXIT_PORT}"}
    assert all(line.startswith("lo ") for line in questions(wire))


def sent(wire: Program) -> set[str]:
    """What left the host, or was to be read outside."""
    lines = [line.partition(" ") for line in wire.text().splitlines()]
    return {what for device, _, what in lines if device not in ("lo", "ready")}


def questions(wire: Program) -> list[str]:
    """To anybody who speaks DNS, on the host or not."""
    return [line for line in wire.text().splitlines() if line.endswith((":53", ":853", ":5353"))]
