"""The settings as values: where listeners stand, and what links an exit gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy import config
from proxy.errors import ConfigError
from proxy.keys import UserKey
from proxy.protocol.socks import Credentials
from proxy.settings import Config, Listen, User

ANNA = User("anna", UserKey(b"\x01" * 8, b"\x02" * 32))
PIN = b"\x03" * 32


def parsed(text: str) -> Config:
    return config.check(text, Path("/etc/ropeway/config.toml"))


@pytest.mark.parametrize(
    ("text", "listen", "loopback"),
    [
        ("127.0.0.1:1080", Listen("127.0.0.1", 1080), True),
        ("127.8.8.8:0", Listen("127.8.8.8", 0), True),
        ("localhost:1080", Listen("127.0.0.1", 1080), True),
        ("[::1]:1080", Listen("::1", 1080), True),
        (":443", Listen("", 443), False),
        ("0.0.0.0:443", Listen("0.0.0.0", 443), False),
        ("[::]:65535", Listen("::", 65535), False),
        ("192.168.1.1:1080", Listen("192.168.1.1", 1080), False),
        ("[::ffff:127.0.0.1]:1", Listen("::ffff:7f00:1", 1), False),
    ],
)
def test_listen(text: str, listen: Listen, loopback: bool) -> None:
    assert Listen.parse(text) == listen
    assert listen.is_loopback == loopback
    assert Listen.parse(str(listen)) == listen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "443",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:1080",
        "::1",
        "[::1]",
        ":65536",
        "127.0.0.1:00000099999",
        ":-1",
        ":x",
        ":٣",
        "example.com:1",
        "*:443",
        "[]:1",
        "[1:2",
        f":{'9' * 5000}",
    ],
)
def test_no_listen(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|brackets|IP address"):
        Listen.parse(text)


def test_a_link_needs_the_host() -> None:
    settings = parsed("").exit
    with pytest.raises(ConfigError, match=r"^exit\.host: "):
        settings.link(ANNA, PIN)


def test_a_link_that_would_be_too_long() -> None:
    addresses = [f"{'*' * 250}{number}:443" for number in range(8)]
    settings = parsed(f'[exit]\nhost = "exit.example.com"\naddresses = {addresses}').exit
    with pytest.raises(ConfigError, match=r"^exit\.addresses: it would be longer"):
        settings.link(ANNA, PIN)


@pytest.mark.parametrize(
    ("listen", "here"),
    [
        ("127.0.0.1:1080", "127.0.0.1:1080"),
        ("[::1]:1", "[::1]:1"),
        (":1080", "127.0.0.1:1080"),
        ("0.0.0.0:1080", "127.0.0.1:1080"),
        ("[::]:1080", "[::1]:1080"),
        ("192.0.2.1:1080", "192.0.2.1:1080"),
        ("127.0.0.1:0", "None"),
    ],
)
def test_where_programs_of_this_computer_reach_it(listen: str, here: str) -> None:
    assert str(Listen.parse(listen).here) == here


def test_what_apps_have_to_say() -> None:
    assert parsed("").local.credentials is None
    written = parsed('[local]\nusername = "anna"\npassword = "secret"\n').local
    assert written.credentials == Credentials("anna", "secret")
