"""``hashret demo``: everything once, on a dataset drawn on the spot."""

from __future__ import annotations

import click

from hashret.cli.serve import check_installed, open_page
from hashret.cli.show import print_results, say

__all__ = ["demo"]


@click.command(epilog="Examples: hashret demo --out demo; hashret demo --serve")
@click.option("--composed", is_flag=True, help="Of composed queries: a picture and a sentence ask for another picture.")
@click.option("--out", type=click.Path(file_okay=False), default="demo", show_default=True, help="Folder to write.")
@click.option("--serve", "served", is_flag=True, help="Then open a page to search the demo's data with.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Of that page.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the demo's recipe.")
def demo(composed: bool, out: str, served: bool, port: int, overrides: tuple[str, ...]) -> None:
    """Draw a dataset, train CRCGS on it, encode, index, search, measure, and draw pictures, in under five minutes.

    With --composed the dataset is of edits ("make the star red"), and a method of composed queries is trained. With
    --serve its pictures are kept in OUT/images, and the page of hashret serve is opened on them.
    """
    from hashret.demonstration import demonstrate, demonstrate_composed

    if served:
        check_installed()
    if composed:
        print_results(demonstrate_composed(out, overrides, keep_images=served, say=say))
        say(f"pictures: {out}/hits.png {out}/curves.png; the run: {out}/run")
    else:
        print_results(demonstrate(out, overrides, keep_images=served, say=say))
        say(f"pictures: {out}/hits.png {out}/curves.png {out}/precision-recall.png; the run: {out}/run")
    if served:
        indexes = [f"{out}/composed.index"] if composed else [f"{out}/t2i.index", f"{out}/i2t.index"]
        open_page(f"{out}/run", indexes, images=f"{out}/images", port=port, browser=True)
