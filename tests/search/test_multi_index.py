"""Multi-index tables against NumPy: all distances, and a full sort."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.codes import Codes
from hashret.errors import FormatError, InputError
from hashret.search import multi_index
from hashret.search.multi_index import MultiIndex

NO_KEY = np.iinfo(np.int64).max
Words = NDArray[np.uint64]


def random_words(rows: int, bits: int, seed: int, flips: float = 0.05) -> Words:
    """Codes around three centres, so that many are near each other and some are equal; ``flips`` 0.5 is noise."""
    rng, centres = np.random.default_rng(seed), np.random.default_rng(bits).random((3, bits)) < 0.5
    chosen = centres[rng.integers(0, 3, rows)] ^ (rng.random((rows, bits)) < flips)
    return Codes(np.packbits(chosen, axis=1), bits).words()


def sorted_keys(queries: Words, words: Words, alive: NDArray[np.bool_] | None = None) -> list[NDArray[np.int64]]:
    """Keys of all codes that count, by (distance, position), of every query."""
    found = []
    positions = np.arange(len(words)) if alive is None else np.flatnonzero(alive)
    for query in queries:
        far = np.bitwise_count(words[positions] ^ query).astype(np.int64).sum(axis=1)
        order = np.lexsort((positions, far))
        found.append(far[order] << 40 | positions[order])
    return found


def padded(keys: NDArray[np.int64], k: int) -> list[int]:
    return [*keys[:k].tolist(), *[NO_KEY] * (k - len(keys))]


def packed(marks: NDArray[np.bool_]) -> Words:
    return np.packbits(np.pad(marks, (0, -len(marks) % 64)), bitorder="little").view(np.uint64)


def check_answers(tables: MultiIndex, queries: Words, words: Words, k: int, radius: int,
                  alive: NDArray[np.bool_] | None = None, threads: int = 1) -> None:  # fmt: skip
    """Compare both searches with the sort, without a budget."""
    options = {"budget": math.inf, "alive": None if alive is None else packed(alive), "threads": threads}
    wanted = sorted_keys(queries, words, alive)
    keys, done = tables.nearest(queries, k, **options)
    assert keys.dtype == np.int64
    assert (keys.shape, done.shape, done.dtype) == ((len(queries), k), (len(queries),), np.bool_)
    assert done.all()
    assert keys.tolist() == [padded(mine, k) for mine in wanted]
    keys, starts, done = tables.within(queries, radius, **options)
    assert done.all()
    assert (starts[0], len(starts), starts[-1]) == (0, len(queries) + 1, len(keys))
    near = [mine[mine >> 40 <= radius].tolist() for mine in wanted]
    assert [keys[a:z].tolist() for a, z in zip(starts, starts[1:], strict=False)] == near


@settings(deadline=None, max_examples=150)
@given(data=st.data(), bits=st.integers(1, 300), rows=st.integers(0, 300), asked=st.integers(0, 4),
       flips=st.sampled_from([0.0, 0.02, 0.1, 0.5]), seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_answers_equal_a_full_sort(
    data: st.DataObject, bits: int, rows: int, asked: int, flips: float, seed: int
) -> None:
    words = random_words(rows, bits, seed, flips)
    queries = np.concatenate([words[:1], random_words(asked, bits, seed + 1, 0.1)])[:asked]
    chunks = data.draw(st.none() | st.integers(-(-bits // 16), min(bits, 40)), "chunks")
    copies = data.draw(st.sampled_from([None, True, False]), "copies")
    tables = MultiIndex.build(words, bits, chunks=chunks, copies=copies, threads=data.draw(st.integers(1, 2)))
    assert len(tables) == rows
    assert chunks in (None, tables.chunks)
    k = data.draw(st.integers(1, 20) | st.integers(1, 400), "k")
    radius = data.draw(st.integers(0, bits), "radius")
    alive = np.random.default_rng(seed).random(rows) < 0.7 if data.draw(st.booleans(), "alive") else None
    check_answers(tables, queries, words, k, radius, alive, data.draw(st.integers(1, 2), "threads"))


@pytest.mark.parametrize("bits", [8, 40, 64, 100])
@pytest.mark.parametrize("flips", [0.0, 0.01, 0.1])
def test_buckets_of_many_codes(bits: int, flips: float) -> None:
    """More codes a bucket than are compared at once, and more equal codes than a search keeps."""
    words, queries = random_words(6000, bits, 1, flips), random_words(3, bits, 2, flips)
    tables = MultiIndex.build(words, bits)
    for k in (1, 10, 3000, 5999):
        check_answers(tables, queries, words, k, k % 4)


@pytest.mark.parametrize("bits", [1, 5, 13, 64, 65, 69, 127, 130, 200, 1000, 4096])
def test_chunks_cover_each_bit_once(bits: int) -> None:
    """Not the pad bits, which lie below the last bits of a code in its word."""
    said = Codes(np.packbits(np.ones((1, bits), np.bool_), axis=1), bits).words()[0]
    for chunks in sorted({-(-bits // 26), -(-bits // 8), bits}):
        layout = multi_index._layout(bits, chunks)
        seen = np.zeros(len(said), np.uint64)
        for row in layout:
            taken = 0
            for columns in multi_index.RUNS:
                word, shift, mask = row[list(columns)].tolist()
                assert not int(seen[word]) & mask << shift
                seen[word] |= np.uint64(mask << shift)
                taken += mask.bit_count()
            assert taken == row[multi_index.WIDTH] <= 26
        assert seen.tolist() == said.tolist()


def test_wide_codes() -> None:
    words = random_words(200, 4096, 0, 0.01)
    for copies in (False, True):
        tables = MultiIndex.build(words, 4096, copies=copies)
        check_answers(tables, words[:3], words, 5, 90)


def test_no_budget_does_nothing_and_a_large_one_everything() -> None:
    words = random_words(5000, 64, 0)
    tables, queries = MultiIndex.build(words, 64), random_words(20, 64, 1)
    for budget, expected in ((0, False), (1e12, True)):
        assert (tables.nearest(queries, 3, budget=budget)[1] == expected).all()
        keys, starts, done = tables.within(queries, 9, budget=budget)
        assert (done == expected).all()
        assert expected or (len(keys) == 0 and not starts.any())


def test_a_budget_gives_up_some_queries_and_spoils_no_other() -> None:
    words = random_words(20_000, 64, 0, 0.1)
    tables = MultiIndex.build(words, 64)
    queries = random_words(300, 64, 1, 0.1)
    every, _ = tables.nearest(queries, 3, budget=math.inf)
    for threads in (1, 2):
        keys, done = tables.nearest(queries, 3, budget=20_000, threads=threads)
        assert 0 < done.sum() < 300
        assert (keys[done] == every[done]).all()
        near, starts, done = tables.within(queries, 7, budget=20_000, threads=threads)
        wanted, ends, _ = tables.within(queries, 7, budget=math.inf)
        for query in range(300):
            mine = near[starts[query] : starts[query + 1]].tolist()
            assert mine == (wanted[ends[query] : ends[query + 1]].tolist() if done[query] else [])


def test_many_equal_codes_are_not_all_looked_at_by_a_budget() -> None:
    tables = MultiIndex.build(np.zeros((100_000, 1), np.uint64), 64)
    _, done = tables.nearest(np.zeros((1, 1), np.uint64), 3, budget=20_000)
    assert not done.any()


@pytest.mark.parametrize(("bits", "copies"), [(40, True), (40, False), (100, True), (100, False)])
def test_arrays_make_the_same_tables_again_mapped_too(tmp_path, bits: int, copies: bool) -> None:
    words, queries = random_words(500, bits, 0), random_words(5, bits, 1)
    tables = MultiIndex.build(words, bits, copies=copies)
    arrays = tables.arrays()
    assert tables.nbytes == sum(array.nbytes for array in arrays.values())
    assert set(arrays) == {"widths", "offsets", "ids"} | ({"copies"} if copies else set()) | (
        set() if copies and bits == 40 else {"words"}
    )
    write_arrays(tmp_path / "tables", arrays, kind="test/1")
    mapped, _ = read_arrays(tmp_path / "tables", kind="test/1", mmap=True)
    assert not mapped["ids"].flags.writeable
    again = MultiIndex.of_arrays(mapped, bits)
    assert (len(again), again.chunks, again.nbytes) == (len(tables), tables.chunks, tables.nbytes)
    assert np.shares_memory(again.arrays()["ids"], mapped["ids"])
    check_answers(again, queries, words, 7, 5)
    queries.flags.writeable = False
    check_answers(again, queries, words, 7, 5)


def test_foreign_arrays_are_refused() -> None:
    arrays = MultiIndex.build(random_words(50, 40, 0), 40).arrays()
    spoiled = [{}, {**arrays, "more": arrays["ids"]}]
    spoiled += [{name: array for name, array in arrays.items() if name != left} for left in arrays]
    spoiled += [{**arrays, name: array[:-1]} for name, array in arrays.items()]
    spoiled += [{**arrays, name: array.astype(np.int16)} for name, array in arrays.items()]
    spoiled += [{**arrays, name: array[0] if array.ndim == 1 else array[0, 0]} for name, array in arrays.items()]
    spoiled += [{**arrays, "offsets": arrays["offsets"] + np.uint32(1)}]
    for bad in spoiled:
        with pytest.raises(FormatError, match="multi-index tables"):
            MultiIndex.of_arrays(bad, 40)
    for bits in (1, 39, 48, 64, 65, 4096):
        with pytest.raises(FormatError, match="multi-index tables"):
            MultiIndex.of_arrays(arrays, bits)


def test_wrong_arguments_are_refused() -> None:
    words = random_words(50, 40, 0)
    for bad in (words[0], words.astype(np.int64), np.zeros((3, 2), np.uint64)):
        with pytest.raises(InputError, match="words"):
            MultiIndex.build(bad, 40)
        with pytest.raises(InputError, match="queries"):
            MultiIndex.build(words, 40).nearest(bad, 1, budget=1)
    for chunks in (0, 1, 41):
        with pytest.raises(InputError, match="chunks"):
            MultiIndex.build(words, 40, chunks=chunks)
    with pytest.raises(InputError, match="alive"):
        MultiIndex.build(words, 40).within(words, 1, budget=1, alive=np.zeros(0, np.uint64))


def test_rows_of_queries_that_do_not_follow_each_other_are_taken() -> None:
    words = random_words(100, 100, 0)
    check_answers(MultiIndex.build(words[::2], 100), words[::7], words[::2], 3, 4)
