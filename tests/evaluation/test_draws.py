"""Expectations over draws against a walk through the places, one after the other, and against exact binomials."""

from fractions import Fraction
from math import comb, fsum, log2

import numpy as np
import pytest

from hashret.evaluation.draws import first_right, harmonic, hits_inside
from hashret.evaluation.metrics import parse_metrics
from hashret.evaluation.ties import Groups

METRICS = parse_metrics(
    ["map", "ndcg", "mean-rank"]
    + [f"{name}@{cut}" for name in ("map", "precision", "recall", "hit", "ndcg") for cut in (1, 4, 9, 20, 33)]
    + [f"map@{cut}:{kind}" for kind in ("hits", "relevant") for cut in (1, 4, 9, 20, 33)]
)


def walk(sizes: list[int], rights: list[int], total: int) -> dict[str, float]:
    """Every metric of one ranking, by going through its places with the probability of every number found so far.

    A state is the number of right answers found; it carries its probability and the expectation, on its paths, of the
    sum of the precisions. In a group each next item is right with the share of right ones among what is left of it.
    """
    values = {str(metric): 0.0 for metric in METRICS}
    states, place, before = {0: (1.0, 0.0)}, 0, 0
    first, discounted, ideal = 0.0, [0.0], [0.0]
    stopped = {metric: 0.0 for metric in METRICS if metric.form == "map@K:relevant"}
    at: dict[int, tuple[dict[int, tuple[float, float]], float]] = {}
    for size, right in zip(sizes, rights, strict=True):
        for gone in range(size):
            place += 1
            after: dict[int, tuple[float, float]] = {}
            gain = 0.0
            for found, (chance, precisions) in states.items():
                share = (right - (found - before)) / (size - gone)
                for hit, part in ((1, share), (0, 1 - share)):
                    if part <= 0:
                        continue
                    rise = (found + 1) / place if hit else 0.0
                    old = after.get(found + hit, (0.0, 0.0))
                    after[found + hit] = (old[0] + chance * part, old[1] + part * (precisions + chance * rise))
                    gain += chance * part * hit
                    if hit and found == 0:
                        first += chance * part * place
                    for metric in stopped:
                        if hit and found < min(metric.cut or 0, total):
                            stopped[metric] += chance * part * rise
            states = after
            discounted.append(discounted[-1] + gain / log2(place + 1))
            at[place] = (states, gain)
        before += right
    for place in range(1, total + 1):
        ideal.append(ideal[-1] + 1 / log2(place + 1))
    never = ({0: (1.0, 0.0)}, 0.0)
    for metric in METRICS:
        cut = min(metric.cut or sum(sizes), sum(sizes))
        reached = at.get(cut, never)[0]
        found = fsum(number * chance for number, (chance, _) in reached.items())
        precisions = fsum(total for _, total in reached.values())
        best = min(total, metric.cut or total)
        values[str(metric)] = {
            "map": precisions / max(best, 1), "map@K": precisions / max(best, 1),
            "map@K:hits": fsum(s / number for number, (_, s) in reached.items() if number),
            "map@K:relevant": stopped.get(metric, 0.0) / max(best, 1),
            "precision@K": found / (metric.cut or 1), "recall@K": found / max(total, 1),
            "hit@K": 1 - reached.get(0, (0.0, 0.0))[0], "mean-rank": first if sum(rights) else np.inf,
            "ndcg": discounted[cut] / (ideal[best] or 1), "ndcg@K": discounted[cut] / (ideal[best] or 1),
        }[metric.form]  # fmt: skip
    return values


def test_every_metric_equals_a_walk_through_the_places() -> None:
    """Thousands of rankings of up to four groups of up to twelve items, some of them empty, some right answers lost."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 13, (3000, 4)) * (rng.random((3000, 4)) < 0.8)
    rights = (rng.random((3000, 4)) * (sizes + 1) * rng.choice([0.2, 0.6, 1.0], (3000, 1))).astype(np.int64)
    totals = rights.sum(1) + rng.integers(0, 3, 3000)
    groups = Groups.of_counts(sizes, rights)
    wanted = [walk(*row) for row in zip(sizes.tolist(), rights.tolist(), totals.tolist(), strict=True)]
    for metric in METRICS:
        values = [row[str(metric)] for row in wanted]
        np.testing.assert_allclose(metric.values(groups, totals), values, atol=1e-12, rtol=1e-12, err_msg=str(metric))


@pytest.mark.parametrize(
    ("n", "r", "m", "before", "found"),
    [
        (2000, 700, 900, 500, 40),
        (2000, 1, 1999, 0, 0),
        (2000, 1999, 3, 7, 7),
        (1500, 20, 30, 100_000, 0),
        (9, 9, 4, 2, 1),
    ],
)
def test_hits_inside_a_large_group(n: int, r: int, m: int, before: int, found: int) -> None:
    earlier = 0.8 * found
    terms = []
    for h in range(max(0, m - n + r), min(m, r) + 1):
        if found + h:
            slope = (h - 1) / (m - 1) if m > 1 else 0.0
            inside = fsum(h / m * (found + 1 + i * slope) / (before + i + 1) for i in range(m))
            chance = float(Fraction(comb(r, h) * comb(n - r, m - h), comb(n, m)))
            terms.append(chance * (earlier + inside) / (found + h))
    one = [np.array([number]) for number in (n, r, m, before, found)]
    assert hits_inside(*one, np.array([earlier])) == pytest.approx([fsum(terms)], rel=1e-12)


@pytest.mark.parametrize(
    ("n", "r", "t", "before", "found"),
    [(600, 200, 90, 50, 30), (600, 2, 1, 0, 0), (600, 599, 300, 12, 5), (300, 30, 29, 100_000, 7), (7, 3, 2, 0, 0)],
)
def test_the_first_right_ones_of_a_large_group(n: int, r: int, t: int, before: int, found: int) -> None:
    whole = comb(n, r)
    wanted = fsum(
        float(Fraction(comb(x - 1, j - 1) * comb(n - x, r - j), whole)) * (found + j) / (before + x)
        for j in range(1, t + 1)
        for x in range(j, n - r + j + 1)
    )
    got = first_right(*[np.array([number]) for number in (n, r, t, before, found)])
    assert got == pytest.approx([wanted], rel=1e-12)


def test_a_group_that_is_huge_takes_no_time_and_stays_a_mean() -> None:
    n, r = np.array([10**8]), np.array([3 * 10**7])
    zero = np.array([0])
    inside = hits_inside(n, r, np.array([5 * 10**7]), zero, zero, np.zeros(1))
    first = first_right(n, r, np.array([10**7]), zero, zero) / 10**7
    assert inside == pytest.approx([0.3], rel=1e-6)
    assert first == pytest.approx([0.3], rel=1e-5)


def test_harmonic_keeps_its_digits() -> None:
    before = np.array([0, 0, 5, 31, 32, 33, 1000, 10**6, 10**9])
    for count in (1, 2, 3, 40, 1500):
        wanted = [fsum(1 / (start + i) for i in range(1, count + 1)) for start in before.tolist()]
        np.testing.assert_allclose(harmonic(before, np.full(len(before), count)), wanted, rtol=2e-15)


def test_average_precision_far_down_keeps_its_digits() -> None:
    """Two right answers at places 100,001 and 100,002 and nothing before: differences of large numbers lose digits."""
    groups = Groups.of_counts(np.array([[100_000, 2]]), np.array([[0, 2]]))
    (metric,) = parse_metrics("map")
    assert metric.values(groups, np.array([2])) == pytest.approx([(1 / 100_001 + 2 / 100_002) / 2], rel=1e-10)


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
        assert got == pytest.approx([(first + inside) / best], rel=1e-12)


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
