"""The benchmark of ``hashret hash apply`` runs from end to end at a small size and refuses a disk that is too small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "hash_apply.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_measures_compares_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    done = run("--small", "--kinds", "itq 128", "--contrastive", "--folder", tmp_path, "--out", out)
    assert done.returncode == 0, done.stderr  # not 0 if codes differ from transform's
    report = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["hasher"]: row for row in report["rows"]}
    assert list(rows) == ["itq 128", "contrastive 128"]
    for name, row in rows.items():
        assert f"| {name} " in done.stdout
        assert row["rows"] == (2000 if name.startswith("contrastive") else 20_000)
        assert row["of_floor"]["seconds"] == pytest.approx(row["floor"]["seconds"] / row["apply"]["seconds"])
        assert row["apply"]["cpu_seconds"] > 0
        assert 10e6 < row["apply"]["peak_bytes"] < 2e9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json"], "the rows are removed"


def test_a_disk_that_is_too_small_is_named(tmp_path: Path) -> None:
    done = run("--rows", 10**12, "--folder", tmp_path)
    assert done.returncode == 1
    assert "GB free for 1,000,000,000,000 x 512 rows" in done.stderr
    assert not list(tmp_path.iterdir())
