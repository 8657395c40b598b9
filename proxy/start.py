"""What the process was started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import activation
from .sd_notify import Notifier

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Start:
    """What the process was started with, where systemd did it: whom to tell how it goes, and sockets that listen already."""

    notifier: Notifier = field(default_factory=Notifier)
    sockets: Sequence[socket.socket] = ()

    @classmethod
    def from_environment(cls) -> Start:
        """Raises ConfigError where the sockets are of no use."""
        return cls(Notifier.from_environment(), activation.inherited())
