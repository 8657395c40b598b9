"""Every exception of ours: who is at fault, and what to answer.

RopewayError                one line for the user
  ConfigError               the configuration or the command line: the user mends it
  OpenError                 a destination, a policy or the tunnel: has a Reason, becomes a SOCKS or HTTP answer
  LocalPortError            the local port cannot be used: the program behind it does not run, or is another one
  CarrierError              no carrier can be made: the exit, the network, the key or somebody in between
  ServiceError              the system's supervisor of services is missing or refuses
  AuthorityError            an authority does not sign a certificate, or cannot be asked
  DesktopError              the system's proxy settings cannot be read or changed
  UsageError                what is kept of usage cannot be read, written or wiped now
LocalProtocolError          our own caller asked for something that the protocol forbids: a bug
RemoteProtocolError         the peer broke the protocol: its session or connection ends
"""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """Why a stream was reset or could not be opened; the numbers of `docs/protocol.md`, section 8."""

    CANCELLED = 0
    REFUSED = 1
    HOST_UNREACHABLE = 2
    NETWORK_UNREACHABLE = 3
    TIMED_OUT = 4
    NAME_NOT_FOUND = 5
    FORBIDDEN = 6
    BUSY = 7
    TUNNEL_DOWN = 8
    FAILED = 9

    @classmethod
    def from_wire(cls, number: int) -> Reason:
        """Numbers that a later version may add read as FAILED."""
        return cls(number) if number <= cls.FAILED else cls.FAILED


#: What a user reads when nobody said it better.
REASON_TEXT = {
    Reason.CANCELLED: "the connection was given up",
    Reason.REFUSED: "the destination refused the connection",
    Reason.HOST_UNREACHABLE: "the destination cannot be reached from the exit",
    Reason.NETWORK_UNREACHABLE: "the exit has no route to the destination's network",
    Reason.TIMED_OUT: "the destination did not answer in time",
    Reason.NAME_NOT_FOUND: "the destination's name does not exist or cannot be resolved at the exit",
    Reason.FORBIDDEN: "the exit does not connect to private or other non-public addresses; whoever runs it may set allow_private",
    Reason.BUSY: "a limit of the exit was reached; try again later",
    Reason.TUNNEL_DOWN: "the tunnel to the exit is down; it is tried again all the time",
    Reason.FAILED: "the exit could not connect to the destination",
}


class RopewayError(Exception):
    """Its text is one line that says what is wrong and what to do."""


class ConfigError(RopewayError):
    """A setting, a link or an argument that cannot be used.

    `field` is the dotted name of the setting, or empty where the whole file is meant.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}" if field else text)
        self.field = field


class OpenError(RopewayError):
    """A connection to a destination could not be made; `reason` decides the SOCKS reply and the HTTP status."""

    def __init__(self, reason: Reason, text: str = "") -> None:
        super().__init__(text or REASON_TEXT[reason])
        self.reason = reason


#: Of a port of this computer.
SILENT = "does not answer; if that is Ropeway, its log says whether as many connections are open as may be"


class LocalPortError(RopewayError):
    """A program of ours that goes through the local port, as apps do, finds nothing of ours there; the text says what to do."""


class CarrierError(RopewayError):
    """A carrier could not be made or did not prove itself; the text says what to do."""


class ServiceError(RopewayError):
    """What runs services on this system is missing, refuses, or could not start ours; the text says what to do."""


class AuthorityError(RopewayError):
    """An authority for certificates refuses, or cannot be reached; the text says why, in its own words where it has some."""


class DesktopError(RopewayError):
    """The system's proxy settings cannot be read or changed; the text says what to do."""


class UsageError(RopewayError):
    """What is kept on disk of how much apps used cannot be read, written or wiped now; nothing else depends on it."""


class LocalProtocolError(Exception):
    """Our side asked for what the protocol does not allow; the state is as before."""


class RemoteProtocolError(Exception):
    """The peer sent what the protocol does not allow; the text names it and holds nothing secret."""
