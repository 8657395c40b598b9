"""The variables, and the lines that set them, read by a real shell."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.address import Address
from proxy.environment import NOT_PROXIED, Shell, exports, variables
from proxy.protocol.socks import Credentials
from tests.standins import needs_a_shell

PORT = Address.make("127.0.0.1", 1080)


def test_what_programs_are_told() -> None:
    values = variables(PORT)
    assert values["http_proxy"] == values["https_proxy"] == values["HTTPS_PROXY"] == "http://127.0.0.1:1080"
    assert values["all_proxy"] == values["ALL_PROXY"] == "socks5h://127.0.0.1:1080"
    assert values["no_proxy"] == NOT_PROXIED


def test_an_ipv6_port_has_its_brackets() -> None:
    assert variables(Address.make("::1", 1080))["http_proxy"] == "http://[::1]:1080"


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_credentials_survive_the_url(username: str, password: str) -> None:
    try:
        credentials = Credentials(username, password)
    except ValueError:
        return
    try:
        url = urlsplit(variables(PORT, credentials)["all_proxy"])
    except UnicodeEncodeError:  # no such text comes out of a file
        return
    assert (url.hostname, url.port) == ("127.0.0.1", 1080)
    assert unquote(url.username or "") == username
    assert unquote(url.password or "") == password


@needs_a_shell
@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=20))
def test_a_shell_reads_the_lines(value: str) -> None:
    script = "\n".join([*exports(Shell.SH, {"all_proxy": value}), 'printf %s "$all_proxy"'])
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == value


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_reads_the_lines() -> None:
    script = "\n".join([*exports(Shell.FISH, {"all_proxy": "a'b\\c"}), 'printf %s "$all_proxy"'])
    assert subprocess.run(["fish", "-c", script], capture_output=True, check=True).stdout == b"a'b\\c"


def test_the_lines_of_each_shell() -> None:
    values = {"all_proxy": "it's", "ALL_PROXY": "it's"}
    assert exports(Shell.SH, values) == ["export all_proxy='it'\\''s'", "export ALL_PROXY='it'\\''s'"]
    assert exports(Shell.FISH, values)[0] == "set -gx all_proxy 'it\\'s'"
    assert exports(Shell.POWERSHELL, values) == ["$env:all_proxy = 'it''s'"]


def test_python_takes_the_proxy_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables(PORT).items():
        monkeypatch.setenv(name, value)
    bypassed = vars(urllib.request)["proxy_bypass_environment"]  # which the type checker does not know
    assert urllib.request.getproxies_environment()["https"] == "http://127.0.0.1:1080"
    assert bypassed("localhost")
    assert not bypassed("example.com")


@pytest.mark.parametrize(
    ("path", "windows", "shell"),
    [
        ("/bin/bash", False, Shell.SH),
        ("/usr/bin/fish", False, Shell.FISH),
        ("", True, Shell.POWERSHELL),
        ("/usr/bin/bash", True, Shell.SH),
        ("", False, Shell.SH),
    ],
)
def test_the_shell_is_guessed(path: str, windows: bool, shell: Shell) -> None:
    assert Shell.guess(path, windows=windows) is shell
