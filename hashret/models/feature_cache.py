"""Features of frozen encoders, computed once and kept on disk by content.

A row is found by what the item is (the bytes of its file, its pixels, its text), not by its name, and belongs to one
encoder with its weights, one preparation and one kind of device. Files of up to 1,024 rows are written whole, so that a
stopped run loses at most one, and two processes may share a folder. Nothing here trains, and nothing is ever evicted:
delete the folder to free it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FileError, ImageError, InputError, NonFiniteError
from hashret.examples import Example
from hashret.images import open_image
from hashret.models.features import Encoder, Inputs, Side, evaluating, in_blocks
from hashret.models.processor import Processor
from hashret.regions import RegionFiles, read_regions

__all__ = ["FeatureCache"]

KIND = "hashret.features/1"
ROWS = 1024
TEXTS = 256
_DIGEST = 16

Progress = Callable[[int, int], None]


class FeatureCache:
    """A folder of features.

    Args:
        folder: Where they lie; None is ``$HASHRET_CACHE``, or ``hashret`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Example:
        >>> import tempfile
        >>> from hashret.models.vector import VectorEncoder
        >>> encoder = VectorEncoder(dimension=2)
        >>> examples = [Example(image=np.array([1.0, 2.0])), Example(image=np.array([3.0, 4.0]))]
        >>> cache = FeatureCache(tempfile.mkdtemp())
        >>> cache.features(encoder, Processor.of(encoder, encoder), examples, "image").tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Keep the folder; it is made when something is written."""
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        default = os.environ.get("HASHRET_CACHE") or os.path.join(home, "hashret")
        self.folder = Path(default if folder is None else folder).expanduser()

    def features(
        self,
        encoder: Encoder,
        processor: Processor,
        examples: Sequence[Example],
        side: Side,
        *,
        block: int = 16,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Pooled features of one side of the examples, read from the folder or computed and kept there.

        Args:
            encoder: Runs in evaluation mode on ``device``, where it stays.
            processor: Prepares its inputs.
            examples: N examples with an image (or a text).
            side: Which.
            block: Items encoded at a time, always exactly; see :func:`~hashret.models.features.in_blocks`.
            device: Where the encoder runs.
            progress: Called with (distinct items done, distinct items) after each file of rows.

        Returns:
            Float32 (N, encoder.dimension), in the order of the examples.

        Raises:
            InputError: An example without this side.
            ImageError: A file that cannot be read or decoded.
            NonFiniteError: The encoder gives NaN or infinity for an item.
            FileError: The folder cannot be written.
        """
        where = torch.device(device)
        folder = self.folder / "features" / fingerprint(encoder, processor, side, block, where)
        places: dict[bytes, list[int]] = {}
        for row, example in enumerate(examples):
            places.setdefault(digest(example, side), []).append(row)
        result = np.empty((len(examples), encoder.dimension), np.float32)
        missing = dict(places)
        for key, values in _stored(folder, places, encoder.dimension):
            result[places[key]] = values
            del missing[key]
        if progress is not None:
            progress(len(places) - len(missing), len(places))
        keys = list(missing)
        for start in range(0, len(keys), ROWS):
            part = keys[start : start + ROWS]
            items = [one_side(examples[places[key][0]], side) for key in part]
            rows = _encode(encoder.to(where), processor, items, side, block, where)
            _store(folder, part, rows)
            for key, values in zip(part, rows, strict=True):
                result[places[key]] = values
            if progress is not None:
                progress(len(places) - len(keys) + start + len(part), len(places))
        return result


def digest(example: Example, side: Side) -> bytes:
    """What an image or text is, in 16 bytes: equal content, equal digest.

    Regions are what is read of their files: how these are packed, and where the size of the image comes from, do not
    count.

    Raises:
        InputError: There is none.
        ImageError: It cannot be read.
    """
    source = example.image if side == "image" else example.text
    source = read_regions(source) if isinstance(source, RegionFiles) else source
    found = hashlib.blake2b(digest_size=_DIGEST)
    if source is None:
        raise InputError(
            f"example {example.key}", expected=f"one with {side}", got="none", remedy=f"Leave items without {side} out."
        )
    given = isinstance(source, np.ndarray) and (source.ndim == 1 or source.ndim == 2 and source.dtype.kind == "f")
    if isinstance(source, np.ndarray) and (side == "text" or given):
        found.update(f"vector {source.dtype.str} {source.shape} ".encode() + np.ascontiguousarray(source).tobytes())
    elif side == "text":
        found.update(b"text " + str(source).encode("utf-8", "surrogatepass"))
    elif isinstance(source, (str, os.PathLike)):
        try:
            found.update(b"file " + Path(source).read_bytes())
        except OSError as error:
            raise ImageError(
                f"image {source}", expected="a file that can be read", got=(error.strerror or str(error)).lower(),
                remedy="Check the path and the folder it starts from.",
            ) from error  # fmt: skip
    else:
        pixels = open_image(source)
        found.update(f"pixels {pixels.size} ".encode() + pixels.tobytes())
    return found.digest()


def fingerprint(encoder: Encoder, processor: Processor, side: Side, block: int, device: torch.device) -> str:
    """What a feature depends on beside its item: architecture, weights, preparation, block, device and torch."""
    about = [
        encoder.config(), processor.fingerprint(side), block, device.type, torch.__version__,
        torch.get_float32_matmul_precision(),
    ]  # fmt: skip
    found = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=_DIGEST)
    for name, tensor in encoder.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def one_side(example: Example, side: Side) -> Example:
    """The example without its other side."""
    return (
        Example(image=example.image, key=example.key)
        if side == "image"
        else Example(text=example.text, key=example.key)
    )


def _encode(
    encoder: Encoder, processor: Processor, items: Sequence[Example], side: Side, block: int, device: torch.device
) -> NDArray[np.float32]:
    """Run the encoder over the items, a block at a time, in evaluation mode."""

    def pooled(inputs: Inputs) -> Tensor:
        x, mask = (inputs.image, inputs.image_mask) if side == "image" else (inputs.text, inputs.text_mask)
        found: Tensor = encoder(x, mask).pooled
        return found

    parts = []
    with evaluating(encoder):
        for inputs in prepared(processor, items, together(side, block), threads=threads_for(side)):
            parts.append(in_blocks(pooled, inputs.to(device), block).float().cpu().numpy())
    rows: NDArray[np.float32] = np.concatenate(parts)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise NonFiniteError(
            f"features of {items[bad[0]].key or 'an item'}", expected="finite numbers",
            got="NaN or infinity from the encoder",
            remedy="Check the checkpoint's weights, or leave the item out.",
        )  # fmt: skip
    return rows


def threads_for(side: Side) -> int:
    """Images decode beside each other; a tokenizer takes one call at a time."""
    return min(8, os.cpu_count() or 1) if side == "image" else 1


def together(side: Side, block: int) -> int:
    """Items prepared at a time: images a block; of texts many, since those of one length share a block."""
    return block if side == "image" else max(block, TEXTS)


def prepared(processor: Processor, items: Sequence[Example], size: int, threads: int) -> Iterator[Inputs]:
    """Inputs of so many items at a time, prepared ahead of their use but never far."""
    waiting: deque[Future[Inputs]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, len(items), size):
                waiting.append(pool.submit(processor, items[start : start + size]))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _stored(folder: Path, wanted: Mapping[bytes, object], width: int) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """The wanted rows that lie in the folder, each once; damaged files are removed and count as not there."""
    seen: set[bytes] = set()
    for path in sorted(folder.glob("*.safetensors")):
        if len(seen) == len(wanted):
            return
        try:
            digests, _ = _checked(path, width, mmap=True)
            rows = {key: row for row, key in enumerate(_keys(digests)) if key in wanted and key not in seen}
            if not rows:
                continue
            digests, features = _checked(path, width, mmap=False)
        except (FileError, LookupError, TypeError, ValueError):
            path.unlink(missing_ok=True)
            continue
        for key, row in rows.items():
            yield key, features[row]
        seen.update(rows)


def _checked(path: Path, width: int, *, mmap: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """The digests and features of a file, of the right shapes."""
    arrays, _ = read_arrays(path, kind=KIND, mmap=mmap)
    digests, features = arrays["digests"], arrays["features"]
    if digests.shape != (len(features), _DIGEST) or features.shape != (len(digests), width):
        raise ValueError(f"{digests.shape} digests for {features.shape} features")
    return digests, features


def _keys(digests: NDArray[Any]) -> list[bytes]:
    return [row.tobytes() for row in np.asarray(digests)]


def _store(folder: Path, keys: Sequence[bytes], rows: NDArray[np.float32]) -> None:
    """Write one file, named by what is in it: a second process writes the same rows to the same place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            str(folder), expected="a folder that can be made", got=error.strerror or str(error),
            remedy="Set HASHRET_CACHE to a folder that can be written.",
        ) from error  # fmt: skip
    joined = b"".join(keys)
    name = hashlib.blake2b(joined, digest_size=_DIGEST).hexdigest()
    digests = np.frombuffer(joined, np.uint8).reshape(len(keys), _DIGEST)
    write_arrays(folder / f"{name}.safetensors", {"digests": digests, "features": rows}, kind=KIND)
