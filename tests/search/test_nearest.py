"""The first look by embeddings: equal to the kernel over everything, whatever the rounding of a matrix product."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.search import EmbeddingStore, Hits, Scored, nearest, rerank

DTYPES = ("float32", "float16", "int8")
SIMILARITIES: Any = ("cosine", "dot")


def everything(queries: Any, store: EmbeddingStore, k: int, similarity: Any) -> Scored:
    """The brute force: everything listed, and the kernel of the second look over it."""
    ids = np.broadcast_to(store.ids, (len(queries), len(store)))
    far = np.broadcast_to(np.arange(len(store), dtype=np.int32), ids.shape)
    return rerank(Hits(far, ids), queries, store, k, similarity=similarity)


def kept(rows: Any, dtype: Any, ids: Any) -> EmbeddingStore:
    """A store in memory."""
    if dtype != "int8":
        return EmbeddingStore(np.asarray(rows, dtype), ids)
    scales = np.maximum(np.abs(rows).max(axis=1) / 127, 1e-30).astype(np.float32)
    return EmbeddingStore(np.rint(rows / scales[:, None]).astype(np.int8), ids, scales=scales)


def small_blocks(monkeypatch: Any, block: int, pairs: int) -> None:
    monkeypatch.setattr(sys.modules["hashret.search.nearest"], "_BLOCK", block)
    monkeypatch.setattr(sys.modules["hashret.search.nearest"], "_PAIRS", pairs)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000), dtype=st.sampled_from(DTYPES), similarity=st.sampled_from(SIMILARITIES),
    width=st.integers(1, 40), k=st.integers(1, 70), named=st.booleans(), block=st.sampled_from([1, 300, 1 << 22]),
    pairs=st.sampled_from([1, 100, 1 << 21]), spread=st.sampled_from([0.0, 3.0]),
)  # fmt: skip
def test_it_is_the_kernel_over_everything(
    seed: int, dtype: Any, similarity: Any, width: int, k: int, named: bool, block: int, pairs: int, spread: float
) -> None:  # fmt: skip
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(60, width)) * np.exp(chance.normal(size=(60, 1)) * spread)
    rows[chance.random(60) < 0.1] = 0
    copied = chance.random(60) < 0.3
    rows[copied] = rows[chance.integers(0, 5, 60)][copied]  # ties
    rows[chance.random(60) < 0.1] *= 1 + 1e-7  # and what is nearly one
    rows = np.clip(rows, -6e4, 6e4)  # half precision ends at 65,504
    store = kept(rows, dtype, chance.permutation(200)[:60] if named else None)
    queries = chance.normal(size=(7, width)) * (chance.random((7, 1)) < 0.9)
    queries[1] = rows[3]
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block, pairs)
        found = nearest(queries, store, k, similarity=similarity)
    assert found == everything(queries, store, k, similarity)


def test_the_nearest_are_those_of_a_plain_sort() -> None:
    chance = np.random.default_rng(1)
    gallery, queries = chance.normal(size=(900, 33)).astype(np.float32), chance.normal(size=(20, 33))
    store = EmbeddingStore(gallery, ids=np.arange(900)[::-1] + 5)
    products = queries @ gallery.T.astype(np.float64)
    cosines = products / np.linalg.norm(gallery, axis=1) / np.linalg.norm(queries, axis=1)[:, None]
    for similarity, scores in (("cosine", cosines), ("dot", products)):
        found = nearest(queries, store, 11, similarity=similarity)  # type: ignore[arg-type]
        assert found.ids.tolist() == (904 - np.argsort(-scores, axis=1)[:, :11]).tolist()
        np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :11], rtol=1e-5)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_rounding_of_the_product_changes_nothing(similarity: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that differ by less than a float32 product can tell, in an order that misleads it."""
    chance = np.random.default_rng(2)
    base = chance.normal(size=400)
    rows = (base + 1e-6 * chance.normal(size=(500, 400))).astype(np.float32)
    store = EmbeddingStore(rows)
    queries = np.stack([base, base + 1e-3 * chance.normal(size=400), chance.normal(size=400)])
    small_blocks(monkeypatch, 400 * 64, 1 << 21)
    found = nearest(queries, store, 5, similarity=similarity)
    assert found == everything(queries, store, 5, similarity)
    unit = queries.astype(np.float32)
    misled = np.argsort(-(unit @ rows.T), axis=1, kind="stable")[:, :5]
    assert found.ids.tolist() != misled.tolist()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_more_ties_than_can_be_carried_are_settled(similarity: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = sys.modules["hashret.search.nearest"]
    small_blocks(monkeypatch, 2 * 50, 40)
    settled: list[int] = []
    only = module._Pool._only

    def counted(pool: Any, kept: Any) -> None:
        settled.append(len(kept) - int(kept.sum()))
        only(pool, kept)

    monkeypatch.setattr(module._Pool, "_only", counted)
    rows = np.tile(np.array([[1, 2]], np.float32), (400, 1))
    rows[333] = [2, 1]
    store = EmbeddingStore(rows, ids=np.random.default_rng(3).permutation(400))
    queries = [[1.0, 2.0], [0.0, 0.0], [5.0, 1.0]]
    assert nearest(queries, store, 6, similarity=similarity) == everything(queries, store, 6, similarity)
    assert max(settled) >= 40  # it was needed


@pytest.mark.parametrize("size", [1e-42, 1e-37, 1e-12, 1e-3, 1e3, 1e16, 1e37])
@pytest.mark.parametrize("asked", [1e-300, 1e-20, 1.0, 1e300])
def test_small_and_large_numbers(size: float, asked: float) -> None:
    chance = np.random.default_rng(4)
    rows = (chance.normal(size=(80, 5)) * size).astype(np.float32)
    rows[40:] = (chance.normal(size=(40, 5))).astype(np.float32)
    queries = chance.normal(size=(4, 5)) * asked
    assert nearest(queries, EmbeddingStore(rows), 9) == everything(queries, EmbeddingStore(rows), 9, "cosine")
    if asked <= 1 and size < 1e20:
        found = nearest(queries, EmbeddingStore(rows), 9, similarity="dot")
        assert found == everything(queries, EmbeddingStore(rows), 9, "dot")


def test_ends_of_the_range() -> None:
    store = EmbeddingStore(np.eye(3, dtype=np.float32), ids=[4, 9, 2])
    assert nearest(np.empty((0, 3)), store, 2).ids.shape == (0, 2)
    assert nearest([[0, 1, 0.5]], store, 5).ids.tolist() == [[9, 2, 4, -1, -1]]
    assert nearest([[0, 0, 0]], store, 2).ids.tolist() == [[2, 4]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_row_that_is_not_finite_is_named(value: float, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 6, 1 << 21)
    rows = np.eye(3, dtype=dtype)
    rows[2, 0] = value
    with pytest.raises(NonFiniteError, match="embeddings: expected finite numbers, got others for id 7"):
        nearest([[1, 1, 1]], EmbeddingStore(rows, ids=[5, 6, 7]), 1)


def test_wrong_questions_are_refused() -> None:
    store = EmbeddingStore(np.eye(3, dtype=np.float32))
    with pytest.raises(InputError, match=r"queries: expected real vectors \(Q, 3\), got float64 \(3,\)"):
        nearest(np.ones(3), store)
    with pytest.raises(WidthError, match="queries: expected 3 columns, as the store has, got 4"):
        nearest(np.ones((1, 4)), store)
    with pytest.raises(NonFiniteError, match="queries: expected finite numbers"):
        nearest([[1, np.nan, 2]], store)
    with pytest.raises(InputError, match="expected 'cosine' or 'dot', got 'l2'"):
        nearest(np.ones((1, 3)), store, similarity="l2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k: expected a whole number >= 1"):
        nearest(np.ones((1, 3)), store, 0)
    with pytest.raises(NonFiniteError, match="got inf for id 0"):
        nearest([[1e300, 0, 0]], store, 1, similarity="dot")


def test_a_mapped_store_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 16 * 700, 1 << 21)
    chance = np.random.default_rng(5)
    rows, queries = chance.normal(size=(5000, 16)), chance.normal(size=(3, 16))
    store = EmbeddingStore.write(tmp_path / "s", (rows[at : at + 999] for at in range(0, 5000, 999)), dtype="float16")
    assert nearest(queries, store, 20) == everything(queries, store, 20, "cosine")
