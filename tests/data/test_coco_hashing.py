"""coco.load of the matrices that hashing papers made: whose order, whose texts, and what is refused."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from trees import save_photo
from trees.coco import make_arrays, make_cells, make_features, multi_hot, sentences, things

from hashret.data import check, coco
from hashret.data.coco_pictures import parse_name
from hashret.errors import DataError, DataFileError


def load(root, protocol, **options):
    return coco.load(root, protocol=protocol, **{"partial": True, **options})


def number_of(example):
    """Image id, told from the key alone."""
    number, _ = parse_name(example.key.partition("#")[0])
    return number


class TestCells:
    @pytest.fixture
    def root(self, tmp_path):
        make_cells(tmp_path)
        return tmp_path

    ORDER = [n for n in range(40, 0, -1) if things(n)]

    def test_mith_draws_in_the_order_of_its_index(self, root):
        data = load(root, "mith")
        order = np.array(self.ORDER)[np.random.RandomState(1).permutation(len(self.ORDER))].tolist()
        queries = [number_of(query) for query in data.test[0].queries]
        assert queries == order[: len(queries)]
        assert [number_of(p.query) for p in data.train] == order[len(queries) : len(queries) + len(data.train)]
        for pair in data.train:
            number = number_of(pair.query)
            assert pair.target.text == sentences(number)[number % 5]
            assert pair.labels.tolist() == multi_hot(number)
            assert pair.query.image.is_file()
            assert pair.query.image.parent.parent == root
        assert not any("authors" in note for note in data.notes)

    def test_cells_of_several_captions_as_dchmt_writes_them(self, root):
        cells = np.empty((1, len(self.ORDER)), object)
        for place, number in enumerate(self.ORDER):
            cells[0, place] = np.array(sentences(number))
        savemat(root / "caption.mat", {"caption": cells})
        savemat(root / "label.mat", {"category": np.array([multi_hot(n) for n in self.ORDER])})
        data = load(root, "dchmt")
        numbers = list(dict.fromkeys(number_of(pair.query) for pair in data.train))
        assert [pair.target.text for pair in data.train] == [text for n in numbers for text in sentences(n)]
        assert [g.text for g in data.test[0].gallery] == [sentences(number_of(g))[0] for g in data.test[0].gallery]
        one = load(root, "mith", caption=4)
        assert [p.target.text for p in one.train] == [sentences(number_of(p.query))[4] for p in one.train]

    def test_bags_of_words(self, root):
        data = load(root, "mith", texts="bag")
        stored = loadmat(root / "caption_one_hot.mat")["caption_one_hot"]
        for pair in data.train:
            np.testing.assert_array_equal(pair.target.text, stored[self.ORDER.index(number_of(pair.query))])
        (root / "caption.mat").unlink()
        assert len(load(root, "mith", texts="bag").train) == len(data.train)
        (root / "caption_one_hot.mat").unlink()
        with pytest.raises(DataFileError, match=r"caption_one_hot.mat"):
            load(root, "mith", texts="bag")
        with pytest.raises(DataError, match=r"auto or sentences or bag.*got vectors"):
            load(root, "mith", texts="vectors")

    def test_rows_without_a_category_are_left_out(self, root):
        labels = loadmat(root / "label.mat")["label"]
        labels[[2, 5]] = 0
        savemat(root / "label.mat", {"label": labels})
        data = load(root, "mith")
        gone = {self.ORDER[2], self.ORDER[5]}
        assert not gone & {number_of(e) for e in (*data.test[0].queries, *data.test[0].gallery)}
        assert "2 rows without a category left out" in data.notes

    def test_paths_of_this_machine_are_taken_as_they_are(self, root, tmp_path):
        names = [str(tmp_path / "elsewhere" / f"{number}.png") for number in self.ORDER]
        for number, name in enumerate(names):
            save_photo(tmp_path / "elsewhere" / name, number)
        savemat(root / "index.mat", {"index": names})
        assert all(q.image.parent.name == "elsewhere" for q in load(root, "mith").test[0].queries)

    @pytest.mark.parametrize(
        ("name", "content", "match"),
        [
            ("label.mat", {"label": np.ones((30, 80))}, "36 in index.mat, 36 in caption.mat, 30 in label.mat"),
            ("label.mat", {"label": np.ones((36, 24))}, r"label.mat.*\(items, 80\)"),
            ("label.mat", {"label": np.full((36, 80), 2)}, "labels that are 0 or 1"),
            ("label.mat", {"other": np.ones((36, 80))}, "label or category or LAll"),
            ("caption.mat", {"caption": np.array(["a dog"] * 30)}, "30 in caption.mat"),
            ("caption.mat", {"caption": np.ones((36, 5))}, "caption.mat.*strings"),
            ("index.mat", {"index": np.array(["im1.jpg"] * 36)}, "index.mat, row 0.*im1.jpg"),
            ("index.mat", {"index": np.array([["a.jpg", "b.jpg"]] * 36)}, "index.mat.*2 in row 0"),
        ],
    )
    def test_parts_that_do_not_fit_are_refused(self, root, name, content, match):
        savemat(root / name, content)
        with pytest.raises(DataError, match=match):
            load(root, "mith")
        assert check("coco", root).survey.damaged

    @pytest.mark.parametrize("name", ["index.mat", "caption.mat", "label.mat"])
    def test_a_missing_or_half_downloaded_file_says_where_to_get_it(self, root, name):
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: len(whole) // 3])
        with pytest.raises(DataFileError, match=rf"{name}.*MITH"):
            load(root, "mith")
        assert any(name in line for line in check("coco", root).survey.damaged)
        (root / name).unlink()
        with pytest.raises(DataFileError, match=rf"{name}.*MITH"):
            load(root, "mith")
        assert [line.split(":")[0] for line in check("coco", root).survey.missing] == [name]

    @pytest.mark.parametrize("again", ["the same", "in 2017"])
    def test_a_picture_in_two_rows_is_refused(self, root, again):
        names = [name.strip() for name in loadmat(root / "index.mat")["index"]]
        number, _ = parse_name(names[3])
        names[7] = names[3] if again == "the same" else f"/elsewhere/train2017/{number:012d}.jpg"
        savemat(root / "index.mat", {"index": np.array(names)})
        with pytest.raises(DataError, match=rf"index.mat.*every image once, got 1 of 36 once more, first {names[7]}"):
            load(root, "mith")
        assert any("every image once" in line for line in check("coco", root).survey.damaged)

    def test_another_size_is_refused_unless_it_is_asked_for(self, root):
        with pytest.raises(DataError, match="expected 122,218 usable items, got 36"):
            load(root, "mith", partial=False)


class TestFeatureFiles:
    def test_ucch_asks_the_last_of_the_others(self, tmp_path):
        make_features(tmp_path)
        data = load(tmp_path, "ucch")
        numbers = [n for n in range(40) if things(n)]
        asked = [int(query.key) for query in data.test[0].queries]
        assert asked == list(range(len(numbers) - len(asked), len(numbers)))
        assert [int(g.key.removesuffix("#0")) for g in data.test[0].gallery] == list(range(asked[0]))
        trained = [int(pair.query.key) for pair in data.train]
        held = [int(query.key) for query in data.validation[0].queries]
        assert sorted(trained + held) == list(range(asked[0]))
        for pair in data.train:
            assert (pair.query.image.shape, pair.target.text.shape) == ((16,), (12,))
            assert pair.query.image.dtype.kind == "f"
            assert pair.labels.tolist() == multi_hot(numbers[int(pair.query.key)])
        with pytest.raises(DataError, match=r"auto or vectors"):
            load(tmp_path, "ucch", texts="sentences")

    def test_a_half_downloaded_hdf5_says_where_to_get_it(self, tmp_path):
        make_features(tmp_path)
        path = tmp_path / "MSCOCO_deep_doc2vec_data_rand.h5py"
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(DataFileError, match="h5py.*UCCH"):
            load(tmp_path, "ucch")
        assert len(check("coco", tmp_path).survey.damaged) == 1

    @pytest.fixture
    def arrays(self, tmp_path):
        make_arrays(tmp_path)
        return tmp_path

    USABLE = [n for n in range(45) if things(n)]

    def write_lists(self, root, train, test, val):
        for name, rows in (("train", train), ("test", test), ("val", val)):
            np.save(root / f"{name}_data_list.npy", np.array(rows))

    def test_crcgs_drops_the_last_column_and_rows_without_a_category(self, arrays):
        data = load(arrays, "crcgs")
        order = np.array(self.USABLE)[np.random.RandomState(0).permutation(len(self.USABLE))].tolist()
        trained, asked = len(data.train), len(data.test[0].queries)
        assert [int(pair.query.key) for pair in data.train] == order[:trained]
        assert [int(query.key) for query in data.test[0].queries] == order[trained : trained + asked]
        features, bags = np.load(arrays / "feature.npy"), np.load(arrays / "bow.npy")
        for pair in data.train:
            np.testing.assert_array_equal(pair.query.image, features[int(pair.query.key)])
            np.testing.assert_array_equal(pair.target.text, bags[int(pair.query.key)])
            assert pair.labels.tolist() == multi_hot(int(pair.query.key))
        assert "5 rows without a category left out" in data.notes

    def test_the_three_lists_count_where_they_are(self, arrays):
        self.write_lists(arrays, train=[3, 1, 40, 8], test=[0, 44, 2], val=[[5], [6]])  # 8 and 44 have no category
        data = load(arrays, "crcgs")
        assert [int(pair.query.key) for pair in data.train] == [3, 1, 40]
        assert [int(query.key) for query in data.test[0].queries] == [0, 2]
        assert [int(query.key) for query in data.validation[0].queries] == [5, 6]
        assert len(data.test[0].gallery) == len(self.USABLE) - 2
        assert "2 rows of the index lists have no category and are left out" in data.notes
        assert any("index lists" in note for note in data.notes)

    @pytest.mark.parametrize(
        ("lists", "match"),
        [
            (([3, 1, 45], [0, 2], [5, 6]), r"train_data_list.npy.*rows 0 ... 44.*1 ... 45"),
            (([3, 1], [-1, 2], [5, 6]), r"test_data_list.npy.*rows 0 ... 44"),
            (([3, 1], [0, 2], [5.5, 6]), r"val_data_list.npy.*float64"),
            (([3, 1], [0, 2], [3, 6]), "disjoint"),
        ],
    )
    def test_lists_that_do_not_fit_are_refused(self, arrays, lists, match):
        self.write_lists(arrays, *lists)
        with pytest.raises(DataError, match=match):
            load(arrays, "crcgs")
        assert not check("coco", arrays).good

    def test_a_missing_list_or_matrix_is_named(self, arrays):
        self.write_lists(arrays, [3, 1], [0, 2], [5, 6])
        for name in ("val_data_list.npy", "bow.npy"):
            (arrays / name).unlink()
            with pytest.raises(DataFileError, match=rf"{name}.*CRCGS"):
                load(arrays, "crcgs")
            assert any(name in line for line in check("coco", arrays).survey.missing)

    def test_matrices_of_other_lengths_are_refused(self, arrays):
        np.save(arrays / "bow.npy", np.load(arrays / "bow.npy")[:-1])
        with pytest.raises(DataError, match=r"45 in feature.npy, 44 in bow.npy, 45 in label.npy"):
            load(arrays, "crcgs")

    def test_a_cut_matrix_is_damaged(self, arrays):
        whole = (arrays / "feature.npy").read_bytes()
        (arrays / "feature.npy").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataFileError, match="feature.npy.*CRCGS"):
            load(arrays, "crcgs")
