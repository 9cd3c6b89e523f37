"""Rankings among candidates: as if the gallery of each query held nothing else."""

import numpy as np
import pytest

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation import TIES, evaluate
from hashret.relevance import GradedTargets, SameInstance, SharedLabels, Targets
from hashret.search import HammingIndex, Hits

NAMES = ["map", "map@3", "map@2:hits", "map@2:relevant", "precision@2", "recall@1", "recall@3", "hit@2", "mean-rank",
         "ndcg", "ndcg@2", "radius-precision@1"]  # fmt: skip


def random_codes(rows: int, bits: int, rng: np.random.Generator) -> Codes:
    return Codes(np.packbits(rng.random((rows, bits)) < 0.5, axis=1), bits)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("graded", [False, True])
def test_equals_a_gallery_of_the_candidates_alone(ties: str, graded: bool) -> None:
    rng = np.random.default_rng(0)
    queries, gallery = 40, 60
    ours, theirs = random_codes(queries, 4, rng), random_codes(gallery, 4, rng)  # vectors of 4 signs have length 2
    labels = SharedLabels(rng.random((queries, 5)) < 0.3, rng.random((gallery, 5)) < 0.3)
    relevance = labels.graded() if graded else labels
    lists = [rng.permutation(gallery)[: rng.integers(0, 12)] for _ in range(queries)]
    padded = np.full((queries, 14), -1)
    for row, ids in enumerate(lists):
        padded[row, : len(ids)] = ids
    index = HammingIndex(4)
    index.add(theirs)
    vectors = ours.unpack().astype(np.float64), theirs.unpack().astype(np.float64)
    rankings = [((ours, theirs), NAMES), (vectors, NAMES[:-1]), (index.search(ours, gallery), NAMES)]
    for ranking, names in rankings:
        for candidates in (lists, padded):
            found = evaluate(ranking, relevance, names, ties=ties, unanswered="zero", candidates=candidates)
            for row in range(queries):
                ids = np.sort(lists[row])
                part = relevance.restrict([row], ids)
                wanted = evaluate((ours[row : row + 1], theirs[ids]), part, names, ties=ties, unanswered="zero")
                for name in names:
                    assert found.per_query[name][row] == pytest.approx(wanted.per_query[name][0], abs=1e-12), name
    missing = [not relevance.restrict([row], np.sort(ids)).totals()[0] for row, ids in enumerate(lists)]
    assert found.unanswered == sum(missing) > 0


def test_hits_that_are_cut_are_trusted_as_far_as_they_go() -> None:
    far, ids = np.array([[0, 1, 1, 4]], np.int32), np.array([[5, 2, 6, 1]])
    hits, relevance = Hits(far, ids), Targets([[6, 8]], gallery=10)
    every = evaluate(hits, relevance, ["map", "mean-rank"], candidates=[[5, 6]])  # all listed: nothing is unknown
    assert every.means() == {"map": 0.5, "mean-rank": 2.0}
    some = {"candidates": [[5, 6, 8]]}
    with pytest.raises(InputError, match=r"deep enough for map, got 2 known places"):
        evaluate(hits, relevance, ["map"], **some)
    assert evaluate(hits, relevance, ["hit@2", "recall@2"], **some).means() == {"hit@2": 1.0, "recall@2": 0.5}
    with pytest.raises(InputError, match="deep enough for hit@3, got 2 known places"):
        evaluate(hits, relevance, ["hit@3"], ties="by-id", **some)
    at_the_edge = {"candidates": [[5, 1, 8]]}  # 1 may share its distance with what was cut
    assert evaluate(hits, relevance, ["hit@2"], ties="by-id", **at_the_edge)["hit@2"] == 0.0
    with pytest.raises(InputError, match="deep enough for hit@2, got 1 known places"):
        evaluate(hits, relevance, ["hit@2"], **at_the_edge)
    ended = Hits(np.append(far, [[2147483647]], 1).astype(np.int32), np.append(ids, [[-1]], 1))
    assert evaluate(ended, relevance, ["map", "recall@3"], **some).means() == {"map": 0.25, "recall@3": 0.5}


def test_cirr_recall_within_subsets() -> None:
    """Six images a subset, the reference left out: the target is found among five."""
    rng = np.random.default_rng(1)
    gallery, subsets = random_codes(30, 16, rng), np.arange(30).reshape(5, 6)
    candidates, targets = subsets[:, 1:], subsets[:, 1:2].tolist()
    queries = gallery[subsets[:, 1]]
    relevance = Targets(targets, 30)
    scores = evaluate((queries, gallery), relevance, ["hit@1", "hit@2", "hit@5"], candidates=candidates, ties="best")
    assert scores.means() == {"hit@1": 1.0, "hit@2": 1.0, "hit@5": 1.0}
    constant = Codes(np.zeros((30, 2), np.uint8), 16)
    chance = evaluate((constant[:5], constant), relevance, ["hit@1", "hit@2"], candidates=candidates)
    assert chance.means() == pytest.approx({"hit@1": 1 / 5, "hit@2": 2 / 5})


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([[0]], "expected a list of gallery ids for each of 2 queries, got 1 lists"),
        ([[0], ["a"]], "got for query 1 something else"),
        ([[0], [0.5]], "got for query 1 something else"),
        ([[0], [[0]]], "got for query 1 something else"),
        ([[0], [3]], r"expected gallery ids 0 \.\.\. 2, got 3"),
        ([[0], [-2]], r"expected gallery ids 0 \.\.\. 2, got -2"),
        ([[0], [1, 0, 1]], "expected each id once a query, got id 1 twice for query 1"),
    ],
)
def test_candidates_that_are_none_are_refused(candidates: list, message: str) -> None:
    codes = Codes(np.zeros((3, 1), np.uint8), 8)
    with pytest.raises(InputError, match=message):
        evaluate((codes[:2], codes), SameInstance([0, 1], [0, 1, 1]), candidates=candidates)


def test_all_as_candidates_and_the_largest_cuts_change_nothing() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = random_codes(5, 9, rng), random_codes(50, 9, rng)
    labels = SharedLabels(rng.random((5, 6)) < 0.4, rng.random((50, 6)) < 0.4)
    largest, index = 10**12 - 1, HammingIndex(9)
    index.add(theirs)
    names = [f"map@{largest}", f"map@{largest}:hits", f"map@{largest}:relevant", f"recall@{largest}", f"ndcg@{largest}",
             f"hit@{largest}", f"radius-precision@{largest}", "map", "ndcg", "mean-rank"]  # fmt: skip
    nothing = Hits(np.zeros((5, 0), np.int32), np.zeros((5, 0), np.int64))
    for ties in TIES:
        for relevance in (labels, labels.graded()):
            for ranking in ((ours, theirs), index.search(ours, 50)):
                whole = evaluate(ranking, relevance, names, ties)
                among = evaluate(ranking, relevance, names, ties, candidates=[range(50)] * 5)
                assert among.means() == pytest.approx(whole.means(), abs=1e-12)
                assert whole[names[0]] == pytest.approx(whole["map"], abs=1e-12)
                none = evaluate(ranking, relevance, names, ties, "zero", candidates=[[]] * 5)
                assert (none.unanswered, none["map"], none["mean-rank"]) == (5, 0, np.inf)
            missed = evaluate(nothing, relevance, names, ties, candidates=[range(50)] * 5)
            assert (missed.unanswered, missed["map"], missed["mean-rank"]) == (whole.unanswered, 0, np.inf)


def test_no_gallery_leaves_no_candidates() -> None:
    codes = Codes(np.zeros((2, 1), np.uint8), 8)
    scores = evaluate((codes, codes[:0]), Targets([[], []], 0), ["map"], unanswered="zero", candidates=[[], [-1]])
    assert (scores["map"], scores.unanswered) == (0.0, 2)
    graded = GradedTargets([{}, {}], 0)
    assert evaluate((codes, codes[:0]), graded, ["ndcg"], unanswered="zero", candidates=[[], []])["ndcg"] == 0.0
