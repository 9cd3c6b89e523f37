"""The hashing table: what stands in it, what does not, and that a killed campaign ends in the same one."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CONFIGS = BENCHMARKS.parent / "configs"
TINY = (
    "data.train=24", "data.validation=12", "data.test=8", "data.database=26", "image.width=4", "image.dimension=16",
    "method.width=16", "method.dimension=8", "method.generative_dimension=8", "stages.image_to_text.epochs=1",
    "method.base_width=16", "stages.codes.epochs=1", "stages.embedding.epochs=2",
)  # fmt: skip
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def hashing_map(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import hashing_map

    return hashing_map


@pytest.fixture
def run(hashing_map: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The script with its arguments: what it prints, on stdout and stderr."""

    def call(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["hashing_map.py", *map(str, arguments)])
        hashing_map.main()
        return capsys.readouterr()

    return call


def rows_of(markdown: str) -> dict[str, list[str]]:
    """First cell -> the others, of the lines of a Markdown table."""
    lines = [
        [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if "|" in line
    ]
    return {line[0]: line[1:] for line in lines if not line[0].startswith(":--")}


@pytest.mark.slow
def test_the_table_holds_what_the_runs_measured(run: Run, tmp_path: Path) -> None:
    command = ("shapes", "--methods", "crcgs", "--bits", 8, 16, "--seeds", 2, "--set", *TINY, "--out", tmp_path)
    printed, told = run(*command, "--format", "markdown")
    rows = rows_of(printed)
    assert list(rows) == [
        "method", "CRCGS", "sign(CCA) of 16 x 16 thumbnails", "untrained network", "random codes"
    ]  # fmt: skip
    assert rows["method"] == ["i2t 8", "i2t 16", "t2i 8", "t2i 16"]
    folders = {(bits, seed): tmp_path / f"crcgs-{bits}-seed{seed}" for bits in (8, 16) for seed in (0, 1)}
    scores = {key: json.loads((folder / "results.json").read_text())["scores"] for key, folder in folders.items()}
    for place, (task, bits) in enumerate((task, bits) for task in ("i2t", "t2i") for bits in (8, 16)):
        values = [scores[bits, seed]["CRCGS"][task]["means"]["map"] for seed in (0, 1)]
        assert rows["CRCGS"][place] == f"{np.mean(values):.4f} +- {np.std(values, ddof=1):.4f}"
        for floor in ("untrained network", "random codes"):  # of the first seed
            assert rows[floor][place] == f"{scores[bits, 0][floor][task]['means']['map']:.4f}"
    assert "map by bits, ties: expected, database: encoded" in printed
    assert "i2t: 8 queries, 0 of them without a right answer and left out, 26 in the database" in printed
    assert "published" not in printed
    assert len(re.findall(r"trained in [\d.]+ s, measured in [\d.]+ s", told)) == 4

    content = json.loads((tmp_path / "hashing_map.json").read_text())
    assert content["protocol"] == "labels"
    assert content["seeds"] == [0, 1]
    assert content["machine"]["packages"]["torch"]
    assert "hashing_map.py shapes" in content["command"]
    for told_run in content["runs"]:
        assert told_run["measured"]["codes"]["scores"] == scores[told_run["bits"], told_run["seed"]]
        assert told_run["training_seconds"] > 0
        assert told_run["trained_on"]["packages"]["torch"]
        assert f"--set method.bits={told_run['bits']}" in told_run["commands"][0]


def test_what_is_there_is_not_made_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashing_map: ModuleType
) -> None:
    import campaign

    command = ("shapes", "--methods", "crcgs", "--bits", 8, "--set", *TINY, "--out", tmp_path)
    first, _ = run(*command)
    refuse = pytest.fail
    monkeypatch.setattr(campaign, "train", lambda *given, **named: refuse("trains again"))
    (tmp_path / "crcgs-8-seed0" / "results.json").unlink()
    again, told = run(*command)
    assert again == first
    assert "trained before" in told
    assert "measured in" in told
    monkeypatch.setattr(campaign, "evaluate_run", lambda *given, **named: refuse("measures again"))
    again, told = run(*command)
    assert again == first
    assert "measured before" in told
    with pytest.raises(SystemExit) as caught:  # another recipe in the same folder
        run(*command, "--set", "method.tower_layers=2")
    assert "method.tower_layers 2 (was 1)" in str(caught.value)


PUBLISHED = """
sources:
  a: {citation: Somebody (2020), read: a page, inputs: pixels, database: encoded, doubt: seen in a dream}
  b: {citation: Another, read: a picture, inputs: none, database: not stated}
tables:
- {dataset: shapes, protocol: labels, metric: map, columns: {i2t: [8, 64], t2i: [8, 64]}, source: a, doubt: too good,
   rows: [{method: Great, i2t: [.910, .9], t2i: [.7, null]}, {method: Wide, i2t: [null, .5]},
          {method: Other, source: b, t2i: [.3, .4], doubt: far}]}
- {dataset: shapes, protocol: captions, metric: map, columns: {i2t: [8]}, source: a, rows: [{method: No, i2t: [.1]}]}
- {dataset: shapes, protocol: labels, metric: "map@5", columns: {i2t: [8]}, source: a, rows: [{method: Cut, i2t: [.2]}]}
- {dataset: shapes, protocol: labels, metric: "map@5", columns: {i2t: [0]}, source: b,
   rows: [{method: Real, i2t: [.6]}]}
left_out: []
"""


def test_published_rows_stand_beneath_a_rule_with_their_sources(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashing_map: ModuleType
) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED)
    for name in ("rows_for", "metrics_of"):
        function = getattr(hashing_map.published, name)
        monkeypatch.setattr(hashing_map.published, name, functools.partial(function, path=path))
    command = ("shapes", "--methods", "crcgs", "--bits", 8, "--set", *TINY, "--out", tmp_path, "--format", "markdown")
    printed, _ = run(*command)
    whole, cut = printed.split("map@5 by bits")
    rows = rows_of(whole)
    assert list(rows)[-3:] == ["--- published ---", "Great [1a]", "Other [2ab]"]
    assert rows["Great [1a]"] == ["0.910", "-", "0.7", "-"]
    assert rows["Other [2ab]"] == ["-", "-", "0.3", "-"]
    notes = "[1] Somebody (2020); read: a page; inputs: pixels; database: encoded; doubt: seen in a dream"
    assert notes in whole
    assert "[2] Another; read: a picture; inputs: none; database: not stated\n" in whole
    assert "[a] doubt: too good" in whole
    assert "[b] doubt: far" in whole
    assert not {"No [1]", "Wide [1a]", "Cut [1]"} & set(rows)
    rows = rows_of(cut)  # real-valued rows stand beside our embeddings
    assert rows["method"] == ["i2t 8", "i2t cosine", "t2i 8", "t2i cosine"]
    assert rows["Cut [1]"] == ["0.2", "-", "-", "-"]
    assert rows["Real [2]"] == ["-", "0.6", "-", "-"]
    measured = json.loads((tmp_path / "crcgs-8-seed0" / "results-embedding.json").read_text())
    means = measured["scores"]["CRCGS"]["i2t"]["means"]
    assert rows["CRCGS"][1] == f"{means['map@5']:.4f}"
    assert rows["random codes"][1] == "-"


def test_mistakes_are_named(run: Run, tmp_path: Path) -> None:
    def error(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            run(*arguments, "--out", tmp_path / "runs")
        return str(caught.value)

    assert "crcgs-shapes" in error("nowhere", "--methods", "crcgs")
    assert "Use --bits" in error("shapes", "--methods", "crcgs", "--set", "method.bits=8")
    assert "at least 1" in error("shapes", "--methods", "crcgs", "--seeds", 0)
    assert "stages.nothing" in error("shapes", "--methods", "crcgs", "--set", "stages.nothing.epochs=1")
    recipe = yaml.safe_load((CONFIGS / "crcgs-shapes.yaml").read_text())
    for name, protocol in (("one", "labels"), ("two", "captions")):
        recipe["data"]["protocol"] = protocol
        (tmp_path / f"{name}-shapes.yaml").write_text(yaml.safe_dump(recipe))
    told = error("shapes", "--methods", "one", "two", "--configs", tmp_path)
    assert "protocol labels" in told
    assert "protocol captions" in told
    assert not (tmp_path / "runs").exists()


def test_a_part_or_another_split_is_told(hashing_map: ModuleType, tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.jsonl"
    rejected.write_text('{"where": "train", "key": "a", "reason": "torn"}\n')

    def departure(dataset: str, name: str, sizes: tuple[int, int] = (0, 0), **options: object) -> str:
        data = SimpleNamespace(name=name, options=options)
        recipe = SimpleNamespace(data=data)
        entry = SimpleNamespace(protocol=options.get("protocol", ""), recipe=recipe, folder=tmp_path)
        measured = {"i2t": dict(zip(("queries", "gallery"), sizes, strict=True))} if any(sizes) else {}
        told: str = hashing_map.departure(entry, {"dataset": dataset, "sizes": measured})
        return told

    wikipedia = {"name": "wikipedia", "protocol": "rasiwasia"}
    assert departure("Wikipedia (rasiwasia)", sizes=(693, 2173), **wikipedia) == ""
    assert departure("Wikipedia (rasiwasia, partial)", **wikipedia) == "partial"
    assert (
        departure("Wikipedia (rasiwasia)", sizes=(692, 2173), **wikipedia) == "i2t of other sizes than the protocol's"
    )
    assert departure("Shoes (partial)", "shoes", protocol="composed") == "partial"
    assert departure("Shoes", "shoes", protocol="composed") == ""
    assert departure("flickr30k (karpathy)", "flickr", test="test", protocol="karpathy") == ""
    assert departure("flickr30k (karpathy)", "flickr", test="val", protocol="karpathy") == "reported on val"
    with rejected.open("a") as file:
        file.write('{"where": "test/composed/gallery", "key": "b", "reason": "no such file"}\n')
    assert departure("Shoes", "shoes", protocol="composed") == "1 items of the test split could not be used"


def test_two_recipes_of_one_class_are_two_rows(hashing_map: ModuleType) -> None:
    import fieldtable

    def outcome(method: str, value: float) -> SimpleNamespace:
        score = {"i2t": {"means": {"map": value}}}
        content = {"scores": {"CRCGS": score, "random codes": {"i2t": {"means": {"map": 0.1}}}}}
        return SimpleNamespace(entry=SimpleNamespace(method=method, seed=0, bits=8), content={"codes": content})

    def lines(*outcomes: SimpleNamespace) -> dict[str, list[float]]:
        found = fieldtable.lines_of(outcomes, lambda run, by, task, metric: ("", (task, run.bits)))
        return {line.name: list(line.values["i2t", 8]) for line in found}

    assert lines(outcome("crcgs", 0.6)) == {"CRCGS": [0.6], "random codes": [0.1]}
    both = lines(outcome("crcgs", 0.6), outcome("crcgs-published", 0.4))
    assert both == {"crcgs": [0.6], "crcgs-published": [0.4], "random codes": [0.1]}


def wait_and_kill(process: subprocess.Popen[str], path: Path) -> None:
    """SIGKILL as soon as a file is there."""
    for _ in range(6000):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told


@pytest.mark.slow
def test_a_killed_campaign_ends_in_the_same_table(tmp_path: Path) -> None:
    sets = [*TINY[:-1], "stages.embedding.epochs=40"]
    arguments = ["shapes", "--methods", "crcgs", "--bits", "8", "--seeds", "2", "--set", *sets]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def begin(out: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(BENCHMARKS / "hashing_map.py"), *arguments, "--out", str(tmp_path / out)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    whole, _ = begin("whole").communicate()
    first, second = (tmp_path / "killed" / f"crcgs-8-seed{seed}" for seed in (0, 1))
    for path in (first / "best-codes.safetensors", second / "last.safetensors"):
        wait_and_kill(begin("killed"), path)
    assert not (tmp_path / "killed" / "hashing_map.json").exists()
    weights = (first / "model" / "model.safetensors").stat().st_mtime_ns
    printed, told = begin("killed").communicate()
    assert "CRCGS" in printed
    assert printed == whole
    assert "1/2 crcgs, 8 bits, seed 0: trained before" in told
    assert "2/2 crcgs, 8 bits, seed 1: goes on" in told
    assert (first / "model" / "model.safetensors").stat().st_mtime_ns == weights
    for seed in (0, 1):  # weights are the same, bit for bit
        models = [tmp_path / out / f"crcgs-8-seed{seed}" / "model" / "model.safetensors" for out in ("whole", "killed")]
        assert models[0].read_bytes() == models[1].read_bytes()
