"""The commands as a person uses them: the whole way on a small tree, and what they say to mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from hashret.cli import main

RECIPE = {
    "data": {"name": "folder", "validation": 0.2, "test": 0.2},
    "image": {"name": "cnn", "size": 32, "width": 4, "dimension": 8},
    "text": {"name": "bag_of_words", "size": 30},
    "method": {
        "name": "crcgs", "bits": 12, "width": 16, "dimension": 12, "generative_dimension": 8, "generative_weight": 0.5,
    },
    "stages": {name: {"epochs": 1} for name in ("image_to_text", "text_to_image", "embedding", "codes")},
    "evaluation": {"metrics": ["map", "map@5", "recall@3"]},
}  # fmt: skip
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 200)}


def make_folder(root: Path) -> Path:
    """Thirty pictures of three colours, two sentences each, labelled by colour; one is torn, one text is blank."""
    root.mkdir()
    chance, rows = np.random.default_rng(0), []
    for number in range(30):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = np.clip(np.array(colour) + chance.integers(-30, 30, (36, 36, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "texts": [f"something {name}", f"a {name} patch"], "labels": [name]})
    (root / "3.png").write_bytes((root / "3.png").read_bytes()[:200])
    rows[7]["texts"] = ["   ", "a green patch"]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of pictures, a recipe and a trained run, made by the command itself."""
    place = tmp_path_factory.mktemp("world")
    paths = {"folder": make_folder(place / "pictures"), "recipe": place / "recipe.yaml", "run": place / "run"}
    paths["recipe"].write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    done = call("train", paths["recipe"], "--data", paths["folder"], "--out", paths["run"])
    assert done.exit_code == 0, done.output
    paths["printed"] = place / "printed.txt"
    paths["printed"].write_text(done.output, encoding="utf-8")
    return paths


def call(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_training_prints_tables_with_their_rules(world):
    printed = world["printed"].read_text(encoding="utf-8")
    for part in ("map, 12 bits, ties: expected, database: encoded", "map@5", "CRCGS", "random codes", "untrained"):
        assert part in printed
    assert "without a right answer left out" in printed


def test_a_run_folder_explains_itself(world):
    run = world["run"]
    names = {path.name for path in run.iterdir()}
    assert {"recipe.yaml", "environment.json", "log.jsonl", "last.safetensors", "model", "results.json"} <= names
    assert {"best-codes.safetensors", "rejected.jsonl", "README.txt"} <= names
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["method"]["contrastive_temperature"] == 0.2, "defaults are written out"
    assert recipe["root"] == str(world["folder"])
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["stage"] for row in log] == ["image_to_text", "text_to_image", "embedding", "codes"]
    assert log[2]["validation"] > 0
    assert set(log[2]["losses"]) == {"classification", "invariance", "contrast", "generative"}
    assert "torch" in json.loads((run / "environment.json").read_text(encoding="utf-8"))["packages"]


def test_bad_items_are_counted_and_listed(world):
    rejected = [json.loads(line) for line in (world["run"] / "rejected.jsonl").read_text("utf-8").splitlines()]
    reasons = {row["key"]: row["reason"] for row in rejected}
    assert "3.png" in reasons
    assert any("empty" in reason for reason in reasons.values())


def test_encode_index_search(world, tmp_path):
    codes, index = tmp_path / "pictures.encoded", tmp_path / "pictures.index"
    done = call("encode", world["run"], world["folder"], "--side", "image", "--out", codes)
    assert done.exit_code == 0
    assert f"29 codes in {codes}, 1 failure with the reason in {codes}/failures" in done.stdout
    assert "30 of 30 items" in done.stderr
    (failed,) = pq.read_table(codes / "failures" / "00000.parquet").to_pylist()
    assert (failed["key"], failed["reason"]) == ("3.png", "a truncated image")
    again = call("encode", world["run"], world["folder"], "--side", "image", "--out", codes, "--quiet")
    assert (again.stdout, again.stderr) == (done.stdout, "")
    assert f"29 codes indexed in {index}" in call("index", codes, "--out", index).output
    picture = tmp_path / "hits.png"
    done = call("search", index, "--run", world["run"], "--text", "something red", "-k", 4, "--picture", picture)
    assert done.exit_code == 0
    assert done.output.count("distance") == 4
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 200
    found = json.loads(
        call("search", index, "--run", world["run"], "--image", world["folder"] / "5.png", "--json").stdout
    )
    assert len(found[0]["hits"]) == 10
    assert [hit["distance"] for hit in found[0]["hits"]] == sorted(hit["distance"] for hit in found[0]["hits"])
    assert found[0]["hits"][0]["distance"] == 0
    at_zero = [hit["key"] for hit in found[0]["hits"] if hit["distance"] == 0]
    everything = json.loads(
        call("search", index, "--run", world["run"], "--image", world["folder"] / "5.png", "--json", "-k", 99).stdout
    )
    assert len(everything[0]["hits"]) == 29
    assert "5.png" in at_zero + [hit["key"] for hit in everything[0]["hits"] if hit["distance"] == 0]


def test_codes_of_another_model_are_refused(world, tmp_path):
    """Two runs of one recipe make codes of one width that mean different things."""
    codes, index, other = tmp_path / "p.encoded", tmp_path / "p.index", tmp_path / "other"
    call("encode", world["run"], world["folder"], "--side", "image", "--out", codes)
    call("index", codes, "--out", index)
    sets = ("--set", "training.seed=1", "--quiet")
    assert call("train", world["recipe"], "--data", world["folder"], "--out", other, *sets).exit_code == 0
    message = wrong(world, tmp_path, "search", index, "--run", other, "--text", "red")
    assert "codes of another model" in message


def test_texts_are_encoded_too(world, tmp_path):
    lines = tmp_path / "captions.txt"
    lines.write_text("a red patch\n\nsomething blue\n", encoding="utf-8")
    done = call("encode", world["run"], lines, "--side", "text", "--out", tmp_path / "t.encoded")
    assert "2 codes" in done.output
    call("index", tmp_path / "t.encoded", "--out", tmp_path / "t.index")
    done = call("search", tmp_path / "t.index", "--run", world["run"], "--text", "a red patch", "-k", 2)
    assert "a red patch" in done.output


def test_evaluate_gives_the_numbers_training_printed(world):
    scores = json.loads(call("evaluate", world["run"], "--json").stdout)
    assert scores["scores"]["CRCGS"]["i2t"]["ties"] == "expected"
    value = scores["scores"]["CRCGS"]["i2t"]["means"]["map"]
    assert f"{value:.4f}" in world["printed"].read_text(encoding="utf-8")


def test_help_is_light():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom hashret.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'matplotlib', 'pydantic', 'sklearn', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy\nimport hashret\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_python_m_hashret():
    done = subprocess.run([sys.executable, "-m", "hashret", "--version"], check=True, capture_output=True, text=True)
    assert "hashret" in done.stdout


def wrong(world, tmp_path, *arguments: object) -> str:
    done = call(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.rstrip().splitlines()[-1]
    assert "Traceback" not in done.output
    return " ".join(done.stderr.split())


def test_mistakes_get_one_line_that_says_what_to_do(world, tmp_path):
    recipe, folder, run = world["recipe"], world["folder"], world["run"]
    out = ("--out", tmp_path / "out")
    assert "method.bitz: unknown key; did you mean bits?" in wrong(
        world, tmp_path, "train", recipe, "--data", folder, "--set", "method.bitz=8", *out
    )
    (tmp_path / "empty").mkdir()
    assert "metadata.jsonl" in wrong(world, tmp_path, "train", recipe, "--data", tmp_path / "empty", *out)
    assert "Add --data ROOT" in wrong(world, tmp_path, "train", recipe, *out)
    assert "Add --resume" in wrong(world, tmp_path, "train", recipe, "--data", folder, "--out", run)
    assert "expected a run folder" in wrong(world, tmp_path, "evaluate", tmp_path / "empty")
    assert "expected a folder that hashret encode wrote" in wrong(
        world, tmp_path, "index", folder, "--out", tmp_path / "index"
    )
    single = tmp_path / "single"
    single.mkdir()
    Image.new("RGB", (40, 40)).save(single / "a.png")
    (single / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "one", "labels": ["x"]}\n', encoding="utf-8")
    message = wrong(world, tmp_path, "train", recipe, "--data", single, "--out", tmp_path / "single-run")
    assert "expected" in message
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert "none: " in wrong(
        world, tmp_path, "encode", run, torn, "--side", "image", "--out", tmp_path / "torn.encoded"
    )
    assert (tmp_path / "torn.encoded" / "failures" / "00000.parquet").exists(), "also when nothing could be encoded"
    np.save(tmp_path / "nan.npy", np.full((3, 8), np.nan, np.float32))
    message = wrong(
        world, tmp_path, "encode", run, tmp_path / "nan.npy", "--side", "image", "--out", tmp_path / "n.encoded"
    )
    assert "finite" in message or "NaN" in message


def test_usage_errors_exit_with_two(world, tmp_path):
    assert call("train", tmp_path / "no.yaml").exit_code == 2
    assert call("search", world["recipe"], "--run", world["run"]).exit_code == 2
    assert call("encode", world["run"], world["folder"], "--side", "sound", "--out", "x").exit_code == 2
    shards = ("--num-shards", 2, "--shard-index", 2)
    assert call("encode", world["run"], world["folder"], "--side", "image", "--out", "x", *shards).exit_code == 2


def test_debug_shows_the_traceback(world, tmp_path):
    from hashret.errors import FileError

    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError):
        call("--debug", "evaluate", tmp_path / "empty")
