"""The benchmark of the search runs from end to end at small sizes, and every exact engine finds what hashret finds."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NEEDS = {
    "hashret": "hashret", "hashret multi-index": "hashret", "numpy": "numpy", "torch": "torch", "usearch": "usearch",
    "faiss flat": "faiss", "faiss IVF": "faiss", "faiss MultiHash": "faiss", "faiss HNSW": "faiss",
}  # fmt: skip


@pytest.mark.slow
def test_hamming_search_measures_compares_and_reports(tmp_path: Path) -> None:
    script, out = str(BENCHMARKS / "hamming_search.py"), str(tmp_path)
    command = [sys.executable, script, "--small", "--repeats", "1", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # not 0 if an exact engine gives other distances
    assert "What it must show" in done.stdout
    assert (tmp_path / "hamming_search.png").read_bytes().startswith(b"\x89PNG")

    report = json.loads((tmp_path / "hamming_search.json").read_text(encoding="utf-8"))
    rows = report["rows"]
    assert {row["suite"] for row in rows} == {"one", "batch", "full", "multi-index", "load"}
    for engine, module in NEEDS.items():
        mine = [row for row in rows if row["engine"] == engine]
        assert {row.get("note") for row in mine} == {None if importlib.util.find_spec(module) else "not installed"}, (
            engine
        )
        assert all(row["seconds"] > 0 and row["times"] for row in mine if "note" not in row), engine

    compared = {row["engine"] for row in rows if "different" in row}
    assert {"hashret multi-index", "numpy", "torch"} <= compared
    assert not any(row["different"] for row in rows if "different" in row)
    assert all(0 < row["recall"] <= 1 for row in rows if "recall" in row)

    assert {target["held"] for target in report["targets"]} == {None}  # figures of a small run mean nothing
    assert len({target["case"] for target in report["targets"]}) == len(report["targets"]) == 11
    assert report["targets"][-1]["parts"][0]["measured"] > 0
    assert {"64", "128"} <= set(report["limits"]["popcount_pairs_per_second"])
    assert {"numpy", "numba"} <= set(report["machine"]["versions"])
