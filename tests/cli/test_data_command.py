"""``hashret data``: every dataset can be listed and told, and a copy is checked with an exit code."""

import json

import pytest
from click.testing import CliRunner
from trees import LAYOUTS

from hashret.cli import main
from hashret.data import DATASETS


def call(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def test_list_names_all():
    done = call("list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")] == list(DATASETS)
    assert [card["name"] for card in json.loads(call("list", "--json").stdout)] == list(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_info_says_what_a_reader_must_know(name):
    card, done = DATASETS[name].CARD, call("info", name)
    assert done.exit_code == 0
    flat = " ".join(done.stdout.split())
    for text in (card.title, card.what, card.licence, card.source, *card.tree.splitlines()):
        assert " ".join(text.split()) in flat
    for protocol in card.protocols:
        assert f"data.protocol={protocol.name}" in flat
        assert all(f"{size:,}" in flat for size in protocol.sizes.values())
    assert json.loads(call("info", name, "--json").stdout)["licence"] == card.licence


def test_info_of_an_unknown_dataset_is_an_error():
    done = call("info", "imagenet")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: dataset: expected one of ")


def test_check_of_a_whole_folder(tmp_path):
    LAYOUTS["folder"]["imagefolder"].make(tmp_path)
    done = call("check", "folder", tmp_path)
    assert done.exit_code == 0
    assert "16 of 16 can be read" in done.stdout
    assert "nothing is wrong" in done.stdout
    assert not list(tmp_path.glob("*.jsonl"))[1:]


def test_check_of_a_broken_folder(tmp_path, monkeypatch):
    root = tmp_path / "data"
    root.mkdir()
    LAYOUTS["folder"]["imagefolder"].make(root)
    (root / "3.png").unlink()
    (root / "4.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    done = call("check", "folder", root)
    assert done.exit_code == 1
    assert "14 of 16 can be read" in done.stdout
    assert "2 missing or unreadable" in done.stdout
    listed = (tmp_path / "folder-unreadable.jsonl").read_text().splitlines()
    assert {json.loads(line)["image"] for line in listed} == {"3.png", "4.png"}
    elsewhere = tmp_path / "bad.jsonl"
    assert call("check", "folder", root, "--unreadable", elsewhere, "--json").exit_code == 1
    assert len(elsewhere.read_text().splitlines()) == 2
    assert call("check", "folder", root, "--no-images").exit_code == 0


def test_check_of_an_empty_folder(tmp_path):
    done = call("check", "folder", tmp_path)
    assert done.exit_code == 1
    assert "missing" in done.stdout
