"""One connection for many questions, in memory and in virtual time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from proxy.dns_pipeline import IDLE, SILENT, Pipeline, ResolveError
from proxy.protocol.dns_message import Answer, framed
from tests.resolvers import ONE, FarSide, question, usual

if TYPE_CHECKING:
    import dns.message
    from trio.testing import MockClock


def begin(nursery: trio.Nursery, far: FarSide) -> Pipeline:
    pipeline = Pipeline(partial(far.open, "", ONE))
    nursery.start_soon(pipeline.run)
    return pipeline


async def test_questions_share_it_and_answers_come_in_any_order(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    held: list[dns.message.Message] = []

    def zone(query: dns.message.Message) -> None:
        held.append(query)

    far = FarSide(nursery, {ONE: zone})
    pipeline, answers = begin(nursery, far), dict[str, Answer]()

    async def ask(name: str) -> None:
        answers[name] = await pipeline.ask(question(name))

    async with trio.open_nursery() as asking:
        for number in range(50):
            asking.start_soon(ask, f"host{number}.example")
        await wait_all_tasks_blocked()
        assert len({query.id for query in held}) == 50
        for query in sorted(held, key=lambda query: query.question[0].name):
            await far.streams[0].send_all(framed(usual(query).to_wire()))
    assert len(far.opened) == 1
    assert len(answers) == 50
    assert all(answer.counts == (1, 0, 0) for answer in answers.values())


async def test_answers_in_pieces(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    held: list[dns.message.Message] = []
    far = FarSide(nursery, {ONE: held.append})
    pipeline = begin(nursery, far)

    async def answer() -> None:
        await wait_all_tasks_blocked()
        for byte in framed(usual(held[0]).to_wire()):
            await far.streams[0].send_all(bytes([byte]))

    nursery.start_soon(answer)
    assert (await pipeline.ask(question())).good


async def test_it_ends_when_nobody_asks_for_a_while(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far, ended = FarSide(nursery), trio.Event()
    pipeline = Pipeline(partial(far.open, "", ONE))

    async def run() -> None:
        await pipeline.run()
        ended.set()

    nursery.start_soon(run)
    for _ in range(3):
        await pipeline.ask(question())
        await trio.sleep(IDLE - 0.1)
        assert not ended.is_set()
    await trio.sleep(0.2)
    assert ended.is_set()
    assert len(far.opened) == 1


async def test_whoever_waits_when_it_breaks_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery, {ONE: lambda _query: None})
    pipeline = begin(nursery, far)

    async def cut() -> None:
        await wait_all_tasks_blocked()
        far.break_all()

    nursery.start_soon(cut)
    with pytest.raises(ResolveError):
        await pipeline.ask(question())
    assert not pipeline.refused
    with pytest.raises(ResolveError):  # at once
        await pipeline.ask(question())


async def test_no_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pipeline = begin(nursery, FarSide(nursery, {}))
    with pytest.raises(ResolveError):
        await pipeline.ask(question())
    assert pipeline.refused


@pytest.mark.parametrize(
    "wrong",
    [
        lambda query: usual(query).to_wire()[:12],
        lambda query: query.to_wire(),
        lambda query: b"",
        lambda query: b"\0\0" + usual(query).to_wire()[2:],
        lambda query: usual(query).to_wire().replace(b"example", b"elpmaxe"),
    ],
)
async def test_what_is_no_answer_is_none(nursery: trio.Nursery, autojump_clock: MockClock, wrong: object) -> None:
    far = FarSide(nursery, {ONE: wrong})  # type: ignore[dict-item]
    pipeline = begin(nursery, far)
    with trio.move_on_after(SILENT / 2) as scope:
        await pipeline.ask(question())
    assert scope.cancelled_caught
    far.zones[ONE] = usual
    assert (await pipeline.ask(question())).good  # it goes on
    assert len(far.opened) == 1


@pytest.mark.parametrize("heard", [False, True])
async def test_who_has_said_nothing_for_long_is_gone(
    nursery: trio.Nursery, autojump_clock: MockClock, heard: bool
) -> None:
    def zone(query: dns.message.Message) -> dns.message.Message | None:
        return usual(query) if b"other" in query.to_wire() else None

    far = FarSide(nursery, {ONE: zone})
    pipeline = begin(nursery, far)
    with trio.move_on_after(SILENT + 0.1):
        async with trio.open_nursery() as asking:
            asking.start_soon(pipeline.ask, question())
            if heard:
                await trio.sleep(0.1)
                await pipeline.ask(question("other.example"))
    if heard:
        assert (await pipeline.ask(question("other.example"))).good
    else:
        with pytest.raises(ResolveError):
            await pipeline.ask(question("other.example"))


async def test_a_number_that_comes_too_late(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery, delay=1)
    pipeline = begin(nursery, far)
    with trio.move_on_after(0.5):
        await pipeline.ask(question())
    assert (await pipeline.ask(question("other.example"))).good


async def test_it_cannot_be_written_to(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    theirs.receive_stream.close()  # what is read stays open

    async def open_stream() -> trio.abc.HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        return ours

    pipeline = Pipeline(open_stream)
    nursery.start_soon(pipeline.run)
    with pytest.raises(ResolveError):
        await pipeline.ask(question())
