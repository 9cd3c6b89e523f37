"""fashioniq.load on small trees, on damaged ones, and on the official annotation files where they are there."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from trees.fashioniq import CATEGORIES, LAYOUTS, names_of, triplets_of

from hashret.data import check, fashioniq
from hashret.errors import DataError, FileError, InputError
from hashret.training.pairs import PairTable

REAL = Path(__file__).parents[3] / "shared" / "data" / "fashioniq"
real = pytest.mark.skipif(not REAL.exists(), reason=f"the official annotation files are not at {REAL}")
OPTIONS = {"partial": True, "validation": 4}


@pytest.fixture
def root(tmp_path):
    LAYOUTS["png"].make(tmp_path)
    return tmp_path


def edit(root, file, change):
    path = root / file
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def references(examples):
    return {example.key.split("#")[0] for example in examples}


def test_a_reported_task_holds_what_its_files_say(root):
    data = fashioniq.load(root, **OPTIONS)
    assert [task.name for task in data.test] == [f"composed/{category}" for category in CATEGORIES]
    for task, category in zip(data.test, CATEGORIES, strict=True):
        rows = triplets_of(category, "val")
        assert [image.key for image in task.gallery] == names_of(category, "val")
        assert [query.key for query in task.queries] == [f"{row['candidate']}#{n}" for n, row in enumerate(rows)]
        assert [query.image for query in task.queries] == [root / "images" / f"{r['candidate']}.png" for r in rows]
        assert task.queries[1].text == "Is 1 shades darker and has 3 buttons"
        right = [[image.key == row["target"] for image in task.gallery] for row in rows]
        assert task.relevance.matrix(np.arange(len(rows))).tolist() == right
        assert task.candidates is None
        assert task.excluded is None


def test_the_smaller_gallery_holds_what_occurs_without_the_reference(root):
    data = fashioniq.load(root, protocol="val", **OPTIONS)
    for task, category in zip(data.test, CATEGORIES, strict=True):
        rows = triplets_of(category, "val")
        used = {row[role] for row in rows for role in ("candidate", "target")}
        assert [image.key for image in task.gallery] == [name for name in names_of(category, "val") if name in used]
        assert len(task.gallery) < len(names_of(category, "val"))
        assert [task.gallery[ids[0]].key for ids in task.excluded] == [row["candidate"] for row in rows]
    for task in data.validation:
        known = {pair.target.key for pair in data.train} | references(pair.query for pair in data.train)
        assert not references(task.queries) & references(pair.query for pair in data.train)
        assert references(task.queries) <= {image.key for image in task.gallery}
        assert len(task.gallery) < len(known)


@pytest.mark.parametrize(
    ("protocol", "reference", "removed"),
    [("original", "removed", True), ("val", "kept", False), ("original", "kept", False), ("val", "removed", True)],
)
def test_whether_the_reference_is_searched_can_be_said(root, protocol, reference, removed):
    data = fashioniq.load(root, protocol=protocol, reference=reference, **OPTIONS)
    assert all((task.excluded is not None) == removed for task in (*data.validation, *data.test))
    assert f"references {reference}" in data.name
    assert f"references are {'left out of' if removed else 'kept in'} what their queries search" in data.notes


def test_validation_is_whole_references_of_each_category(root):
    data = fashioniq.load(root, **OPTIONS)
    again, other = fashioniq.load(root, **OPTIONS), fashioniq.load(root, seed=1, **OPTIONS)
    for task, category in zip(data.validation, CATEGORIES, strict=True):
        assert 4 <= len(task.queries) <= 5
        assert [image.key for image in task.gallery] == names_of(category, "train")
        rows = [row for row in triplets_of(category, "train") if row["candidate"] in references(task.queries)]
        assert len(rows) == len(task.queries)
    asked = [[query.key for query in task.queries] for loaded in (data, again, other) for task in loaded.validation]
    assert asked[:3] == asked[3:6] != asked[6:]
    assert fashioniq.load(root, partial=True, validation=0).validation == ()


def test_what_another_category_reports_is_not_trained_on(root):
    shared = names_of("shirt", "val")[0]
    assert sum(row["candidate"] == shared for row in triplets_of("toptee", "train")) == 2
    data = fashioniq.load(root, partial=True, validation=0)
    assert shared not in references(pair.query for pair in data.train)
    assert len({pair.instance for pair in data.train}) == 3 * 16 - 2
    assert any(note.startswith("2 more training triplets left out") for note in data.notes)


def test_training_triplets_whose_target_is_reported_are_counted(root):
    shared, other = names_of("shirt", "val")[0], names_of("shirt", "val")[-1]  # the last is in no triplet
    right = triplets_of("shirt", "val")[0]["target"]
    (note,) = [note for note in fashioniq.load(root, **OPTIONS).notes if "training triplets have the target" in note]
    before = fashioniq.load(root, partial=True, validation=0)
    targets = {pair.instance: pair.target.key for pair in before.train}.values()
    reported = {row["target"] for c in CATEGORIES for row in triplets_of(c, "val")}
    counts = sum(name in reported for name in targets), sum(name == shared for name in targets)
    assert counts[0] == counts[1] == 1
    start = "{} training triplets have the target of a reported query, {} one that is searched"
    assert any(note.startswith(start.format(*counts)) for note in before.notes), before.notes
    edit(root, "image_splits/split.toptee.train.json", lambda ids: [*ids, other, right])
    reference = names_of("toptee", "train")[3]
    more = [{"target": name, "candidate": reference, "captions": ["is red", "is long"]} for name in (other, right)]
    edit(root, "captions/cap.toptee.train.json", lambda rows: [*rows, *more])
    after = fashioniq.load(root, partial=True, validation=0)
    assert any(note.startswith(start.format(2, 3)) for note in after.notes), after.notes
    fewer = fashioniq.load(root, partial=True, validation=0, protocol="val")
    assert any(note.startswith(start.format(2, 2)) for note in fewer.notes), fewer.notes
    assert note.endswith("only those with the reference of a query are left out")


def test_an_epoch_sees_every_triplet_once_with_one_of_its_four_texts(root):
    data = fashioniq.load(root, **OPTIONS)
    pairs = [pair for pair in data.train if pair.instance == 0]
    assert [pair.query.text for pair in pairs] == [
        "Is 0 shades darker and has 2 buttons", "Has 2 buttons and is 0 shades Darker", "Is 0 shades darker",
        "Has 2 buttons",
    ]  # fmt: skip
    table, drawn = PairTable(data.train, processor=list), Counter()
    for epoch in range(200):
        rows = np.concatenate(table.epoch(5, 0, epoch))
        seen = [data.train[row].instance for row in rows]
        assert len(set(seen)) == len(seen) >= table.items - 1  # a last batch of one is left out
        drawn.update(row % 4 for row in rows)
    shares = np.array([drawn[text] for text in range(4)]) / sum(drawn.values())
    assert np.abs(shares - 0.25).max() < 0.02
    both = fashioniq.load(root, train_text="both", **OPTIONS).train
    assert [pair.query.text for pair in both] == [pair.query.text for pair in data.train[::4]]
    assert [pair.instance for pair in both] == list(range(len(both)))


def test_an_empty_remark_is_left_out(root):
    edit(root, "captions/cap.dress.train.json", lambda rows: rows[0].update(captions=[" ,.", "Is RED?"]))
    data = fashioniq.load(root, partial=True, validation=0)
    assert [pair.query.text for pair in data.train if pair.instance == 0] == ["Is red"]


def test_pictures_are_found_in_either_form_and_absent_ones_are_named(tmp_path):
    LAYOUTS["jpg-by-category"].make(tmp_path)
    gone = tmp_path / "resized_image" / "dress" / f"{names_of('dress', 'val')[0]}.jpg"
    assert fashioniq.load(tmp_path, **OPTIONS).test[0].queries[0].image == gone
    gone.unlink()
    data = fashioniq.load(tmp_path, **OPTIONS)
    assert data.test[0].queries[0].image == tmp_path / "images" / gone.name
    found = check("fashioniq", tmp_path)
    assert [line.split(":")[0] for line in found.problems() if not line.startswith("count")] == ["images"]
    assert list(found.unreadable) == [gone.stem]


def lose(row, key):
    del row[key]


DAMAGES = {
    "captions/cap.shirt.val.json": [
        (lambda rows: rows[2].update(target="B000000000"), r"got 1 others: target B000000000 of .*#2\. Captions and"),
        (lambda rows: rows[2].update(candidate="B000000000"), "got 1 others: reference B000000000 of B000000000#2"),
        (lambda rows: rows[2].update(captions=["one"]), "expected two captions in entry 2, got 1"),
        (lambda rows: rows[2].update(captions=["one", 2]), "a list of strings as key 'captions' of entry 2, got list"),
        (lambda rows: lose(rows[2], "target"), "expected a string as key 'target' of entry 2, got nothing"),
        (lambda rows: {"rows": rows}, "expected triplets, a list, got dict"),
        (lambda rows: rows.__setitem__(1, "x"), "expected a string as key 'candidate' of entry 1, got nothing"),
    ],
    "image_splits/split.shirt.val.json": [
        (lambda names: [*names, names[0]], f"expected every image once, got {names_of('shirt', 'val')[0]} twice"),
        (lambda names: {"names": names}, "a list of strings, got dict"),
        (lambda names: [3, *names], "a list of strings, got list"),
    ],
}


@pytest.mark.parametrize(
    ("file", "change", "message"), [(file, *case) for file, cases in DAMAGES.items() for case in cases]
)
def test_contradictions_are_refused_and_surveyed(root, file, change, message):
    edit(root, file, change)
    with pytest.raises(DataError, match=message):
        fashioniq.load(root, **OPTIONS)
    damaged = check("fashioniq", root, images=False).survey.damaged
    assert len(damaged) == 1
    assert file in damaged[0]


@pytest.mark.parametrize("file", ["captions/cap.toptee.train.json", "image_splits/split.dress.val.json"])
def test_missing_and_cut_files_say_where_to_get_them(root, file):
    whole = (root / file).read_bytes()
    for content in (whole[:-5], b"", b"version https://git-lfs.github.com/spec/v1\n", b"\xff\xfe\x00<html>"):
        (root / file).write_bytes(content)
        with pytest.raises(FileError, match=r"got no JSON .* Get it from github\.com/XiaoxiaoGuo/fashion-iq") as caught:
            fashioniq.load(root, **OPTIONS)
        assert str(root / file) in str(caught.value)
        assert len(check("fashioniq", root, images=False).survey.damaged) == 1
    (root / file).unlink()
    with pytest.raises(FileError, match="got nothing") as caught:
        fashioniq.load(root, **OPTIONS)
    assert str(root / file) in str(caught.value)
    assert [line.split(":")[0] for line in check("fashioniq", root, images=False).survey.missing] == [file]


def test_other_numbers_are_refused_unless_a_part_is_wanted(root):
    with pytest.raises(DataError, match=r"triplets of dress, train: expected 5,985, got 16.*data\.partial=true"):
        fashioniq.load(root)
    assert fashioniq.load(root, **OPTIONS).name == "FashionIQ (original, partial)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "test"}, "Targets of the test split are not public"),
        ({"validation": 15}, r"FashionIQ, dress, validation: expected 0 \.\.\. 14 of the 16 training triplets, got 15"),
        ({"validation": -1}, r"expected 0 \.\.\. 14"),
        ({"validation": 4, "seed": -1}, "seed: expected an integer >= 0"),
        ({"protocol": "VAL"}, "expected one of original, val, got 'VAL'"),
        ({"train_text": "all"}, "train_text: expected one of four, both"),
        ({"reference": "no"}, "reference: expected one of protocol, kept, removed"),
    ],
)
def test_options_that_are_none_are_refused(root, options, message):
    with pytest.raises((DataError, InputError), match=message):
        fashioniq.load(root, partial=True, **options)


@real
def test_the_official_files_have_the_official_numbers():
    found = check("fashioniq", REAL, images=False)
    counts = found.survey.counts
    assert len(counts) == 2 * 9 + 3 + 1
    assert all(count.found == count.official for count in counts), [c for c in counts if c.found != c.official]
    assert found.survey.damaged == ()
    assert found.overlaps == ()
    assert len(found.survey.images) == 60_033


@real
@pytest.mark.parametrize(("protocol", "galleries"), [("original", [3817, 6346, 5373]), ("val", [2628, 3089, 2902])])
def test_the_official_files_load(protocol, galleries):
    data = fashioniq.load(REAL, protocol=protocol)
    assert data.name == f"FashionIQ ({protocol})"
    assert [len(task.queries) for task in data.test] == [2017, 2038, 1961]
    assert (
        [len(task.gallery) for task in data.test]
        == galleries
        == [size for part, size in fashioniq.CARD.protocol(protocol).sizes.items() if part.endswith("images searched")]
    )
    assert all(task.relevance.totals().tolist() == [1] * len(task.queries) for task in data.test)
    assert data.test[0].queries[0].text == "Is shiny and silver with shorter sleeves and fit and flare"
    assert data.test[0].queries[0].key == "B005X4PL1G#0"
    asked = [{str(q.image) for task in tasks for q in task.queries} for tasks in (data.validation, data.test)]
    trained = {str(pair.query.image) for pair in data.train}
    assert not trained & (asked[0] | asked[1])
    assert not asked[0] & asked[1]
    held = sum(len(task.queries) for task in data.validation)
    left_out = next(int(note.split()[0]) for note in data.notes if "more training triplets left out" in note)
    assert len({pair.instance for pair in data.train}) + held + left_out == 18_000
    assert 80 <= left_out < 150  # 80 have a reference that another category reports
    assert all(query.text.strip() for task in (*data.test, *data.validation) for query in task.queries)
    assert all(pair.query.text.strip() for pair in data.train)
