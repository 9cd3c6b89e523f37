"""encode_on_ray: the shards of a job on a Ray cluster, by Ray Data's ``map_batches``.

The data set is the numbers of the shards that are left. They go through a pool of actors, each of which has loaded the
run once and encodes whole shards into the folder that all nodes see, as the local runner does. The marks in the folder
are the progress, and all that passes through Ray is how many items are through and why some failed. An actor that dies
is started again by Ray, and its shard, which has no mark, is done again; one that has is not touched.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hashret.errors import FileError, HashretError, StoreError
from hashret.pipeline.shard_encoder import EncodingJob, ShardEncoder, Step
from hashret.stores.ray_cluster import import_ray, join_cluster

__all__ = ["encode_on_ray"]

_ATTEMPTS = 6  # Ray itself would give a shard that kills its workers to one after the other for ever


class ShardWorker:
    """What runs on a node: an encoder of shards, and what it has to tell as columns of bytes.

    Args:
        job: What is encoded.
        folder: Where the command was given, which relative paths are relative to.
    """

    def __init__(self, job: EncodingJob, folder: str) -> None:
        """Nothing is loaded yet, so that what is wrong is told as the answer to a shard."""
        self._job = job
        with contextlib.suppress(OSError):  # no such folder here; paths that need it will say so
            os.chdir(folder)

    @cached_property
    def _encoder(self) -> ShardEncoder:
        if not Path(self._job.out, "manifest.json").exists():
            raise FileError(
                str(Path(self._job.out).absolute()), expected="the folder this run began, on every node",
                got="no manifest.json on one of them",
                remedy="Choose an --out on a file system that all nodes see under the same path.",
            )  # fmt: skip
        return self._job.begin(lambda line: None)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Encode shards; a pickled Step each, or the error that ended it."""
        return {"told": [pickle.dumps(self._told(int(number))) for number in batch["item"]]}

    def _told(self, number: int) -> Step | HashretError:
        try:
            if self._encoder.folder.begin_shard(number) > _ATTEMPTS:
                return StoreError(
                    f"ray, shard {number}", expected="workers that live", got=f"{_ATTEMPTS} that died over it",
                    remedy="Is there enough memory on the nodes? Finished shards are kept: give the command again.",
                )  # fmt: skip
            return self._encoder.shard(number)
        except HashretError as error:
            return error


@dataclass(frozen=True)
class _Pool:
    """How many actors, and what each holds of its node."""

    workers: int
    cpus: int
    gpus: float


def encode_on_ray(
    job: EncodingJob, numbers: Sequence[int], *, address: str | None, workers: int | None
) -> Generator[Step]:
    """Encode shards on a cluster; a step is a shard, in the order in which they are done.

    Args:
        job: What is encoded; its folder is begun. ``workers`` of it is processes that decode for each actor, by default
            the cores that the actor's node has for it.
        numbers: Of the shards.
        address: Of the cluster; see :func:`hashret.stores.ray_cluster.join_cluster`.
        workers: Actors; by default one a GPU, or one a node where there is none.

    Raises:
        HashretError: What a worker's encoder raised.
        StoreError: Ray is not installed, there is no such cluster, or workers die again and again over one shard.
    """
    data = import_ray("ray.data").data
    ray, joined = join_cluster(address)
    try:
        pool = _pool(ray, job, workers)
        data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        shards = data.from_items(list(numbers), override_num_blocks=len(numbers)).map_batches(
            ShardWorker, fn_constructor_args=[replace(job, workers=pool.cpus), os.getcwd()], batch_size=1,
            compute=data.ActorPoolStrategy(size=min(pool.workers, len(numbers)), max_tasks_in_flight_per_actor=1),
            num_cpus=pool.cpus, num_gpus=pool.gpus,
        )  # fmt: skip
        with contextlib.closing(iter(shards.iter_rows())) as rows:  # closed, it ends the actors
            for row in rows:
                told = pickle.loads(row["told"])
                if isinstance(told, HashretError):
                    raise told
                yield told
    finally:
        if joined:
            ray.shutdown()


def _pool(ray: Any, job: EncodingJob, workers: int | None) -> _Pool:
    """Actors that fit the nodes, if these are alike."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    cpus = [int(node["CPU"]) for node in nodes] or [1]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes) if job.device != "cpu" else 0
    workers = workers or gpus or len(cpus)
    each = max(1, min(cpus) // -(-workers // len(cpus)))
    return _Pool(workers, job.workers or each, 1 / -(-workers // gpus) if gpus else 0.0)
