"""cirr.load on small trees, on damaged ones, and on the official annotation files where they are there."""

import json
from pathlib import Path

import numpy as np
import pytest
from trees.cirr import LAYOUTS, members_of, place_of, triplets_of

from hashret.codes import Codes
from hashret.data import check, cirr
from hashret.errors import DataError, FileError, InputError
from hashret.evaluation import evaluate

REAL = Path(__file__).parents[3] / "shared" / "data" / "cirr"
real = pytest.mark.skipif(not REAL.exists(), reason=f"the official annotation files are not at {REAL}")
OPTIONS = {"partial": True, "validation": 6}
VAL = "captions/cap.rc2.val.json"


@pytest.fixture
def root(tmp_path):
    LAYOUTS["beside"].make(tmp_path)
    return tmp_path


def edit(root, file, change):
    content = json.loads((root / file).read_text())
    (root / file).write_text(json.dumps(change(content) or content))


def names(examples):
    return {example.key.split("#")[0] for example in examples}


def test_both_tasks_hold_what_the_file_says(root):
    data = cirr.load(root, **OPTIONS)
    whole, among = data.test
    rows, gallery = triplets_of("val"), [image.key for image in whole.gallery]
    assert (whole.name, among.name) == ("composed", "composed/subset")
    assert sorted(gallery) == sorted({*members_of("val", 0), *members_of("val", 1)})
    assert (among.queries, among.gallery) == (whole.queries, whole.gallery)
    assert [query.key for query in whole.queries] == [f"{row['reference']}#{row['pairid']}" for row in rows]
    assert [query.text for query in whole.queries] == [row["caption"] for row in rows]
    assert [query.image for query in whole.queries] == [root / place_of(row["reference"]) for row in rows]
    right = [[name == row["target_hard"] for name in gallery] for row in rows]
    for task in data.test:
        assert task.relevance.matrix(np.arange(len(rows))).tolist() == right
    assert [gallery[ids[0]] for ids in whole.excluded] == [row["reference"] for row in rows]
    assert whole.candidates is None
    assert among.excluded is None
    for ids, row in zip(among.candidates, rows, strict=True):
        assert len(ids) == 5
        assert {gallery[number] for number in ids} == set(row["img_set"]["members"]) - {row["reference"]}


@pytest.mark.parametrize(("layout", "folder"), [("beside", ""), ("cirr-within", ""), ("img-raw", "cirr/img_raw")])
def test_photographs_are_found_in_every_form(tmp_path, layout, folder):
    LAYOUTS[layout].make(tmp_path)
    data = cirr.load(tmp_path, **OPTIONS)
    images = [image for task in (*data.validation, *data.test) for image in task.gallery]
    assert [image.image for image in images] == [tmp_path / folder / place_of(image.key) for image in images]
    assert all(image.image.is_file() for image in images)


def test_recall_among_all_and_among_six_is_what_is_worked_by_hand(root):
    """Two queries of distance 0 to everything's weight; the references are nearest and must not count.

    dev-0 asks for dev-1 (weight 2): before it come dev-6 (0) and dev-8 (1), none of its group: third of all, first of
    the group. dev-6 asks for dev-7 (weight 8): before it come dev-0, dev-8, dev-1 ... dev-5 and dev-9 (7), so it is
    ninth of all; of the group dev-8 and dev-9, so it is third.
    """
    weights = [0, 2, 3, 4, 5, 6, 0, 8, 1, 7, 9, 10]
    by_name = {f"dev-{number}-0-img{number % 2}": weight for number, weight in enumerate(weights)}
    edit(root, VAL, lambda rows: [rows[0], rows[6]])
    data = cirr.load(root, **OPTIONS)
    assert [query.key.split("#")[0] for query in data.test[0].queries] == ["dev-0-0-img0", "dev-6-0-img0"]
    bits = [np.arange(16) < by_name[image.key] for image in data.test[0].gallery]
    gallery, queries = Codes(np.packbits(bits, axis=1), 16), Codes(np.zeros((2, 2), np.uint8), 16)

    def recalls(task, cuts):
        metrics = [f"hit@{cut}" for cut in cuts]
        scores = evaluate((queries, gallery), task.relevance, metrics, candidates=task.allowed())
        return [scores.per_query[metric].tolist() for metric in metrics]

    assert recalls(data.test[0], (1, 2, 3, 8, 9)) == [[0, 0], [0, 0], [1, 0], [1, 0], [1, 1]]
    assert recalls(data.test[1], (1, 2, 3)) == [[1, 0], [1, 0], [1, 1]]


def test_validation_is_whole_groups_asked_of_their_own_images(root):
    data = cirr.load(root, **OPTIONS)
    whole, among = data.validation
    rows = {f"{row['reference']}#{row['pairid']}": row for row in triplets_of("train")}
    groups = {rows[query.key]["img_set"]["id"] for query in whole.queries}
    assert len(groups) == 1
    assert len(whole.queries) == 6
    held = {name for group in groups for name in members_of("train", group)}
    assert {image.key for image in whole.gallery} == held
    assert among.candidates.shape == (6, 5)
    asked = names(whole.queries)
    left = [row for row in rows.values() if row["img_set"]["id"] not in groups and row["reference"] not in asked]
    assert [(pair.query.text, pair.target.key) for pair in data.train] == [
        (row["caption"], row["target_hard"]) for row in left
    ]
    assert [pair.instance for pair in data.train] == list(range(len(left)))
    chosen = {cirr.load(root, seed=seed, partial=True, validation=6).validation[0].queries[0].key for seed in range(9)}
    assert len(chosen) > 1
    more = cirr.load(root, partial=True, validation=7).validation[0]
    assert len(more.queries) == 12
    assert cirr.load(root, partial=True, validation=0).validation == ()


def test_a_reference_of_a_held_out_group_is_not_trained_on_in_another(root):
    def let_overlap(rows):
        rows[0].update(reference=members_of("train", 0)[5])  # also the first of group 1

    edit(root, "captions/cap.rc2.train.json", let_overlap)
    for seed in range(20):
        data = cirr.load(root, seed=seed, **OPTIONS)
        asked = names(data.validation[0].queries)
        assert not asked & names(pair.query for pair in data.train)
        if members_of("train", 1)[0] in asked:
            break
    lost = 30 - len(data.train) - len(data.validation[0].queries)
    assert lost > 0
    assert f"{lost} training triplets left out, since a validation query has their reference" in data.notes


def test_a_training_triplet_astray_of_its_group_is_trained_on_and_never_held_out(root):
    def stray(rows):
        for row in rows[:6]:
            row["img_set"]["members"] = members_of("train", 4)

    edit(root, "captions/cap.rc2.train.json", stray)
    for seed in range(9):
        data = cirr.load(root, seed=seed, **OPTIONS)
        assert not {f"{r['reference']}#{r['pairid']}" for r in triplets_of("train")[:6]} & {
            query.key for query in data.validation[0].queries
        }


def test_test1_has_questions_without_public_answers(root):
    edit(root, "captions/cap.rc2.test1.json", lambda rows: rows[2].update(caption=" "))
    data = cirr.load(root, test="test1", validation="val", partial=True)
    assert data.name == "CIRR (test1, partial)"
    assert [query.key for query in data.validation[0].queries] == [
        f"{row['reference']}#{row['pairid']}" for row in triplets_of("val")
    ]
    assert len(data.train) == 30
    for task in data.test:
        assert task.relevance.totals().tolist() == [0] * 12
    assert data.test[0].queries[2].text == "."
    assert "queries of test1 without a text: 1, asked with '.'" in data.notes
    assert any("targets are not public" in note for note in data.notes)
    assert len(cirr.load(root, test="test1", **OPTIONS).validation[0].queries) == 6


def put(row, **values):
    row.update(values)


DAMAGES = [
    (VAL, lambda rows: put(rows[3], pairid=rows[0]["pairid"]), "expected every pair once, got pairid 2000 twice"),
    (VAL, lambda rows: put(rows[3], target_hard="dev-99-0-img0"), r"got 1 others: target dev-99-0-img0 of .*#2003"),
    (VAL, lambda rows: put(rows[3], reference="dev-99-0-img0"), "got 1 others: reference dev-99-0-img0"),
    (VAL, lambda rows: put(rows[3], reference="dev-8-0-img0"), r"hold reference and target, got 1 others: dev-8"),
    (VAL, lambda rows: put(rows[3], target_hard="dev-8-0-img0"), r"hold reference and target, got 1 others: .*#2003"),
    (VAL, lambda rows: rows[3]["img_set"]["members"].__setitem__(5, "dev-99-0-img0"), "hold reference and target"),
    (VAL, lambda rows: rows[3]["img_set"]["members"].__setitem__(5, "dev-4-0-img0"), "hold reference and target"),
    (VAL, lambda rows: put(rows[3], img_set={"id": 1}), "expected 'img_set' with 'members' in pair 2003"),
    (VAL, lambda rows: put(rows[3], img_set=[1]), "expected an object as key 'img_set' of entry 3, got list"),
    (VAL, lambda rows: put(rows[3], pairid="2003"), "expected a whole number as key 'pairid' of entry 3, got str"),
    (VAL, lambda rows: put(rows[3], caption=None), "expected a string as key 'caption' of entry 3, got nothing"),
    ("image_splits/split.rc2.val.json", lambda content: list(content), "names of images with their places, got list"),
    ("image_splits/split.rc2.val.json", lambda content: put(content, x=3), "with their places, got dict"),
    ("image_splits/split.rc2.val.json", lambda content: put(content, x=""), "with their places, got dict"),
    (
        "captions/cap.rc2.train.json", lambda rows: put(rows[3], target_hard="dev-0-0-img0"),
        "got 1 others: target dev-0-0-img0",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "message"), DAMAGES)
def test_contradictions_are_refused_and_surveyed(root, file, change, message):
    edit(root, file, change)
    with pytest.raises(DataError, match=message):
        cirr.load(root, **OPTIONS)
    damaged = check("cirr", root, images=False).survey.damaged
    assert len(damaged) == 1
    assert file in damaged[0]


@pytest.mark.parametrize("file", [VAL, "captions/cap.rc2.train.json", "image_splits/split.rc2.val.json"])
def test_missing_and_cut_files_say_where_to_get_them(root, file):
    whole = (root / file).read_bytes()
    (root / file).write_bytes(whole[:-3])
    with pytest.raises(FileError, match=r"got no JSON .* Get it from github\.com/Cuberick-Orion/CIRR") as caught:
        cirr.load(root, **OPTIONS)
    assert str(root / file) in str(caught.value)
    (root / file).unlink()
    with pytest.raises(FileError, match="got nothing") as caught:
        cirr.load(root, **OPTIONS)
    assert str(root / file) in str(caught.value)
    assert [line.split(":")[0] for line in check("cirr", root, images=False).survey.missing] == [file]


def test_other_numbers_are_refused_unless_a_part_is_wanted(root):
    with pytest.raises(DataError, match=r"train triplets: expected 28,225, got 30.*data\.partial=true"):
        cirr.load(root)
    assert cirr.load(root, **OPTIONS).name == "CIRR (val, partial)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": "val"}, "or 'val' and 'test1', got 'val', 'val'"),
        ({"validation": "train", "test": "test1"}, "got 'train', 'test1'"),
        ({"test": "test"}, "got 1000, 'test'"),
        ({"validation": 29}, r"CIRR, validation: expected 0 \.\.\. 28 of the 30 training triplets, got 29"),
        ({"validation": 6, "seed": -1}, "seed: expected an integer >= 0"),
        ({"protocol": "val"}, "expected one of composed, got 'val'"),
    ],
)
def test_options_that_are_none_are_refused(root, options, message):
    with pytest.raises((DataError, InputError), match=message):
        cirr.load(root, partial=True, **options)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The official files, and training captions made up over the official list, since the real ones are not public."""
    root = tmp_path_factory.mktemp("cirr")
    for file in (*REAL.glob("captions/*.json"), *REAL.glob("image_splits/*.json")):
        path = root / file.relative_to(REAL)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(file.resolve())
    listed = list(json.loads((root / "image_splits" / "split.rc2.train.json").read_text()))
    rows = []
    for number in range(28_225):
        group = [listed[(number // 9 * 5 + place) % len(listed)] for place in range(6)]
        row = {"pairid": number, "reference": group[number % 6], "target_hard": group[(number + 1) % 6]}
        rows.append(row | {"caption": f"made up {number}", "img_set": {"id": number // 9, "members": group}})
    (root / "captions" / "cap.rc2.train.json").write_text(json.dumps(rows))
    return root


@real
def test_the_official_files_have_the_official_numbers(official):
    found = check("cirr", official, images=False)
    assert {count.what: count.found for count in found.survey.counts} == {
        "train images": 16_939, "train triplets": 28_225, "val images": 2_297, "val triplets": 4_181,
        "test1 images": 2_315, "test1 triplets": 4_148,
    }  # fmt: skip
    assert found.wrong_counts == found.overlaps == found.survey.damaged == ()
    assert len(found.survey.images) == 21_551


@real
def test_the_official_files_lack_the_training_captions():
    with pytest.raises(FileError, match=r"cap\.rc2\.train\.json: expected triplets, got nothing"):
        cirr.load(REAL)
    missing = check("cirr", REAL, images=False).survey.missing
    assert [line.split(":")[0] for line in missing] == ["captions/cap.rc2.train.json", "train/, dev/, test1/"]


@real
def test_the_official_files_load(official):
    data = cirr.load(official)
    whole, among = data.test
    assert data.name == "CIRR (val)"
    assert (len(whole.queries), len(whole.gallery), among.candidates.shape) == (4_181, 2_297, (4_181, 5))
    assert whole.relevance.totals().tolist() == [1] * 4_181
    rows = np.arange(4_181)
    assert among.relevance.judge(rows, among.candidates).sum(1).tolist() == [1] * 4_181
    assert not whole.relevance.judge(rows, whole.excluded).any()
    assert whole.queries[0].text == "show three bottles of soft drink"
    assert whole.queries[0].image == official / "dev" / "dev-244-0-img0.png"
    assert 1000 <= len(data.validation[0].queries) < 1009
    asked = names(data.validation[0].queries)
    assert not asked & names(pair.query for pair in data.train)
    test1 = cirr.load(official, test="test1", validation="val")
    assert (len(test1.test[0].queries), len(test1.test[0].gallery), len(test1.train)) == (4_148, 2_315, 28_225)
    assert [query.key for query in test1.validation[0].queries] == [query.key for query in whole.queries]
    assert [query.key for query in test1.test[0].queries if query.text == "."] == ["test1-252-3-img1#27098"]
