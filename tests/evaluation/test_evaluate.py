"""evaluate against a full sort in Python, and the laws its results obey."""

import json
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_metrics import plain

from hashret.codes import Codes, binarize
from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.evaluation import TIES, evaluate
from hashret.evaluation.rankings import VectorsRanking
from hashret.relevance import Relevance, SameInstance, SharedLabels, Targets
from hashret.search import HammingIndex, Hits, merge

METRICS = [
    "map", "map@3", "map@50", "map@4:hits", "map@60:hits", "map@2:relevant", "map@50:relevant", "precision@1",
    "precision@4", "recall@2", "recall@30", "hit@1", "hit@3", "hit@60", "mean-rank", "median-rank", "ndcg", "ndcg@5",
]  # fmt: skip
WITH_RADII = [*METRICS, "radius-precision@0", "radius-precision@3"]
RANKS = ("mean-rank", "median-rank")


def random_codes(rows: int, bits: int, rng: np.random.Generator) -> Codes:
    return Codes(np.packbits(rng.random((rows, bits)) < 0.5, axis=1), bits)


def some_labels(queries: int, gallery: int, rng: np.random.Generator, share: float = 0.2) -> SharedLabels:
    return SharedLabels(rng.random((queries, 4)) < share, rng.random((gallery, 4)) < share)


@settings(deadline=None, max_examples=40)
@given(bits=st.integers(1, 70), queries=st.integers(1, 4), gallery=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_codes_hits_and_shards_equal_a_full_sort(bits: int, queries: int, gallery: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = random_codes(queries, bits, rng), random_codes(gallery, bits, rng)
    relevance = some_labels(queries, gallery, rng)
    index, left, right = HammingIndex(bits), HammingIndex(bits), HammingIndex(bits)
    index.add(theirs)
    left.add(theirs[::2], np.arange(gallery)[::2])
    right.add(theirs[1::2], np.arange(gallery)[1::2])
    shards = merge([left.search(ours, gallery), right.search(ours, gallery)], gallery + 2)
    judged = relevance.matrix(np.arange(queries))
    signs, others = ours.unpack().astype(int), theirs.unpack().astype(int)
    for ties in ("by-id", "best", "worst"):
        scores = evaluate((ours, theirs), relevance, WITH_RADII, ties=ties, unanswered="zero")
        for ranking in (index.search(ours, gallery), index.within(ours, bits), shards):
            same = evaluate(ranking, relevance, WITH_RADII, ties=ties, unanswered="zero")
            for metric in METRICS:
                np.testing.assert_allclose(same.per_query[metric], scores.per_query[metric], atol=1e-12)
        for row in range(queries):
            keys = [
                (int((signs[row] != others[number]).sum()), {"by-id": number, "best": -hit, "worst": hit}[ties], hit)
                for number, hit in enumerate(judged[row].tolist())
            ]
            order, far = [hit for *_, hit in sorted(keys)], [key[0] for key in sorted(keys)]
            for metric in WITH_RADII:
                wanted = plain(metric, order, far=far) if any(order) else np.inf if metric in RANKS else 0.0
                assert scores.per_query[metric][row] == pytest.approx(wanted, abs=1e-12), (metric, ties)


@settings(deadline=None, max_examples=30)
@given(bits=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_policies_are_in_order_and_permutations_change_only_by_id(bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = random_codes(5, bits, rng), random_codes(60, bits, rng)
    labels = rng.random((60, 4)) < 0.3
    labels[0] = True
    asked = np.ones((5, 4), np.uint8)
    relevance = SharedLabels(asked, labels)
    values = {ties: evaluate((ours, theirs), relevance, METRICS, ties=ties).per_query for ties in TIES}
    shuffle = rng.permutation(60)
    mask = rng.random((1, bits)) < 0.5
    moved = [Codes(codes.packed ^ np.packbits(mask, axis=1), bits) for codes in (ours, theirs[shuffle])]
    for metric in METRICS:
        if ":hits" in metric:
            continue  # its orders are not bounded by these
        order = ("best", "by-id", "expected", "worst") if metric in RANKS else ("worst", "by-id", "expected", "best")
        worst, by_id, expected, best = (values[ties][metric] for ties in order)
        assert (worst <= expected + 1e-12).all()
        assert (expected <= best + 1e-12).all()
        assert (worst <= by_id + 1e-12).all()
        assert (by_id <= best + 1e-12).all()
    for ties in ("expected", "best", "worst"):
        again = evaluate((moved[0], moved[1]), SharedLabels(asked, labels[shuffle]), METRICS, ties=ties).per_query
        for metric in METRICS:
            np.testing.assert_allclose(again[metric], values[ties][metric], atol=1e-12)


def test_xor_with_one_mask_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    ours, theirs, relevance = random_codes(20, 37, rng), random_codes(90, 37, rng), some_labels(20, 90, rng)
    mask = random_codes(1, 37, rng).packed
    masked = (Codes(ours.packed ^ mask, 37), Codes(theirs.packed ^ mask, 37))
    for ties in TIES:
        before = evaluate((ours, theirs), relevance, METRICS, ties=ties)
        after = evaluate(masked, relevance, METRICS, ties=ties)
        assert before.means() == after.means()


def test_constant_codes_are_chance_exactly() -> None:
    """Gallery sorted by relevance: any fixed order would be far above or below chance."""
    right, items = 30, 200
    relevance = SameInstance([1, 1], [1] * right + [0] * (items - right))
    constant = (binarize(np.ones((2, 16))), binarize(np.ones((items, 16))))
    names = ["map", "precision@7", "recall@20", "hit@1", "hit@10", "mean-rank", "ndcg", "radius-precision@0"]
    scores = evaluate(constant, relevance, names)
    share, inner = right / items, (right - 1) / (items - 1)
    discounts = [1 / np.log2(place + 1) for place in range(1, items + 1)]
    chance = {
        "map": sum((1 + (place - 1) * inner) / place for place in range(1, items + 1)) / items,
        "precision@7": share, "recall@20": 20 / items, "hit@1": share, "radius-precision@0": share,
        "hit@10": 1 - comb(items - right, 10) / comb(items, 10), "mean-rank": (items + 1) / (right + 1),
        "ndcg": share * sum(discounts) / sum(discounts[:right]),
    }  # fmt: skip
    assert scores.means() == pytest.approx(chance, rel=1e-12)
    assert evaluate(constant, relevance, ties="by-id")["map"] == 1.0
    assert evaluate(constant, relevance, ties="best")["map"] == 1.0
    assert evaluate(constant, relevance, ties="worst")["map"] < 0.09


def test_a_sorted_gallery_scores_as_a_shuffled_one() -> None:
    rng = np.random.default_rng(9)
    ours, theirs = random_codes(10, 6, rng), random_codes(400, 6, rng)
    labels, asked = rng.random((400, 4)) < 0.2, np.ones((10, 4), np.uint8)
    first = np.argsort(~labels.any(1), kind="stable")
    shuffled = evaluate((ours, theirs), SharedLabels(asked, labels), WITH_RADII)
    ranked = evaluate((ours, theirs[first]), SharedLabels(asked, labels[first]), WITH_RADII)
    assert ranked.means() == shuffled.means()


def test_blocks_of_queries_agree_with_small_calls() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = random_codes(900, 24, rng), random_codes(5000, 24, rng)  # 4.5 million pairs: three blocks
    labels, others = rng.random((900, 6)) < 0.2, rng.random((5000, 6)) < 0.2
    vectors, more = rng.standard_normal((900, 4)), rng.standard_normal((5000, 4))
    metrics = ["map", "map@100", "recall@100", "hit@2"]
    for ties in ("expected", "by-id"):
        for left, right in ((ours, theirs), (vectors, more)):
            whole = evaluate((left, right), SharedLabels(labels, others), metrics, ties=ties)
            for part in (slice(0, 5), slice(417, 421), slice(895, 900)):
                small = evaluate((left[part], right), SharedLabels(labels[part], others), metrics, ties=ties)
                for metric in metrics:
                    np.testing.assert_allclose(whole.per_query[metric][part], small.per_query[metric], atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_vectors_of_signs_rank_as_their_codes(dtype: type) -> None:
    rng = np.random.default_rng(2)
    ours, theirs, relevance = random_codes(30, 64, rng), random_codes(300, 64, rng), some_labels(30, 300, rng)
    signs = (ours.unpack().astype(dtype) * dtype(3), theirs.unpack().astype(dtype))  # length does not matter
    for ties in TIES:
        by_codes = evaluate((ours, theirs), relevance, METRICS, ties=ties)
        by_signs = evaluate(signs, relevance, METRICS, ties=ties)
        for metric in METRICS:
            np.testing.assert_allclose(by_signs.per_query[metric], by_codes.per_query[metric], atol=1e-12)


def test_vectors_equal_a_full_sort_by_cosine() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.standard_normal((8, 5)), rng.standard_normal((50, 5)) * 7
    relevance = some_labels(8, 50, rng, 0.7)
    cosine = (ours @ theirs.T) / np.linalg.norm(ours, axis=1)[:, None] / np.linalg.norm(theirs, axis=1)
    judged = relevance.matrix(np.arange(8))
    scores = evaluate((ours, theirs), relevance, METRICS)
    for row in range(8):
        order = judged[row][np.argsort(-cosine[row])].tolist()
        for metric in METRICS:
            assert scores.per_query[metric][row] == pytest.approx(plain(metric, order))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("queries", "dims", "gallery"), [(1, 512, 1003), (50, 129, 1003), (3, 512, 17)])
def test_copies_of_one_vector_are_chance_in_expectation(dtype: type, queries: int, dims: int, gallery: int) -> None:
    """The plain matrix product of these shapes gives equal columns different scores (OpenBLAS, AVX-512)."""
    rng = np.random.default_rng(0)
    vector, relevance = rng.standard_normal((1, dims)), SameInstance([0] * queries, [0] * 5 + [1] * (gallery - 5))
    vectors = (rng.standard_normal((queries, dims)).astype(dtype), np.repeat(vector, gallery, 0).astype(dtype))
    scores = evaluate(vectors, relevance, ["recall@9"])
    np.testing.assert_allclose(scores.per_query["recall@9"], 9 / gallery, rtol=1e-12)


def test_a_negative_zero_is_a_zero() -> None:
    gallery = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, -0.0]])
    assert VectorsRanking(np.ones((1, 2)), gallery).copies.tolist() == [0, 1, 0]
    assert evaluate((np.ones((1, 2)), gallery), SameInstance([0], [0, 1, 1]))["map"] == pytest.approx(5 / 12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_vectors_tie_wherever_they_stand(dtype: type) -> None:
    rng = np.random.default_rng(4)
    ours, base = rng.standard_normal((6, 129)).astype(dtype), rng.standard_normal((37, 129)).astype(dtype)
    copies = rng.integers(0, 37, 1003)
    relevance = some_labels(6, 1003, rng, 0.4)
    rank = np.argsort(np.argsort(-ours @ (base / np.linalg.norm(base, axis=1)[:, None]).T))
    far = rank[:, copies].astype(np.int32)
    order = np.lexsort((np.broadcast_to(np.arange(1003), far.shape), far))
    listed = Hits(np.take_along_axis(far, order, 1), order.astype(np.int64))
    for ties in TIES:
        as_hits = evaluate(listed, relevance, METRICS, ties=ties)
        as_groups = evaluate((ours, base[copies]), relevance, METRICS, ties=ties)
        for metric in METRICS:
            np.testing.assert_allclose(as_groups.per_query[metric], as_hits.per_query[metric], atol=1e-12)


@pytest.mark.parametrize("scale", [1e-160, 1e160])
def test_lengths_neither_overflow_nor_vanish(scale: float) -> None:
    rng = np.random.default_rng(5)
    ours, theirs, relevance = rng.standard_normal((4, 6)), rng.standard_normal((30, 6)), some_labels(4, 30, rng, 0.5)
    assert evaluate((ours * scale, theirs), relevance).means() == evaluate((ours, theirs), relevance).means()


def test_vectors_that_cannot_be_ranked_are_refused() -> None:
    relevance, good = SameInstance([0, 1], [0, 1, 1]), np.ones((3, 4))
    ours = np.ones((2, 4))
    for bad in (np.nan, np.inf):
        broken = good.copy()
        broken[1, 2] = bad
        with pytest.raises(NonFiniteError, match=r"gallery vectors: expected finite numbers, got .* at \(1, 2\)"):
            evaluate((ours, broken), relevance)
    zero = ours.copy()
    zero[1] = 0
    with pytest.raises(InputError, match=r"query vectors: expected vectors with a direction, got only zeros in row 1"):
        evaluate((zero, good), relevance)
    with pytest.raises(WidthError, match="expected 4 columns as the gallery, got 3"):
        evaluate((ours[:, :3], good), relevance)
    for wrong in (np.ones((2, 4), np.uint8), np.ones(2), [["a"], ["b"]]):
        with pytest.raises(InputError, match="query vectors: expected real numbers"):
            evaluate((wrong, good), relevance)  # type: ignore[arg-type]


def test_a_cut_list_answers_only_what_it_knows() -> None:
    rng = np.random.default_rng(6)
    ours, theirs, relevance = random_codes(12, 8, rng), random_codes(100, 8, rng), some_labels(12, 100, rng)
    index = HammingIndex(8)
    index.add(theirs)
    ten = index.search(ours, 10)
    shallow = ["map@10", "precision@10", "recall@4", "hit@1"]
    listed, whole = (evaluate(ranking, relevance, shallow, ties="by-id") for ranking in (ten, (ours, theirs)))
    assert listed.means() == whole.means()
    with pytest.raises(InputError, match=r"deep enough for map, recall@11, got 10 known places\. Search with a"):
        evaluate(ten, relevance, ["map", "recall@11", "hit@1"], ties="by-id")
    with pytest.raises(InputError, match=r'deep enough for map@10, got \d known places \(ties="expected" needs'):
        evaluate(ten, relevance, ["map@10"])
    distances, _ = index.search(ours, 60)
    known = int((distances < distances[:, -1:]).sum(1).min())
    cuts = [f"map@{known}", f"recall@{known}", f"hit@{known}"]
    for ties in TIES:
        listed = evaluate(index.search(ours, 60), relevance, cuts, ties=ties)
        assert listed.means() == pytest.approx(evaluate((ours, theirs), relevance, cuts, ties=ties).means())
    with pytest.raises(InputError, match=f"got {known} known places"):
        evaluate(index.search(ours, 60), relevance, [f"map@{known + 1}"])


def test_what_a_padded_list_leaves_out_is_never_found() -> None:
    pad = (2147483647, -1)
    hits = Hits(np.array([[1, 2, pad[0]], [0, pad[0], pad[0]]], np.int32), np.array([[3, 0, -1], [2, -1, -1]]))
    relevance = Targets([[0, 9], [5]], gallery=10)
    scores = evaluate(hits, relevance, ["map", "map@1", "recall@2", "recall@10", "precision@4", "hit@2"])
    assert {metric: values.tolist() for metric, values in scores.per_query.items()} == {
        "map": [0.25, 0.0], "map@1": [0.0, 0.0], "recall@2": [0.5, 0.0], "recall@10": [0.5, 0.0],
        "precision@4": [0.25, 0.0], "hit@2": [1.0, 0.0],
    }  # fmt: skip
    nothing = Hits(np.zeros((2, 0), np.int32), np.zeros((2, 0), np.int64))
    found = evaluate(nothing, relevance, WITH_RADII).means()
    assert found == {metric: np.inf if metric in RANKS else 0.0 for metric in WITH_RADII}
    half = evaluate(hits, relevance, RANKS, ties="by-id")
    assert half.per_query["median-rank"].tolist() == [2.0, np.inf]


def test_an_id_listed_twice_is_refused() -> None:
    hits = Hits(np.array([[0, 1], [1, 2]], np.int32), np.array([[0, 1], [1, 1]]))
    with pytest.raises(InputError, match="expected each id once a row, got id 1 twice for query 1"):
        evaluate(hits, SameInstance([0, 1], [0, 1]))


def test_queries_without_a_right_answer_are_counted_and_never_averaged_silently() -> None:
    relevance = Targets([[0], [], [1]], gallery=2)
    codes = (binarize([[1.0], [1.0], [1.0]]), binarize([[1.0], [-1.0]]))
    omitted = evaluate(codes, relevance, ["map", "precision@1"])
    np.testing.assert_array_equal(omitted.per_query["map"], [1.0, np.nan, 0.5])
    assert (omitted["map"], omitted["precision@1"], omitted.unanswered, omitted.queries) == (0.75, 0.5, 1, 3)
    counted = evaluate(codes, relevance, ["map"], unanswered="zero")
    np.testing.assert_array_equal(counted.per_query["map"], [1.0, 0.0, 0.5])
    assert (counted["map"], counted.unanswered) == (0.5, 1)
    with pytest.raises(InputError, match="expected a right answer for some query, got none for any of 3"):
        evaluate(codes, Targets([[], [], []], gallery=2))
    assert evaluate(codes, Targets([[], [], []], gallery=2), unanswered="zero")["map"] == 0.0
    with pytest.raises(InputError, match="queries: expected at least one, got none"):
        evaluate((codes[0][:0], codes[1]), Targets([], gallery=2))
    empty = evaluate((codes[0], codes[1][:0]), Targets([[], [], []], gallery=0), METRICS, unanswered="zero")
    assert empty.means() == {metric: np.inf if metric in RANKS else 0.0 for metric in METRICS}
    ranks = evaluate(codes, relevance, RANKS, unanswered="zero", ties="by-id")
    assert ranks.per_query["mean-rank"].tolist() == [1.0, np.inf, 2.0]
    assert (ranks["mean-rank"], ranks["median-rank"]) == (np.inf, 2.0)


def test_scores_tell_their_rules() -> None:
    rng = np.random.default_rng(7)
    relevance = some_labels(9, 20, rng, 0.5)
    scores = evaluate((random_codes(9, 8, rng), random_codes(20, 8, rng)), relevance, ["hit@3", "map"], ties="worst")
    told = json.loads(json.dumps(scores.to_dict()))
    assert list(told["means"]) == ["hit@3", "map"]
    assert told["means"]["map"] == scores["map"] == scores.means()["map"]
    missing = int((relevance.totals() == 0).sum())
    rules = {"ties": "worst", "queries": 9, "unanswered": missing, "policy": "omit"}
    assert {**told, "means": {}} == {"means": {}, **rules}
    assert all(values.dtype == np.float64 and values.shape == (9,) for values in scores.per_query.values())
    with pytest.raises(InputError, match="metric: expected one of hit@3, map, got 'recall@1'"):
        scores["recall@1"]


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        (np.zeros((2, 1), np.uint8), "expected Hits, or a tuple of two Codes"),
        ((binarize(np.ones((2, 8))),), r"got \(Codes\)"),
        ((binarize(np.ones((2, 8))), np.ones((3, 8))), r"got \(Codes, ndarray\)"),
        ((binarize(np.ones((3, 8))), binarize(np.ones((3, 8)))), r"expected 2 queries and 3 gallery .* got 3 and 3"),
        ((binarize(np.ones((2, 8))), binarize(np.ones((4, 8)))), "got 2 and 4"),
        ((np.ones((2, 8)), np.ones((4, 8))), "got 2 and 4"),
        ((binarize(np.ones((2, 8))), binarize(np.ones((3, 9)))), "expected 9 bits, got 8 bits"),
        (Hits(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64)), "got 1 and 3"),
        (Hits(np.zeros((2, 1), np.int32), np.full((2, 1), 3)), r"ids: expected -1 \.\.\. 2, got 3 \.\.\. 3"),
    ],
)
def test_rankings_that_do_not_fit_are_refused(ranking: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(ranking, SameInstance([0, 1], [0, 1, 1]), ["hit@1"], ties="by-id")  # type: ignore[arg-type]


def test_unknown_choices_are_refused() -> None:
    codes, relevance = binarize(np.ones((1, 8))), SameInstance([0], [0])
    with pytest.raises(InputError, match="ties: expected one of expected, by-id, best, worst, got 'random'"):
        evaluate((codes, codes), relevance, ties="random")
    with pytest.raises(InputError, match="unanswered: expected one of omit, zero, got 'skip'"):
        evaluate((codes, codes), relevance, unanswered="skip")
    with pytest.raises(InputError, match="map@0"):
        evaluate((codes, codes), relevance, ["map@0"])
    with pytest.raises(InputError, match=r"relevance: expected a Relevance, got ndarray\. Use SharedLabels"):
        evaluate((codes, codes), np.ones((1, 1)))  # type: ignore[arg-type]


def test_every_kind_of_relevance_is_taken() -> None:
    rng = np.random.default_rng(8)
    codes = (random_codes(3, 8, rng), random_codes(6, 8, rng))
    instances = [0, 1, 2], [0, 0, 1, 1, 2, 2]
    labels = [np.eye(3)[numbers] for numbers in instances]
    kinds: list[Relevance] = [
        SameInstance(*instances), SharedLabels(*labels), Targets([[0, 1], [2, 3], [4, 5]], gallery=6)
    ]  # fmt: skip
    first, *others = [evaluate(codes, kind, METRICS).means() for kind in kinds]
    assert all(first == other for other in others)
