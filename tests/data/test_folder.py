"""folder.load and its metadata reader on small imagefolders, and on the real ones where they are there."""

import json
import os
import socket
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from hashret.data import folder
from hashret.data.metadata import Row, find_metadata, has_metadata, merge, read_rows
from hashret.errors import DataError, FileError, FormatError, InputError

REAL = Path(__file__).parents[3] / "shared" / "data"


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        image = path.parent / row["file_name"]
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(image)


def rows_of(count, labels=None, start=0):
    rows = []
    for n in range(start, start + count):
        row = {"file_name": f"images/{n}.png", "texts": [f"text {i} of {n}" for i in range(1 + n % 3)]}
        rows.append(row | ({} if labels is None else {"labels": labels(n)}))
    return rows


def number(example):
    return int(Path(example.key.split("#")[0]).stem)


@pytest.fixture
def labelled(tmp_path):
    write_rows(tmp_path / "metadata.jsonl", rows_of(40, lambda n: ["odd", "even"][n % 2 : n % 2 + 1] if n % 5 else []))
    return tmp_path


def test_captions_protocol_covers_every_image_once(labelled):
    data = folder.load(labelled, protocol="captions", validation=0.1, test=0.25)
    parts = [{number(pair.query) for pair in data.train}] + [
        {number(q) for q in tasks[0].queries} for tasks in (data.validation, data.test)
    ]
    assert [len(part) for part in parts] == [26, 4, 10]
    assert sorted(n for part in parts for n in part) == list(range(40))
    for tasks in (data.validation, data.test):
        i2t, t2i = tasks
        assert [g.key for g in i2t.gallery] == [q.key for q in t2i.queries]
        assert len(i2t.gallery) == sum(1 + number(q) % 3 for q in i2t.queries)
        naive = [[number(q) == number(g) for g in t2i.gallery] for q in t2i.queries]
        assert t2i.relevance.matrix(np.arange(len(naive))).tolist() == naive
    assert all(pair.query.image == labelled / pair.query.key for pair in data.train)
    assert all(pair.target.text == f"text {pair.target.key[-1]} of {pair.instance}" for pair in data.train)


def test_labels_protocol_asks_the_training_images(labelled):
    data = folder.load(labelled, caption=1)
    assert data.name == f"{labelled.name} (labels)"
    assert data.classes == ("even", "odd")
    trained = {number(pair.query) for pair in data.train}
    labels = {n: ("even" if n % 2 else "odd") if n % 5 else None for n in range(40)}
    for tasks in (data.validation, data.test):
        for task in tasks:
            assert {number(g) for g in task.gallery} == trained
            assert not {number(q) for q in task.queries} & trained
            naive = [[labels[number(q)] == labels[number(g)] is not None for g in task.gallery] for q in task.queries]
            assert task.relevance.matrix(np.arange(len(naive))).tolist() == naive
        assert all(g.key[-1] == ("0" if number(g) % 3 == 0 else "1") for g in tasks[0].gallery)
    assert any("its last for" in note for note in data.notes)


def test_the_same_seed_divides_alike_and_another_does_not(labelled):
    def held(seed):
        return [number(q) for q in folder.load(labelled, seed=seed).test[0].queries]

    assert held(0) == held(0) == sorted(held(0))
    assert any(held(0) != held(seed) for seed in (1, 2, 3))


def test_auto_is_captions_where_nothing_has_a_label(tmp_path):
    write_rows(tmp_path / "metadata.jsonl", rows_of(10, lambda n: []))
    data = folder.load(tmp_path)
    assert data.name.endswith("(captions)")
    assert data.classes == ()
    assert data.train[0].labels is None
    with pytest.raises(DataError, match="protocol=captions"):
        folder.load(tmp_path, protocol="labels")


def test_integer_labels_are_sorted_as_numbers(tmp_path):
    write_rows(tmp_path / "metadata.jsonl", rows_of(12, lambda n: [10, 9, 100][n % 3 : n % 3 + 1]))
    data = folder.load(tmp_path)
    assert data.classes == ("9", "10", "100")
    assert data.train[0].labels.sum() == 1
    for pair in data.train:
        assert data.classes[int(pair.labels.argmax())] == str([10, 9, 100][pair.instance % 3])


def test_integers_and_strings_may_mix(tmp_path):
    write_rows(tmp_path / "metadata.jsonl", rows_of(12, lambda n: [[3], ["three"], [3, "three"]][n % 3]))
    data = folder.load(tmp_path)
    assert data.classes == ("3", "three")
    assert {tuple(pair.labels.tolist()) for pair in data.train} == {(1, 0), (0, 1), (1, 1)}


@pytest.mark.parametrize("layout", ["metadata above", "metadata in each"])
@pytest.mark.parametrize(
    "names",
    [("train", "validation", "test"), ("train", "val", "testing"), ("Training", "dev", "Eval")],
)
def test_subfolders_are_splits(tmp_path, layout, names):
    if layout == "metadata in each":
        for place, name in enumerate(names):
            write_rows(tmp_path / name / "metadata.jsonl", rows_of(4, start=4 * place))
    else:
        rows = [row | {"file_name": f"{names[n // 4]}/{n}.png"} for n, row in enumerate(rows_of(12))]
        write_rows(tmp_path / "metadata.jsonl", rows)
    data = folder.load(tmp_path)
    assert {number(pair.query) for pair in data.train} == set(range(4))
    assert [number(q) for q in data.validation[0].queries] == list(range(4, 8))
    assert [number(q) for q in data.test[0].queries] == list(range(8, 12))
    assert data.test[0].queries[0].key.startswith(names[2] + "/")
    assert all(Path(q.image).is_file() for q in data.test[0].queries)


def test_a_split_without_a_subfolder_is_held_out_of_the_training_images(tmp_path):
    write_rows(tmp_path / "train" / "metadata.jsonl", rows_of(20))
    write_rows(tmp_path / "test" / "metadata.jsonl", rows_of(5, start=20))
    data = folder.load(tmp_path, validation=0.2, test=0.9)
    assert [number(q) for q in data.test[0].queries] == list(range(20, 25))
    assert len(data.validation[0].queries) == 4
    assert len({pair.instance for pair in data.train}) == 16
    assert folder.load(tmp_path, validation=0).validation == ()


def test_file_names_that_look_like_splits_are_only_names(tmp_path):
    rows = [row | {"file_name": f"images/test_{n}.png"} for n, row in enumerate(rows_of(10))]
    write_rows(tmp_path / "metadata.jsonl", rows)
    data = folder.load(tmp_path, validation=0, test=0.1)
    assert len({pair.instance for pair in data.train}) == 9


def test_text_and_texts_and_repeated_rows_are_joined(tmp_path):
    rows = [
        {"file_name": "a.png", "text": "one", "labels": ["x"]},
        {"file_name": "b.png", "texts": ["two", "three"], "text": "first"},
        {"file_name": "./a.png", "text": "four", "labels": ["y", "x"]},
        {"file_name": "c.png"}, {"file_name": "d.png", "text": "  "}, {"file_name": "e.png", "texts": []},
    ]  # fmt: skip
    write_rows(tmp_path / "metadata.jsonl", rows)
    table = tmp_path / "metadata.jsonl"
    assert merge(tmp_path, [(table, row) for row in read_rows(table)]) == [
        Row("a.png", ("one", "four"), ("x", "y")), Row("b.png", ("first", "two", "three")), Row("c.png", ()),
        Row("d.png", ("  ",)), Row("e.png", ()),
    ]  # fmt: skip
    data = folder.load(tmp_path, protocol="captions", validation=0, test=0)
    assert [pair.target.text for pair in data.train] == ["one", "four", "first", "two", "three", "  "]
    assert "2 images without a text left out" in data.notes


def test_csv_and_parquet_hold_texts_as_they_were_written(tmp_path):
    texts = ["007", "NA", "2020-01-01", 'a "quoted", text', "nul", "ümlaut"]
    lines = ["file_name,text"] + [f'{n}.png,"{text.replace(chr(34), chr(34) * 2)}"' for n, text in enumerate(texts)]
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding=encoding)
        assert read_rows(tmp_path / "metadata.csv") == [Row(f"{n}.png", (text,)) for n, text in enumerate(texts)]
    columns = {"file_name": ["a", "b"], "texts": [["x", "2020-01-01"], []], "labels": [[1], []]}
    table = datasets.Dataset.from_dict(columns)
    with open(tmp_path / "metadata.parquet", "wb") as file:
        table.to_parquet(file)
    assert read_rows(tmp_path / "metadata.parquet") == [Row("a", ("x", "2020-01-01"), (1,)), Row("b", ())]


def test_an_edited_file_is_read_anew_and_nothing_is_written_beside_it(labelled):
    before = sorted(labelled.rglob("*"))
    path = labelled / "metadata.jsonl"
    stamp = path.stat().st_mtime
    assert "text 0 of 1" in [pair.target.text for pair in folder.load(labelled, validation=0, test=0).train]
    path.write_text(path.read_text().replace("text 0 of 1", "TEXT 0 OF 1"))
    os.utime(path, (stamp, stamp))
    assert "TEXT 0 OF 1" in [pair.target.text for pair in folder.load(labelled, validation=0, test=0).train]
    assert sorted(labelled.rglob("*")) == before


def test_reading_is_silent_offline_and_leaves_the_library_as_it_was(labelled, capfd, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.enable_progress_bars()
    verbosity = datasets.logging.get_verbosity()
    folder.load(labelled)
    (labelled / "metadata.jsonl").write_text("{oops")
    with pytest.raises(FormatError):
        folder.load(labelled)
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled()
    assert datasets.logging.get_verbosity() == verbosity


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"file_name": "a.png", "text": 3}', "'text' of row 2"),
        ('{"file_name": "a.png", "texts": ["x", {"y": 1}]}', "'texts' of row 2|changed from"),
        ('{"file_name": "a.png", "text": "x", "labels": [1.5]}', "'labels' of row 2"),
        ('{"file_name": "a.png", "text": "x", "labels": [true]}', "'labels' of row 2"),
        ('{"text": "x"}', "row 2: expected a file_name"),
        ('{"file_name": "a.png", "text": ', "JSON parse error"),
        ('{"file_name": "a.png", "text": "\\ud83d"}', "surrogate"),
    ],
)
def test_malformed_rows_are_named(tmp_path, line, match):
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "zero"}\n' + line + "\n")
    with pytest.raises(FormatError, match=match) as caught:
        folder.load(tmp_path)
    assert caught.value.remedy
    assert "metadata.jsonl" in str(caught.value)


def test_texts_that_arrive_as_dates_are_refused_not_changed(tmp_path):
    rows = [{"file_name": f"{n}.png", "text": f"2020-01-0{n}"} for n in range(1, 9)]
    write_rows(tmp_path / "metadata.jsonl", rows)
    with pytest.raises(FormatError, match="dates"):
        folder.load(tmp_path)
    rows[3]["text"] = "a day"
    write_rows(tmp_path / "metadata.jsonl", rows)
    texts = [pair.target.text for pair in folder.load(tmp_path, validation=0, test=0).train]
    assert texts == [row["text"] for row in rows]


def test_wrong_folders_say_what_is_expected(tmp_path):
    assert not has_metadata(tmp_path)
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileError, match=r"metadata.jsonl.*file_name"):
            folder.load(root)
    (tmp_path / "metadata.jsonl").touch()
    assert find_metadata(tmp_path) == [tmp_path / "metadata.jsonl"]
    with pytest.raises(FormatError):
        folder.load(tmp_path)
    (tmp_path / "metadata.csv").touch()
    with pytest.raises(FileError, match="more than one"):
        folder.load(tmp_path)
    (tmp_path / "metadata.jsonl").unlink()
    with pytest.raises(FormatError, match="metadata.csv"):
        folder.load(tmp_path)


@pytest.mark.parametrize(
    "options",
    [{"validation": 1.0}, {"test": -0.1}, {"validation": 0.5, "test": 0.49}, {"caption": 3}, {"caption": -1}],
)
def test_options_that_do_not_fit_are_refused(labelled, options):
    with pytest.raises(DataError) as caught:
        folder.load(labelled, **options)
    assert caught.value.remedy
    with pytest.raises(InputError, match="seed"):
        folder.load(labelled, seed=-1)


def test_no_text_at_all_is_refused(tmp_path):
    write_rows(tmp_path / "metadata.jsonl", [{"file_name": f"{n}.png"} for n in range(5)])
    with pytest.raises(DataError, match="5 images without one"):
        folder.load(tmp_path)


@pytest.mark.parametrize(("name", "images"), [("ikea", 1510), ("emoji", 1644)])
def test_the_real_folders(name, images):
    root = REAL / name
    if not root.is_dir():
        pytest.skip(f"needs the real folder {name} beside the checkout, ../shared/data/{name}")
    data = folder.load(root)
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert data.classes == tuple(sorted({label for row in rows for label in row["labels"]}))
    found = {pair.query.key for pair in data.train}
    found |= {query.key for task in (*data.validation, *data.test) for query in task.queries}
    assert {key.split("#")[0] for key in found} == {row["file_name"] for row in rows}
    assert len(rows) == images
    assert all(Path(pair.query.image).is_file() for pair in data.train[::100])
    texts = {row["file_name"]: row["texts"] for row in rows}
    assert all(texts[pair.query.key][int(pair.target.key.split("#")[1])] == pair.target.text for pair in data.train)
