"""TokenStore: what it writes, maps and refuses."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashret.arrayfile import write_arrays
from hashret.errors import FileError, FormatError, InputError, NonFiniteError, WidthError
from hashret.search import EmbeddingStore, Tokens, TokenStore
from hashret.search import token_store as stored

DTYPES = ("float32", "float16", "int8")


def drawn(count: int = 30, width: int = 7, seed: int = 1) -> Tokens:
    chance = np.random.default_rng(seed)
    return Tokens.of([chance.normal(size=(int(length), width)) for length in chance.integers(1, 6, count)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("named", [False, True])
def test_what_is_taken_is_what_was_written(tmp_path: Path, dtype: Any, named: bool) -> None:
    tokens = drawn()
    names = np.random.default_rng(2).permutation(1000)[:30] if named else np.arange(30)
    store = TokenStore.write(tmp_path / "s", tokens, dtype=dtype, ids=names if named else None)
    assert (len(store), store.width, store.dtype) == (30, 7, dtype)
    assert repr(store) == f"TokenStore(30 items, {len(tokens.values)} x 7, {dtype})"
    assert store.ids.tolist() == names.tolist()
    wanted = [29, 3, 3, 0]
    found = store.take(names[wanted])
    assert found.lengths.tolist() == tokens.lengths[wanted].tolist()
    # Rows are kept as an EmbeddingStore keeps them, bit for bit.
    rows = EmbeddingStore.write(tmp_path / "rows", tokens.values, dtype=dtype)
    assert np.array_equal(store.rows, rows.rows)
    assert np.array_equal(store.scales, rows.scales)
    kept = Tokens(rows.take(np.arange(len(rows))), tokens.lengths)
    assert found == kept.rows(wanted)
    assert store.places(names[wanted]).tolist() == wanted
    close = {"float32": 0, "float16": 1e-3, "int8": 3e-2}[dtype]
    np.testing.assert_allclose(kept.values, tokens.values, atol=close * 4)
    sizes = (tmp_path / "s").stat().st_size - len(store) * store.item_bytes
    assert 0 < sizes < 2000  # the header
    assert store.row_bytes == {"float32": 28, "float16": 14, "int8": 11}[dtype]
    assert len(store.take([])) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_make_the_same_file_as_all_at_once(tmp_path: Path, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, names = drawn(), np.arange(30)[::-1] * 3
    TokenStore.write(tmp_path / "whole", tokens, dtype=dtype, ids=names)
    blocks = (tokens[at : at + 4] for at in range(0, 30, 4))
    TokenStore.write(tmp_path / "blocks", blocks, dtype=dtype, ids=names)
    monkeypatch.setattr(stored, "_BLOCK", 120)  # two rows, which cuts items
    TokenStore.write(tmp_path / "cut", tokens, dtype=dtype, ids=names.tolist())
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks", "cut", "whole"]


def test_rows_are_mapped_read_only_and_ids_are_not_lost(tmp_path: Path) -> None:
    tokens = drawn(4)
    for ids in (None, [0, 1, 2, 3], [7, 8, 9, 10], [1, 3, 5, 7], [3, 2, 1, 0]):
        store = TokenStore.write(tmp_path / "s", tokens, dtype="float32", ids=ids)
        assert store.ids.tolist() == (ids or [0, 1, 2, 3])
        assert store.take(store.ids) == tokens
    base: Any = store.rows
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.rows[0, 0] = 1
    with pytest.raises(InputError, match=r"expected ids of TokenStore\(4 items.*got 4, which it does not have"):
        store.take([4])


def test_what_cannot_be_kept_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    TokenStore.write(path, drawn())
    before = path.read_bytes()
    large = Tokens.of([[[1, 2]], [[1, 2], [3, 70000]]])
    with pytest.raises(NonFiniteError, match=r"up to 65504 for float16, got 70000 in token 1 of item 3 \(id 8\)"):
        TokenStore.write(path, iter([large[:1], large[:1], large]), ids=[9, 5, 1, 8])
    with pytest.raises(NonFiniteError, match="in token 1 of item 1, and"):
        TokenStore.write(path, large)
    with pytest.raises(WidthError, match="expected 7 numbers in every row, got 2 from token 0 of item 30 on"):
        TokenStore.write(path, [drawn(), large])
    for tokens in ([], drawn()[:0], [drawn()[:0]]):
        with pytest.raises(InputError, match="rows: expected at least one, got none"):
            TokenStore.write(path, tokens)
    for nothing in (np.ones((2, 2)), [[1.0]]):
        with pytest.raises(InputError, match="tokens: expected Tokens, or blocks of them, got"):
            TokenStore.write(path, nothing)  # type: ignore[arg-type]
    for ids, said in (([1, 1], "1 twice"), ([1], "expected 2"), ([-1, 2], "got -1")):
        with pytest.raises(InputError, match=said):
            TokenStore.write(path, large, dtype="float32", ids=ids)
    with pytest.raises(InputError, match="one of float32, float16, int8, got 'int4'"):
        TokenStore.write(path, large, dtype="int4")  # type: ignore[arg-type]

    def failing() -> Iterator[Tokens]:
        yield drawn()
        raise OSError(5, "the disk that is read")

    with pytest.raises(OSError, match="the disk that is read"):
        TokenStore.write(path, failing())
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected a place that can be written, got No such file"):
        TokenStore.write(tmp_path / "no" / "s", drawn())
    path = tmp_path / "s"
    TokenStore.write(path, drawn())
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    many = Tokens(np.ones((40000, 8), np.float32), np.full(4000, 10))
    try:  # as on a disk with little room
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(FileError, match="s: expected a place that can be written, got File too large"):
            TokenStore.write(path, many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.name for each in tmp_path.iterdir()] == ["s"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_damaged_files_are_refused(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "s"
    TokenStore.write(path, drawn(), dtype=dtype, ids=np.arange(30)[::-1])
    whole = path.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError):
            TokenStore.open(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(FormatError, match="truncated or something was appended"):
        TokenStore.open(path)
    header = 8 + int.from_bytes(whole[:8], "little")
    lengths = np.frombuffer(whole, np.int64, 30, whole.index(drawn().lengths.tobytes()))
    assert lengths.tolist() == drawn().lengths.tolist()
    begin = whole.index(lengths.tobytes())
    for place in [*range(8, header, 7), *range(begin, begin + 240, 9)]:  # the header, and each length in turn
        for bit in (0, 3, 7):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            blank = place < header and not whole[place:header].strip()  # blanks behind the header say nothing
            if not blank:
                with pytest.raises(FormatError):
                    TokenStore.open(path)


def test_files_of_other_kinds_and_parts_that_do_not_fit(tmp_path: Path) -> None:
    path, rows = tmp_path / "s", {"rows": np.eye(3, dtype=np.float32)}
    with pytest.raises(FileError, match="nowhere: expected a file"):
        TokenStore.open(tmp_path / "nowhere")
    EmbeddingStore.write(path, np.eye(3))
    with pytest.raises(FormatError, match="expected a hashret.tokens/1 file"):
        TokenStore.open(path)
    fits = np.array([1, 2])
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "a file without 'rows'"), (rows, "a file without 'lengths'"),
        ({**rows, "lengths": np.array([1, 1])}, "expected 3 tokens in all, got 2"),
        ({**rows, "lengths": np.array([3, 0])}, "got 0 for item 1"),
        ({**rows, "lengths": np.array([2**62, 2**62, 2**62, 2**62, 3])}, "got 4611686018427387904 for item 0"),
        ({**rows, "lengths": fits.astype(np.float64)}, "whole numbers"),
        ({**rows, "lengths": fits, "scales": np.ones(3, np.float32)}, "scales"),
        ({**rows, "lengths": fits, "ids": np.arange(3)}, r"int64 \(2,\)"),
        ({"rows": np.eye(3), "lengths": fits}, "float64"),
    )  # fmt: skip
    for arrays, said in cases:
        write_arrays(path, arrays, kind=stored.KIND)
        with pytest.raises(FormatError, match=said):
            TokenStore.open(path)
    named = {**rows, "lengths": fits, "ids": np.array([4, 6])}
    for order in ([0, 5], [1, 1], [-1, 0]):
        write_arrays(path, {**named, "order": np.array(order)}, kind=stored.KIND)
        with pytest.raises(FormatError, match="order of the store"):
            _ = TokenStore.open(path).ids
    with pytest.raises(FormatError, match="order of the store"):
        TokenStore.open(path).take([4])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_row_that_is_not_finite_is_named_when_it_is_taken(value: float, dtype: Any) -> None:
    rows = np.eye(4, dtype=dtype)
    rows[2, 1] = value
    store = TokenStore(rows, [1, 2, 1], ids=[5, 6, 7])
    assert store.take([7, 5]).lengths.tolist() == [1, 1]
    with pytest.raises(NonFiniteError, match="in a token of id 6"):
        store.take([5, 7, 6, 7])


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    eye = np.eye(3, dtype=np.float32)
    for rows, lengths, ids, said in (
        (eye, [1, 1], None, "expected 3 tokens in all"), (eye, [3, 0], None, "got 0 for item 1"),
        (eye, [1.0, 2.0], None, "whole numbers"), (eye, [1, 2], [1], "expected 2, one a code"),
        (eye.astype(np.int8), [3], None, "scales: expected"), (eye.astype(np.float64), [3], None, "TokenStore.write"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            TokenStore(rows, lengths, ids)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_large_file_is_written_and_searched_within_bounded_memory(tmp_path: Path) -> None:
    script = """
import sys
import numpy as np
from hashret.search import Hits, Tokens, TokenStore, exhaustive, rerank_tokens
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1024

def blocks():
    for block in range(10):
        yield Tokens(np.full((16384, 128), block + 1, np.float32), np.full(2048, 8))
        high.append(peak())
asked = Tokens(np.ones((12, 128), np.float32), np.full(4, 3))
small = TokenStore(np.ones((2, 128), np.float32), [2])
one = Hits(np.zeros((4, 1), np.int32), np.zeros((4, 1), np.int64))
rerank_tokens(one, asked, small, summed="queries")  # compiles
high = [peak()]
store = TokenStore.write(sys.argv[1], blocks(), dtype="float32")
ids = np.stack([np.random.default_rng(row).permutation(len(store))[:100] for row in range(4)])
far = np.broadcast_to(np.arange(100, dtype=np.int32), ids.shape)
rerank_tokens(Hits(far, ids), asked, store, summed="queries")
high.append(peak())
best = exhaustive(asked, store, 3, summed="queries", threads=1)
high.append(peak())
assert best.ids.tolist() == [[9 * 2048, 9 * 2048 + 1, 9 * 2048 + 2]] * 4, best.ids
print(max(high) - high[0], store.rows.nbytes / 1024 / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    grown, size = map(float, done.stdout.split())
    assert size == 80
    assert grown < 50
