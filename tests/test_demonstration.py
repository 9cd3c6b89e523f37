"""The demo of composed queries, small: the command from end to end, and the picture's rows against a slow ranking."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hashret import demonstration
from hashret.cli import main
from hashret.data.shapes import load
from hashret.retriever import Retriever

DATA = {"train": 16, "validation": 8, "test": 8, "database": 26}
SMALL = [
    *(f"data.{key}={value}" for key, value in DATA.items()), "image.size=32", "image.width=4", "image.dimension=16",
    "method.width=16", "method.dimension=16", "method.hash_width=16", "stages.embedding.epochs=1",
    "stages.embedding.batch_size=8", "stages.codes.epochs=1", "stages.codes.batch_size=8",
]  # fmt: skip


# What stands for the browser: it waits for the page, asks for an answer and its picture, and presses Ctrl+C.
BROWSER = """
import os, sys, time, json, urllib.error, urllib.request
def get(path):
    return urllib.request.urlopen(sys.argv[1] + path, timeout=30).read()
try:
    for _ in range(2400):
        try:
            get("healthz")
            break
        except urllib.error.HTTPError:
            time.sleep(0.05)
    found = json.loads(get("search?text=a+star&k=3"))
    seen = {"page": get("").decode(), "found": found, "picture": get(found["hits"][0]["picture"][1:]).hex()}
    open(os.environ["SEEN"], "w").write(json.dumps(seen))
finally:
    os.kill(int(os.environ["SERVER"]), 2)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder the demo wrote, and what it printed; its page was opened in what stands for a browser."""
    place = tmp_path_factory.mktemp("demo")
    out, browser = place / "out", place / "browser"
    (place / "browser.py").write_text(BROWSER)
    browser.write_text(f'#!/bin/sh\nexec {sys.executable} {place / "browser.py"} "$@"\n')
    browser.chmod(0o755)
    sets = [part for override in SMALL for part in ("--set", override)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"BROWSER": browser, "SEEN": place / "seen.json", "SERVER": os.getpid()}.items():
            patch.setenv(name, str(value))
        command = ["demo", "--composed", "--serve", "--port", "0", "--out", str(out), *sets]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def test_its_page_is_opened_on_its_data(made):
    out, _ = made
    seen = json.loads((out.parent / "seen.json").read_text())
    assert "<title>hashret</title>" in seen["page"]
    assert len(seen["found"]["hits"]) == 3
    assert bytes.fromhex(seen["picture"]).startswith(b"\xff\xd8")
    assert len(list((out / "images").rglob("*.png"))) == DATA["database"]


def test_it_trains_measures_and_writes_what_it_says(made):
    out, printed = made
    names = {path.name for path in out.iterdir()}
    assert names == {
        "run",
        "composed.encoded",
        "composed.index",
        "composed.index.items.jsonl",
        "hits.png",
        "curves.png",
        "images",
    }
    scores = json.loads((out / "run" / "results.json").read_text("utf-8"))["scores"]
    assert "random codes" in scores
    for name in ("hit@1", "hit@5", "hit@10"):
        value = scores["Contrastive"]["composed"]["means"][name]
        assert f"{name}, 128 bits" in printed
        assert f"{value:.4f}" in printed
    for name in ("hits.png", "curves.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 200


def test_rows_hold_the_nearest_and_the_target_once(made, monkeypatch):
    """Against all distances sorted one by one."""
    out, _ = made
    retriever = Retriever.from_pretrained(out / "run")
    (task,) = load(protocol="edits", **DATA).test
    rows = demonstration._composed_rows(retriever, task, out)
    gallery = retriever.encode(task.gallery).unpack()
    numbers = [int(number) for number in np.linspace(0, 7, 8)[1:-1]]
    assert len(rows) == len(numbers) == 6
    beyond = 0
    for number, row in zip(numbers, rows, strict=True):
        query = task.queries[number]
        distances = (gallery != retriever.encode([query]).unpack()[0]).sum(1)
        order = sorted(range(26), key=lambda place: (distances[place], place))
        assert row.query is query.image
        assert row.caption == query.text
        assert [answer.shown for answer in row.answers[:6]] == [task.gallery[place].image for place in order[:6]]
        for place, answer in zip(order, row.answers[:6], strict=False):
            own = task.gallery[place].image is query.image
            assert answer.caption == f"distance {distances[place]}" + ", the reference" * own
        (target,) = task.relevance.targets[number]
        assert [answer.shown for answer in row.answers if answer.right] == [task.gallery[target].image]
        if order.index(target) >= 6:
            beyond += 1
            assert row.answers[6].caption == f"the target, at place {order.index(target) + 1}"
        else:
            assert len(row.answers) == 6
    assert beyond, "no query of this run misses its target, so that the last card was not looked at"


def test_a_folder_with_files_is_left_alone(made):
    out, _ = made
    done = CliRunner().invoke(main, ["demo", "--composed", "--out", str(out)])
    assert done.exit_code == 1
    assert "a new or empty folder" in done.stderr
