"""What systemd hands over at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.start import Start

if TYPE_CHECKING:
    import pytest


def test_without_systemd_there_is_nobody_to_tell_and_nothing_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    start = Start.from_environment()
    assert list(start.sockets) == []
    start.notifier.ready("heard by nobody")
