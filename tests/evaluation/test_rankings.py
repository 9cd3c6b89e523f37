"""How rankings are read: threads, blocks, wide codes, radii, and what each kind refuses."""

import numpy as np
import pytest

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation import TIES, evaluate, precision_recall, precision_recall_by_rank, rankings
from hashret.evaluation.places import right_places
from hashret.relevance import Relevance, SameInstance, SharedLabels, Targets
from hashret.search import HammingIndex, Hits, crew

NAMES = ["map", "map@9:hits", "map@9:relevant", "recall@20", "hit@1", "mean-rank", "ndcg", "radius-precision@5"]


def random_codes(rows: int, bits: int, rng: np.random.Generator) -> Codes:
    return Codes(np.packbits(rng.random((rows, bits)) < 0.5, axis=1), bits)


def relevances(queries: int, gallery: int, rng: np.random.Generator) -> list[Relevance]:
    labels = SharedLabels(rng.random((queries, 70)) < 0.05, rng.random((gallery, 70)) < 0.05)
    named = [np.flatnonzero(row) for row in labels.matrix(np.arange(queries))]
    return [labels, Targets(named, gallery), labels.graded()]


def ended(hits: Hits) -> Hits:
    """The same lists, every one of them marked as whole by a column of padding."""
    pad = ((0, 0), (0, 1))
    return Hits(np.pad(hits.distances, pad, constant_values=2147483647), np.pad(hits.ids, pad, constant_values=-1))


@pytest.mark.parametrize("ties", TIES)
def test_results_do_not_depend_on_threads(ties: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_THREAD_WORDS", 1)
    rng = np.random.default_rng(0)
    ours, theirs = random_codes(150, 12, rng), random_codes(300, 12, rng)
    monkeypatch.setattr(rankings, "_ITEMS", 9000)
    monkeypatch.setattr(rankings, "_COUNTED", 9000)
    index = HammingIndex(12)
    index.add(theirs)
    vectors = rng.standard_normal((150, 4)), rng.standard_normal((300, 4))
    for relevance in relevances(150, 300, rng):
        for ranking, names in (((ours, theirs), NAMES), (vectors, NAMES[:-1]), (index.search(ours, 300), NAMES)):
            one, *more = (
                evaluate(ranking, relevance, names, ties, threads=threads).per_query for threads in (1, 2, 3, None)
            )
            for many in more:
                for name in names:
                    np.testing.assert_array_equal(one[name], many[name])
    curves = [precision_recall((ours, theirs), relevance, threads=threads) for threads in (1, 3)]
    np.testing.assert_array_equal(curves[0], curves[1])
    ranks = [precision_recall_by_rank((ours, theirs), relevance, 30, ties, threads=threads) for threads in (1, 3)]
    np.testing.assert_array_equal(ranks[0], ranks[1])


@pytest.mark.parametrize("ties", TIES)
def test_counting_and_sorting_floats_agree(ties: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    signs = [np.where(rng.random((n, 16)) < 0.5, 1.0, -1.0) for n in (40, 80)]  # tie; of length 4, so exactly
    for ranking in (tuple(signs), (rng.standard_normal((40, 3)), rng.standard_normal((80, 3)).astype(np.float32))):
        relevance = SharedLabels(rng.random((40, 5)) < 0.2, rng.random((80, 5)) < 0.2)
        found = []
        for few in (-1, 1000):
            monkeypatch.setattr(rankings, "FEW", few)
            found.append(evaluate(ranking, relevance, NAMES[:-1], ties).per_query)
        for name in NAMES[:-1]:
            np.testing.assert_allclose(found[0][name], found[1][name], atol=1e-13, err_msg=name)


@pytest.mark.parametrize("bits", [1, 8, 64, 127, 128, 255, 256, 700])
def test_every_width_equals_its_distances(bits: int) -> None:
    rng = np.random.default_rng(bits)
    ours, theirs = random_codes(6, bits, rng), random_codes(90, bits, rng)
    index = HammingIndex(bits)
    index.add(theirs)
    listed = index.search(ours, 90)
    for relevance in relevances(6, 90, rng):
        for ties in TIES:
            left, right = (evaluate(r, relevance, NAMES, ties, "zero").per_query for r in ((ours, theirs), listed))
            for name in NAMES:
                np.testing.assert_allclose(left[name], right[name], atol=1e-12, err_msg=f"{name} {ties}")


def test_places_equal_a_stable_sort() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        rows, items, bins = rng.integers(1, 4), rng.integers(0, 40), rng.integers(1, 9)
        far, marks = rng.integers(0, bins, (rows, items)).astype(np.uint8), rng.random((rows, items)) < rng.random()
        places, counts = right_places(far, marks, int(bins))
        assert counts.tolist() == marks.sum(1).tolist()
        for row in range(rows):
            order = np.argsort(far[row], kind="stable")
            assert places[row, : counts[row]].tolist() == np.flatnonzero(marks[row][order]).tolist()


def test_a_radius_needs_hamming_distances_and_all_items_within_it() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = random_codes(8, 10, rng), random_codes(200, 10, rng)
    relevance = SharedLabels(rng.random((8, 3)) < 0.5, rng.random((200, 3)) < 0.5)
    names = ["radius-precision@2", "radius-precision@0"]
    whole = evaluate((ours, theirs), relevance, names)
    index = HammingIndex(10)
    index.add(theirs)
    for ties in TIES:
        assert evaluate((ours, theirs), relevance, names, ties).means() == whole.means()
        assert evaluate(ended(index.within(ours, 2)), relevance, names, ties).means() == whole.means()
        assert evaluate(index.within(ours, 3), relevance, names, ties).means() == whole.means()
    listed = index.search(ours, 60)
    known = int(listed.distances[:, -1].min()) - 1
    assert known >= 0
    sure = f"radius-precision@{known}"
    assert evaluate(listed, relevance, [sure]).means() == evaluate((ours, theirs), relevance, [sure]).means()
    beyond = f"radius-precision@{known + 1}"
    with pytest.raises(InputError, match=f"within the radius for {beyond}, got lists .* up to distance {known}"):
        evaluate(listed, relevance, [sure, beyond])
    with pytest.raises(InputError, match="whole numbers, for radius-precision@2, got a ranking without Hamming"):
        evaluate((np.ones((8, 2)), np.ones((200, 2))), relevance, ["map", "radius-precision@2"])


def test_finding_nothing_within_a_radius_is_zero() -> None:
    codes = Codes(np.array([[0b11110000], [0]], np.uint8), 8)
    scores = evaluate((codes[:1], codes[1:]), Targets([[0]], 1), ["radius-precision@3", "radius-precision@4"])
    assert scores.means() == {"radius-precision@3": 0.0, "radius-precision@4": 1.0}


def test_cut_lists_do_not_answer_metrics_that_read_everything() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = random_codes(4, 8, rng), random_codes(50, 8, rng)
    relevance = SameInstance(np.arange(4) % 2, np.arange(50) % 2)
    index = HammingIndex(8)
    index.add(theirs)
    deep = ["mean-rank", "median-rank", "ndcg", "map@1:relevant"]
    with pytest.raises(InputError, match="deep enough for mean-rank, median-rank, ndcg, map@1:relevant, got 10 known"):
        evaluate(index.search(ours, 10), relevance, [*deep, "ndcg@10", "map@10:hits"], ties="by-id")
    whole = evaluate((ours, theirs), relevance, ["ndcg@10", "map@10:hits"], ties="by-id")
    listed = evaluate(index.search(ours, 10), relevance, ["ndcg@10", "map@10:hits"], ties="by-id")
    assert listed.means() == pytest.approx(whole.means())


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_a_whole_number(threads: object) -> None:
    codes = Codes(np.zeros((1, 1), np.uint8), 8)
    with pytest.raises(InputError, match="threads: expected a whole number >= 1"):
        evaluate((codes, codes), SameInstance([0], [0]), threads=threads)  # type: ignore[arg-type]


def test_few_bytes_are_held_beyond_the_codes(tracemalloc_peak) -> None:
    """1,000 x 40,000 codes are 40 million pairs; a matrix of them would take 40 MB as bytes."""
    rng = np.random.default_rng(4)
    ours, theirs = random_codes(1000, 32, rng), random_codes(40_000, 32, rng)
    relevance = SharedLabels(rng.random((1000, 5)) < 0.2, rng.random((40_000, 5)) < 0.2)
    relevance.words()
    assert tracemalloc_peak(lambda: evaluate((ours, theirs), relevance, ["map", "ndcg"], threads=1)) < 20e6
    assert tracemalloc_peak(lambda: evaluate((ours[:100], theirs), relevance.restrict(range(100), range(40_000)),
                                             ["map"], ties="by-id", threads=1)) < 60e6  # fmt: skip


@pytest.fixture
def tracemalloc_peak():
    import tracemalloc

    def peak(call) -> int:
        tracemalloc.start()
        call()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    return peak
