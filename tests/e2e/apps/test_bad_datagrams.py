"""What no app ought to send to the real port: each has its effect or none, and nobody else is disturbed."""

from __future__ import annotations

import functools
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pytest
import trio

from tests.e2e.apps import connect_by_socks, curl
from tests.e2e.apps.echo import HOST, tcp_echo, udp_echo
from tests.e2e.apps.socks_udp import (
    Association,
    RefusedError,
    ask_for_association,
    associate,
    datagram_socket,
    header,
    split,
    wait_for_tunnel,
)
from tests.e2e.machine import wait_until
from tests.e2e.pairs import start_pair
from tests.e2e.servers import make_body
from tests.lab.programs import receive_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.apps.socks_udp import Where
    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Nginx

pytestmark = pytest.mark.e2e

GENERAL_FAILURE = 1  # RFC 1928, section 6
LARGEST = 65_507  # all that IPv4 leaves to a datagram
PATIENCE_SECONDS = 60
#: Of the local side, and of one device at the exit, where nobody sets another one.
MOST = 1024
ATTEMPTS, AT_ONCE = 10_000, 100
#: What may come beside: another connection to the exit, which takes the place of one.
CARRIERS = 2
AGAIN_SECONDS = 1.0
FLOOD, FLOOD_SIZE, LAST = 50_000, 1000, b"the last one"
MB = 1_000_000
#: What both programs may grow by at most. What of a flood waits is bounded by 128 KiB here and there.
GROWTH = 64 * MB
DOWNLOAD = 20 * MB


@contextmanager
def running(programs: Programs) -> Iterator[Pair]:
    pair = start_pair(programs)
    wait_for_tunnel(pair)
    yield pair
    for program in pair.programs:
        program.stop()


@pytest.fixture(scope="module")
def own_pair(programs: Programs) -> Iterator[Pair]:
    """Its memory is looked at."""
    with running(programs) as pair:
        yield pair


@pytest.fixture
def fresh_pair(programs: Programs) -> Iterator[Pair]:
    """Its associations are counted, so none may be left of another test."""
    with running(programs) as pair:
        yield pair


# ---- datagrams that are none


def malformed(there: Where) -> list[bytes]:
    whole = header(there)
    cut = [whole[:size] for size in range(len(whole))]
    names = [b"\0\0\0\3", b"\0\0\0\3\0\0\7", b"\0\0\0\3\xff" + b"a" * 200, b"\0\0\0\3\1\xff\0\7x"]
    unknown = [bytes([0, 0, 0, kind]) + whole[4:] + b"unknown" for kind in (0, 2, 5, 255)]
    fragments = [header(there, fragment=number) + b"fragment" for number in (1, 2, 127, 128, 255)]
    return [*cut, *names, *unknown, *fragments, b"x" * LARGEST, os.urandom(1400)]


async def test_malformed(own_pair: Pair) -> None:
    """None of them has an answer, and what comes after them has."""
    async with udp_echo() as there, associate(own_pair.port) as app:
        for number, datagram in enumerate(malformed(there)):
            await app.send_raw(datagram)
            good = str(number).encode()
            assert await app.ask(there, good) == (there, good)


async def test_the_longest(own_pair: Pair) -> None:
    """As much as one datagram of the app holds beside its header comes and goes whole."""
    async with udp_echo() as there, associate(own_pair.port) as app:
        data = os.urandom(LARGEST - len(header(there)))
        assert await app.ask(there, data) == (there, data)


async def test_an_answer_that_is_too_long(own_pair: Pair) -> None:
    """It fits into no datagram with its sender's address before it, so the app does not get it."""
    with datagram_socket() as server:
        async with associate(own_pair.port) as app:
            there = server.getsockname()
            await app.send(there, b"hello")
            with trio.fail_after(PATIENCE_SECONDS):
                _, sender = await server.recvfrom(10)
                await server.sendto(bytes(LARGEST), sender)
                await server.sendto(b"short", sender)
                assert await app.receive() == (there, b"short")


async def test_nobody_else_may_send(own_pair: Pair) -> None:
    """Neither from another address, however early, nor from another port, once the app has spoken."""
    async with udp_echo() as there, associate(own_pair.port) as app:
        with datagram_socket("127.0.0.2") as stranger, datagram_socket() as neighbour:
            await stranger.sendto(header(there) + b"stranger", app.relay)
            assert await app.ask(there, b"first") == (there, b"first")
            await stranger.sendto(header(there) + b"stranger", app.relay)
            await neighbour.sendto(header(there) + b"neighbour", app.relay)
            assert await app.ask(there, b"second") == (there, b"second")


async def test_it_ends_with_its_connection(own_pair: Pair) -> None:
    """Then nobody is at its port, as the kernel says."""
    async with udp_echo() as there, associate(own_pair.port) as app:
        assert await app.ask(there, b"hello") == (there, b"hello")
        await app.control.aclose()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.connect(app.relay)
            await trio.to_thread.run_sync(wait_until, functools.partial(_is_closed, other), "a closed port")


def _is_closed(connected: socket.socket) -> bool:
    try:
        connected.send(b"knock")
    except ConnectionRefusedError:
        return True
    return False


# ---- too many associations


class Held:
    """As many as there are to be had."""

    def __init__(self) -> None:
        self.controls: list[trio.SocketStream] = []
        self.relays: list[Where] = []
        self.replies: list[int] = []

    async def open(self, proxy_port: int, attempts: int) -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for _ in range(attempts):
                await limit.acquire_on_behalf_of(token := object())
                nursery.start_soon(self._open_one, proxy_port, limit, token)

    async def _open_one(self, proxy_port: int, limit: trio.CapacityLimiter, token: object) -> None:
        control = await trio.open_tcp_stream(HOST, proxy_port)
        try:
            self.relays.append(await ask_for_association(control))
            self.controls.append(control)
        except RefusedError as refused:
            self.replies.append(refused.reply)
            await control.aclose()
        except BaseException:
            control.socket.close()
            raise
        finally:
            limit.release_on_behalf_of(token)

    async def answer(self, there: Where, number: int) -> None:
        """Returns when so many of them have carried a datagram there and back. All of them try, again and again."""
        answered: set[Where] = set()
        async with trio.open_nursery() as nursery:

            async def ask(control: trio.SocketStream, relay: Where) -> None:
                app = Association(control, relay, datagram_socket())
                try:
                    while relay not in answered:
                        with trio.move_on_after(AGAIN_SECONDS):
                            await app.ask(there, b"hello")
                            answered.add(relay)
                finally:
                    app.close()
                if len(answered) == number:
                    nursery.cancel_scope.cancel()

            for control, relay in zip(self.controls, self.relays, strict=True):
                nursery.start_soon(ask, control, relay)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for control in self.controls:
            control.socket.close()


async def test_ten_thousand_associations(fresh_pair: Pair) -> None:
    there_and_here = fresh_pair.programs
    descriptors = [program.descriptors() for program in there_and_here]
    memory = [program.resident() for program in there_and_here]
    async with udp_echo() as there:
        with Held() as held:
            await held.open(fresh_pair.port, ATTEMPTS)
            assert len(held.controls) == MOST
            assert held.replies == [GENERAL_FAILURE] * (ATTEMPTS - MOST)
            with trio.fail_after(PATIENCE_SECONDS):
                await held.answer(there, MOST)
            bounds = (MOST, 2 * MOST)
            for program, before, most in zip(there_and_here, descriptors, bounds, strict=True):
                assert program.descriptors() - before <= most + CARRIERS
            for program, before in zip(there_and_here, memory, strict=True):
                assert program.resident() - before < GROWTH

        def free() -> bool:
            return all(
                program.descriptors() <= before + CARRIERS
                for program, before in zip(there_and_here, descriptors, strict=True)
            )

        await trio.to_thread.run_sync(wait_until, free, "all is free again")
        async with associate(fresh_pair.port) as app:
            assert await app.ask(there, b"as before") == (there, b"as before")
    # A line each minute, and not one for each of them.
    assert 1 <= len(fresh_pair.local.program.lines("the most at once")) <= 3


# ---- a flood


class Flooded:
    """What is seen of a flood, and beside it."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.answers = 0
        self.lines = 0
        self.downloads = 0
        self._last_came = False

    async def flood(self, relay: Where, there: Where) -> None:
        """As fast as one thread can. The answers are read by another one; then a last datagram is sent until its answer is there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as app:
            app.bind((HOST, 0))
            app.settimeout(PATIENCE_SECONDS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, self._count, app, there)
                await trio.to_thread.run_sync(_send_all, app, relay, header(there))
                self.over.set()
                while not self._last_came:
                    app.sendto(header(there) + LAST, relay)
                    await trio.sleep(AGAIN_SECONDS / 10)

    def _count(self, app: socket.socket, there: Where) -> None:
        """Everything that comes was sent, once. Ends with the last one."""
        seen: set[int] = set()
        while not self._last_came:
            sender, data = split(app.recv(65_535))
            assert sender == there
            if data == LAST:
                self._last_came = True
                continue
            assert len(data) == FLOOD_SIZE
            number = int.from_bytes(data[:4], "big")
            assert number < FLOOD
            assert number not in seen
            seen.add(number)
        self.answers = len(seen)

    async def talk(self, proxy_port: int, there: Where) -> None:
        """A line after the other, each with its answer, until the flood is over."""
        _, connection = await trio.to_thread.run_sync(connect_by_socks, proxy_port, *there)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(connection)) as stream:
            while not self.over.is_set():
                line = f"line {self.lines}".encode()
                await stream.send_all(line)
                assert await receive_exactly(stream, len(line)) == line
                self.lines += 1

    async def download(self, url: list[str | Path], digest: str, folder: Path) -> None:
        """Again and again until the flood is over; whole, every time."""
        while not self.over.is_set():
            answer = await trio.to_thread.run_sync(functools.partial(curl, *url, folder=folder))
            assert (answer.code, answer.complaint, answer.digest) == (0, "", digest)
            self.downloads += 1


def _send_all(app: socket.socket, relay: Where, start: bytes) -> None:
    for number in range(FLOOD):
        app.sendto(start + number.to_bytes(4, "big").ljust(FLOOD_SIZE, b"\0"), relay)


async def test_a_flood(own_pair: Pair, nginx: Nginx, folder: Path) -> None:
    """Most of it is dropped somewhere on its way, as on any network. A chat and a download beside it get all that is theirs."""
    memory = [program.resident() for program in own_pair.programs]
    body = make_body(nginx.site / "beside-a-flood", DOWNLOAD)
    url: list[str | Path] = ["-x", own_pair.local.url("socks5h"), nginx.url("http", body.path.name)]
    flooded = Flooded()
    async with udp_echo() as udp, tcp_echo() as tcp, associate(own_pair.port) as app:
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flooded.talk, own_pair.port, tcp)
                nursery.start_soon(flooded.download, url, body.digest, folder)
                nursery.start_soon(flooded.flood, app.relay, udp)
    print(f"{flooded.answers} of {FLOOD} answers, {flooded.lines} lines and {flooded.downloads} downloads meanwhile")
    assert flooded.answers > 0
    assert flooded.lines > 0
    assert flooded.downloads > 0
    for program, before in zip(own_pair.programs, memory, strict=True):
        assert program.resident() - before < GROWTH
    body.path.unlink()
