"""How fast mAP over whole Hamming rankings is: hashret beside the field's loop, torchmetrics and ranx, on COCO's size.

    python benchmarks/evaluation_speed.py --out evaluation_speed.json
    python benchmarks/evaluation_speed.py --threads 2 --loop-queries 5000
    python benchmarks/evaluation_speed.py --small

Each system gets the same packed codes and 0/1 labels (117,218 gallery items and 5,000 queries with 80 classes, about
2.9 labels an item, as MS-COCO has them) and gives mAP over the whole ranking. Each runs in a process of its own with
equal threads, after a warm-up; times are medians. Peers are measured on some of the queries, since all of them would
take hours, and their time is scaled up by the number of queries, which the table says; every query costs them the same.

- ``hashret``: ``evaluate(..., ties="expected")`` on all queries. Its "best" and "worst" bound what any order of equals
  can give, and the value of every peer has to lie between them, or the run fails.
- ``NumPy loop`` and ``torch loop``: what evaluators of the field do in either, written afresh: a query at a time,
  distances as a product of +-1 matrices, argsort, then the mean over the right answers of right answers so far / rank.
  Equals stay as the sort leaves them.
- ``torchmetrics``: RetrievalMAP. Scores are bits + 1 - distance: it takes items without a positive score for wrong.
- ``ranx``: ``evaluate(qrels, run, "map")``, with the time to build its Qrels and Run.

Memory is the peak while measuring beyond what the process held before, the inputs among it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
Values = NDArray[np.float64]

SYSTEMS = ("hashret", "NumPy loop", "torch loop", "torchmetrics", "ranx")
CLASSES, LABELS_AN_ITEM = 80, 2.9
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PIECE = 20_000  # items that are drawn at a time


def make_data(folder: Path, bits: int, queries: int, gallery: int, seed: int) -> None:
    """Write labels and codes of both sides: items that share labels have codes that are near, with noise."""
    rng = np.random.default_rng(seed)
    weights = 1 / (1 + np.arange(CLASSES)) ** 0.8
    low, high = 0.0, 10.0
    while high - low > 1e-9:  # how frequent classes are, so that an item has as many labels as it should
        middle = (low + high) / 2
        shares = 1 - np.exp(-middle * weights)
        mean = shares.sum() + np.prod(1 - shares)  # an item without a label is given one
        low, high = (middle, high) if mean < LABELS_AN_ITEM else (low, middle)
    directions = rng.normal(size=(CLASSES, bits)).astype(np.float32)
    for name, count in (("query", queries), ("gallery", gallery)):
        labels, codes = np.zeros((count, CLASSES), np.uint8), np.zeros((count, bits // 8), np.uint8)
        for start in range(0, count, _PIECE):
            part = slice(start, min(start + _PIECE, count))
            drawn = rng.random((part.stop - start, CLASSES)) < shares
            empty = np.flatnonzero(~drawn.any(1))
            drawn[empty, rng.integers(CLASSES, size=len(empty))] = True
            seen = drawn.astype(np.float32) @ directions
            noisy = seen + 1.5 * rng.normal(size=seen.shape).astype(np.float32)
            labels[part], codes[part] = drawn, np.packbits(noisy > 0, axis=1)
        np.save(folder / f"{name}_labels.npy", labels)
        np.save(folder / f"{name}_codes.npy", codes)


class Inputs:
    """Codes and labels of a folder, all or the first few queries.

    Args:
        folder: What :func:`make_data` wrote.
        queries: Queries to keep.
        gallery: Gallery items to keep; None for all.
    """

    def __init__(self, folder: Path, queries: int, gallery: int | None = None) -> None:
        """Read the arrays."""
        self.query_codes = np.load(folder / "query_codes.npy")[:queries]
        self.query_labels = np.load(folder / "query_labels.npy")[:queries]
        self.gallery_codes = np.load(folder / "gallery_codes.npy")[:gallery]
        self.gallery_labels = np.load(folder / "gallery_labels.npy")[:gallery]
        self.bits = 8 * self.query_codes.shape[1]

    def signs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Codes of both sides as -1 and 1, which is how the field keeps them."""
        both = (np.unpackbits(codes, axis=1).astype(np.float32) for codes in (self.query_codes, self.gallery_codes))
        ours, theirs = (2 * ones - 1 for ones in both)
        return ours, theirs


def measure_hashret(inputs: Inputs, threads: int, ties: str = "expected") -> Values:
    """The reference."""
    from hashret import Codes, SharedLabels, evaluate

    sides = Codes(inputs.query_codes, inputs.bits), Codes(inputs.gallery_codes, inputs.bits)
    relevance = SharedLabels(inputs.query_labels, inputs.gallery_labels)
    return evaluate(sides, relevance, ["map"], ties=ties, threads=threads).per_query["map"]


def measure_numpy_loop(inputs: Inputs, threads: int) -> Values:
    """The loop of the field on arrays."""
    ours, theirs = inputs.signs()
    query_labels, gallery_labels = inputs.query_labels.astype(np.float32), inputs.gallery_labels.astype(np.float32)
    values = np.zeros(len(ours))
    for row in range(len(ours)):
        right = query_labels[row] @ gallery_labels.T > 0
        total = int(right.sum())
        if not total:
            continue
        distance = 0.5 * (inputs.bits - ours[row] @ theirs.T)
        ranked = right[np.argsort(distance)]
        values[row] = np.mean(np.arange(1, total + 1) / (np.flatnonzero(ranked) + 1))
    return values


def measure_torch_loop(inputs: Inputs, threads: int) -> Values:
    """The loop of the field on tensors."""
    import torch

    torch.set_num_threads(threads)
    ours, theirs = (torch.from_numpy(side) for side in inputs.signs())
    labels = [torch.from_numpy(side).float() for side in (inputs.query_labels, inputs.gallery_labels)]
    values = np.zeros(len(ours))
    for row in range(len(ours)):
        right = labels[1] @ labels[0][row] > 0
        total = int(right.sum())
        if not total:
            continue
        distance = 0.5 * (inputs.bits - theirs @ ours[row])
        ranked = right[torch.sort(distance)[1]]
        places = torch.nonzero(ranked).squeeze(1) + 1
        values[row] = float((torch.arange(1, total + 1) / places).mean())
    return values


def measure_torchmetrics(inputs: Inputs, threads: int) -> Values:
    """RetrievalMAP of one flat list of scores; it gives the mean only."""
    import torch
    from torchmetrics.retrieval import RetrievalMAP

    torch.set_num_threads(threads)
    ours, theirs = (torch.from_numpy(side) for side in inputs.signs())
    labels = [torch.from_numpy(side).float() for side in (inputs.query_labels, inputs.gallery_labels)]
    scores = 1 + 0.5 * (inputs.bits + ours @ theirs.T)
    right = labels[0] @ labels[1].T > 0
    numbers = torch.arange(len(ours))[:, None].expand_as(right)
    metric = RetrievalMAP(empty_target_action="neg")
    return np.array([float(metric(scores.flatten(), right.flatten(), indexes=numbers.flatten()))])


def measure_ranx(inputs: Inputs, threads: int) -> Values:
    """``ranx.evaluate`` of dictionaries, as it takes rankings."""
    from ranx import Qrels, Run, evaluate

    ours, theirs = inputs.signs()
    names = np.array([f"d{number:06}" for number in range(len(theirs))])  # of one length: it compiles for each
    scores = inputs.bits + ours @ theirs.T
    right = inputs.query_labels.astype(np.float32) @ inputs.gallery_labels.T.astype(np.float32) > 0
    qrels = Qrels({f"q{row}": dict.fromkeys(names[mine].tolist(), 1) for row, mine in enumerate(right)})
    run = Run({f"q{row}": dict(zip(names.tolist(), map(float, mine), strict=True)) for row, mine in enumerate(scores)})
    return np.asarray(evaluate(qrels, run, "map", return_mean=False), np.float64)


MEASURES: dict[str, Callable[[Inputs, int], Values]] = {
    "hashret": measure_hashret, "NumPy loop": measure_numpy_loop, "torch loop": measure_torch_loop,
    "torchmetrics": measure_torchmetrics, "ranx": measure_ranx,
}  # fmt: skip


def memory() -> tuple[int, int]:
    """Bytes this process holds, and the most it has held since :func:`forget_peak`; zeros where /proc is not there."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    told = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return told.get("VmRSS", 0), told.get("VmHWM", 0)


def forget_peak() -> None:
    """Begin the peak anew, where the system can: what was imported or compiled before is not the metric's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def work(task: Row) -> Row:
    """Measure one system in this process.

    Args:
        task: ``system``, ``folder``, ``queries`` to ask, ``threads``, ``repeats``, ``bounds`` (queries to bound).

    Returns:
        Seconds of each repeat, the peak of memory in bytes, the value of each query or their mean, and for hashret the
        bounds of the first queries.
    """
    warnings.simplefilter("ignore")  # of the peers' own dependencies
    folder, measure = Path(task["folder"]), MEASURES[task["system"]]
    inputs = Inputs(folder, task["queries"])
    measure(Inputs(folder, 8, 500), task["threads"])
    forget_peak()
    before, seconds = memory()[0], []
    for _ in range(task["repeats"]):
        started = time.perf_counter()
        values = measure(inputs, task["threads"])
        seconds.append(time.perf_counter() - started)
    result = {"seconds": seconds, "peak_bytes": max(0, memory()[1] - before), "values": values.tolist()}
    if task["system"] == "hashret":
        some = Inputs(folder, task["bounds"])
        for ties in ("best", "worst"):
            result[ties] = measure_hashret(some, task["threads"], ties).tolist()
    return result


def ask(task: Row) -> Row:
    """Do a task in a process of its own."""
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(task["threads"]))}
    done = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{task['system']} failed:\n{done.stderr}")
    result: Row = json.loads(done.stdout.splitlines()[-1])
    return result


def run(arguments: argparse.Namespace) -> list[Row]:
    """Measure every system at every width; each row is printed as it is done."""
    asked = {"hashret": arguments.queries} | dict.fromkeys(("NumPy loop", "torch loop"), arguments.loop_queries)
    asked |= {"torchmetrics": arguments.torchmetrics_queries, "ranx": arguments.ranx_queries}
    asked = {name: min(count, arguments.queries) for name, count in asked.items()}
    rows: list[Row] = []
    for bits in arguments.bits:
        with tempfile.TemporaryDirectory() as folder:
            make_data(Path(folder), bits, arguments.queries, arguments.gallery, arguments.seed)
            bounds: Row = {}
            for system in SYSTEMS:
                row: Row = {"bits": bits, "system": system, "threads": arguments.threads, "queries": asked[system]}
                rows.append(row)
                if system in ("torchmetrics", "ranx") and importlib.util.find_spec(system) is None:
                    row["left_out"] = "not installed"
                    continue
                task = {
                    **row,
                    "folder": folder,
                    "repeats": arguments.repeats,
                    "bounds": max(asked[name] for name in SYSTEMS[1:]),
                }
                found = ask(task)
                bounds = found if system == "hashret" else bounds
                row |= summed_up(found, asked[system], arguments.queries, bounds)
                print(f"{bits} bits, {system}: {row['seconds_for_all']:.2f} s", file=sys.stderr, flush=True)
        ours = next(row for row in rows if row["bits"] == bits and row["system"] == "hashret")
        for row in (row for row in rows if row["bits"] == bits and "left_out" not in row):
            row["times_hashret"] = row["seconds_for_all"] / ours["seconds_for_all"]
    return rows


def summed_up(found: Row, asked: int, queries: int, bounds: Row) -> Row:
    """A row of the table; a value outside of what any order of equals can give ends the run."""
    seconds, value = statistics.median(found["seconds"]), float(np.mean(found["values"]))
    least, most = (float(np.mean(bounds[ties][:asked])) for ties in ("worst", "best"))
    if asked <= len(bounds["best"]) and not least - 1e-4 <= value <= most + 1e-4:
        sys.exit(f"mAP {value} lies outside of {least} ... {most}")
    return {
        "repeats": len(found["seconds"]), "seconds": seconds, "seconds_for_all": seconds * queries / asked,
        "scaled": asked < queries, "peak_bytes": found["peak_bytes"], "map": value, "map_worst": least,
        "map_best": most,
    }  # fmt: skip


def table(rows: list[Row], queries: int, gallery: int) -> str:
    """The rows as Markdown."""
    from hashret.report import Cell, Sheet

    header = ("bits, system", f"s for {queries:,} queries", "times hashret", "measured on", "peak memory", "mAP")
    body = []
    for row in rows:
        name = f"{row['bits']}, {row['system']}"
        if "left_out" in row:
            body.append((name, row["left_out"], "", "", "", ""))
            continue
        told = f"{row['queries']:,} queries{', scaled' if row['scaled'] else ''}"
        peak, times = f"{row['peak_bytes'] / 1e6:,.0f} MB", f"{row['times_hashret']:,.1f}"
        body.append((name, f"{row['seconds_for_all']:,.2f}", times, told, peak, f"{row['map']:.4f}"))
    threads = f"{rows[0]['threads']} thread{'s' if rows[0]['threads'] > 1 else ''} each"
    title = f"mAP over the whole ranking of {gallery:,} codes, {CLASSES} labels, {threads}"
    note = "mAP is over the queries measured; hashret's ties are expected, the others' as their sort leaves them"
    cells = tuple(tuple(Cell(text) for text in line) for line in body)
    return Sheet(header, cells, title, (note,)).markdown()


def machine() -> Row:
    """What the numbers were measured on."""
    packages = {}
    for name in ("hashret", "numpy", "numba", "torch", "torchmetrics", "ranx"):
        packages[name] = version(name) if importlib.util.find_spec(name) else "not installed"
    cpu = Path("/proc/cpuinfo")
    models = (
        [line for line in cpu.read_text(encoding="utf-8").splitlines() if "model name" in line] if cpu.exists() else []
    )
    name = models[0].split(":")[1].strip() if models else platform.processor()
    return {"cpu": name, "cores": os.cpu_count(), "python": platform.python_version(), "packages": packages}


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 64, 128], help="multiples of 8")
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--gallery", type=int, default=117_218)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loop-queries", type=int, default=250, help="queries the loops are measured on")
    parser.add_argument("--torchmetrics-queries", type=int, default=50)
    parser.add_argument("--ranx-queries", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="a few seconds, to see that everything runs")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(work(json.loads(arguments.task))))
        return
    if arguments.small:
        arguments.queries, arguments.gallery, arguments.repeats = 40, 2_000, 1
        arguments.loop_queries, arguments.torchmetrics_queries, arguments.bits = 40, 10, [64]
    rows = run(arguments)
    print(table(rows, arguments.queries, arguments.gallery))
    if arguments.out:
        settings = {name: getattr(arguments, name) for name in ("queries", "gallery", "threads", "repeats", "seed")}
        content = {"machine": machine(), "settings": settings, "classes": CLASSES, "rows": rows}
        Path(arguments.out).write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
