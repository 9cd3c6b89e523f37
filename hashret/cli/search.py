"""``hashret search``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from hashret.cli.show import say

if TYPE_CHECKING:
    from hashret.examples import Example
    from hashret.pipeline import Found

__all__ = ["search"]


@click.command(
    epilog='Examples: hashret search photos.index --run runs/flickr8k --text "a dog in the snow" --picture hits.png; '
    'hashret search shoes.index --run runs/shoes --image shoe.jpg --text "make it red" --without-reference; '
    "hashret search chdb:photos.chdb --run runs/flickr8k --text 'a dog' --where \"caption ILIKE '%snow%'\""
)
@click.argument("index")
@click.option(
    "--run", type=click.Path(exists=True, file_okay=False), required=True, help="Run the codes were made with."
)
@click.option("--text", "texts", multiple=True, help="Search by a text; may be given several times.")
@click.option(
    "--image", "images", multiple=True, type=click.Path(exists=True, dir_okay=False), help="Search by an image."
)
@click.option(
    "--without-reference", is_flag=True, help="Leave the file of --image out of its answers, if INDEX holds it."
)
@click.option("--where", help="Only items of which this SQL is true, such as 'year > 2020'; of chdb: and clickhouse:.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Answers a query.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Also draw queries and answers into this PNG.")
def search(
    index: str,
    run: str,
    texts: tuple[str, ...],
    images: tuple[str, ...],
    without_reference: bool,
    where: str | None,
    k: int,
    as_json: bool,
    picture: str | None,
) -> None:
    """Search INDEX by texts, by images or by both: the k items at the smallest Hamming distance, then by id.

    INDEX is what hashret index wrote: a file, or the address of a store (chdb:PATH, clickhouse://..., ray:///FOLDER).

    An --image and a --text together are one composed query: the image, changed as the text says. Of several, the first
    image goes with the first text and so on; a single one goes with all of the other kind.
    """
    import json

    from hashret import pipeline

    queries = _queries(texts, images)
    if without_reference and not images:
        raise click.UsageError("--without-reference needs an --image to leave out.")
    answers = pipeline.search(index, run, queries, k, without_reference=without_reference, where=where, say=say)
    if as_json:
        rows = [
            {"query": query.key, "hits": [{"distance": f.distance, **f.item.plain()} for f in found]}
            for query, found in zip(queries, answers, strict=True)
        ]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for query, found in zip(queries, answers, strict=True):
            click.secho(query.key, bold=True)
            for rank, hit in enumerate(found, 1):
                click.echo(
                    f"  {rank:>3}  distance {hit.distance:>3}  {hit.item.key}  {hit.item.text if hit.item.path else ''}"
                )
    if picture:
        _draw(queries, answers, picture)
        say(f"picture: {picture}")


def _queries(texts: tuple[str, ...], images: tuple[str, ...]) -> list[Example]:
    """What is asked: texts alone, images alone, or both together."""
    from hashret.examples import Example

    if not texts and not images:
        raise click.UsageError("Give at least one --text or --image.")
    if not images or not texts:
        return [Example(text=text) for text in texts] + [Example(image=image) for image in images]
    count = max(len(texts), len(images))
    if {len(texts), len(images)} - {1, count}:
        raise click.UsageError(
            f"{len(images)} --image and {len(texts)} --text: give as many of both, or one of either; to search by each "
            "alone, call twice."
        )
    pairs = zip(images * (count // len(images)), texts * (count // len(texts)), strict=True)
    return [Example(image=image, text=text, key=f"{os.path.basename(image)}, {text}") for image, text in pairs]


def _draw(queries: list[Example], answers: list[list[Found]], picture: str) -> None:
    """Queries and answers as a grid of pictures."""
    from pathlib import Path

    from hashret.images import open_image
    from hashret.report import Answer, GridRow, retrieval_grid

    rows = []
    for query, found in zip(queries, answers, strict=True):
        text = query.text if isinstance(query.text, str) else ""
        cards = [
            Answer(
                open_image(hit.item.path) if hit.item.path else hit.item.text or hit.item.key,
                None,
                f"distance {hit.distance}",
            )
            for hit in found
        ]
        image = query.image if isinstance(query.image, str) else None
        rows.append(GridRow(text, cards) if image is None else GridRow(Path(image), cards, text))
    retrieval_grid(rows, picture, title="")
