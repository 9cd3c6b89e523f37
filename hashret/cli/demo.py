"""``hashret demo``: everything once, on a dataset drawn on the spot."""

from __future__ import annotations

import click

from hashret.cli.show import print_results, say

__all__ = ["demo"]


@click.command(epilog="Example: hashret demo --out demo")
@click.option("--composed", is_flag=True, help="Of composed queries: a picture and a sentence ask for another picture.")
@click.option("--out", type=click.Path(file_okay=False), default="demo", show_default=True, help="Folder to write.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the demo's recipe.")
def demo(composed: bool, out: str, overrides: tuple[str, ...]) -> None:
    """Draw a dataset, train CRCGS on it, encode, index, search, measure, and draw pictures, in under five minutes.

    With --composed the dataset is of edits ("make the star red"), and a method of composed queries is trained.
    """
    from hashret.demonstration import demonstrate, demonstrate_composed

    if composed:
        print_results(demonstrate_composed(out, overrides, say=say))
        say(f"pictures: {out}/hits.png {out}/curves.png; the run: {out}/run")
        return
    print_results(demonstrate(out, overrides, say=say))
    say(f"pictures: {out}/hits.png {out}/curves.png {out}/precision-recall.png; the run: {out}/run")
