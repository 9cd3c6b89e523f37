"""Is one system better than another, or were the queries kind? A paired test over the queries both were asked.

Two runs answer the same queries, so their values are compared query by query, which is far sharper than looking whether
their intervals overlap. The test is a randomisation test (R. A. Fisher; for retrieval M. D. Smucker, J. Allan and
B. Carterette, "A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007): it
assumes no distribution. It speaks of queries only: a difference between two training runs may still be luck of their
seeds. Scores made by different rules, or of different queries, are refused.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.evaluation.scores import RESAMPLES, Scores, bootstrap, check_level, lower_is_better, middle, summary

__all__ = ["PairedTest", "paired_test"]

_BLOCK = 1 << 21  # values that are exchanged at once
_CLOSE = 1e-12  # sums in another order differ by less


@dataclass(frozen=True)
class PairedTest:
    """How two systems compare on one metric.

    Attributes:
        metric: Its name.
        first: The metric of the first system.
        second: The metric of the second.
        difference: ``first - second``.
        low: Lower end of the bootstrap interval of the difference.
        high: Upper end.
        level: Share of the draws inside the interval.
        p: Share of random exchanges of the two systems, query by query, whose difference is at least as far from 0.
        queries: Queries that both systems were measured on.
        wins: Queries on which the first is better: higher, or for ranks lower.
        losses: Queries on which the second is better.
        draws: Queries on which both are equal.
        resamples: Draws of the interval, and exchanges of the test; p is never below 1 / (resamples + 1).
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    level: float
    p: float
    queries: int
    wins: int
    losses: int
    draws: int
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; null stands for what is no finite number."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def paired_test(
    first: Scores, second: Scores, metric: str, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> PairedTest:
    """Compare two systems on the queries both answered.

    The p-value is that of the two-sided paired randomisation test: if the systems did not differ, each query's two
    values could as well be exchanged. With c of R random exchanges at least as far from 0 as what was seen, p is
    (c + 1) / (R + 1), which never promises too much. The interval is the percentile bootstrap of the difference, both
    systems on the same draws of queries.

    Args:
        first: Scores of one system.
        second: Scores of the other, of the same queries in the same order, by the same rules.
        metric: One that both were asked for.
        level: Share of the draws inside the interval.
        resamples: Draws of the interval, and exchanges of the test.
        seed: Of both.

    Returns:
        PairedTest.

    Raises:
        InputError: Scores of different queries, tie policies or rules for unanswered queries; no query that counts; a
            metric not asked for; level or resamples out of range.

    Example:
        >>> right = Scores({"map": np.array([0.9, 0.8, 0.7, 0.9, 0.6])}, "expected", 5, 0, "omit")
        >>> wrong = Scores({"map": np.array([0.5, 0.4, 0.7, 0.3, 0.2])}, "expected", 5, 0, "omit")
        >>> test = paired_test(right, wrong, "map")
        >>> round(test.difference, 2), test.wins, test.losses, test.draws, 0.10 < test.p < 0.15
        (0.36, 4, 0, 1, True)
    """
    check_level(level, resamples)
    ours, theirs = first.counted(metric), second.counted(metric)
    _check_same(first, second, metric)
    if not len(ours):
        raise InputError(
            "scores", expected="a query that counts", got="none", remedy="Without a right answer nothing compares."
        )
    means = float(summary(ours, metric)), float(summary(theirs, metric))
    with np.errstate(invalid="ignore"):  # two infinite ranks have no difference
        draws = bootstrap(ours, metric, resamples, seed) - bootstrap(theirs, metric, resamples, seed)
    low, high = middle(draws, level)
    better, worse = (ours < theirs, ours > theirs) if lower_is_better(metric) else (ours > theirs, ours < theirs)
    return PairedTest(
        metric=metric, first=means[0], second=means[1], difference=means[0] - means[1], low=low, high=high,
        level=level, p=_exchange(ours, theirs, metric, resamples, seed), queries=len(ours), wins=int(better.sum()),
        losses=int(worse.sum()), draws=int((ours == theirs).sum()), resamples=resamples,
    )  # fmt: skip


def _exchange(ours: NDArray[np.float64], theirs: NDArray[np.float64], metric: str, resamples: int, seed: int) -> float:
    """The p-value of the randomisation test; a difference of infinite ranks, which has no value, counts as far."""
    seen = abs(float(summary(ours, metric)) - float(summary(theirs, metric)))
    least = seen * (1 - _CLOSE) - _CLOSE
    rng, height, as_far = np.random.default_rng(seed), max(1, _BLOCK // len(ours)), 0
    for start in range(0, resamples, height):
        rows = min(height, resamples - start)
        swap = rng.integers(2, size=(rows, len(ours)), dtype=np.uint8).view(np.bool_)
        one = summary(np.where(swap, theirs, ours), metric)
        other = summary(np.where(swap, ours, theirs), metric)
        with np.errstate(invalid="ignore"):
            as_far += int((~(np.abs(one - other) < least)).sum())
    return (as_far + 1) / (resamples + 1)


def _check_same(first: Scores, second: Scores, metric: str) -> None:
    """Refuse scores that do not answer the same question."""
    rules = [(scores.ties, scores.policy, scores.queries) for scores in (first, second)]
    for name, one, other in zip(("ties", "policy for unanswered queries", "number of queries"), *rules, strict=True):
        if one != other:
            raise InputError(
                "scores", expected=f"one {name} for both ({one})", got=str(other),
                remedy="Measure both systems on the same queries, by the same rules.",
            )  # fmt: skip
    differ = np.isnan(first.per_query[metric]) != np.isnan(second.per_query[metric])
    if differ.any():
        raise InputError(
            "scores", expected="the same queries left out of both",
            got=f"{differ.sum()} left out of one only, the first in row {int(np.flatnonzero(differ)[0])}",
            remedy="The right answers differ: measure both systems against the same ground truth.",
        )  # fmt: skip
