"""What ``hashret encode`` costs beside the bare loop: decode a picture, run the network, on the same cores.

    python benchmarks/encode_speed.py --checkpoint ../shared/models/mobilenet_v2_imagenet
    python benchmarks/encode_speed.py --small --out encode_speed.json

Pictures are drawn into ``--folder`` (JPEG of 500 x 375 for MobileNetV2, PNG of 64 x 64 as the demo's for its CNN) and
removed at the end. For each network, in turn, each pass in a process of its own (``encode_worker.py``):

- the bare loop: open, convert, resize and normalise 16 pictures one after the other, run the network on them, keep the
  packed bits; nothing is checked, nothing is written, nothing runs beside it;
- ``hashret.pipeline.encode`` of the same folder, from the walk through it to the last mark on the disk.

The machine is never quiet, so both are repeated in turns (``--repeats``), and the ratio of items a second is given of
the medians and of the best; beside it that of items a second of CPU time, decoding processes included, which is what a
single quiet core would show: on a busy one, two processes are given more of it than one. torch and the decoding
processes share ``--cores`` cores, to which the process is held; with several, the loop's own decoding and forward still
take turns, which is what a script does, and its kernels share one pass among the cores, while ``encode`` gives each
pass one. The codes of both are compared. On one core the run fails where they differ; kernels that share a pass round
differently, so that with several the bits that differ are counted, and one in 100,000 is too many.

Then ``encode`` runs on the demo's pictures at two sizes (``--sizes``), and the peak memory of its process and of its
largest child is read from the system: flat means that it does not grow with the items. The folder of the larger size is
made of links to the pictures of the smaller, which cost as much to walk and to decode.
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
import torch
from PIL import Image

from hashret.codes import Codes
from hashret.methods import METHODS
from hashret.models import Processor, build_image_encoder, build_text_encoder
from hashret.models.bag_of_words import Vocabulary
from hashret.retriever import Retriever

Row = dict[str, Any]

_WORKER = Path(__file__).with_name("encode_worker.py")


def draw(folder: Path, count: int, size: tuple[int, int], form: str) -> Path:
    """Smooth pictures with some noise, so that they compress and decode about as photos do."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + chance.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:06d}.{form}")
    return folder


def link(folder: Path, there: Path, count: int) -> Path:
    """A folder of ``count`` links to the pictures of another, each as often as needed."""
    folder.mkdir(parents=True)
    pictures = sorted(there.iterdir())
    for number in range(count):
        os.link(pictures[number % len(pictures)], folder / f"{number:06d}{pictures[0].suffix}")
    return folder


def model(folder: Path, name: str, options: dict[str, Any]) -> Path:
    """A saved model of one image network with a hash layer of 64 random bits: what is fast or slow is the network."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.fit(["a red circle left of a blue square"], size=20)
    images, texts = build_image_encoder(name, options), build_text_encoder("bag_of_words", {}, vocabulary)
    kind = METHODS["contrastive"]
    method = kind(images, texts, classes=0, words=len(vocabulary), options=kind.options(bits=64, dimension=256))
    Retriever(method, Processor.of(images, texts, vocabulary)).save_pretrained(folder)
    return folder


def compare(name: str, run: Path, photos: Path, work: Path, args: argparse.Namespace) -> Row:
    """Items a second of both, and whether their codes agree."""
    count = len(list(photos.iterdir()))
    passes: dict[str, list[Row]] = {"bare loop": [], "hashret encode": []}
    differ = 0
    for repeat in range(args.repeats):
        places = [work / f"{run.name}-{kind}-{repeat}" for kind in ("loop", "encode")]
        for way, place in zip(passes, places, strict=True):
            passes[way].append(one_pass(way, run, photos, place, args))
        loop, ours = (Codes.load(place.with_suffix(".codes")) for place in places)
        if len(loop) != len(ours):
            raise SystemExit(f"{name}: encode gives {len(ours)} codes and the bare loop {len(loop)}")
        differ = max(differ, int(np.bitwise_count(loop.packed ^ ours.packed).sum()))
        if differ > (0 if args.cores == 1 else count * loop.bits / 1e5):
            raise SystemExit(f"{name}: encode and the bare loop give different codes ({differ} bits)")
    speeds = {way: [count / row["seconds"] for row in rows] for way, rows in passes.items()}
    by_cpu = {way: [count / row["cpu_seconds"] for row in rows] for way, rows in passes.items()}
    loop_speed, own_speed = speeds["bare loop"], speeds["hashret encode"]
    return {
        "network": name, "items": count, "device": "cuda" if torch.cuda.is_available() else "cpu",
        "bits_that_differ": differ, "items_per_second": speeds, "items_per_cpu_second": by_cpu,
        "ratio_of_medians": statistics.median(own_speed) / statistics.median(loop_speed),
        "ratio_of_best": max(own_speed) / max(loop_speed),
        "ratio_by_cpu": statistics.median(by_cpu["hashret encode"]) / statistics.median(by_cpu["bare loop"]),
    }  # fmt: skip


def one_pass(way: str, run: Path, photos: Path, out: Path, args: argparse.Namespace) -> Row:
    """What a process of its own says of one pass."""
    paths = {"run": str(run), "photos": str(photos), "out": str(out)}
    task = {"way": way, **paths, "cores": args.cores, "workers": args.workers}
    done = subprocess.run(
        [sys.executable, str(_WORKER), json.dumps(task)], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout))


def memory(run: Path, photos: Path, work: Path, args: argparse.Namespace) -> list[Row]:
    """Peak memory of encoding at each size, in MiB."""
    rows = []
    for count in args.sizes:
        folder = link(work / f"linked-{count}", photos, count)
        begun = time.perf_counter()
        found = one_pass("hashret encode", run, folder, work / f"m-{count}", args)
        rows.append(found | {"items": count, "seconds": time.perf_counter() - begun})
        shutil.rmtree(folder)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="A MobileNetV2 checkpoint; without it only the CNN is measured")
    parser.add_argument("--folder", type=Path, help="where pictures are drawn [default: the system's]")
    parser.add_argument("--photos", type=int, default=640, help="of MobileNetV2")
    parser.add_argument("--drawn", type=int, default=8000, help="pictures of the CNN")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000], help="items of the memory runs")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--workers", type=int, help="processes that decode [default: as many as cores]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a few items, to see that it runs")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.workers = args.workers or args.cores
    if args.small:
        args.photos, args.drawn, args.sizes, args.repeats = 48, 96, [64, 256], 1
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        work = Path(name)
        drawn = draw(work / "drawn", args.drawn, (64, 64), "png")
        cnn = model(work / "cnn", "cnn", {"size": 64, "width": 32, "dimension": 256})
        rows.append(compare("the demo's CNN", cnn, drawn, work, args))
        if args.checkpoint:
            photos = draw(work / "photos", args.photos, (500, 375), "jpg")
            mobile = model(work / "mobilenet", "transformers", {"checkpoint": str(args.checkpoint)})
            rows.append(compare("MobileNetV2", mobile, photos, work, args))
        peaks = memory(cnn, drawn, work, args)
    print(
        "| network | items | bare loop /s | hashret encode /s | ratio of medians | of the best | by CPU time |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in rows:
        loop, ours = (statistics.median(row["items_per_second"][kind]) for kind in ("bare loop", "hashret encode"))
        print(
            f"| {row['network']} | {row['items']:,} | {loop:.1f} | {ours:.1f} | {row['ratio_of_medians']:.3f} | "
            f"{row['ratio_of_best']:.3f} | {row['ratio_by_cpu']:.3f} |"
        )
    print("\n| items | peak memory, MiB | of its largest decoder, MiB | seconds |\n|---|---|---|---|")
    for row in peaks:
        print(f"| {row['items']:,} | {row['own']:.0f} | {row['child']:.0f} | {row['seconds']:.0f} |")
    told = ", ".join(f"{row['bits_that_differ']} of {row['network']}" for row in rows)
    where = (
        f"{platform.machine()}, {args.cores} core(s), {args.workers} decoding process(es), torch {torch.__version__}"
    )
    print(f"\n{where}; {args.repeats} repeats in turns; bits of the codes that differ: {told}.")
    if args.out:
        kept = {"rows": rows, "memory": peaks, "where": where, "repeats": args.repeats}
        args.out.write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
