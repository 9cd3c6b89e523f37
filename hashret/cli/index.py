"""``hashret index``."""

from __future__ import annotations

import click

__all__ = ["index"]


@click.command(epilog="Example: hashret index photos.codes --out photos.index")
@click.argument("codes", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="Index file to write.")
def index(codes: str, out: str) -> None:
    """Build an index file from a codes file that ``hashret encode`` wrote."""
    from hashret import pipeline

    click.echo(f"{pipeline.index(codes, out)} codes indexed in {out}")
