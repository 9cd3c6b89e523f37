"""``hashret encode``."""

from __future__ import annotations

from typing import Literal

import click

from hashret.cli.show import say

__all__ = ["encode"]


@click.command(epilog="Example: hashret encode runs/flickr8k photos/ --side image --out photos.codes")
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.argument("source", type=click.Path(exists=True))
@click.option("--side", type=click.Choice(["image", "text"]), required=True, help="What of SOURCE to encode.")
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="Codes file to write.")
def encode(run: str, source: str, side: Literal["image", "text"], out: str) -> None:
    """Encode the images or texts of SOURCE into a codes file.

    SOURCE is a folder of images (with or without metadata.jsonl), a metadata.jsonl, a Karpathy dataset json, a .txt
    with a text a line, or a .npy of feature vectors. Names go to OUT.items.jsonl; what cannot be encoded is counted
    and listed, with the reason, in OUT.rejected.jsonl.
    """
    from hashret import pipeline

    count, rejected = pipeline.encode(run, source, side, out, say=say)
    click.echo(f"{count} codes in {out}" + (f", {len(rejected)} rejected in {out}.rejected.jsonl" if rejected else ""))
