"""ImageTree: all images below a folder, walked in the order of their relative paths, one folder in memory at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hashret.data.entry import Entry, Side, Source, Wanted, every

__all__ = ["IMAGE_SUFFIXES", "ImageTree"]

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".jfif", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"]
)


class ImageTree(Source):
    """The images below a folder, linked folders included, hidden ones left out; keys are relative paths.

    A folder that cannot be listed is an entry with that reason: what is lost is told, not left out in silence.

    Args:
        root: The folder.
    """

    side: Side = "image"

    def __init__(self, root: Path) -> None:
        """Nothing is read yet."""
        self.name, self._root = str(root), str(root)
        self._walked: tuple[int, str] | None = None

    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """See :meth:`Source.entries`."""
        for position, (key, reason) in enumerate(self._below("", set())):
            if wanted(position, position + 1):
                path = os.path.join(self._root, key)
                yield position, Entry(key, None if reason else path, path=path, reason=reason)

    def count(self) -> int:
        """Number of images; the folders are walked once for it and the fingerprint."""
        return self._totals()[0]

    def fingerprint(self) -> str:
        """A digest of the relative paths."""
        return self._totals()[1]

    def _totals(self) -> tuple[int, str]:
        if self._walked is None:
            count, digest = 0, hashlib.blake2b(digest_size=16)
            for key, _ in self._below("", set()):
                count += 1
                digest.update(os.fsencode(key) + b"\0")
            self._walked = count, digest.hexdigest()
        return self._walked

    def _below(self, prefix: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """Relative path and, where there is one, the reason it is of no use."""
        place = os.path.realpath(os.path.join(self._root, prefix))
        if place in seen:  # a link back to where the walk has been
            return
        seen.add(place)
        try:
            with os.scandir(os.path.join(self._root, prefix)) as found:
                names = [entry.name + "/" * _is_folder(entry) for entry in found]
        except OSError as error:
            yield prefix or ".", f"a folder that cannot be listed ({error.strerror})"
            return
        for name in sorted(names):  # with the slash, so that the whole paths ascend
            if name.startswith("."):
                continue
            if name.endswith("/"):
                yield from self._below(prefix + name, seen)
            elif name[name.rfind(".") :].lower() in IMAGE_SUFFIXES:
                yield prefix + name, ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link in a circle is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False
