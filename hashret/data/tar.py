"""Tar: samples in tars as webdataset lays them out, files of one name side by side.

``000017.jpg``, ``000017.txt`` and ``000017.json`` are one sample. Of a plain tar only the headers are walked, so that a
run goes on in the middle of a terabyte without reading it; a compressed one has to be read from its beginning.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from hashret.data.entry import Entry, Member, Side, Source, Wanted, digest_of_files, every
from hashret.data.imagetree import IMAGE_SUFFIXES

__all__ = ["Tars"]

_SAMPLE = re.compile(r"((?:.*/)?[^/.][^/.]*)\.([^/]+)", re.DOTALL)
_TEXTS = ("txt", "text", "caption")
LARGEST = 1 << 28  # bytes of a member that is held


class Tars(Source):
    """Samples of tars, one after the other.

    Keys are names without their ending, with the tar's name before them where there are several. A tar that is damaged
    is an entry with that reason, and the next one is read.

    Args:
        name: What the source is called.
        side: What is wanted of the samples.
        files: The tars.
    """

    def __init__(self, name: str, side: Side, files: Sequence[Path]) -> None:
        """Nothing is read yet."""
        self.name, self.side, self._files = name, side, tuple(files)
        self.columns = {"extra": "string"}
        self._plain = [_is_plain(path) for path in self._files]

    def fingerprint(self) -> str:
        """Names, sizes and ends of the tars."""
        return digest_of_files(self._files, self.side)

    def count(self) -> int | None:
        """Number of samples; None if a tar is compressed."""
        return super().count() if all(self._plain) else None

    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """See :meth:`Source.entries`."""
        position = 0

        def here() -> bool:
            return wanted(position, position + 1)

        def here_or_next() -> bool:  # a file's sample begins with it, unless it belongs to the one before
            return wanted(position, position + 2)

        for path, plain in zip(self._files, self._plain, strict=True):
            prefix = f"{path.name}:" if len(self._files) > 1 else ""
            sample: dict[str, Any] = {}
            key = ""
            for found, suffix, content in self._members(path, plain, here_or_next):
                if (found, suffix) != ("", "") and found == key:
                    sample.setdefault(suffix, content)
                    continue
                if sample:
                    yield position, self._entry(prefix + key, sample, here())
                    position += 1
                key, sample = found, {suffix: content}
                if not found:  # the tar ends here, and says why
                    yield position, Entry(path.name, reason=content)
                    position, sample = position + 1, {}
            if sample:
                yield position, self._entry(prefix + key, sample, here())
                position += 1

    def _entry(self, key: str, sample: dict[str, Any], wanted: bool) -> Entry:
        if not wanted:
            return Entry(key)
        images = [suffix for suffix in sample if f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES]
        texts = [suffix for suffix in sample if suffix in _TEXTS]
        try:
            text = _text(sample[texts[0]]) if texts else None
            extra = _text(sample["json"]) if "json" in sample else None
        except OSError as error:
            return Entry(key, reason=f"its text cannot be read ({error})")
        image = sample[images[0]] if images and self.side != "text" else None
        if self.side != "text" and image is None:
            return Entry(key, reason="no image in the sample")
        if isinstance(image, str):
            return Entry(key, reason=image)
        if self.side != "image" and text is None:
            return Entry(key, reason="no text in the sample")
        return Entry(key, image, text if self.side != "image" else None, "", text or "", {"extra": extra})

    def _members(self, path: Path, plain: bool, wanted: Callable[[], bool]) -> Iterator[tuple[str, str, Any]]:
        """Name, ending and bytes of each file; at a damaged place nothing, nothing and the reason."""
        mode: Literal["r:", "r|*"] = "r:" if plain else "r|*"
        try:
            with tarfile.open(path, mode) as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it would remember each one
                    match = _SAMPLE.fullmatch(member.name.removeprefix("./"))
                    if not member.isfile() or match is None:
                        continue
                    suffix = match[2].lower()
                    if member.size > LARGEST:
                        yield match[1], suffix, f"a file of {member.size} bytes in the tar"
                    elif plain:
                        yield match[1], suffix, Member(str(path), member.offset_data, member.size)
                    else:
                        file = tar.extractfile(member) if wanted() else None
                        yield match[1], suffix, file.read() if file else b""
                if plain and (left := _left_over(path, tar.offset)):
                    yield "", "", left
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            yield "", "", f"a damaged tar, not read from here on ({error})"
        except Exception as error:  # zlib.error, lzma.LZMAError and others have no common root
            yield "", "", f"a damaged tar, not read from here on ({type(error).__name__}: {error})"


def _is_plain(path: Path) -> bool:
    """Whether a tar is not compressed."""
    with path.open("rb") as file:
        start = file.read(512)
    return not start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))


def _left_over(path: Path, offset: int) -> str:
    """What lies where the headers end, if it is no end of a tar: tarfile stops there without a word."""
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(512)
    return "" if not block.strip(b"\0") else f"a damaged tar, no header at byte {offset}; not read from here on"


def _text(content: Member | bytes | str) -> str:
    if isinstance(content, str):
        return content
    raw = content if isinstance(content, bytes) else content.read()
    return raw.decode("utf-8", "surrogateescape").strip("\r\n")
