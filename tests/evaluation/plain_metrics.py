"""The metrics by their definitions, one order at a time: what every fast path is compared with."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import inf, log2

CUTS = (1, 2, 3, 5, 7)
PLACES = [f"{f}@{cut}{s}" for f, s in [("map", ""), ("map", ":hits"), ("precision", ""), ("recall", ""), ("hit", ""),
                                        ("ndcg", "")] for cut in CUTS]  # fmt: skip
DEEP = ["map", "mean-rank", "median-rank", "ndcg", *(f"map@{cut}:relevant" for cut in CUTS)]
RADII = ["radius-precision@0", "radius-precision@1", "radius-precision@3", "radius-precision@99"]
EVERY = [*DEEP, *PLACES, *RADII]


def smaller_is_better(metric: str) -> bool:
    return metric.endswith("rank")


def plain(metric: str, order: Sequence[float], unlisted: Sequence[float] = (), far: Sequence[int] = ()) -> float:
    """A metric of one order.

    ``order`` holds the gain of the item on each place, 0 where it is wrong; ``unlisted`` the gains of right answers
    that are not ranked; ``far`` the distance of each place, for a radius.
    """
    name, _, typed = metric.partition("@")
    number, _, kind = typed.partition(":")
    cut = int(number) if number else len(order)
    right = [gain > 0 for gain in order]
    total = sum(right) + len(unlisted)
    if name == "radius-precision":
        near = [hit for hit, distance in zip(right, far, strict=True) if distance <= cut]
        return sum(near) / len(near) if near else 0.0
    if name.endswith("rank"):
        return right.index(True) + 1 if any(right) else inf
    if name == "precision":
        return sum(right[:cut]) / cut
    if total == 0:
        return 0.0
    if name == "recall":
        return sum(right[:cut]) / total
    if name == "hit":
        return float(any(right[:cut]))
    if name == "ndcg":
        ideal = sorted([*order, *unlisted], reverse=True)
        dcg, best = (sum(gain / log2(place + 2) for place, gain in enumerate(line[: cut if number else None]))
                     for line in (order, ideal))  # fmt: skip
        return dcg / best
    assert name == "map"
    at = [place for place, hit in enumerate(right, 1) if hit]
    precisions = [Fraction(found, place) for found, place in enumerate(at, 1)]
    if kind == "relevant":
        return float(sum(precisions[:cut]) / min(cut, total))
    inside = [value for value, place in zip(precisions, at, strict=True) if place <= cut]
    divisor = len(inside) if kind == "hits" else min(cut, total) if number else total
    return float(sum(inside) / divisor) if divisor else 0.0


def arrangements(values: Sequence[float]) -> Iterator[tuple[float, ...]]:
    """Every distinct order of a multiset; all of them are equally likely."""
    if not values:
        yield ()
    for first in sorted({*values}):
        rest = list(values)
        rest.remove(first)
        for others in arrangements(rest):
            yield (first, *others)
