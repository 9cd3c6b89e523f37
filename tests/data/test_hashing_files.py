"""The files of hashing papers, DCMH's matrices, the CLIP family's and CRCGS's: what they hold, or what is wrong."""

import re
import threading

import numpy as np
import pytest
from scipy.io import savemat
from trees.asked import cut, items_of, order_of
from trees.matlab import write_version_73
from trees.mirflickr25k import LAYOUTS, WORDS, draw, matrices, official, pixels

from hashret.data import check, imagerows, mirflickr25k
from hashret.errors import DataError, DataFileError

PROTOCOLS = ("dcmh", "mith", "dchmt", "ucch", "crcgs")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make(tmp_path):
    def make(layout):
        return tmp_path, LAYOUTS[layout].make(tmp_path)

    return make


def load(root, **options):
    return mirflickr25k.load(root, **{"partial": True, **options})


def test_the_pixels_of_the_matrices_are_matlabs(make):
    root, _ = make("matrices")
    drawn, seen = draw(), pixels(40)
    for data in (load(root), load(root, images="pixels")):
        found = items_of(data)
        assert set(found) == {f"im{number}.jpg" for number in range(1, 41)}
        for row in range(40):
            labels, text, image = found[f"im{row + 1}.jpg"]
            assert labels.tolist() == drawn.labels[row].tolist()
            assert text.tolist() == drawn.bags[row].tolist()
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(image, seen[..., row])
        assert any("pixels from mirflickr25k-iall.mat" in note for note in data.notes)
    queries, database = order_of(load(root))
    assert [*queries, *database] == [f"im{number}.jpg" for number in range(1, 41)]


@pytest.mark.parametrize("form", ["version 5", "plain HDF5", "numpy order"])
def test_pixels_in_other_orders(make, form):
    root, _ = make("matrices")
    seen = pixels(40)
    path = root / "mirflickr25k-iall.mat"
    if form == "version 5":
        savemat(path, {"IAll": seen})
    elif form == "plain HDF5":
        write_version_73(path, {"IAll": seen}, compressed=False, marked=False)
    else:
        write_version_73(path, {"IAll": seen.transpose(2, 1, 0, 3)})
    found = items_of(load(root))
    for row in range(40):
        np.testing.assert_array_equal(found[f"im{row + 1}.jpg"][2], seen[..., row])


def test_the_one_file_holds_the_same(make, tmp_path_factory):
    root, _ = make("one file")
    other = tmp_path_factory.mktemp("other")
    matrices(other)
    one, four = items_of(load(root)), items_of(load(other))
    for row in range(40):
        for here, there in zip(one[str(row)], four[f"im{row + 1}.jpg"], strict=True):
            np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("kind", ["iall", "yall", "lall", "fall"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.95])
def test_half_downloaded_matrices_are_named(make, kind, left):
    root, _ = make("matrices")
    path = root / f"mirflickr25k-{kind}.mat"
    cut(path, left)
    with pytest.raises(DataFileError, match=rf"mirflickr25k-{kind}.mat.*github.com/jiangqy"):
        load(root)
    checked = check("mirflickr25k", root)
    assert not checked.good
    assert [line for line in checked.problems() if line.startswith("damaged") and f"{kind}.mat" in line]


def test_files_of_different_lengths_are_refused(make):
    root, _ = make("matrices")
    drawn = draw()
    savemat(root / "mirflickr25k-yall.mat", {"YAll": drawn.bags[:-1]})
    with pytest.raises(DataError, match=r"yall.mat: expected 40 rows as in mirflickr25k-lall.mat, got 39"):
        load(root)
    assert any("got 39" in line for line in check("mirflickr25k", root).problems())
    matrices(root)
    savemat(root / "mirflickr25k-fall.mat", {"FAll": np.array([["im1.jpg"], ["im2.jpg"]], object)})
    with pytest.raises(DataError, match=r"fall.mat: expected 40 rows.*got 2"):
        load(root)
    matrices(root)
    write_version_73(root / "mirflickr25k-iall.mat", {"IAll": pixels(39)})
    with pytest.raises(DataFileError, match=r"iall.mat: expected .*the pixels of 40 images, got IAll \(39"):
        load(root)
    matrices(root)
    savemat(root / "mirflickr25k-fall.mat", {"FAll": np.array([["im1.jpg"]] * 40, object)})
    with pytest.raises(DataError, match=r"every image once, got 39 of 40"):
        load(root)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (lambda labels: labels[:, :23], r"24 labels, got uint8 \(40, 23\)"),
        (lambda labels: labels * 2, "with other values"),
        (lambda labels: labels * np.nan, "with other values"),
        (lambda labels: labels[:, 0], "24 labels"),
    ],
)
def test_labels_of_another_form_are_refused(make, labels, match):
    root, _ = make("matrices")
    savemat(root / "mirflickr25k-lall.mat", {"LAll": labels(draw().labels)})
    with pytest.raises(DataFileError, match=match):
        load(root)


def test_pixels_come_before_features_unless_features_are_asked_for(make):
    root, _ = make("matrices")
    savemat(root / "mirflickr25k-iall-vgg.mat", {"XAll": np.ones((40, 9))})
    assert items_of(load(root))["im1.jpg"][2].shape == (6, 5, 3)
    assert items_of(load(root, images="features"))["im1.jpg"][2].shape == (9,)
    (root / "mirflickr25k-iall.mat").unlink()
    assert items_of(load(root))["im1.jpg"][2].shape == (9,)
    with pytest.raises(DataFileError, match="mirflickr25k-iall.mat"):
        load(root, images="pixels")


def test_file_names_of_the_matrices_find_images_in_a_folder(make, tmp_path_factory):
    root, _ = make("matrices")
    (root / "mirflickr25k-iall.mat").unlink()
    official(tree := tmp_path_factory.mktemp("tree"))
    (root / "images").mkdir()
    for path in (tree / "mirflickr").glob("im*.jpg"):
        path.rename(root / "images" / path.name)
    assert items_of(load(root))["im12.jpg"][2] == root / "images" / "im12.jpg"


def test_sentences_of_the_matrices_need_the_list_of_words(make):
    root, _ = make("matrices")
    with pytest.raises(DataError, match="list of words"):
        load(root, texts="tags")
    (root / "TagList.txt").write_text("\n".join(WORDS[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match="list of words"):
        load(root, texts="tags")
    (root / "TagList.txt").write_text("\n".join(f"{word} 20" for word in WORDS) + "\n", encoding="utf-8")
    found = items_of(load(root, texts="tags"))
    for row, sentence in enumerate(draw().sentences()):
        assert found[f"im{row + 1}.jpg"][1] == sentence


def test_the_clip_files(make):
    root, _ = make("clip")
    drawn = draw()
    found = items_of(load(root, protocol="mith"))
    for row, sentence in enumerate(drawn.sentences()):
        labels, text, image = found[f"im{row + 1}.jpg"]
        assert labels.tolist() == drawn.labels[row].tolist()
        assert (text, image) == (sentence, root / "mirflickr" / f"im{row + 1}.jpg")
    with pytest.raises(DataError, match="texts=tags"):
        load(root, texts="bag")
    savemat(root / "caption_one_hot.mat", {"caption_one_hot": drawn.bags.astype(np.float32)})
    assert items_of(load(root, texts="bag"))["im5.jpg"][1].tolist() == drawn.bags[4].tolist()
    assert items_of(load(root))["im5.jpg"][1] == drawn.sentences()[4]
    savemat(root / "caption_one_hot.mat", {"caption_one_hot": drawn.bags[:-1]})
    with pytest.raises(DataError, match=r"caption_one_hot.mat: expected 40 rows"):
        load(root)


def test_clip_files_that_contradict_each_other(make):
    root, _ = make("clip")
    drawn = draw()
    blank = [[text if row != 3 else ""] for row, text in enumerate(drawn.sentences())]
    savemat(root / "caption.mat", {"caption": blank})
    assert len(items_of(load(root, protocol="dcmh"))) == 39
    assert items_of(load(root, protocol="dchmt"))["im4.jpg"][1] == "untagged"
    savemat(root / "caption.mat", {"caption": blank[:-1]})
    with pytest.raises(DataError, match=r"caption.mat: expected 40 rows as in index.mat, got 39"):
        load(root)
    (root / "caption.mat").unlink()
    (root / "caption.txt").write_text("\n".join(drawn.sentences()), encoding="utf-8")
    assert len(items_of(load(root))) == 40
    savemat(root / "label.mat", {"label": drawn.labels[:-2]})
    with pytest.raises(DataError, match=r"label.mat: expected 40 rows as in index.mat, got 38"):
        load(root)
    savemat(root / "index.mat", {"index": ["a/im1.jpg"] * 40})
    savemat(root / "label.mat", {"label": drawn.labels})
    with pytest.raises(DataError, match=r"39 of 40 once more, such as im1.jpg"):
        load(root)


def test_the_lists_of_crcgs_count(make):
    root, _ = make("crcgs")
    order = np.random.default_rng(1).permutation(40)
    data = load(root, protocol="crcgs")
    assert [pair.query.key for pair in data.train] == [str(row) for row in order[:20]]
    assert [q.key for q in data.test[0].queries] == [str(row) for row in order[20:26]]
    assert [q.key for q in data.validation[0].queries] == [str(row) for row in order[26:31]]
    assert {g.key for g in data.test[0].gallery} == {f"{row}#0" for row in set(range(40)) - set(order[20:26])}
    assert any("by the index lists" in note for note in data.notes)
    other = load(root, protocol="mith")
    assert len(other.test[0].queries) == 4
    np.save(root / "data_list.npy", np.sort(order[:35]))
    assert len(load(root, protocol="crcgs").test[0].gallery) == 29
    assert len(load(root, protocol="mith").test[0].gallery) == 36
    assert mirflickr25k.CARD.protocol("crcgs").metrics == ("map@2000:hits",)


def test_lists_that_cannot_be_meant(make):
    root, _ = make("crcgs")
    order = np.random.default_rng(1).permutation(40)
    np.save(root / "test_data_list.npy", order[18:26])
    with pytest.raises(DataError, match="2 rows twice"):
        load(root, protocol="crcgs")
    problems = check("mirflickr25k", root).problems()
    assert [line for line in problems if line.startswith("overlap: 2 images in both queries and train")]
    np.save(root / "test_data_list.npy", np.array([1, 40]))
    with pytest.raises(DataFileError, match=r"test_data_list.npy: expected row numbers 0 ... 39, got int64, 1 ... 40"):
        load(root, protocol="crcgs")
    labels = draw().labels
    labels[order[20]] = 0
    np.save(root / "label.npy", labels)
    np.save(root / "test_data_list.npy", order[20:26])
    with pytest.raises(DataError, match=rf"rows that are usable, got 1 others, such as {order[20]}"):
        load(root, protocol="crcgs")
    (root / "val_data_list.npy").unlink()
    with pytest.raises(DataError, match=r"val_data_list.npy.*got nothing"):
        load(root, protocol="crcgs")


def test_a_lone_list_stops_no_protocol_but_the_one_that_asks_for_it(make):
    root, _ = make("matrices")
    before = load(root)
    np.save(root / "test_data_list.npy", np.array([1, 40]))
    np.save(root / "data_list.npy", np.array([1.5]))
    for protocol in ("dcmh", "mith", "ucch"):
        assert len(items_of(load(root, protocol=protocol))) == 40
    assert order_of(load(root)) == order_of(before)
    assert mirflickr25k.read_annotations(root).lists is None
    for match in (
        "data_list.npy: expected row numbers",
        "train_data_list.npy: expected the list beside test_data_list",
    ):
        with pytest.raises(DataError, match=match):
            load(root, protocol="crcgs")
        checked = check("mirflickr25k", root)
        assert re.search(match, *checked.survey.damaged)
        assert checked.decoded == 40
        (root / "data_list.npy").unlink(missing_ok=True)


@pytest.mark.parametrize("suffix", [".mat", " of version 5"])
def test_pixels_of_another_type_are_damaged(make, suffix):
    root, _ = make("matrices")
    path = root / "mirflickr25k-iall.mat"
    path.unlink()
    write = savemat if suffix == " of version 5" else write_version_73
    write(path, {"IAll": pixels(40).astype(np.float64)})
    with pytest.raises(DataFileError, match="iall.mat: expected pixels in uint8, got float64"):
        load(root)
    checked = check("mirflickr25k", root)
    assert any("iall.mat: expected pixels in uint8, got float64" in line for line in checked.survey.damaged)
    assert (checked.decoded, dict(checked.unreadable)) == (0, {})


def test_the_matrix_of_pixels_is_opened_once_and_by_no_thread(make, monkeypatch):
    root, _ = make("matrices")
    opened, really = [], imagerows.open_matrix

    def noticed(path, *args, **options):
        opened.append((path.name, threading.current_thread() is threading.main_thread()))
        return really(path, *args, **options)

    monkeypatch.setattr(imagerows, "open_matrix", noticed)
    checked = check("mirflickr25k", root)
    assert checked.decoded == 40
    assert opened == [("mirflickr25k-iall.mat", True)]


def test_the_protocols_own_form_is_preferred(make):
    root, _ = make("matrices")
    for layout in ("clip", "crcgs"):
        LAYOUTS[layout].make(root)
    for protocol in PROTOCOLS:
        (files,) = [note for note in load(root, protocol=protocol).notes if note.startswith("files: ")]
        own = {"mith": "index.mat", "dchmt": "index.mat", "crcgs": "bow.npy"}.get(protocol, "mirflickr25k-*all.mat")
        assert own in files


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_small_set_is_refused_unless_a_part_is_meant(make, layout):
    root, options = make(layout)
    for protocol in PROTOCOLS:
        items = "24,581" if protocol == "dchmt" else "20,015"
        with pytest.raises(
            DataError, match=rf"protocol {protocol}: expected {items} usable items, got 4[0-9].*partial"
        ):
            mirflickr25k.load(root, **{**options, "partial": False}, protocol=protocol)
