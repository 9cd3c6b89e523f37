"""The benchmark of codes for embeddings: its figures against slow counts, its galleries, and a run from end to end."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WIKIPEDIA = BENCHMARKS.parents[1] / "shared" / "data" / "wikipedia"
TOLD = {"bits": [8, 16, 64], "candidates": [20, 40], "repeats": 1, "seed": 0, "space": "few"}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import embedding_codes_worker

    return embedding_codes_worker


@pytest.fixture
def codes(worker: Any) -> Any:
    import embedding_codes

    return embedding_codes


@pytest.fixture
def photos() -> Any:
    """Eighty pairs of forty images, and twenty others of which each has a caption; texts are a noisy map of images."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 24)).astype(np.float32)
    texts = (images @ rng.normal(size=(24, 20)) + rng.normal(size=(60, 20))).astype(np.float32)
    rows = np.repeat(np.arange(40), 2)
    return SimpleNamespace(
        images=images[rows], texts=texts[rows], firsts=np.arange(0, 80, 2),
        test=(images[40:], texts[40:], np.arange(20)), held=(images[40:], texts[40:], np.arange(20)),
    )  # fmt: skip


def test_the_exact_search_and_recall_are_what_loops_count(worker: Any) -> None:
    rng = np.random.default_rng(1)
    gallery, queries = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)
    found = worker.exact(gallery, queries, 4)
    lengths = np.sqrt((gallery.astype(float) ** 2).sum(1))
    for query, ids in zip(queries, found, strict=True):
        cosines = [float(query @ row) / length for row, length in zip(gallery, lengths, strict=True)]
        assert ids.tolist() == sorted(range(30), key=lambda row: -cosines[row])[:4]
    right = found[:, :2].copy()
    right[0] = [found[0, 1], 29 if 29 not in found[0] else 28]
    right[1] = [-1, found[1, 3]]  # one right answer only
    wanted = sum(int(r) in found[q] for q in range(7) for r in right[q] if r >= 0) / 13
    assert worker.recall(found, right) == pytest.approx(wanted)
    assert wanted < 1


def written(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def rows_of(worker: Any, folder: Path, parts: tuple[str, ...]) -> list[dict[str, Any]]:
    return [row for part in parts for row in worker.run({**TOLD, "folder": str(folder), "part": part})["rows"]]


def test_neighbours_are_counted_among_the_float_top_ten(worker: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    fit = rng.normal(size=(300, 32)).astype(np.float32)
    place = written(tmp_path / "set", {"fit": fit, "gallery": fit, "queries": rng.normal(size=(9, 32)).astype("f4")})
    rows = rows_of(worker, place, ("float", "hashret"))
    assert rows[0]["recall"] == 1
    assert rows[0]["bytes"] == 128
    for method, bits in {(row["method"], row["bits"]) for row in rows[1:] if "note" not in row}:
        mine = [row for row in rows if (row["method"], row["bits"]) == (method, bits)]
        assert [(row["look"], row.get("candidates")) for row in mine] == [
            ("", None), ("float32", 20), ("int8", 20), ("int8", 40),
        ]  # fmt: skip
        alone, single, _, longer = mine
        assert single["recall"] == pytest.approx(single["listed"])  # float32 loses nothing that is listed
        assert longer["listed"] >= single["listed"] >= alone["recall"]
        assert longer["bytes"] == alone["code_bytes"] + 32 + 4
        assert all(row["seconds_per_query"] > 0 for row in mine)
    refused = {(row["method"], row["bits"]) for row in rows if "note" in row}
    assert refused == {("itq", 64), ("pca_sign", 64)}  # no more bits than dimensions
    assert {row["bits_used"] for row in rows if row["method"] == "sign" and row["bits"] == 64} == {32}


def test_pairs_and_given_codes_follow_their_queries(worker: Any, codes: Any, photos: Any, tmp_path: Path) -> None:
    vectors = {"gallery": photos.test[0], "others": photos.images[photos.firsts], "queries": photos.test[1],
               "images": photos.images, "texts": photos.texts}  # fmt: skip
    photos.vectors = lambda: vectors
    image, text, about = codes.cca_space(photos)
    assert about["width"] == 20
    assert set(about["held_out_recall"]) == set(codes.POWERS)
    assert about["held_out_recall"][about["power"]] == max(about["held_out_recall"].values())
    beneath = {f"pair_{name}": array for name, array in vectors.items()}
    perfect = np.random.default_rng(3).integers(0, 256, (60, 1), np.uint8)
    beneath |= {"learned-8-gallery": perfect[40:], "learned-8-others": perfect[:40], "learned-8-queries": perfect[40:]}
    arrays = codes.among(codes.shared(photos, image, text), beneath, more=True)
    assert {len(arrays[name]) for name in ("gallery", "pair_gallery", "learned-8-gallery")} == {60}
    assert not [name for name in arrays if name.endswith("others")]
    rows = rows_of(worker, written(tmp_path / "set", arrays), ("float", "pairs", "given"))
    best = {(row["method"], row["bits"]): row["recall"] for row in rows if row.get("look") == ""}
    assert best["contrastive", 8] == 1  # a caption has its image's code
    assert best["cca_itq", 16] > 10 / 60
    assert best["float", 0] > 0.5
    assert {(row["method"], row["bits"]) for row in rows if "note" in row} == {("cca_itq", 64), ("cca_sign", 64)}


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
def test_codes_of_faiss_find_neighbours_at_their_bytes(codes: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    fit = rng.normal(size=(400, 32)).astype(np.float32)
    told = {**TOLD, "bits": [64]}
    rows = codes.measured(tmp_path, "a set", {"fit": fit, "gallery": fit, "queries": fit[:9]}, ["float", "faiss"], told)
    alone = {row["method"]: row for row in rows if row.get("look") == ""}
    assert {name: row["code_bytes"] for name, row in alone.items()} == {
        "float": 128, "IndexPQ": 8, "IndexIVFPQFastScan": 16, "IndexRaBitQ": 16, "IndexIVFRaBitQ": 24,
    }  # fmt: skip
    assert all(row["recall"] > 0.2 for row in alone.values())
    assert {row["items"] for row in rows} == {400}
    assert {row["set"] for row in rows} == {"a set"}


def test_the_report_names_what_is_behind_the_sign(codes: Any, tmp_path: Path) -> None:
    import embedding_codes_report as report

    told = {"set": "captions to images by CCA", "items": 50, "queries": 9, "seconds_per_query": 1e-5, "bytes": 8}
    coded = [("sign", 0.2), ("sign, centred", 0.3), ("lsh", 0.1), ("cca_itq", 0.25), ("contrastive", 0.35)]
    rows = [{**told, "method": "float", "bits": 0, "look": "", "recall": 0.5}]
    for method, recall in coded:
        rows.append({**told, "method": method, "bits": 64, "look": "", "recall": recall})
        rows += [
            {**told, "method": method, "bits": 64, "look": look, "recall": kept, "candidates": candidates, "bytes": 9}
            for look, candidates, kept in (("float32", 100, 0.5), ("int8", 100, 0.48), ("int8", 200, 0.49))
        ]
    rows.append({**told, "method": "itq", "bits": 512, "note": "no more bits than 384 directions"})
    (sheet,) = report.verdicts(rows)
    verdict = [[cell.text for cell in row] for row in sheet.body]
    assert [row[1:] for row in verdict] == [
        ["0.2500", "50.0%", "0.3000", "0.1000", "NO", "96.0%", "98.0%", "100.0%"],
        ["0.3500", "70.0%", "0.3000", "0.1000", "yes", "96.0%", "98.0%", "100.0%"],
    ]
    recall, times = report.sheets(rows)
    assert [cell.text for cell in recall.body[3]] == ["cca_itq", "0.2500 | 0.4800", "-"]
    assert [cell.text for cell in times.body[3]] == ["cca_itq", "10, 8 | 10, 9", "-"]
    assert "itq: no more bits than 384 directions (512)" in recall.caption
    report.plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(not WIKIPEDIA.is_dir(), reason="needs ../shared/data/wikipedia")
def test_it_measures_reports_and_draws(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "embedding_codes.py"), "--wikipedia", str(WIKIPEDIA), "--quick",
               "--bits", "8", "--repeats", "1", "--out", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "what codes keep" in done.stdout
    report = json.loads((tmp_path / "embedding_codes.json").read_text(encoding="utf-8"))
    assert {row["set"] for row in report["rows"]} == {"Wikipedia images (SIFT)", "Wikipedia texts (LDA)"}
    assert (tmp_path / "embedding-codes.png").read_bytes().startswith(b"\x89PNG")
