"""Wikipedia (Rasiwasia et al. 2010): 2,866 sections of articles with a picture each, of ten classes.

The oldest set of cross-modal retrieval, and still a row of most tables: its released features (128 visual words, 10
topics) are what shallow papers hash, its pictures and texts what deep ones read. Features and classes come from
different files that only the order of rows joins, so that their association is checked. No feature is computed here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hashret.data.alignment import check_alignment
from hashret.data.captioned import Captioned, label_tasks, pairs, size_notes
from hashret.data.card import Card, Protocol
from hashret.data.survey import Count, Survey
from hashret.data.wikipedia_files import (
    FEATURES,
    Listed,
    check_classes,
    list_name,
    one_hot,
    read_features,
    read_list,
    read_section,
)
from hashret.errors import DataError, InputError
from hashret.examples import Example, ImageSource, RetrievalDataset, TextSource

__all__ = ["CARD", "load", "survey"]

SIZES = {"train": 2_173, "test": 693}

CARD = Card(
    name="wikipedia",
    title="Wikipedia",
    what="Sections of Wikipedia's featured articles with a picture each; one of ten classes an item.",
    licence="research; the texts are Wikipedia's (CC BY-SA), the pictures under Wikimedia Commons' own licences",
    source="www.svcl.ucsd.edu/projects/crossmodal (wikipedia_dataset).",
    tree="""ROOT/
  raw_features.mat            I_tr (2173, 128), I_te (693, 128), T_tr (2173, 10), T_te (693, 10)
  trainset_txt_img_cat.list   text id, image id and class (1 ... 10), with tabs between, a line an item
  testset_txt_img_cat.list
  categories.list             (optional) names of the classes
  images/art/ID.jpg ...       for images=pixels
  texts/ID.xml ...            for texts=sentences""",
    protocols=(
        Protocol(
            "rasiwasia", "the 693 test items are asked of the other side of the 2,173 training items; right: the class",
            "Rasiwasia et al., ACM MM 2010", sizes={"queries": 693, "database": 2_173},
        ),
        Protocol(
            "dscmr", "the 693 test items are asked of the other side of themselves; right: the class",
            "Zhen et al., CVPR 2019 (DSCMR)", sizes={"queries": 693, "database": 693, "training": 2_173},
        ),
    ),
    classes=("art", "biology", "geography", "history", "literature", "media", "music", "royalty", "sport", "warfare"),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["rasiwasia", "dscmr"] = "rasiwasia",
    images: Literal["features", "pixels"] = "features",
    texts: Literal["features", "sentences"] = "features",
    validation: int = 200,
    seed: int = 0,
    partial: bool = False,
) -> RetrievalDataset:
    """Load Wikipedia.

    Protocol "rasiwasia": test images are asked of the texts of the training items, test texts of their images. Protocol
    "dscmr": test images are asked of the test texts, and test texts of the test images. In both, validation items are
    held out of the training items and not trained on: they are asked of the rest of these ("rasiwasia") or of
    themselves ("dscmr"). The test database of "rasiwasia" holds them, as it holds all training items.

    Args:
        root: The folder with the two lists, and ``raw_features.mat`` where features are asked for.
        protocol: What the test items are asked of.
        images: Whether an image is its 128 released features or its file in ``images/``.
        texts: Whether a text is its 10 released features or the section in ``texts/``.
        validation: Training items held out, each class in proportion; 0 for none, as papers train.
        seed: Chooses them.
        partial: Take lists of another length than the official one.

    Returns:
        Pairs and tasks; features are float32 vectors, keys are the image's id and ``id#0``.

    Raises:
        DataFileError: A file is missing, damaged or of another form.
        DataError: Lists of another length than the features or than is official, an item twice, classes that say
            nothing of the texts or image features in the same rows, or more to hold out than there is.
        InputError: A negative seed.
    """
    root, notes = Path(root), list[str]()
    check_classes(CARD, root)
    train, test = (_read(root, split, images, texts, partial, notes) for split in SIZES)
    notes += _check_disjoint(train, test)
    rest, held = _hold_out(train, validation, seed)
    if protocol == "rasiwasia":
        chosen, reported = label_tasks(held, rest, 0), label_tasks(test, train, 0)
        place = "asked of the other training items and not trained on; the test database holds them too"
    else:
        chosen, reported = label_tasks(held, held, 0), label_tasks(test, test, 0)
        place = "asked of themselves and not trained on"
    training = pairs(rest)
    about = CARD.protocol(protocol)
    notes = [
        *size_notes(training, chosen, reported),
        f"protocol {protocol}: {about.what} ({about.source})",
        f"validation: {len(held)} of the training items, drawn with seed {seed}, {place}" if held else "no validation",
        f"images are {images}, texts are {texts}",
        *notes,
    ]
    part = "" if (len(train), len(test)) == tuple(SIZES.values()) else ", partial"
    name = f"{CARD.title} ({protocol}{part})"
    return RetrievalDataset(name, training, chosen, reported, CARD.classes, tuple(notes))


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    files = {FEATURES: "the released features", **{list_name(split): "ids and classes" for split in SIZES}}
    optional = ("categories.list", "images", "texts")
    present = [name for name in (*files, *optional) if (root / name).exists()]
    missing = [f"{name}: {use}" for name, use in files.items() if name not in present]
    damaged, counts = list[str](), list[Count]()
    images, splits = dict[str, ImageSource](), dict[str, list[str]]()
    for split in SIZES:
        if list_name(split) not in present:
            continue
        try:
            check_classes(CARD, root)
            listed = read_list(CARD, root, split)
            splits[split] = [item.image for item in listed]
            counts.append(Count(f"{split} items", len(listed), SIZES[split]))
            if "texts" in present:
                absent = [item.text for item in listed if not (root / "texts" / f"{item.text}.xml").is_file()]
                missing += [f"texts/{absent[0]}.xml and {len(absent) - 1} more: texts of {split}"] if absent else []
                counts.append(Count(f"{split} texts", len(listed) - len(absent), SIZES[split]))
                if not absent:
                    _sections(root, split, listed, [])
            if FEATURES in present:
                keys = [f"{name} (features)" if "images" in present else name for name in splits[split]]
                images.update(zip(keys, read_features(CARD, root, split, "image", len(listed)), strict=True))
                damaged += _judge_features(root, split, listed)
            if "images" in present:
                images.update(zip(splits[split], _pictures(root, listed), strict=True))
        except DataError as error:
            damaged.append(str(error))
    return Survey(tuple(present), tuple(missing), tuple(dict.fromkeys(damaged)), tuple(counts), images, splits)


def _judge_features(root: Path, split: str, listed: Sequence[Listed]) -> list[str]:
    """What is wrong with the features of a split: texts that hold no numbers, and rows that are not the list's."""
    faults = []
    whats: tuple[tuple[str, Literal["texts", "image features"]], ...] = (("text", "texts"), ("image", "image features"))
    for side, what in whats:
        rows = read_features(CARD, root, split, side, len(listed))
        strange = np.flatnonzero(~np.isfinite(rows).all(1))
        if side == "text" and len(strange):
            got = f"NaN or infinity in {len(strange):,} rows, first row {strange[0]} ({listed[strange[0]].text})"
            faults.append(str(CARD.damaged(root / FEATURES, f"numbers as features of the {what} of {split}", got)))
        try:
            check_alignment(f"{CARD.title}, {split}", one_hot(CARD, listed), list(rows), what)
        except DataError as error:
            faults.append(str(error))
    return faults


def _read(root: Path, split: str, images: str, texts: str, partial: bool, notes: list[str]) -> list[Captioned]:
    """The items of a split; what must be said of them is added to the notes."""
    listed = read_list(CARD, root, split)
    if len(listed) != SIZES[split] and not partial:
        raise DataError(
            f"{CARD.title}, {root / list_name(split)}", expected=f"{SIZES[split]:,} lines", got=f"{len(listed):,}",
            remedy="It is cut short or of another version; data.partial=true takes it all the same.",
        )  # fmt: skip
    pictured: Sequence[ImageSource] = (
        _pictures(root, listed) if images == "pixels" else list(read_features(CARD, root, split, "image", len(listed)))
    )
    written: Sequence[TextSource] = (
        _sections(root, split, listed, notes)
        if texts == "sentences"
        else list(read_features(CARD, root, split, "text", len(listed)))
    )
    labels = one_hot(CARD, listed)
    check_alignment(f"{CARD.title}, {split}", labels, written)
    if images == "features":
        check_alignment(f"{CARD.title}, {split}", labels, pictured, "image features")
    first = 0 if split == "train" else SIZES["train"]
    return [
        Captioned(
            Example(image=image, key=item.image), (Example(text=text, key=f"{item.image}#0"),), first + row, label
        )
        for row, (item, image, text, label) in enumerate(zip(listed, pictured, written, labels, strict=True))
    ]


def _pictures(root: Path, listed: Sequence[Listed]) -> list[Path]:
    folder = root / "images"
    if not folder.is_dir():
        raise CARD.missing(folder, "a folder a class of pictures, for images=pixels")
    return [folder / CARD.classes[item.label] / f"{item.image}.jpg" for item in listed]


def _sections(root: Path, split: str, listed: Sequence[Listed], notes: list[str]) -> list[str]:
    folder = root / "texts"
    if not folder.is_dir():
        raise CARD.missing(folder, "XML files of the articles' texts, for texts=sentences")
    found = [read_section(CARD, folder / f"{item.text}.xml") for item in listed]
    loose = sum(cut for _, cut in found)
    if loose:
        notes.append(f"{split}: {loose} texts were cut out of XML that is not well-formed")
    return [text for text, _ in found]


def _check_disjoint(train: Sequence[Captioned], test: Sequence[Captioned]) -> list[str]:
    """Refuse an image in both lists; pictures that only look the same are told."""
    both = sorted({item.image.key for item in train} & {item.image.key for item in test})
    if both:
        raise DataError(
            CARD.title, expected="images in one of the two lists", got=f"{len(both)} in both, first {both[0]}",
            remedy="Take both lists from one copy.",
        )  # fmt: skip
    vectors = [[item.image.image for item in items] for items in (train, test)]
    known, asked = ([row.tobytes() for row in rows if isinstance(row, np.ndarray)] for rows in vectors)
    seen = set(known)
    twins = len([row for row in asked if row in seen])
    return [f"{twins} test images have exactly the features of a training image"] if twins else []


def _hold_out(items: Sequence[Captioned], count: int, seed: int) -> tuple[list[Captioned], list[Captioned]]:
    """The rest, and ``count`` items drawn from all classes in proportion; both in the order of ``items``."""
    if seed < 0:
        raise InputError("seed", expected="an integer >= 0", got=str(seed), remedy="Choose another seed.")
    if not 0 <= count <= len(items) - 2:
        raise DataError(
            f"{CARD.title}, validation", expected=f"0 ... {len(items) - 2} of the {len(items):,} training items",
            got=str(count), remedy="Hold out another number.",
        )  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(items))
    classes = np.array([int(np.argmax(item.labels)) for item in items if item.labels is not None])
    order = order[np.argsort(classes[order], kind="stable")]
    places = ((np.arange(count) + 0.5) * len(items) / max(count, 1)).astype(np.int64)
    held = set(order[places].tolist())
    return [item for row, item in enumerate(items) if row not in held], [items[row] for row in sorted(held)]
