"""The click group: it turns a HashretError into one line and exit code 1, and lists the commands."""

from __future__ import annotations

import click

from hashret.cli.compare import compare
from hashret.cli.data import data
from hashret.cli.demo import demo
from hashret.cli.encode import encode
from hashret.cli.evaluate import evaluate
from hashret.cli.hash import hash_group
from hashret.cli.index import index
from hashret.cli.report import report
from hashret.cli.search import search
from hashret.cli.serve import serve
from hashret.cli.train import train
from hashret.errors import HashretError

__all__ = ["main"]


class _Group(click.Group):
    """A group whose commands may raise HashretError."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a user's mistake becomes ``Error: ...`` unless ``--debug`` wants the traceback."""
        try:
            return super().invoke(ctx)
        except HashretError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="hashret")
def main(debug: bool) -> None:
    r"""Images, texts and image+text queries as binary codes, ranked by exact Hamming distance.

    \b
    hashret demo                                    everything once, on a dataset drawn on the spot
    hashret data check flickr ROOT                  is this copy of a dataset whole?
    hashret train recipe.yaml --data ROOT --out RUN learn codes from image-text pairs
    hashret encode RUN photos/ --side image --out DIR
    hashret hash fit clip.npy --hasher itq --out H  codes for embeddings you already have
    hashret index DIR --out photos.index
    hashret search photos.index --run RUN --text "a dog runs through the snow"
    hashret serve --run RUN --index photos.index    a page to search with
    hashret evaluate RUN                            mAP and recall on the test split, ties stated
    hashret compare RUN OTHER                       is the difference more than luck?
    hashret report RUN OTHER --out DIR              one page of figures, curves, queries and provenance
    """


for command in (demo, data, train, encode, hash_group, index, search, serve, evaluate, compare, report):
    main.add_command(command)
