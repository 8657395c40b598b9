"""Resolvers at the far side: they are asked over DNS on TCP, by way of the tunnel, so names are told to nobody in between."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio

from .dns_pipeline import Pipeline, ResolveError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .address import Address
    from .protocol.dns_message import Answer, Question

    #: A stream to the address by way of the named exit, or of the current one where the name is empty. Raises OpenError.
    OpenThrough: TypeAlias = Callable[[str, Address], Awaitable[trio.abc.HalfCloseableStream]]

# Our choice; seconds. How long a resolver is alone before the next one is asked: a slow link's round trip, several times.
PATIENCE = 2.0


class FarResolvers:
    """Needs `run`. At most one connection to each resolver by way of each exit."""

    def __init__(self, resolvers: Sequence[Address], open_through: OpenThrough) -> None:
        self._resolvers = tuple(resolvers)
        self._open_through = open_through
        self._pipelines: dict[tuple[str, Address], Pipeline] = {}
        self._best: dict[str, Address] = {}  # for each exit the one that answered last
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def resolve(self, question: Question, exit_name: str = "") -> Answer:
        """The first good answer, or else the last one. Raises ResolveError where there is none; who asks sets the time limit."""
        last: Answer | None = None
        answer: Answer | None
        order = self._order(exit_name)
        for resolver in order:
            answer = None
            with trio.move_on_after(math.inf if resolver is order[-1] else PATIENCE), suppress(ResolveError):
                answer = await self._ask((exit_name, resolver), question)
            if answer is None:
                continue
            if answer.good:
                self._best[exit_name] = resolver
                return answer
            last = answer
        if last is None:
            raise ResolveError
        return last

    def _order(self, exit_name: str) -> list[Address]:
        best = self._best.get(exit_name)
        return sorted(self._resolvers, key=lambda resolver: resolver != best)

    async def _ask(self, place: tuple[str, Address], question: Question) -> Answer:
        """On the connection that is kept, and where that breaks, once more on another."""
        pipeline = self._pipeline(place)
        try:
            return await pipeline.ask(question)
        except ResolveError:
            if pipeline.refused:
                raise
        return await self._pipeline(place).ask(question)

    def _pipeline(self, place: tuple[str, Address]) -> Pipeline:
        pipeline = self._pipelines.get(place)
        if pipeline is None:
            assert self._nursery is not None  # it runs
            pipeline = self._pipelines[place] = Pipeline(partial(self._open_through, *place))
            self._nursery.start_soon(self._run_one, place, pipeline)
        return pipeline

    async def _run_one(self, place: tuple[str, Address], pipeline: Pipeline) -> None:
        try:
            await pipeline.run()
        finally:
            del self._pipelines[place]  # before anybody who waited goes on, and asks for another one
