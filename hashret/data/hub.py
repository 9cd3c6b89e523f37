"""Hub: a dataset of the Hugging Face hub, or a local folder of that form, streamed through the ``datasets`` library.

Nothing is downloaded as a whole and no picture is decoded here: image columns come as the bytes of their files. What
the stream raises ends the run with a named error, since behind it lies as often a network as a damaged row; the same
command goes on from the last finished shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from hashret.data.entry import Entry, Scalar, Side, Source, Wanted, every
from hashret.data.table import IMAGES, TEXTS, BadCell, extra_columns, image_cell, kept_value, text_cells
from hashret.errors import FileError, FormatError

__all__ = ["Hub"]


class Hub(Source):
    """Rows of one split of a dataset.

    Columns are found as in :class:`hashret.data.table.Table`; an image or text column of another name has to be named,
    unless it is the only one of the image type. Keys are the column ``key`` or the number of the row from 0.

    Args:
        name: What ``datasets.load_dataset`` takes: a name on the hub, or a folder.
        side: What is wanted of the rows.
        split: Which split; by default the only one, or "train".
        image_column: Where the image is.
        text_column: Where the text is.

    Raises:
        FileError: There is no such dataset, or it cannot be reached.
        FormatError: No such split, or no column of that name.
    """

    def __init__(
        self,
        name: str,
        side: Side,
        *,
        split: str | None = None,
        image_column: str | None = None,
        text_column: str | None = None,
    ) -> None:
        """Ask for its splits and columns."""
        import datasets

        self.name, self.side = name, side
        try:
            builder = datasets.load_dataset_builder(name)
            streams = builder.as_streaming_dataset()
            self._split = split or ("train" if "train" in streams or len(streams) != 1 else next(iter(streams)))
            if self._split not in streams:
                raise FormatError(
                    f"dataset {name}", expected=f"a split of {', '.join(map(str, streams))}", got=repr(self._split),
                    remedy="Name one of them with --split.",
                )  # fmt: skip
            stream = streams[self._split]
            if stream.features is None:
                stream = stream._resolve_features()
        except FormatError:
            raise
        except Exception as error:  # the library, its file systems and the network each raise their own
            raise FileError(
                f"dataset {name}", expected="a file or folder, or a dataset that can be reached on the hub",
                got=str(error).split("\n")[0], remedy="Check the name and the network; HF_HUB_OFFLINE=1 forbids it.",
            ) from error  # fmt: skip
        features = dict(stream.features)
        pictures = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
        for column in pictures:
            stream = stream.cast_column(column, datasets.Image(decode=False))
        self._stream = stream
        self._images = (image_column,) if image_column else (*IMAGES, *(pictures if len(pictures) == 1 else ()))
        self._texts = (text_column,) if text_column else TEXTS
        self._check(features)
        types = {column: _arrow(kind) for column, kind in features.items()}
        self._extra = extra_columns(types, (*self._images, *self._texts))
        self.columns = dict(self._extra.values())
        files = builder.config.data_files or {}
        told = [name if not files else "", self._split, side, self._images, self._texts, sorted(features)]
        self._digest = hashlib.blake2b(
            repr([*told, _revision(files, self._split)]).encode(), digest_size=16
        ).hexdigest()
        sizes = builder.info.splits or {}
        self._count = int(sizes[self._split].num_examples) if self._split in sizes and side == "image" else None

    def fingerprint(self) -> str:
        """The revision of its files, its split and its columns."""
        return self._digest

    def count(self) -> int | None:
        """As its card says; None where it does not, or where a row may hold several texts."""
        return self._count or None

    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """See :meth:`Source.entries`."""
        position = 0
        rows = iter(self._stream)
        number = -1
        while True:
            number += 1
            try:
                row = next(rows, None)
            except Exception as error:
                raise FileError(
                    f"dataset {self.name}, row {number}", expected="a row", got=str(error).split("\n")[0],
                    remedy="Give the same command again: it goes on from the last finished shard.",
                ) from error  # fmt: skip
            if row is None:
                return
            for entry in self._entries_of(row, str(number)):
                yield position, entry
                position += 1

    def _check(self, features: dict[str, Any]) -> None:
        needs = {"image": [self._images], "text": [self._texts], "query": [self._images, self._texts]}[self.side]
        for names in needs:
            if not set(names) & set(features):
                option = "--image-column" if names is self._images else "--text-column"
                raise FormatError(
                    f"dataset {self.name}", expected=f"a column {' or '.join(names)}", got=", ".join(features),
                    remedy=f"Name the column with {option}.",
                )  # fmt: skip

    def _entries_of(self, row: dict[str, Any], number: str) -> Iterator[Entry]:
        image, shown = image_cell(row, self._images)
        texts = text_cells(row, self._texts)
        key = row["key"] if isinstance(row.get("key"), str) and row["key"] else number
        columns: dict[str, Scalar] = {
            kept: kept_value(row.get(name), kind) for name, (kept, kind) in self._extra.items()
        }
        if self.side == "image":
            caption = texts[0] if texts and isinstance(texts[0], str) else ""
            yield Entry(key, image, None, shown, caption, columns, "" if image is not None else "no image in the row")
            return
        for place, text in enumerate(texts or [BadCell("no text in the row")]):
            reason = str(text) if isinstance(text, BadCell) else ""
            if self.side == "query" and image is None:
                reason = "no image in the row"
            name = f"{key}#{place}" if len(texts) > 1 else key
            if reason:
                yield Entry(name, columns=columns, reason=reason)
                continue
            both = self.side == "query"
            said = text if isinstance(text, str) else ""
            yield Entry(name, image if both else None, text, shown if both else "", said, columns)


def _revision(files: Any, split: str) -> list[str]:
    """The addresses of a split's files, which on the hub name the commit; of local ones name and size."""
    import os

    told = []
    for path in files.get(split, []):
        local = os.path.exists(path)
        told.append(f"{os.path.basename(path)} {os.path.getsize(path)}" if local else str(path))
    return told


def _arrow(kind: Any) -> str:
    """The plain Arrow type of a feature; "json" where it is none."""
    name = getattr(kind, "dtype", "") if type(kind).__name__ == "Value" else ""
    if name.startswith(("int", "uint")):
        return "int64"
    if name.startswith("float"):
        return "double"
    return {"bool": "bool", "string": "string", "large_string": "string"}.get(name, "json")
