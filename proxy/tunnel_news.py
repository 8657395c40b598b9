"""What there is to be told of a tunnel: in the log, each trouble once however often it happens in a row, and to who asks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logger("tunnel")


@dataclass(frozen=True, slots=True)
class Loss:
    """A carrier that was lost; not one that was replaced."""

    at: float
    reason: str


class TunnelNews:
    """Time is an argument, in seconds of any clock."""

    def __init__(self, now: float) -> None:
        self._trouble = ""
        self._attempts = 0  # that are under way
        self.up = False
        self.since = self._up_since = now  # it is so
        self.carriers = 0  # so far
        self.last_loss: Loss | None = None

    @property
    def connecting(self) -> bool:
        return self._attempts > 0

    @contextmanager
    def attempting(self) -> Iterator[None]:
        self._attempts += 1
        try:
            yield
        finally:
            self._attempts -= 1

    def connected(self, now: float, *, anew: bool) -> None:
        if anew:
            log.info("connected to the exit again" if self.carriers else "connected to the exit")
        else:
            log.debug("moved to another connection to the exit")
        self.up, self.since = True, now if anew else self._up_since
        self._up_since = self.since
        self.carriers += 1
        self._trouble = ""

    def disconnected(self, now: float) -> None:
        """There is no carrier: for what reason is said when it is known, or it moves on to another one."""
        self.up, self.since = False, now

    def lost(self, now: float, why: str) -> None:
        self.last_loss = Loss(now, why)
        self.trouble(f"the connection to the exit is gone, and is made again: {why}")

    def trouble(self, text: str) -> None:
        if text != self._trouble:
            log.warning(text)
            self._trouble = text


class CarrierTotals:
    """Of several tunnels, those that are over among them."""

    def __init__(self) -> None:
        self.carriers = 0
        self.last_loss: Loss | None = None

    def add(self, news: TunnelNews | CarrierTotals) -> None:
        self.carriers += news.carriers
        losses = [each for each in (self.last_loss, news.last_loss) if each is not None]
        self.last_loss = max(losses, key=lambda loss: loss.at, default=None)
