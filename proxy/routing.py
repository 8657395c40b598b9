"""The rules at work: what they say of connections, datagrams and names, what goes directly, and what changes when they do."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import trio

from .dialer import Dialer, is_own, open_socket
from .errors import OpenError, Reason
from .opener import Chosen
from .presets import load_presets
from .router import Direct, Router
from .rule_files import RuleFiles
from .rule_terms import Network, Query
from .rules import Kind
from .udp import UDP, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .address import Address, IPAddress
    from .association import Association
    from .exits import Exits
    from .protocol.budget import Budget
    from .rules import RuleSettings
    from .ruleset import Ruleset


class Routing:
    """`router` may be asked once it is made; `run` keeps it true. Raises ConfigError where the rules are of no use."""

    def __init__(
        self, settings: RuleSettings, exits: Exits, *, datagram_age: float, budget: Budget | None = None
    ) -> None:
        self.udp = UDP(age=datagram_age, budget=budget)
        self.own_ports: set[int] = set()  # where this program listens
        self.shared = False  # whether other computers can use the port: what is on this one only is not for them
        self._files = RuleFiles(settings, load_presets())
        self._dialer = Dialer(allow_private=True, attempt=self._open_socket)
        direct = Direct(self._dialer.connect, self._associate)
        self.router = Router(self._files.read(), tunnel=exits, direct=direct, by=exits.by)
        self._changed: list[Callable[[], None]] = []

    def when_changed(self, call: Callable[[], None]) -> None:
        """Call it after each change of the rules."""
        self._changed.append(call)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled; then what is open directly over UDP is closed."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.udp.run)
            await nursery.start(self._files.run, self._use)
            task_status.started()

    async def change(self, settings: RuleSettings) -> None:
        """These rules hold from now on. Raises ConfigError where they are of no use; then the old ones stay."""
        self._use(await self._files.change(settings))

    def choose(self, address: Address) -> Chosen:
        """The way of a connection. None leads to this program's own port, whatever the rules say and whoever would connect: what it answers there is
        for who comes to it without the proxy, and an exit may stand on this very computer.
        """
        if leads_to_port(address, self.own_ports):
            return _TO_ITSELF
        return self.router.choose_stream(address)

    def _use(self, ruleset: Ruleset) -> None:
        self.router.change(ruleset)
        for call in self._changed:
            call()

    async def _associate(self) -> Association:
        return self.udp.associate(Policy(lambda ip: not (self.shared and _is_here(ip)), self._dialer.lookup))

    async def _open_socket(self, ip: IPAddress, port: int) -> trio.SocketStream:
        """Not to this program's own port: an app that is told to go there would go round in circles. Raises OSError."""
        if (self.shared or port in self.own_ports) and _is_here(ip):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "this is not for apps")
        return await open_socket(ip, port)


async def _refuse(_address: Address) -> trio.abc.HalfCloseableStream:
    await trio.lowlevel.checkpoint()
    raise OpenError(Reason.FORBIDDEN, "the proxy's own port is not for what comes through the proxy")


#: What stands in the place of a rule for what would go to the port itself.
OWN_PORT = "the proxy's own port"
_TO_ITSELF = Chosen(Kind.BLOCK.value, OWN_PORT, _refuse)


def leads_to_port(address: Address, ports: Collection[int]) -> bool:
    """Whether it is one of these ports of this computer, as far as the address says it."""
    return address.port in ports and _leads_here(address)


def _leads_here(address: Address) -> bool:
    """As far as the address says it."""
    query = Query.of(address, Network.TCP)
    if query.ip is None:
        return _is_own_name(query.name)
    try:
        return _is_here(query.ip)
    except OSError:  # nothing is known where there are no descriptors left, and nothing could be opened
        return True


def _is_own_name(name: str) -> bool:
    """Of this computer: RFC 6761, section 6.3, and as it calls itself, bare, and in multicast DNS (RFC 6762). Its hosts file leads from there to
    loopback, for an exit on this computer as well.
    """
    own = socket.gethostname().lower()
    bare = own.partition(".")[0]
    return name in ("localhost", own, bare, f"{bare}.local") or name.endswith(".localhost")


def _is_here(ip: IPAddress) -> bool:
    return ip.is_loopback or is_own(ip)
