"""What ``hashret demo`` does: the whole way once, from a drawn dataset to pictures, by the public functions alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from hashret.codes import Codes
from hashret.data.entry import Entry, Examples, Wanted, every
from hashret.errors import FileError
from hashret.evaluation import precision_recall
from hashret.examples import RetrievalDataset, Task
from hashret.floors import random_codes, untrained
from hashret.pipeline import Results, Say, encode, evaluate_run, index, load_data, read_recipe, train
from hashret.recipe import Recipe
from hashret.relevance import SharedLabels
from hashret.report import Answer, GridRow, precision_recall_curves, retrieval_grid, training_curves
from hashret.retriever import Retriever
from hashret.run import Run
from hashret.search import HammingIndex

__all__ = ["demonstrate", "demonstrate_composed"]

SHOWN = 4
ANSWERS = 6
SHOWN_COMPOSED = 6


def demonstrate(
    out: str | os.PathLike[str], overrides: Sequence[str], *, keep_images: bool = False, say: Say
) -> Results:
    """Train on ``shapes``, encode, index, evaluate beside the floors, and draw pictures.

    Args:
        out: Folder to write: ``run/``, ``*.encoded/``, ``*.index``, ``hits.png``, ``curves.png``,
            ``precision-recall.png``.
        overrides: ``key=value`` changes of the demo's recipe.
        keep_images: Also write the database's pictures into ``images/``, by their keys.
        say: Told in a line what happens.

    Returns:
        The scores on the test split.

    Raises:
        FileError: The folder holds something already, or cannot be written.
    """
    out, begun = _new_folder(out), time.monotonic()
    recipe = _recipe("demo.yaml", overrides)
    say("drawing the shapes dataset and training CRCGS on it")
    retriever = train(recipe, out / "run", say=say)
    say(f"trained in {time.monotonic() - begun:.0f} s; encoding, indexing and measuring")
    results = evaluate_run(out / "run", say=say)
    dataset, _ = load_data(recipe, None, lambda line: None)
    tasks = {task.name: task for task in dataset.test}
    for task in tasks.values():
        _encode_and_index(task, out, dataset.classes)
    if keep_images:
        _keep_images(tasks["t2i"], out / "images")
    retrieval_grid(
        [*_rows(retriever, tasks["t2i"], out), *_rows(retriever, tasks["i2t"], out)],
        out / "hits.png",
        title=f"Nearest by Hamming distance, {retriever.bits} bits",
    )
    training_curves(Run.open(out / "run").read_log(), out / "curves.png")
    _precision_recall(retriever, dataset, recipe.evaluation.seed, out / "precision-recall.png")
    say(f"the demo took {time.monotonic() - begun:.0f} s")
    return results


def demonstrate_composed(
    out: str | os.PathLike[str], overrides: Sequence[str], *, keep_images: bool = False, say: Say
) -> Results:
    """Train on edits of ``shapes``, encode, index, evaluate by R@1, 5 and 10, and draw queries with their answers.

    Args:
        out: Folder to write: ``run/``, ``composed.encoded/``, ``composed.index``, ``hits.png``, ``curves.png``.
        overrides: ``key=value`` changes of the recipe, in which the method is named.
        keep_images: Also write the gallery's pictures into ``images/``, by their keys.
        say: Told in a line what happens.

    Returns:
        The scores on the test split.

    Raises:
        FileError: The folder holds something already, or cannot be written.
    """
    out, begun = _new_folder(out), time.monotonic()
    recipe = _recipe("demo_composed.yaml", overrides)
    say(f"drawing scenes and edits of them, and training {recipe.method.name} on them")
    retriever = train(recipe, out / "run", say=say)
    say(f"trained in {time.monotonic() - begun:.0f} s; encoding, indexing and measuring")
    results = evaluate_run(out / "run", say=say)
    dataset, _ = load_data(recipe, None, lambda line: None)
    (task,) = dataset.test
    _encode_and_index(task, out, dataset.classes)
    if keep_images:
        _keep_images(task, out / "images")
    retrieval_grid(
        _composed_rows(retriever, task, out),
        out / "hits.png",
        title=f"A picture, and what is to change: nearest of {len(task.gallery):,} by {retriever.bits} bits",
        ranked=ANSWERS,
    )
    training_curves(Run.open(out / "run").read_log(), out / "curves.png")
    say(f"the demo took {time.monotonic() - begun:.0f} s")
    return results


def _new_folder(out: str | os.PathLike[str]) -> Path:
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise FileError(
            str(out),
            expected="a new or empty folder",
            got="one with files",
            remedy="Remove it, or choose another --out.",
        )
    return out


def _recipe(name: str, overrides: Sequence[str]) -> Recipe:
    text = resources.files("hashret.cli").joinpath(name).read_text("utf-8")
    return read_recipe(yaml.safe_load(text), overrides)


def _encode_and_index(task: Task, out: Path, classes: Sequence[str]) -> None:
    """Encode the gallery of a task into a folder, and build an index of it, as the commands do."""
    gallery = _Described(task, classes)
    encode(out / "run", gallery, gallery.side, out / f"{task.name}.encoded", quiet=True)
    index(out / f"{task.name}.encoded", out / f"{task.name}.index")


class _Described(Examples):
    """The gallery of a task, each item with its labels and a picture with its caption, where the task knows them.

    Args:
        task: The task.
        classes: Names of its labels.
    """

    columns: Mapping[str, str] = {"labels": "json"}

    def __init__(self, task: Task, classes: Sequence[str]) -> None:
        """Take the gallery."""
        super().__init__(task.gallery, task.name)
        self._task, self._classes = task, classes

    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """See :meth:`hashret.data.entry.Source.entries`."""
        for row, entry in super().entries(wanted):
            yield row, replace(entry, caption=self._caption(row), columns={"labels": self._labels(row)})

    def _caption(self, row: int) -> str:
        partners = self._task.partners
        said = self._task.gallery[row].text if partners is None else partners[row].text or self._task.gallery[row].text
        return said if isinstance(said, str) else ""

    def _labels(self, row: int) -> str | None:
        if not isinstance(self._task.relevance, SharedLabels):
            return None
        marks = np.flatnonzero(self._task.relevance.gallery_labels[row])
        return json.dumps([self._classes[int(mark)] for mark in marks])


def _keep_images(task: Task, folder: Path) -> None:
    """Write the pictures of a gallery as PNG files named by their keys."""
    for example in task.gallery:
        place = folder / f"{example.key}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(example.image, Image.Image)  # the demo draws them
        example.image.save(place)


def _rows(retriever: Retriever, task: Task, out: Path) -> list[GridRow]:
    """A few queries, evenly spaced, with their answers from the index on disk, right ones marked."""
    index = HammingIndex.load(out / f"{task.name}.index", mmap=True)
    numbers = np.linspace(0, len(task.queries) - 1, SHOWN + 2, dtype=np.int64)[1:-1]
    hits = index.search(retriever.encode([task.queries[number] for number in numbers]), ANSWERS)
    right = task.relevance.judge(numbers, hits.ids)
    rows = []
    for number, distances, ids, marks in zip(numbers, hits.distances, hits.ids, right, strict=True):
        answers = []
        for distance, item, mark in zip(distances, ids, marks, strict=True):
            answer = task.gallery[item]
            answers.append(
                Answer(answer.image if answer.image is not None else answer.text, bool(mark), f"distance {distance}")
            )
        query = task.queries[number]
        rows.append(GridRow(query.image if query.image is not None else query.text, answers))
    return rows


def _composed_rows(retriever: Retriever, task: Task, out: Path) -> list[GridRow]:
    """A few queries, evenly spaced, with their answers; where the target is not among these, it comes last."""
    index = HammingIndex.load(out / f"{task.name}.index", mmap=True)
    numbers = np.linspace(0, len(task.queries) - 1, SHOWN_COMPOSED + 2, dtype=np.int64)[1:-1]
    hits = index.search(retriever.encode([task.queries[number] for number in numbers]), len(task.gallery))
    right = task.relevance.judge(numbers, hits.ids)
    rows = []
    for number, distances, ids, marks in zip(numbers, hits.distances, hits.ids, right, strict=True):
        query, target = task.queries[number], int(np.flatnonzero(marks)[0])
        answers = []
        for place in [*range(ANSWERS), *([target] if target >= ANSWERS else [])]:
            shown, told = task.gallery[ids[place]], f"distance {distances[place]}"
            if shown.image is query.image:
                told = f"{told}, the reference"
            if place >= ANSWERS:
                told = f"the target, at place {place + 1:,}"
            answers.append(Answer(shown.image, bool(marks[place]), told))
        rows.append(GridRow(query.image, answers, str(query.text)))
    return rows


def _precision_recall(retriever: Retriever, dataset: RetrievalDataset, seed: int, path: Path) -> None:
    """Precision and recall over the Hamming radius, of the trained codes and both floors, in both directions."""
    encoders = {
        "CRCGS": retriever.encode,
        "untrained network": untrained(retriever, seed),
        "random codes": random_codes(retriever.bits, seed),
    }
    curves = {}
    for name, encoder in encoders.items():
        for task in dataset.test:
            pair: tuple[Codes, Codes] = (encoder(task.queries), encoder(task.gallery))
            recall, precision = precision_recall(pair, task.relevance)
            found = recall > 0.001  # at smaller radii next to no query finds anything
            curves[f"{name}, {task.name}"] = recall[found], precision[found]
    precision_recall_curves(curves, path, title=f"Precision and recall by Hamming radius, {retriever.bits} bits")
