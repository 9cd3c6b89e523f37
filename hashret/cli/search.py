"""``hashret search``."""

from __future__ import annotations

import click

from hashret.cli.show import say

__all__ = ["search"]


@click.command(
    epilog='Example: hashret search photos.index --run runs/flickr8k --text "a dog in the snow" --picture hits.png'
)
@click.argument("index", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--run", type=click.Path(exists=True, file_okay=False), required=True, help="Run the codes were made with."
)
@click.option("--text", "texts", multiple=True, help="Search by a text; may be given several times.")
@click.option(
    "--image", "images", multiple=True, type=click.Path(exists=True, dir_okay=False), help="Search by an image."
)
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Answers a query.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Also draw queries and answers into this PNG.")
def search(
    index: str, run: str, texts: tuple[str, ...], images: tuple[str, ...], k: int, as_json: bool, picture: str | None
) -> None:
    """Search INDEX by texts or images: the k items at the smallest Hamming distance, ordered by distance, then row."""
    if not texts and not images:
        raise click.UsageError("Give at least one --text or --image.")
    import json

    from hashret import pipeline
    from hashret.examples import Example

    queries = [Example(text=text) for text in texts] + [Example(image=image) for image in images]
    answers = pipeline.search(index, run, queries, k)
    if as_json:
        rows = [
            {"query": query.key, "hits": [{"distance": f.distance, **_plain(f.item)} for f in found]}
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


def _plain(item: object) -> dict[str, str]:
    from dataclasses import asdict

    return {key: value for key, value in asdict(item).items() if value}  # type: ignore[call-overload]


def _draw(queries: list, answers: list, picture: str) -> None:  # type: ignore[type-arg]
    """Queries and answers as a grid of pictures."""
    from hashret.images import open_image
    from hashret.report import Answer, GridRow, retrieval_grid

    rows = []
    for query, found in zip(queries, answers, strict=True):
        shown = query.text if query.text is not None else open_image(query.image)
        cards = [
            Answer(
                open_image(hit.item.path) if hit.item.path else hit.item.text or hit.item.key,
                None,
                f"distance {hit.distance}",
            )
            for hit in found
        ]
        rows.append(GridRow(shown, cards))
    retrieval_grid(rows, picture, title="")
