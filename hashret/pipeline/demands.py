"""What a method and a dataset demand of each other, checked before a folder is made or anything is encoded.

An hour of decoding must not end in the news that a method needs labels, or knows no composed queries. What a recipe
says is checked elsewhere (:mod:`hashret.recipe`); what an item is worth, in the quarantine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hashret.errors import DataError
from hashret.examples import Example, Pair, RetrievalDataset
from hashret.methods import METHODS
from hashret.methods.method import Method

__all__ = ["check_demands", "check_validation", "parts_of"]


def parts_of(examples: Iterable[Example], what: str) -> str:
    """What all of the examples hold: "image", "text" or "image and text".

    Args:
        examples: At least one.
        what: Their name, for the error.

    Raises:
        DataError: They hold different parts; a batch of them could not be encoded.

    Example:
        >>> parts_of([Example(image="a.jpg", text="in red"), Example(image="b.jpg", text="longer")], "queries")
        'image and text'
    """
    first = ""
    for number, example in enumerate(examples):
        found = " and ".join(name for name in ("image", "text") if getattr(example, name) is not None)
        first = first or found
        if found != first:
            raise DataError(
                what, expected="all to hold the same parts", got=f"{first} in the first, {found} in number {number}",
                remedy="Make a dataset, or a task, of each kind.",
            )  # fmt: skip
    return first


def check_demands(name: str, dataset: RetrievalDataset) -> None:
    """Refuse a dataset that a method cannot learn from or be measured on.

    Args:
        name: A key of METHODS.
        dataset: After the quarantine.

    Raises:
        DataError: Pairs or sides of a task that hold different parts; no labels on some pair, and the method needs
            them; inputs of image and text, or other pairs than of an image and a text, and it takes none; no composed
            queries in training, and it needs them.
    """
    kind, train = METHODS[name], dataset.train
    if kind.needs_labels:
        _check_labels(name, dataset.name, train)
    query, target = (parts_of(side, f"{what} of {dataset.name}") for what, side in _sides(train).items())
    tasks = {
        f"{what} of task {task.name} of {dataset.name}": side
        for task in (*dataset.validation, *dataset.test)
        for what, side in (("queries", task.queries), ("gallery", task.gallery))
    }
    held = {what: parts_of(side, what) for what, side in tasks.items()}
    if kind.needs_composed and (query, target) != ("image and text", "image"):
        raise DataError(
            f"method {name} on {dataset.name}", expected="training pairs of image and text -> image",
            got=f"{query} -> {target}", remedy="Use a dataset of composed queries, or the method contrastive.",
        )  # fmt: skip
    if kind.takes_composed:
        return
    composed = [what for what, parts in held.items() if parts == "image and text"]
    if (query, target) != ("image", "text") or composed:
        got = f"{query} -> {target}" + (f", and image and text in {composed[0]}" if composed else "")
        raise DataError(
            f"method {name} on {dataset.name}", expected="training pairs of image -> text, and no composed queries",
            got=got, remedy=f"Use a method that takes any pairs ({_those(takes_composed=True)}), or another protocol.",
        )  # fmt: skip


def check_validation(kind: type[Method], stages: Mapping[str, Mapping[str, object]], dataset: RetrievalDataset) -> None:
    """Refuse to train stages that choose their best epoch on a validation split that is not there.

    Args:
        kind: The method.
        stages: Settings of its stages.
        dataset: What it is to learn from.

    Raises:
        DataError: There is none.
    """
    judged = [stage.name for stage in kind.stages if stage.measure != "none" and stages[stage.name]["epochs"]]
    if judged and not dataset.validation:
        raise DataError(
            f"dataset {dataset.name}", expected=f"a validation split to choose epochs of {', '.join(judged)} on",
            got="none", remedy="Hold out a part of the training items.",
        )  # fmt: skip


def _sides(pairs: Sequence[Pair]) -> dict[str, Iterator[Example]]:
    return {"training queries": (p.query for p in pairs), "training targets": (p.target for p in pairs)}


def _check_labels(name: str, dataset: str, pairs: Sequence[Pair]) -> None:
    without = sum(pair.labels is None or not pair.labels.size for pair in pairs)
    if without:
        raise DataError(
            f"method {name} on {dataset}", expected="labels on every training pair",
            got=f"none on {without} of {len(pairs)}",
            remedy=f"Use labelled data, or a method for pairs without labels ({_those(needs_labels=False)}).",
        )  # fmt: skip


def _those(needs_labels: bool | None = None, takes_composed: bool | None = None) -> str:
    """Names of the methods that are so, but for those of composed queries alone."""
    names = [
        name
        for name, kind in METHODS.items()
        if needs_labels in (None, kind.needs_labels)
        and takes_composed in (None, kind.takes_composed)
        and not kind.needs_composed
    ]
    return ", ".join(names)
