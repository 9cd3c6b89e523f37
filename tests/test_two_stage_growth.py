"""The script that repeats a gallery: it has as many items as it says, and every way of searching is timed."""

import json
import sys
from pathlib import Path

import pytest

from hashret.pipeline import read_recipe, train

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TGDT = {
    "name": "tgdt", "bits": 16, "dimension": 16, "heads": 2, "feedforward": 16, "region_layers": 0, "base_layers": 1,
    "global_layers": 1, "hash_width": 16,
}  # fmt: skip
TINY = {
    "data": {"name": "shapes", "protocol": "captions", "train": 24, "validation": 8, "test": 12},
    "image": {"name": "cnn", "size": 32, "width": 8, "dimension": 16},
    "text": {"name": "transformer", "dimension": 16, "layers": 1},
    "training": {"metric": "hit@1"},
}


def test_a_gallery_grows(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import two_stage_growth

    stages = {"joint": {"epochs": 1}, "codes": {"epochs": 1}}
    recipe = read_recipe({**TINY, "method": TGDT, "stages": stages})
    retriever = train(recipe, tmp_path / "run", quiet=True)
    sizes = []
    plain = two_stage_growth.grown

    def counted(retriever, task, size, folder, dtype):
        gallery = plain(retriever, task, size, folder, dtype)
        sizes.append((task.name, len(gallery.index), len(gallery.embeddings), len(gallery.tokens)))
        assert gallery.tokens.dtype == "int8"
        return gallery

    monkeypatch.setattr(two_stage_growth, "grown", counted)
    arguments = ["--sizes", "5", "150", "--shortlist", "3", "--queries", "2", "--dtype", "int8"]
    monkeypatch.setattr(sys, "argv", ["growth", str(tmp_path / "run"), *arguments, "--format", "markdown"])
    two_stage_growth.main()
    assert sizes == [(task, *[size] * 3) for task in ("i2t", "t2i") for size in (5, 150)]
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines[1:]] == ["i2t", "i2t", "t2i", "t2i"]
    kept = json.loads((tmp_path / "run" / "two-stage-growth.json").read_text(encoding="utf-8"))
    assert [row["gallery"] for row in kept["rows"]] == [5, 150, 5, 150]
    assert all(value > 0 for row in kept["rows"] for value in row["milliseconds"].values())
    assert retriever.method.looks_closer


def test_a_method_without_tokens_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import two_stage_growth

    method = {"name": "contrastive", "bits": 16, "dimension": 16, "width": 16, "hash_width": 16}
    recipe = read_recipe({**TINY, "method": method, "stages": {"embedding": {"epochs": 1}, "codes": {"epochs": 1}}})
    train(recipe, tmp_path / "run", quiet=True)
    monkeypatch.setattr(sys, "argv", ["growth", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="run: expected one of a method that compares tokens, got Contrastive"):
        two_stage_growth.main()
