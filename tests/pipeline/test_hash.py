"""The learned hasher by the commands of the shallow ones: trained on files, resumed, applied in blocks of any size."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hashret.arrayfile import read_arrays
from hashret.cli import main
from hashret.codes import Codes
from hashret.data.rowfile import open_rows
from hashret.errors import NonFiniteError, WidthError
from hashret.evaluation import evaluate
from hashret.hashers.streaming import hash_rows
from hashret.pipeline.embeddings import dataset_of, share_a_space
from hashret.pipeline.learned import LearnedHasher
from hashret.relevance import SameInstance, SharedLabels
from hashret.retriever import Retriever

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(4, size=260)
LATENT = RNG.normal(size=(4, 12))[CLASSES] + 0.7 * RNG.normal(size=(260, 12))
IMAGES = (LATENT + 0.3 * RNG.normal(size=(260, 12))).astype(np.float32)
TEXTS = (LATENT @ RNG.normal(size=(12, 9)) + 0.3 * RNG.normal(size=(260, 9))).astype(np.float32)
SMALL = ("--set", "width=16", "--set", "hash_width=16", "--set", "batch_size=40", "--bits", 16)


def call(*arguments):
    return CliRunner().invoke(main, ["hash", *map(str, arguments)])


def right(*arguments):
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    return done


def wrong(*arguments):
    done = call(*arguments)
    assert done.exit_code == 1, done.output
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "texts.npy", TEXTS)
    np.save(folder / "classes.npy", CLASSES)
    return folder


@pytest.fixture(scope="module")
def paired(files):
    """A hasher of pairs whose last 60 rows it has not seen, and what the command said."""
    for name, rows in (("images", IMAGES), ("texts", TEXTS)):
        np.save(files / f"seen-{name}.npy", rows[:200])
    pairs = ("--pairs", files / "seen-texts.npy", "--set", "dimension=16", "--set", "epochs=12", "--set", "lr=0.01")
    done = right("fit", files / "seen-images.npy", *pairs, "--hasher", "contrastive", *SMALL, "--out", files / "paired")
    return files / "paired", done


def test_pairs_are_found_by_their_codes(files, paired, tmp_path):
    folder, done = paired
    assert "16-bit contrastive fitted on 200 of 200 rows" in done.stdout
    assert "20 of 200 rows are held out" in done.stderr
    assert "embedding 12/12" in done.stderr
    for side in ("image", "text"):
        right("apply", folder, files / f"{side}s.npy", "--side", side, "--out", tmp_path / side)
    images, texts = (Codes.load(tmp_path / side)[200:] for side in ("image", "text"))
    own = np.arange(60)
    trained = evaluate((images, texts), SameInstance(own, own), metrics=["map"])["map"]
    strangers = evaluate((images, texts), SameInstance(own, np.roll(own, 7)), metrics=["map"])["map"]
    assert trained > 3 * strangers


def test_it_is_json_and_arrays_and_a_retriever(paired, tmp_path):
    folder, _ = paired
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {
        ".json", ".jsonl", ".yaml", ".txt", ".safetensors",
    }  # fmt: skip
    hasher = LearnedHasher.load(folder)
    assert hasher.inputs == ("images", "texts")
    assert Retriever.from_pretrained(folder).encode_texts(list(TEXTS)) == hasher.transform(TEXTS, side="text")
    hasher.save(tmp_path / "copy")
    assert LearnedHasher.load(tmp_path / "copy").transform(IMAGES, side="image") == hasher.transform(
        IMAGES, side="image"
    )


@pytest.mark.parametrize("rows", [1, 7, 100, 5000])
def test_a_code_does_not_depend_on_its_block(paired, tmp_path, rows):
    """Against the slow oracle: each vector by itself, in the Retriever's own blocks."""
    many = np.concatenate([IMAGES] * 6)[5:]
    np.save(tmp_path / "x.npy", many)
    hasher, opened = LearnedHasher.load(paired[0]), open_rows(tmp_path / "x.npy")
    whole = opened.blocks
    object.__setattr__(opened, "blocks", lambda: whole(rows))
    hash_rows(hasher, opened, tmp_path / "codes", side="image")
    alone = Codes.concatenate([hasher.retriever.encode_images([vector]) for vector in IMAGES])
    assert Codes.load(tmp_path / "codes") == Codes(np.concatenate([alone.packed] * 6)[5:], 16)
    assert hasher.transform(many.astype(np.float64), side="image") == Codes.load(tmp_path / "codes")


class _Rounding(torch.nn.Module):
    """A method whose kernels round by shape and place, as some processors' do: values that are 0 but for that."""

    bits = 8
    dimension = 12

    def relaxed(self, inputs):
        exact = inputs.image[:, :8].clone()
        exact[inputs.image[:, 8] > 0] *= 1e-9
        noise = 2e-6 * torch.where(torch.arange(len(exact)) % 3 == 0, 1.0, -1.0)
        return exact if len(exact) == 16 else exact + noise[:, None]


def test_a_bit_that_rounding_could_turn_is_decided_in_the_same_shape_always():
    method = _Rounding()
    method.image = method.text = torch.nn.Identity()
    method.image.dimension = 12
    hasher = LearnedHasher(Retriever(method, None), ("vectors", "labels"))
    codes = hasher.transform(IMAGES)
    np.testing.assert_array_equal(codes.unpack() > 0, IMAGES[:, :8] > 0)
    turned = method.relaxed(type("Part", (), {"image": torch.from_numpy(IMAGES)})) > 0
    assert (turned.numpy() != (IMAGES[:, :8] > 0)).any(), "a plain pass must err here, or this shows nothing"


def test_one_modality_learns_from_labels(files, tmp_path):
    labels = ("--labels", files / "classes.npy", "--set", "epochs=6", "--set", "lr=0.01")
    done = right("fit", files / "images.npy", *labels, "--hasher", "contrastive", *SMALL, "--out", tmp_path / "one")
    recipe = (tmp_path / "one" / "recipe.yaml").read_text()
    assert "head: mlp" in recipe
    assert "label_weight: 10.0" in recipe
    assert "labels" in done.stderr
    right("apply", tmp_path / "one", files / "images.npy", "--out", tmp_path / "codes")
    codes, marks = Codes.load(tmp_path / "codes"), np.eye(4, dtype=np.uint8)[CLASSES]
    relevance = SharedLabels(marks, marks)
    plain = evaluate((Codes(np.packbits(IMAGES > 0, axis=1), 12),) * 2, relevance, metrics=["map"])["map"]
    assert evaluate((codes, codes), relevance, metrics=["map"])["map"] > plain + 0.1
    assert "It knows one modality only" in wrong(
        "apply", tmp_path / "one", files / "images.npy", "--side", "text", "--out", tmp_path / "no"
    )


def test_embeddings_that_share_a_space_keep_it():
    assert share_a_space(IMAGES, TEXTS) is None
    assert share_a_space(IMAGES, IMAGES + 0.1) < 0.05
    turned = IMAGES @ np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0].astype(np.float32)
    assert 0.3 < share_a_space(IMAGES, turned) < 0.7


def test_a_shared_space_is_said_and_kept(files, tmp_path):
    np.save(tmp_path / "near.npy", IMAGES + 0.1)
    pairs = ("--pairs", tmp_path / "near.npy", "--set", "epochs=1", "--hasher", "contrastive", *SMALL)
    done = right("fit", files / "images.npy", *pairs, "--out", tmp_path / "near")
    assert "head: residual" in done.stderr
    assert "head: residual\n  width: 16" in (tmp_path / "near" / "recipe.yaml").read_text()
    right("fit", files / "images.npy", *pairs, "--set", "head=mlp", "--out", tmp_path / "afresh")
    assert "head: mlp" in (tmp_path / "afresh" / "recipe.yaml").read_text()


def test_captions_of_an_image_stand_on_one_side_of_the_split():
    images = np.repeat(IMAGES[:50], 3, axis=0)
    dataset, held = dataset_of(images, TEXTS[:150], None, seed=0)
    assert (len(dataset.train), held) == (135, 15)
    assert [len(task.queries) for task in dataset.validation] == [5, 15]
    assert dataset.validation[0].relevance.totals().tolist() == [3] * 5
    trained = {pair.query.image.tobytes() for pair in dataset.train}
    assert not trained & {query.image.tobytes() for query in dataset.validation[0].queries}


def test_killed_and_given_again_it_ends_in_the_same_weights(files, tmp_path):
    arguments = [
        sys.executable, "-m", "hashret", "hash", "fit", files / "images.npy", "--pairs", files / "texts.npy",
        "--hasher", "contrastive", "--set", "epochs=4", *SMALL,
    ]  # fmt: skip
    arguments, environment = [str(argument) for argument in arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    once = subprocess.run([*arguments, "--out", tmp_path / "once"], capture_output=True, env=environment, check=False)
    assert once.returncode == 0, once.stderr
    process = subprocess.Popen([*arguments, "--out", tmp_path / "twice"], stderr=subprocess.DEVNULL, env=environment)
    log = tmp_path / "twice" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode == -signal.SIGKILL and not (tmp_path / "twice" / "model" / "hasher.json").exists():
        said = wrong("apply", tmp_path / "twice", files / "images.npy", "--side", "image", "--out", tmp_path / "no")
        assert "an interrupted one goes on" in said
    again = subprocess.run([*arguments, "--out", tmp_path / "twice"], capture_output=True, env=environment, check=False)
    assert again.returncode == 0, again.stderr
    logs = [
        [(row["stage"], row["epoch"], row["losses"]) for row in map(json.loads, path.read_text().splitlines())]
        for path in (tmp_path / "once" / "log.jsonl", log)
    ]
    assert logs[0] == logs[1]
    ours, theirs = (
        read_arrays(tmp_path / name / "model" / "model.safetensors", kind="hashret.weights/1")[0]
        for name in ("once", "twice")
    )
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_another_fit_does_not_go_on_with_this_one(files, paired):
    folder, _ = paired
    pairs = ("--pairs", files / "seen-texts.npy", "--hasher", "contrastive", "--out", folder)
    assert "expected the recipe this run began with" in wrong("fit", files / "seen-images.npy", *pairs, "--bits", 8)


def test_mistakes_get_one_line_that_says_what_to_do(files, paired, tmp_path):
    folder, _ = paired
    images, texts, out = files / "images.npy", files / "texts.npy", tmp_path / "out"
    fit = ("fit", images, "--hasher", "contrastive", "--out", out)
    assert "of vectors alone, use hasher itq" in wrong(*fit)
    pairs = (*fit, "--pairs", texts)
    assert "Did you mean label_weight?" in wrong(*pairs, "--set", "label_wait=2")
    assert "Did you mean codes.epochs?" in wrong(*pairs, "--set", "code.epochs=2")
    assert "method.dropout" in wrong(*pairs, "--set", "dropout=2")
    assert "method.dimension" in wrong(*pairs, "--set", "head=residual")
    assert "20 different rows" in wrong(*pairs, "--sample", 19)
    np.save(tmp_path / "items.npy", np.arange(260))
    assert "rows held out that share one" in wrong(*fit, "--labels", tmp_path / "items.npy")
    np.save(tmp_path / "marks.npy", np.full((260, 2), 0.5))
    assert "expected zeros and ones" in wrong(*fit, "--labels", tmp_path / "marks.npy")
    np.save(tmp_path / "large.npy", np.where(np.arange(260)[:, None] == 99, 1e200, TEXTS.astype(np.float64)))
    assert "numbers that float32 holds, got larger ones in row 99" in wrong(*fit, "--pairs", tmp_path / "large.npy")
    assert "Did you mean contrastive?" in wrong("fit", images, "--hasher", "contrastiv", "--out", out)
    assert not out.exists()
    assert "Say which modality it is" in wrong("apply", folder, images, "--out", out)
    assert "expected 12 columns, got 9" in wrong("apply", folder, texts, "--side", "image", "--out", out)
    assert "hasher.json" in wrong("apply", files, images, "--out", out)
    assert not out.exists()
    hasher = LearnedHasher.load(folder)
    bad = IMAGES.copy()
    bad[33, 2] = np.nan
    with pytest.raises(NonFiniteError, match="row 33, column 2"):
        hasher.transform(bad, side="image")
    with pytest.raises(WidthError):
        hasher.transform(bad[:, 1:], side="image")
    assert len(hasher.transform(bad[:0], side="image")) == 0
