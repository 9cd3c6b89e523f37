"""Graded answers: ndcg of every kind of ranking against its definition, and what the other metrics make of gains."""

import numpy as np
import pytest
from plain_metrics import arrangements, plain
from sklearn.metrics import average_precision_score, ndcg_score

from hashret.codes import Codes
from hashret.evaluation import TIES, evaluate
from hashret.relevance import GradedTargets, Relevance, SharedLabels, Targets
from hashret.search import HammingIndex

NAMES = ["ndcg", "ndcg@1", "ndcg@4", "ndcg@50", "map", "map@3:hits", "recall@4", "mean-rank", "radius-precision@3"]


def random_codes(rows: int, bits: int, rng: np.random.Generator) -> Codes:
    return Codes(np.packbits(rng.random((rows, bits)) < 0.5, axis=1), bits)


def graded(queries: int, gallery: int, rng: np.random.Generator) -> list[Relevance]:
    """The same gains as shared labels and as named targets."""
    labels = SharedLabels(rng.random((queries, 6)) < 0.4, rng.random((gallery, 6)) < 0.4).graded()
    named = [{int(n): line[n] for n in np.flatnonzero(line)} for line in labels.gains(np.arange(queries))]
    return [labels, GradedTargets(named, gallery)]


def signs(codes: Codes) -> np.ndarray:
    return codes.unpack().astype(np.float32)


@pytest.mark.parametrize("ties", TIES)
def test_every_ranking_equals_the_definition(ties: str) -> None:
    rng = np.random.default_rng(0)
    for bits in (4, 16):  # vectors of so many signs have a whole length, so that they tie as codes do
        ours, theirs = random_codes(15, bits, rng), random_codes(25, bits, rng)
        kinds = graded(15, 25, rng)
        index = HammingIndex(bits)
        index.add(theirs)
        gains = kinds[0].gains(np.arange(15))
        far = (ours.unpack()[:, None] != theirs.unpack()[None]).sum(2)
        rankings = [
            ((ours, theirs), NAMES),
            (index.search(ours, 25), NAMES),
            ((signs(ours), signs(theirs)), NAMES[:-1]),
        ]
        for ranking, names in rankings:
            for relevance in kinds:
                found = evaluate(ranking, relevance, names, ties=ties, unanswered="zero").per_query
                for row in range(15):
                    if ties == "expected":
                        continue
                    rank = {"by-id": np.arange(25), "best": -gains[row], "worst": gains[row]}[ties]
                    order = np.lexsort((rank, far[row]))
                    for name in names:
                        if gains[row].any():
                            wanted = plain(name, gains[row][order].tolist(), far=far[row][order].tolist())
                            assert found[name][row] == pytest.approx(wanted, abs=1e-12), name
                if ties == "expected":
                    for place, name in enumerate(("ndcg", "ndcg@1", "ndcg@4")):
                        cut = (None, 1, 4)[place]
                        scores = [ndcg_score([line], [-near], k=cut) for line, near in zip(gains, far, strict=True)]
                        np.testing.assert_allclose(found[name], scores, atol=1e-12)


def test_expected_is_the_mean_over_all_orders() -> None:
    gains = [2.0, 0.0, 1.0, 0.5, 0.0]
    constant = Codes(np.zeros((5, 1), np.uint8), 8)
    relevance = GradedTargets([{0: 2.0, 2: 1.0, 3: 0.5}], 5)
    scores = evaluate((constant[:1], constant), relevance, ["ndcg", "ndcg@2", "map@2:hits", "mean-rank"])
    orders = list(arrangements(gains))
    for name, value in scores.means().items():
        assert value == pytest.approx(np.mean([plain(name, order) for order in orders]), abs=1e-12)
    values = [plain("ndcg", order) for order in orders]
    assert evaluate((constant[:1], constant), relevance, ["ndcg"], ties="best")["ndcg"] == max(values) == 1.0
    assert evaluate((constant[:1], constant), relevance, ["ndcg"], ties="worst")["ndcg"] == pytest.approx(min(values))


def test_other_metrics_ask_only_whether_there_is_a_gain() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = random_codes(9, 5, rng), random_codes(30, 5, rng)
    relevance, _ = graded(9, 30, rng)
    plainly = Targets([np.flatnonzero(line) for line in relevance.gains(np.arange(9))], 30)
    names = ["map", "map@4", "map@4:hits", "map@4:relevant", "hit@1", "median-rank", "radius-precision@1"]
    for ties in TIES:
        left = evaluate((ours, theirs), relevance, [*names, "ndcg"], ties=ties).per_query
        right = evaluate((ours, theirs), plainly, [*names, "ndcg"], ties=ties).per_query
        assert list(left) == [*names, "ndcg"]
        for name in names:
            np.testing.assert_array_equal(left[name], right[name])
        assert not np.allclose(left["ndcg"], right["ndcg"])


def test_gains_that_are_not_listed_count_in_the_ideal() -> None:
    relevance = GradedTargets([{3: 3.0, 0: 1.0, 7: 2.0}], 10)
    index = HammingIndex(8)
    index.add(Codes(np.array([[0], [1], [3]], np.uint8), 8), ids=[0, 4, 3])
    hits = index.search(Codes(np.zeros((1, 1), np.uint8), 8), k=5)
    scores = evaluate(hits, relevance, ["ndcg", "ndcg@2", "recall@5"])
    discount = 1 / np.log2([2, 3, 4])
    assert scores["ndcg"] == pytest.approx((1 * discount[0] + 3 * discount[2]) / ([3, 2, 1] @ discount))
    assert scores["ndcg@2"] == pytest.approx(discount[0] / ([3, 2] @ discount[:2]))
    assert scores["recall@5"] == pytest.approx(2 / 3)


def test_scikit_learn_agrees_where_it_defines_the_same() -> None:
    """Without ties average precision is the same; scikit-learn's steps over a tie group at once, ours averages orders.

    Its ndcg averages over the orders of ties, as ours does under "expected".
    """
    rng = np.random.default_rng(2)
    for _ in range(200):
        scores, right = rng.permutation(40) + 0.5, rng.random(40) < 0.3
        right[0] = True
        near = scores / 100 * np.pi / 2  # the cosine of an angle falls with it
        ranking = (np.array([[1.0, 0.0]]), np.stack([np.cos(near), np.sin(near)], 1))
        ours = evaluate(ranking, Targets([np.flatnonzero(right)], 40), ["map", "ndcg", "ndcg@7"])
        assert ours["map"] == pytest.approx(average_precision_score(right, -near), abs=1e-12)
        assert ours["ndcg"] == pytest.approx(ndcg_score([right], [-near]), abs=1e-12)
        assert ours["ndcg@7"] == pytest.approx(ndcg_score([right], [-near], k=7), abs=1e-12)
    tied = Codes(np.zeros((4, 1), np.uint8), 8)
    ours = evaluate((tied[:1], tied), Targets([[0]], 4), ["map"])
    assert ours["map"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert average_precision_score([1, 0, 0, 0], [0, 0, 0, 0]) == pytest.approx(1 / 4)
