"""TLS on memory BIOs over any trio stream, and the two ends' contexts.

trio's SSLStream wraps the standard library only, and costs more steps for each chunk. Here the local side uses `utls`, whose ClientHello is
Chromium's, and the exit the standard library, which looks like any server on OpenSSL.
"""

from __future__ import annotations

import contextlib
import hmac
import math
import operator
import ssl
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from .errors import CarrierError, ConfigError
from .keys import channel_binding, pin_of
from .protocol.budget import LARGEST
from .shortcut import send_soon, shortcut
from .tcp import TCPStream
from .tls_records import RECORD_SIZE, Arrived

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

try:
    import utls
except ImportError:  # no wheel for this system: the warning is the program's to give, see `looks_like_a_browser`
    utls = None  # type: ignore[assignment]

# Our choices.
#: One read of the transport: thirty-two TLS records, so that a system call and a task switch serve many frames.
READ_SIZE = LARGEST
#: What is sent to say good-bye may not hold up a close for longer, in seconds.
GOODBYE = 0.5

#: What Chromium offers (docs/protocol.md, section 2).
BROWSER_ALPN = ["h2", "http/1.1"]
#: The website speaks nothing else, and visitors must get what was agreed.
WEBSITE_ALPN = ["http/1.1"]

#: The peer is gone, or a sender was cut off in the middle of a record.
_NOT_SENT = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)

looks_like_a_browser = utls is not None

#: Another context for who sent this ClientHello, or None.
Choose: TypeAlias = "Callable[[bytes], ssl.SSLContext | None]"


class TLSStream(trio.abc.HalfCloseableStream):
    """One TLS connection over `transport`. One task may send while another receives; `send_eof` is close_notify, as TLS 1.3 has it.

    `receive_some` returns b"" after the peer's close_notify; a transport that ends without one raises BrokenResourceError. A cancelled or
    failed `send_all` leaves the connection of no use. Raises trio.BrokenResourceError for every error of TLS.
    """

    def __init__(
        self,
        transport: trio.abc.HalfCloseableStream,
        context: Any,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> None:
        # utls takes the standard library's buffers too, but copies everything once more then; its context claims to be one of the library's.
        bio = utls.MemoryBIO if utls is not None and isinstance(context, utls.SSLContext) else ssl.MemoryBIO
        self.transport = transport
        self._wire = shortcut(transport)
        self._incoming: Any = bio()
        self._outgoing: Any = bio()
        if server_side:
            self._tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        else:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._arrived = Arrived(by_record=bio is not ssl.MemoryBIO)
        self._inside: float = 0  # how many reads the library may have something for, without being given anything
        self.read_size = READ_SIZE  # of the transport; what the libraries take for it they keep
        self._closed = self._ended = False

    async def do_handshake(self, choose: Choose | None = None) -> None:
        """At the server's side `choose` gets the ClientHello as far as it has come. Raises ssl.SSLError where TLS fails,
        trio.BrokenResourceError where the transport does.
        """
        hello = b""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError as exc:
                exc.__traceback__ = None  # as in `_read_into`
                if self._outgoing.pending:
                    choose = None  # the ClientHello was answered
                await self._flush()
                await self._fill()
                data = self._arrived.take_all()
                if choose is not None:
                    hello += data
                    self._tls.context = choose(hello) or self._tls.context
                self._incoming.write(data)  # it sees at once what is no TLS
            except ssl.SSLError:
                await self._flush()  # the peer gets its alert
                raise
            else:
                await self._flush()
                self._arrived.add(self._incoming.read())  # whole records, or the beginning of one
                return

    @property
    def version(self) -> str:
        """What was agreed, such as TLSv1.3."""
        return str(self._tls.version())

    @property
    def alpn(self) -> str:
        """The protocol that was agreed on inside, or nothing."""
        return self._tls.selected_alpn_protocol() or ""

    @property
    def peer_certificate(self) -> bytes:
        """DER."""
        return bytes(self._tls.getpeercert(binary_form=True))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._encrypt(data)
        if data:
            await self._flush()
        else:
            await trio.lowlevel.checkpoint()

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed or self._ended:
            raise trio.ClosedResourceError("the end of this TLS stream was sent")
        if data:
            try:
                self._tls.write(bytes(data))  # utls takes nothing else
            except ssl.SSLError as exc:
                raise trio.BrokenResourceError(f"TLS: {exc}") from exc

    async def send_soon(self, data: bytes) -> bool:
        """As `send_all`, and no checkpoint where the transport takes all of it at once; whether there was one."""
        self._encrypt(data)
        return await send_soon(self._wire)(self._outgoing.read()) is not False

    @property
    def tcp(self) -> TCPStream | None:
        """What it is over, where that is TCP: what the kernel is told and asked about sending."""
        return self._wire if isinstance(self._wire, TCPStream) else None

    async def send_eof(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream is closed")
        if self._ended:
            await trio.lowlevel.checkpoint()
            return
        self._end()
        await self._flush()
        await self._wire.send_eof()

    def _end(self) -> None:
        self._ended = True
        try:
            self._tls.unwrap()
        except ssl.SSLError as exc:  # it waits for the peer's, which nobody needs, or is broken already
            exc.__traceback__ = None  # as in `_read_into`

    async def wait_send_all_might_not_block(self) -> None:
        await self._wire.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At most `max_bytes`, or everything that came in one read of the transport."""
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream is closed")
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        await trio.lowlevel.checkpoint_if_cancelled()  # before anything is taken that a cancellation would lose
        try:
            data = self._decrypt(max_bytes or READ_SIZE)
            if data is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return data
            while data is None:
                await self._fill()
                data = self._decrypt(max_bytes or READ_SIZE)
        except trio.BrokenResourceError as exc:
            if isinstance(exc.__cause__, ssl.SSLError):
                await (
                    self._say_goodbye()
                )  # the alert: every server on OpenSSL sends it, so silence would tell us from them
            raise
        return data

    def _decrypt(self, limit: int) -> bytes | None:
        """None where more of the transport is needed."""
        pieces: list[bytes] = []
        try:
            by_record = self._arrived.by_record and not self._inside and limit >= RECORD_SIZE
            ended = by_record and self._read_records(pieces, limit)
            if not (pieces or ended):
                ended = self._read_into(pieces, limit)
        except ssl.SSLError as exc:
            exc.__traceback__ = None  # as in `_read_into`
            self._inside = math.inf  # it says so again, where the pieces before it are read first
            ended = isinstance(exc, ssl.SSLZeroReturnError)
            if not (pieces or ended):
                raise trio.BrokenResourceError(f"TLS: {exc}") from exc
        if not pieces:
            return b"" if ended else None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_records(self, pieces: list[bytes], limit: int) -> bool:
        """As `_read_into`, with nothing to do for a record but to give it and to read it: a quarter of the time of the other way."""
        give, read = self._incoming.write, self._tls.read
        for record in self._arrived.records():
            give(record)
            try:
                piece = read(RECORD_SIZE)
            except ssl.SSLWantReadError as exc:  # it was none of data: a ticket
                exc.__traceback__ = None  # as in `_read_into`
                continue
            if not piece:
                self._inside = math.inf  # the end is read again each time
                return True
            pieces.append(piece)
            limit -= len(piece)
            if limit < RECORD_SIZE:
                break
        return False

    def _read_into(self, pieces: list[bytes], limit: int) -> bool:
        """At most `limit` bytes, a record in each piece; returns whether close_notify was met."""
        read = self._tls.read
        while limit > 0 and (self._inside > 0 or self._feed()):
            asked = min(limit, RECORD_SIZE + 1)
            try:
                piece = read(asked)
            except ssl.SSLWantReadError as exc:
                # utls ties it into a cycle, and with it every frame up to here and the data in them.
                exc.__traceback__ = None
                self._inside = 0
                continue
            if not piece:
                self._inside = math.inf  # the end is read again each time
                return True
            pieces.append(piece)
            limit -= len(piece)
            if len(piece) < asked:
                self._inside -= 1
        return False

    def _feed(self) -> bool:
        """Gives the library what it gets next; whether there was anything."""
        data, self._inside = self._arrived.take()
        if not data:
            self._inside = 0
            return False
        self._incoming.write(data)
        return True

    async def _fill(self) -> None:
        data = await self._wire.receive_some(self.read_size)
        if not data:
            raise trio.BrokenResourceError("the connection ended without a word")
        self._arrived.add(bytes(data))  # utls takes nothing else

    async def _flush(self) -> None:
        while records := self._outgoing.read():
            await self._wire.send_all(records)

    async def _say_goodbye(self) -> None:
        """What the library has to say at the end, where that is possible at once."""
        with trio.move_on_after(GOODBYE), contextlib.suppress(*_NOT_SENT):
            await self._flush()

    async def aclose(self) -> None:
        """Says close_notify where that is possible at once. When it is cancelled the transport is closed all the same."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        if not self._ended:
            self._end()
        try:
            await self._say_goodbye()
        finally:
            await self.transport.aclose()


def exit_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises ConfigError where the files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(WEBSITE_ALPN)
    # The client's order counts, as with nginx and Apache where nothing is said: Chromium's first is AES-128, and OpenSSL's own AES-256.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(certificate, key)
    except OSError as exc:  # ssl.SSLError is one, and its words are for nobody
        library = isinstance(exc, ssl.SSLError)
        reason = "they do not belong together, or are not PEM" if library else exc.strerror or "they cannot be read"
        raise ConfigError("exit.certificate", f"{certificate} and {key} cannot be used: {reason}") from exc
    return context


def local_context(*, roots: bool) -> Any:
    """For the carriers of the local side. `roots`: the system's roots must vouch for the certificate, besides the pin."""
    library: Any = utls if looks_like_a_browser else ssl
    context = library.SSLContext(library.PROTOCOL_TLS_CLIENT)
    context.check_hostname = roots
    context.verify_mode = library.CERT_REQUIRED if roots else library.CERT_NONE
    if roots:
        context.load_default_certs()
    if looks_like_a_browser:
        # With a lowest version of TLS 1.3 the old ciphers would be missing that Chromium still offers: `connect_tls` looks at what was agreed.
        context.set_fingerprint("chrome:stable")
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(BROWSER_ALPN)
    return context


_NO_HANDSHAKE = "the TLS handshake with the exit failed: no Ropeway exit listens there, or somebody cuts the connection"
#: What a failed connection to the exit means for its user; the first that fits.
_MEANINGS: dict[type[Exception], str] = {
    ssl.SSLCertVerificationError: (
        "the exit's certificate is not vouched for by this system's roots, as the link demands: "
        "renew it at the exit, or look at this computer's clock"
    ),
    ssl.SSLError: _NO_HANDSHAKE,
    trio.BrokenResourceError: _NO_HANDSHAKE,
    ValueError: "the exit's certificate cannot be read, so nothing was sent to it: somebody may stand in between",
}


async def connect_tls(
    transport: trio.abc.HalfCloseableStream, context: Any, server_name: str, pin: bytes
) -> tuple[TLSStream, bytes]:
    """The TLS connection to the exit whose public key has this SHA-256, and its channel binding. Nothing was said inside it yet.

    `server_name` is empty where the exit has an address only: then none is sent. Raises CarrierError; `transport` is closed then.
    """
    stream = TLSStream(transport, context, server_side=False, server_name=server_name or None)
    try:
        await stream.do_handshake()
        return stream, _binding_of(stream, pin)
    except BaseException as exc:
        with trio.CancelScope(shield=True):  # or a cancellation from outside would replace the error
            await trio.aclose_forcefully(transport)
        for kind, meaning in _MEANINGS.items():
            if isinstance(exc, kind):
                exc.__traceback__ = None  # as in `_read_into`
                raise CarrierError(meaning) from exc
        raise


def _binding_of(stream: TLSStream, pin: bytes) -> bytes:
    """The channel binding. Raises CarrierError where the peer is not the exit, ValueError where its certificate cannot be read."""
    if stream.version != "TLSv1.3":
        raise CarrierError("what listens at the exit's address speaks an older TLS than 1.3: nothing was sent to it")
    certificate = stream.peer_certificate
    if not hmac.compare_digest(pin_of(certificate), pin):
        raise CarrierError(
            "the exit shows another certificate than the link says, so nothing was sent to it: somebody may stand in between, "
            "or the exit was set up again; then join with its new link"
        )
    return channel_binding(certificate)
