"""Which app a destination belongs to, by the presets: for people who look at connections."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .address import Address
from .rule_index import Index
from .rule_terms import AnyOf, Network, Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ruleset import AppFacts

#: Our choice: hosts that are remembered. What is open at once goes to a few hundred.
MOST_REMEMBERED = 4096
_ANY_PORT = 443  # presets say nothing of ports here


class AppNames:
    def __init__(self, presets: Mapping[str, AppFacts]) -> None:
        self._names = list(presets)
        self._index = Index()
        for number, preset in enumerate(presets.values()):
            self._index.add(number, AnyOf(suffixes=list(preset.domains), networks=list(preset.networks)))
        self._known: dict[str, str] = {}

    def of(self, host: str) -> str:
        """The preset's name; empty where it is of none. The first one by name has what several share."""
        name = self._known.get(host)
        if name is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            number = self._index.first(Query.of(Address(host, _ANY_PORT), Network.TCP))
            name = self._known[host] = self._names[number] if number is not None else ""
        return name


@functools.cache
def known_apps() -> AppNames:
    """By all presets, which are read the first time."""
    from .presets import load_presets

    return AppNames(load_presets())
