"""``hashret report`` on trained runs: from the folder to the page, with the data, without it, and never into a run."""

import re
import shutil

import numpy as np
import pytest
from measured_runs import call, measured_runs, refused

from hashret.evaluation import paired_test
from hashret.evaluation.scorefile import ScoreFile
from hashret.pipeline import examine
from hashret.report import read_kept


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return measured_runs(tmp_path_factory.mktemp("runs"))


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_runs_side_by_side(runs, tmp_path):
    pictures = shutil.copytree(runs["pictures"], tmp_path / "pictures-elsewhere")
    before = bytes_of(runs["first"]) | bytes_of(runs["second"])
    done = call("report", runs["first"], runs["second"], "--data", pictures, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == f"{tmp_path}/report.html"
    assert bytes_of(runs["first"]) | bytes_of(runs["second"]) == before
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Missing here" not in page
    assert page.count("data:image/jpeg;base64,") >= 6 * 6 + 6, "answers of one task, queries of the other"
    first, second = (ScoreFile.load(runs[name] / "per_query.safetensors").row(None)[1] for name in ("first", "second"))
    summary = (tmp_path / "report.md").read_text("utf-8")
    for task in first:
        low, high = first[task].interval("map")
        assert f"{first[task]['map']:.4f}" in summary
        assert f"[{low:.4f}, {high:.4f}]" in summary
        test = paired_test(second[task], first[task], "map")
        row = re.findall(rf"\| second +\| +{task} +\|(.*)\|", summary)[0]
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[:4] == [
            f"{test.first:.4f}", f"{test.difference:+.4f}", f"[{test.low:+.4f}, {test.high:+.4f}]", f"{test.p:.4f}"
        ]  # fmt: skip
        assert cells[-3:] == [str(test.wins), str(test.losses), str(test.draws)]


def test_findings_are_those_that_were_measured(runs):
    found, (kept,) = examine(runs["first"]), read_kept([runs["first"]])
    for task, part in found.tasks.items():
        values = kept.own[task].per_query["map"]
        shown = {group: [q.value for q in part.queries if q.group == group] for group in ("best", "middle", "worst")}
        counted = np.sort(values[~np.isnan(values)])
        np.testing.assert_allclose(shown["best"], counted[::-1][: len(shown["best"])])
        np.testing.assert_allclose(sorted(shown["worst"]), counted[: len(shown["worst"])])
        assert part.curves.by_rank[0][-1] == pytest.approx(1), "the whole database has every right answer"
        assert part.relevant.sum() == kept.scores.tasks[task].answers.sum()
        assert (part.relevant + part.irrelevant).sum() == len(values) * kept.scores.tasks[task].gallery
        assert (part.classes.means * part.classes.queries).sum() == pytest.approx(counted.sum()), "one label each"
        for query in part.queries:
            places = [(answer.distance, answer.right) for answer in query.answers]
            assert [distance for distance, _ in places] == sorted(distance for distance, _ in places)
            assert all(answer.right == bool(set(answer.labels) & set(query.labels)) for answer in query.answers)
    assert set(found.health) == {"images", "texts"}


def test_without_its_data_a_run_tells_what_it_keeps(runs, tmp_path):
    run = tmp_path / "moved"
    shutil.copytree(runs["first"], run)
    recipe = (run / "recipe.yaml").read_text("utf-8").replace(str(runs["pictures"]), str(tmp_path / "gone"))
    (run / "recipe.yaml").write_text(recipe, encoding="utf-8")
    done = call("report", run, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Give --data ROOT" in done.stderr
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("Missing here: moved: its test split could not be encoded") == 4
    assert "training-of-moved" in page


def test_mistakes_are_named(runs, tmp_path):
    assert "each once" in refused("report", runs["first"], runs["first"], "--out", tmp_path, "--kept-only")
    assert "a run folder" in refused("report", runs["pictures"], "--out", tmp_path, "--kept-only")
    assert call("report", runs["first"], "--out", tmp_path, "--kept-only", "--data", tmp_path).exit_code == 2
