"""The second look: what it orders, reads and refuses; a full float search restricted to the shortlist is its oracle."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashret.codes import binarize
from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.search import EmbeddingStore, HammingIndex, Hits, Scored, rerank
from hashret.search.hits import PAD_DISTANCE, PAD_ID
from hashret.search.rerank_kernels import _pair, scorer

DTYPES = ("float32", "float16", "int8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pair_means_the_same_without_the_compiler(dtype):
    row, query = np.array([3, -2, 0, 1], dtype), np.array([0.5, 2, 7, -1.25])
    product, square = _pair(row.view(np.uint16) if dtype == "float16" else row, query)
    assert (product, square) == (-3.75, 14.0)


def shortlists(ids: Any) -> Hits:
    """Hits of these ids, whose distances are their places."""
    ids = np.asarray(ids, np.int64)
    places = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    return Hits(np.where(ids == PAD_ID, PAD_DISTANCE, places), ids)


def oracle(hits: Hits, queries: Any, store: EmbeddingStore, k: int, similarity: str) -> tuple[list[Any], list[Any]]:
    """Every listed pair by itself, in float64, rounded to float32 and sorted in Python."""
    scores, ids = [], []
    for listed, query in zip(hits.ids.tolist(), np.asarray(queries, np.float64), strict=True):
        found = []
        for number in [number for number in listed if number != -1]:
            row = store.take([number])[0].astype(np.float64)
            score = float(np.dot(row, query))
            length = np.linalg.norm(row) * np.linalg.norm(query)
            if similarity == "cosine":
                score = score / length if length else 0.0
            found.append((-score, number))
        found = sorted(found)[:k] + [(np.inf, -1)] * (k - len(found))
        scores.append([-score for score, _ in found])
        ids.append([number for _, number in found])
    return scores, ids


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000), dtype=st.sampled_from(DTYPES), similarity=st.sampled_from(["cosine", "dot"]),
    width=st.integers(1, 70), k=st.integers(1, 12), named=st.booleans(),
)  # fmt: skip
def test_it_is_the_full_search_restricted_to_the_shortlist(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: Any, similarity: Any, width: int, k: int, named: bool
) -> None:
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(30, width)).astype(np.float32)
    rows[chance.random(30) < 0.1] = 0
    names = chance.permutation(1000)[:30] if named else np.arange(30)
    path = tmp_path_factory.mktemp("store") / "gallery"
    store = EmbeddingStore.write(path, rows, dtype=dtype, ids=names if named else None)
    listed = np.stack([chance.permutation(names)[:9] for _ in range(5)])
    listed[chance.random(5) < 0.3, 6:] = PAD_ID
    queries = chance.normal(size=(5, width)) * (chance.random((5, 1)) < 0.9)
    found = rerank(shortlists(listed), queries, store, k, similarity=similarity)
    scores, ids = (np.array(part) for part in oracle(shortlists(listed), queries, store, 13, similarity))
    assert found.ids.shape == found.scores.shape == (5, k)
    np.testing.assert_allclose(found.scores, scores[:, :k], rtol=1e-6, atol=1e-6)
    # What is equal after rounding to float32 is ordered by id; the oracle's float64 may see it otherwise.
    finite = np.where(ids < 0, -1e9 * np.arange(1, 14), scores)
    close = np.diff(finite, axis=1, prepend=np.inf) > -1e-6
    sure = ~(close | np.roll(close, -1, axis=1))[:, :k]
    assert (found.ids == ids[:, :k])[sure].all()


def test_all_as_candidates_are_the_whole_search() -> None:
    chance = np.random.default_rng(1)
    gallery, queries = chance.normal(size=(200, 24)).astype(np.float32), chance.normal(size=(7, 24))
    index = HammingIndex(24)
    index.add(binarize(gallery))
    found = rerank(index.search(binarize(queries), k=200), queries, EmbeddingStore(gallery), k=10)
    lengths = np.linalg.norm(gallery, axis=1) * np.linalg.norm(queries, axis=1)[:, None]
    assert found.ids.tolist() == np.argsort(-(queries @ gallery.T) / lengths, axis=1)[:, :10].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_score_depends_on_nothing_else_in_the_batch(tmp_path: Path, dtype: Any, similarity: Any) -> None:
    chance = np.random.default_rng(2)
    store = EmbeddingStore.write(tmp_path / "s", chance.normal(size=(400, 131)), dtype=dtype)
    queries, hits = chance.normal(size=(64, 131)), shortlists([chance.permutation(400)[:100] for _ in range(64)])
    whole = rerank(hits, queries, store, 100, similarity=similarity, threads=1)
    assert rerank(hits, queries, store, 100, similarity=similarity, threads=3) == whole
    for start, end in ((0, 1), (5, 8), (40, 64)):
        part = shortlists(hits.ids[start:end])
        alone = rerank(part, queries[start:end], store, 100, similarity=similarity)
        assert alone == Scored(whole.scores[start:end], whole.ids[start:end])
    backwards = rerank(shortlists(hits.ids[:, ::-1]), queries, store, 100, similarity=similarity)
    assert backwards == whole
    few = rerank(hits, queries, store, 7, similarity=similarity)
    assert few == Scored(whole.scores[:, :7], whole.ids[:, :7])


def test_threads_share_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashret.search.crew as crews

    module = sys.modules["hashret.search.rerank"]
    chance = np.random.default_rng(3)
    store, queries = EmbeddingStore(chance.normal(size=(50, 8)).astype(np.float32)), chance.normal(size=(20, 8))
    hits = shortlists([chance.permutation(50)[:10] for _ in range(20)])
    whole = rerank(hits, queries, store, 4, threads=1)
    monkeypatch.setattr(crews, "_THREAD_WORDS", 1)
    monkeypatch.setattr(module, "_NUMBERS", 30)  # three queries a block
    assert rerank(hits, queries, store, 4, threads=3) == whole


def test_every_half_is_read_as_it_is() -> None:
    bits = np.arange(65536, dtype=np.uint16)[:, None]
    scores = np.zeros((1, 65536), np.float32)
    every: NDArray[np.int64] = np.arange(65536)[None]
    scorer("float16")(bits, np.empty(0, np.float32), every, np.ones((1, 1)), False, scores)
    halves = bits[:, 0].view(np.float16)
    finite = np.isfinite(halves)
    assert scores[0, finite].tolist() == halves[finite].astype(np.float32).tolist()
    assert np.isnan(scores[0, ~finite]).all()


def test_int8_is_off_by_half_a_scale_at_most(tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    rows = chance.normal(size=(300, 48)) * np.exp(chance.normal(size=(300, 1)) * 4)
    store = EmbeddingStore.write(tmp_path / "s", rows, dtype="int8")
    scales = np.abs(rows).max(1) / 127
    np.testing.assert_allclose(store.scales, scales, rtol=1e-6)
    error = np.abs(store.take(np.arange(300)) - rows)
    assert (error <= scales[:, None] / 2 * (1 + 1e-4)).all()
    queries = chance.normal(size=(5, 48))
    hits = shortlists([np.arange(300)] * 5)
    found = rerank(hits, queries, store, 300, similarity="dot")
    exact = np.take_along_axis(queries @ rows.T, found.ids, 1)
    bound = np.abs(queries).sum(1)[:, None] * scales[found.ids] / 2
    assert (np.abs(found.scores - exact) <= bound * (1 + 1e-4) + 1e-6 * np.abs(exact)).all()
    assert (np.abs(found.scores - exact) > 0).any()


def test_equal_scores_come_by_id_and_zeros_score_nothing() -> None:
    store = EmbeddingStore(np.array([[1, 0], [2, 0], [0, 0], [-1, 0], [0, 3]], np.float32), ids=[9, 4, 7, 2, 1])
    found = rerank(shortlists([[9, 7, 4, 2, 1]]), [[5.0, 0]], store, 6)
    assert found.ids.tolist() == [[4, 9, 1, 7, 2, -1]]
    assert found.scores.tolist() == [[1, 1, 0, 0, -1, -np.inf]]
    assert not np.signbit(found.scores[0, 2:4]).any()
    nothing = rerank(shortlists([[9, 7, 4]]), [[0.0, 0]], store, 3)
    assert nothing.ids.tolist() == [[4, 7, 9]]
    assert nothing.scores.tolist() == [[0, 0, 0]]
    assert found.hits() == Hits(
        np.array([[0, 0, 1, 1, 2, PAD_DISTANCE]], np.int32), np.array([[4, 9, 1, 7, 2, -1]])
    )  # fmt: skip


def test_no_candidates_and_no_queries() -> None:
    store = EmbeddingStore(np.eye(2, dtype=np.float32))
    assert rerank(Hits.none(2), np.ones((2, 2)), store, 3).ids.tolist() == [[-1] * 3] * 2
    empty = rerank(Hits.none(0), np.ones((0, 2)), store, 3)
    assert (len(empty), empty.k) == (0, 3)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e300])
def test_cosine_neither_overflows_nor_vanishes(size: float) -> None:
    rows = np.array([[3, 4], [4, 3]], np.float32) * np.float32(np.clip(size, 1e-37, 1e37))
    found = rerank(shortlists([[0, 1]]), np.array([[3, 4]]) * size, EmbeddingStore(rows), 2)
    np.testing.assert_allclose(found.scores, [[1, 0.96]], rtol=1e-6)


def test_unknown_ids_are_named() -> None:
    rows = np.eye(3, dtype=np.float32)
    for store in (EmbeddingStore(rows), EmbeddingStore(rows, ids=[0, 1, 2]), EmbeddingStore(rows, ids=[2, 0, 1])):
        with pytest.raises(InputError, match=r"expected ids of EmbeddingStore\(3 x 3, float32\), got 3, 8, which"):
            rerank(shortlists([[0, 8, 3]]), np.ones((1, 3)), store)
    with pytest.raises(InputError, match="got 0, 13, which it does not have"):
        rerank(shortlists([[10, 0, 13]]), np.ones((1, 3)), EmbeddingStore(rows, ids=[10, 11, 12]))


def test_wrong_questions_are_refused() -> None:
    store, hits = EmbeddingStore(np.eye(3, dtype=np.float32)), shortlists([[0, 1]])
    with pytest.raises(InputError, match=r"expected real vectors \(1, 3\), one a shortlist, got float64 \(2, 3\)"):
        rerank(hits, np.ones((2, 3)), store)
    with pytest.raises(InputError, match=r"got float64 \(3,\)"):
        rerank(hits, np.ones(3), store)
    with pytest.raises(InputError, match="complex128"):
        rerank(hits, np.ones((1, 3), complex), store)
    with pytest.raises(WidthError, match="expected 3 columns, as the store has, got 4"):
        rerank(hits, np.ones((1, 4)), store)
    with pytest.raises(NonFiniteError, match="queries: expected finite numbers"):
        rerank(hits, [[1, np.nan, 2]], store)
    with pytest.raises(InputError, match="expected 'cosine' or 'dot', got 'l2'"):
        rerank(hits, np.ones((1, 3)), store, similarity="l2")  # type: ignore[arg-type]
    for bad in (0, 2.0):
        with pytest.raises(InputError, match=r"k: expected a whole number >= 1"):
            rerank(hits, np.ones((1, 3)), store, bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"threads: expected a whole number >= 1"):
        rerank(hits, np.ones((1, 3)), store, threads=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_row_that_is_not_finite_is_named_when_it_is_looked_up(value: float, dtype: Any, similarity: Any) -> None:
    rows = np.eye(3, dtype=dtype)
    rows[1, 2] = value
    store = EmbeddingStore(rows, ids=[5, 6, 7])
    assert rerank(shortlists([[5, 7]]), np.ones((1, 3)), store, similarity=similarity).ids[0, 0] == 5
    with pytest.raises(NonFiniteError, match="for id 6"):
        rerank(shortlists([[5, 6, 7]]), [[1, 1, 0]], store, similarity=similarity)


def test_scored_checks_itself() -> None:
    good, ids = np.array([[2, 1, 1, -np.inf]], np.float32), np.array([[5, 3, 4, -1]])
    some = Scored(good, ids)
    assert (len(some), some.k, some == Scored(good, ids), some == "scored") == (1, 4, True, False)
    for scores, names in ((good[:, ::-1], ids[:, ::-1]), (good, np.array([[5, 4, 3, -1]])),
                          (good.astype(np.float64), ids), (good, np.array([[5, 3, 4, 6]])),
                          (good, np.array([[5, 3, -1, -1]])), (good[0], ids[0])):  # fmt: skip
        with pytest.raises(InputError, match="scored: expected"):
            Scored(scores, names)


def test_searching_and_looking_again_load_no_torch() -> None:
    asked = "import sys, hashret; hashret.rerank, hashret.EmbeddingStore, hashret.Scored; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"
