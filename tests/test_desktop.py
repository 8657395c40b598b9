"""Every desktop is one, by its type: this file is checked by mypy and holds what they have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.desktop_gnome import Gnome
from proxy.desktop_kde import Kde
from proxy.desktop_windows import Windows
from tests.test_desktop_windows import Registry

if TYPE_CHECKING:
    from proxy.desktop import Desktop

DESKTOPS: list[Desktop] = [Gnome(), Kde(Path("kioslaverc")), Windows(Registry())]
PLACE, OTHER = Address.make("127.0.0.1", 1080), Address.make("127.0.0.1", 1081)


@pytest.mark.parametrize("desktop", DESKTOPS, ids=lambda each: each.name)
def test_what_is_wanted_leads_there_and_nowhere_else(desktop: Desktop) -> None:
    wanted = desktop.wanted(PLACE)
    assert desktop.leads_to(PLACE, wanted)
    assert not desktop.leads_to(OTHER, wanted)
    assert not desktop.leads_to(PLACE, dict.fromkeys(wanted))
    assert all(desktop.agree(value, value) for value in wanted.values())


@pytest.mark.parametrize("desktop", DESKTOPS, ids=lambda each: each.name)
def test_what_puts_the_others_into_force_comes_last(desktop: Desktop) -> None:
    wanted = desktop.wanted(PLACE)
    last = list(wanted)[-1]
    assert not desktop.leads_to(PLACE, {**wanted, last: None})
