"""Binary codes: packed bits that know their width. This is the only door between training and search.

Bit order is :func:`numpy.packbits` order (most significant bit first), the convention of sentence-transformers'
``ubinary`` and of PDQ; a set bit is +1. Nothing here ranks codes or knows where they came from, and nothing here needs
torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.markup import Html, framed, table

if TYPE_CHECKING:
    import pandas

__all__ = ["Codes", "binarize"]

KIND = "hashret.codes/1"
_SHOWN_ROWS, _SHOWN_BITS = 8, 128  # of what a notebook shows


@dataclass(frozen=True, eq=False)
class Codes:
    """N binary codes of ``bits`` bits each.

    Attributes:
        packed: uint8 (N, ceil(bits / 8)), C order, most significant bit first, pad bits 0.
        bits: Width of a code, at least 1.

    Raises:
        InputError: ``packed`` is not a two-dimensional uint8 array, or ``bits`` is below 1.
        WidthError: The number of bytes a row does not fit ``bits``, or a pad bit is set.

    Example:
        >>> codes = binarize([[0.3, -0.1, 2.0], [-1.0, 0.0, 0.5]])
        >>> len(codes), codes.bits, codes.packed.tolist()
        (2, 3, [[160], [32]])
        >>> codes.unpack().tolist()
        [[1, -1, 1], [-1, -1, 1]]
    """

    packed: NDArray[np.uint8]
    bits: int

    def __post_init__(self) -> None:
        """Check shape, dtype, width and pad bits."""
        packed = self.packed
        if not isinstance(packed, np.ndarray) or packed.dtype != np.uint8 or packed.ndim != 2:
            got = f"{packed.dtype} {packed.shape}" if isinstance(packed, np.ndarray) else type(packed).__name__
            raise InputError(
                "packed codes", expected="a uint8 array (N, bytes)", got=got,
                remedy="Use binarize() for real numbers and np.packbits(x > 0, axis=1) for booleans.",
            )  # fmt: skip
        if isinstance(self.bits, bool) or not isinstance(self.bits, (int, np.integer)) or self.bits < 1:
            raise InputError(
                "bits", expected="an integer >= 1", got=repr(self.bits), remedy="Give the width of a code."
            )
        width = -(-self.bits // 8)
        if packed.shape[1] != width:
            raise WidthError(
                "packed codes", expected=f"{width} bytes a row for {self.bits} bits", got=f"{packed.shape[1]} bytes",
                remedy="Give the number of bits these codes were made with.",
            )  # fmt: skip
        pad = width * 8 - self.bits
        if pad and len(packed) and (packed[:, -1] & ((1 << pad) - 1)).any():
            row = int(np.flatnonzero(packed[:, -1] & ((1 << pad) - 1))[0])
            raise WidthError(
                "packed codes", expected=f"{pad} zero pad bits at the end of each row", got=f"a set one in row {row}",
                remedy="The codes are wider than said, or packed least significant bit first.",
            )  # fmt: skip
        if not packed.flags.c_contiguous:
            object.__setattr__(self, "packed", np.ascontiguousarray(packed))
        object.__setattr__(self, "bits", int(self.bits))

    def __len__(self) -> int:
        """Number of codes."""
        return len(self.packed)

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any]) -> Codes:
        """The codes at ``rows``: a slice, integers or a boolean mask; always Codes, also for one row."""
        if isinstance(rows, (int, np.integer)):
            raise InputError(
                "row", expected="a slice, a list or an array", got=f"the integer {rows}",
                remedy=f"Write codes[{rows}:{rows + 1}]: a part of Codes is always Codes.",
            )  # fmt: skip
        return Codes(np.ascontiguousarray(self.packed[rows]), self.bits)

    def __eq__(self, other: object) -> bool:
        """Same width and same bits, row by row."""
        return isinstance(other, Codes) and self.bits == other.bits and np.array_equal(self.packed, other.packed)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """``Codes(7000 x 64 bits, 56.0 kB)``."""
        return f"Codes({len(self)} x {self.bits} bits, {self.packed.nbytes / 1000:.1f} kB)"

    def _repr_html_(self) -> str:
        """The first codes as strips of bits, a set one dark; what a notebook shows."""
        ones = self[:_SHOWN_ROWS].unpack() > 0
        body = [[str(row), _strip(bits[:_SHOWN_BITS]), str(int(bits.sum()))] for row, bits in enumerate(ones)]
        left = [f"{len(self) - len(ones):,} more codes"] if len(self) > len(ones) else []
        left += [f"of each the first {_SHOWN_BITS} bits"] if self.bits > _SHOWN_BITS else []
        size = f"{len(self):,} codes of {self.bits} bits, {self.packed.nbytes / 1000:,.1f} kB"
        return framed(table(["code", "bits", "set"], body, "; ".join([size, *left])))

    def to_pandas(self) -> pandas.DataFrame:
        """A frame of a row a code and a column a bit, int8 in {-1, +1}; eight times the size of the packed codes.

        Example:
            >>> binarize([[0.3, -0.1, 2.0]]).to_pandas().loc[0].tolist()
            [1, -1, 1]
        """
        import pandas

        return pandas.DataFrame(self.unpack(), columns=pandas.RangeIndex(self.bits, name="bit"))

    def unpack(self) -> NDArray[np.int8]:
        """The bits as int8 (N, bits) in {-1, +1}."""
        ones = np.unpackbits(self.packed, axis=1, count=self.bits).view(np.int8)
        return (2 * ones - 1).astype(np.int8, copy=False)

    def words(self) -> NDArray[np.uint64]:
        """The codes as uint64 (N, ceil(bits / 64)), zero-padded: what XOR and popcount work on."""
        width = -(-self.packed.shape[1] // 8) * 8
        if self.packed.shape[1] == width:
            return self.packed.view(np.uint64)
        padded = np.zeros((len(self), width), np.uint8)
        padded[:, : self.packed.shape[1]] = self.packed
        return padded.view(np.uint64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codes as one safetensors file, atomically.

        Raises:
            FileError: The place cannot be written.
        """
        write_arrays(path, {"packed": self.packed}, kind=KIND, metadata={"bits": self.bits, "bitorder": "big"})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Codes:
        """Read codes that :meth:`save` wrote.

        Args:
            path: The file.
            mmap: Map the codes instead of reading them: opens at once, larger than memory if need be.

        Raises:
            FileError: There is no such file.
            FormatError: It holds no codes, is truncated or was changed.
        """
        arrays, metadata = read_arrays(path, kind=KIND, mmap=mmap)
        return cls(arrays["packed"], metadata["bits"])

    @classmethod
    def concatenate(cls, parts: Sequence[Codes]) -> Codes:
        """Stack codes of one width.

        Raises:
            InputError: No parts were given.
            WidthError: Two parts differ in width.
        """
        if not parts:
            raise InputError("parts", expected="at least one Codes", got="none", remedy="Give the codes to stack.")
        for part in parts:
            check_width(part, parts[0].bits, "part")
        return cls(np.concatenate([part.packed for part in parts]), parts[0].bits)


def binarize(relaxed: ArrayLike) -> Codes:
    """Turn relaxed codes into bits: a bit is set where the value is greater than 0.

    Args:
        relaxed: Real numbers (N, bits), such as the tanh outputs of a hash layer.

    Returns:
        N codes; 0 and -0 become an unset bit.

    Raises:
        InputError: Not two-dimensional, not real numbers, or no column.
        NonFiniteError: NaN or infinity, with the first such row: a sign of NaN would silently be an unset bit.

    Example:
        >>> binarize([[0.5, -0.5]])
        Codes(1 x 2 bits, 0.0 kB)
    """
    values = np.asarray(relaxed)
    if values.ndim != 2 or values.shape[1] < 1 or values.dtype.kind not in "fiub":
        raise InputError(
            "relaxed codes", expected="real numbers (N, bits)", got=f"{values.dtype} {values.shape}",
            remedy="Give one row an item and one column a bit.",
        )  # fmt: skip
    if values.dtype.kind == "f":
        check_finite(values, "relaxed codes")
    return Codes(np.packbits(values > 0, axis=1), values.shape[1])


def check_finite(values: NDArray[Any], name: str) -> None:
    """Refuse NaN and infinities by name and first row.

    Raises:
        NonFiniteError: With the first row and column that is not finite, and how many rows are not.
    """
    finite = np.isfinite(values)
    if not finite.all():
        bad = np.argwhere(~finite)
        raise NonFiniteError(
            name, expected="finite numbers",
            got=f"{values[tuple(bad[0])]} at {tuple(bad[0].tolist())}, {len(np.unique(bad[:, 0]))} rows in all",
            remedy="Leave these rows out, or find what made them (half precision overflows, zero norms).",
        )  # fmt: skip


def check_width(codes: Codes, bits: int, name: str) -> None:
    """Refuse codes of another width.

    Raises:
        WidthError: ``codes.bits`` is not ``bits``.
    """
    if codes.bits != bits:
        raise WidthError(
            name, expected=f"{bits} bits", got=f"{codes.bits} bits", remedy="Encode both sides with the same run."
        )


def _strip(ones: NDArray[np.bool_]) -> Html:
    """A row of little squares, a set bit filled."""
    path = "".join(f"M{place} 0h1v1h-1z" for place in np.flatnonzero(ones).tolist())
    told = "".join("1" if one else "0" for one in ones.tolist())
    return Html(
        f'<svg role="img" aria-label="{told}" width="{6 * len(ones)}" height="14" viewBox="0 0 {len(ones)} 1" '
        f'preserveAspectRatio="none"><rect width="{len(ones)}" height="1" fill="currentColor" opacity=".12"/>'
        f'<path d="{path}" fill="currentColor"/></svg>'
    )
