"""cirr_submission: a ranking of CIRR's test1 becomes the two files that its test server takes.

The server (cirr.cecs.anu.edu.au, at most 5 MB a file) wants the best 50 names of each pair for recall and the best 3
of its group for recall in the subset, with the version of the set and the metric. It says little when something is
wrong, so everything is checked here; and no part of a submission is made up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.arrayfile import replace_file
from hashret.data.cirr import TRIPLETS
from hashret.errors import FileError, InputError
from hashret.examples import Task

__all__ = ["Submission", "submission"]

RECALL, SUBSET = 50, 3
FILES = {"recall": "recall.json", "recall_subset": "recall_subset.json"}


@dataclass(frozen=True)
class Submission:
    """What is sent to the test server.

    Attributes:
        pair_ids: ``pairid`` of each query.
        ranked: For each the 50 best names of images, best first, its reference not among them.
        subset: For each the 3 best names of its group, best first, its reference not among them.

    Raises:
        InputError: A pair twice, other numbers of lists than pairs, or a list that is no 50 or 3 distinct names.
    """

    pair_ids: tuple[int, ...]
    ranked: tuple[tuple[str, ...], ...]
    subset: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Check what can be told without the dataset."""
        if len(set(self.pair_ids)) != len(self.pair_ids):
            twice = next(pair for pair in self.pair_ids if self.pair_ids.count(pair) > 1)
            raise InputError(
                "pair_ids", expected="every pair once", got=f"pair {twice} twice", remedy="Rank each query once."
            )
        for name, lists, length in (("ranked", self.ranked, RECALL), ("subset", self.subset, SUBSET)):
            if len(lists) != len(self.pair_ids):
                raise InputError(
                    name, expected=f"a list of names for each of {len(self.pair_ids)} pairs", got=f"{len(lists)} lists",
                    remedy="Rank every query.",
                )  # fmt: skip
            for pair, names in zip(self.pair_ids, lists, strict=True):
                if len(names) != length or len(set(names)) != length:
                    raise InputError(
                        f"{name} of pair {pair}", expected=f"{length} distinct names",
                        got=f"{len(names)} names, {len(set(names))} distinct",
                        remedy=f"Give the {length} best, each once.",
                    )  # fmt: skip

    def write(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write ``recall.json`` and ``recall_subset.json``, each whole or not at all.

        Args:
            folder: Where to; it is made if need be.

        Returns:
            The two files.

        Raises:
            FileError: The place cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            got = error.strerror or str(error)
            raise FileError(str(folder), expected="a folder", got=got, remedy="Name another place.") from error
        for metric, lists in (("recall", self.ranked), ("recall_subset", self.subset)):
            content: dict[str, object] = {"version": "rc2", "metric": metric}
            content |= {str(pair): list(names) for pair, names in zip(self.pair_ids, lists, strict=True)}
            replace_file(folder / FILES[metric], json.dumps(content).encode())
        return folder / FILES["recall"], folder / FILES["recall_subset"]


def submission(
    tasks: Sequence[Task], ranked: ArrayLike, subset: ArrayLike | None = None, *, partial: bool = False
) -> Submission:
    """Make a submission of ranked gallery ids.

    Args:
        tasks: "composed" and "composed/subset" as ``load(root, test="test1")`` has them in ``test``.
        ranked: Int (Q, k), gallery ids of the best answers of each query of "composed", best first, as ``Hits.ids``;
            -1 and the query's own reference are passed over, so that k = 51 always suffices for the first file.
        subset: The same for "composed/subset"; ids outside a query's group are passed over. None takes ``ranked``,
            which then has to reach down to the third of each group: search the whole gallery.
        partial: Make one of other than the official 4,148 pairs, which the server will refuse.

    Raises:
        InputError: Other tasks, or other numbers of rows than queries; ids that are none of the gallery, or twice in a
            row; too few of them; queries missing of the official ones.

    Example:
        >>> from hashret.data.composed import Triplet, composed_task, subset_task
        >>> names = [f"test1-{n}-0-img0" for n in range(60)]
        >>> asked = [Triplet(names[5], None, ("in snow",), f"{names[5]}#12063", tuple(names[3:9]))]
        >>> whole = composed_task("composed", asked, names, {n: Path(n) for n in names}, without_reference=True)
        >>> made = submission([whole, subset_task("composed/subset", whole, asked)], [range(60)], partial=True)
        >>> made.pair_ids, made.ranked[0][4:6], made.subset[0]
        ((12063,), ('test1-4-0-img0', 'test1-6-0-img0'), ('test1-3-0-img0', 'test1-4-0-img0', 'test1-6-0-img0'))
    """
    whole, among = _check_tasks(tasks, partial)
    ids = _check_ids(ranked, "ranked", whole)
    others = ids if subset is None else _check_ids(subset, "subset", whole)
    assert whole.excluded is not None
    assert among.candidates is not None
    best = [
        _first(row, ~np.isin(row, out), RECALL, query.key, "Search with k = 51 at least.")
        for row, out, query in zip(ids, whole.excluded, whole.queries, strict=True)
    ]
    third = [
        _first(row, np.isin(row, group), SUBSET, query.key, "Rank the whole gallery, or give subset its own ranking.")
        for row, group, query in zip(others, among.candidates, among.queries, strict=True)
    ]
    names = [image.key for image in whole.gallery]
    return Submission(
        tuple(int(query.key.rpartition("#")[2]) for query in whole.queries),
        tuple(tuple(names[number] for number in row) for row in best),
        tuple(tuple(names[number] for number in row) for row in third),
    )


def _check_tasks(tasks: Sequence[Task], partial: bool) -> tuple[Task, Task]:
    named = {task.name: task for task in tasks}
    whole, among = named.get("composed"), named.get("composed/subset")
    if whole is None or among is None or whole.excluded is None or among.candidates is None:
        raise InputError(
            "tasks", expected="'composed' and 'composed/subset' of CIRR", got=", ".join(named) or "none",
            remedy='Give load(root, test="test1").test.',
        )  # fmt: skip
    if [query.key for query in whole.queries] != [query.key for query in among.queries]:
        raise InputError("tasks", expected="the same queries in both", got="others", remedy="Take both from one load.")
    if len(whole.queries) != TRIPLETS["test1"] and not partial:
        raise InputError(
            "tasks", expected=f"the {TRIPLETS['test1']:,} queries of test1", got=f"{len(whole.queries):,}",
            remedy="The server wants all of them: load test1 whole, with every photograph in its place.",
        )  # fmt: skip
    return whole, among


def _check_ids(ranked: ArrayLike, name: str, task: Task) -> NDArray[np.int64]:
    ids = np.asarray(ranked)
    if ids.ndim != 2 or len(ids) != len(task.queries) or ids.dtype.kind not in "iu":
        raise InputError(
            name, expected=f"integers ({len(task.queries)}, k)", got=f"{ids.dtype} {ids.shape}",
            remedy="Give one row of gallery ids a query.",
        )  # fmt: skip
    if ids.size and not -1 <= ids.min() <= ids.max() < len(task.gallery):
        raise InputError(
            name, expected=f"ids -1 ... {len(task.gallery) - 1}", got=f"{ids.min()} ... {ids.max()}",
            remedy="Rank the gallery of the task.",
        )  # fmt: skip
    return ids.astype(np.int64)


def _first(row: NDArray[np.int64], wanted: NDArray[np.bool_], count: int, key: str, remedy: str) -> NDArray[np.int64]:
    """The first ids of a row that are wanted, ``count`` of them."""
    left = row[wanted & (row >= 0)]
    if len(np.unique(left)) != len(left):
        raise InputError(f"ids of {key}", expected="each id once", got="one twice", remedy="Rank without repeats.")
    if len(left) < count:
        raise InputError(f"ids of {key}", expected=f"{count} that count", got=str(len(left)), remedy=remedy)
    return left[:count]
