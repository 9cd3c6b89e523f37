"""The report of synthetic runs: the page parsed, its numbers against loops, its bytes, its silence about nothing."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic_runs import HOSTILE, examined, kept

from hashret.errors import FileError, InputError
from hashret.report.kept import Kept
from hashret.report.measured import comparison_section, holm
from hashret.report.parts import Examined, Picture, Queries, first_of_systems, questions
from hashret.report.sheet import Sheet
from hashret.report.writing import report_sections, write_report

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags with attributes, headings, ids and text; every tag has to be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.style, self.headings = [], [], "", "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def check_page(text):
    """What every page has to keep: it asks for nothing, and a machine can read it out."""
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert re.match(r"#|data:image/", attributes.get(name) or "#"), attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert "url(" not in (attributes.get("style") or "").replace("url(#", "")
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert "@import" not in page.style
    assert "url(" not in page.style.replace("url(#", "")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in page.all("a")] + re.findall(r"url\(#([^)]+)\)", text)
    assert set(targets) <= set(ids)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert all(image.get("alt") for image in page.all("img"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    pictures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(pictures) == len(page.all("figure"))
    assert all(svg["aria-labelledby"] in ids for svg in pictures)
    assert page.all("html")[0]["lang"] == "en"
    return page


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A report of hostile runs: two seeds of one system, another width, another question, one that is not measured."""
    out = tmp_path_factory.mktemp("report")
    write_report(hostile_runs(), out)
    return hostile_runs(), out


def hostile_runs():
    gone = "no data. Give --data ROOT."
    return [
        examined("a", HOSTILE),
        Examined(examined("b", HOSTILE, seed=1).kept, missing=gone),
        Examined(examined("narrow", HOSTILE, bits=4).kept, missing=gone),
        Examined(examined("elsewhere", dataset="another").kept, missing=gone),
        Examined(kept("new", words=HOSTILE), missing=gone),
    ]


def test_the_page_asks_for_nothing_and_can_be_read_out(several):
    page = check_page((several[1] / "report.html").read_text("utf-8"))
    assert page.text.count(HOSTILE) > 10
    assert "new: no data. Give --data ROOT." in page.text
    assert "new was not measured" in page.text
    assert page.text.count("✓ right") == page.text.count("✗ wrong") > 0


def test_nothing_hostile_is_markup_in_the_summary(several):
    text = (several[1] / "report.md").read_text("utf-8")
    prose = re.sub(r"(?ms)^(`{3,})yaml\n.*?^\1$", "", text)
    assert "evil.example" in text
    assert not re.search(r"(?<!\\)<script", prose)
    links = re.findall(r"(?<!\\)\]\(([^)]+)\)", prose)
    assert links
    assert all((several[1] / link).exists() for link in links)


def test_every_picture_is_there_as_svg_and_png(several):
    runs, out = several
    drawn = [p for section in report_sections(runs) for p in section.parts if isinstance(p, (Picture, Queries))]
    files = list((out / "pictures").iterdir())
    assert len(files) == 2 * len(drawn) > 15
    for file in files:
        assert re.fullmatch(r"[a-z0-9-]+\.(svg|png)", file.name)
        if file.suffix == ".svg":
            tree = ElementTree.parse(file)
            links = [v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("href")]
            assert all(link.startswith(("#", "data:image/png")) for link in links)
        else:
            assert file.read_bytes()[:4] == b"\x89PNG"


def test_the_same_runs_give_the_same_bytes(several, tmp_path):
    write_report(hostile_runs(), tmp_path / "elsewhere")
    found = []
    for folder in (several[1], tmp_path / "elsewhere"):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        found.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert len(found[0]) > 10
    assert found[0] == found[1]


def titled(sections, section, title):
    """The one sheet of a section whose title begins so."""
    (part,) = [s for s in sections if s.title == section]
    (sheet,) = [p for p in part.parts if isinstance(p, Sheet) and p.title.startswith(title)]
    return [[cell.text for cell in row] for row in sheet.body]


def test_values_intervals_and_tests_of_known_answers():
    ones = np.array([1.0] * 30 + [np.nan])
    half = np.array([1.0, 0.0] * 15 + [np.nan])
    runs = [Examined(kept("ones", values=ones)), Examined(kept("half", values=half, method="dscmr"))]
    sections = report_sections(runs)
    rows = {row[0]: row[1] for row in titled(sections, "Results", "map, ties: expected")}
    assert rows["ones"] == "1.0000 [1.0000, 1.0000]", "queries that do not differ leave no doubt"
    assert rows["random codes"] == "0.5000 [0.5000, 0.5000]"
    chance = np.random.default_rng(0)  # the bootstrap by its definition
    draws = np.sort([half[:30][chance.integers(0, 30, 30)].mean() for _ in range(4000)])
    low, high = map(float, re.findall(r"[\d.]+", rows["half"])[1:])
    assert (low, high) == pytest.approx((draws[100], draws[3900]), abs=0.034), "one query more or less"
    ((name, task, value, difference, _, p, corrected, better, worse, equal),) = titled(sections, "Paired tests", "map")
    assert (name, task, value, difference) == ("half", "i2t", "0.5000", "-0.5000")
    assert (better, worse, equal) == ("0", "15", "15")
    assert float(p) == pytest.approx(2 / 2**15, abs=3e-4)
    assert p == corrected


def test_holm_by_its_definition():
    values = np.random.default_rng(2).random(9) / 5
    order = np.argsort(values)
    for index, corrected in enumerate(holm(values.tolist())):
        place = int(np.flatnonzero(order == index)[0])
        assert corrected == pytest.approx(min(1, max((9 - i) * values[order[i]] for i in range(place + 1))))


def test_only_runs_that_were_asked_the_same_are_tested():
    runs = [examined("a"), examined("elsewhere", dataset="another")]
    assert comparison_section(runs) is None
    assert [[run.kept.name for run in members] for _, members in questions(runs)] == [["a"], ["elsewhere"]]


def test_seeds_are_repetitions_and_widths_a_curve():
    runs = [examined("a"), examined("b", seed=1), examined("narrow", bits=4)]
    assert [run.kept.name for run in first_of_systems(runs)] == ["a", "narrow"]
    sections = report_sections(runs)
    means = [run.kept.own["i2t"]["map"] for run in runs]
    ((system, seeds, spread),) = titled(sections, "Results", "map over training seeds")
    assert (system, seeds) == ("crcgs, 8 bits", "0, 1")
    assert spread == f"{np.mean(means[:2]):.4f} ± {np.std(means[:2], ddof=1):.4f}"
    (width,) = [s for s in sections if s.title == "Width of the codes"]
    line, points = width.parts[0].figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[4, means[2]], [8, np.mean(means[:2])]])
    np.testing.assert_allclose(np.sort(points.get_ydata()), np.sort(means))


def test_a_run_alone_without_anything_still_has_a_page(tmp_path):
    bare = kept("bare")
    bare = Kept("bare", bare.recipe, {}, [], 0, None, None)
    write_report([Examined(bare, missing="its data is gone. Give --data ROOT.")], tmp_path)
    page = check_page((tmp_path / "report.html").read_text("utf-8"))
    assert page.text.count("Give --data ROOT") == 4
    assert "its log has no epoch" in page.text
    assert "Paired tests" not in page.text


def test_what_cannot_be_reported_is_refused(tmp_path):
    other = kept("b", values=np.ones(40), method="dscmr")
    scores = other.scores.scores["CRCGS"]["i2t"]
    scores.per_query["recall@1"] = scores.per_query.pop("map")
    with pytest.raises(InputError, match="a metric that all"):
        write_report([Examined(kept("a", values=np.ones(40))), Examined(other)], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="a folder to write"):
        write_report([examined("a")], tmp_path / "file")
