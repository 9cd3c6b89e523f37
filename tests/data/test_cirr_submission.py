"""Submissions to CIRR's test server: the form of its own example files, and refusals of what it would refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from hashret.data import cirr
from hashret.data.cirr_submission import Submission, submission
from hashret.data.composed import Triplet, composed_task, subset_task
from hashret.errors import FileError, InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "cirr"
NAMES = [f"test1-{number}-0-img0" for number in range(70)]
ASKED = [
    Triplet(NAMES[2], None, ("in snow",), f"{NAMES[2]}#12063", tuple(NAMES[:6])),
    Triplet(NAMES[9], None, ("a dog",), f"{NAMES[9]}#12064", tuple(NAMES[6:12])),
]


@pytest.fixture
def tasks():
    whole = composed_task("composed", ASKED, NAMES, {name: Path(name) for name in NAMES}, without_reference=True)
    return [whole, subset_task("composed/subset", whole, ASKED)]


@pytest.fixture
def ranked():
    return np.stack([np.random.default_rng(row).permutation(70) for row in range(2)])


def plain(order, asked, wanted, count):
    """The names that count, one after the other."""
    found = []
    for number in order:
        if NAMES[number] != asked.reference and wanted(NAMES[number]):
            found.append(NAMES[number])
    return found[:count]


def test_the_files_hold_the_best_that_count_in_the_servers_form(tasks, ranked, tmp_path):
    recall, subset = submission(tasks, ranked, partial=True).write(tmp_path / "made" / "for")
    assert (recall.name, subset.name) == ("recall.json", "recall_subset.json")
    assert json.loads(recall.read_text()) == {
        "version": "rc2", "metric": "recall",
        "12063": plain(ranked[0], ASKED[0], lambda name: True, 50),
        "12064": plain(ranked[1], ASKED[1], lambda name: True, 50),
    }  # fmt: skip
    assert json.loads(subset.read_text()) == {
        "version": "rc2", "metric": "recall_subset",
        "12063": plain(ranked[0], ASKED[0], lambda name: name in NAMES[:6], 3),
        "12064": plain(ranked[1], ASKED[1], lambda name: name in NAMES[6:12], 3),
    }  # fmt: skip
    assert sorted(path.name for path in recall.parent.iterdir()) == ["recall.json", "recall_subset.json"]


def test_fifty_one_places_and_a_ranking_of_the_group_suffice(tasks, ranked):
    groups = np.array([[-1, 5, 4, 3, 2, 1, 0], [6, 9, 7, -1, 60, 8, 10]])
    made = submission(tasks, ranked[:, :51], groups, partial=True)
    whole = submission(tasks, ranked, partial=True)
    assert made.ranked == whole.ranked
    holed = np.insert(ranked, [0, 7], -1, axis=1)
    assert submission(tasks, holed, partial=True) == whole
    assert made.subset == ((NAMES[5], NAMES[4], NAMES[3]), (NAMES[6], NAMES[7], NAMES[8]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids: {"ranked": np.tile(np.arange(50), (2, 1))}, "#12063: expected 50 that count, got 49. Search with"),
        (lambda ids: {"subset": ids[:, :0]}, "#12063: expected 3 that count, got 0. Rank the whole gallery"),
        (lambda ids: {"ranked": ids[:1]}, r"ranked: expected integers \(2, k\), got int64 \(1, 70\)"),
        (lambda ids: {"ranked": ids.astype(float)}, r"got float64 \(2, 70\)"),
        (lambda ids: {"ranked": ids + 1}, r"expected ids -1 \.\.\. 69, got 1 \.\.\. 70"),
        (lambda ids: {"ranked": ids - 2}, r"expected ids -1 \.\.\. 69, got -2 \.\.\. 67"),
        (lambda ids: {"ranked": np.where(ids == 30, 31, ids)}, "expected each id once, got one twice"),
        (lambda ids: {"partial": False}, "expected the 4,148 queries of test1, got 2"),
    ],
)
def test_rankings_the_server_would_refuse_are_refused(tasks, ranked, change, message):
    given = {"ranked": ranked, "subset": None, "partial": True} | change(ranked)
    with pytest.raises(InputError, match=message):
        submission(tasks, given["ranked"], given["subset"], partial=given["partial"])


def test_other_tasks_are_refused(tasks, ranked):
    with pytest.raises(InputError, match="expected 'composed' and 'composed/subset' of CIRR, got composed"):
        submission(tasks[:1], ranked, partial=True)
    fewer = composed_task("composed", ASKED[:1], NAMES, {n: Path(n) for n in NAMES}, without_reference=True)
    with pytest.raises(InputError, match="the same queries in both"):
        submission([fewer, tasks[1]], ranked[:1], partial=True)


def test_a_submission_checks_itself(tmp_path):
    best, three = tuple(NAMES[:50]), tuple(NAMES[:3])
    Submission((1, 2), (best, best), (three, three))
    for parts, message in (
        (((1, 1), (best, best), (three, three)), "expected every pair once, got pair 1 twice"),
        (((1, 2), (best,), (three, three)), "ranked: expected a list of names for each of 2 pairs, got 1 lists"),
        (((1, 2), (best, best), (three,)), "subset: expected a list of names for each of 2 pairs, got 1 lists"),
        (((1,), (best[:49],), (three,)), "ranked of pair 1: expected 50 distinct names, got 49 names, 49 distinct"),
        (((1,), ((*best[:49], NAMES[0]),), (three,)), "got 50 names, 49 distinct"),
        (((7,), (best,), (NAMES[:4],)), "subset of pair 7: expected 3 distinct names, got 4 names"),
    ):
        with pytest.raises(InputError, match=message):
            Submission(*parts)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="expected a folder"):
        Submission((1,), (best,), (three,)).write(tmp_path / "file" / "within")


@pytest.mark.skipif(not REAL.exists(), reason=f"the official annotation files are not at {REAL}")
def test_the_official_test1_makes_files_the_server_takes(tmp_path):
    for file in (*REAL.glob("captions/*.json"), *REAL.glob("image_splits/*.json")):
        path = tmp_path / file.relative_to(REAL)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(file.resolve())
    rows = json.loads((tmp_path / "captions" / "cap.rc2.val.json").read_text())[:6]
    listed = list(json.loads((tmp_path / "image_splits" / "split.rc2.train.json").read_text()))
    for row in rows:
        row.update(reference=listed[0], target_hard=listed[1])
    (tmp_path / "captions" / "cap.rc2.train.json").write_text(json.dumps(rows))
    data = cirr.load(tmp_path, test="test1", validation=0, partial=True)
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(2_315) for _ in range(4_148)])
    recall, subset = submission(data.test, ids).write(tmp_path)
    assert recall.stat().st_size < 5_000_000
    asked = json.loads((REAL / "captions" / "cap.rc2.test1.json").read_text())
    for path, metric, length in ((recall, "recall", 50), (subset, "recall_subset", 3)):
        content = json.loads(path.read_text())
        assert (content.pop("version"), content.pop("metric")) == ("rc2", metric)
        assert list(content) == [str(row["pairid"]) for row in asked]
        for row in asked:
            found = content[str(row["pairid"])]
            assert len(set(found)) == len(found) == length
            assert row["reference"] not in found
            if metric == "recall_subset":
                assert set(found) <= set(row["img_set"]["members"])
