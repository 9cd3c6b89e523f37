"""Sheets: the same cells in every form, escaped for each, with the rules beside them."""

import csv
import io
import math
import re

import pytest
from rich.console import Console

from hashret.errors import InputError
from hashret.report import Cell, Sheet, results_sheet, to_csv, to_latex

SHEET = Sheet(
    ("run", "map", "50% of R&D_x"),
    ((Cell("a|b [red]x[/red]"), Cell("0.5", bold=True), Cell("-1")), (Cell(r"c\d"), Cell("0.25"), Cell("{~^}"))),
    "map, ties: expected",
    ("10 queries (1 without a right answer left out)", "pictures"),
)


def printed(sheet):
    stream = io.StringIO()
    Console(file=stream, width=120).print(sheet.terminal())
    return stream.getvalue()


def test_every_form_shows_cells_title_and_caption():
    for text in (printed(SHEET), SHEET.markdown(), SHEET.latex()):
        for part in (
            "0.25",
            "0.5",
            "map, ties: expected",
            "10 queries (1 without a right answer left out)",
            "pictures",
        ):
            assert part in text


def test_a_terminal_reads_no_markup():
    assert "a|b [red]x[/red]" in printed(SHEET)


def test_markdown_is_one_table_between_paragraphs():
    lines = SHEET.markdown().splitlines()
    assert lines[:2] == ["map, ties: expected", ""]
    assert lines[-4:] == ["", "10 queries (1 without a right answer left out)", "", "pictures"]
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert len({len(line) for line in table}) == 1
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in table)


def test_latex_escapes_what_it_would_read():
    text = SHEET.latex()
    assert r"run & map & 50\% of R\&D\_x \\" in text
    assert r"a\textbar{}b [red]x[/red] & \textbf{0.5} & $-$1 \\" in text
    assert r"c\textbackslash{}d & 0.25 & \{\textasciitilde{}\textasciicircum{}\} \\" in text
    assert r"\begin{tabular}{lrr}" in text
    assert (
        r"\caption{map, ties: expected. 10 queries (1 without a right answer left out). pictures}" in text.splitlines()
    )
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    assert not re.search(r"(?<!\\)[%#_]|(?<![\\ ])&", text)
    bare = to_latex(["i2t"], {"CRCGS": {"i2t": 0.5}})
    assert bare.startswith(r"\begin{tabular}{lr}")
    assert "caption" not in bare


def test_hyphens_of_words_are_no_minus():
    latex = Sheet(("a",), ((Cell("map@5, by-id, sign-1, -0.5, [-1, 2]"),),)).latex()
    assert "map@5, by-id, sign-1, $-$0.5, [$-$1, 2]" in latex


def test_csv_is_read_back():
    text = to_csv(["row", "note", "value"], [["CCA, tuned", 'says "hi"', 0.1], ["none\nat all", None, math.nan]])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["row", "note", "value"], ["CCA, tuned", 'says "hi"', "0.1"], ["none\nat all", "", ""]]
    value = 0.1 + 0.2
    assert float(list(csv.reader(io.StringIO(to_csv(["x"], [[value]]))))[1][0]) == value


def test_rows_of_another_width_are_refused():
    with pytest.raises(InputError, match="expected 2 cells a row, got 1"):
        Sheet(("a", "b"), ((Cell("x"),),))
    with pytest.raises(InputError, match="record: expected 2 values, got 1"):
        to_csv(["a", "b"], [["x"]])


def test_intervals_stand_behind_the_numbers():
    rows = {"one": {"i2t": 0.5, "t2i": math.nan}, "two": {"i2t": 0.25}}
    ends = {"one": {"i2t": (0.4, 0.6), "t2i": (math.nan, math.nan)}}
    text = results_sheet(["i2t", "t2i"], rows, intervals=ends).markdown()
    assert "**0.5000 [0.4000, 0.6000]**" in text
    assert re.search(r"two +\| +0\.2500 \| +- \|", text)


def test_of_ranks_the_smallest_is_bold():
    rows = {"one": {"map": 0.5, "median-rank": 3.0}, "two": {"map": 0.25, "median-rank": 2.0}}
    text = results_sheet(["map", "median-rank"], rows, lowest=["median-rank"]).markdown()
    assert "**0.5000**" in text
    assert "**2.0000**" in text
    assert text.count("**") == 4
    endless = results_sheet(["r"], {"one": {"r": math.inf}, "two": {"r": 9.0}}, lowest=["r"]).markdown()
    assert "**9.0000**" in endless
    assert "inf" in endless
