"""One pass over a folder of pictures for encode_speed.py, in a process of its own: what ran before leaves no trace.

    python benchmarks/encode_worker.py TASK

TASK is JSON: the ``way`` ("bare loop" or "hashret encode"), ``run``, ``photos``, ``out``, ``cores`` and ``workers``.
Prints JSON: the seconds of the wall and of the CPU (decoding processes included), and the most memory it has held.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from hamming_worker import peak_bytes

from hashret.codes import Codes, binarize
from hashret.encoded import EncodedFolder
from hashret.examples import Example
from hashret.images import open_image
from hashret.models import Inputs
from hashret.pipeline import encode
from hashret.retriever import BLOCK, Retriever


def bare_loop(retriever: Retriever, folder: Path) -> Codes:
    """Decode and forward, sixteen at a time; as little as gives the codes."""
    paths = sorted(folder.iterdir())
    preprocess, parts = retriever.processor.image_preprocess, []
    assert preprocess is not None
    with torch.inference_mode():
        for at in range(0, len(paths), BLOCK):
            batch = torch.stack([preprocess(open_image(path)) for path in paths[at : at + BLOCK]])
            rows = len(batch)
            if rows < BLOCK:
                batch = torch.cat([batch, batch[:1].expand(BLOCK - rows, -1, -1, -1)])
            relaxed = retriever.method.relaxed(Inputs(image=batch.to(retriever.device)))[:rows]
            parts.append(binarize(relaxed.float().cpu().numpy()))
    return Codes.concatenate(parts)


def clocks() -> tuple[float, float]:
    """Wall clock, and CPU seconds of this process and of the children that have ended."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system


def passed(task: dict[str, Any]) -> dict[str, Any]:
    """Make the pass and leave its codes in ``out``.codes."""
    torch.set_num_threads(task["cores"])
    run, photos, out = Path(task["run"]), Path(task["photos"]), Path(task["out"])
    if task["way"] == "bare loop":
        retriever = Retriever.from_pretrained(run, device="cuda" if torch.cuda.is_available() else "cpu")
        retriever.encode([Example(image=next(photos.iterdir()))])
        begun = clocks()
        codes = bare_loop(retriever, photos)
        ended = clocks()
    else:
        begun = clocks()
        encode(run, photos, "image", out, workers=task["workers"], quiet=True)
        ended = clocks()
        codes = Codes.concatenate([shard.codes for shard in EncodedFolder.open(out).shards()])
    codes.save(out.with_suffix(".codes"))
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": ended[0] - begun[0], "cpu_seconds": ended[1] - begun[1], "codes": len(codes),
        "own": peak_bytes() / 2**20, "child": child / 2**20,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(passed(json.loads(sys.argv[1]))))
