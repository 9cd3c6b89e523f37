"""The drawn dataset: coloured shapes before backgrounds, their captions, labels and edits, made when asked for.

It exists so that every method, metric and command can be tried in a minute, offline, on data whose truth is known by
construction. It is no benchmark: a figure on it says that something works, not that it works on photographs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.data.card import Card, Protocol
from hashret.data.shapes_album import Album
from hashret.data.shapes_edits import EDITS_A_REFERENCE, NEAR_A_TARGET, Family, families, scenes_of, twins
from hashret.data.shapes_language import captions
from hashret.data.shapes_scene import ATTRIBUTES, CONCEPTS, Scene, labels_of, scenes
from hashret.data.survey import Survey
from hashret.errors import InputError
from hashret.examples import Example, Pair, RetrievalDataset, Task
from hashret.relevance import SameInstance, SharedLabels, Targets

__all__ = ["CAPTIONS", "CARD", "load", "survey"]

CAPTIONS = 5
CARD = Card(
    name="shapes",
    title="shapes",
    what="Coloured shapes before backgrounds, drawn on the spot; truth is known by construction. It is no benchmark.",
    licence="Apache-2.0, as hashret",
    source="hashret itself: it is drawn, nothing is downloaded.",
    tree="none: ROOT is ignored",
    protocols=(
        Protocol("labels", "pictures or captions are asked of a database; a shared label of 24 is right", "hashret"),
        Protocol(
            "captions", "pictures are asked of the captions of a split, captions of its pictures", "hashret",
            metrics=("hit@1", "hit@5", "hit@10"),
        ),
        Protocol(
            "edits", "a picture and a sentence that changes one thing ask for another picture", "hashret",
            metrics=("hit@1", "hit@5", "hit@10"),
        ),
    ),
)  # fmt: skip

_SMALLEST = 64
_DRAWN = "Scenes are drawn by hashret, not photographed; labels, captions and edits are true by construction."


def load(
    root: str | os.PathLike[str] | None = None,
    *,
    protocol: Literal["labels", "captions", "edits"] = "labels",
    train: int = 6000,
    validation: int = 1000,
    test: int = 1000,
    database: int = 4000,
    size: int = 64,
    seed: int = 0,
    keep: bool = False,
    twins: bool = False,
    attributes: bool = False,
) -> RetrievalDataset:
    """Draw the dataset.

    No description (which things where, before what) occurs in two splits, under any sizes and seeds. A split of more
    scenes starts with those of a smaller one.

    Args:
        root: Ignored; nothing is read.
        protocol: "labels": search a database, an answer shares at least one of 24 labels with the query (as MIRFLICKR).
            "captions": find the picture of a caption and the five captions of a picture among all of the split (as
            Flickr30k). "edits": a picture and a sentence that changes one thing ask for another picture (as CIRR).
        train: Scenes, five training pairs each; for "edits" the number of triplets. At least 2.
        validation: Scenes; a third of them are queries for "labels", all for "captions"; for "edits" the size of the
            gallery, with a quarter as many queries. 0 for no validation, else at least 4.
        test: Scenes asked with, or edits asked with. At least 1.
        database: Scenes searched; for "edits" the size of the gallery, at least 3.25 times `test`; not used by
            "captions".
        size: Side of the pictures in pixels, at least 64; a scene looks the same at every size.
        seed: Of all random draws.
        keep: Whether pictures are kept in the cache and taken from it the next time; see
            :mod:`hashret.data.shapes_album`. It changes no picture, and takes 12 KiB for one of 64 pixels.
        twins: For "edits": whether training references come two by two, one edit apart and asked the same, all their
            pairs in one group; see :func:`hashret.data.shapes_edits.twins`. Without them each reference is a group.
        attributes: Whether colours, sizes and what is plain or outlined are labels too, 39 in all. Nearly everything
            then shares one: it is for networks that are to learn what a picture shows, not for searches.

    Returns:
        Pairs and tasks whose images are PIL images; tasks are "i2t" and "t2i", or "composed".

    Raises:
        InputError: A protocol that does not exist, or a number too small.
        FileError: Pictures are to be kept, and the cache cannot be written.

    Example:
        >>> data = load(train=20, validation=9, test=4, database=10)
        >>> len(data.train), len(data.classes), [task.name for task in data.test]
        (100, 24, ['i2t', 't2i'])
        >>> data.train[5].query.image.size, data.train[5].target.text
        ((64, 64), 'a scene with an orange crescent moon under a little pink star')
    """
    counts = {"train": train, "validation": validation, "test": test, "database": database}
    _check(protocol, counts, size)
    makers = {"labels": _by_labels, "captions": _by_captions, "edits": _by_edits}
    return makers[protocol](counts, _Look(size, seed, keep, twins, attributes))


def survey(root: Path) -> Survey:
    """Nothing lies on disk; see :mod:`hashret.data.survey`."""
    return Survey()


@dataclass(frozen=True)
class _Look:
    """How scenes are drawn and labelled: size in pixels, seed, and the arguments of :func:`load` of these names."""

    size: int
    seed: int
    keep: bool
    twins: bool
    attributes: bool

    @property
    def classes(self) -> tuple[str, ...]:
        return (*CONCEPTS, *ATTRIBUTES) if self.attributes else CONCEPTS

    def labels(self, scene: Scene) -> NDArray[np.uint8]:
        return labels_of(scene, attributes=self.attributes)

    def album(self, split: str) -> Album:
        return Album(split, self.size, keep=self.keep)

    def chance(self, split: str) -> random.Random:
        return random.Random(f"{self.seed} {split} pictures")


@dataclass(frozen=True)
class _Item:
    """A scene, drawn and described."""

    picture: Example
    captions: tuple[Example, ...]
    labels: NDArray[np.uint8]
    instance: int


def _by_labels(counts: dict[str, int], look: _Look) -> RetrievalDataset:
    splits = _splits(counts, look)
    held, third = splits["validation"], len(splits["validation"]) // 3
    return RetrievalDataset(
        "shapes (labels)",
        _pairs(splits["train"]),
        _label_tasks(held[:third], held[third:]) if held else (),
        _label_tasks(splits["test"], splits["database"]),
        look.classes,
        (
            *_notes(splits, look),
            f"{len(splits['test'])} queries of one modality search {len(splits['database'])} items of the other, one "
            "caption a scene; an answer that shares a label is right.",
        ),
    )


def _by_captions(counts: dict[str, int], look: _Look) -> RetrievalDataset:
    splits = _splits({**counts, "database": 0}, look)
    return RetrievalDataset(
        "shapes (captions)",
        _pairs(splits["train"]),
        _instance_tasks(splits["validation"]) if splits["validation"] else (),
        _instance_tasks(splits["test"]),
        look.classes,
        (
            *_notes(splits, look),
            f"{len(splits['test'])} test pictures and their captions search each other; a caption that leaves much "
            "unsaid may fit other pictures too, and only its own counts.",
        ),
    )


def _by_edits(counts: dict[str, int], look: _Look) -> RetrievalDataset:
    pairs = _triplets(counts["train"], look)
    held = counts["validation"]
    mean = np.mean([pair.labels.sum() for pair in pairs if pair.labels is not None])
    return RetrievalDataset(
        "shapes (edits)",
        pairs,
        (_composed("validation", held // 4, held, look),) if held else (),
        (_composed("test", counts["test"], counts["database"], look),),
        look.classes,
        (
            _DRAWN,
            f"{len(pairs)} training triplets, {EDITS_A_REFERENCE} a reference; {look.size} x {look.size} pixels, seed "
            f"{look.seed}; {mean:.2f} of {len(look.classes)} labels a target on average.",
            f"{counts['test']} queries search {counts['database']} pictures, the references and for each target "
            f"{NEAR_A_TARGET} pictures one edit away from it among them; one answer is right.",
        ),
    )


def _notes(splits: dict[str, list[_Item]], look: _Look) -> tuple[str, ...]:
    sizes = ", ".join(f"{len(items)} {split}" for split, items in splits.items() if items)
    mean = np.mean([item.labels.sum() for items in splits.values() for item in items])
    return (
        _DRAWN,
        f"Scenes: {sizes}; {CAPTIONS} captions each; {look.size} x {look.size} pixels, seed {look.seed}.",
        f"{mean:.2f} of {len(look.classes)} labels a scene on average; a caption need not mention all of them.",
    )


def _splits(counts: dict[str, int], look: _Look) -> dict[str, list[_Item]]:
    splits: dict[str, list[_Item]] = {}
    for split, count in counts.items():
        first = sum(map(len, splits.values()))
        splits[split] = _items(split, count, look, first)
    return splits


def _items(split: str, count: int, look: _Look, first: int) -> list[_Item]:
    words, accidents, album = random.Random(f"{look.seed} {split} captions"), look.chance(split), look.album(split)
    for scene in scenes(split, count, look.seed):
        album.add([scene], accidents.getrandbits(64), accidents)
    items = []
    for number, (scene, picture) in enumerate(album.drawn().items()):
        told = captions(scene, words, CAPTIONS)
        texts = tuple(Example(text=text, key=f"{picture.key}#{place}") for place, text in enumerate(told))
        items.append(_Item(picture, texts, look.labels(scene), first + number))
    return items


def _pairs(items: Sequence[_Item]) -> list[Pair]:
    return [Pair(item.picture, caption, item.labels, item.instance) for item in items for caption in item.captions]


def _label_tasks(queries: Sequence[_Item], gallery: Sequence[_Item]) -> tuple[Task, ...]:
    relevance = SharedLabels(np.stack([item.labels for item in queries]), np.stack([item.labels for item in gallery]))
    asked, found = [item.picture for item in queries], [item.picture for item in gallery]
    asked_texts, found_texts = [item.captions[0] for item in queries], [item.captions[0] for item in gallery]
    return (
        Task("i2t", asked, found_texts, relevance, partners=found),
        Task("t2i", asked_texts, found, relevance, partners=found_texts),
    )


def _instance_tasks(items: Sequence[_Item]) -> tuple[Task, ...]:
    pictures, texts = [item.picture for item in items], [caption for item in items for caption in item.captions]
    owners = np.array([item.instance for item in items])
    written = np.repeat(owners, CAPTIONS)
    return (
        Task("i2t", pictures, texts, SameInstance(owners, written)),
        Task("t2i", texts, pictures, SameInstance(written, owners)),
    )


def _triplets(count: int, look: _Look) -> list[Pair]:
    album, chance = look.album("train"), look.chance("train")
    found: Sequence[tuple[Family, ...]] = (
        twins("train", count, look.seed) if look.twins else [(one,) for one in families("train", count, look.seed)]
    )
    for alike in found:
        shown = [scene for one in alike for scene in (one.reference, *(target for _, target in one.edits))]
        album.add(shown, chance.getrandbits(64), chance)
    pictures, pairs = album.drawn(), list[Pair]()
    for group, alike in enumerate(found):
        for family in alike:
            reference = pictures[family.reference]
            for number, (text, target) in enumerate(family.edits):
                query = Example(image=reference.image, text=text, key=f"{reference.key}#{number}")
                pairs.append(Pair(query, pictures[target], look.labels(target), len(pairs), group))
    return pairs


def _composed(split: str, queries: int, gallery: int, look: _Look) -> Task:
    found, album, chance = families(split, queries, look.seed), look.album(split), look.chance(split)
    for family in found:
        album.add(scenes_of([family]), chance.getrandbits(64), chance)
    for scene in scenes(split, gallery - len(album.orders), look.seed, without=album.orders):
        album.add([scene], chance.getrandbits(64), chance)
    pictures = album.drawn()
    shown = list(pictures)
    random.Random(f"{look.seed} {split} gallery").shuffle(shown)  # an id must not tell a reference from a target
    place = {scene: number for number, scene in enumerate(shown)}
    asked, targets = [], []
    for family in found:
        reference = pictures[family.reference]
        for number, (text, target) in enumerate(family.edits):
            asked.append(Example(image=reference.image, text=text, key=f"{reference.key}#{number}"))
            targets.append([place[target]])
    return Task("composed", asked, [pictures[scene] for scene in shown], Targets(targets, gallery))


def _check(protocol: str, counts: dict[str, int], size: int) -> None:
    if protocol not in ("labels", "captions", "edits"):
        raise InputError(
            "protocol", expected='"labels", "captions" or "edits"', got=repr(protocol), remedy="Choose one of these."
        )
    least = {"train": 2, "validation": 4 if counts["validation"] else 0, "test": 1, "database": 1}
    for name, count in counts.items():
        if count < least[name]:
            expected = f"at least {least[name]}" + (" (or 0 for no validation)" if name == "validation" else "")
            raise InputError(name, expected=expected, got=str(count), remedy=f"Ask for more {name} scenes.")
    if size < _SMALLEST:
        raise InputError(
            "size", expected=f"at least {_SMALLEST} pixels", got=str(size), remedy="Small things need that many."
        )
    needed = -(-counts["test"] // EDITS_A_REFERENCE) + (1 + NEAR_A_TARGET) * counts["test"]
    if protocol == "edits" and counts["database"] < needed:
        raise InputError(
            "database", expected=f"at least {needed} scenes for {counts['test']} edits", got=str(counts["database"]),
            remedy="Raise database or lower test: references, targets and near-duplicates must fit in.",
        )  # fmt: skip
