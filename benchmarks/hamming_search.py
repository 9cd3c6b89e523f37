"""How fast hashret's exact Hamming search is beside faiss, usearch, NumPy and torch, and what the machine could do.

    python benchmarks/hamming_search.py --out results
    python benchmarks/hamming_search.py --suite one --suite batch --minutes 10
    python benchmarks/hamming_search.py --small

Each engine runs in a process of its own, all on the same codes and with equally many threads; figures are medians after
a warm-up. Distances of every exact engine are compared with hashret's, and one that differs fails the run. A peer that
is not installed is left out, and so is what no time was left for; the tables say so. Run it on an idle machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from hamming_peers import ENGINES
from rich.console import Console

Row = dict[str, Any]

SUITES = ("one", "full", "load", "batch", "multi-index")  # what takes least comes first
PEERS = ("numpy", "torch", "usearch")
APPROXIMATE = ("faiss IVF", "faiss MultiHash", "faiss HNSW")
_LARGEST = 2_000_000_000  # bytes of codes that no cache should hold
_PATIENCE = 1_800  # seconds after which a worker is given up


@dataclass(frozen=True)
class Data:
    """Codes and queries, drawn in the same way from a seed: uniform, or around centres with a share of bits flipped."""

    bits: int
    codes: int
    queries: int
    centres: int = 0
    flips: float = 0.0

    @property
    def name(self) -> str:
        """How a table calls it."""
        return f"{self.centres:,} centres, {self.flips:.0%} flipped" if self.centres else "uniform"


@dataclass(frozen=True)
class Measure:
    """So many queries and nearest codes; ``alone``: each query is a call of its own."""

    queries: int
    k: int
    alone: bool = False


@dataclass(frozen=True)
class Job:
    """One engine on one gallery: one process. ``limit``: seconds a measure may take, with fewer repeats or queries."""

    suite: str
    engine: str
    data: Data
    measures: tuple[Measure, ...]
    threads: int
    limit: float | None = None


@dataclass(frozen=True)
class Sizes:
    """How large everything is; ``least_seconds``: what is shorter is repeated more often."""

    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    batch_codes: int = 4_000_000
    batch_queries: int = 256
    many: int = 1_000
    one_bytes: int = 256_000_000
    one_queries: int = 8
    full: int = 100_000
    full_queries: int = 100
    multi_codes: int = 20_000_000
    multi_queries: int = 300
    centres: tuple[int, int] = (20_000, 200_000)
    approximate_codes: int = 1_000_000
    load_codes: int = 50_000_000
    resident: tuple[int, int] = (16_384, 4_096)
    peer_seconds: float = 4.0
    least_seconds: float = 0.3


SMALL = Sizes(
    widths=(16, 64), batch_codes=20_000, batch_queries=16, many=40, one_bytes=1_000_000, full=2_000, full_queries=4,
    multi_codes=40_000, multi_queries=20, centres=(40, 400), approximate_codes=10_000, load_codes=50_000,
    resident=(2_048, 64), peer_seconds=0.2, least_seconds=0.0,
)  # fmt: skip


def batch(sizes: Sizes, threads: int) -> list[Job]:
    """Many queries at once, by width; at 64 bits also other k, other numbers of queries, and codes that repeat."""
    jobs, many = [], sizes.batch_queries
    for bits in sizes.widths:
        data = Data(bits, sizes.batch_codes // (4 if bits >= 512 else 1), many)
        plain: tuple[Measure, ...] = (Measure(many, 10), Measure(many, 100))
        others: tuple[Measure, ...] = ()
        if bits == 64:
            data = replace(data, queries=max(many, sizes.many))
            others = (Measure(many, 1), Measure(many, 1000), Measure(8, 10, alone=True))
            others += tuple(Measure(count, 10) for count in (8, 32, sizes.many))
        repeated = Data(64, sizes.batch_codes, many, centres=1_000, flips=0.02)
        jobs += [Job("batch", name, data, plain + others, threads) for name in ("hashret", "faiss flat")]
        if bits == 64:
            jobs += [Job("batch", name, repeated, plain, threads) for name in ("hashret", "faiss flat")]
            jobs += [Job("batch", name, repeated, plain, threads, sizes.peer_seconds) for name in PEERS]
        jobs += [Job("batch", name, data, plain, threads, sizes.peer_seconds) for name in PEERS]
    return jobs


def one(sizes: Sizes, threads: int) -> list[Job]:
    """A single query over codes that no cache holds, with 1 thread and with 2."""
    asked = (Measure(sizes.one_queries, 10, alone=True),)
    datas = [Data(bits, sizes.one_bytes * 8 // bits, sizes.one_queries) for bits in (64, 128)]
    return [
        Job("one", name, data, asked, count)
        for data in datas
        for count in (1, 2)
        for name in ("hashret", "faiss flat")
    ]  # fmt: skip


def full(sizes: Sizes, threads: int) -> list[Job]:
    """All codes ranked."""
    data, asked = Data(64, sizes.full, sizes.full_queries), (Measure(sizes.full_queries, sizes.full),)
    return [Job("full", name, data, asked, threads) for name in ("hashret", "faiss flat")]


def multi_index(sizes: Sizes, threads: int) -> list[Job]:
    """Tables beside our own scan, and at a smaller size beside the approximate indexes of faiss."""
    count, (few, many) = sizes.multi_queries, sizes.centres
    asked = (Measure(count, 10, alone=True), Measure(count, 10))
    datas = [Data(64, sizes.multi_codes, count, *around) for around in ((few, 0.05), (many, 0.08), (0, 0.0))]
    ours = ("hashret", "hashret multi-index")
    jobs = [Job("multi-index", name, data, asked, threads) for data in datas for name in ours]
    smaller = Data(64, sizes.approximate_codes, count, few, 0.05)
    return jobs + [
        Job("multi-index", name, smaller, asked, threads, None if name in ours else 5 * sizes.peer_seconds)
        for name in (*ours, *APPROXIMATE)
    ]


def load(sizes: Sizes, threads: int) -> list[Job]:
    """A saved index, mapped."""
    return [Job("load", "hashret", Data(64, sizes.load_codes, 1), (Measure(1, 10),), threads)]


MAKERS = {"one": one, "batch": batch, "full": full, "multi-index": multi_index, "load": load}


@dataclass
class Run:
    """A run in progress: where its files are, how long it may go on, what it found."""

    folder: Path
    seed: int
    repeats: int
    least_seconds: float
    seconds: float
    started: float = field(default_factory=time.monotonic)
    rows: list[Row] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def worker(self, task: dict[str, Any], threads: int) -> dict[str, Any]:
        """Do a task in a process of its own."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, __file__, "--worker"], input=json.dumps(task), text=True, capture_output=True, check=False,
            env={**os.environ, **dict.fromkeys(names, str(threads))}, timeout=_PATIENCE,
        )  # fmt: skip
        if done.returncode:
            raise ChildProcessError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def place(self, data: Data) -> Path:
        """The folder of the codes and queries, made or not."""
        return self.folder / f"{data.bits}-{data.codes}-{data.queries}-{data.centres}-{data.flips}"

    def do(self, job: Job) -> None:
        """Measure, and keep the rows; or keep why not."""
        told = {
            "suite": job.suite, "engine": job.engine, "data": job.data.name, **asdict(job.data),
            "threads": job.threads,
        }  # fmt: skip
        missing = importlib.util.find_spec(ENGINES[job.engine].needs) is None
        if missing or time.monotonic() - self.started > self.seconds:
            note = "not installed" if missing else "no time left"
            self.rows += [{**told, **asdict(asked), "variant": "", "note": note} for asked in job.measures]
            return
        shown = f"{job.data.bits} bits, {job.data.codes:,} codes, {job.data.name}, {job.threads} threads"
        click.echo(f"{time.monotonic() - self.started:5.0f} s  {job.suite}: {job.engine}, {shown}", err=True)
        try:
            found = self._done(job)
        except (ChildProcessError, subprocess.TimeoutExpired) as error:
            found = {"rows": [{**asdict(asked), "variant": "", "note": f"failed: {error}"} for asked in job.measures]}
            if job.engine.startswith("hashret"):
                self.wrong.append(f"{job.engine}, {shown}: {error}")
        about = found.get("about", {})
        if "simd" in about:
            self.about[ENGINES[job.engine].needs] = {"simd": about["simd"]}
        self.rows += [{**told, **about, **row} for row in found["rows"]]
        self.wrong += [
            f"{job.engine}, {shown}, k {row['k']}: other answers than hashret's scan for {row['different']} queries"
            for row in found["rows"]
            if row.get("different")
        ]

    def _done(self, job: Job) -> dict[str, Any]:
        folder = self.place(job.data)
        if not folder.exists():
            self.worker({"task": "data", "folder": str(folder), "seed": self.seed, **asdict(job.data)}, 1)
        task = {"folder": str(folder), "bits": job.data.bits, "threads": job.threads, "repeats": self.repeats}
        if job.suite == "load":
            saved = self.worker({"task": "save", **task}, job.threads)
            found = self.worker({"task": "load", **task}, job.threads)
            about = {"save_seconds": saved["seconds"], "bytes": saved["bytes"]}
            return {"rows": [{**asdict(job.measures[0]), **row} for row in found["rows"]], "about": about}
        task |= {"engine": job.engine, "limit": job.limit, "least": self.least_seconds}
        task |= {"measures": [asdict(asked) for asked in job.measures]}
        return self.worker({"task": "search", **task}, job.threads)


def planned(suites: tuple[str, ...], sizes: Sizes, threads: int) -> list[Job]:
    """All jobs: first hashret and faiss's exact search in turn, then the peers that take long."""
    jobs = [job for suite in SUITES if suite in suites for job in MAKERS[suite](sizes, threads)]
    return sorted(jobs, key=lambda job: job.limit is not None)


@click.command(help=__doc__.replace("\n    ", "\n\n\b\n    ", 1))
@click.option("--suite", "suites", type=click.Choice(SUITES), multiple=True, help="Default: all.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("."), show_default=True,
              help="Folder for hamming_search.json and hamming_search.png.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of every engine.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="A figure is their median.")
@click.option("--minutes", type=float, default=20, show_default=True, help="Nothing is begun after so long.")
@click.option("--multi-index-codes", type=click.IntRange(1_000), default=None, help="Default: 20,000,000.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--small", is_flag=True, help="Small sizes, to see whether everything runs; its figures mean nothing.")
@click.option("--worker", is_flag=True, hidden=True)
def main(
    suites: tuple[str, ...], out: Path, threads: int, repeats: int, minutes: float, multi_index_codes: int | None,
    seed: int, small: bool, worker: bool,
) -> None:  # fmt: skip
    """Measure, print tables, write JSON and a plot."""
    if worker:
        from hamming_worker import run

        click.echo(json.dumps(run(json.load(sys.stdin))))
        return
    import hamming_report as results  # not in a worker: loading matplotlib takes a while

    sizes = SMALL if small else Sizes(one_bytes=max(Sizes.one_bytes, min(2 * results.largest_cache(), _LARGEST)))
    if multi_index_codes:
        sizes = replace(sizes, multi_codes=multi_index_codes)
    with tempfile.TemporaryDirectory(prefix="hamming-search-") as folder:
        going = Run(Path(folder), seed, repeats, sizes.least_seconds, 60 * minutes)
        click.echo("    0 s  the machine: reading from memory, popcount", err=True)
        jobs = planned(suites or SUITES, sizes, threads)
        widths = sorted({job.data.bits for job in jobs})
        asked = {"task": "limits", "bits": widths, "bytes": sizes.one_bytes, "threads": [1, 2]}
        going.limits = going.worker({**asked, "repeats": repeats, "resident": sizes.resident}, 1)
        left = Counter(job.data for job in jobs)
        for job in jobs:
            going.do(job)
            left[job.data] -= 1
            if not left[job.data]:
                shutil.rmtree(going.place(job.data), ignore_errors=True)
    options = {"seed": seed, "repeats": repeats, "threads": threads, "small": small, "suites": list(suites or SUITES)}
    targets = results.evaluated(going.rows, going.limits, small=small)
    found = {"options": options, "limits": going.limits, "rows": going.rows, "targets": targets}
    report = {"machine": results.machine(going.about), **found}
    out.mkdir(parents=True, exist_ok=True)
    (out / "hamming_search.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    results.plot(report, out / "hamming_search.png")
    Console(width=None if sys.stdout.isatty() else results.CONSOLE_WIDTH).print(results.tables(report))
    if going.wrong:
        raise click.ClickException("\n".join(going.wrong))


if __name__ == "__main__":
    main()
