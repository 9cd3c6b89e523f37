"""mirflickr25k: what its four forms hold, told by plain loops over what was drawn, and copies that are not right."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from trees.asked import items_of, order_of
from trees.matlab import write_version_73
from trees.mirflickr25k import CLASSES, LAYOUTS, WORDS, draw, write_annotations, write_tags

from hashret.data import check, mirflickr25k
from hashret.data.quarantine import quarantine
from hashret.errors import DataError, DataFileError, FileError, InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "mirflickr25k"


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


def test_the_official_tree_gives_the_items_with_a_common_tag_and_a_label(make):
    root, options = make("official tree")
    data = load(root, **options)
    drawn = draw(44)
    counts = drawn.bags[:-2].sum(0)
    common = {word for word, count in zip(WORDS, counts, strict=True) if count >= 2}
    expected = {}
    for row in range(42):
        tags = [WORDS[place] for place in np.flatnonzero(drawn.bags[row]) if WORDS[place] in common]
        if row < 40 and tags:
            expected[f"im{row + 1}.jpg"] = (drawn.labels[row], " ".join(tags), root / "mirflickr" / f"im{row + 1}.jpg")
    found = items_of(data)
    assert found.keys() == expected.keys()
    for key, (labels, text, image) in expected.items():
        assert found[key][0].tolist() == labels.tolist()
        assert found[key][1:] == (text, image)
    assert data.classes == tuple(CLASSES)
    queries, database = order_of(data)
    assert [*queries, *database] == sorted(expected, key=lambda name: int(name[2:-4]))
    assert any("official tree" in note and "40 of 44 rows are usable" in note for note in data.notes)
    assert any("files in mirflickr" in note for note in data.notes)


def test_a_bag_has_the_common_tags_by_frequency(make):
    root, options = make("official tree")
    columns = mirflickr25k.read_annotations(root, least=2)
    drawn = draw(44)
    drawn.bags[-2:] = 0
    counts = dict(zip(WORDS, drawn.bags.sum(0).tolist(), strict=True))
    assert list(columns.words) == sorted(WORDS, key=lambda word: (-counts[word], word))
    for row in range(44):
        assert {columns.words[place] for place in np.flatnonzero(columns.bags[row])} == {
            WORDS[place] for place in np.flatnonzero(drawn.bags[row])
        }
    data = load(root, **options, texts="bag")
    assert all(text.shape == (len(WORDS),) for _, text, _ in items_of(data).values())
    assert any("bags of 8 words" in note for note in data.notes)
    fewer = mirflickr25k.read_annotations(root, least=max(counts.values()))
    assert set(fewer.words) == {word for word in WORDS if counts[word] == max(counts.values())}


def test_the_authors_list_of_common_tags_counts_for_twenty(make):
    root, _ = make("official tree")
    (root / "mirflickr" / "doc").mkdir()
    (root / "mirflickr" / "doc" / "common_tags.txt").write_text("bw 12\nsky 9\nneverseen 20\n", encoding="utf-8")
    columns = mirflickr25k.read_annotations(root)
    assert list(columns.words) == ["bw", "sky", "neverseen"]
    drawn = draw(44)
    drawn.bags[-2:] = 0
    assert columns.bags[:, 0].tolist() == drawn.bags[:, WORDS.index("bw")].tolist()
    assert set(" ".join(columns.sentences).split()) == {"bw", "sky"}
    assert len(mirflickr25k.read_annotations(root, least=2).words) == len(WORDS)


def test_dchmt_takes_every_labelled_image_with_all_its_tags_in_the_order_of_its_script(make):
    root, options = make("official tree")
    data = load(root, **options, protocol="dchmt")
    drawn = draw(44)
    found = items_of(data)
    assert found.keys() == {f"im{number}.jpg" for number in range(1, 45) if number not in (41, 42)}
    assert found["im44.jpg"][1] == "seldom"
    assert found["im43.jpg"][1] == "untagged"
    assert any("1 items without one have the sentence 'untagged'" in note for note in data.notes)
    assert found["im1.jpg"][1].split() == ["only0", *(WORDS[place] for place in np.flatnonzero(drawn.bags[0]))]
    script = sorted(str(number) for number in range(1, 45) if number not in (41, 42))
    order = np.random.RandomState(1814).permutation(42)
    queries, database = order_of(data)
    assert queries == [f"im{script[row]}.jpg" for row in order[: len(queries)]]
    assert database == [f"im{script[row]}.jpg" for row in sorted(order[len(queries) :])]
    bags = items_of(load(root, **options, protocol="dchmt", texts="bag"))
    assert not bags["im43.jpg"][1].any()


def test_raw_tags_are_written_as_the_others_are(make, tmp_path):
    root, options = make("official tree")
    plain = items_of(load(root, **options))
    tags = root / "mirflickr" / "meta" / "tags"
    for path in tags.iterdir():
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("beach", "Be Ach").replace("nikon", "NIKON"), encoding="utf-8")
    tags.rename(tags.with_name("tags_raw"))
    again = items_of(load(root, **options))
    assert {key: value[1] for key, value in again.items()} == {key: value[1] for key, value in plain.items()}


@pytest.mark.parametrize("folder", ["images", "."])
def test_images_may_lie_elsewhere(make, folder):
    root, options = make("official tree")
    (root / "images").mkdir()
    for path in (root / "mirflickr").glob("im*.jpg"):
        path.rename(root / folder / path.name)
    assert items_of(load(root, **options))["im7.jpg"][2] == root / folder / "im7.jpg"


def test_a_label_of_an_image_that_is_not_there(make):
    root, options = make("official tree")
    path = root / "mirflickr25k_annotations_v080" / "dog.txt"
    before = path.read_text()
    path.write_text(before + "99999\n45\n")
    with pytest.raises(DataError, match=r"2 others: im99999.jpg \(dog.txt\), im45.jpg"):
        load(root, **{**options, "partial": False})
    with pytest.raises(DataError, match=r"1 others: im99999.jpg \(dog.txt\)"):
        load(root, **options)
    assert any("im99999.jpg" in line for line in check("mirflickr25k", root).problems())
    path.write_text(before + "45\n46\n")
    assert any("2 labels of images that are not in this copy left out" in note for note in load(root, **options).notes)


def test_an_annotation_file_that_is_missing_or_no_list_of_numbers(make):
    root, options = make("official tree")
    path = root / "mirflickr25k_annotations_v080" / "lake.txt"
    path.write_text("3\n<html>\n")
    with pytest.raises(DataFileError, match=r"lake.txt.*'<html>' in line 2.*press.liacs.nl"):
        load(root, **options)
    path.unlink()
    with pytest.raises(DataFileError, match=r"lake.txt: expected image numbers of label lake.*press.liacs.nl"):
        load(root, **options)
    assert "missing: mirflickr25k_annotations_v080/lake.txt: image numbers of label lake" in "\n".join(
        check("mirflickr25k", root).problems()
    )


def test_missing_and_broken_images_are_quarantined_and_counted(make):
    root, options = make("official tree")
    images = root / "mirflickr"
    (images / "im3.jpg").unlink()
    (images / "im20.jpg").write_bytes((images / "im20.jpg").read_bytes()[:300])
    data = load(root, **options)
    assert {"im3.jpg", "im20.jpg"} < items_of(data).keys()
    rest, rejected = quarantine(data)
    assert {(item.key, item.reason) for item in rejected if item.key.endswith(".jpg")} == {
        ("im3.jpg", "no such file"), ("im20.jpg", "a truncated image"),
    }  # fmt: skip
    assert len(rest.test[1].gallery) == len(data.test[1].gallery) - sum(
        key in ("im3.jpg", "im20.jpg") for key in order_of(data)[1]
    )
    checked = check("mirflickr25k", root)
    assert checked.unreadable == {"im3.jpg": "no such file", "im20.jpg": "a truncated image"}
    assert "count: images of rows with a label: 41, officially 42" in checked.problems()


def test_no_image_at_all_names_what_is_missing(make):
    root, options = make("official tree")
    for path in (root / "mirflickr").glob("im*.jpg"):
        path.unlink()
    with pytest.raises(DataFileError, match=r"mirflickr/ with the images, or features=FILE.*press.liacs.nl"):
        load(root, **options)
    assert "missing: images: mirflickr/ with the images" in check("mirflickr25k", root).problems()


def test_a_shuffled_file_of_labels_is_refused(tmp_path):
    drawn = draw(600)
    np.save(tmp_path / "f.npy", np.zeros((600, 3), np.float32))
    savemat(tmp_path / "mirflickr25k-yall.mat", {"YAll": drawn.bags})
    savemat(tmp_path / "mirflickr25k-lall.mat", {"LAll": drawn.labels})
    assert len(items_of(load(tmp_path, features="f.npy"))) == 600
    shuffled = np.random.default_rng(3).permutation(drawn.labels)
    savemat(tmp_path / "mirflickr25k-lall.mat", {"LAll": shuffled})
    with pytest.raises(DataError, match="MIRFLICKR-25K, labels.*shuffled"):
        load(tmp_path, features="f.npy")
    (tmp_path / "tree").mkdir()
    write_tags(tmp_path / "tree" / "meta" / "tags", drawn.bags)
    write_annotations(tmp_path / "tree" / "mirflickr25k_annotations_v080", drawn.labels)
    assert len(items_of(load(tmp_path / "tree", features="../f.npy"))) == 600
    write_annotations(tmp_path / "tree" / "mirflickr25k_annotations_v080", shuffled)
    with pytest.raises(DataError, match="MIRFLICKR-25K, labels.*shuffled"):
        load(tmp_path / "tree", features="../f.npy")


def test_features_are_for_all_rows_or_for_the_usable_ones(make):
    root, options = make("official tree")
    every = np.arange(44 * 3, dtype=np.float32).reshape(44, 3)
    usable = [number - 1 for number in range(1, 41)]
    for name, values in (("all.npy", every), ("usable.npy", every[usable])):
        np.save(root / name, values)
        for features in (name, str(root / name)):
            found = items_of(load(root, **options, features=features))
            for number in range(1, 41):
                assert found[f"im{number}.jpg"][2].tolist() == every[number - 1].tolist()
    write_version_73(root / "f.mat", {"whatever": every.astype(np.float64)})
    data = load(root, **options, features="f.mat", images="features")
    assert items_of(data)["im9.jpg"][2].tolist() == every[8].tolist()
    assert any("features of 3 values from f.mat" in note for note in data.notes)


@pytest.mark.parametrize("protocol", ["dcmh", "dchmt"])
def test_features_in_the_order_of_the_numbers_are_joined_by_image(make, protocol):
    root, options = make("official tree")
    every = np.arange(1, 45, dtype=np.float32)[:, None] * [1, -1]
    labelled = [number for number in range(1, 45) if number not in (41, 42)]
    tagged = range(1, 41)
    np.save(root / "all.npy", every)
    np.save(root / "usable.npy", every[np.array(labelled if protocol == "dchmt" else tagged) - 1])
    pictures = load(root, **options, protocol=protocol)
    for features in ("all.npy", "usable.npy"):
        data = load(root, **options, protocol=protocol, features=features)
        found = items_of(data)
        assert found.keys() == items_of(pictures).keys()
        assert {key: image.tolist() for key, (_, _, image) in found.items()} == {
            key: every[int(key[2:-4]) - 1].tolist() for key in found
        }
        assert order_of(data) == order_of(pictures)


def test_shuffled_features_are_refused(tmp_path):
    drawn = draw(600)
    savemat(tmp_path / "mirflickr25k-yall.mat", {"YAll": drawn.bags})
    savemat(tmp_path / "mirflickr25k-lall.mat", {"LAll": drawn.labels})
    vectors = drawn.labels + 0.5 * np.random.default_rng(0).standard_normal(drawn.labels.shape)
    np.save(tmp_path / "f.npy", vectors)
    assert len(items_of(load(tmp_path, features="f.npy"))) == 600
    np.save(tmp_path / "f.npy", np.random.default_rng(1).permutation(vectors))
    with pytest.raises(DataError, match="MIRFLICKR-25K, labels.*something of the image features in.*shuffled rows"):
        load(tmp_path, features="f.npy")


@pytest.mark.parametrize("protocol", ["dcmh", "mith", "dchmt", "ucch", "crcgs"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_asked_in_another_order_than_the_authors_is_noted(make, layout, protocol):
    root, options = make(layout)
    notes = [
        note for note in load(root, **options, protocol=protocol).notes if "not in the order of the authors" in note
    ]
    assert len(notes) == (protocol in ("dcmh", "ucch") and layout in ("official tree", "clip", "crcgs"))


def test_features_that_do_not_fit_are_refused(make):
    root, options = make("official tree")
    np.save(root / "short.npy", np.zeros((39, 3)))
    np.save(root / "flat.npy", np.zeros(44))
    for name in ("short.npy", "flat.npy"):
        with pytest.raises(DataFileError, match=rf"{name}: expected features, 44 or 40 rows"):
            load(root, **options, features=name)
    with pytest.raises(DataFileError, match=r"absent.npy: expected a matrix of image features.*got nothing"):
        load(root, **options, features="absent.npy")
    with pytest.raises(DataError, match="images=pixels"):
        load(root, **options, features="short.npy", images="pixels")
    with pytest.raises(DataFileError, match="image features"):
        load(root, **options, images="features")


def test_options_and_roots(make, tmp_path):
    with pytest.raises(InputError, match="least"):
        load(tmp_path, least=0)
    with pytest.raises(InputError, match="protocol"):
        load(tmp_path, protocol="karpathy")
    with pytest.raises(DataFileError, match=r"its files in one of these forms: mirflickr25k-\*all.mat"):
        load(tmp_path)
    (tmp_path / "mirflickr").mkdir()
    (tmp_path / "mirflickr" / "meta").mkdir()
    (tmp_path / "mirflickr" / "meta" / "tags").write_text("no folder")
    write_annotations(tmp_path / "annotations", draw().labels)
    with pytest.raises(FileError, match="meta/tags"):
        load(tmp_path)
    assert check("mirflickr25k", tmp_path).survey.damaged


@pytest.mark.skipif(not REAL.is_dir(), reason="needs MIRFLICKR's tags beside the checkout, ../shared/data/mirflickr25k")
def test_the_real_tags_and_labels(tmp_path):
    columns = mirflickr25k.read_annotations(REAL)
    assert columns.bags.shape == (20_015, 1_386)
    assert columns.labels.shape == (20_015, 24)
    assert len(columns.usable(with_tags=True)) == 20_015
    first = [CLASSES[column] for column in np.flatnonzero(columns.labels[0])]
    assert first == ["female", "people", "portrait", "sky", "structures"]  # of im1.jpg, as MITH's readme shows it
    with pytest.raises(DataFileError, match=r"mirflickr25k-iall.mat or mirflickr25k-iall-vgg.mat or mirflickr/"):
        mirflickr25k.load(REAL)
    checked = check("mirflickr25k", REAL)
    assert [line.partition(":")[0] for line in checked.problems()] == ["missing"]
    assert all(count.found == count.official for count in checked.survey.counts)
    noise = np.random.default_rng(0).standard_normal(columns.labels.shape)
    np.save(tmp_path / "features.npy", (columns.labels + noise).astype(np.float32))
    data = mirflickr25k.load(REAL, features=str(tmp_path / "features.npy"))
    i2t, t2i = data.test
    assert (len(i2t.queries), len(data.train), len(i2t.gallery), len(t2i.gallery)) == (2_000, 10_000, 18_015, 18_015)
    assert len(data.validation[0].queries) == 2_000
    assert (i2t.relevance.totals() > 0).all()
    assert [q.key for q in i2t.queries[:3]] == ["0", "1", "2"]
    assert data.name == "MIRFLICKR-25K (dcmh)"
    mith = mirflickr25k.load(REAL, features=str(tmp_path / "features.npy"), protocol="mith")
    order = np.random.RandomState(1).permutation(20_015)
    assert [q.key for q in mith.test[0].queries] == [str(row) for row in order[:2_000]]
    assert [pair.query.key for pair in mith.train] == [str(row) for row in order[2_000:12_000]]
