"""Blocks: codes laid out as the kernels read them.

Codes come as rows of bytes; a kernel wants vectors that hold the same word of many codes. A block is a fixed number of
codes, ``row``: first the first words of all of them, then their second words, and so on. Blocks follow each other, so
that a scan of codes of any width is one stream through memory, a saved index can be mapped as it is, and codes are
appended without moving any. Short codes lie in narrow words: up to 8, 16 and 32 bits in uint8, uint16 and uint32, all
others in uint64. Nothing here computes a distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search.lanes import VECTOR_BYTES, VECTORS

__all__ = ["EVERY", "WIDEST", "Blocks", "lane_words"]

EVERY = np.empty(0, np.uint64)  # an empty bitset: all codes count
WIDEST = 65_535  # bits: distances are compared as 16-bit numbers


def _lane(bits: int) -> np.dtype[Any]:
    """The word that codes of a width lie in."""
    size = next((size for size in (1, 2, 4) if bits <= 8 * size), 8)
    return np.dtype(f"u{size}")


def lane_words(codes: Codes) -> NDArray[Any]:
    """Codes as words, uint8, uint16, uint32 or uint64 (n, W), zero-padded: how a kernel takes its queries."""
    lane = _lane(codes.bits)
    if lane.itemsize == 8:
        return codes.words()
    if codes.packed.shape[1] == lane.itemsize:
        return codes.packed.view(lane)
    padded = np.zeros((len(codes), lane.itemsize), np.uint8)
    padded[:, : codes.packed.shape[1]] = codes.packed
    return padded.view(lane)


@dataclass(frozen=True, eq=False)
class Blocks:
    """N codes in blocks of word rows.

    Attributes:
        data: uintX (B, W, row), C order; what lies behind the last code is of no meaning.
        count: N; at most B x row.
        bits: Width of a code, 1 ... 65,535.

    Raises:
        InputError: The array is not such blocks, or holds fewer than ``count`` codes.

    Example:
        >>> from hashret.codes import binarize
        >>> blocks = Blocks.of(binarize([[1, -1], [1, 1], [-1, -1]]))
        >>> blocks.data.shape, blocks.data.dtype.name, blocks.take([1, 2]).unpack().tolist()
        ((1, 1, 256), 'uint8', [[1, 1], [-1, -1]])
    """

    data: NDArray[Any]
    count: int
    bits: int

    def __post_init__(self) -> None:
        """Check dtype, shape and room."""
        shape = self.shape(self.bits, 0)[1:]
        data = self.data
        fits = data.dtype == _lane(self.bits) and data.ndim == 3 and data.shape[1:] == shape
        if not (fits and data.flags.c_contiguous and 0 <= self.count <= data.shape[0] * shape[1]):
            raise InputError(
                "blocks", expected=f"{_lane(self.bits)} (B, {shape[0]}, {shape[1]}) with room for {self.count} codes",
                got=f"{data.dtype} {data.shape}", remedy="Make them with Blocks.of(codes).",
            )  # fmt: skip

    @staticmethod
    def shape(bits: int, count: int) -> tuple[int, int, int]:
        """Shape of the array that holds ``count`` codes: blocks, words, codes a block.

        Raises:
            InputError: More than 65,535 bits.
        """
        if bits > WIDEST:
            raise InputError("bits", expected=f"at most {WIDEST}", got=str(bits), remedy="Search codes of fewer bits.")
        lane = _lane(bits)
        row = VECTORS * VECTOR_BYTES // lane.itemsize
        return -(-count // row), -(-bits // (8 * lane.itemsize)), row

    @classmethod
    def empty(cls, bits: int, room: int) -> Blocks:
        """No codes yet, and room for ``room``."""
        return cls(np.empty(cls.shape(bits, room), _lane(bits)), 0, bits)

    @classmethod
    def of(cls, codes: Codes) -> Blocks:
        """Lay out codes."""
        return cls.empty(codes.bits, len(codes)).append(codes)

    def __len__(self) -> int:
        """Number of codes."""
        return self.count

    @property
    def row(self) -> int:
        """Codes a block."""
        return int(self.data.shape[2])

    @property
    def room(self) -> int:
        """Codes the array can hold."""
        return int(self.data.shape[0] * self.data.shape[2])

    def append(self, codes: Codes) -> Blocks:
        """Write codes behind the last one, into the same array; there must be room.

        The blocks this is called on stay as they are: they do not look behind their last code.
        """
        words, start, row = lane_words(codes), self.count, self.row
        end = start + len(words)
        cuts = sorted({start, end, *(cut for cut in (-(-start // row) * row, end // row * row) if start < cut < end)})
        for low, high in zip(cuts, cuts[1:], strict=False):
            part, place, lane = words[low - start : high - start], low // row, low % row
            if (high - low) % row or lane:
                self.data[place, :, lane : lane + high - low] = part.T
            else:
                whole = part.reshape(-1, row, part.shape[1])
                self.data[place : high // row] = whole.transpose(0, 2, 1)
        if end % row:  # what is saved does not depend on what lay there
            self.data[end // row, :, end % row :] = 0
        return Blocks(self.data, end, self.bits)

    def take(self, positions: slice | NDArray[np.integer[Any]] | list[int]) -> Codes:
        """The codes at these positions, in this order."""
        if isinstance(positions, slice):
            positions = np.arange(self.count)[positions]
        places = np.asarray(positions, np.int64)
        words = np.ascontiguousarray(self.data[places // self.row, :, places % self.row])
        packed = words.view(np.uint8)[:, : -(-self.bits // 8)]
        return Codes(np.ascontiguousarray(packed), self.bits)
