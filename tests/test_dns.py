"""The port: dnspython asks it over real sockets, and so does who means no good."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.update
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from proxy import dns as dns_module
from proxy.address import Address
from proxy.dns import IDLE, MOST_PIPELINED, DnsPort, open_port, serve_dns
from proxy.far_resolvers import FarResolvers
from proxy.name_verdict import BLOCK, DIRECT, TUNNEL, Verdict
from proxy.names import MOST_IN_FLIGHT, Names
from proxy.nameservers import Nameservers
from proxy.protocol.dns_message import LONGEST_QUERY, Framing, framed
from tests.resolvers import ONE, TWO, FarSide, NearSide, name_of, reply, usual
from tests.test_names import Near

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

LOOPBACK = "127.0.0.1"


def decide(name: str) -> Verdict:
    if name == "bug.example":
        raise ZeroDivisionError
    if name.endswith("ads.example"):
        return BLOCK
    return DIRECT if name.endswith("home.example") or "." not in name else TUNNEL


class World:
    """A port, resolvers behind a tunnel, and a nameserver of the system."""

    def __init__(self, nursery: trio.Nursery, port: DnsPort) -> None:
        self.port = port
        self.far, self.near = FarSide(nursery), NearSide()
        own = Address(LOOPBACK, port.number)
        self.names = Names(decide, FarResolvers([ONE, TWO], self.far.open), Nameservers([own], self.near.read))
        self.serving = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        with self.serving:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.near.run)
                await nursery.start(serve_dns, self.port, self.names)
                task_status.started()

    async def ask(self, name: str, rdtype: str = "A", *, tcp: bool = False, **options: object) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, **options)  # type: ignore[arg-type]
        return await self.send(query, tcp=tcp)

    async def send(self, query: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
        over = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        with trio.fail_after(30):
            return await over(query, LOOPBACK, port=self.port.number)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(LOOPBACK, self.port.number)


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    made = World(nursery, await open_port(LOOPBACK, 0))
    await nursery.start(made.run)
    yield made
    made.serving.cancel()


both = pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])


class TestAnswers:
    @both
    async def test_a_tunnelled_name(self, world: World, tcp: bool) -> None:
        answer = await world.ask("www.Example", tcp=tcp)
        assert str(answer.answer[0]) == "www.Example. 60 IN A 203.0.113.5"
        assert answer.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
        assert world.far.names == ["www.example"]
        assert world.near.queries == []

    @both
    async def test_a_direct_name(self, world: World, tcp: bool) -> None:
        answer = await world.ask("printer.home.example", tcp=tcp)
        assert str(answer.answer[0]) == "printer.home.example. 60 IN A 203.0.113.5"
        assert world.near.names == ["printer.home.example"]
        assert world.far.opened == []

    @both
    async def test_a_blocked_name(self, world: World, tcp: bool) -> None:
        answer = await world.ask("x.ads.example", tcp=tcp, use_edns=0)
        assert answer.rcode() == dns.rcode.NXDOMAIN
        (option,) = answer.options
        assert isinstance(option, dns.edns.EDEOption)
        assert option.code == dns.edns.EDECode.BLOCKED

    async def test_a_name_that_does_not_exist(self, world: World) -> None:
        answer = await world.ask("nobody.example")
        assert answer.rcode() == dns.rcode.NXDOMAIN
        assert answer.authority

    async def test_no_tunnel(self, world: World) -> None:
        world.far.zones = {}
        answer = await world.ask("www.example", use_edns=0)
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert answer.options[0].code == dns.edns.EDECode.NETWORK_ERROR

    @both
    async def test_a_long_answer(self, world: World, tcp: bool) -> None:
        world.far.zones[ONE] = lambda query: reply(query, *(f"www.example. 60 IN A 10.0.0.{i}" for i in range(150)))
        answer = await world.ask("www.example", tcp=tcp)
        assert bool(answer.flags & dns.flags.TC) is not tcp
        assert sum(map(len, answer.answer)) == 150 * tcp
        more = await world.ask("www.example", use_edns=0, payload=4096)
        assert len(more.answer[0]) == 150
        assert len(world.far.asked) == 1

    async def test_ask_again_over_tcp_as_resolvers_do(self, world: World) -> None:
        world.far.zones[ONE] = lambda query: reply(query, *(f"www.example. 60 IN A 10.0.0.{i}" for i in range(150)))
        query = dns.message.make_query("www.example", "A")
        with trio.fail_after(30):
            answer, over_tcp = await dns.asyncquery.udp_with_fallback(query, LOOPBACK, port=world.port.number)
        assert over_tcp
        assert len(answer.answer[0]) == 150

    @pytest.mark.parametrize(("name", "text"), [("1.0.0.10", "near"), ("8.8.8.8", "far")])
    async def test_reverse(self, world: World, name: str, text: str) -> None:
        await world.ask(f"{name}.in-addr.arpa", "PTR")
        asked = world.near.names if text == "near" else world.far.names
        assert asked == [f"{name}.in-addr.arpa"]
        assert len(world.near.queries) + len(world.far.asked) == 1

    @both
    async def test_a_bug_ends_no_more_than_the_question(
        self, world: World, tcp: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert (await world.ask("bug.example", tcp=tcp)).rcode() == dns.rcode.SERVFAIL
        assert "bug of Ropeway" in caplog.text
        assert (await world.ask("www.example", tcp=tcp)).answer


class TestNothingElseLeaves:
    async def test_nothing_of_the_query_but_its_question(self, world: World) -> None:
        """A name in another section, a cookie, a client's network: no rule was asked about these."""
        for name in ("www.example", "www.home.example"):
            query = dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.ECSOption("198.51.100.0", 24)])
            query.additional += reply(query, "secret.example. 60 IN A 192.0.2.66").answer
            assert (await world.send(query)).answer
        (asked,) = world.near.queries
        assert (asked.options, asked.additional, asked.flags) == ((), [], dns.flags.RD)
        assert world.near.names == ["www.home.example"]

    async def test_no_datagram_by_the_direct_way_for_tunnelled_names(self, world: World) -> None:
        names = [f"host{number}.example" for number in range(50)]
        async with trio.open_nursery() as asking:
            for name in names:
                for rdtype in ("A", "AAAA", "HTTPS"):
                    asking.start_soon(partial(world.ask, name, rdtype))
        world.far.zones = {}
        world.far.break_all()
        await world.ask("late.example")
        assert sorted(set(world.far.names)) == sorted(names)
        assert world.near.queries == []

    async def test_an_update_goes_nowhere(self, world: World) -> None:
        update = dns.update.UpdateMessage("example")
        update.add("secret", 60, "A", "192.0.2.1")
        answer = await world.send(update)
        assert answer.rcode() == dns.rcode.NOTIMP
        assert (world.near.queries, world.far.asked) == ([], [])


class TestDatagrams:
    async def test_answers_are_not_answered_and_garbage_ends_nothing(self, world: World) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.connect((LOOPBACK, world.port.number))
            query = dns.message.make_query("www.example", "A")
            for wire in (b"", b"x", dns.message.make_response(query).to_wire(), bytes(60_000), bytes(65_507)):
                await sock.send(wire)
            await sock.send(query.to_wire())
            with trio.fail_after(30):
                answers = [dns.message.from_wire(await sock.recv(65_535)) for _ in range(3)]
            assert [answer.rcode() for answer in answers if not answer.question] == [dns.rcode.FORMERR] * 2
            assert [answer.id for answer in answers if answer.question] == [query.id]

    async def test_who_asks_and_goes(self, world: World) -> None:
        for _ in range(3):
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                await sock.sendto(dns.message.make_query("www.example", "A").to_wire(), (LOOPBACK, world.port.number))
        assert (await world.ask("www.example")).answer

    async def test_more_than_are_taken_at_once(self, world: World) -> None:
        world.far.zones = dict.fromkeys((ONE, TWO), lambda _query: None)
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.connect((LOOPBACK, world.port.number))
            for number in range(MOST_IN_FLIGHT):
                await sock.send(dns.message.make_query(f"host{number}.example", "A").to_wire())
                if number % 50 == 0:
                    await wait_all_tasks_blocked()
            with trio.fail_after(30):
                while len(world.far.asked) < MOST_IN_FLIGHT:
                    await trio.lowlevel.checkpoint()
            for tcp in (False, True):
                assert (await world.ask("www.example", tcp=tcp)).rcode() == dns.rcode.SERVFAIL
        assert "www.example" not in world.far.names


class Memory:
    """A connection to the port made of memory, in virtual time."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.far = FarSide(nursery)
        self.near = Near()
        self.names = Names(decide, FarResolvers([ONE], self.far.open), self.near)  # type: ignore[arg-type]
        self.service = dns_module._Service(trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM), self.names)
        self.stream, self._theirs = memory_stream_pair()
        self.ended = trio.Event()
        self._framing = Framing()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.names.run)
            nursery.start_soon(self._serve)
            task_status.started()

    async def _serve(self) -> None:
        await self.service.serve_stream(self._theirs)
        await self._theirs.aclose()
        self.ended.set()

    async def send(self, *names: str) -> None:
        wires = [dns.message.make_query(name, "A", id=number).to_wire() for number, name in enumerate(names)]
        await self.stream.send_all(b"".join(map(framed, wires)))

    async def receive(self, count: int) -> list[dns.message.Message]:
        """So many answers; fewer where it ends before."""
        found: list[bytes] = []
        while len(found) < count and (data := await self.stream.receive_some()):
            found += self._framing.receive_data(data)
        return [dns.message.from_wire(wire) for wire in found]


class TestStreams:
    @pytest.fixture
    async def memory(self, nursery: trio.Nursery) -> AsyncIterator[Memory]:
        made = Memory(nursery)
        await nursery.start(made.run)
        yield made
        made.service._udp.close()

    async def test_many_questions_at_once_and_answers_as_they_come(
        self, memory: Memory, autojump_clock: MockClock
    ) -> None:
        def slow_first(query: dns.message.Message) -> dns.message.Message:
            memory.far.delay = 2 if name_of(query).startswith("slow") else 0
            return usual(query)

        memory.far.zones[ONE] = slow_first
        await memory.send("slow.example", "x.ads.example", "y.ads.example")
        assert [answer.id for answer in await memory.receive(3)][-1] == 0

    async def test_more_than_may_wait(self, memory: Memory, autojump_clock: MockClock) -> None:
        memory.far.delay = 1
        names = [f"host{number}.example" for number in range(3 * MOST_PIPELINED)]
        await memory.send(*names)
        await wait_all_tasks_blocked()
        assert memory.service._in_flight == MOST_PIPELINED
        answers = await memory.receive(len(names))
        assert sorted(answer.id for answer in answers) == list(range(len(names)))
        assert all(answer.answer for answer in answers)

    async def test_byte_by_byte(self, memory: Memory, autojump_clock: MockClock) -> None:
        for byte in framed(dns.message.make_query("www.example", "A").to_wire()):
            await memory.stream.send_all(bytes([byte]))
        assert (await memory.receive(1))[0].answer

    async def test_what_was_asked_before_the_end_is_answered(self, memory: Memory, autojump_clock: MockClock) -> None:
        memory.far.delay = 1
        await memory.send("www.example")
        await memory.stream.send_eof()
        assert len(await memory.receive(2)) == 1
        await memory.ended.wait()

    async def test_silence_ends_it(self, memory: Memory, autojump_clock: MockClock) -> None:
        await memory.send("www.example")
        await memory.receive(1)
        begun = trio.current_time()
        assert await memory.receive(1) == []
        assert trio.current_time() - begun == pytest.approx(IDLE)

    async def test_a_question_that_waits_is_no_silence(
        self, memory: Memory, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dns_module, "IDLE", 1.0)
        memory.far.delay = 2.5
        await memory.send("www.example")
        assert (await memory.receive(1))[0].answer
        await memory.send("x.ads.example")
        assert [answer.rcode() for answer in await memory.receive(1)] == [dns.rcode.NXDOMAIN]

    async def test_who_does_not_read_is_let_go(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        memory = Memory(nursery)
        await nursery.start(memory.names.run)
        theirs = Clogged()
        begun = trio.current_time()
        await memory.service.serve_stream(theirs)
        assert trio.current_time() - begun == pytest.approx(IDLE)
        assert memory.service._in_flight == 0
        memory.service._udp.close()

    @pytest.mark.parametrize("data", [struct.pack("!H", LONGEST_QUERY + 1), b"GET / HTTP/1.1\r\n\r\n"])
    async def test_what_is_too_long_for_a_question_ends_it(
        self, memory: Memory, autojump_clock: MockClock, data: bytes
    ) -> None:
        await memory.stream.send_all(data)
        await memory.ended.wait()

    async def test_an_app_that_breaks_off(self, memory: Memory, autojump_clock: MockClock) -> None:
        memory.far.delay = 1
        await memory.send(*(f"host{number}.example" for number in range(10)))
        await wait_all_tasks_blocked()
        await memory.stream.aclose()
        await memory.ended.wait()
        assert memory.service._in_flight == 0

    async def test_what_needs_no_answer_gets_none(self, memory: Memory, autojump_clock: MockClock) -> None:
        await memory.stream.send_all(framed(b"") + framed(b"x"))
        await memory.send("www.example")
        assert len(await memory.receive(1)) == 1


class Clogged(trio.abc.HalfCloseableStream):
    """Asks more than it reads, which is nothing."""

    def __init__(self) -> None:
        queries = (dns.message.make_query(f"x{number}.ads.example", "A").to_wire() for number in range(100))
        self._data = b"".join(map(framed, queries))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._data:
            await trio.sleep_forever()
        size = max_bytes or 1
        data, self._data = self._data[:size], self._data[size:]
        return data

    async def wait_send_all_might_not_block(self) -> None: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


def mutated(data: st.DataObject) -> bytes:
    name = data.draw(st.sampled_from(["www.example", "x.ads.example", "x.home.example", "8.8.8.8.in-addr.arpa"]))
    query = dns.message.make_query(name, "A", use_edns=data.draw(st.sampled_from([-1, 0])))
    wire = query.to_wire()
    at = data.draw(st.integers(0, len(wire)))
    until = data.draw(st.integers(at, len(wire)))
    return wire[:at] + data.draw(st.binary(max_size=30)) + wire[until:]


@given(st.data(), st.booleans())
def test_whatever_is_asked_there_is_an_answer_in_time_or_none_is_due(data: st.DataObject, stream: bool) -> None:
    wire = mutated(data)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            memory = Memory(nursery)
            await nursery.start(memory.names.run)
            with memory.service._udp, trio.fail_after(6):
                answer = await memory.service._answer(wire, stream=stream)
            if answer is None:
                assert len(wire) < 12 or wire[2] & 0x80
            else:
                assert answer[:2] == wire[:2]
                assert answer[2] & 0x80
            nursery.cancel_scope.cancel()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


class TestPort:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_both_on_one_number(self, host: str) -> None:
        try:
            port = await open_port(host, 0)
        except OSError:
            pytest.skip("a machine without IPv6")
        number = port.number
        assert number == port.tcp.socket.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await open_port(host, number)
        port.close()
        (await open_port(host, number)).close()

    async def test_a_number_that_is_taken_for_one_is_taken(self) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            await taken.bind((LOOPBACK, 0))
            with pytest.raises(OSError, match="in use"):
                await open_port(LOOPBACK, taken.getsockname()[1])

    async def test_it_is_closed_in_the_end(self, nursery: trio.Nursery) -> None:
        port = await open_port(LOOPBACK, 0)
        world = World(nursery, port)
        await nursery.start(world.run)
        assert (await world.ask("www.example")).answer
        world.serving.cancel()
        await wait_all_tasks_blocked()
        assert port.udp.fileno() == port.tcp.socket.fileno() == -1


def test_the_library_is_imported_where_the_port_is_on_only() -> None:
    """`ropeway --help` and an exit need not wait for it."""
    program = "import sys, proxy.cli, proxy.app; sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
