"""Two processes under torchrun train as one: the same losses, gradients, weights and results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from learning_encoders import build, pairs, read_single, run
from together import BROKEN, PAIRS, SETTINGS, by_command, everything, how, learner

from hashret.arrayfile import read_arrays
from hashret.errors import TrainingError
from hashret.methods import METHODS, StageSettings
from hashret.training import Fit, PairTable, Processes, fit

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of what both did, how it ended, and what each kept."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run([*command, str(HERE / "together.py"), str(folder)], env=environment, timeout=300,
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert (folder / "about.json").exists(), ended.stderr
    assert json.loads((folder / "about.json").read_text(encoding="utf-8")) == {"processes": 2}
    return folder, ended, [torch.load(folder / f"process-{number}.pt") for number in (0, 1)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return folder, everything(folder)


def logged(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def farthest(found, expected):
    """The largest difference in any of two lists of tensors."""
    return max(float((a.double() - b.double()).abs().max()) for a, b in zip(found, expected, strict=True) if a.numel())


@pytest.mark.parametrize("name", [*METHODS, *SETTINGS])
def test_losses_gradients_and_weights_are_those_of_one_process(name, one, two):
    """What a stage keeps of those before it is float32, and so is all that DCMH remembers."""
    alone, (first, second) = one[1][name], (kept["runs"][name] for kept in two[2])
    assert len(alone["gradients"]) == len(first["gradients"]) == len(second["gradients"]) > 2
    largest = max(float(gradient.abs().max()) for step in alone["gradients"] for gradient in step)
    away = [farthest(own, step) for own, step in zip(first["gradients"], alone["gradients"], strict=True)]
    assert max(away) < 1e-6 * largest, (away, largest)
    assert name == "dcmh" or away[0] < 1e-12 * largest, (away, largest)
    assert farthest(first["weights"].values(), alone["weights"].values()) < 1e-6
    for mine, yours in zip(first["gradients"], second["gradients"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, yours, strict=True))
    assert all(torch.equal(first["weights"][key], second["weights"][key]) for key in first["weights"])
    together, apart = logged(two[0] / name), logged(one[0] / name)
    assert len(together) == len(apart)
    for row, other in zip(together, apart, strict=True):
        assert row.pop("losses") == pytest.approx(other.pop("losses"), abs=2e-6)
        assert row == other


def test_the_first_alone_validates_and_writes(one, two):
    first, second = (kept["runs"]["contrastive"]["validated"] for kept in two[2])
    assert (first, second) == (one[1]["contrastive"]["validated"], [])
    assert sorted(path.name for path in (two[0] / "contrastive").iterdir()) == sorted(
        path.name for path in (one[0] / "contrastive").iterdir()
    )


@pytest.mark.parametrize("name", BROKEN)
def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(name, two):
    for kept in two[2]:
        broken, whole = (kept["resumed"][name, way] for way in ("broken", "whole"))
        assert all(torch.equal(broken[key], whole[key]) for key in whole)
    assert logged(two[0] / f"{name} broken") == logged(two[0] / f"{name} whole")


def test_every_query_is_measured_once(one, two):
    by_command(one[0])
    found, expected = (json.loads((place / "run" / "results.json").read_text()) for place in (two[0], one[0]))
    assert found == expected
    (mine, _), (whole, _) = (
        read_arrays(place / "run" / "per_query.safetensors", kind="hashret.scores/1") for place in (two[0], one[0])
    )
    assert {name: array.shape for name, array in mine.items()} == {name: a.shape for name, a in whole.items()}


def test_a_process_that_dies_ends_the_others(two):
    """And what was trained until then goes on in any number of processes, such as one."""
    folder, ended, _ = two
    assert ended.returncode
    assert not (folder / "survived").exists()
    alone, broken = (
        run(learner("dcmh"), place, count=PAIRS, how=how(place), resume=True, epochs=2)
        for place in (folder / "alone", folder / "dead")
    )
    assert farthest(broken.values(), alone.values()) < 1e-6
    assert len(logged(folder / "dead")) == 2


def test_shares_begin_with_all_rows_in_order():
    for count in (1, 2, 3, 8):
        processes = [Processes(count, number) for number in range(count)]
        for rows in (1, 2, 3, 7, 8, 9):
            shares = [process.share(rows).tolist() for process in processes]
            assert len({len(share) for share in shares}) == 1
            assert sum(shares, [])[:rows] == list(range(rows))
            assert sum(process.owned(rows) for process in processes) == rows


def test_compiled_batch_normalisation_is_refused_together(tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "joined", classmethod(lambda cls, device: cls(2, 0)))
    method = build("contrastive", norms_learn=True, double=False)
    settings = {stage.name: StageSettings(epochs=1, batch_size=4) for stage in method.stages}
    with pytest.raises(TrainingError, match=r"training\.compile: .*SmallCNN, in which layers\.1 is a BatchNorm"):
        fit(method, PairTable(pairs(), read_single), settings,
            Fit(tmp_path, device="cpu", quiet=True, compile=True), lambda method, stage: 0.0, resume=False)  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_every_process_is_told_what_is_refused(two):
    for kept in two[2]:
        assert kept["told"] == [
            "it: expected one thing, got another. Mend it.",
            "it: expected the same in all processes, got others in process 1. Give all of them the same recipe, the "
            "same files and a run folder that all see.",
            "it: expected one process, got 2. Start it without torchrun.",
        ]


def test_processes_that_nobody_has_started_are_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(TrainingError, match="WORLD_SIZE: expected 1, or processes that torchrun has started, got 2"):
        Processes.joined("cuda")
