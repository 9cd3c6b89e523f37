"""Compiled kernels are kept on disk: beside the source, else in the user's folder, else they are compiled anew."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hashret

# Searches, and tells which kernels were compiled and which came from disk.
SEARCH = """
import json
import numpy as np
import hashret
from hashret.search import HammingIndex, kernels
codes = np.random.default_rng(0).integers(0, 256, (900, 8), dtype=np.uint8)
index = HammingIndex(64)
index.add(codes)
answers, used = [index.search(codes[:4], 3).ids.tolist()], [kernels.collector(1)]
far = np.bitwise_count(codes[:4, None] ^ codes).sum(2, dtype=int)
assert answers[0] == np.argsort(far, axis=1, kind="stable")[:, :3].tolist()
"""
ALL = """
from hashret.relevance import SharedLabels
from hashret.search import multi_index
answers += [index.search(codes[:4], 900).ids.tolist(), index.within(codes[:4], 20).ids.tolist()]
answers += [index.histogram(codes[:4]).tolist()]
answers += [index.joint_histogram(codes[:4], SharedLabels([[1]] * 4, [[1]] * 900)).tolist()]
index.build_tables()
answers += [index.search(codes[:4], 3, algorithm="multi-index").ids.tolist()]
used += [kernels.measurer(1), kernels.tally, kernels.tally_shared, kernels.order]
used += [multi_index.searcher(), multi_index._filler()]
from hashret.search.rerank_kernels import scorer
used += [scorer(dtype) for dtype in ("float32", "float16", "int8")]
"""
BUILD = """
import json
import hashret
from hashret.search import multi_index
answers, used = [], [multi_index._filler()]
"""
TELL = """
print(json.dumps({
    "file": hashret.__file__, "answers": answers,
    "hits": [sum(kernel.stats.cache_hits.values()) for kernel in used],
    "misses": [sum(kernel.stats.cache_misses.values()) for kernel in used],
}))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a copy of the package, without what was compiled."""
    source = Path(hashret.__file__).parent
    shutil.copytree(source, tmp_path / "site" / "hashret", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "site"


def run(script: str, folder: Path, **surroundings: str) -> dict[str, Any]:
    """Run a script in a process of its own, which finds a package in that folder first."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert Path(told["file"]).is_relative_to(folder)
    return told


def search(site: Path, home: Path, script: str = SEARCH, **more: str) -> dict[str, Any]:
    """Search with that copy of the package, as a user whose home that is."""
    left = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")
    surroundings = {name: value for name, value in os.environ.items() if name in left}
    surroundings |= {"HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    return run(script + TELL, site, **surroundings, **more)


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc"))


def close(folder: Path) -> None:
    """Leave no place for a cache in a folder, for any user: where it would be there is a file."""
    folder.mkdir(exist_ok=True)
    (folder / "__pycache__").write_text("no folder")


def test_a_second_process_compiles_nothing_until_something_changed(package: Path, tmp_path: Path) -> None:
    first = search(package, tmp_path / "home")
    assert (first["hits"], first["misses"]) == ([0], [1])
    written = {path: path.stat().st_mtime_ns for path in kept(tmp_path)}
    assert {path.parent for path in written} == {package / "hashret" / "search" / "__pycache__"}  # beside the source
    second = search(package, tmp_path / "home")
    assert (second["hits"], second["misses"]) == ([1], [0])
    assert {path: path.stat().st_mtime_ns for path in kept(tmp_path)} == written
    # Numba looks at the file a kernel stands in, and not at those it imports; an update may change these alone.
    lanes = package / "hashret" / "search" / "lanes.py"
    assert "\nVECTORS = 4\n" in lanes.read_text()
    lanes.write_text(lanes.read_text().replace("\nVECTORS = 4\n", "\nVECTORS = 2\n"))
    assert search(package, tmp_path / "home")["hits"] == [0]


def test_no_kernel_is_compiled_twice() -> None:
    """All of them, in a process after this one, wherever they are kept here."""
    here: dict[str, Any] = {}
    exec(SEARCH + ALL, here)
    if not all(kernel.stats.cache_path for kernel in here["used"]):
        pytest.skip("there is no place for a cache")
    there = run(SEARCH + ALL + TELL, Path(hashret.__file__).parents[1], **os.environ)
    assert min(there["hits"]) > 0
    assert set(there["misses"]) == {0}
    assert there["answers"] == here["answers"]


def test_a_read_only_package_keeps_the_kernels_in_the_users_folder(package: Path, tmp_path: Path) -> None:
    close(package / "hashret" / "search")
    (tmp_path / "home").mkdir()
    assert search(package, tmp_path / "home")["misses"] == [1]
    assert kept(package) == []
    assert kept(tmp_path / "home")
    again = search(package, tmp_path / "home")
    assert (again["hits"], again["misses"]) == ([1], [0])


def test_no_place_for_a_cache_still_works(package: Path, tmp_path: Path) -> None:
    close(package / "hashret" / "search")
    (tmp_path / "home").write_text("no folder")
    told = search(package, tmp_path / "home", XDG_CACHE_HOME=str(tmp_path / "home"))
    assert told["hits"] == [0]
    assert kept(tmp_path) == []


def test_a_change_of_what_tables_are_made_with_is_noticed(package: Path, tmp_path: Path) -> None:
    """Else tables would be filled by one rule and searched by another."""
    cache = str(tmp_path / "cache")
    assert search(package, tmp_path, BUILD, NUMBA_CACHE_DIR=cache)["misses"] == [1]
    assert kept(tmp_path) == kept(tmp_path / "cache") != []
    source = package / "hashret" / "search" / "multi_index_kernels.py"
    source.write_text(source.read_text() + "\n# changed\n")
    assert search(package, tmp_path, BUILD, NUMBA_CACHE_DIR=cache)["hits"] == [0]
