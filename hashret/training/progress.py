"""What a person sees while a run trains: a bar a stage with losses, score and time left. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

__all__ = ["TrainingBar"]


class TrainingBar:
    """A progress bar over all steps of a stage; silent where the console is no terminal or ``quiet`` is set.

    Without a terminal one line an epoch is printed instead, so that a log file stays readable.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        """Prepare; nothing is shown before the first stage."""
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(min_width=14, no_wrap=True, justify="right")),
            BarColumn(bar_width=20, table_column=Column(min_width=20, no_wrap=True)),
            MofNCompleteColumn(table_column=Column(min_width=11, no_wrap=True)),
            TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True), compact=True),
            TextColumn("left  {task.fields[losses]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            expand=True,
        )
        self.task: TaskID | None = None
        self.stage = self.score = ""

    def __enter__(self) -> TrainingBar:
        """Take the terminal."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self.progress.stop()

    def begin(self, stage: str, total: int, done: int) -> None:
        """A stage of ``total`` steps begins, of which ``done`` were taken before an interruption."""
        self.stage, self.score = stage, ""
        self.task = self.progress.add_task(stage, total=total, completed=done, losses="")

    def step(self, losses: Mapping[str, float]) -> None:
        """One step was taken."""
        if self.task is not None:
            text = " ".join(f"{name} {value:.3g}" for name, value in losses.items())
            self.progress.update(self.task, advance=1, losses=f"{self.score}[dim]{text}")

    def epoch(self, number: int, epochs: int, losses: Mapping[str, float], score: float | None, seconds: float) -> None:
        """An epoch ended with these mean losses and, where the stage is validated, this score."""
        if score is not None:
            self.score = f"validation {score:.4f}  "
        if self.quiet or self.console.is_terminal:
            return
        text = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        shown = "" if score is None else f" | validation {score:.4f}"
        self.console.print(
            f"{self.stage} {number}/{epochs} {seconds:.1f}s | {text}{shown}", highlight=False, soft_wrap=True
        )
