"""curl through every kind of proxy that the port speaks, against nginx, with bodies from nothing to 200 MB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import curl, digest_of
from tests.e2e.machine import free_port
from tests.e2e.servers import SIZES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority, Body, Nginx

pytestmark = pytest.mark.e2e

KINDS = {
    "socks4": ["--socks4", "{}"],
    "socks4a": ["--socks4a", "{}"],
    "socks5": ["--socks5", "{}"],
    "socks5-hostname": ["--socks5-hostname", "{}"],
    "http": ["-x", "http://{}"],
    "tunnel": ["-p", "-x", "http://{}"],
}


#: What comes after the greeting is the same for all of them but `http`, where we read the request: the large body goes by one of either sort.
LARGE = [("socks5-hostname", "https"), ("http", "http")]
each = pytest.mark.parametrize(
    ("kind", "scheme", "size"),
    [
        (kind, scheme, size)
        for kind in KINDS
        for scheme in ("http", "https")
        for size in SIZES
        if size < max(SIZES) or (kind, scheme) in LARGE
    ],
)


def through(kind: str, port: int) -> list[str]:
    return [word.format(f"127.0.0.1:{port}") for word in KINDS[kind]]


@each
def test_down(
    pair: Pair,
    nginx: Nginx,
    authority: Authority,
    bodies: dict[int, Body],
    folder: Path,
    kind: str,
    scheme: str,
    size: int,
) -> None:
    way = through(kind, pair.port)
    answer = curl(*way, "--cacert", authority.path, nginx.url(scheme, str(size)), folder=folder)
    assert (answer.code, answer.complaint, answer.status) == (0, "", 200)
    assert (answer.size, answer.digest) == (size, bodies[size].digest)


@each
def test_up(
    pair: Pair,
    nginx: Nginx,
    authority: Authority,
    bodies: dict[int, Body],
    folder: Path,
    kind: str,
    scheme: str,
    size: int,
) -> None:
    name = f"{kind}-{scheme}-{size}"
    way = through(kind, pair.port)
    url = nginx.url(scheme, f"up/{name}")
    answer = curl(*way, "--cacert", authority.path, "-T", bodies[size].path, url, folder=folder)
    arrived = nginx.uploads / name
    assert (answer.code, answer.complaint, answer.status) == (0, "", 201)
    assert (arrived.stat().st_size, digest_of(arrived)) == (size, bodies[size].digest)
    arrived.unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_curl_does_not_go_around_the_proxy(nginx: Nginx, folder: Path, kind: str) -> None:
    """Else none of the tests above would say anything."""
    answer = curl(*through(kind, free_port()), nginx.url("http", "1"), folder=folder)
    assert answer.code != 0
