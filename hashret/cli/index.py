"""``hashret index``."""

from __future__ import annotations

import click

__all__ = ["index"]


@click.command(
    epilog="Examples: hashret index photos.encoded --out photos.index; "
    "hashret index photos.encoded --out chdb:photos.chdb; hashret index photos.encoded --out 'ray:///mnt/photos?shards=4'"
)
@click.argument("codes", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="Index file to write, or a store.")
@click.option("--tables", is_flag=True, help="Also build multi-index tables: several times the size, and far faster.")
def index(codes: str, out: str, tables: bool) -> None:
    """Build an index file, or fill a store, from the folder DIR that ``hashret encode`` wrote.

    The ids are the items' positions in their source. Embeddings, if the folder holds any, go into OUT.embeddings under
    the same ids. With --tables a search looks into a few buckets instead of comparing all codes; the answers are the
    same. It pays from about a million codes on.

    A store is chdb:PATH or clickhouse://HOST/DATABASE, which take all metadata (hashret search --where), or
    ray:///FOLDER?shards=N, searched by a Ray cluster whose nodes see the folder.
    """
    from hashret import pipeline

    click.echo(f"{pipeline.index(codes, out, tables=tables)} codes indexed in {out}")
