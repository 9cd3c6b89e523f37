"""What runs in a process of its own for benchmarks/hamming_search.py: it makes data, takes times, compares answers.

A task comes as a dict that was JSON and its result goes back as one. Codes come from files that all engines map, so
that all of them search the same. The answers of hashret's scan are kept beside the codes, and those of every other
engine are compared with them. Nothing here knows what a result has to be.
"""

from __future__ import annotations

import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hamming_peers import ENGINES, Answers, Engine, Rows
from numpy.typing import NDArray

Task = dict[str, Any]

_AT_MOST = 50  # repeats of what takes a very short time
_PROBE = 8  # queries by which the time of a slow engine is estimated
_PIECE = 1 << 20  # codes that are made at a time


def run(task: Task) -> Task:
    """Do one task; what it takes and gives is said where it is done."""
    return TASKS[task["task"]](task)


def make_data(task: Task) -> Task:
    """Write ``codes.npy`` and ``queries.npy``: uniform, or around random centres with a share of bits flipped."""
    chance, width = np.random.default_rng(task["seed"]), task["bits"] // 8
    centres = chance.integers(0, 256, (task["centres"], width), np.uint8)
    flips = round(task["flips"] * 65_536)

    def drawn(count: int) -> Rows:
        if not len(centres):
            return chance.integers(0, 256, (count, width), np.uint8)
        flipped = chance.integers(0, 65_536, (count, 8 * width), np.uint16) < flips
        return centres[chance.integers(0, len(centres), count)] ^ np.packbits(flipped, axis=1)

    folder = Path(task["folder"])
    folder.mkdir(parents=True)
    for name in ("codes", "queries"):
        file = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (task[name], width))
        piece = max(1, _PIECE * 8 // width)
        for start in range(0, task[name], piece):
            file[start : start + piece] = drawn(len(file[start : start + piece]))
        file.flush()
    return {}


def peak_bytes() -> int:
    """The most memory this process has held so far.

    By /proc where there is one: a process that was forked inherits ``ru_maxrss`` of its parent.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    high = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    unit = 1 if sys.platform == "darwin" else 1024
    return int(high[0]) * 1024 if high else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seconds_of(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def search(task: Task) -> Task:
    """Give the codes of a folder to an engine and take the time of each measure in each of its variants.

    Peak memory is beyond what the process held before it saw the codes; the codes that it was given count.
    """
    engine = ENGINES[task["engine"]](task["bits"], task["threads"])
    folder, before = Path(task["folder"]), peak_bytes()
    codes, queries = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("codes", "queries"))
    started = time.perf_counter()
    engine.add(codes)
    added = time.perf_counter() - started
    rows, answers = [], []
    for asked in task["measures"]:
        for variant in engine.variants:
            row, found = _measured(engine, variant, queries, asked, task)
            rows.append({"variant": variant, **asked, **row})
            answers.append(found)
    about = {**engine.about(), "add_seconds": added, "peak_bytes": peak_bytes() - before}
    for row, found in zip(rows, answers, strict=True):
        distances, ids = (np.concatenate(part) for part in zip(*found, strict=True))
        row |= _compared(engine, distances, ids, folder / f"{row['queries']}-{row['k']}.npz")
    return {"rows": rows, "about": about}


def _measured(engine: Engine, variant: str, queries: Rows, asked: Task, task: Task) -> tuple[Task, list[Answers]]:
    """Times of one measure, and its answers."""
    k, repeats, limit = asked["k"], task["repeats"], task["limit"]
    mine = queries[: asked["queries"]]
    found: list[Answers] = []
    engine.search(mine[:1], k, variant)  # compiles or loads what is needed

    def call() -> None:
        found.clear()
        step = 1 if asked["alone"] else max(1, len(mine))
        found.extend(engine.search(mine[at : at + step], k, variant) for at in range(0, len(mine), step))

    if engine.slow:
        everything, mine = mine, mine[:_PROBE]
        each = seconds_of(call) / len(mine)
        mine = everything[: max(len(mine), int(limit / (repeats + 1) / each))]
    first = seconds_of(call)
    if limit and first * repeats > limit:
        repeats = max(1, int(limit / first))
    elif first * repeats < task["least"]:
        repeats = max(repeats, min(_AT_MOST, int(task["least"] / first)))
    times = [seconds_of(call) for _ in range(repeats)]
    return {"times": times, "seconds": statistics.median(times), "measured": len(mine)}, found


def _compared(engine: Engine, distances: NDArray[Any], ids: NDArray[np.int64], file: Path) -> Task:
    """How many queries have other answers than hashret's scan, or which share of the answers is right.

    Which of several codes at the k-th distance an engine gives is its own affair, except that of hashret. An answer is
    right if it is no farther than the k-th.
    """
    if not file.exists():
        if engine.needs == "hashret":
            np.savez(file, distances=distances, ids=ids)
        return {}
    with np.load(file) as right:
        near, names = right["distances"][: len(distances)], right["ids"][: len(distances)]
    if not engine.exact:
        return {"recall": float((distances <= near[:, -1:]).mean())}
    different = (distances != near).any(axis=1)
    if engine.needs == "hashret":
        different |= (ids != names).any(axis=1)
    return {"different": int(different.sum())}


def limits(task: Task) -> Task:
    """Measure what the machine could do: reading from memory, and XOR with popcount in the first-level cache.

    Beside them a scan of few codes by hashret, all in the cache; it is no limit, because most of its time goes into
    the first codes of each query, before the distance of the k-th is known.
    """
    streams, count = _compiled()
    words: NDArray[np.uint64] = np.arange(task["bytes"] // 8, dtype=np.uint64)
    kinds = {"numpy max": np.max, "numpy xor": np.bitwise_xor.reduce, "numba xor of 4 streams": streams}
    reading: Task = {}
    for threads in task["threads"]:
        with ThreadPoolExecutor(threads) as pool:
            for name, kind in kinds.items():
                times = [_reading(kind, words, threads, pool) for _ in range(1 + max(5, task["repeats"]))]
                reading.setdefault(str(threads), {})[name] = words.nbytes / statistics.median(times[1:])
    del words
    popcount = {str(bits): _popcounts(count, bits) for bits in task["bits"]}
    resident = {str(bits): _resident(bits, task["resident"]) for bits in task["bits"]}
    return {"read_bytes_per_second": reading, "popcount_pairs_per_second": popcount, "cache_resident_scan": resident}


def _reading(kind: Callable[[Any], Any], words: NDArray[np.uint64], threads: int, pool: ThreadPoolExecutor) -> float:
    """Seconds to read an array once, shared out among threads."""
    parts = np.array_split(words, threads)
    return seconds_of(lambda: list(pool.map(kind, parts)))


def _compiled() -> tuple[Any, Any]:
    """A function that reads an array, and one that XORs codes with queries and adds up the bits."""
    import numba
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def bits_of(typing: Any, word: Any) -> Any:
        return word(word), lambda context, builder, signature, values: builder.ctpop(values[0])

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def streams(words: Any) -> Any:
        part = len(words) // 4
        a = b = c = d = words[0] ^ words[0]
        for at in range(part):
            a ^= words[at]
            b ^= words[at + part]
            c ^= words[at + 2 * part]
            d ^= words[at + 3 * part]
        return a ^ b ^ c ^ d

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def count(codes: Any, queries: Any, total: Any) -> None:
        bits = total[0]
        for row in range(0, len(queries) - 3, 4):  # four at a time: popcount is the limit then, not loading
            p, q, r, s = queries[row], queries[row + 1], queries[row + 2], queries[row + 3]
            for at in range(len(codes)):
                code = codes[at]
                bits += (bits_of(code ^ p) + bits_of(code ^ q)) + (bits_of(code ^ r) + bits_of(code ^ s))
        total[0] = bits

    return streams, count


def _popcounts(count: Any, bits: int) -> float:
    """Pairs a second of XOR, popcount and add over 16 KiB of codes: the best of 20."""
    lane = next(size for size in (8, 4, 2, 1) if bits // 8 % size == 0)
    chance, dtype = np.random.default_rng(0), np.dtype(f"u{lane}")
    top = np.iinfo(dtype).max
    codes, queries = (chance.integers(0, top, size, dtype) for size in (16_384 // lane, 4_096))
    total = np.zeros(1, dtype)
    count(codes[:1], queries[:4], total)
    best = min(seconds_of(lambda: count(codes, queries, total)) for _ in range(20))
    return len(codes) * len(queries) / best / (bits // 8 // lane)


def _resident(bits: int, shape: tuple[int, int]) -> float:
    """Pairs a second of hashret where all codes lie in the cache: the median of 5."""
    chance, engine = np.random.default_rng(0), ENGINES["hashret"](bits, 1)
    codes, queries = (chance.integers(0, 256, (count, bits // 8), np.uint8) for count in shape)
    engine.add(codes)
    engine.search(queries, 10, "")
    times = [seconds_of(lambda: engine.search(queries, 10, "")) for _ in range(5)]
    return len(codes) * len(queries) / statistics.median(times)


def save(task: Task) -> Task:
    """Save an index of the codes of a folder there."""
    from hashret.search import HammingIndex

    folder = Path(task["folder"])
    index = HammingIndex(task["bits"])
    index.add(np.asarray(np.load(folder / "codes.npy", mmap_mode="r")))
    seconds = seconds_of(lambda: index.save(folder / "index.safetensors"))
    return {"seconds": seconds, "bytes": (folder / "index.safetensors").stat().st_size}


def load(task: Task) -> Task:
    """Map the saved index and search once, again and again: from the disk, where that can be had, and from memory.

    hashret is imported, and its kernels are loaded by a search of another index, before the time is taken.
    """
    from hashret.search import HammingIndex

    folder = Path(task["folder"])
    file, query = folder / "index.safetensors", np.load(folder / "queries.npy")[:1]
    small = HammingIndex(task["bits"])
    small.add(query)
    small.search(query, 10, threads=task["threads"])
    rows, before = [], peak_bytes()
    for variant in ("from the disk", "from the page cache"):
        if variant == "from the disk" and not hasattr(os, "posix_fadvise"):
            continue
        opened, asked = [], []
        for _ in range(task["repeats"]):
            if variant == "from the disk":
                _forget(file)
            started = time.perf_counter()
            index = HammingIndex.load(file, mmap=True)
            searched = time.perf_counter()
            opened.append(searched - started)
            index.search(query, 10, threads=task["threads"])
            asked.append(time.perf_counter() - searched)
            del index
            gc.collect()
        rows.append({
            "variant": variant, "times": opened, "seconds": statistics.median(opened),
            "first_search_seconds": statistics.median(asked), "peak_bytes": peak_bytes() - before,
        })  # fmt: skip
    return {"rows": rows}


def _forget(file: Path) -> None:
    """Ask the system to drop a file from its cache."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


TASKS: dict[str, Callable[[Task], Task]] = {
    "data": make_data, "search": search, "limits": limits, "save": save, "load": load,
}  # fmt: skip
