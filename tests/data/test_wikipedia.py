"""wikipedia.load on small trees in the official layout, and on the released files where they are there."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trees.wikipedia
from scipy.io import loadmat, savemat
from trees.wikipedia import CLASSES, make, make_whole, rows

from hashret.data import check, wikipedia
from hashret.data.alignment import association, check_alignment
from hashret.errors import DataError, DataFileError, InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"
LISTS = ("trainset_txt_img_cat.list", "testset_txt_img_cat.list")


@pytest.fixture
def root(tmp_path):
    make(tmp_path)
    return tmp_path


@pytest.fixture
def whole(tmp_path):
    make_whole(tmp_path)
    return tmp_path


def load(root, **options):
    return wikipedia.load(root, **{"partial": True, "validation": 8, **options})


def edit(path, change):
    path.write_text("".join(line + "\n" for line in change(path.read_text().splitlines())))


def class_of(example):
    """The class of an item, told from its key alone."""
    split = "train" if example.key.startswith("train") else "test"
    return dict((image, label) for _, image, label in rows(split))[example.key.removesuffix("#0")]


def test_test_items_are_asked_of_all_training_items(root):
    data = load(root)
    matrices = loadmat(root / "raw_features.mat")
    for task, query, item, stored in zip(data.test, "IT", "TI", ("image", "text"), strict=True):
        assert [q.key.removesuffix("#0") for q in task.queries] == [image for _, image, _ in rows("test")]
        assert [g.key.removesuffix("#0") for g in task.gallery] == [image for _, image, _ in rows("train")]
        other = "text" if stored == "image" else "image"
        for examples, side, name in ((task.queries, stored, f"{query}_te"), (task.gallery, other, f"{item}_tr")):
            np.testing.assert_array_equal(
                [getattr(example, side) for example in examples], matrices[name].astype(np.float32)
            )
        naive = [[class_of(q) == class_of(g) for g in task.gallery] for q in task.queries]
        assert task.relevance.matrix(np.arange(len(task.queries))).tolist() == naive
    for pair in data.train:
        assert data.classes[int(np.flatnonzero(pair.labels)[0])] == CLASSES[class_of(pair.query) - 1]
        assert pair.labels.sum() == 1
        assert pair.target.key == pair.query.key + "#0"


def test_validation_is_held_out_by_class_and_stays_in_the_database(root):
    data = load(root, validation=8)
    held = [q.key for q in data.validation[0].queries]
    trained = [pair.query.key for pair in data.train]
    assert Counter(class_of(q) for q in data.validation[0].queries) == {1: 2, 2: 2, 3: 2, 4: 2}
    assert sorted(held + trained) == sorted(image for _, image, _ in rows("train"))
    assert [g.key for g in data.validation[1].gallery] == trained
    assert set(held) <= {g.key for g in data.test[1].gallery}
    assert any("8 of the training items, drawn with seed 0" in note for note in data.notes)
    drawn = [[q.key for q in load(root, seed=seed).validation[0].queries] for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1] == held
    assert drawn[2] != held or drawn[3] != held


def test_no_validation_trains_on_everything(root):
    data = load(root, validation=0)
    assert data.validation == ()
    assert len(data.train) == 24


def test_dscmr_asks_the_test_items_of_themselves(root):
    data = load(root, protocol="dscmr")
    for task in data.test:
        assert [g.key.removesuffix("#0") for g in task.gallery] == [q.key.removesuffix("#0") for q in task.queries]
        assert len(task.queries) == 12
        assert (task.relevance.totals() == 3).all()
    assert len(data.validation[0].queries) == len(data.validation[0].gallery) == 8


def test_pictures_and_sections(whole):
    data = load(whole, images="pixels", texts="sentences")
    pair = data.train[0]
    _, image, label = next(row for row in rows("train") if row[1] == pair.query.key)
    assert pair.query.image == whole / "images" / CLASSES[label - 1] / f"{image}.jpg"
    assert pair.target.text == f"A section on {CLASSES[label - 1]} & more, number {image[5:]} of train."
    mixed = load(whole, texts="sentences")
    assert mixed.train[0].query.image.shape == (128,)
    (whole / "raw_features.mat").unlink()
    assert len(load(whole, images="pixels", texts="sentences").train) == 16


def test_xml_that_no_parser_takes_is_cut_and_told(whole):
    texts = sorted((whole / "texts").glob("train*.xml"))
    texts[0].write_text("<article><text>art & craft <b>of</text></article>")
    data = load(whole, images="pixels", texts="sentences")
    assert "art & craft <b>of" in {g.text for g in data.test[0].gallery}
    assert "train: 1 texts were cut out of XML that is not well-formed" in data.notes
    for content, match in (
        ("<article><text>half", "whole <text>"),
        ("<article><text> \n</text></article>", "words in <text>"),
        ("<article>no text</article>", "words in <text>"),
    ):
        texts[0].write_text(content)
        with pytest.raises(DataFileError, match=rf"{texts[0].name}.*{match}"):
            load(whole, texts="sentences")
        assert any(texts[0].name in line for line in check("wikipedia", whole).survey.damaged)
    texts[0].unlink()
    with pytest.raises(DataFileError, match=rf"{texts[0].name}.*crossmodal"):
        load(whole, texts="sentences")
    assert [line for line in check("wikipedia", whole).survey.missing if texts[0].name in line]


def test_folders_that_are_asked_for_must_be_there(root):
    with pytest.raises(DataFileError, match="images=pixels"):
        load(root, images="pixels")
    with pytest.raises(DataFileError, match="texts=sentences"):
        load(root, texts="sentences")


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_another_length_is_refused(root, name):
    edit(root / name, lambda lines: lines[:-1])
    with pytest.raises(DataError, match=rf"{name}.*expected (24|12) lines, as T_t|expected (24|12) lines, as I_t"):
        load(root)
    assert any(name in line for line in check("wikipedia", root).survey.damaged)


def test_wrong_counts_are_refused_unless_partial(root):
    with pytest.raises(DataError, match=r"expected 2,173 lines, got 24.*data.partial=true"):
        load(root, partial=False)
    assert load(root).name == "Wikipedia (rasiwasia, partial)"


@pytest.mark.parametrize(
    "line", ["a\tb", "a\tb\t0", "a\tb\t11", "a\tb\tart", "a b 3", "\tb\t3", "a\t\t3", "a\tb\t3\t4", "", "a\tb\t-1"]
)
def test_a_line_that_is_no_item_is_named(root, line):
    edit(root / LISTS[0], lambda lines: [*lines[:4], line, *lines[5:]])
    with pytest.raises(DataFileError, match=r"trainset.*, line 5: expected text id, image id and a class 1 ... 10"):
        load(root)


def test_contradicting_lists_are_refused(root):
    first = (root / LISTS[0]).read_text().splitlines()[0]
    edit(root / LISTS[1], lambda lines: [first, *lines[1:]])
    with pytest.raises(DataError, match="1 in both, first train0"):
        load(root)
    assert check("wikipedia", root).overlaps == (("train", "test", ("train0",)),)
    edit(root / LISTS[0], lambda lines: [first, first, *lines[2:]])
    with pytest.raises(DataError, match="every image once"):
        load(root)


def test_other_classes_are_refused(root):
    edit(root / "categories.list", sorted)
    assert load(root).classes == tuple(CLASSES)
    edit(root / "categories.list", lambda lines: lines[::-1])
    with pytest.raises(DataFileError, match=r"categories.list.*warfare"):
        load(root)
    (root / "categories.list").unlink()
    assert load(root).classes == tuple(CLASSES)


def test_missing_and_damaged_features_say_where_to_get_them(root):
    whole = (root / "raw_features.mat").read_bytes()
    (root / "raw_features.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFileError, match=r"raw_features.mat.*crossmodal"):
        load(root)
    assert check("wikipedia", root).survey.damaged
    (root / "raw_features.mat").unlink()
    with pytest.raises(DataFileError, match=r"raw_features.mat.*crossmodal"):
        load(root)
    assert check("wikipedia", root).survey.missing == ("raw_features.mat: the released features",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["T_tr", "T_te", "I_tr", "I_te"])
@pytest.mark.parametrize("tree", ["root", "whole"])
def test_features_that_are_no_numbers_are_reported(request, tree, name, value):
    folder = request.getfixturevalue(tree)
    matrices = {key: rows for key, rows in loadmat(folder / "raw_features.mat").items() if key[:2] in ("I_", "T_")}
    matrices[name][[3, 5], 1] = value
    savemat(folder / "raw_features.mat", matrices)
    checked = check("wikipedia", folder)
    split = "train" if name.endswith("tr") else "test"
    if name.startswith("T"):
        (line,) = checked.survey.damaged
        assert f"texts of {split}, got NaN or infinity in 2 rows, first row 3 ({rows(split)[3][0]})" in line
        assert not checked.unreadable
    else:
        ending = " (features)" if tree == "whole" else ""
        assert checked.unreadable.keys() == {f"{split}3{ending}", f"{split}5{ending}"}
        assert not checked.survey.damaged
    assert checked.decoded == (72 if tree == "whole" else 36)


@pytest.mark.parametrize("side", ["I", "T"])
def test_shuffled_features_are_refused(tmp_path, monkeypatch, side):
    monkeypatch.setitem(trees.wikipedia.SIZES, "train", 600)
    make(tmp_path)
    assert len(load(tmp_path).train) == 592
    matrices = {key: rows for key, rows in loadmat(tmp_path / "raw_features.mat").items() if key[:2] in ("I_", "T_")}
    matrices[f"{side}_tr"] = np.random.default_rng(0).permutation(matrices[f"{side}_tr"])
    savemat(tmp_path / "raw_features.mat", matrices)
    what = {"I": "image features", "T": "texts"}[side]
    with pytest.raises(DataError, match=rf"Wikipedia, train, labels.*something of the {what} in.*shuffled rows"):
        load(tmp_path)
    (line,) = check("wikipedia", tmp_path).survey.damaged
    assert f"something of the {what} in" in line


@pytest.mark.parametrize("validation", [-1, 23, 200])
def test_more_than_there_is_cannot_be_held_out(root, validation):
    with pytest.raises(DataError, match="0 ... 22"):
        load(root, validation=validation)


def test_a_negative_seed_is_refused(root):
    with pytest.raises(InputError, match="seed"):
        load(root, seed=-1)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the Wikipedia set beside the checkout, ../shared/data/wikipedia")
class TestTheReleasedFiles:
    def test_counts_and_classes(self):
        data = wikipedia.load(REAL)
        assert data.name == "Wikipedia (rasiwasia)"
        assert (len(data.train), len(data.validation[0].queries)) == (1973, 200)
        assert (len(data.test[0].queries), len(data.test[0].gallery)) == (693, 2173)
        per_class = data.test[0].relevance.gallery_labels.sum(0), data.test[0].relevance.query_labels.sum(0)
        assert per_class[0].tolist() == [138, 272, 244, 248, 202, 178, 186, 144, 214, 347]
        assert per_class[1].tolist() == [34, 88, 96, 85, 65, 58, 51, 41, 71, 104]
        held = data.validation[0].relevance.query_labels.sum(0)
        assert np.abs(held - per_class[0] * 200 / 2173).max() <= 1
        assert data.train[0].query.image.shape == (128,)
        assert data.train[0].target.text.shape == (10,)
        assert "3 test images have exactly the features of a training image" in data.notes
        themselves = wikipedia.load(REAL, protocol="dscmr", validation=0)
        assert (len(themselves.test[1].gallery), len(themselves.train)) == (693, 2173)

    def test_a_copy_is_whole(self):
        checked = check("wikipedia", REAL)
        assert checked.good, checked.problems()
        assert checked.decoded == 2866

    def test_classes_say_much_of_the_texts_of_the_same_rows(self):
        data = wikipedia.load(REAL, validation=0)
        labels = np.stack([pair.labels for pair in data.train])
        texts = [pair.target.text for pair in data.train]
        assert association(labels, np.stack(texts)) > 100
        check_alignment("train", labels, texts)
        with pytest.raises(DataError, match="shuffled"):
            check_alignment("train", labels[np.random.default_rng(0).permutation(len(labels))], texts)

    @pytest.mark.parametrize("name", LISTS)
    def test_a_shuffled_list_is_refused(self, tmp_path, name):
        for file in REAL.iterdir():
            shutil.copyfile(file, tmp_path / file.name)
        order = np.random.default_rng(3)
        edit(tmp_path / name, lambda lines: [lines[row] for row in order.permutation(len(lines))])
        with pytest.raises(DataError, match=r"shuffled rows"):
            wikipedia.load(tmp_path)
        assert any("shuffled rows" in line for line in check("wikipedia", tmp_path).survey.damaged)
