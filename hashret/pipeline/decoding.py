"""work: what a decoding process does, from a chunk of entries to arrays, and how it says what it is at.

It runs in a forked child (:mod:`hashret.pipeline.decoders` holds the other end), reads files and runs the processor,
and no network. Whatever is wrong with an item is a reason for that item; only what would be wrong with every item is
an error.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import signal
import struct
import sys
import time
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from hashret.data.entry import Entry
from hashret.data.quarantine import check_text, check_vector
from hashret.errors import HashretError, ImageError, InputError, NonFiniteError, TextError, WidthError
from hashret.examples import Example
from hashret.models import Inputs, Processor

__all__ = ["HEADER", "LONGEST_TEXT", "NOBODY", "clock", "prepare", "work"]

LONGEST_TEXT = 1_000_000
"""Letters of a text; what is longer is given up: an encoder reads a few hundred words of it at most."""

HEADER = 4096
_MARK = struct.Struct("<qqd")  # number of the chunk, place in it or -1 for all at once, monotonic time
NOBODY = _MARK.pack(-1, -2, 0.0).ljust(HEADER, b"\0")
_ITS_OWN_FAULT = (ImageError, TextError, NonFiniteError, WidthError)
_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG


def clock(memory: mmap.mmap) -> tuple[int, int, float]:
    """Chunk, place and since when, as the process noted it."""
    number, place, since = _MARK.unpack_from(memory, 0)
    return number, place, since


def work(
    pipe: Connection, others: Sequence[Connection], memory: mmap.mmap, slot_size: int, processor: Processor, parent: int
) -> None:
    """Take chunks until the parent is gone."""
    for other in others:
        other.close()
    _settle(parent)
    while True:
        try:
            number, slot, size = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        start = HEADER + slot * slot_size
        entries, given_up, alone = pickle.loads(memory[start : start + size])

        def note(place: int, number: int = number) -> None:
            _MARK.pack_into(memory, 0, number, place, time.monotonic())

        told: Any
        try:
            inputs, good, reasons = prepare(processor, entries, given_up, alone, note)
            told = (*_kept(inputs, memory, start, slot_size), good, reasons)
        except HashretError as error:
            told = error
        except Exception as error:
            told = HashretError(
                "decoder", expected="items that can be put together", got=f"{type(error).__name__}: {error}",
                remedy="Are all features of one width?",
            )  # fmt: skip
        _MARK.pack_into(memory, 0, number, -2, 0.0)
        pipe.send((number, slot, told))


def _settle(parent: int) -> None:
    """Be quiet, be alone, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # libtiff and libpng write there what becomes a reason here
    os.close(nowhere)


def prepare(
    processor: Processor, entries: Sequence[Entry], given_up: dict[int, str], alone: bool, note: Any
) -> tuple[Inputs | None, list[int], dict[int, str]]:
    """Read, check and convert entries.

    Args:
        processor: What makes inputs.
        entries: The entries.
        given_up: Place -> reason, of those that are not to be touched.
        alone: Convert each by itself, even where all at once is quicker.
        note: Told the place of an entry before it is touched, -1 for all at once.

    Returns:
        The inputs of the good ones, their places, and the reasons of the others.

    Raises:
        InputError: The processor cannot take such entries at all.
    """
    reasons = dict(given_up)
    examples: dict[int, Example] = {}
    parts: dict[int, Inputs] = {}
    pictures = any(entry.image is not None and not isinstance(entry.image, np.ndarray) for entry in entries)
    for place, entry in enumerate(entries):
        if place in reasons:
            continue
        note(place)
        try:
            reason = entry.reason or _fault(entry)
            if reason:
                reasons[place] = reason
                continue
            examples[place] = entry.example()
            if pictures or alone:
                parts[place] = processor([examples.pop(place)])
        except Exception as error:
            reasons[place] = _reason(error)
    if examples:
        note(-1)
        try:
            return processor(list(examples.values())), list(examples), dict(sorted(reasons.items()))
        except Exception:
            for place, example in examples.items():
                note(place)
                try:
                    parts[place] = processor([example])
                except Exception as error:
                    reasons[place] = _reason(error)
    good = sorted(parts)
    inputs = Inputs.stack([parts[place] for place in good]) if good else None
    return inputs, good, dict(sorted(reasons.items()))


def _fault(entry: Entry) -> str | None:
    """What is wrong with an entry before anything is decoded."""
    if isinstance(entry.text, str) and len(entry.text) > LONGEST_TEXT:
        return f"a text of more than {LONGEST_TEXT:,} letters"
    image = entry.image
    if isinstance(image, np.ndarray) and image.dtype.kind == "f" and (fault := check_vector(image)):
        return fault
    return check_text(entry.text)


def _reason(error: Exception) -> str:
    """The same few words for the same cause.

    Raises:
        InputError: It is not the item's fault.
    """
    if isinstance(error, InputError) and not isinstance(error, _ITS_OWN_FAULT):
        raise error
    if isinstance(error, HashretError):
        return error.got or str(error)
    if isinstance(error, MemoryError):
        return "more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"{type(error).__name__}: {error}"


def _kept(inputs: Inputs | None, memory: mmap.mmap, start: int, size: int) -> tuple[bytes, list[tuple[int, int]]]:
    """The arrays of inputs in the shared memory, as far as they fit, and what is needed to find them there."""
    if inputs is None:
        return pickle.dumps(None), []
    arrays = {name: value.numpy() for name, value in vars(inputs).items() if value is not None}
    room = sum(array.nbytes + 64 for array in arrays.values()) <= size
    places: list[tuple[int, int]] = []
    end = 0

    def keep(buffer: pickle.PickleBuffer) -> bool:
        nonlocal end
        raw = buffer.raw()
        if not room:
            return True  # stays in the message
        first = -(-end // 64) * 64
        end = first + raw.nbytes
        memory[start + first : start + end] = raw
        places.append((first, end))
        return False

    return pickle.dumps(arrays, protocol=5, buffer_callback=keep), places
