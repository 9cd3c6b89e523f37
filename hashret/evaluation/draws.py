"""Drawing without replacement: the expectations that a cut through a tie group asks for, compiled by Numba.

A group of n items of which r are right, in random order, is an urn. Where a metric stops inside it, the number of right
answers drawn (hypergeometric) or the place of the t-th one (negative hypergeometric) is random, and a metric that
divides by it, or stops at it, is no longer a plain sum over places. Probabilities are walked from the mode outwards by
their ratios and normalised by their sum: no factorial, no logarithm of one, no loss of digits, and a cost that grows
with the spread of the number, not with the group. Nothing here knows a ranking: that is for
:mod:`hashret.evaluation.measures`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.search.lanes import compiled

__all__ = ["first_right", "harmonic", "hits_inside"]

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]

_NEGLIGIBLE = 1e-22  # of the mode's probability
_FAR = 32  # from here on the series of the logarithm is exact to the last digit


@compiled
def _reciprocals(before: int, count: int) -> float:
    """1 / (before + 1) + ... + 1 / (before + count), to a few units in the last place."""
    total = 0.0
    while count > 0 and before < _FAR:
        before += 1
        count -= 1
        total += 1.0 / before
    if count <= 0:
        return total
    if count == 1:
        return total + 1.0 / (before + 1)
    a, b = before + 1.0, before + 1.0 + count  # digamma(b) - digamma(a)
    x, y = 1.0 / (a * a), 1.0 / (b * b)
    tail = x * (1 / 12 - x * (1 / 120 - x * (1 / 252 - x / 240))) - y * (
        1 / 12 - y * (1 / 120 - y * (1 / 252 - y / 240))
    )
    return total + math.log1p(count / a) + count / (2.0 * a * b) + tail


@compiled
def _harmonic(before: Any, count: Any, out: Any) -> None:
    for place in range(len(out)):
        out[place] = _reciprocals(before[place], count[place])


def harmonic(before: Numbers, count: Numbers) -> Values:
    """Sums of reciprocals, 1 / (before + 1) + ... + 1 / (before + count).

    Args:
        before: At least 0, int64 (p,).
        count: Terms; none below 1. int64 (p,).

    Returns:
        float64 (p,), each to a few units in its last place also where it is the difference of two large sums.

    Example:
        >>> harmonic(np.array([0, 9]), np.array([2, 1])).tolist()
        [1.5, 0.1]
    """
    out = np.empty(len(before))
    _harmonic(np.ascontiguousarray(before), np.ascontiguousarray(count), out)
    return out


@compiled
def _inside(h: int, m: int, before: int, found: int, earlier: float, reciprocals: float) -> float:
    """Precision averaged over the hits inside a cut, when h of the m places of the last group hold one."""
    if found + h == 0:
        return 0.0
    if h == 0:
        return earlier / found
    slope = (h - 1.0) / (m - 1.0) if m > 1 else 0.0
    return (earlier + h / m * (m * slope + (found + 1.0 - (before + 1.0) * slope) * reciprocals)) / (found + h)


@compiled
def _hits_inside(n: Any, r: Any, m: Any, before: Any, found: Any, earlier: Any, out: Any) -> None:
    for row in range(len(out)):
        size, right, drawn, ahead, hits, start = n[row], r[row], m[row], before[row], found[row], earlier[row]
        low, high = max(0, drawn - (size - right)), min(drawn, right)
        reciprocals = _reciprocals(ahead, drawn)
        mode = min(max((drawn + 1) * (right + 1) // (size + 2), low), high)
        mass, total = 1.0, _inside(mode, drawn, ahead, hits, start, reciprocals)
        weight = 1.0
        for h in range(mode, high):
            weight *= (right - h) / (h + 1.0) * ((drawn - h) / (size - right - drawn + h + 1.0))
            mass += weight
            total += weight * _inside(h + 1, drawn, ahead, hits, start, reciprocals)
            if weight < _NEGLIGIBLE:
                break
        weight = 1.0
        for h in range(mode, low, -1):
            weight *= h / (right - h + 1.0) * ((size - right - drawn + h) / (drawn - h + 1.0))
            mass += weight
            total += weight * _inside(h - 1, drawn, ahead, hits, start, reciprocals)
            if weight < _NEGLIGIBLE:
                break
        out[row] = total / mass


def hits_inside(n: Numbers, r: Numbers, m: Numbers, before: Numbers, found: Numbers, earlier: Values) -> Values:
    r"""Expected precision averaged over the hits inside a cut; 0 where there is none.

    The last group has m of its n places inside. The number h of its r right answers that stand there is
    hypergeometric, and given h they stand anywhere among the m places alike:

    .. math:: \sum_h P(h) \, \frac{1}{R + h} \Big[ S + \sum_{i=1}^{m} \frac{h}{m} \cdot
              \frac{R + 1 + (i - 1)(h - 1)/(m - 1)}{N + i} \Big]

    Args:
        n: Items of the group, int64 (q,).
        r: Right ones.
        m: Places of it inside the cut, 0 ... n.
        before: N, items before the group.
        found: R, right answers before the group.
        earlier: S, the expected sum of the precisions at those, float64 (q,).

    Returns:
        float64 (q,).

    Example:
        >>> one, two = np.array([1]), np.array([2])
        >>> hits_inside(two, one, one, 0 * one, 0 * one, np.zeros(1)).tolist()  # right or wrong, one of them inside
        [0.5]
    """
    out = np.empty(len(n))
    _hits_inside(n, r, m, before, found, earlier, out)
    return out


@compiled
def _up(x: int, n: int, r: int, t: int) -> float:
    """P(X = x + 1) / P(X = x) for the place X of the t-th of r right ones among n."""
    return x / (x - t + 1.0) * ((n - x - r + t) / (n - x + 0.0))


@compiled
def _place_sums(n: int, r: int, t: int, before: int, shift: int) -> Any:
    """E[X], and the expectation of 1 / (before + 1) + ... + 1 / (before + X + shift): X is the t-th right place."""
    low, high = t, n - r + t
    mode = min(max((t - 1) * n // (r - 1) + 1 if r > 1 else low, low), high)
    middle = _reciprocals(before, mode + shift)
    mass, places, sums = 1.0, float(mode), middle
    weight, reciprocals = 1.0, middle
    for x in range(mode, high):
        weight *= _up(x, n, r, t)
        reciprocals += 1.0 / (before + x + 1 + shift)
        mass += weight
        places += weight * (x + 1)
        sums += weight * reciprocals
        if weight < _NEGLIGIBLE:
            break
    weight, reciprocals = 1.0, middle
    for x in range(mode, low, -1):
        weight /= _up(x - 1, n, r, t)
        reciprocals -= 1.0 / (before + x + shift)
        mass += weight
        places += weight * (x - 1)
        sums += weight * reciprocals
        if weight < _NEGLIGIBLE:
            break
    return places / mass, sums / mass


@compiled
def _first_right(n: Any, r: Any, t: Any, before: Any, found: Any, out: Any) -> None:
    for row in range(len(out)):
        size, right, wanted, ahead, hits = n[row], r[row], t[row], before[row], found[row]
        _, sums = _place_sums(size - 1, right - 1, wanted, ahead, 0)
        total = (hits + 1.0) * sums
        if wanted > 1:
            places, sums = _place_sums(size - 2, right - 2, wanted - 1, ahead, 1)
            total += (right - 1.0) / (size - 1.0) * (places + 1.0 - (ahead + 1.0) * sums)
        out[row] = right / size * total


def first_right(n: Numbers, r: Numbers, t: Numbers, before: Numbers, found: Numbers) -> Values:
    r"""Expected sum of the precisions at the first t right answers of a group.

    Place i of the group holds one of them when it is right and fewer than t of the i - 1 places before it are. With
    X the place of the t-th right one of r - 1 among n - 1 items, and Y that of the (t - 1)-th right one of r - 2 among
    n - 2 (Y = 0 for t = 1):

    .. math:: \sum_{i=1}^{n} \frac{r}{n} \cdot
              \frac{(R + 1) P(X \ge i) + (i - 1) \frac{r - 1}{n - 1} P(Y \ge i - 1)}{N + i}
              = \frac{r}{n} \Big[ (R + 1) E[H(X)] + \frac{r - 1}{n - 1} E[Y + 1 - (N + 1) H(Y + 1)] \Big]

    where H(x) = 1 / (N + 1) + ... + 1 / (N + x).

    Args:
        n: Items of the group, int64 (q,).
        r: Right ones.
        t: How many of them count, 1 ... r - 1.
        before: N, items before the group.
        found: R, right answers before the group.

    Returns:
        float64 (q,).

    Example:
        >>> zero, one, two = np.array([0]), np.array([1]), np.array([2])
        >>> first_right(2 + one, two, one, zero, zero).round(6).tolist()  # the first right place is 1, or 2 in a third
        [0.833333]
    """
    out = np.empty(len(n))
    _first_right(n, r, t, before, found, out)
    return out
