"""Token features of frozen encoders, computed once and kept on disk by content, beside the pooled ones.

What :mod:`hashret.models.feature_cache` is to one vector an item, this is to its patches, regions or words: as many as
the item has, as float16, mapped from their files, which may be larger than memory together. Tokens that stand for no
part of the item ([CLS], [SEP], filling) are not kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FileError, InputError, NonFiniteError
from hashret.examples import Example
from hashret.models.feature_cache import (
    FeatureCache,
    Progress,
    digest,
    fingerprint,
    one_side,
    prepared,
    threads_for,
    together,
)
from hashret.models.features import Encoder, Features, Inputs, Side, evaluating
from hashret.models.processor import Processor
from hashret.models.ragged import ragged_in_blocks

__all__ = ["TokenCache"]

KIND = "hashret.token_features/1"
ROWS = 256
_DIGEST = 16

Tokens = NDArray[np.float16]


class TokenCache:
    """A folder of token features.

    Args:
        folder: As of :class:`~hashret.models.feature_cache.FeatureCache`.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        """Keep the folder; it is made when something is written."""
        self.folder = FeatureCache(folder).folder

    def tokens(
        self,
        encoder: Encoder,
        processor: Processor,
        examples: Sequence[Example],
        side: Side,
        *,
        block: int = 16,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
    ) -> list[Tokens]:
        """Token features of one side of the examples, read from the folder or computed and kept there.

        Args:
            encoder: Runs in evaluation mode on ``device``, where it stays; has tokens.
            processor: Prepares its inputs.
            examples: N examples with an image (or a text).
            side: Which.
            block: Items encoded at a time; see :func:`~hashret.models.features.in_blocks`.
            device: Where the encoder runs.
            progress: Called with (distinct items done, distinct items) after each file of items.

        Returns:
            Float16 (T, encoder.token_dimension) an example, T >= 1, mapped from their files; one object an item.

        Raises:
            InputError: An example without this side, or an encoder without tokens.
            ImageError: A file that cannot be read or decoded.
            NonFiniteError: NaN, or what float16 cannot hold.
            FileError: The folder cannot be written.
        """
        if not encoder.token_dimension:
            raise InputError(
                f"tokens of {side}s", expected="an encoder with a feature for each patch, region or word",
                got=type(encoder).__name__, remedy="Choose another encoder, or a method that reads pooled features.",
            )  # fmt: skip
        where = torch.device(device)
        folder = self.folder / "tokens" / fingerprint(encoder, processor, side, block, where)
        places: dict[bytes, list[int]] = {}
        for row, example in enumerate(examples):
            places.setdefault(digest(example, side), []).append(row)
        found = dict(_stored(folder, places, encoder.token_dimension))
        missing = [key for key in places if key not in found]
        for start in range(0, len(missing), ROWS):
            if progress is not None:
                progress(len(places) - len(missing) + start, len(places))
            part = missing[start : start + ROWS]
            items = [examples[places[key][0]] for key in part]
            path = _store(folder, part, _encode(encoder.to(where), processor, items, side, block, where))
            found |= _read(path, places, encoder.token_dimension)
        if progress is not None:
            progress(len(places), len(places))
        result: list[Any] = [None] * len(examples)
        for key, rows in places.items():
            for row in rows:
                result[row] = found[key]
        return result


def _encode(
    encoder: Encoder, processor: Processor, items: Sequence[Example], side: Side, block: int, device: torch.device
) -> list[Tokens]:
    """Run the encoder over the items, a block at a time, in evaluation mode; the tokens of each that are some."""
    only = [one_side(item, side) for item in items]
    parts: list[Tokens] = []
    with evaluating(encoder):
        for inputs in prepared(processor, only, together(side, block), threads=threads_for(side)):
            parts += _tokens_of(encoder, inputs.to(device), side, block)
    for item, tokens in zip(items, parts, strict=True):
        if not len(tokens) or not np.isfinite(tokens).all():
            raise NonFiniteError(
                f"token features of {item.key or 'an item'}", expected="at least one, of numbers float16 can hold",
                got="NaN or more than 65504 from the encoder" if len(tokens) else "none",
                remedy="Check the checkpoint's weights, or leave the item out.",
            )  # fmt: skip
    return parts


def _tokens_of(encoder: Encoder, inputs: Inputs, side: Side, block: int) -> list[Tokens]:
    """The tokens of each item."""

    def run(part: Inputs) -> tuple[Tensor, Tensor]:
        features: Features = encoder(
            *((part.image, part.image_mask) if side == "image" else (part.text, part.text_mask))
        )
        assert features.tokens is not None
        shape, device = features.tokens.shape[:2], features.tokens.device
        return features.tokens, torch.ones(
            shape, dtype=torch.bool, device=device
        ) if features.mask is None else features.mask

    with np.errstate(over="ignore"):
        return [row.astype(np.float16) for row in ragged_in_blocks(run, inputs, block)]


def _stored(folder: Path, wanted: Mapping[bytes, object], width: int) -> Iterator[tuple[bytes, Tokens]]:
    """The wanted items that lie in the folder; damaged files are removed and count as not there."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            yield from _read(path, wanted, width).items()
        except (FileError, LookupError, TypeError, ValueError):
            path.unlink(missing_ok=True)


def _read(path: Path, wanted: Mapping[bytes, object], width: int) -> dict[bytes, Tokens]:
    """The wanted items of one file, mapped."""
    arrays, _ = read_arrays(path, kind=KIND, mmap=True)
    digests, lengths, values = arrays["digests"], np.asarray(arrays["lengths"]), arrays["tokens"]
    if digests.shape != (len(lengths), _DIGEST) or values.shape != (int(lengths.sum()), width):
        raise ValueError(f"{digests.shape} digests for {lengths.shape} lengths and {values.shape} tokens")
    ends = np.cumsum(lengths)
    keys = [row.tobytes() for row in np.asarray(digests)]
    return {
        key: np.asarray(values[end - length : end])
        for key, end, length in zip(keys, ends, lengths, strict=True) if key in wanted
    }  # fmt: skip


def _store(folder: Path, keys: Sequence[bytes], items: Sequence[Tokens]) -> Path:
    """Write one file, named by what is in it; where it lies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            str(folder), expected="a folder that can be made", got=error.strerror or str(error),
            remedy="Set HASHRET_CACHE to a folder that can be written.",
        ) from error  # fmt: skip
    joined = b"".join(keys)
    path = folder / f"{hashlib.blake2b(joined, digest_size=_DIGEST).hexdigest()}.safetensors"
    arrays: dict[str, NDArray[Any]] = {
        "digests": np.frombuffer(joined, np.uint8).reshape(len(keys), _DIGEST),
        "lengths": np.array([len(item) for item in items], np.int64),
        "tokens": np.concatenate(items),
    }
    write_arrays(path, arrays, kind=KIND)
    return path
