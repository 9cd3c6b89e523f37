"""What ``hashret hash apply`` costs beside what it cannot do without: reading the file and one product of matrices.

    python benchmarks/hash_apply.py --out hash_apply.json
    python benchmarks/hash_apply.py --rows 10000000 --threads 1
    python benchmarks/hash_apply.py --contrastive --small

A .npy of float32 rows (512 columns; 20 GB at 10 million rows) is written to ``--folder`` and removed at the end. Then,
in turn, each in a process of its own whose whole time counts, from start to exit:

- the floor: NumPy reads the file a block at a time (``fromfile``, 16 MiB) and multiplies each by one float32 matrix
  (512, bits); nothing is kept;
- ``hashret hash apply`` of each hasher, which checks every number, decides bits near a threshold again in float64,
  packs and writes the codes whole or not at all.

With one thread each process is held to one core, so that reading ahead is not given another one. Times are the best of
``--repeats``, since other work on the machine only adds; CPU seconds stand beside them for a machine that is never
quiet. What either takes on a file of one row, which is starting Python and importing, is measured too and told apart:
at a million rows it is half of the command. Memory is the peak of the process. The first and the last rows' codes are
compared with ``transform``'s, and the run fails where they differ. The network is measured on fewer rows
(``--contrastive-rows``), beside a floor on as many: its cost is its own products, some twenty times the floor's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hashret.errors import FileError

Row = dict[str, Any]

BLOCK = 1 << 24
KINDS = {"lsh 64": ("lsh", 64), "itq 64": ("itq", 64), "itq 128": ("itq", 128)}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PIECE = 1 << 15
_COMPARED = 2000
_FIT = ("hash", "fit")


def check_room(folder: Path, rows: int, width: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        FileError: Less is free than the file and its codes take.
    """
    needed, free = int(rows * (4 * width + 64) * 1.02), shutil.disk_usage(folder).free
    if free < needed:
        raise FileError(
            str(folder), expected=f"{needed / 1e9:,.1f} GB free for {rows:,} x {width} rows", got=f"{free / 1e9:,.1f}",
            remedy="Name another --folder, or fewer --rows.",
        )  # fmt: skip


def write_rows(path: Path, rows: int, width: int, seed: int) -> None:
    """Draw rows of unit length, as embeddings have, a piece at a time."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, _PIECE):
            piece = rng.standard_normal((min(_PIECE, rows - start), width), dtype=np.float32)
            file.write((piece / np.linalg.norm(piece, axis=1, keepdims=True)).data)


def floor(path: str, width: int, bits: int) -> None:
    """Read the file and multiply; the least that codes by an affine map cost."""
    weights = np.random.default_rng(0).standard_normal((width, bits)).astype(np.float32)
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while len(block := np.fromfile(file, np.float32, BLOCK // 4 // width * width)):
            block.reshape(-1, width) @ weights


def measured(command: list[str], threads: int) -> Row:
    """Run a command to its end: seconds, CPU seconds and peak memory in bytes."""
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=said, stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read().decode()}")
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_bytes": used.ru_maxrss * 1024}


def best(command: list[str], threads: int, found: Row | None) -> Row:
    """One more measurement: the least of each time, the most memory."""
    once = measured(command, threads)
    if found is None:
        return once
    least = {key: min(found[key], once[key]) for key in ("seconds", "cpu_seconds")}
    return {**least, "peak_bytes": max(found["peak_bytes"], once["peak_bytes"])}


def hashret(*words: object) -> list[str]:
    """The command with these words."""
    return [sys.executable, "-m", "hashret", *map(str, words)]


def fit_hashers(folder: Path, kinds: list[str], sample: int, contrastive: bool) -> dict[str, Path]:
    """A hasher of each kind, fitted on some rows; a network on a few, since how well it codes is not asked here."""
    fitted = {}
    for name in kinds:
        kind, bits = KINDS[name]
        fitted[name] = folder / name.replace(" ", "-")
        words = (*_FIT, folder / "rows.npy", "--hasher", kind, "--bits", bits, "--sample", sample)
        measured(hashret(*words, "--out", fitted[name]), len(os.sched_getaffinity(0)))
    if contrastive:
        fitted["contrastive 128"] = folder / "contrastive-128"
        rows = np.load(folder / "some.npy", mmap_mode="r")
        np.save(folder / "classes.npy", (rows[:, 0] > 0).astype(np.int64))
        words = (*_FIT, folder / "some.npy", "--labels", folder / "classes.npy", "--hasher", "contrastive")
        words = (*words, "--bits", 128, "--sample", min(sample, 2000), "--set", "epochs=1")
        measured(hashret(*words, "--out", fitted["contrastive 128"]), len(os.sched_getaffinity(0)))
    return fitted


def compare(hasher: Path, rows: Path, codes: Path) -> None:
    """End the run unless the first and last codes are what ``transform`` gives."""
    from hashret import Codes
    from hashret.hashers import load_hasher

    if hasher.is_dir():
        from hashret.pipeline.learned import LearnedHasher

        fitted: Any = LearnedHasher.load(hasher)
    else:
        fitted = load_hasher(hasher)
    vectors, found = np.load(rows, mmap_mode="r"), Codes.load(codes, mmap=True)
    for part in (slice(0, _COMPARED), slice(max(0, len(vectors) - _COMPARED + 77), None)):
        if len(found) != len(vectors) or found[part] != fitted.transform(np.array(vectors[part])):
            sys.exit(f"{hasher.name}: codes of the command differ from those of transform in {part}")


def commands(rows: Path, width: int, bits: int, hasher: Path, codes: Path) -> dict[str, list[str]]:
    """The floor and the command over the same rows."""
    return {
        "floor": [sys.executable, __file__, "--task", json.dumps([str(rows), width, bits])],
        "apply": hashret("hash", "apply", hasher, rows, "--out", codes),
    }


def of_floor(found: dict[str, Row]) -> Row:
    """The command's speed as a share of the floor's: whole processes, by CPU seconds, and beyond starting."""
    speed = {key: found["floor"][key] / found["apply"][key] for key in ("seconds", "cpu_seconds")}
    beyond = {what: found[what]["cpu_seconds"] - found[f"{what} start"]["cpu_seconds"] for what in ("floor", "apply")}
    return {**speed, "cpu_seconds_beyond_start": beyond["floor"] / beyond["apply"] if beyond["apply"] > 0 else None}


def run(arguments: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Measure floor and command for each hasher and number of threads."""
    check_room(folder, arguments.rows, arguments.width)
    started = time.perf_counter()
    write_rows(folder / "rows.npy", arguments.rows, arguments.width, arguments.seed)
    print(f"{arguments.rows:,} rows written in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if arguments.contrastive:
        write_rows(folder / "some.npy", min(arguments.rows, arguments.contrastive_rows), arguments.width, 1)
    write_rows(folder / "one.npy", 1, arguments.width, 2)
    for kind, hasher in fit_hashers(folder, arguments.kinds, arguments.sample, arguments.contrastive).items():
        bits, rows = int(kind.split()[1]), folder / ("some.npy" if hasher.is_dir() else "rows.npy")
        for threads in arguments.threads:
            found: dict[str, Row] = {}
            for _ in range(arguments.repeats):
                for what, path in ((" start", folder / "one.npy"), ("", rows)):
                    for name, command in commands(path, arguments.width, bits, hasher, folder / "codes").items():
                        found[name + what] = best(command, threads, found.get(name + what))
            compare(hasher, rows, folder / "codes")
            count = len(np.load(rows, mmap_mode="r"))
            speed = of_floor(found)
            told = {"hasher": kind, "threads": threads, "rows": count, **found, "of_floor": speed}
            said = f"{kind}, {threads} threads: {speed['seconds']:.2f} of the floor's speed"
            print(said, file=sys.stderr, flush=True)
            yield told


def table(rows: list[Row], width: int) -> str:
    """The rows as Markdown."""
    from hashret.report import Cell, Sheet

    header = (
        "hasher", "threads", "rows", "floor s", "apply s", "its start s", "of the floor's speed", "by CPU time",
        "by CPU time beyond the start", "peak memory",
    )  # fmt: skip
    body = []
    for row in rows:
        speed, seconds = row["of_floor"], [row[what]["seconds"] for what in ("floor", "apply", "apply start")]
        beyond = speed["cpu_seconds_beyond_start"]
        line = [row["hasher"], str(row["threads"]), f"{row['rows']:,}", *(f"{value:,.1f}" for value in seconds)]
        line += [f"{speed['seconds']:.2f}", f"{speed['cpu_seconds']:.2f}", "" if beyond is None else f"{beyond:.2f}"]
        body.append(tuple(map(Cell, [*line, f"{row['apply']['peak_bytes'] / 1e6:,.0f} MB"])))
    note = "floor: reading the file and one float32 product a block; whole processes, best of the repeats"
    return Sheet(header, tuple(body), f"hashret hash apply, float32 rows of {width}", (note,)).markdown()


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="hashers and bits")
    parser.add_argument("--sample", type=int, default=20_000, help="rows the hashers are fitted on")
    parser.add_argument("--contrastive", action="store_true", help="also the network")
    parser.add_argument("--contrastive-rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the file goes")
    parser.add_argument("--small", action="store_true", help="20,000 rows, once, to see that everything runs")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.small:
        arguments.rows, arguments.repeats, arguments.sample = 20_000, 1, 2000
        arguments.contrastive_rows, arguments.threads = 2000, [1]
    return arguments


def main() -> None:
    """Measure, print the table, write JSON."""
    arguments = parsed()
    if arguments.task:
        floor(*json.loads(arguments.task))
        return
    rows: list[Row] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        try:
            rows.extend(run(arguments, Path(folder)))
        except FileError as error:
            sys.exit(f"Error: {error}")
    print(table(rows, arguments.width))
    if arguments.out:
        machine = {
            "cores": os.cpu_count(),
            "processor": platform.processor(),
            "load_before": load,
            "numpy": np.__version__,
        }
        settings = {"rows": arguments.rows, "width": arguments.width, "repeats": arguments.repeats}
        report = {"machine": machine, "settings": settings, "rows": rows}
        Path(arguments.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
