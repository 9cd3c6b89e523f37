"""What ClickHouse adds to the verbs: metadata, conditions on them, and folders of codes; of chdb, in this process."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from engines import ADDRESSES, duplicates

from hashret.encoded import EncodedFolder
from hashret.errors import FileError, FormatError, InputError, StoreError
from hashret.search import HammingIndex
from hashret.stores import open_store
from hashret.stores.clickhouse_sql import quoted

BITS, ITEMS = 40, 600
CODES = duplicates(BITS, ITEMS, 6)
YEARS = [2000 + number % 20 for number in range(ITEMS)]
KEYS = ["it's" if number % 3 else None for number in range(ITEMS)]
LABELS = [["dog"] if number % 2 else ["cat", "bird"] for number in range(ITEMS)]
ODD = "na`me\\ d"

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with ADDRESSES["chdb"](tmp_path_factory.mktemp("chdb")) as addressed:
        yield addressed


@pytest.fixture(scope="module")
def pair(address):
    index = HammingIndex(BITS)
    index.add(CODES)
    with open_store(address("conditions", f"bits={BITS}")) as store:
        store.add(CODES, metadata={"year": YEARS, ODD: KEYS, "labels": LABELS})
        yield store, index


def _is(column, *values):
    return np.array([value in values for value in column])


CASES = {
    "a value": ({"year": 2003}, _is(YEARS, 2003)),
    "one of several": ({"year": np.array([2003, 2005])}, _is(YEARS, 2003, 2005)),
    "one of none": ({"year": []}, np.zeros(ITEMS, bool)),
    "NULL": ({ODD: None}, _is(KEYS, None)),
    "NULL or a value": ({ODD: [None, "it's"]}, np.ones(ITEMS, bool)),
    "a quote": ({ODD: "it's"}, _is(KEYS, "it's")),
    "two columns": ({"year": 2003, ODD: "it's"}, _is(YEARS, 2003) & _is(KEYS, "it's")),
    "an element": ({"labels": "bird"}, np.arange(ITEMS) % 2 == 0),
    "the id": ({"id": [4, 7]}, _is(range(ITEMS), 4, 7)),
    "SQL that would be": ({ODD: "x') OR 1 = 1 --"}, np.zeros(ITEMS, bool)),
}


@pytest.mark.parametrize("case", CASES)
def test_conditions_are_evaluated_before_the_nearest_are_taken(pair, case):
    store, index = pair
    where, mask = CASES[case]
    asked = CODES[:9]
    assert store.search(asked, 12, where=where) == index.search(asked, 12, allowed=mask)
    assert store.within(asked, 12, where=where) == index.within(asked, 12, allowed=mask)
    assert np.array_equal(store.histogram(asked, where=where), index.histogram(asked, allowed=mask))
    both = mask & (np.arange(ITEMS) % 5 == 0)
    assert store.search(asked, 12, where=where, allowed=np.arange(0, ITEMS, 5)) == index.search(asked, 12, allowed=both)


def test_conditions_in_sql_have_their_values_bound(pair):
    store, index = pair
    mask = np.array([year > 2010 for year in YEARS]) & _is(KEYS, "it's")
    where = f"year > {{least:Int64}} AND {quoted(ODD)} = {{key:String}} -- so"
    found = store.search(CODES[:9], 12, where=where, parameters={"least": 2010, "key": "it's"})
    assert found == index.search(CODES[:9], 12, allowed=mask)


@pytest.mark.parametrize(
    ("where", "parameters", "said"),
    [
        ({"yaer": 1}, None, "columns among id, code, year"), ({"year": "x' OR 1"}, None, "cannot be parsed"),
        ({"year": {"least": 3}}, None, "got dict"), ({"year": 3}, {"a": 1}, "which uses them"), (7, None, "got int"),
        (" ", None, "empty text"), ("nothing = 1", None, "nothing"), ("year = {y:Int64}", None, "y"),
        ("1) OR (1", None, "Syntax error|evaluate"),
    ],
)  # fmt: skip
def test_conditions_that_are_none_have_a_named_error(pair, where, parameters, said):
    store, _ = pair
    if where == "1) OR (1":  # SQL is the caller's own: it is executed
        assert store.search(CODES[:1], 1, where=where).ids[0, 0] >= 0
        return
    with pytest.raises(InputError, match=said):
        store.search(CODES[:1], 1, where=where, parameters=parameters)


def test_metadata_stay_with_their_codes(address):
    with open_store(address("kept", f"bits={BITS}")) as store:
        store.add(CODES[:4], metadata={"year": [1, 2, 3, 4]})
        store.add(CODES[4:6], metadata=pa.table({"key": ["a", "b"]}))
        assert store.columns == {"year": "Nullable(Int64)", "key": "Nullable(String)"}
        store.replace([1], CODES[9:10])
        assert store.search(CODES[9:10], 1, where={"year": 2}).ids.tolist() == [[1]]
        assert set(store.search(CODES[:1], 2, where={"year": None}).ids[0].tolist()) == {4, 5}
        for metadata, said in (
            ({"year": [1]}, "2 rows"), ({"code": [1, 2]}, "'code'"), ({"year": [1, "a"]}, "metadata"),
            ({"x": [{"a": 1}, {"a": 2}]}, "column x"), ("year", "column ->"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=said):
                store.add(CODES[:2], metadata=metadata)
        assert len(store) == 6


def _encoded(path, shards=3, done=True):
    """A folder as `hashret encode` writes it."""
    manifest = {"model": "m", "bits": BITS, "side": "image", "source": "s", "options": {}, "columns": {}}
    folder = EncodedFolder.begin(path, manifest)
    for number, rows in enumerate(np.array_split(np.arange(ITEMS), shards)):
        metadata = {
            "id": rows + 10**12, "key": [f"{row}.jpg" for row in rows], "path": [""] * len(rows),
            "caption": [f"number {row}" for row in rows],
        }  # fmt: skip
        if done or number:
            folder.write(number, CODES[rows], metadata, {"id": [], "key": [], "reason": []}, seconds=1.0)
    folder.finish(ITEMS, shards)
    return path


def test_a_folder_of_codes_is_loaded_once(address, tmp_path):
    folder, index = _encoded(tmp_path / "encoded"), HammingIndex(BITS)
    index.add(CODES, np.arange(ITEMS) + 10**12)
    with open_store(address("loaded", f"bits={BITS}")) as store:
        store.add(CODES[250:350], np.arange(250, 350) + 10**12)  # as if it had been killed
        assert store.load(folder) == ITEMS - 100
        assert store.load(folder) == 0
        assert store.search(CODES[:9], 40) == index.search(CODES[:9], 40)
        assert store.search(CODES[:1], 2, where={"caption": "number 7"}).ids.tolist() == [[10**12 + 7, -1]]
        store.replace([10**12], CODES[1:2] if CODES[1:2] != CODES[:1] else CODES[2:3])
        with pytest.raises(InputError, match=f"{10**12} differ"):
            store.load(folder)


def test_a_loaded_table_knows_its_model_and_tells_the_metadata_of_hits(address, tmp_path):
    with open_store(address("told", f"bits={BITS}")) as store:
        assert store.model == ""
        store.load(_encoded(tmp_path / "encoded"))
    with open_store(address("told")) as store:
        assert store.model == "m"
        ids = store.search(CODES[5:6], 3).ids[0]
        told = store.metadata(ids[[2, 0, 0]], ["caption", "key"])
        numbers = (ids[[2, 0, 0]] - 10**12).tolist()
        assert told == {"caption": [f"number {n}" for n in numbers], "key": [f"{n}.jpg" for n in numbers]}
        assert set(store.metadata([])) == {"key", "path", "caption"}
        assert store.find("endsWith(key, {e:String})", {"e": "17.jpg"}).tolist() == [
            10**12 + n for n in range(ITEMS) if str(n).endswith("17")
        ]
        with pytest.raises(InputError, match="1 unknown"):
            store.metadata([1])
        with pytest.raises(InputError, match="got year"):
            store.metadata(ids, ["year"])
        other = _encoded(tmp_path / "other")
        manifest = (other / "manifest.json").read_text().replace('"model": "m"', '"model": "n"')
        (other / "manifest.json").write_text(manifest)
        with pytest.raises(FormatError, match="codes of the model m.*got n"):
            store.load(other)


def test_folders_that_are_not_done_have_a_named_error(address, tmp_path):
    with open_store(address("none", f"bits={BITS}")) as store:
        with pytest.raises(FileError, match="a folder that hashret encode wrote"):
            store.load(tmp_path)
        with pytest.raises(FileError, match="expected all shards, got 1 missing"):
            store.load(_encoded(tmp_path / "open", done=False))
        short = _encoded(tmp_path / "short", shards=1)
        np.save(short / "codes" / "00000.npy", CODES.packed[:-1])
        with pytest.raises(FormatError, match="expected the file as it was written"):
            store.load(short)
        assert len(store) == 0


def test_what_cannot_be_opened_has_a_named_error(address, tmp_path):
    with pytest.raises(StoreError, match="bits=WIDTH"):
        open_store(address("absent"))
    with pytest.raises(FileError, match="bits=WIDTH"):
        open_store(f"chdb:{tmp_path / 'absent'}")
    with open_store(address("one", "bits=8")), pytest.raises(StoreError, match="an engine that answers"):
        open_store(f"chdb:{tmp_path / 'two'}?bits=8")


def test_a_server_that_is_not_there_or_does_not_know_us(tmp_path):
    with ADDRESSES["clickhouse"](tmp_path) as addressed:
        right = addressed("codes", "bits=8")
        with pytest.raises(StoreError, match="516|Authentication"):
            open_store(right.replace("se%2Fcret", "wrong"))
        with open_store(right) as store:
            assert "cret" not in store.name
    with pytest.raises(StoreError, match="an engine that answers"):
        open_store("clickhouse://reader@127.0.0.1:9/db")
    with pytest.raises(InputError, match="host"):
        open_store("clickhouse:///db")


def test_without_its_packages_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "clickhouse_connect", None)
    for address in (f"chdb:{tmp_path / 'x'}?bits=8", "clickhouse://localhost/db"):
        with pytest.raises(StoreError, match=r"pip install 'hashret\[clickhouse\]'"):
            open_store(address)
