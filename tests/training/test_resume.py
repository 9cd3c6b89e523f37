"""A run that is killed with -9 in the middle of every stage ends in the same weights as one that is left alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FormatError, TrainingError
from hashret.methods import METHODS
from hashret.pipeline import read_recipe, train
from hashret.training import loop

PUBLISHED = {
    "data": {"name": "shapes", "train": 40, "validation": 12, "test": 8, "database": 26},
    "image": {"name": "cnn", "width": 4, "dimension": 8},
    "text": {"name": "bag_of_words", "size": 30},
    "method": {
        "name": "crcgs", "variant": "published", "bits": 16, "width": 16, "dimension": 12, "generative_dimension": 8,
        "hash_width": 8, "input_dropout": 0.1,
    },
    "stages": {
        "image_to_text": {"epochs": 3, "batch_size": 4},
        "text_to_image": {"epochs": 3, "batch_size": 4, "schedule": "plateau"},
        "student": {"epochs": 3, "batch_size": 4, "schedule": "cosine", "warmup": 3},
        "binary": {"epochs": 6, "batch_size": 4},
    },
    "training": {"device": "cpu", "checkpoint_steps": 1},
}  # fmt: skip
CRCGS = PUBLISHED | {
    "method": {
        "name": "crcgs", "bits": 16, "width": 16, "dimension": 12, "generative_dimension": 8, "generative_weight": 0.5,
    },
    "stages": {
        "image_to_text": {"epochs": 3, "batch_size": 4},
        "text_to_image": {"epochs": 3, "batch_size": 4, "schedule": "plateau"},
        "embedding": {"epochs": 6, "batch_size": 4, "schedule": "cosine", "warmup": 3},
        "codes": {"epochs": 3, "batch_size": 4},
    },
}  # fmt: skip
DCMH = PUBLISHED | {
    "method": {"name": "dcmh", "bits": 16, "width": 16, "dropout": 0.1},
    "stages": {"codes": {"epochs": 6, "batch_size": 4, "schedule": "cosine"}},
}
DSCMR = PUBLISHED | {
    "method": {"name": "dscmr", "bits": 16, "width": 16, "dimension": 12, "hash_width": 8},
    "stages": {"embedding": {"epochs": 3, "batch_size": 4, "schedule": "plateau"},
               "codes": {"epochs": 6, "batch_size": 4}},
}  # fmt: skip
RECIPES = {"crcgs": CRCGS, "crcgs_published": PUBLISHED, "dcmh": DCMH, "dscmr": DSCMR}
SCRIPT = """
import os, signal, sys, torch
torch.set_num_threads(1)
from hashret.pipeline import read_recipe, train
from hashret.training import loop
save, stage = loop.save_checkpoint, int(sys.argv[3])
def killed(path, model, optimizers, progress):
    if (progress.stage, progress.epoch, progress.step) == (stage, 1, 5):
        os.kill(os.getpid(), signal.SIGKILL)  # a step after the newest checkpoint, which is lost
    save(path, model, optimizers, progress)
loop.save_checkpoint = killed
train(read_recipe(sys.argv[1]), sys.argv[2], resume=True, quiet=True)
"""


def position(run: Path) -> tuple[int, int, int]:
    """Stage, epoch and step of the newest checkpoint."""
    progress = read_arrays(run / "last.safetensors", kind="hashret.checkpoint/1", mmap=True)[1]["progress"]
    return progress["stage"], progress["epoch"], progress["step"]


def run_until(recipe: Path, run: Path, stage: int = -1) -> int:
    """Train, or go on, in a process of its own, to the end or until kill -9 within this stage; its exit status.

    The moment is told in steps: on a busy machine whoever watches a run from outside sees it too late.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", SCRIPT, str(recipe), str(run), str(stage)]
    return subprocess.run(command, env=environment, timeout=200, check=False).returncode


def rows(run: Path) -> list[dict[str, object]]:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in log]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_killed_in_every_stage_and_resumed_gives_equal_weights(name, tmp_path):
    whole, killed, recipe = tmp_path / "whole", tmp_path / "killed", tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPES[name]), encoding="utf-8")
    assert run_until(recipe, whole) == 0
    for stage in range(len(METHODS[name].stages)):
        assert run_until(recipe, killed, stage) == -signal.SIGKILL
        assert position(killed) == (stage, 1, 4)
    assert run_until(recipe, killed) == 0
    assert (whole / "model" / "model.safetensors").read_bytes() == (killed / "model" / "model.safetensors").read_bytes()
    assert rows(whole) == rows(killed)
    epochs = sum(settings["epochs"] for settings in RECIPES[name]["stages"].values())
    assert len(rows(whole)) == epochs, "every epoch once"


def broken_off(recipe, run, monkeypatch, at):
    """A run that ends right after the checkpoint at this stage, epoch and step."""
    save = loop.save_checkpoint

    def ends(path, model, optimizers, progress):
        save(path, model, optimizers, progress)
        if (progress.stage, progress.epoch, progress.step) == at:
            raise OSError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", ends)
        with pytest.raises(OSError, match="killed here"):
            train(recipe, run, quiet=True)


@pytest.mark.parametrize("at", [(0, 0, 3), (0, 1, 0), (0, 2, 7)], ids=["first epoch", "between epochs", "third epoch"])
def test_what_a_method_remembers_of_all_items_survives(at, tmp_path, monkeypatch):
    """DCMH learns against the outputs of all training items; they are in checkpoints and in no saved weights."""
    recipe = read_recipe(DCMH, ["stages.codes.epochs=3"])
    broken_off(recipe, tmp_path / "broken", monkeypatch, at)
    arrays, _ = read_arrays(tmp_path / "broken" / "last.safetensors", kind="hashret.checkpoint/1")
    seen = arrays["memory/seen"]
    assert len(seen) == len(arrays["memory/codes"]) == 40
    assert seen.sum() == (12 if at[1] == 0 else 40), "four a step"
    train(recipe, tmp_path / "broken", quiet=True, resume=True)
    train(recipe, tmp_path / "whole", quiet=True)
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("broken", "whole")]
    assert weights[0] == weights[1]
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    for file in ("last.safetensors", "model/model.safetensors", "best-codes.safetensors"):
        names = read_arrays(tmp_path / "whole" / file, kind=["hashret.checkpoint/1", "hashret.weights/1"])[0]
        assert not [name for name in names if "memory" in name or "seen" in name]


def test_without_its_memory_a_resumed_run_ends_elsewhere(tmp_path, monkeypatch):
    """The test above can fail: what is remembered matters."""
    recipe = read_recipe(DCMH, ["stages.codes.epochs=3"])
    broken_off(recipe, tmp_path / "broken", monkeypatch, (0, 1, 5))
    last = tmp_path / "broken" / "last.safetensors"
    arrays, metadata = read_arrays(last, kind="hashret.checkpoint/1")
    arrays = {name: array for name, array in arrays.items() if not name.startswith("memory/")}
    write_arrays(last, arrays, kind="hashret.checkpoint/1", metadata=metadata)
    train(recipe, tmp_path / "broken", quiet=True, resume=True)
    train(recipe, tmp_path / "whole", quiet=True)
    assert rows(tmp_path / "broken")[-1] != rows(tmp_path / "whole")[-1]


def test_what_is_remembered_is_of_the_same_items(tmp_path, monkeypatch):
    recipe = read_recipe(DCMH, ["stages.codes.epochs=3"])
    broken_off(recipe, tmp_path, monkeypatch, (0, 1, 0))
    fixed = tmp_path / "fixed-codes.safetensors"
    metadata = read_arrays(fixed, kind="hashret.fixed/1")[1]
    write_arrays(fixed, {}, kind="hashret.fixed/1", metadata={"items": {**metadata["items"], "target": "others"}})
    with pytest.raises(TrainingError, match="codes, resumed: expected the items it began with"):
        train(recipe, tmp_path, quiet=True, resume=True)


def test_a_run_that_ends_between_log_and_checkpoint_logs_every_epoch_once(tmp_path, monkeypatch):
    save = loop.save_checkpoint

    def fails(path, model, optimizers, progress):
        if (progress.stage, progress.epoch, progress.step) == (0, 2, 0):  # the epoch is in the log already
            raise OSError("killed here")
        save(path, model, optimizers, progress)

    recipe = read_recipe(PUBLISHED)
    monkeypatch.setattr(loop, "save_checkpoint", fails)
    with pytest.raises(OSError, match="killed here"):
        train(recipe, tmp_path / "broken", quiet=True)
    assert len(rows(tmp_path / "broken")) == 2
    monkeypatch.setattr(loop, "save_checkpoint", save)
    train(recipe, tmp_path / "broken", quiet=True, resume=True)
    train(recipe, tmp_path / "whole", quiet=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")


def test_a_stage_is_not_resumed_on_other_items(tmp_path, monkeypatch):
    save = loop.save_checkpoint

    def fails(path, model, optimizers, progress):
        save(path, model, optimizers, progress)
        if (progress.stage, progress.epoch) == (3, 1):
            raise OSError("killed here")

    before = ("image_to_text", "text_to_image", "student")
    recipe = read_recipe(PUBLISHED, [f"stages.{name}.epochs=1" for name in before])
    monkeypatch.setattr(loop, "save_checkpoint", fails)
    with pytest.raises(OSError, match="killed here"):
        train(recipe, tmp_path, quiet=True)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    fixed = tmp_path / "fixed-binary.safetensors"
    arrays, metadata = read_arrays(fixed, kind="hashret.fixed/1")
    write_arrays(fixed, arrays, kind="hashret.fixed/1", metadata={"items": {**metadata["items"], "query": "others"}})
    with pytest.raises(TrainingError, match="binary, resumed: expected the items it began with"):
        train(recipe, tmp_path, quiet=True, resume=True)
    write_arrays(fixed, arrays, kind="hashret.fixed/1", metadata=metadata)
    train(recipe, tmp_path, quiet=True, resume=True)
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    short = read_recipe(CRCGS, [f"stages.{stage.name}.epochs=1" for stage in METHODS["crcgs"].stages])
    train(short, tmp_path / "run", quiet=True)
    before = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    train(short, tmp_path / "run", quiet=True, resume=True)
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == before
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log
    with pytest.raises(TrainingError, match="Add --resume"):
        train(short, tmp_path / "run", quiet=True)
    with pytest.raises(TrainingError, match=r"method.bits 32 \(was 16\)"):
        train(read_recipe(short.to_dict(), ["method.bits=32"]), tmp_path / "run", quiet=True, resume=True)
    checkpoint = tmp_path / "run" / "last.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(FormatError, match="truncated"):
        train(short, tmp_path / "run", quiet=True, resume=True)


def test_another_seed_gives_other_weights_and_the_same_seed_the_same(tmp_path):
    short = [f"stages.{stage.name}.epochs=1" for stage in METHODS["crcgs"].stages]
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(read_recipe(CRCGS, [*short, f"training.seed={seed}"]), tmp_path / name, quiet=True)
        weights.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_patience_counts_only_where_there_is_a_score(tmp_path):
    """The generators have no validation score: patience cannot end their stages. A score that stands still does."""
    sets = [f"stages.{stage.name}.patience=1" for stage in METHODS["crcgs_published"].stages]
    train(read_recipe(PUBLISHED, [*sets, "stages.binary.lr=1e-30", "stages.student.epochs=1"]), tmp_path, quiet=True)
    epochs = [row["stage"] for row in rows(tmp_path)]
    assert epochs.count("image_to_text") == epochs.count("text_to_image") == 3
    assert epochs.count("binary") == 2


def test_a_loss_that_is_no_number_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"image_to_text, turn .*expected finite losses.*Lower the stage's lr"):
        train(read_recipe(CRCGS, ["stages.image_to_text.lr=1e30"]), tmp_path / "run", quiet=True)
