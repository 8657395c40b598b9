"""The tables of the file: what does not fit is named in the words of who writes TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config_tables import FileTable, convert
from proxy.errors import ConfigError

PATH = Path("config.toml")


def test_nothing_gives_the_defaults() -> None:
    assert convert({}, PATH) == FileTable()


@pytest.mark.parametrize(
    ("tables", "field", "text"),
    [
        ({"local": {"lisen": ":1"}}, "local.lisen", "there is no such setting; listen is meant?"),
        ({"remote": {}}, "remote", "there is no such setting"),
        ({"local": {"listen": 5}}, "local.listen", "expected text in quotes, got a whole number"),
        ({"local": {"memory": 1}}, "local.memory", ">= 128"),
        ({"exit": {"users": [{"name": "anna"}]}}, "exit.users[0].id", "it is missing"),
        ({"rules": {"home": "china"}}, "rules.home", "matching regex"),
        ({"rules": {"rules": "direct"}}, "rules.rules", "expected a list"),
        ({"dns": {"resolvers": []}}, "dns.resolvers", "length >= 1"),
        ({"local": {"datagram_age": 60}}, "local.datagram_age", "<= 10"),
    ],
)
def test_what_does_not_fit_is_named(tables: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(tables, PATH)
    assert caught.value.field == field
    assert text in str(caught.value)
    assert str(caught.value).endswith("(in config.toml)")
