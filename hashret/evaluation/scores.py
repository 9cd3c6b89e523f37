"""Scores: the values of metrics for every query, with the rules they were made by.

A mean alone cannot be compared with another; the values per query can: they give the interval within which the mean
would lie for other queries of the same kind, and :mod:`hashret.evaluation.significance` tests two of them against each
other. Nothing here ranks or judges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.evaluation.metrics import aggregate
from hashret.markup import framed, table

if TYPE_CHECKING:
    import pandas

__all__ = ["Scores", "bootstrap", "check_level", "lower_is_better", "middle", "summary"]

RESAMPLES = 10_000
_SHOWN_RESAMPLES = 1_000  # a notebook does not wait for more
_BLOCK = 1 << 21  # values that are resampled at once


@dataclass(frozen=True, eq=False)
class Scores:
    """What :func:`hashret.evaluation.evaluate.evaluate` found.

    Attributes:
        per_query: By metric, in the order asked: float64 (Q,), NaN for an unanswerable query that is left out.
        ties: The tie policy.
        queries: Q.
        unanswered: Queries without any right answer in the gallery.
        policy: What became of them: "omit" (left out of the means) or "zero" (given the worst value: 0, or an infinite
            rank).

    Raises:
        InputError: Values that are not float64 (Q,).

    Example:
        >>> scores = Scores({"map": np.array([1.0, np.nan, 0.5])}, "expected", 3, 1, "omit")
        >>> scores["map"]
        0.75
        >>> scores.interval("map")
        (0.5, 1.0)
    """

    per_query: dict[str, NDArray[np.float64]]
    ties: str
    queries: int
    unanswered: int
    policy: str

    def __post_init__(self) -> None:
        """Check that every metric has a value for every query."""
        for metric, values in self.per_query.items():
            if values.shape != (self.queries,) or values.dtype != np.float64:
                raise InputError(
                    f"values of {metric}", expected=f"float64 ({self.queries},)",
                    got=f"{values.dtype} {values.shape}", remedy="Give one value a query, NaN where it is left out.",
                )  # fmt: skip

    def __getitem__(self, metric: str) -> float:
        """The metric over the queries that count: its mean, or for a median rank its median.

        Raises:
            InputError: It was not asked for.
        """
        return float(summary(self.counted(metric), metric))

    def counted(self, metric: str) -> NDArray[np.float64]:
        """The values of the queries that count, float64 (n,), n <= Q, in the order of the queries.

        Raises:
            InputError: It was not asked for.
        """
        if metric not in self.per_query:
            raise InputError(
                "metric", expected="one of " + ", ".join(self.per_query), got=repr(metric),
                remedy="Name it in evaluate(metrics=...).",
            )  # fmt: skip
        values = self.per_query[metric]
        return values[~np.isnan(values)]

    def means(self) -> dict[str, float]:
        """Every metric over the queries that count, as ``scores[metric]`` gives it."""
        return {metric: self[metric] for metric in self.per_query}

    def interval(
        self, metric: str, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
    ) -> tuple[float, float]:
        """Percentile bootstrap interval of a metric over queries (B. Efron, 1979).

        The queries that count are drawn again with replacement, as often as there are of them; the interval holds the
        middle ``level`` of the values the draws give. It says how far the value depends on which queries were asked; it
        says nothing of another training seed or another gallery. Of few queries it is too narrow.

        Args:
            metric: One that was asked for.
            level: Share of the draws inside, above 0 and below 1.
            resamples: Draws, at least 1.
            seed: Of the draws; the same seed gives the same interval.

        Returns:
            Low and high; NaN where no query counts.

        Raises:
            InputError: A metric not asked for, or level or resamples out of range.
        """
        check_level(level, resamples)
        values = self.counted(metric)
        if not len(values):
            return math.nan, math.nan
        low, high = middle(bootstrap(values, metric, resamples, seed), level)
        return low, high

    def _repr_html_(self) -> str:
        """A row a metric, with its interval and the rules all were made by; what a notebook shows."""
        body = []
        for metric, value in self.means().items():
            low, high = self.interval(metric, resamples=_SHOWN_RESAMPLES)
            body.append([metric, f"{value:.4f}", f"[{low:.4f}, {high:.4f}]"])
        fate = "left out" if self.policy == "omit" else "counted as misses"
        rules = (
            f"{self.queries:,} queries ({self.unanswered:,} without a right answer {fate}); ties: {self.ties}; "
            f"interval: bootstrap over queries, {_SHOWN_RESAMPLES:,} draws"
        )
        return framed(table(["metric", "value", "95 % interval"], body, rules))

    def to_pandas(self) -> pandas.DataFrame:
        """A frame of a row a query and a column a metric, NaN where a query is left out; the rules are in ``attrs``.

        Example:
            >>> frame = Scores({"map": np.array([1.0, np.nan])}, "expected", 2, 1, "omit").to_pandas()
            >>> frame["map"].mean().item(), frame.attrs["ties"]
            (1.0, 'expected')
        """
        import pandas

        frame = pandas.DataFrame(self.per_query, index=pandas.RangeIndex(self.queries, name="query"))
        frame.attrs.update(ties=self.ties, unanswered=self.unanswered, policy=self.policy)
        return frame

    def to_dict(self, intervals: bool = False) -> dict[str, Any]:
        """Means and the rules they were made by, as JSON can hold them; the values per query stay behind.

        Args:
            intervals: Also the 95 % interval of every metric, ``[low, high]``.

        Returns:
            Names to values; null stands for what is no finite number.
        """
        content: dict[str, Any] = {
            "means": {metric: _plain(value) for metric, value in self.means().items()},
            "ties": self.ties,
            "queries": self.queries,
            "unanswered": self.unanswered,
            "policy": self.policy,
        }
        if intervals:
            content["intervals"] = {m: [_plain(end) for end in self.interval(m)] for m in self.per_query}
            content["level"] = 0.95
        return content


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value is the better one: true of ranks.

    Example:
        >>> lower_is_better("median-rank"), lower_is_better("map@10")
        (True, False)
    """
    return metric.partition("@")[0].endswith("rank")


def summary(values: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Values of queries (..., n) as one number each, float64 (...): the mean, or the median of a median rank."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    middle = np.median if _aggregate(metric) == "median" else np.mean
    return np.asarray(middle(values, axis=-1), np.float64)


def bootstrap(
    values: NDArray[np.float64], metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """The metric over queries drawn again with replacement.

    Args:
        values: Of the queries that count, float64 (n,), n at least 1.
        metric: Its name, which says whether the mean or the median is taken.
        resamples: Draws.
        seed: Of the draws. Equal n, resamples and seed draw equal queries, so that the draws of two systems are paired.

    Returns:
        float64 (resamples,). Memory is bounded by blocks of draws.
    """
    rng, height = np.random.default_rng(seed), max(1, _BLOCK // len(values))
    results = np.empty(resamples)
    for start in range(0, resamples, height):
        drawn = rng.integers(len(values), size=(min(height, resamples - start), len(values)), dtype=np.int32)
        results[start : start + height] = summary(values[drawn], metric)
    return results


def check_level(level: float, resamples: int) -> None:
    """Refuse a level or a number of resamples that means nothing.

    Raises:
        InputError: level not between 0 and 1, or resamples below 1.
    """
    if not 0 < level < 1:
        raise InputError("level", expected="above 0 and below 1", got=repr(level), remedy="0.95 is the custom.")
    if resamples < 1:
        raise InputError("resamples", expected="at least 1", got=repr(resamples), remedy="10,000 is the default.")


def middle(draws: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Ends of the middle ``level`` of draws; each is a draw, so that infinite ranks need no interpolation."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _aggregate(metric: str) -> str:
    """How values become one number; a name that :mod:`hashret.evaluation.metrics` does not know is of a mean."""
    try:
        return aggregate(metric)
    except InputError:
        return "mean"
