import pytest

from hashret.catalogue import Catalogue, Item, catalogue_path, read_catalogue, write_catalogue
from hashret.errors import FileError, FormatError

ITEMS = [
    Item("a.jpg", "photos/a.jpg"),
    Item("b#1", text="ein Hund läuft\nim\u2028Schnee"),
    Item("c.jpg", columns={"labels": ["dog", "snow"], "year": 2024, "indoors": False}),
    Item("\udce9.jpg", "photos/\udce9.jpg"),
]


def test_items_come_back(tmp_path):
    write_catalogue(tmp_path / "x.index", ITEMS, model="m1", side="text")
    assert read_catalogue(tmp_path / "x.index", 4) == Catalogue(tuple(ITEMS), "m1", "text")


def test_a_catalogue_of_an_older_version_has_no_side(tmp_path):
    catalogue_path(tmp_path / "x.index").write_text('{"model": "m1"}\n{"key": "a"}\n', encoding="utf-8")
    assert read_catalogue(tmp_path / "x.index", 1) == Catalogue((Item("a"),), "m1")


def test_named_errors(tmp_path):
    path = tmp_path / "x.index"
    with pytest.raises(FileError, match="Move the two files together"):
        read_catalogue(path, 3)
    write_catalogue(path, ITEMS, model="m1")
    with pytest.raises(FormatError, match="expected 5 items for 5 codes, got 4"):
        read_catalogue(path, 5)
    for content in ('{"model": "m1"}\n{"kye": 1}\n', '{"key": "a"}\n', "no json\n", ""):
        catalogue_path(path).write_text(content, encoding="utf-8")
        with pytest.raises(FormatError, match="one item a line"):
            read_catalogue(path, 1)
