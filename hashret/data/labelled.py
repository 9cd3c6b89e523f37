"""load_labelled and survey_labelled: what MIRFLICKR-25K and NUS-WIDE share once their layouts are named.

Columns, images and texts of the usable rows become items, and a hashing protocol divides them. Which layouts a dataset
has, in which order they are preferred and what a usable row is are the dataset's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from hashret.data.captioned import Captioned
from hashret.data.card import Card
from hashret.data.columns import Columns, Rows
from hashret.data.division import HashingProtocol
from hashret.data.hashing import hashing_dataset
from hashret.data.imagerows import NamedImages
from hashret.data.layouts import Images, Layout, choose_layout, find_images
from hashret.data.survey import Count, Survey
from hashret.errors import DataError, DataFileError, FileError
from hashret.examples import Example, RetrievalDataset

__all__ = ["Texts", "load_labelled", "read_columns", "survey_labelled"]

Texts = Literal["auto", "tags", "bag"]


def read_columns(card: Card, root: Path, layouts: Sequence[Layout]) -> tuple[Layout, Columns]:
    """Read everything but images from the first layout that is whole.

    Raises:
        DataFileError: None is whole, or a file is damaged; says where to get it.
        DataError: Files contradict each other.
    """
    with _its_source(card):
        layout = choose_layout(card, root, layouts)
        return layout, layout.read(root)


def load_labelled(
    card: Card,
    protocol: HashingProtocol,
    root: Path,
    layouts: Sequence[Layout],
    *,
    with_tags: bool,
    lists: bool,
    authors: Sequence[Layout] = (),
    images: Images,
    features: str,
    texts: Texts,
    partial: bool,
) -> RetrievalDataset:
    """Load a labelled set by a hashing protocol.

    Args:
        card: The dataset's.
        protocol: One of its protocols.
        root: Where the files lie.
        layouts: Its layouts, the preferred first.
        with_tags: Whether a usable row has a tag besides a label.
        lists: Whether the authors' lists of rows are read and count if they are there.
        authors: The layouts whose rows are in the order of the authors' files.
        images: See :func:`~hashret.data.layouts.find_images`.
        features: See there.
        texts: See :meth:`~hashret.data.columns.Columns.texts`.
        partial: See :func:`~hashret.data.division.divide`.

    Raises:
        DataFileError: Files are missing or damaged.
        DataError: Files contradict each other, or there is another number of usable rows than the protocol's.
    """
    layout, columns = read_columns(card, root, layouts)
    with _its_source(card):
        if lists and layout.lists is not None:
            columns = layout.lists(root, columns)
        rows = columns.usable(with_tags, chosen=lists)
        pictures = find_images(card, layout, root, columns, rows, images, features)
        said, read = columns.texts(rows, texts)
        items = [
            Captioned(
                Example(image=pictures.images[place], key=columns.names[row]),
                (Example(text=said[place], key=f"{columns.names[row]}#0"),),
                int(row),
                columns.labels[row],
            )
            for place, row in enumerate(rows)
        ]
    usable = f"{len(rows):,} of {len(columns.names):,} rows are usable"
    others = ("items are not in the order of the authors' files, which says which are asked",)
    ordered = protocol.order not in ("first", "last") or layout in authors
    return hashing_dataset(
        card, protocol, items, columns.classes, partial=partial, lists=_lists(columns, rows) if lists else None,
        notes=(f"files: {layout.name}; {usable}", pictures.what, read, *(() if ordered else others), *columns.notes),
    )  # fmt: skip


def survey_labelled(
    card: Card, root: Path, layouts: Sequence[Layout], official: Mapping[str, Mapping[str, Sequence[int]]]
) -> Survey:
    """Say what lies under a root; never raises for what it looks for.

    Args:
        card: The dataset's.
        root: The folder.
        layouts: Its layouts; the first that is whole is looked at, or the one of which most is there.
        official: Layout's name -> official numbers of "rows", "labels", "tags", "labelled", "usable"; of several, as
            two papers' lists have, that counts which is nearest.
    """
    whole = [layout for layout in layouts if not layout.missing(root)]
    layout = whole[0] if whole else max(layouts, key=lambda each: len(each.present(root)) / len(each.needed))
    present = [path.relative_to(root).as_posix() for path in layout.present(root)]
    missing = [f"{each.places[0]}: {each.what}" for each in layout.missing(root)]
    if missing:
        others = "; ".join(each.name for each in layouts if each is not layout)
        missing += [] if present else [f"or its files in another form: {others}"]
        return Survey(tuple(present), tuple(missing))
    try:
        with _its_source(card):
            columns = layout.read(root)
    except (DataError, FileError) as error:
        return Survey(tuple(present), damaged=(str(error),))
    counts = _counts(columns, official.get(layout.name, {}))
    rows = columns.usable(with_tags=False, chosen=False)
    splits, damaged = _surveyed_lists(card, root, layout, columns)
    try:
        found = find_images(card, layout, root, columns, rows, "auto", "")
        if len(rows):
            _ = found.images[0]  # a matrix of pixels is opened here, not by the threads that decode
    except (DataError, FileError) as error:
        lacking = isinstance(error, DataFileError) and error.got == "nothing"
        say = (f"images: {layout.images()}",) if lacking else ()
        return Survey(tuple(present), say, damaged if lacking else (*damaged, str(error)), counts, splits=splits)
    if found.path.is_dir():
        there = sum(path.is_file() for path in map(Path, map(str, found.images)))
        counts += (Count("images of rows with a label", there, len(rows)),)
    present.append(found.path.relative_to(root).as_posix())
    pictures = NamedImages([columns.names[int(row)] for row in rows], found.images)
    return Survey(tuple(dict.fromkeys(present)), (), damaged, counts, pictures, splits)


def _surveyed_lists(
    card: Card, root: Path, layout: Layout, columns: Columns
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Names of the images in the authors' lists, and what is wrong with these."""
    try:
        with _its_source(card):
            listed = None if layout.lists is None else layout.lists(root, columns).lists
    except (DataError, FileError) as error:
        return {}, (str(error),)
    return {part: [columns.names[int(row)] for row in rows] for part, rows in (listed or {}).items()}, ()


def _counts(columns: Columns, official: Mapping[str, Sequence[int]]) -> tuple[Count, ...]:
    labelled, tagged = columns.labelled, columns.tagged
    found = {"rows": len(columns.names), "labels": len(columns.classes)}
    if columns.bags is not None:
        found["tags"] = columns.bags.shape[1]
    found |= {"labelled": int(labelled.sum()), "usable": int((labelled & tagged).sum())}
    names = {"labelled": "rows with a label", "usable": "rows with a label and a tag"}
    counts = []
    for what, number in found.items():
        nearest = min(official.get(what, ()), key=lambda one: abs(one - number), default=None)
        counts.append(Count(names.get(what, what), number, nearest))
    return tuple(counts)


def _lists(columns: Columns, rows: Rows) -> dict[str, Rows] | None:
    """The authors' lists as places among the usable rows."""
    if columns.lists is None:
        return None
    places = {int(row): place for place, row in enumerate(rows)}
    unusable = sorted({int(row) for part in columns.lists.values() for row in part} - set(places))
    if unusable:
        raise DataError(
            "index lists", expected="rows that are usable",
            got=f"{len(unusable):,} others, such as {', '.join(map(str, unusable[:3]))}",
            remedy="They belong to other labels: take the files that were made together.",
        )  # fmt: skip
    return {part: np.array([places[int(row)] for row in listed], np.int64) for part, listed in columns.lists.items()}


@contextmanager
def _its_source(card: Card) -> Iterator[None]:
    """Let the error of a missing or damaged file say where the dataset comes from."""
    try:
        yield
    except DataFileError as error:
        if card.source in error.remedy:
            raise
        raise card.damaged(error.what, error.expected, error.got) from error
    except OSError as error:
        raise card.damaged(str(error.filename), "a file that can be read", error.strerror or str(error)) from error
