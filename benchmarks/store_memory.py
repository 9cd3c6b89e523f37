"""The memory of a process and of all that it started: pages that are theirs alone, at their highest."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Watch"]

_EVERY = 0.2  # seconds


class Watch:
    """Looks several times a second, as long as it is entered.

    Attributes:
        peak: Bytes at most, beyond what this process held when it was entered; 0 where the system has no /proc.
    """

    peak = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._ended = threading.Event()
        self._before = private_bytes(descendants(os.getpid()))
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_EVERY):
            self.peak = max(self.peak, private_bytes(descendants(os.getpid())) - self._before)


def descendants(process: int) -> list[int]:
    """A process and all that it and they started."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):  # gone meanwhile
            parent = int(file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(file.parent.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found


def private_bytes(processes: list[int]) -> int:
    """Resident pages that are of no file and no shared memory, of all of them together."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
    return total
