"""The crew of a search: how many threads are worth their start, and tasks run in them.

Kernels run without the GIL, so that plain threads are enough; results come in the order of the tasks and depend on no
number of threads. What the tasks are is their callers' business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hashret.search.inputs import whole_number

__all__ = ["at_least_one", "crew", "together"]

_THREAD_WORDS = 1 << 21  # words compared below which another thread costs more than it brings


def crew(threads: int | None, work: int) -> int:
    """Threads to use: those allowed (None: one a core), but none for less work than it takes to start one.

    Example:
        >>> crew(2, 10), crew(2, 1 << 30)
        (1, 2)
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(threads or cores, work // _THREAD_WORDS))


def together(tasks: Iterable[Callable[[], Any]], workers: int) -> list[Any]:
    """Run tasks, ``workers`` at a time; results in the order of the tasks.

    Example:
        >>> together([lambda: 1, lambda: 2], workers=2)
        [1, 2]
    """
    if workers == 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def at_least_one(threads: int | None) -> int | None:
    """A number of threads, or None for all cores.

    Raises:
        InputError: Below 1, or no whole number.
    """
    return None if threads is None else whole_number(threads, "threads", least=1)
