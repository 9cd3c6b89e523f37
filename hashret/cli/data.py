"""``hashret data list | info | check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hashret.cli.show import say

if TYPE_CHECKING:
    from hashret.data import Card, Checked

__all__ = ["data"]


@click.group()
def data() -> None:
    """The datasets hashret knows: what they are, and whether a copy of one is whole."""


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_datasets(as_json: bool) -> None:
    """List the datasets and their protocols."""
    import json

    from hashret.data import DATASETS

    cards = [dataset.CARD for dataset in DATASETS.values()]
    if as_json:
        click.echo(json.dumps([_plain(card) for card in cards], indent=1, ensure_ascii=False))
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        click.echo(f"{click.style(card.name.ljust(width), bold=True)}  {card.title}")
        click.echo(f"{'':{width}}  {', '.join(protocol.name for protocol in card.protocols)}")


@data.command(epilog="Example: hashret data info mirflickr25k")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> None:
    """Say what the dataset NAME is: licence, where its files come from, the expected tree, its protocols."""
    import json

    from hashret.data import dataset_named

    card = dataset_named(name).CARD
    if as_json:
        click.echo(json.dumps(_plain(card), indent=1, ensure_ascii=False))
        return
    click.secho(card.title, bold=True)
    for label, text in (("", card.what), ("Licence", card.licence), ("Files", card.source)):
        _paragraph(label, text)
    click.echo(f"\n{click.style('Expected', bold=True)}\n")
    click.echo("".join(f"  {line}\n" for line in card.tree.splitlines()))
    for protocol in card.protocols:
        click.echo(click.style(f"data.protocol={protocol.name}", bold=True))
        sizes = ", ".join(f"{size:,} {part}" for part, size in protocol.sizes.items())
        _paragraph("", f"{protocol.what}. Defined by: {protocol.source}.", "  ")
        _paragraph("", f"Metrics of its published rows: {', '.join(protocol.metrics)}.", "  ")
        if sizes:
            _paragraph("", f"Official sizes: {sizes}.", "  ")
    if card.classes:
        _paragraph("Labels", f"{len(card.classes)}: {', '.join(card.classes)}")


@data.command(epilog="Example: hashret data check flickr ../data/flickr30k --unreadable bad-images.jsonl")
@click.argument("name")
@click.argument("root", type=click.Path(exists=True, file_okay=False))
@click.option("--images/--no-images", default=True, show_default=True, help="Decode every image.")
@click.option(
    "--unreadable",
    type=click.Path(dir_okay=False),
    help="Where missing and unreadable images are listed, a JSON line each [default: NAME-unreadable.jsonl].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(name: str, root: str, images: bool, unreadable: str | None, as_json: bool) -> None:
    """Check the copy of the dataset NAME in the folder ROOT.

    Every expected file is looked for, numbers are compared with the official ones, splits that share an image are
    found, and every image is decoded once. Exit code 0 if nothing is wrong, 1 otherwise.
    """
    import json
    import sys

    from hashret.data import check as check_dataset

    with _Bar() as bar:
        checked = check_dataset(name, root, images=images, progress=bar)
    listed = ""
    if checked.unreadable:
        listed = unreadable or f"{name}-unreadable.jsonl"
        checked.write_unreadable(listed)
    if as_json:
        click.echo(json.dumps(checked.to_dict(), indent=1, ensure_ascii=False))
    else:
        _print_checked(checked, images)
    if listed:
        say(f"missing and unreadable images: {listed}")
    sys.exit(0 if checked.good else 1)


class _Bar:
    """A progress bar on a terminal; nothing elsewhere, and nothing before there is something to count."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if not self._progress.tasks:
            self._progress.add_task("images", total=total)
        self._progress.update(self._progress.tasks[0].id, completed=done)


def _print_checked(checked: Checked, images: bool) -> None:
    """What is there, the numbers, what is wrong."""
    for path in checked.survey.present:
        click.echo(f"{click.style('there', fg='green')}    {path}")
    for count in checked.survey.counts:
        right = count.official is None or count.found == count.official
        told = "" if count.official is None else f" (officially {count.official:,})"
        click.echo(f"{click.style('number', fg='green' if right else 'red')}   {count.what}: {count.found:,}{told}")
    good = checked.decoded - len(checked.unreadable)
    click.echo(f"images   {good:,} of {checked.decoded:,} can be read" if images else "images   not looked at")
    problems = checked.problems()
    for line in problems:
        click.echo(click.style("wrong    ", fg="red") + line)
    if problems:
        click.echo(f"{len(problems)} problem{'s' * (len(problems) > 1)}. Official files: {checked.card.source}")
    else:
        click.echo(f"{checked.card.title}: nothing is wrong")


def _paragraph(label: str, text: str, indent: str = "") -> None:
    head = f"{label}: " if label else ""
    click.echo(click.wrap_text(head + text, width=100, initial_indent=indent, subsequent_indent=indent))


def _plain(card: Card) -> dict[str, object]:
    from dataclasses import asdict

    fields = asdict(card)
    fields["protocols"] = [
        {key: getattr(protocol, key) for key in ("name", "what", "source", "sizes", "metrics")}
        for protocol in card.protocols
    ]
    return fields
