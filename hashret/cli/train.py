"""``hashret train``."""

from __future__ import annotations

import click

from hashret.cli.show import print_results, say

__all__ = ["train"]


@click.command(
    epilog="Example: hashret train configs/crcgs-flickr8k.yaml --data flickr8k --set method.bits=32 --out runs/32"
)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. method.bits=32.")
@click.option("--data", type=click.Path(exists=True), help="Root of the dataset.")
@click.option("--out", type=click.Path(file_okay=False), help="Run folder [default: runs/RECIPE].")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option(
    "--from",
    "start",
    type=click.Path(exists=True, file_okay=False),
    metavar="RUN",
    help="Train the last stage alone, on what RUN has learned; only its settings and the hash layer's may differ.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def train(
    recipe: str,
    overrides: tuple[str, ...],
    data: str | None,
    out: str | None,
    resume: bool,
    start: str | None,
    quiet: bool,
) -> None:
    """Train what RECIPE says, then measure it on the test split.

    Under torchrun several processes train as one: a batch is shared out among them, and the first one measures.
    A killed run goes on with --resume and, on a CPU, ends in the same weights. Tables are printed beside random codes,
    the untrained network and the sign of CCA.
    """
    from pathlib import Path

    from hashret import pipeline

    folder = Path(out) if out else Path("runs") / Path(recipe).stem
    checked = pipeline.read_recipe(recipe, overrides)
    first = pipeline.leads(checked)
    speak = say if first and not quiet else (lambda line: None)
    pipeline.train(checked, folder, data=data, resume=resume, start=start, quiet=quiet, say=speak)
    if first:
        print_results(pipeline.evaluate_run(folder, data=data, say=speak))
        speak(f"run folder: {folder}")
