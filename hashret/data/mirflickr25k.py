"""MIRFLICKR-25K: 25,000 photos of Flickr with their users' tags and 24 labels, as the hashing papers divide it.

Papers that write its name use two sets: 20,015 items that have a common tag and a label (DCMH and most others), or all
24,581 that have a label (DCHMT's line). Their figures do not compare; the protocol says which it is. The files come as
the official tree, as DCMH's matrices, as the CLIP family's lists or as CRCGS's folder: all are read, none is mixed with
another. Nothing is decoded here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from hashret.data.card import Card
from hashret.data.columns import Columns
from hashret.data.division import HashingProtocol
from hashret.data.hashing_files import clip_files, crcgs_files, one_file, separate_files
from hashret.data.labelled import load_labelled, read_columns, survey_labelled
from hashret.data.layouts import Layout
from hashret.data.mirflickr_tree import IMAGES, LEAST, official_tree
from hashret.data.survey import Survey
from hashret.errors import InputError
from hashret.examples import RetrievalDataset

__all__ = ["CARD", "load", "read_annotations", "survey"]

CLASSES = (
    "animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food", "indoor", "lake", "male", "night",
    "people", "plant_life", "portrait", "river", "sea", "sky", "structures", "sunset", "transport", "tree", "water",
)  # fmt: skip
ITEMS, LABELLED, TAGS = 20_015, 24_581, 1_386
ASKED = "images, or the tags of an image, are asked of the other side of the database; right: a shared label"

CARD = Card(
    name="mirflickr25k",
    title="MIRFLICKR-25K",
    what="25,000 photos of Flickr with the tags their users gave them, annotated with 24 labels.",
    licence="research; the images are under the Creative Commons licences that meta/license names",
    source="press.liacs.nl/mirflickr (mirflickr25k.zip and mirflickr25k_annotations_v080.zip); DCMH's matrices from "
    "the links in the readme of github.com/jiangqy/DCMH-CVPR2017.",
    tree="""ROOT/
  mirflickr/                          im1.jpg ... im25000.jpg, meta/tags/tags1.txt ..., doc/common_tags.txt
  mirflickr25k_annotations_v080/      animals.txt ... water.txt
or ROOT/ with DCMH's mirflickr25k-{iall,yall,lall,fall}.mat (or FLICKR-25K.mat; features: mirflickr25k-iall-vgg.mat)
or ROOT/ with the CLIP family's index.mat, caption.mat, label.mat, and the images in mirflickr/ or images/
or ROOT/ with CRCGS's feature.npy, bow.npy, label.npy, and its {train,test,val}_data_list.npy""",
    protocols=(
        HashingProtocol(
            "dcmh", ASKED, "Jiang and Li, CVPR 2017; their TensorFlow code takes the rows as they come",
            items=ITEMS, queries=2_000, train=10_000, validation=2_000, order="first",
        ),
        HashingProtocol(
            "mith", ASKED, "Liu et al., MM 2023; their code", items=ITEMS, queries=2_000, train=10_000,
            validation=2_000, seed=1,
        ),
        HashingProtocol(
            "dchmt", f"{ASKED}; every image with a label, all its tags",
            "Tu et al., MM 2022 (the defaults of their code are 5,120 queries and 10,240 training items)",
            items=LABELLED, queries=5_000, train=10_000, validation=2_000, seed=1814,
        ),
        HashingProtocol(
            "ucch", f"{ASKED}; unsupervised, all of the database but the validation queries is trained on",
            "Hu et al., TPAMI 2023; their loader of features", items=ITEMS, queries=2_000, validation=2_000,
            order="last",
        ),
        HashingProtocol(
            "crcgs", f"{ASKED}; the ranking is cut at the number of queries",
            "Zhang et al., SIGIR 2022; their lists are not public, those in the folder count",
            metrics=("map@2000:hits",), items=ITEMS, queries=2_000, train=10_000, validation=2_000,
            order="permuted, training first",
        ),
    ),
    classes=CLASSES,
)  # fmt: skip

_FOLDERS = ("mirflickr", "images", ".")
_WORDS = ("Concepts/TagList.txt", "TagList.txt", "doc/common_tags.txt", "mirflickr/doc/common_tags.txt")
_VGG = ("mirflickr25k-iall-vgg.mat", "IAll/mirflickr25k-iall-vgg.mat")
_MATRICES = (
    separate_files("mirflickr25k", CLASSES, words=_WORDS, features=_VGG, folders=_FOLDERS),
    one_file("FLICKR-25K.mat", CLASSES, words=_WORDS),
)
_CLIP = clip_files(CLASSES, _FOLDERS)
_CRCGS = crcgs_files(CLASSES, "mirflickr25k-iall.mat", words=_WORDS)


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["dcmh", "mith", "dchmt", "ucch", "crcgs"] = "dcmh",
    images: Literal["auto", "pixels", "features"] = "auto",
    features: str = "",
    texts: Literal["auto", "tags", "bag"] = "auto",
    least: int = LEAST,
    partial: bool = False,
) -> RetrievalDataset:
    """Load MIRFLICKR-25K by a protocol of the hashing papers.

    Where several forms of the files lie in the folder, that of the protocol's own authors is taken: CRCGS's for
    "crcgs", the CLIP family's for "mith" and "dchmt" (then the official tree), DCMH's matrices for the others. The
    notes of the dataset say which it was, of what kind images and texts are, and whether "dcmh" and "ucch", which ask
    the first and the last items, had to take them in another order than the authors' matrices have.

    Args:
        root: The folder; see ``CARD.tree``.
        protocol: Which items, how they are divided and what is reported: the protocols of ``CARD``.
        images: "pixels" (files, or rows of DCMH's matrix), "features", or whichever is there, pixels first.
        features: A .npy or .mat of image features, relative to the root: a row for each row of the labels, or for each
            usable item, in the order of the rows (on the official tree: of the images' numbers, 1, 2, 3, ..., under
            every protocol). Naming one makes it the images.
        texts: "tags" (a sentence), "bag" (the vector of 1,386 tags), or sentences if the files hold any.
        least: Of the official tree, for how many images a tag must occur to count.
        partial: Take a part of the set, with all numbers in proportion, instead of refusing another number of items.

    Returns:
        Items in the order of the files (DCHMT's: of the image numbers as text). The key of an image is its file name,
        or the number of its row where no file names it; an image that is named and absent is the quarantine's.

    Raises:
        DataFileError: A file is missing, cut short or of another form.
        DataError: Another number of usable items, files of different lengths, labels of images that are not there, an
            image twice, or labels that say nothing of the texts beside them.
    """
    chosen = CARD.protocol(protocol)
    assert isinstance(chosen, HashingProtocol)
    if least < 1:
        raise InputError("least", expected="at least 1 image", got=str(least), remedy="20 gives the official tags.")
    return load_labelled(
        CARD, chosen, Path(root), _layouts(protocol, least, partial), with_tags=protocol != "dchmt",
        lists=protocol == "crcgs", authors=_MATRICES, images=images, features=features, texts=texts, partial=partial,
    )  # fmt: skip


def read_annotations(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["dcmh", "mith", "dchmt", "ucch", "crcgs"] = "dcmh",
    least: int = LEAST,
) -> Columns:
    """Read tags and labels alone, of all rows, usable or not; no image needs to be there.

    Args:
        root: See :func:`load`.
        protocol: Which layout is preferred, and which tags make a sentence.
        least: See :func:`load`.

    Raises:
        DataFileError: As :func:`load`.
        DataError: As :func:`load`.
    """
    return read_columns(CARD, Path(root), _layouts(protocol, least, False))[1]


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    tree = official_tree(CLASSES, least=LEAST, all_tags=False, partial=True)
    both = (ITEMS, LABELLED)
    matrices: dict[str, tuple[int, ...]]
    matrices = {"rows": (ITEMS,), "labels": (len(CLASSES),), "tags": (TAGS,), "labelled": (ITEMS,), "usable": (ITEMS,)}
    official = {layout.name: matrices for layout in (*_MATRICES, _CRCGS)}
    official[tree.name] = {**matrices, "rows": (IMAGES,), "labelled": (LABELLED,)}
    official[_CLIP.name] = {"rows": both, "labels": (len(CLASSES),), "labelled": both}
    return survey_labelled(CARD, root, (tree, *_MATRICES, _CLIP, _CRCGS), official)


def _layouts(protocol: str, least: int, partial: bool) -> tuple[Layout, ...]:
    """All layouts, the preferred first."""
    tree = official_tree(CLASSES, least=least, all_tags=protocol == "dchmt", partial=partial)
    if protocol in ("mith", "dchmt"):
        return _CLIP, tree, *_MATRICES, _CRCGS
    return (_CRCGS, *_MATRICES, tree, _CLIP) if protocol == "crcgs" else (*_MATRICES, tree, _CLIP, _CRCGS)
