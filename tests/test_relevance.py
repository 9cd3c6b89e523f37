"""Every kind of relevance against loops over pairs."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.errors import InputError, WidthError
from hashret.relevance import GradedLabels, GradedTargets, Relevance, SameInstance, SharedLabels, Targets

Answer = Callable[[int, int], bool]


def shared_labels(queries: int, gallery: int, rng: np.random.Generator) -> tuple[Relevance, Answer]:
    ours, theirs = rng.random((queries, 4)) < 0.3, rng.random((gallery, 4)) < 0.3
    answer = lambda row, number: any(a and b for a, b in zip(ours[row], theirs[number], strict=True))  # noqa: E731
    return SharedLabels(ours, theirs), answer


def same_instance(queries: int, gallery: int, rng: np.random.Generator) -> tuple[Relevance, Answer]:
    ours, theirs = rng.integers(0, 5, queries), rng.integers(0, 5, gallery)
    return SameInstance(ours, theirs), lambda row, number: bool(ours[row] == theirs[number])


def targets(queries: int, gallery: int, rng: np.random.Generator) -> tuple[Relevance, Answer]:
    named = [rng.integers(0, gallery, rng.integers(0, 4)).tolist() if gallery else [] for _ in range(queries)]
    return Targets(named, gallery), lambda row, number: number in named[row]


def many_labels(queries: int, gallery: int, rng: np.random.Generator) -> tuple[Relevance, Answer]:
    """More than two words of labels."""
    ours, theirs = rng.random((queries, 130)) < 0.05, rng.random((gallery, 130)) < 0.05
    return SharedLabels(ours, theirs), lambda row, number: bool((ours[row] & theirs[number]).any())


def graded_labels(queries: int, gallery: int, rng: np.random.Generator) -> tuple[Relevance, Answer]:
    relevance, answer = many_labels(queries, gallery, rng)
    assert isinstance(relevance, SharedLabels)
    return relevance.graded(), answer


def graded_targets(queries: int, gallery: int, rng: np.random.Generator) -> tuple[Relevance, Answer]:
    some = [rng.permutation(gallery)[: rng.integers(0, 4)].tolist() for _ in range(queries)]
    named = [{number: float(rng.integers(1, 5)) for number in numbers} for numbers in some]
    return GradedTargets(named, gallery), lambda row, number: number in named[row]


KINDS = [shared_labels, same_instance, targets, many_labels, graded_labels, graded_targets]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(queries=st.integers(0, 7), gallery=st.integers(0, 9), k=st.integers(0, 12), seed=st.integers(0, 2**32 - 1))
def test_judgements_equal_a_loop(kind, queries: int, gallery: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    relevance, answer = kind(queries, gallery, rng)
    assert (relevance.queries, relevance.gallery) == (queries, gallery)
    matrix = [[answer(row, number) for number in range(gallery)] for row in range(queries)]
    assert relevance.matrix(np.arange(queries)).tolist() == matrix
    assert relevance.totals().tolist() == [sum(row) for row in matrix]
    assert relevance.totals().dtype == np.int64
    rows = rng.integers(0, queries, 5) if queries else np.zeros(0, np.int64)
    ids = rng.integers(-1, gallery, (len(rows), k))
    want = [[bool(n >= 0 and matrix[row][n]) for n in line] for row, line in zip(rows, ids, strict=True)]
    judged = relevance.judge(rows, ids)
    assert judged.dtype == np.bool_
    assert judged.shape == ids.shape
    assert judged.tolist() == want
    gains = relevance.gains(rows)
    assert (gains.dtype, gains.shape) == (np.float64, (5 if queries else 0, gallery))
    np.testing.assert_array_equal(gains > 0, relevance.matrix(rows))
    listed = [[gains[place, n] if n >= 0 else 0.0 for n in line] for place, line in enumerate(ids)]
    assert relevance.judge_gains(rows, ids).tolist() == listed
    best = relevance.best_gains(rows)
    assert [[gain for gain in line if gain] for line in best.tolist()] == [
        sorted(line[line > 0], reverse=True) for line in gains
    ]
    if not relevance.is_graded:
        assert set(gains.ravel().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_queries_agree_with_single_queries(kind, monkeypatch) -> None:
    monkeypatch.setattr("hashret.relevance._BLOCK_PAIRS", 5000)
    relevance, _ = kind(600, 20, np.random.default_rng(1))  # more than two blocks
    ids = np.random.default_rng(2).integers(-1, 20, (600, 6))
    single = np.vstack([relevance.judge([row], ids[row : row + 1]) for row in range(600)])
    np.testing.assert_array_equal(relevance.judge(np.arange(600), ids), single)
    np.testing.assert_array_equal(relevance.totals(), relevance.matrix(np.arange(600)).sum(1))


@pytest.mark.parametrize("kind", KINDS)
def test_restrict_renumbers_both_sides(kind) -> None:
    relevance, answer = kind(8, 9, np.random.default_rng(3))
    part = relevance.restrict([7, 0, 2], [4, 8])
    assert (part.queries, part.gallery) == (3, 2)
    want = [[answer(row, number) for number in (4, 8)] for row in (7, 0, 2)]
    assert part.matrix(np.arange(3)).tolist() == want
    assert part.is_graded == relevance.is_graded
    assert part.gains(np.arange(3)).tolist() == relevance.gains([7, 0, 2])[:, [4, 8]].tolist()
    nothing = relevance.restrict([1, 2], [])
    assert (nothing.queries, nothing.gallery, nothing.totals().tolist()) == (2, 0, [0, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_out_of_range_are_refused(kind) -> None:
    relevance, _ = kind(3, 4, np.random.default_rng(0))
    for rows in ([3], [-1], [[0]], [0.5]):
        with pytest.raises(InputError, match=r"rows: expected query numbers 0 \.\.\. 2"):
            relevance.matrix(rows)
        with pytest.raises(InputError):
            relevance.judge(rows, [[0]])
    for ids in ([[4]], [[-2]], [[1, 4]]):
        with pytest.raises(InputError, match=r"ids: expected -1 \.\.\. 3"):
            relevance.judge([0], ids)
    for shape in ([0], [[0], [1]], [[0.5]], [[[0]]]):
        with pytest.raises(InputError, match="Give one row of gallery ids a query"):
            relevance.judge([0], shape)
    with pytest.raises(InputError, match="gallery ids"):
        relevance.restrict([0], [4])


def test_an_item_without_labels_answers_nothing() -> None:
    relevance = SharedLabels([[0, 0], [1, 1]], [[1, 0], [0, 0]])
    assert relevance.matrix([0, 1]).tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize("labels", [[1, 0], [[0.5, 1]], [[2, 0]], [[-1, 1]], [[np.nan, 1]], [["a", "b"]]])
def test_labels_are_zeros_and_ones(labels: list) -> None:
    with pytest.raises(InputError, match="query labels: expected zeros and ones"):
        SharedLabels(labels, [[1, 0]])
    with pytest.raises(InputError, match="gallery labels: expected zeros and ones"):
        SharedLabels([[1, 0]], labels)


def test_both_sides_have_the_same_classes() -> None:
    with pytest.raises(WidthError, match="expected 2 classes as the queries, got 3"):
        SharedLabels([[1, 0]], [[1, 0, 1]])


def test_instances_and_targets_are_whole_numbers() -> None:
    with pytest.raises(InputError, match="query instances"):
        SameInstance([0.5], [1])
    with pytest.raises(InputError, match="gallery instances"):
        SameInstance([1], [[1]])
    with pytest.raises(InputError, match=r"targets of query 1: expected ids 0 \.\.\. 3, got \[2, 4\]"):
        Targets([[0], [4, 2]], gallery=4)
    with pytest.raises(InputError, match="targets of query 0: expected ids"):
        Targets([[-1]], gallery=4)
    with pytest.raises(InputError, match="targets of query 1: expected whole numbers"):
        Targets([[0], [1.5]], gallery=4)


def test_gains_are_shared_labels_counted() -> None:
    rng = np.random.default_rng(4)
    ours, theirs = rng.random((9, 150)) < 0.3, rng.random((11, 150)) < 0.3
    graded = SharedLabels(ours, theirs).graded()
    assert isinstance(graded, GradedLabels)
    assert graded.gains(np.arange(9)).tolist() == (ours.astype(int) @ theirs.astype(int).T).tolist()
    assert isinstance(graded.restrict([1], [2, 3]), GradedLabels)


def test_label_words_share_a_bit_where_labels_are_shared() -> None:
    rng = np.random.default_rng(5)
    for classes in (0, 1, 64, 65, 130):
        relevance = SharedLabels(rng.random((6, classes)) < 0.1, rng.random((7, classes)) < 0.1)
        ours, theirs = relevance.words()
        assert ours.shape == (6, -(-classes // 64))
        shared = (ours[:, None] & theirs[None]).any(2)
        assert shared.tolist() == relevance.matrix(np.arange(6)).tolist()


def test_gains_are_finite_and_above_zero() -> None:
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="gains of query 1: expected finite numbers above 0"):
            GradedTargets([{0: 1.0}, {2: 1.0, 1: bad}], 3)
    with pytest.raises(InputError, match=r"targets of query 0: expected ids 0 \.\.\. 2, got \[3\]"):
        GradedTargets([{3: 1.0}], 3)
