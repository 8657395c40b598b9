"""Associations on pairs of cores: datagrams beside streams, on carriers that break, and what peers do wrong."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import OpenError, Reason
from proxy.protocol.datagrams import AGE, CALL, MOST_QUEUED, Association
from proxy.protocol.event import AssociationOpened, Code, DatagramReceived, StreamAccepted, StreamReset
from proxy.protocol.frame import Type, encode
from tests.pair import Pair, byte_by_byte, whole

if TYPE_CHECKING:
    from proxy.protocol.mux import Mux

THERE, BACK = Address("peer.example", 3478), Address("198.51.100.7", 4000)


def associated(pair: Pair) -> tuple[Association, Association]:
    """Its local end and its exit end, accepted."""
    local = pair.local.associate(pair.now)
    pair.settle()
    (opened,) = [event for event in pair.events[pair.exit] if isinstance(event, AssociationOpened)]
    pair.exit.accept(opened.association)
    pair.settle()
    forget(pair)
    return local, opened.association


def forget(pair: Pair) -> None:
    for events in pair.events.values():
        events.clear()


def datagrams(pair: Pair, side: Mux) -> list[tuple[Address, bytes]]:
    return [(event.address, event.data) for event in pair.events[side] if isinstance(event, DatagramReceived)]


@pytest.mark.parametrize("cutter", [whole, byte_by_byte])
def test_datagrams_follow_at_once_and_come_back(cutter: object) -> None:
    pair = Pair(byte_by_byte if cutter is byte_by_byte else whole)
    local = pair.local.associate(pair.now)
    pair.local.send_datagram(local, THERE, b"before anybody answered", pair.now)
    pair.settle()
    opened = pair.events[pair.exit][0]
    assert isinstance(opened, AssociationOpened)
    assert datagrams(pair, pair.exit) == [(THERE, b"before anybody answered")]
    pair.exit.accept(opened.association)
    for size in (0, 1, 1200, 65_507):
        pair.exit.send_datagram(opened.association, BACK, bytes(size), pair.now)
    pair.settle()
    assert datagrams(pair, pair.local) == [(BACK, bytes(size)) for size in (0, 1, 1200, 65_507)]
    assert any(isinstance(event, StreamAccepted) and event.stream is local for event in pair.events[pair.local])


@pytest.mark.parametrize("ends", ["local", "exit"])
def test_either_side_ends_it(ends: str) -> None:
    pair = Pair()
    local, there = associated(pair)
    one, other = (pair.local, pair.exit) if ends == "local" else (pair.exit, pair.local)
    pair.local.send_datagram(local, THERE, b"too late", pair.now)
    one.reset(local if ends == "local" else there, Reason.BUSY, "enough")
    pair.settle()
    assert [event.stream.reset for event in pair.events[other] if isinstance(event, StreamReset)]
    assert not pair.local.streams
    assert not pair.exit.streams
    assert pair.local.budget.held == pair.local.kept
    pair.local.send_datagram(local, THERE, b"to nobody", pair.now)
    pair.settle()
    assert (THERE, b"to nobody") not in datagrams(pair, pair.exit)


def test_a_datagram_is_never_late() -> None:
    pair = Pair()
    local, _ = associated(pair)
    pair.local.send_datagram(local, THERE, b"old", pair.now)
    pair.now += AGE + 0.01
    pair.local.send_datagram(local, THERE, b"new", pair.now)
    pair.settle()
    assert datagrams(pair, pair.exit) == [(THERE, b"new")]


def test_the_age_is_a_setting() -> None:
    pair = Pair()
    local, _ = associated(pair)
    pair.local.drop_after(1.0)
    pair.local.send_datagram(local, THERE, b"old", pair.now)
    pair.now += 0.9
    pair.settle()
    assert datagrams(pair, pair.exit) == [(THERE, b"old")]


def test_a_queue_of_old_ones_is_nothing_to_send() -> None:
    pair = Pair()
    local, _ = associated(pair)
    pair.local.send_datagram(local, THERE, b"old", pair.now)
    pair.now += 1
    assert pair.local.wants_to_send
    pair.take(pair.local)
    assert not pair.local.wants_to_send


def test_a_thousand_that_send_little_leave_turns_to_streams() -> None:
    pair = Pair()
    stream, there = pair.open()
    calls = [associated(pair)[0] for _ in range(50)]
    for call in calls:
        pair.local.send_datagram(call, THERE, bytes(10_000), pair.now)
    pair.local.write(stream, b"hello", pair.now)
    taken = pair.local.data_to_send(16_384, pair.now)
    assert len(taken) < 2 * 16_384
    pair.exit.receive_data(taken, pair.now)
    assert pair.exit.read(there, 100, pair.now) == b"hello"
    pair.settle()
    assert not pair.local.wants_to_send


def test_datagrams_go_before_a_download_and_what_floods_leaves_room_for_it() -> None:
    pair = Pair()
    stream, _ = pair.open()
    call, _ = associated(pair)
    flood = pair.local.associate(pair.now)
    pair.settle()
    forget(pair)
    pair.local.write(stream, bytes(200_000), pair.now)
    pair.take(pair.local, 50_000)
    flood.recent = 10.0 * CALL  # it is known for one
    for _ in range(80):
        pair.local.send_datagram(flood, BACK, bytes(1200), pair.now)
    pair.local.send_datagram(call, THERE, b"hello", pair.now)
    forget(pair)
    before = pair.exit.streams[stream.id].receiver.buffered
    for _ in range(4):
        pair.feed(pair.exit, pair.take(pair.local, 16_384))
    found = datagrams(pair, pair.exit)
    assert found[0] == (THERE, b"hello")
    assert 30_000 <= sum(len(each) for _, each in found) <= 2 * (16_384 + 1200)
    assert pair.exit.streams[stream.id].receiver.buffered - before >= 30_000


def test_floods_take_turns() -> None:
    pair = Pair()
    floods = [pair.local.associate(pair.now) for _ in range(2)]
    pair.settle()
    forget(pair)
    for flood in floods:
        for _ in range(80):
            pair.local.send_datagram(flood, Address("192.0.2.1", flood.id), bytes(1200), pair.now)
    pair.settle()
    ports = [address.port for address, _ in datagrams(pair, pair.exit)][-80:]
    assert 20 < ports.count(floods[0].id) < 60


def test_a_flood_is_bounded_and_streams_do_not_notice() -> None:
    pair = Pair()
    local, _ = associated(pair)
    stream, _ = pair.open()
    for _ in range(10_000):
        pair.local.send_datagram(local, THERE, bytes(1200), pair.now)
    assert pair.local.budget.held < MOST_QUEUED + 100_000
    pair.local.write(stream, b"hello", pair.now)
    pair.settle()
    assert pair.exit.streams[stream.id].receiver.buffered == 5
    assert len(datagrams(pair, pair.exit)) < MOST_QUEUED // 1200


def test_an_association_outlives_carriers_and_datagrams_do_not_come_twice() -> None:
    pair = Pair()
    local, there = associated(pair)
    pair.local.send_datagram(local, THERE, b"lost with the carrier", pair.now)
    pair.take(pair.local)
    pair.now += 0.1
    pair.local.send_datagram(local, THERE, b"waits", pair.now)
    pair.connect()
    pair.settle()
    assert datagrams(pair, pair.exit) == [(THERE, b"waits")]
    pair.exit.send_datagram(there, BACK, b"answer", pair.now)
    pair.settle()
    assert datagrams(pair, pair.local) == [(BACK, b"answer")]


def test_a_datagram_may_overtake_its_associate_on_a_new_carrier() -> None:
    pair = Pair()
    stream, _ = pair.open()
    pair.local.write(stream, bytes(100_000), pair.now)
    local = pair.local.associate(pair.now)
    while pair.local.wants_to_send:
        pair.take(pair.local)  # all of it is lost
    pair.local.send_datagram(local, THERE, b"early", pair.now)
    pair.connect()
    pair.settle()
    assert pair.exit.over is None
    pair.local.send_datagram(local, THERE, b"then", pair.now)
    pair.settle()
    assert datagrams(pair, pair.exit)[-1] == (THERE, b"then")


@given(st.integers(0, 2000), st.integers(0, 3))
def test_a_carrier_may_break_at_any_byte(lost: int, which: int) -> None:
    pair = Pair()
    stream, _ = pair.open()
    local = pair.local.associate(pair.now)
    sizes = (0, 1, 700, 1200)
    for number in range(4):
        pair.local.write(stream, bytes(300), pair.now)
        pair.local.send_datagram(local, THERE, bytes([number]) + bytes(sizes[which]), pair.now)
    data = pair.take(pair.local)
    pair.feed(pair.exit, data[: len(data) - min(lost, len(data))])
    pair.connect()
    pair.local.send_datagram(local, THERE, b"last", pair.now)
    pair.settle()
    assert pair.exit.over is None
    assert pair.exit.streams[stream.id].receiver.buffered == 1200
    found = datagrams(pair, pair.exit)
    assert len(set(found)) == len(found)
    assert found[-1] == (THERE, b"last")


def test_the_end_of_the_session_ends_them() -> None:
    pair = Pair()
    local, there = associated(pair)
    pair.exit.go_away(Code.CLOSED, "stopped")
    pair.settle()
    assert local.reset is not None
    assert local.reset.reason is Reason.TUNNEL_DOWN
    assert there.reset is not None
    assert pair.local.budget.held == pair.exit.budget.held == 0
    with pytest.raises(OpenError):
        pair.local.associate(pair.now)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (encode(Type.DATA, 1, b"x"), "DATA of 1 bytes on an association"),
        (encode(Type.END, 1), "END on an association"),
        (encode(Type.CREDIT, 1, b"\0\0\0\1"), "CREDIT of 1 on an association"),
        (encode(Type.DATAGRAM, 2, THERE.encode()), "DATAGRAM on a stream"),
        (encode(Type.DATAGRAM, 1, b"\x09" + bytes(8)), "DATAGRAM with a bad address"),
        (encode(Type.ASSOCIATE, 9), "OPEN of stream 9 after 2"),
        (encode(Type.ASSOCIATE, 0), "stream"),
        (encode(Type.ASSOCIATE, 3, b"x"), "payload of 1 bytes"),
        (encode(Type.DATAGRAM, 1, b"\x01"), "payload of 1 bytes"),
    ],
)
def test_what_a_peer_does_wrong(frame: bytes, text: str) -> None:
    pair = Pair()
    associated(pair)
    pair.open()
    pair.feed(pair.exit, frame)
    assert pair.exit.over is not None
    assert pair.exit.over.code is Code.PROTOCOL_ERROR
    assert text in pair.exit.over.text


def test_the_exit_cannot_associate() -> None:
    pair = Pair()
    pair.feed(pair.local, encode(Type.ASSOCIATE, 1))
    assert pair.local.over is not None


def test_ten_thousand_are_as_many_as_memory_allows_and_streams_go_on() -> None:
    pair = Pair()
    refused = 0
    for _ in range(10_000):
        try:
            pair.local.associate(pair.now)
        except OpenError:
            refused += 1
    pair.settle()
    assert 0 < refused < 10_000
    for association in list(pair.local.streams.values()):
        pair.local.reset(association, Reason.CANCELLED)
    pair.settle()
    stream, _ = pair.open()
    assert stream.accepted


def test_a_silence_after_datagrams_is_asked_about() -> None:
    """A call on a carrier that died without a word is noticed as soon as a download is."""
    pair = Pair()
    local, there = associated(pair)
    pair.exit.send_datagram(there, BACK, b"voice", pair.now)
    pair.settle()
    pair.local.send_datagram(local, THERE, b"voice", pair.now)
    pair.take(pair.local)
    assert pair.local.next_timer(pair.now) <= pair.now + 0.5


# ---- what may be in flight

KERNEL = 131_072  # bytes that a kernel takes, whether the path does or not


class Link:
    """From the exit to the local side over a path of so many bytes a second, of a round trip of 50 ms: a flood, a call, and a download over TCP."""

    def __init__(self, rate: float) -> None:
        self.pair = pair = Pair()
        self.call, self.call_out = associated(pair)
        flood = pair.local.associate(pair.now)
        self.stream, self.stream_out = pair.open()
        out = pair.exit.streams[flood.id]
        assert isinstance(out, Association)
        self.flood, self.flood_out = flood, out
        pair.exit._outbox.take_off(pair.now)  # in no time at all the pair has measured round trips that are none
        self.rate = rate
        self.free_at = 0.0  # the path, from the exit's kernel on
        self.down: list[tuple[float, bytes]] = []
        self.up: list[tuple[float, bytes]] = []
        self.over_udp = self.over_tcp = 0
        self.voice: list[float] = []  # how long each packet of the call took

    def run(self, seconds: float, *, tcp: bool) -> None:
        pair, until, speak_at = self.pair, self.pair.now + seconds, self.pair.now
        self.over_udp, self.over_tcp, self.voice = 0, 0, []
        while pair.now < until:
            self.flood_out.recent, self.flood_out.recent_at = 100.0 * CALL, pair.now
            for _ in range(20):
                pair.exit.send_datagram(self.flood_out, BACK, bytes(1200), pair.now)
            if tcp and self.stream_out.sender.queued < 100_000:
                pair.exit.write(self.stream_out, bytes(100_000), pair.now)
            if pair.now >= speak_at:
                speak_at += 0.02
                said = struct.pack("!d", pair.now) + bytes(152)
                pair.exit.send_datagram(self.call_out, BACK, said, pair.now)
            while self.free_at - pair.now < KERNEL / self.rate and pair.exit.wants_to_send:
                data = pair.take(pair.exit, 16_384)
                self.free_at = max(self.free_at, pair.now) + len(data) / self.rate
                self.down.append((self.free_at + 0.025, data))
            pair.now += 0.002
            self._arrive()

    def _arrive(self) -> None:
        pair = self.pair
        while self.down and self.down[0][0] <= pair.now:
            pair.feed(pair.local, self.down.pop(0)[1])
        for event in pair.events[pair.local]:
            if isinstance(event, DatagramReceived):
                if event.association is self.call:
                    self.voice.append(pair.now - float(struct.unpack("!d", event.data[:8])[0]))
                else:
                    self.over_udp += len(event.data)
        forget(pair)
        self.over_tcp += len(pair.read(pair.local, self.stream))
        for side in (pair.local, pair.exit):
            side.handle_timer(pair.now)
        if pair.local.wants_to_send:
            self.up.append((pair.now + 0.025, pair.take(pair.local)))
        while self.up and self.up[0][0] <= pair.now:
            pair.feed(pair.exit, self.up.pop(0)[1])


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("rate", [250_000, 1_250_000], ids=["2 Mbit/s", "10 Mbit/s"])
def test_floods_fill_the_path_and_a_call_does_not_wait_behind_them(rate: float, tcp: bool) -> None:
    link = Link(rate)
    link.run(1.5, tcp=tcp)  # a start may be too fast
    link.run(2, tcp=tcp)
    assert link.over_udp + link.over_tcp > 0.8 * rate * 2
    if tcp:
        assert 0.5 < link.over_udp / link.over_tcp < 2
    assert len(link.voice) >= 98
    assert sorted(link.voice)[97] < 0.025 + 0.06


def test_a_call_is_not_in_the_books_of_what_may_be_in_flight() -> None:
    """It is neither held up nor measured: what is acknowledged later would seem to have been on its way for as long as the call."""
    pair = Pair()
    call, _ = associated(pair)
    pair.tick(1)
    for side in (pair.local, pair.exit):
        side._outbox.take_off(pair.now)
    for _ in range(500):
        pair.local.send_datagram(call, THERE, bytes(160), pair.now)
        data = pair.take(pair.local)
        pair.now += 0.02
        pair.feed(pair.exit, data)
        pair.feed(pair.local, pair.take(pair.exit))
    assert pair.local._outbox.flight.stall_at == math.inf  # nothing is on its way
    assert not pair.local._outbox.marks.number
