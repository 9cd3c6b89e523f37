import pytest

from hashret.catalogue import Item, catalogue_path, read_catalogue, write_catalogue
from hashret.errors import FileError, FormatError

ITEMS = [
    Item("a.jpg", "photos/a.jpg"),
    Item("b#1", text="ein Hund läuft\nim\u2028Schnee"),
    Item("\udce9.jpg", "photos/\udce9.jpg"),
]


def test_items_come_back(tmp_path):
    write_catalogue(tmp_path / "x.codes", ITEMS)
    assert read_catalogue(tmp_path / "x.codes", 3) == ITEMS


def test_named_errors(tmp_path):
    path = tmp_path / "x.codes"
    with pytest.raises(FileError, match="Move the two files together"):
        read_catalogue(path, 3)
    write_catalogue(path, ITEMS)
    with pytest.raises(FormatError, match="expected 4 items for 4 codes, got 3"):
        read_catalogue(path, 4)
    catalogue_path(path).write_text('{"kye": 1}\n', encoding="utf-8")
    with pytest.raises(FormatError, match="one item a line"):
        read_catalogue(path, 1)
