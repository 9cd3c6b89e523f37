"""The benchmark of the evaluation runs from end to end at a small size, and no system leaves the bounds of ties."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "evaluation_speed.py"


@pytest.mark.slow
def test_it_measures_compares_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    command = [sys.executable, str(SCRIPT), "--small", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # not 0 if a value lies outside of what any order of equals can give
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["settings"] == {"queries": 40, "gallery": 2000, "threads": 1, "repeats": 1, "seed": 0}
    rows = {row["system"]: row for row in report["rows"]}
    assert list(rows) == ["hashret", "NumPy loop", "torch loop", "torchmetrics", "ranx"]
    for system, row in rows.items():
        assert f"| 64, {system} " in done.stdout
        if system in ("torchmetrics", "ranx") and importlib.util.find_spec(system) is None:
            assert row["left_out"] == "not installed"
            continue
        assert row["seconds_for_all"] == pytest.approx(row["seconds"] * 40 / row["queries"])
        assert row["map_worst"] - 1e-4 <= row["map"] <= row["map_best"] + 1e-4
        assert row["scaled"] == (row["queries"] < 40)
    assert rows["hashret"]["times_hashret"] == 1
    assert rows["NumPy loop"]["map"] != rows["hashret"]["map"], "one leaves ties to a sort, the other averages"
    assert "1 thread each" in done.stdout
