"""Fitting on a sample of rows and hashing all of them, a block at a time: embeddings larger than memory.

What a block needs is what stands in memory. The codes go to a file without a name, which vanishes with the process, and
from there into a codes file that is whole or not there.
"""

from __future__ import annotations

import difflib
import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import FileError, InputError, NonFiniteError, WidthError
from hashret.hashers.hasher import Hasher
from hashret.hashers.vectors import check_rows

__all__ = ["Coder", "Rows", "fit_rows", "hash_rows", "make_hasher", "near", "read_ahead", "take_rows"]


class Rows(Protocol):
    """Rows of numbers that are read when they are asked for.

    Attributes:
        path: What an error calls them.
        rows: How many.
        width: Numbers a row.
        flat: Whether they are a column of single numbers, such as classes.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def flat(self) -> bool: ...  # noqa: D102
    def blocks(self) -> Iterator[NDArray[Any]]: ...  # noqa: D102
    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]: ...  # noqa: D102


class Coder(Protocol):
    """What turns rows into codes: a fitted hasher.

    One of one modality has their width as ``n_features_in_``; one of two, which has "texts" among its inputs, tells it
    by ``width(side)``.

    Attributes:
        name: What an error calls it.
        inputs: What it was fitted on.
        bits: Width of a code.
        transform: Called with a block, and with ``side=`` where it knows two modalities.
    """

    name: ClassVar[str]
    inputs: Any
    bits: int
    transform: Callable[..., Any]


def make_hasher(known: Mapping[str, type[Any]], name: str, options: Mapping[str, Any]) -> Any:
    """An unfitted hasher by name.

    Args:
        known: HASHERS.
        name: A key of it.
        options: Parameters by name.

    Raises:
        InputError: No such hasher, or no such parameter.

    Example:
        >>> from hashret.hashers import HASHERS
        >>> make_hasher(HASHERS, "itq", {"bits": 32})
        ITQ(bits=32)
    """
    if name not in known:
        raise InputError("hasher", expected=f"one of {', '.join(known)}", got=repr(name), remedy=near(name, known))
    parameters = inspect.signature(known[name]).parameters
    for option in options:
        if option not in parameters:
            raise InputError(
                f"parameter of {name}", expected=f"one of {', '.join(parameters)}", got=repr(option),
                remedy=near(option, parameters),
            )  # fmt: skip
    return known[name](**options)


def fit_rows(hasher: Hasher, given: Mapping[str, Rows], *, sample: int, seed: int) -> int:
    """Fit a hasher on rows of files, or on a sample of them.

    Args:
        hasher: Is fitted.
        given: Rows of each of the hasher's ``inputs``; row i of one belongs to row i of the others.
        sample: At most so many rows, drawn without replacement, kept in their order.
        seed: Draws them.

    Returns:
        How many rows were used.

    Raises:
        InputError: Other inputs than the hasher takes, different numbers of rows, or what ``fit`` refuses.
        NonFiniteError: NaN or infinity, with the number of the row in its file.
    """
    taken, numbers = take_rows(given, hasher.inputs, hasher.name, sample=sample, seed=seed)
    hasher.fit(*taken.values())
    return len(numbers)


def take_rows(
    given: Mapping[str, Rows], inputs: Sequence[str], name: str, *, sample: int, seed: int
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Rows of files in memory, or a sample of them.

    Args:
        given: Rows of each of ``inputs``.
        inputs: What is asked for.
        name: Who asks.
        sample: At most so many rows, drawn without replacement, kept in their order.
        seed: Draws them.

    Returns:
        float32 or float64 (n, D) of each input in the order of ``inputs``, a column of labels as int64 (n,); and the
        numbers of the rows, int64 (n,).

    Raises:
        InputError: Other inputs than are asked for, or different numbers of rows.
        NonFiniteError: NaN or infinity, with the number of the row in its file.
    """
    if set(given) != set(inputs):
        raise InputError(
            f"inputs of {name}", expected=" and ".join(inputs), got=" and ".join(given),
            remedy="Pairs are texts to the images of the same rows; labels are one row an item.",
        )  # fmt: skip
    counts = {rows.path: rows.rows for rows in given.values()}
    total = next(iter(counts.values()))
    if set(counts.values()) != {total}:
        raise InputError(
            "rows", expected="equally many in each file",
            got=", ".join(f"{count:,} in {path}" for path, count in counts.items()), remedy="Row i is one item in all.",
        )  # fmt: skip
    numbers = np.arange(total)
    if total > sample:
        numbers = np.sort(np.random.default_rng(seed).choice(total, sample, replace=False, shuffle=False))
    taken = {}
    for part in inputs:
        values = given[part].take(numbers)
        bad = np.flatnonzero(~np.isfinite(values.sum(1, dtype=np.float64)))
        if len(bad):
            check_rows(values[bad[:1]], str(given[part].path), int(numbers[bad[0]]))
        taken[part] = values[:, 0].astype(np.int64) if part == "labels" and given[part].flat else values
    return taken, numbers


def hash_rows(
    hasher: Coder,
    rows: Rows,
    out: str | os.PathLike[str],
    *,
    side: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write the codes of all rows as a codes file.

    Args:
        hasher: A fitted one, or whatever else codes rows.
        rows: As wide as what it was fitted on.
        out: The codes file; what was there before stays until the new one is whole.
        side: "image" or "text" for a hasher of two modalities, None for one of one.
        progress: Told how many rows are done.

    Returns:
        How many codes there are.

    Raises:
        InputError: A side where there is none, or none where there are two.
        WidthError: Rows of another width.
        NonFiniteError: NaN or infinity, with the number of the row; no file is written.
        FileError: The place cannot be written.
    """
    paired = "texts" in hasher.inputs
    if (side is None) == paired:
        raise InputError(
            f"side of {hasher.name}", expected="'image' or 'text'" if paired else "none", got=repr(side),
            remedy="Say which modality it is." if paired else "It knows one modality only.",
        )  # fmt: skip
    width = hasher.width(side) if paired else hasher.n_features_in_  # type: ignore[attr-defined]
    if rows.width != width:
        raise WidthError(
            str(rows.path), expected=f"{width} columns", got=str(rows.width),
            remedy="Embed them as those the hasher was fitted on, and check the side.",
        )  # fmt: skip
    bits, out = hasher.bits, Path(out)
    try:
        with tempfile.TemporaryFile(dir=out.parent) as file:
            done = 0
            for block in read_ahead(rows.blocks()):
                file.write(_block_codes(hasher, block, side, rows.path, done).packed.data)
                done += len(block)
                progress(done)
            file.flush()
            packed = np.memmap(file, np.uint8, "r", shape=(done, -(-bits // 8)))
            Codes(packed, bits).save(out)
    except OSError as error:
        raise FileError(
            str(out), expected="a place that can be written", got=error.strerror or str(error),
            remedy="Check the folder, its permissions and the free space; what was there before is unchanged.",
        ) from error  # fmt: skip
    return done


def read_ahead(blocks: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The same blocks, each read by another thread while the one before it is worked on; two are in memory at a time.

    Example:
        >>> [len(block) for block in read_ahead(iter([np.zeros(3), np.zeros(2)]))]
        [3, 2]
    """
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _block_codes(hasher: Coder, block: NDArray[Any], side: str | None, path: Path, first: int) -> Codes:
    try:
        codes: Codes = hasher.transform(block) if side is None else hasher.transform(block, side=side)
    except NonFiniteError:
        check_rows(block, str(path), first)  # says it with the number of the row in the file
        raise
    return codes


def near(name: str, known: Iterable[str]) -> str:
    """What to do about a name that is none of ``known``.

    Example:
        >>> near("itqq", ["itq", "lsh"])
        'Did you mean itq?'
    """
    found = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {found[0]}?" if found else "Choose one of them."
