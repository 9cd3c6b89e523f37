"""Codes against NumPy's packbits and Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.codes import Codes, binarize
from hashret.errors import FileError, FormatError, InputError, NonFiniteError, WidthError


def random_signs(rows: int, bits: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1.0, 1.0], (rows, bits))


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(0, 9), bits=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_binarize_packs_as_numpy_and_unpacks_to_the_same_signs(rows: int, bits: int, seed: int) -> None:
    signs = random_signs(rows, bits, seed)
    codes = binarize(signs * np.random.default_rng(seed).uniform(0.01, 5, signs.shape))
    assert codes.bits == bits
    assert len(codes) == rows
    np.testing.assert_array_equal(codes.packed, np.packbits(signs > 0, axis=1))
    assert codes.unpack().dtype == np.int8
    np.testing.assert_array_equal(codes.unpack(), signs)


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(0, 9), bits=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_words_keep_every_bit(rows: int, bits: int, seed: int) -> None:
    codes = binarize(random_signs(rows, bits, seed))
    words = codes.words()
    assert words.dtype == np.uint64
    assert words.shape == (rows, -(-bits // 64))
    for packed, row in zip(codes.packed, words, strict=True):
        assert int.from_bytes(row.tobytes(), "little") == int.from_bytes(packed.tobytes(), "little")


def test_the_first_value_is_the_most_significant_bit() -> None:
    assert binarize([[1, -1, -1, -1, -1, -1, -1, -1, -1, 1]]).packed.tolist() == [[128, 64]]


def test_zero_is_an_unset_bit() -> None:
    assert binarize([[0.0, -0.0, 1e-300, -1e-300]]).unpack().tolist() == [[-1, -1, 1, -1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_binarize_names_the_first_row_that_is_not_finite(bad: float) -> None:
    relaxed = np.ones((5, 3), np.float32)
    relaxed[2, 1] = relaxed[4, 0] = bad
    with pytest.raises(NonFiniteError, match=r"at \(2, 1\), 2 rows in all"):
        binarize(relaxed)


@pytest.mark.parametrize("values", [np.ones(3), np.ones((2, 2, 2)), np.ones((2, 0)), np.array([["a"]]), np.eye(2) * 1j])
def test_binarize_refuses_what_is_no_matrix_of_real_numbers(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="relaxed codes: expected real numbers"):
        binarize(values)


def test_bits_that_do_not_fit_the_bytes_are_refused() -> None:
    packed = np.zeros((2, 2), np.uint8)
    for bits in (8, 17):
        with pytest.raises(WidthError, match="got 2 bytes"):
            Codes(packed, bits)
    for bits in (9, 16, np.int64(12)):
        assert Codes(packed, bits).bits == bits
    for bits in (0, -1, 9.0, True, "9"):
        with pytest.raises(InputError, match="bits: expected an integer >= 1"):
            Codes(packed, bits)  # type: ignore[arg-type]


def test_set_pad_bits_are_refused_with_their_row() -> None:
    packed = np.array([[0b10100000], [0b00010000]], np.uint8)
    assert Codes(packed, 4).unpack().tolist() == [[1, -1, 1, -1], [-1, -1, -1, 1]]
    with pytest.raises(WidthError, match="a set one in row 1"):
        Codes(packed, 3)
    least_first = np.packbits(np.array([[1, 0, 1]], bool), axis=1, bitorder="little")
    with pytest.raises(WidthError, match="least significant bit first"):
        Codes(least_first, 3)


@pytest.mark.parametrize("packed", [np.zeros((2, 1), np.int8), np.zeros(2, np.uint8), np.zeros((2, 1)), [[0]], None])
def test_only_a_uint8_matrix_is_packed(packed: object) -> None:
    with pytest.raises(InputError, match="packed codes: expected a uint8 array"):
        Codes(packed, 8)  # type: ignore[arg-type]


def test_parts_of_codes_are_codes() -> None:
    codes = binarize(random_signs(6, 70, 0))
    assert codes[1:3] == Codes(codes.packed[1:3], 70)
    assert codes[[5, 0, 0]].packed.tolist() == codes.packed[[5, 0, 0]].tolist()
    assert len(codes[np.array([True, False] * 3)]) == 3
    assert codes[::2].packed.flags.c_contiguous
    assert codes[4:4].words().shape == (0, 2)
    for row in (1, np.int64(1)):
        with pytest.raises(InputError, match=r"codes\[1:2\]"):
            codes[row]  # type: ignore[index]


def test_other_memory_orders_give_the_same_codes() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (5, 16), dtype=np.uint8)
    codes = Codes(packed, 128)
    wide = np.zeros((5, 32), np.uint8)
    wide[:, ::2] = packed
    for other in (np.asfortranarray(packed), wide[:, ::2], np.repeat(packed, 2, axis=0)[::2]):
        assert Codes(other, 128) == codes
        np.testing.assert_array_equal(Codes(other, 128).words(), codes.words())


def test_equality_asks_for_width_and_bits() -> None:
    packed = np.zeros((2, 1), np.uint8)
    assert Codes(packed, 5) == Codes(packed.copy(), 5)
    assert Codes(packed, 5) != Codes(packed, 6)
    assert Codes(packed, 5) != Codes(packed[:1], 5)
    assert Codes(packed, 5) != "codes"


def test_concatenate_stacks_one_width_only() -> None:
    one, two = binarize(random_signs(3, 12, 1)), binarize(random_signs(2, 12, 2))
    np.testing.assert_array_equal(Codes.concatenate([one, two]).packed, np.vstack([one.packed, two.packed]))
    with pytest.raises(WidthError, match="expected 12 bits, got 13 bits"):
        Codes.concatenate([one, binarize(random_signs(1, 13, 3))])
    with pytest.raises(InputError, match="at least one Codes"):
        Codes.concatenate([])


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(("rows", "bits"), [(0, 64), (1, 1), (7, 100), (50, 256)])
def test_a_saved_file_gives_the_codes_back(tmp_path, mmap: bool, rows: int, bits: int) -> None:
    codes = binarize(random_signs(rows, bits, 4))
    codes.save(tmp_path / "codes.safetensors")
    loaded = Codes.load(tmp_path / "codes.safetensors", mmap=mmap)
    assert loaded == codes
    np.testing.assert_array_equal(loaded.words(), codes.words())


def test_a_wrong_file_is_named(tmp_path) -> None:
    with pytest.raises(FileError, match="No such file"):
        Codes.load(tmp_path / "none")
    (tmp_path / "text").write_text("not codes at all")
    with pytest.raises(FormatError, match="text: expected a safetensors file"):
        Codes.load(tmp_path / "text")
