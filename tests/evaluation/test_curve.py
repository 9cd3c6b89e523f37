import numpy as np
import pytest

from hashret.codes import Codes, binarize
from hashret.errors import InputError
from hashret.evaluation import TIES, evaluate, precision_recall, precision_recall_by_rank
from hashret.relevance import SharedLabels, Targets
from hashret.search import HammingIndex, Hits


def test_equals_the_loops():
    chance = np.random.default_rng(0)
    queries, gallery = chance.normal(size=(23, 9)), chance.normal(size=(40, 9))
    query_labels, gallery_labels = chance.random((23, 4)) < 0.3, chance.random((40, 4)) < 0.3
    query_labels[5] = False
    recall, precision = precision_recall(
        (binarize(queries), binarize(gallery)), SharedLabels(query_labels, gallery_labels)
    )
    for radius in range(10):
        recalls, precisions = [], []
        for q in range(23):
            right = [bool((query_labels[q] & gallery_labels[n]).any()) for n in range(40)]
            near = [int(((queries[q] > 0) != (gallery[n] > 0)).sum()) <= radius for n in range(40)]
            if not any(right):
                continue
            recalls.append(sum(r and x for r, x in zip(right, near, strict=True)) / sum(right))
            if any(near):
                precisions.append(sum(r and x for r, x in zip(right, near, strict=True)) / sum(near))
        assert recall[radius] == pytest.approx(np.mean(recalls))
        if precisions:
            assert precision[radius] == pytest.approx(np.mean(precisions))
        else:
            assert np.isnan(precision[radius])
    assert recall[-1] == 1.0


def test_no_right_answer_is_an_error():
    codes = binarize(np.ones((2, 3)))
    nobody = SharedLabels(np.zeros((2, 2)), np.ones((2, 2)))
    with pytest.raises(InputError, match="a query with a right answer"):
        precision_recall((codes, codes), nobody)
    with pytest.raises(InputError, match="a query with a right answer"):
        precision_recall_by_rank((codes, codes), nobody, 2)


def test_what_has_no_radius_is_refused():
    relevance = Targets([[0]], 2)
    with pytest.raises(InputError, match="expected a tuple of two Codes"):
        precision_recall((np.ones((1, 2)), np.ones((2, 2))), relevance)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected 1 queries and 2 gallery items"):
        precision_recall((binarize([[1.0]]), binarize([[1.0]])), relevance)


@pytest.mark.parametrize("ties", TIES)
def test_by_rank_is_recall_and_precision_at_every_place(ties):
    rng = np.random.default_rng(1)
    ours, theirs = (Codes(np.packbits(rng.random((n, 6)) < 0.5, axis=1), 6) for n in (30, 45))
    relevance = SharedLabels(rng.random((30, 5)) < 0.2, rng.random((45, 5)) < 0.2)
    index = HammingIndex(6)
    index.add(theirs)
    within = index.within(ours, 2)  # rows of many lengths, the longest marked as whole by a column of padding
    pad = ((0, 0), (0, 1))
    padded = Hits(np.pad(within.distances, pad, constant_values=2**31 - 1), np.pad(within.ids, pad, constant_values=-1))
    vectors = ours.unpack() + 0.5, theirs.unpack() + 0.25
    for ranking in ((ours, theirs), index.search(ours, 45), padded, vectors):
        for depth in (1, 7, 60):
            recall, precision = precision_recall_by_rank(ranking, relevance, depth, ties)
            assert recall.shape == precision.shape == (depth,)
            names = [f"{name}@{place}" for place in range(1, depth + 1) for name in ("recall", "precision")]
            scores = evaluate(ranking, relevance, names, ties)
            np.testing.assert_allclose(recall, [scores[name] for name in names[::2]], atol=1e-12)
            np.testing.assert_allclose(precision, [scores[name] for name in names[1::2]], atol=1e-12)


def test_a_list_that_was_cut_has_no_curve_beyond_its_end():
    index = HammingIndex(8)
    index.add(Codes(np.arange(20, dtype=np.uint8)[:, None], 8))
    hits = index.search(Codes(np.zeros((1, 1), np.uint8), 8), 5)
    recall, _ = precision_recall_by_rank(hits, Targets([[0, 19]], 20), 5, "by-id")
    assert recall.tolist() == [0.5] * 5
    with pytest.raises(InputError, match="deep enough for precision@6, got 5 known places"):
        precision_recall_by_rank(hits, Targets([[0]], 20), 6, "by-id")
    with pytest.raises(InputError, match="depth: expected a whole number >= 1"):
        precision_recall_by_rank(hits, Targets([[0]], 20), 0)
    with pytest.raises(InputError, match="ties: expected one of"):
        precision_recall_by_rank(hits, Targets([[0]], 20), 1, "random")
