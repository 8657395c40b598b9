"""TLS over memory: trio's conformance checks, what a censor sees of the hello, and every way in which a connection can go wrong."""

from __future__ import annotations

import gc
import hashlib
import itertools
import random
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme
import utls
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from trio.testing import check_half_closeable_stream, lockstep_stream_pair, memory_stream_pair

from proxy import tls
from proxy.errors import CarrierError, ConfigError
from proxy.keys import new_certificate
from proxy.tls import TLSStream, connect_tls, exit_context, local_context
from tests.memory import Cable, End, Identity, identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

#: A record of application data with a body that nobody has sealed.
FORGED = b"\x17\x03\x03\x00\x20" + bytes(32)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("ours"), *new_certificate("exit.example"))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def vouched(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Identity:
    issued = authority.issue_cert("exit.example")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return identity(tmp_path_factory.mktemp("vouched"), chain, issued.private_key_pem.bytes())


@pytest.fixture(params=["utls", "ssl"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the local side's TLS is made of: the second where there is no wheel of the first."""
    monkeypatch.setattr(tls, "looks_like_a_browser", request.param == "utls")
    return utls if request.param == "utls" else ssl


@pytest.fixture
def context(library: Any) -> Any:
    made = local_context(roots=False)
    assert isinstance(made, library.SSLContext)
    return made


async def connected(
    context: Any, server: Identity, near: trio.abc.HalfCloseableStream, far: trio.abc.HalfCloseableStream
) -> tuple[TLSStream, TLSStream]:
    """The local side's end and the exit's, after the handshake and the tickets that follow it."""
    other = TLSStream(far, server.context, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.do_handshake)
        one, _ = await connect_tls(near, context, "exit.example", server.pin)
        with trio.CancelScope() as reading:  # takes the tickets, for which there may be no room otherwise
            nursery.start_soon(_cancel_when_blocked, reading)
            await one.receive_some()
    return one, other


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def over_cable(context: Any, server: Identity, cable: Cable) -> tuple[TLSStream, TLSStream]:
    return await connected(context, server, cable.near, cable.far)


async def read_all(stream: trio.abc.ReceiveStream) -> tuple[bytes, bool]:
    """What arrives, and whether the end of it was said."""
    got = bytearray()
    try:
        while data := await stream.receive_some():
            got += data
    except trio.BrokenResourceError:
        return bytes(got), False
    return bytes(got), True


# ---- a stream like any other


@pytest.mark.parametrize("end", ["forgotten", "closed", "cut", "refused", "never begun"])
async def test_connections_that_have_ended_are_not_kept_by_a_cycle(ours: Identity, context: Any, end: str) -> None:
    """Or each carrier that was reset costs 20 to 130 KB until the collector looks at the old, which may be never."""
    gc.collect()
    gc.disable()
    try:
        before = _streams()
        for _ in range(10):
            await _connect_and_end(context, ours, end)
        assert _streams() - before <= 2  # the last ones, by what runs now
    finally:
        gc.enable()


def _streams() -> int:
    return sum(isinstance(each, TLSStream) for each in gc.get_objects())


async def _connect_and_end(context: Any, server: Identity, end: str) -> None:
    cable = Cable()
    if end == "never begun":
        await cable.far.send_all(FORGED)
        with pytest.raises(CarrierError):
            await connect_tls(cable.near, context, "exit.example", server.pin)
        return
    one = TLSStream(cable.near, context, server_side=False, server_name="exit.example")
    other = TLSStream(cable.far, server.context, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.do_handshake)
        nursery.start_soon(one.do_handshake)
    if end == "closed":
        await one.aclose()
    elif end == "cut":
        cable.cut()
        assert await read_all(one) == (b"", False)
    elif end == "refused":
        await cable.far.send_all(FORGED)
        assert await read_all(one) == (b"", False)
    for stream in (one, other):
        await trio.aclose_forcefully(stream)


async def test_what_was_read_is_not_kept_by_a_cycle(ours: Identity, context: Any) -> None:
    """Or megabytes of a download stay until the collector looks, which is after thousands of reads."""
    one, other = await over_cable(context, ours, Cable())
    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            for size in [40_000] * 20:
                nursery.start_soon(other.send_all, bytes(size))
                got = 0
                while got < size:
                    got += len(await one.receive_some())
        assert gc.collect() < 20  # a cycle for each read would be thousands of objects
    finally:
        gc.enable()


async def test_it_keeps_trios_contract(ours: Identity, context: Any) -> None:
    async def make() -> tuple[TLSStream, TLSStream]:
        return await connected(context, ours, *memory_stream_pair())

    async def make_clogged() -> tuple[TLSStream, TLSStream]:
        return await connected(context, ours, *lockstep_stream_pair())

    await check_half_closeable_stream(make, make_clogged)


@pytest.mark.parametrize("seed", range(3))
async def test_big_transfers_arrive_whole_however_they_are_cut(ours: Identity, context: Any, seed: int) -> None:
    rng = random.Random(seed)
    one, other = await over_cable(context, ours, Cable(room=100_000, pieces=lambda: rng.choice((1, 5, 1000, 70_000))))
    up, down = rng.randbytes(400_000), rng.randbytes(400_000)

    async def send(stream: TLSStream, data: bytes) -> None:
        while data:
            size = rng.choice((1, 100, 16_383, 16_385, 100_000))
            await stream.send_all(data[:size])
            data = data[size:]

    async def receive(stream: TLSStream, expected: bytes) -> None:
        digest, size = hashlib.sha256(), 0
        while size < len(expected):
            limit = rng.choice((None, 1, 100, 20_000))
            data = await stream.receive_some(limit)
            assert 0 < len(data) <= (limit or tls.READ_SIZE)
            digest.update(data)
            size += len(data)
        assert digest.digest() == hashlib.sha256(expected).digest()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, one, up)
        nursery.start_soon(receive, other, up)
        nursery.start_soon(send, other, down)
        nursery.start_soon(receive, one, down)


@pytest.mark.parametrize("kind", ["memory", "sockets"])
async def test_what_is_sent_at_once_and_what_waits_are_one_stream(ours: Identity, context: Any, kind: str) -> None:
    """Sockets take a part of it at once, and memory nothing."""
    rng = random.Random(7)
    if kind == "memory":
        ends: Any = memory_stream_pair()
    else:
        ends = [trio.SocketStream(end) for end in trio.socket.socketpair()]
    one, other = await connected(context, ours, *ends)
    assert (one.tcp is None) == (kind == "memory")
    data = rng.randbytes(3_000_000)
    waited = 0

    async def send() -> None:
        nonlocal waited
        rest = data
        while rest:
            size = rng.choice((1, 100, 16_383, 16_385, 100_000, 500_000))
            piece, rest = rest[:size], rest[size:]
            if await one.send_soon(piece):
                waited += 1
                more = rng.choice((0, 10))
                await one.send_all(rest[:more])
                rest = rest[more:]
        await one.send_eof()

    async with one, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            got, ended = await read_all(other)
        assert got == data
        assert ended
        assert waited


@pytest.mark.parametrize("cuts", [(4, 5, 6, 16_405, 16_406, 16_407), (16_406,), (100_000,)])
async def test_records_cut_and_read_around_their_boundaries(
    ours: Identity, context: Any, cuts: tuple[int, ...]
) -> None:
    choose = random.Random(1)
    ends = await over_cable(context, ours, Cable(pieces=lambda: choose.choice(cuts)))
    for size, limit in itertools.product(
        (1, 16_383, 16_384, 16_385, 32_768, 49_153), (16_383, 16_384, 16_385, 40_000, None)
    ):
        data = choose.randbytes(size)
        for receiver, sender in (ends, ends[::-1]):
            got = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, data)
                while len(got) < size:
                    piece = await receiver.receive_some(limit)
                    assert 0 < len(piece) <= (limit or size)
                    got += piece
            assert got == data


@pytest.mark.parametrize(
    "garbage", [b"\x99\x03\x03\x00\x20", b"\x17\x01\x01\x00\x20", b"\x17\x03\x03\xff\xff", b"GET / HTTP/1.1\r\n"]
)
async def test_what_begins_no_record_is_judged_at_once(
    ours: Identity, context: Any, garbage: bytes, autojump_clock: MockClock
) -> None:
    """Whoever waits for the rest of it tells that it is no server like others."""
    cable = Cable()
    _, other = await over_cable(context, ours, cable)
    await cable.near.send_all(garbage)
    with trio.fail_after(1):
        assert await read_all(other) == (b"", False)


async def test_one_read_takes_everything_that_came(ours: Identity, context: Any) -> None:
    one, other = await over_cable(context, ours, Cable())
    for stream, peer in ((one, other), (other, one)):
        await peer.send_all(bytes(100_000))
        assert len(await stream.receive_some()) == 100_000


async def test_a_cancelled_read_loses_nothing(ours: Identity, context: Any) -> None:
    one, other = await over_cable(context, ours, Cable())
    for stream, peer in ((one, other), (other, one)):
        await peer.send_all(b"abc")
        assert await stream.receive_some(1) == b"a"
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_some(1)
        assert await stream.receive_some() == b"bc"


# ---- the end


async def test_the_end_is_told_and_stays(ours: Identity, context: Any) -> None:
    one, other = await over_cable(context, ours, Cable())
    await one.send_all(b"last words")
    await one.aclose()
    assert await other.receive_some() == b"last words"
    assert await other.receive_some() == b""
    assert await other.receive_some() == b""
    await other.aclose()


async def test_who_has_ended_still_hears_the_answer(ours: Identity, context: Any) -> None:
    for side in (0, 1):
        ends = await over_cable(context, ours, Cable())
        asker, answerer = ends[side], ends[1 - side]
        await asker.send_all(b"a question")
        await asker.send_eof()
        assert await read_all(answerer) == (b"a question", True)
        await answerer.send_all(bytes(100_000))
        await answerer.aclose()
        assert await read_all(asker) == (bytes(100_000), True)
        await asker.aclose()


@pytest.mark.parametrize("side", [0, 1])
async def test_a_cable_cut_anywhere_is_no_end(ours: Identity, context: Any, side: int) -> None:
    """Truncation must never look like the end that the peer said (Terrapin's lesson, and RFC 8446, section 6.1)."""
    data = random.Random(0).randbytes(40_000)
    for passes in [*range(7), 16, 20, 21, 22, 23, 29, 16_384, 16_405, 16_406, 16_407, 20_000, 40_000]:
        cable = Cable()
        ends = await over_cable(context, ours, cable)
        cable.lasts = passes + 1
        with pytest.raises(trio.BrokenResourceError):
            await ends[side].send_all(data + data)
        got, ended = await read_all(ends[1 - side])
        assert not ended
        assert (data + data).startswith(got)
        assert len(got) >= passes // 16_407 * 16_384
        for stream in ends:
            await stream.aclose()


async def test_a_handshake_cut_anywhere_is_a_clear_failure(ours: Identity, context: Any) -> None:
    """Where only the tickets are missing the local side is up, and hears of it when it reads."""
    whole = Cable()
    await over_cable(context, ours, whole)
    early, late = 0, 0
    # Two handshakes differ in length: a browser's hello by up to 96 bytes (its decoy of ECH), signatures by a few.
    for lasts in range(1, len(whole.near.sent) + len(whole.far.sent) - 110, 97):
        cable = Cable(lasts=lasts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaks, TLSStream(cable.far, ours.context, server_side=True).do_handshake)
            try:
                one, _ = await connect_tls(cable.near, context, "exit.example", ours.pin)
            except CarrierError:
                assert cable.near.closed
                early += 1
            else:
                assert await read_all(one) == (b"", False)
                late += 1
    assert early > late > 0


async def breaks(call: Callable[..., Any], *args: Any) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await call(*args)


@pytest.mark.parametrize("passes", [0, 1, 4, 5, 21, 22, 16_406, 16_407, 30_000])
@pytest.mark.parametrize("side", [0, 1])
async def test_a_cancelled_send_leaves_no_end_behind(
    ours: Identity, context: Any, passes: int, side: int, autojump_clock: MockClock
) -> None:
    """It is cut off in the middle of a record, so what follows it means nothing, and least of all that everything was sent."""
    cable = Cable()
    ends = await over_cable(context, ours, cable)
    data = random.Random(0).randbytes(40_000)
    cable.room = passes
    with trio.move_on_after(1) as scope:
        await ends[side].send_all(data)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends[side].aclose)
        got, ended = await read_all(ends[1 - side])
    assert not ended
    assert data.startswith(got)
    assert len(got) < len(data)


async def test_a_close_does_not_wait_for_a_peer_that_does_not_read(
    ours: Identity, context: Any, autojump_clock: MockClock
) -> None:
    cable = Cable()
    one, other = await over_cable(context, ours, cable)
    cable.room = 0
    for stream, end in ((one, cable.near), (other, cable.far)):
        start = trio.current_time()
        await stream.aclose()
        assert trio.current_time() - start <= 1
        assert end.closed


async def test_a_close_wakes_who_reads_and_who_sends(ours: Identity, context: Any, autojump_clock: MockClock) -> None:
    cable = Cable()
    one, _ = await over_cable(context, ours, cable)
    cable.room = 10

    async def closed(call: Callable[..., Any], *args: Any) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await call(*args)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed, one.receive_some)
        nursery.start_soon(closed, one.send_all, bytes(1000))
        await trio.testing.wait_all_tasks_blocked()
        await one.aclose()


# ---- garbage


async def test_a_forged_record_is_answered_with_an_alert(ours: Identity, context: Any) -> None:
    """As by every server on OpenSSL, also before the first byte of the application."""
    cable = Cable()
    _, other = await over_cable(context, ours, cable)
    before = len(cable.far.sent)
    await cable.near.send_all(FORGED)
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()
    assert len(cable.far.sent) > before


async def test_a_forged_record_breaks_it_for_good(ours: Identity, context: Any) -> None:
    """What came before it is delivered."""
    for side in (0, 1):
        cable = Cable()
        ends = await over_cable(context, ours, cable)
        peer, end = ends[1 - side], (cable.far, cable.near)[side]
        await peer.send_all(b"good")
        await end.send_all(FORGED)
        got, ended = await read_all(ends[side])
        assert (got, ended) == (b"good", False)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await ends[side].receive_some()


@pytest.mark.parametrize("position", [0, 3, 5, 12, -1])
async def test_a_changed_byte_breaks_it(ours: Identity, context: Any, position: int) -> None:
    for side in (0, 1):
        cable = Cable()
        ends = await over_cable(context, ours, cable)
        sender, end = ends[side], (cable.near, cable.far)[side]
        before = len(end.sent)
        cable.silent = True
        await sender.send_all(b"what was said")
        record = bytearray(end.sent[before:])
        record[position] ^= 1
        cable.silent = False
        await end.send_all(record)
        await end.send_eof()
        assert await read_all(ends[1 - side]) == (b"", False)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x05\x01\x00", bytes(100), b"\x16\x03\x01"]
)
async def test_garbage_instead_of_a_handshake(ours: Identity, context: Any, garbage: bytes) -> None:
    cable = Cable()
    await cable.near.send_all(garbage)
    await cable.near.send_eof()
    with pytest.raises((ssl.SSLError, trio.BrokenResourceError)):
        await TLSStream(cable.far, ours.context, server_side=True).do_handshake()
    cable = Cable()
    await cable.far.send_all(garbage)
    await cable.far.send_eof()
    with pytest.raises(CarrierError, match="no Ropeway exit listens there"):
        await connect_tls(cable.near, context, "exit.example", ours.pin)
    assert cable.near.closed


# ---- versions and what is agreed


def only_tls_1_2(context: Any) -> Any:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def test_the_exit_speaks_nothing_older_than_tls_1_3(ours: Identity) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    cable = Cable()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            with pytest.raises(ssl.SSLError):
                await TLSStream(cable.far, ours.context, server_side=True).do_handshake()

        with pytest.raises(ssl.SSLError, match=r"(?i)version"):
            await TLSStream(cable.near, only_tls_1_2(old), server_side=False).do_handshake()


async def test_the_local_side_speaks_nothing_older_than_tls_1_3(tmp_path: Path, context: Any) -> None:
    old = identity(tmp_path, *new_certificate("exit.example"))
    only_tls_1_2(old.context)
    cable = Cable()
    async with trio.open_nursery() as nursery:
        server = TLSStream(cable.far, old.context, server_side=True)
        heard: list[bytes] = []

        @nursery.start_soon
        async def serve() -> None:
            try:
                await server.do_handshake()
                heard.append(await server.receive_some())
            except (ssl.SSLError, trio.BrokenResourceError):
                pass

        with pytest.raises(CarrierError) as caught:
            await connect_tls(cable.near, context, "exit.example", old.pin)
    assert is_one_line(str(caught.value))
    assert not any(heard)
    assert cable.near.closed


def is_one_line(text: str) -> bool:
    return text.isprintable() and len(text) > 20


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
async def test_the_website_agrees_to_what_it_speaks(ours: Identity, offered: list[str], agreed: str | None) -> None:
    visitor = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    visitor.check_hostname, visitor.verify_mode = False, ssl.CERT_NONE
    if offered:
        visitor.set_alpn_protocols(offered)
    one, other = await over_cable(visitor, ours, Cable())
    assert one._tls.selected_alpn_protocol() == other._tls.selected_alpn_protocol() == agreed


async def test_the_exit_takes_the_cipher_that_a_browser_likes_best(ours: Identity) -> None:
    _, exit_side = await over_cable(local_context(roots=False), ours, Cable())
    assert exit_side._tls.cipher()[0] == "TLS_AES_128_GCM_SHA256"


# ---- the certificate


async def test_the_pin_decides_and_the_binding_is_the_certificates(ours: Identity, context: Any) -> None:
    cable = Cable()
    server = TLSStream(cable.far, ours.context, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        stream, binding = await connect_tls(cable.near, context, "", ours.pin)
    assert binding == ours.binding
    assert stream.peer_certificate == ours.der
    assert not cable.near.closed


async def refused(server: Identity, context: Any, name: str, pin: bytes) -> str:
    """Why the local side will have nothing to do with this server; nothing was said inside TLS."""
    cable = Cable()
    other = TLSStream(cable.far, server.context, server_side=True)
    heard: list[bytes] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            try:
                await other.do_handshake()
                heard.append(await other.receive_some())
            except (ssl.SSLError, trio.BrokenResourceError):
                pass

        with pytest.raises(CarrierError) as caught:
            await connect_tls(cable.near, context, name, pin)
    assert not any(heard)
    assert cable.near.closed
    assert is_one_line(str(caught.value))
    return str(caught.value)


async def test_another_certificate_is_told_nothing(ours: Identity, vouched: Identity, context: Any) -> None:
    assert "another certificate" in await refused(ours, context, "exit.example", vouched.pin)


async def test_roots_that_do_not_vouch(ours: Identity, library: Any) -> None:
    why = await refused(ours, local_context(roots=True), "exit.example", ours.pin)
    assert "roots" in why


async def test_roots_that_vouch_do_not_replace_the_pin(
    ours: Identity, vouched: Identity, authority: trustme.CA, library: Any
) -> None:
    context = local_context(roots=True)
    context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    await connected(context, vouched, *ends_of(Cable()))
    assert "another certificate" in await refused(vouched, context, "exit.example", ours.pin)


async def test_roots_vouch_for_the_name_too(vouched: Identity, authority: trustme.CA, library: Any) -> None:
    context = local_context(roots=True)
    context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    assert "roots" in await refused(vouched, context, "other.example", vouched.pin)


def ends_of(cable: Cable) -> tuple[End, End]:
    return cable.near, cable.far


async def test_a_certificate_that_cannot_be_read(tmp_path: Path, ours: Identity, context: Any) -> None:
    """Whoever stands in between chooses it, and TLS libraries take more than others: it must not stop the program."""
    strange = tmp_path / "strange.pem"
    strange.write_bytes(version_2_certificate())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(strange)
    assert "certificate" in await refused(Identity(ours.der, server), context, "exit.example", ours.pin)


def version_2_certificate() -> bytes:
    """X.509 version 2 was never used; its signature does not fit, which nobody checks of a certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    template = x509.load_pem_x509_certificate(new_certificate("exit.example")[0])
    made = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    der = made.public_bytes(Encoding.DER)
    version_3, version_2 = bytes.fromhex("a003020102"), bytes.fromhex("a003020101")
    assert der.count(version_3) == 1
    pem = ssl.DER_cert_to_PEM_cert(der.replace(version_3, version_2)).encode()
    return pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def test_a_cancelled_connect_closes_its_transport(ours: Identity, context: Any) -> None:
    cable = Cable()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_blocked, scope)
            await connect_tls(cable.near, context, "exit.example", ours.pin)
    assert cable.near.closed


# ---- what a censor sees


@dataclass(frozen=True)
class ClientHello:
    """RFC 8446, section 4.1.2."""

    version: int
    ciphers: list[int]
    extensions: list[tuple[int, bytes]]

    @classmethod
    def parse(cls, data: bytes) -> ClientHello:
        reader = Reader(data)
        assert reader.number(1) == 22, "a record of a handshake"
        reader.number(2)
        message = Reader(reader.vector(2))
        assert not reader.left, "one record"
        assert message.number(1) == 1, "a ClientHello"
        body = Reader(message.vector(3))
        version = body.number(2)
        body.take(32)
        body.vector(1)
        ciphers = Reader(body.vector(2)).numbers()
        assert body.vector(1) == b"\0"
        fields, extensions = Reader(body.vector(2)), []
        while fields.left:
            extensions.append((fields.number(2), fields.vector(2)))
        return cls(version, ciphers, extensions)

    def extension(self, number: int) -> bytes:
        (data,) = [data for kind, data in self.extensions if kind == number]
        return data

    @property
    def types(self) -> list[int]:
        return [kind for kind, _ in self.extensions]


class Reader:
    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, size: int) -> bytes:
        assert len(self.left) >= size
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def numbers(self) -> list[int]:
        found = []
        while self.left:
            found.append(self.number(2))
        return found


def is_grease(number: int) -> bool:
    """RFC 8701."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


SERVER_NAME, GROUPS, ALPN, SESSION_TICKET, VERSIONS, KEY_SHARE = 0, 10, 16, 35, 43, 51


async def hello_to(name: str, context: Any) -> ClientHello:
    cable = Cable(lasts=1 << 20)
    await cable.far.send_eof()
    with pytest.raises(CarrierError):
        await connect_tls(cable.near, context, name, bytes(32))
    return ClientHello.parse(bytes(cable.near.sent))


async def test_the_hello_is_that_of_chromium() -> None:
    """What JA4 counts, and where Chromium greases. It has offered TLS 1.2 and its ciphers all the time, used or not."""
    hello = await hello_to("exit.example", local_context(roots=False))
    assert hello.version == 0x0303
    grease, *ciphers = hello.ciphers
    assert is_grease(grease)
    assert ciphers[:3] == [0x1301, 0x1302, 0x1303]
    assert len(ciphers) == 15, "with the 12 that Chromium offers for TLS 1.2"
    versions = Reader(hello.extension(VERSIONS)[1:]).numbers()
    assert is_grease(versions[0])
    assert versions[1:] == [0x0304, 0x0303]
    assert is_grease(hello.types[0])
    assert is_grease(hello.types[-1])
    assert hello.extension(ALPN) == b"\x00\x0c\x02h2\x08http/1.1"
    assert is_grease(Reader(hello.extension(GROUPS)[2:]).numbers()[0])
    assert is_grease(Reader(hello.extension(KEY_SHARE)[2:]).number(2))
    assert SESSION_TICKET in hello.types
    assert hello.extension(SERVER_NAME) == b"\x00\x0f\x00\x00\x0cexit.example"


async def test_no_two_hellos_are_alike() -> None:
    """Chromium shuffles its extensions, and each connection has its own grease."""
    context = local_context(roots=False)
    hellos = [await hello_to("exit.example", context) for _ in range(4)]
    orders = {tuple(kind for kind in hello.types if not is_grease(kind)) for hello in hellos}
    assert len(orders) > 1
    assert len({frozenset(order) for order in orders}) == 1
    assert len({hello.ciphers[0] for hello in hellos} | {hello.types[0] for hello in hellos}) > 1


async def test_the_name_is_sent_where_there_is_one(context: Any) -> None:
    named, bare = await hello_to("exit.example", context), await hello_to("", context)
    assert SERVER_NAME in named.types
    assert SERVER_NAME not in bare.types
    assert VERSIONS in bare.types


# ---- files


@pytest.mark.parametrize("broken", ["missing", "garbage", "another key", "swapped"])
def test_files_that_cannot_be_used(tmp_path: Path, broken: str) -> None:
    certificate, key = new_certificate("exit.example")
    contents = {
        "missing": (certificate, None),
        "garbage": (certificate, b"no PEM at all"),
        "another key": (certificate, new_certificate("exit.example")[1]),
        "swapped": (key, certificate),
    }
    for name, content in zip(("cert.pem", "key.pem"), contents[broken], strict=True):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        exit_context(tmp_path / "cert.pem", tmp_path / "key.pem")
    text = str(caught.value)
    assert caught.value.field == "exit.certificate"
    assert is_one_line(text)
    assert str(tmp_path / "key.pem") in text
    assert not any(word in text for word in ("_ssl.c", "[SSL", "[X509")), "the library's words are for nobody"
