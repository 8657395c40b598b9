"""What mostly waits is run side by side: each case in a thread of its own, on a lab of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Case = TypeVar("Case")
Result = TypeVar("Result")


class Runs(Generic[Case, Result]):
    """Of one function, for several cases."""

    def __init__(self, futures: dict[Case, Future[Result]]) -> None:
        self._futures = futures

    def __getitem__(self, case: Case) -> Result:
        """Waits for it. What went wrong in it, or made it skip itself, is raised here, in the test that asks."""
        return self._futures[case].result()


@contextmanager
def side_by_side(run: Callable[[Case], Result], cases: Iterable[Case]) -> Iterator[Runs[Case, Result]]:
    every = list(cases)
    with ThreadPoolExecutor(len(every)) as threads:
        yield Runs({case: threads.submit(run, case) for case in every})
