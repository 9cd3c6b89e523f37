"""What a person sees while items are encoded: how many, how fast, how many failed, how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["EncodingBar"]

_LINE = 30.0  # seconds between lines where there is no terminal


class EncodingBar:
    """A bar on a terminal; elsewhere a line every half minute, so that a log stays readable.

    Args:
        total: Items to be encoded now, None if nobody knows.
        say: Told the lines.
        quiet: Draw nothing.
        console: Where the bar is drawn.
    """

    def __init__(
        self, total: int | None, say: Callable[[str], None], *, quiet: bool = False, console: Console | None = None
    ) -> None:
        """Begin to count."""
        self.total, self.say = total, say
        self.done = self.failures = 0
        self.begun = self.told = time.monotonic()
        console = console or Console(stderr=True)
        self.drawn = console.is_terminal and not quiet
        columns = (
            TextColumn("encoding"), BarColumn(bar_width=30), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(compact=True), TextColumn("left"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, transient=True, disable=not self.drawn)
        self._task = self._progress.add_task("encoding", total=total, rate="")

    def __enter__(self) -> EncodingBar:
        """Take the terminal."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._progress.stop()

    def add(self, items: int, failures: int) -> None:
        """Some more items are through, failures among them."""
        self.done, self.failures = self.done + items, self.failures + failures
        now = time.monotonic()
        self._progress.update(self._task, completed=self.done, rate=self._rate(now))
        if not self.drawn and now - self.told >= _LINE:
            self.told = now
            self.say(self.line())

    def line(self) -> str:
        """``12,000 of 100,000 items, 410/s, 3 failed, 0:03:34 left``."""
        now = time.monotonic()
        of, left = "", ""
        if self.total is not None:
            of = f" of {self.total:,}"
            rest = (self.total - self.done) * (now - self.begun) / max(1, self.done)
            left = f", {int(rest) // 3600}:{int(rest) // 60 % 60:02d}:{int(rest) % 60:02d} left"
        return f"{self.done:,}{of} items, {self._rate(now)}{left}"

    def _rate(self, now: float) -> str:
        speed = self.done / max(1e-9, now - self.begun)
        return f"{speed:{',.0f' if speed >= 100 else '.3g'}}/s, {self.failures:,} failed"
