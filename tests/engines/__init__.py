"""Where the tests' stores lie, an entry an engine, and the codes in them."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hashret.codes import Codes


def duplicates(bits, count, seed):
    """Codes of which most occur several times: around few centres, few bits flipped."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).random((12, bits)) < 0.5
    flips = rng.random((count, bits)) < 0.02
    return Codes(np.packbits(centres[rng.integers(0, 12, count)] ^ flips, axis=1), bits)


def _options(*parts):
    return "?" + "&".join(part for part in parts if part) if any(parts) else ""


@contextlib.contextmanager
def of_files(folder):
    yield lambda name, options="": f"{folder / name}.index{_options(options)}"


@contextlib.contextmanager
def of_chdb(folder):
    pytest.importorskip("chdb", reason="needs the extra clickhouse")
    pytest.importorskip("clickhouse_connect", reason="needs the extra clickhouse")
    # One folder: a process holds one at a time.
    yield lambda name, options="": f"chdb:{folder / 'db'}{_options(f'table={name}', options)}"


@contextlib.contextmanager
def of_clickhouse(folder):
    pytest.importorskip("chdb", reason="needs the extra clickhouse")
    pytest.importorskip("clickhouse_connect", reason="needs the extra clickhouse")
    program = Path(__file__).with_name("clickhouse_http.py")
    with subprocess.Popen([sys.executable, program, folder / "db"], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            yield (
                lambda name, options="": (
                    f"clickhouse://reader:se%2Fcret@127.0.0.1:{port}/default{_options(f'table={name}', options)}"
                )
            )
        finally:
            server.kill()


@contextlib.contextmanager
def of_ray(folder):
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield (
            lambda name, options="": (
                f"ray://{folder / name}{_options(options, 'shards=2' if 'bits' in options else '')}"
            )
        )
    finally:
        ray.shutdown()


ADDRESSES = {"file": of_files, "chdb": of_chdb, "clickhouse": of_clickhouse, "ray": of_ray}
