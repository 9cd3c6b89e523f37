"""``hashret hash fit | apply``."""

from __future__ import annotations

from typing import Any

import click

from hashret.cli.show import say

__all__ = ["hash_group"]

_ARRAY = "Its array or column, where it holds several."


@click.group("hash")
def hash_group() -> None:
    """Turn embeddings you already have into codes: fit a hasher once, apply it to files larger than memory.

    Embeddings are rows of a .npy, .npz, .safetensors or .parquet. Most hashers are fitted in closed form or nearly so;
    contrastive is a network that is trained, on pairs or labels.
    """


@hash_group.command(epilog="Example: hashret hash fit clip.npy --hasher itq --bits 64 --out clip.itq")
@click.argument("embeddings", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--hasher", required=True,
    help="lsh, pca_sign, itq; with --pairs cca_sign, cca_itq; with both --pairs and --labels scm, seph; with either or "
    "both contrastive.",
)  # fmt: skip
@click.option("--bits", default=64, show_default=True, help="Width of a code.")
@click.option("--pairs", type=click.Path(exists=True, dir_okay=False), help="Embeddings of the texts of the same rows.")
@click.option("--labels", type=click.Path(exists=True, dir_okay=False), help="Zeros and ones (N, C), or classes (N,).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A parameter of the hasher.")
@click.option("--sample", default=100_000, show_default=True, type=click.IntRange(2), help="Rows to fit on, at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the sample and of the hasher.")
@click.option("--array", default="", help=_ARRAY)
@click.option("--pairs-array", default="", help="The same of --pairs.")
@click.option("--labels-array", default="", help="The same of --labels.")
@click.option("--out", type=click.Path(), required=True, help="Hasher file to write; a run folder for contrastive.")
def fit(
    embeddings: str, hasher: str, bits: int, pairs: str | None, labels: str | None, overrides: tuple[str, ...],
    sample: int, seed: int, array: str, pairs_array: str, labels_array: str, out: str,
) -> None:  # fmt: skip
    """Fit a hasher on EMBEDDINGS, or on a sample of their rows, and write it to a file.

    A network (contrastive) is trained in the folder OUT; killed, it goes on when the same command is given again.
    --set takes options of its method and of training, such as epochs, lr, batch_size, head, label_weight.
    """
    from hashret.data.rowfile import open_rows
    from hashret.hashers.streaming import fit_rows

    given = {"images" if pairs else "vectors": open_rows(embeddings, array)}
    if pairs:
        given["texts"] = open_rows(pairs, pairs_array)
    if labels:
        given["labels"] = open_rows(labels, labels_array, column=True)
    options, total = _parsed(overrides), next(iter(given.values())).rows
    if hasher == "contrastive":
        from hashret.pipeline.hash import fit_learned

        _, used = fit_learned(given, out, bits=bits, options=options, sample=sample, seed=seed, say=say)
        click.echo(f"{bits}-bit {hasher} fitted on {used:,} of {total:,} rows: {out}")
        return
    made = _shallow(hasher, bits, seed, options)
    if made.inputs != ("vectors",) and not pairs:
        given["images"] = given.pop("vectors")
    used = fit_rows(made, given, sample=sample, seed=seed)
    made.save(out)
    click.echo(f"{made} fitted on {used:,} of {total:,} rows: {out}")


@hash_group.command(epilog="Example: hashret hash apply clip.itq clip.npy --out clip.codes")
@click.argument("hasher", type=click.Path(exists=True))
@click.argument("embeddings", type=click.Path(exists=True, dir_okay=False))
@click.option("--side", type=click.Choice(["image", "text"]), help="What the rows are; for hashers of two modalities.")
@click.option("--array", default="", help=_ARRAY)
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="Codes file to write.")
def apply(hasher: str, embeddings: str, side: str | None, array: str, out: str) -> None:
    """Write the codes of all rows of EMBEDDINGS, by the HASHER that ``hashret hash fit`` wrote.

    A block of rows is in memory at a time. The codes file appears once it is whole; Codes.load opens it, and
    HammingIndex searches it.
    """
    import time

    from hashret.data.rowfile import open_rows
    from hashret.hashers.streaming import hash_rows

    rows, told = open_rows(embeddings, array), [time.monotonic()]

    def progress(done: int) -> None:
        if time.monotonic() > told[0] + 5:
            told[0] = time.monotonic()
            say(f"{done:,} of {rows.rows:,} rows")

    count = hash_rows(_load(hasher), rows, out, side=side, progress=progress)
    click.echo(f"{count:,} codes in {out}")


def _shallow(name: str, bits: int, seed: int, options: dict[str, object]) -> Any:
    """An unfitted hasher that needs no torch."""
    from inspect import signature

    from hashret.errors import InputError
    from hashret.hashers import HASHERS
    from hashret.hashers.streaming import make_hasher, near

    if name not in HASHERS:
        known = [*HASHERS, "contrastive"]
        raise InputError("hasher", expected=f"one of {', '.join(known)}", got=repr(name), remedy=near(name, known))
    seeded: dict[str, object] = {"seed": seed} if "seed" in signature(HASHERS[name]).parameters else {}
    return make_hasher(HASHERS, name, {"bits": bits, **seeded, **options})


def _load(path: str) -> Any:
    """A fitted hasher: a file holds a shallow one, a folder a network."""
    import os

    if os.path.isdir(path):
        from hashret.pipeline.hash import load_learned

        return load_learned(path)
    from hashret.hashers import load_hasher

    return load_hasher(path)


def _parsed(overrides: tuple[str, ...]) -> dict[str, object]:
    """``key=value`` strings as values, as YAML reads them."""
    import yaml

    from hashret.errors import InputError

    values: dict[str, object] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            equals = ""
        if not equals or not key.strip():
            raise InputError("--set", expected="key=value", got=override, remedy="Write --set iterations=50.")
    return values
