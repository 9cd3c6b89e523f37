"""FashionIQ: dresses, shirts and tops; a picture and two remarks on how the wanted one differs ask for another picture.

Each category is asked among its own pictures. Two galleries are in use and their figures must not be compared: the
whole split list, in which the reference may answer ("original"), and the pictures that occur in the triplets asked,
without the reference ("val", from Chen & Bazzani's code, which sets a query's own image infinitely far). All papers
choose epochs on the split they report; here whole references are held out of the training split for that. The answers
of the test split are not public, so it is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as partial_of
from pathlib import Path
from typing import Literal

from hashret.data.card import Card, Protocol
from hashret.data.composed import (
    Triplet,
    check_known,
    composed_task,
    hold_out,
    triplet_notes,
    triplet_pairs,
    without,
)
from hashret.data.composed_files import Inventory, check_count, find_pictures, read_rows, read_strings
from hashret.data.survey import Survey
from hashret.errors import DataError, InputError
from hashret.examples import RetrievalDataset, Task

__all__ = ["CARD", "CATEGORIES", "load", "survey"]

CATEGORIES = ("dress", "shirt", "toptee")
TRIPLETS = {
    ("dress", "train"): 5985, ("dress", "val"): 2017, ("dress", "test"): 2024,
    ("shirt", "train"): 5988, ("shirt", "val"): 2038, ("shirt", "test"): 2038,
    ("toptee", "train"): 6027, ("toptee", "val"): 1961, ("toptee", "test"): 2056,
}  # fmt: skip
IMAGES = {
    ("dress", "train"): 11452, ("dress", "val"): 3817, ("dress", "test"): 3818,
    ("shirt", "train"): 19036, ("shirt", "val"): 6346, ("shirt", "test"): 6346,
    ("toptee", "train"): 16121, ("toptee", "val"): 5373, ("toptee", "test"): 5374,
}  # fmt: skip
OCCURRING = {"dress": 2628, "shirt": 3089, "toptee": 2902}
SHARED = 811
IMAGE_FOLDERS = ("images", "resized_image", "resized_images")
_PARTS = {"training triplets": 18000, "queries": 6016}
_METRICS = ("hit@10", "hit@50")
CARD = Card(
    name="fashioniq",
    title="FashionIQ",
    what="74,381 pictures of dresses, shirts and tops from Amazon; 18,000 training and 6,016 validation triplets, each "
    "with two remarks. Shirts and tops share pictures: 811 are in the training list of one and the validation list of "
    "the other.",
    licence="annotations CDLA; pictures belong to the shops that show them",
    source="github.com/XiaoxiaoGuo/fashion-iq (annotations) and its list of image addresses, many of them dead; copies "
    "of the pictures are linked from github.com/postBG/CosMo.pytorch.",
    tree="""ROOT/
  captions/cap.dress.train.json          and val; also shirt, toptee
  image_splits/split.dress.train.json    and val; also shirt, toptee
  images/B008BHCT58.jpg ...              or .png; or images/dress/..., or resized_image/dress/...""",
    protocols=(
        Protocol(
            "original",
            "each category's validation triplets are asked of its whole validation list, references among it",
            "Wu et al., CVPR 2021; CLIP4Cir's and MLCL's code",
            {**_PARTS, **{f"{c} images searched": IMAGES[c, "val"] for c in CATEGORIES}}, _METRICS,
        ),
        Protocol(
            "val",
            "each category's validation triplets are asked of the pictures that occur in them, the reference left out",
            "Chen & Bazzani, CVPR 2020 (VAL), and the codes that follow it, such as ENCODER's",
            {**_PARTS, **{f"{c} images searched": OCCURRING[c] for c in CATEGORIES}}, _METRICS,
        ),
    ),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["original", "val"] = "original",
    partial: bool = False,
    train_text: Literal["four", "both"] = "four",
    reference: Literal["protocol", "kept", "removed"] = "protocol",
    validation: int = 500,
    test: str = "val",
    seed: int = 0,
) -> RetrievalDataset:
    """Load FashionIQ.

    Tasks "composed/dress", "composed/shirt" and "composed/toptee" ask with the text "C1 and c2": both remarks without
    ``.``, ``?``, ``,`` and spaces at their ends, the first by Python's ``capitalize``, which makes all but its first
    letter small, as CLIP4Cir and MLCL write it; an empty remark is left out with its "and". Papers report each task
    and the mean of the three. Trained is on the triplets of all categories but those whose reference is that of a
    reported query of another category, or of a held-out triplet.

    Args:
        root: A folder with ``captions``, ``image_splits`` and ``images``.
        protocol: Which pictures are searched; see CARD. Validation is asked likewise: "original" among the category's
            whole training list, "val" among the pictures of the triplets held out, which are far fewer to encode.
        partial: Take files that hold other numbers of triplets and pictures than the official ones.
        train_text: "four": each triplet has the texts "C1 and c2", "C2 and c1", "C1" and "C2", one of which an epoch
            draws; "both": "C1 and c2" alone.
        reference: Whether a query's own reference is searched: as the protocol has it, or always, or never. Published
            rows of either gallery are not all of one mind.
        validation: Triplets held out for validation in each category, at least; whole references. 0 for none.
        test: "val"; the answers of "test" are not public.
        seed: Chooses the references held out.

    Returns:
        Pairs and tasks; images are paths, keys are their ids, a query's is ``id#row`` of its captions file. The
        instance is the number of the triplet.

    Raises:
        DataFileError: An annotation file is missing or damaged.
        DataError: Other numbers than the official ones; images that no list names; too much held out; test="test".
        InputError: No such protocol, or a negative seed.
    """
    root, scheme = Path(root), CARD.protocol(protocol)
    _check_options(test, train_text, reference)
    parts = {(c, split): _read_part(root, c, split, partial) for c in CATEGORIES for split in ("train", "val")}
    train, held, left_out = _divide(parts, validation, seed)
    if train_text == "both":
        train = [replace(triplet, texts=triplet.texts[:1]) for triplet in train]
    paths = _paths(root, [name for part in parts.values() for name in part.images])
    removed = protocol == "val" if reference == "protocol" else reference == "removed"

    def tasks(triplets: Mapping[str, Sequence[Triplet]], split: str) -> tuple[Task, ...]:
        return tuple(
            composed_task(
                f"composed/{category}", asked, _gallery(protocol, asked, parts[category, split].images), paths,
                without_reference=removed,
            )
            for category, asked in triplets.items() if asked
        )  # fmt: skip

    chosen, reported = tasks(held, "train"), tasks({c: parts[c, "val"].triplets for c in CATEGORIES}, "val")
    training = triplet_pairs(train, paths)
    notes = [
        *triplet_notes(training, chosen, reported),
        f"protocol {scheme.name}: {scheme.what} ({scheme.source})",
        f"references are {'left out of' if removed else 'kept in'} what their queries search",
        f"validation: {f'whole references of the training split, held out with seed {seed}' if chosen else 'none'}",
        f"{left_out:,} more training triplets left out, since a task asks with their references",
        _reported_targets(train, parts, reported),
        "training texts: " + ("one of four orders of the remarks an epoch" if train_text == "four" else "C1 and c2"),
    ]
    odd = "" if reference == "protocol" else f", references {reference}"
    odd += "" if _is_whole(parts) else ", partial"
    return RetrievalDataset(f"FashionIQ ({protocol}{odd})", training, chosen, reported, (), tuple(notes))


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`; the test split is counted where it is there."""
    found, splits, listed = Inventory(root), dict[str, list[str]](), dict[str, list[str]]()
    for (category, split), official in TRIPLETS.items():
        what, needed = f"{category}, {split}", split != "test"
        images = found.read(_list_file(root, category, split), f"images of {what}", _read_images, needed=needed)
        read = partial_of(_read_triplets, split=split, known=images)
        triplets = found.read(_captions_file(root, category, split), f"triplets of {what}", read, needed=needed)
        if images is not None:
            found.count(f"images of {what}", len(images), IMAGES[category, split])
            splits[what] = [f"{category}/{name}" for name in images]
            listed[what] = images
        if triplets is not None:
            found.count(f"triplets of {what}", len(triplets), official)
        if split == "val" and images and triplets:
            found.count(f"images in triplets of {what}", len(_occurring(triplets, images)), OCCURRING[category])
    train, asked = ([(c, set(listed.get(f"{c}, {split}", ()))) for c in CATEGORIES] for split in ("train", "val"))
    shared = sum(len(ours & theirs) for one, ours in train for other, theirs in asked if one != other)
    found.count("images in train of one category and val of another", shared, SHARED)
    if not any((root / folder).is_dir() for folder in IMAGE_FOLDERS):
        found.missing.append(f"{IMAGE_FOLDERS[0]}: the pictures")
    wanted = [name for what, images in listed.items() if not what.endswith("test") for name in images]
    return found.survey(_paths(root, wanted), splits)


@dataclass(frozen=True)
class _Part:
    """A split of a category."""

    triplets: list[Triplet]
    images: list[str]


def _captions_file(root: Path, category: str, split: str) -> Path:
    return root / "captions" / f"cap.{category}.{split}.json"


def _list_file(root: Path, category: str, split: str) -> Path:
    return root / "image_splits" / f"split.{category}.{split}.json"


def _read_part(root: Path, category: str, split: str, partial: bool) -> _Part:
    images = _read_images(_list_file(root, category, split))
    triplets = _read_triplets(_captions_file(root, category, split), split, images)
    check_count(CARD, f"triplets of {category}, {split}", len(triplets), TRIPLETS[category, split], partial)
    check_count(CARD, f"images of {category}, {split}", len(images), IMAGES[category, split], partial)
    return _Part(triplets, images)


def _read_images(path: Path) -> list[str]:
    return read_strings(CARD, path, "ids of images")


def _read_triplets(path: Path, split: str, known: Sequence[str] | None) -> list[Triplet]:
    """The triplets of a captions file; their images are compared with those that are known, if any are."""
    fields = {"candidate": str, "captions": list} | ({} if split == "test" else {"target": str})
    triplets = []
    for number, row in enumerate(read_rows(CARD, path, "triplets", fields)):
        if len(row["captions"]) != 2:
            raise CARD.damaged(path, f"two captions in entry {number}", str(len(row["captions"])))
        key = f"{row['candidate']}#{number}"
        triplets.append(Triplet(row["candidate"], row.get("target"), _texts(*row["captions"]), key))
    if known is not None:
        check_known(f"{CARD.title}, {path}", triplets, set(known), "the split")
    return triplets


def _texts(one: str, other: str) -> tuple[str, ...]:
    """The four texts of two remarks; one where a remark is empty.

    Example:
        >>> _texts("is Longer.", "has a belt ")
        ('Is longer and has a belt', 'Has a belt and is Longer', 'Is longer', 'Has a belt')
        >>> _texts("", "has a belt")
        ('Has a belt',)
    """
    one, other = one.strip(".?, "), other.strip(".?, ")
    if not one or not other:
        return ((one or other).capitalize(),)
    return (
        f"{one.capitalize()} and {other}", f"{other.capitalize()} and {one}", one.capitalize(), other.capitalize(),
    )  # fmt: skip


def _divide(
    parts: Mapping[tuple[str, str], _Part], validation: int, seed: int
) -> tuple[list[Triplet], dict[str, list[Triplet]], int]:
    """The triplets to train on, those held out of each category, and how many are in neither."""
    reported = {triplet.reference for c in CATEGORIES for triplet in parts[c, "val"].triplets}
    pools = {c: without(parts[c, "train"].triplets, reported) for c in CATEGORIES}
    held = {}
    for category, pool in pools.items():
        out = hold_out([triplet.reference for triplet in pool], validation, seed, f"{CARD.title}, {category}")
        held[category] = [triplet for triplet, chosen in zip(pool, out, strict=True) if chosen]
    asked = {triplet.reference for triplets in held.values() for triplet in triplets}
    train = [triplet for pool in pools.values() for triplet in without(pool, asked)]
    all_of_them = sum(len(parts[c, "train"].triplets) for c in CATEGORIES)
    return train, held, all_of_them - len(train) - sum(map(len, held.values()))


def _reported_targets(
    train: Sequence[Triplet], parts: Mapping[tuple[str, str], _Part], reported: Sequence[Task]
) -> str:
    """How many training triplets have an answer that is searched when the set is reported on."""
    searched = {image.key for task in reported for image in task.gallery}
    right = {triplet.target for c in CATEGORIES for triplet in parts[c, "val"].triplets}
    targets = [triplet.target for triplet in train]
    return (
        f"{sum(target in right for target in targets):,} training triplets have the target of a reported query, "
        f"{sum(target in searched for target in targets):,} one that is searched when the set is reported on: only "
        "those with the reference of a query are left out"
    )


def _gallery(protocol: str, triplets: Sequence[Triplet], listed: Sequence[str]) -> Sequence[str]:
    return listed if protocol == "original" else _occurring(triplets, listed)


def _occurring(triplets: Sequence[Triplet], listed: Sequence[str]) -> list[str]:
    """The images that occur in triplets, in the order of their list."""
    used = {name for triplet in triplets for name in (triplet.reference, triplet.target)}
    return [name for name in listed if name in used]


def _paths(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where each picture is; one that is not there would be a .jpg in images/."""
    found: dict[str, Path] = {}
    for path in find_pictures(root / folder for folder in IMAGE_FOLDERS).values():
        found.setdefault(path.stem, path)
    return {name: found.get(name, root / IMAGE_FOLDERS[0] / f"{name}.jpg") for name in names}


def _is_whole(parts: Mapping[tuple[str, str], _Part]) -> bool:
    return all(
        (len(part.triplets), len(part.images)) == (TRIPLETS[place], IMAGES[place]) for place, part in parts.items()
    )


def _check_options(test: str, train_text: str, reference: str) -> None:
    if test != "val":
        raise DataError(
            f"{CARD.title}, test", expected="'val'", got=repr(test),
            remedy="Targets of the test split are not public; every paper reports on val. Set test=val.",
        )  # fmt: skip
    for name, value, known in (
        ("train_text", train_text, ("four", "both")), ("reference", reference, ("protocol", "kept", "removed")),
    ):  # fmt: skip
        if value not in known:
            raise InputError(name, expected=f"one of {', '.join(known)}", got=repr(value), remedy="Name one of these.")
