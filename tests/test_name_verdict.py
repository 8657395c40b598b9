"""The rules' word, and what questions about names have of their own."""

from __future__ import annotations

import pytest

from proxy.name_verdict import BLOCK, DIRECT, TUNNEL, Verdict, Way, verdict_of

HOME = Verdict(Way.TUNNEL, "home.example.com")


def decide(name: str) -> Verdict:
    """Everything is direct but what is named here, which is the worst case for what has to be kept from leaking."""
    named = {"secret.example": TUNNEL, "home.example": HOME, "ads.example": BLOCK, "8.8.8.8.in-addr.arpa": HOME}
    return named.get(name, DIRECT)


def judged(name: str) -> Verdict:
    return verdict_of([label.encode() for label in name.split(".") if label], decide)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("www.example", DIRECT),
        ("secret.example", TUNNEL),
        ("home.example", HOME),
        ("ads.example", BLOCK),
        ("printer", DIRECT),
        ("printer.home.arpa", DIRECT),
        # Nothing a rule could be about.
        ("", TUNNEL),
        ("a b.example", TUNNEL),
        ("a\\b.example", TUNNEL),
        ("w\u00fc.example", TUNNEL),
        # About a host that is tunnelled, though the rules do not know the name.
        ("_8443._https.secret.example", TUNNEL),
        ("_443._tcp.home.example", HOME),
        ("x._domainkey.secret.example", TUNNEL),
        ("_tcp.ads.example", BLOCK),
        ("_dmarc.www.example", DIRECT),
        ("_tcp", DIRECT),
        # Reverse.
        ("1.0.0.10.in-addr.arpa", DIRECT),
        ("lb._dns-sd._udp.0.1.168.192.in-addr.arpa", DIRECT),
        ("10.in-addr.arpa", DIRECT),
        ("16.172.in-addr.arpa", DIRECT),
        ("15.172.in-addr.arpa", TUNNEL),
        ("172.in-addr.arpa", TUNNEL),
        ("1.1.1.1.in-addr.arpa", TUNNEL),
        ("8.8.8.8.in-addr.arpa", HOME),
        ("300.1.1.10.in-addr.arpa", TUNNEL),
        ("010.in-addr.arpa", TUNNEL),
        ("in-addr.arpa", TUNNEL),
        ("arpa", DIRECT),
        ("1.0.0.127.in-addr.arpa", DIRECT),
        (".".join("1" + 31 * "0") + ".ip6.arpa", DIRECT),
        ("d.f.ip6.arpa", DIRECT),
        ("8.e.f.ip6.arpa", DIRECT),
        ("e.f.ip6.arpa", TUNNEL),
        ("8.b.d.0.1.0.0.2.ip6.arpa", TUNNEL),
        ("ip6.arpa", TUNNEL),
    ],
)
def test_verdict(name: str, verdict: Verdict) -> None:
    assert judged(name) == verdict


def test_a_reverse_name_can_be_blocked() -> None:
    assert verdict_of([b"1", b"0", b"0", b"10", b"in-addr", b"arpa"], lambda _name: BLOCK) == BLOCK


def test_the_rules_are_asked_for_the_name_as_they_know_it() -> None:
    asked: list[str] = []

    def note(name: str) -> Verdict:
        asked.append(name)
        return DIRECT

    verdict_of([b"_25", b"_tcp", b"mail", b"xn--fiqs8s"], note)
    assert asked == ["_25._tcp.mail.xn--fiqs8s", "mail.xn--fiqs8s"]
