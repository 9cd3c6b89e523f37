"""Late interaction: loops are its oracle, and no score depends on what else is scored."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.search import (
    EmbeddingStore,
    Hits,
    Scored,
    Tokens,
    TokenStore,
    exhaustive,
    late_scores,
    nearest,
    rerank_tokens,
)
from hashret.search import late as module
from hashret.search.hits import PAD_DISTANCE, PAD_ID
from hashret.search.late_kernels import late_scorer

DTYPES = ("float32", "float16", "int8")
SIDES: Any = ("queries", "gallery")


def drawn(lengths: Any, width: int, chance: np.random.Generator) -> Tokens:
    return Tokens.of([chance.normal(size=(int(length), width)) for length in lengths])


def kept(tokens: Tokens, dtype: Any, ids: Any) -> TokenStore:
    """A store in memory."""
    rows = tokens.values
    if dtype != "int8":
        return TokenStore(rows.astype(dtype), tokens.lengths, ids)
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    return TokenStore(np.rint(rows / scales[:, None]).astype(np.int8), tokens.lengths, ids, scales=scales)


def shortlists(ids: Any) -> Hits:
    """Hits of these ids, whose distances are their places."""
    ids = np.asarray(ids, np.int64)
    places = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    return Hits(np.where(ids == PAD_ID, PAD_DISTANCE, places), ids)


def score(query: Any, item: Any, summed: str) -> float:
    """One pair by loops, in float64."""
    words, regions = (query, item) if summed == "queries" else (item, query)
    total = 0.0
    for word in words.astype(np.float64):
        total += max(float(np.dot(word, region)) for region in regions.astype(np.float64))
    return total


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000), dtype=st.sampled_from(DTYPES), summed=st.sampled_from(SIDES),
    width=st.integers(1, 70), most=st.integers(1, 14), named=st.booleans(), weight=st.sampled_from([0.0, 0.7]),
    k=st.integers(1, 12),
)  # fmt: skip
def test_it_is_what_loops_say(
    seed: int, dtype: Any, summed: Any, width: int, most: int, named: bool, weight: float, k: int
) -> None:  # fmt: skip
    chance = np.random.default_rng(seed)
    queries = drawn(chance.integers(1, most + 1, 4), width, chance)
    names = chance.permutation(100)[:11] if named else np.arange(11)
    gallery = drawn(chance.integers(1, most + 1, 11), width, chance)
    store = kept(gallery, dtype, names if named else None)
    listed = np.stack([chance.permutation(names)[:8] for _ in range(4)])
    listed[chance.random(4) < 0.4, 5:] = PAD_ID
    coarse = chance.normal(size=(4, 8))
    found = rerank_tokens(shortlists(listed), queries, store, k, summed=summed, scale=10, coarse=coarse, weight=weight)
    for number in range(4):
        exact = {}
        for place, name in enumerate(listed[number].tolist()):
            if name != -1:
                fine = score(queries.item(number), store.take([name]).item(0), summed)
                exact[name] = 10 * fine + weight * coarse[number, place]
        ids = [name for name in found.ids[number].tolist() if name != -1]
        assert len(set(ids)) == len(ids) == min(k, len(exact))
        close = 1e-5 * width * most * 10
        np.testing.assert_allclose(found.scores[number, : len(ids)], [exact[name] for name in ids], atol=close)
        # What is left out is no better than what is there, and the rest is padding.
        assert all(exact[name] <= exact[ids[-1]] + 2 * close for name in set(exact) - set(ids))
        assert (found.ids[number, len(ids) :] == -1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("summed", SIDES)
def test_a_shortlist_of_everything_is_the_exhaustive_ranking(tmp_path: Path, dtype: Any, summed: Any) -> None:
    chance = np.random.default_rng(3)
    queries, gallery = (drawn(chance.integers(1, 15, count), 131, chance) for count in (9, 60))
    gallery = Tokens.join([gallery, gallery.rows([4, 4, 7])])  # ties
    store = TokenStore.write(tmp_path / "s", gallery, dtype=dtype, ids=chance.permutation(63) * 5)
    best = exhaustive(queries, store, 63, summed=summed, scale=0.3)
    everything = shortlists([chance.permutation(store.ids) for _ in range(9)])
    assert rerank_tokens(everything, queries, store, 63, summed=summed, scale=0.3) == best
    scores = late_scores(queries, store.take(store.ids), summed=summed, scale=0.3)
    order = np.lexsort((np.broadcast_to(store.ids, scores.shape), -scores), axis=1)
    assert best == Scored(np.take_along_axis(scores, order, 1), store.ids[order])
    for k in (1, 5, 70):
        some = exhaustive(queries, store, k, summed=summed, scale=0.3)
        assert some.scores[:, :63].tolist() == best.scores[:, :k].tolist()
        assert some.ids[:, :63].tolist() == best.ids[:, :k].tolist()
        assert (some.ids[:, 63:] == -1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("summed", SIDES)
def test_a_score_depends_on_nothing_else(
    tmp_path: Path, dtype: Any, summed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashret.search.crew as crews

    chance = np.random.default_rng(4)
    queries, gallery = (drawn(chance.integers(1, 20, count), 77, chance) for count in (21, 50))
    store = TokenStore.write(tmp_path / "s", gallery, dtype=dtype)
    hits = shortlists([chance.permutation(50)[:20] for _ in range(21)])
    whole = rerank_tokens(hits, queries, store, 20, summed=summed, threads=1)
    best = exhaustive(queries, store, 20, summed=summed, threads=1)
    scores = late_scores(queries, store.take(range(50)), summed=summed, threads=1)
    monkeypatch.setattr(crews, "_THREAD_WORDS", 1)
    threads = 0
    real = crews.together

    def counted(tasks: Any, workers: int) -> Any:
        nonlocal threads
        threads = max(threads, workers)
        return real(tasks, workers)

    monkeypatch.setattr(module, "together", counted)
    for cache, block in ((1 << 18, 1 << 21), (1, 1 << 21), (20000, 60), (1 << 18, 1)):
        monkeypatch.setattr(module, "_CACHE", cache)
        monkeypatch.setattr(module, "_SCORES", block)
        assert rerank_tokens(hits, queries, store, 20, summed=summed, threads=2) == whole
        assert exhaustive(queries, store, 20, summed=summed, threads=2) == best
        again = late_scores(queries, store.take(range(50)), summed=summed, threads=2)
        assert again.tobytes() == scores.tobytes()
    assert threads == 2
    alone = rerank_tokens(shortlists(hits.ids[5:6, 3:9]), queries[5:6], store, 6, summed=summed)
    assert alone.scores[0].tolist() == [scores[5, number] for number in alone.ids[0].tolist()]
    assert exhaustive(queries[7:8], store, 20, summed=summed) == Scored(best.scores[7:8], best.ids[7:8])
    one = late_scores(queries[3:4], store.take([8]), summed=summed)
    assert one[0, 0] == scores[3, 8]


def test_either_side_may_ask() -> None:
    chance = np.random.default_rng(5)
    texts, images = drawn(chance.integers(1, 17, 12), 40, chance), drawn(chance.integers(1, 52, 13), 40, chance)
    asked_by_text = late_scores(texts, images, summed="queries", scale=10)
    asked_by_image = late_scores(images, texts, summed="gallery", scale=10)
    assert asked_by_text.tobytes() == np.ascontiguousarray(asked_by_image.T).tobytes()
    other = late_scores(texts, images, summed="gallery", scale=10)
    assert not np.allclose(asked_by_text, other)
    assert late_scores(texts[:0], images, summed="queries").shape == (0, 13)
    assert late_scores(texts, images[:0], summed="gallery").shape == (12, 0)


def test_the_coarse_scores_are_mixed_in() -> None:
    chance = np.random.default_rng(6)
    queries, gallery = drawn([3, 2], 8, chance), drawn(chance.integers(1, 4, 9), 8, chance)
    store = TokenStore(gallery.values, gallery.lengths)
    first = nearest(chance.normal(size=(2, 4)), EmbeddingStore(chance.normal(size=(9, 4)).astype(np.float32)), 9)
    fine = late_scores(queries, gallery, summed="queries")
    for weight in (0.0, 0.5, 1e6):
        mixed = rerank_tokens(first, queries, store, 9, summed="queries", weight=weight)
        given_too = rerank_tokens(first, queries, store, 9, summed="queries", weight=weight, coarse=first.scores)
        assert mixed == given_too
        total = np.take_along_axis(fine, first.ids, 1) + weight * first.scores.astype(np.float64)
        order = np.argsort(-total, axis=1)
        assert mixed.ids.tolist() == np.take_along_axis(first.ids, order, 1).tolist()
        np.testing.assert_allclose(mixed.scores, np.take_along_axis(total, order, 1), rtol=1e-6)
    assert mixed.ids.tolist() == first.ids.tolist()  # all weight on the coarse score
    other = rerank_tokens(first, queries, store, 9, summed="queries", weight=1e6, coarse=-first.scores)
    assert other.ids.tolist() == first.ids[:, ::-1].tolist()


def test_what_is_not_listed_does_not_come_back() -> None:
    chance = np.random.default_rng(7)
    queries, gallery = drawn([2, 2], 4, chance), drawn([2] * 6, 4, chance)
    store = TokenStore(gallery.values, gallery.lengths)
    found = rerank_tokens(shortlists([[1, 4], [5, -1]]), queries, store, 4, summed="queries")
    assert set(found.ids[0].tolist()) == {1, 4, -1}
    assert found.ids[1].tolist() == [5, -1, -1, -1]
    assert found.scores[1, 1:].tolist() == [-np.inf] * 3
    nothing = rerank_tokens(Hits.none(2), queries, store, 3, summed="gallery", weight=1, coarse=np.empty((2, 0)))
    assert nothing.ids.tolist() == [[-1] * 3] * 2
    empty = Scored(np.full((2, 2), -np.inf, np.float32), np.full((2, 2), -1))
    assert rerank_tokens(empty, queries, store, 3, summed="gallery", weight=2).ids.tolist() == [[-1] * 3] * 2
    none = rerank_tokens(Hits.none(0), queries[:0], store, 3, summed="queries")
    assert (len(none), none.k, len(exhaustive(queries[:0], store, 3, summed="queries"))) == (0, 3, 0)


def test_equal_scores_come_by_id_and_zero_has_no_sign() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 0], [-1, 0], [1, 0]], np.float32)
    store = TokenStore(rows, [1] * 5, ids=[9, 4, 7, 2, 5])
    asked = Tokens.of([[[-0.0, 3]], [[2, 0]]])
    for found in (
        exhaustive(asked, store, 4, summed="queries"),
        rerank_tokens(shortlists([[9, 7, 5, 4, 2]] * 2), asked, store, 4, summed="gallery"),
    ):
        assert found.ids.tolist() == [[2, 4, 5, 7], [4, 5, 9, 7]]
        assert found.scores.tolist() == [[0] * 4, [2, 2, 2, 0]]
        assert not np.signbit(found.scores).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("summed", SIDES)
def test_a_row_that_is_not_finite_is_named_by_its_id(value: float, dtype: Any, summed: Any) -> None:
    for token in range(1, 6):
        rows = np.ones((6, 3), dtype)
        rows[token, 2] = value
        store = TokenStore(rows, [1, 5], ids=[8, 6])
        asked = Tokens.of([[[1, 1, 0], [1, 0, 0]]])  # a product with zero hides nothing
        assert rerank_tokens(shortlists([[8]]), asked, store, summed=summed).ids[0, 0] == 8
        with pytest.raises(NonFiniteError, match="scores: expected finite numbers, got nan for id 6"):
            rerank_tokens(shortlists([[8, 6]]), asked, store, summed=summed)
        with pytest.raises(NonFiniteError, match="for id 6"):
            exhaustive(asked, store, summed=summed)


def test_every_half_is_read_as_numpy_reads_it() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    halves = bits.view(np.float16)
    kernel, scores = late_scorer("float16", True), np.zeros((1, len(bits)))
    asked = np.zeros((4, 16), np.float32)
    asked[:, 0] = 1
    line = np.arange(len(bits) + 1)
    one = np.array([0, 1])
    kernel(bits[:, None], np.empty(0, np.float32), line, line[None, :-1], one, asked, one * 4, one[1:], scores)
    finite = np.isfinite(halves)
    assert scores[0, finite].tolist() == halves[finite].astype(np.float64).tolist()
    assert np.isnan(scores[0, ~finite]).all()


def test_products_beyond_float32_are_refused_unless_they_do_not_count() -> None:
    store = TokenStore(np.array([[1e30, 0], [-1e30, 0], [0, 1]], np.float32), [2, 1])
    with pytest.raises(NonFiniteError, match="got inf for id 0"):
        exhaustive(Tokens.of([[[1e30, 0]]]), store, summed="queries")
    with pytest.raises(NonFiniteError, match="got inf for item 0"):
        late_scores(Tokens.of([[[1e30, 0]]]), store.take([0]), summed="queries")
    with pytest.raises(NonFiniteError, match="got inf for id 0"):  # by the scale
        exhaustive(Tokens.of([[[1e5, 0]]]), store, summed="queries", scale=1e10)
    with pytest.raises(NonFiniteError, match="got inf for id 1"):  # by the coarse score
        rerank_tokens(shortlists([[1]]), Tokens.of([[[1, 1]]]), store, summed="queries", coarse=[[1e300]], weight=1)
    small = TokenStore(np.array([[-1e30, 0], [0, 1]], np.float32), [2])
    assert exhaustive(Tokens.of([[[1e30, 5]]]), small, 1, summed="queries").scores.tolist() == [[5]]


def test_wrong_questions_are_refused() -> None:
    store, asked, hits = TokenStore(np.eye(3, dtype=np.float32), [1, 2]), Tokens.of([np.eye(3)]), shortlists([[0, 1]])
    for bad in ("words", None, True):
        with pytest.raises(InputError, match="summed: expected 'queries' or 'gallery'"):
            rerank_tokens(hits, asked, store, summed=bad)  # type: ignore[arg-type]
    for number in (-1.0, np.nan, np.inf, "1", True):
        with pytest.raises(InputError, match="scale: expected a finite number >= 0"):
            exhaustive(asked, store, summed="queries", scale=number)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="weight: expected a finite number >= 0"):
            rerank_tokens(hits, asked, store, summed="queries", coarse=[[0, 0]], weight=number)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="coarse: expected a score beside each id, got none, and a weight"):
        rerank_tokens(hits, asked, store, summed="queries", weight=0.5)
    for coarse in ([0, 0], [[0, 0, 0]], [["a", "b"]]):
        for weight in (0.0, 1.0):
            with pytest.raises(InputError, match=r"coarse: expected real numbers \(1, 2\), one beside each id"):
                rerank_tokens(hits, asked, store, summed="queries", coarse=coarse, weight=weight)
    with pytest.raises(NonFiniteError, match="coarse: expected finite numbers, got nan for id 1"):
        rerank_tokens(hits, asked, store, summed="queries", coarse=[[0, np.nan]], weight=1)
    with pytest.raises(InputError, match="shortlist: expected Hits or Scored of 1 queries, got 2 of them"):
        rerank_tokens(shortlists([[0], [1]]), asked, store, summed="queries")
    with pytest.raises(InputError, match="shortlist: expected Hits or Scored of 1 queries, got ndarray"):
        rerank_tokens(np.array([[0]]), asked, store, summed="queries")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"expected ids of TokenStore\(2 items, 3 x 3, float32\), got 5, 9, which"):
        rerank_tokens(shortlists([[0, 9, 5]]), asked, store, summed="queries")
    with pytest.raises(WidthError, match="queries: expected tokens of width 3, as the gallery has, got 2"):
        exhaustive(Tokens.of([[[1, 2]]]), store, summed="queries")
    with pytest.raises(InputError, match="queries: expected Tokens, got ndarray"):
        exhaustive(np.eye(3), store, summed="queries")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="store: expected a TokenStore, got Tokens"):
        exhaustive(asked, asked, summed="queries")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="gallery: expected Tokens, got TokenStore"):
        late_scores(asked, store, summed="queries")  # type: ignore[arg-type]
    for name, change in (("k", {"k": 0}), ("threads", {"threads": 0}), ("k", {"k": 2.0})):
        with pytest.raises(InputError, match=f"{name}: expected a whole number >= 1"):
            exhaustive(asked, store, summed="queries", **change)
        with pytest.raises(InputError, match=f"{name}: expected a whole number >= 1"):
            rerank_tokens(hits, asked, store, summed="queries", **change)


def test_another_process_compiles_nothing_and_scores_the_same() -> None:
    script = """
import numpy as np
from hashret.search import Tokens, late_scores
from hashret.search.late_kernels import late_scorer
chance = np.random.default_rng(0)
texts, images = (Tokens.of(list(chance.normal(size=(3, count, 33)))) for count in (5, 11))
print(late_scores(texts, images, summed="queries").tobytes().hex())
kernel = late_scorer("float32", True)
print(sum(kernel.stats.cache_misses.values()), bool(kernel.stats.cache_path))
"""
    late_scorer("float32", True)  # here, if it was never compiled before
    told = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
        ).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1]
    if not told[0].endswith("False\n"):
        assert told[0].endswith("0 True\n")
