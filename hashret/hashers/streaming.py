"""Fitting on a sample of rows and hashing all of them, a block at a time: embeddings larger than memory.

What a block needs is what stands in memory. The codes go to a file without a name, which vanishes with the process, and
from there into a codes file that is whole or not there.
"""

from __future__ import annotations

import difflib
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import FileError, InputError, NonFiniteError, WidthError
from hashret.hashers.hasher import Hasher, PairHasher
from hashret.hashers.vectors import check_rows

__all__ = ["Rows", "fit_rows", "hash_rows", "make_hasher"]


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
        raise InputError("hasher", expected=f"one of {', '.join(known)}", got=repr(name), remedy=_near(name, known))
    parameters = inspect.signature(known[name]).parameters
    for option in options:
        if option not in parameters:
            raise InputError(
                f"parameter of {name}", expected=f"one of {', '.join(parameters)}", got=repr(option),
                remedy=_near(option, parameters),
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
    if set(given) != set(hasher.inputs):
        raise InputError(
            f"inputs of {hasher.name}", expected=" and ".join(hasher.inputs), got=" and ".join(given),
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
    for name in hasher.inputs:
        values = given[name].take(numbers)
        bad = np.flatnonzero(~np.isfinite(values.sum(1, dtype=np.float64)))
        if len(bad):
            check_rows(values[bad[:1]], str(given[name].path), int(numbers[bad[0]]))
        taken[name] = values[:, 0].astype(np.int64) if name == "labels" and given[name].flat else values
    hasher.fit(*taken.values())
    return len(numbers)


def hash_rows(
    hasher: Hasher,
    rows: Rows,
    out: str | os.PathLike[str],
    *,
    side: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write the codes of all rows as a codes file.

    Args:
        hasher: A fitted one.
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
    paired = isinstance(hasher, PairHasher)
    if (side is None) == paired:
        raise InputError(
            f"side of {hasher.name}", expected="'image' or 'text'" if paired else "none", got=repr(side),
            remedy="Say which modality it is." if paired else "It knows one modality only.",
        )  # fmt: skip
    width = hasher.width(side) if isinstance(hasher, PairHasher) else hasher.n_features_in_  # type: ignore[arg-type]
    if rows.width != width:
        raise WidthError(
            str(rows.path), expected=f"{width} columns", got=str(rows.width),
            remedy="Embed them as those the hasher was fitted on, and check the side.",
        )  # fmt: skip
    bits, out = hasher.bits, Path(out)
    try:
        with tempfile.TemporaryFile(dir=out.parent) as file:
            done = 0
            for block in rows.blocks():
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


def _block_codes(hasher: Hasher, block: NDArray[Any], side: str | None, path: Path, first: int) -> Codes:
    try:
        codes: Codes = hasher.transform(block) if side is None else hasher.transform(block, side=side)
    except NonFiniteError:
        check_rows(block, str(path), first)  # says it with the number of the row in the file
        raise
    return codes


def _near(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]}?" if near else "Choose one of them."
