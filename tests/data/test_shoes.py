"""shoes.load on small trees, on damaged ones, and on the official lists and remarks where they are there."""

import json
from pathlib import Path

import numpy as np
import pytest
from trees.shoes import LAYOUTS, names_of, remarks_of

from hashret.data import check, shoes
from hashret.data.composed_files import find_pictures
from hashret.errors import DataError, FileError, InputError
from hashret.evaluation import evaluate

REAL = Path(__file__).parents[3] / "shared" / "data" / "shoes"
real = pytest.mark.skipif(not REAL.exists(), reason=f"the official lists and remarks are not at {REAL}")
OPTIONS = {"partial": True, "validation": 4}
REMARKS = "relative_captions_shoes.json"


@pytest.fixture
def root(tmp_path):
    LAYOUTS["attribute-discovery"].make(tmp_path)
    return tmp_path


def edit(root, change):
    rows = json.loads((root / REMARKS).read_text())
    (root / REMARKS).write_text(json.dumps(change(rows) or rows))


def files(examples):
    return {example.key.split("#")[0] for example in examples}


def test_eval_remarks_are_asked_of_eval_pictures_without_the_reference(root):
    (task,) = shoes.load(root, **OPTIONS).test
    rows = remarks_of("eval")
    assert task.name == "composed"
    assert [image.key for image in task.gallery] == names_of("eval")
    assert [query.text for query in task.queries] == [row["RelativeCaption"] for row in rows]
    assert [query.key.split("#")[0] for query in task.queries] == [row["ReferenceImageName"] for row in rows]
    assert [task.gallery[ids[0]].key for ids in task.excluded] == [row["ReferenceImageName"] for row in rows]
    right = [[image.key == row["ImageName"] for image in task.gallery] for row in rows]
    assert task.relevance.matrix(np.arange(len(rows))).tolist() == right
    written = json.loads((root / REMARKS).read_text())
    numbers = [int(query.key.split("#")[1]) for query in task.queries]
    assert [written[number] for number in numbers] == rows


def test_pictures_are_found_by_name_in_their_folders(root, tmp_path_factory):
    task = shoes.load(root, **OPTIONS).test[0]
    assert task.gallery[0].image == root / "attributedata" / "womens_clogs" / "0" / names_of("eval")[0]
    assert task.gallery[1].image == root / "attributedata" / "womens_rain_boots" / "1" / names_of("eval")[1]
    flat = tmp_path_factory.mktemp("flat")
    LAYOUTS["flat"].make(flat)
    assert shoes.load(flat, **OPTIONS).test[0].gallery[1].image == flat / "images" / names_of("eval")[1]
    (flat / "images" / names_of("eval")[1]).unlink()
    assert shoes.load(flat, **OPTIONS).test[0].gallery[1].image == flat / "images" / names_of("eval")[1]
    found = check("shoes", flat)
    assert list(found.unreadable) == [names_of("eval")[1]]


def test_validation_is_whole_references_of_the_training_list(root):
    data = shoes.load(root, **OPTIONS)
    (task,) = data.validation
    assert [image.key for image in task.gallery] == names_of("train")
    assert 4 <= len(task.queries) <= 5
    asked = files(task.queries)
    assert len(task.queries) == sum(row["ReferenceImageName"] in asked for row in remarks_of("train"))
    assert [(pair.query.text, pair.target.key) for pair in data.train] == [
        (row["RelativeCaption"], row["ImageName"])
        for row in remarks_of("train")
        if row["ReferenceImageName"] not in asked
    ]
    assert [pair.instance for pair in data.train] == list(range(len(data.train)))
    assert [q.key for q in shoes.load(root, seed=1, **OPTIONS).validation[0].queries] != [q.key for q in task.queries]
    everything = shoes.load(root, partial=True, validation=0)
    assert everything.validation == ()
    assert len(everything.train) == len(remarks_of("train"))


def test_a_remark_counts_where_both_pictures_are_on_one_list(root):
    train, held = names_of("train"), names_of("eval")
    apart = {"ImageName": train[0], "ReferenceImageName": held[0], "RelativeCaption": "is of the other list"}
    unknown = {"ImageName": "img_womens_boots_9.jpg", "ReferenceImageName": held[0], "RelativeCaption": "is unknown"}
    before = shoes.load(root, **OPTIONS)
    edit(root, lambda rows: [*rows, apart, unknown])
    after = shoes.load(root, **OPTIONS)
    assert [pair.query.text for pair in before.train] == [pair.query.text for pair in after.train]
    assert [query.text for query in before.test[0].queries] == [query.text for query in after.test[0].queries]
    assert "2 remarks left out, whose pictures are not on one list" in after.notes
    assert not any("left out, whose" in note for note in before.notes)


def test_a_query_for_its_own_reference_has_no_right_answer(root):
    name = names_of("eval")[4]
    same = {"ImageName": name, "ReferenceImageName": name, "RelativeCaption": "are identical"}
    edit(root, lambda rows: [*rows, same])
    data = shoes.load(root, **OPTIONS)
    assert any(note.startswith("reported queries for their own reference: 1,") for note in data.notes)
    task = data.test[0]
    vectors = np.eye(len(task.gallery))
    place = {image.key: number for number, image in enumerate(task.gallery)}
    perfect = vectors[[place[row["ImageName"]] for row in [*remarks_of("eval"), same]]]
    ways = {
        way: evaluate((perfect, vectors), task.relevance, ["hit@1"], unanswered=way, candidates=task.allowed())
        for way in ("omit", "zero")
    }
    assert ways["omit"]["hit@1"] == 1.0
    assert ways["zero"]["hit@1"] == pytest.approx(8 / 9)
    assert ways["omit"].unanswered == 1


def lose(row, key):
    del row[key]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: lose(rows[3], "ImageName"), "expected a string as key 'ImageName' of entry 3, got nothing"),
        (lambda rows: rows[3].update(RelativeCaption=4), "a string as key 'RelativeCaption' of entry 3, got int '4'"),
        (lambda rows: {"rows": rows}, "expected remarks, a list, got dict"),
    ],
)
def test_remarks_that_are_none_are_refused(root, change, message):
    edit(root, change)
    with pytest.raises(FileError, match=message):
        shoes.load(root, **OPTIONS)
    assert len(check("shoes", root, images=False).survey.damaged) == 1


def test_missing_and_cut_files_say_where_to_get_them(root):
    whole = (root / REMARKS).read_bytes()
    (root / REMARKS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"got no JSON .* Get it from github\.com/XiaoxiaoGuo/fashion-retrieval"):
        shoes.load(root, **OPTIONS)
    (root / REMARKS).write_bytes(whole)
    for file, content in (("eval_im_names.txt", b"\n \n"), ("train_im_names.txt", b"\xff\xd8\xff")):
        kept = (root / file).read_bytes()
        (root / file).write_bytes(content)
        with pytest.raises(FileError, match="an empty file|no text") as caught:
            shoes.load(root, **OPTIONS)
        assert file in str(caught.value)
        (root / file).write_bytes(kept)
    (root / "train_im_names.txt").unlink()
    with pytest.raises(FileError, match="got nothing") as caught:
        shoes.load(root, **OPTIONS)
    assert str(root / "train_im_names.txt") in str(caught.value)
    missing = check("shoes", root, images=False).survey.missing
    assert [line.split(":")[0] for line in missing] == ["train_im_names.txt"]


def test_lists_that_contradict_each_other_are_refused(root):
    path = root / "eval_im_names.txt"
    path.write_text("\n".join([*names_of("eval"), names_of("train")[3]]))
    with pytest.raises(DataError, match=f"expected pictures on one list each, got 1 on both: {names_of('train')[3]}"):
        shoes.load(root, **OPTIONS)
    assert check("shoes", root, images=False).overlaps == (("train", "eval", (names_of("train")[3],)),)
    path.write_text("\n".join([*names_of("eval"), names_of("eval")[0]]))
    with pytest.raises(FileError, match="expected every image once, got .* twice"):
        shoes.load(root, **OPTIONS)


def test_other_numbers_are_refused_unless_a_part_is_wanted(root):
    with pytest.raises(DataError, match=r"train triplets: expected 8,990, got 18.*data\.partial=true"):
        shoes.load(root)
    assert shoes.load(root, **OPTIONS).name == "Shoes (partial)"


def test_a_smaller_gallery_is_no_whole_set(root, monkeypatch):
    monkeypatch.setattr(shoes, "TRIPLETS", {split: len(remarks_of(split)) for split in ("train", "eval")})
    monkeypatch.setattr(shoes, "IMAGES", {split: len(names_of(split)) for split in ("train", "eval")})
    assert shoes.load(root, **OPTIONS).name == shoes.load(root, validation=4).name == "Shoes"
    monkeypatch.setattr(shoes, "IMAGES", {"train": len(names_of("train")), "eval": len(names_of("eval")) + 1})
    assert shoes.load(root, **OPTIONS).name == "Shoes (partial)"


def test_hidden_folders_and_loops_hold_no_pictures(root):
    name = names_of("eval")[0]
    (path,) = root.rglob(name)
    hidden = root / ".cache"
    hidden.mkdir()
    path.rename(hidden / name)
    assert shoes.load(root, **OPTIONS).test[0].gallery[0].image == root / "images" / name
    (hidden / name).rename(path)
    for place in (root / "attributedata", path.parent):
        (place / "again").symlink_to(root, target_is_directory=True)
    assert not [picture for picture in find_pictures([root]).values() if "again" in picture.parts]
    elsewhere = root.parent / f"{root.name} elsewhere"
    elsewhere.mkdir()
    path.rename(elsewhere / name)
    (root / "linked").symlink_to(elsewhere, target_is_directory=True)
    assert find_pictures([root])[name] == root / "linked" / name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 17}, r"Shoes, validation: expected 0 \.\.\. 16 of the 18 training triplets, got 17"),
        ({"validation": 4, "seed": -1}, "seed: expected an integer >= 0"),
        ({"protocol": "labels"}, "expected one of composed, got 'labels'"),
    ],
)
def test_options_that_are_none_are_refused(root, options, message):
    with pytest.raises((DataError, InputError), match=message):
        shoes.load(root, partial=True, **options)


@real
def test_the_official_files_have_the_official_numbers():
    found = check("shoes", REAL, images=False)
    assert {count.what: count.found for count in found.survey.counts} == {
        "triplets": 10_751, "train images": 10_000, "train triplets": 8_990, "eval images": 4_658,
        "eval triplets": 1_761,
    }  # fmt: skip
    assert found.wrong_counts == ()
    assert found.survey.damaged == found.overlaps == ()
    assert len(found.survey.images) == 14_658


@real
def test_the_official_files_load():
    data = shoes.load(REAL)
    (task,), (chosen,) = data.test, data.validation
    assert data.name == "Shoes"
    assert (len(task.queries), len(task.gallery), len(chosen.gallery)) == (1_761, 4_658, 10_000)
    assert 500 <= len(chosen.queries) < 510
    assert len(data.train) + len(chosen.queries) == 8_990
    assert not files(pair.query for pair in data.train) & files(chosen.queries)
    assert task.relevance.totals().tolist() == [1] * 1_761
    own = [row for row in range(1_761) if task.relevance.judge([row], task.excluded[row : row + 1])[0, 0]]
    assert len(own) == 1
    assert any(note.startswith("reported queries for their own reference: 1,") for note in data.notes)
