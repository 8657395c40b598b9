"""A session from carrier to carrier: moved, handed over, refused; and what is due when."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import RemoteProtocolError
from proxy.protocol.crossing import EARLY, Crossing
from proxy.protocol.event import StreamOpened
from proxy.protocol.frame import Type, encode
from proxy.protocol.handshake import AFTER_WELCOME
from proxy.protocol.liveness import DEAD, HURRY, IDLE, LATE, MOST_ACK_DELAY, PAUSE, SIGN, SUSPECT, Health
from proxy.protocol.mux import Mux
from proxy.protocol.outbox import MAX_KEPT
from proxy.protocol.stream import MAX_CREDIT, MAX_WINDOW
from tests.effort import EXAMPLES
from tests.pair import ADDRESS, Pair

if TYPE_CHECKING:
    from proxy.protocol.stream import Stream

BIG = 1 << 30
both_ways = pytest.mark.parametrize("local_sends", [True, False], ids=["local sends", "exit sends"])


class Wire:
    """What is on its way on one carrier."""

    def __init__(self) -> None:
        self.up = bytearray()
        self.down = bytearray()


class Road(Pair):
    """A pair whose bytes wait on a wire until they are delivered, as many as one likes, while another carrier may be on its way.

    Goes the ways of both drivers: what a suspect or worn carrier does, and what happens where that fails at any step.
    """

    def __init__(self, streams: int = 1) -> None:
        super().__init__()
        self.streams = [self.open() for _ in range(streams)]
        self.at_local = self.at_exit = Wire()  # the carrier that each side is on
        self.step = ""  # of a carrier that is made beside the old one: the hello or the welcome is on its way
        self.handing_over = False
        self.told = 0
        self.welcome = (0, 0)
        self.written: dict[tuple[bool, int], bytes] = {}
        self.arrived: dict[tuple[bool, int], bytes] = {}
        self.ended: set[tuple[bool, int]] = set()
        self.opening: list[Stream] = []
        self.events[self.exit].clear()

    # ---- bytes

    def write(self, upwards: bool, number: int, data: bytes) -> None:
        side, stream = self.end(upwards, number)
        side.write(stream, data, self.now)
        self.written[upwards, number] = self.written.get((upwards, number), b"") + data

    def end(self, upwards: bool, number: int) -> tuple[Mux, Stream]:
        return (self.local, self.streams[number][0]) if upwards else (self.exit, self.streams[number][1])

    def write_end(self, upwards: bool, number: int) -> None:
        side, stream = self.end(upwards, number)
        side.write_end(stream, self.now)
        self.ended.add((upwards, number))

    def open_another(self) -> None:
        self.opening.append(self.local.open(ADDRESS, self.now))

    def accept_all(self) -> None:
        for event in self.events[self.exit]:
            if isinstance(event, StreamOpened):
                assert event.stream.id == self.opening[0].id
                self.exit.accept(event.stream)
                self.streams.append((self.opening.pop(0), event.stream))
        self.events[self.exit].clear()

    def read_all(self) -> None:
        self.accept_all()
        for number, (local, remote) in enumerate(self.streams):
            for upwards, side, stream in ((True, self.exit, remote), (False, self.local, local)):
                self.arrived[upwards, number] = self.arrived.get((upwards, number), b"") + self.read(side, stream)

    def send(self, upwards: bool, limit: int = 65536) -> None:
        """One flight, if that side has something to say and may say it."""
        side = self.local if upwards else self.exit
        side.handle_timer(self.now)
        if side.wants_to_send and not (upwards and self.step and self.handing_over):
            data = self.take(side, limit)
            if upwards:
                self.at_local.up += data
            else:
                self.at_exit.down += data

    def deliver(self, upwards: bool, size: int = BIG) -> None:
        side, wire = (self.exit, self.at_exit.up) if upwards else (self.local, self.at_local.down)
        data = bytes(wire[:size])
        del wire[:size]
        self.feed(side, data)

    # ---- carriers

    def start(self, *, hand_over: bool) -> None:
        """A hello goes out on another carrier."""
        self.step, self.handing_over = "hello", hand_over
        self.told = self.local.moving()

    def hello_arrives(self, *, broken: bool = False) -> None:
        """`broken`: the old carrier's way up is, where it is."""
        if self.handing_over and not broken:
            self.deliver(True)
            sending = self.exit.handed_over(self.now)
        else:
            sending = self.exit.resumed(self.told, AFTER_WELCOME, self.now)
        self.at_exit = Wire()
        self.welcome = self.exit.received, sending
        self.step = "welcome"

    def welcome_arrives(self, *, broken: bool = False) -> None:
        """`broken`: the old carrier's way down is, where it is. Raises RemoteProtocolError where the session cannot go on there."""
        if self.handing_over and not broken:
            self.deliver(False)
        self.step = ""
        try:
            self.local.moved(*self.welcome, self.now)
            self.at_local = self.at_exit
        finally:
            self.local.stay()

    def fail(self) -> None:
        """The other carrier breaks at its step. The old one goes on where the exit did not give it up, nor the local side end it."""
        goes_on = self.step == "hello" and not self.handing_over
        self.step = ""
        self.local.stay()
        if not goes_on:
            self.reconnect()

    def reconnect(self, lost: int = 0) -> None:
        """The carrier breaks with all that is on its way. Of the hellos and welcomes of new ones so many get `lost`, in turn."""
        for number in range(lost):
            received, sending = self.local.carrier_made(self.now)
            early = self.take(self.local) if self.local.wants_to_send else b""
            if number % 2:
                self.exit.resumed(received, sending, self.now)
                self.feed(self.exit, early)
                self.take(self.exit)
        self.connect()
        self.at_local = self.at_exit = Wire()

    def finish(self) -> None:
        """Everything arrives."""
        if self.step:
            self.fail()
        for _ in range(100_000):
            for upwards in (True, False):
                self.send(upwards)
                self.deliver(upwards)
            self.read_all()
            if not (self.local.wants_to_send or self.exit.wants_to_send or self.at_local.up or self.at_local.down):
                if not (self.local.kept or self.exit.kept):
                    return
                self.now += MOST_ACK_DELAY
        raise AssertionError("the two sides never stop talking")

    def check(self) -> None:
        """Every byte came once and in order, both sessions go on, and nothing is kept any more."""
        self.finish()
        for way, data in self.written.items():
            assert self.arrived[way] == data, way
        assert not self.opening
        for number, (local, remote) in enumerate(self.streams):
            assert local.accepted
            assert remote.receiver.ended is ((True, number) in self.ended)
            assert local.receiver.ended is ((False, number) in self.ended)
        for _ in range(2):
            self.tick(1)
        assert self.local.over is self.exit.over is None
        assert self.local.kept == self.exit.kept == 0
        for side in (self.local, self.exit):
            assert side.handle_timer(self.now) is Health.ALIVE
            assert side.next_timer(self.now) > self.now + 20


def busy(streams: int = 1) -> Road:
    """Both sides have received, and have data under way: some of it half way through a frame."""
    road = Road(streams)
    for upwards in (True, False):
        road.write(upwards, 0, b"first " * 30)
        road.send(upwards)
        road.deliver(upwards)
    road.now += 0.1
    for upwards in (True, False):
        road.send(upwards)
        road.deliver(upwards)
        road.write(upwards, 0, b"second " * 30)
        road.send(upwards, 90)
        road.send(upwards)
        road.deliver(upwards, 50)
    return road


# ---- moved


@pytest.mark.parametrize("later", [0, 1, 20, 100, BIG])
@pytest.mark.parametrize("earlier", [0, 1, 20, 100, BIG])
def test_a_move_with_data_in_flight_both_ways(earlier: int, later: int) -> None:
    """Of each direction so many bytes arrive on the old carrier before and after the hello does."""
    road = busy()
    road.start(hand_over=False)
    road.deliver(True, earlier)
    road.deliver(False, earlier)
    road.hello_arrives()
    road.write(False, 0, b"on the new one")
    road.send(False)
    road.deliver(False, later)
    road.write(True, 0, b"after the move")
    road.welcome_arrives()
    assert road.local.received >= road.told
    road.check()


def test_what_still_comes_on_the_old_carrier_is_skipped_on_the_new_one() -> None:
    road = busy()
    road.start(hand_over=False)
    road.deliver(False)
    assert road.local.received > road.told
    road.hello_arrives()
    assert road.welcome[1] == road.told
    road.send(False)
    road.welcome_arrives()
    before = len(road.read(road.local, road.streams[0][0]))
    road.deliver(False)
    assert (before, road.read(road.local, road.streams[0][0])) == (180 + 210, b"")
    road.read_all()
    assert road.local.over is None


def test_acks_wait_while_another_carrier_is_made() -> None:
    """The exit must keep all that follows the offset in the hello, or it could not send it again."""
    road = busy()
    road.start(hand_over=False)
    road.deliver(False)
    for _ in range(30):
        road.now += 0.1
        road.send(True)
        road.deliver(True)
    assert road.local.received > road.told
    assert exits_offsets(road)[0] <= road.told
    road.hello_arrives()
    road.welcome_arrives()
    road.check()


def test_an_ack_that_was_due_before_the_move_says_no_more_than_the_hello() -> None:
    road = busy()
    road.deliver(False)
    road.now += MOST_ACK_DELAY
    road.local.handle_timer(road.now)
    road.start(hand_over=False)
    road.write(False, 0, b"more")
    road.send(False)
    road.deliver(False)
    assert road.local.received > road.told
    road.send(True)
    road.deliver(True)
    assert road.exit._outbox.log.start == road.told
    road.hello_arrives()
    road.send(False)
    road.welcome_arrives()
    road.check()


def test_acks_go_out_when_the_move_came_to_nothing() -> None:
    road = busy()
    road.start(hand_over=False)
    road.deliver(False)
    road.local.handle_timer(road.now)
    road.send(True)
    assert not road.local.wants_to_send
    road.fail()
    assert road.local.wants_to_send, "at once: no timer of the driver knows of it"
    road.send(True)
    road.deliver(True)
    assert road.exit.kept == 0
    road.check()


def test_the_welcome_is_lost_after_the_exit_has_moved() -> None:
    road = busy()
    road.start(hand_over=False)
    road.hello_arrives()
    road.write(False, 0, b"on a carrier that the local side never sees")
    road.send(False)
    road.fail()
    road.check()


# ---- handed over


def test_a_hand_over_sends_nothing_twice() -> None:
    road = busy()
    road.start(hand_over=True)
    before = road.exit._outbox.log.sent
    road.hello_arrives()
    assert road.welcome == (road.local._outbox.log.end, before)
    road.write(False, 0, b"behind the welcome")
    road.send(False)
    sent_again = road.at_exit.down.count(b"second")
    road.welcome_arrives()
    assert sent_again == 0
    road.write(True, 0, b"after it")
    road.send(True)
    assert b"second" not in road.at_local.up
    road.check()


def test_a_hand_over_while_the_exit_sends_again_what_is_skipped() -> None:
    """After a move: the exit is not yet where the local side was before it, and goes on from there."""
    road = Road()
    for number in range(3):
        road.write(False, 0, bytes([number]) * 10_000)
        road.send(False)
    road.start(hand_over=False)
    road.deliver(False)
    road.hello_arrives()
    road.send(False)
    road.welcome_arrives()
    road.deliver(False)
    road.start(hand_over=True)
    road.hello_arrives()
    assert road.welcome[1] < road.told
    road.write(False, 0, b"behind both")
    road.welcome_arrives()
    road.check()


def test_after_a_hand_over_nothing_is_kept_that_came_before_it() -> None:
    """The exit takes no offset from the hello of a hand over: an ACK says it, though nothing has come since."""
    road = Road()
    road.write(False, 0, b"all that there is")
    road.send(False)
    road.deliver(False)
    road.start(hand_over=True)
    road.hello_arrives()
    road.welcome_arrives()
    road.check()


def test_a_hand_over_in_the_middle_of_sending_again() -> None:
    road = Road()
    for upwards in (True, False):
        for number in range(20):
            road.write(upwards, 0, bytes([number]) * 5000)
            road.send(upwards)
    road.reconnect()
    for upwards in (True, False):
        road.send(upwards)
        road.send(upwards)
    road.start(hand_over=True)
    road.hello_arrives()
    road.welcome_arrives()
    road.check()


@pytest.mark.parametrize("up", range(0, 420, 7))
def test_a_hand_over_whose_old_carrier_breaks_on_the_way_up(up: int) -> None:
    road = busy()
    road.start(hand_over=True)
    road.deliver(True, up)
    road.deliver(False, 60)
    road.hello_arrives(broken=True)
    assert road.welcome[1] == road.told
    road.send(False)
    road.welcome_arrives()
    road.check()


@pytest.mark.parametrize("down", range(0, 420, 7))
def test_a_hand_over_whose_old_carrier_breaks_on_the_way_down(down: int) -> None:
    road = busy()
    road.start(hand_over=True)
    road.hello_arrives()
    road.deliver(False, down)
    if road.local.received < road.welcome[1]:
        with pytest.raises(RemoteProtocolError):
            road.welcome_arrives(broken=True)
        assert not road.local.wants_to_send
        road.reconnect()
    else:
        road.welcome_arrives(broken=True)
    road.check()


# ---- any order of everything

DIRECTION, NUMBER, SIZE = st.booleans(), st.integers(0, 2), st.integers(0, 700)
PATTERN = bytes(range(251))  # no power of two, so that nothing fits where it does not belong
WHAT = ["write"] * 2 + ["send"] * 3 + ["deliver"] * 3 + ["step"] * 4 + ["fail", "break", "wait", "open", "end"]
steps = st.tuples(st.sampled_from(WHAT), DIRECTION, NUMBER, SIZE)


def one_step(road: Road, what: str, flag: bool, number: int, size: int) -> None:
    number = (number + size // 3) % len(road.streams) if what in ("write", "end") else number
    match what:
        case "write" if (flag, number) not in road.ended:
            first = size % len(PATTERN)
            road.write(flag, number, (PATTERN[first:] + PATTERN * (size // 4 + 1))[: size * (1 + 30 * (size % 3))])
        case "send":
            road.send(flag, 100 * size + 1)
        case "deliver":
            road.deliver(flag, size * (1 + 100 * number))
            road.read_all()
        case "step" if not road.step:
            road.start(hand_over=flag)
        case "step" if road.step == "hello":
            road.hello_arrives(broken=flag)
        case "step":
            try:
                road.welcome_arrives(broken=flag)
            except RemoteProtocolError:
                assert road.local.received < road.welcome[1], "what the old carrier lost is all that may be missing"
                assert road.handing_over
                road.reconnect()
        case "fail" if road.step:
            road.fail()
        case "open":
            road.open_another()
        case "end":
            road.write_end(flag, number)
        case "break":
            if road.step:
                road.fail()
            road.reconnect(lost=number + 2 * flag)
        case _:
            road.now += size / 2000


@settings(max_examples=3 * EXAMPLES)
@given(st.lists(steps, max_size=80))
def test_whatever_happens_every_byte_comes_once_and_in_order(script: list[tuple[str, bool, int, int]]) -> None:
    road = Road(streams=3)
    for what, flag, number, size in script:
        one_step(road, what, flag, number, size)
    road.check()


def test_long_lives() -> None:
    """Of many carriers, which hypothesis seldom makes: one is handed over while what the one before it lost is still sent again."""
    chance, below = random.Random(1), 0
    for _ in range(100):
        road = Road(3)
        for _ in range(100):
            step = chance.choice(WHAT), chance.random() < 0.5, chance.randrange(3), chance.randrange(701)
            one_step(road, *step)
            below += step[0] == "step" and road.step == "welcome" and road.welcome[1] < road.told
        road.check()
    assert below > 3


# ---- bounds


@both_ways
def test_what_is_kept_stays_within_its_bound_and_writing_stops(local_sends: bool) -> None:
    """The peer gives credit without end, reads everything and acknowledges nothing."""
    road = Road()
    side, stream = (road.local, road.streams[0][0]) if local_sends else (road.exit, road.streams[0][1])
    stream.sender.credit = MAX_CREDIT
    accepted, limit = 0, 65_536
    for _ in range(10 * MAX_KEPT // limit):
        if not side.write(stream, bytes(limit), road.now):
            break
        accepted += limit
        road.take(side, limit)
    assert accepted < MAX_KEPT + 3 * limit
    assert not side.wants_to_send or road.take(side, limit) == b""
    assert MAX_KEPT <= side.kept < MAX_KEPT + 2 * limit
    assert stream.sender.queued <= 3 * limit
    before = side.kept
    for _ in range(3):
        road.reconnect()
        for _ in range(10):
            road.take(side, limit)
        assert side.kept <= before


@both_ways
def test_kept_bytes_are_let_go_and_sending_goes_on(local_sends: bool) -> None:
    road = Road()
    side, stream = (road.local, road.streams[0][0]) if local_sends else (road.exit, road.streams[0][1])
    peer, other = (road.exit, road.streams[0][1]) if local_sends else (road.local, road.streams[0][0])
    stream.sender.credit = other.receiver.open_credit = MAX_CREDIT - 2 * MAX_WINDOW
    while side.kept < MAX_KEPT:
        side.write(stream, bytes(1 << 20), road.now)
        road.take(side, 1 << 20)
    side.write(stream, b"the last word", road.now)
    assert not side.wants_to_send
    road.reconnect()
    size = 0
    for _ in range(10_000):
        if side.wants_to_send:
            road.feed(peer, road.take(side))
        size += len(data := road.read(peer, other))
        if data.endswith(b"the last word"):
            break
        road.now += 0.01
        peer.handle_timer(road.now)
        if peer.wants_to_send:
            road.feed(side, road.take(peer))
    assert size > MAX_KEPT - (1 << 20)
    road.tick(1)
    assert side.kept == 0


# ---- impossible offsets


def exits_offsets(road: Road) -> tuple[int, int]:
    log = road.exit._outbox.log
    return log.start, log.end


@pytest.mark.parametrize("what", ["received ahead", "received too old", "sending ahead", "the greatest"])
@pytest.mark.parametrize("later", [False, True])
def test_a_hello_that_cannot_be_is_refused_and_changes_nothing(what: str, later: bool) -> None:
    road = busy()
    start, end = exits_offsets(road)
    assert 0 < start < end
    behind = AFTER_WELCOME if later else road.exit.received
    received, sending = {
        "received ahead": (end + 1, behind),
        "received too old": (start - 1, behind),
        "sending ahead": (start, road.exit.received + 1),
        "the greatest": (2**64 - 1, behind),
    }[what]
    before = repr(road.exit), exits_offsets(road), road.exit.next_timer(road.now), road.exit.wants_to_send
    with pytest.raises(RemoteProtocolError):
        road.exit.check_resumable(received, sending)
    with pytest.raises(RemoteProtocolError):
        road.exit.resumed(received, sending, road.now)
    assert (repr(road.exit), exits_offsets(road), road.exit.next_timer(road.now), road.exit.wants_to_send) == before
    road.check()  # the rightful carrier goes on, in the middle of its frame


def test_every_possible_hello_is_accepted() -> None:
    road = busy()
    start, end = exits_offsets(road)
    for received in (start, end):
        for sending in (0, road.exit.received, AFTER_WELCOME):
            road.exit.check_resumable(received, sending)


@pytest.mark.parametrize("what", ["received ahead", "received too old", "sending ahead", "sending too old"])
@pytest.mark.parametrize("how", ["resumed", "held", "moved"])
def test_a_welcome_that_cannot_be_is_refused_and_the_session_can_be_resumed(what: str, how: str) -> None:
    road = busy()
    road.reconnect()
    road.write(True, 0, b"third " * 30)
    road.send(True)
    if how == "held":
        road.write(True, 0, bytes(EARLY * 2))
        for _ in range(4):
            road.send(True)
    told = road.local.moving() if how == "moved" else road.local.carrier_made(road.now)[0]
    log = road.local._outbox.log
    assert 0 < log.start < log.end
    received, sending = {
        "received ahead": (log.end + 1, told),
        "received too old": (log.start - 1, told),
        "sending ahead": (log.start, road.local.received + 1),
        "sending too old": (log.start, (road.local._began if how == "moved" else told) - 1),
    }[what]
    before = repr(road.local), log.start, log.end
    with pytest.raises(RemoteProtocolError):
        (road.local.moved if how == "moved" else road.local.welcomed)(received, sending, road.now)
    assert (repr(road.local), log.start, log.end) == before
    road.reconnect()
    road.check()


def test_a_session_that_is_new_begins_at_nothing() -> None:
    mux = Mux(opens=True, now=0)
    assert mux.carrier_made(0) == (0, 0)
    for received, sending in [(0, 1), (1, 0)]:
        with pytest.raises(RemoteProtocolError):
            mux.welcomed(received, sending, 0)
    mux.welcomed(0, 0, 0)


OFFSETS = st.integers(0, 1000) | st.integers(0, 2**64 - 1)


@given(received=OFFSETS, sending=OFFSETS)
def test_no_offsets_break_the_exit(received: int, sending: int) -> None:
    road = busy()
    start, end = exits_offsets(road)
    possible = start <= received <= end and (sending <= road.exit.received or sending == AFTER_WELCOME)
    try:
        assert road.exit.resumed(received, sending, road.now) == received
    except RemoteProtocolError:
        assert not possible
        road.check()
    else:
        assert possible
        assert exits_offsets(road) == (received, end)


# ---- time


def test_what_a_welcome_acknowledges_is_not_due_any_more() -> None:
    """The ACK got lost with the carrier, and the welcome says the same. Nobody says anything after that."""
    road = Road()
    road.write(True, 0, b"heard")
    road.send(True)
    road.deliver(True)
    for way in ("resume", "move"):
        if way == "resume":
            road.reconnect()
        else:
            road.start(hand_over=False)
            road.hello_arrives()
            road.welcome_arrives()
        road.finish()
        road.now += 10
        assert road.local.handle_timer(road.now) is Health.ALIVE, way
        assert road.exit.handle_timer(road.now) is Health.ALIVE, way


def test_what_is_kept_for_later_is_not_due_yet() -> None:
    """The writer waits for a slow carrier: nothing that the peer could acknowledge is on it."""
    road = busy()
    road.reconnect()
    road.finish()
    road.write(False, 0, b"not acknowledged")
    road.send(False)
    road.exit.resumed(road.local.received, AFTER_WELCOME, road.now)
    assert road.exit.kept
    assert road.exit.handle_timer(road.now + DEAD) is Health.ALIVE


def test_what_is_sent_again_after_its_ack_is_not_due() -> None:
    """The local side received it on the old carrier, and says so before the exit has sent it again."""
    road = busy()
    road.start(hand_over=False)
    road.deliver(False)
    road.hello_arrives()
    road.welcome_arrives()
    road.send(True)
    road.deliver(True)
    assert road.exit.wants_to_send
    road.send(False)
    road.deliver(False)
    road.deliver(True)
    road.finish()
    assert road.exit.handle_timer(road.now + DEAD) is Health.ALIVE


def test_what_was_handed_over_is_still_due() -> None:
    road = Road()
    road.write(False, 0, b"not acknowledged")
    road.send(False)
    road.exit.handed_over(road.now)
    assert road.exit.handle_timer(road.now + DEAD) is Health.DEAD


def measured() -> Road:
    """With a round trip that is known and short, and nothing due."""
    road = Road()
    for _ in range(3):
        road.tick(1)
    return road


@both_ways
def test_silence_is_suspect_and_then_dead_and_a_byte_mends_it(local_sends: bool) -> None:
    road = measured()
    side = road.local if local_sends else road.exit
    road.write(local_sends, 0, b"x")
    road.take(side)
    assert side.handle_timer(road.now + SUSPECT - 0.01) is Health.ALIVE
    assert side.handle_timer(road.now + SUSPECT) is Health.SUSPECT
    assert side.handle_timer(road.now + DEAD) is Health.DEAD
    road.now += DEAD - 0.1
    road.feed(side, encode(Type.PADDING, 0, b"."))
    assert side.handle_timer(road.now) is Health.ALIVE
    assert side.handle_timer(road.now + SUSPECT) is Health.SUSPECT


def test_a_silence_in_the_middle_of_a_download_is_death_within_6_s() -> None:
    road = measured()
    road.write(False, 0, bytes(100_000))
    road.send(False)
    road.deliver(False, 70_000)  # in the middle of a frame
    began = road.now
    while (health := road.local.handle_timer(road.now)) is not Health.DEAD:
        if road.local.wants_to_send:
            road.take(road.local)
        timer = road.local.next_timer(road.now)
        assert timer > road.now
        road.now = timer
    assert health is Health.DEAD
    assert PAUSE + DEAD <= road.now - began + 0.01 <= 6


def test_a_part_of_a_frame_alone_is_asked_about_too() -> None:
    road = measured()
    road.feed(road.local, encode(Type.DATA, 1, b"never whole")[:9])
    assert road.local.next_timer(road.now) == pytest.approx(road.now + PAUSE)


@both_ways
def test_a_frame_that_takes_long_is_no_silence(local_sends: bool) -> None:
    """64 KB at 64 kbit/s: the sender hears of it, though there is nothing new to acknowledge."""
    road = measured()
    sender, receiver = (road.local, road.exit) if local_sends else (road.exit, road.local)
    road.write(local_sends, 0, bytes(65_536))
    flight = road.take(sender, 100_000)
    for position in range(0, len(flight), 800):
        road.now += 0.1
        assert sender.handle_timer(road.now) is Health.ALIVE
        assert receiver.handle_timer(road.now) is Health.ALIVE
        road.feed(receiver, flight[position : position + 800])
        while receiver.wants_to_send:
            road.feed(sender, road.take(receiver))
    road.check()


def test_signs_of_life_are_no_conversation() -> None:
    """Nobody answers an ACK that says nothing new: otherwise two idle sides would talk for ever."""
    road = measured()
    road.feed(road.exit, encode(Type.DATA, 1, b"some")[:5])
    road.now += SIGN
    road.exit.handle_timer(road.now)
    assert len(road.take(road.exit)) == 16
    assert road.exit.next_timer(road.now) > road.now + 60


def test_after_a_change_of_the_network_the_carrier_is_asked_and_suspected_soon() -> None:
    road = measured()
    road.local.network_changed(road.now)
    assert road.local.wants_to_send
    flight = road.take(road.local)
    assert flight.endswith(encode(Type.PING, 0, bytes(8)))
    assert road.local.handle_timer(road.now + HURRY) is Health.SUSPECT
    road.feed(road.exit, flight)
    road.feed(road.local, road.take(road.exit))
    assert road.local.handle_timer(road.now + IDLE - 0.1) is Health.ALIVE


def test_a_program_that_stood_still_asks_before_it_gives_up() -> None:
    road = measured()
    road.write(True, 0, b"x")
    road.take(road.local)
    road.feed(road.local, encode(Type.PONG, 0, bytes(8)))
    road.now += DEAD + LATE + 1
    assert road.local.handle_timer(road.now) is Health.ALIVE
    assert road.local.wants_to_send
    assert road.take(road.local).endswith(encode(Type.PING, 0, bytes(8)))
    assert road.local.handle_timer(road.now + HURRY) is Health.SUSPECT
    assert road.local.handle_timer(road.now + DEAD) is Health.DEAD


def test_a_pong_of_the_last_carrier_is_not_owed_on_the_next() -> None:
    road = measured()
    road.feed(road.exit, encode(Type.PING, 0, b"the last"))
    road.exit.resumed(road.local.received, AFTER_WELCOME, road.now)
    assert b"the last" not in road.take(road.exit)


def test_a_pong_that_nobody_asked_for_measures_nothing() -> None:
    road = measured()
    before = road.local.round_trip
    road.now += 7
    road.feed(road.local, encode(Type.PONG, 0, bytes(8)))
    assert road.local.round_trip == before


def test_a_ping_behind_the_hello_is_answered_behind_the_welcome() -> None:
    """And is not followed by a second one, whose round trip would seem to be nothing."""
    road = measured()
    road.write(True, 0, b"lost with its carrier")
    road.send(True)
    received, sending = road.local.carrier_made(road.now)
    early = road.take(road.local)
    assert encode(Type.PING, 0, bytes(8)) in early
    road.now += 1
    begins = road.exit.resumed(received, sending, road.now)
    welcome = road.exit.received
    road.feed(road.exit, early)
    road.local.welcomed(welcome, begins, road.now)
    assert encode(Type.PING, 0, bytes(8)) not in road.take(road.local)
    road.feed(road.local, road.take(road.exit))
    road.write(True, 0, b"more")
    road.now += 2
    road.take(road.local)
    assert road.local.next_timer(road.now) > road.now + 7, "of a link of 1 s"


def test_progress_grows_with_what_arrives_on_either_side() -> None:
    road = measured()
    before = road.local.progress, road.exit.progress
    road.write(True, 0, b"12345")
    road.send(True)
    assert (road.local.progress, road.exit.progress) == before
    road.deliver(True)
    assert road.exit.progress == before[1] + 13
    road.tick(1)
    assert road.local.progress == before[0] + 13


def test_a_crossing_has_no_streams() -> None:
    """What is here knows offsets and time; `mux` adds the frames."""
    crossing = Crossing(asks=True, now=0)
    assert (crossing.received, crossing.kept, crossing.progress, crossing.wants_to_send) == (0, 0, 0, False)
    assert crossing.next_timer(0) == IDLE


def test_bulk_that_waits_for_an_acknowledgement_goes_on_after_a_while() -> None:
    """Something was lost on the way: the kernel needs more to send, or it cannot tell."""
    pair = Pair()
    stream, _ = pair.open()
    stream.sender.credit = 2**30
    pair.tick(0.1)
    pair.local._outbox.flight.cap = 100_000.0
    pair.local.write(stream, bytes(2_000_000), pair.now)

    def flight() -> int:
        size = 0
        while data := pair.take(pair.local, 16_384):
            size += len(data)
        return size

    first = flight()
    assert first > 80_000
    assert not pair.local.wants_to_send
    timer = pair.local.next_timer(pair.now)
    assert pair.now < timer < pair.now + 0.5
    pair.now = timer
    pair.local.handle_timer(pair.now)
    assert pair.local.wants_to_send
    assert flight() > 80_000
    assert pair.local.next_timer(pair.now) > pair.now


def test_carriers_that_are_cut_early_do_not_leave_ever_more_to_be_sent_again() -> None:
    """A message would wait behind all that."""
    pair = Pair()
    stream, _ = pair.open()
    stream.sender.credit = 2**30
    kept = []
    for _ in range(50):
        for _ in range(3):  # one round trip, of which the peer hears the first piece
            pair.local.write(stream, bytes(300_000), pair.now)
            first = pair.take(pair.local, 8192)
            while pair.take(pair.local, 65_536):
                pass
            pair.now += 0.1
            pair.feed(pair.exit, first)
            pair.exit.handle_timer(pair.now + 0.05)
            pair.feed(pair.local, pair.take(pair.exit))
        kept.append(pair.local.kept)
        pair.connect()
    assert max(kept[2:]) < 1_000_000, kept
