"""flickr.load on small trees in Karpathy's layout, and on the real annotation file where it is there."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashret.data import check, flickr
from hashret.errors import DataError, DataFileError, InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"
NAMES = ["cat", "dog", "sea"]


def entry(number, split, captions=3, labels=None):
    entry = {
        "filename": f"{number}.jpg",
        "split": split,
        "sentences": [{"raw": f"caption {i} of {number}", "tokens": ["caption"]} for i in range(captions)],
    }
    return entry | ({} if labels is None else {"labels": labels})


@pytest.fixture
def content():
    splits = ["train"] * 6 + ["restval"] * 2 + ["val"] * 3 + ["test"] * 4
    labels = [[NAMES[number % 3]] if number % 4 else [] for number in range(len(splits))]
    images = [entry(number, split, labels=labels[number]) for number, split in enumerate(splits)]
    return {"dataset": "flickr8k", "classes": NAMES, "images": images}


@pytest.fixture
def write(tmp_path):
    def write(content, name="dataset_flickr8k.json", folder="images"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "0.jpg")
        return tmp_path

    return write


def load(root, **options):
    return flickr.load(root, **{"partial": True, **options})


def instance(example):
    """The number of the image, told from the key alone."""
    return int(example.key.split(".")[0])


def test_karpathys_protocol_pairs_every_caption_and_asks_both_ways(content, write):
    root = write(content)
    data = load(root)
    assert [(pair.query.key, pair.target.text, pair.instance) for pair in data.train] == [
        (f"{n}.jpg", f"caption {i} of {n}", n) for n in range(8) for i in range(3)
    ]
    assert data.train[0].query.image == root / "images" / "0.jpg"
    assert data.train[4].target.key == "1.jpg#1"
    for split, numbers in ((data.validation, range(8, 11)), (data.test, range(11, 15))):
        i2t, t2i = split
        assert [task.name for task in split] == ["i2t", "t2i"]
        assert [q.key for q in i2t.queries] == [f"{n}.jpg" for n in numbers]
        assert [g.key for g in i2t.gallery] == [f"{n}.jpg#{i}" for n in numbers for i in range(3)]
        for task in split:
            naive = [[instance(q) == instance(g) for g in task.gallery] for q in task.queries]
            assert task.relevance.matrix(np.arange(len(task.queries))).tolist() == naive


def test_labels_protocol_asks_the_training_split(content, write):
    data = load(write(content), protocol="labels", caption=1)
    rows = {n: {NAMES.index(name) for name in photo["labels"]} for n, photo in enumerate(content["images"])}
    assert data.classes == tuple(NAMES)
    for pair in data.train:
        assert set(np.flatnonzero(pair.labels)) == rows[pair.instance]
    for split, numbers in ((data.validation, range(8, 11)), (data.test, range(11, 15))):
        for task, text_side in zip(split, (task_gallery, task_queries), strict=True):
            assert [instance(g) for g in task.gallery] == list(range(8))
            assert [instance(q) for q in task.queries] == list(numbers)
            assert all(example.key.endswith("#1") and "caption 1" in example.text for example in text_side(task))
            naive = [[bool(rows[instance(q)] & rows[instance(g)]) for g in task.gallery] for q in task.queries]
            assert task.relevance.matrix(np.arange(len(numbers))).tolist() == naive
    assert any("1 queries and 2 gallery items have no label" in note for note in data.notes)


def task_gallery(task):
    return task.gallery


def task_queries(task):
    return task.queries


@pytest.mark.parametrize("protocol", ["karpathy", "labels"])
def test_held_out_validation_is_not_trained_on_but_is_in_the_test_database(content, write, protocol):
    root = write(content)
    data = load(root, protocol=protocol, validation=3, test="val")
    held = {q.key for q in data.validation[0].queries}
    trained = {pair.query.key for pair in data.train}
    assert len(held) == 3
    assert held | trained == {f"{n}.jpg" for n in range(8)}
    assert not held & trained
    if protocol == "labels":
        assert {g.key for g in data.validation[1].gallery} == trained
        assert {g.key for g in data.test[1].gallery} == held | trained
    again = load(root, protocol=protocol, validation=3, test="val")
    assert {q.key for q in again.validation[0].queries} == held
    others = [load(root, validation=3, test="val", seed=seed).validation[0].queries for seed in range(1, 6)]
    assert any({q.key for q in queries} != held for queries in others)
    assert any("held out" in note and "seed 0" in note for note in data.notes)


def test_first_caption_only(content, write):
    data = load(write(content), captions="first")
    assert [pair.target.key for pair in data.train] == [f"{n}.jpg#0" for n in range(8)]
    assert len(data.test[0].gallery) == 12


@pytest.mark.parametrize(
    ("name", "folder"),
    [("dataset_flickr30k.json", "flickr30k-images"), ("dataset.json", "Flicker8k_Dataset")],
)
def test_other_names_of_files_and_folders(content, write, name, folder):
    data = load(write(content, name, folder))
    assert data.train[0].query.image.parent.name == folder


def test_empty_captions_are_kept_for_the_quarantine(content, write):
    content["images"][0]["sentences"][1]["raw"] = "  "
    assert load(write(content)).train[1].target.text == "  "


def test_without_labels_there_are_no_classes_and_no_labels_protocol(content, write):
    for photo in content["images"]:
        del photo["labels"]
    root = write(content)
    data = load(root)
    assert data.classes == ()
    assert data.train[0].labels is None
    with pytest.raises(DataError, match="protocol=karpathy"):
        load(root, protocol="labels")


def test_classes_are_collected_where_the_json_does_not_list_them(content, write):
    del content["classes"], content["images"][3]["labels"]
    data = load(write(content), protocol="labels")
    assert data.classes == tuple(NAMES)
    assert not data.train[9].labels.any()


def test_a_missing_split_is_named_with_what_to_set(content, write):
    content["images"] = [photo for photo in content["images"] if photo["split"] != "test"]
    root = write(content)
    with pytest.raises(DataError, match=r"train \(8 images\), val \(3 images\).*test=val and validation to a number"):
        load(root)
    with pytest.raises(DataError, match="validation=500"):
        load(root, test="val")


@pytest.mark.parametrize(
    "options",
    [
        {"validation": 0}, {"validation": -1}, {"validation": 7}, {"validation": True}, {"validation": "train"},
        {"validation": "dev"}, {"test": "train"}, {"test": "val"}, {"protocol": "labels", "caption": 3},
        {"protocol": "labels", "caption": -1},
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(content, write, options):
    with pytest.raises(DataError) as caught:
        load(write(content), **options)
    assert caught.value.remedy
    assert caught.value.expected


def test_negative_seed_is_refused(content, write):
    with pytest.raises(InputError, match="seed"):
        load(write(content), validation=2, seed=-1)


def test_no_training_images_is_refused(content, write):
    content["images"] = content["images"][8:]
    with pytest.raises(DataError, match="'train'"):
        load(write(content))


def test_wrong_folders_say_what_tree_is_expected(content, write, tmp_path):
    for root in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataFileError, match=r"dataset_flickr8k.json.*images/"):
            load(root)
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataFileError, match="no folder of images"):
        load(tmp_path)
    with pytest.raises(DataFileError, match="more than one annotation file"):
        load(write(content))


def test_malformed_json_names_the_key_and_the_image(content, write):
    def refused(change, match):
        broken = json.loads(json.dumps(content))
        change(broken)
        with pytest.raises(DataFileError, match=match):
            load(write(broken))

    refused(lambda c: c.pop("images"), "'images' of the file")
    refused(lambda c: c.update(images={}), "'images' of the file")
    refused(lambda c: c["images"][5].pop("filename"), "'filename' of image 5")
    refused(lambda c: c["images"][5].update(split=3), "'split' of image 5")
    refused(lambda c: c["images"][5].pop("sentences"), "'sentences' of image 5")
    refused(lambda c: c["images"][5].update(sentences=[]), "'sentences' of image 5")
    refused(lambda c: c["images"][5]["sentences"][2].pop("raw"), "'raw' of sentence 2 of image 5")
    refused(lambda c: c["images"].__setitem__(4, "x"), "'filename' of image 4")
    refused(lambda c: c["images"][5].update(labels="dog"), "'labels' of image 5")
    refused(lambda c: c["images"][5].update(labels=["yak"]), "yak")
    refused(lambda c: c["images"][5].update(filename="1.jpg"), "1.jpg more than once")
    refused(lambda c: c.update(classes=[1]), "'classes'")
    for text in ("{", "[1, 2]", '"x"', "\x00"):
        with pytest.raises(DataFileError):
            load(write(text))


def test_filepath_is_part_of_the_path(content, write):
    content["images"][0]["filepath"] = "sub"
    root = write(content)
    assert load(root).train[0].query.image == root / "images" / "sub" / "0.jpg"


def test_another_size_than_the_official_one_is_refused_unless_it_is_asked_for(content, write):
    root = write(content)
    with pytest.raises(DataError, match=r"6,000 train images, 1,000 val images, 1,000 test images.*8, 3, 4.*partial"):
        flickr.load(root)
    with pytest.raises(DataError, match=r"6,000 train images, 1,000 val images, got 8, 3\."):
        flickr.load(root, validation=2, test="val")  # its test split is not used
    assert load(root).name == "flickr8k (karpathy, partial)"
    content["dataset"] = "holidays"
    assert flickr.load(write(content)).name == "holidays (karpathy)"


def test_a_half_downloaded_json_says_where_to_get_it(content, write):
    root = write(json.dumps(content)[: len(json.dumps(content)) // 2])
    with pytest.raises(DataFileError, match=r"dataset_flickr8k.json.*whole JSON.*bytes.*deepimagesent"):
        load(root)
    checked = check("flickr", root)
    assert len(checked.survey.damaged) == 1
    assert not checked.good


def test_survey_counts_and_finds_absent_images_and_images_in_two_splits(content, write):
    content["dataset"] = "flickr30k"
    root = write(content, "dataset_flickr30k.json", "flickr30k-images")
    for number in range(1, 14):
        Image.new("RGB", (4, 4)).save(root / "flickr30k-images" / f"{number}.jpg")
    checked = check("flickr", root)
    assert checked.problems() == [
        "count: train images: 8, officially 29,000",
        "count: val images: 3, officially 1,014",
        "count: test images: 4, officially 1,000",
        "count: captions: 45, officially 155,070",
        "images: 1 missing or unreadable, first 14.jpg: no such file",
    ]
    assert {split: len(names) for split, names in checked.survey.splits.items()} == {"train": 8, "val": 3, "test": 4}
    assert checked.overlaps == ()


def test_survey_of_incomplete_folders(content, write, tmp_path):
    survey = flickr.survey(tmp_path)
    assert [line.split(": ")[1] for line in survey.missing] == ["captions and splits", "the images"]
    write(content)
    (tmp_path / "dataset.json").write_text("{}")
    survey = flickr.survey(tmp_path)
    assert survey.damaged == ("one of these is too many: dataset.json, dataset_flickr8k.json",)
    assert survey.present == ("images",)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs Flickr8k beside the checkout, ../shared/data/flickr8k")
def test_the_real_flickr8k():
    data = flickr.load(REAL, protocol="labels", validation=500, test="val")
    assert (len(data.train), len(data.validation[0].queries), len(data.validation[0].gallery)) == (27500, 500, 5500)
    assert (len(data.test[1].queries), len(data.test[1].gallery), len(data.classes)) == (1000, 6000, 24)
    assert all(Path(pair.query.image).is_file() for pair in data.train[::500])
    assert abs(np.mean([pair.labels.sum() for pair in data.train]) - 2.2) < 0.1
    recall = flickr.load(REAL, validation=500, test="val")
    assert (len(recall.test[0].gallery), len(recall.validation[1].queries)) == (5000, 2500)
    assert (recall.test[0].relevance.totals() == 5).all()
    assert (recall.test[1].relevance.totals() == 1).all()
    counts = {count.what: (count.found, count.official) for count in flickr.survey(REAL).counts}
    assert counts["train images"] == (6000, 6000)
    assert counts["val images"] == (1000, 1000)
    assert counts["test images"] == (0, 1000)  # is not there
    assert counts["captions"] == (35000, 40000)
