"""Flickr and MS-COCO with regions for images: whose files they are, where sizes come from, what lost ones become."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from trees import coco as coco_tree
from trees import flickr as flickr_tree
from trees.regions import FOLDER, REGIONS, WIDTH, save_regions

from hashret.data import DATASETS, check
from hashret.data.quarantine import quarantine
from hashret.errors import DataError, DataFileError
from hashret.regions import PLACE, read_regions

MAKE = {"flickr": flickr_tree.make_regions, "coco": coco_tree.make_regions}
JSON = {"flickr": "dataset_flickr8k.json", "coco": "dataset_coco.json"}
PICTURES = {"flickr": ["images"], "coco": ["train2014", "val2014"]}


@pytest.fixture(params=MAKE)
def tree(request, tmp_path) -> tuple[str, Path]:
    MAKE[request.param](tmp_path)
    return request.param, tmp_path


def load(tree, **options):
    name, root = tree
    return DATASETS[name].load(root, **{"partial": True, "regions": FOLDER, **options})


def change(tree, edit) -> None:
    name, root = tree
    content = json.loads((root / JSON[name]).read_text())
    for place, photo in enumerate(content["images"]):
        edit(place, photo)
    (root / JSON[name]).write_text(json.dumps(content))


def without_pictures(tree) -> None:
    for folder in PICTURES[tree[0]]:
        shutil.rmtree(tree[1] / folder)


def images_of(data):
    """Every example with an image, once a key."""
    pairs = [pair.query for pair in data.train]
    asked = [example for tasks in (data.validation, data.test) for example in tasks[0].queries]
    return {example.key: example.image for example in [*pairs, *asked]}


def numbers(tree) -> dict[str, int]:
    """File name -> the number of its regions: the place in the json, or MS-COCO's image id."""
    name, root = tree
    photos = json.loads((root / JSON[name]).read_text())["images"]
    return {photo["filename"]: photo.get("cocoid", place) for place, photo in enumerate(photos)}


def test_every_image_is_the_files_of_its_number(tree):
    plain, data = load(tree, regions=""), load(tree)
    images, wanted = images_of(data), numbers(tree)
    assert set(images) == set(wanted) == set(images_of(plain))
    for key, source in images.items():
        assert source.features == tree[1] / FOLDER / "bu_att" / f"{wanted[key]}.npz"
        assert source.boxes == tree[1] / FOLDER / "bu_box" / f"{wanted[key]}.npy"
        assert source.image == images_of(plain)[key]
        assert read_regions(source).shape == (REGIONS, WIDTH + PLACE)
    assert [p.target.text for p in data.train] == [p.target.text for p in plain.train]
    assert [t.name for t in data.test] == ["i2t", "t2i"]
    assert data.test[1].gallery == data.test[0].queries
    assert f"images: regions in files of {FOLDER}/, with boxes and area" in data.notes
    assert not any("regions" in note for note in plain.notes)


def test_sizes_of_the_json_count_before_those_of_the_pictures(tree):
    before = images_of(load(tree))
    change(tree, lambda place, photo: photo.update(width=16, height=32))
    after = images_of(load(tree))
    for key, source in after.items():
        assert source.size == (16, 32)
        halves = read_regions(before[key])[:, WIDTH:] * [1 / 2, 1 / 4, 1 / 2, 1 / 4, 1 / 8]  # pictures are 8 x 8
        np.testing.assert_allclose(read_regions(source)[:, WIDTH:], halves, rtol=1e-6)


def test_pictures_are_needed_for_sizes_alone(tree):
    without_pictures(tree)
    with pytest.raises(DataFileError):
        load(tree)
    change(tree, lambda place, photo: photo.update(width=8, height=8))
    assert all(source.image is None for source in images_of(load(tree)).values())
    assert quarantine(load(tree))[1] == []
    assert [line for line in check(*tree).problems() if FOLDER in line or "regions" in line] == []


def test_without_boxes_neither_sizes_nor_pictures_are_needed(tree):
    without_pictures(tree)
    shutil.rmtree(tree[1] / FOLDER / "bu_box")
    data = load(tree)
    assert {read_regions(source).shape for source in images_of(data).values()} == {(REGIONS, WIDTH)}
    assert f"images: regions in files of {FOLDER}/, without boxes: there is no bu_box/" in data.notes


@pytest.mark.parametrize(("width", "message"), [("8", "an integer"), (None, "an integer"), (0, "at least 1 pixel")])
def test_a_size_that_is_none_is_refused(tree, width, message):
    change(tree, lambda place, photo: photo.update(width=width, height=8) if place == 3 else None)
    with pytest.raises(DataFileError, match=f"of image 3: expected .*{message}"):
        load(tree)


def test_a_folder_that_is_none_is_refused(tree):
    for folder in ("features_100", f"{FOLDER}/bu_att"):
        with pytest.raises(DataFileError, match=r"bu_att: expected regions: bu_att/NUMBER\.npz.*got nothing"):
            load(tree, regions=folder)


def test_regions_lie_anywhere(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(tree[1] / FOLDER, elsewhere / "regions")
    assert quarantine(load(tree, regions=str(elsewhere / "regions")))[1] == []


def test_lost_and_damaged_regions_are_left_out_and_counted(tree):
    wanted = numbers(tree)
    data = load(tree)
    first, second = (list(dict.fromkeys(pair.query.key for pair in data.train))[i] for i in (0, 2))
    asked = data.test[0].queries[1].key
    (tree[1] / FOLDER / "bu_att" / f"{wanted[first]}.npz").unlink()
    save_regions(tree[1] / FOLDER, wanted[second], (800, 800))  # of another image: its boxes lie outside
    path = tree[1] / FOLDER / "bu_box" / f"{wanted[asked]}.npy"
    path.write_bytes(path.read_bytes()[:100])
    rest, rejected = quarantine(data)
    assert {item.key: item.reason for item in rejected if "#" not in item.key} == {
        first: "no such file", second: "a box outside of its image", asked: "a truncated or damaged file"
    }  # fmt: skip
    assert {item.where for item in rejected if item.key == asked} == {"test/i2t/queries", "test/t2i/gallery"}
    assert set(wanted) - set(images_of(rest)) == {first, second, asked}
    lost = sum(pair.query.key in (first, second) for pair in data.train)
    assert any(note.startswith(f"quarantine: {lost} training pairs left out") for note in rest.notes)
    with pytest.raises(DataError, match="at most 5.00% of its images to be unusable"):
        quarantine(data, most=0.05)


def test_a_check_reads_them_too(tree):
    wanted = numbers(tree)
    checked = check(*tree)
    assert f"{FOLDER}/" in checked.survey.present
    assert {f"{key}, regions" for key in wanted} <= set(checked.survey.images)
    assert not checked.unreadable
    key, number = list(wanted.items())[2]
    (tree[1] / FOLDER / "bu_box" / f"{number}.npy").unlink()
    assert check(*tree).unreadable == {f"{key}, regions": "no such file"}
    shutil.rmtree(tree[1] / FOLDER / "bu_att")
    assert any("bu_att" in line for line in check(*tree).problems() if line.startswith("damaged: "))
    shutil.rmtree(tree[1] / FOLDER)
    assert set(check(*tree).survey.images) == set(wanted)


def test_hashing_protocols_of_coco_have_no_regions(tmp_path):
    coco_tree.make_official(tmp_path)
    with pytest.raises(DataError, match="regions: expected protocol karpathy, which alone reads them, got mith"):
        DATASETS["coco"].load(tmp_path, protocol="mith", partial=True, regions=FOLDER)
