"""Health of codes: what their bits are used for, and how far right answers lie from wrong ones.

A metric says how well codes retrieve; this says why. A bit that is nearly always set carries next to nothing, two bits
that agree carry one bit's worth, and codes whose right and wrong answers lie equally far cannot rank. Nothing here
ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation.inputs import check_threads, open_ranking
from hashret.evaluation.rankings import over_blocks
from hashret.relevance import Relevance

__all__ = ["Health", "code_health", "pair_distances", "separation"]

_ROWS = 1 << 16  # codes unpacked at once


@dataclass(frozen=True, eq=False)
class Health:
    """How N codes use their bits.

    Attributes:
        codes: N.
        distinct: Different codes among them.
        balance: Share of the codes that have each bit set, float64 (bits,); 0.5 is even.
        entropy: What each bit tells, in bits, float64 (bits,): 1 where it is even, 0 where it never changes.
        correlation: Pearson correlation of each bit with each other, float64 (bits, bits); NaN in the row and column
            of a bit that never changes.
    """

    codes: int
    distinct: int
    balance: NDArray[np.float64]
    entropy: NDArray[np.float64]
    correlation: NDArray[np.float64]

    @property
    def constant(self) -> int:
        """Bits that never change."""
        return int((self.entropy == 0).sum())

    def correlations(self) -> NDArray[np.float64]:
        """Absolute correlation of every pair of different bits that both change, float64 (pairs,)."""
        values = np.abs(self.correlation[np.triu_indices(len(self.balance), 1)])
        return values[~np.isnan(values)]


def code_health(codes: Codes) -> Health:
    """Balance, entropy and correlation of the bits of codes.

    Args:
        codes: At least one.

    Raises:
        InputError: No codes.

    Example:
        >>> from hashret.codes import binarize
        >>> health = code_health(binarize([[1, 1, -1], [1, -1, 1], [1, 1, -1], [1, -1, 1]]))
        >>> health.balance.tolist(), health.entropy.tolist(), health.distinct
        ([1.0, 0.5, 0.5], [0.0, 1.0, 1.0], 2)
        >>> health.correlations().tolist()
        [1.0]
    """
    if not len(codes):
        raise InputError("codes", expected="at least one", got="none", remedy="Encode something first.")
    ones, both = np.zeros(codes.bits), np.zeros((codes.bits, codes.bits))
    for start in range(0, len(codes), _ROWS):
        bits = (codes[start : start + _ROWS].unpack() > 0).astype(np.float32)  # sums below 2^24 are exact
        ones += bits.sum(0, dtype=np.float64)
        both += bits.T @ bits
    balance = ones / len(codes)
    covariance = both / len(codes) - np.outer(balance, balance)
    variance = balance * (1 - balance)
    scale = np.sqrt(np.outer(variance, variance))
    correlation = np.divide(covariance, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    distinct = len(np.unique(codes.packed, axis=0))
    return Health(len(codes), distinct, balance, _entropy(balance), np.clip(correlation, -1, 1))


def _entropy(balance: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.array([balance, 1 - balance])
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: NDArray[np.float64] = np.abs((shares * logs).sum(0))
    return entropy


def pair_distances(
    ranking: tuple[Codes, Codes], relevance: Relevance, *, threads: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many pairs of a query and a gallery item lie at each Hamming distance.

    Args:
        ranking: Codes of the queries and of the gallery.
        relevance: The right answers.
        threads: How many to use at most; None for all cores.

    Returns:
        Relevant pairs and irrelevant ones, each int64 (bits + 1,).

    Raises:
        InputError: Other sizes than ``relevance``.
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> gallery = binarize([[1, 1], [1, -1], [-1, -1]])
        >>> relevant, irrelevant = pair_distances((gallery[:1], gallery), SameInstance([0], [0, 0, 1]))
        >>> relevant.tolist(), irrelevant.tolist()
        ([1, 1, 0], [0, 0, 1])
    """
    check_threads(threads)
    opened = open_ranking(ranking, relevance)

    def count(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        groups, _, _ = opened.read(rows, relevance, "expected", False)
        right = groups.relevant.sum(0)
        return np.array([right, groups.sizes.sum(0) - right])

    relevant, irrelevant = np.sum(over_blocks(opened, opened.height("expected", False), count, threads), axis=0)
    return relevant, irrelevant


def separation(relevant: NDArray[np.int64], irrelevant: NDArray[np.int64]) -> float:
    """The chance that a relevant pair lies nearer than an irrelevant one, ties counted half; 0.5 is luck.

    Args:
        relevant: Relevant pairs at each distance, as :func:`pair_distances` counts them.
        irrelevant: Irrelevant ones, as many.

    Returns:
        A share, the area under the ROC curve; NaN where either kind has no pair.

    Example:
        >>> separation(np.array([1, 1, 0]), np.array([0, 1, 1]))
        0.875
    """
    pairs = float(relevant.sum()) * float(irrelevant.sum())
    if not pairs:
        return math.nan
    farther = irrelevant.sum() - irrelevant.cumsum()
    return float((relevant * (farther + irrelevant / 2.0)).sum() / pairs)
