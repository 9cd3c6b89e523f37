"""Decoders: processes that turn entries into a network's inputs ahead of it, and may hang or die without harm.

Pictures from the web crash decoders and make them run forever, and a thread that does either takes the run with it. So
chunks of entries go to processes. Requests and results pass through memory they share, never through a pipe that
could fill up and block both ends; of a process one can always see which item it is at and since when. If that is too
long it is killed, if it has died it is started again; what it was at is tried once more by itself and then given up
with a reason. Results come in the order of the chunks, and no more chunks are under way than there are slots.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import pickle
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

import numpy as np
import torch

from hashret.data.entry import Entry
from hashret.errors import HashretError
from hashret.models import Inputs, Processor
from hashret.pipeline.decoding import HEADER, NOBODY, clock, work

__all__ = ["Chunk", "Decoded", "Decoders", "cores"]

SLOT = 1 << 27  # bytes of shared memory for a chunk; only what is touched is ever taken
SLOTS = 2  # chunks a process has at a time: one in work, one waiting
ALONE = 1  # the same where there is one core: what decodes then and what waits for it take turns, and never push in
_LOOK = 0.5  # seconds between two looks at what the processes are at


@dataclass(eq=False)
class Chunk:
    """Entries that are decoded together.

    Attributes:
        positions: Of the entries in their source.
        entries: The entries.
        reasons: Place in the chunk -> why that entry was given up.
    """

    positions: list[int]
    entries: list[Entry]
    reasons: dict[int, str] = field(default_factory=dict)
    tried: set[int] = field(default_factory=set)  # places at which a process died once
    number: int = 0


@dataclass(frozen=True, eq=False)
class Decoded:
    """What became of a chunk; the inputs lie in memory that is used again when the next one is asked for.

    Attributes:
        chunk: The chunk.
        inputs: Of the good entries, in order; None if there are none.
        good: Their places in the chunk.
        reasons: Place -> reason, of the others.
    """

    chunk: Chunk
    inputs: Inputs | None
    good: Sequence[int]
    reasons: dict[int, str]


class _Hand:
    """One process, the memory it shares, and what it has to do."""

    def __init__(self, processor: Processor) -> None:
        slots = SLOTS if cores() > 1 else ALONE
        self.memory = mmap.mmap(-1, HEADER + slots * SLOT)
        self.processor = processor
        self.slots: list[Chunk | None] = [None] * slots
        self.deaths = 0
        self.overdue: tuple[tuple[int, int], float] | None = None

    def start(self, others: Sequence[_Hand]) -> None:
        """Fork a process; it closes the parent's ends of all pipes, so that it hears when the parent is gone."""
        self.clear_mark()
        self.pipe, far = multiprocessing.Pipe()
        ends = [self.pipe, *(other.pipe for other in others if other is not self and hasattr(other, "pipe"))]
        context = multiprocessing.get_context("fork")
        arguments = (far, ends, self.memory, SLOT, self.processor, os.getpid())
        self.process = context.Process(target=work, args=arguments, daemon=True, name="hashret decoder")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: the child starts none
            self.process.start()
        far.close()

    def clear_mark(self) -> None:
        self.memory[:HEADER] = NOBODY

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Decoders:
    """A crew of processes; use it as a context.

    Args:
        processor: What turns examples into inputs.
        workers: How many processes.
        timeout: Seconds that one item may take.

    Raises:
        HashretError: Processes die before they have decoded anything, or where forking is unknown.
    """

    def __init__(self, processor: Processor, *, workers: int, timeout: float) -> None:
        """Nothing is started yet."""
        if "fork" not in multiprocessing.get_all_start_methods():
            raise HashretError("decoders", expected="a system that forks", got=os.name, remedy="Use Linux or WSL.")
        self._hands = [_Hand(processor) for _ in range(workers)]
        self._timeout = timeout

    def __enter__(self) -> Decoders:
        """Start the processes."""
        for hand in self._hands:
            hand.start(self._hands)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them, whatever they are at."""
        for hand in self._hands:
            hand.stop()

    def results(self, chunks: Iterator[Chunk]) -> Iterator[Decoded]:
        """Decode chunks ahead of the caller, at most two a process, and give them back in order.

        Raises:
            InputError: The processor cannot take such entries at all.
            HashretError: Processes die again and again without an item to blame.
        """
        waiting: deque[Chunk] = deque()  # in order, those that are done included
        done: dict[int, tuple[_Hand, int, Any]] = {}
        count = 0
        exhausted = False
        while True:
            while not exhausted and (place := self._free()) is not None:
                chunk = next(chunks, None)
                if chunk is None:
                    exhausted = True
                    break
                chunk.number, count = count, count + 1
                waiting.append(chunk)
                self._send(*place, chunk)
            if not waiting:
                return
            while waiting[0].number not in done:
                self._look(done)
            chunk = waiting.popleft()
            hand, slot, told = done.pop(chunk.number)
            yield self._decoded(hand, slot, chunk, told)
            hand.slots[slot] = None

    def _free(self) -> tuple[_Hand, int] | None:
        """The free slot of the process that has the least to do."""
        hand = min(self._hands, key=lambda each: sum(chunk is not None for chunk in each.slots))
        slots = [slot for slot, chunk in enumerate(hand.slots) if chunk is None]
        return (hand, slots[0]) if slots else None

    def _send(self, hand: _Hand, slot: int, chunk: Chunk) -> None:
        hand.slots[slot] = chunk
        alone = bool(chunk.tried or chunk.reasons)
        content = pickle.dumps((chunk.entries, chunk.reasons, alone), pickle.HIGHEST_PROTOCOL)
        start = HEADER + slot * SLOT
        if len(content) > SLOT:
            largest = max(range(len(chunk.entries)), key=lambda place: _weight(chunk.entries[place]))
            chunk.reasons[largest] = f"an item of {_weight(chunk.entries[largest])} bytes"
            chunk.entries[largest] = Entry(chunk.entries[largest].key, reason=chunk.reasons[largest])
            self._send(hand, slot, chunk)
            return
        hand.memory[start : start + len(content)] = content
        with contextlib.suppress(OSError):  # it has died: seen at the next look, and sent again
            hand.pipe.send((chunk.number, slot, len(content)))

    def _look(self, done: dict[int, tuple[_Hand, int, Any]]) -> None:
        """Take what has arrived; otherwise see whether a process has died, or is at one item for too long."""
        pipes = {hand.pipe: hand for hand in self._hands}
        arrived = wait(list(pipes), _LOOK)
        for pipe in arrived:
            hand = pipes[pipe]  # type: ignore[index]
            try:
                number, slot, told = hand.pipe.recv()
            except (EOFError, OSError):
                self._raise_again(hand, done)
                continue
            hand.deaths = 0
            done[number] = (hand, slot, told)
        for hand in self._hands:
            self._hurry(hand, done)

    def _hurry(self, hand: _Hand, done: dict[int, tuple[_Hand, int, Any]]) -> None:
        """Kill a process that has been at one item for too long, seen twice."""
        number, place, since = clock(hand.memory)
        if place < -1 or time.monotonic() - since <= self._timeout or hand.pipe.poll():
            hand.overdue = None
            return
        now = time.monotonic()
        if hand.overdue is None or hand.overdue[0] != (number, place):
            hand.overdue = (number, place), now
        elif now - hand.overdue[1] >= _LOOK:
            chunk = next((each for each in hand.slots if each is not None and each.number == number), None)
            hand.overdue = None
            if chunk is not None and place >= 0:
                chunk.reasons[place] = f"decoding took longer than {self._timeout:g} seconds"
            self._raise_again(hand, done)

    def _raise_again(self, hand: _Hand, done: dict[int, tuple[_Hand, int, Any]]) -> None:
        """Start a process anew and give it again what it had; an item at which it died twice is given up."""
        hand.process.kill()
        hand.process.join()
        while hand.pipe.poll():  # what it had finished before
            try:
                finished, slot, told = hand.pipe.recv()
            except (EOFError, OSError):
                break
            done[finished] = (hand, slot, told)
        hand.pipe.close()
        number, place, _ = clock(hand.memory)
        for chunk in hand.slots:
            if chunk is None or chunk.number != number or number in done or place in chunk.reasons:
                continue
            if place in chunk.tried and place >= 0:
                chunk.reasons[place] = f"its decoder died ({_death(hand.process.exitcode)})"
            chunk.tried.add(place)
        hand.deaths = hand.deaths + 1 if place < 0 else 0
        if hand.deaths > 3:
            raise HashretError(
                "decoders", expected="processes that live", got=f"one that {_death(hand.process.exitcode)} four times",
                remedy="Is there enough memory? Give fewer --workers.",
            )  # fmt: skip
        hand.start(self._hands)
        for slot, chunk in sorted(
            ((slot, chunk) for slot, chunk in enumerate(hand.slots) if chunk is not None), key=lambda x: x[1].number
        ):
            if chunk.number not in done:
                self._send(hand, slot, chunk)

    def _decoded(self, hand: _Hand, slot: int, chunk: Chunk, told: Any) -> Decoded:
        if isinstance(told, HashretError):
            raise told
        content, places, good, reasons = told
        start = HEADER + slot * SLOT
        shared = memoryview(hand.memory)
        buffers = [shared[start + first : start + last] for first, last in places]
        parts = pickle.loads(content, buffers=buffers)
        inputs = None
        if parts is not None:
            inputs = Inputs(**{name: torch.from_numpy(array) for name, array in parts.items()})
        return Decoded(chunk, inputs, good, reasons)


def _weight(entry: Entry) -> int:
    """Bytes of an entry, about."""
    sizes = (
        part.nbytes if isinstance(part, np.ndarray) else len(part)
        for part in (entry.image, entry.text)
        if isinstance(part, str | bytes | np.ndarray)
    )  # fmt: skip
    return sum(sizes)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _death(code: int | None) -> str:
    return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
