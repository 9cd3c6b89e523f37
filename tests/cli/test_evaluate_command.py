"""``hashret evaluate``: every form says the same numbers and the rules they were made by; rankings by anyone."""

import csv
import io
import json
import re

import pytest
from measured_runs import call, measured_runs, refused

ROWS = ("CRCGS", "sign(CCA) of 16 x 16 thumbnails", "untrained network", "random codes")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return measured_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def files(tmp_path):
    (tmp_path / "qrels").write_text("q1 0 a 1\nq2 0 b 2\nq3 0 b 0\n", encoding="utf-8")
    (tmp_path / "a.run").write_text(
        "q1 Q0 a 1 2.5 x\nq1 Q0 b 2 2.5 x\nq2 Q0 b 1 1 x\nq9 Q0 b 1 1 x\n", encoding="utf-8"
    )
    (tmp_path / "b.run").write_text("q1 Q0 a 1 9 y\n", encoding="utf-8")
    return tmp_path


def test_every_form_says_the_same(runs):
    run = runs["first"]
    told = json.loads(call("evaluate", run, "--json").stdout)["scores"]
    table, markdown, latex, listed = (
        call("evaluate", run, "--format", form).stdout for form in ("table", "markdown", "latex", "csv")
    )
    records = list(csv.DictReader(io.StringIO(listed)))
    for row in ROWS:
        for task in ("i2t", "t2i"):
            value = told[row][task]["means"]["map"]
            for text in (table, markdown, latex):
                assert f"{value:.4f}" in text
            (record,) = (r for r in records if (r["row"], r["task"], r["metric"]) == (row, task, "map"))
            assert float(record["value"]) == value
            assert (record["ties"], record["queries"], record["unanswered"]) == ("expected", "12", "0")
            assert (record["policy"], record["gallery"], record["bits"]) == ("omit", "12", "10")
    for text in (table, markdown, latex):
        assert "map, 10 bits, ties: expected, database: encoded" in text
        assert "median-rank, 10 bits" in text
        assert "i2t: 12 queries (0 without a right answer left out), 12 in the database" in text
        assert "pictures (labels)" in text
    assert latex.count(r"\begin{table}") == 2


def test_the_smallest_rank_is_bold(runs):
    told = json.loads(call("evaluate", runs["first"], "--json").stdout)["scores"]
    ranks = {f"{told[row]['i2t']['means']['median-rank']:.4f}" for row in ROWS}
    markdown = call("evaluate", runs["first"], "--format", "markdown").stdout
    assert f"**{min(ranks, key=float)}**" in markdown.split("median-rank")[1]
    assert f"**{max(ranks, key=float)}**" not in markdown.split("median-rank")[1]


def test_intervals_hold_the_means(runs):
    told = json.loads(call("evaluate", runs["first"], "--json", "--intervals").stdout)["scores"]
    for tasks in told.values():
        for scores in tasks.values():
            low, high = scores["intervals"]["map"]
            assert low <= scores["means"]["map"] <= high
    text = call("evaluate", runs["first"], "--intervals", "--format", "markdown").stdout
    low, high = told["random codes"]["i2t"]["intervals"]["map"]
    assert f"[{low:.4f}, {high:.4f}]" in text
    assert "95 % bootstrap intervals over queries" in text
    record = next(csv.DictReader(io.StringIO(call("evaluate", runs["first"], "--intervals", "--format", "csv").stdout)))
    assert float(record["low"]) <= float(record["value"]) <= float(record["high"])


def test_metrics_and_rules_may_be_others_than_the_recipes(runs):
    options = ("--metrics", "hit@1, precision@2", "--ties", "worst", "--unanswered", "zero")
    done = call("evaluate", runs["second"], "--json", *options)
    scores = json.loads(done.stdout)["scores"]["CRCGS"]["i2t"]
    assert list(scores["means"]) == ["hit@1", "precision@2"]
    assert (scores["ties"], scores["policy"]) == ("worst", "zero")
    assert "counted as misses" in call("evaluate", runs["second"], *options).stdout
    assert "names among" in refused("evaluate", runs["second"], "--metrics", "mpa")
    call("evaluate", runs["second"])  # as the other tests expect it


def test_a_preset_says_metric_ties_and_counting(runs):
    done = call("evaluate", runs["second"], "--json", "--preset", "crcgs-compat")
    scores = json.loads(done.stdout)["scores"]["CRCGS"]["i2t"]
    assert list(scores["means"]) == [f"map@{scores['queries']}:hits"]
    assert (scores["ties"], scores["policy"]) == ("by-id", "zero")
    for more in (("--metrics", "map"), ("--ties", "best"), ("--unanswered", "zero")):
        assert call("evaluate", runs["second"], "--preset", "crcgs-compat", *more).exit_code == 2
    call("evaluate", runs["second"])  # as the other tests expect it


def test_the_run_folder_keeps_every_query(runs):
    from hashret.evaluation.scorefile import ScoreFile

    call("evaluate", runs["first"])
    kept = ScoreFile.load(runs["first"] / "per_query.safetensors")
    results = json.loads((runs["first"] / "results.json").read_text("utf-8"))
    for row in ROWS:
        for task in ("i2t", "t2i"):
            assert kept.scores[row][task].means() == results["scores"][row][task]["means"]
    assert set(kept.tasks["i2t"].queries) <= {f"{number}.png" for number in range(30)}
    assert (kept.tasks["i2t"].answers > 0).all()
    assert "per_query.safetensors" in (runs["first"] / "README.txt").read_text("utf-8")


def test_embeddings_are_measured_too(runs):
    run = runs["second"]
    codes = (run / "results.json").read_bytes()
    told = json.loads(call("evaluate", run, "--by", "embedding", "--json").stdout)
    assert told == json.loads((run / "results-embedding.json").read_text("utf-8"))
    assert (run / "results.json").read_bytes() == codes
    assert list(told["scores"]) == ["CRCGS", "untrained network"]
    value = told["scores"]["CRCGS"]["i2t"]["means"]["map"]
    for form in ("table", "markdown", "latex"):
        text = call("evaluate", run, "--by", "embedding", "--format", form).stdout
        assert "map, embeddings of 24 dimensions, cosine, ties: expected, database: encoded" in text
        assert f"{value:.4f}" in text
        assert "bits" not in text
    text = call("evaluate", run, "--by", "embedding", "--format", "csv").stdout
    records = list(csv.DictReader(io.StringIO(text)))
    assert {(record["bits"], record["dimension"]) for record in records} == {("", "24")}
    text = call("evaluate", run, "--format", "csv").stdout
    assert {(r["bits"], r["dimension"]) for r in csv.DictReader(io.StringIO(text))} == {("10", "")}
    assert "embeddings have no Hamming radius" in refused(
        "evaluate", run, "--by", "embedding", "--metrics", "radius-precision@2"
    )
    assert call("evaluate", run, "--by", "floats").exit_code == 2


def test_rankings_by_anyone(files):
    asked = ("--run-file", files / "a.run", "--run-file", files / "b.run", "--qrels", files / "qrels")
    told = json.loads(call("evaluate", *asked, "--metrics", "map,hit@1,mean-rank", "--json", "--intervals").stdout)
    a, b = told[str(files / "a.run")], told[str(files / "b.run")]
    assert a["means"] == {"map": 0.875, "hit@1": 0.75, "mean-rank": 1.25}
    assert b["means"] == {"map": 0.5, "hit@1": 0.5, "mean-rank": None}
    assert (a["unranked"], a["unjudged"], b["unranked"]) == (0, 1, 1)
    assert (a["queries"], a["unanswered"], a["ties"]) == (3, 1, "expected")
    for form in ("table", "markdown", "latex"):
        text = " ".join(call("evaluate", *asked, "--format", form, "--ties", "by-id").output.split())
        assert "0.7500" in text
        assert "3 queries (1 without a right answer left out); ties: by-id" in text
        assert "judged queries that are not ranked, counted as misses: 1" in text
        assert "ranked queries that are not judged, left out: 1" in text
    records = list(csv.DictReader(io.StringIO(call("evaluate", *asked, "--format", "csv").stdout)))
    assert [(r["value"], r["unranked"], r["unjudged"]) for r in records] == [("0.875", "0", "1"), ("0.5", "1", "0")]
    zero = json.loads(call("evaluate", *asked, "--unanswered", "zero", "--json").stdout)
    assert zero[str(files / "b.run")]["means"]["map"] == pytest.approx(1 / 3)


def test_no_number_is_cut_off_where_a_line_is_short(files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    asked = ("--run-file", files / "a.run", "--qrels", files / "qrels")
    text = call("evaluate", *asked, "--metrics", "map,hit@1,recall@1,precision@1", "--intervals").stdout
    assert len(re.findall(r"\d\.\d{4} \[\d\.\d{4}, \d\.\d{4}\]", text)) == 4
    assert "…" not in text


def test_what_cannot_be_measured_is_said(files, runs):
    asked = ("--qrels", files / "qrels")
    (files / "torn.run").write_text("q1 Q0 a 1\n", encoding="utf-8")
    assert "line 1: expected 6 fields" in refused("evaluate", "--run-file", files / "torn.run", *asked)
    assert re.search(
        r"line 1: expected a whole grade", refused("evaluate", "--run-file", files / "a.run", "--qrels", _bad(files))
    )
    for wrong in (
        (), ("--run-file", files / "a.run"), (runs["first"], *asked), (runs["first"], "--format", "html"),
        (runs["first"], "--run-file", files / "a.run", *asked),
        ("--run-file", files / "a.run", *asked, "--data", files),
        ("--run-file", files / "a.run", *asked, "--by", "embedding"),
    ):  # fmt: skip
        assert call("evaluate", *wrong).exit_code == 2


def _bad(files):
    (files / "bad.qrels").write_text("q1 0 a yes\n", encoding="utf-8")
    return files / "bad.qrels"
