"""Every metric under every tie policy, against all orders of small rankings counted one by one."""

from fractions import Fraction
from itertools import chain, permutations, product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hashret.evaluation.metrics import parse_metrics
from hashret.evaluation.ties import Groups

METRICS = ["map", *(f"{family}@{cut}" for family in ("map", "precision", "recall", "hit") for cut in (1, 2, 3, 5, 7))]


def plain(metric: str, order: list[bool], total: int) -> Fraction:
    """The metric of one order of right and wrong answers, by its definition."""
    family, _, cut = metric.partition("@")
    places = order[: int(cut)] if cut else order
    if family == "hit":
        return Fraction(any(places))
    if family == "precision":
        return Fraction(sum(places), int(cut))
    if total == 0:
        return Fraction(0)
    if family == "recall":
        return Fraction(sum(places), total)
    precisions = [Fraction(sum(places[: place + 1]), place + 1) for place, right in enumerate(places) if right]
    return sum(precisions, Fraction(0)) / (min(total, int(cut)) if cut else total)


def all_orders(distances: list[int], relevant: list[bool]) -> list[list[bool]]:
    """Right and wrong answers in every order that sorts the distances."""
    items = list(zip(distances, relevant, strict=True))
    groups = [[right for far, right in items if far == at] for at in sorted({*distances})]
    return [list(chain.from_iterable(parts)) for parts in product(*(permutations(group) for group in groups))]


rankings = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=6)


@settings(deadline=None, max_examples=80)
@given(items=rankings, unlisted=st.integers(0, 2))
def test_every_policy_equals_the_count_over_all_orders(items: list[tuple[int, bool]], unlisted: int) -> None:
    distances, relevant = [far for far, _ in items], [right for _, right in items]
    total = sum(relevant) + unlisted
    far, judged = np.array([distances], np.int32), np.array([relevant], np.bool_)
    order = np.argsort(far, axis=1, kind="stable")
    sorted_far, sorted_judged = np.take_along_axis(far, order, 1), np.take_along_axis(judged, order, 1)
    orders = all_orders(distances, relevant)
    for groups in (Groups.of_distances(far, judged, 4), Groups.of_sorted(sorted_far, sorted_judged)):
        for metric in parse_metrics(METRICS):
            values = [plain(str(metric), one, total) for one in orders]
            wanted = {"expected": sum(values) / len(values), "best": max(values), "worst": min(values)}
            for ties, value in wanted.items():
                got = metric.values(groups.ordered(ties), np.array([total]))
                assert got == pytest.approx([float(value)], abs=1e-12), (str(metric), ties)
    by_id = Groups.of_order(sorted_judged)
    for metric in parse_metrics(METRICS):
        value = plain(str(metric), sorted_judged[0].tolist(), total)
        assert metric.values(by_id, np.array([total])) == pytest.approx([float(value)], abs=1e-12), str(metric)


@settings(deadline=None, max_examples=20)
@given(rows=st.lists(rankings, min_size=1, max_size=5))
@example(rows=[[(0, False), (1, True), (2, False)], [(0, False), (0, True), (0, False)]])
def test_queries_do_not_disturb_each_other(rows: list[list[tuple[int, bool]]]) -> None:
    """Rankings of different lengths side by side: short ones end in an own group of wrong answers, like padding."""
    width = max(len(row) for row in rows)
    filled = [sorted(row) + [(9, False)] * (width - len(row)) for row in rows]
    far = np.array([[far for far, _ in row] for row in filled], np.int32).reshape(len(rows), width)
    judged = np.array([[right for _, right in row] for row in filled], np.bool_).reshape(len(rows), width)
    totals = judged.sum(1)
    together = [Groups.of_sorted(far, judged), Groups.of_distances(far, judged, 10)]
    for metric in parse_metrics(METRICS):
        for ties in ("expected", "best", "worst"):
            one = [slice(row, row + 1) for row in range(len(rows))]
            alone = [metric.values(Groups.of_sorted(far[r], judged[r]).ordered(ties), totals[r]) for r in one]
            for groups in together:
                got = metric.values(groups.ordered(ties), totals)
                np.testing.assert_allclose(got, np.concatenate(alone), atol=1e-12)


@pytest.mark.parametrize(("items", "right"), [(1000, 1), (1000, 37), (20_000, 9_999), (5, 5)])
def test_one_large_group_equals_the_sum_over_its_places(items: int, right: int) -> None:
    groups = Groups.of_counts(np.array([[3, items]]), np.array([[1, right]]))  # three items before, one of them right
    totals = np.array([right + 1])
    slope = (right - 1) / max(items - 1, 1)
    for cut in (None, 4, 500, items + 3):
        name = "map" if cut is None else f"map@{cut}"
        places = np.arange(1, min(items, (cut or 10**9) - 3) + 1)
        inside = right / items * np.sum((2 + (places - 1) * slope) / (3 + places))
        first = (1 + 1 / 2 + 1 / 3) / 3
        best = min(right + 1, cut) if cut else right + 1
        got = parse_metrics([name])[0].values(groups, totals)
        assert got == pytest.approx([(first + inside) / best], rel=1e-11)


@pytest.mark.parametrize(
    ("items", "right", "cut"), [(20_000, 3, 5_000), (20_000, 9_000, 10), (20_000, 5_000, 15_001), (9, 4, 6)]
)
def test_the_chance_of_a_hit_in_a_large_group_is_exact(items: int, right: int, cut: int) -> None:
    none = Fraction(1)
    for drawn in range(cut):
        none *= Fraction(max(items - right - drawn, 0), items - drawn)
        if none == 0:
            break
    groups = Groups.of_counts(np.array([[items]]), np.array([[right]]))
    got = parse_metrics([f"hit@{cut}"])[0].values(groups, np.array([right]))
    assert got == pytest.approx([float(1 - none)], rel=1e-13)
