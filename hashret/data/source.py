"""open_source: what ``hashret encode`` and ``hashret search`` are pointed at, as examples with keys.

A dataset has splits and ground truth; most people only have a folder of photos, a file of sentences or a matrix of
features. This file recognises them by what is there, keeps their order, and names every item so that hits can be shown.
It decodes nothing, and refuses a path of which it would have to guess what it holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from hashret.data import flickr, karpathy
from hashret.data.metadata import Row, find_metadata, has_metadata, merge, read_rows
from hashret.errors import FileError, FormatError
from hashret.examples import Example

__all__ = ["Source", "open_source"]

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".jfif", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"]
)
_MATRICES = (".npy", ".npz", ".safetensors")
_UNDERSTOOD = {
    "image": "a folder of images, an imagefolder (images and metadata.jsonl, .csv or .parquet), Karpathy's json or its "
    "folder, a .jsonl with file_name, an image file, or features (N, D) as .npy, .npz or .safetensors",
    "text": "an imagefolder (images and metadata.jsonl, .csv or .parquet), Karpathy's json or its folder, "
    "a .jsonl with text or texts, a .txt with one text a line, or features (N, D) as .npy, .npz or .safetensors",
}


@dataclass(frozen=True, eq=False)
class Source:
    """Examples in a fixed order, made when they are asked for; iterate as often as you like.

    Attributes:
        name: Where they come from.
        side: "image" or "text".
        items: Paths, texts, or a feature matrix (N, D) that may be memory-mapped.
        keys: The name of each item; None where items are only numbered.
    """

    name: str
    side: Literal["image", "text"]
    items: Sequence[str] | Sequence[Path] | NDArray[Any]
    keys: Sequence[str] | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.items)

    def __getitem__(self, row: int) -> Example:
        """The example of that number; its key is ``keys[row]``, or the number itself."""
        item: Any = self.items[row]
        if isinstance(item, np.ndarray):
            item = np.array(item, item.dtype if item.dtype.kind == "f" else np.float32)
        key = str(range(len(self))[row]) if self.keys is None else self.keys[row]
        return Example(image=item, key=key) if self.side == "image" else Example(text=item, key=key)

    def __iter__(self) -> Iterator[Example]:
        """All examples in order."""
        return (self[row] for row in range(len(self)))


def open_source(path: str | os.PathLike[str], side: Literal["image", "text"]) -> Source:
    r"""Open whatever holds images or texts.

    Keys: an image's is its path relative to the folder; text i of an image is ``file#i``; the lines of a .txt, or of a
    .jsonl without file names, are numbered from 1 (``line#i`` for several texts); the rows of a feature matrix are
    numbered from 0. Images of a plain folder are sorted by relative path, others come in the order of their file.

    Args:
        path: A file or folder; see the error for what is understood.
        side: Whether its images or its texts are wanted.

    Returns:
        At least one example; images are paths and not opened.

    Raises:
        FileError: Nothing is there, or nothing that is understood for this side.
        FormatError: The file is damaged or of another form.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "queries.txt")
        >>> _ = path.write_text("a dog\na red car\n")
        >>> [(example.key, example.text) for example in open_source(path, "text")]
        [('1', 'a dog'), ('2', 'a red car')]
    """
    path = Path(path)
    found: Source | None = None
    if path.is_dir():
        found = _open_folder(path, side)
    elif path.is_file():
        found = _open_file(path, side)
    if found is not None and len(found):
        return found
    got = "no such file or folder" if not path.exists() else "none of these" if found is None else "an empty one"
    raise FileError(f"{path} as {side}s", expected=_UNDERSTOOD[side], got=got, remedy="Point at one of them.")


def _open_folder(path: Path, side: Literal["image", "text"]) -> Source | None:
    if has_metadata(path):
        rows = merge(path, [(table, row) for table in find_metadata(path) for row in read_rows(table)])
        return _from_rows(path, path, rows, side)
    if any((path / name).is_file() for name in flickr.ANNOTATIONS):
        return _from_karpathy(flickr.find_annotations(path), side)
    if side == "image":
        names = sorted(_images_below(path))
        return Source(str(path), side, [path / name for name in names], names)
    return None


def _open_file(path: Path, side: Literal["image", "text"]) -> Source | None:
    suffix = path.suffix.lower()
    if suffix in _MATRICES:
        return Source(str(path), side, _matrix(path))
    if suffix == ".json":
        return _from_karpathy(path, side)
    if suffix == ".jsonl":
        rows = read_rows(path)
        if side == "image" or any(row.file_name for row in rows):
            return _from_rows(path, path.parent, merge(path.parent, [(path, row) for row in rows]), side)
        keys = []
        for line, row in enumerate(rows, 1):
            keys += [str(line)] if len(row.texts) == 1 else [f"{line}#{i}" for i in range(len(row.texts))]
        return Source(str(path), side, [text for row in rows for text in row.texts], keys)
    if suffix == ".txt" and side == "text":
        lines = _lines(path)
        return Source(str(path), side, lines, [str(number) for number in range(1, len(lines) + 1)])
    if suffix in IMAGE_SUFFIXES and side == "image":
        return Source(str(path), side, [path], [path.name])
    return None


def _from_rows(path: Path, root: Path, rows: Sequence[Row], side: Literal["image", "text"]) -> Source:
    if side == "image":
        return Source(str(path), side, [root / row.file_name for row in rows], [row.file_name for row in rows])
    keys = [f"{row.file_name}#{number}" for row in rows for number in range(len(row.texts))]
    return Source(str(path), side, [text for row in rows for text in row.texts], keys)


def _from_karpathy(path: Path, side: Literal["image", "text"]) -> Source:
    rows = [Row(photo.file_name, photo.texts) for photo in karpathy.read(path).photos]
    return _from_rows(path, flickr.find_images(path.parent) if side == "image" else path.parent, rows, side)


def _images_below(root: Path) -> Iterator[str]:
    """Relative paths of all images below a folder, linked folders included, hidden ones left out."""
    seen = set()
    for folder, below, files in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        below[:] = [name for name in below if not name.startswith(".") and place not in seen]
        if place in seen:  # a link back to where the walk has been
            continue
        seen.add(place)
        for name in files:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; an empty line is an empty text, so that numbers stay those of an editor."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(
            str(path), expected="a text file in UTF-8", got=f"other bytes at {error.start}",
            remedy="Save it as UTF-8.",
        ) from error  # fmt: skip
    return lines[:-1] if not lines[-1] else lines


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
