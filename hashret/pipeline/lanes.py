"""Lanes: threads that each run the network on a batch of their own, with one core each.

Kernels that share one pass among several threads round differently with their number, and wait for each other at every
layer, which costs most where decoders want the same cores. Lanes do neither: what a batch comes to does not depend on
how many there are, and batches go through side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from types import TracebackType
from typing import Generic, TypeVar

import torch

__all__ = ["Lanes"]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Lanes(Generic[_Given, _Made]):
    """A pool of threads whose kernels use one core each; use it as a context.

    Args:
        count: How many, at least 1.
        work: What is done with each thing, in a lane.

    Example:
        >>> with Lanes(2, abs) as lanes:
        ...     list(lanes.results(iter([-3, 2, -1])))
        [(-3, 3), (2, 2), (-1, 1)]
    """

    def __init__(self, count: int, work: Callable[[_Given], _Made]) -> None:
        """Start the threads."""
        self._count, self._work = count, work
        started = Barrier(count + 1)

        def alone() -> None:
            torch.get_num_threads()  # or its first kernel would bring the thread to the number for all
            torch.set_num_threads(1)
            started.wait()

        threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, "hashret lane", initializer=alone)
        for _ in range(count):
            self._pool.submit(int)
        started.wait()
        torch.set_num_threads(threads)  # of threads that others start

    def __enter__(self) -> Lanes[_Given, _Made]:
        """Nothing more is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what has not begun and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)

    def results(self, given: Iterator[_Given]) -> Iterator[tuple[_Given, _Made]]:
        """Each thing with what was made of it, in order; one more than there are lanes is taken ahead.

        Raises:
            BaseException: What the work raised of a thing, in its turn.
        """
        under_way: deque[tuple[_Given, Future[_Made]]] = deque()
        for one in given:
            under_way.append((one, self._pool.submit(self._work, one)))
            if len(under_way) > self._count:
                first, made = under_way.popleft()
                yield first, made.result()
        while under_way:
            first, made = under_way.popleft()
            yield first, made.result()
