"""``hashret encode``."""

from __future__ import annotations

from typing import Literal

import click

from hashret.cli.show import say

__all__ = ["encode"]


@click.command(
    epilog="Examples: hashret encode runs/flickr8k photos/ --side image --out photos.encoded; "
    "hashret encode RUN 'part-{000..099}.tar' --side image --embeddings fp16 --num-shards 8 --shard-index 0 --out DIR; "
    "hashret encode RUN photos.parquet --side image --runner ray --address auto --out DIR"
)
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.argument("source")
@click.option(
    "--side", type=click.Choice(["image", "text", "query"]), required=True,
    help="What of SOURCE to encode; query: an image and a text together.",
)  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False), required=True, help="Folder to write.")
@click.option("--embeddings", type=click.Choice(["fp16", "int8"]), help="Keep embeddings too, for a second look.")
@click.option("--shard-size", type=click.IntRange(1), default=10_000, show_default=True, help="Items a shard.")
@click.option("--num-shards", type=click.IntRange(1), default=1, show_default=True, help="Runs that share the work.")
@click.option("--shard-index", type=click.IntRange(0), default=0, show_default=True, help="Which of them this is.")
@click.option(
    "--runner", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="This machine, or a Ray cluster whose nodes see RUN, SOURCE and OUT.",
)  # fmt: skip
@click.option("--address", help="Of the cluster, such as auto or ray://host:10001 [default: one on this machine].")
@click.option("--ray-workers", type=click.IntRange(1), help="Workers on it [default: one a GPU, else one a node].")
@click.option("--max-failures", type=click.IntRange(0), help="Stop when more items fail [default: never].")
@click.option("--workers", type=click.IntRange(1), help="Processes that decode, of each worker [default: one a core].")
@click.option("--timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds for one item.")
@click.option("--split", help="Which split of a Hugging Face dataset [default: the only one, or train].")
@click.option("--image-column", help="Where the images of a table are, if its name does not tell.")
@click.option("--text-column", help="Where its texts are.")
@click.option("--quiet", is_flag=True, help="No progress.")
def encode(
    run: str,
    source: str,
    side: Literal["image", "text", "query"],
    out: str,
    embeddings: Literal["fp16", "int8"] | None,
    shard_size: int,
    num_shards: int,
    shard_index: int,
    runner: Literal["local", "ray"],
    address: str | None,
    ray_workers: int | None,
    max_failures: int | None,
    workers: int | None,
    timeout: float,
    split: str | None,
    image_column: str | None,
    text_column: str | None,
    quiet: bool,
) -> None:
    """Encode the images, texts or image+text queries of SOURCE into a folder.

    SOURCE is a folder of images (with or without metadata.jsonl), a .jsonl, .json, .csv or .parquet table, webdataset
    tars ('{0000..0099}.tar'), a dataset of the Hugging Face hub (owner/name), a Karpathy dataset json, a .txt with a
    text a line, or features as .npy. What cannot be encoded is listed with the reason in OUT/failures and never stops
    the run. Killed at any moment, the same command goes on and ends in the same bytes.
    """
    from hashret import pipeline

    if shard_index >= num_shards:
        raise click.UsageError("--shard-index counts from 0 and is below --num-shards.")
    if runner == "local" and (address or ray_workers):
        raise click.UsageError("--address and --ray-workers need --runner ray.")
    done = pipeline.encode(
        run, source, side, out, embeddings=embeddings, shard_size=shard_size, num_shards=num_shards,
        shard_index=shard_index, runner=runner, address=address, ray_workers=ray_workers, workers=workers,
        timeout=timeout, max_failures=max_failures, split=split, image_column=image_column, text_column=text_column,
        quiet=quiet, say=(lambda line: None) if quiet else say,
    )  # fmt: skip
    failures = f"{done.failures:,} failure{'s' if done.failures > 1 else ''}"
    failed = f", {failures} with the reason in {out}/failures" if done.failures else ""
    click.echo(f"{done.codes:,} codes in {out}{failed}")
