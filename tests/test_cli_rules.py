"""`ropeway route`, as a user types it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proxy.share import Link
    from tests.command_line import Done

pytestmark = pytest.mark.usefixtures("log_as_before")


@pytest.fixture
def rules(path: Path) -> Path:
    path.parent.mkdir()
    path.write_text(
        '[rules]\nrules = ["block suffix:ads.example", "direct list:mine.txt", "tunnel network:udp port:53"]\n'
    )
    path.chmod(0o600)
    (path.parent / "mine.txt").write_text("mine.example\n")
    return path


@pytest.mark.parametrize(
    ("words", "way", "why"),
    [
        (["www.ads.example"], "www.ads.example:443 over TCP is blocked", "by rule 1: block suffix:ads.example"),
        (["a.mine.example:80"], "goes direct", "by rule 2: direct list:mine.txt"),
        (["1.2.4.8:53", "--udp"], "1.2.4.8:53 over UDP goes through the tunnel", "by rule 3"),
        (["1.2.4.8"], "goes direct", "by mode home-direct: geoip:cn"),
        (["weixin.qq.com"], "goes direct", "by mode home-direct: app "),
        (["web.whatsapp.com"], "goes through the tunnel", "by mode home-direct: app whatsapp"),
        (["[2001:4860:4860::8888]:443"], "goes through the tunnel", "by default"),
        (["192.168.1.1:80"], "goes direct", "by mode home-direct: private or local"),
    ],
)
def test_which_way_and_by_which_rule(
    ropeway: Callable[..., Done], rules: Path, words: list[str], way: str, why: str
) -> None:
    done = ropeway("route", *words, "--config", rules)
    assert (done.code, done.err) == (0, "")
    assert way in done.out.splitlines()[0]
    assert why in done.out.splitlines()[1]


@pytest.mark.parametrize("where", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9", "[::ffff:127.0.0.1]"])
def test_the_proxys_own_port_is_closed_to_what_goes_through_it(
    ropeway: Callable[..., Done], rules: Path, where: str
) -> None:
    done = ropeway("route", f"{where}:1080", "--config", rules)
    assert (done.code, done.err) == (0, "")
    assert "1080 over TCP is blocked" in done.out.splitlines()[0]
    assert "by the proxy's own port" in done.out.splitlines()[1]
    assert "is blocked" not in ropeway("route", f"{where}:1081", "--config", rules).out
    assert "is blocked" not in ropeway("route", f"{where}:1080", "--udp", "--config", rules).out
    rules.write_text(rules.read_text() + '[local]\nlisten = "127.0.0.1:1081"\n')
    assert "is blocked" in ropeway("route", f"{where}:1081", "--config", rules).out


def test_a_list_that_is_not_there_is_named(ropeway: Callable[..., Done], rules: Path) -> None:
    (rules.parent / "mine.txt").unlink()
    assert "mine.txt" in ropeway("route", "example.com", "--config", rules).failure


@pytest.mark.parametrize("where", ["", "example.com:0", "example.com:99999", "a b"])
def test_what_is_no_destination(ropeway: Callable[..., Done], rules: Path, where: str) -> None:
    assert "HOST[:PORT]" in ropeway("route", where, "--config", rules).failure


def test_a_rule_that_names_no_exit_is_told_as_when_it_is_started(
    ropeway: Callable[..., Done], rules: Path, exit_of_anna: Link
) -> None:
    rules.write_text(f'[local]\nexit = "{exit_of_anna}"\n[rules]\nrules = ["exit:nonsense port:1"]\n')
    assert "nonsense is no address of an exit" in ropeway("route", "example.com:1", "--config", rules).failure
