"""Errors: the tree as drawn, the three things each says, and the trip through a pickle."""

import ast
import pickle
import re
from pathlib import Path

import pytest

from hashret import errors
from hashret.errors import HashretError, RecipeError

PACKAGE = Path(errors.__file__).parent
CLASSES = {name: getattr(errors, name) for name in errors.__all__}
PARTS = {"expected": "64 bits", "got": "32 bits", "remedy": "Encode both sides with one run."}


def drawn(docstring):
    """Name -> (parent, description) of the tree in a docstring."""
    found, path = {}, []
    for line in docstring.splitlines():
        match = re.match(r"([ │├└─]*)(\w+Error)\b(.*)", line)
        if match:
            depth = (len(match[1]) - 4) // 4
            path = [*path[:depth], match[2]]
            found[match[2]] = (path[-2] if depth else None, match[3].strip())
    return found


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    tree = {name: parent for name, (parent, _) in drawn(errors.__doc__).items()}
    assert tree == {
        name: None if kind is HashretError else next(b.__name__ for b in kind.__bases__ if issubclass(b, HashretError))
        for name, kind in CLASSES.items()
    }
    defined = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert defined == set(CLASSES)


def test_descriptions_and_further_bases_are_those_of_the_classes():
    for name, (parent, said) in drawn(errors.__doc__).items():
        kind = CLASSES[name]
        others = [b.__name__ for b in kind.__bases__ if b.__name__ != parent and parent]
        assert re.findall(r"\(also an? (\w+)\)", said) == others
        if parent:
            summary = re.sub(r" *\(also .*\)", "", said)
            assert _plain(kind.__doc__) == _plain(summary)


def _plain(text):
    return re.sub(r"\W+", " ", text).strip().lower()


@pytest.mark.parametrize("kind", CLASSES.values())
def test_an_error_says_what_was_expected_what_came_and_what_to_do(kind):
    error = kind("queries", **PARTS)
    assert str(error) == "queries: expected 64 bits, got 32 bits. Encode both sides with one run."
    assert (error.what, error.expected, error.got, error.remedy) == ("queries", *PARTS.values())
    assert str(kind("2 mistakes in the recipe", remedy="Mend them.")) == "2 mistakes in the recipe Mend them."
    assert str(kind("queries")) == "queries"


@pytest.mark.parametrize("kind", CLASSES.values())
@pytest.mark.parametrize("parts", [PARTS, {}])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_the_trip_out_of_a_worker(kind, parts, protocol):
    error = kind("queries", **parts)
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is kind
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


def unhelpful(tree, shown):
    """Errors of the tree that are built or raised without saying all three things."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _name(node.func)) in CLASSES and name != RecipeError.__name__:
            empty = {k.arg for k in node.keywords if isinstance(k.value, ast.Constant) and not k.value.value}
            missing = sorted({"expected", "got", "remedy"} - {k.arg for k in node.keywords} | empty)
            if missing:
                found.append(f"{shown}:{node.lineno}: {name} without {', '.join(missing)}")
        if isinstance(node, ast.Raise) and node.exc is not None and (bare := _name(node.exc)) in CLASSES:
            found.append(f"{shown}:{node.lineno}: {bare} without expected, got, remedy")
    return found


def _name(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_every_error_in_the_house_says_all_three_things():
    found, calls = [], 0
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls += sum(isinstance(n, ast.Call) and _name(n.func) in CLASSES for n in ast.walk(tree))
        if path != Path(errors.__file__):
            found += unhelpful(tree, path.relative_to(PACKAGE.parent).as_posix())
    assert calls > 20
    assert found == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("raise InputError('k')", "InputError without expected, got, remedy"),
        ("raise InputError('k', expected='1', got='0')", "InputError without remedy"),
        ("raise errors.FileError('k', expected='1', got='0', remedy='')", "FileError without remedy"),
        ("def f():\n    return DataError('k', expected='1', remedy='Do.')", "x.py:2: DataError without got"),
        ("raise WidthError", "WidthError without expected, got, remedy"),
    ],
)
def test_what_is_planted_is_found(planted, said):
    found = unhelpful(ast.parse(planted), "x.py")
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    "allowed",
    [
        "raise InputError('k', expected='1', got=str(x), remedy='Do.') from error",
        "raise RecipeError('\\n'.join(problems))",
        "try:\n    f()\nexcept HashretError:\n    raise",
        "raise error",
        "raise AttributeError(name)",
        "raise click.ClickException(str(error)) from error",
    ],
)
def test_what_is_allowed_is_left_alone(allowed):
    assert unhelpful(ast.parse(allowed), "x.py") == []
