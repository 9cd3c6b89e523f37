"""How does `hashret serve` stand up to many clients at once, and to a thousand uploads that are no pictures?

    python benchmarks/serve_load.py RUN --images photos/ --codes 1000000 --clients 50 --seconds 60

A server in a process of its own, as the command starts it, over an index of random codes; clients in this process, each
with one connection, asking again as soon as it is answered, each with a picture of its own. Before and after, the same
pictures go through the encoder alone, in batches, on the same machine: that is the most a server could reach, and what
its throughput is compared with. Prints a table, writes JSON with --json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil
from mutants import mutants

from hashret import HammingIndex, Retriever
from hashret.catalogue import Item, write_catalogue

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def make_index(place: Path, retriever: Retriever, codes: int) -> None:
    """An index of random codes with a catalogue, as ``hashret index`` writes them."""
    chance = np.random.default_rng(0)
    packed = chance.integers(0, 256, (codes, -(-retriever.bits // 8)), np.uint8)
    packed[:, -1] &= 0xFF << (-retriever.bits % 8) & 0xFF
    index = HammingIndex(retriever.bits)
    index.add(packed)
    index.save(place)
    items = (Item(f"{row:07d}", text=f"item {row}") for row in range(codes))
    write_catalogue(place, items, model=retriever.fingerprint(), side="image")


def encoder_rate(retriever: Retriever, pictures: list[bytes], seconds: float) -> float:
    """Pictures a second through the encoder alone, from the bytes of their files."""
    retriever.encode_images(pictures[:16])
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        batch = [pictures[(done + number) % len(pictures)] for number in range(64)]
        retriever.encode_images(batch, batch_size=64)
        done += len(batch)
    return done / (time.perf_counter() - begun)


def start(run: str, index: Path) -> tuple[subprocess.Popen[str], str, float]:
    """The server, its address, and the seconds until its port answered."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hashret", "serve", "--run", run, "--index", str(index), "--port", str(port)]
    process = subprocess.Popen(command, text=True)
    address, begun = f"http://127.0.0.1:{port}", time.monotonic()
    answered = 0.0
    while process.poll() is None:
        try:
            status = httpx.get(f"{address}/healthz", timeout=5).status_code
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        answered = answered or time.monotonic() - begun
        if status == 200:
            return process, address, answered
        time.sleep(0.1)
    raise SystemExit("the server ended before it was ready")


async def ask(address: str, pictures: list[bytes], clients: int, seconds: float) -> tuple[list[float], Counter[str]]:
    """What every answer took, and how often which status came."""
    times: list[float] = []
    statuses: Counter[str] = Counter()
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as asking:
            turn = number
            while time.perf_counter() < until:
                begun = time.perf_counter()
                try:
                    files = {"image": ("a", pictures[turn % len(pictures)], "application/octet-stream")}
                    answer = await asking.post("/search", data={"k": "10"}, files=files)
                    statuses[str(answer.status_code)] += 1
                    if answer.status_code == 200 and len(answer.json()["hits"]) != 10:
                        statuses["too few answers"] += 1
                except httpx.TransportError as error:
                    statuses[type(error).__name__] += 1
                times.append(time.perf_counter() - begun)
                turn += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    return times, statuses


def send_mutants(address: str, count: int) -> dict[str, object]:
    """Broken uploads, one after the other: which statuses came, and what the longest took."""
    statuses: Counter[str] = Counter()
    longest = 0.0
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        for content, claim in mutants(count):
            begun = time.perf_counter()
            statuses[str(client.post("/encode", files={"image": ("a", content, claim)}).status_code)] += 1
            longest = max(longest, time.perf_counter() - begun)
    return {"sent": count, "statuses": dict(sorted(statuses.items())), "longest_seconds": round(longest, 3)}


def memory(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Megabytes the server holds; and of mapped files, whose pages count once they were read and can be dropped."""
    held = psutil.Process(process.pid).memory_info()
    return (held.rss - held.shared) >> 20, held.shared >> 20


def measure(options: argparse.Namespace) -> dict[str, object]:
    """The whole run."""
    retriever = Retriever.from_pretrained(options.run)
    files = sorted(path for path in Path(options.images).rglob("*") if path.suffix.lower() in SUFFIXES)[
        : options.pictures
    ]
    pictures = [path.read_bytes() for path in files]
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "load.index")
        make_index(index, retriever, options.codes)
        before = encoder_rate(retriever, pictures, options.rate_seconds)
        process, address, answered = start(options.run, index)
        try:
            asyncio.run(ask(address, pictures, options.clients, min(5.0, options.seconds)))  # until all is warm
            at_start = memory(process)
            begun = time.perf_counter()
            times, statuses = asyncio.run(ask(address, pictures, options.clients, options.seconds))
            took = time.perf_counter() - begun
            at_end = memory(process)
            sizes = httpx.get(f"{address}/metrics").text
            broken = send_mutants(address, options.mutants)
            alive = httpx.get(f"{address}/healthz").status_code
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        after = encoder_rate(retriever, pictures, options.rate_seconds)
    jobs, passes = (float(re.search(rf"hashret_batch_size_{name} (\S+)", sizes)[1]) for name in ("sum", "count"))  # type: ignore[index]
    rate, throughput = (before + after) / 2, statuses["200"] / took
    return {
        "clients": options.clients, "seconds": round(took, 1), "codes": options.codes, "bits": retriever.bits,
        "requests": len(times), "statuses": dict(statuses), "errors": len(times) - statuses["200"],
        "median_ms": round(float(np.median(times)) * 1000, 1),
        "p99_ms": round(float(np.quantile(times, 0.99)) * 1000, 1),
        "per_second": round(throughput, 2), "encoder_per_second": round(rate, 2),
        "encoder_before_after": [round(before, 2), round(after, 2)], "share_of_encoder": round(throughput / rate, 3),
        "mean_batch": round(jobs / passes, 2), "port_answered_seconds": round(answered, 2),
        "memory_mb_start": at_start[0], "memory_mb_end": at_end[0], "mapped_mb_start": at_start[1],
        "mapped_mb_end": at_end[1], "mutants": broken, "health_after": alive,
        "exit": process.returncode, "cores": os.cpu_count(),
    }  # fmt: skip


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run or model folder whose images are pictures")
    parser.add_argument("--images", required=True, help="folder of pictures to ask with")
    parser.add_argument("--pictures", type=int, default=256, help="how many of them")
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-seconds", type=float, default=15.0, help="for the encoder alone, before and after")
    parser.add_argument("--mutants", type=int, default=1000)
    parser.add_argument("--json", help="also write the figures here")
    options = parser.parse_args()
    found = measure(options)
    for name, value in found.items():
        print(f"{name:>22}  {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
