"""The exit's answer to an authority: to who asks for it, while it is there, and to nobody else."""

from __future__ import annotations

import hashlib
import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from proxy.challenge import ALPN, FILE_NAME, answer_to, context_for
from proxy.tls import BROWSER_ALPN, TLSStream

if TYPE_CHECKING:
    from tests.memory import Identity

PROOF = "token.thumbprint"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    path.write_bytes(answer_to("exit.example", PROOF))
    return path


def client_hello(*protocols: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="exit.example").do_handshake()
    return outgoing.read()


def test_it_is_for_who_asks_for_it_and_nothing_else(path: Path) -> None:
    asks = client_hello(ALPN)
    assert context_for(path, asks) is not None
    enough = asks.index(ALPN.encode()) + len(ALPN)
    for size in (*range(12), *range(12, len(asks), 10), enough - 1, enough):
        assert (context_for(path, asks[:size]) is not None) == (size >= enough), size
    for others in (["h2", "http/1.1"], [ALPN, "h2"], ["h2", ALPN], ["acme-tls/2"]):
        assert context_for(path, client_hello(*others)) is None


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    assert context_for(Path("/nowhere/acme-challenge.pem"), data) is None


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_there_is_none_or_a_broken_one(path: Path, content: bytes | None) -> None:
    path.unlink() if content is None else path.write_bytes(content)
    assert context_for(path, client_hello(ALPN)) is None


def test_the_certificate_is_as_the_document_says(path: Path) -> None:
    """RFC 8737, section 3."""
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["exit.example"]
    proof = found.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert proof.critical
    assert proof.value.public_bytes() == b"\x04\x20" + hashlib.sha256(PROOF.encode()).digest()


def der_in(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


class Peers:
    """An exit that has such a file, and who connects to it."""

    def __init__(self, server: Identity, path: Path, protocols: list[str], step: int) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        self.exit = TLSStream(ours, server.context, server_side=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(protocols)
        self.client = trio.SSLStream(InPieces(theirs, step), context, server_hostname="exit.example")
        self.choose = partial(context_for, path)

    async def shake_hands(self) -> tuple[str | None, bytes]:
        """What was agreed, and the certificate."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.client.do_handshake)
            await self.exit.do_handshake(self.choose)
        return self.client.selected_alpn_protocol(), self.client.getpeercert(binary_form=True)


class InPieces(trio.abc.Stream):
    """What is sent arrives in pieces of this size."""

    def __init__(self, stream: trio.abc.Stream, step: int) -> None:
        self.stream, self.step = stream, step

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for at in range(0, len(data), self.step):
            await self.stream.send_all(data[at : at + self.step])
            await trio.testing.wait_all_tasks_blocked()

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.stream.aclose()


@pytest.mark.parametrize("step", [7, 200, 100_000])
async def test_a_handshake(path: Path, server: Identity, step: int) -> None:
    agreed, shown = await Peers(server, path, [ALPN], step).shake_hands()
    assert agreed == ALPN
    assert shown == der_in(path)
    for protocols, expected in ((BROWSER_ALPN, "http/1.1"), ([ALPN, "http/1.1"], "http/1.1")):
        agreed, other = await Peers(server, path, protocols, step).shake_hands()
        assert (agreed, other == shown) == (expected, False)


async def test_without_a_file_everybody_gets_the_same(tmp_path: Path, server: Identity) -> None:
    path = tmp_path / "nowhere"
    with_it = await Peers(server, path, [ALPN], 100_000).shake_hands()
    without = await Peers(server, path, ["acme-tls/2"], 100_000).shake_hands()
    assert with_it == without
