"""The README cannot lie: its Python runs, its commands exist, its links lead somewhere."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts at, and why it is not run, if it says so."""

    language: str
    text: str
    line: int
    excuse: str


def blocks_of(text):
    found, opened, body = [], None, []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        fence = re.match(r" {0,3}(`{3,}|~{3,})\s*([\w+-]*)", line)
        if opened is None and fence:
            excuse = re.fullmatch(r"<!-- not run: (.+) -->", lines[number - 1].strip()) if number else None
            opened, body = (fence[1], fence[2], number + 2, excuse[1] if excuse else ""), []
        elif opened is not None and fence and fence[1].startswith(opened[0]) and not fence[2]:
            found.append(Block(opened[1], "\n".join(body) + "\n", opened[2], opened[3]))
            opened = None
        elif opened is not None:
            body.append(line)
    assert opened is None, f"the block at line {opened[2]} does not end"
    return found


def run_python(text):
    """Run the Python blocks in order, in one namespace; returns how many."""
    namespace, count = {"__name__": "__main__"}, 0
    for block in blocks_of(text):
        if block.language in ("python", "py") and not block.excuse:
            code = "\n" * (block.line - 1) + block.text  # a traceback names the README's own line
            exec(compile(code, "README.md", "exec"), namespace)
            count += 1
    return count


def links_of(text):
    """Targets of links and images, code left out."""
    fences = re.sub(r"(?ms)^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\1\s*$", "", text)
    prose = re.sub(r"`[^`\n]*`", "", fences)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", prose)
    return [*inline, *re.findall(r"""<(?:img|a)\b[^>]*?(?:src|href)=["']([^"']+)""", prose),
            *re.findall(r"(?m)^\[[^\]]+\]:\s*(\S+)", prose)]  # fmt: skip


def broken_links(text, folder):
    headings = [
        re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"(?m)^#+ +(.*)", text)
    ]
    broken = []
    for link in links_of(text):
        path, _, section = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        if path and not (folder / path).exists():
            broken.append(link)
        if not path and section not in headings:
            broken.append(link)
    return broken


def commands_of(text):
    """Line and words of every call of hashret in the shell blocks."""
    found = []
    for block in blocks_of(text):
        if block.language not in ("bash", "sh", "shell", "console"):
            continue
        joined = block.text.replace("\\\n", "  ")
        for number, line in enumerate(joined.splitlines(), block.line):
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = [*lexer, ";"]
            while words:
                end = next(i for i, word in enumerate(words) if re.fullmatch(r"[|&;()<>]+", word))
                call, words = words[:end], words[end + 1 :]
                if call[1:3] == ["-m", "hashret"]:
                    call = ["hashret", *call[3:]]
                if call and call[0].split("/")[-1] == "hashret":
                    found.append((number, call[1:]))
    return found


def mistake(words, main):
    """What click would refuse in a call, or an empty text; files need not exist and nothing is run."""
    context = click.Context(main, info_name="hashret", allow_interspersed_args=False)
    try:
        _, rest, _ = main.make_parser(context).parse_args(list(words))
        if not rest:
            return ""
        command = main.get_command(context, rest[0])
        if command is None:
            return f"no command {rest[0]}"
        inner = click.Context(command, info_name=rest[0], parent=context)
        if isinstance(command, click.Group):
            return mistake(rest[1:], command)
        values, extra, _ = command.make_parser(inner).parse_args(rest[1:])
    except click.UsageError as error:
        return error.format_message()
    if extra:
        return f"unexpected argument {extra[0]}"
    for parameter in command.params:
        value = values.get(parameter.name)
        given = isinstance(value, str | tuple | list) and len(value) > 0
        if isinstance(parameter, click.Argument) and parameter.required and not given and "--help" not in rest:
            return f"missing argument {parameter.name}"
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else None
        for item in (value if isinstance(value, tuple | list) else [value]) if given and choices else []:
            if item not in choices:
                return f"{item} is not one of {', '.join(choices)}"
    return ""


@pytest.fixture(scope="module")
def readme():
    path = ROOT / "README.md"
    assert path.exists(), "there is no README.md"
    return path.read_text(encoding="utf-8")


def test_its_python_runs(readme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_python(readme) > 0


def test_its_commands_exist(readme):
    from hashret.cli import main

    calls = commands_of(readme)
    assert calls
    assert [(line, words, wrong) for line, words in calls if (wrong := mistake(words, main))] == []


def test_its_links_lead_somewhere(readme):
    assert broken_links(readme, ROOT) == []


def test_the_test_command_is_marked_for_the_machine_that_runs_it(readme):
    assert re.search(r"(?m)^<!-- tests -->$\n(?:\s*\n)*```\w*\n(?!```)", readme)
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


# The checks above, shown to work on a page of our own.

PAGE = """# A page

See [the second part](#the-second-part), [a file](there.txt), ![a picture](missing.png) and <img src="gone.png">.
Not a link: `[x](nowhere)`. [Elsewhere](https://example.org/x).

```python
x = 1
open("made-here.txt", "w").close()
```

<!-- not run: needs a dataset -->
```python
raise AssertionError
```

## The second part!

```python
assert x == 1
y = x + 1
```

```bash
$ hashret show a.bin --side image -k 3 | head -n 2  # a comment
python -m hashret --debug show \\
    a.bin --text "x --nothing y" && .venv/bin/hashret paint
pip install hashret
```
"""


@click.group()
@click.option("--debug", is_flag=True)
def example(debug):
    """A group to try the check on."""


@example.command()
@click.argument("file", type=click.Path(exists=True))
@click.option("--side", type=click.Choice(["image", "text"]))
@click.option("-k", type=int)
@click.option("--text", "texts", multiple=True)
def show(file, side, k, texts):
    """A command to try the check on."""


def test_blocks_run_in_one_namespace_unless_excused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_python(PAGE) == 2
    assert (tmp_path / "made-here.txt").exists()
    with pytest.raises(AssertionError):
        run_python(PAGE.replace("<!-- not run: needs a dataset -->", "<!-- not run -->"))
    with pytest.raises(AssertionError):
        run_python(PAGE.replace("needs a dataset -->\n", "needs a dataset -->\n\n"))
    with pytest.raises(NameError) as caught:
        run_python(PAGE.replace("x = 1", "z = 1"))
    assert caught.traceback[-1].lineno + 1 == PAGE.splitlines().index("assert x == 1") + 1


def test_broken_links_are_found(tmp_path):
    (tmp_path / "there.txt").touch()
    assert broken_links(PAGE, tmp_path) == ["missing.png", "gone.png"]
    assert broken_links("[x](#nothing) [y](there.txt#part)", tmp_path) == ["#nothing"]


def test_calls_are_read_out_of_shell_blocks():
    assert [words for _, words in commands_of(PAGE)] == [
        ["show", "a.bin", "--side", "image", "-k", "3"],
        ["--debug", "show", "a.bin", "--text", "x --nothing y"],
        ["paint"],
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("show a.bin --side image -k3", ""),
        ("--debug show a.bin --side=text --text a --text b", ""),
        ("--help", ""),
        ("show --help", ""),
        ("paint", "no command paint"),
        ("--quiet show a.bin", "--quiet"),
        ("show a.bin --color red", "--color"),
        ("show a.bin --side", "--side"),
        ("show a.bin --side audio", "audio is not one of image, text"),
        ("show", "missing argument file"),
        ("show a.bin b.bin", "unexpected argument b.bin"),
    ],
)
def test_calls_click_would_refuse_are_found(call, said):
    wrong = mistake(shlex.split(call), example)
    assert said in wrong
    assert bool(said) == bool(wrong)
