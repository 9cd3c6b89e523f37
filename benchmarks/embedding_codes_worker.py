"""What runs in a process of its own for benchmarks/embedding_codes.py: codes, searches, second looks, and their times.

A task comes as a dict that was JSON and its rows go back as JSON. Vectors come from .npy files, so that no process has
to load torch beside faiss. Every engine searches all queries in one call, with one thread; turning queries into codes
is part of that time. The second look is :func:`hashret.rerank` for all of them. Nothing here knows what a result has
to be.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret import Codes, EmbeddingStore, HammingIndex, Hits, binarize, rerank
from hashret.hashers import CCAITQ, ITQ, LSH, CCASign, PCASign, load_hasher

Task = dict[str, Any]
Vectors = NDArray[np.float32]
Search = Callable[[Vectors, int], Hits]
Coder = Callable[[Vectors], Codes]

K = 10
LOOKS = ("float32", "int8")
TURNS = 20  # of ITQ; 50 in its paper
SAMPLE, STEPS = 10_240, 10  # of faiss's k-means: vectors, and turns of 25 by default
TIMED = 1_000  # queries
LISTS, PROBES = 64, 16  # of faiss's inverted files
_AT_ONCE = 1_000  # queries of the exact search


def run(task: Task) -> Task:
    """All rows of a task; its ``part`` is one of ``float`` (first), ``hashret``, ``pairs``, ``given`` and ``faiss``."""
    folder = Path(task["folder"])
    read = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    parts = {"float": _float, "hashret": _hashers, "pairs": _pairs, "given": _given, "faiss": _faiss}
    return {"rows": list(parts[task["part"]](task, folder, read))}


def exact(gallery: Vectors, queries: Vectors, k: int) -> NDArray[np.int64]:
    """The k nearest by cosine, int64 (Q, k), by (cosine descending, id)."""
    unit = _unit(gallery)
    found = []
    for start in range(0, len(queries), _AT_ONCE):
        scores = _unit(queries[start : start + _AT_ONCE]) @ unit.T
        best = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        order = np.lexsort((best, -np.take_along_axis(scores, best, 1)), axis=1)
        found.append(np.take_along_axis(best, order, 1))
    return np.concatenate(found).astype(np.int64)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def recall(ids: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    """Share of the right ids (Q, r) that are among those found (Q, k); -1 is none."""
    found = (ids[:, :, None] == right[:, None, :]).any(axis=1)
    return float(found[right >= 0].mean())


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median time of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _rows(task: Task, folder: Path, read: Task, told: Task, search: Search, code_bytes: float) -> Iterator[Task]:
    """Rows of one engine: its own order, and a second look for each form of the embeddings."""
    queries, right = read["queries"], read["right"]

    def row(look: str, find: Callable[[Vectors], Any], stored: float) -> Task:
        few = queries[:TIMED]
        return {
            **told, "look": look, "recall": recall(find(queries).ids[:, :K], right), "code_bytes": code_bytes,
            "seconds_per_query": _seconds(lambda: find(few), task["repeats"]) / len(few),
            "bytes": code_bytes + stored,
        }  # fmt: skip

    yield row("", lambda x: search(x, K), 0)
    for look in LOOKS:
        store = EmbeddingStore.open(folder / f"gallery.{look}")
        for candidates in task["candidates"] if look == LOOKS[-1] else task["candidates"][:1]:

            def twice(x: Vectors, store: EmbeddingStore = store, candidates: int = candidates) -> Any:
                return rerank(search(x, candidates), x, store, K, threads=1)

            listed = recall(search(queries, candidates).ids, right)
            yield {**row(look, twice, store.row_bytes), "listed": listed, "candidates": candidates}


def _float(task: Task, folder: Path, read: Task) -> Iterator[Task]:
    """The search that all others are compared with; writes ``right.npy`` where that is its own answer, and stores."""
    gallery, queries = read["gallery"], read["queries"]
    for look in LOOKS:
        EmbeddingStore.write(folder / f"gallery.{look}", gallery, dtype=look)  # type: ignore[arg-type]
    ids = exact(gallery, queries, K)
    if "right" not in read:
        np.save(folder / "right.npy", ids)
    right = read.get("right", ids)
    few = queries[:TIMED]
    seconds = _seconds(lambda: exact(gallery, few, K), task["repeats"]) / len(few)
    size = gallery.shape[1] * 4
    yield {
        "method": "float", "bits": 0, "look": "", "recall": recall(ids, right), "seconds_per_query": seconds,
        "code_bytes": size, "bytes": size,
    }  # fmt: skip


def _coded(task: Task, folder: Path, read: Task, told: Task, gallery: Coder, queries: Coder) -> Iterator[Task]:
    """Rows of codes."""
    codes = gallery(read["gallery"])
    index = HammingIndex(codes.bits)
    index.add(codes)
    told = {**told, "bits_used": codes.bits}
    yield from _rows(
        task, folder, read, told, lambda x, k: index.search(queries(x), k, threads=1), codes.packed.shape[1]
    )


def _hashers(task: Task, folder: Path, read: Task) -> Iterator[Task]:
    """Sign of the raw dimensions, as they are and with the mean taken off, and the hashers of one modality."""
    fit, width = read["fit"], read["fit"].shape[1]
    mean = fit.mean(0)
    for bits in task["bits"]:
        plain: Coder = lambda x, bits=bits: binarize(x[:, :bits])  # type: ignore[misc]  # noqa: E731
        centred: Coder = lambda x, bits=bits: binarize((x - mean)[:, :bits])  # type: ignore[misc]  # noqa: E731
        for name, coder in (("sign", plain), ("sign, centred", centred)):
            yield from _coded(task, folder, read, {"method": name, "bits": bits}, coder, coder)
        for kind in (LSH, PCASign, ITQ):
            told = {"method": kind.name, "bits": bits}
            if kind is not LSH and bits > width:
                yield {**told, "note": f"no more bits than {width} directions"}
                continue
            chosen: Task = {LSH: {"seed": task["seed"]}, ITQ: {"seed": task["seed"], "iterations": TURNS}}.get(kind, {})
            hasher = _fitted(task, folder, kind(bits=bits, **chosen), _scaled(fit, bits) if kind is ITQ else fit)
            coder = (lambda x, h=hasher, b=bits: h.transform(_scaled(x, b))) if kind is ITQ else hasher.transform
            yield from _coded(task, folder, read, told, coder, coder)


def _fitted(task: Task, folder: Path, hasher: Any, *vectors: Vectors) -> Any:
    """A hasher fitted once for all galleries of its space."""
    file = folder.parent / f"{task['space']}-{hasher.name}-{hasher.bits}.hasher".replace(" ", "-")
    if not file.exists():
        hasher.fit(*vectors).save(file)
    return load_hasher(file)


def _scaled(vectors: Vectors, bits: int) -> Vectors:
    """Vectors of length sqrt(bits), as ITQ's loss asks for and as cosine ignores."""
    return _unit(vectors) * np.float32(np.sqrt(bits))


def _pairs(task: Task, folder: Path, read: Task) -> Iterator[Task]:
    """The hashers of two modalities, from the vectors that the shared space is made of; the first chooses r for all."""
    images, texts = read["pair_images"], read["pair_texts"]
    most = min(images.shape[1], texts.shape[1])
    fixed = {"regularization": task["regularization"]} if "regularization" in task else {}
    for bits in task["bits"]:
        for kind in (CCASign, CCAITQ):
            told = {"method": kind.name, "bits": bits}
            if bits > most:
                yield {**told, "note": f"no more bits than {most} directions"}
                continue
            turns = {"iterations": TURNS} if kind is CCAITQ else {}
            made = kind(bits=bits, seed=task["seed"], **fixed, **turns)
            hasher = _fitted(task, folder, made, images, texts)
            fixed = {"regularization": hasher.regularization_}
            yield from _raw(task, folder, read, told, hasher)


def _raw(task: Task, folder: Path, read: Task, told: Task, hasher: Any) -> Iterator[Task]:
    """Rows of a pair hasher: it reads the vectors beneath the shared space, the second look those in it."""
    yield from _coded(
        task, folder, read, told, lambda _: hasher.transform(read["pair_gallery"], side="image"),
        lambda x: hasher.transform(read["pair_queries"][: len(x)], side="text"),
    )  # fmt: skip


def _given(task: Task, folder: Path, read: Task) -> Iterator[Task]:
    """Codes of a trained network, which made them elsewhere: its time is not counted."""
    for bits in task["bits"]:
        names = (f"learned-{bits}-gallery", f"learned-{bits}-queries")
        if names[0] in read:
            gallery, queries = (Codes(read[name], bits) for name in names)
            yield from _coded(
                task, folder, read, {"method": "contrastive", "bits": bits}, lambda _, g=gallery: g,
                lambda x, q=queries: q[: len(x)],
            )  # fmt: skip


def _faiss(task: Task, folder: Path, read: Task) -> Iterator[Task]:
    """Compressed indexes of faiss at equal bits, by inner product of vectors of length 1."""
    import faiss

    faiss.omp_set_num_threads(1)
    width = read["fit"].shape[1]
    gallery = _unit(read["gallery"])
    few = np.random.default_rng(task["seed"]).permutation(len(read["fit"]))[:SAMPLE]
    fit = _unit(read["fit"][np.sort(few)])
    for bits in task["bits"]:
        down = f"PCAR{bits}" if bits <= width else f"RR{bits}"
        made = {
            "IndexPQ": f"PQ{bits // 8}x8np", "IndexIVFPQFastScan": f"IVF{LISTS},PQ{bits // 4}x4fs",
            "IndexRaBitQ": f"{down},RaBitQ", "IndexIVFRaBitQ": f"{down},IVF{LISTS},RaBitQ",
        }  # fmt: skip
        for name, recipe in made.items():
            told = {"method": name, "bits": bits, "recipe": recipe}
            parts = {"IndexPQ": bits // 8, "IndexIVFPQFastScan": bits // 4}.get(name, 1)
            if width % parts:
                yield {**told, "note": f"{width} columns are not {parts} equal parts"}
                continue
            centroids = {"IndexPQ": 256, "IndexRaBitQ": 1}.get(name, LISTS)
            if len(fit) < centroids:
                yield {**told, "note": f"{len(fit)} vectors are fewer than {centroids} centroids"}
                continue
            index = faiss.index_factory(width, recipe, faiss.METRIC_INNER_PRODUCT)
            inner = faiss.downcast_index(index.index) if hasattr(index, "chain") else index
            for clusters in [part.cp for part in (inner, getattr(inner, "pq", None)) if hasattr(part, "cp")]:
                clusters.niter, clusters.min_points_per_centroid = STEPS, 1
            started = time.perf_counter()
            index.train(fit)
            index.add(gallery)
            told["build_seconds"] = time.perf_counter() - started
            if "IVF" in recipe:
                faiss.extract_index_ivf(index).nprobe = PROBES
            size = inner.code_size + (8 if "IVF" in recipe else 0)  # an inverted file keeps ids

            def search(queries: Vectors, k: int, index: Any = index) -> Hits:
                _, ids = index.search(_unit(queries), k)
                places = np.broadcast_to(np.arange(k, dtype=np.int32), ids.shape)
                return Hits(np.where(ids < 0, np.int32(2147483647), places), ids.astype(np.int64))

            yield from _rows(task, folder, read, told, search, size)
