"""The house rules as data, and a checker for them that is itself shown to catch what is planted."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room imports only rooms on lines above its own, never its neighbours.
LINES = (
    ("errors", "arrayfile", "markup"),
    ("codes", "relevance", "images", "regions", "catalogue"),
    ("examples", "encoded"),
    ("data", "models", "losses", "search", "hashers"),
    ("methods", "stores", "evaluation"),
    ("training", "recipe"),
    ("retriever", "run"),
    ("floors",),
    ("pipeline",),
    ("report", "serve"),
    ("demonstration",),
    ("cli",),
    ("__main__",),
)
NEIGHBOURS_AFTER_ALL = {("arrayfile", "errors")}
# Some rooms see less than what stands above them.
ONLY = {
    "recipe": {"errors"},
    "methods": {"errors", "arrayfile", "codes", "relevance", "images", "examples", "models", "losses"},
    "stores": {"errors", "arrayfile", "codes", "encoded", "search"},
    "evaluation": {"errors", "arrayfile", "markup", "codes", "relevance", "search"},
}
# Rooms that load without torch, and therefore load none that needs it.
LIGHT = {
    "errors", "arrayfile", "markup", "codes", "relevance", "images", "regions", "catalogue", "examples", "encoded",
    "search", "hashers", "stores", "evaluation", "recipe", "run", "report", "serve", "cli",
}  # fmt: skip
HEAVY = {"torch", "torchvision", "transformers", "accelerate"}
NEVER_AT_ONCE = {"torchvision", "transformers", "sklearn", "pandas", "datasets", "matplotlib"}
NO_NOUNS = {"utils", "util", "common", "core", "base", "misc", "helpers"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


@dataclass(frozen=True)
class Source:
    """One file of the package: its path as shown, its room, its package and its syntax tree."""

    shown: str
    room: str
    package: tuple[str, ...]
    lines: int
    tree: ast.Module


def sources(root: Path, package: str = "hashret") -> list[Source]:
    found = []
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        text = path.read_text(encoding="utf-8")
        shown = path.relative_to(root).as_posix()
        found.append(Source(shown, parts[1], parts[:-1], len(text.splitlines()), ast.parse(text)))
    return found


def imports(source: Source) -> Iterator[tuple[int, str, bool]]:
    """Line, dotted name and whether it is loaded with the file, of everything a file imports anywhere."""

    def visit(node: ast.AST, eager: bool) -> Iterator[tuple[int, str, bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, eager
        elif isinstance(node, ast.ImportFrom):
            base = source.package[: len(source.package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # `from hashret import codes` names the room in its last part
                yield node.lineno, f"{module}.{alias.name}", eager
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            yield from ((node.lineno, str(a.value), eager) for a in node.args[:1] if isinstance(a, ast.Constant))
        later = [node] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else []
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            later = node.body
        for child in ast.iter_child_nodes(node):
            yield from visit(child, eager and node not in later and child not in later)

    yield from visit(source.tree, True)


def broken_order(found: list[Source]) -> list[str]:
    """Imports that go the wrong way, and rooms without a line."""
    line_of = {room: number for number, line in enumerate(LINES) for room in line}
    broken = []
    for source in found:
        if source.room == "__init__":
            continue
        if source.room not in line_of:
            broken.append(f"{source.shown}: {source.room} has no line in the order of the house")
            continue
        for lineno, name, _ in imports(source):
            parts = name.split(".")
            if parts[0] != "hashret":
                continue
            target = parts[1] if len(parts) > 1 else ""
            if target not in line_of:
                broken.append(f"{source.shown}:{lineno}: {name} is no room; import it from the file it lives in")
                continue
            if target == source.room or (source.room, target) in NEIGHBOURS_AFTER_ALL:
                continue
            allowed = line_of[target] < line_of[source.room] and target in ONLY.get(source.room, {target})
            if not allowed:
                broken.append(f"{source.shown}:{lineno}: {source.room} imports {target}")
    return broken


def heavy_imports(found: list[Source]) -> list[str]:
    """Light rooms that load torch, or a room that does."""
    broken = []
    for source in found:
        if source.room not in LIGHT | {"__init__", "__main__"}:
            continue
        for lineno, name, eager in imports(source):
            parts = name.split(".")
            room = parts[1] if parts[0] == "hashret" and len(parts) > 1 else ""
            if eager and (parts[0] in HEAVY or (room and room not in LIGHT)):
                broken.append(f"{source.shown}:{lineno}: loads {name}")
    return broken


def functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function, and whether a user can call it: no underscore in its name or its class's, not nested."""

    def visit(node: ast.AST, public: bool) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                dunder = child.name.startswith("__") and child.name.endswith("__")
                yield child, public and (dunder or not child.name.startswith("_"))
                yield from visit(child, False)
            elif isinstance(child, ast.ClassDef):
                yield from visit(child, public and not child.name.startswith("_"))
            else:
                yield from visit(child, public)

    yield from visit(tree, True)


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, the docstring left out."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or 0) - docstring.lineno + 1
    return lines


def broken_sizes(found: list[Source]) -> list[str]:
    """Files and functions that are too long."""
    broken = [f"{s.shown}: {s.lines} lines" for s in found if s.lines > LONGEST_FILE]
    for source in found:
        for function, _ in functions(source.tree):
            if length(function) > LONGEST_FUNCTION:
                broken.append(f"{source.shown}:{function.lineno}: {function.name} has {length(function)} lines")
    return broken


def broken_names(found: list[Source]) -> list[str]:
    """Files, folders and functions whose name shows a missing noun, and public functions that take any keyword."""
    broken = []
    for source in found:
        for part in Path(source.shown).with_suffix("").parts:
            if part.strip("_") in NO_NOUNS:
                broken.append(f"{source.shown}: {part} is no noun of the problem")
        for function, public in functions(source.tree):
            if function.name.strip("_") in NO_NOUNS:
                broken.append(f"{source.shown}:{function.lineno}: {function.name} is no noun of the problem")
            if public and function.args.kwarg:
                broken.append(f"{source.shown}:{function.lineno}: {function.name} takes **{function.args.kwarg.arg}")
    return broken


CHECKS = (broken_order, heavy_imports, broken_sizes, broken_names)


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_keeps_its_rules(check):
    found = sources(ROOT)
    assert len(found) > 10
    assert check(found) == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_no_other_file_is_too_long(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert [str(f) for f in files if len(f.read_text(encoding="utf-8").splitlines()) > LONGEST_FILE] == []


def test_light_rooms_load_without_torch():
    """What the syntax says, asked of the interpreter: other people's packages are loaded too."""
    light = sorted({s.room for s in sources(ROOT)} & LIGHT)
    program = (
        "import sys, importlib\n"
        f"for name in ['hashret', *('hashret.' + room for room in {light})]:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [m for m in {sorted(HEAVY)} if m in sys.modules]\n"
        "    assert not loaded, (name, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_command_loads_what_it_needs():
    """Every process that encodes or searches imports the pipeline; what few of them use is loaded when it is used."""
    program = f"import sys, hashret.pipeline; print(sorted({NEVER_AT_ONCE} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# What is planted: the files of a tiny package, the check that has to find it, and what it has to say.
PLANTED = {
    "losses import methods": (
        {"losses/pair.py": "from hashret.methods import METHODS"}, broken_order, "losses imports methods",
    ),
    "losses import their neighbour models": (
        {"losses/pair.py": "import hashret.models.heads"}, broken_order, "losses imports models",
    ),
    "the room is the name that is imported": (
        {"losses/pair.py": "from hashret import models"}, broken_order, "losses imports models",
    ),
    "within a function": (
        {"search/scan.py": "def scan():\n    from hashret.evaluation import evaluate"},
        broken_order, "hashret/search/scan.py:2: search imports evaluation",
    ),
    "for types only": (
        {"codes.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hashret.search import Hits"},
        broken_order, "hashret/codes.py:3: codes imports search",
    ),
    "relative": ({"losses/pair.py": "from ..methods import crcgs"}, broken_order, "losses imports methods"),
    "relative to the package": ({"losses/__init__.py": "from .. import cli"}, broken_order, "losses imports cli"),
    "from a folder further in": (
        {"models/image/tower.py": "from ...losses import pair"}, broken_order, "models imports losses",
    ),
    "by name": (
        {"data/coco.py": "import importlib\nimportlib.import_module('hashret.training')"},
        broken_order, "hashret/data/coco.py:2: data imports training",
    ),
    "methods see models and losses only": (
        {"methods/crcgs.py": "from hashret.data import DATASETS"}, broken_order, "methods imports data",
    ),
    "recipes see errors only": (
        {"recipe.py": "from hashret.methods import METHODS"}, broken_order, "recipe imports methods",
    ),
    "through the front door": (
        {"losses/pair.py": "from hashret import Codes"}, broken_order, "hashret.Codes is no room",
    ),
    "a room nobody knows": ({"plugins/x.py": ""}, broken_order, "plugins has no line"),
    "torch in codes": ({"codes.py": "import torch.nn"}, heavy_imports, "hashret/codes.py:1: loads torch.nn"),
    "torch in a try": (
        {"search/scan.py": "try:\n    from torch import Tensor\nexcept ImportError:\n    pass"},
        heavy_imports, "hashret/search/scan.py:2: loads torch.Tensor",
    ),
    "torch in a class body": (
        {"evaluation/metrics.py": "class Metric:\n    import transformers"}, heavy_imports, "loads transformers",
    ),
    "torch by way of another room": (
        {"cli/train.py": "from hashret.pipeline import train"}, heavy_imports, "loads hashret.pipeline.train",
    ),
    "torch where types are not checked": (
        {"codes.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import torch"},
        heavy_imports, "hashret/codes.py:5: loads torch",
    ),
    "torch on import hashret": (
        {"__init__.py": "from hashret.retriever import Retriever"}, heavy_imports, "loads hashret.retriever",
    ),
    "a long file": ({"codes.py": "x = 1\n" * 401}, broken_sizes, "hashret/codes.py: 401 lines"),
    "a long function": (
        {"codes.py": "def pack():\n" + "    x = 1\n" * 60}, broken_sizes, "hashret/codes.py:1: pack has 61 lines",
    ),
    "a long method": (
        {"codes.py": "class Codes:\n    async def pack(self):\n" + "        x = 1\n" * 60},
        broken_sizes, "hashret/codes.py:2: pack has 61 lines",
    ),
    "utils.py": ({"search/utils.py": ""}, broken_names, "utils is no noun"),
    "a folder of helpers": ({"search/helpers/sort.py": ""}, broken_names, "helpers is no noun"),
    "_base.py": ({"models/_base.py": ""}, broken_names, "_base is no noun"),
    "a function misc": ({"codes.py": "def misc(): pass"}, broken_names, "misc is no noun"),
    "**kwargs": ({"codes.py": "def pack(x, **kwargs): pass"}, broken_names, "pack takes **kwargs"),
    "**options of a constructor": (
        {"codes.py": "class Codes:\n    def __init__(self, **options): pass"}, broken_names, "__init__ takes **options",
    ),
}  # fmt: skip

# What looks similar and is allowed.
INNOCENT = {
    "a line above": {"methods/crcgs.py": "from hashret.losses import pair\nfrom hashret.errors import DataError"},
    "its own room": {"losses/a.py": "from hashret.losses.b import b\nfrom .b import c\nfrom . import b"},
    "another package of a similar name": {"codes.py": "import hashretriever.cli\nfrom torchtune import x"},
    "torch where it is needed": {"cli/train.py": "def train():\n    import torch\n    from hashret import pipeline"},
    "torch for types": {"report/grid.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"},
    "torch in losses": {"losses/pair.py": "import torch"},
    "arrays name errors": {"arrayfile.py": "from hashret.errors import FileError"},
    "the front door": {"__init__.py": "def __getattr__(name):\n    from hashret.retriever import Retriever"},
    "a long docstring": {"codes.py": 'def pack():\n    """One.' + "\n" * 90 + '    """\n' + "    x = 1\n" * 59},
    "keywords nobody outside gives": {"codes.py": "def _pack(**kwargs): pass\ndef f():\n    def g(**k): pass"},
    "a name that contains another": {"search/basement.py": "def commonly(): pass"},
}


def plant(root: Path, files: dict[str, str]) -> list[Source]:
    for name, text in files.items():
        path = root / "hashret" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sources(root)


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found(tmp_path, case):
    files, check, said = PLANTED[case]
    found = plant(tmp_path, files)
    broken = check(found)
    assert len(broken) == 1, broken
    assert said in broken[0]


@pytest.mark.parametrize("case", INNOCENT)
def test_what_is_allowed_is_left_alone(tmp_path, case):
    found = plant(tmp_path, INNOCENT[case])
    assert [broken for check in CHECKS for broken in check(found)] == []


def test_the_rules_name_rooms_that_have_a_line():
    rooms = {room for line in LINES for room in line}
    assert len(rooms) == sum(len(line) for line in LINES)
    assert rooms >= LIGHT
    assert all(room in rooms and seen <= rooms for room, seen in ONLY.items())
