"""Blocks hold codes where the kernels look for them, checked word by word with Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search.blocks import WIDEST, Blocks, lane_words

WIDTHS = [1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 100, 128, 129, 300, 1000, 4096]


def random_codes(rows: int, bits: int, seed: int) -> Codes:
    return Codes(np.packbits(np.random.default_rng(seed).random((rows, bits)) < 0.5, axis=1), bits)


def lane_bytes(bits: int) -> int:
    """Bytes of the word that codes of a width lie in."""
    return 1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8


def words_of(codes: Codes) -> list[list[int]]:
    """The words of each code, least byte first, zero-padded."""
    size = lane_bytes(codes.bits)
    padded = [row.tobytes() + bytes(-len(row) % size) for row in codes.packed]
    return [[int.from_bytes(row[at : at + size], "little") for at in range(0, len(row), size)] for row in padded]


@pytest.mark.parametrize("bits", WIDTHS)
def test_each_word_of_each_code_has_its_place(bits: int) -> None:
    codes = random_codes(600, bits, bits)
    blocks, words = Blocks.of(codes), words_of(codes)
    row = 256 // lane_bytes(bits)  # four vectors of 64 bytes
    assert blocks.row == row
    assert blocks.data.dtype == f"u{lane_bytes(bits)}"
    assert blocks.data.shape == Blocks.shape(bits, 600) == (-(-600 // row), len(words[0]), row)
    assert len(blocks) == 600
    assert blocks.room == blocks.data.shape[0] * row
    for position, code in enumerate(words):
        assert blocks.data[position // row, :, position % row].tolist() == code
    assert blocks.take(slice(None)) == codes
    assert lane_words(codes).tolist() == words
    assert lane_words(codes).dtype == blocks.data.dtype


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(1, 300), pieces=st.lists(st.integers(0, 90) | st.integers(0, 700), max_size=6),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_codes_appended_in_pieces_lie_as_codes_laid_out_at_once(bits: int, pieces: list[int], seed: int) -> None:
    codes = random_codes(sum(pieces), bits, seed)
    blocks, seen, start = Blocks.empty(bits, len(codes)), [], 0
    for piece in pieces:
        blocks = blocks.append(codes[start : start + piece])
        start += piece
        seen.append(blocks)
    assert blocks.take(slice(None)) == codes
    for earlier, end in zip(seen, np.cumsum(pieces).tolist(), strict=True):
        assert len(earlier) == end
        assert earlier.take(slice(None)) == codes[:end]
        assert earlier.data is blocks.data  # nothing was moved
    positions = np.random.default_rng(seed).integers(0, max(len(codes), 1), 9 if len(codes) else 0)
    assert blocks.take(positions) == codes[positions]
    assert blocks.take(positions.tolist()) == codes[positions]
    assert blocks.take(slice(3, None, 7)) == codes[3::7]
    assert blocks.take(slice(None, None, -1)) == codes[::-1]


def test_no_codes_take_no_room() -> None:
    for bits in WIDTHS:
        none = Blocks.empty(bits, 0)
        assert (len(none), none.room, none.data.size) == (0, 0, 0)
        assert none.take([]) == none.append(random_codes(0, bits, 0)).take(slice(None)) == random_codes(0, bits, 0)
        assert lane_words(random_codes(0, bits, 0)).shape == (0, none.data.shape[1])


def test_what_is_taken_out_is_a_copy() -> None:
    blocks = Blocks.of(random_codes(5, 64, 0))
    taken = blocks.take([1])
    before = taken.packed.copy()
    blocks.data[:] = 0
    assert taken.packed.tolist() == before.tolist()


@pytest.mark.parametrize(
    ("data", "count", "bits"),
    [
        (np.zeros((1, 1, 32), np.int64), 3, 64),
        (np.zeros((1, 1, 32), np.uint64), 3, 32),
        (np.zeros((1, 1, 64), np.uint32), 3, 33),
        (np.zeros((1, 1, 33), np.uint64), 3, 64),
        (np.zeros((1, 2, 32), np.uint64), 3, 64),
        (np.zeros((1, 1, 32), np.uint64), 3, 65),
        (np.zeros((1, 32), np.uint64), 3, 64),
        (np.zeros((), np.uint64), 0, 64),
        (np.zeros((1, 1, 32), np.uint64), 33, 64),
        (np.zeros((1, 1, 32), np.uint64), -1, 64),
        (np.zeros((2, 1, 32), np.uint64)[::2], 33, 64),
        (np.zeros((4, 1, 32), np.uint64)[::2], 3, 64),
        (np.zeros((1, 1, 32), ">u8"), 3, 64),
    ],
)
def test_arrays_that_are_no_such_blocks_are_refused(data: np.ndarray, count: int, bits: int) -> None:
    with pytest.raises(InputError, match=r"blocks: expected uint\d+ \(B, \d+, \d+\) with room for"):
        Blocks(data, count, bits)


def test_codes_too_wide_for_a_distance_of_16_bits_are_refused() -> None:
    assert Blocks.shape(WIDEST, 33) == (2, 1024, 32)
    with pytest.raises(InputError, match="bits: expected at most 65535, got 65536. Search codes of fewer bits"):
        Blocks.shape(WIDEST + 1, 0)
    with pytest.raises(InputError, match="got 70000"):
        Blocks.of(random_codes(1, 70_000, 0))
