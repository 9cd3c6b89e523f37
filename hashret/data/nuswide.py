"""NUS-WIDE: 269,648 photos of Flickr with their users' tags and 81 labels, of which hashing papers use 21 or 10.

The items depend on the labels and on whether one of the 1,000 commonest tags is asked for: 195,834 with one of 21
labels, 190,421 of them with a tag, 186,577 with one of 10. Figures on one say nothing of another. The files come as the
official tree, as DCMH's matrices, as the CLIP family's lists or as CRCGS's folder. Nothing is decoded here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from hashret.data.card import Card
from hashret.data.columns import Columns
from hashret.data.division import HashingProtocol
from hashret.data.hashing_files import clip_files, crcgs_files, separate_files
from hashret.data.labelled import load_labelled, read_columns, survey_labelled
from hashret.data.layouts import Layout
from hashret.data.nuswide_tree import WORDS, official_tree
from hashret.data.survey import Survey
from hashret.errors import DataError
from hashret.examples import RetrievalDataset

__all__ = ["CARD", "load", "read_annotations", "survey"]

TC21 = (
    "animal", "beach", "buildings", "clouds", "flowers", "grass", "lake", "mountain", "ocean", "person", "plants",
    "reflection", "road", "rocks", "sky", "snow", "sunset", "tree", "vehicle", "water", "window",
)  # fmt: skip
TC10 = ("animal", "buildings", "clouds", "grass", "lake", "person", "plants", "sky", "water", "window")
IMAGES, ITEMS_21, TAGGED_21, ITEMS_10, TAGS = 269_648, 195_834, 190_421, 186_577, 1_000
ASKED = "images, or the tags of an image, are asked of the other side of the database; right: a shared label"

CARD = Card(
    name="nuswide",
    title="NUS-WIDE",
    what="269,648 photos of Flickr with the tags their users gave them, annotated with 81 labels; 21 or 10 are used.",
    licence="research; the images are (c) their owners on Flickr and are not given out with the annotations",
    source="lms.comp.nus.edu.sg (ImageList, Groundtruth, NUS_WID_Tags, image addresses); DCMH's matrices from the "
    "links in the readme of github.com/jiangqy/DCMH-CVPR2017.",
    tree="""ROOT/
  ImageList/Imagelist.txt
  NUS_WID_Tags/                       All_Tags.txt, AllTags1k.txt, TagList1k.txt
  Groundtruth/AllLabels/              Labels_animal.txt ... Labels_window.txt
  Flickr/                             actor/0001_2124494179.jpg ... (or all of them in images/)
or ROOT/ with DCMH's nus-wide-tc21-{iall,yall,lall,fall}.mat, or nus-wide-tc10-*.mat (features: *-xall-vgg.mat)
or ROOT/ with the CLIP family's index.mat, caption.mat or caption.txt, label.mat, and the images in images/ or Flickr/
or ROOT/ with CRCGS's feature.npy, bow.npy, label.npy, legal_data_list.npy and its {train,test,val}_data_list.npy""",
    protocols=(
        HashingProtocol(
            "dcmh", f"{ASKED}; 21 labels",
            "Jiang and Li, CVPR 2017 (2,100 and 10,500 from memory; drawn anew, their draw is not public)",
            items=ITEMS_21, queries=2_100, train=10_500, validation=2_000,
        ),
        HashingProtocol(
            "mith", f"{ASKED}; 21 labels, items with one of 1,000 tags", "Liu et al., MM 2023; their code",
            items=TAGGED_21, queries=2_100, train=10_500, validation=2_000, seed=1,
        ),
        HashingProtocol(
            "dchmt", f"{ASKED}; 21 labels, all tags",
            "Tu et al., MM 2022 (the defaults of their code are 5,120 queries and 10,240 training items)",
            items=ITEMS_21, queries=5_000, train=10_000, validation=2_000, seed=1814,
        ),
        HashingProtocol(
            "ucch", f"{ASKED}; 10 labels; unsupervised, all of the database but the validation queries is trained on",
            "Hu et al., TPAMI 2023; their loader of features (the paper prints 186,557 items)",
            items=ITEMS_10, queries=2_100, validation=2_000, order="last",
        ),
        HashingProtocol(
            "crcgs", f"{ASKED}; 21 labels, items with one of 1,000 tags; the ranking is cut at the number of queries",
            "Zhang et al., SIGIR 2022; their lists are not public, those in the folder count",
            metrics=("map@2100:hits",), items=TAGGED_21, queries=2_100, train=10_500, validation=2_100,
            order="class by class",
        ),
    ),
    classes=TC21,
)  # fmt: skip

_FOLDERS = ("images", "Flickr", ".")


def _matrices(name: str, classes: tuple[str, ...]) -> Layout:
    features = (f"nus-wide-{name}-xall-vgg.mat", f"{name}-xall-vgg.mat")
    return separate_files(f"nus-wide-{name}", classes, words=WORDS, features=features, folders=_FOLDERS)


_MATRICES_21, _MATRICES_10 = _matrices("tc21", TC21), _matrices("tc10", TC10)
_CLIP = clip_files(TC21, _FOLDERS)
_CRCGS = crcgs_files(TC21, "nus-wide-tc21-iall.mat", words=WORDS)


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["dcmh", "mith", "dchmt", "ucch", "crcgs"] = "dcmh",
    images: Literal["auto", "pixels", "features"] = "auto",
    features: str = "",
    texts: Literal["auto", "tags", "bag"] = "auto",
    partial: bool = False,
) -> RetrievalDataset:
    """Load NUS-WIDE by a protocol of the hashing papers.

    Where several forms of the files lie in the folder, that of the protocol's own authors is taken: CRCGS's for
    "crcgs", the CLIP family's for "mith" and "dchmt" (then the official tree), DCMH's matrices for the others. The
    notes of the dataset say which it was, and of what kind images and texts are. "ucch" asks the last rows of the
    authors' matrices of 10 labels and takes no other form: the official list goes folder by folder, and its last rows
    are of one topic.

    Args:
        root: The folder; see ``CARD.tree``.
        protocol: Which labels and items, how they are divided and what is reported: the protocols of ``CARD``.
        images: "pixels" (files, or rows of DCMH's matrix), "features", or whichever is there, pixels first.
        features: A .npy or .mat of image features, relative to the root: a row for each row of the labels, or for each
            usable item. Naming one makes it the images.
        texts: "tags" (a sentence), "bag" (the vector of 1,000 tags), or sentences if the files hold any.
        partial: Take a part of the set, with all numbers in proportion, instead of refusing another number of items.

    Returns:
        Items in the order of the files, labels alphabetically (in DCMH's matrices they are taken to be so). The key of
        an image is its file name below the folder of images, or the number of its row where no file names it; an image
        that is named and absent is the quarantine's.

    Raises:
        DataFileError: A file is missing, cut short or of another form.
        DataError: Another number of usable items, files of different lengths or orders, an image twice, labels that
            say nothing of the texts or features beside them, or the official tree for "ucch".
    """
    chosen = CARD.protocol(protocol)
    assert isinstance(chosen, HashingProtocol)
    layouts = _layouts(protocol)
    if protocol == "ucch":
        layouts = _authors_alone(Path(root), layouts)
    return load_labelled(
        CARD, chosen, Path(root), layouts, authors=(_MATRICES_10,), with_tags=protocol in ("mith", "crcgs"),
        lists=protocol == "crcgs", images=images, features=features, texts=texts, partial=partial,
    )  # fmt: skip


def read_annotations(
    root: str | os.PathLike[str], *, protocol: Literal["dcmh", "mith", "dchmt", "ucch", "crcgs"] = "dcmh"
) -> Columns:
    """Read tags and labels alone, of all rows, usable or not; no image needs to be there.

    Args:
        root: See :func:`load`.
        protocol: Which labels, which layout is preferred, and which tags make a sentence.

    Raises:
        DataFileError: As :func:`load`.
        DataError: As :func:`load`.
    """
    return read_columns(CARD, Path(root), _layouts(protocol))[1]


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    tree = official_tree(TC21, all_tags=False)
    both, some = (ITEMS_21, TAGGED_21), (ITEMS_10,)
    numbers: dict[str, tuple[int, ...]]
    numbers = {"rows": (ITEMS_21,), "labels": (len(TC21),), "tags": (TAGS,), "labelled": (ITEMS_21,)}
    official = {layout.name: {**numbers, "usable": (TAGGED_21,)} for layout in (_MATRICES_21, _CRCGS)}
    official[tree.name] = {**numbers, "rows": (IMAGES,), "usable": (TAGGED_21,)}
    official[_MATRICES_10.name] = {"rows": some, "labels": (len(TC10),), "tags": (TAGS,), "labelled": some}
    official[_CLIP.name] = {"rows": both, "labels": (len(TC21),), "labelled": both}
    return survey_labelled(CARD, root, (tree, _MATRICES_21, _MATRICES_10, _CLIP, _CRCGS), official)


def _authors_alone(root: Path, layouts: tuple[Layout, ...]) -> tuple[Layout, ...]:
    """The authors' own of the layouts of "ucch"; the official tree in its place is refused."""
    own, *others = layouts
    if own.missing(root) and any(not layout.missing(root) for layout in others):
        raise DataError(
            f"{CARD.title}, {root}, protocol ucch", expected=f"the authors' {own.name}, whose last rows are asked",
            got="the official tree, whose list goes folder by folder: its last items are of one topic",
            remedy=f"Get {', '.join(need.places[0] for need in own.needed)}, or choose another protocol.",
        )  # fmt: skip
    return (own,)


def _layouts(protocol: str) -> tuple[Layout, ...]:
    """The layouts that serve a protocol, the preferred first."""
    if protocol == "ucch":
        return _MATRICES_10, official_tree(TC10, all_tags=False, commonest=len(TC10))
    tree = official_tree(TC21, all_tags=protocol == "dchmt")
    if protocol in ("mith", "dchmt"):
        return _CLIP, tree, _MATRICES_21, _CRCGS
    return (_CRCGS, _MATRICES_21, tree, _CLIP) if protocol == "crcgs" else (_MATRICES_21, tree, _CLIP, _CRCGS)
