"""check_copy: what is missing, miscounted, shared by two splits or unreadable is said, and only that."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from trees import save_photo

from hashret.data import check, dataset_named
from hashret.data.card import Card, Protocol
from hashret.data.check import check_copy
from hashret.data.survey import Count, Survey
from hashret.errors import FileError, InputError

CARD = Card("toy", "Toy", "what", "none", "nowhere.", "ROOT/a.jpg", (Protocol("one", "what", "here"),))


def checked(root, **parts):
    return check_copy(CARD, lambda _: Survey(**parts), root)


def test_nothing_wrong_is_good(tmp_path):
    save_photo(tmp_path / "a.jpg", 0)
    found = checked(
        tmp_path,
        present=("a.jpg",),
        counts=(Count("images", 1, 1), Count("texts", 9)),
        images={"a": tmp_path / "a.jpg", "row": np.ones(3, np.float32), "pixels": np.zeros((4, 4, 3), np.uint8)},
        splits={"train": ["a"], "test": ["b"]},
    )
    assert found.good
    assert found.problems() == []
    assert found.decoded == 3


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"missing": ("b.json: captions",)}, "missing: b.json: captions"),
        ({"damaged": ("b.json: cut short",)}, "damaged: b.json: cut short"),
        ({"counts": (Count("images", 1999, 2000),)}, "count: images: 1,999, officially 2,000"),
        (
            {"splits": {"train": ["a", "b"], "val": ["c"], "test": ["b"]}},
            "overlap: 1 images in both train and test: b",
        ),
        ({"images": {"x": "x.jpg"}}, "images: 1 missing or unreadable, first x: no such file"),
        ({"images": {"x": np.array([np.nan])}}, "images: 1 missing or unreadable, first x: NaN or infinity in its"),
    ],
)
def test_one_thing_wrong_is_told_alone(tmp_path, parts, line):
    found = checked(tmp_path, **parts)
    assert not found.good
    told = found.problems()
    assert len(told) == 1
    assert told[0].startswith(line)
    assert json.loads(json.dumps(found.to_dict()))["good"] is False


def test_unreadable_images_are_told_by_reason_and_written(tmp_path):
    for number in range(600):  # more than are decoded ahead
        save_photo(tmp_path / f"{number}.jpg", number % 7)
    (tmp_path / "300.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:200])
    (tmp_path / "500.jpg").write_bytes(b"")
    told = []
    images = {str(number): tmp_path / f"{number}.jpg" for number in range(601)}
    found = check_copy(CARD, lambda _: Survey(images=images), tmp_path, progress=lambda *at: told.append(at))
    assert found.unreadable == {"300": "a truncated image", "500": "an empty file", "600": "no such file"}
    assert told[-1] == (601, 601)
    found.write_unreadable(tmp_path / "bad.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert lines[0] == {"image": "300", "reason": "a truncated image"}
    assert len(lines) == 3


def test_an_image_that_cannot_be_looked_up_is_unreadable_and_nothing_is_looked_up_by_threads(tmp_path):
    class Rows(Mapping):
        def __iter__(self):
            return iter(("good", "bad"))

        def __len__(self):
            return 2

        def __getitem__(self, name):
            assert threading.current_thread() is threading.main_thread()
            if name == "bad":
                raise CARD.damaged("rows.mat", "pixels in uint8", "float64")
            return np.zeros((4, 4, 3), np.uint8)

    found = checked(tmp_path, images=Rows())
    assert found.unreadable.keys() == {"bad"}
    assert "rows.mat: expected pixels in uint8" in found.unreadable["bad"]
    assert found.decoded == 2


def test_images_are_not_decoded_where_that_is_not_asked(tmp_path):
    found = check_copy(CARD, lambda _: Survey(images={"x": "x.jpg"}), tmp_path, images=False)
    assert (found.decoded, found.good) == (0, True)


def test_a_root_that_is_no_folder_shows_the_tree(tmp_path):
    with pytest.raises(FileError, match=r"ROOT/a\.jpg"):
        check_copy(CARD, lambda _: Survey(), tmp_path / "none")


def test_an_unknown_name_lists_those_that_are_known():
    with pytest.raises(InputError, match="shapes"):
        dataset_named("mnist")
    with pytest.raises(InputError, match="shapes"):
        check("mnist", Path())
    with pytest.raises(InputError, match="one of one"):
        CARD.protocol("two")


def test_errors_of_files_say_where_to_get_them():
    assert "nowhere." in str(CARD.missing("a.json", "captions"))
    assert "nowhere." in str(CARD.damaged("a.json", "JSON", "half of it"))
