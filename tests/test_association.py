"""What whoever carries datagrams has to offer."""

from __future__ import annotations

import inspect

import trio

from proxy.association import Association


def test_there_is_no_association_without_all_three() -> None:
    assert issubclass(Association, trio.abc.AsyncResource)
    assert Association.__abstractmethods__ == {"send", "receive", "aclose"}
    assert not inspect.iscoroutinefunction(Association.send)  # it never waits
