"""The table of countries that a package brings along."""

from __future__ import annotations

import ipaddress
import subprocess
import sys

import pytest

from proxy.countries import country_of


@pytest.mark.parametrize(
    ("text", "code"), [("1.2.4.8", "CN"), ("240e::1", "CN"), ("8.8.8.8", "US"), ("10.0.0.1", ""), ("::1", "")]
)
def test_an_address_has_its_country(text: str, code: str) -> None:
    assert country_of(ipaddress.ip_address(text)) == code


def test_nobody_loads_the_table_who_does_not_ask() -> None:
    subprocess.run([sys.executable, "-c", "import proxy.ruleset, sys; assert 'iptocc' not in sys.modules"], check=True)
