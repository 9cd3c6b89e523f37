"""nuswide: what its four forms hold, told by plain loops over what was drawn, and copies that are not right."""

import numpy as np
import pytest
from trees.asked import cut, items_of, order_of
from trees.matlab import write_version_73
from trees.nuswide import LAYOUTS, TC10, TC21, WORDS, draw, matrices_21, official, write_official

from hashret.data import check, nuswide, nuswide_tree
from hashret.data.quarantine import quarantine
from hashret.errors import DataError, DataFileError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HASHRET_CACHE", str(folder))
    return folder


def load(root, **options):
    return nuswide.load(root, **{"partial": True, **options})


def drawn_official():
    """What ``official`` writes."""
    drawn = draw(7)
    drawn.labels[0] = 0
    drawn.bags[[1, -1]] = 0
    return drawn


@pytest.fixture
def tree(tmp_path):
    official(tmp_path)
    return tmp_path


LABELLED = list(range(1, 147))
TAGGED = [row for row in LABELLED if row not in (1, 146)]


@pytest.mark.parametrize(("protocol", "rows"), [("dcmh", LABELLED), ("mith", TAGGED), ("dchmt", LABELLED)])
def test_the_official_tree_of_21_labels(tree, protocol, rows):
    data, drawn = load(tree, protocol=protocol), drawn_official()
    found = items_of(data)
    assert found.keys() == {drawn.names[row] for row in rows}
    for row in rows:
        labels, text, image = found[drawn.names[row]]
        tags = [WORDS[place] for place in np.flatnonzero(drawn.bags[row])]
        if protocol == "dchmt":
            tags = ([f"rare{row}"] if row % 3 == 0 else []) + tags
        assert labels.tolist() == drawn.labels[row].tolist()
        assert text == (" ".join(tags) or "untagged")
        assert image == tree / "Flickr" / drawn.names[row]
    assert data.classes == tuple(TC21)
    order = {"dcmh": 0, "mith": 1, "dchmt": 1814}[protocol]
    drawn_rows = np.random.RandomState(order).permutation(len(rows))
    queries, _ = order_of(data)
    assert queries == [drawn.names[rows[place]] for place in drawn_rows[: len(queries)]]


def test_ucch_takes_no_official_tree_whose_last_items_are_of_one_topic(tree):
    match = r"protocol ucch: expected the authors' nus-wide-tc10.*folder by folder.*Get nus-wide-tc10-lall.mat"
    with pytest.raises(DataError, match=match):
        load(tree, protocol="ucch")
    drawn = drawn_official()
    columns = [TC21.index(name) for name in TC10]
    told = nuswide.read_annotations(tree, protocol="ucch")
    assert told.classes == tuple(TC10)
    assert told.labels.tolist() == drawn.labels[:, columns].tolist()
    LAYOUTS["matrices of 10"].make(tree)
    data = load(tree, protocol="ucch", images="features")
    assert any("nus-wide-tc10-*all.mat" in note for note in data.notes)
    assert not any("not in the order of the authors" in note for note in data.notes)
    assert len(data.train) + len(data.validation[0].queries) == len(data.test[0].gallery)
    (tree / "ImageList" / "Imagelist.txt").unlink()
    (tree / "nus-wide-tc10-yall.mat").unlink()
    with pytest.raises(DataFileError, match=r"nus-wide-tc10-yall.mat: expected tags, YAll \(nus-wide-tc10-\*all.mat\)"):
        load(tree, protocol="ucch")


def test_the_ten_commonest_labels_are_counted_where_all_are_there(tree):
    drawn = drawn_official()
    labels = tree / "Groundtruth" / "AllLabels"
    for number in range(58):
        rows = (np.arange(147) % 7 < 6 - number).astype(int)  # two that are commoner than most
        (labels / f"Labels_other{number}.txt").write_text("".join(f"{value}\n" for value in rows))
    assert nuswide.read_annotations(tree, protocol="ucch").classes == tuple(TC10)
    (labels / "Labels_other58.txt").write_text("0\n" * 147)
    assert len(list(labels.iterdir())) == 81
    counts = {name: int(drawn.labels[:, column].sum()) for column, name in enumerate(TC21)}
    counts |= {f"other{number}": int((np.arange(147) % 7 < 6 - number).sum()) for number in range(58)}
    expected = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:10])
    assert {"other0", "other1", "sky"} < set(expected)
    assert nuswide.read_annotations(tree, protocol="ucch").classes == tuple(expected)
    assert load(tree, protocol="dcmh").classes == tuple(TC21)


def test_class_by_class_without_lists(tree):
    data, drawn = load(tree, protocol="crcgs"), drawn_official()
    queries, database = order_of(data)
    assert len(queries) == len(data.validation[0].queries) == len(data.train) == 21
    assert {*queries, *database} == {drawn.names[row] for row in TAGGED}
    for keys in (queries, [pair.query.key for pair in data.train]):
        assert (drawn.labels[[drawn.names.index(key) for key in keys]].sum(0) >= 1).all()
    assert nuswide.CARD.protocol("crcgs").metrics == ("map@2100:hits",)


@pytest.mark.parametrize("protocol", ["dcmh", "mith", "dchmt", "crcgs"])
def test_a_bag_has_the_listed_tags(tree, protocol):
    drawn = drawn_official()
    for key, (_, text, _) in items_of(load(tree, protocol=protocol, texts="bag")).items():
        assert text.tolist() == drawn.bags[drawn.names.index(key)].tolist()


def test_the_tags_of_a_photo_that_the_two_files_tell_differently(tree):
    path = tree / "NUS_WID_Tags" / "All_Tags.txt"
    lines = path.read_text().splitlines()
    lines[5] = lines[5].split()[0]
    path.write_text("\n".join(lines) + "\n")
    drawn = drawn_official()
    expected = " ".join(WORDS[place] for place in np.flatnonzero(drawn.bags[5]))
    assert items_of(load(tree, protocol="mith"))[drawn.names[5]][1] == expected
    assert items_of(load(tree, protocol="dchmt"))[drawn.names[5]][1] == "untagged"


def test_big_bags_are_read_once_into_the_cache(tree, cache, monkeypatch):
    monkeypatch.setattr(nuswide_tree, "SMALL", 100)
    monkeypatch.setattr(nuswide_tree, "_BLOCK", 77)  # cuts rows
    bags = nuswide.read_annotations(tree).bags
    (copy,) = (cache / "matrices").iterdir()
    np.testing.assert_array_equal(bags, drawn_official().bags)
    assert not bags.flags.writeable
    read, parse = [], nuswide_tree._digits
    monkeypatch.setattr(nuswide_tree, "_digits", lambda path, content: read.append(path.name) or parse(path, content))
    np.testing.assert_array_equal(nuswide.read_annotations(tree).bags, bags)
    assert len(read) == 21
    assert "AllTags1k.txt" not in read
    assert list((cache / "matrices").iterdir()) == [copy]


@pytest.mark.parametrize("small", [1 << 26, 100])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text[: len(text) // 2], r"147 lines of 24 zeros and ones, got \d+ lines"),
        (lambda text: text[:-9], r"got 146 lines and 2\d of 24 tags"),
        (lambda text: "", "got 0 lines"),
        (lambda text: text + text[:49] + "\n", "got 148 lines"),
        (lambda text: text * 2, r"got \d+ lines"),
        (lambda text: text[:500] + "7" + text[501:], "zeros and ones, got '7'"),
        (lambda text: "<html>" + text, "zeros and ones, got '<'"),
    ],
)
def test_damaged_bags(tree, cache, monkeypatch, small, change, match):
    monkeypatch.setattr(nuswide_tree, "SMALL", small)
    path = tree / "NUS_WID_Tags" / "AllTags1k.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataFileError, match=rf"AllTags1k.txt.*{match}.*lms.comp.nus"):
        load(tree)
    assert not (cache / "matrices").exists() or not list((cache / "matrices").iterdir())
    assert any("AllTags1k.txt" in line for line in check("nuswide", tree).problems())


def test_bags_in_another_order_are_refused(tree):
    path = tree / "NUS_WID_Tags" / "AllTags1k.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[1:], lines[0]]))
    with pytest.raises(DataError, match=r"AllTags1k.txt: expected as many of the 24 tags a line.*in \d+ lines"):
        load(tree)


@pytest.mark.parametrize("name", ["animal", "window"])
def test_damaged_labels(tree, name):
    path = tree / "Groundtruth" / "AllLabels" / f"Labels_{name}.txt"
    text = path.read_text()
    for change, match in (
        (text[:-2], r"expected 147 rows as in ImageList/Imagelist.txt, got 146"),
        ("", "got 0"),
        ("-1130179\n" + text[2:], "zeros and ones, got '-'"),
    ):
        path.write_text(change)
        with pytest.raises(DataError, match=rf"Labels_{name}.txt.*{match}"):
            load(tree)
        assert [line for line in check("nuswide", tree).problems() if line.startswith("damaged") and name in line]
    path.unlink()
    with pytest.raises(DataFileError, match=rf"Labels_{name}.txt: expected label {name} of each image.*lms.comp"):
        load(tree)


def test_photos_of_other_numbers_are_refused(tree):
    path = tree / "NUS_WID_Tags" / "All_Tags.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(DataError, match=r"All_Tags.txt.*got 2 others: 2000007 for actor/0000_2000000.jpg"):
        load(tree)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match=r"All_Tags.txt: expected 147 rows.*got 146"):
        load(tree)


def test_an_image_listed_twice_is_refused(tree):
    path = tree / "ImageList" / "Imagelist.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], *lines[:1], *lines[3:]]))
    tags = tree / "NUS_WID_Tags" / "All_Tags.txt"
    rows = tags.read_text().splitlines(keepends=True)
    tags.write_text("".join([*rows[:2], rows[2].replace("2000014", "2000000"), *rows[3:]]))
    with pytest.raises(DataError, match=r"every image once, got 1 of 147 once more, such as actor/0000_2000000.jpg"):
        load(tree)


def test_an_empty_list_of_words(tree):
    (tree / "NUS_WID_Tags" / "TagList1k.txt").write_text("")
    with pytest.raises(DataFileError, match="TagList1k.txt"):
        load(tree)


def test_shuffled_labels_are_refused(tmp_path):
    drawn = draw(30)
    write_official(tmp_path, drawn)
    np.save(tmp_path / "f.npy", np.zeros((630, 2), np.float32))
    assert len(items_of(load(tmp_path, features="f.npy"))) == 630
    shuffled = np.random.default_rng(0).permutation(drawn.labels)
    write_official(tmp_path, type(drawn)(shuffled, drawn.bags, drawn.names))
    for protocol in ("dcmh", "dchmt"):
        with pytest.raises(DataError, match="NUS-WIDE, labels.*shuffled"):
            load(tmp_path, features="f.npy", protocol=protocol)
    with pytest.raises(DataError, match="NUS-WIDE, labels.*shuffled"):
        load(tmp_path, features="f.npy", texts="bag")


def test_features_are_for_all_rows_or_for_the_usable_ones(tree):
    drawn, every = drawn_official(), np.arange(147 * 2, dtype=np.float32).reshape(147, 2)
    np.save(tree / "all.npy", every)
    np.save(tree / "usable.npy", every[TAGGED])
    for features in ("all.npy", "usable.npy"):
        for key, (_, _, image) in items_of(load(tree, protocol="mith", features=features)).items():
            assert image.tolist() == every[drawn.names.index(key)].tolist()
    with pytest.raises(DataFileError, match=r"usable.npy: expected features, 147 or 146 rows, got float32 \(144, 2\)"):
        load(tree, protocol="dcmh", features="usable.npy")


def test_flat_and_missing_images(tmp_path):
    official(tmp_path, flat=True)
    drawn = drawn_official()
    gone = tmp_path / "images" / drawn.names[9].rpartition("/")[2]
    gone.unlink()
    data = load(tmp_path)
    assert items_of(data)[drawn.names[8]][2] == tmp_path / "images" / drawn.names[8].rpartition("/")[2]
    assert items_of(data)[drawn.names[9]][2] == gone
    _, rejected = quarantine(data)
    assert {(item.key, item.reason) for item in rejected if item.key == drawn.names[9]} == {
        (drawn.names[9], "no such file")
    }
    checked = check("nuswide", tmp_path)
    assert checked.unreadable == {drawn.names[9]: "no such file"}
    assert "count: images of rows with a label: 145, officially 146" in checked.problems()
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(DataFileError, match="Flickr/ with the images, or features=FILE"):
        load(tmp_path)


def test_the_matrices_of_21(tmp_path):
    matrices_21(tmp_path)
    drawn = draw()
    drawn.bags[3] = 0
    pixels = np.random.default_rng(5).integers(0, 256, (4, 5, 3, 126), dtype=np.uint8)
    found = items_of(load(tmp_path))
    assert len(found) == 126
    for row in range(126):
        labels, text, image = found[str(row)]
        assert labels.tolist() == drawn.labels[row].tolist()
        assert text.tolist() == drawn.bags[row].tolist()
        np.testing.assert_array_equal(image, pixels[..., row])
    assert items_of(load(tmp_path, protocol="mith")).keys() == {str(row) for row in range(126) if row != 3}
    (tmp_path / "TagList1k.txt").write_text("\n".join(WORDS))
    sentences = items_of(load(tmp_path, texts="tags"))
    assert sentences["3"][1] == "untagged"
    assert sentences["4"][1] == drawn.sentences()[4]
    with pytest.raises(DataFileError, match="nus-wide-tc10"):
        load(tmp_path, protocol="ucch")


@pytest.mark.parametrize("kind", ["iall", "yall", "lall"])
def test_half_downloaded_matrices(tmp_path, kind):
    matrices_21(tmp_path)
    cut(tmp_path / f"nus-wide-tc21-{kind}.mat", 0.5)
    with pytest.raises(DataFileError, match=rf"nus-wide-tc21-{kind}.mat.*github.com/jiangqy"):
        load(tmp_path)
    assert not check("nuswide", tmp_path).good


def test_the_matrices_of_10(tmp_path):
    LAYOUTS["matrices of 10"].make(tmp_path)
    data = load(tmp_path, protocol="ucch")
    assert data.classes == tuple(TC10)
    queries, database = order_of(data)
    assert [*database, *queries] == [str(row) for row in range(len(items_of(data)))]
    with pytest.raises(DataError, match=rf"ucch: expected 186,577 usable items, got {len(items_of(data))}"):
        nuswide.load(tmp_path, protocol="ucch")
    write_version_73(tmp_path / "nus-wide-tc10-yall.mat", {"YAll": np.ones((7, 24))})
    with pytest.raises(DataError, match=r"yall.mat: expected \d+ rows as in nus-wide-tc10-lall.mat, got 7"):
        load(tmp_path, protocol="ucch")


def test_the_clip_files(tmp_path):
    LAYOUTS["clip"].make(tmp_path)
    drawn = draw()
    found = items_of(load(tmp_path, protocol="dchmt"))
    for row, sentence in enumerate(drawn.sentences()):
        name = drawn.names[row].rpartition("/")[2]
        assert found[name][0].tolist() == drawn.labels[row].tolist()
        assert found[name][1:] == (sentence, tmp_path / "images" / name)
    for sub in ("actor", "zoo"):
        (tmp_path / "Flickr" / sub).mkdir(parents=True)
    for name in drawn.names:
        (tmp_path / "images" / name.rpartition("/")[2]).rename(tmp_path / "Flickr" / name)
    (tmp_path / "images").rmdir()
    nested = items_of(load(tmp_path, protocol="dchmt"))
    assert nested[drawn.names[4].rpartition("/")[2]][2] == tmp_path / "Flickr" / drawn.names[4]


def test_the_lists_of_crcgs_are_rows_of_its_files(tmp_path):
    LAYOUTS["crcgs"].make(tmp_path)
    legal = np.delete(np.arange(126), 3)
    order = np.random.default_rng(1).permutation(legal)
    data = load(tmp_path, protocol="crcgs")
    assert [pair.query.key for pair in data.train] == [str(row) for row in order[:40]]
    assert [q.key for q in data.test[0].queries] == [str(row) for row in order[40:60]]
    assert {g.key for g in data.test[1].gallery} == {str(row) for row in set(legal) - set(order[40:60])}
    assert "3" in items_of(load(tmp_path, protocol="dcmh"))
    np.save(tmp_path / "test_data_list.npy", np.array([3, 5]))
    with pytest.raises(DataError, match="rows that are usable, got 1 others, such as 3"):
        load(tmp_path, protocol="crcgs")


@pytest.mark.parametrize(
    ("protocol", "items"),
    [("dcmh", "195,834"), ("mith", "190,421"), ("dchmt", "195,834"), ("crcgs", "190,421")],
)
def test_a_small_set_is_refused_unless_a_part_is_meant(tree, protocol, items):
    with pytest.raises(DataError, match=f"{protocol}: expected {items} usable items, got 1[0-9][0-9].*partial"):
        nuswide.load(tree, protocol=protocol)
    assert (
        f"partial: {len(items_of(load(tree, protocol=protocol)))} of {items} items"
        in load(tree, protocol=protocol).name
    )
