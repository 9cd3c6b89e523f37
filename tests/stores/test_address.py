"""Addresses are taken apart once, and shown without what is secret."""

from pathlib import Path

import pytest

from hashret.errors import FileError, InputError
from hashret.stores import open_store
from hashret.stores.address import Address
from hashret.stores.clickhouse_sql import quoted


def test_the_parts_of_an_address():
    address = Address.read("clickhouse://ann:p%40ss@db:9000/photos?table=codes&bits=64")
    assert (address.scheme, address.host, address.port, address.path) == ("clickhouse", "db", 9000, "/photos")
    assert (address.user, address.password) == ("ann", "p@ss")
    assert address.options == {"table": "codes", "bits": "64"}
    assert "p@ss" not in repr(address) + address.shown
    assert address.shown == "clickhouse://db:9000/photos"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ray:///x?bits=8&bits=9", "one value"), ("ray:///x?bits=", "one value"), ("ray://h:99999/x", "port"),
        ("ray:///x?bits=-8", "whole number"), ("ray:///x?bits=eight", "whole number"), ("ray://host/x", "server host"),
        ("ray:?bits=8", "no path"), ("mongo://host/x", "one of file:, ray:"), ("chdb:x?colour=red", "colour"),
    ],
)  # fmt: skip
def test_mistakes_in_addresses_have_names(text, said):
    with pytest.raises(InputError, match=said):
        open_store(text)


def test_paths_need_no_scheme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.index", "odd name%41.index", "file:b.index"):
        with open_store(f"{name}?bits=8") as store:
            assert (len(store), store.bits) == (0, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.index", "b.index", "odd nameA.index"]
    Path("a.index").rename("c?x:1.index")
    with open_store(Path("c?x:1.index")) as store:
        assert len(store) == 0
    with pytest.raises(FileError, match="hashret index"):
        open_store("none.index")
    with pytest.raises(FileError):
        open_store("./x:none.index")


def test_names_are_quoted():
    assert quoted("a`; DROP TABLE b; --\\") == "`a\\`; DROP TABLE b; --\\\\`"
