"""Where right answers stand, counted by Numba without sorting anything; nothing here computes a distance or judges.

- :func:`right_places`: once it is known how many codes lie at each distance, going through the codes by id tells the
  place of each, the next free one of its distance. Only the places of right answers are written.
- :func:`right_groups`: where a query has few right answers among floats, the items before each of them are counted.
- :func:`gains_at`: how many items, right answers and gains lie at each distance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.evaluation.ties import NOWHERE, Groups
from hashret.search.lanes import compiled

__all__ = ["FEW", "gains_at", "right_groups", "right_places"]

FEW = 24  # right answers up to which counting the items before each is faster than sorting


@compiled
def _right_places(far: Any, marks: Any, bins: int, places: Any) -> None:
    """Write the places of the marked items of each row, ascending; the last column is for what nobody reads."""
    spare = places.shape[1] - 1
    sizes, right = np.zeros((2, bins), np.int64), np.zeros((2, bins), np.int64)
    for query in range(len(far)):
        sizes[:], right[:] = 0, 0
        for item in range(far.shape[1]):  # two tables: equal neighbours do not wait for each other
            sizes[item & 1, far[query, item]] += 1
            right[item & 1, far[query, item]] += marks[query, item]
        place, column = 0, 0
        for distance in range(bins):
            size, marked = sizes[0, distance] + sizes[1, distance], right[0, distance] + right[1, distance]
            sizes[0, distance], right[0, distance] = place, column
            place, column = place + size, column + marked
        for item in range(far.shape[1]):
            distance = far[query, item]
            place, column = sizes[0, distance], right[0, distance]
            sizes[0, distance] = place + 1
            right[0, distance] = column + marks[query, item]
            places[query, column if marks[query, item] else spare] = place


def right_places(
    far: NDArray[np.unsignedinteger[Any]], marks: NDArray[np.bool_], bins: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Places of the right answers when items are ranked by (distance, id).

    Args:
        far: Distances below ``bins``, unsigned integers (q, N); the column is the id.
        marks: Which are right answers, bool (q, N).
        bins: Distances there can be.

    Returns:
        Places, 0 the first, ascending, int32 (q, t), t the most right answers any query has; and how many of them each
        has, int64 (q,). What stands behind those is of no meaning.

    Example:
        >>> places, counts = right_places(np.array([[2, 0, 2, 1]], np.uint8), np.array([[True, False, True, True]]), 3)
        >>> places.tolist(), counts.tolist()
        ([[1, 2, 3]], [3])
    """
    counts = np.count_nonzero(marks, axis=1).astype(np.int64)
    places = np.empty((len(far), int(counts.max(initial=0)) + 1), np.int32)
    _right_places(far, marks, bins, places)
    return places[:, :-1], counts


@compiled
def _right_groups(keys: Any, marks: Any, by_id: bool, sizes: Any, relevant: Any, before: Any, found: Any) -> None:
    chosen = np.empty(sizes.shape[1], np.int64)
    for query in range(len(keys)):
        line, count, column, group = keys[query], 0, 0, 0
        for item in range(len(line)):
            if marks[query, item]:  # few: insert it among those before
                place = count
                while place > 0 and line[chosen[place - 1]] > line[item]:
                    chosen[place] = chosen[place - 1]
                    place -= 1
                chosen[place] = item
                count += 1
        while group < count:
            end, key = group + 1, line[chosen[group]]
            while not by_id and end < count and line[chosen[end]] == key:
                end += 1
            less, equal, stop = 0, 0, chosen[group] if by_id else len(line)
            for item in range(len(line)):
                less += line[item] < key
            for item in range(stop):
                equal += line[item] == key
            before[query, column] = less + equal if by_id else less
            sizes[query, column] = 1 if by_id else equal
            relevant[query, column], found[query, column] = end - group, group
            group, column = end, column + 1


def right_groups(keys: NDArray[Any], marks: NDArray[np.bool_], most: int, by_id: bool) -> Groups:
    """The tie groups that hold a right answer, where there are few.

    Args:
        keys: Floats (q, N), the smallest rank first; the column is the id.
        marks: Which are right answers, bool (q, N).
        most: The most right answers any query has.
        by_id: Whether ids put equals in order, so that every group is one item.

    Example:
        >>> groups = right_groups(np.array([[0.5, 0.1, 0.5]]), np.array([[True, False, False]]), 1, by_id=False)
        >>> groups.sizes.tolist(), groups.before.tolist()
        ([[2]], [[1]])
    """
    shape = (len(keys), most)
    sizes, relevant, found = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    before = np.full(shape, NOWHERE, np.int64)
    _right_groups(keys, marks, by_id, sizes, relevant, before, found)
    return Groups(sizes, relevant, before, found, dense=True, single=by_id)


@compiled
def _gains_at(far: Any, gains: Any, sizes: Any, relevant: Any, sums: Any) -> None:
    for query in range(len(far)):
        for item in range(far.shape[1]):
            distance, gain = far[query, item], gains[query, item]
            sizes[query, distance] += 1
            relevant[query, distance] += gain > 0
            sums[query, distance] += gain


def gains_at(far: NDArray[np.unsignedinteger[Any]], gains: NDArray[np.float64], bins: int) -> Groups:
    """The tie groups of equal distances, with the sums of their gains.

    Args:
        far: Distances below ``bins``, unsigned integers (q, N).
        gains: Gain of each item, float64 (q, N), 0 where it is wrong.
        bins: Distances there can be.

    Example:
        >>> groups = gains_at(np.array([[1, 0, 1]], np.uint8), np.array([[2.0, 0.0, 0.5]]), 2)
        >>> groups.sizes.tolist(), groups.relevant.tolist(), groups.gains.tolist()
        ([[1, 2]], [[0, 2]], [[0.0, 2.5]])
    """
    shape = (len(far), bins)
    sizes, relevant, sums = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape)
    _gains_at(far, gains, sizes, relevant, sums)
    return replace(Groups.of_counts(sizes, relevant), gains=sums)
