"""The benchmark of encoding runs from end to end at a small size, and its codes are the bare loop's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "encode_speed.py"


@pytest.mark.slow
def test_it_measures_compares_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    command = [sys.executable, str(SCRIPT), "--small", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # not 0 if encode gives other codes than the loop
    report = json.loads(out.read_text(encoding="utf-8"))
    (row,) = report["rows"]
    assert row["network"] == "the demo's CNN"
    assert set(row["items_per_second"]) == {"bare loop", "hashret encode"}
    assert row["ratio_of_best"] > 0
    assert [(peak["items"], peak["codes"]) for peak in report["memory"]] == [(64, 64), (256, 256)]
    assert all(peak["own"] > peak["child"] > 0 for peak in report["memory"])
    assert "| the demo's CNN | 96 |" in done.stdout
