"""Hits check themselves, and shards merge to the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search import HammingIndex, Hits, merge
from hashret.search.hits import PAD_DISTANCE, PAD_ID


def hits(distances: list[list[int]], ids: list[list[int]]) -> Hits:
    return Hits(np.array(distances, np.int32), np.array(ids, np.int64))


def test_hits_unpack_and_count() -> None:
    distances, ids = some = hits([[0, 3, PAD_DISTANCE], [1, 1, 2]], [[9, 2, PAD_ID], [4, 5, 0]])
    assert (len(some), some.k) == (2, 3)
    assert distances is some.distances
    assert ids is some.ids
    assert some == hits(distances.tolist(), ids.tolist())
    assert some != hits([[0, 3, 3], [1, 1, 2]], [[9, 2, 3], [4, 5, 0]])
    assert some != "hits"
    assert len(hits([[], []], [[], []])) == 2


@pytest.mark.parametrize(
    ("distances", "ids"),
    [
        ([[3, 2]], [[0, 1]]),
        ([[2, 2]], [[1, 0]]),
        ([[2, 2]], [[1, 1]]),
        ([[PAD_DISTANCE, 2]], [[PAD_ID, 1]]),
    ],
)
def test_rows_out_of_order_are_refused(distances: list[list[int]], ids: list[list[int]]) -> None:
    with pytest.raises(InputError, match=r"expected rows ordered by \(distance, id\), got row 0 out of order"):
        hits(distances, ids)


@pytest.mark.parametrize(("distance", "number"), [(3, PAD_ID), (PAD_DISTANCE, 3), (3, -2)])
def test_half_a_padding_pair_is_refused(distance: int, number: int) -> None:
    with pytest.raises(InputError, match="one half of a padding pair"):
        hits([[0, distance]], [[0, number]])


def test_other_dtypes_and_shapes_are_refused() -> None:
    good, ids = np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64)
    for distances, numbers in ((good.astype(np.int64), ids), (good, ids.astype(np.int32)), (good[0], ids[0])):
        with pytest.raises(InputError, match=r"expected int32 \(Q, k\) distances and int64"):
            Hits(distances, numbers)
    with pytest.raises(InputError, match=r"int32 \(1, 1\) and int64 \(2, 1\)"):
        Hits(good, np.zeros((2, 1), np.int64))


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(1, 9), sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4), k=st.integers(1, 15),
    queries=st.integers(0, 4), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_merged_shards_equal_the_whole(bits: int, sizes: list[int], k: int, queries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = Codes(np.packbits(rng.random((queries, bits)) < 0.5, axis=1), bits)
    ids = rng.permutation(1000)[: sum(sizes)]
    codes = Codes(np.packbits(rng.random((sum(sizes), bits)) < 0.5, axis=1), bits)
    whole = HammingIndex(bits)
    whole.add(codes, ids)
    parts = []
    for part in np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]):
        shard = HammingIndex(bits)
        shard.add(codes[part], ids[part])
        parts.append(shard.search(asked, k))
    assert merge(parts, k) == whole.search(asked, k)
    assert merge([merge(parts[:1], k), *parts[1:]], k) == merge(parts, k)


def test_merge_needs_parts_of_the_same_queries() -> None:
    one, two = hits([[1]], [[1]]), hits([[1], [1]], [[1], [1]])
    for parts, k in (([], 1), ([one, two], 1), ([one], 0)):
        with pytest.raises(InputError, match="expected hits of the same queries and k >= 1"):
            merge(parts, k)
    assert merge([one], 2) == hits([[1, PAD_DISTANCE]], [[1, PAD_ID]])
