"""Tables: what stands in which cell, what is bold, what is refused."""

import io
import math

import pytest
from rich.console import Console

from hashret.errors import InputError
from hashret.report import results_table, to_markdown

ROWS = {
    "crcgs [64]": {"i2t": 0.71234, "t2i": 0.5},
    "sign of CCA": {"i2t": 0.71232, "t2i": 0.6},
    "random": {"i2t": 0.27, "t2i": math.nan},
}


def printed(rows, *, title="", caption="", color=False, width=120):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(results_table(title, ["i2t", "t2i"], rows, caption))
    return stream.getvalue()


def test_numbers_have_four_decimals_and_end_in_one_column():
    lines = printed(ROWS).splitlines()
    body = {line.split("  ")[1].strip(): line for line in lines if "." in line}
    assert body["crcgs [64]"].split()[-2:] == ["0.7123", "0.5000"]
    assert body["random"].split()[-2:] == ["0.2700", "-"]
    heading = next(line for line in lines if "i2t" in line)
    ends = {line.index(number) + 6 for line, number in zip(body.values(), ("0.7123", "0.7123", "0.2700"), strict=True)}
    assert ends == {heading.index("i2t") + 3}
    assert {len(line.rstrip()) for line in [heading, *body.values()]} == {len(heading.rstrip())}


def test_the_best_as_printed_are_bold_and_no_others():
    lines = printed(ROWS, color=True).splitlines()
    row = {name: next(line for line in lines if name in line) for name in ROWS}
    assert "\x1b[1m0.7123\x1b[0m" in row["crcgs [64]"]
    assert "\x1b[1m0.7123\x1b[0m" in row["sign of CCA"]  # equal as printed
    assert "\x1b[1m0.6000\x1b[0m" in row["sign of CCA"]
    assert "\x1b[1m" not in row["random"]
    assert "\x1b[1m0.5000" not in row["crcgs [64]"]


def test_a_number_without_rival_is_not_bold():
    assert "**" not in to_markdown(["i2t"], {"crcgs": {"i2t": 0.5}})
    assert "**" not in to_markdown(["i2t"], {"crcgs": {"i2t": 0.5}, "random": {}})


def test_title_and_caption_are_not_wrapped_to_the_columns_nor_read_as_markup():
    title = "mAP@all, 64 bits, ties: expected, 1,000 queries (0 without a right answer), [bold]4,000[/bold] items"
    lines = printed(ROWS, title=title, caption="Flickr8k [dim] official split\nsecond line").splitlines()
    assert lines[0] == title
    assert lines[-2:] == ["Flickr8k [dim] official split", "second line"]


def test_markdown_is_a_table_that_reads_well():
    assert to_markdown(["i2t", "t2i"], ROWS) == (
        "| method      |        i2t |        t2i |\n"
        "|:------------|-----------:|-----------:|\n"
        "| crcgs [64]  | **0.7123** |     0.5000 |\n"
        "| sign of CCA | **0.7123** | **0.6000** |\n"
        "| random      |     0.2700 |          - |\n"
    )


def test_markdown_escapes_what_would_end_a_cell():
    lines = to_markdown(["a|b"], {"x\ny|z": {"a|b": 0.5}}).splitlines()
    assert len(lines) == 3
    assert r"x y\|z" in lines[2]
    assert r"a\|b" in lines[0]


@pytest.mark.parametrize("draw", [lambda c, r: results_table("", c, r), to_markdown])
def test_empty_tables_and_unknown_tasks_are_refused(draw):
    with pytest.raises(InputError, match="at least one row"):
        draw(["i2t"], {})
    with pytest.raises(InputError, match="at least one row"):
        draw([], {"crcgs": {}})
    with pytest.raises(InputError, match="row crcgs: expected tasks among i2t, got t2i"):
        draw(["i2t"], {"crcgs": {"i2t": 0.5, "t2i": 0.4}})


def test_one_task_and_many_methods():
    rows = {f"method {i}": {"i2t": i / 100} for i in range(60)}
    assert to_markdown(["i2t"], rows).count("\n") == 62
    assert to_markdown(["i2t"], rows).count("**") == 2
