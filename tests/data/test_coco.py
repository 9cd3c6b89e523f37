"""coco.load of Karpathy's json and of the official files: who is asked, in whose order, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from trees.coco import (
    LAYOUTS,
    make_karpathy,
    make_official,
    multi_hot,
    sentences,
    things,
    write_annotations,
)

from hashret.codes import Codes
from hashret.data import check, coco, coco_annotations
from hashret.data.coco_annotations import CATEGORY_IDS, CLASSES
from hashret.data.coco_pictures import parse_name
from hashret.errors import DataError, DataFileError
from hashret.evaluation import evaluate_folds, means_over

TRAIN, VAL, TEST = range(100, 70, -3), range(70, 58, -3), range(58, 40, -3)  # as make_karpathy numbers them


def load(root, protocol, **options):
    return coco.load(root, protocol=protocol, **{"partial": True, **options})


def number_of(example):
    """Image id, told from the key alone."""
    number, _ = parse_name(example.key.partition("#")[0])
    return number


def rewrite(path, change):
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def judged(task):
    return task.relevance.matrix(np.arange(len(task.queries))).tolist()


def codes_of(signs):
    return Codes(np.packbits(signs > 0, axis=1), signs.shape[1])


class TestKarpathy:
    @pytest.fixture
    def root(self, tmp_path):
        make_karpathy(tmp_path)
        return tmp_path

    def test_restval_is_trained_on_with_all_captions(self, root):
        data = load(root, "karpathy")
        expected = [(number, text) for number in TRAIN for text in sentences(number)]
        assert [(number_of(pair.query), pair.target.text) for pair in data.train] == expected
        for pair in data.train:
            assert pair.labels.tolist() == multi_hot(number_of(pair.query))
            assert pair.query.image.is_file()
            assert pair.query.image.name == pair.query.key
        assert data.train[0].target.key == f"{data.train[0].query.key}#0"
        assert data.name == "MS-COCO (karpathy, partial)"

    def test_the_first_five_captions_are_asked_beside_each_other(self, root):
        data = load(root, "karpathy")
        assert any(len(sentences(number)) == 6 for number in TEST)
        for split, numbers in ((data.validation, VAL), (data.test, TEST)):
            i2t, t2i = split
            assert [number_of(query) for query in i2t.queries] == list(numbers)
            assert [g.text for g in i2t.gallery] == [text for n in numbers for text in sentences(n)[:5]]
            assert [q.key for q in t2i.queries] == [g.key for g in i2t.gallery]
            for task in split:
                naive = [[number_of(q) == number_of(g) for g in task.gallery] for q in task.queries]
                assert judged(task) == naive

    def test_1k_is_the_mean_over_folds_of_the_images_in_order(self, root):
        i2t, _ = load(root, "karpathy").test
        images = np.random.default_rng(0).choice([-1, 1], (len(i2t.queries), 16)).astype(np.int8)
        texts = np.random.default_rng(1).choice([-1, 1], (len(i2t.gallery), 16)).astype(np.int8)
        per_fold = 2  # as 1,000 of 5,000
        of_image = np.arange(len(images)) // per_fold
        folds = evaluate_folds(
            (codes_of(images), codes_of(texts)),
            i2t.relevance, of_image, np.repeat(of_image, 5), ["hit@1", "map"],
        )  # fmt: skip
        assert list(folds) == [0, 1, 2]
        naive = []
        for fold in range(3):
            rows, ids = np.flatnonzero(of_image == fold), np.flatnonzero(np.repeat(of_image, 5) == fold)
            assert (i2t.relevance.restrict(rows, ids).totals() == 5).all()
            distances = (16 - images[rows].astype(int) @ texts[ids].astype(int).T) // 2
            right = i2t.relevance.restrict(rows, ids).matrix(np.arange(len(rows)))
            nearest = distances == distances.min(1, keepdims=True)
            naive.append(((right & nearest).sum(1) / nearest.sum(1)).mean())
        assert means_over(folds)["hit@1"] == pytest.approx(np.mean(naive))

    @pytest.mark.parametrize(("captions", "each"), [("all", None), ("five", 5), ("first", 1)])
    def test_captions_of_training_pairs(self, root, captions, each):
        data = load(root, "karpathy", captions=captions)
        expected = [text for number in TRAIN for text in sentences(number)[:each]]
        assert [pair.target.text for pair in data.train] == expected
        assert len(data.test[0].gallery) == 5 * len(TEST)

    def test_without_instances_or_without_asking_there_are_no_labels(self, root):
        data = load(root, "karpathy", labels=False)
        assert (data.classes, data.train[0].labels) == ((), None)
        (root / "annotations" / "instances_val2014.json").unlink()
        assert load(root, "karpathy").classes == ()
        assert any("categories" in line for line in check("coco", root).survey.missing)

    def test_instances_of_2017_serve_as_well(self, root):
        for split in ("train", "val"):
            (root / "annotations" / f"instances_{split}2014.json").rename(
                root / "annotations" / f"instances_{split}2017.json"
            )
        data = load(root, "karpathy")
        assert data.train[0].labels.tolist() == multi_hot(number_of(data.train[0].query))
        assert "categories are those of instances 2017" in data.notes

    def test_pictures_of_2017_stand_in(self, root):
        for split, other in (("train2014", "val2017"), ("val2014", "train2017")):
            (root / "images" / other).mkdir(parents=True)
            for picture in (root / split).iterdir():
                picture.rename(root / "images" / other / f"{parse_name(picture.name)[0]:012d}.jpg")
            (root / split).rmdir()
        for pair in load(root, "karpathy").train:
            assert pair.query.image.is_file()
            assert parse_name(str(pair.query.image))[0] == number_of(pair.query)

    def test_pictures_may_lie_together(self, root):
        (root / "images").mkdir()
        for split in ("train2014", "val2014"):
            for picture in (root / split).iterdir():
                picture.rename(root / "images" / picture.name)
            (root / split).rmdir()
        data = load(root, "karpathy")
        assert all(q.image == root / "images" / q.key and q.image.is_file() for q in data.test[0].queries)
        shutil.rmtree(root / "images")
        with pytest.raises(DataFileError, match="pictures in train2014/"):
            load(root, "karpathy")
        assert any("the pictures" in line for line in check("coco", root).survey.missing)

    def test_an_absent_picture_keeps_its_path_and_is_counted(self, root):
        gone = load(root, "karpathy").test[0].queries[2].image
        gone.unlink()
        assert load(root, "karpathy").test[0].queries[2].image == gone
        assert check("coco", root).unreadable == {gone.name: "no such file"}

    def test_another_size_is_refused_unless_it_is_asked_for(self, root, monkeypatch):
        with pytest.raises(DataError, match=r"113,287 train images, 5,000 val.*got 10, 4, 6.*partial=true"):
            load(root, "karpathy", partial=False)
        monkeypatch.setattr(coco, "SIZES", {"train": 10, "val": 4, "test": 6})
        assert load(root, "karpathy", partial=False).name == "MS-COCO (karpathy)"

    def test_texts_are_sentences(self, root):
        with pytest.raises(DataError, match="texts.*sentences"):
            load(root, "karpathy", texts="bag")

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda c: c["images"][3].update(sentences=[]), "'sentences' of image 3.*at least one"),
            (lambda c: c["images"][3].update(split="extra"), "image 3.*restval.*'extra'"),
            (lambda c: c["images"][3].update(filename="dog.jpg"), "image 3.*MS-COCO.*dog.jpg"),
            (lambda c: c["images"][3].pop("split"), "'split' of image 3"),
            (lambda c: c["images"].append(c["images"][0]), "more than once"),
            (lambda c: c["images"][3].update(filename="COCO_train2014_000000000001.jpg"), "1 that they do not list"),
            (lambda c: [image.update(split="train") for image in c["images"]], "got 20, 0, 0"),
        ],
    )
    def test_a_json_that_was_changed_is_refused(self, root, change, match):
        rewrite(root / "dataset_coco.json", lambda content: change(content) and None)
        with pytest.raises(DataError, match=match):
            load(root, "karpathy")

    def test_a_half_downloaded_json_says_where_to_get_it(self, root):
        path = root / "dataset_coco.json"
        path.write_text(path.read_text()[:900])
        with pytest.raises(DataFileError, match=r"dataset_coco.json.*whole JSON.*900 bytes.*cocodataset.org"):
            load(root, "karpathy")
        assert len(check("coco", root).survey.damaged) == 1

    def test_survey_counts(self, root):
        counts = {count.what: (count.found, count.official) for count in check("coco", root).survey.counts}
        captions = sum(len(sentences(number)) for number in (*TRAIN, *VAL, *TEST))
        assert counts["train images"] == (10, 113_287)
        assert counts["test images"] == (6, 5_000)
        assert counts["captions"] == (captions, 616_767)
        assert counts["val2014 images in instances"] == (14, 40_504)

    def test_official_captions_beside_the_json_divide_nothing_again(self, root):
        for split, numbers in (("train2014", range(100, 82, -3)), ("val2014", range(82, 40, -3))):
            write_annotations(root, split, list(numbers), ("captions",))
        checked = check("coco", root)
        assert [line for line in checked.problems() if not line.startswith("count: ")] == []
        assert set(checked.survey.splits) == {"train", "val", "test"}
        (root / "dataset_coco.json").unlink()
        assert set(check("coco", root).survey.splits) == {"train2014", "val2014"}


class TestOfficialFiles:
    @pytest.fixture
    def root(self, tmp_path):
        make_official(tmp_path)
        return tmp_path

    ORDER = [n for n in (*range(9, 45), *range(1, 9)) if things(n)]

    def test_dchmt_draws_from_the_images_with_a_box_in_the_order_of_ids(self, root):
        data = load(root, "dchmt")
        order = np.array(self.ORDER)[np.random.RandomState(1814).permutation(len(self.ORDER))].tolist()
        i2t, t2i = data.test
        queries, trained = len(i2t.queries), [number_of(pair.query) for pair in data.train]
        assert [number_of(query) for query in i2t.queries] == order[:queries]
        assert list(dict.fromkeys(trained)) == order[queries : queries + len(set(trained))]
        assert sorted(map(number_of, t2i.gallery)) == sorted(order[queries:])
        held = {number_of(query) for query in data.validation[0].queries}
        assert not held & set(trained)
        assert held <= set(order[queries:])
        naive = [
            [bool(set(things(number_of(q))) & set(things(number_of(g)))) for g in i2t.gallery] for q in i2t.queries
        ]
        assert judged(i2t) == naive
        assert [pair.target.text for pair in data.train] == [t for n in dict.fromkeys(trained) for t in sentences(n)]
        assert "5 images without a box left out" in data.notes
        assert i2t.queries[0].image.is_file()

    def test_one_fixed_caption_is_asked_and_searched(self, root):
        data = load(root, "dchmt", caption=3)
        for example in (*data.test[0].gallery, *data.test[1].queries, *data.validation[0].gallery):
            assert example.text == sentences(number_of(example))[3]
            assert example.key.endswith("#3")
        for caption in (5, -1):
            with pytest.raises(DataError, match="0 ... 4"):
                load(root, "dchmt", caption=caption)
        with pytest.raises(DataError, match="0 ... 0"):
            load(root, "dchmt", captions="first", caption=1)

    def test_mith_has_one_caption_an_image_in_another_order(self, root):
        data = load(root, "mith", caption=2)
        order = np.array(self.ORDER)[np.random.RandomState(1).permutation(len(self.ORDER))].tolist()
        queries = [number_of(query) for query in data.test[0].queries]
        assert queries == order[: len(queries)]
        assert [pair.target.text for pair in data.train] == [sentences(number_of(p.query))[2] for p in data.train]
        assert len({number_of(pair.query) for pair in data.train}) == len(data.train)
        assert any("not in that of the authors" in note for note in data.notes)
        assert any(note.startswith("caption 2 of each image is its only text") for note in data.notes)

    def test_crcgs_trains_on_the_first_of_the_order(self, root):
        data = load(root, "crcgs", captions="first")
        order = np.array(self.ORDER)[np.random.RandomState(0).permutation(len(self.ORDER))].tolist()
        trained, asked = len(data.train), len(data.test[0].queries)
        assert [number_of(pair.query) for pair in data.train] == order[:trained]
        assert [number_of(query) for query in data.test[0].queries] == order[trained : trained + asked]
        chosen = data.validation[0].queries
        assert [number_of(q) for q in chosen] == order[trained + asked : trained + asked + len(chosen)]
        assert len(data.test[0].gallery) == len(order) - asked

    def test_pictures_of_2014_stand_in(self, root):
        for split in ("train2017", "val2017"):
            for number, picture in enumerate(sorted((root / split).iterdir())):
                year = f"{'val' if number % 2 else 'train'}2014"
                (root / year).mkdir(exist_ok=True)
                picture.rename(root / year / f"COCO_{year}_{picture.name}")
            (root / split).rmdir()
        for query in load(root, "dchmt").test[0].queries:
            assert query.image.is_file()
            assert parse_name(str(query.image))[0] == number_of(query)

    def test_counts_must_be_official_unless_partial(self, root, monkeypatch):
        with pytest.raises(DataError, match=r"train2017: expected 118,287 images and 591,753 captions, got 36 and"):
            load(root, "dchmt", partial=False)
        for split, numbers in (("train2017", range(9, 45)), ("val2017", range(1, 9))):
            monkeypatch.setitem(coco_annotations.IMAGES, split, len(numbers))
            monkeypatch.setitem(coco_annotations.CAPTIONS, split, sum(len(sentences(n)) for n in numbers))
        with pytest.raises(DataError, match="expected 122,218 usable items, got 39"):
            load(root, "dchmt", partial=False)

    def test_an_image_without_a_caption_is_a_contradiction_or_is_left_out(self, root, monkeypatch):
        path = root / "annotations" / "captions_train2017.json"
        rewrite(path, lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] != 12]))
        data = load(root, "dchmt")
        assert "1 images without a caption left out" in data.notes
        assert 12 not in {number_of(g) for g in (*data.test[0].gallery, *data.test[0].queries)}
        monkeypatch.setitem(coco_annotations.IMAGES, "train2017", 36)
        monkeypatch.setitem(
            coco_annotations.CAPTIONS, "train2017", sum(len(sentences(n)) for n in range(9, 45) if n != 12)
        )
        with pytest.raises(DataError, match=r"1 images without a caption, first 000000000012\.jpg"):
            load(root, "dchmt", partial=False)
        assert any("1 images without one, first 000000000012" in line for line in check("coco", root).problems())

    def test_captions_and_instances_of_other_images_are_refused(self, root, monkeypatch):
        rewrite(
            root / "annotations" / "instances_val2017.json", lambda c: c["images"].append({"id": 70, "file_name": ""})
        )
        assert len(load(root, "dchmt").train) > 0
        for split, numbers in (("train2017", range(9, 45)), ("val2017", range(1, 9))):
            monkeypatch.setitem(coco_annotations.IMAGES, split, len(numbers))
            monkeypatch.setitem(coco_annotations.CAPTIONS, split, sum(len(sentences(n)) for n in numbers))
        with pytest.raises(DataError, match=r"val2017.*1 in one of them, first id 70"):
            load(root, "dchmt", partial=False)

    @pytest.mark.parametrize("name", [f"{k}_{s}2017.json" for k in ("captions", "instances") for s in ("train", "val")])
    def test_a_missing_or_half_downloaded_file_says_where_to_get_it(self, root, name):
        path = root / "annotations" / name
        whole = path.read_text()
        path.write_text(whole[: len(whole) // 2])
        with pytest.raises(DataFileError, match=rf"{name}.*whole JSON.*cocodataset.org"):
            load(root, "dchmt")
        assert any(name in line for line in check("coco", root).survey.damaged)
        path.unlink()
        with pytest.raises(DataFileError, match=rf"{name}.*cocodataset.org"):
            load(root, "dchmt")
        assert any(name in line for line in check("coco", root).survey.missing)

    @pytest.mark.parametrize(
        ("kind", "change", "match"),
        [
            (
                "captions",
                lambda c: [a.update(image_id=999) for a in c["annotations"][3:7]],
                "4 of other image ids.* 999",
            ),
            ("instances", lambda c: c["annotations"][3].update(image_id=998), "1 of other image ids.* 998"),
            ("instances", lambda c: c["annotations"][3].update(category_id=12), "1 of other category ids.* 12"),
            ("instances", lambda c: c["categories"].pop(), "80 categories of MS-COCO, got fewer"),
            ("instances", lambda c: c["categories"][0].update(name="human"), r"80 categories.*\(1, 'human'\)"),
            ("instances", lambda c: c["annotations"][3].pop("category_id"), "'category_id' of annotation 3"),
            ("captions", lambda c: c["annotations"][3].update(caption=7), "'caption' of annotation 3.*a string"),
            ("captions", lambda c: c["images"][3].pop("id"), "'id' of image 3.*an integer"),
            ("captions", lambda c: c["images"].append(c["images"][0]), "every image once"),
            ("captions", lambda c: c.pop("images"), "'images' of the file"),
            ("captions", lambda c: c.update(annotations={}), "'annotations' of the file.*a list"),
        ],
    )
    def test_a_file_that_was_changed_is_refused(self, root, kind, change, match):
        rewrite(root / "annotations" / f"{kind}_train2017.json", lambda content: change(content) and None)
        with pytest.raises(DataError, match=match):
            load(root, "dchmt")
        assert any(f"{kind}_train2017.json" in line for line in check("coco", root).survey.damaged)

    def test_no_annotations_at_all_tell_what_serves(self, root):
        shutil.rmtree(root / "annotations")
        for protocol, name in (("dchmt", "index.mat"), ("crcgs", "feature.npy"), ("ucch", "h5py")):
            with pytest.raises(DataFileError, match=rf"{name}"):
                load(root, protocol)

    def test_survey_counts(self, root):
        counts = {count.what: (count.found, count.official) for count in check("coco", root).survey.counts}
        assert counts["train2017 images"] == counts["train2017 images in instances"] == (36, 118_287)
        assert counts["val2017 captions"] == (sum(len(sentences(n)) for n in range(1, 9)), 25_014)


def test_sizes_are_those_of_the_papers():
    sizes = {protocol.name: protocol.sizes for protocol in coco.CARD.protocols}
    assert (
        sum(sizes["karpathy"].values()) == 123_287 == sum(coco_annotations.IMAGES[f"{s}2014"] for s in ("train", "val"))
    )
    assert coco_annotations.IMAGES["train2017"] + coco_annotations.IMAGES["val2017"] == 123_287
    assert len(CLASSES) == len(set(CLASSES)) == len(CATEGORY_IDS) == 80
    assert (CATEGORY_IDS[0], CATEGORY_IDS[-1], CLASSES[0], CLASSES[-1]) == (1, 90, "person", "toothbrush")
    for name in ("dchmt", "mith", "ucch", "crcgs"):
        assert (sizes[name]["items"], sizes[name]["queries"], sizes[name]["database"]) == (122_218, 5_000, 117_218)
    assert sizes["crcgs"]["validation queries"] == 5_000
    assert sizes["mith"]["training"] == sizes["dchmt"]["training"] == sizes["crcgs"]["training"] == 10_000


def test_an_empty_folder_tells_every_family(tmp_path):
    missing = "\n".join(check("coco", tmp_path).survey.missing)
    for protocol in ("karpathy", "dchmt", "mith", "ucch", "crcgs"):
        assert protocol in missing
    assert set(LAYOUTS) == {"karpathy", "regions", "official", "cells", "features", "arrays"}
