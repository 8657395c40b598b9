"""Which app a host is of."""

from __future__ import annotations

import pytest

from proxy import app_names
from proxy.app_names import AppNames
from proxy.presets import load_presets


@pytest.mark.parametrize(
    ("host", "app"),
    [
        ("g.whatsapp.net", "whatsapp"),
        ("web.telegram.org", "telegram"),
        ("149.154.167.51", "telegram"),
        ("2001:67c:4e8::1", "telegram"),
        ("example.com", ""),
        ("notwhatsapp.net", ""),
        ("192.0.2.1", ""),
    ],
)
def test_hosts_of_apps(host: str, app: str) -> None:
    names = AppNames(load_presets())
    assert names.of(host) == app
    assert names.of(host) == app  # as remembered


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_names, "MOST_REMEMBERED", 10)
    names = AppNames(load_presets())
    for number in range(100):
        assert names.of(f"host{number}.whatsapp.net") == "whatsapp"
        assert len(names._known) <= 10


def test_all_presets_are_read_once() -> None:
    assert app_names.known_apps() is app_names.known_apps()
    assert app_names.known_apps().of("g.whatsapp.net") == "whatsapp"
