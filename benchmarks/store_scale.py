"""How stores compare as an index grows: local, Ray with 1 and 2 workers, chdb, and PostgreSQL's bit_count as a peer.

    python benchmarks/store_scale.py --sizes 1000000 10000000 --out store_scale.json
    python benchmarks/store_scale.py --sizes 1000000 --stores local chdb --threads 2
    python benchmarks/store_scale.py --small

Each store runs in a process of its own on the same codes, which repeat a lot: 50,000 centres with 2 % of the bits
flipped. Measured are loading, one query at a time (median of the calls), a batch of queries, and the memory of the
process and of those it started, as the system counts pages that are theirs alone, at its highest. The answers of each
store are compared with the local index's, ids and ties included, and one that differs fails the run. What is not
installed is left out, and the table says so. PostgreSQL needs its programs (initdb, pg_ctl) and psycopg; it is started
in a temporary folder and as it comes, but for 1 GB of shared buffers.

Each measurement is written to --out at once; the same command given again measures what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from store_engines import ENGINES, Missing
from store_memory import Watch

from hashret.arrayfile import replace_file
from hashret.report import Cell, Sheet

Row = dict[str, Any]
Rows = NDArray[np.uint8]

CENTRES, FLIPS = 50_000, 0.02
_PIECE = 1 << 20  # codes that are drawn at a time
_PATIENCE = 7_200  # seconds after which a store is given up


def make_codes(folder: Path, count: int, queries: int, bits: int, seed: int) -> None:
    """Write ``codes.npy`` and ``queries.npy`` around common centres."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (CENTRES, bits // 8), np.uint8)

    def drawn(many: int) -> Rows:
        flips = np.zeros((many, bits // 8), np.uint8)
        for bit in range(8):
            flips |= (rng.random((many, bits // 8), np.float32) < FLIPS).astype(np.uint8) << np.uint8(bit)
        return centres[rng.integers(0, CENTRES, many)] ^ flips

    codes = np.lib.format.open_memmap(folder / "codes.npy", "w+", np.uint8, (count, bits // 8))
    for start in range(0, count, _PIECE):
        codes[start : start + _PIECE] = drawn(min(_PIECE, count - start))
    codes.flush()
    np.save(folder / "queries.npy", drawn(queries))


def measured(task: Row) -> Row:
    """Load, ask and compare in this process; the answers go to a file beside the codes."""
    folder, k = Path(task["folder"]), task["k"]
    codes = np.load(folder / "codes.npy", mmap_mode="r")
    queries: Rows = np.load(folder / "queries.npy")
    with Watch() as memory, tempfile.TemporaryDirectory(dir=folder) as place:
        started = time.perf_counter()
        engine = ENGINES[task["store"]](Path(place), codes, task["bits"], task["threads"])
        load = time.perf_counter() - started
        try:
            engine.search(queries[:1], k)
            times, answers = [], []
            for row in range(min(task["alone"], len(queries))):
                started = time.perf_counter()
                answers.append(engine.search(queries[row : row + 1], k))
                times.append(time.perf_counter() - started)
            started = time.perf_counter()
            distances, ids = engine.search(queries, k)
            batch = time.perf_counter() - started
            disk = engine.disk()
        finally:
            engine.close()
    alone = [np.concatenate(part) for part in zip(*answers, strict=True)]
    told = {
        "load_seconds": load, "query_seconds": statistics.median(times), "queries_alone": len(times),
        "batch_seconds": batch, "queries_per_second": len(queries) / batch, "peak_bytes": memory.peak,
        "disk_bytes": disk,
    }  # fmt: skip
    return {**told, "different": compared(folder, k, distances, ids) + compared(folder, k, *alone)}


def compared(folder: Path, k: int, distances: NDArray[Any], ids: NDArray[Any]) -> int:
    """Queries whose distances or ids are not the local index's, which are kept where there are none yet."""
    file = folder / f"answers-{k}.npz"
    if not file.exists():
        np.savez(file, distances=distances, ids=ids)
    with np.load(file) as right:
        other = (distances != right["distances"][: len(distances)]) | (ids != right["ids"][: len(ids)])
    return int(other.any(axis=1).sum())


def worker(task: Row) -> Row:
    """A measurement in a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(task)], text=True, capture_output=True, check=False,
        env={**os.environ, **dict.fromkeys(names, str(task["threads"]))}, timeout=_PATIENCE,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"left_out": f"failed: {said}"}
    found: Row = json.loads(lines[-1])
    return found


def sheet(report: Row, size: int) -> Sheet:
    """The table of one size."""
    settings = report["settings"]
    rows = [row for row in report["rows"] if row["codes"] == size]
    body = []
    for row in rows:
        if "left_out" in row:
            body.append((Cell(row["store"]), Cell(row["left_out"][:60]), *(Cell("-") for _ in range(5))))
            continue
        figures = (
            f"{row['load_seconds']:.1f}", f"{row['query_seconds'] * 1e3:.2f}", f"{row['queries_per_second']:,.1f}",
            f"{row['peak_bytes'] / 1e6:,.0f}", f"{row['disk_bytes'] / 1e6:,.0f}",
            "the same" if not row["different"] else f"{row['different']} differ",
        )  # fmt: skip
        body.append((Cell(row["store"]), *(Cell(figure) for figure in figures)))
    header = ("store", "load s", "one query ms", "queries/s, batch", "peak MB", "disk MB", "answers")
    title = (
        f"{size:,} codes of {settings['bits']} bits, k = {settings['k']}, a batch of {settings['queries']} queries, "
        f"{settings['threads']} thread(s) a worker"
    )
    machine = f"{report['machine']['cores']} cores, load {report['machine']['load']:.1f} when it began"
    return Sheet(header, tuple(body), title, (f"{CENTRES:,} centres, {FLIPS:.0%} of bits flipped; {machine}",))


def read(out: Path, settings: Row) -> Row:
    """What was measured before with the same settings."""
    if out.exists():
        report: Row = json.loads(out.read_text(encoding="utf-8"))
        if report["settings"] == settings:
            return report
        raise SystemExit(f"{out}: measured with {report['settings']}; name another --out")
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()[0]}
    return {"settings": settings, "machine": machine, "rows": []}


def main() -> None:
    """Measure what is missing, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000, 50_000_000])
    parser.add_argument("--stores", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 8 [default: 64]")
    parser.add_argument("--queries", type=int, default=100, help="of the batch [default: 100]")
    parser.add_argument("--alone", type=int, default=20, help="queries that are asked one by one [default: 20]")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1, help="of each store, and of each Ray worker [default: 1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where codes and stores lie meanwhile [default: the system's]")
    parser.add_argument("--out", type=Path, default=Path("store_scale.json"))
    parser.add_argument("--small", action="store_true", help="a size at which figures mean nothing")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        task = json.loads(asked.worker)
        try:
            print(json.dumps(measured(task)))
        except Missing as missing:
            print(json.dumps({"left_out": str(missing)}))
        return
    sizes = [20_000] if asked.small else asked.sizes
    names = ("bits", "queries", "alone", "k", "threads", "seed")
    settings = {name: getattr(asked, name) for name in names}
    report = read(asked.out, settings)
    stores = ["local", *(name for name in asked.stores if name != "local")]  # its answers are what others' have to be
    for size in sizes:
        done = {row["store"] for row in report["rows"] if row["codes"] == size and "left_out" not in row}
        if set(stores) <= done:
            continue
        folder = Path(tempfile.mkdtemp(prefix="store-scale-", dir=asked.folder))
        try:
            make_codes(folder, size, asked.queries, asked.bits, asked.seed)
            for store in stores:
                if store in done and store != "local":
                    continue
                print(f"{store}: {size:,} codes", file=sys.stderr)
                row = {"store": store, "codes": size, **worker({"folder": str(folder), "store": store, **settings})}
                others = [r for r in report["rows"] if (r["store"], r["codes"]) != (store, size)]
                report["rows"] = [*others, row]
                replace_file(asked.out, json.dumps(report, indent=1).encode())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    for size in sizes:
        print(sheet(report, size).markdown())
    wrong = [row for row in report["rows"] if row.get("different") or row.get("left_out", "").startswith("failed")]
    if wrong:
        raise SystemExit("\n".join(f"{row['store']}, {row['codes']:,} codes: {row}" for row in wrong))


if __name__ == "__main__":
    main()
