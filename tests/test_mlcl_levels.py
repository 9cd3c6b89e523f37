"""The script that asks MLCL both ways: each way is what a run of that option says, and other methods are refused."""

import json
import sys
from pathlib import Path

import pytest

from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.run import Run

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = {
    "data": {"name": "shapes", "protocol": "edits", "train": 40, "validation": 12, "test": 16, "database": 80},
    "image": {"name": "cnn", "size": 32, "width": 8, "dimension": 16},
    "text": {"name": "bag_of_words"},
    "training": {"metric": "hit@1"},
}
SMALL = {"bits": 16, "dimension": 16, "width": 16, "projection_width": 16, "hidden_width": 16, "hash_width": 16}
MLCL = {"name": "mlcl", **SMALL, "self_weight": 0.0, "balance_start": 1.5}
STAGES = {"combiner": {"epochs": 0}, "joint": {"epochs": 2, "batch_size": 20}, "codes": {"epochs": 1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlcl") / "run"
    train(read_recipe({**TINY, "method": MLCL, "stages": STAGES}), folder, quiet=True)
    return folder


@pytest.fixture
def levels(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mlcl_levels

    return mlcl_levels


def test_each_way_is_a_run_of_that_option(run, levels, tmp_path):
    metrics = ["hit@1", "hit@10", "mean-rank"]
    found = levels.measured(run, None, metrics)
    assert found["straight"] != found["swapped"]
    for way in levels.WAYS:
        config = json.loads((run / "model" / "config.json").read_text())
        there = Run.open(run)
        config["options"]["levels"] = way
        (run / "model" / "config.json").write_text(json.dumps(config))
        scores = evaluate_run(there.folder, metrics=metrics, unanswered="zero", by="embedding", floors=False).scores[
            "MLCL"
        ]
        expected = {(task, metric): score[metric] for task, score in scores.items() for metric in metrics}
        assert found[way] == pytest.approx(expected)


def test_the_table(run, levels, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["mlcl_levels.py", str(run), str(run), "--metrics", "hit@10", "--split", "validation"]
    )
    levels.main()
    told = capsys.readouterr().out
    assert "validation split" in told
    assert "straight" in told
    assert "+- 0.00" in told  # the same run twice
    assert "of 2" in told


def test_other_methods_are_refused(tmp_path, levels, monkeypatch):
    folder = tmp_path / "sum"
    small = {"name": "sum", "bits": 16, "dimension": 16, "width": 16, "hash_width": 16}
    stages = {"embedding": {"epochs": 1}, "codes": {"epochs": 1}}
    train(read_recipe({**TINY, "method": small, "stages": stages}), folder, quiet=True)
    monkeypatch.setattr(sys, "argv", ["mlcl_levels.py", str(folder)])
    with pytest.raises(SystemExit, match="expected a run of MLCL, got sum"):
        levels.main()
