"""The benchmark of the stores runs from end to end at a small size, goes on where it stopped, and answers agree."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "store_scale.py"


@pytest.mark.slow
def test_it_measures_compares_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "scale.json"
    command = [sys.executable, str(SCRIPT), "--small", "--queries", "7", "--alone", "3", "--out", str(out)]
    done = subprocess.run([*command, "--stores", "local"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["store"] for row in first] == ["local"]
    assert first[0]["load_seconds"] > 0
    assert first[0]["queries_alone"] == 3

    done = subprocess.run([*command, "--stores", "local", "chdb"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # not 0 if an answer differs from the local index's
    rows = {row["store"]: row for row in json.loads(out.read_text(encoding="utf-8"))["rows"]}
    assert set(rows) == {"local", "chdb"}
    assert rows["chdb"].get("left_out", "").startswith("not installed") or rows["chdb"]["different"] == 0
    assert "20,000 codes of 64 bits" in done.stdout

    done = subprocess.run([*command, "-k", "3"], capture_output=True, text=True, check=False)
    assert done.returncode != 0, "figures of other settings are not mixed"
    assert "name another --out" in done.stderr


def test_an_answer_that_differs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import store_scale

    distances, ids = np.array([[0, 1], [2, 2]], np.int32), np.array([[4, 5], [1, 2]])
    assert store_scale.compared(tmp_path, 2, distances, ids) == 0
    assert store_scale.compared(tmp_path, 2, distances, ids[:, ::-1]) == 2
    assert store_scale.compared(tmp_path, 2, distances[:1], ids[:1]) == 0
    assert store_scale.compared(tmp_path, 2, distances + np.array([[0], [1]], np.int32), ids) == 1


def test_memory_of_children_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import store_memory

    if not Path("/proc/self/status").exists():
        pytest.skip("the system has no /proc")
    program = "held = b'x' * 50_000_000; print(1, flush=True); input()"
    command = [sys.executable, "-c", program]
    with store_memory.Watch() as watch, subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as child:
        for _ in range(100):
            if watch.peak > 50_000_000:
                break
            watch._ended.wait(0.1)
        child.communicate("\n")
    assert watch.peak > 50_000_000
