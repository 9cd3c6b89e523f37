import io
import re

from rich.console import Console

from hashret.training.progress import TrainingBar

LOSSES = {"classification": 0.31, "pair": 1.2, "contrastive": 2.2, "support_set": 0.001, "distillation": 0.1}


def shown(*, terminal: bool, quiet: bool = False, width: int = 110) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=width, color_system=None)
    with TrainingBar(quiet=quiet, console=console) as bar:
        bar.begin("student", 40, done=10)
        for _ in range(10):
            bar.step(LOSSES)
        bar.epoch(1, 2, LOSSES, 0.7182, 3.0)
        bar.step(LOSSES)
        if terminal and not quiet:
            bar.progress.refresh()
    return screen.getvalue()


def drawn(output: str) -> str:
    """The last line that shows a stage, as the terminal shows it."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    return [line for line in re.split(r"[\r\n]", plain) if "student" in line][-1]


def test_a_terminal_shows_place_time_left_score_and_losses_in_one_line():
    last = drawn(shown(terminal=True))
    assert len(last.rstrip()) <= 110
    for part in ("student", "21/40", "left", "validation 0.7182", "classification 0.31"):
        assert part in last


def test_a_narrow_terminal_keeps_the_place():
    last = drawn(shown(terminal=True, width=80))
    assert "21/40" in last
    assert "validation 0.7182" in last


def test_a_log_file_gets_one_line_an_epoch():
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("student 1/2 3.0s | classification 0.31 pair 1.2")
    assert lines[0].endswith("validation 0.7182")


def test_quiet_says_nothing():
    assert shown(terminal=True, quiet=True) == shown(terminal=False, quiet=True) == ""
