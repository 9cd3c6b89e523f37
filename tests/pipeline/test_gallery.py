"""hashret index and hashret search on stores: the answers of the index file, and ClickHouse's conditions."""

import json

import pytest
from click.testing import CliRunner
from drawn import draw
from engines import ADDRESSES

from hashret.cli import main
from hashret.pipeline import encode

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def call(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def hits(*arguments):
    done = call("search", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [[(hit["distance"], hit["key"]) for hit in row["hits"]] for row in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def encoded(model, tmp_path_factory):
    """40 pictures with a year and a caption each, one of them torn."""
    folder = tmp_path_factory.mktemp("years")
    draw(folder / "p", 40)
    (folder / "p" / "0003.png").write_bytes(b"torn")
    rows = [f"p/{n:04d}.png,it's picture {n},{2000 + n % 4}" for n in range(40)]
    (folder / "photos.csv").write_text("\n".join(["file_name,text,year", *rows]) + "\n")
    encode(model, folder / "photos.csv", "image", folder / "encoded", shard_size=9, quiet=True)
    return folder / "encoded"


@pytest.mark.parametrize("engine", ["chdb", "ray"])
def test_a_store_answers_as_the_index_file_does(engine, model, encoded, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")
    photo = encoded.parent / "p" / "0007.png"
    asked = [("--text", "a red dog"), ("--image", photo, "-k", 5), ("--image", photo, "--without-reference", "-k", 60)]
    with ADDRESSES[engine](tmp_path) as addressed:
        address = addressed("photos")
        shards = {"ray": "?shards=2"}.get(engine, "")
        for out in (tmp_path / "photos.index", address + shards):
            done = call("index", encoded, "--out", out)
            assert done.stdout == f"39 codes indexed in {out}\n", done.output
        for words in asked:
            assert hits(address, "--run", model, *words) == hits(tmp_path / "photos.index", "--run", model, *words)
        assert len(hits(address, "--run", model, *asked[2])[0]) == 38
        conditions(engine, address, model, asked[0])


def conditions(engine, address, model, asked):
    """Only ClickHouse has metadata to ask for; who asks another is told so."""
    if engine == "ray":
        done = call("search", address, "--run", model, *asked, "--where", "year = '2002'")
        assert done.exit_code == 1
        assert "--out chdb:PATH" in done.stderr
        return
    found = hits(address, "--run", model, *asked, "-k", 99, "--where", "year = '2003' AND caption LIKE 'it\\'s%'")
    assert sorted(key for _, key in found[0]) == [f"p/{n:04d}.png" for n in range(7, 40, 4)]
    wrong = call("search", address, "--run", model, *asked, "--where", "yaer = 1")
    assert wrong.exit_code == 1
    assert "a condition that ClickHouse can evaluate" in wrong.stderr


def test_what_does_not_go_into_a_store_has_a_named_error(encoded, tmp_path):
    done = call("index", encoded, "--out", f"ray://{tmp_path}/photos")
    assert "photos?shards=4" in done.stderr
    done = call("index", encoded, "--out", f"chdb:{tmp_path}/photos", "--tables")
    assert "Leave --tables out" in done.stderr
    done = call("search", tmp_path / "no.index", "--run", tmp_path, "--text", "a")
    assert "expected an index file" in done.stderr
