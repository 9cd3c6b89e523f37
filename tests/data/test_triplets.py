"""triplets.load: what a table says is what is asked, splits held out or given, and the rows that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from trees import save_photo

from hashret.data import check, triplets
from hashret.errors import DataError, FileError, FormatError, InputError


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ring(count: int, prefix: str = "") -> list[dict]:
    return [
        {"reference": f"{prefix}{n}.png", "text": f"text {n}", "target": f"{prefix}{(n + 1) % count}.png"}
        for n in range(count)
    ]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    write(tmp_path / "train.jsonl", ring(6))
    write(
        tmp_path / "test.jsonl",
        [
            {"reference": "b.png", "text": "in red", "targets": ["d.png", "a.png", "d.png"]},
            {"reference": "d.png", "texts": ["larger", "a larger one"], "target": "b.png"},
        ],
    )
    (tmp_path / "test.gallery.txt").write_text("e.png\n\na.png\nc.png\n")
    return tmp_path


def test_a_split_is_asked_of_what_its_table_and_its_gallery_name(given):
    data = triplets.load(given, validation=0)
    (task,) = data.test
    assert [(e.image, e.key) for e in task.gallery] == [(given / f"{n}.png", f"{n}.png") for n in "abcde"]
    assert [(q.image, q.text, q.key) for q in task.queries] == [
        (given / "b.png", "in red", "b.png#1"), (given / "d.png", "larger", "d.png#2"),
    ]  # fmt: skip
    assert task.relevance.matrix(np.arange(2)).tolist() == [
        [True, False, False, True, False],
        [False, True, False, False, False],
    ]
    assert task.excluded.tolist() == [[1], [3]]
    assert triplets.load(given, validation=0, without_reference=False).test[0].excluded is None
    assert data.validation == ()


def test_every_text_and_every_target_makes_a_pair_of_its_triplet(given):
    (given / "train.jsonl").unlink()
    rows = [
        {"reference": "a.png", "texts": ["x", "y"], "targets": ["b.png", "c.png"]},
        {"reference": "b.png", "texts": ["z"], "targets": ["a.png"]},
    ]
    write(given / "train.jsonl", rows)
    made = triplets.load(given, validation=0).train
    assert [(p.query.key, p.query.text, p.target.key, p.instance) for p in made] == [
        ("a.png#1", "x", "b.png", 0), ("a.png#1", "y", "b.png", 0), ("a.png#1", "x", "c.png", 0),
        ("a.png#1", "y", "c.png", 0), ("b.png#2", "z", "a.png", 1),
    ]  # fmt: skip
    assert all(p.target.text is None and p.labels is None for p in made)


def test_what_has_no_table_is_held_out_whole_references(tmp_path):
    rows = [row for n in range(10) for row in ring(10)[n : n + 1] * 3]
    write(tmp_path / "triplets.jsonl", rows)
    data = triplets.load(tmp_path, validation=0.2, test=0.3, seed=4)
    parts = [{pair.query.image for pair in data.train}] + [
        {q.image for q in t[0].queries} for t in (data.validation, data.test)
    ]
    assert [len(part) for part in parts] == [5, 2, 3]
    assert len(set().union(*parts)) == 10
    assert (len(data.train), len(data.validation[0].queries), len(data.test[0].queries)) == (15, 6, 9)
    assert all(len(task.gallery) == 10 for task in (*data.validation, *data.test))
    told = " ".join(data.notes)
    assert "test: whole references of the training table, held out with seed 4" in told
    assert "images of its triplets are trained on" in told
    other = triplets.load(tmp_path, validation=0.2, test=0.3, seed=5)
    assert {q.image for q in other.test[0].queries} != parts[2]


def test_names_may_lead_out_of_the_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine").mkdir()
    for number in range(4):
        save_photo(tmp_path / "photos" / f"{number}.png", number)
    write(tmp_path / "mine" / "triplets.jsonl", ring(4, "../photos/"))
    found = check("triplets", tmp_path / "mine")
    assert found.good
    assert found.decoded == 4


def test_a_check_finds_images_of_two_splits_and_those_that_are_not_there(given):
    write(given / "val.jsonl", ring(3))
    problems = " ".join(check("triplets", given).problems())
    assert "3 images in both train and validation: 0.png, 1.png, 2.png" in problems
    assert "11 missing or unreadable, first a.png" in problems


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "red", "target": "b.png"}, "row 2: expected a reference"),
        ({"reference": "a.png", "target": "b.png"}, "row 2: expected a text"),
        ({"reference": "a.png", "text": "red"}, "row 2: expected a target"),
        ({"reference": "a.png", "text": "red", "targets": []}, "row 2: expected a target"),
        ({"reference": "", "text": "red", "target": "b.png"}, "row 2: expected a reference"),
    ],
)
def test_rows_that_lack_something_are_named(tmp_path, row, message):
    write(tmp_path / "train.jsonl", [*ring(1), row, *ring(4)])
    with pytest.raises(FormatError, match=message):
        triplets.load(tmp_path)


def test_mistakes_have_names(given):
    (given / "train.csv").write_text("reference,text,target\na.png,red,b.png\n")
    with pytest.raises(FileError, match=r"one table of train triplets, got train\.csv and train\.jsonl"):
        triplets.load(given)
    (given / "train.csv").unlink()
    with pytest.raises(DataError, match="a share of the triplets"):
        triplets.load(given, validation=1.5)
    with pytest.raises(DataError, match=r"0 \.\.\. 4 of the 6 training triplets"):
        triplets.load(given, validation=0.9)
    with pytest.raises(InputError, match="seed"):
        triplets.load(given, seed=-1)
    (given / "test.gallery.txt").write_bytes(b"\xff\xfea.png")
    with pytest.raises(FormatError, match=r"in UTF-8, got other bytes at 0"):
        triplets.load(given)
    (given / "test.gallery.txt").unlink()
    (given / "train.jsonl").write_text('{"reference": 3, "text": "red", "target": "b.png"}\n')
    with pytest.raises(FormatError, match="'reference' of row 1: expected a string, got int 3"):
        triplets.load(given)
