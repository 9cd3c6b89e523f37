"""``hashret report``."""

from __future__ import annotations

import click

from hashret.cli.show import say

__all__ = ["report"]


@click.command(epilog="Example: hashret report runs/crcgs-64 runs/dscmr-64 --data ROOT --out report")
@click.argument("runs", metavar="RUN [RUN ...]", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write.")
@click.option("--data", type=click.Path(exists=True), help="Root of the dataset, if it has moved since training.")
@click.option("--kept-only", is_flag=True, help="Encode nothing: report what the run folders keep.")
def report(runs: tuple[str, ...], out: str, data: str | None, kept_only: bool) -> None:
    """Write what is known of RUNs into one page: OUT/report.html, with report.md and pictures/ beside it.

    Values with their intervals, paired tests against the first RUN, training, and provenance are read from the run
    folders, which ``hashret evaluate`` filled. Precision and recall, classes, the health of the codes and single
    queries take the codes of the test split, which is encoded for that; where its data is not at hand the page says
    so. Nothing is written into a run.
    """
    from hashret.errors import HashretError
    from hashret.report import Examined, read_kept, write_report

    if kept_only and data:
        raise click.UsageError("--kept-only reads no data: leave --data out.")
    examined = []
    for kept, folder in zip(read_kept(runs), runs, strict=True):
        if kept_only:
            examined.append(Examined(kept, missing="nothing was encoded (--kept-only)."))
            continue
        from hashret.pipeline import examine

        say(f"encoding the test split of {kept.name}")
        try:
            examined.append(Examined(kept, examine(folder, data=data, say=say)))
        except HashretError as error:
            reason = f"its test split could not be encoded: {error} Give --data ROOT if its data has moved."
            say(f"{kept.name}: {reason}")
            examined.append(Examined(kept, missing=reason))
    write_report(examined, out)
    click.echo(f"{out}/report.html")
