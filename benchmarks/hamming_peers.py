"""The engines that benchmarks/hamming_search.py measures, all behind one interface: hashret and its peers.

An engine is used as its own documentation says it is fast, through its public interface only; where there is a choice
(a heap or a counter, which type of number to multiply) each is offered as a variant, or the faster is taken. A peer
is imported when it is made, so that no two of their OpenMP runtimes meet in one process. Nothing here takes the time,
except where the fastest of several ways is chosen before anything is measured.
"""

from __future__ import annotations

import importlib
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint8]  # codes, packed: (n, bits / 8)
Answers = tuple[NDArray[Any], NDArray[np.int64]]  # distances and ids, both (Q, k), nearest first


class Engine(ABC):
    """What is measured.

    Attributes:
        needs: The module without which there is no such engine.
        exact: Whether its distances have to equal hashret's; otherwise its recall is measured.
        slow: Whether fewer queries may be measured: each costs the same however many there are.
        variants: Ways of searching that are measured one after the other.

    Args:
        bits: Width of a code, a multiple of 8.
        threads: How many it may use.
    """

    needs: str = "hashret"
    exact = True
    slow = False
    variants: tuple[str, ...] = ("",)

    def __init__(self, bits: int, threads: int) -> None:
        """Import what is needed."""
        self.bits, self.threads = bits, threads
        self.module = importlib.import_module(self.needs)

    @abstractmethod
    def add(self, codes: Rows) -> None:
        """Take the codes that are searched; they stay as they are as long as the engine is used."""

    @abstractmethod
    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """The k nearest of each query."""

    def about(self) -> dict[str, Any]:
        """What a reader has to know of this engine besides its version."""
        return {}


class Hashret(Engine):
    """hashret.HammingIndex without tables: the scan."""

    algorithm: Literal["auto", "scan"] = "scan"

    def __init__(self, bits: int, threads: int) -> None:
        """Make an empty index; load the kernels by a search of another, as importing a peer loads its own."""
        super().__init__(bits, threads)
        from hashret.search import HammingIndex

        self.index, other = HammingIndex(bits), HammingIndex(bits)
        other.add(np.zeros((1, bits // 8), np.uint8))
        other.search(np.zeros((1, bits // 8), np.uint8), 1)

    def add(self, codes: Rows) -> None:
        """Add the codes under the ids 0, 1, 2 ..."""
        self.index.add(codes)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Search by ``algorithm``."""
        hits = self.index.search(queries, k, algorithm=self.algorithm, threads=self.threads)
        return hits.distances, hits.ids

    def about(self) -> dict[str, Any]:
        """Bytes of codes, ids and tables."""
        return {"bytes": self.index.nbytes}


class HashretTables(Hashret):
    """hashret.HammingIndex with multi-index tables, which it may use or not."""

    algorithm = "auto"

    def add(self, codes: Rows) -> None:
        """Add the codes and build the tables."""
        super().add(codes)
        started = time.perf_counter()
        self.index.build_tables()
        self.build_seconds = time.perf_counter() - started

    def about(self) -> dict[str, Any]:
        """Bytes, and what building the tables took."""
        return {**super().about(), "build_seconds": self.build_seconds}


class Faiss(Engine):
    """What the binary indexes of faiss have in common."""

    needs = "faiss"

    def __init__(self, bits: int, threads: int) -> None:
        """Make an empty index."""
        super().__init__(bits, threads)
        self.module.omp_set_num_threads(threads)
        self.build_seconds = 0.0
        self.index = self.made(2)

    @abstractmethod
    def made(self, codes: int) -> Any:
        """An empty index for so many codes."""

    def add(self, codes: Rows) -> None:
        """Train and add with all cores: building is not what is compared."""
        self.module.omp_set_num_threads(os.cpu_count() or 1)
        started = time.perf_counter()
        self.index = self.made(len(codes))
        self.index.train(codes)
        self.index.add(codes)
        self.build_seconds = time.perf_counter() - started
        self.module.omp_set_num_threads(self.threads)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Search as set."""
        distances, ids = self.index.search(queries, k)
        return distances, ids

    def about(self) -> dict[str, Any]:
        """Its instruction set; seconds to build with all cores."""
        level: Any = getattr(self.module, "SIMDConfig", None)
        simd = level.get_level_name() if level is not None else self.module.get_compile_options().strip()
        return {"simd": simd, "build_seconds": self.build_seconds}


class FaissFlat(Faiss):
    """IndexBinaryFlat, by heap and by counter."""

    variants = ("heap", "counter")

    def made(self, codes: int) -> Any:
        """An empty IndexBinaryFlat."""
        return self.module.IndexBinaryFlat(self.bits)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Search all queries in one pass over the codes.

        By default 32 of them; only for very large k the counters of more no longer fit the cache and are slower.
        """
        self.index.use_heap = variant == "heap"
        self.index.query_batch_size = max(32, len(queries)) if k <= 10_000 else 32
        return super().search(queries, k, variant)


class FaissHNSW(Faiss):
    """IndexBinaryHNSW: a graph."""

    exact = False
    variants = ("efSearch 16", "efSearch 64", "efSearch 256")

    def made(self, codes: int) -> Any:
        """A graph of 32 neighbours a code."""
        return self.module.IndexBinaryHNSW(self.bits, 32)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Search with a list of candidates as long as the variant says."""
        self.index.hnsw.efSearch = int(variant.split()[1])
        return super().search(queries, k, variant)


class FaissIVF(Faiss):
    """IndexBinaryIVF: lists around centres."""

    exact = False
    variants = ("nprobe 1", "nprobe 8", "nprobe 64")

    def made(self, codes: int) -> Any:
        """About as many lists as the square root of the number of codes."""
        self.quantizer = self.module.IndexBinaryFlat(self.bits)  # the index does not keep it alive
        lists = 1 << max(2, round(math.log2(codes) / 2))
        return self.module.IndexBinaryIVF(self.quantizer, self.bits, lists)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Look into as many lists as the variant says."""
        self.index.nprobe = int(variant.split()[1])
        return super().search(queries, k, variant)


class FaissMultiHash(Faiss):
    """IndexBinaryMultiHash: tables over parts of a code, of which some neighbouring buckets are looked into."""

    exact = False
    variants = ("nflip 0", "nflip 1", "nflip 2")

    def made(self, codes: int) -> Any:
        """As many parts as leave about one code a bucket."""
        parts = max(1, round(self.bits / math.log2(codes)))
        return self.module.IndexBinaryMultiHash(self.bits, parts, self.bits // parts)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Look into buckets that differ in as many bits as the variant says."""
        self.index.nflip = int(variant.split()[1])
        return super().search(queries, k, variant)


class Usearch(Engine):
    """usearch's exact search: a matrix of all distances, 16 bytes a pair, and a partial sort."""

    needs = "usearch"
    slow = True
    room = 1 << 30  # bytes of the matrix: as many queries a call as fit

    def __init__(self, bits: int, threads: int) -> None:
        """Import its search."""
        super().__init__(bits, threads)
        self.index: Any = importlib.import_module("usearch.index")

    def add(self, codes: Rows) -> None:
        """Keep the codes: they are given to each search."""
        self.codes = codes

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """Search as many queries at a time as there is room for."""
        step, metric = max(1, self.room // (16 * len(self.codes))), self.index.MetricKind.Hamming
        parts = [
            self.index.search(self.codes, queries[at : at + step], k, metric, exact=True, threads=self.threads)
            for at in range(0, len(queries), step)
        ]
        distances = np.concatenate([np.atleast_2d(part.distances) for part in parts])
        return distances.astype(np.int32), np.concatenate([np.atleast_2d(part.keys) for part in parts]).astype(np.int64)

    def about(self) -> dict[str, Any]:
        """Its instruction set."""
        index = self.index.Index(ndim=self.bits, metric="hamming", dtype="b1")
        return {"simd": index.hardware_acceleration}


class Numpy(Engine):
    """bitwise_count of XORed words, tile by tile, and partition: about what can be done in NumPy alone.

    It uses one thread: there is nothing in NumPy that shares this work out.
    """

    needs = "numpy"
    slow = True
    tile = 1 << 18  # codes

    def add(self, codes: Rows) -> None:
        """Lay the codes out in word planes: all first words, then all second words."""
        self.planes = np.ascontiguousarray(self._words(codes).T)

    def _words(self, codes: Rows) -> NDArray[Any]:
        lane = next(size for size in (8, 4, 2, 1) if codes.shape[1] % size == 0)
        return np.ascontiguousarray(codes).view(f"u{lane}")

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """For each query and tile, everything up to the k-th distance of the tile; of these the k lowest."""
        found = [self._nearest(words, k) for words in self._words(queries)]
        keys = np.stack(found)
        return (keys >> 32).astype(np.int32), keys & 0xFFFF_FFFF

    def _nearest(self, words: NDArray[Any], k: int) -> NDArray[np.int64]:
        """Keys distance << 32 | position, ascending."""
        kept = []
        for start in range(0, self.planes.shape[1], self.tile):
            planes = self.planes[:, start : start + self.tile]
            far = np.bitwise_count(planes[0] ^ words[0]).astype(np.uint16)
            for plane, word in zip(planes[1:], words[1:], strict=True):
                far += np.bitwise_count(plane ^ word)
            place = np.flatnonzero(far <= np.partition(far, k - 1)[k - 1]) if len(far) > k else np.arange(len(far))
            kept.append(far[place].astype(np.int64) << 32 | (place + start))
        keys = np.concatenate(kept)
        return np.sort(np.partition(keys, k - 1)[:k] if len(keys) > k else keys)


class Torch(Engine):
    """Codes as vectors of +-1, a matrix product tile by tile and topk: distance = (bits - product) / 2.

    (XOR and a table of 65,536 bit counts is 3 to 30 times slower: torch has no popcount.)
    """

    needs = "torch"
    slow = True
    tile = 1 << 16  # codes
    together = 256  # queries
    room = 2_100_000_000  # bytes that the vectors may take

    def __init__(self, bits: int, threads: int) -> None:
        """Set its threads."""
        super().__init__(bits, threads)
        self.module.set_num_threads(threads)

    def _ways(self) -> dict[Any, Callable[[Any, Any], Any]]:
        """Types of number that give the product exactly, and how they are multiplied.

        bfloat16 holds even numbers up to 512 exactly, and the product of +-1 vectors of even length is even.
        """
        torch = self.module
        ways = {torch.int8: lambda a, b: torch._int_mm(a, b.T), torch.float32: lambda a, b: a @ b.T}
        return ways | ({torch.bfloat16: lambda a, b: a @ b.T} if self.bits <= 512 else {})

    def _vectors(self, codes: Rows, dtype: Any) -> Any:
        """Vectors (n, bits) of +-1."""
        torch = self.module
        vectors = torch.empty((len(codes), self.bits), dtype=dtype)
        for start in range(0, len(codes), self.tile):
            signs = np.unpackbits(codes[start : start + self.tile], axis=1).view(np.int8) * 2 - 1
            vectors[start : start + self.tile] = torch.from_numpy(signs)
        return vectors

    def add(self, codes: Rows) -> None:
        """Choose the fastest type of number on a part of the codes; turn all into vectors."""
        taken = {}
        for dtype, product in self._ways().items():
            if len(codes) * self.bits * dtype.itemsize > self.room:
                continue
            sample = self._vectors(codes[:16_384], dtype)
            product(sample[: self.together], sample)
            started = time.perf_counter()
            product(sample[: self.together], sample)
            taken[dtype] = time.perf_counter() - started
        self.dtype = min(taken, key=lambda dtype: taken[dtype])
        self.product = self._ways()[self.dtype]
        self.vectors = self._vectors(codes, self.dtype)

    def search(self, queries: Rows, k: int, variant: str) -> Answers:
        """The k largest products of each tile, and of these the k largest."""
        torch, asked, parts = self.module, self._vectors(queries, self.dtype), []
        for first in range(0, len(asked), self.together):
            mine, values, places = asked[first : first + self.together], [], []
            for start in range(0, len(self.vectors), self.tile):
                products = self.product(mine, self.vectors[start : start + self.tile])
                best = torch.topk(products, min(k, products.shape[1]), dim=1)
                values.append(best.values)
                places.append(best.indices + start)
            top = torch.topk(torch.cat(values, dim=1), k, dim=1)
            parts.append((top.values.int(), torch.cat(places, dim=1).gather(1, top.indices)))
        distances = (self.bits - torch.cat([value for value, _ in parts])) // 2
        return distances.numpy(), torch.cat([place for _, place in parts]).numpy()

    def about(self) -> dict[str, Any]:
        """Which numbers it multiplies; its instruction set."""
        return {
            "numbers": str(self.dtype).removeprefix("torch."),
            "simd": self.module.backends.cpu.get_cpu_capability(),
        }


ENGINES: dict[str, type[Engine]] = {
    "hashret": Hashret,
    "hashret multi-index": HashretTables,
    "faiss flat": FaissFlat,
    "faiss HNSW": FaissHNSW,
    "faiss IVF": FaissIVF,
    "faiss MultiHash": FaissMultiHash,
    "usearch": Usearch,
    "numpy": Numpy,
    "torch": Torch,
}
