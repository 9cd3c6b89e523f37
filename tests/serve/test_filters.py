import math

import pytest

from hashret.catalogue import Item
from hashret.errors import InputError
from hashret.serve.filters import MOST_VALUES, Choices, Range, columns_of, mask_of

ROWS = [
    {"labels": ["dog", "snow", "dog"], "year": 2001, "indoors": False, "split": "train", "free": "a"},
    {"labels": [], "year": 2003.5, "indoors": True, "split": "a:b"},
    {"labels": ["snow"], "year": None, "split": "train", "nested": {"x": 1}, "huge": 10**400},
    {},
]
ITEMS = [Item(str(number), columns=columns) for number, columns in enumerate(ROWS)]
COLUMNS = columns_of(ITEMS)


def passing(*where):
    mask = mask_of(COLUMNS, where)
    return None if mask is None else mask.nonzero()[0].tolist()


def test_columns_are_choices_or_ranges():
    found = {column.name: type(column) for column in COLUMNS}
    assert found == {"labels": Choices, "year": Range, "indoors": Choices, "split": Choices, "free": Choices}
    labels, year = COLUMNS[0], COLUMNS[1]
    assert {value: rows.tolist() for value, rows in labels.rows.items()} == {"snow": [0, 2], "dog": [0]}
    assert year.ends == (2001, 2003.5)


def test_a_column_of_many_values_is_no_filter():
    few = [Item(str(n), columns={"name": f"n{n}", "n": n}) for n in range(MOST_VALUES + 1)]
    assert [column.name for column in columns_of(few)] == ["n"]
    assert [column.name for column in columns_of(few[1:])] == ["name", "n"]


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ((), None),
        (("labels:dog",), [0]),
        (("labels:dog", "labels:snow"), [0, 2]),
        (("labels:snow", "split:train", "year:2000.."), [0]),
        (("indoors:true",), [1]),
        (("split:a:b",), [1]),
        (("year:2001",), [0]),
        (("year:..2002",), [0]),
        (("year:2002..3000", "year:2001..2001"), [0, 1]),
        (("year:..",), [0, 1]),
        (("year:3000..2000",), []),
    ],
)
def test_clauses_of_a_column_add_up_and_columns_narrow(where, rows):
    assert passing(*where) == rows


@pytest.mark.parametrize("clause", ["labels:cat", "colour:red", "labels", "year:soon", "year:nan..", "", "nested:x"])
def test_what_is_no_clause_is_refused_by_name(clause):
    with pytest.raises(InputError, match="expected"):
        passing(clause)


def test_not_a_number_is_no_value():
    column = columns_of([Item("a", columns={"x": math.nan}), Item("b", columns={"x": 1})])
    assert mask_of(column, ["x:.."]).tolist() == [False, True]
    assert columns_of([Item("a", columns={"x": math.inf})]) == []
