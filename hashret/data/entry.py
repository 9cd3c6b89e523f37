"""Entry and Source: items on their way to be encoded, one after the other, none of them opened yet.

A dataset has splits and ground truth and is held whole; what people encode may be larger than memory, and some of it is
broken. So a source is walked, not held: each entry says where its picture lies, and what could not even be read is an
entry too, with the reason. Positions are counted over all of them, which makes a position the name of an item for good.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashret.errors import ImageError
from hashret.examples import Example
from hashret.regions import RegionFiles

__all__ = ["Entry", "Examples", "Listed", "Member", "Side", "Source", "Wanted", "digest_of_files"]

Side = Literal["image", "text", "query"]
Wanted = Callable[[int, int], bool]
Scalar = str | int | float | bool | None

_ENDS = 1 << 16  # bytes of either end of a file that its digest looks at


@dataclass(frozen=True)
class Member:
    """Bytes within a file, such as a picture in a tar; read when they are needed.

    Attributes:
        path: The file.
        offset: Where they begin.
        size: How many there are.
    """

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ImageError: The file ends before they do.
        """
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ImageError(
                f"bytes of {self.path}", expected=f"{self.size} at {self.offset}", got="a truncated file",
                remedy="Take the file from its source again.",
            )  # fmt: skip
        return content


@dataclass(frozen=True, eq=False)
class Entry:
    """One item: what is encoded, what it is called, and what is kept beside its code.

    Attributes:
        key: Its name, unique within the source where the source names things once.
        image: A path, bytes of an image file or where they lie, or anything else :class:`Example` takes.
        text: A sentence or a feature vector.
        path: Where its image lies, for people and pictures of results; "" if it is no file.
        caption: Text that goes with it, to be shown; of an image the first, if any.
        columns: Further values by the names in :attr:`Source.columns`.
        reason: Why there is nothing to encode; "" if there is.
    """

    key: str
    image: str | bytes | Member | Image.Image | NDArray[Any] | RegionFiles | os.PathLike[str] | None = None
    text: str | NDArray[Any] | None = None
    path: str = ""
    caption: str = ""
    columns: Mapping[str, Scalar] = field(default_factory=dict)
    reason: str = ""

    def example(self) -> Example:
        """What the processor reads; the bytes of a :class:`Member` are fetched now.

        Raises:
            ImageError: The file they lie in is too short.
            OSError: It cannot be read.
        """
        image = self.image.read() if isinstance(self.image, Member) else self.image
        return Example(image=image, text=self.text, key=self.key)


def every(start: int, stop: int) -> bool:
    """Whether any position in [start, stop) is wanted: yes."""
    return True


def none(start: int, stop: int) -> bool:
    """Whether any position in [start, stop) is wanted: no."""
    return False


class Source(ABC):
    """Entries in a fixed order, made anew at each walk.

    Attributes:
        name: Where they come from.
        side: "image", "text", or "query": an image and a text together.
        columns: Name -> Arrow type ("string", "int64", "double", "bool") of the further values entries may have.
    """

    name: str
    side: Side
    columns: Mapping[str, str] = {}

    @abstractmethod
    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """Walk through (position, entry), positions ascending.

        Args:
            wanted: Whether any position in [start, stop) is of use; others may be left out where that saves reading.

        Raises:
            FileError: What holds the entries cannot be read any more.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """What tells these entries from others, as hexadecimal digits; the place where they lie does not count."""

    def count(self) -> int | None:
        """Number of entries; None where only walking through all of it would tell."""
        return sum(1 for _ in self.entries(none))

    def __iter__(self) -> Iterator[Entry]:
        """All entries in order."""
        return (entry for _, entry in self.entries())


class Listed(Source):
    """Entries that are reached by their number.

    Args:
        name: Where they come from.
        side: What they are.
        count: How many there are.
        entry: The entry of a number, made when it is asked for.
        digest: What tells them from others.
    """

    def __init__(self, name: str, side: Side, count: int, entry: Callable[[int], Entry], digest: str) -> None:
        """Hold what makes them."""
        self.name, self.side = name, side
        self._count, self._entry, self._digest = count, entry, digest

    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """See :meth:`Source.entries`."""
        return ((row, self._entry(row)) for row in range(self._count) if wanted(row, row + 1))

    def fingerprint(self) -> str:
        """See :meth:`Source.fingerprint`."""
        return self._digest

    def count(self) -> int:
        """How many there are."""
        return self._count


class Examples(Listed):
    """Examples somebody holds, such as the gallery of a task, as a source.

    Args:
        examples: Each with an image, a text or both, all of one kind; their keys tell them from others.
        name: What they are called.
    """

    def __init__(self, examples: Sequence[Example], name: str = "examples") -> None:
        """Find out which side they are."""

        def entry(row: int) -> Entry:
            example = examples[row]
            text = example.text if isinstance(example.text, str) else ""
            path = os.fspath(example.image) if isinstance(example.image, (str, os.PathLike)) else ""
            return Entry(example.key, example.image, example.text, path, text)

        first = examples[0] if len(examples) else Example(text="none")
        side: Side = "text" if first.image is None else "image" if first.text is None else "query"
        digest = hashlib.blake2b(digest_size=16)
        for example in examples:
            digest.update(example.key.encode("utf-8", "surrogatepass") + b"\0")
        super().__init__(name, side, len(examples), entry, digest.hexdigest())


def digest_of_files(paths: Sequence[Path], *told: object) -> str:
    """One digest of the names, sizes and both ends of files, and of what else makes their entries what they are."""
    digest = hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=16)
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode("utf-8", "surrogatepass"))
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()


def vector(row: NDArray[Any]) -> NDArray[Any]:
    """A row of a matrix as an array of its own, whole numbers as float32."""
    return np.array(row, row.dtype if row.dtype.kind == "f" else np.float32)
