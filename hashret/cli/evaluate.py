"""``hashret evaluate``."""

from __future__ import annotations

import click

from hashret.cli.show import print_results, say

__all__ = ["evaluate"]


@click.command(epilog="Example: hashret evaluate runs/flickr8k --json > scores.json")
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.option("--data", type=click.Path(exists=True), help="Root of the dataset, if it has moved since training.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(run: str, data: str | None, as_json: bool) -> None:
    """Measure RUN on the test split of its dataset, beside random codes, the untrained network and the sign of CCA.

    The scores are also written to RUN/results.json.
    """
    import json

    from hashret import pipeline

    results = pipeline.evaluate_run(run, data=data, say=say)
    if as_json:
        click.echo(json.dumps(results.to_dict(), indent=1))
    else:
        print_results(results)
