"""What a program of ours asks of the running local side, over the dashboard's interface (docs/api.md)."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from .errors import LocalPortError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address

_PATIENCE = 5.0  # seconds; it is on this computer
_LARGEST = 64_000_000  # bytes of an answer: 16,384 connections take some 6 MB
_T = TypeVar("_T")


class Loss(Struct, frozen=True):
    at: float = 0.0
    reason: str = ""


class Carrier(Struct, frozen=True):
    exit: str = ""
    state: str = ""
    since: float = 0.0
    rtt_ms: float | None = None
    carriers: int = 0
    last_loss: Loss | None = None


class Rate(Struct, frozen=True):
    up: float = 0.0
    down: float = 0.0


class State(Struct, frozen=True):
    """Of what there is, what `ropeway top` shows."""

    now: float
    started: float = 0.0
    version: str = ""
    listen: tuple[str, ...] = ()
    mode: str = ""
    carrier: Carrier | None = None
    rate: Rate = Rate()
    total: Rate = Rate()
    open: int = 0
    connections: int = 0
    memory: int | None = None


class Connection(Struct, frozen=True):
    id: int
    host: str
    port: int
    app: str = ""
    protocol: str = ""
    route: str = ""
    rule: str = ""
    state: str = ""
    opened: float = 0.0
    up: int = 0
    down: int = 0


class Connections(Struct, frozen=True):
    open_count: int = 0
    open: tuple[Connection, ...] = ()


class History(Struct, frozen=True):
    """In steps, the oldest first: bytes a second, and milliseconds where they were measured."""

    up: tuple[float, ...] = ()
    down: tuple[float, ...] = ()
    rtt_ms: tuple[float | None, ...] = ()


class ApiClient:
    """`token` is asked each time, as there may be another one by now. Every method raises LocalPortError, with a line that says what to do."""

    def __init__(self, port: Address, token: Callable[[], str]) -> None:
        self._port = port
        self._token = token

    def state(self) -> State:
        return self._parsed("state", State)

    def history(self) -> History:
        return self._parsed("history", History)

    def connections(self, most: int) -> Connections:
        return self._parsed(f"connections?most={most}", Connections)

    def close(self, number: int) -> bool:
        """Ends a connection; returns whether it was still there."""
        status, _ = self._ask(f"connections/{number}", "DELETE")
        if status not in (204, 404):
            raise LocalPortError(f"what listens at {self._port} did not close it: it answered {status}")
        return status == 204

    def _parsed(self, path: str, kind: type[_T]) -> _T:
        status, content = self._ask(path)
        if status == 401:
            text = "does not take the token; was it started by another user, or with another folder for its state?"
            raise LocalPortError(f"what listens at {self._port} {text}")
        try:
            if status == 200:
                return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError:
            pass
        raise LocalPortError(
            f"what listens at {self._port} has no dashboard; is it another program, or another version?"
        )

    def _ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        try:
            return exchange(self._port, method, path, self._token())
        except ConnectionRefusedError:
            raise LocalPortError(
                f"nothing listens at {self._port}; `ropeway run` or `ropeway service start` starts it"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            text = f"what listens at {self._port} does not answer: {error or type(error).__name__}"
            raise LocalPortError(text) from None


def exchange(port: Address, method: str, path: str, token: str = "", most: int = _LARGEST) -> tuple[int, bytes]:
    """Status and content of one answer, at most so many bytes of it. Raises OSError and http.client.HTTPException."""
    connection = http.client.HTTPConnection(port.host, port.port, timeout=_PATIENCE)
    try:
        connection.request(method, f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read(most)
    finally:
        connection.close()
