"""open_source: what ``hashret encode`` and ``hashret search`` are pointed at, as entries with keys.

A dataset has splits and ground truth; most people only have a folder of photos, a table, tars, a file of sentences or a
matrix of features. This file recognises them by what is there; the files beside it walk through them, keep their order,
and name every item so that hits can be shown. Nothing is decoded, and a path of which one would have to guess what it
holds is refused.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from hashret.data import flickr, karpathy
from hashret.data.entry import Entry, Listed, Side, Source, digest_of_files, vector
from hashret.data.hub import Hub
from hashret.data.imagetree import IMAGE_SUFFIXES, ImageTree
from hashret.data.metadata import find_metadata, has_metadata
from hashret.data.table import Table
from hashret.data.tablerows import TABLES
from hashret.data.tar import Tars
from hashret.errors import FileError, FormatError

__all__ = ["Source", "expand", "open_source"]

_MATRICES = (".npy", ".npz", ".safetensors")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_COMMON = (
    "an imagefolder (images and metadata.jsonl, .csv or .parquet), Karpathy's json or its folder, a .jsonl, .json, "
    ".csv or .parquet table, webdataset tars ({0000..0099}.tar), a dataset of the Hugging Face hub (owner/name)"
)
_FEATURES = "or features (N, D) as .npy, .npz or .safetensors"
_UNDERSTOOD: dict[Side, str] = {
    "image": f"a folder of images, {_COMMON}, an image file, {_FEATURES}",
    "text": f"{_COMMON}, a .txt with one text a line, {_FEATURES}",
    "query": f"images with texts: {_COMMON}",
}
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def open_source(
    path: str | os.PathLike[str],
    side: Side,
    *,
    split: str | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
) -> Source:
    r"""Open whatever holds images, texts or both.

    Keys: an image's is its path relative to the folder; text i of an image is ``file#i``; the lines of a .txt, and the
    rows of a table without file names, are numbered from 1 (``line#i`` for several texts); the rows of a feature matrix
    are numbered from 0; samples of tars have their names. Images of a plain folder are sorted by relative path, others
    come in the order of their file.

    Args:
        path: A file, a folder, files by ``{000..099}`` and ``*``, or a name on the hub; see the error for what is
            understood.
        side: Whether its images, its texts or both together are wanted.
        split: Which split, of a dataset of the hub's form.
        image_column: Where the images of a table or such a dataset are, if its name does not tell.
        text_column: The same of its texts.

    Returns:
        At least one entry; images are not opened.

    Raises:
        FileError: Nothing is there, or nothing that is understood for this side.
        FormatError: The file is damaged or of another form.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "queries.txt")
        >>> _ = path.write_text("a dog\na red car\n")
        >>> [(entry.key, entry.text) for entry in open_source(path, "text")]
        [('1', 'a dog'), ('2', 'a red car')]
    """
    columns = (image_column, text_column)
    name = os.fspath(path)
    files = [Path(each) for each in expand(name)]
    found: Source | None = None
    try:
        if len(files) == 1 and files[0].is_dir():
            found = _open_folder(files[0], side, split, columns)
        elif len(files) == 1 and files[0].is_file():
            found = _open_file(files[0], side, columns)
        elif len(files) > 1 and all(each.is_file() for each in files):
            found = _open_files(name, files, side, columns)
        elif _HUB_NAME.fullmatch(name) and not Path(name).suffix and not Path(name).parent.is_dir():
            found = Hub(name, side, split=split, image_column=image_column, text_column=text_column)
    except OSError as error:
        raise FileError(
            name, expected="a source that can be read", got=error.strerror or str(error), remedy="Check the path."
        ) from error
    if found is not None and next(iter(found), None) is not None:
        return found
    missing = [str(each) for each in files if not each.exists()]
    got = "none of these" if found is None else "an empty one"
    if missing or not files:
        got = "no such file or folder" if len(files) < 2 else f"no {missing[0]}"
    raise FileError(f"{name} as {_plural(side)}", expected=_UNDERSTOOD[side], got=got, remedy="Point at one of them.")


def expand(pattern: str) -> list[str]:
    """The paths that ``{000..099}``, ``{a,b}`` and ``*`` stand for; the path itself where it has none or is there.

    Numbers keep the zeros they are written with. What braces give need not exist; what ``*`` gives does.

    Example:
        >>> expand("part-{08..10}.tar")
        ['part-08.tar', 'part-09.tar', 'part-10.tar']
    """
    if os.path.exists(pattern):
        return [pattern]
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    choices = [_choices(piece) if number % 2 else [piece] for number, piece in enumerate(pieces)]
    found = ["".join(parts) for parts in itertools.product(*choices)]
    if any(letter in pattern for letter in "*?["):
        found = [
            path for each in found for path in (sorted(glob.glob(each)) or ([each] if os.path.exists(each) else []))
        ]
    return found


def _choices(inside: str) -> list[str]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if span is None:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(span[1]), int(span[2])
    return [str(number).zfill(len(span[1])) for number in range(first, last + 1)]


def _plural(side: Side) -> str:
    return {"image": "images", "text": "texts", "query": "queries"}[side]


Columns = tuple[str | None, str | None]


def _table(name: str, side: Side, files: Sequence[Path], root: Path, columns: Columns) -> Table:
    return Table(name, side, files, root, image_column=columns[0], text_column=columns[1])


def _open_folder(path: Path, side: Side, split: str | None, columns: Columns) -> Source | None:
    if has_metadata(path):
        return _table(str(path), side, find_metadata(path), path, columns)
    if any((path / name).is_file() for name in flickr.ANNOTATIONS):
        return _from_karpathy(flickr.find_annotations(path), side)
    if side == "image" and next(iter(ImageTree(path)), None) is not None:
        return ImageTree(path)
    tars = sorted(each for each in path.glob("*") if each.name.endswith(_TARS))
    if tars:
        return Tars(str(path), side, tars)
    if any(each.suffix.lower() in (".parquet", ".csv", ".jsonl", ".json") for each in path.rglob("*")):
        return Hub(str(path), side, split=split, image_column=columns[0], text_column=columns[1])
    return None


def _open_files(name: str, files: Sequence[Path], side: Side, columns: Columns) -> Source | None:
    """Several files of one kind, in the order given."""
    if all(each.name.endswith(_TARS) for each in files):
        return Tars(name, side, files)
    if all(each.suffix.lower() in TABLES for each in files):
        root = Path(os.path.commonpath([each.parent.absolute() for each in files]))
        return _table(name, side, [each.absolute() for each in files], root, columns)
    return None


def _open_file(path: Path, side: Side, columns: Columns) -> Source | None:
    suffix = path.suffix.lower()
    if suffix in _MATRICES and side != "query":
        matrix = _matrix(path)

        def entry(row: int) -> Entry:
            values = vector(matrix[row])
            return Entry(str(row), image=values) if side == "image" else Entry(str(row), text=values)

        return Listed(str(path), side, len(matrix), entry, digest_of_files([path], side))
    if suffix == ".json" and _is_karpathy(path):
        return _from_karpathy(path, side)
    if path.name.endswith(_TARS):
        return Tars(str(path), side, [path])
    if suffix == ".txt" and side != "text":
        return None
    if suffix in TABLES:
        return _table(str(path), side, [path], path.parent, columns)
    if suffix in IMAGE_SUFFIXES and side == "image":
        only = Entry(path.name, str(path), path=str(path))
        return Listed(str(path), side, 1, lambda row: only, digest_of_files([path]))
    return None


def _is_karpathy(path: Path) -> bool:
    """Whether a .json is one object, not an array of rows or a row a line."""
    with path.open("rb") as file:
        lines = [line for line in itertools.islice(file, 2) if line.strip()]
    start = b"".join(lines).lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"{") and not (len(lines) > 1 and lines[0].rstrip().endswith(b"}"))


def _from_karpathy(path: Path, side: Side) -> Source:
    photos = karpathy.read(path).photos
    folder = path.parent if side == "text" else flickr.find_images(path.parent)
    places = [(row, number) for row, photo in enumerate(photos) for number in range(len(photo.texts))]

    def image(row: int) -> Entry:
        photo = photos[row]
        place = os.path.join(folder, photo.file_name)
        return Entry(photo.file_name, place, path=place, caption=photo.texts[0] if photo.texts else "")

    def text(place: int) -> Entry:
        row, number = places[place]
        photo = photos[row]
        shown = os.path.join(folder, photo.file_name) if side == "query" else ""
        sentence = photo.texts[number]
        return Entry(f"{photo.file_name}#{number}", shown or None, sentence, shown, sentence)

    digest = digest_of_files([path], side)
    if side == "image":
        return Listed(str(path), side, len(photos), image, digest)
    return Listed(str(path), side, len(places), text, digest)


def _matrix(path: Path) -> NDArray[Any]:
    """The only matrix of a file; a .npy is memory-mapped."""
    try:
        if path.suffix.lower() == ".npy":
            arrays: dict[str, NDArray[Any]] = {"": np.load(path, mmap_mode="r", allow_pickle=False)}
        elif path.suffix.lower() == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = dict(file)
        else:
            arrays = load_file(path)
    except Exception as error:  # NumPy, zipfile and safetensors each raise their own
        raise FormatError(
            str(path), expected=f"a {path.suffix} file of numbers", got=str(error).split("\n")[0],
            remedy="It is damaged or of another kind: write it again, e.g. with np.save.",
        ) from error  # fmt: skip
    shapes = [f"{name} {array.dtype} {array.shape}".strip() for name, array in arrays.items()]
    for array in arrays.values():
        if len(arrays) == 1 and array.ndim == 2 and array.dtype.kind in "fiu" and array.size:
            return array
    raise FormatError(
        str(path), expected="one array of numbers (items, features)", got=", ".join(shapes) or "none",
        remedy="Write one row an item, one file a matrix.",
    )  # fmt: skip
