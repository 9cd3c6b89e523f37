"""``hashret evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import click

from hashret.cli.show import FORMATS, print_results, print_run_scores, say

__all__ = ["evaluate"]


@click.command(
    epilog="Examples: hashret evaluate runs/flickr8k --json > scores.json; "
    "hashret evaluate --run-file bm25.run --qrels qrels.txt --metrics map,hit@10"
)
@click.argument("run", required=False, type=click.Path(exists=True, file_okay=False))
@click.option("--data", type=click.Path(exists=True), help="Root of the dataset, if it has moved since training.")
@click.option("--metrics", help="Comma-separated, e.g. map,recall@10 [default: the recipe's; map for run files].")
@click.option(
    "--ties",
    type=click.Choice(["expected", "by-id", "best", "worst"]),
    help="What orders equals [default: the recipe's; expected for run files].",
)
@click.option(
    "--unanswered",
    type=click.Choice(["omit", "zero"]),
    default="omit",
    show_default=True,
    help="Leave queries without a right answer out, or count them as misses.",
)
@click.option(
    "--preset",
    type=click.Choice(["crcgs-compat"]),
    help="Somebody else's metric, ties and counting, instead of these three: CRCGS's released code.",
)
@click.option(
    "--by",
    type=click.Choice(["codes", "embedding"]),
    default="codes",
    show_default=True,
    help="What of RUN is ranked: codes by Hamming distance, or the embeddings they were made of by cosine.",
)
@click.option(
    "--database",
    type=click.Choice(["encoded", "fused", "learned"]),
    default="encoded",
    show_default=True,
    help="Whose codes are searched: by the encoder of the side searched, or by those of both sides of an item; learned "
    "ones only hashers have.",
)
@click.option(
    "--second-look",
    "shortlist",
    type=click.IntRange(min=1),
    metavar="N",
    help="Search in two stages: a shortlist of N --by codes or embedding, then the fine score of the shortlist.",
)
@click.option(
    "--weight",
    type=click.FloatRange(min=0),
    help="Of the first stage's score beside the fine one [default: chosen on the validation split].",
)
@click.option("--intervals", is_flag=True, help="Also 95 % bootstrap intervals over queries.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--run-file",
    "run_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Measure a ranking in TREC's form instead of RUN; may be given several times.",
)
@click.option("--qrels", type=click.Path(exists=True, dir_okay=False), help="Right answers of the run files.")
def evaluate(
    run: str | None,
    data: str | None,
    metrics: str | None,
    ties: str | None,
    unanswered: str,
    preset: str | None,
    by: Literal["codes", "embedding"],
    database: Literal["encoded", "fused", "learned"],
    shortlist: int | None,
    weight: float | None,
    intervals: bool,
    form: str,
    as_json: bool,
    run_files: tuple[str, ...],
    qrels: str | None,
) -> None:
    """Measure RUN on the test split of its dataset, beside random codes, the untrained network and the sign of CCA.

    The scores are also written to RUN/results.json, and those of every query to RUN/per_query.safetensors, which
    ``hashret compare`` reads. With --by embedding the embeddings are measured, beside those of the untrained network;
    the files are then results-embedding.json and per_query-embedding.safetensors, and with --database fused they are
    results-fused.json and per_query-fused.safetensors. With --second-look the run is searched in two stages, beside
    the first alone and the fine score of everything, each with the time of a query; a right answer outside of the
    shortlist is a miss. With --run-file and --qrels anyone's rankings are measured
    instead: equal scores tie, a higher score is better, and a judged query that is not ranked counts as a miss.
    """
    import json

    if preset and (metrics or ties or unanswered != "omit" or run_files):
        raise click.UsageError("--preset says metrics, ties and unanswered itself, of a RUN.")
    names = [name.strip() for name in metrics.split(",")] if metrics else None
    if run_files:
        if run is not None or qrels is None or data is not None or by != "codes" or database != "encoded" or shortlist:
            raise click.UsageError(
                "--run-file needs --qrels, and neither RUN nor --data, --by, --database nor --second-look."
            )
        _rankings(run_files, qrels, names or ["map"], ties or "expected", unanswered, intervals, form, as_json)
        return
    if run is None or qrels is not None:
        raise click.UsageError("Name a RUN folder, or --run-file with --qrels.")
    if shortlist and (preset or ties or database != "encoded") or (weight is not None and not shortlist):
        raise click.UsageError("--second-look goes with --by, --weight and --metrics, and not with other rules.")
    from hashret import pipeline

    if shortlist:
        results = pipeline.evaluate_second_look(
            run, shortlist, data=data, by=by, weight=weight, metrics=names or ("hit@1", "hit@5", "hit@10"), say=say
        )
    else:
        results = pipeline.evaluate_run(
            run, data=data, metrics=names, ties=ties, unanswered=unanswered, preset=preset, by=by, database=database,
            say=say,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(results.to_dict(intervals), indent=1))
    else:
        print_results(results, form, intervals)


def _rankings(
    paths: Sequence[str],
    qrels: str,
    metrics: Sequence[str],
    ties: str,
    unanswered: str,
    intervals: bool,
    form: str,
    as_json: bool,
) -> None:
    """Measure rankings by anyone and print what was found."""
    import json

    from hashret.evaluation import runfile

    judged = runfile.read_qrels(qrels)
    found = {path: runfile.score_run(runfile.read_run(path), judged, metrics, ties, unanswered) for path in paths}
    if as_json:
        content = {
            path: {**one.scores.to_dict(intervals), "unranked": one.unranked, "unjudged": one.unjudged}
            for path, one in found.items()
        }
        click.echo(json.dumps(content, indent=1))
    else:
        print_run_scores(found, form, intervals)
