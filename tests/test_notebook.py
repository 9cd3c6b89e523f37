"""What a notebook shows of values: parsed as HTML, escaped, complete; and what pandas gets of them."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashret import Codes, Example, Hits, Scores, SharedLabels, binarize
from hashret.catalogue import Item
from hashret.errors import InputError

HOSTILE = "<script>alert('x')</script> & \"more\""


class Parsed(HTMLParser):
    """Tags with their attributes, and the text; every tag has to be closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, wanted):
        return sum(tag == wanted for tag, _ in self.tags)


def test_codes_show_their_bits():
    codes = binarize(np.random.default_rng(0).standard_normal((20, 130)))
    page = Parsed(codes._repr_html_())
    strips = [told for tag, told in page.tags if tag == "svg"]
    assert len(strips) == 8
    expected = ["".join("1" if bit > 0 else "0" for bit in row[:128]) for row in codes.unpack()[:8]]
    assert [told["aria-label"] for told in strips] == expected
    drawn = [told["d"] for tag, told in page.tags if tag == "path"]
    assert [sorted(map(int, re.findall(r"M(\d+) ", d))) for d in drawn] == [
        [place for place, bit in enumerate(row) if bit == "1"] for row in expected
    ]
    assert "20 codes of 130 bits" in page.text
    assert "12 more codes" in page.text
    assert "first 128 bits" in page.text


def test_nothing_shows_itself_too():
    assert Parsed(Codes(np.empty((0, 1), np.uint8), 8)._repr_html_()).count("svg") == 0
    assert "0 queries" in Parsed(Hits.none(0)._repr_html_()).text
    assert len(Hits.none(3).to_pandas()) == 0


def test_scores_show_values_and_rules():
    values = np.array([1.0, np.nan, 0.25, 0.75])
    scores = Scores({"map": values, "median-rank": np.array([1.0, np.nan, np.inf, 2.0])}, "by-id", 4, 1, "omit")
    page = Parsed(scores._repr_html_())
    assert "0.6667" in page.text
    assert "4 queries (1 without a right answer left out); ties: by-id" in page.text
    assert "1,000 draws" in page.text
    frame = scores.to_pandas()
    np.testing.assert_array_equal(frame["map"], values)
    assert frame.index.name == "query"
    assert frame.attrs == {"ties": "by-id", "unanswered": 1, "policy": "omit"}


def test_hits_show_ids_and_distances():
    hits = Hits(np.array([[0, 3], [2, 2147483647]], np.int32), np.array([[9, 2], [5, -1]]))
    page = Parsed(hits._repr_html_())
    cells = re.findall(r'<td>(\d+)<div class="note">(\d+)</div></td>', hits._repr_html_())
    assert cells == [("9", "0"), ("2", "3"), ("5", "2")]
    assert "2 answers to each of 2 queries" in page.text
    frame = hits.to_pandas()
    assert list(frame.columns) == ["query", "place", "id", "distance"]
    assert frame.to_numpy().tolist() == [[0, 1, 9, 0], [0, 2, 2, 3], [1, 1, 5, 2]]


def test_codes_go_to_pandas_bit_by_bit():
    codes = binarize([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    np.testing.assert_array_equal(codes.to_pandas().to_numpy(), codes.unpack())


def test_shown_hits_hold_pictures_texts_and_marks(tmp_path):
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    items = [
        tmp_path / "red.png",
        HOSTILE,
        Example(image=tmp_path / "red.png", key=HOSTILE),
        Item("a.jpg", path=str(tmp_path / "gone.jpg")),
        Example(image=np.ones(3, np.float32), key="a vector"),
    ]
    hits = Hits(np.array([[0, 1, 2, 3, 4]], np.int32), np.array([[0, 1, 2, 3, 4]]))
    right = SharedLabels([[1, 0]], [[1, 0], [0, 1], [1, 1], [0, 1], [0, 1]]).judge([0], hits.ids)
    page = Parsed(hits.show(items, [HOSTILE], right)._repr_html_())
    pictures = [told for tag, told in page.tags if tag == "img"]
    assert [told["alt"] for told in pictures] == ["red.png", HOSTILE]
    assert all(told["src"].startswith("data:image/jpeg;base64,") for told in pictures)
    assert page.count("script") == 0
    assert page.text.count(HOSTILE) == 2
    assert page.text.count("✓ right") == 2
    assert "a.jpg: " in page.text, "what cannot be opened says so"
    assert "a vector" in page.text


def test_shown_hits_refuse_what_does_not_fit():
    hits = Hits(np.array([[0]], np.int32), np.array([[3]]))
    with pytest.raises(InputError, match=r"0 \.\.\. 3"):
        hits.show(["only one"])
    with pytest.raises(InputError, match="one a row"):
        hits.show(["a"] * 4, queries=["a", "b"])
    with pytest.raises(InputError, match="marks"):
        hits.show(["a"] * 4, right=np.ones((1, 2), bool))


def test_values_that_show_themselves_load_no_pictures_and_no_pandas():
    """The rooms of codes and hits stay light."""
    import subprocess
    import sys

    program = (
        "import sys, hashret.search.hits as h; assert not {'PIL', 'pandas', 'torch'} & set(sys.modules), sys.modules"
    )
    assert Path(sys.executable).exists()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
