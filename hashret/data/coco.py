"""MS-COCO: everyday scenes with five captions and boxes of 80 categories, in every division that papers report on.

Recall is reported on Karpathy's splits of the images of 2014; hashing on the 122,218 images that have a box, whose
order and seed say which are asked. Official annotation files and the hashing papers' own matrices are both understood;
figures of an order that is not the authors' are marked by a note. Nothing is decoded here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.data.captioned import Captioned, caption_tasks, pairs, size_notes
from hashret.data.card import Card, Protocol
from hashret.data.coco_annotations import CLASSES, annotation_name, check_counts, read_captions, read_labels
from hashret.data.coco_hashing import ARRAYS, CELLS, Rows, open_arrays, open_cells, open_features, open_lists
from hashret.data.coco_pictures import Pictures, image_finder, parse_name
from hashret.data.coco_survey import KARPATHY, survey_of
from hashret.data.division import HashingProtocol
from hashret.data.hashing import hashing_dataset
from hashret.data.karpathy import read_for
from hashret.data.region_tree import RegionTree
from hashret.data.survey import Survey
from hashret.errors import DataError
from hashret.examples import Example, RetrievalDataset

__all__ = ["CARD", "load", "survey"]

Texts = Literal["auto", "sentences", "bag", "vectors"]
SIZES = {"train": 113_287, "val": 5_000, "test": 5_000}
FIVE = 5

CARD = Card(
    name="coco",
    title="MS-COCO",
    what="Everyday scenes with at least five captions each and boxes of 80 categories.",
    licence="annotations CC BY 4.0; the images are (c) their owners on Flickr, under Flickr's terms of use",
    source="cocodataset.org (images, annotations_trainval2014 and 2017), cs.stanford.edu/people/karpathy/"
    "deepimagesent (dataset_coco.json) or the repositories of MITH, UCCH and CRCGS (their matrices).",
    tree="""ROOT/
  dataset_coco.json                           Karpathy's: protocol karpathy
  train2014/COCO_train2014_000000000009.jpg   and val2014/, or train2017/000000000009.jpg and val2017/
  annotations/captions_train2017.json         and instances_, and val2017: protocols dchmt, mith, crcgs
  annotations/instances_train2014.json        and val2014 (optional): labels for karpathy
  features_36/bu_att/9.npz                    bottom-up regions of image id 9, and bu_box/9.npy (optional): karpathy
                                              with data.regions=features_36
  index.mat caption.mat label.mat             the CLIP hashing papers': protocols mith, dchmt, crcgs
  caption_one_hot.mat                         for texts=bag
  MSCOCO_deep_doc2vec_data_rand.h5py          protocol ucch
  feature.npy bow.npy label.npy               protocol crcgs, with train_, test_ and val_data_list.npy""",
    protocols=(
        Protocol(
            "karpathy", "images are asked of five captions of each image of a split, captions of its images; right: "
            "what belongs together. 5K is the whole test split, 1K the mean over five folds of 1,000 images in order",
            "Karpathy and Fei-Fei, CVPR 2015; trained on restval too (VSE++, BMVC 2018)",
            sizes={"training images": 113_287, "validation images": 5_000, "test images": 5_000},
            metrics=("hit@1", "hit@5", "hit@10"),
        ),
        HashingProtocol(
            "dchmt", "5,000 queries and 10,000 training items of the images with a box; right: a shared category",
            "Tu et al., ACM MM 2022 (DCHMT), its code", items=122_218, queries=5_000, train=10_000, validation=2_000,
            order="permuted", seed=1814,
        ),
        HashingProtocol(
            "mith", "as dchmt, in another order, with one fixed caption an image",
            "Liu et al., ACM MM 2023 (MITH), its code", items=122_218, queries=5_000, train=10_000, validation=2_000,
            order="permuted", seed=1,
        ),
        HashingProtocol(
            "ucch", "the last 5,000 of UCCH's file are asked of all others, which are trained on without labels",
            "Hu et al., TPAMI 2023 (UCCH), its code", items=122_218, queries=5_000, validation=2_000, order="last",
        ),
        HashingProtocol(
            "crcgs", "10,000 items are trained on, 5,000 asked, 5,000 of validation; right: a shared category",
            "Zhang et al., SIGIR 2022 (CRCGS), its code", items=122_218, queries=5_000, train=10_000,
            validation=5_000, order="permuted, training first", seed=0, metrics=("map@5000:hits",),
        ),
    ),
    classes=CLASSES,
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["karpathy", "dchmt", "mith", "ucch", "crcgs"] = "karpathy",
    captions: Literal["all", "five", "first"] = "all",
    caption: int = 0,
    texts: Texts = "auto",
    labels: bool = True,
    partial: bool = False,
    regions: str = "",
) -> RetrievalDataset:
    """Load MS-COCO.

    Protocol "karpathy": the images of a split are asked of its captions ("i2t"), its captions of the images ("t2i");
    right is what belongs together. Validation and test take the first five captions of each image, as papers do; the
    captions of an image stand beside each other in the order of the images, so that image number // 1000 is the fold
    of COCO 1K on both sides (:func:`hashret.evaluation.evaluate_folds`). The other protocols are hashing's: images, or
    one fixed text each, are asked of the other side of the database; right is what shares a category. They take the
    papers' matrices where these are in ``root``, and the official annotations of 2017 otherwise (not "ucch").

    Args:
        root: The folder; see ``CARD.tree``.
        protocol: Which division.
        captions: Which captions of an image make training pairs ("mith" has one: ``caption``).
        caption: Number of the text that stands for an item in the hashing protocols.
        texts: What a text is: a sentence, a bag of the 2,000 commonest words or Doc2Vec's vector, where the files have
            it; "auto" is a sentence where there are any.
        labels: Whether "karpathy" reads the categories too, where both instances files of a year are there.
        partial: Take another number of images than the official one, all parts in proportion.
        regions: A folder in ``root`` with bottom-up regions (see ``CARD.tree``), which are then the images of
            "karpathy"; the pictures are needed only for their sizes, where the json has none.

    Returns:
        Pairs and tasks; images are paths, files of regions or rows of a mapped matrix; keys are ``file`` and
        ``file#i``, or row numbers.

    Raises:
        DataFileError: A file or the folder of pictures is missing, damaged or of another form.
        DataError: Files that contradict each other, or another number of images; no such caption or texts.
    """
    root = Path(root)
    if protocol == "karpathy":
        _choose(texts, ("sentences",), protocol)
        return _by_captions(root, captions, labels, partial, regions)
    if regions:
        raise DataError(
            f"{CARD.title}, regions", expected="protocol karpathy, which alone reads them", got=protocol,
            remedy="Leave regions out, or set protocol=karpathy.",
        )  # fmt: skip
    notes = list[str]()
    lists = None
    if protocol == "ucch":
        _choose(texts, ("vectors",), protocol)
        rows = open_features(CARD, root)
        items = _usable(rows, notes)
    elif protocol == "crcgs" and any((root / name).exists() for name in ARRAYS):
        _choose(texts, ("bag",), protocol)
        rows = open_arrays(CARD, root)
        items = _usable(rows, notes)
        lists, dropped = open_lists(CARD, root, rows)
        notes += [f"{dropped:,} rows of the index lists have no category and are left out"] if dropped else []
    elif any((root / name).exists() for name in CELLS):
        rows = open_cells(CARD, root, _choose(texts, ("sentences", "bag"), protocol))
        items = _usable(rows, notes)
    else:
        _choose(texts, ("sentences",), protocol)
        items = _official(root, protocol, partial, notes)
    if protocol == "mith" and any(len(item.captions) > 1 for item in items):
        notes.append(f"caption {caption} of each image is its only text; the authors drew one by chance")
    items = _cut(items, protocol, captions, caption)
    described = CARD.protocol(protocol)
    assert isinstance(described, HashingProtocol)
    return hashing_dataset(CARD, described, items, CLASSES, partial=partial, lists=lists, caption=caption, notes=notes)


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    return survey_of(CARD, SIZES, root)


def _by_captions(root: Path, captions: str, labels: bool, partial: bool, regions: str) -> RetrievalDataset:
    path = next((root / name for name in KARPATHY if (root / name).is_file()), None)
    if path is None:
        raise CARD.missing(root, f"Karpathy's {KARPATHY[0]}")
    content, tree = read_for(CARD, path), RegionTree(CARD, root / regions) if regions else None
    image_of = image_finder(CARD, root, content, tree)
    splits: dict[str, list[Captioned]] = {name: [] for name in SIZES}
    of_image, year = _categories(root) if labels else ({}, None)
    unknown = []
    for number, photo in enumerate(content.photos):
        parsed = parse_name(photo.file_name)
        if parsed is None or photo.split not in splits:
            expected = f"file names of MS-COCO, in splits {', '.join(splits)} or restval"
            raise CARD.damaged(f"{path}, image {number}", expected, f"{photo.file_name!r} in {photo.split!r}")
        if year and parsed[0] not in of_image:
            unknown.append(photo.file_name)
        name = Path(photo.file_name).name
        texts = tuple(Example(text=text, key=f"{name}#{i}") for i, text in enumerate(photo.texts))
        item = Captioned(Example(image=image_of(photo), key=name), texts, number, of_image.get(parsed[0]))
        splits[photo.split].append(item)
    if unknown:
        raise DataError(
            f"{CARD.title}, the instances of {year}", expected=f"the images of {path.name}",
            got=f"{len(unknown):,} that they do not list, first {unknown[0]}",
            remedy="Take whole files, or leave them out: data.labels=false.",
        )  # fmt: skip
    sizes = {name: len(items) for name, items in splits.items()}
    if min(sizes.values()) < 2 or (sizes != SIZES and not partial):
        raise DataError(
            f"{CARD.title}, {path}", expected=", ".join(f"{size:,} {name} images" for name, size in SIZES.items()),
            got=", ".join(f"{size:,}" for size in sizes.values()),
            remedy="Use the whole json; data.partial=true takes a part of it, if every split has 2 images.",
        )  # fmt: skip
    five = {name: [replace(item, captions=item.captions[:FIVE]) for item in splits[name]] for name in ("val", "test")}
    training = pairs(_cut(splits["train"], "karpathy", captions, 0))
    chosen, reported = caption_tasks(five["val"]), caption_tasks(five["test"])
    about = CARD.protocol("karpathy")
    notes = [
        *size_notes(training, chosen, reported),
        f"protocol karpathy: {about.what} ({about.source})",
        f"{captions} captions of each image make training pairs; the first five are asked and searched",
        f"categories are those of instances {year}" if year else "no categories",
    ]
    notes += [tree.note()] if tree is not None else []
    name = f"{CARD.title} (karpathy{'' if sizes == SIZES else ', partial'})"
    return RetrievalDataset(name, training, chosen, reported, CLASSES if year else (), tuple(notes))


def _categories(root: Path) -> tuple[Mapping[int, NDArray[np.uint8]], int | None]:
    """Image id -> labels of the year whose two instances files are there, and the year; None where there is none."""
    for year in (2014, 2017):
        splits = (f"train{year}", f"val{year}")
        if all((root / annotation_name("instances", split)).exists() for split in splits):
            return {n: row for split in splits for n, row in read_labels(CARD, root, split).items()}, year
    return {}, None


def _official(root: Path, protocol: str, partial: bool, notes: list[str]) -> list[Captioned]:
    """The images of 2017 that have a box, those of train2017 first, each by ascending image id."""
    if not (root / "annotations").is_dir():
        wanted = f"{', '.join(CELLS)}, or annotations/ with the captions and instances of 2017"
        raise CARD.missing(root, f"{', '.join(ARRAYS)}, or {wanted}" if protocol == "crcgs" else wanted)
    pictures, items = Pictures(CARD, root), list[Captioned]()
    bare = silent = 0
    for split in ("train2017", "val2017"):
        found, boxes = read_captions(CARD, root, split), read_labels(CARD, root, split)
        check_counts(CARD, split, found, partial)
        strange = sorted(boxes.keys() ^ found.files.keys())
        if strange and not partial:
            raise DataError(
                f"{CARD.title}, {split}", expected="the same images in captions and instances",
                got=f"{len(strange):,} in one of them, first id {strange[0]}", remedy="Take both from one version.",
            )  # fmt: skip
        for number, name in found.files.items():
            row = boxes.get(number)
            if row is None or not row.any():
                bare += 1
            elif not found.texts[number]:
                silent += 1
            else:
                texts = tuple(Example(text=text, key=f"{name}#{i}") for i, text in enumerate(found.texts[number]))
                items.append(Captioned(Example(image=pictures.path(number, split), key=name), texts, len(items), row))
    notes.append(f"{bare:,} images without a box left out")
    notes += [f"{silent:,} images without a caption left out"] if silent else []
    if protocol != "dchmt":
        notes.append("in the order of the official files (train2017, then val2017, by id), not in that of the authors")
    return items


def _usable(rows: Rows, notes: list[str]) -> list[Captioned]:
    items = rows.items()
    if len(items) < len(rows.labels):
        notes.append(f"{len(rows.labels) - len(items):,} rows without a category left out")
    return items


def _cut(items: Sequence[Captioned], protocol: str, captions: str, caption: int) -> list[Captioned]:
    """The captions that are taken of each item."""
    count = {"all": None, "five": FIVE, "first": 1}[captions]
    fewest = min((len(item.captions[: None if protocol == "mith" else count]) for item in items), default=1)
    if not 0 <= caption < fewest:
        raise DataError(
            f"{CARD.title}, caption", expected=f"0 ... {fewest - 1}, which every image has", got=str(caption),
            remedy="Choose a caption that every image has.",
        )  # fmt: skip
    part = slice(caption, caption + 1) if protocol == "mith" else slice(count)
    return [replace(item, captions=item.captions[part]) for item in items]


def _choose(texts: Texts, offered: Sequence[Texts], protocol: str) -> Texts:
    """What a text is; the first that the files offer for "auto"."""
    if texts == "auto":
        return offered[0]
    if texts not in offered:
        raise DataError(
            f"{CARD.title}, texts", expected=f"auto or {' or '.join(offered)}, which its files for {protocol} hold",
            got=texts, remedy="Choose one of these, or add the files that hold it.",
        )  # fmt: skip
    return texts
