"""Ray: one index served from shards that actors hold, on as many machines as a cluster has.

Each actor maps its shard from a folder that all nodes see (:mod:`hashret.stores.shards`) and searches it with
:class:`hashret.search.HammingIndex`; the answers are merged exactly. An actor that dies is started again by Ray, on
another node if need be, and opens the shard as the dead one left it; the request that it did not answer is sent once
more, and :attr:`RayStore.retried` counts it. hashret has to be installed on every node. One store changes a folder at a
time; any number may search it, each seeing the changes made before it was opened.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError, StoreError
from hashret.search import HammingIndex, Hits, merge
from hashret.search.inputs import LARGEST_ID, as_codes, as_ids, first_ids, ids_after, one_id_each, whole_number
from hashret.stores.address import Address
from hashret.stores.local import check_bits
from hashret.stores.ray_cluster import import_ray, join_cluster
from hashret.stores.shards import Shard, Verb, held, read_layout, shard_codes, write_shards
from hashret.stores.store import Closing, ids_of

__all__ = ["RayStore", "open_ray"]

_PATIENCE = 300  # seconds for an answer, and for an actor to come back


class ShardActor:
    """What runs on a node: a shard and the verbs on it, all by arrays.

    Ray hands arrays over read-only; codes are copied, because the kernels would be compiled once more for such.

    Args:
        folder: Of the shards.
        number: Which.
        threads: For each search.
    """

    def __init__(self, folder: str, number: int, threads: int) -> None:
        """Open the shard."""
        self._shard, self._threads = Shard(folder, number), threads

    def state(self) -> tuple[int, int, int]:
        """Number of codes, number of the last change, the largest id ever held."""
        return len(self._shard.index), self._shard.sequence, self._shard.largest

    def process(self) -> int:
        """Number of the process, as the node's system counts them."""
        return os.getpid()

    def ids(self) -> NDArray[np.int64]:
        """All ids of the shard."""
        return self._shard.index.ids

    def known(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these ids it holds."""
        return held(self._shard.index, ids)

    def take(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Packed codes of ids that it holds."""
        return self._shard.index.take(np.array(ids)).packed

    def search(self, packed: NDArray[np.uint8], k: int, allowed: NDArray[np.int64] | None) -> tuple[Any, ...]:
        """Distances and ids of the k nearest, no wider than the shard has codes."""
        k = max(1, min(k, len(self._shard.index)))
        return tuple(self._shard.index.search(np.array(packed), k, allowed=allowed, threads=self._threads))

    def within(self, packed: NDArray[np.uint8], radius: int, allowed: NDArray[np.int64] | None) -> tuple[Any, ...]:
        """Distances and ids within a radius."""
        return tuple(self._shard.index.within(np.array(packed), radius, allowed=allowed, threads=self._threads))

    def histogram(self, packed: NDArray[np.uint8], allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Codes by distance."""
        return self._shard.index.histogram(np.array(packed), allowed=allowed, threads=self._threads)

    def change(
        self, sequence: int, token: str, verb: Verb, ids: NDArray[np.int64], packed: NDArray[np.uint8]
    ) -> tuple[int, int]:
        """Make a change, once however often it is asked for."""
        return self._shard.change(sequence, token, verb, np.array(ids), np.array(packed))

    def compact(self) -> None:
        """Take the journal into the file."""
        self._shard.compact()


class RayStore(Closing):
    """Shards behind the verbs of :class:`hashret.search.HammingIndex`.

    Args:
        folder: Of the shards, as every node sees it.
        cpus: Of each actor, and threads of its searches.
        timeout: Seconds to wait for an answer, and for a dead actor to come back.
        owns: Whether closing the store also leaves the cluster.

    Attributes:
        retried: Requests that were sent a second time because an actor had died.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, cpus: int = 1, timeout: float = _PATIENCE, owns: bool = False
    ) -> None:
        """Start the actors, and wait until all have opened their shards."""
        self._ray, self._folder, self.name = import_module("ray"), Path(folder).resolve(), f"ray:{folder}"
        self._bits, count = read_layout(folder)
        self._timeout, self._owns, self.retried = timeout, owns, 0
        made = self._ray.remote(
            max_restarts=-1, max_task_retries=0, num_cpus=cpus, scheduling_strategy="SPREAD",
        )(ShardActor)  # fmt: skip
        self._actors = [made.remote(str(self._folder), number, cpus) for number in range(count)]
        try:
            states = self._all("state")
        except BaseException:
            self.close()
            raise
        self._counts, self._sequences, self._largest = ([state[i] for state in states] for i in range(3))

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._bits

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,)."""
        every = np.concatenate(self._all("ids"))
        every.sort()
        return every

    def __len__(self) -> int:
        """Number of codes."""
        self._open()
        return sum(self._counts)

    def __contains__(self, number: object) -> bool:
        """Whether a code has this id."""
        self._open()
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number <= LARGEST_ID:
            return False
        return bool(self._known(np.array([number], np.int64)).any())

    def processes(self) -> list[int]:
        """The process of each shard's actor, as its node counts them."""
        return self._all("process")

    def add(self, codes: Codes | NDArray[np.uint8], ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add codes to the smallest shard; raises as ``HammingIndex.add``, and StoreError."""
        self._open()
        codes = as_codes(codes, self.bits, "codes")
        following = max(self._largest, default=-1) + 1
        given = ids_after(following, len(codes)) if ids is None else one_id_each(ids, len(codes))
        taken = given[self._known(given).any(axis=0)] if ids is not None else given[:0]
        if len(taken):
            raise InputError(
                "ids", expected="ids that are not in the store", got=f"{first_ids(taken)} taken",
                remedy="Use replace(ids, codes) to change their codes, or let the store number the new ones.",
            )  # fmt: skip
        self._change(int(np.argmin(self._counts)), "add", given, codes.packed)
        return given

    def remove(self, ids: ArrayLike) -> int:
        """Remove codes by their ids; raises as ``HammingIndex.remove``, and StoreError.

        Shards are changed one after the other: a failure in between leaves those before it changed.
        """
        self._open()
        leaving = np.unique(as_ids(ids))
        for shard, mine in enumerate(self._holders(leaving)):
            self._change(shard, "remove", leaving[mine], np.empty((0, 1), np.uint8))
        return len(leaving)

    def replace(self, ids: ArrayLike, codes: Codes | NDArray[np.uint8]) -> None:
        """Give items new codes; raises as ``HammingIndex.replace``, and as :meth:`remove` in between."""
        self._open()
        codes = as_codes(codes, self.bits, "codes")
        given = one_id_each(ids, len(codes))
        for shard, mine in enumerate(self._holders(given)):
            self._change(shard, "replace", given[mine], codes.packed[mine])

    def take(self, ids: ArrayLike) -> Codes:
        """The codes of ids, in the order given.

        Raises:
            InputError: An id is not in the store.
            StoreError: The store is closed, or a shard did not answer twice.
        """
        self._open()
        given = as_ids(ids)
        packed = np.empty((len(given), -(-self.bits // 8)), np.uint8)
        for shard, mine in enumerate(self._holders(given)):
            if mine.any():
                packed[mine] = self._answers([shard], "take", given[mine])[0]
        return Codes(packed, self.bits)

    def search(self, codes: Codes | NDArray[np.uint8], k: int, *, allowed: ArrayLike | None = None) -> Hits:
        """The k nearest codes of every query.

        Raises:
            InputError: As ``HammingIndex.search``.
            WidthError: The queries are of another width.
            StoreError: The store is closed, or a shard did not answer twice.
        """
        self._open()
        k, queries = whole_number(k, "k", least=1), as_codes(codes, self.bits, "queries")
        answers = self._all("search", queries.packed, k, ids_of(allowed, self))
        return merge([Hits.checked(*answer) for answer in answers], k)

    def within(self, codes: Codes | NDArray[np.uint8], radius: int, *, allowed: ArrayLike | None = None) -> Hits:
        """All codes within a Hamming radius, inclusive, of every query; raises as :meth:`search`."""
        self._open()
        radius = min(whole_number(radius, "radius", least=0), self.bits)
        queries = as_codes(codes, self.bits, "queries")
        answers = self._all("within", queries.packed, radius, ids_of(allowed, self))
        parts = [Hits.checked(*answer) for answer in answers]
        found = sum(((part.ids >= 0).sum(axis=1) for part in parts), np.zeros(len(queries), np.int64))
        width = int(found.max(initial=0))
        return merge(parts, width) if width else Hits.none(len(queries))

    def histogram(self, codes: Codes | NDArray[np.uint8], *, allowed: ArrayLike | None = None) -> NDArray[np.int64]:
        """Codes by distance, int64 (Q, bits + 1); raises as :meth:`search`."""
        self._open()
        queries = as_codes(codes, self.bits, "queries")
        counts = np.zeros((len(queries), self.bits + 1), np.int64)
        for part in self._all("histogram", queries.packed, ids_of(allowed, self)):
            counts += part
        return counts

    def compact(self) -> None:
        """Write every shard as one file with all changes in it.

        Raises:
            FileError: The folder cannot be written.
        """
        self._all("compact")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all codes as one index file; they pass through this process's memory, which must see the folder.

        Raises:
            FileError: The place cannot be written.
        """
        self._open()
        whole = HammingIndex(self.bits)
        for number in range(len(self._actors)):
            shard_codes(self._folder, number, whole)
        whole.save(path)

    def _let_go(self) -> None:
        """Stop the actors, and leave the cluster if this store joined it."""
        if self._ray.is_initialized():
            for actor in self._actors:
                self._ray.kill(actor, no_restart=True)
            if self._owns:
                self._ray.shutdown()

    def _known(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which shard holds which of these ids, bool (shards, n)."""
        return np.stack(self._all("known", ids))

    def _holders(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As :meth:`_known`; refuses ids that no shard holds."""
        holders = self._known(ids)
        unknown = ids[~holders.any(axis=0)]
        if len(unknown):
            raise InputError(
                "ids", expected="ids that are in the store", got=f"{first_ids(unknown)} unknown",
                remedy="Leave them out; `number in store` tells. Nothing was changed.",
            )  # fmt: skip
        return holders

    def _change(self, shard: int, verb: Verb, ids: NDArray[np.int64], packed: NDArray[np.uint8]) -> None:
        if not len(ids):
            return
        sequence, token = self._sequences[shard] + 1, uuid.uuid4().hex
        count, largest = self._answers([shard], "change", sequence, token, verb, ids, packed)[0]
        self._counts[shard], self._sequences[shard], self._largest[shard] = count, sequence, largest

    def _all(self, verb: str, *arguments: Any) -> list[Any]:
        """The answers of all shards, in their order."""
        return self._answers(range(len(self._actors)), verb, *arguments)

    def _answers(self, shards: Sequence[int], verb: str, *arguments: Any) -> list[Any]:
        """Ask some shards at once; who dies over it is asked once more when it is back."""
        self._open()
        sent = [self._ray.put(a) if isinstance(a, np.ndarray) and a.nbytes > 100_000 else a for a in arguments]
        asked = [getattr(self._actors[shard], verb).remote(*sent) for shard in shards]
        answers = []
        for shard, answer in zip(shards, asked, strict=True):
            try:
                answers.append(self._got(answer, shard))
            except self._ray.exceptions.RayActorError:  # dead, or not back yet
                self.retried += 1
                self._wait(shard)
                answers.append(self._again(shard, getattr(self._actors[shard], verb).remote(*sent)))
        return answers

    def _got(self, answer: Any, shard: int) -> Any:
        """An answer, or the error that it is."""
        try:
            return self._ray.get(answer, timeout=self._timeout)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except self._ray.exceptions.GetTimeoutError as error:
            raise self._lost(shard, f"none in {self._timeout:g} s") from error

    def _wait(self, shard: int) -> None:
        """Wait until an actor is back."""
        ends = time.monotonic() + self._timeout
        while True:
            try:
                self._got(self._actors[shard].process.remote(), shard)
                return
            except self._ray.exceptions.ActorUnavailableError as error:
                if time.monotonic() > ends:
                    raise self._lost(shard, f"no actor in {self._timeout:g} s") from error
                time.sleep(0.05)
            except self._ray.exceptions.RayActorError as error:
                raise self._lost(shard, _last_line(error)) from error

    def _again(self, shard: int, answer: Any) -> Any:
        """The answer to a request that was sent a second time."""
        try:
            return self._got(answer, shard)
        except self._ray.exceptions.RayActorError as error:
            raise self._lost(shard, f"two dead actors: {_last_line(error)}") from error

    def _lost(self, shard: int, said: str) -> StoreError:
        return StoreError(
            f"{self.name}, shard {shard}", expected="an answer", got=said,
            remedy="Do all nodes see the folder, have hashret and free CPUs? See Ray's log of the actor.",
        )  # fmt: skip


def _last_line(error: Exception) -> str:
    """What a message of Ray comes to: the error within it, if there is one."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def open_ray(address: Address) -> RayStore:
    """Open ``ray:///FOLDER``: a folder of shards, or with ``?bits=64&shards=4`` a new one where there is none.

    Options: ``address`` of a running cluster (``auto``, ``host:6379`` or ``ray://host:10001``, as ``ray.init`` takes
    it; by default the cluster this process is in, else one on this machine), ``cpus`` of each actor (1), ``timeout`` in
    seconds (300), ``bits``, ``shards``.

    Raises:
        StoreError: Ray is not installed, there is no such cluster, or a shard cannot be opened.
        FileError: There are no shards, and no ``bits`` and ``shards`` for new ones.
        WidthError: The shards hold codes of another width.
    """
    address.only("address", "bits", "cpus", "shards", "timeout")
    folder, bits, shards = address.local(), address.number("bits"), address.number("shards")
    cpus, timeout = address.number("cpus", 1), address.number("timeout", _PATIENCE)
    import_ray()
    if bits is not None and shards is not None and not (Path(folder) / "shards.json").exists():
        HammingIndex(bits)  # refuses what is too wide
        write_shards(folder, Codes(np.empty((0, -(-bits // 8)), np.uint8), bits), shards=shards)
    have, count = read_layout(folder)
    check_bits(have, bits, folder)
    if shards not in (None, count):
        raise InputError(
            "option shards", expected=f"{count}, as the folder has", got=str(shards), remedy="Leave it out."
        )
    _, owns = join_cluster(address.options.get("address"))
    return RayStore(folder, cpus=cpus or 1, timeout=timeout or _PATIENCE, owns=owns)
