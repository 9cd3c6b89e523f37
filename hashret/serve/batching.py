"""Batcher: single requests on their way through something that is as quick for many as for one.

Requests come one by one, and an encoder's pass costs the same for sixteen as for one. So who asks is put into a line,
and whatever of one kind stands there goes through together; while a pass runs, the next one fills. Nothing waits for
company longer than a few milliseconds, and nothing here knows what is computed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hashret.serve.problems import BusyError, NotReadyError

__all__ = ["Batcher"]

Job = TypeVar("Job")
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Job, Answer]):
    kind: Hashable
    job: Job
    answer: asyncio.Future[Answer]


class Batcher(Generic[Job, Answer]):
    """A line before a function of many jobs, which runs in a thread of its own.

    Args:
        function: From n jobs of one kind to n answers, in their order; what it raises goes to all n.
        most: Jobs at a time.
        wait: Seconds for which the first of a batch waits for others.
        room: Jobs that may stand in line.
        told: Given the size of each batch.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Job]], Sequence[Answer]],
        *,
        most: int,
        wait: float = 0.004,
        room: int = 512,
        told: Callable[[int], Any] = lambda size: None,
    ) -> None:
        """Make the line; :meth:`start` opens it."""
        self._function, self._most, self._wait, self._room, self._told = function, most, wait, room, told
        self._line: deque[_Waiting[Job, Answer]] = deque()
        self._comes = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def start(self) -> None:
        """Begin to work; within a running event loop."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish what stands in line, and take nothing more."""
        self._closed = True
        self._comes.set()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown(wait=True)

    async def ask(self, kind: Hashable, job: Job) -> Answer:
        """Stand in line with one job.

        Args:
            kind: Only jobs of one kind go through together.
            job: What the function takes.

        Raises:
            BusyError: The line is full.
            NotReadyError: It was closed.
        """
        if self._closed:
            raise NotReadyError(
                "server", expected="a running one", got="one that stops", remedy="Ask again in a moment."
            )
        if len(self._line) >= self._room:
            raise BusyError(
                "queue", expected=f"at most {self._room} queries in line", got="more",
                remedy="Ask again in a moment, or with fewer clients.",
            )  # fmt: skip
        place = _Waiting[Job, Answer](kind, job, asyncio.get_running_loop().create_future())
        self._line.append(place)
        self._comes.set()
        try:
            return await place.answer
        finally:
            with suppress(ValueError):  # who goes away does not keep a place
                self._line.remove(place)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._line and not self._closed:
                self._comes.clear()
                await self._comes.wait()
            if not self._line:
                return
            batch = await self._next()
            if not batch:
                continue
            self._told(len(batch))
            jobs = [place.job for place in batch]
            try:
                answers = await loop.run_in_executor(self._thread, self._function, jobs)
                for place, answer in zip(batch, answers, strict=True):
                    if not place.answer.done():
                        place.answer.set_result(answer)
            except Exception as error:
                for place in batch:
                    if not place.answer.done():
                        place.answer.set_exception(error)

    async def _next(self) -> list[_Waiting[Job, Answer]]:
        """The first in line and others of its kind, once there are enough or the first has waited long enough."""
        until = asyncio.get_running_loop().time() + self._wait
        while self._line and not self._closed:
            if sum(place.kind == self._line[0].kind for place in self._line) >= self._most:
                break
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                break
            self._comes.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._comes.wait(), left)
        batch = [place for place in self._line if place.kind == self._line[0].kind][: self._most]
        for place in batch:
            self._line.remove(place)
        return batch
