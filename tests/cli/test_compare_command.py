"""``hashret compare``: two runs, or two rankings by anyone, query by query."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest
from measured_runs import call, measured_runs, refused


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return measured_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def files(tmp_path):
    """Ten queries: a.run has the right answer first for all, b.run for none."""
    lines = {"qrels": "", "a.run": "", "b.run": ""}
    for number in range(10):
        lines["qrels"] += f"q{number} 0 right 1\n"
        lines["a.run"] += f"q{number} Q0 right 1 2 a\nq{number} Q0 wrong 2 1 a\n"
        lines["b.run"] += f"q{number} Q0 wrong 1 2 b\nq{number} Q0 right 2 1 b\n"
    for name, text in lines.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_two_runs(runs):
    told = json.loads(call("compare", runs["first"], runs["second"], "--row", "random codes", "--json").stdout)
    results = json.loads((runs["first"] / "results.json").read_text("utf-8"))["scores"]
    assert told["tests"]["i2t"]["first"] == results["random codes"]["i2t"]["means"]["map"]
    assert told["tests"]["i2t"]["draws"] == 12, "random codes of one seed"
    assert told["tests"]["i2t"]["p"] == 1
    rows = ("--row", "CRCGS", "--row", "random codes")
    told = json.loads(call("compare", runs["first"], runs["first"], *rows, "--metric", "median-rank", "--json").stdout)
    test = told["tests"]["t2i"]
    assert test["metric"] == "median-rank"
    assert test["difference"] == pytest.approx(
        results["CRCGS"]["t2i"]["means"]["median-rank"] - results["random codes"]["t2i"]["means"]["median-rank"]
    )
    assert test["wins"] + test["losses"] + test["draws"] == test["queries"] == 12


def test_every_form_says_what_was_compared(runs):
    rows = ("--row", "CRCGS", "--row", "random codes")
    told = json.loads(call("compare", runs["first"], runs["first"], *rows, "--json").stdout)["tests"]["i2t"]
    for form in ("table", "markdown", "latex"):
        text = " ".join(call("compare", runs["first"], runs["first"], *rows, "--format", form).output.split())
        assert "ties: expected" in text
        assert "i2t: 12 queries (0 without a right answer left out)" in text
        assert "two-sided paired randomisation test, 10,000 exchanges" in text
        for number in (f"{told['first']:.4f}", f"{told['p']:.4f}", f"{abs(told['difference']):.4f}"):
            assert number in text
    listed = csv.DictReader(io.StringIO(call("compare", runs["first"], runs["first"], *rows, "--format", "csv").stdout))
    record = next(listed)
    assert float(record["difference"]) == told["difference"]
    assert record["second_name"].endswith("random codes")


def test_runs_that_were_not_asked_the_same_are_refused(runs, tmp_path):
    assert "in both, got" in refused("compare", runs["first"], runs["other split"])
    assert "expected one of map, median-rank" in refused("compare", runs["first"], runs["second"], "--metric", "mpa")
    assert "expected one of CRCGS" in refused("compare", runs["first"], runs["second"], "--row", "DCMH")
    copy = tmp_path / "copy"
    shutil.copytree(runs["first"], copy)
    (copy / "per_query.safetensors").unlink()
    assert f"Measure the run first: hashret evaluate {copy}" in refused("compare", runs["first"], copy)
    (tmp_path / "empty").mkdir()
    assert "expected a run folder" in refused("compare", runs["first"], tmp_path / "empty")


def test_two_rankings_by_anyone(files):
    a, b, asked = files / "a.run", files / "b.run", ("--qrels", files / "qrels")
    told = json.loads(call("compare", a, b, *asked, "--json").stdout)["tests"][""]
    assert (told["first"], told["second"], told["wins"], told["losses"]) == (1.0, 0.5, 10, 0)
    assert told["p"] == pytest.approx(2 / 1024, abs=0.0015)
    assert (told["low"], told["high"]) == (0.5, 0.5)
    assert "+0.5000" in call("compare", a, b, *asked).output
    told = json.loads(call("compare", a, b, *asked, "--metric", "mean-rank", "--resamples", 99, "--json").stdout)
    assert told["tests"][""]["difference"] == -1
    assert told["tests"][""]["wins"] == 10
    assert told["tests"][""]["p"] >= 1 / 100
    (files / "c.run").write_text("q1 Q0 right 1 2 c\n", encoding="utf-8")
    assert "not ranked, counted as misses: 9" in " ".join(call("compare", a, files / "c.run", *asked).output.split())


def test_usage_errors_exit_with_two(files, runs):
    a, b, qrels = files / "a.run", files / "b.run", ("--qrels", files / "qrels")
    for wrong in (
        (a, b), (a, runs["first"]), (a, b, *qrels, "--row", "x"), (runs["first"], runs["second"], *qrels),
        (runs["first"], runs["second"], "--ties", "best"), (a, files / "no.run", *qrels), (a,),
        (runs["first"], runs["second"], *("--row", "x") * 3), (a, b, *qrels, "--resamples", 0),
    ):  # fmt: skip
        assert call("compare", *wrong).exit_code == 2, wrong


def test_comparing_loads_no_torch(files, runs):
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom hashret.cli import main\n"
        f"calls = [['compare', {str(runs['first'])!r}, {str(runs['second'])!r}],\n"
        f"    ['compare', *{[str(files / n) for n in ('a.run', 'b.run')]!r}, '--qrels', {str(files / 'qrels')!r}],\n"
        f"    ['evaluate', '--run-file', {str(files / 'a.run')!r}, '--qrels', {str(files / 'qrels')!r}]]\n"
        "for call in calls:\n"
        "    done = CliRunner().invoke(main, call, catch_exceptions=False)\n"
        "    assert done.exit_code == 0, done.output\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
