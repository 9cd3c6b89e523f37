"""Every metric under every tie policy, against all orders of small rankings counted one by one."""

from itertools import chain, product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_metrics import EVERY, arrangements, plain, smaller_is_better

from hashret.evaluation.metrics import parse_metrics
from hashret.evaluation.ties import Groups

Items = list[tuple[int, int]]  # distance and gain

rankings = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=6)


def by_policy(items: Items) -> dict[str, list[tuple[int, ...]]]:
    """Gains in the orders that a policy allows; "by-id" is the order the items come in."""
    distances = sorted({far for far, _ in items})
    groups = [[gain for far, gain in items if far == at] for at in distances]
    every = [tuple(chain.from_iterable(parts)) for parts in product(*(arrangements(group) for group in groups))]
    best = tuple(chain.from_iterable(sorted(group, reverse=True) for group in groups))
    worst = tuple(chain.from_iterable(sorted(group) for group in groups))
    return {"expected": every, "by-id": [tuple(chain.from_iterable(groups))], "best": [best], "worst": [worst]}


def sorted_arrays(items: Items, graded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distances and gains (1, n), by (distance, position)."""
    ranked = sorted(items, key=lambda item: item[0])
    gains = [float(gain) if graded else float(gain > 0) for _, gain in ranked]
    return np.array([[far for far, _ in ranked]], np.int32).reshape(1, -1), np.array([gains]).reshape(1, -1)


@pytest.mark.parametrize("graded", [False, True])
@settings(deadline=None, max_examples=120)
@given(items=rankings, unlisted=st.lists(st.integers(1, 2), max_size=2))
def test_every_policy_equals_the_count_over_all_orders(graded: bool, items: Items, unlisted: list[int]) -> None:
    if not graded:
        items, unlisted = [(far, min(gain, 1)) for far, gain in items], [1 for _ in unlisted]
    far, gains = sorted_arrays(items, graded)
    totals = np.array([int((gains > 0).sum()) + len(unlisted)])
    ideal = np.array([sorted([*gains[0], *unlisted], reverse=True)]).reshape(1, -1) if graded else None
    orders = by_policy(items)
    for ties, allowed in orders.items():
        made = [Groups.of_items(far, gains > 0, ties, gains if graded else None)]
        if not graded and ties != "by-id":
            counts = np.array([[(far == at).sum(), ((far == at) & (gains > 0)).sum()] for at in range(4)])
            made.append(Groups.of_counts(counts[None, :, 0], counts[None, :, 1]).ordered(ties))
        for metric in parse_metrics(EVERY):
            if metric.family.reads == "radius" and ties != "expected":
                continue  # read without an order
            wanted = np.mean([plain(str(metric), order, unlisted, far[0].tolist()) for order in allowed])
            for groups in made:
                got = metric.values(groups, totals, ideal)
                assert got == pytest.approx([wanted], abs=1e-12), (str(metric), ties)


@settings(deadline=None, max_examples=60)
@given(items=rankings, unlisted=st.integers(0, 2))
def test_best_and_worst_bound_every_order(items: Items, unlisted: int) -> None:
    orders, missing = by_policy(items), [1] * unlisted
    for metric in EVERY:
        if ":hits" in metric or metric.startswith("radius"):
            continue
        values = [plain(metric, order, missing) for order in orders["expected"]]
        best, worst = (plain(metric, orders[ties][0], missing) for ties in ("best", "worst"))
        low, high = (best, worst) if smaller_is_better(metric) else (worst, best)
        assert low <= min(values) + 1e-12, metric
        assert high >= max(values) - 1e-12, metric


def test_average_precision_of_the_hits_is_not_bounded_by_best_and_worst() -> None:
    """The example of the reference: a right answer, then one right among three equals; the cut is at place 3."""
    groups = Groups.of_counts(np.array([[1, 3]]), np.array([[1, 1]]))
    (metric,), totals = parse_metrics("map@3:hits"), np.array([2])
    values = {ties: float(metric.values(groups.ordered(ties), totals)[0]) for ties in ("best", "worst", "expected")}
    assert values == pytest.approx({"best": 1, "worst": 1, "expected": 17 / 18})
    between = Groups.of_order(np.array([[True, False, True, False]]))
    assert metric.values(between, totals) == pytest.approx([5 / 6])


@settings(deadline=None, max_examples=20)
@given(rows=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=6), min_size=1, max_size=5))
@example(rows=[[(0, 0), (1, 1), (2, 0)], [(0, 0), (0, 1), (0, 0)]])
def test_queries_do_not_disturb_each_other(rows: list[Items]) -> None:
    """Rankings of different lengths side by side: short ones end in an own group of wrong answers, like padding."""
    width = max(len(row) for row in rows)
    filled = [sorted(row) + [(9, 0)] * (width - len(row)) for row in rows]
    far = np.array([[far for far, _ in row] for row in filled], np.int32).reshape(len(rows), width)
    judged = np.array([[right for _, right in row] for row in filled], np.bool_).reshape(len(rows), width)
    totals = judged.sum(1)
    one = [slice(row, row + 1) for row in range(len(rows))]
    for metric in parse_metrics(EVERY):
        for ties in ("expected",) if metric.family.reads == "radius" else ("expected", "by-id", "best", "worst"):
            alone = [metric.values(Groups.of_items(far[r], judged[r], ties), totals[r]) for r in one]
            got = metric.values(Groups.of_items(far, judged, ties), totals)
            np.testing.assert_allclose(got, np.concatenate(alone), atol=1e-12)


@pytest.mark.parametrize("ties", ["expected", "by-id", "best", "worst"])
def test_floats_rank_as_whole_numbers_do(ties: str) -> None:
    rng = np.random.default_rng(0)
    far = np.sort(rng.integers(0, 40, (60, 12)), axis=1)
    far[:20] = np.arange(12)  # some without ties
    gains = rng.integers(0, 3, far.shape).astype(np.float64)
    totals, ideal = (gains > 0).sum(1), -np.sort(-gains, axis=1)
    for metric in parse_metrics([name for name in EVERY if not name.startswith("radius")]):
        for kept, best in ((None, None), (gains, ideal)):
            whole, half = (Groups.of_items(keys, gains > 0, ties, kept) for keys in (far, far * 0.5))
            np.testing.assert_allclose(
                metric.values(half, totals, best), metric.values(whole, totals, best), atol=1e-13, rtol=1e-13
            )
