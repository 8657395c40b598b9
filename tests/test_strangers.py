"""Who has not proved anything makes room for who comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.strangers import Strangers

if TYPE_CHECKING:
    import pytest


async def test_the_oldest_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.strangers.MAX_STRANGERS", 2)
    strangers = Strangers()
    scopes = [strangers.enter() for _ in range(4)]
    assert [scope.cancel_called for scope in scopes] == [True, True, False, False]


async def test_who_has_left_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.strangers.MAX_STRANGERS", 2)
    strangers = Strangers()
    first, second = strangers.enter(), strangers.enter()
    strangers.leave(first)
    strangers.leave(first)
    third = strangers.enter()
    assert not any(scope.cancel_called for scope in (first, second, third))
