"""EncodingTally: which shards a run has to encode, and what became of its items so far, whoever encodes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hashret.encoded import EncodedFolder
from hashret.errors import DataError
from hashret.pipeline.shard_encoder import Step

__all__ = ["EncodingTally"]


class EncodingTally:
    """One run's part of an encoded folder.

    Args:
        folder: The folder; what is done is read out of it.
        name: What the source is called.
        shard_size: Items a shard.
        runs: How many runs share the work.
        index: Which of them this one is.
        most: How many items may fail; None for any number.

    Attributes:
        items: Items of this run's shards so far, those of earlier runs included.
        codes: Those that have a code.
        failures: Those that have none.
        before: Items that an earlier run had done already.
    """

    def __init__(
        self, folder: EncodedFolder, name: str, *, shard_size: int, runs: int, index: int, most: int | None
    ) -> None:
        """Nothing is counted yet."""
        self._folder, self._name, self._size = folder, name, shard_size
        self._runs, self._index, self._most = runs, index, most
        self.items = self.codes = self.failures = self.before = 0
        self._reasons: Counter[str] = Counter()
        self._first: tuple[str, str] | None = None
        self._done: dict[int, bool] = {}

    def wanted(self, number: int) -> bool:
        """Whether a shard is this run's and not done yet; what is done is counted."""
        if number % self._runs != self._index:
            return False
        if number not in self._done:
            noted = self._folder.stats(number)
            self._done[number] = noted is not None
            if noted is not None:
                self.before += noted["items"]
                self.items += noted["items"]
                self.codes += noted["codes"]
                self.failures += noted["failures"]
        return not self._done[number]

    def left(self, count: int) -> dict[int, int]:
        """Shards of a source of ``count`` items that are wanted, and how many items each has."""
        shards = range(-(-count // self._size))
        return {number: min(self._size, count - number * self._size) for number in shards if self.wanted(number)}

    def add(self, step: Step) -> None:
        """Some more items are through."""
        self.items += step.items
        self.failures += len(step.failed)
        self.codes += step.items - len(step.failed)
        self._reasons.update(reason for _, reason in step.failed)
        if self._first is None and step.failed:
            self._first = step.failed[0]

    def lines(self) -> Iterator[str]:
        """What a person should hear about this run's failures."""
        for reason, times in self._reasons.most_common(3):
            yield f"failed, {times:,} of them: {reason}"
        if self._first:
            yield f"the first to fail: {self._first[0]}"

    def check(self) -> None:
        """Refuse to go on where too many items failed.

        Raises:
            DataError: They did.
        """
        if self._most is None or self.failures <= self._most:
            return
        told = ""
        if self._first:
            reason, times = self._reasons.most_common(1)[0]
            told = f"Commonest reason: {reason} ({times} times); first: {self._first[0]}: {self._first[1]}. "
        raise DataError(
            self._name, expected=f"at most {self._most:,} items that cannot be encoded", got=f"{self.failures:,}",
            remedy=f"{told}Finished shards list theirs in {self._folder.path / 'failures'}. Mend them, or raise "
            "--max-failures and give the command again.",
        )  # fmt: skip

    def check_any(self) -> None:
        """Refuse a source of which nothing could be encoded.

        Raises:
            DataError: There were items, and not one has a code.
        """
        if self.codes or not self.items:
            return
        key, reason = self._first or ("", "see the failures")
        raise DataError(
            self._name, expected=f"{self._folder.manifest['side']}s to encode",
            got=f"none: {reason}{f' ({key})' * bool(key)}",
            remedy=f"Check source and --side; all reasons are in {self._folder.path / 'failures'}.",
        )  # fmt: skip
