"""The shorter way of streams that have it, and the usual one of those that do not."""

from __future__ import annotations

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints, memory_stream_pair

from proxy.errors import Reason
from proxy.shortcut import close_soon, end_soon, receive_soon, send_soon
from tests.ends import two_ends


async def test_streams_with_no_shorter_way_go_the_usual_one() -> None:
    one, other = memory_stream_pair()
    with assert_checkpoints():
        assert not await send_soon(one)(b"data")
    assert await receive_soon(other)(2) == b"da"
    assert await receive_soon(other)(9) == b"ta"
    with assert_checkpoints():
        await end_soon(one)
    assert await receive_soon(other)(1) == b""
    with assert_checkpoints():
        await close_soon(one)
    with pytest.raises(trio.ClosedResourceError):
        await one.send_all(b"late")


async def test_a_stream_of_the_tunnel_has_it(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        with assert_no_checkpoints():
            assert await send_soon(one)(b"data") is False
            await end_soon(one)
        assert await other.receive_some() == b"data"
        assert await other.receive_some() == b""
        with assert_no_checkpoints():
            await close_soon(other)
            await close_soon(other)
        assert await one.receive_some() == b""
        await close_soon(one)


async def test_what_is_too_much_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        data = bytes(3_000_000)
        sent: list[bool | None] = []

        @ends.nursery.start_soon
        async def send() -> None:
            sent.append(await send_soon(one)(data))
            await end_soon(one)

        assert sum([len(piece) async for piece in other]) == len(data)
        assert sent == [True]


async def test_an_end_that_cannot_be_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        async with other, one:
            with assert_no_checkpoints():
                await end_soon(one)  # twice is the same as once
                await end_soon(one)
            with pytest.raises(trio.ClosedResourceError):
                await send_soon(one)(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await end_soon(one)
        one, other = await ends.open()
        other.reset(Reason.FAILED)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await end_soon(one)
