"""encode: everything a source holds -> a folder of codes, whatever is wrong with some of it, and however often killed.

A runner encodes shards and tells what became of their items: this process
(:class:`hashret.pipeline.shard_encoder.ShardEncoder`), or a cluster of such (:mod:`hashret.pipeline.ray_encode`). Here
is what goes around either: which shards are left, what a person sees, when to stop, and the end of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from hashret.data.entry import Side, Source
from hashret.data.entry import none as no_position
from hashret.errors import InputError
from hashret.pipeline.encoding_bar import EncodingBar
from hashret.pipeline.encoding_tally import EncodingTally
from hashret.pipeline.ray_encode import encode_on_ray
from hashret.pipeline.shard_encoder import EncodingJob, Step
from hashret.pipeline.train import Say

__all__ = ["Encoded", "encode"]


@dataclass(frozen=True)
class Encoded:
    """What a run of :func:`encode` has done.

    Attributes:
        items: Entries of the source that belong to this run's shards.
        codes: Those that have a code.
        failures: Those that have none.
        before: Items that an earlier run had done already.
    """

    items: int
    codes: int
    failures: int
    before: int


def encode(
    run: str | os.PathLike[str],
    source: str | os.PathLike[str] | Source,
    side: Side,
    out: str | os.PathLike[str],
    *,
    embeddings: Literal["fp16", "int8"] | None = None,
    shard_size: int = 10_000,
    num_shards: int = 1,
    shard_index: int = 0,
    runner: Literal["local", "ray"] = "local",
    address: str | None = None,
    ray_workers: int | None = None,
    workers: int | None = None,
    timeout: float = 60.0,
    max_failures: int | None = None,
    split: str | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    device: str = "auto",
    quiet: bool = False,
    say: Say = lambda line: None,
) -> Encoded:
    """Encode a source into a folder; see :mod:`hashret.encoded` for what lies in it.

    Given again with the same model, source and options it goes on where it stopped, and ends in the same bytes,
    whichever runner had a part in it.

    Args:
        run: Run or model folder.
        source: What :func:`hashret.data.source.open_source` reads, or a source.
        side: ``image``, ``text``, or ``query``: an image and a text together, to be searched among images.
        out: The folder.
        embeddings: Also keep the embeddings, as float16 or as int8 with a scale each.
        shard_size: Items a shard; what is lost at most when a run is killed.
        num_shards: How many runs share the work, each into the same folder.
        shard_index: Which of them this one is, 0 ... num_shards - 1.
        runner: ``local``: this process; ``ray``: workers on a Ray cluster, a shard at a time each. They must see run,
            source and folder under the same paths.
        address: Of the cluster, as ``ray.init`` takes it; by default the one this process is in, else a new one on this
            machine.
        ray_workers: How many work on the cluster; by default one a GPU, or one a node where there is none.
        workers: Processes that decode, of each worker; by default one a core.
        timeout: Seconds that decoding one item may take.
        max_failures: Stop when more items than this cannot be encoded; None never does.
        split: Which split of a dataset of the hub's form.
        image_column: Where images are in a table, if its name does not tell.
        text_column: The same of texts.
        device: Where the network runs; ``auto`` is the GPU where there is one.
        quiet: Draw no progress bar.
        say: Told about progress.

    Raises:
        FileError: The source or the run is not there, the folder holds something else, or the disk is full.
        InputError: The run cannot read such a source, or an argument is out of its range.
        DataError: Not one item could be encoded, or more failed than ``max_failures``.
        StoreError: Ray is not installed, there is no such cluster, or its workers die again and again.
    """
    if not 0 <= shard_index < num_shards or shard_size < 1:
        raise InputError(
            "shards", expected="0 <= shard_index < num_shards and shard_size >= 1",
            got=f"shard_index {shard_index}, num_shards {num_shards}, shard_size {shard_size}",
            remedy="Count the runs from 0.",
        )  # fmt: skip
    if runner not in ("local", "ray"):
        raise InputError("runner", expected="'local' or 'ray'", got=repr(runner), remedy="Say one of them.")
    job = EncodingJob(
        os.fspath(run), source if isinstance(source, Source) else os.fspath(source), side, os.fspath(out), embeddings,
        shard_size, workers, timeout, split, image_column, text_column, device,
    )  # fmt: skip
    encoder = job.begin(say)
    tally = EncodingTally(
        encoder.folder, encoder.source.name, shard_size=shard_size, runs=num_shards, index=shard_index,
        most=max_failures,
    )  # fmt: skip
    encoder.folder.clear(lambda number: number % num_shards == shard_index)
    if num_shards == 1:
        encoder.folder.clear_beside()
    count = _counted(encoder.source, say) if runner == "ray" else encoder.source.count()
    left = None if count is None else tally.left(count)
    tally.check()
    if tally.before:
        say(f"{tally.before:,} items are done already, {tally.failures:,} of them failures")
    if runner == "ray" and left:
        _follow(encode_on_ray(job, list(left), address=address, workers=ray_workers), tally, left, say, quiet)
    elif left is None or left:
        _follow(encoder.encode(tally.wanted), tally, left, say, quiet)
    end = max(encoder.end, count or 0)
    encoder.folder.finish(end, -(-end // shard_size))
    tally.check_any()
    return Encoded(tally.items, tally.codes, tally.failures, tally.before)


def _counted(source: Source, say: Say) -> int:
    """Number of entries; shards can be given away only where it is known."""
    count = source.count()
    if count is None:
        say(f"{source.name} does not say how many items it has: it is read through once to count them")
        count = sum(1 for _ in source.entries(no_position))
    return count


def _follow(
    steps: Generator[Step], tally: EncodingTally, left: Mapping[int, int] | None, say: Say, quiet: bool
) -> None:
    """Follow a runner to its end, or until too many items have failed; then it is closed."""
    total = None if left is None else sum(left.values())
    with EncodingBar(total, say, quiet=quiet) as bar, closing(steps):
        for step in steps:
            bar.add(step.items, len(step.failed))
            tally.add(step)
            tally.check()
        for line in (bar.line(), *tally.lines()):
            say(line)
